// SPDX-License-Identifier: BSD-2-Clause
/*
 * Model-specific registers. KVM has those that the CPU itself looks at; all
 * others come out of it (a filter that denies by default), so that both
 * engines show the same ones: the room's LAPIC, the few below, the process'.
 */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <x86intrin.h>

#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"
#include "x86/features.h"
#include "x86/msr.h"

#define READ  KVM_MSR_FILTER_READ
#define WRITE KVM_MSR_FILTER_WRITE

/* -- the filter -------------------------------------------------------------
 */

#define F(name) X86_FEATURE_##name

/* What the guest may do without us. Sorted; a filter's range is a bitmap. */
static const struct {
	uint32_t first, last, how;
	uint16_t feature;
} allowed[] = {
    {MSR_TSC, MSR_TSC, READ},
    {MSR_APIC_BASE, MSR_APIC_BASE, READ | WRITE},
    {MSR_MTRRCAP, MSR_MTRRCAP, READ | WRITE},
    {MSR_SYSENTER_CS, MSR_SYSENTER_EIP, READ | WRITE},
    {MSR_MTRR_PHYSBASE0, MSR_MTRR_PHYSBASE0 + 2 * VCPU_MTRR_VARIABLE - 1,
     READ | WRITE},
    {MSR_MTRR_FIX64K_00000, MSR_MTRR_FIX64K_00000, READ | WRITE},
    {MSR_MTRR_FIX16K_80000, MSR_MTRR_FIX16K_A0000, READ | WRITE},
    {MSR_MTRR_FIX4K_C0000, MSR_PAT, READ | WRITE},
    {MSR_MTRR_DEF_TYPE, MSR_MTRR_DEF_TYPE, READ | WRITE},
    {MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, READ | WRITE},
    {MSR_X2APIC, MSR_X2APIC_LAST, READ | WRITE}, /* never asked */
    {MSR_XSS, MSR_XSS, READ | WRITE},
    {MSR_KVM_WALL_CLOCK, MSR_KVM_SYSTEM_TIME, READ | WRITE, F(KVM_CLOCK)},
    {MSR_EFER, MSR_SFMASK, READ | WRITE},
    {MSR_FS_BASE, MSR_TSC_AUX, READ | WRITE},
};
_Static_assert(ARRAY_SIZE(allowed) <= KVM_MSR_FILTER_MAX_RANGES,
	       "KVM takes no more ranges");

static void fill_filter(const struct cpu_model *model,
			struct kvm_msr_filter *filter, uint8_t *ones)
{
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (cpu_model_has(model, allowed[i].feature))
			filter->ranges[n++] = (struct kvm_msr_filter_range){
			    .flags = allowed[i].how,
			    .base = allowed[i].first,
			    .nmsrs = allowed[i].last - allowed[i].first + 1,
			    .bitmap = ones,
			};
}

int kvm_set_msr_filter(struct kvm_vm *kvm, struct err *err)
{
	struct kvm_enable_cap out = {
	    .cap = KVM_CAP_X86_USER_SPACE_MSR,
	    .args = {KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL |
		     KVM_MSR_EXIT_REASON_FILTER},
	};
	struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
	uint8_t ones[32];

	memset(ones, 0xff, sizeof(ones));
	fill_filter(kvm->vm->cpu_model, &filter, ones);
	if (ioctl(kvm->fd, KVM_ENABLE_CAP, &out) != 0)
		return kvm_failed(err, kvm->vm->name,
				  "KVM_ENABLE_CAP (X86_USER_SPACE_MSR)", errno,
				  "use engine=soft");
	if (ioctl(kvm->fd, KVM_X86_SET_MSR_FILTER, &filter) != 0)
		return kvm_failed(err, kvm->vm->name, "KVM_X86_SET_MSR_FILTER",
				  errno, "use engine=soft");
	return 0;
}

/* -- time -------------------------------------------------------------------
 */

/*
 * The guest's TSC is the host's and an offset. How far vm_clock's TSC is from
 * the host's is found once, when the first vCPU runs: the clock has started.
 */
static int tell_offset(struct kvm_cpu *c, uint64_t offset)
{
	struct kvm_device_attr attr = {
	    .group = KVM_VCPU_TSC_CTRL,
	    .attr = KVM_VCPU_TSC_OFFSET,
	    .addr = (uintptr_t)&offset,
	};

	if (ioctl(c->fd, KVM_SET_DEVICE_ATTR, &attr) == 0)
		return 0;
	return kvm_failed(&c->vcpu->failure, c->vcpu->vm->name,
			  "KVM_SET_DEVICE_ATTR (TSC_OFFSET)", errno,
			  "use engine=soft");
}

