// SPDX-License-Identifier: BSD-2-Clause
/* A kernel, its initrd and its parameters are where Linux looks for them. */
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
#include "firmware/lowmem.h"
#include "kernels.h"

#define MEMORY (128 * MiB)

struct fixture {
	struct vmctx vm;
	struct vcpu bsp;
	struct boot_result result;
	struct err err;
	char kernel[128];
	char initrd[128];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	fake_vm_init(&f->vm, MEMORY, 0);
	/* Not fresh memory: what must be zero is made so. */
	memset(f->vm.low, 0x99, 32 * MiB);
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

static void use_kernel(struct fixture *f, struct blob blob)
{
	snprintf(f->kernel, sizeof(f->kernel), "%s",
		 file_with("kernel", &blob));
	blob_free(&blob);
}

static void use_initrd(struct fixture *f, size_t size)
{
	struct blob blob = {.data = malloc(size), .size = size};

	assert_non_null(blob.data);
	for (size_t i = 0; i < size; i++)
		blob.data[i] = (uint8_t)(i * 13 + i / 4096);
	snprintf(f->initrd, sizeof(f->initrd), "%s",
		 file_with("initrd", &blob));
	blob_free(&blob);
}

static int run(struct fixture *f, const char *cmdline)
{
	return load(&f->vm, &f->bsp, f->kernel,
		    f->initrd[0] != '\0' ? f->initrd : NULL, cmdline,
		    &f->result, &f->err);
}

static void succeed(struct fixture *f, const char *cmdline)
{
	if (run(f, cmdline) != 0)
		fail_msg("%s", f->err.text);
}

static void refuse(struct fixture *f, const char *cmdline, int error,
		   const char *text)
{
	assert_int_equal(run(f, cmdline), -error);
	if (strstr(f->err.text, text) == NULL)
		fail_msg("no \"%s\" in: %s", text, f->err.text);
}

static int64_t moved_by(const struct fixture *f)
{
	return (int64_t)(f->result.kernel_gpa - TEXT_GPA);
}

/* -- kernels --------------------------------------------------------------- */

static void test_packings(void **state)
{
	static const char *const names[] = {"gzip", "xz", "zstd", "lz4"};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		struct blob elf = kernel_elf();
		struct blob payload = packed(&elf, names[i]);
		char format[64];

		use_kernel(f, bzimage(&payload));
		memset(f->vm.low + MiB, 0x99, 31 * MiB);
		succeed(f, "");
		snprintf(format, sizeof(format), "bzImage (%s)", names[i]);
		assert_string_equal(f->result.format, format);
		assert_int_equal(f->result.unpacked, elf.size);
		assert_int_equal(moved_by(f) % ALIGNMENT, 0);
		kernel_check(&f->vm, moved_by(f));
		blob_free(&elf);
		blob_free(&payload);
	}
}

/* Larger than any buffer on the way, and not a multiple of it. */
static void test_large_kernel(void **state)
{
	struct fixture *f = *state;
	struct blob elf = kernel_elf();
	size_t size = 9 * MiB + 123;
	uint64_t offset = elf.size;
	struct blob payload;

	elf.data = realloc(elf.data, elf.size + size);
	assert_non_null(elf.data);
	for (size_t i = 0; i < size; i++)
		elf.data[offset + i] = (uint8_t)(i * 31 + i / 65536);
	elf.size += size;
	elf_header(&elf)->e_phnum = 3;
	*elf_segment(&elf, 2) = (Elf64_Phdr){
	    .p_type = PT_LOAD,
	    .p_offset = offset,
	    .p_vaddr = KERNEL_VIRT + 0x2000000,
	    .p_paddr = 0x2000000,
	    .p_filesz = size,
	    .p_memsz = size,
	};
	payload = packed(&elf, "lz4");
	use_kernel(f, bzimage(&payload));
	succeed(f, "nokaslr");
	kernel_check(&f->vm, moved_by(f));
	assert_memory_equal(f->vm.low + 0x2000000 + moved_by(f),
			    elf.data + offset, size);
	blob_free(&payload);
	use_kernel(f, elf);
	succeed(f, "");
	assert_string_equal(f->result.format, "ELF");
	kernel_check(&f->vm, 0);
}

