/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program's memory while the kernel changes what is where, with what rights:
 * made for a translator that has the host's MMU look at accesses. Each is made
 * in several ways, as the way to the operand depends on its address' form.
 */
#include "lib/guest.h"

#define V       0x200000000000ull /* a free PML4 slot */
#define V2M     (V + BIT(30))
#define RUNS    40
#define USER    (PTE_P | PTE_W | PTE_U)
#define AC_BIT  BIT(18)
#define CR0_AM  BIT(18)
#define PCIDE   BIT(17)
#define NOFLUSH BIT(63)

/* RDI's word to RAX. */
USER_CODE(load_base, "movq (%rdi), %rax\n int $0x81");
USER_CODE(load_pop, "movq %rdi, %rsp\n popq %rax\n int $0x81");
USER_CODE(load_index, "leaq -800(%rdi), %rsp\n movl $100, %ecx\n"
		      "movq (%rsp, %rcx, 8), %rax\n int $0x81");
USER_CODE(load_below, "leaq 8(%rdi), %rsp\n movq $-1, %rcx\n"
		      "movq (%rsp, %rcx, 8), %rax\n int $0x81");
USER_CODE(load_far, "leaq 0x70000000(%rdi), %rbx\n"
		    "movq -0x70000000(%rbx), %rax\n int $0x81");
USER_CODE(load_loop, "movl $3, %ecx\n 1: movq (%rdi), %rax\n decl %ecx\n"
		     "jnz 1b\n int $0x81");
USER_CODE(load_vector, "movq (%rdi), %xmm0\n movq %xmm0, %rax\n int $0x81");
/* It becomes one more, and RAX what it was. */
USER_CODE(add_base, "movq (%rdi), %rax\n incq (%rdi)\n int $0x81");
USER_CODE(add_push, "movq (%rdi), %rax\n leaq 1(%rax), %rcx\n"
		    "leaq 8(%rdi), %rsp\n pushq %rcx\n int $0x81");
USER_CODE(add_index, "leaq -800(%rdi), %rsp\n movl $100, %ecx\n"
		     "movl $1, %eax\n lock xaddq %rax, (%rsp, %rcx, 8)\n"
		     "int $0x81");
USER_CODE(add_x87, "movq (%rdi), %rax\n leaq 1(%rax), %rcx\n"
		   "movq %rcx, -16(%rsp)\n fninit\n fildq -16(%rsp)\n"
		   "fistpq (%rdi)\n int $0x81");

static const uint8_t *const loads[] = {load_base,  load_pop, load_index,
				       load_below, load_far, load_loop,
				       load_vector};
static const uint8_t *const adds[] = {add_base, add_push, add_index, add_x87};

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t address(const void *p)
{
	return (uint64_t)(uintptr_t)p;
}

static bool all_load(uint64_t va, uint64_t want)
{
	bool ok = true;

	for (unsigned k = 0; k < COUNT(loads); k++)
		ok &= user_run(loads[k], va, 0) == want &&
		      fault.vector == USER_DONE;
	return ok;
}

/* *at is where the host sees it. */
static bool all_add(uint64_t va, volatile uint64_t *at)
{
	bool ok = true;

	for (unsigned k = 0; k < COUNT(adds); k++) {
		uint64_t was = *at;

		ok &= user_run(adds[k], va, 0) == was && *at == was + 1 &&
		      fault.vector == USER_DONE;
	}
	return ok;
}

static bool faulted(uint64_t cr2, uint64_t error)
{
	return fault.vector == PF && fault.error == error && fault.cr2 == cr2;
}

static bool no_load(uint64_t va, uint64_t cr2)
{
	bool ok = true;

	for (unsigned k = 0; k < COUNT(loads); k++) {
		user_run(loads[k], va, 0);
		ok &= faulted(cr2, 4);
	}
	return ok;
}

static bool no_add(uint64_t va, uint64_t cr2, volatile uint64_t *at)
{
	uint64_t was = *at;
	bool ok = true;

	for (unsigned k = 0; k < COUNT(adds); k++) {
		user_run(adds[k], va, 0);
		ok &= faulted(cr2, 7) && *at == was;
	}
	return ok;
}

static void fpu(void)
{
	WRITE_CR(4, READ_CR(4) | BIT(9) | BIT(10));
	__asm__ volatile("fninit");
}

/* -- one page
 * ------------------------------------------------------------------
 */

