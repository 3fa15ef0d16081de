// SPDX-License-Identifier: BSD-2-Clause
/*
 * The rows with an EVEX prefix against Zydis: every opcode, prefix, form, and
 * value of EVEX.W, L'L, b, z, aaa has a row exactly where Zydis knows an
 * instruction, with the same feature, immediates, operand and scale of disp8.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "base/bits.h"
#include "vmm/soft/simd.h"
#include "x86/features.h"

struct evex_form {
	struct dec d;
	uint8_t bytes[16];
	unsigned len;
};

struct score {
	ZydisDecoder decoder;
	unsigned agreed, undefined, wrong;
};

/* What the decoder's get_vex makes fields of; [RAX + index + 1 * N]. */
static void encode(struct evex_form *f, unsigned vvvv)
{
	const struct dec *d = &f->d;
	unsigned pp = d->pp == 0x66 ? 1 : d->pp == 0xf3 ? 2 : d->pp ? 3 : 0;
	const uint8_t bytes[] = {
	    0x62,
	    (uint8_t)((d->reg & 8 ? 0 : 0x80) | 0x60 | (d->evex_r2 ? 0 : 0x10) |
		      d->map),
	    (uint8_t)(d->rex_w << 7 | (~vvvv & 15) << 3 | 4 | pp),
	    (uint8_t)(d->z << 7 | d->vector_len << 5 | d->b << 4 |
		      (vvvv & 16 ? 0 : 8) | d->aaa),
	    d->opcode,
	    d->modrm,
	    /* An index other than the register; disp8. */
	    (uint8_t)((d->modrm + 8) & 0x38),
	    1,
	};

	memset(f->bytes, 0, sizeof(f->bytes));
	memcpy(f->bytes, bytes, sizeof(bytes));
	if (d->modrm >= 0xc0)
		f->bytes[6] = f->bytes[7] = 0;
}

static void complain(struct score *s, const struct evex_form *f,
		     const char *what, const char *name)
{
	if (s->wrong++ > 40)
		return;
	print_message("# %s (%s):", what, name);
	for (unsigned k = 0; k < 8; k++)
		print_message(" %02x", f->bytes[k]);
	print_message("\n");
}

static const struct {
	uint16_t feature;
	const char *set;
} sets[] = {
    {X86_FEATURE_AVX512F, "AVX512F_"},
    {X86_FEATURE_AVX512BW, "AVX512BW_"},
    {X86_FEATURE_AVX512CD, "AVX512CD_"},
    {X86_FEATURE_AVX512DQ, "AVX512DQ_"},
    {X86_FEATURE_AVX512BF16, "AVX512_BF16_"},
    {X86_FEATURE_AVX512BITALG, "AVX512_BITALG_"},
    {X86_FEATURE_AVX512IFMA, "AVX512_IFMA_"},
    {X86_FEATURE_AVX512VBMI, "AVX512_VBMI_"},
    {X86_FEATURE_AVX512VBMI2, "AVX512_VBMI2_"},
    {X86_FEATURE_AVX512VNNI, "AVX512_VNNI_"},
    {X86_FEATURE_AVX512VPOPCNTDQ, "AVX512_VPOPCNTDQ_"},
    {X86_FEATURE_GFNI, "AVX512_GFNI_"},
    {X86_FEATURE_VAES, "AVX512_VAES_"},
    {X86_FEATURE_VPCLMULQDQ, "AVX512_VPCLMULQDQ_"},
};

/* The feature of an instruction that the table is to have, or 0. */
static unsigned feature_of(const ZydisDecodedInstruction *z)
{
	const char *set = ZydisISASetGetString(z->meta.isa_set);

	if (z->meta.isa_ext != ZYDIS_ISA_EXT_AVX512EVEX)
		return 0;
	for (unsigned k = 0; k < ARRAY_SIZE(sets); k++)
		if (strncmp(set, sets[k].set, strlen(sets[k].set)) == 0)
			return sets[k].feature;
	return 0;
}

/* _128 and _256, and not of scalars or _128N, are AVX512VL's. */
static bool needs_length(const ZydisDecodedInstruction *z)
{
	const char *set = ZydisISASetGetString(z->meta.isa_set);
	size_t len = strlen(set);

	return strcmp(set + len - 4, "_128") == 0 ||
	       strcmp(set + len - 4, "_256") == 0;
}

