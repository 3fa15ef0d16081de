// SPDX-License-Identifier: BSD-2-Clause
/*
 * Virtqueues over memory that the input fills, and goes on changing while
 * chains are taken and given back. Whatever stands there, a chain is inside
 * of RAM, and what is broken stays so.
 */
#include "input.h"

#include <stdlib.h>

#include "base/bytes.h"
#include "dev/virtio_regs.h"
#include "dev/virtqueue.h"
#include "fake_vm.h"

#define RAM_SIZE   (32 * KiB)
#define DESC_AT    0x1000u
#define DRIVER_AT  0x2000u
#define DEVICE_AT  0x3000u
#define TABLE_AT   0x4000u
#define HELD       8u
#define OPERATIONS 512

struct world {
	struct vmctx vm;
	struct virtqueue vq;
	struct vq_chain chains[HELD];
	unsigned int held;
	bool broken;
};

static void must(bool truth)
{
	if (!truth)
		abort();
}

static void check_chain(const struct world *w, const struct vq_chain *chain)
{
	uint64_t sums[2] = {0};

	must(chain->readable + chain->writable <= VQ_SEGMENTS);
	for (unsigned int i = 0; i < chain->readable + chain->writable; i++) {
		const struct vq_segment *s = &chain->segments[i];

		must(s->len > 0 && range_inside(s->gpa, s->len, RAM_SIZE));
		must(s->hva == w->vm.ram + s->gpa);
		sums[i >= chain->readable] += s->len;
	}
	must(sums[0] == chain->readable_bytes);
	must(sums[1] == chain->writable_bytes);
}

/* Reads it, writes it, and cuts it into pieces, at odd places. */
static void use_chain(struct world *w, const struct vq_chain *chain,
		      struct input *input)
{
	uint64_t offset = take_16(input);
	struct iovec iov[VQ_SEGMENTS];
	uint8_t bytes[300];
	size_t done;

	done = vq_chain_read(chain, offset, bytes, sizeof(bytes));
	must(done ==
	     (offset >= chain->readable_bytes
		  ? 0
		  : MIN(sizeof(bytes), chain->readable_bytes - offset)));
	take_bytes(input, bytes, 16);
	done = vq_chain_write(chain, &w->vm, offset, bytes, sizeof(bytes));
	must(done ==
	     (offset >= chain->writable_bytes
		  ? 0
		  : MIN(sizeof(bytes), chain->writable_bytes - offset)));
	must(vq_chain_pieces(chain, true, offset, UINT64_MAX, iov) <=
	     chain->writable);
	vq_chain_dirty(chain, &w->vm, offset, UINT64_MAX);
}

static void pop(struct world *w, struct input *input)
{
	int got;

	if (w->held == HELD)
		return;
	got = vq_pop(&w->vq, &w->chains[w->held]);
	must(!w->broken || got < 0);
	must((got < 0) == (w->vq.broken != NULL));
	w->broken = got < 0;
	if (got <= 0)
		return;
	check_chain(w, &w->chains[w->held]);
	use_chain(w, &w->chains[w->held], input);
	w->held++;
}

static void push(struct world *w, struct input *input)
{
	unsigned int which = take_8(input) % HELD;

	if (which >= w->held)
		return;
	vq_push(&w->vq, &w->chains[which], take_32(input));
	w->chains[which] = w->chains[--w->held];
}

static void scribble(struct world *w, struct input *input)
{
	uint16_t at = take_16(input) % (RAM_SIZE - 64);

	take_bytes(input, w->vm.ram + at, take_8(input) % 64);
}

/* A descriptor that has a meaning, and the next one available. */
static void make_available(struct world *w, struct input *input)
{
	struct vq_state *s = &w->vq.s;
	uint8_t *table = w->vm.ram + (take_8(input) & 1 ? TABLE_AT : DESC_AT);
	uint8_t *desc = table + 16 * (take_8(input) % 64);
	uint16_t flags = take_16(input);
	uint8_t *idx = w->vm.ram + DRIVER_AT + 2;

	store_le64(desc, take_8(input) & 3 ? take_16(input) : TABLE_AT);
	store_le32(desc + 8, take_16(input));
	store_le16(desc + (w->vq.packed ? 12 : 14), take_8(input) % 64);
	store_le16(desc + (w->vq.packed ? 14 : 12), flags);
	if (w->vq.packed || s->size == 0)
		return;
	store_le16(w->vm.ram + DRIVER_AT + 4 +
		       2 * (load_le16(idx) % MIN(s->size, 256)),
		   take_8(input) % 64);
	store_le16(idx, (uint16_t)(load_le16(idx) + 1));
}

static void operate(struct world *w, struct input *input)
{
	switch (take_8(input) % 6) {
	case 0:
	case 1:
		pop(w, input);
		break;
	case 2:
		push(w, input);
		break;
	case 3:
		(void)vq_wants_interrupt(&w->vq);
		break;
	case 4:
		scribble(w, input);
		break;
	default:
		make_available(w, input);
		break;
	}
}

static void set_up(struct world *w, struct input *input)
{
	static const uint64_t bits[] = {
	    VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC};
	uint8_t what = take_8(input);
	uint64_t features = VIRTIO_F_VERSION_1;

	for (size_t i = 0; i < ARRAY_SIZE(bits); i++)
		features |= what & 1u << i ? bits[i] : 0;
	vq_reset(&w->vq, 0, 256);
	w->vq.s.size = what & 8 ? take_16(input) : 1u << (what >> 5);
	w->vq.s.desc = what & 16 ? take_64(input) : DESC_AT;
	w->vq.s.driver = what & 16 ? take_16(input) : DRIVER_AT;
	w->vq.s.device = what & 16 ? take_16(input) : DEVICE_AT;
	if (what & 16) {
		w->vq.s.next_avail = take_16(input);
		w->vq.s.next_used = take_16(input);
	}
	w->broken = vq_enable(&w->vq, &w->vm, features) < 0;
	must(w->broken == (w->vq.broken != NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct world *w = calloc(1, sizeof(*w));

	must(w != NULL);
	w->vm.ram = aligned_alloc(4096, RAM_SIZE);
	must(w->vm.ram != NULL);
	memset(w->vm.ram, 0, RAM_SIZE);
	w->vm.ram_size = RAM_SIZE;
	set_up(w, &input);
	for (int i = 0; i < OPERATIONS && input.left > 0; i++)
		operate(w, &input);
	must(w->vm.wrong == 0);
	free(w->vm.ram);
	free(w);
	return 0;
}
