// SPDX-License-Identifier: BSD-2-Clause
/*
 * The decoder against Zydis in 64-, 32- and 16-bit code and in real mode: each
 * opcode and ModRM byte of each map, legacy, VEX and EVEX, with prefixes and
 * what follows at random. Length, name, address and immediates must be the
 * same, and what is none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/bits.h"
#include "decode_bench.h"
#include "random_state.h"

#define SHOWN 40

enum map {
	ONE,
	TWO,
	THREE_38,
	THREE_3A,
	VEX_1,
	VEX_2,
	VEX_3,
	EVEX_1,
	EVEX_2,
	EVEX_3,
	MAPS
};

struct encoding {
	uint8_t bytes[DECODE_BYTES];
	unsigned len;
};

static void put(struct encoding *e, unsigned byte)
{
	e->bytes[e->len++] = (uint8_t)byte;
}

static void put_prefixes(struct encoding *e, uint64_t *rng)
{
	static const uint8_t prefixes[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3,
					   0x26, 0x2e, 0x36, 0x3e, 0x64,
					   0x65, 0x41, 0x44, 0x48, 0x4f};

	while (e->len < 5 && random_next(rng) >> 20 & 1)
		put(e, prefixes[(random_next(rng) >> 20) % sizeof(prefixes)]);
}

static void put_map(struct encoding *e, enum map map, uint64_t *rng)
{
	uint64_t random = random_next(rng);

	if (map >= EVEX_1) {
		put(e, 0x62);
		put(e, (random & 0xf0) | (1 + map - EVEX_1));
		put(e, (random >> 8 & 0x83) | 4 |
			   (random >> 16 & 3 ? 0x78 : random >> 24 & 0x78));
		put(e, (random >> 32 & 0xf7) | (random >> 40 & 3 ? 8 : 0));
		return;
	}
	if (map >= VEX_1) {
		put(e, 0xc4);
		put(e, (random & 0xe0) | (1 + map - VEX_1));
		/* Seldom with a vvvv that is a register. */
		put(e, (random >> 8 & 0xff) | (random >> 16 & 3 ? 0x78 : 0));
		return;
	}
	if (map != ONE)
		put(e, 0x0f);
	if (map == THREE_38)
		put(e, 0x38);
	if (map == THREE_3A)
		put(e, 0x3a);
}

static void complain(const struct encoding *e, enum decode_mode mode,
		     const char *what)
{
	static const char *const names[DECODE_MODES] = {"64-bit", "32-bit",
							"16-bit", "real mode"};

	print_message("%s, %s:", names[mode], what);
	for (unsigned n = 0; n < DECODE_BYTES; n++)
		print_message(" %02x", e->bytes[n]);
	print_message("\n");
}

static void test_against_zydis(void **state)
{
	struct decode_bench *b = decode_bench_create();
	unsigned verdicts[DECODE_DIFFERS + 1] = {0};
	uint64_t rng = 1;

	assert_non_null(b);
	for (unsigned n = 0; n < DECODE_MODES * MAPS * 256 * 256; n++) {
		enum decode_mode mode = n % DECODE_MODES;
		struct encoding e = {.len = 0};
		enum decode_verdict verdict;
		const char *what;
		unsigned len;

		put_prefixes(&e, &rng);
		put_map(&e, n / DECODE_MODES % MAPS, &rng);
		put(&e, n / DECODE_MODES / MAPS % 256);
		put(&e, n / DECODE_MODES / MAPS / 256);
		while (e.len < DECODE_BYTES)
			put(&e, random_next(&rng) >> 24 & 0xff);
		verdict = decode_bench_compare(b, mode, e.bytes, &what, &len);
		if (verdicts[verdict]++ < SHOWN && verdict == DECODE_DIFFERS)
			complain(&e, mode, what);
	}
	decode_bench_destroy(b);
	print_message("%u agree, %u are none, %u only one knows\n",
		      verdicts[DECODE_AGREED], verdicts[DECODE_UNDEFINED],
		      verdicts[DECODE_UNKNOWN]);
	assert_int_equal(verdicts[DECODE_DIFFERS], 0);
	assert_true(verdicts[DECODE_AGREED] > 500000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_against_zydis),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
