/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the end of a block to the next: by the block's link inside the page,
 * by the jump cache elsewhere, and else by the main loop.
 *
 * Where the compiler makes tail calls of returns, blocks follow one another
 * without coming back to the main loop; else its trampoline runs them.
 */
#ifndef SOFT_BRANCH_H
#define SOFT_BRANCH_H

#include "vmm/soft/block.h"
#include "vmm/soft/cpu.h"

#if defined(__OPTIMIZE__) && !SOFT_EAGER_LEAVE
#define SOFT_TAIL_CALLS 1
#else
#define SOFT_TAIL_CALLS 0
#endif

static inline const struct insn *enter_block(struct cpu *c,
					     const struct insn *head)
{
	return SOFT_TAIL_CALLS ? head->exec(c, head) : head;
}

/* The slow ways set c->rip, after checking it, and return NULL. */
const struct insn *branch_slow(struct cpu *c, const struct insn *i, unsigned n,
			       int64_t rel);
const struct insn *jump_slow(struct cpu *c, const struct insn *i, uint64_t rip);

/* Faults when rip is not canonical, or beyond the segment. Before anything
   of the branch is committed. */
void branch_check_slow(struct cpu *c, const struct insn *i, uint64_t rip);

static inline void branch_check(struct cpu *c, const struct insn *i,
				uint64_t rip)
{
	if (unlikely(c->code_size != 8 ||
		     (int64_t)(rip << 16) >> 16 != (int64_t)rip))
		branch_check_slow(c, i, rip);
}

/* To REG_RIPBASE + rel, by link n of the block. */
static inline const struct insn *branch(struct cpu *c, const struct insn *i,
					unsigned n, int64_t rel)
{
	const struct insn *head = c->block->link[n];

	if (likely(head != NULL))
		return enter_block(c, head);
	return branch_slow(c, i, n, rel);
}

static inline struct jump_entry *jump_at(struct cpu *c, uint64_t rip)
{
	return &c->jump[(rip ^ rip >> JUMP_BITS) & (JUMP_SIZE - 1)];
}

/* To rip, in the same mode. */
static inline const struct insn *jump_to(struct cpu *c, const struct insn *i,
					 uint64_t rip)
{
	const struct jump_entry *e = jump_at(c, rip);

	if (likely(e->rip == rip && e->tag == c->jump_tag)) {
		c->gpr[17] = e->rip_base;
		return enter_block(c, e->head);
	}
	return jump_slow(c, i, rip);
}

#endif
