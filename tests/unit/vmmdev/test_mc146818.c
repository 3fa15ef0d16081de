/* SPDX-License-Identifier: BSD-2-Clause */
/* The real-time clock and CMOS RAM, by Motorola's MC146818A data sheet. */
#include "room.h"

#include <string.h>
#include <time.h>

#define SECOND 1000000000ull

/* 2024-02-29 23:59:58 UTC, a Thursday. */
#define LEAP_DAY 1709251198

enum {
	SECONDS = 0,
	SECONDS_ALARM = 1,
	MINUTES = 2,
	MINUTES_ALARM = 3,
	HOURS = 4,
	HOURS_ALARM = 5,
	WEEKDAY = 6,
	DAY = 7,
	MONTH = 8,
	YEAR = 9,
	A = 0x0a,
	B = 0x0b,
	C = 0x0c,
	D = 0x0d,
	CENTURY = 0x32,
};

enum { SET = 0x80, PIE = 0x40, AIE = 0x20, UIE = 0x10, BINARY = 4, H24 = 2 };

static uint8_t get(struct room_fixture *room, uint8_t reg)
{
	port_out(room, 0x70, reg);
	return port_in(room, 0x71);
}

static void put(struct room_fixture *room, uint8_t reg, uint8_t value)
{
	port_out(room, 0x70, reg);
	port_out(room, 0x71, value);
}

static void listen(struct room_fixture *room)
{
	apics_enable(room);
	ioapic_route(room, 8, 0x38);
}

static void starts_at_the_hosts_time(void **state)
{
	struct room_fixture *room = *state;
	int64_t shown = mc146818_get_time(&room->vm);
	struct timespec host;

	/* time(2) may be a tick behind this clock, and a second. */
	clock_gettime(CLOCK_REALTIME, &host);
	assert_in_range(host.tv_sec - shown, 0, 60);
	room_pass(room, 100 * SECOND);
	assert_int_equal(mc146818_get_time(&room->vm), shown + 100);
}

static void shows_bcd_and_binary(void **state)
{
	struct room_fixture *room = *state;
	static const uint8_t regs[] = {SECONDS, MINUTES, HOURS, WEEKDAY,
				       DAY,     MONTH,   YEAR,  CENTURY};
	static const uint8_t bcd[] = {0x58, 0x59, 0x23, 0x05,
				      0x29, 0x02, 0x24, 0x20};
	static const uint8_t binary[] = {58, 59, 23, 5, 29, 2, 24, 20};
	static const uint8_t next_day[] = {1, 0, 0, 6, 1, 3, 24, 20};

	mc146818_set_time(&room->vm, LEAP_DAY);
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		assert_int_equal(get(room, regs[i]), bcd[i]);
	put(room, B, BINARY | H24);
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		assert_int_equal(get(room, regs[i]), binary[i]);
	room_pass(room, 3 * SECOND);
	for (unsigned i = 0; i < ARRAY_SIZE(regs); i++)
		assert_int_equal(get(room, regs[i]), next_day[i]);
	assert_int_equal(mc146818_nvram_read(&room->vm, DAY), 1);
}

static void twelve_hours(void **state)
{
	struct room_fixture *room = *state;

	mc146818_set_time(&room->vm, LEAP_DAY);
	put(room, B, 0);
	assert_int_equal(get(room, HOURS), 0x91); /* 11 PM */
	room_pass(room, 2 * SECOND);
	assert_int_equal(get(room, HOURS), 0x12); /* midnight */
	put(room, HOURS, 0x92);
	put(room, B, H24);
	assert_int_equal(get(room, HOURS), 0x12); /* noon */
	put(room, B, BINARY);
	put(room, HOURS, 0x80 | 1);
	put(room, B, BINARY | H24);
	assert_int_equal(get(room, HOURS), 13);
}

