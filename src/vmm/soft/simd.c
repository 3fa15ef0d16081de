// SPDX-License-Identifier: BSD-2-Clause
/* The table of vector and x87 instructions, and the search in it. */
#include "vmm/soft/simd.h"

#include "base/bits.h"
#include "vmm/soft/vec.h"
#include "x86/features.h"

#define PP_0  0x00
#define PP_66 0x66
#define PP_F3 0xf3
#define PP_F2 0xf2

/* What rows of all prefixes have. */
#define ROW_FIELDS(name_, map_, pp_, op_, ext_, attr_, feature_, size_, exec_) \
	.name = name_, .exec = exec_, .attr = attr_,                           \
	.feature = X86_FEATURE_##feature_, .map = MAP_##map_, .pp = PP_##pp_,  \
	.op = op_, .ext = ext_, .low = -1, .size = SIZE_##size_

static const struct simd_row rows[] = {
#define SIMD_ROW(...) {ROW_FIELDS(__VA_ARGS__)},
#define SIMD(name, map, pp, op, ext, attr, feature, size)                      \
	SIMD_ROW(name, map, pp, op, ext, attr, feature, size, NULL)
#define SIMD_C(name, map, pp, op, ext, attr, feature, exec)                    \
	SIMD_ROW(name, map, pp, op, ext, attr, feature, C, exec)
#define X87_ROW(name_, op_, ext_, low_, size_, attr_, exec_)                   \
	{                                                                      \
	    .name = name_,                                                     \
	    .exec = exec_,                                                     \
	    .attr = S_X87 | (SIZE_##size_ ? S_MEM : S_REG) | (attr_),          \
	    .feature = X86_FEATURE_FPU,                                        \
	    .map = MAP_1,                                                      \
	    .op = op_,                                                         \
	    .ext = ext_,                                                       \
	    .low = low_,                                                       \
	    .size = SIZE_##size_,                                              \
	},
#define X87(name, op, ext, low, size, attr)                                    \
	X87_ROW(name, op, ext, low, size, attr, NULL)
#define X87_C(name, op, ext, low, size, attr, exec)                            \
	X87_ROW(name, op, ext, low, size, attr, exec)
#include "x86/opcodes_simd.def"
#define EVEX_C(n, name_, map_, pp_, op_, ext_, attr_, feature_, size_, how_,   \
	       element_, exec_)                                                \
	{                                                                      \
	    ROW_FIELDS(name_, map_, pp_, op_, ext_, attr_, feature_, size_,    \
		       exec_),                                                 \
	    .is_evex = true,                                                   \
	    .element = element_,                                               \
	    .how = how_,                                                       \
	},
#define EVEX(n, name, map, pp, op, ext, attr, feature, size, how, element)     \
	EVEX_C(n, name, map, pp, op, ext, attr, feature, size, how, element,   \
	       NULL)
#include "x86/opcodes_evex.def"
#undef EVEX
#undef EVEX_C
#undef SIMD
#undef SIMD_C
#undef X87
#undef X87_C
};

/* A row's number, by its line in the file, and its place in the line. */
#define PASTE(line)              row_of_line_##line
#define ROW_NUMBER(line)         PASTE(line)
#define EVEX_PASTE(n, line)      evex_row_##n##_of_line_##line
#define EVEX_ROW_NUMBER(n, line) EVEX_PASTE(n, line)
enum {
#define SIMD(...)   ROW_NUMBER(__LINE__),
#define SIMD_C(...) ROW_NUMBER(__LINE__),
#define X87(...)    ROW_NUMBER(__LINE__),
#define X87_C(...)  ROW_NUMBER(__LINE__),
#include "x86/opcodes_simd.def"
#define EVEX(n, ...)   EVEX_ROW_NUMBER(n, __LINE__),
#define EVEX_C(n, ...) EVEX_ROW_NUMBER(n, __LINE__),
#include "x86/opcodes_evex.def"
#undef EVEX
#undef EVEX_C
#undef SIMD
#undef SIMD_C
#undef X87
#undef X87_C
};

/*
 * The last row of each opcode, plus one. Rows of an opcode are adjacent, so
 * the search goes back from there.
 */
