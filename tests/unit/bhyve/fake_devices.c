// SPDX-License-Identifier: BSD-2-Clause
/* A board's list of devices that shows each form of configuration. */
#include "dev/board.h"

const struct board_device *board_pci_devices(void)
{
	static const struct board_device devices[] = {
	    {"hostbridge", NULL, "host bridge"},
	    {"lpc", NULL, "LPC bridge"},
	    {"uart", "path", "UART"},
	    {NULL, NULL, NULL},
	};

	return devices;
}

const struct board_device *board_lpc_devices(void)
{
	static const struct board_device devices[] = {
	    {"com1", "path", "serial port"},
	    {"com2", "path", "serial port"},
	    {"pc-testdev", NULL, "tests", true},
	    {NULL, NULL, NULL},
	};

	return devices;
}
