/* SPDX-License-Identifier: BSD-2-Clause */
/* RFLAGS, control registers, EFER, XCR0 (SDM vol. 1, 3.4.3; vol. 3, 2.5). */
#ifndef X86_CR_H
#define X86_CR_H

#define RFLAGS_CF   0x00000001u
#define RFLAGS_ONE  0x00000002u /* always set */
#define RFLAGS_PF   0x00000004u
#define RFLAGS_AF   0x00000010u
#define RFLAGS_ZF   0x00000040u
#define RFLAGS_SF   0x00000080u
#define RFLAGS_TF   0x00000100u
#define RFLAGS_IF   0x00000200u
#define RFLAGS_DF   0x00000400u
#define RFLAGS_OF   0x00000800u
#define RFLAGS_IOPL 0x00003000u
#define RFLAGS_NT   0x00004000u
#define RFLAGS_RF   0x00010000u
#define RFLAGS_VM   0x00020000u
#define RFLAGS_AC   0x00040000u
#define RFLAGS_VIF  0x00080000u
#define RFLAGS_VIP  0x00100000u
#define RFLAGS_ID   0x00200000u

#define RFLAGS_ARITH                                                           \
	(RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)

#define CR0_PE 0x00000001u
#define CR0_MP 0x00000002u
#define CR0_EM 0x00000004u
#define CR0_TS 0x00000008u
#define CR0_ET 0x00000010u
#define CR0_NE 0x00000020u
#define CR0_WP 0x00010000u
#define CR0_AM 0x00040000u
#define CR0_NW 0x20000000u
#define CR0_CD 0x40000000u
#define CR0_PG 0x80000000u

#define CR3_NOFLUSH (1ull << 63)

#define CR4_VME        0x00000001u
#define CR4_PVI        0x00000002u
#define CR4_TSD        0x00000004u
#define CR4_DE         0x00000008u
#define CR4_PSE        0x00000010u
#define CR4_PAE        0x00000020u
#define CR4_MCE        0x00000040u
#define CR4_PGE        0x00000080u
#define CR4_PCE        0x00000100u
#define CR4_OSFXSR     0x00000200u
#define CR4_OSXMMEXCPT 0x00000400u
#define CR4_UMIP       0x00000800u
#define CR4_LA57       0x00001000u
#define CR4_VMXE       0x00002000u
#define CR4_SMXE       0x00004000u
#define CR4_FSGSBASE   0x00010000u
#define CR4_PCIDE      0x00020000u
#define CR4_OSXSAVE    0x00040000u
#define CR4_SMEP       0x00100000u
#define CR4_SMAP       0x00200000u
#define CR4_PKE        0x00400000u

#define EFER_SCE    0x001u
#define EFER_LME    0x100u
#define EFER_LMA    0x400u
#define EFER_NXE    0x800u
#define EFER_AIBRSE 0x200000u /* AMD: automatic IBRS */

#define XCR0_X87    0x01u
#define XCR0_SSE    0x02u
#define XCR0_AVX    0x04u
#define XCR0_AVX512 0xe0u
#define XCR0_PKRU   0x200u

/* Access rights of a descriptor, VMX layout (SDM vol. 3, 25.4.1). */
#define AR_TYPE      0x0000fu
#define AR_ACCESSED  0x00001u
#define AR_WRITABLE  0x00002u /* data */
#define AR_READABLE  0x00002u /* code */
#define AR_EXPAND    0x00004u /* data: expands down */
#define AR_CONFORM   0x00004u /* code */
#define AR_CODE      0x00008u
#define AR_S         0x00010u
#define AR_DPL_SHIFT 5
#define AR_P         0x00080u
#define AR_AVL       0x01000u
#define AR_L         0x02000u
#define AR_DB        0x04000u
#define AR_G         0x08000u
#define AR_UNUSABLE  0x10000u

#endif
