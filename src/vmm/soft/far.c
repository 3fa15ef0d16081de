/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Far transfers: JMP, CALL and RET between segments, call gates, IRET (SDM
 * vol. 2, and vol. 3, 5.8).
 */
#include "vmm/soft/far.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/exec.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/vme.h"

static _Noreturn void bad(struct cpu *c, const struct insn *i, unsigned vector,
			  uint16_t selector)
{
	soft_raise(c, i, vector, (selector & ~3u) | event_ext(c), 0);
}

/* -- code segments
 * ------------------------------------------------------------------ */

void code_descriptor(struct cpu *c, const struct insn *i, uint16_t selector,
		     struct segment *seg)
{
	uint64_t desc;

	if (!descriptor_read(c, i, selector, &desc))
		bad(c, i, X86_GP, selector);
	descriptor_unpack(desc, selector, seg);
	if (!(seg->access & AR_S) || !(seg->access & AR_CODE))
		bad(c, i, X86_GP, selector);
}

void code_present(struct cpu *c, const struct insn *i,
		  const struct segment *seg)
{
	if (!(seg->access & AR_P))
		bad(c, i, X86_NP, seg->selector);
}

void set_code_segment(struct cpu *c, const struct segment *seg, unsigned cpl)
{
	c->seg[SEG_CS] = *seg;
	c->cpl = (uint8_t)cpl;
	cpu_level_changed(c);
}

void check_rip(struct cpu *c, const struct insn *i, const struct segment *cs,
	       uint64_t rip)
{
	if (is_long_mode(c) && (cs->access & AR_L)) {
		if (!is_canonical(c, rip))
			raise_gp(c, i, event_ext(c));
	} else if (rip > cs->limit) {
		raise_gp(c, i, event_ext(c));
	}
}

static void check_long_bits(struct cpu *c, const struct insn *i,
			    const struct segment *cs)
{
	if (is_long_mode(c) && (cs->access & AR_L) && (cs->access & AR_DB))
		bad(c, i, X86_GP, cs->selector);
}

static bool real_or_v86(const struct cpu *c)
{
	return !(c->cr0 & CR0_PE) || (c->flags & RFLAGS_VM);
}

/* -- stacks of other levels
 * ------------------------------------------------------------ */

static uint64_t tss_load(struct cpu *c, const struct insn *i, unsigned offset,
			 unsigned len)
{
	uint64_t va = c->tr.base + offset;

	if (offset + len - 1 > c->tr.limit)
		bad(c, i, X86_TS, c->tr.selector);
	return system_load(c, i, is_long_mode(c) ? va : (uint32_t)va, len);
}

static uint64_t check_stack_pointer(struct cpu *c, const struct insn *i,
				    uint64_t rsp)
{
	if (!is_canonical(c, rsp))
		soft_raise(c, i, X86_SS, event_ext(c), 0);
	return rsp;
}

uint64_t tss_rsp(struct cpu *c, const struct insn *i, unsigned cpl)
{
	return check_stack_pointer(c, i, tss_load(c, i, 4 + 8 * cpl, 8));
}

uint64_t tss_ist(struct cpu *c, const struct insn *i, unsigned ist)
{
	return check_stack_pointer(c, i, tss_load(c, i, 36 + 8 * (ist - 1), 8));
}

void stack_from_tss(struct cpu *c, const struct insn *i, unsigned cpl,
		    struct stack *s)
{
	bool tss32 = (c->tr.access & AR_TYPE) >= DESC_TSS;
	uint16_t selector;
	uint64_t desc;

	if (tss32) {
		s->sp = tss_load(c, i, 4 + 8 * cpl, 4);
		selector = (uint16_t)tss_load(c, i, 8 + 8 * cpl, 2);
	} else {
		s->sp = tss_load(c, i, 2 + 4 * cpl, 2);
		selector = (uint16_t)tss_load(c, i, 4 + 4 * cpl, 2);
	}
	if ((selector & ~3u) == 0 || !descriptor_read(c, i, selector, &desc))
		bad(c, i, X86_TS, selector);
	descriptor_unpack(desc, selector, &s->ss);
	if ((selector & 3) != cpl || seg_dpl(&s->ss) != cpl ||
	    !(s->ss.access & AR_S) || (s->ss.access & AR_CODE) ||
	    !(s->ss.access & AR_WRITABLE))
		bad(c, i, X86_TS, selector);
	if (!(s->ss.access & AR_P))
		bad(c, i, X86_SS, selector);
	descriptor_set_accessed(c, i, &s->ss);
	s->mask_size = s->ss.access & AR_DB ? 4 : 2;
	s->error = selector & ~3u;
}

