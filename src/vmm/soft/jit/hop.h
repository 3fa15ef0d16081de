/* SPDX-License-Identifier: BSD-2-Clause */
/* Direct jumps to other pages. */
#ifndef SOFT_JIT_HOP_H
#define SOFT_JIT_HOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct block;
struct cpu;
struct detour;
struct jit;
struct tlb;
struct translation_unit;

struct hop {
	struct block *to; /* linked to, or NULL */
	uint32_t next;    /* of those to the same block: number plus one */
	uint32_t jump;    /* the distance of its jump, in the code, */
	uint32_t away;    /* and of that to PIECE_LINK */
	uint32_t when;    /* it was linked last */
	uint32_t strikes;
	bool is_fixed; /* from code for one address (block_va) */
};

struct hops {
	struct hop *list;
	uint32_t used, max;
	size_t words; /* of each, in the code cache */
};

/* Their words are in the code cache, somewhere after from. */
int hops_create(struct jit *jit, size_t from);
void hops_destroy(struct jit *jit);
size_t hops_end(const struct jit *jit);
/* All have to be linked again; those to b. */
void hops_forget(struct jit *jit);
void hops_drop_to(struct jit *jit, struct block *b);

/* A jump to REG_RIPBASE + rel; false, and nothing is emitted: there can be
   no more. */
bool hop_emit(struct translation_unit *u, int64_t rel);
/* What is beside it. */
void hop_detour(struct translation_unit *u, const struct detour *d);
/* The same jump where there is nothing beside it: in a detour. */
bool hop_aside(struct translation_unit *u, int64_t rel);
#define HOP_ASIDE_BYTES 96

/* Links number n, under way to t->miss_va: where the code is, or NULL. */
const void *hop_link(struct cpu *c, struct tlb *t, uint32_t n);

/* Before an instruction in two pages: away if the second is not where it was,
   as far as one knows. */
bool second_emit(struct translation_unit *u);
void second_detour(struct translation_unit *u, const struct detour *d);
/* b's second page is there: word n says so. */
bool second_link(struct cpu *c, struct tlb *t, const struct block *b,
		 uint32_t n);

#endif
