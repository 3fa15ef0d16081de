// SPDX-License-Identifier: BSD-2-Clause
/*
 * The order of things: the kernel file's header is read; the initrd, whose
 * size is known, takes its place at the top of low memory; the kernel takes
 * its place below; then both are read, and at last what only describes them
 * is written: boot_params, tables, registers.
 */
#include "boot/boot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "boot/bzimage.h"
#include "boot/cpu.h"
#include "boot/file.h"
#include "boot/guest.h"
#include "boot/image.h"
#include "boot/kaslr.h"
#include "boot/params.h"
#include "boot/unpack.h"
#include "firmware/lowmem.h"

#define CHUNK_SIZE (256 * KiB)

struct loader {
	const struct boot_request *request;
	const char *cmdline;
	struct guest_memory memory;
	struct boot_result result;

	struct boot_file kernel;
	bool is_bzimage;
	struct bzimage header; /* of a bzImage, or usual values */
	struct image image;

	struct boot_file initrd; /* fd -1: none */
	uint64_t limit;          /* the kernel must end here */

	bool want_kaslr;
	uint64_t initrd_written;
	struct boot_progress progress;
	const uint64_t *progress_out; /* what bytes_out counts */
	char action[32];
	uint64_t started;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

static unsigned long long in_mib(uint64_t bytes)
{
	return (bytes + MiB - 1) / MiB;
}

__printf(2, 0) static void name_format(struct loader *loader, const char *fmt,
				       const char *packing)
{
	struct boot_result *result = &loader->result;

	snprintf(result->format, sizeof(result->format), fmt, packing);
}

/* -- progress ------------------------------------------------------------ */

static void progress_begin(struct loader *loader, const char *file,
			   const char *action, uint64_t total)
{
	loader->started = now_ns();
	loader->progress_out = file == loader->initrd.path
				   ? &loader->initrd_written
				   : &loader->image.written;
	loader->progress = (struct boot_progress){
	    .file = file,
	    .action = action,
	    .total_in = total,
	};
}

static void progress_report(struct loader *loader, uint64_t bytes_in, bool done)
{
	struct boot_progress *progress = &loader->progress;

	progress->bytes_in = bytes_in;
	progress->bytes_out = *loader->progress_out;
	progress->ns = now_ns() - loader->started;
	progress->done = done;
	if (loader->request->progress != NULL)
		loader->request->progress(loader->request->progress_arg,
					  progress);
}

/* -- places -------------------------------------------------------------- */

/* The initrd goes as high as the kernel allows, so that it is in no way. */
static int place_initrd(struct loader *loader, struct err *err)
{
	const struct guest_memory *memory = &loader->memory;
	uint64_t size = loader->initrd.size;
	uint64_t top = MIN(memory->lowmem, loader->header.initrd_max + 1);
	uint64_t floor = loader->is_bzimage ? loader->header.pref_address +
						  loader->header.init_size
					    : LOWMEM_HOLE_END;

	if (floor <= top && size <= top - floor) {
		loader->result.initrd_gpa = ALIGN_DOWN(top - size, 4 * KiB);
		loader->limit = MIN(loader->limit, loader->result.initrd_gpa);
	} else if (loader->header.initrd_above_4g &&
		   size <= memory->highend - memory->highbase) {
		loader->result.initrd_gpa = memory->highbase;
	} else {
		return err_set(err, ENOMEM,
			       "%s: an initrd of %llu MiB does not fit beside "
			       "the kernel into %llu MiB of memory",
			       loader->initrd.path, in_mib(size),
			       in_mib(memory->lowmem + memory->highend -
				      memory->highbase));
	}
	loader->result.initrd_size = size;
	return 0;
}

/* May the kernel have [start, end)? */
static int check_place(const struct loader *loader, uint64_t start,
		       uint64_t end, struct err *err)
{
	if (start < LOWMEM_HOLE_END)
		return err_set(err, EINVAL,
			       "%s: a segment at %#llx would overwrite the "
			       "tables below 1 MiB",
			       loader->kernel.path, (unsigned long long)start);
	if (end > loader->memory.lowmem)
		return err_set(err, ENOMEM,
			       "%s: this kernel needs memory up to %llu MiB, "
			       "the VM has %llu MiB there",
			       loader->kernel.path, in_mib(end),
			       in_mib(loader->memory.lowmem));
	if (end > loader->limit)
		return err_set(err, ENOMEM,
			       "%s: the kernel (up to %llu MiB) and the initrd "
			       "(%llu MiB) do not fit together into %llu MiB",
			       loader->kernel.path, in_mib(end),
			       in_mib(loader->initrd.size),
			       in_mib(loader->memory.lowmem));
	return 0;
}

static int place_kernel(void *arg, uint64_t start, uint64_t end, int64_t *slide,
			struct err *err)
{
	struct loader *loader = arg;
	const struct bzimage *header = &loader->header;
	int error;

