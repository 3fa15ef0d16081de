// SPDX-License-Identifier: BSD-2-Clause
/*
 * A kernel that says on the serial port what its loader handed it, a line
 * "name=value" each, and powers the machine off. check.py knows what is right.
 */
#include <stddef.h>
#include <stdint.h>

#define COM1        0x3f8
#define COM1_LSR    (COM1 + 5)
#define LSR_THRE    0x20
#define PM1_CONTROL 0x404
#define SLP_S5      (5 << 10 | 1 << 13)

/* start.S fills it. */
struct entry_state {
	uint32_t eax, ebx, cr0, cr4, eflags;
	uint16_t cs, ds, es, ss, tr, pad;
	uint32_t efer;
};

/* In .data: what the loader clears too late would be lost. */
struct entry_state entry_state __attribute__((section(".data"))) = {.eax = 1};
static volatile uint64_t data_word = 0x0123456789abcdef;
static volatile uint8_t zeros[70000];

/* -- the port -------------------------------------------------------------- */

static uint8_t in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static void out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static void put(char c)
{
	while ((in8(COM1_LSR) & LSR_THRE) == 0)
		;
	out8(COM1, (uint8_t)c);
}

static void text(const char *s)
{
	while (*s != '\0')
		put(*s++);
}

static void hex(uint64_t value)
{
	int digits = 1;

	while (digits < 16 && value >> (4 * digits) != 0)
		digits++;
	while (digits-- > 0)
		put("0123456789abcdef"[value >> (4 * digits) & 15]);
}

static void number(const char *name, uint64_t value)
{
	text(name);
	put('=');
	hex(value);
	put('\n');
}

static void string(const char *name, uint64_t gpa)
{
	text(name);
	put('=');
	text((const char *)(uintptr_t)gpa);
	put('\n');
}

/* -- memory that it was handed --------------------------------------------- */

static uint64_t get(uint64_t gpa, unsigned int bytes)
{
	const volatile uint8_t *at = (const volatile uint8_t *)(uintptr_t)gpa;
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | at[bytes];
	return value;
}

static void module(uint64_t gpa, uint64_t size, uint64_t name)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < size; i++)
		sum = sum * 31 + get(gpa + i, 1);
	string("module", name);
	number("module.aligned", gpa % 4096 == 0);
	number("module.size", size);
	number("module.sum", sum);
}

static void range(uint64_t base, uint64_t size, uint64_t type)
{
	text("map=");
	hex(base);
	put(' ');
	hex(size);
	put(' ');
	hex(type);
	put('\n');
}

#ifdef PVH
static void handed(uint64_t info)
{
	uint64_t list = get(info + 16, 8), map = get(info + 40, 8);

	number("info.magic", get(info, 4));
	number("info.version", get(info + 4, 4));
	number("info.flags", get(info + 8, 4));
	string("cmdline", get(info + 24, 8));
	for (uint64_t i = 0; i < get(info + 12, 4); i++, list += 32)
		module(get(list, 8), get(list + 8, 8), get(list + 16, 8));
	for (uint64_t i = 0; i < get(info + 48, 4); i++, map += 24)
		range(get(map, 8), get(map + 8, 8), get(map + 16, 4));
	/* "RSD PTR " */
	number("rsdp", get(get(info + 32, 8), 8));
}
#else
static void handed(uint64_t info)
{
	uint64_t list = get(info + 24, 4), map = get(info + 48, 4);
	uint64_t end = map + get(info + 44, 4);

	number("info.flags", get(info, 4));
	number("mem.lower", get(info + 4, 4));
	number("mem.upper", get(info + 8, 4));
	string("cmdline", get(info + 16, 4));
	string("loader", get(info + 64, 4));
	for (uint64_t i = 0; i < get(info + 20, 4); i++, list += 16)
		module(get(list, 4), get(list + 4, 4) - get(list, 4),
		       get(list + 8, 4));
	for (; map < end; map += get(map, 4) + 4)
		range(get(map + 4, 8), get(map + 12, 8), get(map + 20, 4));
}
#endif

static void registers(void)
{
	number("eax", entry_state.eax);
	number("cr0", entry_state.cr0);
	number("cr4", entry_state.cr4);
	number("efer", entry_state.efer);
	number("eflags", entry_state.eflags);
	number("selectors.alike", entry_state.ds == entry_state.es &&
				      entry_state.ds == entry_state.ss);
	number("tr.set", entry_state.tr != 0);
}

void kernel_main(void);

void kernel_main(void)
{
	uint32_t wrong = 0;

	text("KERNEL-UP\n");
	registers();
	number("data", data_word);
	for (size_t i = 0; i < sizeof(zeros); i++)
		wrong += zeros[i] != 0;
	number("bss", wrong);
	handed(entry_state.ebx);
	text("KERNEL-END\n");
	__asm__ volatile("outw %w0, %w1" : : "a"(SLP_S5), "d"(PM1_CONTROL));
}
