/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The door's verbs: what a call of vmmapi.h does to a VM, one row each. The
 * calling process' own VM and requests that come through the control socket
 * take the same way, verb_call; arguments and answers are one fixed-size
 * struct without pointers, and nothing in it is trusted.
 */
#ifndef VMM_VERB_H
#define VMM_VERB_H

#include <stddef.h>
#include <vmmapi.h>

#include "vmm/stats.h"

struct vm;
struct vmcpu;

#define VERB_REGS_MAX 64

struct verb_regs {
	uint32_t count;
	int32_t reg[VERB_REGS_MAX];
	uint64_t value[VERB_REGS_MAX];
};

struct verb_desc {
	int32_t reg;
	uint32_t limit;
	uint32_t access;
	uint32_t reserved;
	uint64_t base;
};

struct verb_cap {
	int32_t type;
	int32_t value;
};

struct verb_exception {
	int32_t vector;
	uint32_t has_error;
	uint32_t error_code;
	uint32_t restart;
};

struct verb_intinfo {
	uint64_t info1, info2;
};

struct verb_gla {
	uint64_t cr3, gla, gpa;
	int32_t cpl, cpu_mode, paging_mode, prot;
	uint32_t fault; /* out */
	uint32_t reserved;
};

struct verb_stats {
	uint64_t value[VM_STAT_COUNT];
};

struct verb_value {
	uint64_t value;
};

struct verb_msr {
	uint64_t index; /* as RDMSR has it */
	uint64_t value;
};

struct verb_msi {
	uint64_t addr, data;
};

enum verb_line_change { LINE_LOWER, LINE_RAISE, LINE_PULSE };

struct verb_line {
	int32_t atpic; /* -1: not this one */
	int32_t ioapic;
	uint32_t change; /* enum verb_line_change */
	uint32_t reserved;
};

struct verb_trigger {
	int32_t irq;
	uint32_t level;
};

struct verb_rtc {
	int32_t offset;
	uint32_t value;
};

struct verb_cpus {
	uint32_t active, suspended, debug; /* bit n: vCPU n */
	uint32_t reserved;
};

struct verb_topology {
	uint16_t sockets, cores, threads, maxcpus;
};

struct verb_range {
	uint64_t gpa, len;
};

struct verb_memory {
	uint64_t low_size, high_size;
	uint64_t rom_size; /* of the segment */
	uint64_t rom_gpa, rom_offset, rom_len;
};

/*
 * X(NAME, function, argument, on a vCPU, lock, changes). changes: the VM's
 * files have to be written afterwards. The order is the number in the
 * protocol: add at the end, or raise CTL_VERSION.
 */
#define VM_VERBS(X)                                                            \
	X(GET_REGS, get_regs, regs, true, VCPU, false)                         \
	X(SET_REGS, set_regs, regs, true, VCPU, true)                          \
	X(GET_DESC, get_desc, desc, true, VCPU, false)                         \
	X(SET_DESC, set_desc, desc, true, VCPU, true)                          \
	X(RESET_CPU, reset_cpu, value, true, VCPU, true)                       \
	X(RESTART, restart, value, true, VCPU, true)                           \
	X(GET_CAP, get_cap, cap, true, VCPU, false)                            \
	X(SET_CAP, set_cap, cap, true, VCPU, true)                             \
	X(GET_X2APIC, get_x2apic, value, true, VCPU, false)                    \
	X(SET_X2APIC, set_x2apic, value, true, VCPU, true)                     \
	X(EXCEPTION, exception, exception, true, VCPU, true)                   \
	X(GET_INTINFO, get_intinfo, intinfo, true, VCPU, false)                \
	X(SET_INTINFO, set_intinfo, intinfo, true, VCPU, true)                 \
	X(GLA2GPA, gla2gpa, gla, true, VCPU, false)                            \
	X(GLA2GPA_FAULT, gla2gpa_fault, gla, true, VCPU, true)                 \
	X(ACTIVATE, activate, value, true, VCPU, true)                         \
	X(STATS, stats, stats, true, VCPU, false)                              \
	X(NMI, nmi, value, true, NONE, true)                                   \
	X(LAPIC_IRQ, lapic_irq, value, true, NONE, true)                       \
	X(LAPIC_LOCAL, lapic_local, value, true, NONE, true)                   \
	X(SUSPEND_CPU, suspend_cpu, value, true, NONE, true)                   \
	X(RESUME_CPU, resume_cpu, value, true, NONE, true)                     \
	X(SUSPEND, suspend, value, false, NONE, true)                          \
	X(MSI, msi, msi, false, NONE, true)                                    \
	X(LINE, line, line, false, NONE, true)                                 \
	X(TRIGGER, trigger, trigger, false, NONE, true)                        \
	X(PINCOUNT, pincount, value, false, NONE, false)                       \
	X(HPET_CAPS, hpet_caps, value, false, NONE, false)                     \
	X(RTC_READ, rtc_read, rtc, false, NONE, false)                         \
	X(RTC_WRITE, rtc_write, rtc, false, NONE, true)                        \
	X(RTC_GETTIME, rtc_gettime, value, false, NONE, false)                 \
	X(RTC_SETTIME, rtc_settime, value, false, NONE, true)                  \
	X(CPUS, cpus, cpus, false, NONE, false)                                \
	X(GET_TOPOLOGY, get_topology, topology, false, NONE, false)            \
	X(SET_TOPOLOGY, set_topology, topology, false, VM, true)               \
	X(CLOCK, clock, value, false, NONE, false)                             \
	X(MEM_DIRTY, mem_dirty, range, false, NONE, false)                     \
	X(MEMORY, memory, memory, false, NONE, false)                          \
	X(REINIT, reinit, value, false, VM, true)                              \
	X(GET_MSR, get_msr, msr, true, VCPU, false)                            \
	X(TSC_OFFSET, tsc_offset, value, true, VCPU, false)

enum verb_id {
#define X(name, function, argument, on_vcpu, lock, changes) VERB_##name,
	VM_VERBS(X)
#undef X
	    VERB_COUNT
};

enum verb_lock {
	VERB_LOCK_NONE, /* takes what locks it needs itself */
	VERB_LOCK_VCPU, /* that vCPU is frozen */
	VERB_LOCK_VM,   /* the VM lock, and all vCPUs frozen */
};

struct verb {
	const char *name;
	uint16_t size; /* of the argument */
	uint8_t lock;  /* enum verb_lock */
	bool on_vcpu;
	bool changes;
	int (*run)(struct vm *vm, struct vmcpu *vcpu, void *arg);
};

#define VERB_ARG_MAX 1024

/* NULL: there is no such verb. */
const struct verb *verb_find(unsigned id);

/* size must be the verb's. 0 or -errno; arg holds the answer. */
int verb_call(struct vm *vm, unsigned id, unsigned vcpu_id, void *arg,
	      size_t size);

#endif
