// SPDX-License-Identifier: BSD-2-Clause
/*
 * Code for the fuzzer of the tiers: instructions of both opcode tables, whose
 * addresses are loaded before them so that they reach the test's memory,
 * branches inside the block and out of it, and plain random bytes.
 */
#include "block.h"

#include <string.h>

#include "base/bits.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/simd.h"
#include "x86/cr.h"

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI };

static uint32_t below(uint64_t *rng, uint32_t bound)
{
	return (uint32_t)(next_random(rng) >> 33) % bound;
}

static void put(struct code_block *b, uint8_t byte)
{
	if (b->len < BLOCK_BYTES)
		b->code[b->len++] = byte;
}

static void put_number(struct code_block *b, uint64_t value, unsigned bytes)
{
	for (unsigned n = 0; n < bytes; n++)
		put(b, (uint8_t)(value >> 8 * n));
}

static bool is_64(const struct code_block *b)
{
	return b->mode->code_bytes == 8;
}

/* mov reg, value */
static void put_load(struct code_block *b, unsigned reg, uint64_t value)
{
	if (is_64(b))
		put(b, 0x48 | (reg & 8) >> 3);
	put(b, 0xb8 | (reg & 7));
	put_number(b, value, is_64(b) ? 8 : 4);
}

/* A prefix for 64 bits, where there is one. */
static void put_wide(struct code_block *b)
{
	if (is_64(b))
		put(b, 0x48);
}

/* A register of so many, if this code has them. */
static unsigned register_of(const struct code_block *b, uint64_t *rng,
			    unsigned count)
{
	return below(rng, is_64(b) ? count : 8);
}

/*
 * Where the page's end, another place of the TLB with the same index, or
 * nothing at all is near.
 */
static uint64_t data_address(uint64_t *rng)
{
	uint64_t va = TEST_DATA + below(rng, TEST_AREA);

	switch (below(rng, 24)) {
	case 0:
		return TEST_DATA + 0x1000 - below(rng, 65);
	case 1:
		return TEST_DATA + TEST_AREA - below(rng, 65);
	case 2:
		return TEST_DATA - below(rng, 65);
	case 3: /* the same place */
		return va + ((uint64_t)TLB_SIZE << 12) * below(rng, 1u << 20);
	case 4:
		return va | 1ull << (47 + below(rng, 17));
	case 5:
		return 0 - (uint64_t)below(rng, 65);
	case 6:
		return TEST_CODE + 0xc00 + below(rng, 0x410);
	case 7:
		return TEST_ROM + 0x100 + below(rng, 0xe00);
	default:
		return va & ~(uint64_t)(below(rng, 2) ? 31 : 0);
	}
}

/* -- general instructions --------------------------------------------------
 */

static void put_general(struct code_block *b, uint64_t *rng)
{
	const struct opcode *row = &opcode_table[below(rng, opcode_count)];
	struct pair p;

	if (!row_is_testable(row, b->mode) || (row->attr & OP_END) ||
	    !pair_generate(&p, row, b->mode, rng))
		return;
	if (row->operands == OPERANDS_STRING || strcmp(row->name, "xlat") == 0)
		for (unsigned n = RCX; n <= RDI; n++)
			if (n != RDX && n != RSP && n != RBP)
				put_load(b, n, p.gpr[n]);
	if (p.index >= 0)
		put_load(b, (unsigned)p.index, p.gpr[p.index]);
	if (p.base >= 0)
		put_load(b, (unsigned)p.base,
			 below(rng, 4) ? p.gpr[p.base] : data_address(rng));
	pair_place(&p, TEST_FIRST + b->len);
	for (unsigned n = 0; n < p.len; n++)
		put(b, p.code[n]);
}

/* -- vector instructions -----------------------------------------------------
 */

struct simd_form {
	const struct simd_row *row;
	bool vex, l, w, mem;
	unsigned reg, rm, v;
	struct dec evex; /* the fields of an EVEX prefix */
};

