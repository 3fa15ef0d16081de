// SPDX-License-Identifier: BSD-2-Clause
/*
 * How each mnemonic is translated. Most instructions become themselves, with
 * other register numbers and another address: as_is(). The table says how
 * they use their operands; what has no line is tier 0's.
 */
#include "vmm/soft/jit/rules.h"

#include "vmm/cpuid.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/exec.h"
#include "vmm/soft/jit/translate.h"
#include "x86/features.h"

/* -- an instruction as itself
 * ----------------------------------------------------------- */

/* The three places a register operand can be named in, and what is there. */
enum place { PLACE_REG, PLACE_RM, PLACE_V, PLACES };

/* An operand in memory needs a REX prefix, so CL stands for AH, CH, DH, BH, or
   for what is in memory. */
enum { HIGH_NONE, HIGH_FROM_T1, HIGH_BY_T1 };

struct plan {
	uint8_t guest[PLACES], use[PLACES], host[PLACES];
	bool mem;
	bool count_in_cl;
	bool rcx_in_t1; /* of which CH is an operand: T1 is RCX */
	uint8_t high;   /* HIGH_: a high byte, and an operand in memory */
	struct op op;
	unsigned imm_bytes;
};

/* Which operand is where, by the table's operand forms. */
static bool plan_places(const struct translation_unit *u,
			const struct rule *rule, struct plan *p)
{
	p->guest[PLACE_REG] = u->d.reg;
	p->guest[PLACE_RM] = u->d.rm;
	p->guest[PLACE_V] = u->d.vvvv & 15;
	switch (u->o->operands) {
	case OPERANDS_E_G:
	case OPERANDS_E_G_I8:
	case OPERANDS_E_G_CL:
		p->use[PLACE_RM] = rule->first;
		p->use[PLACE_REG] = rule->second;
		break;
	case OPERANDS_G_E:
	case OPERANDS_G_E_I:
	case OPERANDS_G_E_I8:
		p->use[PLACE_REG] = rule->first;
		p->use[PLACE_RM] = rule->second;
		break;
	case OPERANDS_G_V_E:
		p->use[PLACE_REG] = rule->first;
		p->use[PLACE_V] = rule->second;
		p->use[PLACE_RM] = USE_R;
		break;
	case OPERANDS_G_E_V:
		p->use[PLACE_REG] = rule->first;
		p->use[PLACE_RM] = USE_R;
		p->use[PLACE_V] = USE_R;
		break;
	case OPERANDS_V_E:
		p->use[PLACE_V] = rule->first;
		p->use[PLACE_RM] = USE_R;
		break;
	case OPERANDS_E:
	case OPERANDS_E_I:
	case OPERANDS_E_I8:
	case OPERANDS_E_1:
	case OPERANDS_E_CL:
		p->use[PLACE_RM] = rule->first;
		break;
	default:
		return false;
	}
	return true;
}

static unsigned plan_imm(const struct translation_unit *u)
{
	switch (u->o->operands) {
	case OPERANDS_E_I:
	case OPERANDS_G_E_I:
	case OPERANDS_A_I:
		return u->i->lsize == 3 ? 4 : 1u << u->i->lsize;
	case OPERANDS_E_I8:
	case OPERANDS_E_G_I8:
	case OPERANDS_G_E_I8:
		return 1;
	default:
		return 0;
	}
}

/* 64-bit code has no second encoding of 80 /n, and other bytes where INC and
   DEC of a register were. */
static uint8_t opcode_of(const struct opcode *o)
{
	if (!(o->attr & OP_NO64))
		return o->op;
	return o->op == 0x82 ? 0x80 : 0xff;
}

static struct op plan_op(const struct translation_unit *u)
{
	const struct opcode *o = u->o;
	bool byte = o->attr & OP_BYTE;

	return (struct op){
	    .map = o->map,
	    .prefix = o->pp == PP_ANY ? 0 : o->pp,
	    .opcode = opcode_of(o),
	    .opsize = !byte && u->i->lsize == 1 && o->pp != PP_66 &&
		      !(o->attr & OP_VEX),
	    .lock = u->i->flags & INSN_LOCK,
	    .w = !byte && u->i->lsize == 3,
	    .byte_reg = byte,
	    .byte_rm = o->attr & (OP_BYTE | OP_BYTE_SRC),
	    .vex = o->attr & OP_VEX,
	};
}

