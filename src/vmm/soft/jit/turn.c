// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/soft/jit/turn.h"

#include <sys/syscall.h>

#include "vmm/soft/jit/verify_state.h"
#include "vmm/soft/smc.h"

#define KEPT     64   /* instructions of translated code in a turn */
#define PATIENCE 4096 /* looks, before who has it is asked to end a block */
#define GRACE    256  /* looks for somebody who takes it */

/* sched_yield, without libc: vector state may be live (cpu.h). */
static void yield_host(void)
{
	long result = SYS_sched_yield;

	__asm__ volatile("syscall" : "+a"(result) : : "rcx", "r11", "memory");
}

void turn_look_away(unsigned looks)
{
	__builtin_ia32_pause();
	if (looks % 64 == 0)
		yield_host();
}

/* Tier 0 runs on and on, unless it is kicked. */
static void hurry(struct soft_vm *svm)
{
	uint32_t whose = atomic_load_explicit(&svm->turn, memory_order_relaxed);
	struct cpu *c = whose != 0 ? svm->cpu[whose - 1] : NULL;

	if (c != NULL)
		cpu_kick(c);
}

static bool try(struct cpu *c)
{
	uint32_t nobody = 0;

	return atomic_compare_exchange_strong_explicit(
	    &c->svm->turn, &nobody, c->vcpu->id + 1, memory_order_acquire,
	    memory_order_relaxed);
}

static bool wait(struct cpu *c, bool stays)
{
	struct soft_vm *svm = c->svm;
	unsigned looks = 0;
	bool mine;

	atomic_fetch_add(&svm->turn_wanted, 1);
	while (!(mine = try(c))) {
		if (c->kick != 0 && !stays)
			break;
		if (c->kick != 0)
			smc_serve(c);
		turn_look_away(++looks);
		if (looks % PATIENCE == 0)
			hurry(svm);
	}
	atomic_fetch_sub(&svm->turn_wanted, 1);
	return mine;
}

static bool take(struct cpu *c, bool stays)
{
	struct verify *v = c->jit->verify;

	if (v->turn)
		return true;
	v->kept = 0;
	v->turn = try(c) || wait(c, stays);
	return v->turn;
}

bool turn_take(struct cpu *c)
{
	return take(c, false);
}

void turn_await(struct cpu *c)
{
	take(c, true);
}

void turn_over(struct cpu *c)
{
	struct verify *v = c->jit->verify;

	if (!v->turn)
		return;
	v->turn = false;
	atomic_store_explicit(&c->svm->turn, 0, memory_order_release);
}

/* Who gives it away would be the first to have it again. */
static void give(struct cpu *c)
{
	struct soft_vm *svm = c->svm;

	if (atomic_load_explicit(&svm->turn_wanted, memory_order_relaxed) == 0)
		return;
	turn_over(c);
	for (unsigned n = 1; n <= GRACE && svm->turn == 0; n++)
		turn_look_away(n);
}

bool turn_next(struct cpu *c)
{
	give(c);
	return turn_take(c);
}

void turn_offer(struct cpu *c)
{
	if (++c->jit->verify->kept >= KEPT)
		give(c);
}
