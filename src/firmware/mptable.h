/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of the MultiProcessor Specification 1.4, for guests that find
 * their CPUs and interrupt wiring without ACPI. The floating pointer comes
 * first, so gpa must be one of the places where a guest looks for it
 * (LOWMEM_MPTABLE).
 */
#ifndef FIRMWARE_MPTABLE_H
#define FIRMWARE_MPTABLE_H

#include "base/err.h"
#include "firmware/board.h"

/* Bytes used, or -errno. */
int mptable_build(const struct fw_board *board, uint64_t gpa, void *buffer,
		  size_t room, struct err *err);

#endif
