// SPDX-License-Identifier: BSD-2-Clause
/*
 * Operands that translated code reaches by a window (window.h): user code of
 * programs that run long. What leads there from an address is found in one of
 * two ways, unless it is held already:
 *
 *	looked up by bits 63 to 40 of the base register, in two instructions,
 *	which the access waits for: in code that is not hot, where there are
 *	many operands, and where the base is known early, as the stack's is, and
 *	what a loop steps by a constant. A constant address has a constant
 *	place;
 *
 *	guessed to be the same as last time, and checked by a branch, in six:
 *	the access waits for nothing.
 */
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/jit/translate.h"
#include "x86/features.h"

#define OF_TLB(field) ((int32_t)offsetof(struct tlb, field))
#define RSP           4

bool has_window(const struct translation_unit *u)
{
	const struct jit *jit = u->c->jit;

	/* AMD's SHA instructions take addresses that are not aligned. */
	return u->b->key & MODE_KEY_WINDOWS && !(u->b->by_tlb >> u->k & 1) &&
	       jit->faults.used + u->detours < jit->faults.max &&
	       (u->row == NULL || u->row->feature != X86_FEATURE_SHA);
}

/* -- what may fault
 * ------------------------------------------------------------
 */

void accesses_end(struct translation_unit *u)
{
	for (unsigned n = u->first_detour; n < u->detours; n++)
		if (u->detour[n].begin != NULL && u->detour[n].end == NULL)
			u->detour[n].end = u->e.at;
}

/* What comes now is the access; the look at it began at begin. */
static void access_begin(struct translation_unit *u, struct mem at,
			 const struct probe *p, uint8_t *begin)
{
	struct detour *d = detour_add(u, AWAY_FAULT, NULL, 0);

	if (d == NULL)
		return;
	d->probe = *p;
	d->at = at;
	d->again = begin;
	d->begin = u->e.at;
}

/* -- held ---------------------------------------------------------------------
 * T0 leads from a register to its window, and stays while nobody needs it: so
 * one who comes with the same register has nothing to look up. A register that
 * is stepped by a constant leads there, too: no block has so many of them that
 * it could come to the end of what is around a piece.
 */

#define STEP_MAX (1 << 20)

static void hold(struct translation_unit *u, unsigned base)
{
	u->held = (uint8_t)base;
	u->e.wrote = 0;
}

static bool is_held(const struct translation_unit *u, unsigned base)
{
	return u->held == base && (u->e.wrote & (1u << base | 1u << T0)) == 0;
}

static bool is_small(int64_t step)
{
	return step > -STEP_MAX && step < STEP_MAX;
}

/* All that the instruction does to the register is to add a constant. */
static bool is_step(const struct translation_unit *u, unsigned guest)
{
	const struct insn *i = u->i;
	const struct handler *h;

	if (i->op == OP_NONE_ROW || i->lsize != 3)
		return false;
	h = u->o->handler;
	if (h == &h_push || h == &h_pop)
		return guest == RSP && (h == &h_push || i->a != RSP * 8);
	if (i->flags & INSN_MEM && h != &h_lea)
		return false;
	if (i->a != guest * 8)
		return false;
	if (h == &h_lea)
		return i->base == guest * 8 && i->index == REG_ZERO &&
		       i->asize == 3 && is_small(i->disp);
	return (h == &h_add || h == &h_sub) && is_small(i->imm) &&
	       (u->o->operands == OPERANDS_E_I ||
		u->o->operands == OPERANDS_A_I ||
		u->o->operands == OPERANDS_E_I8);
}

/* Who comes back from elsewhere has T0, too: interp_emit(), jit_fault(). */
void held_settle(struct translation_unit *u)
{
	unsigned base = u->held;

	if (base == HOST_NONE)
		return;
	if (!(u->e.wrote & 1u << T0) && is_step(u, guest_of(base)))
		u->e.wrote &= (uint16_t) ~(1u << base);
	if (!is_held(u, base))
		u->held = HOST_NONE;
	for (unsigned n = u->first_detour; n < u->detours; n++)
		u->detour[n].held = u->held;
}

/* -- looked up
 * ------------------------------------------------------------------
 */

/* For an address that is not canonical it faults. */
static void look_up_place(struct translation_unit *u, unsigned to,
			  unsigned base)
{
	emit_shrx(&u->e, to, base, HOST_RSP);
}

static void look_up_window(struct translation_unit *u, unsigned to)
{
	emit_load(&u->e, to, mem_index(HOST_RSP, to, 3, OF_TLB(window)));
}