static void remapped(void)
{
	uint64_t *page[2] = {page_alloc(), page_alloc()};
	bool ok = true, added = true;

	for (unsigned n = 0; n < RUNS; n++) {
		uint64_t *p = page[n & 1];

		*(volatile uint64_t *)p = 1000 + n;
		map_page(V, address(p) | USER);
		ok &= all_load(V, 1000 + n);
		added &= all_add(V, p);
	}
	check(ok, "a page that is another one each time");
	check(added, "and is written to");
}

static void dirty(void)
{
	uint64_t *p = page_alloc(), *pte = pte_of(V, 1);
	bool clean = true, set = true;

	for (unsigned n = 0; n < RUNS; n++) {
		map_page(V, address(p) | USER);
		clean &= all_load(V, *p) && (*pte & (PTE_A | PTE_D)) == PTE_A;
		set &= user_run(adds[n % COUNT(adds)], V, 0) + 1 == *p &&
		       (*pte & PTE_D) != 0;
	}
	check(clean, "what is only read stays clean");
	check(set, "and becomes dirty when it is written to");
}

static void rights(void)
{
	uint64_t *p = page_alloc();
	bool none = true, read = true, kept = true, written = true;

	for (unsigned n = 0; n < RUNS; n++) {
		map_page(V, address(p) | PTE_P | PTE_U);
		read &= all_load(V, *p);
		kept &= no_add(V, V, p);
		/* More rights need no INVLPG. */
		*pte_of(V, 1) |= PTE_W;
		written &= all_add(V, p);
		map_page(V, 0);
		none &= no_load(V, V);
		map_page(V, address(p) | PTE_P | PTE_W);
		user_run(loads[n % COUNT(loads)], V, 0);
		none &= faulted(V, 5);
	}
	check(read, "a page that may be read is");
	check(kept, "and not written to");
	check(written, "until it may be");
	check(none, "what is not there, or the kernel's, faults");
}

static void crossing(void)
{
	uint8_t *p = page_alloc(), *next = page_alloc();
	volatile uint64_t *end = (uint64_t *)(void *)(p + 4088);
	bool ok = true, none = true, kept = true;

	for (unsigned n = 0; n < RUNS; n++) {
		*(volatile uint32_t *)(void *)(p + 4092) = n;
		*(volatile uint32_t *)(void *)next = 7;
		map_page(V, address(p) | USER);
		map_page(V + 4096, address(next) | USER);
		ok &= all_load(V + 4092, n | 7ull << 32);
		map_page(V + 4096, address(next) | PTE_P | PTE_U);
		kept &= no_add(V + 4092, V + 4096, end);
		map_page(V + 4096, 0);
		none &= no_load(V + 4092, V + 4096);
		map_page(V, 0);
		none &= no_load(V + 4092, V + 4092);
	}
	check(ok, "operands in two pages");
	check(none, "of which one is not there");
	check(kept, "or may not be written to: then neither is");
}

static void canonical(void)
{
	static const uint64_t wrong[] = {BIT(47), V | BIT(63), V | BIT(47),
					 V | BIT(52), ~0ull << 48 | V};
	uint64_t *p = page_alloc();
	bool ok = true;

	map_page(V, address(p) | USER);
	for (unsigned n = 0; n < RUNS; n++) {
		ok &= all_load(V, 0);
		user_run(loads[n % COUNT(loads)],
			 wrong[n / COUNT(loads) % COUNT(wrong)], 0);
		ok &= fault.vector == GP || fault.vector == SS;
	}
	check(ok, "addresses that are not canonical");
}

static void aligned(void)
{
	uint64_t *p = page_alloc();
	bool ok = true;

	map_page(V, address(p) | USER);
	WRITE_CR(0, READ_CR(0) | CR0_AM);
	for (unsigned n = 0; n < RUNS; n++) {
		ok &= all_load(V + 1, 0);
		user_run(loads[n % COUNT(loads)], V + 1, AC_BIT);
		ok &= fault.vector == AC;
	}
	WRITE_CR(0, READ_CR(0) & ~CR0_AM);
	check(ok, "AC says what must be aligned");
}

/* -- code
 * ------------------------------------------------------------------------
 */

/* The code at RDI is a MOV to EAX, of one more each time. */
USER_CODE(patch, "incl 1(%rdi)\n jmp *%rdi");

