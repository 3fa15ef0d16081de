// SPDX-License-Identifier: BSD-2-Clause
/*
 * The instructions that save and restore vector and x87 state, against the
 * host: FXSAVE, the XSAVE family, the x87 environment, MXCSR.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench.h"
#include "random_state.h"
#include "x86/features.h"

#define TRIES 3000u

#define OPERAND_MAX 1024u /* bytes that an area here has at most */

/* The operand in our copy of memory, or NULL if not all of it is there. */
static uint8_t *operand_in(struct bench *b, struct choice *ch, uint8_t *memory,
			   unsigned bytes)
{
	uint64_t at = ch->va - (uint64_t)(uintptr_t)b->fake->page[0];

	return range_inside(at, bytes, BENCH_MEMORY) ? memory + at : NULL;
}

static void forget_bytes(uint8_t *from, unsigned first, unsigned count)
{
	if (from)
		memset(from + first, 0, count);
}

/* -- images in memory
 * ---------------------------------------------------------- */

/* FIP, FDP, FOP: the host's last x87 instruction is not the guest's. */
static void forget_last_64(struct bench *b, struct choice *ch, uint8_t *memory)
{
	uint8_t *area = operand_in(b, ch, memory, 32);

	forget_bytes(area, offsetof(struct xsave_image, fop), 18);
	/* The engine shows all of the host's; MXCSR_MASK has no valid bits
	   where the model hides them. */
}

static bool all_zero(const uint8_t *from, unsigned bytes)
{
	while (bytes && from[bytes - 1] == 0)
		bytes--;
	return bytes == 0;
}

static bool x87_is_initial(const struct xsave_image *x)
{
	return x->fcw == FCW_RESET && x->fsw == 0 && x->ftw == 0 &&
	       all_zero(x->st[0], sizeof(x->st));
}

/*
 * Whether a component in its initial state counts as in use may change with
 * a switch of tasks. So one that is not saved, and one saved with its initial
 * values, are made the same.
 */
static void forget_initial(struct bench *b, struct choice *ch, uint8_t *memory)
{
	struct xsave_image *x = (void *)operand_in(b, ch, memory, 576);
	bool has_avx = operand_in(b, ch, memory, b->operand_bytes) != NULL;

	forget_last_64(b, ch, memory);
	if (!x || (uintptr_t)x & 7) /* misaligned: #GP */
		return;
	if (x87_is_initial(x))
		x->xstate_bv &= ~(uint64_t)XCR0_X87;
	if (all_zero(x->xmm[0], sizeof(x->xmm)))
		x->xstate_bv &= ~(uint64_t)XCR0_SSE;
	if (has_avx && all_zero(x->extended, 256))
		x->xstate_bv &= ~(uint64_t)XCR0_AVX;
	if (!(x->xstate_bv & XCR0_X87)) {
		memset(x, 0, offsetof(struct xsave_image, mxcsr));
		memset(x->st, 0, sizeof(x->st));
	}
	if (!(x->xstate_bv & XCR0_SSE)) {
		if (x->xcomp_bv & XCOMP_COMPACT)
			x->mxcsr = x->mxcsr_mask = 0;
		memset(x->xmm, 0, sizeof(x->xmm));
	}
	if (has_avx && !(x->xstate_bv & XCR0_AVX))
		memset(x->extended, 0, 256);
}

static void damage(struct bench *b, struct xsave_image *x)
{
	static const uint8_t bits[] = {0, 1, 2, 5, 7, 10, 62, 63};
	uint64_t bit = BIT(bits[bench_pick(b, ARRAY_SIZE(bits))]);

	switch (bench_pick(b, 16)) {
	case 0:
		x->xstate_bv ^= bit;
		break;
	case 1:
		x->xcomp_bv ^= bit;
		break;
	case 2:
		x->reserved[bench_pick(b, 6)] ^= bit;
		break;
	case 3:
		x->mxcsr ^= BIT(bench_pick(b, 32));
		break;
	case 4:
		x->xstate_bv &= bench_pick(b, 8);
		break;
	}
}

