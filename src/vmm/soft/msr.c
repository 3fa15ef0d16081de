/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model-specific registers. A table says where each lives; the LAPIC's are
 * the room's; what nobody here knows goes to the process (RDMSR, WRMSR exits).
 */
#include <errno.h>

#include "vmm/bus.h"
#include "vmm/cpuid.h"
#include "vmm/irq.h"
#include "vmm/soft/exec.h"
#include "x86/features.h"
#include "x86/msr.h"

struct msr_row {
	uint32_t first, last;
	uint64_t (*read)(struct cpu *c, uint32_t msr);
	/* 0, or -EINVAL: #GP. NULL: read-only. */
	int (*write)(struct cpu *c, uint32_t msr, uint64_t value);
	uint16_t feature; /* #GP without it; 0: always there */
};

static bool has(const struct cpu *c, unsigned feature)
{
	return cpu_model_has(c->svm->vm->cpu_model, feature);
}

/* -- plain storage: one function a kind of value
 * --------------------------------- */

static enum vcpu_msr storage(uint32_t msr)
{
	switch (msr) {
	case MSR_STAR:
		return VCPU_MSR_STAR;
	case MSR_LSTAR:
		return VCPU_MSR_LSTAR;
	case MSR_CSTAR:
		return VCPU_MSR_CSTAR;
	case MSR_SFMASK:
		return VCPU_MSR_SFMASK;
	case MSR_SYSENTER_CS:
		return VCPU_MSR_SYSENTER_CS;
	case MSR_SYSENTER_ESP:
		return VCPU_MSR_SYSENTER_ESP;
	case MSR_SYSENTER_EIP:
		return VCPU_MSR_SYSENTER_EIP;
	case MSR_PAT:
		return VCPU_MSR_PAT;
	case MSR_TSC_AUX:
		return VCPU_MSR_TSC_AUX;
	case MSR_XSS:
		return VCPU_MSR_XSS;
	case MSR_SPEC_CTRL:
		return VCPU_MSR_SPEC_CTRL;
	case MSR_DEBUGCTL:
		return VCPU_MSR_DEBUGCTL;
	case MSR_MTRR_DEF_TYPE:
		return VCPU_MSR_MTRR_DEF_TYPE;
	default:
		return VCPU_MSR_MISC_ENABLE;
	}
}

static uint64_t read_stored(struct cpu *c, uint32_t msr)
{
	return c->msr[storage(msr)];
}

static int write_any(struct cpu *c, uint32_t msr, uint64_t value)
{
	c->msr[storage(msr)] = value;
	return 0;
}

static int write_32bit(struct cpu *c, uint32_t msr, uint64_t value)
{
	if (value >> 32)
		return -EINVAL;
	return write_any(c, msr, value);
}

static int write_address(struct cpu *c, uint32_t msr, uint64_t value)
{
	return is_canonical_base(c, value) ? write_any(c, msr, value) : -EINVAL;
}

static bool memory_type_valid(unsigned type)
{
	return type <= 7 && type != 2 && type != 3;
}

static int write_pat(struct cpu *c, uint32_t msr, uint64_t value)
{
	for (unsigned n = 0; n < 64; n += 8)
		if (!memory_type_valid(value >> n & 0xff))
			return -EINVAL;
	return write_any(c, msr, value);
}

static int write_zero_only(struct cpu *c, uint32_t msr, uint64_t value)
{
	return value != 0 ? -EINVAL : 0;
}

static int write_ignored(struct cpu *c, uint32_t msr, uint64_t value)
{
	return 0;
}

static uint64_t read_zero(struct cpu *c, uint32_t msr)
{
	return 0;
}

/* Nothing to do, and nothing to switch (cpuid.c); what is set reads back. */
static uint64_t read_arch_capabilities(struct cpu *c, uint32_t msr)
{
	return ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_SKIP_L1DFL |
	       ARCH_CAP_SSB_NO | ARCH_CAP_MDS_NO | ARCH_CAP_PSCHANGE_MC_NO |
	       ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO |
	       ARCH_CAP_PSDP_NO | ARCH_CAP_BHI_NO | ARCH_CAP_PBRSB_NO |
	       ARCH_CAP_GDS_NO | ARCH_CAP_RFDS_NO | ARCH_CAP_ITS_NO;
}

