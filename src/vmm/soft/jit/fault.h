/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accesses of translated code that only the host's MMU looks at (window.h).
 * Where it says no, the kernel sends SIGSEGV, and the handler goes on at a
 * common piece, which asks C (jit_fault): nothing of the instruction has been
 * done. What C has to know of the access is in a list, so that it needs no
 * code of its own.
 */
#ifndef SOFT_JIT_FAULT_H
#define SOFT_JIT_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/soft/jit/debt.h"

struct cpu;
struct jit;
struct tlb;

/* By where they are in the code, which is the order they are made in. */
struct jit_access {
	uint32_t begin; /* in the code: what may fault, so many bytes */
	uint16_t bytes;
	uint16_t again; /* from where the look at it begins, to there */
	uint16_t back;  /* from there to what follows the instruction */
	/* The operand's address is register base + disp; so much of T0, if
	   that is the base. Indexed, more is added; what leads to it is that
	   of the base. */
	uint8_t base;
	bool indexed;
	uint8_t held; /* what T0 is for behind the instruction, or HOST_NONE */
	int32_t disp;
	uint32_t insn; /* in the arena */
	uint8_t operand_bytes, align;
	bool write, is_exit; /* tier 0 goes on, else it comes back */
	/* x87 instructions so many before it that nobody was told of. */
	uint8_t x87_place, x87_operand;
};

struct faults {
	const uint8_t *code; /* what runs, code_bytes of it */
	size_t code_bytes;
	const uint8_t *piece; /* PIECE_FAULT, in what runs */
	struct jit_access *access;
	uint32_t used, max;
	bool is_watched; /* by the handler: else no access is to fault */
	uint64_t thread; /* that was the last to run it */
	struct debts debts;
};

/* 0 or -errno; what is not watched after that does without windows. */
int faults_create(struct jit *jit);
void faults_destroy(struct jit *jit);
/* All of the code, and its blocks, are gone. */
void faults_forget(struct faults *f);
/* Another one; there is room for it. */
void fault_add(struct faults *f, struct jit_access access);
/* Its instruction; the linear address of its first byte, with the registers in
 * struct cpu. */
const struct insn *access_insn(const struct cpu *c, const struct jit_access *a);
uint64_t access_va(const struct cpu *c, const struct jit_access *a);
/*
 * True: the access will get through, unless a kick comes. Where it is one of
 * too many lately, its instruction does without windows from now on, and
 * translated code is to be left.
 */
bool fault_served(struct cpu *c, const struct jit_access *a, uint64_t va);
/* Where code goes on that faulted at rip, in frame; NULL: it may not. */
const void *fault_piece(const struct faults *f, uint64_t rip,
			struct tlb *frame);

/* What is done for faults took so many ticks of the TSC. */
void faults_cost(struct cpu *c, uint64_t ticks);
/* So many that what is mapped should stay. */
bool faults_are_many(const struct cpu *c);
/* Some that had turned from windows try them again. */
void faults_calm(struct cpu *c);

/* -- signal.c -------------------------------------------------------------- */

/*
 * The process' handlers of SIGSEGV and SIGBUS know of f. They are
 * taken when the first is, and pass on what is no access of any.
 */
void faults_watch(struct faults *f);
void faults_unwatch(struct faults *f);
/* This thread runs the code now, and must not block them, or they kill. */
void faults_unblock(struct faults *f);

#endif
