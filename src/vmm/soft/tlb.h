/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The software TLB: tables of translated addresses. Tier 0 looks at them for
 * each access (access.h); translated code runs with its stack pointer on one.
 */
#ifndef SOFT_TLB_H
#define SOFT_TLB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vmm/soft/target.h"

struct cpu;
struct translation;
struct window;

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC };

/*
 * By virtual page, four arrays: three tags and what leads to host memory, hva
 * = va + addend. A tag is the page's address negated when that access may go
 * straight there, and otherwise (unmapped, not allowed, MMIO, write to a page
 * that holds translations, clean page) one of a page that has another place.
 * Negated, because translated code has no compare that leaves flags alone.
 */
#define TLB_BITS 14
#define TLB_SIZE (1u << TLB_BITS)

/* Probes in translated code; more of them share. */
#define SITES         512
#define SITE_PAGES    256
#define SITE_PATIENCE 256

/*
 * Pieces of 1 TiB of the lower half of the addresses (window.h). The upper half
 * of the places leads to nothing. Addresses that are not canonical have places
 * beyond, up to WINDOW_BEYOND bytes, where nothing is mapped.
 */
#define WINDOW_SHIFT  40
#define WINDOW_PLACES 256
#define WINDOW_BEYOND ((8ull << (64 - WINDOW_SHIFT)) - 8 * WINDOW_PLACES)
#define GUESSES       1024

/* Places that were filled, so that emptying costs what filling did. */
#define TLB_JOURNAL     4096
#define TLB_HUGE        8
/* gcc has code in five thousand pages. */
#define PAGE_SET_BITS   16
#define REGION_SET_BITS 12

/* tlb.go, while no kick waits. */
#define TLB_GO (1ull << 63)

/* tlb.slot[] */
#define SLOT_JOURNALED 1
#define SLOT_GLOBAL    2

/*
 * A table, and at its beginning what translated code keeps in memory: RSP
 * points here while it runs, so the first 128 bytes are the cheap ones, and a
 * table that begins in them.
 *
 * Tables: one per recent address space for CPL 3; one for CPL 0-2; one for
 * CPL 0-2 while SMAP is overridden (RFLAGS.AC, or SMAP off); tlb.c says when
 * each is current.
 */
struct tlb {
	uint64_t r9, r10, r11; /* the guest's, while translated code runs */
	uint64_t rip_base;     /* REG_RIPBASE, likewise */
	/* The sign bit, and TARGET_PLACE_BITS, or 0 while a kick waits: every
	   check then fails, every target is looked for at the first place. */
	_Atomic uint64_t go, target_bits;
	uint64_t epoch; /* what its code targets hold for (target.c) */
	/* Masks for PEXT: a page's place in the TLB, and what must be 0 of an
	   offset in it; what of a target must be right but its place; of a
	   hop's word. */
	uint64_t tlb_bits, page_bits;
	uint64_t target_rest, hop_bits;
	uint64_t vec_blocked; /* of struct cpu */
	uint64_t fs_base, gs_base;
	struct cpu *cpu;
	uint64_t host_rsp;
	/* What must be 0 of an aligned offset in a page. */
	uint64_t align_2, align_4, align_8, align_16, align_32, align_64;
	uint64_t sign_64, sign_32; /* a sign bit */
	uint64_t high_32;          /* all bits above the lower 32 */
	/* 32-bit code: what is left of an address with fs_base, gs_base. */
	uint64_t fs_bits, gs_bits;
	uint64_t no_if, no_df, no_ac; /* all bits but that of RFLAGS */
	uint64_t arith_bits;          /* RFLAGS_ARITH */
	uint64_t low_5, low_6;        /* bits in a word */
	uint64_t other_bit;           /* TARGET_OTHER, of an address */
	uint64_t place_bits;          /* TARGET_PLACE_BITS, always */
	uint64_t tsc_bits;            /* of what is not below TSC_WINDOW */
	uint64_t scratch;             /* of one instruction */
	uint64_t x87_masks, x87_t0;   /* x87.c */
	uint64_t df_bit;              /* of RFLAGS */
	uint64_t low_32;
	uint64_t over_page; /* a count beyond what a page can hold */
	/* Of a piece (pieces.h): an address, what is wanted of it, the
	   answer. */
	uint64_t miss_va, miss_what, miss_answer;
	const void *miss_code;
	uint64_t wandering; /* a block with a probe that misses much */
	/* With windows: the page of the last #PF, with bit 0 set, or 0. */
	uint64_t faulted;
	/* What tlb.c knows of the table, where a look at it is cheap. */
	uint64_t space;         /* CR3 base | PCID it was filled under */
	uint8_t id, targets_of; /* code size and side of CPL 0 (tlb.c) */
	bool is_user;
	bool targets_global; /* all of them are global pages' */
	bool has_global;     /* a slot that is in no journal */
	uint32_t tlb_journaled, target_journaled; /* > size: lost */
	unsigned huge_count;                      /* > TLB_HUGE: lost */
	/* The page that each probe in translated code found last: a tag, or
	   site_none, and then the addend that leads nowhere; and which pages
	   are in there, by site_page_bits. */
	uint64_t site_none, site_nowhere, site_page_bits;
	uint64_t site_tag[SITES], site_addend[SITES];
	uint64_t site_left[SITES]; /* misses until somebody looks at it */
	uint8_t site_page[SITE_PAGES];