static void put_evex_opcode(struct code_block *b, const struct simd_form *f)
{
	const struct dec *d = &f->evex;
	unsigned pp = d->pp == 0x66 ? 1 : d->pp == 0xf3 ? 2 : d->pp ? 3 : 0;

	put(b, 0x62);
	put(b, (uint8_t)((f->reg & 8 ? 0 : 0x80) | (f->rm & 16 ? 0 : 0x40) |
			 (f->rm & 8 ? 0 : 0x20) | (f->reg & 16 ? 0 : 0x10) |
			 d->map));
	put(b, (uint8_t)(d->rex_w << 7 | (~f->v & 15) << 3 | 4 | pp));
	put(b, (uint8_t)(d->z << 7 | d->vector_len << 5 | d->b << 4 |
			 (f->v & 16 ? 0 : 8) | d->aaa));
	put(b, d->opcode);
}

/* Fields that the row knows; false: not in this form. */
static bool choose_evex(const struct code_block *b, struct simd_form *f,
			uint64_t *rng)
{
	const struct simd_row *row = f->row;
	uint8_t modrm =
	    (f->mem ? 0 : 0xc0) | (uint8_t)(row->ext >= 0 ? row->ext << 3 : 0);

	f->reg =
	    register_of(b, rng, row->how & E_KREG || row->ext >= 0 ? 8 : 32);
	f->rm = register_of(b, rng, f->mem ? 16 : row->how & E_KRM ? 8 : 32);
	f->v = row->attr & S_NDS ? register_of(b, rng, 32) : 0;
	if (row->attr & S_GREG)
		f->reg &= 15;
	if (row->attr & S_GRM)
		f->rm &= 15;
	for (unsigned n = 0; n < 40; n++) {
		f->evex = (struct dec){.is_vex = true,
				       .is_evex = true,
				       .map = row->map,
				       .pp = row->pp,
				       .opcode = row->op,
				       .modrm = modrm,
				       .mode = b->mode->code_bytes,
				       .rex_w = below(rng, 2),
				       .vector_len = below(rng, 4) % 3,
				       .b = below(rng, 3) == 0,
				       .z = below(rng, 3) == 0,
				       .aaa = below(rng, 8) & below(rng, 8)};
		if (simd_find_evex(&f->evex, modrm) == row)
			return true;
	}
	return false;
}

static void put_simd_opcode(struct code_block *b, const struct simd_form *f)
{
	const struct simd_row *row = f->row;
	unsigned pp = row->pp == 0x66   ? 1
		      : row->pp == 0xf3 ? 2
		      : row->pp == 0xf2 ? 3
					: 0;

	if (row->is_evex) {
		put_evex_opcode(b, f);
		return;
	}
	if (f->vex) {
		put(b, 0xc4);
		put(b, (uint8_t)((f->reg & 8 ? 0 : 0x80) | 0x40 |
				 (f->rm & 8 ? 0 : 0x20) | row->map));
		put(b,
		    (uint8_t)(f->w << 7 | (~f->v & 15) << 3 | f->l << 2 | pp));
	} else if (row->map != MAP_1) {
		if (row->pp != 0)
			put(b, row->pp);
		if (f->w || (f->reg | f->rm) & 8)
			put(b, (uint8_t)(0x40 | f->w << 3 | (f->reg & 8) >> 1 |
					 (f->rm & 8) >> 3));
		put(b, 0x0f);
		if (row->map == MAP_0F38)
			put(b, 0x38);
		if (row->map == MAP_0F3A)
			put(b, 0x3a);
	} else if (f->mem && f->rm & 8) { /* x87 */
		put(b, 0x41);
	}
	put(b, row->op);
}

