/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Code that is written to. For each guest page two masks say which vCPUs have
 * decoded code from it, and which may have it writable in their TLB:
 *
 *	a decoder sets its bit in code_mask, then looks at write_mask, and asks
 *	each vCPU there to give up its writable entries, and waits;
 *	a writer sets its bit in write_mask, then looks at code_mask, and takes
 *	no writable entry if any is set.
 *
 * Both are sequentially consistent, so at least one sees the other. A store
 * to a page with code takes the slow path, comes here after it was made, and
 * drops the blocks of the page if it hit a 64-byte piece that holds code.
 *
 * Asked is by a queue for each vCPU, served at the next block head (kick), or
 * at once when it is out of guest code. Who waits serves its own queue, so
 * two that wait for each other both go on.
 */
#include "vmm/soft/smc.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/mem.h"
#include "vmm/soft/access.h"
#include "vmm/soft/block.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/jit/turn.h"

#define QUEUE_SIZE 64
#define DROP       1ull /* with the page's address; else: protect it */

struct smc_queue {
	_Atomic bool locked;
	_Atomic bool in_guest;
	bool overflow; /* drop and protect everything */
	unsigned count;
	uint64_t entry[QUEUE_SIZE];
	uint64_t posted;         /* tickets given, under the lock */
	_Atomic uint64_t served; /* tickets done */
};

int smc_create(struct cpu *c)
{
	c->smc = calloc(1, sizeof(*c->smc));
	return c->smc != NULL ? 0 : -ENOMEM;
}

void smc_destroy(struct cpu *c)
{
	free(c->smc);
}

static void queue_lock(struct smc_queue *q)
{
	while (atomic_exchange_explicit(&q->locked, true, memory_order_acquire))
		__builtin_ia32_pause();
}

static void queue_unlock(struct smc_queue *q)
{
	atomic_store_explicit(&q->locked, false, memory_order_release);
}

/* -- serving
 * --------------------------------------------------------------------- */

static void serve_one(struct cpu *c, uint64_t entry)
{
	uint32_t me = 1u << c->vcpu->id;
	uint64_t gpa = entry & ~0xfffull;

	if (entry & DROP) {
		blocks_drop_page(c, gpa);
	} else {
		tlb_protect_page(c, gpa);
		c->svm->write_mask[gpa >> 12] &= ~me;
	}
}

void smc_serve(struct cpu *c)
{
	struct smc_queue *q = c->smc;
	uint64_t entry[QUEUE_SIZE], ticket;
	unsigned count;
	bool overflow;

	queue_lock(q);
	count = q->count;
	overflow = q->overflow;
	ticket = q->posted;
	for (unsigned n = 0; n < count; n++)
		entry[n] = q->entry[n];
	q->count = 0;
	q->overflow = false;
	queue_unlock(q);
	for (unsigned n = 0; n < count; n++)
		serve_one(c, entry[n]);
	if (overflow) {
		blocks_drop_all(c);
		tlb_protect_all(c);
	}
	atomic_store(&q->served, ticket);
}

static uint64_t post(struct cpu *target, uint64_t entry)
{
	struct smc_queue *q = target->smc;
	uint64_t ticket;

	queue_lock(q);
	if (q->count < QUEUE_SIZE)
		q->entry[q->count++] = entry;
	else
		q->overflow = true;
	ticket = ++q->posted;
	queue_unlock(q);
	cpu_kick(target);
	return ticket;
}

/* c may be NULL: a thread that is no vCPU's. */
static void wait_for(struct cpu *c, struct cpu *target, uint64_t ticket)
{
	struct smc_queue *q = target->smc;
	unsigned looks = 0;

	while (atomic_load(&q->served) < ticket && atomic_load(&q->in_guest)) {
		if (c != NULL)
			smc_serve(c);
		turn_look_away(++looks);
	}
}

void smc_enter_guest(struct cpu *c)
{
	atomic_store(&c->smc->in_guest, true);
	smc_serve(c);
}

