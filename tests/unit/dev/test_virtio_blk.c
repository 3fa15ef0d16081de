// SPDX-License-Identifier: BSD-2-Clause
/* virtio-blk and virtio-rnd, by a fake guest driver and with real files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "virtio_driver.h"

#define SLOT      4u
#define SECTORS   2048u
#define DISK_SIZE (SECTORS * 512u)
#define IN        0u
#define OUT       1u
#define FLUSH     4u
#define GET_ID    8u
#define DISCARD   11u
#define ZEROES    13u
#define OK        0
#define IOERR     1
#define UNSUPP    2
#define F_RO      BIT(5)
#define F_FLUSH   BIT(9)
#define F_DISCARD BIT(13)
#define F_ZEROES  BIT(14)
#define ALL_RINGS                                                              \
	(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED)

struct fixture {
	struct machine m;
	struct driver d;
	int file;
};

/* A disk of SECTORS sectors; each is full of its number's low byte. */
static void make_disk(struct fixture *f)
{
	uint8_t sector[512];

	f->file = memfd_create("disk", MFD_CLOEXEC);
	assert_true(f->file >= 0);
	for (unsigned int i = 0; i < SECTORS; i++) {
		memset(sector, (int)(i & 0xff), sizeof(sector));
		assert_int_equal(write(f->file, sector, 512), 512);
	}
}

static void plug(struct fixture *f, const char *option)
{
	char path[64];
	const char *variables[] = {"pci.0.4.0.device=virtio-blk", path, option,
				   NULL};
	struct err err = {""};

	snprintf(path, sizeof(path), "pci.0.4.0.path=/proc/self/fd/%d",
		 f->file);
	if (machine_start(&f->m, variables, &err) != 0)
		fail_msg("%s", err.text);
	driver_make_ram(&f->m);
}

static void start(struct fixture *f, uint64_t features, const char *option)
{
	make_disk(f);
	plug(f, option);
	driver_start(&f->d, &f->m, SLOT, features, 64);
}

static void unplug(struct fixture *f)
{
	assert_int_equal(f->m.vm.wrong, 0);
	machine_end(&f->m);
	driver_free_ram(&f->m);
}

static void finish(struct fixture *f)
{
	unplug(f);
	close(f->file);
}

/* -- requests -------------------------------------------------------------- */

struct request {
	uint64_t header;
	uint64_t data;
	uint64_t status;
	uint16_t id;
};

static struct request prepare(struct driver *d, uint32_t type, uint64_t sector,
			      uint32_t bytes)
{
	struct request r = {.header = driver_alloc(d, 32 + bytes)};

	r.status = r.header + 16;
	r.data = r.header + 32;
	store_le32(driver_at(d, r.header), type);
	store_le64((uint8_t *)driver_at(d, r.header) + 8, sector);
	*(uint8_t *)driver_at(d, r.status) = 0xee;
	return r;
}

static void submit(struct driver *d, struct request *r, uint32_t bytes,
		   bool write)
{
	const struct buffer with[] = {{r->header, 16, false},
				      {r->data, bytes, write},
				      {r->status, 1, true}};
	const struct buffer without[] = {with[0], with[2]};
	bool indirect = d->features & VIRTIO_F_INDIRECT_DESC;

	if (bytes == 0)
		r->id = driver_add(d, 0, without, 2, indirect);
	else
		r->id = driver_add(d, 0, with, 3, indirect);
	driver_kick(d, 0);
}

static uint8_t wait_for(struct driver *d, const struct request *r,
			uint32_t *len)
{
	uint16_t id;

	driver_wait(d, 0, &id, len);
	assert_int_equal(id, r->id);
	return *(uint8_t *)driver_at(d, r->status);
}

/* One read from the device (IN, GET_ID): its data. */
static uint8_t *fetch(struct driver *d, uint32_t type, uint64_t sector,
		      uint32_t bytes, uint8_t status)
{
	struct request r = prepare(d, type, sector, bytes);
	uint32_t len;

	submit(d, &r, bytes, true);
	assert_int_equal(wait_for(d, &r, &len), status);
	if (status == OK)
		assert_int_equal(len, type == GET_ID ? MIN(bytes, 20u) + 1
						     : bytes + 1);
	return driver_at(d, r.data);
}

