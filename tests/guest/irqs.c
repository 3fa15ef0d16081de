/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts from outside the CPU: the local APIC's timer, messages, the
 * IOAPIC's edge and level pins, the PIC, and HLT that each of them ends.
 */
#include "lib/guest.h"

#define VECTOR     0x60
#define PIC_VECTOR 0x70
#define IRQ        5

#define IOAPIC           0xfec00000u
#define RTE_LEVEL        BIT(15)
#define RTE_MASKED       BIT(16)
#define RTE_REMOTE_IRR   BIT(14)
#define LVT_MASKED       BIT(16)
#define LVT_PERIODIC     BIT(17)
#define LVT_DEADLINE     BIT(18)
#define MSR_TSC_DEADLINE 0x6e0
#define MSI              0xfee00000ull
#define MSI_LOGICAL      BIT(2)

static volatile uint32_t came[256], no_eoi;

static void on_irq(struct frame *frame)
{
	came[frame->vector]++;
	if (!no_eoi)
		lapic_eoi();
}

static void on_pic(struct frame *frame)
{
	came[frame->vector]++;
	outb(0x20, 0x20);
}

static void clear(void)
{
	for (unsigned n = 0; n < 256; n++)
		came[n] = 0;
}

/* Waits in HLT until the vector has come as often as that. */
static bool sleep_until(unsigned vector, uint32_t count)
{
	uint64_t start = rdtsc();

	while (came[vector] < count && rdtsc() - start < 40000000000ull)
		__asm__ volatile("sti; hlt; cli" ::: "memory");
	return came[vector] == count;
}

/* With interrupts on for a while. */
static void open_window(void)
{
	__asm__ volatile("sti" ::: "memory");
	for (unsigned n = 0; n < 2000; n++)
		pause_cpu();
	__asm__ volatile("cli" ::: "memory");
}

/* -- the timer ------------------------------------------------------------- */

static void timer(void)
{
	clear();
	lapic_write(LAPIC_DIVIDE, 0xb);
	lapic_write(LAPIC_TIMER, VECTOR);
	lapic_write(LAPIC_INITIAL, 1000000);
	check(sleep_until(VECTOR, 1), "one-shot: HLT ends");
	check_eq(lapic_read(LAPIC_CURRENT), 0, "and the count is over");
	open_window();
	check_eq(came[VECTOR], 1, "once");
	lapic_write(LAPIC_TIMER, VECTOR | LVT_PERIODIC);
	lapic_write(LAPIC_INITIAL, 2000000);
	while (came[VECTOR] < 5)
		__asm__ volatile("sti; hlt; cli" ::: "memory");
	check(true, "periodic: again and again");
	check(lapic_read(LAPIC_CURRENT) <= 2000000, "the count is inside");
	lapic_write(LAPIC_INITIAL, 0);
	open_window();
	clear();
	open_window();
	check_eq(came[VECTOR], 0, "initial count 0 stops it");
	lapic_write(LAPIC_TIMER, VECTOR | LVT_DEADLINE);
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + 3000000);
	check(sleep_until(VECTOR, 1), "TSC deadline: HLT ends");
	check_eq(rdmsr(MSR_TSC_DEADLINE), 0, "and the deadline is gone");
	wrmsr(MSR_TSC_DEADLINE, 1);
	open_window();
	check_eq(came[VECTOR], 2, "a deadline that is over comes at once");
	wrmsr(MSR_TSC_DEADLINE, rdtsc() + (1ull << 50));
	wrmsr(MSR_TSC_DEADLINE, 0);
	open_window();
	check_eq(came[VECTOR], 2, "a deadline of 0 is none");
	lapic_write(LAPIC_TIMER, LVT_MASKED);
}

/* -- messages ---------------------------------------------------------------
 */

static void messages(void)
{
	clear();
	check_eq(host(HOST_MSI, MSI, VECTOR, 0), 0, "MSI");
	check(sleep_until(VECTOR, 1), "MSI to vCPU 0");
	lapic_write(LAPIC_DFR, 0xffffffff);
	lapic_write(LAPIC_LDR, 1u << 24);
	host(HOST_MSI, MSI | 1 << 12 | MSI_LOGICAL, VECTOR + 1, 0);
	check(sleep_until(VECTOR + 1, 1), "MSI, logical");
	host(HOST_MSI, MSI | 0xff << 12, VECTOR + 2, 0);
	check(sleep_until(VECTOR + 2, 1), "MSI to everybody");
	host(HOST_MSI, MSI | 7 << 12, VECTOR + 3, 0);
	open_window();
	check_eq(came[VECTOR + 3], 0, "MSI to nobody");
	check(host(HOST_MSI, 0x1000, VECTOR, 0) != 0, "not an MSI's address");
	host(HOST_LAPIC, 0, VECTOR + 4, 0);
	check(sleep_until(VECTOR + 4, 1), "vm_lapic_irq");
	/* Priorities: the higher class first, TPR holds back. */
	lapic_write(LAPIC_TPR, 0x60);
	host(HOST_LAPIC, 0, VECTOR + 5, 0);
	open_window();
	check_eq(came[VECTOR + 5], 0, "TPR holds its class back");
	WRITE_CR(8, 0);
	check_eq(lapic_read(LAPIC_TPR), 0, "CR8 is TPR's upper half");
	open_window();
	check_eq(came[VECTOR + 5], 1, "and lets go");
}

