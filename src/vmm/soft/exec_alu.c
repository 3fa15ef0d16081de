/* SPDX-License-Identifier: BSD-2-Clause */
/* ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG, NOT, ADCX, ADOX.
 */
#include "vmm/soft/exec.h"

/*
 * dst op= src with the flags into f. READ is the flags' way in: empty, or
 * CARRY_IN. dst is a register or memory constraint by LOC.
 */
#define ALU_ASM(insn, sfx, READ, LOC, dst, src, lock)                          \
	__asm__ volatile(READ lock #insn #sfx " %2, %1" FLAGS_OUT              \
			 : "+&a"(f), LOC(dst)                                  \
			 : "r"(src)                                            \
			 : "cc", "memory")

#define ALU_FORMS(name, READ, bits, sfx)                                       \
	EXEC(name##_rr##bits)                                                  \
	{                                                                      \
		uint##bits##_t d = GET##bits(i->a), s = GET##bits(i->b);       \
		uint16_t f = c->arith_flags;                                   \
		ALU_ASM(name, sfx, READ, "+r", d, s, "");                      \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(name##_ri##bits)                                                  \
	{                                                                      \
		uint##bits##_t d = GET##bits(i->a);                            \
		uint##bits##_t s = (uint##bits##_t)i->imm;                     \
		uint16_t f = c->arith_flags;                                   \
		ALU_ASM(name, sfx, READ, "+r", d, s, "");                      \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(name##_rm##bits)                                                  \
	{                                                                      \
		uint##bits##_t s = LOAD_OPERAND(bits), d = GET##bits(i->a);    \
		uint16_t f = c->arith_flags;                                   \
		ALU_ASM(name, sfx, READ, "+r", d, s, "");                      \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}                                                                      \
	ALU_MEMORY(name, mr, READ, bits, sfx, GET##bits(i->b), "")             \
	ALU_MEMORY(name, mi, READ, bits, sfx, (uint##bits##_t)i->imm, "")      \
	ALU_MEMORY(name, lock_mr, READ, bits, sfx, GET##bits(i->b), "lock ")   \
	ALU_MEMORY(name, lock_mi, READ, bits, sfx, (uint##bits##_t)i->imm,     \
		   "lock ")

#define ALU_MEMORY(name, form, READ, bits, sfx, source, lock)                  \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t *p = OPERAND_RW(bits), s = source;              \
		uint16_t f = c->arith_flags;                                   \
		ALU_ASM(name, sfx, READ, "+m", *p, s, lock);                   \
		operand_end(c, i);                                             \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}

#define ALU(name, READ)                                                        \
	SIZES(ALU_FORMS, name, READ)                                           \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = ROW(name##_rr),                                 \
		   [FORM_RM] = ROW(name##_rm),                                 \
		   [FORM_MR] = ROW(name##_mr),                                 \
		   [FORM_RI] = ROW(name##_ri),                                 \
		   [FORM_MI] = ROW(name##_mi)},                                \
	    .locked = {ROW(name##_lock_mr), ROW(name##_lock_mi)}};

ALU(add, "")
ALU(or, "")
ALU(and, "")
ALU(sub, "")
ALU(xor, "")
ALU(adc, CARRY_IN)
ALU(sbb, CARRY_IN)

/* -- CMP, TEST: nothing is written ---------------------------------------- */

#define COMPARE_ONE(name, form, bits, sfx, left, right)                        \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t d = left, s = right;                            \
		uint16_t f;                                                    \
		__asm__(#name #sfx " %2, %1" FLAGS_OUT                         \
			: "=&a"(f)                                             \
			: "r"(d), "r"(s)                                       \
			: "cc");                                               \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define COMPARE_FORMS(name, bits, sfx)                                         \
	COMPARE_ONE(name, rr, bits, sfx, GET##bits(i->a), GET##bits(i->b))     \
	COMPARE_ONE(name, ri, bits, sfx, GET##bits(i->a),                      \
		    (uint##bits##_t)i->imm)                                    \
	COMPARE_ONE(name, rm, bits, sfx, GET##bits(i->a), LOAD_OPERAND(bits))  \
	COMPARE_ONE(name, mr, bits, sfx, LOAD_OPERAND(bits), GET##bits(i->b))  \
	COMPARE_ONE(name, mi, bits, sfx, LOAD_OPERAND(bits),                   \
		    (uint##bits##_t)i->imm)
#define COMPARE(name)                                                          \
	SIZES(COMPARE_FORMS, name)                                             \
	const struct handler h_##name = {.fn = {[FORM_RR] = ROW(name##_rr),    \
						[FORM_RM] = ROW(name##_rm),    \
						[FORM_MR] = ROW(name##_mr),    \
						[FORM_RI] = ROW(name##_ri),    \
						[FORM_MI] = ROW(name##_mi)}};

COMPARE(cmp)
COMPARE(test)

/* -- one operand ------------------------------------------------------------
 */

#define UNARY_MEMORY(name, form, READ, bits, sfx, lock)                        \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t *p = OPERAND_RW(bits);                          \
		uint16_t f = c->arith_flags;                                   \
		__asm__ volatile(READ lock #name #sfx " %1" FLAGS_OUT          \
				 : "+&a"(f), "+m"(*p)                          \
				 :                                             \
				 : "cc", "memory");                            \
		operand_end(c, i);                                             \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define UNARY_FORMS(name, READ, bits, sfx)                                     \
	EXEC(name##_rr##bits)                                                  \
	{                                                                      \
		uint##bits##_t d = GET##bits(i->a);                            \
		uint16_t f = c->arith_flags;                                   \
		__asm__(READ #name #sfx " %1" FLAGS_OUT                        \
			: "+&a"(f), "+r"(d)                                    \
			:                                                      \
			: "cc");                                               \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}                                                                      \
	UNARY_MEMORY(name, mr, READ, bits, sfx, "")                            \
	UNARY_MEMORY(name, lock_mr, READ, bits, sfx, "lock ")
#define UNARY(name, READ)                                                      \
	SIZES(UNARY_FORMS, name, READ)                                         \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = ROW(name##_rr), [FORM_MR] = ROW(name##_mr)},    \
	    .locked = {ROW(name##_lock_mr)}};

UNARY(inc, CARRY_IN)
UNARY(dec, CARRY_IN)
UNARY(neg, "")
UNARY(not, FLAGS_IN)

/* -- ADCX, ADOX: one flag each; 66 is no operand size for them
 * ------------------------------------------------
 */

#define ADX_ONE(name, form, bits, sfx, source)                                 \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source, d = GET##bits(i->a);                \
		uint16_t f = c->arith_flags;                                   \
		__asm__(FLAGS_IN #name #sfx " %2, %1" FLAGS_OUT                \
			: "+&a"(f), "+r"(d)                                    \
			: "r"(s)                                               \
			: "cc");                                               \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define ADX(name)                                                              \
	ADX_ONE(name, rr, 32, l, GET32(i->b))                                  \
	ADX_ONE(name, rr, 64, q, GET64(i->b))                                  \
	ADX_ONE(name, rm, 32, l, LOAD_OPERAND(32))                             \
	ADX_ONE(name, rm, 64, q, LOAD_OPERAND(64))                             \
	const struct handler h_##name = {                                      \
	    .fn = {                                                            \
		[FORM_RR] = {NULL, name##_rr32, name##_rr32, name##_rr64},     \
		[FORM_RM] = {NULL, name##_rm32, name##_rm32, name##_rm64}}};

ADX(adcx)
ADX(adox)
