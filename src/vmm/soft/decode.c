/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes to instructions, by src/x86/opcodes.def (SDM vol. 2, chapter 2 and
 * appendix A). What the table does not have is looked up among the vector
 * instructions, and else is #UD.
 */
#include "vmm/soft/decode.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/cpuid.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/native.h"
#include "vmm/soft/simd.h"
#include "x86/features.h"

/* -- the table --------------------------------------------------------------
 */

#define NONE     0
#define LOCK     OP_LOCK
#define D64      OP_D64
#define F64      OP_F64
#define NO64     OP_NO64
#define ONLY64   OP_ONLY64
#define CPL0     OP_CPL0
#define END      OP_END
#define BYTE     OP_BYTE
#define BYTE_SRC OP_BYTE_SRC
#define REP      OP_REP
#define MEM      OP_MEM
#define REG      OP_REG
#define RM       OP_RM
#define PM       OP_PM
#define VEX      OP_VEX
#define ELSE     OP_ELSE
#define NOREP    OP_NOREP

const struct opcode opcode_table[] = {
#define OP(name, map, pp, op, ext, operands, attr, feature)                    \
	{#name,                                                                \
	 MAP_##map,                                                            \
	 PP_##pp,                                                              \
	 op,                                                                   \
	 OPERANDS_##operands,                                                  \
	 ext,                                                                  \
	 X86_FEATURE_##feature,                                                \
	 attr,                                                                 \
	 &h_##name},
#include "x86/opcodes.def"
#undef OP
};

#undef NONE
#undef LOCK
#undef D64
#undef F64
#undef NO64
#undef ONLY64
#undef CPL0
#undef END
#undef BYTE
#undef BYTE_SRC
#undef REP
#undef MEM
#undef REG
#undef RM
#undef PM
#undef VEX
#undef ELSE
#undef NOREP

const unsigned opcode_count = ARRAY_SIZE(opcode_table);

struct opcode_index {
	uint16_t first[MAP_COUNT][256];          /* row + 1, or 0 */
	uint16_t next[ARRAY_SIZE(opcode_table)]; /* row + 1, or 0 */
};

struct opcode_index *opcode_index_create(void)
{
	struct opcode_index *index = calloc(1, sizeof(*index));

	if (index == NULL)
		return NULL;
	for (unsigned row = opcode_count; row-- > 0;) {
		const struct opcode *o = &opcode_table[row];

		index->next[row] = index->first[o->map][o->op];
		index->first[o->map][o->op] = (uint16_t)(row + 1);
	}
	return index;
}

/* -- one instruction ----------------------------------------------------------
 */

/* Bytes are read one by one; what is wrong shows in error, at the end. */
struct decoder {
	const uint8_t *bytes;
	unsigned avail, pos;
	int error;
	unsigned code_size; /* 2, 4, 8 */
	bool rex_present, lock, opsize, adsize;
	uint8_t rep; /* 0, F2, F3 */
	uint8_t rex; /* W R X B in bits 3:0, also from VEX */
	int seg;     /* override, or -1 */
	uint8_t modrm_mod;
	struct insn *i;
	struct dec *d;
};

RACES_ALLOWED static uint8_t get8(struct decoder *s)
{
	if (s->pos >= s->avail) {
		if (s->error == 0)
			s->error = s->avail >= 15 ? -E2BIG : -EAGAIN;
		return 0;
	}
	return s->bytes[s->pos++];
}

/* A little-endian number of 1, 2, 4 or 8 bytes, sign-extended. */
static int64_t get_signed(struct decoder *s, unsigned len)
{
	uint64_t value = 0;

	for (unsigned n = 0; n < len; n++)
		value |= (uint64_t)get8(s) << (8 * n);
	return len == 8 ? (int64_t)value
			: (int64_t)(value << (64 - 8 * len)) >> (64 - 8 * len);
}

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

/* Reads prefixes; returns the first byte that is none. */
static uint8_t get_prefixes(struct decoder *s)
{
	for (;;) {
		uint8_t byte = get8(s);

		if (s->error != 0)
			return 0;
		switch (byte) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			/* 64-bit code has none but FS and GS, and these stay.
			 */
			if (s->code_size != 8)
				s->seg = byte >> 3 & 3;
			break;
		case 0x64:
		case 0x65:
			s->seg = byte - 0x64 + SEG_FS;
			break;
		case 0x66:
			s->opsize = true;
			break;
		case 0x67:
			s->adsize = true;
			break;
		case 0xf0:
			s->lock = true;
			break;
		case 0xf2:
		case 0xf3:
			s->rep = byte;
			break;
		default:
			if (s->code_size != 8 || (byte & 0xf0) != 0x40)
				return byte;
			/* REX counts only right before the opcode. */
			s->rex = byte & 15;
			s->rex_present = true;
			byte = s->pos < s->avail ? s->bytes[s->pos] : 0;
			if (byte != 0x26 && byte != 0x2e && byte != 0x36 &&
			    byte != 0x3e && (byte & 0xfc) != 0x64 &&
			    byte != 0xf0 && (byte & 0xfe) != 0xf2 &&
			    (byte & 0xf0) != 0x40)
				return get8(s);
			s->rex = 0;
			s->rex_present = false;
		}
	}
}