/*
 * A KVM without hardware may take the offset and show the host's TSC all the
 * same. Then so do we: the guest's TSC jumps when it comes here, and goes on
 * from there when it leaves.
 */
static bool offset_is_ignored(struct kvm_cpu *c)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} msr = {.head.nmsrs = 1, .entry.index = MSR_TSC};
	uint64_t start = __rdtsc();

	if (tell_offset(c, BIT(60)) != 0 ||
	    ioctl(c->fd, KVM_GET_MSRS, &msr) != 1)
		return false;
	return msr.entry.data - start < BIT(59);
}

/* Guests read KVM's clock by their TSC: it starts with it, as vm_clock. */
static int clock_start(struct kvm_cpu *c)
{
	struct vm *vm = c->vcpu->vm;
	struct kvm_clock_data data = {
	    .clock = vm_clock_ns(&vm->clock) + vm->kvmclock_gain,
	};

	if (!c->has_clock || ioctl(c->kvm->fd, KVM_SET_CLOCK, &data) == 0)
		return 0;
	return kvm_failed(&c->vcpu->failure, vm->name, "KVM_SET_CLOCK", errno,
			  "try cpu.features=-kvmclock");
}

static void clock_settle(struct kvm_cpu *c)
{
	struct vm *vm = c->vcpu->vm;
	struct kvm_clock_data data = {0};

	if (c->has_clock && ioctl(c->kvm->fd, KVM_GET_CLOCK, &data) == 0)
		vm->kvmclock_gain = data.clock - vm_clock_ns(&vm->clock);
}

static int time_start(struct kvm_cpu *c)
{
	struct kvm_vm *kvm = c->kvm;
	int error = 0;

	if (likely(atomic_load(&kvm->tsc_is_set)))
		return 0;
	pthread_mutex_lock(&kvm->lock);
	if (!atomic_load(&kvm->tsc_is_set)) {
		kvm->tsc_is_hosts = offset_is_ignored(c);
		kvm->tsc_base = vm_clock_tsc(&kvm->vm->clock) - __rdtsc();
		error = clock_start(c);
		atomic_store(&kvm->tsc_is_set, error == 0);
	}
	pthread_mutex_unlock(&kvm->lock);
	return error;
}

int kvm_tsc_update(struct kvm_cpu *c)
{
	uint64_t offset;
	int error = time_start(c);

	if (error != 0)
		return error;
	offset = c->kvm->tsc_base + c->vcpu->state.tsc_offset;
	if (c->tsc_offset_is_set && c->tsc_offset == offset)
		return 0;
	/* KVM's clock and deadlines reckon with what it was told */
	error = tell_offset(c, c->kvm->tsc_is_hosts ? 0 : offset);
	if (error != 0)
		return error;
	c->tsc_offset = offset;
	c->tsc_offset_is_set = true;
	if (c->kvm->tsc_is_hosts && c->deadline != 0)
		c->deadline -= offset; /* the TSC jumps, and it with it */
	return kvm_deadline_restart(c);
}

/* vm_clock's TSC has another rate in the last digits: found once for all. */
void kvm_tsc_settle(struct kvm_cpu *c)
{
	struct kvm_vm *kvm = c->kvm;
	bool hosts = kvm->tsc_is_hosts;

	if (!atomic_load(&kvm->tsc_is_set))
		return;
	pthread_mutex_lock(&kvm->lock);
	if (!kvm->is_settled) {
		kvm->tsc_gained = __rdtsc() + (hosts ? 0 : kvm->tsc_base) -
				  vm_clock_tsc(&kvm->vm->clock);
		clock_settle(c);
		kvm->is_settled = true;
	}
	c->vcpu->state.tsc_offset =
	    kvm->tsc_gained + (hosts ? 0 : c->vcpu->state.tsc_offset);
	pthread_mutex_unlock(&kvm->lock);
	vcpu_tsc_changed(c->vcpu);
}

static uint64_t guest_tsc(const struct kvm_cpu *c)
{
	return __rdtsc() + (c->kvm->tsc_is_hosts ? 0 : c->tsc_offset);
}

/* A write of either moves the other by as much (SDM vol. 3, 18.17.3). */
static void move_tsc(struct kvm_cpu *c, uint64_t delta)
{
	c->vcpu->state.tsc_offset += delta;
	c->vcpu->state.tsc_adjust += delta;
}

static int tsc_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	if (!write) {
		*value = guest_tsc(c);
		return 0;
	}
	move_tsc(c, *value - guest_tsc(c));
	return kvm_tsc_update(c) == 0 ? 0 : -EINVAL;
}

