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
	uint8_t vec[VCPU_XSAVE_SIZE] __attribute__((aligned(64)));
};

struct verify {
	struct state before, native, tier0;
	bool turn; /* it is ours: struct soft_vm's verify_turn is taken */
	/* The memory operand; bytes is 0 without one. */
	uint64_t va;
	unsigned bytes;
	uint8_t was[64], is[64];
	/* A branch under way: where tier 0 went, and with which stack. */
	const struct insn *branch; /* NULL: none */
	uint64_t branch_rip, rip, rsp, pushed;
	bool pushes;
	/* Tier 0's run, while it lasts. */
	const struct insn *running;
	uint64_t *addend, addend_was;
	bool skips;
	uint16_t agreed[AGREED_SIZE]; /* times, by place in the arena */
	uint8_t page[4096] __attribute__((aligned(64)));
};

/* The VM ends: soft_run fails with a text that says what instruction i, at
   rip, differs in; the states go to stderr. Returns 0. */
uint64_t verify_tell(struct cpu *c, const struct insn *i, uint64_t rip,
		     const char *what);

#endif
