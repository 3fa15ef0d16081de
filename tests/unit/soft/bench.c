// SPDX-License-Identifier: BSD-2-Clause
/* The differential bench: choosing, preparing, running, comparing. */
#include <cpuid.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bench.h"
#include "random_state.h"
#include "vmm/soft/native.h"
#include "x86/features.h"

uint32_t bench_pick(struct bench *b, uint32_t bound)
{
	return (uint32_t)(random_next(&b->rng) >> 33) % bound;
}

/* -- encoding -------------------------------------------------------------- */

static void put(struct choice *ch, unsigned byte)
{
	ch->bytes[ch->len++] = (uint8_t)byte;
}

static void put_vex(struct choice *ch)
{
	static const uint8_t map[MAP_COUNT] = {
	    [MAP_0F] = 1, [MAP_0F38] = 2, [MAP_0F3A] = 3};
	const struct dec *d = &ch->d;
	unsigned pp = d->pp == 0x66 ? 1 : d->pp == 0xf3 ? 2 : d->pp ? 3 : 0;
	unsigned x = simd_vsib(ch->row) && d->index & 8 ? 0 : 0x40;

	put(ch, 0xc4);
	put(ch, (d->reg & 8 ? 0u : 0x80u) | x | (d->rm & 8 ? 0u : 0x20u) |
		    map[d->map]);
	put(ch, (unsigned)d->rex_w << 7 | (~d->vvvv & 15u) << 3 |
		    (unsigned)d->vector_len << 2 | pp);
}

/* With memory, bit 4 of the index is in V'. */
static void put_evex(struct choice *ch)
{
	const struct dec *d = &ch->d;
	unsigned pp = d->pp == 0x66 ? 1 : d->pp == 0xf3 ? 2 : d->pp ? 3 : 0;
	bool vsib = simd_vsib(ch->row);
	unsigned x = vsib ? d->index >> 3 & 1u : d->rm >> 4 & 1u;
	unsigned v4 = vsib ? d->index >> 4 & 1u : d->vvvv >> 4 & 1u;

	put(ch, 0x62);
	put(ch, (d->reg & 8 ? 0u : 0x80u) | (x ? 0u : 0x40u) |
		    (d->rm & 8 ? 0u : 0x20u) | (d->reg & 16 ? 0u : 0x10u) |
		    d->map);
	put(ch, (unsigned)d->rex_w << 7 | (~d->vvvv & 15u) << 3 | 4u | pp);
	put(ch, (unsigned)d->z << 7 | (unsigned)d->vector_len << 5 |
		    (unsigned)d->b << 4 | (v4 ? 0u : 8u) | d->aaa);
}

static void put_legacy(struct choice *ch)
{
	const struct dec *d = &ch->d;
	unsigned rex = d->rex_w << 3 | (d->reg & 8) >> 1 | (d->rm & 8) >> 3;

	if (d->pp)
		put(ch, d->pp);
	if (rex)
		put(ch, 0x40 | rex);
	if (d->map == MAP_1)
		return;
	put(ch, 0x0f);
	if (d->map == MAP_0F38)
		put(ch, 0x38);
	if (d->map == MAP_0F3A)
		put(ch, 0x3a);
}

/* [RBX + disp32], [RBX + RSI * scale + disp32], and gathers'. */
static void put_operand(struct choice *ch)
{
	unsigned reg = (ch->d.modrm >> 3 & 7) << 3;

	if (!ch->mem) {
		put(ch, ch->d.modrm);
		return;
	}
	if (simd_vsib(ch->row)) {
		put(ch, 0x80 | reg | 4);
		put(ch,
		    (unsigned)ch->i.scale << 6 | (ch->d.index & 7u) << 3 | 3);
	} else if (ch->i.index != REG_ZERO) {
		put(ch, 0x80 | reg | 4);
		put(ch, (unsigned)ch->i.scale << 6 | 6 << 3 | 3);
	} else {
		put(ch, 0x80 | reg | 3);
	}
	for (unsigned k = 0; k < 4; k++)
		put(ch, (uint64_t)ch->i.disp >> 8 * k & 0xff);
}

