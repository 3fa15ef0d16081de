// SPDX-License-Identifier: BSD-2-Clause
/*
 * What an instruction that soft.jit=verify looks at does in memory: where its
 * operand is, what is there before and after it, and who else writes there.
 */
#include "vmm/soft/access.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/jit/rules.h"
#include "vmm/soft/jit/translate.h"
#include "vmm/soft/jit/turn.h"
#include "vmm/soft/jit/verify.h"
#include "vmm/soft/jit/verify_state.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/string.h"
#include "vmm/soft/window.h"

#define WATCH_PATIENCE (1u << 18)   /* looks: some 10 ms */
#define WATCH_TICKS    (1ULL << 31) /* where others are busy: some second */

static void find_none(struct verify *v)
{
	v->bytes = 0;
	for (unsigned n = 0; n < OPERAND_PARTS; n++)
		v->part[n].bytes = v->source[n].bytes = 0;
}

/* -- what the host writes ----------------------------------------------------
 */

/* Who looks at bytes first finds at as new as they are, or nothing. */
static void watch_part(struct cpu *c, struct watched *w,
		       const struct operand_part *part)
{
	atomic_store_explicit(&w->bytes, 0, memory_order_release);
	if (part->bytes == 0)
		return;
	atomic_store_explicit(&w->at, (uint64_t)(part->at - c->ram),
			      memory_order_release);
	atomic_store(&w->bytes, part->bytes);
}

/*
 * vCPUs take turns, but devices write when they like, and say so afterwards:
 * of what they write to the operand that is being watched there is a count.
 */
static void watch(struct cpu *c)
{
	struct verify *v = c->jit->verify;

	for (unsigned n = 0; n < OPERAND_PARTS; n++) {
		watch_part(c, &c->svm->watched[n], &v->part[n]);
		watch_part(c, &c->svm->watched[OPERAND_PARTS + n],
			   &v->source[n]);
	}
	v->written = atomic_load(&c->svm->watched_writes);
}

void verify_host_wrote(struct soft_vm *svm, uint64_t gpa, uint64_t len)
{
	atomic_thread_fence(memory_order_seq_cst);
	for (unsigned n = 0; n < WATCHED; n++) {
		uint64_t bytes = atomic_load(&svm->watched[n].bytes);
		uint64_t at = atomic_load(&svm->watched[n].at);

		if (bytes != 0 && gpa < at + bytes && at < gpa + len)
			atomic_fetch_add(&svm->watched_writes, 1);
	}
}

bool operand_host_has_written(const struct cpu *c)
{
	return atomic_load(&c->svm->watched_writes) != c->jit->verify->written;
}

/* Who wrote may not have said so yet. */
bool operand_host_wrote(const struct cpu *c)
{
	uint64_t began = __builtin_ia32_rdtsc();

	for (unsigned n = 1;
	     n < WATCH_PATIENCE && __builtin_ia32_rdtsc() - began < WATCH_TICKS;
	     n++) {
		if (operand_host_has_written(c))
			return true;
		turn_look_away(n);
	}
	return false;
}

/* -- where it is --------------------------------------------------------------
 */

static unsigned operand_bytes(const struct cpu *c, const struct insn *i)
{
	unsigned n = c->jit->rule_of[i->op];

	if (opcode_table[i->op].handler == &h_cmpxchg8b)
		return i->lsize == 3 ? 16 : 8;
	return rule_bytes(n != RULE_NONE ? &rules[n] : NULL, i);
}

unsigned stack_word(const struct cpu *c)
{
	return c->code_size == 8 ? 8 : 4;
}

/* What is left of an address in this code. */
static uint64_t address_of(const struct cpu *c, uint64_t va)
{
	return c->code_size == 8 ? va : (uint32_t)va;
}

uint64_t below_stack(const struct cpu *c)
{
	return address_of(c, c->gpr[4] - stack_word(c));
}

/* As operand_va(), which may fault: then the address is of no use. */
static uint64_t memory_va(const struct cpu *c, const struct insn *i)
{
	uint64_t va = operand_offset(c, i) & address_mask(i);

	return address_of(c, i->seg < SEG_FS ? va : va + c->seg[i->seg].base);
}

