/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What exits must look like, by the table of exits in docs/door.md. The
 * payload announces the exits that its next instructions will cause; each
 * that comes is compared, with where RIP stands before it is answered.
 *
 * HOST_EXPECT: a[0] exit code, a[1] rip, a[2] length, a[3] RIP as read at the
 * exit, a[4] to a[6] by code:
 *	INOUT		port | bytes << 16 | in << 24 | string << 25 | rep <<
 *26, value of an OUT INST_EMUL	gpa, bytes | write << 8, value of a write RDMSR,
 *WRMSR	code, value of a WRMSR HLT		rflags
 */
#include "runner.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXPECTATIONS 64

#define MASK_NO_STRING (~(3ull << 25))

struct expectations {
	uint64_t a[EXPECTATIONS][7];
	unsigned first, count;
};

static const char *const code_name[VM_EXITCODE_MAX] = {
    [VM_EXITCODE_INOUT] = "INOUT",         [VM_EXITCODE_RDMSR] = "RDMSR",
    [VM_EXITCODE_WRMSR] = "WRMSR",         [VM_EXITCODE_HLT] = "HLT",
    [VM_EXITCODE_MTRAP] = "MTRAP",         [VM_EXITCODE_PAUSE] = "PAUSE",
    [VM_EXITCODE_INST_EMUL] = "INST_EMUL", [VM_EXITCODE_BPT] = "BPT",
};

struct expectations *expectations_new(void)
{
	return calloc(1, sizeof(struct expectations));
}

void expectations_free(struct expectations *e)
{
	free(e);
}

void expectation_add(struct machine *m, const struct host_call *call)
{
	struct expectations *e = m->expect;

	if (e->count < EXPECTATIONS)
		memcpy(e->a[(e->first + e->count++) % EXPECTATIONS], call->a,
		       sizeof(call->a));
}

int64_t expectations_left(struct machine *m)
{
	return m->expect->count;
}

void expectations_forget(struct expectations *e)
{
	e->first = e->count = 0;
}

static void same(struct machine *m, const char *exit, const char *what,
		 uint64_t got, uint64_t want)
{
	if (got == want)
		tap_check(m, true, "%s: %s", exit, what);
	else
		tap_check(m, false, "%s: %s: got %#llx, want %#llx", exit, what,
			  (unsigned long long)got, (unsigned long long)want);
}

/* Length 0 and gla 0: the engine does not know, which KVM never does. */
static bool is_unknown(struct machine *m, uint64_t value)
{
	return value == 0 && (m->engine_is & HOST_IS_KVM) != 0;
}

static void judge_details(struct machine *m, const char *name,
			  const struct vm_exit *exit, const uint64_t a[7])
{
	const struct vm_inout *io = &exit->u.inout;
	const struct vm_inst_emul *e = &exit->u.inst_emul;

	switch (exit->exitcode) {
	case VM_EXITCODE_INOUT:
		same(m, name, "port, size, direction, string, rep",
		     io->port | (uint64_t)io->bytes << 16 |
			 (uint64_t)io->in << 24 | (uint64_t)io->string << 25 |
			 (uint64_t)io->rep << 26,
		     is_unknown(m, io->string) ? a[4] & MASK_NO_STRING : a[4]);
		if (!io->in)
			same(m, name, "value", io->eax, a[5]);
		break;
	case VM_EXITCODE_INST_EMUL:
		same(m, name, "gpa", e->gpa, a[4]);
		if (!is_unknown(m, e->gla))
			same(m, name, "gla", e->gla, a[4]);
		same(m, name, "size and direction",
		     e->bytes | (uint64_t)e->write << 8, a[5]);
		if (e->write)
			same(m, name, "value", e->data, a[6]);
		break;
	case VM_EXITCODE_RDMSR:
	case VM_EXITCODE_WRMSR:
		same(m, name, "code", exit->u.msr.code, a[4]);
		if (exit->exitcode == VM_EXITCODE_WRMSR)
			same(m, name, "value", exit->u.msr.wval, a[5]);
		break;
	case VM_EXITCODE_HLT:
		same(m, name, "rflags", exit->u.hlt.rflags, a[4]);
		break;
	default:
		break;
	}
}

