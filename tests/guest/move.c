/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM that moves between the engines: registers, vector state, MSRs, pending
 * interrupts, timers, halted and waiting vCPUs are the same on the other side.
 */
#include "lib/guest.h"

#define VECTOR           0x60
#define MOVES            6
#define LVT_PERIODIC     BIT(17)
#define LVT_DEADLINE     BIT(18)
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_TSC_ADJUST   0x3b

static volatile uint32_t came[256];

static void on_irq(struct frame *frame)
{
	came[frame->vector]++;
	lapic_eoi();
}

static bool move(void)
{
	return host(HOST_MOVE, 0, 0, 0) == 0;
}

/* With interrupts on for a while. */
static void open_window(void)
{
	__asm__ volatile("sti" ::: "memory");
	for (unsigned n = 0; n < 2000; n++)
		pause_cpu();
	__asm__ volatile("cli" ::: "memory");
}

/* -- the CPU ----------------------------------------------------------------
 */

uint64_t gpr_in[15], gpr_out[15];
static uint8_t fx_in[512] __attribute__((aligned(16)));
static uint8_t fx_out[512] __attribute__((aligned(16)));
static volatile struct host_call move_call = {.fn = HOST_MOVE};

/* All registers but RSP across one OUT; RAX and RDX are the OUT's. */
static void registers(void)
{
	bool same = true;

	for (unsigned n = 0; n < 15; n++)
		gpr_in[n] = 0x0123456789abcdef * (n + 3);
	gpr_in[0] = (uint64_t)(uintptr_t)&move_call;
	gpr_in[3] = PORT_CALL;
	__asm__ volatile("push %%rbp\n\tpush %%rbx\n\t"
			 "movq $gpr_in, %%rax\n\t"
			 "mov 8(%%rax), %%rbx\n\tmov 16(%%rax), %%rcx\n\t"
			 "mov 24(%%rax), %%rdx\n\tmov 32(%%rax), %%rsi\n\t"
			 "mov 40(%%rax), %%rdi\n\tmov 48(%%rax), %%rbp\n\t"
			 "mov 56(%%rax), %%r8\n\tmov 64(%%rax), %%r9\n\t"
			 "mov 72(%%rax), %%r10\n\tmov 80(%%rax), %%r11\n\t"
			 "mov 88(%%rax), %%r12\n\tmov 96(%%rax), %%r13\n\t"
			 "mov 104(%%rax), %%r14\n\tmov 112(%%rax), %%r15\n\t"
			 "mov (%%rax), %%rax\n\t"
			 "outl %%eax, %%dx\n\t"
			 "mov %%rax, gpr_out\n\tmov %%rbx, gpr_out+8\n\t"
			 "mov %%rcx, gpr_out+16\n\tmov %%rdx, gpr_out+24\n\t"
			 "mov %%rsi, gpr_out+32\n\tmov %%rdi, gpr_out+40\n\t"
			 "mov %%rbp, gpr_out+48\n\tmov %%r8, gpr_out+56\n\t"
			 "mov %%r9, gpr_out+64\n\tmov %%r10, gpr_out+72\n\t"
			 "mov %%r11, gpr_out+80\n\tmov %%r12, gpr_out+88\n\t"
			 "mov %%r13, gpr_out+96\n\tmov %%r14, gpr_out+104\n\t"
			 "mov %%r15, gpr_out+112\n\t"
			 "pop %%rbx\n\tpop %%rbp" ::
			     : "rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9",
			       "r10", "r11", "r12", "r13", "r14", "r15",
			       "memory", "cc");
	for (unsigned n = 0; n < 15; n++)
		same &= gpr_in[n] == gpr_out[n];
	check(same, "general registers");
}

/* FXRSTOR and FXSAVE are also in KVM's emulator; XSAVE need not be. */
static void vectors(void)
{
	bool same = true;

	__asm__ volatile("fxsave %0" : "=m"(fx_in));
	for (unsigned n = 160; n < 160 + 256; n++)
		fx_in[n] = (uint8_t)(n * 7 + 1);
	for (unsigned n = 32; n < 160; n++)
		if (n % 16 < 10)
			fx_in[n] = (uint8_t)(n * 5 + 3);
	fx_in[4] = 0xff;  /* all of x87's registers are in use */
	fx_in[24] = 0x80; /* MXCSR: another rounding, all masked */
	fx_in[25] = 0x3f;
	__asm__ volatile("fxrstor %0" ::"m"(fx_in));
	check(move(), "a move with vector state");
	__asm__ volatile("fxsave %0" : "=m"(fx_out));
	for (unsigned n = 0; n < 2; n++)
		same &= fx_in[n] == fx_out[n];
	for (unsigned n = 24; n < 28; n++)
		same &= fx_in[n] == fx_out[n];
	for (unsigned n = 32; n < 160 + 256; n++)
		same &= fx_in[n] == fx_out[n] || (n < 160 && n % 16 >= 10);
	check(same, "x87 and XMM registers, FCW, MXCSR");
}

