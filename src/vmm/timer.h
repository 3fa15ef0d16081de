/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Timers on vm_clock. Callbacks run on the room's own thread, one at a time,
 * with no lock held; a device takes its own lock in the callback and checks
 * whether the event is still wanted (cancel does not wait for a callback
 * that has begun). arm and cancel may be called from any thread, under any
 * device lock, also from the callback. While the clock stands still, or no
 * process runs the VM, nothing fires; what is overdue then fires at once.
 */
#ifndef VMM_TIMER_H
#define VMM_TIMER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct vm;

/* The room's thread, in struct vm beside the list; under timer_lock. */
struct vm_timer_thread {
	pthread_t thread;
	pthread_cond_t wake; /* made while the thread exists */
	bool started;
	bool quit;
};

struct vm_timer {
	struct vm *vm;
	void (*expired)(void *arg);
	void *arg;
	uint64_t deadline_ns; /* vm_clock */
	bool armed;
	struct vm_timer *next; /* of vm's list, sorted by deadline */
};

void vm_timer_init(struct vm *vm, struct vm_timer *timer,
		   void (*expired)(void *arg), void *arg);
void vm_timer_arm(struct vm_timer *timer, uint64_t deadline_ns);
void vm_timer_cancel(struct vm_timer *timer);

/*
 * Start makes the thread (0 or -errno), stop ends it and waits until the last
 * callback has returned; timers stay armed. stop is called with no lock that
 * a callback takes, and not from a callback.
 */
int vm_timer_thread_start(struct vm *vm);
void vm_timer_thread_stop(struct vm *vm);

#endif
