// SPDX-License-Identifier: BSD-2-Clause
/*
 * Where the guest's vector state is: into the host's registers and out of
 * them, the control words that are not the host's, and which instructions
 * may not run now and why.
 */
#include "vmm/soft/vec.h"
#include "vmm/soft/bytes.h"

/* -- the registers --------------------------------------------------------- */

void vec_save(struct cpu *c, void *image)
{
	struct xsave_image *x = image;
	uint64_t rfbm = c->native->rfbm;

	if (rfbm == 0) {
		__asm__ volatile("fxsave64 %0" : "=m"(*x));
		x->xstate_bv = XCR0_X87 | XCR0_SSE;
		return;
	}
	zero_bytes(&x->xstate_bv, XSAVE_HEADER);
	__asm__ volatile("xsave64 %0"
			 : "+m"(*x)
			 : "a"((uint32_t)rfbm), "d"((uint32_t)(rfbm >> 32))
			 : "memory");
}

void vec_restore(struct cpu *c, const void *image)
{
	const struct xsave_image *x = image;
	uint64_t rfbm = c->native->rfbm;

	if (rfbm == 0)
		__asm__ volatile("fxrstor64 %0" : : "m"(*x));
	else
		__asm__ volatile("xrstor64 %0"
				 :
				 : "m"(*x), "a"((uint32_t)rfbm),
				   "d"((uint32_t)(rfbm >> 32))
				 : "memory");
}

/* What a C caller of the folder expects: empty x87, default control words. */
static void host_default(struct cpu *c)
{
	__asm__ volatile("fninit");
	host_set_mxcsr(MXCSR_RESET);
	if (c->native->rfbm & XCR0_AVX)
		__asm__ volatile("vzeroupper");
}

void vec_sanitize_fsw(struct xsave_image *x)
{
	bool pending = x->fsw & ~x->fcw & FPU_EXC;

	x->fsw &= (uint16_t) ~(FSW_ES | FSW_B);
	if (pending)
		x->fsw |= FSW_ES | FSW_B;
}

/* FXRSTOR takes all of it, and knows no XSTATE_BV. */
static void fxsave_format(struct xsave_image *x)
{
	if (!(x->xstate_bv & XCR0_X87)) {
		zero_bytes(x, offsetof(struct xsave_image, mxcsr));
		zero_bytes(x->st, sizeof(x->st));
		x->fcw = FCW_RESET;
	}
	if (!(x->xstate_bv & XCR0_SSE))
		zero_bytes(x->xmm, sizeof(x->xmm));
}

void vec_sanitize(struct cpu *c, struct xsave_image *x)
{
	if (c->native->rfbm == 0)
		fxsave_format(x);
	x->xstate_bv &= c->native->rfbm;
	x->xcomp_bv = 0;
	zero_bytes(x->reserved, sizeof(x->reserved));
	x->mxcsr &= c->native->mxcsr_valid;
	vec_sanitize_fsw(x);
}

void vec_enter_slow(struct cpu *c)
{
	struct xsave_image *x = (struct xsave_image *)c->xsave;
	bool x87 = x->xstate_bv & XCR0_X87;

	vec_sanitize(c, x);
	c->fpu_ip = x87 ? x->fip : 0;
	c->fpu_dp = x87 ? x->fdp : 0;
	c->fpu_opcode = x87 ? x->fop : 0;
	x->fip = x->fdp = x->fop = 0;
	vec_restore(c, x);
	c->vec_live = true;
	c->vec_blocked &= (uint8_t)~VEC_DEAD;
	vec_set_mxcsr(c, host_mxcsr());
	vec_fcw_changed(c);
}

void vec_leave_slow(struct cpu *c)
{
	struct xsave_image *x = (struct xsave_image *)c->xsave;

	vec_show_mxcsr(c);
	vec_save(c, x);
	x->fip = c->fpu_ip;
	x->fdp = c->fpu_dp;
	x->fop = c->fpu_opcode;
	c->vec_live = false;
	c->vec_blocked |= VEC_DEAD;
	host_default(c);
}

/* -- control words ----------------------------------------------------------
 */

static void block_if(struct cpu *c, unsigned bit, bool blocked)
{
	c->vec_blocked &= ~bit;
	if (blocked)
		c->vec_blocked |= bit;
}

uint32_t vec_mxcsr(struct cpu *c)
{
	return (host_mxcsr() & ~MXCSR_MASKS) | c->native->mxcsr_masks;
}

void vec_set_mxcsr(struct cpu *c, uint32_t mxcsr)
{
	c->native->mxcsr_masks = mxcsr & MXCSR_MASKS;
	host_set_mxcsr(mxcsr | MXCSR_MASKS);
	block_if(c, VEC_XM, (mxcsr & MXCSR_MASKS) != MXCSR_MASKS);
}

