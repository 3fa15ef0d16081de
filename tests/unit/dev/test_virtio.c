// SPDX-License-Identifier: BSD-2-Clause
/* Virtio's registers on PCI and its rings, with a driver that is sane. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "virtio_fixture.h"

#define COUNT 8u

/* -- registers ------------------------------------------------------------- */

static void test_identity(void **state)
{
	struct fixture f;

	(void)state;
	start_machine(&f);
	driver_find(&f.d, &f.m, ECHO_SLOT);
	assert_int_equal(cfg_in(&f.m, ECHO_SLOT, 0, 4), 0x107c1af4);
	assert_int_equal(cfg_in(&f.m, ECHO_SLOT, 8, 1), 1); /* 4.1.2.1 */
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_NUM_QUEUES, 2),
			 ECHO_QUEUES);
	assert_true(driver_offered(&f.d) ==
		    (BIT(0) | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
		     VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED |
		     VIRTIO_F_NOTIFICATION_DATA | VIRTIO_F_RING_RESET));
	common_set(&f.d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 2);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_DEVICE_FEATURE, 4), 0);
	/* A queue that does not exist has size 0 (4.1.4.3.1). */
	common_set(&f.d, VIRTIO_COMMON_QUEUE_SELECT, 2, 1);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_QUEUE_SIZE, 2),
			 ECHO_QUEUE_SIZE);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_QUEUE_NOTIFY_OFF, 2),
			 1);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_SELECT, 2, ECHO_QUEUES);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_QUEUE_SIZE, 2), 0);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_SIZE, 2, 4);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_DESC, 4, 4);
	/* The device's own, and behind its end. */
	assert_int_equal(load(&f.m, f.d.config + 4, 4), 0x08070605);
	assert_int_equal(load(&f.m, f.d.config + 6, 4), 0x0807);
	assert_int_equal(load(&f.m, f.d.config + 8, 4), 0);
	store(&f.m, f.d.config, 4, 77);
	assert_int_equal(f.echo->config_value, 77);
	store(&f.m, f.d.config + 6, 4, 78);
	assert_int_equal(f.echo->config_value, 77);
	finish(&f);
}

/* 3.1.1: what a driver asks for that is not offered, the device refuses. */
static void test_negotiation(void **state)
{
	const uint8_t up_to_driver = VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER;
	struct fixture f;

	(void)state;
	start_machine(&f);
	driver_find(&f.d, &f.m, ECHO_SLOT);
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1, up_to_driver);
	/* Without VERSION_1: a driver of before 1.0. */
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1,
		   up_to_driver | VIRTIO_FEATURES_OK);
	assert_int_equal(driver_status(&f.d), up_to_driver);
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 1);
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE, 4, 1);
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE, 4, 2); /* not there */
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1,
		   up_to_driver | VIRTIO_FEATURES_OK);
	assert_int_equal(driver_status(&f.d), up_to_driver);
	/* DRIVER_OK needs FEATURES_OK, and queues need it too. */
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1,
		   up_to_driver | VIRTIO_DRIVER_OK);
	assert_int_equal(driver_status(&f.d), up_to_driver);
	driver_queue(&f.d, 0, 8);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_QUEUE_ENABLE, 2), 0);
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE, 4, 1);
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 2);
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE, 4, 0xffffffff);
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1,
		   up_to_driver | VIRTIO_FEATURES_OK);
	assert_int_equal(driver_status(&f.d),
			 up_to_driver | VIRTIO_FEATURES_OK);
	/* Too late. */
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	common_set(&f.d, VIRTIO_COMMON_DRIVER_FEATURE, 4, 0);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_DRIVER_FEATURE, 4), 1);
	/* Kicked before DRIVER_OK: nothing happens (2.1.2). */
	driver_queue(&f.d, 0, 8);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_QUEUE_ENABLE, 2), 1);
	request(&f.d, 1, 1, false);
	driver_kick(&f.d, 0);
	assert_int_equal(f.echo->popped, 0);
	finish(&f);
}

