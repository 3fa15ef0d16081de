/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MOVS, STOS, LODS, CMPS, SCAS. With REP, registers are committed at each
 * step, so that a fault or an interrupt finds the instruction restartable;
 * MOVS and STOS do a page's rest in one step by the host's own instruction.
 */
#include "vmm/soft/exec.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/string.h"

#define REPEATED(i) (((i)->flags & (INSN_REP | INSN_REPNE)) != 0)

/*
 * How many elements of a forward string at offset lie in the page of va and
 * before the address wraps or the segment may end: 0 when only the careful
 * way will do.
 */
static uint64_t elements_in_page(struct cpu *c, const struct insn *i,
				 enum seg_index seg, uint64_t offset,
				 uint64_t va)
{
	uint64_t bytes = 4096 - (va & 4095);

	if (c->flags & RFLAGS_DF)
		return 0;
	if (c->code_size != 8 && c->seg[seg].limit != 0xffffffff)
		return 0;
	if (i->asize != 3)
		bytes = MIN(bytes, address_mask(i) - offset + 1);
	return bytes >> i->lsize;
}

static void host_movs(void *to, const void *from, uint64_t count,
		      unsigned lsize)
{
#define REP(insn)                                                              \
	__asm__ volatile(insn                                                  \
			 : "+D"(to), "+S"(from), "+c"(count)                   \
			 :                                                     \
			 : "memor"                                             \
			   "y")
	if (lsize == 0)
		REP("rep movsb");
	else if (lsize == 1)
		REP("rep movsw");
	else if (lsize == 2)
		REP("rep movsl");
	else
		REP("rep movsq");
#undef REP
}

static void host_stos(void *to, uint64_t value, uint64_t count, unsigned lsize)
{
#define REP(insn)                                                              \
	__asm__ volatile(insn : "+D"(to), "+c"(count) : "a"(value) : "memory")
	if (lsize == 0)
		REP("rep stosb");
	else if (lsize == 1)
		REP("rep stosw");
	else if (lsize == 2)
		REP("rep stosl");
	else
		REP("rep stosq");
#undef REP
}

/* Moves up to count elements; returns how many, at least 1. */
static uint64_t movs_step(struct cpu *c, const struct insn *i, uint64_t count)
{
	uint64_t from = string_offset(c, i, REG_RSI);
	uint64_t to = string_offset(c, i, REG_RDI);
	unsigned size = 1u << i->lsize;
	uint64_t from_va, to_va, n, value;
	void *r, *w;

	/* Of two faults the source's comes first. */
	from_va = seg_linear(c, i, i->seg, from, size, ACCESS_READ);
	value = load_sized(c, i, from_va, i->lsize);
	to_va = seg_linear(c, i, SEG_ES, to, size, ACCESS_WRITE);
	r = tlb_read(c, from_va, 1);
	w = tlb_write(c, to_va, 1);
	if (count > 1 && r != NULL && w != NULL) {
		n = MIN(elements_in_page(c, i, i->seg, from, from_va),
			elements_in_page(c, i, SEG_ES, to, to_va));
		n = MIN(n, count);
		if (n > 0) {
			host_movs(w, r, n, i->lsize);
			string_advance(c, i, REG_RSI, n);
			string_advance(c, i, REG_RDI, n);
			return n;
		}
	}
	store_sized(c, i, to_va, value, i->lsize);
	string_advance(c, i, REG_RSI, 1);
	string_advance(c, i, REG_RDI, 1);
	return 1;
}

static uint64_t stos_step(struct cpu *c, const struct insn *i, uint64_t count)
{
	uint64_t to = string_offset(c, i, REG_RDI);
	uint64_t va =
	    seg_linear(c, i, SEG_ES, to, 1u << i->lsize, ACCESS_WRITE);
	void *w = tlb_write(c, va, 1);
	uint64_t n;

	if (count > 1 && w != NULL) {
		n = MIN(elements_in_page(c, i, SEG_ES, to, va), count);
		if (n > 0) {
			host_stos(w, c->gpr[0], n, i->lsize);
			string_advance(c, i, REG_RDI, n);
			return n;
		}
	}
	store_sized(c, i, va, c->gpr[0], i->lsize);
	string_advance(c, i, REG_RDI, 1);
	return 1;
}

