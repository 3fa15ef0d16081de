// SPDX-License-Identifier: BSD-2-Clause
/*
 * Running instructions on the host from their stubs (native.h): what is not
 * in the stub itself, because it is unusual, and x87, which has more to
 * remember.
 */
#include "vmm/soft/native.h"

#include "vmm/soft/mmu.h"

enum memory { MEM_NONE, MEM_LOAD, MEM_STORE };

#define NOINLINE __attribute__((noinline))

static const struct insn *come_back(struct cpu *c, const struct insn *i)
{
	return NULL;
}

void stub_run(struct cpu *c, const struct insn *i, void *mem)
{
	static const struct insn alone[2] = {{.exec = NULL},
					     {.exec = come_back}};

	((stub_fn)(uintptr_t)i->imm)(c, alone, 0, mem);
}

/* Into the stub, and beyond. */
static inline const struct insn *stub_go(struct cpu *c, const struct insn *i,
					 void *mem)
{
	if (!SOFT_EAGER_LEAVE)
		return ((stub_fn)(uintptr_t)i->imm)(c, i, 0, mem);
	stub_run(c, i, mem);
	return next(c, i);
}

/* -- memory operands ---------------------------------------------------------
 */

static void misaligned(struct cpu *c, const struct insn *i)
{
	if (!(i->lsize & NATIVE_ALIGNED) && c->native->mxcsr_valid & MXCSR_MM) {
		vec_enter(c);
		if (vec_mxcsr(c) & MXCSR_MM)
			return;
		vec_rest(c);
	}
	raise_gp(c, i, 0);
}

static uint64_t aligned_va(struct cpu *c, const struct insn *i,
			   enum access access)
{
	uint64_t va = operand_va(c, i, i->b, access);

	if (unlikely(va & i->c))
		misaligned(c, i);
	return va;
}

/* Nothing is run or written when either page faults. */
static void store_check(struct cpu *c, const struct insn *i, uint64_t va)
{
	uint64_t last = va + i->b - 1;

	mmu_translate(c, i, va, ACCESS_WRITE);
	if (PAGE_BASE(va) != PAGE_BASE(last))
		mmu_translate(c, i, PAGE_BASE(last), ACCESS_WRITE);
}

void vec_store_buffer(struct cpu *c, const struct insn *i, uint64_t va,
		      unsigned len)
{
	const uint8_t *from = c->native->buffer;
	unsigned at = 0;

	vec_rest(c);
	for (; len - at >= 8; at += 8)
		store64(c, i, va + at, *(const uint64_t *)(from + at));
	if (len & 4) {
		store32(c, i, va + at, *(const uint32_t *)(from + at));
		at += 4;
	}
	if (len & 2) {
		store16(c, i, va + at, *(const uint16_t *)(from + at));
		at += 2;
	}
	if (len & 1)
		store8(c, i, va + at, from[at]);
}

/* -- unmasked SIMD exceptions
 * ---------------------------------------------------- */

/* Are the x87 registers as an MMX instruction leaves them? */
static bool is_mmx(struct cpu *c)
{
	const struct xsave_image *x = (void *)c->native->scratch[1];

	vec_save(c, c->native->scratch[1]);
	return x->ftw == 0xff && (x->fsw & FSW_TOP) == 0;
}

/*
 * Runs the stub as the guest's MXCSR with its unmasked exceptions would have
 * it (SDM vol. 1, 11.5.2): sticky flags start clear, and when an unmasked one
 * appears, nothing but the flags changes. With UM clear, a tiny result is
 * reported even if exact, as only flush-to-zero does while masked: so a
 * second run, whose result is dropped, looks for it. (PE with an unmasked
 * overflow or underflow is that of the masked result.)
 */
static void stub_run_unmasked(struct cpu *c, const struct insn *i, void *mem)
{
	struct native *n = c->native;
	uint64_t gpr = REG64(c, i->a);
	uint16_t arith_flags = c->arith_flags;
	uint32_t before = host_mxcsr(), flags, tiny = 0, raised;
	uint32_t control = before & ~MXCSR_FLAGS;
	bool mmx;

	vec_save(c, n->scratch[0]);
	if (!(n->mxcsr_masks & MXCSR_UM)) {
		host_set_mxcsr(control | MXCSR_FZ);
		stub_run(c, i, mem);
		tiny = host_mxcsr() & MXCSR_UE;
		/* Without underflow FZ matters to who does not report it. */
		if (tiny || !n->flushes_unmasked)
			control &= ~MXCSR_FZ;
		vec_restore(c, n->scratch[0]);
	}
	host_set_mxcsr(control);
	stub_run(c, i, mem);
	flags = (host_mxcsr() & MXCSR_FLAGS) | tiny;
	raised = flags & ~(n->mxcsr_masks / MXCSR_IM);
	if (raised == 0) {
		host_set_mxcsr(before | flags);
		return;
	}
	mmx = i->ext & VEC_MMX && is_mmx(c);
	/* Before the operation, and so without what it would have found. */
	if (raised & MXCSR_BEFORE)
		flags &= MXCSR_BEFORE;
	vec_restore(c, n->scratch[0]);
	REG64(c, i->a) = gpr;
	c->arith_flags = arith_flags;
	if (mmx) /* a switch from x87 to MMX is not undone */
		__asm__ volatile("movd %%mm0, %%eax" : : : "eax");
	host_set_mxcsr(before | flags);
	vec_rest(c);
	soft_raise(c, i, c->cr4 & CR4_OSXMMEXCPT ? X86_XM : X86_UD, 0, 0);
}

