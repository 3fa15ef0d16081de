/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC's inside (SDM vol. 3, chapter 11), shared by its parts:
 * lapic.c interrupts and life, lapic_timer.c the timer, lapic_regs.c what
 * the guest sees of it through MMIO and MSRs.
 */
#ifndef VMM_DEV_LAPIC_H
#define VMM_DEV_LAPIC_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define APIC_BASE_BSP     BIT(8)
#define APIC_BASE_EXTD    BIT(10) /* x2APIC mode */
#define APIC_BASE_EN      BIT(11)
#define APIC_BASE_ADDRESS MASK(51, 12)
#define APIC_BASE_DEFAULT 0xfee00000ull

#define APIC_SVR_ENABLE BIT(8)

#define APIC_LVT_VECTOR     0xffu
#define APIC_LVT_DELIVERY   0x700u
#define APIC_LVT_PENDING    BIT(12)
#define APIC_LVT_POLARITY   BIT(13)
#define APIC_LVT_REMOTE_IRR BIT(14)
#define APIC_LVT_LEVEL      BIT(15)
#define APIC_LVT_MASKED     BIT(16)
#define APIC_LVT_PERIODIC   BIT(17)
#define APIC_LVT_DEADLINE   BIT(18)

#define APIC_ESR_SEND_ILLEGAL_VECTOR    BIT(5)
#define APIC_ESR_RECEIVE_ILLEGAL_VECTOR BIT(6)
#define APIC_ESR_ILLEGAL_REGISTER       BIT(7)

/* In the order of their registers, from 0x320 on. */
enum lapic_lvt {
	LVT_TIMER,
	LVT_THERMAL,
	LVT_PERF,
	LVT_LINT0,
	LVT_LINT1,
	LVT_ERROR,
	LVT_COUNT
};

struct lapic {
	struct vmcpu *vcpu;
	pthread_mutex_t lock;

	/* What vcpu_intr_pending needs, kept up to date by lapic_update. */
	_Atomic int pending; /* the vector to deliver, or -1 */
	_Atomic bool takes_extint;

	uint64_t base; /* the MSR; written on the vCPU's thread only */
	_Atomic uint32_t tpr;
	uint32_t ldr;
	uint32_t dfr;
	uint32_t svr;
	uint32_t esr;
	uint32_t errors; /* since the last write to ESR */
	uint32_t icr_low;
	uint32_t icr_high;
	uint32_t lvt[LVT_COUNT];
	uint32_t irr[8];
	uint32_t isr[8];
	uint32_t tmr[8];
	uint32_t lowest_taken; /* of messages with lowest priority */

	uint32_t initial_count;
	uint32_t divide;
	uint64_t count_start_ns;
	uint64_t tsc_deadline;
	uint64_t deadline_ns;
	uint8_t armed;
	struct vm_timer timer;
};

static inline bool lapic_on(const struct lapic *lapic)
{
	return (lapic->base & APIC_BASE_EN) != 0;
}

static inline bool lapic_is_x2apic(const struct lapic *lapic)
{
	return (lapic->base & APIC_BASE_EXTD) != 0;
}

static inline bool lapic_software_on(const struct lapic *lapic)
{
	return lapic_on(lapic) && (lapic->svr & APIC_SVR_ENABLE) != 0;
}

/* All of these under lapic->lock, unless they say otherwise. */

/* Recomputes what is pending; tells the vCPU if that is news. */
void lapic_update(struct lapic *lapic);
uint32_t lapic_ppr(const struct lapic *lapic);
void lapic_error(struct lapic *lapic, uint32_t esr_bits);
void lapic_fire_lvt(struct lapic *lapic, enum lapic_lvt lvt);
uint32_t lapic_x2apic_ldr(const struct lapic *lapic);
void lapic_reset_registers(struct lapic *lapic);

/* Take the lock themselves, and call the IOAPIC and other LAPICs without. */
void lapic_eoi(struct lapic *lapic);
void lapic_send_ipi(struct lapic *lapic, uint32_t icr, uint32_t destination);

uint32_t lapic_timer_count(const struct lapic *lapic);
void lapic_timer_start(struct lapic *lapic);
void lapic_timer_stop(struct lapic *lapic);
void lapic_timer_set_lvt(struct lapic *lapic, uint32_t value);
void lapic_timer_set_deadline(struct lapic *lapic, uint64_t tsc);
/* The registers are another's, of which current is the current count. */
void lapic_timer_adopt(struct lapic *lapic, uint32_t current);
void lapic_timer_expired(void *arg); /* without the lock */

#endif
