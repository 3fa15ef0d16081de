// SPDX-License-Identifier: BSD-2-Clause
/*
 * Masked moves and gathers: memory is touched, and may fault, only where the
 * mask says. Their stubs have a second entry.
 *
 * In a bound insn: imm the stub, b the bytes of a whole operand, lsize log2
 * of an element's, a log2 of an index' (gathers).
 */
#include <errno.h>

#include "vmm/soft/bytes.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/stub.h"
#include "vmm/soft/vec.h"

struct insn vec_element(const struct insn *i, int64_t distance)
{
	struct insn e = *i;

	e.disp = (int64_t)((uint64_t)e.disp + (uint64_t)distance);
	return e;
}

void vec_load_element(struct cpu *c, const struct insn *i, int64_t distance,
		      unsigned lsize, void *to)
{
	struct insn e = vec_element(i, distance);
	uint64_t va = operand_va(c, &e, 1u << lsize, ACCESS_READ);

	if (lsize == 3)
		*(uint64_t *)to = load64(c, &e, va);
	else if (lsize == 2)
		*(uint32_t *)to = load32(c, &e, va);
	else if (lsize == 1)
		*(uint16_t *)to = load16(c, &e, va);
	else
		*(uint8_t *)to = load8(c, &e, va);
}

void vec_store_element(struct cpu *c, const struct insn *i, int64_t distance,
		       unsigned lsize, const void *from)
{
	struct insn e = vec_element(i, distance);
	uint64_t va = operand_va(c, &e, 1u << lsize, ACCESS_WRITE);

	if (lsize == 3)
		store64(c, &e, va, *(const uint64_t *)from);
	else if (lsize == 2)
		store32(c, &e, va, *(const uint32_t *)from);
	else if (lsize == 1)
		store16(c, &e, va, *(const uint16_t *)from);
	else
		store8(c, &e, va, *(const uint8_t *)from);
}

void vec_check_elements(struct cpu *c, const struct insn *i, uint64_t mask,
			unsigned lsize)
{
	uint64_t page = 1; /* none */

	for (unsigned k = 0; k < 64 && mask >> k; k++) {
		struct insn e = vec_element(i, (int64_t)k << lsize);
		unsigned len = 1u << lsize;
		uint64_t va;

		if (!(mask >> k & 1))
			continue;
		va = operand_va(c, &e, len, ACCESS_WRITE);
		if (PAGE_BASE(va) != page)
			mmu_translate(c, &e, va, ACCESS_WRITE);
		page = PAGE_BASE(va + len - 1);
		if (PAGE_BASE(va) != page)
			mmu_translate(c, &e, page, ACCESS_WRITE);
	}
}

static uint64_t mask_of(struct cpu *c, const struct insn *i)
{
	vec_enter(c);
	return stub_call(i->imm + STUB_MASK, NULL);
}

/* The whole operand, if the TLB leads to it at once; else NULL. */
static void *whole(struct cpu *c, const struct insn *i, enum access access)
{
	uint64_t va;

	if (i->flags & INSN_EA_SLOW)
		return NULL;
	va = operand_va(c, i, i->b, access);
	return access == ACCESS_WRITE ? tlb_write(c, va, i->b)
				      : tlb_read(c, va, i->b);
}

const struct insn *exec_maskload(struct cpu *c, const struct insn *i)
{
	uint8_t *buffer = c->native->buffer;
	void *mem;

	vec_need(c, i, i->ext);
	mem = whole(c, i, ACCESS_READ);
	if (!mem) {
		uint64_t mask = mask_of(c, i);

		vec_rest(c);
		for (unsigned k = 0; mask >> k; k++)
			if (mask >> k & 1)
				vec_load_element(c, i, (int64_t)k << i->lsize,
						 i->lsize,
						 buffer + (k << i->lsize));
		mem = buffer;
	}
	vec_enter(c);
	stub_call(i->imm, mem);
	return next(c, i);
}

const struct insn *exec_maskstore(struct cpu *c, const struct insn *i)
{
	uint8_t *buffer = c->native->buffer;
	uint64_t mask;
	void *mem;

	vec_need(c, i, i->ext);
	mem = whole(c, i, ACCESS_WRITE);
	vec_enter(c);
	if (mem) {
		stub_call(i->imm, mem);
		return next(c, i);
	}
	mask = mask_of(c, i);
	stub_call(i->imm, buffer);
	vec_rest(c);
	vec_check_elements(c, i, mask, i->lsize);
	for (unsigned k = 0; mask >> k; k++)
		if (mask >> k & 1)
			vec_store_element(c, i, (int64_t)k << i->lsize,
					  i->lsize, buffer + (k << i->lsize));
	return next(c, i);
}

/* MASKMOVQ, MASKMOVDQU: the stub stores the whole register. */
const struct insn *exec_maskmov(struct cpu *c, const struct insn *i)
{
	uint8_t *buffer = c->native->buffer;
	uint64_t mask;

	vec_need(c, i, i->ext);
	mask = mask_of(c, i);
	stub_call(i->imm, buffer);
	vec_rest(c);
	vec_check_elements(c, i, mask, 0);
	for (unsigned k = 0; mask >> k; k++)
		if (mask >> k & 1)
			vec_store_element(c, i, k, 0, buffer + k);
	return next(c, i);
}

/* -- gathers -----------------------------------------------------------------
 */

/* What a gather's stub spills, and takes back from data. */
struct gathered {
	uint8_t index[32], mask[32], data[32];
};

