/* SPDX-License-Identifier: BSD-2-Clause */
/* Exceptions: vectors, and which push an error code (SDM vol. 3, 6.3.1). */
#ifndef X86_EXC_H
#define X86_EXC_H

enum x86_vector {
	X86_DE = 0,
	X86_DB = 1,
	X86_NMI = 2,
	X86_BP = 3,
	X86_OF = 4,
	X86_BR = 5,
	X86_UD = 6,
	X86_NM = 7,
	X86_DF = 8,
	X86_TS = 10,
	X86_NP = 11,
	X86_SS = 12,
	X86_GP = 13,
	X86_PF = 14,
	X86_MF = 16,
	X86_AC = 17,
	X86_MC = 18,
	X86_XM = 19,
};

#define X86_HAS_ERROR_CODE                                                     \
	(1u << X86_DF | 1u << X86_TS | 1u << X86_NP | 1u << X86_SS |           \
	 1u << X86_GP | 1u << X86_PF | 1u << X86_AC)

/* Page-fault error code (SDM vol. 3, 4.7). */
enum {
	PF_PRESENT = 1 << 0,
	PF_WRITE = 1 << 1,
	PF_USER = 1 << 2,
	PF_RESERVED = 1 << 3,
	PF_FETCH = 1 << 4,
	PF_PKEY = 1 << 5,
};

#endif
