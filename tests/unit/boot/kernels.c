// SPDX-License-Identifier: BSD-2-Clause
#include "kernels.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>
#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bits.h"
#include "base/bytes.h"
#include "boot/linux.h"

#define TEXT_OFFSET  0x1000
#define DATA_OFFSET  0x5000 /* a hole lies before it */
#define ELF_SIZE     (DATA_OFFSET + DATA_SIZE)
#define SETUP_SECTS  3
#define CODE_OFFSET  ((SETUP_SECTS + 1) * SECTOR_SIZE)
#define PAYLOAD_AT   0x400 /* in the code */
#define CMDLINE_SIZE 255

void blob_free(struct blob *blob)
{
	free(blob->data);
	*blob = (struct blob){0};
}

void blob_append(struct blob *blob, const void *data, size_t size)
{
	blob->data = realloc(blob->data, blob->size + size + 1);
	assert_non_null(blob->data);
	memcpy(blob->data + blob->size, data, size);
	blob->size += size;
}

static void blob_fill(struct blob *blob, uint8_t byte, size_t size)
{
	blob->data = realloc(blob->data, blob->size + size + 1);
	assert_non_null(blob->data);
	memset(blob->data + blob->size, byte, size);
	blob->size += size;
}

/* -- ELF ------------------------------------------------------------------- */

uint8_t kernel_byte(uint64_t gpa)
{
	/* Some pages are all zero, as in real kernels. */
	if (gpa / 4096 % 3 == 1)
		return 0;
	return (uint8_t)(gpa * 7 + gpa / 256 + 1);
}

Elf64_Ehdr *elf_header(struct blob *elf)
{
	return (Elf64_Ehdr *)(void *)elf->data;
}

Elf64_Phdr *elf_segment(struct blob *elf, unsigned int i)
{
	return (Elf64_Phdr *)(void *)(elf->data + sizeof(Elf64_Ehdr)) + i;
}

static void fill_segment(struct blob *elf, const Elf64_Phdr *phdr)
{
	for (uint64_t i = 0; i < phdr->p_filesz; i++)
		elf->data[phdr->p_offset + i] = kernel_byte(phdr->p_paddr + i);
}

struct blob kernel_elf(void)
{
	struct blob elf = {0};

	/* What is in no segment must not be loaded. */
	blob_fill(&elf, 0xee, ELF_SIZE);
	*elf_header(&elf) = (Elf64_Ehdr){
	    .e_ident = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1},
	    .e_type = ET_EXEC,
	    .e_machine = EM_X86_64,
	    .e_version = 1,
	    .e_entry = TEXT_GPA + 0x40,
	    .e_phoff = sizeof(Elf64_Ehdr),
	    .e_ehsize = sizeof(Elf64_Ehdr),
	    .e_phentsize = sizeof(Elf64_Phdr),
	    .e_phnum = 2,
	};
	*elf_segment(&elf, 0) = (Elf64_Phdr){
	    .p_type = PT_LOAD,
	    .p_offset = TEXT_OFFSET,
	    .p_vaddr = KERNEL_VIRT + TEXT_GPA,
	    .p_paddr = TEXT_GPA,
	    .p_filesz = TEXT_SIZE,
	    .p_memsz = TEXT_SIZE,
	};
	*elf_segment(&elf, 1) = (Elf64_Phdr){
	    .p_type = PT_LOAD,
	    .p_offset = DATA_OFFSET,
	    .p_vaddr = KERNEL_VIRT + DATA_GPA,
	    .p_paddr = DATA_GPA,
	    .p_filesz = DATA_SIZE,
	    .p_memsz = DATA_SIZE + BSS_SIZE,
	};
	fill_segment(&elf, elf_segment(&elf, 0));
	fill_segment(&elf, elf_segment(&elf, 1));
	return elf;
}

static void check_bytes(struct vmctx *vm, uint64_t gpa, uint64_t size,
			int64_t slide)
{
	for (uint64_t i = 0; i < size; i++) {
		uint8_t got = vm->low[gpa + (uint64_t)slide + i];

		if (got != kernel_byte(gpa + i))
			fail_msg("byte at %#llx + %#llx",
				 (unsigned long long)(gpa + i),
				 (unsigned long long)slide);
	}
}

void kernel_check(struct vmctx *vm, int64_t slide)
{
	uint64_t bss = DATA_GPA + DATA_SIZE + (uint64_t)slide;

	check_bytes(vm, TEXT_GPA, TEXT_SIZE, slide);
	check_bytes(vm, DATA_GPA, DATA_SIZE, slide);
	for (uint64_t i = 0; i < BSS_SIZE; i++)
		assert_int_equal(vm->low[bss + i], 0);
}

/* -- packing --------------------------------------------------------------- */

static size_t pack_gzip(const struct blob *in, uint8_t *to, size_t room)
{
	z_stream zlib = {
	    .next_in = in->data,
	    .avail_in = (uInt)in->size,
	    .next_out = to,
	    .avail_out = (uInt)room,
	};

	assert_int_equal(deflateInit2(&zlib, 6, Z_DEFLATED, 16 + MAX_WBITS, 8,
				      Z_DEFAULT_STRATEGY),
			 Z_OK);
	assert_int_equal(deflate(&zlib, Z_FINISH), Z_STREAM_END);
	deflateEnd(&zlib);
	return zlib.total_out;
}

static size_t pack_xz(const struct blob *in, uint8_t *to, size_t room)
{
	size_t size = 0;

	assert_int_equal(lzma_easy_buffer_encode(1, LZMA_CHECK_CRC32, NULL,
						 in->data, in->size, to, &size,
						 room),
			 LZMA_OK);
	return size;
}