	uint64_t read[TLB_SIZE], write[TLB_SIZE], exec[TLB_SIZE];
	uint64_t addend[TLB_SIZE];
	struct target target[TARGET_SIZE];

	uint8_t slot[TLB_SIZE]; /* tlb.c: journaled, global */
	uint16_t tlb_journal[TLB_JOURNAL];
	uint32_t target_journal[TARGET_JOURNAL];
	/* Hashed sets of pieces of memory. 4 KiB: with code that is jumped to;
	   4 MiB: the same; with pages over 4 KiB. */
	uint64_t target_page[1 << (PAGE_SET_BITS - 6)];
	uint64_t target_region[1 << (REGION_SET_BITS - 6)];
	uint64_t large_region[1 << (REGION_SET_BITS - 6)];
	uint64_t huge[TLB_HUGE]; /* 1 GiB pages */

	/* What leads to where an access found its window last, and the address
	   of those 4 GiB, negated. */
	uint64_t guess_tag[GUESSES], guess_addend[GUESSES];
	uint64_t guess_left[GUESSES]; /* as site_left */
	struct window *pages; /* what is in the windows; NULL: none yet */
	/* Translated code goes by them; or kicks, since the table was emptied,
	   that found the program running. */
	bool has_windows;
	unsigned kicks;
	uint64_t pad[2];
	/* What leads from an address to its window: at the end of a page. */
	uint64_t window[WINDOW_PLACES];
};

/* The lower 6 bits of its address count how far SHRX shifts. */
_Static_assert((0 - sizeof(struct tlb)) % 64 == WINDOW_SHIFT, "pad");
_Static_assert((WINDOW_SHIFT + offsetof(struct tlb, target)) % 16 == 0,
	       "none in two of the host's cache lines");
_Static_assert(offsetof(struct tlb, gs_base) < 128, "a byte's distance");

#define TLB_USER_TABLES 8
#define TLB_TABLES      (3 + TLB_USER_TABLES)

/* Which TLB entries make a guest page writable: tlb.c. */
struct writers {
	uint32_t by[2];
};

int tlbs_create(struct cpu *c);
void tlbs_destroy(struct cpu *c);
/* The table of the current mode, SMAP override and space (not align_check). */
struct tlb *tlb_current(struct cpu *c);
/* Chooses c->tlb after CPL, CR0, CR3, CR4, EFER or AC changed. */
void mmu_mode_changed(struct cpu *c);
/* CR3 was loaded; keep: bit 63, its PCID's entries stay. */
void mmu_cr3_written(struct cpu *c, uint64_t value, bool keep);
void mmu_flush_all(struct cpu *c);
void mmu_flush_page(struct cpu *c, uint64_t va);
/* Those of one PCID (INVPCID), and of a page in it. */
void mmu_flush_pcid(struct cpu *c, unsigned pcid);
/* This vCPU's writable entries for a guest page become read-only. */
void tlb_protect_page(struct cpu *c, uint64_t gpa);
void tlb_protect_all(struct cpu *c);

/* Enters a translation to RAM. */
void tlb_fill(struct cpu *c, struct tlb *t, uint64_t va, uint64_t gpa,
	      const struct translation *tr);
/* va is in a page of that size, in t: with it goes all of that. */
void tlb_note_size(struct tlb *t, uint64_t va, unsigned page_bits);

#endif