void stack_push(struct cpu *c, const struct insn *i, struct stack *s,
		unsigned lsize, uint64_t value)
{
	unsigned len = 1u << lsize;
	uint64_t sp = s->sp - len, va;

	if (s->mask_size != 8) {
		uint64_t mask = s->mask_size == 4 ? 0xffffffff : 0xffff;
		bool down = (s->ss.access & AR_EXPAND) != 0;

		sp &= mask;
		if (down ? sp <= s->ss.limit || sp + len - 1 > mask
			 : sp + len - 1 > s->ss.limit)
			soft_raise(c, i, s->vector, s->error | event_ext(c), 0);
		va = (uint32_t)(s->ss.base + sp);
		s->sp = (s->sp & ~mask) | sp;
	} else {
		if (!is_canonical(c, sp) || !is_canonical(c, sp + len - 1))
			soft_raise(c, i, s->vector, s->error | event_ext(c), 0);
		va = s->sp = sp;
	}
	if (s->user) {
		store_sized(c, i, va, value, lsize);
		return;
	}
	if (unlikely(c->debug_data != 0))
		debug_data(c, i, va, len, ACCESS_WRITE);
	system_store(c, i, va, value, len);
}

void stack_commit(struct cpu *c, const struct stack *s)
{
	c->seg[SEG_SS] = s->ss;
	if (s->mask_size == 8)
		c->gpr[4] = s->sp;
	else if (s->mask_size == 4)
		c->gpr[4] = (uint32_t)s->sp;
	else
		REG16(c, REG_RSP) = (uint16_t)s->sp;
}

/* -- JMP, CALL
 * ------------------------------------------------------------------------------
 */

static void check_direct(struct cpu *c, const struct insn *i,
			 const struct segment *cs)
{
	unsigned dpl = seg_dpl(cs), rpl = cs->selector & 3;

	if (cs->access & AR_CONFORM ? dpl > c->cpl
				    : rpl > c->cpl || dpl != c->cpl)
		bad(c, i, X86_GP, cs->selector);
	check_long_bits(c, i, cs);
	code_present(c, i, cs);
}

static void enter_code(struct cpu *c, struct segment *cs, unsigned cpl)
{
	cs->selector = (uint16_t)((cs->selector & ~3u) | cpl);
	set_code_segment(c, cs, cpl);
}

static const struct insn *far_real(struct cpu *c, const struct insn *i,
				   uint16_t selector, uint64_t offset,
				   bool is_call)
{
	uint64_t ret = next_rip(c, i);

	if (offset > c->seg[SEG_CS].limit)
		raise_gp(c, i, 0);
	if (is_call) {
		uint64_t sp = c->gpr[4];

		push(c, i, i->lsize, c->seg[SEG_CS].selector);
		c->gpr[4] = sp; /* until both are there */
		store_sized(c, i,
			    stack_va(c, i, stack_offset(c, -(2 << i->lsize)),
				     i->lsize, ACCESS_WRITE),
			    ret, i->lsize);
		stack_set(c, stack_offset(c, -(2 << i->lsize)));
	}
	end_block(c, i);
	segment_load_real(c, SEG_CS, selector);
	cpu_mode_changed(c);
	c->rip = offset;
	return NULL;
}

