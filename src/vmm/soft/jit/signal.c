// SPDX-License-Identifier: BSD-2-Clause
/* SIGSEGV and SIGBUS: those of translated code are ours (fault.h). */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "base/bits.h"
#include "base/passon.h"
#include "vmm/soft/jit/fault.h"

/* Signal handlers belong to the process, so this must, too. */
#define WATCHED_MAX 256
static struct faults *_Atomic fault_watched[WATCHED_MAX];
static pthread_mutex_t fault_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction fault_before[2]; /* of SIGSEGV, SIGBUS */
static bool fault_taken;

static const struct faults *watched_at(uint64_t rip)
{
	for (unsigned n = 0; n < WATCHED_MAX; n++) {
		const struct faults *f = atomic_load(&fault_watched[n]);

		if (f != NULL &&
		    rip - (uint64_t)(uintptr_t)f->code < f->code_bytes)
			return f;
	}
	return NULL;
}

static void on_fault(int number, siginfo_t *info, void *context)
{
	greg_t *reg = ((ucontext_t *)context)->uc_mcontext.gregs;
	uint64_t rip = (uint64_t)reg[REG_RIP];
	const struct faults *f = info->si_code > 0 ? watched_at(rip) : NULL;
	const void *to = NULL;

	if (f != NULL)
		to = fault_piece(f, rip, (void *)(uintptr_t)reg[REG_RSP]);
	if (to != NULL)
		reg[REG_RIP] = (greg_t)(uintptr_t)to;
	else
		signal_pass_on(&fault_before[number == SIGBUS], number, info,
			       context);
}

static bool take(int number)
{
	struct sigaction action = {
	    .sa_sigaction = on_fault,
	    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART,
	};

	sigemptyset(&action.sa_mask);
	return sigaction(number, &action, &fault_before[number == SIGBUS]) == 0;
}

static bool reserve(uint64_t at, uint64_t bytes)
{
	void *want = (void *)(uintptr_t)at;
	void *p = mmap(want, bytes, PROT_NONE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			   MAP_FIXED_NOREPLACE,
		       -1, 0);

	if (p != MAP_FAILED && p != want) {
		munmap(p, bytes);
		errno = EEXIST;
	}
	return p == want;
}

/*
 * A guest's address whose bits from 47 on are not 0 leads by a window to one
 * with the same (window.c). Where the host has addresses of 57 bits, nothing
 * must ever be there.
 */
static bool take_high_addresses(void)
{
	const uint64_t from = BIT(47), to = BIT(56) - 4096;

	if (!reserve(from, 4096))
		return errno == ENOMEM; /* there are no such addresses */
	munmap((void *)(uintptr_t)from, 4096);
	return reserve(from, to - from);
}

void faults_watch(struct faults *f)
{
	pthread_mutex_lock(&fault_lock);
	if (!fault_taken)
		fault_taken =
		    take_high_addresses() && take(SIGSEGV) && take(SIGBUS);
	for (unsigned n = 0; n < WATCHED_MAX && fault_taken; n++) {
		if (atomic_load(&fault_watched[n]) != NULL)
			continue;
		f->is_watched = true;
		atomic_store(&fault_watched[n], f);
		break;
	}
	pthread_mutex_unlock(&fault_lock);
}

void faults_unwatch(struct faults *f)
{
	pthread_mutex_lock(&fault_lock);
	for (unsigned n = 0; n < WATCHED_MAX; n++)
		if (atomic_load(&fault_watched[n]) == f)
			atomic_store(&fault_watched[n], NULL);
	pthread_mutex_unlock(&fault_lock);
	f->is_watched = false;
}

void faults_unblock(struct faults *f)
{
	uint64_t self = (uint64_t)pthread_self();
	sigset_t set;

	if (f->thread == self || !f->is_watched)
		return;
	f->thread = self;
	sigemptyset(&set);
	sigaddset(&set, SIGSEGV);
	sigaddset(&set, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}