static bool patched(uint64_t va, uint8_t *p, unsigned runs)
{
	static const uint8_t code[] = {0xb8, 0, 0, 0, 0, 0xcd, 0x81};
	bool ok = true;

	for (unsigned n = 0; n < sizeof(code); n++)
		((volatile uint8_t *)p)[n] = code[n];
	for (unsigned n = 1; n <= runs; n++)
		ok &= user_run(patch, va, 0) == n && all_load(va + 64, 0);
	return ok;
}

static void code(void)
{
	uint8_t *p = page_alloc();

	map_page(V, address(p) | USER);
	check(all_add(V + 128, (uint64_t *)(void *)(p + 128)),
	      "a page that is written to");
	check(patched(V, p, RUNS), "and has code, which is written to");
	map_page(V + 4096, address(p) | USER);
	check(patched(V + 4096, p, RUNS), "under another address");
}

/* -- a large page
 * -----------------------------------------------------------------
 */

static volatile uint64_t *word(uint64_t gpa)
{
	return (volatile uint64_t *)(uintptr_t)gpa;
}

static void large(void)
{
	uint64_t *pde = pte_of(V2M, 2);
	bool ok = true, kept = true, clean = true;

	for (unsigned n = 0; n < RUNS; n++) {
		uint64_t gpa = n & 1 ? 0x800000 : 0x600000, off = n * 5000 * 8;

		*pde = gpa | USER | PTE_PS;
		invlpg((void *)(uintptr_t)(V2M + 0x1000));
		*word(gpa + off) = n;
		ok &= all_load(V2M + off, n);
		clean &= !(*pde & PTE_D);
		ok &= all_add(V2M + off, word(gpa + off)) &&
		      all_add(V2M + 0x1ff000, word(gpa + 0x1ff000));
		*pde = gpa | PTE_P | PTE_U | PTE_PS;
		invlpg((void *)(uintptr_t)(V2M + 0x2000));
		kept &= no_add(V2M + off, V2M + off, word(gpa + off));
	}
	check(ok, "2 MiB at once, another each time");
	check(clean, "clean until they are written to");
	check(kept, "and not if they may not be");
	*pde = 0x600000ull | USER | PTE_PS;
	invlpg((void *)(uintptr_t)V2M);
	check(patched(V2M + 0x5000, (uint8_t *)(uintptr_t)0x605000, RUNS),
	      "code in them is written to");
	check(all_add(V2M + 0x6000, word(0x606000)), "and the rest of them");
	*pde = address(page_alloc()) | USER;
	invlpg((void *)(uintptr_t)V2M);
	map_page(V2M + 0x6000, 0x807000ull | USER);
	check(all_add(V2M + 0x6000, word(0x807000)), "a small one of them");
	check(no_load(V2M + 0x5000, V2M + 0x5000), "without the others");
	*pde = 0;
	flush_all();
}

/* -- pages side by side
 * ------------------------------------------------------------
 */

#define BESIDE 16 /* what one fault may map */
#define SEEN   (USER | PTE_A | PTE_D)

enum { BESIDE_CLEAN = 8, BESIDE_NONE = 10, BESIDE_NEW = 12, BESIDE_KEPT = 14 };

static uint64_t beside_bits(unsigned n)
{
	return n == BESIDE_CLEAN  ? SEEN & ~PTE_D
	       : n == BESIDE_NONE ? SEEN & ~PTE_P
	       : n == BESIDE_NEW  ? SEEN & ~PTE_A
	       : n == BESIDE_KEPT ? SEEN & ~PTE_W
				  : SEEN;
}

/* They lie side by side in memory, too, but for two of them. */
static unsigned beside_frame(unsigned n)
{
	return n == 4 || n == 5 ? n ^ 1 : n;
}

static uint64_t beside_va(unsigned n)
{
	return V + n % BESIDE * 4096ull;
}

/* Their frames have their numbers in them. */
static uint64_t *beside_map(uint8_t *frames, unsigned n)
{
	uint64_t *p = (uint64_t *)(void *)(frames + beside_frame(n) * 4096u);

	*(volatile uint64_t *)p = beside_frame(n);
	map_page(beside_va(n), address(p) | beside_bits(n));
	return p;
}

/* A load, the first one of page first. */
static bool beside_load(unsigned first)
{
	bool ok = true;

	for (unsigned k = 0; k < BESIDE; k++) {
		unsigned n = (first + k) % BESIDE;

		if (n == BESIDE_NONE || n == BESIDE_NEW)
			continue;
		ok &= user_run(loads[k % COUNT(loads)], beside_va(n), 0) ==
			  beside_frame(n) &&
		      fault.vector == USER_DONE;
	}
	return ok;
}

