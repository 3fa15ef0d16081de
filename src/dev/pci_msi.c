// SPDX-License-Identifier: BSD-2-Clause
/* PCI interrupts: INTx, MSI and MSI-X (PCI Local Bus 3.0, 2.2.6 and 6.8). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "dev/pci_priv.h"

/* MSI capability with 64-bit address and masks. */
#define MSI_CONTROL               2
#define MSI_ADDRESS_LOW           4
#define MSI_ADDRESS_HIGH          8
#define MSI_DATA                  12
#define MSI_MASK_BITS             16
#define MSI_PENDING_BITS          20
#define MSI_SIZE                  24
#define MSI_ENABLE                0x0001
#define MSI_64BIT                 0x0080
#define MSI_MASKABLE              0x0100
#define MSI_ENABLED_LOG2(control) ((control) >> 4 & 7)

/* MSI-X capability and table. */
#define MSIX_CONTROL 2
#define MSIX_TABLE   4
#define MSIX_PBA     8
#define MSIX_SIZE    12
#define MSIX_ENABLE  0x8000
#define MSIX_MASK    0x4000
#define ENTRY_SIZE   16u
#define ENTRY_MASKED 0x1u
#define PBA_ALIGN    4096u

/* -- INTx ------------------------------------------------------------------ */

void pci_intx_update(struct pci_device *dev)
{
	bool raised = dev->intx_level && !dev->intx_off && !dev->msi.enabled &&
		      !dev->msix.enabled;

	if (!dev->has_intx || raised == dev->intx_raised)
		return;
	dev->intx_raised = raised;
	irq_set_intx(dev->pci->irqs, &dev->wire, raised);
}

void pci_intx_set(struct pci_device *dev, bool level)
{
	pthread_mutex_lock(&dev->irq_lock);
	dev->intx_level = level && dev->has_intx;
	pci_intx_update(dev);
	pthread_mutex_unlock(&dev->irq_lock);
}

/* -- MSI ------------------------------------------------------------------- */

int pci_add_msi(struct pci_device *dev, unsigned int messages, struct err *err)
{
	unsigned int log2 = 0;
	int cap = pci_add_capability(dev, PCI_CAP_MSI, MSI_SIZE);
	unsigned int offset = (unsigned int)cap;

	while (1u << log2 < messages)
		log2++;
	if (cap < 0 || messages == 0 || messages > PCI_MSI_MAX)
		return err_set(err, EINVAL, "no room for %u MSI messages",
			       messages);
	pci_cfg_set(dev, offset + MSI_CONTROL, 2,
		    MSI_64BIT | MSI_MASKABLE | log2 << 1);
	pci_cfg_writable(dev, offset + MSI_CONTROL, 2, MSI_ENABLE | 7u << 4);
	pci_cfg_writable(dev, offset + MSI_ADDRESS_LOW, 4, ~3u);
	pci_cfg_writable(dev, offset + MSI_ADDRESS_HIGH, 4, ~0u);
	pci_cfg_writable(dev, offset + MSI_DATA, 2, 0xffff);
	pci_cfg_writable(dev, offset + MSI_MASK_BITS, 4,
			 (uint32_t)(BIT(1u << log2) - 1));
	dev->msi.cap = offset;
	return 0;
}

/* A message outside of what LAPICs take is a write to nowhere: ignored. */
static void send(struct pci_device *dev, uint64_t address, uint32_t data)
{
	(void)vm_raise_msi(dev->pci->board->ctx, address, data, dev->bus,
			   dev->slot, dev->func);
}

/* Sends what waited and may go now (6.8.1.7, 6.8.1.8): a message is a write of
   a bus master. */
static void send_pending_msi(struct pci_device *dev)
{
	struct pci_msi *msi = &dev->msi;

	if (!msi->enabled)
		msi->pending = 0;
	if (!dev->is_master)
		return;
	for (unsigned int i = 0; i < msi->messages; i++) {
		if (!(msi->pending & ~msi->masked & BIT(i)))
			continue;
		msi->pending &= ~(uint32_t)BIT(i);
		send(dev, msi->address, (msi->data & ~(msi->messages - 1)) | i);
	}
}

