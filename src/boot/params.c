// SPDX-License-Identifier: BSD-2-Clause
#include "boot/params.h"

#include <errno.h>
#include <sys/random.h>

#include "base/bytes.h"
#include "firmware/e820.h"
#include "firmware/lowmem.h"

#define SEED_SIZE 32

static void put_e820(const struct guest_memory *memory, uint8_t *params)
{
	struct e820_entry map[E820_MAX];
	size_t count =
	    e820_build(memory->lowmem, memory->highend - memory->highbase, map);
	uint8_t *at = params + BP_E820_TABLE;

	_Static_assert(E820_MAX <= E820_TABLE_ROOM,
		       "boot_params has room for the memory map");
	for (size_t i = 0; i < count; i++, at += E820_ENTRY_SIZE) {
		store_le64(at, map[i].base);
		store_le64(at + 8, map[i].size);
		store_le32(at + 16, map[i].type);
	}
	params[BP_E820_ENTRIES] = (uint8_t)count;
}

static void put_initrd(const struct boot_params_in *in, uint8_t *params)
{
	store_le32(params + HDR_RAMDISK_IMAGE, (uint32_t)in->initrd_gpa);
	store_le32(params + HDR_RAMDISK_SIZE, (uint32_t)in->initrd_size);
	store_le32(params + BP_EXT_RAMDISK_IMAGE,
		   (uint32_t)(in->initrd_gpa >> 32));
	store_le32(params + BP_EXT_RAMDISK_SIZE,
		   (uint32_t)(in->initrd_size >> 32));
}

/* struct setup_data: next, type, length, and then the data. */
static int write_seed(const struct guest_memory *memory)
{
	uint8_t node[16 + SEED_SIZE] = {0};

	store_le32(node + 8, SETUP_RNG_SEED);
	store_le32(node + 12, SEED_SIZE);
	if (getrandom(node + 16, SEED_SIZE, 0) != SEED_SIZE)
		return -EIO;
	return guest_write(memory, LOWMEM_SETUP_DATA, node, sizeof(node));
}

int boot_params_write(const struct guest_memory *memory,
		      const struct boot_params_in *in)
{
	/* Zero: no screen (a headless machine), no sentinel, no EFI. */
	uint8_t params[BP_SIZE] = {0};
	int error;

	memcpy(params + BP_SETUP_HEADER, in->header->header + BP_SETUP_HEADER,
	       BP_SETUP_HEADER_END - BP_SETUP_HEADER);
	params[HDR_TYPE_OF_LOADER] = LOADER_UNDEFINED;
	if (in->kaslr)
		params[HDR_LOADFLAGS] |= KASLR_FLAG;
	else
		params[HDR_LOADFLAGS] &= (uint8_t)~KASLR_FLAG;
	store_le32(params + HDR_CMD_LINE_PTR, LOWMEM_CMDLINE);
	store_le64(params + HDR_SETUP_DATA, LOWMEM_SETUP_DATA);
	store_le64(params + BP_ACPI_RSDP_ADDR, LOWMEM_ACPI);
	put_initrd(in, params);
	put_e820(memory, params);

	error = write_seed(memory);
	if (error == 0)
		error = guest_write(memory, LOWMEM_CMDLINE, in->cmdline,
				    strlen(in->cmdline) + 1);
	if (error == 0)
		error = guest_write(memory, LOWMEM_BOOT_PARAMS, params,
				    sizeof(params));
	return error;
}
