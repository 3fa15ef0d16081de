/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The software TLB: which table is current, and how entries go away.
 *
 * CPL 3 has a table for each of the last address spaces (CR3 and PCID).
 * CPL 0-2 has two: one without user pages (SMAP in force), one with them.
 * The supervisor's tables serve all spaces: what is not global is listed in
 * the table's journal and dropped at each CR3 load.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/soft/access.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/tlb.h"

static void tlb_clear(struct tlb *t)
{
	for (unsigned n = 0; n < TLB_SIZE; n++)
		t->entry[n] = (struct tlb_entry){TLB_NONE, TLB_NONE, TLB_NONE};
	t->journaled = 0;
	t->has_large = t->has_huge = false;
}

static void entry_clear(struct tlb_entry *e)
{
	e->tag_read = e->tag_write = e->tag_exec = TLB_NONE;
}

static void tlb_clear_nonglobal(struct tlb *t)
{
	if (t->journaled > TLB_JOURNAL) {
		tlb_clear(t);
		return;
	}
	for (unsigned n = 0; n < t->journaled; n++)
		entry_clear(&t->entry[t->journal[n]]);
	t->journaled = 0;
}

int tlbs_create(struct cpu *c)
{
	struct tlb **table[] = {&c->tlb_super, &c->tlb_override, &c->tlb_none};

	for (unsigned n = 0; n < ARRAY_SIZE(table); n++)
		if ((*table[n] = calloc(1, sizeof(struct tlb))) == NULL)
			return -ENOMEM;
	for (unsigned n = 0; n < TLB_USER_TABLES; n++)
		if ((c->tlb_user[n] = calloc(1, sizeof(struct tlb))) == NULL)
			return -ENOMEM;
	tlb_clear(c->tlb_none);
	mmu_flush_all(c);
	c->tlb = c->tlb_override;
	return 0;
}

void tlbs_destroy(struct cpu *c)
{
	free(c->tlb_super);
	free(c->tlb_override);
	free(c->tlb_none);
	for (unsigned n = 0; n < TLB_USER_TABLES; n++)
		free(c->tlb_user[n]);
}

/* -- which table --------------------------------------------------------------
 */

#define SPACE_NONE (~0ull)

/* PCID is in the low 12 bits; without CR4.PCIDE they are not the space's. */
static uint64_t current_space(const struct cpu *c)
{
	return c->cr4 & CR4_PCIDE ? c->cr3 : c->cr3 & ~0xfffull;
}

static struct tlb *user_table(struct cpu *c)
{
	uint64_t space = current_space(c);
	struct tlb *t;

	for (unsigned n = 0; n < TLB_USER_TABLES; n++)
		if (c->tlb_user[n]->space == space)
			return c->tlb_user[n];
	t = c->tlb_user[c->tlb_victim];
	c->tlb_victim = (c->tlb_victim + 1) % TLB_USER_TABLES;
	tlb_clear(t);
	t->space = space;
	return t;
}

struct tlb *tlb_current(struct cpu *c)
{
	if (c->cpl == 3)
		return user_table(c);
	return (c->cr4 & CR4_SMAP) && !(c->flags & RFLAGS_AC) ? c->tlb_super
							      : c->tlb_override;
}

void mmu_mode_changed(struct cpu *c)
{
	c->align_check =
	    c->cpl == 3 && (c->flags & RFLAGS_AC) && (c->cr0 & CR0_AM);
	c->tlb = c->align_check ? c->tlb_none : tlb_current(c);
}

/* -- going away
 * ---------------------------------------------------------------- */

void mmu_flush_all(struct cpu *c)
{
	tlb_clear(c->tlb_super);
	tlb_clear(c->tlb_override);
	for (unsigned n = 0; n < TLB_USER_TABLES; n++) {
		if (c->tlb_user[n]->space != SPACE_NONE)
			tlb_clear(c->tlb_user[n]);
		c->tlb_user[n]->space = SPACE_NONE;
	}
	mmu_mode_changed(c);
	jump_flush(c);
}

void mmu_cr3_written(struct cpu *c, uint64_t value, bool keep)
{
	c->cr3 = value;
	tlb_clear_nonglobal(c->tlb_super);
	tlb_clear_nonglobal(c->tlb_override);
	if (!keep)
		mmu_flush_pcid(c, c->cr4 & CR4_PCIDE ? value & 0xfff : 0);
	mmu_mode_changed(c);
	jump_flush(c);
}

