/* SPDX-License-Identifier: BSD-2-Clause */
/* The targets of jumps that a table knows. */
#ifndef SOFT_TARGET_H
#define SOFT_TARGET_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct tlb;

/*
 * Where translated code goes on at a virtual address, by its low bits: the
 * address negated, and the entry point in the code cache. What is displaced
 * goes to another place (target.c), and changes places with what displaced it
 * when it is looked up (pieces.c): code within eight bytes has the same, as two
 * calls return to that follow one another.
 */
#define TARGET_BITS       20
#define TARGET_SHIFT      3
#define TARGET_SIZE       (1u << TARGET_BITS)
#define TARGET_OTHER      2u /* the other place, by exclusive or */
#define TARGET_PLACE_BITS ((uint64_t)(TARGET_SIZE - 1) << TARGET_SHIFT)

struct target {
	uint64_t rip; /* negated */
	const void *code;
};

/* Places that were filled, so that emptying costs what filling did. */
#define TARGET_JOURNAL (128u * 1024)

/* An epoch's number has so many bits; then they begin anew. */
#define EPOCH_BITS 27

/* The place in target[] of an address. */
static inline unsigned target_place(uint64_t rip)
{
	return (unsigned)(rip >> TARGET_SHIFT) & (TARGET_SIZE - 1);
}

/* In the current table: rip, whose linear address is va, is at code. False:
   it would be at the first place, which stays empty. */
bool target_note(struct cpu *c, uint64_t rip, uint64_t va, const void *code);
/* Something leads to code in the page of va, as long as the epoch lasts. */
void target_page_note(struct cpu *c, uint64_t va);
/* What is at rip has another entry now, if it had that one. */
void target_renew(struct tlb *t, uint64_t rip, const void *was, const void *is);
/* All go, in t; those of the page of va. */
void targets_clear(struct tlb *t);
void targets_drop_page(struct tlb *t, uint64_t va);

#endif
