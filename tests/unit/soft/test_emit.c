// SPDX-License-Identifier: BSD-2-Clause
/* What the translator's emitter writes, read back by Zydis. */
#include "vmm/soft/jit/emit.h"

#include <Zydis/Zydis.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/bits.h"

struct decoded {
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand operand[ZYDIS_MAX_OPERAND_COUNT];
};

static uint8_t code[64];

static struct emit begin(void)
{
	return (struct emit){.at = code, .end = code + sizeof(code)};
}

/* Exactly one instruction was written. */
static struct decoded end(const struct emit *e)
{
	struct decoded d;
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64,
			 ZYDIS_STACK_WIDTH_64);
	assert_false(e->full);
	assert_true(ZYAN_SUCCESS(ZydisDecoderDecodeFull(
	    &decoder, code, (size_t)(e->at - code), &d.insn, d.operand)));
	assert_int_equal(d.insn.length, e->at - code);
	return d;
}

static ZydisRegister reg_of(unsigned bits, unsigned n, bool high)
{
	switch (bits) {
	case 8: /* Zydis has AH..BH between BL and SPL */
		return high     ? ZYDIS_REGISTER_AH + (n - 4)
		       : n >= 4 ? ZYDIS_REGISTER_SPL + (n - 4)
				: ZYDIS_REGISTER_AL + n;
	case 16:
		return ZYDIS_REGISTER_AX + n;
	case 32:
		return ZYDIS_REGISTER_EAX + n;
	default:
		return ZYDIS_REGISTER_RAX + n;
	}
}

static void assert_reg(const ZydisDecodedOperand *operand, unsigned bits,
		       unsigned n)
{
	assert_int_equal(operand->type, ZYDIS_OPERAND_TYPE_REGISTER);
	assert_int_equal(operand->reg.value, reg_of(bits, n, false));
}

static void assert_mem(const ZydisDecodedOperand *operand, struct mem m)
{
	assert_int_equal(operand->type, ZYDIS_OPERAND_TYPE_MEMORY);
	assert_int_equal(operand->mem.base, m.base == HOST_NONE
						? ZYDIS_REGISTER_NONE
						: reg_of(64, m.base, false));
	assert_int_equal(operand->mem.index, m.index == HOST_NONE
						 ? ZYDIS_REGISTER_NONE
						 : reg_of(64, m.index, false));
	if (m.index != HOST_NONE)
		assert_int_equal(operand->mem.scale, 1 << m.scale);
	assert_int_equal(operand->mem.disp.value, m.disp);
}

/* -- forms ------------------------------------------------------------------
 */

static const unsigned widths[] = {8, 16, 32, 64};

static struct op mov_of(unsigned bits)
{
	return (struct op){.map = MAP_1,
			   .opcode = bits == 8 ? 0x8a : 0x8b,
			   .opsize = bits == 16,
			   .w = bits == 64,
			   .byte_reg = bits == 8,
			   .byte_rm = bits == 8};
}

static void test_registers(void **state)
{
	for (unsigned w = 0; w < ARRAY_SIZE(widths); w++)
		for (unsigned to = 0; to < 16; to++)
			for (unsigned from = 0; from < 16; from++) {
				struct emit e = begin();
				struct decoded d;

				emit_op_reg(&e, mov_of(widths[w]), to, from);
				d = end(&e);
				assert_int_equal(d.insn.mnemonic,
						 ZYDIS_MNEMONIC_MOV);
				assert_reg(&d.operand[0], widths[w], to);
				assert_reg(&d.operand[1], widths[w], from);
			}
}

static void test_high_bytes(void **state)
{
	for (unsigned to = 4; to < 8; to++)
		for (unsigned from = 4; from < 8; from++) {
			struct op op = mov_of(8);
			struct emit e = begin();
			struct decoded d;

			op.no_rex = true;
			emit_op_reg(&e, op, to, from);
			d = end(&e);
			assert_int_equal(d.operand[0].reg.value,
					 reg_of(8, to, true));
			assert_int_equal(d.operand[1].reg.value,
					 reg_of(8, from, true));
		}
}

static void check_memory(unsigned bits, unsigned reg, struct mem m)
{
	struct emit e = begin();
	struct decoded d;

	emit_op_mem(&e, mov_of(bits), reg, m);
	d = end(&e);
	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_MOV);
	assert_reg(&d.operand[0], bits, reg);
	assert_mem(&d.operand[1], m);
}

