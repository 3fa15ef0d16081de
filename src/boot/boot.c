// SPDX-License-Identifier: BSD-2-Clause
/*
 * The formats in the order in which they are tried, and what their loaders
 * have in common.
 */
#include "boot/boot.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "boot/loader.h"
#include "firmware/lowmem.h"

#define CHUNK_SIZE (256 * KiB)

static const struct format {
	bool (*is)(const struct loader *loader);
	int (*load)(struct loader *loader, struct vcpu *bsp, struct err *err);
} formats[] = {
    {linux_is_bzimage, linux_load_bzimage},
    {multiboot_is, multiboot_load},
    {pvh_is, pvh_load},
    {linux_is_elf, linux_load_elf},
};

uint64_t loader_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000ull + (uint64_t)now.tv_nsec;
}

unsigned long long loader_in_mib(uint64_t bytes)
{
	return (bytes + MiB - 1) / MiB;
}

/* -- progress ------------------------------------------------------------ */

void loader_progress_begin(struct loader *loader, const char *file,
			   const char *action, uint64_t total,
			   const uint64_t *out)
{
	loader->started = loader_now_ns();
	loader->progress_out = out;
	loader->progress = (struct boot_progress){
	    .file = file,
	    .action = action,
	    .total_in = total,
	};
}

void loader_progress_report(struct loader *loader, uint64_t bytes_in, bool done)
{
	struct boot_progress *progress = &loader->progress;

	progress->bytes_in = bytes_in;
	progress->bytes_out = *loader->progress_out;
	progress->ns = loader_now_ns() - loader->started;
	progress->done = done;
	if (loader->request->progress != NULL)
		loader->request->progress(loader->request->progress_arg,
					  progress);
}

/* -- places -------------------------------------------------------------- */

int loader_check_place(const struct loader *loader, uint64_t start,
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
			       loader->kernel.path, loader_in_mib(end),
			       loader_in_mib(loader->memory.lowmem));
	if (end > loader->limit)
		return err_set(err, ENOMEM,
			       "%s: the kernel (up to %llu MiB) and the initrd "
			       "(from %llu MiB on) do not fit together into "
			       "%llu MiB",
			       loader->kernel.path, loader_in_mib(end),
			       loader->limit / MiB,
			       loader_in_mib(loader->memory.lowmem));
	return 0;
}

int loader_place_kernel(void *arg, uint64_t start, uint64_t end, int64_t *slide,
			struct err *err)
{
	struct loader *loader = arg;

	*slide = 0;
	loader->result.kernel_gpa = start;
	loader->result.kernel_end = end;
	return loader_check_place(loader, start, end, err);
}

/* -- reading ------------------------------------------------------------- */

static int read_elf_pieces(struct loader *loader, uint8_t *chunk,
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
		loader_progress_report(loader, at + part, false);
		at += part;
		part = MIN(image_skippable(image), size - at);
		image_skip(image, part);
		at += part;
	}
	return error;
}

int loader_read_elf(struct loader *loader, struct err *err)
{
	uint8_t *chunk = malloc(CHUNK_SIZE);
	int error;

	if (chunk == NULL)
		return err_sys(err, ENOMEM, "%s", loader->kernel.path);
	loader_progress_begin(loader, loader->kernel.path, "loading",
			      loader->kernel.size, &loader->image.written);
	error = read_elf_pieces(loader, chunk, err);
	free(chunk);
	loader_progress_report(loader, loader->kernel.size, true);
	return error;
}

/* In pieces, for the sake of progress. */
static int copy_pieces(struct loader *loader, const struct boot_file *file,
		       uint64_t offset, uint64_t gpa, uint64_t size,
		       uint8_t *chunk, struct err *err)
{
	uint64_t *done = &loader->file_written;

	while (*done < size) {
		uint64_t part = MIN(CHUNK_SIZE, size - *done);
		int error =
		    boot_file_read(file, offset + *done, chunk, part, err);

		if (error != 0)
			return error;
		error = guest_write(&loader->memory, gpa + *done, chunk, part);
		if (error != 0)
			return err_set(err, -error,
				       "%s: cannot write it to the guest's "
				       "memory",
				       file->path);
		*done += part;
		loader_progress_report(loader, *done, false);
	}
	return 0;
}

int loader_read_file(struct loader *loader, const struct boot_file *file,
		     uint64_t offset, uint64_t gpa, uint64_t size,
		     struct err *err)
{
	uint8_t *chunk;
	int error;

	if (size == 0)
		return 0;
	chunk = malloc(CHUNK_SIZE);
	if (chunk == NULL)
		return err_sys(err, ENOMEM, "%s", file->path);
	loader->file_written = 0;
	loader_progress_begin(loader, file->path, "loading", size,
			      &loader->file_written);
	error = copy_pieces(loader, file, offset, gpa, size, chunk, err);
	free(chunk);
	loader_progress_report(loader, size, true);
	return error;
}

/* -- all of it ----------------------------------------------------------- */

static int open_kernel(struct loader *loader, struct err *err)
{
	int error =
	    boot_file_open(&loader->kernel, loader->request->kernel, err);

	if (error != 0)
		return error;
	loader->start_size =
	    (size_t)MIN(loader->kernel.size, sizeof(loader->start));
	return boot_file_read(&loader->kernel, 0, loader->start,
			      loader->start_size, err);
}

static int load(struct loader *loader, struct vcpu *bsp, struct err *err)
{
	int error = open_kernel(loader, err);

	if (error != 0)
		return error;
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (formats[i].is(loader))
			return formats[i].load(loader, bsp, err);
	}
	return err_set(err, EINVAL,
		       "%s: not a kernel that can be loaded (no bzImage, no "
		       "multiboot kernel, no ELF file)",
		       loader->kernel.path);
}

int boot_load(struct vmctx *ctx, struct vcpu *bsp,
	      const struct boot_request *request, struct boot_result *result,
	      struct err *err)
{
	struct loader loader = {
	    .request = request,
	    .cmdline = request->cmdline != NULL ? request->cmdline : "",
	    .kernel.fd = -1,
	};
	int error;

	guest_memory_init(&loader.memory, ctx, request->memory_is_zero);
	loader.limit = loader.memory.lowmem;
	error = load(&loader, bsp, err);
	image_free(&loader.image);
	boot_file_close(&loader.kernel);
	if (result != NULL)
		*result = loader.result;
	return error;
}
