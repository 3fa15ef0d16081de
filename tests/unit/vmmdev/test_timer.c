/* SPDX-License-Identifier: BSD-2-Clause */
/* Timers on vm_clock, and the room's thread. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#include "vmm/timer.h"
#include "vmm/vm.h"

struct fixture;

struct event {
	struct fixture *fixture;
	int index;
};

struct fixture {
	struct vm vm;
	struct vm_timer timer[3];
	struct event event[3];
	pthread_mutex_t lock;
	pthread_cond_t changed;
	int fired[8]; /* indices of timers, in order */
	int count;
	bool signals_blocked;
};

static void record(void *arg)
{
	struct event *event = arg;
	struct fixture *f = event->fixture;
	sigset_t now;

	pthread_sigmask(SIG_SETMASK, NULL, &now);
	pthread_mutex_lock(&f->lock);
	f->signals_blocked =
	    sigismember(&now, SIGTERM) == 1 && sigismember(&now, SIGUSR1) == 1;
	if (f->count < 8)
		f->fired[f->count++] = event->index;
	pthread_cond_signal(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void sleep_ms(long ms)
{
	const struct timespec pause = {.tv_nsec = ms * 1000000};

	nanosleep(&pause, NULL);
}

static void wait_for(struct fixture *f, int count)
{
	pthread_mutex_lock(&f->lock);
	while (f->count < count)
		pthread_cond_wait(&f->changed, &f->lock);
	pthread_mutex_unlock(&f->lock);
}

static int fired_so_far(struct fixture *f)
{
	int count;

	pthread_mutex_lock(&f->lock);
	count = f->count;
	pthread_mutex_unlock(&f->lock);
	return count;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	pthread_mutex_init(&f->vm.timer_lock, NULL);
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	vm_clock_init(&f->vm.clock, 1000000000);
	for (int i = 0; i < 3; i++) {
		f->event[i] = (struct event){f, i};
		vm_timer_init(&f->vm, &f->timer[i], record, &f->event[i]);
	}
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_timer_thread_stop(&f->vm);
	free(f);
	return 0;
}

static void fire_in_order_of_deadline(void **state)
{
	struct fixture *f = *state;

	vm_timer_arm(&f->timer[0], 3000000);
	vm_timer_arm(&f->timer[1], 1000000);
	vm_timer_arm(&f->timer[2], 3000000);
	vm_clock_start(&f->vm.clock);
	assert_int_equal(vm_timer_thread_start(&f->vm), 0);
	wait_for(f, 3);
	assert_int_equal(f->fired[0], 1);
	assert_int_equal(f->fired[1], 0);
	assert_int_equal(f->fired[2], 2);
	assert_true(f->signals_blocked);
	assert_true(vm_clock_ns(&f->vm.clock) >= 3000000);
	assert_false(f->timer[0].armed);
	assert_null(f->vm.timers);
}

static void an_earlier_one_wakes_the_thread(void **state)
{
	struct fixture *f = *state;

	vm_clock_start(&f->vm.clock);
	vm_timer_thread_start(&f->vm);
	vm_timer_arm(&f->timer[0], 600000000000);
	sleep_ms(2);
	vm_timer_arm(&f->timer[1], 0);
	wait_for(f, 1);
	assert_int_equal(f->fired[0], 1);
	/* and arming again moves it */
	vm_timer_arm(&f->timer[0], 1);
	wait_for(f, 2);
	assert_int_equal(f->fired[1], 0);
}

static void a_cancelled_one_does_not_fire(void **state)
{
	struct fixture *f = *state;

	vm_timer_arm(&f->timer[0], 1);
	vm_timer_arm(&f->timer[1], 2);
	vm_timer_cancel(&f->timer[0]);
	vm_timer_cancel(&f->timer[2]); /* never armed */
	vm_clock_start(&f->vm.clock);
	vm_timer_thread_start(&f->vm);
	wait_for(f, 1);
	sleep_ms(2);
	assert_int_equal(fired_so_far(f), 1);
	assert_int_equal(f->fired[0], 1);
}

static void nothing_fires_while_the_clock_stands(void **state)
{
	struct fixture *f = *state;

	vm_clock_set(&f->vm.clock, 1000);
	vm_timer_thread_start(&f->vm);
	vm_timer_arm(&f->timer[0], 10);
	sleep_ms(5);
	assert_int_equal(fired_so_far(f), 0);
	vm_clock_start(&f->vm.clock);
	wait_for(f, 1);
}

static void stays_armed_without_a_thread(void **state)
{
	struct fixture *f = *state;

	vm_clock_start(&f->vm.clock);
	vm_timer_thread_start(&f->vm);
	vm_timer_thread_stop(&f->vm);
	vm_timer_arm(&f->timer[0], 1);
	sleep_ms(2);
	assert_int_equal(fired_so_far(f), 0);
	assert_true(f->timer[0].armed);
	vm_timer_thread_start(&f->vm);
	wait_for(f, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(fire_in_order_of_deadline, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(an_earlier_one_wakes_the_thread,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(a_cancelled_one_does_not_fire,
					    setup, teardown),
	    cmocka_unit_test_setup_teardown(
		nothing_fires_while_the_clock_stands, setup, teardown),
	    cmocka_unit_test_setup_teardown(stays_armed_without_a_thread, setup,
					    teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