/* VEX and EVEX (SDM vol. 2, 2.3, 2.7): false means #UD. */
static bool get_vex(struct decoder *s, uint8_t first)
{
	static const uint8_t prefix[4] = {0, 0x66, 0xf3, 0xf2};
	struct dec *d = s->d;
	uint8_t p1, p2, p3;

	if (s->lock || s->rep != 0 || s->opsize || s->rex_present)
		return false;
	p1 = get8(s);
	if (first == 0xc5) {
		s->rex = p1 & 0x80 ? 0 : REX_R;
		d->map = MAP_0F;
		p2 = p1 & 0x7f;
	} else {
		unsigned map = p1 & (first == 0x62 ? 7 : 31);

		if (map < 1 || map > 3)
			return false;
		d->map = (uint8_t)map;
		s->rex = (uint8_t)(~p1 >> 5 & 7);
		p2 = get8(s);
		if (p2 & 0x80)
			s->rex |= REX_W;
	}
	d->is_vex = true;
	d->pp = prefix[p2 & 3];
	d->vvvv = ~p2 >> 3 & 15;
	d->vector_len = p2 >> 2 & 1;
	d->rex_w = (s->rex & REX_W) != 0;
	if (first == 0x62) {
		if ((p1 & 8) != 0 || (p2 & 4) == 0)
			return false;
		p3 = get8(s);
		d->is_evex = true;
		d->evex_r2 = ~p1 >> 4 & 1;
		d->vvvv |= (~p3 >> 3 & 1) << 4;
		d->vector_len = p3 >> 5 & 3;
		d->aaa = p3 & 7;
		d->z = p3 >> 7;
		d->b = p3 >> 4 & 1;
	}
	if (s->code_size != 8) {
		if (d->vvvv & 16)
			return false; /* EVEX.V' is not ignored */
		d->evex_r2 = 0;
		d->vvvv3 = (d->vvvv & 8) != 0;
		d->vvvv &= 7;
		s->rex &= REX_W;
	}
	d->reg = s->rex & REX_R ? 8 : 0; /* with ModRM there is more of it */
	return true;
}

/* Is the byte after C4, C5, 62 a VEX prefix, and not LES, LDS, BOUND? */
static bool is_vex(const struct decoder *s, uint8_t byte)
{
	if (byte != 0xc4 && byte != 0xc5 && byte != 0x62)
		return false;
	return s->code_size == 8 ||
	       (s->pos < s->avail && s->bytes[s->pos] >= 0xc0);
}

static void get_opcode(struct decoder *s, uint8_t byte)
{
	struct dec *d = s->d;

	if (byte != 0x0f) {
		d->map = MAP_1;
	} else {
		byte = get8(s);
		d->map = MAP_0F;
		if (byte == 0x38 || byte == 0x3a) {
			d->map = byte == 0x38 ? MAP_0F38 : MAP_0F3A;
			byte = get8(s);
		}
	}
	d->opcode = byte;
	d->pp = s->rep != 0 ? s->rep : s->opsize ? 0x66 : 0;
	d->rex_w = (s->rex & REX_W) != 0;
}

/* -- finding the row ----------------------------------------------------------
 */

