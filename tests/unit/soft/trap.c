// SPDX-License-Identifier: BSD-2-Clause
/* CPU exceptions, by the signals that they become. */
#include "trap.h"

#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <ucontext.h>

static void (*take)(const struct trap *trap);

static void on_signal(int signal, siginfo_t *info, void *context)
{
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
				      REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				      REG_R8,  REG_R9,  REG_R10, REG_R11,
				      REG_R12, REG_R13, REG_R14, REG_R15};
	const mcontext_t *m = &((const ucontext_t *)context)->uc_mcontext;
	struct trap trap = {
	    .rflags = (uint64_t)m->gregs[REG_EFL],
	    .cr2 = (uint64_t)m->gregs[REG_CR2],
	    .vector = (int)m->gregs[REG_TRAPNO],
	    .fp = (const uint8_t *)m->fpregs,
	};

	for (unsigned k = 0; k < 16; k++)
		trap.gpr[k] = (uint64_t)m->gregs[order[k]];
	take(&trap);
	abort();
}

void trap_install(void (*taker)(const struct trap *trap))
{
	static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS};
	struct sigaction action = {.sa_flags = SA_SIGINFO};

	take = taker;
	action.sa_sigaction = on_signal;
	for (unsigned k = 0; k < sizeof(signals) / sizeof(signals[0]); k++) {
		if (taker)
			sigaction(signals[k], &action, NULL);
		else
			signal(signals[k], SIG_DFL);
	}
}
