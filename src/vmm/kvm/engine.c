// SPDX-License-Identifier: BSD-2-Clause
/* The KVM engine's objects: a VM's and a vCPU's part, made and destroyed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"
#include "x86/features.h"

/* Pages that KVM wants on Intel CPUs without unrestricted guest mode, where a
   PC has neither RAM nor ROM nor devices. */
#define IDENTITY_MAP 0xfeffc000ull
#define TSS_ADDRESS  0xfeffd000ul

/* -- the VM's part ----------------------------------------------------------
 */

static void vm_part_destroy(struct vm *vm)
{
	struct kvm_vm *kvm = vm->engine_data;

	if (kvm == NULL)
		return;
	kvm_idle_stop(kvm);
	if (kvm->fd >= 0)
		close(kvm->fd);
	if (kvm->kvm >= 0)
		close(kvm->kvm);
	pthread_mutex_destroy(&kvm->lock);
	free(kvm);
	vm->engine_data = NULL;
}

static int set_up_board(struct kvm_vm *kvm, struct err *err)
{
	uint64_t identity = IDENTITY_MAP;

	if (ioctl(kvm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) != 0)
		return kvm_failed(err, kvm->vm->name,
				  "KVM_SET_IDENTITY_MAP_ADDR", errno,
				  "use engine=soft");
	if (ioctl(kvm->fd, KVM_SET_TSS_ADDR, TSS_ADDRESS) != 0)
		return kvm_failed(err, kvm->vm->name, "KVM_SET_TSS_ADDR", errno,
				  "use engine=soft");
	return 0;
}

static int set_up_vm(struct kvm_vm *kvm, struct err *err)
{
	int size, error;

	kvm->kvm = kvm_open(err);
	if (kvm->kvm < 0)
		return kvm->kvm;
	kvm->fd = kvm_new_vm(kvm->kvm, err);
	if (kvm->fd < 0)
		return kvm->fd;
	size = ioctl(kvm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(struct kvm_run))
		return kvm_failed(err, kvm->vm->name, "KVM_GET_VCPU_MMAP_SIZE",
				  size < 0 ? errno : EINVAL, "use engine=soft");
	kvm->run_size = (size_t)size;
	error = set_up_board(kvm, err);
	if (error == 0)
		error = kvm_irqchip_create(kvm, err);
	if (error == 0)
		error = kvm_memory_create(kvm, err);
	if (error == 0)
		error = kvm_reduce_model(kvm->kvm, kvm->vm->cpu_model, err);
	if (error == 0)
		error = kvm_set_msr_filter(kvm, err);
	return error;
}

static int vm_part_create(struct vm *vm, struct err *err)
{
	struct kvm_vm *kvm = calloc(1, sizeof(*kvm));
	int error;

	if (kvm == NULL)
		return err_set(err, ENOMEM, "%s: no memory for the CPU engine",
			       vm->name);
	vm->engine_data = kvm;
	kvm->vm = vm;
	kvm->kvm = kvm->fd = -1;
	pthread_mutex_init(&kvm->lock, NULL);
	kvm_idle_start(kvm);
	error = set_up_vm(kvm, err);
	if (error != 0)
		vm_part_destroy(vm);
	return error;
}

/* -- a vCPU's part ----------------------------------------------------------
 */

static void vcpu_part_destroy(struct vmcpu *vcpu)
{
	struct kvm_cpu *c = vcpu->engine_data;

	if (c == NULL)
		return;
	kvm_tsc_settle(c);
	if (c->run != NULL)
		munmap(c->run, c->kvm->run_size);
	if (c->fd >= 0)
		close(c->fd);
	free(c);
	vcpu->engine_data = NULL;
}

static int no_vcpu(struct kvm_cpu *c, int error, struct err *err)
{
	int max = ioctl(c->kvm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);

	if (max > 0 && (unsigned)max <= c->vcpu->id)
		return err_set(err, error,
			       "%s: KVM_CREATE_VCPU: %s; this host's KVM has "
			       "no more than %d: give -c %d",
			       c->vcpu->vm->name, strerror(error), max, max);
	return kvm_failed(err, c->vcpu->vm->name, "KVM_CREATE_VCPU", error,
			  "try fewer CPUs (-c)");
}

