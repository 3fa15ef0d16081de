/* SPDX-License-Identifier: BSD-2-Clause */
/* The fixture of the device tests, and what the rest of the room would do. */
#include "room.h"

#include <stdlib.h>

#include "vmm/cpuid.h"
#include "x86/features.h"

#define IOAPIC 0xfec00000ull
#define LAPIC  0xfee00000ull

/* -- what devices call outside ------------------------------------------------
 */

void vcpu_request(struct vmcpu *vcpu, uint32_t bits)
{
	atomic_fetch_or(&vcpu->requests, bits);
}

uint64_t vcpu_tsc(const struct vmcpu *vcpu)
{
	return vm_clock_tsc(&vcpu->vm->clock) + vcpu->state.tsc_offset;
}

bool cpu_model_has(const struct cpu_model *model, unsigned feature)
{
	return feature == X86_FEATURE_X2APIC ? model->x2apic
					     : model->tsc_deadline;
}

unsigned cpu_model_maxphyaddr(const struct cpu_model *model)
{
	return model->maxphyaddr;
}

/* -- life
 * ------------------------------------------------------------------------ */

struct room_fixture *room_new(void)
{
	struct room_fixture *room = calloc(1, sizeof(*room));

	assert_non_null(room);
	pthread_mutex_init(&room->vm.timer_lock, NULL);
	vm_clock_init(&room->vm.clock, 2000000000);
	vm_clock_set(&room->vm.clock, ROOM_START);
	room->model = (struct cpu_model){true, true, 39};
	room->vm.cpu_model = &room->model;
	assert_int_equal(room_devices_create(&room->vm), 0);
	for (unsigned i = 0; i < ROOM_CPUS; i++) {
		room->cpu[i].vm = &room->vm;
		room->cpu[i].id = i;
		room->vm.vcpu[i] = &room->cpu[i];
		room->cpu[i].lapic = lapic_create(&room->cpu[i]);
		assert_non_null(room->cpu[i].lapic);
	}
	return room;
}

void room_free(struct room_fixture *room)
{
	for (unsigned i = 0; i < ROOM_CPUS; i++)
		lapic_destroy(room->cpu[i].lapic);
	room_devices_destroy(&room->vm);
	assert_null(room->vm.timers);
	free(room);
}

int room_setup(void **state)
{
	*state = room_new();
	return 0;
}

int room_teardown(void **state)
{
	room_free(*state);
	return 0;
}

void room_pass(struct room_fixture *room, uint64_t ns)
{
	struct vm *vm = &room->vm;
	uint64_t end = vm_clock_ns(&vm->clock) + ns;

	while (vm->timers != NULL && vm->timers->deadline_ns <= end) {
		struct vm_timer *timer = vm->timers;
		uint64_t at = MAX(timer->deadline_ns, vm_clock_ns(&vm->clock));

		vm_timer_cancel(timer);
		vm_clock_set(&vm->clock, at);
		timer->expired(timer->arg);
	}
	vm_clock_set(&vm->clock, end);
}

/* -- a guest's hands
 * ---------------------------------------------------------------- */

void port_out(struct room_fixture *room, uint16_t port, uint8_t value)
{
	uint32_t wide = value;

	assert_int_equal(room_pio(&room->cpu[0], port, 1, false, &wide), 0);
}

uint8_t port_in(struct room_fixture *room, uint16_t port)
{
	uint32_t value = 0xdeadbeef;

	assert_int_equal(room_pio(&room->cpu[0], port, 1, true, &value), 0);
	assert_true(value <= 0xff);
	return (uint8_t)value;
}

void mmio_write(struct room_fixture *room, uint64_t gpa, uint32_t value)
{
	uint64_t wide = value;

	assert_int_equal(room_mmio(&room->cpu[0], gpa, 4, true, &wide), 0);
}

uint32_t mmio_read(struct room_fixture *room, uint64_t gpa)
{
	uint64_t value = ~0ull;

	assert_int_equal(room_mmio(&room->cpu[0], gpa, 4, false, &value), 0);
	assert_true(value <= UINT32_MAX);
	return (uint32_t)value;
}

void apic_write(struct room_fixture *room, unsigned cpu, unsigned offset,
		uint32_t value)
{
	uint64_t wide = value;

	assert_int_equal(
	    room_mmio(&room->cpu[cpu], LAPIC + offset, 4, true, &wide), 0);
}

uint32_t apic_read(struct room_fixture *room, unsigned cpu, unsigned offset)
{
	uint64_t value = ~0ull;

	assert_int_equal(
	    room_mmio(&room->cpu[cpu], LAPIC + offset, 4, false, &value), 0);
	return (uint32_t)value;
}

int msr_write(struct room_fixture *room, unsigned cpu, uint32_t msr,
	      uint64_t value)
{
	return room_msr(&room->cpu[cpu], msr, true, &value);
}

uint64_t msr_read(struct room_fixture *room, unsigned cpu, uint32_t msr)
{
	uint64_t value = ~0ull;

	assert_int_equal(room_msr(&room->cpu[cpu], msr, false, &value), 0);
	return value;
}

void apics_enable(struct room_fixture *room)
{
	for (unsigned i = 0; i < ROOM_CPUS; i++)
		apic_write(room, i, 0xf0, 0x1ff);
}

int cpu_take(struct room_fixture *room, unsigned cpu)
{
	int pending = vcpu_intr_pending(&room->cpu[cpu]);
	int vector;

	if (pending < 0)
		return -1;
	vector = vcpu_intr_accept(&room->cpu[cpu]);
	assert_int_equal(vector, pending);
	apic_write(room, cpu, 0xb0, 0);
	return vector;
}

uint32_t cpu_requests(struct room_fixture *room, unsigned cpu)
{
	return atomic_exchange(&room->cpu[cpu].requests, 0);
}

void pics_init(struct room_fixture *room, uint8_t icw4)
{
	for (unsigned i = 0; i < 2; i++) {
		uint16_t port = i == 0 ? 0x20 : 0xa0;

		port_out(room, port, 0x11);
		port_out(room, port + 1, i == 0 ? 0x20 : 0x28);
		port_out(room, port + 1, i == 0 ? 4 : 2);
		port_out(room, port + 1, icw4);
	}
}

void ioapic_route(struct room_fixture *room, unsigned pin, uint64_t entry)
{
	mmio_write(room, IOAPIC, 0x11 + pin * 2);
	mmio_write(room, IOAPIC + 0x10, (uint32_t)(entry >> 32));
	mmio_write(room, IOAPIC, 0x10 + pin * 2);
	mmio_write(room, IOAPIC + 0x10, (uint32_t)entry);
}

void assert_saves_and_loads(const struct state_class *class, void *from,
			    void *to)
{
	struct state_writer first = {0}, second = {0};
	struct state_reader reader;
	struct err err;

	assert_int_equal(state_save(class, 3, from, &first), 0);
	reader = (struct state_reader){first.data, first.size, 0};
	assert_int_equal(state_load(class, 3, to, &reader, &err), 0);
	assert_int_equal(reader.position, first.size);
	assert_int_equal(state_save(class, 3, to, &second), 0);
	assert_int_equal(second.size, first.size);
	assert_memory_equal(second.data, first.data, first.size);

	reader = (struct state_reader){first.data, first.size - 1, 0};
	assert_int_not_equal(state_load(class, 3, to, &reader, &err), 0);
	state_writer_free(&first);
	state_writer_free(&second);
}
