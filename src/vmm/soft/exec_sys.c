/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System instructions: control and debug registers, HLT, CPUID, time, caches,
 * TLB, interrupt flag, and the simple privileged rest.
 */
#include "vmm/cpuid.h"
#include "vmm/irq.h"
#include "vmm/soft/branch.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/exec.h"
#include "vmm/soft/jit/turn.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/string.h"
#include "vmm/soft/tlb.h"
#include "vmm/soft/vme.h"
#include "x86/features.h"
#include "x86/msr.h"

static bool has(const struct cpu *c, unsigned feature)
{
	return cpu_model_has(c->svm->vm->cpu_model, feature);
}

/* -- interrupts
 * -------------------------------------------------------------------- */

EXEC(cli)
{
	c->flags &= ~(vme_is_virtual(c, i) ? RFLAGS_VIF : RFLAGS_IF);
	return next(c, i);
}

/*
 * An interrupt that comes only now still waits for the instruction after STI,
 * for nobody looks before the next block's head, and that head does not where
 * STI is a block's last instruction (in_shadow).
 */
EXEC(sti)
{
	bool quiet =
	    !c->intr_check && !c->nmi_waits && !c->alone && c->kick == 0;
	bool is_last = i == &c->block->insn[c->block->count];

	if (vme_is_virtual(c, i)) {
		vme_sti(c, i);
		return next(c, i);
	}
	if (c->flags & RFLAGS_IF)
		return next(c, i);
	c->flags |= RFLAGS_IF;
	if (!quiet || (is_last && c->block->link[1] == NULL)) {
		c->intr_shadow = 1;
		return end_block(c, i);
	}
	c->in_shadow = is_last;
	return next(c, i);
}

EXEC(hlt)
{
	c->vcpu->stats[VM_STAT_HLT]++;
	c->exit->exitcode = VM_EXITCODE_HLT;
	c->exit->u.hlt.rflags = rflags_get(c);
	soft_leave(c, i, PENDING_SKIP);
}

EXEC(pause_)
{
	if (c->cap_pause) {
		c->vcpu->stats[VM_STAT_PAUSE]++;
		c->exit->exitcode = VM_EXITCODE_PAUSE;
		soft_leave(c, i, PENDING_SKIP);
	}
	/* A lock may be held by a vCPU whose thread does not run. */
	turn_look_away(++c->pauses);
	return end_block(c, i);
}

const struct handler h_cli = {.one = cli}, h_sti = {.one = sti},
		     h_hlt = {.one = hlt}, h_pause = {.one = pause_};

/* Not #GP, as elsewhere (SDM vol. 2). */
static void check_cpl_ud(struct cpu *c, const struct insn *i)
{
	if (c->cpl != 0)
		raise_ud(c, i);
}

/* At CPL 0 AC only says which TLB table is used. */
static const struct insn *set_ac(struct cpu *c, const struct insn *i,
				 uint32_t ac)
{
	c->flags = (c->flags & ~RFLAGS_AC) | ac;
	c->tlb = tlb_current(c);
	return next(c, i);
}

EXEC(clac)
{
	check_cpl_ud(c, i);
	return set_ac(c, i, 0);
}

EXEC(stac)
{
	check_cpl_ud(c, i);
	return set_ac(c, i, RFLAGS_AC);
}

const struct handler h_clac = {.one = clac}, h_stac = {.one = stac};

/* -- control registers
 * ---------------------------------------------------------------- */

static bool cr0_valid(const struct cpu *c, uint64_t value)
{
	if (value >> 32)
		return false;
	if ((value & CR0_PG) && !(value & CR0_PE))
		return false;
	if ((value & CR0_NW) && !(value & CR0_CD))
		return false;
	if ((value & CR0_PG) && !(c->cr0 & CR0_PG) && (c->efer & EFER_LME) &&
	    (!(c->cr4 & CR4_PAE) || (c->seg[SEG_CS].access & AR_L)))
		return false;
	if (!(value & CR0_PG) && (c->cr0 & CR0_PG) &&
	    (c->code_size == 8 || (c->cr4 & CR4_PCIDE)))
		return false;
	return true;
}

