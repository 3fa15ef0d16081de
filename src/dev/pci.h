/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * PCI: buses with devices, their configuration space, BARs and interrupts.
 *
 * The life of a device: its create gets the node of its slot and describes
 * it: identity, BARs, capabilities, interrupts. When all are made, BARs get
 * addresses, largest first, and INTx pins get wires. From then on the guest
 * moves BARs as it likes; accesses to them arrive at bar_read and bar_write,
 * on any vCPU's thread, with no lock of PCI's held. Registers are reached
 * with widths of 1, 2 or 4 bytes (an 8-byte access is two) and any offset,
 * but always inside of the BAR.
 *
 * Locks: pci > device > interrupts. The configuration hooks run under PCI's
 * lock and may take the device's. Raising interrupts takes no lock but its
 * own. A device's own lock must not be held to call anything else here.
 */
#ifndef DEV_PCI_H
#define DEV_PCI_H

#include "base/config.h"
#include "base/state.h"
#include "dev/board.h"

#define PCI_BARS      6
#define PCI_SLOTS     32
#define PCI_FUNCTIONS 8
#define PCI_CFG_SIZE  256
#define PCI_MSIX_MAX  2048
#define PCI_MSI_MAX   32

/* Offsets in the header of type 0 (PCI Local Bus 3.0, 6.1). */
#define PCI_CFG_VENDOR    0x00
#define PCI_CFG_DEVICE    0x02
#define PCI_CFG_COMMAND   0x04
#define PCI_CFG_STATUS    0x06
#define PCI_CFG_REVISION  0x08
#define PCI_CFG_PROGIF    0x09
#define PCI_CFG_SUBCLASS  0x0a
#define PCI_CFG_CLASS     0x0b
#define PCI_CFG_CACHELINE 0x0c
#define PCI_CFG_LATENCY   0x0d
#define PCI_CFG_HEADER    0x0e
#define PCI_CFG_BAR(n)    (0x10 + 4 * (n))
#define PCI_CFG_SUBVENDOR 0x2c
#define PCI_CFG_SUBDEVICE 0x2e
#define PCI_CFG_CAPS      0x34
#define PCI_CFG_INTLINE   0x3c
#define PCI_CFG_INTPIN    0x3d
#define PCI_CFG_FIRST_CAP 0x40

#define PCI_COMMAND_IO       0x0001
#define PCI_COMMAND_MEMORY   0x0002
#define PCI_COMMAND_MASTER   0x0004
#define PCI_COMMAND_INTX_OFF 0x0400
#define PCI_STATUS_INTX      0x0008
#define PCI_STATUS_CAPS      0x0010
#define PCI_HEADER_MULTI     0x80

#define PCI_CAP_MSI    0x05
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_PCIE   0x10
#define PCI_CAP_MSIX   0x11

enum pci_bar_kind {
	PCI_BAR_NONE,
	PCI_BAR_IO,
	PCI_BAR_MEM32,
	PCI_BAR_MEM64, /* takes the next BAR's register too */
};

struct pci_device;

/* One emulation. NULL where a device needs nothing. */
struct pci_device_ops {
	/* node has the variables of the slot. What it fails with gets the
	   slot's name in front. destroy follows only upon success. */
	int (*create)(struct pci_device *dev, struct config_node *node,
		      struct err *err);
	void (*destroy)(struct pci_device *dev);

	uint64_t (*bar_read)(struct pci_device *dev, unsigned int bar,
			     uint64_t offset, unsigned int bytes);
	void (*bar_write)(struct pci_device *dev, unsigned int bar,
			  uint64_t offset, unsigned int bytes, uint64_t value);

	/* Before the guest reads, after it wrote, [offset, offset + bytes)
	   of the configuration space; use pci_cfg_get and pci_cfg_set. */
	void (*config_reading)(struct pci_device *dev, unsigned int offset,
			       unsigned int bytes);
	void (*config_written)(struct pci_device *dev, unsigned int offset,
			       unsigned int bytes);

	/* After pause nothing changes guest memory, interrupts or what is
	   saved, until resume: requests that are with a backend have come
	   back. vCPUs are stopped, and the event loop is the caller. */
	void (*pause)(struct pci_device *dev);
	void (*resume)(struct pci_device *dev);