/* One that gives it data (OUT, DISCARD, ZEROES) or none (FLUSH). */
static void give(struct driver *d, uint32_t type, uint64_t sector,
		 const void *data, uint32_t bytes, uint8_t status)
{
	struct request r = prepare(d, type, sector, bytes);
	uint32_t len;

	if (bytes > 0)
		memcpy(driver_at(d, r.data), data, bytes);
	submit(d, &r, bytes, false);
	assert_int_equal(wait_for(d, &r, &len), status);
	assert_int_equal(len, 1);
}

static void range(struct driver *d, uint32_t type, uint64_t sector,
		  uint32_t count, uint32_t flags, uint8_t status)
{
	uint8_t raw[16];

	store_le64(raw, sector);
	store_le32(raw + 8, count);
	store_le32(raw + 12, flags);
	give(d, type, 0, raw, sizeof(raw), status);
}

static bool is_full_of(const uint8_t *bytes, size_t count, uint8_t value)
{
	for (size_t i = 0; i < count; i++) {
		if (bytes[i] != value)
			return false;
	}
	return true;
}

static bool file_is_full_of(const struct fixture *f, uint64_t sector,
			    uint8_t value)
{
	uint8_t bytes[512];

	return pread(f->file, bytes, 512, (off_t)sector * 512) == 512 &&
	       is_full_of(bytes, 512, value);
}

/* -- tests ----------------------------------------------------------------- */

static void test_description(void **state)
{
	struct fixture f;

	(void)state;
	make_disk(&f);
	plug(&f, "pci.0.4.0.sectorsize=512/4096");
	driver_find(&f.d, &f.m, SLOT);
	assert_int_equal(cfg_in(&f.m, SLOT, 0, 4), 0x10421af4);
	assert_int_equal(cfg_in(&f.m, SLOT, 11, 1), 1);
	assert_true(load(&f.m, f.d.config, 8) == SECTORS);
	assert_int_equal(load(&f.m, f.d.config + 0x0c, 4), 126);
	assert_int_equal(load(&f.m, f.d.config + 0x14, 4), 512);
	assert_int_equal(load(&f.m, f.d.config + 0x18, 1), 3);
	assert_true(driver_offered(&f.d) & F_FLUSH);
	assert_false(driver_offered(&f.d) & F_RO);
	finish(&f);
}

static void test_read_and_write(void **state)
{
	static const uint64_t features[] = {0, F_FLUSH | ALL_RINGS};
	struct fixture f;
	uint8_t data[4096];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		start(&f, features[i], NULL);
		assert_true(is_full_of(fetch(&f.d, IN, 5, 512, OK), 512, 5));
		assert_int_equal(fetch(&f.d, IN, 6, 1024, OK)[512], 7);
		memset(data, 0xa5, sizeof(data));
		give(&f.d, OUT, 8, data, sizeof(data), OK);
		give(&f.d, FLUSH, 0, NULL, 0, OK);
		assert_true(file_is_full_of(&f, 8, 0xa5));
		assert_true(file_is_full_of(&f, 15, 0xa5));
		assert_true(file_is_full_of(&f, 16, 16));
		assert_true(
		    is_full_of(fetch(&f.d, IN, 8, 4096, OK), 4096, 0xa5));
		/* The last sector, and what reaches over the end. */
		give(&f.d, OUT, SECTORS - 1, data, 512, OK);
		give(&f.d, OUT, SECTORS - 1, data, 1024, IOERR);
		give(&f.d, OUT, SECTORS, data, 512, IOERR);
		fetch(&f.d, IN, UINT64_MAX, 512, IOERR);
		fetch(&f.d, IN, UINT64_MAX / 512 + 1, 512, IOERR);
		fetch(&f.d, IN, 0, 511, IOERR);
		give(&f.d, 99, 0, data, 512, UNSUPP);
		assert_int_equal(lseek(f.file, 0, SEEK_END), DISK_SIZE);
		finish(&f);
	}
}

