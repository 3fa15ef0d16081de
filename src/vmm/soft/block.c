/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks of decoded instructions: making, finding and forgetting them. Each
 * vCPU has its own, so no lock is taken. A block lies in one guest page, is
 * found by its guest physical address, and lives in an arena that is emptied
 * when full. Dropped blocks stay in the arena until then, because one of them
 * may be running: their instructions become exec_leave.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/mem.h"
#include "vmm/soft/access.h"
#include "vmm/soft/branch.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/jit/jit.h"

#define PAGE_BITS 11

/* Bytes around a place that takes time. */
#define HOT_REGION 192

/* Decoded blocks; those that are translated stay, for what tier 0 does. */
#define ARENA_SIZE (24 * MiB)

/*
 * Where a block is: more of its key's hash, and its place in the arena, of 64
 * bytes each, from 1. One that is gone keeps its entry, until the arena is
 * emptied or there is another with its hash. So the table is never full: it
 * has more entries than the arena has room for the smallest blocks.
 */
struct entry {
	uint32_t tag;
	uint32_t at; /* 0: nothing, here and on */
};
#define BYTES_PER_ENTRY 128
#define KEY_GONE        (~0ull)

/* As many as fill the arena, or nearly. */
#define NOTED_MAX (64 * 1024)

struct block_cache {
	struct entry *entry;
	unsigned entry_bits;
	struct block *page[1 << PAGE_BITS];
	uint8_t *arena;
	size_t used, size;
	/* Pages with blocks since the arena was emptied, some more than once;
	   > NOTED_MAX: lost. */
	uint32_t noted_page[NOTED_MAX];
	unsigned noted;
	/* One instruction and its end, for block_alone. */
	_Alignas(
	    64) uint8_t scratch[sizeof(struct block) + 3 * sizeof(struct insn)];
};

static struct block *scratch_block(const struct cpu *c)
{
	return (struct block *)(void *)c->blocks->scratch;
}

/* -- pseudo-instructions
 * -------------------------------------------------------- */

static uint64_t code_mask(const struct cpu *c, uint64_t rip)
{
	return c->code_size == 8   ? rip
	       : c->code_size == 4 ? (uint32_t)rip
				   : (uint16_t)rip;
}

static bool second_holds(struct cpu *c, const struct block *b);

/* A block's head: looks up, counts, goes on. */
static const struct insn *exec_head(struct cpu *c, const struct insn *i)
{
	const struct block *b = container_of(i, struct block, insn[0]);

	if (unlikely(c->kick != 0) && !c->in_shadow) {
		c->rip = code_mask(c, c->gpr[17] + i->off);
		return NULL;
	}
	if (unlikely(b->second != 0) && !second_holds(c, b))
		return NULL;
	c->in_shadow = false;
	c->block = b;
	c->retired += b->count;
	return next(c, i);
}

/* The head of a translated block. */
static const struct insn *exec_translated(struct cpu *c, const struct insn *i)
{
	const struct block *b = container_of(i, struct block, insn[0]);
	uint64_t rip = c->gpr[17] + i->off;

	if (unlikely(c->kick != 0 || c->tlb->go == 0 || c->align_check ||
		     !jit_is_amid(rip)))
		return exec_head(c, i);
	if (unlikely(b->second != 0)) {
		if (!second_holds(c, b))
			return NULL;
		/* Translated code finds it by the TLB only. */
		if (!tlb_has(c->tlb, PAGE_BASE(rip) + 4096, ACCESS_EXEC))
			return exec_head(c, i);
	}
	target_note(c, rip, rip, b->code);
	return jit_run(c, b);
}

/* The head of a block that may become hot. */
static const struct insn *exec_warm(struct cpu *c, const struct insn *i)
{
	struct block *b =
	    (struct block *)(uintptr_t)container_of(i, struct block, insn[0]);

	if (likely(++b->heat < c->jit->hot) || c->kick != 0)
		return exec_head(c, i);
	b->insn[0].exec = exec_head;
	if (c->jit->full || !jit_translate(c, b))
		return exec_head(c, i);
	return exec_translated(c, i);
}

bool block_is_warm(const struct block *b)
{
	return b->insn[0].exec == exec_warm;
}

void block_is_translated(struct block *b)
{
	b->insn[0].exec = exec_translated;
}

/* After the last instruction, when that is no branch. */
static const struct insn *exec_tail(struct cpu *c, const struct insn *i)
{
	return branch(c, i, 1, i->off);
}

