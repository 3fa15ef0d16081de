// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/soft/jit/debt.h"

#include "base/bits.h"
#include "vmm/soft/bytes.h"

#define ALL_SHIFT 3
#define ALL_MAX   (200 * 1000 * 1000)

/* Of one instruction, and of one that is back. */
#define ONE_SHIFT 5
#define ONE_MAX   (20 * 1000 * 1000)
#define BACK_MAX  (ONE_MAX / 4)

/* How long it goes by the TLB first, and how often that may be doubled. */
#define TURNED_TICKS 500000000ull
#define TIMES_MAX    6

/* Turned blocks that are looked at, at once. */
#define LOOKED_AT 32

void debts_forget(struct debts *d)
{
	d->all = (struct debt){0};
	zero_bytes(d->debtor, sizeof(d->debtor));
	d->turned_used = d->turned_next = 0;
}

/* -- who owes what ------------------------------------------------------------
 */

static uint64_t owed_now(const struct debt *d, unsigned shift, uint64_t now)
{
	return d->owed - MIN(d->owed, (now - d->then) >> shift);
}

static void owe(struct debt *d, unsigned shift, uint64_t ticks, uint64_t max,
		uint64_t now)
{
	d->owed = MIN(owed_now(d, shift, now) + ticks, max);
	d->then = now;
}

void debts_add(struct debts *d, uint64_t ticks, uint64_t now)
{
	owe(&d->all, ALL_SHIFT, ticks, ALL_MAX, now);
}

bool debts_are_many(const struct debts *d)
{
	return d->all.owed > ALL_MAX / 2;
}

/* Who is not among them takes the place of the one who owes least. */
static struct debtor *debtor_of(struct debts *d, const struct insn *i,
				uint64_t now)
{
	struct debtor *least = &d->debtor[0];

	for (unsigned n = 0; n < DEBTORS; n++) {
		struct debtor *one = &d->debtor[n];

		if (one->insn == i)
			return one;
		if (owed_now(&one->debt, ONE_SHIFT, now) <
		    owed_now(&least->debt, ONE_SHIFT, now))
			least = one;
	}
	*least = (struct debtor){.insn = i};
	return least;
}

/* -- who is turned ------------------------------------------------------------
 */

static struct turned *turned_of(struct debts *d, const struct block *b)
{
	for (unsigned n = 0; n < d->turned_used; n++)
		if (d->turned[n].block == b)
			return &d->turned[n];
	return NULL;
}

/* NULL: there are too many. */
static struct turned *turned_new(struct debts *d, struct block *b)
{
	struct turned *t = &d->turned[d->turned_next];

	if (d->turned_used < TURNED_MAX)
		t = &d->turned[d->turned_used++];
	else if (!t->is_back)
		return NULL;
	*t = (struct turned){.block = b};
	return t;
}

static uint64_t sentence(const struct turned *t)
{
	return TURNED_TICKS << t->times;
}

/* Another instruction of the block may have been turned already. */
static void turn(struct turned *t, uint64_t now)
{
	bool was_good = t->is_back && now - t->until > 8 * sentence(t);

	if (was_good)
		t->times = 0;
	else if (t->is_back)
		t->times = MIN(t->times + 1, TIMES_MAX);
	t->is_back = false;
	t->until = now + sentence(t);
}

bool debts_are_too_much(struct debts *d, const struct insn *i, struct block *b,
			uint64_t ticks, uint64_t now)
{
	struct debtor *one = debtor_of(d, i, now);
	bool is_full = d->all.owed == ALL_MAX;
	struct turned *t;

	owe(&one->debt, ONE_SHIFT, ticks, ONE_MAX, now);
	if (!is_full && one->debt.owed < BACK_MAX)
		return false;
	t = turned_of(d, b);
	if (!is_full && one->debt.owed < ONE_MAX && (t == NULL || !t->is_back))
		return false;
	one->debt.owed = 0;
	if (t == NULL)
		t = turned_new(d, b);
	if (t != NULL)
		turn(t, now);
	return true;
}

struct block *debts_pardon(struct debts *d, uint64_t now)
{
	if (owed_now(&d->all, ALL_SHIFT, now) > ALL_MAX / 2)
		return NULL;
	for (unsigned n = 0; n < MIN(LOOKED_AT, d->turned_used); n++) {
		struct turned *t = &d->turned[d->turned_next];

		d->turned_next = (d->turned_next + 1) % d->turned_used;
		if (t->is_back || now < t->until)
			continue;
		t->is_back = true;
		t->until = now;
		return t->block;
	}
	return NULL;
}
