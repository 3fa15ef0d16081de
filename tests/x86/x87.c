// SPDX-License-Identifier: BSD-2-Clause
#include "x87.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/bits.h"
#include "block.h"
#include "vmm/soft/simd.h"
#include "vmm/soft/vec.h"
#include "x86/cr.h"

#define SHOWN 10
#define FWAIT 0x9b

struct x87_end {
	struct outcome out;
	struct xsave_image state;
	uint8_t memory[TEST_AREA];
};

/* The last instruction's place is not in the image that AMD's CPUs make, and
   an environment has it: these are compared between tiers only. */
static bool is_asked(const struct simd_row *row)
{
	static const exec_fn not [] = {exec_fldenv, exec_fnstenv, exec_frstor,
				       exec_fnsave};

	for (unsigned n = 0; n < ARRAY_SIZE(not ); n++)
		if (row->exec == not [n])
			return false;
	return (row->attr & S_X87) != 0;
}

static void random_state(struct xsave_image *x, uint64_t *rng)
{
	uint64_t bits = next_random(rng);

	memset(x, 0, sizeof(*x));
	for (unsigned k = 0; k < 8; k++) {
		uint64_t mantissa = next_random(rng);
		uint16_t exponent = (uint16_t)next_random(rng);

		/* Mostly numbers near 1. */
		if (exponent & 7) {
			mantissa |= 1ull << 63;
			exponent = (uint16_t)((exponent & 0x8000) |
					      (0x3fff + exponent % 64 - 32));
		}
		memcpy(x->st[k], &mantissa, 8);
		memcpy(x->st[k] + 8, &exponent, 2);
	}
	x->fcw = (uint16_t)((bits & 0xf00) | 0x7f);
	if ((bits >> 16 & 7) == 0)
		x->fcw &= (uint16_t)(bits >> 20 | 0xffc0);
	x->fsw = (uint16_t)((bits >> 32) & (FSW_TOP | 0x4700));
	x->ftw = (uint8_t)(bits >> 48 | bits >> 56);
	x->mxcsr = MXCSR_RESET;
	x->xstate_bv = XCR0_X87 | XCR0_SSE;
}

static void set_memory(const struct code_block *b, const uint8_t *data)
{
	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	memcpy((void *)(uintptr_t)TEST_FIRST, b->code, b->len);
	memcpy((void *)(uintptr_t)TEST_DATA, data, TEST_AREA);
}

static bool same(const struct x87_end *a, const struct x87_end *b)
{
	const uint64_t flags = RFLAGS_ARITH;

	for (unsigned k = 0; k < 8; k++)
		if (memcmp(a->state.st[k], b->state.st[k], 10) != 0)
			return false;
	return a->state.fcw == b->state.fcw && a->state.fsw == b->state.fsw &&
	       a->state.ftw == b->state.ftw && a->out.vector == b->out.vector &&
	       a->out.rip == b->out.rip &&
	       ((a->out.rflags ^ b->out.rflags) & flags) == 0 &&
	       memcmp(a->out.gpr, b->out.gpr, sizeof(a->out.gpr)) == 0 &&
	       memcmp(a->memory, b->memory, TEST_AREA) == 0;
}

static void show(const struct code_block *b, unsigned guest,
		 const struct x87_end *want, const struct x87_end *is)
{
	printf("# x87, guest %u:", guest);
	for (unsigned n = 0; n < b->len; n++)
		printf(" %02x", b->code[n]);
	printf("\n#   host: vector %d rip %" PRIx64 " fcw %x fsw %x ftw %x\n",
	       want->out.vector, want->out.rip, want->state.fcw,
	       want->state.fsw, want->state.ftw);
	printf("#   guest: vector %d rip %" PRIx64 " fcw %x fsw %x ftw %x\n",
	       is->out.vector, is->out.rip, is->state.fcw, is->state.fsw,
	       is->state.ftw);
}

static unsigned run(const struct code_block *b, struct guest *const *guest,
		    unsigned guests, const struct xsave_image *state,
		    const uint8_t *data)
{
	static struct x87_end host, is;
	unsigned wrong = 0;

	memset(&host, 0, sizeof(host));
	set_memory(b, data);
	host_set_x87(state);
	host_run(&code_mode_64, b->gpr, b->rflags, TEST_FIRST, &host.out);
	host_x87(&host.state);
	memcpy(host.memory, (void *)(uintptr_t)TEST_DATA, TEST_AREA);
	for (unsigned n = 0; n < guests; n++) {
		set_memory(b, data);
		guest_forget(guest[n]);
		guest_set_vectors(guest[n], state);
		guest_run(guest[n], b->gpr, b->rflags, TEST_FIRST, &is.out);
		guest_vectors(guest[n], &is.state);
		memcpy(is.memory, (void *)(uintptr_t)TEST_DATA, TEST_AREA);
		if (!same(&host, &is) && wrong++ < SHOWN)
			show(b, n, &host, &is);
	}
	return wrong;
}

unsigned x87_pairs(struct guest *const *guest, unsigned guests, unsigned rounds,
		   uint64_t *rng)
{
	static struct xsave_image state __attribute__((aligned(64)));
	static uint8_t data[TEST_AREA];
	static struct code_block b = {.mode = &code_mode_64};
	unsigned wrong = 0;

	for (unsigned n = 0; n < simd_count() * rounds; n++) {
		const struct simd_row *row = simd_row(n % simd_count());
		uint64_t va = TEST_DATA + next_random(rng) % (TEST_AREA - 16);

		if (!is_asked(row) ||
		    !block_simd(&b, n % simd_count(),
				row->attr & S_MEM ? va : 0, rng))
			continue;
		b.code[b.len++] = FWAIT; /* #MF, if it is pending */
		for (unsigned k = 0; k < TEST_AREA; k += 8) {
			uint64_t value = next_random(rng);

			memcpy(data + k, &value, 8);
		}
		random_state(&state, rng);
		wrong += run(&b, guest, guests, &state, data);
	}
	return wrong;
}
