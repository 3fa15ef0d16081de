/* SPDX-License-Identifier: BSD-2-Clause */
/* Stubs: made from a decoded instruction, kept by their bytes. */
#ifndef SOFT_STUB_H
#define SOFT_STUB_H

#include "vmm/soft/vec.h"

struct stub_code {
	uint8_t bytes[STUB_MAX];
	unsigned len;
	bool overflow;
	uint8_t exit[4]; /* where jumps to the exit await their distance */
	unsigned exits;
};

/* The instruction alone, memory operand (if mem) [RCX], GPR operand RAX. */
void stub_encode(struct stub_code *code, const struct simd_row *row,
		 const struct dec *d, bool mem);

void stub_byte(struct stub_code *code, uint8_t byte);
/* Fills up with INT3, to where the next entry shall be. */
void stub_pad(struct stub_code *code, unsigned to);

/* Moves between a register and a field of struct cpu (RDI). */
enum stub_move {
	STUB_LOAD16, /* AX */
	STUB_STORE16,
	STUB_LOAD64, /* RAX */
	STUB_STORE64,
	STUB_LOAD64_RDX,
	STUB_STORE64_RCX,
};
void stub_cpu_field(struct stub_code *code, enum stub_move move, size_t offset);

/* Exits when a bit of mask is set in the byte field of struct cpu. */
void stub_test(struct stub_code *code, size_t field, uint8_t mask);
/* i's memory operand in RCX, as the host has it; exits when the TLB does not
   lead there, or it is misaligned. */
void stub_probe(struct stub_code *code, const struct insn *i, bool store);
/* Where the exits are: on to other, with the registers as they came. */
void stub_exits(struct stub_code *code, exec_fn other);
/* Goes on to the instruction after RSI. */
void stub_next(struct stub_code *code);

/* A VEX instruction of our own, register form, or [RCX + disp8] as rm. */
struct stub_vex {
	uint8_t map, pp, op; /* map 1: 0F */
	uint8_t reg, vvvv, rm;
	bool wide; /* VEX.L */
};
void stub_vex_reg(struct stub_code *code, struct stub_vex v);
void stub_vex_mem(struct stub_code *code, struct stub_vex v, int8_t disp);

/*
 * An EVEX move of the whole register, to or from 64 * place bytes after RCX;
 * the same of opmask k, 64 bits at RCX.
 */
void stub_move_zmm(struct stub_code *code, bool store, unsigned reg,
		   int8_t place);
void stub_move_opmask(struct stub_code *code, bool store, unsigned k);

/* Its address to call, or -ENOSPC. */
int64_t stub_find(struct native *n, const struct stub_code *code);

#endif
