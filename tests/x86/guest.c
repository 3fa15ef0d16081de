// SPDX-License-Identifier: BSD-2-Clause
/*
 * Guest physical and host addresses are one here: RAM begins at host address
 * 0, and the guest's page tables map the test's pages to themselves. What the
 * engine runs is its own decoder, blocks, TLB and page walk.
 */
#include "guest.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/cpuid.h"
#include "vmm/engine.h"
#include "vmm/soft/block.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/jit/verify.h"
#include "vmm/soft/smc.h"
#include "vmm/soft/vec.h"
#include "vmm/soft/window.h"
#include "vmm/vm.h"

#define PTE_P 1u
#define PTE_W 2u
#define PTE_U 4u

struct guest {
	struct vm *vm; /* its own, but with guest_create_beside */
	struct guest *beside;
	struct vm own;
	struct vmcpu vcpu;
	struct vm_exit exit;
	uint64_t translated;
	size_t code_used; /* when all was forgotten last */
	bool left_ram;
	uint8_t *broken[2], was[2]; /* bytes of code that are INT3 */
	_Atomic bool stop;
};

static void map_pages(uint64_t *pt, uint64_t va, uint64_t gpa, unsigned pages)
{
	for (unsigned k = 0; k < pages; k++)
		pt[(va >> 12 & 511) + k] =
		    (gpa + k * 4096) | PTE_P | PTE_W | PTE_U;
}

void guest_map(struct guest *g, uint64_t va, uint64_t gpa)
{
	uint32_t tables = g->beside != NULL ? TEST_TABLES_2 : TEST_BASE;
	uint64_t *pt = (uint64_t *)(uintptr_t)(tables + 0x3000);

	pt[va >> 12 & 511] = gpa | PTE_P | PTE_W | PTE_U;
}

void guest_map_in_last_epoch(struct guest *g, uint64_t va, uint64_t gpa)
{
	struct cpu *c = g->vcpu.engine_data;

	c->epochs = MASK(EPOCH_BITS - 1, 0) - 1;
	guest_map(g, va, gpa);
	mmu_flush_page(c, va);
}

#define PAE_PDPT (TEST_BASE + 0x4000u)

/* At tables; data and stack lie the same way off their physical pages. */
static void make_tables(uint32_t tables, uint32_t off)
{
	uint64_t *pml4 = (uint64_t *)(uintptr_t)tables;
	uint64_t *pdpt = pml4 + 512, *pd = pdpt + 512, *pt = pd + 512;
	const uint64_t flags = PTE_P | PTE_W | PTE_U;

	pml4[0] = (uintptr_t)pdpt | flags;
	pdpt[0] = (uintptr_t)pd | flags;
	pd[TEST_BASE >> 21 & 511] = (uintptr_t)pt | flags;
	map_pages(pt, TEST_CODE, TEST_CODE, 1);
	map_pages(pt, TEST_DATA, TEST_DATA + off, 2);
	map_pages(pt, TEST_STACK, TEST_STACK + off, 2);
}

/* Of all guests: what is at a gpa is at that place in it. */
static int memory_fd = -1;

bool guest_memory(uint64_t gpa, uint64_t bytes, int prot)
{
	void *at = (void *)(uintptr_t)gpa;

	if (memory_fd < 0)
		memory_fd = memfd_create("guest", MFD_CLOEXEC);
	return memory_fd >= 0 && ftruncate(memory_fd, GUEST_RAM_END) == 0 &&
	       mmap(at, bytes, prot, MAP_SHARED | MAP_FIXED_NOREPLACE,
		    memory_fd, (off_t)gpa) == at;
}

void guest_map_rom(void)
{
	uint64_t *pt = (uint64_t *)(uintptr_t)TEST_BASE + 3 * 512;

	map_pages(pt, TEST_ROM, TEST_ROM, 1);
	pt[TEST_ROM >> 12 & 511] &= ~(uint64_t)PTE_W;
}

/* Of one of the process' user segments, or of the LDT. */
static struct seg_desc descriptor(const struct code_mode *code,
				  uint16_t selector)
{
	const struct ldt_segment *s = &ldt_segments[selector >> 3];
	bool is_wide = selector == code->cs && code->code_bytes == 8;
	uint32_t access = AR_P | AR_S | AR_ACCESSED |
			  (uint32_t)(selector & 3) << AR_DPL_SHIFT;

	if (selector == 0)
		return (struct seg_desc){0, 0, AR_UNUSABLE};
	if (selector == code->cs)
		access |= AR_CODE | AR_READABLE;
	else
		access |= AR_WRITABLE;
	if (!(selector & 4))
		return (struct seg_desc){
		    0, 0xffffffff, access | AR_G | (is_wide ? AR_L : AR_DB)};
	access |= (s->expand_down ? AR_EXPAND : 0) | (s->is_32bit ? AR_DB : 0);
	return (struct seg_desc){code->base, s->limit, access};
}