	if (loader->is_bzimage)
		end = MAX(end, header->pref_address + header->init_size);
	error = check_place(loader, start, end, err);
	if (error != 0)
		return error;
	*slide = 0;
	/* A bare ELF file does not say whether it may be moved. */
	if (loader->want_kaslr && header->relocatable)
		*slide = (int64_t)kaslr_choose(loader->limit - end,
					       header->alignment);
	loader->result.kernel_gpa = start + (uint64_t)*slide;
	loader->result.kernel_end = end + (uint64_t)*slide;
	return 0;
}

/* -- the kernel ---------------------------------------------------------- */

static int randomize(struct loader *loader, struct err *err)
{
	const struct bzimage *header = &loader->header;
	uint64_t size = loader->result.kernel_end - loader->result.kernel_gpa;
	uint64_t low = loader->image.start;

	if (!loader->want_kaslr) {
		loader->result.kaslr = "off: nokaslr";
		return 0;
	}
	if (!kaslr_has_relocations(&loader->image) ||
	    low + size >= KERNEL_IMAGE_SIZE) {
		loader->result.kaslr = "off: the kernel has no relocations";
		return 0;
	}
	loader->result.kaslr = "on";
	loader->result.kaslr_slide =
	    kaslr_choose(KERNEL_IMAGE_SIZE - low - size, header->alignment);
	return kaslr_relocate(&loader->image, loader->result.kaslr_slide, err);
}

static int finish_image(struct loader *loader, struct err *err)
{
	int error = image_finish(&loader->image, err);

	loader->result.entry =
	    loader->image.entry + (uint64_t)loader->image.slide;
	return error != 0 ? error : randomize(loader, err);
}

static int load_elf_pieces(struct loader *loader, uint8_t *chunk,
			   struct err *err)
{
	struct image *image = &loader->image;
	uint64_t size = loader->kernel.size;
	uint64_t at = 0;
	int error = 0;

	while (error == 0 && at < size) {
		uint64_t part = MIN(CHUNK_SIZE, size - at);

		error = boot_file_read(&loader->kernel, at, chunk, part, err);
		if (error == 0)
			error = image_feed(image, chunk, part, err);
		progress_report(loader, at + part, false);
		at += part;
		part = MIN(image_skippable(image), size - at);
		image_skip(image, part);
		at += part;
	}
	return error;
}

static int load_elf(struct loader *loader, struct err *err)
{
	uint8_t *chunk = malloc(CHUNK_SIZE);
	int error;

	if (chunk == NULL)
		return err_sys(err, ENOMEM, "%s", loader->kernel.path);
	name_format(loader, "%s", "ELF");
	progress_begin(loader, loader->kernel.path, "loading",
		       loader->kernel.size);
	error = load_elf_pieces(loader, chunk, err);
	free(chunk);
	progress_report(loader, loader->kernel.size, true);
	return error != 0 ? error : finish_image(loader, err);
}

static int unpack_sink(void *arg, const uint8_t *data, size_t size,
		       struct err *err)
{
	struct loader *loader = arg;

