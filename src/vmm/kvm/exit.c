// SPDX-License-Identifier: BSD-2-Clause
/*
 * KVM's exits: the room's devices serve theirs, the rest goes to the process,
 * one element or access at a time. What is read goes into struct kvm_run and
 * into the guest's registers at the next KVM_RUN.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "vmm/bus.h"
#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"
#include "x86/exc.h"
#include "x86/msr.h"

static int leave(struct kvm_cpu *c, struct vm_exit *exit, enum vm_exitcode code,
		 enum kvm_pending pending)
{
	exit->exitcode = code;
	exit->rip = c->run->s.regs.regs.rip;
	c->pending = pending;
	return KVM_LEAVE;
}

static int stop(struct kvm_cpu *c, enum vm_suspend_how how)
{
	vm_stop(c->vcpu->vm, how);
	return KVM_GO_ON; /* the request brings us out */
}

/* Little-endian values of 1, 2, 4 or 8 bytes. */
static uint64_t load(const uint8_t *from, unsigned bytes)
{
	uint64_t value = 0;

	memcpy(&value, from, bytes);
	return le64toh(value);
}

static void store(uint8_t *to, unsigned bytes, uint64_t value)
{
	value = htole64(value);
	memcpy(to, &value, bytes);
}

/* -- ports ------------------------------------------------------------------
 */

static uint8_t *port_data(struct kvm_cpu *c)
{
	const struct kvm_run *run = c->run;

	return (uint8_t *)c->run + run->io.data_offset +
	       (size_t)c->piece * run->io.size;
}

static bool ports_are_inside(const struct kvm_cpu *c)
{
	const struct kvm_run *run = c->run;

	return (run->io.size == 1 || run->io.size == 2 || run->io.size == 4) &&
	       range_inside(run->io.data_offset,
			    (uint64_t)run->io.count * run->io.size,
			    c->kvm->run_size);
}

static int serve_port(struct kvm_cpu *c, struct vm_exit *exit)
{
	bool in = c->run->io.direction == KVM_EXIT_IO_IN;
	unsigned bytes = c->run->io.size;

	if (!ports_are_inside(c))
		return kvm_nonsense(c, "an I/O exit");
	for (; c->piece < c->run->io.count; c->piece++) {
		uint32_t value = in ? 0 : (uint32_t)load(port_data(c), bytes);

		if (room_pio(c->vcpu, c->run->io.port, bytes, in, &value) ==
		    0) {
			if (in)
				store(port_data(c), bytes, value);
			continue;
		}
		c->vcpu->stats[VM_STAT_INOUT]++;
		exit->u.inout = (struct vm_inout){
		    .port = c->run->io.port,
		    .bytes = (uint8_t)bytes,
		    .in = in,
		    .string = c->run->io.count > 1,
		    .rep = c->run->io.count > 1,
		    .eax = value,
		};
		return leave(c, exit, VM_EXITCODE_INOUT, KVM_PENDING_PORT);
	}
	return KVM_GO_ON;
}

/* -- memory -----------------------------------------------------------------
 */

/* A page crossing may leave an odd size: the largest power of two in it. */
static unsigned part_bytes(const struct kvm_cpu *c)
{
	unsigned part = c->run->mmio.len - c->piece;

	while (part & (part - 1))
		part &= part - 1;
	return part;
}

static int serve_mmio(struct kvm_cpu *c, struct vm_exit *exit)
{
	bool write = c->run->mmio.is_write != 0;

	if (c->run->mmio.len > sizeof(c->run->mmio.data))
		return kvm_nonsense(c, "an MMIO exit");
	for (; c->piece < c->run->mmio.len; c->piece += c->part_bytes) {
		uint64_t gpa = c->run->mmio.phys_addr + c->piece;
		uint8_t *data = c->run->mmio.data + c->piece;
		uint64_t value;

		c->part_bytes = (uint8_t)part_bytes(c);
		value = write ? load(data, c->part_bytes) : 0;
		if (room_mmio(c->vcpu, gpa, c->part_bytes, write, &value) ==
		    0) {
			if (!write)
				store(data, c->part_bytes, value);
			continue;
		}
		c->vcpu->stats[VM_STAT_INST_EMUL]++;
		exit->u.inst_emul = (struct vm_inst_emul){
		    .gpa = gpa,
		    .bytes = c->part_bytes,
		    .write = write,
		    .data = value,
		};
		return leave(c, exit, VM_EXITCODE_INST_EMUL, KVM_PENDING_MMIO);
	}
	return KVM_GO_ON;
}

