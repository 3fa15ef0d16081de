/* SPDX-License-Identifier: BSD-2-Clause */
/* The I/O APIC, by Intel's 82093AA data sheet. */
#include "room.h"

#define IOAPIC 0xfec00000ull

#define LEVEL      BIT(15)
#define MASKED     BIT(16)
#define REMOTE_IRR BIT(14)
#define LOGICAL    BIT(11)
#define DEST(id)   ((uint64_t)(id) << 56)

static uint32_t reg_read(struct room_fixture *room, unsigned reg)
{
	mmio_write(room, IOAPIC, reg);
	return mmio_read(room, IOAPIC + 0x10);
}

static void reg_write(struct room_fixture *room, unsigned reg, uint32_t value)
{
	mmio_write(room, IOAPIC, reg);
	mmio_write(room, IOAPIC + 0x10, value);
}

static void pulse(struct room_fixture *room, unsigned pin)
{
	ioapic_set_pin(&room->vm, pin, true);
	ioapic_set_pin(&room->vm, pin, false);
}

static void registers(void **state)
{
	struct room_fixture *room = *state;

	assert_int_equal(reg_read(room, 1), 31 << 16 | 0x11);
	assert_int_equal(ioapic_pincount(&room->vm), 32);
	reg_write(room, 0, 0xffffffff);
	assert_int_equal(reg_read(room, 0), 0x0f000000);
	assert_int_equal(reg_read(room, 2), 0x0f000000);
	reg_write(room, 1, 0);
	assert_int_equal(reg_read(room, 1), 31 << 16 | 0x11);
	for (unsigned pin = 0; pin < 32; pin++)
		assert_int_equal(reg_read(room, 0x10 + 2 * pin), MASKED);
	reg_write(room, 0x10 + 2 * 31, 0xffffffff);
	assert_int_equal(reg_read(room, 0x10 + 2 * 31), 0x1afff);
	reg_write(room, 0x11 + 2 * 31, 0xffffffff);
	assert_int_equal(reg_read(room, 0x11 + 2 * 31), 0xff000000);
	assert_int_equal(reg_read(room, 0x50), 0);
	reg_write(room, 0xff, 0xffffffff);
	assert_int_equal(reg_read(room, 0xff), 0);
	assert_int_equal(mmio_read(room, IOAPIC), 0xff);
	assert_int_equal(mmio_read(room, IOAPIC + 0x40), 0);
}

static void edge(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	ioapic_route(room, 5, 0x45 | DEST(2));
	ioapic_set_pin(&room->vm, 5, true);
	assert_int_equal(cpu_take(room, 2), 0x45);
	assert_int_equal(apic_read(room, 2, 0x190), 0);
	ioapic_set_pin(&room->vm, 5, true); /* a second source: no edge */
	assert_int_equal(cpu_take(room, 2), -1);
	ioapic_set_pin(&room->vm, 5, false);
	ioapic_set_pin(&room->vm, 5, false);
	pulse(room, 5);
	assert_int_equal(cpu_take(room, 2), 0x45);
	/* an edge while masked is lost */
	ioapic_route(room, 5, 0x45 | DEST(2) | MASKED);
	pulse(room, 5);
	ioapic_route(room, 5, 0x45 | DEST(2));
	assert_int_equal(cpu_take(room, 2), -1);
	pulse(room, 32);
}

static void level(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	ioapic_route(room, 20, 0x60 | LEVEL | DEST(1));
	ioapic_set_pin(&room->vm, 20, true);
	assert_int_equal(vcpu_intr_accept(&room->cpu[1]), 0x60);
	assert_int_equal(apic_read(room, 1, 0x180 + 0x30), 1);
	assert_int_equal(reg_read(room, 0x10 + 40), 0x60 | LEVEL | REMOTE_IRR);
	/* a second source while in service waits for the EOI */
	ioapic_set_pin(&room->vm, 20, true);
	ioapic_set_pin(&room->vm, 20, false);
	assert_int_equal(vcpu_intr_pending(&room->cpu[1]), -1);
	apic_write(room, 1, 0xb0, 0); /* still held: again */
	assert_int_equal(vcpu_intr_accept(&room->cpu[1]), 0x60);
	ioapic_set_pin(&room->vm, 20, false);
	apic_write(room, 1, 0xb0, 0);
	assert_int_equal(vcpu_intr_pending(&room->cpu[1]), -1);
	assert_int_equal(reg_read(room, 0x10 + 40), 0x60 | LEVEL);
}

