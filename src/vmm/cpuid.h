/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU model: which CPUID leaves, features and XCR0 bits a VM shows. One
 * policy for both engines. Features are taken from the host, reduced to what
 * the engine implements (its own list) and what the model allows; what is
 * left out really faults.
 */
#ifndef VMM_CPUID_H
#define VMM_CPUID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct vm;
struct vmcpu;
struct cpu_model;

/* KVM's leaves, where its guests find them. */
#define CPUID_KVM          0x40000100u
#define CPUID_KVM_FEATURES 0x40000101u

struct cpuid_regs {
	uint32_t eax, ebx, ecx, edx;
};

/*
 * model: "host" or NULL, "common" (what each engine here has of it), "x86-64",
 * "-v2", "-v3", "-v4"; features: "+x,-y".
 */
int cpu_model_create(const char *model, const char *features, uint64_t tsc_hz,
		     struct cpu_model **out, struct err *err);
/*
 * Takes away what the engine lacks, where the room does not provide it; and,
 * unless it is translated (runs guests by the soft engine), what kernels are
 * told of speculation there. -ENOTSUP when that makes another model of one
 * that was named.
 */
int cpu_model_restrict(struct cpu_model *model,
		       struct cpuid_regs (*engine)(void *arg, uint32_t leaf,
						   uint32_t subleaf),
		       void *arg, bool translated, struct err *err);
/* Was it "common" that was asked for? */
bool cpu_model_is_common(const struct cpu_model *model);

/*
 * A guest keeps the features that it began with: get says which, hold makes
 * the model have just these. -ENOTSUP when it lacks one of them, and so does
 * cpu_model_restrict then.
 */
#define CPU_FEATURE_WORDS 4
void cpu_model_get(const struct cpu_model *model,
		   uint64_t words[CPU_FEATURE_WORDS]);
int cpu_model_hold(struct cpu_model *model, const char *who,
		   const uint64_t words[CPU_FEATURE_WORDS], struct err *err);
void cpu_model_destroy(struct cpu_model *model);

/* What CPUID returns on this vCPU now (OSXSAVE, APIC id, XCR0 sizes). */
struct cpuid_regs cpu_model_cpuid(struct vmcpu *vcpu, uint32_t leaf,
				  uint32_t subleaf, uint64_t cr4, uint64_t xcr0,
				  uint64_t xss);

/* feature: enum x86_feature of x86/features.def. */
bool cpu_model_has(const struct cpu_model *model, unsigned feature);
uint64_t cpu_model_xcr0(const struct cpu_model *model); /* allowed bits */
unsigned cpu_model_maxphyaddr(const struct cpu_model *model);
bool cpu_model_is_amd(const struct cpu_model *model);

#endif
