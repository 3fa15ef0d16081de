/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A decoded instruction, as the interpreter runs it, and the opcode table's
 * row that it came from.
 *
 * exec is a function for just this mnemonic, operand form and size; it does
 * its work and tail-calls the next instruction's exec (next()), so a block
 * runs as direct threaded code. An exec that ends a block returns the first
 * instruction of the next block, or NULL with cpu.rip set, which brings the
 * main loop in.
 *
 * Register operands are byte offsets into struct cpu (whose first member is
 * gpr[]): register n is n * 8, AH..BH are 1, 9, 17, 25. The pseudo-registers
 * REG_ZERO (always 0) and REG_RIPBASE make every 64-bit address one formula:
 * base + (index << scale) + disp. A RIP-relative disp has the offset of the
 * instruction's end from REG_RIPBASE already added.
 */
#ifndef SOFT_INSN_H
#define SOFT_INSN_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct insn;

typedef const struct insn *(*exec_fn)(struct cpu *c, const struct insn *i);

enum {
	REG_RAX = 0 * 8,
	REG_RCX = 1 * 8,
	REG_RDX = 2 * 8,
	REG_RBX = 3 * 8,
	REG_RSP = 4 * 8,
	REG_RBP = 5 * 8,
	REG_RSI = 6 * 8,
	REG_RDI = 7 * 8,
	REG_ZERO = 16 * 8,
	REG_RIPBASE = 17 * 8,
};

enum seg_index { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_COUNT };

enum insn_flags {
	INSN_EA_SLOW =
	    1 << 0, /* address size < 64, FS/GS, or not 64-bit mode */
	INSN_LOCK = 1 << 1,
	INSN_REP = 1 << 2,    /* F3 */
	INSN_REPNE = 1 << 3,  /* F2 */
	INSN_MEM = 1 << 4,    /* has a memory operand in base..seg */
	INSN_OPSIZE = 1 << 5, /* 66 was there */
	INSN_REXW = 1 << 6,
	INSN_WANDERS = 1 << 7, /* seldom in the page it was in before */
};

struct insn {
	exec_fn exec;
	int64_t imm; /* immediate, sign-extended as the instruction wants it;
			branches: target minus REG_RIPBASE; far pointers:
			selector << 32 | offset; natives: their stub */
	int64_t disp;
	uint16_t off; /* of its first byte from REG_RIPBASE (page offset) */
	uint16_t op;  /* row of the opcode table */
	uint8_t len;
	uint8_t lsize; /* log2 of the operand size in bytes: 0..3 */
	uint8_t asize; /* log2 of the address size in bytes: 1..3 */
	uint8_t flags; /* enum insn_flags */
	uint8_t base, index, scale;
	uint8_t seg;     /* enum seg_index of the memory operand */
	uint8_t a, b, c; /* register operands: destination, source, third */
	uint8_t ext;     /* ModRM.reg where it is no register; condition code;
			    number of a segment, control, debug register */
};

_Static_assert(sizeof(struct insn) == 40, "an instruction is 40 bytes");

/* -- handlers ------------------------------------------------------------ */

/*
 * How the first two operands lie. One-operand instructions use RR (register)
 * and MR (memory), with their operand in a; no operands: RR.
 */
enum form {
	FORM_RR, /* a = register, b = register */
	FORM_RM, /* a = register, source in memory */
	FORM_MR, /* destination in memory, b = register (or none) */
	FORM_RI, /* a = register, imm */
	FORM_MI, /* destination in memory, imm */
	FORM_COUNT
};

/*
 * A mnemonic's functions: one for all, or one a form and size (log2);
 * locked is for a memory destination with LOCK, from a register or with an
 * immediate.
 */
struct handler {
	exec_fn one;
	exec_fn fn[FORM_COUNT][4];
	exec_fn locked[2][4];
};

/*
 * Raw fields of a decoded instruction: what re-encoding and disassembly want.
 * Lives only while a block is made.
 */
