/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtqueue of virtio 1.2, split (2.7) or packed (2.8): chains of buffers
 * that the driver makes available, and gets back used.
 *
 * The rings are memory of a guest that may write there at any time. So each
 * descriptor is copied before it is looked at, every count has a bound, and
 * a buffer is a device's only once all of it is known to be RAM. What a sane
 * driver cannot have written breaks the queue: vq_pop returns -EINVAL, now
 * and from then on, and vq->broken says why.
 *
 * There is no lock here. A device's one lock (virtio.h) is held for all
 * functions of a queue; the contents of a popped chain need none.
 */
#ifndef DEV_VIRTQUEUE_H
#define DEV_VIRTQUEUE_H

#include <sys/uio.h>
#include <vmmapi.h>

#include "base/err.h"
#include "base/state.h"

#define VQ_SIZE_MAX  32768u
/* Buffers in one chain; a longer one breaks the queue. */
#define VQ_SEGMENTS  256u
/* Bytes in one chain (2.7.5.2, 2.8.5). */
#define VQ_BYTES_MAX (4 * GiB)

/* A buffer, all of it RAM: RAM stays mapped as long as there is a VM. */
struct vq_segment {
	uint8_t *hva;
	uint64_t gpa;
	uint32_t len;
};

/* A request: buffers that the device reads, then buffers that it writes. */
struct vq_chain {
	uint16_t id;
	uint16_t slots; /* of a packed ring */
	unsigned int readable;
	unsigned int writable;
	uint64_t readable_bytes;
	uint64_t writable_bytes;
	struct vq_segment segments[VQ_SEGMENTS]; /* readable ones first */
};

/* What the guest sees of a queue, as it is saved. */
struct vq_state {
	uint64_t desc;   /* gpa: table, or ring of descriptors */
	uint64_t driver; /* gpa: available ring, or driver's events */
	uint64_t device; /* gpa: used ring, or device's events */
	uint16_t size;
	uint16_t vector; /* of MSI-X */
	uint16_t next_avail;
	uint16_t next_used;
	uint16_t unsignalled; /* used since the last interrupt decision */
	uint8_t avail_wrap;   /* packed: 1 at the start */
	uint8_t used_wrap;
	uint8_t enabled;
};

struct virtqueue {
	struct vmctx *ctx;
	unsigned int index;
	uint16_t size_max;
	bool packed;
	bool event_idx;
	bool indirect_ok;
	struct vq_state s;
	unsigned int in_flight; /* chains, or slots of a packed ring */
	const char *broken;     /* why; NULL while it is not */

	/* Of the enabled queue. */
	uint8_t *desc;
	uint8_t *driver;
	uint8_t *device;
};

/* As after a reset. */
void vq_reset(struct virtqueue *vq, unsigned int index, uint16_t size_max);
/* Size and addresses are set: 0, or -EINVAL and broken is set. Also after a
   load, when the positions are set too. */
int vq_enable(struct virtqueue *vq, struct vmctx *ctx, uint64_t features);

/* 1 and a chain; 0: there is none, and the driver will notify when there is;
   -EINVAL: broken. */
int vq_pop(struct virtqueue *vq, struct vq_chain *chain);
/* Gives a chain back, with the bytes that were written to it. */
void vq_push(struct virtqueue *vq, const struct vq_chain *chain,
	     uint64_t written);
/* Whether the driver wants an interrupt for what was pushed since the last
   question. */
bool vq_wants_interrupt(struct virtqueue *vq);

/* -- a chain's bytes ------------------------------------------------------- */

/* Up to len bytes from offset on, of what the device reads, or writes; fewer
   when the chain ends before. Writing passes the write gate. */
size_t vq_chain_read(const struct vq_chain *chain, uint64_t offset, void *to,
		     size_t len);
size_t vq_chain_write(const struct vq_chain *chain, struct vmctx *ctx,
		      uint64_t offset, const void *from, size_t len);
/* The pieces of [offset, offset + len) of the writable or readable part, which
   has that many bytes. Returns their number, at most VQ_SEGMENTS. */
unsigned int vq_chain_pieces(const struct vq_chain *chain, bool writable,
			     uint64_t offset, uint64_t len, struct iovec *out);
/* After writing to those pieces by their addresses. */
void vq_chain_dirty(const struct vq_chain *chain, struct vmctx *ctx,
		    uint64_t offset, uint64_t len);

extern const struct state_class vq_state_class;

#endif