	loader->result.unpacked += size;
	/* The whole kernel image has 1 GiB of address space. */
	if (loader->result.unpacked > KERNEL_IMAGE_SIZE)
		return err_set(err, EFBIG,
			       "%s: what is packed in it is larger than any "
			       "kernel (1 GiB)",
			       loader->kernel.path);
	return image_feed(&loader->image, data, size, err);
}

static void unpack_progress(void *arg, uint64_t bytes_in)
{
	progress_report(arg, bytes_in, false);
}

static int load_payload(struct loader *loader,
			const struct unpack_format *format, struct err *err)
{
	struct unpack_job job = {
	    .file = &loader->kernel,
	    .offset = loader->header.payload_offset,
	    .length = loader->header.payload_size,
	    .sink = unpack_sink,
	    .progress = unpack_progress,
	    .arg = loader,
	};
	int error;

	name_format(loader, "bzImage (%s)", format->name);
	snprintf(loader->action, sizeof(loader->action), "unpacking (%s)",
		 format->name);
	progress_begin(loader, loader->kernel.path, loader->action, job.length);
	error = format->run(&job, err);
	loader->result.unpack_ns = now_ns() - loader->started;
	progress_report(loader, job.length, true);
	return error != 0 ? error : finish_image(loader, err);
}

/* The kernel as it is in the file; it unpacks and randomizes itself. */
static int load_packed(struct loader *loader, const char *packing,
		       struct err *err)
{
	const struct bzimage *header = &loader->header;
	uint64_t gpa = header->pref_address;
	uint64_t end = gpa + MAX(header->init_size, header->code_size);
	uint64_t done = 0;
	uint8_t *chunk;
	int error = check_place(loader, gpa, end, err);

	if (error != 0)
		return error;
	chunk = malloc(CHUNK_SIZE);
	if (chunk == NULL)
		return err_sys(err, ENOMEM, "%s", loader->kernel.path);
	while (error == 0 && done < header->code_size) {
		uint64_t part = MIN(CHUNK_SIZE, header->code_size - done);

		error =
		    boot_file_read(&loader->kernel, header->code_offset + done,
				   chunk, part, err);
		if (error == 0 &&
		    guest_write(&loader->memory, gpa + done, chunk, part) != 0)
			error = err_set(err, EFAULT,
					"%s: cannot write it to "
					"the guest's memory",
					loader->kernel.path);
		done += part;
	}
	free(chunk);
	name_format(loader, "bzImage (%s, unpacked by the guest)", packing);
	loader->result.kaslr = "left to the guest";
	loader->result.kernel_gpa = gpa;
	loader->result.kernel_end = end;
	loader->result.entry = gpa + ENTRY_64_OFFSET;
	return error;
}

static int load_bzimage(struct loader *loader, struct err *err)
{
	uint8_t magic[UNPACK_MAGIC_SIZE];
	const struct unpack_format *format;
	int error;

	if (loader->header.payload_size < sizeof(magic))
		return load_packed(loader, "no payload", err);
	error = boot_file_read(&loader->kernel, loader->header.payload_offset,
			       magic, sizeof(magic), err);
	if (error != 0)
		return error;
	format = unpack_find(magic);
	if (format == NULL)
		return load_packed(loader, "unknown packing", err);
	if (format->run == NULL)
		return load_packed(loader, format->name, err);
	return load_payload(loader, format, err);
}

/* -- files --------------------------------------------------------------- */

static int recognize(struct loader *loader, struct err *err)
{
	uint8_t start[HDR_LAST] = {0};
	size_t size = (size_t)MIN(loader->kernel.size, sizeof(start));
	int error = boot_file_read(&loader->kernel, 0, start, size, err);

	if (error != 0)
		return error;
	loader->is_bzimage = bzimage_is(start, size);
	if (loader->is_bzimage)
		return bzimage_parse(&loader->header, &loader->kernel, err);
	bzimage_default(&loader->header);
	if (image_is_elf(start, size))
		return 0;
	return err_set(err, EINVAL,
		       "%s: not a Linux kernel (no bzImage, no ELF)",
		       loader->kernel.path);
}

static int check_cmdline(const struct loader *loader, struct err *err)
{
	uint64_t max = MIN(loader->header.cmdline_max, LOWMEM_CMDLINE_SIZE - 1);
	size_t length = strlen(loader->cmdline);

	if (length <= max)
		return 0;
	return err_set(err, EINVAL,
		       "command line of %zu bytes: this kernel takes %llu",
		       length, (unsigned long long)max);
}

static int read_initrd_pieces(struct loader *loader, uint8_t *to,
			      struct err *err)
{
	uint64_t size = loader->initrd.size;
	uint64_t *done = &loader->initrd_written;
	int error = 0;

