/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside PCI: the structures of pci.c, pci_cfg.c, pci_bar.c, pci_msi.c. */
#ifndef DEV_PCI_PRIV_H
#define DEV_PCI_PRIV_H

#include <pthread.h>
#include <stdatomic.h>

#include "dev/irq.h"
#include "dev/pci.h"
#include "dev/range.h"

#define PCI_BUSES 256

struct pci_bar {
	struct pci_device *dev;
	unsigned int index;
	enum pci_bar_kind kind;
	uint64_t size;
	struct io_range range;
	bool mapped;
	uint64_t mapped_at;
};

struct pci_msi {
	unsigned int cap; /* offset of the capability; 0: none */
	bool enabled;
	unsigned int messages; /* that the guest has enabled; a power of two */
	uint64_t address;
	uint16_t data;
	uint32_t masked; /* one bit a message */
	uint32_t pending;
};

struct pci_msix_entry {
	uint32_t address_low;
	uint32_t address_high;
	uint32_t data;
	uint32_t control; /* bit 0: masked */
};

struct pci_msix {
	unsigned int cap;
	unsigned int bar;
	unsigned int vectors;
	uint32_t pba; /* offset in the BAR */
	bool enabled;
	bool masked; /* as a whole */
	struct pci_msix_entry *table;
	uint64_t pending[PCI_MSIX_MAX / 64];
};

struct pci_device {
	struct pci *pci;
	struct pci_device *next;
	const struct pci_device_ops *ops;
	void *private_data;
	char name[48];
	uint8_t bus;
	uint8_t slot;
	uint8_t func;

	/* Under pci->lock. */
	uint8_t cfg[PCI_CFG_SIZE];
	uint8_t writable[PCI_CFG_SIZE];
	uint8_t clear[PCI_CFG_SIZE]; /* written ones clear these bits */
	unsigned int last_cap;       /* offset; 0: none */
	unsigned int caps_end;
	struct pci_bar bars[PCI_BARS];

	atomic_bool is_master; /* PCI_COMMAND_MASTER */

	pthread_mutex_t irq_lock; /* for what follows */
	struct irq_intx wire;
	bool has_intx;
	bool intx_level;  /* as the device wants it */
	bool intx_raised; /* as the wire has it */
	bool intx_off;    /* PCI_COMMAND_INTX_OFF */
	struct pci_msi msi;
	struct pci_msix msix;
};

/* One bus's share of the address windows. */
struct pci_bus {
	bool present;
	struct fw_window io;
	struct fw_window mem32;
	struct fw_window mem64;
};

struct pci {
	struct board *board;
	struct irq_wires *irqs;
	struct pci_device *devices; /* by bus, slot and function */
	struct pci_bus buses[PCI_BUSES];
	struct fw_intx *intx; /* by bus; the firmware's tables point here */
	uint8_t *intx_bus;
	unsigned int intx_count;
	struct pci_port_cf9 cf9;
	struct io_range ports;
	struct io_range ecam;
	pthread_mutex_t lock;
	uint32_t config_address; /* port 0xcf8 */
};

/* pci_cfg.c */
int pci_cfg_init(struct pci *pci, struct err *err);
void pci_cfg_device_init(struct pci_device *dev);
/* After cfg changed as a whole: BARs, MSI and INTx follow. pci->lock held. */
void pci_cfg_apply(struct pci_device *dev);

/* pci_bar.c: pci->lock held, or before the guest runs. */
int pci_bar_assign(struct pci *pci, struct err *err);
void pci_bar_decode(struct pci_device *dev);
void pci_bar_unmap_all(struct pci_device *dev);

/* pci_msi.c */
/* The pending bits that such a read finds beside what cfg holds. */
uint32_t pci_msi_pending(struct pci_device *dev, unsigned int offset,
			 unsigned int bytes);
void pci_msi_config_changed(struct pci_device *dev);
bool pci_msix_owns(const struct pci_device *dev, unsigned int bar);
uint64_t pci_msix_read(struct pci_device *dev, uint64_t offset,
		       unsigned int bytes);
void pci_msix_write(struct pci_device *dev, uint64_t offset, unsigned int bytes,
		    uint64_t value);
/* Both with irq_lock held. */
void pci_intx_update(struct pci_device *dev);
void pci_msi_send_pending(struct pci_device *dev);
int pci_irq_save(struct pci_device *dev, struct state_writer *writer);
int pci_irq_load(struct pci_device *dev, struct state_reader *reader,
		 struct err *err);

#endif
