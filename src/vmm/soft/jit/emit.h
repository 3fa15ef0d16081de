/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An emitter of x86-64 instructions (SDM vol. 2, chapter 2). emit_op_* are
 * the encodings; the rest are the few instructions that translated code is
 * made of besides the guest's own, by name. None of these touches a flag.
 */
#ifndef SOFT_JIT_EMIT_H
#define SOFT_JIT_EMIT_H

#include <stdbool.h>
#include <stdint.h>

#include "vmm/soft/insn.h"

enum host_reg {
	HOST_RAX,
	HOST_RCX,
	HOST_RDX,
	HOST_RBX,
	HOST_RSP,
	HOST_RBP,
	HOST_RSI,
	HOST_RDI,
	HOST_R8,
	HOST_R9,
	HOST_R10,
	HOST_R11,
	HOST_R12,
	HOST_R13,
	HOST_R14,
	HOST_R15,
	HOST_NONE
};

/* base + (index << scale) + disp; either register may be HOST_NONE. */
struct mem {
	uint8_t base, index, scale;
	int32_t disp;
};

/*
 * Where bytes go. What does not fit sets full, and nothing is written. wrote
 * has a bit for each host register that may be another since somebody cleared
 * it: sometimes one too many, as of other kinds of registers with its number.
 * narrow has one for each that somebody said is below 2^32, and that is not
 * another since.
 */
struct emit {
	uint8_t *at, *end;
	bool full;
	uint16_t wrote, narrow;
};

/* An instruction's opcode and prefixes. */
struct op {
	uint8_t map;    /* enum opcode_map */
	uint8_t prefix; /* F2 or F3, or 66 as a mandatory one, or 0 */
	uint8_t opcode;
	bool opsize;   /* 66, for 16-bit operands */
	bool lock;     /* F0 */
	bool w;        /* REX.W or VEX.W */
	bool byte_reg; /* ModRM.reg, ModRM.rm is a byte register: SPL.. need */
	bool byte_rm;  /* a REX prefix */
	bool no_rex;   /* AH.. BH: numbers 4-7 mean those */
	bool vex, vex_l;
	uint8_t vvvv;
	bool evex, z, b; /* EVEX's fields; registers are of 32 */
	uint8_t ll, aaa;
};

/* Of an instruction that nothing is known of. */
void emit_byte(struct emit *e, uint8_t byte);
void emit_imm(struct emit *e, uint64_t value, unsigned bytes);
void emit_op_reg(struct emit *e, struct op op, unsigned reg, unsigned rm);
void emit_op_mem(struct emit *e, struct op op, unsigned reg, struct mem mem);

/* Without ModRM; with a register in the opcode's low bits. */
void emit_op_plain(struct emit *e, struct op op);
void emit_op_low(struct emit *e, struct op op, unsigned reg);

void emit_mov(struct emit *e, unsigned to, unsigned from);
void emit_mov32(struct emit *e, unsigned to, unsigned from);
void emit_load(struct emit *e, unsigned to, struct mem mem); /* 64 bits */
void emit_load32(struct emit *e, unsigned to, struct mem mem);
/* From a place in the same memory. */
void emit_load_near(struct emit *e, unsigned to, const uint8_t *from);
void emit_store(struct emit *e, struct mem mem, unsigned from);
void emit_mov_imm(struct emit *e, unsigned to, uint64_t value);
void emit_not(struct emit *e, unsigned reg);
void emit_rorx(struct emit *e, unsigned to, unsigned from, uint8_t bits);
/* By the lower 6 bits of a register. */
void emit_shrx(struct emit *e, unsigned to, unsigned from, unsigned by);
/* The lowest byte, of RAX to RBX or R8 to R15. */
void emit_movzx8(struct emit *e, unsigned to, unsigned from);
void emit_lea(struct emit *e, unsigned to, struct mem mem);
void emit_lea32(struct emit *e, unsigned to, struct mem mem);
void emit_pext(struct emit *e, unsigned to, unsigned from, struct mem mask);
void emit_pdep(struct emit *e, unsigned to, unsigned from, struct mem mask);

/*
 * Jumps over what is not known yet: each returns where its distance stands,
 * for emit_here() or emit_to().
 */
uint8_t *emit_jrcxz(struct emit *e); /* 8 bits */
uint8_t *emit_jecxz(struct emit *e); /* likewise, if the lower half is 0 */
/* Jumps if RCX is 0, far: to a JMP in the NOP that comes next. Not to jump
   costs nothing, while a jump is foreseen for some thousands of places only. */
uint8_t *emit_jrcxz_far(struct emit *e);
uint8_t *emit_jmp8(struct emit *e);
uint8_t *emit_jmp(struct emit *e); /* 32 bits */
uint8_t *emit_jcc(struct emit *e, unsigned condition);
uint8_t *emit_call(struct emit *e);
void emit_jmp_mem(struct emit *e, struct mem mem);
/* The jump at place goes here; to (8-bit: only _here). */
void emit_here8(struct emit *e, uint8_t *place);
void emit_here(struct emit *e, uint8_t *place);
void emit_to(struct emit *e, uint8_t *place, const uint8_t *to);

static inline struct mem mem_at(unsigned base, int32_t disp)
{
	return (struct mem){(uint8_t)base, HOST_NONE, 0, disp};
}

static inline struct mem mem_index(unsigned base, unsigned index,
				   unsigned scale, int32_t disp)
{
	return (struct mem){(uint8_t)base, (uint8_t)index, (uint8_t)scale,
			    disp};
}

#endif
