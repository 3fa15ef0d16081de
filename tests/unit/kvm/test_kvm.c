// SPDX-License-Identifier: BSD-2-Clause
/*
 * What a host's KVM can refuse or do wrong: each is one line with the ioctl,
 * the reason and what to do, and nothing half-made stays behind. And the
 * interrupts' way between the room and KVM.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_kvm.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"

struct fixture {
	struct vm *vm;
	struct vmcpu *vcpu;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	int fd = memfd_create("memory", MFD_CLOEXEC);

	fake_reset();
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	assert_int_equal(vm_new("vm0", &f->vm), 0);
	assert_int_equal(mem_setup(&f->vm->mem, fd, 1 << 20, 0), 0);
	assert_int_equal(vm_get_vcpu(f->vm, 0, &f->vcpu), 0);
	f->vcpu->active = true;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_engine_stop(f->vm);
	vm_free(f->vm);
	free(f);
	return 0;
}

static int start(struct fixture *f)
{
	struct vm_engine_options options = {.engine = &kvm_engine_ops};

	return vm_engine_start(f->vm, &options, &f->err);
}

static void assert_has(const char *text, const char *part)
{
	if (strstr(text, part) == NULL)
		fail_msg("\"%s\" does not say \"%s\"", text, part);
	assert_null(strchr(text, '\n'));
}

/* -- the host refuses ------------------------------------------------------ */

static void refused(struct fixture *f, int error, const char *const parts[])
{
	unsigned before = fake_open_files();

	assert_int_equal(start(f), -error);
	for (unsigned i = 0; parts[i] != NULL; i++)
		assert_has(f->err.text, parts[i]);
	assert_null(f->vm->engine);
	assert_null(f->vm->engine_data);
	assert_null(f->vm->cpu_model);
	assert_null(f->vcpu->engine_data);
	assert_int_equal(fake_open_files(), before);
}

#define REFUSED(f, error, ...)                                                 \
	refused(f, error, (const char *const[]){__VA_ARGS__, NULL})

static void test_no_device(void **state)
{
	fake.open_error = ENOENT;
	REFUSED(*state, ENOENT, "no /dev/kvm", "load the module");
}

static void test_no_permission(void **state)
{
	fake.open_error = EACCES;
	REFUSED(*state, EACCES, "/dev/kvm: Permission denied",
		"add yourself to group kvm");
	fake.open_error = EPERM;
	REFUSED(*state, EPERM, "/dev/kvm: Operation not permitted",
		"--device /dev/kvm");
}

static void test_other_api(void **state)
{
	fake.api_version = 11;
	REFUSED(*state, ENOTSUP, "API version 11, not 12");
}

