/* SPDX-License-Identifier: BSD-2-Clause */
/* Near branches: Jcc, JMP, CALL, RET, LOOP, JCXZ. */
#include "vmm/soft/branch.h"
#include "vmm/soft/exec.h"
#include "vmm/soft/stack.h"

#define TAKEN    0
#define FALL_OUT 1

static const struct insn *fall_through(struct cpu *c, const struct insn *i)
{
	return branch(c, i, FALL_OUT, i->off + i->len);
}

#define JCC(cc)                                                                \
	EXEC(j##cc)                                                            \
	{                                                                      \
		if (COND_##cc(c->arith_flags))                                 \
			return branch(c, i, TAKEN, i->imm);                    \
		return branch(c, i, FALL_OUT, i->off + i->len);                \
	}                                                                      \
	const struct handler h_j##cc = {.one = j##cc};
CONDITIONS(JCC)

EXEC(jmp)
{
	return branch(c, i, TAKEN, i->imm);
}

/* Where a taken relative branch goes. */
static uint64_t branch_target(const struct cpu *c, const struct insn *i)
{
	uint64_t rip = c->gpr[17] + (uint64_t)i->imm;

	if (c->code_size == 8)
		return rip;
	return i->lsize == 1 ? (uint16_t)rip : (uint32_t)rip;
}

EXEC(call)
{
	if (c->block->link[TAKEN] == NULL)
		branch_check(c, i, branch_target(c, i));
	push(c, i, i->lsize, next_rip(c, i));
	return branch(c, i, TAKEN, i->imm);
}

const struct handler h_jmp = {.one = jmp}, h_call = {.one = call};

/* -- indirect: an address of the operand size
 * ----------------------------------- */

#define INDIRECT(name, bits, lsize)                                            \
	EXEC(jmpn_rr##bits)                                                    \
	{                                                                      \
		return jump_to(c, i, GET##bits(i->a));                         \
	}                                                                      \
	EXEC(jmpn_mr##bits)                                                    \
	{                                                                      \
		return jump_to(c, i, LOAD_OPERAND(bits));                      \
	}                                                                      \
	EXEC(calln_rr##bits)                                                   \
	{                                                                      \
		uint64_t target = GET##bits(i->a);                             \
		branch_check(c, i, target);                                    \
		push(c, i, lsize, next_rip(c, i));                             \
		return jump_to(c, i, target);                                  \
	}                                                                      \
	EXEC(calln_mr##bits)                                                   \
	{                                                                      \
		uint64_t target = LOAD_OPERAND(bits);                          \
		branch_check(c, i, target);                                    \
		push(c, i, lsize, next_rip(c, i));                             \
		return jump_to(c, i, target);                                  \
	}                                                                      \
	EXEC(ret_rr##bits)                                                     \
	{                                                                      \
		uint64_t target = peek(c, i, lsize, 0);                        \
		branch_check(c, i, target);                                    \
		stack_set(c, stack_offset(c, 1 << lsize));                     \
		return jump_to(c, i, target);                                  \
	}                                                                      \
	EXEC(ret_ri##bits)                                                     \
	{                                                                      \
		uint64_t target = peek(c, i, lsize, 0);                        \
		branch_check(c, i, target);                                    \
		stack_set(c, stack_offset(c, (1 << lsize) + i->imm));          \
		return jump_to(c, i, target);                                  \
	}
INDIRECT(, 16, 1)
INDIRECT(, 32, 2)
INDIRECT(, 64, 3)
const struct handler h_jmpn = {
    .fn = {[FORM_RR] = ROW_WLQ(jmpn_rr), [FORM_MR] = ROW_WLQ(jmpn_mr)}};
const struct handler h_calln = {
    .fn = {[FORM_RR] = ROW_WLQ(calln_rr), [FORM_MR] = ROW_WLQ(calln_mr)}};
const struct handler h_ret = {
    .fn = {[FORM_RR] = ROW_WLQ(ret_rr), [FORM_RI] = ROW_WLQ(ret_ri)}};

/* -- LOOP, JCXZ: RCX, ECX or CX by address size
 * --------------------------------- */

static uint64_t decrement_rcx(struct cpu *c, const struct insn *i)
{
	if (i->asize == 3)
		return --c->gpr[1];
	if (i->asize == 2)
		return c->gpr[1] = (uint32_t)(c->gpr[1] - 1);
	return --REG16(c, REG_RCX);
}

EXEC(loop)
{
	if (decrement_rcx(c, i) != 0)
		return branch(c, i, TAKEN, i->imm);
	return fall_through(c, i);
}

EXEC(loope)
{
	if (decrement_rcx(c, i) != 0 && COND_e(c->arith_flags))
		return branch(c, i, TAKEN, i->imm);
	return fall_through(c, i);
}

EXEC(loopne)
{
	if (decrement_rcx(c, i) != 0 && COND_ne(c->arith_flags))
		return branch(c, i, TAKEN, i->imm);
	return fall_through(c, i);
}

EXEC(jcxz)
{
	uint64_t count = i->asize == 3   ? c->gpr[1]
			 : i->asize == 2 ? REG32(c, REG_RCX)
					 : REG16(c, REG_RCX);

	if (count == 0)
		return branch(c, i, TAKEN, i->imm);
	return fall_through(c, i);
}

const struct handler h_loop = {.one = loop}, h_loope = {.one = loope},
		     h_loopne = {.one = loopne}, h_jcxz = {.one = jcxz};
