/* SPDX-License-Identifier: BSD-2-Clause */
/* The sorted list of timers, and the room's thread that fires them. */
#include "vmm/timer.h"

#include <errno.h>
#include <signal.h>
#include <time.h>

#include "base/bits.h"
#include "vmm/vm.h"

#define NS_PER_S 1000000000ull

/* How soon the thread sees that a clock which stood still runs again. */
#define STOPPED_POLL_NS 10000000ull

/* Longest sleep: far deadlines must not overflow a timespec. */
#define LONGEST_SLEEP_NS (3600 * NS_PER_S)

void vm_timer_init(struct vm *vm, struct vm_timer *timer,
		   void (*expired)(void *arg), void *arg)
{
	*timer = (struct vm_timer){
	    .vm = vm,
	    .expired = expired,
	    .arg = arg,
	};
}

static void unlink_timer(struct vm *vm, struct vm_timer *timer)
{
	struct vm_timer **link = &vm->timers;

	while (*link != timer)
		link = &(*link)->next;
	*link = timer->next;
	timer->next = NULL;
	timer->armed = false;
}

/* Behind its equals, so that timers fire in the order they were armed. */
static void link_timer(struct vm *vm, struct vm_timer *timer)
{
	struct vm_timer **link = &vm->timers;

	while (*link != NULL && (*link)->deadline_ns <= timer->deadline_ns)
		link = &(*link)->next;
	timer->next = *link;
	*link = timer;
	timer->armed = true;
}

void vm_timer_arm(struct vm_timer *timer, uint64_t deadline_ns)
{
	struct vm *vm = timer->vm;

	pthread_mutex_lock(&vm->timer_lock);
	if (timer->armed)
		unlink_timer(vm, timer);
	timer->deadline_ns = deadline_ns;
	link_timer(vm, timer);
	if (vm->timers == timer && vm->timer_thread.started)
		pthread_cond_signal(&vm->timer_thread.wake);
	pthread_mutex_unlock(&vm->timer_lock);
}

void vm_timer_cancel(struct vm_timer *timer)
{
	struct vm *vm = timer->vm;

	pthread_mutex_lock(&vm->timer_lock);
	if (timer->armed)
		unlink_timer(vm, timer);
	pthread_mutex_unlock(&vm->timer_lock);
}

static void sleep_for(struct vm *vm, uint64_t ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	ns = MIN(ns, LONGEST_SLEEP_NS) + (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(ns / NS_PER_S);
	until.tv_nsec = (long)(ns % NS_PER_S);
	pthread_cond_timedwait(&vm->timer_thread.wake, &vm->timer_lock, &until);
}

/* Fires what is due, or sleeps until something may be. Under timer_lock. */
static void timer_step(struct vm *vm)
{
	struct vm_timer *timer = vm->timers;
	uint64_t now;

	if (timer == NULL) {
		pthread_cond_wait(&vm->timer_thread.wake, &vm->timer_lock);
		return;
	}
	if (!atomic_load(&vm->clock.running)) {
		sleep_for(vm, STOPPED_POLL_NS);
		return;
	}
	now = vm_clock_ns(&vm->clock);
	if (timer->deadline_ns > now) {
		sleep_for(vm, timer->deadline_ns - now);
		return;
	}
	unlink_timer(vm, timer);
	pthread_mutex_unlock(&vm->timer_lock);
	timer->expired(timer->arg);
	pthread_mutex_lock(&vm->timer_lock);
}

static void *timer_main(void *arg)
{
	struct vm *vm = arg;

	pthread_mutex_lock(&vm->timer_lock);
	while (!vm->timer_thread.quit)
		timer_step(vm);
	pthread_mutex_unlock(&vm->timer_lock);
	return NULL;
}

static int create_with_signals_blocked(struct vm *vm)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&vm->timer_thread.thread, NULL, timer_main, vm);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

int vm_timer_thread_start(struct vm *vm)
{
	struct vm_timer_thread *room = &vm->timer_thread;
	pthread_condattr_t attr;
	int error;

	if (room->started)
		return 0;
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	error = -pthread_cond_init(&room->wake, &attr);
	pthread_condattr_destroy(&attr);
	if (error != 0)
		return error;
	/* The thread reads nothing of room before it has the lock. */
	pthread_mutex_lock(&vm->timer_lock);
	room->quit = false;
	error = create_with_signals_blocked(vm);
	room->started = error == 0;
	pthread_mutex_unlock(&vm->timer_lock);
	if (error != 0)
		pthread_cond_destroy(&room->wake);
	return error;
}

void vm_timer_thread_stop(struct vm *vm)
{
	struct vm_timer_thread *room = &vm->timer_thread;

	if (!room->started)
		return;
	pthread_mutex_lock(&vm->timer_lock);
	room->quit = true;
	pthread_cond_signal(&room->wake);
	pthread_mutex_unlock(&vm->timer_lock);
	pthread_join(room->thread, NULL);
	/* arm must not signal a condition that is gone */
	pthread_mutex_lock(&vm->timer_lock);
	room->started = false;
	pthread_mutex_unlock(&vm->timer_lock);
	pthread_cond_destroy(&room->wake);
}
