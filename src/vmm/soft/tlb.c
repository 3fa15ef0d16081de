/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The software TLB: which table is current, and how entries go away.
 *
 * CPL 3 has a table for each of the last address spaces (CR3 and PCID), and
 * one more where it runs both 64-bit code and other code.
 * CPL 0-2 has two: one without user pages (SMAP in force), one with them.
 * The supervisor's tables serve all spaces: what is not global is listed in
 * the table's journal and dropped at each CR3 load.
 */
#include "vmm/soft/tlb.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>

#include "vmm/soft/access.h"
#include "vmm/soft/block.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/page_set.h"
#include "vmm/soft/smc.h"
#include "vmm/soft/vec.h"
#include "vmm/soft/window.h"

/* -- emptying
 * ---------------------------------------------------------------------- */

/*
 * What no address at place n is found by. 0 is page 0, which only place 0 can
 * have, and what begins below it and wraps, in the last place; those have a
 * page from half a table away. So an empty table is all zero, and takes no
 * memory.
 */
static uint64_t tag_none(unsigned n)
{
	bool is_page_0 = n == 0 || n == TLB_SIZE - 1;

	return is_page_0 ? 0 - ((uint64_t)(n ^ TLB_SIZE / 2) << 12) : 0;
}

/* Who guessed site_none would go by the addend: to nowhere. */
static void site_clear(struct tlb *t, unsigned n)
{
	t->site_tag[n] = t->site_none;
	t->site_addend[n] = t->site_nowhere;
}

/* What probes remember. */
static void sites_clear(struct tlb *t)
{
	fill_words(t->site_tag, t->site_none, SITES);
	fill_words(t->site_addend, t->site_nowhere, SITES);
	zero_bytes(t->site_page, sizeof(t->site_page));
}

static unsigned site_page(uint64_t tag)
{
	return (unsigned)((0 - tag) >> 12) & (SITE_PAGES - 1);
}

/* site_page[] may say yes for what was there once; it knows better then. */
static void sites_drop_page(struct tlb *t, uint64_t va)
{
	uint64_t tag = 0 - (va & ~0xfffull);
	unsigned page = site_page(tag);
	uint8_t others = 0;

	if (t->site_page[page] == 0)
		return;
	for (unsigned n = 0; n < SITES; n++) {
		if (t->site_tag[n] == tag)
			site_clear(t, n);
		others |= site_page(t->site_tag[n]) == page;
	}
	t->site_page[page] = others;
}

/* What is remembered of the page of a slot, which is about to go. */
static void sites_drop_slot(struct tlb *t, unsigned n)
{
	if (t->read[n] != tag_none(n))
		sites_drop_page(t, 0 - t->read[n]);
	else if (t->write[n] != tag_none(n))
		sites_drop_page(t, 0 - t->write[n]);
}

static void slot_clear(struct tlb *t, unsigned n)
{
	t->read[n] = t->write[n] = t->exec[n] = tag_none(n);
	t->slot[n] &= (uint8_t)~SLOT_GLOBAL;
}

static void journal_clear(struct tlb *t)
{
	for (unsigned k = 0; k < t->tlb_journaled; k++) {
		slot_clear(t, t->tlb_journal[k]);
		t->slot[t->tlb_journal[k]] = 0;
	}
	t->tlb_journaled = 0;
}

static void tlb_clear(struct tlb *t)
{
	if (!t->has_global && t->tlb_journaled <= TLB_JOURNAL) {
		journal_clear(t);
	} else {
		for (unsigned n = 0; n < TLB_SIZE; n++) {
			slot_clear(t, n);
			t->slot[n] = 0;
		}
		t->tlb_journaled = 0;
		t->has_global = false;
	}
	zero_bytes(t->large_region, sizeof(t->large_region));
	t->huge_count = 0;
	sites_clear(t);
	targets_clear(t);
	window_clear(t);
	t->has_windows = false;
	t->kicks = 0;
	t->faulted = 0;
}

/* Probes remember no more pages than slots hold, tlb_fill() sees to that. */
static void tlb_clear_nonglobal(struct tlb *t)
{
	if (t->tlb_journaled > TLB_JOURNAL) {
		tlb_clear(t);
	} else {
		for (unsigned k = 0; k < t->tlb_journaled; k++)
			sites_drop_slot(t, t->tlb_journal[k]);
		journal_clear(t);
	}
	if (!t->targets_global)
		targets_clear(t);
}

/* -- making
 * ----------------------------------------------------------------------- */

/* Below a table there is room for a signal's frame and a return address,
   because translated code has its stack pointer on it; beyond it is nothing,
   as far as an address may lead that should lead to a window. */