static void encode(struct choice *ch)
{
	ch->len = 0;
	if (ch->d.is_evex)
		put_evex(ch);
	else if (ch->d.is_vex)
		put_vex(ch);
	else
		put_legacy(ch);
	put(ch, ch->d.opcode);
	if (!(ch->row->attr & S_NOMODRM))
		put_operand(ch);
	if (simd_imm_bytes(ch->row) == 2)
		put(ch, ch->d.imm8 ^ 0x2b);
	if (simd_imm_bytes(ch->row))
		put(ch, ch->d.imm8);
	memcpy(ch->d.bytes, ch->bytes, MIN(ch->len, 15u));
	ch->d.len = ch->i.len = (uint8_t)ch->len;
}

/* -- choosing -------------------------------------------------------------- */

static unsigned any_gpr(struct bench *b)
{
	unsigned n = bench_pick(b, 15);

	return n < 4 ? n : n + 1; /* not RSP */
}

static void choose_registers(struct bench *b, struct choice *ch)
{
	const struct simd_row *row = ch->row;
	unsigned all = row->attr & S_OPMASK ? 8 : row->is_evex ? 32 : 16;
	struct dec *d = &ch->d;

	d->reg = (uint8_t)(row->attr & S_GREG
			       ? any_gpr(b)
			       : bench_pick(b, row->how & E_KREG ? 8 : all));
	d->rm = (uint8_t)(row->attr & S_GRM
			      ? any_gpr(b)
			      : bench_pick(b, row->how & E_KRM ? 8 : all));
	d->vvvv = simd_uses_vvvv(row) ? (uint8_t)bench_pick(b, all) : 0;
	d->index = (uint8_t)bench_pick(b, 16);
	if (simd_vsib(row) && row->is_evex) {
		d->index = (uint8_t)bench_pick(b, 32);
		/* Of a scatter they may be the same. */
		while (row->exec == exec_gather_k && d->index == d->reg)
			d->index = (uint8_t)bench_pick(b, 32);
	} else if (simd_vsib(row)) {
		d->vvvv = (uint8_t)((d->reg + 1 + bench_pick(b, 7)) & 15);
		d->index = (uint8_t)((d->reg + 8 + bench_pick(b, 8)) & 15);
	}
	if (row->ext >= 0)
		d->reg = (uint8_t)row->ext;
	if (ch->mem)
		d->rm = REG_RBX / 8;
	if (row->attr & S_NOMODRM)
		d->reg = d->rm = 0;
	if (row->attr & S_X87) {
		d->reg &= 7;
		d->rm = (uint8_t)(row->low >= 0 ? row->low : d->rm & 7);
	}
	d->modrm = (uint8_t)((ch->mem ? 0x80 : 0xc0) | (d->reg & 7) << 3 |
			     (d->rm & 7));
	if (row->attr & S_NOMODRM)
		d->modrm = 0;
}

/* Where operands may lie: across each of fake_cpu.h's pages. */
static void choose_address(struct bench *b, struct choice *ch)
{
	static const unsigned near_end[] = {1 * PAGE, 2 * PAGE, 3 * PAGE,
					    4 * PAGE};
	uint64_t base = (uint64_t)(uintptr_t)b->fake->page[0];
	unsigned size = simd_mem_bytes(ch->row, &ch->d), at;
	unsigned alignment = size ? size : 64;

	if (size == 0)
		size = b->operand_bytes ? b->operand_bytes : 32;
	switch (bench_pick(b, 8)) {
	case 0:
		at = near_end[bench_pick(b, 4)] - bench_pick(b, size + 2);
		break;
	case 1:
		at = PAGE + bench_pick(b, PAGE - MAX(size, 64u));
		break;
	case 2:
		at = 3 * PAGE + bench_pick(b, PAGE - MAX(size, 64u));
		break;
	default:
		at = bench_pick(b, PAGE - MAX(size, 64u));
	}
	/* SHA's is to be aligned by the manuals; not all CPUs look. */
	if (bench_pick(b, 4) || ch->row->feature == X86_FEATURE_SHA)
		at &= ~(alignment - 1);
	if (simd_vsib(ch->row))
		at = 0;
	ch->va = base + at;
	ch->i.base = REG_RBX;
	ch->i.index = bench_pick(b, 2) ? REG_ZERO : REG_RSI;
	ch->i.disp = (int64_t)bench_pick(b, 0x10000) - 0x8000;
	ch->i.scale = (uint8_t)bench_pick(b, 4);
	if (bench_pick(b, 8) == 0)
		ch->i.flags |= INSN_EA_SLOW; /* fake_cpu.c: no difference */
	ch->i.flags |= INSN_MEM;
}

