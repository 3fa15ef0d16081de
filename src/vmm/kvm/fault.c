// SPDX-License-Identifier: BSD-2-Clause
/* What KVM could not do, in words for a person. */
#include <errno.h>
#include <stdio.h>

#include "vmm/kvm/kvm.h"

static const char *internal_error(uint32_t suberror)
{
	switch (suberror) {
	case KVM_INTERNAL_ERROR_EMULATION:
		return "emulation failed";
	case KVM_INTERNAL_ERROR_SIMUL_EX:
		return "exceptions at the same time";
	case KVM_INTERNAL_ERROR_DELIVERY_EV:
		return "an event could not be delivered";
	case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
		return "an exit of the CPU that KVM does not know";
	default:
		return "of a kind we do not know";
	}
}

/* VMX's basic exit reason with bit 31: SDM vol. 3, 27.8; the rest is KVM's or
   SVM's. */
static const char *entry_failure(uint64_t reason)
{
	switch (reason) {
	case 0x80000021:
		return ": its state is invalid";
	case 0x80000022:
		return ": an MSR cannot be loaded";
	case 0x80000029:
		return ": a machine check came in between";
	default:
		return "";
	}
}

/* The instruction's bytes, which KVM knows in one case only. */
static void describe_bytes(const struct kvm_run *run, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	if (run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION ||
	    run->internal.ndata < 4 ||
	    (run->emulation_failure.flags &
	     KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) == 0)
		return;
	used = (size_t)snprintf(text, size, ", instruction");
	for (unsigned i = 0; i < run->emulation_failure.insn_size &&
			     i < sizeof(run->emulation_failure.insn_bytes);
	     i++)
		used += (size_t)snprintf(text + used, size - used, " %02x",
					 run->emulation_failure.insn_bytes[i]);
}

int kvm_gave_up(struct kvm_cpu *c)
{
	const struct kvm_run *run = c->run;
	struct err *err = &c->vcpu->failure;
	unsigned id = c->vcpu->id;
	uint64_t rip = run->s.regs.regs.rip;
	char bytes[80];

	c->vcpu->stats[VM_STAT_UNKNOWN]++;
	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		describe_bytes(run, bytes, sizeof(bytes));
		return err_set(err, EIO,
			       "vcpu %u: KVM_RUN: internal error %u (%s) at "
			       "0x%jx%s; try engine=soft",
			       id, run->internal.suberror,
			       internal_error(run->internal.suberror),
			       (uintmax_t)rip, bytes);
	case KVM_EXIT_FAIL_ENTRY:
		return err_set(
		    err, EIO,
		    "vcpu %u: KVM_RUN: the CPU refuses the guest's state at "
		    "0x%jx, reason 0x%jx on host CPU %u%s; try engine=soft",
		    id, (uintmax_t)rip,
		    (uintmax_t)run->fail_entry.hardware_entry_failure_reason,
		    run->fail_entry.cpu,
		    entry_failure(
			run->fail_entry.hardware_entry_failure_reason));
	default:
		return err_set(err, EIO,
			       "vcpu %u: KVM_RUN: exit %u at 0x%jx, which we "
			       "did not ask for; try engine=soft",
			       id, run->exit_reason, (uintmax_t)rip);
	}
}

int kvm_nonsense(struct kvm_cpu *c, const char *what)
{
	return err_set(&c->vcpu->failure, EIO,
		       "vcpu %u: KVM_RUN: %s that cannot be; see the kernel's "
		       "log, or use engine=soft",
		       c->vcpu->id, what);
}
