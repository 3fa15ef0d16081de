/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC, by SDM vol. 3, chapter 11. */
#include "room.h"

#include <errno.h>

enum {
	ID = 0x20,
	VERSION = 0x30,
	TPR = 0x80,
	PPR = 0xa0,
	EOI = 0xb0,
	LDR = 0xd0,
	DFR = 0xe0,
	SVR = 0xf0,
	ISR = 0x100,
	TMR = 0x180,
	IRR = 0x200,
	ESR = 0x280,
	ICR = 0x300,
	ICR_HIGH = 0x310,
	LVT_TIMER = 0x320,
	LVT_LINT0 = 0x350,
	LVT_LINT1 = 0x360,
	LVT_ERROR = 0x370,
	INITIAL = 0x380,
	CURRENT = 0x390,
	DIVIDE = 0x3e0,
};

#define MASKED   0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u

#define MSR_APIC_BASE    0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC(reg)  (0x800 + (reg) / 16)
#define MSR_SELF_IPI     0x83f

#define BASE_EN   0x800ull
#define BASE_EXTD 0x400ull

static void is_as_after_reset(void **state)
{
	struct room_fixture *room = *state;

	assert_int_equal(apic_read(room, 2, ID), 2u << 24);
	assert_int_equal(apic_read(room, 0, VERSION), 0x50014);
	assert_int_equal(apic_read(room, 0, SVR), 0xff);
	assert_int_equal(apic_read(room, 0, DFR), UINT32_MAX);
	for (unsigned lvt = LVT_TIMER; lvt <= LVT_ERROR; lvt += 0x10)
		assert_int_equal(apic_read(room, 0, lvt), MASKED);
	assert_int_equal(msr_read(room, 0, MSR_APIC_BASE), 0xfee00900);
	assert_int_equal(msr_read(room, 1, MSR_APIC_BASE), 0xfee00800);
	assert_int_equal(vcpu_intr_pending(&room->cpu[0]), -1);
}

static void delivers_by_priority(void **state)
{
	struct room_fixture *room = *state;
	struct vmcpu *cpu = &room->cpu[0];

	apics_enable(room);
	assert_int_equal(lapic_set_vector(cpu->lapic, 0x41, false), 0);
	assert_int_equal(cpu_requests(room, 0), VCPU_REQ_INTR);
	lapic_set_vector(cpu->lapic, 0x62, false);
	lapic_set_vector(cpu->lapic, 0x45, false);
	assert_int_equal(apic_read(room, 0, IRR + 0x20), 0x22);
	assert_int_equal(apic_read(room, 0, IRR + 0x30), 0x4);

	assert_int_equal(vcpu_intr_pending(cpu), 0x62);
	assert_int_equal(vcpu_intr_accept(cpu), 0x62);
	assert_int_equal(apic_read(room, 0, ISR + 0x30), 0x4);
	assert_int_equal(apic_read(room, 0, PPR), 0x60);
	/* what is in service holds back its class and those below */
	assert_int_equal(vcpu_intr_pending(cpu), -1);
	assert_int_equal(vcpu_intr_accept(cpu), -1);
	lapic_set_vector(cpu->lapic, 0x6f, false);
	assert_int_equal(vcpu_intr_pending(cpu), -1);
	lapic_set_vector(cpu->lapic, 0x70, false);
	assert_int_equal(cpu_take(room, 0), 0x70);
	apic_write(room, 0, EOI, 0);
	assert_int_equal(cpu_take(room, 0), 0x6f);
	assert_int_equal(cpu_take(room, 0), 0x45);
	assert_int_equal(cpu_take(room, 0), 0x41);
	assert_int_equal(cpu_take(room, 0), -1);
	apic_write(room, 0, EOI, 0);
	assert_int_equal(cpu->stats[VM_STAT_EOI_STRAY], 1);
}

