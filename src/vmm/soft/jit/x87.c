// SPDX-License-Identifier: BSD-2-Clause
/*
 * x87 instructions as themselves. The host's control word is the guest's, and
 * masks all exceptions where such a block runs (VEC_MF).
 *
 * FNSTENV and its like tell of the last instruction: where it was, what it
 * was, and where its operand was. Few are ever asked, so these are stored when
 * somebody may look: before tier 0 runs something (there, out of line), at the
 * end of the block; the operand's also before registers change.
 */
#include "vmm/soft/jit/rules.h"
#include "vmm/soft/jit/translate.h"
#include "vmm/soft/vec.h"

#define OF_CPU(field) ((int32_t)offsetof(struct cpu, field))

/* -- the last instruction ---------------------------------------------------
 */

static void operand_tell(struct translation_unit *u, unsigned k)
{
	const struct insn *i = u->i;

	u->i = &u->b->insn[k];
	offset_emit(u, T0);
	u->i = i;
	emit_load(&u->e, T1, FRAME(cpu));
	emit_store(&u->e, mem_at(T1, OF_CPU(fpu_dp)), T0);
}

static void place_tell(struct translation_unit *u, unsigned k)
{
	const struct insn *i = &u->b->insn[k];
	struct op store = {.map = MAP_1, .opcode = 0xc7, .opsize = true};

	rip_emit(u, T0, i->off);
	emit_load(&u->e, T1, FRAME(cpu));
	emit_store(&u->e, mem_at(T1, OF_CPU(fpu_ip)), T0);
	emit_op_mem(&u->e, store, 0, mem_at(T1, OF_CPU(fpu_opcode)));
	emit_imm(&u->e, i->a | (unsigned)i->c << 8, 2);
}

static void settle_operand(struct translation_unit *u)
{
	if (u->x87.operand != 0)
		operand_tell(u, u->x87.operand);
	u->x87.operand = 0;
}

void x87_settle(struct translation_unit *u)
{
	settle_operand(u);
	if (u->x87.place != 0)
		place_tell(u, u->x87.place);
	u->x87.place = 0;
}

/* General registers stay what they are, but for FNSTSW AX. */
static bool keeps_registers(const struct simd_row *row)
{
	return row != NULL && is_plain_x87(row) && row->exec != exec_fnstsw_ax;
}

void x87_before(struct translation_unit *u, bool ends)
{
	if (ends)
		x87_settle(u);
	else if (!keeps_registers(u->row))
		settle_operand(u);
}

void x87_detour(struct translation_unit *u, const struct detour *d)
{
	if (d->x87.operand == 0 && d->x87.place == 0)
		return;
	emit_store(&u->e, FRAME(x87_t0), T0);
	if (d->x87.operand != 0)
		operand_tell(u, d->x87.operand);
	if (d->x87.place != 0)
		place_tell(u, d->x87.place);
	emit_load(&u->e, T0, FRAME(x87_t0));
}

/* -- instructions ------------------------------------------------------------
 */

/* Only FNSTSW AX writes to a general register. */
static void itself(struct translation_unit *u, struct mem at)
{
	struct op op = {.map = MAP_1, .opcode = u->row->op};
	uint16_t wrote = u->e.wrote;

	if (u->i->flags & INSN_MEM) {
		emit_op_mem(&u->e, op, u->d.modrm >> 3 & 7, at);
	} else {
		emit_byte(&u->e, u->row->op);
		emit_byte(&u->e, u->d.modrm);
	}
	if (u->row->exec != exec_fnstsw_ax)
		u->e.wrote = wrote;
}

/* Its value may change while it is looked at: from a copy. Away when it does
   not mask all exceptions. */
static void control_word(struct translation_unit *u, struct mem at)
{
	struct op load = {.map = MAP_0F, .opcode = 0xb7};

	emit_op_mem(&u->e, load, T1, at); /* movzx */
	emit_store(&u->e, FRAME(scratch), T1);
	emit_not(&u->e, T1);
	emit_pext(&u->e, T1, T1, FRAME(x87_masks));
	go_or(u, AWAY_INTERP);
	itself(u, FRAME(scratch));
}

bool is_plain_x87(const struct simd_row *row)
{
	static const exec_fn plain[] = {
	    NULL,        exec_wait,      exec_fldcw, exec_fnstcw,
	    exec_fnstsw, exec_fnstsw_ax, exec_fnclex};
	bool is_wait = row->map == MAP_1 && row->op == 0x9b;

	if (SOFT_EAGER_LEAVE || !(row->attr & S_X87 || is_wait))
		return false;
	for (unsigned n = 0; n < ARRAY_SIZE(plain); n++)
		if (row->exec == plain[n])
			return true;
	return false;
}

bool translate_x87(struct translation_unit *u)
{
	const struct simd_row *row = u->row;
	struct mem at = {.base = HOST_NONE};
	bool mem = u->i->flags & INSN_MEM;

	if (!is_plain_x87(row) || (mem && !address_possible(u)))
		return false;
	if (mem)
		at = operand_emit(u,
				  (struct probe){.bytes = u->i->b,
						 .write = row->attr & S_WRITES,
						 .away = AWAY_INTERP});
	if (row->exec == exec_wait)
		return true;
	if (row->exec == exec_fldcw)
		control_word(u, at);
	else
		itself(u, at);
	if (row->exec != NULL)
		return true;
	u->x87.place = (uint16_t)(1 + u->k);
	if (mem)
		u->x87.operand = (uint16_t)(1 + u->k);
	return true;
}
