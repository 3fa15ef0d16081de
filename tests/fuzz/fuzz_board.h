/* SPDX-License-Identifier: BSD-2-Clause */
/* What the fuzzers of boards have in common. */
#ifndef FUZZ_BOARD_H
#define FUZZ_BOARD_H

#include "board_fixture.h"

/* Whatever the guest did, saving, loading and saving again gives the same,
   and no wire was driven that is not there or has that level. */
void fuzz_check_state(struct machine *m);

/* A run: a board of variables, operate until the input or the most is over. */
struct input;
void fuzz_board(struct input *input, const char *const *variables, int most,
		void (*operate)(struct machine *m, struct input *input));

#endif
