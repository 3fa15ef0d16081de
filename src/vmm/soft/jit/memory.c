// SPDX-License-Identifier: BSD-2-Clause
/* Guest registers and guest memory in translated code. */
#include "vmm/soft/access.h"
#include "vmm/soft/jit/translate.h"

unsigned host_of(unsigned guest)
{
	/* Those in memory are the ones that compilers use least. */
	static const uint8_t map[16] = {
	    HOST_RAX, HOST_R14, HOST_RDX, HOST_RBX,  HOST_R13,  HOST_RBP,
	    HOST_RSI, HOST_RDI, HOST_R8,  HOST_NONE, HOST_NONE, HOST_NONE,
	    HOST_R12, HOST_R9,  HOST_R10, HOST_R11};

	return map[guest];
}

unsigned guest_of(unsigned host)
{
	unsigned guest = 0;

	while (host_of(guest) != host)
		guest++;
	return guest;
}

struct mem slot_of(unsigned guest)
{
	return mem_at(HOST_RSP,
		      (int32_t)(offsetof(struct tlb, r9) + (guest - 9) * 8));
}

/* The register of a one-register form, in a free one if it is in memory. */
unsigned low_register(struct translation_unit *u, unsigned guest, bool load)
{
	unsigned host = host_of(guest);

	if (host != HOST_NONE)
		return host;
	if (load)
		emit_load(&u->e, T1, slot_of(guest));
	return T1;
}

void low_register_done(struct translation_unit *u, unsigned guest)
{
	if (host_of(guest) == HOST_NONE)
		emit_store(&u->e, slot_of(guest), T1);
}

/* -- addresses ------------------------------------------------------------
 */

/* The CS of 32-bit code may not be written, and perhaps not read. */
bool address_possible(const struct translation_unit *u)
{
	const struct insn *i = u->i;
	bool constant = i->base == REG_ZERO && i->index == REG_ZERO;

	if (i->asize == 1 || (i->asize == 2 && i->base == REG_RIPBASE))
		return false;
	if (u->is_32 && i->seg == SEG_CS)
		return false;
	return constant || i->disp == (int32_t)i->disp;
}

void rip_emit(struct translation_unit *u, unsigned to, int64_t rel)
{
	if (is_fixed(u)) {
		emit_mov_imm(&u->e, to, block_base(u->b, 0) + (uint64_t)rel);
		return;
	}
	emit_load(&u->e, to, FRAME(rip_base));
	if (rel != 0)
		lea_emit(u, to, mem_at(to, (int32_t)rel));
}

bool offset_constant(const struct translation_unit *u, uint64_t *offset)
{
	const struct insn *i = u->i;
	bool by_rip = i->base == REG_RIPBASE && is_fixed(u);

	if (i->index != REG_ZERO || (i->base != REG_ZERO && !by_rip))
		return false;
	*offset = (uint64_t)i->disp + (by_rip ? block_base(u->b, 0) : 0);
	if (i->asize == 2)
		*offset = (uint32_t)*offset;
	return true;
}

unsigned base_in_register(struct translation_unit *u)
{
	unsigned guest = u->i->base / 8;

	if (u->i->base == REG_ZERO)
		return HOST_NONE;
	if (u->i->base == REG_RIPBASE)
		rip_emit(u, T0, 0);
	else if (host_of(guest) != HOST_NONE)
		return host_of(guest);
	else
		emit_load(&u->e, T0, slot_of(guest));
	return T0;
}

static unsigned index_in_register(struct translation_unit *u)
{
	unsigned guest = u->i->index / 8;

	if (u->i->index == REG_ZERO)
		return HOST_NONE;
	if (host_of(guest) != HOST_NONE)
		return host_of(guest);
	emit_load(&u->e, T1, slot_of(guest));
	return T1;
}

void lea_emit(struct translation_unit *u, unsigned to, struct mem mem)
{
	if (u->is_32)
		emit_lea32(&u->e, to, mem);
	else
		emit_lea(&u->e, to, mem);
}

void offset_emit(struct translation_unit *u, unsigned to)
{
	const struct insn *i = u->i;
	uint64_t constant;
	struct mem m;

	if (offset_constant(u, &constant)) {
		emit_mov_imm(&u->e, to, constant);
		return;
	}
	m = mem_index(base_in_register(u), index_in_register(u), i->scale,
		      (int32_t)i->disp);
	if (i->asize == 2)
		emit_lea32(&u->e, to, m);
	else
		emit_lea(&u->e, to, m);
}

