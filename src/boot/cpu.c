// SPDX-License-Identifier: BSD-2-Clause
#include "boot/cpu.h"

#include <endian.h>
#include <errno.h>

#include "firmware/lowmem.h"

/* Selectors that boot.rst prescribes: __BOOT_CS, __BOOT_DS, and a TSS. */
#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define SEL_TSS  0x20

/* Descriptors (SDM vol. 3, 3.4.5): flat, present, accessed. */
#define DESC_CODE64 0x00af9b000000ffffull
#define DESC_DATA   0x00cf93000000ffffull
#define DESC_TSS    (0x00008b0000000067ull | (LOWMEM_TSS << 16))
#define TSS_LIMIT   0x67

/* The same as access rights of struct seg_desc. */
#define ACCESS_CODE64   0xa09b
#define ACCESS_DATA     0xc093
#define ACCESS_TSS      0x008b
#define ACCESS_UNUSABLE 0x10000

/* Page table entries (SDM vol. 3, 4.5). */
#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_PS BIT(7)

#define CR0_PE     BIT(0)
#define CR0_ET     BIT(4)
#define CR0_NE     BIT(5)
#define CR0_WP     BIT(16)
#define CR0_PG     BIT(31)
#define CR4_PAE    BIT(5)
#define EFER_LME   BIT(8)
#define EFER_LMA   BIT(10)
#define RFLAGS_ONE BIT(1)

#define MAPPED_GIB 4

static const uint64_t gdt[] = {0, 0, DESC_CODE64, DESC_DATA, DESC_TSS, 0};

int boot_cpu_tables(const struct guest_memory *memory)
{
	enum { PML4, PDPT, PD, TABLES = PD + MAPPED_GIB };
	static const uint8_t tss[TSS_LIMIT + 1];
	uint64_t tables[TABLES][512] = {0};
	uint64_t little[ARRAY_SIZE(gdt)];
	int error;

	_Static_assert(sizeof(tables) == LOWMEM_PAGE_TABLES_SIZE,
		       "the map of low memory has room for these tables");
	tables[PML4][0] =
	    htole64((LOWMEM_PAGE_TABLES + 0x1000) | PTE_P | PTE_W);
	for (uint64_t i = 0; i < MAPPED_GIB; i++)
		tables[PDPT][i] = htole64(
		    (LOWMEM_PAGE_TABLES + (PD + i) * 0x1000) | PTE_P | PTE_W);
	for (uint64_t i = 0; i < MAPPED_GIB * 512ull; i++)
		tables[PD + i / 512][i % 512] =
		    htole64(i * 2 * MiB | PTE_P | PTE_W | PTE_PS);
	for (size_t i = 0; i < ARRAY_SIZE(gdt); i++)
		little[i] = htole64(gdt[i]);
	error = guest_write(memory, LOWMEM_GDT, little, sizeof(little));
	if (error == 0)
		error = guest_write(memory, LOWMEM_TSS, tss, sizeof(tss));
	if (error == 0)
		error = guest_write(memory, LOWMEM_PAGE_TABLES, tables,
				    sizeof(tables));
	return error;
}

struct register_value {
	int reg;
	uint64_t value;
};

struct segment_value {
	int reg;
	uint16_t selector;
	uint64_t base;
	uint32_t limit;
	uint32_t access;
};

static const struct segment_value segments[] = {
    {VM_REG_GUEST_CS, SEL_CODE, 0, UINT32_MAX, ACCESS_CODE64},
    {VM_REG_GUEST_DS, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_ES, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_FS, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_GS, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_SS, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_TR, SEL_TSS, LOWMEM_TSS, TSS_LIMIT, ACCESS_TSS},
    {VM_REG_GUEST_LDTR, 0, 0, 0xffff, ACCESS_UNUSABLE},
};

static const struct segment_value tables[] = {
    {VM_REG_GUEST_GDTR, 0, LOWMEM_GDT, sizeof(gdt) - 1, 0},
    {VM_REG_GUEST_IDTR, 0, 0, 0, 0},
};

static int set_registers(struct vcpu *bsp, uint64_t entry)
{
	/*
	 * EFER before CR0: an engine may check that PG with LME means long
	 * mode. LMA is set as the CPU would do it.
	 */
	const struct register_value values[] = {
	    {VM_REG_GUEST_EFER, EFER_LME | EFER_LMA},
	    {VM_REG_GUEST_CR4, CR4_PAE},
	    {VM_REG_GUEST_CR3, LOWMEM_PAGE_TABLES},
	    {VM_REG_GUEST_CR0, CR0_PG | CR0_WP | CR0_NE | CR0_ET | CR0_PE},
	    {VM_REG_GUEST_RFLAGS, RFLAGS_ONE},
	    {VM_REG_GUEST_RIP, entry},
	    {VM_REG_GUEST_RSP, LOWMEM_STACK_TOP},
	    {VM_REG_GUEST_RSI, LOWMEM_BOOT_PARAMS},
	    /* boot.rst wants these zero for the 32-bit entry. */
	    {VM_REG_GUEST_RBX, 0},
	    {VM_REG_GUEST_RBP, 0},
	    {VM_REG_GUEST_RDI, 0},
	};

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		if (vm_set_register(bsp, values[i].reg, values[i].value) != 0)
			return -1;
	}
	return 0;
}

static int set_segments(struct vcpu *bsp)
{
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		const struct segment_value *segment = &segments[i];

		if (vm_set_desc(bsp, segment->reg, segment->base,
				segment->limit, segment->access) != 0 ||
		    vm_set_register(bsp, segment->reg, segment->selector) != 0)
			return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++) {
		if (vm_set_desc(bsp, tables[i].reg, tables[i].base,
				tables[i].limit, 0) != 0)
			return -1;
	}
	return 0;
}

int boot_cpu_registers(struct vcpu *bsp, uint64_t entry, struct err *err)
{
	struct vmctx *ctx = vcpu_ctx(bsp);
	bool begun = vm_batch_begin(ctx) == 0;
	bool done = begun && vcpu_reset(bsp) == 0 &&
		    set_registers(bsp, entry) == 0 && set_segments(bsp) == 0;
	int error = 0;

	if (!done)
		error = err_set(err, errno,
				"cannot set the boot CPU's registers: %s",
				vm_error_text());
	if (begun && vm_batch_end(ctx) != 0 && error == 0)
		error = err_set(err, errno, "%s", vm_error_text());
	return error;
}
