/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Four vCPUs that halt, wake each other and make exits, while the runner calls
 * in from outside until it has had enough. No wake-up may be lost: each vCPU
 * waits for its neighbour's word in HLT, with no timer to help.
 */
#include "lib/guest.h"

#define TOKEN 0x60

static unsigned cpus;
static volatile uint32_t token[CPU_MAX], rounds[CPU_MAX], others, nmis;
static volatile bool over;

static void on_token(struct frame *frame)
{
	lapic_eoi();
}

static void on_storm(struct frame *frame)
{
	__atomic_fetch_add(&others, 1, __ATOMIC_SEQ_CST);
	lapic_eoi();
}

static void on_nmi(struct frame *frame)
{
	__atomic_fetch_add(&nmis, 1, __ATOMIC_SEQ_CST);
}

static void pass_on(unsigned id)
{
	unsigned next = (id + 1) % cpus;

	token[next] = 1;
	lapic_write(LAPIC_ICR_HI, next << 24);
	lapic_write(LAPIC_ICR, TOKEN);
}

static void take_part(unsigned id)
{
	for (;;) {
		/* STI's shadow: nothing comes between the look and HLT */
		while (token[id] == 0)
			__asm__ volatile("cli; cmpl $0, %0; jne 1f; sti; hlt\n"
					 "1: sti" ::"m"(token[id])
					 : "memory", "cc");
		token[id] = 0;
		rounds[id]++;
		outb(PORT_TEST + id % 4, (uint8_t)rounds[id]);
		if (id == 0)
			over = inb(PORT_TEST + 8) != 0;
		pass_on(id);
		if (over)
			return;
	}
}

void payload(void)
{
	cpus = cpu_count();
	trap_handler[TOKEN] = on_token;
	trap_handler[STORM_VECTOR] = on_storm;
	trap_handler[NMI] = on_nmi;
	lapic_enable();
	for (unsigned n = 1; n < cpus; n++)
		check(cpu_start(n, take_part), "a vCPU starts");
	outb(PORT_TEST + 9, 1); /* everybody has an IDT */
	token[0] = 1;
	take_part(0);
	check(rounds[0] != 0, "the token went round");
	check(rounds[0] - rounds[cpus - 1] <= 1, "and nobody lost it");
}
