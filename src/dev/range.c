// SPDX-License-Identifier: BSD-2-Clause
/* Ranges of addresses: a sorted table behind a sequence lock. */
#include "dev/range.h"

#include <errno.h>
#include <string.h>

/* A guest whose other CPUs move BARs all the time makes us take the lock. */
#define LOCK_FREE_TRIES 64

struct found {
	uint64_t base;
	uint64_t last;
	struct io_range *range; /* NULL: nobody */
};

void range_map_init(struct range_map *map, const char *unit, uint64_t last)
{
	memset(map, 0, sizeof(*map));
	map->unit = unit;
	map->last = last;
	pthread_mutex_init(&map->lock, NULL);
}

void range_map_destroy(struct range_map *map)
{
	pthread_mutex_destroy(&map->lock);
}

/* The index of the first entry that ends at or after address. */
static unsigned int search(const struct range_map *map, uint64_t address,
			   unsigned int count)
{
	unsigned int low = 0;
	unsigned int high = MIN(count, RANGE_MAP_MAX);

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (atomic_load_explicit(&map->entries[middle].last,
					 memory_order_relaxed) < address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct found look(const struct range_map *map, uint64_t address)
{
	unsigned int count =
	    atomic_load_explicit(&map->count, memory_order_relaxed);
	unsigned int at = search(map, address, count);
	struct found found = {0};

	if (at >= count || at >= RANGE_MAP_MAX)
		return found;
	found.base =
	    atomic_load_explicit(&map->entries[at].base, memory_order_relaxed);
	found.last =
	    atomic_load_explicit(&map->entries[at].last, memory_order_relaxed);
	if (found.base <= address)
		found.range = atomic_load_explicit(&map->entries[at].range,
						   memory_order_relaxed);
	return found;
}

static struct found lookup(struct range_map *map, uint64_t address)
{
	struct found found;

	for (int i = 0; i < LOCK_FREE_TRIES; i++) {
		unsigned int before =
		    atomic_load_explicit(&map->sequence, memory_order_acquire);

		found = look(map, address);
		atomic_thread_fence(memory_order_acquire);
		if (before % 2 == 0 &&
		    atomic_load_explicit(&map->sequence,
					 memory_order_relaxed) == before)
			return found;
	}
	pthread_mutex_lock(&map->lock);
	found = look(map, address);
	pthread_mutex_unlock(&map->lock);
	return found;
}

static void begin_change(struct range_map *map)
{
	atomic_fetch_add_explicit(&map->sequence, 1, memory_order_relaxed);
	atomic_thread_fence(memory_order_release);
}

static void end_change(struct range_map *map)
{
	atomic_fetch_add_explicit(&map->sequence, 1, memory_order_release);
}

static void copy_entry(struct range_entry *to, const struct range_entry *from)
{
	atomic_store_explicit(&to->base, from->base, memory_order_relaxed);
	atomic_store_explicit(&to->last, from->last, memory_order_relaxed);
	atomic_store_explicit(&to->range, from->range, memory_order_relaxed);
}

static void insert(struct range_map *map, unsigned int at,
		   const struct io_range *range, uint64_t base)
{
	struct range_entry entry;
	unsigned int count = map->count;

	atomic_init(&entry.base, base);
	atomic_init(&entry.last, base + (range->size - 1));
	atomic_init(&entry.range, (struct io_range *)range);
	begin_change(map);
	for (unsigned int i = count; i > at; i--)
		copy_entry(&map->entries[i], &map->entries[i - 1]);
	copy_entry(&map->entries[at], &entry);
	atomic_store_explicit(&map->count, count + 1, memory_order_relaxed);
	end_change(map);
}

static int add_locked(struct range_map *map, const struct io_range *range,
		      uint64_t base, struct err *err)
{
	uint64_t last = base + (range->size - 1);
	const struct range_entry *next;
	unsigned int at;

	if (range->size == 0 || last < base || last > map->last)
		return err_set(
		    err, EINVAL, "%s: no %s range of 0x%llx bytes at 0x%llx",
		    range->owner, map->unit, (unsigned long long)range->size,
		    (unsigned long long)base);
	at = search(map, base, map->count);
	next = &map->entries[at];
	if (at < map->count && next->base <= last)
		return err_set(
		    err, EEXIST, "%s: %s range 0x%llx-0x%llx is taken by %s",
		    range->owner, map->unit, (unsigned long long)base,
		    (unsigned long long)last, next->range->owner);
	if (map->count == RANGE_MAP_MAX)
		return err_set(err, ENOSPC, "%s: more than %d %s ranges",
			       range->owner, RANGE_MAP_MAX, map->unit);
	insert(map, at, range, base);
	return 0;
}

int range_add(struct range_map *map, const struct io_range *range,
	      uint64_t base, struct err *err)
{
	int error;

	pthread_mutex_lock(&map->lock);
	error = add_locked(map, range, base, err);
	pthread_mutex_unlock(&map->lock);
	return error;
}

static void erase(struct range_map *map, unsigned int at)
{
	unsigned int count = map->count;

	begin_change(map);
	for (unsigned int i = at; i + 1 < count; i++)
		copy_entry(&map->entries[i], &map->entries[i + 1]);
	atomic_store_explicit(&map->count, count - 1, memory_order_relaxed);
	end_change(map);
}

bool range_remove(struct range_map *map, const struct io_range *range)
{
	bool found = false;

	pthread_mutex_lock(&map->lock);
	for (unsigned int i = 0; i < map->count && !found; i++) {
		found = map->entries[i].range == range;
		if (found)
			erase(map, i);
	}
	pthread_mutex_unlock(&map->lock);
	return found;
}

static uint64_t width_mask(unsigned int bytes)
{
	return bytes >= 8 ? ~0ull : BIT(8 * bytes) - 1;
}

/* [offset, offset + bytes) is inside of range. */
static void access_range(const struct io_range *range, uint64_t offset,
			 unsigned int bytes, bool write, uint64_t *data)
{
	unsigned int step = MIN(bytes, range->max_bytes);
	uint64_t mask = width_mask(step);
	uint64_t answer = 0;

	for (unsigned int i = 0; i < bytes; i += step) {
		if (write)
			range->write(range->arg, offset + i, step,
				     *data >> (8 * i) & mask);
		else
			answer |=
			    (range->read(range->arg, offset + i, step) & mask)
			    << (8 * i);
	}
	if (!write)
		*data = answer;
}

/* Over an end: each byte is its own access. */
static int access_bytes(struct range_map *map, uint64_t address,
			unsigned int bytes, bool write, uint64_t *data)
{
	uint64_t answer = 0;
	int error = -ENXIO;

	for (unsigned int i = 0; i < bytes; i++) {
		struct found found = lookup(map, address + i);
		uint64_t byte = write ? *data >> (8 * i) & 0xff : 0xff;

		if (found.range != NULL) {
			access_range(found.range, address + i - found.base, 1,
				     write, &byte);
			error = 0;
		}
		answer |= byte << (8 * i);
	}
	if (!write)
		*data = answer;
	return error;
}

int range_access(struct range_map *map, uint64_t address, unsigned int bytes,
		 bool write, uint64_t *data)
{
	struct found found = lookup(map, address);

	if (found.range == NULL || bytes - 1 > found.last - address)
		return access_bytes(map, address, bytes, write, data);
	access_range(found.range, address - found.base, bytes, write, data);
	return 0;
}
