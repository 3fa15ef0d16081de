/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a kernel does all the time, run often: ways in and out, its access to
 * user pages, flags, and instructions that lie in two pages.
 */
#include "lib/guest.h"

#define V             0x200000000000ull /* a free PML4 slot */
#define HOT           200
#define AMID          0x7fff40000000ull /* 3 GiB below the canonical limit */
#define VECTOR        0x92
#define TICK          0x93
#define IF            BIT(9)
#define DF_BIT        BIT(10)
#define AC_BIT        BIT(18)
#define SMAP          BIT(21) /* CR4 */
#define MSR_STAR      0xc0000081
#define MSR_LSTAR     0xc0000082
#define MSR_SFMASK    0xc0000084
#define MSR_GS        0xc0000101
#define MSR_KERNEL_GS 0xc0000102
#define ARITH         0x8d5ull

#define SYM(n)                                                                 \
	({                                                                     \
		extern const uint8_t n[];                                      \
		(uint64_t)(uintptr_t) n;                                       \
	})

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* -- interrupts amid it all ------------------------------------------------ */

static volatile uint64_t ticks;

static void on_tick(struct frame *frame)
{
	ticks++;
	lapic_eoi();
}

static void storm_start(uint32_t count)
{
	ticks = 0;
	trap_handler[TICK] = on_tick;
	lapic_storm(TICK, count);
}

/* The last of them comes before its handler goes. */
static void storm_stop(void)
{
	lapic_calm();
	__asm__ volatile("sti\n\tnop\n\tnop\n\tcli" ::: "memory");
	trap_handler[TICK] = NULL;
}

/* -- SYSCALL and SYSRET ------------------------------------------------------
 */

uint64_t calls, call_flags, user_rsp;
static uint64_t per_cpu[2];
uint8_t call_stack[4096];

/* As a kernel's entry: another GS, another stack, and all given back. */
KERNEL_CODE(call_entry,
	    "swapgs\n movq %rsp, user_rsp\n movq $call_stack + 4096, %rsp\n"
	    "pushfq\n popq call_flags\n pushq %rcx\n pushq %r11\n"
	    "incq %gs:0\n incq calls\n sti\n movq %r13, %rax\n"
	    "leaq (%rax, %r15), %rax\n cli\n popq %r11\n popq %rcx\n"
	    "movq user_rsp, %rsp\n swapgs\n sysretq");

/* RDI calls; RAX becomes 0, or the turn in which a register was another. */
USER_CODE(u_calls,
	  "movl $3, %ebx\n movl $5, %edx\n movl $7, %ebp\n movl $9, %r8d\n"
	  "movl $11, %r9d\n movl $13, %r10d\n movl $15, %r12d\n"
	  "movl $17, %r14d\n movq %rsp, %rsi\n"
	  "1: movq %rdi, %r13\n leaq (%rdi, %rdi), %r15\n"
	  "cmpq $77, %rdi\n pushfq\n syscall\n pushfq\n popq %rcx\n"
	  "popq %r11\n cmpq %rcx, %r11\n jne 2f\n"
	  "leaq (%rdi, %rdi, 2), %rcx\n cmpq %rcx, %rax\n jne 2f\n"
	  "cmpq %rsi, %rsp\n jne 2f\n incq %gs:0\n"
	  "leaq (%rbx, %rdx), %rcx\n addq %rbp, %rcx\n addq %r8, %rcx\n"
	  "addq %r9, %rcx\n addq %r10, %rcx\n addq %r12, %rcx\n"
	  "addq %r14, %rcx\n cmpq $80, %rcx\n jne 2f\n"
	  "decq %rdi\n jnz 1b\n xorl %eax, %eax\n int $0x81\n"
	  "2: movq %rdi, %rax\n int $0x81");

