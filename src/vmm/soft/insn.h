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

/* A mnemonic's functions: one for all, or one a form and size (log2). */
struct handler {
	exec_fn one;
	exec_fn fn[FORM_COUNT][4];
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
	uint8_t vector_len; /* 0: 128, 1: 256, 2: 512 bits */
	uint8_t aaa;        /* EVEX opmask */
	bool z, b;          /* EVEX zeroing, broadcast/rounding/SAE */
	bool has_imm;
	uint8_t imm8;
	uint8_t mode; /* bytes of the code segment's default: 2, 4, 8 */
};

/* -- the opcode table ------------------------------------------------------ */

enum opcode_map { MAP_1, MAP_0F, MAP_0F38, MAP_0F3A, MAP_X87, MAP_COUNT };

enum opcode_attr {
	OP_LOCK = 1 << 0,    /* LOCK is legal with a memory destination */
	OP_D64 = 1 << 1,     /* operand size defaults to 64 in 64-bit mode */
	OP_F64 = 1 << 2,     /* and cannot be overridden */
	OP_NO64 = 1 << 3,    /* #UD in 64-bit mode */
	OP_ONLY64 = 1 << 4,  /* #UD outside it */
	OP_CPL0 = 1 << 5,    /* #GP(0) unless CPL is 0 */
	OP_END = 1 << 6,     /* ends a block */
	OP_NATIVE = 1 << 7,  /* runs on the host from a stub */
	OP_ALIGN = 1 << 8,   /* memory operand of 16+ bytes must be aligned */
	OP_WRITES = 1 << 9,  /* native: its memory operand is written */
	OP_RMW = 1 << 10,    /* native: read and written */
	OP_REP = 1 << 11,    /* F2/F3 repeat it; else they are ignored */
	OP_MEM = 1 << 12,    /* ModRM.mod = 3 is #UD */
	OP_REG = 1 << 13,    /* ModRM.mod != 3 is #UD */
	OP_X87 = 1 << 14,    /* native: x87 or MMX (CR0.EM/TS, #MF) */
	OP_SSE = 1 << 15,    /* native: SSE (CR0.EM, CR4.OSFXSR, TS) */
	OP_AVX = 1 << 16,    /* native: VEX (CR4.OSXSAVE, XCR0[2:1], TS) */
	OP_AVX512 = 1 << 17, /* native: EVEX, opmask (XCR0[7:5] too) */
	OP_PM = 1 << 18,     /* #UD in real mode and v86 */
	OP_FP = 1 << 19,     /* native: may set MXCSR flags or raise #XM */
	OP_BYTE = 1 << 20,   /* operand size is 8 bits */
	OP_VEX = 1 << 21,    /* only with a VEX prefix (BMI: general regs) */
};

struct opcode {
	const char *name;
	uint8_t map, pp, op;
	int8_t ext;       /* ModRM.reg that selects it, or -1 */
	uint32_t attr;    /* enum opcode_attr */
	uint16_t feature; /* enum x86_feature, or 0: always there */
	uint16_t flags_read, flags_written, flags_undefined; /* RFLAGS */
	uint8_t operand[4];            /* enum operand, decode.c */
	const struct handler *handler; /* NULL: native */
};

#endif
