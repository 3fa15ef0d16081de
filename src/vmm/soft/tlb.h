/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the page walk (mmu.c) and the TLB (tlb.c). */
#ifndef SOFT_TLB_H
#define SOFT_TLB_H

#include "vmm/soft/cpu.h"

/* tlb.go, while no kick waits. */
#define TLB_GO (1ull << 63)

/* tlb.slot[] */
#define SLOT_JOURNALED 1
#define SLOT_GLOBAL    2

/* What a walk found, for one privilege. */
struct translation {
	uint64_t gpa;
	unsigned page_bits;                 /* log2 of the page's size */
	bool can_read, can_write, can_exec; /* now: D is set for can_write */
	bool global;
	/* A page of 4 KiB by an entry of 8 bytes: it, as it is now, and where
	   the guest has it. Else 0 and NULL. */
	uint64_t entry;
	const uint64_t *entry_at;
};

/* The table of system accesses: the supervisor's, with SMAP at CPL 3 whatever
   AC is. */
static inline struct tlb *tlb_system(const struct cpu *c)
{
	return c->tlb_by_ac[c->cpl != 3 && (c->flags & RFLAGS_AC)];
}

/* The table of the current mode, SMAP override and space (not align_check). */
struct tlb *tlb_current(struct cpu *c);

/* Is the page that lies so many pages further mapped there, in the same way,
   and has it been accessed in the same way? (Of the entries beside tr's.) */
bool mmu_is_run(const struct translation *tr, uint64_t va, int pages);

/* Enters a translation to RAM. */
void tlb_fill(struct cpu *c, struct tlb *t, uint64_t va, uint64_t gpa,
	      const struct translation *tr);
/* va is in a page of that size, in t: with it goes all of that. */
void tlb_note_size(struct tlb *t, uint64_t va, unsigned page_bits);

#endif
