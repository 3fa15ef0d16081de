/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The page walk (SDM vol. 3, chapter 5): 32-bit, PAE, 4- and 5-level paging,
 * permissions, accessed and dirty bits.
 */
#include "vmm/soft/mmu.h"

#include "vmm/cpuid.h"
#include "vmm/mem.h"
#include "vmm/soft/access.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/smc.h"
#include "vmm/soft/tlb.h"
#include "vmm/soft/vec.h"
#include "x86/features.h"

#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_U  BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_G  BIT(8)
#define PTE_NX BIT(63)

/* A walk under way. */
struct walk {
	uint64_t va;
	enum access access;
	bool user; /* CPL 3, and not a system access */
	bool smap; /* supervisor may not touch user pages */
	uint64_t entry_gpa, entry;
	unsigned entry_bytes;
	bool w, u, nx; /* all levels so far allow */
	uint32_t error;
};

static bool entry_load(struct cpu *c, struct walk *w)
{
	const void *p =
	    mem_hva_readable(&c->svm->vm->mem, w->entry_gpa, w->entry_bytes);

	if (p == NULL)
		return false;
	w->entry = w->entry_bytes == 8
		       ? __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED)
		       : __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
	return true;
}

/*
 * Sets bits of the entry if it still is what was read; false: walk again. In
 * ROM they are not kept, and the walk goes on.
 */