static void test_capabilities(void **state)
{
	static const struct {
		int number;
		const char *name;
	} caps[] = {
	    {KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP"},
	    {KVM_CAP_SYNC_REGS, "KVM_CAP_SYNC_REGS"},
	    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
	    {KVM_CAP_X86_USER_SPACE_MSR, "KVM_CAP_X86_USER_SPACE_MSR"},
	    {KVM_CAP_SIGNAL_MSI, "KVM_CAP_SIGNAL_MSI"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(caps); i++) {
		fake.lacking = caps[i].number;
		REFUSED(*state, ENOTSUP, caps[i].name, "Linux 5.16");
	}
}

/* Each ioctl of the way up fails once. */
static void test_each_ioctl(void **state)
{
	static const struct {
		unsigned long request;
		int error;
		const char *name, *remedy;
	} calls[] = {
	    {KVM_CREATE_VM, EBUSY, "KVM_CREATE_VM", "another hypervisor"},
	    {KVM_CREATE_VM, ENOMEM, "KVM_CREATE_VM", "kernel's log"},
	    {KVM_SET_IDENTITY_MAP_ADDR, EINVAL, "KVM_SET_IDENTITY_MAP_ADDR",
	     "engine=soft"},
	    {KVM_SET_TSS_ADDR, EINVAL, "KVM_SET_TSS_ADDR", "engine=soft"},
	    {KVM_ENABLE_CAP, EINVAL, "SPLIT_IRQCHIP", "engine=soft"},
	    {KVM_SET_USER_MEMORY_REGION, ENOMEM, "KVM_SET_USER_MEMORY_REGION",
	     "less memory"},
	    {KVM_X86_SET_MSR_FILTER, EINVAL, "KVM_X86_SET_MSR_FILTER",
	     "engine=soft"},
	    {KVM_GET_SUPPORTED_CPUID, E2BIG, "KVM_GET_SUPPORTED_CPUID",
	     "engine=soft"},
	    {KVM_CREATE_VCPU, ENOMEM, "KVM_CREATE_VCPU", "fewer CPUs"},
	    {KVM_SET_CPUID2, EINVAL, "KVM_SET_CPUID2", "cpu.model"},
	    {KVM_SET_GSI_ROUTING, ENOMEM, "KVM_SET_GSI_ROUTING", "engine=soft"},
	    {KVM_SET_SREGS2, EINVAL, "KVM_SET_SREGS2", "x86-64-v2"},
	    {KVM_SET_XSAVE, EINVAL, "KVM_SET_XSAVE", "x86-64-v2"},
	    {KVM_SET_MSRS, EIO, "KVM_SET_MSRS", "x86-64-v2"},
	    {KVM_SET_VCPU_EVENTS, EINVAL, "KVM_SET_VCPU_EVENTS", "engine=soft"},
	    {KVM_SET_MP_STATE, EINVAL, "KVM_SET_MP_STATE", "engine=soft"},
	    {KVM_SET_LAPIC, EINVAL, "KVM_SET_LAPIC", "engine=soft"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
		fake.failing = calls[i].request;
		fake.skip = 0;
		fake.error = calls[i].error;
		REFUSED(*state, calls[i].error, calls[i].name, calls[i].remedy,
			strerror(calls[i].error));
	}
}

static void test_vcpu_limit(void **state)
{
	struct fixture *f = *state;
	struct vmcpu *third;

	assert_int_equal(vm_get_vcpu(f->vm, 2, &third), 0);
	fake.failing = KVM_CREATE_VCPU;
	fake.skip = 1;
	fake.error = EINVAL;
	fake.max_vcpus = 2;
	REFUSED(f, EINVAL, "KVM_CREATE_VCPU: Invalid argument",
		"no more than 2", "-c 2");
}

/* -- KVM_RUN ----------------------------------------------------------------
 */

static void run_fails(struct fixture *f, int (*on_run)(struct kvm_run *),
		      int error, const char *const parts[])
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};

	if (f->vm->engine == NULL)
		assert_int_equal(start(f), 0);
	fake.on_run = on_run;
	assert_int_equal(vcpu_run(f->vcpu, &exit), -error);
	for (unsigned i = 0; parts[i] != NULL; i++)
		assert_has(f->vcpu->failure.text, parts[i]);
}

#define RUN_FAILS(f, on_run, error, ...)                                       \
	run_fails(f, on_run, error, (const char *const[]){__VA_ARGS__, NULL})

static int refuses(struct kvm_run *run)
{
	return -EFAULT;
}

static int cannot_emulate(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->emulation_failure.suberror = KVM_INTERNAL_ERROR_EMULATION;
	run->emulation_failure.ndata = 4;
	run->emulation_failure.flags =
	    KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES;
	run->emulation_failure.insn_size = 2;
	run->emulation_failure.insn_bytes[0] = 0x0f;
	run->emulation_failure.insn_bytes[1] = 0x0b;
	run->s.regs.regs.rip = 0x1234;
	return 0;
}

/* More bytes than there can be. */
static int emulates_nonsense(struct kvm_run *run)
{
	cannot_emulate(run);
	run->emulation_failure.insn_size = 200;
	return 0;
}

static int cannot_deliver(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
	run->internal.suberror = KVM_INTERNAL_ERROR_DELIVERY_EV;
	run->internal.ndata = 0;
	return 0;
}

static int cannot_enter(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_FAIL_ENTRY;
	run->fail_entry.hardware_entry_failure_reason = 0x80000021;
	run->fail_entry.cpu = 3;
	return 0;
}

static int is_unknown(struct kvm_run *run)
{
	run->exit_reason = 99;
	return 0;
}

static int port_of_three(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_IO;
	run->io.size = 3;
	run->io.count = 1;
	return 0;
}

static int port_outside(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_IO;
	run->io.size = 4;
	run->io.count = 1u << 30;
	run->io.data_offset = 0x1000;
	return 0;
}

static int mmio_too_long(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_MMIO;
	run->mmio.len = 9;
	return 0;
}

static void test_run_fails(void **state)
{
	struct fixture *f = *state;

	RUN_FAILS(f, refuses, EFAULT, "KVM_RUN: Bad address", "engine=soft");
	RUN_FAILS(f, cannot_emulate, EIO, "vcpu 0", "emulation failed",
		  "0x1234", "instruction 0f 0b", "engine=soft");
	RUN_FAILS(f, emulates_nonsense, EIO, "emulation failed");
	RUN_FAILS(f, cannot_deliver, EIO, "an event could not be delivered");
	RUN_FAILS(f, cannot_enter, EIO, "its state is invalid", "0x80000021",
		  "host CPU 3");
	RUN_FAILS(f, is_unknown, EIO, "exit 99");
	RUN_FAILS(f, port_of_three, EIO, "an I/O exit that cannot be");
	RUN_FAILS(f, port_outside, EIO, "an I/O exit that cannot be");
	RUN_FAILS(f, mmio_too_long, EIO, "an MMIO exit that cannot be");
}

static int shuts_down(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

static void test_triple_fault(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};

	assert_int_equal(start(f), 0);
	fake.on_run = shuts_down;
	assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
	assert_int_equal(exit.exitcode, VM_EXITCODE_SUSPENDED);
	assert_int_equal(exit.u.suspended.how, VM_SUSPEND_TRIPLEFAULT);
}

static int asks_for_reset(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_SYSTEM_EVENT;
	run->system_event.type = KVM_SYSTEM_EVENT_RESET;
	return 0;
}

static void test_system_event(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};

	assert_int_equal(start(f), 0);
	fake.on_run = asks_for_reset;
	assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
	assert_int_equal(exit.u.suspended.how, VM_SUSPEND_RESET);
}

