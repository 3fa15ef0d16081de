// SPDX-License-Identifier: BSD-2-Clause
#include "boot/kaslr.h"

#include <errno.h>
#include <sys/random.h>

#include "base/bytes.h"

/* Where the kernel's text begins, Documentation/arch/x86/x86_64/mm.rst. */
#define START_KERNEL_MAP 0xffffffff80000000ull

enum { LIST_ADD64, LIST_SUB32, LIST_ADD32, LISTS };

struct list {
	const uint8_t *words;
	size_t count;
};

/* The words between one zero and the next or the end. */
static size_t words_until_zero(const uint8_t *words, size_t count)
{
	size_t i;

	for (i = 0; i < count; i++) {
		if (load_le32(words + 4 * i) == 0)
			break;
	}
	return i;
}

/* Splits what follows the image into its lists. */
static bool split_lists(const struct image *image, struct list list[LISTS])
{
	const uint8_t *at = image->tail;
	size_t left = image->tail_size / 4;
	unsigned int count = 0;

	if (image->tail_size % 4 != 0)
		return false;
	while (left > 0) {
		if (load_le32(at) != 0 || count == LISTS)
			return false;
		at += 4;
		left--;
		list[count].words = at;
		list[count].count = words_until_zero(at, left);
		at += 4 * list[count].count;
		left -= list[count].count;
		count++;
	}
	if (count == LISTS - 1) {
		list[LIST_ADD32] = list[LIST_SUB32];
		list[LIST_SUB32].count = 0;
	}
	return count >= LISTS - 1;
}

bool kaslr_has_relocations(const struct image *image)
{
	struct list list[LISTS];

	return split_lists(image, list);
}

static void adjust(uint8_t *at, unsigned int kind, uint64_t slide)
{
	if (kind == LIST_ADD64)
		store_le64(at, load_le64(at) + slide);
	else if (kind == LIST_ADD32)
		store_le32(at, load_le32(at) + (uint32_t)slide);
	else
		store_le32(at, load_le32(at) - (uint32_t)slide);
}

/* memory is the loaded image, from its lowest address on. */
static bool apply_list(const struct image *image, const struct list *list,
		       unsigned int kind, uint64_t slide, uint8_t *memory)
{
	uint64_t size = image->end - image->start;
	uint64_t width = kind == LIST_ADD64 ? 8 : 4;

	for (size_t i = 0; i < list->count; i++) {
		int64_t word = (int32_t)load_le32(list->words + 4 * i);
		uint64_t linked = (uint64_t)word - START_KERNEL_MAP;

		if (!range_inside(linked - image->start, width, size))
			return false;
		adjust(memory + (linked - image->start), kind, slide);
	}
	return true;
}

int kaslr_relocate(const struct image *image, uint64_t slide, struct err *err)
{
	uint64_t gpa = image->start + (uint64_t)image->slide;
	uint64_t size = image->end - image->start;
	struct list list[LISTS] = {0};
	bool fits = split_lists(image, list);
	uint8_t *memory;

	memory = vm_mem_write_begin(image->memory->ctx, gpa, size);
	if (memory == NULL)
		return err_set(err, EFAULT,
			       "%s: a segment is outside of the memory",
			       image->path);
	for (unsigned int kind = 0; fits && kind < LISTS; kind++)
		fits = apply_list(image, &list[kind], kind, slide, memory);
	vm_mem_write_end(image->memory->ctx, gpa, size);
	if (!fits)
		return err_set(err, EINVAL,
			       "%s: a relocation points out of the kernel",
			       image->path);
	return 0;
}

uint64_t kaslr_choose(uint64_t max, uint64_t align)
{
	uint64_t random = 0;

	/* Without entropy the kernel stays where it was linked to. */
	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return 0;
	return random % (max / align + 1) * align;
}

bool kaslr_forbidden(const char *cmdline)
{
	static const char word[] = "nokaslr";
	const size_t length = sizeof(word) - 1;

	for (const char *at = cmdline; (at = strstr(at, word)) != NULL; at++) {
		bool starts = at == cmdline || at[-1] == ' ';
		bool ends = at[length] == '\0' || at[length] == ' ';

		if (starts && ends)
			return true;
	}
	return false;
}
