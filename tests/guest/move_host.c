/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Moving a VM to the other engine while it runs: every vCPU leaves vm_run,
 * the VM is closed, which saves it, and opened again for another engine.
 */
#include "runner.h"

#include <stdio.h>
#include <string.h>

/* On a vCPU's own thread, after each exit: waits while the VM moves. */
void move_park(struct machine *m, unsigned cpu, const struct vm_exit *exit)
{
	if (cpu == 0 || exit->exitcode != VM_EXITCODE_DEBUG)
		return;
	pthread_mutex_lock(&m->move_lock);
	if (m->moving) {
		unsigned before = m->moves;

		m->parked++;
		pthread_cond_broadcast(&m->move_wake);
		while (m->moves == before)
			pthread_cond_wait(&m->move_wake, &m->move_lock);
	}
	pthread_mutex_unlock(&m->move_lock);
}

static bool park_others(struct machine *m)
{
	pthread_mutex_lock(&m->move_lock);
	m->moving = true;
	m->parked = 0;
	pthread_mutex_unlock(&m->move_lock);
	for (unsigned n = 1; n < m->cpus; n++)
		if (vm_suspend_cpu(m->vcpu[n]) != 0)
			return false;
	pthread_mutex_lock(&m->move_lock);
	while (m->parked != m->cpus - 1)
		pthread_cond_wait(&m->move_wake, &m->move_lock);
	pthread_mutex_unlock(&m->move_lock);
	return true;
}

static bool reopen(struct machine *m, const char *engine)
{
	const char *now;

	for (unsigned n = 0; n < m->cpus; n++)
		vm_vcpu_close(m->vcpu[n]);
	vm_close(m->ctx);
	if (vm_set_option("engine", engine) != 0)
		return false;
	m->ctx = vm_open("t");
	if (m->ctx == NULL)
		return false;
	for (unsigned n = 0; n < m->cpus; n++) {
		m->vcpu[n] = vm_vcpu_open(m->ctx, (int)n);
		if (m->vcpu[n] == NULL)
			return false;
	}
	now = vm_get_engine(m->ctx, NULL);
	return now != NULL && strcmp(now, engine) == 0;
}

bool move_to(struct machine *m, const char *engine)
{
	if (!park_others(m) || !reopen(m, engine))
		return false;
	for (unsigned n = 1; n < m->cpus; n++)
		if (vm_resume_cpu(m->vcpu[n]) != 0)
			return false;
	pthread_mutex_lock(&m->move_lock);
	m->moving = false;
	m->moves++;
	pthread_cond_broadcast(&m->move_wake);
	pthread_mutex_unlock(&m->move_lock);
	return true;
}
