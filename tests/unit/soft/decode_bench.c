// SPDX-License-Identifier: BSD-2-Clause
#include "decode_bench.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "base/bits.h"
#include "vmm/cpuid.h"
#include "vmm/engine.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/native.h"
#include "vmm/soft/simd.h"
#include "vmm/vm.h"
#include "x86/cr.h"

struct decode_bench {
	struct vm vm;
	struct vmcpu vcpu;
	ZydisDecoder zydis[DECODE_MODES];
};

/* What both made of some bytes. */
struct decoded {
	const struct opcode *row; /* NULL: a vector instruction */
	struct insn i;
	struct dec d;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	unsigned len;
};

static const struct mode {
	ZydisMachineMode machine;
	ZydisStackWidth stack;
	uint8_t code_size;
} modes[DECODE_MODES] = {
    [DECODE_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, 8},
    [DECODE_32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, 4},
    [DECODE_16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, 2},
    [DECODE_REAL] = {ZYDIS_MACHINE_MODE_REAL_16, ZYDIS_STACK_WIDTH_16, 2},
};

struct decode_bench *decode_bench_create(void)
{
	struct decode_bench *b = calloc(1, sizeof(*b));
	struct err err;

	if (b == NULL)
		return NULL;
	strcpy(b->vm.name, "decode");
	b->vm.mem.low_size = 1 * MiB;
	b->vcpu.vm = &b->vm;
	vcpu_state_reset(&b->vcpu.state, false);
	if (cpu_model_create("host", NULL, 1000000000, &b->vm.cpu_model,
			     &err) != 0 ||
	    soft_engine_ops.vm_create(&b->vm, &err) != 0 ||
	    soft_engine_ops.vcpu_create(&b->vcpu, &err) != 0) {
		decode_bench_destroy(b);
		return NULL;
	}
	for (unsigned n = 0; n < DECODE_MODES; n++)
		ZydisDecoderInit(&b->zydis[n], modes[n].machine,
				 modes[n].stack);
	return b;
}

void decode_bench_destroy(struct decode_bench *b)
{
	soft_engine_ops.vcpu_destroy(&b->vcpu);
	soft_engine_ops.vm_destroy(&b->vm);
	cpu_model_destroy(b->vm.cpu_model);
	free(b);
}

/* -- what one of them does not know -------------------------------------------
 */

/* Instruction sets that the engine leaves out: they are #UD. */
static bool is_left_out(const ZydisDecodedInstruction *z)
{
	static const ZydisISAExt left_out[] = {
	    ZYDIS_ISA_EXT_AMD3DNOW,  ZYDIS_ISA_EXT_AMD_INVLPGB,
	    ZYDIS_ISA_EXT_AVX512VEX, ZYDIS_ISA_EXT_AVX_VNNI,
	    ZYDIS_ISA_EXT_CET,       ZYDIS_ISA_EXT_ENQCMD,
	    ZYDIS_ISA_EXT_FMA4,      ZYDIS_ISA_EXT_HRESET,
	    ZYDIS_ISA_EXT_KEYLOCKER, ZYDIS_ISA_EXT_KEYLOCKER_WIDE,
	    ZYDIS_ISA_EXT_KNC,       ZYDIS_ISA_EXT_KNCE,
	    ZYDIS_ISA_EXT_KNCV,      ZYDIS_ISA_EXT_MCOMMIT,
	    ZYDIS_ISA_EXT_MONITOR,   ZYDIS_ISA_EXT_MONITORX,
	    ZYDIS_ISA_EXT_MOVDIR,    ZYDIS_ISA_EXT_PADLOCK,
	    ZYDIS_ISA_EXT_PCONFIG,   ZYDIS_ISA_EXT_PKU,
	    ZYDIS_ISA_EXT_PT,        ZYDIS_ISA_EXT_RDPRU,
	    ZYDIS_ISA_EXT_RTM,       ZYDIS_ISA_EXT_SERIALIZE,
	    ZYDIS_ISA_EXT_SGX,       ZYDIS_ISA_EXT_SGX_ENCLV,
	    ZYDIS_ISA_EXT_SMX,       ZYDIS_ISA_EXT_SNP,
	    ZYDIS_ISA_EXT_SVM,       ZYDIS_ISA_EXT_TSX_LDTRK,
	    ZYDIS_ISA_EXT_UINTR,     ZYDIS_ISA_EXT_VMFUNC,
	    ZYDIS_ISA_EXT_VTX,       ZYDIS_ISA_EXT_WAITPKG,
	    ZYDIS_ISA_EXT_AMX_TILE,  ZYDIS_ISA_EXT_AMX_INT8,
	    ZYDIS_ISA_EXT_AMX_BF16,  ZYDIS_ISA_EXT_XOP,
	};

	if (z->encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	    z->encoding != ZYDIS_INSTRUCTION_ENCODING_VEX)
		return true;
	for (unsigned n = 0; n < ARRAY_SIZE(left_out); n++)
		if (z->meta.isa_ext == left_out[n])
			return true;
	/* And one of SMM, and what vendors disagree on: NOP or #UD. */
	return z->mnemonic == ZYDIS_MNEMONIC_RSM ||
	       (z->mnemonic == ZYDIS_MNEMONIC_NOP && z->opcode == 0x0d);
}

