// SPDX-License-Identifier: BSD-2-Clause
/* VIRTIO_F_RING_RESET: one queue anew while the others go on (2.6.1). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "virtio_fixture.h"

static const uint64_t formats[] = {
    VIRTIO_F_RING_RESET,
    VIRTIO_F_RING_RESET | VIRTIO_F_RING_PACKED,
    VIRTIO_F_RING_RESET | VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX,
};

static uint32_t queue_get(struct driver *d, unsigned int queue,
			  unsigned int offset)
{
	common_set(d, VIRTIO_COMMON_QUEUE_SELECT, 2, queue);
	return common_get(d, offset, 2);
}

static void queue_set(struct driver *d, unsigned int queue, unsigned int offset,
		      uint32_t value)
{
	common_set(d, VIRTIO_COMMON_QUEUE_SELECT, 2, queue);
	common_set(d, offset, 2, value);
}

static void reset_queue(struct driver *d, unsigned int queue)
{
	queue_set(d, queue, VIRTIO_COMMON_QUEUE_RESET, 1);
}

static void assert_queue(struct driver *d, unsigned int queue, uint32_t enabled,
			 uint32_t resetting)
{
	assert_int_equal(queue_get(d, queue, VIRTIO_COMMON_QUEUE_ENABLE),
			 enabled);
	assert_int_equal(queue_get(d, queue, VIRTIO_COMMON_QUEUE_RESET),
			 resetting);
}

/* One request on queue 0 comes back with its echo. */
static void assert_serves(struct fixture *f, uint8_t value)
{
	uint64_t at = request(&f->d, value, 100, false);
	uint32_t len;
	uint16_t id;

	driver_kick(&f->d, 0);
	assert_true(driver_used(&f->d, 0, &id, &len));
	assert_int_equal(len, 100);
	assert_true(echoed(&f->d, at, value, 100));
}

/* With other addresses and another size, as often as one likes. */
static void test_again(void **state)
{
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		start(&f, formats[i], 16);
		f.echo->resets = 0;
		for (uint16_t size = 4; size <= 32; size *= 2) {
			assert_serves(&f, (uint8_t)size);
			queue_set(&f.d, 0, VIRTIO_COMMON_QUEUE_VECTOR, 1);
			reset_queue(&f.d, 0);
			assert_queue(&f.d, 0, 0, 0);
			/* All of it is as at the start. */
			assert_int_equal(
			    queue_get(&f.d, 0, VIRTIO_COMMON_QUEUE_SIZE),
			    ECHO_QUEUE_SIZE);
			assert_int_equal(
			    queue_get(&f.d, 0, VIRTIO_COMMON_QUEUE_VECTOR),
			    VIRTIO_NO_VECTOR);
			assert_int_equal(
			    common_get(&f.d, VIRTIO_COMMON_QUEUE_DESC, 4), 0);
			driver_queue(&f.d, 0, size);
			assert_queue(&f.d, 0, 1, 0);
		}
		assert_serves(&f, 1);
		assert_int_equal(f.echo->resets, 0);
		finish(&f);
	}
}

/* While requests are with the backend, the reset goes on; what comes back is
   written nowhere, and the other queue does not notice. */
