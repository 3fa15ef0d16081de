/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Delivery of exceptions and interrupts through the IVT or IDT (SDM vol. 3,
 * chapter 6): long mode, protected mode, v86 and real mode.
 */
#include "vmm/soft/debug.h"
#include "vmm/soft/far.h"
#include "vmm/soft/stack.h"

struct event {
	uint8_t vector;
	bool has_error;
	bool is_soft; /* INTn, INT3, INTO: the gate's DPL counts */
	bool external;
	bool general_detect; /* the #DB of DR7.GD */
	uint32_t error;
	uint64_t rip; /* to return to */
};

/* EXT is set when the fault came of an event from outside the program. */
static _Noreturn void raise_selector(struct cpu *c, const struct event *e,
				     unsigned vector, uint32_t error)
{
	soft_raise(c, NULL, vector, error | event_ext(c), 0);
}

static _Noreturn void raise_gate(struct cpu *c, const struct event *e,
				 unsigned vector)
{
	raise_selector(c, e, vector, (uint32_t)e->vector << 3 | 2);
}

/* -- real mode
 * -------------------------------------------------------------------- */

static void deliver_real(struct cpu *c, const struct event *e)
{
	uint32_t entry, offset = e->vector * 4u;
	struct stack s = {
	    .ss = c->seg[SEG_SS], .sp = c->gpr[4], .vector = X86_SS};

	if (offset + 3 > c->idtr_limit)
		soft_raise(c, NULL, X86_GP, 0, 0);
	entry =
	    (uint32_t)system_load(c, NULL, (uint32_t)c->idtr_base + offset, 4);
	s.mask_size = s.ss.access & AR_DB ? 4 : 2;
	stack_push(c, NULL, &s, 1, rflags_get(c));
	stack_push(c, NULL, &s, 1, c->seg[SEG_CS].selector);
	stack_push(c, NULL, &s, 1, e->rip);
	stack_commit(c, &s);
	rflags_set(c, 0, RFLAGS_IF | RFLAGS_TF | RFLAGS_AC | RFLAGS_RF);
	segment_load_real(c, SEG_CS, (uint16_t)(entry >> 16));
	c->rip = entry & 0xffff;
	cpu_mode_changed(c);
}

/* -- gates
 * ---------------------------------------------------------------------------
 */

struct gate {
	unsigned type, ist;
	uint16_t selector;
	uint64_t offset;
};

static void read_gate(struct cpu *c, const struct event *e, struct gate *g)
{
	bool lma = is_long_mode(c);
	unsigned size = lma ? 16 : 8;
	uint64_t va = c->idtr_base + (uint64_t)e->vector * size, low, high = 0;
	unsigned attr;

	if ((uint64_t)e->vector * size + size - 1 > c->idtr_limit)
		raise_gate(c, e, X86_GP);
	low = system_load(c, NULL, lma ? va : (uint32_t)va, 8);
	if (lma)
		high = system_load(c, NULL, va + 8, 8);
	attr = (unsigned)(low >> 40) & 0xff;
	*g = (struct gate){.type = attr & 31,
			   .ist = (unsigned)(low >> 32) & 7,
			   .selector = (uint16_t)(low >> 16),
			   .offset = (low & 0xffff) | (low >> 32 & 0xffff0000) |
				     high << 32};
	if (g->type != DESC_INT_GATE && g->type != DESC_TRAP_GATE &&
	    (lma || (g->type != DESC_INT_GATE16 &&
		     g->type != DESC_TRAP_GATE16 && g->type != DESC_TASK_GATE)))
		raise_gate(c, e, X86_GP);
	if (e->is_soft && (attr >> 5 & 3) < c->cpl)
		raise_gate(c, e, X86_GP);
	if (!(attr & 0x80))
		raise_gate(c, e, X86_NP);
}

