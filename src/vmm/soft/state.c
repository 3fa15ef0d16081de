/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vCPU's state: changes of mode, and conversion from and to the
 * engine-neutral struct vcpu_state.
 */
#include <errno.h>

#include "vmm/irq.h"
#include "vmm/soft/access.h"
#include "vmm/soft/block.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/vec.h"

/* -- mode
 * ---------------------------------------------------------------------------
 */

static uint8_t code_size(const struct cpu *c)
{
	const struct segment *cs = &c->seg[SEG_CS];

	if (!(c->cr0 & CR0_PE))
		return cs->access & AR_DB ? 4 : 2;
	if (c->flags & RFLAGS_VM)
		return 2;
	if ((c->efer & EFER_LMA) && (cs->access & AR_L))
		return 8;
	return cs->access & AR_DB ? 4 : 2;
}

static bool is_real_or_v86(const struct cpu *c)
{
	return !(c->cr0 & CR0_PE) || (c->flags & RFLAGS_VM);
}

static bool is_flat_data(const struct segment *s)
{
	return s->base == 0 && segment_is_open(s);
}

/* What type and limit of segments have no say in, and no base. */
static bool is_flat(const struct cpu *c)
{
	const struct segment *cs = &c->seg[SEG_CS], *ss = &c->seg[SEG_SS];

	if (c->code_size == 8)
		return true;
	return c->code_size == 4 && !is_real_or_v86(c) && cs->base == 0 &&
	       cs->limit == 0xffffffff && (ss->access & AR_DB) &&
	       is_flat_data(ss) && is_flat_data(&c->seg[SEG_DS]) &&
	       is_flat_data(&c->seg[SEG_ES]);
}

static void mode_key_set(struct cpu *c, bool real, uint64_t flat)
{
	c->mode_key =
	    ((uint64_t)c->code_size << 1 | (c->cpl != 0) | (uint64_t)real << 5)
		<< MODE_KEY_SHIFT |
	    flat;
	live_tag_update(c);
}

static void mode_key_update(struct cpu *c)
{
	mode_key_set(c, is_real_or_v86(c), is_flat(c) ? MODE_KEY_FLAT : 0);
}

void cpu_segments_changed(struct cpu *c)
{
	if (c->code_size != 8)
		mode_key_update(c);
}

void cpu_level_changed(struct cpu *c)
{
	if (likely(is_long_mode(c) && c->seg[SEG_CS].access & AR_L)) {
		c->code_size = 8;
		mode_key_set(c, false, MODE_KEY_FLAT);
		mmu_mode_changed(c);
		return;
	}
	c->code_size = code_size(c);
	if (!(c->cr0 & CR0_PE))
		c->cpl = 0;
	else if (c->flags & RFLAGS_VM)
		c->cpl = 3;
	mode_key_update(c);
	if (!(c->mode_key & MODE_KEY_FLAT))
		jump_flush(c); /* the base of CS may be another */
	mmu_mode_changed(c);
}

void cpu_mode_changed(struct cpu *c)
{
	cpu_level_changed(c);
	c->single_step = (c->flags & RFLAGS_TF) || c->cap_mtrap;
	vec_mode_changed(c);
}

void rflags_set(struct cpu *c, uint64_t value, uint64_t mask)
{
	const uint32_t matters = RFLAGS_TF | RFLAGS_AC | RFLAGS_VM;
	uint32_t old = c->flags;
	uint64_t all = (rflags_get(c) & ~mask) | (value & mask);

	c->flags = ((uint32_t)all & ~RFLAGS_ARITH) | RFLAGS_ONE;
	arith_set(c, all);
	if ((old ^ c->flags) & matters)
		cpu_mode_changed(c);
}

/* -- the map of registers
 * -------------------------------------------------------------- */

/* General registers in the order of enum vm_reg_name's first fifteen. */
static const struct {
	uint8_t reg, gpr;
} gpr_map[] = {
    {VM_REG_GUEST_RAX, 0},  {VM_REG_GUEST_RCX, 1},  {VM_REG_GUEST_RDX, 2},
    {VM_REG_GUEST_RBX, 3},  {VM_REG_GUEST_RSP, 4},  {VM_REG_GUEST_RBP, 5},
    {VM_REG_GUEST_RSI, 6},  {VM_REG_GUEST_RDI, 7},  {VM_REG_GUEST_R8, 8},
    {VM_REG_GUEST_R9, 9},   {VM_REG_GUEST_R10, 10}, {VM_REG_GUEST_R11, 11},
    {VM_REG_GUEST_R12, 12}, {VM_REG_GUEST_R13, 13}, {VM_REG_GUEST_R14, 14},
    {VM_REG_GUEST_R15, 15},
};

