// SPDX-License-Identifier: BSD-2-Clause
/* The page walk of door calls: 32-bit, PAE, 4 and 5 levels (SDM vol. 3, 4). */
#include "vmm/gla.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/vm.h"
#include "x86/cr.h"
#include "x86/exc.h"

#define PTE_P  BIT(0)
#define PTE_RW BIT(1)
#define PTE_US BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_NX BIT(63)

/* One row a paging mode. Levels count from 1, the leaf of a 4 KiB page. */
struct paging_kind {
	uint8_t levels;
	uint8_t entry_size;
	uint8_t index_bits;
	uint8_t large_levels; /* bit n: level n may be a large page */
	uint64_t cr3_mask;
};

static const struct paging_kind kinds[] = {
    [PAGING_MODE_32] = {2, 4, 10, 1 << 2, MASK(31, 12)},
    [PAGING_MODE_PAE] = {3, 8, 9, 1 << 2, MASK(31, 5)},
    [PAGING_MODE_64] = {4, 8, 9, 1 << 2 | 1 << 3, MASK(51, 12)},
    [PAGING_MODE_64_LA57] = {5, 8, 9, 1 << 2 | 1 << 3, MASK(51, 12)},
};

struct walk {
	struct vmcpu *vcpu;
	const struct paging_kind *kind;
	bool user, write, exec, nxe;
	/* permissions found on the way */
	bool allow_user, allow_write, no_exec;
	uint64_t entry_gpa[5];
	unsigned depth;
	uint64_t leaf;
	unsigned leaf_shift;
};

static int fault_at(const struct walk *walk, uint32_t bits,
		    struct gla_fault *fault)
{
	bool smep = (walk->vcpu->state.reg[VM_REG_GUEST_CR4] & CR4_SMEP) != 0;

	fault->vector = X86_PF;
	fault->error_code =
	    bits | (walk->write ? PF_WRITE : 0) | (walk->user ? PF_USER : 0);
	if (walk->exec && (walk->nxe || smep))
		fault->error_code |= PF_FETCH;
	return 1;
}

static int read_entry(struct walk *walk, uint64_t gpa, uint64_t *entry)
{
	const void *hva =
	    mem_hva_readable(&walk->vcpu->vm->mem, gpa, walk->kind->entry_size);

	if (hva == NULL)
		return -EFAULT;
	if (walk->kind->entry_size == 4)
		*entry =
		    __atomic_load_n((const uint32_t *)hva, __ATOMIC_RELAXED);
	else
		*entry =
		    __atomic_load_n((const uint64_t *)hva, __ATOMIC_RELAXED);
	walk->entry_gpa[walk->depth++] = gpa;
	return 0;
}

static bool is_large(const struct walk *walk, unsigned level, uint64_t entry)
{
	if ((entry & PTE_PS) == 0 ||
	    (walk->kind->large_levels & 1 << level) == 0)
		return false;
	return walk->kind->entry_size == 8 ||
	       (walk->vcpu->state.reg[VM_REG_GUEST_CR4] & CR4_PSE) != 0;
}

static bool is_pdpte(const struct walk *walk, unsigned level)
{
	return walk->kind == &kinds[PAGING_MODE_PAE] && level == 3;
}

static bool has_reserved(const struct walk *walk, unsigned level,
			 uint64_t entry)
{
	if (walk->kind->entry_size == 4)
		return false;
	if ((entry & PTE_NX) != 0 && (!walk->nxe || is_pdpte(walk, level)))
		return true;
	return level > 1 && (entry & PTE_PS) != 0 &&
	       !is_large(walk, level, entry);
}

static uint64_t entry_base(const struct walk *walk, uint64_t entry,
			   unsigned shift)
{
	if (walk->kind->entry_size == 8)
		return entry & MASK(51, 12) & ~(BIT(shift) - 1);
	if (shift == 22) /* PSE-36: bits 20:13 are address bits 39:32 */
		return (entry & MASK(31, 22)) | (entry & MASK(20, 13)) << 19;
	return entry & MASK(31, 12);
}

/* Down to the leaf: 0, 1 (fault), -EFAULT. */
static int walk_tables(struct walk *walk, uint64_t cr3, uint64_t gla,
		       struct gla_fault *fault)
{
	const struct paging_kind *kind = walk->kind;
	uint64_t table = cr3 & kind->cr3_mask;
	uint64_t entry = 0;
	int error;

