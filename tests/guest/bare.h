/* SPDX-License-Identifier: BSD-2-Clause */
/* A payload on KVM without our engine, as a second opinion (one vCPU). */
#ifndef GUEST_BARE_H
#define GUEST_BARE_H

#include <stdbool.h>
#include <stddef.h>
#include <vmmapi.h>

#include "lib/ports.h"

#define BARE_FAILURES 256

/* The lines "not ok - ..." that the payload said. */
struct bare_failures {
	unsigned count;
	char line[BARE_FAILURES][LINE_MAX_BYTES];
};

void bare_run(const void *image, size_t size, struct bare_failures *failures);
bool bare_failed(const struct bare_failures *failures, const char *line);

/* What the runner and bare_run say when the VM stops by itself. */
#define BARE_STOPPED "not ok - the VM stopped: %d (4: triple fault)"

/* runner.c: page tables and GDT on entry, at that address. */
void bare_tables(uint64_t *t, uint64_t address);

#endif