/* JMP or CALL of a TSS or a task gate; false: it is neither. */
static bool to_task(struct cpu *c, const struct insn *i, uint64_t desc,
		    uint16_t selector, bool is_call)
{
	unsigned type = (unsigned)(desc >> 40) & 15;
	unsigned dpl = (unsigned)(desc >> 45) & 3;
	struct task_switch t = {.cause = is_call ? TASK_CALL : TASK_JMP,
				.selector = selector,
				.rip = next_rip(c, i),
				.flags = rflags_get(c)};

	if (is_long_mode(c) ||
	    (type != DESC_TASK_GATE && type != DESC_TSS && type != DESC_TSS16))
		return false;
	if (dpl < c->cpl || dpl < (selector & 3u))
		bad(c, i, X86_GP, selector);
	if (type == DESC_TASK_GATE) {
		if (!(desc >> 47 & 1))
			bad(c, i, X86_NP, selector);
		t.selector = (uint16_t)(desc >> 16);
	}
	task_switch(c, i, &t);
	return true;
}

/* A call gate: selector and offset come from it. */
static const struct insn *through_gate(struct cpu *c, const struct insn *i,
				       uint64_t gate, uint16_t gate_selector,
				       bool is_call)
{
	bool lma = is_long_mode(c);
	unsigned type = (unsigned)(gate >> 40) & 15;
	unsigned dpl = (unsigned)(gate >> 45) & 3, cpl;
	uint64_t offset = (gate & 0xffff) | (gate >> 32 & 0xffff0000);
	unsigned lsize = lma ? 3 : type == DESC_CALL_GATE ? 2 : 1;
	struct segment cs;
	struct stack s = {.vector = X86_SS};
	uint64_t value[32], ret = next_rip(c, i);
	unsigned params = (unsigned)(gate >> 32) & 31;

	if ((type != DESC_CALL_GATE && (lma || type != DESC_CALL_GATE16)) ||
	    dpl < c->cpl || dpl < (gate_selector & 3u))
		bad(c, i, X86_GP, gate_selector);
	if (!(gate >> 47 & 1))
		bad(c, i, X86_NP, gate_selector);
	if (lma) {
		uint64_t base = gate_selector & 4 ? c->ldtr.base : c->gdtr_base;
		uint64_t high =
		    system_load(c, i, base + (gate_selector & ~7u) + 8, 8);

		if (high >> 40 & 31)
			bad(c, i, X86_GP, gate_selector);
		offset |= high << 32;
		params = 0;
	} else if (lsize == 1) {
		offset &= 0xffff;
	}
	if (((gate >> 16) & 0xfffc) == 0)
		raise_gp(c, i, 0);
	code_descriptor(c, i, (uint16_t)(gate >> 16), &cs);
	if (seg_dpl(&cs) > c->cpl ||
	    (lma && (!(cs.access & AR_L) || (cs.access & AR_DB))))
		bad(c, i, X86_GP, cs.selector);
	if (!is_call && !(cs.access & AR_CONFORM) && seg_dpl(&cs) != c->cpl)
		bad(c, i, X86_GP, cs.selector);
	code_present(c, i, &cs);
	check_rip(c, i, &cs, offset);
	descriptor_set_accessed(c, i, &cs);
	cpl = cs.access & AR_CONFORM ? c->cpl : seg_dpl(&cs);
	if (!is_call) {
		end_block(c, i);
		c->rip = offset;
		enter_code(c, &cs, cpl);
		return NULL;
	}
	if (cpl < c->cpl) {
		for (unsigned n = 0; n < params; n++)
			value[n] = peek(c, i, lsize, (int64_t)n << lsize);
		if (lma) {
			s.sp = tss_rsp(c, i, cpl);
			s.mask_size = 8;
			s.ss = (struct segment){.selector = (uint16_t)cpl,
						.access = AR_UNUSABLE |
							  cpl << AR_DPL_SHIFT};
		} else {
			stack_from_tss(c, i, cpl, &s);
		}
		stack_push(c, i, &s, lsize, c->seg[SEG_SS].selector);
		stack_push(c, i, &s, lsize, c->gpr[4]);
		while (params-- > 0)
			stack_push(c, i, &s, lsize, value[params]);
	} else {
		s.ss = c->seg[SEG_SS];
		s.sp = c->gpr[4];
		s.user = c->cpl == 3;
		s.mask_size = lma ? 8 : s.ss.access & AR_DB ? 4 : 2;
	}
	stack_push(c, i, &s, lsize, c->seg[SEG_CS].selector);
	stack_push(c, i, &s, lsize, ret);
	end_block(c, i);
	stack_commit(c, &s);
	c->rip = offset;
	enter_code(c, &cs, cpl);
	return NULL;
}

