/* SPDX-License-Identifier: BSD-2-Clause */
/* Random instructions from the opcode table, and states that they can run in.
 */
#ifndef X86_GENERATE_H
#define X86_GENERATE_H

#include <stdbool.h>
#include <stdint.h>

#include "codemode.h"
#include "vmm/soft/insn.h"

struct pair {
	const struct opcode *row;
	const struct code_mode *mode;
	uint8_t code[16];
	unsigned len;
	unsigned relative; /* where a distance from RIP stands, or 0 */
	uint64_t placed;   /* the end that it is from */
	int base, index;   /* registers of the memory operand, or -1 */
	uint64_t gpr[16];
	uint64_t rflags;
};

uint64_t next_random(uint64_t *rng);

/* Can the row run in a user process with nothing but memory touched? */
bool row_is_testable(const struct opcode *row, const struct code_mode *mode);

/* false: these choices make no instruction that may run; try again. */
bool pair_generate(struct pair *pair, const struct opcode *row,
		   const struct code_mode *mode, uint64_t *rng);
/* The instruction stands there, not at TEST_FIRST. */
void pair_place(struct pair *pair, uint64_t at);

#endif
