// SPDX-License-Identifier: BSD-2-Clause
#include "virtio_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bytes.h"

#define PAGE 4096u

/* -- memory ---------------------------------------------------------------- */

void driver_make_ram(struct machine *m)
{
	m->vm.ram = aligned_alloc(PAGE, DRIVER_RAM);
	assert_non_null(m->vm.ram);
	memset(m->vm.ram, 0, DRIVER_RAM);
	m->vm.ram_size = DRIVER_RAM;
}

void driver_free_ram(struct machine *m)
{
	free(m->vm.ram);
	m->vm.ram = NULL;
	m->vm.ram_size = 0;
}

uint64_t driver_alloc(struct driver *d, size_t bytes)
{
	uint64_t gpa = d->next_ram;

	bytes = ALIGN_UP(bytes, PAGE);
	assert_true(range_inside(gpa, bytes, DRIVER_RAM));
	d->next_ram += bytes;
	memset(d->m->vm.ram + gpa, 0, bytes);
	return gpa;
}

void *driver_at(struct driver *d, uint64_t gpa)
{
	assert_true(gpa < DRIVER_RAM);
	return d->m->vm.ram + gpa;
}

static uint16_t get_16(struct driver *d, uint64_t gpa)
{
	return __atomic_load_n((uint16_t *)driver_at(d, gpa), __ATOMIC_ACQUIRE);
}

static void set_16(struct driver *d, uint64_t gpa, uint16_t value)
{
	__atomic_store_n((uint16_t *)driver_at(d, gpa), value,
			 __ATOMIC_RELEASE);
}

/* -- registers ------------------------------------------------------------- */

uint32_t common_get(struct driver *d, unsigned int offset, unsigned int bytes)
{
	return (uint32_t)load(d->m, d->common + offset, bytes);
}

void common_set(struct driver *d, unsigned int offset, unsigned int bytes,
		uint32_t value)
{
	store(d->m, d->common + offset, bytes, value);
}

uint8_t driver_status(struct driver *d)
{
	return (uint8_t)common_get(d, VIRTIO_COMMON_STATUS, 1);
}

static uint64_t bar_address(struct machine *m, unsigned int slot,
			    unsigned int bar)
{
	uint32_t low = cfg_in(m, slot, 0x10 + 4 * bar, 4);
	uint64_t address = low & ~15u;

	if (low & 4)
		address |= (uint64_t)cfg_in(m, slot, 0x14 + 4 * bar, 4) << 32;
	return address;
}

static void take_cap(struct driver *d, unsigned int at)
{
	uint32_t type = cfg_in(d->m, d->slot, at + 3, 1);
	uint32_t bar = cfg_in(d->m, d->slot, at + 4, 1);
	uint64_t where =
	    bar_address(d->m, d->slot, bar) + cfg_in(d->m, d->slot, at + 8, 4);

	if (type == VIRTIO_CAP_COMMON)
		d->common = where;
	if (type == VIRTIO_CAP_ISR)
		d->isr = where;
	if (type == VIRTIO_CAP_DEVICE)
		d->config = where;
	if (type != VIRTIO_CAP_NOTIFY)
		return;
	d->notify = where;
	d->multiplier = cfg_in(d->m, d->slot, at + 16, 4);
}

void driver_find(struct driver *d, struct machine *m, unsigned int slot)
{
	unsigned int at = cfg_in(m, slot, 0x34, 1);

	*d = (struct driver){.m = m, .slot = slot, .next_ram = PAGE};
	for (; at != 0; at = cfg_in(m, slot, at + 1, 1)) {
		if (cfg_in(m, slot, at, 1) == 0x09)
			take_cap(d, at);
	}
	assert_true(d->common && d->isr && d->config && d->notify);
	cfg_out(m, slot, 4, 2, 0x0006);
}

uint64_t driver_offered(struct driver *d)
{
	uint64_t low;

	common_set(d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 0);
	low = common_get(d, VIRTIO_COMMON_DEVICE_FEATURE, 4);
	common_set(d, VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, 1);
	return low | (uint64_t)common_get(d, VIRTIO_COMMON_DEVICE_FEATURE, 4)
			 << 32;
}

