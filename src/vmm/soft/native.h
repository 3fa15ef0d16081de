/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Instructions that run on the host from stubs. A stub's body is the
 * instruction encoded again from its decoded form, for 64-bit mode: the same
 * opcode and vector registers, the memory operand [RCX], the general register
 * operand RAX, which it loads from struct cpu or stores there; flags
 * likewise, in AX, as LAHF;SETO leave them. Then it goes on to the next
 * instruction. The body is called as stub_fn is, in C's registers: RDI, RSI,
 * RCX.
 *
 * Before the body, its head does what it takes to run it: sees that nothing
 * is in the way (vec_blocked), finds the memory operand by the instruction's
 * base, index and displacement, and looks it up in the TLB. Where that does
 * not lead to the end it leaves for a function that does it all with care.
 * So the stub is the instruction's exec, and its bytes say all that there is
 * to know of it, and are its key.
 *
 * In a bound insn: imm the stub's body, a the general register, b the bytes
 * of the memory operand, c its alignment less one, ext what it needs (enum
 * vec_block), lsize what native_set_mask says, and NATIVE_ALIGNED when
 * MXCSR.MM does not lift the alignment. x87: the low 11 bits of the opcode
 * (FOP) are in a and c.
 */
#ifndef SOFT_NATIVE_H
#define SOFT_NATIVE_H

#include "vmm/soft/vec.h"

int native_create(struct cpu *c);
void native_destroy(struct cpu *c);
/*
 * Completes a decoded vector or x87 instruction, whose row is simd_find()'s:
 * sets i->exec and what that needs (imm: the stub; a, b, c, ext, lsize, and
 * base and index where the row has a memory operand of its own kind; i->seg
 * and INSN_EA_SLOW are wanted as if DS:[rDI] were an operand of MASKMOVQ).
 * -EINVAL: not one that we can run (#UD). -ENOSPC: no room for a stub; drop
 * all blocks (blocks_flush) and those being made, native_flush, decode again.
 */
int native_bind(struct cpu *c, const struct simd_row *row, const struct dec *d,
		struct insn *i);
void native_flush(struct cpu *c);

typedef const struct insn *(*stub_fn)(struct cpu *c, const struct insn *i,
				      uint64_t unused, void *mem);

/*
 * Of a memory operand with an opmask, in lsize: the mask's register, log2 of
 * an element's bytes, and how the mask says which elements are touched. In a,
 * which names a register only where none is in memory: 8 times log2 of the
 * mask's bits.
 */
enum native_touch {
	TOUCH_EACH,   /* a bit each */
	TOUCH_PACKED, /* as many as it has bits */
	TOUCH_FOLDED, /* element n of m: one of bits n, n + m, n + 2m.. */
};
#define NATIVE_ALIGNED    (1u << 0)
#define NATIVE_MASK(i)    ((i)->lsize >> 1 & 7u)
#define NATIVE_ELEMENT(i) ((i)->lsize >> 4 & 3u)
#define NATIVE_TOUCH(i)   ((i)->lsize >> 6)
void native_set_mask(const struct simd_row *row, const struct dec *d,
		     struct insn *i);

/* The stub alone: its next instruction comes back. */
void stub_run(struct cpu *c, const struct insn *i, void *mem);
/* With care for exceptions that MXCSR unmasks. */
void stub_run_careful(struct cpu *c, const struct insn *i, void *mem);

const struct insn *exec_load_masked(struct cpu *c, const struct insn *i);
const struct insn *exec_store_masked(struct cpu *c, const struct insn *i);
/* Nothing is written where some of the whole operand may not be. */
const struct insn *exec_store_masked_nf(struct cpu *c, const struct insn *i);
const struct insn *exec_stub_carefully(struct cpu *c, const struct insn *i);
const struct insn *exec_load_carefully(struct cpu *c, const struct insn *i);
const struct insn *exec_store_carefully(struct cpu *c, const struct insn *i);
const struct insn *exec_x87(struct cpu *c, const struct insn *i);
const struct insn *exec_x87_load(struct cpu *c, const struct insn *i);
const struct insn *exec_x87_store(struct cpu *c, const struct insn *i);

#endif
