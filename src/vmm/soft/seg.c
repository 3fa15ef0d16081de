/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segmentation: linear addresses, descriptors, loading of segment registers
 * (SDM vol. 3, chapters 3 and 5).
 */
#include "vmm/soft/access.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/far.h"
#include "vmm/soft/string.h"

/* -- linear addresses
 * ------------------------------------------------------------ */

static bool in_limit(const struct segment *s, uint64_t offset, unsigned len)
{
	uint64_t last = offset + len - 1;
	uint64_t top = s->access & AR_DB ? 0xffffffff : 0xffff;

	if ((s->access & (AR_CODE | AR_EXPAND)) == AR_EXPAND)
		return offset > s->limit && last <= top;
	return last <= s->limit;
}

static bool type_allows(const struct cpu *c, const struct segment *s,
			enum access access)
{
	bool code = (s->access & AR_CODE) != 0;

	if (s->access & AR_UNUSABLE || !(s->access & AR_P))
		return false;
	if (!(c->cr0 & CR0_PE) || (c->flags & RFLAGS_VM))
		return true;
	if (access == ACCESS_WRITE)
		return !code && (s->access & AR_WRITABLE);
	return !code || (s->access & AR_READABLE);
}

bool segment_is_open(const struct segment *s)
{
	const uint32_t matters =
	    AR_UNUSABLE | AR_P | AR_CODE | AR_EXPAND | AR_WRITABLE;

	return s->limit == 0xffffffff &&
	       (s->access & matters) == (AR_P | AR_WRITABLE);
}

static uint64_t legacy_linear(struct cpu *c, const struct insn *i,
			      enum seg_index seg, uint64_t offset, unsigned len,
			      enum access access)
{
	const struct segment *s = &c->seg[seg];

	if (unlikely(!type_allows(c, s, access) || !in_limit(s, offset, len)))
		soft_raise(c, i, seg == SEG_SS ? X86_SS : X86_GP, 0, 0);
	return (uint32_t)(offset + s->base);
}

uint64_t seg_linear(struct cpu *c, const struct insn *i, enum seg_index seg,
		    uint64_t offset, unsigned len, enum access access)
{
	if (likely(c->code_size == 8))
		return seg >= SEG_FS ? offset + c->seg[seg].base : offset;
	return legacy_linear(c, i, seg, offset, len, access);
}

uint64_t ea_slow(struct cpu *c, const struct insn *i, uint64_t offset,
		 unsigned len, enum access access)
{
	return seg_linear(c, i, i->seg, offset & address_mask(i), len, access);
}

/* -- descriptors
 * ------------------------------------------------------------------- */

bool descriptor_read(struct cpu *c, const struct insn *i, uint16_t selector,
		     uint64_t *desc)
{
	uint64_t base = c->gdtr_base, index = selector & ~7u;
	uint64_t limit = c->gdtr_limit;

	if (selector & 4) {
		if (c->ldtr.access & AR_UNUSABLE || !(c->ldtr.access & AR_P))
			return false;
		base = c->ldtr.base;
		limit = c->ldtr.limit;
	}
	if (index + 7 > limit)
		return false;
	base += index;
	*desc = system_load(c, i, is_long_mode(c) ? base : (uint32_t)base, 8);
	return true;
}

static uint64_t descriptor_va(const struct cpu *c, uint16_t selector)
{
	uint64_t base = selector & 4 ? c->ldtr.base : c->gdtr_base;

	base += selector & ~7u;
	return is_long_mode(c) ? base : (uint32_t)base;
}

void descriptor_unpack(uint64_t desc, uint16_t selector, struct segment *seg)
{
	uint32_t high = (uint32_t)(desc >> 32);
	uint32_t limit = (high & 0xf0000) | (desc & 0xffff);

	seg->selector = selector;
	seg->access = (high >> 8 & 0xf0ff);
	seg->base = (desc >> 16 & 0xffffff) | (high & 0xff000000);
	seg->limit = seg->access & AR_G ? limit << 12 | 0xfff : limit;
}

