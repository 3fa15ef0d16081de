// SPDX-License-Identifier: BSD-2-Clause
/*
 * FXSAVE and the XSAVE family (SDM vol. 1, 10.5 and 13). The host's own
 * instruction saves and restores the live registers, in the guest's format;
 * what it must not see is checked or taken out before: reserved bits, the
 * header, pending x87 exceptions. Restores work on a private copy, which the
 * guest's other vCPUs cannot change after the check.
 */
#include "vmm/cpuid.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/vec.h"
#include "x86/features.h"

#define XSAVE_BASE (XSAVE_LEGACY + XSAVE_HEADER)

/* FXSAVE writes no more of its 512 bytes than these: 8 registers fewer
   outside 64-bit mode. */
#define FXSAVE_BYTES(code_size) ((code_size) == 8 ? 416u : 288u)

static uint64_t aligned(struct cpu *c, const struct insn *i, uint64_t va,
			unsigned alignment)
{
	if (va & (alignment - 1))
		raise_gp(c, i, 0);
	return va;
}

/* The x87 pointers into a saved image: 64 bits with REX.W, else 32. */
static void set_last(struct cpu *c, const struct insn *i, struct xsave_image *x)
{
	uint64_t mask = i->flags & INSN_REXW ? ~0ull : 0xffffffffu;

	x->fip = c->fpu_ip & mask;
	x->fdp = c->fpu_dp & mask;
	x->fop = c->fpu_opcode;
}

/* And out of one that is to be restored; the host need not see them. */
static void take_last(struct cpu *c, const struct insn *i,
		      struct xsave_image *x)
{
	uint64_t mask = i->flags & INSN_REXW ? ~0ull : 0xffffffffu;

	c->fpu_ip = x->fip & mask;
	c->fpu_dp = x->fdp & mask;
	c->fpu_opcode = x->fop & 0x7ff;
	x->fip = x->fdp = x->fop = 0;
}

static void forget_last(struct cpu *c)
{
	c->fpu_ip = c->fpu_dp = 0;
	c->fpu_opcode = 0;
}

/* -- FXSAVE, FXRSTOR ----------------------------------------------------------
 */

const struct insn *exec_fxsave(struct cpu *c, const struct insn *i)
{
	struct xsave_image *x = (void *)c->native->scratch[0];
	uint64_t va;
	uint8_t *to;

	vec_need(c, i, VEC_MMX);
	va = aligned(c, i, operand_va(c, i, XSAVE_LEGACY, ACCESS_WRITE), 16);
	to = operand(c, i, va, XSAVE_LEGACY, ACCESS_WRITE);
	vec_enter(c);
	__asm__ volatile("fxsave64 %0" : "=m"(*x));
	x->mxcsr = vec_mxcsr(c);
	x->mxcsr_mask = c->native->mxcsr_valid;
	set_last(c, i, x);
	copy_bytes(to, x, FXSAVE_BYTES(c->code_size));
	vec_rest(c);
	operand_end(c, i);
	return next(c, i);
}

const struct insn *exec_fxrstor(struct cpu *c, const struct insn *i)
{
	struct xsave_image *x = (void *)c->native->scratch[0];
	uint64_t va;
	void *from;

	vec_need(c, i, VEC_MMX);
	va = aligned(c, i, operand_va(c, i, XSAVE_LEGACY, ACCESS_READ), 16);
	from = operand(c, i, va, XSAVE_LEGACY, ACCESS_READ);
	vec_enter(c);
	__asm__ volatile("fxsave64 %0" : "=m"(*x));
	copy_bytes(x, from, FXSAVE_BYTES(c->code_size));
	if (x->mxcsr & ~c->native->mxcsr_valid) {
		vec_rest(c);
		raise_gp(c, i, 0);
	}
	take_last(c, i, x);
	vec_sanitize_fsw(x);
	__asm__ volatile("fxrstor64 %0" : : "m"(*x));
	vec_set_mxcsr(c, x->mxcsr);
	vec_fcw_changed(c);
	return next(c, i);
}

/* -- the XSAVE area
 * ------------------------------------------------------------
 */

