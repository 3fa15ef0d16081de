// SPDX-License-Identifier: BSD-2-Clause
/* The one list of what -s and -l can make. */
#include <string.h>

#include "dev/board.h"
#include "dev/pci.h"

/* name in -s, variable of a first bare word, operations, summary */
#define PCI_DEVICES(X)                                                         \
	X("amd_hostbridge", NULL, amd_hostbridge_ops, "AMD host bridge")       \
	X("hostbridge", NULL, hostbridge_ops, "host bridge")                   \
	X("lpc", NULL, lpc_ops, "LPC bridge for the devices of -l")            \
	X("uart", "path", pci_uart_ops, "serial card")                         \
	X("virtio-blk", "path", virtio_blk_ops, "disk")                        \
	X("virtio-rnd", NULL, virtio_rnd_ops, "random numbers")

#define DECLARATION(name, first, ops, summary)                                 \
	extern const struct pci_device_ops ops;
#define DESCRIPTION(name, first, ops, summary) {name, first, summary, false},
#define OPERATIONS(name, first, ops, summary)  &ops,

PCI_DEVICES(DECLARATION)

const struct board_device *board_pci_devices(void)
{
	static const struct board_device list[] = {
	    PCI_DEVICES(DESCRIPTION){NULL, NULL, NULL, false},
	};

	return list;
}

const struct pci_device_ops *pci_find_ops(const char *name)
{
	static const struct pci_device_ops *const list[] = {
	    PCI_DEVICES(OPERATIONS)};
	const struct board_device *devices = board_pci_devices();

	for (size_t i = 0; devices[i].name != NULL; i++) {
		if (strcmp(devices[i].name, name) == 0)
			return list[i];
	}
	return NULL;
}

const struct board_device *board_lpc_devices(void)
{
	static const struct board_device list[] = {
	    {"bootrom", NULL, "boot ROM: file[,file of its variables]", false},
	    {"com1", "path", "serial port at 0x3f8, IRQ 4", false},
	    {"com2", "path", "serial port at 0x2f8, IRQ 3", false},
	    {"com3", "path", "serial port at 0x3e8, IRQ 4", false},
	    {"com4", "path", "serial port at 0x2e8, IRQ 3", false},
	    {"pc-testdev", NULL, "ports of kvm-unit-tests", true},
	    {NULL, NULL, NULL, false},
	};

	return list;
}
