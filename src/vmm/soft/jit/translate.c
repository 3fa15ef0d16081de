// SPDX-License-Identifier: BSD-2-Clause
/*
 * From a block of decoded instructions to host code: the walk over it, and
 * what becomes of the block and of those that are translated with it.
 */
#include "vmm/soft/jit/translate.h"

#include "vmm/perfmap.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/jit/rules.h"
#include "vmm/soft/vec.h"

/* Room that a block's code may take, all detours included. */
#define CODE_MAX        (64 * KiB)
/* Beside it: an entry apart, and an end. */
#define JUMP_BYTES      5
#define FAR_APART_BYTES 20
#define ROOM_LEFT       128

/* Blocks that are translated with one, behind it. */
#define ONWARD_MAX 16

/* -- the walk ------------------------------------------------------------- */

static bool same_insn(const struct insn *a, const struct insn *b)
{
	const uint64_t *x = (const void *)a, *y = (const void *)b;
	uint64_t difference = 0;

	for (unsigned n = 0; n < sizeof(*a) / sizeof(*x); n++)
		difference |= x[n] ^ y[n];
	return difference == 0;
}

/*
 * From a copy: others may write to the page, and have told us nothing yet.
 * Then what is decoded now is not the block's instruction, in any part.
 */
static bool decode_again(struct translation_unit *u)
{
	const struct insn *i = u->i;
	uint8_t bytes[15];
	struct insn again;

	block_bytes(u->c, u->b, i, bytes);
	if (decode(u->c, bytes, i->len, i->off, &again, &u->d) != i->len)
		return false;
	again.off = i->off;
	again.flags |= i->flags & INSN_WANDERS;
	if (!same_insn(&again, i))
		return false;
	u->o = i->op == OP_NONE_ROW ? NULL : &opcode_table[i->op];
	u->row = u->o != NULL ? NULL : simd_row_of(&u->d);
	return true;
}

static bool by_rule(struct translation_unit *u)
{
	unsigned n;

	if (u->o == NULL)
		return u->row != NULL && u->i->exec != exec_ud &&
		       (translate_vector(u) || translate_x87(u));
	n = u->c->jit->rule_of[u->i->op];
	if (n == RULE_NONE || u->i->exec == exec_ud)
		return false;
	return rules[n].translate(u, &rules[n]);
}

static bool ends_here(const struct translation_unit *u)
{
	return u->i->exec == exec_ud || (u->o != NULL && u->o->attr & OP_END);
}

/* What T0 leads to is held meanwhile. */
static void verify_emit(struct translation_unit *u, enum jit_call call,
			uint64_t arg)
{
	uint16_t wrote = u->e.wrote, narrow = u->e.narrow;

	emit_store(&u->e, FRAME(scratch), T0);
	call_emit(u, call, arg);
	emit_load(&u->e, T0, FRAME(scratch));
	u->e.wrote = wrote;
	u->e.narrow = narrow;
}

/* With soft.jit=verify, tier 0 runs it, too (verify.h). */
static bool by_rule_verified(struct translation_unit *u)
{
	struct emit begin = u->e;
	bool branch = ends_here(u);
	uint64_t place = arena_offset(u, u->i);

	verify_emit(u, branch ? JIT_CALL_BRANCH : JIT_CALL_BEFORE, place);
	if (u->held == HOST_NONE)
		u->e.wrote = 0; /* who holds wants more than this one's */
	if (!by_rule(u)) {
		u->e = begin;
		return false;
	}
	x87_settle(u);
	if (!branch)
		verify_emit(u, JIT_CALL_AFTER,
			    place | (uint64_t)u->e.wrote << 32);
	return true;
}

static void instruction(struct translation_unit *u)
{
	struct jit *jit = u->c->jit;
	u->first_detour = u->detours;
	x87_before(u, ends_here(u));
	if (!(jit->verify != NULL ? by_rule_verified(u) : by_rule(u))) {
		if (ends_here(u)) {
			leave_emit(u, u->k);
			u->ended = true;
			return;
		}
		x87_settle(u);
		call_emit(u, JIT_CALL_INTERP, arena_offset(u, u->i));
	}
	accesses_end(u);
	held_settle(u);
	for (unsigned n = u->first_detour; n < u->detours; n++)
		u->detour[n].back = u->e.at;
}

