/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The High Precision Event Timer (IA-PC HPET specification 1.0a) at
 * 0xFED00000, as bhyve has it: a 32-bit main counter of 2^24 Hz, eight
 * comparators that are all periodic-capable, IOAPIC pins 24 to 31 or FSB
 * messages, and, more than bhyve, legacy replacement.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define HPET_HZ    16777216ull
#define FS_PER_S   1000000000000000ull
#define TIMERS     8
#define WRAP       BIT(32)
#define ROUTE_PINS 0xff000000u

/* Shorter periods do not interrupt: see the LAPIC's timer. */
#define MIN_PERIOD_NS 20000

#define CAPABILITIES                                                           \
	(FS_PER_S / HPET_HZ << 32 | 0x8086ull << 16 | CAP_LEG_RT |             \
	 (TIMERS - 1) << 8 | 1)
#define CAP_LEG_RT BIT(15)

#define REG_CAP     0x000
#define REG_CONFIG  0x010
#define REG_STATUS  0x020
#define REG_COUNTER 0x0f0
#define REG_TIMERS  0x100 /* 0x20 bytes each */
enum { TIMER_CONFIG = 0x00, TIMER_COMPARATOR = 0x08, TIMER_FSB = 0x10 };

#define CONFIG_ENABLE BIT(0)
#define CONFIG_LEG_RT BIT(1)

#define TN_LEVEL      BIT(1)
#define TN_INT_ENB    BIT(2)
#define TN_PERIODIC   BIT(3)
#define TN_PER_CAP    BIT(4)
#define TN_VAL_SET    BIT(6)
#define TN_32MODE     BIT(8)
#define TN_ROUTE(cfg) ((cfg) >> 9 & 0x1f)
#define TN_ROUTE_BITS MASK(13, 9)
#define TN_FSB_EN     BIT(14)
#define TN_FSB_CAP    BIT(15)
#define TN_WRITABLE                                                            \
	(TN_LEVEL | TN_INT_ENB | TN_PERIODIC | TN_VAL_SET | TN_32MODE |        \
	 TN_ROUTE_BITS | TN_FSB_EN)
#define TN_READ_ONLY ((uint64_t)ROUTE_PINS << 32 | TN_PER_CAP | TN_FSB_CAP)

/* What a level interrupt holds: nothing, pin n + 1, or ISA line n. */
#define HOLDS_NOTHING 0
#define HOLDS_ISA     0x80

struct hpet_timer {
	struct hpet *hpet;
	struct vm_timer timer;
	uint64_t config;
	uint64_t fsb; /* address in the upper half, data in the lower */
	uint32_t comparator;
	uint32_t period;
	uint64_t match; /* the counter, not wrapped, at the next match */
	uint64_t deadline_ns;
	uint8_t armed;
	uint8_t holds;
};

struct hpet {
	struct vm *vm;
	pthread_mutex_t lock;
	_Atomic uint64_t config;
	uint32_t status;
	uint64_t base; /* the counter at start_ns, or while disabled */
	uint64_t start_ns;
	struct hpet_timer timer[TIMERS];
};

/* -- counter and matches ------------------------------------------------------
 */

static bool enabled(const struct hpet *hpet)
{
	return (hpet->config & CONFIG_ENABLE) != 0;
}

/* Not wrapped: the guest sees the lower 32 bits. */
static uint64_t counter(const struct hpet *hpet)
{
	if (!enabled(hpet))
		return hpet->base;
	return hpet->base +
	       ns_to_ticks(vm_clock_ns(&hpet->vm->clock) - hpet->start_ns,
			   HPET_HZ);
}

static bool is_periodic(const struct hpet_timer *t)
{
	return (t->config & TN_PERIODIC) != 0 && t->period != 0;
}

static void disarm(struct hpet_timer *t)
{
	t->armed = 0;
	vm_timer_cancel(&t->timer);
}

static void arm(struct hpet_timer *t, uint64_t earliest_ns)
{
	const struct hpet *hpet = t->hpet;

	t->armed = 1;
	t->deadline_ns =
	    hpet->start_ns + ticks_to_ns(t->match - hpet->base, HPET_HZ);
	t->deadline_ns = MAX(t->deadline_ns, earliest_ns);
	vm_timer_arm(&t->timer, t->deadline_ns);
}

/* The first match after now; a one-shot matches again when it has wrapped. */
static void advance(struct hpet_timer *t, uint64_t now)
{
	uint64_t step = is_periodic(t) ? t->period : WRAP;

	if (t->match > now)
		return;
	t->match += ((now - t->match) / step + 1) * step;
	t->comparator = (uint32_t)t->match;
}

