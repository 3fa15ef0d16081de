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
bool row_is_testable(const struct opcode *row)
{
	static const char *const not [] = {
	    "popf",     "syscall",  "sysenter", "cpuid",    "rdtsc",
	    "rdtscp",   "rdpid",    "rdpmc",    "rdrand",   "rdseed",
	    "xgetbv",   "xsetbv",   "int3",     "int",      "int1",
	    "iret",     "retf",     "callf",    "jmpf",     "in",
	    "out",      "indx",     "outdx",    "ins",      "outs",
	    "cli",      "sti",      "popseg",   "pushseg",  "movfromseg",
	    "movtoseg", "lss",      "lfs",      "lgs",      "sldt",
	    "str",      "verr",     "verw",     "lar",      "lsl",
	    "sgdt",     "sidt",     "smsw",     "rdfsbase", "rdgsbase",
	    "wrfsbase", "wrgsbase", "pushf",    "clzero",   "hlt",
	};

	if (row->attr & (OP_CPL0 | OP_NO64))
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
	uint64_t *rng;
	uint8_t rex; /* as in the prefix: W R X B */
	bool has_rex, opsize, adsize;
};

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

/*
 * Where vendors differ, and the engine is as one of them: MOVSXD of 16 bits
 * reads two bytes (Intel) or four (AMD), F3 90 with REX.B is PAUSE (Intel) or
 * XCHG (AMD).
 */
static bool takes_opsize(const struct opcode *row)
{
	return !(row->attr & (OP_F64 | OP_VEX)) &&
	       strcmp(row->name, "movsxd") != 0;
}

static bool takes_rex(const struct opcode *row)
{
	return strcmp(row->name, "pause") != 0;
}

static void put_prefixes(struct maker *m)
{
	const struct opcode *row = m->row;

	m->opsize =
	    row->pp == PP_66 || (takes_opsize(row) && below(m->rng, 4) == 0);
	m->adsize = below(m->rng, 12) == 0 && !is_string(row) &&
		    !(row->attr & OP_END) &&
		    row->operands != OPERANDS_A_MOFFS &&
		    row->operands != OPERANDS_MOFFS_A;
	if (m->adsize)
		put(m, 0x67);
	if (below(m->rng, 16) == 0) /* GS, whose base is 0 */
		put(m, 0x65);
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
	m->has_rex = below(m->rng, 2) && takes_rex(m->row);
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
	switch (below(m->rng, 9)) {
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
	uint64_t at = random_address(m);

	if (index == RSP)
		index = 4;
	put(m, (uint8_t)((reg_field & 7) << 3 | 4));
	put(m, (uint8_t)(scale << 6 | (index & 7) << 3 | 5));
	if (index != 4 && strncmp(m->row->name, "bt", 2) != 0) {
		m->p->gpr[index] = below(m->rng, 256);
		m->p->index = (int)index;
		at -= m->p->gpr[index] << scale;
	} else if (index != 4) {
		return false;
	}
	put_number(m, at, 4);
	return true;
}

/* A memory operand: base and displacement, perhaps an index. */
static bool put_memory(struct maker *m, unsigned reg_field)
{
	uint64_t *gpr = m->p->gpr;
	unsigned mod = below(m->rng, 3), base = below(m->rng, 8);
	unsigned full = base | (m->rex & 1 ? 8 : 0), index = 4, scale = 0;
	bool sib = base == 4 || below(m->rng, 3) == 0;
	int64_t disp = 0;

	if (mod == 0 && base == 5)
		return sib ? put_absolute(m, reg_field)
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
	if (strncmp(m->row->name, "bt", 2) == 0 &&
	    (reg_field | (m->rex & 4 ? 8u : 0)) == full)
		return false;
	put(m, (uint8_t)(mod << 6 | (reg_field & 7) << 3 | (sib ? 4 : base)));
	if (sib)
		put(m, (uint8_t)(scale << 6 | (index & 7) << 3 | base));
	if (mod == 1)
		disp = (int8_t)next_random(m->rng);
	else if (mod == 2)
		disp = (int32_t)next_random(m->rng);
	put_number(m, (uint64_t)disp, mod == 2 ? 4 : mod);
	m->p->base = (int)full;
	m->p->index = sib && index != 4 ? (int)index : -1;
	gpr[full] = random_address(m) - (uint64_t)disp;
	if (sib && index != 4)
		gpr[full] -= gpr[index] << scale;
	if (m->adsize) /* bits that are cut off */
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
		return put_memory(m, reg);
	if (row->attr & OP_MEM)
		return false;
	reg = 0xc0 | reg << 3 | below(m->rng, 8);
	put(m, (uint8_t)reg);
	if (branch) /* CALL, JMP: to a place that ends, so not to themselves */
		m->p->gpr[(reg & 7) | (m->rex & 1 ? 8 : 0)] =
		    TEST_FIRST + 16 + below(m->rng, 0xbf0);
	return true;
}

static unsigned immediate_bytes(const struct maker *m)
{
	if (m->row->attr & OP_BYTE)
		return 1;
	if (m->rex & 8)
		return 4;
	return m->opsize && m->row->pp != PP_66 ? 2 : 4;
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
		put_number(m, value, m->rex & 8 ? 8 : immediate_bytes(m));
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
		put_number(m, (uint64_t)branch_distance(m, 0x300), 4);
		break;
	case OPERANDS_A_MOFFS:
	case OPERANDS_MOFFS_A:
		put_number(m, random_address(m), 8);
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

static void random_state(struct maker *m)
{
	struct pair *p = m->p;

	for (unsigned k = 0; k < 16; k++)
		p->gpr[k] = random_value(m->rng);
	p->gpr[RSP] = TEST_STACK + 0x1000 + below(m->rng, 64) * 8;
	p->gpr[RBP] = TEST_STACK + 0x1400 + below(m->rng, 64) * 8;
	p->rflags = RFLAGS_ONE | RFLAGS_IF |
		    (next_random(m->rng) & (RFLAGS_ARITH | RFLAGS_DF));
	if (is_string(m->row) || strcmp(m->row->name, "xlat") == 0) {
		p->gpr[RSI] = random_address(m);
		p->gpr[RDI] = random_address(m);
		p->gpr[RBX] = TEST_DATA + 0x800;
		p->gpr[RCX] = below(m->rng, 40);
	}
	/* A bit string's register may reach +-1 KiB. */
	if (strncmp(m->row->name, "bt", 2) == 0)
		for (unsigned k = 0; k < 16; k++)
			if (k != RSP && k != RBP)
				p->gpr[k] =
				    (uint64_t)(int64_t)((int)below(m->rng,
								   16384) -
							8192);
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

bool pair_generate(struct pair *pair, const struct opcode *row, uint64_t *rng)
{
	struct maker m = {.p = pair, .row = row, .rng = rng};

	*pair = (struct pair){.row = row, .base = -1, .index = -1};
	random_state(&m);
	choose_rex(&m);
	put_prefixes(&m);
	put_opcode(&m);
	if (has_modrm(row) && !put_modrm(&m))
		return false;
	put_immediate(&m);
	pair_place(pair, TEST_FIRST);
	return pair->len <= 15;
}
