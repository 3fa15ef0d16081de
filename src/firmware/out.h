/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bytes of a firmware table, appended one after another to a buffer of
 * fixed size. Nothing is written past its end: the first write that does not
 * fit sets error, and from then on nothing is written at all, so that only
 * the end of the work has to look.
 */
#ifndef FIRMWARE_OUT_H
#define FIRMWARE_OUT_H

#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"
#include "base/err.h"
#include "firmware/board.h"

struct fw_out {
	uint8_t *data;
	size_t size; /* written so far */
	size_t room;
	int error; /* 0 or -ENOSPC; sticky */
};

/* The next size bytes, zero; NULL when they do not fit. */
uint8_t *out_take(struct fw_out *out, size_t size);

void out_bytes(struct fw_out *out, const void *from, size_t size);
void out_u8(struct fw_out *out, uint8_t value);
void out_u16(struct fw_out *out, uint16_t value);
void out_u32(struct fw_out *out, uint32_t value);
void out_u64(struct fw_out *out, uint64_t value);

/* Zeros until size is a multiple of align, a power of two. */
void out_align(struct fw_out *out, size_t align);

/* Moves what is written from position at on by size bytes and puts from's
   there. */
void out_insert(struct fw_out *out, size_t at, const void *from, size_t size);

/* out->size as an int, or -ENOSPC with a line in err; what: "ACPI tables". */
int out_finish(const struct fw_out *out, const char *what, struct err *err);

/* The byte that makes the sum of all size bytes zero, when it is added. */
uint8_t fw_checksum(const void *from, size_t size);

/* -EINVAL with a line in err for a board that no table can describe. */
int fw_board_check(const struct fw_board *board, struct err *err);

#endif
