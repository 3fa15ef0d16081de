/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernels made to measure: an ELF file with a pattern in its segments, with
 * relocations behind it, packed into a bzImage.
 */
#ifndef TESTS_BOOT_KERNELS_H
#define TESTS_BOOT_KERNELS_H

#include <elf.h>

#include "boot/boot.h"
#include "fake_vm.h"

#define TEXT_GPA    0x1000000ull
#define TEXT_SIZE   0x3000ull
#define DATA_GPA    0x1200000ull
#define DATA_SIZE   0x1000ull
#define BSS_SIZE    0x2000ull
#define KERNEL_END  (DATA_GPA + DATA_SIZE + BSS_SIZE)
#define KERNEL_VIRT 0xffffffff80000000ull
#define ALIGNMENT   0x200000u
#define INIT_SIZE   0x400000u

struct blob {
	uint8_t *data;
	size_t size;
};

void blob_free(struct blob *blob);
void blob_append(struct blob *blob, const void *data, size_t size);

/* Two segments, text and data with bss, and an entry point in the first. */
struct blob kernel_elf(void);
Elf64_Ehdr *elf_header(struct blob *elf);
Elf64_Phdr *elf_segment(struct blob *elf, unsigned int i);

/* What the pattern has at a linked gpa of the kernel. */
uint8_t kernel_byte(uint64_t gpa);

/* The kernel's bytes are at their places, slide further, and bss is zero. */
void kernel_check(struct vmctx *vm, int64_t slide);

/* Packed by "gzip", "xz", "zstd" or "lz4", with the size behind it. */
struct blob packed(const struct blob *in, const char *packing);

/* A bzImage with payload in it; its own code is a pattern, too. */
struct blob bzimage(const struct blob *payload);

/* The bzImage of the ELF kernel, packed with gzip. */
struct blob kernel_bzimage(void);

/* A file in a folder of the test's own, which goes at exit. */
const char *file_with(const char *name, const struct blob *blob);

/* boot_load with usual settings; the result in *result, what failed in *err. */
int load(struct vmctx *vm, struct vcpu *bsp, const char *kernel,
	 const char *initrd, const char *cmdline, struct boot_result *result,
	 struct err *err);

#endif
