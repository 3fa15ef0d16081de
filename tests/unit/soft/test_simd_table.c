// SPDX-License-Identifier: BSD-2-Clause
/*
 * The vector and x87 table against Zydis: every opcode, prefix, form, length
 * and W has a row exactly where Zydis knows a vector or x87 instruction, with
 * the same operand size, immediates and use of vvvv.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "vmm/soft/simd.h"

struct encoding {
	unsigned map, pp, op, vl, vvvv;
	uint8_t modrm;
	bool vex, w;
	uint8_t bytes[16];
	unsigned len; /* of what the encoder wrote: operands follow */
};

static void put(struct encoding *f, unsigned byte)
{
	f->bytes[f->len++] = (uint8_t)byte;
}

static void encode(struct encoding *f)
{
	static const uint8_t map[MAP_COUNT] = {
	    [MAP_0F] = 1, [MAP_0F38] = 2, [MAP_0F3A] = 3};
	unsigned pp = f->pp == 0x66   ? 1
		      : f->pp == 0xf3 ? 2
		      : f->pp == 0xf2 ? 3
				      : 0;

	memset(f->bytes, 0, sizeof(f->bytes));
	f->len = 0;
	if (f->vex) {
		put(f, 0xc4);
		put(f, 0xe0 | map[f->map]);
		put(f, (unsigned)f->w << 7 | (~f->vvvv & 15) << 3 | f->vl << 2 |
			   pp);
	} else {
		if (f->pp)
			put(f, f->pp);
		if (f->w)
			put(f, 0x48);
		if (f->map != MAP_1)
			put(f, 0x0f);
		if (f->map == MAP_0F38)
			put(f, 0x38);
		if (f->map == MAP_0F3A)
			put(f, 0x3a);
	}
	put(f, f->op);
	if (simd_has_modrm(f->map, f->op))
		put(f, f->modrm);
}

/* Instruction sets that the table covers; the rest is decode.c's. */
static bool is_ours(const ZydisDecodedInstruction *z)
{
	switch (z->meta.isa_ext) {
	case ZYDIS_ISA_EXT_AES:
	case ZYDIS_ISA_EXT_AVX:
	case ZYDIS_ISA_EXT_AVX2:
	case ZYDIS_ISA_EXT_AVX2GATHER:
	case ZYDIS_ISA_EXT_AVXAES:
	case ZYDIS_ISA_EXT_AVX512VEX:
	case ZYDIS_ISA_EXT_F16C:
	case ZYDIS_ISA_EXT_FMA:
	case ZYDIS_ISA_EXT_GFNI:
	case ZYDIS_ISA_EXT_MMX:
	case ZYDIS_ISA_EXT_PCLMULQDQ:
	case ZYDIS_ISA_EXT_SHA:
	case ZYDIS_ISA_EXT_SSE:
	case ZYDIS_ISA_EXT_SSE2:
	case ZYDIS_ISA_EXT_SSE3:
	case ZYDIS_ISA_EXT_SSE4:
	case ZYDIS_ISA_EXT_SSE4A:
	case ZYDIS_ISA_EXT_SSSE3:
	case ZYDIS_ISA_EXT_VAES:
	case ZYDIS_ISA_EXT_VPCLMULQDQ:
	case ZYDIS_ISA_EXT_X87:
	case ZYDIS_ISA_EXT_XSAVE:
	case ZYDIS_ISA_EXT_XSAVEC:
	case ZYDIS_ISA_EXT_XSAVEOPT:
	case ZYDIS_ISA_EXT_XSAVES:
		break;
	default:
		return false;
	}
	/* General registers and memory only. */
	switch (z->mnemonic) {
	case ZYDIS_MNEMONIC_CRC32:
	case ZYDIS_MNEMONIC_LFENCE:
	case ZYDIS_MNEMONIC_MFENCE:
	case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_POPCNT:
	case ZYDIS_MNEMONIC_PREFETCHNTA:
	case ZYDIS_MNEMONIC_PREFETCHT0:
	case ZYDIS_MNEMONIC_PREFETCHT1:
	case ZYDIS_MNEMONIC_PREFETCHT2:
	case ZYDIS_MNEMONIC_SFENCE:
	case ZYDIS_MNEMONIC_XGETBV:
	case ZYDIS_MNEMONIC_XSETBV:
		return false;
	default:
		return true;
	}
}