/* After the one instruction that runs alone. */
static const struct insn *exec_stop(struct cpu *c, const struct insn *i)
{
	c->rip = code_mask(c, c->gpr[17] + i->off);
	return NULL;
}

/* In the place of each instruction of a dropped block. */
static const struct insn *exec_leave(struct cpu *c, const struct insn *i)
{
	return leave_at(c, i);
}

/* The head of a dropped block, should anybody still have it. */
static const struct insn *exec_gone(struct cpu *c, const struct insn *i)
{
	c->rip = code_mask(c, c->gpr[17] + i->off);
	return NULL;
}

/* -- leaving a block
 * --------------------------------------------------------------- */

/*
 * Instructions of the current block from i on, which its head counted. What
 * accesses elements of a vector has a copy of the instruction for each.
 */
static uint64_t counted_from(const struct cpu *c, const struct insn *i)
{
	const struct block *b = c->block;
	uint64_t n = 0;

	if (i >= b->insn && i <= &b->insn[b->count + 1])
		return b->count - (uint64_t)(i - &b->insn[1]);
	while (n < b->count && b->insn[1 + n].off != i->off)
		n++;
	return b->count - n;
}

const struct insn *leave_at(struct cpu *c, const struct insn *i)
{
	c->retired -= counted_from(c, i);
	c->rip = code_mask(c, insn_rip(c, i));
	return NULL;
}

const struct insn *end_block(struct cpu *c, const struct insn *i)
{
	c->retired -= counted_from(c, i) - 1;
	c->rip = next_rip(c, i);
	return NULL;
}

void block_unwind(struct cpu *c, const struct insn *i)
{
	c->retired -= counted_from(c, i);
	c->rip = code_mask(c, insn_rip(c, i));
}

/* Near branches fault before they are taken (SDM vol. 2, JMP). */
void branch_check_slow(struct cpu *c, const struct insn *i, uint64_t rip)
{
	if (c->code_size == 8) {
		if (!is_canonical(c, rip))
			raise_gp(c, i, 0);
	} else if (rip > c->seg[SEG_CS].limit) {
		raise_gp(c, i, 0);
	}
}

static uint64_t target_mask(const struct cpu *c, const struct insn *i,
			    unsigned n, uint64_t rip)
{
	if (c->code_size == 8)
		return rip;
	if (n == 0) /* taken: by the operand size */
		return i->lsize == 1 ? (uint16_t)rip : (uint32_t)rip;
	return code_mask(c, rip);
}

const struct insn *branch_slow(struct cpu *c, const struct insn *i, unsigned n,
			       int64_t rel)
{
	uint64_t raw = c->gpr[17] + (uint64_t)rel;
	uint64_t rip = target_mask(c, i, n, raw);

	branch_check(c, i, rip);
	if (rip == raw && rel >= 0 && rel < 4096) {
		struct block *b = (struct block *)(uintptr_t)c->block;

		if (!c->alone)
			c->link_from = &b->link[n];
		c->rip = rip;
		return NULL;
	}
	return jump_to(c, i, rip);
}

const struct insn *jump_slow(struct cpu *c, const struct insn *i, uint64_t rip)
{
	branch_check(c, i, rip);
	c->rip = rip;
	return NULL;
}

/* Entries of each mode, and of CPL 3, may live side by side. */
void live_tag_update(struct cpu *c)
{
	c->live_tag = c->tag_count << 9 | c->mode_key >> MODE_KEY_SHIFT << 1 |
		      (c->cpl == 3);
}

void jump_flush(struct cpu *c)
{
	c->tag_count++;
	live_tag_update(c);
}

/* -- the cache
 * ------------------------------------------------------------------------ */

static uint32_t tag_of(uint64_t hash)
{
	return (uint32_t)(hash >> 12);
}

static struct entry *entry_first(const struct block_cache *cache, uint64_t hash)
{
	return &cache->entry[hash >> (64 - cache->entry_bits)];
}

static struct entry *entry_next(const struct block_cache *cache,
				const struct entry *x)
{
	size_t n = (size_t)(x - cache->entry) + 1;

	return &cache->entry[n & MASK(cache->entry_bits - 1, 0)];
}

static struct block *block_at(const struct block_cache *cache,
			      const struct entry *x)
{
	return (struct block *)(void *)(cache->arena + (x->at - 1ull) * 64);
}