/* -- IOAPIC -----------------------------------------------------------------
 */

static void ioapic_write(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)IOAPIC = reg;
	*(volatile uint32_t *)(uintptr_t)(IOAPIC + 0x10) = value;
}

static uint32_t ioapic_read(unsigned reg)
{
	*(volatile uint32_t *)(uintptr_t)IOAPIC = reg;
	return *(volatile uint32_t *)(uintptr_t)(IOAPIC + 0x10);
}

static void redirect(unsigned pin, uint32_t low)
{
	ioapic_write(0x10 + 2 * pin + 1, 0);
	ioapic_write(0x10 + 2 * pin, low);
}

static void edge(void)
{
	clear();
	redirect(IRQ, VECTOR);
	host(HOST_IOAPIC, IRQ, 1, 0);
	check(sleep_until(VECTOR, 1), "an edge");
	open_window();
	check_eq(came[VECTOR], 1, "is one interrupt");
	host(HOST_IOAPIC, IRQ, 0, 0);
	host(HOST_IOAPIC, IRQ, 1, 0);
	check(sleep_until(VECTOR, 2), "the next edge");
	host(HOST_IOAPIC, IRQ, 0, 0);
	redirect(IRQ, VECTOR | RTE_MASKED);
	host(HOST_IOAPIC, IRQ, 1, 0);
	host(HOST_IOAPIC, IRQ, 0, 0);
	open_window();
	check_eq(came[VECTOR], 2, "a masked pin is silent");
}

static bool remote_irr(void)
{
	return (ioapic_read(0x10 + 2 * 21) & RTE_REMOTE_IRR) != 0;
}

/* Some KVM without hardware ends an interrupt as soon as it is delivered. */
static bool eoi_is_awaited(void)
{
	bool awaited;

	clear();
	no_eoi = 1;
	host(HOST_LAPIC, 0, VECTOR + 8, 0);
	sleep_until(VECTOR + 8, 1);
	awaited = (lapic_read(LAPIC_ISR + (VECTOR + 8) / 32 * 16) >>
		       (VECTOR + 8) % 32 &
		   1) != 0;
	lapic_eoi();
	no_eoi = 0;
	return awaited;
}

static void level(void)
{
	if (!eoi_is_awaited()) {
		check((engine_is() & HOST_IS_EMULATED) != 0, "ISR until EOI");
		skip("level triggers",
		     "this KVM's local APIC does not wait for the EOI");
		return;
	}
	clear();
	no_eoi = 1;
	redirect(21, VECTOR | RTE_LEVEL);
	host(HOST_IOAPIC, 21, 1, 0);
	check(sleep_until(VECTOR, 1), "a level");
	check(remote_irr(), "remote IRR is set");
	open_window();
	check_eq(came[VECTOR], 1, "no second one before the EOI");
	lapic_eoi();
	check(sleep_until(VECTOR, 2), "EOI with the pin held: again");
	host(HOST_IOAPIC, 21, 0, 0);
	lapic_eoi();
	check(!remote_irr(), "EOI clears remote IRR");
	open_window();
	check_eq(came[VECTOR], 2, "a released pin is silent");
	/* Masked while in service, as drivers do: the EOI still arrives. */
	host(HOST_IOAPIC, 21, 1, 0);
	check(sleep_until(VECTOR, 3), "held again");
	redirect(21, VECTOR | RTE_LEVEL | RTE_MASKED);
	host(HOST_IOAPIC, 21, 0, 0);
	lapic_eoi();
	check(!remote_irr(), "EOI of a pin that was masked meanwhile");
	no_eoi = 0;
}

/* -- the PIC ----------------------------------------------------------------
 */

static void pic_init(void)
{
	outb(0x20, 0x11);
	outb(0x21, PIC_VECTOR);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0xa0, 0x11);
	outb(0xa1, PIC_VECTOR + 8);
	outb(0xa1, 2);
	outb(0xa1, 1);
	outb(0x21, (uint8_t) ~(1u << IRQ));
	outb(0xa1, 0xff);
}

