/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks of decoded instructions: finding and forgetting them (block_make.c:
 * making them). Each vCPU has its own, so no lock is taken. A block lies in one
 * guest page, is found by its guest physical address, and lives in an arena
 * that is emptied when full. Dropped blocks stay in the arena until then,
 * because one of them may be running: their instructions become exec_leave.
 */
#include "vmm/soft/block.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "vmm/mem.h"
#include "vmm/soft/access.h"
#include "vmm/soft/block_cache.h"
#include "vmm/soft/branch.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/mmu.h"

/* Bytes around a place that takes time. */
#define HOT_REGION 192

/* Decoded blocks; those that are translated stay, for what tier 0 does. */
#define ARENA_SIZE (24 * MiB)

/* The table of entries is never full: it has more of them than the arena has
   room for the smallest blocks. */
#define BYTES_PER_ENTRY 128

/* -- by their keys -------------------------------------------------------- */

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

void block_index(struct block_cache *cache, const struct block *b)
{
	uint64_t hash = block_hash(b->key, b->va);
	struct entry *x = entry_first(cache, hash);
	size_t at = (size_t)((const uint8_t *)b - cache->arena);

	while (x->at != 0 &&
	       (x->tag != tag_of(hash) || block_at(cache, x)->key != KEY_GONE))
		x = entry_next(cache, x);
	*x = (struct entry){tag_of(hash), (uint32_t)(at / 64 + 1)};
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

/* -- the cache ------------------------------------------------------------ */

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

void block_list(struct cpu *c, struct block *b)
{
	struct block **slot = page_slot(c->blocks, block_gpa(b));

	b->page_next = *slot;
	*slot = b;
}

/* -- forgetting ----------------------------------------------------------- */

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
	for (unsigned n = 0; n < 1 << PAGE_LIST_BITS; n++)
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

/* -- finding -------------------------------------------------------------- */

uint64_t fetch_gpa(struct cpu *c, uint64_t va)
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

bool block_second_holds(struct cpu *c, const struct block *b)
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

/* -- those that take much of the time ------------------------------------- */

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
