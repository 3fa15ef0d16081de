// SPDX-License-Identifier: BSD-2-Clause
/* A PCI serial card: one UART behind an I/O BAR, on INTx. */
#include <errno.h>

#include "dev/board_priv.h"
#include "dev/pci.h"
#include "dev/uart_ns16550.h"

static void set_line(void *arg, bool level)
{
	pci_intx_set(arg, level);
}

static void destroy(struct pci_device *dev)
{
	uart_destroy(pci_private(dev));
}

static int create(struct pci_device *dev, struct config_node *node,
		  struct err *err)
{
	/* SIIG's card with one port of that kind, as bhyve has it. */
	static const struct pci_ids ids = {
	    .vendor = 0x131f,
	    .device = 0x2000,
	    .class_code = 0x07,
	    .progif = 0x02,
	};
	struct uart_line line = {set_line, dev};
	struct chardev *backend;
	struct uart *uart;
	int error = pci_set_ids(dev, node, &ids, err);

	if (error == 0)
		error = pci_add_bar(dev, 0, PCI_BAR_IO, UART_REGISTERS, err);
	if (error == 0)
		error = pci_add_intx(dev);
	if (error == 0)
		error = board_open_chardev(pci_board(dev), node, &backend, err);
	if (error < 0)
		return error;
	error = uart_create(pci_name(dev), backend, &line, &uart, err);
	if (error < 0) {
		chardev_close(backend);
		return error;
	}
	pci_set_private(dev, uart);
	return 0;
}

/* Registers are bytes; a wide access reaches as many, lowest first. */
static uint64_t bar_read(struct pci_device *dev, unsigned int bar,
			 uint64_t offset, unsigned int bytes)
{
	uint64_t value = 0;

	(void)bar;
	for (unsigned int i = 0; i < bytes; i++)
		value |= (uint64_t)uart_read(pci_private(dev),
					     (unsigned int)offset + i)
			 << (8 * i);
	return value;
}

static void bar_write(struct pci_device *dev, unsigned int bar, uint64_t offset,
		      unsigned int bytes, uint64_t value)
{
	(void)bar;
	for (unsigned int i = 0; i < bytes; i++)
		uart_write(pci_private(dev), (unsigned int)offset + i,
			   (uint8_t)(value >> (8 * i)));
}

static int save(struct pci_device *dev, struct state_writer *writer)
{
	return uart_save(pci_private(dev), 0, writer);
}

static int load(struct pci_device *dev, struct state_reader *reader,
		struct err *err)
{
	return uart_load(pci_private(dev), 0, reader, err);
}

const struct pci_device_ops pci_uart_ops = {
    .create = create,
    .destroy = destroy,
    .bar_read = bar_read,
    .bar_write = bar_write,
    .save = save,
    .load = load,
};
