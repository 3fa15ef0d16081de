/* SPDX-License-Identifier: BSD-2-Clause */
/* INT n, INT3, INTO, INT1 and BOUND. */
#include "vmm/soft/exec.h"
#include "vmm/soft/vme.h"

static _Noreturn void soft_interrupt(struct cpu *c, const struct insn *i,
				     uint8_t vector)
{
	c->exception.len = i->len;
	c->exception.is_soft = true;
	soft_raise(c, i, vector, 0, 0);
}

EXEC(int3)
{
	if (c->cap_bpt) {
		c->exit->exitcode = VM_EXITCODE_BPT;
		c->exit->u.bpt.inst_length = i->len;
		soft_leave(c, i, PENDING_NONE);
	}
	soft_interrupt(c, i, X86_BP);
}

EXEC(int_)
{
	vme_int(c, i, (uint8_t)i->imm);
	soft_interrupt(c, i, (uint8_t)i->imm);
}

EXEC(into)
{
	if (c->arith_flags & OF_BIT)
		soft_interrupt(c, i, X86_OF);
	return end_block(c, i);
}

/* INT1: a trap, but no DPL check. */
EXEC(int1)
{
	c->exception.len = i->len;
	soft_raise(c, i, X86_DB, 0, 0);
}

EXEC(bound)
{
	unsigned size = 1u << i->lsize;
	uint64_t va = operand_va(c, i, 2 * size, ACCESS_READ);
	int64_t low, high, index;

	if (i->lsize == 1) {
		low = (int16_t)load16(c, i, va);
		high = (int16_t)load16(c, i, va + 2);
		index = (int16_t)GET16(i->a);
	} else {
		low = (int32_t)load32(c, i, va);
		high = (int32_t)load32(c, i, va + 4);
		index = (int32_t)GET32(i->a);
	}
	if (index < low || index > high)
		soft_raise(c, i, X86_BR, 0, 0);
	return next(c, i);
}

const struct handler h_int3 = {.one = int3}, h_int = {.one = int_},
		     h_into = {.one = into}, h_int1 = {.one = int1},
		     h_bound = {.one = bound};