#define STACK_BYTES (64 * KiB)
#define GUARD_BYTES (4 * KiB)
#define TABLE_BYTES                                                            \
	ALIGN_UP(GUARD_BYTES + STACK_BYTES + sizeof(struct tlb), 4096)

static uint64_t bytes_beyond(const struct cpu *c)
{
	return c->window_nothing != NULL ? WINDOW_BEYOND : 0;
}

#define PAGE_BITS (~0xfffull)

static struct tlb *table_create(struct cpu *c, unsigned id, uint64_t none)
{
	uint8_t *p = mmap(NULL, TABLE_BYTES + bytes_beyond(c), PROT_NONE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct tlb *t;

	if (p == MAP_FAILED)
		return NULL;
	if (mprotect(p + GUARD_BYTES, TABLE_BYTES - GUARD_BYTES,
		     PROT_READ | PROT_WRITE) != 0) {
		munmap(p, TABLE_BYTES + bytes_beyond(c));
		return NULL;
	}
	t = (struct tlb *)(void *)(p + TABLE_BYTES - sizeof(*t));
	t->cpu = c;
	t->id = (uint8_t)id;
	t->tlb_bits = (uint64_t)(TLB_SIZE - 1) << 12;
	t->page_bits = PAGE_BITS;
	t->site_page_bits = (uint64_t)(SITE_PAGES - 1) << 12;
	t->site_none = 0 - none;
	t->site_nowhere = (uint64_t)c->nowhere - none;
	for (unsigned n = 0; n < SITES; n++) {
		site_clear(t, n);
		t->site_left[n] = SITE_PATIENCE;
	}
	t->align_2 = ~0xffeull;
	t->align_4 = ~0xffcull;
	t->align_8 = ~0xff8ull;
	t->align_16 = ~0xff0ull;
	t->align_32 = ~0xfe0ull;
	t->align_64 = ~0xfc0ull;
	t->target_bits = t->place_bits = TARGET_PLACE_BITS;
	t->target_rest = ~(1ull << TARGET_SHIFT);
	t->other_bit = (uint64_t)TARGET_OTHER << TARGET_SHIFT;
	t->hop_bits = MASK(62, 0);
	t->go = TLB_GO;
	t->sign_64 = 1ull << 63;
	t->sign_32 = 1ull << 31;
	t->no_if = ~(uint64_t)RFLAGS_IF;
	t->high_32 = ~0ull << 32;
	t->no_df = ~(uint64_t)RFLAGS_DF;
	t->no_ac = ~(uint64_t)RFLAGS_AC;
	t->arith_bits = RFLAGS_ARITH;
	t->low_5 = 31;
	t->low_6 = 63;
	t->tsc_bits = ~(TSC_WINDOW - 1);
	t->x87_masks = FPU_EXC;
	t->over_page = PAGE_BITS;
	t->df_bit = RFLAGS_DF;
	window_init(c, t);
	slot_clear(t, 0);
	slot_clear(t, TLB_SIZE - 1);
	tlb_clear(t);
	return t;
}

static void table_destroy(struct tlb *t)
{
	if (t != NULL)
		munmap((uint8_t *)(t + 1) - TABLE_BYTES,
		       TABLE_BYTES + bytes_beyond(t->cpu));
}

/*
 * The page that a probe without one has: no guest can know which, and it is
 * not canonical, so that nothing is ever there; and would it guess it, it
 * found a page of no use. Negated as a tag.
 */
static uint64_t secret_page(void)
{
	uint64_t page;

	while (getrandom(&page, sizeof(page), 0) != sizeof(page))
		;
	return (page & 0x3ffffffffffff000) | 1ull << 63;
}

int tlbs_create(struct cpu *c)
{
	uint64_t none = secret_page();

	c->nowhere = aligned_alloc(4096, 2 * 4096);
	if (c->nowhere == NULL)
		return -ENOMEM;
	zero_bytes(c->nowhere, 2 * 4096);
	windows_create(c);
	for (unsigned n = 0; n < TLB_TABLES; n++) {
		c->tlb_all[n] = table_create(c, n, none);
		if (c->tlb_all[n] == NULL)
			return -ENOMEM;
	}
	c->tlb_super = c->tlb_all[0];
	c->tlb_override = c->tlb_all[1];
	c->tlb_none = c->tlb_all[2];
	c->tlb_user = &c->tlb_all[3];
	for (unsigned n = 0; n < TLB_USER_TABLES; n++)
		c->tlb_user[n]->is_user = true;
	c->writers = mmap(NULL, c->svm->page_count * sizeof(*c->writers),
			  PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (c->writers == MAP_FAILED) {
		c->writers = NULL;
		return -ENOMEM;
	}
	mmu_flush_all(c);
	c->tlb = c->tlb_override;
	return 0;
}

void tlbs_destroy(struct cpu *c)
{
	windows_destroy(c);
	for (unsigned n = 0; n < TLB_TABLES; n++)
		table_destroy(c->tlb_all[n]);
	free(c->nowhere);
	if (c->writers != NULL)
		munmap(c->writers, c->svm->page_count * sizeof(*c->writers));
}

/* -- which table --------------------------------------------------------------
 */

#define SPACE_NONE (~0ull)

/* PCID is in the low 12 bits; without CR4.PCIDE they are not the space's. */
static uint64_t current_space(const struct cpu *c)
{
	return c->cr4 & CR4_PCIDE ? c->cr3 : c->cr3 & ~0xfffull;
}

/* An address in 64-bit code and the same in 32-bit code, or with what CPL 0
   may do and without, are different targets. */
static uint8_t targets_of(const struct cpu *c)
{
	return (uint8_t)((c->code_size == 8) | (c->cpl != 0) << 1);
}

static struct tlb *user_table(struct cpu *c)
{
	uint64_t space = current_space(c);
	struct tlb *t = c->tlb_user[c->tlb_last];
	uint8_t of = targets_of(c);

	if (likely(t->space == space && t->targets_of == of))
		return t;
	for (unsigned n = 0; n < TLB_USER_TABLES; n++) {
		t = c->tlb_user[n];
		if (t->space != space || t->targets_of != of)
			continue;
		c->tlb_last = (uint8_t)n;
		return t;
	}
	t = c->tlb_user[c->tlb_victim];
	c->tlb_victim = (c->tlb_victim + 1) % TLB_USER_TABLES;
	tlb_clear(t);
	t->space = space;
	t->targets_of = of;
	t->has_windows =
	    c->jit != NULL && c->jit->all_hot && window_possible(c, t);
	return t;
}

struct tlb *tlb_current(struct cpu *c)
{
	if (c->cpl == 3)
		return user_table(c);
	return c->tlb_by_ac[(c->flags & RFLAGS_AC) != 0];
}

/* STAC and CLAC in translated code take one for the other unseen. */
static void supervisor_tables(struct cpu *c)
{
	c->tlb_by_ac[0] = c->cr4 & CR4_SMAP ? c->tlb_super : c->tlb_override;
	c->tlb_by_ac[1] = c->tlb_override;
	for (unsigned n = 0; n < 2 && c->cpl != 3; n++) {
		struct tlb *t = c->tlb_by_ac[n];

		if (likely(t->targets_of == targets_of(c)))
			continue;
		targets_clear(t);
		t->targets_of = targets_of(c);
	}
}

void mmu_mode_changed(struct cpu *c)
{
	supervisor_tables(c);
	c->align_check =
	    c->cpl == 3 && (c->flags & RFLAGS_AC) && (c->cr0 & CR0_AM);
	c->tlb = c->align_check ? c->tlb_none : tlb_current(c);
	if (c->tlb->has_windows != ((c->mode_key & MODE_KEY_WINDOWS) != 0)) {
		c->mode_key ^= MODE_KEY_WINDOWS;
		live_tag_update(c);
	}
}

/* -- going away
 * ---------------------------------------------------------------- */

void mmu_flush_all(struct cpu *c)
{
	tlb_clear(c->tlb_super);
	tlb_clear(c->tlb_override);
	for (unsigned n = 0; n < TLB_USER_TABLES; n++) {
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

static bool in_huge_page(const struct tlb *t, uint64_t va)
{
	if (t->huge_count > TLB_HUGE)
		return true;
	for (unsigned n = 0; n < t->huge_count; n++)
		if (t->huge[n] == va >> 30)
			return true;
	return false;
}

static bool slot_holds(const struct tlb *t, unsigned n, uint64_t va)
{
	return tlb_match(t->read[n], va) || tlb_match(t->write[n], va) ||
	       tlb_match(t->exec[n], va);
}

static void flush_in_table(struct tlb *t, uint64_t va)
{
	bool large = page_set_has(t->large_region, REGION_SET_BITS, va >> 22);

	if (in_huge_page(t, va)) {
		tlb_clear(t);
		return;
	}
	if (slot_holds(t, tlb_place(va), va))
		slot_clear(t, tlb_place(va));
	sites_drop_page(t, va);
	window_drop(t, va);
	if (!large) {
		if (page_set_has(t->target_page, PAGE_SET_BITS, va >> 12))
			targets_drop_page(t, va);
		return;
	}
	if (page_set_has(t->target_region, REGION_SET_BITS, va >> 22))
		targets_clear(t);
	sites_clear(t);
	/* The page may be a part of a large one: all parts go (4 MiB, the
	   larger of the two sizes). */
	for (unsigned n = 0; n < 1024; n++) {
		uint64_t at = (va & ~0x3fffffull) + n * 4096ull;

		if (slot_holds(t, tlb_place(at), at))
			slot_clear(t, tlb_place(at));
		window_drop(t, at);
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

/* -- who may write to a guest page
 * ----------------------------------------------------------
 */

#define WRITER_MANY 0xffffffffu

static uint64_t writer_hva(const struct cpu *c, uint32_t writer)
{
	const struct tlb *t = c->tlb_all[writer >> 16 & 0xff];
	unsigned n = writer & 0xffff;

	return t->write[n] == tag_none(n) ? 0 : t->addend[n] - t->write[n];
}

static uint32_t writer_of(const struct tlb *t, unsigned n)
{
	return 1u << 24 | (uint32_t)t->id << 16 | n;
}

/* Table t has the page writable at place n: two such are kept by name. */
static void writer_note(struct cpu *c, const struct tlb *t, unsigned n,
			uint64_t gpa)
{
	uint32_t *w = c->writers[gpa >> 12].by, me = writer_of(t, n);
	uint64_t hva = (uint64_t)c->ram + PAGE_BASE(gpa);

	if (w[0] == me || w[1] == me || w[0] == WRITER_MANY)
		return;
	for (unsigned k = 0; k < 2; k++)
		if (w[k] == 0 || writer_hva(c, w[k]) != hva) {
			w[k] = me;
			return;
		}
	w[0] = WRITER_MANY;
}

static void protect_in_table(struct tlb *t, uint64_t hva)
{
	for (unsigned n = 0; n < TLB_SIZE; n++)
		if (t->write[n] != tag_none(n) &&
		    t->addend[n] - t->write[n] == hva)
			t->write[n] = tag_none(n);
	sites_clear(t);
}

void tlb_protect_page(struct cpu *c, uint64_t gpa)
{
	uint32_t *w = c->writers[gpa >> 12].by;
	uint64_t hva = (uint64_t)c->ram + PAGE_BASE(gpa);

	if (w[0] == WRITER_MANY) {
		for (unsigned n = 0; n < TLB_TABLES; n++)
			protect_in_table(c->tlb_all[n], hva);
	} else {
		for (unsigned k = 0; k < 2; k++) {
			struct tlb *t = c->tlb_all[w[k] >> 16 & 0xff];
			unsigned n = w[k] & 0xffff;

			if (w[k] == 0 || writer_hva(c, w[k]) != hva)
				continue;
			sites_drop_page(t, 0 - t->write[n]);
			t->write[n] = tag_none(n);
		}
	}
	w[0] = w[1] = 0;
	windows_protect(c, gpa);
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

void tlb_note_size(struct tlb *t, uint64_t va, unsigned page_bits)
{
	if (page_bits > 22) {
		if (!in_huge_page(t, va)) {
			if (t->huge_count < TLB_HUGE)
				t->huge[t->huge_count] = va >> 30;
			t->huge_count++;
		}
	} else if (page_bits > 12) {
		page_set_add(t->large_region, REGION_SET_BITS, va >> 22);
	}
}

static void journal_add(struct tlb *t, unsigned n)
{
	if (t->slot[n] & SLOT_JOURNALED)
		return;
	t->slot[n] |= SLOT_JOURNALED;
	if (t->tlb_journaled < TLB_JOURNAL)
		t->tlb_journal[t->tlb_journaled] = (uint16_t)n;
	if (t->tlb_journaled <= TLB_JOURNAL)
		t->tlb_journaled++;
}

void tlb_fill(struct cpu *c, struct tlb *t, uint64_t va, uint64_t gpa,
	      const struct translation *tr)
{
	unsigned n = tlb_place(va);
	uint64_t addend = (uint64_t)c->ram + PAGE_BASE(gpa) - PAGE_BASE(va);
	uint64_t tag = 0 - PAGE_BASE(va);

	if (unlikely(c->debug_data != 0) && debug_data_page(c, va))
		return;
	if (!slot_holds(t, n, va) || t->addend[n] != addend) {
		/* Whoever protects a page, or drops those of a space, finds
		   here what probes remember. */
		sites_drop_slot(t, n);
		slot_clear(t, n);
	}
	t->addend[n] = addend;
	if (tr->can_read)
		t->read[n] = tag;
	if (tr->can_exec)
		t->exec[n] = tag;
	if (tr->can_write && t->write[n] != tag &&
	    smc_may_write(c, PAGE_BASE(gpa))) {
		t->write[n] = tag;
		writer_note(c, t, n, gpa);
	}
	tlb_note_size(t, va, tr->page_bits);
	if (tr->global && !t->is_user) {
		t->slot[n] |= SLOT_GLOBAL;
		t->has_global = true;
	} else
		journal_add(t, n);
	c->vcpu->stats[VM_STAT_TLB_FILLS]++;
}