static int set_up_vcpu(struct kvm_cpu *c, struct err *err)
{
	struct kvm_vm *kvm = c->kvm;
	void *run;

	c->fd = ioctl(kvm->fd, KVM_CREATE_VCPU, (unsigned long)c->vcpu->id);
	if (c->fd < 0)
		return no_vcpu(c, errno, err);
	run = mmap(NULL, kvm->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		   c->fd, 0);
	if (run == MAP_FAILED)
		return kvm_failed(err, kvm->vm->name, "mmap of a vCPU", errno,
				  NULL);
	c->run = run;
	c->run->kvm_valid_regs = KVM_SYNC_X86_REGS;
	return kvm_set_cpuid(c, err);
}

static int vcpu_part_create(struct vmcpu *vcpu, struct err *err)
{
	struct kvm_cpu *c = calloc(1, sizeof(*c));
	int error;

	if (c == NULL)
		return err_set(err, ENOMEM, "vCPU %u: no memory", vcpu->id);
	vcpu->engine_data = c;
	c->vcpu = vcpu;
	c->kvm = vcpu->vm->engine_data;
	c->fd = -1;
	error = set_up_vcpu(c, err);
	if (error == 0) {
		error = kvm_state_set(vcpu, &vcpu->state);
		if (error != 0)
			err_set(err, -error, "%s", vcpu->failure.text);
	}
	if (error != 0)
		vcpu_part_destroy(vcpu);
	return error;
}

/* -- capabilities -----------------------------------------------------------
 */

static bool *capability(struct kvm_cpu *c, enum vm_cap_type cap)
{
	switch (cap) {
	case VM_CAP_MTRAP_EXIT:
		return &c->cap_mtrap;
	case VM_CAP_BPT_EXIT:
		return &c->cap_bpt;
	default:
		return NULL;
	}
}

/* Always there; cannot be taken away. */
static bool is_inherent(const struct vmcpu *vcpu, enum vm_cap_type cap)
{
	const struct cpu_model *model = vcpu->vm->cpu_model;

	switch (cap) {
	case VM_CAP_UNRESTRICTED_GUEST:
		return true;
	case VM_CAP_ENABLE_INVPCID:
		return cpu_model_has(model, X86_FEATURE_INVPCID);
	case VM_CAP_RDPID:
		return cpu_model_has(model, X86_FEATURE_RDPID);
	case VM_CAP_RDTSCP:
		return cpu_model_has(model, X86_FEATURE_RDTSCP);
	default:
		return false;
	}
}

static int capability_get(struct vmcpu *vcpu, enum vm_cap_type cap, int *value)
{
	bool *flag = capability(vcpu->engine_data, cap);

	if (flag == NULL && !is_inherent(vcpu, cap))
		return -ENOENT;
	*value = flag == NULL || *flag;
	return 0;
}

static int capability_set(struct vmcpu *vcpu, enum vm_cap_type cap, int value)
{
	struct kvm_cpu *c = vcpu->engine_data;
	bool *flag = capability(c, cap);
	bool before;
	int error;

	if (flag == NULL)
		return is_inherent(vcpu, cap) && value != 0 ? 0 : -ENOENT;
	before = *flag;
	*flag = value != 0;
	error = kvm_debug_update(c);
	if (error != 0)
		*flag = before;
	return error;
}

/* -- the rest ---------------------------------------------------------------
 */

/* KVM reads what is in memory: it keeps no code of its own. */
static void code_written(struct vm *vm, uint64_t gpa, uint64_t len)
{
}

const struct engine_ops kvm_engine_ops = {
    .name = "kvm",
    .apic = &kvm_apic_ops,
    .usable = kvm_usable,
    .limit_model = kvm_limit_model,
    .vm_create = vm_part_create,
    .vm_destroy = vm_part_destroy,
    .vcpu_create = vcpu_part_create,
    .vcpu_destroy = vcpu_part_destroy,
    .run = kvm_run_vcpu,
    .complete = kvm_complete,
    .restart_instruction = kvm_restart_instruction,
    .state_get = kvm_state_get,
    .state_set = kvm_state_set,
    .kick = kvm_kick,
    .code_written = code_written,
    .dirty_log = kvm_dirty_log,
    .dirty_get = kvm_dirty_get,
    .doorbell = kvm_doorbell,
    .capability_get = capability_get,
    .capability_set = capability_set,
};