static void system_calls(void)
{
	uint64_t *user_count = (uint64_t *)(void *)user_data;
	unsigned bad = 0, rounds = 0;

	wrmsr(MSR_STAR,
	      (uint64_t)SEL_USER_CODE32 << 48 | (uint64_t)SEL_CODE64 << 32);
	wrmsr(MSR_LSTAR, SYM(call_entry));
	wrmsr(MSR_SFMASK, IF | DF_BIT | AC_BIT | BIT(8));
	wrmsr(MSR_GS, address(user_data));
	wrmsr(MSR_KERNEL_GS, address(per_cpu));
	calls = 0;
	check_eq(user_run(u_calls, HOT, IF), 0, "system calls keep registers");
	check_eq(calls, HOT, "each of them came");
	check_eq(per_cpu[0], HOT, "with the kernel's GS");
	check_eq(*user_count, HOT, "and back with the program's");
	check_eq(call_flags & (IF | DF_BIT | AC_BIT), 0, "by SFMASK");
	storm_start(10000);
	calls = 0;
	/* A busy host may keep the clock from coming for a while. */
	do {
		bad += user_run(u_calls, 300000, IF) != 0;
		rounds++;
	} while (ticks <= 5 && rounds < 50);
	storm_stop();
	check_eq(bad, 0, "so it is amid interrupts");
	check_eq(calls, rounds * 300000, "and none is lost");
	check(ticks > 5, "nor are those");
	wrmsr(MSR_GS, 0);
	wrmsr(MSR_KERNEL_GS, 0);
}

/* LSTAR changes while its old target is hot. */
KERNEL_CODE(other_entry, "movl $77, %eax\n sysretq");
USER_CODE(u_one_call, "syscall\n int $0x81");

static void other_target(void)
{
	bool ok = true;

	for (unsigned n = 0; n < HOT; n++) {
		wrmsr(MSR_LSTAR, n & 1 ? SYM(other_entry) : SYM(call_entry));
		wrmsr(MSR_KERNEL_GS, address(per_cpu));
		wrmsr(MSR_GS, address(per_cpu + 1));
		ok &= (user_run(u_one_call, 0, IF) == 77) == (n & 1);
	}
	check(ok, "LSTAR is looked at for each call");
	wrmsr(MSR_GS, 0);
	wrmsr(MSR_KERNEL_GS, 0);
}

/* -- STAC and CLAC ----------------------------------------------------------
 */

/* RDI's word to RAX by AC, and RSI three times over the registers of the
   memory that goes along to R8. */
KERNEL_CODE(k_by_ac, "movq %rsi, %r13\n leaq (%rsi, %rsi), %r14\n"
		     "leaq 5(%rsi), %r15\n stac\n movq (%rdi), %rax\n"
		     "leaq (%r13, %r14), %r8\n movq %rsi, %r14\n clac\n"
		     "addq %r15, %r8\n addq %r14, %r8\n ret");

static bool by_ac(uint64_t va, uint64_t n)
{
	uint64_t v, regs;

	__asm__ volatile("call *%2\n\tmovq %%r8, %1"
			 : "=a"(v), "=r"(regs)
			 : "r"(k_by_ac), "D"(va), "S"(n)
			 : "r8", "r13", "r14", "r15", "memory", "cc");
	return v == n && regs == 5 * n + 5;
}

static void smap(void)
{
	uint64_t *p = page_alloc();
	unsigned faults = 0, flags = 0;
	bool ok = true;

	if (!(cpuid(7, 0).b & BIT(20))) {
		skip("SMAP", "CPUID has not SMAP");
		return;
	}
	map_page(V, address(p) | PTE_P | PTE_W | PTE_U);
	WRITE_CR(4, READ_CR(4) | SMAP);
	storm_start(20000);
	__asm__ volatile("sti" ::: "memory");
	for (unsigned n = 0; n < 20 * HOT; n++) {
		uint64_t rflags;

		*(volatile uint64_t *)p = n;
		ok &= by_ac(V, n);
		__asm__ volatile("pushfq\n\tpopq %0" : "=r"(rflags));
		flags += (rflags & AC_BIT) != 0;
		TRY("movq (%0), %%rax", ::"r"(V) : "rax", "memory");
		faults += fault.vector == PF && fault.error == 1;
	}
	storm_stop();
	check(ok, "with AC set a user page is read, and registers kept");
	check_eq(faults, 20 * HOT, "and never without");
	check_eq(flags, 0, "CLAC clears the flag");
	WRITE_CR(4, READ_CR(4) & ~SMAP);
	for (unsigned n = 0; n < HOT; n++) {
		*(volatile uint64_t *)p = n;
		ok &= by_ac(V, n) && *(volatile uint64_t *)V == n;
	}
	check(ok, "without CR4.SMAP always");
	map_page(V, 0);
}

