/* SPDX-License-Identifier: BSD-2-Clause */
/* What verify.c and verify_memory.c compare, and verify_tell.c tells of. */
#ifndef SOFT_JIT_VERIFY_STATE_H
#define SOFT_JIT_VERIFY_STATE_H

#include "vmm/soft/cpu.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"

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

/* Bytes of one page, where they are for the host. */
struct operand_part {
	uint8_t *at;
	unsigned bytes;
};
#define OPERAND_PARTS 2
_Static_assert(WATCHED == 2 * OPERAND_PARTS, "and the source");
/* Operands but a string's have no more. */
#define OPERAND_BYTES 64

struct verify {
	struct state before, native, tier0;
	/* turn.c: it is ours, since so many instructions. */
	bool turn;
	unsigned kept;
	uint64_t written; /* struct soft_vm's watched_writes before it */
	/* The memory operand, a string's page, what a call writes to the stack;
	   bytes is 0 without one. And what may be elsewhere that a string, PUSH
	   or a branch reads. */
	uint64_t va;
	unsigned bytes;
	struct operand_part part[OPERAND_PARTS], source[OPERAND_PARTS];
	uint8_t was[4096], is[4096];
	bool is_left; /* to tier 0, by translated code */
	uint64_t tsc; /* before RDTSC */
	/* A branch under way: where tier 0 went, and where it went. */
	const struct insn *branch; /* NULL: none */
	uint64_t branch_rip;
	struct went goes, went;
	/* Tier 0's run, while it lasts. */
	const struct insn *running;
	uint64_t *addend, addend_was;
	bool skips;
	uint16_t agreed[AGREED_SIZE]; /* times, by place in the arena */
	uint8_t page[4096] __attribute__((aligned(64)));
};

/*
 * In two pages it is tier 0's own way that gets there, which nothing leads
 * elsewhere: tier 0 works on the operand itself, and page has what it made of
 * it. In one page it works on what is there in page.
 */
static inline bool is_in_two_pages(const struct verify *v)
{
	return v->part[1].bytes != 0;
}

static inline uint8_t *operand_copy(struct verify *v)
{
	return v->page + (is_in_two_pages(v) ? 0 : v->va & 4095);
}

static inline bool is_rdtsc(const struct insn *i)
{
	return i->op != OP_NONE_ROW && opcode_table[i->op].handler == &h_rdtsc;
}

/* The VM ends: soft_run fails with a text that says what instruction i, at
   rip, differs in; the states go to stderr. Returns 0. */
enum difference {
	DIFFER_RESULT,
	DIFFER_TARGET,
	DIFFER_FAULT,
	DIFFER_WROTE, /* not in what it does: the translator does not know */
	DIFFER_LEFT,  /* translated code runs what it has to leave to tier 0 */
};
uint64_t verify_tell(struct cpu *c, const struct insn *i, uint64_t rip,
		     enum difference what);

/* verify_memory.c. Bytes of the memory that i reads or writes, and where; 0:
   none. */
unsigned operand_find(struct cpu *c, const struct insn *i, uint64_t *va);
unsigned stack_word(const struct cpu *c);
/* Where a word goes that is pushed. */
uint64_t below_stack(const struct cpu *c);
/* Notes the operand as it is before i. False: i cannot be verified now. */
bool operand_note(struct cpu *c, const struct insn *i);
/* What it is now; and makes it what it is, where it was something else. */
void operand_read(const struct verify *v, uint8_t *to);
void operand_change(const struct verify *v, const uint8_t *was,
		    const uint8_t *is);
/* The same for a branch, which only reads its operand, and the word that a call
   writes. False: tier 0 will get what is not there. */
bool branch_note(struct cpu *c, const struct insn *i, bool is_call);
/* Has the host written to it since, as far as it has said? Did it? */
bool operand_host_has_written(const struct cpu *c);
bool operand_host_wrote(const struct cpu *c);

#endif