static void tpr_and_cr8_are_one(void **state)
{
	struct room_fixture *room = *state;
	struct vmcpu *cpu = &room->cpu[0];

	apics_enable(room);
	apic_write(room, 0, TPR, 0x57);
	assert_int_equal(vcpu_get_cr8(cpu), 5);
	assert_int_equal(apic_read(room, 0, PPR), 0x57);
	lapic_set_vector(cpu->lapic, 0x5f, false);
	assert_int_equal(vcpu_intr_pending(cpu), -1);
	cpu_requests(room, 0);
	vcpu_set_cr8(cpu, 4);
	assert_int_equal(cpu_requests(room, 0), VCPU_REQ_INTR);
	assert_int_equal(vcpu_intr_pending(cpu), 0x5f);
	vcpu_set_cr8(cpu, 15);
	assert_int_equal(apic_read(room, 0, TPR), 0xf0);
	assert_int_equal(vcpu_intr_accept(cpu), -1);
}

static void software_disable_masks(void **state)
{
	struct room_fixture *room = *state;
	struct vmcpu *cpu = &room->cpu[1];

	lapic_set_vector(cpu->lapic, 0x50, false);
	assert_int_equal(vcpu_intr_pending(cpu), -1);
	apic_write(room, 1, LVT_TIMER, 0x50);
	assert_int_equal(apic_read(room, 1, LVT_TIMER), 0x50 | MASKED);
	apic_write(room, 1, SVR, 0x1ff);
	apic_write(room, 1, LVT_TIMER, 0x50);
	assert_int_equal(apic_read(room, 1, LVT_TIMER), 0x50);
	apic_write(room, 1, SVR, 0xff);
	assert_int_equal(apic_read(room, 1, LVT_TIMER), 0x50 | MASKED);
}

static void ipi(struct room_fixture *room, unsigned from, uint32_t destination,
		uint32_t icr)
{
	apic_write(room, from, ICR_HIGH, destination << 24);
	apic_write(room, from, ICR, icr);
}

static unsigned who_has(struct room_fixture *room, int vector)
{
	unsigned set = 0;

	for (unsigned i = 0; i < ROOM_CPUS; i++) {
		int taken = cpu_take(room, i);

		if (taken < 0)
			continue;
		assert_int_equal(taken, vector);
		set |= 1u << i;
	}
	return set;
}

static void ipis_go_where_they_should(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	ipi(room, 0, 2, 0x4040);
	assert_int_equal(who_has(room, 0x40), 1 << 2);
	assert_int_equal(apic_read(room, 0, ICR), 0x4040);
	ipi(room, 0, 0xff, 0x4041);
	assert_int_equal(who_has(room, 0x41), 0xf);
	ipi(room, 0, 9, 0x4042);
	assert_int_equal(who_has(room, 0x42), 0);
	ipi(room, 1, 0, 0x40043); /* self */
	assert_int_equal(who_has(room, 0x43), 1 << 1);
	ipi(room, 1, 0, 0x80044); /* all */
	assert_int_equal(who_has(room, 0x44), 0xf);
	ipi(room, 1, 0, 0xc0045); /* all but self */
	assert_int_equal(who_has(room, 0x45), 0xd);
	assert_int_equal(room->cpu[0].stats[VM_STAT_IPI], 3);
	assert_int_equal(room->cpu[1].stats[VM_STAT_IPI], 3);
}

static void logical_destinations_match(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	for (unsigned i = 0; i < ROOM_CPUS; i++)
		apic_write(room, i, LDR, 1u << (24 + i));
	ipi(room, 0, 0x6, 0x4840);
	assert_int_equal(who_has(room, 0x40), 0x6);
	ipi(room, 0, 0xff, 0x4841);
	assert_int_equal(who_has(room, 0x41), 0xf);

	/* clusters of two: 0 and 1 in cluster 1, 2 and 3 in cluster 2 */
	for (unsigned i = 0; i < ROOM_CPUS; i++) {
		apic_write(room, i, DFR, 0);
		apic_write(room, i, LDR,
			   (uint32_t)((i / 2 + 1) << 4 | 1u << i % 2) << 24);
	}
	assert_int_equal(apic_read(room, 0, DFR), 0x0fffffff);
	ipi(room, 0, 0x22, 0x4842);
	assert_int_equal(who_has(room, 0x42), 1 << 3);
	ipi(room, 0, 0x13, 0x4843);
	assert_int_equal(who_has(room, 0x43), 0x3);
}