/* Every base (also none) with every index but RSP, and displacements. */
static void test_memory(void **state)
{
	static const int32_t disps[] = {0,    1,    127,       128,
					-128, -129, INT32_MAX, INT32_MIN};

	for (unsigned base = 0; base <= HOST_NONE; base++)
		for (unsigned index = 0; index <= HOST_NONE; index++)
			for (unsigned k = 0; k < ARRAY_SIZE(disps) * 4; k++) {
				struct mem m = {(uint8_t)base, (uint8_t)index,
						(uint8_t)(k & 3), disps[k / 4]};

				if (index == HOST_RSP)
					continue;
				if (index == HOST_NONE)
					m.scale = 0;
				check_memory(widths[k & 3], (base + k) & 15, m);
			}
}

static void test_vex(void **state)
{
	struct op andn = {.map = MAP_0F38, .opcode = 0xf2, .vex = true};

	for (unsigned n = 0; n < 16 * 16 * 16; n++) {
		unsigned to = n & 15, v = n >> 4 & 15, rm = n >> 8 & 15;
		struct emit e = begin();
		struct mem m = mem_index(rm, v == HOST_RSP ? 0 : v, n & 3, 64);
		struct decoded d;

		andn.w = n & 1;
		andn.vvvv = (uint8_t)v;
		emit_op_reg(&e, andn, to, rm);
		d = end(&e);
		assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_ANDN);
		assert_reg(&d.operand[0], andn.w ? 64 : 32, to);
		assert_reg(&d.operand[1], andn.w ? 64 : 32, v);
		assert_reg(&d.operand[2], andn.w ? 64 : 32, rm);
		e = begin();
		emit_op_mem(&e, andn, to, m);
		d = end(&e);
		assert_reg(&d.operand[1], andn.w ? 64 : 32, v);
		assert_mem(&d.operand[2], m);
	}
}

/* VADDPS of three of 32 registers, and with memory near and far. */
static void test_evex(void **state)
{
	struct op vaddps = {.map = MAP_0F, .opcode = 0x58, .evex = true};

	for (unsigned n = 0; n < 32 * 32 * 32; n++) {
		unsigned to = n & 31, v = n >> 5 & 31, rm = n >> 10;
		struct mem m =
		    mem_index(rm & 15, v & 7, n & 3, (int32_t)(n * 8) - 0x8000);
		struct emit e = begin();
		struct decoded d;

		if ((v & 7) == HOST_RSP)
			m.index = HOST_RBP;
		vaddps.vvvv = (uint8_t)v;
		vaddps.ll = 2;
		vaddps.aaa = n & 7;
		vaddps.z = vaddps.aaa != 0;
		emit_op_reg(&e, vaddps, to, rm);
		d = end(&e);
		assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_VADDPS);
		assert_int_equal(d.insn.avx.vector_length, 512);
		assert_int_equal(d.insn.avx.mask.reg,
				 ZYDIS_REGISTER_K0 + vaddps.aaa);
		assert_int_equal(d.operand[0].reg.value,
				 ZYDIS_REGISTER_ZMM0 + to);
		assert_int_equal(d.operand[2].reg.value,
				 ZYDIS_REGISTER_ZMM0 + v);
		assert_int_equal(d.operand[3].reg.value,
				 ZYDIS_REGISTER_ZMM0 + rm);
		e = begin();
		emit_op_mem(&e, vaddps, to, m);
		d = end(&e);
		assert_int_equal(d.operand[2].reg.value,
				 ZYDIS_REGISTER_ZMM0 + v);
		assert_mem(&d.operand[3], m);
	}
}

static void test_prefixes(void **state)
{
	struct emit e = begin();
	struct decoded d;

	/* lock add word [rdi], si */
	emit_op_mem(
	    &e,
	    (struct op){
		.map = MAP_1, .opcode = 0x01, .opsize = true, .lock = true},
	    HOST_RSI, mem_at(HOST_RDI, 0));
	d = end(&e);
	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_ADD);
	assert_true(d.insn.attributes & ZYDIS_ATTRIB_HAS_LOCK);
	assert_reg(&d.operand[1], 16, HOST_RSI);
	/* crc32 r9d, byte [r10] */
	e = begin();
	emit_op_mem(
	    &e, (struct op){.map = MAP_0F38, .prefix = 0xf2, .opcode = 0xf0},
	    HOST_R9, mem_at(HOST_R10, 0));
	d = end(&e);
	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_CRC32);
	assert_reg(&d.operand[0], 32, HOST_R9);
	/* palignr xmm1, xmm9, 0 */
	e = begin();
	emit_op_reg(
	    &e, (struct op){.map = MAP_0F3A, .prefix = 0x66, .opcode = 0x0f}, 1,
	    9);
	emit_byte(&e, 0);
	d = end(&e);
	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_PALIGNR);
	assert_int_equal(d.operand[1].reg.value, ZYDIS_REGISTER_XMM9);
}

