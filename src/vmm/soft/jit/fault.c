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

void faults_forget(struct faults *f)
{
	f->used = 0;
	debts_forget(&f->debts);
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

/* SIGSEGV, and that the page is touched, in ticks: some 10 us. What is done in
   between takes as long as it takes. */
#define FAULT_TICKS 25000

/* Blocks that a kick lets try again. */
#define CALMED 8

void faults_cost(struct cpu *c, uint64_t ticks)
{
	debts_add(&c->jit->faults.debts, ticks, __builtin_ia32_rdtsc());
}

bool faults_are_many(const struct cpu *c)
{
	return debts_are_many(&c->jit->faults.debts);
}

void faults_calm(struct cpu *c)
{
	for (unsigned n = 0; n < CALMED; n++) {
		struct block *b =
		    debts_pardon(&c->jit->faults.debts, __builtin_ia32_rdtsc());

		if (b == NULL)
			return;
		b->by_tlb = 0;
		jit_translate_again(c, b);
	}
}

enum fault_end {
	FAULT_SERVED,
	FAULT_GUESTS, /* the guest has no such page, and is told */
	FAULT_STAYS,  /* what is there is in no window, and faults each time */
};

/* What was done took so many ticks, which are counted already. */
static bool is_too_much(struct cpu *c, const struct jit_access *a,
			enum fault_end end, uint64_t ticks)
{
	uint64_t besides = end == FAULT_STAYS ? 16 * FAULT_TICKS : FAULT_TICKS;
	const struct insn *i = access_insn(c, a);
	struct block *b = (struct block *)(uintptr_t)block_of(i);

	faults_cost(c, besides);
	if (b->code == NULL ||
	    !debts_are_too_much(&c->jit->faults.debts, i, b, ticks + besides,
				__builtin_ia32_rdtsc()))
		return false;
	b->by_tlb |= 1ull << (i - &b->insn[1]);
	jit_again(c, b, c->gpr[17]);
	return true;
}

/* -- what is done for them ----------------------------------------------------
 */

static enum fault_end serve(struct cpu *c, const struct jit_access *a,
			    uint64_t va)
{
	struct tlb *t = c->tlb;
	struct translation tr;

	if (!mmu_refill(c, t, va, a->write ? ACCESS_WRITE : ACCESS_READ, &tr))
		return FAULT_GUESTS;
	return window_map(c, t, va, a->write, &tr) ? FAULT_SERVED : FAULT_STAYS;
}

bool fault_served(struct cpu *c, const struct jit_access *a, uint64_t va)
{
	uint64_t last = va + a->operand_bytes - 1, tags = c->tag_count;
	uint64_t began = __builtin_ia32_rdtsc();
	enum fault_end end;

	tell_x87(c, a);
	if (c->kick != 0 || c->tlb->go == 0 || (va & a->align) != 0)
		return false;
	end = serve(c, a, va);
	if (PAGE_BASE(last) != PAGE_BASE(va) &&
	    serve(c, a, last) == FAULT_SERVED)
		end = FAULT_SERVED;
	c->vcpu->stats[VM_STAT_WINDOW_FAULTS]++;
	/* Setting a bit of a page-table entry may have dropped this block. */
	return !is_too_much(c, a, end, __builtin_ia32_rdtsc() - began) &&
	       end == FAULT_SERVED && c->tag_count == tags;
}
