/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VM object inside its process: memory, clock, vCPUs, the room's devices.
 *
 * A vCPU is not a thread: any thread may run any vCPU, one at a time. run
 * state (as in vmm.ko):
 *
 *	IDLE -> FROZEN -> IDLE		a door call works on its state
 *	IDLE -> RUNNING <-> SLEEPING	vm_run; SLEEPING waits in HLT or for
 *	     -> IDLE			SIPI, or while suspended
 *
 * Door calls that need a vCPU frozen ask it out of vm_run (VCPU_REQ_IDLE) and
 * wait; vm_run on a vCPU that another thread runs is EBUSY.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <pthread.h>
#include <stdatomic.h>
#include <vmmapi.h>

#include "vmm/clock.h"
#include "vmm/doorbell.h"
#include "vmm/engine.h"
#include "vmm/mem.h"
#include "vmm/stats.h"
#include "vmm/timer.h"

struct hpet;
struct i8254;
struct i8259;
struct ioapic;
struct lapic;
struct mc146818;
struct pmtimer;
struct room; /* door's side: directory, files, ctl socket, room thread */

enum vcpu_run_state { VCPU_IDLE, VCPU_FROZEN, VCPU_RUNNING, VCPU_SLEEPING };

/* Bits of vcpu->requests: raised by any thread, served by the vCPU's. */
enum {
	VCPU_REQ_INTR = 1 << 0,    /* vcpu_intr_pending may have changed */
	VCPU_REQ_NMI = 1 << 1,     /* one NMI waits; the engine clears it */
	VCPU_REQ_INIT = 1 << 2,    /* room */
	VCPU_REQ_SIPI = 1 << 3,    /* room; vector in sipi_vector */
	VCPU_REQ_IDLE = 1 << 4,    /* room: leave vm_run, VM_EXITCODE_REQIDLE */
	VCPU_REQ_SUSPEND = 1 << 5, /* room: vm_suspend, VM_EXITCODE_SUSPENDED */
	VCPU_REQ_DEBUG = 1 << 6,   /* room: vm_suspend_cpu, VM_EXITCODE_DEBUG */
	VCPU_REQ_ENGINE = 1 << 7,  /* the engine's own work */
};

/* Those for which engine->run returns VM_EXITCODE_BOGUS. */
#define VCPU_REQ_ROOM                                                          \
	(VCPU_REQ_INIT | VCPU_REQ_SIPI | VCPU_REQ_IDLE | VCPU_REQ_SUSPEND |    \
	 VCPU_REQ_DEBUG)

struct vmcpu {
	struct vm *vm;
	unsigned id; /* also its APIC id */
	void *engine_data;
	struct lapic *lapic;

	pthread_mutex_t lock; /* run_state, and sleeping */
	pthread_cond_t wake;
	enum vcpu_run_state run_state;
	_Atomic bool active; /* read by whoever looks for who is stuck */
	_Atomic uint32_t requests;
	_Atomic uint8_t sipi_vector;

	/* Under lock. */
	unsigned freezers;      /* threads that wait to freeze it */
	_Atomic bool suspended; /* vm_suspend_cpu */
	bool suspend_told;      /* ... and the process has had its DEBUG exit */
	bool hlt_told;          /* ... its HLT exit */
	bool exit_pending;      /* exit waits to be completed by the engine */
	bool no_wait;           /* it runs in slices: vm_run never sleeps */
	bool idle;              /* ... and this one would have slept */
	bool intr_enabled;      /* RFLAGS.IF as of HLT or the last door call */
	uint32_t capabilities;  /* BIT(enum vm_cap_type) that are set */

	/*
	 * Authoritative while the engine does not exist; tsc_offset always
	 * is, and mp_state, unless the engine has the local APICs.
	 */
	struct vcpu_state state;
	struct vm_exit exit;
	struct err failure;    /* why engine->run failed, for a person */
	struct vm_timer slice; /* asks it out of vm_run */
	uint64_t stats[VM_STAT_COUNT];
};

struct vm {
	char name[VM_MAX_NAMELEN + 1];
	pthread_mutex_t lock;
	struct vm_mem mem;
	struct vm_clock clock;
	const struct engine_ops *engine; /* NULL until the first vm_run */
	void *engine_data;
	struct cpu_model *cpu_model; /* vmm/cpuid.h */
	bool soft_jit;               /* soft.jit */
	uint64_t soft_jit_cache;  /* bytes, of all vCPUs; 0: the engine's own */
	uint64_t cpu_features[4]; /* which the guest has seen; 0: none yet */
	uint64_t kvmclock_gain;   /* KVM's clock less vm_clock */
	uint16_t soft_jit_hot;    /* 0: the engine's own */
	bool soft_jit_perfmap;
	bool soft_jit_verify; /* soft.jit=verify */

