/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine's decoder beside Zydis. */
#ifndef DECODE_BENCH_H
#define DECODE_BENCH_H

#include <stdint.h>

#define DECODE_BYTES 15 /* of an instruction, at most */

enum decode_mode {
	DECODE_64,
	DECODE_32,
	DECODE_16,
	DECODE_REAL, /* 16-bit, without protection */
	DECODE_MODES
};

struct decode_bench;

struct decode_bench *decode_bench_create(void); /* NULL: no memory */
void decode_bench_destroy(struct decode_bench *b);

enum decode_verdict {
	DECODE_AGREED,    /* on all of an instruction */
	DECODE_UNDEFINED, /* agreed that it is none */
	DECODE_UNKNOWN,   /* one of them does not know such instructions */
	DECODE_DIFFERS
};

/* what: if it differs, in which; len: of the instruction, or 0. */
enum decode_verdict decode_bench_compare(struct decode_bench *b,
					 enum decode_mode mode,
					 const uint8_t bytes[DECODE_BYTES],
					 const char **what, unsigned *len);

#endif