static bool is_bit_string(const struct insn *i)
{
	const struct opcode *o = &opcode_table[i->op];
	const struct handler *h = o->handler;

	return o->operands == OPERANDS_E_G && i->flags & INSN_MEM &&
	       (h == &h_bt || h == &h_bts || h == &h_btr || h == &h_btc);
}

static int64_t bit_of(struct cpu *c, const struct insn *i)
{
	return i->lsize == 3   ? (int64_t)REG64(c, i->b)
	       : i->lsize == 2 ? (int32_t)REG32(c, i->b)
			       : (int16_t)REG16(c, i->b);
}

unsigned operand_find(struct cpu *c, const struct insn *i, uint64_t *va)
{
	const struct handler *h;
	unsigned bytes = i->b;

	if (i->op != OP_NONE_ROW) {
		h = opcode_table[i->op].handler;
		*va = h == &h_push || h == &h_pushf ? below_stack(c)
		      : h == &h_leave               ? address_of(c, c->gpr[5])
						    : address_of(c, c->gpr[4]);
		if (h == &h_push || h == &h_pop || h == &h_leave ||
		    h == &h_ret || h == &h_pushf)
			return stack_word(c);
		if (h == &h_lea || h == &h_nop)
			return 0;
		bytes = operand_bytes(c, i);
	}
	if (!(i->flags & INSN_MEM))
		return 0;
	*va = memory_va(c, i);
	if (i->op != OP_NONE_ROW && is_bit_string(i))
		*va += (uint64_t)(bit_of(c, i) >> (i->lsize + 3)) << i->lsize;
	return bytes;
}

/* -- what it is before the instruction ----------------------------------------
 */

/* By a window an access gets through where the TLB has nothing. NULL: it cannot
   be had in the TLB either. */
static uint8_t *page_read(struct cpu *c, uint64_t va, unsigned bytes)
{
	struct translation tr;

	if (c->tlb->has_windows && tlb_read(c, va, bytes) == NULL)
		(void)mmu_refill(c, c->tlb, va, ACCESS_READ, &tr);
	return tlb_read(c, va, bytes);
}

static uint8_t *page_written(struct cpu *c, uint64_t va, unsigned bytes)
{
	struct translation tr;

	if (tlb_write(c, va, bytes) == NULL && window_may_write(c->tlb, va))
		(void)mmu_refill(c, c->tlb, va, ACCESS_WRITE, &tr);
	return tlb_write(c, va, bytes);
}

/* What may be written to must not be so by a window only, as then there is
   nothing to lead tier 0's run elsewhere by. */
static uint8_t *page_of_operand(struct cpu *c, uint64_t va, unsigned bytes)
{
	uint8_t *at = page_read(c, va, bytes);

	if (c->tlb->has_windows && tlb_write(c, va, bytes) == NULL &&
	    window_may_write(c->tlb, va))
		return NULL;
	return at;
}

/* False: a part of it is not there. */
static bool parts_find(struct cpu *c, struct operand_part part[OPERAND_PARTS],
		       uint64_t va, unsigned bytes,
		       uint8_t *page(struct cpu *, uint64_t, unsigned))
{
	unsigned first = MIN(bytes, 4096 - (unsigned)(va & 4095));
	bool found = true;

	part[0] = (struct operand_part){NULL, first};
	part[1] = (struct operand_part){NULL, bytes - first};
	for (unsigned n = 0; n < OPERAND_PARTS; n++) {
		if (part[n].bytes != 0) {
			part[n].at = page(c, va, part[n].bytes);
			found &= part[n].at != NULL;
		}
		va += part[n].bytes;
	}
	return found;
}

static bool is_push_of_memory(const struct insn *i)
{
	return i->op != OP_NONE_ROW && i->flags & INSN_MEM &&
	       opcode_table[i->op].handler == &h_push;
}

/* What is not there is not watched. */
static void source_find(struct cpu *c, uint64_t va, unsigned bytes)
{
	struct verify *v = c->jit->verify;

	if (!parts_find(c, v->source, va, bytes, page_read))
		v->source[0].bytes = v->source[1].bytes = 0;
}

/* Without windows translated code gets what is in the TLB, in one page, and
   tier 0 all else; but what is only read may have been there once. */
