/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of decoded instructions. */
#ifndef SOFT_BLOCK_H
#define SOFT_BLOCK_H

#include "vmm/soft/cpu.h"
#include "vmm/soft/insn.h"

/*
 * A run of instructions from one page, entered at its first. insn[0] is the
 * block's head, a pseudo-instruction that looks for kicks and counts; the
 * last insn ends the block.
 */
#define BLOCK_MAX 64 /* instructions, without head and tail */

/* cpu.mode_key: in the bits of a block's key above its gpa. */
#define MODE_KEY_SHIFT   56
/* The size of code, twice, and whether it is for CPL 1 to 3; 64-bit at CPL 0.
 */
#define MODE_KEY_CODE    (31ull << MODE_KEY_SHIFT)
#define MODE_KEY_KERNEL  (16ull << MODE_KEY_SHIFT)
/* An offset in CS, DS, ES and SS is a linear address: 64-bit code, or 32-bit
   code whose segments are all of 4 GiB. Only that is translated. */
#define MODE_KEY_FLAT    (1ull << 62)
/* The table's program gets to its memory by windows (window.h). */
#define MODE_KEY_WINDOWS (1ull << 63)

struct block {
	uint64_t key; /* gpa | cpu.mode_key */
	uint64_t va;  /* block_va(): it is for its page there */
	struct block *page_next;
	const struct insn *link[2]; /* successor's head: taken, fall through */
	uint16_t count;             /* guest instructions */
	uint16_t bytes;
	uint32_t hops; /* jumps of other pages to it (hop.h) */
	uint16_t heat; /* runs in tier 0, up to jit.hot */
	bool is_hot;   /* takes much of the time */
	/* Translated: the entry by an address, and that from its page. */
	const void *code, *near;
	uint32_t second;    /* of an instruction in two pages: the number of
			       the other one plus 1; else 0 */
	uint64_t by_tlb;    /* bit n: what insn[1 + n] accesses is often in no
			       window */
	struct insn insn[]; /* count + 2 */
};

/* Where the other page of an instruction in two is. */
static inline uint64_t block_second(const struct block *b)
{
	return (b->second - 1ull) << 12;
}

struct jump_entry {
	uint64_t rip;
	uint64_t tag; /* cpu.jump_tag when it was made */
	const struct insn *head;
	uint64_t rip_base; /* REG_RIPBASE of the block there */
};
#define JUMP_BITS 12
#define JUMP_SIZE (1u << JUMP_BITS)

/*
 * Blocks of a program with windows, and of a 64-bit kernel, are for one linear
 * address, so that where they are is a constant: its page's, plus 1. Others are
 * for all: 0.
 */
static inline uint64_t block_va(const struct cpu *c, uint64_t va)
{
	bool is_fixed = c->mode_key & MODE_KEY_WINDOWS ||
			(c->mode_key & MODE_KEY_CODE) == MODE_KEY_KERNEL;

	return is_fixed ? (va & ~0xfffull) + 1 : 0;
}

/* REG_RIPBASE in a block that is for one address; else it is as said. */
static inline uint64_t block_base(const struct block *b, uint64_t otherwise)
{
	return b->va != 0 ? b->va - 1 : otherwise;
}

/* Its upper bits are the good ones. */
static inline uint64_t block_hash(uint64_t key, uint64_t va)
{
	key += va << 8;
	return (key ^ key >> 12 ^ key >> 56) * 0x9e3779b97f4a7c15ull;
}

/* -- block.c -------------------------------------------------------------- */

int blocks_create(struct cpu *c);
void blocks_destroy(struct cpu *c);
/* All blocks are void. Only from the main loop. */
void blocks_flush(struct cpu *c);
/* Those of a guest page; one that runs ends after its instruction. */
void blocks_drop_page(struct cpu *c, uint64_t gpa);
void blocks_drop_all(struct cpu *c);
/*
 * The head of the block at c->rip, with REG_RIPBASE set; NULL when its first
 * instruction must run alone (page crossing in 32-bit code, limit). May raise.
 */
const struct insn *block_find(struct cpu *c);
/* The block with that key for that block_va(), or NULL. */
const struct block *block_lookup(const struct cpu *c, uint64_t key,
				 uint64_t va);
/* Those around gpa take much of the time. */
void blocks_found_hot(struct cpu *c, uint64_t gpa);
/* What i, of b, is in memory now: its bytes and no more. */
void block_bytes(const struct cpu *c, const struct block *b,
		 const struct insn *i, uint8_t bytes[15]);

/* -- block_run.c ---------------------------------------------------------- */

/* Does it wait for its translation, or another one? */
bool block_is_warm(const struct block *b);
/* From now on it is entered by its translation. */
void block_is_translated(struct block *b);
/* That of instruction i, which is in the arena. */
const struct block *block_of(const struct insn *i);
/* Was the block of instruction i dropped? */
bool block_is_dead(const struct insn *i);
/* Puts rip on i, and takes back what the block's head counted from there. */
void block_unwind(struct cpu *c, const struct insn *i);
/* jump[] is void: address space or mode changed, or code went away. */
void jump_flush(struct cpu *c);
void live_tag_update(struct cpu *c); /* CPL or mode_key changed */

/* -- block_alone.c -------------------------------------------------------- */

/* The one instruction at c->rip, decoded into c's scratch block. */
const struct insn *block_alone(struct cpu *c);
/* i in the scratch block, whose end is exec_single_end(). */
struct insn *block_single(struct cpu *c, const struct insn *i);
/* Is the scratch block being run? */
bool block_is_scratch(const struct cpu *c);

#endif