/* What its vector and x87 instructions need (enum vec_block); 0: none. */
static unsigned vec_need_of(struct translation_unit *u)
{
	unsigned all = 0;

	for (unsigned k = 0; k < u->b->count; k++) {
		u->i = &u->b->insn[1 + k];
		if (u->i->op != OP_NONE_ROW || u->i->exec == exec_ud ||
		    !decode_again(u) || u->row == NULL)
			continue;
		if (is_plain_vector(u->row))
			all |= u->i->ext | VEC_DEAD;
		else if (is_plain_x87(u->row))
			all |= u->i->ext | VEC_DEAD | VEC_X87 | VEC_MF;
	}
	return all;
}

/* Nothing is in the way of any of them, or tier 0 runs the block. */
static void vec_check_emit(struct translation_unit *u, unsigned need)
{
	if (need == 0)
		return;
	emit_mov_imm(&u->e, T1, need);
	emit_pext(&u->e, T1, T1, FRAME(vec_blocked));
	taken_or(u, emit_jrcxz(&u->e), AWAY_EXIT);
}

static bool walk(struct translation_unit *u)
{
	u->k = 0;
	u->x87 = (struct x87_last){0};
	if (u->b->second != 0 && !second_emit(u))
		return false;
	vec_check_emit(u, vec_need_of(u));
	u->loop = u->e.at;
	if (u->c->jit->verify != NULL)
		call_emit(u, JIT_CALL_ARRIVAL, arena_offset(u, &u->b->insn[0]));
	for (u->k = 0; u->k < u->b->count && !u->ended; u->k++) {
		u->i = &u->b->insn[1 + u->k];
		if (!decode_again(u))
			return false;
		instruction(u);
	}
	if (!u->ended) {
		x87_settle(u);
		u->i = &u->b->insn[1 + u->k];
		chain_onward(u, u->i->off);
	}
	/* supersede() needs as much of it, and not of the one behind. */
	while (u->onward != NULL && u->e.at < u->near + JUMP_BYTES &&
	       !u->e.full)
		emit_byte(&u->e, 0x90);
	return !u->e.full;
}

/* -- the whole block ------------------------------------------------------ */

/* Detours are at the other end of the cache, not between what runs. */
static bool apart(struct translation_unit *u)
{
	struct jit *jit = u->c->jit;
	struct emit hot = u->e;
	size_t bytes = 0;

	for (unsigned n = 0; n < u->detours; n++)
		bytes += detour_bytes(&u->detour[n]);
	u->e.full |=
	    bytes + ROOM_LEFT > jit->cold - (size_t)(hot.at - jit->code.write);
	if (u->e.full)
		return false;
	u->e.end = jit->code.write + jit->cold;
	u->e.at = u->e.end - bytes;
	for (unsigned n = 0; n < u->detours; n++)
		if (u->detour[n].kind != AWAY_FAULT)
			detour_emit(u, &u->detour[n]);
	if (u->e.full)
		return false;
	jit->cold -= bytes;
	u->e = hot;
	return true;
}

static uint8_t distance_back(unsigned from, unsigned to)
{
	return (uint8_t)(to == 0 ? 0 : from - to);
}

static void note_access(struct translation_unit *u, const struct detour *d)
{
	unsigned n = 1u + d->k;

	fault_add(&u->c->jit->faults,
		  (struct jit_access){
		      .begin = (uint32_t)(d->begin - u->c->jit->code.write),
		      .bytes = (uint16_t)(d->end - d->begin),
		      .again = (uint16_t)(d->begin - d->again),
		      .back = (uint16_t)(d->back - d->begin),
		      .base = d->at.base,
		      .indexed = d->at.index != HOST_NONE,
		      .held = d->held,
		      .disp = d->at.disp,
		      .insn = (uint32_t)arena_offset(u, &u->b->insn[n]),
		      .operand_bytes = d->probe.bytes,
		      .align = d->probe.align,
		      .write = d->probe.write,
		      .is_exit = d->probe.away == AWAY_EXIT,
		      .x87_place = distance_back(n, d->x87.place),
		      .x87_operand = distance_back(n, d->x87.operand)});
}

