// SPDX-License-Identifier: BSD-2-Clause
/* The LPC bridge with its PIRQ router, serial ports and pc-testdev. */
#include "dev/lpc.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dev/board_priv.h"
#include "dev/inout.h"
#include "dev/pc_testdev.h"
#include "dev/uart_ns16550.h"

/* 82371SB data sheet, PIRQRC[A:D]; E to H as in later bridges (ICH). */
#define PIRQ_A_TO_D 0x60
#define PIRQ_E_TO_H 0x68

static const struct {
	const char *name;
	uint16_t port;
	uint8_t irq;
} com_ports[FW_COM_PORTS] = {
    {"com1", 0x3f8, 4},
    {"com2", 0x2f8, 3},
    {"com3", 0x3e8, 4},
    {"com4", 0x2e8, 3},
};

struct lpc_com {
	struct irq_wires *irqs;
	unsigned int irq;
	struct uart *uart; /* NULL: not configured */
};

struct lpc {
	struct board *board;
	uint8_t slot;
	struct lpc_com com[FW_COM_PORTS];
	struct pc_testdev *testdev; /* NULL: not configured */
};

/* -- serial ports ---------------------------------------------------------- */

static void set_com_line(void *arg, bool level)
{
	struct lpc_com *com = arg;

	irq_set_isa(com->irqs, com->irq, level);
}

static struct config_node *com_node(struct config *config, unsigned int i)
{
	char path[16];

	snprintf(path, sizeof(path), "lpc.%s", com_ports[i].name);
	return config_find(config_root(config), path);
}

static int create_com(struct lpc *lpc, unsigned int i, struct config_node *node,
		      struct err *err)
{
	struct lpc_com *com = &lpc->com[i];
	struct uart_line line = {set_com_line, com};
	struct chardev *backend;
	struct err why = {""};
	int error;

	com->irqs = board_irqs(lpc->board);
	com->irq = com_ports[i].irq;
	irq_claim_isa(com->irqs, com->irq);
	error = board_open_chardev(lpc->board, node, &backend, &why);
	if (error == 0) {
		error = uart_create(com_ports[i].name, backend, &line,
				    &com->uart, &why);
		if (error < 0)
			chardev_close(backend);
	}
	if (error == 0)
		error = inout_add(lpc->board->ports, uart_range(com->uart),
				  com_ports[i].port, &why);
	if (error < 0)
		return err_set(err, -error, "%s: %.400s", com_ports[i].name,
			       why.text);
	return 0;
}

/* -- pc-testdev ------------------------------------------------------------ */

static int create_testdev(struct lpc *lpc, struct err *err)
{
	bool wanted;
	int error = config_get_bool(lpc->board->config, "lpc.pc-testdev", false,
				    &wanted, err);

	if (error < 0 || !wanted)
		return error;
	return pc_testdev_create(lpc->board, board_irqs(lpc->board),
				 &lpc->testdev, err);
}

/* -- the bridge ------------------------------------------------------------ */

static void destroy(struct pci_device *dev)
{
	struct lpc *lpc = pci_private(dev);

	for (unsigned int i = 0; i < FW_COM_PORTS; i++) {
		if (lpc->com[i].uart == NULL)
			continue;
		inout_remove(lpc->board->ports, uart_range(lpc->com[i].uart));
		uart_destroy(lpc->com[i].uart);
	}
	pc_testdev_destroy(lpc->testdev);
	lpc->board->lpc = NULL;
	free(lpc);
}

static void describe_bridge(struct pci_device *dev)
{
	pci_cfg_writable(dev, PIRQ_A_TO_D, 4, 0x8f8f8f8f);
	pci_cfg_writable(dev, PIRQ_E_TO_H, 4, 0x8f8f8f8f);
}

static int create(struct pci_device *dev, struct config_node *node,
		  struct err *err)
{
	static const struct pci_ids ids = {
	    .vendor = 0x8086,
	    .device = 0x7000,
	    .class_code = 0x06,
	    .subclass = 0x01,
	};
	struct board *board = pci_board(dev);
	struct config_node *com;
	struct lpc *lpc;
	int error;

	(void)node;
	if (board->lpc != NULL)
		return err_set(err, EEXIST, "lpc: there is one already");
	if (pci_bus_number(dev) != 0)
		return err_set(err, EINVAL, "lpc: only bus 0 has it");
	lpc = calloc(1, sizeof(*lpc));
	if (lpc == NULL)
		return err_sys(err, ENOMEM, "lpc");
	lpc->board = board;
	lpc->slot = (uint8_t)pci_slot_number(dev);
	board->lpc = lpc;
	pci_set_private(dev, lpc);
	describe_bridge(dev);
	error = pci_set_ids(dev, config_find(config_root(board->config), "lpc"),
			    &ids, err);
	for (unsigned int i = 0; i < FW_COM_PORTS && error == 0; i++) {
		com = com_node(board->config, i);
		if (com != NULL)
			error = create_com(lpc, i, com, err);
	}
	if (error == 0)
		error = create_testdev(lpc, err);
	if (error < 0)
		destroy(dev);
	return error;
}

