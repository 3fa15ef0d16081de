// SPDX-License-Identifier: BSD-2-Clause
/* Virtio devices: life, status, queues, saved state. virtio_pci.c has their
   registers. */
#include "dev/virtio.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "dev/virtio_priv.h"

/* Lines on stderr about one device's driver; a hostile one has no more. */
#define COMPLAINTS_MAX 8

/* -- what a device may call ------------------------------------------------ */

const char *virtio_name(const struct virtio *v)
{
	return pci_name(v->pci);
}

struct board *virtio_board(struct virtio *v)
{
	return v->board;
}

void *virtio_private(const struct virtio *v)
{
	return v->private_data;
}

void virtio_offer(struct virtio *v, uint64_t features)
{
	v->offered |= features;
}

bool virtio_has(const struct virtio *v, uint64_t feature)
{
	return (v->s.features & feature) == feature;
}

void virtio_set_config(struct virtio *v, unsigned int offset, const void *from,
		       unsigned int bytes)
{
	if (!range_inside(offset, bytes, sizeof(v->config)))
		return;
	memcpy(v->config + offset, from, bytes);
	v->config_size = MAX(v->config_size, offset + bytes);
}

size_t virtio_read(struct virtio *v, const struct vq_chain *chain,
		   uint64_t offset, void *to, size_t len)
{
	(void)v;
	return vq_chain_read(chain, offset, to, len);
}

size_t virtio_write(struct virtio *v, const struct vq_chain *chain,
		    uint64_t offset, const void *from, size_t len)
{
	/* Begun as bus master, and no more: as if it had been written. */
	if (!pci_is_master(v->pci))
		return offset < chain->writable_bytes
			   ? MIN(len, chain->writable_bytes - offset)
			   : 0;
	return vq_chain_write(chain, v->board->ctx, offset, from, len);
}

/* -- interrupts ------------------------------------------------------------ */

static void interrupt(struct virtio *v, uint8_t cause, uint16_t vector)
{
	if (pci_msix_enabled(v->pci)) {
		if (vector != VIRTIO_NO_VECTOR)
			pci_msix_send(v->pci, vector);
		return;
	}
	v->s.isr |= cause;
	pci_intx_set(v->pci, true);
}

uint8_t virtio_take_isr(struct virtio *v)
{
	uint8_t isr = v->s.isr;

	v->s.isr = 0;
	pci_intx_set(v->pci, false);
	return isr;
}

void virtio_config_changed(struct virtio *v)
{
	v->s.generation++;
	if (v->s.status & VIRTIO_DRIVER_OK && !v->resetting)
		interrupt(v, VIRTIO_ISR_CONFIG, v->s.config_vector);
}

/* Of a queue with requests, or that had some. */
static bool may_use_rings(const struct virtio *v, unsigned int queue)
{
	return !v->resetting && !v->use[queue].resetting &&
	       !(v->s.status & VIRTIO_NEEDS_RESET) && pci_is_master(v->pci);
}

void virtio_interrupt(struct virtio *v, unsigned int queue)
{
	struct virtqueue *vq = &v->queues[queue];

	if (!may_use_rings(v, queue))
		return;
	if (vq_wants_interrupt(vq))
		interrupt(v, VIRTIO_ISR_QUEUE, vq->s.vector);
}

/* -- status (2.1, 3.1) ------------------------------------------------------
 */

static void reset_queue_now(struct virtio *v, unsigned int queue)
{
	v->use[queue].resetting = false;
	vq_reset(&v->queues[queue], queue, v->device->queue_size);
}

static void reset_now(struct virtio *v)
{
	uint8_t generation = v->s.generation;

	v->resetting = false;
	v->again = false;
	(void)virtio_take_isr(v);
	v->s = (struct virtio_state){
	    .config_vector = VIRTIO_NO_VECTOR,
	    .queues = v->device->queues,
	    .generation = generation,
	};
	for (unsigned int i = 0; i < v->device->queues; i++)
		reset_queue_now(v, i);
	if (v->device->reset != NULL)
		v->device->reset(v);
}

static bool features_are_fine(const struct virtio *v)
{
	return (v->s.features & ~v->offered) == 0 &&
	       v->s.features & VIRTIO_F_VERSION_1;
}