static void write_cr0(struct cpu *c, const struct insn *i, uint64_t value)
{
	const uint64_t kept = CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_NE |
			      CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;
	uint64_t old = c->cr0;

	if (!cr0_valid(c, value))
		raise_gp(c, i, 0);
	value = (value & kept) | CR0_ET;
	if ((value & CR0_PG) && !(old & CR0_PG) && (c->cr4 & CR4_PAE) &&
	    !(c->efer & EFER_LME) && !mmu_load_pdptes(c, c->cr3))
		raise_gp(c, i, 0);
	c->cr0 = value;
	if ((value ^ old) & CR0_PG) {
		c->efer &= ~(uint64_t)EFER_LMA;
		if ((value & CR0_PG) && (c->efer & EFER_LME))
			c->efer |= EFER_LMA;
	}
	cpu_mode_changed(c);
	if ((value ^ old) & (CR0_PG | CR0_WP | CR0_PE))
		mmu_flush_all(c);
}

static uint64_t cr4_allowed(const struct cpu *c)
{
	static const struct {
		unsigned feature;
		uint32_t bits;
	} table[] = {
	    {X86_FEATURE_VME, CR4_VME | CR4_PVI},
	    {X86_FEATURE_TSC, CR4_TSD},
	    {X86_FEATURE_DE, CR4_DE},
	    {X86_FEATURE_PSE, CR4_PSE},
	    {X86_FEATURE_PAE, CR4_PAE},
	    {X86_FEATURE_MCE, CR4_MCE},
	    {X86_FEATURE_PGE, CR4_PGE},
	    {X86_FEATURE_FXSR, CR4_OSFXSR},
	    {X86_FEATURE_SSE, CR4_OSXMMEXCPT},
	    {X86_FEATURE_UMIP, CR4_UMIP},
	    {X86_FEATURE_LA57, CR4_LA57},
	    {X86_FEATURE_FSGSBASE, CR4_FSGSBASE},
	    {X86_FEATURE_PCID, CR4_PCIDE},
	    {X86_FEATURE_XSAVE, CR4_OSXSAVE},
	    {X86_FEATURE_SMEP, CR4_SMEP},
	    {X86_FEATURE_SMAP, CR4_SMAP},
	    {X86_FEATURE_PKU, CR4_PKE},
	};
	uint64_t allowed = CR4_PCE;

	for (unsigned n = 0; n < ARRAY_SIZE(table); n++)
		if (has(c, table[n].feature))
			allowed |= table[n].bits;
	return allowed;
}

static void write_cr4(struct cpu *c, const struct insn *i, uint64_t value)
{
	const uint64_t flushes = CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCIDE |
				 CR4_SMEP | CR4_SMAP | CR4_LA57;
	uint64_t changed = value ^ c->cr4;

	if (value & ~cr4_allowed(c))
		raise_gp(c, i, 0);
	if (is_long_mode(c) && (!(value & CR4_PAE) || (changed & CR4_LA57)))
		raise_gp(c, i, 0);
	if ((changed & value & CR4_PCIDE) &&
	    (!is_long_mode(c) || (c->cr3 & 0xfff) != 0))
		raise_gp(c, i, 0);
	if ((c->cr0 & CR0_PG) && !is_long_mode(c) && (value & CR4_PAE) &&
	    (changed & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) &&
	    !mmu_load_pdptes(c, c->cr3))
		raise_gp(c, i, 0);
	c->cr4 = value;
	cpu_mode_changed(c);
	if (changed & CR4_DE)
		debug_changed(c);
	if (changed & flushes)
		mmu_flush_all(c);
}

static void write_cr3(struct cpu *c, const struct insn *i, uint64_t value)
{
	bool keep = false;

	if (c->cr4 & CR4_PCIDE) {
		keep = (value & CR3_NOFLUSH) != 0;
		value &= ~CR3_NOFLUSH;
	}
	if (is_long_mode(c) && (value & ~c->svm->phys_mask))
		raise_gp(c, i, 0);
	if ((c->cr0 & CR0_PG) && !is_long_mode(c) && (c->cr4 & CR4_PAE) &&
	    !mmu_load_pdptes(c, value))
		raise_gp(c, i, 0);
	mmu_cr3_written(c, value, keep);
}

