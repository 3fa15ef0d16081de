/* SPDX-License-Identifier: BSD-2-Clause */
/* The interval timer and port 0x61, by Intel's 8254 data sheet. */
#include "room.h"

#define PIT_HZ 1193182

enum { CH0 = 0x40, CH1 = 0x41, CH2 = 0x42, CONTROL = 0x43, PORT_B = 0x61 };
enum { OUT = 0x80, NULL_COUNT = 0x40 };

static uint64_t now_tick(struct room_fixture *room)
{
	return ns_to_ticks(vm_clock_ns(&room->vm.clock), PIT_HZ);
}

/* Lets that many ticks of the PIT pass, exactly. */
static void ticks(struct room_fixture *room, uint64_t count)
{
	uint64_t target = ticks_to_ns(now_tick(room) + count, PIT_HZ);

	room_pass(room, target - vm_clock_ns(&room->vm.clock));
}

static void program(struct room_fixture *room, unsigned channel, unsigned mode,
		    uint16_t count)
{
	port_out(room, CONTROL, (uint8_t)(channel << 6 | 0x30 | mode << 1));
	port_out(room, (uint16_t)(CH0 + channel), (uint8_t)count);
	port_out(room, (uint16_t)(CH0 + channel), (uint8_t)(count >> 8));
}

static unsigned read_word(struct room_fixture *room, unsigned channel)
{
	unsigned low = port_in(room, (uint16_t)(CH0 + channel));

	return low | (unsigned)port_in(room, (uint16_t)(CH0 + channel)) << 8;
}

static unsigned latched(struct room_fixture *room, unsigned channel)
{
	port_out(room, CONTROL, (uint8_t)(channel << 6));
	return read_word(room, channel);
}

static uint8_t status(struct room_fixture *room, unsigned channel)
{
	port_out(room, CONTROL, (uint8_t)(0xe0 | 2u << channel));
	return port_in(room, (uint16_t)(CH0 + channel));
}

static void listen(struct room_fixture *room)
{
	apics_enable(room);
	ioapic_route(room, 2, 0x30);
}

/* How many interrupts come in that many ticks, at most one a tick. */
static unsigned interrupts(struct room_fixture *room, unsigned count)
{
	unsigned seen = 0;

	for (unsigned i = 0; i < count; i++) {
		ticks(room, 1);
		seen += cpu_take(room, 0) == 0x30;
	}
	return seen;
}

static void mode_0_interrupts_once(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	program(room, 0, 0, 1000);
	assert_int_equal(status(room, 0), 0x30);
	assert_int_equal(latched(room, 0), 1000);
	ticks(room, 400);
	assert_int_equal(latched(room, 0), 600);
	ticks(room, 599);
	assert_int_equal(cpu_take(room, 0), -1);
	ticks(room, 1);
	assert_int_equal(cpu_take(room, 0), 0x30);
	assert_int_equal(status(room, 0), OUT | 0x30);
	/* it wraps and counts on, silently */
	ticks(room, 10);
	assert_int_equal(latched(room, 0), 0x10000 - 10);
	ticks(room, 70000);
	assert_int_equal(cpu_take(room, 0), -1);
	/* a new count starts again; its first byte stops the old one */
	port_out(room, CH0, 50);
	assert_int_equal(status(room, 0) & (OUT | NULL_COUNT), NULL_COUNT);
	port_out(room, CH0, 0);
	assert_int_equal(interrupts(room, 100), 1);
}

static void mode_2_divides(void **state)
{
	struct room_fixture *room = *state;
	unsigned low = 0;

	listen(room);
	program(room, 0, 2, 100);
	assert_int_equal(interrupts(room, 1000), 10);
	assert_int_equal(latched(room, 0), 100);
	for (unsigned i = 0; i < 100; i++) {
		low += (status(room, 0) & OUT) == 0;
		ticks(room, 1);
	}
	assert_int_equal(low, 1);
	/* a new count begins where the period ends */
	ticks(room, 30);
	cpu_take(room, 0);
	port_out(room, CH0, 50);
	port_out(room, CH0, 0);
	assert_int_equal(status(room, 0) & NULL_COUNT, NULL_COUNT);
	assert_int_equal(latched(room, 0), 70);
	ticks(room, 69);
	assert_int_equal(cpu_take(room, 0), -1);
	ticks(room, 1);
	assert_int_equal(cpu_take(room, 0), 0x30);
	assert_int_equal(latched(room, 0), 50);
	assert_int_equal(status(room, 0) & NULL_COUNT, 0);
	assert_int_equal(interrupts(room, 500), 10);
}

