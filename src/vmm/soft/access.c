/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slow sides of access.h: TLB misses, page crossings, pages with code,
 * misalignment that counts, and memory that is not RAM.
 */
#include "vmm/soft/access.h"
#include "vmm/mem.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/io.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/smc.h"
#include "vmm/soft/split.h"

/* The page of gpa is memory for such an access. ROM is not written to: what
   the guest stores there is dropped where devices answer (vmm/bus.c). */
static bool in_memory(const struct cpu *c, uint64_t gpa, enum access access)
{
	const struct vm_mem *mem = &c->svm->vm->mem;

	return access == ACCESS_WRITE
		   ? mem_is_ram(mem, PAGE_BASE(gpa), 4096)
		   : mem_is_readable(mem, PAGE_BASE(gpa), 4096);
}

static void check_alignment(struct cpu *c, const struct insn *i, uint64_t va,
			    unsigned len)
{
	if (c->align_check && (len & (len - 1)) == 0 && (va & (len - 1)) != 0)
		soft_raise(c, i, X86_AC, 0, 0);
}

/* Pages with data breakpoints are never in the TLB: it comes here. */
static void check_breakpoints(struct cpu *c, const struct insn *i, uint64_t va,
			      unsigned len, enum access access)
{
	if (unlikely(c->debug_data != 0))
		debug_data(c, i, va, len, access);
}

static bool crosses_page(uint64_t va, unsigned len)
{
	return (va & 4095) + len > 4096;
}

/* -- one page
 * ------------------------------------------------------------------- */

/* In one piece, as another vCPU may be writing it. */
static uint64_t ram_load(const struct cpu *c, uint64_t gpa, unsigned len)
{
	const uint8_t *p = c->ram + gpa;
	uint64_t value = 0;

	if (len == 8)
		return *(const volatile uint64_t *)(const void *)p;
	if (len == 4)
		return *(const volatile uint32_t *)(const void *)p;
	if (len == 2)
		return *(const volatile uint16_t *)(const void *)p;
	for (unsigned n = 0; n < len; n++)
		value |= (uint64_t)p[n] << 8 * n;
	return value;
}

static uint64_t load_page(struct cpu *c, const struct insn *i, uint64_t va,
			  unsigned len, bool as_supervisor)
{
	uint64_t gpa = mmu_translate_as(c, i, va, ACCESS_READ, as_supervisor);

	return in_memory(c, gpa, ACCESS_READ) ? ram_load(c, gpa, len)
					      : device_read(c, i, va, gpa, len);
}

RACES_ALLOWED static void ram_store(struct cpu *c, uint64_t gpa, uint64_t value,
				    unsigned len)
{
	uint8_t *p = c->ram + gpa;

	/* In one piece, as another vCPU may read it. */
	if (len == 8)
		*(volatile uint64_t *)(void *)p = value;
	else if (len == 4)
		*(volatile uint32_t *)(void *)p = (uint32_t)value;
	else if (len == 2)
		*(volatile uint16_t *)(void *)p = (uint16_t)value;
	else
		for (unsigned n = 0; n < len; n++)
			p[n] = (uint8_t)(value >> 8 * n);
}

static void store_gpa(struct cpu *c, const struct insn *i, uint64_t va,
		      uint64_t gpa, uint64_t value, unsigned len)
{
	if (!in_memory(c, gpa, ACCESS_WRITE)) {
		device_write(c, i, va, gpa, len, value);
		return;
	}
	ram_store(c, gpa, value, len);
	smc_stored(c, gpa, len);
}

/* -- any
 * ------------------------------------------------------------------------- */

static uint64_t load_any(struct cpu *c, const struct insn *i, uint64_t va,
			 unsigned len, bool as_supervisor)
{
	unsigned first = 4096 - (va & 4095);
	uint64_t low, high;

	if (!crosses_page(va, len))
		return load_page(c, i, va, len, as_supervisor);
	/* Both pages before anything is read from a device. */
	mmu_translate_as(c, i, va, ACCESS_READ, as_supervisor);
	mmu_translate_as(c, i, va + first, ACCESS_READ, as_supervisor);
	low = load_page(c, i, va, first, as_supervisor);
	high = load_page(c, i, va + first, len - first, as_supervisor);
	return low | high << (8 * first);
}

static void store_any(struct cpu *c, const struct insn *i, uint64_t va,
		      uint64_t value, unsigned len, bool as_supervisor)
{
	unsigned first = 4096 - (va & 4095);
	uint64_t gpa = mmu_translate_as(c, i, va, ACCESS_WRITE, as_supervisor);
	uint64_t gpa2;

	if (!crosses_page(va, len)) {
		store_gpa(c, i, va, gpa, value, len);
		return;
	}
	gpa2 = mmu_translate_as(c, i, va + first, ACCESS_WRITE, as_supervisor);
	store_gpa(c, i, va, gpa, value, first);
	store_gpa(c, i, va + first, gpa2, value >> (8 * first), len - first);
}