/* The gate's code segment, and the CPL it will run at. */
static unsigned gate_target(struct cpu *c, const struct event *e,
			    const struct gate *g, struct segment *cs)
{
	unsigned cpl;

	if ((g->selector & ~3u) == 0)
		raise_selector(c, e, X86_GP, 0);
	code_descriptor(c, NULL, g->selector, cs);
	if (is_long_mode(c) && (!(cs->access & AR_L) || (cs->access & AR_DB)))
		raise_selector(c, e, X86_GP, g->selector & ~3u);
	if (seg_dpl(cs) > c->cpl)
		raise_selector(c, e, X86_GP, g->selector & ~3u);
	code_present(c, NULL, cs);
	cpl = cs->access & AR_CONFORM ? c->cpl : seg_dpl(cs);
	if ((c->flags & RFLAGS_VM) && cpl != 0)
		raise_selector(c, e, X86_GP, g->selector & ~3u);
	descriptor_set_accessed(c, NULL, cs);
	return cpl;
}

/* What the handler finds in RFLAGS. */
static void enter_handler(struct cpu *c, const struct gate *g)
{
	uint64_t clear = RFLAGS_TF | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM;

	if (g->type == DESC_INT_GATE || g->type == DESC_INT_GATE16)
		clear |= RFLAGS_IF;
	rflags_set(c, 0, clear);
}

/*
 * RFLAGS as pushed: RF is set for faults, so that a breakpoint at the
 * instruction does not hit again, but not for the breakpoint's own (SDM
 * vol. 3, 18.3.1.1).
 */
static uint64_t pushed_flags(const struct cpu *c, const struct event *e)
{
	uint64_t image = rflags_get(c);

	if (!e->external && !e->is_soft &&
	    (e->vector != X86_DB || e->general_detect))
		image |= RFLAGS_RF;
	return image;
}

static void deliver_long(struct cpu *c, const struct event *e)
{
	struct gate g;
	struct segment cs;
	struct stack s = {.mask_size = 8, .vector = X86_SS};
	unsigned cpl;

	read_gate(c, e, &g);
	cpl = gate_target(c, e, &g, &cs);
	s.ss = c->seg[SEG_SS];
	s.sp = c->gpr[4];
	s.user = cpl == 3;
	if (cpl < c->cpl) {
		s.ss = (struct segment){.selector = (uint16_t)cpl,
					.access =
					    AR_UNUSABLE | cpl << AR_DPL_SHIFT};
	}
	/* RSPn is not looked at when there is an IST. */
	if (g.ist != 0)
		s.sp = tss_ist(c, NULL, g.ist);
	else if (cpl < c->cpl)
		s.sp = tss_rsp(c, NULL, cpl);
	s.sp &= ~15ull;
	check_rip(c, NULL, &cs, g.offset);
	stack_push(c, NULL, &s, 3, c->seg[SEG_SS].selector);
	stack_push(c, NULL, &s, 3, c->gpr[4]);
	stack_push(c, NULL, &s, 3, pushed_flags(c, e));
	stack_push(c, NULL, &s, 3, c->seg[SEG_CS].selector);
	stack_push(c, NULL, &s, 3, e->rip);
	if (e->has_error)
		stack_push(c, NULL, &s, 3, e->error);
	c->seg[SEG_SS] = s.ss;
	c->gpr[4] = s.sp;
	cs.selector = (uint16_t)((cs.selector & ~3u) | cpl);
	c->rip = g.offset;
	enter_handler(c, &g);
	set_code_segment(c, &cs, cpl);
}

/* From v86, ES, DS, FS and GS go to the stack too, and then become null. */
static const enum seg_index v86_order[] = {SEG_GS, SEG_FS, SEG_DS, SEG_ES};

static void push_v86_segments(struct cpu *c, struct stack *s, unsigned lsize)
{
	for (unsigned n = 0; n < ARRAY_SIZE(v86_order); n++)
		stack_push(c, NULL, s, lsize, c->seg[v86_order[n]].selector);
}

static void drop_v86_segments(struct cpu *c)
{
	for (unsigned n = 0; n < ARRAY_SIZE(v86_order); n++)
		c->seg[v86_order[n]] = (struct segment){.access = AR_UNUSABLE};
}

static void deliver_to_task(struct cpu *c, const struct event *e,
			    uint16_t selector)
{
	struct task_switch t = {.cause = TASK_EVENT,
				.selector = selector,
				.external = !e->is_soft,
				.has_error = e->has_error,
				.error = e->error,
				.rip = e->rip,
				.flags = pushed_flags(c, e)};

	task_switch(c, NULL, &t);
}

