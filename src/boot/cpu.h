/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state in which Linux's 64-bit entry point wants the boot CPU: long
 * mode, an identity map of the first 4 GiB, flat segments, interrupts off,
 * RSI pointing to boot_params (boot.rst, "64-bit boot protocol").
 */
#ifndef BOOT_CPU_H
#define BOOT_CPU_H

#include "base/err.h"
#include "boot/guest.h"

/* Writes GDT, task state segment and page tables. 0 or -EFAULT. */
int boot_cpu_tables(const struct guest_memory *memory);

int boot_cpu_registers(struct vcpu *bsp, uint64_t entry, struct err *err);

#endif
