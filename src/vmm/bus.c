/* SPDX-License-Identifier: BSD-2-Clause */
/* Where the room's devices answer: ports, MMIO pages, MSRs. */
#include "vmm/bus.h"

#include <errno.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/vm.h"

struct port_range {
	uint16_t first;
	uint16_t last;
	uint32_t (*read)(struct vm *vm, uint16_t port, unsigned bytes);
	void (*write)(struct vm *vm, uint16_t port, unsigned bytes,
		      uint32_t value);
};

struct mmio_range {
	uint64_t base;
	uint64_t size;
	uint64_t (*read)(struct vm *vm, uint64_t offset, unsigned bytes);
	void (*write)(struct vm *vm, uint64_t offset, unsigned bytes,
		      uint64_t value);
};

static const struct port_range port_ranges[] = {
    {0x20, 0x21, i8259_read, i8259_write},
    {0x40, 0x43, i8254_read, i8254_write},
    {0x61, 0x61, i8254_read, i8254_write},
    {0x70, 0x71, mc146818_read, mc146818_write},
    {0xa0, 0xa1, i8259_read, i8259_write},
    {0x408, 0x40b, pmtimer_read, pmtimer_write},
    {0x4d0, 0x4d1, i8259_read, i8259_write},
};

static const struct mmio_range mmio_ranges[] = {
    {0xfec00000, 0x1000, ioapic_mmio_read, ioapic_mmio_write},
    {0xfed00000, 0x1000, hpet_mmio_read, hpet_mmio_write},
};

int room_pio(struct vmcpu *vcpu, uint16_t port, unsigned bytes, bool in,
	     uint32_t *value)
{
	uint32_t mask = (uint32_t)MASK(bytes * 8 - 1, 0);

	for (size_t i = 0; i < ARRAY_SIZE(port_ranges); i++) {
		const struct port_range *range = &port_ranges[i];

		if (port < range->first)
			break;
		if (port > range->last)
			continue;
		if (in)
			*value = range->read(vcpu->vm, port, bytes) & mask;
		else
			range->write(vcpu->vm, port, bytes, *value & mask);
		return 0;
	}
	if (!in && doorbell_ring(vcpu->vm, true, port, bytes, *value & mask))
		return 0;
	return -ENXIO;
}

/* An engine with local APICs of its own answers for their pages. */
static bool lapic_owns(struct vmcpu *vcpu, uint64_t gpa)
{
	const struct engine_ops *engine = vcpu->vm->engine;

	return (engine == NULL || engine->apic == NULL) &&
	       lapic_mmio_owns(vcpu->lapic, gpa);
}

static int lapic_mmio(struct lapic *lapic, uint64_t gpa, unsigned bytes,
		      bool write, uint64_t *value)
{
	if (write)
		lapic_mmio_write(lapic, gpa, bytes, *value);
	else
		*value = lapic_mmio_read(lapic, gpa, bytes);
	return 0;
}

int room_mmio(struct vmcpu *vcpu, uint64_t gpa, unsigned bytes, bool write,
	      uint64_t *value)
{
	if (lapic_owns(vcpu, gpa))
		return lapic_mmio(vcpu->lapic, gpa, bytes, write, value);
	for (size_t i = 0; i < ARRAY_SIZE(mmio_ranges); i++) {
		const struct mmio_range *range = &mmio_ranges[i];
		uint64_t offset = gpa - range->base;

		if (!range_inside(offset, bytes, range->size))
			continue;
		if (write)
			range->write(vcpu->vm, offset, bytes, *value);
		else
			*value = range->read(vcpu->vm, offset, bytes);
		return 0;
	}
	if (write && doorbell_ring(vcpu->vm, false, gpa, bytes, *value))
		return 0;
	/* No flash: its writes are lost, and no business of the process. */
	if (write && mem_is_rom(&vcpu->vm->mem, gpa, bytes))
		return 0;
	return -ENXIO;
}

bool room_owns_mmio(struct vmcpu *vcpu, uint64_t gpa, unsigned bytes)
{
	if (lapic_owns(vcpu, gpa))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(mmio_ranges); i++)
		if (range_inside(gpa - mmio_ranges[i].base, bytes,
				 mmio_ranges[i].size))
			return true;
	return mem_is_rom(&vcpu->vm->mem, gpa, bytes);
}

int room_msr(struct vmcpu *vcpu, uint32_t msr, bool write, uint64_t *value)
{
	return lapic_msr(vcpu->lapic, msr, write, value);
}
