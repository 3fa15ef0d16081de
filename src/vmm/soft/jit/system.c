// SPDX-License-Identifier: BSD-2-Clause
/*
 * Instructions of kernels: the usual way of the frequent ones in host code,
 * where no flag may change on the way, and the others by tier 0's function,
 * but without going back to the main loop (PIECE_SYSTEM).
 */
#include "vmm/soft/exec.h"
#include "vmm/soft/jit/rules.h"
#include "vmm/soft/jit/translate.h"

#define OF_CPU(field) ((int32_t)offsetof(struct cpu, field))
#define OP1(...)      ((struct op){.map = MAP_1, .opcode = __VA_ARGS__})

/* -- RFLAGS beside the arithmetic flags ------------------------------------ */

/*
 * The bit's place in cpu.flags becomes value; keep is the mask of all others,
 * by which PEXT and PDEP take it away. T0 is the cpu then.
 */
static void flag_emit(struct translation_unit *u, struct mem keep,
		      uint32_t value)
{
	struct emit *e = &u->e;

	emit_load(e, T0, FRAME(cpu));
	emit_load32(e, T1, mem_at(T0, OF_CPU(flags)));
	emit_pext(e, T1, T1, keep);
	emit_pdep(e, T1, T1, keep);
	if (value != 0)
		emit_lea(e, T1, mem_at(T1, (int32_t)value));
	emit_op_mem(e, OP1(0x89), T1, mem_at(T0, OF_CPU(flags)));
}

bool translate_cli(struct translation_unit *u, const struct rule *rule)
{
	if (u->c->cpl != 0)
		return false;
	flag_emit(u, FRAME(no_if), 0);
	return true;
}

/*
 * Tier 0 must do it where an interrupt waits; one that comes from here on
 * finds the next instruction begun, unless that is in another block.
 */
bool translate_sti(struct translation_unit *u, const struct rule *rule)
{
	struct op movzx = {.map = MAP_0F, .opcode = 0xb6};
	struct emit *e = &u->e;

	if (u->c->cpl != 0 || u->k + 1 == u->b->count)
		return false;
	emit_load(e, T0, FRAME(cpu));
	emit_op_mem(e, movzx, T1, mem_at(T0, OF_CPU(intr_check)));
	go_or(u, AWAY_INTERP);
	flag_emit(u, FRAME(no_if), RFLAGS_IF);
	return true;
}

bool translate_cld(struct translation_unit *u, const struct rule *rule)
{
	flag_emit(u, FRAME(no_df), 0);
	return true;
}

/* At CPL 0 AC says which table is current. */
static bool set_ac(struct translation_unit *u, unsigned ac)
{
	struct emit *e = &u->e;

	if (u->c->cpl != 0)
		return false;
	flag_emit(u, FRAME(no_ac), ac ? RFLAGS_AC : 0);
	emit_load(e, T1, mem_at(T0, OF_CPU(tlb_by_ac[0]) + (int32_t)ac * 8));
	emit_store(e, mem_at(T0, OF_CPU(tlb)), T1);
	emit_mov(e, T0, T1);
	emit_to(e, emit_call(e), u->c->jit->piece[PIECE_SWITCH]);
	return true;
}

bool translate_clac(struct translation_unit *u, const struct rule *rule)
{
	return set_ac(u, 0);
}

bool translate_stac(struct translation_unit *u, const struct rule *rule)
{
	return set_ac(u, 1);
}

