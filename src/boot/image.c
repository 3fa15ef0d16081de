// SPDX-License-Identifier: BSD-2-Clause
#include "boot/image.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Program headers stand directly behind the ELF header; leave some slack. */
#define HEAD_MAX (64 * KiB)
/* Debian's relocations are 0.9 MB; one with everything built in has 4 MB. */
#define TAIL_MAX (32 * MiB)

static int bad(const struct image *image, struct err *err, const char *why)
{
	return err_set(err, EINVAL, "%s: %s", image->path, why);
}

bool image_is_elf(const uint8_t *data, size_t size)
{
	return size >= SELFMAG && memcmp(data, ELFMAG, SELFMAG) == 0;
}

int image_init(struct image *image, const struct guest_memory *memory,
	       const char *path, struct err *err)
{
	*image = (struct image){.memory = memory, .path = path};
	image->head = malloc(HEAD_MAX);
	if (image->head == NULL)
		return err_sys(err, ENOMEM, "%s", path);
	return 0;
}

void image_free(struct image *image)
{
	free(image->head);
	free(image->tail);
	image->head = NULL;
	image->tail = NULL;
}

/* -- headers, as ELF64 whatever they are ----------------------------------- */

static bool is_elf32(const struct image *image)
{
	return image->any_kernel && image->head[EI_CLASS] == ELFCLASS32;
}

static size_t phdr_size(const struct image *image)
{
	return is_elf32(image) ? sizeof(Elf32_Phdr) : sizeof(Elf64_Phdr);
}

/* The head has as many bytes as the larger of the two headers. */
static Elf64_Ehdr get_ehdr(const struct image *image)
{
	Elf64_Ehdr ehdr;
	Elf32_Ehdr small;

	memcpy(&ehdr, image->head, sizeof(ehdr));
	if (!is_elf32(image))
		return ehdr;
	memcpy(&small, image->head, sizeof(small));
	ehdr.e_entry = small.e_entry;
	ehdr.e_phoff = small.e_phoff;
	ehdr.e_shoff = small.e_shoff;
	ehdr.e_phentsize = small.e_phentsize;
	ehdr.e_phnum = small.e_phnum;
	ehdr.e_shentsize = small.e_shentsize;
	ehdr.e_shnum = small.e_shnum;
	return ehdr;
}

static Elf64_Phdr get_phdr(const struct image *image, uint64_t offset)
{
	Elf64_Phdr phdr;
	Elf32_Phdr small;

	if (!is_elf32(image)) {
		memcpy(&phdr, image->head + offset, sizeof(phdr));
		return phdr;
	}
	memcpy(&small, image->head + offset, sizeof(small));
	return (Elf64_Phdr){
	    .p_type = small.p_type,
	    .p_offset = small.p_offset,
	    .p_vaddr = small.p_vaddr,
	    .p_paddr = small.p_paddr,
	    .p_filesz = small.p_filesz,
	    .p_memsz = small.p_memsz,
	};
}

/* -- program headers ----------------------------------------------------- */

static int check_machine(const struct image *image, const Elf64_Ehdr *ehdr,
			 struct err *err)
{
	bool is_64 = ehdr->e_ident[EI_CLASS] == ELFCLASS64 &&
		     ehdr->e_machine == EM_X86_64;
	bool is_32 = is_elf32(image) && (ehdr->e_machine == EM_386 ||
					 ehdr->e_machine == EM_X86_64);

	if (ehdr->e_ident[EI_DATA] == ELFDATA2LSB && (is_64 || is_32))
		return 0;
	if (image->any_kernel)
		return bad(image, err, "not a kernel for x86");
	return bad(image, err, "not a kernel for x86-64 (ELF64)");
}

static int check_ehdr(const struct image *image, const Elf64_Ehdr *ehdr,
		      struct err *err)
{
	int error;

	if (!image_is_elf(ehdr->e_ident, SELFMAG))
		return bad(image, err, "what is packed in it is no ELF file");
	error = check_machine(image, ehdr, err);
	if (error != 0)
		return error;
	if (ehdr->e_type != ET_EXEC && ehdr->e_type != ET_DYN)
		return bad(image, err,
			   "not a kernel: an ELF file that is not executable");
	if (ehdr->e_phentsize != phdr_size(image) || ehdr->e_phnum == 0)
		return bad(image, err, "ELF file without program headers");
	if (!range_inside(ehdr->e_phoff,
			  (uint64_t)ehdr->e_phnum * phdr_size(image), HEAD_MAX))
		return bad(image, err,
			   "ELF program headers are not at the file's start");
	return 0;
}

