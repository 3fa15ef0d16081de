/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vm_clock: the only source of guest time. TSC, LAPIC timers, PIT, HPET, PM
 * timer and RTC are functions of it, and nothing else asks the host for guest
 * time. It counts nanoseconds since the VM was created, stands still while
 * stopped, and its value is saved. It follows CLOCK_MONOTONIC, so that the
 * guest keeps pace with the host.
 *
 * Any thread may read it without a lock. start, stop and set are called
 * under the VM lock while no vCPU runs.
 */
#ifndef VMM_CLOCK_H
#define VMM_CLOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct vm_clock {
	_Atomic uint64_t sequence; /* odd while start, stop or set write */
	_Atomic bool running;
	_Atomic uint64_t offset_ns; /* running: added to CLOCK_MONOTONIC
				       (modulo 2^64); stopped: the value */
	uint64_t tsc_hz;            /* fixed when the VM is created */
};

void vm_clock_init(struct vm_clock *clock, uint64_t tsc_hz);
void vm_clock_start(struct vm_clock *clock);
void vm_clock_stop(struct vm_clock *clock);
void vm_clock_set(struct vm_clock *clock, uint64_t ns);
uint64_t vm_clock_ns(const struct vm_clock *clock);

/* The TSC of a vCPU that never wrote it: now x tsc_hz / 10^9. */
uint64_t vm_clock_tsc(const struct vm_clock *clock);
uint64_t vm_clock_ns_to_tsc(const struct vm_clock *clock, uint64_t ns);
uint64_t vm_clock_tsc_to_ns(const struct vm_clock *clock, uint64_t tsc);

/* ns as ticks of a counter of hz, rounded down, without overflow. */
uint64_t ns_to_ticks(uint64_t ns, uint64_t hz);
/* The first ns at which that counter shows ticks (rounded up). */
uint64_t ticks_to_ns(uint64_t ticks, uint64_t hz);

/* Does the host's clock go by its TSC, the same on all CPUs? */
bool host_tsc_is_clock(void);
/* The host's TSC frequency in Hz, measured; 1 GHz if it has no usable one. */
uint64_t host_tsc_hz(void);

#endif
