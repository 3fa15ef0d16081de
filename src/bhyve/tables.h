/* SPDX-License-Identifier: BSD-2-Clause */
/* The firmware's tables, in the guest's memory: MP table, SMBIOS, ACPI. */
#ifndef BHYVE_TABLES_H
#define BHYVE_TABLES_H

#include "base/err.h"

struct machine;

/* 0, or -errno with a line in err. The board must be there. */
int tables_write(struct machine *machine, struct err *err);

/* Text form of a UUID to bytes in the order of the text: 0 or -EINVAL. */
int uuid_parse(const char *text, uint8_t out[16]);

/* A UUID that is the same for the same VM on the same host. */
void uuid_derive(const char *host, const char *vm, uint8_t out[16]);

#endif