/* One exit, one ioctl. */
static int out_to_80(struct kvm_run *run)
{
	run->exit_reason = KVM_EXIT_IO;
	run->io.direction = KVM_EXIT_IO_OUT;
	run->io.size = 1;
	run->io.count = 1;
	run->io.port = 0x80;
	run->io.data_offset = 0x1000;
	((uint8_t *)run)[0x1000] = 0x5a;
	return 0;
}

static void test_out(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	unsigned before;

	assert_int_equal(start(f), 0);
	fake.on_run = out_to_80;
	for (unsigned i = 1; i <= 3; i++) {
		before = fake.calls;
		assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
		if (i > 1) /* KVM_RUN, and nothing else */
			assert_int_equal(fake.calls - before, 1);
		assert_int_equal(exit.exitcode, VM_EXITCODE_INOUT);
		assert_int_equal(exit.u.inout.port, 0x80);
		assert_int_equal(exit.u.inout.eax, 0x5a);
		assert_int_equal(fake.runs, i);
	}
}

/* -- interrupts -------------------------------------------------------------
 */

static void ioapic_set(struct vm *vm, unsigned reg, uint32_t value)
{
	ioapic_mmio_write(vm, 0, 4, reg);
	ioapic_mmio_write(vm, 0x10, 4, value);
}

static uint32_t ioapic_get(struct vm *vm, unsigned reg)
{
	ioapic_mmio_write(vm, 0, 4, reg);
	return (uint32_t)ioapic_mmio_read(vm, 0x10, 4);
}

#define PIN      9
#define LEVEL    0x8000u
#define REMOTE   0x4000u
#define MASKED   0x10000u
#define RTE(pin) (0x10 + 2 * (pin))

