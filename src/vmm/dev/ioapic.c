/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The I/O APIC (Intel 82093AA, version 0x11, with bhyve's 32 pins). Polarity
 * bits are kept but mean nothing: a raised pin is an asserted one.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define PINS           32
#define IOAPIC_VERSION 0x11u

#define MMIO_IOREGSEL 0x00
#define MMIO_IOWIN    0x10

/* Indirect registers. */
enum { REG_ID = 0x00, REG_VERSION = 0x01, REG_ARB = 0x02, REG_REDTBL = 0x10 };

/* Redirection entry. */
#define RTE_VECTOR(rte)   ((uint8_t)(rte))
#define RTE_DELIVERY(rte) ((rte) >> 8 & 7)
#define RTE_LOGICAL       BIT(11)
#define RTE_PENDING       BIT(12)
#define RTE_REMOTE_IRR    BIT(14)
#define RTE_LEVEL         BIT(15)
#define RTE_MASKED        BIT(16)
#define RTE_DEST(rte)     ((uint32_t)((rte) >> 56))
#define RTE_READ_ONLY     (RTE_PENDING | RTE_REMOTE_IRR)
#define RTE_WRITABLE      ((MASK(63, 56) | MASK(16, 0)) & ~RTE_READ_ONLY)

struct ioapic {
	struct vm *vm;
	pthread_mutex_t lock;
	uint32_t id;
	uint8_t select;
	uint64_t redtbl[PINS];
	uint32_t asserted[PINS]; /* how many sources hold the pin */
};

static struct apic_message message_of(uint64_t rte)
{
	return (struct apic_message){
	    .destination = RTE_DEST(rte),
	    .logical = (rte & RTE_LOGICAL) != 0,
	    .level = (rte & RTE_LEVEL) != 0,
	    .delivery = RTE_DELIVERY(rte),
	    .vector = RTE_VECTOR(rte),
	};
}

static void send(struct ioapic *ioapic, unsigned pin)
{
	const struct apic_message message = message_of(ioapic->redtbl[pin]);

	apic_deliver(ioapic->vm, &message);
}

/*
 * The engine keeps a pin's route while it is masked: the EOI of an interrupt
 * that was sent before is still to come.
 */
static void announce(struct ioapic *ioapic, unsigned pin)
{
	const struct apic_message message = message_of(ioapic->redtbl[pin]);

	if ((ioapic->redtbl[pin] & RTE_MASKED) == 0)
		apic_route(ioapic->vm, pin, &message);
}

void ioapic_announce(struct vm *vm)
{
	struct ioapic *ioapic = vm->ioapic;

	pthread_mutex_lock(&ioapic->lock);
	for (unsigned pin = 0; pin < PINS; pin++)
		announce(ioapic, pin);
	pthread_mutex_unlock(&ioapic->lock);
}

/* Only fixed and lowest priority wait for an EOI. */
static bool is_level(uint64_t rte)
{
	return (rte & RTE_LEVEL) != 0 && RTE_DELIVERY(rte) <= APIC_LOWEST;
}

/* A level pin sends again as long as it is held and nobody is on it. */
static void evaluate_level(struct ioapic *ioapic, unsigned pin)
{
	uint64_t rte = ioapic->redtbl[pin];

	if (!is_level(rte) || ioapic->asserted[pin] == 0 ||
	    (rte & (RTE_MASKED | RTE_REMOTE_IRR)) != 0)
		return;
	ioapic->redtbl[pin] |= RTE_REMOTE_IRR;
	send(ioapic, pin);
}

void ioapic_set_pin(struct vm *vm, unsigned pin, bool level)
{
	struct ioapic *ioapic = vm->ioapic;
	uint64_t rte;

	if (pin >= PINS)
		return;
	pthread_mutex_lock(&ioapic->lock);
	if (!level) {
		if (ioapic->asserted[pin] > 0)
			ioapic->asserted[pin]--;
	} else if (ioapic->asserted[pin]++ == 0) {
		rte = ioapic->redtbl[pin];
		if (is_level(rte))
			evaluate_level(ioapic, pin);
		else if ((rte & RTE_MASKED) == 0)
			send(ioapic, pin);
	}
	pthread_mutex_unlock(&ioapic->lock);
}

void ioapic_eoi(struct vm *vm, uint8_t vector)
{
	struct ioapic *ioapic = vm->ioapic;

	if (ioapic == NULL)
		return;
	pthread_mutex_lock(&ioapic->lock);
	for (unsigned pin = 0; pin < PINS; pin++) {
		uint64_t rte = ioapic->redtbl[pin];

		if ((rte & RTE_REMOTE_IRR) == 0 || RTE_VECTOR(rte) != vector)
			continue;
		ioapic->redtbl[pin] &= ~RTE_REMOTE_IRR;
		evaluate_level(ioapic, pin);
	}
	pthread_mutex_unlock(&ioapic->lock);
}

unsigned ioapic_pincount(struct vm *vm)
{
	return PINS;
}

/* -- registers ------------------------------------------------------------- */

static uint32_t reg_read(const struct ioapic *ioapic, uint8_t reg)
{
	unsigned pin = (reg - REG_REDTBL) / 2;

	switch (reg) {
	case REG_ID:
	case REG_ARB: /* loaded from the id; there is no APIC bus to win */
		return ioapic->id;
	case REG_VERSION:
		return (PINS - 1) << 16 | IOAPIC_VERSION;
	default:
		if (reg < REG_REDTBL || pin >= PINS)
			return 0;
		return (uint32_t)(ioapic->redtbl[pin] >> (reg & 1) * 32);
	}
}

/*
 * Edge trigger clears remote IRR: that is how guests end a level interrupt on
 * this version, which has no EOI register.
 */
static void redtbl_write(struct ioapic *ioapic, unsigned pin, bool high,
			 uint32_t value)
{
	uint64_t mask = RTE_WRITABLE & (high ? MASK(63, 32) : MASK(31, 0));
	uint64_t rte = ioapic->redtbl[pin];

	rte = (rte & ~mask) | ((uint64_t)value << (high ? 32 : 0) & mask);
	if ((rte & RTE_LEVEL) == 0)
		rte &= ~RTE_REMOTE_IRR;
	ioapic->redtbl[pin] = rte;
	announce(ioapic, pin);
	evaluate_level(ioapic, pin);
}

static void reg_write(struct ioapic *ioapic, uint8_t reg, uint32_t value)
{
	unsigned pin = (reg - REG_REDTBL) / 2;

	if (reg == REG_ID)
		ioapic->id = value & 0x0f000000;
	else if (reg >= REG_REDTBL && pin < PINS)
		redtbl_write(ioapic, pin, (reg & 1) != 0, value);
}

uint64_t ioapic_mmio_read(struct vm *vm, uint64_t offset, unsigned bytes)
{
	struct ioapic *ioapic = vm->ioapic;
	uint32_t value = 0;

	pthread_mutex_lock(&ioapic->lock);
	if (offset == MMIO_IOREGSEL)
		value = ioapic->select;
	else if (offset == MMIO_IOWIN)
		value = reg_read(ioapic, ioapic->select);
	pthread_mutex_unlock(&ioapic->lock);
	return bytes >= 4 ? value : value & MASK(bytes * 8 - 1, 0);
}

void ioapic_mmio_write(struct vm *vm, uint64_t offset, unsigned bytes,
		       uint64_t value)
{
	struct ioapic *ioapic = vm->ioapic;

	pthread_mutex_lock(&ioapic->lock);
	if (offset == MMIO_IOREGSEL)
		ioapic->select = (uint8_t)value;
	else if (offset == MMIO_IOWIN && bytes >= 4)
		reg_write(ioapic, ioapic->select, (uint32_t)value);
	pthread_mutex_unlock(&ioapic->lock);
}

/* -- life ------------------------------------------------------------------ */

/* Lines stay as their sources hold them. */
static void ioapic_reset(struct vm *vm)
{
	struct ioapic *ioapic = vm->ioapic;

	pthread_mutex_lock(&ioapic->lock);
	ioapic->id = 0;
	ioapic->select = 0;
	for (unsigned pin = 0; pin < PINS; pin++)
		ioapic->redtbl[pin] = RTE_MASKED;
	pthread_mutex_unlock(&ioapic->lock);
}

static int ioapic_create(struct vm *vm)
{
	struct ioapic *ioapic = calloc(1, sizeof(*ioapic));

	if (ioapic == NULL)
		return -ENOMEM;
	ioapic->vm = vm;
	pthread_mutex_init(&ioapic->lock, NULL);
	vm->ioapic = ioapic;
	ioapic_reset(vm);
	return 0;
}

static void ioapic_destroy(struct vm *vm)
{
	if (vm->ioapic == NULL)
		return;
	pthread_mutex_destroy(&vm->ioapic->lock);
	free(vm->ioapic);
	vm->ioapic = NULL;
}

static void *ioapic_object(struct vm *vm)
{
	return vm->ioapic;
}

static int ioapic_post_load(void *object)
{
	const struct ioapic *ioapic = object;

	for (unsigned pin = 0; pin < PINS; pin++)
		if ((ioapic->redtbl[pin] & ~(RTE_WRITABLE | RTE_READ_ONLY)) !=
		    0)
			return -EINVAL;
	return 0;
}

static const struct state_field ioapic_fields[] = {
    STATE_SCALAR(struct ioapic, id),
    STATE_SCALAR(struct ioapic, select),
    STATE_ARRAY(struct ioapic, redtbl),
    STATE_ARRAY(struct ioapic, asserted),
};

static const struct state_class ioapic_state_class = {
    .name = "ioapic",
    .version = 1,
    .fields = ioapic_fields,
    .field_count = ARRAY_SIZE(ioapic_fields),
    .post_load = ioapic_post_load,
};

const struct room_device ioapic_device = {
    .name = "ioapic",
    .state = &ioapic_state_class,
    .create = ioapic_create,
    .destroy = ioapic_destroy,
    .reset = ioapic_reset,
    .object = ioapic_object,
};
