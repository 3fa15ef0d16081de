/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same instruction from the same random state on the engine's vector
 * files and on the host: all registers, flags, memory and exceptions
 * compared.
 */
#ifndef BENCH_H
#define BENCH_H

#include "fake_cpu.h"
#include "reference.h"

#define PAGE         4096u
#define BENCH_MEMORY (2 * PAGE) /* what of fake_cpu.h's pages is written */

/* One instruction, as the decoder would see it and as bytes. */
struct choice {
	const struct simd_row *row;
	struct dec d;
	struct insn i;
	bool mem;
	uint64_t va;       /* of the memory operand */
	uint8_t bytes[16]; /* for the host */
	unsigned len;
};

struct bench {
	struct fake *fake;
	uint8_t *code;
	struct reference r;
	uint64_t rng;
	unsigned forms, runs, faults[32];

	/* CPUs differ where the manuals leave it open; the engine is as
	   Intel's. */
	bool is_intel;

	/* For rows whose function knows the operand: its bytes. */
	unsigned operand_bytes;
	/* Gives state and memory what the instruction asks; or NULL. */
	void (*adapt)(struct bench *b, struct choice *ch);
	/* Bytes of memory where the host's answer is not the guest's; or
	   NULL. Called for our memory, and the host's. */
	void (*forget)(struct bench *b, struct choice *ch, uint8_t *memory);
};

int bench_setup(void **state);
int bench_teardown(void **state);

uint32_t bench_pick(struct bench *b, uint32_t bound);

/* Sets the registers so that ch's memory operand is at va. */
void bench_place(struct bench *b, struct choice *ch, uint64_t va);

/*
 * Runs and compares tries of a row's form, fails the test on a difference;
 * returns without any when there is no such form, or not on this host.
 */
void bench_form(struct bench *b, const struct simd_row *row, bool mem, bool vex,
		unsigned vl, bool w, unsigned tries);
/* The same with an EVEX prefix, whose fields are form's: rex_w, vector_len, b,
   z, and aaa not 0 for a mask. */
void bench_evex(struct bench *b, const struct simd_row *row,
		const struct dec *form, bool mem, unsigned tries);

#endif
