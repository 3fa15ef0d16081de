// SPDX-License-Identifier: BSD-2-Clause
/*
 * Virtio over PCI (virtio 1.2, 4.1): capabilities, and the registers that they
 * point to, all in one BAR.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "dev/virtio_priv.h"

#define MSIX_BAR 1
#define REGS_BAR 2

/* Parts of the BAR, a page each. */
#define COMMON_AT         0x0000u
#define ISR_AT            0x1000u
#define DEVICE_AT         0x2000u
#define NOTIFY_AT         0x3000u
#define PART_SIZE         0x1000u
#define REGS_SIZE         0x4000u
#define NOTIFY_MULTIPLIER 4u

/* struct virtio_pci_cap. */
#define CAP_LEN    2
#define CAP_TYPE   3
#define CAP_BAR    4
#define CAP_OFFSET 8
#define CAP_LENGTH 12
#define CAP_SIZE   16u
#define CAP_DATA   16 /* PCI access: data; notify: multiplier */

/* -- description ----------------------------------------------------------- */

static int add_cap(struct virtio *v, uint8_t type, uint32_t offset,
		   uint32_t length, unsigned int extra, struct err *err)
{
	unsigned int size = CAP_SIZE + extra;
	int at = pci_add_capability(v->pci, PCI_CAP_VENDOR, size);
	unsigned int cap = (unsigned int)at;

	if (at < 0)
		return err_set(err, ENOSPC, "no room for its capabilities");
	pci_cfg_set(v->pci, cap + CAP_LEN, 1, size);
	pci_cfg_set(v->pci, cap + CAP_TYPE, 1, type);
	pci_cfg_set(v->pci, cap + CAP_BAR, 1, REGS_BAR);
	pci_cfg_set(v->pci, cap + CAP_OFFSET, 4, offset);
	pci_cfg_set(v->pci, cap + CAP_LENGTH, 4, length);
	return at;
}

static int add_caps(struct virtio *v, struct err *err)
{
	uint32_t notify = NOTIFY_MULTIPLIER * v->device->queues;
	int at = add_cap(v, VIRTIO_CAP_COMMON, COMMON_AT, VIRTIO_COMMON_SIZE, 0,
			 err);

	if (at >= 0)
		at = add_cap(v, VIRTIO_CAP_ISR, ISR_AT, 1, 0, err);
	/* Without a configuration of its own a device may still have one. */
	if (at >= 0)
		at = add_cap(v, VIRTIO_CAP_DEVICE, DEVICE_AT, VIRTIO_CONFIG_MAX,
			     0, err);
	if (at >= 0)
		at = add_cap(v, VIRTIO_CAP_NOTIFY, NOTIFY_AT, notify, 4, err);
	if (at < 0)
		return at;
	pci_cfg_set(v->pci, (unsigned int)at + CAP_DATA, 4, NOTIFY_MULTIPLIER);
	at = add_cap(v, VIRTIO_CAP_PCI, 0, 0, 4, err);
	if (at < 0)
		return at;
	v->pci_cap = (unsigned int)at;
	pci_cfg_writable(v->pci, v->pci_cap + CAP_BAR, 1, 0xff);
	pci_cfg_writable(v->pci, v->pci_cap + CAP_OFFSET, 4, UINT32_MAX);
	pci_cfg_writable(v->pci, v->pci_cap + CAP_LENGTH, 4, UINT32_MAX);
	pci_cfg_writable(v->pci, v->pci_cap + CAP_DATA, 4, UINT32_MAX);
	return 0;
}

/* bhyve's -W, and the variable's newer name. Modern virtio has no MSI. */
static int wants_msix(struct virtio *v, bool *out, struct err *err)
{
	struct config *config = v->board->config;
	int error = config_get_bool(config, "virtio_msix", true, out, err);

	if (error == 0)
		error = config_get_bool(config, "virtio.msix", *out, out, err);
	return error;
}

int virtio_pci_describe(struct virtio *v, struct config_node *node,
			struct err *err)
{
	uint16_t id = (uint16_t)(VIRTIO_DEVICE_BASE + v->device->type);
	const struct pci_ids ids = {
	    .vendor = VIRTIO_VENDOR,
	    .device = id,
	    .revision = 1,
	    .class_code = v->device->class_code,
	    .subclass = v->device->subclass,
	    .subvendor = VIRTIO_VENDOR,
	    .subdevice = id,
	};
	bool msix = true;
	int error = pci_set_ids(v->pci, node, &ids, err);

