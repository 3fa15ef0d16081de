/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MUL, IMUL, DIV, IDIV. The host divides, after a check that it will not
 * fault: a quotient that does not fit is the guest's #DE.
 */
#include "vmm/soft/exec.h"

/* RDX:RAX = RAX * source; flags loaded first, so that undefined ones are the
   host's. */
#define MUL_ASM(insn, sfx, A, D)                                               \
	__asm__(FLAGS_IN "mov %[acc], %%" A "\n\t" #insn #sfx " %[src]\n\t"    \
			 "mov %%" A ", %[lo]" FLAGS_OUT                        \
		: "+&a"(f), [lo] "=&r"(lo), "=&d"(hi)                          \
		: [acc] "r"(acc), [src] "r"(s)                                 \
		: "cc")
#define MUL_ONE(name, insn, form, bits, sfx, A, source)                        \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source, acc = GET##bits(REG_RAX), lo, hi;   \
		uint16_t f = c->arith_flags;                                   \
		MUL_ASM(insn, sfx, A, hi);                                     \
		SET##bits(REG_RAX, lo);                                        \
		SET##bits(REG_RDX, hi);                                        \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define MUL8_ONE(name, insn, form, source)                                     \
	EXEC(name##_##form##8)                                                 \
	{                                                                      \
		uint8_t s = source, acc = GET8(REG_RAX);                       \
		uint16_t f = c->arith_flags, lo;                               \
		__asm__(FLAGS_IN "movb %[acc], %%al\n\t" #insn "b %[src]\n\t"  \
				 "movw %%ax, %[lo]" FLAGS_OUT                  \
			: "+&a"(f), [lo] "=&r"(lo)                             \
			: [acc] "q"(acc), [src] "q"(s)                         \
			: "cc");                                               \
		SET16(REG_RAX, lo);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define MUL(name, insn)                                                        \
	MUL8_ONE(name, insn, rr, GET8(i->a))                                   \
	MUL8_ONE(name, insn, mr, LOAD_OPERAND(8))                              \
	MUL_ONE(name, insn, rr, 16, w, "ax", GET16(i->a))                      \
	MUL_ONE(name, insn, mr, 16, w, "ax", LOAD_OPERAND(16))                 \
	MUL_ONE(name, insn, rr, 32, l, "eax", GET32(i->a))                     \
	MUL_ONE(name, insn, mr, 32, l, "eax", LOAD_OPERAND(32))                \
	MUL_ONE(name, insn, rr, 64, q, "rax", GET64(i->a))                     \
	MUL_ONE(name, insn, mr, 64, q, "rax", LOAD_OPERAND(64))                \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = ROW(name##_rr), [FORM_MR] = ROW(name##_mr)}};

MUL(mul, mul)
MUL(imul1, imul)

#define IMUL_ASM(sfx, dst, src)                                                \
	__asm__(FLAGS_IN "imul" #sfx " %2, %1" FLAGS_OUT                       \
		: "+&a"(f), "+r"(dst)                                          \
		: "r"(src)                                                     \
		: "cc")
#define IMUL_ONE(name, form, bits, sfx, left, right)                           \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = right, d = left;                            \
		uint16_t f = c->arith_flags;                                   \
		IMUL_ASM(sfx, d, s);                                           \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define IMUL_FORMS(name, bits, sfx)                                            \
	IMUL_ONE(imul, rr, bits, sfx, GET##bits(i->a), GET##bits(i->b))        \
	IMUL_ONE(imul, rm, bits, sfx, GET##bits(i->a), LOAD_OPERAND(bits))     \
	IMUL_ONE(imul3, rr, bits, sfx, (uint##bits##_t)i->imm,                 \
		 GET##bits(i->b))                                              \
	IMUL_ONE(imul3, rm, bits, sfx, (uint##bits##_t)i->imm,                 \
		 LOAD_OPERAND(bits))
SIZES_WLQ(IMUL_FORMS, imul)
const struct handler h_imul = {
    .fn = {[FORM_RR] = ROW_WLQ(imul_rr), [FORM_RM] = ROW_WLQ(imul_rm)}};
const struct handler h_imul3 = {
    .fn = {[FORM_RR] = ROW_WLQ(imul3_rr), [FORM_RM] = ROW_WLQ(imul3_rm)}};

/* -- division
 * ------------------------------------------------------------------ */

static _Noreturn void raise_de(struct cpu *c, const struct insn *i)
{
	soft_raise(c, i, X86_DE, 0, 0);
}

/* Does |hi:lo| / |s| fit a signed quotient of the operand's width? */
#define SIGNED_FITS(bits)                                                      \
	static bool signed_fits##bits(uint##bits##_t hi, uint##bits##_t lo,    \
				      uint##bits##_t s)                        \
	{                                                                      \
		const uint##bits##_t top = (uint##bits##_t)1 << (bits - 1);    \
		bool negative = ((hi ^ s) & top) != 0;                         \
		uint##bits##_t magnitude, q, limit;                            \
		if (hi & top) {                                                \
			lo = (uint##bits##_t) - lo;                            \
			hi = (uint##bits##_t)(~hi + (lo == 0));                \
		}                                                              \
		magnitude = s & top ? (uint##bits##_t) - s : s;                \
		if (hi >= magnitude)                                           \
			return false;                                          \
		q = divide_magnitudes##bits(hi, lo, magnitude);                \
		limit = negative ? top : (uint##bits##_t)(top - 1);            \
		return q <= limit;                                             \
	}
#define DIVIDE_NARROW(bits, wide)                                              \
	static uint##bits##_t divide_magnitudes##bits(                         \
	    uint##bits##_t hi, uint##bits##_t lo, uint##bits##_t s)            \
	{                                                                      \
		return (uint##bits##_t)(((wide)hi << bits | lo) / s);          \
	}
DIVIDE_NARROW(8, uint16_t)
DIVIDE_NARROW(16, uint32_t)
DIVIDE_NARROW(32, uint64_t)

static uint64_t divide_magnitudes64(uint64_t hi, uint64_t lo, uint64_t s)
{
	__asm__("divq %2" : "+a"(lo), "+d"(hi) : "r"(s) : "cc");
	return lo;
}

SIGNED_FITS(8)
SIGNED_FITS(16)
SIGNED_FITS(32)
SIGNED_FITS(64)

#define FITS_div(bits)  ((void)lo, hi < s)
#define FITS_idiv(bits) (s != 0 && signed_fits##bits(hi, lo, s))

#define DIV_ONE(name, form, bits, sfx, A, D, source)                           \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source;                                     \
		uint##bits##_t lo = GET##bits(REG_RAX);                        \
		uint##bits##_t hi = GET##bits(REG_RDX);                        \
		uint16_t f = c->arith_flags;                                   \
		if (!FITS_##name(bits))                                        \
			raise_de(c, i);                                        \
		__asm__(FLAGS_IN "mov %[lo], %%" A "\n\t" #name #sfx           \
				 " %[src]\n\t"                                 \
				 "mov %%" A ", %[lo]" FLAGS_OUT                \
			: "+&a"(f), [lo] "+&r"(lo), "+&d"(hi)                  \
			: [src] "r"(s)                                         \
			: "cc");                                               \
		SET##bits(REG_RAX, lo);                                        \
		SET##bits(REG_RDX, hi);                                        \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define DIV8_ONE(name, form, source)                                           \
	EXEC(name##_##form##8)                                                 \
	{                                                                      \
		uint8_t s = source, lo = GET8(REG_RAX),                        \
			hi = GET8(REG_RAX + 1);                                \
		uint16_t f = c->arith_flags, ax = GET16(REG_RAX);              \
		if (!FITS_##name(8))                                           \
			raise_de(c, i);                                        \
		__asm__(FLAGS_IN "movw %[ax], %%ax\n\t" #name "b %[src]\n\t"   \
				 "movw %%ax, %[ax]" FLAGS_OUT                  \
			: "+&a"(f), [ax] "+&r"(ax)                             \
			: [src] "q"(s)                                         \
			: "cc");                                               \
		SET16(REG_RAX, ax);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define DIV(name)                                                              \
	DIV8_ONE(name, rr, GET8(i->a))                                         \
	DIV8_ONE(name, mr, LOAD_OPERAND(8))                                    \
	DIV_ONE(name, rr, 16, w, "ax", "dx", GET16(i->a))                      \
	DIV_ONE(name, mr, 16, w, "ax", "dx", LOAD_OPERAND(16))                 \
	DIV_ONE(name, rr, 32, l, "eax", "edx", GET32(i->a))                    \
	DIV_ONE(name, mr, 32, l, "eax", "edx", LOAD_OPERAND(32))               \
	DIV_ONE(name, rr, 64, q, "rax", "rdx", GET64(i->a))                    \
	DIV_ONE(name, mr, 64, q, "rax", "rdx", LOAD_OPERAND(64))               \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = ROW(name##_rr), [FORM_MR] = ROW(name##_mr)}};

DIV(div)
DIV(idiv)

/* -- sign extension of the accumulator
 * ------------------------------------------ */

EXEC(cbw16)
{
	SET16(REG_RAX, (int8_t)GET8(REG_RAX));
	return next(c, i);
}

EXEC(cbw32)
{
	SET32(REG_RAX, (int16_t)GET16(REG_RAX));
	return next(c, i);
}

EXEC(cbw64)
{
	SET64(REG_RAX, (int32_t)GET32(REG_RAX));
	return next(c, i);
}

const struct handler h_cbw = {.fn = {[FORM_RR] = ROW_WLQ(cbw)}};

#define CWD(bits)                                                              \
	EXEC(cwd##bits)                                                        \
	{                                                                      \
		SET##bits(REG_RDX, (int##bits##_t)GET##bits(REG_RAX) < 0       \
				       ? (uint##bits##_t) - 1                  \
				       : 0);                                   \
		return next(c, i);                                             \
	}
CWD(16)
CWD(32)
CWD(64)
const struct handler h_cwd = {.fn = {[FORM_RR] = ROW_WLQ(cwd)}};
