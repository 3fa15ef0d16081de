/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest linear to guest physical addresses, for door calls. The engines walk
 * by themselves.
 */
#ifndef VMM_GLA_H
#define VMM_GLA_H

#include <stdbool.h>
#include <stdint.h>
#include <vmmapi.h>

struct vmcpu;

struct gla_fault {
	uint8_t vector; /* X86_PF or X86_GP */
	uint32_t error_code;
};

/*
 * 0 with *gpa, 1 with *fault, or -EFAULT (a table is not in RAM), -EINVAL.
 * mark: sets accessed and dirty bits, as the access itself would. Checks what
 * the CPU checks, but SMAP and protection keys. The vCPU is frozen and its
 * state fetched: CR0.WP, CR4 and EFER come from there.
 */
int gla_to_gpa(struct vmcpu *vcpu, const struct vm_guest_paging *paging,
	       uint64_t gla, int prot, bool mark, uint64_t *gpa,
	       struct gla_fault *fault);

#endif
