// SPDX-License-Identifier: BSD-2-Clause
/*
 * The split interrupt controller: local APICs are KVM's, IOAPIC and PIC the
 * room's. Messages go in by KVM_SIGNAL_MSI from any thread. For each IOAPIC
 * pin KVM has a route, by which it knows whose EOI the IOAPIC waits for; what
 * the PIC has goes in by KVM_INTERRUPT, on the vCPU's thread (run.c).
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"
#include "x86/msr.h"

/* SDM vol. 3, 11.11; bit 14 of the data is the level of a level trigger. */
#define MSI_ADDRESS    0xfee00000u
#define MSI_LOGICAL    BIT(2)
#define MSI_DEST_SHIFT 12
#define MSI_ASSERT     BIT(14)
#define MSI_LEVEL      BIT(15)
#define MSI_MODE_SHIFT 8

/* Not in Debian 12's headers. */
#ifndef KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST
#define KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST (1ull << 3)
#endif

int kvm_irqchip_create(struct kvm_vm *kvm, struct err *err)
{
	struct kvm_enable_cap split = {
	    .cap = KVM_CAP_SPLIT_IRQCHIP,
	    .args = {KVM_PINS},
	};
	struct kvm_enable_cap x2apic = {
	    .cap = KVM_CAP_X2APIC_API,
	    .args = {KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST},
	};
	int flags = ioctl(kvm->kvm, KVM_CHECK_EXTENSION, KVM_CAP_X2APIC_API);

	if (ioctl(kvm->fd, KVM_ENABLE_CAP, &split) != 0)
		return kvm_failed(err, kvm->vm->name,
				  "KVM_ENABLE_CAP (SPLIT_IRQCHIP)", errno,
				  "use engine=soft");
	/* The room's IOAPIC has no EOI register that a guest could use. */
	if (flags > 0 &&
	    (flags & (int)KVM_X2APIC_DISABLE_SUPPRESS_EOI_BROADCAST) != 0)
		ioctl(kvm->fd, KVM_ENABLE_CAP, &x2apic);
	kvm->routes.head.nr = KVM_PINS;
	for (unsigned pin = 0; pin < KVM_PINS; pin++)
		kvm->routes.pin[pin] = (struct kvm_irq_routing_entry){
		    .gsi = pin,
		    .type = KVM_IRQ_ROUTING_MSI,
		    .u.msi.address_lo = MSI_ADDRESS,
		};
	if (ioctl(kvm->fd, KVM_SET_GSI_ROUTING, &kvm->routes) != 0)
		return kvm_failed(err, kvm->vm->name, "KVM_SET_GSI_ROUTING",
				  errno, "use engine=soft");
	kvm->routes_are_set = true;
	return 0;
}

/* -- messages ---------------------------------------------------------------
 */

static uint32_t address_of(const struct apic_message *m)
{
	return MSI_ADDRESS | (m->destination & 0xff) << MSI_DEST_SHIFT |
	       (m->logical ? (uint32_t)MSI_LOGICAL : 0);
}

static uint32_t data_of(const struct apic_message *m)
{
	return m->vector | (uint32_t)m->delivery << MSI_MODE_SHIFT |
	       (uint32_t)MSI_ASSERT | (m->level ? (uint32_t)MSI_LEVEL : 0);
}

/* There is no SMM; ExtINT comes through LINT0 only. */
static bool is_for_apics(const struct apic_message *m)
{
	return m->delivery != APIC_SMI && m->delivery != APIC_EXTINT;
}

static void deliver(struct vm *vm, const struct apic_message *message)
{
	struct kvm_vm *kvm = vm->engine_data;
	struct kvm_msi msi = {
	    .address_lo = address_of(message),
	    .data = data_of(message),
	};

	if (is_for_apics(message))
		ioctl(kvm->fd, KVM_SIGNAL_MSI, &msi);
}

/* Guests write both halves of an entry: most writes change nothing here. */
static void route(struct vm *vm, unsigned pin,
		  const struct apic_message *message)
{
	struct kvm_vm *kvm = vm->engine_data;
	struct kvm_irq_routing_msi *to = &kvm->routes.pin[pin].u.msi;
	uint32_t address = address_of(message), data = data_of(message);

	pthread_mutex_lock(&kvm->lock);
	if (!kvm->routes_are_set || to->address_lo != address ||
	    to->data != data) {
		to->address_lo = address;
		to->data = data;
		kvm->routes_are_set =
		    ioctl(kvm->fd, KVM_SET_GSI_ROUTING, &kvm->routes) == 0;
	}
	pthread_mutex_unlock(&kvm->lock);
}

