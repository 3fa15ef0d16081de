// SPDX-License-Identifier: BSD-2-Clause
/*
 * Kernels with a PVH entry point: an ELF note of Xen's says where they are
 * entered in 32-bit protected mode, without firmware (Xen's
 * docs/misc/pvh.pandoc; xen/include/public/arch-x86/hvm/start_info.h).
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "boot/cpu.h"
#include "boot/handover.h"
#include "boot/loader.h"

/* -- the note ------------------------------------------------------------ */

#define NOTE_OWNER   "Xen"
#define PHYS32_ENTRY 18
#define NOTE_HEADER  12
#define NOTES_MAX    (64 * KiB) /* Linux has half a KiB of them */
#define SEGMENTS_MAX 64

/* The entry point in a block of notes; the descriptor has 4 or 8 bytes. */
static bool find_note(const uint8_t *notes, size_t size, uint64_t *entry)
{
	while (size >= NOTE_HEADER) {
		uint64_t name_size = load_le32(notes);
		uint64_t desc_size = load_le32(notes + 4);
		uint32_t type = load_le32(notes + 8);
		const uint8_t *name = notes + NOTE_HEADER;
		uint64_t desc = NOTE_HEADER + ALIGN_UP(name_size, 4);
		uint64_t next = desc + ALIGN_UP(desc_size, 4);

		/* The last one need not be padded. */
		if (desc + desc_size > size)
			return false;
		if (type == PHYS32_ENTRY && name_size == sizeof(NOTE_OWNER) &&
		    memcmp(name, NOTE_OWNER, sizeof(NOTE_OWNER)) == 0 &&
		    (desc_size == 4 || desc_size == 8)) {
			*entry = desc_size == 4 ? load_le32(notes + desc)
						: load_le64(notes + desc);
			return true;
		}
		if (next > size)
			return false;
		notes += next;
		size -= next;
	}
	return false;
}

static bool read_notes(const struct loader *loader, uint64_t offset,
		       uint64_t size, uint64_t *entry)
{
	uint8_t *notes;
	bool found;

	if (size == 0 || size > NOTES_MAX)
		return false;
	notes = malloc(size);
	found =
	    notes != NULL &&
	    boot_file_read(&loader->kernel, offset, notes, size, NULL) == 0 &&
	    find_note(notes, size, entry);
	free(notes);
	return found;
}

struct table {
	uint64_t offset;
	unsigned int entry_size;
	unsigned int count;
	bool is_64;
};

/* Where the program headers are; false: no ELF file for an x86. */
static bool find_table(const struct loader *loader, struct table *table)
{
	Elf64_Ehdr wide;
	Elf32_Ehdr small;

	if (loader->start_size < sizeof(wide) ||
	    !image_is_elf(loader->start, loader->start_size))
		return false;
	memcpy(&wide, loader->start, sizeof(wide));
	memcpy(&small, loader->start, sizeof(small));
	table->is_64 = wide.e_ident[EI_CLASS] == ELFCLASS64;
	table->offset = table->is_64 ? wide.e_phoff : small.e_phoff;
	table->count = table->is_64 ? wide.e_phnum : small.e_phnum;
	table->entry_size =
	    table->is_64 ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	return wide.e_ident[EI_DATA] == ELFDATA2LSB &&
	       table->count <= SEGMENTS_MAX &&
	       range_inside(table->offset,
			    (uint64_t)table->count * table->entry_size,
			    loader->start_size);
}

static bool find_entry(const struct loader *loader, uint64_t *entry)
{
	struct table table;
	bool found = false;

	if (!find_table(loader, &table))
		return false;
	for (unsigned int i = 0; !found && i < table.count; i++) {
		const uint8_t *at =
		    loader->start + table.offset + i * table.entry_size;
		Elf64_Phdr wide;
		Elf32_Phdr small;

		memcpy(&small, at, sizeof(small));
		if (small.p_type != PT_NOTE) /* the first field of both */
			continue;
		if (table.is_64) {
			memcpy(&wide, at, sizeof(wide));
			found = read_notes(loader, wide.p_offset, wide.p_filesz,
					   entry);
		} else {
			found = read_notes(loader, small.p_offset,
					   small.p_filesz, entry);
		}
	}
	return found;
}

