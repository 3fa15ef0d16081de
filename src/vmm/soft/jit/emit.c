// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/soft/jit/emit.h"

#include "base/bits.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/cpu.h"

static void raw_byte(struct emit *e, uint8_t byte)
{
	if (e->at < e->end)
		*e->at++ = byte;
	else
		e->full = true;
}

static inline void writes(struct emit *e, unsigned registers)
{
	e->wrote |= (uint16_t)registers;
	e->narrow &= (uint16_t)~registers;
}

void emit_byte(struct emit *e, uint8_t byte)
{
	raw_byte(e, byte);
	writes(e, 0xffff);
}

void emit_imm(struct emit *e, uint64_t value, unsigned bytes)
{
	if (bytes == 4 && e->end - e->at >= 4) {
		*(unaligned_32 *)e->at = (uint32_t)value;
		e->at += 4;
		return;
	}
	for (unsigned n = 0; n < bytes; n++)
		raw_byte(e, (uint8_t)(value >> 8 * n));
}

/*
 * An instruction goes where it is to be at once, when the longest one has room
 * there, and else byte by byte, as far as it fits.
 */
#define LONGEST 16

/* Of an instruction that is known most of this is known, too. */
#define INLINE static inline __attribute__((always_inline))

INLINE uint8_t *begin(const struct emit *e, uint8_t aside[LONGEST])
{
	return e->end - e->at >= LONGEST ? e->at : aside;
}

INLINE void end(struct emit *e, const uint8_t aside[LONGEST], uint8_t *p)
{
	if (e->end - e->at >= LONGEST) {
		e->at = p;
		return;
	}
	for (const uint8_t *from = aside; from < p; from++)
		raw_byte(e, *from);
}

/* -- registers that are written -------------------------------------------- */

#define BIT_OF(reg) (1u << ((reg)&15))

#define ACCUMULATORS (1u << HOST_RAX | 1u << HOST_RDX)

/* reg is a bit for ModRM.reg, which may be a part of the opcode. What is not
   here may write to all that it names, and to what it does not. */
INLINE unsigned written_map_1(uint8_t opcode, unsigned reg, unsigned rm)
{
	if (opcode < 0x38 && (opcode & 4) == 0)
		return opcode & 2 ? reg : rm;
	switch (opcode) {
	case 0x38 ... 0x3b: /* CMP */
	case 0x84:          /* TEST */
	case 0x85:
		return 0;
	case 0x63: /* MOVSXD, IMUL, MOV, LEA */
	case 0x69:
	case 0x6b:
	case 0x8a:
	case 0x8b:
	case 0x8d:
		return reg;
	case 0x80 ... 0x83: /* ADD ... CMP */
	case 0x88:          /* MOV, shifts, INC and DEC */
	case 0x89:
	case 0xc6:
	case 0xc7:
	case 0xc0:
	case 0xc1:
	case 0xd0 ... 0xd3:
	case 0xfe:
	case 0xff:
		return rm;
	case 0xf6: /* TEST, NOT, NEG; MUL to IDIV */
	case 0xf7:
		return reg < 1u << 4 ? rm : ACCUMULATORS;
	default:
		return reg | rm | ACCUMULATORS;
	}
}

INLINE unsigned written_map_0f(uint8_t opcode, unsigned reg, unsigned rm)
{
	switch (opcode) {
	case 0x40 ... 0x4f: /* CMOVcc, IMUL, POPCNT, BSF, BSR, MOVZX, MOVSX */
	case 0xaf:
	case 0xb6 ... 0xb8:
	case 0xbc ... 0xbf:
		return reg;
	case 0x90 ... 0x9f: /* SETcc, BTS, SHLD, SHRD, BTR, BTC */
	case 0xa4:
	case 0xa5:
	case 0xab ... 0xad:
	case 0xb3:
	case 0xba:
	case 0xbb:
		return rm;
	case 0xa3: /* BT */
		return 0;
	default:
		return reg | rm | ACCUMULATORS;
	}
}

/* Of general registers; what vector instructions write others know. */
INLINE unsigned written_by(const struct op *op, unsigned reg, unsigned rm)
{
	if (op->vex && op->opcode == 0xf3) /* BLSR and the like */
		return BIT_OF(op->vvvv);
	if (op->vex && op->opcode == 0xf6) /* MULX */
		return reg | BIT_OF(op->vvvv);
	if (op->vex || op->evex)
		return reg;
	if (op->map == MAP_1)
		return written_map_1(op->opcode, reg, rm);
	if (op->map == MAP_0F)
		return written_map_0f(op->opcode, reg, rm);
	return reg | rm | ACCUMULATORS;
}

