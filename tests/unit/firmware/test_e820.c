// SPDX-License-Identifier: BSD-2-Clause
/* The memory map: ascending, without overlap, and RAM is what is RAM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bits.h"
#include "firmware/e820.h"
#include "firmware/lowmem.h"

struct map {
	struct e820_entry entry[E820_MAX];
	size_t count;
};

static struct map build(uint64_t lowmem, uint64_t highmem)
{
	struct map map;

	map.count = e820_build(lowmem, highmem, map.entry);
	assert_in_range(map.count, 1, E820_MAX);
	for (size_t i = 0; i < map.count; i++) {
		assert_true(map.entry[i].size > 0);
		assert_true(map.entry[i].base + map.entry[i].size >
			    map.entry[i].base);
		if (i > 0)
			assert_true(map.entry[i - 1].base +
					map.entry[i - 1].size <=
				    map.entry[i].base);
	}
	return map;
}

/* All of [base, base + size) has the type. */
static bool is(const struct map *map, uint64_t base, uint64_t size,
	       uint32_t type)
{
	for (size_t i = 0; i < map->count; i++) {
		const struct e820_entry *entry = &map->entry[i];

		if (entry->type == type && base >= entry->base &&
		    range_inside(base - entry->base, size, entry->size))
			return true;
	}
	return false;
}

static uint64_t ram(const struct map *map)
{
	uint64_t total = 0;

	for (size_t i = 0; i < map->count; i++)
		total +=
		    map->entry[i].type == E820_RAM ? map->entry[i].size : 0;
	return total;
}

static void test_small(void **state)
{
	struct map map = build(512 * MiB, 0);

	assert_true(is(&map, 0, 0xa0000, E820_RAM));
	assert_true(is(&map, 0xa0000, 0x60000, E820_RESERVED));
	assert_true(is(&map, 0x100000, 511 * MiB, E820_RAM));
	assert_true(is(&map, 0xe0000000, 0x10000000, E820_RESERVED));
	assert_int_equal(ram(&map), 512 * MiB - 0x60000);
}

static void test_large(void **state)
{
	struct map map = build(3 * GiB, 61 * GiB);

	assert_true(is(&map, 4 * GiB, 61 * GiB, E820_RAM));
	assert_int_equal(ram(&map), 64 * GiB - 0x60000);
	assert_false(is(&map, 3 * GiB, 1, E820_RAM));
	assert_false(is(&map, 3 * GiB, 1, E820_RESERVED)); /* PCI's */
}

static void test_tiny(void **state)
{
	struct map map = build(64 * KiB, 0);

	assert_int_equal(ram(&map), 64 * KiB);
	map = build(1 * MiB, 0);
	assert_int_equal(ram(&map), 0xa0000);
}

static void test_tables_are_reserved(void **state)
{
	struct map map = build(512 * MiB, 0);

	assert_true(
	    is(&map, LOWMEM_MPTABLE, LOWMEM_MPTABLE_SIZE, E820_RESERVED));
	assert_true(is(&map, LOWMEM_SMBIOS, LOWMEM_SMBIOS_SIZE, E820_RESERVED));
	assert_true(is(&map, LOWMEM_ACPI, LOWMEM_ACPI_SIZE, E820_RESERVED));
	/* And nobody writes into another's place. */
	assert_int_equal(LOWMEM_MPTABLE + LOWMEM_MPTABLE_SIZE, LOWMEM_SMBIOS);
	assert_int_equal(LOWMEM_SMBIOS + LOWMEM_SMBIOS_SIZE, LOWMEM_ACPI);
	assert_int_equal(LOWMEM_ACPI + LOWMEM_ACPI_SIZE, LOWMEM_HOLE_END);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_small),
	    cmocka_unit_test(test_large),
	    cmocka_unit_test(test_tiny),
	    cmocka_unit_test(test_tables_are_reserved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