void virtio_set_status(struct virtio *v, uint8_t value)
{
	uint8_t added = value & (uint8_t) ~(v->s.status | VIRTIO_NEEDS_RESET);

	if (value == 0) {
		v->resetting = v->in_flight > 0;
		if (!v->resetting)
			reset_now(v);
		return;
	}
	if (added & VIRTIO_FEATURES_OK && !features_are_fine(v))
		added &= (uint8_t)~VIRTIO_FEATURES_OK;
	if (!((v->s.status | added) & VIRTIO_FEATURES_OK))
		added &= (uint8_t)~VIRTIO_DRIVER_OK;
	v->s.status |= added;
}

void virtio_break(struct virtio *v, unsigned int queue, const char *why)
{
	if (v->s.status & VIRTIO_NEEDS_RESET)
		return;
	if (v->complaints++ < COMPLAINTS_MAX)
		fprintf(stderr, "%s: queue %u: %s; the driver must reset it\n",
			virtio_name(v), queue, why);
	v->s.status |= VIRTIO_NEEDS_RESET;
	virtio_config_changed(v);
}

void virtio_fail(struct virtio *v, unsigned int queue, const char *why)
{
	virtio_break(v, queue, why);
}

/* -- queues ---------------------------------------------------------------- */

static bool is_live(const struct virtio *v)
{
	return v->s.status & VIRTIO_DRIVER_OK && !v->resetting && !v->paused &&
	       !(v->s.status & VIRTIO_NEEDS_RESET) && pci_is_master(v->pci);
}

static bool is_queue_live(const struct virtio *v, unsigned int queue)
{
	return is_live(v) && v->queues[queue].s.enabled &&
	       !v->use[queue].resetting;
}

void virtio_enable_queue(struct virtio *v, struct virtqueue *vq)
{
	if (vq_enable(vq, v->board->ctx, v->s.features) < 0)
		virtio_break(v, vq->index, vq->broken);
}

/* Its requests are waited for, and forgotten, as upon a reset of all. */
void virtio_reset_queue(struct virtio *v, struct virtqueue *vq)
{
	v->use[vq->index].resetting = true;
	if (v->use[vq->index].in_flight == 0)
		reset_queue_now(v, vq->index);
}

/* Asks the event loop to go on. */
static void later(struct virtio *v)
{
	const uint64_t one = 1;

	if (v->again)
		return;
	v->again = true;
	/* Only a full counter could refuse, and that wakes too. */
	if (write(v->wake_fd, &one, sizeof(one)) < 0)
		return;
}

/*
 * One visit takes at most as many requests as the ring has room for. A driver
 * on another CPU could refill it for ever, and the vCPU that notified would
 * never be back; so the event loop goes on, fair to its other work.
 */
static void visit(struct virtio *v, unsigned int queue)
{
	v->use[queue].budget = v->queues[queue].s.size;
	v->device->notify(v, queue);
}

void virtio_notify(struct virtio *v, unsigned int queue)
{
	if (queue < v->device->queues && is_queue_live(v, queue))
		visit(v, queue);
}

static void visit_all(struct virtio *v)
{
	v->again = false;
	for (unsigned int i = 0; i < v->device->queues; i++)
		virtio_notify(v, i);
}

static void on_wake(void *arg, uint32_t events)
{
	struct virtio *v = arg;
	uint64_t count;

	(void)events;
	if (read(v->wake_fd, &count, sizeof(count)) < 0)
		return;
	pthread_mutex_lock(&v->lock);
	if (v->again)
		visit_all(v);
	pthread_mutex_unlock(&v->lock);
}

/* A driver that notified before has what it asked for now. */
void virtio_command_written(struct virtio *v)
{
	pthread_mutex_lock(&v->lock);
	if (is_live(v))
		later(v);
	pthread_mutex_unlock(&v->lock);
}

bool virtio_pop(struct virtio *v, unsigned int queue, struct vq_chain *chain)
{
	struct virtqueue *vq = &v->queues[queue];
	struct queue_use *use = &v->use[queue];
	int got;

	if (!is_queue_live(v, queue))
		return false;
	if (use->budget == 0) {
		later(v);
		return false;
	}
	got = vq_pop(vq, chain);
	if (got < 0)
		virtio_break(v, queue, vq->broken);
	if (got <= 0)
		return false;
	use->budget--;
	use->in_flight++;
	v->in_flight++;
	return true;
}

