/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The LPC bridge, Intel's 82371SB (PIIX3) function 0: the PIRQ router, the
 * serial ports com1 to com4 of lpc.comN, and pc-testdev.
 */
#ifndef DEV_LPC_H
#define DEV_LPC_H

#include "dev/pci.h"

struct lpc;

/* com ports and the bridge's slot. */
void lpc_describe(const struct lpc *lpc, struct fw_board *out);

/* Where PCI's I/O ports may begin, which is not before first. */
unsigned int lpc_ports_end(const struct lpc *lpc, unsigned int first);

/* A line about a device of -l that needs the bridge. lpc may be NULL. */
int lpc_check(const struct lpc *lpc, struct config *config, struct err *err);

#endif
