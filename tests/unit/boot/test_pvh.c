// SPDX-License-Identifier: BSD-2-Clause
/* Kernels with a PVH entry point: the note, the entry, what they are told. */
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

#define NOTES_AT   0x600 /* in the file */
#define ENTRY      (TEXT_GPA + 0x80)
#define START_INFO 0x336ec578u

static size_t put_note(uint8_t *to, const char *owner, uint32_t type,
		       uint64_t desc, uint32_t desc_size)
{
	uint8_t bytes[8];

	store_le32(to, 4);
	store_le32(to + 4, desc_size);
	store_le32(to + 8, type);
	memcpy(to + 12, owner, 4);
	store_le64(bytes, desc);
	memset(to + 16, 0, 8);
	memcpy(to + 16, bytes, MIN(desc_size, 8));
	return 16 + ALIGN_UP(desc_size, 4);
}

static void add_notes(struct blob *elf, size_t size)
{
	elf_header(elf)->e_phnum = 3;
	*elf_segment(elf, 2) = (Elf64_Phdr){
	    .p_type = PT_NOTE,
	    .p_offset = NOTES_AT,
	    .p_filesz = size,
	    .p_memsz = size,
	};
}

/* The usual kernel: a note of Linux's width among others. */
static struct blob pvh_elf(uint64_t entry)
{
	struct blob elf = kernel_elf();
	uint8_t *notes = elf.data + NOTES_AT;
	size_t size = put_note(notes, "GNU", 18, 0x1111, 8);

	size += put_note(notes + size, "Xen", 17, 0x2222, 5);
	size += put_note(notes + size, "Xen", 18, entry, 8);
	size += put_note(notes + size, "Xen", 18, 0x3333, 8);
	add_notes(&elf, size);
	return elf;
}

static const uint8_t *info(const struct fixture *f)
{
	return f->vm.low + f->bsp.reg[VM_REG_GUEST_RBX];
}

static void test_elf64(void **state)
{
	struct fixture *f = *state;

	use_kernel(f, pvh_elf(ENTRY));
	succeed(f);
	assert_string_equal(f->result.format, "PVH (ELF64)");
	assert_int_equal(f->result.entry, ENTRY);
	kernel_check(&f->vm, 0);
	check_state32(f, 0, LOWMEM_BOOT_PARAMS);
}

static void test_elf32(void **state)
{
	struct fixture *f = *state;
	struct blob elf = kernel_elf32();
	Elf32_Ehdr *ehdr = (Elf32_Ehdr *)(void *)elf.data;
	Elf32_Phdr *phdr = (Elf32_Phdr *)(void *)(elf.data + sizeof(*ehdr));

	ehdr->e_phnum = 3;
	phdr[2] = (Elf32_Phdr){
	    .p_type = PT_NOTE,
	    .p_offset = NOTES_AT,
	    .p_filesz =
		(uint32_t)put_note(elf.data + NOTES_AT, "Xen", 18, ENTRY, 4),
	};
	use_kernel(f, elf);
	succeed(f);
	assert_string_equal(f->result.format, "PVH (ELF32)");
	assert_int_equal(f->result.entry, ENTRY);
	kernel_check(&f->vm, 0);
}

static void test_start_info(void **state)
{
	struct fixture *f = *state;
	const uint8_t *map, *list;
	char second[128];

	make_module(f->initrd, "initrd", 5000);
	make_module(second, "second", 7);
	f->request.initrd = f->initrd;
	f->module[0] = second;
	f->request.modules = 1;
	use_kernel(f, pvh_elf(ENTRY));
	succeed(f);
	assert_int_equal(load_le32(info(f)), START_INFO);
	assert_int_equal(load_le32(info(f) + 4), 1);
	assert_int_equal(load_le32(info(f) + 8), 0);
	assert_int_equal(load_le32(info(f) + 12), 2);
	assert_string_equal((char *)f->vm.low + load_le64(info(f) + 24),
			    "a b=c");
	assert_int_equal(load_le64(info(f) + 32), LOWMEM_ACPI);
	assert_int_equal(load_le32(info(f) + 48), 5);
	map = f->vm.low + load_le64(info(f) + 40);
	assert_int_equal(load_le64(map + 2 * 24), MiB);
	assert_int_equal(load_le64(map + 2 * 24 + 8), MEMORY - MiB);
	assert_int_equal(load_le32(map + 2 * 24 + 16), 1);
	list = f->vm.low + load_le64(info(f) + 16);
	assert_int_equal(load_le64(list + 8), 5000);
	assert_string_equal((char *)f->vm.low + load_le64(list + 16),
			    f->initrd);
	assert_int_equal(load_le64(list + 32 + 8), 7);
	for (size_t i = 0; i < 5000; i++)
		assert_int_equal(f->vm.low[load_le64(list) + i],
				 module_byte(i));
	assert_int_equal(f->result.initrd_gpa, load_le64(list));
}