static void lowest_priority_takes_one(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	for (unsigned i = 0; i < ROOM_CPUS; i++) {
		apic_write(room, i, LDR, 1u << (24 + i));
		apic_write(room, i, TPR, 0x30);
	}
	apic_write(room, 2, TPR, 0x20);
	ipi(room, 0, 0xf, 0x4940);
	assert_int_equal(who_has(room, 0x40), 1 << 2);
	/* a CPU that is not enabled is not asked */
	apic_write(room, 2, SVR, 0xff);
	ipi(room, 0, 0xc, 0x4941);
	assert_int_equal(who_has(room, 0x41), 1 << 3);
	/* equals take turns */
	apic_write(room, 3, TPR, 0x30);
	ipi(room, 0, 0x3, 0x4942);
	ipi(room, 0, 0x3, 0x4942);
	assert_int_equal(who_has(room, 0x42), 0x3);
}

static void init_and_startup_are_requests(void **state)
{
	struct room_fixture *room = *state;

	ipi(room, 0, 1, 0x4500);
	assert_int_equal(cpu_requests(room, 1), VCPU_REQ_INIT);
	ipi(room, 0, 1, 0x8500); /* INIT level de-assert */
	assert_int_equal(cpu_requests(room, 1), 0);
	ipi(room, 0, 1, 0x469a);
	assert_int_equal(cpu_requests(room, 1), VCPU_REQ_SIPI);
	assert_int_equal(room->cpu[1].sipi_vector, 0x9a);
	ipi(room, 0, 0, 0xc4500);
	assert_int_equal(cpu_requests(room, 0), 0);
	for (unsigned i = 1; i < ROOM_CPUS; i++)
		assert_int_equal(cpu_requests(room, i), VCPU_REQ_INIT);
	ipi(room, 0, 3, 0x4400);
	assert_int_equal(cpu_requests(room, 3), VCPU_REQ_NMI);
	/* no mode but fixed goes to the own CPU by shorthand */
	ipi(room, 0, 0, 0x44400);
	assert_int_equal(cpu_requests(room, 0), 0);
}

static void errors_are_latched(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	apic_write(room, 0, LVT_ERROR, 0xe0);
	ipi(room, 0, 1, 0x400f);
	assert_int_equal(apic_read(room, 0, ESR), 0);
	apic_write(room, 0, ESR, 0);
	assert_int_equal(apic_read(room, 0, ESR), 0x20);
	assert_int_equal(cpu_take(room, 0), 0xe0);
	apic_write(room, 0, ESR, 0);
	assert_int_equal(apic_read(room, 0, ESR), 0);

	apic_write(room, 0, 0x3a0, 1);
	apic_write(room, 0, ESR, 0);
	assert_int_equal(apic_read(room, 0, ESR), 0x80);

	assert_int_equal(msi_send(&room->vm, 0xfee01000, 0x0003), 0);
	apic_write(room, 1, ESR, 0);
	assert_int_equal(apic_read(room, 1, ESR), 0x40);
	assert_int_equal(lapic_set_vector(room->cpu[0].lapic, 15, false),
			 -EINVAL);

	/* an error entry with an illegal vector must not chase itself */
	apic_write(room, 0, LVT_ERROR, 3);
	ipi(room, 0, 1, 0x4002);
	apic_write(room, 0, ESR, 0);
	assert_int_equal(apic_read(room, 0, ESR), 0x60);
}

static void messages_of_devices(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	assert_int_equal(msi_send(&room->vm, 0xfee03000, 0x4066), 0);
	assert_int_equal(who_has(room, 0x66), 1 << 3);
	apic_write(room, 1, LDR, 0x80000000);
	assert_int_equal(msi_send(&room->vm, 0xfee80004, 0x0067), 0);
	assert_int_equal(who_has(room, 0x67), 1 << 1);
	assert_int_equal(msi_send(&room->vm, 0xfee00000, 0x0400), 0);
	assert_int_equal(cpu_requests(room, 0) & VCPU_REQ_NMI, VCPU_REQ_NMI);
	assert_int_equal(msi_send(&room->vm, 0xfed00000, 0x40), -EINVAL);
	assert_int_equal(msi_send(&room->vm, 0x1fee00000, 0x40), -EINVAL);
}

