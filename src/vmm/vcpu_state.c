// SPDX-License-Identifier: BSD-2-Clause
/* The vCPU's state at reset, and as saved fields. */
#include "vmm/vcpu_state.h"

#include <errno.h>
#include <string.h>

#include "base/state.h"
#include "vmm/vm.h"
#include "x86/cr.h"

/* What CPUID.1:EAX puts into EDX at reset: a family 6 processor. */
#define RESET_EDX 0x00000600u

#define AR_DATA16 (AR_P | AR_S | AR_WRITABLE | AR_ACCESSED)
#define AR_CODE16 (AR_P | AR_S | AR_CODE | AR_READABLE | AR_ACCESSED)
#define AR_LDT    (AR_P | 2u)
#define AR_TSS    (AR_P | 11u) /* busy 32-bit TSS, as VM entry requires */

#define DR6_RESET 0xffff0ff0u
#define DR7_RESET 0x400u

#define PAT_RESET         0x0007040600070406ull
#define MISC_ENABLE_RESET 1u /* fast strings */

#define FCW_RESET   0x0040u /* power-up; FNINIT's is 0x037f */
#define MXCSR_RESET 0x1f80u

static void reset_segments(struct vcpu_state *state)
{
	for (int i = 0; i < VCPU_DESC_COUNT; i++)
		state->desc[i] = (struct seg_desc){0, 0xffff, AR_DATA16};
	for (int reg = VM_REG_GUEST_ES; reg <= VM_REG_GUEST_TR; reg++)
		state->reg[reg] = 0;
	state->reg[VM_REG_GUEST_CS] = 0xf000;
	state->desc[VCPU_DESC(VM_REG_GUEST_CS)] =
	    (struct seg_desc){0xffff0000, 0xffff, AR_CODE16};
	state->desc[VCPU_DESC(VM_REG_GUEST_LDTR)].access = AR_LDT;
	state->desc[VCPU_DESC(VM_REG_GUEST_TR)].access = AR_TSS;
	state->desc[VCPU_DESC(VM_REG_GUEST_IDTR)].access = 0;
	state->desc[VCPU_DESC(VM_REG_GUEST_GDTR)].access = 0;
	state->reg[VM_REG_GUEST_FS_BASE] = 0;
	state->reg[VM_REG_GUEST_GS_BASE] = 0;
}

/* What INIT resets too: table 10-1's column, down to EFER. */
static void reset_integer(struct vcpu_state *state, uint64_t cr0)
{
	uint64_t *reg = state->reg;

	memset(reg, 0, sizeof(state->reg));
	reg[VM_REG_GUEST_RDX] = RESET_EDX;
	reg[VM_REG_GUEST_RIP] = 0xfff0;
	reg[VM_REG_GUEST_RFLAGS] = RFLAGS_ONE;
	reg[VM_REG_GUEST_CR0] = cr0;
	reg[VM_REG_GUEST_DR6] = DR6_RESET;
	reg[VM_REG_GUEST_DR7] = DR7_RESET;
	reset_segments(state);
	state->exception_pending = 0;
	state->nmi_pending = 0;
	state->nmi_masked = 0;
}

static void reset_xsave(struct vcpu_state *state)
{
	uint16_t fcw = FCW_RESET;
	uint32_t mxcsr = MXCSR_RESET;
	uint64_t xstate_bv = XCR0_X87 | XCR0_SSE;

	memset(state->xsave, 0, sizeof(state->xsave));
	memcpy(state->xsave, &fcw, sizeof(fcw));
	memcpy(state->xsave + 24, &mxcsr, sizeof(mxcsr));
	memcpy(state->xsave + 512, &xstate_bv, sizeof(xstate_bv));
}

/*
 * SDM vol. 3, table 10-1. INIT leaves caches (CR0.CD, NW), MTRRs, TSC, x87,
 * SSE and most MSRs alone.
 */