void vec_show_mxcsr(struct cpu *c)
{
	if (unlikely(c->vec_blocked & VEC_XM))
		host_set_mxcsr(vec_mxcsr(c));
}

void vec_hide_mxcsr(struct cpu *c)
{
	if (unlikely(c->vec_blocked & VEC_XM))
		host_set_mxcsr(host_mxcsr() | MXCSR_MASKS);
}

void vec_fcw_changed(struct cpu *c)
{
	block_if(c, VEC_MF, (host_fcw() & FPU_EXC) != FPU_EXC);
}

/* -- may it run? -------------------------------------------------------------
 */

static bool sse_undefined(const struct cpu *c)
{
	return c->cr0 & CR0_EM || !(c->cr4 & CR4_OSFXSR);
}

static bool avx_undefined(const struct cpu *c)
{
	uint64_t components = XCR0_SSE | XCR0_AVX;

	return !(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & components) != components;
}

static bool avx512_undefined(const struct cpu *c)
{
	uint64_t components = XCR0_SSE | XCR0_AVX | XCR0_AVX512;

	return !(c->cr4 & CR4_OSXSAVE) || (c->xcr0 & components) != components;
}

/* Blocked for which the exception is #UD, whatever CR0.TS says. */
static unsigned undefined_now(const struct cpu *c)
{
	unsigned blocked = 0;

	if (c->cr0 & CR0_EM)
		blocked |= VEC_MMX;
	if (sse_undefined(c))
		blocked |= VEC_SSE;
	if (avx_undefined(c))
		blocked |= VEC_AVX;
	if (avx512_undefined(c))
		blocked |= VEC_AVX512;
	return blocked;
}

/* VEC_XM and VEC_MF of the state at rest. */
static unsigned unmasked_at_rest(struct cpu *c)
{
	const struct xsave_image *x = (const struct xsave_image *)c->xsave;
	unsigned blocked = 0;

	if ((x->mxcsr & MXCSR_MASKS) != MXCSR_MASKS)
		blocked |= VEC_XM;
	if (x->xstate_bv & XCR0_X87 && (x->fcw & FPU_EXC) != FPU_EXC)
		blocked |= VEC_MF;
	return blocked;
}

void vec_mode_changed(struct cpu *c)
{
	unsigned blocked = undefined_now(c);

	if (c->cr0 & CR0_EM)
		blocked |= VEC_X87;
	if (c->cr0 & CR0_TS)
		blocked |= VEC_X87 | VEC_MMX | VEC_SSE | VEC_AVX | VEC_AVX512;
	if (c->vec_live)
		blocked |= c->vec_blocked & (VEC_XM | VEC_MF);
	else
		blocked |= VEC_DEAD | unmasked_at_rest(c);
	c->vec_blocked = (uint8_t)blocked;
}

_Noreturn void vec_fault(struct cpu *c, const struct insn *i, unsigned blocked)
{
	if (blocked & undefined_now(c))
		raise_ud(c, i);
	soft_raise(c, i, X86_NM, 0, 0);
}

void vec_check(struct cpu *c, const struct insn *i, unsigned need)
{
	unsigned blocked = c->vec_blocked & need;
	bool pending;

	if (blocked & ~(unsigned)(VEC_XM | VEC_MF | VEC_DEAD))
		vec_fault(c, i, blocked);
	if (blocked & VEC_MF) {
		/* With CR0.NE clear a PC would answer with IRQ 13; no
		   system that runs here in long mode asks for that. */
		vec_enter(c);
		pending = host_fsw() & FSW_ES;
		vec_rest(c);
		if (pending)
			soft_raise(c, i, X86_MF, 0, 0);
	}
}

/* -- LDMXCSR, STMXCSR --------------------------------------------------------
 */

const struct insn *exec_ldmxcsr(struct cpu *c, const struct insn *i)
{
	uint32_t value;

	vec_need(c, i, i->ext);
	value = load32(c, i, operand_va(c, i, 4, ACCESS_READ));
	if (value & ~c->native->mxcsr_valid)
		raise_gp(c, i, 0);
	vec_enter(c);
	vec_set_mxcsr(c, value);
	return next(c, i);
}

const struct insn *exec_stmxcsr(struct cpu *c, const struct insn *i)
{
	uint32_t value;
	uint64_t va;

	vec_need(c, i, i->ext);
	va = operand_va(c, i, 4, ACCESS_WRITE);
	vec_enter(c);
	value = vec_mxcsr(c);
	vec_rest(c);
	store32(c, i, va, value);
	return next(c, i);
}
