/* SPDX-License-Identifier: BSD-2-Clause */
/* The ways of an interrupt: lines, messages, and the engine's questions. */
#include "vmm/irq.h"

#include <errno.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/vm.h"

#define ISA_IRQS     16
#define ISA_TIMER    0
#define ISA_CASCADE  2
#define TIMER_IO_PIN 2 /* the MADT's override */

/* SDM vol. 3, 11.11. */
#define MSI_ADDRESS        0xfee00000ull
#define MSI_LOGICAL        BIT(2)
#define MSI_DELIVERY(data) (((data) >> 8) & 7)

void isa_set_irq(struct vm *vm, unsigned irq, bool level)
{
	if (irq >= ISA_IRQS || irq == ISA_CASCADE)
		return;
	pic_set_irq(vm, irq, level);
	ioapic_set_pin(vm, irq == ISA_TIMER ? TIMER_IO_PIN : irq, level);
}

/*
 * Whether the destination is logical is told by its bit alone, as CPUs do it;
 * the redirection hint only says that one of several may be chosen. PCI has
 * no level-triggered messages, so that bit is not looked at.
 */
int msi_send(struct vm *vm, uint64_t addr, uint64_t data)
{
	const struct apic_message message = {
	    .destination = addr >> 12 & 0xff,
	    .logical = (addr & MSI_LOGICAL) != 0,
	    .delivery = MSI_DELIVERY(data),
	    .vector = data & 0xff,
	};

	if ((addr & ~0xfffffull) != MSI_ADDRESS)
		return -EINVAL;
	apic_deliver(vm, &message);
	return 0;
}

static const struct engine_apic_ops *engine_apic(const struct vm *vm)
{
	const struct engine_ops *engine =
	    __atomic_load_n(&vm->engine, __ATOMIC_ACQUIRE);

	return engine == NULL ? NULL : engine->apic;
}

static struct lapic *vm_lapic(struct vm *vm, unsigned id)
{
	return vm->vcpu[id] == NULL ? NULL : vm->vcpu[id]->lapic;
}

static void deliver_lowest(struct vm *vm, const struct apic_message *message)
{
	struct lapic *chosen = NULL;
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		struct lapic *lapic = vm_lapic(vm, i);
		uint64_t rank;

		if (lapic == NULL || !lapic_matches(lapic, message))
			continue;
		rank = lapic_arbitration(lapic);
		if (rank < best) {
			best = rank;
			chosen = lapic;
		}
	}
	if (chosen != NULL)
		lapic_accept(chosen, message);
}

void apic_deliver(struct vm *vm, const struct apic_message *message)
{
	const struct engine_apic_ops *apic = engine_apic(vm);

	if (apic != NULL) {
		apic->deliver(vm, message);
		return;
	}
	if (message->delivery == APIC_LOWEST) {
		deliver_lowest(vm, message);
		return;
	}
	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		struct lapic *lapic = vm_lapic(vm, i);

		if (lapic != NULL && lapic_matches(lapic, message))
			lapic_accept(lapic, message);
	}
}

void apic_route(struct vm *vm, unsigned pin, const struct apic_message *message)
{
	const struct engine_apic_ops *apic = engine_apic(vm);

	if (apic != NULL)
		apic->route(vm, pin, message);
}

/* Whether a local APIC lets it through is the engine's to know, or the
   room's. */
void extint_raised(struct vm *vm)
{
	bool any = engine_apic(vm) != NULL;

	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		struct vmcpu *vcpu = vm->vcpu[i];

		if (vcpu == NULL || vcpu->lapic == NULL)
			continue;
		if (any)
			vcpu_request(vcpu, VCPU_REQ_INTR);
		else
			lapic_extint_raised(vcpu->lapic);
	}
}

int vcpu_lapic_irq(struct vmcpu *vcpu, unsigned vector)
{
	const struct engine_apic_ops *apic = engine_apic(vcpu->vm);
	const struct apic_message message = {
	    .destination = vcpu->id,
	    .delivery = APIC_FIXED,
	    .vector = (uint8_t)vector,
	};

	if (vector < 16 || vector > 255)
		return -EINVAL;
	if (apic == NULL)
		return lapic_set_vector(vcpu->lapic, (uint8_t)vector, false);
	apic->deliver(vcpu->vm, &message);
	return 0;
}

#define LOCAL_PINS 6 /* FreeBSD's APIC_LVT_LINT0 to APIC_LVT_THERMAL */

int vcpu_local_irq(struct vmcpu *vcpu, unsigned lvt_pin)
{
	const struct engine_apic_ops *apic = engine_apic(vcpu->vm);

	if (lvt_pin >= LOCAL_PINS)
		return -EINVAL;
	if (apic == NULL)
		return lapic_local_irq(vcpu->lapic, (int)lvt_pin);
	apic->local_irq(vcpu, lvt_pin);
	return 0;
}

int extint_pending(struct vm *vm)
{
	return i8259_pending(vm);
}

int extint_accept(struct vmcpu *vcpu)
{
	int vector = i8259_intack(vcpu->vm);

	if (vector >= 0)
		vcpu->stats[VM_STAT_EXTINT]++;
	return vector;
}

void extint_return(struct vmcpu *vcpu, int vector)
{
	i8259_return(vcpu->vm, vector);
	vcpu_request(vcpu, VCPU_REQ_INTR);
}

int vcpu_intr_pending(struct vmcpu *vcpu)
{
	return lapic_pending(vcpu->lapic);
}

int vcpu_intr_accept(struct vmcpu *vcpu)
{
	return lapic_intack(vcpu->lapic);
}

void vcpu_intr_return(struct vmcpu *vcpu, int vector)
{
	if (!lapic_return(vcpu->lapic, vector))
		i8259_return(vcpu->vm, vector);
	vcpu_request(vcpu, VCPU_REQ_INTR);
}

uint8_t vcpu_get_cr8(struct vmcpu *vcpu)
{
	if (engine_apic(vcpu->vm) != NULL)
		return (uint8_t)vcpu->state.reg[VM_REG_GUEST_TPR];
	return lapic_get_cr8(vcpu->lapic);
}

void vcpu_set_cr8(struct vmcpu *vcpu, uint8_t cr8)
{
	if (engine_apic(vcpu->vm) != NULL)
		vcpu->state.reg[VM_REG_GUEST_TPR] = cr8;
	else
		lapic_set_cr8(vcpu->lapic, cr8);
}

void vcpu_tsc_changed(struct vmcpu *vcpu)
{
	lapic_tsc_changed(vcpu->lapic);
}
