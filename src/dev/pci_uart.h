/* SPDX-License-Identifier: BSD-2-Clause */
/* uart: a PCI serial card with one NS16550 in I/O BAR 0. */
#ifndef DEV_PCI_UART_H
#define DEV_PCI_UART_H

#include "dev/pci.h"

extern const struct pci_device_ops pci_uart_ops;

#endif
