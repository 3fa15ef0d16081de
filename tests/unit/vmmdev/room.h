/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A VM with the room's devices and four LAPICs, without an engine and without
 * a thread: time stands still until room_pass moves it, and timers fire there,
 * in order, each at its own deadline.
 */
#ifndef TEST_VMMDEV_ROOM_H
#define TEST_VMMDEV_ROOM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/bits.h"
#include "vmm/bus.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define ROOM_CPUS  4
#define ROOM_START 1000000000ull /* vm_clock when a test begins */
#define MS         1000000ull

struct cpu_model {
	bool x2apic, tsc_deadline;
	unsigned maxphyaddr;
};

struct room_fixture {
	struct vm vm;
	struct vmcpu cpu[ROOM_CPUS];
	struct cpu_model model;
};

/* cmocka's setup and teardown; *state is a struct room_fixture. */
int room_setup(void **state);
int room_teardown(void **state);
struct room_fixture *room_new(void);
void room_free(struct room_fixture *room);

void room_pass(struct room_fixture *room, uint64_t ns);

void port_out(struct room_fixture *room, uint16_t port, uint8_t value);
uint8_t port_in(struct room_fixture *room, uint16_t port);
void mmio_write(struct room_fixture *room, uint64_t gpa, uint32_t value);
uint32_t mmio_read(struct room_fixture *room, uint64_t gpa);

/* LAPIC registers of one CPU by xAPIC offset. */
void apic_write(struct room_fixture *room, unsigned cpu, unsigned offset,
		uint32_t value);
uint32_t apic_read(struct room_fixture *room, unsigned cpu, unsigned offset);
int msr_write(struct room_fixture *room, unsigned cpu, uint32_t msr,
	      uint64_t value);
uint64_t msr_read(struct room_fixture *room, unsigned cpu, uint32_t msr);
/* All CPUs: software enable, spurious vector 0xff. */
void apics_enable(struct room_fixture *room);

/* Takes the vector that is pending, and ends it: -1 if there is none. */
int cpu_take(struct room_fixture *room, unsigned cpu);
/* The request bits so far, and forgets them. */
uint32_t cpu_requests(struct room_fixture *room, unsigned cpu);

/* Both chips initialised, vectors from 0x20 and 0x28, nothing masked. */
void pics_init(struct room_fixture *room, uint8_t icw4);
void ioapic_route(struct room_fixture *room, unsigned pin, uint64_t entry);

/*
 * Saves `from`, loads it into `to`, saves that again: the same bytes, and no
 * truncated record loads.
 */
void assert_saves_and_loads(const struct state_class *class, void *from,
			    void *to);

#define room_test(function)                                                    \
	cmocka_unit_test_setup_teardown(function, room_setup, room_teardown)

#endif
