/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC: accepting, prioritising and ending interrupts; its life. */
#include "vmm/dev/lapic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define APIC_DFR_FLAT 0xfu

/* ICR fields, SDM vol. 3, 11.6.1. */
#define ICR_DELIVERY(icr)  (((icr) >> 8) & 7)
#define ICR_LOGICAL        BIT(11)
#define ICR_ASSERT         BIT(14)
#define ICR_LEVEL          BIT(15)
#define ICR_SHORTHAND(icr) (((icr) >> 18) & 3)

enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

static bool test_bit(const uint32_t set[8], unsigned vector)
{
	return (set[vector / 32] >> (vector % 32) & 1) != 0;
}

static void set_bit(uint32_t set[8], unsigned vector, bool value)
{
	uint32_t bit = 1u << (vector % 32);

	if (value)
		set[vector / 32] |= bit;
	else
		set[vector / 32] &= ~bit;
}

static int highest_bit(const uint32_t set[8])
{
	for (int i = 7; i >= 0; i--)
		if (set[i] != 0)
			return i * 32 + 31 - __builtin_clz(set[i]);
	return -1;
}

uint32_t lapic_ppr(const struct lapic *lapic)
{
	int in_service = highest_bit(lapic->isr);
	uint32_t service_class =
	    in_service < 0 ? 0 : (uint32_t)in_service & 0xf0;

	if ((lapic->tpr & 0xf0) >= service_class)
		return lapic->tpr;
	return service_class;
}

/*
 * The PIC's output goes through LINT0 (virtual wire), or straight to the boot
 * CPU while its LAPIC is off or has not been enabled by software: a guest
 * that is started without firmware finds it so.
 */
static bool accepts_extint(const struct lapic *lapic)
{
	uint32_t lint0 = lapic->lvt[LVT_LINT0];

	if (!lapic_software_on(lapic))
		return lapic->vcpu->id == 0;
	return (lint0 & APIC_LVT_MASKED) == 0 &&
	       (lint0 & APIC_LVT_DELIVERY) >> 8 == APIC_EXTINT;
}

void lapic_update(struct lapic *lapic)
{
	struct vmcpu *vcpu = lapic->vcpu;
	int vector = lapic_on(lapic) ? highest_bit(lapic->irr) : -1;
	bool extint = accepts_extint(lapic);

	if (vector >= 0 &&
	    ((uint32_t)vector & 0xf0) <= (lapic_ppr(lapic) & 0xf0))
		vector = -1;
	if (atomic_exchange(&lapic->pending, vector) != vector && vector >= 0)
		vcpu_request(vcpu, VCPU_REQ_INTR);
	if (!atomic_exchange(&lapic->takes_extint, extint) && extint &&
	    i8259_pending(vcpu->vm) >= 0)
		vcpu_request(vcpu, VCPU_REQ_INTR);
}

static void accept_vector(struct lapic *lapic, uint8_t vector, bool level)
{
	if (!lapic_software_on(lapic))
		return;
	if (vector < 16) {
		lapic_error(lapic, APIC_ESR_RECEIVE_ILLEGAL_VECTOR);
		return;
	}
	set_bit(lapic->irr, vector, true);
	set_bit(lapic->tmr, vector, level);
	lapic_update(lapic);
}

void lapic_error(struct lapic *lapic, uint32_t esr_bits)
{
	uint32_t lvt = lapic->lvt[LVT_ERROR];

	lapic->errors |= esr_bits;
	/* An illegal vector in this entry is one more error, not one more
	   interrupt. */
	if ((lvt & APIC_LVT_MASKED) != 0)
		return;
	if ((lvt & APIC_LVT_VECTOR) < 16)
		lapic->errors |= APIC_ESR_RECEIVE_ILLEGAL_VECTOR;
	else
		accept_vector(lapic, lvt & APIC_LVT_VECTOR, false);
}

/* Under the lock, by the room's thread too; who reads has no lock. */
static void count_timer(struct vmcpu *vcpu)
{
	uint64_t *count = &vcpu->stats[VM_STAT_LVT_TIMER];

	__atomic_store_n(count, *count + 1, __ATOMIC_RELAXED);
}