/*
 * An operand that reaches beyond the 4 GiB of its segment is tier 0's. With
 * base 0 it reaches beyond its page, too; with another base it need not.
 */
static void limit_check(struct translation_unit *u, const struct probe *p)
{
	const struct insn *i = u->i;
	bool constant = i->base == REG_ZERO && i->index == REG_ZERO;

	if (p->bytes == 1 ||
	    (constant && (uint32_t)i->disp <= UINT32_MAX - p->bytes))
		return;
	emit_lea(&u->e, T1, mem_at(T0, p->bytes - 1));
	emit_pext(&u->e, T1, T1, FRAME(high_32));
	go_or(u, p->away);
}

/* T0 becomes the operand's linear address. */
void address_emit(struct translation_unit *u, const struct probe *p)
{
	bool is_fs = u->i->seg == SEG_FS;

	offset_emit(u, T0);
	if (u->i->seg < SEG_FS)
		return;
	if (u->is_32)
		limit_check(u, p);
	emit_load(&u->e, T1, is_fs ? FRAME(fs_base) : FRAME(gs_base));
	emit_lea(&u->e, T0, mem_index(T0, T1, 0, 0));
	if (u->is_32)
		emit_pext(&u->e, T0, T0,
			  is_fs ? FRAME(fs_bits) : FRAME(gs_bits));
}

/* -- the TLB --------------------------------------------------------------
 */

#define OF_TLB(field) ((int32_t)offsetof(struct tlb, field))

static struct mem site_tag(unsigned site)
{
	return mem_at(HOST_RSP, OF_TLB(site_tag) + (int32_t)site * 8);
}

static struct mem site_addend(unsigned site)
{
	return mem_at(HOST_RSP, OF_TLB(site_addend) + (int32_t)site * 8);
}

/*
 * T1 is a tag, the negated address of a page: with the operand's address it
 * is an offset in that page, or not below 4096, and PEXT by a mask of the
 * bits that must be clear makes it 0 or not.
 */
static void offset_check(struct translation_unit *u, struct mem at,
			 int32_t more, struct mem mask)
{
	emit_lea(&u->e, T1, mem_index(T1, at.base, 0, at.disp + more));
	emit_pext(&u->e, T1, T1, mask);
}

uint8_t *go_if_zero(struct translation_unit *u)
{
	emit_lea(&u->e, T1, mem_at(T1, -1));
	emit_pext(&u->e, T1, T1, FRAME(go));
	return emit_jrcxz_far(&u->e);
}

struct detour *go_or(struct translation_unit *u, enum away away)
{
	return detour_add(u, away, go_if_zero(u), 0);
}

struct detour *taken_or(struct translation_unit *u, uint8_t *place,
			enum away away)
{
	struct detour *d = detour_add(u, away, emit_jmp(&u->e), 0);

	emit_here8(&u->e, place);
	return d;
}

/*
 * The tag is that of the TLB's place for the address, and so of no other page
 * than that of the first byte or one far from it: of an operand of several
 * bytes the last one is looked at. An aligned one cannot reach beyond the
 * page.
 */
static void tag_check(struct translation_unit *u, struct mem at,
		      const struct probe *p)
{
	if (p->align != 0)
		offset_check(u, at, 0,
			     p->align == 63   ? FRAME(align_64)
			     : p->align == 31 ? FRAME(align_32)
					      : FRAME(align_16));
	else
		offset_check(u, at, p->bytes - 1, FRAME(page_bits));
}

/*
 * The tag is that of a page which has nothing to do with the address. Only
 * what is aligned is taken for sure to begin and end in the same page.
 */
static void site_check(struct translation_unit *u, struct mem at,
		       const struct probe *p)
{
	offset_check(u, at, 0,
		     p->bytes == 1    ? FRAME(page_bits)
		     : p->bytes == 2  ? FRAME(align_2)
		     : p->bytes == 4  ? FRAME(align_4)
		     : p->bytes == 8  ? FRAME(align_8)
		     : p->bytes == 16 ? FRAME(align_16)
		     : p->bytes == 32 ? FRAME(align_32)
				      : FRAME(align_64));
}

static bool has_site(const struct translation_unit *u, const struct probe *p)
{
	return u->b->is_hot && !(u->b->key & MODE_KEY_WINDOWS) &&
	       !(u->i->flags & INSN_WANDERS) && p->bytes <= 64 &&
	       (p->bytes & (p->bytes - 1)) == 0;
}

