/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside virtio: the structure of virtio.c and virtio_pci.c. */
#ifndef DEV_VIRTIO_PRIV_H
#define DEV_VIRTIO_PRIV_H

#include <pthread.h>

#include "backend/loop.h"
#include "dev/virtio.h"

/* What is saved, beside the queues'. */
struct virtio_state {
	uint64_t features; /* the driver's */
	uint32_t device_feature_select;
	uint32_t driver_feature_select;
	uint16_t config_vector;
	uint16_t queue_select;
	uint16_t queues;
	uint8_t status;
	uint8_t generation;
	uint8_t isr;
};

/* What a queue is at, beside its rings. */
struct queue_use {
	unsigned int budget;    /* requests it may take at once */
	unsigned int in_flight; /* requests */
	bool resetting;         /* once they are back (2.6.1) */
};

struct virtio {
	struct pci_device *pci;
	struct board *board;
	const struct virtio_device *device;
	void *private_data;
	uint64_t offered;
	unsigned int config_size;
	unsigned int pci_cap; /* offset of the capability of 4.1.4.9 */
	int wake_fd;
	struct loop_source *wake;

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t idle;  /* in_flight became 0 */
	struct virtio_state s;
	uint8_t config[VIRTIO_CONFIG_MAX];
	struct virtqueue *queues;
	struct queue_use *use;  /* of each */
	unsigned int in_flight; /* requests, of all queues */
	bool resetting;
	bool again;  /* the event loop goes on with the queues */
	bool paused; /* the queues wait for resume */
	unsigned int complaints;
};

/* virtio_pci.c, in create. */
int virtio_pci_describe(struct virtio *v, struct config_node *node,
			struct err *err);

/* virtio.c, with the lock held. */
void virtio_set_status(struct virtio *v, uint8_t value);
void virtio_enable_queue(struct virtio *v, struct virtqueue *vq);
void virtio_reset_queue(struct virtio *v, struct virtqueue *vq);
void virtio_break(struct virtio *v, unsigned int queue, const char *why);
void virtio_notify(struct virtio *v, unsigned int queue);
uint8_t virtio_take_isr(struct virtio *v);

/* Without it: the guest may have made the device bus master. */
void virtio_command_written(struct virtio *v);

#endif
