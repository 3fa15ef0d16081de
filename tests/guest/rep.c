/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * REP can be interrupted: a fault, or an interrupt, in the middle leaves the
 * registers where it stands, and it goes on from there (SDM vol. 2, REP).
 */
#include "lib/guest.h"

#define HOLE   0x400000000000ull /* a page that comes and goes, after one */
#define VECTOR 0x95
#define NONE   0x123456789000ull

#define BIG_BYTES (4u << 20)
static uint8_t *const big = (uint8_t *)0x1000000; /* RAM that nobody uses */

static void faults(void)
{
	uint8_t *first = page_alloc(), *second = page_alloc();
	uint64_t rcx = 4096 + 100, rsi = (uint64_t)(uintptr_t)big, rdi = HOLE;

	for (unsigned n = 0; n < 8192; n++)
		big[n] = (uint8_t)(n * 7);
	map_page(HOLE, (uint64_t)(uintptr_t)first | PTE_P | PTE_W);
	map_page(HOLE + 4096, 0);
	TRY("rep movsb", : "+c"(rcx), "+S"(rsi), "+D"(rdi)::"memory");
	fault_is(PF, 2, "REP MOVSB into a page that is not there: #PF");
	check_eq(fault.cr2, HOLE + 4096, "its address");
	check(fault.frame.rcx == 100 && fault.frame.rdi == HOLE + 4096 &&
		  fault.frame.rsi == (uint64_t)(uintptr_t)big + 4096,
	      "RCX, RSI and RDI stand at the element that faulted");
	check(first[4095] == (uint8_t)(4095 * 7), "the ones before are done");
	map_page(HOLE + 4096, (uint64_t)(uintptr_t)second | PTE_P | PTE_W);
	__asm__ volatile("rep movsb"
			 : "+c"(rcx), "+S"(rsi), "+D"(rdi)::"memory");
	check(rcx == 0 && second[99] == (uint8_t)(4195 * 7) && second[100] == 0,
	      "and it goes on from there");

	/* Backwards, into a page that is not there below. */
	map_page(HOLE, 0);
	rcx = 10;
	rdi = HOLE + 4096 + 16;
	TRY("std\n\trep stosq\n2:\tcld",
	    : "+c"(rcx), "+D"(rdi)
	    : "a"(0x1122334455667788)
	    : "memory", "cc");
	__asm__ volatile("cld");
	check(fault.vector == PF && fault.frame.rcx == 7 &&
		  fault.frame.rdi == HOLE + 4096 - 8,
	      "REP STOSQ backwards: the fourth faults");

	/* A comparison that faults keeps the flags of the one before. */
	rcx = 8192;
	rdi = HOLE + 4096;
	for (unsigned n = 0; n < 4096; n++)
		second[n] = 0;
	map_page(HOLE + 8192, 0);
	TRY("xor %%eax, %%eax\n\trepe scasb\n2:",
	    : "+c"(rcx), "+D"(rdi)
	    :
	    : "rax", "memory", "cc");
	check(fault.vector == PF && fault.frame.rcx == 4096 &&
		  (fault.frame.rflags & 0x40),
	      "REPE SCASB: RCX and ZF as far as it came");
	/* None at all. */
	rcx = 0;
	rdi = NONE;
	__asm__ volatile("rep stosb"
			 : "+c"(rcx), "+D"(rdi)
			 : "a"(0)
			 : "memory");
	check_eq(rdi, NONE, "RCX 0: nothing is touched");
	/* With 67H only ECX counts. */
	rcx = 0x500000003;
	rdi = (uint64_t)(uintptr_t)big;
	__asm__ volatile(".byte 0x67\n\trep stosb"
			 : "+c"(rcx), "+D"(rdi)
			 : "a"(0)
			 : "memory");
	check_eq(rdi, (uint64_t)(uintptr_t)big + 3,
		 "67H: ECX counts, EDI moves");
	check_eq(rcx, 0, "67H: RCX is ECX, extended");
}

static volatile unsigned came, middle;
static uint64_t rep_at, rcx_seen;

static void on_timer(struct frame *frame)
{
	came++;
	if (frame->rip == rep_at && frame->rcx != 0) {
		middle++;
		rcx_seen = frame->rcx;
	}
	lapic_eoi();
}

static void interrupts(void)
{
	unsigned tries = 0;

	trap_handler[VECTOR] = on_timer;
	lapic_enable();
	lapic_write(LAPIC_DIVIDE, 0xb);
	/* Loads go one by one, and so take a while. */
	while (middle == 0 && tries++ < 200) {
		uint64_t rcx = BIG_BYTES, rsi = (uint64_t)(uintptr_t)big;

		lapic_write(LAPIC_TIMER, VECTOR);
		lapic_write(LAPIC_INITIAL, 200000);
		__asm__ volatile(
		    "lea 1f(%%rip), %%rax\n\tmov %%rax, %2\n\tsti\n"
		    "1:\trep lodsb\n\tcli"
		    : "+c"(rcx), "+S"(rsi), "=m"(rep_at)
		    :
		    : "rax", "memory", "cc");
		if (rcx != 0 || rsi != (uint64_t)(uintptr_t)big + BIG_BYTES)
			check(false, "REP LODSB ends where it should");
	}
	check(middle != 0, "an interrupt in the middle of REP LODSB");
	check(rcx_seen < BIG_BYTES, "RCX tells how far it was");
	lapic_write(LAPIC_INITIAL, 0);
}

void payload(void)
{
	faults();
	interrupts();
}