/* Nothing says where a buffer ends: header, data and status in pieces. */
static void test_pieces(void **state)
{
	struct fixture f;
	struct buffer buffers[30];
	struct request r;
	unsigned int count = 0;
	uint32_t len;

	(void)state;
	start(&f, VIRTIO_F_INDIRECT_DESC, NULL);
	r = prepare(&f.d, IN, 3, 1024);
	for (; count < 16; count++)
		buffers[count] = (struct buffer){r.header + count, 1, false};
	buffers[count++] = (struct buffer){r.data, 1, true};
	buffers[count++] = (struct buffer){r.data + 1, 600, true};
	/* Data and status in one. */
	buffers[count++] = (struct buffer){r.data + 601, 1024 - 601 + 1, true};
	r.status = r.data + 1024;
	r.id = driver_add(&f.d, 0, buffers, count, true);
	driver_kick(&f.d, 0);
	assert_int_equal(wait_for(&f.d, &r, &len), OK);
	assert_int_equal(len, 1025);
	assert_true(is_full_of(driver_at(&f.d, r.data), 512, 3));
	assert_true(is_full_of(driver_at(&f.d, r.data + 512), 512, 4));
	assert_true(f.m.vm.dirty >= 1025);
	finish(&f);
}

static void test_id(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 0, "pci.0.4.0.ser=WD-123");
	assert_memory_equal(fetch(&f.d, GET_ID, 0, 20, OK),
			    "WD-123\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_memory_equal(fetch(&f.d, GET_ID, 0, 4, OK), "WD-1", 4);
	finish(&f);
	start(&f, 0, NULL);
	assert_memory_equal(fetch(&f.d, GET_ID, 0, 20, OK), "BHYVE-", 6);
	finish(&f);
}

static void test_read_only(void **state)
{
	struct fixture f;
	uint8_t data[512] = {0};

	(void)state;
	start(&f, F_RO, "pci.0.4.0.ro=true");
	assert_true(f.d.features & F_RO);
	assert_false(driver_offered(&f.d) & (F_DISCARD | F_ZEROES));
	assert_true(is_full_of(fetch(&f.d, IN, 9, 512, OK), 512, 9));
	give(&f.d, OUT, 9, data, 512, IOERR);
	range(&f.d, ZEROES, 9, 1, 0, UNSUPP);
	range(&f.d, DISCARD, 9, 1, 0, UNSUPP);
	give(&f.d, FLUSH, 0, NULL, 0, OK);
	assert_true(file_is_full_of(&f, 9, 9));
	finish(&f);
}

static void test_ranges(void **state)
{
	struct fixture f;
	uint8_t raw[32] = {0};

	(void)state;
	start(&f, F_DISCARD | F_ZEROES | F_FLUSH, NULL);
	assert_true(f.d.features & F_ZEROES);
	range(&f.d, ZEROES, 10, 2, 0, OK);
	assert_true(file_is_full_of(&f, 9, 9));
	assert_true(file_is_full_of(&f, 10, 0));
	assert_true(file_is_full_of(&f, 11, 0));
	assert_true(file_is_full_of(&f, 12, 12));
	range(&f.d, ZEROES, 16, 8, 1, OK); /* unmap */
	assert_true(file_is_full_of(&f, 16, 0));
	range(&f.d, ZEROES, SECTORS - 1, 2, 0, IOERR);
	range(&f.d, ZEROES, UINT64_MAX, 1, 0, IOERR);
	range(&f.d, ZEROES, 0, UINT32_MAX, 0, IOERR);
	range(&f.d, ZEROES, 0, 1, 2, UNSUPP);
	give(&f.d, ZEROES, 0, raw, 32, IOERR); /* two ranges */
	give(&f.d, ZEROES, 0, raw, 8, IOERR);
	if (f.d.features & F_DISCARD) {
		range(&f.d, DISCARD, 24, 8, 0, OK);
		range(&f.d, DISCARD, 0, 0, 0, OK);
		range(&f.d, DISCARD, 0, 1, 1, UNSUPP);
	}
	assert_int_equal(lseek(f.file, 0, SEEK_END), DISK_SIZE);
	finish(&f);
}

