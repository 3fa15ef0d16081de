/* SPDX-License-Identifier: BSD-2-Clause */
/* x87 instructions on the host and in guests. */
#ifndef X86_X87_H
#define X86_X87_H

#include "guest.h"

/* Each of the table, rounds times, in so many guests of 64-bit code: how many
   runs were not as the host's. */
unsigned x87_pairs(struct guest *const *guest, unsigned guests, unsigned rounds,
		   uint64_t *rng);

#endif