/* After comparator, period, configuration or the counter were written. */
static void retarget(struct hpet_timer *t)
{
	uint64_t now = counter(t->hpet);

	t->match = now + (uint32_t)(t->comparator - (uint32_t)now);
	if (enabled(t->hpet) && (t->config & TN_INT_ENB) != 0)
		arm(t, 0);
	else
		disarm(t);
}

/* -- interrupts
 * ---------------------------------------------------------------- */

static void set_line(struct vm *vm, uint8_t holds, bool level)
{
	if ((holds & HOLDS_ISA) != 0)
		isa_set_irq(vm, holds & 0x7f, level);
	else if (holds != HOLDS_NOTHING)
		ioapic_set_pin(vm, holds - 1u, level);
}

/* Where the timer's interrupt goes, as HOLDS_ has it. */
static uint8_t line_of(const struct hpet_timer *t)
{
	unsigned index = (unsigned)(t - t->hpet->timer);
	unsigned pin = TN_ROUTE(t->config);

	if ((t->hpet->config & CONFIG_LEG_RT) != 0 && index < 2)
		return index == 0 ? HOLDS_ISA | 0 : HOLDS_ISA | 8;
	if ((ROUTE_PINS >> pin & 1) == 0)
		return HOLDS_NOTHING;
	return (uint8_t)(pin + 1);
}

static void release(struct hpet_timer *t)
{
	set_line(t->hpet->vm, t->holds, false);
	t->holds = HOLDS_NOTHING;
}

static void fire(struct hpet_timer *t)
{
	struct hpet *hpet = t->hpet;
	uint8_t line = line_of(t);

	if ((t->config & TN_FSB_EN) != 0) {
		msi_send(hpet->vm, t->fsb >> 32, (uint32_t)t->fsb);
	} else if ((t->config & TN_LEVEL) != 0) {
		hpet->status |= 1u << (t - hpet->timer);
		if (t->holds == HOLDS_NOTHING) {
			t->holds = line;
			set_line(hpet->vm, line, true);
		}
	} else {
		set_line(hpet->vm, line, true);
		set_line(hpet->vm, line, false);
	}
}

static void expired(void *arg)
{
	struct hpet_timer *t = arg;
	struct hpet *hpet = t->hpet;
	uint64_t ns;

	pthread_mutex_lock(&hpet->lock);
	ns = vm_clock_ns(&hpet->vm->clock);
	if (t->armed != 0 && ns >= t->deadline_ns) {
		fire(t);
		advance(t, counter(hpet));
		arm(t, ns + MIN_PERIOD_NS);
	}
	pthread_mutex_unlock(&hpet->lock);
}

bool hpet_legacy_route(struct vm *vm)
{
	const uint64_t both = CONFIG_ENABLE | CONFIG_LEG_RT;

	return vm->hpet != NULL && (vm->hpet->config & both) == both;
}

/* -- registers
 * ------------------------------------------------------------------ */

/* A line that is held under an old routing would never drop. */
static void check_line(struct hpet_timer *t)
{
	if (t->holds == HOLDS_NOTHING ||
	    ((t->config & TN_LEVEL) != 0 && t->holds == line_of(t)))
		return;
	t->hpet->status &= ~(1u << (t - t->hpet->timer));
	release(t);
}

static void write_config(struct hpet *hpet, uint64_t value)
{
	uint64_t changed = hpet->config ^ value;

	if ((changed & CONFIG_ENABLE) != 0) {
		hpet->base = (uint32_t)counter(hpet);
		hpet->start_ns = vm_clock_ns(&hpet->vm->clock);
	}
	hpet->config = value & (CONFIG_ENABLE | CONFIG_LEG_RT);
	for (unsigned i = 0; i < TIMERS; i++) {
		check_line(&hpet->timer[i]);
		if ((changed & CONFIG_ENABLE) != 0)
			retarget(&hpet->timer[i]);
	}
}

/* Writing 1 to a timer's bit ends its level interrupt. */
static void write_status(struct hpet *hpet, uint32_t value)
{
	value &= hpet->status;
	hpet->status &= ~value;
	for (unsigned i = 0; i < TIMERS; i++)
		if ((value >> i & 1) != 0)
			release(&hpet->timer[i]);
}

/* The counter can only be set while it stands. */
static void write_counter(struct hpet *hpet, uint64_t value)
{
	if (!enabled(hpet))
		hpet->base = (uint32_t)value;
}

/* What is due and on its way stays so, unless the interrupt is turned off. */
static void write_timer_config(struct hpet_timer *t, uint64_t value)
{
	uint64_t changed;

	if ((ROUTE_PINS >> TN_ROUTE(value) & 1) == 0)
		value &= ~TN_ROUTE_BITS;
	value = (value & TN_WRITABLE) | TN_READ_ONLY;
	changed = t->config ^ value;
	t->config = value;
	check_line(t);
	if ((changed & TN_INT_ENB) != 0)
		retarget(t);
}

