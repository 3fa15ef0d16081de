/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the loaders of all kernel formats share: the kernel's file, the
 * guest's memory, progress, and the reading of ELF images and modules.
 */
#ifndef BOOT_LOADER_H
#define BOOT_LOADER_H

#include "boot/boot.h"
#include "boot/file.h"
#include "boot/guest.h"
#include "boot/image.h"

#define LOADER_START_SIZE 8192 /* where formats have their marks */

struct loader {
	const struct boot_request *request;
	const char *cmdline; /* never NULL */
	struct guest_memory memory;
	struct boot_result result;

	struct boot_file kernel;
	uint8_t start[LOADER_START_SIZE]; /* the file's, zeros behind its end */
	size_t start_size;
	struct image image;
	uint64_t limit; /* the kernel must end here */

	uint64_t file_written; /* of the file that loader_read_file reads */
	struct boot_progress progress;
	const uint64_t *progress_out; /* what bytes_out counts */
	uint64_t started;
};

/*
 * The formats. is: does the file look like one, by its first bytes and what
 * they point to? load: 0 or -errno with a line in err; the boot CPU is ready
 * to run then.
 */
bool linux_is_bzimage(const struct loader *loader);
int linux_load_bzimage(struct loader *loader, struct vcpu *bsp,
		       struct err *err);
bool linux_is_elf(const struct loader *loader);
int linux_load_elf(struct loader *loader, struct vcpu *bsp, struct err *err);
bool multiboot_is(const struct loader *loader);
int multiboot_load(struct loader *loader, struct vcpu *bsp, struct err *err);
bool pvh_is(const struct loader *loader);
int pvh_load(struct loader *loader, struct vcpu *bsp, struct err *err);

uint64_t loader_now_ns(void);
unsigned long long loader_in_mib(uint64_t bytes); /* rounded up */

void loader_progress_begin(struct loader *loader, const char *file,
			   const char *action, uint64_t total,
			   const uint64_t *out);
void loader_progress_report(struct loader *loader, uint64_t bytes_in,
			    bool done);

/* May the kernel have [start, end)? */
int loader_check_place(const struct loader *loader, uint64_t start,
		       uint64_t end, struct err *err);

/* An image.place for kernels that cannot be moved. */
int loader_place_kernel(void *arg, uint64_t start, uint64_t end, int64_t *slide,
			struct err *err);

/*
 * Reads the kernel's file as an ELF image that goes where image.place says;
 * image_finish is left to the caller, and image_init has been called.
 */
int loader_read_elf(struct loader *loader, struct err *err);

/* Puts size bytes of a file, from offset on, into the guest's memory. */
int loader_read_file(struct loader *loader, const struct boot_file *file,
		     uint64_t offset, uint64_t gpa, uint64_t size,
		     struct err *err);

#endif
