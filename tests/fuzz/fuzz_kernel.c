// SPDX-License-Identifier: BSD-2-Clause
/*
 * A kernel image of any format (bzImage, multiboot, PVH, vmlinux), loaded into
 * a VM that is only memory. The input's first byte says what goes with it.
 */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bits.h"
#include "boot/boot.h"
#include "fake_vm.h"

#define LOW_MEMORY  (20 * MiB)
#define HIGH_MEMORY (1 * MiB)

enum with { WITH_INITRD = 1, WITH_MODULES = 2, WITH_CMDLINE = 4, DIRTY = 8 };

struct file {
	int fd;
	char path[32];
};

/* A regular file without a place in the file system. */
static struct file make_file(const char *name)
{
	struct file file = {.fd = memfd_create(name, MFD_CLOEXEC)};

	if (file.fd < 0)
		abort();
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.fd);
	return file;
}

static void fill_file(const struct file *file, const void *data, size_t size)
{
	if (ftruncate(file->fd, 0) != 0 ||
	    pwrite(file->fd, data, size, 0) != (ssize_t)size)
		abort();
}

static void check(const struct vmctx *vm, const struct vcpu *bsp, int error,
		  const struct err *err)
{
	uint64_t rip = bsp->reg[VM_REG_GUEST_RIP];

	if (vm->open_writes != 0)
		abort(); /* the write gate was left open */
	if ((error == 0) != (err->text[0] == '\0') ||
	    strchr(err->text, '\n') != NULL)
		abort(); /* one line for each failure */
	if (error == 0 && rip >= LOW_MEMORY)
		abort(); /* it would not run its own code */
}

static void load(struct vmctx *vm, const struct file *kernel,
		 const struct file *initrd, unsigned int with)
{
	const char *module[2] = {initrd->path, initrd->path};
	struct boot_request request = {
	    .kernel = kernel->path,
	    .initrd = (with & WITH_INITRD) != 0 ? initrd->path : NULL,
	    .cmdline = (with & WITH_CMDLINE) != 0 ? "a nokaslr b" : NULL,
	    .module = module,
	    .modules = (with & WITH_MODULES) != 0 ? 2 : 0,
	    .memory_is_zero = (with & DIRTY) == 0,
	};
	struct boot_result result;
	struct vcpu bsp = {0};
	struct err err = {""};
	int error = boot_load(vm, &bsp, &request, &result, &err);

	check(vm, &bsp, error, &err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct file kernel = {.fd = -1}, initrd;
	static struct vmctx vm;
	struct input input = {data, size};
	unsigned int with = take_8(&input);

	if (kernel.fd < 0) {
		fake_vm_init(&vm, LOW_MEMORY, HIGH_MEMORY);
		kernel = make_file("kernel");
		initrd = make_file("initrd");
		fill_file(&initrd, "an initrd", 9);
	}
	fill_file(&kernel, input.data, input.left);
	load(&vm, &kernel, &initrd, with);
	return 0;
}
