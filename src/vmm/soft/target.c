/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Targets of jumps: where a table has code, what drops that, and the epochs
 * that tell other jumps that it was dropped.
 */
#include "vmm/soft/target.h"

#include "vmm/soft/access.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/page_set.h"
#include "vmm/soft/tlb.h"

/*
 * An epoch begins where a page with code in it may be another one. No two of
 * a vCPU's tables have the same. To a page's address, of which bits 47 to 12
 * count, it adds in the others, so that no two sums are the same.
 */
#define EPOCH(n) ((uint64_t)(n) >> 12 << 48 | ((n)&MASK(11, 0)))

static void epoch_begin(struct tlb *t)
{
	struct cpu *c = t->cpu;

	c->epochs++;
	t->epoch = EPOCH(c->epochs);
	if (c->epochs < MASK(EPOCH_BITS - 1, 0))
		return;
	for (unsigned n = 0; n < TLB_TABLES; n++)
		c->tlb_all[n]->epoch = EPOCH(n + 1);
	c->epochs = TLB_TABLES;
	if (c->jit != NULL)
		hops_forget(c->jit);
}

/* -- going away ----------------------------------------------------------- */

/*
 * What no address at place n, or at its other one, is found by. Of the bits
 * that make the place one is not compared (target_rest), so 0 is for all but
 * the first four.
 */
static uint64_t target_none(unsigned n)
{
	return n < 4 ? 0 - (5ull << TARGET_SHIFT) : 0;
}

/*
 * Nothing is ever noted at the first place, where all is looked for while a
 * kick waits. Whoever goes by it nevertheless, as he jumps to the address of
 * nothing, or had found another place just before the kick, leaves.
 */
static void first_target_set(struct tlb *t)
{
	if (t->cpu->jit != NULL)
		t->target[0].code = t->cpu->jit->leave_rip;
}

void targets_clear(struct tlb *t)
{
	if (t->target_journaled > TARGET_JOURNAL)
		zero_bytes(t->target, sizeof(t->target));
	else
		for (unsigned k = 0; k < t->target_journaled; k++)
			t->target[t->target_journal[k]].rip = 0;
	for (unsigned n = 0; n < 4; n++)
		t->target[n].rip = target_none(n);
	first_target_set(t);
	t->target_journaled = 0;
	t->targets_global = true;
	epoch_begin(t);
	zero_bytes(t->target_page, sizeof(t->target_page));
	zero_bytes(t->target_region, sizeof(t->target_region));
}

void targets_drop_page(struct tlb *t, uint64_t va)
{
	/* The places of its addresses are side by side. */
	unsigned first = target_place(PAGE_BASE(va));

	for (unsigned n = first; n < first + (4096 >> TARGET_SHIFT); n++)
		if ((0 - t->target[n].rip) >> 12 == va >> 12)
			t->target[n].rip = target_none(n);
	epoch_begin(t);
}

/* -- noting --------------------------------------------------------------- */

void target_page_note(struct cpu *c, uint64_t va)
{
	struct tlb *t = c->tlb;
	unsigned page = tlb_place(va);

	t->targets_global &=
	    tlb_match(t->exec[page], va) && (t->slot[page] & SLOT_GLOBAL);
	/* A block's link may have led here from the other of the supervisor's
	   tables: the page's size is not known in this one. */
	if (!t->is_user && !tlb_match(t->exec[page], va))
		tlb_note_size(t, va, c->svm->has_1g_pages ? 30 : 21);
	page_set_add(t->target_page, PAGE_SET_BITS, va >> 12);
	page_set_add(t->target_region, REGION_SET_BITS, va >> 22);
}

/* The other place of what is displaced: of the same page, side by side, and
   not told apart by the bit that is not compared. */
static struct target *target_other(struct tlb *t, uint64_t rip)
{
	return &t->target[target_place(rip) ^ TARGET_OTHER];
}

static void target_set(struct tlb *t, struct target *at, struct target is)
{
	unsigned n = (unsigned)(at - t->target);

	if (at->rip == target_none(n)) {
		if (t->target_journaled < TARGET_JOURNAL)
			t->target_journal[t->target_journaled] = n;
		if (t->target_journaled <= TARGET_JOURNAL)
			t->target_journaled++;
	}
	*at = is;
}

bool target_note(struct cpu *c, uint64_t rip, uint64_t va, const void *code)
{
	struct tlb *t = c->tlb;
	unsigned n = target_place(rip);
	struct target *at = &t->target[n], *other = target_other(t, rip);

	if (n == 0)
		return false;
	if (at->rip == 0 - rip && at->code == code)
		return true;
	if (at->rip != 0 - rip && at->rip != target_none(n) &&
	    other != &t->target[0])
		target_set(t, other, *at);
	else if (other->rip == 0 - rip)
		other->rip = target_none(n ^ TARGET_OTHER);
	target_page_note(c, va);
	target_set(t, at, (struct target){0 - rip, code});
	return true;
}

void target_renew(struct tlb *t, uint64_t rip, const void *was, const void *is)
{
	struct target *at = &t->target[target_place(rip)];

	if (at->rip != 0 - rip)
		at = target_other(t, rip);
	if (at->rip == 0 - rip && at->code == was)
		at->code = is;
}
