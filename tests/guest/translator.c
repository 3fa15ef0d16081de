/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a translator of code gets wrong and an interpreter does not: code that
 * ran often, when what it relied on changes (smc.c has code that is written
 * to), and what comes between its instructions.
 */
#include "lib/guest.h"

#define V      0x200000000000ull /* a free PML4 slot */
#define HOT    60                /* runs that make anything hot */
#define VECTOR 0x60
#define U      4
#define P      1
#define I      16
#define PCIDE  BIT(17)
#define SMEP   BIT(20)
#define AM     BIT(18) /* CR0 */
#define TF     BIT(8)
#define DF_BIT BIT(10)
#define AC_BIT BIT(18)

typedef uint64_t code_fn(void);

static uint8_t *page[10];

static void put(uint8_t *at, const uint8_t *bytes, unsigned count)
{
	for (unsigned n = 0; n < count; n++)
		((volatile uint8_t *)at)[n] = bytes[n];
}

/* mov $value, %eax; ret */
static void put_code(uint8_t *at, uint32_t v)
{
	const uint8_t code[] = {0xb8,
				(uint8_t)v,
				(uint8_t)(v >> 8),
				(uint8_t)(v >> 16),
				(uint8_t)(v >> 24),
				0xc3};

	put(at, code, sizeof(code));
}

static uint64_t run(uint64_t at)
{
	return ((code_fn *)at)();
}

static uint64_t run_hot(uint64_t at)
{
	uint64_t v = 0;

	for (unsigned n = 0; n < HOT; n++)
		v = run(at);
	return v;
}

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

/* -- interrupts ------------------------------------------------------------ */

static volatile uint64_t ticks, leave_bytes;
volatile uint64_t leave_at; /* named in assembler */

/* What runs at leave_at for ever goes on behind it. */
static void on_tick(struct frame *frame)
{
	ticks++;
	if (frame->rip == leave_at)
		frame->rip += leave_bytes;
	lapic_eoi();
}

static void storm_start(uint32_t count)
{
	ticks = 0;
	trap_handler[VECTOR] = on_tick;
	lapic_storm(VECTOR, count);
	__asm__ volatile("sti" ::: "memory");
}

static void storm_stop(void)
{
	__asm__ volatile("cli" ::: "memory");
	lapic_calm();
}

/* Every register and the flags are live through the loop. */
static uint64_t busy(uint64_t turns)
{
	uint64_t sum = 0;

	__asm__ volatile("movl $3, %%eax; movl $5, %%edx; movl $7, %%ebx\n\t"
			 "movl $9, %%r8d; movl $11, %%r13d; movl $13, %%r15d\n"
			 "1:\taddq %%rax, %%rbx\n\tadcq %%rbx, %%rdx\n\t"
			 "rolq $7, %%rdx\n\txorq %%rdx, %%r13\n\t"
			 "adcq %%r13, %%r15\n\tsbbq %%r15, %%r8\n\t"
			 "pushq %%r8\n\timulq %%rdx, %%rax\n\tpopq %%r14\n\t"
			 "leaq 1(%%rax, %%r14, 2), %%rax\n\t"
			 "decq %1\n\tjnz 1b\n\t"
			 "addq %%rax, %0; addq %%r13, %0; addq %%r15, %0"
			 : "+r"(sum), "+r"(turns)
			 :
			 : "rax", "rdx", "rbx", "r8", "r13", "r14", "r15", "cc",
			   "memory");
	return sum;
}

static void interrupts(void)
{
	uint64_t want = busy(100000), start = rdtsc();
	bool ok = true;

	storm_start(20000);
	for (unsigned n = 0; n < 40 || ticks < 50; n++) {
		ok &= busy(100000) == want;
		if (rdtsc() - start > 30000000000ull)
			break;
	}
	storm_stop();
	check(ok, "a storm of interrupts changes no register");
	check(ticks >= 50, "and it was one");
}

/* Loops that nothing but an interrupt ends. */
#define ENDLESS(text, bytes, name)                                             \
	do {                                                                   \
		leave_bytes = (bytes);                                         \
		__asm__ volatile("movq $1f, leave_at\n\t"                      \
				 "movq $1f, %%rax\n"                           \
				 "1:\t" text ::                                \
				     : "rax", "rcx", "memory", "cc");          \
		check(true, name);                                             \
	} while (0)

