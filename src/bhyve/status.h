/* SPDX-License-Identifier: BSD-2-Clause */
/* What bhyve's exit status says; scripts that restart VMs depend on it. */
#ifndef BHYVE_STATUS_H
#define BHYVE_STATUS_H

enum status {
	STATUS_RESET = 0, /* the guest asked for a reset; also -h */
	STATUS_POWEROFF = 1,
	STATUS_USAGE = 1,
	STATUS_HALT = 2,
	STATUS_TRIPLEFAULT = 3,
	STATUS_ERROR = 4,
	STATUS_MALFORMED = 64, /* EX_USAGE: an option's argument */
};

#endif