static void choose(struct bench *b, struct choice *ch)
{
	ch->i = (struct insn){.asize = 3, .seg = SEG_DS, .off = 0x123};
	ch->i.base = ch->i.index = REG_ZERO;
	ch->d.map = ch->row->map;
	ch->d.pp = ch->row->map == MAP_1 ? 0 : ch->row->pp;
	ch->d.opcode = ch->row->op;
	ch->d.has_modrm = !(ch->row->attr & S_NOMODRM);
	ch->d.mode = 8;
	ch->d.imm8 = (uint8_t)random_next(&b->rng);
	choose_registers(b, ch);
	if (ch->mem)
		choose_address(b, ch);
	if (ch->d.rex_w)
		ch->i.flags |= INSN_REXW;
	encode(ch);
}

/* -- state ------------------------------------------------------------------
 */

static void indices_in_reach(struct bench *b, struct choice *ch,
			     struct xsave_image *x)
{
	unsigned n = ch->d.index,
		 limit = 2 * PAGE + (bench_pick(b, 4) ? 0 : 64);
	bool qword = ch->row->op & 1;

	for (unsigned k = 0; k < (ch->row->is_evex ? 64 : 32);
	     k += qword ? 8 : 4) {
		uint64_t value = bench_pick(b, limit - 8) >> ch->i.scale;

		memcpy(image_vector(b->fake->c.native, x, n, k), &value,
		       qword ? 8 : 4);
	}
}

void bench_place(struct bench *b, struct choice *ch, uint64_t va)
{
	uint64_t *gpr = b->r.gpr;

	ch->va = va;
	gpr[3] = va - (uint64_t)ch->i.disp;
	if (ch->i.index == REG_RSI && !simd_vsib(ch->row))
		gpr[3] -= gpr[6] << ch->i.scale;
}

static void prepare(struct bench *b, struct choice *ch)
{
	struct reference *r = &b->r;
	struct cpu *c = &b->fake->c;

	random_image(&b->rng, &r->image, c->native);
	if (simd_vsib(ch->row))
		indices_in_reach(b, ch, &r->image);
	for (unsigned k = 0; k < 16; k++)
		r->gpr[k] = random_gpr(&b->rng);
	if (ch->mem)
		/* Often small, so that a wrong address is a good one, too. */
		if (bench_pick(b, 2))
			r->gpr[6] &= 0x1f;
	bench_place(b, ch, ch->va);
	if (ch->row->exec == exec_maskmov) {
		choose_address(b, ch);
		ch->i.flags &= (uint8_t)~INSN_MEM;
		r->gpr[7] = ch->va;
	}
	r->rflags = RFLAGS_ONE | (random_next(&b->rng) & RFLAGS_ARITH);
	random_vectors(&b->rng, b->fake->page[0], BENCH_MEMORY);
	if (b->adapt)
		b->adapt(b, ch);
	memcpy(c->xsave, &r->image, sizeof(r->image));
	memcpy(c->gpr, r->gpr, sizeof(r->gpr));
	arith_set(c, r->rflags);
	c->flags = RFLAGS_ONE;
	vec_mode_changed(c);
}

/* -- comparing ----------------------------------------------------------------
 */

static void describe(const struct choice *ch)
{
	print_message("%s: ", ch->row->name);
	for (unsigned k = 0; k < ch->len; k++)
		print_message("%02x ", ch->bytes[k]);
	print_message("va %#lx\n", ch->va);
}