#define OFFSET(member) offsetof(struct cpu, member)

static const struct {
	uint8_t reg;
	uint16_t offset;
} sys_map[] = {
    {VM_REG_GUEST_CR0, OFFSET(cr0)},
    {VM_REG_GUEST_CR2, OFFSET(cr2)},
    {VM_REG_GUEST_CR3, OFFSET(cr3)},
    {VM_REG_GUEST_CR4, OFFSET(cr4)},
    {VM_REG_GUEST_EFER, OFFSET(efer)},
    {VM_REG_GUEST_RIP, OFFSET(rip)},
    {VM_REG_GUEST_DR0, OFFSET(dr[0])},
    {VM_REG_GUEST_DR1, OFFSET(dr[1])},
    {VM_REG_GUEST_DR2, OFFSET(dr[2])},
    {VM_REG_GUEST_DR3, OFFSET(dr[3])},
    {VM_REG_GUEST_DR6, OFFSET(dr[6])},
    {VM_REG_GUEST_DR7, OFFSET(dr[7])},
    {VM_REG_GUEST_PDPTE0, OFFSET(pdpte[0])},
    {VM_REG_GUEST_PDPTE1, OFFSET(pdpte[1])},
    {VM_REG_GUEST_PDPTE2, OFFSET(pdpte[2])},
    {VM_REG_GUEST_PDPTE3, OFFSET(pdpte[3])},
    {VM_REG_GUEST_KGS_BASE, OFFSET(kernel_gs_base)},
};

static const struct {
	uint8_t reg;
	uint16_t offset;
} seg_map[] = {
    {VM_REG_GUEST_ES, OFFSET(seg[SEG_ES])},
    {VM_REG_GUEST_CS, OFFSET(seg[SEG_CS])},
    {VM_REG_GUEST_SS, OFFSET(seg[SEG_SS])},
    {VM_REG_GUEST_DS, OFFSET(seg[SEG_DS])},
    {VM_REG_GUEST_FS, OFFSET(seg[SEG_FS])},
    {VM_REG_GUEST_GS, OFFSET(seg[SEG_GS])},
    {VM_REG_GUEST_LDTR, OFFSET(ldtr)},
    {VM_REG_GUEST_TR, OFFSET(tr)},
};

static uint64_t *word_at(struct cpu *c, unsigned offset)
{
	return (uint64_t *)(void *)((char *)c + offset);
}

static struct segment *segment_at(struct cpu *c, unsigned offset)
{
	return (struct segment *)(void *)((char *)c + offset);
}

/* -- out
 * ----------------------------------------------------------------------------------
 */

static void get_segments(struct cpu *c, struct vcpu_state *state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(seg_map); n++) {
		const struct segment *s = segment_at(c, seg_map[n].offset);

		state->reg[seg_map[n].reg] = s->selector;
		state->desc[VCPU_DESC(seg_map[n].reg)] =
		    (struct seg_desc){s->base, s->limit, s->access};
	}
	state->desc[VCPU_DESC(VM_REG_GUEST_GDTR)] =
	    (struct seg_desc){c->gdtr_base, c->gdtr_limit, 0};
	state->desc[VCPU_DESC(VM_REG_GUEST_IDTR)] =
	    (struct seg_desc){c->idtr_base, c->idtr_limit, 0};
	state->reg[VM_REG_GUEST_FS_BASE] = c->seg[SEG_FS].base;
	state->reg[VM_REG_GUEST_GS_BASE] = c->seg[SEG_GS].base;
}

void soft_state_get(struct cpu *c, struct vcpu_state *state)
{
	vec_leave(c);
	for (unsigned n = 0; n < ARRAY_SIZE(gpr_map); n++)
		state->reg[gpr_map[n].reg] = c->gpr[gpr_map[n].gpr];
	for (unsigned n = 0; n < ARRAY_SIZE(sys_map); n++)
		state->reg[sys_map[n].reg] = *word_at(c, sys_map[n].offset);
	state->reg[VM_REG_GUEST_RFLAGS] = rflags_get(c);
	state->reg[VM_REG_GUEST_INTR_SHADOW] = c->intr_shadow != 0;
	state->reg[VM_REG_GUEST_TPR] = vcpu_get_cr8(c->vcpu);
	get_segments(c, state);
	copy_bytes(state->msr, c->msr, sizeof(state->msr));
	copy_bytes(state->mtrr_fixed, c->mtrr_fixed, sizeof(c->mtrr_fixed));
	copy_bytes(state->mtrr_base, c->mtrr_base, sizeof(c->mtrr_base));
	copy_bytes(state->mtrr_mask, c->mtrr_mask, sizeof(c->mtrr_mask));
	state->tsc_adjust = c->vcpu->state.tsc_adjust;
	state->xcr0 = c->xcr0;
	copy_bytes(state->xsave, c->xsave, VCPU_XSAVE_SIZE);
	state->exception_pending = c->exception.valid;
	state->exception_vector = c->exception.vector;
	state->exception_has_error = c->exception.has_error;
	state->exception_is_soft = c->exception.is_soft;
	state->exception_error = c->exception.error;
	state->exception_payload = c->exception.payload;
	state->nmi_pending =
	    (atomic_load(&c->vcpu->requests) & VCPU_REQ_NMI) != 0;
	state->nmi_masked = c->nmi_masked;
}

