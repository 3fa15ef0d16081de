/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A translation under way: what translate.c, which walks over a block, shares
 * with the files that emit its code.
 */
#ifndef SOFT_JIT_TRANSLATE_H
#define SOFT_JIT_TRANSLATE_H

#include "vmm/soft/block.h"
#include "vmm/soft/jit/emit.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/simd.h"

/* The free host registers, and RSP's memory. */
#define T0           HOST_R15
#define T1           HOST_RCX
#define FRAME(field) mem_at(HOST_RSP, offsetof(struct tlb, field))

/* Code beside the usual way, after the block's end. */
enum away {
	AWAY_INTERP, /* the instruction by tier 0, and back */
	AWAY_EXIT,   /* on with the instruction in tier 0 */
	AWAY_TARGET, /* to the target, else on in tier 0 */
	AWAY_CALLED, /* the same when the branch cannot be run again */
	AWAY_SECOND, /* of an instruction in two pages: the second, anew */
	AWAY_LOOKUP, /* of target T0: again, when there is one; else as EXIT */
	AWAY_HOP,    /* a jump to another page that is not linked */
	AWAY_PROBE,  /* to the TLB, and back; else probe.away */
	AWAY_GUESS,  /* to another piece of the windows, and back */
	AWAY_FAULT,  /* an access by a window: no code, but for fault.h */
};

/*
 * A look for where bytes at an address are for the host; align: their size
 * less one where it must be aligned; away: where that is not in RAM.
 */
struct probe {
	uint8_t bytes, align;
	bool write;
	uint8_t away; /* AWAY_INTERP or AWAY_EXIT */
};

/* x87 instructions (their places in block.insn; 0: none) whose place or
   operand is not yet where FNSTENV finds it. */
struct x87_last {
	uint16_t place, operand;
};

struct detour {
	uint8_t *from; /* the distance of the jump to it */
	uint8_t *back; /* after the instruction */
	uint16_t k;    /* the instruction */
	uint8_t kind;
	int64_t rel; /* the target, from REG_RIPBASE */
	/* Of AWAY_LOOKUP and of probes (bytes not 0), where they begin. */
	uint8_t *again;
	struct probe probe;
	struct mem at;
	struct x87_last x87;
	/* Of AWAY_PROBE and AWAY_GUESS. */
	uint16_t site;
	uint8_t *resume;
	uint32_t hop; /* of AWAY_HOP */
	/* Of AWAY_FAULT: the code that may. */
	uint8_t *begin, *end;
	uint8_t held; /* what T0 is for at back */
};
#define DETOUR_MAX (4 * BLOCK_MAX)

struct translation_unit {
	struct cpu *c;
	struct block *b;
	struct emit e;
	bool is_32;          /* 32-bit code, else 64-bit code */
	uint8_t *far, *near; /* its entries */
	uint8_t *loop;       /* where it jumps to when that is itself */
	/* The instruction under way. */
	unsigned k;
	const struct insn *i;
	struct dec d;
	const struct opcode *o;     /* of a general one */
	const struct simd_row *row; /* of a vector one */
	struct x87_last x87;
	bool probed; /* a kick is seen before the block's end */
	bool ended;
	uint8_t held;         /* T0 leads from this register to its window
				 (by_window.c),	 or HOST_NONE */
	struct block *onward; /* what comes next in the code, too */
	unsigned room_onward; /* so many more */
	struct detour detour[DETOUR_MAX];
	unsigned detours, first_detour; /* the instruction's first */
};

/* x87.c: tells of the last x87 instruction; of what must be told before the
   one under way, which may end the block; in a detour, where T0 stays. */
void x87_settle(struct translation_unit *u);
void x87_before(struct translation_unit *u, bool ends);
void x87_detour(struct translation_unit *u, const struct detour *d);

/* memory.c: a guest register's host register, or HOST_NONE; its memory. */
unsigned host_of(unsigned guest);
unsigned guest_of(unsigned host); /* of one that has one */
struct mem slot_of(unsigned guest);
/* The register of a one-register form, in T1 if it lives in memory: then
   loaded, if asked for, and stored when the instruction is done. */
unsigned low_register(struct translation_unit *u, unsigned guest, bool load);
void low_register_done(struct translation_unit *u, unsigned guest);
/* May the operand's address be emitted? false: tier 0 must. */
bool address_possible(const struct translation_unit *u);
/* The block is for one linear address: what follows from it is constant. */
static inline bool is_fixed(const struct translation_unit *u)
{
	return u->b->va != 0;
}
/* REG_RIPBASE + rel, to a register. */
void rip_emit(struct translation_unit *u, unsigned to, int64_t rel);
/* Is the operand's offset a constant? Then *offset is it. */
bool offset_constant(const struct translation_unit *u, uint64_t *offset);
/* LEA of the code's address size. */
void lea_emit(struct translation_unit *u, unsigned to, struct mem mem);
/* The operand's base: its register, or T0, or HOST_NONE; its linear address,
   to T0. */
