/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Virtio 1.2 devices on PCI, modern only (4.1): everything but what a device
 * does with its requests. docs/adding-a-device.md has an example.
 *
 * A device is a struct virtio_device and a private structure, which the
 * framework makes, zeroed, and frees. Its functions
 * run with the device's lock held, on a vCPU's thread or the event loop's.
 * What a backend finishes on a thread of its own comes back by
 * virtio_complete, which takes the lock itself.
 *
 * Whatever is wrong with a queue ends here: the device's status becomes
 * NEEDS_RESET, its queues are silent, and requests that are still with a
 * backend are forgotten when they come back. A reset takes effect when the
 * last of them is back; until then the guest reads a status that is not 0
 * (4.1.4.3.2), and nothing of the guest's memory is written afterwards. The
 * same goes for a reset of one queue (2.6.1).
 *
 * While the guest does not let the function be bus master, its queues rest; it
 * goes on when it may. Requests that come back meanwhile are not written back,
 * which a driver that takes bus mastering away under them learns by
 * NEEDS_RESET.
 */
#ifndef DEV_VIRTIO_H
#define DEV_VIRTIO_H

#include "dev/pci.h"
#include "dev/virtio_regs.h"
#include "dev/virtqueue.h"

#define VIRTIO_CONFIG_MAX 256u

struct virtio;

struct virtio_device {
	uint16_t type; /* VIRTIO_TYPE_* */
	uint8_t class_code;
	uint8_t subclass;
	uint16_t queues;
	uint16_t queue_size; /* the most; a power of two */
	uint64_t features;   /* of the device; more by virtio_offer */
	size_t private_size; /* of virtio_private, which is zeroed */

	/* May be NULL. node has the slot's variables. destroy only after
	   create succeeded: when it returns, no more requests come back. */
	int (*create)(struct virtio *v, struct config_node *node,
		      struct err *err);
	void (*destroy)(struct virtio *v);

	/* The driver made requests available: virtio_pop until it is false.
	   What it takes, the device completes, without waiting for more from
	   the driver. */
	void (*notify)(struct virtio *v, unsigned int queue);
	/* May be NULL: the driver wrote to the device's own configuration. */
	void (*config_written)(struct virtio *v, unsigned int offset,
			       unsigned int bytes, uint32_t value);
	/* May be NULL: all is as at the start; no request is anywhere. Before
	   create, too. */
	void (*reset)(struct virtio *v);

	/* What of the private structure is saved; NULL: nothing. */
	const struct state_class *state;
};

/* Defines a struct pci_device_ops called name, for pci_devices.c. */
#define VIRTIO_PCI_DEVICE(name, device)                                        \
	static int name##_create(struct pci_device *dev,                       \
				 struct config_node *node, struct err *err)    \
	{                                                                      \
		return virtio_pci_create(dev, &(device), node, err);           \
	}                                                                      \
	const struct pci_device_ops name = {                                   \
	    .create = name##_create,                                           \
	    .destroy = virtio_pci_destroy,                                     \
	    .bar_read = virtio_pci_bar_read,                                   \
	    .bar_write = virtio_pci_bar_write,                                 \
	    .config_reading = virtio_pci_config_reading,                       \
	    .config_written = virtio_pci_config_written,                       \
	    .pause = virtio_pci_pause,                                         \
	    .resume = virtio_pci_resume,                                       \
	    .save = virtio_pci_save,                                           \
	    .load = virtio_pci_load,                                           \
	}

/* -- what a device may call ------------------------------------------------ */

const char *virtio_name(const struct virtio *v);
struct board *virtio_board(struct virtio *v);
void *virtio_private(const struct virtio *v);

/* In create. */
void virtio_offer(struct virtio *v, uint64_t features);
/* The device's own configuration, little endian. In create; later with the
   lock held, and then virtio_config_changed tells the driver. */
void virtio_set_config(struct virtio *v, unsigned int offset, const void *from,
		       unsigned int bytes);
void virtio_config_changed(struct virtio *v);

/* With the lock held. */
bool virtio_has(const struct virtio *v, uint64_t feature); /* negotiated */
/* The next request; false: none. */
bool virtio_pop(struct virtio *v, unsigned int queue, struct vq_chain *chain);
/* Gives it back; virtio_interrupt after the last of several. */
void virtio_push(struct virtio *v, unsigned int queue,
		 const struct vq_chain *chain, uint64_t written);
void virtio_interrupt(struct virtio *v, unsigned int queue);
/* The request makes no sense: NEEDS_RESET. The chain is still to be pushed. */
void virtio_fail(struct virtio *v, unsigned int queue, const char *why);

/* For backends' threads, without the lock: push and interrupt. after, which
   may be NULL, runs under the lock. */
void virtio_complete(struct virtio *v, unsigned int queue,
		     const struct vq_chain *chain, uint64_t written,
		     void (*after)(void *arg), void *arg);

/* A chain's bytes, as vq_chain_read and vq_chain_write. */
size_t virtio_read(struct virtio *v, const struct vq_chain *chain,
		   uint64_t offset, void *to, size_t len);
size_t virtio_write(struct virtio *v, const struct vq_chain *chain,
		    uint64_t offset, const void *from, size_t len);

/* -- for VIRTIO_PCI_DEVICE ------------------------------------------------- */

int virtio_pci_create(struct pci_device *dev,
		      const struct virtio_device *device,
		      struct config_node *node, struct err *err);
void virtio_pci_destroy(struct pci_device *dev);
uint64_t virtio_pci_bar_read(struct pci_device *dev, unsigned int bar,
			     uint64_t offset, unsigned int bytes);
void virtio_pci_bar_write(struct pci_device *dev, unsigned int bar,
			  uint64_t offset, unsigned int bytes, uint64_t value);
void virtio_pci_config_reading(struct pci_device *dev, unsigned int offset,
			       unsigned int bytes);
void virtio_pci_config_written(struct pci_device *dev, unsigned int offset,
			       unsigned int bytes);
void virtio_pci_pause(struct pci_device *dev);
void virtio_pci_resume(struct pci_device *dev);
int virtio_pci_save(struct pci_device *dev, struct state_writer *writer);
int virtio_pci_load(struct pci_device *dev, struct state_reader *reader,
		    struct err *err);

#endif
