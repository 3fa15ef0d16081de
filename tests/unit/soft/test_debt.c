// SPDX-License-Identifier: BSD-2-Clause
/* Whose faults of windows are too many, and for how long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/soft/jit/debt.h"

#define MANY  100000
#define FAULT 50000ull

/* Only where they are is looked at. */
struct insn {
	char is_there;
};
struct block {
	char is_there;
};

struct fixture {
	struct debts debts;
	uint64_t now;
	struct insn insn[MANY];
	struct block block[MANY];
};

static int create(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->now = 1ull << 40;
	*state = f;
	return f != NULL ? 0 : -1;
}

static int destroy(void **state)
{
	free(*state);
	return 0;
}

/* Instruction n, alone in its block, after so many ticks. */
static bool fault(struct fixture *f, unsigned n, uint64_t after)
{
	f->now += after;
	debts_add(&f->debts, FAULT, f->now);
	return debts_are_too_much(&f->debts, &f->insn[n], &f->block[n], FAULT,
				  f->now);
}

/* How many faults of n it took. */
static unsigned until_turned(struct fixture *f, unsigned n)
{
	for (unsigned k = 1; k < MANY; k++)
		if (fault(f, n, 1000))
			return k;
	return MANY;
}

static struct block *wait_for_pardon(struct fixture *f, uint64_t most)
{
	for (uint64_t end = f->now + most; f->now < end; f->now += 1000000) {
		struct block *b = debts_pardon(&f->debts, f->now);

		if (b != NULL)
			return b;
	}
	return NULL;
}

/* An instruction that takes a 64th of the time may do so for ever. */
static void test_few(void **state)
{
	struct fixture *f = *state;

	for (unsigned k = 0; k < MANY; k++)
		assert_false(fault(f, 0, 64 * FAULT));
	assert_false(debts_are_many(&f->debts));
	assert_null(wait_for_pardon(f, 1ull << 40));
}

static void test_one(void **state)
{
	struct fixture *f = *state;
	unsigned first = until_turned(f, 0), again;

	assert_in_range(first, 100, 1000);
	/* in good time, and then with less patience */
	assert_null(debts_pardon(&f->debts, f->now));
	assert_ptr_equal(wait_for_pardon(f, 1ull << 31), &f->block[0]);
	again = until_turned(f, 0);
	assert_in_range(again, 10, first / 2);
}

/* Who comes again and again waits for longer and longer, up to a point. */
static void test_sentence(void **state)
{
	struct fixture *f = *state;
	uint64_t before = 0, waited = 0, longest;

	for (unsigned times = 0; times < 12; times++) {
		uint64_t then;

		assert_in_range(until_turned(f, 0), 1, 1000);
		then = f->now;
		assert_ptr_equal(wait_for_pardon(f, 1ull << 40), &f->block[0]);
		waited = f->now - then;
		assert_true(times == 0 || waited >= before);
		if (times > 0 && times < 5)
			assert_in_range(waited, before * 3 / 2, before * 5 / 2);
		before = waited;
	}
	longest = waited;
	/* having been good for long, it begins anew */
	f->now += 10 * longest;
	assert_in_range(until_turned(f, 0), 1, 1000);
	before = f->now;
	assert_ptr_equal(wait_for_pardon(f, 1ull << 40), &f->block[0]);
	assert_true(f->now - before < longest / 8);
}

/* One that faults all the time does not take others along, few or many. */
static void test_innocent(void **state)
{
	struct fixture *f = *state;
	bool is_turned = false;

	for (unsigned k = 0; k < MANY; k++) {
		if (!is_turned)
			is_turned = fault(f, 0, 1000);
		if (k % 100 == 0)
			assert_false(fault(f, 1 + k / 100, 1000));
		f->now += 1000;
	}
	assert_true(is_turned);
}

/* All alike: none by itself, but all together are too many. */
static void test_all(void **state)
{
	struct fixture *f = *state;
	unsigned turned = 0, first = 0;

	for (unsigned k = 1; k < MANY; k++) {
		if (!fault(f, k, 1000))
			continue;
		if (turned++ == 0)
			first = k;
	}
	assert_in_range(first, 2000, 20000);
	/* but for what is paid off meanwhile */
	assert_true(turned > (MANY - first) * 3 / 4);
	assert_true(debts_are_many(&f->debts));
	assert_null(debts_pardon(&f->debts, f->now));
	f->now += 1ull << 32;
	for (unsigned k = 0; k < TURNED_MAX; k++)
		assert_non_null(debts_pardon(&f->debts, f->now));
	assert_null(debts_pardon(&f->debts, f->now));
	/* there is room for others now */
	for (unsigned k = 0; k < 2 * TURNED_MAX; k++)
		assert_in_range(until_turned(f, MANY - 1 - k), 1, 1000);
	debts_forget(&f->debts);
	assert_null(wait_for_pardon(f, 1ull << 40));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define CASE(name) cmocka_unit_test_setup_teardown(name, create, destroy)
	    CASE(test_few),      CASE(test_one), CASE(test_sentence),
	    CASE(test_innocent), CASE(test_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