static void a_masked_level_waits(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	ioapic_route(room, 9, 0x61 | LEVEL | MASKED);
	ioapic_set_pin(&room->vm, 9, true);
	assert_int_equal(cpu_take(room, 0), -1);
	ioapic_route(room, 9, 0x61 | LEVEL);
	ioapic_set_pin(&room->vm, 9, false);
	assert_int_equal(cpu_take(room, 0), 0x61);
	assert_int_equal(cpu_take(room, 0), -1);
}

/* How guests end a level interrupt on version 0x11: edge and back. */
static void edge_trigger_clears_remote_irr(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	ioapic_route(room, 9, 0x61 | LEVEL);
	ioapic_set_pin(&room->vm, 9, true);
	vcpu_intr_accept(&room->cpu[0]);
	reg_write(room, 0x10 + 18, 0x61 | MASKED);
	assert_int_equal(reg_read(room, 0x10 + 18), 0x61 | MASKED);
	reg_write(room, 0x10 + 18, 0x61 | LEVEL);
	assert_int_equal(reg_read(room, 0x10 + 18), 0x61 | LEVEL | REMOTE_IRR);
}

static void other_delivery_modes(void **state)
{
	struct room_fixture *room = *state;
	unsigned takers = 0;

	apics_enable(room);
	for (unsigned i = 0; i < ROOM_CPUS; i++)
		apic_write(room, i, 0xd0, 1u << (24 + i));
	ioapic_route(room, 3, 0x400 | DEST(3));
	pulse(room, 3);
	assert_int_equal(cpu_requests(room, 3), VCPU_REQ_NMI);
	ioapic_route(room, 4, 0x500 | DEST(3) | LEVEL);
	pulse(room, 4);
	assert_int_equal(cpu_requests(room, 3), VCPU_REQ_INIT);
	pulse(room, 4); /* no EOI needed */
	assert_int_equal(cpu_requests(room, 3), VCPU_REQ_INIT);
	ioapic_route(room, 5, 0x155 | LOGICAL | DEST(0x6));
	pulse(room, 5);
	for (unsigned i = 0; i < ROOM_CPUS; i++)
		if (cpu_take(room, i) == 0x55)
			takers |= 1u << i;
	assert_true(takers == 2 || takers == 4);
	ioapic_route(room, 5, 0x55 | LOGICAL | DEST(0xf));
	pulse(room, 5);
	for (unsigned i = 0; i < ROOM_CPUS; i++)
		assert_int_equal(cpu_take(room, i), 0x55);
}

static void state_is_saved(void **state)
{
	struct room_fixture *room = *state;
	struct room_fixture *other = room_new();
	const struct room_device *device = &ioapic_device;

	apics_enable(room);
	ioapic_route(room, 9, 0x61 | LEVEL);
	ioapic_set_pin(&room->vm, 9, true);
	ioapic_set_pin(&room->vm, 9, true);
	reg_write(room, 0, 0x03000000);
	assert_saves_and_loads(device->state, device->object(&room->vm),
			       device->object(&other->vm));
	assert_int_equal(reg_read(other, 0), 0x03000000);
	assert_int_equal(reg_read(other, 0x10 + 18), 0x61 | LEVEL | REMOTE_IRR);
	apics_enable(other);
	ioapic_set_pin(&other->vm, 9, false);
	ioapic_eoi(&other->vm, 0x61);
	ioapic_set_pin(&other->vm, 9, false);
	assert_int_equal(cpu_take(other, 0), 0x61);
	assert_int_equal(cpu_take(other, 0), -1);
	room_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    room_test(registers),
	    room_test(edge),
	    room_test(level),
	    room_test(a_masked_level_waits),
	    room_test(edge_trigger_clears_remote_irr),
	    room_test(other_delivery_modes),
	    room_test(state_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
