/* SPDX-License-Identifier: BSD-2-Clause */
/* The runtime: tables of the CPU, faults, lines of TAP, CPL 3. */
#include "guest.h"

__attribute__((aligned(16))) uint64_t gdt[32] = {
    [SEL_CODE64 / 8] = 0x00af9b000000ffff,
    [SEL_DATA / 8] = 0x00cf93000000ffff,
    [SEL_USER_CODE32 / 8] = 0x00cffb000000ffff,
    [SEL_USER_DATA / 8] = 0x00cff3000000ffff,
    [SEL_USER_CODE64 / 8] = 0x00affb000000ffff,
    [SEL_CODE32 / 8] = 0x00cf9b000000ffff,
    [SEL_CODE16 / 8] = 0x000f9b000000ffff,
};
__attribute__((aligned(4096))) struct gate idt[256];
__attribute__((aligned(16))) struct tss tss;
__attribute__((aligned(4096))) uint64_t pml4[512];
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[4][512] __attribute__((aligned(4096)));
static uint64_t low_pt[512] __attribute__((aligned(4096)));
__attribute__((section(".user.data"), aligned(4096))) uint8_t user_stack[4096];
__attribute__((section(".user.data"), aligned(4096))) uint8_t user_data[4096];
static uint8_t kernel_stack[8192] __attribute__((aligned(16)));

struct fault fault;
volatile uint64_t try_at, try_resume;
volatile unsigned fault_count;
trap_fn trap_handler[256];

extern uint8_t stub_table[], user_start[], user_end[];
extern uint64_t user_saved_rsp, part_rsp;
static void (*part_fn)(void); /* the part that is run, guarded */
uint64_t user_enter(const uint64_t frame[5], uint64_t arg);
_Noreturn void user_leave(uint64_t value);
void runtime_main(void);
void runtime_trap(struct frame *frame);

/* -- the VMM ------------------------------------------------------------- */

int64_t host(enum host_fn fn, uint64_t a, uint64_t b, uint64_t c)
{
	volatile struct host_call call = {.fn = fn, .a = {a, b, c}};

	outl(PORT_CALL, (uint32_t)(uintptr_t)&call);
	return call.result;
}

