/* SPDX-License-Identifier: BSD-2-Clause */
/* PUSH, POP, PUSHA, POPA, PUSHF, POPF, ENTER, LEAVE. */
#include "vmm/soft/exec.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/vme.h"

#define PUSH_POP(name, bits, lsize)                                            \
	EXEC(push_rr##bits)                                                    \
	{                                                                      \
		push(c, i, lsize, GET##bits(i->a));                            \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(push_ri##bits)                                                    \
	{                                                                      \
		push(c, i, lsize, (uint64_t)i->imm);                           \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(push_mr##bits)                                                    \
	{                                                                      \
		push(c, i, lsize, LOAD_OPERAND(bits));                         \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(pop_rr##bits)                                                     \
	{                                                                      \
		uint64_t value = pop(c, i, lsize);                             \
		SET##bits(i->a, value);                                        \
		return next(c, i);                                             \
	}                                                                      \
	/* The address is computed with RSP after the pop. */                  \
	EXEC(pop_mr##bits)                                                     \
	{                                                                      \
		uint64_t value = peek(c, i, lsize, 0), before = c->gpr[4];     \
		uint64_t after = stack_offset(c, bits / 8), va;                \
		stack_set(c, after);                                           \
		va = operand_offset(c, i);                                     \
		c->gpr[4] = before; /* a fault leaves it alone */              \
		if (unlikely(i->flags & INSN_EA_SLOW))                         \
			va = ea_slow(c, i, va, bits / 8, ACCESS_WRITE);        \
		store##bits(c, i, va, (uint##bits##_t)value);                  \
		stack_set(c, after);                                           \
		return next(c, i);                                             \
	}
PUSH_POP(, 16, 1)
PUSH_POP(, 32, 2)
PUSH_POP(, 64, 3)

const struct handler h_push = {.fn = {[FORM_RR] = ROW_WLQ(push_rr),
				      [FORM_RI] = ROW_WLQ(push_ri),
				      [FORM_MR] = ROW_WLQ(push_mr)}};
const struct handler h_pop = {
    .fn = {[FORM_RR] = ROW_WLQ(pop_rr), [FORM_MR] = ROW_WLQ(pop_mr)}};

/* AX CX DX BX, SP before, BP SI DI: all or nothing. */
EXEC(pusha)
{
	unsigned lsize = i->lsize;
	uint64_t sp = c->gpr[4];

	for (unsigned n = 0; n < 8; n++) {
		uint64_t offset = stack_offset(c, -(int64_t)((n + 1) << lsize));

		store_sized(c, i, stack_va(c, i, offset, lsize, ACCESS_WRITE),
			    n == 4 ? sp : c->gpr[n], lsize);
	}
	stack_set(c, stack_offset(c, -(int64_t)(8u << lsize)));
	return next(c, i);
}

EXEC(popa)
{
	uint64_t value[8];
	unsigned lsize = i->lsize;

	for (unsigned n = 0; n < 8; n++)
		value[n] = peek(c, i, lsize, (int64_t)n << lsize);
	for (unsigned n = 0; n < 8; n++) {
		if (n == 3) /* SP is skipped */
			continue;
		if (lsize == 1)
			SET16((7 - n) * 8, value[n]);
		else
			SET32((7 - n) * 8, value[n]);
	}
	stack_set(c, stack_offset(c, 8 << lsize));
	return next(c, i);
}

const struct handler h_pusha = {.one = pusha}, h_popa = {.one = popa};

/* VM and RF are pushed as zero; v86 needs IOPL 3, or VME. */
EXEC(pushf)
{
	uint64_t image =
	    vme_frame_is_virtual(c, i) ? vme_flags(c) : rflags_get(c);

	push(c, i, i->lsize, image & ~(uint64_t)(RFLAGS_VM | RFLAGS_RF));
	return next(c, i);
}

/* What POPF may change depends on CPL and IOPL (SDM vol. 2, POPF). */
EXEC(popf)
{
	uint64_t mask = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;
	unsigned iopl = c->flags >> 12 & 3;
	uint64_t value;

	if (vme_frame_is_virtual(c, i))
		vme_set_flags(c, i, peek(c, i, i->lsize, 0));
	value = pop(c, i, i->lsize);
	if (i->lsize != 1)
		mask |= RFLAGS_AC | RFLAGS_ID;
	if (c->cpl == 0)
		mask |= RFLAGS_IOPL;
	if (c->cpl <= iopl)
		mask |= RFLAGS_IF;
	rflags_set(c, value, mask);
	return end_block(c, i);
}

const struct handler h_pushf = {.one = pushf}, h_popf = {.one = popf};

/* -- frames
 * -------------------------------------------------------------------- */

static void set_bp(struct cpu *c, unsigned lsize, uint64_t value)
{
	if (lsize == 3)
		SET64(REG_RBP, value);
	else if (lsize == 2)
		SET32(REG_RBP, value);
	else
		SET16(REG_RBP, value);
}

EXEC(leave)
{
	uint64_t sp = c->gpr[4], value;

	stack_set(c, c->gpr[5]);
	value = c->gpr[4];
	c->gpr[4] = sp; /* a fault leaves RSP alone */
	value = load_sized(c, i,
			   stack_va(c, i,
				    c->code_size == 8 ? value
				    : c->seg[SEG_SS].access & AR_DB
					? (uint32_t)value
					: (uint16_t)value,
				    i->lsize, ACCESS_READ),
			   i->lsize);
	stack_set(c, c->gpr[5]);
	stack_set(c, stack_offset(c, 1 << i->lsize));
	set_bp(c, i->lsize, value);
	return next(c, i);
}

/* RSP's bits above the offset that the stack's size cuts off. */
static uint64_t stack_pointer(const struct cpu *c, uint64_t offset)
{
	if (c->code_size == 8 || c->seg[SEG_SS].access & AR_DB)
		return offset;
	return (c->gpr[4] & ~0xffffull) | offset;
}

/*
 * SDM vol. 2, ENTER: the frames of up to 31 outer levels are copied. With 32
 * bits on a 16-bit stack the frame pointer is ESP, as CPUs (Xeons) have it; the
 * SDM speaks of BP only.
 */
EXEC(enter)
{
	unsigned lsize = i->lsize, level = (unsigned)(i->imm >> 16) & 31;
	int64_t size = 1 << lsize, below = size;
	uint64_t frame, bp = c->gpr[5];

	frame = stack_offset(c, -size);
	store_sized(c, i, stack_va(c, i, frame, lsize, ACCESS_WRITE), bp,
		    lsize);
	frame = stack_pointer(c, frame);
	for (unsigned n = 1; n < level; n++) {
		uint64_t from = c->code_size == 8 ? bp - n * (uint64_t)size
				: c->seg[SEG_SS].access & AR_DB
				    ? (uint32_t)(bp - n * (uint64_t)size)
				    : (uint16_t)(bp - n * (uint64_t)size);
		uint64_t link = load_sized(
		    c, i, stack_va(c, i, from, lsize, ACCESS_READ), lsize);

		below += size;
		store_sized(c, i,
			    stack_va(c, i, stack_offset(c, -below), lsize,
				     ACCESS_WRITE),
			    link, lsize);
	}
	if (level > 0) {
		below += size;
		store_sized(c, i,
			    stack_va(c, i, stack_offset(c, -below), lsize,
				     ACCESS_WRITE),
			    frame, lsize);
	}
	stack_set(c, stack_offset(c, -below - (int64_t)(i->imm & 0xffff)));
	set_bp(c, lsize, frame);
	return next(c, i);
}

const struct handler h_leave = {.one = leave}, h_enter = {.one = enter};