/* Registers have one width each (4.1.3.1); wide BAR accesses are two. */
static void test_widths(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 0, 8);
	common_set(&f.d, VIRTIO_COMMON_STATUS, 4, 0);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_SELECT, 1, 1);
	assert_int_not_equal(driver_status(&f.d), 0);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_QUEUE_SELECT, 2), 0);
	assert_true(load(&f.m, f.d.common + VIRTIO_COMMON_QUEUE_DESC, 8) ==
		    f.d.rings[0].desc);
	assert_int_equal(load(&f.m, f.d.common + VIRTIO_COMMON_SIZE, 4), 0);
	driver_negotiate(&f.d, 0);
	store(&f.m, f.d.common + VIRTIO_COMMON_QUEUE_DRIVER, 8,
	      0x123456789abcdef0);
	assert_true(load(&f.m, f.d.common + VIRTIO_COMMON_QUEUE_DRIVER, 8) ==
		    0x123456789abcdef0);
	finish(&f);
}

/* 4.1.4.9: the same registers through configuration space. */
static void test_pci_access(void **state)
{
	struct fixture f;
	unsigned int cap;

	(void)state;
	start(&f, 0, 8);
	cap = find_cap(&f.m, 0x09);
	while (cfg_in(&f.m, ECHO_SLOT, cap + 3, 1) != VIRTIO_CAP_PCI)
		cap = cfg_in(&f.m, ECHO_SLOT, cap + 1, 1);
	cfg_out(&f.m, ECHO_SLOT, cap + 4, 1, 2);
	cfg_out(&f.m, ECHO_SLOT, cap + 8, 4, VIRTIO_COMMON_STATUS);
	cfg_out(&f.m, ECHO_SLOT, cap + 12, 4, 1);
	assert_int_equal(cfg_in(&f.m, ECHO_SLOT, cap + 16, 1),
			 driver_status(&f.d));
	cfg_out(&f.m, ECHO_SLOT, cap + 16, 1, 0);
	assert_int_equal(driver_status(&f.d), 0);
	/* No such BAR, no such width, outside of it, not aligned. */
	cfg_out(&f.m, ECHO_SLOT, cap + 12, 4, 3);
	cfg_out(&f.m, ECHO_SLOT, cap + 16, 4, 0xff);
	cfg_out(&f.m, ECHO_SLOT, cap + 12, 4, 1);
	cfg_out(&f.m, ECHO_SLOT, cap + 4, 1, 1);
	cfg_out(&f.m, ECHO_SLOT, cap + 16, 1, 0xff);
	cfg_out(&f.m, ECHO_SLOT, cap + 4, 1, 2);
	cfg_out(&f.m, ECHO_SLOT, cap + 8, 4, 0xfffffffc);
	cfg_out(&f.m, ECHO_SLOT, cap + 16, 1, 0xff);
	cfg_in(&f.m, ECHO_SLOT, cap + 16, 4);
	assert_int_equal(driver_status(&f.d), 0);
	finish(&f);
}

/* -- interrupts ------------------------------------------------------------ */

static void test_intx(void **state)
{
	struct fixture f;
	uint16_t id;
	uint32_t len;

	(void)state;
	start(&f, 0, 8);
	request(&f.d, 1, 4, false);
	driver_kick(&f.d, 0);
	assert_true(intx_is_up(&f.m));
	assert_true(driver_used(&f.d, 0, &id, &len));
	assert_int_equal(len, 4);
	/* Reading the ISR takes the wire down. */
	assert_int_equal(load(&f.m, f.d.isr, 1), VIRTIO_ISR_QUEUE);
	assert_false(intx_is_up(&f.m));
	assert_int_equal(load(&f.m, f.d.isr, 1), 0);
	/* The split ring's VIRTQ_AVAIL_F_NO_INTERRUPT. */
	*(uint16_t *)driver_at(&f.d, f.d.rings[0].driver) = 1;
	request(&f.d, 1, 4, false);
	driver_kick(&f.d, 0);
	assert_true(driver_used(&f.d, 0, &id, &len));
	assert_false(intx_is_up(&f.m));
	/* Nothing new: no interrupt. */
	*(uint16_t *)driver_at(&f.d, f.d.rings[0].driver) = 0;
	driver_kick(&f.d, 0);
	assert_false(intx_is_up(&f.m));
	finish(&f);
}

