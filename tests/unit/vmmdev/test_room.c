/* SPDX-License-Identifier: BSD-2-Clause */
/* The room's buses, the PM timer, and all devices together. */
#include "room.h"

#include <errno.h>
#include <stdlib.h>

static void what_is_not_the_rooms(void **state)
{
	struct room_fixture *room = *state;
	static const uint16_t ports[] = {0x00,  0x1f,  0x22,  0x44,  0x60,
					 0x62,  0x72,  0x92,  0x3f8, 0x404,
					 0x40c, 0x4d2, 0xcf8, 0xffff};
	static const uint64_t gpas[] = {0,          0xa0000,     0xfebffffc,
					0xfec01000, 0xfecffffe,  0xfed00ffd,
					0xfee01000, 0x1fee00000, ~0ull - 3};
	static const uint32_t msrs[] = {0x10,  0x1a,  0x1c,      0x6e1,
					0x7ff, 0x900, 0xc0000080};
	uint64_t wide = 0;
	uint32_t value = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(ports); i++)
		assert_int_equal(
		    room_pio(&room->cpu[0], ports[i], 1, true, &value), -ENXIO);
	for (unsigned i = 0; i < ARRAY_SIZE(gpas); i++)
		assert_int_equal(
		    room_mmio(&room->cpu[0], gpas[i], 4, false, &wide), -ENXIO);
	for (unsigned i = 0; i < ARRAY_SIZE(msrs); i++)
		assert_int_equal(room_msr(&room->cpu[0], msrs[i], false, &wide),
				 -ENXIO);
}

/* Whatever a guest writes, wherever: no device minds. */
static void any_access_is_survived(void **state)
{
	struct room_fixture *room = *state;
	unsigned seed = 1;

	for (unsigned i = 0; i < 300000; i++) {
		static const uint64_t pages[] = {0xfec00000, 0xfed00000,
						 0xfee00000};
		struct vmcpu *cpu = &room->cpu[(unsigned)rand_r(&seed) % 4];
		uint64_t wide =
		    (uint64_t)rand_r(&seed) << 16 ^ (unsigned)rand_r(&seed);
		unsigned bytes = 1u << rand_r(&seed) % 4;
		bool write = rand_r(&seed) % 2 != 0;
		uint32_t value = (uint32_t)wide;

		room_pio(cpu, (uint16_t)(rand_r(&seed) % 0x500), MIN(bytes, 4u),
			 !write, &value);
		room_mmio(cpu,
			  pages[rand_r(&seed) % 3] +
			      (unsigned)rand_r(&seed) % 0x1000,
			  bytes, write, &wide);
		room_msr(cpu, 0x800 + (unsigned)rand_r(&seed) % 0x100, write,
			 &wide);
		if (i % 16 == 0)
			room_pass(room, (unsigned)rand_r(&seed) % MS);
		if (i % 1024 == 0)
			msr_write(room, cpu->id, 0x1b,
				  0xfee00000 | ((uint64_t)rand_r(&seed) % 4)
						   << 10);
		vcpu_intr_accept(cpu);
	}
}

static uint32_t pm_timer(struct room_fixture *room)
{
	uint32_t value = 0;

	assert_int_equal(room_pio(&room->cpu[0], 0x408, 4, true, &value), 0);
	return value;
}

static void pm_timer_counts(void **state)
{
	struct room_fixture *room = *state;
	uint32_t start = pm_timer(room);
	uint32_t value = 0;

	assert_int_equal(start, 0);
	room_pass(room, 1000000000);
	assert_int_equal(pm_timer(room), 3579545);
	assert_int_equal(port_in(room, 0x409), 3579545 >> 8 & 0xff);
	assert_int_equal(room_pio(&room->cpu[0], 0x408, 4, false, &value), 0);
	assert_int_equal(pm_timer(room), 3579545);
	/* 32 bits: it wraps after 1199.864 s */
	room_pass(room, 1199 * 1000000000ull);
	assert_int_equal(pm_timer(room), (uint32_t)(1200 * 3579545ull));
}

static void all_are_saved_and_loaded(void **state)
{
	struct room_fixture *room = *state;
	struct room_fixture *other = room_new();
	struct state_writer writer = {0}, again = {0};
	struct state_reader reader;
	struct err err;

	pics_init(room, 1);
	ioapic_route(room, 4, 0x44);
	room_pass(room, 12345678);
	assert_int_equal(room_devices_save(&room->vm, &writer), 0);
	reader = (struct state_reader){writer.data, writer.size, 0};
	assert_int_equal(room_devices_load(&other->vm, &reader, &err), 0);
	assert_int_equal(reader.position, writer.size);
	assert_int_equal(room_devices_save(&other->vm, &again), 0);
	assert_int_equal(again.size, writer.size);
	assert_memory_equal(again.data, writer.data, writer.size);

	/* half a state is none */
	reader = (struct state_reader){writer.data, writer.size / 2, 0};
	assert_int_equal(room_devices_load(&other->vm, &reader, &err), -EINVAL);
	mmio_write(other, 0xfec00000, 0x18);
	assert_int_equal(mmio_read(other, 0xfec00010), 0x10000);
	state_writer_free(&writer);
	state_writer_free(&again);
	room_free(other);
}

/* No byte of a record, whatever it is, does more than be refused. */
static void damaged_state_is_survived(void **state)
{
	struct room_fixture *room = *state;
	struct state_writer writer = {0};
	unsigned seed = 7;

	pics_init(room, 1);
	assert_int_equal(room_devices_save(&room->vm, &writer), 0);
	for (unsigned round = 0; round < 4000; round++) {
		struct room_fixture *other = room_new();
		struct state_reader reader;
		struct err err;
		size_t at = (size_t)rand_r(&seed) % writer.size;
		uint8_t before = writer.data[at];

		writer.data[at] = (uint8_t)rand_r(&seed);
		reader = (struct state_reader){writer.data, writer.size, 0};
		(void)room_devices_load(&other->vm, &reader, &err);
		writer.data[at] = before;
		for (uint16_t port = 0x40; port <= 0x43; port++) {
			port_out(other, port, 0x34);
			port_in(other, port);
		}
		port_out(other, 0x70, 0);
		port_in(other, 0x71);
		room_pass(other, 10 * MS);
		room_free(other);
	}
	state_writer_free(&writer);
}

static void reset_stops_all_timers(void **state)
{
	struct room_fixture *room = *state;

	port_out(room, 0x43, 0x34);
	port_out(room, 0x40, 0);
	port_out(room, 0x40, 1);
	port_out(room, 0x70, 0x0b);
	port_out(room, 0x71, 0x52);
	mmio_write(room, 0xfed00100, 4);
	mmio_write(room, 0xfed00010, 1);
	assert_non_null(room->vm.timers);
	room_devices_reset(&room->vm);
	assert_null(room->vm.timers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    room_test(what_is_not_the_rooms),
	    room_test(any_access_is_survived),
	    room_test(pm_timer_counts),
	    room_test(all_are_saved_and_loaded),
	    room_test(damaged_state_is_survived),
	    room_test(reset_stops_all_timers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
