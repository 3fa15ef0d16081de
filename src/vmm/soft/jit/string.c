// SPDX-License-Identifier: BSD-2-Clause
/*
 * REP MOVS and REP STOS of 64-bit code as themselves: upwards, and where what
 * they touch is one page each. RSI and RDI are the host's addresses meanwhile.
 * All else of string instructions is tier 0's.
 */
#include "vmm/soft/exec.h"
#include "vmm/soft/jit/rules.h"
#include "vmm/soft/jit/translate.h"

#define OF_CPU(field) ((int32_t)offsetof(struct cpu, field))
#define OF_TLB(field) ((int32_t)offsetof(struct tlb, field))
#define RCX           1

static void check_direction(struct translation_unit *u)
{
	emit_load(&u->e, T0, FRAME(cpu));
	emit_load32(&u->e, T1, mem_at(T0, OF_CPU(flags)));
	emit_pext(&u->e, T1, T1, FRAME(df_bit));
	go_or(u, AWAY_INTERP);
}

/* So that no sum of it wraps. */
static void check_count(struct translation_unit *u)
{
	emit_pext(&u->e, T1, host_of(RCX), FRAME(over_page));
	go_or(u, AWAY_INTERP);
}

/* The last byte is in the page that the first one's place of the TLB has: so
   is the first. T0 becomes what leads there. */
static void page_emit(struct translation_unit *u, unsigned host, int32_t tags)
{
	struct emit *e = &u->e;

	emit_pext(e, T0, host, FRAME(tlb_bits));
	emit_load(e, T1, mem_index(HOST_RSP, T0, 3, tags));
	emit_lea(e, T1, mem_index(T1, host, 0, 0));
	emit_lea(e, T1, mem_index(T1, host_of(RCX), u->i->lsize, -1));
	emit_pext(e, T1, T1, FRAME(page_bits));
	go_or(u, AWAY_INTERP);
	emit_load(e, T0, mem_index(HOST_RSP, T0, 3, OF_TLB(addend)));
}

/* host less addend, which is lost. */
static void lead_back(struct translation_unit *u, unsigned host,
		      unsigned addend)
{
	emit_not(&u->e, addend);
	emit_lea(&u->e, host, mem_index(host, addend, 0, 1));
}

static void repeat_emit(struct translation_unit *u)
{
	struct op op = {.map = MAP_1,
			.prefix = 0xf3,
			.opcode = u->o->op,
			.opsize = u->i->lsize == 1,
			.w = u->i->lsize == 3};

	emit_mov(&u->e, T1, host_of(RCX));
	emit_op_plain(&u->e, op);
	emit_mov(&u->e, host_of(RCX), T1);
}

static bool is_possible(const struct translation_unit *u)
{
	const struct insn *i = u->i;

	return !u->is_32 && i->asize == 3 && i->seg < SEG_FS &&
	       i->flags & (INSN_REP | INSN_REPNE);
}

bool translate_stos(struct translation_unit *u, const struct rule *rule)
{
	if (!is_possible(u))
		return false;
	check_direction(u);
	check_count(u);
	page_emit(u, HOST_RDI, OF_TLB(write));
	emit_lea(&u->e, HOST_RDI, mem_index(HOST_RDI, T0, 0, 0));
	repeat_emit(u);
	lead_back(u, HOST_RDI, T0);
	return true;
}

bool translate_movs(struct translation_unit *u, const struct rule *rule)
{
	if (!is_possible(u))
		return false;
	check_direction(u);
	check_count(u);
	page_emit(u, HOST_RSI, OF_TLB(read));
	emit_store(&u->e, FRAME(scratch), T0);
	page_emit(u, HOST_RDI, OF_TLB(write));
	emit_load(&u->e, T1, FRAME(scratch));
	emit_lea(&u->e, HOST_RSI, mem_index(HOST_RSI, T1, 0, 0));
	emit_lea(&u->e, HOST_RDI, mem_index(HOST_RDI, T0, 0, 0));
	repeat_emit(u);
	lead_back(u, HOST_RDI, T0);
	emit_load(&u->e, T1, FRAME(scratch));
	lead_back(u, HOST_RSI, T1);
	return true;
}