/* Components that the host has enabled and the guest does not have. */
static uint64_t beyond(const struct bench *b)
{
	uint32_t lo, hi;

	__asm__("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
	return ((uint64_t)hi << 32 | lo) & ~b->fake->c.native->rfbm;
}

static void random_mask(struct bench *b)
{
	b->r.gpr[0] = random_next(&b->rng) & ~beyond(b);
	b->r.gpr[2] = random_next(&b->rng) & ~(beyond(b) >> 32);
}

/* What XSAVE or XSAVEC would have written, of another random state. */
static void make_area(struct bench *b, uint8_t *area, bool compact)
{
	static struct xsave_image image __attribute__((aligned(64)));
	struct native *n = b->fake->c.native;
	unsigned bytes = 576 + (n->rfbm & XCR0_AVX ? 256 : 0);

	random_image(&b->rng, &image, n);
	image.xstate_bv &= random_next(&b->rng);
	if (compact) {
		/* AVX, the only one here, follows the header in both. */
		image.xcomp_bv = XCOMP_COMPACT | image.xstate_bv;
		if (bench_pick(b, 2))
			image.xcomp_bv |= n->rfbm;
	}
	damage(b, &image);
	image.xstate_bv &= ~beyond(b);
	image.xcomp_bv &= ~beyond(b);
	memcpy(area, &image, bytes);
}

static void adapt_xrstor(struct bench *b, struct choice *ch)
{
	uint8_t *area = operand_in(b, ch, b->fake->page[0], OPERAND_MAX);

	random_mask(b);
	if (bench_pick(b, 2))
		b->r.gpr[0] |= 7;
	if (area)
		make_area(b, area, bench_pick(b, 2));
}

/*
 * A user process cannot run XRSTORS; XRSTOR does the same to a compacted area
 * without supervisor components.
 */
static void adapt_xrstors(struct bench *b, struct choice *ch)
{
	uint8_t *area = operand_in(b, ch, b->fake->page[0], OPERAND_MAX);
	unsigned rex = ch->d.rex_w;

	adapt_xrstor(b, ch);
	if (!area) {
		/* The read-only page is no compacted area: back to page 0. */
		bench_place(b, ch, (uint64_t)(uintptr_t)b->fake->page[0]);
		area = b->fake->page[0];
	}
	make_area(b, area, true);
	area[offsetof(struct xsave_image, xcomp_bv) + 7] |= 0x80;
	ch->bytes[rex + 1] = 0xae;
	ch->bytes[rex + 2] ^= (3 ^ 5) << 3;
}

static void adapt_xsave(struct bench *b, struct choice *ch)
{
	uint8_t *area = operand_in(b, ch, b->fake->page[0], OPERAND_MAX);

	random_mask(b);
	b->r.image.xstate_bv &= random_next(&b->rng) | 7 * bench_pick(b, 2);
	if (area)
		memset(area + XSAVE_LEGACY, 0, XSAVE_HEADER);
}

/* A user process cannot run XSAVES; XSAVEC does the same without IA32_XSS. */
static void adapt_xsaves(struct bench *b, struct choice *ch)
{
	adapt_xsave(b, ch);
	ch->bytes[ch->d.rex_w ? 3 : 2] ^= (5 ^ 4) << 3;
}

static void adapt_fxrstor(struct bench *b, struct choice *ch)
{
	uint8_t *area = operand_in(b, ch, b->fake->page[0], OPERAND_MAX);

	if (area)
		make_area(b, area, false);
}

/* -- the x87 environment
 * --------------------------------------------------------- */

static void forget_last_env(struct bench *b, struct choice *ch, uint8_t *memory)
{
	bool small = ch->i.flags & INSN_OPSIZE;
	uint8_t *env = operand_in(b, ch, memory, 28);

	forget_bytes(env, small ? 6 : 12, small ? 8 : 16);
}

/* The operand size prefix: the 16-bit layout. */
static void maybe_small(struct bench *b, struct choice *ch)
{
	if (bench_pick(b, 2))
		return;
	ch->i.flags |= INSN_OPSIZE;
	memmove(ch->bytes + 1, ch->bytes, ch->len);
	ch->bytes[0] = 0x66;
	ch->len++;
}

static void adapt_env(struct bench *b, struct choice *ch)
{
	uint8_t *env = operand_in(b, ch, b->fake->page[0], 108);
	unsigned word;

	maybe_small(b, ch);
	if (!env)
		return;
	word = ch->i.flags & INSN_OPSIZE ? 2 : 4;
	env[0] |= 0x40;
	if (bench_pick(b, 4))
		env[0] |= 0x3f;
	env[1] = (uint8_t)(env[1] & 0xf);
	if (bench_pick(b, 2))
		env[word] = 0;
}

/* -- MXCSR
 * ------------------------------------------------------------------------- */

static void adapt_ldmxcsr(struct bench *b, struct choice *ch)
{
	uint8_t *at = operand_in(b, ch, b->fake->page[0], 4);
	uint32_t value = (uint32_t)random_next(&b->rng);

	if (bench_pick(b, 4))
		value &= 0xffff;
	if (at)
		memcpy(at, &value, sizeof(value));
}

/* -- the tests
 * ----------------------------------------------------------------------- */

struct state_case {
	const char *name;
	unsigned bytes;
	void (*adapt)(struct bench *b, struct choice *ch);
	void (*forget)(struct bench *b, struct choice *ch, uint8_t *memory);
};

static void run_case(struct bench *b, const struct state_case *t)
{
	unsigned before = b->runs;

	b->operand_bytes = t->bytes;
	b->adapt = t->adapt;
	b->forget = t->forget;
	for (unsigned n = 0; n < simd_count(); n++) {
		const struct simd_row *row = simd_row(n);

		if (strcmp(row->name, t->name) != 0)
			continue;
		/* Without REX.W FIP has 32 bits: not seen here. */
		bench_form(b, row, true, false, 0, row->map != MAP_1, TRIES);
		bench_form(b, row, true, true, 0, false, TRIES);
	}
	if (b->runs == before)
		print_message("%s: not on this host\n", t->name);
}

static void test_against_host(void **state)
{
	static const struct state_case cases[] = {
	    {"fxsave", 512, NULL, forget_last_64},
	    {"fxrstor", 512, adapt_fxrstor, NULL},
	    {"xsave", 832, adapt_xsave, forget_initial},
	    {"xsavec", 832, adapt_xsave, forget_initial},
	    {"xsaves", 832, adapt_xsaves, forget_initial},
	    {"xrstor", 832, adapt_xrstor, NULL},
	    {"xrstors", 832, adapt_xrstors, NULL},
	    {"fnstenv", 28, adapt_env, forget_last_env},
	    {"fnsave", 108, adapt_env, forget_last_env},
	    {"fldenv", 28, adapt_env, NULL},
	    {"frstor", 108, adapt_env, NULL},
	    {"ldmxcsr", 4, adapt_ldmxcsr, NULL},
	};
	struct bench *b = *state;

	reference_arm(true);
	for (unsigned k = 0; k < ARRAY_SIZE(cases); k++)
		run_case(b, &cases[k]);
	reference_arm(false);
	print_message("%u runs; #GP %u #PF %u #MF %u\n", b->runs,
		      b->faults[X86_GP], b->faults[X86_PF], b->faults[X86_MF]);
	assert_int_not_equal(b->faults[X86_GP], 0);
	assert_int_not_equal(b->faults[X86_PF], 0);
	assert_int_not_equal(b->faults[X86_MF], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_against_host, bench_setup,
					    bench_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
