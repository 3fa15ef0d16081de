/* SPDX-License-Identifier: BSD-2-Clause */
/* A vCPU's last exit and registers as text, for a VM that ends badly. */
#ifndef BHYVE_DUMP_H
#define BHYVE_DUMP_H

#include <vmmapi.h>

/* "bhyve: LINE", the exit, the registers. NULL: no memory; else free it. */
char *dump_exit(struct vcpu *vcpu, const struct vm_exit *exit,
		const char *line);

/* "INOUT"; "?" for a number that is none. */
const char *dump_exit_name(enum vm_exitcode code);

#endif
