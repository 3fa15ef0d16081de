// SPDX-License-Identifier: BSD-2-Clause
/* The VM object: made, reset, given an engine, stopped. */
#include "vmm/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "vmm/device.h"

/* Who makes a VM measures the host's; who opens one reads what it has. */
#define TSC_HZ_UNKNOWN 1000000000

static void init_lock(pthread_mutex_t *lock)
{
	pthread_mutex_init(lock, NULL);
}

static void init_wake(pthread_cond_t *wake)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(wake, &attr);
	pthread_condattr_destroy(&attr);
}

int vm_new(const char *name, struct vm **out)
{
	struct vm *vm = calloc(1, sizeof(*vm));
	int error;

	if (vm == NULL)
		return -ENOMEM;
	snprintf(vm->name, sizeof(vm->name), "%s", name);
	init_lock(&vm->lock);
	init_lock(&vm->timer_lock);
	doorbells_init(&vm->doorbells);
	init_lock(&vm->wait_lock);
	init_wake(&vm->wait_wake);
	vm_clock_init(&vm->clock, TSC_HZ_UNKNOWN);
	vm->mem.fd = -1;
	vm->sockets = vm->cores = vm->threads = 1;
	vm->maxcpus = VM_MAXCPU;
	error = room_devices_create(vm);
	if (error != 0) {
		pthread_cond_destroy(&vm->wait_wake);
		pthread_mutex_destroy(&vm->wait_lock);
		doorbells_destroy(&vm->doorbells);
		pthread_mutex_destroy(&vm->timer_lock);
		pthread_mutex_destroy(&vm->lock);
		free(vm);
		return error;
	}
	*out = vm;
	return 0;
}

static void vcpu_free(struct vmcpu *vcpu)
{
	if (vcpu == NULL)
		return;
	if (vcpu->slice.vm != NULL)
		vm_timer_cancel(&vcpu->slice);
	lapic_destroy(vcpu->lapic);
	pthread_cond_destroy(&vcpu->wake);
	pthread_mutex_destroy(&vcpu->lock);
	free(vcpu);
}

/* The engine is stopped by now, and with it the room's thread. */
void vm_free(struct vm *vm)
{
	if (vm == NULL)
		return;
	for (unsigned i = 0; i < VM_MAXCPU; i++)
		vcpu_free(vm->vcpu[i]);
	room_devices_destroy(vm);
	mem_teardown(&vm->mem);
	pthread_cond_destroy(&vm->wait_wake);
	pthread_mutex_destroy(&vm->wait_lock);
	doorbells_destroy(&vm->doorbells);
	pthread_mutex_destroy(&vm->timer_lock);
	pthread_mutex_destroy(&vm->lock);
	free(vm);
}

/* -- vCPUs ------------------------------------------------------------------
 */

static void vcpu_power_up(struct vmcpu *vcpu)
{
	vcpu_state_reset(&vcpu->state, false);
	vcpu->state.mp_state = vcpu->id == 0 ? MP_RUNNABLE : MP_WAIT_SIPI;
	vcpu->intr_enabled = false;
	vcpu->active = vcpu->suspend_told = false;
	vcpu->suspended = false;
	vcpu->hlt_told = vcpu->exit_pending = false;
	vcpu->capabilities = 0;
	atomic_store(&vcpu->requests, 0);
}

static void slice_over(void *arg)
{
	vcpu_request(arg, VCPU_REQ_IDLE);
}

/* Aligned: the state's XSAVE area, and no false sharing between threads. */
static struct vmcpu *vcpu_new(struct vm *vm, unsigned id)
{
	struct vmcpu *vcpu;

	vcpu = aligned_alloc(64, ALIGN_UP(sizeof(*vcpu), 64));
	if (vcpu == NULL)
		return NULL;
	memset(vcpu, 0, sizeof(*vcpu));
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu_power_up(vcpu);
	init_lock(&vcpu->lock);
	init_wake(&vcpu->wake);
	vm_timer_init(vm, &vcpu->slice, slice_over, vcpu);
	vcpu->lapic = lapic_create(vcpu);
	if (vcpu->lapic == NULL) {
		vcpu_free(vcpu);
		return NULL;
	}
	return vcpu;
}

