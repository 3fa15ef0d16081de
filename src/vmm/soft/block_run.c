/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Into a block and out of it: what runs at its head and at its end, and from
 * one to the next where there is no link yet (branch.h).
 */
#include "vmm/soft/access.h"
#include "vmm/soft/block_cache.h"
#include "vmm/soft/branch.h"
#include "vmm/soft/jit/jit.h"

static uint64_t code_mask(const struct cpu *c, uint64_t rip)
{
	return c->code_size == 8   ? rip
	       : c->code_size == 4 ? (uint32_t)rip
				   : (uint16_t)rip;
}

/* -- pseudo-instructions -------------------------------------------------- */

/* A block's head: looks up, counts, goes on. */
const struct insn *exec_head(struct cpu *c, const struct insn *i)
{
	const struct block *b = container_of(i, struct block, insn[0]);

	if (unlikely(c->kick != 0) && !c->in_shadow) {
		c->rip = code_mask(c, c->gpr[17] + i->off);
		return NULL;
	}
	if (unlikely(b->second != 0) && !block_second_holds(c, b))
		return NULL;
	c->in_shadow = false;
	c->block = b;
	c->retired += b->count;
	return next(c, i);
}

/* The head of a translated block. */
static const struct insn *exec_translated(struct cpu *c, const struct insn *i)
{
	const struct block *b = container_of(i, struct block, insn[0]);
	uint64_t rip = c->gpr[17] + i->off;

	if (unlikely(c->kick != 0 || c->tlb->go == 0 || c->align_check ||
		     !jit_is_amid(rip)))
		return exec_head(c, i);
	if (unlikely(b->second != 0)) {
		if (!block_second_holds(c, b))
			return NULL;
		/* Translated code finds it by the TLB only. */
		if (!tlb_has(c->tlb, PAGE_BASE(rip) + 4096, ACCESS_EXEC))
			return exec_head(c, i);
	}
	target_note(c, rip, rip, b->code);
	return jit_run(c, b);
}

/* The head of a block that may become hot. */
const struct insn *exec_warm(struct cpu *c, const struct insn *i)
{
	struct block *b =
	    (struct block *)(uintptr_t)container_of(i, struct block, insn[0]);

	if (likely(++b->heat < c->jit->hot) || c->kick != 0)
		return exec_head(c, i);
	b->insn[0].exec = exec_head;
	if (c->jit->full || !jit_translate(c, b))
		return exec_head(c, i);
	return exec_translated(c, i);
}

bool block_is_warm(const struct block *b)
{
	return b->insn[0].exec == exec_warm;
}

void block_is_translated(struct block *b)
{
	b->insn[0].exec = exec_translated;
}

/* After the last instruction, when that is no branch. */
const struct insn *exec_tail(struct cpu *c, const struct insn *i)
{
	return branch(c, i, 1, i->off);
}

/* After the one instruction that runs alone. */
const struct insn *exec_stop(struct cpu *c, const struct insn *i)
{
	c->rip = code_mask(c, c->gpr[17] + i->off);
	return NULL;
}

/* In the place of each instruction of a dropped block. */
const struct insn *exec_leave(struct cpu *c, const struct insn *i)
{
	return leave_at(c, i);
}

/* The head of a dropped block, should anybody still have it. */
const struct insn *exec_gone(struct cpu *c, const struct insn *i)
{
	c->rip = code_mask(c, c->gpr[17] + i->off);
	return NULL;
}

static bool is_head(exec_fn exec)
{
	return exec == exec_head || exec == exec_translated ||
	       exec == exec_warm || exec == exec_gone;
}

const struct block *block_of(const struct insn *i)
{
	while (!is_head(i->exec))
		i--;
	return container_of(i, struct block, insn[0]);
}

bool block_is_dead(const struct insn *i)
{
	return i->exec == exec_leave;
}

/* -- leaving a block ------------------------------------------------------ */

/*
 * Instructions of the current block from i on, which its head counted. What
 * accesses elements of a vector has a copy of the instruction for each.
 */
static uint64_t counted_from(const struct cpu *c, const struct insn *i)
{
	const struct block *b = c->block;
	uint64_t n = 0;

	if (i >= b->insn && i <= &b->insn[b->count + 1])
		return b->count - (uint64_t)(i - &b->insn[1]);
	while (n < b->count && b->insn[1 + n].off != i->off)
		n++;
	return b->count - n;
}

const struct insn *leave_at(struct cpu *c, const struct insn *i)
{
	c->retired -= counted_from(c, i);
	c->rip = code_mask(c, insn_rip(c, i));
	return NULL;
}

const struct insn *end_block(struct cpu *c, const struct insn *i)
{
	c->retired -= counted_from(c, i) - 1;
	c->rip = next_rip(c, i);
	return NULL;
}

void block_unwind(struct cpu *c, const struct insn *i)
{
	c->retired -= counted_from(c, i);
	c->rip = code_mask(c, insn_rip(c, i));
}

/* Near branches fault before they are taken (SDM vol. 2, JMP). */
void branch_check_slow(struct cpu *c, const struct insn *i, uint64_t rip)
{
	if (c->code_size == 8) {
		if (!is_canonical(c, rip))
			raise_gp(c, i, 0);
	} else if (rip > c->seg[SEG_CS].limit) {
		raise_gp(c, i, 0);
	}
}

static uint64_t target_mask(const struct cpu *c, const struct insn *i,
			    unsigned n, uint64_t rip)
{
	if (c->code_size == 8)
		return rip;
	if (n == 0) /* taken: by the operand size */
		return i->lsize == 1 ? (uint16_t)rip : (uint32_t)rip;
	return code_mask(c, rip);
}

const struct insn *branch_slow(struct cpu *c, const struct insn *i, unsigned n,
			       int64_t rel)
{
	uint64_t raw = c->gpr[17] + (uint64_t)rel;
	uint64_t rip = target_mask(c, i, n, raw);

	branch_check(c, i, rip);
	if (rip == raw && rel >= 0 && rel < 4096) {
		struct block *b = (struct block *)(uintptr_t)c->block;

		if (!c->alone)
			c->link_from = &b->link[n];
		c->rip = rip;
		return NULL;
	}
	return jump_to(c, i, rip);
}

const struct insn *jump_slow(struct cpu *c, const struct insn *i, uint64_t rip)
{
	branch_check(c, i, rip);
	c->rip = rip;
	return NULL;
}

/* Entries of each mode, and of CPL 3, may live side by side. */
void live_tag_update(struct cpu *c)
{
	c->live_tag = c->tag_count << 9 | c->mode_key >> MODE_KEY_SHIFT << 1 |
		      (c->cpl == 3);
}

void jump_flush(struct cpu *c)
{
	c->tag_count++;
	live_tag_update(c);
}
