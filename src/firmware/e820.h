/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest's memory map, in the form of the BIOS call INT 15h, AX=E820h
 * (ACPI specification 5.1, 15.1): what a loader hands to its kernel.
 */
#ifndef FIRMWARE_E820_H
#define FIRMWARE_E820_H

#include <stddef.h>
#include <stdint.h>

enum e820_type {
	E820_RAM = 1,
	E820_RESERVED = 2,
};

struct e820_entry {
	uint64_t base;
	uint64_t size;
	uint32_t type;
};

#define E820_MAX 8 /* room that always suffices for e820_build */

/*
 * The map of a VM with lowmem bytes of RAM below 4 GiB and highmem bytes
 * from 4 GiB on, in ascending order. Returns the number of entries.
 */
size_t e820_build(uint64_t lowmem, uint64_t highmem,
		  struct e820_entry map[E820_MAX]);

#endif