static void xsave_need(struct cpu *c, const struct insn *i)
{
	if (!(c->cr4 & CR4_OSXSAVE) || c->native->rfbm == 0)
		raise_ud(c, i);
	if (c->cr0 & CR0_TS)
		soft_raise(c, i, X86_NM, 0, 0);
}

/* What EDX:EAX asks for, of what there is. */
static uint64_t requested(const struct cpu *c)
{
	uint64_t asked =
	    (uint64_t)(uint32_t)c->gpr[2] << 32 | (uint32_t)c->gpr[0];

	return asked & c->xcr0 & c->native->rfbm;
}

/* Bytes of a standard area up to the last of the components. */
static unsigned standard_bytes(const struct cpu *c, uint64_t components)
{
	unsigned bytes = XSAVE_BASE;

	for (unsigned k = 2; k < VEC_COMPONENTS; k++) {
		const struct vec_component *v = &c->native->component[k];

		if (components & BIT(k))
			bytes = MAX(bytes, (unsigned)v->offset + v->size);
	}
	return bytes;
}

/* Bytes of a compacted area laid out by layout, up to the last of used. */
static unsigned compact_bytes(const struct cpu *c, uint64_t layout,
			      uint64_t used)
{
	unsigned at = XSAVE_BASE, bytes = XSAVE_BASE;

	for (unsigned k = 2; k < VEC_COMPONENTS; k++) {
		const struct vec_component *v = &c->native->component[k];

		if (!(layout & BIT(k)))
			continue;
		if (v->align64)
			at = ALIGN_UP(at, 64u);
		at += v->size;
		if (used & BIT(k))
			bytes = at;
	}
	return bytes;
}

#define HOST_XSAVE(instruction, to, rfbm)                                      \
	__asm__ volatile(instruction " %0"                                     \
			 : "+m"(*(to))                                         \
			 : "a"((uint32_t)(rfbm)),                              \
			   "d"((uint32_t)((rfbm) >> 32))                       \
			 : "memory")

/* -- saving -------------------------------------------------------------------
 */

/* XSAVE and XSAVEOPT, whose optimisations are its own affair. */
const struct insn *exec_xsave(struct cpu *c, const struct insn *i)
{
	struct xsave_image *to;
	uint64_t rfbm, va;
	unsigned bytes;

	xsave_need(c, i);
	rfbm = requested(c);
	bytes = standard_bytes(c, rfbm);
	va = aligned(c, i, operand_va(c, i, bytes, ACCESS_WRITE), 64);
	to = operand(c, i, va, bytes, ACCESS_WRITE);
	vec_enter(c);
	vec_show_mxcsr(c);
	HOST_XSAVE("xsave64", to, rfbm);
	vec_hide_mxcsr(c);
	if (rfbm & (XCR0_SSE | XCR0_AVX))
		to->mxcsr_mask = c->native->mxcsr_valid;
	if (rfbm & XCR0_X87)
		set_last(c, i, to);
	vec_rest(c);
	operand_end(c, i);
	return next(c, i);
}

static const struct insn *save_compact(struct cpu *c, const struct insn *i)
{
	struct xsave_image *to;
	uint64_t rfbm, va;
	unsigned bytes;

	xsave_need(c, i);
	rfbm = requested(c);
	bytes = compact_bytes(c, rfbm, rfbm);
	va = aligned(c, i, operand_va(c, i, bytes, ACCESS_WRITE), 64);
	to = operand(c, i, va, bytes, ACCESS_WRITE);
	vec_enter(c);
	vec_show_mxcsr(c);
	HOST_XSAVE("xsavec64", to, rfbm);
	vec_hide_mxcsr(c);
	if (to->xstate_bv & rfbm & XCR0_SSE)
		to->mxcsr_mask = c->native->mxcsr_valid;
	if (to->xstate_bv & rfbm & XCR0_X87)
		set_last(c, i, to);
	vec_rest(c);
	operand_end(c, i);
	return next(c, i);
}

const struct insn *exec_xsavec(struct cpu *c, const struct insn *i)
{
	return save_compact(c, i);
}

