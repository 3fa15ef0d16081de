// SPDX-License-Identifier: BSD-2-Clause
/* Port and MMIO maps: widths, ends, overlaps, and change under access. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dev/inout.h"
#include "dev/mmio.h"

/* A device of bytes, that refuses what the map must not let through. */
struct bytes {
	struct io_range range;
	uint8_t data[16];
	unsigned int widest;
	atomic_uint accesses;
};

static uint64_t bytes_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct bytes *dev = arg;
	uint64_t value = 0;

	assert_true(range_inside(offset, bytes, dev->range.size));
	assert_true(bytes <= dev->range.max_bytes);
	dev->widest = MAX(dev->widest, bytes);
	atomic_fetch_add(&dev->accesses, 1);
	memcpy(&value, dev->data + offset, bytes);
	return value;
}

static void bytes_write(void *arg, uint64_t offset, unsigned int bytes,
			uint64_t value)
{
	struct bytes *dev = arg;

	assert_true(range_inside(offset, bytes, dev->range.size));
	assert_true(bytes <= dev->range.max_bytes);
	atomic_fetch_add(&dev->accesses, 1);
	memcpy(dev->data + offset, &value, bytes);
}

static void bytes_init(struct bytes *dev, const char *owner, uint64_t size,
		       unsigned int max_bytes)
{
	memset(dev, 0, sizeof(*dev));
	dev->range = (struct io_range){
	    .owner = owner,
	    .size = size,
	    .max_bytes = max_bytes,
	    .read = bytes_read,
	    .write = bytes_write,
	    .arg = dev,
	};
	for (unsigned int i = 0; i < sizeof(dev->data); i++)
		dev->data[i] = (uint8_t)(0x10 + i);
}

static uint32_t in(struct inout_map *ports, uint16_t port, uint8_t bytes,
		   int expected)
{
	struct vm_inout io = {
	    .port = port, .bytes = bytes, .in = true, .eax = 0xaabbccdd};

	assert_int_equal(inout_access(ports, &io), expected);
	return io.eax;
}

static void test_ports(void **state)
{
	struct inout_map *ports;
	struct bytes low, high;
	struct vm_inout out = {.port = 0x102, .bytes = 2, .eax = 0x12345678};

	(void)state;
	assert_int_equal(inout_map_create(&ports, NULL), 0);
	bytes_init(&low, "low", 4, 1);
	bytes_init(&high, "high", 16, 4);
	assert_int_equal(inout_add(ports, &low.range, 0x100, NULL), 0);
	assert_int_equal(inout_add(ports, &high.range, 0x104, NULL), 0);
	/* An answer fills the bytes of its width only. */
	assert_int_equal(in(ports, 0x100, 1, 0), 0xaabbcc10);
	assert_int_equal(in(ports, 0x100, 2, 0), 0xaabb1110);
	assert_int_equal(in(ports, 0x100, 4, 0), 0x13121110);
	assert_int_equal(low.widest, 1);
	assert_int_equal(in(ports, 0x105, 4, 0), 0x14131211);
	assert_int_equal(high.widest, 4);
	/* Over an end, into another device and into nothing. */
	assert_int_equal(in(ports, 0x102, 4, 0), 0x11101312);
	assert_int_equal(in(ports, 0x112, 4, 0), 0xffff1f1e);
	assert_int_equal(in(ports, 0xfe, 4, 0), 0x1110ffff);
	assert_int_equal(in(ports, 0x200, 2, -ENXIO), 0xaabbffff);
	assert_int_equal(in(ports, 0xffff, 4, -ENXIO), 0xffffffff);
	assert_int_equal(inout_access(ports, &out), 0);
	assert_int_equal(low.data[2], 0x78);
	assert_int_equal(low.data[3], 0x56);
	assert_int_equal(high.data[0], 0x10);
	inout_map_destroy(ports);
}

static void test_overlap(void **state)
{
	struct inout_map *ports;
	struct bytes a, b;
	struct err err;

	(void)state;
	assert_int_equal(inout_map_create(&ports, NULL), 0);
	bytes_init(&a, "com1", 8, 1);
	bytes_init(&b, "other", 8, 1);
	assert_int_equal(inout_add(ports, &a.range, 0x3f8, &err), 0);
	for (uint16_t port = 0x3f1; port < 0x400; port++)
		assert_int_equal(inout_add(ports, &b.range, port, &err),
				 -EEXIST);
	assert_string_equal(err.text,
			    "other: port range 0x3ff-0x406 is taken by com1");
	assert_int_equal(inout_add(ports, &b.range, 0x400, &err), 0);
	assert_true(inout_remove(ports, &b.range));
	assert_false(inout_remove(ports, &b.range));
	assert_int_equal(inout_add(ports, &b.range, 0x3f0, &err), 0);
	assert_true(inout_remove(ports, &a.range));
	in(ports, 0x3f8, 1, -ENXIO);
	in(ports, 0x3f7, 1, 0);
	assert_int_equal(inout_add(ports, &a.range, 0xfffa, &err), -EINVAL);
	inout_map_destroy(ports);
}

