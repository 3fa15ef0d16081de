/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hardware task switch (SDM vol. 3, 8.3), between 32- and 16-bit TSSs,
 * outside long mode.
 *
 * What can fault in the old task's name is looked at before anything is
 * committed; from there on faults are the new task's, with its registers.
 */
#include "vmm/soft/debug.h"
#include "vmm/soft/far.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/vme.h"

/* A TSS' fields (SDM vol. 3, figures 8-2 and 8-10), by format. */
struct layout {
	uint8_t limit; /* that it must have */
	uint8_t bytes; /* of a register */
	uint8_t rip, flags, gpr, seg, ldt;
	uint8_t seg_count, seg_step;
};

static const struct layout layout32 = {
    .limit = 0x67,
    .bytes = 4,
    .rip = 32,
    .flags = 36,
    .gpr = 40,
    .seg = 72,
    .ldt = 96,
    .seg_count = 6,
    .seg_step = 4,
};
static const struct layout layout16 = {
    .limit = 0x2b,
    .bytes = 2,
    .rip = 14,
    .flags = 16,
    .gpr = 18,
    .seg = 34,
    .ldt = 42,
    .seg_count = 4,
    .seg_step = 2,
};

#define TSS_CR3  28
#define TSS_TRAP 100

/* In a TSS' order, which is also enum seg_index'. */
_Static_assert(SEG_ES == 0 && SEG_CS == 1 && SEG_SS == 2 && SEG_DS == 3 &&
		   SEG_FS == 4 && SEG_GS == 5,
	       "a TSS' order");

struct new_task {
	const struct layout *layout;
	struct segment tr;
	uint32_t rip, flags, cr3;
	uint32_t gpr[8];
	uint16_t seg[SEG_COUNT], ldt;
	bool trap;
};

static const struct layout *layout_of(const struct segment *tss)
{
	return (tss->access & AR_TYPE) >= DESC_TSS ? &layout32 : &layout16;
}

static _Noreturn void bad(struct cpu *c, const struct insn *i,
			  const struct task_switch *t, unsigned vector,
			  uint16_t selector)
{
	soft_raise(c, i, vector, (selector & ~3u) | t->external, 0);
}

static uint64_t load(struct cpu *c, const struct insn *i,
		     const struct segment *tss, unsigned offset, unsigned bytes)
{
	return system_load(c, i, (uint32_t)(tss->base + offset), bytes);
}

static void store(struct cpu *c, const struct segment *tss, unsigned offset,
		  uint64_t value, unsigned bytes)
{
	system_store(c, NULL, (uint32_t)(tss->base + offset), value, bytes);
}

/* -- in the old task --------------------------------------------------------
 */

static void read_descriptor(struct cpu *c, const struct insn *i,
			    const struct task_switch *t, struct segment *tr)
{
	bool back = t->cause == TASK_IRET;
	unsigned wrong = back ? X86_TS : X86_GP, type;
	uint64_t desc;

	if ((t->selector & 4) || (t->selector & ~3u) == 0 ||
	    !descriptor_read(c, i, t->selector, &desc))
		bad(c, i, t, wrong, t->selector);
	descriptor_unpack(desc, t->selector, tr);
	type = tr->access & (AR_S | AR_TYPE);
	if (back ? type != DESC_TSS_BUSY && type != DESC_TSS16_BUSY
		 : type != DESC_TSS && type != DESC_TSS16)
		bad(c, i, t, wrong, t->selector);
	if (!(tr->access & AR_P))
		bad(c, i, t, X86_NP, t->selector);
	if (tr->limit < layout_of(tr)->limit)
		bad(c, i, t, X86_TS, t->selector);
}

/* Page faults of what will be written come now. */
static void touch(struct cpu *c, const struct insn *i,
		  const struct segment *tss, unsigned len)
{
	mmu_translate_as(c, i, (uint32_t)tss->base, ACCESS_WRITE, true);
	mmu_translate_as(c, i, (uint32_t)(tss->base + len - 1), ACCESS_WRITE,
			 true);
}

static void touch_busy(struct cpu *c, const struct insn *i, uint16_t selector)
{
	mmu_translate_as(c, i, (uint32_t)(c->gdtr_base + (selector & ~7u) + 5),
			 ACCESS_WRITE, true);
}