/* Of the block that is now translated. */
static void note_accesses(struct translation_unit *u)
{
	for (unsigned n = 0; n < u->detours; n++)
		if (u->detour[n].kind == AWAY_FAULT)
			note_access(u, &u->detour[n]);
}

/* T0 is the RIP it was reached by: REG_RIPBASE is a fixed distance off. */
static void rip_base_emit(struct translation_unit *u)
{
	emit_op_mem(&u->e, (struct op){.map = MAP_1, .opcode = 0x8d, .w = true},
		    T1, mem_at(T0, -4096));
	for (unsigned n = 0; n < 4 && !u->e.full; n++)
		u->e.at[(int)n - 4] =
		    (uint8_t)((uint32_t) - (int32_t)u->b->insn[0].off >> 8 * n);
	emit_store(&u->e, FRAME(rip_base), T1);
}

/* A NOP, where it is known: jit_kill() needs as much. */
static void far_emit(struct translation_unit *u)
{
	static const uint8_t nop[JUMP_BYTES] = {0x0f, 0x1f, 0x44};

	u->far = u->e.at;
	if (!is_fixed(u)) {
		rip_base_emit(u);
		return;
	}
	for (unsigned n = 0; n < sizeof(nop); n++)
		emit_byte(&u->e, nop[n]);
}

/* Of a block whose near entry is where the one before it ends. */
static void far_emit_apart(struct translation_unit *u)
{
	struct jit *jit = u->c->jit;
	struct emit hot = u->e;

	jit->cold -= FAR_APART_BYTES;
	u->e.at = u->far = jit->code.write + jit->cold;
	u->e.end = u->e.at + FAR_APART_BYTES;
	if (!is_fixed(u))
		rip_base_emit(u);
	emit_to(&u->e, emit_jmp(&u->e), u->near);
	hot.full |= u->e.full;
	u->e = hot;
}

/* Who comes to the block's old code goes on in the new one. */
static void supersede(struct translation_unit *u)
{
	uint8_t *far = to_write(u->c->jit, u->b->code);
	uint8_t *near = to_write(u->c->jit, u->b->near);
	struct emit e = {.at = far, .end = far + JUMP_BYTES};

	/* What is overwritten may be a jump that waits for its target. */
	for (unsigned k = u->b->count; k <= u->b->count + 1u; k++) {
		const struct insn *i = &u->b->insn[k];

		link_forget(u, i->off + i->len, near);
		link_forget(u, (uint64_t)i->imm, near);
	}
	emit_to(&e, emit_jmp(&e), u->far);
	e = (struct emit){.at = near, .end = near + JUMP_BYTES};
	emit_to(&e, emit_jmp(&e), u->near);
}

static uint64_t rip_of(const struct translation_unit *u)
{
	return block_base(u->b, u->c->gpr[17]) + u->b->insn[0].off;
}

/* Not its entry by an address, where that is apart. */
static void tell_perf(const struct translation_unit *u, const uint8_t *begin)
{
	const struct jit *jit = u->c->jit;
	struct cpu *c = u->c;

	if (!c->svm->jit_perfmap)
		return;
	vec_leave(c);
	perfmap_add(c->svm->perfmap, jit->code.exec + (begin - jit->code.write),
		    (size_t)(u->e.at - begin), rip_of(u));
}