/* -- the shadow of STI, hot ---------------------------------------------------
 */

static void shadows(void)
{
	unsigned late = 0, none = 0;

	trap_handler[VECTOR] = note_interrupt;
	lapic_enable();
	for (unsigned n = 0; n < HOT; n++) {
		bool pending = n % 3 != 0;

		__asm__ volatile("cli" ::: "memory");
		noted = 0;
		if (pending)
			lapic_write(LAPIC_ICR, 0x40000 | VECTOR);
		__asm__ volatile("nop\n\tsti\n\tnop\n"
				 "after_sti: nop\n\tcli" ::
				     : "memory");
		late +=
		    noted != pending || (pending && noted_at != SYM(after_sti));
		if (pending)
			lapic_write(LAPIC_ICR, 0x40000 | VECTOR);
		noted = 0;
		__asm__ volatile("sti\n\tcli\n\tnop" ::: "memory");
		none += noted;
		__asm__ volatile("sti; nop; cli" ::: "memory");
	}
	check_eq(late, 0, "an interrupt after the instruction after STI");
	check_eq(none, 0, "none between STI and CLI");
	trap_handler[VECTOR] = NULL;
}

/* -- flags and selectors ------------------------------------------------------
 */

static void flags(void)
{
	unsigned bad = 0;

	for (unsigned n = 0; n < HOT; n++) {
		uint64_t set, interrupts, image, want;

		__asm__ volatile("pushq %4\n\tpopfq\n\tpushfq\n\tpopq %0\n\t"
				 "sti\n\tpushfq\n\tpopq %1\n\t"
				 "cli\n\tstd\n\tpushfq\n\tcld\n\tpopq %2"
				 : "=&r"(set), "=&r"(interrupts), "=&r"(image)
				 : "0"(0ull), "r"((n * 0x9e37ull & ARITH) | 2)
				 : "memory", "cc");
		want = (n * 0x9e37ull & ARITH) | 2;
		bad += set != want || interrupts != (want | IF) ||
		       image != (want | DF_BIT);
	}
	check_eq(bad, 0, "PUSHF after POPF, STI, CLI, STD");
}

static void selectors(void)
{
	uint64_t ss;
	unsigned bad = 0;

	__asm__ volatile("movq %%ss, %0" : "=r"(ss));
	for (unsigned n = 0; n < HOT; n++) {
		uint64_t wide, narrow = ~0ull, in_r14;
		uint16_t stored[2] = {0xffff, 0xffff};

		__asm__ volatile("movq %%cs, %0\n\tmovw %%ss, %w1\n\t"
				 "movq $-1, %%r14\n\tmovw %%cs, %%r14w\n\t"
				 "movq %%r14, %2\n\tmovw %%cs, %3"
				 : "=r"(wide), "+r"(narrow), "=r"(in_r14),
				   "=m"(stored[0])
				 :
				 : "r14");
		bad += wide != SEL_CODE64 || narrow != (~0xffffull | ss) ||
		       in_r14 != (~0xffffull | SEL_CODE64) ||
		       stored[0] != SEL_CODE64 || stored[1] != 0xffff;
	}
	check_eq(bad, 0, "selectors, to registers and to memory");
}

/* -- bit strings
 * ---------------------------------------------------------------
 */

#define WORDS 16

/* BTS, BTR, BTC or BT of bit n of words[WORDS / 2] on; RAX: CF. */
#define BIT_STRING(insn, reg, bit)                                             \
	({                                                                     \
		uint64_t cf_;                                                  \
		__asm__ volatile("movq %2, %%" reg "\n\t" insn                 \
				 ", (%1)\n\tsbbq %0, %0"                       \
				 : "=a"(cf_)                                   \
				 : "d"(words + WORDS / 2), "S"((int64_t)(bit)) \
				 : reg, "memory", "cc");                       \
		cf_ != 0;                                                      \
	})

