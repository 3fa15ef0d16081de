// SPDX-License-Identifier: BSD-2-Clause
#include "dev/virtqueue.h"

#include <errno.h>

#include "base/bytes.h"
#include "dev/virtio_regs.h"

/* Split: offsets in the available and the used ring (2.7.6, 2.7.8). */
#define RING_FLAGS      0u
#define RING_IDX        2u
#define RING_FIRST      4u
#define AVAIL_ELEM_SIZE 2u
#define USED_ELEM_SIZE  8u

/* Packed: an event structure (2.8.14). */
#define EVENT_OFF   0u
#define EVENT_FLAGS 2u
#define EVENT_SIZE  4u

struct descriptor {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
	uint16_t next; /* split */
	uint16_t id;   /* packed */
};

/* -- life ------------------------------------------------------------------ */

void vq_reset(struct virtqueue *vq, unsigned int index, uint16_t size_max)
{
	*vq = (struct virtqueue){
	    .index = index,
	    .size_max = size_max,
	    .s = {.size = size_max,
		  .vector = VIRTIO_NO_VECTOR,
		  .avail_wrap = 1,
		  .used_wrap = 1},
	};
}

static int broken(struct virtqueue *vq, const char *why)
{
	if (vq->broken == NULL)
		vq->broken = why;
	return -EINVAL;
}

/* A part of the ring: aligned as 2.7 and 2.8.3 have it, and all RAM. */
static uint8_t *map_part(struct vmctx *ctx, uint64_t gpa, uint64_t len,
			 unsigned int align)
{
	return gpa % align != 0 ? NULL : vm_map_gpa(ctx, gpa, len);
}

static bool size_is_sane(const struct virtqueue *vq)
{
	uint16_t size = vq->s.size;

	if (size == 0 || size > vq->size_max)
		return false;
	return vq->packed || (size & (size - 1)) == 0;
}

static bool positions_are_sane(const struct virtqueue *vq)
{
	const struct vq_state *s = &vq->s;

	if (!vq->packed)
		return true;
	return s->next_avail < s->size && s->next_used < s->size;
}

int vq_enable(struct virtqueue *vq, struct vmctx *ctx, uint64_t features)
{
	const struct vq_state *s = &vq->s;
	uint64_t size = s->size;

	vq->ctx = ctx;
	vq->packed = features & VIRTIO_F_RING_PACKED;
	vq->event_idx = features & VIRTIO_F_EVENT_IDX;
	vq->indirect_ok = features & VIRTIO_F_INDIRECT_DESC;
	if (!size_is_sane(vq))
		return broken(vq, "its size is not one it can have");
	if (!positions_are_sane(vq))
		return broken(vq, "its position is outside of the ring");
	vq->desc = map_part(ctx, s->desc, VQ_DESC_SIZE * size, VQ_DESC_SIZE);
	if (vq->packed) {
		vq->driver = map_part(ctx, s->driver, EVENT_SIZE, 4);
		vq->device = map_part(ctx, s->device, EVENT_SIZE, 4);
	} else {
		/* Each ends with the other side's event index. */
		vq->driver = map_part(
		    ctx, s->driver, RING_FIRST + AVAIL_ELEM_SIZE * size + 2, 2);
		vq->device = map_part(
		    ctx, s->device, RING_FIRST + USED_ELEM_SIZE * size + 2, 4);
	}
	if (vq->desc == NULL || vq->driver == NULL || vq->device == NULL)
		return broken(vq, "its rings are not in RAM, or not aligned");
	vq->s.enabled = 1;
	return 0;
}

/* -- the guest's memory ---------------------------------------------------- */

static uint16_t read_16(const uint8_t *from)
{
	return __atomic_load_n((const uint16_t *)(const void *)from,
			       __ATOMIC_ACQUIRE);
}

static void write_16(uint8_t *to, uint16_t value)
{
	__atomic_store_n((uint16_t *)(void *)to, value, __ATOMIC_RELEASE);
}

/* A copy that the compiler cannot turn back into the original: the guest may
   change that at any time. */
static void copy_descriptor(const uint8_t *from, bool packed,
			    struct descriptor *out)
{
	uint8_t raw[VQ_DESC_SIZE];

