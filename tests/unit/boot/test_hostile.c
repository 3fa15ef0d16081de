// SPDX-License-Identifier: BSD-2-Clause
/*
 * Files that are no kernels, or damaged ones: each is refused with one line
 * that names it, and nothing is written outside of the guest's memory (the
 * fake VM says no, and the sanitizers look).
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/bytes.h"
#include "boot/linux.h"
#include "kernels.h"

#define MEMORY (64 * MiB)

struct fixture {
	struct vmctx vm;
	struct vcpu bsp;
	struct boot_result result;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	fake_vm_init(&f->vm, MEMORY, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_vm_free(&f->vm);
	free(f);
	return 0;
}

static int try_blob(struct fixture *f, const struct blob *blob)
{
	return load(&f->vm, &f->bsp, file_with("a-kernel", blob), NULL,
		    "nokaslr", &f->result, &f->err);
}

static void refuse(struct fixture *f, const struct blob *blob, int error,
		   const char *why)
{
	int got = try_blob(f, blob);

	if (got != -error || strstr(f->err.text, "a-kernel") == NULL ||
	    strstr(f->err.text, why) == NULL)
		fail_msg("%d (want %d, \"%s\"): %s", got, -error, why,
			 f->err.text);
}

/* -- no kernels ------------------------------------------------------------ */

static void test_not_a_kernel(void **state)
{
	struct fixture *f = *state;
	struct blob blob = {0};
	struct stat st;

	refuse(f, &blob, EINVAL, "empty");
	blob_append(&blob, "x", 1);
	refuse(f, &blob, EINVAL, "not a kernel");
	for (unsigned int i = 0; i < 200; i++)
		blob_append(&blob, "this is no kernel\n", 18);
	refuse(f, &blob, EINVAL, "not a kernel");
	blob_free(&blob);

	assert_int_equal(
	    load(&f->vm, &f->bsp, "/nonexistent/file", NULL, "", NULL, &f->err),
	    -ENOENT);
	assert_non_null(strstr(f->err.text, "/nonexistent/file"));
	assert_int_equal(load(&f->vm, &f->bsp, "/tmp", NULL, "", NULL, &f->err),
			 -EINVAL);
	/* A device or a pipe is not read; it may have no end, or not come. */
	if (stat("/dev/zero", &st) == 0)
		assert_int_equal(
		    load(&f->vm, &f->bsp, "/dev/zero", NULL, "", NULL, &f->err),
		    -EINVAL);
}

static void test_pipe(void **state)
{
	struct fixture *f = *state;
	char path[128];

	snprintf(path, sizeof(path), "%s", file_with("pipe", NULL));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(load(&f->vm, &f->bsp, path, NULL, "", NULL, &f->err),
			 -EINVAL);
	assert_non_null(strstr(f->err.text, "not a regular file"));
}

/* -- ELF ------------------------------------------------------------------- */

enum change {
	CLASS32,
	BIG_ENDIAN_FILE,
	MACHINE,
	OBJECT,
	CORE,
	NO_PHDRS,
	PHDR_SIZE,
	PHDRS_FAR,
	PHDRS_WRAP,
	NOTHING_TO_LOAD,
	FILE_LARGER,
	OFFSET_WRAPS,
	ADDRESS_WRAPS,
	OVERLAP,
	FILE_OVERLAP,
	LOW,
	HIGH,
	ENTRY,
	DYNAMIC_PROGRAM,
	STATIC_PROGRAM,
	CHANGES,
};

static void change_header(struct blob *elf, enum change what)
{
	Elf64_Ehdr *ehdr = elf_header(elf);

	switch (what) {
	case CLASS32:
		ehdr->e_ident[EI_CLASS] = ELFCLASS32;
		break;
	case BIG_ENDIAN_FILE:
		ehdr->e_ident[EI_DATA] = ELFDATA2MSB;
		break;
	case MACHINE:
		ehdr->e_machine = EM_AARCH64;
		break;
	case OBJECT:
		ehdr->e_type = ET_REL;
		break;
	case CORE:
		ehdr->e_type = ET_CORE;
		break;
	case NO_PHDRS:
		ehdr->e_phnum = 0;
		break;
	case PHDR_SIZE:
		ehdr->e_phentsize = 32;
		break;
	case PHDRS_FAR:
		ehdr->e_phoff = 65536;
		break;
	case PHDRS_WRAP:
		ehdr->e_phoff = UINT64_MAX - 8;
		break;
	case ENTRY:
		ehdr->e_entry = 0x500;
		break;
	default:
		break;
	}
}