/* Periodic: the period always; the next match only when VAL_SET says so. */
static void write_comparator(struct hpet_timer *t, uint32_t value)
{
	bool set_match =
	    (t->config & (TN_PERIODIC | TN_VAL_SET)) != TN_PERIODIC;

	if ((t->config & TN_PERIODIC) != 0)
		t->period = value;
	t->config &= ~TN_VAL_SET;
	if (set_match) {
		t->comparator = value;
		retarget(t);
	}
}

static struct hpet_timer *timer_at(struct hpet *hpet, uint64_t reg)
{
	uint64_t index = (reg - REG_TIMERS) / 0x20;

	return reg >= REG_TIMERS && index < TIMERS ? &hpet->timer[index] : NULL;
}

static uint64_t read_timer(struct hpet_timer *t, uint64_t reg)
{
	switch (reg & 0x18) {
	case TIMER_CONFIG:
		return t->config;
	case TIMER_COMPARATOR:
		return t->comparator;
	case TIMER_FSB:
		return t->fsb;
	default:
		return 0;
	}
}

static void write_timer(struct hpet_timer *t, uint64_t reg, uint64_t value)
{
	switch (reg & 0x18) {
	case TIMER_CONFIG:
		write_timer_config(t, value);
		break;
	case TIMER_COMPARATOR:
		write_comparator(t, (uint32_t)value);
		break;
	case TIMER_FSB:
		t->fsb = value;
		break;
	default:
		break;
	}
}

/* reg is a multiple of 8: registers have 64 bits. */
static uint64_t reg_read(struct hpet *hpet, uint64_t reg)
{
	struct hpet_timer *t = timer_at(hpet, reg);

	switch (reg) {
	case REG_CAP:
		return CAPABILITIES;
	case REG_CONFIG:
		return hpet->config;
	case REG_STATUS:
		return hpet->status;
	case REG_COUNTER:
		return (uint32_t)counter(hpet);
	default:
		return t == NULL ? 0 : read_timer(t, reg);
	}
}

static void reg_write(struct hpet *hpet, uint64_t reg, uint64_t value)
{
	struct hpet_timer *t = timer_at(hpet, reg);

	switch (reg) {
	case REG_CONFIG:
		write_config(hpet, value);
		break;
	case REG_STATUS:
		write_status(hpet, (uint32_t)value);
		break;
	case REG_COUNTER:
		write_counter(hpet, value);
		break;
	default:
		if (t != NULL)
			write_timer(t, reg, value);
		break;
	}
}

/* Without an interrupt nothing else moves the comparators. */
static void settle(struct hpet *hpet)
{
	uint64_t now = counter(hpet);

	for (unsigned i = 0; i < TIMERS && enabled(hpet); i++)
		if (hpet->timer[i].armed == 0 && is_periodic(&hpet->timer[i]))
			advance(&hpet->timer[i], now);
}

/* 4 or 8 bytes, aligned; anything else reads as zero and is not written. */
static bool access_ok(uint64_t offset, unsigned bytes)
{
	return (bytes == 4 || bytes == 8) && offset % bytes == 0;
}

uint64_t hpet_mmio_read(struct vm *vm, uint64_t offset, unsigned bytes)
{
	struct hpet *hpet = vm->hpet;
	uint64_t value;

	if (!access_ok(offset, bytes))
		return 0;
	pthread_mutex_lock(&hpet->lock);
	settle(hpet);
	value = reg_read(hpet, offset & ~7ull);
	pthread_mutex_unlock(&hpet->lock);
	if (bytes == 4)
		value = (uint32_t)(value >> (offset & 4) * 8);
	return value;
}

/* In status a written 1 clears, so the other half must be zeros there. */
void hpet_mmio_write(struct vm *vm, uint64_t offset, unsigned bytes,
		     uint64_t value)
{
	struct hpet *hpet = vm->hpet;
	uint64_t reg = offset & ~7ull;
	unsigned shift = (offset & 4) * 8;
	uint64_t mask = bytes == 4 ? MASK(31, 0) << shift : ~0ull;

	if (!access_ok(offset, bytes))
		return;
	pthread_mutex_lock(&hpet->lock);
	settle(hpet);
	value = value << shift & mask;
	if (reg != REG_STATUS)
		value |= reg_read(hpet, reg) & ~mask;
	/* The upper half of 32-bit registers does nothing. */
	if (shift == 0 || (reg & 0x18) == TIMER_FSB)
		reg_write(hpet, reg, value);
	pthread_mutex_unlock(&hpet->lock);
}

uint32_t hpet_capabilities(struct vm *vm)
{
	return (uint32_t)CAPABILITIES;
}