void virtio_push(struct virtio *v, unsigned int queue,
		 const struct vq_chain *chain, uint64_t written)
{
	struct queue_use *use = &v->use[queue];

	if (may_use_rings(v, queue))
		vq_push(&v->queues[queue], chain, written);
	else if (!v->resetting && !use->resetting)
		virtio_break(v, queue, "no bus master when a request was done");
	if (--use->in_flight == 0 && use->resetting)
		reset_queue_now(v, queue);
	if (--v->in_flight > 0)
		return;
	if (v->resetting)
		reset_now(v);
	pthread_cond_broadcast(&v->idle);
}

void virtio_complete(struct virtio *v, unsigned int queue,
		     const struct vq_chain *chain, uint64_t written,
		     void (*after)(void *arg), void *arg)
{
	pthread_mutex_lock(&v->lock);
	virtio_push(v, queue, chain, written);
	virtio_interrupt(v, queue);
	if (after != NULL)
		after(arg);
	pthread_mutex_unlock(&v->lock);
}

/* -- life ------------------------------------------------------------------ */

static void free_virtio(struct virtio *v)
{
	loop_remove(v->wake);
	if (v->wake_fd >= 0)
		close(v->wake_fd);
	pthread_cond_destroy(&v->idle);
	pthread_mutex_destroy(&v->lock);
	free(v->queues);
	free(v->use);
	free(v->private_data);
	free(v);
}

static struct virtio *new_virtio(struct pci_device *dev,
				 const struct virtio_device *device)
{
	struct virtio *v = calloc(1, sizeof(*v));

	if (v == NULL)
		return NULL;
	pthread_mutex_init(&v->lock, NULL);
	pthread_cond_init(&v->idle, NULL);
	v->pci = dev;
	v->board = pci_board(dev);
	v->device = device;
	v->offered = device->features | VIRTIO_F_VERSION_1 |
		     VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX |
		     VIRTIO_F_NOTIFICATION_DATA | VIRTIO_F_RING_RESET;
	v->queues = calloc(device->queues, sizeof(*v->queues));
	v->use = calloc(device->queues, sizeof(*v->use));
	v->private_data = calloc(1, device->private_size);
	v->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (v->wake_fd >= 0)
		v->wake =
		    loop_add(v->board->loop, v->wake_fd, EPOLLIN, on_wake, v);
	if (v->queues == NULL || v->use == NULL || v->private_data == NULL ||
	    v->wake == NULL) {
		free_virtio(v);
		return NULL;
	}
	return v;
}

/* The packed format is offered unless the slot's variable says packed=false. */
static int offer_packed(struct virtio *v, struct config_node *node,
			struct err *err)
{
	bool packed;
	int error = config_get_bool_in(node, "packed", true, &packed, err);

	if (error == 0 && packed)
		v->offered |= VIRTIO_F_RING_PACKED;
	return error;
}

int virtio_pci_create(struct pci_device *dev,
		      const struct virtio_device *device,
		      struct config_node *node, struct err *err)
{
	struct virtio *v = new_virtio(dev, device);
	int error;

	if (v == NULL)
		return err_sys(err, ENOMEM, "virtio");
	reset_now(v);
	error = offer_packed(v, node, err);
	if (error == 0)
		error = virtio_pci_describe(v, node, err);
	if (error == 0 && device->create != NULL)
		error = device->create(v, node, err);
	if (error < 0) {
		free_virtio(v);
		return error;
	}
	pci_set_private(dev, v);
	return 0;
}

void virtio_pci_destroy(struct pci_device *dev)
{
	struct virtio *v = pci_private(dev);

	if (v->device->destroy != NULL)
		v->device->destroy(v);
	free_virtio(v);
}

/* -- saved state ----------------------------------------------------------- */

static const struct state_field fields[] = {
    STATE_SCALAR(struct virtio_state, features),
    STATE_SCALAR(struct virtio_state, device_feature_select),
    STATE_SCALAR(struct virtio_state, driver_feature_select),
    STATE_SCALAR(struct virtio_state, config_vector),
    STATE_SCALAR(struct virtio_state, queue_select),
    STATE_SCALAR(struct virtio_state, queues),
    STATE_SCALAR(struct virtio_state, status),
    STATE_SCALAR(struct virtio_state, generation),
    STATE_SCALAR(struct virtio_state, isr),
};

