/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM that is only memory and registers: what boot_load needs of vmmapi.h,
 * defined here instead of linking the library.
 */
#ifndef TESTS_FAKE_VM_H
#define TESTS_FAKE_VM_H

#include <vmmapi.h>

struct vmctx {
	uint8_t *low;
	size_t lowsize;
	uint8_t *high;
	size_t highsize;
	unsigned int open_writes; /* begin without end */
	uint64_t written;
};

struct vcpu {
	uint64_t reg[VM_REG_LAST];
	struct seg_desc desc[VM_REG_LAST];
	unsigned int resets;
};

void fake_vm_init(struct vmctx *vm, size_t lowsize, size_t highsize);
void fake_vm_free(struct vmctx *vm);

#endif