static const struct insn *far_transfer(struct cpu *c, const struct insn *i,
				       uint16_t selector, uint64_t offset,
				       bool is_call)
{
	struct segment cs;
	uint64_t desc, ret = next_rip(c, i);

	if (real_or_v86(c))
		return far_real(c, i, selector, offset, is_call);
	if ((selector & ~3u) == 0)
		raise_gp(c, i, 0);
	if (!descriptor_read(c, i, selector, &desc))
		bad(c, i, X86_GP, selector);
	if (!(desc >> 44 & 1) && to_task(c, i, desc, selector, is_call))
		return NULL;
	if (!(desc >> 44 & 1))
		return through_gate(c, i, desc, selector, is_call);
	code_descriptor(c, i, selector, &cs);
	check_direct(c, i, &cs);
	check_rip(c, i, &cs, offset);
	if (is_call) {
		struct stack s = {.ss = c->seg[SEG_SS],
				  .sp = c->gpr[4],
				  .vector = X86_SS,
				  .user = c->cpl == 3};

		s.mask_size = c->code_size == 8     ? 8
			      : s.ss.access & AR_DB ? 4
						    : 2;
		stack_push(c, i, &s, i->lsize, c->seg[SEG_CS].selector);
		stack_push(c, i, &s, i->lsize, ret);
		stack_commit(c, &s);
	}
	descriptor_set_accessed(c, i, &cs);
	end_block(c, i);
	c->rip = offset;
	enter_code(c, &cs, c->cpl);
	return NULL;
}

static const struct insn *far_memory(struct cpu *c, const struct insn *i,
				     bool is_call)
{
	unsigned size = 1u << i->lsize;
	uint64_t va = operand_va(c, i, size + 2, ACCESS_READ);
	uint64_t offset = load_sized(c, i, va, i->lsize);

	return far_transfer(c, i, load16(c, i, va + size), offset, is_call);
}

EXEC(jmpf)
{
	if (i->flags & INSN_MEM)
		return far_memory(c, i, false);
	return far_transfer(c, i, (uint16_t)(i->imm >> 32), (uint32_t)i->imm,
			    false);
}

EXEC(callf)
{
	if (i->flags & INSN_MEM)
		return far_memory(c, i, true);
	return far_transfer(c, i, (uint16_t)(i->imm >> 32), (uint32_t)i->imm,
			    true);
}

const struct handler h_jmpf = {.one = jmpf}, h_callf = {.one = callf};

/* -- returns
 * -------------------------------------------------------------------------------
 */

void return_stack_segment(struct cpu *c, const struct insn *i,
			  uint16_t selector, unsigned cpl,
			  const struct segment *cs, struct segment *ss)
{
	uint64_t desc;

	if ((selector & ~3u) == 0) {
		/* Null is fine for 64-bit code below CPL 3. */
		if (!is_long_mode(c) || !(cs->access & AR_L) || cpl == 3)
			raise_gp(c, i, 0);
		*ss = (struct segment){.selector = selector,
				       .access =
					   AR_UNUSABLE | cpl << AR_DPL_SHIFT};
		return;
	}
	if (!descriptor_read(c, i, selector, &desc))
		bad(c, i, X86_GP, selector);
	descriptor_unpack(desc, selector, ss);
	if ((selector & 3) != cpl || seg_dpl(ss) != cpl ||
	    !(ss->access & AR_S) || (ss->access & AR_CODE) ||
	    !(ss->access & AR_WRITABLE))
		bad(c, i, X86_GP, selector);
	if (!(ss->access & AR_P))
		bad(c, i, X86_SS, selector);
	descriptor_set_accessed(c, i, ss);
}

