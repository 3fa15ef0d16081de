// SPDX-License-Identifier: BSD-2-Clause
/* A vCPU without mmu, decoder and main loop: see fake_cpu.h. */
#include "fake_cpu.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm/cpuid.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/native.h"
#include "x86/features.h"

#define PAGE 4096u

enum { ESCAPE_FAULT = 1, ESCAPE_LEFT };

static struct fake *fake_of(struct cpu *c)
{
	return container_of(c, struct fake, c);
}

/* -- what the engine's other files would do -------------------------------- */

_Noreturn void soft_raise(struct cpu *c, const struct insn *i, unsigned vector,
			  uint32_t error, uint64_t payload)
{
	struct fake *fake = fake_of(c);

	fake->vector = (int)vector;
	fake->error = error;
	fake->payload = payload;
	vec_leave(c); /* a sanitizer's longjmp uses vector registers */
	longjmp(c->escape, ESCAPE_FAULT);
}

uint64_t ea_slow(struct cpu *c, const struct insn *i, uint64_t offset,
		 unsigned len, enum access access)
{
	if (i->asize != 3)
		offset &= i->asize == 2 ? 0xffffffffu : 0xffffu;
	return c->seg[i->seg].base + offset;
}

uint64_t mmu_translate(struct cpu *c, const struct insn *i, uint64_t va,
		       enum access access)
{
	struct fake *fake = fake_of(c);
	uint64_t first = (uint64_t)(uintptr_t)fake->page[0];
	uint64_t n = (PAGE_BASE(va) - first) / PAGE;
	bool write = access == ACCESS_WRITE;

	if (va < first || n >= FAKE_PAGES || n == 2 || n == 4)
		soft_raise(c, i, X86_PF, write ? PF_WRITE : 0, va);
	if (n == 3 && write)
		soft_raise(c, i, X86_PF, PF_WRITE | PF_PRESENT, va);
	return va;
}

static void translate_both(struct cpu *c, const struct insn *i, uint64_t va,
			   unsigned len, enum access access)
{
	mmu_translate(c, i, va, access);
	if (PAGE_BASE(va) != PAGE_BASE(va + len - 1))
		mmu_translate(c, i, PAGE_BASE(va + len - 1), access);
}

uint64_t load_slow(struct cpu *c, const struct insn *i, uint64_t va,
		   unsigned len)
{
	uint64_t value = 0;

	translate_both(c, i, va, len, ACCESS_READ);
	vec_leave(c);
	copy_bytes(&value, (void *)va, len);
	return value;
}

void store_slow(struct cpu *c, const struct insn *i, uint64_t va,
		uint64_t value, unsigned len)
{
	struct fake *fake = fake_of(c);

	translate_both(c, i, va, len, ACCESS_WRITE);
	vec_leave(c);
	if (fake->leave_at_store && !fake->left) {
		fake->left = true;
		longjmp(c->escape, ESCAPE_LEFT);
	}
	copy_bytes((void *)va, &value, len);
}

void *operand_slow(struct cpu *c, const struct insn *i, uint64_t va,
		   unsigned len, enum access access)
{
	translate_both(c, i, va, len, access);
	vec_leave(c);
	copy_bytes(c->bounce, (void *)va, len);
	if (access == ACCESS_WRITE) {
		c->bounce_va = va;
		c->bounce_len = len;
	}
	return c->bounce;
}

void operand_end_slow(struct cpu *c, const struct insn *i)
{
	vec_leave(c);
	copy_bytes((void *)c->bounce_va, c->bounce, c->bounce_len);
	c->bounce_len = 0;
}

/* The model is the host itself. */
bool cpu_model_has(const struct cpu_model *model, unsigned feature)
{
	return host_has(feature);
}

uint64_t cpu_model_xcr0(const struct cpu_model *model)
{
	uint32_t eax, edx;

	__asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	return (uint64_t)edx << 32 | eax;
}

bool host_has(unsigned feature)
{
	enum { EAX, EBX, ECX, EDX };
	static const struct {
		uint32_t leaf, subleaf;
		uint8_t reg, bit;
	} where[X86_FEATURE_COUNT] = {
#define X86_FEATURE(name, text, leaf, subleaf, reg, bit)                       \
	[X86_FEATURE_##name] = {leaf, subleaf, reg, bit},
#include "x86/features.def"
#undef X86_FEATURE
	};
	uint32_t r[4] = {0};

	if (feature == X86_FEATURE_NONE)
		return true;
	if (!__get_cpuid_count(where[feature].leaf, where[feature].subleaf,
			       &r[0], &r[1], &r[2], &r[3]))
		return false;
	return r[where[feature].reg] >> where[feature].bit & 1;
}

/* -- the vCPU -----------------------------------------------------------------
 */

static void tlb_add(struct fake *fake, unsigned n)
{
	uint64_t va = (uint64_t)(uintptr_t)fake->page[n];
	struct tlb *t = fake->c.tlb;

	t->read[tlb_place(va)] = 0 - va;
	if (n != 3)
		t->write[tlb_place(va)] = 0 - va;
	t->addend[tlb_place(va)] = 0;
}

struct fake *fake_create(void)
{
	struct fake *fake = aligned_alloc(64, ALIGN_UP(sizeof(*fake), 64));
	struct cpu *c;
	uint8_t *pages;

	memset(fake, 0, sizeof(*fake));
	c = &fake->c;
	pages = mmap(NULL, FAKE_PAGES * PAGE, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		abort();
	for (unsigned n = 0; n < FAKE_PAGES; n++)
		fake->page[n] = pages + n * PAGE;
	mprotect(fake->page[2], PAGE, PROT_NONE);
	mprotect(fake->page[3], PAGE, PROT_READ);
	mprotect(fake->page[4], PAGE, PROT_NONE);
	/* A tag of 0 is page 0's, which no test touches. */
	c->tlb = calloc(1, sizeof(*c->tlb));
	tlb_add(fake, 0);
	tlb_add(fake, 3);
	c->svm = &fake->svm;
	c->svm->vm = &fake->vm;
	c->xsave = aligned_alloc(64, VCPU_XSAVE_SIZE);
	memset(c->xsave, 0, VCPU_XSAVE_SIZE);
	((struct xsave_image *)(void *)c->xsave)->mxcsr = MXCSR_RESET;
	((struct xsave_image *)(void *)c->xsave)->fcw = FCW_RESET;
	c->code_size = 8;
	c->flags = RFLAGS_ONE;
	c->cr0 = CR0_PE | CR0_NE | CR0_MP | CR0_ET;
	c->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
	if (native_create(c) != 0)
		abort();
	c->xcr0 = c->native->rfbm;
	vec_mode_changed(c);
	return fake;
}

void fake_destroy(struct fake *fake)
{
	native_destroy(&fake->c);
	munmap(fake->page[0], FAKE_PAGES * PAGE);
	free(fake->c.tlb);
	free(fake->c.xsave);
	free(fake);
}

static const struct insn *stop(struct cpu *c, const struct insn *i)
{
	return NULL;
}

void fake_run(struct fake *fake, struct insn *i)
{
	struct insn run[2] = {*i, {.exec = stop}};

	fake->vector = NO_FAULT;
	fake->left = false;
	if (fake->live && !SOFT_EAGER_LEAVE)
		vec_enter(&fake->c);
	if (setjmp(fake->c.escape) != ESCAPE_FAULT)
		run[0].exec(&fake->c, &run[0]);
	fake->c.bounce_len = 0;
	vec_leave(&fake->c);
}
