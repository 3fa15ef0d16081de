// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/soft/jit/fault.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/soft/jit/jit.h"

/* -- accesses -----------------------------------------------------------------
 */

int faults_create(struct jit *jit)
{
	struct faults *f = &jit->faults;

	f->code = jit->code.exec;
	f->code_bytes = jit->code.size;
	f->access = calloc(JIT_ACCESSES, sizeof(*f->access));
	if (f->access == NULL)
		return -ENOMEM;
	if (jit->verify == NULL)
		faults_watch(f);
	return 0;
}

void faults_destroy(struct jit *jit)
{
	/* Even where tests have said that it is not. */
	faults_unwatch(&jit->faults);
	free(jit->faults.access);
}

void fault_add(struct faults *f, struct jit_access access)
{
	f->access[f->used++] = access;
}

/* Of the access that the code at place is part of. */
static const struct jit_access *access_at(const struct faults *f, size_t place)
{
	uint32_t low = 0, high = f->used;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (f->access[middle].end <= place)
			low = middle + 1;
		else
			high = middle;
	}
	return low < f->used && f->access[low].begin <= place ? &f->access[low]
							      : NULL;
}

uint64_t fault_detour(const struct faults *f, uint64_t rip)
{
	uint64_t code = (uint64_t)(uintptr_t)f->code;
	const struct jit_access *a = access_at(f, rip - code);

	return a == NULL ? 0 : code + a->detour;
}

/*
 * A fault, with the page mapped and touched, costs some 10 to 30 us: an eighth
 * of the time may go there, and a tenth of a second at once, as when a program
 * begins to work on what it has.
 */
#define FAULT_TICKS 60000
#define DEBT_SHIFT  3
#define DEBT_MAX    (200 * 1000 * 1000)

bool fault_paid(struct cpu *c, uint32_t access, bool yes)
{
	struct faults *f = &c->jit->faults;
	const struct jit_access *a = &f->access[access];
	uint8_t *arena = (uint8_t *)(uintptr_t)c->arena;
	uint64_t now = __builtin_ia32_rdtsc();
	uint64_t paid = (now - f->then) >> DEBT_SHIFT;
	struct block *b = (struct block *)(void *)(arena + a->block);

	c->vcpu->stats[VM_STAT_WINDOW_FAULTS]++;
	f->debt -= MIN(f->debt, paid);
	/* What is not there to stay faults each time. */
	f->debt += yes ? FAULT_TICKS : 16 * FAULT_TICKS;
	f->then = now;
	if (f->debt < DEBT_MAX || b->code == NULL)
		return yes;
	((struct insn *)(void *)(arena + a->insn))->flags |= INSN_WANDERS;
	jit_again(c, b, c->tlb->rip_base);
	return false;
}

bool faults_are_many(const struct cpu *c)
{
	return c->jit->faults.debt > DEBT_MAX / 2;
}
