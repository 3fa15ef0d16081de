/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a payload and the runner say to each other: ports, memory that is the
 * runner's, and the calls by which a payload asks for what only a VMM can do.
 */
#ifndef GUEST_PORTS_H
#define GUEST_PORTS_H

#include <stdint.h>

#define PORT_LINE   0x500  /* OUT 4: address of a line to print */
#define PORT_EXIT   0x504  /* OUT 4: 0, or the number of a failure */
#define PORT_CALL   0x508  /* OUT 4: address of a struct host_call */
#define PORT_MOVE   0x50c  /* IN 4: the VM moves before it is answered */
#define MSR_REFUSED 0xc0df /* the process answers with #GP */
#define PORT_TEST   0x510  /* 16 bytes that read back what was written */

#define LINE_MAX_BYTES 256

/* 64 KiB that is neither RAM nor the room's: the runner's memory. */
#define MMIO_BASE 0xd0000000u
#define MMIO_SIZE 0x10000u

#define LOAD_ADDRESS 0x100000u
#define MEMORY_SIZE  (64u << 20)

enum host_fn {
	HOST_EXPECT,     /* a[]: see exits_host.c */
	HOST_MET,        /* result: expectations not met or still waiting */
	HOST_NMI,        /* a[0]: vCPU */
	HOST_CAPABILITY, /* a[0]: enum vm_cap_type, a[1]: value */
	HOST_WRITE,      /* a[0]: gpa, a[1]: bytes of a[2] written there */
	HOST_IOAPIC,     /* a[0]: pin, a[1]: level */
	HOST_ISA,        /* a[0]: irq, a[1]: level */
	HOST_MSI,        /* a[0]: address, a[1]: data */
	HOST_LAPIC,      /* a[0]: vCPU, a[1]: vector */
	HOST_EXCEPTION,  /* a[0]: vector, a[1]: error code or -1 */
	HOST_ANSWER,     /* a[0]: RDMSR's next answers */
	HOST_CHECK_BUSY, /* what a frozen or running vCPU refuses */
	HOST_ESCAPE, /* a[0]: RIP, a[1]: RSP if KVM cannot go on; a[0] 0: no */
	HOST_ENGINE, /* result: HOST_IS_ bits of the engine */
	HOST_DOORBELL, /* a[0]: address, a[1]: bytes, a[2]: VM_DOORBELL_ flags
			*/
	HOST_RUNG,     /* result: how often since the last time */
	HOST_MOVE,     /* the VM goes on under the other engine, or anew */
};

#define STORM_VECTOR   0x61   /* what the storm sends */
#define DOORBELL_VALUE 0x1234 /* with VM_DOORBELL_MATCH */

/* HOST_ENGINE's answers. */
#define HOST_IS_KVM      1 /* lengths and gla of exits may be unknown */
#define HOST_IS_MUXED    4 /* all vCPUs take turns */
#define HOST_IS_EMULATED 2 /* this KVM emulates code at ring 0 */

#define MOVED_ANSWER 0x600d /* of PORT_MOVE, afterwards */

struct host_call {
	uint64_t fn;
	uint64_t a[7];
	int64_t result; /* of the door: 0, or -errno */
};

#endif
