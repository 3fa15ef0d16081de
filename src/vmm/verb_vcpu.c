// SPDX-License-Identifier: BSD-2-Clause
/* Verbs on one frozen vCPU: registers, capabilities, injection, walks. */
#include <errno.h>

#include "vmm/device.h"
#include "vmm/gla.h"
#include "vmm/irq.h"
#include "vmm/verb_fn.h"
#include "vmm/vm.h"
#include "x86/cr.h"
#include "x86/exc.h"
#include "x86/msr.h"

/* -- registers --------------------------------------------------------------
 */

static bool is_reg(int reg)
{
	return reg >= 0 && reg < VM_REG_LAST;
}

static bool is_desc(int reg)
{
	return reg >= VM_REG_GUEST_ES && reg <= VM_REG_GUEST_GDTR;
}

static bool has_selector(int reg)
{
	return is_reg(reg) && reg != VM_REG_GUEST_IDTR &&
	       reg != VM_REG_GUEST_GDTR;
}

int verb_get_regs_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_regs *regs = arg;

	if (regs->count > VERB_REGS_MAX)
		return -EINVAL;
	vcpu_state_fetch(vcpu);
	for (unsigned i = 0; i < regs->count; i++) {
		if (!has_selector(regs->reg[i]))
			return -EINVAL;
		regs->value[i] = vcpu->state.reg[regs->reg[i]];
		if (regs->reg[i] == VM_REG_GUEST_TPR)
			regs->value[i] = vcpu_get_cr8(vcpu);
	}
	return 0;
}

/* RIP moves: the exit that waits for an answer belongs to the old one. */
static void forget_exit(struct vmcpu *vcpu)
{
	if (vcpu->exit_pending && vcpu->vm->engine != NULL)
		vcpu->vm->engine->restart_instruction(vcpu);
	vcpu->exit_pending = false;
}

static void set_reg(struct vmcpu *vcpu, int reg, uint64_t value)
{
	struct vcpu_state *state = &vcpu->state;

	state->reg[reg] = value;
	switch (reg) {
	case VM_REG_GUEST_RIP:
		forget_exit(vcpu);
		break;
	case VM_REG_GUEST_RFLAGS:
		state->reg[reg] |= RFLAGS_ONE;
		break;
	case VM_REG_GUEST_FS_BASE:
		state->desc[VCPU_DESC(VM_REG_GUEST_FS)].base = value;
		break;
	case VM_REG_GUEST_GS_BASE:
		state->desc[VCPU_DESC(VM_REG_GUEST_GS)].base = value;
		break;
	case VM_REG_GUEST_TPR:
		vcpu_set_cr8(vcpu, value & 0xf);
		break;
	default:
		break;
	}
}

/* A state that the engine refuses leaves everything as it was. */
static int store_or_undo(struct vmcpu *vcpu)
{
	int error = vcpu_state_store(vcpu);

	if (error != 0)
		vcpu_state_fetch(vcpu);
	return error;
}

int verb_set_regs_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_regs *regs = arg;

	if (regs->count > VERB_REGS_MAX)
		return -EINVAL;
	for (unsigned i = 0; i < regs->count; i++)
		if (!has_selector(regs->reg[i]))
			return -EINVAL;
	vcpu_state_fetch(vcpu);
	for (unsigned i = 0; i < regs->count; i++)
		set_reg(vcpu, regs->reg[i], regs->value[i]);
	return store_or_undo(vcpu);
}

int verb_get_desc_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_desc *desc = arg;
	const struct seg_desc *from;

	if (!is_desc(desc->reg))
		return -EINVAL;
	vcpu_state_fetch(vcpu);
	from = &vcpu->state.desc[VCPU_DESC(desc->reg)];
	desc->base = from->base;
	desc->limit = from->limit;
	desc->access = from->access;
	return 0;
}

int verb_set_desc_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_desc *desc = arg;

	if (!is_desc(desc->reg))
		return -EINVAL;
	vcpu_state_fetch(vcpu);
	vcpu->state.desc[VCPU_DESC(desc->reg)] =
	    (struct seg_desc){desc->base, desc->limit, desc->access};
	if (desc->reg == VM_REG_GUEST_FS)
		vcpu->state.reg[VM_REG_GUEST_FS_BASE] = desc->base;
	if (desc->reg == VM_REG_GUEST_GS)
		vcpu->state.reg[VM_REG_GUEST_GS_BASE] = desc->base;
	return store_or_undo(vcpu);
}

/* Registers as after power-up; activity and capabilities stay. */
int verb_reset_cpu_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	forget_exit(vcpu);
	vcpu_state_reset(&vcpu->state, false);
	vcpu->state.mp_state = vcpu->id == 0 ? MP_RUNNABLE : MP_WAIT_SIPI;
	vcpu->hlt_told = false;
	return store_or_undo(vcpu);
}

int verb_restart_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	forget_exit(vcpu);
	return 0;
}