bool pvh_is(const struct loader *loader)
{
	uint64_t entry;

	return find_entry(loader, &entry);
}

/* -- the kernel ---------------------------------------------------------- */

/* Into memory that has been loaded: the entry's own bytes are somewhere. */
static bool is_in_image(const struct image *image, uint64_t entry)
{
	for (unsigned int i = 0; i < image->segments; i++) {
		if (entry - image->segment[i].gpa < image->segment[i].filesz)
			return true;
	}
	return false;
}

static int load_kernel(struct loader *loader, struct err *err)
{
	struct boot_result *result = &loader->result;
	struct image *image = &loader->image;
	int error;

	snprintf(result->format, sizeof(result->format), "PVH (%s)",
		 loader->start[EI_CLASS] == ELFCLASS64 ? "ELF64" : "ELF32");
	error = image_init(image, &loader->memory, loader->kernel.path, err);
	if (error != 0)
		return error;
	image->any_kernel = true;
	image->place = loader_place_kernel;
	image->place_arg = loader;
	error = loader_read_elf(loader, err);
	if (error == 0)
		error = image_finish(image, err);
	if (error != 0)
		return error;
	if (!find_entry(loader, &result->entry) ||
	    !is_in_image(image, result->entry))
		return err_set(err, EINVAL,
			       "%s: the PVH entry point of its Xen note is "
			       "outside of all segments",
			       loader->kernel.path);
	return 0;
}

/* -- what it is told: struct hvm_start_info ------------------------------ */

#define START_MAGIC    0x336ec578u
#define START_VERSION  1 /* the first with a memory map */
#define START_MODULES  12
#define START_MODLIST  16
#define START_CMDLINE  24
#define START_RSDP     32
#define START_MEMMAP   40
#define START_MEMMAPS  48
#define START_SIZE     56
#define MEMMAP_ENTRY   24
#define MODULE_ENTRY   32
#define MEMMAP_OFFSET  64
#define MODLIST_OFFSET (MEMMAP_OFFSET + E820_MAX * MEMMAP_ENTRY)

_Static_assert(START_SIZE <= MEMMAP_OFFSET, "");
_Static_assert(MODLIST_OFFSET + BOOT_MODULES_MAX * MODULE_ENTRY <=
		   LOWMEM_BOOT_PARAMS_SIZE,
	       "the page has room for all modules");

static void put_memmap(struct handover *h)
{
	uint8_t *at = h->page + MEMMAP_OFFSET;

	/* The types are e820's. */
	for (size_t i = 0; i < h->e820_count; i++, at += MEMMAP_ENTRY) {
		store_le64(at, h->e820[i].base);
		store_le64(at + 8, h->e820[i].size);
		store_le32(at + 16, h->e820[i].type);
	}
	store_le64(h->page + START_MEMMAP, HANDOVER_GPA + MEMMAP_OFFSET);
	store_le32(h->page + START_MEMMAPS, (uint32_t)h->e820_count);
}

static void put_modules(struct handover *h)
{
	uint8_t *at = h->page + MODLIST_OFFSET;

	for (unsigned int i = 0; i < h->modules; i++, at += MODULE_ENTRY) {
		store_le64(at, h->module[i].gpa);
		store_le64(at + 8, h->module[i].size);
		store_le64(at + 16, h->module[i].text);
	}
	store_le32(h->page + START_MODULES, h->modules);
	if (h->modules > 0)
		store_le64(h->page + START_MODLIST,
			   HANDOVER_GPA + MODLIST_OFFSET);
}

static int describe(struct handover *h, struct err *err)
{
	uint64_t cmdline;
	int error = handover_text(h, h->loader->cmdline, "", &cmdline, err);

	if (error == 0)
		error = handover_modules(h, err);
	if (error != 0)
		return error;
	store_le32(h->page, START_MAGIC);
	store_le32(h->page + 4, START_VERSION);
	store_le64(h->page + START_CMDLINE, cmdline);
	store_le64(h->page + START_RSDP, LOWMEM_ACPI);
	put_memmap(h);
	put_modules(h);
	return 0;
}

int pvh_load(struct loader *loader, struct vcpu *bsp, struct err *err)
{
	static const struct handover_format format = {load_kernel, describe, 0};

	return handover_load(loader, bsp, &format, err);
}