/* -- prefixes and opcode: p is where they go, and then behind them -------- */

/* x, b: bit 3 of the index and of the base or ModRM.rm. */
INLINE uint8_t *legacy(uint8_t *p, const struct op *op, bool r, bool x, bool b,
		       bool need_rex)
{
	uint8_t rex = (uint8_t)(op->w << 3 | r << 2 | x << 1 | b);

	if (op->lock)
		*p++ = 0xf0;
	if (op->opsize)
		*p++ = 0x66;
	if (op->prefix != 0)
		*p++ = op->prefix;
	if ((rex != 0 || need_rex) && !op->no_rex)
		*p++ = 0x40 | rex;
	if (op->map != MAP_1)
		*p++ = 0x0f;
	if (op->map == MAP_0F38)
		*p++ = 0x38;
	if (op->map == MAP_0F3A)
		*p++ = 0x3a;
	*p++ = op->opcode;
	return p;
}

static const uint8_t map[MAP_COUNT] = {
    [MAP_0F] = 1, [MAP_0F38] = 2, [MAP_0F3A] = 3};

static unsigned pp_field(uint8_t prefix)
{
	return prefix == 0x66 ? 1 : prefix == 0xf3 ? 2 : prefix == 0xf2 ? 3 : 0;
}

/* x, b: bits 4 and 3 of a register in ModRM.rm, else as legacy()'s. */
static uint8_t *evex(uint8_t *p, const struct op *op, unsigned reg, bool x,
		     bool b)
{
	*p++ = 0x62;
	*p++ = (uint8_t)((reg & 8 ? 0 : 0x80) | !x << 6 | !b << 5 |
			 (reg & 16 ? 0 : 0x10) | map[op->map]);
	*p++ = (uint8_t)(op->w << 7 | (~op->vvvv & 15) << 3 | 4 |
			 pp_field(op->prefix));
	*p++ = (uint8_t)(op->z << 7 | op->ll << 5 | op->b << 4 |
			 (op->vvvv & 16 ? 0 : 8) | op->aaa);
	*p++ = op->opcode;
	return p;
}

INLINE uint8_t *vex(uint8_t *p, const struct op *op, bool r, bool x, bool b)
{
	unsigned pp = pp_field(op->prefix);

	*p++ = 0xc4;
	*p++ = (uint8_t)(!r << 7 | !x << 6 | !b << 5 | map[op->map]);
	*p++ =
	    (uint8_t)(op->w << 7 | (~op->vvvv & 15) << 3 | op->vex_l << 2 | pp);
	*p++ = op->opcode;
	return p;
}

INLINE uint8_t *modrm(uint8_t *p, unsigned mod, unsigned reg, unsigned rm)
{
	*p++ = (uint8_t)(mod << 6 | (reg & 7) << 3 | (rm & 7));
	return p;
}

INLINE uint8_t *word(uint8_t *p, uint32_t value)
{
	*(unaligned_32 *)p = value;
	return p + 4;
}

INLINE void op_reg(struct emit *e, struct op op, unsigned reg, unsigned rm)
{
	bool need_rex = (op.byte_reg && reg >= 4) || (op.byte_rm && rm >= 4);
	uint8_t aside[LONGEST], *p = begin(e, aside);

	if (op.evex)
		p = evex(p, &op, reg, rm & 16, rm & 8);
	else if (op.vex)
		p = vex(p, &op, reg & 8, false, rm & 8);
	else
		p = legacy(p, &op, reg & 8, false, rm & 8, need_rex);
	end(e, aside, modrm(p, 3, reg, rm));
	writes(e, written_by(&op, BIT_OF(reg), BIT_OF(rm)));
	if (op.no_rex)
		writes(e, MASK(3, 0)); /* AH is RAX */
}

