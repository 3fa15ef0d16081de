/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An engine for tests of the room: it takes soft_engine_ops' place and knows
 * a dozen real-mode instructions, of which each test writes a program. All
 * it does with an interrupt is to count it in RBX and put the vector in R8.
 *
 *	90 NOP		FA CLI		FB STI		F4 HLT
 *	B0 ib MOV AL	BA iw MOV DX	E4 ib IN AL	E6 ib OUT AL
 *	EC IN AL,DX	EE OUT DX,AL	EB cb JMP	0F 0B UD2: triple fault
 *	A0 iw MOV AL,[0xD0000000 + iw]: INST_EMUL, read
 *	A2 iw MOV [0xD0000000 + iw],AL: INST_EMUL, write
 */
#ifndef TESTS_FAKE_ENGINE_H
#define TESTS_FAKE_ENGINE_H

#include <stdint.h>

#define FAKE_MMIO 0xd0000000u

struct fake_counts {
	_Atomic unsigned code_written; /* calls, of all VMs */
	_Atomic unsigned completed;
};

extern struct fake_counts fake_counts;

#endif
