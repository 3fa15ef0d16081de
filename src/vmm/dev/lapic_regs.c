/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC's registers, through the xAPIC page or as x2APIC MSRs: one
 * table says which exist in which mode, and which bits a write may set.
 */
#include "vmm/dev/lapic.h"

#include <errno.h>

#include "vmm/cpuid.h"
#include "x86/features.h"

#define MSR_APIC_BASE    0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define MSR_X2APIC_FIRST 0x800u
#define MSR_X2APIC_LAST  0x8ffu

/* As a Xeon: 0x14, six entries in the local vector table. */
#define APIC_VERSION (0x14u | (LVT_COUNT - 1) << 16)

/* Register numbers: offset / 16, or MSR - 0x800. */
enum {
	REG_ID = 0x02,
	REG_VERSION = 0x03,
	REG_TPR = 0x08,
	REG_APR = 0x09,
	REG_PPR = 0x0a,
	REG_EOI = 0x0b,
	REG_RRD = 0x0c,
	REG_LDR = 0x0d,
	REG_DFR = 0x0e,
	REG_SVR = 0x0f,
	REG_ISR = 0x10,
	REG_TMR = 0x18,
	REG_IRR = 0x20,
	REG_ESR = 0x28,
	REG_ICR = 0x30,
	REG_ICR_HIGH = 0x31,
	REG_LVT = 0x32,
	REG_INITIAL_COUNT = 0x38,
	REG_CURRENT_COUNT = 0x39,
	REG_DIVIDE = 0x3e,
	REG_SELF_IPI = 0x3f,
	REG_COUNT = 0x40,
};

/* Modes in which a register can be read or written. */
enum {
	XR = 1, /* xAPIC */
	XW = 2,
	X2R = 4, /* x2APIC */
	X2W = 8,
};

struct lapic_reg {
	uint8_t access;
	uint32_t writable; /* other bits are reserved: #GP in x2APIC mode */
	uint32_t (*read)(const struct lapic *lapic, unsigned reg);
	void (*write)(struct lapic *lapic, unsigned reg, uint32_t value);
};

static uint32_t read_id(const struct lapic *lapic, unsigned reg)
{
	return lapic_is_x2apic(lapic) ? lapic->vcpu->id : lapic->vcpu->id << 24;
}

static uint32_t read_version(const struct lapic *lapic, unsigned reg)
{
	return APIC_VERSION;
}

static uint32_t read_zero(const struct lapic *lapic, unsigned reg)
{
	return 0;
}

static void write_nothing(struct lapic *lapic, unsigned reg, uint32_t value)
{
}

static uint32_t read_tpr(const struct lapic *lapic, unsigned reg)
{
	return lapic->tpr;
}

static void write_tpr(struct lapic *lapic, unsigned reg, uint32_t value)
{
	lapic->tpr = value;
}

static uint32_t read_ppr(const struct lapic *lapic, unsigned reg)
{
	return lapic_ppr(lapic);
}

static uint32_t read_ldr(const struct lapic *lapic, unsigned reg)
{
	return lapic->ldr;
}

static void write_ldr(struct lapic *lapic, unsigned reg, uint32_t value)
{
	lapic->ldr = value;
}

static uint32_t read_dfr(const struct lapic *lapic, unsigned reg)
{
	return lapic->dfr;
}

static void write_dfr(struct lapic *lapic, unsigned reg, uint32_t value)
{
	lapic->dfr = value | 0x0fffffff;
}

static uint32_t read_svr(const struct lapic *lapic, unsigned reg)
{
	return lapic->svr;
}

static void write_svr(struct lapic *lapic, unsigned reg, uint32_t value)
{
	lapic->svr = value;
	if ((value & APIC_SVR_ENABLE) != 0)
		return;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		lapic->lvt[i] |= APIC_LVT_MASKED;
}

static uint32_t read_isr(const struct lapic *lapic, unsigned reg)
{
	return lapic->isr[reg - REG_ISR];
}

static uint32_t read_tmr(const struct lapic *lapic, unsigned reg)
{
	return lapic->tmr[reg - REG_TMR];
}

static uint32_t read_irr(const struct lapic *lapic, unsigned reg)
{
	return lapic->irr[reg - REG_IRR];
}

static uint32_t read_esr(const struct lapic *lapic, unsigned reg)
{
	return lapic->esr;
}

/* A write latches what has happened since the one before. */
static void write_esr(struct lapic *lapic, unsigned reg, uint32_t value)
{
	lapic->esr = lapic->errors;
	lapic->errors = 0;
}

