// SPDX-License-Identifier: BSD-2-Clause
/* Verbs on the VM, and those on a vCPU that need not stop it. */
#include <errno.h>

#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/verb_fn.h"
#include "vmm/vm.h"

/* -- interrupts --------------------------------------------------------------
 */

int verb_nmi_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	vcpu_request(vcpu, VCPU_REQ_NMI);
	return 0;
}

int verb_lapic_irq_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_value *vector = arg;

	if (vector->value > 255)
		return -EINVAL;
	return vcpu_lapic_irq(vcpu, (unsigned)vector->value);
}

int verb_lapic_local_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_value *pin = arg;

	if (pin->value > 5)
		return -EINVAL;
	return vcpu_local_irq(vcpu, (unsigned)pin->value);
}

int verb_msi_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_msi *msi = arg;

	return msi_send(vm, msi->addr, msi->data);
}

static void set_lines(struct vm *vm, const struct verb_line *line, bool level)
{
	if (line->atpic >= 0)
		pic_set_irq(vm, (unsigned)line->atpic, level);
	if (line->ioapic >= 0)
		ioapic_set_pin(vm, (unsigned)line->ioapic, level);
}

int verb_line_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_line *line = arg;

	if (line->atpic < -1 || line->atpic > 15 || line->ioapic < -1 ||
	    line->ioapic >= (int)ioapic_pincount(vm))
		return -EINVAL;
	switch (line->change) {
	case LINE_LOWER:
	case LINE_RAISE:
		set_lines(vm, line, line->change == LINE_RAISE);
		return 0;
	case LINE_PULSE:
		set_lines(vm, line, true);
		set_lines(vm, line, false);
		return 0;
	default:
		return -EINVAL;
	}
}

int verb_trigger_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_trigger *trigger = arg;

	/* the timer, keyboard, cascade, RTC and FPU are edge for ever */
	static const uint16_t fixed =
	    1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 13;

	if (trigger->irq < 0 || trigger->irq > 15 || trigger->level > 1)
		return -EINVAL;
	if (trigger->level == 1 && (fixed >> trigger->irq & 1) != 0)
		return -EINVAL;
	i8259_set_trigger(vm, (unsigned)trigger->irq, trigger->level == 1);
	return 0;
}

int verb_pincount_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_value *value = arg;

	value->value = ioapic_pincount(vm);
	return 0;
}

/* -- devices ------------------------------------------------------------------
 */

int verb_hpet_caps_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_value *value = arg;

	value->value = hpet_capabilities(vm);
	return 0;
}

int verb_rtc_read_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_rtc *rtc = arg;

	if (rtc->offset < 0 || rtc->offset > 127)
		return -EINVAL;
	rtc->value = mc146818_nvram_read(vm, (unsigned)rtc->offset);
	return 0;
}

int verb_rtc_write_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_rtc *rtc = arg;

	if (rtc->offset < 0 || rtc->offset > 127 || rtc->value > 0xff)
		return -EINVAL;
	mc146818_nvram_write(vm, (unsigned)rtc->offset, (uint8_t)rtc->value);
	return 0;
}

int verb_rtc_gettime_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_value *value = arg;

	value->value = (uint64_t)mc146818_get_time(vm);
	return 0;
}

/* 9999-12-31 23:59:59: the clock's century byte ends there. */
#define RTC_LAST_SECOND 253402300799ull

int verb_rtc_settime_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_value *value = arg;

	if (value->value > RTC_LAST_SECOND)
		return -EINVAL;
	mc146818_set_time(vm, (int64_t)value->value);
	return 0;
}

/* -- vCPUs --------------------------------------------------------------------
 */

int verb_suspend_cpu_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	int error = 0;

	pthread_mutex_lock(&vcpu->lock);
	if (!vcpu->active)
		error = -EINVAL;
	else if (vcpu->suspended)
		error = -EBUSY;
	else {
		vcpu->suspended = true;
		vcpu->suspend_told = false;
	}
	pthread_mutex_unlock(&vcpu->lock);
	if (error == 0)
		vcpu_request(vcpu, VCPU_REQ_DEBUG);
	return error;
}

int verb_resume_cpu_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	int error = 0;

	pthread_mutex_lock(&vcpu->lock);
	if (!vcpu->suspended)
		error = -EINVAL;
	vcpu->suspended = false;
	pthread_mutex_unlock(&vcpu->lock);
	if (error == 0)
		vcpu_request(vcpu, VCPU_REQ_DEBUG);
	return error;
}

int verb_cpus_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	bool stopping = atomic_load(&vm->suspend_how) != VM_SUSPEND_NONE;
	struct verb_cpus *cpus = arg;

	*cpus = (struct verb_cpus){0};
	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		vcpu = __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);
		if (vcpu == NULL)
			continue;
		pthread_mutex_lock(&vcpu->lock);
		if (vcpu->active)
			cpus->active |= 1u << i;
		if (vcpu->suspended)
			cpus->debug |= 1u << i;
		if (vcpu->active && stopping &&
		    (vcpu->run_state == VCPU_IDLE ||
		     vcpu->run_state == VCPU_FROZEN))
			cpus->suspended |= 1u << i;
		pthread_mutex_unlock(&vcpu->lock);
	}
	return 0;
}

int verb_get_topology_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_topology *topology = arg;

	*topology = (struct verb_topology){vm->sockets, vm->cores, vm->threads,
					   vm->maxcpus};
	return 0;
}

/* maxcpus 0 leaves it, as FreeBSD's callers pass. */
int verb_set_topology_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_topology *topology = arg;
	uint64_t product =
	    (uint64_t)topology->sockets * topology->cores * topology->threads;

	if (product == 0 || product > vm->maxcpus ||
	    (topology->maxcpus != 0 && topology->maxcpus != vm->maxcpus))
		return -EINVAL;
	if (vm->engine != NULL)
		return -EBUSY; /* the guest has seen it in CPUID */
	vm->sockets = topology->sockets;
	vm->cores = topology->cores;
	vm->threads = topology->threads;
	return 0;
}

/* -- the VM ------------------------------------------------------------------
 */

int verb_suspend_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_value *how = arg;

	if (how->value >= VM_SUSPEND_LAST)
		return -EINVAL;
	return vm_stop(vm, (enum vm_suspend_how)how->value);
}

int verb_clock_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_value *value = arg;

	value->value = vm_clock_ns(&vm->clock);
	return 0;
}

int verb_mem_dirty_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	const struct verb_range *range = arg;

	if (!mem_is_ram(&vm->mem, range->gpa, range->len))
		return -EFAULT;
	mem_write_end(vm, range->gpa, range->len);
	return 0;
}

int verb_memory_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	struct verb_memory *memory = arg;

	memory->low_size = vm->mem.low_size;
	memory->high_size = vm->mem.high_size;
	memory->rom_size = vm->mem.rom.size;
	memory->rom_gpa = vm->mem.rom.gpa;
	memory->rom_offset = vm->mem.rom.offset;
	memory->rom_len = vm->mem.rom.len;
	return 0;
}

/* As after creation, memory zeroed. A VM that runs has to be stopped first. */
int verb_reinit_run(struct vm *vm, struct vmcpu *vcpu, void *arg)
{
	int error;

	if (vm->engine != NULL &&
	    atomic_load(&vm->suspend_how) == VM_SUSPEND_NONE)
		return -EBUSY;
	error = mem_zero(&vm->mem);
	if (error != 0)
		return error;
	mem_write_end(vm, 0, vm->mem.low_size);
	mem_write_end(vm, MEM_HIGH_BASE, vm->mem.high_size);
	vm_reset(vm);
	return 0;
}
