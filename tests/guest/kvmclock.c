/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KVM's leaves and clock, where KVM runs the guest; that none of it is there
 * where it does not; and that the clock goes on when another process does.
 */
#include "lib/guest.h"

#define WALL_CLOCK     0x4b564d00u
#define SYSTEM_TIME    0x4b564d01u
#define LEAF_BHYVE     0x40000000u
#define LEAF_KVM       0x40000100u
#define LEAF_FEATURES  0x40000101u
#define FEATURE_CLOCK  BIT(3)
#define ENABLE         1
#define PMTIMER        0x408
#define PMTIMER_HZ     3579545u
#define PMTIMER_MASK   0xffffffu
#define NS_PER_S       1000000000ull
#define TWENTIETH_OF_S (NS_PER_S / 20)

/* Documentation/virt/kvm/x86/msr.rst */
static volatile struct {
	uint32_t version, zero;
	uint64_t tsc_timestamp, system_time;
	uint32_t tsc_to_system_mul;
	int8_t tsc_shift;
	uint8_t flags, pad[2];
} clock_page __attribute__((aligned(64)));
static volatile struct {
	uint32_t version, sec, nsec;
} wall __attribute__((aligned(64)));

static uint64_t clock_ns(void)
{
	uint64_t delta, ns;
	uint32_t version;

	do {
		version = clock_page.version;
		delta = rdtsc() - clock_page.tsc_timestamp;
		delta = clock_page.tsc_shift >= 0
			    ? delta << clock_page.tsc_shift
			    : delta >> -clock_page.tsc_shift;
		ns = clock_page.system_time +
		     (uint64_t)((unsigned __int128)delta *
				    clock_page.tsc_to_system_mul >>
				32);
	} while (version % 2 != 0 || version != clock_page.version);
	return ns;
}

static void nothing_there(void)
{
	struct regs4 r = cpuid(LEAF_KVM, 0);

	check(r.a == 0 && r.b == 0 && r.c == 0 && r.d == 0,
	      "no KVM under the guest: no leaf of its");
}

static void leaves(void)
{
	struct regs4 r = cpuid(LEAF_KVM, 0);

	check_eq(r.a, LEAF_FEATURES, "KVM's last leaf");
	check(r.b == 0x4b4d564b && r.c == 0x564b4d56 && r.d == 0x4d,
	      "KVMKVMKVM");
	check(cpuid(LEAF_FEATURES, 0).a & FEATURE_CLOCK, "kvmclock");
}

/* Against the PM timer, for a moment. */
static void keeps_pace(void)
{
	uint64_t start = clock_ns(), before = start, now = start, ns;
	uint32_t first = inl(PMTIMER);
	bool forward = true;

	while (now - start < TWENTIETH_OF_S) {
		now = clock_ns();
		forward &= now >= before;
		before = now;
	}
	ns = ((inl(PMTIMER) - first) & PMTIMER_MASK) * NS_PER_S / PMTIMER_HZ;
	check(forward, "kvmclock never goes back");
	check(ns >= TWENTIETH_OF_S / 2 && ns < 20 * TWENTIETH_OF_S,
	      "and keeps pace with the PM timer");
}

static void goes_on(void)
{
	uint64_t before = clock_ns(), after;
	uint64_t msr = rdmsr(SYSTEM_TIME);

	check_eq(host(HOST_MOVE, 0, 0, 0), 0, "another process takes over");
	after = clock_ns();
	check_eq(rdmsr(SYSTEM_TIME), msr, "the MSR is what it was");
	check(after >= before, "kvmclock goes on");
	check(after - before < 60 * NS_PER_S, "from where it was");
}

void payload(void)
{
	check_eq(cpuid(LEAF_BHYVE, 0).b, 0x76796862, "bhyve's leaf");
	if ((host(HOST_ENGINE, 0, 0, 0) & HOST_IS_KVM) == 0) {
		nothing_there();
		return;
	}
	leaves();
	wrmsr(WALL_CLOCK, (uintptr_t)&wall);
	check(wall.sec != 0 && wall.version % 2 == 0, "wall clock");
	wrmsr(SYSTEM_TIME, (uintptr_t)&clock_page | ENABLE);
	check_eq(rdmsr(SYSTEM_TIME), (uintptr_t)&clock_page | ENABLE,
		 "the MSR reads back");
	check(clock_page.version % 2 == 0 && clock_page.tsc_to_system_mul != 0,
	      "KVM fills the page");
	keeps_pace();
	goes_on();
}