static bool operands_have_modrm(unsigned operands)
{
	switch (operands) {
	case OPERANDS_E:
	case OPERANDS_E_G:
	case OPERANDS_G_E:
	case OPERANDS_E_I:
	case OPERANDS_E_I8:
	case OPERANDS_E_1:
	case OPERANDS_E_CL:
	case OPERANDS_E_G_I8:
	case OPERANDS_E_G_CL:
	case OPERANDS_G_E_I:
	case OPERANDS_G_E_I8:
	case OPERANDS_G_V_E:
	case OPERANDS_G_E_V:
	case OPERANDS_V_E:
	case OPERANDS_E_S:
	case OPERANDS_S_E:
	case OPERANDS_CR:
		return true;
	default:
		return false;
	}
}

static bool row_has_modrm(const struct opcode *o)
{
	return o->ext >= 0 || operands_have_modrm(o->operands);
}

static bool row_matches(const struct opcode *o, const struct dec *d,
			const struct decoder *s, uint8_t modrm)
{
	if (((o->attr & OP_VEX) != 0) != d->is_vex || d->is_evex)
		return false;
	if (o->pp != PP_ANY && o->pp != d->pp)
		return false;
	if ((o->attr & OP_NO64) && s->code_size == 8)
		return false;
	if ((o->attr & OP_ONLY64) && s->code_size != 8)
		return false;
	if ((o->attr & OP_NOREP) && s->rep != 0)
		return false;
	/* F3 90 is PAUSE, but with REX.B it is XCHG with R8. */
	if (o->handler == &h_pause && (s->rex & REX_B))
		return false;
	if (o->attr & OP_RM)
		return o->ext == modrm;
	if (o->ext >= 0 && o->ext != (modrm >> 3 & 7))
		return false;
	if ((o->attr & OP_MEM) && modrm >= 0xc0)
		return false;
	return !((o->attr & OP_REG) && modrm < 0xc0);
}

/* The next byte is the ModRM byte, if the opcode has one. */
RACES_ALLOWED static const struct opcode *find_row(const struct cpu *c,
						   struct decoder *s)
{
	const struct opcode_index *index = c->svm->opcodes;
	bool known = s->pos < s->avail;
	uint8_t modrm = known ? s->bytes[s->pos] : 0;

	for (unsigned row = index->first[s->d->map][s->d->opcode]; row != 0;
	     row = index->next[row - 1]) {
		const struct opcode *o = &opcode_table[row - 1];

		if (!known && row_has_modrm(o)) {
			get8(s); /* sets the error */
			return NULL;
		}
		if (row_matches(o, s->d, s, modrm) &&
		    (!(o->attr & OP_ELSE) ||
		     cpu_model_has(c->svm->vm->cpu_model, o->feature)))
			return o;
	}
	return NULL;
}

/* -- operands -----------------------------------------------------------------
 */

/* The offset in struct cpu of general register n, as a byte register if so. */
static uint8_t gpr_offset(const struct decoder *s, unsigned n, bool byte)
{
	if (byte && !s->rex_present && !s->d->is_vex && n >= 4 && n < 8)
		return (uint8_t)((n - 4) * 8 + 1);
	return (uint8_t)(n * 8);
}

static void set_seg(struct decoder *s, unsigned seg)
{
	if (s->seg >= 0 && (s->code_size != 8 || s->seg >= SEG_FS))
		seg = (unsigned)s->seg;
	s->i->seg = (uint8_t)seg;
	if (s->code_size != 8 || seg >= SEG_FS || s->i->asize != 3)
		s->i->flags |= INSN_EA_SLOW;
}

/* 16-bit addressing forms (SDM vol. 2, table 2-1). */
static void get_ea16(struct decoder *s, unsigned rm)
{
	static const uint8_t base[8] = {REG_RBX, REG_RBX, REG_RBP, REG_RBP,
					REG_RSI, REG_RDI, REG_RBP, REG_RBX};
	static const uint8_t index[8] = {REG_RSI,  REG_RDI,  REG_RSI,
					 REG_RDI,  REG_ZERO, REG_ZERO,
					 REG_ZERO, REG_ZERO};
	struct insn *i = s->i;

	i->base = base[rm];
	i->index = index[rm];
	if (s->modrm_mod == 0 && rm == 6) {
		i->base = REG_ZERO;
		s->d->disp_bytes = 2;
	} else {
		s->d->disp_bytes = s->modrm_mod;
	}
	set_seg(s, i->base == REG_RBP ? SEG_SS : SEG_DS);
}

