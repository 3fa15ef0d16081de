/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One instruction that runs alone, in the scratch block: for the main loop, or
 * for translated code.
 */
#include <errno.h>

#include "vmm/soft/access.h"
#include "vmm/soft/block_cache.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/decode.h"

static struct block *scratch_block(const struct cpu *c)
{
	return (struct block *)(void *)c->blocks->scratch;
}

/* Up to 15 bytes at linear, from one or two pages. */
static unsigned fetch_bytes(struct cpu *c, uint64_t linear, uint8_t bytes[16])
{
	unsigned first = MIN(4096 - (unsigned)(linear & 4095), 15u);
	uint64_t gpa = fetch_gpa(c, linear);

	copy_bytes(bytes, c->ram + gpa, first);
	return first;
}

static const struct insn *single_ready(struct cpu *c, struct block *b)
{
	const struct insn *i = &b->insn[1];

	b->insn[2] = (struct insn){.exec = exec_stop,
				   .off = (uint16_t)(i->off + i->len)};
	c->retired++;
	return i;
}

const struct insn *block_alone(struct cpu *c)
{
	uint64_t linear = code_linear(c);
	struct block *b = scratch_block(c);
	const struct block *known;
	unsigned off = linear & 4095, avail;
	_Alignas(8) uint8_t bytes[16] = {0};
	struct dec d;
	int len;

	*b = (struct block){.count = 1};
	c->block = b;
	c->gpr[17] = c->rip - off;
	if (c->code_size != 8 && c->rip > c->seg[SEG_CS].limit)
		raise_gp(c, NULL, 0);
	known = block_lookup(c, fetch_gpa(c, linear) | c->mode_key,
			     block_va(c, linear));
	if (known != NULL && known->second == 0 && c->code_size == 8) {
		/* After each STI: seldom one that was never decoded. */
		b->insn[1] = known->insn[1];
		return single_ready(c, b);
	}
	avail = fetch_bytes(c, linear, bytes);
	len = decode(c, bytes, avail, off, &b->insn[1], &d);
	if (len == -EAGAIN) {
		uint64_t second = fetch_gpa(c, linear + avail);

		copy_bytes(bytes + avail, c->ram + second, 15 - avail);
		avail = 15;
		len = decode(c, bytes, avail, off, &b->insn[1], &d);
	}
	if (len == -ENOSPC) {
		blocks_drop_stubs(c);
		c->block = b;
		len = decode(c, bytes, avail, off, &b->insn[1], &d);
	}
	if (len < 0)
		raise_gp(c, NULL, 0);
	if (c->code_size != 8 &&
	    c->rip + (unsigned)len - 1 > c->seg[SEG_CS].limit)
		raise_gp(c, NULL, 0);
	return single_ready(c, b);
}

static const struct insn *exec_single_end(struct cpu *c, const struct insn *i)
{
	return i;
}

struct insn *block_single(struct cpu *c, const struct insn *i)
{
	struct block *b = scratch_block(c);

	b->count = 1;
	b->link[0] = b->link[1] = NULL;
	b->insn[1] = *i;
	b->insn[2].exec = exec_single_end;
	c->block = b;
	return &b->insn[1];
}

bool block_is_scratch(const struct cpu *c)
{
	return c->block == scratch_block(c);
}