unsigned base_in_register(struct translation_unit *u);
void address_emit(struct translation_unit *u, const struct probe *p);
/* The operand's offset in its segment, to a register (LEA). */
void offset_emit(struct translation_unit *u, unsigned to);
/*
 * The bytes at linear address at.base + at.disp: where they are for the host.
 * The result names T0, or T1 if at does T0.
 */
struct mem probe_emit(struct translation_unit *u, struct mem at,
		      struct probe p);
/* Goes on if T1, with its upper bit clear, is 0 and no kick is there; else
   jumps where is returned, or away. */
uint8_t *go_if_zero(struct translation_unit *u);
struct detour *go_or(struct translation_unit *u, enum away away);
/* Goes on if the short jump at place is taken; else away. */
struct detour *taken_or(struct translation_unit *u, uint8_t *place,
			enum away away);
void probe_detour(struct translation_unit *u, const struct detour *d);
void refill_emit(struct translation_unit *u, const struct detour *d);
/* Back to d->resume; left counts down how often that is done without a look. */
void resume_counted(struct translation_unit *u, const struct detour *d,
		    struct mem left);
/* The instruction's memory operand; one at a guest register. */
struct mem operand_emit(struct translation_unit *u, struct probe p);
struct mem stack_emit(struct translation_unit *u, struct mem at,
		      struct probe p);
struct mem mem_in_t0(struct translation_unit *u, struct mem mem);

static inline bool mem_names(struct mem mem, unsigned host)
{
	return mem.base == host || mem.index == host;
}

/*
 * by_window.c: the instruction's memory operand at linear address at; one
 * whose base and index may be looked at apart; a word of the stack.
 */
bool has_window(const struct translation_unit *u);
struct mem window_emit(struct translation_unit *u, struct mem at,
		       struct probe p);
bool can_be_constant(const struct translation_unit *u);
struct mem constant_emit(struct translation_unit *u, struct probe p);
bool can_be_narrow(const struct translation_unit *u);
struct mem narrow_emit(struct translation_unit *u, struct probe p);
bool can_be_indexed(const struct translation_unit *u);
struct mem indexed_emit(struct translation_unit *u, struct probe p);
struct mem window_stack_emit(struct translation_unit *u, struct mem at,
			     struct probe p);
/* Nothing more of the instruction may fault; and it is done. */
void accesses_end(struct translation_unit *u);
/* What leads from a register to its window. */
void window_load(struct translation_unit *u, unsigned to, unsigned base);
void held_settle(struct translation_unit *u);
/* The detour of AWAY_GUESS: T0 becomes the address. */
void guess_detour(struct translation_unit *u, const struct detour *d);

static inline bool is_in_page(int64_t rel)
{
	return rel >= 0 && rel < 4096;
}

static inline uint8_t *to_write(const struct jit *jit, const void *exec)
{
	return jit->code.write + ((const uint8_t *)exec - jit->code.exec);
}

/* ways.c: where a block or an instruction is in the arena */
uint64_t arena_offset(const struct translation_unit *u, const void *p);
/* NULL when there is no room, and the translation fails. */
struct detour *detour_add(struct translation_unit *u, enum away kind,
			  uint8_t *from, int64_t rel);
/* Its code; what that takes at most. */
void detour_emit(struct translation_unit *u, const struct detour *d);
size_t detour_bytes(const struct detour *d);
/* Instruction k, and what follows, by tier 0. */
void leave_emit(struct translation_unit *u, unsigned k);
void call_emit(struct translation_unit *u, enum jit_call call, uint64_t arg);
/* To REG_RIPBASE + rel, by a look whether code is known there. */
void target_emit(struct translation_unit *u, int64_t rel);
/* To linear address T0; missed(away) when no block is known there. */
void lookup_check(struct translation_unit *u, uint8_t **missed);
void lookup_jump(struct translation_unit *u);
/* T1's target will be looked up soon. */
void lookup_prefetch(struct translation_unit *u);
/* Before a jump back: leaves before the instruction when kicked. */
void kick_check(struct translation_unit *u);

/* link.c: the jump whose distance is at place goes to REG_RIPBASE + rel. */
void chain(struct translation_unit *u, uint8_t *place, int64_t rel,
	   enum away away);
/* A jump to there, whatever happens. */
void chain_always(struct translation_unit *u, int64_t rel, enum away away);
/* At the block's end to REG_RIPBASE + rel, without a jump where what is there
   can be translated right behind it. */
void chain_onward(struct translation_unit *u, int64_t rel);
bool can_be_onward(const struct translation_unit *u, int64_t rel);
/* The jump whose distance is at place waits until the block with that key is
   translated, and is a detour for now. */
void link_add(struct translation_unit *u, uint64_t key, uint8_t *place);
/* The jumps that wait for u's block go to it. */
void links_resolve(struct translation_unit *u);
/* Jumps to rel that stand in the 16 bytes from place on wait no more. */
void link_forget(struct translation_unit *u, uint64_t rel,
		 const uint8_t *place);
/* Nor do those that were added since there were so many. */
void links_take_back(struct jit *jit, uint32_t links);

#endif
