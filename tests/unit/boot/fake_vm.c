// SPDX-License-Identifier: BSD-2-Clause
#include "fake_vm.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"

static uint8_t *pages(size_t size)
{
	void *memory;

	if (size == 0)
		return NULL;
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		abort();
	return memory;
}

void fake_vm_init(struct vmctx *vm, size_t lowsize, size_t highsize)
{
	*vm = (struct vmctx){
	    .low = pages(lowsize),
	    .lowsize = lowsize,
	    .high = pages(highsize),
	    .highsize = highsize,
	};
}

void fake_vm_free(struct vmctx *vm)
{
	if (vm->low != NULL)
		munmap(vm->low, vm->lowsize);
	if (vm->high != NULL)
		munmap(vm->high, vm->highsize);
}

size_t vm_get_lowmem_size(struct vmctx *vm)
{
	return vm->lowsize;
}

vm_paddr_t vm_get_highmem_base(struct vmctx *vm)
{
	(void)vm;
	return 4 * GiB;
}

size_t vm_get_highmem_size(struct vmctx *vm)
{
	return vm->highsize;
}

int vm_mem_write(struct vmctx *vm, vm_paddr_t gpa, const void *data, size_t len)
{
	void *to = vm_mem_write_begin(vm, gpa, len);

	if (to == NULL)
		return -1;
	memcpy(to, data, len);
	vm_mem_write_end(vm, gpa, len);
	return 0;
}

void *vm_mem_write_begin(struct vmctx *vm, vm_paddr_t gpa, size_t len)
{
	uint8_t *to = NULL;

	if (range_inside(gpa, len, vm->lowsize))
		to = vm->low + gpa;
	else if (gpa >= 4 * GiB &&
		 range_inside(gpa - 4 * GiB, len, vm->highsize))
		to = vm->high + (gpa - 4 * GiB);
	if (to == NULL) {
		errno = EFAULT;
		return NULL;
	}
	vm->open_writes++;
	vm->written += len;
	return to;
}

void vm_mem_write_end(struct vmctx *vm, vm_paddr_t gpa, size_t len)
{
	(void)gpa;
	(void)len;
	vm->open_writes--;
}

struct vmctx *vcpu_ctx(struct vcpu *vcpu)
{
	return NULL; /* the loader asks for batches only */
}

int vm_batch_begin(struct vmctx *ctx)
{
	return 0;
}

int vm_batch_end(struct vmctx *ctx)
{
	return 0;
}

int vcpu_reset(struct vcpu *vcpu)
{
	memset(vcpu->reg, 0xff, sizeof(vcpu->reg));
	vcpu->resets++;
	return 0;
}

int vm_set_register(struct vcpu *vcpu, int reg, uint64_t value)
{
	if (reg < 0 || reg >= VM_REG_LAST) {
		errno = EINVAL;
		return -1;
	}
	vcpu->reg[reg] = value;
	return 0;
}

int vm_set_desc(struct vcpu *vcpu, int reg, uint64_t base, uint32_t limit,
		uint32_t access)
{
	if (reg < 0 || reg >= VM_REG_LAST) {
		errno = EINVAL;
		return -1;
	}
	vcpu->desc[reg] = (struct seg_desc){base, limit, access};
	return 0;
}

const char *vm_error_text(void)
{
	return strerror(errno);
}
