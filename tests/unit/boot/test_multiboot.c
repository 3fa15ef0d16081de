// SPDX-License-Identifier: BSD-2-Clause
/* Multiboot kernels: what they are, where they go, what they are told. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "firmware/lowmem.h"
#include "foreign.h"

#define MAGIC      0x1badb002u
#define BOOT_MAGIC 0x2badb002u
#define HEADER_AT  0x400 /* in ELF files: behind the program headers */

static void put_header(struct blob *blob, size_t at, uint32_t flags)
{
	store_le32(blob->data + at, MAGIC);
	store_le32(blob->data + at + 4, flags);
	store_le32(blob->data + at + 8, 0u - MAGIC - flags);
}

static const uint8_t *info(const struct fixture *f)
{
	return f->vm.low + f->bsp.reg[VM_REG_GUEST_RBX];
}

static const char *text_at(const struct fixture *f, size_t field)
{
	return (const char *)f->vm.low + load_le32(info(f) + field);
}

/* -- ELF ------------------------------------------------------------------- */

static void use_elf(struct fixture *f, uint32_t flags)
{
	struct blob elf = kernel_elf();

	put_header(&elf, HEADER_AT, flags);
	use_kernel(f, elf);
}

static void test_elf64(void **state)
{
	struct fixture *f = *state;

	use_elf(f, 3);
	succeed(f);
	assert_string_equal(f->result.format, "multiboot (ELF64)");
	assert_int_equal(f->result.entry, TEXT_GPA + 0x40);
	assert_null(f->result.kaslr);
	kernel_check(&f->vm, 0);
	check_state32(f, BOOT_MAGIC, LOWMEM_BOOT_PARAMS);
}

static void test_elf32(void **state)
{
	struct fixture *f = *state;
	struct blob elf = kernel_elf32();

	put_header(&elf, HEADER_AT, 0);
	use_kernel(f, elf);
	succeed(f);
	assert_string_equal(f->result.format, "multiboot (ELF32)");
	assert_int_equal(f->result.entry, TEXT_GPA + 0x40);
	kernel_check(&f->vm, 0);
	check_state32(f, BOOT_MAGIC, LOWMEM_BOOT_PARAMS);
}

/* An entry by its virtual address, and segments that a kernel need not have. */
static void test_kernels_like_programs(void **state)
{
	struct fixture *f = *state;
	struct blob elf = kernel_elf();

	put_header(&elf, HEADER_AT, 0);
	elf_header(&elf)->e_entry = KERNEL_VIRT + DATA_GPA + 8;
	elf_header(&elf)->e_phnum = 3;
	elf_header(&elf)->e_ident[EI_OSABI] = ELFOSABI_GNU;
	*elf_segment(&elf, 2) = (Elf64_Phdr){.p_type = PT_TLS};
	blob_append(&elf, "what follows is nobody's business", 32);
	use_kernel(f, elf);
	succeed(f);
	assert_int_equal(f->result.entry, DATA_GPA + 8);
	kernel_check(&f->vm, 0);
}

/* -- which header ---------------------------------------------------------- */

static void test_place_of_header(void **state)
{
	struct fixture *f = *state;
	struct blob elf = kernel_elf();

	/* Its last four bytes are the last of the first 8 KiB. */
	put_header(&elf, 8192 - 12, 0);
	use_kernel(f, elf);
	succeed(f);
	assert_string_equal(f->result.format, "multiboot (ELF64)");

	elf = kernel_elf();
	put_header(&elf, 8192 - 8, 0);
	use_kernel(f, elf);
	succeed(f);
	assert_string_equal(f->result.format, "ELF");

	elf = kernel_elf();
	put_header(&elf, HEADER_AT + 2, 0); /* not aligned */
	use_kernel(f, elf);
	succeed(f);
	assert_string_equal(f->result.format, "ELF");

	elf = kernel_elf();
	put_header(&elf, HEADER_AT, 0);
	elf.data[HEADER_AT + 8]++; /* a wrong checksum, and then a right one */
	put_header(&elf, HEADER_AT + 64, 0);
	use_kernel(f, elf);
	succeed(f);
	assert_string_equal(f->result.format, "multiboot (ELF64)");
}

/* A bzImage is one, whatever else it looks like. */
static void test_bzimage_comes_first(void **state)
{
	struct fixture *f = *state;
	struct blob image = kernel_bzimage();

	put_header(&image, 0x600, 0x10003);
	use_kernel(f, image);
	f->request.cmdline = "nokaslr";
	succeed(f);
	assert_string_equal(f->result.format, "bzImage (gzip)");
}

