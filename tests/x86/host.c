// SPDX-License-Identifier: BSD-2-Clause
#include "host.h"

#include <asm/ldt.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "x86/cr.h"
#include "x86/exc.h"

/*
 * Registers to load, at an address that an instruction can name without a
 * register: 16 registers, RFLAGS, RIP, then segments.
 */
#define ENTRY     0x0ff00000u
#define ENTRY_STR "0x0ff00000"

#define LOAD_ALL_BUT_RSP                                                       \
	"mov " ENTRY_STR "+0, %rax\n"                                          \
	"mov " ENTRY_STR "+8, %rcx\n"                                          \
	"mov " ENTRY_STR "+16, %rdx\n"                                         \
	"mov " ENTRY_STR "+24, %rbx\n"                                         \
	"mov " ENTRY_STR "+40, %rbp\n"                                         \
	"mov " ENTRY_STR "+48, %rsi\n"                                         \
	"mov " ENTRY_STR "+56, %rdi\n"                                         \
	"mov " ENTRY_STR "+64, %r8\n"                                          \
	"mov " ENTRY_STR "+72, %r9\n"                                          \
	"mov " ENTRY_STR "+80, %r10\n"                                         \
	"mov " ENTRY_STR "+88, %r11\n"                                         \
	"mov " ENTRY_STR "+96, %r12\n"                                         \
	"mov " ENTRY_STR "+104, %r13\n"                                        \
	"mov " ENTRY_STR "+112, %r14\n"                                        \
	"mov " ENTRY_STR "+120, %r15\n"

void host_enter(void);
__asm__(".text\n.type host_enter, @function\nhost_enter:\n"
	"pushq " ENTRY_STR "+128\n"
	"popfq\n" LOAD_ALL_BUT_RSP "mov " ENTRY_STR "+32, %rsp\n"
	"jmp *" ENTRY_STR "+136\n");

/* With its segments: EIP and CS are a far pointer. */
void host_enter_legacy(void);
__asm__(".text\n.type host_enter_legacy, @function\nhost_enter_legacy:\n"
	"pushq " ENTRY_STR "+128\n"
	"popfq\n"
	"mov " ENTRY_STR "+144, %ds\n"
	"mov " ENTRY_STR "+144, %gs\n"
	"mov " ENTRY_STR "+146, %es\n" LOAD_ALL_BUT_RSP "mov " ENTRY_STR
	"+148, %ss\n"
	"mov " ENTRY_STR "+32, %rsp\n"
	"ljmpl *" ENTRY_STR "+136\n");

struct entry {
	uint64_t gpr[16], rflags;
	uint32_t rip;
	uint16_t cs, pad; /* or all 64 bits of rip */
	uint16_t ds, es, ss;
};

/* The run under way, for the signal handler. */
static struct {
	struct outcome *out;
	sigjmp_buf escape;
	bool has_x87;
	uint8_t x87[512] __attribute__((aligned(16))); /* FXSAVE's format */
	bool (*on_trap)(uint64_t *rip, uint64_t rsp);
} now;

void host_set_x87(const void *image)
{
	__asm__ volatile("fxsave64 %0" : "=m"(now.x87));
	memcpy(now.x87, image, 24); /* not MXCSR */
	memcpy(now.x87 + 32, (const uint8_t *)image + 32, HOST_X87_BYTES - 32);
	now.has_x87 = true;
}

void host_x87(void *image)
{
	memcpy(image, now.x87, HOST_X87_BYTES);
	now.has_x87 = false;
}

/* As Linux starts a process: 64-bit code does not care, but it may return
   here by IRET from an interrupt. */
static void load_usual_segments(void)
{
	const uint16_t data = code_mode_64.ds, null = 0;

	__asm__ volatile("mov %0, %%ss\n"
			 "mov %1, %%ds\n"
			 "mov %1, %%es\n"
			 "mov %0, %%gs\n" /* its base: 0 */
			 "mov %1, %%gs"
			 :
			 : "r"(data), "r"(null));
}

static void on_signal(int signal, siginfo_t *info, void *context)
{
	static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX,
				      REG_RSP, REG_RBP, REG_RSI, REG_RDI,
				      REG_R8,  REG_R9,  REG_R10, REG_R11,
				      REG_R12, REG_R13, REG_R14, REG_R15};
	mcontext_t *m = &((ucontext_t *)context)->uc_mcontext;
	struct outcome *out = now.out;

	load_usual_segments();
	if (signal == SIGTRAP && now.on_trap != NULL) {
		uint64_t rip = (uint64_t)m->gregs[REG_RIP];
		bool steps = now.on_trap(&rip, (uint64_t)m->gregs[REG_RSP]);

		m->gregs[REG_RIP] = (greg_t)rip;
		m->gregs[REG_EFL] &= ~(greg_t)RFLAGS_TF;
		m->gregs[REG_EFL] |= steps ? RFLAGS_TF : 0;
		return;
	}
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
	memcpy(now.x87, m->fpregs, HOST_X87_BYTES);
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

void host_run(const struct code_mode *mode, const uint64_t gpr[16],
	      uint64_t rflags, uint64_t rip, struct outcome *out)
{
	struct entry *entry = (struct entry *)(uintptr_t)ENTRY;

	memcpy(entry->gpr, gpr, sizeof(entry->gpr));
	entry->rflags = rflags;
	entry->ds = mode->ds;
	entry->es = mode->es;
	entry->ss = mode->ss;
	entry->rip = (uint32_t)rip;
	entry->cs = mode->code_bytes == 8 ? (uint16_t)(rip >> 32) : mode->cs;
	entry->pad = (uint16_t)(rip >> 48);
	now.out = out;
	if (sigsetjmp(now.escape, 1) == 0) {
		if (now.has_x87)
			__asm__ volatile("fxrstor64 %0" : : "m"(now.x87));
		if (mode->code_bytes == 8)
			host_enter();
		else
			host_enter_legacy();
	}
	__asm__ volatile("fninit");
	now.out = NULL;
}

static int write_ldt(uint32_t base)
{
	for (unsigned n = 0; n < LDT_ENTRIES; n++) {
		const struct ldt_segment *s = &ldt_segments[n];
		struct user_desc d = {.entry_number = n,
				      .base_addr = base,
				      .limit = s->limit,
				      .seg_32bit = s->is_32bit,
				      .contents = s->code          ? 2
						  : s->expand_down ? 1
								   : 0,
				      .useable = 1};

		/* 0x11: write, in the newer form. */
		if (syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)) != 0)
			return -errno;
	}
	return 0;
}

/* Probed by HLT, which faults where it stands. */
bool host_has_mode(const struct code_mode *mode)
{
	uint64_t gpr[16] = {[4] = TEST_STACK + 0x1000 - mode->base};
	uint32_t first = TEST_FIRST - mode->base;
	struct outcome out = {0};

	if (code_mode_has_ldt(mode) && write_ldt(mode->base) != 0)
		return false;
	*(uint8_t *)(uintptr_t)TEST_FIRST = CODE_FILLER;
	host_run(mode, gpr, RFLAGS_ONE, first, &out);
	return out.rip == first && out.vector == X86_GP;
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

void host_traps(bool (*on_trap)(uint64_t *rip, uint64_t rsp))
{
	now.on_trap = on_trap;
}