/* The code becomes the block's. */
static void adopt(struct translation_unit *u, uint8_t *begin)
{
	struct cpu *c = u->c;
	struct jit *jit = c->jit;
	const void *was = u->b->code;

	links_resolve(u);
	if (was != NULL)
		supersede(u);
	u->b->code = jit->code.exec + (u->far - jit->code.write);
	u->b->near = jit->code.exec + (u->near - jit->code.write);
	block_is_translated(u->b);
	if (was != NULL)
		target_renew(c->tlb, rip_of(u), was, u->b->code);
	tell_perf(u, begin);
	jit->code.used = (size_t)(u->e.at - jit->code.write);
	c->vcpu->stats[was != NULL ? VM_STAT_JIT_AGAIN : VM_STAT_JIT_BLOCKS]++;
}

/* b's code at begin; is_onward: it is what comes after what is before it. */
static bool translate(struct translation_unit *u, struct block *b,
		      bool is_onward)
{
	struct jit *jit = u->c->jit;
	uint8_t *begin = jit->code.write + jit->code.used;
	size_t room = jit->cold - jit->code.used;
	uint32_t links = jit->link_used;

	u->onward = NULL;
	if (room < ROOM_LEFT) {
		jit->full = true;
		return false;
	}
	u->b = b;
	u->e = (struct emit){.at = begin,
			     .end = begin + MIN(room - ROOM_LEFT, CODE_MAX)};
	u->held = HOST_NONE;
	u->probed = u->ended = false;
	u->detours = 0;
	if (!is_onward)
		far_emit(u);
	u->near = u->e.at;
	if (!walk(u) || !apart(u)) {
		u->onward = NULL;
		links_take_back(jit, links);
		jit->full |= u->e.full;
		return false;
	}
	if (is_onward)
		far_emit_apart(u);
	note_accesses(u);
	adopt(u, begin);
	return true;
}

/*
 * What was to come after b is not there: the target is looked for, until it
 * is there one day. It may be where b's last instruction jumps to.
 */
static void end_emit(struct translation_unit *u, struct block *b, uint64_t key)
{
	struct jit *jit = u->c->jit;
	uint8_t *begin = jit->code.write + jit->code.used;
	uint8_t *place;

	u->b = b;
	u->e = (struct emit){.at = begin, .end = begin + ROOM_LEFT / 2};
	place = emit_jmp(&u->e);
	emit_here(&u->e, place);
	target_emit(u, key & 0xfff);
	jit->code.used = (size_t)(u->e.at - jit->code.write);
	link_add(u, key, place);
}

/* When there is no room it stays what it was. */
void jit_translate_again(struct cpu *c, struct block *b)
{
	if (b->code != NULL && !c->jit->full)
		(void)jit_translate(c, b);
}

/* Both ends of the code cache. Vector state that was live is again: code that
   is under way may go on with it. */
static void make_ready(struct cpu *c)
{
	struct jit *jit = c->jit;
	bool live = c->vec_live;

	while (jit->ready < jit->cold_ready &&
	       jit->code.used + JIT_READY_STEP / 2 > jit->ready) {
		vec_leave(c);
		codemem_populate(&jit->code, jit->ready, JIT_READY_STEP);
		jit->ready += JIT_READY_STEP;
	}
	while (jit->ready < jit->cold_ready &&
	       jit->cold < jit->cold_ready + JIT_READY_STEP / 2) {
		vec_leave(c);
		jit->cold_ready -= JIT_READY_STEP;
		codemem_populate(&jit->code, jit->cold_ready, JIT_READY_STEP);
	}
	if (live)
		vec_enter(c);
}

bool jit_translate(struct cpu *c, struct block *b)
{
	struct jit *jit = c->jit;
	struct translation_unit *u = jit->unit;

	u->c = c;
	u->is_32 = c->code_size == 4;
	jit->code.used = ALIGN_UP(jit->code.used, 4);
	make_ready(c);
	u->room_onward = jit->verify != NULL ? 0 : ONWARD_MAX;
	if (!translate(u, b, false))
		return false;
	while (u->onward != NULL) {
		struct block *last = u->b, *next = u->onward;

		u->room_onward--;
		if (!translate(u, next, true))
			end_emit(u, last, next->key);
	}
	codemem_publish();
	c->vcpu->stats[VM_STAT_JIT_BYTES] =
	    jit->code.used + jit->code.size - jit->cold;
	return true;
}