/* The engine's part; its vCPUs are made while no other runs. */
static int vcpu_into_engine(struct vm *vm, struct vmcpu *vcpu, struct err *err)
{
	int error = vm->engine->vcpu_create(vcpu, err);

	if (error != 0)
		return error;
	for (unsigned cap = 0; cap < VM_CAP_MAX; cap++)
		if ((vcpu->capabilities & BIT(cap)) != 0)
			vm->engine->capability_set(vcpu, (enum vm_cap_type)cap,
						   1);
	vcpu->failure.text[0] = '\0';
	error = vm->engine->state_set(vcpu, &vcpu->state);
	if (error == 0)
		error = vcpu_lapic_store(vcpu);
	if (error != 0 && vcpu->failure.text[0] != '\0')
		err_set(err, -error, "%s", vcpu->failure.text);
	else if (error != 0)
		err_set(err, -error,
			"vCPU %u: engine %s refuses its state: %s; try "
			"engine=soft, or begin anew (bhyvectl --destroy)",
			vcpu->id, vm->engine->name, strerror(-error));
	if (error != 0)
		vm->engine->vcpu_destroy(vcpu);
	return error;
}

static int vcpu_add(struct vm *vm, unsigned id)
{
	struct vmcpu *vcpu = vcpu_new(vm, id);
	int error = 0;

	if (vcpu == NULL)
		return -ENOMEM;
	if (vm->engine != NULL) {
		error = vm_freeze_all(vm);
		if (error == 0) {
			error = vcpu_into_engine(vm, vcpu, NULL);
			vm_thaw_all(vm);
		}
	}
	if (error != 0) {
		vcpu_free(vcpu);
		return error;
	}
	__atomic_store_n(&vm->vcpu[id], vcpu, __ATOMIC_RELEASE);
	return 0;
}

int vm_get_vcpu(struct vm *vm, unsigned id, struct vmcpu **out)
{
	int error = 0;

	if (id >= VM_MAXCPU || id >= vm->maxcpus)
		return -EINVAL;
	*out = __atomic_load_n(&vm->vcpu[id], __ATOMIC_ACQUIRE);
	if (*out != NULL)
		return 0;
	pthread_mutex_lock(&vm->lock);
	if (vm->vcpu[id] == NULL)
		error = vcpu_add(vm, id);
	*out = vm->vcpu[id];
	pthread_mutex_unlock(&vm->lock);
	return error;
}

void vm_reset(struct vm *vm)
{
	atomic_store(&vm->suspend_how, VM_SUSPEND_NONE);
	if (vm->engine == NULL)
		memset(vm->cpu_features, 0, sizeof(vm->cpu_features));
	room_devices_reset(vm);
	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		struct vmcpu *vcpu = vm->vcpu[i];

		if (vcpu == NULL)
			continue;
		if (vm->engine != NULL)
			vm->engine->restart_instruction(vcpu);
		vcpu_power_up(vcpu);
		lapic_reset(vcpu->lapic, false);
		vcpu_lapic_store(vcpu);
		vcpu_state_store(vcpu);
	}
}

/* -- the engine --------------------------------------------------------------
 */

static void engine_drop(struct vm *vm)
{
	const struct engine_ops *engine = vm->engine;

	for (unsigned i = 0; i < VM_MAXCPU; i++)
		if (vm->vcpu[i] != NULL && vm->vcpu[i]->engine_data != NULL) {
			engine->vcpu_destroy(vm->vcpu[i]);
			vm->vcpu[i]->engine_data = NULL;
		}
	engine->vm_destroy(vm);
	__atomic_store_n(&vm->engine, NULL, __ATOMIC_RELEASE);
	vm->engine_data = NULL;
	cpu_model_destroy(vm->cpu_model);
	vm->cpu_model = NULL;
}