static uint64_t lods_step(struct cpu *c, const struct insn *i, uint64_t count)
{
	uint64_t from = string_offset(c, i, REG_RSI);
	uint64_t va =
	    seg_linear(c, i, i->seg, from, 1u << i->lsize, ACCESS_READ);
	uint64_t value = load_sized(c, i, va, i->lsize);

	if (i->lsize == 3)
		SET64(REG_RAX, value);
	else if (i->lsize == 2)
		SET32(REG_RAX, value);
	else if (i->lsize == 1)
		SET16(REG_RAX, value);
	else
		SET8(REG_RAX, value);
	string_advance(c, i, REG_RSI, 1);
	return 1;
}

/* Runs step until the count is used up, or somebody wants the vCPU. */
static inline const struct insn *
repeat(struct cpu *c, const struct insn *i,
       uint64_t (*step)(struct cpu *, const struct insn *, uint64_t))
{
	uint64_t count;

	if (!REPEATED(i)) {
		step(c, i, 1);
		return next(c, i);
	}
	while ((count = string_count(c, i)) != 0) {
		count -= step(c, i, c->single_step ? 1 : count);
		string_set_count(c, i, count);
		if (count != 0 && string_must_pause(c))
			return leave_at(c, i);
	}
	return next(c, i);
}

EXEC(movs)
{
	return repeat(c, i, movs_step);
}

EXEC(stos)
{
	return repeat(c, i, stos_step);
}

EXEC(lods)
{
	return repeat(c, i, lods_step);
}

/* -- comparing ones
 * ------------------------------------------------------------- */

/* The flags of left - right in the operand size. */
static uint16_t compare(uint64_t left, uint64_t right, unsigned lsize)
{
	uint16_t f;

#define CMP(sfx, type)                                                         \
	__asm__("cmp" sfx " %2, %1" FLAGS_OUT                                  \
		: "=&a"(f)                                                     \
		: "r"((type)left), "r"((type)right)                            \
		: "cc")
	if (lsize == 0)
		CMP("b", uint8_t);
	else if (lsize == 1)
		CMP("w", uint16_t);
	else if (lsize == 2)
		CMP("l", uint32_t);
	else
		CMP("q", uint64_t);
#undef CMP
	return f;
}

/* Of two faults the one at ES:RDI comes first, as on the host. */
static uint16_t cmps_step(struct cpu *c, const struct insn *i)
{
	uint64_t from = string_offset(c, i, REG_RSI);
	uint64_t to = string_offset(c, i, REG_RDI);
	unsigned size = 1u << i->lsize;
	uint64_t left, right;

	right = load_sized(
	    c, i, seg_linear(c, i, SEG_ES, to, size, ACCESS_READ), i->lsize);
	left = load_sized(
	    c, i, seg_linear(c, i, i->seg, from, size, ACCESS_READ), i->lsize);
	string_advance(c, i, REG_RSI, 1);
	string_advance(c, i, REG_RDI, 1);
	return compare(left, right, i->lsize);
}

static uint16_t scas_step(struct cpu *c, const struct insn *i)
{
	uint64_t to = string_offset(c, i, REG_RDI);
	uint64_t va = seg_linear(c, i, SEG_ES, to, 1u << i->lsize, ACCESS_READ);
	uint64_t right = load_sized(c, i, va, i->lsize);

	string_advance(c, i, REG_RDI, 1);
	return compare(c->gpr[0], right, i->lsize);
}

/* REPE goes on while equal, REPNE while not. */
static inline const struct insn *
repeat_compare(struct cpu *c, const struct insn *i,
	       uint16_t (*step)(struct cpu *, const struct insn *))
{
	bool want_zf = (i->flags & INSN_REP) != 0;
	uint64_t count;

	if (!REPEATED(i)) {
		c->arith_flags = step(c, i);
		return next(c, i);
	}
	while ((count = string_count(c, i)) != 0) {
		c->arith_flags = step(c, i);
		string_set_count(c, i, --count);
		if (COND_e(c->arith_flags) != want_zf)
			break;
		if (count != 0 && string_must_pause(c))
			return leave_at(c, i);
	}
	return next(c, i);
}

EXEC(cmps)
{
	return repeat_compare(c, i, cmps_step);
}

EXEC(scas)
{
	return repeat_compare(c, i, scas_step);
}

const struct handler h_movs = {.one = movs}, h_stos = {.one = stos},
		     h_lods = {.one = lods}, h_cmps = {.one = cmps},
		     h_scas = {.one = scas};
