// SPDX-License-Identifier: BSD-2-Clause
/*
 * Instructions that run on the host from stubs. A stub is the instruction
 * encoded again from its decoded form, for 64-bit mode: the same opcode and
 * vector registers, the memory operand [RCX], the general register operand
 * RAX; flags come and go in AX as LAHF;SETO leave them. So the stub's bytes
 * say all that there is to know of it, and are its key.
 *
 * In a bound insn: imm the stub, a the general register, b the bytes of the
 * memory operand, c its alignment less one, ext what it needs (enum
 * vec_block), lsize 1 when MXCSR.MM does not lift the alignment. x87: the
 * low 11 bits of the opcode (FOP) are in a and c.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>

#include "vmm/cpuid.h"
#include "vmm/soft/stub.h"
#include "vmm/soft/vec.h"
#include "x86/features.h"

#define ALWAYS_INLINE inline __attribute__((always_inline))

/* -- running ---------------------------------------------------------------
 */

enum memory { MEM_NONE, MEM_LOAD, MEM_STORE };
enum gpr { GPR_NONE, GPR_IN, GPR_OUT };

/* The shape of an instruction: what goes in and out beside registers. */
struct shape {
	enum memory memory;
	enum gpr gpr;
	bool flags;
};

static __attribute__((noinline)) void misaligned(struct cpu *c,
						 const struct insn *i)
{
	if (!i->lsize && c->native->mxcsr_valid & MXCSR_MM) {
		vec_enter(c);
		if (vec_mxcsr(c) & MXCSR_MM)
			return;
	}
	raise_gp(c, i, 0);
}

