// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/soft/jit/verify.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/soft/access.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/handlers.h"
#include "vmm/soft/jit/translate.h"
#include "vmm/soft/jit/turn.h"
#include "vmm/soft/jit/verify_state.h"
#include "vmm/soft/string.h"
#include "vmm/soft/vec.h"
#include "vmm/soft/window.h"

/*
 * An instruction that agreed so often is compared at every sixteenth run
 * only: a kernel boots in minutes instead of an hour.
 */
#define AGREED_OFTEN 256
#define AGREED_SKIP  15

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
 * Runs i alone, with the operand's page led to v->page, if it is in one: so or
 * so, what tier 0 makes of the operand is in its copy then. After a branch,
 * c->rip is where it went. A fault goes to the main loop, and verify_escaped.
 * Vector state that was live is again: translated code goes on with it.
 */
static void run_tier0(struct cpu *c, const struct insn *i)
{
	struct verify *v = c->jit->verify;
	uint64_t tag = c->jump_tag, retired = c->retired;
	uint8_t shadow = c->intr_shadow;
	bool live = c->vec_live;
	struct insn *alone = block_single(c, i);

	v->running = i;
	v->addend = &c->tlb->addend[tlb_place(v->va)];
	v->addend_was = *v->addend;
	if (v->bytes != 0 && !is_in_two_pages(v))
		*v->addend = (uint64_t)v->page - PAGE_BASE(v->va);
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
	if (is_in_two_pages(v))
		operand_read(v, v->page);
	if (live)
		vec_enter(c);
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

/* RDTSC may run ahead of what is before it, another one among that. */
static void order_rdtsc(void)
{
	__asm__ volatile("lfence" : : : "memory");
}

/* Translated code finds what it would find without us: vector state live, and
   its copy of the line, good or not. */
static void tsc_note(struct cpu *c)
{
	struct tsc_copy copy = c->tsc;
	bool live = c->vec_live;

	c->jit->verify->tsc = soft_tsc(c);
	c->tsc = copy;
	if (live)
		vec_enter(c);
	order_rdtsc();
}

uint64_t verify_before(struct cpu *c, uint64_t at)
{
	const struct insn *i = insn_at(c, at);
	struct verify *v = c->jit->verify;
	uint64_t tags = c->tag_count;

	frame_to_cpu(c, i);
	if (!turn_take(c)) {
		c->rip = insn_rip(c, i);
		return 0;
	}
	v->skips = skip_it(v, i, c->arena);
	if (v->skips)
		return 1;
	state_save(c, &v->before, is_vector(i));
	v->skips = !operand_note(c, i);
	if (c->tag_count != tags) {
		c->rip = insn_rip(c, i);
		return 0; /* looking there has dropped the block */
	}
	if (!v->skips && is_rdtsc(i))
		tsc_note(c);
	return 1;
}

static uint64_t edx_eax(const struct state *s)
{
	return s->gpr[2] << 32 | (uint32_t)s->gpr[0];
}

/*
 * Time has gone on: what translated code read is right if it lies between what
 * tier 0 did before it and after it. If that went back meanwhile, since the
 * clock was set or the host's TSC has jumped (tsc.c), all lies between.
 */
static void time_settle(struct cpu *c)
{
	struct verify *v = c->jit->verify;
	const uint64_t *read = v->native.gpr;
	uint64_t passed = edx_eax(&v->native) - v->tsc;

	if (passed > edx_eax(&v->tier0) - v->tsc || read[0] >> 32 != 0 ||
	    read[2] >> 32 != 0)
		return;
	c->gpr[0] = v->tier0.gpr[0] = read[0];
	c->gpr[2] = v->tier0.gpr[2] = read[2];
}

/* From the same state, with the operand what it was. */
static bool tier0_agrees(struct cpu *c, const struct insn *i,
			 const uint8_t *operand)
{
	struct verify *v = c->jit->verify;

	if (is_in_two_pages(v))
		operand_change(v, v->is, operand);
	else
		copy_bytes(operand_copy(v), operand, v->bytes);
	state_load(c, &v->before);
	run_tier0(c, i);
	state_save(c, &v->tier0, is_vector(i));
	if (is_rdtsc(i))
		time_settle(c);
	return same_state(&v->native, &v->tier0) &&
	       same(v->is, operand_copy(v), v->bytes);
}

/*
 * What a device wrote may have been there in time for translated code. From a
 * page that is as a string left it, tier 0 would come to the same whatever had
 * been written beside the string.
 */
static bool agrees(struct cpu *c, const struct insn *i)
{
	struct verify *v = c->jit->verify;

	return tier0_agrees(c, i, v->was) ||
	       (v->bytes <= OPERAND_BYTES && !is_in_two_pages(v) &&
		!same(v->was, v->is, v->bytes) && tier0_agrees(c, i, v->is));
}

/* Nothing is proved this time: it stays what translated code made of it. */
static void take_native(struct cpu *c)
{
	struct verify *v = c->jit->verify;

	state_load(c, &v->native);
	if (is_in_two_pages(v))
		operand_change(v, operand_copy(v), v->is);
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

/* May tier 0 run it, too? Not where a device's write would be lost. */
static bool can_compare(const struct cpu *c)
{
	const struct verify *v = c->jit->verify;

	return !v->skips &&
	       !(is_in_two_pages(v) && operand_host_has_written(c));
}

static uint64_t compare(struct cpu *c, const struct insn *i, unsigned wrote)
{
	struct verify *v = c->jit->verify;
	uint64_t rip = insn_rip(c, i), tags = c->tag_count;

	state_save(c, &v->native, is_vector(i));
	if (v->is_left)
		return verify_tell(c, i, rip, DIFFER_LEFT);
	if (!wrote_no_others(v, wrote))
		return verify_tell(c, i, rip, DIFFER_WROTE);
	operand_read(v, v->is);
	if (!agrees(c, i)) {
		if (v->bytes == 0 || !operand_host_wrote(c))
			return verify_tell(c, i, rip, DIFFER_RESULT);
		take_native(c);
	}
	cpu_to_frame(c);
	if (c->tag_count == tags)
		return 1;
	c->rip = next_rip(c, i);
	return 0; /* tier 0 has dropped the block */
}

uint64_t verify_after(struct cpu *c, uint64_t at)
{
	const struct insn *i = insn_at(c, (uint32_t)at);
	uint64_t goes_on = 1;

	if (can_compare(c)) {
		frame_to_cpu(c, i);
		goes_on = compare(c, i, (unsigned)(at >> 32));
	}
	turn_offer(c);
	return goes_on;
}

/* -- branches ----------------------------------------------------------------
 */

static bool is_call(const struct insn *i)
{
	const struct handler *h = opcode_table[i->op].handler;

	return h == &h_call || h == &h_calln;
}

/* What a call has pushed, or 0. */
static uint64_t word_of(const struct verify *v, const uint8_t *bytes)
{
	uint64_t word = 0;

	copy_bytes(&word, bytes, v->bytes);
	return word;
}

/* Of a word in two pages, what was there is put back. */
static void branch_tier0(struct cpu *c, const struct insn *i)
{
	struct verify *v = c->jit->verify;

	state_save(c, &v->before, false);
	v->branch = i;
	v->branch_rip = insn_rip(c, i);
	run_tier0(c, i);
	state_save(c, &v->tier0, false);
	if (is_in_two_pages(v))
		operand_change(v, v->page, v->was);
	v->goes = (struct went){c->rip, word_of(v, operand_copy(v))};
	state_load(c, &v->before);
}

uint64_t verify_branch(struct cpu *c, uint64_t at)
{
	const struct insn *i = insn_at(c, at);
	uint64_t tags = c->tag_count;
	bool found;

	frame_to_cpu(c, i);
	if (turn_take(c)) {
		found = branch_note(c, i, is_call(i));
		if (c->tag_count == tags) {
			if (found)
				branch_tier0(c, i);
			return 1;
		}
	}
	c->rip = insn_rip(c, i);
	return 0;
}

/* Where the stack is for the host was found before: to look for the target may
   have taken its place in the TLB. */
static bool arrived_well(struct cpu *c, uint64_t rip)
{
	struct verify *v = c->jit->verify;

	state_save(c, &v->native, false);
	operand_read(v, v->is);
	v->went = (struct went){rip, word_of(v, v->is)};
	return (v->went.rip == v->goes.rip &&
		v->went.pushed == v->goes.pushed &&
		same_state(&v->native, &v->tier0)) ||
	       operand_host_wrote(c);
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
