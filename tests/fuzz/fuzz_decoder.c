// SPDX-License-Identifier: BSD-2-Clause
/*
 * Bytes of code, to the engine's decoder and to Zydis: both must make the same
 * of them (decode_bench.h). The input's first byte is the mode, what follows
 * one instruction after the other.
 */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>

#include "decode_bench.h"

static void complain(unsigned mode, const uint8_t bytes[DECODE_BYTES],
		     const char *what)
{
	fprintf(stderr, "mode %u, %s:", mode, what);
	for (unsigned n = 0; n < DECODE_BYTES; n++)
		fprintf(stderr, " %02x", bytes[n]);
	fprintf(stderr, "\n");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct decode_bench *bench; /* libFuzzer's process has one */
	struct input in = {.data = data, .left = size};
	unsigned mode = take_8(&in) % DECODE_MODES;

	if (bench == NULL && (bench = decode_bench_create()) == NULL)
		abort();
	while (in.left > 0) {
		struct input bytes = in;
		uint8_t code[DECODE_BYTES];
		const char *what;
		unsigned len;

		take_bytes(&bytes, code, sizeof(code));
		if (decode_bench_compare(bench, (enum decode_mode)mode, code,
					 &what, &len) == DECODE_DIFFERS) {
			complain(mode, code, what);
			abort();
		}
		take_bytes(&in, code, len == 0 || len > in.left ? 1 : len);
	}
	return 0;
}