/* The whole ring at once; each finds its data, in whatever order. */
static void test_in_flight(void **state)
{
	struct fixture f;
	struct request r[20];
	uint16_t id;
	uint32_t len;

	(void)state;
	for (unsigned int packed = 0; packed < 2; packed++) {
		start(&f, packed ? ALL_RINGS : 0, NULL);
		for (unsigned int round = 0; round < 20; round++) {
			f.d.next_ram = 1 * MiB;
			for (unsigned int i = 0; i < ARRAY_SIZE(r); i++) {
				r[i] = prepare(&f.d, IN, 16 * i + round, 8192);
				submit(&f.d, &r[i], 8192, true);
			}
			for (unsigned int i = 0; i < ARRAY_SIZE(r); i++)
				driver_wait(&f.d, 0, &id, &len);
			for (unsigned int i = 0; i < ARRAY_SIZE(r); i++) {
				const uint8_t *at = driver_at(&f.d, r[i].data);

				assert_int_equal(
				    *(uint8_t *)driver_at(&f.d, r[i].status),
				    OK);
				assert_true(is_full_of(
				    at, 512, (uint8_t)(16 * i + round)));
			}
		}
		finish(&f);
	}
}

/* A reset while requests are under way, again and again. */
static void test_reset(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 0, NULL);
	for (unsigned int round = 0; round < 100; round++) {
		uint8_t *data;

		f.d.next_ram = 1 * MiB;
		driver_negotiate(&f.d, round % 2 ? ALL_RINGS : 0);
		driver_queue(&f.d, 0, 64);
		driver_ok(&f.d);
		for (unsigned int i = 0; i < 10; i++) {
			struct request r = prepare(&f.d, IN, i, 65536);

			submit(&f.d, &r, 65536, true);
		}
		common_set(&f.d, VIRTIO_COMMON_STATUS, 1, 0);
		for (int i = 0; i < 10000 && driver_status(&f.d) != 0; i++)
			usleep(100);
		assert_int_equal(driver_status(&f.d), 0);
		/* From here on the memory is the guest's alone. */
		data = driver_at(&f.d, 1 * MiB);
		memset(data, 0xcc, 2 * MiB);
		usleep(200);
		assert_true(is_full_of(data, 2 * MiB, 0xcc));
	}
	finish(&f);
}

/* No header, or no room for the status: the driver must reset. */
static void test_malformed(void **state)
{
	static const struct buffer bad[][2] = {
	    {{8192, 15, false}, {4096, 1, true}},
	    {{8192, 16, false}, {4096, 16, false}},
	    {{8192, 16, true}, {4096, 1, true}},
	};
	struct fixture f;

	(void)state;
	start(&f, 0, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		f.d.next_ram = 1 * MiB;
		driver_negotiate(&f.d, 0);
		driver_queue(&f.d, 0, 8);
		driver_ok(&f.d);
		driver_add(&f.d, 0, bad[i], 2, false);
		driver_kick(&f.d, 0);
		assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	}
	driver_negotiate(&f.d, 0);
	driver_queue(&f.d, 0, 8);
	driver_ok(&f.d);
	assert_true(is_full_of(fetch(&f.d, IN, 5, 512, OK), 512, 5));
	finish(&f);
}