_Noreturn void finish(void)
{
	outl(PORT_EXIT, 0);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* -- faults -------------------------------------------------------------- */

void fault_clear(void)
{
	fault = (struct fault){.vector = NO_FAULT};
	fault_count = 0;
}

static void describe(const struct fault *f)
{
	struct line l = {.used = 0};

	line_hex(&l, "# vector", f->vector);
	line_hex(&l, " error", f->error);
	line_hex(&l, " rip", f->rip);
	line_hex(&l, " at", f->at);
	line_hex(&l, " cr2", f->cr2);
	line_hex(&l, " cs", f->frame.cs);
	say(l.text);
}

bool fault_is_at(const char *file, int line, unsigned vector, uint64_t error,
		 const char *name)
{
	bool ok = fault.vector == vector &&
		  (vector == NO_FAULT ||
		   (fault.error == error && fault.rip == fault.at));

	check_at(file, line, ok, name);
	if (!ok)
		describe(&fault);
	return ok;
}

static uint64_t read_dr6(void)
{
	uint64_t v;

	__asm__ volatile("mov %%dr6, %0" : "=r"(v));
	return v;
}

static void record(struct frame *frame)
{
	uint16_t ss;

	__asm__ volatile("mov %%ss, %0" : "=r"(ss));
	fault.vector = frame->vector;
	fault.error = frame->error;
	fault.rip = frame->rip;
	fault.cr2 = READ_CR(2);
	fault.dr6 = read_dr6();
	fault.frame = *frame;
	fault.handler_rsp = (uint64_t)frame;
	fault.handler_ss = ss;
	fault.handler_flags = read_flags();
	fault_count++;
}

/* From the depth of a part to its end; nothing when none is run. */
static void part_leave(void)
{
	if (part_fn != NULL)
		__asm__ volatile(
		    "mov %0, %%rsp\n\tjmp part_escape" ::"m"(part_rsp)
		    : "memory");
}

static _Noreturn void unexpected(struct frame *frame)
{
	record(frame);
	fault.at = try_at;
	say("not ok - a fault that nobody expected");
	describe(&fault);
	if (engine_is() & HOST_IS_EMULATED)
		part_leave();
	outl(PORT_EXIT, 1);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/*
 * An emulator without INTn makes #UD of it at CPL 3: what INT USER_DONE would
 * have left is put there.
 */
static void int_is_missing(struct frame *frame)
{
	const uint8_t *at = (const uint8_t *)(uintptr_t)frame->rip;

	if (frame->vector != UD || !(engine_is() & HOST_IS_EMULATED) ||
	    (at[0] | at[1] << 8) != (0xcd | USER_DONE << 8))
		return;
	frame->vector = USER_DONE;
	frame->rip += 2;
}

void runtime_trap(struct frame *frame)
{
	if (trap_handler[frame->vector] != NULL) {
		trap_handler[frame->vector](frame);
		return;
	}
	if ((frame->cs & 3) == 3 && user_saved_rsp != 0) {
		int_is_missing(frame);
		record(frame);
		fault.at = try_at;
		user_leave(frame->rax);
	}
	if (try_resume == 0)
		unexpected(frame);
	record(frame);
	fault.at = try_at;
	frame->rip = try_resume;
	frame->cs = SEL_CODE64;
	try_resume = 0;
}

/* -- tables -------------------------------------------------------------- */

void gate_set(unsigned vector, void (*handler)(void), unsigned attr,
	      unsigned ist)
{
	uint64_t at = (uint64_t)(uintptr_t)handler;

	idt[vector] = (struct gate){.offset_low = (uint16_t)at,
				    .selector = SEL_CODE64,
				    .ist = (uint8_t)ist,
				    .attr = (uint8_t)attr,
				    .offset_mid = (uint16_t)(at >> 16),
				    .offset_high = (uint32_t)(at >> 32)};
}

struct __attribute__((packed)) table_register {
	uint16_t limit;
	uint64_t base;
};

void idt_load(uint16_t limit)
{
	struct table_register r = {limit, (uint64_t)(uintptr_t)idt};

	__asm__ volatile("lidt %0" ::"m"(r) : "memory");
}

static void tables_load(void)
{
	struct table_register r = {sizeof(gdt) - 1, (uint64_t)(uintptr_t)gdt};
	uint64_t base = (uint64_t)(uintptr_t)&tss;

	gdt[SEL_TSS / 8] = (sizeof(tss) - 1) | (base & 0xffffff) << 16 |
			   0x89ull << 40 | (base >> 24 & 0xff) << 56;
	gdt[SEL_TSS / 8 + 1] = base >> 32;
	tss.rsp[0] = (uint64_t)(uintptr_t)kernel_stack + sizeof(kernel_stack);
	tss.iomap = offsetof(struct tss, bitmap);
	memset(tss.bitmap, 0xff, sizeof(tss.bitmap));
	__asm__ volatile("lgdt %0\n\t"
			 "pushq %1\n\t"
			 "pushq $1f\n\t"
			 "lretq\n"
			 "1:\tmov %2, %%ds; mov %2, %%es; mov %2, %%ss\n\t"
			 "mov %3, %%fs; mov %3, %%gs\n\t"
			 "ltr %w4" ::"m"(r),
			 "i"(SEL_CODE64), "r"(SEL_DATA), "r"(0), "r"(SEL_TSS)
			 : "memory");
	for (unsigned n = 0; n < 256; n++)
		gate_set(n, (void (*)(void))(uintptr_t)(stub_table + 16 * n),
			 n == USER_DONE || n == BP || n == OF ? 0xee : 0x8e, 0);
	idt_load(sizeof(idt) - 1);
}

/* Identity: 4 GiB in 2 MiB pages, the first 2 MiB in small ones. */
static void paging_load(void)
{
	pml4[0] = (uint64_t)(uintptr_t)pdpt | PTE_P | PTE_W | PTE_U;
	for (uint64_t n = 0; n < 4; n++) {
		pdpt[n] = (uint64_t)(uintptr_t)pd[n] | PTE_P | PTE_W | PTE_U;
		for (uint64_t k = 0; k < 512; k++)
			pd[n][k] = (n * 512 + k) << 21 | PTE_P | PTE_W | PTE_PS;
	}
	for (uint64_t n = 0; n < 512; n++) {
		uint64_t at = n << 12;
		bool user = at >= (uint64_t)(uintptr_t)user_start &&
			    at < (uint64_t)(uintptr_t)user_end;

		low_pt[n] = at | PTE_P | PTE_W | (user ? PTE_U : 0);
	}
	pd[0][0] = (uint64_t)(uintptr_t)low_pt | PTE_P | PTE_W | PTE_U;
	WRITE_CR(3, (uint64_t)(uintptr_t)pml4);
}

/* -- pages --------------------------------------------------------------- */

void *page_alloc(void)
{
	static uint64_t next_page = 0x400000;
	void *p = (void *)(uintptr_t)next_page;

	next_page += 4096;
	for (unsigned n = 0; n < 512; n++)
		((uint64_t *)p)[n] = 0;
	return p;
}

uint64_t *pte_of(uint64_t va, unsigned level)
{
	uint64_t *table = pml4;

	for (unsigned at = 4; at > level; at--) {
		uint64_t *e = &table[va >> (12 + 9 * (at - 1)) & 511];

		if (!(*e & PTE_P))
			*e = (uint64_t)(uintptr_t)page_alloc() | PTE_P | PTE_W |
			     PTE_U;
		table = (uint64_t *)(uintptr_t)(*e & 0xffffffffff000);
	}
	return &table[va >> (12 + 9 * (level - 1)) & 511];
}

void map_page(uint64_t va, uint64_t entry)
{
	*pte_of(va, 1) = entry;
	invlpg((void *)(uintptr_t)va);
}

void flush_all(void)
{
	WRITE_CR(3, READ_CR(3));
}

/* -- CPL 3 --------------------------------------------------------------- */

uint64_t user_run_cs(const void *code, uint64_t arg, uint64_t flags,
		     uint16_t cs)
{
	uint64_t frame[5] = {(uint64_t)(uintptr_t)code, cs, flags | 2,
			     USER_STACK_TOP, SEL_USER_DATA};
	uint64_t value;

	fault_clear();
	value = user_enter(frame, arg);
	user_saved_rsp = 0;
	return value;
}

uint64_t user_run(const void *code, uint64_t arg, uint64_t flags)
{
	return user_run_cs(code, arg, flags, SEL_USER_CODE64);
}

/* -- parts --------------------------------------------------------------- */

#define START_CR4 0x20 /* PAE */

uint64_t part_run(void (*fn)(void));
extern uint8_t part_escape[];

unsigned engine_is(void)
{
	static int64_t is = -1;

	if (is < 0)
		is = host(HOST_ENGINE, 0, 0, 0);
	return (unsigned)is;
}

/* The runner has put us back into its own tables. */
static void start_over(void)
{
	WRITE_CR(4, START_CR4);
	tables_load();
	paging_load();
	try_resume = 0;
	user_saved_rsp = 0;
	fault_clear();
}

static void run_armed(void)
{
	host(HOST_ESCAPE, (uint64_t)(uintptr_t)part_escape, part_rsp, 0);
	part_fn();
}

void part_at(const char *name, void (*fn)(void))
{
	if (!(engine_is() & HOST_IS_EMULATED)) {
		fn();
		return;
	}
	part_fn = fn;
	if (part_run(run_armed) != 0)
		start_over();
	part_fn = NULL;
	host(HOST_ESCAPE, 0, 0, 0);
}

void runtime_main(void)
{
	tables_load();
	paging_load();
	fault_clear();
	payload();
	finish();
}