	if (error == 0)
		error = wants_msix(v, &msix, err);
	if (error == 0 && msix)
		error =
		    pci_add_msix(v->pci, v->device->queues + 1u, MSIX_BAR, err);
	if (error == 0)
		error = pci_add_bar(v->pci, REGS_BAR, PCI_BAR_MEM64, REGS_SIZE,
				    err);
	if (error == 0)
		error = add_caps(v, err);
	if (error == 0)
		error = pci_add_intx(v->pci);
	return error;
}

/* -- common configuration -------------------------------------------------- */

static struct virtqueue *selected(struct virtio *v)
{
	return v->s.queue_select < v->device->queues
		   ? &v->queues[v->s.queue_select]
		   : NULL;
}

static uint32_t half(uint64_t features, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(features >> (32 * select));
}

static void queue_image(const struct virtio *v, const struct virtqueue *vq,
			uint8_t *image)
{
	const struct vq_state *s = &vq->s;

	store_le16(image + VIRTIO_COMMON_QUEUE_SIZE, s->size);
	store_le16(image + VIRTIO_COMMON_QUEUE_VECTOR, s->vector);
	store_le16(image + VIRTIO_COMMON_QUEUE_ENABLE, s->enabled);
	store_le16(image + VIRTIO_COMMON_QUEUE_NOTIFY_OFF, (uint16_t)vq->index);
	store_le64(image + VIRTIO_COMMON_QUEUE_DESC, s->desc);
	store_le64(image + VIRTIO_COMMON_QUEUE_DRIVER, s->driver);
	store_le64(image + VIRTIO_COMMON_QUEUE_DEVICE, s->device);
	store_le16(image + VIRTIO_COMMON_QUEUE_RESET,
		   v->use[vq->index].resetting);
}

/* All registers as the guest reads them now; no read has a side effect. */
static void common_image(struct virtio *v, uint8_t *image)
{
	const struct virtio_state *s = &v->s;
	struct virtqueue *vq = selected(v);

	memset(image, 0, VIRTIO_COMMON_SIZE);
	store_le32(image + VIRTIO_COMMON_DEVICE_FEATURE_SELECT,
		   s->device_feature_select);
	store_le32(image + VIRTIO_COMMON_DEVICE_FEATURE,
		   half(v->offered, s->device_feature_select));
	store_le32(image + VIRTIO_COMMON_DRIVER_FEATURE_SELECT,
		   s->driver_feature_select);
	store_le32(image + VIRTIO_COMMON_DRIVER_FEATURE,
		   half(s->features, s->driver_feature_select));
	store_le16(image + VIRTIO_COMMON_CONFIG_VECTOR, s->config_vector);
	store_le16(image + VIRTIO_COMMON_NUM_QUEUES, v->device->queues);
	image[VIRTIO_COMMON_STATUS] = s->status;
	image[VIRTIO_COMMON_GENERATION] = s->generation;
	store_le16(image + VIRTIO_COMMON_QUEUE_SELECT, s->queue_select);
	if (vq != NULL)
		queue_image(v, vq, image);
}

static void write_device_feature_select(struct virtio *v, uint32_t value)
{
	v->s.device_feature_select = value;
}

static void write_driver_feature_select(struct virtio *v, uint32_t value)
{
	v->s.driver_feature_select = value;
}

static void write_driver_feature(struct virtio *v, uint32_t value)
{
	unsigned int shift = 32 * (v->s.driver_feature_select & 1);

	if (v->s.status & VIRTIO_FEATURES_OK || v->s.driver_feature_select > 1)
		return;
	v->s.features &= ~((uint64_t)UINT32_MAX << shift);
	v->s.features |= (uint64_t)value << shift;
}

/* A vector that does not exist reads back as none (4.1.5.1.2.1). */
static uint16_t existing(const struct virtio *v, uint32_t vector)
{
	return vector <= v->device->queues ? (uint16_t)vector
					   : VIRTIO_NO_VECTOR;
}

static void write_config_vector(struct virtio *v, uint32_t value)
{
	v->s.config_vector = existing(v, value);
}