static int write_spec_ctrl(struct cpu *c, uint32_t msr, uint64_t value)
{
	uint64_t allowed = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP;

	if (has(c, X86_FEATURE_BHI_CTRL))
		allowed |= SPEC_CTRL_BHI_DIS_S;
	return value & ~allowed ? -EINVAL : write_any(c, msr, value);
}

static int write_pred_cmd(struct cpu *c, uint32_t msr, uint64_t value)
{
	return value & ~PRED_CMD_IBPB ? -EINVAL : 0;
}

/* -- EFER, bases
 * ------------------------------------------------------------------- */

static uint64_t read_efer(struct cpu *c, uint32_t msr)
{
	return c->efer;
}

static int write_efer(struct cpu *c, uint32_t msr, uint64_t value)
{
	uint64_t allowed = EFER_LMA;

	if (has(c, X86_FEATURE_SYSCALL))
		allowed |= EFER_SCE;
	if (has(c, X86_FEATURE_NX))
		allowed |= EFER_NXE;
	if (has(c, X86_FEATURE_LM))
		allowed |= EFER_LME;
	if (has(c, X86_FEATURE_AUTO_IBRS))
		allowed |= EFER_AIBRSE;
	if (value & ~allowed)
		return -EINVAL;
	if ((c->cr0 & CR0_PG) && ((value ^ c->efer) & EFER_LME))
		return -EINVAL;
	value = (value & ~(uint64_t)EFER_LMA) | (c->efer & EFER_LMA);
	if ((value ^ c->efer) & EFER_NXE) {
		c->efer = value;
		mmu_flush_all(c);
	}
	c->efer = value;
	return 0;
}

static uint64_t read_base(struct cpu *c, uint32_t msr)
{
	return msr == MSR_FS_BASE   ? c->seg[SEG_FS].base
	       : msr == MSR_GS_BASE ? c->seg[SEG_GS].base
				    : c->kernel_gs_base;
}

static int write_base(struct cpu *c, uint32_t msr, uint64_t value)
{
	if (!is_canonical_base(c, value))
		return -EINVAL;
	if (msr == MSR_FS_BASE)
		c->seg[SEG_FS].base = value;
	else if (msr == MSR_GS_BASE)
		c->seg[SEG_GS].base = value;
	else
		c->kernel_gs_base = value;
	return 0;
}

/* -- time
 * ------------------------------------------------------------------------------
 */

static uint64_t read_tsc(struct cpu *c, uint32_t msr)
{
	return soft_tsc(c);
}

/* A write of either moves the other by as much (SDM vol. 3, 18.17.3). */
static int write_tsc(struct cpu *c, uint32_t msr, uint64_t value)
{
	uint64_t delta = value - soft_tsc(c);

	c->tsc = (struct tsc_copy){0};
	c->vcpu->state.tsc_offset += delta;
	c->vcpu->state.tsc_adjust += delta;
	vcpu_tsc_changed(c->vcpu);
	return 0;
}

static uint64_t read_tsc_adjust(struct cpu *c, uint32_t msr)
{
	return c->vcpu->state.tsc_adjust;
}

static int write_tsc_adjust(struct cpu *c, uint32_t msr, uint64_t value)
{
	c->tsc = (struct tsc_copy){0};
	c->vcpu->state.tsc_offset += value - c->vcpu->state.tsc_adjust;
	c->vcpu->state.tsc_adjust = value;
	vcpu_tsc_changed(c->vcpu);
	return 0;
}

/* -- MTRRs: they read back; memory is always write-back
 * ---------------------------------- */

static uint64_t read_mtrrcap(struct cpu *c, uint32_t msr)
{
	return VCPU_MTRR_VARIABLE | BIT(8) | BIT(10); /* fixed, WC */
}

static int write_mtrr_def_type(struct cpu *c, uint32_t msr, uint64_t value)
{
	if (value & ~0xcffull || !memory_type_valid(value & 0xff))
		return -EINVAL;
	return write_any(c, msr, value);
}