static void test_flags(void **state)
{
	struct fixture *f = *state;

	use_elf(f, 4);
	refuse(f, ENOTSUP, "video");
	use_elf(f, 0x100);
	refuse(f, ENOTSUP, "0x100");
	use_elf(f, 0x8000);
	refuse(f, ENOTSUP, "a-kernel");
	/* From 17 on they are no requirements (3.1.2). */
	use_elf(f, 0xfffe0003);
	succeed(f);
}

/* -- what it is told ------------------------------------------------------- */

static void test_info(void **state)
{
	struct fixture *f = *state;
	const uint8_t *map;
	char cmdline[160];

	use_elf(f, 3);
	succeed(f);
	assert_int_equal(load_le32(info(f)),
			 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
	assert_int_equal(load_le32(info(f) + 4), 640);
	assert_int_equal(load_le32(info(f) + 8), 63 * 1024);
	snprintf(cmdline, sizeof(cmdline), "%s a b=c", f->kernel);
	assert_string_equal(text_at(f, 16), cmdline);
	assert_int_equal(load_le32(info(f) + 20), 0);
	assert_string_equal(text_at(f, 64), "anyhyve");
	/* Five ranges: below and above the hole, it, ECAM, above 4 GiB. */
	assert_int_equal(load_le32(info(f) + 44), 5 * 24);
	map = (const uint8_t *)text_at(f, 48);
	assert_int_equal(load_le32(map), 20);
	assert_int_equal(load_le64(map + 4), 0);
	assert_int_equal(load_le64(map + 12), 0xa0000);
	assert_int_equal(load_le32(map + 20), 1);
	assert_int_equal(load_le64(map + 4 * 24 + 4), 4 * GiB);
	assert_int_equal(load_le64(map + 4 * 24 + 12), 16 * MiB);
	/* Fields that it does not get are zero, and so is the rest. */
	assert_int_equal(load_le32(info(f) + 12), 0);
	assert_int_equal(load_le32(info(f) + 88), 0);
}

static void check_module(const struct fixture *f, unsigned int i,
			 const char *text, size_t size)
{
	const uint8_t *entry = (const uint8_t *)text_at(f, 24) + 16 * i;
	uint32_t start = load_le32(entry);

	assert_int_equal(start % 4096, 0);
	assert_true(start >= KERNEL_END);
	assert_int_equal(load_le32(entry + 4) - start, size);
	assert_string_equal((const char *)f->vm.low + load_le32(entry + 8),
			    text);
	assert_int_equal(load_le32(entry + 12), 0);
	for (size_t k = 0; k < size; k++)
		assert_int_equal(f->vm.low[start + k], module_byte(k));
}

static void test_modules(void **state)
{
	struct fixture *f = *state;
	char one[128], two[128], text[160];

	make_module(f->initrd, "init rd", 12345);
	make_module(one, "one", 4096);
	make_module(two, "two", 1);
	snprintf(text, sizeof(text), "%s  with words", one);
	f->module[0] = text;
	f->module[1] = two;
	f->request.initrd = f->initrd;
	f->request.modules = 2;
	use_elf(f, 3);
	succeed(f);
	assert_int_equal(load_le32(info(f) + 20), 3);
	check_module(f, 0, f->initrd, 12345);
	check_module(f, 1, text, 4096);
	check_module(f, 2, two, 1);
	assert_int_equal(f->result.initrd_size, 12345);
	kernel_check(&f->vm, 0);
}

static void test_modules_that_do_not_fit(void **state)
{
	struct fixture *f = *state;
	char path[128];

	use_elf(f, 3);
	make_module(path, "large", 30 * MiB);
	f->request.modules = 1;
	f->module[0] = path;
	succeed(f);
	f->request.modules = 2;
	f->module[1] = path;
	refuse(f, ENOMEM, "large");
	f->request.modules = 1;
	f->module[0] = "/nonexistent words";
	refuse(f, ENOENT, "/nonexistent:");
	f->module[0] = "";
	refuse(f, ENOENT, "");
	make_module(path, "empty", 0);
	f->module[0] = path;
	refuse(f, EINVAL, "empty");
	make_module(path, "small", 1);
	for (unsigned int i = 0; i <= BOOT_MODULES_MAX; i++)
		f->module[i] = path;
	f->request.modules = BOOT_MODULES_MAX;
	succeed(f);
	f->request.modules = BOOT_MODULES_MAX + 1;
	refuse(f, E2BIG, "64 modules");
}

static void test_long_texts(void **state)
{
	struct fixture *f = *state;
	char *text = malloc(70000);
	char path[128];

	assert_non_null(text);
	memset(text, 'x', 69999);
	text[69999] = '\0';
	use_elf(f, 3);
	f->request.cmdline = text;
	refuse(f, E2BIG, "KiB");
	/* Exactly what there is room for, beside two paths and a name. */
	text[65536 - strlen(f->kernel) - 2 - 9] = '\0';
	succeed(f);
	make_module(path, "m", 1);
	f->module[0] = path;
	f->request.modules = 1;
	refuse(f, E2BIG, "KiB");
	free(text);
}

/* -- addresses in the header ----------------------------------------------- */

#define FLAT_AT   0x200 /* the header in the file */
#define FLAT_LOAD 0x100000u
#define FLAT_SIZE 0x5000

static struct blob flat(uint32_t header, uint32_t load, uint32_t load_end,
			uint32_t bss_end, uint32_t entry)
{
	const uint32_t fields[] = {header, load, load_end, bss_end, entry};
	struct blob blob = {.data = malloc(FLAT_SIZE), .size = FLAT_SIZE};

	assert_non_null(blob.data);
	for (size_t i = 0; i < blob.size; i++)
		blob.data[i] = module_byte(i);
	put_header(&blob, FLAT_AT, 0x10000);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		store_le32(blob.data + FLAT_AT + 12 + 4 * i, fields[i]);
	return blob;
}

static void check_flat(const struct fixture *f, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++) {
		if (i < FLAT_AT || i >= FLAT_AT + 32)
			assert_int_equal(f->vm.low[FLAT_LOAD + i - from],
					 module_byte(i));
	}
}

