/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RET, indirect jumps and calls that seldom go where they went before, among
 * more code than fits into a small soft.jit.cache: it is emptied again and
 * again while the code runs.
 */
#include "lib/guest.h"

#define PIECES 32768
#define BYTES  32 /* of a piece */
#define STEPS  (2 * PIECES)

#define STACK (STEPS / 4 * 8 + 4096) /* of CALLs that nest */

static uint8_t *code, *stack_top;
static uint64_t *table; /* the next piece's address */

static uint8_t *piece(unsigned n)
{
	return code + n * BYTES;
}

/*
 * RDI sum, RSI steps left, RDX the table:
 *	imul rdi, rdi, 3; jmp over ud2; add rdi, n; dec rsi; jz to the ret at
 *	the end
 * and, in turn,
 *	jmp [rdx + n * 8] | push [rdx + n * 8]; ret | call [rdx + n * 8]; ret
 */
static void put_piece(unsigned n)
{
	volatile uint8_t *at = piece(n);
	uint32_t offset = n * 8;
	uint8_t bytes[BYTES] = {0x48, 0x6b, 0xff, 3,    /* imul */
				0xeb, 2,    0x0f, 0x0b, /* jmp, ud2 */
				0x48, 0x81, 0xc7, (uint8_t)n, (uint8_t)(n >> 8),
				0,    0,    0x48, 0xff,       0xce, /* dec */
				0x74, 7};
	unsigned used = 20;

	bytes[used++] = 0xff;
	bytes[used++] = n % 4 == 0 ? 0x92 : n % 4 == 1 ? 0xb2 : 0xa2;
	for (unsigned k = 0; k < 4; k++)
		bytes[used++] = (uint8_t)(offset >> 8 * k);
	bytes[used++] = 0xc3;
	bytes[used++] = 0x48; /* mov rax, rdi; ret */
	bytes[used++] = 0x89;
	bytes[used++] = 0xf8;
	bytes[used++] = 0xc3;
	for (unsigned k = 0; k < used; k++)
		at[k] = bytes[k];
}

/* Circles of so many, a power of two, which jump about. */
static unsigned circle = PIECES;

static unsigned after(unsigned n)
{
	return n - n % circle + (n * 5 + 2741) % circle;
}

static uint64_t wanted(unsigned n, unsigned steps)
{
	uint64_t sum = 0;

	for (; steps != 0; steps--, n = after(n))
		sum = sum * 3 + n;
	return sum;
}

static uint64_t walk(unsigned n, uint64_t steps)
{
	uint64_t sum = 0, result;
	const void *first = piece(n);

	__asm__ volatile("movq %%rsp, %%rbx\n\tmovq %5, %%rsp\n\tcall *%4\n\t"
			 "movq %%rbx, %%rsp"
			 : "=&a"(result), "+D"(sum), "+S"(steps)
			 : "d"(table), "r"(first), "r"(stack_top)
			 : "rbx", "rcx", "memory", "cc");
	return result;
}

static void *pages_alloc(unsigned count)
{
	void *first = page_alloc();

	while (--count != 0)
		page_alloc(); /* the next one */
	return first;
}

static void make_pieces(void)
{
	table = pages_alloc(PIECES * 8 / 4096);
	code = pages_alloc(PIECES * BYTES / 4096);
	stack_top = (uint8_t *)pages_alloc(STACK / 4096) + STACK;
	for (unsigned n = 0; n < PIECES; n++)
		put_piece(n);
}

static void make_circles(unsigned pieces)
{
	circle = pieces;
	for (unsigned n = 0; n < PIECES; n++)
		table[n] = (uint64_t)(uintptr_t)piece(after(n));
}

void payload(void)
{
	unsigned bad = 0;

	make_pieces();
	make_circles(PIECES);
	for (unsigned n = 0; n < 4; n++)
		bad += walk(n, STEPS) != wanted(n, STEPS);
	check_eq(bad, 0, "through all of it, four times");
	for (unsigned n = 0; n < 64; n++)
		bad += walk(n * 100, 1000) != wanted(n * 100, 1000);
	check_eq(bad, 0, "a thousand steps from here and there");
	for (unsigned n = 0; n < 4000; n++)
		bad += walk(n & 7, 64) != wanted(n & 7, 64);
	check_eq(bad, 0, "and some that stay hot");
	make_circles(256);
	for (unsigned n = 0; n < PIECES; n += circle)
		bad += walk(n, 16 * circle) != wanted(n, 16 * circle);
	check_eq(bad, 0, "sixteen times through a part, then the next");
}
