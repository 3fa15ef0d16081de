/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's TSC between two looks at its clock: a line over the host's TSC,
 * so that RDTSC needs neither libc nor the vector registers.
 */
#ifndef SOFT_TSC_H
#define SOFT_TSC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct tsc_line {
	uint64_t from, value; /* the host's TSC, the guest's then */
	uint64_t slope;       /* guest's ticks for a host's << 32; 0: no line */
	uint64_t clock;       /* the sequence of vm_clock it is of */
};

/* Of the only vCPU; with several it is not usable, and nobody looks at it. */
struct tsc_state {
	_Atomic bool usable; /* and the host's clock is its TSC, too */
	struct tsc_line line;
	struct tsc_base {
		uint64_t host, guest, clock;
	} base[2]; /* looks at the clock that slopes are measured from */
};

/* Ticks of the host's TSC that a line is good for. */
#define TSC_WINDOW (1ull << 21)

/* A vCPU's, for translated code, with its offset; all 0: none. To begin with
   there is none, after the VM's clock was set, and after an offset was. */
struct tsc_copy {
	uint64_t minus_from, slope, value;
};

struct cpu;

/* The vCPU's TSC; vector state may go to memory. */
uint64_t soft_tsc(struct cpu *c);

#endif
