/* SPDX-License-Identifier: BSD-2-Clause */
/* RSI, RDI and RCX of string instructions, by address size. */
#ifndef SOFT_STRING_H
#define SOFT_STRING_H

#include "vmm/soft/cpu.h"

static inline uint64_t address_mask(const struct insn *i)
{
	return i->asize == 3   ? ~0ull
	       : i->asize == 2 ? 0xffffffffull
			       : 0xffffull;
}

static inline uint64_t string_offset(const struct cpu *c, const struct insn *i,
				     unsigned reg)
{
	return c->gpr[reg / 8] & address_mask(i);
}

static inline void string_set(struct cpu *c, const struct insn *i, unsigned reg,
			      uint64_t value)
{
	if (i->asize == 3)
		REG64(c, reg) = value;
	else if (i->asize == 2)
		REG64(c, reg) = (uint32_t)value;
	else
		REG16(c, reg) = (uint16_t)value;
}

static inline void string_advance(struct cpu *c, const struct insn *i,
				  unsigned reg, uint64_t elements)
{
	uint64_t bytes = elements << i->lsize;

	string_set(c, i, reg,
		   c->flags & RFLAGS_DF ? REG64(c, reg) - bytes
					: REG64(c, reg) + bytes);
}

static inline uint64_t string_count(const struct cpu *c, const struct insn *i)
{
	return string_offset(c, i, REG_RCX);
}

static inline void string_set_count(struct cpu *c, const struct insn *i,
				    uint64_t count)
{
	string_set(c, i, REG_RCX, count);
}

/*
 * Between two steps: does somebody want the vCPU, or a trap a step? Alone, a
 * step ends the run, so that the log of accesses is of this step only.
 */
static inline bool string_must_pause(const struct cpu *c)
{
	return c->kick != 0 || c->single_step || c->alone;
}

#endif