static int add_segment(struct image *image, const Elf64_Phdr *phdr,
		       struct err *err)
{
	if (phdr->p_memsz == 0)
		return 0;
	if (image->segments == IMAGE_SEGMENTS_MAX)
		return bad(image, err, "ELF file with too many segments");
	if (phdr->p_filesz > phdr->p_memsz ||
	    !range_inside(phdr->p_offset, phdr->p_filesz, INT64_MAX) ||
	    !range_inside(phdr->p_paddr, phdr->p_memsz, INT64_MAX))
		return bad(image, err,
			   "ELF segment with impossible sizes or addresses");
	/* Without a byte in the file its place there means nothing: linkers
	   put a lone .bss anywhere. */
	image->segment[image->segments++] = (struct image_segment){
	    .offset = phdr->p_filesz != 0 ? phdr->p_offset : 0,
	    .vaddr = phdr->p_vaddr,
	    .gpa = phdr->p_paddr,
	    .filesz = phdr->p_filesz,
	    .memsz = phdr->p_memsz,
	};
	return 0;
}

static int by_offset(const void *left, const void *right)
{
	const struct image_segment *a = left, *b = right;

	if (a->offset != b->offset)
		return a->offset > b->offset ? 1 : -1;
	return (a->filesz > b->filesz) - (a->filesz < b->filesz);
}

static int by_gpa(const void *left, const void *right)
{
	const struct image_segment *a = left, *b = right;

	return (a->gpa > b->gpa) - (a->gpa < b->gpa);
}

static int check_overlap(struct image *image, struct err *err)
{
	struct image_segment *segment = image->segment;

	qsort(segment, image->segments, sizeof(*segment), by_gpa);
	for (unsigned int i = 1; i < image->segments; i++) {
		if (segment[i - 1].gpa + segment[i - 1].memsz > segment[i].gpa)
			return bad(image, err,
				   "ELF segments overlap in memory");
	}
	qsort(segment, image->segments, sizeof(*segment), by_offset);
	for (unsigned int i = 1; i < image->segments; i++) {
		if (segment[i - 1].offset + segment[i - 1].filesz >
		    segment[i].offset)
			return bad(image, err,
				   "ELF segments overlap in the file");
	}
	return 0;
}

static void measure(struct image *image, const Elf64_Ehdr *ehdr)
{
	uint64_t sections = (uint64_t)ehdr->e_shnum * ehdr->e_shentsize;

	image->start = UINT64_MAX;
	image->elf_size =
	    ehdr->e_phoff + (uint64_t)ehdr->e_phnum * phdr_size(image);
	for (unsigned int i = 0; i < image->segments; i++) {
		const struct image_segment *segment = &image->segment[i];

		image->start = MIN(image->start, segment->gpa);
		image->end = MAX(image->end, segment->gpa + segment->memsz);
		image->elf_size =
		    MAX(image->elf_size, segment->offset + segment->filesz);
	}
	if (sections != 0 && range_inside(ehdr->e_shoff, sections, INT64_MAX))
		image->elf_size =
		    MAX(image->elf_size, ehdr->e_shoff + sections);
}

/* A program for an operating system: it would run, and do nothing good. */
static bool is_program(const struct image *image, const Elf64_Ehdr *ehdr,
		       const Elf64_Phdr *phdr)
{
	if (image->any_kernel)
		return false;
	return ehdr->e_ident[EI_OSABI] == ELFOSABI_GNU ||
	       phdr->p_type == PT_INTERP || phdr->p_type == PT_TLS;
}

/* Linux's e_entry is physical; other linkers' is virtual. */
static int find_entry(struct image *image, uint64_t e_entry, struct err *err)
{
	for (unsigned int i = 0; i < image->segments; i++) {
		const struct image_segment *segment = &image->segment[i];

		if (e_entry - segment->gpa < segment->memsz) {
			image->entry = e_entry;
			return 0;
		}
		if (e_entry - segment->vaddr < segment->memsz) {
			image->entry =
			    segment->gpa + (e_entry - segment->vaddr);
			return 0;
		}
	}
	return bad(image, err, "ELF entry point is outside of all segments");
}

static int read_headers(struct image *image, const Elf64_Ehdr *ehdr,
			struct err *err)
{
	int error = 0;

	for (unsigned int i = 0; error == 0 && i < ehdr->e_phnum; i++) {
		Elf64_Phdr phdr =
		    get_phdr(image, ehdr->e_phoff + i * phdr_size(image));

		if (is_program(image, ehdr, &phdr))
			return bad(image, err,
				   "not a kernel but a program for an "
				   "operating system (ELF)");
		if (phdr.p_type == PT_LOAD)
			error = add_segment(image, &phdr, err);
	}
	if (error == 0 && image->segments == 0)
		error = bad(image, err, "ELF file without a segment to load");
	if (error == 0)
		error = check_overlap(image, err);
	if (error == 0)
		error = find_entry(image, ehdr->e_entry, err);
	if (error != 0)
		return error;
	measure(image, ehdr);
	error = image->place(image->place_arg, image->start, image->end,
			     &image->slide, err);
	image->placed = error == 0;
	return error;
}

