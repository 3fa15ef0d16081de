// SPDX-License-Identifier: BSD-2-Clause
#include "boot/vm.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define DEFAULT_MEMORY "256M"

int boot_vm_error(const char *name, struct err *err)
{
	int error = errno != 0 ? errno : EIO;
	const char *text = vm_error_text();

	if (strstr(text, name) != NULL || strlen(name) > VM_MAX_NAMELEN)
		return err_set(err, error, "%s", text);
	return err_set(err, error, "%s: %s", name, text);
}

/* -- variables ----------------------------------------------------------- */

/* Variables that the library wants before it opens a VM. */
static int set_library_options(struct boot_vm *vm, const char *backing,
			       struct err *err)
{
	static const char *const keys[] = {
	    "rundir",         "engine",       "soft.jit",
	    "cpu.model",      "cpu.features", "memory.backing",
	    "soft.jit.cache", "soft.jit.hot", "soft.jit.perfmap"};

	if (backing != NULL && vm_set_option("memory.backing", backing) != 0)
		return boot_vm_error("memory.backing", err);
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = config_get(vm->config, keys[i]);

		if (value != NULL && vm_set_option(keys[i], value) != 0)
			return boot_vm_error(keys[i], err);
	}
	return 0;
}

/* Names other than numbers would be modules that nobody loads. */
static int check_module(void *arg, const char *name, const char *value,
			struct config_node *child)
{
	unsigned int number = 0;
	const char *at = name;

	for (; *at >= '0' && *at <= '9' && number < BOOT_MODULES_MAX; at++)
		number = number * 10 + (unsigned int)(*at - '0');
	if (child == NULL && *at == '\0' && number < BOOT_MODULES_MAX &&
	    (name[0] != '0' || name[1] == '\0'))
		return 0;
	return err_set(arg, EINVAL,
		       "variable boot.module.%.40s: want boot.module.N=file, "
		       "with N from 0 to %d",
		       name, BOOT_MODULES_MAX - 1);
}

/* In the order of their numbers, which may have gaps. */
static int find_modules(struct boot_vm *vm, struct err *err)
{
	struct config_node *node =
	    config_find(config_root(vm->config), "boot.module");
	int error;

	vm->modules = 0;
	if (config_get(vm->config, "boot.module") != NULL)
		return err_set(err, EINVAL,
			       "variable boot.module: want boot.module.N=file");
	if (node == NULL)
		return 0;
	error = config_walk(node, check_module, err);
	for (unsigned int i = 0; error == 0 && i < BOOT_MODULES_MAX; i++) {
		char name[12];
		const char *text;

		snprintf(name, sizeof(name), "%u", i);
		text = config_get_in(node, name);
		if (text != NULL)
			vm->module[vm->modules++] = text;
	}
	return error;
}

int boot_vm_read(struct boot_vm *vm, const char *backing, struct err *err)
{
	const char *size = config_get(vm->config, "memory.size");
	bool wired, incore;
	int error;

	if (size == NULL)
		size = DEFAULT_MEMORY;
	if (vm_parse_memsize(size, &vm->memory_size) != 0)
		return err_set(err, EINVAL,
			       "memory.size (-m) %.40s: want a size such as "
			       "512M or 2G",
			       size);
	error = config_get_bool(vm->config, "memory.wired", false, &wired, err);
	if (error == 0)
		error = config_get_bool(vm->config, "memory.guest_in_core",
					false, &incore, err);
	if (error == 0)
		error = find_modules(vm, err);
	if (error != 0)
		return error;
	vm->memory_flags =
	    (wired ? VM_MEM_F_WIRED : 0) | (incore ? VM_MEM_F_INCORE : 0);
	return set_library_options(vm, backing, err);
}

/* -- the VM -------------------------------------------------------------- */

int boot_vm_open(struct boot_vm *vm, bool load, struct err *err)
{
	if (!load) {
		vm->ctx = vm_open(vm->name);
		if (vm->ctx == NULL && errno == ENOENT)
			return err_set(err, ENOENT,
				       "%s: no such VM: load one with "
				       "bhyveload, or give boot.kernel or a "
				       "boot ROM",
				       vm->name);
	} else {
		vm->ctx = vm_openf(vm->name, VMMAPI_OPEN_REINIT);
		if (vm->ctx == NULL && errno == ENOENT) {
			vm->ctx = vm_openf(vm->name, VMMAPI_OPEN_CREATE);
			vm->created = vm->ctx != NULL;
		}
	}
	if (vm->ctx == NULL || vm_memory_loss_fd(vm->ctx) < 0)
		return boot_vm_error(vm->name, err);
	return 0;
}

/* Memory of another size is not grown: it is another VM. */
int boot_vm_memory(struct boot_vm *vm, struct err *err)
{
	size_t have = 0;
	char segment[64];

	if (!vm->created &&
	    vm_get_memseg(vm->ctx, VM_SYSMEM, &have, segment,
			  sizeof(segment)) == 0 &&
	    have != 0 && have != vm->memory_size)
		return err_set(err, EINVAL,
			       "%s has %llu MiB of memory, not the %llu MiB of "
			       "-m: give the size it was made with, or destroy "
			       "it",
			       vm->name, have / MiB, vm->memory_size / MiB);
	vm_set_memflags(vm->ctx, vm->memory_flags);
	if (vm_setup_memory(vm->ctx, vm->memory_size, VM_MMAP_ALL) != 0)
		return boot_vm_error(vm->name, err);
	return 0;
}

int boot_vm_load(struct boot_vm *vm, struct vcpu *bsp, struct err *err)
{
	struct boot_progress_line line = {0};
	struct boot_request request = {
	    .kernel = config_get(vm->config, "boot.kernel"),
	    .initrd = config_get(vm->config, "boot.initrd"),
	    .cmdline = config_get(vm->config, "boot.cmdline"),
	    .module = vm->module,
	    .modules = vm->modules,
	    .memory_is_zero = true, /* new, or new after REINIT */
	    .progress = boot_progress_print,
	    .progress_arg = &line,
	};

	int error = boot_load(vm->ctx, bsp, &request, NULL, err);

	/* Whatever else came of it. */
	if (vm_memory_lost(vm->ctx))
		error = boot_vm_error(vm->name, err);
	return error;
}
