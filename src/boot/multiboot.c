// SPDX-License-Identifier: BSD-2-Clause
/*
 * Kernels of the Multiboot Specification 0.6.96, "multiboot 1". Section
 * numbers are that specification's. The kernel may be a 64-bit ELF file, too;
 * it is entered in 32-bit protected mode all the same.
 */
#include <elf.h>
#include <errno.h>
#include <stdio.h>

#include "base/bytes.h"
#include "boot/cpu.h"
#include "boot/handover.h"
#include "boot/loader.h"

/* -- the header (3.1) ---------------------------------------------------- */

#define HEADER_MAGIC      0x1badb002u
#define HEADER_SIZE       12 /* magic, flags, checksum */
#define HEADER_ADDRESSES  32 /* the same and five addresses */
#define HEADER_PAGE_ALIGN BIT(0)
#define HEADER_MEMORY     BIT(1)
#define HEADER_VIDEO      BIT(2)
#define HEADER_REQUIRED   MASK(15, 0) /* to be refused when not known */
#define HEADER_ADDRESS    BIT(16)

struct multiboot {
	uint64_t offset; /* of the header in the file */
	uint32_t flags;
	/* With HEADER_ADDRESS (3.1.3). */
	uint64_t header_addr;
	uint64_t load_addr;
	uint64_t load_end_addr; /* 0: the end of the file */
	uint64_t bss_end_addr;  /* 0: no bss */
	uint64_t entry_addr;
};

/* Aligned to four bytes, and all of it in the first 8 KiB. */
static bool find_header(const struct loader *loader, struct multiboot *mb)
{
	size_t size = loader->start_size;

	for (size_t at = 0; range_inside(at, HEADER_SIZE, size); at += 4) {
		const uint8_t *header = loader->start + at;
		uint32_t flags = load_le32(header + 4);
		bool addresses = (flags & HEADER_ADDRESS) != 0;

		if (load_le32(header) != HEADER_MAGIC ||
		    HEADER_MAGIC + flags + load_le32(header + 8) != 0 ||
		    (addresses && !range_inside(at, HEADER_ADDRESSES, size)))
			continue;
		*mb = (struct multiboot){.offset = at, .flags = flags};
		if (!addresses)
			return true;
		mb->header_addr = load_le32(header + 12);
		mb->load_addr = load_le32(header + 16);
		mb->load_end_addr = load_le32(header + 20);
		mb->bss_end_addr = load_le32(header + 24);
		mb->entry_addr = load_le32(header + 28);
		return true;
	}
	return false;
}

bool multiboot_is(const struct loader *loader)
{
	struct multiboot mb;

	return find_header(loader, &mb);
}

static int check_flags(const struct loader *loader, const struct multiboot *mb,
		       struct err *err)
{
	uint64_t unknown =
	    mb->flags & HEADER_REQUIRED & ~(HEADER_PAGE_ALIGN | HEADER_MEMORY);

	if (unknown == HEADER_VIDEO)
		return err_set(err, ENOTSUP,
			       "%s: this multiboot kernel requires a video "
			       "mode (flag 2), and the VM has no display",
			       loader->kernel.path);
	if (unknown != 0)
		return err_set(err, ENOTSUP,
			       "%s: this multiboot kernel requires features "
			       "that are not known here (flags %#llx)",
			       loader->kernel.path,
			       (unsigned long long)unknown);
	return 0;
}

/* -- the kernel ---------------------------------------------------------- */

static int bad_addresses(const struct loader *loader, const char *why,
			 struct err *err)
{
	return err_set(err, EINVAL, "%s: multiboot header: %s",
		       loader->kernel.path, why);
}

/* Where the header says, whatever the file is (3.1.3). */
static int load_addressed(struct loader *loader, const struct multiboot *mb,
			  struct err *err)
{
	uint64_t before = mb->header_addr - mb->load_addr;
	uint64_t offset, size, end;
	int64_t slide;
	int error;

	if (mb->header_addr < mb->load_addr || before > mb->offset)
		return bad_addresses(loader,
				     "header_addr and load_addr do not fit to "
				     "where it is in the file",
				     err);
	offset = mb->offset - before;
	size = loader->kernel.size - offset;
	if (mb->load_end_addr != 0) {
		if (mb->load_end_addr <= mb->load_addr ||
		    mb->load_end_addr - mb->load_addr > size)
			return bad_addresses(
			    loader, "load_end_addr is beyond the file", err);
		size = mb->load_end_addr - mb->load_addr;
	}
	end = mb->load_addr + size;
	if (mb->bss_end_addr != 0 && mb->bss_end_addr < end)
		return bad_addresses(
		    loader, "bss_end_addr is before load_end_addr", err);
	if (mb->entry_addr - mb->load_addr >= size)
		return bad_addresses(loader, "entry_addr is outside", err);
	error = loader_place_kernel(loader, mb->load_addr,
				    MAX(end, mb->bss_end_addr), &slide, err);
	if (error == 0)
		error = loader_read_file(loader, &loader->kernel, offset,
					 mb->load_addr, size, err);
	if (error == 0 && guest_clear(&loader->memory, end,
				      loader->result.kernel_end - end) != 0)
		error =
		    bad_addresses(loader, "bss is outside of the memory", err);
	loader->result.entry = mb->entry_addr;
	return error;
}