/* -- the stream ---------------------------------------------------------- */

static int keep_tail(struct image *image, const uint8_t *data, size_t size,
		     struct err *err)
{
	if (size > TAIL_MAX - image->tail_size)
		return bad(image, err, "too much follows the packed ELF file");
	if (size > image->tail_room - image->tail_size) {
		size_t room =
		    MAX(image->tail_size + size, image->tail_room * 2);
		uint8_t *tail = realloc(image->tail, room);

		if (tail == NULL)
			return err_sys(err, ENOMEM, "%s", image->path);
		image->tail = tail;
		image->tail_room = room;
	}
	memcpy(image->tail + image->tail_size, data, size);
	image->tail_size += size;
	return 0;
}

/* The part of [position, position + size) that is in the segment. */
static int write_part(struct image *image, const struct image_segment *segment,
		      const uint8_t *data, size_t size, struct err *err)
{
	uint64_t from = MAX(image->position, segment->offset);
	uint64_t to =
	    MIN(image->position + size, segment->offset + segment->filesz);
	uint64_t gpa;
	int error;

	if (from >= to)
		return 0;
	gpa = segment->gpa + (uint64_t)image->slide + (from - segment->offset);
	error = guest_write_sparse(image->memory, gpa,
				   data + (from - image->position), to - from);
	if (error != 0)
		return bad(image, err, "a segment is outside of the memory");
	image->written += to - from;
	return 0;
}

static int consume(struct image *image, const uint8_t *data, size_t size,
		   struct err *err)
{
	uint64_t end = image->position + size;
	int error = 0;

	for (unsigned int i = 0; error == 0 && i < image->segments; i++)
		error = write_part(image, &image->segment[i], data, size, err);
	if (error == 0 && end > image->elf_size && !image->any_kernel) {
		uint64_t from = MAX(image->position, image->elf_size);

		error = keep_tail(image, data + (from - image->position),
				  (size_t)(end - from), err);
	}
	image->position = end;
	return error;
}

/* Collects the file's start until the program headers are in it. */
static int feed_head(struct image *image, const uint8_t **data, size_t *size,
		     struct err *err)
{
	size_t part = MIN(*size, HEAD_MAX - image->head_size);
	Elf64_Ehdr ehdr;
	int error;

	memcpy(image->head + image->head_size, *data, part);
	image->head_size += part;
	*data += part;
	*size -= part;
	if (image->head_size < sizeof(ehdr))
		return 0;
	ehdr = get_ehdr(image);
	error = check_ehdr(image, &ehdr, err);
	if (error != 0 ||
	    image->head_size <
		ehdr.e_phoff + (uint64_t)ehdr.e_phnum * phdr_size(image))
		return error;
	error = read_headers(image, &ehdr, err);
	if (error != 0)
		return error;
	return consume(image, image->head, image->head_size, err);
}

int image_feed(struct image *image, const uint8_t *data, size_t size,
	       struct err *err)
{
	int error = 0;

	if (!image->placed)
		error = feed_head(image, &data, &size, err);
	if (error != 0 || size == 0)
		return error;
	return consume(image, data, size, err);
}

uint64_t image_skippable(const struct image *image)
{
	if (!image->placed)
		return 0;
	/* Sorted by offset and without overlap. */
	for (unsigned int i = 0; i < image->segments; i++) {
		const struct image_segment *segment = &image->segment[i];

		if (segment->offset + segment->filesz <= image->position)
			continue;
		return segment->offset > image->position
			   ? segment->offset - image->position
			   : 0;
	}
	return image->elf_size > image->position
		   ? image->elf_size - image->position
		   : 0;
}

void image_skip(struct image *image, uint64_t size)
{
	image->position += size;
}

int image_finish(struct image *image, struct err *err)
{
	if (!image->placed)
		return bad(image, err,
			   "truncated: the ELF header is not whole");
	for (unsigned int i = 0; i < image->segments; i++) {
		const struct image_segment *segment = &image->segment[i];
		uint64_t gpa = segment->gpa + (uint64_t)image->slide;

		if (segment->offset + segment->filesz > image->position)
			return bad(image, err,
				   "truncated: an ELF segment is not whole");
		if (guest_clear(image->memory, gpa + segment->filesz,
				segment->memsz - segment->filesz) != 0)
			return bad(image, err,
				   "a segment is outside of the memory");
	}
	return 0;
}
