/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIGTERM, SIGINT and SIGHUP as the VM's power button: the first presses it,
 * another one, or one while the guest has not enabled ACPI, switches it off.
 */
#ifndef BHYVE_SIGNALS_H
#define BHYVE_SIGNALS_H

#include "base/err.h"

struct machine;
struct signals;

/* Blocks them from the program's start on, so that none of them can leave a
   half-made VM behind: they take effect when the VM runs. */
void signals_block(void);

int signals_open(struct machine *machine, struct signals **out,
		 struct err *err);
void signals_close(struct signals *signals);

#endif