static void local_pins(void **state)
{
	struct room_fixture *room = *state;
	struct lapic *lapic = room->cpu[0].lapic;

	/* not enabled by software: LINT1 is the NMI pin */
	assert_int_equal(lapic_local_irq(lapic, 1), 0);
	assert_int_equal(cpu_requests(room, 0), VCPU_REQ_NMI);
	apics_enable(room);
	assert_int_equal(lapic_local_irq(lapic, 1), 0);
	assert_int_equal(cpu_requests(room, 0), 0);
	apic_write(room, 0, LVT_LINT1, 0x400);
	lapic_local_irq(lapic, 1);
	assert_int_equal(cpu_requests(room, 0), VCPU_REQ_NMI);
	apic_write(room, 0, LVT_LINT0, 0x77);
	lapic_local_irq(lapic, 0);
	assert_int_equal(cpu_take(room, 0), 0x77);
	assert_int_equal(lapic_local_irq(lapic, 6), -EINVAL);
	assert_int_equal(lapic_local_irq(lapic, -1), -EINVAL);
}

/* 2^27 Hz over 2: 16 ticks are 238.4 ns. */
static void one_shot_timer(void **state)
{
	struct room_fixture *room = *state;
	const uint32_t count = LAPIC_TIMER_HZ / 2 / 1000; /* about 1 ms */

	apics_enable(room);
	apic_write(room, 0, LVT_TIMER, 0x31);
	apic_write(room, 0, INITIAL, count);
	assert_int_equal(apic_read(room, 0, CURRENT), count);
	room_pass(room, MS / 2);
	assert_in_range(apic_read(room, 0, CURRENT), count / 2 - 1,
			count / 2 + 1);
	assert_int_equal(vcpu_intr_pending(&room->cpu[0]), -1);
	room_pass(room, MS / 2);
	assert_int_equal(cpu_take(room, 0), 0x31);
	assert_int_equal(apic_read(room, 0, CURRENT), 0);
	assert_int_equal(apic_read(room, 0, INITIAL), count);
	room_pass(room, 10 * MS);
	assert_int_equal(cpu_take(room, 0), -1);
	assert_int_equal(room->cpu[0].stats[VM_STAT_LVT_TIMER], 1);

	/* a written zero stops it; masked it counts but is not heard */
	apic_write(room, 0, INITIAL, count);
	apic_write(room, 0, INITIAL, 0);
	assert_int_equal(apic_read(room, 0, CURRENT), 0);
	apic_write(room, 0, LVT_TIMER, 0x31 | MASKED);
	apic_write(room, 0, INITIAL, count);
	assert_int_equal(apic_read(room, 0, CURRENT), count);
	room_pass(room, 10 * MS);
	assert_int_equal(cpu_take(room, 0), -1);
}

static void periodic_timer_keeps_its_beat(void **state)
{
	struct room_fixture *room = *state;
	const uint32_t count = LAPIC_TIMER_HZ / 16 / 1000;
	unsigned ticks = 0;

	apics_enable(room);
	apic_write(room, 0, DIVIDE, 3); /* by 16 */
	apic_write(room, 0, LVT_TIMER, 0x32 | PERIODIC);
	apic_write(room, 0, INITIAL, count);
	for (unsigned i = 0; i < 1000; i++) {
		room_pass(room, MS);
		ticks += cpu_take(room, 0) == 0x32;
	}
	/* 8388 ticks of the counter are 0.99996 ms */
	assert_in_range(ticks, 999, 1000);
	assert_true(apic_read(room, 0, CURRENT) > 0);
	/* late callbacks are one interrupt, and the beat stays */
	room->vm.timers->deadline_ns += 5 * MS;
	room_pass(room, 7 * MS);
	assert_int_equal(cpu_take(room, 0), 0x32);
	assert_int_equal(cpu_take(room, 0), -1);
}

/* A period of nanoseconds must not keep the room's thread busy. */
static void tiny_periods_are_bounded(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	apic_write(room, 0, DIVIDE, 0xb); /* by 1 */
	apic_write(room, 0, LVT_TIMER, 0x32 | PERIODIC);
	apic_write(room, 0, INITIAL, 1);
	room_pass(room, 100 * MS);
	assert_in_range(room->cpu[0].stats[VM_STAT_LVT_TIMER], 1, 5000);
}