/* As Linux sets it: SET, registers, divider reset, and off again. */
static void can_be_set(void **state)
{
	struct room_fixture *room = *state;

	put(room, B, SET | H24);
	room_pass(room, 5 * SECOND);
	put(room, YEAR, 0x30);
	put(room, CENTURY, 0x20);
	put(room, MONTH, 0x12);
	put(room, DAY, 0x31);
	put(room, HOURS, 0x22);
	put(room, MINUTES, 0x15);
	put(room, SECONDS, 0x10);
	room_pass(room, 5 * SECOND);
	assert_int_equal(get(room, SECONDS), 0x10);
	assert_int_equal(get(room, A) & 0x80, 0);
	put(room, B, H24);
	assert_int_equal(mc146818_get_time(&room->vm), 1924985710);
	room_pass(room, SECOND);
	assert_int_equal(get(room, SECONDS), 0x11);
	/* without SET one register changes and the rest goes on */
	put(room, MINUTES, 0x45);
	assert_int_equal(mc146818_get_time(&room->vm), 1924985711 + 30 * 60);
	/* the divider's reset stops it too; then half a second is missing */
	put(room, A, 0x76);
	room_pass(room, 5 * SECOND);
	assert_int_equal(get(room, SECONDS), 0x11);
	put(room, A, 0x26);
	room_pass(room, SECOND / 2 - 1);
	assert_int_equal(get(room, SECONDS), 0x11);
	room_pass(room, 1);
	assert_int_equal(get(room, SECONDS), 0x12);
}

static void update_in_progress(void **state)
{
	struct room_fixture *room = *state;

	mc146818_set_time(&room->vm, 1000);
	assert_int_equal(get(room, A), 0x26);
	room_pass(room, SECOND - 244001);
	assert_int_equal(get(room, A), 0x26);
	room_pass(room, 1);
	assert_int_equal(get(room, A), 0xa6);
	room_pass(room, 244000);
	assert_int_equal(get(room, A), 0x26);
	assert_int_equal(get(room, D), 0x80);
	put(room, A, 0xff); /* UIP is read-only */
	assert_int_equal(get(room, A), 0x7f);
}

static void flags_without_interrupts(void **state)
{
	struct room_fixture *room = *state;

	mc146818_set_time(&room->vm, 1000);
	put(room, A, 0x2f); /* 2 Hz */
	get(room, C);
	assert_int_equal(get(room, C), 0);
	room_pass(room, SECOND * 3 / 4);
	assert_int_equal(get(room, C) & 0xd0, 0x40);
	room_pass(room, SECOND / 2);
	assert_int_equal(get(room, C) & 0xd0, 0x50);
	assert_int_equal(get(room, C), 0);
}

static void update_interrupt(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	mc146818_set_time(&room->vm, 1000);
	put(room, A, 0x20);
	put(room, B, UIE | H24);
	get(room, C);
	room_pass(room, SECOND - 1);
	assert_int_equal(cpu_take(room, 0), -1);
	room_pass(room, 1);
	assert_int_equal(cpu_take(room, 0), 0x38);
	/* until C is read the line stays up, and there is no new edge */
	room_pass(room, 2 * SECOND);
	assert_int_equal(cpu_take(room, 0), -1);
	assert_int_equal(get(room, C), 0x90);
	room_pass(room, SECOND);
	assert_int_equal(cpu_take(room, 0), 0x38);
	put(room, B, UIE | H24 | SET); /* SET clears UIE */
	assert_int_equal(get(room, B), H24 | SET);
}

static void periodic_interrupt(void **state)
{
	struct room_fixture *room = *state;
	unsigned seen = 0;

	listen(room);
	put(room, A, 0x26); /* 1024 Hz */
	put(room, B, PIE | H24);
	get(room, C);
	for (unsigned i = 0; i < 10000; i++) {
		room_pass(room, MS / 10);
		if (cpu_take(room, 0) != 0x38)
			continue;
		seen++;
		assert_int_equal(get(room, C) & 0xc0, 0xc0);
	}
	assert_in_range(seen, 1023, 1025);
	/* rates 1 and 2 are 256 and 128 Hz */
	put(room, A, 0x21);
	seen = 0;
	for (unsigned i = 0; i < 1000; i++) {
		room_pass(room, MS);
		seen += cpu_take(room, 0) == 0x38;
		get(room, C);
	}
	assert_in_range(seen, 255, 257);
	put(room, A, 0x20);
	get(room, C);
	room_pass(room, SECOND);
	assert_int_equal(cpu_take(room, 0), -1);
}

