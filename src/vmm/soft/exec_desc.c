/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segment registers and descriptor tables: MOV and POP of segments, far
 * pointers, LGDT and friends, LAR, LSL, VERR, VERW, ARPL.
 */
#include "vmm/soft/exec.h"
#include "vmm/soft/far.h"
#include "vmm/soft/stack.h"

/* -- segment registers
 * ------------------------------------------------------------- */

EXEC(movfromseg)
{
	uint16_t selector;

	if (i->ext >= SEG_COUNT)
		raise_ud(c, i);
	selector = c->seg[i->ext].selector;
	if (i->flags & INSN_MEM)
		STORE_OPERAND(16, selector);
	else if (i->lsize == 1)
		SET16(i->a, selector);
	else
		SET64(i->a, selector);
	return next(c, i);
}

/* After a load of SS, one instruction runs before interrupts do. */
static const struct insn *loaded_segment(struct cpu *c, const struct insn *i,
					 unsigned seg)
{
	end_block(c, i);
	if (seg == SEG_SS)
		c->intr_shadow = 2; /* and the trap of TF */
	return NULL;
}

EXEC(movtoseg)
{
	uint16_t selector;

	if (i->ext >= SEG_COUNT || i->ext == SEG_CS)
		raise_ud(c, i);
	selector = i->flags & INSN_MEM ? LOAD_OPERAND(16) : GET16(i->a);
	segment_load(c, i, i->ext, selector);
	return loaded_segment(c, i, i->ext);
}

/* Only 16 bits are written; RSP moves by the operand size. */
EXEC(pushseg)
{
	uint64_t offset = stack_offset(c, -(int64_t)(1 << i->lsize));
	unsigned lsize = i->lsize == 3 ? 3 : 1;

	store_sized(c, i, stack_va(c, i, offset, lsize, ACCESS_WRITE),
		    c->seg[i->ext].selector, lsize);
	stack_set(c, offset);
	return next(c, i);
}

EXEC(popseg)
{
	uint16_t selector = (uint16_t)peek(c, i, i->lsize == 3 ? 3 : 1, 0);

	segment_load(c, i, i->ext, selector);
	stack_set(c, stack_offset(c, 1 << i->lsize));
	return loaded_segment(c, i, i->ext);
}

const struct handler h_movfromseg = {.one = movfromseg},
		     h_movtoseg = {.one = movtoseg},
		     h_pushseg = {.one = pushseg}, h_popseg = {.one = popseg};

static const struct insn *load_far_pointer(struct cpu *c, const struct insn *i,
					   enum seg_index seg)
{
	unsigned size = 1u << i->lsize;
	uint64_t va = operand_va(c, i, size + 2, ACCESS_READ);
	uint64_t offset = load_sized(c, i, va, i->lsize);

	segment_load(c, i, seg, load16(c, i, va + size));
	if (i->lsize == 1)
		SET16(i->a, offset);
	else if (i->lsize == 2)
		SET32(i->a, offset);
	else
		SET64(i->a, offset);
	return loaded_segment(c, i, seg);
}

#define FAR_POINTER(name, seg)                                                 \
	EXEC(name)                                                             \
	{                                                                      \
		return load_far_pointer(c, i, seg);                            \
	}                                                                      \
	const struct handler h_##name = {.one = name};
FAR_POINTER(les, SEG_ES)
FAR_POINTER(lds, SEG_DS)
FAR_POINTER(lss, SEG_SS)
FAR_POINTER(lfs, SEG_FS)
FAR_POINTER(lgs, SEG_GS)

/* -- tables
 * ----------------------------------------------------------------------------
 */

static void check_umip(struct cpu *c, const struct insn *i)
{
	if ((c->cr4 & CR4_UMIP) && c->cpl != 0)
		raise_gp(c, i, 0);
}

static const struct insn *store_table(struct cpu *c, const struct insn *i,
				      uint64_t base, uint16_t limit)
{
	unsigned lsize = c->code_size == 8 ? 3 : 2;
	uint64_t va;

	check_umip(c, i);
	va = operand_va(c, i, 2 + (1u << lsize), ACCESS_WRITE);
	store16(c, i, va, limit);
	store_sized(c, i, va + 2, base, lsize);
	return next(c, i);
}