static void test_mmio(void **state)
{
	struct mmio_map *mmio;
	struct bytes four, eight, top;
	struct vm_inst_emul access = {.gpa = 0xc0000000, .bytes = 8};

	(void)state;
	assert_int_equal(mmio_map_create(&mmio, NULL), 0);
	bytes_init(&four, "four", 16, 4);
	bytes_init(&eight, "eight", 16, 8);
	bytes_init(&top, "top", 16, 8);
	assert_int_equal(mmio_add(mmio, &four.range, 0xc0000000, NULL), 0);
	assert_int_equal(mmio_add(mmio, &eight.range, 0xc0001000, NULL), 0);
	assert_int_equal(mmio_add(mmio, &top.range, UINT64_MAX - 15, NULL), 0);
	assert_int_equal(mmio_access(mmio, &access), 0);
	assert_true(access.data == 0x1716151413121110);
	assert_int_equal(four.widest, 4);
	access.gpa = 0xc0001008;
	assert_int_equal(mmio_access(mmio, &access), 0);
	assert_true(access.data == 0x1f1e1d1c1b1a1918);
	assert_int_equal(eight.widest, 8);
	access.gpa = UINT64_MAX - 3; /* wraps around */
	assert_int_equal(mmio_access(mmio, &access), 0);
	assert_true(access.data == 0xffffffff1f1e1d1c);
	access.gpa = 0xc0002000;
	assert_int_equal(mmio_access(mmio, &access), -ENXIO);
	assert_true(access.data == UINT64_MAX);
	mmio_map_destroy(mmio);
}

static void test_full(void **state)
{
	struct mmio_map *mmio;
	struct bytes *devs = calloc(RANGE_MAP_MAX + 1, sizeof(*devs));

	(void)state;
	assert_int_equal(mmio_map_create(&mmio, NULL), 0);
	for (unsigned int i = 0; i <= RANGE_MAP_MAX; i++) {
		bytes_init(&devs[i], "dev", 16, 8);
		assert_int_equal(mmio_add(mmio, &devs[i].range,
					  (i * 7919 % 65536) * 16ull, NULL),
				 i < RANGE_MAP_MAX ? 0 : -ENOSPC);
	}
	for (unsigned int i = 0; i < RANGE_MAP_MAX; i++) {
		struct vm_inst_emul access = {.gpa = (i * 7919 % 65536) * 16ull,
					      .bytes = 1};

		assert_int_equal(mmio_access(mmio, &access), 0);
		assert_int_equal(atomic_load(&devs[i].accesses), 1);
	}
	mmio_map_destroy(mmio);
	free(devs);
}

struct race {
	struct mmio_map *mmio;
	struct bytes moving;
	atomic_bool over;
};

static void *move(void *arg)
{
	struct race *race = arg;

	for (int i = 0; i < 20000; i++) {
		mmio_add(race->mmio, &race->moving.range,
			 0x1000 + (i % 3) * 8ull, NULL);
		mmio_remove(race->mmio, &race->moving.range);
	}
	atomic_store(&race->over, true);
	return NULL;
}

/* A range that moves all the time: found whole or not at all. */
static void test_race(void **state)
{
	struct race race = {0};
	struct bytes fixed;
	pthread_t thread;

	(void)state;
	assert_int_equal(mmio_map_create(&race.mmio, NULL), 0);
	bytes_init(&race.moving, "moving", 8, 1);
	bytes_init(&fixed, "fixed", 16, 8);
	assert_int_equal(mmio_add(race.mmio, &fixed.range, 0x2000, NULL), 0);
	pthread_create(&thread, NULL, move, &race);
	while (!atomic_load(&race.over)) {
		struct vm_inst_emul access = {.gpa = 0x100c, .bytes = 1};
		int error = mmio_access(race.mmio, &access);

		assert_true(error == 0
				? access.data == 0x14 || access.data == 0x1c ||
				      access.data == 0x13
				: access.data == 0xff);
		access = (struct vm_inst_emul){.gpa = 0x2000, .bytes = 1};
		assert_int_equal(mmio_access(race.mmio, &access), 0);
		assert_int_equal(access.data, 0x10);
	}
	pthread_join(thread, NULL);
	mmio_map_destroy(race.mmio);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_ports), cmocka_unit_test(test_overlap),
	    cmocka_unit_test(test_mmio),  cmocka_unit_test(test_full),
	    cmocka_unit_test(test_race),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