static bool plan_high_and_memory(struct plan *p)
{
	bool is_ch = p->guest[PLACE_REG] == 5;

	if (p->use[PLACE_REG] == USE_R)
		p->high = HIGH_FROM_T1;
	else if (p->use[PLACE_RM] == USE_R && !is_ch)
		p->high = HIGH_BY_T1;
	p->host[PLACE_REG] = p->high == HIGH_BY_T1 ? p->guest[PLACE_REG] : T1;
	return p->high != HIGH_NONE;
}

/* AH, CH, DH, BH: where no operand needs a REX prefix. */
static bool plan_high_bytes(const struct translation_unit *u, struct plan *p)
{
	bool high_a = u->i->a % 8 == 1, high_b = u->i->b % 8 == 1;
	bool reg_is_a = u->o->operands == OPERANDS_G_E;
	bool high_reg = p->use[PLACE_REG] && (reg_is_a ? high_a : high_b);
	bool high_rm =
	    p->use[PLACE_RM] && !p->mem && (reg_is_a ? high_b : high_a);

	if (!high_reg && !high_rm)
		return true;
	if (p->mem)
		return plan_high_and_memory(p);
	if (p->op.w)
		return false;
	for (unsigned n = PLACE_REG; n <= PLACE_RM; n++) {
		bool high = n == PLACE_REG ? high_reg : high_rm;
		bool is_rcx = p->guest[n] == (high ? 5 : 1);

		if (p->use[n] == USE_NONE)
			continue;
		if (is_rcx && p->count_in_cl)
			return false;
		if (!high && !is_rcx && host_of(p->guest[n]) >= 8)
			return false;
		p->rcx_in_t1 |= is_rcx;
		p->host[n] = high || is_rcx ? p->guest[n]
					    : (uint8_t)host_of(p->guest[n]);
	}
	p->op.no_rex = true;
	return true;
}

/* What host registers there are was said by plan_high_bytes(). */
static bool has_high_bytes(const struct plan *p)
{
	return p->op.no_rex || p->high != HIGH_NONE;
}

/* Which guest registers lie in memory, and which host registers they get. */
static bool plan_registers(struct plan *p)
{
	unsigned free[2] = {T0, T1}, used = p->mem ? 1 : 0;

	if (p->count_in_cl) {
		if (p->mem)
			used = 2;
		else
			free[1] = HOST_NONE;
	}
	for (unsigned n = 0; n < PLACES; n++) {
		unsigned host;

		if (p->use[n] == USE_NONE || (n == PLACE_RM && p->mem) ||
		    has_high_bytes(p))
			continue;
		host = host_of(p->guest[n]);
		for (unsigned m = 0; m < n && host == HOST_NONE; m++)
			if (p->use[m] != USE_NONE &&
			    !(m == PLACE_RM && p->mem) &&
			    p->guest[m] == p->guest[n])
				host = p->host[m];
		if (host == HOST_NONE) {
			if (used == 2 || free[used] == HOST_NONE)
				return false;
			host = free[used++];
		}
		p->host[n] = (uint8_t)host;
	}
	return true;
}

static bool plan(const struct translation_unit *u, const struct rule *rule,
		 struct plan *p)
{
	*p = (struct plan){.mem = u->i->flags & INSN_MEM,
			   .op = plan_op(u),
			   .imm_bytes = plan_imm(u)};
	p->count_in_cl = u->o->operands == OPERANDS_E_CL ||
			 u->o->operands == OPERANDS_E_G_CL;
	if (!plan_places(u, rule, p))
		return false;
	if (p->mem && !address_possible(u))
		return false;
	return plan_high_bytes(u, p) && plan_registers(p);
}

static bool in_memory(const struct plan *p, unsigned n)
{
	return p->use[n] != USE_NONE && !(n == PLACE_RM && p->mem) &&
	       !has_high_bytes(p) && host_of(p->guest[n]) == HOST_NONE;
}

unsigned rule_bytes(const struct rule *rule, const struct insn *i)
{
	if (opcode_table[i->op].attr & (OP_BYTE | OP_BYTE_SRC))
		return 1;
	return rule != NULL && rule->bytes != 0 ? rule->bytes : 1u << i->lsize;
}

