// SPDX-License-Identifier: BSD-2-Clause
#include "fake_vm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "base/bits.h"

static void drive(struct vmctx *vm, int *wires, int count, int irq, int level)
{
	if (irq < 0 || irq >= count || wires[irq] == level) {
		vm->wrong++;
		return;
	}
	wires[irq] = level;
	if (wires == vm->pins && level)
		vm->edges[irq]++;
}

int vm_isa_assert_irq(struct vmctx *vm, int atpic_irq, int ioapic_irq)
{
	drive(vm, vm->pic, ARRAY_SIZE(vm->pic), atpic_irq, 1);
	if (ioapic_irq != -1)
		drive(vm, vm->pins, ARRAY_SIZE(vm->pins), ioapic_irq, 1);
	return 0;
}

int vm_isa_deassert_irq(struct vmctx *vm, int atpic_irq, int ioapic_irq)
{
	drive(vm, vm->pic, ARRAY_SIZE(vm->pic), atpic_irq, 0);
	if (ioapic_irq != -1)
		drive(vm, vm->pins, ARRAY_SIZE(vm->pins), ioapic_irq, 0);
	return 0;
}

int vm_ioapic_assert_irq(struct vmctx *vm, int irq)
{
	drive(vm, vm->pins, ARRAY_SIZE(vm->pins), irq, 1);
	return 0;
}

int vm_ioapic_deassert_irq(struct vmctx *vm, int irq)
{
	drive(vm, vm->pins, ARRAY_SIZE(vm->pins), irq, 0);
	return 0;
}

int vm_get_hpet_capabilities(struct vmctx *vm, uint32_t *capabilities)
{
	(void)vm;
	*capabilities = 0x80868701;
	return 0;
}

int vm_ioapic_pincount(struct vmctx *vm, int *pincount)
{
	(void)vm;
	*pincount = 32;
	return 0;
}

int vm_isa_set_irq_trigger(struct vmctx *vm, int atpic_irq,
			   enum vm_intr_trigger trigger)
{
	vm->trigger[atpic_irq & 15] = trigger;
	return 0;
}

int vm_raise_msi(struct vmctx *vm, uint64_t addr, uint64_t msg, int bus,
		 int slot, int func)
{
	(void)bus;
	(void)slot;
	(void)func;
	vm->msis++;
	vm->msi_address = addr;
	vm->msi_data = msg;
	return 0;
}

int vm_suspend(struct vmctx *vm, enum vm_suspend_how how)
{
	if (vm->how != VM_SUSPEND_NONE) {
		errno = EALREADY;
		return -1;
	}
	vm->how = how;
	return 0;
}

size_t vm_get_lowmem_size(struct vmctx *vm)
{
	return vm->lowmem;
}

size_t vm_get_highmem_size(struct vmctx *vm)
{
	return vm->highmem;
}

vm_paddr_t vm_get_highmem_base(struct vmctx *vm)
{
	(void)vm;
	return 4 * GiB;
}

void *vm_map_gpa(struct vmctx *vm, vm_paddr_t gpa, size_t len)
{
	return vm->ram != NULL && range_inside(gpa, len, vm->ram_size)
		   ? vm->ram + gpa
		   : NULL;
}

void *vm_create_devmem(struct vmctx *vm, int segid, const char *name,
		       size_t len)
{
	(void)name;
	if (segid != VM_BOOTROM || vm->rom != NULL)
		vm->wrong++;
	vm->rom = calloc(1, len);
	vm->rom_size = len;
	return vm->rom != NULL ? vm->rom : MAP_FAILED;
}

int vm_mmap_memseg(struct vmctx *vm, vm_paddr_t gpa, int segid, off_t segoff,
		   size_t len, int prot)
{
	if (segid != VM_BOOTROM || segoff != 0 || len != vm->rom_size ||
	    prot != (PROT_READ | PROT_EXEC))
		vm->wrong++;
	vm->rom_gpa = gpa;
	return 0;
}

const char *vm_error_text(void)
{
	return "a test's VM";
}

void vm_mem_dirty(struct vmctx *vm, vm_paddr_t gpa, size_t len)
{
	if (range_inside(gpa, len, vm->ram_size))
		atomic_fetch_add(&vm->dirty, len);
	else
		vm->wrong++;
}