static bool same_registers(struct bench *b)
{
	struct cpu *c = &b->fake->c;
	bool same = true;

	for (unsigned k = 0; k < 16; k++)
		if (k != 4 && c->gpr[k] != b->r.gpr[k]) {
			print_message("gpr %u: %#lx, host %#lx\n", k, c->gpr[k],
				      b->r.gpr[k]);
			same = false;
		}
	if ((rflags_get(c) ^ b->r.rflags) & RFLAGS_ARITH) {
		print_message("flags: %#lx, host %#lx\n", rflags_get(c),
			      b->r.rflags);
		same = false;
	}
	return same;
}

static unsigned image_bytes(const struct native *n)
{
	unsigned bytes = 576;

	for (unsigned k = 2; k < VEC_COMPONENTS; k++)
		if (n->rfbm & BIT(k))
			bytes = MAX(bytes, (unsigned)n->component[k].offset +
					       n->component[k].size);
	return bytes;
}

/* What lies between the components is nobody's. */
static void forget_gaps(struct xsave_image *x, const struct native *n)
{
	unsigned at = 576;

	for (unsigned k = 2; k < VEC_COMPONENTS; k++) {
		if (!(n->rfbm & BIT(k)))
			continue;
		if (n->component[k].offset > at)
			memset((uint8_t *)x + at, 0,
			       n->component[k].offset - at);
		at = n->component[k].offset + n->component[k].size;
	}
}

static bool same_images(struct xsave_image *ours, struct xsave_image *host,
			const struct native *n)
{
	const uint8_t *a = (uint8_t *)ours, *z = (uint8_t *)host;
	unsigned bytes = image_bytes(n);

	image_normalize(ours, n);
	image_normalize(host, n);
	forget_gaps(ours, n);
	forget_gaps(host, n);
	if (memcmp(ours, host, bytes) == 0)
		return true;
	print_message("fcw %x/%x fsw %x/%x ftw %x/%x mxcsr %x/%x\n", ours->fcw,
		      host->fcw, ours->fsw, host->fsw, ours->ftw, host->ftw,
		      ours->mxcsr, host->mxcsr);
	for (unsigned k = 0; k < bytes; k++)
		if (a[k] != z[k])
			print_message("image[%u]: %02x, host %02x\n", k, a[k],
				      z[k]);
	return false;
}

/*
 * Where the engine falls short: an unmasked underflow of a number that is
 * tiny but exact shows by flush-to-zero, which VCVTPS2PH does not do. And
 * where its store faults, some CPUs have converted already.
 */
static bool is_half_fault(struct bench *b, const struct choice *ch)
{
	if (ch->row->map != MAP_0F3A || ch->row->op != 0x1d)
		return false;
	return b->fake->vector == X86_PF || b->r.vector == X86_PF ||
	       (b->r.vector == X86_XM && !(b->r.image.mxcsr & MXCSR_UM));
}

/* The host looks at its whole area, which may be larger (AMX), beforehand. */
static bool is_xsave_fault(struct bench *b, const struct choice *ch)
{
	return ch->row->exec == exec_xsave && b->r.vector == X86_PF;
}

/* An x87 store that leaves an unmasked exception pending does not store; one
   of ten bytes that faults may have stored some. */
static bool is_x87_unstored(struct bench *b, const struct choice *ch)
{
	return ch->row->attr & S_X87 && b->fake->vector == X86_PF &&
	       (b->r.image.fsw & 0x80 || b->r.vector == X86_PF);
}

static bool is_mmx_fault(struct bench *b, const struct choice *ch)
{
	return ch->row->attr & S_MMX && ch->mem && b->r.vector == X86_PF &&
	       b->fake->vector == X86_PF;
}

static bool is_xrstor(const struct choice *ch)
{
	return ch->row->exec == exec_xrstor || ch->row->exec == exec_xrstors;
}

/*
 * What a mask leaves out may fault where the exception's class says NF, and
 * not be looked at for alignment; of a gather that faults, what is above its
 * elements may be cleared.
 */
static bool is_other_mask(struct bench *b, const struct choice *ch)
{
	return ch->row->is_evex && ch->mem && ch->d.aaa != 0 &&
	       (b->fake->vector != b->r.vector ||
		(simd_vsib(ch->row) && b->r.vector != NO_FAULT));
}

