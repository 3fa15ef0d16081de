/* SPDX-License-Identifier: BSD-2-Clause */
/* The pair of 8259A interrupt controllers, by Intel's data sheet. */
#include "room.h"

#define PIC1 0x20
#define PIC2 0xa0

enum { EOI = 0x20, READ_IRR = 0x0a, READ_ISR = 0x0b, POLL = 0x0c };

static int take(struct room_fixture *room)
{
	int pending = vcpu_intr_pending(&room->cpu[0]);
	int vector = vcpu_intr_accept(&room->cpu[0]);

	assert_int_equal(vector, pending);
	return vector;
}

static void pulse(struct room_fixture *room, unsigned irq)
{
	pic_set_irq(&room->vm, irq, true);
	pic_set_irq(&room->vm, irq, false);
}

static void silent_until_initialised(void **state)
{
	struct room_fixture *room = *state;

	pulse(room, 3);
	assert_int_equal(take(room), -1);
	/* guests look for a PIC by its mask */
	port_out(room, PIC1 + 1, 0xfb);
	assert_int_equal(port_in(room, PIC1 + 1), 0xfb);
	port_out(room, PIC2 + 1, 0xff);
	assert_int_equal(port_in(room, PIC2 + 1), 0xff);
}

static void fixed_priority(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	pulse(room, 5);
	pulse(room, 3);
	pulse(room, 4);
	assert_int_equal(port_in(room, PIC1), 0x38);
	assert_int_equal(take(room), 0x23);
	assert_int_equal(take(room), -1); /* nested: only what is above */
	pulse(room, 1);
	assert_int_equal(take(room), 0x21);
	port_out(room, PIC1, READ_ISR);
	assert_int_equal(port_in(room, PIC1), 0x0a);
	port_out(room, PIC1, READ_IRR);
	assert_int_equal(port_in(room, PIC1), 0x30);
	port_out(room, PIC1, EOI);
	assert_int_equal(take(room), -1);
	port_out(room, PIC1, EOI);
	assert_int_equal(take(room), 0x24);
	port_out(room, PIC1, 0x64); /* specific EOI of 4 */
	assert_int_equal(take(room), 0x25);
}

static void the_second_is_behind_input_2(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	pulse(room, 12);
	assert_int_equal(take(room), 0x2c);
	port_out(room, PIC1, READ_ISR);
	assert_int_equal(port_in(room, PIC1), 0x04);
	port_out(room, PIC2, READ_ISR);
	assert_int_equal(port_in(room, PIC2), 0x10);
	pulse(room, 3); /* below input 2 */
	assert_int_equal(take(room), -1);
	port_out(room, PIC2, EOI);
	port_out(room, PIC1, EOI);
	assert_int_equal(take(room), 0x23);
	port_out(room, PIC1, EOI);
	/* two behind the second come one after the other */
	pulse(room, 8);
	pulse(room, 9);
	assert_int_equal(take(room), 0x28);
	port_out(room, PIC1, EOI);
	assert_int_equal(take(room), -1);
	port_out(room, PIC2, EOI);
	assert_int_equal(take(room), 0x29);
}

static void masks(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	port_out(room, PIC1 + 1, 0x08);
	pulse(room, 3);
	assert_int_equal(take(room), -1);
	cpu_requests(room, 0);
	port_out(room, PIC1 + 1, 0);
	assert_int_equal(cpu_requests(room, 0), VCPU_REQ_INTR);
	assert_int_equal(take(room), 0x23);
	port_out(room, PIC1, EOI);
	port_out(room, PIC1 + 1, 0x04); /* the whole second chip */
	pulse(room, 14);
	assert_int_equal(take(room), -1);
	port_out(room, PIC1 + 1, 0);
	assert_int_equal(take(room), 0x2e);
}