static void deliver_protected(struct cpu *c, const struct event *e)
{
	struct gate g;
	struct segment cs;
	struct stack s = {.vector = X86_SS};
	unsigned cpl, lsize;
	uint32_t rip;
	bool v86 = (c->flags & RFLAGS_VM) != 0;

	read_gate(c, e, &g);
	if (g.type == DESC_TASK_GATE) {
		deliver_to_task(c, e, g.selector);
		return;
	}
	cpl = gate_target(c, e, &g, &cs);
	lsize = g.type == DESC_INT_GATE || g.type == DESC_TRAP_GATE ? 2 : 1;
	rip = lsize == 2 ? (uint32_t)g.offset : (uint16_t)g.offset;
	check_rip(c, NULL, &cs, rip);
	if (cpl < c->cpl) {
		stack_from_tss(c, NULL, cpl, &s);
		if (v86)
			push_v86_segments(c, &s, lsize);
		stack_push(c, NULL, &s, lsize, c->seg[SEG_SS].selector);
		stack_push(c, NULL, &s, lsize, c->gpr[4]);
	} else {
		s.ss = c->seg[SEG_SS];
		s.sp = c->gpr[4];
		s.user = cpl == 3;
		s.mask_size = s.ss.access & AR_DB ? 4 : 2;
	}
	stack_push(c, NULL, &s, lsize, pushed_flags(c, e));
	stack_push(c, NULL, &s, lsize, c->seg[SEG_CS].selector);
	stack_push(c, NULL, &s, lsize, e->rip);
	if (e->has_error)
		stack_push(c, NULL, &s, lsize, e->error);
	stack_commit(c, &s);
	if (v86)
		drop_v86_segments(c);
	cs.selector = (uint16_t)((cs.selector & ~3u) | cpl);
	c->rip = rip;
	enter_handler(c, &g);
	set_code_segment(c, &cs, cpl);
}

/* -- the way in
 * ------------------------------------------------------------------------ */

static void deliver(struct cpu *c, const struct event *e)
{
	c->delivering = true;
	c->delivering_benign = e->external || e->is_soft;
	c->delivering_ext = !e->is_soft;
	c->delivering_vector = e->vector;
	if (!(c->cr0 & CR0_PE))
		deliver_real(c, e);
	else if (is_long_mode(c))
		deliver_long(c, e);
	else
		deliver_protected(c, e);
	c->delivering = false;
	c->intr_shadow = 0;
}

void exception_deliver(struct cpu *c)
{
	struct event e = {.vector = c->exception.vector,
			  .has_error = c->exception.has_error,
			  .is_soft = c->exception.is_soft,
			  .error = c->exception.error,
			  .rip = c->rip + c->exception.len};

	c->exception.valid = c->exception.is_soft = false;
	c->exception.len = 0;
	if (c->code_size != 8)
		e.rip = c->code_size == 4 ? (uint32_t)e.rip : (uint16_t)e.rip;
	if (!(c->cr0 & CR0_PE))
		e.has_error = false;
	if (e.vector == X86_PF) {
		c->cr2 = c->exception.payload;
		if (c->tlb->has_windows)
			c->tlb->faulted = PAGE_BASE(c->cr2) | 1;
	}
	if (e.vector == X86_DB) {
		c->dr[6] = (c->dr[6] & ~0xfull) | c->exception.payload;
		c->dr[7] &= ~BIT(13); /* GD */
		e.general_detect = (c->exception.payload & DR6_BD) != 0;
	}
	c->vcpu->stats[VM_STAT_EXCEPTION]++;
	deliver(c, &e);
}

void interrupt_deliver(struct cpu *c, uint8_t vector)
{
	struct event e = {.vector = vector, .external = true, .rip = c->rip};

	c->vcpu->stats[VM_STAT_INTERRUPTS]++;
	deliver(c, &e);
}

void nmi_deliver(struct cpu *c)
{
	struct event e = {.vector = X86_NMI, .external = true, .rip = c->rip};

	c->nmi_masked = 1;
	c->vcpu->stats[VM_STAT_NMI]++;
	deliver(c, &e);
}
