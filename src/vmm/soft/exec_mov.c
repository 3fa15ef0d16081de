/* SPDX-License-Identifier: BSD-2-Clause */
/* Moves: MOV, MOVZX, MOVSX, LEA, CMOVcc, SETcc, MOVBE, XLAT, NOP. */
#include "vmm/soft/exec.h"

#define MOV_FORMS(name, bits, sfx)                                             \
	EXEC(name##_rr##bits)                                                  \
	{                                                                      \
		SET##bits(i->a, GET##bits(i->b));                              \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(name##_ri##bits)                                                  \
	{                                                                      \
		SET##bits(i->a, i->imm);                                       \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(name##_rm##bits)                                                  \
	{                                                                      \
		SET##bits(i->a, LOAD_OPERAND(bits));                           \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(name##_mr##bits)                                                  \
	{                                                                      \
		STORE_OPERAND(bits, GET##bits(i->b));                          \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(name##_mi##bits)                                                  \
	{                                                                      \
		STORE_OPERAND(bits, (uint##bits##_t)i->imm);                   \
		return next(c, i);                                             \
	}
SIZES(MOV_FORMS, mov)
const struct handler h_mov = {.fn = {[FORM_RR] = ROW(mov_rr),
				     [FORM_RI] = ROW(mov_ri),
				     [FORM_RM] = ROW(mov_rm),
				     [FORM_MR] = ROW(mov_mr),
				     [FORM_MI] = ROW(mov_mi)}};
/* In 16-bit code, too, it is of 32 bits: 66 makes another instruction. */
const struct handler h_movnti = {
    .fn = {[FORM_MR] = {NULL, mov_mr32, mov_mr32, mov_mr64}}};

/* -- extensions: source width in the name, destination by size
 * ----------------- */

#define EXTEND_ONE(name, from, cast, bits)                                     \
	EXEC(name##_rr##bits)                                                  \
	{                                                                      \
		SET##bits(i->a, (cast)GET##from(i->b));                        \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(name##_rm##bits)                                                  \
	{                                                                      \
		SET##bits(i->a, (cast)LOAD_OPERAND(from));                     \
		return next(c, i);                                             \
	}
#define EXTEND(name, from, cast)                                               \
	EXTEND_ONE(name, from, cast, 16)                                       \
	EXTEND_ONE(name, from, cast, 32)                                       \
	EXTEND_ONE(name, from, cast, 64)                                       \
	const struct handler h_##name = {                                      \
	    .fn = {[FORM_RR] = ROW_WLQ(name##_rr),                             \
		   [FORM_RM] = ROW_WLQ(name##_rm)}};
EXTEND(movzxb, 8, uint8_t)
EXTEND(movzxw, 16, uint16_t)
EXTEND(movsxb, 8, int8_t)
EXTEND(movsxw, 16, int16_t)

/* With a 16-bit destination AMD's CPUs still read 32 bits. */
EXTEND_ONE(movsxd, 32, int32_t, 16)
EXTEND_ONE(movsxd, 32, int32_t, 64)
const struct handler h_movsxd = {
    .fn = {[FORM_RR] = {NULL, movsxd_rr16, mov_rr32, movsxd_rr64},
	   [FORM_RM] = {NULL, movsxd_rm16, mov_rm32, movsxd_rm64}}};

/* -- LEA
 * ------------------------------------------------------------------------ */

static inline uint64_t lea_offset(struct cpu *c, const struct insn *i)
{
	uint64_t offset = REG64(c, i->base) + (REG64(c, i->index) << i->scale) +
			  (uint64_t)i->disp;

	if (unlikely(i->asize != 3))
		return i->asize == 2 ? (uint32_t)offset : (uint16_t)offset;
	return offset;
}

#define LEA(name, bits, sfx)                                                   \
	EXEC(name##bits)                                                       \
	{                                                                      \
		SET##bits(i->a, lea_offset(c, i));                             \
		return next(c, i);                                             \
	}
SIZES_WLQ(LEA, lea)
const struct handler h_lea = {.fn = {[FORM_RM] = ROW_WLQ(lea)}};

/* -- CMOVcc, SETcc
 * --------------------------------------------------------------- */

#define CMOV_SIZE(cc, bits)                                                    \
	EXEC(cmov##cc##_rr##bits)                                              \
	{                                                                      \
		uint##bits##_t d = GET##bits(i->a);                            \
		if (COND_##cc(c->arith_flags))                                 \
			d = GET##bits(i->b);                                   \
		SET##bits(i->a, d);                                            \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(cmov##cc##_rm##bits)                                              \
	{                                                                      \
		uint##bits##_t s = LOAD_OPERAND(bits), d = GET##bits(i->a);    \
		if (COND_##cc(c->arith_flags))                                 \
			d = s;                                                 \
		SET##bits(i->a, d);                                            \
		return next(c, i);                                             \
	}
#define CMOV(cc)                                                               \
	CMOV_SIZE(cc, 16)                                                      \
	CMOV_SIZE(cc, 32)                                                      \
	CMOV_SIZE(cc, 64)                                                      \
	const struct handler h_cmov##cc = {                                    \
	    .fn = {[FORM_RR] = ROW_WLQ(cmov##cc##_rr),                         \
		   [FORM_RM] = ROW_WLQ(cmov##cc##_rm)}};
CONDITIONS(CMOV)

#define SETCC(cc)                                                              \
	EXEC(set##cc##_rr8)                                                    \
	{                                                                      \
		SET8(i->a, COND_##cc(c->arith_flags));                         \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(set##cc##_mr8)                                                    \
	{                                                                      \
		STORE_OPERAND(8, COND_##cc(c->arith_flags));                   \
		return next(c, i);                                             \
	}                                                                      \
	const struct handler h_set##cc = {                                     \
	    .fn = {[FORM_RR] = {set##cc##_rr8}, [FORM_MR] = {set##cc##_mr8}}};
CONDITIONS(SETCC)

/* -- MOVBE
 * ------------------------------------------------------------------------ */

#define MOVBE_FORMS(name, bits, sfx)                                           \
	EXEC(movbe_rm##bits)                                                   \
	{                                                                      \
		SET##bits(i->a, __builtin_bswap##bits(LOAD_OPERAND(bits)));    \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(movbe_mr##bits)                                                   \
	{                                                                      \
		STORE_OPERAND(bits, __builtin_bswap##bits(GET##bits(i->b)));   \
		return next(c, i);                                             \
	}
SIZES_WLQ(MOVBE_FORMS, movbe)
const struct handler h_movbe = {
    .fn = {[FORM_RM] = ROW_WLQ(movbe_rm), [FORM_MR] = ROW_WLQ(movbe_mr)}};

/* -- the rest
 * ---------------------------------------------------------------------- */

EXEC(xlat)
{
	uint64_t offset = REG64(c, REG_RBX) + REG8(c, REG_RAX);

	if (i->asize != 3)
		offset = i->asize == 2 ? (uint32_t)offset : (uint16_t)offset;
	SET8(REG_RAX,
	     load8(c, i, seg_linear(c, i, i->seg, offset, 1, ACCESS_READ)));
	return next(c, i);
}

const struct handler h_xlat = {.one = xlat};

EXEC(nop)
{
	return next(c, i);
}

const struct handler h_nop = {.one = nop};