static uint64_t words[WORDS];

/* The bit becomes set, clear or the other; was it what BT and CF say? */
static bool bit_was(int64_t n, unsigned how, bool cf)
{
	static uint64_t model[WORDS];
	uint64_t at = (uint64_t)(n + WORDS / 2 * 64), bit = BIT(at % 64);
	uint64_t *word = &model[at / 64];
	bool was = (*word & bit) != 0, same = true;

	*word = how == 0   ? *word | bit
		: how == 1 ? *word & ~bit
		: how == 2 ? *word ^ bit
			   : *word;
	for (unsigned k = 0; k < WORDS; k++)
		same &= model[k] == words[k];
	return same && was == cf;
}

static void bit_strings(void)
{
	bool ok = true;

	for (unsigned k = 0; k < 20 * HOT; k++) {
		int64_t n = (int64_t)(k * 0x9e3779b9u % 1000) - 500;

		ok &= bit_was(n, 0, BIT_STRING("btsq %%rbx", "rbx", n));
		ok &= bit_was(-n, 2, BIT_STRING("lock btcq %%r14", "r14", -n));
		ok &= bit_was(n / 2, 3, BIT_STRING("btl %%ecx", "rcx", n / 2));
		ok &= bit_was(n, 1, BIT_STRING("lock btrl %%r13d", "r13", n));
		ok &= bit_was(n, 2, BIT_STRING("btcl %%r9d", "r9", n));
	}
	check(ok, "bits before and behind their operand");
}

/* -- instructions in two pages ------------------------------------------------
 */

static uint8_t *page[3];

/* Code whose byte number split is the first of another page. */
static uint64_t put_across(const uint8_t *code, unsigned len, unsigned split)
{
	for (unsigned n = 0; n < len; n++) {
		uint8_t *at = n < split ? page[0] + 4096 - split + n
					: page[1] + n - split;

		*(volatile uint8_t *)at = code[n];
	}
	return V + 4096 - split;
}

static uint64_t call(uint64_t at, uint64_t arg)
{
	uint64_t v;

	__asm__ volatile("call *%1"
			 : "=a"(v)
			 : "r"(at), "D"(arg)
			 : "rcx", "rdx", "memory", "cc");
	return v;
}

/*
 * MOV, JNZ taken and not, CALL, LEA, each of them in two pages at all places.
 */
static const uint8_t pieces[] = {
    0x31, 0xc0,                                     /* 0: xor eax, eax */
    0x48, 0xb9, 1,    2,    3,    4,    5, 6, 7, 8, /* 2: mov rcx, imm64 */
    0x85, 0xff,                                     /* 12: test edi, edi */
    0x0f, 0x85, 0x0c, 0,    0,    0,                /* 14: jnz 32 */
    0xe8, 0x0f, 0,    0,    0,                      /* 20: call 40 */
    0x48, 0x01, 0xc8,                               /* 25: add rax, rcx */
    0xc3, 0x90, 0x90, 0x90,                         /* 28: ret */
    0x48, 0x8d, 0x84, 0x39, 0x78, 0x56, 0, 0, /* 32: lea rax, [rcx+rdi+..] */
    0xc3,                                     /* 40: ret */
};
static void crossings(void)
{
	uint64_t base = 0x0807060504030201;
	unsigned bad = 0;

	map_page(V, address(page[0]) | PTE_P);
	map_page(V + 4096, address(page[1]) | PTE_P);
	for (unsigned split = 1; split < sizeof(pieces); split++) {
		uint64_t at = put_across(pieces, sizeof(pieces), split);

		for (unsigned n = 0; n < HOT / 4; n++) {
			bad += call(at, 0) != base;
			bad += call(at, n + 1) != base + n + 1 + 0x5678;
		}
	}
	check_eq(bad, 0, "instructions across a page, at every place");
	/* Such a page is in no TLB. */
	put_across(pieces, sizeof(pieces), 6);
	/* DR0: stores of a byte. */
	__asm__ volatile("mov %0, %%dr0" ::"r"(V + 4096 + 0x800));
	__asm__ volatile("mov %0, %%dr7" ::"r"(0x10003ull));
	for (unsigned n = 0; n < HOT; n++)
		bad += call(V + 4090, 0) != base;
	__asm__ volatile("mov %0, %%dr7" ::"r"(0ull));
	check_eq(bad, 0, "its second page has a data breakpoint");
	map_page(AMID - 4096, address(page[0]) | PTE_P);
	map_page(AMID, address(page[1]) | PTE_P);
	for (unsigned n = 0; n < HOT; n++)
		bad += call(AMID - 6, 0) != base;
	check_eq(bad, 0, "up to where code is too far up to be translated");
	map_page(AMID - 4096, 0);
	map_page(AMID, 0);
	/* Its other page is another, and then none. */
	put_across(pieces, sizeof(pieces), 6);
	for (unsigned n = 0; n < 4096; n++)
		page[2][n] = page[1][n];
	page[2][0] = 0x44;
	for (unsigned n = 0; n < HOT; n++)
		bad += call(V + 4090, 0) != base;
	map_page(V + 4096, address(page[2]) | PTE_P);
	bad += call(V + 4090, 0) != base + (0x44 - 3) * 0x10000;
	check_eq(bad, 0, "its second page is another");
	map_page(V + 4096, 0);
	TRY("movq %%rsp, %%rbx\n\tcall *%0",
	    "\n\tmovq %%rbx, %%rsp" ::"a"(V + 4090)
	    : "memory", "rcx", "rbx", "rdi");
	check(fault.vector == PF && fault.cr2 == V + 4096 &&
		  fault.rip == V + 4092,
	      "nothing is there: #PF at the instruction, for its rest");
	map_page(V, 0);
}

