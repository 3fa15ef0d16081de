/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A kernel's ELF image, taken as a stream: bytes arrive in file order and go
 * to where their segment belongs. After the ELF file Linux appends its
 * relocations (kaslr.h), which are kept until the end.
 */
#ifndef BOOT_IMAGE_H
#define BOOT_IMAGE_H

#include "base/err.h"
#include "boot/guest.h"

#define IMAGE_SEGMENTS_MAX 16

struct image_segment {
	uint64_t offset; /* in the file */
	uint64_t vaddr;
	uint64_t gpa; /* as linked; slide is added when loading */
	uint64_t filesz;
	uint64_t memsz;
};

struct image {
	const struct guest_memory *memory;
	const char *path;

	/*
	 * Something else than its ELF headers has shown that this is a
	 * kernel: it may be ELF32, and have segments and a tail as it likes.
	 */
	bool any_kernel;

	/*
	 * Called once the program headers are known and before anything is
	 * written: checks that [start, end) may be used, and says how far
	 * from its linked address the image goes.
	 */
	int (*place)(void *arg, uint64_t start, uint64_t end, int64_t *slide,
		     struct err *err);
	void *place_arg;

	/* Known from the program headers on. */
	struct image_segment segment[IMAGE_SEGMENTS_MAX];
	unsigned int segments;
	uint64_t start; /* linked: lowest gpa */
	uint64_t end;   /* linked: end of the highest */
	uint64_t elf_size;
	uint64_t entry; /* gpa, linked */
	int64_t slide;
	bool placed;

	uint64_t position; /* in the stream */
	uint64_t written;  /* bytes put into guest memory */

	uint8_t *head; /* the first bytes, until the program headers are read */
	size_t head_size;
	uint8_t *tail; /* what follows the ELF file */
	size_t tail_size;
	size_t tail_room;
};

/* Is this the beginning of an ELF file (of any kind)? */
bool image_is_elf(const uint8_t *data, size_t size);

int image_init(struct image *image, const struct guest_memory *memory,
	       const char *path, struct err *err);

/* The next bytes of the file. */
int image_feed(struct image *image, const uint8_t *data, size_t size,
	       struct err *err);

/*
 * How many of the next bytes of the file may be left out, because no part of
 * the image is in them; image_skip leaves them out.
 */
uint64_t image_skippable(const struct image *image);
void image_skip(struct image *image, uint64_t size);

/* No more bytes: checks that the image is whole, clears .bss. */
int image_finish(struct image *image, struct err *err);

void image_free(struct image *image);

#endif