	memcpy(raw, from, sizeof(raw));
	__asm__ volatile("" : : "r"(raw) : "memory");
	*out = (struct descriptor){
	    .gpa = load_le64(raw),
	    .len = load_le32(raw + 8),
	};
	if (packed) {
		out->id = load_le16(raw + 12);
		out->flags = load_le16(raw + 14);
	} else {
		out->flags = load_le16(raw + 12);
		out->next = load_le16(raw + 14);
	}
}

/* The device's part of the ring was written. */
static void ring_written(struct virtqueue *vq, unsigned int offset,
			 unsigned int len)
{
	vm_mem_dirty(vq->ctx, vq->s.device + offset, len);
}

/* -- chains ---------------------------------------------------------------- */

static int add_segment(struct virtqueue *vq, struct vq_chain *chain,
		       const struct descriptor *desc)
{
	unsigned int count = chain->readable + chain->writable;
	uint8_t *hva;

	if (count == VQ_SEGMENTS)
		return broken(vq, "a chain is too long");
	if (desc->len == 0)
		return broken(vq, "a buffer of no length");
	if (chain->readable_bytes + chain->writable_bytes + desc->len >
	    VQ_BYTES_MAX)
		return broken(vq, "a chain of more than 4 GiB");
	hva = vm_map_gpa(vq->ctx, desc->gpa, desc->len);
	if (hva == NULL)
		return broken(vq, "a buffer that is not RAM");
	chain->segments[count] = (struct vq_segment){hva, desc->gpa, desc->len};
	if (desc->flags & VQ_DESC_WRITE) {
		chain->writable++;
		chain->writable_bytes += desc->len;
		return 0;
	}
	if (chain->writable > 0)
		return broken(vq, "a readable buffer after a writable one");
	chain->readable++;
	chain->readable_bytes += desc->len;
	return 0;
}

/* A table of descriptors: the whole queue's, or an indirect one. */
struct table {
	const uint8_t *at;
	unsigned int count;
	bool indirect;
};

static int add_indirect(struct virtqueue *vq, struct vq_chain *chain,
			const struct descriptor *desc);

/* A split ring's chain by its next indices. steps bounds loops. */
static int follow(struct virtqueue *vq, const struct table *table,
		  unsigned int index, struct vq_chain *chain)
{
	struct descriptor desc;
	int error;

	for (unsigned int steps = 0; steps < table->count; steps++) {
		if (index >= table->count)
			return broken(vq, "a descriptor outside of its table");
		copy_descriptor(table->at + VQ_DESC_SIZE * index, false, &desc);
		if (desc.flags & VQ_DESC_INDIRECT && table->indirect)
			return broken(vq, "an indirect table in another");
		if (desc.flags & VQ_DESC_INDIRECT)
			error = desc.flags & VQ_DESC_NEXT
				    ? broken(vq, "an indirect table with next")
				    : add_indirect(vq, chain, &desc);
		else
			error = add_segment(vq, chain, &desc);
		if (error < 0 || !(desc.flags & VQ_DESC_NEXT))
			return error;
		index = desc.next;
	}
	return broken(vq, "a chain that is longer than its table");
}

/* A packed ring's indirect table is used from end to end (2.8.8). */
static int add_all(struct virtqueue *vq, const struct table *table,
		   struct vq_chain *chain)
{
	struct descriptor desc;
	int error = 0;

	for (unsigned int i = 0; i < table->count && error == 0; i++) {
		copy_descriptor(table->at + VQ_DESC_SIZE * i, true, &desc);
		if (desc.flags & VQ_DESC_INDIRECT)
			return broken(vq, "an indirect table in another");
		error = add_segment(vq, chain, &desc);
	}
	return error;
}

static int add_indirect(struct virtqueue *vq, struct vq_chain *chain,
			const struct descriptor *desc)
{
	struct table table = {
	    .count = desc->len / VQ_DESC_SIZE,
	    .indirect = true,
	};

	if (!vq->indirect_ok)
		return broken(vq, "an indirect table, not negotiated");
	if (desc->len % VQ_DESC_SIZE != 0 || table.count == 0 ||
	    table.count > VQ_SEGMENTS)
		return broken(vq, "an indirect table of impossible size");
	table.at = vm_map_gpa(vq->ctx, desc->gpa, desc->len);
	if (table.at == NULL)
		return broken(vq, "an indirect table that is not RAM");
	return vq->packed ? add_all(vq, &table, chain)
			  : follow(vq, &table, 0, chain);
}