static void make_segments(struct vcpu_state *s, const struct code_mode *code)
{
	const struct {
		int reg;
		uint16_t selector;
	} all[] = {
	    {VM_REG_GUEST_CS, code->cs}, {VM_REG_GUEST_SS, code->ss},
	    {VM_REG_GUEST_DS, code->ds}, {VM_REG_GUEST_ES, code->es},
	    {VM_REG_GUEST_GS, code->ds}, {VM_REG_GUEST_FS, 0},
	};

	for (unsigned n = 0; n < ARRAY_SIZE(all); n++) {
		s->reg[all[n].reg] = all[n].selector;
		s->desc[VCPU_DESC(all[n].reg)] =
		    descriptor(code, all[n].selector);
	}
	s->desc[VCPU_DESC(VM_REG_GUEST_GS)].base += code->gs_base;
}

static void make_state(struct vcpu_state *s, const struct code_mode *code,
		       bool long_mode)
{
	vcpu_state_reset(s, false);
	s->reg[VM_REG_GUEST_CR0] = CR0_PE | CR0_PG | CR0_ET | CR0_NE | CR0_WP;
	s->reg[VM_REG_GUEST_CR3] = long_mode ? TEST_BASE : PAE_PDPT;
	s->reg[VM_REG_GUEST_PDPTE0] = *(const uint64_t *)(uintptr_t)PAE_PDPT;
	s->reg[VM_REG_GUEST_CR4] = CR4_PAE | CR4_OSFXSR;
	s->reg[VM_REG_GUEST_EFER] =
	    (long_mode ? EFER_LME | EFER_LMA : 0) | EFER_NXE;
	s->reg[VM_REG_GUEST_RFLAGS] = RFLAGS_ONE;
	make_segments(s, code);
}

#define TSC_HZ          1000000000
#define POPULATED_WORDS ((GUEST_RAM_END >> MEM_PIECE_SHIFT) / 64 + 1)

static int make_vm(struct vm *vm, enum guest_mode mode)
{
	struct err err;

	strcpy(vm->name, "x86");
	vm_clock_init(&vm->clock, TSC_HZ);
	vm_clock_start(&vm->clock);
	vm->mem.low_size = GUEST_RAM_END;
	vm->mem.fd = memory_fd;
	vm->mem.piece_shift = MEM_PIECE_SHIFT;
	vm->mem.populated = calloc(POPULATED_WORDS, sizeof(uint64_t));
	if (vm->mem.populated == NULL)
		return -1;
	vm->soft_jit = mode != GUEST_TIER0;
	vm->soft_jit_verify = mode == GUEST_VERIFY;
	vm->soft_jit_cache = 4 * MiB;
	vm->soft_jit_hot = 1;
	if (cpu_model_create("host", NULL, TSC_HZ, &vm->cpu_model, &err) != 0)
		return -1;
	return soft_engine_ops.vm_create(vm, &err);
}

static struct guest *create(enum guest_mode mode, const struct code_mode *code,
			    bool long_mode, struct guest *beside)
{
	struct guest *g = calloc(1, sizeof(*g));
	struct err err;

	if (g == NULL)
		return NULL;
	g->beside = beside;
	g->vm = beside != NULL ? beside->vm : &g->own;
	g->vcpu.vm = g->vm;
	g->vcpu.id = beside != NULL;
	make_tables(beside != NULL ? TEST_TABLES_2 : TEST_BASE,
		    beside != NULL ? TEST_OFF_2 : 0);
	*(uint64_t *)(uintptr_t)PAE_PDPT = (TEST_BASE + 0x2000) | PTE_P;
	make_state(&g->vcpu.state, code, long_mode);
	if (beside != NULL)
		g->vcpu.state.reg[VM_REG_GUEST_CR3] = TEST_TABLES_2;
	if ((beside == NULL && make_vm(g->vm, mode) != 0) ||
	    soft_engine_ops.vcpu_create(&g->vcpu, &err) != 0) {
		guest_destroy(g);
		return NULL;
	}
	return g;
}