static int64_t element_index(const struct gathered *g, const struct insn *i,
			     unsigned k)
{
	int64_t index;

	if (i->a == 3)
		index = ((const int64_t *)g->index)[k];
	else
		index = ((const int32_t *)g->index)[k];
	return (int64_t)((uint64_t)index << i->scale);
}

/*
 * All or nothing: a fault leaves destination and mask as they were. (The
 * architecture lets the elements before it be done; what is loaded twice is
 * ordinary memory.)
 */
const struct insn *exec_gather(struct cpu *c, const struct insn *i)
{
	struct gathered *g = (struct gathered *)(void *)c->native->scratch[0];
	unsigned wider = MAX(i->a, i->lsize), count = i->b >> wider;
	unsigned size = 1u << i->lsize;

	vec_need(c, i, i->ext);
	vec_enter(c);
	stub_call(i->imm, g);
	vec_rest(c);
	for (unsigned k = 0; k < count; k++)
		if (g->mask[(k + 1) * size - 1] & 0x80)
			vec_load_element(c, i, element_index(g, i, k), i->lsize,
					 g->data + k * size);
	zero_bytes(g->data + count * size, sizeof(g->data) - count * size);
	vec_enter(c);
	stub_call(i->imm + STUB_FILL, g);
	return next(c, i);
}

/* -- binding ------------------------------------------------------------------
 */

#define PP_66       0x66
#define PP_F3       0xf3
#define OP_PXOR     0xef
#define OP_LOADU    0x6f /* VMOVDQU (F3) */
#define OP_STOREU   0x7f
#define OP_MOVMSKP  0x50
#define OP_PMOVMSKB 0xd7
#define OP_RET      0xc3

/* Into EAX: the mask, a bit an element. */
static void encode_maskmov_mask(struct stub_code *code, const struct dec *d)
{
	bool xmm = d->pp == PP_66;

	stub_pad(code, STUB_MASK);
	if (xmm)
		stub_byte(code, PP_66);
	if (d->rm & 8 && xmm)
		stub_byte(code, 0x41);
	stub_byte(code, 0x0f);
	stub_byte(code, OP_PMOVMSKB);
	stub_byte(code, 0xc0 | (d->rm & 7));
}

static void encode_maskmov(struct stub_code *code, const struct dec *d)
{
	bool xmm = d->pp == PP_66;

	/* MOVDQU [RCX], xmm; MOVQ [RCX], mm. */
	if (xmm)
		stub_byte(code, PP_F3);
	if (d->reg & 8 && xmm)
		stub_byte(code, 0x44);
	stub_byte(code, 0x0f);
	stub_byte(code, OP_STOREU);
	stub_byte(code, (uint8_t)((d->reg & 7) << 3 | 1));
	stub_byte(code, OP_RET);
	encode_maskmov_mask(code, d);
}

static void encode_vmaskmov(struct stub_code *code, const struct simd_row *row,
			    const struct dec *d, unsigned lsize)
{
	stub_encode(code, row, d, true);
	stub_byte(code, OP_RET);
	stub_pad(code, STUB_MASK);
	stub_vex_reg(code, (struct stub_vex){
			       .map = 1,
			       .pp = lsize == 3 ? PP_66 : 0,
			       .op = OP_MOVMSKP,
			       .rm = d->vvvv,
			       .wide = d->vector_len,
			   });
}

static void encode_gather(struct stub_code *code, const struct dec *d)
{
	struct stub_vex v = {
	    .map = 1, .pp = PP_F3, .op = OP_STOREU, .wide = true};
	const uint8_t spilled[3] = {d->index, d->vvvv, d->reg};

	for (unsigned k = 0; k < 3; k++) {
		v.reg = spilled[k];
		stub_vex_mem(code, v, (int8_t)(32 * k));
	}
	stub_byte(code, OP_RET);
	stub_pad(code, STUB_FILL);
	v.op = OP_LOADU;
	stub_vex_mem(code, v, offsetof(struct gathered, data));
	stub_vex_reg(code, (struct stub_vex){.map = 1,
					     .pp = PP_66,
					     .op = OP_PXOR,
					     .reg = d->vvvv,
					     .vvvv = d->vvvv,
					     .rm = d->vvvv});
}

static uint8_t element_lsize(const struct simd_row *row)
{
	if (row->attr & S_W1 || row->op == 0x2d || row->op == 0x2f)
		return 3;
	return 2;
}

int masked_bind(struct cpu *c, const struct simd_row *row, const struct dec *d,
		struct insn *i)
{
	struct stub_code code = {.len = 0};
	int64_t stub;

	i->b = (uint8_t)(16u << d->vector_len);
	i->lsize = element_lsize(row);
	if (row->exec == exec_gather) {
		if (d->reg == d->vvvv || d->reg == d->index ||
		    d->vvvv == d->index)
			return -EINVAL;
		i->index = REG_ZERO;
		i->a = row->op & 1 ? 3 : 2;
		encode_gather(&code, d);
	} else if (row->exec == exec_maskmov) {
		i->base = REG_RDI;
		i->index = REG_ZERO;
		i->scale = 0;
		i->disp = 0;
		encode_maskmov(&code, d);
	} else if (row->exec == exec_maskload || row->exec == exec_maskstore) {
		encode_vmaskmov(&code, row, d, i->lsize);
	} else {
		return row->is_evex ? opmask_bind(c, row, d, i) : 0;
	}
	stub_byte(&code, OP_RET);
	stub = stub_find(c->native, &code);
	if (stub < 0)
		return (int)stub;
	i->imm = stub;
	return 0;
}
