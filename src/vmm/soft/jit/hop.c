// SPDX-License-Identifier: BSD-2-Clause
/*
 * Direct jumps to other pages. Where such a jump leads depends on what is
 * mapped there, and so on the table it is taken in (target.c: epochs) and, as
 * code is found by its place in memory, on the address the page has this
 * time, if the code is not for one address. A word beside the code has the sum
 * of both negated: where it is not what it was when the jump was linked, C
 * links it again.
 */
#include "vmm/soft/jit/hop.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/soft/access.h"
#include "vmm/soft/jit/translate.h"

/* Of the code cache, 8 bytes in each so many are words. */
#define HOP_SHARE 256

/* What no page and epoch add up to: code is not entered there. */
#define WORD_NONE 1ull

/* Linked again so often, each time after less than these cycles, a jump has
   different targets in turn, and is looked up like a RET. */
#define STRIKES      8
#define STRIKE_SHIFT 20

int hops_create(struct jit *jit, size_t from)
{
	struct hops *all = &jit->hops;

	all->max = (uint32_t)(jit->code.size / HOP_SHARE);
	all->list = calloc(all->max, sizeof(*all->list));
	if (all->list == NULL)
		return -ENOMEM;
	all->words = ALIGN_UP(from, 4096);
	return 0;
}

void hops_destroy(struct jit *jit)
{
	free(jit->hops.list);
}

size_t hops_end(const struct jit *jit)
{
	return jit->hops.words + jit->hops.max * sizeof(uint64_t);
}

static uint64_t *word_of(const struct jit *jit, uint32_t n)
{
	return (uint64_t *)(void *)(jit->code.write + jit->hops.words) + n;
}

static void word_set(const struct jit *jit, const struct tlb *t, uint32_t n)
{
	uint64_t base = jit->hops.list[n].is_fixed ? 0 : t->rip_base;

	*word_of(jit, n) = 0 - (base + t->epoch);
}

void hops_forget(struct jit *jit)
{
	for (uint32_t n = 0; n < jit->hops.used; n++)
		*word_of(jit, n) = WORD_NONE;
}

void hops_drop_to(struct jit *jit, struct block *b)
{
	for (uint32_t n = b->hops; n != 0;) {
		struct hop *x = &jit->hops.list[n - 1];

		*word_of(jit, n - 1) = WORD_NONE;
		x->to = NULL;
		n = x->next;
	}
	b->hops = 0;
}

/* -- emitting
 * --------------------------------------------------------------- */

static bool hop_new(struct translation_unit *u, int64_t rel, uint32_t *n)
{
	struct hops *all = &u->c->jit->hops;

	if (all->used == all->max || rel != (int32_t)rel)
		return false;
	*n = all->used++;
	all->list[*n] = (struct hop){.is_fixed = is_fixed(u)};
	*word_of(u->c->jit, *n) = WORD_NONE;
	return true;
}

static uint32_t place_in(const struct jit *jit, const uint8_t *p)
{
	return (uint32_t)(p - jit->code.write);
}

/* Jumps where is returned unless word n is the sum of now. T0 becomes
   REG_RIPBASE, unless that is a constant. */
static uint8_t *word_look(struct translation_unit *u, uint32_t n)
{
	struct emit *e = &u->e;

	emit_load_near(e, T1, (uint8_t *)word_of(u->c->jit, n));
	emit_load(e, T0, FRAME(epoch));
	emit_lea(e, T1, mem_index(T1, T0, 0, 0));
	if (!is_fixed(u)) {
		emit_load(e, T0, FRAME(rip_base));
		emit_lea(e, T1, mem_index(T1, T0, 0, 0));
	}
	emit_pext(e, T1, T1, FRAME(hop_bits));
	return go_if_zero(u);
}

static void word_check(struct translation_unit *u, uint32_t n, enum away away,
		       int64_t rel)
{
	uint8_t *begin = u->e.at;
	struct detour *d = detour_add(u, away, word_look(u, n), 0);

	if (d == NULL)
		return;
	d->rel = rel;
	d->hop = n;
	d->again = begin;
}

bool hop_emit(struct translation_unit *u, int64_t rel)
{
	struct jit *jit = u->c->jit;
	struct emit *e = &u->e;
	uint32_t n;

	if (!hop_new(u, rel, &n))
		return false;
	word_check(u, n, AWAY_HOP, rel);
	if (!is_fixed(u))
		lea_emit(u, T0, mem_at(T0, (int32_t)rel));
	jit->hops.list[n].jump = place_in(jit, emit_jmp(e));
	return true;
}