struct guest *guest_create_beside(struct guest *beside)
{
	return create(GUEST_TIER1, &code_mode_64, true, beside);
}

struct guest *guest_create(enum guest_mode mode)
{
	return create(mode, &code_mode_64, true, NULL);
}

struct guest *guest_create_legacy(enum guest_mode mode,
				  const struct code_mode *code, bool long_mode)
{
	return create(mode, code, long_mode, NULL);
}

void guest_destroy(struct guest *g)
{
	soft_engine_ops.vcpu_destroy(&g->vcpu);
	if (g->beside == NULL) {
		soft_engine_ops.vm_destroy(g->vm);
		cpu_model_destroy(g->vm->cpu_model);
		free(g->vm->mem.populated);
	}
	free(g);
}

void guest_set_code(struct guest *g, const struct code_mode *code)
{
	static const int regs[SEG_COUNT] = {
	    [SEG_ES] = VM_REG_GUEST_ES, [SEG_CS] = VM_REG_GUEST_CS,
	    [SEG_SS] = VM_REG_GUEST_SS, [SEG_DS] = VM_REG_GUEST_DS,
	    [SEG_FS] = VM_REG_GUEST_FS, [SEG_GS] = VM_REG_GUEST_GS};
	struct cpu *c = g->vcpu.engine_data;
	struct vcpu_state s;

	make_segments(&s, code);
	for (unsigned n = 0; n < SEG_COUNT; n++) {
		const struct seg_desc *d = &s.desc[VCPU_DESC(regs[n])];

		c->seg[n] =
		    (struct segment){.base = d->base,
				     .limit = d->limit,
				     .access = d->access,
				     .selector = (uint16_t)s.reg[regs[n]]};
	}
	cpu_mode_changed(c);
}

/* Blocks and single instructions until one faults. */
static void run_until_fault(struct guest *g, struct cpu *c)
{
	if (setjmp(c->escape) != 0) {
		/* Else to the process, or to run it alone before that. */
		g->left_ram = !c->exception.valid;
		c->alone = false;
		if (c->jit != NULL)
			verify_escaped(c);
		return;
	}
	/* Else tier 0 ran each first block with vector instructions. */
	if (c->vec_blocked == VEC_DEAD)
		vec_enter(c);
	while (!g->stop && !c->failed) {
		const struct insn *i = block_find(c);

		if (i == NULL)
			i = block_alone(c);
		if (cpu_unkick(c))
			smc_serve(c);
		c->link_from = NULL;
		c->jump_tag = c->live_tag;
		while (i != NULL)
			i = i->exec(c, i);
	}
}

void guest_forget_page(struct guest *g, uint64_t gpa)
{
	struct cpu *c = g->vcpu.engine_data;

	/* A flush empties a large table. */
	blocks_drop_page(c, gpa);
	if (c->jit != NULL && c->jit->full)
		blocks_flush(c);
	if (c->jit != NULL)
		g->code_used = c->jit->code.used;
}

void guest_forget(struct guest *g)
{
	guest_forget_page(g, TEST_CODE);
}

void guest_probes(struct guest *g, enum guest_probes probes)
{
	struct cpu *c = g->vcpu.engine_data;

	if (c->jit == NULL)
		return;
	c->jit->all_hot = probes == PROBES_SITES || probes == PROBES_GUESSES;
	for (unsigned n = 0; n < TLB_USER_TABLES; n++)
		c->tlb_user[n]->has_windows =
		    probes >= PROBES_WINDOWS &&
		    window_possible(c, c->tlb_user[n]);
	mmu_mode_changed(c);
}

uint64_t guest_interpreted(const struct guest *g)
{
	return g->vcpu.stats[VM_STAT_JIT_INTERP];
}

uint64_t guest_window_faults(const struct guest *g)
{
	return g->vcpu.stats[VM_STAT_WINDOW_FAULTS];
}

void guest_set_vectors(struct guest *g, const void *image)
{
	struct cpu *c = g->vcpu.engine_data;

	vec_leave(c);
	memcpy(c->xsave, image, VCPU_XSAVE_SIZE);
	c->cr4 |= CR4_OSXSAVE | CR4_OSXMMEXCPT;
	c->xcr0 = cpu_model_xcr0(g->vm->cpu_model);
	vec_mode_changed(c);
}

void guest_vectors(struct guest *g, void *image)
{
	struct cpu *c = g->vcpu.engine_data;

	vec_leave(c);
	memcpy(image, c->xsave, VCPU_XSAVE_SIZE);
}