static void edges_are_remembered_levels_are_not(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	pic_set_irq(&room->vm, 4, true);
	assert_int_equal(take(room), 0x24);
	port_out(room, PIC1, EOI);
	assert_int_equal(take(room), -1); /* held, but no new edge */
	pic_set_irq(&room->vm, 4, false);
	pic_set_irq(&room->vm, 4, true);
	assert_int_equal(take(room), 0x24);
	port_out(room, PIC1, EOI);

	port_out(room, 0x4d1, 0xff);
	assert_int_equal(port_in(room, 0x4d1), 0xde);
	port_out(room, 0x4d0, 0xff);
	assert_int_equal(port_in(room, 0x4d0), 0xf8);
	pic_set_irq(&room->vm, 10, true);
	assert_int_equal(take(room), 0x2a);
	port_out(room, PIC2, EOI);
	port_out(room, PIC1, EOI);
	assert_int_equal(take(room), 0x2a); /* still held */
	port_out(room, PIC2, EOI);
	port_out(room, PIC1, EOI);
	pic_set_irq(&room->vm, 10, false);
	assert_int_equal(take(room), -1);
}

static void sources_are_counted(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	i8259_set_trigger(&room->vm, 11, true);
	i8259_set_trigger(&room->vm, 0, true); /* always edge */
	assert_int_equal(port_in(room, 0x4d1), 0x08);
	assert_int_equal(port_in(room, 0x4d0), 0);
	pic_set_irq(&room->vm, 11, true);
	pic_set_irq(&room->vm, 11, true);
	pic_set_irq(&room->vm, 11, false);
	assert_int_equal(vcpu_intr_pending(&room->cpu[0]), 0x2b);
	pic_set_irq(&room->vm, 11, false);
	assert_int_equal(vcpu_intr_pending(&room->cpu[0]), -1);
	pic_set_irq(&room->vm, 11, false); /* one too many is nothing */
	pic_set_irq(&room->vm, 11, true);
	assert_int_equal(vcpu_intr_pending(&room->cpu[0]), 0x2b);
	pic_set_irq(&room->vm, 16, true);
	pic_set_irq(&room->vm, 2, true);
}

static void automatic_eoi(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 3);
	pulse(room, 6);
	assert_int_equal(take(room), 0x26);
	port_out(room, PIC1, READ_ISR);
	assert_int_equal(port_in(room, PIC1), 0);
	pulse(room, 6);
	pulse(room, 7);
	assert_int_equal(take(room), 0x26);
	assert_int_equal(take(room), 0x27);
	/* with rotation the one served goes last */
	port_out(room, PIC1, 0x80);
	pulse(room, 6);
	assert_int_equal(take(room), 0x26);
	pulse(room, 6);
	pulse(room, 7);
	assert_int_equal(take(room), 0x27);
	assert_int_equal(take(room), 0x26);
}

static void rotation(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	pulse(room, 4);
	pulse(room, 6);
	assert_int_equal(take(room), 0x24);
	port_out(room, PIC1, 0xa0); /* EOI, 4 becomes the lowest */
	pulse(room, 4);
	assert_int_equal(take(room), 0x26);
	port_out(room, PIC1, 0xe6); /* EOI of 6, which becomes the lowest */
	pulse(room, 7);
	assert_int_equal(take(room), 0x27);
	port_out(room, PIC1, EOI);
	port_out(room, PIC1, 0xc3); /* set priority: 4 is the highest */
	assert_int_equal(take(room), 0x24);
}

static void special_mask_mode(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	pulse(room, 1);
	assert_int_equal(take(room), 0x21);
	pulse(room, 5);
	assert_int_equal(take(room), -1);
	port_out(room, PIC1 + 1, 0x02);
	port_out(room, PIC1, 0x68);
	assert_int_equal(take(room), 0x25);
	port_out(room, PIC1, 0x65);
	port_out(room, PIC1, 0x48);
	pulse(room, 5);
	assert_int_equal(take(room), -1);
}