static void chain_init(struct vq_chain *chain, uint16_t id)
{
	chain->id = id;
	chain->slots = 1;
	chain->readable = 0;
	chain->writable = 0;
	chain->readable_bytes = 0;
	chain->writable_bytes = 0;
}

/* -- split ring ------------------------------------------------------------ */

static unsigned int split_waiting(const struct virtqueue *vq)
{
	uint16_t idx = read_16(vq->driver + RING_IDX);

	return (uint16_t)(idx - vq->s.next_avail);
}

/* Nothing is there: say from where on to notify, then look again. */
static unsigned int split_rest(struct virtqueue *vq)
{
	unsigned int at = RING_FIRST + USED_ELEM_SIZE * vq->s.size;

	if (!vq->event_idx)
		return 0;
	write_16(vq->device + at, vq->s.next_avail);
	ring_written(vq, at, 2);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return split_waiting(vq);
}

static int split_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	struct table table = {vq->desc, vq->s.size, false};
	unsigned int waiting = split_waiting(vq);
	unsigned int at;
	uint16_t head;
	int error;

	if (waiting == 0)
		waiting = split_rest(vq);
	if (waiting == 0)
		return 0;
	if (waiting > vq->s.size || vq->in_flight >= vq->s.size)
		return broken(vq, "more chains than the ring has room for");
	at = vq->s.next_avail & (vq->s.size - 1u);
	head = read_16(vq->driver + RING_FIRST + AVAIL_ELEM_SIZE * at);
	chain_init(chain, head);
	error = follow(vq, &table, head, chain);
	if (error < 0)
		return error;
	vq->s.next_avail++;
	vq->in_flight++;
	return 1;
}

static void split_push(struct virtqueue *vq, const struct vq_chain *chain,
		       uint32_t written)
{
	unsigned int at =
	    RING_FIRST + USED_ELEM_SIZE * (vq->s.next_used & (vq->s.size - 1u));

	store_le32(vq->device + at, chain->id);
	store_le32(vq->device + at + 4, written);
	ring_written(vq, at, USED_ELEM_SIZE);
	vq->s.next_used++;
	write_16(vq->device + RING_IDX, vq->s.next_used);
	ring_written(vq, RING_IDX, 2);
	vq->in_flight--;
	vq->s.unsignalled++;
}

/* 2.7.10: whether event lies in what was used since the last time. */
static bool passed(uint16_t event, uint16_t now, uint16_t count)
{
	return (uint16_t)(now - event - 1) < count;
}

static bool split_wants(const struct virtqueue *vq, uint16_t count)
{
	unsigned int at = RING_FIRST + AVAIL_ELEM_SIZE * vq->s.size;

	if (vq->event_idx)
		return passed(read_16(vq->driver + at), vq->s.next_used, count);
	return !(read_16(vq->driver + RING_FLAGS) & VQ_AVAIL_NO_INTERRUPT);
}

/* -- packed ring ----------------------------------------------------------- */

static void advance(uint16_t *position, uint8_t *wrap, uint16_t size,
		    uint16_t slots)
{
	unsigned int next = *position + slots;

	if (next >= size) {
		next -= size;
		*wrap ^= 1;
	}
	*position = (uint16_t)next;
}

static bool packed_available(const struct virtqueue *vq)
{
	const uint8_t *desc = vq->desc + VQ_DESC_SIZE * vq->s.next_avail;
	uint16_t flags = read_16(desc + 14);
	bool avail = flags & VQ_DESC_AVAIL;
	bool used = flags & VQ_DESC_USED;

	return avail == vq->s.avail_wrap && used != vq->s.avail_wrap;
}

static bool packed_rest(struct virtqueue *vq)
{
	uint16_t wrap = vq->s.avail_wrap ? VQ_EVENT_WRAP : 0;

	if (!vq->event_idx)
		return false;
	write_16(vq->device + EVENT_OFF, vq->s.next_avail | wrap);
	write_16(vq->device + EVENT_FLAGS, VQ_EVENT_DESC);
	ring_written(vq, 0, EVENT_SIZE);
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return packed_available(vq);
}

