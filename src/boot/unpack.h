/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Unpacks a part of a file as a stream: compressed bytes come in pieces and
 * unpacked bytes leave in pieces, so that neither is ever whole in memory.
 */
#ifndef BOOT_UNPACK_H
#define BOOT_UNPACK_H

#include "boot/file.h"

#define UNPACK_MAGIC_SIZE 6

struct unpack_job;

struct unpack_format {
	const char *name;
	uint8_t magic[UNPACK_MAGIC_SIZE];
	uint8_t magic_size;
	/* NULL: known by name, but not unpacked here. */
	int (*run)(struct unpack_job *job, struct err *err);
};

struct unpack_job {
	const struct boot_file *file;
	uint64_t offset; /* of the packed bytes in the file */
	uint64_t length;

	/* Takes the unpacked bytes, in order. Not 0 ends the job with it. */
	int (*sink)(void *arg, const uint8_t *data, size_t size,
		    struct err *err);
	/* Called now and then; may be NULL. */
	void (*progress)(void *arg, uint64_t bytes_in);
	void *arg;

	/* The job's own. */
	uint64_t taken; /* packed bytes read from the file so far */
};

/* By the first bytes of what is packed; NULL for an unknown format. */
const struct unpack_format *unpack_find(const uint8_t magic[UNPACK_MAGIC_SIZE]);

#endif