static void write_status(struct virtio *v, uint32_t value)
{
	virtio_set_status(v, (uint8_t)value);
}

static void write_queue_select(struct virtio *v, uint32_t value)
{
	v->s.queue_select = (uint16_t)value;
}

/* The selected queue while it may still change; a driver that moves a queue
   under the device's feet has lost its mind. */
static struct virtqueue *changeable(struct virtio *v)
{
	struct virtqueue *vq = selected(v);

	if (vq == NULL || !vq->s.enabled)
		return vq;
	virtio_break(v, vq->index, "changed while it is enabled");
	return NULL;
}

static void write_queue_size(struct virtio *v, uint32_t value)
{
	struct virtqueue *vq = changeable(v);

	if (vq != NULL)
		vq->s.size = (uint16_t)value;
}

static void write_queue_vector(struct virtio *v, uint32_t value)
{
	struct virtqueue *vq = selected(v);

	if (vq != NULL)
		vq->s.vector = existing(v, value);
}

static void write_queue_enable(struct virtio *v, uint32_t value)
{
	struct virtqueue *vq = selected(v);

	/* Only after negotiation is the format known. */
	if (vq != NULL && value == 1 && !vq->s.enabled &&
	    v->s.status & VIRTIO_FEATURES_OK)
		virtio_enable_queue(v, vq);
}

/* Of one that is not enabled it has nothing to do. */
static void write_queue_reset(struct virtio *v, uint32_t value)
{
	struct virtqueue *vq = selected(v);

	if (vq != NULL && value == 1 && vq->s.enabled &&
	    virtio_has(v, VIRTIO_F_RING_RESET))
		virtio_reset_queue(v, vq);
}

/* Three addresses, each written as two halves. */
static void write_queue_address(struct virtio *v, unsigned int offset,
				uint32_t value)
{
	struct virtqueue *vq = changeable(v);
	unsigned int shift = offset % 8 * 8;
	uint64_t *address;

	if (vq == NULL)
		return;
	address = offset < VIRTIO_COMMON_QUEUE_DRIVER   ? &vq->s.desc
		  : offset < VIRTIO_COMMON_QUEUE_DEVICE ? &vq->s.driver
							: &vq->s.device;
	*address &= ~((uint64_t)UINT32_MAX << shift);
	*address |= (uint64_t)value << shift;
}

static const struct common_register {
	uint8_t offset;
	uint8_t bytes; /* other widths do nothing (4.1.3.1) */
	void (*write)(struct virtio *v, uint32_t value);
} common_registers[] = {
    {VIRTIO_COMMON_DEVICE_FEATURE_SELECT, 4, write_device_feature_select},
    {VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, write_driver_feature_select},
    {VIRTIO_COMMON_DRIVER_FEATURE, 4, write_driver_feature},
    {VIRTIO_COMMON_CONFIG_VECTOR, 2, write_config_vector},
    {VIRTIO_COMMON_STATUS, 1, write_status},
    {VIRTIO_COMMON_QUEUE_SELECT, 2, write_queue_select},
    {VIRTIO_COMMON_QUEUE_SIZE, 2, write_queue_size},
    {VIRTIO_COMMON_QUEUE_VECTOR, 2, write_queue_vector},
    {VIRTIO_COMMON_QUEUE_ENABLE, 2, write_queue_enable},
    {VIRTIO_COMMON_QUEUE_RESET, 2, write_queue_reset},
};

static void common_write(struct virtio *v, unsigned int offset,
			 unsigned int bytes, uint32_t value)
{
	/* A reset that is under way ends by itself. */
	if (v->resetting)
		return;
	if (offset >= VIRTIO_COMMON_QUEUE_DESC && offset % 4 == 0 &&
	    offset < VIRTIO_COMMON_QUEUE_NOTIFY_DATA && bytes == 4) {
		write_queue_address(v, offset, value);
		return;
	}
	for (size_t i = 0; i < ARRAY_SIZE(common_registers); i++) {
		const struct common_register *r = &common_registers[i];

		if (r->offset == offset && r->bytes == bytes)
			r->write(v, value);
	}
}

/* -- the BAR --------------------------------------------------------------- */