static const struct state_class virtio_class = {
    .name = "virtio",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
};

static int save_locked(struct virtio *v, struct state_writer *writer)
{
	int error = state_save(&virtio_class, v->device->type, &v->s, writer);

	for (unsigned int i = 0; i < v->device->queues && error == 0; i++)
		error = state_save(&vq_state_class, i, &v->queues[i].s, writer);
	if (error == 0 && v->device->state != NULL)
		error =
		    state_save(v->device->state, 0, v->private_data, writer);
	return error;
}

void virtio_pci_pause(struct pci_device *dev)
{
	struct virtio *v = pci_private(dev);

	pthread_mutex_lock(&v->lock);
	v->paused = true;
	while (v->in_flight > 0)
		pthread_cond_wait(&v->idle, &v->lock);
	pthread_mutex_unlock(&v->lock);
}

/* The event loop looks for what was available when it was paused or saved:
   the driver has notified of it, and will not again. */
void virtio_pci_resume(struct pci_device *dev)
{
	struct virtio *v = pci_private(dev);

	pthread_mutex_lock(&v->lock);
	v->paused = false;
	later(v);
	pthread_mutex_unlock(&v->lock);
}

int virtio_pci_save(struct pci_device *dev, struct state_writer *writer)
{
	struct virtio *v = pci_private(dev);
	int error;

	pthread_mutex_lock(&v->lock);
	error = save_locked(v, writer);
	pthread_mutex_unlock(&v->lock);
	return error;
}

static bool vector_is_sane(const struct virtio *v, uint16_t vector)
{
	return vector == VIRTIO_NO_VECTOR || vector <= v->device->queues;
}

static bool state_is_sane(const struct virtio *v, const struct virtio_state *s)
{
	if (s->queues != v->device->queues || s->isr > 3 ||
	    !vector_is_sane(v, s->config_vector))
		return false;
	if (s->status & VIRTIO_DRIVER_OK && !(s->status & VIRTIO_FEATURES_OK))
		return false;
	return !(s->status & VIRTIO_FEATURES_OK) ||
	       (s->features & ~v->offered) == 0;
}

static int load_queue(struct virtio *v, unsigned int i,
		      struct state_reader *reader, struct err *err)
{
	struct virtqueue *vq = &v->queues[i];
	struct vq_state s;
	int error = state_load(&vq_state_class, i, &s, reader, err);

	if (error < 0)
		return error;
	if (!vector_is_sane(v, s.vector))
		return err_set(err, EINVAL,
			       "saved state of %s has no vector %u",
			       virtio_name(v), s.vector);
	vq_reset(vq, i, v->device->queue_size);
	vq->s = s;
	vq->s.enabled = 0;
	if (s.enabled)
		error = vq_enable(vq, v->board->ctx, v->s.features);
	/* A broken queue is saved as what the driver made it. */
	if (error < 0 && !(v->s.status & VIRTIO_NEEDS_RESET))
		return err_set(err, EINVAL, "saved state of %s, queue %u: %s",
			       virtio_name(v), i, vq->broken);
	return 0;
}

static int load_locked(struct virtio *v, struct state_reader *reader,
		       struct err *err)
{
	struct virtio_state s;
	int error = state_load(&virtio_class, v->device->type, &s, reader, err);

	if (error < 0)
		return error;
	if (!state_is_sane(v, &s))
		return err_set(err, EINVAL,
			       "saved state of %s is not one it can have",
			       virtio_name(v));
	reset_now(v);
	v->s = s;
	pci_intx_set(v->pci, s.isr != 0);
	for (unsigned int i = 0; i < v->device->queues && error == 0; i++)
		error = load_queue(v, i, reader, err);
	if (error == 0 && v->device->state != NULL)
		error = state_load(v->device->state, 0, v->private_data, reader,
				   err);
	return error;
}

int virtio_pci_load(struct pci_device *dev, struct state_reader *reader,
		    struct err *err)
{
	struct virtio *v = pci_private(dev);
	int error;

	pthread_mutex_lock(&v->lock);
	error = load_locked(v, reader, err);
	if (error < 0)
		reset_now(v);
	pthread_mutex_unlock(&v->lock);
	return error;
}
