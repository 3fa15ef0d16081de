// SPDX-License-Identifier: BSD-2-Clause
/*
 * A vCPU's translated code: its life, and what C does between two runs of it.
 */
#include "vmm/soft/jit/jit.h"

#include <errno.h>
#include <stdlib.h>

#include "vmm/soft/access.h"
#include "vmm/soft/bytes.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/jit/rules.h"
#include "vmm/soft/jit/translate.h"
#include "vmm/soft/jit/turn.h"
#include "vmm/soft/jit/verify.h"
#include "vmm/soft/vec.h"
#include "vmm/soft/window.h"

/* -- life
 * ---------------------------------------------------------------------- */

/* The common pieces, at the beginning of the code. */
#define PIECES_MAX (4 * KiB)

static int emit_pieces(struct cpu *c)
{
	struct jit *jit = c->jit;
	struct emit e = {.at = jit->code.write,
			 .end = jit->code.write + PIECES_MAX};

	pieces_emit(c, &e);
	jit->code_start = jit->code.used = ALIGN_UP(hops_end(jit), 64);
	jit->cold = jit->code.size;
	jit->cold_ready = ALIGN_DOWN(jit->code.size, JIT_READY_STEP);
	codemem_publish();
	for (unsigned n = 0; n < TLB_TABLES; n++)
		targets_clear(c->tlb_all[n]);
	return e.full ? -ENOSPC : 0;
}

int jit_create(struct cpu *c)
{
	struct jit *jit;
	int error;

	if (!jit_host_can() || c->svm->jit_bytes == 0)
		return 0;
	jit = calloc(1, sizeof(*jit));
	if (jit == NULL)
		return -ENOMEM;
	c->jit = jit;
	jit->hot = c->svm->jit_hot;
	jit->all_hot = jit->hot == 1;
	jit->unit = calloc(1, sizeof(*jit->unit));
	jit->link = calloc(JIT_LINKS, sizeof(*jit->link));
	jit->link_hash = calloc(1u << JIT_LINK_BITS, sizeof(uint32_t));
	jit->rule_of = calloc(opcode_count, sizeof(*jit->rule_of));
	if (jit->unit == NULL || jit->link == NULL || jit->link_hash == NULL ||
	    jit->rule_of == NULL)
		return -ENOMEM;
	for (unsigned n = 0; n < opcode_count; n++)
		jit->rule_of[n] = (uint16_t)rule_find(opcode_table[n].handler);
	error = codemem_create(&jit->code, c->svm->jit_bytes);
	if (error == 0)
		error = hops_create(jit, PIECES_MAX);
	if (error == 0)
		error = verify_create(c);
	if (error == 0)
		error = faults_create(jit);
	return error != 0 ? error : emit_pieces(c);
}

void jit_destroy(struct cpu *c)
{
	struct jit *jit = c->jit;

	if (jit == NULL)
		return;
	verify_destroy(c);
	codemem_destroy(&jit->code);
	hops_destroy(jit);
	faults_destroy(jit);
	free(jit->unit);
	free(jit->link);
	free(jit->link_hash);
	free(jit->rule_of);
	free(jit);
	c->jit = NULL;
}

void jit_flush(struct cpu *c)
{
	struct jit *jit = c->jit;

	if (jit == NULL)
		return;
	jit->code.used = jit->code_start;
	jit->cold = jit->code.size;
	c->vcpu->stats[VM_STAT_JIT_FLUSHES]++;
	jit->link_used = 0;
	jit->hops.used = 0;
	faults_forget(&jit->faults);
	jit->again = NULL;
	jit->full = false;
	zero_bytes(jit->link_hash, sizeof(uint32_t) << JIT_LINK_BITS);
	for (unsigned n = 0; n < TLB_TABLES; n++) {
		targets_clear(c->tlb_all[n]);
		c->tlb_all[n]->wandering = 0;
	}
}

/* Its first bytes become a jump to leave_rip: T0 is the address there. */
void jit_kill(struct cpu *c, struct block *b)
{
	struct jit *jit = c->jit;
	uint8_t *at;
	struct emit e;

	if (b->code == NULL)
		return;
	at = jit->code.write + ((const uint8_t *)b->code - jit->code.exec);
	e = (struct emit){.at = at, .end = at + 5};
	emit_to(&e, emit_jmp(&e),
		jit->code.write + (jit->leave_rip - jit->code.exec));
	b->code = NULL;
	hops_drop_to(jit, b);
	codemem_publish();
}

/* -- between C and translated code
 * ----------------------------------------------------- */

/* What no page is at, whatever is added in 32 bits. */
#define BASE_NOWHERE (1ull << 63)

/* Of 32-bit code, which adds a base and cuts the sum to the bits. */
static void frame_segments(struct cpu *c, struct tlb *t)
{
	t->fs_bits = t->gs_bits = 0xffffffff;
	if (!segment_is_open(&c->seg[SEG_FS])) {
		t->fs_base = BASE_NOWHERE;
		t->fs_bits = ~0ull;
	}
	if (!segment_is_open(&c->seg[SEG_GS])) {
		t->gs_base = BASE_NOWHERE;
		t->gs_bits = ~0ull;
	}
}

