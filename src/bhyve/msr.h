/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Model-specific registers that neither engine nor room has an answer for,
 * but that kernels touch at start without expecting a fault.
 */
#ifndef BHYVE_MSR_H
#define BHYVE_MSR_H

#include <stdbool.h>
#include <stdint.h>

enum msr_vendor { MSR_INTEL, MSR_AMD, MSR_OTHER };

enum msr_vendor msr_host_vendor(void);

/* false: not known, the guest gets #GP. */
bool msr_read(enum msr_vendor vendor, uint32_t code, uint64_t *value);
bool msr_write(enum msr_vendor vendor, uint32_t code);

#endif