/*
 * Where CPUs differ: a gather that faults may have done some of its elements,
 * and XRSTOR some components; MASKMOVQ may fault on bytes that it does not
 * write, and XRSTOR on those of components that it does not load; whether
 * CVTPI2PS with a memory operand, or an MMX instruction that faults, touches
 * the x87 state.
 */
static bool may_differ(struct bench *b, const struct choice *ch)
{
	if (!b->is_intel && is_other_mask(b, ch))
		return true;
	if (simd_vsib(ch->row) && !ch->row->is_evex)
		return b->r.vector != NO_FAULT;
	if (ch->row->exec == exec_maskmov)
		return b->r.vector == X86_PF;
	if (is_xsave_fault(b, ch) || is_half_fault(b, ch) ||
	    is_mmx_fault(b, ch) || is_x87_unstored(b, ch))
		return true;
	if (is_xrstor(ch))
		return b->r.vector != NO_FAULT || b->fake->vector != NO_FAULT;
	return ch->row->op == 0x2a && ch->row->attr & S_MMX && ch->mem &&
	       b->fake->vector == X86_MF;
}

static bool exception_may_differ(struct bench *b, const struct choice *ch)
{
	if (!b->is_intel && is_other_mask(b, ch))
		return true;
	if (is_xrstor(ch))
		return (b->r.vector == X86_PF) != (b->fake->vector == X86_PF);
	return !simd_vsib(ch->row) && may_differ(b, ch);
}

/* DPPS and DPPD multiply, then add: their exceptions come one by one. */
static bool is_dot_product(const struct simd_row *row)
{
	return row->map == MAP_0F3A && (row->op & ~1u) == 0x40;
}

/*
 * After an unmasked overflow or underflow PE says whether the result was
 * rounded before its exponent was too large; the engine cannot tell.
 */
static void forget_flags(struct bench *b, const struct simd_row *row,
			 struct xsave_image *ours)
{
	struct xsave_image *host = &b->r.image;
	uint32_t unmasked = host->mxcsr & ~(host->mxcsr / MXCSR_IM);

	if (b->r.vector == X86_XM && is_dot_product(row)) {
		ours->mxcsr |= MXCSR_FLAGS;
		host->mxcsr |= MXCSR_FLAGS;
	}
	if (b->r.vector != X86_XM || !(unmasked & (MXCSR_OE | MXCSR_UE)))
		return;
	ours->mxcsr &= ~MXCSR_PE;
	host->mxcsr &= ~MXCSR_PE;
}

static bool same_exception(struct bench *b)
{
	struct fake *fake = b->fake;

	if (fake->vector != b->r.vector) {
		print_message("exception %d, host %d\n", fake->vector,
			      b->r.vector);
		return false;
	}
	if (fake->vector != X86_PF ||
	    PAGE_BASE(fake->payload) == PAGE_BASE(b->r.cr2))
		return true;
	/* Of an area in two bad pages, either may be told. */
	if (b->operand_bytes > 16 && b->r.cr2 - fake->payload + PAGE < 2 * PAGE)
		return true;
	print_message("CR2 %#lx, host %#lx\n", fake->payload, b->r.cr2);
	return false;
}

static void report_memory(struct bench *b, const struct choice *ch,
			  const uint8_t memory[BENCH_MEMORY])
{
	const uint8_t *ours = b->fake->page[0];
	uint64_t first = (uint64_t)(uintptr_t)ours;

	for (unsigned k = 0; k < BENCH_MEMORY; k++)
		if (ours[k] != memory[k])
			print_message(
			    "memory[operand + %ld]: %02x, host %02x\n",
			    (long)(first + k - ch->va), ours[k], memory[k]);
}

static void compare(struct bench *b, struct choice *ch,
		    uint8_t memory[BENCH_MEMORY])
{
	struct cpu *c = &b->fake->c;
	bool same = true;

	if (!exception_may_differ(b, ch))
		same = same_exception(b);
	if (!may_differ(b, ch)) {
		same &= same_registers(b);
		forget_flags(b, ch->row, (void *)c->xsave);
		same &= same_images((void *)c->xsave, &b->r.image, c->native);
		if (b->forget) {
			b->forget(b, ch, memory);
			b->forget(b, ch, b->fake->page[0]);
		}
		if (memcmp(memory, b->fake->page[0], BENCH_MEMORY) != 0) {
			report_memory(b, ch, memory);
			same = false;
		}
	}
	if (same)
		return;
	describe(ch);
	fail();
}

