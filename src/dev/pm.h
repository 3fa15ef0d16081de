/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power and reset: the ACPI fixed registers PM1a and GPE0, the SMI command
 * port, the reset control register 0xcf9 and port 0x92. The PM timer is in
 * the room.
 */
#ifndef DEV_PM_H
#define DEV_PM_H

#include "base/state.h"
#include "dev/board.h"

struct irq_wires;
struct pci_port_cf9;
struct pm;

int pm_create(struct board *board, struct irq_wires *irqs, struct pm **out,
	      struct err *err);
void pm_destroy(struct pm *pm);

/* The reset control register, which shares its port with PCI's. */
void pm_port_cf9(struct pm *pm, struct pci_port_cf9 *out);

/* False when the guest's ACPI is not on. Any thread. */
bool pm_power_button(struct pm *pm);

int pm_save(struct pm *pm, struct state_writer *writer);
int pm_load(struct pm *pm, struct state_reader *reader, struct err *err);

#endif