static int tsc_adjust_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	if (!write) {
		*value = c->vcpu->state.tsc_adjust;
		return 0;
	}
	move_tsc(c, *value - c->vcpu->state.tsc_adjust);
	return kvm_tsc_update(c) == 0 ? 0 : -EINVAL;
}

/* -- those that are kept here -----------------------------------------------
 */

static int zero_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	if (!write)
		*value = 0;
	return 0;
}

static int zero_only_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	if (write && *value != 0)
		return -EINVAL;
	return zero_access(c, write, value);
}

static int read_zero_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	return write ? -EINVAL : zero_access(c, write, value);
}

static int write_only_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	return write ? 0 : -EINVAL;
}

static int stored(uint64_t *place, bool write, uint64_t *value)
{
	if (write)
		*place = *value;
	else
		*value = *place;
	return 0;
}

static int misc_enable_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	return stored(&c->misc_enable, write, value);
}

static int debugctl_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	if (write && *value != 0)
		return -EINVAL;
	return stored(&c->debugctl, write, value);
}

/* There is nothing to switch, but it reads back. */
static int spec_ctrl_access(struct kvm_cpu *c, bool write, uint64_t *value)
{
	if (write && (*value & ~7ull) != 0)
		return -EINVAL;
	return stored(&c->spec_ctrl, write, value);
}

/* As in the other engine. */
static const struct {
	uint32_t first, last;
	int (*access)(struct kvm_cpu *c, bool write, uint64_t *value);
	uint16_t feature;
} kept[] = {
    {MSR_P5_MC_ADDR, MSR_P5_MC_TYPE, zero_access, F(MCE)},
    {MSR_TSC, MSR_TSC, tsc_access, F(TSC)},
    {MSR_PLATFORM_ID, MSR_PLATFORM_ID, read_zero_access, 0},
    {MSR_TSC_ADJUST, MSR_TSC_ADJUST, tsc_adjust_access, F(TSC_ADJUST)},
    {MSR_SPEC_CTRL, MSR_SPEC_CTRL, spec_ctrl_access, 0},
    {MSR_PRED_CMD, MSR_PRED_CMD, write_only_access, 0},
    {MSR_BIOS_SIGN_ID, MSR_BIOS_SIGN_ID, zero_access, 0},
    {MSR_MCG_CAP, MSR_MCG_CAP, read_zero_access, F(MCA)},
    {MSR_MCG_STATUS, MSR_MCG_STATUS, zero_only_access, F(MCA)},
    {MSR_MISC_ENABLE, MSR_MISC_ENABLE, misc_enable_access, 0},
    {MSR_DEBUGCTL, MSR_DEBUGCTL, debugctl_access, 0},
};

static bool is_allowed(const struct cpu_model *model, uint32_t msr, bool write)
{
	for (size_t i = 0; i < ARRAY_SIZE(allowed); i++)
		if (msr >= allowed[i].first && msr <= allowed[i].last &&
		    cpu_model_has(model, allowed[i].feature))
			return (allowed[i].how & (write ? WRITE : READ)) != 0;
	return false;
}

/* One that KVM has but came out all the same is one that KVM refused. */
int kvm_msr_access(struct kvm_cpu *c, uint32_t msr, bool write, uint64_t *value)
{
	if (is_allowed(c->vcpu->vm->cpu_model, msr, write))
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(kept); i++)
		if (msr >= kept[i].first && msr <= kept[i].last &&
		    cpu_model_has(c->vcpu->vm->cpu_model, kept[i].feature))
			return kept[i].access(c, write, value);
	return -ENXIO;
}

/* -- state ------------------------------------------------------------------
 */

#define STATE_MSRS 64

struct msr_list {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[STATE_MSRS];
	uint64_t *place[STATE_MSRS]; /* in a struct vcpu_state */
};

static void list_add(struct msr_list *list, uint32_t msr, uint64_t *place)
{
	if (list->head.nmsrs == STATE_MSRS)
		return;
	list->place[list->head.nmsrs] = place;
	list->entry[list->head.nmsrs++] =
	    (struct kvm_msr_entry){.index = msr, .data = *place};
}

