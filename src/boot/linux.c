// SPDX-License-Identifier: BSD-2-Clause
/*
 * Linux, entered by its 64-bit boot protocol, a 32-bit one by that for 32 bits
 * (Documentation/arch/x86/boot.rst). The order of things: the initrd, whose
 * size is known, takes its place at the top of low memory; the kernel takes
 * its place below; then both are read, and at last what only describes them
 * is written: boot_params, tables, registers.
 */
#include "boot/linux.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot/bzimage.h"
#include "boot/cpu.h"
#include "boot/kaslr.h"
#include "boot/loader.h"
#include "boot/params.h"
#include "boot/unpack.h"
#include "firmware/lowmem.h"

struct linux_loader {
	struct loader *base;
	bool is_bzimage;
	struct bzimage header;   /* of a bzImage, or usual values */
	struct boot_file initrd; /* fd -1: none */
	bool want_kaslr;
	char action[32];
};

__printf(2, 0) static void name_format(struct loader *loader, const char *fmt,
				       const char *packing)
{
	struct boot_result *result = &loader->result;

	snprintf(result->format, sizeof(result->format), fmt, packing);
}

/* -- places -------------------------------------------------------------- */

/* The initrd goes as high as the kernel allows, so that it is in no way. */
static int place_initrd(struct linux_loader *l, struct err *err)
{
	const struct guest_memory *memory = &l->base->memory;
	struct boot_result *result = &l->base->result;
	uint64_t size = l->initrd.size;
	uint64_t top = MIN(memory->lowmem, l->header.initrd_max + 1);
	uint64_t floor = l->is_bzimage
			     ? l->header.pref_address + l->header.init_size
			     : LOWMEM_HOLE_END;

	if (floor <= top && size <= top - floor) {
		result->initrd_gpa = ALIGN_DOWN(top - size, 4 * KiB);
		l->base->limit = MIN(l->base->limit, result->initrd_gpa);
	} else if (l->header.initrd_above_4g &&
		   size <= memory->highend - memory->highbase) {
		result->initrd_gpa = memory->highbase;
	} else {
		return err_set(err, ENOMEM,
			       "%s: an initrd of %llu MiB does not fit beside "
			       "the kernel into %llu MiB of memory",
			       l->initrd.path, loader_in_mib(size),
			       loader_in_mib(memory->lowmem + memory->highend -
					     memory->highbase));
	}
	result->initrd_size = size;
	return 0;
}

static int place_kernel(void *arg, uint64_t start, uint64_t end, int64_t *slide,
			struct err *err)
{
	struct linux_loader *l = arg;
	const struct bzimage *header = &l->header;
	int error;

	if (l->is_bzimage)
		end = MAX(end, header->pref_address + header->init_size);
	error = loader_place_kernel(l->base, start, end, slide, err);
	if (error != 0)
		return error;
	/* A bare ELF file does not say whether it may be moved. */
	if (l->want_kaslr && header->relocatable && header->has_64bit_entry)
		*slide = (int64_t)kaslr_choose(l->base->limit - end,
					       header->alignment);
	l->base->result.kernel_gpa += (uint64_t)*slide;
	l->base->result.kernel_end += (uint64_t)*slide;
	return 0;
}

/* -- the kernel ---------------------------------------------------------- */

static int randomize(struct linux_loader *l, struct err *err)
{
	const struct bzimage *header = &l->header;
	struct boot_result *result = &l->base->result;
	struct image *image = &l->base->image;
	uint64_t size = result->kernel_end - result->kernel_gpa;
	uint64_t low = image->start;

	if (!l->want_kaslr) {
		result->kaslr = "off: nokaslr";
		return 0;
	}
	/* Its relocations have another form, and move it in memory only. */
	if (!header->has_64bit_entry) {
		result->kaslr = "off: a 32-bit kernel";
		return 0;
	}
	if (!kaslr_has_relocations(image) || low + size >= KERNEL_IMAGE_SIZE) {
		result->kaslr = "off: the kernel has no relocations";
		return 0;
	}
	result->kaslr = "on";
	result->kaslr_slide =
	    kaslr_choose(KERNEL_IMAGE_SIZE - low - size, header->alignment);
	return kaslr_relocate(image, result->kaslr_slide, err);
}

