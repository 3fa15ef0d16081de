/* SPDX-License-Identifier: BSD-2-Clause */
/* What the process does for each exit of vm_run, on its vCPU's thread. */
#ifndef BHYVE_VMEXIT_H
#define BHYVE_VMEXIT_H

#include <vmmapi.h>

struct cpu;

enum vmexit_result {
	VMEXIT_CONTINUE, /* run on; an answer in the exit is taken then */
	VMEXIT_STOP,     /* this CPU's thread ends */
};

enum vmexit_result vmexit_handle(struct cpu *cpu, struct vm_exit *exit);

#endif
