/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stack. In 64-bit mode an access is an address; elsewhere SS has a base,
 * a limit and a size (seg.c).
 */
#ifndef SOFT_STACK_H
#define SOFT_STACK_H

#include "vmm/soft/access.h"

/* A store or load of 1 << lsize bytes (lsize 1..3). */
static inline void store_sized(struct cpu *c, const struct insn *i, uint64_t va,
			       uint64_t value, unsigned lsize)
{
	if (likely(lsize == 3))
		store64(c, i, va, value);
	else if (lsize == 2)
		store32(c, i, va, (uint32_t)value);
	else if (lsize == 1)
		store16(c, i, va, (uint16_t)value);
	else
		store8(c, i, va, (uint8_t)value);
}

static inline uint64_t load_sized(struct cpu *c, const struct insn *i,
				  uint64_t va, unsigned lsize)
{
	if (likely(lsize == 3))
		return load64(c, i, va);
	if (lsize == 2)
		return load32(c, i, va);
	return lsize == 1 ? load16(c, i, va) : load8(c, i, va);
}

/* RSP, ESP or SP plus delta, as the stack's size has it. */
static inline uint64_t stack_offset(const struct cpu *c, int64_t delta)
{
	uint64_t offset = c->gpr[4] + (uint64_t)delta;

	if (likely(c->code_size == 8))
		return offset;
	return c->seg[SEG_SS].access & AR_DB ? (uint32_t)offset
					     : (uint16_t)offset;
}

static inline void stack_set(struct cpu *c, uint64_t offset)
{
	if (likely(c->code_size == 8))
		c->gpr[4] = offset;
	else if (c->seg[SEG_SS].access & AR_DB)
		c->gpr[4] = (uint32_t)offset;
	else
		REG16(c, REG_RSP) = (uint16_t)offset;
}

static inline uint64_t stack_va(struct cpu *c, const struct insn *i,
				uint64_t offset, unsigned lsize,
				enum access access)
{
	if (likely(c->code_size == 8))
		return offset;
	return seg_linear(c, i, SEG_SS, offset, 1u << lsize, access);
}

static inline void push(struct cpu *c, const struct insn *i, unsigned lsize,
			uint64_t value)
{
	uint64_t offset = stack_offset(c, -(int64_t)(1u << lsize));

	store_sized(c, i, stack_va(c, i, offset, lsize, ACCESS_WRITE), value,
		    lsize);
	stack_set(c, offset);
}

/* The value at RSP + delta; RSP stays. */
static inline uint64_t peek(struct cpu *c, const struct insn *i, unsigned lsize,
			    int64_t delta)
{
	uint64_t offset = stack_offset(c, delta);

	return load_sized(c, i, stack_va(c, i, offset, lsize, ACCESS_READ),
			  lsize);
}

static inline uint64_t pop(struct cpu *c, const struct insn *i, unsigned lsize)
{
	uint64_t value = peek(c, i, lsize, 0);

	stack_set(c, stack_offset(c, 1 << lsize));
	return value;
}

#endif
