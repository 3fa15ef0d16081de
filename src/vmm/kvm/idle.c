// SPDX-License-Identifier: BSD-2-Clause
/*
 * HLT, INIT and SIPI are KVM's, so nobody tells us when every vCPU has halted
 * with interrupts off. Once a second, when no vCPU has had an exit, they are
 * asked: one by one they come out of KVM_RUN and wait here, as long as each
 * finds itself stuck. When the last has come, none of them runs, and nothing
 * of the guest's can move any.
 */
#include <errno.h>
#include <sys/ioctl.h>
#include <time.h>

#include "vmm/kvm/kvm.h"

#define LOOK_NS    1000000000ull
#define WAIT_NS    50000000l /* for the next one to come */
#define NS_PER_SEC 1000000000l

static bool is_active(const struct vmcpu *vcpu)
{
	return vcpu != NULL && vcpu->active && vcpu->engine_data != NULL;
}

/* Its thread is outside of KVM_RUN, so that this does not wait. */
static bool is_stuck(struct kvm_cpu *c)
{
	struct kvm_vcpu_events events;
	struct kvm_mp_state state;

	if (c->vcpu->suspended || c->unfinished || c->unserved ||
	    (atomic_load(&c->vcpu->requests) & VCPU_REQ_NMI) != 0 ||
	    ioctl(c->fd, KVM_GET_MP_STATE, &state) != 0 ||
	    ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events) != 0 ||
	    events.nmi.pending || events.smi.pending)
		return false;
	switch (state.mp_state) {
	case KVM_MP_STATE_UNINITIALIZED:
	case KVM_MP_STATE_INIT_RECEIVED:
		return true;
	case KVM_MP_STATE_HALTED:
		return c->run->if_flag == 0;
	default:
		return false;
	}
}

/* The next active vCPU that has not come, or NULL. */
static struct vmcpu *missing(struct kvm_vm *kvm)
{
	for (unsigned i = 0; i < VM_MAXCPU; i++)
		if (is_active(kvm->vm->vcpu[i]) &&
		    (kvm->idle.waiting & 1u << i) == 0)
			return kvm->vm->vcpu[i];
	return NULL;
}

static bool all_are_stuck(struct kvm_vm *kvm)
{
	for (unsigned i = 0; i < VM_MAXCPU; i++)
		if (is_active(kvm->vm->vcpu[i]) &&
		    !is_stuck(kvm->vm->vcpu[i]->engine_data))
			return false;
	return true;
}

static void wait_for_next(struct kvm_vm *kvm)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += WAIT_NS;
	if (until.tv_nsec >= NS_PER_SEC) {
		until.tv_nsec -= NS_PER_SEC;
		until.tv_sec++;
	}
	pthread_cond_timedwait(&kvm->idle.wake, &kvm->lock, &until);
}

static void ask(struct vmcpu *vcpu)
{
	struct kvm_cpu *c = vcpu->engine_data;

	atomic_store(&c->is_asked, true);
	vcpu_request(vcpu, VCPU_REQ_ENGINE);
}

/* Under the lock. True: all of them are stuck. */
static bool come(struct kvm_cpu *c)
{
	struct kvm_vm *kvm = c->kvm;
	unsigned round = kvm->idle.round;
	struct vmcpu *next;
	bool stuck = false;

	kvm->idle.waiting |= 1u << c->vcpu->id;
	next = missing(kvm);
	if (next != NULL) {
		ask(next);
		wait_for_next(kvm);
	} else {
		stuck = all_are_stuck(kvm);
	}
	/* Whoever goes ends the round: the others are not alone any more. */
	if (round == kvm->idle.round) {
		kvm->idle.round++;
		kvm->idle.waiting = 0;
		pthread_cond_broadcast(&kvm->idle.wake);
	}
	return stuck;
}

void kvm_idle_answer(struct kvm_cpu *c)
{
	struct kvm_vm *kvm = c->kvm;
	bool stop = false;

	if (!atomic_exchange(&c->is_asked, false))
		return;
	pthread_mutex_lock(&kvm->lock);
	if (c->vcpu->no_wait) {
		/* one thread for all: none of them runs now */
		stop = all_are_stuck(kvm);
	} else if (is_stuck(c)) {
		stop = come(c);
	} else {
		kvm->idle.round++;
		kvm->idle.waiting = 0;
		pthread_cond_broadcast(&kvm->idle.wake);
	}
	pthread_mutex_unlock(&kvm->lock);
	if (stop)
		vm_stop(kvm->vm, VM_SUSPEND_HALT);
}

/* In the room's thread, once a second. */
static void look(void *arg)
{
	struct kvm_vm *kvm = arg;
	struct vmcpu *first = NULL;
	bool quiet = true;

	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		struct vmcpu *vcpu =
		    __atomic_load_n(&kvm->vm->vcpu[i], __ATOMIC_ACQUIRE);
		uint64_t exits;

		if (!is_active(vcpu))
			continue;
		exits = __atomic_load_n(
		    &((struct kvm_cpu *)vcpu->engine_data)->exits,
		    __ATOMIC_RELAXED);
		quiet &= exits == kvm->idle.exits[i];
		kvm->idle.exits[i] = exits;
		if (first == NULL)
			first = vcpu;
	}
	if (quiet && first != NULL)
		ask(first);
	vm_timer_arm(&kvm->idle.timer, vm_clock_ns(&kvm->vm->clock) + LOOK_NS);
}

void kvm_idle_start(struct kvm_vm *kvm)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&kvm->idle.wake, &attr);
	pthread_condattr_destroy(&attr);
	vm_timer_init(kvm->vm, &kvm->idle.timer, look, kvm);
	vm_timer_arm(&kvm->idle.timer, vm_clock_ns(&kvm->vm->clock) + LOOK_NS);
}

void kvm_idle_stop(struct kvm_vm *kvm)
{
	vm_timer_cancel(&kvm->idle.timer);
	pthread_cond_destroy(&kvm->idle.wake);
}
