/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables of x87, MMX, SSE, AVX and opmask instructions
 * (x86/opcodes_simd.def) and of those with an EVEX prefix
 * (x86/opcodes_evex.def): what the decoder asks of them, and what native.c
 * re-encodes by.
 *
 * One row serves the legacy and the VEX form of an instruction, and its
 * register and memory forms, unless they differ in what a row says.
 */
#ifndef SOFT_SIMD_H
#define SOFT_SIMD_H

#include "vmm/soft/insn.h"

enum simd_attr {
	/* Which forms there are. */
	S_MEM = 1 << 0,   /* memory form only */
	S_REG = 1 << 1,   /* register form only */
	S_VEX = 1 << 2,   /* VEX form, too */
	S_NOLEG = 1 << 3, /* VEX form only */
	S_L0 = 1 << 4,    /* VEX.L must be 0 */
	S_L1 = 1 << 5,    /* VEX.L must be 1 */
	S_W0 = 1 << 6,    /* VEX.W must be 0 */
	S_W1 = 1 << 7,    /* VEX.W must be 1 */
	S_AVX2 = 1 << 8,  /* 256 bits (of a row that is not NOLEG): AVX2 */
	S_NDS = 1 << 9,   /* VEX.vvvv is a register; else it must be 1111 */
	S_NOMODRM = 1 << 10,
	/* What follows ModRM. */
	S_IMM8 = 1 << 11,
	S_IMM8X2 = 1 << 12, /* two immediate bytes (EXTRQ, INSERTQ) */
	S_IS4 = 1 << 13,    /* an immediate byte that names a register */
	S_VSIB = 1 << 14,   /* SIB.index is a vector register */
	/* The memory operand; 16 bytes in a legacy form must be aligned. */
	S_WRITES = 1 << 15,    /* is the destination */
	S_UNALIGNED = 1 << 16, /* need not be aligned */
	S_VALIGNED = 1 << 17,  /* must be aligned in the VEX form, too */
	/* General registers and flags. */
	S_GREG = 1 << 18,   /* ModRM.reg is a general register, written */
	S_GRM = 1 << 19,    /* ModRM.rm, in the register form: read, or with */
	S_GOUT = 1 << 20,   /* this, written */
	S_STRING = 1 << 21, /* PCMPxSTRx: EAX, EDX read, ECX written */
	S_FLAGS = 1 << 22,  /* writes the arithmetic flags */
	S_FLAGS_IN = 1 << 23, /* reads them (FCMOV) */
	/* Class. Neither X87 nor MMX: SSE, or AVX when VEX. */
	S_X87 = 1 << 24,
	S_MMX = 1 << 25,
	S_SSE = 1 << 26,    /* MMX and SSE at once (CVTPI2PS) */
	S_FP = 1 << 27,     /* may set MXCSR flags or raise #XM */
	S_RDI = 1 << 29,    /* its memory operand is DS:[rDI], not ModRM's */
	S_NOWAIT = 1 << 28, /* x87: no look for pending exceptions */
	S_OPMASK = 1 << 30, /* all that are not general registers are opmasks */
};

/* What only EVEX has (SDM vol. 2, 2.7). */
enum evex_attr {
	/* EVEX.aaa and EVEX.z; neither: both must be 0. */
	E_MERGE = 1 << 0,          /* a mask, but no zeroing */
	E_MASK = E_MERGE | 1 << 1, /* zeroing of a register, too */
	E_NEED = 1 << 2,           /* k0 is no mask (gathers, scatters) */
	/* EVEX.b: with memory, with registers; else it must be 0. */
	E_BC = 1 << 3,  /* broadcast of an element */
	E_ER = 1 << 4,  /* rounding; L'L is the mode */
	E_SAE = 1 << 5, /* exceptions suppressed; L'L is ignored */
	/* EVEX.L'L; else all three lengths. */
	E_LIG = 1 << 6, /* a scalar: any but 3 */
	E_L0 = 1 << 7,  /* 128 bits */
	E_L12 = 1 << 8, /* 256 or 512 */
	E_L2 = 1 << 9,  /* 512 */
	/* What the mask says of memory; else an element each bit. */
	E_NF = 1 << 10,   /* nothing: any of it may fault */
	E_ALL = 1 << 11,  /* several bits an element (broadcasts) */
	E_PACK = 1 << 12, /* as many as there are bits (compress, expand) */
	/* Opmask operands beside EVEX.aaa. */
	E_KREG = 1 << 13, /* ModRM.reg */
	E_KRM = 1 << 14,  /* ModRM.rm */
};

