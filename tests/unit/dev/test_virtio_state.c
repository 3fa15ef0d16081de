// SPDX-License-Identifier: BSD-2-Clause
/* Saving and loading a virtio device, also while it is at work. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "dev/board_priv.h"
#include "virtio_fixture.h"

#define ALL_RINGS                                                              \
	(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED)

static uint64_t request_one(struct driver *d, uint8_t byte)
{
	uint64_t at = request(d, byte, 1, false);

	driver_kick(d, 0);
	return at;
}

static void *release_later(void *arg)
{
	struct echo *echo = arg;

	usleep(20000);
	while (echo->count > 0)
		echo_release(echo);
	return NULL;
}

/* What comes back during the pause raises INTx; the saved state has both. */
static void test_intx_of_what_was_in_flight(void **state)
{
	struct fixture f, other;
	struct state_writer saved = {0};
	pthread_t thread;
	uint64_t answer;
	struct err err = {""};

	(void)state;
	start(&f, 0, 16);
	f.echo->hold = true;
	answer = request_one(&f.d, 0x5a);
	assert_int_equal(f.echo->count, 1);
	pthread_create(&thread, NULL, release_later, f.echo);
	save_board(&f.m, &saved);
	pthread_join(thread, NULL);
	assert_int_equal(*(uint8_t *)driver_at(&f.d, answer), 0x5a);
	assert_true(intx_is_up(&f.m));

	start(&other, 0, 16);
	if (load_board(&other.m, &saved, &err) != 0)
		fail_msg("%s", err.text);
	assert_true(intx_is_up(&other.m));
	assert_true(cfg_in(&other.m, ECHO_SLOT, 6, 2) & 0x08);
	assert_int_equal(load(&other.m, other.d.isr, 1), VIRTIO_ISR_QUEUE);
	assert_false(intx_is_up(&other.m));
	state_writer_free(&saved);
	finish(&other);
	finish(&f);
}

/* The same with a vector that is masked: it stays pending. */
static void test_msix_of_what_was_in_flight(void **state)
{
	struct fixture f, other;
	struct state_writer saved = {0};
	uint64_t table;
	pthread_t thread;
	struct err err = {""};

	(void)state;
	start(&f, 0, 16);
	table = enable_msix(&f.m);
	store(&f.m, table + 28, 4, 1);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_VECTOR, 2, 1);
	f.echo->hold = true;
	request_one(&f.d, 1);
	pthread_create(&thread, NULL, release_later, f.echo);
	save_board(&f.m, &saved);
	pthread_join(thread, NULL);
	assert_int_equal(f.m.vm.msis, 0);

	start(&other, 0, 16);
	if (load_board(&other.m, &saved, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(load(&other.m, table + 0x1000, 4), 2);
	assert_int_equal(other.m.vm.msis, 0);
	store(&other.m, table + 28, 4, 0);
	assert_int_equal(other.m.vm.msis, 1);
	assert_int_equal(other.m.vm.msi_data, 0x51);
	state_writer_free(&saved);
	finish(&other);
	finish(&f);
}

/* Notified while paused, or notified and not yet looked at when saved: done
   after the resumption, here and in the other machine. */
static void test_nothing_is_lost(void **state)
{
	static const uint64_t features[] = {0, ALL_RINGS};
	struct fixture f, other;
	struct state_writer saved = {0};
	uint16_t id;
	uint32_t len;
	uint64_t answer;
	struct err err = {""};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		start(&f, features[i], 16);
		request_one(&f.d, 1);
		driver_wait(&f.d, 0, &id, &len);
		f.echo->saved = 0x12345678;
		board_pause(f.m.board);
		answer = request_one(&f.d, 0x77);
		loop_step(&f.m);
		assert_int_equal(f.echo->popped, 1);
		assert_int_equal(board_save(f.m.board, &saved), 0);

		start(&other, features[i], 16);
		memcpy(other.m.vm.ram, f.m.vm.ram, DRIVER_RAM);
		other.d = f.d;
		other.d.m = &other.m;
		if (load_board(&other.m, &saved, &err) != 0)
			fail_msg("%s", err.text);
		assert_int_equal(other.echo->saved, 0x12345678);
		driver_wait(&other.d, 0, &id, &len);
		assert_int_equal(*(uint8_t *)driver_at(&other.d, answer), 0x77);
		assert_int_equal(other.echo->popped, 1);

		assert_int_equal(*(uint8_t *)driver_at(&f.d, answer), 0);
		board_resume(f.m.board);
		driver_wait(&f.d, 0, &id, &len);
		assert_int_equal(*(uint8_t *)driver_at(&f.d, answer), 0x77);
		state_writer_free(&saved);
		finish(&other);
		finish(&f);
	}
}