EXEC(sgdt)
{
	return store_table(c, i, c->gdtr_base, c->gdtr_limit);
}

EXEC(sidt)
{
	return store_table(c, i, c->idtr_base, c->idtr_limit);
}

static uint64_t load_table(struct cpu *c, const struct insn *i, uint16_t *limit)
{
	unsigned lsize = c->code_size == 8 ? 3 : 2;
	uint64_t va = operand_va(c, i, 2 + (1u << lsize), ACCESS_READ), base;

	*limit = load16(c, i, va);
	base = load_sized(c, i, va + 2, lsize);
	if (lsize == 3 && !is_canonical_base(c, base))
		raise_gp(c, i, 0);
	return c->code_size != 8 && i->lsize == 1 ? base & 0xffffff : base;
}

EXEC(lgdt)
{
	uint16_t limit;
	uint64_t base = load_table(c, i, &limit);

	c->gdtr_base = base;
	c->gdtr_limit = limit;
	return next(c, i);
}

EXEC(lidt)
{
	uint16_t limit;
	uint64_t base = load_table(c, i, &limit);

	c->idtr_base = base;
	c->idtr_limit = limit;
	return next(c, i);
}

const struct handler h_sgdt = {.one = sgdt}, h_sidt = {.one = sidt},
		     h_lgdt = {.one = lgdt}, h_lidt = {.one = lidt};

/* A selector or CR0: 16 bits to memory, the operand size to a register. */
static const struct insn *store_word(struct cpu *c, const struct insn *i,
				     uint64_t value)
{
	check_umip(c, i);
	if (i->flags & INSN_MEM)
		STORE_OPERAND(16, (uint16_t)value);
	else if (i->lsize == 1)
		SET16(i->a, value);
	else if (i->lsize == 2)
		SET32(i->a, value);
	else
		SET64(i->a, value);
	return next(c, i);
}

EXEC(sldt)
{
	return store_word(c, i, c->ldtr.selector);
}

EXEC(str)
{
	return store_word(c, i, c->tr.selector);
}

EXEC(smsw)
{
	return store_word(c, i, c->cr0);
}

const struct handler h_sldt = {.one = sldt}, h_str = {.one = str},
		     h_smsw = {.one = smsw};

/* -- LLDT, LTR
 * ----------------------------------------------------------------------------
 */

static uint16_t selector_operand(struct cpu *c, const struct insn *i)
{
	return i->flags & INSN_MEM ? LOAD_OPERAND(16) : GET16(i->a);
}

/* A system descriptor of the GDT; 16 bytes long in long mode. */
static void system_descriptor(struct cpu *c, const struct insn *i,
			      uint16_t selector, struct segment *s)
{
	uint64_t desc;

	if ((selector & 4) || !descriptor_read(c, i, selector, &desc))
		raise_gp(c, i, selector & ~3u);
	descriptor_unpack(desc, selector, s);
	if (!is_long_mode(c))
		return;
	if ((selector & ~7u) + 15 > c->gdtr_limit)
		raise_gp(c, i, selector & ~3u);
	s->base |= system_load(c, i, c->gdtr_base + (selector & ~7u) + 8, 8)
		   << 32;
}

EXEC(lldt)
{
	uint16_t selector = selector_operand(c, i);
	struct segment s = {.selector = selector, .access = AR_UNUSABLE};

	if ((selector & ~3u) != 0) {
		system_descriptor(c, i, selector, &s);
		if ((s.access & (AR_S | AR_TYPE)) != DESC_LDT)
			raise_gp(c, i, selector & ~3u);
		if (!(s.access & AR_P))
			soft_raise(c, i, X86_NP, selector & ~3u, 0);
	}
	c->ldtr = s;
	return next(c, i);
}

EXEC(ltr)
{
	uint16_t selector = selector_operand(c, i);
	struct segment s;
	unsigned type;
	uint64_t va;

	if ((selector & ~3u) == 0)
		raise_gp(c, i, 0);
	system_descriptor(c, i, selector, &s);
	type = s.access & (AR_S | AR_TYPE);
	if (type != DESC_TSS && (type != DESC_TSS16 || is_long_mode(c)))
		raise_gp(c, i, selector & ~3u);
	if (!(s.access & AR_P))
		soft_raise(c, i, X86_NP, selector & ~3u, 0);
	/* Busy, in the table and in the register. */
	va = c->gdtr_base + (selector & ~7u) + 5;
	system_store(c, i, va, system_load(c, i, va, 1) | 2, 1);
	s.access |= 2;
	c->tr = s;
	return next(c, i);
}