/* va: of the memory form; 0: the register form. Either may not exist. */
static bool put_simd(struct code_block *b, const struct simd_row *row,
		     uint64_t va, uint64_t *rng)
{
	struct simd_form f = {.row = row,
			      .mem = va != 0,
			      .reg = register_of(b, rng, 16),
			      .rm = register_of(b, rng, 16)};

	if (row->attr & S_NDS)
		f.v = register_of(b, rng, 16);
	if (row->is_evex && !choose_evex(b, &f, rng))
		return false;
	f.vex = row->attr & S_NOLEG || (row->attr & S_VEX && below(rng, 2));
	f.l =
	    f.vex && !(row->attr & S_L0) && (row->attr & S_L1 || below(rng, 2));
	f.w = !(row->attr & S_W0) && (row->attr & S_W1 || below(rng, 2)) &&
	      (f.vex || is_64(b));
	if (row->attr & S_OPMASK) {
		f.reg = row->attr & S_GREG ? f.reg : f.reg & 7;
		f.rm = f.mem || row->attr & S_GRM ? f.rm : f.rm & 7;
		f.v &= 7;
	}
	if (row->attr & (f.mem ? S_REG : S_MEM) || simd_vsib(row) ||
	    (f.mem && (f.rm & 7) == RSP))
		return false;
	if (row->ext >= 0)
		f.reg = (unsigned)row->ext;
	if (row->low >= 0 && !f.mem)
		f.rm = (unsigned)row->low;
	if (f.mem)
		put_load(b, f.rm,
			 va - 0x40ull * (row->is_evex ? simd_disp8(row, &f.evex)
						      : 1));
	if (simd_rdi(row))
		put_load(b, RDI, data_address(rng));
	put_simd_opcode(b, &f);
	if (!(row->attr & S_NOMODRM)) {
		put(b, (uint8_t)((f.mem ? 0x40 : 0xc0) | (f.reg & 7) << 3 |
				 (f.rm & 7)));
		if (f.mem)
			put(b, 0x40);
	}
	put_number(b, next_random(rng), simd_imm_bytes(row));
	return true;
}

static void put_any_simd(struct code_block *b, uint64_t *rng)
{
	put_simd(b, simd_row(below(rng, simd_count())),
		 below(rng, 2) ? data_address(rng) : 0, rng);
}

/* x87 instructions in a row, and what control words make of them. */
static void put_x87(struct code_block *b, uint64_t *rng)
{
	for (unsigned n = 2 + below(rng, 6); n > 0;) {
		const struct simd_row *row = simd_row(below(rng, simd_count()));

		if (!(row->attr & S_X87) ||
		    (below(rng, 4) == 0 && strcmp(row->name, "fldcw") != 0))
			continue;
		n--;
		put_simd(b, row,
			 !(row->attr & S_MEM) ? 0
			 : below(rng, 4)
			     ? TEST_DATA + below(rng, TEST_AREA - 16)
			     : data_address(rng),
			 rng);
	}
}

bool block_simd(struct code_block *b, unsigned row, uint64_t va, uint64_t *rng)
{
	b->len = 0;
	b->starts = 1;
	b->start[0] = 0;
	block_state(b, rng);
	return put_simd(b, simd_row(row), va, rng);
}

/* -- branches and bytes ----------------------------------------------------
 */

/* Over some of what follows, perhaps into the middle of an instruction. */
static void put_jump(struct code_block *b, uint64_t *rng)
{
	put(b, below(rng, 8) == 0   ? 0xe0 | (uint8_t)below(rng, 4)
	       : below(rng, 4) != 0 ? 0x70 | (uint8_t)below(rng, 16)
				    : 0xeb);
	put(b, (uint8_t)below(rng, 24));
}

/* By FS or GS, around the beginning and the end of what they reach. */
static void put_thread_local(struct code_block *b, uint64_t *rng)
{
	static const uint8_t ops[] = {0x8b, 0x89, 0x03, 0x01, 0x8a, 0x88};
	uint8_t disp = (uint8_t)next_random(rng);

	if (is_64(b))
		return;
	put_load(b, RBX, below(rng, 64) - disp - 32u);
	put(b, below(rng, 8) ? 0x65 : 0x64);
	if (below(rng, 4) == 0)
		put(b, 0x66);
	put(b, ops[below(rng, sizeof(ops))]);
	if (below(rng, 2)) {
		put(b, (uint8_t)(0x40 | below(rng, 8) << 3 | RBX));
		put(b, disp);
	} else {
		put(b, (uint8_t)(below(rng, 8) << 3 | 5));
		put_number(b, below(rng, 64) - 32u, 4);
	}
}

