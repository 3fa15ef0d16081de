/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Interrupts inside the room. Lines and messages may be raised from any
 * thread under any device lock. Lock order: vm > device > irq (PIC, IOAPIC)
 * > lapic; vcpu_request (vm.h) may be called under all of them.
 */
#ifndef VMM_IRQ_H
#define VMM_IRQ_H

#include <stdbool.h>
#include <stdint.h>

struct vm;
struct vmcpu;

/* An interrupt message on the APIC bus (SDM vol. 3, 11.6, 11.11). */
enum apic_delivery {
	APIC_FIXED = 0,
	APIC_LOWEST = 1,
	APIC_SMI = 2,
	APIC_NMI = 4,
	APIC_INIT = 5,
	APIC_STARTUP = 6,
	APIC_EXTINT = 7,
};

struct apic_message {
	uint32_t destination; /* APIC id or logical */
	bool logical;
	bool wide; /* an x2APIC's: destination has 32 bits, not 8 */
	bool level;
	uint8_t delivery; /* enum apic_delivery */
	uint8_t vector;
};

/*
 * Devices to the interrupt controllers. Sources that share a line are
 * counted, as in vmm.ko: a source raises it once and withdraws it once. A
 * pulse is both at once; inputs with edge trigger remember it.
 * isa_set_irq: ISA IRQ 0 is IOAPIC pin 2, IRQ n is pin n; 2 is the cascade.
 */
void isa_set_irq(struct vm *vm, unsigned irq, bool level); /* PIC + IOAPIC */
void pic_set_irq(struct vm *vm, unsigned irq, bool level); /* 0-15 */
void ioapic_set_pin(struct vm *vm, unsigned pin, bool level);
int msi_send(struct vm *vm, uint64_t addr, uint64_t data); /* -EINVAL */
void apic_deliver(struct vm *vm, const struct apic_message *message);
/* An IOAPIC pin was programmed to send this. */
void apic_route(struct vm *vm, unsigned pin,
		const struct apic_message *message);
/* The PIC's output went up. */
void extint_raised(struct vm *vm);
/* A vector or a local pin, as if by the local APIC's own doing: 0, -EINVAL. */
int vcpu_lapic_irq(struct vmcpu *vcpu, unsigned vector);
int vcpu_local_irq(struct vmcpu *vcpu, unsigned lvt_pin);
void ioapic_eoi(struct vm *vm, uint8_t vector); /* LAPIC to IOAPIC, level */

/* Engines, on the vCPU's thread. */

/* The vector that would be delivered now if RFLAGS.IF is set, or -1. */
int vcpu_intr_pending(struct vmcpu *vcpu);
/* Acknowledges it (IRR to ISR, or the PIC's INTA); -1 if it went away. */
int vcpu_intr_accept(struct vmcpu *vcpu);
/* The vector last accepted was not delivered after all: it is pending again. */
void vcpu_intr_return(struct vmcpu *vcpu, int vector);
/* The PIC alone, for engines that have local APICs themselves. */
int extint_pending(struct vm *vm);
int extint_accept(struct vmcpu *vcpu);
void extint_return(struct vmcpu *vcpu, int vector);
/* CR8 (the TPR's upper four bits). */
uint8_t vcpu_get_cr8(struct vmcpu *vcpu);
void vcpu_set_cr8(struct vmcpu *vcpu, uint8_t cr8);
/* After the TSC was written: a TSC-deadline may be nearer or further now. */
void vcpu_tsc_changed(struct vmcpu *vcpu);

#endif
