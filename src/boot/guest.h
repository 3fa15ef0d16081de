/* SPDX-License-Identifier: BSD-2-Clause */
/* Writing a loader's bytes into the guest's memory, by the write gate. */
#ifndef BOOT_GUEST_H
#define BOOT_GUEST_H

#include <vmmapi.h>

#include "base/bits.h"

struct guest_memory {
	struct vmctx *ctx;
	uint64_t lowmem; /* RAM is [0, lowmem) and [highbase, highend) */
	uint64_t highbase;
	uint64_t highend;
	bool is_zero; /* not yet written by anybody */
};

void guest_memory_init(struct guest_memory *memory, struct vmctx *ctx,
		       bool is_zero);

/* All three: 0, or -EFAULT when the range is not all RAM. */
int guest_write(const struct guest_memory *memory, uint64_t gpa,
		const void *data, uint64_t size);
int guest_clear(const struct guest_memory *memory, uint64_t gpa, uint64_t size);

/* Writes data; pages of zeros are not touched where memory is zero anyway. */
int guest_write_sparse(const struct guest_memory *memory, uint64_t gpa,
		       const uint8_t *data, uint64_t size);

#endif