static uint8_t modrm(const ZydisDecodedInstruction *z)
{
	return (uint8_t)(z->raw.modrm.mod << 6 | z->raw.modrm.reg << 3 |
			 z->raw.modrm.rm);
}

/* Does the CPU model lack the row's feature? */
static bool is_absent(const struct decode_bench *b, const struct decoded *o)
{
	const struct dec *d = &o->d;
	const struct simd_row *row;
	unsigned feature;

	if (o->row != NULL) {
		feature = o->row->feature;
	} else {
		row = simd_find(d->map, d->pp, d->opcode, modrm(&o->z),
				d->is_vex, d->vector_len, d->rex_w);
		if (row == NULL)
			return false;
		feature = simd_feature(row, d->is_vex, d->vector_len);
	}
	return feature != 0 && !cpu_model_has(b->vm.cpu_model, feature);
}

/*
 * Rows that are taken whatever their operand is: number of a control or
 * segment register, mode, privilege and reserved forms of NOPs are looked at
 * when they run.
 */
static bool is_checked_later(const struct opcode *row)
{
	static const char *const names[] = {
	    "movfromcr",  "movtocr",  "movfromdr", "movtodr",
	    "movfromseg", "movtoseg", "sysenter",  "sysexit",
	    "syscall",    "sysret",   "nop",
	};

	for (unsigned n = 0; row != NULL && n < ARRAY_SIZE(names); n++)
		if (strcmp(row->name, names[n]) == 0)
			return true;
	return false;
}

/* UD0, UD1, UD2: instructions to both. */
static bool is_ud(const struct opcode *row)
{
	return row != NULL && strncmp(row->name, "ud", 2) == 0;
}

/* -- operands ---------------------------------------------------------------
 */

static const ZydisDecodedOperand *memory_operand(const struct decoded *o)
{
	for (unsigned n = 0; n < o->z.operand_count_visible; n++)
		if (o->operands[n].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &o->operands[n];
	return NULL;
}

/* As insn.h has registers; REG_ZERO: none. */
static unsigned register_offset(ZydisRegister reg)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return REG_ZERO;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return REG_RIPBASE;
	return (unsigned)ZydisRegisterGetId(reg) * 8;
}

/* Zydis 4.0 has it that this is R13D, as in ModRM: SDM vol. 2, table 2-5. */
static bool is_zydis_r13d(const struct decoded *o)
{
	return o->z.address_width == 32 && o->z.raw.modrm.mod == 0 &&
	       o->z.raw.modrm.rm == 4 && o->z.raw.sib.base == 5 &&
	       o->i.base == REG_ZERO;
}

static const char *compare_address(const struct insn *i,
				   const ZydisDecodedOperandMem *m,
				   unsigned len)
{
	bool vsib = m->type == ZYDIS_MEMOP_TYPE_VSIB;
	int64_t disp = m->disp.value;

	if (register_offset(m->base) != i->base)
		return "base";
	if (i->base == REG_RIPBASE)
		disp += len;
	if (!vsib && register_offset(m->index) != i->index)
		return "index";
	if (!vsib && i->index != REG_ZERO && m->scale != 1 << i->scale)
		return "scale";
	if (((uint64_t)disp ^ (uint64_t)i->disp) & MASK((8 << i->asize) - 1, 0))
		return "displacement";
	return NULL;
}

