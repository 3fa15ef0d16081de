/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The local APIC to and from an engine that has APICs of its own. The page is
 * laid out as the xAPIC's (SDM vol. 3, table 11-1), also in x2APIC mode; the
 * id is in bits 31:24 of its register in both.
 */
#include <string.h>

#include "base/bytes.h"
#include "vmm/dev/lapic.h"

enum {
	PAGE_ID = 0x20,
	PAGE_TPR = 0x80,
	PAGE_LDR = 0xd0,
	PAGE_DFR = 0xe0,
	PAGE_SVR = 0xf0,
	PAGE_ISR = 0x100,
	PAGE_TMR = 0x180,
	PAGE_IRR = 0x200,
	PAGE_ESR = 0x280,
	PAGE_LVT_CMCI = 0x2f0, /* we have none; a masked one is none */
	PAGE_ICR = 0x300,
	PAGE_ICR_HIGH = 0x310,
	PAGE_LVT = 0x320,
	PAGE_INITIAL_COUNT = 0x380,
	PAGE_CURRENT_COUNT = 0x390,
	PAGE_DIVIDE = 0x3e0,
};

#define STRIDE 16

/* Where the PIC reaches a boot CPU whose APIC nobody has enabled (lapic.c). */
#define LINT0_VIRTUAL_WIRE (APIC_EXTINT << 8)

static void put(struct lapic_image *image, unsigned at, uint32_t value)
{
	store_le32(image->page + at, value);
}

static uint32_t get(const struct lapic_image *image, unsigned at)
{
	return load_le32(image->page + at);
}

static void put_vectors(struct lapic_image *image, unsigned at,
			const uint32_t set[8])
{
	for (unsigned i = 0; i < 8; i++)
		put(image, at + i * STRIDE, set[i]);
}

/* Vectors below 16 cannot be pending (SDM vol. 3, 11.5.2). */
static void get_vectors(const struct lapic_image *image, unsigned at,
			uint32_t set[8])
{
	for (unsigned i = 0; i < 8; i++)
		set[i] = get(image, at + i * STRIDE);
	set[0] &= ~0xffffu;
}

static uint32_t lint0_for(const struct lapic *lapic)
{
	uint32_t value = lapic->lvt[LVT_LINT0];

	if (lapic->vcpu->id == 0 && !lapic_software_on(lapic))
		return LINT0_VIRTUAL_WIRE;
	return value;
}

static void export_locked(struct lapic *lapic, struct lapic_image *image)
{
	put(image, PAGE_ID, lapic->vcpu->id << 24);
	put(image, PAGE_TPR, lapic->tpr);
	put(image, PAGE_LDR, lapic->ldr);
	put(image, PAGE_DFR, lapic->dfr);
	put(image, PAGE_SVR, lapic->svr);
	put_vectors(image, PAGE_ISR, lapic->isr);
	put_vectors(image, PAGE_TMR, lapic->tmr);
	put_vectors(image, PAGE_IRR, lapic->irr);
	put(image, PAGE_ESR, lapic->esr);
	put(image, PAGE_LVT_CMCI, APIC_LVT_MASKED);
	put(image, PAGE_ICR, lapic->icr_low);
	put(image, PAGE_ICR_HIGH, lapic->icr_high);
	for (unsigned i = 0; i < LVT_COUNT; i++)
		put(image, PAGE_LVT + i * STRIDE, lapic->lvt[i]);
	put(image, PAGE_LVT + LVT_LINT0 * STRIDE, lint0_for(lapic));
	put(image, PAGE_INITIAL_COUNT, lapic->initial_count);
	put(image, PAGE_CURRENT_COUNT, lapic_timer_count(lapic));
	put(image, PAGE_DIVIDE, lapic->divide);
	image->base = lapic->base;
	image->tsc_deadline = lapic->tsc_deadline;
}

void lapic_export(struct lapic *lapic, struct lapic_image *image)
{
	memset(image, 0, sizeof(*image));
	pthread_mutex_lock(&lapic->lock);
	export_locked(lapic, image);
	vm_timer_cancel(&lapic->timer);
	pthread_mutex_unlock(&lapic->lock);
}

static void import_locked(struct lapic *lapic, const struct lapic_image *image)
{
	lapic->base = (image->base &
		       (APIC_BASE_ADDRESS | APIC_BASE_EXTD | APIC_BASE_EN)) |
		      (lapic->vcpu->id == 0 ? APIC_BASE_BSP : 0);
	lapic->tpr = get(image, PAGE_TPR) & 0xff;
	lapic->ldr = get(image, PAGE_LDR);
	lapic->dfr = get(image, PAGE_DFR);
	lapic->svr = get(image, PAGE_SVR);
	get_vectors(image, PAGE_ISR, lapic->isr);
	get_vectors(image, PAGE_TMR, lapic->tmr);
	get_vectors(image, PAGE_IRR, lapic->irr);
	lapic->esr = get(image, PAGE_ESR);
	lapic->errors = 0;
	lapic->icr_low = get(image, PAGE_ICR);
	lapic->icr_high = get(image, PAGE_ICR_HIGH);
	for (unsigned i = 0; i < LVT_COUNT; i++)
		lapic->lvt[i] = get(image, PAGE_LVT + i * STRIDE);
	if (!lapic_software_on(lapic))
		lapic->lvt[LVT_LINT0] |= APIC_LVT_MASKED;
	lapic->initial_count = get(image, PAGE_INITIAL_COUNT);
	lapic->divide = get(image, PAGE_DIVIDE) & 0xb;
	lapic->tsc_deadline = image->tsc_deadline;
	lapic_timer_adopt(lapic, get(image, PAGE_CURRENT_COUNT));
	atomic_store(&lapic->pending, -1);
	lapic_update(lapic);
}

void lapic_import(struct lapic *lapic, const struct lapic_image *image)
{
	pthread_mutex_lock(&lapic->lock);
	import_locked(lapic, image);
	pthread_mutex_unlock(&lapic->lock);
}
