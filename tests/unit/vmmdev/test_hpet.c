/* SPDX-License-Identifier: BSD-2-Clause */
/* The HPET, by the IA-PC HPET specification 1.0a. */
#include "room.h"

#define HPET    0xfed00000ull
#define HPET_HZ 16777216ull

enum { CAP = 0x00, CONFIG = 0x10, STATUS = 0x20, COUNTER = 0xf0 };
#define T_CONFIG(n)     (0x100u + 0x20u * (n))
#define T_COMPARATOR(n) (0x108u + 0x20u * (n))
#define T_FSB_DATA(n)   (0x110u + 0x20u * (n))
#define T_FSB_ADDR(n)   (0x114u + 0x20u * (n))

enum {
	LEVEL = 1 << 1,
	INT_ENB = 1 << 2,
	PERIODIC = 1 << 3,
	VAL_SET = 1 << 6,
	FSB_EN = 1 << 14,
};
#define ROUTE(pin) ((uint32_t)(pin) << 9)

static uint32_t get(struct room_fixture *room, unsigned reg)
{
	return mmio_read(room, HPET + reg);
}

static void put(struct room_fixture *room, unsigned reg, uint32_t value)
{
	mmio_write(room, HPET + reg, value);
}

static void ticks(struct room_fixture *room, uint64_t count)
{
	uint64_t now = vm_clock_ns(&room->vm.clock) - ROOM_START;
	uint64_t target = ns_to_ticks(now, HPET_HZ) + count;

	room_pass(room, ticks_to_ns(target, HPET_HZ) - now);
}

static void listen(struct room_fixture *room)
{
	apics_enable(room);
	ioapic_route(room, 24, 0x40);
	ioapic_route(room, 25, 0x41 | BIT(15));
	put(room, CONFIG, 1);
}

static void identity(void **state)
{
	struct room_fixture *room = *state;
	uint64_t wide = 0;

	assert_int_equal(get(room, CAP), 0x80868701);
	assert_int_equal(get(room, CAP + 4), 59604644); /* fs: 2^24 Hz */
	assert_int_equal(hpet_capabilities(&room->vm), 0x80868701);
	assert_int_equal(room_mmio(&room->cpu[0], HPET, 8, false, &wide), 0);
	assert_int_equal(wide, 59604644ull << 32 | 0x80868701);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(get(room, T_CONFIG(i)), 0x8010);
		assert_int_equal(get(room, T_CONFIG(i) + 4), 0xff000000);
		assert_int_equal(get(room, T_COMPARATOR(i)), UINT32_MAX);
	}
	assert_int_equal(get(room, 0x200), 0);
	put(room, CAP, 0);
	put(room, 0x300, 1);
	room_mmio(&room->cpu[0], HPET + 2, 4, false, &wide);
	assert_int_equal(wide, 0);
	room_mmio(&room->cpu[0], HPET, 1, false, &wide);
	assert_int_equal(wide, 0);
}

static void the_counter(void **state)
{
	struct room_fixture *room = *state;

	room_pass(room, MS);
	assert_int_equal(get(room, COUNTER), 0);
	put(room, COUNTER, 1000);
	put(room, CONFIG, 1);
	room_pass(room, 1000 * MS);
	assert_int_equal(get(room, COUNTER), 1000 + HPET_HZ);
	put(room, COUNTER, 5); /* not while it runs */
	assert_int_equal(get(room, COUNTER), 1000 + HPET_HZ);
	put(room, CONFIG, 0);
	room_pass(room, MS);
	assert_int_equal(get(room, COUNTER), 1000 + HPET_HZ);
	put(room, COUNTER, 0xfffffff0);
	put(room, CONFIG, 1);
	ticks(room, 0x20);
	assert_in_range(get(room, COUNTER), 0xf, 0x11);
	assert_int_equal(get(room, COUNTER + 4), 0);
}

static void one_shot(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	put(room, T_CONFIG(3), INT_ENB | ROUTE(24));
	put(room, T_COMPARATOR(3), 10000);
	ticks(room, 9999);
	assert_int_equal(cpu_take(room, 0), -1);
	ticks(room, 1);
	assert_int_equal(cpu_take(room, 0), 0x40);
	assert_int_equal(get(room, STATUS), 0);
	ticks(room, 100000);
	assert_int_equal(cpu_take(room, 0), -1);
	/* it matches again when the counter has wrapped */
	ticks(room, 1ull << 32);
	assert_int_equal(cpu_take(room, 0), 0x40);
	/* disabled it does not interrupt */
	put(room, T_CONFIG(3), ROUTE(24));
	put(room, T_COMPARATOR(3), get(room, COUNTER) + 100);
	ticks(room, 1000);
	assert_int_equal(cpu_take(room, 0), -1);
}

/* The way Linux programs it: VAL_SET, the first match, the period. */
static void periodic(void **state)
{
	struct room_fixture *room = *state;
	unsigned seen = 0;

	listen(room);
	put(room, T_CONFIG(0), INT_ENB | PERIODIC | VAL_SET | ROUTE(24));
	put(room, T_COMPARATOR(0), 5000);
	assert_int_equal(get(room, T_CONFIG(0)) & VAL_SET, 0);
	put(room, T_COMPARATOR(0), 1000);
	assert_int_equal(get(room, T_COMPARATOR(0)), 5000);
	ticks(room, 4999);
	assert_int_equal(cpu_take(room, 0), -1);
	for (unsigned i = 0; i < 10000; i++) {
		ticks(room, 1);
		seen += cpu_take(room, 0) == 0x40;
	}
	assert_in_range(seen, 10, 11);
	assert_int_equal(get(room, T_COMPARATOR(0)) % 1000, 0);
	/* without interrupt the comparator still moves on */
	put(room, T_CONFIG(0), PERIODIC | ROUTE(24));
	ticks(room, 100000);
	assert_in_range(get(room, T_COMPARATOR(0)) - get(room, COUNTER), 1,
			1000);
	assert_int_equal(cpu_take(room, 0), -1);
}

