/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows: pages of a user address space where the host's MMU has them, so
 * that translated code gets to them by an addition and looks at nothing. What
 * is not mapped there faults, and what would have been a miss of the TLB
 * happens then (jit/fault.c).
 *
 * Each table of CPL 3 has its own: pieces of 1 TiB of the guest's addresses
 * (tlb.window says how far each is from where it is mapped, by the bits of the
 * address from 40 on), and in them what is in the TLB, or was without having
 * been flushed since. A page is mapped for writing where the TLB would have it
 * so.
 */
#ifndef SOFT_WINDOW_H
#define SOFT_WINDOW_H

#include "vmm/soft/cpu.h"
#include "vmm/soft/tlb.h"

/* For a new table: nothing is there. The vCPU's place of nothing must be. */
void window_init(struct cpu *c, struct tlb *t);
/* Where what is in no window leads to, for all tables. A process that may not
   have so many addresses does without windows. */
void windows_create(struct cpu *c);
void windows_destroy(struct cpu *c);
/* May a program's table have them? */
bool window_possible(const struct cpu *c, const struct tlb *t);
/* A kick found the program of the current table running. True: it has windows
   from now on. */
bool window_kick(struct cpu *c);

/*
 * Maps the page of va, which is in t's TLB and as tr says. False: it was
 * there already, for that access, or cannot be; then tier 0 must do what
 * faulted, or it would fault for ever.
 */
bool window_map(struct cpu *c, struct tlb *t, uint64_t va, bool write,
		const struct translation *tr);
/* The program's code goes on after a #PF: its page is mapped if it is there
   now, as it is about to be accessed. */
void window_answer(struct cpu *c, struct tlb *t);
/* Is the page of va there, for writing? */
bool window_may_write(const struct tlb *t, uint64_t va);
/* The page of va goes, all of a large one; all pages go. */
void window_drop(struct tlb *t, uint64_t va);
void window_clear(struct tlb *t);
/* The guest page is writable in no window of the vCPU. */
void windows_protect(struct cpu *c, uint64_t gpa);

#endif
