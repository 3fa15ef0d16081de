/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes and words of memory, without vector registers: libc's memcpy and memset
 * use those, and they may hold the guest's state (cpu.h).
 */
#ifndef SOFT_BYTES_H
#define SOFT_BYTES_H

#include <stddef.h>
#include <stdint.h>

/* What a guest's vCPUs do to each other in its memory is no race of ours. */
#if defined(__has_attribute) && __has_attribute(no_sanitize)
#define RACES_ALLOWED __attribute__((no_sanitize("thread")))
#else
#define RACES_ALLOWED
#endif

/* rep movsb: no vector registers. */
static inline void copy_bytes(void *to, const void *from, size_t len)
{
	__asm__ volatile("rep movsb"
			 : "+D"(to), "+S"(from), "+c"(len)
			 :
			 : "memory");
}

typedef uint64_t unaligned_64 __attribute__((aligned(1), may_alias));
typedef uint32_t unaligned_32 __attribute__((aligned(1), may_alias));

/* At most 16: rep movsb begins late, and what it wrote is not forwarded. */
RACES_ALLOWED static inline void copy_few(void *to, const void *from,
					  unsigned len)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (len >= 8) {
		uint64_t first = *(const unaligned_64 *)f;
		uint64_t last = *(const unaligned_64 *)(f + len - 8);

		*(unaligned_64 *)t = first;
		*(unaligned_64 *)(t + len - 8) = last;
	} else if (len >= 4) {
		uint32_t first = *(const unaligned_32 *)f;
		uint32_t last = *(const unaligned_32 *)(f + len - 4);

		*(unaligned_32 *)t = first;
		*(unaligned_32 *)(t + len - 4) = last;
	} else {
		for (unsigned n = 0; n < len; n++)
			t[n] = f[n];
	}
}

static inline void zero_bytes(void *to, size_t len)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(0) : "memory");
}

static inline void fill_words(uint64_t *to, uint64_t value, size_t count)
{
	__asm__ volatile("rep stosq"
			 : "+D"(to), "+c"(count)
			 : "a"(value)
			 : "memory");
}

#endif
