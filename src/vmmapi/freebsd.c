// SPDX-License-Identifier: BSD-2-Clause
/*
 * The states in which FreeBSD's kernel is entered by its own loader: 64-bit
 * with the loader's page tables, or 32-bit protected mode without paging. The
 * GDT is null, code, data.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include "vmmapi/door.h"
#include "x86/cr.h"

#define SEL_CODE  0x08
#define SEL_DATA  0x10
#define GDT_SIZE  24
#define GDT_LIMIT (GDT_SIZE - 1)

/* Descriptors (SDM vol. 3, 3.4.5) and the same as access rights. */
#define DESC_CODE64     0x0020980000000000ull
#define DESC_DATA64     0x0000900000000000ull
#define DESC_CODE32     0x00cf9b000000ffffull
#define DESC_DATA32     0x00cf93000000ffffull
#define ACCESS_CODE64   0x209b
#define ACCESS_CODE32   0xc09b
#define ACCESS_DATA     0xc093
#define ACCESS_TSS      0x008b
#define ACCESS_UNUSABLE 0x10000

struct entry {
	uint64_t cr0, cr3, cr4, efer, rip, rsp, gdt;
	uint32_t code_access;
};

static int set_values(struct vcpu *vcpu, const struct entry *e)
{
	static const int regs[] = {
	    VM_REG_GUEST_EFER,   VM_REG_GUEST_CR4, VM_REG_GUEST_CR3,
	    VM_REG_GUEST_CR0,    VM_REG_GUEST_RIP, VM_REG_GUEST_RSP,
	    VM_REG_GUEST_RFLAGS, VM_REG_GUEST_CS,  VM_REG_GUEST_DS,
	    VM_REG_GUEST_ES,     VM_REG_GUEST_FS,  VM_REG_GUEST_GS,
	    VM_REG_GUEST_SS,     VM_REG_GUEST_TR,  VM_REG_GUEST_LDTR};
	uint64_t values[] = {e->efer,  e->cr4,     e->cr3,   e->cr0,   e->rip,
			     e->rsp,   RFLAGS_ONE, SEL_CODE, SEL_DATA, SEL_DATA,
			     SEL_DATA, SEL_DATA,   SEL_DATA, 0,        0};

	_Static_assert(ARRAY_SIZE(regs) == ARRAY_SIZE(values), "");
	return vm_set_register_set(vcpu, ARRAY_SIZE(regs), regs, values);
}

static int set_descriptors(struct vcpu *vcpu, const struct entry *e)
{
	static const int data[] = {VM_REG_GUEST_DS, VM_REG_GUEST_ES,
				   VM_REG_GUEST_FS, VM_REG_GUEST_GS,
				   VM_REG_GUEST_SS};

	for (size_t i = 0; i < ARRAY_SIZE(data); i++) {
		if (vm_set_desc(vcpu, data[i], 0, UINT32_MAX, ACCESS_DATA))
			return -1;
	}
	if (vm_set_desc(vcpu, VM_REG_GUEST_CS, 0, UINT32_MAX, e->code_access) !=
		0 ||
	    vm_set_desc(vcpu, VM_REG_GUEST_TR, 0, 0, ACCESS_TSS) != 0 ||
	    vm_set_desc(vcpu, VM_REG_GUEST_LDTR, 0, 0, ACCESS_UNUSABLE) != 0)
		return -1;
	return vm_set_desc(vcpu, VM_REG_GUEST_GDTR, e->gdt, GDT_LIMIT, 0);
}

static int set_entry(struct vcpu *vcpu, const struct entry *e)
{
	int error = set_values(vcpu, e);

	return error != 0 ? error : set_descriptors(vcpu, e);
}

int vm_setup_freebsd_registers(struct vcpu *vcpu, uint64_t rip, uint64_t cr3,
			       uint64_t gdtbase, uint64_t rsp)
{
	const struct entry entry = {
	    .cr0 = CR0_PE | CR0_ET | CR0_NE | CR0_PG,
	    .cr3 = cr3,
	    .cr4 = CR4_PAE,
	    .efer = EFER_LME | EFER_LMA,
	    .rip = rip,
	    .rsp = rsp,
	    .gdt = gdtbase,
	    .code_access = ACCESS_CODE64,
	};

	return set_entry(vcpu, &entry);
}

int vm_setup_freebsd_registers_i386(struct vcpu *vcpu, uint32_t eip,
				    uint32_t gdtbase, uint32_t esp)
{
	const uint64_t gdt[] = {0, htole64(DESC_CODE32), htole64(DESC_DATA32)};
	const struct entry entry = {
	    .cr0 = CR0_PE | CR0_ET | CR0_NE,
	    .rip = eip,
	    .rsp = esp,
	    .gdt = gdtbase,
	    .code_access = ACCESS_CODE32,
	};
	void *to = vm_mem_write_begin(vcpu->ctx, gdtbase, sizeof(gdt));

	if (to == NULL)
		return -1;
	memcpy(to, gdt, sizeof(gdt));
	vm_mem_write_end(vcpu->ctx, gdtbase, sizeof(gdt));
	return set_entry(vcpu, &entry);
}

void vm_setup_freebsd_gdt(uint64_t *gdtr)
{
	gdtr[0] = 0;
	gdtr[1] = DESC_CODE64;
	gdtr[2] = DESC_DATA64;
}
