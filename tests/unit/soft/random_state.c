// SPDX-License-Identifier: BSD-2-Clause
/* Random state for the differential tests. */
#include "random_state.h"

#include <string.h>

#include "x86/cr.h"

uint64_t random_next(uint64_t *rng)
{
	uint64_t z = *rng += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint32_t below(uint64_t *rng, uint32_t bound)
{
	return (uint32_t)(random_next(rng) >> 33) % bound;
}

uint64_t random_gpr(uint64_t *rng)
{
	uint64_t value = random_next(rng);

	switch (below(rng, 4)) {
	case 0:
		return value & 0x1f;
	case 1:
		return 0 - (value & 0x1f);
	case 2:
		return value & 0xffffffff;
	default:
		return value;
	}
}

/* A double or float with an exponent near what overflows, vanishes, or 1. */
static uint64_t random_double(uint64_t *rng)
{
	static const uint32_t exponents[] = {0,    1,    2,    1023, 1024,
					     1022, 1046, 1054, 1085, 2046,
					     2047, 1023, 890,  1150};
	uint64_t value = random_next(rng);
	uint64_t fraction = value & MASK(51, 0);

	if (below(rng, 3) == 0)
		fraction = 0;
	if (below(rng, 4) == 0)
		fraction &= MASK(51, 40);
	return (value & BIT(63)) |
	       (uint64_t)exponents[below(rng, ARRAY_SIZE(exponents))] << 52 |
	       fraction;
}

static uint32_t random_float(uint64_t *rng)
{
	static const uint32_t exponents[] = {0,   1,   2,   127, 128, 126, 150,
					     158, 254, 255, 127, 64,  190, 112};
	uint32_t value = (uint32_t)random_next(rng);
	uint32_t fraction = value & 0x7fffff;

	if (below(rng, 3) == 0)
		fraction = 0;
	if (below(rng, 4) == 0)
		fraction &= 0x7fe000;
	return (value & 0x80000000u) |
	       exponents[below(rng, ARRAY_SIZE(exponents))] << 23 | fraction;
}

static uint64_t random_lane(uint64_t *rng, unsigned kind)
{
	switch (kind) {
	case 0:
		return random_next(rng);
	case 1:
		return random_float(rng) | (uint64_t)random_float(rng) << 32;
	case 2:
		return random_double(rng);
	case 3:
		return random_next(rng) & 0x0303030303030303u;
	default:
		return below(rng, 2) ? 0 : ~0ull;
	}
}

void random_vectors(uint64_t *rng, void *to, unsigned bytes)
{
	unsigned kind = 0;

	for (unsigned k = 0; k + 8 <= bytes; k += 8) {
		uint64_t lane;

		if (k % 32 == 0)
			kind = below(rng, 5);
		lane = random_lane(rng, kind);
		memcpy((uint8_t *)to + k, &lane, 8);
	}
}

static void random_st(uint64_t *rng, uint8_t st[16])
{
	static const uint16_t exponents[] = {
	    0,      1,      0x3fff, 0x4000, 0x3ffe, 0x4005, 0x401e, 0x403e,
	    0x7ffe, 0x7fff, 0x3fbf, 0x3c01, 0x43fe, 0x3f81, 0x407e, 0x3ff0};
	uint64_t fraction = random_next(rng) | BIT(63);
	uint16_t exponent = exponents[below(rng, ARRAY_SIZE(exponents))];

	if (below(rng, 3) == 0)
		fraction = BIT(63);
	if (below(rng, 16) == 0 || exponent == 0)
		fraction &= ~BIT(63); /* denormal, or not supported */
	if (below(rng, 8) == 0)
		fraction = exponent = 0;
	exponent |= (uint16_t)(below(rng, 2) << 15);
	memset(st, 0, 16);
	memcpy(st, &fraction, 8);
	memcpy(st + 8, &exponent, 2);
}

static void random_x87(uint64_t *rng, struct xsave_image *x)
{
	static const uint8_t tags[] = {0xff, 0xff, 0x00, 0xc0, 0xfc, 0x7f};

	x->fcw = (uint16_t)(0x007f | below(rng, 16) << 8);
	if (below(rng, 4) == 0)
		x->fcw &= (uint16_t)~below(rng, 64);
	x->fsw = (uint16_t)(random_next(rng) & 0x7f00);
	if (below(rng, 4) == 0)
		x->fsw |= (uint16_t)below(rng, 64);
	x->ftw = tags[below(rng, ARRAY_SIZE(tags))];
	vec_sanitize_fsw(x);
	for (unsigned k = 0; k < 8; k++)
		random_st(rng, x->st[k]);
}

uint8_t *image_vector(const struct native *n, struct xsave_image *x,
		      unsigned reg, unsigned at)
{
	uint8_t *bytes = (uint8_t *)x;

	if (reg >= 16)
		return bytes + n->component[7].offset + (reg - 16) * 64 + at;
	if (at < 16)
		return &x->xmm[reg][at];
	if (at < 32)
		return bytes + n->component[2].offset + reg * 16 + at - 16;
	return bytes + n->component[6].offset + reg * 32 + at - 32;
}

/* Many, few, or no bits. */
static uint64_t random_mask(uint64_t *rng)
{
	uint64_t mask = random_next(rng);

	switch (below(rng, 8)) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	case 2:
		return mask & random_next(rng) & random_next(rng);
	case 3:
		return mask << below(rng, 64);
	default:
		return mask;
	}
}

void random_image(uint64_t *rng, struct xsave_image *x, const struct native *n)
{
	uint64_t rfbm = n->rfbm;
	uint32_t mxcsr_valid = n->mxcsr_valid;

	memset(x, 0, VCPU_XSAVE_SIZE);
	x->xstate_bv = rfbm;
	random_x87(rng, x);
	random_vectors(rng, x->xmm, sizeof(x->xmm));
	for (unsigned k = 2; k < VEC_COMPONENTS; k++)
		if (rfbm & BIT(k))
			random_vectors(rng,
				       (uint8_t *)x + n->component[k].offset,
				       n->component[k].size);
	for (unsigned k = 0; k < 8 && rfbm & BIT(5); k++) {
		uint64_t mask = random_mask(rng);

		memcpy((uint8_t *)x + n->component[5].offset + k * 8, &mask, 8);
	}
	x->mxcsr = MXCSR_MASKS;
	if (below(rng, 2))
		x->mxcsr |= (uint32_t)random_next(rng) & 0xe07f;
	if (below(rng, 4) == 0)
		x->mxcsr &= ~(below(rng, 64) * MXCSR_IM);
	x->mxcsr &= mxcsr_valid;
}