/* A packing that is not ours is left to the kernel itself. */
static void test_foreign_packing(void **state)
{
	struct fixture *f = *state;
	struct blob payload = {0};
	struct blob image;

	blob_append(&payload, "\x89LZO\x00\x0d and so on", 16);
	image = bzimage(&payload);
	blob_free(&payload);
	snprintf(f->kernel, sizeof(f->kernel), "%s",
		 file_with("kernel", &image));
	succeed(f, "");
	assert_string_equal(f->result.kaslr, "left to the guest");
	assert_non_null(strstr(f->result.format, "lzo"));
	assert_int_equal(f->result.entry, TEXT_GPA + 0x200);
	assert_memory_equal(f->vm.low + TEXT_GPA, image.data + 4 * 512,
			    image.size - 4 * 512);
	blob_free(&image);
}

static void test_elf(void **state)
{
	struct fixture *f = *state;

	use_kernel(f, kernel_elf());
	succeed(f, "");
	assert_string_equal(f->result.format, "ELF");
	assert_int_equal(f->result.kernel_gpa, TEXT_GPA);
	assert_int_equal(f->result.kernel_end, KERNEL_END);
	assert_int_equal(f->result.entry, TEXT_GPA + 0x40);
	assert_int_equal(f->result.unpack_ns, 0);
	kernel_check(&f->vm, 0);
}

/* A lone .bss, which linkers put anywhere in the file. */
static void test_elf_bss(void **state)
{
	static const uint8_t zeros[DATA_SIZE];
	struct fixture *f = *state;
	struct blob elf = kernel_elf();
	Elf64_Phdr *data = elf_segment(&elf, 1);

	data->p_offset = elf_segment(&elf, 0)->p_offset + 16;
	data->p_filesz = 0;
	use_kernel(f, elf);
	succeed(f, "");
	assert_int_equal(f->result.kernel_end, KERNEL_END);
	assert_memory_equal(f->vm.low + DATA_GPA, zeros, sizeof(zeros));
}

/* -- parameters and registers ---------------------------------------------- */

static const uint8_t *params(const struct fixture *f)
{
	return f->vm.low + LOWMEM_BOOT_PARAMS;
}

static void test_parameters(void **state)
{
	static const char cmdline[] = "console=ttyS0 nokaslr";
	struct fixture *f = *state;
	const uint8_t *seed;

	use_kernel(f, kernel_bzimage());
	use_initrd(f, 100001);
	succeed(f, cmdline);
	assert_int_equal(load_le32(params(f) + HDR_MAGIC), HEADER_MAGIC);
	assert_int_equal(load_le16(params(f) + HDR_BOOT_FLAG), BOOT_FLAG);
	assert_int_equal(params(f)[HDR_TYPE_OF_LOADER], 0xff);
	assert_int_equal(params(f)[0x1ef], 0); /* sentinel */
	assert_int_equal(load_le32(params(f) + HDR_CMD_LINE_PTR),
			 LOWMEM_CMDLINE);
	assert_string_equal((char *)f->vm.low + LOWMEM_CMDLINE, cmdline);
	assert_int_equal(load_le64(params(f) + BP_ACPI_RSDP_ADDR), LOWMEM_ACPI);
	assert_true(params(f)[BP_E820_ENTRIES] >= 4);
	assert_int_equal(load_le64(params(f) + BP_E820_TABLE), 0);
	assert_int_equal(load_le64(params(f) + BP_E820_TABLE + 8), 0xa0000);
	assert_int_equal(load_le32(params(f) + BP_E820_TABLE + 16), 1);
	seed = f->vm.low + load_le64(params(f) + HDR_SETUP_DATA);
	assert_int_equal(load_le64(seed), 0);
	assert_int_equal(load_le32(seed + 8), SETUP_RNG_SEED);
	assert_int_equal(load_le32(seed + 12), 32);
}

static void test_registers(void **state)
{
	struct fixture *f = *state;
	uint64_t pml4, pdpt, pd;

	use_kernel(f, kernel_bzimage());
	succeed(f, "");
	assert_int_equal(f->bsp.resets, 1);
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_RIP], f->result.entry);
	assert_int_equal(f->result.entry, TEXT_GPA + 0x40 + moved_by(f));
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_RSI], LOWMEM_BOOT_PARAMS);
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_RFLAGS], 2);
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_EFER], 0x500);
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_CR0] & 0x80000001, 0x80000001);
	assert_int_equal(f->bsp.desc[VM_REG_GUEST_CS].access & 0x6000, 0x2000);
	/* The last page below 4 GiB is mapped to itself. */
	pml4 = f->bsp.reg[VM_REG_GUEST_CR3];
	pdpt = load_le64(f->vm.low + pml4) & ~0xfffull;
	pd = load_le64(f->vm.low + pdpt + 8 * 3) & ~0xfffull;
	assert_int_equal(load_le64(f->vm.low + pd + 8 * 511), 0xffe00083);
	assert_int_equal(load_le64(f->vm.low + pdpt + 8 * 4), 0);
	/* CS is the second descriptor of a GDT that is there. */
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_CS], 0x10);
	assert_int_equal(
	    load_le64(f->vm.low + f->bsp.desc[VM_REG_GUEST_GDTR].base + 0x10),
	    0x00af9b000000ffff);
}

