/* SPDX-License-Identifier: BSD-2-Clause */
/* Bit test, scan and count; BMI1, BMI2, CRC32, BSWAP. */
#include "vmm/soft/exec.h"

/* -- BT, BTS, BTR, BTC --------------------------------------------------------
 * A register bit offset reaches beyond a memory operand, both ways; an
 * immediate one is modulo the operand size (SDM vol. 1, 4.4.3... vol. 2, BT).
 */

static uint64_t bit_string_va(struct cpu *c, const struct insn *i,
			      int64_t index, unsigned bytes, enum access access)
{
	unsigned shift = i->lsize == 1 ? 4 : i->lsize == 2 ? 5 : 6;
	uint64_t offset = REG64(c, i->base) + (REG64(c, i->index) << i->scale) +
			  (uint64_t)i->disp +
			  (uint64_t)(index >> shift) * bytes;

	if (i->flags & INSN_EA_SLOW)
		return ea_slow(c, i, offset, bytes, access);
	return offset;
}

#define BT_ASM(insn, sfx, LOC, dst, index, lock)                               \
	__asm__ volatile(FLAGS_IN lock #insn #sfx " %2, %1" FLAGS_OUT          \
			 : "+&a"(f), LOC(dst)                                  \
			 : "r"(index)                                          \
			 : "cc", "memory")

#define BT_REG(name, form, bits, sfx, index)                                   \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t d = GET##bits(i->a);                            \
		uint##bits##_t n = (uint##bits##_t)(index) & (bits - 1);       \
		uint16_t f = c->arith_flags;                                   \
		BT_ASM(name, sfx, "+r", d, n, "");                             \
		BT_KEEP_##name(bits);                                          \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