/* JMP RAX and RET at an address that the translator has a place of its own
   for (target.c: first_target_set): a jump to itself there. */
static void endless_at(uint64_t at, const char *name)
{
	static const uint8_t code[] = {0xff, 0xe0, 0xc3};

	put((uint8_t *)(uintptr_t)at, code, sizeof(code));
	for (unsigned n = 0; n < 20; n++) {
		leave_at = at;
		leave_bytes = 2;
		__asm__ volatile("call *%%rax" ::"a"(at) : "rcx", "memory");
	}
	check(true, name);
}

static void endless(void)
{
	storm_start(100000);
	ENDLESS("jmp 1b", 2, "a jump to itself ends");
	ENDLESS("jmp *%%rax", 2, "an indirect one, too");
	ENDLESS("xorl %%ecx, %%ecx\n\tjmp 1b", 4, "a loop of two");
	map_page(V, address(page[0]) | PTE_P | PTE_W);
	endless_at(V, "and one at a multiple of 8 MiB");
	map_page(V, 0);
	endless_at(40, "and one at 40");
	leave_at = 0;
	storm_stop();
	trap_handler[VECTOR] = NULL;
}

/* -- address spaces ---------------------------------------------------------
 */

static uint64_t *spaces[2];

/* A PML4 like ours, but for V's slot: its page of code. */
static void space_make(uint64_t *top, uint64_t *tables, const void *code)
{
	for (unsigned n = 0; n < 512; n++)
		top[n] = pml4[n];
	top[V >> 39 & 511] = address(tables) | PTE_P | PTE_W;
	tables[0] = address(tables + 512) | PTE_P | PTE_W;
	tables[512] = address(tables + 1024) | PTE_P | PTE_W;
	tables[1024] = address(code) | PTE_P;
}

static void short_lived(void)
{
	static uint64_t tables[2][3 * 512] __attribute__((aligned(4096)));
	uint64_t old = READ_CR(3);
	unsigned bad = 0;

	spaces[0] = page_alloc();
	spaces[1] = page_alloc();
	for (unsigned n = 0; n < 1000; n++) {
		unsigned k = n & 1;

		put_code(page[n % 8], n);
		space_make(spaces[k], tables[k], page[n % 8]);
		WRITE_CR(3, address(spaces[k]));
		bad += run_hot(V) != n;
	}
	check_eq(bad, 0, "1000 address spaces, each with other code");
	/* Two that stay, in turn. */
	for (unsigned k = 0; k < 2; k++) {
		put_code(page[k], 100 + k);
		space_make(spaces[k], tables[k], page[k]);
	}
	for (unsigned n = 0; n < 300; n++) {
		WRITE_CR(3, address(spaces[n & 1]));
		bad += run(V) != 100 + (n & 1);
	}
	check_eq(bad, 0, "two in turn");
	if (cpuid(1, 0).c & BIT(17)) {
		WRITE_CR(3, address(spaces[0]));
		WRITE_CR(4, READ_CR(4) | PCIDE);
		WRITE_CR(3, address(spaces[0]) | 1);
		WRITE_CR(3, address(spaces[1]) | 2);
		for (unsigned n = 0; n < 300; n++) {
			WRITE_CR(3, address(spaces[n & 1]) | (1 + (n & 1)) |
					BIT(63));
			bad += run(V) != 100 + (n & 1);
		}
		check_eq(bad, 0, "by PCIDs that keep theirs");
		WRITE_CR(3, address(spaces[0]));
		WRITE_CR(4, READ_CR(4) & ~PCIDE);
	} else {
		skip("by PCIDs that keep theirs", "CPUID has not PCID");
	}
	WRITE_CR(3, old);
}

/* A global page stays over a CR3 load, and goes by INVLPG. */
static void global_pages(void)
{
	uint64_t cr4 = READ_CR(4), v;

	put_code(page[0], 1);
	put_code(page[1], 2);
	WRITE_CR(4, cr4 | BIT(7));
	map_page(V, address(page[0]) | PTE_P | PTE_G);
	check_eq(run_hot(V), 1, "a global page of code");
	*pte_of(V, 1) = address(page[1]) | PTE_P | PTE_G;
	WRITE_CR(3, READ_CR(3));
	v = run(V);
	check(v == 1 || v == 2, "one of both after a CR3 load");
	invlpg((void *)V);
	check_eq(run(V), 2, "the new one after INVLPG");
	*pte_of(V, 1) = address(page[0]) | PTE_P | PTE_G;
	WRITE_CR(4, cr4);
	check_eq(run(V), 1, "and after CR4.PGE changed");
	map_page(V, 0);
}

