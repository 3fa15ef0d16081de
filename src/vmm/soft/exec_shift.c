/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shifts and rotates. The host masks the count as the guest would, and with
 * the flags loaded first a count of zero leaves them alone.
 */
#include "vmm/soft/exec.h"

#define SHIFT_ASM(insn, sfx, LOC, dst, count)                                  \
	__asm__ volatile(FLAGS_IN #insn #sfx " %%cl, %1" FLAGS_OUT             \
			 : "+&a"(f), LOC(dst)                                  \
			 : "c"((uint8_t)(count))                               \
			 : "cc", "memory")

#define SHIFT_REG(name, form, bits, sfx, count, kept)                          \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t d = GET##bits(i->a);                            \
		uint16_t f = c->arith_flags;                                   \
		SHIFT_ASM(name, sfx, "+r", d, count);                          \
		SET##bits(i->a, d);                                            \
		c->arith_flags = kept(c, i, f, bits);                          \
		return next(c, i);                                             \
	}
#define SHIFT_MEM(name, form, bits, sfx, count)                                \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t *p = OPERAND_RW(bits);                          \
		uint16_t f = c->arith_flags;                                   \
		SHIFT_ASM(name, sfx, "+m", *p, count);                         \
		operand_end(c, i);                                             \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define SHIFT_FORMS(name, kept, bits, sfx)                                     \
	SHIFT_REG(name, rr, bits, sfx, REG8(c, REG_RCX), all_flags)            \
	SHIFT_REG(name, ri, bits, sfx, i->imm, kept)                           \
	SHIFT_MEM(name, mr, bits, sfx, REG8(c, REG_RCX))                       \
	SHIFT_MEM(name, mi, bits, sfx, i->imm)
#define SHIFT(name, kept)                                                      \
	SIZES(SHIFT_FORMS, name, kept)                                         \
	const struct handler h_##name = {.fn = {[FORM_RR] = ROW(name##_rr),    \
						[FORM_MR] = ROW(name##_mr),    \
						[FORM_RI] = ROW(name##_ri),    \
						[FORM_MI] = ROW(name##_mi)}};

static inline uint16_t all_flags(const struct cpu *c, const struct insn *i,
				 uint16_t f, unsigned bits)
{
	return f;
}

/*
 * OF after a rotate by more than 1 is undefined, and depends on the form on
 * some hosts: Intel's rotates of a register by an immediate leave it, those
 * by CL or of memory do not. Translated code has the host's.
 */
static inline uint16_t rotate_flags(const struct cpu *c, const struct insn *i,
				    uint16_t f, unsigned bits)
{
	if (!c->svm->rotate_keeps_of || (i->imm & (bits == 64 ? 63 : 31)) < 2)
		return f;
	return (f & ~OF_BIT) | (c->arith_flags & OF_BIT);
}

SHIFT(rol, rotate_flags)
SHIFT(ror, rotate_flags)
SHIFT(rcl, all_flags)
SHIFT(rcr, all_flags)
SHIFT(shl, all_flags)
SHIFT(shr, all_flags)
SHIFT(sar, all_flags)

/* With OF set, 0 rotated by 2: a computed OF is clear. */
bool soft_host_rotate_keeps_of(void)
{
	uint16_t f = OF_BIT;
	uint32_t zero = 0;

	__asm__ volatile(FLAGS_IN "roll $2, %1" FLAGS_OUT
			 : "+&a"(f), "+r"(zero)
			 :
			 : "cc");
	return (f & OF_BIT) != 0;
}

/* -- SHLD, SHRD: ext says CL, else the immediate -----------------------------
 */

#define DOUBLE_ASM(insn, sfx, LOC, dst, src, count)                            \
	__asm__ volatile(FLAGS_IN #insn #sfx " %%cl, %2, %1" FLAGS_OUT         \
			 : "+&a"(f), LOC(dst)                                  \
			 : "r"(src), "c"((uint8_t)(count))                     \
			 : "cc", "memory")
#define DOUBLE_FORMS(name, bits, sfx)                                          \
	EXEC(name##_rr##bits)                                                  \
	{                                                                      \
		uint##bits##_t d = GET##bits(i->a), s = GET##bits(i->b);       \
		uint16_t f = c->arith_flags;                                   \
		uint8_t n = i->ext ? REG8(c, REG_RCX) : (uint8_t)i->imm;       \
		DOUBLE_ASM(name, sfx, "+r", d, s, n);                          \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(name##_mr##bits)                                                  \
	{                                                                      \
		uint##bits##_t *p = OPERAND_RW(bits), s = GET##bits(i->b);     \
		uint16_t f = c->arith_flags;                                   \
		uint8_t n = i->ext ? REG8(c, REG_RCX) : (uint8_t)i->imm;       \
		DOUBLE_ASM(name, sfx, "+m", *p, s, n);                         \
		operand_end(c, i);                                             \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define DOUBLE(name)                                                           \
	SIZES_WLQ(DOUBLE_FORMS, name)                                          \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = ROW_WLQ(name##_rr),                             \
		   [FORM_MR] = ROW_WLQ(name##_mr)}};

DOUBLE(shld)
DOUBLE(shrd)

/* -- BMI2: no flags ---------------------------------------------------------
 */

#define SHIFTX_ONE(name, op, form, bits, source)                               \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source;                                     \
		unsigned n = (unsigned)(GET##bits(i->c) & (bits - 1));         \
		SET##bits(i->a, op);                                           \
		return next(c, i);                                             \
	}
#define SHIFTX(name, op32, op64)                                               \
	SHIFTX_ONE(name, op32, rr, 32, GET32(i->b))                            \
	SHIFTX_ONE(name, op64, rr, 64, GET64(i->b))                            \
	SHIFTX_ONE(name, op32, rm, 32, LOAD_OPERAND(32))                       \
	SHIFTX_ONE(name, op64, rm, 64, LOAD_OPERAND(64))                       \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = {NULL, NULL, name##_rr32, name##_rr64},         \
		   [FORM_RM] = {NULL, NULL, name##_rm32, name##_rm64}}};

SHIFTX(shlx, s << n, s << n)
SHIFTX(shrx, s >> n, s >> n)
SHIFTX(sarx, (int32_t)s >> n, (int64_t)s >> n)

#define RORX_ONE(form, bits, source)                                           \
	EXEC(rorx_##form##bits)                                                \
	{                                                                      \
		uint##bits##_t s = source;                                     \
		unsigned n = (unsigned)i->imm & (bits - 1);                    \
		SET##bits(i->a, s >> n | s << (-n & (bits - 1)));              \
		return next(c, i);                                             \
	}
RORX_ONE(rr, 32, GET32(i->b))
RORX_ONE(rr, 64, GET64(i->b))
RORX_ONE(rm, 32, LOAD_OPERAND(32))
RORX_ONE(rm, 64, LOAD_OPERAND(64))
const struct handler h_rorx = {
    .fn = {[FORM_RR] = {NULL, NULL, rorx_rr32, rorx_rr64},
	   [FORM_RM] = {NULL, NULL, rorx_rm32, rorx_rm64}}};