static void get_ea(struct decoder *s, unsigned rm)
{
	struct insn *i = s->i;
	unsigned base = rm;

	i->index = REG_ZERO;
	if (rm == 4) {
		uint8_t sib = get8(s);
		unsigned index = (sib >> 3 & 7) | (s->rex & REX_X ? 8 : 0);

		i->scale = sib >> 6;
		base = sib & 7;
		s->d->index = (uint8_t)index;
		if (index != 4)
			i->index = (uint8_t)(index * 8);
	}
	s->d->disp_bytes = s->modrm_mod == 2 ? 4 : s->modrm_mod;
	if (base == 5 && s->modrm_mod == 0) {
		s->d->disp_bytes = 4;
		i->base = rm == 5 && s->code_size == 8 ? REG_RIPBASE : REG_ZERO;
	} else {
		i->base = (uint8_t)((base | (s->rex & REX_B ? 8 : 0)) * 8);
	}
	set_seg(s, i->base == REG_RSP || i->base == REG_RBP ? SEG_SS : SEG_DS);
}

/* ignore_mod: of control and debug registers, ModRM.mod counts as 3. */
static void get_modrm(struct decoder *s, bool ignore_mod)
{
	struct dec *d = s->d;

	d->has_modrm = true;
	d->modrm = get8(s);
	s->modrm_mod = ignore_mod ? 3 : d->modrm >> 6;
	d->reg = (d->modrm >> 3 & 7) | (s->rex & REX_R ? 8 : 0);
	d->rm = (d->modrm & 7) | (s->rex & REX_B ? 8 : 0);
	if (d->is_evex) {
		d->reg |= d->evex_r2 << 4;
		if (s->modrm_mod == 3 && s->rex & REX_X)
			d->rm |= 16;
	}
	if (s->modrm_mod == 3)
		return;
	s->i->flags |= INSN_MEM;
	if (s->i->asize == 1)
		get_ea16(s, d->modrm & 7);
	else
		get_ea(s, d->modrm & 7);
	if (d->disp_bytes != 0)
		s->i->disp = get_signed(s, d->disp_bytes);
}

static int64_t get_imm(struct decoder *s, unsigned lsize)
{
	return get_signed(s, lsize == 3 ? 4 : 1u << lsize);
}

static bool uses_memory(const struct decoder *s)
{
	return s->d->has_modrm && s->modrm_mod != 3;
}

static unsigned get_far(struct decoder *s)
{
	uint64_t offset = (uint64_t)get_imm(s, s->i->lsize);

	offset &= s->i->lsize == 1 ? 0xffff : 0xffffffff;
	s->i->imm =
	    (int64_t)(offset | (uint64_t)(uint16_t)get_signed(s, 2) << 32);
	return FORM_RR;
}

static unsigned get_moffs(struct decoder *s)
{
	struct insn *i = s->i;

	i->disp = get_signed(s, 1u << i->asize);
	i->base = i->index = REG_ZERO;
	i->flags |= INSN_MEM;
	set_seg(s, SEG_DS);
	i->a = i->b = REG_RAX;
	return s->d->opcode & 2 ? FORM_MR : FORM_RM;
}

/* Operands that ModRM has no part in; the form they make. */
static unsigned get_plain_operands(struct decoder *s, const struct opcode *o,
				   bool byte)
{
	struct insn *i = s->i;
	unsigned low = (s->d->opcode & 7) | (s->rex & REX_B ? 8 : 0);

	i->a = gpr_offset(s, low, byte);
	switch (o->operands) {
	case OPERANDS_R_A:
		i->b = REG_RAX;
		return FORM_RR;
	case OPERANDS_R_I:
		i->imm = get_imm(s, i->lsize);
		return FORM_RI;
	case OPERANDS_R_I64:
		i->imm = get_signed(s, 1u << i->lsize);
		return FORM_RI;
	case OPERANDS_A_I:
		i->a = REG_RAX;
		i->imm = get_imm(s, i->lsize);
		return FORM_RI;
	case OPERANDS_I:
		i->imm = get_imm(s, i->lsize);
		return FORM_RI;
	case OPERANDS_I8:
		i->imm = get_signed(s, 1);
		return FORM_RI;
	case OPERANDS_I16:
		i->imm = (uint16_t)get_signed(s, 2);
		return FORM_RI;
	case OPERANDS_I16_I8:
		i->imm = (uint16_t)get_signed(s, 2);
		i->imm |= (int64_t)get8(s) << 16;
		return FORM_RI;
	case OPERANDS_J:
		i->imm = get_imm(s, i->lsize);
		return FORM_RI;
	case OPERANDS_J8:
		i->imm = get_signed(s, 1);
		return FORM_RI;
	case OPERANDS_A_MOFFS:
	case OPERANDS_MOFFS_A:
		return get_moffs(s);
	case OPERANDS_FAR:
		return get_far(s);
	case OPERANDS_SEG0:
		i->ext = s->d->opcode >> 3 & 7;
		return FORM_RR;
	case OPERANDS_STRING:
		set_seg(s, SEG_DS);
		return FORM_RR;
	default:
		return FORM_RR;
	}
}