static uint32_t read_icr(const struct lapic *lapic, unsigned reg)
{
	return reg == REG_ICR ? lapic->icr_low : lapic->icr_high;
}

static void write_icr_high(struct lapic *lapic, unsigned reg, uint32_t value)
{
	lapic->icr_high = value;
}

static uint32_t read_lvt(const struct lapic *lapic, unsigned reg)
{
	return lapic->lvt[reg - REG_LVT];
}

static void write_lvt(struct lapic *lapic, unsigned reg, uint32_t value)
{
	value &= ~(uint32_t)(APIC_LVT_PENDING | APIC_LVT_REMOTE_IRR);
	if (!lapic_software_on(lapic))
		value |= APIC_LVT_MASKED;
	if (reg == REG_LVT + LVT_TIMER)
		lapic_timer_set_lvt(lapic, value);
	else
		lapic->lvt[reg - REG_LVT] = value;
}

static uint32_t read_initial_count(const struct lapic *lapic, unsigned reg)
{
	return lapic->initial_count;
}

/* In TSC-deadline mode the count does nothing (SDM vol. 3, 11.5.4.1). */
static void write_initial_count(struct lapic *lapic, unsigned reg,
				uint32_t value)
{
	if ((lapic->lvt[LVT_TIMER] & APIC_LVT_DEADLINE) != 0)
		return;
	lapic->initial_count = value;
	lapic_timer_start(lapic);
}

static uint32_t read_current_count(const struct lapic *lapic, unsigned reg)
{
	return lapic_timer_count(lapic);
}

static uint32_t read_divide(const struct lapic *lapic, unsigned reg)
{
	return lapic->divide;
}

/* A running count starts over at the new speed. */
static void write_divide(struct lapic *lapic, unsigned reg, uint32_t value)
{
	bool changed = lapic->divide != value;

	lapic->divide = value;
	if (changed && lapic->armed != 0)
		lapic_timer_start(lapic);
}

#define LVT_COMMON (APIC_LVT_VECTOR | APIC_LVT_PENDING | APIC_LVT_MASKED)
#define LVT_PIN                                                                \
	(LVT_COMMON | APIC_LVT_DELIVERY | APIC_LVT_POLARITY |                  \
	 APIC_LVT_REMOTE_IRR | APIC_LVT_LEVEL)
#define LVT_TIMER_BITS (LVT_COMMON | APIC_LVT_PERIODIC | APIC_LVT_DEADLINE)
#define LVT_EVENT_BITS (LVT_COMMON | APIC_LVT_DELIVERY)
#define RO             (XR | X2R)
#define RW             (XR | XW | X2R | X2W)

/* EOI, ICR and SELF_IPI writes reach beyond this APIC: reg_write has them. */
static const struct lapic_reg lapic_regs[REG_COUNT] = {
    [REG_ID] = {RO | XW, ~0u, read_id, write_nothing},
    [REG_VERSION] = {RO, 0, read_version, NULL},
    [REG_TPR] = {RW, 0xff, read_tpr, write_tpr},
    [REG_APR] = {XR, 0, read_zero, NULL},
    [REG_PPR] = {RO, 0, read_ppr, NULL},
    [REG_EOI] = {XR | XW | X2W, 0, read_zero, NULL},
    [REG_RRD] = {XR, 0, read_zero, NULL},
    [REG_LDR] = {RO | XW, 0xff000000, read_ldr, write_ldr},
    [REG_DFR] = {XR | XW, ~0u, read_dfr, write_dfr},
    [REG_SVR] = {RW, 0x3ff, read_svr, write_svr},
    [REG_ISR... REG_ISR + 7] = {RO, 0, read_isr, NULL},
    [REG_TMR... REG_TMR + 7] = {RO, 0, read_tmr, NULL},
    [REG_IRR... REG_IRR + 7] = {RO, 0, read_irr, NULL},
    [REG_ESR] = {RW, 0, read_esr, write_esr},
    [REG_ICR] = {RW, 0x000ccfff, read_icr, NULL},
    [REG_ICR_HIGH] = {XR | XW, 0xff000000, read_icr, write_icr_high},
    [REG_LVT + LVT_TIMER] = {RW, LVT_TIMER_BITS, read_lvt, write_lvt},
    [REG_LVT + LVT_THERMAL] = {RW, LVT_EVENT_BITS, read_lvt, write_lvt},
    [REG_LVT + LVT_PERF] = {RW, LVT_EVENT_BITS, read_lvt, write_lvt},
    [REG_LVT + LVT_LINT0] = {RW, LVT_PIN, read_lvt, write_lvt},
    [REG_LVT + LVT_LINT1] = {RW, LVT_PIN, read_lvt, write_lvt},
    [REG_LVT + LVT_ERROR] = {RW, LVT_COMMON, read_lvt, write_lvt},
    [REG_INITIAL_COUNT] = {RW, ~0u, read_initial_count, write_initial_count},
    [REG_CURRENT_COUNT] = {RO, 0, read_current_count, NULL},
    [REG_DIVIDE] = {RW, 0xb, read_divide, write_divide},
    [REG_SELF_IPI] = {X2W, 0xff, NULL, NULL},
};

