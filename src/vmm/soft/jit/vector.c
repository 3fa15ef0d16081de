// SPDX-License-Identifier: BSD-2-Clause
/*
 * Vector instructions (x86/opcodes_simd.def, opcodes_evex.def) as themselves.
 * What has a function of its own stays with tier 0 (x87: x87.c); so does a
 * memory operand with an opmask where the whole of it is not at hand.
 */
#include "vmm/soft/jit/rules.h"
#include "vmm/soft/jit/translate.h"

/* A block with such instructions looks once, at its beginning, that nothing
   is in the way of any of them. Then it stays so: who changes it in the
   middle does not come back (jit_interp). */
bool is_plain_vector(const struct simd_row *row)
{
	return row != NULL && row->exec == NULL && !(row->attr & S_X87) &&
	       !SOFT_EAGER_LEAVE;
}

static struct op vector_op(const struct translation_unit *u)
{
	const struct simd_row *row = u->row;

	return (struct op){
	    .map = row->map,
	    .prefix = row->pp,
	    .opcode = row->op,
	    .w = u->d.rex_w && !(u->is_32 && row->attr & (S_GREG | S_GRM)),
	    .vex = u->d.is_vex,
	    .vex_l = u->d.vector_len != 0,
	    .vvvv = row->attr & S_NDS ? u->d.vvvv : 0,
	    .evex = u->d.is_evex,
	    .z = u->d.z,
	    .b = u->d.b,
	    .ll = u->d.vector_len,
	    .aaa = u->d.aaa,
	};
}

static void immediates(struct translation_unit *u)
{
	if (u->row->attr & S_IMM8X2)
		emit_imm(&u->e,
			 u->d.bytes[u->d.len - 2] |
			     (uint64_t)u->d.bytes[u->d.len - 1] << 8,
			 2);
	else if (u->row->attr & S_IS4 && u->is_32)
		emit_imm(&u->e, u->d.imm8 & 0x7f, 1); /* it has 8 registers */
	else if (u->row->attr & (S_IMM8 | S_IS4))
		emit_imm(&u->e, u->d.imm8, 1);
}

/* A general register among the operands: its number, or HOST_NONE. */
static unsigned general(const struct translation_unit *u)
{
	bool mem = u->i->flags & INSN_MEM;

	if (u->row->attr & S_GREG)
		return u->d.reg;
	if (u->row->attr & S_GRM && !mem)
		return u->d.rm;
	return HOST_NONE;
}

bool translate_vector(struct translation_unit *u)
{
	const struct simd_row *row = u->row;
	bool mem = u->i->flags & INSN_MEM;
	unsigned guest = general(u), host = HOST_NONE;
	unsigned reg = row->ext >= 0 ? (unsigned)row->ext : u->d.reg;
	unsigned rm = u->d.rm;
	struct mem at = {.base = HOST_NONE};
	uint16_t wrote;

	if (!is_plain_vector(row) || (mem && !address_possible(u)))
		return false;
	if (mem)
		at = operand_emit(u,
				  (struct probe){.bytes = u->i->b,
						 .write = row->attr & S_WRITES,
						 .align = u->i->c,
						 .away = AWAY_INTERP});
	if (mem_names(at, T1) &&
	    (row->attr & S_STRING ||
	     (guest != HOST_NONE && host_of(guest) == HOST_NONE)))
		at = mem_in_t0(u, at);
	if (guest != HOST_NONE) {
		host = host_of(guest) == HOST_NONE ? T1 : host_of(guest);
		if (row->attr & S_GREG)
			reg = host;
		else
			rm = host;
		if (host == T1)
			emit_load(&u->e, T1, slot_of(guest));
	}
	wrote = u->e.wrote;
	if (row->attr & S_NOMODRM)
		emit_op_plain(&u->e, vector_op(u));
	else if (mem)
		emit_op_mem(&u->e, vector_op(u), reg, at);
	else
		emit_op_reg(&u->e, vector_op(u), reg, rm);
	immediates(u);
	u->e.wrote = (uint16_t)(wrote | (host != HOST_NONE ? 1u << host : 0));
	if (host == T1 && (row->attr & (S_GREG | S_GOUT)))
		emit_store(&u->e, slot_of(guest), T1);
	if (row->attr & S_STRING && row->op & 1) /* an index: PCMPxSTRI */
		emit_mov(&u->e, host_of(1), T1);
	return true;
}