static void alarm_interrupt(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	mc146818_set_time(&room->vm, LEAP_DAY);
	put(room, SECONDS_ALARM, 0x30);
	put(room, MINUTES_ALARM, 0x10);
	put(room, HOURS_ALARM, 0x02);
	put(room, B, AIE | H24);
	get(room, C);
	room_pass(room, (2 + 2 * 3600 + 10 * 60 + 30) * SECOND - 1);
	assert_int_equal(cpu_take(room, 0), -1);
	room_pass(room, 1);
	assert_int_equal(cpu_take(room, 0), 0x38);
	assert_int_equal(get(room, C) & 0xb0, 0xb0);
	room_pass(room, 86399 * SECOND);
	assert_int_equal(cpu_take(room, 0), -1);
	room_pass(room, SECOND);
	assert_int_equal(cpu_take(room, 0), 0x38);
	get(room, C);
	/* 0xc0 and above: any */
	put(room, HOURS_ALARM, 0xff);
	put(room, MINUTES_ALARM, 0xc0);
	room_pass(room, 59 * SECOND);
	assert_int_equal(cpu_take(room, 0), -1);
	room_pass(room, SECOND);
	assert_int_equal(cpu_take(room, 0), 0x38);
	get(room, C);
	/* an hour that never comes */
	put(room, HOURS_ALARM, 0x77);
	room_pass(room, 2 * 86400 * SECOND);
	assert_int_equal(cpu_take(room, 0), -1);
}

static void ram_and_the_door(void **state)
{
	struct room_fixture *room = *state;

	put(room, 0x40, 0xa5);
	put(room, 0xff, 0x5a); /* bit 7 of the index is not part of it */
	assert_int_equal(get(room, 0xc0), 0xa5);
	assert_int_equal(get(room, 0x7f), 0x5a);
	assert_int_equal(port_in(room, 0x70), 0xff);
	mc146818_nvram_write(&room->vm, 0x34, 0x12);
	assert_int_equal(get(room, 0x34), 0x12);
	mc146818_nvram_write(&room->vm, B, SET);
	mc146818_nvram_write(&room->vm, CENTURY, 0x77);
	mc146818_nvram_write(&room->vm, 128, 1);
	assert_int_equal(get(room, B), H24);
	assert_int_equal(get(room, CENTURY), 0x20);
	assert_int_equal(mc146818_nvram_read(&room->vm, 0x40), 0xa5);
	assert_int_equal(mc146818_nvram_read(&room->vm, 128), 0xff);
	mc146818_set_time(&room->vm, INT64_MAX);
	assert_in_range(mc146818_get_time(&room->vm), 1, 1ull << 40);
}

static void any_bytes_are_some_time(void **state)
{
	struct room_fixture *room = *state;

	for (unsigned mode = 0; mode < 8; mode += 2) {
		put(room, B, (uint8_t)mode);
		for (unsigned value = 0; value < 256; value += 5) {
			for (uint8_t reg = 0; reg <= YEAR; reg++)
				put(room, reg, (uint8_t)(value + reg));
			put(room, CENTURY, (uint8_t)value);
			put(room, B, (uint8_t)(mode | AIE | UIE));
			room_pass(room, SECOND);
			get(room, YEAR);
			get(room, C);
		}
	}
}

static void reset_keeps_the_battery(void **state)
{
	struct room_fixture *room = *state;

	mc146818_set_time(&room->vm, LEAP_DAY);
	put(room, 0x40, 0x11);
	put(room, B, UIE | H24);
	mc146818_device.reset(&room->vm);
	assert_int_equal(get(room, 0x40), 0x11);
	assert_int_equal(get(room, B), H24);
	assert_int_equal(mc146818_get_time(&room->vm), LEAP_DAY);
}

static void state_is_saved(void **state)
{
	struct room_fixture *room = *state;
	struct room_fixture *other = room_new();
	const struct room_device *device = &mc146818_device;

	mc146818_set_time(&room->vm, LEAP_DAY);
	put(room, B, UIE | H24);
	get(room, C);
	put(room, 0x50, 0x99);
	room_pass(room, SECOND / 2);
	assert_saves_and_loads(device->state, device->object(&room->vm),
			       device->object(&other->vm));
	vm_clock_set(&other->vm.clock, vm_clock_ns(&room->vm.clock));
	device->resume(&other->vm);
	listen(other);
	assert_int_equal(mc146818_get_time(&other->vm), LEAP_DAY);
	room_pass(other, SECOND / 2);
	assert_int_equal(cpu_take(other, 0), 0x38);
	assert_int_equal(mc146818_get_time(&other->vm), LEAP_DAY + 1);
	assert_int_equal(get(other, 0x50), 0x99);
	room_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    room_test(starts_at_the_hosts_time),
	    room_test(shows_bcd_and_binary),
	    room_test(twelve_hours),
	    room_test(can_be_set),
	    room_test(update_in_progress),
	    room_test(flags_without_interrupts),
	    room_test(update_interrupt),
	    room_test(periodic_interrupt),
	    room_test(alarm_interrupt),
	    room_test(ram_and_the_door),
	    room_test(any_bytes_are_some_time),
	    room_test(reset_keeps_the_battery),
	    room_test(state_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