static void zero_is_65536(void **state)
{
	struct room_fixture *room = *state;
	unsigned seen = 0;

	listen(room);
	program(room, 0, 2, 0);
	for (unsigned i = 0; i < 1000; i++) {
		room_pass(room, MS);
		seen += cpu_take(room, 0) == 0x30;
	}
	assert_int_equal(seen, 18); /* of 18.2 in a second */
}

static void mode_3_is_a_square(void **state)
{
	struct room_fixture *room = *state;
	unsigned high = 0;

	listen(room);
	program(room, 0, 3, 101);
	assert_int_equal(interrupts(room, 1010), 10);
	for (unsigned i = 0; i < 101; i++) {
		high += (status(room, 0) & OUT) != 0;
		ticks(room, 1);
	}
	assert_int_equal(high, 51);
	program(room, 0, 3, 100);
	assert_int_equal(latched(room, 0), 100);
	ticks(room, 20);
	assert_int_equal(latched(room, 0), 60); /* by two */
	ticks(room, 30);
	assert_int_equal(latched(room, 0), 100);
	assert_int_equal(status(room, 0) & OUT, 0);
}

static void mode_4_strobes(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	program(room, 0, 4, 200);
	assert_int_equal(status(room, 0) & OUT, OUT);
	ticks(room, 200);
	assert_int_equal(status(room, 0) & OUT, 0);
	assert_int_equal(cpu_take(room, 0), -1);
	ticks(room, 1);
	assert_int_equal(status(room, 0) & OUT, OUT);
	assert_int_equal(cpu_take(room, 0), 0x30);
	assert_int_equal(interrupts(room, 500), 0);
}

/* Linux measures its TSC with channel 2 in mode 0 and port 0x61. */
static void channel_2_is_gated(void **state)
{
	struct room_fixture *room = *state;

	port_out(room, PORT_B, 0);
	program(room, 2, 0, 1000);
	ticks(room, 100);
	assert_int_equal(latched(room, 2), 1000);
	port_out(room, PORT_B, 1);
	ticks(room, 100);
	assert_int_equal(latched(room, 2), 900);
	port_out(room, PORT_B, 0); /* stands, and goes on */
	ticks(room, 100);
	assert_int_equal(latched(room, 2), 900);
	port_out(room, PORT_B, 1);
	assert_int_equal(port_in(room, PORT_B) & 0x2f, 0x01);
	ticks(room, 899);
	assert_int_equal(port_in(room, PORT_B) & 0x20, 0);
	ticks(room, 1);
	assert_int_equal(port_in(room, PORT_B) & 0x2f, 0x21);
}

static void gate_edges_trigger(void **state)
{
	struct room_fixture *room = *state;

	/* mode 1: a one-shot that starts with the gate, and again */
	program(room, 2, 1, 300);
	assert_int_equal(status(room, 2) & OUT, OUT);
	ticks(room, 400);
	assert_int_equal(status(room, 2) & OUT, OUT);
	port_out(room, PORT_B, 1);
	assert_int_equal(status(room, 2) & OUT, 0);
	ticks(room, 200);
	port_out(room, PORT_B, 0); /* does not stop it */
	port_out(room, PORT_B, 1);
	ticks(room, 299);
	assert_int_equal(status(room, 2) & OUT, 0);
	ticks(room, 1);
	assert_int_equal(status(room, 2) & OUT, OUT);
	/* a new count waits for the next trigger */
	port_out(room, CH2, 10);
	port_out(room, CH2, 0);
	assert_int_equal(status(room, 2), OUT | NULL_COUNT | 0x32);
	port_out(room, PORT_B, 0);
	port_out(room, PORT_B, 1);
	assert_int_equal(latched(room, 2), 10);

	/* mode 5: the strobe comes that long after the trigger */
	port_out(room, PORT_B, 0);
	program(room, 2, 5, 50);
	ticks(room, 100);
	port_out(room, PORT_B, 1);
	ticks(room, 50);
	assert_int_equal(status(room, 2) & OUT, 0);
	ticks(room, 1);
	assert_int_equal(status(room, 2) & OUT, OUT);

	/* mode 2: no gate, output high; a rising gate starts a period */
	port_out(room, PORT_B, 0);
	program(room, 2, 2, 100);
	ticks(room, 199);
	assert_int_equal(status(room, 2) & OUT, OUT);
	port_out(room, PORT_B, 1);
	assert_int_equal(latched(room, 2), 100);
	ticks(room, 99);
	assert_int_equal(status(room, 2) & OUT, 0);
}