void smc_leave_guest(struct cpu *c)
{
	atomic_store(&c->smc->in_guest, false);
}

/* -- asking
 * ----------------------------------------------------------------------- */

/*
 * Who is out of guest code drops the page's blocks before it runs any, and
 * may stay out for long: it has none from now on, or a writer that waits for
 * that would wait for ever.
 */
static void drop_for(struct cpu *target, uint64_t ticket, uint64_t gpa)
{
	struct smc_queue *q = target->smc;

	queue_lock(q);
	if (!atomic_load(&q->in_guest) && atomic_load(&q->served) < ticket)
		target->svm->code_mask[gpa >> 12] &= ~(1u << target->vcpu->id);
	queue_unlock(q);
}

/* Posts entry to the vCPUs in mask, serves oneself, and waits. */
static void ask(struct soft_vm *svm, struct cpu *c, uint32_t mask,
		uint64_t entry)
{
	uint64_t ticket[VM_MAXCPU];

	for (unsigned n = 0; n < VM_MAXCPU; n++) {
		struct cpu *target = svm->cpu[n];

		if (!(mask & 1u << n) || target == NULL)
			continue;
		if (target == c)
			serve_one(c, entry);
		else
			ticket[n] = post(target, entry);
	}
	for (unsigned n = 0; n < VM_MAXCPU; n++) {
		struct cpu *target = svm->cpu[n];

		if (!(mask & 1u << n) || target == NULL || target == c)
			continue;
		wait_for(c, target, ticket[n]);
		if (entry & DROP)
			drop_for(target, ticket[n], entry & ~0xfffull);
	}
}

void smc_protect(struct cpu *c, uint64_t gpa)
{
	struct soft_vm *svm = c->svm;
	uint64_t page = gpa >> 12;

	if (svm->code_mask[page] & 1u << c->vcpu->id)
		return;
	svm->code_mask[page] |= 1u << c->vcpu->id;
	ask(svm, c, svm->write_mask[page], gpa & ~0xfffull);
}

bool smc_may_write(struct cpu *c, uint64_t gpa)
{
	struct soft_vm *svm = c->svm;
	uint64_t page = gpa >> 12;
	uint32_t me = 1u << c->vcpu->id;

	if (!(svm->write_mask[page] & me))
		svm->write_mask[page] |= me;
	return svm->code_mask[page] == 0;
}

/* -- writing
 * ---------------------------------------------------------------------- */

/* The 64-byte pieces of a page that [gpa, gpa + len) touches, in one page. */
static uint64_t grains(uint64_t gpa, unsigned len)
{
	unsigned first = (gpa & 4095) / 64,
		 last = ((gpa & 4095) + len - 1) / 64;

	return MASK(last, first);
}

void smc_drop_page(struct cpu *c, uint64_t gpa)
{
	struct soft_vm *svm = c->svm;
	uint64_t page = gpa >> 12;
	uint32_t mask = svm->code_mask[page];

	ask(svm, c, mask, (gpa & ~0xfffull) | DROP);
	c->vcpu->stats[VM_STAT_CODE_DROPS]++;
}

void smc_stored(struct cpu *c, uint64_t gpa, unsigned len)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (c->svm->code_mask[gpa >> 12] != 0 &&
	    (c->svm->code_grain[gpa >> 12] & grains(gpa, len)) != 0)
		smc_drop_page(c, gpa);
}

void smc_host_wrote(struct soft_vm *svm, uint64_t gpa, uint64_t len)
{
	atomic_thread_fence(memory_order_seq_cst);
	while (len != 0) {
		uint64_t part = MIN(len, 4096 - (gpa & 4095));
		uint32_t mask = svm->code_mask[gpa >> 12];

		if (mask != 0 && (svm->code_grain[gpa >> 12] &
				  grains(gpa, (unsigned)part)) != 0)
			ask(svm, NULL, mask, (gpa & ~0xfffull) | DROP);
		gpa += part;
		len -= part;
	}
}