static int reg_read(struct lapic *lapic, unsigned reg, uint32_t *value)
{
	const struct lapic_reg *row = &lapic_regs[reg];
	uint8_t access = lapic_is_x2apic(lapic) ? X2R : XR;

	*value = 0;
	if ((row->access & access) == 0)
		return -EINVAL;
	pthread_mutex_lock(&lapic->lock);
	*value = row->read(lapic, reg);
	pthread_mutex_unlock(&lapic->lock);
	return 0;
}

static void icr_write(struct lapic *lapic, uint32_t icr)
{
	uint32_t destination;

	pthread_mutex_lock(&lapic->lock);
	lapic->icr_low = icr & lapic_regs[REG_ICR].writable & ~0x1000u;
	destination =
	    lapic_is_x2apic(lapic) ? lapic->icr_high : lapic->icr_high >> 24;
	pthread_mutex_unlock(&lapic->lock);
	lapic_send_ipi(lapic, icr, destination);
}

/* The register exists and is writable in this mode. */
static void reg_write(struct lapic *lapic, unsigned reg, uint32_t value)
{
	const struct lapic_reg *row = &lapic_regs[reg];

	switch (reg) {
	case REG_EOI:
		lapic_eoi(lapic);
		return;
	case REG_ICR:
		icr_write(lapic, value);
		return;
	case REG_SELF_IPI:
		/* shorthand self, fixed (SDM vol. 3, 11.12.11) */
		lapic_send_ipi(lapic, 1u << 18 | (value & 0xff), 0);
		return;
	default:
		pthread_mutex_lock(&lapic->lock);
		row->write(lapic, reg, value & row->writable);
		lapic_update(lapic);
		pthread_mutex_unlock(&lapic->lock);
	}
}

/* -- the page ---------------------------------------------------------------
 */

bool lapic_mmio_owns(struct lapic *lapic, uint64_t gpa)
{
	uint64_t mode = lapic->base & (APIC_BASE_EN | APIC_BASE_EXTD);

	return mode == APIC_BASE_EN &&
	       (gpa & APIC_BASE_ADDRESS) == (lapic->base & APIC_BASE_ADDRESS);
}

static void illegal_register(struct lapic *lapic)
{
	pthread_mutex_lock(&lapic->lock);
	lapic_error(lapic, APIC_ESR_ILLEGAL_REGISTER);
	pthread_mutex_unlock(&lapic->lock);
}

/* Registers are 32 bits, one in each 16 bytes; the rest reads as zero. */
uint64_t lapic_mmio_read(struct lapic *lapic, uint64_t gpa, unsigned bytes)
{
	unsigned reg = (gpa & 0xfff) >> 4;
	unsigned byte = gpa & 0xf;
	uint32_t value;

	if (byte >= 4 || byte + MIN(bytes, 4u) > 4)
		return 0;
	if (reg >= REG_COUNT || reg_read(lapic, reg, &value) != 0) {
		illegal_register(lapic);
		return 0;
	}
	value >>= byte * 8;
	return bytes >= 4 ? value : value & MASK(bytes * 8 - 1, 0);
}

void lapic_mmio_write(struct lapic *lapic, uint64_t gpa, unsigned bytes,
		      uint64_t value)
{
	unsigned reg = (gpa & 0xfff) >> 4;

	if ((gpa & 0xf) != 0 || bytes < 4)
		return;
	if (reg >= REG_COUNT || (lapic_regs[reg].access & XW) == 0)
		illegal_register(lapic);
	else
		reg_write(lapic, reg, (uint32_t)value);
}

/* -- MSRs -------------------------------------------------------------------
 */

