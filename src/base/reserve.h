/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses of this process that nothing else gets: what will be mapped there
 * comes later. They begin at a multiple of a huge page, so that files that
 * are in huge pages are mapped as such.
 */
#ifndef BASE_RESERVE_H
#define BASE_RESERVE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include "base/bits.h"

/* NULL and errno; else munmap gives them back. Here, as the soft engine's files
   may call nothing that uses vector registers. */
static inline void *reserve_addresses(size_t bytes)
{
	size_t before, all = bytes + HUGE_PAGE_BYTES;
	uint8_t *p =
	    (uint8_t *)mmap(NULL, all, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	before = -(uintptr_t)p & (HUGE_PAGE_BYTES - 1);
	if (before != 0)
		munmap(p, before);
	munmap(p + before + bytes, HUGE_PAGE_BYTES - before);
	return p + before;
}

#endif
