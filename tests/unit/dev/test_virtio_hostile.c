// SPDX-License-Identifier: BSD-2-Clause
/* Virtio's rings with a driver that has lost its mind, or that attacks. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "virtio_fixture.h"

#define SIZE 8u
#define RW   VQ_DESC_WRITE
#define NEXT VQ_DESC_NEXT
#define IND  VQ_DESC_INDIRECT

/* After whatever it was, a reset makes the device work again. */
static void works_again(struct fixture *f, uint64_t features)
{
	uint64_t at;

	f->echo->hold = false;
	while (f->echo->count > 0)
		echo_release(f->echo);
	driver_negotiate(&f->d, features);
	driver_queue(&f->d, 0, SIZE);
	driver_ok(&f->d);
	at = request(&f->d, 0x31, 9, false);
	driver_kick(&f->d, 0);
	assert_true(echoed(&f->d, at, 0x31, 9));
	assert_false(driver_status(&f->d) & VIRTIO_NEEDS_RESET);
}

/* -- chains ---------------------------------------------------------------- */

/* Where a descriptor of a case points to. */
enum place {
	BUFFER,    /* a page of RAM */
	TABLE,     /* descriptors of the case's table */
	REGISTERS, /* the device's own notify register */
	NOWHERE,   /* far above */
	TOP,       /* the last byte of all addresses */
	END,       /* the last 16 bytes of RAM */
	RING,      /* the queue's used ring */
};

struct raw {
	enum place place;
	uint32_t len;
	uint16_t flags;
	uint16_t next;
};

struct bad_chain {
	const char *what;
	uint64_t features;
	uint16_t head;
	struct raw ring[3];
	struct raw table[3];
	bool fine; /* strange, but allowed */
};

