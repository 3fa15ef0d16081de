/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A virtio device for tests, "echo" in the configuration: it copies what it
 * reads of a request to where it may write. While it holds requests it is a
 * backend that takes its time.
 */
#ifndef VIRTIO_ECHO_H
#define VIRTIO_ECHO_H

#include "dev/virtio.h"

#define ECHO_QUEUES     2u
#define ECHO_QUEUE_SIZE 64u
#define ECHO_HELD_MAX   128u

struct held {
	unsigned int queue;
	struct vq_chain chain;
};

struct echo {
	struct virtio *v;
	bool hold;          /* requests wait for echo_release */
	unsigned int count; /* of those that wait */
	unsigned int popped;
	unsigned int resets;
	uint32_t config_value;
	uint32_t saved; /* its state */
	struct held *held;
	struct vq_chain chain;
};

/* The device in slot of bus 0. */
struct echo *echo_of(struct machine *m, unsigned int slot);
/* Completes the oldest request that waits, as a backend's thread would. */
void echo_release(struct echo *echo);

#endif