static bool entry_set(struct cpu *c, struct walk *w, uint64_t bits)
{
	uint8_t *p = c->ram + w->entry_gpa;
	uint64_t was64 = w->entry;
	uint32_t was32 = (uint32_t)w->entry;
	bool done;

	if ((w->entry & bits) == bits ||
	    !mem_is_ram(&c->svm->vm->mem, w->entry_gpa, w->entry_bytes))
		return true;
	if (w->entry_bytes == 8)
		done = __atomic_compare_exchange_n(
		    (uint64_t *)(void *)p, &was64, w->entry | bits, false,
		    __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	else
		done = __atomic_compare_exchange_n(
		    (uint32_t *)(void *)p, &was32, (uint32_t)(w->entry | bits),
		    false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	smc_stored(c, w->entry_gpa, w->entry_bytes);
	return done;
}

enum walk_result { WALK_OK, WALK_FAULT, WALK_AGAIN };

static enum walk_result fault(struct walk *w, uint32_t bits)
{
	w->error = bits;
	return WALK_FAULT;
}

/* One level that points to another table. */
static enum walk_result descend(struct cpu *c, struct walk *w,
				uint64_t reserved)
{
	if (!entry_load(c, w) || !(w->entry & PTE_P))
		return fault(w, 0);
	if (w->entry & reserved)
		return fault(w, PF_PRESENT | PF_RESERVED);
	w->w &= (w->entry & PTE_W) != 0;
	w->u &= (w->entry & PTE_U) != 0;
	w->nx |= (w->entry & PTE_NX) != 0;
	return WALK_OK;
}

/* May the access be, by the rights of the whole walk (SDM vol. 3, 5.6)? */
static bool allowed(const struct cpu *c, const struct walk *w,
		    enum access access)
{
	bool nx = w->nx && (c->efer & EFER_NXE);

	if (w->user) {
		if (!w->u)
			return false;
		return access == ACCESS_WRITE ? w->w
					      : !(access == ACCESS_EXEC && nx);
	}
	if (access == ACCESS_EXEC)
		return !nx && !(w->u && (c->cr4 & CR4_SMEP));
	if (w->u && w->smap)
		return false;
	return access == ACCESS_READ || w->w || !(c->cr0 & CR0_WP);
}

static enum walk_result leaf(struct cpu *c, struct walk *w, unsigned bits,
			     uint64_t frame_mask, struct translation *tr)
{
	uint64_t set = PTE_A | (w->access == ACCESS_WRITE ? PTE_D : 0);

	if (!allowed(c, w, w->access))
		return fault(w, PF_PRESENT);
	if (!entry_set(c, w, set))
		return WALK_AGAIN;
	*tr = (struct translation){
	    .gpa = (w->entry & frame_mask & ~MASK(bits - 1, 0)) |
		   (w->va & MASK(bits - 1, 0)),
	    .page_bits = bits,
	    .can_read = allowed(c, w, ACCESS_READ),
	    .can_exec = allowed(c, w, ACCESS_EXEC),
	    .can_write =
		((w->entry | set) & PTE_D) && allowed(c, w, ACCESS_WRITE),
	    .global = (w->entry & PTE_G) && (c->cr4 & CR4_PGE),
	};
	if (bits == 12 && w->entry_bytes == 8) {
		tr->entry = w->entry | set;
		tr->entry_at = mem_hva_readable(&c->svm->vm->mem, w->entry_gpa,
						sizeof(tr->entry));
	}
	return WALK_OK;
}

bool mmu_is_run(const struct translation *tr, uint64_t va, int pages)
{
	int place = (int)(va >> 12 & 511) + pages;

	return tr->entry_at != NULL && tr->entry & PTE_A && place >= 0 &&
	       place < 512 &&
	       __atomic_load_n(tr->entry_at + pages, __ATOMIC_RELAXED) ==
		   tr->entry + (uint64_t)pages * 4096;
}

/* -- the formats
 * ------------------------------------------------------------------ */

/* IA-32e and PAE: 8-byte entries, 9 bits a level, from level top down to 1. */
static enum walk_result walk_64bit_entries(struct cpu *c, struct walk *w,
					   unsigned top, uint64_t table,
					   struct translation *tr)
{
	bool lma = is_long_mode(c);
	uint64_t high = lma ? MASK(51, 0) & ~c->svm->phys_mask
			    : MASK(62, 0) & ~c->svm->phys_mask;
	uint64_t nx = c->efer & EFER_NXE ? 0 : PTE_NX;
	uint64_t frame = c->svm->phys_mask & ~0xfffull;

	for (unsigned level = top;; level--) {
		unsigned shift = 12 + 9 * (level - 1);
		uint64_t reserved = high | nx;
		enum walk_result result;

		w->entry_bytes = 8;
		w->entry_gpa = table + (w->va >> shift & 511) * 8;
		if (level > 3)
			reserved |= PTE_PS;
		result = descend(c, w, reserved);
		if (result != WALK_OK)
			return result;
		if (level == 1)
			return leaf(c, w, 12, frame, tr);
		if (w->entry & PTE_PS) {
			if (level == 3 && (!lma || !c->svm->has_1g_pages))
				return fault(w, PF_PRESENT | PF_RESERVED);
			/* Bit 12 is PAT; the rest below the frame is zero. */
			if (w->entry & MASK(shift - 1, 13))
				return fault(w, PF_PRESENT | PF_RESERVED);
			return leaf(c, w, shift, frame, tr);
		}
		if (!entry_set(c, w, PTE_A))
			return WALK_AGAIN;
		table = w->entry & frame;
	}
}

static enum walk_result walk_pae(struct cpu *c, struct walk *w,
				 struct translation *tr)
{
	uint64_t pdpte = c->pdpte[w->va >> 30 & 3];

	if (!(pdpte & PTE_P))
		return fault(w, 0);
	return walk_64bit_entries(c, w, 2,
				  pdpte & c->svm->phys_mask & ~0xfffull, tr);
}

static enum walk_result walk_32bit(struct cpu *c, struct walk *w,
				   struct translation *tr)
{
	enum walk_result result;

	w->entry_bytes = 4;
	w->entry_gpa = (c->cr3 & 0xfffff000) + (w->va >> 22 & 1023) * 4;
	result = descend(c, w, 0);
	if (result != WALK_OK)
		return result;
	if ((w->entry & PTE_PS) && (c->cr4 & CR4_PSE)) {
		/* PSE-36: bits 20:13 are address bits 39:32. */
		uint64_t high = (w->entry >> 13 & 0xff) << 32;

		if (w->entry & BIT(21) || high & ~c->svm->phys_mask)
			return fault(w, PF_PRESENT | PF_RESERVED);
		result = leaf(c, w, 22, 0xffc00000, tr);
		tr->gpa |= high;
		return result;
	}
	if (!entry_set(c, w, PTE_A))
		return WALK_AGAIN;
	w->entry_gpa = (w->entry & 0xfffff000) + (w->va >> 12 & 1023) * 4;
	result = descend(c, w, 0);
	return result != WALK_OK ? result : leaf(c, w, 12, 0xfffff000, tr);
}

static enum walk_result walk(struct cpu *c, struct walk *w,
			     struct translation *tr)
{
	w->w = w->u = true;
	w->nx = false;
	if (is_long_mode(c)) {
		bool la57 = (c->cr4 & CR4_LA57) != 0;

		return walk_64bit_entries(
		    c, w, la57 ? 5 : 4, c->cr3 & c->svm->phys_mask & ~0xfffull,
		    tr);
	}
	return c->cr4 & CR4_PAE ? walk_pae(c, w, tr) : walk_32bit(c, w, tr);
}

/* Until no other vCPU changed an entry meanwhile. */
static enum walk_result walk_to_end(struct cpu *c, struct walk *w,
				    struct translation *tr)
{
	enum walk_result result;

	do
		result = walk(c, w, tr);
	while (result == WALK_AGAIN);
	return result;
}

static void no_paging(const struct cpu *c, uint64_t va, struct translation *tr)
{
	*tr = (struct translation){.gpa = va,
				   .page_bits = 12,
				   .can_read = true,
				   .can_write = true,
				   .can_exec = true,
				   .global = false};
}

/* -- the way in
 * --------------------------------------------------------------------- */

bool is_canonical_base(const struct cpu *c, uint64_t base)
{
	bool wide = cpu_model_has(c->svm->vm->cpu_model, X86_FEATURE_LA57);
	unsigned unused = wide ? 7 : 16;

	return (int64_t)(base << unused) >> unused == (int64_t)base;
}

static _Noreturn void raise_noncanonical(struct cpu *c, const struct insn *i)
{
	soft_raise(c, i, i != NULL && i->seg == SEG_SS ? X86_SS : X86_GP, 0, 0);
}

static _Noreturn void raise_pf(struct cpu *c, const struct insn *i,
			       const struct walk *w)
{
	bool fetch_counts =
	    (c->efer & EFER_NXE && c->cr4 & CR4_PAE) || (c->cr4 & CR4_SMEP);
	uint32_t error = w->error;

	if (w->access == ACCESS_WRITE)
		error |= PF_WRITE;
	if (w->user)
		error |= PF_USER;
	if (w->access == ACCESS_EXEC && fetch_counts)
		error |= PF_FETCH;
	soft_raise(c, i, X86_PF, error, w->va);
}

/* Vector state that was live is again: translated code that misses goes on
   with it. */
static void populate(struct cpu *c, uint64_t gpa)
{
	bool live = c->vec_live;

	vec_leave(c);
	mem_populate(&c->svm->vm->mem, gpa);
	if (live)
		vec_enter(c);
}

/* Devices are not in the TLB, and ROM not for writing. */
static void remember(struct cpu *c, struct tlb *t, uint64_t va,
		     struct translation *tr)
{
	const struct vm_mem *mem = &c->svm->vm->mem;
	bool is_ram = mem_is_ram(mem, PAGE_BASE(tr->gpa), 4096);

	if (!is_ram && !mem_is_readable(mem, PAGE_BASE(tr->gpa), 4096))
		return;
	if (is_ram && unlikely(!mem_is_populated(mem, tr->gpa)))
		populate(c, tr->gpa);
	tr->can_write &= is_ram;
	tlb_fill(c, t, va, tr->gpa, tr);
}

uint64_t mmu_translate_as(struct cpu *c, const struct insn *i, uint64_t va,
			  enum access access, bool as_supervisor)
{
	struct walk w = {
	    .va = va, .access = access, .user = c->cpl == 3 && !as_supervisor};
	struct translation tr;

	if (is_long_mode(c) && !is_canonical(c, va))
		raise_noncanonical(c, i);
	if (!is_long_mode(c))
		w.va = va = (uint32_t)va;
	/* An implicit supervisor access at CPL 3 ignores AC. */
	w.smap = (c->cr4 & CR4_SMAP) &&
		 (!(c->flags & RFLAGS_AC) || (as_supervisor && c->cpl == 3));
	if (!(c->cr0 & CR0_PG)) {
		no_paging(c, va, &tr);
	} else if (walk_to_end(c, &w, &tr) == WALK_FAULT) {
		raise_pf(c, i, &w);
	}
	if (as_supervisor)
		remember(c, tlb_system(c), va, &tr);
	else if (!c->align_check)
		remember(c, tlb_current(c), va, &tr);
	return tr.gpa;
}

bool mmu_refill(struct cpu *c, struct tlb *t, uint64_t va, enum access access,
		struct translation *tr)
{
	struct walk w = {.va = va, .access = access, .user = c->cpl == 3};

	/* In 32-bit code a segment that is not open leads to no address. */
	if (is_long_mode(c) ? !is_canonical(c, va) : va >> 32 != 0)
		return false;
	if (c->align_check)
		return false;
	w.smap = (c->cr4 & CR4_SMAP) && !(c->flags & RFLAGS_AC);
	if (!(c->cr0 & CR0_PG))
		no_paging(c, va, tr);
	else if (walk_to_end(c, &w, tr) != WALK_OK)
		return false;
	remember(c, tlb_current(c), va, tr);
	return c->tlb == t && tlb_has(t, va, access);
}

uint64_t mmu_translate(struct cpu *c, const struct insn *i, uint64_t va,
		       enum access access)
{
	return mmu_translate_as(c, i, va, access, false);
}

bool mmu_load_pdptes(struct cpu *c, uint64_t cr3)
{
	uint64_t pdpte[4];
	const uint64_t *p =
	    mem_hva_readable(&c->svm->vm->mem, cr3 & 0xffffffe0, 32);
	uint64_t reserved =
	    (MASK(63, 0) & ~c->svm->phys_mask) | MASK(8, 5) | MASK(2, 1);

	for (unsigned n = 0; n < 4; n++) {
		pdpte[n] =
		    p != NULL ? __atomic_load_n(&p[n], __ATOMIC_RELAXED) : 0;
		if ((pdpte[n] & PTE_P) && (pdpte[n] & reserved))
			return false;
	}
	for (unsigned n = 0; n < 4; n++)
		c->pdpte[n] = pdpte[n];
	return true;
}