static void test_in_flight(void **state)
{
	struct fixture f;
	uint64_t used;
	uint32_t len;
	uint16_t id;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		start(&f, formats[i], 16);
		driver_queue(&f.d, 1, 16);
		used = f.d.rings[0].device;
		f.echo->hold = true;
		request(&f.d, 7, 10, false);
		request(&f.d, 8, 10, false);
		driver_kick(&f.d, 0);
		assert_int_equal(f.echo->count, 2);
		reset_queue(&f.d, 0);
		assert_queue(&f.d, 0, 1, 1);
		assert_queue(&f.d, 1, 1, 0);
		/* Once more, enabled in the middle, and kicked: nothing. */
		reset_queue(&f.d, 0);
		queue_set(&f.d, 0, VIRTIO_COMMON_QUEUE_ENABLE, 1);
		request(&f.d, 9, 10, false);
		driver_kick(&f.d, 0);
		assert_int_equal(f.echo->count, 2);
		echo_release(f.echo);
		assert_queue(&f.d, 0, 1, 1);
		echo_release(f.echo);
		assert_queue(&f.d, 0, 0, 0);
		assert_false(driver_used(&f.d, 0, &id, &len));
		if (!(formats[i] & VIRTIO_F_RING_PACKED))
			assert_int_equal(*(uint32_t *)driver_at(&f.d, used), 0);
		assert_false(intx_is_up(&f.m));
		f.echo->hold = false;
		driver_queue(&f.d, 0, 16);
		assert_serves(&f, 3);
		assert_int_equal(driver_status(&f.d) & VIRTIO_NEEDS_RESET, 0);
		finish(&f);
	}
}

/* Everything is reset while one queue is. */
static void test_within_a_reset(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, VIRTIO_F_RING_RESET, 16);
	f.echo->hold = true;
	f.echo->resets = 0;
	request(&f.d, 7, 10, false);
	driver_kick(&f.d, 0);
	reset_queue(&f.d, 0);
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1, 0);
	assert_int_not_equal(driver_status(&f.d), 0);
	echo_release(f.echo);
	assert_int_equal(driver_status(&f.d), 0);
	assert_queue(&f.d, 0, 0, 0);
	assert_int_equal(f.echo->resets, 1);
	f.echo->hold = false;
	driver_negotiate(&f.d, VIRTIO_F_RING_RESET);
	driver_queue(&f.d, 0, 16);
	driver_ok(&f.d);
	assert_serves(&f, 3);
	finish(&f);
}

static void test_nothing_to_reset(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, VIRTIO_F_RING_RESET, 16);
	/* Disabled, and not there at all. */
	reset_queue(&f.d, 1);
	assert_queue(&f.d, 1, 0, 0);
	reset_queue(&f.d, ECHO_QUEUES);
	reset_queue(&f.d, 0xffff);
	/* Not 1, not two bytes. */
	queue_set(&f.d, 0, VIRTIO_COMMON_QUEUE_RESET, 0);
	queue_set(&f.d, 0, VIRTIO_COMMON_QUEUE_RESET, 2);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_RESET, 1, 1);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_NOTIFY_DATA, 4, 0x10000);
	assert_queue(&f.d, 0, 1, 0);
	assert_serves(&f, 5);
	finish(&f);
	/* Not negotiated. */
	start(&f, 0, 16);
	reset_queue(&f.d, 0);
	assert_queue(&f.d, 0, 1, 0);
	assert_serves(&f, 6);
	finish(&f);
}

/* A queue that broke is whole again, but not its device. */
static void test_of_a_broken_one(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, VIRTIO_F_RING_RESET, 16);
	driver_avail(&f.d, 0, 16, 1); /* no such descriptor */
	driver_kick(&f.d, 0);
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	reset_queue(&f.d, 0);
	assert_queue(&f.d, 0, 0, 0);
	driver_queue(&f.d, 0, 16);
	request(&f.d, 1, 4, false);
	driver_kick(&f.d, 0);
	assert_int_equal(f.echo->popped, 0);
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	finish(&f);
}

/* Enabled again with addresses that are none. */
static void test_bad_addresses(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, VIRTIO_F_RING_RESET, 16);
	reset_queue(&f.d, 0);
	queue_set(&f.d, 0, VIRTIO_COMMON_QUEUE_SIZE, 16);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_DESC, 4, DRIVER_RAM - 16);
	queue_set(&f.d, 0, VIRTIO_COMMON_QUEUE_ENABLE, 1);
	assert_queue(&f.d, 0, 0, 0);
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_again),
	    cmocka_unit_test(test_in_flight),
	    cmocka_unit_test(test_within_a_reset),
	    cmocka_unit_test(test_nothing_to_reset),
	    cmocka_unit_test(test_of_a_broken_one),
	    cmocka_unit_test(test_bad_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