static size_t pack_zstd(const struct blob *in, uint8_t *to, size_t room)
{
	size_t size = ZSTD_compress(to, room, in->data, in->size, 1);

	assert_false(ZSTD_isError(size));
	return size;
}

/* lz4 -l: blocks of 8 MiB, each with its packed size before it. */
static size_t pack_lz4(const struct blob *in, uint8_t *to, size_t room)
{
	size_t at = 0, size = 4;

	store_le32(to, 0x184c2102);
	while (at < in->size) {
		size_t part = MIN(in->size - at, 8 * MiB);
		int done = LZ4_compress_default(
		    (const char *)in->data + at, (char *)to + size + 4,
		    (int)part, (int)(room - size - 4));

		assert_true(done > 0);
		store_le32(to + size, (uint32_t)done);
		size += (size_t)done + 4;
		at += part;
	}
	return size;
}

struct blob packed(const struct blob *in, const char *packing)
{
	static const struct {
		const char *name;
		size_t (*pack)(const struct blob *in, uint8_t *to, size_t room);
	} packings[] = {
	    {"gzip", pack_gzip},
	    {"xz", pack_xz},
	    {"zstd", pack_zstd},
	    {"lz4", pack_lz4},
	};
	struct blob out = {0};
	uint8_t size[4];

	blob_fill(&out, 0, in->size * 2 + 65536);
	for (size_t i = 0; i < ARRAY_SIZE(packings); i++) {
		if (strcmp(packing, packings[i].name) == 0)
			out.size = packings[i].pack(in, out.data, out.size);
	}
	/* As Linux's Makefiles do; gzip has it at its end anyway. */
	store_le32(size, (uint32_t)in->size);
	if (strcmp(packing, "gzip") != 0)
		blob_append(&out, size, sizeof(size));
	return out;
}

/* -- bzImage --------------------------------------------------------------- */

struct blob bzimage(const struct blob *payload)
{
	size_t code = ALIGN_UP(PAYLOAD_AT + payload->size, 16);
	struct blob image = {0};
	uint8_t *header;

	blob_fill(&image, 0xcc, CODE_OFFSET + code);
	header = image.data;
	memset(header, 0, CODE_OFFSET);
	header[HDR_SETUP_SECTS] = SETUP_SECTS;
	store_le32(header + HDR_SYSSIZE, (uint32_t)(code / 16));
	store_le16(header + HDR_BOOT_FLAG, BOOT_FLAG);
	header[HDR_JUMP] = 0xeb;
	header[HDR_JUMP + 1] = 0x66; /* the header ends at 0x268 */
	store_le32(header + HDR_MAGIC, HEADER_MAGIC);
	store_le16(header + HDR_VERSION, 0x20f);
	header[HDR_LOADFLAGS] = LOADED_HIGH;
	store_le32(header + HDR_INITRD_ADDR_MAX, INT32_MAX);
	store_le32(header + HDR_KERNEL_ALIGNMENT, ALIGNMENT);
	header[HDR_RELOCATABLE_KERNEL] = 1;
	store_le16(header + HDR_XLOADFLAGS, XLF_KERNEL_64 | XLF_ABOVE_4G);
	store_le32(header + HDR_CMDLINE_SIZE, CMDLINE_SIZE);
	store_le32(header + HDR_PAYLOAD_OFFSET, PAYLOAD_AT);
	store_le32(header + HDR_PAYLOAD_LENGTH, (uint32_t)payload->size);
	store_le64(header + HDR_PREF_ADDRESS, TEXT_GPA);
	store_le32(header + HDR_INIT_SIZE, INIT_SIZE);
	memcpy(image.data + CODE_OFFSET + PAYLOAD_AT, payload->data,
	       payload->size);
	return image;
}

struct blob kernel_bzimage(void)
{
	struct blob elf = kernel_elf();
	struct blob payload = packed(&elf, "gzip");
	struct blob image = bzimage(&payload);

	blob_free(&elf);
	blob_free(&payload);
	return image;
}

/* -- files ----------------------------------------------------------------- */

static char folder[64];

static void remove_folder(void)
{
	char command[96];

	snprintf(command, sizeof(command), "rm -rf '%s'", folder);
	if (system(command) != 0)
		fprintf(stderr, "%s is left behind\n", folder);
}

const char *file_with(const char *name, const struct blob *blob)
{
	static char path[128];
	FILE *file;

	if (folder[0] == '\0') {
		strcpy(folder, "/tmp/anyhyve-boot-XXXXXX");
		assert_non_null(mkdtemp(folder));
		atexit(remove_folder);
	}
	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	if (blob != NULL && blob->size > 0)
		assert_int_equal(fwrite(blob->data, blob->size, 1, file), 1);
	assert_int_equal(fclose(file), 0);
	return path;
}

int load(struct vmctx *vm, struct vcpu *bsp, const char *kernel,
	 const char *initrd, const char *cmdline, struct boot_result *result,
	 struct err *err)
{
	struct boot_request request = {
	    .kernel = kernel,
	    .initrd = initrd,
	    .cmdline = cmdline,
	    .memory_is_zero = false,
	};
	int error;

	err->text[0] = '\0';
	*bsp = (struct vcpu){0};
	error = boot_load(vm, bsp, &request, result, err);
	/* Whatever happens, the write gate is closed, and there is a line. */
	assert_int_equal(vm->open_writes, 0);
	assert_int_equal(error == 0, err->text[0] == '\0');
	assert_null(strchr(err->text, '\n'));
	return error;
}