/* Neither VM nor RF is ever set here. */
bool translate_pushf(struct translation_unit *u, const struct rule *rule)
{
	struct emit *e = &u->e;
	struct mem mem;

	if (u->i->lsize != 3)
		return false;
	emit_byte(e, 0x9c); /* to the host's stack */
	emit_op_low(e, OP1(0x58), T1);
	emit_pext(e, T1, T1, FRAME(arith_bits));
	emit_pdep(e, T1, T1, FRAME(arith_bits));
	emit_load(e, T0, FRAME(cpu));
	emit_load32(e, T0, mem_at(T0, OF_CPU(flags)));
	emit_lea(e, T1, mem_index(T1, T0, 0, 0));
	emit_store(e, FRAME(scratch), T1);
	mem = probe_emit(
	    u, mem_at(host_of(REG_RSP / 8), -8),
	    (struct probe){.bytes = 8, .write = true, .away = AWAY_INTERP});
	emit_load(e, T1, FRAME(scratch));
	emit_store(e, mem, T1);
	emit_lea(e, host_of(REG_RSP / 8), mem_at(host_of(REG_RSP / 8), -8));
	return true;
}

/* -- registers of the system ------------------------------------------------
 */

bool translate_swapgs(struct translation_unit *u, const struct rule *rule)
{
	struct mem kernel = mem_at(T0, OF_CPU(kernel_gs_base));
	struct mem base = mem_at(T0, OF_CPU(seg[SEG_GS].base));
	struct emit *e = &u->e;

	if (u->c->cpl != 0)
		return false;
	emit_load(e, T0, FRAME(cpu));
	emit_load(e, T1, kernel);
	emit_store(e, FRAME(scratch), T1);
	emit_load(e, T1, base);
	emit_store(e, kernel, T1);
	emit_load(e, T1, FRAME(scratch));
	emit_store(e, base, T1);
	emit_store(e, FRAME(gs_base), T1);
	return true;
}

static struct mem selector_at(unsigned cpu, unsigned seg)
{
	return mem_at(cpu, OF_CPU(seg[0].selector) +
			       (int32_t)(seg * sizeof(struct segment)));
}

bool translate_movfromseg(struct translation_unit *u, const struct rule *rule)
{
	struct op movzx = {.map = MAP_0F, .opcode = 0xb7};
	unsigned seg = u->i->ext, guest = u->i->a / 8;
	struct emit *e = &u->e;
	struct mem mem;

	if (seg >= SEG_COUNT)
		return false;
	if (!(u->i->flags & INSN_MEM)) {
		bool wide = u->i->lsize != 1;
		struct op move = wide ? movzx : OP1(0x8b, .opsize = true);
		unsigned host = low_register(u, guest, !wide);

		emit_load(e, T0, FRAME(cpu));
		emit_op_mem(e, move, host, selector_at(T0, seg));
		low_register_done(u, guest);
		return true;
	}
	if (!address_possible(u))
		return false;
	mem = operand_emit(
	    u, (struct probe){.bytes = 2, .write = true, .away = AWAY_INTERP});
	if (mem_names(mem, T1))
		mem = mem_in_t0(u, mem);
	emit_load(e, T1, FRAME(cpu));
	emit_op_mem(e, movzx, T1, selector_at(T1, seg));
	emit_op_mem(e, OP1(0x89, .opsize = true), T1, mem);
	return true;
}

bool translate_movfromcr(struct translation_unit *u, const struct rule *rule)
{
	static const int32_t place[5] = {OF_CPU(cr0), -1, OF_CPU(cr2),
					 OF_CPU(cr3), OF_CPU(cr4)};
	unsigned n = u->i->ext, guest = u->i->a / 8;

	if (u->c->cpl != 0 || n >= ARRAY_SIZE(place) || place[n] < 0)
		return false;
	emit_load(&u->e, T0, FRAME(cpu));
	emit_op_mem(&u->e, OP1(0x8b, .w = !u->is_32),
		    low_register(u, guest, false), mem_at(T0, place[n]));
	low_register_done(u, guest);
	return true;
}

/* -- time -------------------------------------------------------------------
 */

/*
 * By the vCPU's copy of the line (tsc.h), while that is good. RAX and RDX are
 * lost where it is not: at CPL 0 tier 0 does not fault.
 */