/* -- the page under the running code ----------------------------------------
 */

/*
 * A piece that writes RSI to the entry at RDI, then makes that count, then
 * returns its page's number: from the page that is there now.
 */
static const uint8_t by_invlpg[] = {0x48, 0x89, 0x37,       /* mov rsi */
				    0x0f, 0x01, 0x3a,       /* invlpg [rdx] */
				    0xb8, 0x00, 0,    0, 0, /* mov eax, n */
				    0xc3},
		     by_cr3[] = {0x48, 0x89, 0x37, 0x0f, 0x20, 0xd8, 0x0f, 0x22,
				 0xd8, 0xb8, 0x00, 0,    0,    0,    0xc3};

static void remap_by(const uint8_t *code, unsigned len, const char *name)
{
	uint64_t *entry;
	unsigned bad = 0;

	for (unsigned k = 0; k < 2; k++) {
		put(page[k], code, len);
		page[k][len - 5] = (uint8_t)(k + 1);
	}
	map_page(V, address(page[0]) | PTE_P);
	entry = pte_of(V, 1);
	for (unsigned n = 0; n < 300; n++) {
		unsigned to = n < HOT ? 0 : n & 1;
		uint64_t v;

		__asm__ volatile("call *%1"
				 : "=a"(v)
				 : "r"(V), "D"(entry),
				   "S"(address(page[to]) | PTE_P), "d"(V)
				 : "memory");
		bad += v != to + 1;
	}
	check_eq(bad, 0, name);
	map_page(V, 0);
}

static void remap(void)
{
	remap_by(by_invlpg, sizeof(by_invlpg), "a page remapped by its code");
	remap_by(by_cr3, sizeof(by_cr3), "and by a CR3 load");
}

/* Code on two pages, each of which becomes another. */
static void two_pages(void)
{
	static const uint8_t across[] = {0x48, 0xb8, 1, 2, 3,   4,
					 5,    6,    7, 8, 0xc3};
	uint64_t want = 0x0807060504030201;
	bool ok = true;

	for (unsigned k = 0; k < 2; k++) {
		put(page[2 * k] + 4091, across, 5);
		put(page[2 * k + 1], across + 5, 6);
	}
	page[2][4093] = 0xaa;
	page[3][0] = 0xbb;
	map_page(V, address(page[0]) | PTE_P);
	map_page(V + 4096, address(page[1]) | PTE_P);
	for (unsigned n = 0; n < HOT; n++)
		ok &= run(V + 4091) == want;
	check(ok, "an instruction on two pages");
	map_page(V, address(page[2]) | PTE_P);
	check_eq(run(V + 4091), want + 0xa9, "its first page is another");
	map_page(V + 4096, address(page[3]) | PTE_P);
	check_eq(run(V + 4091), want + 0xa9 + 0xb7000000, "so is its second");
	map_page(V + 4096, 0);
	TRY("movq %%rsp, %%rbx\n\tcall *%0",
	    "\n\tmovq %%rbx, %%rsp" ::"a"(V + 4091)
	    : "memory", "rcx", "rbx");
	check(fault.vector == PF && fault.cr2 == V + 4096 &&
		  fault.rip == V + 4091,
	      "nothing is there: #PF at its beginning");
	map_page(V, 0);
}

/* -- faults in hot code ----------------------------------------------------
 */

static void strings(void)
{
	uint64_t rcx, rsi, rdi;
	bool ok = true;

	map_page(V, address(page[0]) | PTE_P | PTE_W);
	map_page(V + 4096, 0);
	for (unsigned n = 0; n < HOT; n++) {
		unsigned left = 1 + n % 50;

		rcx = 100;
		rsi = address(page[1]);
		rdi = V + 4096 - 100 + left;
		TRY("rep movsb", : "+c"(rcx), "+S"(rsi), "+D"(rdi)::"memory");
		ok &= fault.vector == PF && fault.cr2 == V + 4096 &&
		      rcx == left && rdi == V + 4096 &&
		      rsi == address(page[1]) + 100 - left;
	}
	check(ok, "a fault in the middle of REP MOVS");
	map_page(V, 0);
}

