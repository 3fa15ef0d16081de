/* SPDX-License-Identifier: BSD-2-Clause */
/* The runtime: tables of the CPU, faults, lines of TAP, other modes. */
#include "guest32.h"

__attribute__((aligned(16))) uint64_t gdt[64] = {
    [SEL_CODE / 8] = DESC(0, 0xfffff, 0x9b | G32),
    [SEL_DATA / 8] = DESC(0, 0xfffff, 0x93 | G32),
    [SEL_USER_CODE / 8] = DESC(0, 0xfffff, 0xfb | G32),
    [SEL_USER_DATA / 8] = DESC(0, 0xfffff, 0xf3 | G32),
    [SEL_CODE16 / 8] = DESC(0, 0xffff, 0x9b),
    [SEL_DATA16 / 8] = DESC(0, 0xffff, 0x93),
    [SEL_USER16 / 8] = DESC(0, 0xffff, 0xfb),
};
__attribute__((aligned(16))) uint64_t idt[256];
__attribute__((aligned(4096))) struct tss32 tss;
uint8_t user_stack[4096] __attribute__((aligned(16)));
static uint8_t kernel_stack[8192] __attribute__((aligned(16)));

struct fault fault;
volatile uint32_t try_at, try_resume;
trap_fn trap_handler[256];

extern uint8_t stub_table[];
extern uint32_t run_saved_esp;
uint32_t run_enter(const struct target *t, unsigned words, uint32_t eax);
_Noreturn void run_leave(uint32_t eax);
_Noreturn void runtime_main(void);
void runtime_trap(struct frame *frame);
static _Noreturn void finish(uint32_t code)
{
	outl(PORT_EXIT, code);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* -- faults -------------------------------------------------------------------
 */

void fault_clear(void)
{
	fault = (struct fault){.vector = NO_FAULT};
}

static void describe(void)
{
	struct line l = {.used = 0};

	line_hex(&l, "# vector", fault.vector);
	line_hex(&l, " error", fault.error);
	line_hex(&l, " eip", fault.eip);
	line_hex(&l, " at", fault.at);
	line_hex(&l, " cs", fault.frame.cs);
	line_hex(&l, " flags", fault.frame.eflags);
	say(l.text);
}

bool fault_is_at(const char *file, int line, uint32_t vector, uint32_t error,
		 const char *name)
{
	bool ok = fault.vector == vector &&
		  (vector == NO_FAULT ||
		   (fault.error == error && fault.eip == fault.at));

	check_at(file, line, ok, name);
	if (!ok)
		describe();
	return ok;
}

bool ended_at(const char *file, int line, uint32_t vector, uint32_t error,
	      const char *name)
{
	bool ok = fault.vector == vector && fault.error == error;

	check_at(file, line, ok, name);
	if (!ok)
		describe();
	return ok;
}

static void record(struct frame *frame)
{
	fault.vector = frame->vector;
	fault.error = frame->error;
	fault.eip = frame->eip;
	fault.cr2 = READ_CR(2);
	fault.at = try_at;
	fault.frame_at = (uint32_t)(uintptr_t)frame;
	__asm__ volatile("mov %%ss, %0" : "=r"(fault.ss));
	__asm__ volatile("str %0" : "=r"(fault.tr));
	memcpy(&fault.frame, frame, sizeof(*frame));
}

void runtime_trap(struct frame *frame)
{
	if (trap_handler[frame->vector] != NULL) {
		trap_handler[frame->vector](frame);
		return;
	}
	record(frame);
	if (run_saved_esp != 0)
		run_leave(frame->eax);
	if (try_resume == 0) {
		say("not ok - a fault that nobody expected");
		describe();
		finish(1);
	}
	frame->eip = try_resume;
	frame->cs = SEL_CODE;
	try_resume = 0;
}

/* -- other modes
 * --------------------------------------------------------------- */

uint32_t run(const struct target *t, uint32_t eax)
{
	unsigned words = t->eflags & VM ? 9 : t->cs & 3 ? 5 : 3;
	uint32_t value;

	fault_clear();
	value = run_enter(t, words, eax);
	run_saved_esp = 0;
	return value;
}

void low_put(unsigned offset, const uint8_t *code, const uint8_t *end)
{
	memcpy((void *)(uintptr_t)(LOW + offset), code, (size_t)(end - code));
}

/* -- tables
 * ---------------------------------------------------------------------- */

struct __attribute__((packed)) table_register {
	uint16_t limit;
	uint32_t base;
};

void gdt_load(void)
{
	struct table_register r = {sizeof(gdt) - 1, (uint32_t)(uintptr_t)gdt};

	__asm__ volatile("lgdt %0" ::"m"(r) : "memory");
}

void runtime_main(void)
{
	struct table_register r = {sizeof(idt) - 1, (uint32_t)(uintptr_t)idt};

	for (unsigned n = 0; n < 256; n++)
		idt[n] = GATE(SEL_CODE, stub_table + 16 * n,
			      n == BP || n == OF || n >= 0x80 ? 0xee : 0x8e, 0);
	__asm__ volatile("lidt %0" ::"m"(r) : "memory");
	tss.ss0 = SEL_DATA;
	tss.esp0 = (uint32_t)(uintptr_t)kernel_stack + sizeof(kernel_stack);
	tss.iomap = offsetof(struct tss32, bitmap) + 32;
	memset(tss.bitmap, 0xff, sizeof(tss.bitmap));
	gdt[SEL_TSS / 8] =
	    DESC((uint32_t)(uintptr_t)&tss, sizeof(tss) - 1, 0x89);
	gdt_load();
	__asm__ volatile("ltr %w0" ::"r"(SEL_TSS) : "memory");
	fault_clear();
	payload();
	finish(0);
}
