// SPDX-License-Identifier: BSD-2-Clause
/*
 * Ways out of a block's code: detours, which are beside it, and leaving for
 * tier 0 or for an address.
 */
#include "vmm/soft/jit/translate.h"

struct detour *detour_add(struct translation_unit *u, enum away kind,
			  uint8_t *from, int64_t rel)
{
	struct detour *d = &u->detour[u->detours];

	if (u->detours == DETOUR_MAX) {
		u->e.full = true;
		return NULL;
	}
	u->detours++;
	*d = (struct detour){.from = from,
			     .k = (uint16_t)u->k,
			     .kind = (uint8_t)kind,
			     .rel = rel,
			     .x87 = u->x87,
			     .held = HOST_NONE};
	return d;
}

uint64_t arena_offset(const struct translation_unit *u, const void *p)
{
	return (uint64_t)((const uint8_t *)p - u->c->arena);
}

static void jump_to_piece(struct translation_unit *u, const uint8_t *exec)
{
	emit_to(&u->e, emit_jmp(&u->e), to_write(u->c->jit, exec));
}

void leave_emit(struct translation_unit *u, unsigned k)
{
	emit_mov_imm(&u->e, T0, arena_offset(u, &u->b->insn[1 + k]));
	jump_to_piece(u, u->c->jit->leave_insn);
}

void call_emit(struct translation_unit *u, enum jit_call call, uint64_t arg)
{
	struct jit *jit = u->c->jit;

	emit_mov_imm(&u->e, T0, arg);
	emit_to(&u->e, emit_call(&u->e),
		jit->code.write + (jit->call[call] - jit->code.exec));
}

static void interp_emit(struct translation_unit *u, const struct detour *d)
{
	call_emit(u, JIT_CALL_INTERP, arena_offset(u, &u->b->insn[1 + d->k]));
	if (d->held != HOST_NONE)
		window_load(u, T0, d->held);
	emit_to(&u->e, emit_jmp(&u->e), d->back);
}

#define OF_TARGET(field) ((int32_t)offsetof(struct tlb, target[0].field))

/* A word of the target of the address in a register, by T1. */
static struct mem target_word(struct translation_unit *u, unsigned address,
			      int32_t field)
{
	emit_pext(&u->e, T1, address, FRAME(target_bits));
	emit_lea(&u->e, T1, mem_index(T1, T1, 0, 0)); /* places of 16 bytes */
	return mem_index(HOST_RSP, T1, 3, field);
}

void lookup_check(struct translation_unit *u, uint8_t **missed)
{
	struct emit *e = &u->e;
	uint8_t *hit;

	emit_load(e, T1, target_word(u, T0, OF_TARGET(rip)));
	emit_lea(e, T1, mem_index(T1, T0, 0, 0));
	hit = emit_jrcxz(e);
	*missed = emit_jmp(e);
	emit_here8(e, hit);
}

void lookup_jump(struct translation_unit *u)
{
	emit_jmp_mem(&u->e, target_word(u, T0, OF_TARGET(code)));
}

void lookup_prefetch(struct translation_unit *u)
{
	const struct op prefetch = {.map = MAP_0F, .opcode = 0x18};

	emit_op_mem(&u->e, prefetch, 1, target_word(u, T1, OF_TARGET(rip)));
}

/* To REG_RIPBASE + rel, by a piece that goes there. */
static void by_piece(struct translation_unit *u, int64_t rel,
		     enum jit_piece piece)
{
	emit_mov_imm(&u->e, T1, (uint64_t)rel);
	emit_to(&u->e, emit_jmp(&u->e), u->c->jit->piece[piece]);
}

void target_emit(struct translation_unit *u, int64_t rel)
{
	if (is_fixed(u)) {
		rip_emit(u, T0, rel);
		emit_to(&u->e, emit_jmp(&u->e), u->c->jit->piece[PIECE_LOOK]);
		return;
	}
	by_piece(u, rel, u->is_32 ? PIECE_TARGET_32 : PIECE_TARGET);
}

static void lookup_again_emit(struct translation_unit *u,
			      const struct detour *d)
{
	uint8_t *yes;

	emit_to(&u->e, emit_call(&u->e), u->c->jit->piece[PIECE_RESOLVE]);
	yes = emit_jrcxz(&u->e);
	leave_emit(u, d->k);
	emit_here8(&u->e, yes);
	emit_to(&u->e, emit_jmp(&u->e), d->again);
}

void detour_emit(struct translation_unit *u, const struct detour *d)
{
	unsigned kind = d->kind;

	if (d->from != NULL)
		emit_here(&u->e, d->from);
	x87_detour(u, d);
	if (kind == AWAY_GUESS) {
		guess_detour(u, d);
		kind = d->probe.away;
	} else if (kind == AWAY_PROBE) {
		probe_detour(u, d);
		kind = d->probe.away;
	} else if (d->probe.bytes != 0) {
		emit_lea(&u->e, T0, d->at);
	}
	if (d->probe.bytes != 0)
		refill_emit(u, d);
	switch (kind) {
	case AWAY_INTERP:
		interp_emit(u, d);
		break;
	case AWAY_EXIT:
		leave_emit(u, d->k);
		break;
	case AWAY_HOP:
		hop_detour(u, d);
		break;
	case AWAY_LOOKUP:
		lookup_again_emit(u, d);
		break;
	case AWAY_SECOND:
		second_detour(u, d);
		break;
	default:
		if (is_in_page(d->rel) || !hop_aside(u, d->rel))
			target_emit(u, d->rel);
		break;
	}
}

size_t detour_bytes(const struct detour *d)
{
	static const uint8_t room[] = {
	    [AWAY_INTERP] = 32, [AWAY_EXIT] = 16,   [AWAY_TARGET] = 16,
	    [AWAY_CALLED] = 16, [AWAY_LOOKUP] = 28, [AWAY_HOP] = 24,
	    [AWAY_PROBE] = 32,  [AWAY_SECOND] = 48, [AWAY_GUESS] = 32,
	};
	size_t bytes = d->probe.bytes != 0 ? 40 : 0; /* refill_emit */

	if (d->kind == AWAY_FAULT)
		return 0;
	if (d->kind == AWAY_PROBE || d->kind == AWAY_GUESS)
		bytes += 184;
	if (d->x87.place != 0 || d->x87.operand != 0)
		bytes += 120;
	if ((d->kind == AWAY_TARGET || d->kind == AWAY_CALLED) &&
	    !is_in_page(d->rel))
		bytes += HOP_ASIDE_BYTES;
	return bytes + room[d->kind];
}

void kick_check(struct translation_unit *u)
{
	emit_load(&u->e, T1, FRAME(go));
	detour_add(u, AWAY_EXIT, emit_jrcxz_far(&u->e), 0);
}