static void test_msix(void **state)
{
	struct fixture f;

	(void)state;
	start(&f, 0, 8);
	enable_msix(&f.m);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_QUEUE_VECTOR, 2),
			 VIRTIO_NO_VECTOR);
	request(&f.d, 1, 1, false);
	driver_kick(&f.d, 0);
	assert_int_equal(f.m.vm.msis, 0);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_VECTOR, 2, 1);
	common_set(&f.d, VIRTIO_COMMON_CONFIG_VECTOR, 2, 0);
	request(&f.d, 1, 1, false);
	driver_kick(&f.d, 0);
	assert_int_equal(f.m.vm.msis, 1);
	assert_int_equal(f.m.vm.msi_data, 0x51);
	virtio_config_changed(f.echo->v);
	assert_int_equal(f.m.vm.msis, 2);
	assert_int_equal(f.m.vm.msi_data, 0x50);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_GENERATION, 1), 1);
	/* A vector that is not there reads back as none (4.1.5.1.2.1). */
	common_set(&f.d, VIRTIO_COMMON_QUEUE_VECTOR, 2, ECHO_QUEUES + 1);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_QUEUE_VECTOR, 2),
			 VIRTIO_NO_VECTOR);
	common_set(&f.d, VIRTIO_COMMON_CONFIG_VECTOR, 2, 0x1234);
	assert_int_equal(common_get(&f.d, VIRTIO_COMMON_CONFIG_VECTOR, 2),
			 VIRTIO_NO_VECTOR);
	assert_false(intx_is_up(&f.m));
	finish(&f);
}

/* -- rings ----------------------------------------------------------------- */

static const struct format {
	const char *name;
	uint64_t features;
} formats[] = {
    {"split", 0},
    {"split, event index", VIRTIO_F_EVENT_IDX},
    {"split, indirect", VIRTIO_F_INDIRECT_DESC},
    {"split, all",
     VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_NOTIFICATION_DATA},
    {"packed", VIRTIO_F_RING_PACKED},
    {"packed, event index", VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX},
    {"packed, indirect", VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC},
    {"packed, all", VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC |
			VIRTIO_F_EVENT_IDX | VIRTIO_F_NOTIFICATION_DATA},
};

/* Several times round the ring, chains of one to four buffers, every second
   one indirect where that may be. */
static void echo_many(struct fixture *f, const struct format *format,
		      uint16_t size)
{
	struct driver *d = &f->d;
	bool may = format->features & VIRTIO_F_INDIRECT_DESC;
	uint64_t at = driver_alloc(d, 4096);
	uint8_t *bytes = driver_at(d, at);
	uint16_t id, got;
	uint32_t len;

	for (unsigned int i = 0; i < 300; i++) {
		const struct buffer buffers[] = {
		    {at, 3, false},
		    {at + 100, 1 + i % 7, false},
		    {at + 200, 2, true},
		    {at + 300, 100, true},
		};
		unsigned int from = i % 2, count = MIN(4u - i % 3 - from, size);

		memset(bytes, 0, 400);
		memset(bytes, 0x10 + (int)i, 200);
		id = driver_add(d, 0, buffers + from, count, may && i % 4 > 1);
		driver_kick(d, 0);
		if (!driver_used(d, 0, &got, &len))
			fail_msg("%s: chain %u is not used", format->name, i);
		assert_int_equal(got, id);
		assert_false(driver_used(d, 0, &got, &len));
		if (from + count == 4) {
			uint32_t read = (from == 0 ? 3 : 0) + 1 + i % 7;

			assert_int_equal(len, read);
			assert_int_equal(bytes[200], (uint8_t)(0x10 + i));
			assert_int_equal(bytes[300],
					 read > 2 ? (uint8_t)(0x10 + i) : 0);
		}
	}
}

