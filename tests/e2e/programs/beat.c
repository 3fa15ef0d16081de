// SPDX-License-Identifier: BSD-2-Clause
/*
 * A kernel with a pulse, for what is done to a VM from outside: its local
 * APIC's timer ticks a thousand times a second, every 64th tick it says so on
 * com1, and between the ticks it works and halts by turns. An NMI is taken and
 * forgotten. Other CPUs stay as the reset left them.
 */
#include <stdint.h>

#define COM1       0x3f8
#define LAPIC      0xfee00000u
#define SVR        0xf0
#define EOI        0xb0
#define LVT_TIMER  0x320
#define TIMER_INIT 0x380
#define TIMER_DIV  0x3e0
#define PERIODIC   (1u << 17)
#define TICK       0x40
#define NMI        2
/* The timer's clock is 1 GHz, divided by 16. */
#define TICK_COUNT (1000000000u / 16 / 1000)

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, attr;
	uint16_t offset_mid;
	uint32_t offset_high, zero;
};

static struct gate idt[256] __attribute__((aligned(16)));
static volatile uint32_t ticks;

void run(void);
void tick(void);
void on_tick(void);
void on_nmi(void);

__asm__(".pushsection .text\n"
	".globl _start, on_tick, on_nmi\n"
	"_start:\n"
	"	lea stack_top(%rip), %rsp\n"
	"	call run\n"
	"on_tick:\n"
	"	push %rax; push %rcx; push %rdx; push %rsi; push %rdi\n"
	"	push %r8; push %r9; push %r10; push %r11\n"
	"	cld\n"
	"	call tick\n"
	"	pop %r11; pop %r10; pop %r9; pop %r8\n"
	"	pop %rdi; pop %rsi; pop %rdx; pop %rcx; pop %rax\n"
	"on_nmi:\n"
	"	iretq\n"
	".popsection\n"
	".pushsection .bss\n"
	"	.skip 16384\n"
	"stack_top:\n"
	".popsection\n");

static void lapic(unsigned reg, uint32_t value)
{
	*(volatile uint32_t *)(uintptr_t)(LAPIC + reg) = value;
}

static void set_gate(unsigned vector, void (*handler)(void))
{
	uint64_t at = (uint64_t)(uintptr_t)handler;
	uint16_t cs;

	__asm__("mov %%cs, %0" : "=r"(cs));
	idt[vector] = (struct gate){
	    .offset_low = (uint16_t)at,
	    .selector = cs,
	    .attr = 0x8e, /* present, interrupt gate */
	    .offset_mid = (uint16_t)(at >> 16),
	    .offset_high = (uint32_t)(at >> 32),
	};
}

void tick(void)
{
	if (++ticks % 64 == 0)
		__asm__ volatile("outb %%al, %%dx" ::"a"('.'), "d"(COM1));
	lapic(EOI, 0);
}

void run(void)
{
	const struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) idtr = {sizeof(idt) - 1, (uintptr_t)idt};

	set_gate(TICK, on_tick);
	set_gate(NMI, on_nmi);
	__asm__ volatile("lidt %0" ::"m"(idtr));
	lapic(SVR, 0x1ff);
	lapic(TIMER_DIV, 3); /* by 16 */
	lapic(LVT_TIMER, PERIODIC | TICK);
	lapic(TIMER_INIT, TICK_COUNT);
	__asm__ volatile("sti");
	for (;;) {
		for (uint32_t start = ticks; ticks - start < 8;)
			__asm__ volatile("pause");
		for (uint32_t start = ticks; ticks - start < 8;)
			__asm__ volatile("hlt");
	}
}
