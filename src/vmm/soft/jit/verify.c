// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/soft/jit/verify.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/soft/access.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/jit/translate.h"
#include "vmm/soft/jit/turn.h"
#include "vmm/soft/jit/verify_state.h"
#include "vmm/soft/string.h"
#include "vmm/soft/tlb.h"
#include "vmm/soft/vec.h"
#include "vmm/soft/window.h"

/*
 * An instruction that agreed so often is compared at every sixteenth run
 * only: a kernel boots in minutes instead of an hour.
 */
#define AGREED_OFTEN 256
#define AGREED_SKIP  15

#define WATCH_BYTES    64
#define WATCH_PATIENCE (1u << 18)   /* looks: some 10 ms */
#define WATCH_TICKS    (1ULL << 31) /* where others are busy: some second */

int verify_create(struct cpu *c)
{
	size_t size = ALIGN_UP(sizeof(struct verify), 64);

	if (!c->svm->jit_verify)
		return 0;
	c->jit->verify = aligned_alloc(64, size);
	if (c->jit->verify == NULL)
		return -ENOMEM;
	zero_bytes(c->jit->verify, size);
	return 0;
}

void verify_destroy(struct cpu *c)
{
	free(c->jit->verify);
}

/* -- what the host writes ----------------------------------------------------
 */

/*
 * vCPUs take turns, but devices write when they like, and say so afterwards:
 * of what they write to the operand that is being watched there is a count.
 */
static void watch(struct cpu *c, const void *p)
{
	struct verify *v = c->jit->verify;

	atomic_store(&c->svm->watched,
		     p != NULL ? (uint64_t)((const uint8_t *)p - c->ram)
			       : WATCH_NOTHING);
	v->written = atomic_load(&c->svm->watched_writes);
}

void verify_host_wrote(struct soft_vm *svm, uint64_t gpa, uint64_t len)
{
	uint64_t at = atomic_load(&svm->watched);

	if (at != WATCH_NOTHING && gpa < at + WATCH_BYTES && at < gpa + len)
		atomic_fetch_add(&svm->watched_writes, 1);
}

/* Who wrote may not have said so yet. */
static bool host_wrote(struct cpu *c)
{
	const struct verify *v = c->jit->verify;
	uint64_t began = __builtin_ia32_rdtsc();

	for (unsigned n = 1;
	     n < WATCH_PATIENCE && __builtin_ia32_rdtsc() - began < WATCH_TICKS;
	     n++) {
		if (atomic_load(&c->svm->watched_writes) != v->written)
			return true;
		turn_look_away(n);
	}
	return false;
}

/* -- states ------------------------------------------------------------------
 */

static void state_save(struct cpu *c, struct state *s, bool vec)
{
	for (unsigned n = 0; n < 16; n++)
		s->gpr[n] = c->gpr[n];
	s->gs_base = c->seg[SEG_GS].base;
	s->kernel_gs_base = c->kernel_gs_base;
	s->flags = c->flags;
	s->arith_flags = c->arith_flags;
	s->has_vec = vec && c->vec_live;
	if (!s->has_vec)
		return;
	vec_save(c, s->vec);
	s->fpu_ip = c->fpu_ip;
	s->fpu_dp = c->fpu_dp;
	s->fpu_opcode = c->fpu_opcode;
}

static void state_load(struct cpu *c, const struct state *s)
{
	for (unsigned n = 0; n < 16; n++)
		c->gpr[n] = s->gpr[n];
	c->seg[SEG_GS].base = s->gs_base;
	c->kernel_gs_base = s->kernel_gs_base;
	c->flags = s->flags;
	c->arith_flags = s->arith_flags;
	if (!s->has_vec)
		return;
	vec_restore(c, s->vec);
	c->fpu_ip = s->fpu_ip;
	c->fpu_dp = s->fpu_dp;
	c->fpu_opcode = s->fpu_opcode;
}

static bool same(const void *a, const void *b, size_t len)
{
	const uint8_t *x = a, *y = b;

	while (len != 0 && x[len - 1] == y[len - 1])
		len--;
	return len == 0;
}