static void test_formats(void **state)
{
	static const uint16_t split_sizes[] = {4, 8, 64};
	static const uint16_t packed_sizes[] = {4, 7, 64};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		const uint16_t *sizes =
		    formats[i].features & VIRTIO_F_RING_PACKED ? packed_sizes
							       : split_sizes;

		for (size_t j = 0; j < ARRAY_SIZE(split_sizes); j++) {
			start(&f, formats[i].features, sizes[j]);
			echo_many(&f, &formats[i], sizes[j]);
			assert_int_equal(f.echo->popped, 300);
			assert_int_equal(
			    driver_status(&f.d) & VIRTIO_NEEDS_RESET, 0);
			finish(&f);
		}
	}
}

/* Many at once, given back in another order than taken. */
static void test_out_of_order(void **state)
{
	struct fixture f;
	uint64_t at[COUNT];
	uint16_t id;
	uint32_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		start(&f, formats[i].features, 2 * COUNT);
		f.echo->hold = true;
		for (unsigned int j = 0; j < COUNT; j++)
			at[j] = request(&f.d, (uint8_t)j, 16 + j, false);
		driver_kick(&f.d, 0);
		assert_int_equal(f.echo->count, COUNT);
		assert_false(driver_used(&f.d, 0, &id, &len));
		/* The last one first. */
		for (unsigned int j = 0; j < COUNT; j++) {
			struct held last = f.echo->held[f.echo->count - 1];

			memmove(f.echo->held + 1, f.echo->held,
				(f.echo->count - 1) * sizeof(last));
			f.echo->held[0] = last;
			echo_release(f.echo);
			assert_true(driver_used(&f.d, 0, &id, &len));
			assert_int_equal(len, 16 + COUNT - 1 - j);
		}
		for (unsigned int j = 0; j < COUNT; j++)
			assert_true(echoed(&f.d, at[j], (uint8_t)j, 16 + j));
		assert_true(f.m.vm.dirty >= COUNT * 16);
		finish(&f);
	}
}

/* Where the driver wants to hear of it; packed: with the wrap counter. */
static void set_used_event(struct driver *d, uint16_t event)
{
	struct ring *r = &d->rings[0];
	uint64_t at = r->driver + 4 + 2u * r->size;
	bool packed = d->features & VIRTIO_F_RING_PACKED;

	*(uint16_t *)driver_at(d, packed ? r->driver : at) = event;
	if (packed)
		*(uint16_t *)driver_at(d, r->driver + 2) = VQ_EVENT_DESC;
}

static void test_split_event_index(void **state)
{
	struct fixture f;
	struct ring *r = &f.d.rings[0];

	(void)state;
	start(&f, VIRTIO_F_EVENT_IDX, 8);
	enable_msix(&f.m);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_VECTOR, 2, 1);
	set_used_event(&f.d, 2);
	for (unsigned int i = 0; i < 5; i++) {
		request(&f.d, 1, 1, false);
		driver_kick(&f.d, 0);
		/* The third one is the event. */
		assert_int_equal(f.m.vm.msis, i >= 2);
		/* avail_event: kick when there is one more. */
		assert_int_equal(
		    *(uint16_t *)driver_at(&f.d, r->device + 4 + 8u * r->size),
		    i + 1);
	}
	/* Three at once, the event among them. */
	set_used_event(&f.d, 6);
	for (unsigned int i = 0; i < 3; i++)
		request(&f.d, 1, 1, false);
	driver_kick(&f.d, 0);
	assert_int_equal(f.m.vm.msis, 2);
	finish(&f);
}