#define FS_BASE        0xc0000100
#define KERNEL_GS_BASE 0xc0000102

static const uint32_t msrs[] = {0xc0000081,
				0xc0000082,
				0xc0000083,
				0xc0000084,
				0x174,
				0x175,
				0x176,
				FS_BASE,
				KERNEL_GS_BASE,
				/* as it is: */ 0x277};
#define MSRS (sizeof(msrs) / sizeof(msrs[0]))

/*
 * KVM without hardware may let CPUID and RDTSC be the CPU's. Our leaf 7 has no
 * subleaves but 0.
 */
static bool cpuid_is_hosts, tsc_is_hosts;

static void find_out(void)
{
	uint64_t before = rdtsc();

	if (!(engine_is() & HOST_IS_EMULATED))
		return;
	cpuid_is_hosts = cpuid(7, 0).a != 0;
	wrmsr(MSR_TSC_ADJUST, 1ull << 41);
	tsc_is_hosts = rdtsc() - before < 1ull << 40;
	wrmsr(MSR_TSC_ADJUST, 0);
}

static void system_registers(void)
{
	uint64_t before[MSRS], cr0, cr2, cr3, cr4, dr0, dr7, v;
	struct regs4 c1 = cpuid(1, 0), c7 = cpuid(7, 0), now;
	bool same = true;

	for (unsigned n = 0; n < MSRS - 1; n++)
		wrmsr(msrs[n], 0x100000ull + 0x1000 * n);
	for (unsigned n = 0; n < MSRS; n++)
		before[n] = rdmsr(msrs[n]);
	WRITE_CR(2, 0x123456789000);
	cr0 = READ_CR(0);
	cr3 = READ_CR(3);
	cr4 = READ_CR(4);
	__asm__ volatile("mov %0, %%dr0" ::"r"(0x123456ull));
	__asm__ volatile("mov %%dr7, %0" : "=r"(dr7));
	check(move(), "a move with system registers");
	for (unsigned n = 0; n < MSRS; n++)
		same &= rdmsr(msrs[n]) == before[n];
	check(same, "MSRs");
	cr2 = READ_CR(2);
	check(READ_CR(0) == cr0 && cr2 == 0x123456789000 && READ_CR(3) == cr3 &&
		  READ_CR(4) == cr4,
	      "control registers");
	__asm__ volatile("mov %%dr0, %0" : "=r"(dr0));
	__asm__ volatile("mov %%dr7, %0" : "=r"(v));
	check(dr0 == 0x123456 && v == dr7, "debug registers");
	now = cpuid(1, 0);
	if (cpuid_is_hosts)
		skip("CPUID's features", "this KVM shows the host's CPUID");
	else
		check(now.c == c1.c && now.d == c1.d && cpuid(7, 0).b == c7.b,
		      "CPUID's features");
}

static void time(void)
{
	uint64_t before = rdtsc();

	check(move() && rdtsc() > before, "the TSC goes on");
	if (tsc_is_hosts) {
		skip("TSC_ADJUST", "this KVM shows the host's TSC");
		return;
	}
	wrmsr(MSR_TSC_ADJUST, 1ull << 40);
	before = rdtsc();
	check(move(), "a move with a TSC that was adjusted");
	check(rdtsc() > before && rdtsc() - before < 1ull << 39,
	      "it goes on from there");
	check_eq(rdmsr(MSR_TSC_ADJUST), 1ull << 40, "TSC_ADJUST");
	wrmsr(MSR_TSC_ADJUST, 0);
}

/* The port is asked on each engine, and answered once. */
static void half_way(void)
{
	check_eq(inl(PORT_MOVE), MOVED_ANSWER, "IN, half on either engine");
	check_eq(inl(PORT_MOVE), MOVED_ANSWER, "and the other way round");
}

/* -- interrupts -------------------------------------------------------------
 */

static void pending(void)
{
	came[VECTOR + 1] = came[VECTOR + 0x20] = 0;
	host(HOST_LAPIC, 0, VECTOR + 1, 0);
	host(HOST_LAPIC, 0, VECTOR + 0x20, 0);
	check(move(), "a move with two interrupts pending");
	check_eq(came[VECTOR + 1] + came[VECTOR + 0x20], 0, "they wait");
	open_window();
	check_eq(came[VECTOR + 1], 1, "the lower one comes once");
	check_eq(came[VECTOR + 0x20], 1, "the higher one comes once");
	lapic_write(LAPIC_TPR, 0x20);
	check(move(), "a move with TPR");
	check_eq(lapic_read(LAPIC_TPR), 0x20, "TPR");
	check_eq(lapic_read(LAPIC_SVR), 0x1ff, "SVR");
	lapic_write(LAPIC_TPR, 0);
}