static void polling(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	port_out(room, PIC1, POLL);
	assert_int_equal(port_in(room, PIC1), 0);
	pulse(room, 3);
	port_out(room, PIC1, POLL);
	assert_int_equal(port_in(room, PIC1), 0x83);
	port_out(room, PIC1, READ_ISR);
	assert_int_equal(port_in(room, PIC1), 0x08);
	assert_int_equal(take(room), -1);
}

static void virtual_wire(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	/* a LAPIC that is enabled listens only as LINT0 says */
	apics_enable(room);
	pulse(room, 3);
	assert_int_equal(take(room), -1);
	assert_int_equal(cpu_requests(room, 1), 0);
	apic_write(room, 1, 0x350, 0x700);
	assert_int_equal(cpu_requests(room, 1), VCPU_REQ_INTR);
	assert_int_equal(vcpu_intr_pending(&room->cpu[1]), 0x23);
	assert_int_equal(vcpu_intr_pending(&room->cpu[0]), -1);
	/* what the LAPIC itself has comes first */
	lapic_set_vector(room->cpu[1].lapic, 0x40, false);
	assert_int_equal(vcpu_intr_accept(&room->cpu[1]), 0x40);
	assert_int_equal(vcpu_intr_accept(&room->cpu[1]), 0x23);
	assert_int_equal(room->cpu[1].stats[VM_STAT_EXTINT], 1);
	assert_int_equal(vcpu_intr_accept(&room->cpu[1]), -1);
	port_out(room, PIC1, EOI);
	apic_write(room, 1, 0x350, 0x10700);
	pulse(room, 3);
	assert_int_equal(vcpu_intr_pending(&room->cpu[1]), -1);
}

static void isa_lines_reach_both(void **state)
{
	struct room_fixture *room = *state;

	pics_init(room, 1);
	apics_enable(room);
	apic_write(room, 0, 0x350, 0x700);
	ioapic_route(room, 2, 0x50);
	ioapic_route(room, 4, 0x54);
	isa_set_irq(&room->vm, 0, true);
	assert_int_equal(cpu_take(room, 0), 0x50);
	assert_int_equal(cpu_take(room, 0), 0x20);
	port_out(room, PIC1, EOI);
	isa_set_irq(&room->vm, 4, true);
	assert_int_equal(cpu_take(room, 0), 0x54);
	assert_int_equal(cpu_take(room, 0), 0x24);
	port_out(room, PIC1, EOI);
	isa_set_irq(&room->vm, 2, true);
	isa_set_irq(&room->vm, 16, true);
	assert_int_equal(cpu_take(room, 0), -1);
}

static void state_is_saved(void **state)
{
	struct room_fixture *room = *state;
	struct room_fixture *other = room_new();
	const struct room_device *device = &i8259_device;

	pics_init(room, 1);
	port_out(room, 0x4d1, 0x08);
	pic_set_irq(&room->vm, 11, true);
	pulse(room, 5);
	take(room);
	port_out(room, PIC1, EOI);
	assert_saves_and_loads(device->state, device->object(&room->vm),
			       device->object(&other->vm));
	cpu_requests(other, 0);
	device->resume(&other->vm);
	assert_int_equal(cpu_requests(other, 0), VCPU_REQ_INTR);
	assert_int_equal(take(other), 0x25);
	port_out(other, PIC1, EOI);
	port_out(other, PIC2, EOI);
	assert_int_equal(take(other), 0x2b);
	room_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    room_test(silent_until_initialised),
	    room_test(fixed_priority),
	    room_test(the_second_is_behind_input_2),
	    room_test(masks),
	    room_test(edges_are_remembered_levels_are_not),
	    room_test(sources_are_counted),
	    room_test(automatic_eoi),
	    room_test(rotation),
	    room_test(special_mask_mode),
	    room_test(polling),
	    room_test(virtual_wire),
	    room_test(isa_lines_reach_both),
	    room_test(state_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
