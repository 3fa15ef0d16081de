// SPDX-License-Identifier: BSD-2-Clause
/* Registers, descriptors, capabilities, injection at the door. */
#include <errno.h>
#include <string.h>

#include "vmmapi/door.h"

/* -- registers ----------------------------------------------------------------
 */

int vm_set_register_set(struct vcpu *vcpu, unsigned int count,
			const int *regnums, uint64_t *regvals)
{
	struct verb_regs regs = {.count = count};

	if (count > VERB_REGS_MAX)
		return door_result(-EINVAL, NULL);
	for (unsigned i = 0; i < count; i++) {
		regs.reg[i] = regnums[i];
		regs.value[i] = regvals[i];
	}
	return door_call(vcpu->ctx, VERB_SET_REGS, vcpu->id, &regs,
			 sizeof(regs));
}

int vm_get_register_set(struct vcpu *vcpu, unsigned int count,
			const int *regnums, uint64_t *regvals)
{
	struct verb_regs regs = {.count = count};

	if (count > VERB_REGS_MAX)
		return door_result(-EINVAL, NULL);
	for (unsigned i = 0; i < count; i++)
		regs.reg[i] = regnums[i];
	if (door_call(vcpu->ctx, VERB_GET_REGS, vcpu->id, &regs,
		      sizeof(regs)) != 0)
		return -1;
	for (unsigned i = 0; i < count; i++)
		regvals[i] = regs.value[i];
	return 0;
}

int vm_set_register(struct vcpu *vcpu, int reg, uint64_t val)
{
	return vm_set_register_set(vcpu, 1, &reg, &val);
}

int vm_get_register(struct vcpu *vcpu, int reg, uint64_t *retval)
{
	return vm_get_register_set(vcpu, 1, &reg, retval);
}

int vm_get_msr(struct vcpu *vcpu, uint32_t index, uint64_t *retval)
{
	struct verb_msr msr = {.index = index};
	int error =
	    door_call(vcpu->ctx, VERB_GET_MSR, vcpu->id, &msr, sizeof(msr));

	if (error == 0)
		*retval = msr.value;
	return error;
}

int vm_get_tsc_offset(struct vcpu *vcpu, uint64_t *retval)
{
	struct verb_value value = {0};
	int error = door_call(vcpu->ctx, VERB_TSC_OFFSET, vcpu->id, &value,
			      sizeof(value));

	if (error == 0)
		*retval = value.value;
	return error;
}

int vm_set_desc(struct vcpu *vcpu, int reg, uint64_t base, uint32_t limit,
		uint32_t access)
{
	struct verb_desc desc = {
	    .reg = reg,
	    .base = base,
	    .limit = limit,
	    .access = access,
	};

	return door_call(vcpu->ctx, VERB_SET_DESC, vcpu->id, &desc,
			 sizeof(desc));
}

int vm_get_desc(struct vcpu *vcpu, int reg, uint64_t *base, uint32_t *limit,
		uint32_t *access)
{
	struct verb_desc desc = {.reg = reg};

	if (door_call(vcpu->ctx, VERB_GET_DESC, vcpu->id, &desc,
		      sizeof(desc)) != 0)
		return -1;
	*base = desc.base;
	*limit = desc.limit;
	*access = desc.access;
	return 0;
}

int vm_get_seg_desc(struct vcpu *vcpu, int reg, struct seg_desc *seg_desc)
{
	return vm_get_desc(vcpu, reg, &seg_desc->base, &seg_desc->limit,
			   &seg_desc->access);
}

/* -- capabilities -------------------------------------------------------------
 */

static const char *const capability_names[VM_CAP_MAX] = {
    [VM_CAP_HALT_EXIT] = "hlt_exit",
    [VM_CAP_MTRAP_EXIT] = "mtrap_exit",
    [VM_CAP_PAUSE_EXIT] = "pause_exit",
    [VM_CAP_UNRESTRICTED_GUEST] = "unrestricted_guest",
    [VM_CAP_ENABLE_INVPCID] = "enable_invpcid",
    [VM_CAP_BPT_EXIT] = "bpt_exit",
    [VM_CAP_RDPID] = "rdpid",
    [VM_CAP_RDTSCP] = "rdtscp",
    [VM_CAP_IPI_EXIT] = "ipi_exit",
    [VM_CAP_MASK_HWINTR] = "mask_hwintr",
    [VM_CAP_RFLAGS_TF] = "rflags_tf",
};

int vm_capability_name2type(const char *capname)
{
	for (int i = 0; i < VM_CAP_MAX; i++)
		if (strcmp(capability_names[i], capname) == 0)
			return i;
	return -1;
}

const char *vm_capability_type2name(int type)
{
	return type >= 0 && type < VM_CAP_MAX ? capability_names[type] : NULL;
}

int vm_get_capability(struct vcpu *vcpu, enum vm_cap_type cap, int *retval)
{
	struct verb_cap arg = {.type = (int32_t)cap};
	int error =
	    door_call(vcpu->ctx, VERB_GET_CAP, vcpu->id, &arg, sizeof(arg));

	if (error == 0)
		*retval = arg.value;
	return error;
}

int vm_set_capability(struct vcpu *vcpu, enum vm_cap_type cap, int val)
{
	struct verb_cap arg = {(int32_t)cap, val};

	return door_call(vcpu->ctx, VERB_SET_CAP, vcpu->id, &arg, sizeof(arg));
}

int vm_get_x2apic_state(struct vcpu *vcpu, enum x2apic_state *s)
{
	struct verb_value value = {0};
	int error = door_call(vcpu->ctx, VERB_GET_X2APIC, vcpu->id, &value,
			      sizeof(value));

	if (error == 0)
		*s = (enum x2apic_state)value.value;
	return error;
}

int vm_set_x2apic_state(struct vcpu *vcpu, enum x2apic_state s)
{
	struct verb_value value = {(uint64_t)s};

	return door_call(vcpu->ctx, VERB_SET_X2APIC, vcpu->id, &value,
			 sizeof(value));
}

/* -- injection ----------------------------------------------------------------
 */

int vm_inject_nmi(struct vcpu *vcpu)
{
	struct verb_value none = {0};

	return door_call(vcpu->ctx, VERB_NMI, vcpu->id, &none, sizeof(none));
}

int vm_inject_exception(struct vcpu *vcpu, int vector, int errcode_valid,
			uint32_t errcode, int restart_instruction)
{
	struct verb_exception arg = {vector, errcode_valid != 0, errcode,
				     restart_instruction != 0};

	return door_call(vcpu->ctx, VERB_EXCEPTION, vcpu->id, &arg,
			 sizeof(arg));
}

int vm_set_intinfo(struct vcpu *vcpu, uint64_t exit_intinfo)
{
	struct verb_intinfo info = {.info1 = exit_intinfo};

	return door_call(vcpu->ctx, VERB_SET_INTINFO, vcpu->id, &info,
			 sizeof(info));
}

int vm_get_intinfo(struct vcpu *vcpu, uint64_t *i1, uint64_t *i2)
{
	struct verb_intinfo info = {0};
	int error = door_call(vcpu->ctx, VERB_GET_INTINFO, vcpu->id, &info,
			      sizeof(info));

	*i1 = info.info1;
	*i2 = info.info2;
	return error;
}