static int load_elf(struct loader *loader, struct err *err)
{
	struct image *image = &loader->image;
	int error;

	if (!image_is_elf(loader->start, loader->start_size))
		return bad_addresses(loader,
				     "no addresses (flag 16), and the file is "
				     "no ELF file",
				     err);
	error = image_init(image, &loader->memory, loader->kernel.path, err);
	if (error != 0)
		return error;
	image->any_kernel = true;
	image->place = loader_place_kernel;
	image->place_arg = loader;
	error = loader_read_elf(loader, err);
	if (error == 0)
		error = image_finish(image, err);
	loader->result.entry = image->entry;
	return error;
}

static int load_kernel(struct loader *loader, struct err *err)
{
	struct boot_result *result = &loader->result;
	const char *kind = "addresses in its header";
	struct multiboot mb;
	int error;

	if (!find_header(loader, &mb))
		return bad_addresses(loader, "there is none", err);
	error = check_flags(loader, &mb, err);
	if (error != 0)
		return error;
	if ((mb.flags & HEADER_ADDRESS) != 0)
		error = load_addressed(loader, &mb, err);
	else {
		kind =
		    loader->start[EI_CLASS] == ELFCLASS64 ? "ELF64" : "ELF32";
		error = load_elf(loader, err);
	}
	snprintf(result->format, sizeof(result->format), "multiboot (%s)",
		 kind);
	return error;
}

/* -- what it is told (3.3) ----------------------------------------------- */

#define BOOT_MAGIC       0x2badb002u
#define INFO_SIZE        0x80 /* all fields, rounded up */
#define INFO_FLAGS       0
#define INFO_MEM_LOWER   4
#define INFO_MEM_UPPER   8
#define INFO_CMDLINE     16
#define INFO_MODS_COUNT  20
#define INFO_MODS_ADDR   24
#define INFO_MMAP_LENGTH 44
#define INFO_MMAP_ADDR   48
#define INFO_LOADER_NAME 64
#define HAS_MEMORY       BIT(0)
#define HAS_CMDLINE      BIT(2)
#define HAS_MODULES      BIT(3)
#define HAS_MMAP         BIT(6)
#define HAS_LOADER_NAME  BIT(9)
#define MMAP_ENTRY       24 /* its own size, which does not count itself */
#define MODULE_ENTRY     16
#define MMAP_OFFSET      INFO_SIZE
#define MODULES_OFFSET   (MMAP_OFFSET + E820_MAX * MMAP_ENTRY)

_Static_assert(MODULES_OFFSET + BOOT_MODULES_MAX * MODULE_ENTRY <=
		   LOWMEM_BOOT_PARAMS_SIZE,
	       "the page has room for all modules");

static void put_memory(struct handover *h)
{
	uint64_t upper = h->loader->memory.lowmem - LOWMEM_HOLE_END;
	uint8_t *at = h->page + MMAP_OFFSET;

	store_le32(h->page + INFO_MEM_LOWER, LOWMEM_BASE_END / KiB);
	store_le32(h->page + INFO_MEM_UPPER, (uint32_t)(upper / KiB));
	for (size_t i = 0; i < h->e820_count; i++, at += MMAP_ENTRY) {
		store_le32(at, MMAP_ENTRY - 4);
		store_le64(at + 4, h->e820[i].base);
		store_le64(at + 12, h->e820[i].size);
		store_le32(at + 20, h->e820[i].type);
	}
	store_le32(h->page + INFO_MMAP_LENGTH,
		   (uint32_t)(h->e820_count * MMAP_ENTRY));
	store_le32(h->page + INFO_MMAP_ADDR, HANDOVER_GPA + MMAP_OFFSET);
}

static void put_modules(struct handover *h)
{
	uint8_t *at = h->page + MODULES_OFFSET;

	for (unsigned int i = 0; i < h->modules; i++, at += MODULE_ENTRY) {
		const struct handover_module *module = &h->module[i];

		store_le32(at, (uint32_t)module->gpa);
		store_le32(at + 4, (uint32_t)(module->gpa + module->size));
		store_le32(at + 8, (uint32_t)module->text);
	}
	store_le32(h->page + INFO_MODS_COUNT, h->modules);
	store_le32(h->page + INFO_MODS_ADDR, HANDOVER_GPA + MODULES_OFFSET);
}

static int describe(struct handover *h, struct err *err)
{
	uint64_t cmdline, name;
	int error;

	/* As other loaders do, the kernel's own path is its first word. */
	error = handover_text(h, h->loader->kernel.path, h->loader->cmdline,
			      &cmdline, err);
	if (error == 0)
		error = handover_text(h, "anyhyve", "", &name, err);
	if (error == 0)
		error = handover_modules(h, err);
	if (error != 0)
		return error;
	store_le32(h->page + INFO_FLAGS, HAS_MEMORY | HAS_CMDLINE |
					     HAS_MODULES | HAS_MMAP |
					     HAS_LOADER_NAME);
	store_le32(h->page + INFO_CMDLINE, (uint32_t)cmdline);
	store_le32(h->page + INFO_LOADER_NAME, (uint32_t)name);
	put_memory(h);
	put_modules(h);
	return 0;
}

int multiboot_load(struct loader *loader, struct vcpu *bsp, struct err *err)
{
	static const struct handover_format format = {load_kernel, describe,
						      BOOT_MAGIC};

	return handover_load(loader, bsp, &format, err);
}
