/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU model: CPUID as a guest sees it. Features come from the host's
 * CPUID, are reduced to those of x86/features.def that the engines implement,
 * and then by the model and the user's +x,-y.
 */
#include "vmm/cpuid.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/vm.h"
#include "x86/cr.h"
#include "x86/features.h"

enum cpuid_register { EAX, EBX, ECX, EDX };

struct feature {
	const char *text;
	uint32_t leaf;
	uint8_t subleaf, reg, bit;
};

static const struct feature feature_table[X86_FEATURE_COUNT] = {
    [X86_FEATURE_NONE] = {"", 0, 0, 0, 0},
#define X86_FEATURE(name, text, leaf, subleaf, reg, bit)                       \
	[X86_FEATURE_##name] = {text, leaf, subleaf, reg, bit},
#include "x86/features.def"
#undef X86_FEATURE
};

struct cpu_model {
	bool has[X86_FEATURE_COUNT];
	bool is_amd;
	bool is_named; /* the user chose a level, not the host */
	bool is_common;
	bool is_held; /* the guest has seen it */
	unsigned maxphyaddr;
	uint64_t xcr0;
	uint64_t tsc_hz;
	uint32_t max_leaf, max_extended;
};

/* -- the host
 * ------------------------------------------------------------------------ */

static struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct cpuid_regs r;

	__asm__("cpuid"
		: "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
		: "a"(leaf), "c"(subleaf));
	return r;
}

static uint32_t register_of(const struct cpuid_regs *r, unsigned reg)
{
	return reg == EAX   ? r->eax
	       : reg == EBX ? r->ebx
	       : reg == ECX ? r->ecx
			    : r->edx;
}

static bool host_has_leaf(uint32_t leaf)
{
	return host_cpuid(leaf & 0x80000000, 0).eax >= leaf;
}

