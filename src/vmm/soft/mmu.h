/* SPDX-License-Identifier: BSD-2-Clause */
/* The page walk. */
#ifndef SOFT_MMU_H
#define SOFT_MMU_H

#include "vmm/soft/cpu.h"
#include "vmm/soft/tlb.h"

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

/*
 * Translates va for an access at the current privilege, sets A/D, fills the
 * TLB where it may; raises #PF (or #GP, #SS: non-canonical) at i. Returns the
 * gpa, which need not be RAM. _as: as the supervisor, whatever CPL is.
 */
uint64_t mmu_translate(struct cpu *c, const struct insn *i, uint64_t va,
		       enum access access);
uint64_t mmu_translate_as(struct cpu *c, const struct insn *i, uint64_t va,
			  enum access access, bool as_supervisor);
/* The same for translated code, which raises nothing. True: it is in t, which
   is current, for that access now. */
bool mmu_refill(struct cpu *c, struct tlb *t, uint64_t va, enum access access,
		struct translation *tr);
/* Is the page that lies so many pages further mapped there, in the same way,
   and has it been accessed in the same way? (Of the entries beside tr's.) */
bool mmu_is_run(const struct translation *tr, uint64_t va, int pages);

/* Loads PDPTEs of PAE paging; false: #GP. */
bool mmu_load_pdptes(struct cpu *c, uint64_t cr3);

#endif