/* can_small: a byte's displacement is that, and no multiple (EVEX). */
INLINE uint8_t *address(uint8_t *p, unsigned reg, struct mem mem,
			bool can_small)
{
	bool small = can_small && mem.disp == (int8_t)mem.disp;
	bool none = mem.disp == 0 && (mem.base & 7) != HOST_RBP;
	unsigned mod = none ? 0 : small ? 1 : 2;
	bool sib = mem.index != HOST_NONE || (mem.base & 7) == HOST_RSP ||
		   mem.base == HOST_NONE;
	unsigned index = mem.index == HOST_NONE ? 4 : mem.index & 7;

	if (mem.base == HOST_NONE)
		mod = 0;
	p = modrm(p, mod, reg, sib ? 4 : mem.base);
	if (sib)
		*p++ = (uint8_t)(mem.scale << 6 | index << 3 |
				 (mem.base == HOST_NONE ? 5 : mem.base & 7));
	if (mem.base == HOST_NONE || mod == 2)
		p = word(p, (uint32_t)mem.disp);
	else if (mod == 1)
		*p++ = (uint8_t)mem.disp;
	return p;
}

INLINE void op_mem(struct emit *e, struct op op, unsigned reg, struct mem mem)
{
	bool x = mem.index != HOST_NONE && mem.index & 8;
	bool b = mem.base != HOST_NONE && mem.base & 8;
	uint8_t aside[LONGEST], *p = begin(e, aside);

	if (op.evex)
		p = evex(p, &op, reg, x, b);
	else if (op.vex)
		p = vex(p, &op, reg & 8, x, b);
	else
		p = legacy(p, &op, reg & 8, x, b, op.byte_reg && reg >= 4);
	end(e, aside, address(p, reg, mem, !op.evex));
	writes(e, written_by(&op, BIT_OF(reg), 0));
}

void emit_op_reg(struct emit *e, struct op op, unsigned reg, unsigned rm)
{
	op_reg(e, op, reg, rm);
}

void emit_op_mem(struct emit *e, struct op op, unsigned reg, struct mem mem)
{
	op_mem(e, op, reg, mem);
}

void emit_op_plain(struct emit *e, struct op op)
{
	uint8_t aside[LONGEST], *p = begin(e, aside);

	if (op.vex)
		p = vex(p, &op, false, false, false);
	else
		p = legacy(p, &op, false, false, false, false);
	end(e, aside, p);
	writes(e, 1u << HOST_RAX | 1u << HOST_RDX | 1u << HOST_RCX |
		      1u << HOST_RSI | 1u << HOST_RDI);
}

void emit_op_low(struct emit *e, struct op op, unsigned reg)
{
	uint8_t aside[LONGEST], *p = begin(e, aside);

	op.opcode |= reg & 7;
	end(e, aside, legacy(p, &op, false, false, reg & 8, false));
	writes(e, BIT_OF(reg));
}

/* -- by name ---------------------------------------------------------------
 */

#define OP1(...) ((struct op){.map = MAP_1, .opcode = __VA_ARGS__})

void emit_mov(struct emit *e, unsigned to, unsigned from)
{
	op_reg(e, OP1(0x8b, .w = true), to, from);
}

void emit_mov32(struct emit *e, unsigned to, unsigned from)
{
	op_reg(e, OP1(0x8b), to, from);
}

void emit_load(struct emit *e, unsigned to, struct mem mem)
{
	op_mem(e, OP1(0x8b, .w = true), to, mem);
}

void emit_load32(struct emit *e, unsigned to, struct mem mem)
{
	op_mem(e, OP1(0x8b), to, mem);
}

void emit_load_near(struct emit *e, unsigned to, const uint8_t *from)
{
	uint8_t aside[LONGEST], *p = begin(e, aside);

	p = legacy(p, &OP1(0x8b, .w = true), to & 8, false, false, false);
	end(e, aside, modrm(p, 0, to, 5)); /* RIP and 32 bits */
	writes(e, BIT_OF(to));
	emit_imm(e, (uint32_t)(from - e->at - 4), 4);
}

void emit_store(struct emit *e, struct mem mem, unsigned from)
{
	op_mem(e, OP1(0x89, .w = true), from, mem);
}

void emit_mov_imm(struct emit *e, unsigned to, uint64_t value)
{
	bool rex_w = value != (uint32_t)value;
	bool sign = rex_w && (int64_t)value == (int32_t)value;

	if (sign) {
		op_reg(e, OP1(0xc7, .w = true), 0, to);
		emit_imm(e, value, 4);
		return;
	}
	if (rex_w || to & 8)
		raw_byte(e, (uint8_t)(0x40 | rex_w << 3 | to >> 3));
	raw_byte(e, (uint8_t)(0xb8 | (to & 7)));
	emit_imm(e, value, rex_w ? 8 : 4);
	writes(e, BIT_OF(to));
}