static void write_cr8(struct cpu *c, const struct insn *i, uint64_t value)
{
	if (value & ~15ull)
		raise_gp(c, i, 0);
	vec_leave(c);
	vcpu_set_cr8(c->vcpu, (uint8_t)value);
	c->intr_check = true;
}

static uint64_t gpr_of_size(struct cpu *c, const struct insn *i)
{
	return c->code_size == 8 ? GET64(i->a) : GET32(i->a);
}

EXEC(movtocr)
{
	uint64_t value = gpr_of_size(c, i);

	switch (i->ext) {
	case 0:
		write_cr0(c, i, value);
		break;
	case 2:
		c->cr2 = value;
		break;
	case 3:
		write_cr3(c, i, value);
		break;
	case 4:
		write_cr4(c, i, value);
		break;
	case 8:
		write_cr8(c, i, value);
		break;
	default:
		raise_ud(c, i);
	}
	return end_block(c, i);
}

EXEC(movfromcr)
{
	uint64_t value;

	switch (i->ext) {
	case 0:
		value = c->cr0;
		break;
	case 2:
		value = c->cr2;
		break;
	case 3:
		value = c->cr3;
		break;
	case 4:
		value = c->cr4;
		break;
	case 8:
		vec_leave(c);
		value = vcpu_get_cr8(c->vcpu);
		break;
	default:
		raise_ud(c, i);
	}
	SET64(i->a, c->code_size == 8 ? value : (uint32_t)value);
	return next(c, i);
}

EXEC(clts)
{
	c->cr0 &= ~(uint64_t)CR0_TS;
	cpu_mode_changed(c);
	return end_block(c, i);
}

/* PE can be set but not cleared. */
EXEC(lmsw)
{
	uint16_t value = i->flags & INSN_MEM ? LOAD_OPERAND(16) : GET16(i->a);
	uint64_t cr0 = (c->cr0 & ~0xeull) | (value & 0xf);

	write_cr0(c, i, cr0);
	return end_block(c, i);
}

const struct handler h_movtocr = {.one = movtocr},
		     h_movfromcr = {.one = movfromcr}, h_clts = {.one = clts},
		     h_lmsw = {.one = lmsw};

/* -- debug registers
 * -------------------------------------------------------------------- */

/* DR4 and DR5 are DR6 and DR7, unless CR4.DE forbids; DR7.GD traps all. */
static unsigned debug_register(struct cpu *c, const struct insn *i)
{
	unsigned n = i->ext;

	if (n > 7 || ((n == 4 || n == 5) && (c->cr4 & CR4_DE)))
		raise_ud(c, i);
	if (c->dr[7] & BIT(13))
		soft_raise(c, i, X86_DB, 0, DR6_BD);
	return n == 4 || n == 5 ? n + 2 : n;
}

EXEC(movtodr)
{
	uint64_t value = gpr_of_size(c, i);
	unsigned n = debug_register(c, i);

	if (n >= 6 && value >> 32)
		raise_gp(c, i, 0);
	if (n == 6)
		c->dr[6] = (value & 0xe00f) | 0xffff0ff0;
	else if (n == 7)
		c->dr[7] = (value & 0xffff23ff) | 0x400;
	else
		c->dr[n & 3] = value;
	if (n != 6)
		debug_changed(c);
	return end_block(c, i);
}

EXEC(movfromdr)
{
	uint64_t value = c->dr[debug_register(c, i)];

	SET64(i->a, c->code_size == 8 ? value : (uint32_t)value);
	return next(c, i);
}

const struct handler h_movtodr = {.one = movtodr},
		     h_movfromdr = {.one = movfromdr};

/* -- CPUID, time, random numbers
 * ---------------------------------------------------------- */

EXEC(cpuid)
{
	struct cpuid_regs r;

	vec_leave(c);
	r = cpu_model_cpuid(c->vcpu, GET32(REG_RAX), GET32(REG_RCX), c->cr4,
			    c->xcr0, c->msr[VCPU_MSR_XSS]);
	c->vcpu->stats[VM_STAT_CPUID]++;
	SET32(REG_RAX, r.eax);
	SET32(REG_RBX, r.ebx);
	SET32(REG_RCX, r.ecx);
	SET32(REG_RDX, r.edx);
	return end_block(c, i);
}

