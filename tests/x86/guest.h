/* SPDX-License-Identifier: BSD-2-Clause */
/* The soft engine's vCPU in 64-bit mode at CPL 3, its memory this process'. */
#ifndef X86_GUEST_H
#define X86_GUEST_H

#include <stdbool.h>

#include "host.h"

struct guest;

/* translate: tier 1, from the first run. NULL: no memory. */
struct guest *guest_create(bool translate);
void guest_destroy(struct guest *guest);
/* Blocks that were translated so far. */
uint64_t guest_translated(const struct guest *guest);
/* As host_run. */
void guest_run(struct guest *guest, const uint64_t gpr[16], uint64_t rflags,
	       uint64_t rip, struct outcome *out);

#endif