/* A reset that waits for a request ends in the pause. */
static void test_reset_under_way(void **state)
{
	struct fixture f;
	struct state_writer saved = {0};
	pthread_t thread;

	(void)state;
	start(&f, 0, 16);
	f.echo->hold = true;
	request_one(&f.d, 1);
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1, 0);
	assert_int_not_equal(driver_status(&f.d), 0);
	pthread_create(&thread, NULL, release_later, f.echo);
	save_board(&f.m, &saved);
	pthread_join(thread, NULL);
	assert_int_equal(driver_status(&f.d), 0);
	state_writer_free(&saved);
	finish(&f);
}

/* Damage in any byte is refused, or leads to a device that works by rules. */
static void test_damage(void **state)
{
	struct fixture f, other;
	struct state_writer saved = {0};
	struct err err;

	(void)state;
	start(&f, ALL_RINGS, 16);
	f.echo->hold = true;
	request_one(&f.d, 1);
	echo_release(f.echo);
	save_board(&f.m, &saved);
	start(&other, ALL_RINGS, 16);
	for (size_t i = 0; i < saved.size; i++) {
		uint8_t before = saved.data[i];

		/* The MSI-X table is many times the same. */
		if (saved.size > 4096 && i > 2048 && i < saved.size - 2048)
			continue;
		saved.data[i] ^= (uint8_t)(1 + i % 255);
		(void)load_board(&other.m, &saved, &err);
		loop_step(&other.m);
		saved.data[i] = before;
	}
	if (load_board(&other.m, &saved, &err) != 0)
		fail_msg("%s", err.text);
	state_writer_free(&saved);
	finish(&other);
	finish(&f);
}

static void set_master(struct fixture *f, bool on)
{
	cfg_out(&f->m, ECHO_SLOT, 4, 2, on ? 0x0006 : 0x0002);
}

static void assert_done(struct fixture *f, uint64_t answer, uint8_t value)
{
	uint32_t len;
	uint16_t id;

	driver_wait(&f->d, 0, &id, &len);
	assert_int_equal(*(uint8_t *)driver_at(&f->d, answer), value);
}

/* A driver that is early: what it asked for is done once the device may, here
   and from a saved state. */
static void test_without_master(void **state)
{
	static const uint64_t features[] = {0, ALL_RINGS};
	struct fixture f, other;
	struct state_writer saved;
	uint64_t answer;
	struct err err = {""};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(features); i++) {
		saved = (struct state_writer){0};
		start(&f, features[i], 16);
		set_master(&f, false);
		answer = request_one(&f.d, 0x5a);
		loop_step(&f.m);
		assert_int_equal(f.echo->popped, 0);
		assert_int_equal(f.m.vm.dirty, 0);
		assert_false(intx_is_up(&f.m));
		save_board(&f.m, &saved);
		start(&other, features[i], 16);
		memcpy(other.m.vm.ram, f.m.vm.ram, DRIVER_RAM);
		other.d = f.d;
		other.d.m = &other.m;
		if (load_board(&other.m, &saved, &err) != 0)
			fail_msg("%s", err.text);
		loop_step(&other.m);
		assert_int_equal(other.echo->popped, 0);
		set_master(&f, true);
		assert_done(&f, answer, 0x5a);
		set_master(&other, true);
		assert_done(&other, answer, 0x5a);
		state_writer_free(&saved);
		finish(&other);
		finish(&f);
	}
}

/* Taken away under a request: it is not written back, and the driver is told
   to begin anew. */
static void test_master_taken_away(void **state)
{
	struct fixture f;
	uint64_t answer;
	uint32_t len;
	uint16_t id;

	(void)state;
	start(&f, 0, 16);
	f.echo->hold = true;
	answer = request_one(&f.d, 0x5a);
	set_master(&f, false);
	f.m.vm.dirty = 0;
	echo_release(f.echo);
	assert_int_equal(f.m.vm.dirty, 0);
	assert_int_equal(*(uint8_t *)driver_at(&f.d, answer), 0);
	assert_false(driver_used(&f.d, 0, &id, &len));
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	set_master(&f, true);
	f.echo->hold = false;
	driver_start(&f.d, &f.m, ECHO_SLOT, 0, 16);
	assert_done(&f, request_one(&f.d, 0x77), 0x77);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_intx_of_what_was_in_flight),
	    cmocka_unit_test(test_msix_of_what_was_in_flight),
	    cmocka_unit_test(test_nothing_is_lost),
	    cmocka_unit_test(test_reset_under_way),
	    cmocka_unit_test(test_without_master),
	    cmocka_unit_test(test_master_taken_away),
	    cmocka_unit_test(test_damage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
