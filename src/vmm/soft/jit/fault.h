/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Accesses of translated code that only the host's MMU looks at (window.h).
 * Where it says no, the kernel sends SIGSEGV, and the handler goes on at the
 * access' detour, as if a look at the TLB had failed: nothing of the
 * instruction has been done.
 */
#ifndef SOFT_JIT_FAULT_H
#define SOFT_JIT_FAULT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block;
struct cpu;
struct jit;

#define JIT_ACCESSES 65536

/* By where they are in the code, which is the order they are made in. */
struct jit_access {
	uint32_t begin, end, detour; /* in the code: what may fault */
	uint32_t block, insn;        /* in the arena: whose it is */
};

struct faults {
	const uint8_t *code; /* what runs, code_bytes of it */
	size_t code_bytes;
	struct jit_access *access;
	uint32_t used;
	bool is_watched; /* by the handler: else no access is to fault */
	uint64_t thread; /* that was the last to run it */
	/* What faults cost lately, in ticks of the TSC, and until when. */
	uint64_t debt, then;
};

/* 0 or -errno; what is not watched after that does without windows. */
int faults_create(struct jit *jit);
void faults_destroy(struct jit *jit);
/* Another one; there is room for it. */
void fault_add(struct faults *f, struct jit_access access);
/*
 * An access faulted; yes: it will not do so again. Where it is one of too many
 * lately, its instruction does without windows from now on, and false is
 * returned: translated code is to be left.
 */
bool fault_paid(struct cpu *c, uint32_t access, bool yes);
/* So many that what is mapped should stay. */
bool faults_are_many(const struct cpu *c);
/* Where code goes on that faulted at rip; 0: it may not. */
uint64_t fault_detour(const struct faults *f, uint64_t rip);

/*
 * signal.c: the process' handlers of SIGSEGV and SIGBUS know of f. They are
 * taken when the first is, and pass on what is no access of any.
 */
void faults_watch(struct faults *f);
void faults_unwatch(struct faults *f);
/* This thread runs the code now, and must not block them, or they kill. */
void faults_unblock(struct faults *f);

#endif
