/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Code that is written to (SDM vol. 3, 12.6: self-modifying code needs no
 * more than a branch; here, as on every CPU since the Pentium, not even that;
 * 9.1.3 for code that another CPU modifies).
 */
#include "lib/guest.h"

typedef uint32_t code_fn(void);

static uint8_t *page, *page2;

#define V 0x200000000000ull

/* mov $value, %eax; ret */
static void put_code(volatile uint8_t *at, uint32_t value)
{
	at[0] = 0xb8;
	for (unsigned n = 0; n < 4; n++)
		at[1 + n] = (uint8_t)(value >> (8 * n));
	at[5] = 0xc3;
}

static uint32_t run(const volatile uint8_t *at)
{
	return ((code_fn *)(uintptr_t)at)();
}

/* Runs it often enough that whatever is cached, is. */
static uint32_t run_hot(const volatile uint8_t *at)
{
	uint32_t v = 0;

	for (unsigned n = 0; n < 50; n++)
		v = run(at);
	return v;
}

/* -- by each kind of store ------------------------------------------------- */

struct way {
	const char *name;
	void (*write)(volatile uint8_t *imm, uint32_t value);
};

static void by_mov(volatile uint8_t *imm, uint32_t v)
{
	*(volatile uint32_t *)imm = v;
}

static void by_bytes(volatile uint8_t *imm, uint32_t v)
{
	for (unsigned n = 0; n < 4; n++)
		imm[n] = (uint8_t)(v >> (8 * n));
}

static void by_movs(volatile uint8_t *imm, uint32_t v)
{
	uint64_t rcx = 4, rsi = (uint64_t)(uintptr_t)&v,
		 rdi = (uint64_t)(uintptr_t)imm;

	__asm__ volatile("rep movsb"
			 : "+c"(rcx), "+S"(rsi), "+D"(rdi)
			 :
			 : "memory");
}

static void by_stos(volatile uint8_t *imm, uint32_t v)
{
	uint64_t rcx = 1, rdi = (uint64_t)(uintptr_t)imm;

	__asm__ volatile("rep stosl"
			 : "+c"(rcx), "+D"(rdi)
			 : "a"(v)
			 : "memory");
}

static void by_xadd(volatile uint8_t *imm, uint32_t v)
{
	uint32_t add = v - *(volatile uint32_t *)imm;

	__asm__ volatile("lock xaddl %0, %1"
			 : "+r"(add), "+m"(*(volatile uint32_t *)imm)
			 :
			 : "memory", "cc");
}

static void by_cmpxchg(volatile uint8_t *imm, uint32_t v)
{
	uint32_t old = *(volatile uint32_t *)imm;

	__asm__ volatile("lock cmpxchgl %2, %1"
			 : "+a"(old), "+m"(*(volatile uint32_t *)imm)
			 : "r"(v)
			 : "memory", "cc");
}

static void by_xchg(volatile uint8_t *imm, uint32_t v)
{
	__asm__ volatile("xchgl %0, %1"
			 : "+r"(v), "+m"(*(volatile uint32_t *)imm)
			 :
			 : "memory");
}

static void by_xor(volatile uint8_t *imm, uint32_t v)
{
	v ^= *(volatile uint32_t *)imm;
	__asm__ volatile("xorl %1, %0"
			 : "+m"(*(volatile uint32_t *)imm)
			 : "r"(v)
			 : "cc");
}

/* The push writes 8 bytes: the opcode before and RET after too. */
static void by_push(volatile uint8_t *imm, uint32_t v)
{
	uint64_t all = 0xb8 | (uint64_t)v << 8 | 0xc3ull << 40;

	__asm__ volatile("movq %%rsp, %%r8; leaq 7(%0), %%rsp; pushq %1; "
			 "movq %%r8, %%rsp" ::"r"(imm),
			 "r"(all)
			 : "r8", "memory");
}

static void by_vector(volatile uint8_t *imm, uint32_t v)
{
	uint64_t all[2] = {0xb8 | (uint64_t)v << 8 | 0xc3ull << 40, 0};

	__asm__ volatile(
	    "movups (%0), %%xmm0; movups %%xmm0, -1(%1)" ::"r"(all), "r"(imm)
	    : "memory");
}

static void by_x87(volatile uint8_t *imm, uint32_t v)
{
	__asm__ volatile("fildl %1; fistpl %0"
			 : "=m"(*(volatile uint32_t *)imm)
			 : "m"(v));
}

static void by_ins(volatile uint8_t *imm, uint32_t v)
{
	uint64_t rdi = (uint64_t)(uintptr_t)imm;

	outl(PORT_TEST, v);
	__asm__ volatile("insl" : "+D"(rdi) : "d"(PORT_TEST) : "memory");
}

static void by_host(volatile uint8_t *imm, uint32_t v)
{
	host(HOST_WRITE, (uint64_t)(uintptr_t)imm, v, 4);
}