/* -- doorbells --------------------------------------------------------------
 */

void kvm_doorbell(struct vm *vm, const struct doorbell *bell, bool add)
{
	struct kvm_vm *kvm = vm->engine_data;
	struct kvm_ioeventfd arg = {
	    .addr = bell->addr,
	    .len = bell->bytes,
	    .fd = bell->fd,
	    .datamatch = bell->match,
	    .flags = (bell->is_port ? KVM_IOEVENTFD_FLAG_PIO : 0) |
		     (bell->has_match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
		     (add ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	ioctl(kvm->fd, KVM_IOEVENTFD, &arg);
}

/* -- local pins -------------------------------------------------------------
 */

static void local_irq(struct vmcpu *vcpu, unsigned lvt_pin)
{
	struct kvm_cpu *c = vcpu->engine_data;

	atomic_fetch_or(&c->local_irqs, 1u << lvt_pin);
	vcpu_request(vcpu, VCPU_REQ_ENGINE);
}

#define LVT_MASKED BIT(16)
#define SVR_ENABLE BIT(8)

static uint32_t apic_reg(const struct kvm_lapic_state *s, unsigned at)
{
	uint32_t value;

	memcpy(&value, s->regs + at, sizeof(value));
	return value;
}

static void fire(struct kvm_cpu *c, const struct kvm_lapic_state *s,
		 unsigned lvt_pin)
{
	static const uint16_t lvt_at[] = {0x350, 0x360, 0x320,
					  0x370, 0x340, 0x330};
	uint32_t lvt = apic_reg(s, lvt_at[lvt_pin]);

	/* LINT1 is the NMI pin of an APIC that is off (SDM vol. 3, 11.4.3) */
	if ((apic_reg(s, 0xf0) & SVR_ENABLE) == 0)
		lvt = lvt_pin == 1 ? APIC_NMI << 8 : (uint32_t)LVT_MASKED;
	if ((lvt & LVT_MASKED) != 0)
		return;
	if ((lvt >> 8 & 7) == APIC_NMI)
		vcpu_request(c->vcpu, VCPU_REQ_NMI);
	else if ((lvt >> 8 & 7) == APIC_FIXED)
		vcpu_lapic_irq(c->vcpu, lvt & 0xff);
}

static int lapic_failed(struct kvm_cpu *c, const char *call)
{
	return kvm_failed(&c->vcpu->failure, c->vcpu->vm->name, call, errno,
			  "use engine=soft");
}

int kvm_serve_local_irqs(struct kvm_cpu *c)
{
	uint32_t pins = atomic_exchange(&c->local_irqs, 0);
	struct kvm_lapic_state s;

	if (pins == 0)
		return 0;
	if (ioctl(c->fd, KVM_GET_LAPIC, &s) != 0)
		return lapic_failed(c, "KVM_GET_LAPIC");
	for (unsigned pin = 0; pin < 6; pin++)
		if ((pins & 1u << pin) != 0)
			fire(c, &s, pin);
	return 0;
}

/* -- state ------------------------------------------------------------------
 */

static int deadline_access(struct kvm_cpu *c, unsigned long request,
			   uint64_t *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = {.head.nmsrs = 1,
		 .entry = {.index = MSR_TSC_DEADLINE, .data = *value}};

	if (ioctl(c->fd, request, &msr) != 1)
		return -EINVAL;
	*value = msr.entry.data;
	return 0;
}

int kvm_deadline_restart(struct kvm_cpu *c)
{
	uint64_t deadline = c->deadline;

	c->deadline = 0;
	if (deadline == 0 && deadline_access(c, KVM_GET_MSRS, &deadline) != 0)
		return 0;
	return deadline == 0 ? 0 : deadline_access(c, KVM_SET_MSRS, &deadline);
}

static void set_vector(uint8_t *page, unsigned at, unsigned vector, bool value)
{
	uint8_t *byte = page + at + vector / 32 * 16 + vector % 32 / 8;
	uint8_t bit = (uint8_t)(1u << vector % 8);

	*byte = (uint8_t)(value ? *byte | bit : *byte & ~bit);
}

static bool has_vector(const uint8_t *page, unsigned at, unsigned vector)
{
	return (page[at + vector / 32 * 16 + vector % 32 / 8] >> vector % 8 &
		1) != 0;
}

/* Accepted, but not delivered: another engine has to do it over. */
static void take_back(struct kvm_cpu *c, struct lapic_image *image)
{
	unsigned vector = c->accepted.nr;

	if (!c->accepted.injected || c->accepted.soft)
		return;
	c->accepted.injected = 0;
	if (!has_vector(image->page, 0x100, vector)) {
		extint_return(c->vcpu, (int)vector);
		return;
	}
	set_vector(image->page, 0x100, vector, false);
	set_vector(image->page, 0x200, vector, true);
}

static int lapic_get(struct vmcpu *vcpu)
{
	struct kvm_cpu *c = vcpu->engine_data;
	struct kvm_lapic_state page;
	struct kvm_sregs2 sregs;
	struct lapic_image image = {.tsc_deadline = c->deadline};

	_Static_assert(sizeof(page.regs) == LAPIC_PAGE_BYTES, "the same page");
	/* on its way in, KVM may accept what is pending */
	kvm_flush_timer(c);
	if (kvm_note_accepted(c) != 0)
		return -EIO;
	if (ioctl(c->fd, KVM_GET_LAPIC, &page) != 0 ||
	    ioctl(c->fd, KVM_GET_SREGS2, &sregs) != 0)
		return -errno;
	if (image.tsc_deadline == 0 &&
	    deadline_access(c, KVM_GET_MSRS, &image.tsc_deadline) != 0)
		return -EIO;
	image.base = sregs.apic_base;
	memcpy(image.page, page.regs, sizeof(image.page));
	take_back(c, &image);
	lapic_import(vcpu->lapic, &image);
	return 0;
}

/* The deadline waits for the TSC, which is set when the vCPU first runs. */
static int lapic_set(struct vmcpu *vcpu)
{
	struct kvm_cpu *c = vcpu->engine_data;
	struct kvm_lapic_state page;
	struct kvm_sregs2 sregs;
	struct lapic_image image;

	lapic_export(vcpu->lapic, &image);
	memcpy(page.regs, image.page, sizeof(page.regs));
	if (ioctl(c->fd, KVM_GET_SREGS2, &sregs) != 0)
		return lapic_failed(c, "KVM_GET_SREGS2");
	sregs.apic_base = image.base;
	sregs.cr8 = image.page[0x80] >> 4;
	if (ioctl(c->fd, KVM_SET_SREGS2, &sregs) != 0)
		return lapic_failed(c, "KVM_SET_SREGS2");
	if (ioctl(c->fd, KVM_SET_LAPIC, &page) != 0)
		return lapic_failed(c, "KVM_SET_LAPIC");
	c->deadline = image.tsc_deadline;
	c->tsc_offset_is_set = false; /* with which it goes in */
	return 0;
}

/* A look at what has come since, without entering the guest. */
static bool is_idle(struct vmcpu *vcpu)
{
	struct kvm_cpu *c = vcpu->engine_data;
	struct kvm_mp_state mp;

	if (c->unfinished || c->unserved || c->pending != KVM_PENDING_NONE ||
	    (atomic_load(&vcpu->requests) & ~(uint32_t)VCPU_REQ_ENGINE) != 0)
		return false;
	if (atomic_fetch_and(&vcpu->requests, ~(uint32_t)VCPU_REQ_ENGINE) &
	    VCPU_REQ_ENGINE) {
		kvm_idle_answer(c);
		if (kvm_serve_local_irqs(c) != 0)
			return false;
	}
	if (ioctl(c->fd, KVM_GET_MP_STATE, &mp) != 0 ||
	    mp.mp_state == KVM_MP_STATE_RUNNABLE)
		return false;
	kvm_flush_timer(c);
	return ioctl(c->fd, KVM_GET_MP_STATE, &mp) == 0 &&
	       mp.mp_state != KVM_MP_STATE_RUNNABLE;
}

const struct engine_apic_ops kvm_apic_ops = {
    .is_idle = is_idle,
    .deliver = deliver,
    .route = route,
    .local_irq = local_irq,
    .get = lapic_get,
    .set = lapic_set,
};