/* -- life
 * -------------------------------------------------------------------------- */

static void hpet_reset(struct vm *vm)
{
	struct hpet *hpet = vm->hpet;

	pthread_mutex_lock(&hpet->lock);
	hpet->config = 0;
	hpet->status = 0;
	hpet->base = 0;
	hpet->start_ns = 0;
	for (unsigned i = 0; i < TIMERS; i++) {
		struct hpet_timer *t = &hpet->timer[i];

		disarm(t);
		release(t);
		t->config = TN_READ_ONLY;
		t->fsb = 0;
		t->comparator = UINT32_MAX;
		t->period = 0;
		t->match = UINT32_MAX;
		t->deadline_ns = 0;
	}
	pthread_mutex_unlock(&hpet->lock);
}

static int hpet_create(struct vm *vm)
{
	struct hpet *hpet = calloc(1, sizeof(*hpet));

	if (hpet == NULL)
		return -ENOMEM;
	hpet->vm = vm;
	pthread_mutex_init(&hpet->lock, NULL);
	for (unsigned i = 0; i < TIMERS; i++) {
		hpet->timer[i].hpet = hpet;
		vm_timer_init(vm, &hpet->timer[i].timer, expired,
			      &hpet->timer[i]);
	}
	vm->hpet = hpet;
	hpet_reset(vm);
	return 0;
}

static void hpet_destroy(struct vm *vm)
{
	if (vm->hpet == NULL)
		return;
	for (unsigned i = 0; i < TIMERS; i++)
		vm_timer_cancel(&vm->hpet->timer[i].timer);
	pthread_mutex_destroy(&vm->hpet->lock);
	free(vm->hpet);
	vm->hpet = NULL;
}

static void *hpet_object(struct vm *vm)
{
	return vm->hpet;
}

static void hpet_resume(struct vm *vm)
{
	struct hpet *hpet = vm->hpet;

	pthread_mutex_lock(&hpet->lock);
	for (unsigned i = 0; i < TIMERS; i++) {
		struct hpet_timer *t = &hpet->timer[i];

		if (t->armed != 0)
			vm_timer_arm(&t->timer, t->deadline_ns);
		else
			vm_timer_cancel(&t->timer);
	}
	pthread_mutex_unlock(&hpet->lock);
}

static int hpet_post_load(void *object)
{
	const struct hpet *hpet = object;

	if ((hpet->config & ~(CONFIG_ENABLE | CONFIG_LEG_RT)) != 0 ||
	    hpet->status >= 1u << TIMERS)
		return -EINVAL;
	for (unsigned i = 0; i < TIMERS; i++) {
		const struct hpet_timer *t = &hpet->timer[i];

		if ((t->config & ~TN_WRITABLE) != TN_READ_ONLY ||
		    t->armed > 1 ||
		    (t->holds > 32 && t->holds != (HOLDS_ISA | 0) &&
		     t->holds != (HOLDS_ISA | 8)))
			return -EINVAL;
	}
	return 0;
}

#define TIMER_FIELDS(i)                                                        \
	STATE_SCALAR(struct hpet, timer[i].config),                            \
	    STATE_SCALAR(struct hpet, timer[i].fsb),                           \
	    STATE_SCALAR(struct hpet, timer[i].comparator),                    \
	    STATE_SCALAR(struct hpet, timer[i].period),                        \
	    STATE_SCALAR(struct hpet, timer[i].match),                         \
	    STATE_SCALAR(struct hpet, timer[i].deadline_ns),                   \
	    STATE_SCALAR(struct hpet, timer[i].armed),                         \
	    STATE_SCALAR(struct hpet, timer[i].holds)

static const struct state_field hpet_fields[] = {
    STATE_SCALAR(struct hpet, config),
    STATE_SCALAR(struct hpet, status),
    STATE_SCALAR(struct hpet, base),
    STATE_SCALAR(struct hpet, start_ns),
    TIMER_FIELDS(0),
    TIMER_FIELDS(1),
    TIMER_FIELDS(2),
    TIMER_FIELDS(3),
    TIMER_FIELDS(4),
    TIMER_FIELDS(5),
    TIMER_FIELDS(6),
    TIMER_FIELDS(7),
};

static const struct state_class hpet_state_class = {
    .name = "hpet",
    .version = 1,
    .fields = hpet_fields,
    .field_count = ARRAY_SIZE(hpet_fields),
    .post_load = hpet_post_load,
};

const struct room_device hpet_device = {
    .name = "hpet",
    .state = &hpet_state_class,
    .create = hpet_create,
    .destroy = hpet_destroy,
    .reset = hpet_reset,
    .object = hpet_object,
    .resume = hpet_resume,
};