bool translate_rdtsc(struct translation_unit *u, const struct rule *rule)
{
	struct op mulx = {.map = MAP_0F38,
			  .prefix = 0xf2,
			  .opcode = 0xf6,
			  .vex = true,
			  .w = true,
			  .vvvv = HOST_RAX};
	struct emit *e = &u->e;

	if (u->c->cpl != 0)
		return false;
	emit_op_plain(e, (struct op){.map = MAP_0F, .opcode = 0x31});
	emit_rorx(e, T0, HOST_RDX, 32);
	emit_lea(e, T0, mem_index(T0, HOST_RAX, 0, 0));
	emit_load(e, T1, FRAME(cpu));
	emit_load(e, T1, mem_at(T1, OF_CPU(tsc.minus_from)));
	emit_lea(e, T0, mem_index(T0, T1, 0, 0));
	emit_pext(e, T1, T0, FRAME(tsc_bits));
	go_or(u, AWAY_INTERP);
	emit_load(e, T1, FRAME(cpu));
	emit_rorx(e, HOST_RDX, T0, 32);
	emit_op_mem(e, mulx, T0, mem_at(T1, OF_CPU(tsc.slope)));
	emit_load(e, T1, mem_at(T1, OF_CPU(tsc.value)));
	emit_lea(e, T0, mem_index(T0, T1, 0, 0));
	emit_mov32(e, HOST_RAX, T0);
	emit_rorx(e, HOST_RDX, T0, 32);
	emit_mov32(e, HOST_RDX, HOST_RDX);
	return true;
}

/* -- bit strings --------------------------------------------------------------
 */

/* T1 becomes the number of the word that bit is in, by its sign, too. */
static void word_number(struct translation_unit *u)
{
	bool wide = u->i->lsize == 3;
	struct op sarx = {.map = MAP_0F38,
			  .prefix = 0xf3,
			  .opcode = 0xf7,
			  .vex = true,
			  .w = wide,
			  .vvvv = T1};
	unsigned bit = u->d.reg;

	emit_mov_imm(&u->e, T1, wide ? 6 : 5);
	if (host_of(bit) == HOST_NONE)
		emit_op_mem(&u->e, sarx, T1, slot_of(bit));
	else
		emit_op_reg(&u->e, sarx, T1, host_of(bit));
	if (!wide)
		emit_op_reg(&u->e, OP1(0x63, .w = true), T1, T1);
}

/* BT, BTS, BTR, BTC of a bit anywhere from the operand on: in the word that it
   is in. */
bool translate_bit_string(struct translation_unit *u, const struct rule *rule)
{
	const struct insn *i = u->i;
	unsigned bit = u->d.reg, from = host_of(bit);
	struct emit *e = &u->e;
	struct mem mem;

	if (i->lsize < 2 || i->asize != 3 || i->seg >= SEG_FS ||
	    !address_possible(u))
		return false;
	offset_emit(u, T0);
	word_number(u);
	emit_lea(e, T0, mem_index(T0, T1, i->lsize, 0));
	mem = probe_emit(u, mem_at(T0, 0),
			 (struct probe){.bytes = (uint8_t)(1u << i->lsize),
					.write = rule->first & USE_W,
					.away = AWAY_INTERP});
	mem = mem_in_t0(u, mem);
	if (from == HOST_NONE) {
		from = T1;
		emit_load(e, T1, slot_of(bit));
	}
	emit_pext(e, T1, from, i->lsize == 3 ? FRAME(low_6) : FRAME(low_5));
	emit_op_mem(e,
		    (struct op){.map = MAP_0F,
				.opcode = u->o->op,
				.lock = i->flags & INSN_LOCK,
				.w = i->lsize == 3},
		    T1, mem);
	return true;
}

/* -- by tier 0's function ----------------------------------------------------
 */

/* Of those that end a block, and leave RIP in c->rip. */
bool translate_system(struct translation_unit *u, const struct rule *rule)
{
	struct jit *jit = u->c->jit;

	if (jit->verify != NULL)
		return false;
	emit_mov_imm(&u->e, T0, arena_offset(u, u->i));
	emit_to(&u->e, emit_jmp(&u->e), jit->piece[PIECE_SYSTEM]);
	u->ended = true;
	return true;
}
