/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions generated from the opcode table, run by the host and by guests
 * from the same random state: registers, arithmetic flags (undefined ones too,
 * which come from the same silicon), memory, and the fault that ends each must
 * be equal.
 */
#ifndef X86_PAIRS_H
#define X86_PAIRS_H

#include "generate.h"
#include "guest.h"

#define PAIR_GUESTS 4

enum { AREA_DATA, AREA_STACK, AREA_CODE, AREAS };

struct pairs {
	const struct code_mode *mode;
	struct guest *guest[PAIR_GUESTS]; /* the rest is NULL */
	const char *guest_name[PAIR_GUESTS];
	uint64_t rng;
	uint64_t pairs, faults, differences;
	uint8_t before[AREAS][TEST_AREA], after[AREAS][TEST_AREA];
};

/* The test's memory, for all; -1: the addresses are taken. */
int pairs_memory(void);
/* Until so many were run; the first differences are shown. */
void pairs_run(struct pairs *pairs, uint64_t count);

#endif