static void test_routes(void **state)
{
	struct fixture *f = *state;

	ioapic_set(f->vm, RTE(4), 0x44); /* before the engine: announced */
	assert_int_equal(start(f), 0);
	assert_int_equal(fake.route[4].u.msi.data & 0xff, 0x44);
	ioapic_set(f->vm, RTE(PIN) + 1, 3u << 24);
	ioapic_set(f->vm, RTE(PIN), 0x55 | LEVEL);
	assert_int_equal(fake.route[PIN].gsi, PIN);
	assert_int_equal(fake.route[PIN].u.msi.address_lo, 0xfee03000);
	assert_int_equal(fake.route[PIN].u.msi.data, 0x55 | LEVEL | 0x4000);
	/* masked: the route stays, for the EOI; the same again: no ioctl */
	fake.routings = 0;
	ioapic_set(f->vm, RTE(PIN), 0x66 | LEVEL | MASKED);
	ioapic_set(f->vm, RTE(4), 0x44);
	assert_int_equal(fake.routings, 0);
	assert_int_equal(fake.route[PIN].u.msi.data & 0xff, 0x55);
}

static int ends_55(struct kvm_run *run)
{
	if (run->eoi.vector == 0x55)
		return -EINTR;
	run->exit_reason = KVM_EXIT_IOAPIC_EOI;
	run->eoi.vector = 0x55;
	vm_stop(((struct fixture *)*(void **)(void *)&fake.route[63])->vm,
		VM_SUSPEND_POWEROFF);
	return 0;
}

static void test_level(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};

	assert_int_equal(start(f), 0);
	memcpy(&fake.route[63], &f, sizeof(f));
	ioapic_set(f->vm, RTE(PIN), 0x55 | LEVEL);
	memcpy(&fake.route[63], &f, sizeof(f));
	ioapic_set_pin(f->vm, PIN, true);
	assert_int_equal(fake.signals, 1);
	assert_int_equal(fake.msi.address_lo, 0xfee00000);
	assert_int_equal(fake.msi.data, 0x55 | LEVEL | 0x4000);
	assert_true((ioapic_get(f->vm, RTE(PIN)) & REMOTE) != 0);
	ioapic_set_pin(f->vm, PIN, false);
	fake.on_run = ends_55;
	fake.run->eoi.vector = 0;
	assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
	assert_true((ioapic_get(f->vm, RTE(PIN)) & REMOTE) == 0);
}

static void test_messages(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(start(f), 0);
	assert_int_equal(msi_send(f->vm, 0xfee02004, 0x141), 0);
	assert_int_equal(fake.msi.address_lo, 0xfee02004);
	assert_int_equal(fake.msi.data, 0x4141);
	assert_int_equal(msi_send(f->vm, 0x1000, 0x41), -EINVAL);
	/* SMI: there is none */
	fake.signals = 0;
	assert_int_equal(msi_send(f->vm, 0xfee00000, 0x241), 0);
	assert_int_equal(fake.signals, 0);
	assert_int_equal(vcpu_lapic_irq(f->vcpu, 0x77), 0);
	assert_int_equal(fake.msi.data & 0xff, 0x77);
	assert_int_equal(vcpu_lapic_irq(f->vcpu, 15), -EINVAL);
}

static int stops_after_two(struct kvm_run *run)
{
	if (fake.runs < 2)
		return -EINTR;
	run->exit_reason = KVM_EXIT_SHUTDOWN;
	return 0;
}

static void pic_ready(struct vm *vm)
{
	i8259_write(vm, 0x20, 1, 0x11);
	i8259_write(vm, 0x21, 1, 0x30);
	i8259_write(vm, 0x21, 1, 4);
	i8259_write(vm, 0x21, 1, 1);
	i8259_write(vm, 0x21, 1, 0);
}

static void test_pic(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};

	assert_int_equal(start(f), 0);
	pic_ready(f->vm);
	pic_set_irq(f->vm, 3, true);
	fake.on_run = stops_after_two;
	assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
	/* not before KVM has said that the CPU takes it, and then once */
	assert_int_equal(fake.interrupts, 1);
	assert_int_equal(extint_pending(f->vm), -1);
}

/* -- the local APIC there and back ------------------------------------------
 */

static uint32_t page_reg(unsigned at)
{
	uint32_t value;

	memcpy(&value, fake.lapic.regs + at, 4);
	return value;
}