/* -- the test
 * ------------------------------------------------------------------ */

static void run_one(struct bench *b, struct choice *ch)
{
	static uint8_t before[BENCH_MEMORY];
	static uint8_t host[BENCH_MEMORY] __attribute__((aligned(64)));
	struct fake *fake = b->fake;
	int error;

	choose(b, ch);
	prepare(b, ch);
	memcpy(b->code, ch->bytes, ch->len);
	memcpy(before, fake->page[0], sizeof(before));
	reference_run(&b->r, b->code, ch->len, fake->c.native->rfbm);
	memcpy(host, fake->page[0], sizeof(host));
	memcpy(fake->page[0], before, sizeof(before));
	fake->leave_at_store = bench_pick(b, 2);
	fake->live = bench_pick(b, 2);
	error = native_bind(&fake->c, ch->row, &ch->d, &ch->i);
	if (error == -ENOSPC) {
		native_flush(&fake->c);
		error = native_bind(&fake->c, ch->row, &ch->d, &ch->i);
	}
	assert_int_equal(error, 0);
	fake_run(fake, &ch->i);
	compare(b, ch, host);
	b->runs++;
	if (fake->vector >= 0)
		b->faults[fake->vector]++;
}

void bench_form(struct bench *b, const struct simd_row *row, bool mem, bool vex,
		unsigned vl, bool w, unsigned tries)
{
	struct choice ch = {.row = row, .mem = mem};
	uint8_t modrm = mem ? 0x00 : 0xc0;

	if (row->ext >= 0)
		modrm |= (uint8_t)(row->ext << 3);
	if (row->low >= 0 && !mem)
		modrm |= (uint8_t)row->low;
	if (row->attr & S_NOMODRM && mem)
		return;
	if (simd_find(row->map, row->pp, row->op, modrm, vex, vl, w) != row)
		return;
	if (!host_has(simd_feature(row, vex, vl)))
		return;
	b->forms++;
	for (unsigned k = 0; k < tries; k++) {
		memset(&ch.d, 0, sizeof(ch.d));
		ch.d.is_vex = vex;
		ch.d.vector_len = (uint8_t)vl;
		ch.d.rex_w = w;
		run_one(b, &ch);
	}
}

void bench_evex(struct bench *b, const struct simd_row *row,
		const struct dec *form, bool mem, unsigned tries)
{
	struct choice ch = {.row = row, .mem = mem};
	uint8_t modrm = mem ? 0x00 : 0xc0;
	struct dec d = *form;

	if (row->ext >= 0)
		modrm |= (uint8_t)(row->ext << 3);
	d.map = row->map;
	d.pp = row->pp;
	d.opcode = row->op;
	d.modrm = modrm;
	d.is_vex = d.is_evex = true;
	if (simd_find_evex(&d, modrm) != row || !host_has(row->feature) ||
	    !host_has(simd_feature_evex(row, &d)))
		return;
	b->forms++;
	for (unsigned k = 0; k < tries; k++) {
		ch.d = d;
		if (d.aaa != 0)
			ch.d.aaa = (uint8_t)(1 + bench_pick(b, 7));
		run_one(b, &ch);
	}
}

int bench_setup(void **state)
{
	struct bench *b = aligned_alloc(64, ALIGN_UP(sizeof(*b), 64));
	const char *seed = getenv("SEED");
	unsigned eax, ebx, ecx, edx;

	memset(b, 0, sizeof(*b));
	b->fake = fake_create();
	b->is_intel = __get_cpuid(0, &eax, &ebx, &ecx, &edx) &&
		      ebx == signature_INTEL_ebx;
	b->code = reference_create();
	b->rng = seed ? strtoull(seed, NULL, 0) : 1;
	*state = b;
	return 0;
}

int bench_teardown(void **state)
{
	struct bench *b = *state;

	reference_destroy(b->code);
	fake_destroy(b->fake);
	free(b);
	return 0;
}
