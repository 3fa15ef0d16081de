// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/vmexit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "bhyve/dump.h"
#include "bhyve/machine.h"
#include "bhyve/msr.h"
#include "bhyve/status.h"
#include "dev/board.h"
#include "x86/exc.h"

/* Ends the VM with a line, the exit and the CPU's registers. */
static enum vmexit_result give_up(struct cpu *cpu, const struct vm_exit *exit,
				  const char *line)
{
	char *report = dump_exit(cpu->vcpu, exit, line);

	machine_end(cpu->machine, STATUS_ERROR, report);
	free(report);
	return VMEXIT_STOP;
}

/* -- port and memory access ---------------------------------------------- */

static enum vmexit_result handle_inout(struct cpu *cpu, struct vm_exit *exit)
{
	struct vm_inout *io = &exit->u.inout;
	char line[80];

	if (board_inout(cpu->machine->board, cpu->vcpu, io) != -ENXIO ||
	    !cpu->machine->strict_io)
		return VMEXIT_CONTINUE;
	snprintf(line, sizeof(line), "Unhandled %s%c 0x%04x at 0x%jx",
		 io->in ? "in" : "out",
		 io->bytes == 1   ? 'b'
		 : io->bytes == 2 ? 'w'
				  : 'l',
		 io->port, (uintmax_t)exit->rip);
	return give_up(cpu, exit, line);
}

static enum vmexit_result handle_mmio(struct cpu *cpu, struct vm_exit *exit)
{
	board_mmio(cpu->machine->board, cpu->vcpu, &exit->u.inst_emul);
	return VMEXIT_CONTINUE;
}

/* -- MSRs ---------------------------------------------------------------- */

/* #GP instead of the instruction, unless -w. */
static void unknown_msr(struct cpu *cpu, const struct vm_exit *exit,
			const char *what)
{
	struct machine *m = cpu->machine;

	if (m->verbose_msr)
		machine_log(m, "%s of unknown MSR 0x%x on vcpu %d at 0x%jx",
			    what, exit->u.msr.code, vcpu_id(cpu->vcpu),
			    (uintmax_t)exit->rip);
	if (m->strict_msr)
		vm_inject_exception(cpu->vcpu, X86_GP, 1, 0, 1);
}

static enum vmexit_result handle_rdmsr(struct cpu *cpu, struct vm_exit *exit)
{
	exit->u.msr.wval = 0;
	if (!msr_read(cpu->machine->msr_vendor, exit->u.msr.code,
		      &exit->u.msr.wval))
		unknown_msr(cpu, exit, "read");
	return VMEXIT_CONTINUE;
}

static enum vmexit_result handle_wrmsr(struct cpu *cpu, struct vm_exit *exit)
{
	if (!msr_write(cpu->machine->msr_vendor, exit->u.msr.code))
		unknown_msr(cpu, exit, "write");
	return VMEXIT_CONTINUE;
}

/* -- CPUs coming and going ----------------------------------------------- */

/* The room did all there is to do. */
static enum vmexit_result handle_nothing(struct cpu *cpu, struct vm_exit *exit)
{
	return VMEXIT_CONTINUE;
}

/* Held by vm_suspend_cpu: ask again, but not all the time. */
static enum vmexit_result handle_debug(struct cpu *cpu, struct vm_exit *exit)
{
	usleep(1000);
	return VMEXIT_CONTINUE;
}

/* SDM vol. 3, 9.4.4: CS base is the vector's page, IP zero. */
static enum vmexit_result handle_spinup_ap(struct cpu *cpu,
					   struct vm_exit *exit)
{
	struct machine *m = cpu->machine;
	uint64_t start = exit->u.spinup_ap.rip;
	int id = exit->u.spinup_ap.vcpu;
	struct vcpu *ap;

	if (id < 0 || id >= m->topology.cpus || start >= MiB ||
	    (start & 0xfff) != 0)
		return give_up(cpu, exit, "SPINUP_AP of no such CPU or page");
	ap = m->cpu[id].vcpu;
	if (vcpu_reset(ap) != 0 ||
	    vm_set_desc(ap, VM_REG_GUEST_CS, start, 0xffff, 0x93) != 0 ||
	    vm_set_register(ap, VM_REG_GUEST_CS, start >> 4) != 0 ||
	    vm_set_register(ap, VM_REG_GUEST_RIP, 0) != 0 ||
	    vm_resume_cpu(ap) != 0)
		return give_up(cpu, exit, vm_error_text());
	return VMEXIT_CONTINUE;
}

static enum vmexit_result handle_suspended(struct cpu *cpu,
					   struct vm_exit *exit)
{
	static const int status[VM_SUSPEND_LAST] = {
	    [VM_SUSPEND_NONE] = STATUS_ERROR,
	    [VM_SUSPEND_RESET] = STATUS_RESET,
	    [VM_SUSPEND_POWEROFF] = STATUS_POWEROFF,
	    [VM_SUSPEND_HALT] = STATUS_HALT,
	    [VM_SUSPEND_TRIPLEFAULT] = STATUS_TRIPLEFAULT,
	    [VM_SUSPEND_DESTROY] = STATUS_ERROR,
	};
	enum vm_suspend_how how = exit->u.suspended.how;
	struct machine *m = cpu->machine;

	if ((unsigned int)how >= VM_SUSPEND_LAST)
		return give_up(cpu, exit, "suspended, but how?");
	if (how == VM_SUSPEND_DESTROY)
		atomic_store(&m->destroyed, true);
	machine_ended(m, status[how], NULL);
	return VMEXIT_STOP;
}

static enum vmexit_result handle_paging(struct cpu *cpu, struct vm_exit *exit)
{
	char line[80];

	snprintf(line, sizeof(line), "No memory at 0x%jx (access 0x%x)",
		 (uintmax_t)exit->u.paging.gpa, exit->u.paging.fault_type);
	return give_up(cpu, exit, line);
}

/* -- the table ----------------------------------------------------------- */

static enum vmexit_result (*const handler[VM_EXITCODE_MAX])(
    struct cpu *cpu, struct vm_exit *exit) = {
    [VM_EXITCODE_INOUT] = handle_inout,
    [VM_EXITCODE_BOGUS] = handle_nothing,
    [VM_EXITCODE_RDMSR] = handle_rdmsr,
    [VM_EXITCODE_WRMSR] = handle_wrmsr,
    [VM_EXITCODE_HLT] = handle_nothing,
    [VM_EXITCODE_MTRAP] = handle_nothing,
    [VM_EXITCODE_PAUSE] = handle_nothing,
    [VM_EXITCODE_PAGING] = handle_paging,
    [VM_EXITCODE_INST_EMUL] = handle_mmio,
    [VM_EXITCODE_SPINUP_AP] = handle_spinup_ap,
    [VM_EXITCODE_SUSPENDED] = handle_suspended,
    [VM_EXITCODE_REQIDLE] = handle_nothing,
    [VM_EXITCODE_DEBUG] = handle_debug,
};

enum vmexit_result vmexit_handle(struct cpu *cpu, struct vm_exit *exit)
{
	unsigned int code = (unsigned int)exit->exitcode;
	char line[40];

	if (code < VM_EXITCODE_MAX && handler[code] != NULL)
		return handler[code](cpu, exit);
	snprintf(line, sizeof(line), "unexpected exitcode 0x%x", code);
	return give_up(cpu, exit, line);
}
