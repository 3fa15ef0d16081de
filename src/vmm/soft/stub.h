/* SPDX-License-Identifier: BSD-2-Clause */
/* Stubs: made from a decoded instruction, kept by their bytes. */
#ifndef SOFT_STUB_H
#define SOFT_STUB_H

#include "vmm/soft/vec.h"

struct stub_code {
	uint8_t bytes[STUB_MAX];
	unsigned len;
	bool overflow;
};

/* The instruction alone, memory operand (if mem) [RCX], GPR operand RAX. */
void stub_encode(struct stub_code *code, const struct simd_row *row,
		 const struct dec *d, bool mem);

void stub_byte(struct stub_code *code, uint8_t byte);
/* Fills up with INT3, to where the next entry shall be. */
void stub_pad(struct stub_code *code, unsigned to);

/* A VEX instruction of our own, register form, or [RCX + disp8] as rm. */
struct stub_vex {
	uint8_t map, pp, op; /* map 1: 0F */
	uint8_t reg, vvvv, rm;
	bool wide; /* VEX.L */
};
void stub_vex_reg(struct stub_code *code, struct stub_vex v);
void stub_vex_mem(struct stub_code *code, struct stub_vex v, int8_t disp);

/* Its address to call, or -ENOSPC. */
int64_t stub_find(struct native *n, const struct stub_code *code);

#endif
