/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * With soft.jit=verify, one vCPU at a time runs guest code: whose turn it is
 * finds memory, between an instruction's two runs, as no other left it.
 *
 * A vCPU that is in the guest has the turn, or waits for it. It keeps it for
 * a number of instructions of translated code, or until the main loop, and
 * gives it away there if another waits. Who waits serves what the others ask
 * of it, so that whose turn it is may wait for that.
 */
#ifndef SOFT_JIT_TURN_H
#define SOFT_JIT_TURN_H

#include "vmm/soft/jit/jit.h"

/* Takes the turn, if it is not c's; false: c was kicked before it got it. */
bool turn_take(struct cpu *c);
/* The same after others had theirs. */
bool turn_next(struct cpu *c);
/* The same, and no kick ends it. */
void turn_await(struct cpu *c);
/* Between two instructions of translated code: may be away after it. */
void turn_offer(struct cpu *c);
void turn_over(struct cpu *c);
/* In a loop, whose looks are counted: others may run on this host's CPU. */
void turn_look_away(unsigned looks);

/* Without soft.jit=verify nothing of this is needed. */
static inline bool turns_are_taken(const struct cpu *c)
{
	return unlikely(c->jit != NULL && c->jit->verify != NULL);
}

#endif
