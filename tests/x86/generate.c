// SPDX-License-Identifier: BSD-2-Clause
#include "generate.h"

#include <string.h>

#include "base/bits.h"
#include "x86/cr.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

uint64_t next_random(uint64_t *rng)
{
	uint64_t z = *rng += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint32_t below(uint64_t *rng, uint32_t bound)
{
	return (uint32_t)(next_random(rng) >> 33) % bound;
}

static uint64_t random_value(uint64_t *rng)
{
	uint64_t value = next_random(rng);

	switch (below(rng, 5)) {
	case 0:
		return value & 0x1f;
	case 1:
		return 0 - (value & 0x1f);
	case 2:
		return value & 0xffffffff;
	case 3:
		return 1ull << (value & 63);
	default:
		return value;
	}
}

/* What asks the system, the clock or segments, which a host has otherwise. */
bool row_is_testable(const struct opcode *row, const struct code_mode *mode)
{
	static const char *const not [] = {
	    "popf",     "syscall",  "sysenter", "cpuid",    "rdtsc",
	    "rdtscp",   "rdpid",    "rdpmc",    "rdrand",   "rdseed",
	    "xgetbv",   "xsetbv",   "int3",     "int",      "int1",
	    "iret",     "retf",     "callf",    "jmpf",     "in",
	    "out",      "indx",     "outdx",    "ins",      "outs",
	    "cli",      "sti",      "popseg",   "pushseg",  "movfromseg",
	    "movtoseg", "les",      "lds",      "lss",      "lfs",
	    "lgs",      "sldt",     "str",      "verr",     "verw",
	    "lar",      "lsl",      "sgdt",     "sidt",     "smsw",
	    "rdfsbase", "rdgsbase", "wrfsbase", "wrgsbase", "pushf",
	    "clzero",   "hlt",
	};

	if (row->attr &
	    (mode->code_bytes == 8 ? OP_CPL0 | OP_NO64 : OP_CPL0 | OP_ONLY64))
		return false;
	for (unsigned k = 0; k < ARRAY_SIZE(not ); k++)
		if (strcmp(row->name, not [k]) == 0)
			return false;
	return true;
}

/* -- encoding
 * ------------------------------------------------------------------ */

struct maker {
	struct pair *p;
	const struct opcode *row;
	const struct code_mode *mode;
	uint64_t *rng;
	uint8_t rex; /* as in the prefix: W R X B */
	bool has_rex, opsize, adsize;
};

static bool is_64(const struct maker *m)
{
	return m->mode->code_bytes == 8;
}

static unsigned address_bytes(const struct maker *m)
{
	unsigned bytes = m->mode->code_bytes;

	if (!m->adsize)
		return bytes;
	return bytes == 4 ? 2 : 4;
}

/* The prefix of operand size is there, and what it makes of a plain operand. */
static unsigned operand_bytes(const struct maker *m)
{
	bool prefix = m->opsize && m->row->pp != PP_66;

	if (m->row->attr & OP_BYTE)
		return 1;
	if (is_64(m))
		return m->rex & 8 ? 8 : prefix ? 2 : 4;
	return (m->mode->code_bytes == 2) != prefix ? 2 : 4;
}

static void put(struct maker *m, uint8_t byte)
{
	m->p->code[m->p->len++] = byte;
}

static void put_number(struct maker *m, uint64_t value, unsigned bytes)
{
	for (unsigned k = 0; k < bytes; k++)
		put(m, (uint8_t)(value >> (8 * k)));
}

static bool is_string(const struct opcode *row)
{
	return row->operands == OPERANDS_STRING;
}

static bool is_bit_string(const struct opcode *row)
{
	return strncmp(row->name, "bt", 2) == 0;
}

/*
 * Where vendors differ, and the engine is as one of them: MOVSXD of 16 bits
 * reads two bytes (Intel) or four (AMD), F3 90 with REX.B is PAUSE (Intel) or
 * XCHG (AMD).
 */
static bool takes_opsize(const struct maker *m)
{
	return !(m->row->attr & (is_64(m) ? OP_F64 | OP_VEX : OP_VEX)) &&
	       strcmp(m->row->name, "movsxd") != 0;
}

static bool takes_rex(const struct maker *m)
{
	return is_64(m) && strcmp(m->row->name, "pause") != 0;
}

/* 64-bit code has to find its strings, its offsets and its way. */
static bool takes_adsize(const struct maker *m)
{
	const struct opcode *row = m->row;

	return !is_64(m) || (!is_string(row) && !(row->attr & OP_END) &&
			     row->operands != OPERANDS_A_MOFFS &&
			     row->operands != OPERANDS_MOFFS_A);
}

/* In 64-bit code GS, whose base is 0; else all but FS, the thread's, which
   guests alone may try. */
static uint8_t random_segment(struct maker *m)
{
	static const uint8_t prefix[] = {0x65, 0x26, 0x2e, 0x36, 0x3e, 0x64};
	unsigned count = m->mode->gs_base != 0 ? 6 : 5;

	return prefix[is_64(m) ? 0 : below(m->rng, count)];
}

static void put_prefixes(struct maker *m)
{
	const struct opcode *row = m->row;

	m->opsize =
	    row->pp == PP_66 || (takes_opsize(m) && below(m->rng, 4) == 0);
	m->adsize = below(m->rng, 12) == 0 && takes_adsize(m);
	if (m->adsize)
		put(m, 0x67);
	if (below(m->rng, 16) == 0)
		put(m, random_segment(m));
	if (row->attr & OP_VEX)
		return;
	if (m->opsize)
		put(m, 0x66);
	if (row->pp == PP_F2 || row->pp == PP_F3)
		put(m, row->pp);
	else if ((row->attr & OP_REP) && below(m->rng, 2))
		put(m, below(m->rng, 2) ? 0xf3 : 0xf2);
	if ((row->attr & OP_LOCK) && below(m->rng, 4) == 0)
		put(m, 0xf0);
}

static void choose_rex(struct maker *m)
{
	m->has_rex = below(m->rng, 2) && takes_rex(m);
	m->rex = m->has_rex ? (uint8_t)below(m->rng, 16) : 0;
}

static void put_opcode(struct maker *m)
{
	const struct opcode *row = m->row;

	if (row->attr & OP_VEX) {
		uint8_t pp = row->pp == PP_66   ? 1
			     : row->pp == PP_F3 ? 2
			     : row->pp == PP_F2 ? 3
						: 0;

		put(m, 0xc4);
		put(m, (uint8_t)((~m->rex & 7) << 5 | row->map));
		put(m,
		    (uint8_t)((m->rex & 8) << 4 | below(m->rng, 16) << 3 | pp));
		put(m, row->op);
		return;
	}
	if (m->has_rex)
		put(m, 0x40 | m->rex);
	if (row->map != MAP_1)
		put(m, 0x0f);
	if (row->map == MAP_0F38)
		put(m, 0x38);
	if (row->map == MAP_0F3A)
		put(m, 0x3a);
	put(m, row->op);
}

/*
 * An address in the data, sometimes across its pages or its end, or in the
 * page of the code.
 */
static uint64_t random_address(struct maker *m)
{
	/* Of BOUND's two words CPUs may read one, and raise #BR. */
	bool safe = strcmp(m->row->name, "bound") == 0;

	switch (safe ? 7 : below(m->rng, 9)) {
	case 8: /* beyond the instruction and where branches go */
		return TEST_CODE + 0xc00 + below(m->rng, 0x410);
	case 0:
		return TEST_DATA + 0x1000 - below(m->rng, 16);
	case 1:
		return TEST_DATA + TEST_AREA - below(m->rng, 20);
	case 2:
		return TEST_DATA - below(m->rng, 8);
	default:
		return TEST_DATA + 0x400 + below(m->rng, 0x1800);
	}
}

/* Where the segments begin, that is what an address is relative to. */
static uint64_t random_offset(struct maker *m)
{
	return random_address(m) - m->mode->base;
}

/* Relative to RIP; pair_generate knows where the instruction ends. */
static bool put_relative(struct maker *m, unsigned reg_field)
{
	put(m, (uint8_t)((reg_field & 7) << 3 | 5));
	m->p->relative = m->p->len;
	put_number(m, random_address(m), 4);
	return true;
}

/* Without a base. */
static bool put_absolute(struct maker *m, unsigned reg_field)
{
	unsigned index = below(m->rng, 8) | (m->rex & 2 ? 8 : 0);
	unsigned scale = below(m->rng, 4);
	uint64_t at = random_offset(m);

	if (index == RSP)
		index = 4;
	put(m, (uint8_t)((reg_field & 7) << 3 | 4));
	put(m, (uint8_t)(scale << 6 | (index & 7) << 3 | 5));
	if (index != 4 && !is_bit_string(m->row)) {
		m->p->gpr[index] = below(m->rng, 256);
		m->p->index = (int)index;
		at -= m->p->gpr[index] << scale;
	} else if (index != 4) {
		return false;
	}
	put_number(m, at, 4);
	return true;
}

static int64_t random_displacement(struct maker *m, unsigned bytes)
{
	int64_t value = (int64_t)next_random(m->rng);

	return bytes == 0   ? 0
	       : bytes == 1 ? (int8_t)value
	       : bytes == 2 ? (int16_t)value
			    : (int32_t)value;
}

/* The forms of 16-bit addresses (SDM vol. 2, table 2-1). */
static bool put_memory16(struct maker *m, unsigned reg_field)
{
	static const uint8_t base[8] = {RBX, RBX, RBP, RBP, RSI, RDI, RBP, RBX};
	static const int8_t index[8] = {RSI, RDI, RSI, RDI, -1, -1, -1, -1};
	uint64_t *gpr = m->p->gpr, at = random_offset(m);
	unsigned mod = below(m->rng, 3), rm = below(m->rng, 8);
	int64_t disp = random_displacement(m, mod);

	put(m, (uint8_t)(mod << 6 | (reg_field & 7) << 3 | rm));
	if (mod == 0 && rm == 6) {
		put_number(m, at, 2);
		return true;
	}
	if (is_bit_string(m->row) && reg_field == base[rm])
		return false;
	at -= (uint64_t)disp;
	if (index[rm] >= 0)
		at -= gpr[index[rm]];
	put_number(m, (uint64_t)disp, mod);
	m->p->base = base[rm];
	m->p->index = index[rm];
	gpr[base[rm]] = (next_random(m->rng) & 0xffff0000) | (at & 0xffff);
	return true;
}

/* A memory operand: base and displacement, perhaps an index. */
static bool put_memory(struct maker *m, unsigned reg_field)
{
	uint64_t *gpr = m->p->gpr;
	unsigned mod = below(m->rng, 3), base = below(m->rng, 8);
	unsigned full = base | (m->rex & 1 ? 8 : 0), index = 4, scale = 0;
	bool sib = base == 4 || below(m->rng, 3) == 0;
	int64_t disp;

	if (mod == 0 && base == 5)
		return sib || !is_64(m) ? put_absolute(m, reg_field)
					: put_relative(m, reg_field);
	if (sib) {
		index = below(m->rng, 8) | (m->rex & 2 ? 8 : 0);
		scale = below(m->rng, 4);
		if (index == full)
			return false;
	}
	/* The stack of what uses it stays where it is. */
	if ((m->row->attr & OP_D64) && full == RSP)
		return false;
	/* A bit offset in a register must not be the address, too. */
	if (is_bit_string(m->row) &&
	    (reg_field | (m->rex & 4 ? 8u : 0)) == full)
		return false;
	put(m, (uint8_t)(mod << 6 | (reg_field & 7) << 3 | (sib ? 4 : base)));
	if (sib)
		put(m, (uint8_t)(scale << 6 | (index & 7) << 3 | base));
	disp = random_displacement(m, mod == 2 ? 4 : mod);
	put_number(m, (uint64_t)disp, mod == 2 ? 4 : mod);
	m->p->base = (int)full;
	m->p->index = sib && index != 4 ? (int)index : -1;
	gpr[full] = random_offset(m) - (uint64_t)disp;
	if (sib && index != 4)
		gpr[full] -= gpr[index] << scale;
	if (m->adsize && is_64(m)) /* bits that are cut off */
		gpr[full] += next_random(m->rng) << 32;
	return true;
}

static bool put_modrm(struct maker *m)
{
	const struct opcode *row = m->row;
	unsigned reg = row->ext >= 0 ? (unsigned)row->ext : below(m->rng, 8);
	bool branch = (row->attr & OP_END) != 0;

	if (row->attr & OP_RM) {
		put(m, (uint8_t)row->ext);
		return true;
	}
	if (!(row->attr & OP_REG) && !branch &&
	    ((row->attr & OP_MEM) || below(m->rng, 2)))
		return address_bytes(m) == 2 ? put_memory16(m, reg)
					     : put_memory(m, reg);
	if (row->attr & OP_MEM)
		return false;
	reg = 0xc0 | reg << 3 | below(m->rng, 8);
	put(m, (uint8_t)reg);
	if (branch) /* CALL, JMP: to a place that ends, so not to themselves */
		m->p->gpr[(reg & 7) | (m->rex & 1 ? 8 : 0)] =
		    TEST_FIRST - m->mode->base + 16 + below(m->rng, 0xbf0);
	return true;
}

static unsigned immediate_bytes(const struct maker *m)
{
	return operand_bytes(m) == 8 ? 4 : operand_bytes(m);
}

/* Not into the instruction itself, which would never end. */
static int64_t branch_distance(struct maker *m, unsigned limit)
{
	return below(m->rng, 2) ? (int64_t)below(m->rng, limit)
				: -(int64_t)(16 + below(m->rng, limit - 16));
}

static void put_immediate(struct maker *m)
{
	uint64_t value = random_value(m->rng);

	switch (m->row->operands) {
	case OPERANDS_E_I:
	case OPERANDS_G_E_I:
	case OPERANDS_A_I:
	case OPERANDS_R_I:
	case OPERANDS_I:
		put_number(m, value, immediate_bytes(m));
		break;
	case OPERANDS_R_I64:
		put_number(m, value, operand_bytes(m));
		break;
	case OPERANDS_E_I8:
	case OPERANDS_G_E_I8:
	case OPERANDS_E_G_I8:
	case OPERANDS_I8:
		put_number(m, value, 1);
		break;
	case OPERANDS_I16:
		put_number(m, below(m->rng, 64) * 8, 2);
		break;
	case OPERANDS_I16_I8:
		put_number(m, below(m->rng, 256), 2);
		put(m, (uint8_t)below(m->rng, 32));
		break;
	case OPERANDS_J8:
		put(m, (uint8_t)branch_distance(m, 0x80));
		break;
	case OPERANDS_J:
		put_number(m, (uint64_t)branch_distance(m, 0x300),
			   is_64(m) ? 4 : operand_bytes(m));
		break;
	case OPERANDS_A_MOFFS:
	case OPERANDS_MOFFS_A:
		put_number(m, random_offset(m), address_bytes(m));
		break;
	default:
		break;
	}
}

static bool has_modrm(const struct opcode *row)
{
	return row->ext >= 0 ||
	       (row->operands >= OPERANDS_E && row->operands <= OPERANDS_V_E);
}

/* -- states
 * ---------------------------------------------------------------------- */

/* Of strings and XLAT: in the data, with bits that 16-bit addresses ignore. */
static void random_pointers(struct maker *m)
{
	static const uint8_t reg[] = {RSI, RDI, RBX, RCX};
	uint64_t *gpr = m->p->gpr;

	gpr[RSI] = random_offset(m);
	gpr[RDI] = random_offset(m);
	gpr[RBX] = TEST_DATA + 0x800 - m->mode->base;
	gpr[RCX] = below(m->rng, 40);
	for (unsigned k = 0; k < sizeof(reg) && address_bytes(m) == 2; k++)
		gpr[reg[k]] =
		    (gpr[reg[k]] & 0xffff) | (next_random(m->rng) & 0xffff0000);
}

static uint64_t random_stack(struct maker *m, uint32_t at)
{
	uint64_t sp = at + below(m->rng, 64) * 8 - m->mode->base;

	if (m->mode->stack_bytes == 2)
		sp |= next_random(m->rng) & 0xffff0000;
	return sp;
}

static void random_state(struct maker *m)
{
	struct pair *p = m->p;

	for (unsigned k = 0; k < 16; k++)
		p->gpr[k] = random_value(m->rng);
	p->gpr[RSP] = random_stack(m, TEST_STACK + 0x1000);
	p->gpr[RBP] = random_stack(m, TEST_STACK + 0x1400);
	p->rflags = RFLAGS_ONE | RFLAGS_IF |
		    (next_random(m->rng) & (RFLAGS_ARITH | RFLAGS_DF));
	if (is_string(m->row) || strcmp(m->row->name, "xlat") == 0)
		random_pointers(m);
	/* A bit string's register may reach +-1 KiB. */
	if (is_bit_string(m->row))
		for (unsigned k = 0; k < 16; k++)
			if (k != RSP && k != RBP)
				p->gpr[k] =
				    (uint64_t)(int64_t)((int)below(m->rng,
								   16384) -
							8192);
}

/* What 32-bit code has not. */
static void cut_state(struct pair *p)
{
	for (unsigned k = 0; k < 16; k++)
		p->gpr[k] = k < 8 ? (uint32_t)p->gpr[k] : 0;
}

void pair_place(struct pair *p, uint64_t at)
{
	uint32_t disp;

	if (p->relative == 0)
		return;
	memcpy(&disp, p->code + p->relative, sizeof(disp));
	disp -= (uint32_t)(at + p->len - p->placed);
	p->placed = at + p->len;
	memcpy(p->code + p->relative, &disp, sizeof(disp));
}

/* Where the SDM and CPUs differ: what the upper half of EBP becomes. */
static bool is_frame_of_32_on_16(const struct maker *m)
{
	return strcmp(m->row->name, "enter") == 0 &&
	       m->mode->stack_bytes == 2 && operand_bytes(m) == 4;
}

bool pair_generate(struct pair *pair, const struct opcode *row,
		   const struct code_mode *mode, uint64_t *rng)
{
	struct maker m = {.p = pair, .row = row, .mode = mode, .rng = rng};

	*pair =
	    (struct pair){.row = row, .mode = mode, .base = -1, .index = -1};
	choose_rex(&m);
	put_prefixes(&m);
	if (is_frame_of_32_on_16(&m))
		return false;
	random_state(&m);
	put_opcode(&m);
	if (has_modrm(row) && !put_modrm(&m))
		return false;
	put_immediate(&m);
	pair_place(pair, TEST_FIRST);
	if (!is_64(&m))
		cut_state(pair);
	return pair->len <= 15;
}