/* Out of translated code and into it again, for long: no stack grows. */
static void in_and_out(void)
{
	uint64_t count = 2000000, turns = 0;

	__asm__ volatile("1:\tincq %1\n\tloop 1b"
			 : "+c"(count), "+r"(turns)
			 :
			 : "cc");
	check_eq(turns, 2000000, "two million turns of LOOP");
}

/* One loop, whose last turn faults: everything is as the turn before left. */
static void loops(void)
{
	uint64_t sum = 0, at = V, r13 = 0, flags = 0;

	map_page(V, address(page[0]) | PTE_P | PTE_W);
	for (unsigned n = 0; n < 512; n++)
		((uint64_t *)(void *)page[0])[n] = n + 1;
	map_page(V + 4096, 0);
	fault_clear();
	__asm__ volatile("movq $3f, try_resume\n\txorl %%r13d, %%r13d\n"
			 "1:\taddq %1, %%r13\n\tstc\n"
			 "2:\taddq (%1), %0\n\taddq $8, %1\n\tjmp 1b\n"
			 "3:\tmovq %%r13, %2\n\tpushfq\n\tpopq %3"
			 : "+r"(sum), "+r"(at), "=&r"(r13), "=&r"(flags)
			 :
			 : "r13", "memory", "cc");
	check(fault.vector == PF && fault.cr2 == V + 4096,
	      "a loop runs off its page");
	check_eq(sum, 512 * 513 / 2, "with the sum of it all");
	check_eq(at, V + 4096, "at its end");
	check(fault.frame.rflags & 1, "with the flags of STC");
	map_page(V, 0);
}

/* -- where branches go --------------------------------------------------------
 */

KERNEL_CODE(k_double, "leaq (%rdi, %rdi), %rax\n\tret");
USER_CODE(u_jump, "movl $200, %ecx\n1:\tdecl %ecx\n\tjnz 1b\n\tjmp *%rdi");
USER_CODE(u_double, "leaq (%rdi, %rdi), %rax\n\tint $0x81");

static uint64_t call_with(const void *code, uint64_t arg)
{
	uint64_t v;

	__asm__ volatile("call *%1"
			 : "=a"(v)
			 : "r"(code), "D"(arg)
			 : "memory", "cc");
	return v;
}

/*
 * A direct jump to the next page, at an address under which nobody has run
 * that page before it is there, and is not.
 */
static void next_page(void)
{
	static const uint8_t jump[] = {0xe9, 0xfb, 0x0f, 0, 0},
			     there[] = {0xb8, 42, 0, 0, 0, 0xcd, 0x81};
	const uint64_t other = V + BIT(30), user = PTE_P | PTE_U;
	bool ok = true, gone = true;

	put(page[0], jump, sizeof(jump));
	put(page[1], there, sizeof(there));
	map_page(V, address(page[0]) | user);
	map_page(V + 4096, address(page[1]) | user);
	map_page(other, address(page[0]) | user);
	for (unsigned n = 0; n < HOT; n++)
		ok &= user_run((void *)V, 0, 0) == 42;
	check(ok, "a jump to the next page");
	for (unsigned n = 0; n < HOT; n++) {
		map_page(other + 4096, address(page[1]) | user);
		ok &= user_run((void *)other, 0, 0) == 42;
		map_page(other + 4096, 0);
		user_run((void *)other, 0, 0);
		gone &= fault.vector == PF && fault.cr2 == other + 4096;
	}
	check(ok, "which is at another address, too");
	check(gone, "and not when nothing is there");
	map_page(other, 0);
	map_page(V + 4096, 0);
	map_page(V, 0);
}

static void privileges(void)
{
	bool ok = true;

	for (unsigned n = 0; n < HOT; n++)
		ok &= call_with(k_double, n) == 2 * n;
	check(ok, "hot code at CPL 0");
	for (unsigned n = 0; n < HOT; n++) {
		user_run(u_jump, address(k_double), 0);
		ok &= fault.vector == PF && fault.cr2 == address(k_double) &&
		      (fault.error & ~(uint64_t)I) == (P | U) &&
		      fault.rip == address(k_double);
	}
	check(ok, "is no target for CPL 3");
	for (unsigned n = 0; n < HOT; n++)
		ok &= user_run(u_double, n, 0) == 2 * n;
	check(ok, "hot code at CPL 3");
	if (!(cpuid(7, 0).b & BIT(7))) {
		skip("is none for CPL 0 with SMEP", "CPUID has not SMEP");
		return;
	}
	WRITE_CR(4, READ_CR(4) | SMEP);
	TRY("movq %%rsp, %%rbx\n\tcall *%0",
	    "\n\tmovq %%rbx, %%rsp" ::"a"(u_double)
	    : "memory", "rbx");
	check(fault.vector == PF && fault.cr2 == address(u_double),
	      "is none for CPL 0 with SMEP");
	WRITE_CR(4, READ_CR(4) & ~SMEP);
}

