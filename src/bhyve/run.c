// SPDX-License-Identifier: BSD-2-Clause
/*
 * Running a machine: one thread per CPU, the loop on the main thread, and how
 * it all ends. A CPU's thread ends when the VM was suspended (vm_suspend);
 * the last one stops the loop.
 */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "backend/loop.h"
#include "bhyve/dump.h"
#include "bhyve/machine.h"
#include "bhyve/signals.h"
#include "bhyve/status.h"
#include "bhyve/vmexit.h"

#define MAX_LOG_LINES 200 /* what the guest can make us say */

void machine_log(struct machine *m, const char *fmt, ...)
{
	unsigned int line = atomic_fetch_add(&m->log_lines, 1);
	char text[512];
	va_list args;

	if (line > MAX_LOG_LINES) {
		atomic_store(&m->log_lines, MAX_LOG_LINES + 1);
		return;
	}
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (line == MAX_LOG_LINES)
		snprintf(text, sizeof(text), "no further messages");
	/* The terminal may be in raw mode, where a line feed is only that. */
	fprintf(stderr, "bhyve: %s: %s%s\n", m->name, text,
		isatty(STDERR_FILENO) ? "\r" : "");
}

void machine_ended(struct machine *m, int status, const char *report)
{
	pthread_mutex_lock(&m->lock);
	if (m->status == -1) {
		m->status = status;
		m->last_words = report != NULL ? strdup(report) : NULL;
	}
	pthread_mutex_unlock(&m->lock);
}

void machine_end(struct machine *m, int status, const char *report)
{
	machine_ended(m, status, report);
	/* Fails when the VM is ending already, which is as well. */
	vm_suspend(m->ctx, VM_SUSPEND_POWEROFF);
}

/* -- a CPU's thread ------------------------------------------------------ */

static void pin(struct cpu *cpu)
{
	int id = vcpu_id(cpu->vcpu);
	int error = 0;
	cpu_set_t set;
	bool pinned;

	if (pinning_read(cpu->machine->config, (unsigned int)id, &set, &pinned,
			 NULL) == 0 &&
	    pinned)
		error = pthread_setaffinity_np(cpu->thread, sizeof(set), &set);
	if (error != 0)
		machine_log(cpu->machine, "vcpu %d cannot be pinned: %s", id,
			    strerror(error));
}

/*
 * vm_run refused. When another process runs the VM, it is not ours to stop.
 * When the engine gave up in the middle (EIO), the registers say where.
 */
static void run_failed(struct cpu *cpu, int error)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	char line[600], *report = NULL;

	snprintf(line, sizeof(line), "vcpu %d does not run: %s",
		 vcpu_id(cpu->vcpu), vm_error_text());
	if (error == EIO) {
		vm_get_register(cpu->vcpu, VM_REG_GUEST_RIP, &exit.rip);
		report = dump_exit(cpu->vcpu, &exit, line);
	} else if (asprintf(&report, "bhyve: %s\n", line) < 0) {
		report = NULL;
	}
	if (error == EBUSY)
		machine_ended(cpu->machine, STATUS_ERROR, report);
	else
		machine_end(cpu->machine, STATUS_ERROR, report);
	free(report);
}

static void vm_loop(struct cpu *cpu)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};

	do {
		if (vm_run(cpu->vcpu, &run) != 0) {
			run_failed(cpu, errno);
			return;
		}
		atomic_store_explicit(&cpu->machine->ran, true,
				      memory_order_relaxed);
	} while (vmexit_handle(cpu, &exit) == VMEXIT_CONTINUE);
}

/* -- all CPUs on one thread ---------------------------------------------- */

#define SLICE_NS 2000000ull
#define WAIT_NS  1000000ull /* an engine may idle without telling */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

enum turn { TURN_STOPPED, TURN_IDLE, TURN_OVER };

/* One CPU's slice, with all exits in it. */
static enum turn take_turn(struct cpu *cpu, struct vm_exit *exit)
{
	uint64_t end = now_ns() + SLICE_NS, now;
	struct vm_run run = {.vm_exit = exit};

	while ((now = now_ns()) < end) {
		run.slice_ns = end - now;
		if (vm_run(cpu->vcpu, &run) != 0) {
			run_failed(cpu, errno);
			return TURN_STOPPED;
		}
		atomic_store_explicit(&cpu->machine->ran, true,
				      memory_order_relaxed);
		if (run.idle)
			return TURN_IDLE;
		if (vmexit_handle(cpu, exit) != VMEXIT_CONTINUE)
			return TURN_STOPPED;
	}
	return TURN_OVER;
}

static void mux_loop(struct machine *m)
{
	struct vm_exit exit[VM_MAXCPU];
	bool stopped[VM_MAXCPU] = {false};
	unsigned int live = m->topology.cpus, busy;

	for (unsigned int i = 0; i < VM_MAXCPU; i++)
		exit[i] = (struct vm_exit){.exitcode = VM_EXITCODE_BOGUS};
	while (live > 0) {
		busy = 0;
		for (unsigned int i = 0; i < m->topology.cpus; i++) {
			enum turn turn;

			if (stopped[i])
				continue;
			turn = take_turn(&m->cpu[i], &exit[i]);
			stopped[i] = turn == TURN_STOPPED;
			live -= stopped[i];
			busy += turn != TURN_IDLE;
		}
		if (busy == 0)
			vm_wait(m->ctx, WAIT_NS);
	}
}

