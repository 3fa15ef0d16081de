// SPDX-License-Identifier: BSD-2-Clause
/*
 * The one segment beside system memory: a boot ROM, made by the process that
 * will run the VM and gone with its handle.
 */
#include <errno.h>
#include <sys/mman.h>

#include "vmmapi/door.h"

/* The engine takes memory as it finds it at its start. */
static int check(struct vmctx *ctx, int segid, struct err *err)
{
	if (segid != VM_BOOTROM)
		return err_set(err, ENOTSUP,
			       "%s: segment %d: only VM_BOOTROM is built",
			       ctx->name, segid);
	if (ctx->vm->mem.base == NULL)
		return err_set(err, EINVAL,
			       "%s: has no memory yet (vm_setup_memory)",
			       ctx->name);
	if (ctx->is_runner)
		return err_set(err, EBUSY, "%s: a ROM comes before vm_run",
			       ctx->name);
	return 0;
}

void *vm_create_devmem(struct vmctx *ctx, int segid, const char *name,
		       size_t len)
{
	struct vm_mem *mem = &ctx->vm->mem;
	struct err err;
	int error;

	pthread_mutex_lock(&ctx->lock);
	error = check(ctx, segid, &err);
	if (error == 0) {
		error = mem_rom_create(mem, len);
		if (error != 0)
			err_sys(&err, -error, "%s: a ROM of %zu bytes",
				ctx->name, len);
	}
	pthread_mutex_unlock(&ctx->lock);
	if (error == 0)
		return mem->rom.host;
	door_result(error, &err);
	return MAP_FAILED;
}

int vm_mmap_memseg(struct vmctx *ctx, vm_paddr_t gpa, int segid, off_t segoff,
		   size_t len, int prot)
{
	struct err err;
	int error;

	pthread_mutex_lock(&ctx->lock);
	error = check(ctx, segid, &err);
	if (error == 0 && (prot & PROT_WRITE) != 0)
		error = err_set(&err, ENOTSUP, "%s: a ROM that can be written",
				ctx->name);
	if (error == 0) {
		error = mem_rom_map(&ctx->vm->mem, gpa, (uint64_t)segoff, len);
		if (error != 0)
			err_sys(&err, -error, "%s: a ROM at %#llx", ctx->name,
				(unsigned long long)gpa);
	}
	pthread_mutex_unlock(&ctx->lock);
	return door_result(error, &err);
}
