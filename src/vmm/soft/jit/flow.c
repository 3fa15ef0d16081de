// SPDX-License-Identifier: BSD-2-Clause
/* The stack, and near branches. */
#include "vmm/soft/exec.h"
#include "vmm/soft/jit/rules.h"
#include "vmm/soft/jit/translate.h"

/* -- the stack, of 64-bit words, or (32-bit code) of 32-bit ones
 * ----------------------------------------------------------- */

#define RSP 4
#define RBP 5

static int32_t word_bytes(const struct translation_unit *u)
{
	return u->is_32 ? 4 : 8;
}

/* Has the instruction that operand size? */
static bool is_word(const struct translation_unit *u)
{
	return 1 << u->i->lsize == word_bytes(u);
}

static struct op word_op(const struct translation_unit *u, uint8_t opcode)
{
	return (struct op){.map = MAP_1, .opcode = opcode, .w = !u->is_32};
}

static void word_load(struct translation_unit *u, unsigned to, struct mem mem)
{
	emit_op_mem(&u->e, word_op(u, 0x8b), to, mem);
}

static void word_store(struct translation_unit *u, struct mem mem,
		       unsigned from)
{
	emit_op_mem(&u->e, word_op(u, 0x89), from, mem);
}

/* A word at guest register base + disp. */
static struct mem stack_probe(struct translation_unit *u, unsigned base,
			      int32_t disp, bool write, enum away away)
{
	struct mem at = mem_at(host_of(base), disp);

	if (u->is_32) {
		emit_lea32(&u->e, T0, at);
		at = mem_at(T0, 0);
	}
	return stack_emit(u, at,
			  (struct probe){.bytes = (uint8_t)word_bytes(u),
					 .write = write,
					 .away = (uint8_t)away});
}

/* What T1 is needed for after stack_probe(). */
static struct mem without_t1(struct translation_unit *u, struct mem mem)
{
	return mem_names(mem, T1) ? mem_in_t0(u, mem) : mem;
}

static void stack_adjust(struct translation_unit *u, int32_t by)
{
	lea_emit(u, host_of(RSP), mem_at(host_of(RSP), by));
}

/* What is pushed waits in memory while the stack is looked up. */
static bool push_memory(struct translation_unit *u)
{
	struct mem mem;

	if (!address_possible(u))
		return false;
	mem = operand_emit(u, (struct probe){.bytes = (uint8_t)word_bytes(u),
					     .away = AWAY_INTERP});
	word_load(u, T1, mem);
	emit_store(&u->e, FRAME(scratch), T1);
	mem = without_t1(
	    u, stack_probe(u, RSP, -word_bytes(u), true, AWAY_INTERP));
	emit_load(&u->e, T1, FRAME(scratch));
	word_store(u, mem, T1);
	stack_adjust(u, -word_bytes(u));
	return true;
}

bool translate_push(struct translation_unit *u, const struct rule *rule)
{
	unsigned host;
	struct mem mem;

	if (!is_word(u))
		return false;
	if (u->i->flags & INSN_MEM)
		return push_memory(u);
	mem = stack_probe(u, RSP, -word_bytes(u), true, AWAY_INTERP);
	if (u->o->operands == OPERANDS_R || u->o->operands == OPERANDS_E) {
		host = low_register(u, u->i->a / 8, true);
		word_store(u, mem, host);
	} else {
		emit_op_mem(&u->e, word_op(u, 0xc7), 0, mem);
		emit_imm(&u->e, (uint64_t)u->i->imm, 4);
	}
	stack_adjust(u, -word_bytes(u));
	return true;
}

bool translate_pop(struct translation_unit *u, const struct rule *rule)
{
	unsigned guest = u->i->a / 8;
	struct mem mem;

	if (!is_word(u) || u->i->flags & INSN_MEM)
		return false;
	mem = stack_probe(u, RSP, 0, false, AWAY_INTERP);
	word_load(u, low_register(u, guest, false), mem);
	low_register_done(u, guest);
	if (guest != RSP)
		stack_adjust(u, word_bytes(u));
	return true;
}

bool translate_leave(struct translation_unit *u, const struct rule *rule)
{
	struct mem mem;

	if (!is_word(u))
		return false;
	mem = stack_probe(u, RBP, 0, false, AWAY_INTERP);
	word_load(u, T1, mem);
	lea_emit(u, host_of(RSP), mem_at(host_of(RBP), word_bytes(u)));
	emit_mov(&u->e, host_of(RBP), T1);
	return true;
}

/* -- branches
 * ------------------------------------------------------------------- */

/* In 32-bit code an operand size of 16 bits cuts the target off. */
static bool is_plain_branch(const struct translation_unit *u)
{
	return !u->is_32 || u->i->lsize == 2;
}

static bool goes_back(const struct translation_unit *u, int64_t rel)
{
	return rel >= 0 && rel <= u->i->off;
}

bool translate_jcc(struct translation_unit *u, const struct rule *rule)
{
	int64_t taken = u->i->imm, next = u->i->off + u->i->len;
	unsigned condition = u->o->op & 15;

	if (!is_plain_branch(u))
		return false;
	if (goes_back(u, u->i->imm) && !u->probed)
		kick_check(u);
	if (!can_be_onward(u, next) && can_be_onward(u, taken)) {
		next = taken;
		taken = u->i->off + u->i->len;
		condition ^= 1;
	}
	chain(u, emit_jcc(&u->e, condition), taken, AWAY_TARGET);
	chain_onward(u, next);
	u->ended = true;
	return true;
}