const struct handler h_lldt = {.one = lldt}, h_ltr = {.one = ltr};

/* -- questions about selectors
 * ----------------------------------------------------------------- */

static void set_zf(struct cpu *c, bool zf)
{
	c->arith_flags =
	    (uint16_t)((c->arith_flags & ~ZF_BIT) | (zf ? ZF_BIT : 0));
}

/* Would the selector be visible at CPL and RPL? Fills seg if so. */
static bool visible(struct cpu *c, const struct insn *i, uint16_t selector,
		    uint16_t system_types, struct segment *s)
{
	unsigned type;
	uint64_t desc;

	if ((selector & ~3u) == 0 || !descriptor_read(c, i, selector, &desc))
		return false;
	descriptor_unpack(desc, selector, s);
	type = s->access & AR_TYPE;
	if (!(s->access & AR_S))
		if (!(system_types & 1u << type))
			return false;
	if ((s->access & (AR_S | AR_CODE | AR_CONFORM)) ==
	    (AR_S | AR_CODE | AR_CONFORM))
		return true;
	return seg_dpl(s) >= c->cpl && seg_dpl(s) >= (selector & 3u);
}

static void set_sized(struct cpu *c, const struct insn *i, uint32_t value)
{
	if (i->lsize == 1)
		SET16(i->a, value);
	else
		SET64(i->a, value);
}

static uint16_t selector_source(struct cpu *c, const struct insn *i)
{
	return i->flags & INSN_MEM ? LOAD_OPERAND(16) : GET16(i->b);
}

EXEC(lar)
{
	/* TSS, LDT and gates; in long mode only LDT, TSS and call gate. */
	uint16_t types = is_long_mode(c) ? 0x1a04 : 0x1a3e;
	uint16_t selector = selector_source(c, i);
	struct segment s;
	bool ok = visible(c, i, selector, types, &s);

	/* The descriptor's second doubleword, less its bits of the base: the
	   limit's bits 19:16 are in it, as on CPUs. */
	if (ok)
		set_sized(c, i,
			  (s.access & 0xf0ff) << 8 |
			      (s.limit >> (s.access & AR_G ? 28 : 16) & 15)
				  << 16);
	set_zf(c, ok);
	return next(c, i);
}

EXEC(lsl)
{
	uint16_t types = is_long_mode(c) ? 0x0a04 : 0x0a0e;
	uint16_t selector = selector_source(c, i);
	struct segment s;
	bool ok = visible(c, i, selector, types, &s);

	if (ok)
		set_sized(c, i, s.limit);
	set_zf(c, ok);
	return next(c, i);
}

static const struct insn *verify(struct cpu *c, const struct insn *i,
				 bool for_write)
{
	struct segment s;
	bool ok = visible(c, i, selector_operand(c, i), 0, &s);

	if (ok && for_write)
		ok = !(s.access & AR_CODE) && (s.access & AR_WRITABLE);
	else if (ok)
		ok = !(s.access & AR_CODE) || (s.access & AR_READABLE);
	set_zf(c, ok);
	return next(c, i);
}

EXEC(verr)
{
	return verify(c, i, false);
}

EXEC(verw)
{
	return verify(c, i, true);
}

EXEC(arpl)
{
	uint16_t rpl = GET16(i->b) & 3, selector;

	if (i->flags & INSN_MEM) {
		/* Written only when it changes. */
		selector = LOAD_OPERAND(16);
		if ((selector & 3) < rpl)
			STORE_OPERAND(16, (uint16_t)((selector & ~3u) | rpl));
	} else {
		selector = GET16(i->a);
		if ((selector & 3) < rpl)
			SET16(i->a, (selector & ~3u) | rpl);
	}
	set_zf(c, (selector & 3) < rpl);
	return next(c, i);
}

const struct handler h_lar = {.one = lar}, h_lsl = {.one = lsl},
		     h_verr = {.one = verr}, h_verw = {.one = verw},
		     h_arpl = {.one = arpl};
