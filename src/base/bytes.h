/* SPDX-License-Identifier: BSD-2-Clause */
/* Little-endian loads and stores at any alignment. */
#ifndef BASE_BYTES_H
#define BASE_BYTES_H

#include <endian.h>
#include <stdint.h>
#include <string.h>

#define BYTES_LE(bits)                                                         \
	static inline uint##bits##_t load_le##bits(const void *from)           \
	{                                                                      \
		uint##bits##_t value;                                          \
		memcpy(&value, from, sizeof(value));                           \
		return le##bits##toh(value);                                   \
	}                                                                      \
	static inline void store_le##bits(void *to, uint##bits##_t value)      \
	{                                                                      \
		value = htole##bits(value);                                    \
		memcpy(to, &value, sizeof(value));                             \
	}

BYTES_LE(16)
BYTES_LE(32)
BYTES_LE(64)
#undef BYTES_LE

#endif