/* JMP to an instruction in two pages, which becomes one in one page while
   nothing of the code that leads there is written to. */
static void crossing_no_more(void)
{
	static const uint8_t jump[] = {0xe9, 0xf7, 0x0f, 0, 0}; /* to 4092 */
	static const uint8_t move[] = {0xb8, 1, 2, 3, 4, 0xc3};
	unsigned bad = 0;

	page[0] = page_alloc(); /* where no code was */
	for (unsigned n = 0; n < sizeof(jump); n++)
		((volatile uint8_t *)page[0])[n] = jump[n];
	put_across(move, sizeof(move), 4);
	map_page(V, address(page[0]) | PTE_P);
	map_page(V + 4096, address(page[1]) | PTE_P);
	for (unsigned n = 0; n < HOT; n++)
		bad += call(V, 0) != 0x04030201;
	check_eq(bad, 0, "a jump to an instruction in two pages");
	map_page(V + 4096, 0);
	((volatile uint8_t *)page[0])[4092] = 0xc3;
	fault_clear();
	__asm__ volatile("movq $2f, try_resume\n\tmovq %%rsp, %%rbx\n\t"
			 "call *%0\n"
			 "2:\tmovq %%rbx, %%rsp\n\tmovq $0, try_resume"
			 :
			 : "a"(V)
			 : "memory", "rcx", "rbx");
	check_eq(fault.vector, NO_FAULT, "which is none any more: no #PF");
	map_page(V, 0);
}

/* -- one vCPU's TSC -----------------------------------------------------------
 */

#define TSC_TICKS 300000000ull
#define MSR_TSC   0x10

/* By RDTSC here, where it becomes host code, and by ways that do not. */
static void one_tsc(void)
{
	uint64_t begin = rdtsc(), last = begin, now;
	unsigned back = 0, still = 0;

	for (unsigned n = 0; last - begin < TSC_TICKS; n++) {
		now = n % 64 == 0 ? rdmsr(MSR_TSC) : rdtsc();
		back += now < last;
		still = now == last ? still + 1 : 0;
		if (still > 1000000)
			break;
		last = now;
	}
	check_eq(back, 0, "the TSC never goes back");
	check(still == 0, "nor does it stand still");
}

void payload(void)
{
	for (unsigned n = 0; n < 3; n++)
		page[n] = page_alloc();
	part(system_calls);
	part(other_target);
	part(smap);
	part(shadows);
	part(flags);
	part(selectors);
	part(bit_strings);
	part(crossings);
	part(crossing_no_more);
	part(one_tsc);
}