/* Bytes of the memory operand, or how they follow from the vector length. */
enum simd_size {
	SIZE_0 = 0,
	SIZE_1 = 1,
	SIZE_2 = 2,
	SIZE_4 = 4,
	SIZE_8 = 8,
	SIZE_10 = 10,
	SIZE_16 = 16,
	SIZE_32 = 32,
	SIZE_VL = 64, /* vector length */
	SIZE_VL2,     /* a half */
	SIZE_VL4,     /* a quarter */
	SIZE_VL8,     /* an eighth */
	SIZE_W,       /* 4, or 8 with W */
	SIZE_DUP,     /* MOVDDUP: 8, or the 256 bits */
	SIZE_C,       /* the function that runs it knows */
};

struct simd_row {
	const char *name;
	exec_fn exec; /* not by a stub: this function */
	uint32_t attr;
	uint16_t feature; /* enum x86_feature of the legacy (NOLEG: VEX) form */
	uint8_t map, pp, op;
	int8_t ext;   /* ModRM.reg that selects it, or -1 */
	int8_t low;   /* x87 register form: ModRM.rm that selects it, or -1 */
	uint8_t size; /* enum simd_size */
	/* With an EVEX prefix. */
	bool is_evex;
	uint8_t element; /* bytes of one in memory */
	uint16_t how;    /* enum evex_attr */
};

/*
 * The row of an instruction, or NULL (#UD). map 0F, 0F38, 0F3A; MAP_1 for
 * opcodes D8-DF (pp is not looked at) and 9B. vl: 0 is 128 bits, 1 is 256.
 * Ignores vvvv: simd_uses_vvvv.
 */
const struct simd_row *simd_find(unsigned map, unsigned pp, unsigned opcode,
				 uint8_t modrm, bool vex, unsigned vl, bool w);

/*
 * With an EVEX prefix, which d has; modrm is the byte that follows. NULL (#UD)
 * also where one of its fields says what the row does not know, but for
 * vvvv: simd_uses_vvvv.
 */
const struct simd_row *simd_find_evex(const struct dec *d, uint8_t modrm);

/* Is there a row for d's opcode, whatever follows? */
bool simd_knows(const struct dec *d);
/* The row of a decoded instruction. */
const struct simd_row *simd_row_of(const struct dec *d);

/* Opcodes of these maps that have no ModRM byte: 9B, 0F 77. */
static inline bool simd_has_modrm(unsigned map, unsigned opcode)
{
	return !(map == MAP_0F && opcode == 0x77) &&
	       !(map == MAP_1 && opcode == 0x9b);
}

/* Immediate bytes: 0, 1 or 2. */
static inline unsigned simd_imm_bytes(const struct simd_row *row)
{
	if (row->attr & S_IMM8X2)
		return 2;
	return (row->attr & (S_IMM8 | S_IS4)) != 0;
}

/* Without it, a VEX.vvvv other than 1111 is #UD. */
static inline bool simd_uses_vvvv(const struct simd_row *row)
{
	return (row->attr & S_NDS) != 0;
}

/* The index in the SIB byte is a vector register; SIB is needed. */
static inline bool simd_vsib(const struct simd_row *row)
{
	return (row->attr & S_VSIB) != 0;
}

/* Has a memory operand at DS:[rDI] beside its register form. */
static inline bool simd_rdi(const struct simd_row *row)
{
	return (row->attr & S_RDI) != 0;
}

/* The feature (enum x86_feature, 0: none) the CPU model must have. */
unsigned simd_feature(const struct simd_row *row, bool vex, unsigned vl);
/* One more, of an instruction with an EVEX prefix. */
unsigned simd_feature_evex(const struct simd_row *row, const struct dec *d);

/* d's memory operand is one element, for all. */
static inline bool simd_is_broadcast(const struct simd_row *row,
				     const struct dec *d)
{
	return d->is_evex && d->b && d->modrm < 0xc0;
}

/* Does a mask decide what of memory is touched, or written? */
static inline bool simd_is_masked(const struct simd_row *row,
				  const struct dec *d)
{
	return d->is_evex && d->aaa != 0 && d->modrm < 0xc0 &&
	       (row->attr & S_WRITES || !(row->how & E_NF));
}

/* What a displacement of one byte counts (EVEX). */
unsigned simd_disp8(const struct simd_row *row, const struct dec *d);
/* Bits of the mask, as many as there are elements. */
unsigned simd_mask_bits(const struct simd_row *row, const struct dec *d);

/* Bytes of the memory operand; 0: none, or the function knows. */
bool simd_needs_cmov(const struct dec *d);
unsigned simd_mem_bytes(const struct simd_row *row, const struct dec *d);

unsigned simd_count(void);
const struct simd_row *simd_row(unsigned n);

#endif