static void read_task(struct cpu *c, const struct insn *i, struct new_task *n)
{
	const struct layout *l = n->layout;

	n->rip = (uint32_t)load(c, i, &n->tr, l->rip, l->bytes);
	n->flags = (uint32_t)load(c, i, &n->tr, l->flags, l->bytes);
	for (unsigned k = 0; k < 8; k++)
		n->gpr[k] = (uint32_t)load(c, i, &n->tr, l->gpr + k * l->bytes,
					   l->bytes);
	for (unsigned k = 0; k < l->seg_count; k++)
		n->seg[k] =
		    (uint16_t)load(c, i, &n->tr, l->seg + k * l->seg_step, 2);
	n->ldt = (uint16_t)load(c, i, &n->tr, l->ldt, 2);
	if (l == &layout32) {
		n->cr3 = (uint32_t)load(c, i, &n->tr, TSS_CR3, 4);
		n->trap = load(c, i, &n->tr, TSS_TRAP, 2) & 1;
	}
}

/* -- the switch -------------------------------------------------------------
 */

static void set_busy(struct cpu *c, uint16_t selector, bool busy)
{
	uint64_t va = (uint32_t)(c->gdtr_base + (selector & ~7u) + 5);
	uint64_t attr = system_load(c, NULL, va, 1);

	system_store(c, NULL, va, busy ? attr | 2 : attr & ~2ull, 1);
}

static void save_old(struct cpu *c, const struct task_switch *t)
{
	const struct layout *l = layout_of(&c->tr);
	uint64_t flags = t->flags;

	if (t->cause == TASK_IRET)
		flags &= ~(uint64_t)RFLAGS_NT;
	store(c, &c->tr, l->rip, t->rip, l->bytes);
	store(c, &c->tr, l->flags, flags, l->bytes);
	for (unsigned k = 0; k < 8; k++)
		store(c, &c->tr, l->gpr + k * l->bytes, c->gpr[k], l->bytes);
	for (unsigned k = 0; k < l->seg_count; k++)
		store(c, &c->tr, l->seg + k * l->seg_step, c->seg[k].selector,
		      2);
}

static void load_registers(struct cpu *c, const struct new_task *n, bool nested)
{
	const uint64_t mask = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF |
			      RFLAGS_IOPL | RFLAGS_NT | RFLAGS_RF | RFLAGS_VM |
			      RFLAGS_AC | RFLAGS_ID | vme_rflags(c);

	for (unsigned k = 0; k < 8; k++)
		c->gpr[k] = n->gpr[k];
	/* What can be seen until the descriptors are in. */
	for (unsigned k = 0; k < SEG_COUNT; k++)
		c->seg[k] = (struct segment){.selector = n->seg[k],
					     .access = AR_UNUSABLE};
	c->seg[SEG_CS].access = AR_P | AR_S | AR_CODE | AR_DB;
	c->seg[SEG_CS].limit = 0xffffffff;
	c->ldtr = (struct segment){.selector = n->ldt, .access = AR_UNUSABLE};
	c->cpl = n->flags & RFLAGS_VM ? 3 : n->seg[SEG_CS] & 3;
	c->rip = n->rip;
	c->cr0 |= CR0_TS;
	c->dr[7] &= ~0x155ull; /* local breakpoints are the old task's */
	rflags_set(c, n->flags | (nested ? RFLAGS_NT : 0), mask);
	cpu_mode_changed(c);
	debug_changed(c);
}

static void load_cr3(struct cpu *c, const struct task_switch *t,
		     const struct new_task *n)
{
	if (!(c->cr0 & CR0_PG) || n->layout != &layout32 || n->cr3 == c->cr3)
		return;
	if ((c->cr4 & CR4_PAE) && !mmu_load_pdptes(c, n->cr3))
		bad(c, NULL, t, X86_TS, n->tr.selector);
	mmu_cr3_written(c, n->cr3, false);
}

/* -- in the new task (SDM vol. 3, table 8-1) ---------------------------------
 */

static void load_ldtr(struct cpu *c, const struct task_switch *t, uint16_t ldt)
{
	struct segment s;
	uint64_t desc;

	if ((ldt & ~3u) == 0)
		return;
	if ((ldt & 4) || !descriptor_read(c, NULL, ldt, &desc))
		bad(c, NULL, t, X86_TS, ldt);
	descriptor_unpack(desc, ldt, &s);
	if ((s.access & (AR_S | AR_TYPE)) != DESC_LDT || !(s.access & AR_P))
		bad(c, NULL, t, X86_TS, ldt);
	c->ldtr = s;
}

