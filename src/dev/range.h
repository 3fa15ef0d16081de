/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ranges of addresses and who answers there; inout.h and mmio.h are the two
 * spaces that use it.
 *
 * Lookup takes no lock: the table is small, sorted and guarded by a sequence
 * count. An io_range belongs to whoever adds it and is only pointed to, so it
 * must live, unchanged, as long as the map, also while it is not in it: an
 * access that found it a moment before its removal still calls it.
 */
#ifndef DEV_RANGE_H
#define DEV_RANGE_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/err.h"

#define RANGE_MAP_MAX 256

/*
 * offset + bytes is never past size, bytes never above max_bytes: wider
 * accesses come as several, lowest address first. Offsets may be unaligned.
 * What read returns above bytes is ignored; write's value has zeros there.
 */
struct io_range {
	const char *owner; /* for messages */
	uint64_t size;
	unsigned int max_bytes; /* 1, 2, 4 or 8 */
	uint64_t (*read)(void *arg, uint64_t offset, unsigned int bytes);
	void (*write)(void *arg, uint64_t offset, unsigned int bytes,
		      uint64_t value);
	void *arg;
};

struct range_entry {
	_Atomic uint64_t base;
	_Atomic uint64_t last;
	struct io_range *_Atomic range;
};

struct range_map {
	const char *unit;     /* "port", "address" */
	uint64_t last;        /* highest address of the space */
	pthread_mutex_t lock; /* held to change it */
	atomic_uint sequence; /* odd: being changed */
	atomic_uint count;
	struct range_entry entries[RANGE_MAP_MAX];
};

void range_map_init(struct range_map *map, const char *unit, uint64_t last);
void range_map_destroy(struct range_map *map);

/* -EEXIST: overlaps another range; -EINVAL: outside of the space; -ENOSPC. */
int range_add(struct range_map *map, const struct io_range *range,
	      uint64_t base, struct err *err);
/* False: it was not in the map. */
bool range_remove(struct range_map *map, const struct io_range *range);

/*
 * One access of 1, 2, 4 or 8 bytes; what reaches over the end of a range is
 * done byte by byte. -ENXIO when nobody answered any byte; bytes that nobody
 * answers read as ones.
 */
int range_access(struct range_map *map, uint64_t address, unsigned int bytes,
		 bool write, uint64_t *data);

#endif
