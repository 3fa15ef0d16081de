/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keyboard controller: Intel's 8042 as the AT has it, with a keyboard
 * that answers its commands and on which nobody types, no mouse, and the
 * command that resets the machine.
 */
#ifndef DEV_I8042_H
#define DEV_I8042_H

#include "base/state.h"
#include "dev/board.h"

struct i8042;
struct irq_wires;

int i8042_create(struct board *board, struct irq_wires *irqs,
		 struct i8042 **out, struct err *err);
void i8042_destroy(struct i8042 *kbc);

int i8042_save(struct i8042 *kbc, struct state_writer *writer);
int i8042_load(struct i8042 *kbc, struct state_reader *reader, struct err *err);

#endif