static void compare_memory(struct score *s, const struct evex_form *f,
			   const struct simd_row *row,
			   const ZydisDecodedOperand *mem)
{
	bool write = mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;

	if ((unsigned)mem->mem.disp.value != simd_disp8(row, &f->d))
		complain(s, f, "scale of disp8", row->name);
	if (write != !!(row->attr & S_WRITES))
		complain(s, f, "direction", row->name);
}

static void compare_operands(struct score *s, const struct evex_form *f,
			     const struct simd_row *row,
			     const ZydisDecodedInstruction *z,
			     const ZydisDecodedOperand *operands)
{
	bool vl = simd_feature_evex(row, &f->d) == X86_FEATURE_AVX512VL;

	if (feature_of(z) != simd_feature(row, true, f->d.vector_len))
		complain(s, f, "feature", row->name);
	if (needs_length(z) != vl)
		complain(s, f, "AVX512VL", row->name);
	if (simd_imm_bytes(row) != (unsigned)z->raw.imm[0].size / 8)
		complain(s, f, "immediate", row->name);
	for (unsigned k = 0; k < z->operand_count_visible; k++)
		if (operands[k].type == ZYDIS_OPERAND_TYPE_MEMORY)
			compare_memory(s, f, row, &operands[k]);
}

static void compare(struct score *s, struct evex_form *f, unsigned vvvv)
{
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	const struct simd_row *row;
	bool known;

	encode(f, vvvv);
	row = simd_find_evex(&f->d, f->d.modrm);
	if (row && vvvv && !simd_uses_vvvv(row))
		row = NULL; /* as the decoder has it */
	known =
	    ZYAN_SUCCESS(ZydisDecoderDecodeFull(
		&s->decoder, f->bytes, sizeof(f->bytes) - 1, &z, operands)) &&
	    feature_of(&z) != 0;
	if (known != !!row) {
		complain(s, f, known ? "no row" : "row that Zydis lacks",
			 known ? ZydisMnemonicGetString(z.mnemonic)
			       : row->name);
		return;
	}
	if (!row) {
		s->undefined++;
		return;
	}
	s->agreed++;
	compare_operands(s, f, row, &z, operands);
}

/* With memory and without, by each ModRM.reg, and with more registers. */
static void compare_modrms(struct score *s, struct evex_form *f)
{
	for (unsigned reg = 0; reg < 8; reg++) {
		f->d.reg = (uint8_t)reg;
		f->d.evex_r2 = 0;
		f->d.modrm = (uint8_t)(0x44 | reg << 3);
		compare(s, f, 0);
		f->d.modrm = (uint8_t)(0xc1 | reg << 3);
		compare(s, f, 0);
	}
	compare(s, f, 9);
	compare(s, f, 16);
	f->d.evex_r2 = 1;
	compare(s, f, 0);
	f->d.evex_r2 = 0;
	f->d.reg |= 8;
	compare(s, f, 0);
}

static void test_table(void **state)
{
	static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
	struct score s = {.agreed = 0};

	assert_true(ZYAN_SUCCESS(ZydisDecoderInit(
	    &s.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64)));
	for (unsigned n = 0; n < 3 * 4 * 256 * 64; n++) {
		struct evex_form f = {.d = {
					  .is_vex = true,
					  .is_evex = true,
					  .mode = 8,
					  .map = (uint8_t)(MAP_0F + n % 3),
					  .pp = prefixes[n / 3 % 4],
					  .opcode = (uint8_t)(n / 12 % 256),
					  .rex_w = n / 3072 & 1,
					  .vector_len = n / 3072 >> 1 & 3,
					  .b = n / 3072 >> 3 & 1,
					  .z = n / 3072 >> 4 & 1,
					  .aaa = n / 3072 >> 5 & 1,
				      }};

		compare_modrms(&s, &f);
	}
	print_message("# %u forms agree, %u are undefined\n", s.agreed,
		      s.undefined);
	assert_int_equal(s.wrong, 0);
	assert_true(s.agreed > 100000);
	assert_true(s.undefined > 100000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