static void check_tsd(struct cpu *c, const struct insn *i)
{
	if ((c->cr4 & CR4_TSD) && c->cpl != 0)
		raise_gp(c, i, 0);
}

EXEC(rdtsc)
{
	uint64_t tsc;

	check_tsd(c, i);
	tsc = soft_tsc(c);
	SET32(REG_RAX, tsc);
	SET32(REG_RDX, tsc >> 32);
	return next(c, i);
}

EXEC(rdtscp)
{
	uint64_t tsc;

	check_tsd(c, i);
	tsc = soft_tsc(c);
	SET32(REG_RAX, tsc);
	SET32(REG_RDX, tsc >> 32);
	SET32(REG_RCX, c->msr[VCPU_MSR_TSC_AUX]);
	return next(c, i);
}

EXEC(rdpid)
{
	SET64(i->a, c->msr[VCPU_MSR_TSC_AUX]);
	return next(c, i);
}

/* No counters are offered. */
EXEC(rdpmc)
{
	raise_gp(c, i, 0);
}

const struct handler h_cpuid = {.one = cpuid}, h_rdtsc = {.one = rdtsc},
		     h_rdtscp = {.one = rdtscp}, h_rdpid = {.one = rdpid},
		     h_rdpmc = {.one = rdpmc};

/* The host's, which has them when the model shows them. CF tells success. */
#define RANDOM_SIZE(name, bits, sfx)                                           \
	EXEC(name##bits)                                                       \
	{                                                                      \
		uint##bits##_t value;                                          \
		bool ok;                                                       \
		__asm__ volatile(#name " %0" : "=r"(value), "=@ccc"(ok));      \
		SET##bits(i->a, value);                                        \
		c->arith_flags = ok ? CF_BIT : 0;                              \
		return next(c, i);                                             \
	}
SIZES_WLQ(RANDOM_SIZE, rdrand)
SIZES_WLQ(RANDOM_SIZE, rdseed)
const struct handler h_rdrand = {.fn = {[FORM_RR] = ROW_WLQ(rdrand)}};
const struct handler h_rdseed = {.fn = {[FORM_RR] = ROW_WLQ(rdseed)}};

/* -- extended control register
 * -------------------------------------------------------------- */

EXEC(xgetbv)
{
	uint32_t n = GET32(REG_RCX);

	if (!(c->cr4 & CR4_OSXSAVE))
		raise_ud(c, i);
	if (n > 1 || (n == 1 && !has(c, X86_FEATURE_XGETBV1)))
		raise_gp(c, i, 0);
	if (n == 1) /* XINUSE: vec_leave keeps it in XSTATE_BV */
		vec_leave(c);
	SET32(REG_RAX,
	      n == 0 ? c->xcr0
		     : c->xcr0 &
			   *(const uint64_t *)(const void *)(c->xsave + 512));
	SET32(REG_RDX, c->xcr0 >> 32);
	return next(c, i);
}

static bool xcr0_valid(const struct cpu *c, uint64_t value)
{
	if (value & ~cpu_model_xcr0(c->svm->vm->cpu_model))
		return false;
	if (!(value & XCR0_X87))
		return false;
	if ((value & XCR0_AVX) && !(value & XCR0_SSE))
		return false;
	return !(value & XCR0_AVX512) ||
	       ((value & XCR0_AVX512) == XCR0_AVX512 && (value & XCR0_AVX));
}

EXEC(xsetbv)
{
	uint64_t value = (uint64_t)GET32(REG_RDX) << 32 | GET32(REG_RAX);

	if (!(c->cr4 & CR4_OSXSAVE))
		raise_ud(c, i);
	if (c->cpl != 0 || GET32(REG_RCX) != 0 || !xcr0_valid(c, value))
		raise_gp(c, i, 0);
	vec_leave(c);
	c->xcr0 = value;
	cpu_mode_changed(c);
	return end_block(c, i);
}

const struct handler h_xgetbv = {.one = xgetbv}, h_xsetbv = {.one = xsetbv};

/* -- caches and TLB
 * ---------------------------------------------------------------------------
 */

EXEC(fence)
{
	__asm__ volatile("mfence" : : : "memory");
	return next(c, i);
}

/* Caches are coherent: only the address is checked, as a load. */
EXEC(clflush)
{
	(void)LOAD_OPERAND(8);
	return next(c, i);
}

EXEC(wbinvd)
{
	return next(c, i);
}

EXEC(clzero)
{
	uint64_t va = GET64(REG_RAX) & address_mask(i) & ~63ull;

	va = seg_linear(c, i, i->seg, va, 64, ACCESS_WRITE);
	for (unsigned n = 0; n < 64; n += 8)
		store64(c, i, va + n, 0);
	return next(c, i);
}

EXEC(invlpg)
{
	uint64_t offset = REG64(c, i->base) + (REG64(c, i->index) << i->scale) +
			  (uint64_t)i->disp;

	offset &= address_mask(i);
	if (c->code_size != 8)
		offset = (uint32_t)(offset + c->seg[i->seg].base);
	else if (i->seg >= SEG_FS)
		offset += c->seg[i->seg].base;
	mmu_flush_page(c, offset);
	return end_block(c, i);
}

EXEC(invpcid)
{
	uint64_t type = GET64(i->a);
	uint64_t va = operand_va(c, i, 16, ACCESS_READ);
	uint64_t pcid = load64(c, i, va), address = load64(c, i, va + 8);

	if (c->code_size != 8)
		type = (uint32_t)type;
	if (type > 3 || pcid >> 12 ||
	    (type < 2 && pcid != 0 && !(c->cr4 & CR4_PCIDE)))
		raise_gp(c, i, 0);
	if (type == 0 && !is_canonical_base(c, address))
		raise_gp(c, i, 0);
	if (type >= 2)
		mmu_flush_all(c);
	else if (type == 0 &&
		 (pcid == (c->cr3 & 0xfff) || !(c->cr4 & CR4_PCIDE)))
		mmu_flush_page(c, address);
	else
		mmu_flush_pcid(c, (unsigned)pcid);
	return end_block(c, i);
}

const struct handler h_fence = {.one = fence}, h_clflush = {.one = clflush},
		     h_wbinvd = {.one = wbinvd}, h_invd = {.one = wbinvd},
		     h_clzero = {.one = clzero}, h_invlpg = {.one = invlpg},
		     h_invpcid = {.one = invpcid};

/* -- FS and GS bases
 * ----------------------------------------------------------------------------
 */

static void check_fsgsbase(struct cpu *c, const struct insn *i)
{
	if (!(c->cr4 & CR4_FSGSBASE))
		raise_ud(c, i);
}

static const struct insn *read_base(struct cpu *c, const struct insn *i,
				    enum seg_index seg)
{
	check_fsgsbase(c, i);
	if (i->lsize == 3)
		SET64(i->a, c->seg[seg].base);
	else
		SET32(i->a, c->seg[seg].base);
	return next(c, i);
}

static const struct insn *write_base(struct cpu *c, const struct insn *i,
				     enum seg_index seg)
{
	uint64_t value = i->lsize == 3 ? GET64(i->a) : GET32(i->a);

	check_fsgsbase(c, i);
	if (!is_canonical_base(c, value))
		raise_gp(c, i, 0);
	c->seg[seg].base = value;
	return next(c, i);
}

EXEC(rdfsbase)
{
	return read_base(c, i, SEG_FS);
}

EXEC(rdgsbase)
{
	return read_base(c, i, SEG_GS);
}

EXEC(wrfsbase)
{
	return write_base(c, i, SEG_FS);
}

EXEC(wrgsbase)
{
	return write_base(c, i, SEG_GS);
}

EXEC(swapgs)
{
	uint64_t base = c->seg[SEG_GS].base;

	c->seg[SEG_GS].base = c->kernel_gs_base;
	c->kernel_gs_base = base;
	return next(c, i);
}

const struct handler h_rdfsbase = {.one = rdfsbase},
		     h_rdgsbase = {.one = rdgsbase},
		     h_wrfsbase = {.one = wrfsbase},
		     h_wrgsbase = {.one = wrgsbase}, h_swapgs = {.one = swapgs};

/* -- undefined by definition
 * ---------------------------------------------------------------------- */

const struct handler h_ud0 = {.one = exec_ud}, h_ud1 = {.one = exec_ud},
		     h_ud2 = {.one = exec_ud};
