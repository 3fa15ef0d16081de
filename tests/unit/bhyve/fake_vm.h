/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM whose vCPUs give exits out of a script instead of running, and a board
 * that answers all ports but those from 0x9000 on: what bhyve's threads and
 * handlers see of vmmapi.h and board.h.
 */
#ifndef TESTS_BHYVE_FAKE_VM_H
#define TESTS_BHYVE_FAKE_VM_H

#include <pthread.h>

#include "bhyve/machine.h"

#define FAKE_EXITS 8

struct vcpu {
	struct vmctx *ctx;
	int id;
	struct vm_exit script[FAKE_EXITS];
	unsigned int count; /* exits in script; then it runs until suspended */
	unsigned int next;
	int run_error;           /* errno of vm_run, instead of all this */
	struct vm_exit answered; /* as the last exit came back */
	uint64_t reg[VM_REG_LAST];
	struct seg_desc desc[VM_REG_LAST];
	int injected; /* vector + 1 */
	unsigned int resets, resumes;
	char thread_name[16];
	bool term_blocked;
};

struct vmctx {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	enum vm_suspend_how how;
	unsigned int suspends;
	struct vcpu vcpu[VM_MAXCPU];
	bool acpi; /* the guest hears the power button */
	unsigned int presses;
	int loss_fd; /* 0: not open */
	bool lost;
};

/* A machine on ctx with cpus vCPUs; its loop is the caller's. */
struct machine *fake_machine(struct vmctx *ctx, unsigned int cpus,
			     struct loop *loop);
void fake_machine_free(struct machine *machine);

/* Adds an exit to a vCPU's script. */
struct vm_exit *fake_exit(struct vmctx *ctx, int vcpu, enum vm_exitcode code);

#endif