/* By the TLB at once. */
static struct mem wandering_probe(struct translation_unit *u, struct mem at,
				  const struct probe *p)
{
	int32_t tags = p->write ? OF_TLB(write) : OF_TLB(read);
	unsigned place = at.base == T0 ? T1 : T0;
	struct emit *e = &u->e;
	uint8_t *begin = e->at;
	struct detour *d;

	if (at.base == T0) {
		emit_pext(e, T1, T0, FRAME(tlb_bits));
	} else {
		emit_lea(e, T1, at);
		emit_pext(e, T0, T1, FRAME(tlb_bits));
	}
	emit_load(e, T1, mem_index(HOST_RSP, place, 3, tags));
	tag_check(u, at, p);
	d = go_or(u, p->away);
	if (d != NULL) {
		d->probe = *p;
		d->at = at;
		d->again = begin;
	}
	if (at.base == T0)
		emit_pext(e, T1, T0, FRAME(tlb_bits));
	emit_load(e, place, mem_index(HOST_RSP, place, 3, OF_TLB(addend)));
	return mem_index(at.base, place, 0, at.disp);
}

/* An operand whose address, and so its place, is a constant. */
static bool can_be_known(const struct translation_unit *u,
			 const struct probe *p, uint64_t *va)
{
	return u->i->seg < SEG_FS && offset_constant(u, va) &&
	       (*va & 4095) + p->bytes <= 4096 && (*va & p->align) == 0;
}

static struct mem known_probe(struct translation_unit *u, uint64_t va,
			      const struct probe *p)
{
	int32_t tags = p->write ? OF_TLB(write) : OF_TLB(read);
	int32_t place = (int32_t)tlb_place(va) * 8, in_page = va & 4095;
	bool is_near = va == (uint64_t)(int32_t)va;
	struct mem at = mem_at(T0, 0), tag = mem_index(T1, T0, 0, -in_page);
	uint8_t *begin = u->e.at;
	struct detour *d;

	if (is_near) {
		at = mem_at(HOST_NONE, (int32_t)va);
		tag = mem_at(T1, (int32_t)PAGE_BASE(va));
	} else {
		emit_mov_imm(&u->e, T0, va);
	}
	emit_load(&u->e, T1, mem_at(HOST_RSP, tags + place));
	emit_lea(&u->e, T1, tag);
	emit_pext(&u->e, T1, T1, FRAME(page_bits));
	d = go_or(u, p->away);
	if (d != NULL) {
		d->probe = *p;
		d->at = at;
		d->again = begin;
	}
	emit_load(&u->e, T1, mem_at(HOST_RSP, OF_TLB(addend) + place));
	return is_near ? mem_at(T1, (int32_t)va) : mem_index(T0, T1, 0, 0);
}

/*
 * Where most of the time goes, each probe remembers the page it found last,
 * so that the usual way does not depend on the address but by a branch that
 * is foreseen. Elsewhere there are too many to remember.
 */
struct mem probe_emit(struct translation_unit *u, struct mem at, struct probe p)
{
	unsigned addend = at.base == T0 ? T1 : T0;
	struct jit *jit = u->c->jit;
	uint8_t *begin = u->e.at;
	struct detour *d;
	unsigned site;

	if (!has_site(u, &p)) {
		u->probed = true;
		if (at.base == T0 && at.disp != 0) {
			emit_lea(&u->e, T0, at);
			at.disp = 0;
		}
		return wandering_probe(u, at, &p);
	}
	/* Who shares one must not write where the other may read only. */
	jit->site = (jit->site + 1) % (SITES / 2);
	site = jit->site * 2 + p.write;
	emit_load(&u->e, T1, site_tag(site));
	site_check(u, at, &p);
	d = taken_or(u, emit_jrcxz(&u->e), AWAY_PROBE);
	if (d != NULL) {
		d->probe = p;
		d->at = at;
		d->again = begin;
		d->site = (uint16_t)site;
		d->resume = u->e.at;
	}
	emit_load(&u->e, addend, site_addend(site));
	return mem_index(at.base, addend, 0, at.disp);
}

/*
 * What is remembered is another now, and the code goes on; T0 is the address.
 * Too often, or just for long? jit_interp() knows the time: falls through.
 */
void resume_counted(struct translation_unit *u, const struct detour *d,
		    struct mem left)
{
	struct emit *e = &u->e;
	uint8_t *enough;