static void every_divider(void **state)
{
	static const struct {
		uint32_t code;
		unsigned by;
	} dividers[] = {{0, 2},  {1, 4},  {2, 8},    {3, 16},
			{8, 32}, {9, 64}, {10, 128}, {11, 1}};
	struct room_fixture *room = *state;

	apics_enable(room);
	for (unsigned i = 0; i < ARRAY_SIZE(dividers); i++) {
		apic_write(room, 0, DIVIDE, dividers[i].code);
		assert_int_equal(apic_read(room, 0, DIVIDE), dividers[i].code);
		apic_write(room, 0, INITIAL, UINT32_MAX);
		room_pass(room, 1000 * MS);
		assert_int_equal(UINT32_MAX - apic_read(room, 0, CURRENT),
				 LAPIC_TIMER_HZ / dividers[i].by);
	}
}

static void tsc_deadline_timer(void **state)
{
	struct room_fixture *room = *state;
	struct vmcpu *cpu = &room->cpu[0];
	uint64_t tsc;

	apics_enable(room);
	/* in other modes the MSR does nothing */
	assert_int_equal(msr_write(room, 0, MSR_TSC_DEADLINE, 5), 0);
	assert_int_equal(msr_read(room, 0, MSR_TSC_DEADLINE), 0);

	apic_write(room, 0, LVT_TIMER, 0x33 | DEADLINE);
	cpu->state.tsc_offset = 1000000;
	tsc = vcpu_tsc(cpu);
	msr_write(room, 0, MSR_TSC_DEADLINE, tsc + 2000000); /* 1 ms */
	assert_int_equal(msr_read(room, 0, MSR_TSC_DEADLINE), tsc + 2000000);
	apic_write(room, 0, INITIAL, 7);
	assert_int_equal(apic_read(room, 0, CURRENT), 0);
	room_pass(room, MS - 1);
	assert_int_equal(cpu_take(room, 0), -1);
	room_pass(room, 1);
	assert_int_equal(cpu_take(room, 0), 0x33);
	assert_int_equal(msr_read(room, 0, MSR_TSC_DEADLINE), 0);

	msr_write(room, 0, MSR_TSC_DEADLINE, 1); /* the past: at once */
	assert_int_equal(cpu_take(room, 0), 0x33);
	msr_write(room, 0, MSR_TSC_DEADLINE, UINT64_MAX);
	msr_write(room, 0, MSR_TSC_DEADLINE, 0);
	room_pass(room, 10 * MS);
	assert_int_equal(cpu_take(room, 0), -1);

	/* the TSC is written while the timer waits */
	msr_write(room, 0, MSR_TSC_DEADLINE, vcpu_tsc(cpu) + 2000000);
	cpu->state.tsc_offset -= 1000000;
	vcpu_tsc_changed(cpu);
	room_pass(room, MS);
	assert_int_equal(cpu_take(room, 0), -1);
	room_pass(room, MS / 2);
	assert_int_equal(cpu_take(room, 0), 0x33);

	room->model.tsc_deadline = false;
	assert_int_equal(msr_write(room, 0, MSR_TSC_DEADLINE, 9), -EINVAL);
}

static void leaving_deadline_mode_disarms(void **state)
{
	struct room_fixture *room = *state;

	apics_enable(room);
	apic_write(room, 0, LVT_TIMER, 0x33 | DEADLINE);
	msr_write(room, 0, MSR_TSC_DEADLINE, vcpu_tsc(&room->cpu[0]) + 2000);
	apic_write(room, 0, LVT_TIMER, 0x33);
	assert_int_equal(msr_read(room, 0, MSR_TSC_DEADLINE), 0);
	room_pass(room, MS);
	assert_int_equal(cpu_take(room, 0), -1);
}

static void x2apic_mode_changes(void **state)
{
	struct room_fixture *room = *state;
	uint64_t base = msr_read(room, 0, MSR_APIC_BASE);
	uint64_t value;

	/* SDM vol. 3, 11.12.5 */
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(TPR), 0), -EINVAL);
	assert_int_equal(
	    msr_write(room, 0, MSR_APIC_BASE, (base & ~BASE_EN) | BASE_EXTD),
	    -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base & ~BASE_EN), 0);
	assert_int_equal(room_mmio(&room->cpu[0], 0xfee00020, 4, false, &value),
			 -ENXIO);
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base | BASE_EXTD),
			 -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base), 0);
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base | BASE_EXTD),
			 0);
	assert_int_equal(room_mmio(&room->cpu[0], 0xfee00020, 4, false, &value),
			 -ENXIO);
	assert_int_equal(lapic_get_x2apic(room->cpu[0].lapic), X2APIC_ENABLED);
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base), -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base & ~BASE_EN), 0);

	/* the BSP flag is read-only; bits past MAXPHYADDR are reserved */
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, 0xfee00800), 0);
	assert_int_equal(msr_read(room, 0, MSR_APIC_BASE), base);
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base | BIT(39)),
			 -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base | 1), -EINVAL);
	room->model.x2apic = false;
	assert_int_equal(msr_write(room, 0, MSR_APIC_BASE, base | BASE_EXTD),
			 -EINVAL);
}

