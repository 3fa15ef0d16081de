/* SPDX-License-Identifier: BSD-2-Clause */
/* Locked operands that cross a page (docs/cpu.md). */
#ifndef SOFT_SPLIT_H
#define SOFT_SPLIT_H

#include "vmm/soft/cpu.h"

/*
 * A host pointer to an operand that begins at gpa and goes on at gpa2, the
 * begin of a page, both RAM; valid until the next one. NULL: the host has no
 * room for it.
 */
void *split_operand(struct cpu *c, uint64_t gpa, uint64_t gpa2);
void split_destroy(struct cpu *c);

#endif
