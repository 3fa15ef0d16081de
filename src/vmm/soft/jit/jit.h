/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tier 1: blocks that are run often become host code (docs/translator.md).
 * All of it is a vCPU's own: no lock, and no other thread ever runs or
 * patches its code.
 *
 * While translated code runs:
 *
 *	guest	RAX RDX RBX RBP RSI RDI R8 R12	in the same host register
 *		RSP in R13, RCX in R14, R13-R15 in R9-R11
 *		R9-R11 in memory at [RSP]
 *		arithmetic flags in the host's, which are always exact
 *		vector state in the host's, once a block has looked
 *	host	RSP is the current struct tlb, R15 and RCX are free
 *
 * An instruction either runs to its end in host code or, before anything of
 * it is done, is handed to tier 0: that one (out of line, then back), or it
 * and all that follows. So faults, MMIO, code pages and whatever else is rare
 * is tier 0's alone.
 */
#ifndef SOFT_JIT_JIT_H
#define SOFT_JIT_JIT_H

#include "vmm/soft/codemem.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/jit/fault.h"
#include "vmm/soft/jit/hop.h"
#include "vmm/soft/jit/pieces.h"

/* How translated code came back. */
enum {
	JIT_EXIT_INSN, /* tier 0 goes on at it: its place in the arena */
	JIT_EXIT_RIP,  /* at is RIP */
	JIT_EXIT_DONE  /* c->rip is set */
};
struct jit_exit {
	uint64_t at, how;
};

/* Where translated code goes on, in which frame; code NULL: not at all, and
   c->rip is set. */
struct jit_onward {
	const void *code;
	struct tlb *frame;
};

struct translation_unit;
struct verify;

/* C functions that translated code calls at an instruction in the arena; what
   they return 0 for leaves, with c->rip set. */
enum jit_call {
	JIT_CALL_INTERP, /* jit_interp */
	JIT_CALL_BEFORE, /* verify.h */
	JIT_CALL_AFTER,
	JIT_CALL_BRANCH,
	JIT_CALL_ARRIVAL,
	JIT_CALLS
};

/* A jump to a block that is not translated yet. */
struct jit_link {
	uint64_t key, va;
	uint32_t place; /* of its distance, in the code */
	uint32_t next;  /* number plus one */
};

/* The code cache gets memory of the host in such pieces, at both ends, when
   no more than half of one is left. */
#define JIT_READY_STEP (128 * KiB)

#define JIT_WANDERED  1024
#define JIT_SAMPLES   64
#define JIT_LINK_BITS 17
#define JIT_LINKS     (256u * 1024)

struct jit {
	struct codemem code;
	size_t code_start;        /* after the common pieces */
	size_t cold;              /* ways out of blocks: from here to the end */
	size_t ready, cold_ready; /* the host has memory up to, and from */
	struct jit_exit (*enter)(struct tlb *frame, const void *code);
	/* In code.exec. */
	const uint8_t *leave, *leave_insn, *leave_rip, *call[JIT_CALLS];
	uint16_t *rule_of; /* by opcode table row */
	/* Jumps to blocks that are not translated yet, by the block's key. */
	struct jit_link *link;
	uint32_t *link_hash;
	uint32_t link_used;
	struct hops hops;
	struct faults faults;
	uint8_t *piece[JIT_PIECES]; /* in code.write; pieces.h */
	bool full;                  /* flush when nothing runs */
	struct block *again; /* to be translated again; its REG_RIPBASE */
	uint64_t again_base;
	uint16_t hot; /* executions of a block before it is translated */
	bool all_hot; /* new blocks are (struct block): with soft.jit.hot=1 */
	uint64_t wandered[JIT_WANDERED]; /* when, by the instruction's place */
	uint64_t sample[JIT_SAMPLES]; /* places of the last kicks, gpa >> 7 */
	unsigned samples;
	unsigned site, guess; /* the last ones given to a probe, an access */
	struct translation_unit *unit;
	struct verify *verify; /* NULL but with soft.jit=verify */
};

#define JIT_HOT 6 /* jit.hot, unless soft.jit.hot says otherwise */

/*
 * Translated code does not look where near branches go: it is used where two
 * GiB more or less are still canonical, with 48 bits.
 */
static inline bool jit_is_amid(uint64_t rip)
{
	uint64_t up = rip + 3 * GiB, down = rip - 3 * GiB;

	return (uint64_t)((int64_t)(up << 16) >> 16) == up &&
	       (uint64_t)((int64_t)(down << 16) >> 16) == down;
}

/* Does the host have what translated code is made of? */
bool jit_host_can(void);
int jit_create(struct cpu *c);
void jit_destroy(struct cpu *c);
/* All code goes away, and the blocks it belongs to with it. */
void jit_flush(struct cpu *c);

/* Translates b, which is in the arena; false: it stays with tier 0. */
bool jit_translate(struct cpu *c, struct block *b);
/* b, which is translated, once more, as it is to be now; or when its code is
   not run any more, which is soon. */
void jit_again(struct cpu *c, struct block *b, uint64_t rip_base);
void jit_translate_again(struct cpu *c, struct block *b);
/* Is code to be run at va in the current table, and nothing in the way? */
bool jit_code_at(struct cpu *c, uint64_t va, uint64_t *gpa);
/* The translated block at rip in the current table, or NULL. */
struct block *jit_find(struct cpu *c, uint64_t rip);
/* Its code is never entered again. */
void jit_kill(struct cpu *c, struct block *b);
/* Runs b's code, and on in tier 0: an exec's result. */
const struct insn *jit_run(struct cpu *c, const struct block *b);
/* Called by translated code at the end of a block: the instruction, which
   leaves RIP in c->rip, by tier 0. */
struct jit_onward jit_system(struct cpu *c, uint64_t at);
/* The current table has the code at rip from now on, if there is any. */
bool jit_target(struct cpu *c, uint64_t rip);
/* Called by translated code: one instruction by tier 0; 0: leave. */
uint64_t jit_interp(struct cpu *c, uint64_t at);
/* Called after a fault (fault.h); 0: leave. */
uint64_t jit_fault(struct cpu *c, uint64_t unused);

#endif