/* LEA has none; before an indirect branch Zydis takes 3E for CET's. */
static bool has_segment(const struct decoded *o,
			const ZydisDecodedOperandMem *m)
{
	return m->type != ZYDIS_MEMOP_TYPE_AGEN &&
	       !(o->z.attributes & ZYDIS_ATTRIB_HAS_NOTRACK);
}

static const char *compare_memory(const struct decoded *o)
{
	const ZydisDecodedOperand *m = memory_operand(o);
	const char *what;

	if (m == NULL)
		return "memory operand";
	if (o->z.address_width != 8u << o->i.asize)
		return "address size";
	what =
	    is_zydis_r13d(o) ? NULL : compare_address(&o->i, &m->mem, o->len);
	if (what == NULL && has_segment(o, &m->mem) &&
	    ZydisRegisterGetId(m->mem.segment) != o->i.seg)
		what = "segment";
	return what;
}

static bool is_relative(const struct opcode *row)
{
	return row->operands == OPERANDS_J || row->operands == OPERANDS_J8;
}

static const char *compare_immediate(const struct decoded *o)
{
	const struct ZydisDecodedInstructionRawImm_ *imm = o->z.raw.imm;
	uint64_t value = imm[0].value.u, mask;

	if (imm[0].size == 0)
		return NULL;
	mask = MASK(imm[0].size - 1u, 0);
	if (o->row->operands == OPERANDS_FAR)
		value |= imm[1].value.u << 32;
	else if (o->row->operands == OPERANDS_I16_I8)
		value |= imm[1].value.u << 16;
	else if (is_relative(o->row))
		value = (uint64_t)imm[0].value.s + o->len;
	if (imm[1].size != 0 || is_relative(o->row))
		mask = ~0ull;
	return (value ^ (uint64_t)o->i.imm) & mask ? "immediate" : NULL;
}

/* -- names --------------------------------------------------------------------
 */

/* Where Zydis has another name, or begins with another. */
static const struct alias {
	const char *ours, *zydis;
} aliases[] = {
    {"calln", "call"},    {"callf", "call"},
    {"cbw", "cwde"},      {"cbw", "cdqe"},
    {"clflush", "clwb"},  {"cmpxchg8b", "cmpxchg16b"},
    {"crc32b", "crc32"},  {"cwd", "cdq"},
    {"cwd", "cqo"},       {"fence", "lfence"},
    {"fence", "mfence"},  {"fence", "sfence"},
    {"imul1", "imul"},    {"imul3", "imul"},
    {"indx", "in"},       {"jcxz", "jecxz"},
    {"jcxz", "jrcxz"},    {"jmpf", "jmp"},
    {"jmpn", "jmp"},      {"movfromcr", "mov"},
    {"movfromdr", "mov"}, {"movfromseg", "mov"},
    {"movsxb", "movsx"},  {"movsxw", "movsx"},
    {"movtocr", "mov"},   {"movtodr", "mov"},
    {"movtoseg", "mov"},  {"movzxb", "movzx"},
    {"movzxw", "movzx"},  {"nop", ""}, /* what else is in the space of NOPs */
    {"outdx", "out"},     {"popseg", "pop"},
    {"pushseg", "push"},  {"retf", "ret"},
    {"xchg", "nop"},      {"xchg", "pause"}, /* with REX.B: of Intel's */
};

/* SETNLE and the like are SETG here. */
static void our_condition(const char *z, char name[16])
{
	static const char *const cc[][2] = {
	    {"nbe", "a"}, {"nle", "g"}, {"nb", "ae"},
	    {"nl", "ge"}, {"nz", "ne"}, {"z", "e"},
	};
	static const char *const kinds[] = {"cmov", "set", "j"};

	snprintf(name, 16, "%s", z);
	for (unsigned k = 0; k < ARRAY_SIZE(kinds); k++) {
		size_t len = strlen(kinds[k]);

		if (strncmp(z, kinds[k], len) != 0)
			continue;
		for (unsigned n = 0; n < ARRAY_SIZE(cc); n++)
			if (strcmp(z + len, cc[n][0]) == 0)
				snprintf(name, 16, "%s%s", kinds[k], cc[n][1]);
	}
}