static void test_lapic_state(void **state)
{
	struct fixture *f = *state;
	struct lapic *lapic = f->vcpu->lapic;
	uint32_t irr2 = 1u << 5;

	lapic_mmio_write(lapic, 0xfee000f0, 4, 0x1ff);
	lapic_mmio_write(lapic, 0xfee00080, 4, 0x30);
	lapic_mmio_write(lapic, 0xfee00350, 4, 0x10000);
	lapic_set_vector(lapic, 0x41, true);
	assert_int_equal(start(f), 0);
	assert_int_equal(page_reg(0xf0), 0x1ff);
	assert_int_equal(page_reg(0x80), 0x30);
	assert_int_equal(page_reg(0x220), 1u << 1);
	assert_int_equal(page_reg(0x1a0), 1u << 1);
	/* KVM's is another by now */
	memcpy(fake.lapic.regs + 0x220, &irr2, 4);
	vm_engine_stop(f->vm);
	assert_int_equal(lapic_mmio_read(lapic, 0xfee00220, 4), irr2);
	assert_int_equal(lapic_mmio_read(lapic, 0xfee00080, 4), 0x30);
}

/* A boot CPU whose APIC nobody enabled takes the PIC's interrupts. */
static void test_virtual_wire(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(start(f), 0);
	assert_int_equal(page_reg(0x350), 0x700);
	vm_engine_stop(f->vm);
	assert_int_equal(lapic_mmio_read(f->vcpu->lapic, 0xfee00350, 4),
			 0x10700);
}

static void test_doorbells(void **state)
{
	struct fixture *f = *state;
	struct doorbell bell = {.addr = 0xd0000000, .bytes = 4, .fd = 7};

	/* before the engine exists, and while it does */
	assert_int_equal(doorbell_add(f->vm, &bell), 0);
	assert_int_equal(doorbell_add(f->vm, &bell), -EEXIST);
	assert_int_equal(start(f), 0);
	assert_int_equal(fake.bell.addr, 0xd0000000);
	assert_int_equal(fake.bell.fd, 7);
	assert_int_equal(fake.bell.flags, 0);
	bell = (struct doorbell){.addr = 0x510,
				 .bytes = 2,
				 .fd = 8,
				 .is_port = true,
				 .has_match = true,
				 .match = 3};
	assert_int_equal(doorbell_add(f->vm, &bell), 0);
	assert_int_equal(fake.bell.datamatch, 3);
	assert_int_equal(fake.bell.flags,
			 KVM_IOEVENTFD_FLAG_PIO | KVM_IOEVENTFD_FLAG_DATAMATCH);
	bell.fd = 99; /* which one it was is known */
	assert_int_equal(doorbell_remove(f->vm, &bell), 0);
	assert_int_equal(fake.bell.fd, 8);
	assert_true((fake.bell.flags & KVM_IOEVENTFD_FLAG_DEASSIGN) != 0);
	assert_int_equal(doorbell_remove(f->vm, &bell), -ENOENT);
	bell.bytes = 8; /* no such port access */
	assert_int_equal(doorbell_add(f->vm, &bell), -EINVAL);
}

static void test_dirty_log(void **state)
{
	struct fixture *f = *state;
	uint64_t bitmap[4] = {0}; /* of 1 MiB: 256 pages */

	assert_int_equal(start(f), 0);
	assert_int_equal(kvm_dirty_get(f->vm, 0, bitmap, sizeof(bitmap)),
			 -ENOENT);
	assert_int_equal(kvm_dirty_log(f->vm, true), 0);
	assert_int_equal(kvm_dirty_get(f->vm, 0, bitmap, sizeof(bitmap)), 0);
	assert_int_equal(bitmap[0], 8);
	assert_int_equal(kvm_dirty_get(f->vm, 0, bitmap, 31), -EINVAL);
	assert_int_equal(kvm_dirty_get(f->vm, 4096, bitmap, 32), -EINVAL);
	assert_int_equal(
	    kvm_dirty_get(f->vm, MEM_HIGH_BASE, bitmap, sizeof(bitmap)),
	    -EINVAL); /* there is none */
	assert_int_equal(kvm_dirty_log(f->vm, false), 0);
	assert_int_equal(fake.slot_flags, 0);
	fake.failing = KVM_SET_USER_MEMORY_REGION;
	fake.skip = 0;
	fake.error = ENOMEM;
	assert_int_equal(kvm_dirty_log(f->vm, true), -ENOMEM);
	assert_int_equal(fake.slot_flags, 0);
}

