// SPDX-License-Identifier: BSD-2-Clause
/* --run: one vCPU until its first exit that a VMM would have to handle. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/bits.h"
#include "bhyvectl/bhyvectl.h"

static const char *const names[VM_EXITCODE_MAX] = {
    [VM_EXITCODE_INOUT] = "INOUT", [VM_EXITCODE_BOGUS] = "BOGUS",
    [VM_EXITCODE_RDMSR] = "RDMSR", [VM_EXITCODE_WRMSR] = "WRMSR",
    [VM_EXITCODE_HLT] = "HLT",     [VM_EXITCODE_MTRAP] = "MTRAP",
    [VM_EXITCODE_PAUSE] = "PAUSE", [VM_EXITCODE_INST_EMUL] = "INST_EMUL",
    [VM_EXITCODE_DEBUG] = "DEBUG", [VM_EXITCODE_SUSPENDED] = "SUSPENDED",
    [VM_EXITCODE_BPT] = "BPT",     [VM_EXITCODE_REQIDLE] = "REQIDLE",
    [VM_EXITCODE_DB] = "DB",
};

static void print_details(const struct vm_exit *exit)
{
	const struct vm_inout *io = &exit->u.inout;
	const struct vm_inst_emul *access = &exit->u.inst_emul;

	switch (exit->exitcode) {
	case VM_EXITCODE_INOUT:
		printf("\tbytes\t\t%d\n\tport\t\t0x%04x\n\tdirection\t%s\n",
		       io->bytes, io->port, io->in ? "in" : "out");
		if (!io->in)
			printf("\teax\t\t0x%08x\n", io->eax);
		break;
	case VM_EXITCODE_INST_EMUL:
		printf("\tbytes\t\t%d\n\tgpa\t\t0x%016" PRIx64 "\n"
		       "\tdirection\t%s\n",
		       access->bytes, access->gpa,
		       access->write ? "write" : "read");
		break;
	case VM_EXITCODE_RDMSR:
	case VM_EXITCODE_WRMSR:
		printf("\tmsr\t\t0x%08x\n", exit->u.msr.code);
		break;
	case VM_EXITCODE_SUSPENDED:
		printf("\thow\t\t%d\n", (int)exit->u.suspended.how);
		break;
	default:
		break;
	}
}

static void print_exit(const struct session *s, const struct vm_exit *exit)
{
	unsigned int code = (unsigned int)exit->exitcode;
	const char *name = code < ARRAY_SIZE(names) ? names[code] : NULL;

	printf("vm exit[%d]\n", s->cpu);
	printf("\trip\t\t0x%016" PRIx64 "\n", exit->rip);
	printf("\tinst_length\t%d\n", exit->inst_length);
	printf("\treason\t\t%s\n", name != NULL ? name : "?");
	print_details(exit);
}

int run_vcpu(struct session *s, const struct action *action, const char *value)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};

	if (vm_activate_cpu(s->vcpu) != 0 && errno != EBUSY)
		return -1;
	do {
		if (vm_run(s->vcpu, &run) != 0)
			return -1;
	} while (exit.exitcode == VM_EXITCODE_REQIDLE);
	print_exit(s, &exit);
	return 0;
}