uint64_t load_slow(struct cpu *c, const struct insn *i, uint64_t va,
		   unsigned len)
{
	check_alignment(c, i, va, len);
	check_breakpoints(c, i, va, len, ACCESS_READ);
	return load_any(c, i, va, len, false);
}

void store_slow(struct cpu *c, const struct insn *i, uint64_t va,
		uint64_t value, unsigned len)
{
	check_alignment(c, i, va, len);
	check_breakpoints(c, i, va, len, ACCESS_WRITE);
	store_any(c, i, va, value, len, false);
}

uint64_t system_load(struct cpu *c, const struct insn *i, uint64_t va,
		     unsigned len)
{
	const struct tlb *t = tlb_system(c);
	unsigned n = tlb_place(va);

	if (likely(tlb_match(t->read[n], va + len - 1)))
		return ram_load(c, va + t->addend[n] - (uint64_t)c->ram, len);
	return load_any(c, i, va, len, true);
}

void system_store(struct cpu *c, const struct insn *i, uint64_t va,
		  uint64_t value, unsigned len)
{
	const struct tlb *t = tlb_system(c);
	unsigned n = tlb_place(va);

	if (likely(tlb_match(t->write[n], va + len - 1)))
		ram_store(c, va + t->addend[n] - (uint64_t)c->ram, value, len);
	else
		store_any(c, i, va, value, len, true);
}

/* -- operands in place, or bounced
 * -------------------------------------------------- */

static void *bounce(struct cpu *c, const struct insn *i, uint64_t va,
		    unsigned len, enum access access)
{
	for (unsigned n = 0; n < len;) {
		uint64_t at = va + n;
		unsigned part = MIN(len - n, 8u);

		part = MIN(part, 4096 - (unsigned)(at & 4095));
		if (access == ACCESS_WRITE)
			mmu_translate(c, i, at, ACCESS_WRITE);
		/* Devices see whole accesses of 1, 2, 4 or 8 bytes. */
		while (part & (part - 1))
			part &= part - 1;
		uint64_t value = load_page(c, i, at, part, false);

		copy_bytes(c->bounce + n, &value, part);
		n += part;
	}
	if (access == ACCESS_WRITE) {
		c->bounce_va = va;
		c->bounce_len = len;
	}
	return c->bounce;
}

/*
 * The caller is about to write through a pointer: the page holds no code, and
 * is noted as writable here, so that whoever decodes from it asks us first.
 */
static void make_writable(struct cpu *c, const struct insn *i, uint64_t va,
			  uint64_t gpa)
{
	while (!smc_may_write(c, PAGE_BASE(gpa))) {
		smc_drop_page(c, gpa);
		mmu_translate(c, i, va, ACCESS_WRITE);
	}
}

/* XCHG with memory locks without the prefix. */
static bool is_locked(const struct insn *i)
{
	return (i->flags & INSN_LOCK) ||
	       (i->op != OP_NONE_ROW && opcode_table[i->op].handler == &h_xchg);
}

void *operand_slow(struct cpu *c, const struct insn *i, uint64_t va,
		   unsigned len, enum access access)
{
	uint64_t gpa;
	void *p;

	check_alignment(c, i, va, len);
	check_breakpoints(c, i, va, len, access);
	if (!crosses_page(va, len)) {
		gpa = mmu_translate(c, i, va, access);
		if (in_memory(c, gpa, access)) {
			if (access == ACCESS_WRITE)
				make_writable(c, i, va, gpa);
			return c->ram + gpa;
		}
	} else {
		uint64_t end = PAGE_BASE(va + len - 1), gpa2;

		gpa = mmu_translate(c, i, va, access);
		gpa2 = mmu_translate(c, i, end, access);
		if (access == ACCESS_WRITE && i != NULL && is_locked(i) &&
		    in_memory(c, gpa, access) && in_memory(c, gpa2, access)) {
			make_writable(c, i, va, gpa);
			make_writable(c, i, end, gpa2);
			p = split_operand(c, gpa, gpa2);
			if (p != NULL)
				return p;
		}
	}
	return bounce(c, i, va, len, access);
}

void operand_end_slow(struct cpu *c, const struct insn *i)
{
	unsigned len = c->bounce_len;

	c->bounce_len = 0;
	for (unsigned n = 0; n < len;) {
		uint64_t at = c->bounce_va + n, value = 0;
		unsigned part = MIN(len - n, 8u);

		part = MIN(part, 4096 - (unsigned)(at & 4095));
		while (part & (part - 1))
			part &= part - 1;
		copy_bytes(&value, c->bounce + n, part);
		store_any(c, i, at, value, part, false);
		n += part;
	}
}
