/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The boot ROM (variable bootrom), which ends at 4 GiB and is memory that the
 * guest cannot write, and below it the flash that firmware keeps its variables
 * in (variable bootvars): a file, which reads as it is and takes a byte after
 * the command to write one.
 */
#ifndef DEV_BOOTROM_H
#define DEV_BOOTROM_H

#include "base/state.h"
#include "dev/board.h"

struct bootrom;

/* *out stays NULL when no ROM is asked for. */
int bootrom_create(struct board *board, struct bootrom **out, struct err *err);
void bootrom_destroy(struct bootrom *rom);

/* What the flash is at, not what it holds: that is the file's. */
int bootrom_save(struct bootrom *rom, struct state_writer *writer);
int bootrom_load(struct bootrom *rom, struct state_reader *reader,
		 struct err *err);

#endif
