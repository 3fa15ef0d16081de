// SPDX-License-Identifier: BSD-2-Clause
/*
 * PCI configuration space, and the two ways to it: the ports 0xcf8-0xcff
 * (PCI Local Bus 3.0, 3.2.2.3.2) and the memory window that MCFG names (PCI
 * Express 3.0, 7.2.2).
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "dev/inout.h"
#include "dev/mmio.h"
#include "dev/pci_priv.h"
#include "firmware/lowmem.h"

#define PORT_ADDRESS   0xcf8
#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_BITS   0x80fffffcu

#define COMMAND_WRITABLE                                                       \
	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |            \
	 PCI_COMMAND_INTX_OFF | 0x0140 /* parity error, SERR# */)
#define STATUS_CLEAR 0xf900

uint32_t pci_cfg_get(const struct pci_device *dev, unsigned int offset,
		     unsigned int bytes)
{
	uint32_t value = 0;

	for (unsigned int i = 0; i < bytes && offset + i < PCI_CFG_SIZE; i++)
		value |= (uint32_t)dev->cfg[offset + i] << (8 * i);
	return value;
}

void pci_cfg_set(struct pci_device *dev, unsigned int offset,
		 unsigned int bytes, uint32_t value)
{
	for (unsigned int i = 0; i < bytes && offset + i < PCI_CFG_SIZE; i++)
		dev->cfg[offset + i] = (uint8_t)(value >> (8 * i));
}

void pci_cfg_writable(struct pci_device *dev, unsigned int offset,
		      unsigned int bytes, uint32_t mask)
{
	for (unsigned int i = 0; i < bytes && offset + i < PCI_CFG_SIZE; i++)
		dev->writable[offset + i] = (uint8_t)(mask >> (8 * i));
}

void pci_cfg_device_init(struct pci_device *dev)
{
	dev->caps_end = PCI_CFG_FIRST_CAP;
	for (unsigned int i = 0; i < PCI_BARS; i++) {
		dev->bars[i].dev = dev;
		dev->bars[i].index = i;
	}
	pci_cfg_set(dev, PCI_CFG_INTLINE, 1, 0xff);
	pci_cfg_writable(dev, PCI_CFG_COMMAND, 2, COMMAND_WRITABLE);
	pci_cfg_writable(dev, PCI_CFG_CACHELINE, 1, 0xff);
	pci_cfg_writable(dev, PCI_CFG_LATENCY, 1, 0xff);
	pci_cfg_writable(dev, PCI_CFG_INTLINE, 1, 0xff);
	store_le16(dev->clear + PCI_CFG_STATUS, STATUS_CLEAR);
}

int pci_add_capability(struct pci_device *dev, uint8_t id, unsigned int len)
{
	unsigned int offset = dev->caps_end;

	if (len > PCI_CFG_SIZE || ALIGN_UP(offset + len, 4) > PCI_CFG_SIZE)
		return -ENOSPC;
	dev->cfg[offset] = id;
	if (dev->last_cap == 0)
		dev->cfg[PCI_CFG_CAPS] = (uint8_t)offset;
	else
		dev->cfg[dev->last_cap + 1] = (uint8_t)offset;
	dev->last_cap = offset;
	dev->caps_end = ALIGN_UP(offset + len, 4);
	pci_cfg_set(dev, PCI_CFG_STATUS, 2,
		    pci_cfg_get(dev, PCI_CFG_STATUS, 2) | PCI_STATUS_CAPS);
	return (int)offset;
}

static bool overlaps(unsigned int offset, unsigned int bytes,
		     unsigned int start, unsigned int len)
{
	return offset < start + len && start < offset + bytes;
}

static void command_changed(struct pci_device *dev)
{
	uint32_t command = pci_cfg_get(dev, PCI_CFG_COMMAND, 2);

	pthread_mutex_lock(&dev->irq_lock);
	dev->intx_off = command & PCI_COMMAND_INTX_OFF;
	pci_intx_update(dev);
	dev->is_master = command & PCI_COMMAND_MASTER;
	pci_msi_send_pending(dev);
	pthread_mutex_unlock(&dev->irq_lock);
}

void pci_cfg_apply(struct pci_device *dev)
{
	command_changed(dev);
	pci_msi_config_changed(dev);
	pci_bar_decode(dev);
}

/* [offset, offset + bytes) is inside of the 256 bytes. */
static void device_write(struct pci_device *dev, unsigned int offset,
			 unsigned int bytes, uint32_t value)
{
	for (unsigned int i = 0; i < bytes; i++) {
		uint8_t *at = &dev->cfg[offset + i];
		uint8_t byte = (uint8_t)(value >> (8 * i));
		uint8_t writable = dev->writable[offset + i];

		*at = (uint8_t)((*at & ~writable) | (byte & writable));
		*at &= (uint8_t) ~(byte & dev->clear[offset + i]);
	}
	if (overlaps(offset, bytes, PCI_CFG_COMMAND, 2))
		command_changed(dev);
	if (overlaps(offset, bytes, PCI_CFG_COMMAND, 2) ||
	    overlaps(offset, bytes, PCI_CFG_BAR(0), 4 * PCI_BARS))
		pci_bar_decode(dev);
	if (offset >= PCI_CFG_FIRST_CAP)
		pci_msi_config_changed(dev);
	if (dev->ops->config_written != NULL)
		dev->ops->config_written(dev, offset, bytes);
}

