// SPDX-License-Identifier: BSD-2-Clause
#include "firmware/e820.h"

#include "base/bits.h"
#include "firmware/lowmem.h"

struct e820_map {
	struct e820_entry *entries;
	size_t count;
};

static void add_range(struct e820_map *map, uint64_t base, uint64_t end,
		      enum e820_type type)
{
	if (end <= base)
		return;
	map->entries[map->count++] = (struct e820_entry){
	    .base = base,
	    .size = end - base,
	    .type = type,
	};
}

size_t e820_build(uint64_t lowmem, uint64_t highmem,
		  struct e820_entry entries[E820_MAX])
{
	struct e820_map map = {.entries = entries};

	add_range(&map, 0, MIN(lowmem, LOWMEM_BASE_END), E820_RAM);
	/* Reserved also holds the tables, so the guest keeps off them. */
	add_range(&map, LOWMEM_BASE_END, LOWMEM_HOLE_END, E820_RESERVED);
	add_range(&map, LOWMEM_HOLE_END, lowmem, E820_RAM);
	/* Linux uses ECAM only where something says it is taken. */
	add_range(&map, FIRMWARE_ECAM_BASE,
		  FIRMWARE_ECAM_BASE + FIRMWARE_ECAM_SIZE, E820_RESERVED);
	add_range(&map, 4 * GiB, 4 * GiB + highmem, E820_RAM);
	return map.count;
}
