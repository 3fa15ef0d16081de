/* SPDX-License-Identifier: BSD-2-Clause */
/* The test VMM: one VM, one payload, TAP on standard output. */
#ifndef GUEST_RUNNER_H
#define GUEST_RUNNER_H

#include <pthread.h>
#include <stdbool.h>
#include <vmmapi.h>

#include "lib/ports.h"

struct bare_failures;
struct expectations;

struct machine {
	char rundir[64];
	struct vmctx *ctx;
	struct vcpu *vcpu[VM_MAXCPU];
	unsigned cpus;
	uint8_t mmio[MMIO_SIZE];
	uint8_t port[16];
	uint64_t msr_answer;
	_Atomic unsigned debug_exits[VM_MAXCPU];
	struct expectations *expect; /* what exits must look like, or NULL */
	int bell;                    /* the doorbells' eventfd */
	uint64_t engine_is;          /* HOST_IS_ bits */
	uint64_t escape_rip, escape_rsp; /* of HOST_ESCAPE */
	struct bare_failures *bare;      /* or NULL */

	pthread_mutex_t lock; /* all above while vCPUs run, and below */
	unsigned checks, failures;
	bool over;
	/* move_host.c */
	bool moves_at_all; /* --move */
	bool stays;        /* --reopen: but to the engine that it has, kvm */
	pthread_mutex_t move_lock;
	pthread_cond_t move_wake;
	bool move_wanted, asked_twice; /* vCPU 0's thread */
	bool moving;
	unsigned parked, moves;

	bool mux;       /* --mux: one thread for all vCPUs */
	unsigned storm; /* --storm N: so many calls from outside */
	int wants_stop; /* enum vm_suspend_how by which the payload ends */
};

/* One line of TAP; numbers it. */
void tap_line(struct machine *m, const char *text);
void tap_check(struct machine *m, bool ok, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* move_host.c */
void move_park(struct machine *m, unsigned cpu, const struct vm_exit *exit);
bool move_to(struct machine *m, const char *engine);

/* turns_host.c: vCPUs by turns, and calls from outside while they run. */
void turns_run(struct machine *m);
/* runner.c: vm_run failed, but only for this part of the payload. */
bool run_escapes(struct machine *m, struct vcpu *vcpu);
bool turn_done(struct machine *m, struct vcpu *vcpu, struct vm_exit *exit);
pthread_t storm_start(struct machine *m);

/* exits_host.c: judges an exit before it is handled. */
struct expectations *expectations_new(void);
void expectations_free(struct expectations *e);
void expectation_add(struct machine *m, const struct host_call *call);
int64_t expectations_left(struct machine *m);
void expectations_forget(struct expectations *e);
void exit_judge(struct machine *m, struct vcpu *vcpu,
		const struct vm_exit *exit);
int64_t check_busy(struct machine *m, struct vcpu *vcpu);

#endif
