/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The VM that a configuration describes, as bhyveload and bhyve open it: the
 * library's variables, the VM itself, its memory, and the kernel that
 * boot.kernel puts there.
 */
#ifndef BOOT_VM_H
#define BOOT_VM_H

#include <vmmapi.h>

#include "base/config.h"
#include "base/err.h"
#include "boot/boot.h"

struct boot_vm {
	struct config *config;
	const char *name;
	size_t memory_size;
	int memory_flags; /* VM_MEM_F_* */
	const char *module[BOOT_MODULES_MAX];
	unsigned int modules;
	struct vmctx *ctx; /* NULL: not open */
	bool created;      /* by this process: nobody misses it */
};

/*
 * All take vm->config and vm->name, and return 0 or -errno with a line in
 * err.
 *
 * boot_vm_read says what the variables mean, and hands the library's to it,
 * before anything is touched; its errors are the user's, and -EINVAL.
 * backing: memory.backing when the configuration has none; may be NULL.
 */
int boot_vm_read(struct boot_vm *vm, const char *backing, struct err *err);

/*
 * Opens the VM. With load it is made when it does not exist, and made anew
 * when it does; without, it must be there.
 */
int boot_vm_open(struct boot_vm *vm, bool load, struct err *err);
int boot_vm_memory(struct boot_vm *vm, struct err *err);

/* Puts boot.kernel, and all that belongs to it, into an opened VM. */
int boot_vm_load(struct boot_vm *vm, struct vcpu *bsp, struct err *err);

/* The line of the library's last error, which names the VM, with its errno. */
int boot_vm_error(const char *name, struct err *err);

#endif
