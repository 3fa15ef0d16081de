/* SPDX-License-Identifier: BSD-2-Clause */
/* The cache of blocks, as the files see it that make, run and forget them. */
#ifndef SOFT_BLOCK_CACHE_H
#define SOFT_BLOCK_CACHE_H

#include "vmm/soft/block.h"
#include "vmm/soft/cpu.h"

/*
 * Where a block is: more of its key's hash, and its place in the arena, of 64
 * bytes each, from 1. One that is gone keeps its entry, until the arena is
 * emptied or there is another with its hash.
 */
struct entry {
	uint32_t tag;
	uint32_t at; /* 0: nothing, here and on */
};

/* As many as fill the arena, or nearly. */
#define NOTED_MAX (64 * 1024)

/* Lists of pages' blocks. */
#define PAGE_LIST_BITS 11

struct block_cache {
	struct entry *entry;
	unsigned entry_bits;
	struct block *page[1 << PAGE_LIST_BITS];
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

/* block.key of one that was dropped. */
#define KEY_GONE (~0ull)

static inline uint64_t block_gpa(const struct block *b)
{
	return b->key & MASK(55, 0);
}

static inline size_t block_size(unsigned count)
{
	size_t insns = (count + 2) * sizeof(struct insn);

	return ALIGN_UP(sizeof(struct block) + insns, 64);
}

/* The blocks of gpa's page, and of others. */
static inline struct block **page_slot(struct block_cache *cache, uint64_t gpa)
{
	return &cache->page[(gpa >> 12) & ((1 << PAGE_LIST_BITS) - 1)];
}

static inline uint64_t code_linear(const struct cpu *c)
{
	return c->code_size == 8 ? c->rip
				 : (uint32_t)(c->rip + c->seg[SEG_CS].base);
}

/* block.c: b is found by its key; b is dropped with its page. */
void block_index(struct block_cache *cache, const struct block *b);
void block_list(struct cpu *c, struct block *b);
/* Where the code at linear address va is. May raise, or leave. */
uint64_t fetch_gpa(struct cpu *c, uint64_t va);
/* Is the second page where it was? Else the block is no more. May raise, at
   its instruction. */
bool block_second_holds(struct cpu *c, const struct block *b);

/* block_make.c: the block at gpa, where c->rip is; NULL: its first instruction
   must run alone. May raise. */
struct block *block_make(struct cpu *c, uint64_t gpa, uint64_t rip);
/* No block has a stub, so that none is needed. */
void blocks_drop_stubs(struct cpu *c);

/* block_run.c, pseudo-instructions: a block's head, that of one that may become
   hot; its end, that of one that runs alone; a dropped one's head and rest. */
const struct insn *exec_head(struct cpu *c, const struct insn *i);
const struct insn *exec_warm(struct cpu *c, const struct insn *i);
const struct insn *exec_tail(struct cpu *c, const struct insn *i);
const struct insn *exec_stop(struct cpu *c, const struct insn *i);
const struct insn *exec_gone(struct cpu *c, const struct insn *i);
const struct insn *exec_leave(struct cpu *c, const struct insn *i);

#endif
