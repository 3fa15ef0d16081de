// SPDX-License-Identifier: BSD-2-Clause
/* The CPU model's CPUID, given to KVM, which answers the guest itself. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/kvm_para.h>

#include "vmm/kvm/kvm.h"
#include "x86/cr.h"
#include "x86/features.h"

#define MAX_ENTRIES 256

struct entries {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entry[MAX_ENTRIES];
};

/* Leaves with subleaves, and how many are of interest. */
static const struct {
	uint32_t leaf, subleaves;
} indexed[] = {{4, 8}, {7, 1}, {0xb, 3}, {0xd, 63}, {0x8000001d, 8}};

static uint32_t subleaves(uint32_t leaf)
{
	for (size_t i = 0; i < ARRAY_SIZE(indexed); i++)
		if (indexed[i].leaf == leaf)
			return indexed[i].subleaves;
	return 0;
}

/* -- what KVM supports -------------------------------------------------------
 */

static struct cpuid_regs supported(void *arg, uint32_t leaf, uint32_t subleaf)
{
	const struct entries *all = arg;

	if (leaf == CPUID_KVM_FEATURES)
		leaf = KVM_CPUID_FEATURES;
	for (uint32_t i = 0; i < all->head.nent; i++) {
		const struct kvm_cpuid_entry2 *e = &all->entry[i];

		if (e->function == leaf &&
		    (e->index == subleaf ||
		     (e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) == 0))
			return (struct cpuid_regs){e->eax, e->ebx, e->ecx,
						   e->edx};
	}
	return (struct cpuid_regs){0};
}

int kvm_reduce_model(int kvm, struct cpu_model *model, struct err *err)
{
	struct entries *all = calloc(1, sizeof(*all));
	int error;

	if (all == NULL)
		return err_set(err, ENOMEM, "CPU model: out of memory");
	all->head.nent = MAX_ENTRIES;
	if (ioctl(kvm, KVM_GET_SUPPORTED_CPUID, all) != 0)
		error = kvm_failed(err, "/dev/kvm", "KVM_GET_SUPPORTED_CPUID",
				   errno, "use engine=soft");
	else
		error = cpu_model_restrict(model, supported, all, false, err);
	free(all);
	return error;
}

int kvm_limit_model(struct cpu_model *model, struct err *err)
{
	int kvm = kvm_open(err);
	int error;

	if (kvm < 0)
		return kvm;
	error = kvm_reduce_model(kvm, model, err);
	close(kvm);
	return error;
}

/*
 * The guest's TSC runs at the host's rate, which KVM knows better than we do,
 * who measured it for a few ms.
 */
#define LEAF_TSC       0x15
#define LEAF_FREQUENCY 0x16

static void tell_tsc_rate(struct kvm_cpu *c, uint32_t leaf,
			  struct cpuid_regs *r)
{
	int khz = ioctl(c->fd, KVM_GET_TSC_KHZ, 0);

	if (khz <= 0)
		return;
	if (leaf == LEAF_TSC && r->ecx != 0)
		r->ecx = (uint32_t)khz * 1000;
	if (leaf == LEAF_FREQUENCY && r->eax != 0)
		r->eax = r->ebx = (uint32_t)khz / 1000;
}

/* -- what the guest sees -----------------------------------------------------
 */

static void add(struct kvm_cpu *c, struct entries *all, uint32_t leaf,
		uint32_t subleaf, bool is_indexed)
{
	struct cpuid_regs r =
	    cpu_model_cpuid(c->vcpu, leaf, subleaf, CR4_OSXSAVE,
			    cpu_model_xcr0(c->vcpu->vm->cpu_model), 0);

	if (all->head.nent == MAX_ENTRIES)
		return;
	if (leaf == LEAF_TSC || leaf == LEAF_FREQUENCY)
		tell_tsc_rate(c, leaf, &r);
	all->entry[all->head.nent++] = (struct kvm_cpuid_entry2){
	    .function = leaf,
	    .index = subleaf,
	    .flags = is_indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
	    .eax = r.eax,
	    .ebx = r.ebx,
	    .ecx = r.ecx,
	    .edx = r.edx,
	};
}

static void add_range(struct kvm_cpu *c, struct entries *all, uint32_t first)
{
	uint32_t last = cpu_model_cpuid(c->vcpu, first, 0, 0, 0, 0).eax;

	for (uint32_t leaf = first; leaf <= last; leaf++) {
		uint32_t count = subleaves(leaf);

		if (count == 0)
			add(c, all, leaf, 0, false);
		for (uint32_t n = 0; n < count; n++)
			add(c, all, leaf, n, true);
	}
}

/* OSXSAVE and the sizes in leaf 0xd follow CR4 and XCR0: KVM sees to that. */
int kvm_set_cpuid(struct kvm_cpu *c, struct err *err)
{
	const struct cpu_model *model = c->vcpu->vm->cpu_model;
	struct entries *all = calloc(1, sizeof(*all));
	int error = 0;

	if (all == NULL)
		return err_set(err, ENOMEM, "%s: CPU model: out of memory",
			       c->vcpu->vm->name);
	add_range(c, all, 0);
	add_range(c, all, 0x40000000);
	add_range(c, all, CPUID_KVM);
	add_range(c, all, 0x80000000);
	if (ioctl(c->fd, KVM_SET_CPUID2, all) != 0)
		error =
		    kvm_failed(err, c->vcpu->vm->name, "KVM_SET_CPUID2", errno,
			       "try a smaller cpu.model (x86-64-v2)");
	free(all);
	c->has_tsc_aux = cpu_model_has(model, X86_FEATURE_RDTSCP) ||
			 cpu_model_has(model, X86_FEATURE_RDPID);
	c->has_xss = cpu_model_has(model, X86_FEATURE_XSAVES);
	c->has_clock = cpu_model_has(model, X86_FEATURE_KVM_CLOCK);
	c->has_xcr0 = cpu_model_has(model, X86_FEATURE_XSAVE);
	return error;
}