static uint64_t *mtrr_variable(struct cpu *c, uint32_t msr)
{
	unsigned n = (msr - MSR_MTRR_PHYSBASE0) / 2;

	return msr & 1 ? &c->mtrr_mask[n] : &c->mtrr_base[n];
}

static uint64_t read_mtrr_variable(struct cpu *c, uint32_t msr)
{
	return *mtrr_variable(c, msr);
}

static int write_mtrr_variable(struct cpu *c, uint32_t msr, uint64_t value)
{
	uint64_t low = msr & 1 ? BIT(11) : 0xff;

	if (value & ~((c->svm->phys_mask & ~0xfffull) | low))
		return -EINVAL;
	if (!(msr & 1) && !memory_type_valid(value & 0xff))
		return -EINVAL;
	*mtrr_variable(c, msr) = value;
	return 0;
}

static uint64_t *mtrr_fixed(struct cpu *c, uint32_t msr)
{
	if (msr == MSR_MTRR_FIX64K_00000)
		return &c->mtrr_fixed[0];
	if (msr <= MSR_MTRR_FIX16K_A0000)
		return &c->mtrr_fixed[1 + msr - MSR_MTRR_FIX16K_80000];
	return &c->mtrr_fixed[3 + msr - MSR_MTRR_FIX4K_C0000];
}

static uint64_t read_mtrr_fixed(struct cpu *c, uint32_t msr)
{
	return *mtrr_fixed(c, msr);
}

static int write_mtrr_fixed(struct cpu *c, uint32_t msr, uint64_t value)
{
	for (unsigned n = 0; n < 64; n += 8)
		if (!memory_type_valid(value >> n & 0xff))
			return -EINVAL;
	*mtrr_fixed(c, msr) = value;
	return 0;
}

/* -- the table
 * -------------------------------------------------------------------------------
 */

#define F(name) X86_FEATURE_##name

static const struct msr_row msr_table[] = {
    {MSR_P5_MC_ADDR, MSR_P5_MC_TYPE, read_zero, write_ignored, F(MCE)},
    {MSR_TSC, MSR_TSC, read_tsc, write_tsc, F(TSC)},
    {MSR_PLATFORM_ID, MSR_PLATFORM_ID, read_zero, NULL, 0},
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, read_tsc_adjust, write_tsc_adjust,
     F(TSC_ADJUST)},
    {MSR_SPEC_CTRL, MSR_SPEC_CTRL, read_stored, write_spec_ctrl, F(SPEC_CTRL)},
    {MSR_SPEC_CTRL, MSR_SPEC_CTRL, read_stored, write_spec_ctrl, F(AMD_IBRS)},
    {MSR_PRED_CMD, MSR_PRED_CMD, NULL, write_pred_cmd, F(SPEC_CTRL)},
    {MSR_ARCH_CAPABILITIES, MSR_ARCH_CAPABILITIES, read_arch_capabilities, NULL,
     F(ARCH_CAPABILITIES)},
    {MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, read_zero, write_ignored, 0},
    {MSR_MTRRCAP, MSR_MTRRCAP, read_mtrrcap, NULL, F(MTRR)},
    {MSR_SYSENTER_CS, MSR_SYSENTER_CS, read_stored, write_any, F(SEP)},
    {MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, read_stored, write_address, F(SEP)},
    {MSR_MCG_CAP, MSR_MCG_CAP, read_zero, NULL, F(MCA)},
    {MSR_MCG_STATUS, MSR_MCG_STATUS, read_zero, write_zero_only, F(MCA)},
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, read_stored, write_any, 0},
    {MSR_DEBUGCTL, MSR_DEBUGCTL, read_stored, write_zero_only, 0},
    {MSR_MTRR_PHYSBASE0, MSR_MTRR_PHYSBASE0 + 2 * VCPU_MTRR_VARIABLE - 1,
     read_mtrr_variable, write_mtrr_variable, F(MTRR)},
    {MSR_MTRR_FIX64K_00000, MSR_MTRR_FIX64K_00000, read_mtrr_fixed,
     write_mtrr_fixed, F(MTRR)},
    {MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, read_mtrr_fixed,
     write_mtrr_fixed, F(MTRR)},
    {MSR_MTRR_FIX4K_C0000, MSR_MTRR_FIX4K_C0000 + 7, read_mtrr_fixed,
     write_mtrr_fixed, F(MTRR)},
    {MSR_PAT, MSR_PAT, read_stored, write_pat, F(PAT)},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, read_stored, write_mtrr_def_type,
     F(MTRR)},
    {MSR_XSS, MSR_XSS, read_stored, write_zero_only, F(XSAVES)},
    {MSR_EFER, MSR_EFER, read_efer, write_efer, F(LM)},
    {MSR_EFER, MSR_EFER, read_efer, write_efer, F(NX)},
    {MSR_STAR, MSR_STAR, read_stored, write_any, F(SYSCALL)},
    {MSR_LSTAR, MSR_CSTAR, read_stored, write_address, F(LM)},
    {MSR_SFMASK, MSR_SFMASK, read_stored, write_32bit, F(SYSCALL)},
    {MSR_FS_BASE, MSR_KERNEL_GS_BASE, read_base, write_base, F(LM)},
    {MSR_TSC_AUX, MSR_TSC_AUX, read_stored, write_32bit, F(RDTSCP)},
    {MSR_TSC_AUX, MSR_TSC_AUX, read_stored, write_32bit, F(RDPID)},
};