static void beside(void)
{
	bool ok = true, marked = true, none = true, kept = true, gone = true;
	uint64_t *p[BESIDE], *clean, *unread;
	uint8_t *frames = page_alloc();

	for (unsigned n = 1; n < BESIDE; n++)
		page_alloc();
	for (unsigned first = 0; first < BESIDE; first++) {
		for (unsigned n = 0; n < BESIDE; n++)
			p[n] = beside_map(frames, n);
		clean = pte_of(beside_va(BESIDE_CLEAN), 1);
		unread = pte_of(beside_va(BESIDE_NEW), 1);
		ok &= beside_load(first);
		marked &= !(*clean & PTE_D) && !(*unread & PTE_A);
		none &= no_load(beside_va(BESIDE_NONE), beside_va(BESIDE_NONE));
		kept &= no_add(beside_va(BESIDE_KEPT), beside_va(BESIDE_KEPT),
			       p[BESIDE_KEPT]);
		if (first != BESIDE_NONE && first != BESIDE_KEPT &&
		    first != BESIDE_NEW && first != BESIDE_CLEAN)
			ok &= all_add(beside_va(first), p[first]);
		/* In one way only: each next one might see to it. */
		user_run(loads[first % COUNT(loads)], beside_va(BESIDE_NEW), 0);
		user_run(adds[first % COUNT(adds)], beside_va(BESIDE_CLEAN), 0);
		marked &= (*clean & PTE_D) && (*unread & PTE_A);
		map_page(beside_va(1), 0);
		map_page(beside_va(2), address(p[3]) | SEEN);
		gone &= no_load(beside_va(1), beside_va(1)) &&
			all_load(beside_va(2), *p[3]) &&
			all_load(beside_va(0), *p[0]);
	}
	check(ok, "pages side by side, each its own");
	check(marked, "accessed and dirty by what was done to each");
	check(none, "one of them not there");
	check(kept, "one of them not to be written to");
	check(gone, "one is gone and one another, the rest stay");
}

/* -- address spaces
 * ----------------------------------------------------------------
 */

static uint64_t *space_with(uint64_t page)
{
	uint64_t *top = page_alloc(), *t = top;

	for (unsigned n = 0; n < 512; n++)
		top[n] = pml4[n];
	for (unsigned level = 4; level > 1; level--) {
		uint64_t *lower = page_alloc();

		t[V >> (12 + 9 * (level - 1)) & 511] = address(lower) | USER;
		t = lower;
	}
	t[V >> 12 & 511] = page | USER;
	return top;
}

/* As many as keep their tables; with 16 vCPUs, more than there are addresses
   for their windows. */
#define PROGRAMS 6

static void spaces(void)
{
	uint64_t *page[PROGRAMS], cr3 = READ_CR(3), space[PROGRAMS];
	bool has_pcid = cpuid(1, 0).c & PCIDE, ok = true;

	for (unsigned k = 0; k < PROGRAMS; k++) {
		page[k] = page_alloc();
		space[k] = address(space_with(address(page[k])));
	}
	for (unsigned n = 0; n < 2 * RUNS; n++) {
		unsigned k = n % PROGRAMS;

		if (n == RUNS && has_pcid)
			WRITE_CR(4, READ_CR(4) | PCIDE);
		*(volatile uint64_t *)page[k] = n;
		WRITE_CR(3, n >= RUNS + PROGRAMS && has_pcid
				? space[k] | (k + 1) | NOFLUSH
			    : n >= RUNS && has_pcid ? space[k] | (k + 1)
						    : space[k]);
		ok &= all_load(V, n) && all_add(V, page[k]);
	}
	WRITE_CR(3, cr3 & ~0xfffull);
	if (has_pcid)
		WRITE_CR(4, READ_CR(4) & ~PCIDE);
	WRITE_CR(3, cr3);
	check(ok, "programs that have another page there");
}

void payload(void)
{
	fpu();
	/* Before there were so many faults that accesses go by the TLB. */
	part(beside);
	fpu();
	part(remapped);
	fpu();
	part(dirty);
	part(rights);
	part(crossing);
	part(canonical);
	part(aligned);
	part(code);
	part(large);
	part(spaces);
}