static void read_msi(struct pci_device *dev)
{
	struct pci_msi *msi = &dev->msi;
	uint32_t control = pci_cfg_get(dev, msi->cap + MSI_CONTROL, 2);
	unsigned int offered = control >> 1 & 7;

	msi->enabled = control & MSI_ENABLE;
	msi->messages = 1u << MIN(MSI_ENABLED_LOG2(control), offered);
	msi->address =
	    pci_cfg_get(dev, msi->cap + MSI_ADDRESS_LOW, 4) |
	    (uint64_t)pci_cfg_get(dev, msi->cap + MSI_ADDRESS_HIGH, 4) << 32;
	msi->data = (uint16_t)pci_cfg_get(dev, msi->cap + MSI_DATA, 2);
	msi->masked = pci_cfg_get(dev, msi->cap + MSI_MASK_BITS, 4);
	send_pending_msi(dev);
}

bool pci_msi_enabled(struct pci_device *dev)
{
	bool enabled;

	pthread_mutex_lock(&dev->irq_lock);
	enabled = dev->msi.enabled;
	pthread_mutex_unlock(&dev->irq_lock);
	return enabled;
}

void pci_msi_send(struct pci_device *dev, unsigned int message)
{
	struct pci_msi *msi = &dev->msi;

	pthread_mutex_lock(&dev->irq_lock);
	if (msi->enabled && message < msi->messages) {
		msi->pending |= (uint32_t)BIT(message);
		send_pending_msi(dev);
	}
	pthread_mutex_unlock(&dev->irq_lock);
}

uint32_t pci_msi_pending(struct pci_device *dev, unsigned int offset,
			 unsigned int bytes)
{
	unsigned int start = dev->msi.cap + MSI_PENDING_BITS;
	uint32_t pending, value = 0;

	if (dev->msi.cap == 0)
		return 0;
	pthread_mutex_lock(&dev->irq_lock);
	pending = dev->msi.pending;
	pthread_mutex_unlock(&dev->irq_lock);
	for (unsigned int i = 0; i < bytes; i++) {
		if (offset + i >= start && offset + i < start + 4)
			value |= (pending >> (8 * (offset + i - start)) & 0xff)
				 << (8 * i);
	}
	return value;
}

/* -- MSI-X ----------------------------------------------------------------- */

int pci_add_msix(struct pci_device *dev, unsigned int vectors, unsigned int bar,
		 struct err *err)
{
	struct pci_msix *msix = &dev->msix;
	int cap = pci_add_capability(dev, PCI_CAP_MSIX, MSIX_SIZE);
	unsigned int offset = (unsigned int)cap;

	if (cap < 0 || vectors == 0 || vectors > PCI_MSIX_MAX)
		return err_set(err, EINVAL, "no room for %u MSI-X vectors",
			       vectors);
	msix->table = calloc(vectors, sizeof(*msix->table));
	if (msix->table == NULL)
		return err_sys(err, ENOMEM, "MSI-X table");
	msix->cap = offset;
	msix->bar = bar;
	msix->vectors = vectors;
	msix->pba = ALIGN_UP(vectors * ENTRY_SIZE, PBA_ALIGN);
	for (unsigned int i = 0; i < vectors; i++)
		msix->table[i].control = ENTRY_MASKED;
	pci_cfg_set(dev, offset + MSIX_CONTROL, 2, vectors - 1);
	pci_cfg_writable(dev, offset + MSIX_CONTROL, 2,
			 MSIX_ENABLE | MSIX_MASK);
	pci_cfg_set(dev, offset + MSIX_TABLE, 4, bar);
	pci_cfg_set(dev, offset + MSIX_PBA, 4, msix->pba | bar);
	return pci_add_bar(dev, bar, PCI_BAR_MEM32,
			   msix->pba + ALIGN_UP(vectors, 64u) / 8, err);
}

bool pci_msix_owns(const struct pci_device *dev, unsigned int bar)
{
	return dev->msix.table != NULL && dev->msix.bar == bar;
}

bool pci_msix_enabled(struct pci_device *dev)
{
	bool enabled;

	pthread_mutex_lock(&dev->irq_lock);
	enabled = dev->msix.enabled;
	pthread_mutex_unlock(&dev->irq_lock);
	return enabled;
}

static void deliver(struct pci_device *dev, unsigned int vector)
{
	const struct pci_msix_entry *entry = &dev->msix.table[vector];

	send(dev, entry->address_low | (uint64_t)entry->address_high << 32,
	     entry->data);
}