void lapic_fire_lvt(struct lapic *lapic, enum lapic_lvt lvt)
{
	uint32_t value = lapic->lvt[lvt];

	if (!lapic_software_on(lapic)) {
		/* LINT1 is the NMI pin then (SDM vol. 3, 11.4.3). */
		if (lvt == LVT_LINT1)
			vcpu_request(lapic->vcpu, VCPU_REQ_NMI);
		return;
	}
	if ((value & APIC_LVT_MASKED) != 0)
		return;
	switch ((value & APIC_LVT_DELIVERY) >> 8) {
	case APIC_FIXED:
		if (lvt == LVT_TIMER)
			count_timer(lapic->vcpu);
		accept_vector(lapic, value & APIC_LVT_VECTOR, false);
		break;
	case APIC_NMI:
		vcpu_request(lapic->vcpu, VCPU_REQ_NMI);
		break;
	default: /* ExtINT follows the PIC's output; there is no SMM */
		break;
	}
}

void lapic_eoi(struct lapic *lapic)
{
	bool level = false;
	int vector;

	pthread_mutex_lock(&lapic->lock);
	vector = highest_bit(lapic->isr);
	if (vector >= 0) {
		set_bit(lapic->isr, (unsigned)vector, false);
		level = test_bit(lapic->tmr, (unsigned)vector);
		lapic_update(lapic);
	} else {
		lapic->vcpu->stats[VM_STAT_EOI_STRAY]++;
	}
	pthread_mutex_unlock(&lapic->lock);
	if (level)
		ioapic_eoi(lapic->vcpu->vm, (uint8_t)vector);
}

/* -- messages ------------------------------------------------------------- */

static bool matches_physical(const struct lapic *lapic,
			     const struct apic_message *message)
{
	uint32_t broadcast = message->wide ? UINT32_MAX : 0xff;

	return message->destination == broadcast ||
	       message->destination == lapic->vcpu->id;
}

static bool matches_logical(const struct lapic *lapic,
			    const struct apic_message *message)
{
	uint32_t mda = message->destination;
	uint32_t ldr = lapic->ldr >> 24;

	if (mda == (message->wide ? UINT32_MAX : 0xff))
		return true;
	if (lapic_is_x2apic(lapic))
		return mda >> 16 == lapic->ldr >> 16 &&
		       (mda & lapic->ldr & 0xffff) != 0;
	if (lapic->dfr >> 28 == APIC_DFR_FLAT)
		return (mda & ldr) != 0;
	return mda >> 4 == ldr >> 4 && (mda & ldr & 0xf) != 0;
}

bool lapic_matches(struct lapic *lapic, const struct apic_message *message)
{
	bool matches;

	pthread_mutex_lock(&lapic->lock);
	matches = lapic_on(lapic) &&
		  (message->logical ? matches_logical(lapic, message)
				    : matches_physical(lapic, message));
	pthread_mutex_unlock(&lapic->lock);
	return matches;
}

/* Smaller is better: the lower class first, then whoever took fewer. */
uint64_t lapic_arbitration(struct lapic *lapic)
{
	uint64_t rank = UINT64_MAX;

	pthread_mutex_lock(&lapic->lock);
	if (lapic_software_on(lapic))
		rank = (uint64_t)lapic_ppr(lapic) << 32 | lapic->lowest_taken;
	pthread_mutex_unlock(&lapic->lock);
	return rank;
}

void lapic_accept(struct lapic *lapic, const struct apic_message *message)
{
	struct vmcpu *vcpu = lapic->vcpu;

	switch (message->delivery) {
	case APIC_LOWEST:
	case APIC_FIXED:
		pthread_mutex_lock(&lapic->lock);
		if (message->delivery == APIC_LOWEST)
			lapic->lowest_taken++;
		accept_vector(lapic, message->vector, message->level);
		pthread_mutex_unlock(&lapic->lock);
		break;
	case APIC_NMI:
		vcpu_request(vcpu, VCPU_REQ_NMI);
		break;
	case APIC_INIT:
		vcpu_request(vcpu, VCPU_REQ_INIT);
		break;
	case APIC_STARTUP:
		atomic_store(&vcpu->sipi_vector, message->vector);
		vcpu_request(vcpu, VCPU_REQ_SIPI);
		break;
	default: /* SMI: there is no SMM; ExtINT: only through LINT0 */
		break;
	}
}

