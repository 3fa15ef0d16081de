/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine contract's functions, between run.c and engine.c. */
#ifndef SOFT_ENGINE_H
#define SOFT_ENGINE_H

#include "vmm/engine.h"

int soft_run(struct vmcpu *vcpu, struct vm_exit *exit);
void soft_complete(struct vmcpu *vcpu, struct vm_exit *exit);
void soft_restart_instruction(struct vmcpu *vcpu);
/* How many vCPUs a VM may have, at least 1: each gets a share. */
uint64_t soft_vcpus(const struct vm *vm);

#endif