/* A 32-bit kernel: an ELF32 payload, entered in protected mode. */
static void test_32bit(void **state)
{
	enum { TEXT = 0x1000, SIZE = 0x800 };
	struct fixture *f = *state;
	uint8_t file[TEXT + SIZE] = {0};
	struct blob elf = {0}, payload, image;
	Elf32_Ehdr ehdr = {
	    .e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS32,
			ELFDATA2LSB, EV_CURRENT},
	    .e_type = ET_EXEC,
	    .e_machine = EM_386,
	    .e_entry = TEXT_GPA + 8,
	    .e_phoff = sizeof(ehdr),
	    .e_ehsize = sizeof(ehdr),
	    .e_phentsize = sizeof(Elf32_Phdr),
	    .e_phnum = 1,
	};
	Elf32_Phdr phdr = {
	    .p_type = PT_LOAD,
	    .p_offset = TEXT,
	    .p_vaddr = 0xc0000000u + (uint32_t)TEXT_GPA,
	    .p_paddr = TEXT_GPA,
	    .p_filesz = SIZE,
	    .p_memsz = SIZE,
	};

	memcpy(file, &ehdr, sizeof(ehdr));
	memcpy(file + sizeof(ehdr), &phdr, sizeof(phdr));
	memset(file + TEXT, 0x5c, SIZE);
	blob_append(&elf, file, sizeof(file));
	payload = packed(&elf, "gzip");
	image = bzimage(&payload);
	store_le16(image.data + HDR_XLOADFLAGS, 0);
	use_kernel(f, image);
	blob_free(&elf);
	blob_free(&payload);
	succeed(f, "");
	assert_int_equal(moved_by(f), 0);
	assert_string_equal(f->result.kaslr, "off: a 32-bit kernel");
	assert_int_equal(f->vm.low[TEXT_GPA + SIZE - 1], 0x5c);
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_RIP], TEXT_GPA + 8);
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_RSI], LOWMEM_BOOT_PARAMS);
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_EFER], 0);
	assert_int_equal(f->bsp.reg[VM_REG_GUEST_CR0], 0x11);
	assert_int_equal(f->bsp.desc[VM_REG_GUEST_CS].access, 0xc09b);
}

static void test_cmdline_length(void **state)
{
	struct fixture *f = *state;
	char cmdline[257];

	use_kernel(f, kernel_bzimage());
	memset(cmdline, 'x', 256);
	cmdline[256] = '\0';
	refuse(f, cmdline, EINVAL, "256");
	cmdline[255] = '\0';
	succeed(f, cmdline);
	assert_string_equal((char *)f->vm.low + LOWMEM_CMDLINE, cmdline);
	succeed(f, NULL);
	assert_string_equal((char *)f->vm.low + LOWMEM_CMDLINE, "");
}

/* -- initrd ---------------------------------------------------------------- */

static void check_initrd(const struct fixture *f, const uint8_t *memory)
{
	for (size_t i = 0; i < f->result.initrd_size; i++)
		assert_int_equal(memory[i], (uint8_t)(i * 13 + i / 4096));
}

static void test_initrd(void **state)
{
	struct fixture *f = *state;

	use_kernel(f, kernel_bzimage());
	use_initrd(f, 3 * MiB + 5);
	succeed(f, "");
	assert_int_equal(f->result.initrd_size, 3 * MiB + 5);
	assert_int_equal(f->result.initrd_gpa % 4096, 0);
	assert_true(f->result.initrd_gpa >= f->result.kernel_end);
	assert_true(f->result.initrd_gpa + f->result.initrd_size <= MEMORY);
	assert_int_equal(load_le32(params(f) + HDR_RAMDISK_IMAGE),
			 f->result.initrd_gpa);
	assert_int_equal(load_le32(params(f) + HDR_RAMDISK_SIZE),
			 f->result.initrd_size);
	assert_int_equal(load_le32(params(f) + BP_EXT_RAMDISK_IMAGE), 0);
	check_initrd(f, f->vm.low + f->result.initrd_gpa);
	kernel_check(&f->vm, moved_by(f));
}