static const ZydisDecodedOperand *
memory_operand(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *o)
{
	for (unsigned k = 0; k < z->operand_count_visible; k++)
		if (o[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &o[k];
	return NULL;
}

struct score {
	unsigned agreed, wrong;
};

static void complain(struct score *s, const struct encoding *f,
		     const char *what, const char *name)
{
	if (s->wrong++ > 40)
		return;
	print_message("%s (%s):", what, name);
	for (unsigned k = 0; k < f->len; k++)
		print_message(" %02x", f->bytes[k]);
	print_message("\n");
}

static void compare_operands(struct score *s, const struct encoding *f,
			     const struct simd_row *row,
			     const ZydisDecodedInstruction *z,
			     const ZydisDecodedOperand *operands)
{
	const ZydisDecodedOperand *mem = memory_operand(z, operands);
	const struct dec d = {.is_vex = f->vex,
			      .vector_len = (uint8_t)f->vl,
			      .rex_w = f->w,
			      .mode = 8};
	unsigned bytes = simd_mem_bytes(row, &d);

	if (simd_imm_bytes(row) !=
	    (unsigned)(z->raw.imm[0].size + z->raw.imm[1].size) / 8)
		complain(s, f, "immediate", row->name);
	if (f->modrm >> 6 == 3)
		return;
	if (mem && row->size != SIZE_C && bytes * 8 != mem->size)
		complain(s, f, "operand size", row->name);
	if (mem &&
	    !!(mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) !=
		!!(row->attr & S_WRITES) &&
	    row->size != SIZE_C)
		complain(s, f, "direction", row->name);
}

static void compare(struct score *s, const ZydisDecoder *decoder,
		    struct encoding *f)
{
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	const struct simd_row *row;
	bool known;

	encode(f);
	row = simd_find(f->map, f->pp, f->op, f->modrm, f->vex, f->vl, f->w);
	if (row && f->vvvv && (!simd_uses_vvvv(row) || row->attr & S_OPMASK))
		row = NULL; /* as the decoder has it: 9 is no opmask */
	if (row && simd_vsib(row))
		/* An index that is neither destination nor mask. */
		f->bytes[f->len] = (uint8_t)((f->modrm + 8) & 0x38);
	known = ZYAN_SUCCESS(ZydisDecoderDecodeFull(
		    decoder, f->bytes, sizeof(f->bytes) - 1, &z, operands)) &&
		is_ours(&z);
	if (known && z.raw.evex.offset)
		known = false;
	if (known != !!row) {
		complain(s, f, known ? "no row" : "row that Zydis lacks",
			 known ? ZydisMnemonicGetString(z.mnemonic)
			       : row->name);
		return;
	}
	if (!row)
		return;
	s->agreed++;
	compare_operands(s, f, row, &z, operands);
}

static void compare_modrms(struct score *s, const ZydisDecoder *decoder,
			   struct encoding *f)
{
	/* [RCX + ...] and registers that are neither 0 nor reg. */
	for (unsigned reg = 0; reg < 8; reg++) {
		f->modrm = (uint8_t)(reg << 3 | 4);
		f->vvvv = 0;
		if (f->op >= 0x90 && f->op <= 0x93 && f->map == MAP_0F38 &&
		    f->vex)
			f->vvvv = 9;
		compare(s, decoder, f);
		for (unsigned rm = 0; rm < 8; rm++) {
			f->modrm = (uint8_t)(0xc0 | reg << 3 | rm);
			f->vvvv = 0;
			compare(s, decoder, f);
			f->vvvv = 9;
			if (f->vex)
				compare(s, decoder, f);
		}
	}
}

static void test_table(void **state)
{
	static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
	ZydisDecoder decoder;
	struct score s = {0};

	assert_true(ZYAN_SUCCESS(ZydisDecoderInit(
	    &decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	for (unsigned n = 0; n < 3 * 4 * 256 * 8; n++) {
		struct encoding f = {
		    .map = MAP_0F + n % 3,
		    .pp = prefixes[n / 3 % 4],
		    .op = n / 12 % 256,
		    .vex = n / 3072 & 1,
		    .vl = n / 3072 >> 1 & 1,
		    .w = n / 3072 >> 2 & 1,
		};

		if (f.map == MAP_0F && (f.op & ~2u) == 0x38)
			continue; /* the other maps */
		if (f.vex || f.vl == 0)
			compare_modrms(&s, &decoder, &f);
	}
	for (unsigned op = 0xd8; op < 0xe0; op++) {
		struct encoding f = {.map = MAP_1, .op = op};

		compare_modrms(&s, &decoder, &f);
	}
	print_message("%u forms agree\n", s.agreed);
	assert_int_equal(s.wrong, 0);
	assert_true(s.agreed > 10000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
