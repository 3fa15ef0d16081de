// SPDX-License-Identifier: BSD-2-Clause
/* A board's list of devices that shows each form of configuration. */
#include <errno.h>
#include <stdio.h>
#include <vmmapi.h>

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

/* One engine that cannot, and one that can. */
int vm_get_engine_info(int index, struct vm_engine_info *info)
{
	*info = (struct vm_engine_info){.name = "slow",
					.usable = true,
					.ring0_speed = 480000,
					.text = "is emulated"};
	if (index == 0)
		return 0;
	*info = (struct vm_engine_info){
	    .name = "sure", .usable = true, .automatic = true};
	if (index == 1)
		return 0;
	errno = ENOENT;
	return -1;
}