struct dec {
	uint8_t bytes[15];
	uint8_t len;
	uint8_t map; /* enum opcode_map */
	uint8_t pp;  /* mandatory prefix: 0, 0x66, 0xf3, 0xf2 */
	uint8_t opcode;
	uint8_t modrm;
	bool has_modrm;
	bool is_vex, is_evex;
	bool rex_w;      /* REX.W, VEX.W, EVEX.W */
	uint8_t reg, rm; /* ModRM.reg and .rm with their extension bits */
	uint8_t index;   /* SIB.index with its extension bits, even if 4 */
	uint8_t vvvv;
	bool vvvv3; /* bit 3 of it, which 32-bit code ignores, but not if
		       vvvv must be 1111 */
	uint8_t vector_len; /* 0: 128, 1: 256, 2: 512 bits */
	uint8_t evex_r2;    /* EVEX.R' inverted: bit 4 of ModRM.reg */
	uint8_t aaa;        /* EVEX opmask */
	bool z, b;          /* EVEX zeroing, broadcast/rounding/SAE */
	bool has_imm;
	uint8_t imm8;
	uint8_t disp_bytes; /* 0, 1, 2, 4 */
	uint8_t mode;       /* bytes of the code segment's default: 2, 4, 8 */
};

/* -- the opcode table ------------------------------------------------------ */

enum opcode_map { MAP_1, MAP_0F, MAP_0F38, MAP_0F3A, MAP_COUNT };

enum opcode_pp { PP_NP, PP_66 = 0x66, PP_F3 = 0xf3, PP_F2 = 0xf2, PP_ANY = 1 };

/* Where the operands are, in the order of their roles (a, b, c of insn). */
enum operands {
	OPERANDS_NONE,
	OPERANDS_E,   /* ModRM.rm */
	OPERANDS_E_G, /* ModRM.rm, ModRM.reg */
	OPERANDS_G_E,
	OPERANDS_E_I,  /* immediate of the operand size, at most 32 bits */
	OPERANDS_E_I8, /* sign-extended byte */
	OPERANDS_E_1,  /* the constant 1 */
	OPERANDS_E_CL,
	OPERANDS_E_G_I8,
	OPERANDS_E_G_CL,
	OPERANDS_G_E_I,
	OPERANDS_G_E_I8,
	OPERANDS_G_V_E, /* V: VEX.vvvv */
	OPERANDS_G_E_V,
	OPERANDS_V_E,
	OPERANDS_A_I, /* A: accumulator */
	OPERANDS_A_MOFFS,
	OPERANDS_MOFFS_A,
	OPERANDS_R, /* low three bits of the opcode */
	OPERANDS_R_A,
	OPERANDS_R_I,
	OPERANDS_R_I64,
	OPERANDS_I,
	OPERANDS_I8,
	OPERANDS_I16,
	OPERANDS_I16_I8,
	OPERANDS_J, /* relative to the next instruction */
	OPERANDS_J8,
	OPERANDS_FAR,  /* selector and offset */
	OPERANDS_SEG0, /* segment register in opcode bits 5:3 */
	OPERANDS_E_S,  /* S: segment register in ModRM.reg */
	OPERANDS_S_E,
	OPERANDS_CR, /* ModRM.reg: control or debug; ModRM.rm: general */
	OPERANDS_STRING,
};

enum opcode_attr {
	OP_LOCK = 1 << 0,     /* LOCK is legal with a memory destination */
	OP_D64 = 1 << 1,      /* operand size defaults to 64 in 64-bit mode */
	OP_F64 = 1 << 2,      /* and cannot be overridden */
	OP_NO64 = 1 << 3,     /* #UD in 64-bit mode */
	OP_ONLY64 = 1 << 4,   /* #UD outside it */
	OP_CPL0 = 1 << 5,     /* #GP(0) unless CPL is 0 */
	OP_END = 1 << 6,      /* ends a block */
	OP_BYTE = 1 << 7,     /* operand size is 8 bits */
	OP_BYTE_SRC = 1 << 8, /* ModRM.rm is 8 bits, the rest is not */
	OP_REP = 1 << 9,      /* F2/F3 repeat it; else they are ignored */
	OP_MEM = 1 << 10,     /* ModRM.mod = 3 is #UD */
	OP_REG = 1 << 11,     /* ModRM.mod != 3 is #UD */
	OP_RM = 1 << 12,      /* ext is the whole ModRM byte */
	OP_PM = 1 << 13,      /* #UD in real mode and v86 */
	OP_VEX = 1 << 14,     /* only with a VEX prefix */
	OP_ELSE = 1 << 15,    /* without its feature it is the next row */
	OP_NOREP = 1 << 16,   /* with F2 or F3 it is another instruction */
};

struct opcode {
	const char *name;
	uint8_t map; /* enum opcode_map */
	uint8_t pp;  /* enum opcode_pp */
	uint8_t op;
	uint8_t operands; /* enum operands */
	int16_t ext;      /* ModRM.reg that selects it, or -1 */
	uint16_t feature; /* enum x86_feature, or 0: always there */
	uint32_t attr;    /* enum opcode_attr */
	const struct handler *handler;
};

#endif
