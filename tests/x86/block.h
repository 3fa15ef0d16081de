/* SPDX-License-Identifier: BSD-2-Clause */
/* Random code of several instructions, and what it starts from. */
#ifndef X86_BLOCK_H
#define X86_BLOCK_H

#include "generate.h"

#define BLOCK_BYTES  1024
#define BLOCK_STARTS 32

struct code_block {
	const struct code_mode *mode;
	uint8_t code[BLOCK_BYTES];
	unsigned len;
	uint16_t start[BLOCK_STARTS]; /* of instructions, or a few together */
	unsigned starts;
	uint64_t gpr[16];
	uint64_t rflags;
};

/* In b's mode, as all of these. */
void block_generate(struct code_block *b, uint64_t *rng);
/* One vector instruction of the table's row, with its operand at va; false:
   it has none, or not in the form that was chosen. */
bool block_simd(struct code_block *b, unsigned row, uint64_t va, uint64_t *rng);
/* Other registers and flags for the same code. */
void block_state(struct code_block *b, uint64_t *rng);

#endif