static void sleep_for(unsigned vector, uint32_t count)
{
	while (came[vector] < count)
		__asm__ volatile("sti; hlt; cli" ::: "memory");
}

static void timers(void)
{
	came[VECTOR] = came[VECTOR + 2] = 0;
	lapic_write(LAPIC_DIVIDE, 0xb);
	lapic_write(LAPIC_TIMER, VECTOR);
	lapic_write(LAPIC_INITIAL, 300000000);
	check(move(), "a move with the timer running");
	sleep_for(VECTOR, 1);
	check_eq(came[VECTOR], 1, "one-shot: it comes");
	/* Over before the move, but not taken: not lost, not doubled. */
	lapic_write(LAPIC_INITIAL, 1000);
	for (unsigned n = 0; n < 1000; n++)
		pause_cpu();
	check(move(), "a move with the timer expired");
	sleep_for(VECTOR, 2);
	open_window();
	check_eq(came[VECTOR], 2, "it comes once");
	lapic_write(LAPIC_TIMER, VECTOR | LVT_PERIODIC);
	lapic_write(LAPIC_INITIAL, 20000000);
	sleep_for(VECTOR, 4);
	check(move(), "a move with the timer periodic");
	sleep_for(VECTOR, 8);
	check(true, "it comes again and again");
	lapic_write(LAPIC_INITIAL, 0);
	lapic_write(LAPIC_TIMER, (VECTOR + 2) | LVT_DEADLINE);
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 300000000);
	check(move(), "a move with a TSC deadline");
	sleep_for(VECTOR + 2, 1);
	check_eq(came[VECTOR + 2], 1, "the deadline comes");
	check_eq(rdmsr(MSR_TSC_DEADLINE), 0, "and is over");
}

/* -- the room's devices -------------------------------------------------------
 */

#define HPET 0xfed00000u

static void devices(void)
{
	volatile uint64_t *hpet = (volatile uint64_t *)(uintptr_t)HPET;
	uint64_t before;

	hpet[0x10 / 8] = 1; /* the main counter runs */
	before = hpet[0xf0 / 8];
	outb(0x70, 0x50); /* CMOS */
	outb(0x71, 0xa5);
	check(move(), "a move with devices");
	check(hpet[0xf0 / 8] > before, "the HPET goes on");
	outb(0x70, 0x50);
	check_eq(inb(0x71), 0xa5, "CMOS");
}

/* -- other vCPUs -------------------------------------------------------------
 */

static volatile uint32_t turns, woken, late;

static void spin(unsigned id)
{
	while (came[VECTOR + 3] == 0) {
		turns++;
		__asm__ volatile("sti; nop; cli" ::: "memory");
	}
	while (came[VECTOR + 4] == 0)
		__asm__ volatile("sti; hlt; cli" ::: "memory");
	woken = 1;
}

static bool it_turns(void)
{
	uint32_t before = turns;
	uint64_t start = rdtsc();

	while (turns == before)
		if (rdtsc() - start > 40000000000ull)
			return false;
	return true;
}

static void icr(unsigned id, uint32_t command)
{
	lapic_write(LAPIC_ICR_HI, id << 24);
	lapic_write(LAPIC_ICR, command);
}

static void late_start(unsigned id)
{
	late = id;
}

static void others(void)
{
	check(cpu_start(1, spin) && it_turns(), "vCPU 1 runs");
	check(move(), "a move while vCPU 1 runs and vCPU 2 waits for SIPI");
	check(it_turns(), "it runs on");
	icr(1, VECTOR + 3);
	check(wait_for(&came[VECTOR + 3], 1), "it gets an IPI, and halts");
	for (unsigned n = 0; n < 2000; n++)
		pause_cpu();
	check(move(), "a move while it is halted");
	check_eq(woken, 0, "it sleeps on");
	icr(1, VECTOR + 4);
	check(wait_for(&woken, 1), "an IPI wakes it");
	check(cpu_start(2, late_start) && wait_for(&late, 2), "vCPU 2 starts");
	check(move(), "and one more");
}

void payload(void)
{
	for (unsigned n = VECTOR; n < VECTOR + 0x30; n++)
		trap_handler[n] = on_irq;
	lapic_enable();
	find_out();
	for (unsigned n = 0; n < MOVES; n++) {
		registers();
		check(move(), "back, or there");
	}
	for (unsigned n = 0; n < 2; n++) { /* from either side */
		vectors();
		system_registers();
		time();
		half_way();
		pending();
		timers();
		devices();
	}
	others();
}
