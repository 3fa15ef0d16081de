/* SPDX-License-Identifier: BSD-2-Clause */
/* Other vCPUs: INIT and SIPI, their stacks and tables; waiting with an end. */
#include "guest.h"

#define TRAMPOLINE 0x8000ul

extern uint8_t trampoline[], trampoline_end[], trampoline_cr3[],
    trampoline_stack[], trampoline_entry[], trampoline_arg[];

static uint8_t stack[CPU_MAX][8192] __attribute__((aligned(16)));
static void (*cpu_fn[CPU_MAX])(unsigned id);
static volatile uint32_t arrived[CPU_MAX];

void lapic_enable(void)
{
	lapic_write(LAPIC_SVR, 0x1ff);
}

/* In the mode that this vCPU's LAPIC is in (IA32_APIC_BASE.EXTD). */
void lapic_eoi(void)
{
	if (rdmsr(MSR_APIC_BASE) & BIT(10))
		wrmsr(MSR_X2APIC + (LAPIC_EOI >> 4), 0);
	else
		lapic_write(LAPIC_EOI, 0);
}

void lapic_storm(uint8_t vector, uint32_t count)
{
	lapic_enable();
	lapic_write(LAPIC_DIVIDE, 0xb);
	lapic_write(LAPIC_TIMER, vector | BIT(17));
	lapic_write(LAPIC_INITIAL, count);
}

void lapic_calm(void)
{
	lapic_write(LAPIC_INITIAL, 0);
	lapic_write(LAPIC_TIMER, BIT(16));
}

volatile unsigned noted;
uint64_t noted_at;

void note_interrupt(struct frame *frame)
{
	noted_at = frame->rip;
	noted++;
	lapic_eoi();
}

/* The runner says how many vCPUs there are by where the BSP's RDI was. */
unsigned cpu_count(void)
{
	return inl(PORT_TEST + 12);
}

/* Seconds on any CPU; instructions take how long they want. */
#define PATIENCE 40000000000ull

bool wait_until(bool (*done)(void))
{
	uint64_t start = rdtsc();

	while (!done()) {
		if (rdtsc() - start > PATIENCE)
			return false;
		pause_cpu();
	}
	return true;
}

bool wait_for(const volatile uint32_t *p, uint32_t v)
{
	uint64_t start = rdtsc();

	while (*p != v) {
		if (rdtsc() - start > PATIENCE)
			return false;
		pause_cpu();
	}
	return true;
}

struct __attribute__((packed)) table_register {
	uint16_t limit;
	uint64_t base;
};

static void cpu_main(unsigned id)
{
	struct table_register r = {sizeof(gdt) - 1, (uint64_t)(uintptr_t)gdt};

	__asm__ volatile("lgdt %0" ::"m"(r) : "memory");
	idt_load(sizeof(idt) - 1);
	lapic_enable();
	arrived[id] = 1;
	cpu_fn[id](id);
	for (;;)
		__asm__ volatile("sti; hlt");
}

static void put(const uint8_t *field, uint64_t value)
{
	*(volatile uint64_t *)(TRAMPOLINE + (uint64_t)(field - trampoline)) =
	    value;
}

static void icr(unsigned id, uint32_t command)
{
	lapic_write(LAPIC_ICR_HI, id << 24);
	lapic_write(LAPIC_ICR, command);
}

bool cpu_start(unsigned id, void (*fn)(unsigned id))
{
	for (uint8_t *p = trampoline; p < trampoline_end; p++)
		*(volatile uint8_t *)(TRAMPOLINE + (uint64_t)(p - trampoline)) =
		    *p;
	put(trampoline_cr3, (uint64_t)(uintptr_t)pml4);
	put(trampoline_stack, (uint64_t)(uintptr_t)stack[id + 1]);
	put(trampoline_entry, (uint64_t)(uintptr_t)cpu_main);
	put(trampoline_arg, id);
	if (id == CPU_MAX - 1)
		put(trampoline_stack,
		    (uint64_t)(uintptr_t)stack[0] + sizeof(stack));
	cpu_fn[id] = fn;
	arrived[id] = 0;
	icr(id, 0x4500);                    /* INIT, assert */
	icr(id, 0x4600 | TRAMPOLINE >> 12); /* SIPI */
	return wait_for(&arrived[id], 1);
}