void vcpu_state_reset(struct vcpu_state *state, bool init)
{
	if (init) {
		uint64_t cache =
		    state->reg[VM_REG_GUEST_CR0] & (CR0_CD | CR0_NW);
		uint64_t kernel_gs = state->reg[VM_REG_GUEST_KGS_BASE];

		reset_integer(state, cache | CR0_ET);
		state->reg[VM_REG_GUEST_KGS_BASE] = kernel_gs;
		return;
	}
	memset(state, 0, sizeof(*state));
	reset_integer(state, CR0_CD | CR0_NW | CR0_ET);
	state->msr[VCPU_MSR_PAT] = PAT_RESET;
	state->msr[VCPU_MSR_MISC_ENABLE] = MISC_ENABLE_RESET;
	state->xcr0 = XCR0_X87;
	reset_xsave(state);
}

/* seg_desc is saved as pairs of words: base, then limit and access. */
_Static_assert(sizeof(struct seg_desc) == 2 * sizeof(uint64_t),
	       "descriptors are saved as words");

static const struct state_field fields[] = {
    STATE_ARRAY(struct vmcpu, state.reg),
    {"state.desc", offsetof(struct vmcpu, state.desc), 8, 2 * VCPU_DESC_COUNT},
    STATE_ARRAY(struct vmcpu, state.msr),
    STATE_ARRAY(struct vmcpu, state.mtrr_fixed),
    STATE_ARRAY(struct vmcpu, state.mtrr_base),
    STATE_ARRAY(struct vmcpu, state.mtrr_mask),
    STATE_SCALAR(struct vmcpu, state.tsc_offset),
    STATE_SCALAR(struct vmcpu, state.tsc_adjust),
    STATE_SCALAR(struct vmcpu, state.xcr0),
    STATE_ARRAY(struct vmcpu, state.xsave),
    STATE_SCALAR(struct vmcpu, state.exception_pending),
    STATE_SCALAR(struct vmcpu, state.exception_vector),
    STATE_SCALAR(struct vmcpu, state.exception_has_error),
    STATE_SCALAR(struct vmcpu, state.exception_is_soft),
    STATE_SCALAR(struct vmcpu, state.exception_error),
    STATE_SCALAR(struct vmcpu, state.exception_payload),
    STATE_SCALAR(struct vmcpu, state.nmi_pending),
    STATE_SCALAR(struct vmcpu, state.nmi_masked),
    STATE_SCALAR(struct vmcpu, state.mp_state),
    STATE_SCALAR(struct vmcpu, requests),
    STATE_SCALAR(struct vmcpu, sipi_vector),
    STATE_SCALAR(struct vmcpu, active),
    STATE_SCALAR(struct vmcpu, suspended),
    STATE_SCALAR(struct vmcpu, capabilities),
    STATE_ARRAY(struct vmcpu, stats),
};

/* Requests that outlive the process: the rest are between its threads. */
#define SAVED_REQUESTS (VCPU_REQ_NMI | VCPU_REQ_INIT | VCPU_REQ_SIPI)

static int vcpu_post_load(void *object)
{
	struct vmcpu *vcpu = object;
	struct vcpu_state *state = &vcpu->state;
	unsigned char flags[2];

	memcpy(&flags[0], &vcpu->active, 1);
	memcpy(&flags[1], &vcpu->suspended, 1);
	if (flags[0] > 1 || flags[1] > 1 || state->mp_state > MP_WAIT_SIPI ||
	    state->exception_pending > 1 || state->exception_vector > 31 ||
	    state->exception_has_error > 1 || state->exception_is_soft > 1 ||
	    state->nmi_pending > 1 || state->nmi_masked > 1 ||
	    vcpu->capabilities >= BIT(VM_CAP_MAX))
		return -EINVAL;
	vcpu->requests &= SAVED_REQUESTS;
	vcpu->intr_enabled = (state->reg[VM_REG_GUEST_RFLAGS] & RFLAGS_IF) != 0;
	vcpu->suspend_told = vcpu->hlt_told = vcpu->exit_pending = false;
	return 0;
}

const struct state_class vcpu_state_class = {
    .name = "vcpu",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
    .post_load = vcpu_post_load,
};