/* Not linked: hop n to rel. */
static void link_emit(struct translation_unit *u, uint32_t n, int64_t rel)
{
	struct jit *jit = u->c->jit;
	uint8_t *away;

	rip_emit(u, T0, rel);
	emit_mov_imm(&u->e, T1, n);
	away = emit_jmp(&u->e);
	emit_to(&u->e, away, jit->piece[PIECE_LINK]);
	jit->hops.list[n].away = place_in(jit, away);
}

void hop_detour(struct translation_unit *u, const struct detour *d)
{
	link_emit(u, d->hop, d->rel);
}

bool hop_aside(struct translation_unit *u, int64_t rel)
{
	struct jit *jit = u->c->jit;
	struct emit *e = &u->e;
	uint8_t *missed;
	uint32_t n;

	if (!hop_new(u, rel, &n))
		return false;
	missed = word_look(u, n);
	if (!is_fixed(u))
		lea_emit(u, T0, mem_at(T0, (int32_t)rel));
	jit->hops.list[n].jump = place_in(jit, emit_jmp(e));
	emit_here(e, missed);
	link_emit(u, n, rel);
	return true;
}

/* -- an instruction in two pages ----------------------------------------------
 * Where its second page is depends on the same as where a jump there leads.
 */

bool second_emit(struct translation_unit *u)
{
	uint32_t n;

	if (!hop_new(u, 4096, &n))
		return false;
	word_check(u, n, AWAY_SECOND, u->b->insn[0].off);
	return true;
}

/* Its head in tier 0 looks again, if it is not there. */
void second_detour(struct translation_unit *u, const struct detour *d)
{
	struct jit *jit = u->c->jit;
	struct emit *e = &u->e;
	uint8_t *yes;

	emit_mov_imm(e, T0, arena_offset(u, u->b));
	emit_mov_imm(e, T1, d->hop);
	emit_to(e, emit_call(e), jit->piece[PIECE_SECOND]);
	yes = emit_jrcxz(e);
	rip_emit(u, T0, d->rel);
	emit_to(e, emit_jmp(e),
		jit->code.write + (jit->leave_rip - jit->code.exec));
	emit_here8(e, yes);
	emit_to(e, emit_jmp(e), d->again);
}

bool second_link(struct cpu *c, struct tlb *t, const struct block *b,
		 uint32_t n)
{
	uint64_t base = block_base(b, t->rip_base), gpa;

	/* To walk the tables may have dropped the block. */
	if (!jit_code_at(c, base + 4096, &gpa) || b->code == NULL ||
	    gpa != block_second(b))
		return false;
	target_page_note(c, base + 4096);
	word_set(c->jit, t, n);
	return true;
}

/* -- linking
 * --------------------------------------------------------------- */

static void list_remove(struct jit *jit, struct block *b, uint32_t n)
{
	uint32_t *from = &b->hops;

	while (*from != n + 1)
		from = &jit->hops.list[*from - 1].next;
	*from = jit->hops.list[n].next;
}

static void jump_set(struct jit *jit, uint32_t place, const uint8_t *to)
{
	uint8_t *at = jit->code.write + place;
	struct emit e = {.at = at, .end = at + 4};

	emit_to(&e, at, to);
	codemem_publish();
}

/* Too many links in a short time: false. */
static bool is_steady(struct hop *x)
{
	uint32_t now = (uint32_t)(__builtin_ia32_rdtsc() >> STRIKE_SHIFT);

	x->strikes = now - x->when < 2 ? x->strikes + 1 : 0;
	x->when = now;
	return x->strikes < STRIKES;
}

static void link_to(struct jit *jit, uint32_t n, struct block *b)
{
	struct hop *x = &jit->hops.list[n];
	const uint8_t *to = x->is_fixed ? b->near : b->code;

	if (x->to == b)
		return;
	if (x->to != NULL)
		list_remove(jit, x->to, n);
	x->to = b;
	x->next = b->hops;
	b->hops = n + 1;
	jump_set(jit, x->jump, jit->code.write + (to - jit->code.exec));
}

const void *hop_link(struct cpu *c, struct tlb *t, uint32_t n)
{
	struct jit *jit = c->jit;
	struct hop *x = &jit->hops.list[n];
	struct block *b = jit_find(c, t->miss_va);

	if (b == NULL)
		return NULL;
	if (!is_steady(x)) {
		jump_set(jit, x->away, jit->piece[PIECE_LOOK]);
		return b->code;
	}
	link_to(jit, n, b);
	target_page_note(c, t->miss_va);
	word_set(jit, t, n);
	c->vcpu->stats[VM_STAT_JIT_HOPS]++;
	return b->code;
}