void drop_inner_segments(struct cpu *c)
{
	static const enum seg_index order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

	for (unsigned n = 0; n < ARRAY_SIZE(order); n++) {
		struct segment *s = &c->seg[order[n]];
		bool conforming = (s->access & (AR_CODE | AR_CONFORM)) ==
				  (AR_CODE | AR_CONFORM);

		if (s->access & AR_UNUSABLE || conforming ||
		    seg_dpl(s) >= c->cpl)
			continue;
		s->selector = 0;
		s->access = AR_UNUSABLE;
	}
}

/* The code segment a RET or IRET goes back to. */
static void return_code_segment(struct cpu *c, const struct insn *i,
				uint16_t selector, struct segment *cs)
{
	unsigned rpl = selector & 3;

	if ((selector & ~3u) == 0)
		raise_gp(c, i, 0);
	code_descriptor(c, i, selector, cs);
	if (rpl < c->cpl)
		bad(c, i, X86_GP, selector);
	if (cs->access & AR_CONFORM ? seg_dpl(cs) > rpl : seg_dpl(cs) != rpl)
		bad(c, i, X86_GP, selector);
	check_long_bits(c, i, cs);
	code_present(c, i, cs);
	descriptor_set_accessed(c, i, cs);
}

/* Sets SP from a popped value of lsize, by the stack that SS now is. */
static void set_sp(struct cpu *c, unsigned lsize, uint64_t value)
{
	if (c->code_size == 8 || lsize == 3)
		c->gpr[4] = value;
	else if (c->seg[SEG_SS].access & AR_DB)
		c->gpr[4] = (uint32_t)value;
	else
		REG16(c, REG_RSP) = (uint16_t)value;
}

EXEC(retf)
{
	unsigned lsize = i->lsize;
	int64_t size = 1 << lsize, extra = i->imm;
	uint64_t rip = peek(c, i, lsize, 0), sp = 0;
	uint16_t selector = (uint16_t)peek(c, i, lsize, size);
	struct segment cs, ss = {0};
	bool outer;

	if (real_or_v86(c)) {
		if (rip > c->seg[SEG_CS].limit)
			raise_gp(c, i, 0);
		stack_set(c, stack_offset(c, 2 * size + extra));
		end_block(c, i);
		segment_load_real(c, SEG_CS, selector);
		cpu_mode_changed(c);
		c->rip = rip;
		return NULL;
	}
	return_code_segment(c, i, selector, &cs);
	check_rip(c, i, &cs, rip);
	outer = (selector & 3) > c->cpl;
	if (outer) {
		sp = peek(c, i, lsize, 2 * size + extra);
		return_stack_segment(
		    c, i, (uint16_t)peek(c, i, lsize, 3 * size + extra),
		    selector & 3, &cs, &ss);
	}
	end_block(c, i);
	if (!outer)
		stack_set(c, stack_offset(c, 2 * size + extra));
	set_code_segment(c, &cs, selector & 3);
	if (outer) {
		c->seg[SEG_SS] = ss;
		set_sp(c, lsize, sp + (uint64_t)extra);
		drop_inner_segments(c);
		cpu_segments_changed(c);
	}
	c->rip = rip;
	return NULL;
}

const struct handler h_retf = {.one = retf};

/* -- IRET
 * -----------------------------------------------------------------------------------
 */

/* The next instruction clears RF (SDM vol. 3, 18.3.1.1), and runs alone for
   that: only where there is a breakpoint to hold off. */
static uint64_t resume_flag(const struct cpu *c)
{
	return c->debug_code != 0 ? RFLAGS_RF : 0;
}

static uint64_t iret_mask(const struct cpu *c, unsigned lsize)
{
	uint64_t mask = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT;

	if (lsize != 1)
		mask |= RFLAGS_AC | RFLAGS_ID | resume_flag(c);
	if (c->cpl == 0)
		mask |= RFLAGS_IOPL | (lsize != 1 ? vme_rflags(c) : 0);
	if (c->cpl <= (c->flags >> 12 & 3))
		mask |= RFLAGS_IF;
	return mask;
}