static const uint16_t last_row[MAP_COUNT * 256] = {
#define SIMD(name, map, pp, op, ...)                                           \
	[MAP_##map * 256 + (op)] = ROW_NUMBER(__LINE__) + 1,
#define SIMD_C             SIMD
#define X87(name, op, ...) [MAP_1 * 256 + (op)] = ROW_NUMBER(__LINE__) + 1,
#define X87_C              X87
#include "x86/opcodes_simd.def"
#undef SIMD
#undef SIMD_C
#undef X87
#undef X87_C
};

static const uint16_t last_evex_row[MAP_COUNT * 256] = {
#define EVEX(n, name, map, pp, op, ...)                                        \
	[MAP_##map * 256 + (op)] = EVEX_ROW_NUMBER(n, __LINE__) + 1,
#define EVEX_C EVEX
#include "x86/opcodes_evex.def"
#undef EVEX
#undef EVEX_C
};

static bool form_matches(const struct simd_row *row, uint8_t modrm)
{
	bool reg = modrm >> 6 == 3;

	if (row->attr & S_NOMODRM)
		return true;
	if (row->attr & (reg ? S_MEM : S_REG))
		return false;
	if (row->ext >= 0 && row->ext != (modrm >> 3 & 7))
		return false;
	return row->low < 0 || !reg || row->low == (modrm & 7);
}

static bool vex_matches(const struct simd_row *row, bool vex, unsigned vl,
			bool w)
{
	if (!vex)
		return !(row->attr & S_NOLEG);
	if (!(row->attr & (S_VEX | S_NOLEG)) || vl > 1)
		return false;
	if (row->attr & (vl ? S_L0 : S_L1))
		return false;
	return !(row->attr & (w ? S_W0 : S_W1));
}

const struct simd_row *simd_find(unsigned map, unsigned pp, unsigned opcode,
				 uint8_t modrm, bool vex, unsigned vl, bool w)
{
	const struct simd_row *row;

	if (map >= MAP_COUNT || opcode > 0xff ||
	    last_row[map * 256 + opcode] == 0)
		return NULL;
	row = &rows[last_row[map * 256 + opcode] - 1];
	for (;; row--) {
		if (row->map != map || row->op != opcode)
			return NULL;
		if ((map == MAP_1 || row->pp == pp) &&
		    form_matches(row, modrm) && vex_matches(row, vex, vl, w))
			return row;
		if (row == rows)
			return NULL;
	}
}

/* -- EVEX ---------------------------------------------------------------------
 */

/* 128, 256, 512 bits: 0, 1, 2. L'L has another meaning with E_ER, E_SAE. */
static unsigned evex_length(const struct simd_row *row, const struct dec *d,
			    uint8_t modrm)
{
	if (d->b && modrm >= 0xc0 && row->how & (E_ER | E_SAE))
		return 2;
	return d->vector_len;
}

static bool length_matches(const struct simd_row *row, unsigned vl)
{
	if (row->how & E_L0)
		return vl == 0;
	if (row->how & E_L12)
		return vl == 1 || vl == 2;
	return row->how & E_L2 ? vl == 2 : vl <= 2;
}

static bool b_matches(const struct simd_row *row, const struct dec *d, bool reg)
{
	if (!d->b)
		return true;
	return reg ? row->how & (E_ER | E_SAE) : row->how & E_BC;
}

static bool mask_matches(const struct simd_row *row, const struct dec *d,
			 bool reg)
{
	bool zeroing =
	    (row->how & E_MASK) == E_MASK && (reg || !(row->attr & S_WRITES));

	if (d->aaa == 0)
		return !d->z && !(row->how & E_NEED);
	return row->how & E_MERGE && (!d->z || zeroing);
}

/* Bits 3 and 4 of registers of which there are eight, or 16. */
static bool registers_exist(const struct simd_row *row, const struct dec *d)
{
	if (row->attr & S_GREG)
		return !d->evex_r2;
	return !(row->how & E_KREG) || !(d->evex_r2 || d->reg & 8);
}

static bool evex_matches(const struct simd_row *row, const struct dec *d,
			 uint8_t modrm)
{
	bool reg = modrm >= 0xc0;

	return row->pp == d->pp && form_matches(row, modrm) &&
	       !(row->attr & (d->rex_w ? S_W0 : S_W1)) &&
	       length_matches(row, evex_length(row, d, modrm)) &&
	       b_matches(row, d, reg) && mask_matches(row, d, reg) &&
	       registers_exist(row, d);
}

bool simd_knows(const struct dec *d)
{
	const uint16_t *last = d->is_evex ? last_evex_row : last_row;

	return d->map < MAP_COUNT && last[d->map * 256 + d->opcode] != 0;
}

const struct simd_row *simd_find_evex(const struct dec *d, uint8_t modrm)
{
	unsigned last;

	if (d->map >= MAP_COUNT)
		return NULL;
	last = last_evex_row[d->map * 256 + d->opcode];
	if (last == 0)
		return NULL;
	for (const struct simd_row *row = &rows[last - 1];
	     row->is_evex && row->map == d->map && row->op == d->opcode; row--)
		if (evex_matches(row, d, modrm))
			return row;
	return NULL;
}

const struct simd_row *simd_row_of(const struct dec *d)
{
	if (d->is_evex)
		return simd_find_evex(d, d->modrm);
	return simd_find(d->map, d->pp, d->opcode, d->modrm, d->is_vex,
			 d->vector_len, d->rex_w);
}

unsigned simd_feature_evex(const struct simd_row *row, const struct dec *d)
{
	if (row->how & (E_LIG | E_L0) || evex_length(row, d, d->modrm) == 2)
		return X86_FEATURE_AVX512F;
	return X86_FEATURE_AVX512VL;
}

unsigned simd_disp8(const struct simd_row *row, const struct dec *d)
{
	return row->how & E_PACK ? row->element : simd_mem_bytes(row, d);
}

unsigned simd_mask_bits(const struct simd_row *row, const struct dec *d)
{
	struct dec whole = *d;
	unsigned bytes;

	if (row->how & E_ALL)
		return (16u << d->vector_len) / row->element;
	whole.b = false;
	bytes = simd_mem_bytes(row, &whole);
	return bytes / row->element;
}

unsigned simd_feature(const struct simd_row *row, bool vex, unsigned vl)
{
	if (!vex || row->is_evex || row->attr & S_NOLEG)
		return row->feature;
	switch (row->feature) {
	case X86_FEATURE_AES:
		return vl ? X86_FEATURE_VAES : X86_FEATURE_AES;
	case X86_FEATURE_PCLMULQDQ:
		return vl ? X86_FEATURE_VPCLMULQDQ : X86_FEATURE_PCLMULQDQ;
	case X86_FEATURE_GFNI:
		return X86_FEATURE_GFNI;
	default:
		return vl && row->attr & S_AVX2 ? X86_FEATURE_AVX2
						: X86_FEATURE_AVX;
	}
}

/* FCMOVcc, F(U)COMI(P): CMOV's too (SDM vol. 1, 8.3.3). */
bool simd_needs_cmov(const struct dec *d)
{
	unsigned reg = d->modrm >> 3 & 7;

	if (d->map != MAP_1 || d->modrm < 0xc0)
		return false;
	if (d->opcode == 0xda || d->opcode == 0xdb)
		return reg < 4 || (d->opcode == 0xdb && reg != 4 && reg != 7);
	return d->opcode == 0xdf && (reg == 5 || reg == 6);
}

unsigned simd_mem_bytes(const struct simd_row *row, const struct dec *d)
{
	unsigned vl = d->is_vex ? 16u << d->vector_len : 16;

	if (simd_is_broadcast(row, d))
		return row->element;
	/* MMX forms share rows' sizes by name: their vector is 8 bytes. */
	if (row->attr & S_MMX && !(row->attr & S_SSE))
		vl = 8;
	switch (row->size) {
	case SIZE_VL:
		return vl;
	case SIZE_VL2:
		return vl / 2;
	case SIZE_VL4:
		return vl / 4;
	case SIZE_VL8:
		return vl / 8;
	case SIZE_W:
		return d->rex_w && d->mode == 8 ? 8 : 4;
	case SIZE_DUP:
		return vl > 16 ? vl : 8;
	case SIZE_C:
		return 0;
	default:
		return row->size;
	}
}

unsigned simd_count(void)
{
	return ARRAY_SIZE(rows);
}

const struct simd_row *simd_row(unsigned n)
{
	return &rows[n];
}