static bool same_vec(const struct state *a, const struct state *b)
{
	const struct xsave_image *x = (const void *)a->vec;
	const struct xsave_image *y = (const void *)b->vec;

	return a->fpu_ip == b->fpu_ip && a->fpu_dp == b->fpu_dp &&
	       a->fpu_opcode == b->fpu_opcode && x->fcw == y->fcw &&
	       x->fsw == y->fsw && x->ftw == y->ftw && x->mxcsr == y->mxcsr &&
	       same(x->st, y->st, sizeof(x->st)) &&
	       same(x->xmm, y->xmm, sizeof(x->xmm)) &&
	       same(x->extended, y->extended, sizeof(x->extended));
}

static bool same_state(const struct state *a, const struct state *b)
{
	uint64_t difference = 0;

	for (unsigned n = 0; n < 16; n++)
		difference |= a->gpr[n] ^ b->gpr[n];
	return difference == 0 && a->gs_base == b->gs_base &&
	       a->kernel_gs_base == b->kernel_gs_base && a->flags == b->flags &&
	       a->arith_flags == b->arith_flags && a->has_vec == b->has_vec &&
	       (!a->has_vec || same_vec(a, b));
}

/* -- tier 0's run ------------------------------------------------------------
 */

/*
 * Runs i alone, the page of va (0: none) led to v->page. After a branch,
 * c->rip is where it went. A fault goes to the main loop, and verify_escaped.
 */
static void run_tier0(struct cpu *c, const struct insn *i, uint64_t va)
{
	struct verify *v = c->jit->verify;
	uint64_t tag = c->jump_tag, retired = c->retired;
	uint8_t shadow = c->intr_shadow;
	struct insn *alone = block_single(c, i);

	v->running = i;
	v->addend = &c->tlb->addend[tlb_place(va)];
	v->addend_was = *v->addend;
	if (va != 0)
		*v->addend = (uint64_t)v->page - PAGE_BASE(va);
	c->jump_tag = 0;
	c->alone = true;
	alone->exec(c, alone);
	c->alone = false;
	c->link_from = NULL;
	c->jump_tag = tag;
	c->retired = retired;
	c->intr_shadow = shadow;
	*v->addend = v->addend_was;
	v->running = NULL;
}

/* -- memory operands ---------------------------------------------------------
 */

static unsigned operand_bytes(const struct cpu *c, const struct insn *i)
{
	const struct opcode *o = &opcode_table[i->op];
	unsigned n = c->jit->rule_of[i->op];

	if (o->handler == &h_cmpxchg8b)
		return i->lsize == 3 ? 16 : 8;
	if (o->attr & (OP_BYTE | OP_BYTE_SRC))
		return 1;
	if (n != RULE_NONE && rules[n].bytes != 0)
		return rules[n].bytes;
	return 1u << i->lsize;
}

static unsigned stack_word(const struct cpu *c)
{
	return c->code_size == 8 ? 8 : 4;
}

/* What is left of an address in this code. */
static uint64_t address_of(const struct cpu *c, uint64_t va)
{
	return c->code_size == 8 ? va : (uint32_t)va;
}

/* Where a word goes that is pushed. */
static uint64_t below_stack(const struct cpu *c)
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

/* Bytes of the memory that i reads or writes, and where; 0: none. */
static unsigned operand_find(struct cpu *c, const struct insn *i, uint64_t *va)
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

/* -- around an instruction ---------------------------------------------------
 */

static const struct insn *insn_at(const struct cpu *c, uint64_t at)
{
	return (const struct insn *)(const void *)(c->arena + at);
}

static void frame_to_cpu(struct cpu *c, const struct insn *i)
{
	c->gpr[9] = c->tlb->r9;
	c->gpr[10] = c->tlb->r10;
	c->gpr[11] = c->tlb->r11;
	c->gpr[17] = block_base(block_of(i), c->tlb->rip_base);
}

static void cpu_to_frame(struct cpu *c)
{
	c->tlb->r9 = c->gpr[9];
	c->tlb->r10 = c->gpr[10];
	c->tlb->r11 = c->gpr[11];
}

static bool is_vector(const struct insn *i)
{
	return i->op == OP_NONE_ROW;
}