void stub_run_careful(struct cpu *c, const struct insn *i, void *mem)
{
	if (c->vec_blocked & i->ext & VEC_XM)
		stub_run_unmasked(c, i, mem);
	else
		stub_run(c, i, mem);
}

/* -- the careful way
 * ----------------------------------------------------------- */

static NOINLINE const struct insn *
carefully(struct cpu *c, const struct insn *i, enum memory memory)
{
	void *mem = NULL;
	uint64_t va = 0;

	vec_check(c, i, i->ext);
	if (memory == MEM_LOAD)
		mem = operand(c, i, aligned_va(c, i, ACCESS_READ), i->b,
			      ACCESS_READ);
	if (memory == MEM_STORE) {
		va = aligned_va(c, i, ACCESS_WRITE);
		store_check(c, i, va);
		mem = c->native->buffer;
	}
	vec_enter(c);
	stub_run_careful(c, i, mem);
	if (memory == MEM_STORE)
		vec_store_buffer(c, i, va, i->b);
	return next(c, i);
}

const struct insn *exec_stub_carefully(struct cpu *c, const struct insn *i)
{
	return carefully(c, i, MEM_NONE);
}

const struct insn *exec_load_carefully(struct cpu *c, const struct insn *i)
{
	return carefully(c, i, MEM_LOAD);
}

const struct insn *exec_store_carefully(struct cpu *c, const struct insn *i)
{
	return carefully(c, i, MEM_STORE);
}

/* -- x87 ----------------------------------------------------------------------
 */

/* What FNSTENV and its like tell about the last instruction. */
static inline void x87_remember(struct cpu *c, const struct insn *i,
				bool memory)
{
	c->fpu_ip = insn_rip(c, i);
	c->fpu_opcode = (uint16_t)(i->a | i->c << 8);
	if (memory) {
		uint64_t offset = REG64(c, i->base) +
				  (REG64(c, i->index) << i->scale) +
				  (uint64_t)i->disp;

		if (i->asize != 3)
			offset &= i->asize == 2 ? 0xffffffffu : 0xffffu;
		c->fpu_dp = offset;
	}
}

/* Did the stub write? An unmasked exception leaves the operand alone. */
static bool x87_store_try(struct cpu *c, const struct insn *i, uint8_t fill)
{
	uint8_t *buffer = c->native->buffer;
	unsigned same = 0;

	for (unsigned k = 0; k < i->b; k++)
		buffer[k] = fill;
	stub_run(c, i, buffer);
	for (unsigned k = 0; k < i->b; k++)
		same += buffer[k] == fill;
	return same != i->b;
}

/*
 * A store where the TLB does not lead may leave for the process and run
 * again: the stack is popped only after the last access.
 */
static NOINLINE const struct insn *
x87_store_far(struct cpu *c, const struct insn *i, uint64_t va)
{
	struct native *n = c->native;
	bool written;

	store_check(c, i, va);
	vec_enter(c);
	vec_save(c, n->scratch[0]);
	written = x87_store_try(c, i, 0x55);
	if (!written) {
		/* Or it wrote just that. */
		vec_restore(c, n->scratch[0]);
		written = x87_store_try(c, i, 0xaa);
	}
	vec_save(c, n->scratch[1]);
	vec_restore(c, n->scratch[0]);
	if (written)
		vec_store_buffer(c, i, va, i->b);
	vec_enter(c);
	vec_restore(c, n->scratch[1]);
	x87_remember(c, i, true);
	return next(c, i);
}

const struct insn *exec_x87(struct cpu *c, const struct insn *i)
{
	vec_need(c, i, i->ext);
	vec_enter(c);
	x87_remember(c, i, false);
	return stub_go(c, i, NULL);
}

const struct insn *exec_x87_load(struct cpu *c, const struct insn *i)
{
	void *mem;

	vec_need(c, i, i->ext);
	mem = operand(c, i, operand_va(c, i, i->b, ACCESS_READ), i->b,
		      ACCESS_READ);
	vec_enter(c);
	x87_remember(c, i, true);
	return stub_go(c, i, mem);
}

const struct insn *exec_x87_store(struct cpu *c, const struct insn *i)
{
	uint64_t va;
	void *mem;

	vec_need(c, i, i->ext);
	va = operand_va(c, i, i->b, ACCESS_WRITE);
	mem = tlb_write(c, va, i->b);
	if (unlikely(mem == NULL))
		return x87_store_far(c, i, va);
	vec_enter(c);
	x87_remember(c, i, true);
	return stub_go(c, i, mem);
}
