// SPDX-License-Identifier: BSD-2-Clause
/* A vCPU as other threads see it: requests, freezing, its state. */
#include <errno.h>
#include <time.h>

#include "vmm/vm.h"
#include "x86/cr.h"

/* A vCPU is asked out of guest code in microseconds; this is a hang. */
#define FREEZE_TIMEOUT_S 10

/* Whoever runs this vCPU by turns with others may sleep for all of them. */
static void wake_waiter(struct vmcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	if (atomic_fetch_or(&vm->asked, 1u << vcpu->id) != 0)
		return; /* and whoever was first wakes it */
	pthread_mutex_lock(&vm->wait_lock);
	pthread_cond_broadcast(&vm->wait_wake);
	pthread_mutex_unlock(&vm->wait_lock);
}

void vm_wait_asked(struct vm *vm, uint64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	ns = MIN(ns, 1000000000ull) + (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(ns / 1000000000);
	until.tv_nsec = (long)(ns % 1000000000);
	pthread_mutex_lock(&vm->wait_lock);
	while (atomic_load(&vm->asked) == 0)
		if (pthread_cond_timedwait(&vm->wait_wake, &vm->wait_lock,
					   &until) != 0)
			break;
	pthread_mutex_unlock(&vm->wait_lock);
	atomic_store(&vm->asked, 0);
}

/*
 * run_state is read without the lock: a vCPU on its way to sleep looks at
 * requests under the lock before it waits, and one on its way into the engine
 * is kicked, which the engine sees at its first block.
 */
void vcpu_request(struct vmcpu *vcpu, uint32_t bits)
{
	const struct engine_ops *engine;

	atomic_fetch_or(&vcpu->requests, bits);
	if (unlikely(__atomic_load_n(&vcpu->no_wait, __ATOMIC_SEQ_CST)))
		wake_waiter(vcpu);
	switch (__atomic_load_n(&vcpu->run_state, __ATOMIC_SEQ_CST)) {
	case VCPU_SLEEPING:
		pthread_mutex_lock(&vcpu->lock);
		pthread_cond_broadcast(&vcpu->wake);
		pthread_mutex_unlock(&vcpu->lock);
		break;
	case VCPU_RUNNING:
		engine = __atomic_load_n(&vcpu->vm->engine, __ATOMIC_ACQUIRE);
		if (engine != NULL)
			engine->kick(vcpu);
		break;
	case VCPU_IDLE:
	case VCPU_FROZEN:
		break; /* vcpu_run looks first */
	}
}

/* Under vcpu->lock; vcpu_request reads it without. */
static void set_run_state(struct vmcpu *vcpu, enum vcpu_run_state state)
{
	__atomic_store_n(&vcpu->run_state, state, __ATOMIC_SEQ_CST);
}

/* Lets waiting freezers go first; they count themselves in freezers. */
int vcpu_freeze(struct vmcpu *vcpu)
{
	struct timespec until;
	int error = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FREEZE_TIMEOUT_S;
	pthread_mutex_lock(&vcpu->lock);
	vcpu->freezers++;
	while (vcpu->run_state != VCPU_IDLE && error == 0) {
		if (vcpu->run_state != VCPU_FROZEN) {
			pthread_mutex_unlock(&vcpu->lock);
			vcpu_request(vcpu, VCPU_REQ_IDLE);
			pthread_mutex_lock(&vcpu->lock);
			if (vcpu->run_state == VCPU_IDLE)
				break;
		}
		error =
		    pthread_cond_timedwait(&vcpu->wake, &vcpu->lock, &until);
	}
	vcpu->freezers--;
	if (vcpu->run_state == VCPU_IDLE) {
		error = 0;
		set_run_state(vcpu, VCPU_FROZEN);
		atomic_fetch_and(&vcpu->requests, ~(uint32_t)VCPU_REQ_IDLE);
	}
	pthread_mutex_unlock(&vcpu->lock);
	return error != 0 ? -EBUSY : 0;
}

void vcpu_thaw(struct vmcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	set_run_state(vcpu, VCPU_IDLE);
	pthread_cond_broadcast(&vcpu->wake);
	pthread_mutex_unlock(&vcpu->lock);
}

static void thaw_below(struct vm *vm, unsigned end)
{
	for (unsigned i = 0; i < end; i++)
		if (vm->vcpu[i] != NULL)
			vcpu_thaw(vm->vcpu[i]);
}

int vm_freeze_all(struct vm *vm)
{
	int error;

	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		if (vm->vcpu[i] == NULL)
			continue;
		error = vcpu_freeze(vm->vcpu[i]);
		if (error != 0) {
			thaw_below(vm, i);
			return error;
		}
	}
	return 0;
}

void vm_thaw_all(struct vm *vm)
{
	thaw_below(vm, VM_MAXCPU);
}

/* An exit whose struct vm_exit the process still has to fill. */
static bool wants_answer(const struct vm_exit *exit)
{
	switch (exit->exitcode) {
	case VM_EXITCODE_INOUT:
	case VM_EXITCODE_INOUT_STR:
		return exit->u.inout.in;
	case VM_EXITCODE_INST_EMUL:
		return !exit->u.inst_emul.write;
	case VM_EXITCODE_RDMSR:
		return true;
	default:
		return false;
	}
}

void vcpu_state_fetch(struct vmcpu *vcpu)
{
	const struct engine_ops *engine = vcpu->vm->engine;

	if (engine == NULL)
		return;
	if (vcpu->exit_pending && !wants_answer(&vcpu->exit)) {
		engine->complete(vcpu, &vcpu->exit);
		vcpu->exit_pending = false;
	}
	engine->state_get(vcpu, &vcpu->state);
}

int vcpu_lapic_fetch(struct vmcpu *vcpu)
{
	const struct engine_ops *engine = vcpu->vm->engine;

	if (engine == NULL || engine->apic == NULL)
		return 0;
	return engine->apic->get(vcpu);
}

int vcpu_lapic_store(struct vmcpu *vcpu)
{
	const struct engine_ops *engine = vcpu->vm->engine;

	if (engine == NULL || engine->apic == NULL)
		return 0;
	return engine->apic->set(vcpu);
}

int vcpu_state_store(struct vmcpu *vcpu)
{
	const struct engine_ops *engine = vcpu->vm->engine;

	__atomic_store_n(&vcpu->intr_enabled,
			 (vcpu->state.reg[VM_REG_GUEST_RFLAGS] & RFLAGS_IF) !=
			     0,
			 __ATOMIC_SEQ_CST);
	return engine == NULL ? 0 : engine->state_set(vcpu, &vcpu->state);
}

uint64_t vcpu_tsc(const struct vmcpu *vcpu)
{
	return vm_clock_tsc(&vcpu->vm->clock) + vcpu->state.tsc_offset;
}