void emit_lea(struct emit *e, unsigned to, struct mem mem)
{
	if (mem.index == HOST_NONE && mem.disp == 0 && mem.base != HOST_NONE) {
		if (to != mem.base)
			emit_mov(e, to, mem.base);
		return;
	}
	op_mem(e, OP1(0x8d, .w = true), to, mem);
}

void emit_lea32(struct emit *e, unsigned to, struct mem mem)
{
	op_mem(e, OP1(0x8d), to, mem);
}

void emit_not(struct emit *e, unsigned reg)
{
	op_reg(e, OP1(0xf7, .w = true), 2, reg);
}

void emit_rorx(struct emit *e, unsigned to, unsigned from, uint8_t bits)
{
	struct op rorx = {.map = MAP_0F3A,
			  .prefix = 0xf2,
			  .opcode = 0xf0,
			  .vex = true,
			  .w = true};

	op_reg(e, rorx, to, from);
	emit_imm(e, bits, 1);
}

void emit_shrx(struct emit *e, unsigned to, unsigned from, unsigned by)
{
	struct op shrx = {.map = MAP_0F38,
			  .prefix = 0xf2,
			  .opcode = 0xf7,
			  .vex = true,
			  .w = true,
			  .vvvv = (uint8_t)by};

	op_reg(e, shrx, to, from);
}

void emit_movzx8(struct emit *e, unsigned to, unsigned from)
{
	op_reg(e, (struct op){.map = MAP_0F, .opcode = 0xb6}, to, from);
}

static void bits(struct emit *e, uint8_t prefix, unsigned to, unsigned from,
		 struct mem mask)
{
	op_mem(e,
	       (struct op){.map = MAP_0F38,
			   .prefix = prefix,
			   .opcode = 0xf5,
			   .w = true,
			   .vex = true,
			   .vvvv = (uint8_t)from},
	       to, mask);
}

void emit_pext(struct emit *e, unsigned to, unsigned from, struct mem mask)
{
	bits(e, 0xf3, to, from, mask);
}

void emit_pdep(struct emit *e, unsigned to, unsigned from, struct mem mask)
{
	bits(e, 0xf2, to, from, mask);
}

/* -- jumps ------------------------------------------------------------------
 */

static uint8_t *distance(struct emit *e, unsigned bytes)
{
	uint8_t *place = e->at;

	emit_imm(e, 0, bytes);
	return place;
}

uint8_t *emit_jrcxz(struct emit *e)
{
	raw_byte(e, 0xe3);
	return distance(e, 1);
}

uint8_t *emit_jecxz(struct emit *e)
{
	raw_byte(e, 0x67);
	return emit_jrcxz(e);
}

uint8_t *emit_jrcxz_far(struct emit *e)
{
	static const uint8_t bytes[] = {0xe3, 3,                 /* jrcxz */
					0x0f, 0x1f, 0x84, 0xe9}; /* nop; jmp */

	for (unsigned n = 0; n < sizeof(bytes); n++)
		raw_byte(e, bytes[n]);
	return distance(e, 4);
}

uint8_t *emit_jmp8(struct emit *e)
{
	raw_byte(e, 0xeb);
	return distance(e, 1);
}

uint8_t *emit_jmp(struct emit *e)
{
	raw_byte(e, 0xe9);
	return distance(e, 4);
}

uint8_t *emit_jcc(struct emit *e, unsigned condition)
{
	raw_byte(e, 0x0f);
	raw_byte(e, (uint8_t)(0x80 | condition));
	return distance(e, 4);
}

/* Who is called may be tier 0, for an instruction that writes to any. */
uint8_t *emit_call(struct emit *e)
{
	raw_byte(e, 0xe8);
	writes(e, 0xffff);
	return distance(e, 4);
}

void emit_jmp_mem(struct emit *e, struct mem mem)
{
	op_mem(e, OP1(0xff), 4, mem);
}

void emit_here8(struct emit *e, uint8_t *place)
{
	long far = e->at - place - 1;

	if (e->full)
		return;
	if (far < -128 || far > 127)
		e->full = true; /* never, as they skip a few instructions */
	*place = (uint8_t)far;
}

void emit_to(struct emit *e, uint8_t *place, const uint8_t *to)
{
	int32_t far = (int32_t)(to - place - 4);

	if (!e->full)
		*(unaligned_32 *)place = (uint32_t)far;
}

void emit_here(struct emit *e, uint8_t *place)
{
	emit_to(e, place, e->at);
}