/* IA32_XSS is 0: there are no supervisor components. */
const struct insn *exec_xsaves(struct cpu *c, const struct insn *i)
{
	xsave_need(c, i);
	if (c->cpl != 0)
		raise_gp(c, i, 0);
	return save_compact(c, i);
}

/* -- restoring ----------------------------------------------------------------
 */

static bool all_zero(const uint64_t *words, unsigned count)
{
	uint64_t any = 0;

	for (unsigned k = 0; k < count; k++)
		any |= words[k];
	return any == 0;
}

/* The header's own checks (SDM vol. 1, 13.8); false: #GP. */
static bool header_is_valid(struct cpu *c, const struct xsave_image *x,
			    bool compact)
{
	uint64_t possible = c->xcr0 & c->native->rfbm;

	if (!compact)
		return !(x->xstate_bv & ~possible) && x->xcomp_bv == 0 &&
		       x->reserved[0] == 0;
	if (!cpu_model_has(c->svm->vm->cpu_model, X86_FEATURE_XSAVEC))
		return false;
	return !(x->xcomp_bv & ~(possible | XCOMP_COMPACT)) &&
	       !(x->xstate_bv & ~(x->xcomp_bv & possible)) &&
	       all_zero(x->reserved, ARRAY_SIZE(x->reserved));
}

/* Will the MXCSR of the image be loaded? */
static bool loads_mxcsr(const struct xsave_image *x, uint64_t rfbm,
			bool compact)
{
	if (compact)
		return rfbm & x->xstate_bv & XCR0_SSE;
	return rfbm & (XCR0_SSE | XCR0_AVX);
}

/*
 * Fetches legacy region and header, checks them, then what the header says is
 * there. The guest may write to the area all the while: what was checked is
 * what is used.
 */
static void fetch(struct cpu *c, const struct insn *i, uint64_t va,
		  uint64_t rfbm, bool must_be_compact)
{
	struct xsave_image *x = (void *)c->native->scratch[0];
	uint64_t used;
	unsigned bytes;
	uint8_t *from;
	bool compact;

	copy_bytes(x, operand(c, i, va, XSAVE_BASE, ACCESS_READ), XSAVE_BASE);
	compact = x->xcomp_bv & XCOMP_COMPACT;
	if ((must_be_compact && !compact) || !header_is_valid(c, x, compact))
		raise_gp(c, i, 0);
	if (loads_mxcsr(x, rfbm, compact) && x->mxcsr & ~c->native->mxcsr_valid)
		raise_gp(c, i, 0);
	used = rfbm & x->xstate_bv;
	bytes = compact ? compact_bytes(c, x->xcomp_bv, used)
			: standard_bytes(c, used);
	if (bytes <= XSAVE_BASE)
		return;
	from = operand(c, i, va, bytes, ACCESS_READ);
	copy_bytes(x->extended, from + XSAVE_BASE, bytes - XSAVE_BASE);
}

static const struct insn *restore(struct cpu *c, const struct insn *i,
				  bool must_be_compact)
{
	struct xsave_image *x = (void *)c->native->scratch[0];
	uint64_t rfbm = requested(c), va;

	va = operand_va(c, i, XSAVE_BASE, ACCESS_READ);
	fetch(c, i, aligned(c, i, va, 64), rfbm, must_be_compact);
	vec_enter(c);
	if (rfbm & x->xstate_bv & XCR0_X87) {
		take_last(c, i, x);
		vec_sanitize_fsw(x);
	} else if (rfbm & XCR0_X87) {
		forget_last(c);
	}
	/* Where it is not loaded, not even a bad one is to be seen. */
	x->mxcsr &= c->native->mxcsr_valid;
	vec_show_mxcsr(c);
	HOST_XSAVE("xrstor64", x, rfbm);
	vec_set_mxcsr(c, host_mxcsr());
	vec_fcw_changed(c);
	return next(c, i);
}

const struct insn *exec_xrstor(struct cpu *c, const struct insn *i)
{
	xsave_need(c, i);
	return restore(c, i, false);
}

const struct insn *exec_xrstors(struct cpu *c, const struct insn *i)
{
	xsave_need(c, i);
	if (c->cpl != 0)
		raise_gp(c, i, 0);
	return restore(c, i, true);
}