	emit_load(e, T1, left);
	emit_lea(e, T1, mem_at(T1, -1));
	emit_store(e, left, T1);
	enough = emit_jrcxz(e);
	if (d->at.base == T0)
		emit_lea(e, T0, mem_at(T0, -d->at.disp));
	emit_to(e, emit_jmp(e), d->resume);
	emit_here8(e, enough);
	emit_op_mem(e, (struct op){.map = MAP_1, .opcode = 0xc7, .w = true}, 0,
		    left);
	emit_imm(e, SITE_PATIENCE, 4);
	emit_mov_imm(e, T1, arena_offset(u, u->b));
	emit_store(e, FRAME(wandering), T1);
}

/* The detour of a probe whose page is another: the TLB, and what it says is
   remembered. Where it does not lead, falls through. */
void probe_detour(struct translation_unit *u, const struct detour *d)
{
	struct emit *e = &u->e;
	int32_t tags = d->probe.write ? OF_TLB(write) : OF_TLB(read);
	uint8_t *hit, *over;

	emit_lea(e, T0, d->at);
	emit_pext(e, T1, T0, FRAME(tlb_bits));
	emit_load(e, T1, mem_index(HOST_RSP, T1, 3, tags));
	emit_store(e, site_tag(d->site), T1);
	tag_check(u, mem_at(T0, 0), &d->probe);
	hit = emit_jrcxz(e);
	emit_load(e, T1, FRAME(site_none));
	emit_store(e, site_tag(d->site), T1);
	emit_load(e, T1, FRAME(site_nowhere));
	emit_store(e, site_addend(d->site), T1);
	over = emit_jmp8(e);
	emit_here8(e, hit);
	emit_pext(e, T1, T0, FRAME(site_page_bits));
	emit_op_mem(e, (struct op){.map = MAP_1, .opcode = 0xc6}, 0,
		    mem_index(HOST_RSP, T1, 0, OF_TLB(site_page)));
	emit_imm(e, 1, 1);
	emit_pext(e, T1, T0, FRAME(tlb_bits));
	emit_load(e, T1, mem_index(HOST_RSP, T1, 3, OF_TLB(addend)));
	emit_store(e, site_addend(d->site), T1);
	resume_counted(u, d, mem_at(HOST_RSP, OF_TLB(site_left) + d->site * 8));
	emit_here8(e, over);
}

/* The page may come into the TLB: then the probe begins again. T0 is the
   operand's address when it does not, too. */
void refill_emit(struct translation_unit *u, const struct detour *d)
{
	struct jit *jit = u->c->jit;
	struct emit *e = &u->e;
	uint8_t *yes, *no;

	emit_mov_imm(e, T1,
		     d->probe.bytes | (d->probe.write ? MISS_WRITE : 0) |
			 (uint32_t)d->probe.align << MISS_ALIGN_SHIFT);
	emit_to(e, emit_call(e), jit->piece[PIECE_REFILL]);
	yes = emit_jrcxz(e);
	no = emit_jmp8(e);
	emit_here8(e, yes);
	if (d->at.base == T0)
		emit_lea(e, T0, mem_at(T0, -d->at.disp));
	emit_to(e, emit_jmp(e), d->again);
	emit_here8(e, no);
}

struct mem operand_emit(struct translation_unit *u, struct probe p)
{
	const struct insn *i = u->i;
	struct mem at = mem_at(T0, 0);
	bool windows = has_window(u);
	uint64_t va;

	if (windows && can_be_constant(u))
		return constant_emit(u, p);
	if (windows && can_be_narrow(u))
		return narrow_emit(u, p);
	if (windows && can_be_indexed(u))
		return indexed_emit(u, p);
	if (!windows && !has_site(u, &p) && can_be_known(u, &p, &va)) {
		u->probed = true;
		return known_probe(u, va, &p);
	}
	if (i->base != REG_ZERO && i->index == REG_ZERO && i->seg < SEG_FS &&
	    i->asize == 3 && i->disp < 0x7fffff00)
		at = mem_at(base_in_register(u), (int32_t)i->disp);
	else
		address_emit(u, &p);
	return windows ? window_emit(u, at, p) : probe_emit(u, at, p);
}

struct mem stack_emit(struct translation_unit *u, struct mem at, struct probe p)
{
	return has_window(u) ? window_stack_emit(u, at, p)
			     : probe_emit(u, at, p);
}

/* Its address in T0 alone. */
struct mem mem_in_t0(struct translation_unit *u, struct mem mem)
{
	emit_lea(&u->e, T0, mem);
	return mem_at(T0, 0);
}