static void the_page_can_move(void **state)
{
	struct room_fixture *room = *state;
	uint64_t value;

	assert_int_equal(msr_write(room, 1, MSR_APIC_BASE, 0xd0000800), 0);
	assert_int_equal(room_mmio(&room->cpu[1], 0xfee00020, 4, false, &value),
			 -ENXIO);
	assert_int_equal(room_mmio(&room->cpu[1], 0xd0000020, 4, false, &value),
			 0);
	assert_int_equal(value, 1 << 24);
}

static void all_to_x2apic(struct room_fixture *room)
{
	for (unsigned i = 0; i < ROOM_CPUS; i++) {
		assert_int_equal(
		    msr_write(room, i, MSR_APIC_BASE,
			      msr_read(room, i, MSR_APIC_BASE) | BASE_EXTD),
		    0);
		assert_int_equal(msr_write(room, i, MSR_X2APIC(SVR), 0x1ff), 0);
	}
}

static unsigned x2_who_has(struct room_fixture *room, int vector)
{
	unsigned set = 0;

	for (unsigned i = 0; i < ROOM_CPUS; i++) {
		if (vcpu_intr_pending(&room->cpu[i]) != vector)
			continue;
		vcpu_intr_accept(&room->cpu[i]);
		msr_write(room, i, MSR_X2APIC(EOI), 0);
		set |= 1u << i;
	}
	return set;
}

static void x2apic_registers(void **state)
{
	struct room_fixture *room = *state;
	uint64_t value;

	all_to_x2apic(room);
	assert_int_equal(msr_read(room, 3, MSR_X2APIC(ID)), 3);
	assert_int_equal(msr_read(room, 3, MSR_X2APIC(LDR)), 8);
	assert_int_equal(msr_read(room, 0, MSR_X2APIC(VERSION)), 0x50014);
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(LDR), 1), -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(ID), 1), -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(TPR), 0x100), -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(TPR), BIT(32)), -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(EOI), 1), -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(ESR), 1), -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(ICR_HIGH), 0), -EINVAL);
	assert_int_equal(msr_write(room, 0, MSR_X2APIC(DFR), 0), -EINVAL);
	assert_int_equal(msr_write(room, 0, 0x8ff, 0), -EINVAL);
	assert_int_equal(msr_write(room, 0, 0x900, 0), -ENXIO);
	assert_int_equal(
	    room_msr(&room->cpu[0], MSR_X2APIC(EOI), false, &value), -EINVAL);
	assert_int_equal(room_msr(&room->cpu[0], MSR_SELF_IPI, false, &value),
			 -EINVAL);
}

static void x2apic_ipis(void **state)
{
	struct room_fixture *room = *state;

	all_to_x2apic(room);
	msr_write(room, 0, MSR_X2APIC(ICR), 2ull << 32 | 0x4050);
	assert_int_equal(x2_who_has(room, 0x50), 1 << 2);
	assert_int_equal(msr_read(room, 0, MSR_X2APIC(ICR)),
			 2ull << 32 | 0x4050);
	msr_write(room, 0, MSR_X2APIC(ICR), 0xffffffffull << 32 | 0x4051);
	assert_int_equal(x2_who_has(room, 0x51), 0xf);
	/* 0xff is an id like others there, and a set of eight when logical */
	msr_write(room, 0, MSR_X2APIC(ICR), 0xffull << 32 | 0x4052);
	assert_int_equal(x2_who_has(room, 0x52), 0);
	msr_write(room, 0, MSR_X2APIC(ICR), 0xaull << 32 | 0x4853);
	assert_int_equal(x2_who_has(room, 0x53), 0xa);
	msr_write(room, 0, MSR_X2APIC(ICR), 0x1000aull << 32 | 0x4854);
	assert_int_equal(x2_who_has(room, 0x54), 0);
	msr_write(room, 1, MSR_SELF_IPI, 0x55);
	assert_int_equal(x2_who_has(room, 0x55), 1 << 1);
	/* a device's message has eight bits */
	msi_send(&room->vm, 0xfeeff000, 0x56);
	assert_int_equal(x2_who_has(room, 0x56), 0xf);
}