/* -- MSRs -------------------------------------------------------------------
 */

static int serve_msr(struct kvm_cpu *c, struct vm_exit *exit)
{
	bool write = c->run->exit_reason == KVM_EXIT_X86_WRMSR;
	uint64_t value = write ? c->run->msr.data : 0;
	int error = kvm_msr_access(c, c->run->msr.index, write, &value);

	c->vcpu->stats[write ? VM_STAT_WRMSR : VM_STAT_RDMSR]++;
	c->run->msr.error = error == -EINVAL; /* #GP */
	if (error != -ENXIO) {
		if (!write)
			c->run->msr.data = value;
		return KVM_GO_ON;
	}
	exit->u.msr.code = c->run->msr.index;
	exit->u.msr.wval = value;
	exit->inst_length = 2;
	return write ? leave(c, exit, VM_EXITCODE_WRMSR, KVM_PENDING_WRMSR)
		     : leave(c, exit, VM_EXITCODE_RDMSR, KVM_PENDING_RDMSR);
}

/* -- the others -------------------------------------------------------------
 */

/* The guest may have asked for it by KVM's own ways. */
static int serve_system_event(struct kvm_cpu *c)
{
	switch (c->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		return stop(c, VM_SUSPEND_POWEROFF);
	case KVM_SYSTEM_EVENT_RESET:
		return stop(c, VM_SUSPEND_RESET);
	default:
		return kvm_gave_up(c);
	}
}

static int serve_debug(struct kvm_cpu *c, struct vm_exit *exit)
{
	if (c->run->debug.arch.exception == X86_BP) {
		exit->inst_length = 1;
		exit->u.bpt.inst_length = 1;
		return leave(c, exit, VM_EXITCODE_BPT, KVM_PENDING_NONE);
	}
	if (!c->cap_mtrap)
		return KVM_GO_ON;
	c->vcpu->stats[VM_STAT_MTRAP]++;
	return leave(c, exit, VM_EXITCODE_MTRAP, KVM_PENDING_NONE);
}

static int serve_reason(struct kvm_cpu *c, struct vm_exit *exit)
{
	switch (c->run->exit_reason) {
	case KVM_EXIT_IO:
		return serve_port(c, exit);
	case KVM_EXIT_MMIO:
		return serve_mmio(c, exit);
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		return serve_msr(c, exit);
	case KVM_EXIT_IOAPIC_EOI:
		ioapic_eoi(c->vcpu->vm, c->run->eoi.vector);
		return KVM_GO_ON;
	case KVM_EXIT_SYSTEM_EVENT:
		return serve_system_event(c);
	case KVM_EXIT_DEBUG:
		return serve_debug(c, exit);
	case KVM_EXIT_SHUTDOWN:
		return stop(c, VM_SUSPEND_TRIPLEFAULT);
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return KVM_GO_ON;
	default:
		return kvm_gave_up(c);
	}
}

int kvm_serve_exit(struct kvm_cpu *c, struct vm_exit *exit)
{
	return serve_reason(c, exit);
}

/* -- answers ----------------------------------------------------------------
 */

void kvm_take_answer(struct kvm_cpu *c, const struct vm_exit *exit)
{
	switch (c->pending) {
	case KVM_PENDING_PORT:
		if (c->run->io.direction == KVM_EXIT_IO_IN)
			store(port_data(c), c->run->io.size, exit->u.inout.eax);
		c->piece++;
		break;
	case KVM_PENDING_MMIO:
		if (!c->run->mmio.is_write)
			store(c->run->mmio.data + c->piece, c->part_bytes,
			      exit->u.inst_emul.data);
		c->piece += c->part_bytes;
		break;
	case KVM_PENDING_RDMSR:
		c->run->msr.data = exit->u.msr.wval;
		break;
	default:
		break;
	}
	/* A string's or an odd access' next piece is another exit. */
	if (c->pending == KVM_PENDING_PORT)
		c->unserved = c->piece < c->run->io.count;
	else if (c->pending == KVM_PENDING_MMIO)
		c->unserved = c->piece < c->run->mmio.len;
	c->pending = KVM_PENDING_NONE;
}

/* Asked without doing it: reads of a device may change it. */
bool kvm_exit_is_room_write(const struct kvm_cpu *c)
{
	const struct kvm_run *run = c->run;

	return run->exit_reason == KVM_EXIT_MMIO && run->mmio.is_write != 0 &&
	       room_owns_mmio(c->vcpu, run->mmio.phys_addr, run->mmio.len);
}
