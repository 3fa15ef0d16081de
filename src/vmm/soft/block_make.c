/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making blocks: from a page that is protected against writers unseen (smc.c),
 * at the end of the arena.
 */
#include <errno.h>

#include "vmm/soft/access.h"
#include "vmm/soft/block_cache.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/native.h"
#include "vmm/soft/smc.h"

static bool ends_block(const struct insn *i)
{
	return i->exec == exec_ud ||
	       (i->op != OP_NONE_ROW && (opcode_table[i->op].attr & OP_END));
}

static bool is_protected(const struct cpu *c, uint64_t gpa)
{
	return c->svm->code_mask[gpa >> 12] & 1u << c->vcpu->id;
}

/* While we wait for others, one may ask us to drop the page. */
static void protect(struct cpu *c, uint64_t gpa)
{
	struct block_cache *cache = c->blocks;

	if (is_protected(c, gpa))
		return;
	if (cache->noted < NOTED_MAX)
		cache->noted_page[cache->noted] = (uint32_t)(gpa >> 12);
	if (cache->noted <= NOTED_MAX)
		cache->noted++;
	do
		smc_protect(c, gpa);
	while (!is_protected(c, gpa));
}

/* Room for the longest one, at the arena's end so far. */
static struct block *block_begin(struct cpu *c, uint64_t gpa)
{
	struct block_cache *cache = c->blocks;

	if (cache->used + block_size(BLOCK_MAX) > cache->size) {
		blocks_flush(c);
		protect(c, gpa);
	}
	return (struct block *)(void *)(cache->arena + cache->used);
}

/*
 * Who stores to the page from now on finds code in [off, end). False: so it
 * was; most often, and an atomic access would wait for all stores before it.
 */
static bool note_code(struct cpu *c, uint64_t page, unsigned off, unsigned end)
{
	_Atomic uint64_t *known = &c->svm->code_grain[page >> 12];
	uint64_t grains = MASK((end - 1) / 64, off / 64);

	if ((grains & ~*known) == 0)
		return false;
	*known |= grains;
	return true;
}

/* What was not known as code may have been stored to unseen: it is read once
   more. */
static int decode_code(struct cpu *c, uint64_t page, unsigned off,
		       unsigned avail, struct insn *i)
{
	struct dec d;
	int len;

	note_code(c, page, off, off + 1);
	do
		len = decode(c, c->ram + page + off, avail, off, i, &d);
	while (len > 0 && note_code(c, page, off, off + (unsigned)len));
	return len;
}

/* Decodes from off on to the end of the block, in the page there. false: there
   is no room for another stub (native_bind). */
static bool decode_run(struct cpu *c, uint64_t page, unsigned off,
		       unsigned limit, struct block *b)
{
	b->count = b->bytes = 0;
	while (b->count < BLOCK_MAX && off + b->bytes < limit) {
		struct insn *i = &b->insn[1 + b->count];
		unsigned at = off + b->bytes, avail = MIN(limit - at, 15u);
		int len = decode_code(c, page, at, avail, i);

		if (len == -ENOSPC)
			return false;
		if (len < 0)
			break;
		b->count++;
		b->bytes += (uint16_t)len;
		if (ends_block(i))
			break;
	}
	return true;
}

/* No block has a stub, so that none is needed. */
void blocks_drop_stubs(struct cpu *c)
{
	blocks_flush(c);
	c->link_from = NULL;
	native_flush(c);
}

/* Where the block at gpa ends at the latest, by its page and by CS. */
static unsigned block_limit(const struct cpu *c, uint64_t gpa, uint64_t rip)
{
	uint64_t left = (uint64_t)c->seg[SEG_CS].limit + 1 - rip;

	if (c->code_size == 8 || left >= 4096 - (gpa & 4095))
		return 4096;
	return (unsigned)((gpa & 4095) + left);
}

/* Programs without windows have warmed it up, as far as it was to be. */
static uint16_t heat_so_far(const struct cpu *c, uint64_t key)
{
	const struct block *b;

	if (!(key & MODE_KEY_WINDOWS))
		return 0;
	b = block_lookup(c, key & ~MODE_KEY_WINDOWS, 0);
	return b == NULL ? 0 : b->code != NULL ? c->jit->hot - 1 : b->heat;
}

