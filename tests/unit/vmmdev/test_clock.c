/* SPDX-License-Identifier: BSD-2-Clause */
/* vm_clock and the arithmetic between ns and ticks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <time.h>

#include "base/bits.h"
#include "vmm/clock.h"

static void ticks_round_down(void **state)
{
	assert_int_equal(ns_to_ticks(0, 1193182), 0);
	assert_int_equal(ns_to_ticks(999999999, 1), 0);
	assert_int_equal(ns_to_ticks(1000000000, 1), 1);
	assert_int_equal(ns_to_ticks(1000000000, 1193182), 1193182);
	assert_int_equal(ns_to_ticks(838, 1193182), 0);
	assert_int_equal(ns_to_ticks(839, 1193182), 1);
	/* a century at 5 GHz is past what ns * hz can hold in 64 bits */
	assert_int_equal(ns_to_ticks(3155760000ull * 1000000000, 5000000000),
			 3155760000ull * 5000000000);
}

/* ticks_to_ns is the first instant at which the counter shows the ticks. */
static void ns_are_the_first_to_show_the_ticks(void **state)
{
	static const uint64_t hz[] = {1,         32768,      1193182,
				      3579545,   16777216,   134217728,
				      999999999, 2400000000, 30000000000};
	static const uint64_t ticks[] = {
	    1, 2, 3, 999, 65536, 12345678, 4294967295, 1ull << 40};

	for (size_t i = 0; i < ARRAY_SIZE(hz); i++) {
		for (size_t j = 0; j < ARRAY_SIZE(ticks); j++) {
			uint64_t ns = ticks_to_ns(ticks[j], hz[i]);

			if (ns == UINT64_MAX)
				continue;
			assert_true(ns_to_ticks(ns, hz[i]) >= ticks[j]);
			assert_true(ns_to_ticks(ns - 1, hz[i]) < ticks[j]);
		}
	}
}

static void what_does_not_fit_saturates(void **state)
{
	assert_int_equal(ticks_to_ns(UINT64_MAX, 1000000), UINT64_MAX);
	assert_int_equal(ns_to_ticks(UINT64_MAX, UINT64_MAX), UINT64_MAX);
}

static void sleep_ms(long ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000};

	nanosleep(&pause, NULL);
}

static void stands_still_while_stopped(void **state)
{
	struct vm_clock clock;
	uint64_t then;

	vm_clock_init(&clock, 1000000000);
	assert_int_equal(vm_clock_ns(&clock), 0);
	sleep_ms(2);
	assert_int_equal(vm_clock_ns(&clock), 0);

	vm_clock_start(&clock);
	sleep_ms(2);
	then = vm_clock_ns(&clock);
	assert_true(then >= 2000000);
	vm_clock_start(&clock); /* no second start */
	assert_true(vm_clock_ns(&clock) >= then);

	vm_clock_stop(&clock);
	then = vm_clock_ns(&clock);
	sleep_ms(2);
	assert_int_equal(vm_clock_ns(&clock), then);
	vm_clock_start(&clock);
	assert_true(vm_clock_ns(&clock) >= then);
}

static void set_keeps_running_or_stopped(void **state)
{
	struct vm_clock clock;

	vm_clock_init(&clock, 2000000000);
	vm_clock_set(&clock, 5000000000);
	assert_int_equal(vm_clock_ns(&clock), 5000000000);
	assert_int_equal(vm_clock_tsc(&clock), 10000000000);
	assert_int_equal(vm_clock_tsc_to_ns(&clock, 3), 2);
	assert_int_equal(vm_clock_ns_to_tsc(&clock, 7), 14);

	vm_clock_start(&clock);
	vm_clock_set(&clock, 77);
	assert_true(vm_clock_ns(&clock) >= 77);
	assert_true(vm_clock_ns(&clock) < 5000000000);
	sleep_ms(1);
	assert_true(vm_clock_ns(&clock) >= 1000077);
}

static void host_tsc_is_plausible(void **state)
{
	uint64_t hz = host_tsc_hz();

	assert_true(hz >= 100000000);
	assert_true(hz <= 10000000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ticks_round_down),
	    cmocka_unit_test(ns_are_the_first_to_show_the_ticks),
	    cmocka_unit_test(what_does_not_fit_saturates),
	    cmocka_unit_test(stands_still_while_stopped),
	    cmocka_unit_test(set_keeps_running_or_stopped),
	    cmocka_unit_test(host_tsc_is_plausible),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