	while (error == 0 && *done < size) {
		uint64_t part = MIN(CHUNK_SIZE, size - *done);

		error = boot_file_read(&loader->initrd, *done, to + *done, part,
				       err);
		*done += part;
		progress_report(loader, *done, false);
	}
	return error;
}

static int read_initrd(struct loader *loader, struct err *err)
{
	uint64_t size = loader->initrd.size;
	uint64_t gpa = loader->result.initrd_gpa;
	uint8_t *to;
	int error;

	if (loader->initrd.fd < 0)
		return 0;
	to = vm_mem_write_begin(loader->memory.ctx, gpa, size);
	if (to == NULL)
		return err_set(err, EFAULT,
			       "%s: cannot write it to the guest's memory",
			       loader->initrd.path);
	progress_begin(loader, loader->initrd.path, "loading", size);
	error = read_initrd_pieces(loader, to, err);
	vm_mem_write_end(loader->memory.ctx, gpa, size);
	progress_report(loader, size, true);
	return error;
}

static int open_files(struct loader *loader, struct err *err)
{
	const char *initrd = loader->request->initrd;
	int error =
	    boot_file_open(&loader->kernel, loader->request->kernel, err);

	if (error == 0 && initrd != NULL && *initrd != '\0')
		error = boot_file_open(&loader->initrd, initrd, err);
	return error;
}

static int describe(struct loader *loader, struct vcpu *bsp, struct err *err)
{
	const struct boot_params_in params = {
	    .header = &loader->header,
	    .cmdline = loader->cmdline,
	    .initrd_gpa = loader->result.initrd_gpa,
	    .initrd_size = loader->result.initrd_size,
	    .kaslr = loader->result.kaslr_slide != 0,
	};
	int error = boot_params_write(&loader->memory, &params);

	if (error == 0)
		error = boot_cpu_tables(&loader->memory);
	if (error != 0)
		return err_sys(err, -error,
			       "cannot write the kernel's parameters to the "
			       "guest's memory");
	return boot_cpu_registers(bsp, loader->result.entry, err);
}

static int load(struct loader *loader, struct vcpu *bsp, struct err *err)
{
	int error = open_files(loader, err);

	if (error == 0)
		error = recognize(loader, err);
	if (error == 0)
		error = check_cmdline(loader, err);
	if (error == 0 && loader->initrd.fd >= 0)
		error = place_initrd(loader, err);
	if (error == 0)
		error = image_init(&loader->image, &loader->memory,
				   loader->kernel.path, err);
	if (error != 0)
		return error;
	loader->image.place = place_kernel;
	loader->image.place_arg = loader;
	error = loader->is_bzimage ? load_bzimage(loader, err)
				   : load_elf(loader, err);
	if (error == 0)
		error = read_initrd(loader, err);
	return error != 0 ? error : describe(loader, bsp, err);
}

int boot_load(struct vmctx *ctx, struct vcpu *bsp,
	      const struct boot_request *request, struct boot_result *result,
	      struct err *err)
{
	struct loader loader = {
	    .request = request,
	    .cmdline = request->cmdline != NULL ? request->cmdline : "",
	    .kernel.fd = -1,
	    .initrd.fd = -1,
	};
	int error;

	guest_memory_init(&loader.memory, ctx, request->memory_is_zero);
	loader.limit = loader.memory.lowmem;
	loader.want_kaslr = !kaslr_forbidden(loader.cmdline);
	error = load(&loader, bsp, err);
	image_free(&loader.image);
	boot_file_close(&loader.initrd);
	boot_file_close(&loader.kernel);
	if (result != NULL)
		*result = loader.result;
	return error;
}