static void change_segments(struct blob *elf, enum change what)
{
	Elf64_Phdr *text = elf_segment(elf, 0), *data = elf_segment(elf, 1);

	switch (what) {
	case NOTHING_TO_LOAD:
		text->p_type = data->p_type = PT_NOTE;
		break;
	case FILE_LARGER:
		text->p_filesz = text->p_memsz + 1;
		break;
	case OFFSET_WRAPS:
		text->p_offset = UINT64_MAX - 16;
		break;
	case ADDRESS_WRAPS:
		data->p_paddr = UINT64_MAX - DATA_SIZE;
		break;
	case OVERLAP:
		data->p_paddr = TEXT_GPA + TEXT_SIZE - 1;
		break;
	case FILE_OVERLAP:
		data->p_offset = text->p_offset;
		break;
	case LOW:
		text->p_paddr = 0xff000;
		elf_header(elf)->e_entry = 0xff040;
		break;
	case HIGH:
		data->p_paddr = MEMORY - DATA_SIZE;
		break;
	case DYNAMIC_PROGRAM:
		data->p_type = PT_INTERP;
		break;
	case STATIC_PROGRAM:
		data->p_type = PT_TLS;
		break;
	default:
		break;
	}
}

static const struct {
	int error;
	const char *text;
} wanted[CHANGES] = {
    [CLASS32] = {EINVAL, "x86-64"},
    [BIG_ENDIAN_FILE] = {EINVAL, "x86-64"},
    [MACHINE] = {EINVAL, "x86-64"},
    [OBJECT] = {EINVAL, "executable"},
    [CORE] = {EINVAL, "executable"},
    [NO_PHDRS] = {EINVAL, "program headers"},
    [PHDR_SIZE] = {EINVAL, "program headers"},
    [PHDRS_FAR] = {EINVAL, "program headers"},
    [PHDRS_WRAP] = {EINVAL, "program headers"},
    [NOTHING_TO_LOAD] = {EINVAL, "segment"},
    [FILE_LARGER] = {EINVAL, "impossible"},
    [OFFSET_WRAPS] = {EINVAL, "impossible"},
    [ADDRESS_WRAPS] = {EINVAL, "impossible"},
    [OVERLAP] = {EINVAL, "overlap in memory"},
    [FILE_OVERLAP] = {EINVAL, "overlap in the file"},
    [LOW] = {EINVAL, "1 MiB"},
    [HIGH] = {ENOMEM, "MiB"},
    [ENTRY] = {EINVAL, "entry"},
    [DYNAMIC_PROGRAM] = {EINVAL, "a program"},
    [STATIC_PROGRAM] = {EINVAL, "a program"},
};

static void test_elf(void **state)
{
	for (unsigned int i = 0; i < CHANGES; i++) {
		struct blob elf = kernel_elf();

		change_header(&elf, i);
		change_segments(&elf, i);
		refuse(*state, &elf, wanted[i].error, wanted[i].text);
		blob_free(&elf);
	}
}

static void test_too_many_segments(void **state)
{
	struct blob elf = kernel_elf();

	/* The room between headers and text holds 70. */
	elf_header(&elf)->e_phnum = 40;
	for (unsigned int i = 2; i < 40; i++)
		*elf_segment(&elf, i) = (Elf64_Phdr){
		    .p_type = PT_LOAD,
		    .p_paddr = 0x2000000 + i * 4096,
		    .p_memsz = 4096,
		};
	refuse(*state, &elf, EINVAL, "too many segments");
	blob_free(&elf);
}

static void test_truncated_elf(void **state)
{
	struct blob elf = kernel_elf();
	struct blob cut = elf;

	for (cut.size = 4; cut.size < elf.size; cut.size += 61)
		refuse(*state, &cut, EINVAL, "truncated");
	blob_free(&elf);
}

/* -- bzImage --------------------------------------------------------------- */

