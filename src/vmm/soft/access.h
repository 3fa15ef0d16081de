/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory as instructions see it: one probe of the current TLB table,
 * out of line for everything else (other page, page crossing, MMIO, code
 * pages, non-canonical addresses). The probe compares the page of the last
 * byte with the tag at the first byte's index, which a crossing cannot match.
 */
#ifndef SOFT_ACCESS_H
#define SOFT_ACCESS_H

#include "vmm/soft/bytes.h"
#include "vmm/soft/cpu.h"

/* access.c: slow sides, and system accesses (as the supervisor). */
uint64_t load_slow(struct cpu *c, const struct insn *i, uint64_t va,
		   unsigned len);
void store_slow(struct cpu *c, const struct insn *i, uint64_t va,
		uint64_t value, unsigned len);
void *operand_slow(struct cpu *c, const struct insn *i, uint64_t va,
		   unsigned len, enum access access);
void operand_end_slow(struct cpu *c, const struct insn *i);
uint64_t system_load(struct cpu *c, const struct insn *i, uint64_t va,
		     unsigned len);
void system_store(struct cpu *c, const struct insn *i, uint64_t va,
		  uint64_t value, unsigned len);
/* seg.c: address size, segment base, limit and type checks: the linear address.
 */
uint64_t ea_slow(struct cpu *c, const struct insn *i, uint64_t offset,
		 unsigned len, enum access access);
/* The same for an explicit segment (stack, strings), offset already cut to
   the address size. Cheap in 64-bit mode. */
uint64_t seg_linear(struct cpu *c, const struct insn *i, enum seg_index seg,
		    uint64_t offset, unsigned len, enum access access);
/* Any 4 GiB from its base may be read and written in it. */
bool segment_is_open(const struct segment *s);

#define PAGE_BASE(va) ((va) & ~0xfffull)

/* The place of va in a table. */
static inline unsigned tlb_place(uint64_t va)
{
	return (va >> 12) & (TLB_SIZE - 1);
}

/* Do tag and the page of va agree? */
static inline bool tlb_match(uint64_t tag, uint64_t va)
{
	return PAGE_BASE(va) + tag == 0;
}

static inline bool tlb_has(const struct tlb *t, uint64_t va, enum access access)
{
	const uint64_t *tags = access == ACCESS_READ    ? t->read
			       : access == ACCESS_WRITE ? t->write
							: t->exec;

	return tlb_match(tags[tlb_place(va)], va);
}

/* The host's address of [va, va + len), or NULL when it takes the slow way. */
static inline void *tlb_read(const struct cpu *c, uint64_t va, unsigned len)
{
	const struct tlb *t = c->tlb;
	unsigned n = tlb_place(va);

	return likely(tlb_match(t->read[n], va + len - 1))
		   ? (void *)(va + t->addend[n])
		   : NULL;
}

static inline void *tlb_write(const struct cpu *c, uint64_t va, unsigned len)
{
	const struct tlb *t = c->tlb;
	unsigned n = tlb_place(va);

	return likely(tlb_match(t->write[n], va + len - 1))
		   ? (void *)(va + t->addend[n])
		   : NULL;
}

/* What i's memory operand is at, before segment and address size. */
static inline uint64_t operand_offset(const struct cpu *c, const struct insn *i)
{
	return REG64(c, i->base) + (REG64(c, i->index) << i->scale) +
	       (uint64_t)i->disp;
}

/* The linear address of i's memory operand of len bytes. */
static inline uint64_t operand_va(struct cpu *c, const struct insn *i,
				  unsigned len, enum access access)
{
	uint64_t offset = operand_offset(c, i);

	if (unlikely(i->flags & INSN_EA_SLOW))
		return ea_slow(c, i, offset, len, access);
	return offset;
}

#define LOAD(bits)                                                             \
	RACES_ALLOWED static inline uint##bits##_t load##bits(                 \
	    struct cpu *c, const struct insn *i, uint64_t va)                  \
	{                                                                      \
		const void *p = tlb_read(c, va, bits / 8);                     \
		if (likely(p != NULL))                                         \
			return *(const uint##bits##_t *)p;                     \
		return (uint##bits##_t)load_slow(c, i, va, bits / 8);          \
	}
LOAD(8)
LOAD(16)
LOAD(32)
LOAD(64)
#undef LOAD

#define STORE(bits)                                                            \
	RACES_ALLOWED static inline void store##bits(                          \
	    struct cpu *c, const struct insn *i, uint64_t va,                  \
	    uint##bits##_t value)                                              \
	{                                                                      \
		void *p = tlb_write(c, va, bits / 8);                          \
		if (likely(p != NULL))                                         \
			*(uint##bits##_t *)p = value;                          \
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
	void *p = access == ACCESS_WRITE ? tlb_write(c, va, len)
					 : tlb_read(c, va, len);

	if (likely(p != NULL))
		return p;
	return operand_slow(c, i, va, len, access);
}

static inline void operand_end(struct cpu *c, const struct insn *i)
{
	if (unlikely(c->bounce_len != 0))
		operand_end_slow(c, i);
}

#endif
