/* SPDX-License-Identifier: BSD-2-Clause */
/* The handlers of the opcode table's mnemonics: h_add, h_mov... (exec_*.c). */
#ifndef SOFT_HANDLERS_H
#define SOFT_HANDLERS_H

#include "vmm/soft/insn.h"

#define OP(name, map, pp, op, ext, operands, attr, feature)                    \
	extern const struct handler h_##name;
#include "x86/opcodes.def"
#undef OP

const struct insn *exec_ud(struct cpu *c, const struct insn *i);

/* soft_vm.rotate_keeps_of */
bool soft_host_rotate_keeps_of(void);

#endif
