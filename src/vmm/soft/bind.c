// SPDX-License-Identifier: BSD-2-Clause
/*
 * Binding a decoded instruction to its stub, and a vCPU's part of it all:
 * code memory, and what the host has of vector state.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>

#include "vmm/cpuid.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/native.h"
#include "vmm/soft/stub.h"
#include "x86/features.h"

static unsigned need(const struct simd_row *row, const struct dec *d)
{
	unsigned bits = 0;

	if (row->map == MAP_1 && row->op == 0x9b)
		return VEC_MF;
	if (row->attr & S_X87)
		return row->attr & S_NOWAIT ? VEC_X87 : VEC_X87 | VEC_MF;
	if (d->is_evex || row->attr & S_OPMASK)
		bits = VEC_AVX512;
	else if (d->is_vex)
		bits = VEC_AVX;
	else if (row->attr & S_MMX)
		bits = VEC_MMX | VEC_MF | (row->attr & S_SSE ? VEC_SSE : 0);
	else
		bits = VEC_SSE;
	/* With EVEX.b and registers none is raised. */
	if (d->is_evex && d->b && d->modrm >= 0xc0)
		return bits;
	return row->attr & S_FP ? bits | VEC_XM : bits;
}

static exec_fn pick_x87(uint32_t attr, bool mem)
{
	if (!mem)
		return exec_x87;
	return attr & S_WRITES ? exec_x87_store : exec_x87_load;
}

static exec_fn pick_careful(const struct simd_row *row, const struct dec *d,
			    bool mem)
{
	bool store = row->attr & S_WRITES;

	if (!mem)
		return exec_stub_carefully;
	if (simd_is_masked(row, d) && store)
		return row->how & E_NF ? exec_store_masked_nf
				       : exec_store_masked;
	if (simd_is_masked(row, d))
		return exec_load_masked;
	return store ? exec_store_carefully : exec_load_carefully;
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
	i->lsize = row->attr & S_VALIGNED ? NATIVE_ALIGNED : 0;
	if (simd_is_masked(row, d))
		native_set_mask(row, d, i);
	if (row->attr & S_X87) {
		i->a = d->modrm;
		i->c = d->opcode & 7;
	} else if (row->attr & S_GREG) {
		i->a = (uint8_t)(d->reg * 8);
	} else if (row->attr & S_GRM) {
		i->a = (uint8_t)(d->rm * 8);
	}
}

/* What the instruction wants in AX, RAX and RDX. */
static void encode_inputs(struct stub_code *code, const struct simd_row *row,
			  const struct insn *i, bool mem)
{
	if (row->attr & S_FLAGS_IN) {
		stub_cpu_field(code, STUB_LOAD16,
			       offsetof(struct cpu, arith_flags));
		stub_byte(code, 0x9e); /* sahf */
	}
	if (row->attr & S_STRING) {
		stub_cpu_field(code, STUB_LOAD64, REG_RAX);
		stub_cpu_field(code, STUB_LOAD64_RDX, REG_RDX);
	}
	if (row->attr & S_GRM && !(row->attr & S_GOUT) && !mem)
		stub_cpu_field(code, STUB_LOAD64, i->a);
}

/* And what it leaves there. */
static void encode_outputs(struct stub_code *code, const struct simd_row *row,
			   const struct insn *i, bool mem)
{
	if (row->attr & S_FLAGS) {
		stub_byte(code, 0x9f); /* lahf */
		stub_byte(code, 0x0f); /* seto al */
		stub_byte(code, 0x90);
		stub_byte(code, 0xc0);
		stub_cpu_field(code, STUB_STORE16,
			       offsetof(struct cpu, arith_flags));
	}
	if (row->attr & S_STRING && row->op & 1) /* an index: PCMPxSTRI */
		stub_cpu_field(code, STUB_STORE64_RCX, REG_RCX);
	if (row->attr & S_GREG || (row->attr & S_GOUT && !mem))
		stub_cpu_field(code, STUB_STORE64, i->a);
}

static void encode_body(struct stub_code *code, const struct simd_row *row,
			const struct dec *d, const struct insn *i, bool mem)
{
	encode_inputs(code, row, i, mem);
	stub_encode(code, row, d, mem);
	encode_outputs(code, row, i, mem);
	stub_next(code);
}

static int bind_x87(struct cpu *c, const struct simd_row *row,
		    const struct dec *d, struct insn *i)
{
	bool mem = i->flags & INSN_MEM;
	struct stub_code code = {.len = 0};
	int64_t stub;

	encode_body(&code, row, d, i, mem);
	stub = stub_find(c->native, &code);
	if (stub < 0)
		return (int)stub;
	i->imm = stub;
	i->exec = pick_x87(row->attr, mem);
	return 0;
}

static int bind_stub(struct cpu *c, const struct simd_row *row,
		     const struct dec *d, struct insn *i)
{
	bool mem = i->flags & INSN_MEM;
	exec_fn careful = pick_careful(row, d, mem);
	struct stub_code code = {.len = 0};
	unsigned body;
	int64_t stub;

	i->ext |= VEC_DEAD;
	stub_test(&code, offsetof(struct cpu, vec_blocked), i->ext);
	if (mem)
		stub_probe(&code, i, row->attr & S_WRITES);
	body = code.len;
	encode_body(&code, row, d, i, mem);
	stub_exits(&code, careful);
	stub = stub_find(c->native, &code);
	if (stub < 0)
		return (int)stub;
	i->imm = stub + body;
	i->exec = (exec_fn)(uintptr_t)stub;
	if (mem && i->flags & INSN_EA_SLOW)
		i->exec = careful; /* the head's address would be wrong */
	return 0;
}

int native_bind(struct cpu *c, const struct simd_row *row, const struct dec *d,
		struct insn *i)
{
	i->b = (uint8_t)simd_mem_bytes(row, d);
	i->c = alignment(row, d, i->b);
	i->ext = (uint8_t)need(row, d);
	bind_registers(row, d, i);
	if (row->exec) {
		i->exec = row->exec;
		return masked_bind(c, row, d, i);
	}
	if (row->attr & S_X87)
		return bind_x87(c, row, d, i);
	return bind_stub(c, row, d, i);
}

void native_flush(struct cpu *c)
{
	codemem_reset(&c->native->code);
	zero_bytes(c->native->hash, STUB_HASH * sizeof(*c->native->hash));
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

static bool is_host_intel(void)
{
	uint32_t eax, ebx, ecx, edx;

	__cpuid(0, eax, ebx, ecx, edx);
	return ebx == signature_INTEL_ebx;
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
	n->hash = calloc(STUB_HASH, sizeof(*n->hash));
	error = n->hash ? codemem_create(&n->code, STUB_MEMORY) : -ENOMEM;
	if (error) {
		free(n->hash);
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
	n->flushes_unmasked = is_host_intel();
	find_components(n);
	c->native = n;
	return 0;
}

void native_destroy(struct cpu *c)
{
	if (!c->native)
		return;
	codemem_destroy(&c->native->code);
	free(c->native->hash);
	free(c->native);
	c->native = NULL;
}