static void test_addresses(void **state)
{
	struct fixture *f = *state;
	const uint8_t *low = f->vm.low;

	/* All of the file, and no bss. */
	use_kernel(f, flat(FLAT_LOAD + FLAT_AT, FLAT_LOAD, 0, 0, FLAT_LOAD));
	succeed(f);
	assert_non_null(strstr(f->result.format, "multiboot (addresses"));
	assert_int_equal(f->result.entry, FLAT_LOAD);
	check_flat(f, 0, FLAT_SIZE);
	assert_int_equal(low[FLAT_LOAD + FLAT_SIZE], 0x99);
	check_state32(f, BOOT_MAGIC, LOWMEM_BOOT_PARAMS);

	/* From the middle of it, up to before its end, and bss. */
	use_kernel(f, flat(FLAT_LOAD + 0x100, FLAT_LOAD, FLAT_LOAD + 0x1000,
			   FLAT_LOAD + 0x3001, FLAT_LOAD + 0xfff));
	succeed(f);
	check_flat(f, 0x100, 0x1100);
	for (size_t i = 0x1000; i < 0x3001; i++)
		assert_int_equal(low[FLAT_LOAD + i], 0);
	assert_int_not_equal(low[FLAT_LOAD + 0x3001], 0);
	assert_int_equal(f->result.kernel_end, FLAT_LOAD + 0x3001);
}

/* They win over an ELF file's own headers (3.1.3). */
static void test_addresses_of_elf(void **state)
{
	struct fixture *f = *state;
	const uint32_t fields[] = {FLAT_LOAD + HEADER_AT, FLAT_LOAD, 0, 0,
				   FLAT_LOAD + 16};
	struct blob elf = kernel_elf();

	put_header(&elf, HEADER_AT, 0x10000);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		store_le32(elf.data + HEADER_AT + 12 + 4 * i, fields[i]);
	use_kernel(f, elf);
	succeed(f);
	assert_int_equal(f->result.entry, FLAT_LOAD + 16);
	assert_memory_equal(f->vm.low + FLAT_LOAD, ELFMAG, SELFMAG);
}