/* The payload's own talk with the runner announces nothing. */
static bool is_talk(const struct vm_exit *exit)
{
	return exit->exitcode == VM_EXITCODE_INOUT && !exit->u.inout.in &&
	       exit->u.inout.port < PORT_TEST;
}

/* An engine that does not know the length may have left RIP behind it. */
static void at_or_past(struct machine *m, const char *exit, const char *what,
		       uint64_t got, const uint64_t a[7])
{
	tap_check(m, got == a[1] || got == a[1] + a[2],
		  "%s: %s: at the instruction, or past it", exit, what);
}

void exit_judge(struct machine *m, struct vcpu *vcpu,
		const struct vm_exit *exit)
{
	struct expectations *e = m->expect;
	const uint64_t *a = e->a[e->first];
	const char *name;
	uint64_t rip = 0;

	if (vcpu_id(vcpu) != 0 || e->count == 0 || is_talk(exit) ||
	    exit->exitcode == VM_EXITCODE_REQIDLE)
		return;
	name = code_name[exit->exitcode];
	if (name == NULL)
		name = "an exit";
	same(m, name, "code", exit->exitcode, a[0]);
	vm_get_register(vcpu, VM_REG_GUEST_RIP, &rip);
	if (a[2] != 0 && is_unknown(m, (uint64_t)exit->inst_length)) {
		at_or_past(m, name, "rip", exit->rip, a);
		at_or_past(m, name, "RIP as read at the exit", rip, a);
	} else {
		same(m, name, "rip", exit->rip, a[1]);
		same(m, name, "inst_length", (uint64_t)exit->inst_length, a[2]);
		same(m, name, "RIP as read at the exit", rip, a[3]);
	}
	judge_details(m, name, exit, a);
	e->first = (e->first + 1) % EXPECTATIONS;
	e->count--;
}

/* -- two threads, one vCPU --------------------------------------------------
 */

static bool wait_debug_exits(struct machine *m, unsigned count)
{
	const struct timespec tick = {.tv_nsec = 1000000};

	for (unsigned n = 0; n < 20000; n++) {
		if (m->debug_exits[1] >= count)
			return true;
		nanosleep(&tick, NULL);
	}
	return false;
}

/* vCPU 1 runs a loop in the guest. */
int64_t check_busy(struct machine *m, struct vcpu *vcpu)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};
	uint64_t rip = 0, again = 0;
	cpuset_t cpus;

	if (m->cpus < 2)
		return -EINVAL;
	errno = 0;
	tap_check(m, vm_run(m->vcpu[1], &run) == -1 && errno == EBUSY,
		  "vm_run of a vCPU that another thread runs: EBUSY");
	tap_check(m,
		  vm_get_register(m->vcpu[1], VM_REG_GUEST_RIP, &rip) == 0 &&
		      rip >= LOAD_ADDRESS,
		  "a running vCPU's register can be read");
	tap_check(m, vm_suspend_cpu(m->vcpu[1]) == 0 && wait_debug_exits(m, 1),
		  "vm_suspend_cpu: one DEBUG exit");
	vm_get_register(m->vcpu[1], VM_REG_GUEST_RIP, &rip);
	vm_get_register(m->vcpu[1], VM_REG_GUEST_RIP, &again);
	tap_check(m, rip == again, "a suspended vCPU stands still");
	tap_check(m, vm_debug_cpus(m->ctx, &cpus) == 0 && CPU_ISSET(1, &cpus),
		  "vm_debug_cpus says so");
	tap_check(m, m->debug_exits[1] == 1, "there was only one DEBUG exit");
	tap_check(m, vm_resume_cpu(m->vcpu[1]) == 0, "vm_resume_cpu");
	errno = 0;
	tap_check(m, vm_resume_cpu(m->vcpu[1]) == -1 && errno == EINVAL,
		  "vm_resume_cpu of one that is not suspended: EINVAL");
	return 0;
}