/* With OSXSAVE only. */
static uint64_t host_xcr0(void)
{
	uint32_t eax, edx;

	__asm__("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	return (uint64_t)edx << 32 | eax;
}

/* -- what can be offered at all
 * --------------------------------------------------------- */

/*
 * No engine implements these yet: a guest must not see them. The rest of
 * features.def the soft engine has, given the host's instruction where it
 * runs it there.
 */
static const uint16_t not_implemented[] = {
    X86_FEATURE_PKU,
};

/* Ours whatever the host has: the engine needs nothing of it for them. */
static const uint16_t always[] = {
    X86_FEATURE_X2APIC,   X86_FEATURE_TSC_DEADLINE, X86_FEATURE_HYPERVISOR,
    X86_FEATURE_MOVBE,    X86_FEATURE_PCID,         X86_FEATURE_INVPCID,
    X86_FEATURE_SMEP,     X86_FEATURE_SMAP,         X86_FEATURE_UMIP,
    X86_FEATURE_FSGSBASE, X86_FEATURE_TSC_ADJUST,   X86_FEATURE_ERMS,
    X86_FEATURE_FSRM,     X86_FEATURE_PDPE1GB,      X86_FEATURE_RDTSCP,
    X86_FEATURE_RDPID,    X86_FEATURE_NX,           X86_FEATURE_INVTSC,
    X86_FEATURE_APIC,     X86_FEATURE_PGE,          X86_FEATURE_SEP,
    X86_FEATURE_MTRR,     X86_FEATURE_PAT,          X86_FEATURE_DE,
    X86_FEATURE_LAHF_LM,  X86_FEATURE_SYSCALL,      X86_FEATURE_MCE,
    X86_FEATURE_MCA,      X86_FEATURE_VME,          X86_FEATURE_LA57,
};

/*
 * Offered, but shown only to who asks for it: a kernel that finds LA57 walks
 * five levels for each page, which costs everybody, and 128 TiB are enough for
 * most.
 */
static const uint16_t on_request[] = {X86_FEATURE_LA57};

/*
 * The soft engine's word on speculation (docs/cpu.md): tables of CPL 3 never
 * hold what CPL 3 may not read, and what a kernel does against its CPU's
 * other leaks, VERW and thunks, does not reach the host's CPU from here. So
 * kernels are told, in their CPU's words, that there is nothing to do.
 */
static const uint16_t speculation_intel[] = {
    X86_FEATURE_SPEC_CTRL,
    X86_FEATURE_STIBP,
    X86_FEATURE_ARCH_CAPABILITIES,
    X86_FEATURE_BHI_CTRL,
};
static const uint16_t speculation_amd[] = {
    X86_FEATURE_AMD_IBRS,   X86_FEATURE_AMD_STIBP,
    X86_FEATURE_AMD_SSB_NO, X86_FEATURE_AMD_STIBP_ALWAYS,
    X86_FEATURE_AMD_BTC_NO, X86_FEATURE_AUTO_IBRS,
    X86_FEATURE_SRSO_NO,    X86_FEATURE_TSA_SQ_NO,
    X86_FEATURE_TSA_L1_NO,
};

/* Of the kernel's that runs the guest: on KVM only. */
static const uint16_t kvm_only[] = {
    X86_FEATURE_KVM_NOPIODELAY,
    X86_FEATURE_KVM_CLOCK,
    X86_FEATURE_KVM_CLOCK_STABLE,
};

static bool is_in(const uint16_t *list, size_t count, unsigned feature)
{
	for (size_t n = 0; n < count; n++)
		if (list[n] == feature)
			return true;
	return false;
}

static void set_all(bool has[], const uint16_t *list, size_t count, bool value)
{
	for (size_t n = 0; n < count; n++)
		has[list[n]] = value;
}

static bool is_speculation(unsigned feature)
{
	return is_in(speculation_intel, ARRAY_SIZE(speculation_intel),
		     feature) ||
	       is_in(speculation_amd, ARRAY_SIZE(speculation_amd), feature);
}

/* What one of the engines has for guests that stay with it. */
static bool is_one_engines(unsigned feature)
{
	return is_speculation(feature) ||
	       is_in(kvm_only, ARRAY_SIZE(kvm_only), feature);
}

/* -- models: each level is the one before and these (x86-64 psABI, 3.1.1)
 * ---------------- */

static const uint16_t level1[] = {
    X86_FEATURE_FPU,     X86_FEATURE_DE,         X86_FEATURE_PSE,
    X86_FEATURE_TSC,     X86_FEATURE_MSR,        X86_FEATURE_PAE,
    X86_FEATURE_MCE,     X86_FEATURE_CX8,        X86_FEATURE_APIC,
    X86_FEATURE_SEP,     X86_FEATURE_MTRR,       X86_FEATURE_PGE,
    X86_FEATURE_MCA,     X86_FEATURE_CMOV,       X86_FEATURE_PAT,
    X86_FEATURE_PSE36,   X86_FEATURE_CLFLUSH,    X86_FEATURE_MMX,
    X86_FEATURE_FXSR,    X86_FEATURE_SSE,        X86_FEATURE_SSE2,
    X86_FEATURE_X2APIC,  X86_FEATURE_HYPERVISOR, X86_FEATURE_TSC_DEADLINE,
    X86_FEATURE_SYSCALL, X86_FEATURE_NX,         X86_FEATURE_LM,
    X86_FEATURE_INVTSC,  X86_FEATURE_RDTSCP,     X86_FEATURE_TSC_ADJUST,
};
static const uint16_t level2[] = {
    X86_FEATURE_CX16,   X86_FEATURE_LAHF_LM, X86_FEATURE_POPCNT,
    X86_FEATURE_SSE3,   X86_FEATURE_SSSE3,   X86_FEATURE_SSE4_1,
    X86_FEATURE_SSE4_2,
};
static const uint16_t level3[] = {
    X86_FEATURE_AVX,   X86_FEATURE_AVX2,    X86_FEATURE_BMI1, X86_FEATURE_BMI2,
    X86_FEATURE_F16C,  X86_FEATURE_FMA,     X86_FEATURE_ABM,  X86_FEATURE_MOVBE,
    X86_FEATURE_XSAVE, X86_FEATURE_OSXSAVE,
};
static const uint16_t level4[] = {
    X86_FEATURE_AVX512F,  X86_FEATURE_AVX512BW, X86_FEATURE_AVX512CD,
    X86_FEATURE_AVX512DQ, X86_FEATURE_AVX512VL,
};

static const struct {
	const uint16_t *feature;
	unsigned count;
} levels[] = {
    {level1, ARRAY_SIZE(level1)},
    {level2, ARRAY_SIZE(level2)},
    {level3, ARRAY_SIZE(level3)},
    {level4, ARRAY_SIZE(level4)},
};

static const char *const level_name[] = {"x86-64", "x86-64-v2", "x86-64-v3",
					 "x86-64-v4"};

/*
 * What the host has and we can offer. CPUID takes tens of microseconds on a
 * host that is itself a guest, so each leaf of the table is read once.
 */
static void take_host(bool has[], bool is_amd)
{
	const struct feature *before = NULL;
	struct cpuid_regs r = {0};

	for (unsigned n = 1; n < X86_FEATURE_COUNT; n++) {
		const struct feature *f = &feature_table[n];

		if (before == NULL || f->leaf != before->leaf ||
		    f->subleaf != before->subleaf)
			r = host_has_leaf(f->leaf)
				? host_cpuid(f->leaf, f->subleaf)
				: (struct cpuid_regs){0};
		before = f;
		has[n] = (register_of(&r, f->reg) >> f->bit & 1) != 0;
	}
	set_all(has, always, ARRAY_SIZE(always), true);
	set_all(has, kvm_only, ARRAY_SIZE(kvm_only), true);
	set_all(has, not_implemented, ARRAY_SIZE(not_implemented), false);
	set_all(has, speculation_intel, ARRAY_SIZE(speculation_intel), !is_amd);
	set_all(has, speculation_amd, ARRAY_SIZE(speculation_amd), is_amd);
	/* Without the host's XSAVE, vector state is FXSAVE's. */
	if (!has[X86_FEATURE_OSXSAVE])
		has[X86_FEATURE_XSAVE] = false;
	/* The soft engine moves masks of 64 bits (BW; Xeon Phi is without),
	   and the host's kernel may have no place for the state. */
	if (!has[X86_FEATURE_AVX512BW] || !has[X86_FEATURE_XSAVE] ||
	    (host_xcr0() & XCR0_AVX512) != XCR0_AVX512)
		has[X86_FEATURE_AVX512F] = false;
}

static int reduce_to_model(struct cpu_model *m, const char *name,
			   struct err *err)
{
	bool wanted[X86_FEATURE_COUNT] = {false};

	if (name == NULL || strcmp(name, "host") == 0 ||
	    strcmp(name, "common") == 0)
		return 0;
	for (unsigned n = 0; n < ARRAY_SIZE(levels); n++) {
		for (unsigned k = 0; k < levels[n].count; k++)
			wanted[levels[n].feature[k]] = true;
		if (strcmp(name, level_name[n]) != 0)
			continue;
		for (unsigned f = 1; f < X86_FEATURE_COUNT; f++) {
			if (wanted[f] && !m->has[f])
				return err_set(
				    err, ENOTSUP,
				    "cpu.model=%s: this host or engine "
				    "lacks %s",
				    name, feature_table[f].text);
			m->has[f] =
			    m->has[f] && (wanted[f] || is_speculation(f));
		}
		return 0;
	}
	return err_set(err, EINVAL,
		       "cpu.model=%s: unknown; there are host, common, "
		       "x86-64, x86-64-v2, x86-64-v3, x86-64-v4",
		       name);
}

static unsigned feature_by_name(const char *text, size_t len)
{
	for (unsigned n = 1; n < X86_FEATURE_COUNT; n++)
		if (strlen(feature_table[n].text) == len &&
		    strncmp(feature_table[n].text, text, len) == 0)
			return n;
	return 0;
}

/* "+x,-y": + only brings back what the host and we have. */
static int apply_features(struct cpu_model *m, const bool possible[],
			  const char *list, struct err *err)
{
	while (list != NULL && *list != '\0') {
		size_t len = strcspn(list, ",");
		unsigned f = feature_by_name(list + 1, len > 0 ? len - 1 : 0);

		if ((list[0] != '+' && list[0] != '-') || f == 0)
			return err_set(err, EINVAL,
				       "cpu.features: \"%.*s\" is not +NAME or "
				       "-NAME of a CPU feature",
				       (int)len, list);
		if (list[0] == '+' && !possible[f])
			return err_set(err, ENOTSUP,
				       "cpu.features: %.*s: this host or "
				       "engine lacks it",
				       (int)len, list);
		m->has[f] = list[0] == '+';
		list += len + (list[len] == ',');
	}
	return 0;
}

/* A feature without the one it stands on goes too. */
static void drop_orphans(bool has[])
{
	static const uint16_t needs[][2] = {
	    {X86_FEATURE_MMX, X86_FEATURE_FPU},
	    {X86_FEATURE_FXSR, X86_FEATURE_FPU},
	    {X86_FEATURE_SSE, X86_FEATURE_FXSR},
	    {X86_FEATURE_SSE2, X86_FEATURE_SSE},
	    {X86_FEATURE_SSE3, X86_FEATURE_SSE2},
	    {X86_FEATURE_SSSE3, X86_FEATURE_SSE3},
	    {X86_FEATURE_SSE4A, X86_FEATURE_SSE3},
	    {X86_FEATURE_SSE4_1, X86_FEATURE_SSSE3},
	    {X86_FEATURE_SSE4_2, X86_FEATURE_SSE4_1},
	    {X86_FEATURE_PCLMULQDQ, X86_FEATURE_SSE2},
	    {X86_FEATURE_AES, X86_FEATURE_SSE2},
	    {X86_FEATURE_SHA, X86_FEATURE_SSE2},
	    {X86_FEATURE_GFNI, X86_FEATURE_SSE2},
	    {X86_FEATURE_XSAVE, X86_FEATURE_FXSR},
	    {X86_FEATURE_OSXSAVE, X86_FEATURE_XSAVE},
	    {X86_FEATURE_AVX, X86_FEATURE_SSE4_2},
	    {X86_FEATURE_LM, X86_FEATURE_PAE},
	    {X86_FEATURE_NX, X86_FEATURE_PAE},
	    {X86_FEATURE_PCID, X86_FEATURE_LM},
	    {X86_FEATURE_LA57, X86_FEATURE_LM},
	    {X86_FEATURE_PDPE1GB, X86_FEATURE_LM},
	    {X86_FEATURE_X2APIC, X86_FEATURE_APIC},
	    {X86_FEATURE_TSC_DEADLINE, X86_FEATURE_APIC},
	    {X86_FEATURE_TSC_DEADLINE, X86_FEATURE_TSC},
	    {X86_FEATURE_TSC_ADJUST, X86_FEATURE_TSC},
	    {X86_FEATURE_RDTSCP, X86_FEATURE_TSC},
	    {X86_FEATURE_INVTSC, X86_FEATURE_TSC},
	    {X86_FEATURE_CX16, X86_FEATURE_CX8},
	    {X86_FEATURE_AVX, X86_FEATURE_XSAVE},
	    {X86_FEATURE_AVX2, X86_FEATURE_AVX},
	    {X86_FEATURE_FMA, X86_FEATURE_AVX},
	    {X86_FEATURE_F16C, X86_FEATURE_AVX},
	    {X86_FEATURE_VAES, X86_FEATURE_AVX},
	    {X86_FEATURE_VPCLMULQDQ, X86_FEATURE_AVX},
	    {X86_FEATURE_AVX512F, X86_FEATURE_AVX2},
	    {X86_FEATURE_AVX512F, X86_FEATURE_FMA},
	    {X86_FEATURE_AVX512F, X86_FEATURE_F16C},
	    {X86_FEATURE_AVX512BW, X86_FEATURE_AVX512F},
	    {X86_FEATURE_AVX512CD, X86_FEATURE_AVX512F},
	    {X86_FEATURE_AVX512DQ, X86_FEATURE_AVX512F},
	    {X86_FEATURE_AVX512VL, X86_FEATURE_AVX512F},
	    {X86_FEATURE_AVX512IFMA, X86_FEATURE_AVX512F},
	    {X86_FEATURE_AVX512VNNI, X86_FEATURE_AVX512F},
	    {X86_FEATURE_AVX512VPOPCNTDQ, X86_FEATURE_AVX512F},
	    {X86_FEATURE_AVX512VBMI, X86_FEATURE_AVX512BW},
	    {X86_FEATURE_AVX512VBMI2, X86_FEATURE_AVX512BW},
	    {X86_FEATURE_AVX512BITALG, X86_FEATURE_AVX512BW},
	    {X86_FEATURE_AVX512BF16, X86_FEATURE_AVX512BW},
	    {X86_FEATURE_XSAVEOPT, X86_FEATURE_XSAVE},
	    {X86_FEATURE_XSAVEC, X86_FEATURE_XSAVE},
	    {X86_FEATURE_XGETBV1, X86_FEATURE_XSAVE},
	    {X86_FEATURE_XSAVES, X86_FEATURE_XSAVEC},
	    {X86_FEATURE_INVPCID, X86_FEATURE_PCID},
	    {X86_FEATURE_KVM_NOPIODELAY, X86_FEATURE_KVM_CLOCK},
	    {X86_FEATURE_KVM_CLOCK_STABLE, X86_FEATURE_KVM_CLOCK},
	};

	for (unsigned n = 0; n < ARRAY_SIZE(needs); n++)
		has[needs[n][0]] = has[needs[n][0]] && has[needs[n][1]];
}

static uint64_t allowed_xcr0(const struct cpu_model *m)
{
	uint64_t xcr0 = 0;

	if (!m->has[X86_FEATURE_XSAVE])
		return 0;
	xcr0 = XCR0_X87 | XCR0_SSE;
	if (m->has[X86_FEATURE_AVX])
		xcr0 |= XCR0_AVX;
	if (m->has[X86_FEATURE_AVX512F])
		xcr0 |= XCR0_AVX512;
	return xcr0;
}

int cpu_model_create(const char *model, const char *features, uint64_t tsc_hz,
		     struct cpu_model **out, struct err *err)
{
	struct cpu_model *m = calloc(1, sizeof(*m));
	struct cpuid_regs vendor = host_cpuid(0, 0);
	bool possible[X86_FEATURE_COUNT] = {false};
	int error;

	if (m == NULL)
		return err_set(err, ENOMEM, "CPU model: out of memory");
	m->is_amd = vendor.ebx == 0x68747541 || vendor.ebx == 0x6f677948;
	take_host(m->has, m->is_amd);
	memcpy(possible, m->has, sizeof(possible));
	set_all(m->has, on_request, ARRAY_SIZE(on_request), false);
	error = reduce_to_model(m, model, err);
	if (error == 0)
		error = apply_features(m, possible, features, err);
	if (error != 0) {
		free(m);
		return error;
	}
	m->is_common = model != NULL && strcmp(model, "common") == 0;
	for (unsigned n = 1; n < X86_FEATURE_COUNT; n++)
		m->has[n] = m->has[n] && !(m->is_common && is_one_engines(n));
	drop_orphans(m->has);
	m->is_named =
	    model != NULL && strcmp(model, "host") != 0 && !m->is_common;
	m->tsc_hz = tsc_hz;
	m->xcr0 = allowed_xcr0(m);
	m->maxphyaddr = host_has_leaf(0x80000008)
			    ? MIN(host_cpuid(0x80000008, 0).eax & 0xff, 48u)
			    : 36;
	m->max_leaf = MIN(MAX(vendor.eax, 0xdu), 0x16u);
	m->max_extended = host_has_leaf(0x80000008)
			      ? MIN(host_cpuid(0x80000000, 0).eax, 0x80000021u)
			      : 0x80000008;
	*out = m;
	return 0;
}

/* The room's own doing: no engine needs to know of them. */
static bool is_rooms(unsigned feature)
{
	static const uint16_t rooms[] = {
	    X86_FEATURE_X2APIC,     X86_FEATURE_APIC,
	    X86_FEATURE_HYPERVISOR, X86_FEATURE_TSC_DEADLINE,
	    X86_FEATURE_INVTSC,     X86_FEATURE_TSC_ADJUST,
	    X86_FEATURE_OSXSAVE, /* follows CR4 */
	};

	return is_in(rooms, ARRAY_SIZE(rooms), feature);
}

int cpu_model_restrict(struct cpu_model *m,
		       struct cpuid_regs (*engine)(void *arg, uint32_t leaf,
						   uint32_t subleaf),
		       void *arg, bool translated, struct err *err)
{
	for (unsigned n = 1; n < X86_FEATURE_COUNT; n++) {
		const struct feature *f = &feature_table[n];
		struct cpuid_regs r = engine(arg, f->leaf, f->subleaf);

		if (!m->has[n] || is_rooms(n) ||
		    ((translated || !is_speculation(n)) &&
		     (register_of(&r, f->reg) >> f->bit & 1) != 0))
			continue;
		if (m->is_held)
			return err_set(
			    err, ENOTSUP,
			    "the guest began with CPU feature %s, "
			    "which this engine lacks here; "
			    "cpu.model=common would have left it out",
			    f->text);
		if (m->is_named && !is_speculation(n))
			return err_set(err, ENOTSUP,
				       "cpu.model: the engine lacks %s here; "
				       "use cpu.model=host or another engine",
				       f->text);
		m->has[n] = false;
	}
	drop_orphans(m->has);
	m->xcr0 = allowed_xcr0(m);
	return 0;
}

bool cpu_model_is_common(const struct cpu_model *model)
{
	return model->is_common;
}

_Static_assert(X86_FEATURE_COUNT <= CPU_FEATURE_WORDS * 64,
	       "a bit for each feature");

void cpu_model_get(const struct cpu_model *model,
		   uint64_t words[CPU_FEATURE_WORDS])
{
	memset(words, 0, CPU_FEATURE_WORDS * sizeof(words[0]));
	for (unsigned n = 1; n < X86_FEATURE_COUNT; n++)
		if (model->has[n])
			words[n / 64] |= BIT(n % 64);
}

int cpu_model_hold(struct cpu_model *model, const char *who,
		   const uint64_t words[CPU_FEATURE_WORDS], struct err *err)
{
	for (unsigned n = 1; n < X86_FEATURE_COUNT; n++) {
		bool had = (words[n / 64] & BIT(n % 64)) != 0;

		if (had && !model->has[n])
			return err_set(err, ENOTSUP,
				       "%s: the guest began with CPU feature "
				       "%s, which cpu.model lacks here now",
				       who, feature_table[n].text);
		model->has[n] = had;
	}
	model->is_held = true;
	model->xcr0 = allowed_xcr0(model);
	return 0;
}

void cpu_model_destroy(struct cpu_model *model)
{
	free(model);
}

bool cpu_model_has(const struct cpu_model *model, unsigned feature)
{
	return feature < X86_FEATURE_COUNT &&
	       (feature == 0 || model->has[feature]);
}

uint64_t cpu_model_xcr0(const struct cpu_model *model)
{
	return model->xcr0;
}

unsigned cpu_model_maxphyaddr(const struct cpu_model *model)
{
	return model->maxphyaddr;
}

bool cpu_model_is_amd(const struct cpu_model *model)
{
	return model->is_amd;
}

/* -- CPUID
 * ----------------------------------------------------------------------------------
 */

/* The bits of one register that features.def has and the model offers. */
static uint32_t feature_word(const struct cpu_model *m, uint32_t leaf,
			     uint32_t subleaf, unsigned reg)
{
	uint32_t word = 0;

	for (unsigned n = 1; n < X86_FEATURE_COUNT; n++) {
		const struct feature *f = &feature_table[n];

		if (m->has[n] && f->leaf == leaf && f->subleaf == subleaf &&
		    f->reg == reg)
			word |= 1u << f->bit;
	}
	return word;
}

static struct cpuid_regs feature_words(const struct cpu_model *m, uint32_t leaf,
				       uint32_t subleaf)
{
	return (struct cpuid_regs){feature_word(m, leaf, subleaf, EAX),
				   feature_word(m, leaf, subleaf, EBX),
				   feature_word(m, leaf, subleaf, ECX),
				   feature_word(m, leaf, subleaf, EDX)};
}

static unsigned log2_up(unsigned n)
{
	return n <= 1 ? 0 : 32 - (unsigned)__builtin_clz(n - 1);
}

struct topology {
	unsigned threads, cores; /* a core's threads, a package's cores */
};

static struct topology topology_of(const struct vm *vm)
{
	return (struct topology){MAX(vm->threads, 1u), MAX(vm->cores, 1u)};
}

static struct cpuid_regs leaf_1(const struct vmcpu *vcpu, uint64_t cr4)
{
	const struct cpu_model *m = vcpu->vm->cpu_model;
	struct topology t = topology_of(vcpu->vm);
	struct cpuid_regs r = feature_words(m, 1, 0);
	unsigned logical = t.threads * t.cores;

	r.eax = host_cpuid(1, 0).eax & 0x0fff3fff;
	r.ebx = vcpu->id << 24 | (logical & 0xff) << 16 | 8 << 8;
	if (logical > 1)
		r.edx |= 1u << 28; /* HTT: EBX has the count */
	if (!(cr4 & CR4_OSXSAVE))
		r.ecx &= ~(1u << 27);
	else
		r.ecx |= 1u << 27;
	return r;
}

/* Deterministic cache parameters: the host's, with our sharing. */
static struct cpuid_regs cache_leaf(const struct vmcpu *vcpu, uint32_t leaf,
				    uint32_t subleaf)
{
	struct topology t = topology_of(vcpu->vm);
	struct cpuid_regs r = host_cpuid(leaf, subleaf);
	unsigned level = r.eax >> 5 & 7, sharing;

	if ((r.eax & 31) == 0)
		return (struct cpuid_regs){0};
	sharing = level >= 3 ? t.threads * t.cores : t.threads;
	r.eax = (r.eax & 0x3ff) | (sharing - 1) << 14;
	if (leaf == 4)
		r.eax |= ((1u << log2_up(t.cores)) - 1) << 26;
	return r;
}

/* Extended topology (SDM vol. 2, CPUID leaf 0BH). */
static struct cpuid_regs topology_leaf(const struct vmcpu *vcpu,
				       uint32_t subleaf)
{
	struct topology t = topology_of(vcpu->vm);
	struct cpuid_regs r = {.ecx = subleaf & 0xff, .edx = vcpu->id};

	if (subleaf == 0) {
		r.eax = log2_up(t.threads);
		r.ebx = t.threads;
		r.ecx |= 1 << 8;
	} else if (subleaf == 1) {
		r.eax = log2_up(t.threads) + log2_up(t.cores);
		r.ebx = t.threads * t.cores;
		r.ecx |= 2 << 8;
	}
	return r;
}

/* Size of the XSAVE area in standard or compacted format. */
static uint32_t xsave_size(uint64_t features, bool compact)
{
	uint32_t size = 512 + 64;

	for (unsigned n = 2; n < 63; n++) {
		struct cpuid_regs r;

		if (!(features >> n & 1))
			continue;
		r = host_cpuid(0xd, n);
		if (!compact)
			size = MAX(size, r.ebx + r.eax);
		else
			size = (r.ecx & 2 ? ALIGN_UP(size, 64) : size) + r.eax;
	}
	return size;
}

static struct cpuid_regs xsave_leaf(const struct cpu_model *m, uint32_t subleaf,
				    uint64_t xcr0, uint64_t xss)
{
	struct cpuid_regs r = {0};

	if (!m->has[X86_FEATURE_XSAVE])
		return r;
	if (subleaf == 0) {
		r.eax = (uint32_t)m->xcr0;
		r.ebx = xsave_size(xcr0, false);
		r.ecx = xsave_size(m->xcr0, false);
		r.edx = (uint32_t)(m->xcr0 >> 32);
	} else if (subleaf == 1) {
		r = feature_words(m, 0xd, 1);
		if (m->has[X86_FEATURE_XSAVEC])
			r.ebx = xsave_size(xcr0 | xss, true);
	} else if (subleaf < 63 && (m->xcr0 >> subleaf & 1)) {
		r = host_cpuid(0xd, subleaf);
	}
	return r;
}

static struct cpuid_regs basic_leaf(struct vmcpu *vcpu, uint32_t leaf,
				    uint32_t subleaf, uint64_t cr4,
				    uint64_t xcr0, uint64_t xss)
{
	const struct cpu_model *m = vcpu->vm->cpu_model;
	struct cpuid_regs r = {0};

	switch (leaf) {
	case 0:
		r = host_cpuid(0, 0);
		r.eax = m->max_leaf;
		break;
	case 1:
		r = leaf_1(vcpu, cr4);
		break;
	case 4:
		if (!m->is_amd)
			r = cache_leaf(vcpu, 4, subleaf);
		break;
	case 6:
		r.eax = 1 << 2; /* ARAT: the APIC timer never stops */
		break;
	case 7:
		r = feature_words(m, 7, subleaf);
		if (subleaf == 0) /* the last subleaf */
			r.eax = m->has[X86_FEATURE_BHI_CTRL]     ? 2
				: m->has[X86_FEATURE_AVX512BF16] ? 1
								 : 0;
		break;
	case 0xb:
		r = topology_leaf(vcpu, subleaf);
		break;
	case 0xd:
		r = xsave_leaf(m, subleaf, xcr0, xss);
		break;
	case 0x15:
		/* TSC and its crystal, for CPUs that have them (Intel). */
		if (!m->is_amd)
			r = (struct cpuid_regs){1, 1, (uint32_t)m->tsc_hz, 0};
		break;
	case 0x16:
		if (!m->is_amd)
			r.eax = r.ebx = (uint32_t)(m->tsc_hz / 1000000);
		break;
	default:
		break;
	}
	return r;
}

static struct cpuid_regs extended_leaf(struct vmcpu *vcpu, uint32_t leaf,
				       uint32_t subleaf)
{
	const struct cpu_model *m = vcpu->vm->cpu_model;
	struct cpuid_regs r = {0};

	switch (leaf) {
	case 0x80000000:
		r = host_cpuid(leaf, 0);
		r.eax = m->max_extended;
		break;
	case 0x80000001:
		r = feature_words(m, leaf, 0);
		r.eax = host_cpuid(leaf, 0).eax;
		r.ebx = host_cpuid(leaf, 0).ebx;
		if (m->is_amd) /* leaf 1's bits are repeated (APM vol. 3) */
			r.edx |= feature_word(m, 1, 0, EDX) & 0x0183f3ff;
		break;
	case 0x80000002:
	case 0x80000003:
	case 0x80000004:
	case 0x80000005:
	case 0x80000006:
		r = host_cpuid(leaf, 0);
		break;
	case 0x80000007:
		r = feature_words(m, leaf, 0);
		break;
	case 0x80000008:
		r = feature_words(m, leaf, 0);
		r.eax = m->maxphyaddr | (m->has[X86_FEATURE_LA57] ? 57 : 48)
					    << 8;
		if (m->is_amd)
			r.ecx = topology_of(vcpu->vm).cores *
				    topology_of(vcpu->vm).threads -
				1;
		break;
	case 0x8000001d:
		if (m->is_amd)
			r = cache_leaf(vcpu, leaf, subleaf);
		break;
	case 0x80000021:
		r = feature_words(m, leaf, 0);
		break;
	default:
		break;
	}
	return r;
}

/*
 * "bhyve bhyve ", as FreeBSD's hypervisor says; and 0x100 leaves on, where
 * guests look next, "KVMKVMKVM", where KVM is what runs them.
 */
static struct cpuid_regs hypervisor_leaf(const struct cpu_model *m,
					 uint32_t leaf)
{
	if (leaf == 0x40000000)
		return (struct cpuid_regs){0x40000000, 0x76796862, 0x68622065,
					   0x20657679};
	if (!m->has[X86_FEATURE_KVM_CLOCK])
		return (struct cpuid_regs){0};
	if (leaf == CPUID_KVM)
		return (struct cpuid_regs){CPUID_KVM_FEATURES, 0x4b4d564b,
					   0x564b4d56, 0x4d};
	return feature_words(m, leaf, 0);
}

struct cpuid_regs cpu_model_cpuid(struct vmcpu *vcpu, uint32_t leaf,
				  uint32_t subleaf, uint64_t cr4, uint64_t xcr0,
				  uint64_t xss)
{
	const struct cpu_model *m = vcpu->vm->cpu_model;

	if (leaf >= 0x80000000 && leaf <= m->max_extended)
		return extended_leaf(vcpu, leaf, subleaf);
	if (leaf >= 0x40000000 && leaf < 0x40000200)
		return hypervisor_leaf(m, leaf);
	if (leaf <= m->max_leaf)
		return basic_leaf(vcpu, leaf, subleaf, cr4, xcr0, xss);
	/* Above the last leaf: Intel's CPUs repeat it, AMD's give zeros. */
	if (m->is_amd || leaf >= 0x80000000)
		return (struct cpuid_regs){0};
	return basic_leaf(vcpu, m->max_leaf, subleaf, cr4, xcr0, xss);
}