/* Sends what waited and may go now. */
static void deliver_pending(struct pci_device *dev, unsigned int vector)
{
	struct pci_msix *msix = &dev->msix;
	uint64_t *pending = &msix->pending[vector / 64];

	if (!(*pending & BIT(vector % 64)) || !msix->enabled || msix->masked ||
	    !dev->is_master || msix->table[vector].control & ENTRY_MASKED)
		return;
	*pending &= ~BIT(vector % 64);
	deliver(dev, vector);
}

void pci_msi_send_pending(struct pci_device *dev)
{
	if (dev->msi.enabled)
		send_pending_msi(dev);
	for (unsigned int i = 0; i < dev->msix.vectors; i++)
		deliver_pending(dev, i);
}

void pci_msix_send(struct pci_device *dev, unsigned int vector)
{
	struct pci_msix *msix = &dev->msix;

	pthread_mutex_lock(&dev->irq_lock);
	if (msix->enabled && vector < msix->vectors) {
		msix->pending[vector / 64] |= BIT(vector % 64);
		deliver_pending(dev, vector);
	}
	pthread_mutex_unlock(&dev->irq_lock);
}

/* The table and the pending bits as the guest sees them, 4 bytes at a time. */
static uint32_t table_word(const struct pci_msix *msix, uint64_t offset)
{
	const struct pci_msix_entry *entry;
	uint64_t bit;

	if (offset < (uint64_t)msix->vectors * ENTRY_SIZE) {
		entry = &msix->table[offset / ENTRY_SIZE];
		return load_le32((const uint8_t *)entry + offset % ENTRY_SIZE);
	}
	bit = offset >= msix->pba ? (offset - msix->pba) * 8 : UINT64_MAX;
	if (bit >= msix->vectors)
		return 0;
	return (uint32_t)(msix->pending[bit / 64] >> (bit % 64));
}

uint64_t pci_msix_read(struct pci_device *dev, uint64_t offset,
		       unsigned int bytes)
{
	unsigned int shift = 8 * (unsigned int)(offset % 4);
	uint64_t words;

	pthread_mutex_lock(&dev->irq_lock);
	words = table_word(&dev->msix, offset - offset % 4);
	if (offset % 4 + bytes > 4)
		words |=
		    (uint64_t)table_word(&dev->msix, offset - offset % 4 + 4)
		    << 32;
	pthread_mutex_unlock(&dev->irq_lock);
	return words >> shift;
}

/* Only whole aligned words are defined (6.8.2); others are ignored. */
void pci_msix_write(struct pci_device *dev, uint64_t offset, unsigned int bytes,
		    uint64_t value)
{
	struct pci_msix *msix = &dev->msix;
	unsigned int vector = (unsigned int)(offset / ENTRY_SIZE);
	struct pci_msix_entry *entry;

	if (bytes != 4 || offset % 4 != 0 ||
	    offset >= (uint64_t)msix->vectors * ENTRY_SIZE)
		return;
	pthread_mutex_lock(&dev->irq_lock);
	entry = &msix->table[vector];
	switch (offset % ENTRY_SIZE) {
	case 0:
		entry->address_low = (uint32_t)value & ~3u;
		break;
	case 4:
		entry->address_high = (uint32_t)value;
		break;
	case 8:
		entry->data = (uint32_t)value;
		break;
	default:
		entry->control = (uint32_t)value & ENTRY_MASKED;
		deliver_pending(dev, vector);
		break;
	}
	pthread_mutex_unlock(&dev->irq_lock);
}

static void read_msix(struct pci_device *dev)
{
	struct pci_msix *msix = &dev->msix;
	uint32_t control = pci_cfg_get(dev, msix->cap + MSIX_CONTROL, 2);
	bool changed = msix->enabled != !!(control & MSIX_ENABLE) ||
		       msix->masked != !!(control & MSIX_MASK);

	if (!changed)
		return;
	msix->enabled = control & MSIX_ENABLE;
	msix->masked = control & MSIX_MASK;
	if (!msix->enabled)
		memset(msix->pending, 0, sizeof(msix->pending));
	for (unsigned int i = 0; i < msix->vectors; i++)
		deliver_pending(dev, i);
}