static void test_initrd_above_4g(void **state)
{
	struct fixture *f = *state;

	fake_vm_free(&f->vm);
	fake_vm_init(&f->vm, 24 * MiB, 16 * MiB);
	use_kernel(f, kernel_bzimage());
	use_initrd(f, 10 * MiB);
	succeed(f, "");
	assert_int_equal(f->result.initrd_gpa, 4 * GiB);
	assert_int_equal(load_le32(params(f) + BP_EXT_RAMDISK_IMAGE), 1);
	assert_int_equal(load_le32(params(f) + HDR_RAMDISK_IMAGE), 0);
	check_initrd(f, f->vm.high);
}

static void test_initrd_that_does_not_fit(void **state)
{
	struct fixture *f = *state;

	use_kernel(f, kernel_bzimage());
	use_initrd(f, 1);
	/* Sparse, so that it costs nothing. */
	assert_int_equal(truncate(f->initrd, 2ll << 30), 0);
	refuse(f, "", ENOMEM, "initrd");
	assert_int_equal(truncate(f->initrd, MEMORY - KERNEL_END), 0);
	refuse(f, "", ENOMEM, "initrd");
	assert_int_equal(truncate(f->initrd, 0), 0);
	refuse(f, "", EINVAL, "empty");
	assert_int_equal(unlink(f->initrd), 0);
	refuse(f, "", ENOENT, "initrd");
	assert_int_equal(mkdir(f->initrd, 0700), 0);
	refuse(f, "", EINVAL, "initrd");
	assert_int_equal(rmdir(f->initrd), 0);
}

/* Linux has an initrd, and nothing to find other modules by. */
static void test_modules(void **state)
{
	static const char *const module = "/nonexistent";
	struct fixture *f = *state;
	struct boot_request request = {
	    .kernel = f->kernel,
	    .module = &module,
	    .modules = 1,
	};

	use_kernel(f, kernel_bzimage());
	assert_int_equal(
	    boot_load(&f->vm, &f->bsp, &request, &f->result, &f->err), -EINVAL);
	assert_non_null(strstr(f->err.text, "boot.module"));
	use_kernel(f, kernel_elf());
	assert_int_equal(
	    boot_load(&f->vm, &f->bsp, &request, &f->result, &f->err), -EINVAL);
}

/* With no header, an ELF kernel's room is known only while it is loaded. */
static void test_initrd_and_elf(void **state)
{
	struct fixture *f = *state;

	use_kernel(f, kernel_elf());
	use_initrd(f, 2 * MiB);
	succeed(f, "");
	kernel_check(&f->vm, 0);
	check_initrd(f, f->vm.low + f->result.initrd_gpa);
	assert_int_equal(truncate(f->initrd, MEMORY - KERNEL_END + 4096), 0);
	refuse(f, "", ENOMEM, "initrd");
}

/* -- memory ---------------------------------------------------------------- */

static void test_small_memory(void **state)
{
	static const size_t sizes[] = {MiB, 16 * MiB, 17 * MiB,
				       TEXT_GPA + INIT_SIZE - 4096};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		fake_vm_free(&f->vm);
		fake_vm_init(&f->vm, sizes[i], 0);
		use_kernel(f, kernel_bzimage());
		refuse(f, "", ENOMEM, "kernel");
		assert_non_null(strstr(f->err.text, "MiB"));
	}
	fake_vm_free(&f->vm);
	fake_vm_init(&f->vm, TEXT_GPA + INIT_SIZE, 0);
	use_kernel(f, kernel_bzimage());
	succeed(f, "");
	assert_int_equal(moved_by(f), 0);
}

/* Zero pages of a kernel are not touched where memory is zero anyway. */
static void test_fresh_memory(void **state)
{
	struct fixture *f = *state;
	struct boot_request request = {
	    .kernel = f->kernel,
	    .memory_is_zero = true,
	};

	fake_vm_free(&f->vm);
	fake_vm_init(&f->vm, MEMORY, 0);
	use_kernel(f, kernel_elf());
	assert_int_equal(
	    boot_load(&f->vm, &f->bsp, &request, &f->result, &f->err), 0);
	kernel_check(&f->vm, 0);
	assert_true(f->vm.written < TEXT_SIZE + DATA_SIZE + 256 * KiB);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_packings),        TEST(test_large_kernel),
	    TEST(test_foreign_packing), TEST(test_elf),
	    TEST(test_elf_bss),         TEST(test_parameters),
	    TEST(test_registers),       TEST(test_32bit),
	    TEST(test_cmdline_length),  TEST(test_initrd),
	    TEST(test_initrd_above_4g), TEST(test_initrd_that_does_not_fit),
	    TEST(test_modules),         TEST(test_initrd_and_elf),
	    TEST(test_small_memory),    TEST(test_fresh_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
