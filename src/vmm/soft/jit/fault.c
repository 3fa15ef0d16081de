// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/soft/jit/fault.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/soft/access.h"
#include "vmm/soft/jit/translate.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/window.h"

/* Of the code cache, for each access there may be; others go by the TLB. */
#define ACCESS_BYTES 64

/* -- accesses -----------------------------------------------------------------
 */

int faults_create(struct jit *jit)
{
	struct faults *f = &jit->faults;

	f->code = jit->code.exec;
	f->code_bytes = jit->code.size;
	f->max = (uint32_t)(f->code_bytes / ACCESS_BYTES);
	f->access = calloc(f->max, sizeof(*f->access));
	if (f->access == NULL)
		return -ENOMEM;
	faults_watch(f);
	return 0;
}

void faults_destroy(struct jit *jit)
{
	/* Even where tests have said that it is not. */
	faults_unwatch(&jit->faults);
	free(jit->faults.access);
}

void fault_add(struct faults *f, struct jit_access access)
{
	f->access[f->used++] = access;
}

const void *fault_piece(const struct faults *f, uint64_t rip, struct tlb *frame)
{
	size_t place = rip - (uint64_t)(uintptr_t)f->code;
	uint32_t low = 0, high = f->used;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (f->access[middle].begin + f->access[middle].bytes <= place)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == f->used || f->access[low].begin > place)
		return NULL;
	frame->miss_what = low;
	return f->piece;
}

/* -- what they access ---------------------------------------------------------
 */

const struct insn *access_insn(const struct cpu *c, const struct jit_access *a)
{
	return (const struct insn *)(const void *)(c->arena + a->insn);
}

static uint64_t offset_of(const struct cpu *c, const struct insn *i)
{
	uint64_t offset = operand_offset(c, i);

	return i->asize == 2 ? (uint32_t)offset : offset;
}

uint64_t access_va(const struct cpu *c, const struct jit_access *a)
{
	const struct insn *i = access_insn(c, a);

	if (a->base != T0 && !a->indexed)
		return c->gpr[guest_of(a->base)] + (uint64_t)a->disp;
	return offset_of(c, i) + (i->seg < SEG_FS ? 0 : c->seg[i->seg].base);
}

/* As x87_settle() has it. */
static void tell_x87(struct cpu *c, const struct jit_access *a)
{
	const struct insn *place = access_insn(c, a) - a->x87_place;

	if (a->x87_operand != 0)
		c->fpu_dp = offset_of(c, access_insn(c, a) - a->x87_operand);
	if (a->x87_place == 0)
		return;
	c->fpu_ip = insn_rip(c, place);
	c->fpu_opcode = (uint16_t)(place->a | place->c << 8);
}

/* -- what they cost -----------------------------------------------------------
 */

/*
 * To map and unmap takes as long as it takes; SIGSEGV, and that the page is
 * touched, some 10 us more. An eighth of the time may go there, and a tenth of
 * a second at once, as when a program begins to work on what it has.
 */
#define FAULT_TICKS 25000
#define DEBT_SHIFT  3
#define DEBT_MAX    (200 * 1000 * 1000)
/* Blocks that a kick lets try again. */
#define CALMED      8

static uint64_t debt_now(const struct faults *f)
{
	uint64_t paid = (__builtin_ia32_rdtsc() - f->then) >> DEBT_SHIFT;

	return f->debt - MIN(f->debt, paid);
}

void faults_cost(struct cpu *c, uint64_t ticks)
{
	struct faults *f = &c->jit->faults;

	f->debt = MIN(debt_now(f) + ticks, DEBT_MAX);
	f->then = __builtin_ia32_rdtsc();
}

/* Each has its page now, or (not got) stays to fault each time. */
static bool paid(struct cpu *c, const struct jit_access *a, bool got)
{
	struct faults *f = &c->jit->faults;
	const struct insn *i = access_insn(c, a);
	struct block *b = (struct block *)(uintptr_t)block_of(i);

	c->vcpu->stats[VM_STAT_WINDOW_FAULTS]++;
	faults_cost(c, got ? FAULT_TICKS : 16 * FAULT_TICKS);
	if (f->debt < DEBT_MAX || b->code == NULL)
		return got;
	if (b->by_tlb == 0 && f->turned_used < TURNED_MAX)
		f->turned[f->turned_used++] = b;
	b->by_tlb |= 1ull << (i - &b->insn[1]);
	jit_again(c, b, c->gpr[17]);
	return false;
}

static bool map(struct cpu *c, const struct jit_access *a, uint64_t va)
{
	struct tlb *t = c->tlb;
	struct translation tr;

	return mmu_refill(c, t, va, a->write ? ACCESS_WRITE : ACCESS_READ,
			  &tr) &&
	       window_map(c, t, va, a->write, &tr);
}

bool fault_served(struct cpu *c, const struct jit_access *a, uint64_t va)
{
	uint64_t last = va + a->operand_bytes - 1, tags = c->tag_count;
	bool got;

	tell_x87(c, a);
	if (c->kick != 0 || c->tlb->go == 0 || (va & a->align) != 0)
		return false;
	got = map(c, a, va);
	if (PAGE_BASE(last) != PAGE_BASE(va))
		got |= map(c, a, last);
	/* Setting a bit of a page-table entry may have dropped this block. */
	return paid(c, a, got) && c->tag_count == tags;
}

bool faults_are_many(const struct cpu *c)
{
	return c->jit->faults.debt > DEBT_MAX / 2;
}

/* The last ones come first: they are of what runs now. */
void faults_calm(struct cpu *c)
{
	struct faults *f = &c->jit->faults;

	for (unsigned n = 0;
	     n < CALMED && f->turned_used != 0 && debt_now(f) < DEBT_MAX / 2;
	     n++) {
		struct block *b = f->turned[--f->turned_used];

		b->by_tlb = 0;
		jit_translate_again(c, b);
	}
}
