/* SPDX-License-Identifier: BSD-2-Clause */
/* Code run by the host itself until it faults, all registers given and taken.
 */
#ifndef X86_HOST_H
#define X86_HOST_H

#include <stdbool.h>
#include <stdint.h>

#include "codemode.h"

struct outcome {
	uint64_t gpr[16];
	uint64_t rflags, rip, cr2, error;
	int vector;
};

int host_create(void); /* 0, or -errno */
/* Makes the mode's segments; does the host run code in them? */
bool host_has_mode(const struct code_mode *mode);
/* Runs from rip with these registers; comes back by the fault that ends it. */
void host_run(const struct code_mode *mode, const uint64_t gpr[16],
	      uint64_t rflags, uint64_t rip, struct outcome *out);

/* Before a run, and what that left: the FXSAVE image of x87. */
#define HOST_X87_BYTES 160
void host_set_x87(const void *image);
void host_x87(void *image);

/* SIGALRM each so many microseconds (0: no more), on the alternate stack or
   on what RSP points to. */
void host_ticks(unsigned us, void (*tick)(int signal), bool alternate);

/* What to do at an INT3 of this process' own code (RIP is behind it), and
   where to go on; true: by steps, each of which is a trap again. NULL: they
   are crashes. */
void host_traps(bool (*on_trap)(uint64_t *rip, uint64_t rsp));

#endif
