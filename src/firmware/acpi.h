/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ACPI 5.1 tables: RSDP, RSDT, XSDT, FADT, MADT, HPET, MCFG, FACS, a fixed
 * DSDT (dsdt.asl) and an SSDT that is written at start from the board.
 */
#ifndef FIRMWARE_ACPI_H
#define FIRMWARE_ACPI_H

#include "base/err.h"
#include "firmware/board.h"

/* The ports and numbers that the tables promise; bhyve's pm device. */
#define ACPI_PM1A_EVT_PORT   0x400 /* status 2 bytes, enable 2 bytes */
#define ACPI_PM1A_CNT_PORT   0x404
#define ACPI_PM_TIMER_PORT   0x408
#define ACPI_GPE0_PORT       0x40c /* status 1 byte, enable 1 byte */
#define ACPI_SMI_CMD_PORT    0xb2
#define ACPI_SMI_ENABLE      0xa0
#define ACPI_SMI_DISABLE     0xa1
#define ACPI_SCI_IRQ         9
#define ACPI_RESET_PORT      0xcf9
#define ACPI_RESET_VALUE     6
#define ACPI_S5_SLP_TYP      5
#define ACPI_RTC_CENTURY_REG 0x32

/* Bytes used, or -errno. gpa is LOWMEM_ACPI; the RSDP comes first. */
int acpi_build(const struct fw_board *board, uint64_t gpa, void *buffer,
	       size_t room, struct err *err);

#endif
