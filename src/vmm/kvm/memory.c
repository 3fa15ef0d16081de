// SPDX-License-Identifier: BSD-2-Clause
/* Guest memory as KVM's slots: RAM's low part and high, ROM; the dirty log. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/kvm/kvm.h"

enum { SLOT_LOW, SLOT_HIGH, RAM_SLOTS, SLOT_ROM = RAM_SLOTS };

static uint64_t slot_gpa(uint32_t slot)
{
	return slot == SLOT_LOW ? 0 : MEM_HIGH_BASE;
}

static uint64_t slot_size(const struct kvm_vm *kvm, uint32_t slot)
{
	const struct vm_mem *mem = &kvm->vm->mem;

	return slot == SLOT_LOW ? mem->low_size : mem->high_size;
}

static int set_slot(struct kvm_vm *kvm, uint32_t slot, uint32_t flags)
{
	uint64_t gpa = slot_gpa(slot);
	struct kvm_userspace_memory_region region = {
	    .slot = slot,
	    .flags = flags,
	    .guest_phys_addr = gpa,
	    .memory_size = slot_size(kvm, slot),
	    .userspace_addr = (uintptr_t)(kvm->vm->mem.base + gpa),
	};

	if (region.memory_size == 0)
		return 0;
	return ioctl(kvm->fd, KVM_SET_USER_MEMORY_REGION, &region) == 0
		   ? 0
		   : -errno;
}

/* The guest's writes there come out as MMIO, and are dropped by the room. */
static int set_rom(struct kvm_vm *kvm, struct err *err)
{
	const struct vm_rom *rom = &kvm->vm->mem.rom;
	struct kvm_userspace_memory_region region = {
	    .slot = SLOT_ROM,
	    .flags = KVM_MEM_READONLY,
	    .guest_phys_addr = rom->gpa,
	    .memory_size = rom->len,
	    .userspace_addr = (uintptr_t)(kvm->vm->mem.base + rom->gpa),
	};

	if (rom->len == 0 ||
	    ioctl(kvm->fd, KVM_SET_USER_MEMORY_REGION, &region) == 0)
		return 0;
	return kvm_failed(err, kvm->vm->name,
			  "KVM_SET_USER_MEMORY_REGION for the ROM", errno,
			  "try engine=soft");
}

int kvm_memory_create(struct kvm_vm *kvm, struct err *err)
{
	for (uint32_t slot = 0; slot < RAM_SLOTS; slot++) {
		int error = set_slot(kvm, slot, 0);

		if (error != 0)
			return kvm_failed(err, kvm->vm->name,
					  "KVM_SET_USER_MEMORY_REGION", -error,
					  "try less memory (-m) or "
					  "engine=soft");
	}
	return set_rom(kvm, err);
}

/* Both parts, or neither. */
int kvm_dirty_log(struct vm *vm, bool on)
{
	struct kvm_vm *kvm = vm->engine_data;
	int error = 0;

	for (uint32_t slot = 0; slot < RAM_SLOTS && error == 0; slot++)
		error = set_slot(kvm, slot, on ? KVM_MEM_LOG_DIRTY_PAGES : 0);
	if (error != 0 && on)
		for (uint32_t slot = 0; slot < RAM_SLOTS; slot++)
			set_slot(kvm, slot, 0);
	return error;
}

/* KVM fills whole words of 64 pages. */
int kvm_dirty_get(struct vm *vm, uint64_t gpa, void *bitmap, size_t bytes)
{
	struct kvm_vm *kvm = vm->engine_data;
	uint32_t slot = gpa == 0 ? SLOT_LOW : SLOT_HIGH;
	struct kvm_dirty_log log = {.slot = slot, .dirty_bitmap = bitmap};
	uint64_t pages = slot_size(kvm, slot) >> 12;

	if (gpa != slot_gpa(slot) || pages == 0 ||
	    bytes < ALIGN_UP(pages, 64) / 8)
		return -EINVAL;
	return ioctl(kvm->fd, KVM_GET_DIRTY_LOG, &log) == 0 ? 0 : -errno;
}
