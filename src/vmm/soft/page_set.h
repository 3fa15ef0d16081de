/* SPDX-License-Identifier: BSD-2-Clause */
/* Sets of pages, or of larger pieces of memory, hashed into some bits: has()
   may say yes too often. */
#ifndef SOFT_PAGE_SET_H
#define SOFT_PAGE_SET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bits.h"

static inline unsigned page_set_bit(uint64_t key, unsigned bits)
{
	return (unsigned)((key ^ key >> bits) & MASK(bits - 1, 0));
}

static inline void page_set_add(uint64_t *set, unsigned bits, uint64_t key)
{
	unsigned bit = page_set_bit(key, bits);

	set[bit / 64] |= 1ull << bit % 64;
}

static inline bool page_set_has(const uint64_t *set, unsigned bits,
				uint64_t key)
{
	unsigned bit = page_set_bit(key, bits);

	return set[bit / 64] >> bit % 64 & 1;
}

#endif
