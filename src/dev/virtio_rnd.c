// SPDX-License-Identifier: BSD-2-Clause
/* virtio-rnd: random bytes of the host (virtio 1.2, 5.4). */
#include <sys/random.h>

#include "dev/virtio.h"

/* A request may ask for 4 GiB; it gets so much. */
#define BYTES_MAX (64 * KiB)

struct rnd {
	struct vq_chain chain; /* the request at hand */
};

static uint64_t fill(struct virtio *v, const struct vq_chain *chain)
{
	uint64_t wanted = MIN(chain->writable_bytes, BYTES_MAX);
	uint64_t done = 0;

	while (done < wanted) {
		uint8_t bytes[256];
		ssize_t got = getrandom(bytes, sizeof(bytes), 0);

		if (got <= 0)
			break;
		done += virtio_write(v, chain, done, bytes,
				     MIN((uint64_t)got, wanted - done));
	}
	return done;
}

static void notify(struct virtio *v, unsigned int queue)
{
	struct rnd *rnd = virtio_private(v);

	while (virtio_pop(v, queue, &rnd->chain))
		virtio_push(v, queue, &rnd->chain, fill(v, &rnd->chain));
	virtio_interrupt(v, queue);
}

static const struct virtio_device device = {
    .type = VIRTIO_TYPE_ENTROPY,
    .class_code = 0x10, /* encryption, as bhyve has it */
    .queues = 1,
    .queue_size = 64,
    .private_size = sizeof(struct rnd),
    .notify = notify,
};

VIRTIO_PCI_DEVICE(virtio_rnd_ops, device);
