// SPDX-License-Identifier: BSD-2-Clause
/* Interrupt wires: counting holders, and the PIRQ router. */
#include "dev/irq.h"

#include <errno.h>
#include <string.h>

/* ISA IRQs that a PIRQ can use at all (PIIX data sheet, PIRQRC): not the
   timer, keyboard, cascade, RTC and coprocessor. */
#define PIRQ_ALLOWED 0xdef8u

int irq_wires_init(struct irq_wires *irqs, struct vmctx *ctx, struct err *err)
{
	int pincount;

	memset(irqs, 0, sizeof(*irqs));
	irqs->ctx = ctx;
	if (vm_ioapic_pincount(ctx, &pincount) < 0)
		return err_sys(err, errno, "IOAPIC");
	if (pincount <= IRQ_FIRST_PCI)
		return err_set(err, EINVAL, "IOAPIC: %d pins, none for PCI",
			       pincount);
	irqs->pincount = MIN((unsigned int)pincount, IRQ_PIN_MAX);
	memset(irqs->pirq_reg, IRQ_PIRQ_DISABLE, sizeof(irqs->pirq_reg));
	pthread_mutex_init(&irqs->lock, NULL);
	return 0;
}

void irq_wires_destroy(struct irq_wires *irqs)
{
	pthread_mutex_destroy(&irqs->lock);
}

/* One more or one less holder; true when the wire changes its level. */
static bool hold(unsigned int *holders, bool level)
{
	if (level)
		return (*holders)++ == 0;
	return *holders > 0 && --*holders == 0;
}

/* ioapic_irq -1: not that one. */
static void drive_isa(struct irq_wires *irqs, unsigned int irq, int ioapic_irq,
		      bool level)
{
	if (level)
		vm_isa_assert_irq(irqs->ctx, (int)irq, ioapic_irq);
	else
		vm_isa_deassert_irq(irqs->ctx, (int)irq, ioapic_irq);
}

static void drive_pin(struct irq_wires *irqs, unsigned int pin, bool level)
{
	if (level)
		vm_ioapic_assert_irq(irqs->ctx, (int)pin);
	else
		vm_ioapic_deassert_irq(irqs->ctx, (int)pin);
}

void irq_set_isa(struct irq_wires *irqs, unsigned int irq, bool level)
{
	bool pin;
	bool pic;

	pthread_mutex_lock(&irqs->lock);
	pin = hold(&irqs->isa[irq], level);
	pic = hold(&irqs->pic[irq], level);
	if (pic)
		drive_isa(irqs, irq, pin ? (int)irq : -1, level);
	else if (pin)
		drive_pin(irqs, irq, level);
	pthread_mutex_unlock(&irqs->lock);
}

/* A PIRQ that is up reaches its ISA IRQ, or leaves it. */
static void drive_pirq(struct irq_wires *irqs, unsigned int pirq, bool level)
{
	unsigned int irq = irqs->pirq_reg[pirq] & IRQ_PIRQ_IRQ;

	if (irqs->pirq_reg[pirq] & IRQ_PIRQ_DISABLE ||
	    !(PIRQ_ALLOWED & BIT(irq)))
		return;
	if (hold(&irqs->pic[irq], level))
		drive_isa(irqs, irq, -1, level);
}

/* A pin of the IOAPIC from IRQ_FIRST_PCI on, and nothing else. */
void irq_set_pin(struct irq_wires *irqs, unsigned int pin, bool level)
{
	pthread_mutex_lock(&irqs->lock);
	if (hold(&irqs->pins[pin], level))
		drive_pin(irqs, pin, level);
	pthread_mutex_unlock(&irqs->lock);
}

void irq_set_intx(struct irq_wires *irqs, const struct irq_intx *wire,
		  bool level)
{
	pthread_mutex_lock(&irqs->lock);
	if (hold(&irqs->pins[wire->pin], level))
		drive_pin(irqs, wire->pin, level);
	if (hold(&irqs->pirqs[wire->pirq], level))
		drive_pirq(irqs, wire->pirq, level);
	pthread_mutex_unlock(&irqs->lock);
}

uint8_t irq_pirq_read(struct irq_wires *irqs, unsigned int pirq)
{
	uint8_t value;

	pthread_mutex_lock(&irqs->lock);
	value = irqs->pirq_reg[pirq];
	pthread_mutex_unlock(&irqs->lock);
	return value;
}

void irq_pirq_write(struct irq_wires *irqs, unsigned int pirq, uint8_t value)
{
	pthread_mutex_lock(&irqs->lock);
	if (irqs->pirqs[pirq] > 0)
		drive_pirq(irqs, pirq, false);
	irqs->pirq_reg[pirq] = value & IRQ_PIRQ_BITS;
	if (irqs->pirqs[pirq] > 0)
		drive_pirq(irqs, pirq, true);
	pthread_mutex_unlock(&irqs->lock);
}

/* -- while the board is made ----------------------------------------------- */

void irq_claim_isa(struct irq_wires *irqs, unsigned int irq)
{
	irqs->isa_taken |= (uint16_t)BIT(irq);
}

/* The free ISA IRQ that fewest PIRQs use; all of them, if none is free. */
static unsigned int choose_isa(const struct irq_wires *irqs)
{
	unsigned int users[IRQ_ISA_COUNT] = {0};
	unsigned int allowed = PIRQ_ALLOWED & ~irqs->isa_taken;
	unsigned int best = IRQ_ISA_COUNT;

	if (allowed == 0)
		allowed = PIRQ_ALLOWED;
	for (unsigned int i = 0; i < IRQ_PIRQ_COUNT; i++) {
		if (irqs->pirq_users[i] > 0)
			users[irqs->pirq_reg[i] & IRQ_PIRQ_IRQ]++;
	}
	for (unsigned int irq = 0; irq < IRQ_ISA_COUNT; irq++) {
		if (allowed & BIT(irq) &&
		    (best == IRQ_ISA_COUNT || users[irq] < users[best]))
			best = irq;
	}
	return best;
}

uint8_t irq_route_intx(struct irq_wires *irqs, struct irq_intx *wire)
{
	unsigned int pirq = 0;
	unsigned int irq;

	for (unsigned int i = 1; i < IRQ_PIRQ_COUNT; i++) {
		if (irqs->pirq_users[i] < irqs->pirq_users[pirq])
			pirq = i;
	}
	if (irqs->pirq_users[pirq] == 0) {
		irq = choose_isa(irqs);
		irqs->pirq_reg[pirq] = (uint8_t)irq;
		vm_isa_set_irq_trigger(irqs->ctx, (int)irq, LEVEL_TRIGGER);
	}
	irqs->pirq_users[pirq]++;
	wire->pirq = (uint8_t)pirq;
	wire->pin = (uint8_t)(IRQ_FIRST_PCI + irqs->next_pin);
	irqs->next_pin =
	    (irqs->next_pin + 1) % (irqs->pincount - IRQ_FIRST_PCI);
	return irqs->pirq_reg[pirq] & IRQ_PIRQ_IRQ;
}
