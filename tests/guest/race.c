/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU looks at memory that another one is writing to all the time: in hot
 * code, one instruction at a time (TF), by strings, with a lock. It must see
 * what was written, in its order; and to soft.jit=verify, which runs each
 * instruction twice, this is no difference.
 */
#include "lib/guest.h"

#define TURNS 30000
#define TF    BIT(8)

static volatile uint64_t word __attribute__((aligned(64)));
static volatile uint64_t line[8] __attribute__((aligned(64)));
static volatile uint32_t way, ended;

KERNEL_CODE(k_one, "movl $1, %eax\n\tret");
KERNEL_CODE(k_two, "movl $2, %eax\n\tret");
static const void *volatile target = k_one;

/* -- who writes ------------------------------------------------------------ */

enum { BY_MOV, BY_STEPS, BY_LOCK, BY_STRING, BY_TARGET, WAYS };

static void on_step(struct frame *frame)
{
}

static void write_by(uint32_t how)
{
	static uint64_t from[8];
	uint64_t rcx = 8, rsi = (uint64_t)(uintptr_t)from,
		 rdi = (uint64_t)(uintptr_t)line;

	switch (how) {
	case BY_MOV:
		word = word + 1;
		break;
	case BY_STEPS:
		__asm__ volatile("pushfq\n\torl $0x100, (%%rsp)\n\tpopfq\n\t"
				 "incq %0\n\tincq %0\n\tincq %0\n\t"
				 "pushfq\n\tandl $~0x100, (%%rsp)\n\tpopfq"
				 : "+m"(word)
				 :
				 : "memory", "cc");
		break;
	case BY_LOCK:
		__asm__ volatile("lock incq %0" : "+m"(word) : : "cc");
		break;
	case BY_STRING:
		for (unsigned n = 0; n < 8; n++)
			from[n]++;
		__asm__ volatile("rep movsq"
				 : "+c"(rcx), "+S"(rsi), "+D"(rdi)
				 :
				 : "memory");
		break;
	default:
		target = target == k_one ? k_two : k_one;
		break;
	}
}

/* Until it is to write in another way, or not at all. */
static void writer(unsigned id)
{
	for (uint32_t how = 0; how < WAYS; ended = ++how)
		while (way == how)
			write_by(how);
}

static void next_way(uint32_t how)
{
	way = how + 1;
	check(wait_for(&ended, how + 1), "the writer goes on");
}

/* -- who looks ------------------------------------------------------------- */

/* So often, and until something was seen; but not for ever. */
static bool goes_on(unsigned turn, bool seen)
{
	static uint64_t start;

	if (turn == 0)
		start = rdtsc();
	return turn < TURNS || (!seen && rdtsc() - start < 40000000000ull);
}

/* By several kinds of instructions; false: it went back. */
static bool look(uint64_t *last)
{
	uint64_t a = *last, b, c = 0, d = 0;
	uint8_t less;

	__asm__ volatile("movq %5, %1\n\taddq %5, %2\n\torq %5, %3\n\t"
			 "cmpq %5, %3\n\tseta %4\n\tmovq %5, %0"
			 : "=&r"(a), "=&r"(b), "+&r"(c), "+&r"(d), "=&q"(less)
			 : "m"(word)
			 : "cc");
	if (b < *last || c < b || d < c || less || a < d)
		return false;
	*last = a;
	return true;
}

static void looks(uint32_t how, const char *name)
{
	uint64_t last = 0, first;
	unsigned bad = 0;

	look(&last);
	first = last;
	for (unsigned n = 0; goes_on(n, last != first); n++)
		bad += !look(&last);
	check_eq(bad, 0, name);
	check(last != first, "and there was something to see");
	next_way(how);
}

/* The words of a line are written upwards. */
static void strings(void)
{
	unsigned bad = 0;

	for (unsigned n = 0; goes_on(n, line[0] != 0); n++)
		for (unsigned k = 0; k < 7; k++) {
			uint64_t high = line[k + 1], low = line[k];

			bad += low < high;
		}
	check_eq(bad, 0, "by REP MOVS");
	check(line[0] != 0, "and there was something to see");
	next_way(BY_STRING);
}

static void targets(void)
{
	unsigned seen[3] = {0};

	for (unsigned n = 0; goes_on(n, seen[1] != 0 && seen[2] != 0); n++) {
		uint64_t v = 0;

		__asm__ volatile("call *%1" : "+a"(v) : "m"(target) : "memory");
		seen[v < 3 ? v : 0]++;
	}
	check_eq(seen[0], 0, "CALL by a pointer that changes");
	check(seen[1] != 0 && seen[2] != 0, "and it did change");
	next_way(BY_TARGET);
}

void payload(void)
{
	lapic_enable();
	trap_handler[DB] = on_step;
	if (!check(cpu_start(1, writer), "vCPU 1 starts"))
		return;
	looks(BY_MOV, "by MOV");
	looks(BY_STEPS, "by INC, with TF");
	looks(BY_LOCK, "by LOCK INC");
	strings();
	targets();
}
