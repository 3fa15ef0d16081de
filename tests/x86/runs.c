// SPDX-License-Identifier: BSD-2-Clause
#include "runs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "x86/cr.h"
#include "x86/exc.h"

#define COMPARED_FLAGS (RFLAGS_ARITH | RFLAGS_DF | RFLAGS_AC | RFLAGS_ID)

/* The first instruction behind rip, or 0. */
static uint64_t behind(const struct code_block *b, uint64_t rip)
{
	for (unsigned n = 0; n < b->starts && rip >= TEST_FIRST; n++)
		if (TEST_FIRST + b->start[n] > rip)
			return TEST_FIRST + b->start[n];
	return 0;
}

unsigned runs_to_faults(struct guest *g, const struct code_block *b,
			uint64_t first, struct outcome out[], unsigned max)
{
	const uint64_t *gpr = b->gpr;
	uint64_t rflags = b->rflags, rip = first;
	unsigned faults = 0;

	while (faults < max && rip != 0) {
		struct outcome *o = &out[faults++];

		guest_run(g, gpr, rflags, rip, o);
		gpr = o->gpr;
		rflags = o->rflags;
		rip = o->vector < 0 ? 0 : behind(b, o->rip);
	}
	return faults;
}

const char *runs_differ(const struct outcome *a, const struct outcome *b)
{
	if (a->vector != b->vector || a->rip != b->rip ||
	    a->error != b->error || (a->vector == X86_PF && a->cr2 != b->cr2))
		return "faults";
	if (memcmp(a->gpr, b->gpr, sizeof(a->gpr)) != 0)
		return "registers";
	return (a->rflags ^ b->rflags) & COMPARED_FLAGS ? "flags" : NULL;
}

const char *runs_faults_differ(const struct outcome a[],
			       const struct outcome b[], unsigned count,
			       unsigned *fault)
{
	for (*fault = 0; *fault < count; ++*fault) {
		const char *what = runs_differ(&a[*fault], &b[*fault]);

		if (what != NULL)
			return what;
	}
	--*fault;
	return NULL;
}

void runs_show_code(const struct code_block *b)
{
	printf("# code:");
	for (unsigned n = 0; n < b->len; n++)
		printf(" %02x", b->code[n]);
	printf("\n");
}

void runs_show(const char *who, const struct outcome *o)
{
	printf("# %s: vector %d error %" PRIx64 " cr2 %" PRIx64 " rip %" PRIx64
	       " flags %" PRIx64 "\n#  ",
	       who, o->vector, o->error, o->cr2, o->rip, o->rflags);
	for (unsigned n = 0; n < 16; n++)
		printf(" %" PRIx64, o->gpr[n]);
	printf("\n");
}

const char *runs_vectors_differ(const struct xsave_image *a,
				const struct xsave_image *b)
{
	return memcmp(a, b, 416) != 0 || memcmp(a->extended, b->extended,
						sizeof(a->extended)) != 0
		   ? "vectors"
		   : NULL;
}

void runs_bytes(void *to, size_t len, uint64_t *rng)
{
	for (size_t at = 0; at + 8 <= len; at += 8) {
		uint64_t value = next_random(rng);

		memcpy((uint8_t *)to + at, &value, 8);
	}
}

void runs_vectors(struct xsave_image *vec, uint64_t *rng)
{
	memset(vec, 0, sizeof(*vec));
	runs_bytes(vec->st, 128, rng);
	for (unsigned k = 0; k < 8; k++)
		memset(vec->st[k] + 10, 0, 6);
	runs_bytes(vec->xmm, sizeof(vec->xmm), rng);
	runs_bytes(vec->extended, sizeof(vec->extended), rng);
	vec->fcw = 0x37f;
	vec->ftw = (uint8_t)next_random(rng);
	/* Seldom with exceptions unmasked. */
	vec->mxcsr = next_random(rng) % 16 ? 0x1f80 : 0x1f80 & ~0x80u;
	vec->xstate_bv = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512;
}