static void reset_and_init(void **state)
{
	struct room_fixture *room = *state;
	struct vmcpu *cpu = &room->cpu[1];

	all_to_x2apic(room);
	msr_write(room, 1, MSR_X2APIC(TPR), 0x80);
	msr_write(room, 1, MSR_X2APIC(INITIAL), 1000);
	lapic_reset(cpu->lapic, true);
	assert_int_equal(lapic_get_x2apic(cpu->lapic), X2APIC_ENABLED);
	assert_int_equal(msr_read(room, 1, MSR_X2APIC(TPR)), 0);
	assert_int_equal(msr_read(room, 1, MSR_X2APIC(SVR)), 0xff);
	assert_int_equal(msr_read(room, 1, MSR_X2APIC(LDR)), 2);
	assert_null(room->vm.timers);
	lapic_reset(cpu->lapic, false);
	assert_int_equal(lapic_get_x2apic(cpu->lapic), X2APIC_DISABLED);
	assert_int_equal(lapic_set_x2apic(cpu->lapic, true), 0);
	assert_int_equal(msr_read(room, 1, MSR_X2APIC(LDR)), 2);
}

static void state_is_saved(void **state)
{
	struct room_fixture *room = *state;
	struct room_fixture *other = room_new();

	apics_enable(room);
	apic_write(room, 1, TPR, 0x20);
	apic_write(room, 1, LDR, 0x02000000);
	apic_write(room, 1, LVT_TIMER, 0x44 | PERIODIC);
	apic_write(room, 1, INITIAL, LAPIC_TIMER_HZ / 2 / 1000);
	lapic_set_vector(room->cpu[1].lapic, 0x91, true);
	vcpu_intr_accept(&room->cpu[1]);
	lapic_set_vector(room->cpu[1].lapic, 0xa2, false);

	assert_saves_and_loads(&lapic_state_class, room->cpu[1].lapic,
			       other->cpu[1].lapic);
	lapic_resume(other->cpu[1].lapic);
	assert_int_equal(cpu_requests(other, 1), VCPU_REQ_INTR);
	assert_int_equal(cpu_take(other, 1), 0xa2);
	assert_int_equal(apic_read(other, 1, TMR + 0x40), 1 << 17);
	apic_write(other, 1, EOI, 0);
	room_pass(other, MS + 1000);
	assert_int_equal(cpu_take(other, 1), 0x44);
	/* the BSP flag belongs to the CPU */
	{
		struct state_writer writer = {0};
		struct state_reader reader;
		struct err err;

		state_save(&lapic_state_class, 1, room->cpu[1].lapic, &writer);
		reader = (struct state_reader){writer.data, writer.size, 0};
		assert_int_equal(state_load(&lapic_state_class, 1,
					    other->cpu[0].lapic, &reader, &err),
				 -EINVAL);
		state_writer_free(&writer);
	}
	room_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    room_test(is_as_after_reset),
	    room_test(delivers_by_priority),
	    room_test(tpr_and_cr8_are_one),
	    room_test(software_disable_masks),
	    room_test(ipis_go_where_they_should),
	    room_test(logical_destinations_match),
	    room_test(lowest_priority_takes_one),
	    room_test(init_and_startup_are_requests),
	    room_test(errors_are_latched),
	    room_test(messages_of_devices),
	    room_test(local_pins),
	    room_test(one_shot_timer),
	    room_test(periodic_timer_keeps_its_beat),
	    room_test(tiny_periods_are_bounded),
	    room_test(every_divider),
	    room_test(tsc_deadline_timer),
	    room_test(leaving_deadline_mode_disarms),
	    room_test(x2apic_mode_changes),
	    room_test(the_page_can_move),
	    room_test(x2apic_registers),
	    room_test(x2apic_ipis),
	    room_test(reset_and_init),
	    room_test(state_is_saved),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