static void latches_hold(void **state)
{
	struct room_fixture *room = *state;

	program(room, 0, 2, 1000);
	program(room, 1, 2, 2000);
	ticks(room, 10);
	port_out(room, CONTROL,
		 0xc6); /* read-back: count and status, 0 and 1 */
	ticks(room, 10);
	port_out(room, CONTROL, 0x00); /* a second latch changes nothing */
	assert_int_equal(port_in(room, CH0), OUT | 0x34);
	assert_int_equal(read_word(room, 0), 990);
	assert_int_equal(port_in(room, CH1), OUT | 0x34);
	assert_int_equal(read_word(room, 1), 1990);
	assert_int_equal(read_word(room, 0), 980); /* no longer latched */
	/* only the count: bit 4 set */
	port_out(room, CONTROL, 0xd2);
	assert_int_equal(read_word(room, 0), 980);
}

static void bytes_and_bcd(void **state)
{
	struct room_fixture *room = *state;

	port_out(room, CONTROL, 0x10); /* channel 0, low byte, mode 0 */
	port_out(room, CH0, 200);
	ticks(room, 50);
	assert_int_equal(port_in(room, CH0), 150);
	port_out(room, CONTROL, 0x20); /* high byte */
	port_out(room, CH0, 4);
	ticks(room, 256);
	assert_int_equal(port_in(room, CH0), 3);
	port_out(room, CONTROL, 0x31); /* BCD */
	port_out(room, CH0, 0x00);
	port_out(room, CH0, 0x12);
	ticks(room, 1);
	assert_int_equal(latched(room, 0), 0x1199);
	ticks(room, 1200);
	assert_int_equal(latched(room, 0), 0x9999);
	assert_int_equal(port_in(room, CONTROL), 0xff);
}

/* A period of a tick must not keep the room's thread busy. */
static void tiny_periods_are_bounded(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	program(room, 0, 2, 1);
	room_pass(room, 100 * MS);
	assert_int_equal(cpu_take(room, 0), 0x30);
	program(room, 0, 3, 1);
	assert_int_equal(latched(room, 0), 0);
}

static void refresh_toggles(void **state)
{
	struct room_fixture *room = *state;
	unsigned changes = 0;
	uint8_t before = port_in(room, PORT_B) & 0x10;

	for (unsigned i = 0; i < 1000; i++) {
		uint8_t now;

		room_pass(room, 1000);
		now = port_in(room, PORT_B) & 0x10;
		changes += now != before;
		before = now;
	}
	assert_in_range(changes, 65, 67); /* every 15.085 us */
}

static void the_hpet_takes_the_line(void **state)
{
	struct room_fixture *room = *state;

	listen(room);
	program(room, 0, 2, 1000);
	mmio_write(room, 0xfed00010, 3);
	assert_int_equal(interrupts(room, 3000), 0);
	mmio_write(room, 0xfed00010, 1);
	assert_int_equal(interrupts(room, 3000), 3);
}

static void state_is_saved(void **state)
{
	struct room_fixture *room = *state;
	struct room_fixture *other = room_new();
	const struct room_device *device = &i8254_device;

	program(room, 0, 2, 5000);
	program(room, 2, 1, 77);
	port_out(room, PORT_B, 3);
	ticks(room, 1000);
	port_out(room, CONTROL, 0); /* latched, half read */
	port_in(room, CH0);
	assert_saves_and_loads(device->state, device->object(&room->vm),
			       device->object(&other->vm));
	device->resume(&other->vm);
	vm_clock_set(&other->vm.clock, vm_clock_ns(&room->vm.clock));
	listen(other);
	assert_int_equal(port_in(other, CH0), 4000 >> 8);
	assert_int_equal(latched(other, 0), 4000);
	ticks(other, 3999);
	assert_int_equal(cpu_take(other, 0), -1);
	ticks(other, 1);
	assert_int_equal(cpu_take(other, 0), 0x30);
	assert_int_equal(port_in(other, PORT_B) & 0xf, 3);
	room_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    room_test(mode_0_interrupts_once),
	    room_test(mode_2_divides),
	    room_test(zero_is_65536),
	    room_test(mode_3_is_a_square),
	    room_test(mode_4_strobes),
	    room_test(channel_2_is_gated),
	    room_test(gate_edges_trigger),
	    room_test(latches_hold),
	    room_test(bytes_and_bcd),
	    room_test(tiny_periods_are_bounded),
	    room_test(refresh_toggles),
	    room_test(the_hpet_takes_the_line),
	    room_test(state_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