static void tiny_periods_are_bounded(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	put(room, T_CONFIG(0), INT_ENB | PERIODIC | VAL_SET | ROUTE(24));
	put(room, T_COMPARATOR(0), 1);
	room_pass(room, 100 * MS);
	assert_int_equal(cpu_take(room, 0), 0x40);
	put(room, T_COMPARATOR(0), 0);
	room_pass(room, 100 * MS);
}

static void level_waits_for_status(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	put(room, T_CONFIG(2), INT_ENB | LEVEL | ROUTE(25));
	put(room, T_COMPARATOR(2), 1000);
	ticks(room, 1000);
	assert_int_equal(get(room, STATUS), 4);
	assert_int_equal(cpu_take(room, 0), 0x41);
	assert_int_equal(cpu_take(room, 0), 0x41); /* still held */
	put(room, STATUS, 0xfb);
	assert_int_equal(get(room, STATUS), 4);
	put(room, STATUS, 4);
	assert_int_equal(get(room, STATUS), 0);
	cpu_take(room, 0);
	assert_int_equal(cpu_take(room, 0), -1);
	/* a new routing lets go of the old line */
	put(room, T_COMPARATOR(2), get(room, COUNTER) + 10);
	ticks(room, 20);
	assert_int_equal(get(room, STATUS), 4);
	put(room, T_CONFIG(2), INT_ENB | ROUTE(24));
	assert_int_equal(get(room, STATUS), 0);
	assert_int_equal(cpu_take(room, 0), 0x41);
	assert_int_equal(cpu_take(room, 0), -1);
}

static void routes_it_has_not(void **state)
{
	struct room_fixture *room = *state;

	put(room, T_CONFIG(0), ROUTE(3));
	assert_int_equal(get(room, T_CONFIG(0)), 0x8010);
	put(room, T_CONFIG(0), ROUTE(31));
	assert_int_equal(get(room, T_CONFIG(0)), 0x8010 | ROUTE(31));
}

static void messages(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	put(room, T_FSB_DATA(4), 0x4077);
	put(room, T_FSB_ADDR(4), 0xfee02000);
	assert_int_equal(get(room, T_FSB_DATA(4)), 0x4077);
	assert_int_equal(get(room, T_FSB_ADDR(4)), 0xfee02000);
	put(room, T_CONFIG(4), INT_ENB | FSB_EN | ROUTE(24));
	put(room, T_COMPARATOR(4), 500);
	ticks(room, 500);
	assert_int_equal(cpu_take(room, 2), 0x77);
	assert_int_equal(cpu_take(room, 0), -1);
}

static void legacy_replacement(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	ioapic_route(room, 2, 0x30);
	ioapic_route(room, 8, 0x38);
	put(room, CONFIG, 3);
	put(room, T_CONFIG(0), INT_ENB);
	put(room, T_COMPARATOR(0), get(room, COUNTER) + 100);
	put(room, T_CONFIG(1), INT_ENB);
	put(room, T_COMPARATOR(1), get(room, COUNTER) + 200);
	put(room, T_CONFIG(2), INT_ENB | ROUTE(24));
	put(room, T_COMPARATOR(2), get(room, COUNTER) + 300);
	ticks(room, 101);
	assert_int_equal(cpu_take(room, 0), 0x30);
	ticks(room, 100);
	assert_int_equal(cpu_take(room, 0), 0x38);
	ticks(room, 100);
	assert_int_equal(cpu_take(room, 0), 0x40);
}

static void state_is_saved(void **state)
{
	struct room_fixture *room = *state;
	struct room_fixture *other = room_new();
	const struct room_device *device = &hpet_device;

	listen(room);
	put(room, T_CONFIG(0), INT_ENB | PERIODIC | VAL_SET | ROUTE(24));
	put(room, T_COMPARATOR(0), 5000);
	put(room, T_COMPARATOR(0), 1000);
	put(room, T_CONFIG(2), INT_ENB | LEVEL | ROUTE(25));
	put(room, T_COMPARATOR(2), 1000);
	ticks(room, 2000);
	assert_saves_and_loads(device->state, device->object(&room->vm),
			       device->object(&other->vm));
	assert_int_equal(get(other, STATUS), 4);
	vm_clock_set(&other->vm.clock, vm_clock_ns(&room->vm.clock));
	device->resume(&other->vm);
	apics_enable(other);
	ioapic_route(other, 24, 0x40);
	assert_int_equal(get(other, COUNTER), get(room, COUNTER));
	ticks(other, 2999);
	assert_int_equal(cpu_take(other, 0), -1);
	ticks(other, 1);
	assert_int_equal(cpu_take(other, 0), 0x40);
	room_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    room_test(identity),
	    room_test(the_counter),
	    room_test(one_shot),
	    room_test(periodic),
	    room_test(tiny_periods_are_bounded),
	    room_test(level_waits_for_status),
	    room_test(routes_it_has_not),
	    room_test(messages),
	    room_test(legacy_replacement),
	    room_test(state_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