static void frame_fill(struct cpu *c, struct tlb *t)
{
	t->r9 = c->gpr[9];
	t->r10 = c->gpr[10];
	t->r11 = c->gpr[11];
	t->fs_base = c->seg[SEG_FS].base;
	t->gs_base = c->seg[SEG_GS].base;
	if (unlikely(c->code_size != 8))
		frame_segments(c, t);
	t->vec_blocked = c->vec_blocked;
}

static void frame_take(struct cpu *c, const struct tlb *t)
{
	c->gpr[9] = t->r9;
	c->gpr[10] = t->r10;
	c->gpr[11] = t->r11;
}

static void frame_take_at(struct cpu *c, const struct tlb *t,
			  const struct insn *i)
{
	frame_take(c, t);
	c->gpr[17] = block_base(block_of(i), t->rip_base);
}

/*
 * A kick is a sample of where the time goes. Where several of the last ones
 * fell, probes are worth a place to remember their page.
 */
static void sample(struct cpu *c)
{
	struct jit *jit = c->jit;
	unsigned n = tlb_place(c->rip), same = 0;
	uint64_t gpa, region;

	c->vcpu->stats[VM_STAT_KICKS_TIER1]++;
	if (window_kick(c))
		return;
	if (!tlb_match(c->tlb->exec[n], c->rip))
		return;
	gpa = c->rip + c->tlb->addend[n] - (uint64_t)c->ram;
	region = gpa >> 7;
	jit->sample[jit->samples++ % JIT_SAMPLES] = region;
	for (unsigned k = 0; k < JIT_SAMPLES; k++)
		same += jit->sample[k] == region;
	c->gpr[17] = PAGE_BASE(c->rip);
	if (same >= JIT_SAMPLES / 8)
		blocks_found_hot(c, gpa);
	if (c->tlb->has_windows)
		faults_calm(c);
}

/*
 * A probe of instruction i missed SITE_PATIENCE times. If it did so in less
 * time than as many longer ways take, it goes to the TLB at once from now on:
 * the block is translated again.
 */
static void wanderer(struct cpu *c, struct tlb *t, const struct insn *i)
{
	struct block *b =
	    (struct block *)(void *)((uint8_t *)(uintptr_t)c->arena +
				     t->wandering);
	uint64_t now = __builtin_ia32_rdtsc();
	uint64_t *then = &c->jit->wandered[(uintptr_t)i / 8 % JIT_WANDERED];

	t->wandering = 0;
	if (now - *then < SITE_PATIENCE * 200 && b->code != NULL) {
		((struct insn *)(uintptr_t)i)->flags |= INSN_WANDERS;
		jit_again(c, b, c->gpr[17]);
	}
	*then = now;
}

void jit_again(struct cpu *c, struct block *b, uint64_t rip_base)
{
	if (c->jit->again != NULL)
		return;
	c->jit->again = b;
	c->jit->again_base = rip_base;
}

static void translate_waiting(struct cpu *c)
{
	struct jit *jit = c->jit;
	struct block *b = jit->again;
	uint64_t rip_base = c->gpr[17];

	jit->again = NULL;
	if ((b->key & ~MASK(MODE_KEY_SHIFT - 1, 0)) != c->mode_key)
		return;
	c->gpr[17] = jit->again_base;
	jit_translate_again(c, b);
	c->gpr[17] = rip_base;
}

const struct insn *jit_run(struct cpu *c, const struct block *b)
{
	struct tlb *t = c->tlb;
	struct jit_exit out;
	const struct insn *i;
	bool goes_on;

	if (unlikely(c->jit->again != NULL))
		translate_waiting(c);
	t->rip_base = c->gpr[17];
	frame_fill(c, t);
	out = c->jit->enter(t, b->near);
	c->vcpu->stats[VM_STAT_JIT_LEAVES]++;
	t = c->tlb;
	if (out.how == JIT_EXIT_DONE) {
		(void)verify_left(c, false, 0);
		if (c->kick != 0)
			sample(c);
		return NULL;
	}
	frame_take(c, t);
	goes_on = verify_left(c, out.how == JIT_EXIT_RIP, out.at);
	if (out.how == JIT_EXIT_RIP) {
		c->rip = out.at;
		return NULL;
	}
	i = (const struct insn *)(const void *)(c->arena + out.at);
	c->block = block_of(i);
	c->gpr[17] = block_base(c->block, t->rip_base);
	if (unlikely(t->wandering != 0))
		wanderer(c, t, i);
	c->retired += c->block->count - (uint64_t)(i - &c->block->insn[1]);
	if (unlikely(c->kick != 0)) {
		c->rip = c->gpr[17] + i->off;
		sample(c);
	}
	return likely(goes_on) ? i->exec(c, i) : leave_at(c, i);
}