/* Those that are state; what devices and time make of others is theirs. */
static const struct {
	uint32_t index;
	enum vcpu_msr msr;
} stored_msrs[] = {
#define X(name) {MSR_##name, VCPU_MSR_##name},
    VCPU_MSRS(X)
#undef X
};

static const struct {
	uint32_t index;
	enum vm_reg_name reg;
} register_msrs[] = {
    {MSR_EFER, VM_REG_GUEST_EFER},
    {MSR_FS_BASE, VM_REG_GUEST_FS_BASE},
    {MSR_GS_BASE, VM_REG_GUEST_GS_BASE},
    {MSR_KERNEL_GS_BASE, VM_REG_GUEST_KGS_BASE},
};

int verb_get_msr_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_msr *msr = arg;

	vcpu_state_fetch(vcpu);
	for (size_t i = 0; i < ARRAY_SIZE(stored_msrs); i++) {
		if (stored_msrs[i].index != msr->index)
			continue;
		msr->value = vcpu->state.msr[stored_msrs[i].msr];
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(register_msrs); i++) {
		if (register_msrs[i].index != msr->index)
			continue;
		msr->value = vcpu->state.reg[register_msrs[i].reg];
		return 0;
	}
	if (msr->index == MSR_TSC)
		msr->value = vcpu_tsc(vcpu);
	else if (msr->index == MSR_TSC_ADJUST)
		msr->value = vcpu->state.tsc_adjust;
	else
		return -ENOENT;
	return 0;
}

int verb_tsc_offset_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_value *value = arg;

	vcpu_state_fetch(vcpu);
	value->value = vcpu->state.tsc_offset;
	return 0;
}

/* -- capabilities ------------------------------------------------------------
 */

/* What can be set, also before there is an engine. */
#define SETTABLE                                                               \
	(BIT(VM_CAP_HALT_EXIT) | BIT(VM_CAP_MTRAP_EXIT) |                      \
	 BIT(VM_CAP_PAUSE_EXIT) | BIT(VM_CAP_BPT_EXIT))
/* What always is on. */
#define FIXED BIT(VM_CAP_UNRESTRICTED_GUEST)

/* Those of the CPU model are the engine's to know. */
static int get_engine_cap(struct vmcpu *vcpu, struct verb_cap *cap)
{
	const struct engine_ops *engine = vcpu->vm->engine;
	int value = 0, error = -ENOENT;

	if (engine != NULL)
		error = engine->capability_get(
		    vcpu, (enum vm_cap_type)cap->type, &value);
	cap->value = value;
	return error;
}

int verb_get_cap_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_cap *cap = arg;

	if (cap->type < 0 || cap->type >= VM_CAP_MAX)
		return -EINVAL;
	if (((SETTABLE | FIXED) & BIT(cap->type)) == 0)
		return get_engine_cap(vcpu, cap);
	cap->value = ((vcpu->capabilities | FIXED) & BIT(cap->type)) != 0;
	return 0;
}

/* An engine without local APICs need not know of it. */
static bool idling_is_rooms(const struct vm *vm, int cap)
{
	return cap == VM_CAP_HALT_EXIT && vm->engine->apic == NULL;
}

int verb_set_cap_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_cap *cap = arg;
	int error = 0;

	if (cap->type < 0 || cap->type >= VM_CAP_MAX)
		return -EINVAL;
	if ((FIXED & BIT(cap->type)) != 0)
		return cap->value != 0 ? 0 : -EINVAL;
	if (vm->engine != NULL)
		error = vm->engine->capability_set(
		    vcpu, (enum vm_cap_type)cap->type, cap->value != 0);
	else if ((SETTABLE & BIT(cap->type)) == 0)
		error = -ENOENT;
	if (error != 0 && !idling_is_rooms(vm, cap->type))
		return error;
	if ((SETTABLE & BIT(cap->type)) == 0)
		return 0;
	if (cap->value != 0)
		vcpu->capabilities |= (uint32_t)BIT(cap->type);
	else
		vcpu->capabilities &= ~(uint32_t)BIT(cap->type);
	return 0;
}

int verb_get_x2apic_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_value *value = arg;

	vcpu_lapic_fetch(vcpu);
	value->value = lapic_get_x2apic(vcpu->lapic);
	return 0;
}

int verb_set_x2apic_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_value *value = arg;

	if (value->value >= X2APIC_STATE_LAST)
		return -EINVAL;
	vcpu_lapic_fetch(vcpu);
	lapic_set_x2apic(vcpu->lapic, value->value == X2APIC_ENABLED);
	return vcpu_lapic_store(vcpu);
}

/* -- injection ---------------------------------------------------------------
 */

