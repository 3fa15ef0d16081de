// SPDX-License-Identifier: BSD-2-Clause
#include "boot/cpu.h"

#include <endian.h>
#include <errno.h>

#include "firmware/lowmem.h"

/*
 * Selectors that boot.rst prescribes, __BOOT_CS and __BOOT_DS, and a TSS. Who
 * does not prescribe any gets the same.
 */
#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define SEL_TSS  0x20

/* Descriptors (SDM vol. 3, 3.4.5): flat, present, accessed. */
#define DESC_CODE64 0x00af9b000000ffffull
#define DESC_CODE32 0x00cf9b000000ffffull
#define DESC_DATA   0x00cf93000000ffffull
#define DESC_TSS    (0x00008b0000000067ull | (LOWMEM_TSS << 16))
#define TSS_LIMIT   0x67

/* The same as access rights of struct seg_desc. */
#define ACCESS_CODE64   0xa09b
#define ACCESS_CODE32   0xc09b
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

static const uint64_t gdt64[] = {0, 0, DESC_CODE64, DESC_DATA, DESC_TSS, 0};
/* The second half of a 64-bit TSS descriptor is just an empty one here. */
static const uint64_t gdt32[] = {0, 0, DESC_CODE32, DESC_DATA, DESC_TSS, 0};

#define GDT_SIZE sizeof(gdt64)
_Static_assert(sizeof(gdt32) == GDT_SIZE, "one limit does for both");

static int write_gdt_and_tss(const struct guest_memory *memory,
			     const uint64_t *gdt)
{
	static const uint8_t tss[TSS_LIMIT + 1];
	uint64_t little[ARRAY_SIZE(gdt64)];
	int error;

	for (size_t i = 0; i < ARRAY_SIZE(little); i++)
		little[i] = htole64(gdt[i]);
	error = guest_write(memory, LOWMEM_GDT, little, sizeof(little));
	if (error == 0)
		error = guest_write(memory, LOWMEM_TSS, tss, sizeof(tss));
	return error;
}

int boot_cpu_tables64(const struct guest_memory *memory)
{
	enum { PML4, PDPT, PD, TABLES = PD + MAPPED_GIB };
	uint64_t tables[TABLES][512] = {0};
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
	error = write_gdt_and_tss(memory, gdt64);
	if (error == 0)
		error = guest_write(memory, LOWMEM_PAGE_TABLES, tables,
				    sizeof(tables));
	return error;
}

int boot_cpu_tables32(const struct guest_memory *memory)
{
	return write_gdt_and_tss(memory, gdt32);
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

/* All but CS. */
static const struct segment_value segments[] = {
    {VM_REG_GUEST_DS, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_ES, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_FS, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_GS, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_SS, SEL_DATA, 0, UINT32_MAX, ACCESS_DATA},
    {VM_REG_GUEST_TR, SEL_TSS, LOWMEM_TSS, TSS_LIMIT, ACCESS_TSS},
    {VM_REG_GUEST_LDTR, 0, 0, 0xffff, ACCESS_UNUSABLE},
};

static const struct segment_value descriptor_tables[] = {
    {VM_REG_GUEST_GDTR, 0, LOWMEM_GDT, GDT_SIZE - 1, 0},
    {VM_REG_GUEST_IDTR, 0, 0, 0, 0},
};

static int set_segment(struct vcpu *bsp, const struct segment_value *segment)
{
	if (vm_set_desc(bsp, segment->reg, segment->base, segment->limit,
			segment->access) != 0)
		return -1;
	return vm_set_register(bsp, segment->reg, segment->selector);
}

static int set_segments(struct vcpu *bsp, uint32_t code_access)
{
	const struct segment_value cs = {VM_REG_GUEST_CS, SEL_CODE, 0,
					 UINT32_MAX, code_access};

	if (set_segment(bsp, &cs) != 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		if (set_segment(bsp, &segments[i]) != 0)
			return -1;
	}
	for (size_t i = 0; i < ARRAY_SIZE(descriptor_tables); i++) {
		const struct segment_value *table = &descriptor_tables[i];

		if (vm_set_desc(bsp, table->reg, table->base, table->limit,
				0) != 0)
			return -1;
	}
	return 0;
}

static int set_values(struct vcpu *bsp, const struct register_value *values,
		      size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (vm_set_register(bsp, values[i].reg, values[i].value) != 0)
			return -1;
	}
	return 0;
}

static int set_all(struct vcpu *bsp, const struct register_value *values,
		   size_t count, uint32_t code_access, struct err *err)
{
	struct vmctx *ctx = vcpu_ctx(bsp);
	bool begun = vm_batch_begin(ctx) == 0;
	bool done = begun && vcpu_reset(bsp) == 0 &&
		    set_values(bsp, values, count) == 0 &&
		    set_segments(bsp, code_access) == 0;
	int error = 0;

	if (!done)
		error = err_set(err, errno,
				"cannot set the boot CPU's registers: %s",
				vm_error_text());
	if (begun && vm_batch_end(ctx) != 0 && error == 0)
		error = err_set(err, errno, "%s", vm_error_text());
	return error;
}

int boot_cpu_registers64(struct vcpu *bsp, uint64_t entry, struct err *err)
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

	return set_all(bsp, values, ARRAY_SIZE(values), ACCESS_CODE64, err);
}

int boot_cpu_registers_linux32(struct vcpu *bsp, uint32_t entry,
			       struct err *err)
{
	const struct register_value values[] = {
	    {VM_REG_GUEST_EFER, 0},
	    {VM_REG_GUEST_CR4, 0},
	    {VM_REG_GUEST_CR0, CR0_ET | CR0_PE},
	    {VM_REG_GUEST_RFLAGS, RFLAGS_ONE},
	    {VM_REG_GUEST_RIP, entry},
	    {VM_REG_GUEST_RSP, LOWMEM_STACK_TOP},
	    {VM_REG_GUEST_RSI, LOWMEM_BOOT_PARAMS},
	    {VM_REG_GUEST_RBX, 0},
	    {VM_REG_GUEST_RBP, 0},
	    {VM_REG_GUEST_RDI, 0},
	};

	return set_all(bsp, values, ARRAY_SIZE(values), ACCESS_CODE32, err);
}

int boot_cpu_registers32(struct vcpu *bsp, uint32_t entry, uint32_t eax,
			 uint32_t ebx, struct err *err)
{
	/* PVH wants every writable bit of CR0 but PE, and of CR4, clear. */
	const struct register_value values[] = {
	    {VM_REG_GUEST_EFER, 0},
	    {VM_REG_GUEST_CR4, 0},
	    {VM_REG_GUEST_CR0, CR0_ET | CR0_PE},
	    {VM_REG_GUEST_RFLAGS, RFLAGS_ONE},
	    {VM_REG_GUEST_RIP, entry},
	    {VM_REG_GUEST_RAX, eax},
	    {VM_REG_GUEST_RBX, ebx},
	    /* Undefined by both, but a stack does no harm. */
	    {VM_REG_GUEST_RSP, LOWMEM_STACK_TOP},
	};

	return set_all(bsp, values, ARRAY_SIZE(values), ACCESS_CODE32, err);
}