bool translate_jmp(struct translation_unit *u, const struct rule *rule)
{
	if (!is_plain_branch(u))
		return false;
	if (goes_back(u, u->i->imm) && !u->probed)
		kick_check(u);
	chain_onward(u, u->i->imm);
	u->ended = true;
	return true;
}

/* RCX less one, or (JCXZ) as it is, to T1. */
static void count_emit(struct translation_unit *u, bool loops)
{
	struct mem less = mem_at(host_of(1), -1);

	if (loops && u->i->asize == 2)
		emit_lea32(&u->e, host_of(1), less);
	else if (loops)
		emit_lea(&u->e, host_of(1), less);
	if (u->i->asize == 2)
		emit_mov32(&u->e, T1, host_of(1));
	else
		emit_mov(&u->e, T1, host_of(1));
}

static bool count_begin(struct translation_unit *u, bool loops)
{
	if (!is_plain_branch(u) || u->i->asize == 1)
		return false;
	if (goes_back(u, u->i->imm) && !u->probed)
		kick_check(u);
	count_emit(u, loops);
	u->ended = true;
	return true;
}

bool translate_jcxz(struct translation_unit *u, const struct rule *rule)
{
	uint8_t *taken;

	if (!count_begin(u, false))
		return false;
	taken = emit_jrcxz(&u->e);
	chain_always(u, u->i->off + u->i->len, AWAY_TARGET);
	emit_here8(&u->e, taken);
	chain_always(u, u->i->imm, AWAY_TARGET);
	return true;
}

/* LOOPE and LOOPNE have a condition as well. RCX has changed: it is not run
   again. */
bool translate_loop(struct translation_unit *u, const struct rule *rule)
{
	const struct handler *h = u->o->handler;
	uint8_t *over;

	if (!count_begin(u, true))
		return false;
	over = emit_jrcxz(&u->e);
	if (h == &h_loop)
		chain_always(u, u->i->imm, AWAY_CALLED);
	else
		chain(u, emit_jcc(&u->e, h == &h_loope ? 4 : 5), u->i->imm,
		      AWAY_CALLED);
	emit_here8(&u->e, over);
	chain_always(u, u->i->off + u->i->len, AWAY_CALLED);
	return true;
}

/* The return address goes to the place below the stack. */
static void push_return(struct translation_unit *u, struct mem mem)
{
	mem = without_t1(u, mem);
	rip_emit(u, T1, u->i->off + u->i->len);
	word_store(u, mem, T1);
	stack_adjust(u, -word_bytes(u));
	if (!u->b->is_hot)
		lookup_prefetch(u);
}

bool translate_call(struct translation_unit *u, const struct rule *rule)
{
	if (!is_plain_branch(u))
		return false;
	push_return(u, stack_probe(u, RSP, -word_bytes(u), true, AWAY_EXIT));
	chain_always(u, u->i->imm, AWAY_CALLED);
	u->ended = true;
	return true;
}

/* T0 is the target of a branch by an operand. */
static bool indirect_target(struct translation_unit *u)
{
	unsigned host;

	if (!is_word(u))
		return false;
	if (u->i->flags & INSN_MEM) {
		if (!address_possible(u))
			return false;
		word_load(u, T0,
			  operand_emit(
			      u, (struct probe){.bytes = (uint8_t)word_bytes(u),
						.away = AWAY_EXIT}));
		return true;
	}
	host = host_of(u->i->a / 8);
	if (host == HOST_NONE)
		emit_load(&u->e, T0, slot_of(u->i->a / 8));
	else
		emit_op_reg(&u->e, word_op(u, 0x8b), T0, host);
	return true;
}

/* Away unless there is a block at T0. */
static void look_up(struct translation_unit *u)
{
	uint8_t *missed, *begin = u->e.at;
	struct detour *d;

	lookup_check(u, &missed);
	d = detour_add(u, AWAY_LOOKUP, missed, 0);
	if (d != NULL)
		d->again = begin;
}

bool translate_jump_indirect(struct translation_unit *u,
			     const struct rule *rule)
{
	if (!indirect_target(u))
		return false;
	look_up(u);
	lookup_jump(u);
	u->ended = true;
	return true;
}

/* The target is known to be good before anything is pushed. */
bool translate_call_indirect(struct translation_unit *u,
			     const struct rule *rule)
{
	if (!indirect_target(u))
		return false;
	look_up(u);
	emit_store(&u->e, FRAME(scratch), T0);
	push_return(u, stack_probe(u, RSP, -word_bytes(u), true, AWAY_EXIT));
	emit_load(&u->e, T0, FRAME(scratch));
	lookup_jump(u);
	u->ended = true;
	return true;
}

bool translate_ret(struct translation_unit *u, const struct rule *rule)
{
	if (!is_word(u))
		return false;
	word_load(u, T0, stack_probe(u, RSP, 0, false, AWAY_EXIT));
	look_up(u);
	stack_adjust(u, word_bytes(u) + (int32_t)u->i->imm);
	lookup_jump(u);
	u->ended = true;
	return true;
}
