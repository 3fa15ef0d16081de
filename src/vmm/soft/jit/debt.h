/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What faults of windows may cost: an eighth of the time, and a tenth of a
 * second at once, as when a program begins to work on what it has. Of that one
 * instruction may take a quarter, and a hundredth of a second at once. Those
 * that need more go by the TLB for a while; those that are back from that and
 * need it again, for twice as long.
 *
 * Time is in ticks of the TSC, and so are costs.
 */
#ifndef SOFT_JIT_DEBT_H
#define SOFT_JIT_DEBT_H

#include <stdbool.h>
#include <stdint.h>

struct block;
struct insn;

/* What falls by a part of the time that passes. */
struct debt {
	uint64_t owed, then; /* so much, and when it was */
};

/* Instructions that faulted lately, those that owe most. */
#define DEBTORS 16

struct debtor {
	const struct insn *insn;
	struct debt debt;
};

/* A block in which what faulted goes by the TLB until then; or is_back: by
   windows again since then. */
struct turned {
	struct block *block;
	uint64_t until;
	unsigned times; /* that it was turned again */
	bool is_back;
};
#define TURNED_MAX 1024

struct debts {
	struct debt all;
	struct debtor debtor[DEBTORS];
	struct turned turned[TURNED_MAX];
	uint32_t turned_used, turned_next; /* to look at */
};

/* Nobody owes anything; no block is known. */
void debts_forget(struct debts *d);
/* All together owe more. */
void debts_add(struct debts *d, uint64_t ticks, uint64_t now);
/*
 * Instruction i of block b has cost so much, which debts_add was told. True: it
 * is to do without windows from now on.
 */
bool debts_are_too_much(struct debts *d, const struct insn *i, struct block *b,
			uint64_t ticks, uint64_t now);
/* More than half of what may be: what is mapped should stay. */
bool debts_are_many(const struct debts *d);
/*
 * Where they are not, the next block of those looked at that may try windows
 * again, for all its instructions; NULL: none.
 */
struct block *debts_pardon(struct debts *d, uint64_t now);

#endif
