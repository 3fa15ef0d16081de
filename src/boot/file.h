/* SPDX-License-Identifier: BSD-2-Clause */
/* A file from the command line, which may be anything. */
#ifndef BOOT_FILE_H
#define BOOT_FILE_H

#include "base/err.h"

struct boot_file {
	const char *path;
	int fd;
	uint64_t size;
};

/* Opens a regular, non-empty file. */
int boot_file_open(struct boot_file *file, const char *path, struct err *err);

/* Reads exactly length bytes; a file that ends before is -EINVAL. */
int boot_file_read(const struct boot_file *file, uint64_t offset, void *to,
		   size_t length, struct err *err);

void boot_file_close(struct boot_file *file);

#endif