bool guest_patch(struct guest *g, const uint8_t *from, const uint8_t *to,
		 size_t len)
{
	struct cpu *c = g->vcpu.engine_data;
	uint8_t *at = memmem(c->jit->code.write + c->jit->code_start,
			     c->jit->code.used - c->jit->code_start, from, len);

	if (at != NULL)
		memcpy(at, to, len);
	codemem_publish();
	return at != NULL;
}

void guest_dma(struct guest *g, uint64_t va, uint64_t value)
{
	__atomic_store_n((uint64_t *)(uintptr_t)va, value, __ATOMIC_RELAXED);
	soft_engine_ops.code_written(g->vm, va, sizeof(value));
}

bool guest_left_ram(const struct guest *g)
{
	return g->left_ram;
}

uint64_t guest_secret_page(const struct guest *g)
{
	const struct cpu *c = g->vcpu.engine_data;

	return 0 - c->tlb->site_none;
}

bool guest_secret_is_nowhere(const struct guest *g)
{
	const struct cpu *c = g->vcpu.engine_data;

	for (unsigned n = 0; n < TLB_TABLES; n++) {
		const struct tlb *t = c->tlb_all[n];
		uint64_t page = 0 - t->site_none;

		/* Not canonical, whatever the paging. */
		if ((page & 0xfff) != 0 || (page >> 62 & 3) != 2)
			return false;
		for (unsigned k = 0; k < SITES; k++)
			if (t->site_tag[k] == t->site_none &&
			    (uint8_t *)(page + t->site_addend[k]) != c->nowhere)
				return false;
	}
	return true;
}

const char *guest_failure(struct guest *g)
{
	struct cpu *c = g->vcpu.engine_data;

	return c->failed ? g->vcpu.failure.text : NULL;
}

bool guest_is_translated(const struct guest *g, uint64_t host)
{
	const struct cpu *c = g->vcpu.engine_data;

	return host - (uintptr_t)c->jit->code.exec < c->jit->code.size;
}

uint64_t guest_entry(const struct guest *g)
{
	const struct cpu *c = g->vcpu.engine_data;

	return (uintptr_t)c->jit->code.exec;
}

void guest_break(struct guest *g, uint64_t host)
{
	struct cpu *c = g->vcpu.engine_data;
	unsigned n = g->broken[0] != NULL;

	g->broken[n] =
	    c->jit->code.write + (host - (uintptr_t)c->jit->code.exec);
	g->was[n] = *g->broken[n];
	*g->broken[n] = 0xcc;
}

void guest_break_end(struct guest *g)
{
	for (unsigned n = 2; n-- > 0;) {
		/* Other code may have been put there meanwhile. */
		if (g->broken[n] != NULL && *g->broken[n] == 0xcc)
			*g->broken[n] = g->was[n];
		g->broken[n] = NULL;
	}
}

void guest_kick(struct guest *g, bool stop)
{
	if (stop)
		g->stop = true;
	cpu_kick(g->vcpu.engine_data);
}

bool guest_was_stopped(struct guest *g)
{
	return atomic_exchange(&g->stop, false);
}

uint64_t guest_translated(const struct guest *g)
{
	return g->translated;
}

void guest_run(struct guest *g, const uint64_t gpr[16], uint64_t rflags,
	       uint64_t rip, struct outcome *out)
{
	struct cpu *c = g->vcpu.engine_data;

	c->exit = &g->exit;
	g->left_ram = false;
	/* What comes into the TLB is populated, in the midst of code. */
	for (unsigned n = 0; n < POPULATED_WORDS; n++)
		g->vm->mem.populated[n] = 0;
	memcpy(c->gpr, gpr, 16 * sizeof(*gpr));
	rflags_set(c, rflags, ~0ull);
	c->rip = rip;
	smc_enter_guest(c);
	run_until_fault(g, c);
	smc_leave_guest(c);
	if (c->jit != NULL)
		g->translated += c->jit->code.used > g->code_used;
	vec_leave(c);
	memcpy(out->gpr, c->gpr, sizeof(out->gpr));
	out->rflags = rflags_get(c);
	out->rip = c->rip + (c->exception.is_soft ? c->exception.len : 0);
	out->cr2 = c->exception.valid ? c->exception.payload : 0;
	out->error = c->exception.valid && c->exception.has_error
			 ? c->exception.error
			 : 0;
	out->vector = c->exception.valid ? c->exception.vector : -1;
	c->exception.valid = c->exception.is_soft = false;
}