/* -- in
 * ------------------------------------------------------------------------------------
 */

static void set_segments(struct cpu *c, const struct vcpu_state *state)
{
	for (unsigned n = 0; n < ARRAY_SIZE(seg_map); n++) {
		const struct seg_desc *d =
		    &state->desc[VCPU_DESC(seg_map[n].reg)];

		*segment_at(c, seg_map[n].offset) = (struct segment){
		    .selector = (uint16_t)state->reg[seg_map[n].reg],
		    .base = d->base,
		    .limit = d->limit,
		    .access = d->access,
		};
	}
	c->gdtr_base = state->desc[VCPU_DESC(VM_REG_GUEST_GDTR)].base;
	c->gdtr_limit =
	    (uint16_t)state->desc[VCPU_DESC(VM_REG_GUEST_GDTR)].limit;
	c->idtr_base = state->desc[VCPU_DESC(VM_REG_GUEST_IDTR)].base;
	c->idtr_limit =
	    (uint16_t)state->desc[VCPU_DESC(VM_REG_GUEST_IDTR)].limit;
}

static void set_exception(struct cpu *c, const struct vcpu_state *state)
{
	c->exception.valid = state->exception_pending;
	c->exception.vector = state->exception_vector;
	c->exception.has_error = state->exception_has_error;
	c->exception.is_soft = state->exception_is_soft;
	c->exception.error = state->exception_error;
	c->exception.payload = state->exception_payload;
	c->exception.len = 0;
}

/* CR0.PG without PE and the like can run nowhere. */
static bool is_consistent(const struct vcpu_state *state)
{
	uint64_t cr0 = state->reg[VM_REG_GUEST_CR0];
	uint64_t efer = state->reg[VM_REG_GUEST_EFER];

	if ((cr0 & CR0_PG) && !(cr0 & CR0_PE))
		return false;
	return !(efer & EFER_LMA) || (cr0 & CR0_PG);
}

int soft_state_set(struct cpu *c, const struct vcpu_state *state)
{
	if (!is_consistent(state))
		return -EINVAL;
	vec_leave(c);
	for (unsigned n = 0; n < ARRAY_SIZE(gpr_map); n++)
		c->gpr[gpr_map[n].gpr] = state->reg[gpr_map[n].reg];
	for (unsigned n = 0; n < ARRAY_SIZE(sys_map); n++)
		*word_at(c, sys_map[n].offset) = state->reg[sys_map[n].reg];
	c->gpr[16] = 0;
	c->flags = ((uint32_t)state->reg[VM_REG_GUEST_RFLAGS] & ~RFLAGS_ARITH) |
		   RFLAGS_ONE;
	arith_set(c, state->reg[VM_REG_GUEST_RFLAGS]);
	c->intr_shadow = state->reg[VM_REG_GUEST_INTR_SHADOW] & 1;
	set_segments(c, state);
	copy_bytes(c->msr, state->msr, sizeof(state->msr));
	copy_bytes(c->mtrr_fixed, state->mtrr_fixed, sizeof(c->mtrr_fixed));
	copy_bytes(c->mtrr_base, state->mtrr_base, sizeof(c->mtrr_base));
	copy_bytes(c->mtrr_mask, state->mtrr_mask, sizeof(c->mtrr_mask));
	c->xcr0 = state->xcr0;
	copy_bytes(c->xsave, state->xsave, VCPU_XSAVE_SIZE);
	set_exception(c, state);
	if (state->nmi_pending)
		atomic_fetch_or(&c->vcpu->requests, VCPU_REQ_NMI);
	c->nmi_masked = state->nmi_masked;
	c->intr_check = true;
	c->cpl = (c->seg[SEG_SS].access >> AR_DPL_SHIFT) & 3;
	cpu_mode_changed(c);
	debug_changed(c);
	mmu_flush_all(c);
	/* Blocks are right in any state: a guest changes it as well. */
	c->link_from = NULL;
	return 0;
}