static bool skip_it(struct verify *v, const struct insn *i,
		    const uint8_t *arena)
{
	size_t n = (size_t)((const uint8_t *)i - arena) / sizeof(*i);
	uint16_t *agreed = &v->agreed[n % AGREED_SIZE];

	if (*agreed < AGREED_OFTEN) {
		++*agreed;
		return false;
	}
	*agreed = (uint16_t)(*agreed + 16);
	return *agreed / 16 % (AGREED_SKIP + 1) != 0;
}

/*
 * By a window an access gets through where the TLB has nothing, and then there
 * is nothing to lead tier 0's run elsewhere by. False: it cannot be had in the
 * TLB either, as one that is in two pages.
 */
static bool is_in_tlb(struct cpu *c)
{
	const struct verify *v = c->jit->verify;
	struct translation tr;

	if (tlb_read(c, v->va, v->bytes) == NULL)
		(void)mmu_refill(c, c->tlb, v->va, ACCESS_READ, &tr);
	return tlb_read(c, v->va, v->bytes) != NULL &&
	       (tlb_write(c, v->va, v->bytes) != NULL ||
		!window_may_write(c->tlb, v->va));
}

uint64_t verify_before(struct cpu *c, uint64_t at)
{
	const struct insn *i = insn_at(c, at);
	struct verify *v = c->jit->verify;
	uint64_t tags = c->tag_count;
	const void *p;

	frame_to_cpu(c, i);
	if (!turn_take(c)) {
		c->rip = insn_rip(c, i);
		return 0;
	}
	v->skips = skip_it(v, i, c->arena);
	if (v->skips)
		return 1;
	state_save(c, &v->before, is_vector(i));
	v->bytes = operand_find(c, i, &v->va);
	v->skips = v->bytes != 0 && c->tlb->has_windows && !is_in_tlb(c);
	if (c->tag_count != tags) {
		c->rip = insn_rip(c, i);
		return 0; /* looking there has dropped the block */
	}
	if (v->skips)
		return 1;
	p = v->bytes != 0 ? tlb_read(c, v->va, v->bytes) : NULL;
	if (p == NULL) /* or tier 0 gets it */
		v->bytes = 0;
	watch(c, p);
	copy_bytes(v->was, p, v->bytes);
	/* PUSH of what may lie in the stack's page, too. */
	if (p != NULL && i->op != OP_NONE_ROW && i->flags & INSN_MEM &&
	    opcode_table[i->op].handler == &h_push)
		copy_bytes(v->page, (const void *)PAGE_BASE((uint64_t)p), 4096);
	return 1;
}

static bool memory_is_same(const struct verify *v)
{
	return same(v->is, v->page + (v->va & 4095), v->bytes);
}

static bool tier0_agrees(struct cpu *c, const struct insn *i,
			 const uint8_t *operand)
{
	struct verify *v = c->jit->verify;

	copy_bytes(v->page + (v->va & 4095), operand, v->bytes);
	state_load(c, &v->before);
	run_tier0(c, i, v->bytes != 0 ? v->va : 0);
	state_save(c, &v->tier0, is_vector(i));
	return same_state(&v->native, &v->tier0) && memory_is_same(v);
}

/* Other registers are as they were. */
static bool wrote_no_others(const struct verify *v, unsigned wrote)
{
	bool others = false;

	for (unsigned n = 0; n < 16; n++)
		others |= v->native.gpr[n] != v->before.gpr[n] &&
			  host_of(n) != HOST_NONE && !(wrote >> host_of(n) & 1);
	return !others;
}

uint64_t verify_after(struct cpu *c, uint64_t at)
{
	const struct insn *i = insn_at(c, (uint32_t)at);
	struct verify *v = c->jit->verify;
	const void *p;

	if (v->skips) {
		turn_offer(c);
		return 1;
	}
	frame_to_cpu(c, i);
	state_save(c, &v->native, is_vector(i));
	if (!wrote_no_others(v, (unsigned)(at >> 32)))
		return verify_tell(c, i, insn_rip(c, i), DIFFER_WROTE);
	p = v->bytes != 0 ? tlb_read(c, v->va, v->bytes) : NULL;
	copy_bytes(v->is, p, p != NULL ? v->bytes : 0);
	if (!tier0_agrees(c, i, v->was) &&
	    (same(v->was, v->is, v->bytes) || !tier0_agrees(c, i, v->is))) {
		if (v->bytes == 0 || !host_wrote(c))
			return verify_tell(c, i, insn_rip(c, i), DIFFER_RESULT);
		state_load(c, &v->native); /* nothing is proved this time */
	}
	cpu_to_frame(c);
	turn_offer(c);
	return 1;
}