	/* What the configuration space does not hold; between pause and
	   resume. */
	int (*save)(struct pci_device *dev, struct state_writer *writer);
	int (*load)(struct pci_device *dev, struct state_reader *reader,
		    struct err *err);
};

/* An emulation by its name in -s; pci_devices.c has the one list. */
const struct pci_device_ops *pci_find_ops(const char *name);

struct pci_ids {
	uint16_t vendor;
	uint16_t device;
	uint8_t revision;
	uint8_t class_code;
	uint8_t subclass;
	uint8_t progif;
	uint16_t subvendor;
	uint16_t subdevice;
};

/* -- what a device may call ------------------------------------------------ */

struct board *pci_board(struct pci_device *dev);
const char *pci_name(const struct pci_device *dev); /* "virtio-blk 0:3:0" */
unsigned int pci_bus_number(const struct pci_device *dev);
unsigned int pci_slot_number(const struct pci_device *dev);
unsigned int pci_function_number(const struct pci_device *dev);
void *pci_private(const struct pci_device *dev);
void pci_set_private(struct pci_device *dev, void *private_data);

/* In create only. Identity: the variables pcireg.* of the node win. */
int pci_set_ids(struct pci_device *dev, struct config_node *node,
		const struct pci_ids *ids, struct err *err);
/* size is rounded up to a power of two. */
int pci_add_bar(struct pci_device *dev, unsigned int bar,
		enum pci_bar_kind kind, uint64_t size, struct err *err);
/* Offset of a new capability of len bytes, its first two included; the bytes
   are zero and read-only. -ENOSPC. */
int pci_add_capability(struct pci_device *dev, uint8_t id, unsigned int len);
/* The guest may change these bits. */
void pci_cfg_writable(struct pci_device *dev, unsigned int offset,
		      unsigned int bytes, uint32_t mask);
int pci_add_intx(struct pci_device *dev);
int pci_add_msi(struct pci_device *dev, unsigned int messages, struct err *err);
/* The table fills a 32-bit memory BAR of its own. */
int pci_add_msix(struct pci_device *dev, unsigned int vectors, unsigned int bar,
		 struct err *err);

/* Whether the guest lets it be bus master (6.2.2). While it does not, a device
   neither reads nor writes guest memory; its messages wait. Any thread. */
bool pci_is_master(struct pci_device *dev);

/* In create and in the configuration hooks only; no side effects. */
uint32_t pci_cfg_get(const struct pci_device *dev, unsigned int offset,
		     unsigned int bytes);
void pci_cfg_set(struct pci_device *dev, unsigned int offset,
		 unsigned int bytes, uint32_t value);

/* Interrupts: any thread, also under the device's lock. The level of INTx is
   kept while MSI or MSI-X is on or the guest has switched INTx off. */
void pci_intx_set(struct pci_device *dev, bool level);
bool pci_msi_enabled(struct pci_device *dev);
bool pci_msix_enabled(struct pci_device *dev);
/* Numbers that do not exist, or that the guest has not enabled, are ignored;
   masked ones are sent when they are unmasked, and those of a device that is
   no bus master when it is one. */
void pci_msi_send(struct pci_device *dev, unsigned int message);
void pci_msix_send(struct pci_device *dev, unsigned int vector);

/* -- what the board calls -------------------------------------------------- */

struct irq_wires;

/* Makes all devices of the configuration's pci node, board->pci set first. */
int pci_create(struct board *board, struct irq_wires *irqs, struct err *err);
void pci_destroy(struct pci *pci);
void pci_describe(const struct pci *pci, struct fw_board *out);

/* Ports 0xcf8-0xcff belong to PCI, but a byte access to 0xcf9 is the reset
   control register. */
struct pci_port_cf9 {
	uint8_t (*read)(void *arg);
	void (*write)(void *arg, uint8_t value);
	void *arg;
};
void pci_set_port_cf9(struct pci *pci, const struct pci_port_cf9 *port);

struct irq_wires *pci_irqs(struct pci_device *dev);
struct pci_device *pci_find(struct pci *pci, unsigned int bus,
			    unsigned int slot, unsigned int func);

void pci_pause(struct pci *pci);
void pci_resume(struct pci *pci);
int pci_save(struct pci *pci, struct state_writer *writer);
int pci_load(struct pci *pci, struct state_reader *reader, struct err *err);

#endif