static int finish_image(struct linux_loader *l, struct err *err)
{
	struct image *image = &l->base->image;
	int error = image_finish(image, err);

	l->base->result.entry = image->entry + (uint64_t)image->slide;
	return error != 0 ? error : randomize(l, err);
}

static int read_bare(struct linux_loader *l, struct err *err)
{
	int error;

	name_format(l->base, "%s", "ELF");
	error = loader_read_elf(l->base, err);
	return error != 0 ? error : finish_image(l, err);
}

static int unpack_sink(void *arg, const uint8_t *data, size_t size,
		       struct err *err)
{
	struct linux_loader *l = arg;

	l->base->result.unpacked += size;
	/* The whole kernel image has 1 GiB of address space. */
	if (l->base->result.unpacked > KERNEL_IMAGE_SIZE)
		return err_set(err, EFBIG,
			       "%s: what is packed in it is larger than any "
			       "kernel (1 GiB)",
			       l->base->kernel.path);
	return image_feed(&l->base->image, data, size, err);
}

static void unpack_progress(void *arg, uint64_t bytes_in)
{
	struct linux_loader *l = arg;

	loader_progress_report(l->base, bytes_in, false);
}

static int read_payload(struct linux_loader *l,
			const struct unpack_format *format, struct err *err)
{
	struct loader *loader = l->base;
	struct unpack_job job = {
	    .file = &loader->kernel,
	    .offset = l->header.payload_offset,
	    .length = l->header.payload_size,
	    .sink = unpack_sink,
	    .progress = unpack_progress,
	    .arg = l,
	};
	int error;

	name_format(loader, "bzImage (%s)", format->name);
	snprintf(l->action, sizeof(l->action), "unpacking (%s)", format->name);
	loader_progress_begin(loader, loader->kernel.path, l->action,
			      job.length, &loader->image.written);
	error = format->run(&job, err);
	loader->result.unpack_ns = loader_now_ns() - loader->started;
	loader_progress_report(loader, job.length, true);
	return error != 0 ? error : finish_image(l, err);
}

/* The kernel as it is in the file; it unpacks and randomizes itself. */
static int read_packed(struct linux_loader *l, const char *packing,
		       struct err *err)
{
	const struct bzimage *header = &l->header;
	struct loader *loader = l->base;
	uint64_t gpa = header->pref_address;
	uint64_t end = gpa + MAX(header->init_size, header->code_size);
	int error = loader_check_place(loader, gpa, end, err);

	if (error != 0)
		return error;
	name_format(loader, "bzImage (%s, unpacked by the guest)", packing);
	loader->result.kaslr = "left to the guest";
	loader->result.kernel_gpa = gpa;
	loader->result.kernel_end = end;
	loader->result.entry =
	    gpa + (header->has_64bit_entry ? ENTRY_64_OFFSET : 0);
	return loader_read_file(loader, &loader->kernel, header->code_offset,
				gpa, header->code_size, err);
}

static int read_bzimage(struct linux_loader *l, struct err *err)
{
	uint8_t magic[UNPACK_MAGIC_SIZE];
	const struct unpack_format *format;
	int error;

	if (l->header.payload_size < sizeof(magic))
		return read_packed(l, "no payload", err);
	error = boot_file_read(&l->base->kernel, l->header.payload_offset,
			       magic, sizeof(magic), err);
	if (error != 0)
		return error;
	format = unpack_find(magic);
	if (format == NULL)
		return read_packed(l, "unknown packing", err);
	if (format->run == NULL)
		return read_packed(l, format->name, err);
	return read_payload(l, format, err);
}

/* -- all of it ----------------------------------------------------------- */