static void send_to_all(struct lapic *lapic, const struct apic_message *message,
			bool and_self)
{
	struct vm *vm = lapic->vcpu->vm;

	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		struct vmcpu *vcpu = vm->vcpu[i];
		struct apic_message direct = *message;

		if (vcpu == NULL || vcpu->lapic == NULL ||
		    (!and_self && vcpu == lapic->vcpu))
			continue;
		direct.logical = false;
		direct.destination = i;
		if (lapic_matches(vcpu->lapic, &direct))
			lapic_accept(vcpu->lapic, message);
	}
}

/* SDM vol. 3, table 11-1: a broadcast or the own CPU take fewer modes. */
static bool ipi_is_valid(const struct apic_message *message, unsigned shorthand)
{
	switch (message->delivery) {
	case APIC_FIXED:
		return true;
	case APIC_LOWEST:
	case APIC_NMI:
	case APIC_INIT:
	case APIC_STARTUP:
		return shorthand == SHORTHAND_NONE ||
		       shorthand == SHORTHAND_OTHERS;
	default:
		return false;
	}
}

void lapic_send_ipi(struct lapic *lapic, uint32_t icr, uint32_t destination)
{
	unsigned shorthand = ICR_SHORTHAND(icr);
	struct apic_message message = {
	    .destination = destination,
	    .logical = (icr & ICR_LOGICAL) != 0,
	    .wide = lapic_is_x2apic(lapic),
	    .delivery = ICR_DELIVERY(icr),
	    .vector = icr & 0xff,
	};

	lapic->vcpu->stats[VM_STAT_IPI]++;
	/* INIT level de-assert once synchronised arbitration; no more. */
	if (!ipi_is_valid(&message, shorthand) ||
	    (message.delivery == APIC_INIT && (icr & ICR_LEVEL) != 0 &&
	     (icr & ICR_ASSERT) == 0))
		return;
	if (message.vector < 16 && (message.delivery == APIC_FIXED ||
				    message.delivery == APIC_LOWEST)) {
		pthread_mutex_lock(&lapic->lock);
		lapic_error(lapic, APIC_ESR_SEND_ILLEGAL_VECTOR);
		pthread_mutex_unlock(&lapic->lock);
		return;
	}
	if (shorthand == SHORTHAND_SELF)
		lapic_accept(lapic, &message);
	else if (shorthand == SHORTHAND_NONE)
		apic_deliver(lapic->vcpu->vm, &message);
	else
		send_to_all(lapic, &message, shorthand == SHORTHAND_ALL);
}

/* -- the vCPU's side ------------------------------------------------------- */

void lapic_extint_raised(struct lapic *lapic)
{
	if (atomic_load(&lapic->takes_extint))
		vcpu_request(lapic->vcpu, VCPU_REQ_INTR);
}

int lapic_pending(const struct lapic *lapic)
{
	int vector =
	    atomic_load_explicit(&lapic->pending, memory_order_acquire);

	if (likely(vector < 0) && atomic_load(&lapic->takes_extint))
		return i8259_pending(lapic->vcpu->vm);
	return vector;
}

int lapic_intack(struct lapic *lapic)
{
	int vector;

	pthread_mutex_lock(&lapic->lock);
	vector = atomic_load(&lapic->pending);
	if (vector >= 0) {
		set_bit(lapic->irr, (unsigned)vector, false);
		set_bit(lapic->isr, (unsigned)vector, true);
		lapic_update(lapic);
	}
	pthread_mutex_unlock(&lapic->lock);
	if (vector >= 0 || !atomic_load(&lapic->takes_extint))
		return vector;
	vector = i8259_intack(lapic->vcpu->vm);
	if (vector >= 0)
		lapic->vcpu->stats[VM_STAT_EXTINT]++;
	return vector;
}