/* What they write is always written, and with 32 bits the others are 0. */
static bool leaves_narrow(const struct handler *h)
{
	return h == &h_mov || h == &h_movzxb || h == &h_movzxw || h == &h_add ||
	       h == &h_adc || h == &h_sub || h == &h_sbb || h == &h_and ||
	       h == &h_or || h == &h_xor;
}

static void note_narrow(struct translation_unit *u, const struct plan *p)
{
	for (unsigned n = PLACE_REG; n <= PLACE_RM; n++)
		if (p->use[n] & USE_W && !(n == PLACE_RM && p->mem) &&
		    host_of(p->guest[n]) != HOST_NONE)
			u->e.narrow |= (uint16_t)(1u << host_of(p->guest[n]));
}

/* The high byte goes to T1, or what is in memory does, and is a register. */
static void high_emit(struct translation_unit *u, struct plan *p,
		      struct mem mem)
{
	struct op movzx = {.map = MAP_0F, .opcode = 0xb6};
	unsigned high = p->guest[PLACE_REG];

	if (p->high == HIGH_BY_T1) {
		emit_op_mem(&u->e, movzx, T1, mem);
		p->mem = false;
		p->host[PLACE_RM] = T1;
		p->op.no_rex = true;
	} else if (high == 5) {
		emit_rorx(&u->e, T1, host_of(1), 8);
	} else {
		movzx.no_rex = true;
		emit_op_reg(&u->e, movzx, T1, high);
	}
}

static void plan_emit(struct translation_unit *u, const struct rule *rule,
		      struct plan *p)
{
	struct emit *e = &u->e;
	struct mem mem = {.base = HOST_NONE};
	bool wants_t1 = p->count_in_cl || p->high == HIGH_FROM_T1;
	unsigned reg;

	if (p->mem)
		mem = operand_emit(
		    u, (struct probe){.bytes = (uint8_t)rule_bytes(rule, u->i),
				      .write = p->use[PLACE_RM] & USE_W,
				      .away = AWAY_INTERP});
	for (unsigned n = 0; n < PLACES; n++)
		wants_t1 |= in_memory(p, n);
	if (p->mem && wants_t1 && mem_names(mem, T1))
		mem = mem_in_t0(u, mem);
	/* A write of 32 bits or more leaves nothing of what was there. */
	for (unsigned n = 0; n < PLACES; n++)
		if (in_memory(p, n) && (p->use[n] & USE_R || u->i->lsize < 2))
			emit_load(e, p->host[n], slot_of(p->guest[n]));
	if (p->count_in_cl)
		emit_mov32(e, T1, host_of(1));
	if (p->rcx_in_t1)
		emit_mov(e, T1, host_of(1));
	if (p->high != HIGH_NONE)
		high_emit(u, p, mem);
	reg = u->o->ext >= 0 ? (unsigned)u->o->ext : p->host[PLACE_REG];
	p->op.byte_reg &= u->o->ext < 0;
	p->op.vvvv = p->host[PLACE_V];
	if (p->mem)
		emit_op_mem(e, p->op, reg, mem);
	else
		emit_op_reg(e, p->op, reg, p->host[PLACE_RM]);
	emit_imm(e, (uint64_t)u->i->imm, p->imm_bytes);
	for (unsigned n = 0; n < PLACES; n++)
		if (in_memory(p, n) && p->use[n] & USE_W)
			emit_store(e, slot_of(p->guest[n]), p->host[n]);
	if (p->rcx_in_t1 && (p->use[PLACE_REG] | p->use[PLACE_RM]) & USE_W)
		emit_mov(e, host_of(1), T1);
	if (u->i->lsize == 2 && leaves_narrow(u->o->handler))
		note_narrow(u, p);
}

static bool as_is(struct translation_unit *u, const struct rule *rule)
{
	struct plan p;

	if (!plan(u, rule, &p))
		return false;
	plan_emit(u, rule, &p);
	return true;
}

/* Operands are implied, of the accumulator, or immediate. */
static bool plain(struct translation_unit *u, const struct rule *rule)
{
	struct op op = plan_op(u);

	emit_op_plain(&u->e, op);
	emit_imm(&u->e, (uint64_t)u->i->imm, plan_imm(u));
	return true;
}