/* What the user wants must be something that Linux can take. */
static int check_request(const struct linux_loader *l, struct err *err)
{
	uint64_t max = MIN(l->header.cmdline_max, LOWMEM_CMDLINE_SIZE - 1);
	size_t length = strlen(l->base->cmdline);

	if (l->base->request->modules != 0)
		return err_set(err, EINVAL,
			       "%s: Linux takes no modules (boot.module): give "
			       "it an initrd",
			       l->base->kernel.path);
	if (length <= max)
		return 0;
	return err_set(err, EINVAL,
		       "command line of %zu bytes: this kernel takes %llu",
		       length, (unsigned long long)max);
}

static int open_initrd(struct linux_loader *l, struct err *err)
{
	const char *path = l->base->request->initrd;
	int error;

	if (path == NULL || *path == '\0')
		return 0;
	error = boot_file_open(&l->initrd, path, err);
	return error != 0 ? error : place_initrd(l, err);
}

static int read_initrd(struct linux_loader *l, struct err *err)
{
	if (l->initrd.fd < 0)
		return 0;
	return loader_read_file(l->base, &l->initrd, 0,
				l->base->result.initrd_gpa, l->initrd.size,
				err);
}

static int describe(struct linux_loader *l, struct vcpu *bsp, struct err *err)
{
	const struct boot_result *result = &l->base->result;
	const struct boot_params_in params = {
	    .header = &l->header,
	    .cmdline = l->base->cmdline,
	    .initrd_gpa = result->initrd_gpa,
	    .initrd_size = result->initrd_size,
	    .kaslr = result->kaslr_slide != 0,
	};
	bool is_64 = l->header.has_64bit_entry;
	int error = boot_params_write(&l->base->memory, &params);

	if (error == 0)
		error = is_64 ? boot_cpu_tables64(&l->base->memory)
			      : boot_cpu_tables32(&l->base->memory);
	if (error != 0)
		return err_sys(err, -error,
			       "cannot write the kernel's parameters to the "
			       "guest's memory");
	if (is_64)
		return boot_cpu_registers64(bsp, result->entry, err);
	return boot_cpu_registers_linux32(bsp, (uint32_t)result->entry, err);
}

static int load_parts(struct linux_loader *l, struct vcpu *bsp, struct err *err)
{
	struct loader *loader = l->base;
	int error = check_request(l, err);

	if (error == 0)
		error = open_initrd(l, err);
	if (error == 0)
		error = image_init(&loader->image, &loader->memory,
				   loader->kernel.path, err);
	if (error != 0)
		return error;
	loader->image.place = place_kernel;
	loader->image.place_arg = l;
	/* The setup header vouches for it, as it does for no ELF file. */
	loader->image.any_kernel = !l->header.has_64bit_entry;
	error = l->is_bzimage ? read_bzimage(l, err) : read_bare(l, err);
	if (error == 0)
		error = read_initrd(l, err);
	return error != 0 ? error : describe(l, bsp, err);
}

static int load(struct linux_loader *l, struct vcpu *bsp, struct err *err)
{
	int error;

	l->want_kaslr = !kaslr_forbidden(l->base->cmdline);
	l->initrd.fd = -1;
	error = load_parts(l, bsp, err);
	boot_file_close(&l->initrd);
	return error;
}

bool linux_is_bzimage(const struct loader *loader)
{
	return bzimage_is(loader->start, loader->start_size);
}

int linux_load_bzimage(struct loader *loader, struct vcpu *bsp, struct err *err)
{
	struct linux_loader l = {.base = loader, .is_bzimage = true};
	int error = bzimage_parse(&l.header, &loader->kernel, err);

	return error != 0 ? error : load(&l, bsp, err);
}

bool linux_is_elf(const struct loader *loader)
{
	return image_is_elf(loader->start, loader->start_size);
}

int linux_load_elf(struct loader *loader, struct vcpu *bsp, struct err *err)
{
	struct linux_loader l = {.base = loader};

	bzimage_default(&l.header);
	return load(&l, bsp, err);
}