static void pic(void)
{
	clear();
	redirect(IRQ, VECTOR | RTE_MASKED);
	pic_init();
	lapic_write(LAPIC_LINT0, 0x700); /* ExtINT */
	host(HOST_ISA, IRQ, 1, 0);
	check(sleep_until(PIC_VECTOR + IRQ, 1), "ExtINT ends HLT");
	host(HOST_ISA, IRQ, 0, 0);
	/* While interrupts are off it waits; STI opens. */
	host(HOST_ISA, IRQ, 1, 0);
	for (unsigned n = 0; n < 100; n++)
		pause_cpu();
	check_eq(came[PIC_VECTOR + IRQ], 1, "not with IF clear");
	open_window();
	check_eq(came[PIC_VECTOR + IRQ], 2, "but then");
	host(HOST_ISA, IRQ, 0, 0);
	lapic_write(LAPIC_LINT0, 0x700 | LVT_MASKED);
	host(HOST_ISA, IRQ, 1, 0);
	open_window();
	check_eq(came[PIC_VECTOR + IRQ], 2, "LINT0 masked: nothing");
	lapic_write(LAPIC_LINT0, 0x700);
	open_window();
	check_eq(came[PIC_VECTOR + IRQ], 3, "unmasked: there it is");
	host(HOST_ISA, IRQ, 0, 0);
	lapic_write(LAPIC_LINT0, LVT_MASKED);
	outb(0x21, 0xff);
}

/* -- doorbells: no exit, one count a write -----------------------------------
 */

enum { BELL_PORT = 1, BELL_MATCH = 2, BELL_REMOVE = 4 };

static void doorbells(void)
{
	volatile uint32_t *at = (volatile uint32_t *)(uintptr_t)MMIO_BASE + 8;
	uint64_t gpa = (uint64_t)(uintptr_t)at;

	*at = 5;
	check_eq(host(HOST_DOORBELL, gpa, 4, 0), 0, "a doorbell in memory");
	for (unsigned n = 0; n < 3; n++)
		*at = n;
	check_eq(host(HOST_RUNG, 0, 0, 0), 3, "each write rings");
	*(volatile uint16_t *)at = 0;
	check_eq(host(HOST_RUNG, 0, 0, 0), 0, "not one of another size");
	check_eq(*at, 0, "which the device sees");
	check(host(HOST_DOORBELL, gpa, 4, 0) != 0, "a second one there");
	check_eq(host(HOST_DOORBELL, gpa, 4, BELL_REMOVE), 0, "removed");
	*at = 7;
	check_eq(host(HOST_RUNG, 0, 0, 0), 0, "it is silent");
	check_eq(*at, 7, "and the device sees the write");
	host(HOST_DOORBELL, PORT_TEST, 2, BELL_PORT | BELL_MATCH);
	outw(PORT_TEST, DOORBELL_VALUE);
	outw(PORT_TEST, 1);
	check_eq(host(HOST_RUNG, 0, 0, 0), 1, "one that matches, at a port");
	check_eq(inw(PORT_TEST), 1, "what does not match goes on");
	host(HOST_DOORBELL, PORT_TEST, 2, BELL_PORT | BELL_MATCH | BELL_REMOVE);
	check(host(HOST_DOORBELL, gpa, 3, 0) != 0, "three bytes: refused");
	check(host(HOST_DOORBELL, 0x10000, 2, BELL_PORT) != 0,
	      "no such port: refused");
}

/* -- NMI, two vCPUs ---------------------------------------------------------
 */

static void nmi(void)
{
	clear();
	host(HOST_NMI, 0, 0, 0);
	for (unsigned n = 0; n < 100 && came[NMI] == 0; n++)
		pause_cpu();
	check_eq(came[NMI], 1, "an NMI with IF clear");
}

static volatile uint32_t asleep, woken;

static void sleeper(unsigned id)
{
	clear();
	asleep = 1;
	while (came[VECTOR] == 0)
		__asm__ volatile("sti; hlt; cli" ::: "memory");
	woken = 1;
}

/* From another thread than the sleeper's own. */
static void wake_other(void)
{
	check(cpu_start(1, sleeper) && wait_for(&asleep, 1), "vCPU 1 sleeps");
	for (unsigned n = 0; n < 1000; n++)
		pause_cpu();
	host(HOST_MSI, MSI | 1 << 12, VECTOR, 0);
	check(wait_for(&woken, 1), "an MSI from outside wakes it");
}

static void no_eoi_needed(struct frame *frame)
{
	came[frame->vector]++;
}

void payload(void)
{
	for (unsigned n = VECTOR; n < VECTOR + 16; n++)
		trap_handler[n] = on_irq;
	for (unsigned n = PIC_VECTOR; n < PIC_VECTOR + 16; n++)
		trap_handler[n] = on_pic;
	trap_handler[NMI] = no_eoi_needed;
	lapic_enable();
	part(timer);
	part(messages);
	part(edge);
	part(level);
	part(pic);
	part(doorbells);
	part(nmi);
	part(wake_other);
}