/* Calls and jumps by a register, also to where there is no code. */
static void put_indirect(struct code_block *b, uint64_t *rng)
{
	unsigned reg = below(rng, 2) || !is_64(b) ? RAX : 15;
	uint64_t to = TEST_FIRST + b->len + 13 + below(rng, 16);

	switch (below(rng, 8)) {
	case 0:
		to = ~0ull;
		break;
	case 1:
		to |= 1ull << (47 + below(rng, 17));
		break;
	case 2:
		to += ((uint64_t)TARGET_SIZE) * below(rng, 1u << 20);
		break;
	default:
		break;
	}
	put_load(b, reg, to);
	if (reg == 15)
		put(b, 0x41);
	put(b, 0xff);
	put(b, (uint8_t)((below(rng, 2) ? 0xe0 : 0xd0) | (reg & 7)));
}

/* A loop of a few turns around one instruction. */
static void put_loop(struct code_block *b, uint64_t *rng)
{
	unsigned start;

	put_load(b, RBX, 1 + below(rng, 40));
	start = b->len;
	if (is_64(b)) /* add, xor, .. of registers */
		put(b, 0x48 | (uint8_t)below(rng, 8));
	put(b, (uint8_t)(below(rng, 8) << 3 | 1));
	put(b, (uint8_t)(0xc0 | below(rng, 2) << 3 | RBP));
	put_wide(b); /* dec rbx; jnz */
	put(b, 0xff);
	put(b, 0xcb);
	put(b, 0x75);
	put(b, (uint8_t)(start - b->len - 1));
}

/* What says the time, or is random. */
static bool is_unequal(const struct code_block *b)
{
	for (unsigned n = 0; n + 1 < b->len; n++)
		if (b->code[n] == 0x0f &&
		    (b->code[n + 1] == 0x31 || b->code[n + 1] == 0xc7 ||
		     b->code[n + 1] == 0x01))
			return true;
	return false;
}

static void put_one(struct code_block *b, uint64_t *rng)
{
	switch (below(rng, 16)) {
	case 0:
		put_jump(b, rng);
		break;
	case 1:
		put_indirect(b, rng);
		break;
	case 2:
		put_loop(b, rng);
		break;
	case 3: /* push and pop, or the stack somewhere else */
		if (below(rng, 4) == 0)
			put_load(b, RSP, data_address(rng));
		put(b, 0x50 | (uint8_t)below(rng, 8));
		put(b, 0x58 | (uint8_t)below(rng, 8));
		break;
	case 4:
		for (unsigned n = below(rng, 4); n-- > 0;)
			put(b, (uint8_t)next_random(rng));
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		put_any_simd(b, rng);
		break;
	case 9:
		put_thread_local(b, rng);
		break;
	case 10:
		put_x87(b, rng);
		break;
	default:
		put_general(b, rng);
		break;
	}
}

void block_state(struct code_block *b, uint64_t *rng)
{
	struct pair p;

	while (!pair_generate(&p, &opcode_table[0], b->mode, rng))
		;
	memcpy(b->gpr, p.gpr, sizeof(b->gpr));
	b->gpr[RSP] = TEST_STACK + 0x1000 + below(rng, 64) * 8;
	/* What 64-bit code may have left there. */
	for (unsigned n = 0; n < 16 && !is_64(b) && below(rng, 2); n++)
		b->gpr[n] |= next_random(rng) << 32;
	b->rflags = p.rflags;
}

void block_generate(struct code_block *b, uint64_t *rng)
{
	do {
		unsigned count = 1 + below(rng, 24);

		b->len = b->starts = 0;
		for (unsigned n = 0; n < count; n++) {
			b->start[b->starts++] = (uint16_t)b->len;
			put_one(b, rng);
		}
	} while (b->len == 0 || is_unequal(b));
	block_state(b, rng);
}
