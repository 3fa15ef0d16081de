// SPDX-License-Identifier: BSD-2-Clause
#include "host.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <ucontext.h>

/*
 * Registers to load, at an address that an instruction can name without a
 * register: 16 registers, RFLAGS, RIP.
 */
#define ENTRY     0x0ff00000u
#define ENTRY_STR "0x0ff00000"

void host_enter(void);
__asm__(".text\n.type host_enter, @function\nhost_enter:\n"
	"pushq " ENTRY_STR "+128\n"
	"popfq\n"
	"mov " ENTRY_STR "+0, %rax\n"
	"mov " ENTRY_STR "+8, %rcx\n"
	"mov " ENTRY_STR "+16, %rdx\n"
	"mov " ENTRY_STR "+24, %rbx\n"
	"mov " ENTRY_STR "+32, %rsp\n"
	"mov " ENTRY_STR "+40, %rbp\n"
	"mov " ENTRY_STR "+48, %rsi\n"
	"mov " ENTRY_STR "+56, %rdi\n"
	"mov " ENTRY_STR "+64, %r8\n"
	"mov " ENTRY_STR "+72, %r9\n"
	"mov " ENTRY_STR "+80, %r10\n"
	"mov " ENTRY_STR "+88, %r11\n"
	"mov " ENTRY_STR "+96, %r12\n"
	"mov " ENTRY_STR "+104, %r13\n"
	"mov " ENTRY_STR "+112, %r14\n"
	"mov " ENTRY_STR "+120, %r15\n"
	"jmp *" ENTRY_STR "+136\n");

/* The run under way, for the signal handler. */
static struct {
	struct outcome *out;
	sigjmp_buf escape;
} now;

static void on_signal(int signal, siginfo_t *info, void *context)
{
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
				      REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				      REG_R8,  REG_R9,  REG_R10, REG_R11,
				      REG_R12, REG_R13, REG_R14, REG_R15};
	const mcontext_t *m = &((const ucontext_t *)context)->uc_mcontext;
	struct outcome *out = now.out;

	if (out == NULL) { /* not the host's run: a crash of the engine */
		fprintf(stderr, "signal %d at %llx, address %p\n", signal,
			(unsigned long long)m->gregs[REG_RIP], info->si_addr);
		abort();
	}
	for (unsigned k = 0; k < 16; k++)
		out->gpr[k] = (uint64_t)m->gregs[order[k]];
	out->rip = (uint64_t)m->gregs[REG_RIP];
	out->rflags = (uint64_t)m->gregs[REG_EFL];
	out->cr2 = (uint64_t)m->gregs[REG_CR2];
	out->error = (uint64_t)m->gregs[REG_ERR];
	out->vector = (int)m->gregs[REG_TRAPNO];
	siglongjmp(now.escape, 1);
}

int host_create(void)
{
	static const int signals[] = {SIGFPE, SIGSEGV, SIGILL, SIGBUS, SIGTRAP};
	struct sigaction action = {.sa_flags = SA_SIGINFO | SA_ONSTACK};
	stack_t stack = {.ss_size = 65536, .ss_sp = malloc(65536)};

	if (stack.ss_sp == NULL || sigaltstack(&stack, NULL) != 0)
		return -ENOMEM;
	if (mmap((void *)(uintptr_t)ENTRY, 4096, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1,
		 0) == MAP_FAILED)
		return -errno;
	action.sa_sigaction = on_signal;
	for (unsigned k = 0; k < sizeof(signals) / sizeof(signals[0]); k++)
		sigaction(signals[k], &action, NULL);
	return 0;
}

void host_run(const uint64_t gpr[16], uint64_t rflags, uint64_t rip,
	      struct outcome *out)
{
	uint64_t *entry = (uint64_t *)(uintptr_t)ENTRY;

	memcpy(entry, gpr, 16 * sizeof(*gpr));
	entry[16] = rflags;
	entry[17] = rip;
	now.out = out;
	if (sigsetjmp(now.escape, 1) == 0)
		host_enter();
	now.out = NULL;
}

void host_ticks(unsigned us, void (*tick)(int signal), bool alternate)
{
	struct sigaction action = {.sa_handler = tick, .sa_flags = SA_RESTART};
	struct itimerval timer = {{0, us}, {0, us}};

	if (alternate)
		action.sa_flags |= SA_ONSTACK;
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}