/* Operands by ModRM, after get_modrm: the form they make. */
static unsigned get_modrm_operands(struct decoder *s, const struct opcode *o,
				   bool byte)
{
	struct insn *i = s->i;
	struct dec *d = s->d;
	bool mem = uses_memory(s);
	uint8_t e = gpr_offset(s, d->rm, byte || (o->attr & OP_BYTE_SRC));
	uint8_t g = gpr_offset(s, d->reg, byte);
	uint8_t v = (uint8_t)((d->vvvv & 15) * 8);

	i->ext = d->reg;
	switch (o->operands) {
	case OPERANDS_E_G:
	case OPERANDS_E_G_I8:
	case OPERANDS_E_G_CL:
		i->a = e;
		i->b = g;
		if (o->operands == OPERANDS_E_G_I8)
			i->imm = get_signed(s, 1);
		i->ext = o->operands == OPERANDS_E_G_CL;
		return mem ? FORM_MR : FORM_RR;
	case OPERANDS_G_E:
	case OPERANDS_G_E_I:
	case OPERANDS_G_E_I8:
	case OPERANDS_G_V_E:
	case OPERANDS_G_E_V:
	case OPERANDS_V_E:
		i->a = o->operands == OPERANDS_V_E ? v : g;
		i->b = e;
		i->c = v;
		if (o->operands == OPERANDS_G_E_I)
			i->imm = get_imm(s, i->lsize);
		else if (o->operands == OPERANDS_G_E_I8)
			i->imm = get_signed(s, 1);
		return mem ? FORM_RM : FORM_RR;
	case OPERANDS_E_I:
	case OPERANDS_E_I8:
	case OPERANDS_E_1:
		i->a = e;
		i->imm = o->operands == OPERANDS_E_1   ? 1
			 : o->operands == OPERANDS_E_I ? get_imm(s, i->lsize)
						       : get_signed(s, 1);
		return mem ? FORM_MI : FORM_RI;
	default: /* E, E_CL, E_S, S_E, CR, RM */
		i->a = e;
		i->b = REG_RCX;
		return mem ? FORM_MR : FORM_RR;
	}
}

/* log2 of the operand size. */
static unsigned operand_lsize(const struct decoder *s, const struct opcode *o)
{
	uint32_t attr = o->attr;
	bool opsize = s->opsize && o->pp != PP_66;

	if (attr & OP_BYTE)
		return 0;
	if (s->code_size == 8) {
		if ((attr & OP_F64) || s->d->rex_w)
			return 3;
		if (attr & OP_D64)
			return opsize ? 1 : 3;
		return opsize ? 1 : 2;
	}
	return (s->code_size == 2) != opsize ? 1 : 2;
}

/* -- the whole
 * ------------------------------------------------------------------ */

const struct insn *exec_ud(struct cpu *c, const struct insn *i)
{
	raise_ud(c, i);
}

static const struct insn *exec_gp0(struct cpu *c, const struct insn *i)
{
	raise_gp(c, i, 0);
}

static bool is_real_or_v86(const struct cpu *c)
{
	return !(c->cr0 & CR0_PE) || (c->flags & RFLAGS_VM);
}

/* A VEX.vvvv that names no operand must be 1111. */
static bool uses_vvvv(const struct opcode *o)
{
	return o->operands == OPERANDS_G_V_E || o->operands == OPERANDS_G_E_V ||
	       o->operands == OPERANDS_V_E;
}

