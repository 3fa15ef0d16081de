/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The room's devices. Each is one file in vmm/dev with an opaque struct; the
 * list in vmm/devices.c makes, resets, saves and destroys them in order.
 */
#ifndef VMM_DEVICE_H
#define VMM_DEVICE_H

#include <vmmapi.h>

#include "base/state.h"

struct apic_message; /* vmm/irq.h */
struct lapic;
struct vm;
struct vmcpu;

struct room_device {
	const char *name;
	const struct state_class *state;
	/* Makes the device and leaves it in its place in vm: 0 or -errno. */
	int (*create)(struct vm *vm);
	void (*destroy)(struct vm *vm);
	void (*reset)(struct vm *vm);
	/* The object that the state class describes, under no lock: only
	   called with all vCPUs stopped and the room's thread quiet. */
	void *(*object)(struct vm *vm);
	/* After load: re-arms timers, lines. May be NULL. */
	void (*resume)(struct vm *vm);
};

extern const struct room_device i8259_device, ioapic_device, i8254_device,
    hpet_device, mc146818_device, pmtimer_device;

/*
 * The whole list (vmm/devices.c). create undoes itself when it fails; load
 * also resumes. save and load: vCPUs stopped, the room's thread quiet. LAPICs
 * belong to their vCPUs and are not in it.
 */
int room_devices_create(struct vm *vm);
void room_devices_destroy(struct vm *vm);
void room_devices_reset(struct vm *vm);
int room_devices_save(struct vm *vm, struct state_writer *writer);
int room_devices_load(struct vm *vm, struct state_reader *reader,
		      struct err *err);

/* What the LAPIC timer counts before it is divided: as KVM's. */
#define LAPIC_TIMER_HZ 1000000000

/* A vCPU's local APIC is made with the vCPU. */
extern const struct state_class lapic_state_class;
struct lapic *lapic_create(struct vmcpu *vcpu);
void lapic_destroy(struct lapic *lapic);
void lapic_reset(struct lapic *lapic, bool init); /* init: keeps id, base */
void lapic_resume(struct lapic *lapic);

/*
 * The registers as an engine with APICs of its own has them: the xAPIC page,
 * one register in each 16 bytes, and what stands in MSRs.
 */
#define LAPIC_PAGE_BYTES 1024

struct lapic_image {
	uint64_t base;
	uint64_t tsc_deadline;
	uint8_t page[LAPIC_PAGE_BYTES];
};

/* The room's timer stops: it is the engine's from now on. */
void lapic_export(struct lapic *lapic, struct lapic_image *image);
void lapic_import(struct lapic *lapic, const struct lapic_image *image);

/*
 * Port and MMIO handlers, which vmm/bus.c lists in its tables. offset is
 * relative to the range's first address. Reads return the value,
 * writes take it; width in bytes. What a device does not implement reads as
 * all ones (ports) or zero (MMIO) and ignores writes.
 */
uint32_t i8259_read(struct vm *vm, uint16_t port, unsigned bytes);
void i8259_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value);
uint32_t i8254_read(struct vm *vm, uint16_t port, unsigned bytes);
void i8254_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value);
uint32_t mc146818_read(struct vm *vm, uint16_t port, unsigned bytes);
void mc146818_write(struct vm *vm, uint16_t port, unsigned bytes,
		    uint32_t value);
uint32_t pmtimer_read(struct vm *vm, uint16_t port, unsigned bytes);
void pmtimer_write(struct vm *vm, uint16_t port, unsigned bytes,
		   uint32_t value);
uint64_t ioapic_mmio_read(struct vm *vm, uint64_t offset, unsigned bytes);
void ioapic_mmio_write(struct vm *vm, uint64_t offset, unsigned bytes,
		       uint64_t value);
uint64_t hpet_mmio_read(struct vm *vm, uint64_t offset, unsigned bytes);
void hpet_mmio_write(struct vm *vm, uint64_t offset, unsigned bytes,
		     uint64_t value);

/* The LAPIC as the vCPU sees it: its MMIO page, its MSRs. */
bool lapic_mmio_owns(struct lapic *lapic, uint64_t gpa);
uint64_t lapic_mmio_read(struct lapic *lapic, uint64_t gpa, unsigned bytes);
void lapic_mmio_write(struct lapic *lapic, uint64_t gpa, unsigned bytes,
		      uint64_t value);
/* 0, -EINVAL (#GP), -ENXIO (not an MSR of the LAPIC). */
int lapic_msr(struct lapic *lapic, uint32_t msr, bool write, uint64_t *value);

/* LAPICs and the messages between them. */
bool lapic_matches(struct lapic *lapic, const struct apic_message *message);
void lapic_accept(struct lapic *lapic, const struct apic_message *message);
/* Rank for lowest priority: the smallest takes the message. */
uint64_t lapic_arbitration(struct lapic *lapic);

/* The LAPIC as the engine sees it: irq.h's vcpu_ functions. */
int lapic_pending(const struct lapic *lapic);
int lapic_intack(struct lapic *lapic);
/* Undoes lapic_intack; false: the vector did not come from this LAPIC. */
bool lapic_return(struct lapic *lapic, int vector);
uint8_t lapic_get_cr8(const struct lapic *lapic);
void lapic_set_cr8(struct lapic *lapic, uint8_t cr8);
void lapic_tsc_changed(struct lapic *lapic);

/*
 * The wire from the PIC to the CPUs. i8259_pending: the vector that an INTA
 * would bring, or -1; needs no lock. i8259_intack: that INTA; -1 if the
 * request went away. The PIC calls lapic_extint_raised when there is one.
 */
int i8259_pending(struct vm *vm);
int i8259_intack(struct vm *vm);
void i8259_return(struct vm *vm, int vector); /* undoes it */
void lapic_extint_raised(struct lapic *lapic);

/* The HPET's timers 0 and 1 stand in for the PIT's and the RTC's interrupt. */
bool hpet_legacy_route(struct vm *vm);

/* For door calls. */
int lapic_set_vector(struct lapic *lapic, uint8_t vector, bool level);
int lapic_local_irq(struct lapic *lapic, int lvt_pin);
enum x2apic_state lapic_get_x2apic(struct lapic *lapic);
int lapic_set_x2apic(struct lapic *lapic, bool enabled);
void i8259_set_trigger(struct vm *vm, unsigned irq, bool level);
unsigned ioapic_pincount(struct vm *vm);
/* Tells the engine where each pin is routed to (apic_route). */
void ioapic_announce(struct vm *vm);
uint32_t hpet_capabilities(struct vm *vm);
uint8_t mc146818_nvram_read(struct vm *vm, unsigned offset);
void mc146818_nvram_write(struct vm *vm, unsigned offset, uint8_t value);
int64_t mc146818_get_time(struct vm *vm);
void mc146818_set_time(struct vm *vm, int64_t secs);

#endif
