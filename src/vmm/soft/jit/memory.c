// SPDX-License-Identifier: BSD-2-Clause
/* Guest registers and guest memory in translated code. */
#include "vmm/soft/access.h"
#include "vmm/soft/jit/translate.h"

unsigned host_of(unsigned guest)
{
	static const uint8_t map[16] = {
	    HOST_RAX, HOST_R14,  HOST_RDX,  HOST_RBX, HOST_R13, HOST_RBP,
	    HOST_RSI, HOST_RDI,  HOST_R8,   HOST_R9,  HOST_R10, HOST_R11,
	    HOST_R12, HOST_NONE, HOST_NONE, HOST_NONE};

	return map[guest];
}

struct mem slot_of(unsigned guest)
{
	return mem_at(HOST_RSP,
		      (int32_t)(offsetof(struct tlb, r13) + (guest - 13) * 8));
}

/* -- addresses ------------------------------------------------------------
 */

bool address_possible(const struct translation_unit *u)
{
	const struct insn *i = u->i;
	bool constant = i->base == REG_ZERO && i->index == REG_ZERO;

	if (i->asize == 1 || (i->asize == 2 && i->base == REG_RIPBASE))
		return false;
	return constant || i->disp == (int32_t)i->disp;
}

static unsigned base_in_register(struct translation_unit *u)
{
	unsigned guest = u->i->base / 8;

	if (u->i->base == REG_ZERO)
		return HOST_NONE;
	if (u->i->base == REG_RIPBASE)
		emit_load(&u->e, T0, FRAME(rip_base));
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

void offset_emit(struct translation_unit *u, unsigned to)
{
	const struct insn *i = u->i;
	struct mem m;

	if (i->base == REG_ZERO && i->index == REG_ZERO) {
		emit_mov_imm(&u->e, to,
			     i->asize == 2 ? (uint32_t)i->disp
					   : (uint64_t)i->disp);
		return;
	}
	m = mem_index(base_in_register(u), index_in_register(u), i->scale,
		      (int32_t)i->disp);
	if (i->asize == 2)
		emit_lea32(&u->e, to, m);
	else
		emit_lea(&u->e, to, m);
}

void address_emit(struct translation_unit *u)
{
	offset_emit(u, T0);
	if (u->i->seg < SEG_FS)
		return;
	emit_load(&u->e, T1,
		  u->i->seg == SEG_FS ? FRAME(fs_base) : FRAME(gs_base));
	emit_lea(&u->e, T0, mem_index(T0, T1, 0, 0));
}

/* -- the TLB --------------------------------------------------------------
 */

#define OF_TLB(field) ((int32_t)offsetof(struct tlb, field))

/* Past T1 == 0, else away. */
static void check_emit(struct translation_unit *u, enum away away)
{
	uint8_t *hit = emit_jrcxz(&u->e);

	detour_add(u, away, emit_jmp(&u->e), 0);
	emit_here8(&u->e, hit);
}

static struct mem page_mask(unsigned align)
{
	return align == 31   ? FRAME(align_32)
	       : align == 15 ? FRAME(align_16)
			     : FRAME(page_bits);
}

static int32_t tags_of(bool write)
{
	return write ? OF_TLB(write) : OF_TLB(read);
}

/*
 * The tag is the negated address of a page: an address plus the tag is an
 * offset in that page, or not below 4096, and PEXT by a mask of the bits that
 * must be clear makes it 0 or not, for JRCXZ. Of an operand of several bytes
 * its last one is looked at, so that the page's end is none; an aligned one
 * cannot reach there. A kick has every probe look at place 0, where nothing
 * is then; what was found before is taken by the other mask.
 */
struct mem probe_emit(struct translation_unit *u, struct probe p)
{
	struct emit *e = &u->e;
	int32_t last = p.align != 0 ? 0 : (int32_t)p.bytes - 1;

	u->probed = true;
	emit_pext(e, T1, T0, FRAME(tlb_bits));
	emit_load(e, T1, mem_index(HOST_RSP, T1, 3, tags_of(p.write)));
	emit_lea(e, T1, mem_index(T1, T0, 0, last));
	emit_pext(e, T1, T1, page_mask(p.align));
	check_emit(u, p.away);
	emit_pext(e, T1, T0, FRAME(tlb_mask));
	emit_load(e, T1, mem_index(HOST_RSP, T1, 3, OF_TLB(addend)));
	return mem_index(T0, T1, 0, 0);
}

/* The same with the address base + disp, which need not be made twice. */
struct mem probe_base_emit(struct translation_unit *u, unsigned base,
			   int32_t disp, struct probe p)
{
	struct emit *e = &u->e;
	int32_t last = p.align != 0 ? 0 : (int32_t)p.bytes - 1;

	u->probed = true;
	if (disp != 0) {
		emit_lea(e, T1, mem_at(base, disp));
		emit_pext(e, T0, T1, FRAME(tlb_bits));
	} else {
		emit_pext(e, T0, base, FRAME(tlb_bits));
	}
	emit_load(e, T1, mem_index(HOST_RSP, T0, 3, tags_of(p.write)));
	emit_lea(e, T1, mem_index(T1, base, 0, disp + last));
	emit_pext(e, T1, T1, page_mask(p.align));
	check_emit(u, p.away);
	emit_load(e, T0, mem_index(HOST_RSP, T0, 3, OF_TLB(addend)));
	return mem_index(base, T0, 0, disp);
}

struct mem operand_emit(struct translation_unit *u, struct probe p)
{
	const struct insn *i = u->i;
	unsigned base = i->base < REG_ZERO ? host_of(i->base / 8) : HOST_NONE;

	if (base != HOST_NONE && i->index == REG_ZERO && i->seg < SEG_FS &&
	    i->asize == 3 && i->disp < 0x7fffff00)
		return probe_base_emit(u, base, (int32_t)i->disp, p);
	address_emit(u);
	return probe_emit(u, p);
}

/* Its address in T0 alone. */
struct mem mem_in_t0(struct translation_unit *u, struct mem mem)
{
	emit_lea(&u->e, T0, mem);
	return mem_at(T0, 0);
}