void driver_negotiate(struct driver *d, uint64_t wanted)
{
	common_set(d, VIRTIO_COMMON_STATUS, 1, 0);
	for (int i = 0; i < 5000 && driver_status(d) != 0; i++)
		usleep(1000);
	assert_int_equal(driver_status(d), 0);
	common_set(d, VIRTIO_COMMON_STATUS, 1, VIRTIO_ACKNOWLEDGE);
	common_set(d, VIRTIO_COMMON_STATUS, 1,
		   VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
	d->features = driver_offered(d) & (wanted | VIRTIO_F_VERSION_1);
	common_set(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	common_set(d, VIRTIO_COMMON_DRIVER_FEATURE, 4, (uint32_t)d->features);
	common_set(d, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 1);
	common_set(d, VIRTIO_COMMON_DRIVER_FEATURE, 4,
		   (uint32_t)(d->features >> 32));
	common_set(d, VIRTIO_COMMON_STATUS, 1,
		   VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
	assert_int_equal(driver_status(d), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER |
					       VIRTIO_FEATURES_OK);
}

static void set_address(struct driver *d, unsigned int offset, uint64_t gpa)
{
	common_set(d, offset, 4, (uint32_t)gpa);
	common_set(d, offset + 4, 4, (uint32_t)(gpa >> 32));
}

void driver_queue(struct driver *d, unsigned int queue, uint16_t size)
{
	struct ring *r = &d->rings[queue];

	*r = (struct ring){
	    .index = queue,
	    .size = size,
	    .desc = driver_alloc(d, 16u * size),
	    .driver = driver_alloc(d, 6u + 2u * size),
	    .device = driver_alloc(d, 6u + 8u * size),
	    .avail_wrap = 1,
	    .used_wrap = 1,
	};
	common_set(d, VIRTIO_COMMON_QUEUE_SELECT, 2, queue);
	common_set(d, VIRTIO_COMMON_QUEUE_SIZE, 2, size);
	set_address(d, VIRTIO_COMMON_QUEUE_DESC, r->desc);
	set_address(d, VIRTIO_COMMON_QUEUE_DRIVER, r->driver);
	set_address(d, VIRTIO_COMMON_QUEUE_DEVICE, r->device);
	common_set(d, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
}

void driver_ok(struct driver *d)
{
	common_set(d, VIRTIO_COMMON_STATUS, 1,
		   driver_status(d) | VIRTIO_DRIVER_OK);
}

void driver_start(struct driver *d, struct machine *m, unsigned int slot,
		  uint64_t wanted, uint16_t size)
{
	driver_find(d, m, slot);
	driver_negotiate(d, wanted);
	driver_queue(d, 0, size);
	driver_ok(d);
	assert_int_equal(driver_status(d), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER |
					       VIRTIO_FEATURES_OK |
					       VIRTIO_DRIVER_OK);
}

/* -- rings ----------------------------------------------------------------- */

static bool is_packed(const struct driver *d)
{
	return d->features & VIRTIO_F_RING_PACKED;
}

void driver_desc(struct driver *d, uint64_t table, unsigned int index,
		 uint64_t gpa, uint32_t len, uint16_t flags, uint16_t last)
{
	uint8_t *at = driver_at(d, table + 16u * index);

	store_le64(at, gpa);
	store_le32(at + 8, len);
	store_le16(at + (is_packed(d) ? 12 : 14), last);
	set_16(d, table + 16u * index + (is_packed(d) ? 14 : 12), flags);
}

/* A split ring's: head goes into the available ring. A packed one's: slots
   from the position on, whose flags get the marks, the first one last. */
void driver_avail(struct driver *d, unsigned int queue, uint16_t head,
		  uint16_t slots)
{
	struct ring *r = &d->rings[queue];
	uint8_t wrap = r->avail_wrap;

	if (!is_packed(d)) {
		set_16(d, r->driver + 4 + 2u * (r->avail % r->size), head);
		set_16(d, r->driver + 2, ++r->avail);
		return;
	}
	for (unsigned int i = slots; i-- > 0;) {
		unsigned int at = r->avail + i;
		uint8_t mark = at >= r->size ? wrap ^ 1 : wrap;
		uint64_t flags = r->desc + 16u * (at % r->size) + 14;

		set_16(d, flags,
		       (uint16_t)((get_16(d, flags) & 7) |
				  (mark ? VQ_DESC_AVAIL : VQ_DESC_USED)));
	}
	r->slots[head % ARRAY_SIZE(r->slots)] = slots;
	r->avail_wrap ^= r->avail + slots >= r->size;
	r->avail = (uint16_t)((r->avail + slots) % r->size);
}

static uint16_t flags_of(const struct buffer *b, bool next)
{
	return (uint16_t)((b->write ? VQ_DESC_WRITE : 0) |
			  (next ? VQ_DESC_NEXT : 0));
}

static uint64_t make_table(struct driver *d, const struct buffer *buffers,
			   unsigned int count)
{
	uint64_t table = driver_alloc(d, 16 * count);

	for (unsigned int i = 0; i < count; i++)
		driver_desc(
		    d, table, i, buffers[i].gpa, buffers[i].len,
		    flags_of(&buffers[i], !is_packed(d) && i + 1 < count),
		    (uint16_t)(i + 1));
	return table;
}

uint16_t driver_add(struct driver *d, unsigned int queue,
		    const struct buffer *buffers, unsigned int count,
		    bool indirect)
{
	struct ring *r = &d->rings[queue];
	uint16_t slots = indirect ? 1 : (uint16_t)count;
	uint16_t first = is_packed(d) ? r->avail : r->next;
	uint16_t id = r->next;

	r->next = (uint16_t)((r->next + slots) % r->size);
	if (indirect)
		driver_desc(d, r->desc, first, make_table(d, buffers, count),
			    16 * count, VQ_DESC_INDIRECT, id);
	for (unsigned int i = 0; !indirect && i < count; i++) {
		unsigned int at = (first + i) % r->size;
		uint16_t next = (uint16_t)((at + 1) % r->size);

		driver_desc(d, r->desc, at, buffers[i].gpa, buffers[i].len,
			    flags_of(&buffers[i], i + 1 < count),
			    is_packed(d) ? id : next);
	}
	driver_avail(d, queue, id, slots);
	return id;
}

/* With NOTIFICATION_DATA the position comes along (4.1.5.2). */
void driver_kick(struct driver *d, unsigned int queue)
{
	struct ring *r = &d->rings[queue];
	uint64_t at = d->notify + (uint64_t)d->multiplier * queue;
	uint32_t position;

	if ((d->features & VIRTIO_F_NOTIFICATION_DATA) == 0) {
		store(d->m, at, 2, queue);
		return;
	}
	position = r->avail;
	if (is_packed(d))
		position |= (uint32_t)r->avail_wrap << 15;
	store(d->m, at, 4, position << 16 | queue);
}

static bool split_used(struct driver *d, struct ring *r, uint16_t *id,
		       uint32_t *len)
{
	const uint8_t *at;

	if (get_16(d, r->device + 2) == r->used)
		return false;
	at = driver_at(d, r->device + 4 + 8u * (r->used++ % r->size));
	*id = (uint16_t)load_le32(at);
	*len = load_le32(at + 4);
	return true;
}

bool driver_used(struct driver *d, unsigned int queue, uint16_t *id,
		 uint32_t *len)
{
	struct ring *r = &d->rings[queue];
	uint64_t at = r->desc + 16u * r->used;
	uint16_t flags;
	unsigned int next;

	if (!is_packed(d))
		return split_used(d, r, id, len);
	flags = get_16(d, at + 14);
	if (!!(flags & VQ_DESC_USED) != r->used_wrap ||
	    !!(flags & VQ_DESC_AVAIL) != r->used_wrap)
		return false;
	*len = load_le32((uint8_t *)driver_at(d, at) + 8);
	*id = load_le16((uint8_t *)driver_at(d, at) + 12);
	next = r->used + r->slots[*id % ARRAY_SIZE(r->slots)];
	r->used_wrap ^= next >= r->size;
	r->used = (uint16_t)(next % r->size);
	return true;
}

void driver_wait(struct driver *d, unsigned int queue, uint16_t *id,
		 uint32_t *len)
{
	for (int i = 0; i < 10000; i++) {
		if (driver_used(d, queue, id, len))
			return;
		loop_step(d->m);
		usleep(500);
	}
	fail_msg("nothing used, status 0x%02x", driver_status(d));
}