static void test_packed_event_index(void **state)
{
	struct fixture f;
	struct ring *r = &f.d.rings[0];
	uint16_t *device;

	(void)state;
	start(&f, VIRTIO_F_EVENT_IDX | VIRTIO_F_RING_PACKED, 8);
	device = driver_at(&f.d, r->device);
	enable_msix(&f.m);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_VECTOR, 2, 1);
	/* Chains take two slots; the event is in the third one's first. */
	set_used_event(&f.d, VQ_EVENT_WRAP | 4);
	for (unsigned int i = 0; i < 4; i++) {
		request(&f.d, 1, 1, false);
		driver_kick(&f.d, 0);
		assert_int_equal(f.m.vm.msis, i >= 2);
		assert_int_equal(device[1], VQ_EVENT_DESC);
		assert_int_equal(device[0],
				 i == 3 ? 0 : VQ_EVENT_WRAP | (2 * i + 2));
	}
	/* In the next round. */
	set_used_event(&f.d, 2);
	for (unsigned int i = 0; i < 2; i++) {
		request(&f.d, 1, 1, false);
		driver_kick(&f.d, 0);
		assert_int_equal(f.m.vm.msis, 1 + i);
	}
	/* Disabled, and always. */
	*(uint16_t *)driver_at(&f.d, r->driver + 2) = VQ_EVENT_DISABLE;
	request(&f.d, 1, 1, false);
	driver_kick(&f.d, 0);
	assert_int_equal(f.m.vm.msis, 2);
	*(uint16_t *)driver_at(&f.d, r->driver + 2) = VQ_EVENT_ENABLE;
	request(&f.d, 1, 1, false);
	driver_kick(&f.d, 0);
	assert_int_equal(f.m.vm.msis, 3);
	finish(&f);
}

/* -- reset and errors ------------------------------------------------------ */

/* The device's part of a request in flight when the driver resets: the status
   says when it is over, and nothing is written from then on. */
static void test_reset_in_flight(void **state)
{
	struct fixture f;
	struct ring before;
	uint64_t at;
	uint16_t id;
	uint32_t len;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		start(&f, formats[i].features, 8);
		f.echo->hold = true;
		request(&f.d, 9, 4, false);
		request(&f.d, 9, 4, false);
		driver_kick(&f.d, 0);
		before = f.d.rings[0];
		common_set(&f.d, VIRTIO_COMMON_STATUS, 1, 0);
		assert_int_not_equal(driver_status(&f.d), 0);
		/* What a driver writes meanwhile is ignored. */
		common_set(&f.d, VIRTIO_COMMON_STATUS, 1, 1);
		driver_kick(&f.d, 0);
		echo_release(f.echo);
		assert_int_not_equal(driver_status(&f.d), 0);
		assert_false(intx_is_up(&f.m));
		echo_release(f.echo);
		assert_int_equal(driver_status(&f.d), 0);
		assert_int_equal(f.echo->resets, 2); /* one at the start */
		f.d.rings[0] = before;
		assert_false(driver_used(&f.d, 0, &id, &len));
		assert_int_equal(
		    common_get(&f.d, VIRTIO_COMMON_QUEUE_ENABLE, 2), 0);
		/* And from the start. */
		f.echo->hold = false;
		driver_negotiate(&f.d, formats[i].features);
		driver_queue(&f.d, 0, 8);
		driver_ok(&f.d);
		at = request(&f.d, 5, 4, false);
		driver_kick(&f.d, 0);
		assert_true(echoed(&f.d, at, 5, 4));
		finish(&f);
	}
}

