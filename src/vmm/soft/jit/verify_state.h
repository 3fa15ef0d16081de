/* SPDX-License-Identifier: BSD-2-Clause */
/* What verify.c compares, and verify_tell.c tells of. */
#ifndef SOFT_JIT_VERIFY_STATE_H
#define SOFT_JIT_VERIFY_STATE_H

#include "vmm/soft/cpu.h"

#define AGREED_SIZE (1u << 16)

/* What an instruction works on, memory apart. */
struct state {
	uint64_t gpr[16];
	uint64_t gs_base, kernel_gs_base; /* SWAPGS */
	uint32_t flags;                   /* CLI */
	uint16_t arith_flags;
	bool has_vec;
	uint16_t fpu_opcode;
	uint64_t fpu_ip, fpu_dp;
	uint8_t vec[VCPU_XSAVE_SIZE] __attribute__((aligned(64)));
};

/* What a branch does. */
struct went {
	uint64_t rip, pushed;
};

struct verify {
	struct state before, native, tier0;
	/* turn.c: it is ours, since so many instructions. */
	bool turn;
	unsigned kept;
	uint64_t written; /* struct soft_vm's watched_writes before it */
	/* The memory operand; bytes is 0 without one. */
	uint64_t va;
	unsigned bytes;
	uint8_t was[64], is[64];
	/* A branch under way: where tier 0 went, where it went, and what a call
	   wrote to its stack. */
	const struct insn *branch; /* NULL: none */
	uint64_t branch_rip;
	const void *stack; /* NULL: no call */
	struct went goes, went;
	/* Tier 0's run, while it lasts. */
	const struct insn *running;
	uint64_t *addend, addend_was;
	bool skips;
	uint16_t agreed[AGREED_SIZE]; /* times, by place in the arena */
	uint8_t page[4096] __attribute__((aligned(64)));
};

/* The VM ends: soft_run fails with a text that says what instruction i, at
   rip, differs in; the states go to stderr. Returns 0. */
enum difference {
	DIFFER_RESULT,
	DIFFER_TARGET,
	DIFFER_FAULT,
	DIFFER_WROTE, /* not in what it does: the translator does not know */
};
uint64_t verify_tell(struct cpu *c, const struct insn *i, uint64_t rip,
		     enum difference what);

#endif