bool lapic_return(struct lapic *lapic, int vector)
{
	bool mine;

	pthread_mutex_lock(&lapic->lock);
	mine = vector >= 16 && vector < 256 &&
	       test_bit(lapic->isr, (unsigned)vector);
	if (mine) {
		set_bit(lapic->isr, (unsigned)vector, false);
		set_bit(lapic->irr, (unsigned)vector, true);
		lapic_update(lapic);
	}
	pthread_mutex_unlock(&lapic->lock);
	return mine;
}

uint8_t lapic_get_cr8(const struct lapic *lapic)
{
	return (uint8_t)(lapic->tpr >> 4);
}

void lapic_set_cr8(struct lapic *lapic, uint8_t cr8)
{
	uint32_t tpr = (uint32_t)(cr8 & 0xf) << 4;

	if (lapic->tpr == tpr)
		return;
	pthread_mutex_lock(&lapic->lock);
	lapic->tpr = tpr;
	lapic_update(lapic);
	pthread_mutex_unlock(&lapic->lock);
}

/* -- door calls ------------------------------------------------------------ */

int lapic_set_vector(struct lapic *lapic, uint8_t vector, bool level)
{
	if (vector < 16)
		return -EINVAL;
	pthread_mutex_lock(&lapic->lock);
	accept_vector(lapic, vector, level);
	pthread_mutex_unlock(&lapic->lock);
	return 0;
}

/* lvt_pin is numbered as FreeBSD's APIC_LVT_LINT0 and so on. */
int lapic_local_irq(struct lapic *lapic, int lvt_pin)
{
	static const enum lapic_lvt lvts[] = {
	    LVT_LINT0, LVT_LINT1, LVT_TIMER, LVT_ERROR, LVT_PERF, LVT_THERMAL,
	};

	if (lvt_pin < 0 || lvt_pin >= (int)ARRAY_SIZE(lvts))
		return -EINVAL;
	pthread_mutex_lock(&lapic->lock);
	lapic_fire_lvt(lapic, lvts[lvt_pin]);
	pthread_mutex_unlock(&lapic->lock);
	return 0;
}

enum x2apic_state lapic_get_x2apic(struct lapic *lapic)
{
	return lapic_is_x2apic(lapic) ? X2APIC_ENABLED : X2APIC_DISABLED;
}

int lapic_set_x2apic(struct lapic *lapic, bool enabled)
{
	pthread_mutex_lock(&lapic->lock);
	if (enabled != lapic_is_x2apic(lapic)) {
		lapic->base ^= APIC_BASE_EXTD;
		lapic->base |= APIC_BASE_EN;
		lapic_reset_registers(lapic);
		lapic_update(lapic);
	}
	pthread_mutex_unlock(&lapic->lock);
	return 0;
}

/* -- life ------------------------------------------------------------------ */

uint32_t lapic_x2apic_ldr(const struct lapic *lapic)
{
	uint32_t id = lapic->vcpu->id;

	return (id >> 4) << 16 | 1u << (id & 15);
}

/* All but APIC_BASE, as after power-up or INIT (SDM vol. 3, 11.4.7). */
void lapic_reset_registers(struct lapic *lapic)
{
	lapic_timer_stop(lapic);
	lapic->tpr = 0;
	lapic->ldr = lapic_is_x2apic(lapic) ? lapic_x2apic_ldr(lapic) : 0;
	lapic->dfr = UINT32_MAX;
	lapic->svr = 0xff;
	lapic->esr = 0;
	lapic->errors = 0;
	lapic->icr_low = 0;
	lapic->icr_high = 0;
	for (unsigned i = 0; i < LVT_COUNT; i++)
		lapic->lvt[i] = APIC_LVT_MASKED;
	memset(lapic->irr, 0, sizeof(lapic->irr));
	memset(lapic->isr, 0, sizeof(lapic->isr));
	memset(lapic->tmr, 0, sizeof(lapic->tmr));
	lapic->lowest_taken = 0;
	lapic->initial_count = 0;
	lapic->divide = 0;
	lapic->count_start_ns = 0;
	lapic->tsc_deadline = 0;
}