static const struct insn *iret_real(struct cpu *c, const struct insn *i)
{
	unsigned lsize = i->lsize;
	int64_t size = 1 << lsize;
	uint64_t rip, flags, mask = iret_mask(c, lsize);
	bool virtual = vme_frame_is_virtual(c, i);
	uint16_t selector;

	rip = peek(c, i, lsize, 0);
	selector = (uint16_t)peek(c, i, lsize, size);
	flags = peek(c, i, lsize, 2 * size);
	if (rip > c->seg[SEG_CS].limit)
		raise_gp(c, i, 0);
	if (virtual)
		vme_set_flags(c, i, flags);
	if (!(c->flags & RFLAGS_VM))
		mask |= RFLAGS_IOPL | RFLAGS_IF;
	stack_set(c, stack_offset(c, 3 * size));
	end_block(c, i);
	segment_load_real(c, SEG_CS, selector);
	rflags_set(c, flags, mask);
	cpu_mode_changed(c);
	c->rip = rip;
	return NULL;
}

/* To v86: nine words of the 32-bit frame. */
static const struct insn *iret_to_v86(struct cpu *c, const struct insn *i,
				      const uint64_t frame[9])
{
	static const enum seg_index order[] = {SEG_ES, SEG_DS, SEG_FS, SEG_GS};

	end_block(c, i);
	rflags_set(c, frame[2],
		   RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF |
		       RFLAGS_IOPL | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID |
		       RFLAGS_VM | vme_rflags(c) | resume_flag(c));
	segment_load_real(c, SEG_CS, (uint16_t)frame[1]);
	segment_load_real(c, SEG_SS, (uint16_t)frame[4]);
	for (unsigned n = 0; n < 4; n++)
		segment_load_real(c, order[n], (uint16_t)frame[5 + n]);
	c->gpr[4] = (uint32_t)frame[3];
	c->cpl = 3;
	cpu_mode_changed(c);
	c->rip = (uint16_t)frame[0];
	return NULL;
}

/* NT: the TSS has a link to the task that called; not in long mode. */
static const struct insn *return_to_task(struct cpu *c, const struct insn *i)
{
	struct task_switch t = {
	    .cause = TASK_IRET, .rip = next_rip(c, i), .flags = rflags_get(c)};

	if (is_long_mode(c))
		raise_gp(c, i, 0);
	t.selector = (uint16_t)system_load(c, i, (uint32_t)c->tr.base, 2);
	task_switch(c, i, &t);
	return NULL;
}

EXEC(iret)
{
	unsigned lsize = i->lsize;
	int64_t size = 1 << lsize;
	uint64_t frame[9], mask;
	struct segment cs, ss = {0};
	bool outer;

	c->nmi_masked = 0;
	if (real_or_v86(c))
		return iret_real(c, i);
	if (c->flags & RFLAGS_NT)
		return return_to_task(c, i);
	for (unsigned n = 0; n < 3; n++)
		frame[n] = peek(c, i, lsize, (int64_t)n * size);
	if ((frame[2] & RFLAGS_VM) && lsize == 2 && !is_long_mode(c) &&
	    c->cpl == 0) {
		for (unsigned n = 3; n < 9; n++)
			frame[n] = peek(c, i, lsize, (int64_t)n * size);
		return iret_to_v86(c, i, frame);
	}
	return_code_segment(c, i, (uint16_t)frame[1], &cs);
	check_rip(c, i, &cs, frame[0]);
	outer = (frame[1] & 3) > c->cpl || c->code_size == 8;
	if (outer) {
		frame[3] = peek(c, i, lsize, 3 * size);
		frame[4] = peek(c, i, lsize, 4 * size);
		return_stack_segment(c, i, (uint16_t)frame[4], frame[1] & 3,
				     &cs, &ss);
	}
	mask = iret_mask(c, lsize);
	end_block(c, i);
	if (!outer)
		stack_set(c, stack_offset(c, 3 * size));
	rflags_set(c, frame[2], mask);
	outer = outer && (frame[1] & 3) > c->cpl;
	set_code_segment(c, &cs, frame[1] & 3);
	if (ss.access != 0) {
		c->seg[SEG_SS] = ss;
		set_sp(c, lsize, frame[3]);
	}
	if (outer)
		drop_inner_segments(c);
	cpu_segments_changed(c);
	c->rip = frame[0];
	return NULL;
}

const struct handler h_iret = {.one = iret};
