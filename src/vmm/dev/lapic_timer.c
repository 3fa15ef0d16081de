/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC's timer, SDM vol. 3, 11.5.4: one-shot and periodic count
 * LAPIC_TIMER_HZ over the divide configuration, TSC-deadline compares the
 * vCPU's own TSC. The count is a function of vm_clock; only the interrupt
 * needs a timer.
 */
#include "vmm/dev/lapic.h"

/*
 * No period shorter than this interrupts: a guest that asks for a few ns
 * would keep the room's thread to itself.
 */
#define MIN_PERIOD_NS 20000

#define LVT_MODE (APIC_LVT_PERIODIC | APIC_LVT_DEADLINE)

static uint64_t now_ns(const struct lapic *lapic)
{
	return vm_clock_ns(&lapic->vcpu->vm->clock);
}

static bool is_periodic(const struct lapic *lapic)
{
	return (lapic->lvt[LVT_TIMER] & LVT_MODE) == APIC_LVT_PERIODIC;
}

static bool is_deadline(const struct lapic *lapic)
{
	return (lapic->lvt[LVT_TIMER] & LVT_MODE) == APIC_LVT_DEADLINE;
}

/* Divide configuration 0, 1, ... 7 means by 2, 4, ... 128, and by 1. */
static unsigned divide_shift(const struct lapic *lapic)
{
	unsigned code = (lapic->divide & 3) | (lapic->divide >> 1 & 4);

	return (code + 1) & 7;
}

static uint64_t elapsed_ticks(const struct lapic *lapic)
{
	return ns_to_ticks(now_ns(lapic) - lapic->count_start_ns,
			   LAPIC_TIMER_HZ);
}

uint32_t lapic_timer_count(const struct lapic *lapic)
{
	uint64_t count;

	if (lapic->armed == 0 || is_deadline(lapic))
		return 0;
	count = elapsed_ticks(lapic) >> divide_shift(lapic);
	if (is_periodic(lapic))
		count %= lapic->initial_count;
	if (count >= lapic->initial_count)
		return 0;
	return lapic->initial_count - (uint32_t)count;
}

static void arm(struct lapic *lapic, uint64_t deadline_ns)
{
	lapic->armed = 1;
	lapic->deadline_ns = deadline_ns;
	vm_timer_arm(&lapic->timer, deadline_ns);
}

void lapic_timer_stop(struct lapic *lapic)
{
	lapic->armed = 0;
	vm_timer_cancel(&lapic->timer);
}

/* The end of the period that follows `periods` whole ones. */
static uint64_t period_end(const struct lapic *lapic, uint64_t periods)
{
	uint64_t period = (uint64_t)lapic->initial_count << divide_shift(lapic);
	uint64_t ns = ticks_to_ns((periods + 1) * period, LAPIC_TIMER_HZ);

	return lapic->count_start_ns + ns;
}

/* After a write to the initial count or the divide configuration. */
void lapic_timer_start(struct lapic *lapic)
{
	if (is_deadline(lapic))
		return;
	if (lapic->initial_count == 0) {
		lapic_timer_stop(lapic);
		return;
	}
	lapic->count_start_ns = now_ns(lapic);
	arm(lapic, MAX(period_end(lapic, 0),
		       lapic->count_start_ns +
			   (is_periodic(lapic) ? MIN_PERIOD_NS : 0)));
}

/* To and from TSC-deadline mode the timer is disarmed. */
void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value)
{
	uint32_t changed = lapic->lvt[LVT_TIMER] ^ value;

	lapic->lvt[LVT_TIMER] = value;
	if ((changed & APIC_LVT_DEADLINE) == 0)
		return;
	lapic_timer_stop(lapic);
	lapic->initial_count = 0;
	lapic->tsc_deadline = 0;
}

/* Fires if the TSC has got there, otherwise arms for when it will. */
static void check_deadline(struct lapic *lapic)
{
	uint64_t tsc = vcpu_tsc(lapic->vcpu);
	uint64_t deadline_ns;

	if (tsc >= lapic->tsc_deadline) {
		lapic_timer_stop(lapic);
		lapic->tsc_deadline = 0;
		lapic_fire_lvt(lapic, LVT_TIMER);
		return;
	}
	if (__builtin_add_overflow(
		now_ns(lapic),
		vm_clock_tsc_to_ns(&lapic->vcpu->vm->clock,
				   lapic->tsc_deadline - tsc),
		&deadline_ns))
		deadline_ns = UINT64_MAX;
	arm(lapic, deadline_ns);
}

void lapic_timer_set_deadline(struct lapic *lapic, uint64_t tsc)
{
	if (!is_deadline(lapic))
		return;
	lapic->tsc_deadline = tsc;
	if (tsc == 0)
		lapic_timer_stop(lapic);
	else
		check_deadline(lapic);
}

void lapic_tsc_changed(struct lapic *lapic)
{
	pthread_mutex_lock(&lapic->lock);
	if (is_deadline(lapic) && lapic->tsc_deadline != 0)
		check_deadline(lapic);
	pthread_mutex_unlock(&lapic->lock);
}

void lapic_timer_adopt(struct lapic *lapic, uint32_t current)
{
	uint64_t gone;

	lapic_timer_stop(lapic);
	if (is_deadline(lapic)) {
		if (lapic->tsc_deadline != 0)
			check_deadline(lapic);
		return;
	}
	current = MIN(current, lapic->initial_count);
	if (current == 0)
		return;
	gone = (uint64_t)(lapic->initial_count - current)
	       << divide_shift(lapic);
	lapic->count_start_ns =
	    now_ns(lapic) -
	    MIN(ticks_to_ns(gone, LAPIC_TIMER_HZ), now_ns(lapic));
	arm(lapic, period_end(lapic, 0));
}

static void periodic_again(struct lapic *lapic)
{
	uint64_t period = (uint64_t)lapic->initial_count << divide_shift(lapic);
	uint64_t next = period_end(lapic, elapsed_ticks(lapic) / period);

	arm(lapic, MAX(next, now_ns(lapic) + MIN_PERIOD_NS));
}

void lapic_timer_expired(void *arg)
{
	struct lapic *lapic = arg;

	pthread_mutex_lock(&lapic->lock);
	/* Otherwise it was set anew while this call was on its way. */
	if (lapic->armed != 0 && now_ns(lapic) >= lapic->deadline_ns) {
		lapic->armed = 0;
		if (is_deadline(lapic)) {
			check_deadline(lapic);
		} else {
			lapic_fire_lvt(lapic, LVT_TIMER);
			if (is_periodic(lapic))
				periodic_again(lapic);
		}
	}
	pthread_mutex_unlock(&lapic->lock);
}
