/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine-neutral state of a vCPU: what one engine saves, the other loads.
 * Registers are indexed by enum vm_reg_name (x86/regs.def): general, control
 * and debug registers by value, segment registers by selector. Their
 * descriptors are in desc[], indexed by VCPU_DESC(reg).
 */
#ifndef VMM_VCPU_STATE_H
#define VMM_VCPU_STATE_H

#include <vmmapi.h>

#define VCPU_DESC(reg)  ((reg)-VM_REG_GUEST_ES) /* ES CS SS DS FS GS LDTR */
#define VCPU_DESC_COUNT 10                      /* TR IDTR GDTR */

enum mp_state {
	MP_RUNNABLE,
	MP_HALTED,    /* after HLT: waits for an interrupt, NMI, INIT */
	MP_WAIT_SIPI, /* after INIT; an AP starts here */
};

#define VCPU_XSAVE_SIZE 4096 /* standard format, XCR0 of the CPU model */

/* Model-specific registers that are plain storage. X-macro: NAME. */
#define VCPU_MSRS(X)                                                           \
	X(STAR)                                                                \
	X(LSTAR)                                                               \
	X(CSTAR)                                                               \
	X(SFMASK)                                                              \
	X(SYSENTER_CS)                                                         \
	X(SYSENTER_ESP)                                                        \
	X(SYSENTER_EIP)                                                        \
	X(PAT)                                                                 \
	X(MISC_ENABLE)                                                         \
	X(TSC_AUX)                                                             \
	X(XSS)                                                                 \
	X(SPEC_CTRL)                                                           \
	X(DEBUGCTL)                                                            \
	X(MTRR_DEF_TYPE)                                                       \
	X(KVM_WALL_CLOCK)                                                      \
	X(KVM_SYSTEM_TIME)

enum vcpu_msr {
#define X(name) VCPU_MSR_##name,
	VCPU_MSRS(X)
#undef X
	    VCPU_MSR_COUNT
};

#define VCPU_MTRR_FIXED    11
#define VCPU_MTRR_VARIABLE 8

struct vcpu_state {
	uint64_t reg[VM_REG_LAST];
	struct seg_desc desc[VCPU_DESC_COUNT];
	uint64_t msr[VCPU_MSR_COUNT];
	uint64_t mtrr_fixed[VCPU_MTRR_FIXED];
	uint64_t mtrr_base[VCPU_MTRR_VARIABLE];
	uint64_t mtrr_mask[VCPU_MTRR_VARIABLE];
	uint64_t tsc_offset; /* TSC = vm_clock_tsc + tsc_offset */
	uint64_t tsc_adjust; /* IA32_TSC_ADJUST */
	uint64_t xcr0;
	uint8_t xsave[VCPU_XSAVE_SIZE];

	/* An exception to deliver before the next instruction. */
	uint8_t exception_pending;
	uint8_t exception_vector;
	uint8_t exception_has_error;
	uint8_t exception_is_soft; /* INTn, INT3, INTO: no DPL bypass */
	uint32_t exception_error;
	uint64_t exception_payload; /* CR2 or DR6 */
	/* intr_shadow is reg[VM_REG_GUEST_INTR_SHADOW] */
	uint8_t nmi_pending;
	uint8_t nmi_masked;
	uint8_t mp_state; /* enum mp_state */
};

/* Saves a struct vmcpu: state, run requests, capabilities. */
struct state_class;
extern const struct state_class vcpu_state_class;

/* State after power-up or RESET# (init = false) or INIT, SDM vol. 3, 10.1. */
void vcpu_state_reset(struct vcpu_state *state, bool init);

#endif
