/* SPDX-License-Identifier: BSD-2-Clause */
/* The parts that acpi.c puts together. */
#ifndef FIRMWARE_ACPI_PRIV_H
#define FIRMWARE_ACPI_PRIV_H

#include "firmware/aml.h"
#include "firmware/board.h"

/* dsdt.asl as iasl compiled it, with its header. */
extern const uint8_t dsdt_aml[];
extern const size_t dsdt_aml_size;

/* The SSDT's terms, without its header. */
void acpi_write_ssdt(const struct fw_board *board, struct fw_out *out);

#endif