	uint16_t sockets, cores, threads, maxcpus;
	struct vmcpu *vcpu[VM_MAXCPU]; /* NULL: not made yet */

	struct ioapic *ioapic;
	struct i8259 *pic;
	struct i8254 *pit;
	struct hpet *hpet;
	struct mc146818 *rtc;
	struct pmtimer *pmtimer;

	/* timer.h: the list and its lock; the room's thread waits on it. */
	pthread_mutex_t timer_lock;
	struct vm_timer *timers;
	struct vm_timer_thread timer_thread;

	struct doorbells doorbells; /* of this process only */

	/* vm_wait: some vCPU in slices was asked for since. */
	pthread_mutex_t wait_lock;
	pthread_cond_t wait_wake;
	_Atomic uint32_t asked; /* bit n: vCPU n */

	_Atomic int suspend_how; /* enum vm_suspend_how, set once */
	struct room *room;
};

/* The object; memory comes from mem_setup. 0 or -errno. */
int vm_new(const char *name, struct vm **out);
void vm_free(struct vm *vm);
/* The vCPU, made when it does not exist: 0, -EINVAL, -ENOMEM. */
int vm_get_vcpu(struct vm *vm, unsigned id, struct vmcpu **out);
/* As after power-up, memory apart. Under the VM lock, vCPUs frozen. */
void vm_reset(struct vm *vm);
/* Makes the engine and lets time run; stop takes the state back. */
struct vm_engine_options {
	const struct engine_ops *engine;
	const char *cpu_model, *cpu_features;
	bool soft_jit;
	uint64_t soft_jit_cache;                      /* as of struct vm */
	void (*limit_model)(struct cpu_model *model); /* for "common" */
	uint16_t soft_jit_hot;                        /* 0: the engine's own */
	bool soft_jit_perfmap;                        /* tell perf of it */
	bool soft_jit_verify;
};
int vm_engine_start(struct vm *vm, const struct vm_engine_options *options,
		    struct err *err);
void vm_engine_stop(struct vm *vm);

/*
 * The inside of vm_run: 0 with *exit filled, or -EBUSY (another thread runs
 * this vCPU), -EINVAL (not active), or what the engine failed with. On entry
 * *exit has the answer to the last exit.
 */
int vcpu_run(struct vmcpu *vcpu, struct vm_exit *exit);
/* The same for ns at most, without sleeping: *idle, and vm_wait sleeps. */
int vcpu_run_slice(struct vmcpu *vcpu, struct vm_exit *exit, uint64_t ns,
		   bool *idle);
void vm_wait_asked(struct vm *vm, uint64_t ns);

/*
 * A frozen vCPU does not run and its state holds still. freeze asks it out of
 * vm_run and waits: 0, or -EBUSY when it does not come. Not recursive.
 */
int vcpu_freeze(struct vmcpu *vcpu);
void vcpu_thaw(struct vmcpu *vcpu);
int vm_freeze_all(struct vm *vm);
void vm_thaw_all(struct vm *vm);

/*
 * vcpu->state made current (fetch), and made the engine's (store). Frozen.
 * While an exit waits for the process' answer, the state is that before the
 * instruction.
 */
void vcpu_state_fetch(struct vmcpu *vcpu);
int vcpu_state_store(struct vmcpu *vcpu);

/* The same for vcpu->lapic, where the engine has APICs of its own. */
int vcpu_lapic_fetch(struct vmcpu *vcpu);
int vcpu_lapic_store(struct vmcpu *vcpu);

/*
 * Raises request bits and makes the vCPU look: wakes it from SLEEPING, or
 * kicks the engine. Any thread, any lock.
 */
void vcpu_request(struct vmcpu *vcpu, uint32_t bits);

/* Stops the VM (vm_suspend's inside): -EALREADY when already stopping. */
int vm_stop(struct vm *vm, enum vm_suspend_how how);

/* The guest's TSC on this vCPU. */
uint64_t vcpu_tsc(const struct vmcpu *vcpu);

#endif
