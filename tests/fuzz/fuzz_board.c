// SPDX-License-Identifier: BSD-2-Clause
#include "input.h"

#include "fuzz_board.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void fuzz_check_state(struct machine *m)
{
	struct state_writer first = {0}, second = {0};
	struct err err = {""};

	save_board(m, &first);
	if (load_board(m, &first, &err) != 0) {
		dprintf(2, "load: %s\n", err.text);
		abort();
	}
	save_board(m, &second);
	if (first.size != second.size ||
	    memcmp(first.data, second.data, first.size) != 0) {
		dprintf(2, "saved, loaded and saved: not the same\n");
		abort();
	}
	if (m->vm.wrong != 0) {
		dprintf(2, "%u wrong calls of the door\n", m->vm.wrong);
		abort();
	}
	state_writer_free(&first);
	state_writer_free(&second);
}

void fuzz_board(struct input *input, const char *const *variables, int most,
		void (*operate)(struct machine *m, struct input *input))
{
	struct machine m;
	struct err err;

	if (machine_start(&m, variables, &err) != 0)
		abort();
	for (int i = 0; i < most && input->left > 0; i++)
		operate(&m, input);
	fuzz_check_state(&m);
	machine_end(&m);
}