static const struct bad_chain split_chains[] = {
    {"head out of the table", 0, SIZE, {{0}}, {{0}}, false},
    {"head far out", 0, 0xffff, {{0}}, {{0}}, false},
    {"loop to itself", 0, 0, {{BUFFER, 4, NEXT, 0}}, {{0}}, false},
    {"loop of three",
     0,
     0,
     {{BUFFER, 4, NEXT, 1}, {BUFFER, 4, NEXT, 2}, {BUFFER, 4, NEXT, 0}},
     {{0}},
     false},
    {"next out of the table", 0, 0, {{BUFFER, 4, NEXT, SIZE}}, {{0}}, false},
    {"no length", 0, 0, {{BUFFER, 0, 0, 0}}, {{0}}, false},
    {"a device's registers", 0, 0, {{REGISTERS, 4, RW, 0}}, {{0}}, false},
    {"registers, read", 0, 0, {{REGISTERS, 4, 0, 0}}, {{0}}, false},
    {"no memory there", 0, 0, {{NOWHERE, 4, RW, 0}}, {{0}}, false},
    {"over the top", 0, 0, {{TOP, 2, RW, 0}}, {{0}}, false},
    {"over the end of RAM", 0, 0, {{END, 17, RW, 0}}, {{0}}, false},
    {"longest", 0, 0, {{BUFFER, 0xffffffff, RW, 0}}, {{0}}, false},
    {"the last bytes of RAM", 0, 0, {{END, 16, RW, 0}}, {{0}}, true},
    {"read after write",
     0,
     0,
     {{BUFFER, 4, RW | NEXT, 1}, {BUFFER, 4, 0, 0}},
     {{0}},
     false},
    {"its own ring", 0, 0, {{RING, 4, RW, 0}}, {{0}}, true},
    {"indirect, not negotiated",
     0,
     0,
     {{TABLE, 16, IND, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"indirect in indirect",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{TABLE, 16, IND, 0}},
     {{TABLE, 16, IND, 0}},
     false},
    {"indirect and next",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{TABLE, 16, IND | NEXT, 1}, {BUFFER, 4, RW, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"half a descriptor",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{TABLE, 24, IND, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"empty table",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{TABLE, 0, IND, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"huge table",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{TABLE, 16 * 257, IND, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"table out of RAM",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{NOWHERE, 16, IND, 0}},
     {{0}},
     false},
    {"table in registers",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{REGISTERS, 16, IND, 0}},
     {{0}},
     false},
    {"next out of the indirect table",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{TABLE, 32, IND, 0}},
     {{BUFFER, 4, RW | NEXT, 2}, {BUFFER, 4, RW, 0}},
     false},
    {"loop in the indirect table",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{TABLE, 32, IND, 0}},
     {{BUFFER, 4, RW | NEXT, 1}, {BUFFER, 4, RW | NEXT, 0}},
     false},
    {"indirect after a buffer",
     VIRTIO_F_INDIRECT_DESC,
     0,
     {{BUFFER, 4, 0 | NEXT, 1}, {TABLE, 16, IND, 0}},
     {{BUFFER, 4, RW, 0}},
     true},
};

#define PACKED          VIRTIO_F_RING_PACKED
#define PACKED_INDIRECT (VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC)

/* head is the number of slots here. */
static const struct bad_chain packed_chains[] = {
    {"no length", PACKED, 1, {{BUFFER, 0, 0, 0}}, {{0}}, false},
    {"registers", PACKED, 1, {{REGISTERS, 4, RW, 0}}, {{0}}, false},
    {"over the top", PACKED, 1, {{TOP, 2, RW, 0}}, {{0}}, false},
    {"any id", PACKED, 1, {{BUFFER, 4, RW, 0xffff}}, {{0}}, true},
    {"read after write",
     PACKED,
     2,
     {{BUFFER, 4, RW | NEXT, 0}, {BUFFER, 4, 0, 0}},
     {{0}},
     false},
    {"indirect, not negotiated",
     PACKED,
     1,
     {{TABLE, 16, IND, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"indirect in indirect",
     PACKED_INDIRECT,
     1,
     {{TABLE, 16, IND, 0}},
     {{TABLE, 16, IND, 0}},
     false},
    {"indirect and next",
     PACKED_INDIRECT,
     2,
     {{TABLE, 16, IND | NEXT, 0}, {BUFFER, 4, RW, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"indirect after a buffer",
     PACKED_INDIRECT,
     2,
     {{BUFFER, 4, NEXT, 0}, {TABLE, 16, IND, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"half a descriptor",
     PACKED_INDIRECT,
     1,
     {{TABLE, 8, IND, 0}},
     {{BUFFER, 4, RW, 0}},
     false},
    {"next in an indirect table means nothing",
     PACKED_INDIRECT,
     1,
     {{TABLE, 32, IND, 0}},
     {{BUFFER, 4, RW | NEXT, 9}, {BUFFER, 4, RW | NEXT, 0}},
     true},
};

struct places {
	uint64_t buffer;
	uint64_t table;
};

static uint64_t address(struct fixture *f, enum place place,
			const struct places *places)
{
	switch (place) {
	case BUFFER:
		return places->buffer;
	case TABLE:
		return places->table;
	case REGISTERS:
		return f->d.notify;
	case NOWHERE:
		return 1ull << 52;
	case TOP:
		return UINT64_MAX;
	case END:
		return DRIVER_RAM - 16;
	case RING:
		return f->d.rings[0].device;
	}
	return 0;
}

static void write_table(struct fixture *f, const struct raw *raw,
			uint64_t table, const struct places *places)
{
	for (unsigned int i = 0; i < 3; i++)
		driver_desc(&f->d, table, i, address(f, raw[i].place, places),
			    raw[i].len, raw[i].flags, raw[i].next);
}

static void try_chain(const struct bad_chain *bad, bool packed)
{
	struct fixture f;
	struct places places;
	uint16_t id;
	uint32_t len;

	start(&f, bad->features, SIZE);
	places.buffer = driver_alloc(&f.d, 4096);
	places.table = driver_alloc(&f.d, 4096);
	write_table(&f, bad->ring, f.d.rings[0].desc, &places);
	write_table(&f, bad->table, places.table, &places);
	driver_avail(&f.d, 0, packed ? 0 : bad->head, packed ? bad->head : 1);
	driver_kick(&f.d, 0);
	if (!(driver_status(&f.d) & VIRTIO_NEEDS_RESET) != bad->fine)
		fail_msg("%s: status 0x%x", bad->what, driver_status(&f.d));
	if (!bad->fine && driver_used(&f.d, 0, &id, &len))
		fail_msg("%s: used", bad->what);
	works_again(&f, bad->features);
	finish(&f);
}

static void test_split_chains(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(split_chains); i++)
		try_chain(&split_chains[i], false);
}

static void test_packed_chains(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(packed_chains); i++)
		try_chain(&packed_chains[i], true);
}

/* A packed ring all of whose slots say that there is more. */
static void test_packed_without_end(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, PACKED, SIZE);
	for (unsigned int i = 0; i < SIZE; i++)
		driver_desc(&f.d, f.d.rings[0].desc, i, 4096, 4, NEXT, 0);
	driver_avail(&f.d, 0, 0, SIZE);
	driver_kick(&f.d, 0);
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	works_again(&f, PACKED);
	finish(&f);
}

/* More than 4 GiB in a chain, of a guest that has so much; and more than 256
   buffers cannot be, for the ring is shorter. */
static void test_too_many_bytes(void **state)
{
	const size_t big = 5 * GiB;
	struct fixture f;
	uint8_t *ram = mmap(NULL, big, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	(void)state;
	if (ram == MAP_FAILED)
		skip();
	start(&f, 0, SIZE);
	memcpy(ram, f.m.vm.ram, DRIVER_RAM);
	free(f.m.vm.ram);
	f.m.vm.ram = ram;
	f.m.vm.ram_size = big;
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1, 0);
	driver_negotiate(&f.d, 0);
	driver_queue(&f.d, 0, SIZE);
	driver_ok(&f.d);
	f.echo->hold = true;
	driver_desc(&f.d, f.d.rings[0].desc, 0, 0, 0xffffffff, RW | NEXT, 1);
	driver_desc(&f.d, f.d.rings[0].desc, 1, 0, 1, RW, 0);
	driver_avail(&f.d, 0, 0, 1);
	driver_kick(&f.d, 0);
	assert_int_equal(f.echo->count, 1);
	assert_true(f.echo->held[0].chain.writable_bytes == 4 * GiB);
	driver_desc(&f.d, f.d.rings[0].desc, 1, 0, 2, RW, 0);
	driver_avail(&f.d, 0, 0, 1);
	driver_kick(&f.d, 0);
	assert_int_equal(f.echo->count, 1);
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	f.echo->held[0].chain.readable_bytes = 0;
	echo_release(f.echo);
	munmap(ram, big);
	f.m.vm.ram = NULL;
	f.m.vm.ram_size = 0;
	finish(&f);
}

/* -- rings ----------------------------------------------------------------- */

/* The available index runs ahead of the ring. */
static void test_index_jumps(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 0, SIZE);
	*(uint16_t *)driver_at(&f.d, f.d.rings[0].driver + 2) = SIZE + 1;
	driver_kick(&f.d, 0);
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	works_again(&f, 0);
	finish(&f);
}

/* The same chains again and again, while the device still has them. */
static void test_more_than_the_ring(void **state)
{
	struct fixture f;

	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		start(&f, packed ? PACKED : 0, SIZE);
		f.echo->hold = true;
		for (unsigned int i = 0; i < 3 * SIZE; i++) {
			driver_desc(&f.d, f.d.rings[0].desc,
				    packed ? f.d.rings[0].avail : 0, 4096, 4,
				    RW, 0);
			driver_avail(&f.d, 0, 0, 1);
			driver_kick(&f.d, 0);
		}
		assert_int_equal(f.echo->popped, SIZE);
		assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
		works_again(&f, packed ? PACKED : 0);
		finish(&f);
	}
}

/* Addresses and sizes that a queue cannot have: refused when it is enabled. */
static void test_impossible_rings(void **state)
{
	static const struct {
		unsigned int offset;
		unsigned int bytes;
		uint32_t value;
	} rows[] = {
	    {VIRTIO_COMMON_QUEUE_SIZE, 2, 0},
	    {VIRTIO_COMMON_QUEUE_SIZE, 2, 3},
	    {VIRTIO_COMMON_QUEUE_SIZE, 2, ECHO_QUEUE_SIZE * 2},
	    {VIRTIO_COMMON_QUEUE_SIZE, 2, 0x8000},
	    {VIRTIO_COMMON_QUEUE_DESC, 4, 0x1008},
	    {VIRTIO_COMMON_QUEUE_DESC, 4, DRIVER_RAM - 16},
	    {VIRTIO_COMMON_QUEUE_DESC + 4, 4, 0xffffffff},
	    {VIRTIO_COMMON_QUEUE_DRIVER, 4, 0x1001},
	    {VIRTIO_COMMON_QUEUE_DRIVER, 4, DRIVER_RAM - 4 - 2 * SIZE},
	    {VIRTIO_COMMON_QUEUE_DEVICE, 4, 0x1002},
	    {VIRTIO_COMMON_QUEUE_DEVICE, 4, DRIVER_RAM - 4 - 8 * SIZE},
	    {VIRTIO_COMMON_QUEUE_DEVICE, 4, 0xfffffffc},
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		start(&f, 0, SIZE);
		common_set(&f.d, VIRTIO_COMMON_QUEUE_SELECT, 2, 1);
		common_set(&f.d, VIRTIO_COMMON_QUEUE_SIZE, 2, SIZE);
		common_set(&f.d, VIRTIO_COMMON_QUEUE_DESC, 4, 0x1000);
		common_set(&f.d, VIRTIO_COMMON_QUEUE_DRIVER, 4, 0x1000);
		common_set(&f.d, VIRTIO_COMMON_QUEUE_DEVICE, 4, 0x1000);
		common_set(&f.d, rows[i].offset, rows[i].bytes, rows[i].value);
		common_set(&f.d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
		if (!(driver_status(&f.d) & VIRTIO_NEEDS_RESET) ||
		    common_get(&f.d, VIRTIO_COMMON_QUEUE_ENABLE, 2) != 0)
			fail_msg("row %zu: enabled", i);
		driver_kick(&f.d, 1);
		works_again(&f, 0);
		finish(&f);
	}
}

/* Moved while the device uses it: the device keeps to what it was told at
   first, and wants a reset. */
static void test_moved_rings(void **state)
{
	static const struct {
		unsigned int offset;
		unsigned int bytes;
	} rows[] = {
	    {VIRTIO_COMMON_QUEUE_SIZE, 2},
	    {VIRTIO_COMMON_QUEUE_DESC, 4},
	    {VIRTIO_COMMON_QUEUE_DESC + 4, 4},
	    {VIRTIO_COMMON_QUEUE_DRIVER, 4},
	    {VIRTIO_COMMON_QUEUE_DEVICE, 4},
	    {VIRTIO_COMMON_QUEUE_DEVICE + 4, 4},
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		uint32_t before;

		start(&f, 0, SIZE);
		f.echo->hold = true;
		request(&f.d, 1, 4, false);
		driver_kick(&f.d, 0);
		before = common_get(&f.d, rows[i].offset, rows[i].bytes);
		common_set(&f.d, rows[i].offset, rows[i].bytes, 0x3000);
		assert_int_equal(
		    common_get(&f.d, rows[i].offset, rows[i].bytes), before);
		assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
		works_again(&f, 0);
		finish(&f);
	}
}

/* Kicks of queues that are not there or not enabled, of any width. */
static void test_stray_kicks(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 0, SIZE);
	for (unsigned int at = 0; at < 64; at++) {
		for (unsigned int bytes = 1; bytes <= 8; bytes *= 2)
			store(&f.m, f.d.notify + at, bytes, at);
	}
	assert_false(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	assert_int_equal(f.echo->popped, 0);
	works_again(&f, 0);
	finish(&f);
}

/* Another vCPU changes descriptors while the device follows them. */
static void *scribble(void *arg)
{
	struct fixture *f = arg;
	uint32_t seed = 5;

	for (unsigned int i = 0; i < 300000; i++) {
		uint8_t *desc = driver_at(&f->d, f->d.rings[0].desc);

		seed = seed * 1664525 + 1013904223;
		desc[seed >> 8 & (16 * SIZE - 1)] = (uint8_t)(seed >> 24);
	}
	return NULL;
}

static void test_scribbled(void **state)
{
	struct fixture f;
	pthread_t thread;

	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		uint64_t features =
		    VIRTIO_F_INDIRECT_DESC | (packed ? PACKED : 0);

		start(&f, features, SIZE);
		pthread_create(&thread, NULL, scribble, &f);
		for (unsigned int i = 0; i < 20000; i++) {
			if (i % 64 == 0) {
				f.d.next_ram = 4096;
				driver_negotiate(&f.d, features);
				driver_queue(&f.d, 0, SIZE);
				driver_ok(&f.d);
			}
			driver_avail(&f.d, 0, (uint16_t)(i % SIZE), 1);
			driver_kick(&f.d, 0);
		}
		pthread_join(thread, NULL);
		works_again(&f, features);
		finish(&f);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_split_chains),
	    cmocka_unit_test(test_packed_chains),
	    cmocka_unit_test(test_packed_without_end),
	    cmocka_unit_test(test_too_many_bytes),
	    cmocka_unit_test(test_index_jumps),
	    cmocka_unit_test(test_more_than_the_ring),
	    cmocka_unit_test(test_impossible_rings),
	    cmocka_unit_test(test_moved_rings),
	    cmocka_unit_test(test_stray_kicks),
	    cmocka_unit_test(test_scribbled),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
