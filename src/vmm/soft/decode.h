/* SPDX-License-Identifier: BSD-2-Clause */
/* From bytes to an instruction. */
#ifndef SOFT_DECODE_H
#define SOFT_DECODE_H

#include "vmm/soft/insn.h"

/*
 * Decodes one instruction from bytes (avail of them, at most 15) in the code
 * size c->code_size. Fills insn (exec included, off not) and dec. Returns its
 * length; an undefined one has an exec that raises #UD. -EAGAIN: it needs
 * more than avail bytes (page end); -E2BIG: over 15 bytes (#GP).
 * REG_RIPBASE-relative fields (disp of RIP-relative operands, imm of
 * branches) have `off`, the instruction's page offset, added.
 */
int decode(struct cpu *c, const uint8_t *bytes, unsigned avail, unsigned off,
	   struct insn *i, struct dec *d);
extern const struct opcode opcode_table[];
extern const unsigned opcode_count;
#define OP_NONE_ROW 0xffff /* insn.op of vector and undefined instructions */
struct opcode_index *opcode_index_create(void); /* free() it */

#endif