/* -- by name ---------------------------------------------------------------
 */

static void test_immediates(void **state)
{
	static const uint64_t values[] = {0,
					  1,
					  0x7fffffff,
					  0x80000000,
					  0xffffffff,
					  0x100000000,
					  ~0ull,
					  0xffffffff80000000,
					  0xfffffffe00000000};

	for (unsigned to = 0; to < 16; to++)
		for (unsigned k = 0; k < ARRAY_SIZE(values); k++) {
			struct emit e = begin();
			struct decoded d;
			unsigned reg;

			emit_mov_imm(&e, to, values[k]);
			d = end(&e);
			assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_MOV);
			reg = d.operand[0].reg.value;
			/* 32 bits clear the rest. */
			if (reg == reg_of(32, to, false))
				assert_int_equal(
				    (uint32_t)d.operand[1].imm.value.u,
				    values[k]);
			else
				assert_int_equal(d.operand[1].imm.value.u,
						 values[k]);
			assert_true(reg == reg_of(32, to, false) ||
				    reg == reg_of(64, to, false));
		}
}

static void test_named(void **state)
{
	struct mem m = mem_index(HOST_RSP, HOST_RCX, 3, 0x188);
	struct emit e = begin();
	struct decoded d;

	emit_pext(&e, HOST_RCX, HOST_R15, m);
	d = end(&e);
	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_PEXT);
	assert_reg(&d.operand[0], 64, HOST_RCX);
	assert_reg(&d.operand[1], 64, HOST_R15);
	assert_mem(&d.operand[2], m);
	e = begin();
	emit_store(&e, m, HOST_R13);
	d = end(&e);
	assert_mem(&d.operand[0], m);
	assert_reg(&d.operand[1], 64, HOST_R13);
	e = begin();
	emit_lea32(&e, HOST_R15, m);
	d = end(&e);
	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_LEA);
	assert_reg(&d.operand[0], 32, HOST_R15);
	e = begin();
	emit_jmp_mem(&e, m);
	d = end(&e);
	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_JMP);
	assert_mem(&d.operand[0], m);
}

/* Distances, to where the code goes on and to elsewhere. */
static void test_jumps(void **state)
{
	struct emit e = begin();
	uint8_t *place = emit_jcc(&e, 5);
	struct decoded d = end(&e);

	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_JNZ);
	emit_byte(&e, 0x90);
	emit_here(&e, place);
	e.at = place + 4;
	assert_int_equal(end(&e).operand[0].imm.value.s, 1);
	e = begin();
	place = emit_jmp(&e);
	emit_to(&e, place, code + sizeof(code));
	assert_int_equal(end(&e).operand[0].imm.value.s, sizeof(code) - 5);
	e = begin();
	place = emit_call(&e);
	emit_to(&e, place, code);
	assert_int_equal(end(&e).operand[0].imm.value.s, -5);
	e = begin();
	place = emit_jrcxz(&e);
	emit_here8(&e, place);
	d = end(&e);
	assert_int_equal(d.insn.mnemonic, ZYDIS_MNEMONIC_JRCXZ);
	assert_int_equal(d.operand[0].imm.value.s, 0);
}

static void test_full(void **state)
{
	for (unsigned room = 0; room < 7; room++) {
		struct emit e = {code, code + room, false};

		code[room] = 0xaa;
		/* mov rax, [r12 + 0x100]: 8 bytes */
		emit_load(&e, HOST_RAX, mem_at(HOST_R12, 0x100));
		assert_true(e.full);
		assert_ptr_equal(e.at, code + room);
		assert_int_equal(code[room], 0xaa);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_registers),
	    cmocka_unit_test(test_high_bytes),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_vex),
	    cmocka_unit_test(test_evex),
	    cmocka_unit_test(test_prefixes),
	    cmocka_unit_test(test_immediates),
	    cmocka_unit_test(test_named),
	    cmocka_unit_test(test_jumps),
	    cmocka_unit_test(test_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