static int raise_exception(struct vmcpu *vcpu, uint8_t vector, bool has_error,
			   uint32_t error_code, bool soft)
{
	struct vcpu_state *state = &vcpu->state;

	if (state->exception_pending)
		return -EBUSY;
	state->exception_pending = 1;
	state->exception_vector = vector;
	state->exception_has_error = has_error;
	state->exception_is_soft = soft;
	state->exception_error = error_code;
	state->exception_payload =
	    vector == X86_PF ? state->reg[VM_REG_GUEST_CR2] : 0;
	/* SDM vol. 3, 6.8.3: delivery ends the shadow of MOV SS and STI */
	state->reg[VM_REG_GUEST_INTR_SHADOW] = 0;
	return store_or_undo(vcpu);
}

int verb_exception_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_exception *exc = arg;

	if (exc->vector < 0 || exc->vector > 31 || exc->vector == X86_NMI)
		return -EINVAL;
	/* First: fetching completes what waits for no answer. */
	if (exc->restart != 0)
		forget_exit(vcpu);
	vcpu_state_fetch(vcpu);
	return raise_exception(vcpu, (uint8_t)exc->vector, exc->has_error != 0,
			       exc->error_code, false);
}

/* VMX's layout (SDM vol. 3, 25.8.3), as in vmm.ko. */
#define INTINFO_VECTOR    0xffull
#define INTINFO_TYPE      0x700ull
#define INTINFO_NMI       0x200ull
#define INTINFO_EXCEPTION 0x300ull
#define INTINFO_SOFT      0x400ull
#define INTINFO_HAS_ERROR BIT(11)
#define INTINFO_VALID     BIT(31)

int verb_set_intinfo_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_intinfo *info = arg;
	uint64_t word = info->info1;
	uint64_t type = word & INTINFO_TYPE;
	uint8_t vector = word & INTINFO_VECTOR;

	vcpu_state_fetch(vcpu);
	if ((word & INTINFO_VALID) == 0) {
		vcpu->state.exception_pending = 0;
		return store_or_undo(vcpu);
	}
	switch (type) {
	case 0: /* an external interrupt whose delivery was cut short */
		return vcpu_lapic_irq(vcpu, vector);
	case INTINFO_NMI:
		vcpu_request(vcpu, VCPU_REQ_NMI);
		return 0;
	case INTINFO_EXCEPTION:
	case INTINFO_SOFT:
		if (vector > 31 && type == INTINFO_EXCEPTION)
			return -EINVAL;
		return raise_exception(
		    vcpu, vector, (word & INTINFO_HAS_ERROR) != 0,
		    (uint32_t)(word >> 32), type == INTINFO_SOFT);
	default:
		return -EINVAL;
	}
}

/* info1 would be an event cut short by the last exit: engines finish those. */
int verb_get_intinfo_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct vcpu_state *state = &vcpu->state;
	struct verb_intinfo *info = arg;

	vcpu_state_fetch(vcpu);
	*info = (struct verb_intinfo){0};
	if (!state->exception_pending)
		return 0;
	info->info2 =
	    INTINFO_VALID | state->exception_vector |
	    (state->exception_is_soft ? INTINFO_SOFT : INTINFO_EXCEPTION);
	if (state->exception_has_error)
		info->info2 |=
		    INTINFO_HAS_ERROR | (uint64_t)state->exception_error << 32;
	return 0;
}

/* -- the rest ----------------------------------------------------------------
 */

static int inject_fault(struct vmcpu *vcpu, const struct gla_fault *fault,
			uint64_t gla)
{
	if (fault->vector == X86_PF)
		vcpu->state.reg[VM_REG_GUEST_CR2] = gla;
	forget_exit(vcpu);
	return raise_exception(vcpu, fault->vector, true, fault->error_code,
			       false);
}

static int translate(struct vmcpu *vcpu, struct verb_gla *gla, bool inject)
{
	struct vm_guest_paging paging = {
	    .cr3 = gla->cr3,
	    .cpl = gla->cpl,
	    .cpu_mode = (enum vm_cpu_mode)gla->cpu_mode,
	    .paging_mode = (enum vm_paging_mode)gla->paging_mode,
	};
	struct gla_fault fault;
	int result;

	vcpu_state_fetch(vcpu);
	result = gla_to_gpa(vcpu, &paging, gla->gla, gla->prot, inject,
			    &gla->gpa, &fault);
	gla->fault = result == 1;
	if (result == 1 && inject)
		return inject_fault(vcpu, &fault, gla->gla);
	return result < 0 ? result : 0;
}

int verb_gla2gpa_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	return translate(vcpu, arg, false);
}

/* As the access itself: marks pages, and the guest gets its fault. */
int verb_gla2gpa_fault_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	return translate(vcpu, arg, true);
}

int verb_activate_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	if (vcpu->active)
		return -EBUSY;
	vcpu->active = true;
	return 0;
}

int verb_stats_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_stats *stats = arg;

	for (unsigned i = 0; i < VM_STAT_COUNT; i++)
		stats->value[i] =
		    __atomic_load_n(&vcpu->stats[i], __ATOMIC_RELAXED);
	/* the VM's memory, told once */
	if (vcpu->id == 0)
		stats->value[VM_STAT_RESIDENT] = mem_resident(&vm->mem);
	return 0;
}
