/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every vCPU halts with interrupts off: the VM stops. One that waits with
 * interrupts on, for ever, is no reason, and is woken after three seconds.
 */
#include "lib/guest.h"

static volatile uint32_t asleep;

static void sleep_on(unsigned id)
{
	asleep++;
	__asm__ volatile("cli; hlt");
}

static volatile uint32_t came;

static void on_timer(struct frame *frame)
{
	came++;
	lapic_eoi();
}

void payload(void)
{
	trap_handler[0x40] = on_timer;
	lapic_enable();
	check(cpu_start(1, sleep_on) && wait_for(&asleep, 1),
	      "vCPU 1 halts with interrupts off");
	lapic_write(LAPIC_DIVIDE, 0xb);
	lapic_write(LAPIC_TIMER, 0x40);
	lapic_write(LAPIC_INITIAL, 3000000000u);
	while (came == 0)
		__asm__ volatile("sti; hlt; cli");
	check(true, "vCPU 0 was woken: the VM goes on until then");
	__asm__ volatile("cli; hlt");
	check(false, "a halted vCPU goes on");
}
