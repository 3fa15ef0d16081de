/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pc-testdev: what kvm-unit-tests expect of a board, as bhyve's -l pc-testdev
 * has it.
 *
 *	0xf4-0xf7	a write ends the VM with status (value << 1 | 1)
 *	0xe0-0xe3	a latch of 4 bytes
 *	0x2000 + n	a byte of 0 or not lowers or raises line n of the
 *			IOAPIC, and of the 8259 pair up to 15
 *	0xff000000	64 KiB of memory-mapped registers that keep what
 *			is written
 */
#ifndef DEV_PC_TESTDEV_H
#define DEV_PC_TESTDEV_H

#include "base/state.h"
#include "dev/board.h"
#include "dev/irq.h"

/* The ports end here; PCI's begin behind them. */
#define PC_TESTDEV_PORTS_END 0x2020u

struct pc_testdev;

int pc_testdev_create(struct board *board, struct irq_wires *irqs,
		      struct pc_testdev **out, struct err *err);
void pc_testdev_destroy(struct pc_testdev *dev);

int pc_testdev_save(struct pc_testdev *dev, struct state_writer *writer);
int pc_testdev_load(struct pc_testdev *dev, struct state_reader *reader,
		    struct err *err);

#endif