/* -- branches ----------------------------------------------------------------
 */

static bool is_call(const struct insn *i)
{
	const struct handler *h = opcode_table[i->op].handler;

	return h == &h_call || h == &h_calln;
}

static uint64_t word_at(const struct cpu *c, const void *at)
{
	return c->code_size == 8 ? *(const uint64_t *)at
				 : *(const uint32_t *)at;
}

/* The stack's page, where a call writes, is copied whole: its other operand
   may lie there. */
uint64_t verify_branch(struct cpu *c, uint64_t at)
{
	const struct insn *i = insn_at(c, at);
	struct verify *v = c->jit->verify;
	uint64_t stack = below_stack(c), va;
	const void *p = NULL, *from = NULL;
	unsigned bytes;

	frame_to_cpu(c, i);
	if (!turn_take(c)) {
		c->rip = insn_rip(c, i);
		return 0;
	}
	v->bytes = 0;
	bytes = operand_find(c, i, &va);
	if (is_call(i))
		p = tlb_write(c, stack, stack_word(c));
	if (bytes != 0)
		from = tlb_read(c, va, bytes);
	/* Tier 0 will get what is not there. */
	if ((bytes != 0 && from == NULL) || (is_call(i) && p == NULL))
		return 1;
	watch(c, from);
	if (p != NULL)
		copy_bytes(v->page, (const void *)PAGE_BASE((uint64_t)p), 4096);
	state_save(c, &v->before, false);
	v->branch = i;
	v->branch_rip = insn_rip(c, i);
	run_tier0(c, i, p != NULL ? stack : 0);
	state_save(c, &v->tier0, false);
	v->stack = p;
	v->goes = (struct went){c->rip, 0};
	if (p != NULL)
		v->goes.pushed = word_at(c, v->page + (stack & 4095));
	state_load(c, &v->before);
	return 1;
}

/* Where the stack is for the host was found before: to look for the target may
   have taken its place in the TLB. */
static bool arrived_well(struct cpu *c, uint64_t rip)
{
	struct verify *v = c->jit->verify;

	state_save(c, &v->native, false);
	v->went = (struct went){rip, 0};
	if (v->stack != NULL)
		v->went.pushed = word_at(c, v->stack);
	return (v->went.rip == v->goes.rip &&
		v->went.pushed == v->goes.pushed &&
		same_state(&v->native, &v->tier0)) ||
	       host_wrote(c);
}

uint64_t verify_arrival(struct cpu *c, uint64_t at)
{
	struct verify *v = c->jit->verify;
	const struct insn *branch = v->branch;

	frame_to_cpu(c, insn_at(c, at));
	v->branch = NULL;
	if (branch == NULL || arrived_well(c, insn_rip(c, insn_at(c, at)))) {
		turn_offer(c);
		return 1;
	}
	return verify_tell(c, branch, v->branch_rip, DIFFER_TARGET);
}

bool verify_left(struct cpu *c, bool by_branch, uint64_t rip)
{
	struct verify *v = c->jit->verify;
	const struct insn *branch;

	if (v == NULL)
		return true;
	branch = v->branch;
	v->branch = NULL;
	if (branch != NULL && by_branch && !arrived_well(c, rip))
		verify_tell(c, branch, v->branch_rip, DIFFER_TARGET);
	return turn_take(c);
}

/* For a branch the fault is the truth: it is not made twice. */
void verify_escaped(struct cpu *c)
{
	struct verify *v = c->jit->verify;
	const struct insn *i;

	if (v == NULL)
		return;
	turn_over(c);
	i = v->running;
	v->branch = NULL;
	v->running = NULL;
	if (i == NULL)
		return;
	*v->addend = v->addend_was;
	if (is_vector(i) || !(opcode_table[i->op].attr & OP_END))
		verify_tell(c, i, insn_rip(c, i), DIFFER_FAULT);
}
