/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine contract: what a CPU engine (soft, kvm) does for the room.
 *
 * The engine's objects exist only in the process that runs the VM, from its
 * first vm_run on. create/destroy are called under the VM lock with no vCPU
 * running. Calls on one vCPU come from one thread at a time (its state is
 * FROZEN or RUNNING, see vm.h), which need not be the same thread each time.
 * kick, code_written and memory_changed come from any thread.
 */
#ifndef VMM_ENGINE_H
#define VMM_ENGINE_H

#include "base/err.h"
#include "vmm/vcpu_state.h"

struct apic_message; /* vmm/irq.h */
struct cpu_model;    /* vmm/cpuid.h */
struct doorbell;     /* vmm/doorbell.h */
struct vm;
struct vmcpu;

/*
 * For an engine that has the local APICs itself (KVM's are in the kernel).
 * Then INIT, SIPI and HLT are its business too, mp_state is a part of the
 * state that it gets and sets, and struct lapic only says what was when the
 * engine started, until get.
 */
struct engine_apic_ops {
	/* On the APIC bus, from IOAPIC and PCI. Any thread, under any lock. */
	void (*deliver)(struct vm *vm, const struct apic_message *message);
	/* IOAPIC pin sends message from now on. Any thread, IOAPIC's lock. */
	void (*route)(struct vm *vm, unsigned pin,
		      const struct apic_message *message);
	/* One of FreeBSD's APIC_LVT_ pins is pulsed. Any thread. */
	void (*local_irq)(struct vmcpu *vcpu, unsigned lvt_pin);
	/* On the vCPU's thread: it would only wait. For those in slices. */
	bool (*is_idle)(struct vmcpu *vcpu);
	/* The frozen vCPU's struct lapic made current, or made the engine's. */
	int (*get)(struct vmcpu *vcpu);
	int (*set)(struct vmcpu *vcpu);
};

struct engine_ops {
	const char *name;
	const struct engine_apic_ops *apic; /* NULL: the room's are used */

	/*
	 * 0, or -errno with why it cannot run here and what to do. NULL: it
	 * always can. auto: also when it would be slower than the others.
	 * speed: of ring-0 code, in instructions a second. cache_dir: where
	 * what was measured is kept until the next boot; NULL: nowhere.
	 */
	int (*usable)(const char *cache_dir, bool for_auto, uint64_t *speed,
		      struct err *why);

	/* Takes from model what the engine has not; NULL: it has all. */
	int (*limit_model)(struct cpu_model *model, struct err *err);

	/* vm->engine_data and vcpu->engine_data are the engine's own. */
	int (*vm_create)(struct vm *vm, struct err *err);
	void (*vm_destroy)(struct vm *vm);
	int (*vcpu_create)(struct vmcpu *vcpu, struct err *err);
	void (*vcpu_destroy)(struct vmcpu *vcpu);

	/*
	 * Runs guest code until something needs the room or the process.
	 * First completes the exit that the last run returned, with the
	 * answer found in *exit. What the room's own devices own is handled
	 * inside through vmm/bus.h. Delivers interrupts from vmm/irq.h.
	 * Returns 0 with *exit filled, or -errno (the VM ends).
	 * VM_EXITCODE_BOGUS: vcpu->requests wants the room's attention.
	 */
	int (*run)(struct vmcpu *vcpu, struct vm_exit *exit);

	/*
	 * Completes a pending exit without running on, so that the state is
	 * that after the instruction. An instruction that needs one more
	 * external access stays where it is; its finished accesses are kept
	 * and not repeated. No pending exit: nothing happens.
	 */
	void (*complete)(struct vmcpu *vcpu, struct vm_exit *exit);

	/* Forgets the pending exit: the instruction runs again from RIP. */
	void (*restart_instruction)(struct vmcpu *vcpu);

	/* get leaves alone what the room owns (vm.h) and other threads read:
	   tsc_offset, and mp_state unless the engine has the APICs. */
	void (*state_get)(struct vmcpu *vcpu, struct vcpu_state *state);
	int (*state_set)(struct vmcpu *vcpu, const struct vcpu_state *state);

	/* Makes run look at vcpu->requests soon; cheap, never waits. */
	void (*kick)(struct vmcpu *vcpu);

	/* Host-side code wrote [gpa, gpa + len) of RAM: the write gate. */
	void (*code_written)(struct vm *vm, uint64_t gpa, uint64_t len);

	/*
	 * Which pages of RAM the guest has written. on: from now on they are
	 * noted. dirty_get: those of the low (gpa 0) or high (MEM_HIGH_BASE)
	 * part since the last call, a bit a page, in bytes bytes. Any thread,
	 * VM lock. NULL: the engine cannot.
	 */
	int (*dirty_log)(struct vm *vm, bool on);
	int (*dirty_get)(struct vm *vm, uint64_t gpa, void *bitmap,
			 size_t bytes);

	/*
	 * The guest's writes there signal the eventfd without coming out, or
	 * do no more. May fail, and be NULL: then they come to vmm/bus.h.
	 */
	void (*doorbell)(struct vm *vm, const struct doorbell *bell, bool add);

	/* -ENOENT: the engine lacks the capability. */
	int (*capability_get)(struct vmcpu *vcpu, enum vm_cap_type cap,
			      int *value);
	int (*capability_set)(struct vmcpu *vcpu, enum vm_cap_type cap,
			      int value);
};

extern const struct engine_ops soft_engine_ops, kvm_engine_ops;

/*
 * asked: "auto", "soft", "kvm"; NULL or "": auto. 0 with *engine and why it
 * was taken, or -errno with why the one asked for cannot run here.
 */
int engine_choose(const char *asked, const char *cache_dir,
		  const struct engine_ops **engine, struct err *why);

/* The engine and what it offers here (vmmapi.h): 0, or -ENOENT. */
int engine_describe(int index, struct vm_engine_info *info);

/* Takes from model what one of the engines that serve here has not. */
void engine_limit_model(struct cpu_model *model);

#endif