/* The memory form works on one element; the index inside it is reduced. */
#define BT_MEM(name, form, bits, sfx, va, index, lock)                         \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t *p = operand(c, i, va, bits / 8, ACCESS_WRITE); \
		uint##bits##_t n = (uint##bits##_t)(index) & (bits - 1);       \
		uint16_t f = c->arith_flags;                                   \
		BT_ASM(name, sfx, "+m", *p, n, lock);                          \
		operand_end(c, i);                                             \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define BT_STRING_VA(bits, access)                                             \
	bit_string_va(c, i, (int##bits##_t)GET##bits(i->b), bits / 8, access)
#define BT_FORMS(name, bits, sfx)                                              \
	BT_REG(name, rr, bits, sfx, GET##bits(i->b))                           \
	BT_REG(name, ri, bits, sfx, i->imm)                                    \
	BT_MEM(name, mr, bits, sfx, BT_STRING_VA(bits, ACCESS_WRITE),          \
	       GET##bits(i->b), "")                                            \
	BT_MEM(name, mi, bits, sfx, operand_va(c, i, bits / 8, ACCESS_WRITE),  \
	       i->imm, "")                                                     \
	BT_MEM(name, lock_mr, bits, sfx, BT_STRING_VA(bits, ACCESS_WRITE),     \
	       GET##bits(i->b), "lock ")                                       \
	BT_MEM(name, lock_mi, bits, sfx,                                       \
	       operand_va(c, i, bits / 8, ACCESS_WRITE), i->imm, "lock ")
#define BT_KEEP_bts(bits) SET##bits(i->a, d)
#define BT_KEEP_btr(bits) SET##bits(i->a, d)
#define BT_KEEP_btc(bits) SET##bits(i->a, d)
#define BT_KEEP_bt(bits)  (void)d

#define BT_HANDLER(name)                                                       \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = ROW_WLQ(name##_rr),                             \
		   [FORM_MR] = ROW_WLQ(name##_mr),                             \
		   [FORM_RI] = ROW_WLQ(name##_ri),                             \
		   [FORM_MI] = ROW_WLQ(name##_mi)},                            \
	    .locked = {BT_LOCKED_##name}};
#define BT_LOCKED_bts ROW_WLQ(bts_lock_mr), ROW_WLQ(bts_lock_mi)
#define BT_LOCKED_btr ROW_WLQ(btr_lock_mr), ROW_WLQ(btr_lock_mi)
#define BT_LOCKED_btc ROW_WLQ(btc_lock_mr), ROW_WLQ(btc_lock_mi)

SIZES_WLQ(BT_FORMS, bts)
SIZES_WLQ(BT_FORMS, btr)
SIZES_WLQ(BT_FORMS, btc)
BT_HANDLER(bts)
BT_HANDLER(btr)
BT_HANDLER(btc)

/* BT only reads. */
#define BT_READ(form, bits, sfx, va, index)                                    \
	EXEC(bt_##form##bits)                                                  \
	{                                                                      \
		uint##bits##_t d = load##bits(c, i, va);                       \
		uint##bits##_t n = (uint##bits##_t)(index) & (bits - 1);       \
		uint16_t f = c->arith_flags;                                   \
		BT_ASM(bt, sfx, "+r", d, n, "");                               \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define BT_READ_FORMS(name, bits, sfx)                                         \
	BT_REG(name, rr, bits, sfx, GET##bits(i->b))                           \
	BT_REG(name, ri, bits, sfx, i->imm)                                    \
	BT_READ(mr, bits, sfx, BT_STRING_VA(bits, ACCESS_READ),                \
		GET##bits(i->b))                                               \
	BT_READ(mi, bits, sfx, operand_va(c, i, bits / 8, ACCESS_READ), i->imm)
SIZES_WLQ(BT_READ_FORMS, bt)
const struct handler h_bt = {.fn = {[FORM_RR] = ROW_WLQ(bt_rr),
				    [FORM_MR] = ROW_WLQ(bt_mr),
				    [FORM_RI] = ROW_WLQ(bt_ri),
				    [FORM_MI] = ROW_WLQ(bt_mi)}};

/* -- scans and counts: dst may keep its value (BSF, BSR of zero) -------------
 */

#define SCAN_ONE(name, form, bits, sfx, source)                                \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source, d = GET##bits(i->a);                \
		uint16_t f = c->arith_flags;                                   \
		__asm__(FLAGS_IN #name #sfx " %2, %1" FLAGS_OUT                \
			: "+&a"(f), "+r"(d)                                    \
			: "r"(s)                                               \
			: "cc");                                               \
		SCAN_SET_##name(bits, s, d);                                   \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define SCAN_FORMS(name, bits, sfx)                                            \
	SCAN_ONE(name, rr, bits, sfx, GET##bits(i->b))                         \
	SCAN_ONE(name, rm, bits, sfx, LOAD_OPERAND(bits))
#define SCAN(name)                                                             \
	SIZES_WLQ(SCAN_FORMS, name)                                            \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = ROW_WLQ(name##_rr),                             \
		   [FORM_RM] = ROW_WLQ(name##_rm)}};
/* Of zero, the destination is left whole, its upper half too (AMD). */
#define SCAN_SET_bsf(bits, s, d)                                               \
	do {                                                                   \
		if ((s) != 0)                                                  \
			SET##bits(i->a, d);                                    \
	} while (0)
#define SCAN_SET_bsr(bits, s, d)    SCAN_SET_bsf(bits, s, d)
#define SCAN_SET_popcnt(bits, s, d) SET##bits(i->a, d)
#define SCAN_SET_tzcnt(bits, s, d)  SET##bits(i->a, d)
#define SCAN_SET_lzcnt(bits, s, d)  SET##bits(i->a, d)

SCAN(bsf)
SCAN(bsr)
SCAN(popcnt)
SCAN(tzcnt)
SCAN(lzcnt)

/* -- BMI, by the host's instruction -------------------------------------------
 */

#define BMI_HANDLER(name)                                                      \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = {NULL, NULL, name##_rr32, name##_rr64},         \
		   [FORM_RM] = {NULL, NULL, name##_rm32, name##_rm64}}};
#define BMI_SIZES(M, name)                                                     \
	M(name, rr, 32, k, GET32(i->b))                                        \
	M(name, rr, 64, q, GET64(i->b))                                        \
	M(name, rm, 32, k, LOAD_OPERAND(32))                                   \
	M(name, rm, 64, q, LOAD_OPERAND(64))                                   \
	BMI_HANDLER(name)

/* a = op(c, b): ANDN, PEXT, PDEP. In AT&T order: E, V, G. */
#define BMI_G_V_E(name, form, bits, k, source)                                 \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source, v = GET##bits(i->c), d;             \
		uint16_t f = c->arith_flags;                                   \
		__asm__(FLAGS_IN #name " %2, %3, %1" FLAGS_OUT                 \
			: "+&a"(f), "=r"(d)                                    \
			: "r"(s), "r"(v)                                       \
			: "cc");                                               \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
/* a = op(b, c): BEXTR, BZHI. In AT&T order: V, E, G. */
#define BMI_G_E_V(name, form, bits, k, source)                                 \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source, v = GET##bits(i->c), d;             \
		uint16_t f = c->arith_flags;                                   \
		__asm__(FLAGS_IN #name " %3, %2, %1" FLAGS_OUT                 \
			: "+&a"(f), "=r"(d)                                    \
			: "r"(s), "r"(v)                                       \
			: "cc");                                               \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
/* a = op(b): BLSR, BLSMSK, BLSI. */
#define BMI_V_E(name, form, bits, k, source)                                   \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source, d;                                  \
		uint16_t f = c->arith_flags;                                   \
		__asm__(FLAGS_IN #name " %2, %1" FLAGS_OUT                     \
			: "+&a"(f), "=r"(d)                                    \
			: "r"(s)                                               \
			: "cc");                                               \
		SET##bits(i->a, d);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
BMI_SIZES(BMI_G_V_E, andn)
BMI_SIZES(BMI_G_V_E, pext)
BMI_SIZES(BMI_G_V_E, pdep)
BMI_SIZES(BMI_G_E_V, bextr)
BMI_SIZES(BMI_G_E_V, bzhi)
BMI_SIZES(BMI_V_E, blsr)
BMI_SIZES(BMI_V_E, blsmsk)
BMI_SIZES(BMI_V_E, blsi)

/* MULX: RDX * b to a (high) and c (low); the high half wins if both are one. */
#define MULX_ONE(name, form, bits, k, source)                                  \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source, d = GET##bits(REG_RDX), hi, lo;     \
		__asm__("mul %3"                                               \
			: "=a"(lo), "=d"(hi)                                   \
			: "a"(d), "r"(s)                                       \
			: "cc");                                               \
		SET##bits(i->c, lo);                                           \
		SET##bits(i->a, hi);                                           \
		return next(c, i);                                             \
	}
BMI_SIZES(MULX_ONE, mulx)

/* -- CRC32 --------------------------------------------------------------------
 */

#define CRC_ONE(name, form, bits, sfx, source)                                 \
	EXEC(name##_##form##bits)                                              \
	{                                                                      \
		uint##bits##_t s = source;                                     \
		uint64_t d = GET32(i->a);                                      \
		__asm__(".ifc " #sfx ",q\n\tcrc32q %1, %q0\n\t.else\n\t"       \
			"crc32" #sfx " %1, %k0\n\t.endif"                      \
			: "+r"(d)                                              \
			: "r"(s));                                             \
		SET64(i->a, (uint32_t)d);                                      \
		return next(c, i);                                             \
	}
#define CRC_FORMS(name, bits, sfx)                                             \
	CRC_ONE(name, rr, bits, sfx, GET##bits(i->b))                          \
	CRC_ONE(name, rm, bits, sfx, LOAD_OPERAND(bits))
SIZES(CRC_FORMS, crc32)
const struct handler h_crc32 = {
    .fn = {[FORM_RR] = ROW_WLQ(crc32_rr), [FORM_RM] = ROW_WLQ(crc32_rm)}};
const struct handler h_crc32b = {
    .fn = {[FORM_RR] = {NULL, crc32_rr8, crc32_rr8, crc32_rr8},
	   [FORM_RM] = {NULL, crc32_rm8, crc32_rm8, crc32_rm8}}};

/* -- BSWAP --------------------------------------------------------------------
 */

EXEC(bswap16) /* undefined; CPUs clear the register */
{
	SET16(i->a, 0);
	return next(c, i);
}

EXEC(bswap32)
{
	SET32(i->a, __builtin_bswap32(GET32(i->a)));
	return next(c, i);
}

EXEC(bswap64)
{
	SET64(i->a, __builtin_bswap64(GET64(i->a)));
	return next(c, i);
}

const struct handler h_bswap = {
    .fn = {[FORM_RR] = {NULL, bswap16, bswap32, bswap64}}};
