/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The KVM engine's objects. There is no interrupt controller in the kernel:
 * the room's LAPIC, IOAPIC and PIC serve this engine as they serve the other,
 * and interrupts go in by KVM_INTERRUPT. docs/kvm.md says why.
 */
#ifndef VMM_KVM_KVM_H
#define VMM_KVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "vmm/cpuid.h"
#include "vmm/vm.h"

struct kvm_vm {
	struct vm *vm;
	int kvm; /* /dev/kvm */
	int fd;
	size_t run_size; /* of a vCPU's struct kvm_run */
	pthread_mutex_t lock;
	_Atomic bool tsc_is_set; /* guest TSC 0 is at host TSC -tsc_base */
	uint64_t tsc_base;       /* vm_clock's TSC less the host's */
};

/* What an exit to the process wants back. */
enum kvm_pending {
	KVM_PENDING_NONE,
	KVM_PENDING_PORT,
	KVM_PENDING_MMIO,
	KVM_PENDING_RDMSR,
	KVM_PENDING_WRMSR,
};

/* Whether the vCPU's thread is in KVM_RUN, for kick. */
enum kvm_where {
	KVM_OUTSIDE,
	KVM_INSIDE,
	KVM_KICKED, /* inside, and a signal is on its way */
};

struct kvm_cpu {
	struct vmcpu *vcpu;
	struct kvm_vm *kvm;
	int fd;
	struct kvm_run *run;

	/* An exit is served piece by piece: elements of a string instruction,
	   parts of an access of odd size. */
	enum kvm_pending pending;
	uint32_t piece;
	uint8_t part_bytes; /* of the MMIO part that waits */

	/* The instruction of the last exit ends at the next KVM_RUN. */
	bool unfinished;
	/* struct kvm_run holds an exit that nobody has served yet. */
	bool unserved;
	/* State was written: ready_for_interrupt_injection is of before. */
	bool ready_is_stale;

	/* Kicks. */
	_Atomic int where;
	pthread_t thread;     /* the one that runs it, or did */
	bool thread_is_known; /* ... and its signal mask is KVM's */
	bool mask_is_set;
	sigset_t mask; /* the thread's, as KVM was told */

	uint64_t misc_enable, debugctl, spec_ctrl;
	uint64_t tsc_offset; /* as KVM was told */
	bool tsc_offset_is_set;
	bool cap_mtrap, cap_bpt;
	bool has_tsc_aux, has_xss, has_xcr0;
};

/* What is returned by steps of a run. */
enum kvm_step { KVM_GO_ON = 0, KVM_LEAVE = 1 }; /* or -errno */

/* -- device.c: /dev/kvm -----------------------------------------------------
 */

/* Opens it and checks what we need: the descriptor or -errno. */
int kvm_open(struct err *err);
/* A VM without anything: the descriptor or -errno. */
int kvm_new_vm(int kvm, struct err *err);
/* err_sys with the ioctl's name and what can be done about it. */
int kvm_failed(struct err *err, const char *who, const char *call, int error,
	       const char *remedy);

/* -- probe.c ----------------------------------------------------------------
 */

/* 0, or -errno with why the engine does not serve here; speed in
   instructions a second at ring 0, also when it is too low. */
int kvm_usable(const char *cache_dir, bool for_auto, uint64_t *speed,
	       struct err *why);

/* -- cpuid.c ----------------------------------------------------------------
 */

int kvm_reduce_model(struct kvm_vm *kvm, struct err *err);
int kvm_set_cpuid(struct kvm_cpu *c, struct err *err);

/* -- msr.c ------------------------------------------------------------------
 */

int kvm_set_msr_filter(struct kvm_vm *kvm, struct err *err);
/* 0, -EINVAL (#GP), -ENXIO (the process'). */
int kvm_msr_access(struct kvm_cpu *c, uint32_t msr, bool write,
		   uint64_t *value);
int kvm_msrs_get(struct kvm_cpu *c, struct vcpu_state *state);
int kvm_msrs_set(struct kvm_cpu *c, const struct vcpu_state *state);
/* KVM's TSC offset made what the room says. */
int kvm_tsc_update(struct kvm_cpu *c);

/* -- state.c ----------------------------------------------------------------
 */

void kvm_state_get(struct vmcpu *vcpu, struct vcpu_state *state);
int kvm_state_set(struct vmcpu *vcpu, const struct vcpu_state *state);

/* -- exit.c -----------------------------------------------------------------
 */

/* Serves the exit in c->run: KVM_GO_ON, KVM_LEAVE with *exit, or -errno. */
int kvm_serve_exit(struct kvm_cpu *c, struct vm_exit *exit);
/* The process' answer to the exit that waits. */
void kvm_take_answer(struct kvm_cpu *c, const struct vm_exit *exit);
/* The access of the exit in c->run is a write that the room's devices own. */
bool kvm_exit_is_room_write(const struct kvm_cpu *c);

/* -- fault.c ----------------------------------------------------------------
 */

/* KVM gave up: -EIO with a line in c->vcpu->failure. */
int kvm_gave_up(struct kvm_cpu *c);

/* -- run.c ------------------------------------------------------------------
 */

/* Ends the instruction of the last exit; c->unserved when it exits again. */
int kvm_finish(struct kvm_cpu *c);
int kvm_run_vcpu(struct vmcpu *vcpu, struct vm_exit *exit);
void kvm_complete(struct vmcpu *vcpu, struct vm_exit *exit);
void kvm_restart_instruction(struct vmcpu *vcpu);
void kvm_kick(struct vmcpu *vcpu);
int kvm_debug_update(struct kvm_cpu *c);

#endif
