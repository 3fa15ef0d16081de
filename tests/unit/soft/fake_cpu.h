/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vCPU for testing the vector files alone: its memory is five pages of this
 * process at their own addresses, its exceptions come back as values.
 *
 *	page 0	read, write, in the TLB
 *	page 1	read, write, but never in the TLB: the slow sides
 *	page 2	nothing
 *	page 3	read only, in the TLB
 *	page 4	nothing
 */
#ifndef FAKE_CPU_H
#define FAKE_CPU_H

#include "vmm/soft/simd.h"
#include "vmm/soft/vec.h"

#define FAKE_PAGES 5
#define NO_FAULT   -1

struct fake {
	struct cpu c;
	struct soft_vm svm;
	struct vm vm;
	uint8_t *page[FAKE_PAGES];
	/* What an instruction ended in. */
	int vector; /* or NO_FAULT */
	uint32_t error;
	uint64_t payload;
	/* Slow stores leave for the process once, as MMIO does. */
	bool leave_at_store, left;
	/* The state is live when the instruction begins: the fast way. */
	bool live;
};

struct fake *fake_create(void);
void fake_destroy(struct fake *fake);

/* Runs one bound instruction. The result is in vector, error, payload. */
void fake_run(struct fake *fake, struct insn *i);

/* Does this machine have it? */
bool host_has(unsigned feature);

#endif
