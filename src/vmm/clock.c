/* SPDX-License-Identifier: BSD-2-Clause */
/* vm_clock: guest time, and the arithmetic between ns and ticks. */
#include "vmm/clock.h"

#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/bits.h"

#define NS_PER_S 1000000000ull

static uint64_t host_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void clock_write(struct vm_clock *clock, bool running, uint64_t ns)
{
	atomic_fetch_add(&clock->sequence, 1);
	atomic_store(&clock->offset_ns, running ? ns - host_ns() : ns);
	atomic_store(&clock->running, running);
	atomic_fetch_add(&clock->sequence, 1);
}

void vm_clock_init(struct vm_clock *clock, uint64_t tsc_hz)
{
	atomic_init(&clock->sequence, 0);
	atomic_init(&clock->running, false);
	atomic_init(&clock->offset_ns, 0);
	clock->tsc_hz = tsc_hz;
}

void vm_clock_start(struct vm_clock *clock)
{
	if (!atomic_load(&clock->running))
		clock_write(clock, true, vm_clock_ns(clock));
}

void vm_clock_stop(struct vm_clock *clock)
{
	if (atomic_load(&clock->running))
		clock_write(clock, false, vm_clock_ns(clock));
}

void vm_clock_set(struct vm_clock *clock, uint64_t ns)
{
	clock_write(clock, atomic_load(&clock->running), ns);
}

uint64_t vm_clock_ns(const struct vm_clock *clock)
{
	uint64_t sequence, offset;
	bool running;

	do {
		sequence = atomic_load_explicit(&clock->sequence,
						memory_order_acquire);
		running =
		    atomic_load_explicit(&clock->running, memory_order_relaxed);
		offset = atomic_load_explicit(&clock->offset_ns,
					      memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
	} while (
	    unlikely((sequence & 1) != 0 ||
		     sequence != atomic_load_explicit(&clock->sequence,
						      memory_order_relaxed)));
	return running ? host_ns() + offset : offset;
}

uint64_t vm_clock_tsc(const struct vm_clock *clock)
{
	return ns_to_ticks(vm_clock_ns(clock), clock->tsc_hz);
}

uint64_t vm_clock_ns_to_tsc(const struct vm_clock *clock, uint64_t ns)
{
	return ns_to_ticks(ns, clock->tsc_hz);
}

uint64_t vm_clock_tsc_to_ns(const struct vm_clock *clock, uint64_t tsc)
{
	return ticks_to_ns(tsc, clock->tsc_hz);
}

/* whole * scale + part, or the largest value there is. */
static uint64_t scale_saturated(uint64_t whole, uint64_t scale, uint64_t part)
{
	uint64_t product, sum;

	if (__builtin_mul_overflow(whole, scale, &product) ||
	    __builtin_add_overflow(product, part, &sum))
		return UINT64_MAX;
	return sum;
}

/* a * b / c, where the result is known to fit. */
static uint64_t muldiv(uint64_t a, uint64_t b, uint64_t c)
{
	uint64_t product;

	if (!__builtin_mul_overflow(a, b, &product))
		return product / c;
	return (uint64_t)((unsigned __int128)a * b / c);
}

/* Whole seconds apart, so that for all real hz 64 bits are enough. */
uint64_t ns_to_ticks(uint64_t ns, uint64_t hz)
{
	return scale_saturated(ns / NS_PER_S, hz,
			       muldiv(ns % NS_PER_S, hz, NS_PER_S));
}

uint64_t ticks_to_ns(uint64_t ticks, uint64_t hz)
{
	uint64_t rest = ticks % hz;
	uint64_t part = muldiv(rest, NS_PER_S, hz);

	/* rounded up, so that the tick has happened by then */
	if (muldiv(part, hz, NS_PER_S) < rest)
		part++;
	return scale_saturated(ticks / hz, NS_PER_S, part);
}

/* The instant and the TSC of one moment: the tightest of a few tries. */
static void sample(uint64_t *ns, uint64_t *tsc)
{
	uint64_t best = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		uint64_t before = __rdtsc();
		uint64_t now = host_ns();
		uint64_t after = __rdtsc();

		if (after - before < best) {
			best = after - before;
			*ns = now;
			*tsc = before + (after - before) / 2;
		}
	}
}

/* What Linux calls the TSC, and what a hypervisor's guest reckons from it. */
static bool is_by_tsc(const char *source)
{
	static const char *const names[] = {"tsc\n", "kvm-clock\n",
					    "hyperv_clocksource_tsc_page\n"};

	for (size_t n = 0; n < ARRAY_SIZE(names); n++)
		if (strcmp(source, names[n]) == 0)
			return true;
	return false;
}

bool host_tsc_is_clock(void)
{
	static const char name[] = "/sys/devices/system/clocksource/"
				   "clocksource0/current_clocksource";
	char source[32] = "";
	int fd = open(name, O_RDONLY | O_CLOEXEC), mode;
	ssize_t len = fd < 0 ? 0 : read(fd, source, sizeof(source) - 1);

	if (fd >= 0)
		close(fd);
	return len > 0 && is_by_tsc(source) && prctl(PR_GET_TSC, &mode) == 0 &&
	       mode == PR_TSC_ENABLE;
}

uint64_t host_tsc_hz(void)
{
	const struct timespec pause = {.tv_nsec = 2000000};
	uint64_t ns0 = 0, tsc0 = 0, ns1 = 0, tsc1 = 0, hz;
	int mode;

	if (prctl(PR_GET_TSC, &mode) != 0 || mode != PR_TSC_ENABLE)
		return NS_PER_S;
	sample(&ns0, &tsc0);
	nanosleep(&pause, NULL);
	sample(&ns1, &tsc1);
	if (ns1 <= ns0 || tsc1 <= tsc0)
		return NS_PER_S;
	hz = (uint64_t)((unsigned __int128)(tsc1 - tsc0) * NS_PER_S /
			(ns1 - ns0));
	/* Outside of this no x86-64 has ever counted. */
	if (hz < 100000000 || hz > 10 * NS_PER_S)
		return NS_PER_S;
	return hz;
}
