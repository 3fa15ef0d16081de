/* SPDX-License-Identifier: BSD-2-Clause */
/* A CPU exception in this process, as a value. */
#ifndef TRAP_H
#define TRAP_H

#include <stdint.h>

struct trap {
	uint64_t gpr[16]; /* by the CPU's register numbers */
	uint64_t rflags, cr2;
	int vector;
	const uint8_t *fp; /* the XSAVE image of the signal frame */
};

/* taker does not return. NULL: the default again. */
void trap_install(void (*taker)(const struct trap *trap));

#endif
