/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions of the verbs, for the table. */
#ifndef VMM_VERB_FN_H
#define VMM_VERB_FN_H

#include "vmm/verb.h"

#define X(name, function, argument, on_vcpu, lock, changes)                    \
	int verb_##function##_run(struct vm *vm, struct vmcpu *vcpu, void *arg);
VM_VERBS(X)
#undef X

#endif