/* The same branch, often to a good place and then to a bad one. */
#define BRANCH(insn, good, bad, want, name)                                    \
	do {                                                                   \
		uint64_t before = 0;                                           \
                                                                               \
		for (unsigned n = 0; n <= HOT; n++) {                          \
			TRY("movq %%rsp, %0\n\t" insn, "\n\tmovq %0, %%rsp"    \
			    : "=&b"(before)                                    \
			    : "a"(n < HOT ? (uint64_t)(good)                   \
					  : (uint64_t)(bad))                   \
			    : "memory", "rcx", "rdi", "cc");                   \
		}                                                              \
		check(want, name);                                             \
	} while (0)
KERNEL_CODE(k_jumped, "movq try_resume, %rcx\n\tmovq $0, try_resume\n\t"
		      "jmp *%rcx");
KERNEL_CODE(k_called, "ret");

#define FAR_OUT 0x8000000000000000ull

static void bad_targets(void)
{
	BRANCH("jmp *%%rax", k_jumped, FAR_OUT,
	       fault.vector == GP && fault.error == 0 && fault.rip < FAR_OUT &&
		   fault.frame.rsp == before,
	       "JMP to what is not canonical: #GP at it");
	BRANCH("call *%%rax", k_called, FAR_OUT,
	       fault.vector == GP && fault.rip < FAR_OUT &&
		   fault.frame.rsp == before,
	       "CALL: nothing is pushed");
	BRANCH("pushq %%rax; ret", k_jumped, FAR_OUT,
	       fault.vector == GP && fault.rip < FAR_OUT &&
		   fault.frame.rsp == before - 8,
	       "RET: nothing is popped");
	BRANCH("jmp *%%rax", k_jumped, ~0ull,
	       fault.vector == PF && fault.rip == ~0ull && fault.cr2 == ~0ull,
	       "JMP to the last address: #PF there");
	storm_start(20000);
	for (unsigned n = 0; n < 20000; n++)
		TRY("jmp *%0", ::"a"(~0ull) : "memory");
	storm_stop();
	check(fault.vector == PF && fault.rip == ~0ull,
	      "so it is amid interrupts");
	trap_handler[VECTOR] = NULL;
}

/*
 * A call to another page that is not in the TLB and belongs in the place of
 * the stack's, which has been written to.
 */
static void clashes(void)
{
	static const uint8_t callee[] = {0xb8, 7, 0, 0, 0, 0xc3},
			     caller[] = {0x0f, 0x20, 0xd8, /* mov rax, cr3 */
					 0x0f, 0x22, 0xd8, /* mov cr3, rax */
					 0x50, 0x58,       /* push, pop */
					 0xe8, 0xf3, 0x0f, 0, 0, 0xc3};
	const uint64_t stack = V + 4096 + (64u << 20);
	bool ok = true;

	put(page[0], caller, sizeof(caller));
	put(page[1], callee, sizeof(callee));
	map_page(V, address(page[0]) | PTE_P);
	map_page(V + 4096, address(page[1]) | PTE_P);
	map_page(stack, address(page_alloc()) | PTE_P | PTE_W);
	for (unsigned n = 0; n < 2 * HOT; n++) {
		uint64_t v;

		__asm__ volatile("movq %%rsp, %%rbx\n\tmovq %2, %%rsp\n\t"
				 "call *%1\n\tmovq %%rbx, %%rsp"
				 : "=&a"(v)
				 : "r"(V), "r"(stack + 2048)
				 : "rbx", "rcx", "memory");
		ok &= v == 7;
	}
	check(ok, "a call whose target takes its stack's place in the TLB");
	map_page(V, 0);
	map_page(V + 4096, 0);
	map_page(stack, 0);
}