/* #GP when it belongs to a feature that the model has not; NULL: no row. */
static const struct msr_row *find(struct cpu *c, const struct insn *i,
				  uint32_t msr)
{
	bool known = false;

	for (unsigned n = 0; n < ARRAY_SIZE(msr_table); n++) {
		const struct msr_row *row = &msr_table[n];

		if (msr < row->first || msr > row->last)
			continue;
		if (row->feature == 0 || has(c, row->feature))
			return row;
		known = true;
	}
	if (known)
		raise_gp(c, i, 0);
	return NULL;
}

EXEC(rdmsr)
{
	uint32_t msr = GET32(REG_RCX);
	const struct msr_row *row = find(c, i, msr);
	uint64_t value = 0;
	int error;

	vec_leave(c);
	if (row != NULL) {
		if (row->read == NULL)
			raise_gp(c, i, 0);
		value = row->read(c, msr);
	} else {
		error = room_msr(c->vcpu, msr, false, &value);
		if (error == -EINVAL)
			raise_gp(c, i, 0);
		if (error == -ENXIO) {
			c->vcpu->stats[VM_STAT_RDMSR]++;
			c->exit->exitcode = VM_EXITCODE_RDMSR;
			c->exit->u.msr.code = msr;
			c->exit->u.msr.wval = 0;
			soft_leave(c, i, PENDING_RDMSR);
		}
	}
	SET32(REG_RAX, value);
	SET32(REG_RDX, value >> 32);
	return next(c, i);
}

EXEC(wrmsr)
{
	uint32_t msr = GET32(REG_RCX);
	uint64_t value = (uint64_t)GET32(REG_RDX) << 32 | GET32(REG_RAX);
	const struct msr_row *row = find(c, i, msr);
	int error;

	vec_leave(c);
	if (row != NULL) {
		if (row->write == NULL || row->write(c, msr, value) != 0)
			raise_gp(c, i, 0);
		return end_block(c, i);
	}
	error = room_msr(c->vcpu, msr, true, &value);
	if (error == -EINVAL)
		raise_gp(c, i, 0);
	if (error == -ENXIO) {
		c->vcpu->stats[VM_STAT_WRMSR]++;
		c->exit->exitcode = VM_EXITCODE_WRMSR;
		c->exit->u.msr.code = msr;
		c->exit->u.msr.wval = value;
		soft_leave(c, i, PENDING_SKIP);
	}
	c->intr_check = true;
	return end_block(c, i);
}

const struct handler h_rdmsr = {.one = rdmsr}, h_wrmsr = {.one = wrmsr};