/* What tier 0 finds out when it runs the instruction (64-bit mode). */
static bool model_has(const struct translation_unit *u,
		      enum x86_feature feature)
{
	return cpu_model_has(u->c->svm->vm->cpu_model, feature);
}

static bool flags_in_ah(struct translation_unit *u, const struct rule *rule)
{
	if (!u->is_32 && !model_has(u, X86_FEATURE_LAHF_LM))
		return false;
	return plain(u, rule);
}

static bool as_is_or_plain(struct translation_unit *u, const struct rule *rule)
{
	return u->o->operands == OPERANDS_A_I ? plain(u, rule) : as_is(u, rule);
}

/* 32-bit code has a short form of them, for registers. */
static bool inc_dec(struct translation_unit *u, const struct rule *rule)
{
	if (u->o->operands != OPERANDS_R)
		return as_is(u, rule);
	emit_op_reg(&u->e, plan_op(u), u->o->handler == &h_dec,
		    host_of(u->i->a / 8));
	return true;
}

/* A bit string in memory reaches beyond its operand. */
static bool bit_test(struct translation_unit *u, const struct rule *rule)
{
	if (u->i->flags & INSN_MEM && u->o->operands == OPERANDS_E_G)
		return translate_bit_string(u, rule);
	return as_is(u, rule);
}

/* MOVSXD, ADOX: the 66 prefix does not make the operand in memory smaller. */
static bool wide(struct translation_unit *u, const struct rule *rule)
{
	return u->i->lsize != 1 && as_is(u, rule);
}

static bool nothing(struct translation_unit *u, const struct rule *rule)
{
	return true;
}

static bool fence(struct translation_unit *u, const struct rule *rule)
{
	emit_op_reg(&u->e, (struct op){.map = MAP_0F, .opcode = 0xae},
		    (unsigned)u->o->ext, 0);
	return true;
}

/* -- moves
 * ---------------------------------------------------------------------- */

/* To AH, CH, DH or BH. */
static bool mov_immediate_high(struct translation_unit *u)
{
	unsigned guest = u->i->a / 8;

	if (guest == 1)
		emit_mov(&u->e, T1, host_of(1));
	emit_op_reg(&u->e,
		    (struct op){.map = MAP_1, .opcode = 0xc6, .no_rex = true},
		    0, guest + 4);
	emit_imm(&u->e, (uint64_t)u->i->imm, 1);
	if (guest == 1)
		emit_mov(&u->e, host_of(1), T1);
	return true;
}

static bool mov_immediate(struct translation_unit *u)
{
	const struct insn *i = u->i;
	unsigned guest = i->a / 8, host;

	if (i->lsize < 2) {
		if (i->a % 8 != 0)
			return mov_immediate_high(u);
		host = low_register(u, guest, true);
		emit_op_reg(&u->e,
			    (struct op){.map = MAP_1,
					.opcode = i->lsize == 0 ? 0xc6 : 0xc7,
					.opsize = i->lsize == 1,
					.byte_rm = i->lsize == 0},
			    0, host);
		emit_imm(&u->e, (uint64_t)i->imm, 1u << i->lsize);
	} else {
		host = low_register(u, guest, false);
		emit_mov_imm(&u->e, host,
			     i->lsize == 2 ? (uint32_t)i->imm
					   : (uint64_t)i->imm);
	}
	low_register_done(u, guest);
	return true;
}

static bool mov_offset(struct translation_unit *u)
{
	bool write = u->o->operands == OPERANDS_MOFFS_A;
	bool byte = u->i->lsize == 0;
	struct mem mem;

	if (!address_possible(u))
		return false;
	mem = operand_emit(u,
			   (struct probe){.bytes = (uint8_t)(1u << u->i->lsize),
					  .write = write,
					  .away = AWAY_INTERP});
	emit_op_mem(
	    &u->e,
	    (struct op){.map = MAP_1,
			.opcode = (uint8_t)((write ? 0x88 : 0x8a) + !byte),
			.opsize = u->i->lsize == 1,
			.w = u->i->lsize == 3},
	    HOST_RAX, mem);
	return true;
}

static bool mov(struct translation_unit *u, const struct rule *rule)
{
	switch (u->o->operands) {
	case OPERANDS_R_I:
	case OPERANDS_R_I64:
		return mov_immediate(u);
	case OPERANDS_A_MOFFS:
	case OPERANDS_MOFFS_A:
		return mov_offset(u);
	default:
		return as_is(u, rule);
	}
}

