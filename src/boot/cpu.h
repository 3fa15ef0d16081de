/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The states in which kernels want the boot CPU, interrupts off.
 *
 * 64: Linux's 64-bit entry point (boot.rst, "64-bit boot protocol"): long
 * mode, an identity map of the first 4 GiB, flat segments, RSI pointing to
 * boot_params.
 *
 * linux32: its 32-bit entry point (boot.rst, "32-bit boot protocol"), with the
 * tables of 32: protected mode without paging, ESI pointing to boot_params.
 *
 * 32: multiboot 1 (0.6.96, section 3.2) and PVH (Xen's docs/misc/pvh.pandoc):
 * protected mode without paging, flat 32-bit segments.
 */
#ifndef BOOT_CPU_H
#define BOOT_CPU_H

#include "base/err.h"
#include "boot/guest.h"

/* Write GDT, task state segment and, for 64, page tables. 0 or -EFAULT. */
int boot_cpu_tables64(const struct guest_memory *memory);
int boot_cpu_tables32(const struct guest_memory *memory);

int boot_cpu_registers64(struct vcpu *bsp, uint64_t entry, struct err *err);
int boot_cpu_registers_linux32(struct vcpu *bsp, uint32_t entry,
			       struct err *err);
int boot_cpu_registers32(struct vcpu *bsp, uint32_t entry, uint32_t eax,
			 uint32_t ebx, struct err *err);

#endif