void mmu_flush_pcid(struct cpu *c, unsigned pcid)
{
	tlb_clear_nonglobal(c->tlb_super);
	tlb_clear_nonglobal(c->tlb_override);
	for (unsigned n = 0; n < TLB_USER_TABLES; n++) {
		struct tlb *t = c->tlb_user[n];

		if (t->space == SPACE_NONE ||
		    ((c->cr4 & CR4_PCIDE) && (t->space & 0xfff) != pcid))
			continue;
		/* Without PCIDs all spaces go; user pages are seldom global. */
		tlb_clear(t);
		t->space = SPACE_NONE;
	}
	mmu_mode_changed(c);
	jump_flush(c);
}

static void flush_in_table(struct tlb *t, uint64_t va)
{
	struct tlb_entry *e = &t->entry[(va >> 12) & (TLB_SIZE - 1)];
	uint64_t page = PAGE_BASE(va);

	if (t->has_huge) {
		tlb_clear(t);
		return;
	}
	if (e->tag_read == page || e->tag_write == page || e->tag_exec == page)
		entry_clear(e);
	if (!t->has_large)
		return;
	/* The page may be a part of a large one: all parts go (4 MiB, the
	   larger of the two sizes). */
	for (uint64_t part = va & ~0x3fffffull, n = 0; n < 1024; n++) {
		uint64_t at = part + n * 4096;

		e = &t->entry[(at >> 12) & (TLB_SIZE - 1)];
		if (e->tag_read == at || e->tag_write == at ||
		    e->tag_exec == at)
			entry_clear(e);
	}
}

void mmu_flush_page(struct cpu *c, uint64_t va)
{
	flush_in_table(c->tlb_super, va);
	flush_in_table(c->tlb_override, va);
	/* In every space: global pages are all spaces', and a PCID may have
	   been loaded with several tables (SDM vol. 3, 4.10.4.1). */
	for (unsigned n = 0; n < TLB_USER_TABLES; n++)
		if (c->tlb_user[n]->space != SPACE_NONE)
			flush_in_table(c->tlb_user[n], va);
	jump_flush(c);
}

static void protect_in_table(struct cpu *c, struct tlb *t, const uint8_t *hva)
{
	for (unsigned n = 0; n < TLB_SIZE; n++) {
		struct tlb_entry *e = &t->entry[n];

		if (e->tag_write != TLB_NONE &&
		    e->tag_write + e->addend == (uint64_t)hva)
			e->tag_write = TLB_NONE;
	}
}

void tlb_protect_page(struct cpu *c, uint64_t gpa)
{
	const uint8_t *hva = c->ram + PAGE_BASE(gpa);

	protect_in_table(c, c->tlb_super, hva);
	protect_in_table(c, c->tlb_override, hva);
	for (unsigned n = 0; n < TLB_USER_TABLES; n++)
		if (c->tlb_user[n]->space != SPACE_NONE)
			protect_in_table(c, c->tlb_user[n], hva);
}

/* Whatever may be writable is not; the masks say so. */
void tlb_protect_all(struct cpu *c)
{
	for (uint64_t page = 0; page < c->svm->page_count; page++)
		if (c->svm->write_mask[page] & 1u << c->vcpu->id)
			c->svm->write_mask[page] &= ~(1u << c->vcpu->id);
	mmu_flush_all(c);
}

/* -- filling
 * -------------------------------------------------------------------- */

void tlb_fill(struct cpu *c, struct tlb *t, uint64_t va, uint64_t gpa,
	      const struct translation *tr)
{
	unsigned index = (va >> 12) & (TLB_SIZE - 1);
	struct tlb_entry *e = &t->entry[index];
	uint64_t page = PAGE_BASE(va);
	uint64_t addend = (uint64_t)c->ram + PAGE_BASE(gpa) - page;
	bool same = (e->tag_read == page || e->tag_write == page ||
		     e->tag_exec == page) &&
		    e->addend == addend;

	if (unlikely(c->debug_data != 0) && debug_data_page(c, va))
		return;
	if (!same)
		entry_clear(e);
	e->addend = addend;
	if (tr->can_read)
		e->tag_read = page;
	if (tr->can_exec)
		e->tag_exec = page;
	if (tr->can_write && e->tag_write != page &&
	    smc_may_write(c, PAGE_BASE(gpa)))
		e->tag_write = page;
	t->has_large |= tr->page_bits > 12;
	t->has_huge |= tr->page_bits > 22;
	if (!tr->global) {
		if (t->journaled < TLB_JOURNAL)
			t->journal[t->journaled] = (uint16_t)index;
		if (t->journaled <= TLB_JOURNAL)
			t->journaled++;
	}
	c->vcpu->stats[VM_STAT_TLB_FILLS]++;
}
