/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Locked instructions whose operand crosses a cache line or a page are atomic
 * (SDM vol. 3, 9.1.2): between vCPUs that do the same, and against such that
 * change a part of it. The pages are neighbours, or are not.
 */
#include "lib/guest.h"

static uint8_t lines[8192] __attribute__((aligned(4096)));
static volatile uint32_t *counter; /* crosses the boundary in its middle */
static volatile uint32_t started, finished;
static unsigned rounds;
static volatile uint64_t plain;

static void wait_all(volatile uint32_t *word)
{
	__asm__ volatile("lock incl %0" : "+m"(*word)::"memory");
	while (*word < cpu_count())
		pause_cpu();
}

/* Even vCPUs add 1 to the whole, odd ones 10000H to its upper half alone. */
static void work(unsigned id)
{
	volatile uint16_t *high = (volatile uint16_t *)counter + 1;

	wait_all(&started);
	for (unsigned n = 0; n < rounds; n++) {
		if (id % 2 == 0)
			__asm__ volatile("lock addl $1, %0"
					 : "+m"(*counter)::"memory", "cc");
		else
			__asm__ volatile("lock addw $1, %0"
					 : "+m"(*high)::"memory", "cc");
	}
	__asm__ volatile("lock incl %0" : "+m"(finished)::"memory");
}

/* A lock by XCHG on a word that crosses, around what is not atomic. */
static void work_xchg(unsigned id)
{
	wait_all(&started);
	for (unsigned n = 0; n < rounds; n++) {
		uint32_t v = 1;

		do {
			v = 1;
			__asm__ volatile("xchgl %0, %1"
					 : "+r"(v), "+m"(*counter)::"memory");
			if (v != 0)
				pause_cpu();
		} while (v != 0);
		plain = plain + 1;
		__asm__ volatile("lock andl $0, %0"
				 : "+m"(*counter)::"memory", "cc");
	}
	__asm__ volatile("lock incl %0" : "+m"(finished)::"memory");
}

static void all(void (*fn)(unsigned id))
{
	*counter = 0;
	plain = 0;
	started = finished = 0;
	for (unsigned id = 1; id < cpu_count(); id++)
		if (!cpu_start(id, fn))
			check(false, "a vCPU starts");
	fn(0);
	while (finished < cpu_count())
		pause_cpu();
}

static void one_place(uint64_t at, unsigned times, const char *add,
		      const char *xchg)
{
	unsigned cpus = cpu_count();
	uint32_t even = (cpus + 1) / 2 * times, odd = cpus / 2 * times;

	rounds = times;
	counter = (volatile uint32_t *)(uintptr_t)(at - 2);
	all(work);
	check_eq(*counter, even + (odd << 16), add);
	all(work_xchg);
	check_eq(plain, (uint64_t)cpus * rounds, xchg);
}

void payload(void)
{
	uint64_t far = 0x300000000000;
	uint8_t *page[3] = {page_alloc(), page_alloc(), page_alloc()};
	uint64_t v = 0x1111, *p;

	map_page(far, (uint64_t)(uintptr_t)page[2] | PTE_P | PTE_W);
	map_page(far + 4096, (uint64_t)(uintptr_t)page[0] | PTE_P | PTE_W);
	one_place((uint64_t)(uintptr_t)lines + 64, 2000,
		  "LOCK ADD across lines", "XCHG across lines");
	one_place((uint64_t)(uintptr_t)lines + 4096, 2000,
		  "LOCK ADD across neighbouring pages",
		  "XCHG across neighbouring pages");
	one_place(far + 4096, 500, "LOCK ADD across pages that are apart",
		  "XCHG across pages that are apart");
	check(*(volatile uint16_t *)(page[2] + 4094) == 0 &&
		  *(volatile uint16_t *)page[0] == 0,
	      "both pages have their half");
	/* CMPXCHG and XADD of 8 bytes. */
	p = (uint64_t *)(uintptr_t)(far + 4096 - 3);
	*p = 0x0123456789abcdef;
	__asm__ volatile("lock xaddq %0, %1"
			 : "+r"(v), "+m"(*p)::"memory", "cc");
	check(v == 0x0123456789abcdef && *p == 0x0123456789abcdef + 0x1111,
	      "LOCK XADD of 8 bytes");
	/* A second page that may not be written: nothing is done. */
	map_page(far + 4096, (uint64_t)(uintptr_t)page[0] | PTE_P);
	TRY("lock addl $1, (%0)", ::"r"(far + 4094) : "memory", "cc");
	check(fault.vector == PF && fault.error == 3 && fault.cr2 == far + 4096,
	      "a read-only second page: #PF there");
	check_eq(*p, 0x0123456789abcdef + 0x1111, "and nothing has changed");
}