static exec_fn choose_exec(struct cpu *c, const struct decoder *s,
			   const struct opcode *o, unsigned form)
{
	const struct handler *h = o->handler;
	bool real_or_v86 = is_real_or_v86(c);
	exec_fn exec = h->one;

	if (s->lock && (!(o->attr & OP_LOCK) || !uses_memory(s)))
		return exec_ud;
	if (o->feature != 0 &&
	    !cpu_model_has(c->svm->vm->cpu_model, o->feature))
		return exec_ud;
	if ((o->attr & OP_PM) && real_or_v86)
		return exec_ud;
	if ((o->attr & OP_VEX) &&
	    (s->d->vector_len != 0 || real_or_v86 ||
	     ((s->d->vvvv != 0 || s->d->vvvv3) && !uses_vvvv(o))))
		return exec_ud;
	if ((o->attr & OP_CPL0) && c->cpl != 0)
		return exec_gp0;
	if (exec == NULL && s->lock)
		exec = h->locked[form == FORM_MI][s->i->lsize];
	if (exec == NULL)
		exec = h->fn[form][s->i->lsize];
	return exec != NULL ? exec : exec_ud;
}

static void decode_general(struct cpu *c, struct decoder *s,
			   const struct opcode *o)
{
	struct insn *i = s->i;
	bool byte = (o->attr & OP_BYTE) != 0;
	unsigned form;

	i->op = (uint16_t)(o - opcode_table);
	i->lsize = (uint8_t)operand_lsize(s, o);
	if (s->d->is_vex)
		i->lsize = s->d->rex_w && s->code_size == 8 ? 3 : 2;
	if (row_has_modrm(o)) {
		get_modrm(s, o->operands == OPERANDS_CR);
		form = get_modrm_operands(s, o, byte);
	} else {
		form = get_plain_operands(s, o, byte);
	}
	if (o->handler == &h_xlat)
		set_seg(s, SEG_DS);
	else if (!(i->flags & INSN_MEM) && o->operands != OPERANDS_STRING)
		i->seg = SEG_SS; /* what it touches, if at all, is the stack */
	if (o->attr & OP_REP)
		i->flags |= s->rep == 0xf3   ? INSN_REP
			    : s->rep == 0xf2 ? INSN_REPNE
					     : 0;
	if (s->lock)
		i->flags |= INSN_LOCK;
	if (o->operands == OPERANDS_R_A && i->a == REG_RAX && !s->lock)
		i->exec = h_nop.one; /* 90: XCHG EAX,EAX clears nothing */
	else
		i->exec = choose_exec(c, s, o, form);
	if (o->operands == OPERANDS_J || o->operands == OPERANDS_J8)
		i->imm += (int64_t)s->pos;
}

static void note_bytes(struct decoder *s)
{
	s->i->len = s->d->len = (uint8_t)s->pos;
	copy_few(s->d->bytes, s->bytes, s->pos);
}

/* Registers of which there are fewer than the fields can say. */
static bool settle_registers(const struct decoder *s,
			     const struct simd_row *row)
{
	struct dec *d = s->d;
	bool mem = s->modrm_mod != 3;

	if (row->attr & S_OPMASK) {
		if (!(row->attr & S_GREG) && d->reg > 7)
			return false;
		if (!(row->attr & S_GRM))
			d->rm &= 7;
		return d->vvvv < 8;
	}
	if (row->how & E_KRM)
		d->rm &= 7;
	else if (row->attr & S_GRM && !mem)
		d->rm &= 15;
	/* EVEX.V' is the index's, and not vvvv's. */
	if (d->is_evex && simd_vsib(row)) {
		d->index |= d->vvvv & 16;
		d->vvvv &= 15;
	}
	return true;
}

static bool model_has_vector(const struct cpu *c, const struct decoder *s,
			     const struct simd_row *row)
{
	const struct cpu_model *model = c->svm->vm->cpu_model;
	const struct dec *d = s->d;
	unsigned feature = simd_feature(row, d->is_vex, d->vector_len);

	if (feature != 0 && !cpu_model_has(model, feature))
		return false;
	if (d->is_evex && !cpu_model_has(model, simd_feature_evex(row, d)))
		return false;
	return !simd_needs_cmov(d) || cpu_model_has(model, X86_FEATURE_CMOV);
}