static bool memory_find(struct cpu *c, const struct insn *i)
{
	struct verify *v = c->jit->verify;
	bool found;

	find_none(v);
	v->bytes = operand_find(c, i, &v->va);
	if (is_push_of_memory(i))
		source_find(c, memory_va(c, i), v->bytes);
	found = parts_find(c, v->part, v->va, v->bytes, page_of_operand);
	if (c->tlb->has_windows)
		return found;
	if (!found || is_in_two_pages(v))
		find_none(v);
	return true;
}

/* For what is read beside what is written to the stack: it may lie in the same
   page. */
static void page_note(struct verify *v)
{
	uint64_t page = PAGE_BASE((uint64_t)v->part[0].at);

	copy_bytes(v->page, (const void *)page, 4096);
}

bool branch_note(struct cpu *c, const struct insn *i, bool is_call)
{
	struct verify *v = c->jit->verify;
	unsigned bytes;
	uint64_t va;

	find_none(v);
	bytes = operand_find(c, i, &va);
	v->va = below_stack(c);
	v->bytes = is_call ? stack_word(c) : 0;
	if (!parts_find(c, v->source, va, bytes, page_read) ||
	    !parts_find(c, v->part, v->va, v->bytes, page_written))
		return false;
	watch(c);
	operand_read(v, v->was);
	if (is_call)
		page_note(v);
	return true;
}

static bool is_string(const struct insn *i)
{
	const struct handler *h =
	    i->op != OP_NONE_ROW ? opcode_table[i->op].handler : NULL;

	return h == &h_movs || h == &h_stos;
}

/*
 * REP MOVS and REP STOS: all of the page that is written to, since what is read
 * may be there, too. That is seen by its address only: by another one tier 0
 * would read what is written by now (false). In one page tier 0 needs one step,
 * unless there is a trap after each, when only tests run translated code.
 */
static bool string_find(struct cpu *c, const struct insn *i)
{
	bool reads = opcode_table[i->op].handler == &h_movs;
	uint64_t from = c->gpr[REG_RSI / 8], to = c->gpr[REG_RDI / 8];
	uint64_t count = c->gpr[REG_RCX / 8];
	unsigned bytes = (unsigned)(count & 4095) << i->lsize;
	struct verify *v = c->jit->verify;
	uint8_t *w = tlb_write(c, to, bytes);
	uint8_t *r = reads ? tlb_read(c, from, bytes) : w;

	find_none(v);
	v->is_left = (c->flags & RFLAGS_DF) != 0 || count > 4095 || w == NULL ||
		     r == NULL;
	if (v->is_left || count == 0)
		return true;
	if (c->single_step)
		return false;
	if (reads && PAGE_BASE((uint64_t)r) == PAGE_BASE((uint64_t)w) &&
	    PAGE_BASE(from) != PAGE_BASE(to))
		return false;
	v->va = PAGE_BASE(to);
	v->bytes = 4096;
	v->part[0] = (struct operand_part){w - (to & 4095), 4096};
	if (reads)
		source_find(c, from, bytes);
	return true;
}

bool operand_note(struct cpu *c, const struct insn *i)
{
	struct verify *v = c->jit->verify;
	bool found;

	v->is_left = false;
	found = is_string(i) ? string_find(c, i) : memory_find(c, i);
	if (!found)
		return false;
	watch(c);
	operand_read(v, v->was);
	if (v->bytes != 0 && is_push_of_memory(i))
		page_note(v);
	return true;
}

/* -- what it is then ----------------------------------------------------------
 */

void operand_read(const struct verify *v, uint8_t *to)
{
	for (unsigned n = 0; n < OPERAND_PARTS; n++) {
		copy_bytes(to, v->part[n].at, v->part[n].bytes);
		to += v->part[n].bytes;
	}
}

/* What a device has written since stays. */
void operand_change(const struct verify *v, const uint8_t *was,
		    const uint8_t *is)
{
	for (unsigned n = 0; n < v->bytes; n++) {
		unsigned first = v->part[0].bytes;
		uint8_t *at =
		    n < first ? v->part[0].at + n : v->part[1].at + (n - first);

		if (was[n] != is[n] && *(volatile uint8_t *)at == was[n])
			*(volatile uint8_t *)at = is[n];
	}
}