/* A queue that a driver broke: a word to the driver, then silence. */
static void test_needs_reset(void **state)
{
	struct fixture f;
	struct ring *r = &f.d.rings[0];
	uint16_t id;
	uint32_t len;
	uint64_t at;

	(void)state;
	start(&f, 0, 8);
	enable_msix(&f.m);
	common_set(&f.d, VIRTIO_COMMON_CONFIG_VECTOR, 2, 0);
	common_set(&f.d, VIRTIO_COMMON_QUEUE_VECTOR, 2, 1);
	f.echo->hold = true;
	request(&f.d, 1, 4, false);
	driver_kick(&f.d, 0);
	driver_desc(&f.d, r->desc, 7, 0, 4, 0, 0);
	driver_avail(&f.d, 0, 8, 1); /* there are 0 to 7 */
	driver_kick(&f.d, 0);
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	assert_int_equal(f.m.vm.msis, 1);
	assert_int_equal(f.m.vm.msi_data, 0x50);
	/* What comes back now is not the driver's any more. */
	echo_release(f.echo);
	assert_false(driver_used(&f.d, 0, &id, &len));
	assert_int_equal(f.m.vm.msis, 1);
	driver_kick(&f.d, 0);
	assert_int_equal(f.echo->popped, 1);
	/* Nor can it be cleared but by a reset. */
	common_set(&f.d, VIRTIO_COMMON_STATUS, 1, 0x0f);
	assert_true(driver_status(&f.d) & VIRTIO_NEEDS_RESET);
	f.echo->hold = false;
	driver_negotiate(&f.d, 0);
	driver_queue(&f.d, 0, 8);
	driver_ok(&f.d);
	at = request(&f.d, 7, 4, false);
	driver_kick(&f.d, 0);
	assert_true(echoed(&f.d, at, 7, 4));
	finish(&f);
}

/* A vCPU that refills the ring as fast as it is emptied still gets back from
   its kick: the event loop goes on. */
static void *refill(void *arg)
{
	struct fixture *f = arg;
	struct ring *r = &f->d.rings[0];

	for (unsigned int i = 0; i < 200000; i++) {
		uint16_t used =
		    __atomic_load_n((uint16_t *)driver_at(&f->d, r->device + 2),
				    __ATOMIC_ACQUIRE);

		if ((uint16_t)(r->avail - used) < r->size / 2)
			driver_avail(&f->d, 0, 0, 1);
	}
	return NULL;
}

static void test_refilled_for_ever(void **state)
{
	struct fixture f;
	pthread_t thread;
	uint64_t at;

	(void)state;
	start(&f, 0, 8);
	at = driver_alloc(&f.d, 8);
	driver_desc(&f.d, f.d.rings[0].desc, 0, at, 4, VQ_DESC_WRITE, 0);
	driver_avail(&f.d, 0, 0, 1);
	pthread_create(&thread, NULL, refill, &f);
	for (int i = 0; i < 100; i++) {
		unsigned int before = f.echo->popped;

		driver_kick(&f.d, 0);
		assert_true(f.echo->popped - before <= 8);
		loop_step(&f.m);
	}
	pthread_join(thread, NULL);
	for (int i = 0; i < 3; i++)
		loop_step(&f.m);
	driver_kick(&f.d, 0);
	assert_int_equal(*(uint16_t *)driver_at(&f.d, f.d.rings[0].device + 2),
			 f.d.rings[0].avail);
	finish(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_identity),
	    cmocka_unit_test(test_negotiation),
	    cmocka_unit_test(test_widths),
	    cmocka_unit_test(test_pci_access),
	    cmocka_unit_test(test_intx),
	    cmocka_unit_test(test_msix),
	    cmocka_unit_test(test_formats),
	    cmocka_unit_test(test_out_of_order),
	    cmocka_unit_test(test_split_event_index),
	    cmocka_unit_test(test_packed_event_index),
	    cmocka_unit_test(test_reset_in_flight),
	    cmocka_unit_test(test_needs_reset),
	    cmocka_unit_test(test_refilled_for_ever),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