void pci_msi_config_changed(struct pci_device *dev)
{
	pthread_mutex_lock(&dev->irq_lock);
	if (dev->msi.cap != 0)
		read_msi(dev);
	if (dev->msix.cap != 0)
		read_msix(dev);
	pci_intx_update(dev);
	pthread_mutex_unlock(&dev->irq_lock);
}

/* -- saved state ----------------------------------------------------------- */

/* One size for all: rows beyond a device's vectors are zero. */
struct irq_state {
	uint8_t intx_level;
	uint32_t msi_pending;
	uint16_t vectors;
	uint32_t table[PCI_MSIX_MAX * 4];
	uint64_t pending[PCI_MSIX_MAX / 64];
};

static int post_load(void *object)
{
	const struct irq_state *s = object;

	return s->intx_level > 1 || s->vectors > PCI_MSIX_MAX ? -EINVAL : 0;
}

static const struct state_field irq_fields[] = {
    STATE_SCALAR(struct irq_state, intx_level),
    STATE_SCALAR(struct irq_state, msi_pending),
    STATE_SCALAR(struct irq_state, vectors),
    STATE_ARRAY(struct irq_state, table),
    STATE_ARRAY(struct irq_state, pending),
};

/* Without MSI-X only the first three are there. */
static struct state_class irq_class(const struct pci_device *dev)
{
	bool msix = dev->msix.vectors > 0;

	return (struct state_class){
	    .name = msix ? "pci-msix" : "pci-intx",
	    .version = 2,
	    .fields = irq_fields,
	    .field_count = msix ? ARRAY_SIZE(irq_fields) : 3,
	    .post_load = post_load,
	};
}

static uint32_t instance(const struct pci_device *dev)
{
	return (uint32_t)(dev->bus << 8 | dev->slot << 3 | dev->func);
}

int pci_irq_save(struct pci_device *dev, struct state_writer *writer)
{
	struct state_class class = irq_class(dev);
	struct irq_state *s = calloc(1, sizeof(*s));
	int error;

	if (s == NULL)
		return -ENOMEM;
	pthread_mutex_lock(&dev->irq_lock);
	s->intx_level = dev->intx_level;
	s->msi_pending = dev->msi.pending;
	s->vectors = (uint16_t)dev->msix.vectors;
	if (s->vectors > 0) {
		memcpy(s->table, dev->msix.table,
		       s->vectors * sizeof(*dev->msix.table));
		memcpy(s->pending, dev->msix.pending, sizeof(s->pending));
	}
	pthread_mutex_unlock(&dev->irq_lock);
	error = state_save(&class, instance(dev), s, writer);
	free(s);
	return error;
}

static void take(struct pci_device *dev, const struct irq_state *s)
{
	struct pci_msix *msix = &dev->msix;

	dev->intx_level = s->intx_level && dev->has_intx;
	/* What is no message goes when the configuration is applied. */
	dev->msi.pending = dev->msi.cap != 0 ? s->msi_pending : 0;
	if (msix->vectors == 0)
		return;
	memcpy(msix->table, s->table, msix->vectors * sizeof(*msix->table));
	for (unsigned int i = 0; i < msix->vectors; i++) {
		msix->table[i].address_low &= ~3u;
		msix->table[i].control &= ENTRY_MASKED;
		if (s->pending[i / 64] & BIT(i % 64))
			msix->pending[i / 64] |= BIT(i % 64);
		else
			msix->pending[i / 64] &= ~BIT(i % 64);
	}
}

/* Before cfg is applied, which then sends what is pending. */
int pci_irq_load(struct pci_device *dev, struct state_reader *reader,
		 struct err *err)
{
	struct state_class class = irq_class(dev);
	struct irq_state *s = calloc(1, sizeof(*s));
	int error;

	if (s == NULL)
		return err_sys(err, ENOMEM, "%s", dev->name);
	error = state_load(&class, instance(dev), s, reader, err);
	if (error == 0 && s->vectors != dev->msix.vectors)
		error = err_set(err, EINVAL,
				"saved state of %s has %u MSI-X vectors, "
				"the device has %u",
				dev->name, s->vectors, dev->msix.vectors);
	if (error == 0) {
		pthread_mutex_lock(&dev->irq_lock);
		take(dev, s);
		pthread_mutex_unlock(&dev->irq_lock);
	}
	free(s);
	return error;
}