static void by_bts(volatile uint8_t *imm, uint32_t v)
{
	for (unsigned n = 0; n < 32; n++) {
		uint64_t bit = n;

		if (v >> n & 1)
			__asm__ volatile("btsl %k1, %0"
					 : "+m"(*(volatile uint32_t *)imm)
					 : "r"(bit)
					 : "cc");
		else
			__asm__ volatile("lock btrl %k1, %0"
					 : "+m"(*(volatile uint32_t *)imm)
					 : "r"(bit)
					 : "cc");
	}
}

static const struct way ways[] = {
    {"MOV", by_mov},          {"MOV of bytes", by_bytes},
    {"REP MOVS", by_movs},    {"REP STOS", by_stos},
    {"LOCK XADD", by_xadd},   {"LOCK CMPXCHG", by_cmpxchg},
    {"XCHG", by_xchg},        {"XOR", by_xor},
    {"PUSH", by_push},        {"MOVUPS", by_vector},
    {"FISTP", by_x87},        {"INS", by_ins},
    {"the process", by_host}, {"BTS, LOCK BTR", by_bts},
};

static void kinds_of_store(void)
{
	uint32_t v = 0x1000;

	WRITE_CR(0, (READ_CR(0) & ~4ull) | 2);
	WRITE_CR(4, READ_CR(4) | 0x600);
	__asm__ volatile("fninit");
	for (unsigned n = 0; n < sizeof(ways) / sizeof(ways[0]); n++) {
		bool ok = true;

		put_code(page + 64 * n, v);
		ok &= run_hot(page + 64 * n) == v;
		for (unsigned k = 0; k < 20; k++) {
			v += 0x01010101;
			v &= 0x7fffffff;
			ways[n].write(page + 64 * n + 1, v);
			ok &= run(page + 64 * n) == v;
			if (k & 1)
				ok &= run_hot(page + 64 * n) == v;
		}
		check(ok, ways[n].name);
	}
	/* Across two pages of code. */
	{
		bool ok = true;

		put_code(page + 4093, 1);
		for (uint32_t n = 0; n < 5; n++) {
			ok &= run_hot(page + 4093) == (n == 0 ? 1 : 7 + n);
			by_mov(page + 4094, 8 + n);
			ok &= run(page + 4093) == 8 + n;
		}
		check(ok, "code and store across two pages");
		put_code(page + 4093, 0x11223344);
		run_hot(page + 4093);
		page2[0] = 0x55;
		check_eq(run(page + 4093), 0x11553344,
			 "a store to the second page of an instruction");
		page[4094] = 0x66;
		check_eq(run(page + 4093), 0x11553366,
			 "a store to its first page");
	}
}

/* -- ahead, in the same block ------------------------------------------------
 */

static void ahead(void)
{
	uint32_t v;

	for (unsigned n = 1; n < 6; n++) {
		/* The store and what it changes stand in one block. */
		__asm__ volatile("movl %1, 1f+1\n"
				 "1:\tmovl $0, %0"
				 : "=a"(v)
				 : "r"(n)
				 : "memory");
		if (v != n)
			break;
	}
	check_eq(v, 5, "the next instruction");
	for (unsigned n = 1; n < 6; n++) {
		__asm__ volatile("movl %1, 1f+1\n\t"
				 "nop; nop; xorl %%ecx, %%ecx; incl %%ecx\n"
				 "1:\tmovl $0, %0\n\taddl $0, %0"
				 : "=a"(v)
				 : "r"(n)
				 : "rcx", "memory", "cc");
		if (v != n)
			break;
	}
	check_eq(v, 5, "a later instruction of the block");
	for (unsigned n = 1; n < 6; n++) {
		uint64_t rdi, rcx = 1;

		__asm__ volatile("movq $1f+1, %1\n\trep stosl\n"
				 "1:\tmovl $0, %%edx"
				 : "+c"(rcx), "=&D"(rdi), "=d"(v)
				 : "a"(n)
				 : "memory");
		if (v != n)
			break;
	}
	check_eq(v, 5, "the next instruction, by REP STOS");
	/* REP MOVS that overwrites itself: it has been fetched. */
	{
		static const uint8_t nops[16] = {[0 ... 15] = 0x90};
		uint64_t rcx = 8, rdi, rsi = (uint64_t)(uintptr_t)nops;

		__asm__ volatile("movq $1f-4, %1\n\tnop; nop; nop; nop\n"
				 "1:\trep movsb\n\tnop; nop"
				 : "+c"(rcx), "=&D"(rdi), "+S"(rsi)
				 :
				 : "memory");
		/* An interrupt may have ended it after the overwriting. */
		check(rcx <= 8, "REP MOVS over itself ends");
	}
	/* A loop that rewrites its own body each time. */
	{
		uint32_t sum = 0;

		__asm__ volatile("movl $100, %%ecx\n"
				 "2:\tmovl %%ecx, 1f+1\n"
				 "1:\tmovl $0, %%eax\n\t"
				 "addl %%eax, %0\n\t"
				 "loop 2b"
				 : "+r"(sum)
				 :
				 : "rax", "rcx", "memory", "cc");
		check_eq(sum, 5050, "a loop that rewrites its body");
	}
}