static void run_once(struct fixture *f)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};

	fake.on_run = out_to_80;
	assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
}

static void test_tsc_offset(void **state)
{
	struct fixture *f = *state;
	struct kvm_vm *kvm;

	assert_int_equal(start(f), 0);
	run_once(f);
	kvm = f->vm->engine_data;
	assert_false(kvm->tsc_is_hosts);
	vm_engine_stop(f->vm);
	/* what was gained on vm_clock is milliseconds */
	assert_true(f->vcpu->state.tsc_offset < 1ull << 40);
	fake.ignores_tsc_offset = true;
	assert_int_equal(start(f), 0);
	run_once(f);
	kvm = f->vm->engine_data;
	assert_true(kvm->tsc_is_hosts);
}

/* What the guest has seen is asked for again. */
static void test_features_are_held(void **state)
{
	struct fixture *f = *state;
	struct vm_engine_options options = {
	    .engine = &kvm_engine_ops,
	    .cpu_features = "-popcnt",
	};

	assert_int_equal(start(f), 0);
	vm_engine_stop(f->vm);
	assert_int_equal(vm_engine_start(f->vm, &options, &f->err), -ENOTSUP);
	assert_has(f->err.text, "began with CPU feature popcnt");
	assert_null(f->vm->engine);
	assert_int_equal(start(f), 0);
}

/* KVM's clock begins as vm_clock, goes on from where it was, and keeps its
   guests from the other engine; or is left out. */
static void test_clock(void **state)
{
	struct fixture *f = *state;
	struct vm_engine_options soft = {.engine = &soft_engine_ops};
	struct vm_engine_options without = {.engine = &kvm_engine_ops,
					    .cpu_features = "-kvmclock"};
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};

	vm_clock_set(&f->vm->clock, 5000000000);
	assert_int_equal(start(f), 0);
	fake.on_run = out_to_80;
	assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
	assert_in_range(fake.clock.clock, 5000000000, 60000000000);
	fake.clock.clock += 1000000000000;
	vm_engine_stop(f->vm);
	assert_int_equal(vm_engine_start(f->vm, &soft, &f->err), -ENOTSUP);
	assert_has(f->err.text, "kvmclock");
	assert_has(f->err.text, "cpu.model=common");
	assert_int_equal(start(f), 0);
	exit.exitcode = VM_EXITCODE_BOGUS;
	assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
	assert_in_range(fake.clock.clock, 1005000000000, 1060000000000);
	vm_engine_stop(f->vm);

	vm_reset(f->vm);
	f->vcpu->active = true;
	fake.clock.clock = 1;
	assert_int_equal(vm_engine_start(f->vm, &without, &f->err), 0);
	assert_int_equal(vcpu_run(f->vcpu, &exit), 0);
	assert_int_equal(fake.clock.clock, 1);
	vm_engine_stop(f->vm);
	assert_int_equal(vm_engine_start(f->vm, &soft, &f->err), 0);
}

static void test_clock_refused(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};

	assert_int_equal(start(f), 0);
	fake.failing = KVM_SET_CLOCK;
	fake.error = EINVAL;
	assert_int_equal(vcpu_run(f->vcpu, &exit), -EINVAL);
	assert_has(f->vcpu->failure.text, "KVM_SET_CLOCK: Invalid argument");
	assert_has(f->vcpu->failure.text, "-kvmclock");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(test_no_device),    T(test_no_permission),
	    T(test_other_api),    T(test_capabilities),
	    T(test_each_ioctl),   T(test_vcpu_limit),
	    T(test_run_fails),    T(test_triple_fault),
	    T(test_system_event), T(test_out),
	    T(test_routes),       T(test_level),
	    T(test_messages),     T(test_pic),
	    T(test_lapic_state),  T(test_virtual_wire),
	    T(test_doorbells),    T(test_dirty_log),
	    T(test_tsc_offset),   T(test_features_are_held),
	    T(test_clock),        T(test_clock_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