static void entry_add(struct block_cache *cache, const struct block *b)
{
	uint64_t hash = block_hash(b->key, b->va);
	struct entry *x = entry_first(cache, hash);
	size_t at = (size_t)((const uint8_t *)b - cache->arena);

	while (x->at != 0 &&
	       (x->tag != tag_of(hash) || block_at(cache, x)->key != KEY_GONE))
		x = entry_next(cache, x);
	*x = (struct entry){tag_of(hash), (uint32_t)(at / 64 + 1)};
}

static size_t entries_size(const struct block_cache *cache)
{
	return sizeof(*cache->entry) << cache->entry_bits;
}

static int entries_create(struct block_cache *cache)
{
	while (cache->size >> cache->entry_bits > BYTES_PER_ENTRY)
		cache->entry_bits++;
	cache->entry = mmap(NULL, entries_size(cache), PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (cache->entry == MAP_FAILED) {
		cache->entry = NULL;
		return -ENOMEM;
	}
	madvise(cache->entry, entries_size(cache), MADV_HUGEPAGE);
	return 0;
}

static size_t block_size(unsigned count)
{
	size_t insns = (count + 2) * sizeof(struct insn);

	return ALIGN_UP(sizeof(struct block) + insns, 64);
}

static struct block **page_slot(struct block_cache *cache, uint64_t gpa)
{
	return &cache->page[(gpa >> 12) & ((1 << PAGE_BITS) - 1)];
}

static uint64_t block_gpa(const struct block *b)
{
	return b->key & MASK(55, 0);
}

int blocks_create(struct cpu *c)
{
	c->blocks = mmap(NULL, sizeof(*c->blocks), PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (c->blocks == MAP_FAILED)
		c->blocks = NULL;
	c->jump = calloc(JUMP_SIZE, sizeof(*c->jump));
	if (c->blocks == NULL || c->jump == NULL)
		return -ENOMEM;
	/* No tag is this one: not 0 either, which is jump_tag's when alone. */
	for (unsigned n = 0; n < JUMP_SIZE; n++)
		c->jump[n].tag = ~0ull;
	c->blocks->size = ARENA_SIZE + c->svm->jit_bytes * 3 / 2;
	c->blocks->size = ALIGN_UP(c->blocks->size, 2 * MiB);
	c->blocks->arena = aligned_alloc(2 * MiB, c->blocks->size);
	c->arena = c->blocks->arena;
	if (c->arena == NULL)
		return -ENOMEM;
	/* Read here and there, it is worth the host's larger pages. */
	madvise(c->blocks->arena, c->blocks->size, MADV_HUGEPAGE);
	return entries_create(c->blocks);
}

void blocks_destroy(struct cpu *c)
{
	if (c->blocks != NULL) {
		free(c->blocks->arena);
		if (c->blocks->entry != NULL)
			munmap(c->blocks->entry, entries_size(c->blocks));
		munmap(c->blocks, sizeof(*c->blocks));
	}
	free(c->jump);
}

static void forget_code(struct cpu *c, uint64_t gpa)
{
	_Atomic uint32_t *mask = &c->svm->code_mask[gpa >> 12];
	uint32_t me = 1u << c->vcpu->id;

	if (*mask & me)
		*mask &= ~me;
}

/* Says that another block reaches into its page (second_note). */
static bool is_second(const struct block *b)
{
	return b->count == 0;
}

static void block_kill(struct cpu *c, struct block *b)
{
	jit_kill(c, b);
	b->key = KEY_GONE;
	b->insn[0].exec = exec_gone;
	if (!is_second(b))
		b->link[0] = b->link[1] = NULL;
	for (unsigned n = 1; n <= b->count + 1u; n++)
		b->insn[n].exec = exec_leave;
}

/* No block is found any more. */
static void lose_all(struct cpu *c)
{
	struct block_cache *cache = c->blocks;

	zero_bytes(cache->page, sizeof(cache->page));
	if (cache->used != 0)
		zero_bytes(cache->entry, entries_size(cache));
	c->link_from = NULL;
	jump_flush(c);
}

void blocks_drop_all(struct cpu *c)
{
	for (unsigned n = 0; n < 1 << PAGE_BITS; n++)
		for (struct block *b = c->blocks->page[n]; b != NULL;
		     b = b->page_next) {
			forget_code(c, block_gpa(b));
			block_kill(c, b);
		}
	lose_all(c);
}

static void forget_all_code(struct cpu *c)
{
	const struct block_cache *cache = c->blocks;
	const struct block *b;

	if (cache->noted <= NOTED_MAX) {
		for (unsigned n = 0; n < cache->noted; n++)
			forget_code(c, (uint64_t)cache->noted_page[n] << 12);
		return;
	}
	for (size_t at = 0; at < cache->used; at += block_size(b->count)) {
		b = (const struct block *)(void *)(cache->arena + at);
		if (b->key != KEY_GONE)
			forget_code(c, block_gpa(b));
	}
}

/* No block runs, and what they were is written over: none has to be told. */
void blocks_flush(struct cpu *c)
{
	struct block_cache *cache = c->blocks;

	forget_all_code(c);
	lose_all(c);
	jit_flush(c);
	cache->used = 0;
	cache->noted = 0;
	c->block = NULL;
}

/* Blocks of the page are no more. What says of others that they reach into it
   comes off the list, or (its bytes are still what they were) stays there. */
static struct block *drop_blocks(struct cpu *c, uint64_t gpa, bool stays)
{
	struct block **p = page_slot(c->blocks, gpa), *others = NULL;

	while (*p != NULL) {
		struct block *b = *p;

		if (PAGE_BASE(block_gpa(b)) != PAGE_BASE(gpa) ||
		    (stays && is_second(b))) {
			p = &b->page_next;
			continue;
		}
		*p = b->page_next;
		block_kill(c, b);
		c->link_from = NULL;
		jump_flush(c);
		if (!is_second(b))
			continue;
		b->page_next = others;
		others = b;
	}
	return others;
}

/* Blocks that jump to one that reaches into the page go with that. */
void blocks_drop_page(struct cpu *c, uint64_t gpa)
{
	const struct block *b = drop_blocks(c, gpa, false);

	forget_code(c, gpa);
	for (; b != NULL; b = b->page_next) {
		const struct block *of =
		    container_of(b->link[0], struct block, insn[0]);

		if (of->key != KEY_GONE)
			drop_blocks(c, block_gpa(of), true);
	}
}

/* -- making
 * -------------------------------------------------------------------------- */

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

static uint64_t fetch_gpa(struct cpu *c, uint64_t va)
{
	uint64_t gpa;

	if (tlb_has(c->tlb, va, ACCESS_EXEC))
		return va + c->tlb->addend[tlb_place(va)] - (uint64_t)c->ram;
	gpa = mmu_translate(c, NULL, va, ACCESS_EXEC);
	if (mem_is_readable(&c->svm->vm->mem, PAGE_BASE(gpa), 4096))
		return gpa;
	/* Code in a device: nothing we can run. */
	c->exit->exitcode = VM_EXITCODE_PAGING;
	c->exit->u.paging.gpa = gpa;
	c->exit->u.paging.fault_type = 4; /* PROT_EXEC */
	soft_leave(c, NULL, PENDING_NONE);
}

/* Else the block is no more. May raise, at its instruction. */
static bool second_holds(struct cpu *c, const struct block *b)
{
	uint64_t rip = c->gpr[17] + b->insn[0].off, gpa;

	c->rip = rip;
	gpa = fetch_gpa(c, PAGE_BASE(rip) + 4096);
	/* To walk the tables may have dropped it. */
	if (b->key == KEY_GONE)
		return false;
	if (gpa == block_second(b))
		return true;
	blocks_drop_page(c, block_gpa(b));
	return false;
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
static void drop_stubs(struct cpu *c)
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

static void page_add(struct cpu *c, struct block *b)
{
	struct block **slot = page_slot(c->blocks, block_gpa(b));

	b->page_next = *slot;
	*slot = b;
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
	entry_add(c->blocks, b);
	page_add(c, b);
	c->vcpu->stats[VM_STAT_BLOCKS_DECODED]++;
}

/*
 * An instruction that lies in two pages is a block by itself, in the page of
 * its first byte. For the other one there is a block without instructions, not
 * found by any key, so that who drops that page drops both. Each time it is
 * entered, the second page must be where it was (second_holds; jit/hop.c).
 */
static void second_note(struct cpu *c, const struct block *of)
{
	struct block_cache *cache = c->blocks;
	struct block *b = (struct block *)(void *)(cache->arena + cache->used);

	*b = (struct block){.key = block_second(of), .link = {of->insn}};
	b->insn[0] = (struct insn){.exec = exec_gone};
	b->insn[1] = (struct insn){.exec = exec_leave};
	cache->used += block_size(0);
	page_add(c, b);
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

static struct block *block_make(struct cpu *c, uint64_t gpa, uint64_t rip)
{
	unsigned off = gpa & 4095, limit = block_limit(c, gpa, rip);
	uint64_t page = PAGE_BASE(gpa);
	struct block *b;

	if (c->code_size != 8 && rip > c->seg[SEG_CS].limit)
		return NULL;
	protect(c, gpa);
	b = block_begin(c, gpa);
	if (!decode_run(c, page, off, limit, b)) {
		drop_stubs(c);
		protect(c, gpa);
		b = block_begin(c, gpa);
		decode_run(c, page, off, limit, b);
	}
	if (b->count == 0)
		return c->code_size == 8 ? crossing_make(c, gpa) : NULL;
	block_enter(c, b, gpa, 0);
	return b;
}

/* -- finding
 * ------------------------------------------------------------------------- */

static uint64_t code_linear(const struct cpu *c)
{
	return c->code_size == 8 ? c->rip
				 : (uint32_t)(c->rip + c->seg[SEG_CS].base);
}

const struct block *block_lookup(const struct cpu *c, uint64_t key, uint64_t va)
{
	const struct block_cache *cache = c->blocks;
	uint64_t hash = block_hash(key, va);
	const struct entry *x = entry_first(cache, hash);

	for (; x->at != 0; x = entry_next(cache, x))
		if (x->tag == tag_of(hash) && block_at(cache, x)->key == key &&
		    block_at(cache, x)->va == va)
			return block_at(cache, x);
	return NULL;
}

const struct insn *block_find(struct cpu *c)
{
	uint64_t linear = code_linear(c), gpa;
	struct jump_entry *e = jump_at(c, c->rip);
	const struct block *b;

	if (unlikely(c->debug_code != 0) && debug_code_page(c, linear))
		return NULL;
	gpa = fetch_gpa(c, linear);
	b = block_lookup(c, gpa | c->mode_key, block_va(c, linear));
	if (b == NULL)
		b = block_make(c, gpa, c->rip);
	if (b == NULL)
		return NULL;
	/* It may have been made under another limit. */
	if (unlikely(c->code_size != 8) &&
	    c->rip + b->bytes - 1 > c->seg[SEG_CS].limit)
		return NULL;
	c->gpr[17] = c->rip - (linear & 4095);
	*e = (struct jump_entry){c->rip, c->live_tag, b->insn, c->gpr[17]};
	return b->insn;
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
		drop_stubs(c);
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

/* -- one instruction of translated code
 * ------------------------------------------------------ */

static const struct insn *exec_single_end(struct cpu *c, const struct insn *i)
{
	return i;
}

static bool is_around(const struct block *b, uint64_t gpa)
{
	return block_gpa(b) + HOT_REGION >= gpa &&
	       block_gpa(b) <= gpa + HOT_REGION;
}

/* It is for the page that is at REG_RIPBASE, as it is run now. */
static bool is_current(const struct cpu *c, const struct block *b)
{
	return b->key == (block_gpa(b) | c->mode_key) &&
	       b->va == block_va(c, c->gpr[17]);
}

/* First all wait for it, so that those that follow one another are translated
   together. Those of another mode wait until they are entered. */
void blocks_found_hot(struct cpu *c, uint64_t gpa)
{
	struct block *first = *page_slot(c->blocks, gpa), *b;

	for (b = first; b != NULL; b = b->page_next) {
		if (!is_around(b, gpa) || b->is_hot)
			continue;
		b->is_hot = true;
		if (b->code == NULL)
			continue;
		b->insn[0].exec = exec_warm;
		b->heat = (uint16_t)(c->jit->hot - 1);
	}
	for (b = first; b != NULL; b = b->page_next)
		if (is_around(b, gpa) && block_is_warm(b) && is_current(c, b))
			jit_translate_again(c, b);
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

static bool is_head(exec_fn exec)
{
	return exec == exec_head || exec == exec_translated ||
	       exec == exec_warm || exec == exec_gone;
}

const struct block *block_of(const struct insn *i)
{
	while (!is_head(i->exec))
		i--;
	return container_of(i, struct block, insn[0]);
}

void block_bytes(const struct cpu *c, const struct block *b,
		 const struct insn *i, uint8_t bytes[15])
{
	const uint8_t *page = c->ram + PAGE_BASE(b->key & MASK(55, 0));
	unsigned first = MIN(i->len, 4096u - i->off);

	copy_few(bytes, page + i->off, first);
	if (first < i->len)
		copy_few(bytes + first, c->ram + block_second(b),
			 i->len - first);
}

bool block_is_scratch(const struct cpu *c)
{
	return c->block == scratch_block(c);
}

bool block_is_dead(const struct insn *i)
{
	return i->exec == exec_leave;
}