/* A chain is slots one after the other; the last one has its id. */
static int packed_collect(struct virtqueue *vq, struct vq_chain *chain)
{
	struct descriptor desc;
	unsigned int at = vq->s.next_avail;
	unsigned int slots = 0;
	int error;

	do {
		if (++slots + vq->in_flight > vq->s.size)
			return broken(vq, "more slots than the ring has");
		copy_descriptor(vq->desc + VQ_DESC_SIZE * at, true, &desc);
		if (!(desc.flags & VQ_DESC_INDIRECT))
			error = add_segment(vq, chain, &desc);
		else if (slots > 1 || desc.flags & VQ_DESC_NEXT)
			error = broken(vq, "an indirect table in a chain");
		else
			error = add_indirect(vq, chain, &desc);
		if (error < 0)
			return error;
		at = at + 1u == vq->s.size ? 0 : at + 1;
	} while (desc.flags & VQ_DESC_NEXT);
	chain->id = desc.id;
	chain->slots = (uint16_t)slots;
	return 0;
}

static int packed_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	int error;

	if (!packed_available(vq) && !packed_rest(vq))
		return 0;
	chain_init(chain, 0);
	error = packed_collect(vq, chain);
	if (error < 0)
		return error;
	advance(&vq->s.next_avail, &vq->s.avail_wrap, vq->s.size, chain->slots);
	vq->in_flight += chain->slots;
	return 1;
}

static void packed_push(struct virtqueue *vq, const struct vq_chain *chain,
			uint32_t written)
{
	unsigned int at = VQ_DESC_SIZE * vq->s.next_used;
	uint16_t flags = vq->s.used_wrap ? VQ_DESC_AVAIL | VQ_DESC_USED : 0;

	if (written > 0)
		flags |= VQ_DESC_WRITE;
	store_le32(vq->desc + at + 8, written);
	store_le16(vq->desc + at + 12, chain->id);
	write_16(vq->desc + at + 14, flags);
	vm_mem_dirty(vq->ctx, vq->s.desc + at, VQ_DESC_SIZE);
	advance(&vq->s.next_used, &vq->s.used_wrap, vq->s.size, chain->slots);
	vq->in_flight -= chain->slots;
	vq->s.unsignalled = (uint16_t)(vq->s.unsignalled + chain->slots);
}

static bool packed_wants(const struct virtqueue *vq, uint16_t count)
{
	uint16_t flags = read_16(vq->driver + EVENT_FLAGS) & 3;
	uint16_t event = read_16(vq->driver + EVENT_OFF);
	bool wrap = event & VQ_EVENT_WRAP;

	if (flags != VQ_EVENT_DESC || !vq->event_idx)
		return flags != VQ_EVENT_DISABLE;
	event &= VQ_EVENT_WRAP - 1;
	/* Of the round before. */
	if (wrap != vq->s.used_wrap)
		event = (uint16_t)(event - vq->s.size);
	return passed(event, vq->s.next_used, count);
}

/* -- both ------------------------------------------------------------------ */

int vq_pop(struct virtqueue *vq, struct vq_chain *chain)
{
	if (vq->broken != NULL)
		return -EINVAL;
	if (!vq->s.enabled)
		return 0;
	return vq->packed ? packed_pop(vq, chain) : split_pop(vq, chain);
}

void vq_push(struct virtqueue *vq, const struct vq_chain *chain,
	     uint64_t written)
{
	uint32_t len = (uint32_t)MIN(written, chain->writable_bytes);

	if (vq->broken != NULL)
		return;
	if (vq->packed)
		packed_push(vq, chain, len);
	else
		split_push(vq, chain, len);
}