void lapic_reset(struct lapic *lapic, bool init)
{
	pthread_mutex_lock(&lapic->lock);
	if (!init)
		lapic->base = APIC_BASE_DEFAULT | APIC_BASE_EN |
			      (lapic->vcpu->id == 0 ? APIC_BASE_BSP : 0);
	lapic_reset_registers(lapic);
	lapic_update(lapic);
	pthread_mutex_unlock(&lapic->lock);
}

struct lapic *lapic_create(struct vmcpu *vcpu)
{
	struct lapic *lapic = calloc(1, sizeof(*lapic));

	if (lapic == NULL)
		return NULL;
	lapic->vcpu = vcpu;
	pthread_mutex_init(&lapic->lock, NULL);
	atomic_init(&lapic->pending, -1);
	vm_timer_init(vcpu->vm, &lapic->timer, lapic_timer_expired, lapic);
	lapic_reset(lapic, false);
	return lapic;
}

void lapic_destroy(struct lapic *lapic)
{
	if (lapic == NULL)
		return;
	vm_timer_cancel(&lapic->timer);
	pthread_mutex_destroy(&lapic->lock);
	free(lapic);
}

void lapic_resume(struct lapic *lapic)
{
	pthread_mutex_lock(&lapic->lock);
	if (lapic->armed != 0)
		vm_timer_arm(&lapic->timer, lapic->deadline_ns);
	else
		vm_timer_cancel(&lapic->timer);
	/* The vCPU may have to look again at what it never heard of. */
	atomic_store(&lapic->pending, -1);
	atomic_store(&lapic->takes_extint, false);
	lapic_update(lapic);
	pthread_mutex_unlock(&lapic->lock);
}

static int lapic_post_load(void *object)
{
	struct lapic *lapic = object;
	bool bsp = (lapic->base & APIC_BASE_BSP) != 0;

	if (bsp != (lapic->vcpu->id == 0) || lapic->armed > 1 ||
	    (lapic_is_x2apic(lapic) && !lapic_on(lapic)) ||
	    (lapic->base & ~(APIC_BASE_ADDRESS | APIC_BASE_BSP |
			     APIC_BASE_EXTD | APIC_BASE_EN)) != 0 ||
	    (lapic->armed != 0 && lapic->initial_count == 0 &&
	     (lapic->lvt[LVT_TIMER] & APIC_LVT_DEADLINE) == 0) ||
	    lapic->tpr > 0xff || (lapic->irr[0] & 0xffff) != 0 ||
	    (lapic->isr[0] & 0xffff) != 0)
		return -EINVAL;
	return 0;
}

static const struct state_field lapic_fields[] = {
    STATE_SCALAR(struct lapic, base),
    STATE_SCALAR(struct lapic, tpr),
    STATE_SCALAR(struct lapic, ldr),
    STATE_SCALAR(struct lapic, dfr),
    STATE_SCALAR(struct lapic, svr),
    STATE_SCALAR(struct lapic, esr),
    STATE_SCALAR(struct lapic, errors),
    STATE_SCALAR(struct lapic, icr_low),
    STATE_SCALAR(struct lapic, icr_high),
    STATE_ARRAY(struct lapic, lvt),
    STATE_ARRAY(struct lapic, irr),
    STATE_ARRAY(struct lapic, isr),
    STATE_ARRAY(struct lapic, tmr),
    STATE_SCALAR(struct lapic, lowest_taken),
    STATE_SCALAR(struct lapic, initial_count),
    STATE_SCALAR(struct lapic, divide),
    STATE_SCALAR(struct lapic, count_start_ns),
    STATE_SCALAR(struct lapic, tsc_deadline),
    STATE_SCALAR(struct lapic, deadline_ns),
    STATE_SCALAR(struct lapic, armed),
};

const struct state_class lapic_state_class = {
    .name = "lapic",
    .version = 1,
    .fields = lapic_fields,
    .field_count = ARRAY_SIZE(lapic_fields),
    .post_load = lapic_post_load,
};