	for (unsigned level = kind->levels; level >= 1; level--) {
		unsigned shift = 12 + kind->index_bits * (level - 1);
		uint64_t index = gla >> shift & (BIT(kind->index_bits) - 1);

		error =
		    read_entry(walk, table + index * kind->entry_size, &entry);
		if (error != 0)
			return error;
		if ((entry & PTE_P) == 0)
			return fault_at(walk, 0, fault);
		if (has_reserved(walk, level, entry))
			return fault_at(walk, PF_PRESENT | PF_RESERVED, fault);
		if (!is_pdpte(walk, level)) {
			walk->allow_user &= (entry & PTE_US) != 0;
			walk->allow_write &= (entry & PTE_RW) != 0;
			walk->no_exec |=
			    kind->entry_size == 8 && (entry & PTE_NX) != 0;
		}
		walk->leaf_shift = shift;
		table = entry_base(walk, entry, 12);
		if (is_large(walk, level, entry))
			break;
	}
	walk->leaf = entry;
	return 0;
}

/* SDM vol. 3, 4.6. */
static bool is_allowed(const struct walk *walk)
{
	const uint64_t *reg = walk->vcpu->state.reg;

	if (walk->user && !walk->allow_user)
		return false;
	if (walk->write && !walk->allow_write &&
	    (walk->user || (reg[VM_REG_GUEST_CR0] & CR0_WP) != 0))
		return false;
	if (!walk->exec)
		return true;
	if (walk->no_exec)
		return false;
	return walk->user || !walk->allow_user ||
	       (reg[VM_REG_GUEST_CR4] & CR4_SMEP) == 0;
}

static void set_bits(struct walk *walk, uint64_t gpa, uint64_t bits)
{
	struct vm *vm = walk->vcpu->vm;
	void *hva = mem_write_begin(vm, gpa, walk->kind->entry_size);

	if (hva == NULL) /* in ROM they are not kept */
		return;
	if (walk->kind->entry_size == 4)
		__atomic_fetch_or((uint32_t *)hva, (uint32_t)bits,
				  __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_or((uint64_t *)hva, bits, __ATOMIC_SEQ_CST);
	mem_write_end(vm, gpa, walk->kind->entry_size);
}

static void mark_accessed(struct walk *walk)
{
	for (unsigned i = 0; i < walk->depth; i++) {
		bool leaf = i + 1 == walk->depth;

		if (is_pdpte(walk, walk->kind->levels - i))
			continue; /* PDPTEs have no accessed bit */
		set_bits(walk, walk->entry_gpa[i],
			 PTE_A | (leaf && walk->write ? PTE_D : 0));
	}
}

static bool is_canonical(const struct paging_kind *kind, uint64_t gla)
{
	unsigned unused = 64 - (12 + kind->index_bits * kind->levels);

	return (uint64_t)((int64_t)(gla << unused) >> unused) == gla;
}

int gla_to_gpa(struct vmcpu *vcpu, const struct vm_guest_paging *paging,
	       uint64_t gla, int prot, bool mark, uint64_t *gpa,
	       struct gla_fault *fault)
{
	struct walk walk = {
	    .vcpu = vcpu,
	    .user = paging->cpl == 3,
	    .write = (prot & PROT_WRITE) != 0,
	    .exec = (prot & PROT_EXEC) != 0,
	    .nxe = (vcpu->state.reg[VM_REG_GUEST_EFER] & EFER_NXE) != 0,
	    .allow_user = true,
	    .allow_write = true,
	};
	uint64_t offset_mask;
	int error;

	if (paging->paging_mode == PAGING_MODE_FLAT) {
		*gpa = gla;
		return 0;
	}
	if ((unsigned)paging->paging_mode >= ARRAY_SIZE(kinds))
		return -EINVAL;
	walk.kind = &kinds[paging->paging_mode];
	if (paging->paging_mode < PAGING_MODE_64)
		gla = (uint32_t)gla;
	else if (!is_canonical(walk.kind, gla)) {
		*fault = (struct gla_fault){.vector = X86_GP};
		return 1;
	}
	error = walk_tables(&walk, paging->cr3, gla, fault);
	if (error != 0)
		return error;
	if (!is_allowed(&walk))
		return fault_at(&walk, PF_PRESENT, fault);
	if (mark)
		mark_accessed(&walk);
	offset_mask = BIT(walk.leaf_shift) - 1;
	*gpa =
	    entry_base(&walk, walk.leaf, walk.leaf_shift) | (gla & offset_mask);
	return 0;
}
