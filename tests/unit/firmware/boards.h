/* SPDX-License-Identifier: BSD-2-Clause */
/* Boards that the tests describe: usual ones, the smallest, the largest. */
#ifndef TESTS_FIRMWARE_BOARDS_H
#define TESTS_FIRMWARE_BOARDS_H

#include "firmware/board.h"

enum test_board {
	BOARD_USUAL, /* 2 CPUs, one bus, COM1 behind an LPC bridge */
	BOARD_BARE,  /* 1 CPU and nothing else */
	BOARD_FULL,  /* as much of everything as a board can have */
	BOARD_ODD,   /* COMs without LPC, APIC IDs beyond xAPIC's, no INTx */
	TEST_BOARDS,
};

/* A board's INTx wires live as long as the program. */
void test_board(enum test_board which, struct fw_board *out);
const char *test_board_name(enum test_board which);

#endif