static bool lea(struct translation_unit *u, const struct rule *rule)
{
	unsigned guest = u->d.reg, host = host_of(guest);

	if (!address_possible(u))
		return false;
	if (u->i->lsize == u->i->asize && host != HOST_NONE) {
		offset_emit(u, host);
		if (u->i->lsize == 2)
			u->e.narrow |= (uint16_t)(1u << host);
		return true;
	}
	offset_emit(u, T0);
	if (host == HOST_NONE)
		emit_load(&u->e, T1, slot_of(guest));
	emit_op_reg(&u->e,
		    (struct op){.map = MAP_1,
				.opcode = 0x8b,
				.opsize = u->i->lsize == 1,
				.w = u->i->lsize == 3},
		    host == HOST_NONE ? T1 : host, T0);
	if (host == HOST_NONE)
		emit_store(&u->e, slot_of(guest), T1);
	return true;
}

static bool xchg(struct translation_unit *u, const struct rule *rule)
{
	unsigned guest = u->i->a / 8, host;

	if (u->o->operands != OPERANDS_R_A)
		return as_is(u, rule);
	if (u->i->exec == h_nop.one)
		return true;
	host = low_register(u, guest, true);
	emit_op_reg(&u->e,
		    (struct op){.map = MAP_1,
				.opcode = 0x87,
				.opsize = u->i->lsize == 1,
				.w = u->i->lsize == 3},
		    HOST_RAX, host);
	low_register_done(u, guest);
	return true;
}

static bool bswap(struct translation_unit *u, const struct rule *rule)
{
	unsigned guest = u->i->a / 8, host;

	if (u->i->lsize < 2)
		return false;
	host = low_register(u, guest, true);
	emit_op_low(
	    &u->e,
	    (struct op){.map = MAP_0F, .opcode = 0xc8, .w = u->i->lsize == 3},
	    host);
	low_register_done(u, guest);
	return true;
}

/* CMPXCHG8B, CMPXCHG16B: ECX:EBX is RCX too, so the address is one register. */
static bool cmpxchg8b(struct translation_unit *u, const struct rule *rule)
{
	bool wide = u->i->lsize == 3;
	struct op op = plan_op(u);
	struct mem mem;

	if (!address_possible(u) || (wide && !model_has(u, X86_FEATURE_CX16)))
		return false;
	mem = operand_emit(u, (struct probe){.bytes = wide ? 16 : 8,
					     .write = true,
					     .align = wide ? 15 : 0,
					     .away = AWAY_INTERP});
	if (mem_names(mem, T1))
		mem = mem_in_t0(u, mem);
	emit_mov(&u->e, T1, host_of(1));
	op.opsize = false;
	emit_op_mem(&u->e, op, 1, mem);
	return true;
}

/* Away unless T1 is 0, of which all bits count, or unless it is not. */
static void divide_check(struct translation_unit *u, bool want_zero)
{
	uint8_t *zero;

	if (!want_zero) {
		detour_add(u, AWAY_INTERP, emit_jrcxz_far(&u->e), 0);
		return;
	}
	zero = emit_jrcxz(&u->e);
	detour_add(u, AWAY_INTERP, emit_jmp(&u->e), 0);
	emit_here8(&u->e, zero);
}

/*
 * DIV and IDIV, where they cannot fault: the dividend is its lower half,
 * extended, and the divisor is not 0, nor -1.
 */
static bool divide(struct translation_unit *u, const struct rule *rule)
{
	bool is_signed = u->o->ext == 7, wide = u->i->lsize == 3;
	struct emit *e = &u->e;
	struct op move = {.map = MAP_1, .opcode = 0x8b, .w = wide};
	struct op lea = {.map = MAP_1, .opcode = 0x8d, .w = wide};

	if (u->i->lsize < 2 || (u->i->flags & INSN_MEM && !address_possible(u)))
		return false;
	if (is_signed) {
		emit_pext(e, T0, HOST_RAX,
			  wide ? FRAME(sign_64) : FRAME(sign_32));
		emit_op_mem(e, lea, T1, mem_index(T0, HOST_RDX, 0, 0));
	} else {
		emit_op_reg(e, move, T1, HOST_RDX);
	}
	divide_check(u, true);
	if (u->i->flags & INSN_MEM)
		emit_op_mem(
		    e, move, T0,
		    operand_emit(u, (struct probe){.bytes = wide ? 8 : 4,
						   .away = AWAY_INTERP}));
	else if (host_of(u->d.rm) == HOST_NONE)
		emit_load(e, T0, slot_of(u->d.rm));
	else
		emit_mov(e, T0, host_of(u->d.rm));
	emit_op_reg(e, move, T1, T0);
	divide_check(u, false);
	if (is_signed) {
		emit_op_mem(e, lea, T1, mem_at(T0, 1));
		divide_check(u, false);
	}
	emit_op_reg(e, plan_op(u), (unsigned)u->o->ext, T0);
	return true;
}

