/* SPDX-License-Identifier: BSD-2-Clause */
/* The setup header of a bzImage, checked against its file. */
#ifndef BOOT_BZIMAGE_H
#define BOOT_BZIMAGE_H

#include "boot/file.h"
#include "boot/linux.h"

struct bzimage {
	/* The setup header as it goes into boot_params, at its offsets. */
	uint8_t header[BP_SETUP_HEADER_END];
	bool relocatable;
	bool has_64bit_entry;
	bool initrd_above_4g;
	uint64_t alignment;
	uint64_t pref_address;
	uint64_t init_size;
	uint64_t initrd_max; /* last usable address */
	uint64_t cmdline_max;
	uint64_t code_offset; /* protected-mode code in the file */
	uint64_t code_size;
	uint64_t payload_offset; /* in the file */
	uint64_t payload_size;
};

/* Does the file start like a bzImage? data: its first 1 KiB. */
bool bzimage_is(const uint8_t *data, size_t size);

int bzimage_parse(struct bzimage *image, const struct boot_file *file,
		  struct err *err);

/* The same for a bare ELF kernel, which has no header: usual values. */
void bzimage_default(struct bzimage *image);

#endif
