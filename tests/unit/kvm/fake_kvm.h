/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A /dev/kvm in this process: open, ioctl are the linker's --wrap. It says yes
 * to everything unless told otherwise, and counts.
 */
#ifndef KVM_FAKE_KVM_H
#define KVM_FAKE_KVM_H

#include <linux/kvm.h>
#include <stdbool.h>
#include <stdint.h>

struct fake_kvm {
	int open_error; /* of /dev/kvm */
	int api_version;
	int lacking; /* KVM_CAP_ that is not there */
	int max_vcpus;
	unsigned long failing; /* request that fails ... */
	unsigned skip;         /* ... after so many that work */
	int error;             /* with this errno */
	bool ignores_tsc_offset;

	/* What KVM_RUN does: fills *run, returns 0 or -errno. */
	int (*on_run)(struct kvm_run *run);
	struct kvm_run *run; /* of the vCPU made last */

	unsigned calls; /* ioctls of all kinds */
	unsigned runs, signals, routings, interrupts, nmis;
	uint32_t slot_flags;       /* of slot 0 */
	struct kvm_ioeventfd bell; /* the last one */
	struct kvm_clock_data clock;
	struct kvm_msi msi;                     /* the last one */
	struct kvm_irq_routing_entry route[64]; /* as last told */
	struct kvm_lapic_state lapic;
	uint64_t deadline;
};

extern struct fake_kvm fake;

void fake_reset(void);
/* How many descriptors this process has open. */
unsigned fake_open_files(void);

#endif