/* The next byte is the ModRM byte, if the opcode has one. */
static const struct simd_row *find_vector_row(struct decoder *s)
{
	const struct dec *d = s->d;
	bool known = s->pos < s->avail;
	uint8_t modrm = known ? s->bytes[s->pos] : 0;

	if (s->lock || !simd_knows(d))
		return NULL;
	if (!known && simd_has_modrm(d->map, d->opcode)) {
		get8(s); /* sets the error */
		return NULL;
	}
	if (!d->is_evex)
		return simd_find(d->map, d->pp, d->opcode, modrm, d->is_vex,
				 d->vector_len, d->rex_w);
	return simd_find_evex(d, modrm);
}

/* Operands and immediates; false: #UD. */
static bool get_vector_operands(struct decoder *s, const struct simd_row *row)
{
	struct dec *d = s->d;
	unsigned imm_bytes = simd_imm_bytes(row);

	if (simd_has_modrm(d->map, d->opcode))
		get_modrm(s, false);
	if (simd_rdi(row))
		set_seg(s, SEG_DS);
	if (!settle_registers(s, row))
		return false;
	/* disp8 counts operands (SDM vol. 2, 2.7.5). */
	if (d->is_evex && d->disp_bytes == 1)
		s->i->disp *= simd_disp8(row, d);
	d->has_imm = imm_bytes != 0;
	if (imm_bytes > 0)
		d->imm8 = get8(s);
	if (imm_bytes > 1)
		get8(s); /* is in d->bytes */
	return true;
}

static void decode_vector(struct cpu *c, struct decoder *s)
{
	struct dec *d = s->d;
	struct insn *i = s->i;
	const struct simd_row *row = find_vector_row(s);
	int error;

	if (row == NULL || !get_vector_operands(s, row))
		return;
	i->lsize = s->code_size == 8 && d->rex_w ? 3 : 2;
	if (!model_has_vector(c, s, row))
		return;
	if (d->is_vex &&
	    (((d->vvvv != 0 || d->vvvv3) && !simd_uses_vvvv(row)) ||
	     is_real_or_v86(c)))
		return;
	if (simd_vsib(row) &&
	    (s->modrm_mod == 3 || (d->modrm & 7) != 4 || i->asize == 1))
		return;
	if (s->error != 0)
		return;
	note_bytes(s);
	error = native_bind(c, row, d, i);
	if (error == -ENOSPC)
		s->error = error;
	else if (error != 0)
		i->exec = exec_ud;
}

int decode(struct cpu *c, const uint8_t *bytes, unsigned avail, unsigned off,
	   struct insn *i, struct dec *d)
{
	struct decoder s = {.bytes = bytes,
			    .avail = avail,
			    .seg = -1,
			    .code_size = c->code_size,
			    .i = i,
			    .d = d};
	const struct opcode *o = NULL;
	bool undefined = false;
	uint8_t byte;

	*i = (struct insn){.base = REG_ZERO,
			   .index = REG_ZERO,
			   .seg = SEG_DS,
			   .exec = exec_ud,
			   .op = OP_NONE_ROW};
	*d = (struct dec){.mode = c->code_size};
	byte = get_prefixes(&s);
	i->asize = s.code_size == 8                 ? (s.adsize ? 2 : 3)
		   : (s.code_size == 2) != s.adsize ? 1
						    : 2;
	if (is_vex(&s, byte)) {
		undefined = !get_vex(&s, byte);
		d->opcode = get8(&s);
	} else {
		get_opcode(&s, byte);
	}
	if (s.error == 0 && !undefined) {
		o = find_row(c, &s);
		if (o != NULL)
			decode_general(c, &s, o);
		else if (s.error == 0)
			decode_vector(c, &s);
	}
	if (s.error != 0)
		return s.error;
	note_bytes(&s);
	i->flags |= s.opsize ? INSN_OPSIZE : 0;
	i->flags |= d->rex_w ? INSN_REXW : 0;
	i->off = (uint16_t)off;
	if (i->base == REG_RIPBASE)
		i->disp += off + s.pos;
	if (o != NULL &&
	    (o->operands == OPERANDS_J || o->operands == OPERANDS_J8))
		i->imm += off;
	return (int)s.pos;
}
