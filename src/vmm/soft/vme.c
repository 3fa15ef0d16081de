/* SPDX-License-Identifier: BSD-2-Clause */
#include "vmm/soft/vme.h"
#include "vmm/cpuid.h"
#include "vmm/soft/access.h"
#include "vmm/soft/far.h"
#include "x86/features.h"

static bool is_iopl_3(const struct cpu *c)
{
	return (c->flags & RFLAGS_IOPL) == RFLAGS_IOPL;
}

/* -- VIF ---------------------------------------------------------------------
 */

uint64_t vme_rflags(const struct cpu *c)
{
	return cpu_model_has(c->svm->vm->cpu_model, X86_FEATURE_VME)
		   ? RFLAGS_VIF | RFLAGS_VIP
		   : 0;
}

bool vme_is_virtual(struct cpu *c, const struct insn *i)
{
	if (!(c->cr0 & CR0_PE) || c->cpl <= (c->flags >> 12 & 3))
		return false;
	if (c->cpl == 3 &&
	    (c->cr4 & (c->flags & RFLAGS_VM ? CR4_VME : CR4_PVI)))
		return true;
	raise_gp(c, i, 0);
}

bool vme_frame_is_virtual(struct cpu *c, const struct insn *i)
{
	if (!(c->flags & RFLAGS_VM) || is_iopl_3(c))
		return false;
	if (!(c->cr4 & CR4_VME) || i->lsize != 1)
		raise_gp(c, i, 0);
	return true;
}

void vme_sti(struct cpu *c, const struct insn *i)
{
	if (c->flags & RFLAGS_VIP)
		raise_gp(c, i, 0);
	c->flags |= RFLAGS_VIF;
}

uint64_t vme_flags(const struct cpu *c)
{
	uint64_t image = rflags_get(c) | RFLAGS_IOPL | RFLAGS_IF;

	return c->flags & RFLAGS_VIF ? image : image & ~(uint64_t)RFLAGS_IF;
}

void vme_set_flags(struct cpu *c, const struct insn *i, uint64_t image)
{
	if ((image & RFLAGS_TF) ||
	    ((image & RFLAGS_IF) && (c->flags & RFLAGS_VIP)))
		raise_gp(c, i, 0);
	c->flags &= ~RFLAGS_VIF;
	if (image & RFLAGS_IF)
		c->flags |= RFLAGS_VIF;
}

/* -- INT n -------------------------------------------------------------------
 */

/* The bit of n in the 32 bytes below the I/O bitmap (SDM vol. 3, 20.3.3). */
static bool is_redirected(struct cpu *c, const struct insn *i, uint8_t vector)
{
	uint32_t at;

	if ((c->tr.access & AR_TYPE) < DESC_TSS || c->tr.limit < 103)
		raise_gp(c, i, 0);
	at = (uint32_t)system_load(c, i, (uint32_t)c->tr.base + 102, 2);
	at += vector / 8u - 32;
	if (at > c->tr.limit) /* or below 0 */
		raise_gp(c, i, 0);
	return (system_load(c, i, (uint32_t)c->tr.base + at, 1) >>
		    (vector & 7) &
		1) == 0;
}

/* As in real mode, on v86's own stack, by the table at 0; no trap by TF. */
static _Noreturn void redirect(struct cpu *c, const struct insn *i,
			       uint8_t vector)
{
	struct stack s = {.ss = c->seg[SEG_SS],
			  .sp = c->gpr[4],
			  .mask_size = 2,
			  .vector = X86_SS,
			  .user = true};
	uint32_t entry = load32(c, i, vector * 4u);
	uint64_t flags = is_iopl_3(c) ? rflags_get(c) : vme_flags(c);

	stack_push(c, i, &s, 1, flags);
	stack_push(c, i, &s, 1, c->seg[SEG_CS].selector);
	stack_push(c, i, &s, 1, next_rip(c, i));
	end_block(c, i);
	stack_commit(c, &s);
	rflags_set(c, 0, RFLAGS_TF | (is_iopl_3(c) ? RFLAGS_IF : RFLAGS_VIF));
	segment_load_real(c, SEG_CS, (uint16_t)(entry >> 16));
	cpu_mode_changed(c);
	c->rip = entry & 0xffff;
	soft_go_on(c);
}

void vme_int(struct cpu *c, const struct insn *i, uint8_t vector)
{
	if (!(c->flags & RFLAGS_VM))
		return;
	if ((c->cr4 & CR4_VME) && is_redirected(c, i, vector))
		redirect(c, i, vector);
	if (!is_iopl_3(c))
		raise_gp(c, i, 0);
}
