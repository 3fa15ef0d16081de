/* SPDX-License-Identifier: BSD-2-Clause */
/* A loader's test on kernels that are not Linux's, and their files. */
#ifndef TESTS_BOOT_FOREIGN_H
#define TESTS_BOOT_FOREIGN_H

#include "base/bits.h"
#include "kernels.h"

#define MEMORY (64 * MiB)

struct fixture {
	struct vmctx vm;
	struct vcpu bsp;
	struct boot_result result;
	struct err err;
	const char *module[BOOT_MODULES_MAX + 1];
	struct boot_request request;
	char kernel[128];
	char initrd[128];
};

int setup(void **state);
int teardown(void **state);

/* Takes the blob, which is gone then. */
void use_kernel(struct fixture *f, struct blob blob);

/* A file of size pattern bytes: module_byte of its offset. */
uint8_t module_byte(size_t offset);
void make_module(char path[128], const char *name, size_t size);

void succeed(struct fixture *f);
void refuse(struct fixture *f, int error, const char *text);

/* The same segments, entry included, as kernel_elf, in an ELF32 file. */
struct blob kernel_elf32(void);

/* What all entries by 32-bit protected mode have in common. */
void check_state32(const struct fixture *f, uint64_t eax, uint64_t info);

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