/*
 * A block with vector instructions began with nothing in their way: of that,
 * nothing may come into it.
 */
static bool vec_still_clear(struct cpu *c, unsigned was)
{
	if ((c->vec_blocked & ~was) == VEC_DEAD)
		vec_enter(c);
	return (c->vec_blocked & ~was) == 0;
}

/*
 * The instruction runs in a block of its own, whose end comes back here.
 * Translated code goes on unless what it relies on is another: the table, the
 * block's bytes, the vector state.
 */
uint64_t jit_interp(struct cpu *c, uint64_t at)
{
	const struct insn *i =
	    (const struct insn *)(const void *)(c->arena + at);
	struct tlb *t = c->tlb;
	unsigned vec_was = (unsigned)t->vec_blocked;
	struct insn *alone;

	frame_take_at(c, t, i);
	if (unlikely(t->wandering != 0))
		wanderer(c, t, i);
	if (turns_are_taken(c) && !turn_take(c)) {
		c->rip = insn_rip(c, i);
		return 0;
	}
	alone = block_single(c, i);
	c->vcpu->stats[VM_STAT_JIT_INTERP]++;
	c->retired++;
	if (alone->exec(c, alone) == NULL)
		return 0;
	if (turns_are_taken(c))
		turn_offer(c);
	if (c->tlb != t || c->kick != 0 || t->go == 0 || block_is_dead(i) ||
	    c->jit->again != NULL || !vec_still_clear(c, vec_was)) {
		c->rip = next_rip(c, alone);
		return 0;
	}
	cpu_calm(c);
	frame_fill(c, t);
	return 1;
}

/* Translated code goes on at where, with T0 and T1. */
static uint64_t go_on(struct tlb *t, const void *where, uint64_t t0,
		      uint64_t t1)
{
	t->miss_code = where;
	t->miss_va = t0;
	t->miss_what = t1;
	return 1;
}

/* What leads from a host register to its window; it may be none. */
static uint64_t lead_of(const struct cpu *c, const struct tlb *t, uint8_t host)
{
	uint64_t at;

	if (host == HOST_NONE)
		return 0;
	at = c->gpr[guest_of(host)] >> WINDOW_SHIFT;
	return t->window[at & (WINDOW_PLACES - 1)];
}

uint64_t jit_fault(struct cpu *c, uint64_t unused)
{
	struct jit *jit = c->jit;
	struct tlb *t = c->tlb;
	const struct jit_access *a = &jit->faults.access[t->miss_what];
	const uint8_t *at = jit->code.exec + a->begin;
	uint64_t va;

	frame_take_at(c, t, access_insn(c, a));
	cpu_calm(c);
	va = access_va(c, a);
	if (fault_served(c, a, va)) {
		return go_on(t, at - a->again,
			     a->base == T0 ? va - (uint64_t)a->disp
					   : lead_of(c, t, a->base),
			     0);
	}
	if (!a->is_exit)
		return jit_interp(c, a->insn) &&
		       go_on(t, at + a->back, lead_of(c, t, a->held), 0);
	return go_on(t, jit->leave, a->insn, JIT_EXIT_INSN);
}

/* Nothing is due that the main loop would see to. */
static bool may_go_on(const struct cpu *c)
{
	return c->kick == 0 && c->tlb->go != 0 && !c->exception.valid &&
	       !c->jit->full && !c->failed && !c->nmi_waits &&
	       !(c->intr_check && (c->flags & RFLAGS_IF)) && !c->align_check &&
	       c->mode_key & MODE_KEY_FLAT && !cpu_wants_alone(c);
}

/* On at c->rip. */
static struct jit_onward onward(struct cpu *c, const struct tlb *from)
{
	struct tlb *t = c->tlb;
	const struct target *at = &t->target[target_place(c->rip)];

	if (!may_go_on(c))
		return (struct jit_onward){NULL, NULL};
	cpu_calm(c);
	if (at->rip != 0 - c->rip && !jit_target(c, c->rip))
		return (struct jit_onward){NULL, NULL};
	c->jump_tag = c->live_tag;
	if (unlikely(t->faulted != 0))
		window_answer(c, t);
	frame_fill(c, t);
	t->host_rsp = from->host_rsp;
	return (struct jit_onward){at->code, t};
}

/* The scratch block's instruction: c->rip is where it leads to, and nothing
   else is run, by no link and no look-up. */
static void run_single(struct cpu *c, const struct insn *i)
{
	c->jump_tag = 0;
	if (i->exec(c, i) != NULL)
		c->rip = next_rip(c, i);
	c->link_from = NULL;
}

struct jit_onward jit_system(struct cpu *c, uint64_t at)
{
	const struct insn *i =
	    (const struct insn *)(const void *)(c->arena + at);
	struct tlb *t = c->tlb;
	struct insn *alone;

	frame_take_at(c, t, i);
	if (unlikely(t->wandering != 0))
		wanderer(c, t, i);
	alone = block_single(c, i);
	c->retired++;
	run_single(c, alone);
	return onward(c, t);
}