bool vq_wants_interrupt(struct virtqueue *vq)
{
	uint16_t count = vq->s.unsignalled;

	if (vq->broken != NULL || count == 0)
		return false;
	vq->s.unsignalled = 0;
	/* What was used is written before the driver's wish is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return vq->packed ? packed_wants(vq, count) : split_wants(vq, count);
}

/* -- a chain's bytes ------------------------------------------------------- */

struct part {
	const struct vq_segment *segments;
	unsigned int count;
};

static struct part part_of(const struct vq_chain *chain, bool writable)
{
	if (writable)
		return (struct part){chain->segments + chain->readable,
				     chain->writable};
	return (struct part){chain->segments, chain->readable};
}

/* Calls fn for each piece of [offset, offset + len) that the part has. */
static uint64_t each_piece(struct part part, uint64_t offset, uint64_t len,
			   void (*fn)(void *arg, uint8_t *hva, uint64_t gpa,
				      size_t bytes),
			   void *arg)
{
	uint64_t done = 0;

	for (unsigned int i = 0; i < part.count && done < len; i++) {
		const struct vq_segment *segment = &part.segments[i];
		uint64_t bytes;

		if (offset >= segment->len) {
			offset -= segment->len;
			continue;
		}
		bytes = MIN(segment->len - offset, len - done);
		fn(arg, segment->hva + offset, segment->gpa + offset, bytes);
		done += bytes;
		offset = 0;
	}
	return done;
}

struct copy {
	struct vmctx *ctx;
	uint8_t *to;
	const uint8_t *from;
};

static void copy_out(void *arg, uint8_t *hva, uint64_t gpa, size_t bytes)
{
	struct copy *copy = arg;

	(void)gpa;
	memcpy(copy->to, hva, bytes);
	copy->to += bytes;
}

static void copy_in(void *arg, uint8_t *hva, uint64_t gpa, size_t bytes)
{
	struct copy *copy = arg;

	memcpy(hva, copy->from, bytes);
	vm_mem_dirty(copy->ctx, gpa, bytes);
	copy->from += bytes;
}

static void mark_dirty(void *arg, uint8_t *hva, uint64_t gpa, size_t bytes)
{
	(void)hva;
	vm_mem_dirty(arg, gpa, bytes);
}

static void add_piece(void *arg, uint8_t *hva, uint64_t gpa, size_t bytes)
{
	struct iovec **next = arg;

	(void)gpa;
	*(*next)++ = (struct iovec){hva, bytes};
}

size_t vq_chain_read(const struct vq_chain *chain, uint64_t offset, void *to,
		     size_t len)
{
	struct copy copy = {.to = to};

	return each_piece(part_of(chain, false), offset, len, copy_out, &copy);
}

size_t vq_chain_write(const struct vq_chain *chain, struct vmctx *ctx,
		      uint64_t offset, const void *from, size_t len)
{
	struct copy copy = {.ctx = ctx, .from = from};

	return each_piece(part_of(chain, true), offset, len, copy_in, &copy);
}

unsigned int vq_chain_pieces(const struct vq_chain *chain, bool writable,
			     uint64_t offset, uint64_t len, struct iovec *out)
{
	struct iovec *next = out;

	each_piece(part_of(chain, writable), offset, len, add_piece, &next);
	return (unsigned int)(next - out);
}

void vq_chain_dirty(const struct vq_chain *chain, struct vmctx *ctx,
		    uint64_t offset, uint64_t len)
{
	each_piece(part_of(chain, true), offset, len, mark_dirty, ctx);
}

/* -- saved state ----------------------------------------------------------- */

static int post_load(void *object)
{
	const struct vq_state *s = object;

	return s->avail_wrap > 1 || s->used_wrap > 1 || s->enabled > 1 ? -EINVAL
								       : 0;
}

static const struct state_field fields[] = {
    STATE_SCALAR(struct vq_state, desc),
    STATE_SCALAR(struct vq_state, driver),
    STATE_SCALAR(struct vq_state, device),
    STATE_SCALAR(struct vq_state, size),
    STATE_SCALAR(struct vq_state, vector),
    STATE_SCALAR(struct vq_state, next_avail),
    STATE_SCALAR(struct vq_state, next_used),
    STATE_SCALAR(struct vq_state, unsignalled),
    STATE_SCALAR(struct vq_state, avail_wrap),
    STATE_SCALAR(struct vq_state, used_wrap),
    STATE_SCALAR(struct vq_state, enabled),
};

const struct state_class vq_state_class = {
    .name = "virtqueue",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
    .post_load = post_load,
};
