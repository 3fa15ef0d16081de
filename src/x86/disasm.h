/* SPDX-License-Identifier: BSD-2-Clause */
/* Instructions as text, for the last words of a VM. */
#ifndef X86_DISASM_H
#define X86_DISASM_H

#include <stddef.h>
#include <stdint.h>

/*
 * What begins at bytes, len of them, in Intel's syntax. code_size: 2, 4 or 8,
 * as CS.D and CS.L say; rip: its address, for relative operands. Returns its
 * length; 0: these are no instruction, and text says so.
 */
unsigned disasm(const uint8_t *bytes, size_t len, unsigned code_size,
		uint64_t rip, char *text, size_t size);

#endif