static void list_add_mtrrs(struct msr_list *list, struct vcpu_state *state)
{
	list_add(list, MSR_MTRR_FIX64K_00000, &state->mtrr_fixed[0]);
	for (unsigned n = 0; n < 2; n++)
		list_add(list, MSR_MTRR_FIX16K_80000 + n,
			 &state->mtrr_fixed[1 + n]);
	for (unsigned n = 0; n < 8; n++)
		list_add(list, MSR_MTRR_FIX4K_C0000 + n,
			 &state->mtrr_fixed[3 + n]);
	for (unsigned n = 0; n < VCPU_MTRR_VARIABLE; n++) {
		list_add(list, MSR_MTRR_PHYSBASE0 + 2 * n,
			 &state->mtrr_base[n]);
		list_add(list, MSR_MTRR_PHYSBASE0 + 2 * n + 1,
			 &state->mtrr_mask[n]);
	}
	list_add(list, MSR_MTRR_DEF_TYPE, &state->msr[VCPU_MSR_MTRR_DEF_TYPE]);
}

static void list_all(struct kvm_cpu *c, struct msr_list *list,
		     struct vcpu_state *state)
{
	uint64_t *msr = state->msr;

	list->head = (struct kvm_msrs){0};
	list_add(list, MSR_STAR, &msr[VCPU_MSR_STAR]);
	list_add(list, MSR_LSTAR, &msr[VCPU_MSR_LSTAR]);
	list_add(list, MSR_CSTAR, &msr[VCPU_MSR_CSTAR]);
	list_add(list, MSR_SFMASK, &msr[VCPU_MSR_SFMASK]);
	list_add(list, MSR_SYSENTER_CS, &msr[VCPU_MSR_SYSENTER_CS]);
	list_add(list, MSR_SYSENTER_ESP, &msr[VCPU_MSR_SYSENTER_ESP]);
	list_add(list, MSR_SYSENTER_EIP, &msr[VCPU_MSR_SYSENTER_EIP]);
	list_add(list, MSR_PAT, &msr[VCPU_MSR_PAT]);
	list_add(list, MSR_KERNEL_GS_BASE, &state->reg[VM_REG_GUEST_KGS_BASE]);
	list_add_mtrrs(list, state);
	if (c->has_tsc_aux)
		list_add(list, MSR_TSC_AUX, &msr[VCPU_MSR_TSC_AUX]);
	if (c->has_xss)
		list_add(list, MSR_XSS, &msr[VCPU_MSR_XSS]);
	if (!c->has_clock)
		return;
	list_add(list, MSR_KVM_SYSTEM_TIME, &msr[VCPU_MSR_KVM_SYSTEM_TIME]);
	if (c->vcpu->id == 0) /* the VM has one */
		list_add(list, MSR_KVM_WALL_CLOCK,
			 &msr[VCPU_MSR_KVM_WALL_CLOCK]);
}

int kvm_msrs_get(struct kvm_cpu *c, struct vcpu_state *state)
{
	struct msr_list list;
	int got;

	list_all(c, &list, state);
	got = ioctl(c->fd, KVM_GET_MSRS, &list);
	if (got < 0)
		return -errno;
	for (int i = 0; i < got; i++)
		*list.place[i] = list.entry[i].data;
	state->msr[VCPU_MSR_MISC_ENABLE] = c->misc_enable;
	state->msr[VCPU_MSR_DEBUGCTL] = c->debugctl;
	state->msr[VCPU_MSR_SPEC_CTRL] = c->spec_ctrl;
	return got == (int)list.head.nmsrs ? 0 : -EIO;
}

/* KVM stops at the first that it does not take. */
static int msrs_refused(struct kvm_cpu *c, const struct msr_list *list, int set,
			int error)
{
	const char *remedy = "try cpu.model=x86-64-v2 or engine=soft";
	char call[40] = "KVM_SET_MSRS";

	if (set >= 0) {
		error = EINVAL;
		snprintf(call, sizeof(call), "KVM_SET_MSRS (MSR %#x)",
			 list->entry[set].index);
	}
	return kvm_failed(&c->vcpu->failure, c->vcpu->vm->name, call, error,
			  remedy);
}

int kvm_msrs_set(struct kvm_cpu *c, const struct vcpu_state *state)
{
	struct vcpu_state *copy = malloc(sizeof(*copy));
	struct msr_list list;
	int set;

	if (copy == NULL)
		return -ENOMEM;
	*copy = *state;
	list_all(c, &list, copy);
	set = ioctl(c->fd, KVM_SET_MSRS, &list);
	free(copy);
	if (set != (int)list.head.nmsrs)
		return msrs_refused(c, &list, set, errno);
	c->misc_enable = state->msr[VCPU_MSR_MISC_ENABLE];
	c->debugctl = state->msr[VCPU_MSR_DEBUGCTL];
	c->spec_ctrl = state->msr[VCPU_MSR_SPEC_CTRL];
	return 0;
}