/* Where nothing may fault. Of an address that is not canonical more than that
   byte is in the sum, which leads nowhere (window.c). */
void window_load(struct translation_unit *u, unsigned to, unsigned base)
{
	emit_rorx(&u->e, to, base, WINDOW_SHIFT);
	emit_movzx8(&u->e, to, to);
	look_up_window(u, to);
}

static struct mem look_up(struct translation_unit *u, struct mem at,
			  const struct probe *p)
{
	unsigned place = at.base == T0 ? T1 : T0;
	uint8_t *begin = u->e.at;

	accesses_end(u);
	if (is_held(u, at.base)) {
		access_begin(u, at, p, begin);
		return mem_index(at.base, place, 0, at.disp);
	}
	look_up_place(u, place, at.base);
	access_begin(u, at, p, begin);
	look_up_window(u, place);
	if (place == T0)
		hold(u, at.base);
	return mem_index(at.base, place, 0, at.disp);
}

struct mem window_stack_emit(struct translation_unit *u, struct mem at,
			     struct probe p)
{
	return look_up(u, at, &p);
}

/* Does it set guest register reg otherwise than by a constant step? As far as
   one sees: what is overlooked only is slower. */
static bool sets(const struct insn *i, unsigned reg)
{
	const struct opcode *o;

	if (i->op == OP_NONE_ROW || i->a != reg * 8)
		return false;
	o = &opcode_table[i->op];
	if (o->handler == &h_cmp || o->handler == &h_test || o->attr & OP_END)
		return false;
	return !((o->handler == &h_add || o->handler == &h_sub) &&
		 (o->operands == OPERANDS_E_I || o->operands == OPERANDS_A_I ||
		  o->operands == OPERANDS_E_I8)) &&
	       o->handler != &h_inc && o->handler != &h_dec;
}

/* The block jumps to itself, and steps reg by a constant, or not at all. */
static bool is_loop_over(const struct translation_unit *u, unsigned reg)
{
	const struct block *b = u->b;
	const struct insn *last = &b->insn[b->count];

	if (last->op == OP_NONE_ROW || last->imm != b->insn[0].off ||
	    !(opcode_table[last->op].attr & OP_END))
		return false;
	for (unsigned k = 1; k <= b->count; k++)
		if (sets(&b->insn[k], reg))
			return false;
	return true;
}

static bool is_early(const struct translation_unit *u)
{
	const struct insn *i = u->i;

	if (i->seg >= SEG_FS || i->asize != 3 || i->base == REG_ZERO)
		return false;
	return i->base == REG_RSP || is_loop_over(u, i->base / 8);
}

bool can_be_constant(const struct translation_unit *u)
{
	uint64_t va;

	return u->i->seg < SEG_FS && offset_constant(u, &va) && va >> 47 == 0;
}

/* Its window's place is a constant, too. */
struct mem constant_emit(struct translation_unit *u, struct probe p)
{
	uint8_t *begin = u->e.at;
	struct mem window;
	uint64_t va;

	accesses_end(u);
	offset_constant(u, &va);
	window = mem_at(HOST_RSP,
			OF_TLB(window[0]) + (int32_t)(va >> WINDOW_SHIFT) * 8);
	emit_load(&u->e, T1, window);
	if (va <= INT32_MAX) {
		access_begin(u, mem_at(T0, 0), &p, begin);
		return mem_at(T1, (int32_t)va);
	}
	emit_mov_imm(&u->e, T0, va);
	access_begin(u, mem_at(T0, 0), &p, begin);
	return mem_index(T0, T1, 0, 0);
}

/* The index is known to be below 2^32: the base alone says which window. */
bool can_be_narrow(const struct translation_unit *u)
{
	const struct insn *i = u->i;

	if (i->index == REG_ZERO || i->seg >= SEG_FS || i->asize != 3 ||
	    host_of(i->index / 8) == HOST_NONE ||
	    !(u->e.narrow >> host_of(i->index / 8) & 1))
		return false;
	return i->base == REG_ZERO ||
	       (i->base != REG_RIPBASE && host_of(i->base / 8) != HOST_NONE);
}

/* A constant and an index are in the first window, or beside it. */
static struct mem first_window(struct translation_unit *u, unsigned index,
			       const struct probe *p)
{
	uint8_t *begin = u->e.at;

	accesses_end(u);
	emit_load(&u->e, T1, mem_at(HOST_RSP, OF_TLB(window[0])));
	access_begin(u, mem_at(T0, 0), p, begin);
	return mem_index(T1, index, u->i->scale, (int32_t)u->i->disp);
}