static void one_stopped(struct machine *m, unsigned int count)
{
	bool last;

	pthread_mutex_lock(&m->lock);
	m->running -= count;
	last = m->running == 0;
	pthread_mutex_unlock(&m->lock);
	if (last)
		loop_stop(m->loop);
}

/* vm_run with a stack for the library's handler of SIGBUS. */
static void run_on_stacks(struct cpu *cpu)
{
	size_t size = (size_t)MAX(sysconf(_SC_SIGSTKSZ), 64 * 1024);
	stack_t stack = {.ss_size = size, .ss_sp = malloc(size)}, before;

	if (stack.ss_sp != NULL && sigaltstack(&stack, &before) == 0) {
		if (cpu->machine->mux)
			mux_loop(cpu->machine);
		else
			vm_loop(cpu);
		/* A sanitizer's, which it wants to find there. */
		sigaltstack(&before, NULL);
	} else
		run_failed(cpu, ENOMEM);
	free(stack.ss_sp);
}

static void *cpu_main(void *arg)
{
	struct cpu *cpu = arg;
	char name[16];

	snprintf(name, sizeof(name), "vcpu %d", vcpu_id(cpu->vcpu));
	pthread_setname_np(pthread_self(), name);
	run_on_stacks(cpu);
	one_stopped(cpu->machine,
		    cpu->machine->mux ? cpu->machine->topology.cpus : 1);
	return NULL;
}

/* -- all of them --------------------------------------------------------- */

/* All signals blocked but those that a thread causes itself. */
static void block_signals(sigset_t *before)
{
	static const int synchronous[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL,
					  SIGTRAP};
	sigset_t set;

	sigfillset(&set);
	for (size_t i = 0; i < ARRAY_SIZE(synchronous); i++)
		sigdelset(&set, synchronous[i]);
	pthread_sigmask(SIG_SETMASK, &set, before);
}

static void start_threads(struct machine *m)
{
	unsigned int cpus = m->topology.cpus, i;
	sigset_t before;

	m->running = cpus;
	block_signals(&before);
	for (i = 0; i < (m->mux ? 1 : cpus); i++) {
		struct cpu *cpu = &m->cpu[i];

		if (pthread_create(&cpu->thread, NULL, cpu_main, cpu) != 0)
			break;
		cpu->started = true;
		pin(cpu);
	}
	if (m->mux && i == 1)
		i = cpus; /* all of them are there */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (i < cpus) {
		machine_end(m, STATUS_ERROR,
			    "bhyve: no more threads for the VM's CPUs\n");
		one_stopped(m, cpus - i);
	}
}

static int activate_cpus(struct machine *m, struct err *err)
{
	for (unsigned int i = 0; i < m->topology.cpus; i++) {
		if (vm_activate_cpu(m->cpu[i].vcpu) == 0)
			continue;
		if (errno == EBUSY)
			return err_set(err, EBUSY,
				       "%s: has run before: destroy and load "
				       "it again",
				       m->name);
		return err_set(err, errno, "%s: vcpu %u: %s", m->name, i,
			       vm_error_text());
	}
	return 0;
}

/* The host has no more memory for the guest. */
static void on_memory_loss(void *arg, uint32_t events)
{
	struct machine *m = arg;
	char report[600];
	uint64_t count;

	if (read(vm_memory_loss_fd(m->ctx), &count, sizeof(count)) !=
		sizeof(count) ||
	    !vm_memory_lost(m->ctx))
		return;
	snprintf(report, sizeof(report), "bhyve: %s\n", vm_error_text());
	machine_end(m, STATUS_ERROR, report);
}

static int watch_memory(struct machine *m, struct loop_source **out,
			struct err *err)
{
	int fd = vm_memory_loss_fd(m->ctx);

	*out =
	    fd < 0 ? NULL : loop_add(m->loop, fd, EPOLLIN, on_memory_loss, m);
	return *out != NULL ? 0 : err_sys(err, errno, "%s: eventfd", m->name);
}

int machine_run(struct machine *m, struct err *err)
{
	struct loop_source *memory = NULL;
	struct signals *signals;
	int error;

	error = activate_cpus(m, err);
	if (error == 0)
		error = watch_memory(m, &memory, err);
	if (error == 0)
		error = signals_open(m, &signals, err);
	if (error != 0) {
		if (memory != NULL)
			loop_remove(memory);
		return error;
	}
	start_threads(m);
	error = loop_run(m->loop);
	if (error != 0)
		machine_end(m, STATUS_ERROR, "bhyve: the event loop failed\n");
	for (unsigned int i = 0; i < m->topology.cpus; i++) {
		if (m->cpu[i].started)
			pthread_join(m->cpu[i].thread, NULL);
	}
	signals_close(signals);
	loop_remove(memory);
	return 0;
}
