/* SPDX-License-Identifier: BSD-2-Clause */
/* The soft engine's objects: a VM's and a vCPU's part, made and destroyed. */
#include "vmm/soft/engine.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/cpuid.h"
#include "vmm/perfmap.h"
#include "vmm/soft/block.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/jit/verify.h"
#include "vmm/soft/native.h"
#include "vmm/soft/smc.h"
#include "vmm/soft/split.h"
#include "x86/features.h"

/* -- the VM's part
 * ------------------------------------------------------------------ */

/* Zeroed, and touched only where guest memory is. */
static void *map_array(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static void unmap_array(void *p, size_t size)
{
	if (p != NULL)
		munmap(p, size);
}

static void soft_vm_destroy(struct vm *vm)
{
	struct soft_vm *svm = vm->engine_data;

	if (svm == NULL)
		return;
	unmap_array((void *)svm->code_mask, svm->page_count * 4);
	unmap_array((void *)svm->write_mask, svm->page_count * 4);
	unmap_array((void *)svm->code_grain, svm->page_count * 8);
	if (svm->jit_perfmap && svm->perfmap >= 0)
		close(svm->perfmap);
	free(svm->opcodes);
	free(svm);
	vm->engine_data = NULL;
}

uint64_t soft_vcpus(const struct vm *vm)
{
	return MAX(vm->sockets * vm->cores * vm->threads, 1);
}

/*
 * Each vCPU translates for itself. What nobody has asked for otherwise is so
 * much for all, but no less than gcc runs in for each: with half of that it
 * takes three times as long.
 */
#define JIT_CACHE     (64 * MiB)
#define JIT_CACHE_ONE (16 * MiB)

static size_t jit_share(const struct vm *vm)
{
	uint64_t vcpus = soft_vcpus(vm), bytes;

	if (!vm->soft_jit)
		return 0;
	bytes = vm->soft_jit_cache;
	if (bytes == 0)
		bytes = MAX(JIT_CACHE, JIT_CACHE_ONE * vcpus);
	return ALIGN_UP(bytes / vcpus, 4096);
}

/* Everything of features.def but what KVM does for its guests. */
static struct cpuid_regs supported(void *arg, uint32_t leaf, uint32_t subleaf)
{
	if (leaf == CPUID_KVM_FEATURES)
		return (struct cpuid_regs){0};
	return (struct cpuid_regs){~0u, ~0u, ~0u, ~0u};
}

static int soft_vm_create(struct vm *vm, struct err *err)
{
	int error =
	    cpu_model_restrict(vm->cpu_model, supported, NULL, true, err);
	struct soft_vm *svm;

	if (error != 0)
		return error;
	svm = calloc(1, sizeof(*svm));
	if (svm == NULL)
		return err_set(err, ENOMEM, "%s: no memory for the CPU engine",
			       vm->name);
	vm->engine_data = svm;
	svm->vm = vm;
	svm->page_count = mem_top(&vm->mem) >> 12;
	svm->phys_mask = MASK(cpu_model_maxphyaddr(vm->cpu_model) - 1, 0);
	svm->has_1g_pages = cpu_model_has(vm->cpu_model, X86_FEATURE_PDPE1GB);
	svm->null_keeps_base = cpu_model_is_amd(vm->cpu_model);
	svm->tsc.usable = host_tsc_is_clock() && soft_vcpus(vm) == 1;
	svm->rotate_keeps_of = soft_host_rotate_keeps_of();
	svm->jit_bytes = jit_share(vm);
	svm->jit_verify = vm->soft_jit_verify;
	svm->jit_hot = vm->soft_jit_hot != 0 ? vm->soft_jit_hot : JIT_HOT;
	svm->opcodes = opcode_index_create();
	svm->code_mask = map_array(svm->page_count * 4);
	svm->write_mask = map_array(svm->page_count * 4);
	svm->code_grain = map_array(svm->page_count * 8);
	if (svm->opcodes == NULL || svm->code_mask == NULL ||
	    svm->write_mask == NULL || svm->code_grain == NULL) {
		soft_vm_destroy(vm);
		return err_set(err, ENOMEM, "%s: no memory for the CPU engine",
			       vm->name);
	}
	svm->jit_perfmap = vm->soft_jit_perfmap;
	if (svm->jit_perfmap)
		svm->perfmap = error = perfmap_open(err);
	if (error < 0)
		soft_vm_destroy(vm);
	return MIN(error, 0);
}

/* -- a vCPU's part
 * ------------------------------------------------------------------- */

static void soft_vcpu_destroy(struct vmcpu *vcpu)
{
	struct cpu *c = vcpu->engine_data;

	if (c == NULL)
		return;
	c->svm->cpu[vcpu->id] = NULL;
	native_destroy(c);
	jit_destroy(c);
	blocks_destroy(c);
	split_destroy(c);
	tlbs_destroy(c);
	smc_destroy(c);
	free(c->xsave);
	free(c);
	vcpu->engine_data = NULL;
}

static int make_parts(struct cpu *c)
{
	int error = smc_create(c);

	if (error == 0)
		error = blocks_create(c);
	if (error == 0)
		error = tlbs_create(c);
	if (error == 0)
		error = native_create(c);
	if (error == 0)
		error = jit_create(c);
	return error;
}

static int soft_vcpu_create(struct vmcpu *vcpu, struct err *err)
{
	struct cpu *c = aligned_alloc(64, ALIGN_UP(sizeof(*c), 64));
	int error = -ENOMEM;

	if (c != NULL) {
		*c = (struct cpu){.vcpu = vcpu, .svm = vcpu->vm->engine_data};
		c->ram = vcpu->vm->mem.base;
		c->flags = RFLAGS_ONE;
		c->code_size = 2;
		vcpu->engine_data = c;
		c->xsave = aligned_alloc(64, VCPU_XSAVE_SIZE);
		if (c->xsave != NULL) {
			zero_bytes(c->xsave, VCPU_XSAVE_SIZE);
			error = make_parts(c);
		}
	}
	if (error == 0) {
		if (vcpu->id != 0)
			c->svm->tsc.usable = false;
		c->svm->cpu[vcpu->id] = c;
		error = soft_state_set(c, &vcpu->state);
	}
	if (error != 0) {
		soft_vcpu_destroy(vcpu);
		return err_sys(err, -error, "vCPU %u", vcpu->id);
	}
	return 0;
}

/* -- the rest of the contract
 * ----------------------------------------------------------- */

static void soft_get(struct vmcpu *vcpu, struct vcpu_state *state)
{
	soft_state_get(vcpu->engine_data, state);
}

static int soft_set(struct vmcpu *vcpu, const struct vcpu_state *state)
{
	return soft_state_set(vcpu->engine_data, state);
}

static void soft_kick(struct vmcpu *vcpu)
{
	struct cpu *c = vcpu->engine_data;

	if (c != NULL)
		cpu_kick(c);
}

static void soft_code_written(struct vm *vm, uint64_t gpa, uint64_t len)
{
	struct soft_vm *svm = vm->engine_data;

	if (svm == NULL)
		return;
	if (svm->jit_verify)
		verify_host_wrote(svm, gpa, len);
	smc_host_wrote(svm, gpa, len);
}

static bool *capability(struct cpu *c, enum vm_cap_type cap)
{
	switch (cap) {
	case VM_CAP_HALT_EXIT:
		return &c->cap_hlt;
	case VM_CAP_PAUSE_EXIT:
		return &c->cap_pause;
	case VM_CAP_MTRAP_EXIT:
		return &c->cap_mtrap;
	case VM_CAP_BPT_EXIT:
		return &c->cap_bpt;
	default:
		return NULL;
	}
}

/* Always there; cannot be taken away. */
static bool is_inherent(const struct cpu *c, enum vm_cap_type cap)
{
	const struct cpu_model *model = c->svm->vm->cpu_model;

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

static int soft_capability_get(struct vmcpu *vcpu, enum vm_cap_type cap,
			       int *value)
{
	struct cpu *c = vcpu->engine_data;
	bool *flag = capability(c, cap);

	if (flag == NULL && !is_inherent(c, cap))
		return -ENOENT;
	*value = flag == NULL || *flag;
	return 0;
}

static int soft_capability_set(struct vmcpu *vcpu, enum vm_cap_type cap,
			       int value)
{
	struct cpu *c = vcpu->engine_data;
	bool *flag = capability(c, cap);

	if (flag == NULL)
		return is_inherent(c, cap) && value != 0 ? 0 : -ENOENT;
	*flag = value != 0;
	cpu_mode_changed(c);
	return 0;
}

const struct engine_ops soft_engine_ops = {
    .name = "soft",
    .vm_create = soft_vm_create,
    .vm_destroy = soft_vm_destroy,
    .vcpu_create = soft_vcpu_create,
    .vcpu_destroy = soft_vcpu_destroy,
    .run = soft_run,
    .complete = soft_complete,
    .restart_instruction = soft_restart_instruction,
    .state_get = soft_get,
    .state_set = soft_set,
    .kick = soft_kick,
    .code_written = soft_code_written,
    .capability_get = soft_capability_get,
    .capability_set = soft_capability_set,
};