/* Its instructions are there, count and bytes of them. */
static void block_enter(struct cpu *c, struct block *b, uint64_t gpa,
			uint32_t second)
{
	bool warms = c->jit != NULL && c->mode_key & MODE_KEY_FLAT;
	uint64_t key = gpa | c->mode_key;
	unsigned off = gpa & 4095;

	*b = (struct block){.key = key,
			    .va = block_va(c, c->rip),
			    .second = second,
			    .heat = heat_so_far(c, key),
			    .is_hot = c->jit != NULL && c->jit->all_hot,
			    .count = b->count,
			    .bytes = b->bytes};
	b->insn[0] = (struct insn){.exec = warms ? exec_warm : exec_head,
				   .off = (uint16_t)off};
	b->insn[b->count + 1] =
	    (struct insn){.exec = exec_tail, .off = (uint16_t)(off + b->bytes)};
	c->blocks->used += block_size(b->count);
	block_index(c->blocks, b);
	block_list(c, b);
	c->vcpu->stats[VM_STAT_BLOCKS_DECODED]++;
}

/*
 * An instruction that lies in two pages is a block by itself, in the page of
 * its first byte. For the other one there is a block without instructions, not
 * found by any key, so that who drops that page drops both. Each time it is
 * entered, the second page must be where it was (block_second_holds();
 * jit/hop.c).
 */
static void second_note(struct cpu *c, const struct block *of)
{
	struct block_cache *cache = c->blocks;
	struct block *b = (struct block *)(void *)(cache->arena + cache->used);

	*b = (struct block){.key = block_second(of), .link = {of->insn}};
	b->insn[0] = (struct insn){.exec = exec_gone};
	b->insn[1] = (struct insn){.exec = exec_leave};
	cache->used += block_size(0);
	block_list(c, b);
}

/* Its bytes, in two pages that are known to have code there. */
static void crossing_bytes(struct cpu *c, uint64_t gpa, uint64_t second,
			   uint8_t bytes[15])
{
	unsigned first = 4096 - (gpa & 4095);
	bool news;

	do {
		news = note_code(c, PAGE_BASE(gpa), gpa & 4095, 4096);
		news |= note_code(c, second, 0, 15 - first);
		copy_few(bytes, c->ram + gpa, first);
		copy_few(bytes + first, c->ram + second, 15 - first);
	} while (news);
}

/* NULL: it does not cross, or is none, and runs alone. May raise. */
static struct block *crossing_make(struct cpu *c, uint64_t gpa)
{
	unsigned off = gpa & 4095, first = 4096 - off;
	struct block *b;
	uint64_t second;
	uint8_t bytes[15];
	struct dec d;
	int len;

	if (first >= sizeof(bytes))
		return NULL;
	second = fetch_gpa(c, c->rip + first);
	b = block_begin(c, gpa);
	do {
		protect(c, gpa);
		protect(c, second);
	} while (!is_protected(c, gpa));
	crossing_bytes(c, gpa, second, bytes);
	len = decode(c, bytes, sizeof(bytes), off, &b->insn[1], &d);
	if (len <= (int)first)
		return NULL;
	b->count = 1;
	b->bytes = (uint16_t)len;
	block_enter(c, b, gpa, (uint32_t)(second >> 12) + 1);
	second_note(c, b);
	return b;
}

struct block *block_make(struct cpu *c, uint64_t gpa, uint64_t rip)
{
	unsigned off = gpa & 4095, limit = block_limit(c, gpa, rip);
	uint64_t page = PAGE_BASE(gpa);
	struct block *b;

	if (c->code_size != 8 && rip > c->seg[SEG_CS].limit)
		return NULL;
	protect(c, gpa);
	b = block_begin(c, gpa);
	if (!decode_run(c, page, off, limit, b)) {
		blocks_drop_stubs(c);
		protect(c, gpa);
		b = block_begin(c, gpa);
		decode_run(c, page, off, limit, b);
	}
	if (b->count == 0)
		return c->code_size == 8 ? crossing_make(c, gpa) : NULL;
	block_enter(c, b, gpa, 0);
	return b;
}