static bool begins(const char *name, const char *with)
{
	return strncmp(name, with, strlen(with)) == 0;
}

/* Rows whose names Zydis adds the operand's size to. */
static bool has_suffix(const struct opcode *row)
{
	static const char *const names[] = {"pusha", "popa", "pushf",
					    "popf",  "iret", "clflush"};

	if (row->operands == OPERANDS_STRING)
		return true;
	for (unsigned n = 0; n < ARRAY_SIZE(names); n++)
		if (strcmp(row->name, names[n]) == 0)
			return true;
	return false;
}

static bool same_name(const struct decoded *o)
{
	const char *z = ZydisMnemonicGetString(o->z.mnemonic);
	const char *name = o->row->name;
	char other[16];

	our_condition(z, other);
	if (strcmp(name, other) == 0 || (has_suffix(o->row) && begins(z, name)))
		return true;
	for (unsigned n = 0; n < ARRAY_SIZE(aliases); n++)
		if (strcmp(aliases[n].ours, name) == 0 &&
		    begins(z, aliases[n].zydis))
			return true;
	return false;
}

/* -- all --------------------------------------------------------------------
 */

static void set_mode(struct cpu *c, enum decode_mode mode)
{
	c->code_size = modes[mode].code_size;
	c->cpl = 0;
	c->cr0 = mode == DECODE_REAL ? 0 : CR0_PE;
	c->flags = RFLAGS_ONE;
}

/* false: it is undefined */
static bool decode_ours(struct decode_bench *b, enum decode_mode mode,
			const uint8_t bytes[DECODE_BYTES], struct decoded *o)
{
	struct cpu *c = b->vcpu.engine_data;
	int len;

	set_mode(c, mode);
	len = decode(c, bytes, DECODE_BYTES, 0, &o->i, &o->d);
	if (len == -ENOSPC) {
		native_flush(c);
		len = decode(c, bytes, DECODE_BYTES, 0, &o->i, &o->d);
	}
	o->row = o->i.op == OP_NONE_ROW ? NULL : &opcode_table[o->i.op];
	o->len = len > 0 ? (unsigned)len : 0;
	return len > 0 && o->i.exec != exec_ud;
}

/* Of an instruction to both. */
static const char *compare(const struct decoded *o)
{
	const char *what = NULL;

	if (o->len != o->z.length)
		return "length";
	if (o->row != NULL && !same_name(o))
		return "name";
	if (o->row != NULL && strcmp(o->row->name, "nop") == 0)
		return NULL; /* MPX has other rules */
	if (o->i.flags & INSN_MEM)
		what = compare_memory(o);
	if (what == NULL && o->row != NULL)
		what = compare_immediate(o);
	return what;
}

enum decode_verdict decode_bench_compare(struct decode_bench *b,
					 enum decode_mode mode,
					 const uint8_t bytes[DECODE_BYTES],
					 const char **what, unsigned *len)
{
	struct decoded o;
	bool ours = decode_ours(b, mode, bytes, &o);
	bool known = ZYAN_SUCCESS(ZydisDecoderDecodeFull(
	    &b->zydis[mode], bytes, DECODE_BYTES, &o.z, o.operands));

	*what = NULL;
	*len = o.len;
	if (!known && !ours)
		return DECODE_UNDEFINED;
	if (known && !ours && !is_ud(o.row)) {
		if (is_left_out(&o.z) || is_absent(b, &o))
			return DECODE_UNKNOWN;
		*what = "undefined here";
	} else if (!known) {
		if (is_checked_later(o.row))
			return DECODE_UNKNOWN;
		*what = "undefined in Zydis";
	} else {
		*what = compare(&o);
	}
	return *what == NULL ? DECODE_AGREED : DECODE_DIFFERS;
}