struct mem narrow_emit(struct translation_unit *u, struct probe p)
{
	const struct insn *i = u->i;
	unsigned index = host_of(i->index / 8);
	struct mem at;

	if (i->base == REG_ZERO)
		return first_window(u, index, &p);
	at = mem_index(host_of(i->base / 8), index, i->scale, (int32_t)i->disp);
	look_up(u, at, &p);
	emit_lea(&u->e, T1, at);
	return mem_index(T1, T0, 0, 0);
}

/* With an index that register is only looked at: that it is small. */
bool can_be_indexed(const struct translation_unit *u)
{
	return u->b->is_hot && u->i->index != REG_ZERO && is_early(u) &&
	       host_of(u->i->index / 8) != HOST_NONE;
}

struct mem indexed_emit(struct translation_unit *u, struct probe p)
{
	const struct insn *i = u->i;
	unsigned index = host_of(i->index / 8), base;
	uint8_t *begin = u->e.at;

	accesses_end(u);
	emit_rorx(&u->e, T1, index, 32);
	taken_or(u, emit_jecxz(&u->e), p.away);
	base = base_in_register(u);
	look_up_place(u, T1, base);
	access_begin(u, mem_at(T0, 0), &p, begin);
	look_up_window(u, T1);
	emit_lea(&u->e, T0, mem_index(base, index, i->scale, (int32_t)i->disp));
	return mem_index(T0, T1, 0, 0);
}

/* -- guessed
 * ----------------------------------------------------------------------
 */

static struct mem of_guess(int32_t field, unsigned n)
{
	return mem_at(HOST_RSP, field + (int32_t)n * 8);
}

static struct mem guess(struct translation_unit *u, struct mem at,
			const struct probe *p)
{
	unsigned addend = at.base == T0 ? T1 : T0, n;
	struct jit *jit = u->c->jit;
	uint8_t *begin = u->e.at;
	struct detour *d;

	accesses_end(u);
	n = jit->guess = (jit->guess + 1) % GUESSES;
	emit_load(&u->e, T1, of_guess(OF_TLB(guess_tag), n));
	emit_lea(&u->e, T1, mem_index(T1, at.base, 0, at.disp));
	emit_rorx(&u->e, T1, T1, 32);
	d = taken_or(u, emit_jecxz(&u->e), AWAY_GUESS);
	if (d != NULL) {
		d->probe = *p;
		d->at = at;
		d->again = begin;
		d->site = (uint16_t)n;
		d->resume = u->e.at;
	}
	emit_load(&u->e, addend, of_guess(OF_TLB(guess_addend), n));
	if (addend == T0)
		hold(u, at.base);
	access_begin(u, at, p, begin);
	return mem_index(at.base, addend, 0, at.disp);
}

/* It is elsewhere: there it is guessed to be from now on. Too often, and
   jit_interp() looks at the time. */
void guess_detour(struct translation_unit *u, const struct detour *d)
{
	struct emit *e = &u->e;

	emit_lea(e, T0, d->at);
	window_load(u, T1, T0);
	emit_store(e, of_guess(OF_TLB(guess_addend), d->site), T1);
	emit_pext(e, T1, T0, FRAME(low_32));
	emit_not(e, T0); /* T1 - T0, the address of its 4 GiB, negated */
	emit_lea(e, T1, mem_index(T1, T0, 0, 1));
	emit_store(e, of_guess(OF_TLB(guess_tag), d->site), T1);
	emit_not(e, T0);
	resume_counted(u, d, of_guess(OF_TLB(guess_left), d->site));
}

/* Guesses are long: where there are many of them, they do not pay. */
#define GUESSED_MAX 4

static bool has_few(const struct translation_unit *u)
{
	unsigned n = 0;

	for (unsigned k = 1; k <= u->b->count; k++)
		n += (u->b->insn[k].flags & INSN_MEM) != 0;
	return n <= GUESSED_MAX;
}

struct mem window_emit(struct translation_unit *u, struct mem at,
		       struct probe p)
{
	bool early = is_early(u) && u->i->index == REG_ZERO;

	return early || !u->b->is_hot || !has_few(u) ||
		       u->i->flags & INSN_WANDERS || is_held(u, at.base)
		   ? look_up(u, at, &p)
		   : guess(u, at, &p);
}