static void descriptor(struct cpu *c, const struct task_switch *t,
		       uint16_t selector, struct segment *s)
{
	uint64_t desc;

	if ((selector & ~3u) == 0 || !descriptor_read(c, NULL, selector, &desc))
		bad(c, NULL, t, X86_TS, selector);
	descriptor_unpack(desc, selector, s);
	if (!(s->access & AR_S))
		bad(c, NULL, t, X86_TS, selector);
}

static void load_code(struct cpu *c, const struct task_switch *t)
{
	uint16_t selector = c->seg[SEG_CS].selector;
	unsigned rpl = selector & 3;
	struct segment s;

	descriptor(c, t, selector, &s);
	if (!(s.access & AR_CODE) ||
	    (s.access & AR_CONFORM ? seg_dpl(&s) > rpl : seg_dpl(&s) != rpl))
		bad(c, NULL, t, X86_TS, selector);
	if (!(s.access & AR_P))
		bad(c, NULL, t, X86_NP, selector);
	descriptor_set_accessed(c, NULL, &s);
	set_code_segment(c, &s, rpl);
}

static void load_stack(struct cpu *c, const struct task_switch *t)
{
	uint16_t selector = c->seg[SEG_SS].selector;
	struct segment s;

	descriptor(c, t, selector, &s);
	if ((s.access & AR_CODE) || !(s.access & AR_WRITABLE) ||
	    seg_dpl(&s) != c->cpl || (selector & 3) != c->cpl)
		bad(c, NULL, t, X86_TS, selector);
	if (!(s.access & AR_P))
		bad(c, NULL, t, X86_SS, selector);
	descriptor_set_accessed(c, NULL, &s);
	c->seg[SEG_SS] = s;
}

static void load_data(struct cpu *c, const struct task_switch *t,
		      enum seg_index seg)
{
	uint16_t selector = c->seg[seg].selector;
	struct segment s;
	bool code;

	if ((selector & ~3u) == 0)
		return;
	descriptor(c, t, selector, &s);
	code = (s.access & AR_CODE) != 0;
	if (code && !(s.access & AR_READABLE))
		bad(c, NULL, t, X86_TS, selector);
	if (!(code && (s.access & AR_CONFORM)) &&
	    ((selector & 3u) > seg_dpl(&s) || c->cpl > seg_dpl(&s)))
		bad(c, NULL, t, X86_TS, selector);
	if (!(s.access & AR_P))
		bad(c, NULL, t, X86_NP, selector);
	descriptor_set_accessed(c, NULL, &s);
	c->seg[seg] = s;
}

static void load_segments(struct cpu *c, const struct task_switch *t)
{
	if (c->flags & RFLAGS_VM) {
		for (unsigned k = 0; k < SEG_COUNT; k++)
			segment_load_real(c, k, c->seg[k].selector);
		cpu_mode_changed(c);
		return;
	}
	load_code(c, t);
	load_stack(c, t);
	load_data(c, t, SEG_DS);
	load_data(c, t, SEG_ES);
	load_data(c, t, SEG_FS);
	load_data(c, t, SEG_GS);
	cpu_segments_changed(c);
}

/* -- the way in
 * ---------------------------------------------------------------- */

void task_switch(struct cpu *c, const struct insn *i,
		 const struct task_switch *t)
{
	bool nested = t->cause == TASK_CALL || t->cause == TASK_EVENT;
	struct new_task n = {0};
	uint16_t old = c->tr.selector;

	read_descriptor(c, i, t, &n.tr);
	n.layout = layout_of(&n.tr);
	if (c->tr.limit < layout_of(&c->tr)->limit)
		bad(c, i, t, X86_TS, old);
	touch(c, i, &c->tr, layout_of(&c->tr)->limit + 1u);
	touch(c, i, &n.tr, n.layout->limit + 1u);
	touch_busy(c, i, old);
	touch_busy(c, i, t->selector);
	read_task(c, i, &n);

	if (i != NULL)
		end_block(c, i);
	if (!nested)
		set_busy(c, old, false);
	save_old(c, t);
	if (nested)
		store(c, &n.tr, 0, old, 2);
	if (t->cause != TASK_IRET)
		set_busy(c, t->selector, true);
	n.tr.access |= 2; /* busy */
	c->tr = n.tr;
	load_registers(c, &n, nested);
	load_cr3(c, t, &n);
	load_ldtr(c, t, n.ldt);
	load_segments(c, t);
	if (t->has_error)
		push(c, NULL, n.layout == &layout32 ? 2 : 1, t->error);
	if (n.trap) {
		c->delivering = false;
		c->intr_shadow = 0;
		soft_raise(c, NULL, X86_DB, 0, DR6_BT);
	}
}
