/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the room's own devices own, for the engines: I/O ports, MMIO pages and
 * MSRs. Each call returns 0 (done), -ENXIO (not the room's: exit to the
 * process), or for MSRs -EINVAL (#GP). Called on the vCPU's thread with no
 * lock held. *value holds what is written, or receives what is read,
 * zero-extended.
 */
#ifndef VMM_BUS_H
#define VMM_BUS_H

#include <stdbool.h>
#include <stdint.h>

struct vmcpu;

int room_pio(struct vmcpu *vcpu, uint16_t port, unsigned bytes, bool in,
	     uint32_t *value);
int room_mmio(struct vmcpu *vcpu, uint64_t gpa, unsigned bytes, bool write,
	      uint64_t *value);

/* Would room_mmio take a write? Nothing is read or written. */
bool room_owns_mmio(struct vmcpu *vcpu, uint64_t gpa, unsigned bytes);

/*
 * APIC_BASE, TSC_DEADLINE and the x2APIC range. What else an MSR means is the
 * engine's affair; -ENXIO says so.
 */
int room_msr(struct vmcpu *vcpu, uint32_t msr, bool write, uint64_t *value);

#endif
