/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the exec_*.c files are written with: typed registers, arithmetic flags
 * by the host's own instructions, and the loops over sizes.
 *
 * A handler commits (registers, flags) after its last memory access: the
 * access may leave for the process and the instruction run again.
 */
#ifndef SOFT_EXEC_H
#define SOFT_EXEC_H

#include "vmm/soft/access.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/handlers.h"

#define EXEC(name)                                                             \
	static const struct insn *name(struct cpu *c, const struct insn *i)

/* Registers by width; a 32-bit result clears the upper half. */
#define GET8(off)       REG8(c, off)
#define GET16(off)      REG16(c, off)
#define GET32(off)      REG32(c, off)
#define GET64(off)      REG64(c, off)
#define SET8(off, val)  (REG8(c, off) = (uint8_t)(val))
#define SET16(off, val) (REG16(c, off) = (uint16_t)(val))
#define SET32(off, val) (REG64(c, off) = (uint32_t)(val))
#define SET64(off, val) (REG64(c, off) = (uint64_t)(val))

/* M(..., bits, suffix of the assembler) for each operand size. */
#define SIZES(M, ...)                                                          \
	M(__VA_ARGS__, 8, b)                                                   \
	M(__VA_ARGS__, 16, w)                                                  \
	M(__VA_ARGS__, 32, l)                                                  \
	M(__VA_ARGS__, 64, q)
#define SIZES_WLQ(M, ...)                                                      \
	M(__VA_ARGS__, 16, w)                                                  \
	M(__VA_ARGS__, 32, l)                                                  \
	M(__VA_ARGS__, 64, q)

/* A handler's row of sizes: functions name8..name64. */
#define ROW(name)                                                              \
	{                                                                      \
		name##8, name##16, name##32, name##64                          \
	}
#define ROW_WLQ(name)                                                          \
	{                                                                      \
		NULL, name##16, name##32, name##64                             \
	}

/* Assembler around an instruction: flags out of and into AX (cpu.h). */
#define FLAGS_OUT "\n\tlahf\n\tseto %%al"
#define FLAGS_IN  "addb $127, %%al\n\tsahf\n\t"
#define CARRY_IN  "btw $8, %%ax\n\t"

/* The memory operand for reading and writing, or for reading. */
#define OPERAND_RW(bits)                                                       \
	operand(c, i, operand_va(c, i, bits / 8, ACCESS_WRITE), bits / 8,      \
		ACCESS_WRITE)
#define LOAD_OPERAND(bits)                                                     \
	load##bits(c, i, operand_va(c, i, bits / 8, ACCESS_READ))
#define STORE_OPERAND(bits, value)                                             \
	store##bits(c, i, operand_va(c, i, bits / 8, ACCESS_WRITE), value)

/* -- conditions (SDM vol. 1, table B-1) on arith_flags -----------------------
 */

#define CF_BIT 0x0100u
#define PF_BIT 0x0400u
#define AF_BIT 0x1000u
#define ZF_BIT 0x4000u
#define SF_BIT 0x8000u
#define OF_BIT 0x0001u

static inline bool sf_not_of(unsigned f)
{
	return ((f >> 15 ^ f) & 1) != 0;
}

#define COND_o(f)  (((f)&OF_BIT) != 0)
#define COND_no(f) (((f)&OF_BIT) == 0)
#define COND_b(f)  (((f)&CF_BIT) != 0)
#define COND_ae(f) (((f)&CF_BIT) == 0)
#define COND_e(f)  (((f)&ZF_BIT) != 0)
#define COND_ne(f) (((f)&ZF_BIT) == 0)
#define COND_be(f) (((f) & (CF_BIT | ZF_BIT)) != 0)
#define COND_a(f)  (((f) & (CF_BIT | ZF_BIT)) == 0)
#define COND_s(f)  (((f)&SF_BIT) != 0)
#define COND_ns(f) (((f)&SF_BIT) == 0)
#define COND_p(f)  (((f)&PF_BIT) != 0)
#define COND_np(f) (((f)&PF_BIT) == 0)
#define COND_l(f)  (sf_not_of(f))
#define COND_ge(f) (!sf_not_of(f))
#define COND_le(f) (sf_not_of(f) || ((f)&ZF_BIT) != 0)
#define COND_g(f)  (!sf_not_of(f) && ((f)&ZF_BIT) == 0)

#define CONDITIONS(M)                                                          \
	CONDITIONS_LOW(M)                                                      \
	CONDITIONS_HIGH(M)
#define CONDITIONS_LOW(M)  M(o) M(no) M(b) M(ae) M(e) M(ne) M(be) M(a)
#define CONDITIONS_HIGH(M) M(s) M(ns) M(p) M(np) M(l) M(ge) M(le) M(g)

#endif