static uint32_t bytes_of(const uint8_t *image, unsigned int size,
			 unsigned int offset, unsigned int bytes)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < bytes && offset + i < size; i++)
		value |= (uint32_t)image[offset + i] << (8 * i);
	return value;
}

static uint32_t regs_read(struct virtio *v, unsigned int offset,
			  unsigned int bytes)
{
	unsigned int part = ALIGN_DOWN(offset, PART_SIZE);
	uint8_t image[VIRTIO_COMMON_SIZE];

	offset -= part;
	switch (part) {
	case COMMON_AT:
		common_image(v, image);
		return bytes_of(image, sizeof(image), offset, bytes);
	case ISR_AT:
		return offset == 0 ? virtio_take_isr(v) : 0;
	case DEVICE_AT:
		return bytes_of(v->config, v->config_size, offset, bytes);
	default:
		return 0;
	}
}

static void regs_write(struct virtio *v, unsigned int offset,
		       unsigned int bytes, uint32_t value)
{
	unsigned int part = ALIGN_DOWN(offset, PART_SIZE);

	offset -= part;
	switch (part) {
	case COMMON_AT:
		common_write(v, offset, bytes, value);
		break;
	case DEVICE_AT:
		if (v->device->config_written != NULL &&
		    range_inside(offset, bytes, v->config_size))
			v->device->config_written(v, offset, bytes, value);
		break;
	case NOTIFY_AT:
		/* The address says which queue; what else NOTIFICATION_DATA
		   says, the ring says too. */
		if (offset % NOTIFY_MULTIPLIER == 0 && bytes >= 2)
			virtio_notify(v, offset / NOTIFY_MULTIPLIER);
		break;
	default:
		break;
	}
}

uint64_t virtio_pci_bar_read(struct pci_device *dev, unsigned int bar,
			     uint64_t offset, unsigned int bytes)
{
	struct virtio *v = pci_private(dev);
	uint32_t value;

	(void)bar;
	pthread_mutex_lock(&v->lock);
	value = regs_read(v, (unsigned int)offset, bytes);
	pthread_mutex_unlock(&v->lock);
	return value;
}

void virtio_pci_bar_write(struct pci_device *dev, unsigned int bar,
			  uint64_t offset, unsigned int bytes, uint64_t value)
{
	struct virtio *v = pci_private(dev);

	(void)bar;
	pthread_mutex_lock(&v->lock);
	regs_write(v, (unsigned int)offset, bytes, (uint32_t)value);
	pthread_mutex_unlock(&v->lock);
}

/* -- access by configuration space (4.1.4.9) ------------------------------- */

static bool pci_window(struct virtio *v, unsigned int offset,
		       unsigned int bytes, uint32_t *at, uint32_t *length)
{
	unsigned int data = v->pci_cap + CAP_DATA;

	if (offset + bytes <= data || offset >= data + 4)
		return false;
	*at = pci_cfg_get(v->pci, v->pci_cap + CAP_OFFSET, 4);
	*length = pci_cfg_get(v->pci, v->pci_cap + CAP_LENGTH, 4);
	if (pci_cfg_get(v->pci, v->pci_cap + CAP_BAR, 1) != REGS_BAR ||
	    (*length != 1 && *length != 2 && *length != 4))
		return false;
	return *at % *length == 0 && range_inside(*at, *length, REGS_SIZE);
}

void virtio_pci_config_reading(struct pci_device *dev, unsigned int offset,
			       unsigned int bytes)
{
	struct virtio *v = pci_private(dev);
	uint32_t at, length;

	if (pci_window(v, offset, bytes, &at, &length))
		pci_cfg_set(
		    dev, v->pci_cap + CAP_DATA, length,
		    (uint32_t)virtio_pci_bar_read(dev, REGS_BAR, at, length));
}

void virtio_pci_config_written(struct pci_device *dev, unsigned int offset,
			       unsigned int bytes)
{
	struct virtio *v = pci_private(dev);
	uint32_t at, length;

	if (offset <= PCI_CFG_COMMAND && offset + bytes > PCI_CFG_COMMAND)
		virtio_command_written(v);
	if (pci_window(v, offset, bytes, &at, &length))
		virtio_pci_bar_write(
		    dev, REGS_BAR, at, length,
		    pci_cfg_get(dev, v->pci_cap + CAP_DATA, length));
}