/* What the room has for an engine that is new. */
static void announce(struct vm *vm)
{
	if (vm->engine->apic != NULL)
		ioapic_announce(vm);
	doorbells_announce(vm);
}

static int engine_make(struct vm *vm, const struct engine_ops *engine,
		       struct err *err)
{
	int error = engine->vm_create(vm, err);

	if (error != 0) {
		cpu_model_destroy(vm->cpu_model);
		vm->cpu_model = NULL;
		return error;
	}
	__atomic_store_n(&vm->engine, engine, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < VM_MAXCPU && error == 0; i++)
		if (vm->vcpu[i] != NULL)
			error = vcpu_into_engine(vm, vm->vcpu[i], err);
	if (error != 0)
		engine_drop(vm);
	else
		announce(vm);
	return error;
}

/* What the guest may see: as asked, as each engine has it, as it was before. */
static int make_cpu_model(struct vm *vm,
			  const struct vm_engine_options *options,
			  struct err *err)
{
	static const uint64_t none[CPU_FEATURE_WORDS];
	int error = cpu_model_create(options->cpu_model, options->cpu_features,
				     vm->clock.tsc_hz, &vm->cpu_model, err);

	if (error != 0)
		return error;
	if (cpu_model_is_common(vm->cpu_model) && options->limit_model != NULL)
		options->limit_model(vm->cpu_model);
	if (memcmp(vm->cpu_features, none, sizeof(none)) == 0)
		return 0;
	error = cpu_model_hold(vm->cpu_model, vm->name, vm->cpu_features, err);
	if (error != 0) {
		cpu_model_destroy(vm->cpu_model);
		vm->cpu_model = NULL;
	}
	return error;
}

int vm_engine_start(struct vm *vm, const struct vm_engine_options *options,
		    struct err *err)
{
	int error;

	if (vm->mem.base == NULL)
		return err_set(err, EINVAL,
			       "%s: has no memory yet (vm_setup_memory)",
			       vm->name);
	error = make_cpu_model(vm, options, err);
	if (error != 0)
		return error;
	vm->soft_jit = options->soft_jit;
	vm->soft_jit_cache = options->soft_jit_cache;
	vm->soft_jit_hot = options->soft_jit_hot;
	vm->soft_jit_perfmap = options->soft_jit_perfmap;
	vm->soft_jit_verify = options->soft_jit_verify;
	error = engine_make(vm, options->engine, err);
	if (error != 0)
		return error;
	cpu_model_get(vm->cpu_model, vm->cpu_features);
	vm_clock_start(&vm->clock);
	error = vm_timer_thread_start(vm);
	if (error != 0) {
		vm_clock_stop(&vm->clock);
		engine_drop(vm);
		return err_sys(err, -error, "%s: no thread for its timers",
			       vm->name);
	}
	return 0;
}

/* All vCPUs are frozen. Answers that never came are as if they had not: the
   instruction runs again. */
void vm_engine_stop(struct vm *vm)
{
	if (vm->engine == NULL)
		return;
	vm_timer_thread_stop(vm);
	vm_clock_stop(&vm->clock);
	for (unsigned i = 0; i < VM_MAXCPU; i++)
		if (vm->vcpu[i] != NULL) {
			vcpu_state_fetch(vm->vcpu[i]);
			vcpu_lapic_fetch(vm->vcpu[i]);
			vm->vcpu[i]->exit_pending = false;
		}
	engine_drop(vm);
}

int vm_stop(struct vm *vm, enum vm_suspend_how how)
{
	int none = VM_SUSPEND_NONE;

	if (how <= VM_SUSPEND_NONE || how >= VM_SUSPEND_LAST)
		return -EINVAL;
	if (!atomic_compare_exchange_strong(&vm->suspend_how, &none, how))
		return -EALREADY;
	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		struct vmcpu *vcpu =
		    __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (vcpu != NULL)
			vcpu_request(vcpu, VCPU_REQ_SUSPEND);
	}
	return 0;
}
