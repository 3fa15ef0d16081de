/* SPDX-License-Identifier: BSD-2-Clause */
/* Model-specific registers (SDM vol. 4; APM vol. 2, A). */
#ifndef X86_MSR_H
#define X86_MSR_H

#define MSR_P5_MC_ADDR        0x000u
#define MSR_P5_MC_TYPE        0x001u
#define MSR_TSC               0x010u
#define MSR_PLATFORM_ID       0x017u
#define MSR_APIC_BASE         0x01bu
#define MSR_TSC_ADJUST        0x03bu
#define MSR_SPEC_CTRL         0x048u
#define MSR_PRED_CMD          0x049u
#define MSR_BIOS_SIGN_ID      0x08bu
#define MSR_MTRRCAP           0x0feu
#define MSR_ARCH_CAPABILITIES 0x10au
#define MSR_FLUSH_CMD         0x10bu
#define MSR_SYSENTER_CS       0x174u
#define MSR_SYSENTER_ESP      0x175u
#define MSR_SYSENTER_EIP      0x176u
#define MSR_MCG_CAP           0x179u
#define MSR_MCG_STATUS        0x17au
#define MSR_MISC_ENABLE       0x1a0u
#define MSR_DEBUGCTL          0x1d9u
#define MSR_MTRR_PHYSBASE0    0x200u /* base and mask alternate */
#define MSR_MTRR_FIX64K_00000 0x250u
#define MSR_MTRR_FIX16K_80000 0x258u
#define MSR_MTRR_FIX16K_A0000 0x259u
#define MSR_MTRR_FIX4K_C0000  0x268u /* to 0x26f */
#define MSR_PAT               0x277u
#define MSR_MTRR_DEF_TYPE     0x2ffu
#define MSR_TSC_DEADLINE      0x6e0u
#define MSR_X2APIC            0x800u /* and the register's offset / 16 */
#define MSR_X2APIC_LAST       0x8ffu
#define MSR_XSS               0xda0u
#define MSR_EFER              0xc0000080u
#define MSR_STAR              0xc0000081u
#define MSR_LSTAR             0xc0000082u
#define MSR_CSTAR             0xc0000083u
#define MSR_SFMASK            0xc0000084u
#define MSR_FS_BASE           0xc0000100u
#define MSR_GS_BASE           0xc0000101u
#define MSR_KERNEL_GS_BASE    0xc0000102u
#define MSR_TSC_AUX           0xc0000103u

/* KVM's own (Documentation/virt/kvm/x86/msr.rst). */
#define MSR_KVM_WALL_CLOCK  0x4b564d00u
#define MSR_KVM_SYSTEM_TIME 0x4b564d01u

#define PAT_RESET         0x0007040600070406ull
#define MISC_ENABLE_RESET 0x1ull /* fast strings */

/* IA32_SPEC_CTRL, IA32_PRED_CMD */
#define SPEC_CTRL_IBRS      (1ull << 0)
#define SPEC_CTRL_STIBP     (1ull << 1)
#define SPEC_CTRL_BHI_DIS_S (1ull << 10)
#define PRED_CMD_IBPB       (1ull << 0)

/* IA32_ARCH_CAPABILITIES (SDM vol. 4, table 2-2) */
#define ARCH_CAP_RDCL_NO        (1ull << 0)
#define ARCH_CAP_IBRS_ALL       (1ull << 1)
#define ARCH_CAP_SKIP_L1DFL     (1ull << 3)
#define ARCH_CAP_SSB_NO         (1ull << 4)
#define ARCH_CAP_MDS_NO         (1ull << 5)
#define ARCH_CAP_PSCHANGE_MC_NO (1ull << 6)
#define ARCH_CAP_TAA_NO         (1ull << 8)
#define ARCH_CAP_SBDR_SSDP_NO   (1ull << 13)
#define ARCH_CAP_FBSDP_NO       (1ull << 14)
#define ARCH_CAP_PSDP_NO        (1ull << 15)
#define ARCH_CAP_BHI_NO         (1ull << 20)
#define ARCH_CAP_PBRSB_NO       (1ull << 24)
#define ARCH_CAP_GDS_NO         (1ull << 26)
#define ARCH_CAP_RFDS_NO        (1ull << 27)
#define ARCH_CAP_ITS_NO         (1ull << 62)

#endif
