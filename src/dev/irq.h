/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The board's interrupt wires. Several devices may share one: it is up while
 * any of them holds it up. ISA IRQs go to the 8259 pair and to the IOAPIC pin
 * of the same number; PCI's INTx wires go to an IOAPIC pin of their own, and,
 * through the LPC bridge's PIRQ router, to the 8259 pair.
 *
 * Any thread, also under a device's lock.
 */
#ifndef DEV_IRQ_H
#define DEV_IRQ_H

#include <pthread.h>
#include <stdbool.h>
#include <vmmapi.h>

#include "base/err.h"

#define IRQ_ISA_COUNT    16
#define IRQ_PIN_MAX      64
#define IRQ_PIRQ_COUNT   8
#define IRQ_FIRST_PCI    16 /* IOAPIC pin */
#define IRQ_PIRQ_IRQ     0x0f
#define IRQ_PIRQ_BITS    0x8f
#define IRQ_PIRQ_DISABLE 0x80

struct irq_wires {
	struct vmctx *ctx;
	pthread_mutex_t lock;
	unsigned int isa[IRQ_ISA_COUNT]; /* holders, among ISA devices */
	unsigned int pic[IRQ_ISA_COUNT]; /* the same, PIRQs added */
	unsigned int pins[IRQ_PIN_MAX];
	unsigned int pirqs[IRQ_PIRQ_COUNT];
	uint8_t pirq_reg[IRQ_PIRQ_COUNT]; /* bit 7: off; 3:0 ISA IRQ */

	/* Only while the board is made. */
	uint16_t isa_taken; /* IRQs that PIRQs must leave alone */
	unsigned int pincount;
	unsigned int next_pin;
	unsigned int pirq_users[IRQ_PIRQ_COUNT];
};

/* A wire from one INTx pin of one slot. */
struct irq_intx {
	uint8_t pin;  /* of the IOAPIC */
	uint8_t pirq; /* 0 is PIRQA */
};

int irq_wires_init(struct irq_wires *irqs, struct vmctx *ctx, struct err *err);
void irq_wires_destroy(struct irq_wires *irqs);

/* One holder raises or lowers a wire; it must alternate. */
void irq_set_isa(struct irq_wires *irqs, unsigned int irq, bool level);
void irq_set_pin(struct irq_wires *irqs, unsigned int pin, bool level);
void irq_set_intx(struct irq_wires *irqs, const struct irq_intx *wire,
		  bool level);

/* The PIRQ routing registers of the LPC bridge. */
uint8_t irq_pirq_read(struct irq_wires *irqs, unsigned int pirq);
void irq_pirq_write(struct irq_wires *irqs, unsigned int pirq, uint8_t value);

/* While the board is made: an ISA device claims its IRQ; then each INTx pin
   gets a wire, and the ISA IRQ that it reaches the 8259 pair by. */
void irq_claim_isa(struct irq_wires *irqs, unsigned int irq);
uint8_t irq_route_intx(struct irq_wires *irqs, struct irq_intx *wire);

#endif
