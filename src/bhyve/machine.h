/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One VM as bhyve runs it: the VM itself behind the door, its board, its CPUs
 * and their threads, and how it ended.
 */
#ifndef BHYVE_MACHINE_H
#define BHYVE_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>

#include <vmmapi.h>

#include "base/config.h"
#include "base/err.h"
#include "bhyve/msr.h"
#include "bhyve/topology.h"

struct board;
struct loop;
struct machine;

struct cpu {
	struct machine *machine;
	struct vcpu *vcpu;
	pthread_t thread;
	bool started;
};

struct machine {
	struct config *config;
	struct loop *loop;
	struct vmctx *ctx;
	struct board *board;
	const char *name;
	bool created;          /* by this process, in this run */
	atomic_bool destroyed; /* by somebody else, while it ran */
	atomic_bool ran;       /* a vCPU did */

	struct topology topology;
	struct cpu cpu[VM_MAXCPU];

	/* x86.* of bhyve_config(5). */
	bool strict_io;
	bool strict_msr;
	bool verbose_msr;
	bool mux;                   /* vcpu.mux */
	enum msr_vendor msr_vendor; /* of the host's CPUs */

	/* How the VM ended: the first cause wins. */
	pthread_mutex_t lock;
	int status;       /* -1 while it runs */
	char *last_words; /* for stderr, once the terminal is given back */
	unsigned int running;
	atomic_uint log_lines;
};

/*
 * Opens or makes the VM that config describes, loads its kernel, makes its
 * devices and writes its tables. 0, or -errno with a line in err, the exit
 * status in *status and nothing half made left behind.
 */
int machine_create(struct config *config, struct loop *loop,
		   struct machine **out, int *status, struct err *err);

/* Gives back the terminal and the VM, which is destroyed when destroy. */
void machine_destroy(struct machine *machine, bool destroy);

/*
 * Starts the CPUs, serves the loop until all have stopped, and joins them.
 * The exit status; a report of what went wrong is then in last_words.
 */
int machine_run(struct machine *machine, struct err *err);

/* For a thread of the machine: a line on stderr. Their number is bounded. */
void machine_log(struct machine *machine, const char *fmt, ...) __printf(2, 3);

/*
 * The VM ends with status, unless it has ended already. report may be NULL,
 * or text that is printed as it is once the terminal is given back. machine_end
 * stops the VM, machine_ended is for one that has stopped. Any thread.
 */
void machine_end(struct machine *machine, int status, const char *report);
void machine_ended(struct machine *machine, int status, const char *report);

#endif