static void test_no_modules(void **state)
{
	struct fixture *f = *state;

	f->request.cmdline = NULL;
	use_kernel(f, pvh_elf(ENTRY));
	succeed(f);
	assert_int_equal(load_le32(info(f) + 12), 0);
	assert_int_equal(load_le64(info(f) + 16), 0);
	assert_string_equal((char *)f->vm.low + load_le64(info(f) + 24), "");
}

/* A multiboot header is looked for first. */
static void test_multiboot_comes_first(void **state)
{
	struct fixture *f = *state;
	struct blob elf = pvh_elf(ENTRY);

	store_le32(elf.data + 0x400, 0x1badb002);
	store_le32(elf.data + 0x404, 0);
	store_le32(elf.data + 0x408, 0u - 0x1badb002);
	use_kernel(f, elf);
	succeed(f);
	assert_string_equal(f->result.format, "multiboot (ELF64)");
	assert_int_equal(f->result.entry, TEXT_GPA + 0x40);
}

static void test_entry_outside(void **state)
{
	static const uint64_t entries[] = {
	    0,
	    TEXT_GPA - 1,
	    TEXT_GPA + TEXT_SIZE,
	    DATA_GPA + DATA_SIZE /* in bss */,
	    UINT64_MAX,
	    BIT(32) + ENTRY,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(entries); i++) {
		use_kernel(f, pvh_elf(entries[i]));
		refuse(f, EINVAL, "outside");
	}
}

/* Notes that are none: then it is any other ELF file. */
static void test_damaged_notes(void **state)
{
	static const struct {
		size_t at; /* in the first note */
		uint32_t value;
	} damages[] = {
	    {0, UINT32_MAX},     {0, 0},  {0, 1000},
	    {4, UINT32_MAX},     {4, 0},  {4, 1000},
	    {4, UINT32_MAX - 3}, {8, 17}, {0, UINT32_MAX - 2},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(damages); i++) {
		struct blob elf = kernel_elf();
		uint8_t *notes = elf.data + NOTES_AT;

		add_notes(&elf, put_note(notes, "Xen", 18, ENTRY, 8));
		store_le32(notes + damages[i].at, damages[i].value);
		use_kernel(f, elf);
		succeed(f);
		assert_string_equal(f->result.format, "ELF");
	}
}

static void test_place_of_notes(void **state)
{
	static const struct {
		uint64_t offset, size;
	} places[] = {
	    {UINT64_MAX - 8, 24}, {NOTES_AT, UINT64_MAX},
	    {NOTES_AT, MiB},      {MiB, 24},
	    {NOTES_AT, 0},        {NOTES_AT, 23},
	    {NOTES_AT, 11},       {NOTES_AT, 12},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		struct blob elf = kernel_elf();

		put_note(elf.data + NOTES_AT, "Xen", 18, ENTRY, 8);
		add_notes(&elf, 24);
		elf_segment(&elf, 2)->p_offset = places[i].offset;
		elf_segment(&elf, 2)->p_filesz = places[i].size;
		use_kernel(f, elf);
		succeed(f);
		assert_string_equal(f->result.format, "ELF");
	}
}

static void test_damaged(void **state)
{
	struct fixture *f = *state;
	unsigned int seed = 1;

	for (unsigned int i = 0; i < 400; i++) {
		struct blob elf = pvh_elf(ENTRY);
		size_t from = i % 2 == 0 ? 0 : NOTES_AT;
		size_t size = i % 2 == 0 ? 0x100 : 0x60;

		for (unsigned int k = 0; k < 3; k++)
			elf.data[from + (size_t)rand_r(&seed) % size] =
			    (uint8_t)rand_r(&seed);
		use_kernel(f, elf);
		boot_load(&f->vm, &f->bsp, &f->request, &f->result, &f->err);
		assert_int_equal(f->vm.open_writes, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_elf64),
	    TEST(test_elf32),
	    TEST(test_start_info),
	    TEST(test_no_modules),
	    TEST(test_multiboot_comes_first),
	    TEST(test_entry_outside),
	    TEST(test_damaged_notes),
	    TEST(test_place_of_notes),
	    TEST(test_damaged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
