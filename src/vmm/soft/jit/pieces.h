/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Common pieces of translated code, beside the ways in and out (jit.h). What
 * is called keeps guest registers and flags, T0 too, and answers in T1: 0 is
 * yes, for JRCXZ.
 */
#ifndef SOFT_JIT_PIECES_H
#define SOFT_JIT_PIECES_H

#include <stdint.h>

enum jit_piece {
	/* Called: may the page of address T0 come into the TLB for an access
	   as T1 says (MISS_*)? Then the probe gets through now. */
	PIECE_REFILL,
	/* Called: is there translated code at address T0? Then the look-up
	   finds it now. */
	PIECE_RESOLVE,
	/* Jumped to: goes to T0, in tier 0 if need be; links hop T1
	   first. */
	PIECE_LOOK,
	PIECE_LINK,
	PIECE_LINK_C, /* the latter's question */
	/* Jumped to: goes to REG_RIPBASE + T1, in tier 0 if need be; the
	   same in 32-bit code, where addresses end at 4 GiB. */
	PIECE_TARGET,
	PIECE_TARGET_32,
	/* Called: is the second page of the block at T0 in the arena where it
	   was? Then word T1 says so now (hop.h). */
	PIECE_SECOND,
	/* Called: the frame T0 becomes that of the current table, the same but
	   for the table. */
	PIECE_SWITCH,
	/* Jumped to: tier 0's instruction at T0 in the arena, which ends its
	   block, and on where it leads to. */
	PIECE_SYSTEM,
	/* Gone on at, after a fault of access miss_what: it begins again, or
	   tier 0 has the instruction. */
	PIECE_FAULT,
	PIECE_FAULT_C, /* that question */
	JIT_PIECES
};

/* An access: its bytes, MISS_WRITE, and what its address must be aligned to,
   less one (6 bits). */
#define MISS_WRITE       0x100u
#define MISS_ALIGN_SHIFT 9

struct cpu;
struct emit;

/* Emits all of them, at the beginning of the code cache. */
void pieces_emit(struct cpu *c, struct emit *e);

#endif