static unsigned int pirq_offset(unsigned int pirq)
{
	return pirq < 4 ? PIRQ_A_TO_D + pirq : PIRQ_E_TO_H + pirq - 4;
}

static void config_reading(struct pci_device *dev, unsigned int offset,
			   unsigned int bytes)
{
	(void)offset;
	(void)bytes;
	for (unsigned int i = 0; i < IRQ_PIRQ_COUNT; i++)
		pci_cfg_set(dev, pirq_offset(i), 1,
			    irq_pirq_read(pci_irqs(dev), i));
}

static void config_written(struct pci_device *dev, unsigned int offset,
			   unsigned int bytes)
{
	for (unsigned int i = 0; i < IRQ_PIRQ_COUNT; i++) {
		unsigned int at = pirq_offset(i);

		if (at >= offset && at < offset + bytes)
			irq_pirq_write(pci_irqs(dev), i,
				       (uint8_t)pci_cfg_get(dev, at, 1));
	}
}

/* -- saved state ----------------------------------------------------------- */

struct lpc_state {
	uint8_t pirq[IRQ_PIRQ_COUNT];
	uint8_t com[FW_COM_PORTS]; /* 1: present */
	uint8_t testdev;           /* the same */
};

static const struct state_field fields[] = {
    STATE_ARRAY(struct lpc_state, pirq),
    STATE_ARRAY(struct lpc_state, com),
    STATE_SCALAR(struct lpc_state, testdev),
};

static const struct state_class lpc_class = {
    .name = "lpc",
    .version = 2,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
};

static int save(struct pci_device *dev, struct state_writer *writer)
{
	struct lpc *lpc = pci_private(dev);
	struct lpc_state s = {0};
	int error;

	for (unsigned int i = 0; i < IRQ_PIRQ_COUNT; i++)
		s.pirq[i] = irq_pirq_read(pci_irqs(dev), i);
	for (unsigned int i = 0; i < FW_COM_PORTS; i++)
		s.com[i] = lpc->com[i].uart != NULL;
	s.testdev = lpc->testdev != NULL;
	error = state_save(&lpc_class, 0, &s, writer);
	for (unsigned int i = 0; i < FW_COM_PORTS && error == 0; i++) {
		if (s.com[i])
			error = uart_save(lpc->com[i].uart, i, writer);
	}
	if (error == 0 && s.testdev)
		error = pc_testdev_save(lpc->testdev, writer);
	return error;
}

static int load(struct pci_device *dev, struct state_reader *reader,
		struct err *err)
{
	struct lpc *lpc = pci_private(dev);
	struct lpc_state s;
	int error = state_load(&lpc_class, 0, &s, reader, err);

	for (unsigned int i = 0; i < FW_COM_PORTS && error == 0; i++) {
		if (s.com[i] != (lpc->com[i].uart != NULL))
			return err_set(err, EINVAL,
				       "saved state and this board differ in "
				       "%s",
				       com_ports[i].name);
		if (s.com[i])
			error = uart_load(lpc->com[i].uart, i, reader, err);
	}
	if (error == 0 && s.testdev != (lpc->testdev != NULL))
		return err_set(err, EINVAL,
			       "saved state and this board differ in "
			       "pc-testdev");
	if (error == 0 && s.testdev)
		error = pc_testdev_load(lpc->testdev, reader, err);
	for (unsigned int i = 0; i < IRQ_PIRQ_COUNT && error == 0; i++)
		irq_pirq_write(pci_irqs(dev), i, s.pirq[i]);
	return error;
}

const struct pci_device_ops lpc_ops = {
    .create = create,
    .destroy = destroy,
    .config_reading = config_reading,
    .config_written = config_written,
    .save = save,
    .load = load,
};

/* -- for the board --------------------------------------------------------- */

void lpc_describe(const struct lpc *lpc, struct fw_board *out)
{
	for (unsigned int i = 0; i < FW_COM_PORTS; i++)
		out->com[i] = (struct fw_com){
		    .present = lpc != NULL && lpc->com[i].uart != NULL,
		    .port = com_ports[i].port,
		    .irq = com_ports[i].irq,
		};
	out->has_lpc = lpc != NULL;
	out->lpc_slot = lpc != NULL ? lpc->slot : 0;
}

unsigned int lpc_ports_end(const struct lpc *lpc, unsigned int first)
{
	return lpc != NULL && lpc->testdev != NULL
		   ? MAX(first, PC_TESTDEV_PORTS_END)
		   : first;
}

static int needs_bridge(const char *device, struct err *err)
{
	return err_set(err, ENODEV,
		       "lpc.%s: needs the LPC bridge, for example -s 31,lpc",
		       device);
}

int lpc_check(const struct lpc *lpc, struct config *config, struct err *err)
{
	for (unsigned int i = 0; i < FW_COM_PORTS && lpc == NULL; i++) {
		if (com_node(config, i) != NULL)
			return needs_bridge(com_ports[i].name, err);
	}
	if (lpc == NULL && config_get(config, "lpc.pc-testdev") != NULL)
		return needs_bridge("pc-testdev", err);
	return 0;
}