/* -- mappings
 * ------------------------------------------------------------------ */

static void mappings(void)
{
	volatile uint8_t *alias = (volatile uint8_t *)(uintptr_t)V;
	uint64_t a = (uint64_t)(uintptr_t)page, b = (uint64_t)(uintptr_t)page2;

	put_code(page, 1);
	put_code(page2, 2);
	map_page(V, a | PTE_P | PTE_W);
	check_eq(run_hot(alias), 1, "through an alias");
	by_mov(page + 1, 3);
	check_eq(run(alias), 3, "written by the first name, run by the second");
	by_mov(alias + 1, 4);
	check_eq(run(page), 4, "written by the second, run by the first");
	check_eq(run_hot(alias), 4, "and by the second");
	map_page(V, b | PTE_P | PTE_W);
	check_eq(run(alias), 2, "a code page mapped anew");
	by_mov(page + 1, 5);
	check_eq(run(alias), 2, "the old frame does not matter to it");
	by_mov(page2 + 1, 6);
	check_eq(run(alias), 6, "the new one does");
	map_page(V, a | PTE_P | PTE_W);
	check_eq(run(alias), 5, "and back");
	/* A page that is both code and often written. */
	{
		volatile uint32_t *data = (volatile uint32_t *)(page + 2048);
		bool ok = true;

		*data = 0;
		for (unsigned n = 0; n < 2000; n++) {
			(*data)++;
			ok &= run(page) == 5;
		}
		check(ok && *data == 2000, "data beside code");
	}
	/* Data in code's page by the process. */
	check_eq(host(HOST_WRITE, a + 2048, 77, 4), 0, "the write gate");
	check_eq(*(volatile uint32_t *)(page + 2048), 77, "its data");
	check(host(HOST_WRITE, 0xd0000000, 1, 4) != 0,
	      "the write gate: EFAULT outside RAM");
	map_page(V, 0);
	/* The same bytes at CPL 3 and CPL 0. */
	USER_CODE(u_cli, "cli\n nop\n ret");
	user_run(u_cli, 0, 0);
	check_eq(fault.vector, GP, "CLI at CPL 3");
	TRY("call *%0", ::"r"(u_cli) : "memory");
	check_eq(fault.vector, NO_FAULT, "the same CLI at CPL 0");
	user_run(u_cli, 0, 0);
	check_eq(fault.vector, GP, "and at CPL 3 again");
}

/* -- two vCPUs
 * ------------------------------------------------------------------ */

static volatile uint32_t seen, stop_it, bad;

/* Runs the code and tells what it returned; it must never go back. */
static void runner(unsigned id)
{
	uint32_t last = 0;

	while (!stop_it) {
		uint32_t v = run(page);

		if (v < last)
			bad++;
		last = v;
		seen = v;
	}
	seen = ~0u;
}

static void cross(const char *name, void (*write)(volatile uint8_t *, uint32_t),
		  uint32_t first, unsigned count)
{
	bool ok = true;

	for (uint32_t v = first; v < first + count && ok; v++) {
		write(page + 1, v);
		ok = wait_for(&seen, v);
	}
	check(ok, name);
	check_eq(bad, 0, "and it never saw an older one again");
}

static void two_cpus(void)
{
	page = page_alloc();
	put_code(page, 1);
	lapic_enable();
	check(cpu_start(1, runner), "vCPU 1 starts");
	check(wait_for(&seen, 1), "vCPU 1 runs the code");
	cross("vCPU 0 modifies, vCPU 1 runs it", by_mov, 2, 200);
	cross("by LOCK XADD", by_xadd, 300, 200);
	cross("by the process", by_host, 600, 200);
	/* Both run it, one modifies. */
	{
		bool ok = true;

		for (uint32_t v = 1000; v < 1200 && ok; v++) {
			by_mov(page + 1, v);
			ok = run(page) == v && wait_for(&seen, v);
		}
		check(ok && bad == 0, "both run it");
	}
	stop_it = 1;
	check(wait_for(&seen, ~0u), "vCPU 1 ends");
	/* Its code is still known, and it does not come to drop it. */
	for (uint64_t start = rdtsc(); rdtsc() - start < 100000000;)
		pause_cpu();
	by_xadd(page + 1, 2000);
	by_xor(page + 2048, 3000);
	check_eq(run(page), 2000, "locked stores to the code of a halted vCPU");
	check_eq(*(volatile uint32_t *)(page + 2048), 3000, "and beside it");
}

void payload(void)
{
	page = page_alloc();
	page2 = page_alloc(); /* the next one */
	check_eq((uint64_t)(uintptr_t)(page2 - page), 4096, "pages in a row");
	part(kinds_of_store);
	part(ahead);
	part(mappings);
	part(two_cpus);
}
