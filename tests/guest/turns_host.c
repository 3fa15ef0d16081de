/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All vCPUs on one thread, in slices; and a storm of calls from another handle
 * of the VM, which come in through its control socket as bhyvectl's do.
 */
#include "runner.h"

#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

#define SLICE_NS 200000

/* -- by turns ---------------------------------------------------------------
 */

void turns_run(struct machine *m)
{
	struct vm_exit exit[VM_MAXCPU];
	bool done[VM_MAXCPU] = {false};
	unsigned live = m->cpus, busy;

	for (unsigned n = 0; n < m->cpus; n++)
		exit[n] = (struct vm_exit){.exitcode = VM_EXITCODE_BOGUS};
	while (live > 0) {
		busy = 0;
		for (unsigned n = 0; n < m->cpus; n++) {
			struct vm_run run = {.vm_exit = &exit[n],
					     .slice_ns = SLICE_NS};

			if (done[n])
				continue;
			if (vm_run(m->vcpu[n], &run) != 0) {
				if (run_escapes(m, m->vcpu[n])) {
					exit[n].exitcode = VM_EXITCODE_BOGUS;
					busy++;
					continue;
				}
				tap_check(m, false, "vm_run: %s",
					  vm_error_text());
				return;
			}
			busy += !run.idle;
			done[n] = turn_done(m, m->vcpu[n], &exit[n]);
			live -= done[n];
		}
		if (busy == 0)
			vm_wait(m->ctx, 1000000);
	}
}

/* -- the storm ---------------------------------------------------------------
 */

struct storm {
	struct machine *m;
	struct vmctx *ctx;
	struct vcpu *vcpu[VM_MAXCPU];
	unsigned failed;
};

static void suspend_and_resume(struct storm *s, struct vcpu *vcpu)
{
	if (vm_suspend_cpu(vcpu) != 0)
		s->failed++;
	if (rand() % 2 != 0)
		sched_yield();
	if (vm_resume_cpu(vcpu) != 0)
		s->failed++;
}

static void look(struct storm *s, struct vcpu *vcpu)
{
	uint64_t value;

	if (vm_get_register(vcpu, VM_REG_GUEST_RIP, &value) != 0 ||
	    vm_get_register(vcpu, VM_REG_GUEST_CR3, &value) != 0 ||
	    vm_set_register(vcpu, VM_REG_GUEST_CR2, 0) != 0)
		s->failed++;
}

static void all_at_once(struct storm *s)
{
	if (vm_suspend_all_cpus(s->ctx) != 0 || vm_resume_all_cpus(s->ctx) != 0)
		s->failed++;
}

/* One of our threads goes to one of the host's CPUs, or wherever it likes. */
static void pin_somebody(struct storm *s)
{
	DIR *dir = opendir("/proc/self/task");
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	struct dirent *entry;
	cpu_set_t set;

	CPU_ZERO(&set);
	for (long n = 0; n < cpus; n++)
		if (rand() % 2 != 0 || n == 0)
			CPU_SET(n, &set);
	while (dir != NULL && (entry = readdir(dir)) != NULL)
		if (rand() % 3 == 0)
			sched_setaffinity(atoi(entry->d_name), sizeof(set),
					  &set);
	if (dir != NULL)
		closedir(dir);
}

static void one_call(struct storm *s)
{
	struct vcpu *vcpu = s->vcpu[(unsigned)rand() % s->m->cpus];
	cpuset_t cpus;

	switch (rand() % 9) {
	case 0:
	case 1:
		suspend_and_resume(s, vcpu);
		break;
	case 2:
	case 3:
		look(s, vcpu);
		break;
	case 4:
		s->failed += vm_inject_nmi(vcpu) != 0;
		break;
	case 5:
		s->failed += vm_lapic_irq(vcpu, STORM_VECTOR) != 0;
		break;
	case 6:
		all_at_once(s);
		break;
	case 7:
		pin_somebody(s);
		break;
	default:
		s->failed += vm_active_cpus(s->ctx, &cpus) != 0;
	}
}

/* An NMI without an IDT would be the end. */
static void wait_for_payload(struct machine *m)
{
	bool ready = false;

	while (!ready) {
		usleep(1000);
		pthread_mutex_lock(&m->lock);
		ready = m->port[9] != 0;
		pthread_mutex_unlock(&m->lock);
	}
}

static void *storm(void *arg)
{
	struct storm *s = arg;
	struct machine *m = s->m;

	wait_for_payload(m);
	for (unsigned n = 0; n < m->storm; n++)
		one_call(s);
	tap_check(m, s->failed == 0, "%u calls from outside: %u failed",
		  m->storm, s->failed);
	for (unsigned n = 0; n < m->cpus; n++)
		vm_vcpu_close(s->vcpu[n]);
	vm_close(s->ctx);
	pthread_mutex_lock(&m->lock);
	m->port[8] = 1; /* the payload may end */
	pthread_mutex_unlock(&m->lock);
	free(s);
	return NULL;
}

pthread_t storm_start(struct machine *m)
{
	struct storm *s = calloc(1, sizeof(*s));
	pthread_t thread = {0};

	if (s == NULL)
		abort();
	s->m = m;
	s->ctx = vm_open("t");
	if (s->ctx == NULL)
		abort();
	for (unsigned n = 0; n < m->cpus; n++)
		s->vcpu[n] = vm_vcpu_open(s->ctx, (int)n);
	if (pthread_create(&thread, NULL, storm, s) != 0)
		abort();
	return thread;
}