static void test_impossible_addresses(void **state)
{
	static const struct {
		uint32_t header, load, load_end, bss_end, entry;
		int error;
		const char *text;
	} cases[] = {
	    {FLAT_LOAD - 4, FLAT_LOAD, 0, 0, FLAT_LOAD, EINVAL, "header_addr"},
	    {FLAT_LOAD + FLAT_AT + 4, FLAT_LOAD, 0, 0, FLAT_LOAD, EINVAL,
	     "header_addr"},
	    {UINT32_MAX, 0, 0, 0, 0, EINVAL, "header_addr"},
	    {FLAT_LOAD, FLAT_LOAD, FLAT_LOAD, 0, FLAT_LOAD, EINVAL,
	     "load_end_addr"},
	    {FLAT_LOAD, FLAT_LOAD, FLAT_LOAD - 1, 0, FLAT_LOAD, EINVAL,
	     "load_end_addr"},
	    {FLAT_LOAD, FLAT_LOAD, UINT32_MAX, 0, FLAT_LOAD, EINVAL,
	     "load_end_addr"},
	    {FLAT_LOAD, FLAT_LOAD, FLAT_LOAD + FLAT_SIZE - FLAT_AT + 1, 0,
	     FLAT_LOAD, EINVAL, "load_end_addr"},
	    {FLAT_LOAD, FLAT_LOAD, 0, FLAT_LOAD + 1, FLAT_LOAD, EINVAL,
	     "bss_end_addr"},
	    {FLAT_LOAD, FLAT_LOAD, 0, UINT32_MAX, FLAT_LOAD, ENOMEM, "MiB"},
	    {FLAT_LOAD, FLAT_LOAD, 0, 0, FLAT_LOAD - 1, EINVAL, "entry_addr"},
	    {FLAT_LOAD, FLAT_LOAD, 0, 0, FLAT_LOAD + FLAT_SIZE, EINVAL,
	     "entry_addr"},
	    {0x1000, 0x1000, 0, 0, 0x1000, EINVAL, "1 MiB"},
	    {UINT32_MAX, UINT32_MAX, 0, 0, UINT32_MAX, ENOMEM, "MiB"},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		use_kernel(f, flat(cases[i].header, cases[i].load,
				   cases[i].load_end, cases[i].bss_end,
				   cases[i].entry));
		refuse(f, cases[i].error, cases[i].text);
		refuse(f, cases[i].error, "a-kernel");
	}
}

/* -- hostile files --------------------------------------------------------- */

static void test_no_kernel_behind_the_header(void **state)
{
	struct fixture *f = *state;
	struct blob blob = {0};

	for (unsigned int i = 0; i < 100; i++)
		blob_append(&blob, "no ELF file here", 16);
	put_header(&blob, 16, 0);
	use_kernel(f, blob);
	refuse(f, EINVAL, "no ELF file");

	/* Cut off behind the header, and in it. */
	for (size_t size = 12; size > 3; size -= 4) {
		struct blob cut = {0};

		blob_append(&cut, "            ", 12);
		put_header(&cut, 0, 0);
		cut.size = size;
		use_kernel(f, cut);
		refuse(f, EINVAL, size == 12 ? "no ELF" : "not a kernel");
	}
}

static void test_damaged_elf32(void **state)
{
	struct fixture *f = *state;
	unsigned int seed = 1;

	for (unsigned int i = 0; i < 400; i++) {
		struct blob elf = i % 2 == 0 ? kernel_elf32() : kernel_elf();

		put_header(&elf, HEADER_AT, 0);
		for (unsigned int k = 0; k < 3; k++)
			elf.data[(size_t)rand_r(&seed) % 0xc0] =
			    (uint8_t)rand_r(&seed);
		use_kernel(f, elf);
		boot_load(&f->vm, &f->bsp, &f->request, &f->result, &f->err);
		assert_int_equal(f->vm.open_writes, 0);
	}
}

static void test_truncated_elf32(void **state)
{
	struct fixture *f = *state;
	struct blob elf = kernel_elf32();
	struct blob cut = elf;

	put_header(&elf, HEADER_AT, 0);
	for (cut.size = HEADER_AT + 12; cut.size < elf.size; cut.size += 997) {
		snprintf(f->kernel, sizeof(f->kernel), "%s",
			 file_with("a-kernel", &cut));
		refuse(f, EINVAL, "truncated");
	}
	blob_free(&elf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_elf64),
	    TEST(test_elf32),
	    TEST(test_kernels_like_programs),
	    TEST(test_place_of_header),
	    TEST(test_bzimage_comes_first),
	    TEST(test_flags),
	    TEST(test_info),
	    TEST(test_modules),
	    TEST(test_modules_that_do_not_fit),
	    TEST(test_long_texts),
	    TEST(test_addresses),
	    TEST(test_addresses_of_elf),
	    TEST(test_impossible_addresses),
	    TEST(test_no_kernel_behind_the_header),
	    TEST(test_damaged_elf32),
	    TEST(test_truncated_elf32),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
