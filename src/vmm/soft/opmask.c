// SPDX-License-Identifier: BSD-2-Clause
/*
 * Memory operands with an opmask, where the TLB does not lead to the whole at
 * once: only the elements that the mask names are touched, and may fault (SDM
 * vol. 2, 2.7.9). And gathers and scatters, which do one element after the
 * other and clear its bit in the mask, so that what faults goes on there.
 */
#include <errno.h>

#include "vmm/soft/bytes.h"
#include "vmm/soft/native.h"
#include "vmm/soft/stub.h"

/* -- masks ------------------------------------------------------------------
 */

#define READ_MASK(k)                                                           \
	case k:                                                                \
		__asm__ volatile("kmovq %%k" #k ", %0" : "=r"(mask));          \
		break;

/* Of the register, while it is live, as many bits as count. */
static uint64_t mask_of(struct cpu *c, const struct insn *i)
{
	unsigned bits = 1u << i->a / 8;
	uint64_t mask = 0;

	vec_enter(c);
	switch (NATIVE_MASK(i)) {
		READ_MASK(1)
		READ_MASK(2)
		READ_MASK(3)
		READ_MASK(4)
		READ_MASK(5)
		READ_MASK(6)
		READ_MASK(7)
	}
	vec_rest(c);
	return bits == 64 ? mask : mask & (BIT(bits) - 1);
}

static unsigned count_bits(uint64_t mask)
{
	unsigned count = 0;

	for (; mask != 0; mask &= mask - 1)
		count++;
	return count;
}

static uint64_t low_bits(unsigned count)
{
	return count == 0 ? 0 : ~0ull >> (64 - count);
}

/* The elements of memory that are touched, a bit each. */
static uint64_t touched(const struct insn *i, uint64_t mask)
{
	unsigned count = i->b >> NATIVE_ELEMENT(i);
	uint64_t elements = 0;

	switch (NATIVE_TOUCH(i)) {
	case TOUCH_PACKED:
		return low_bits(count_bits(mask));
	case TOUCH_FOLDED:
		for (unsigned k = 0; k < 64; k++)
			elements |= (mask >> k & 1) << k % count;
		return elements;
	default:
		return mask;
	}
}

static unsigned log2_of(unsigned n)
{
	unsigned log = 0;

	while (n >> (log + 1))
		log++;
	return log;
}

static enum native_touch touch(const struct simd_row *row, const struct dec *d)
{
	if (row->how & E_PACK)
		return TOUCH_PACKED;
	if (row->how & E_ALL || simd_is_broadcast(row, d))
		return TOUCH_FOLDED;
	return TOUCH_EACH;
}

void native_set_mask(const struct simd_row *row, const struct dec *d,
		     struct insn *i)
{
	i->lsize |= (uint8_t)(d->aaa << 1 | log2_of(row->element) << 4 |
			      (unsigned)touch(row, d) << 6);
	i->a = (uint8_t)(8 * log2_of(simd_mask_bits(row, d)));
}

/* -- loads and stores ---------------------------------------------------------
 */

/* Of the whole, if any of it is touched. */
static void check_alignment(struct cpu *c, const struct insn *i, uint64_t mask)
{
	struct insn first = vec_element(i, 0);
	uint64_t va;

	if (i->c == 0 || mask == 0)
		return;
	va = operand_va(c, &first, 1, ACCESS_READ);
	if (va & i->c)
		raise_gp(c, i, 0);
}

const struct insn *exec_load_masked(struct cpu *c, const struct insn *i)
{
	uint8_t *buffer = c->native->buffer;
	unsigned lsize = NATIVE_ELEMENT(i);
	uint64_t mask;

	vec_check(c, i, i->ext);
	mask = touched(i, mask_of(c, i));
	check_alignment(c, i, mask);
	for (unsigned k = 0; k < 64 && mask >> k; k++)
		if (mask >> k & 1)
			vec_load_element(c, i, (int64_t)k << lsize, lsize,
					 buffer + (k << lsize));
	vec_enter(c);
	stub_run_careful(c, i, buffer);
	return next(c, i);
}

static const struct insn *store_masked(struct cpu *c, const struct insn *i,
				       bool all)
{
	uint8_t *buffer = c->native->buffer;
	unsigned lsize = NATIVE_ELEMENT(i);
	uint64_t mask;

	vec_check(c, i, i->ext);
	mask = touched(i, mask_of(c, i));
	check_alignment(c, i, mask);
	vec_check_elements(c, i, all ? low_bits(i->b >> lsize) : mask, lsize);
	vec_enter(c);
	stub_run_careful(c, i, buffer);
	vec_rest(c);
	for (unsigned k = 0; k < 64 && mask >> k; k++)
		if (mask >> k & 1)
			vec_store_element(c, i, (int64_t)k << lsize, lsize,
					  buffer + (k << lsize));
	return next(c, i);
}

const struct insn *exec_store_masked(struct cpu *c, const struct insn *i)
{
	return store_masked(c, i, false);
}

const struct insn *exec_store_masked_nf(struct cpu *c, const struct insn *i)
{
	return store_masked(c, i, true);
}

/* -- gathers and scatters -----------------------------------------------------
 */

/*
 * What their stubs spill, by stub_move_opmask and stub_move_zmm, and take
 * back: the mask and, of a gather, the data.
 */
struct spilled {
	uint64_t mask;
	bool any; /* element was done since */
	uint8_t unused[55];
	uint8_t index[64], data[64];
};
enum { PLACE_INDEX = 1, PLACE_DATA };

/* In a bound one: a log2 of an index' bytes, lsize of an element's, b those
   of the longer of both vectors. */
static unsigned element_count(const struct insn *i)
{
	return i->b >> MAX(i->a, i->lsize);
}

static int64_t distance_of(const struct spilled *s, const struct insn *i,
			   unsigned k)
{
	int64_t index;

	if (i->a == 3)
		index = ((const int64_t *)(const void *)s->index)[k];
	else
		index = ((const int32_t *)(const void *)s->index)[k];
	return (int64_t)((uint64_t)index << i->scale);
}

/*
 * Before what may fault, or leave for the process: what is done is done. So
 * are accesses to devices, which must not be in the log when the instruction
 * runs again with fewer elements.
 */
static void commit(struct cpu *c, const struct insn *i, struct spilled *s)
{
	if (!s->any)
		return;
	s->any = false;
	vec_enter(c);
	stub_call(i->imm + STUB_FILL, s);
	vec_rest(c);
	c->replay_count = c->replay_next = 0;
}

static bool is_near(struct cpu *c, const struct insn *i, int64_t distance,
		    enum access access)
{
	struct insn e = vec_element(i, distance);
	unsigned len = 1u << i->lsize;
	uint64_t va;

	if (i->flags & INSN_EA_SLOW)
		return false;
	va = operand_va(c, &e, len, access);
	return (access == ACCESS_WRITE ? tlb_write(c, va, len)
				       : tlb_read(c, va, len)) != NULL;
}

static const struct insn *elements(struct cpu *c, const struct insn *i,
				   enum access access)
{
	struct spilled *s = (struct spilled *)(void *)c->native->scratch[0];
	unsigned count = element_count(i), size = 1u << i->lsize;

	vec_need(c, i, i->ext);
	vec_enter(c);
	stub_call(i->imm, s);
	vec_rest(c);
	s->any = false;
	zero_bytes(s->data + i->b, sizeof(s->data) - i->b);
	for (unsigned k = 0; k < count; k++) {
		int64_t distance = distance_of(s, i, k);

		if (!(s->mask >> k & 1))
			continue;
		if (!is_near(c, i, distance, access))
			commit(c, i, s);
		if (access == ACCESS_WRITE)
			vec_store_element(c, i, distance, i->lsize,
					  s->data + k * size);
		else
			vec_load_element(c, i, distance, i->lsize,
					 s->data + k * size);
		s->mask &= ~BIT(k);
		s->any = true;
	}
	s->mask = 0;
	zero_bytes(s->data + count * size, sizeof(s->data) - count * size);
	vec_enter(c);
	stub_call(i->imm + STUB_FILL, s);
	return next(c, i);
}

const struct insn *exec_gather_k(struct cpu *c, const struct insn *i)
{
	return elements(c, i, ACCESS_READ);
}

const struct insn *exec_scatter_k(struct cpu *c, const struct insn *i)
{
	return elements(c, i, ACCESS_WRITE);
}

/* -- binding ------------------------------------------------------------------
 */

#define OP_RET 0xc3

int opmask_bind(struct cpu *c, const struct simd_row *row, const struct dec *d,
		struct insn *i)
{
	bool gather = row->exec == exec_gather_k;
	struct stub_code code = {.len = 0};
	int64_t stub;

	if (gather && d->reg == d->index)
		return -EINVAL;
	i->index = REG_ZERO;
	i->a = row->op & 1 ? 3 : 2;
	i->lsize = (uint8_t)log2_of(row->element);
	i->b = (uint8_t)(16u << d->vector_len);
	stub_move_opmask(&code, true, d->aaa);
	stub_move_zmm(&code, true, d->index, PLACE_INDEX);
	stub_move_zmm(&code, true, d->reg, PLACE_DATA);
	stub_byte(&code, OP_RET);
	stub_pad(&code, STUB_FILL);
	stub_move_opmask(&code, false, d->aaa);
	if (gather)
		stub_move_zmm(&code, false, d->reg, PLACE_DATA);
	stub_byte(&code, OP_RET);
	stub = stub_find(c->native, &code);
	if (stub < 0)
		return (int)stub;
	i->imm = stub;
	return 0;
}