/* -- flags that change what follows ------------------------------------------
 */

static volatile uint64_t steps;

static void on_step(struct frame *frame)
{
	steps++;
}

static void single_steps(void)
{
	bool ok = true;

	trap_handler[DB] = on_step;
	for (unsigned n = 0; n < HOT + 10; n++) {
		uint64_t flags = n < HOT ? 2 : 2 | TF, sum = 0;

		steps = 0;
		__asm__ volatile("pushq %1\n\tpopfq\n\t"
				 "incq %0; incq %0; incq %0; incq %0\n\t"
				 "pushq $2\n\tpopfq"
				 : "+a"(sum)
				 : "r"(flags)
				 : "memory", "cc");
		/* Four, PUSH, and POPF, which ends it after itself. */
		ok &= sum == 4 && steps == (n < HOT ? 0 : 6);
	}
	check(ok, "TF set in hot code: a trap for each instruction");
	trap_handler[DB] = NULL;
}

USER_CODE(u_misaligned, "pushfq\n\torl $0x40000, (%rsp)\n\t"
			"testl %edi, %edi\n\tjz 1f\n\tpopfq\n\tjmp 2f\n"
			"1:\tpopq %rax\n"
			"2:\tmovl user_data+1, %eax\n\tint $0x81");

static void alignment(void)
{
	bool ok = true;

	WRITE_CR(0, READ_CR(0) | AM);
	for (unsigned n = 0; n < HOT; n++) {
		user_run(u_misaligned, 0, 0);
		ok &= fault.vector == USER_DONE;
	}
	check(ok, "misaligned accesses, hot");
	user_run(u_misaligned, 1, 0);
	check_eq(fault.vector, AC, "with AC set amid them: #AC");
	user_run(u_misaligned, 0, 0);
	check_eq(fault.vector, USER_DONE, "and without again");
	WRITE_CR(0, READ_CR(0) & ~AM);
}

static void direction(void)
{
	static uint8_t text[] = "0123456789abcdef";
	bool ok = true;

	for (unsigned n = 0; n < 2 * HOT; n++) {
		uint64_t rsi = address(text + 8), up, down;

		__asm__ volatile("xorl %%eax, %%eax\n\tlodsb\n\tmovq %%rax, %1"
				 "\n\tstd\n\tlodsb\n\tlodsb\n\tcld\n\t"
				 "movzbl %%al, %%eax\n\tmovq %%rax, %2"
				 : "+S"(rsi), "=&r"(up), "=&r"(down)
				 :
				 : "rax", "memory", "cc");
		ok &= up == '8' && down == '8' && rsi == address(text + 7);
	}
	check(ok, "DF changes inside a block");
}

/* -- the process writes ------------------------------------------------------
 */

static volatile uint32_t seen, stop_it, went_back;

static void runner(unsigned id)
{
	uint32_t last = 0;

	while (!stop_it) {
		uint32_t v = (uint32_t)run(address(page[9]));

		went_back += v < last;
		last = v;
		seen = v;
	}
}

static void host_writes(void)
{
	unsigned bad = 0;

	put_code(page[9], 0);
	for (uint32_t v = 1; v < 200; v++) {
		run_hot(address(page[9]));
		host(HOST_WRITE, address(page[9]) + 1, v, 4);
		bad += run(address(page[9])) != v;
	}
	check_eq(bad, 0, "the process writes to hot code");
	lapic_enable();
	if (!check(cpu_start(1, runner), "vCPU 1 starts"))
		return;
	for (uint32_t v = 1000; v < 1200 && bad == 0; v++) {
		run_hot(address(page[9]));
		host(HOST_WRITE, address(page[9]) + 1, v, 4);
		bad += run(address(page[9])) != v;
		bad += !wait_for(&seen, v);
	}
	check_eq(bad, 0, "to code that two vCPUs run");
	check_eq(went_back, 0, "and none sees it go back");
	stop_it = 1;
}

void payload(void)
{
	for (unsigned n = 0; n < 10; n++)
		page[n] = page_alloc();
	part(interrupts);
	part(endless);
	part(short_lived);
	part(global_pages);
	part(remap);
	part(two_pages);
	part(strings);
	part(in_and_out);
	part(loops);
	part(next_page);
	part(privileges);
	part(bad_targets);
	part(clashes);
	part(single_steps);
	part(alignment);
	part(direction);
	part(host_writes);
}