/* Saved with requests under way, and gone on with elsewhere. */
static void test_state(void **state)
{
	struct fixture f, other;
	struct state_writer saved = {0};
	struct request r[4];
	struct err err = {""};
	uint16_t id;
	uint32_t len;

	(void)state;
	start(&f, F_FLUSH | ALL_RINGS, NULL);
	fetch(&f.d, IN, 1, 512, OK);
	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++) {
		r[i] = prepare(&f.d, OUT, i, 4096);
		memset(driver_at(&f.d, r[i].data), 0x40, 4096);
		submit(&f.d, &r[i], 4096, false);
	}
	save_board(&f.m, &saved);
	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++)
		assert_int_equal(*(uint8_t *)driver_at(&f.d, r[i].status), OK);
	/* Another disk: what was under way is on the first one. */
	make_disk(&other);
	plug(&other, NULL);
	memcpy(other.m.vm.ram, f.m.vm.ram, DRIVER_RAM);
	other.d = f.d;
	other.d.m = &other.m;
	if (load_board(&other.m, &saved, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(driver_status(&other.d), 0x0f);
	for (unsigned int i = 0; i < ARRAY_SIZE(r); i++)
		assert_true(driver_used(&other.d, 0, &id, &len));
	assert_true(is_full_of(fetch(&other.d, IN, 7, 512, OK), 512, 7));
	assert_true(file_is_full_of(&f, 10, 0x40));
	state_writer_free(&saved);
	finish(&f);
	finish(&other);
}

/* -- virtio-rnd ------------------------------------------------------------ */

static void test_random(void **state)
{
	static const char *const variables[] = {"pci.0.4.0.device=virtio-rnd",
						NULL};
	struct fixture f;
	struct state_writer saved = {0};
	struct err err = {""};
	uint16_t id;
	uint32_t len;

	(void)state;
	assert_int_equal(machine_start(&f.m, variables, &err), 0);
	driver_make_ram(&f.m);
	for (unsigned int i = 0; i < 2; i++) {
		uint64_t at;
		uint8_t *bytes;

		driver_start(&f.d, &f.m, SLOT, i ? ALL_RINGS : 0, 8);
		assert_int_equal(cfg_in(&f.m, SLOT, 0, 4), 0x10441af4);
		at = driver_alloc(&f.d, 1 * MiB);
		bytes = driver_at(&f.d, at);
		driver_add(&f.d, 0,
			   (const struct buffer[]){{at, 100, true},
						   {at + 200, 1000, true}},
			   2, i == 1);
		driver_kick(&f.d, 0);
		assert_true(driver_used(&f.d, 0, &id, &len));
		assert_int_equal(len, 1100);
		assert_false(is_full_of(bytes, 100, bytes[0]));
		assert_false(is_full_of(bytes + 1100, 100, bytes[1100]));
		assert_true(is_full_of(bytes + 100, 100, 0));
		assert_true(is_full_of(bytes + 1200, 100, 0));
		/* As much as one request gets; none to write to. */
		driver_add(&f.d, 0,
			   (const struct buffer[]){{at, 1 * MiB, true}}, 1,
			   false);
		driver_add(&f.d, 0, (const struct buffer[]){{at, 1, false}}, 1,
			   false);
		driver_kick(&f.d, 0);
		assert_true(driver_used(&f.d, 0, &id, &len));
		assert_int_equal(len, 64 * KiB);
		assert_true(driver_used(&f.d, 0, &id, &len));
		assert_int_equal(len, 0);
		save_board(&f.m, &saved);
		if (load_board(&f.m, &saved, &err) != 0)
			fail_msg("%s", err.text);
		state_writer_free(&saved);
		driver_add(&f.d, 0, (const struct buffer[]){{at, 8, true}}, 1,
			   false);
		driver_kick(&f.d, 0);
		assert_true(driver_used(&f.d, 0, &id, &len));
		assert_int_equal(len, 8);
	}
	assert_int_equal(f.m.vm.wrong, 0);
	machine_end(&f.m);
	driver_free_ram(&f.m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_description),
	    cmocka_unit_test(test_read_and_write),
	    cmocka_unit_test(test_pieces),
	    cmocka_unit_test(test_id),
	    cmocka_unit_test(test_read_only),
	    cmocka_unit_test(test_ranges),
	    cmocka_unit_test(test_in_flight),
	    cmocka_unit_test(test_reset),
	    cmocka_unit_test(test_malformed),
	    cmocka_unit_test(test_state),
	    cmocka_unit_test(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