static bool model_has(const struct lapic *lapic, enum x86_feature feature)
{
	const struct cpu_model *model = lapic->vcpu->vm->cpu_model;

	return model == NULL || cpu_model_has(model, feature);
}

/* The transitions of SDM vol. 3, 11.12.5, figure 11-27. */
static bool mode_change_allowed(uint64_t from, uint64_t to)
{
	from &= APIC_BASE_EN | APIC_BASE_EXTD;
	to &= APIC_BASE_EN | APIC_BASE_EXTD;
	if (to == APIC_BASE_EXTD)
		return false;
	if (from == (APIC_BASE_EN | APIC_BASE_EXTD))
		return to != APIC_BASE_EN;
	return from != 0 || to != (APIC_BASE_EN | APIC_BASE_EXTD);
}

static int apic_base_write(struct lapic *lapic, uint64_t value)
{
	const struct cpu_model *model = lapic->vcpu->vm->cpu_model;
	unsigned width = model == NULL ? 52 : cpu_model_maxphyaddr(model);
	uint64_t allowed = APIC_BASE_BSP | APIC_BASE_EN | APIC_BASE_EXTD |
			   (APIC_BASE_ADDRESS & MASK(width - 1, 0));
	uint64_t changed;

	if ((value & ~allowed) != 0 ||
	    !mode_change_allowed(lapic->base, value) ||
	    ((value & APIC_BASE_EXTD) != 0 &&
	     !model_has(lapic, X86_FEATURE_X2APIC)))
		return -EINVAL;
	pthread_mutex_lock(&lapic->lock);
	value = (value & ~APIC_BASE_BSP) | (lapic->base & APIC_BASE_BSP);
	changed = lapic->base ^ value;
	lapic->base = value;
	if ((changed & APIC_BASE_EN) != 0)
		lapic_reset_registers(lapic);
	else if ((changed & APIC_BASE_EXTD) != 0)
		lapic->ldr = lapic_x2apic_ldr(lapic);
	lapic_update(lapic);
	pthread_mutex_unlock(&lapic->lock);
	return 0;
}

static int apic_base(struct lapic *lapic, bool write, uint64_t *value)
{
	if (write)
		return apic_base_write(lapic, *value);
	*value = lapic->base;
	return 0;
}

static int tsc_deadline(struct lapic *lapic, bool write, uint64_t *value)
{
	if (!model_has(lapic, X86_FEATURE_TSC_DEADLINE))
		return -EINVAL;
	pthread_mutex_lock(&lapic->lock);
	if (write)
		lapic_timer_set_deadline(lapic, *value);
	else
		*value = lapic->tsc_deadline;
	pthread_mutex_unlock(&lapic->lock);
	return 0;
}

static int x2apic_read(struct lapic *lapic, unsigned reg, uint64_t *value)
{
	uint32_t low;
	int error = reg_read(lapic, reg, &low);

	*value = low;
	if (error == 0 && reg == REG_ICR)
		*value |= (uint64_t)lapic->icr_high << 32;
	return error;
}

static int x2apic_write(struct lapic *lapic, unsigned reg, uint64_t value)
{
	const struct lapic_reg *row = &lapic_regs[reg];
	uint64_t writable = row->writable;

	if (reg == REG_ICR)
		writable |= MASK(63, 32);
	if ((row->access & X2W) == 0 || (value & ~writable) != 0)
		return -EINVAL;
	if (reg == REG_ICR) {
		pthread_mutex_lock(&lapic->lock);
		lapic->icr_high = (uint32_t)(value >> 32);
		pthread_mutex_unlock(&lapic->lock);
	}
	reg_write(lapic, reg, (uint32_t)value);
	return 0;
}

static int x2apic(struct lapic *lapic, unsigned reg, bool write,
		  uint64_t *value)
{
	if (!lapic_is_x2apic(lapic) || reg >= REG_COUNT)
		return -EINVAL;
	return write ? x2apic_write(lapic, reg, *value)
		     : x2apic_read(lapic, reg, value);
}

int lapic_msr(struct lapic *lapic, uint32_t msr, bool write, uint64_t *value)
{
	if (msr == MSR_APIC_BASE)
		return apic_base(lapic, write, value);
	if (msr == MSR_TSC_DEADLINE)
		return tsc_deadline(lapic, write, value);
	if (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST)
		return x2apic(lapic, msr - MSR_X2APIC_FIRST, write, value);
	return -ENXIO;
}