static void test_truncated_bzimage(void **state)
{
	static const char *const packings[] = {"gzip", "xz", "zstd", "lz4"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(packings); i++) {
		struct blob elf = kernel_elf();
		struct blob payload = packed(&elf, packings[i]);
		struct blob image = bzimage(&payload);
		struct blob cut = image;

		for (cut.size = 1; cut.size + 16 < image.size; cut.size += 97)
			refuse(f, &cut, EINVAL, "");
		blob_free(&elf);
		blob_free(&payload);
		blob_free(&image);
	}
}

/* The payload alone is cut short, the header says so. */
static void test_truncated_payload(void **state)
{
	static const char *const packings[] = {"gzip", "xz", "zstd", "lz4"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(packings); i++) {
		struct blob elf = kernel_elf();
		struct blob payload = packed(&elf, packings[i]);
		size_t whole = payload.size;

		for (payload.size = 10; payload.size < whole / 2;
		     payload.size += whole / 9) {
			struct blob image = bzimage(&payload);

			refuse(f, &image, EINVAL, "");
			blob_free(&image);
		}
		blob_free(&elf);
		blob_free(&payload);
	}
}

static void refuse_header(struct fixture *f, size_t offset, uint64_t value,
			  unsigned int bytes, const char *why)
{
	struct blob image = kernel_bzimage();
	uint8_t word[8];

	store_le64(word, value);
	memcpy(image.data + offset, word, bytes);
	refuse(f, &image, EINVAL, why);
	blob_free(&image);
}

static void test_setup_header(void **state)
{
	struct fixture *f = *state;

	refuse_header(f, HDR_VERSION, 0x20b, 2, "older than 3.8");
	refuse_header(f, HDR_JUMP + 1, 0x10, 1, "impossible length");
	refuse_header(f, HDR_JUMP + 1, 0xff, 1, "impossible length");
	refuse_header(f, HDR_KERNEL_ALIGNMENT, 0, 4, "impossible");
	refuse_header(f, HDR_KERNEL_ALIGNMENT, 3 << 20, 4, "impossible");
	refuse_header(f, HDR_PREF_ADDRESS, UINT64_MAX - 1, 8, "impossible");
	refuse_header(f, HDR_INIT_SIZE, 0, 4, "impossible");
	refuse_header(f, HDR_SYSSIZE, UINT32_MAX, 4, "truncated");
	refuse_header(f, HDR_PAYLOAD_OFFSET, UINT32_MAX, 4, "payload");
	refuse_header(f, HDR_PAYLOAD_LENGTH, UINT32_MAX, 4, "payload");
	refuse_header(f, HDR_SETUP_SECTS, 255, 1, "truncated");
}

/* What is packed has more bytes than any kernel: a bomb. */
static void test_bomb(void **state)
{
	struct blob zeros = {.size = 64 * MiB};
	struct blob elf = kernel_elf();
	struct blob payload, image;

	/* All of it follows the ELF file, as relocations do. */
	zeros.data = calloc(1, zeros.size);
	assert_non_null(zeros.data);
	blob_append(&elf, zeros.data, zeros.size);
	payload = packed(&elf, "zstd");
	image = bzimage(&payload);
	refuse(*state, &image, EINVAL, "too much follows");
	blob_free(&zeros);
	blob_free(&elf);
	blob_free(&payload);
	blob_free(&image);
}

/* Any byte may be anything: a kernel or a refusal, never anything else. */
static void test_damaged(void **state)
{
	struct fixture *f = *state;
	struct blob image = kernel_bzimage();
	struct blob elf = kernel_elf();
	unsigned int seed = 1;

	for (unsigned int i = 0; i < 600; i++) {
		struct blob *blob = i % 2 == 0 ? &image : &elf;
		size_t limit = i % 4 < 2 ? MIN(blob->size, 0x270) : blob->size;
		size_t at = (size_t)rand_r(&seed) % limit;
		uint8_t was = blob->data[at];

		blob->data[at] = (uint8_t)rand_r(&seed);
		try_blob(f, blob);
		blob->data[at] = was;
	}
	blob_free(&image);
	blob_free(&elf);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_not_a_kernel),
	    TEST(test_pipe),
	    TEST(test_elf),
	    TEST(test_too_many_segments),
	    TEST(test_truncated_elf),
	    TEST(test_truncated_bzimage),
	    TEST(test_truncated_payload),
	    TEST(test_setup_header),
	    TEST(test_bomb),
	    TEST(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
