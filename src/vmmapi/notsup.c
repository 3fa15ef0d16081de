// SPDX-License-Identifier: BSD-2-Clause
/*
 * Functions of FreeBSD's library that have nothing to stand on here. Callers
 * link, and get ENOTSUP with a line that says why.
 */
#include <errno.h>

#include "vmmapi/door.h"

static int refuse(const char *function, const char *why)
{
	struct err err;

	err_set(&err, ENOTSUP, "%s: %s", function, why);
	return door_result(-ENOTSUP, &err);
}

/* -- the device ----------------------------------------------------------- */

#define NO_DEVICE "a VM is a directory and not a device"

int vm_get_device_fd(struct vmctx *ctx)
{
	return refuse(__func__, NO_DEVICE);
}

const unsigned long *vm_get_ioctls(size_t *len)
{
	*len = 0;
	refuse(__func__, NO_DEVICE);
	return NULL;
}

/* -- memory --------------------------------------------------------------- */

int vm_setup_memory_domains(struct vmctx *ctx, enum vm_mmap_style style,
			    struct vm_mem_domain *domains, int ndomains)
{
	return refuse(__func__, "NUMA domains are not built");
}

int vm_munmap_memseg(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
	return refuse(__func__, "a ROM stays mapped");
}

int vm_get_gpa_pmap(struct vmctx *ctx, uint64_t gpa, uint64_t *pte, int *num)
{
	*num = 0;
	return refuse(__func__, "there are no nested page tables to show");
}

/* -- devices -------------------------------------------------------------- */

#define NO_PASSTHROUGH "PCI passthrough is not built"

int vm_readwrite_kernemu_device(struct vcpu *vcpu, vm_paddr_t gpa, bool write,
				int size, uint64_t *value)
{
	return refuse(__func__, "accesses to the library's devices are made "
				"inside vm_run");
}

int vm_assign_pptdev(struct vmctx *ctx, int bus, int slot, int func)
{
	return refuse(__func__, NO_PASSTHROUGH);
}

int vm_unassign_pptdev(struct vmctx *ctx, int bus, int slot, int func)
{
	return refuse(__func__, NO_PASSTHROUGH);
}

int vm_map_pptdev_mmio(struct vmctx *ctx, int bus, int slot, int func,
		       vm_paddr_t gpa, size_t len, vm_paddr_t hpa)
{
	return refuse(__func__, NO_PASSTHROUGH);
}

int vm_unmap_pptdev_mmio(struct vmctx *ctx, int bus, int slot, int func,
			 vm_paddr_t gpa, size_t len)
{
	return refuse(__func__, NO_PASSTHROUGH);
}

int vm_setup_pptdev_msi(struct vmctx *ctx, int bus, int slot, int func,
			uint64_t addr, uint64_t msg, int numvec)
{
	return refuse(__func__, NO_PASSTHROUGH);
}

int vm_setup_pptdev_msix(struct vmctx *ctx, int bus, int slot, int func,
			 int idx, uint64_t addr, uint64_t msg,
			 uint32_t vector_control)
{
	return refuse(__func__, NO_PASSTHROUGH);
}

int vm_disable_pptdev_msix(struct vmctx *ctx, int bus, int slot, int func)
{
	return refuse(__func__, NO_PASSTHROUGH);
}

/* -- snapshots ------------------------------------------------------------ */

int vm_snapshot_req(struct vmctx *ctx, struct vm_snapshot_meta *meta)
{
	return refuse(__func__, "snapshots are not built");
}

int vm_restore_time(struct vmctx *ctx)
{
	return refuse(__func__, "snapshots are not built");
}