/* Sets the accessed bit in memory and in the copy. */
void descriptor_set_accessed(struct cpu *c, const struct insn *i,
			     struct segment *seg)
{
	uint64_t va = descriptor_va(c, seg->selector) + 5;

	if (seg->access & AR_ACCESSED)
		return;
	system_store(c, i, va, system_load(c, i, va, 1) | AR_ACCESSED, 1);
	seg->access |= AR_ACCESSED;
}

void segment_load_real(struct cpu *c, enum seg_index seg, uint16_t selector)
{
	struct segment *s = &c->seg[seg];

	s->selector = selector;
	s->base = (uint64_t)selector << 4;
	if (c->flags & RFLAGS_VM) {
		s->limit = 0xffff;
		s->access =
		    AR_P | AR_S | AR_WRITABLE | AR_ACCESSED | 3 << AR_DPL_SHIFT;
	} else if (seg != SEG_CS) {
		/* Limit and rights stay: unreal mode. */
		s->access &= ~AR_UNUSABLE;
		s->access |= AR_P;
	}
}

/* The fault of a selector that may not be loaded. */
static _Noreturn void bad_selector(struct cpu *c, const struct insn *i,
				   unsigned vector, uint16_t selector)
{
	soft_raise(c, i, vector, selector & ~3u, 0);
}

static void load_null(struct cpu *c, const struct insn *i, enum seg_index seg,
		      uint16_t selector)
{
	struct segment *s = &c->seg[seg];
	uint64_t base = s->base;

	if (seg == SEG_SS) {
		if (c->code_size != 8 || c->cpl == 3 ||
		    (selector & 3) != c->cpl)
			raise_gp(c, i, 0);
	}
	*s = (struct segment){.selector = selector, .access = AR_UNUSABLE};
	if (seg == SEG_SS)
		s->access |= (uint32_t)c->cpl << AR_DPL_SHIFT;
	/* FS and GS of AMD CPUs keep their base. */
	if (is_long_mode(c) && seg >= SEG_FS && c->svm->null_keeps_base)
		s->base = base;
}

static void check_stack_segment(struct cpu *c, const struct insn *i,
				const struct segment *s)
{
	unsigned dpl = s->access >> AR_DPL_SHIFT & 3;

	if ((s->selector & 3) != c->cpl || dpl != c->cpl ||
	    !(s->access & AR_S) || (s->access & AR_CODE) ||
	    !(s->access & AR_WRITABLE))
		bad_selector(c, i, X86_GP, s->selector);
	if (!(s->access & AR_P))
		bad_selector(c, i, X86_SS, s->selector);
}

static void check_data_segment(struct cpu *c, const struct insn *i,
			       const struct segment *s)
{
	unsigned dpl = s->access >> AR_DPL_SHIFT & 3, rpl = s->selector & 3;
	bool code = (s->access & AR_CODE) != 0;
	bool conforming = code && (s->access & AR_CONFORM);

	if (!(s->access & AR_S) || (code && !(s->access & AR_READABLE)))
		bad_selector(c, i, X86_GP, s->selector);
	if (!conforming && (rpl > dpl || c->cpl > dpl))
		bad_selector(c, i, X86_GP, s->selector);
	if (!(s->access & AR_P))
		bad_selector(c, i, X86_NP, s->selector);
}

void segment_load(struct cpu *c, const struct insn *i, enum seg_index seg,
		  uint16_t selector)
{
	struct segment s;
	uint64_t desc;

	if (!(c->cr0 & CR0_PE) || (c->flags & RFLAGS_VM)) {
		segment_load_real(c, seg, selector);
		return;
	}
	if ((selector & ~3u) == 0) {
		load_null(c, i, seg, selector);
		cpu_segments_changed(c);
		return;
	}
	if (!descriptor_read(c, i, selector, &desc))
		bad_selector(c, i, X86_GP, selector);
	descriptor_unpack(desc, selector, &s);
	if (seg == SEG_SS)
		check_stack_segment(c, i, &s);
	else
		check_data_segment(c, i, &s);
	descriptor_set_accessed(c, i, &s);
	c->seg[seg] = s;
	cpu_segments_changed(c);
}