static uint32_t device_read(struct pci_device *dev, unsigned int offset,
			    unsigned int bytes)
{
	uint32_t value;
	bool raised;

	if (dev->ops->config_reading != NULL)
		dev->ops->config_reading(dev, offset, bytes);
	value = pci_cfg_get(dev, offset, bytes);
	value |= pci_msi_pending(dev, offset, bytes);
	if (overlaps(offset, bytes, PCI_CFG_STATUS, 1)) {
		pthread_mutex_lock(&dev->irq_lock);
		raised = dev->intx_level;
		pthread_mutex_unlock(&dev->irq_lock);
		if (raised)
			value |= (uint32_t)PCI_STATUS_INTX
				 << (8 * (PCI_CFG_STATUS - offset));
	}
	return value;
}

bool pci_is_master(struct pci_device *dev)
{
	return dev->is_master;
}

struct pci_device *pci_find(struct pci *pci, unsigned int bus,
			    unsigned int slot, unsigned int func)
{
	struct pci_device *dev = pci->devices;

	while (dev != NULL &&
	       (dev->bus != bus || dev->slot != slot || dev->func != func))
		dev = dev->next;
	return dev;
}

/* where: bus 15:8, slot 7:3, function 2:0. */
static uint32_t config_read(struct pci *pci, unsigned int where,
			    unsigned int offset, unsigned int bytes)
{
	struct pci_device *dev =
	    pci_find(pci, where >> 8, where >> 3 & 0x1f, where & 7);

	if (dev == NULL)
		return UINT32_MAX;
	/* No extended capabilities: PCI Express 3.0, 7.9.1. */
	if (!range_inside(offset, bytes, PCI_CFG_SIZE))
		return offset < PCI_CFG_SIZE + 4 ? 0 : UINT32_MAX;
	return device_read(dev, offset, bytes);
}

static void config_write(struct pci *pci, unsigned int where,
			 unsigned int offset, unsigned int bytes,
			 uint32_t value)
{
	struct pci_device *dev =
	    pci_find(pci, where >> 8, where >> 3 & 0x1f, where & 7);

	if (dev != NULL && range_inside(offset, bytes, PCI_CFG_SIZE))
		device_write(dev, offset, bytes, value);
}

/* -- the ports ------------------------------------------------------------- */

static bool is_cf9(const struct pci *pci, uint64_t offset, unsigned int bytes)
{
	return offset == 1 && bytes == 1 && pci->cf9.read != NULL;
}

static uint64_t ports_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct pci *pci = arg;
	uint32_t address;
	uint64_t value = UINT32_MAX;

	if (is_cf9(pci, offset, bytes))
		return pci->cf9.read(pci->cf9.arg);
	pthread_mutex_lock(&pci->lock);
	address = pci->config_address;
	if (offset >= 4 && address & ADDRESS_ENABLE)
		value = config_read(
		    pci, address >> 8 & 0xffff,
		    (address & 0xfc) + ((unsigned int)offset & 3), bytes);
	else if (offset == 0 && bytes == 4)
		value = address;
	pthread_mutex_unlock(&pci->lock);
	return value;
}

static void ports_write(void *arg, uint64_t offset, unsigned int bytes,
			uint64_t value)
{
	struct pci *pci = arg;
	uint32_t address;

	if (is_cf9(pci, offset, bytes)) {
		pci->cf9.write(pci->cf9.arg, (uint8_t)value);
		return;
	}
	pthread_mutex_lock(&pci->lock);
	address = pci->config_address;
	if (offset >= 4 && address & ADDRESS_ENABLE)
		config_write(pci, address >> 8 & 0xffff,
			     (address & 0xfc) + ((unsigned int)offset & 3),
			     bytes, (uint32_t)value);
	else if (offset == 0 && bytes == 4)
		pci->config_address = (uint32_t)value & ADDRESS_BITS;
	pthread_mutex_unlock(&pci->lock);
}

/* -- the memory window ----------------------------------------------------- */

static uint64_t ecam_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct pci *pci = arg;
	uint32_t value;

	pthread_mutex_lock(&pci->lock);
	value = config_read(pci, (unsigned int)(offset >> 12),
			    (unsigned int)(offset & 0xfff), bytes);
	pthread_mutex_unlock(&pci->lock);
	return value;
}

static void ecam_write(void *arg, uint64_t offset, unsigned int bytes,
		       uint64_t value)
{
	struct pci *pci = arg;

	pthread_mutex_lock(&pci->lock);
	config_write(pci, (unsigned int)(offset >> 12),
		     (unsigned int)(offset & 0xfff), bytes, (uint32_t)value);
	pthread_mutex_unlock(&pci->lock);
}

int pci_cfg_init(struct pci *pci, struct err *err)
{
	int error;

	pci->ports = (struct io_range){
	    .owner = "PCI configuration",
	    .size = 8,
	    .max_bytes = 4,
	    .read = ports_read,
	    .write = ports_write,
	    .arg = pci,
	};
	pci->ecam = (struct io_range){
	    .owner = "PCI configuration window",
	    .size = FIRMWARE_ECAM_SIZE,
	    .max_bytes = 4,
	    .read = ecam_read,
	    .write = ecam_write,
	    .arg = pci,
	};
	error = inout_add(pci->board->ports, &pci->ports, PORT_ADDRESS, err);
	if (error == 0)
		error = mmio_add(pci->board->mmio, &pci->ecam,
				 FIRMWARE_ECAM_BASE, err);
	return error;
}

void pci_set_port_cf9(struct pci *pci, const struct pci_port_cf9 *port)
{
	pci->cf9 = *port;
}
