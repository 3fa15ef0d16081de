/* SPDX-License-Identifier: BSD-2-Clause */
/* The KVM engine's objects. docs/kvm.md says how it works. */
#ifndef VMM_KVM_KVM_H
#define VMM_KVM_KVM_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdatomic.h>

#include "vmm/cpuid.h"
#include "vmm/vm.h"

#define KVM_PINS 32 /* of the room's IOAPIC */

/* Who has halted for ever (idle.c). Under kvm_vm.lock, but the timer. */
struct kvm_idle {
	struct vm_timer timer;
	pthread_cond_t wake;
	unsigned round;
	uint32_t waiting;          /* bit n: vCPU n has come */
	uint64_t exits[VM_MAXCPU]; /* the last time; the room's thread */
};

struct kvm_vm {
	struct vm *vm;
	int kvm; /* /dev/kvm */
	int fd;
	size_t run_size; /* of a vCPU's struct kvm_run */
	pthread_mutex_t lock;
	_Atomic bool tsc_is_set; /* guest TSC 0 is at host TSC -tsc_base */
	bool tsc_is_hosts;       /* whatever offset KVM is told */
	uint64_t tsc_base;       /* vm_clock's TSC less the host's */
	uint64_t tsc_gained;     /* on vm_clock's, when the engine ends */
	bool is_settled;
	struct kvm_idle idle;
	bool routes_are_set;
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry pin[KVM_PINS];
	} routes;
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
	uint64_t exits;

	_Atomic uint32_t local_irqs; /* bit n: FreeBSD's LVT pin n */
	_Atomic bool is_asked;       /* idle.c */
	uint64_t deadline;           /* TSC deadline that waits for the TSC */
	/* As of the last look: accepted by the CPU, not delivered yet. */
	struct {
		uint8_t injected, nr, soft;
	} accepted;

	/* Kicks. */
	_Atomic int where;
	pthread_t thread;     /* the one that runs it, or did */
	bool thread_is_known; /* ... and its signal mask is KVM's */
	bool mask_is_set;
	uint64_t mask; /* in KVM_RUN, as KVM was told */

	uint64_t misc_enable, debugctl, spec_ctrl;
	uint64_t tsc_offset; /* as KVM was told */
	bool tsc_offset_is_set;
	bool cap_mtrap, cap_bpt;
	bool has_tsc_aux, has_xss, has_xcr0, has_clock;
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

int kvm_reduce_model(int kvm, struct cpu_model *model, struct err *err);
int kvm_limit_model(struct cpu_model *model, struct err *err);
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
/* state.tsc_offset made such that vm_clock's TSC goes on where KVM's was. */
void kvm_tsc_settle(struct kvm_cpu *c);

/* -- memory.c ---------------------------------------------------------------
 */

int kvm_memory_create(struct kvm_vm *kvm, struct err *err);
int kvm_dirty_log(struct vm *vm, bool on);
int kvm_dirty_get(struct vm *vm, uint64_t gpa, void *bitmap, size_t bytes);

/* -- irqchip.c --------------------------------------------------------------
 */

extern const struct engine_apic_ops kvm_apic_ops;
int kvm_irqchip_create(struct kvm_vm *kvm, struct err *err);
int kvm_serve_local_irqs(struct kvm_cpu *c);
void kvm_doorbell(struct vm *vm, const struct doorbell *bell, bool add);
/* After the TSC has moved. */
int kvm_deadline_restart(struct kvm_cpu *c);

/* -- idle.c -----------------------------------------------------------------
 */

void kvm_idle_start(struct kvm_vm *kvm);
void kvm_idle_stop(struct kvm_vm *kvm);
/* On the vCPU's thread, outside of KVM_RUN; may wait a moment. */
void kvm_idle_answer(struct kvm_cpu *c);

/* -- state.c ----------------------------------------------------------------
 */

void kvm_state_get(struct vmcpu *vcpu, struct vcpu_state *state);
int kvm_state_set(struct vmcpu *vcpu, const struct vcpu_state *state);
/* Brings c->accepted up to date. */
int kvm_note_accepted(struct kvm_cpu *c);

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
/* KVM says something that makes no sense: the same. */
int kvm_nonsense(struct kvm_cpu *c, const char *what);

/* -- run.c ------------------------------------------------------------------
 */

/* Ends the instruction of the last exit; c->unserved when it exits again. */
int kvm_finish(struct kvm_cpu *c);
int kvm_run_vcpu(struct vmcpu *vcpu, struct vm_exit *exit);
/* A timer of the local APIC that has expired becomes its interrupt. */
void kvm_flush_timer(struct kvm_cpu *c);
void kvm_complete(struct vmcpu *vcpu, struct vm_exit *exit);
void kvm_restart_instruction(struct vmcpu *vcpu);
void kvm_kick(struct vmcpu *vcpu);
int kvm_debug_update(struct kvm_cpu *c);

#endif