static ALWAYS_INLINE uint64_t aligned_va(struct cpu *c, const struct insn *i,
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

/* Where the TLB does not lead: through the buffer. */
static __attribute__((noinline)) const struct insn *
store_far(struct cpu *c, const struct insn *i, uint64_t va)
{
	store_check(c, i, va);
	vec_enter(c);
	stub_call(i->imm, c->native->buffer, 0, 0);
	vec_store_buffer(c, i, va, i->b);
	return next(c, i);
}

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
static struct stub_result
stub_call_unmasked(struct cpu *c, const struct insn *i, void *mem, uint64_t rax)
{
	struct native *n = c->native;
	uint32_t before = host_mxcsr(), flags, tiny = 0, raised;
	uint32_t control = before & ~MXCSR_FLAGS;
	struct stub_result result;
	bool mmx;

	vec_save(c, n->scratch[0]);
	if (!(n->mxcsr_masks & MXCSR_UM)) {
		control &= ~MXCSR_FZ;
		host_set_mxcsr(control | MXCSR_FZ);
		stub_call(i->imm, mem, rax, 0);
		tiny = host_mxcsr() & MXCSR_UE;
		vec_restore(c, n->scratch[0]);
	}
	host_set_mxcsr(control);
	result = stub_call(i->imm, mem, rax, 0);
	flags = (host_mxcsr() & MXCSR_FLAGS) | tiny;
	raised = flags & ~(n->mxcsr_masks / MXCSR_IM);
	if (raised == 0) {
		host_set_mxcsr(before | flags);
		return result;
	}
	mmx = i->ext & VEC_MMX && is_mmx(c);
	/* Before the operation, and so without what it would have found. */
	if (raised & MXCSR_BEFORE)
		flags &= MXCSR_BEFORE;
	vec_restore(c, n->scratch[0]);
	if (mmx) /* a switch from x87 to MMX is not undone */
		__asm__ volatile("movd %%mm0, %%eax" : : : "eax");
	host_set_mxcsr(before | flags);
	soft_raise(c, i, c->cr4 & CR4_OSXMMEXCPT ? X86_XM : X86_UD, 0, 0);
}

static __attribute__((noinline)) const struct insn *
run_unmasked(struct cpu *c, const struct insn *i, struct shape shape)
{
	struct stub_result result;
	void *mem = NULL;
	uint64_t va = 0;

	if (shape.memory == MEM_LOAD)
		mem = operand(c, i, aligned_va(c, i, ACCESS_READ), i->b,
			      ACCESS_READ);
	if (shape.memory == MEM_STORE) {
		va = aligned_va(c, i, ACCESS_WRITE);
		store_check(c, i, va);
		mem = c->native->buffer;
	}
	vec_enter(c);
	result = stub_call_unmasked(c, i, mem,
				    shape.gpr == GPR_IN ? REG64(c, i->a) : 0);
	if (shape.memory == MEM_STORE)
		vec_store_buffer(c, i, va, i->b);
	if (shape.gpr == GPR_OUT)
		REG64(c, i->a) = result.rax;
	if (shape.flags)
		c->arith_flags = (uint16_t)result.rax;
	return next(c, i);
}

static ALWAYS_INLINE const struct insn *run(struct cpu *c, const struct insn *i,
					    const struct shape shape)
{
	struct stub_result result;
	void *mem = NULL;

	if (unlikely(c->vec_blocked & i->ext)) {
		vec_check(c, i, i->ext);
		if (c->vec_blocked & i->ext & VEC_XM)
			return run_unmasked(c, i, shape);
	}
	if (shape.memory == MEM_LOAD)
		mem = operand(c, i, aligned_va(c, i, ACCESS_READ), i->b,
			      ACCESS_READ);
	if (shape.memory == MEM_STORE) {
		uint64_t va = aligned_va(c, i, ACCESS_WRITE);
		const struct tlb_entry *e = tlb_at(c, va);

		if (unlikely(PAGE_BASE(va + i->b - 1) != e->tag_write))
			return store_far(c, i, va);
		mem = (void *)(va + e->addend);
	}
	vec_enter(c);
	result =
	    stub_call(i->imm, mem, shape.gpr == GPR_IN ? REG64(c, i->a) : 0, 0);
	if (shape.gpr == GPR_OUT)
		REG64(c, i->a) = result.rax;
	if (shape.flags)
		c->arith_flags = (uint16_t)result.rax;
	return next(c, i);
}

#define EXEC(name, memory, gpr, flags)                                         \
	static const struct insn *name(struct cpu *c, const struct insn *i)    \
	{                                                                      \
		return run(c, i, (struct shape){memory, gpr, flags});          \
	}
EXEC(exec_reg, MEM_NONE, GPR_NONE, false)
EXEC(exec_load, MEM_LOAD, GPR_NONE, false)
EXEC(exec_store, MEM_STORE, GPR_NONE, false)
EXEC(exec_gpr_in, MEM_NONE, GPR_IN, false)
EXEC(exec_gpr_out, MEM_NONE, GPR_OUT, false)
EXEC(exec_load_gpr_out, MEM_LOAD, GPR_OUT, false)
EXEC(exec_flags, MEM_NONE, GPR_NONE, true)
EXEC(exec_load_flags, MEM_LOAD, GPR_NONE, true)
#undef EXEC

/* PCMPxSTRx: lengths in RAX and RDX; an index goes to RCX (a: is it one?). */
static const struct insn *exec_string(struct cpu *c, const struct insn *i)
{
	struct stub_result result;
	void *mem = NULL;

	vec_need(c, i, i->ext);
	if (i->flags & INSN_MEM)
		mem = operand(c, i, operand_va(c, i, i->b, ACCESS_READ), i->b,
			      ACCESS_READ);
	vec_enter(c);
	result = stub_call(i->imm, mem, REG64(c, REG_RAX), REG64(c, REG_RDX));
	if (i->a)
		REG64(c, REG_RCX) = result.rcx;
	c->arith_flags = (uint16_t)result.rax;
	return next(c, i);
}

/* -- x87 ----------------------------------------------------------------------
 */

/* What FNSTENV and its like tell about the last instruction. */
static ALWAYS_INLINE void x87_remember(struct cpu *c, const struct insn *i,
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
	stub_call(i->imm, buffer, 0, 0);
	for (unsigned k = 0; k < i->b; k++)
		same += buffer[k] == fill;
	return same != i->b;
}

/*
 * A store where the TLB does not lead may leave for the process and run
 * again: the stack is popped only after the last access.
 */
static __attribute__((noinline)) const struct insn *
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

static const struct insn *exec_x87(struct cpu *c, const struct insn *i)
{
	vec_need(c, i, i->ext);
	vec_enter(c);
	stub_call(i->imm, NULL, 0, 0);
	x87_remember(c, i, false);
	return next(c, i);
}

static const struct insn *exec_x87_flags(struct cpu *c, const struct insn *i)
{
	vec_need(c, i, i->ext);
	vec_enter(c);
	c->arith_flags = (uint16_t)stub_call(i->imm, NULL, 0, 0).rax;
	x87_remember(c, i, false);
	return next(c, i);
}

static const struct insn *exec_x87_flags_in(struct cpu *c, const struct insn *i)
{
	vec_need(c, i, i->ext);
	vec_enter(c);
	stub_call(i->imm, NULL, c->arith_flags, 0);
	x87_remember(c, i, false);
	return next(c, i);
}

static const struct insn *exec_x87_load(struct cpu *c, const struct insn *i)
{
	void *mem;

	vec_need(c, i, i->ext);
	mem = operand(c, i, operand_va(c, i, i->b, ACCESS_READ), i->b,
		      ACCESS_READ);
	vec_enter(c);
	stub_call(i->imm, mem, 0, 0);
	x87_remember(c, i, true);
	return next(c, i);
}

static const struct insn *exec_x87_store(struct cpu *c, const struct insn *i)
{
	const struct tlb_entry *e;
	uint64_t va;

	vec_need(c, i, i->ext);
	va = operand_va(c, i, i->b, ACCESS_WRITE);
	e = tlb_at(c, va);
	if (unlikely(PAGE_BASE(va + i->b - 1) != e->tag_write))
		return x87_store_far(c, i, va);
	vec_enter(c);
	stub_call(i->imm, (void *)(va + e->addend), 0, 0);
	x87_remember(c, i, true);
	return next(c, i);
}

/* -- binding -------------------------------------------------------------- */

static unsigned need(const struct simd_row *row, const struct dec *d)
{
	unsigned bits = 0;

	if (row->map == MAP_1 && row->op == 0x9b)
		return VEC_WAIT | VEC_MF;
	if (row->attr & S_X87)
		return row->attr & S_NOWAIT ? VEC_X87 : VEC_X87 | VEC_MF;
	if (d->is_vex)
		bits = VEC_AVX;
	else if (row->attr & S_MMX)
		bits = VEC_MMX | VEC_MF | (row->attr & S_SSE ? VEC_SSE : 0);
	else
		bits = VEC_SSE;
	return row->attr & S_FP ? bits | VEC_XM : bits;
}

static exec_fn pick_x87(uint32_t attr, bool mem)
{
	if (mem)
		return attr & S_WRITES ? exec_x87_store : exec_x87_load;
	if (attr & S_FLAGS)
		return exec_x87_flags;
	return attr & S_FLAGS_IN ? exec_x87_flags_in : exec_x87;
}

static exec_fn pick(uint32_t attr, bool mem)
{
	if (attr & S_X87)
		return pick_x87(attr, mem);
	if (attr & S_STRING)
		return exec_string;
	if (attr & S_FLAGS)
		return mem ? exec_load_flags : exec_flags;
	if (attr & S_GREG)
		return mem ? exec_load_gpr_out : exec_gpr_out;
	if (attr & S_GRM && !mem)
		return attr & S_GOUT ? exec_gpr_out : exec_gpr_in;
	if (mem)
		return attr & S_WRITES ? exec_store : exec_load;
	return exec_reg;
}

/* The alignment asked of the memory operand, less one. */
static uint8_t alignment(const struct simd_row *row, const struct dec *d,
			 unsigned bytes)
{
	bool aligned = row->attr & S_VALIGNED;

	if (!d->is_vex && bytes == 16 && !(row->attr & (S_UNALIGNED | S_MMX)))
		aligned = true;
	if (!d->is_vex && bytes == 16 && row->attr & S_SSE)
		aligned = true; /* CVTPD2PI */
	return aligned && bytes ? (uint8_t)(bytes - 1) : 0;
}

static void bind_registers(const struct simd_row *row, const struct dec *d,
			   struct insn *i)
{
	i->lsize = (row->attr & S_VALIGNED) != 0;
	if (row->attr & S_X87) {
		i->a = d->modrm;
		i->c = d->opcode & 7;
	} else if (row->attr & S_STRING) {
		i->a = d->opcode & 1; /* PCMPxSTRI */
	} else if (row->attr & S_GREG) {
		i->a = (uint8_t)(d->reg * 8);
	} else if (row->attr & S_GRM) {
		i->a = (uint8_t)(d->rm * 8);
	}
}

int native_bind(struct cpu *c, const struct simd_row *row, const struct dec *d,
		struct insn *i)
{
	bool mem = i->flags & INSN_MEM;
	struct stub_code code = {.len = 0};
	int64_t stub;

	i->b = (uint8_t)simd_mem_bytes(row, d);
	i->c = alignment(row, d, i->b);
	i->ext = (uint8_t)need(row, d);
	bind_registers(row, d, i);
	if (row->exec) {
		i->exec = row->exec;
		return masked_bind(c, row, d, i);
	}
	if (row->attr & S_FLAGS_IN)
		stub_byte(&code, 0x9e); /* sahf */
	stub_encode(&code, row, d, mem);
	if (row->attr & S_FLAGS) {
		stub_byte(&code, 0x9f); /* lahf */
		stub_byte(&code, 0x0f); /* seto al */
		stub_byte(&code, 0x90);
		stub_byte(&code, 0xc0);
	}
	stub_byte(&code, 0xc3); /* ret */
	stub = stub_find(c->native, &code);
	if (stub < 0)
		return (int)stub;
	i->imm = stub;
	i->exec = pick(row->attr, mem);
	return 0;
}

void native_flush(struct cpu *c)
{
	codemem_reset(&c->native->code);
	zero_bytes(c->native->hash, sizeof(c->native->hash));
}

/* -- a vCPU's part ----------------------------------------------------------
 */

static uint64_t host_xcr0(void)
{
	uint32_t eax, ebx, ecx, edx;

	__cpuid(1, eax, ebx, ecx, edx);
	if (!(ecx & bit_OSXSAVE))
		return 0;
	__asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	return (uint64_t)edx << 32 | eax;
}

/* Bits of MXCSR that exist, in the form the CPU says so. */
static uint32_t host_mxcsr_mask(void)
{
	struct xsave_image x __attribute__((aligned(64)));

	x.mxcsr_mask = 0;
	__asm__ volatile("fxsave64 %0" : "=m"(x));
	return x.mxcsr_mask ? x.mxcsr_mask : 0xffbf;
}

static void find_components(struct native *n)
{
	uint32_t eax, ebx, ecx, edx;

	for (unsigned k = 2; k < VEC_COMPONENTS; k++) {
		if (!(n->rfbm & BIT(k)))
			continue;
		__cpuid_count(0xd, k, eax, ebx, ecx, edx);
		if (!range_inside(ebx, eax, VCPU_XSAVE_SIZE)) {
			n->rfbm &= ~BIT(k);
			continue;
		}
		n->component[k].size = (uint16_t)eax;
		n->component[k].offset = (uint16_t)ebx;
		n->component[k].align64 = ecx & 2;
	}
}

#define COMPONENTS_LIVE                                                        \
	((uint64_t)(XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512))

int native_create(struct cpu *c)
{
	const struct cpu_model *model = c->svm->vm->cpu_model;
	struct native *n;
	int error;

	n = aligned_alloc(64, ALIGN_UP(sizeof(*n), 64));
	if (!n)
		return -ENOMEM;
	zero_bytes(n, sizeof(*n));
	error = codemem_create(&n->code, STUB_MEMORY);
	if (error) {
		free(n);
		return error;
	}
	n->rfbm = host_xcr0() & COMPONENTS_LIVE;
	if (n->rfbm)
		n->rfbm &= cpu_model_xcr0(model) | XCR0_X87 | XCR0_SSE;
	n->mxcsr_valid = host_mxcsr_mask();
	if (!cpu_model_has(model, X86_FEATURE_MISALIGNSSE))
		n->mxcsr_valid &= ~MXCSR_MM;
	n->mxcsr_masks = MXCSR_MASKS;
	find_components(n);
	c->native = n;
	return 0;
}

void native_destroy(struct cpu *c)
{
	if (!c->native)
		return;
	codemem_destroy(&c->native->code);
	free(c->native);
	c->native = NULL;
}
