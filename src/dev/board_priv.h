/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside the board: what its devices share beside board.h. */
#ifndef DEV_BOARD_PRIV_H
#define DEV_BOARD_PRIV_H

#include "backend/chardev.h"
#include "base/state.h"
#include "dev/board.h"
#include "dev/irq.h"
#include "dev/range.h"

struct bootrom;
struct i8042;
struct pm;

struct board_parts {
	struct board board;
	struct irq_wires irqs;
	struct chardev_env chardevs;
	struct bootrom *bootrom; /* NULL: there is none */
	struct i8042 *i8042;
	struct pm *pm;
	struct io_range post_codes[2];
	bool paused;
};

struct irq_wires *board_irqs(struct board *board);

/*
 * The character device that a node names: its variable path, tcp or unix.
 * *out is NULL when none is set: nothing is connected.
 */
int board_open_chardev(struct board *board, struct config_node *node,
		       struct chardev **out, struct err *err);

/*
 * Everything the guest can see of the board. First the vCPUs stop; then, on
 * the event loop's thread, board_pause waits for what is with backends, and
 * nothing of the board changes until board_resume. Without a pause saving and
 * loading are -EBUSY. After a load that failed the board is good for nothing
 * but board_destroy.
 */
void board_pause(struct board *board);
void board_resume(struct board *board);
int board_save(struct board *board, struct state_writer *writer);
int board_load(struct board *board, struct state_reader *reader,
	       struct err *err);

#endif
