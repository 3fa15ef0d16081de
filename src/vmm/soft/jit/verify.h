/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * soft.jit=verify: each instruction that translated code runs itself is run
 * by tier 0, too, from the same state; the first difference ends the VM.
 *
 * Translated code calls before() and after() around it. Tier 0's run has its
 * memory operand redirected to a copy of what it was, so that guest memory is
 * written once; an operand in two pages cannot be: what it was is put back for
 * that run. What translated code hands to tier 0 goes round after(), and is not
 * looked at: MMIO and random values are there only. A branch is run by tier 0
 * first, and where it leads is compared at the entry of the next block.
 *
 * Meanwhile no other vCPU runs (turn.h). A device may write to the operand;
 * where it did, a difference is none. Time passes: RDTSC is right between two
 * of tier 0's.
 */
#ifndef SOFT_JIT_VERIFY_H
#define SOFT_JIT_VERIFY_H

#include "vmm/soft/jit/jit.h"

struct verify;

int verify_create(struct cpu *c);
void verify_destroy(struct cpu *c);

/* Called by translated code, with an instruction in the arena: 0: leave. After
   it bits 63 to 32 say what host registers it may have written to
   (emit.wrote). */
uint64_t verify_before(struct cpu *c, uint64_t at);
uint64_t verify_after(struct cpu *c, uint64_t at);
uint64_t verify_branch(struct cpu *c, uint64_t at);
uint64_t verify_arrival(struct cpu *c, uint64_t at); /* a block's head */

/* Translated code came back to C; by a branch: to rip. (By value: jit_run
   has to end by a tail call.) False: tier 0 may not go on now. */
bool verify_left(struct cpu *c, bool by_branch, uint64_t rip);
/* So did longjmp. */
void verify_escaped(struct cpu *c);
/* From any thread, after a write through the write gate. */
void verify_host_wrote(struct soft_vm *svm, uint64_t gpa, uint64_t len);

#endif
