/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory as instructions see it: one probe of the current TLB table,
 * out of line for everything else (other page, page crossing, MMIO, code
 * pages, non-canonical addresses). The probe compares the page of the last
 * byte with the tag at the first byte's index, which a crossing cannot match.
 */
#ifndef SOFT_ACCESS_H
#define SOFT_ACCESS_H

#include "vmm/soft/cpu.h"

#define PAGE_BASE(va) ((va) & ~0xfffull)

static inline struct tlb_entry *tlb_at(struct cpu *c, uint64_t va)
{
	return &c->tlb->entry[(va >> 12) & (TLB_SIZE - 1)];
}

/* The linear address of i's memory operand of len bytes. */
static inline uint64_t operand_va(struct cpu *c, const struct insn *i,
				  unsigned len, enum access access)
{
	uint64_t offset = REG64(c, i->base) + (REG64(c, i->index) << i->scale) +
			  (uint64_t)i->disp;

	if (unlikely(i->flags & INSN_EA_SLOW))
		return ea_slow(c, i, offset, len, access);
	return offset;
}

#define LOAD(bits)                                                             \
	static inline uint##bits##_t load##bits(                               \
	    struct cpu *c, const struct insn *i, uint64_t va)                  \
	{                                                                      \
		const struct tlb_entry *e = tlb_at(c, va);                     \
		if (likely(PAGE_BASE(va + bits / 8 - 1) == e->tag_read))       \
			return *(const uint##bits##_t *)(va + e->addend);      \
		return (uint##bits##_t)load_slow(c, i, va, bits / 8);          \
	}
LOAD(8)
LOAD(16)
LOAD(32)
LOAD(64)
#undef LOAD

#define STORE(bits)                                                            \
	static inline void store##bits(struct cpu *c, const struct insn *i,    \
				       uint64_t va, uint##bits##_t value)      \
	{                                                                      \
		const struct tlb_entry *e = tlb_at(c, va);                     \
		if (likely(PAGE_BASE(va + bits / 8 - 1) == e->tag_write))      \
			*(uint##bits##_t *)(va + e->addend) = value;           \
		else                                                           \
			store_slow(c, i, va, value, bits / 8);                 \
	}
STORE(8)
STORE(16)
STORE(32)
STORE(64)
#undef STORE

/*
 * A host pointer to an operand of len bytes (at most sizeof(c->bounce)) for
 * reading (ACCESS_READ) or for reading and writing (ACCESS_WRITE): into RAM,
 * or the bounce buffer. Both pages are checked first. After a write,
 * operand_end() carries a bounced operand back.
 */
static inline void *operand(struct cpu *c, const struct insn *i, uint64_t va,
			    unsigned len, enum access access)
{
	const struct tlb_entry *e = tlb_at(c, va);
	uint64_t tag = access == ACCESS_WRITE ? e->tag_write : e->tag_read;

	if (likely(PAGE_BASE(va + len - 1) == tag))
		return (void *)(va + e->addend);
	return operand_slow(c, i, va, len, access);
}

static inline void operand_end(struct cpu *c, const struct insn *i)
{
	if (unlikely(c->bounce_len != 0))
		operand_end_slow(c, i);
}

#endif
