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

static const struct simd_row rows[] = {
#define SIMD_ROW(name_, map_, pp_, op_, ext_, attr_, feature_, size_, exec_)   \
	{                                                                      \
	    .name = name_,                                                     \
	    .exec = exec_,                                                     \
	    .attr = attr_,                                                     \
	    .feature = X86_FEATURE_##feature_,                                 \
	    .map = MAP_##map_,                                                 \
	    .pp = PP_##pp_,                                                    \
	    .op = op_,                                                         \
	    .ext = ext_,                                                       \
	    .low = -1,                                                         \
	    .size = SIZE_##size_,                                              \
	},
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
#undef SIMD
#undef SIMD_C
#undef X87
#undef X87_C
};

/* A row's number, by its line in the file. */
#define PASTE(line)      row_of_line_##line
#define ROW_NUMBER(line) PASTE(line)
enum {
#define SIMD(...)   ROW_NUMBER(__LINE__),
#define SIMD_C(...) ROW_NUMBER(__LINE__),
#define X87(...)    ROW_NUMBER(__LINE__),
#define X87_C(...)  ROW_NUMBER(__LINE__),
#include "x86/opcodes_simd.def"
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

unsigned simd_feature(const struct simd_row *row, bool vex, unsigned vl)
{
	if (!vex || row->attr & S_NOLEG)
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
		return vl == 32 ? 32 : 8;
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