/* -- the table
 * ------------------------------------------------------------------ */

#define RULE(name, translate, first, second, bytes)                            \
	{&h_##name, translate, USE_##first, USE_##second, bytes},
#define RULE_SET(cc)  RULE(set##cc, as_is, W, NONE, 0)
#define RULE_CMOV(cc) RULE(cmov##cc, as_is, RW, R, 0)
#define RULE_J(cc)    RULE(j##cc, translate_jcc, NONE, NONE, 0)

// clang-format off
const struct rule rules[] = {
	/* mnemonic, translation, use of operands 1 and 2, bytes in memory */
	RULE(add, as_is_or_plain, RW, R, 0)
	RULE(or, as_is_or_plain, RW, R, 0)
	RULE(adc, as_is_or_plain, RW, R, 0)
	RULE(sbb, as_is_or_plain, RW, R, 0)
	RULE(and, as_is_or_plain, RW, R, 0)
	RULE(sub, as_is_or_plain, RW, R, 0)
	RULE(xor, as_is_or_plain, RW, R, 0)
	RULE(cmp, as_is_or_plain, R, R, 0)
	RULE(test, as_is_or_plain, R, R, 0)
	RULE(inc, inc_dec, RW, NONE, 0)
	RULE(dec, inc_dec, RW, NONE, 0)
	RULE(not, as_is, RW, NONE, 0)
	RULE(neg, as_is, RW, NONE, 0)
	RULE(mul, as_is, R, NONE, 0)
	RULE(imul1, as_is, R, NONE, 0)
	RULE(div, divide, R, NONE, 0)
	RULE(idiv, divide, R, NONE, 0)
	RULE(imul, as_is, RW, R, 0)
	RULE(imul3, as_is, W, R, 0)
	RULE(cbw, plain, NONE, NONE, 0)
	RULE(cwd, plain, NONE, NONE, 0)
	RULE(adcx, wide, RW, R, 0)
	RULE(adox, wide, RW, R, 0)
	RULE(rol, as_is, RW, NONE, 0)
	RULE(ror, as_is, RW, NONE, 0)
	RULE(rcl, as_is, RW, NONE, 0)
	RULE(rcr, as_is, RW, NONE, 0)
	RULE(shl, as_is, RW, NONE, 0)
	RULE(shr, as_is, RW, NONE, 0)
	RULE(sar, as_is, RW, NONE, 0)
	RULE(shld, as_is, RW, R, 0)
	RULE(shrd, as_is, RW, R, 0)
	RULE(rorx, as_is, W, R, 0)
	RULE(sarx, as_is, W, R, 0)
	RULE(shlx, as_is, W, R, 0)
	RULE(shrx, as_is, W, R, 0)
	RULE(bt, bit_test, R, R, 0)
	RULE(bts, bit_test, RW, R, 0)
	RULE(btr, bit_test, RW, R, 0)
	RULE(btc, bit_test, RW, R, 0)
	RULE(popcnt, as_is, RW, R, 0)
	RULE(tzcnt, as_is, RW, R, 0)
	RULE(lzcnt, as_is, RW, R, 0)
	RULE(bsf, as_is, RW, R, 0)
	RULE(bsr, as_is, RW, R, 0)
	RULE(andn, as_is, W, R, 0)
	RULE(blsr, as_is, W, R, 0)
	RULE(blsmsk, as_is, W, R, 0)
	RULE(blsi, as_is, W, R, 0)
	RULE(bextr, as_is, W, R, 0)
	RULE(bzhi, as_is, W, R, 0)
	RULE(pext, as_is, W, R, 0)
	RULE(pdep, as_is, W, R, 0)
	RULE(mulx, as_is, W, W, 0)
	RULE(crc32b, as_is, RW, R, 0)
	RULE(crc32, as_is, RW, R, 0)
	RULE(bswap, bswap, RW, NONE, 0)
	RULE(mov, mov, W, R, 0)
	RULE(lea, lea, W, NONE, 0)
	RULE(movsxd, wide, W, R, 4)
	RULE(movzxb, as_is, RW, R, 0)
	RULE(movzxw, as_is, RW, R, 2)
	RULE(movsxb, as_is, RW, R, 0)
	RULE(movsxw, as_is, RW, R, 2)
	RULE(movbe, as_is, W, R, 0)
	RULE(movnti, as_is, W, R, 0)
	CONDITIONS(RULE_SET)
	CONDITIONS(RULE_CMOV)
	RULE(xchg, xchg, RW, RW, 0)
	RULE(xadd, as_is, RW, RW, 0)
	RULE(cmpxchg, as_is, RW, R, 0)
	RULE(cmpxchg8b, cmpxchg8b, RW, NONE, 0)
	RULE(push, translate_push, R, NONE, 0)
	RULE(pop, translate_pop, W, NONE, 0)
	RULE(leave, translate_leave, NONE, NONE, 0)
	RULE(sahf, flags_in_ah, NONE, NONE, 0)
	RULE(lahf, flags_in_ah, NONE, NONE, 0)
	RULE(cmc, plain, NONE, NONE, 0)
	RULE(clc, plain, NONE, NONE, 0)
	RULE(stc, plain, NONE, NONE, 0)
	RULE(cli, translate_cli, NONE, NONE, 0)
	RULE(sti, translate_sti, NONE, NONE, 0)
	RULE(cld, translate_cld, NONE, NONE, 0)
	RULE(clac, translate_clac, NONE, NONE, 0)
	RULE(stac, translate_stac, NONE, NONE, 0)
	RULE(pushf, translate_pushf, NONE, NONE, 0)
	RULE(rdtsc, translate_rdtsc, NONE, NONE, 0)
	RULE(swapgs, translate_swapgs, NONE, NONE, 0)
	RULE(movfromseg, translate_movfromseg, W, NONE, 2)
	RULE(movfromcr, translate_movfromcr, W, NONE, 0)
	RULE(nop, nothing, NONE, NONE, 0)
	RULE(fence, fence, NONE, NONE, 0)
	CONDITIONS(RULE_J)
	RULE(stos, translate_stos, NONE, NONE, 0)
	RULE(movs, translate_movs, NONE, NONE, 0)
	RULE(jcxz, translate_jcxz, NONE, NONE, 0)
	RULE(loop, translate_loop, NONE, NONE, 0)
	RULE(loope, translate_loop, NONE, NONE, 0)
	RULE(loopne, translate_loop, NONE, NONE, 0)
	RULE(jmp, translate_jmp, NONE, NONE, 0)
	RULE(call, translate_call, NONE, NONE, 0)
	RULE(jmpn, translate_jump_indirect, R, NONE, 0)
	RULE(calln, translate_call_indirect, R, NONE, 0)
	RULE(ret, translate_ret, NONE, NONE, 0)
	RULE(syscall, translate_system, NONE, NONE, 0)
	RULE(sysret, translate_system, NONE, NONE, 0)
	RULE(iret, translate_system, NONE, NONE, 0)
	RULE(popf, translate_system, NONE, NONE, 0)
	RULE(movtoseg, translate_system, NONE, NONE, 0)
	RULE(movtocr, translate_system, NONE, NONE, 0)
	RULE(clts, translate_system, NONE, NONE, 0)
	RULE(wrmsr, translate_system, NONE, NONE, 0)
	RULE(invlpg, translate_system, NONE, NONE, 0)
	RULE(invpcid, translate_system, NONE, NONE, 0)
	RULE(pause, translate_system, NONE, NONE, 0)
	{NULL, NULL, 0, 0, 0},
};
// clang-format on

unsigned rule_find(const struct handler *handler)
{
	for (unsigned n = 0; rules[n].handler != NULL; n++)
		if (rules[n].handler == handler)
			return n;
	return RULE_NONE;
}
