/* SPDX-License-Identifier: BSD-2-Clause */
/* SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM vol. 2; APM vol. 3 for where AMD
   differs: SYSCALL from compatibility mode, SYSRET's SS). */
#include "vmm/cpuid.h"
#include "vmm/soft/exec.h"
#include "vmm/soft/far.h"

static bool is_amd(const struct cpu *c)
{
	return cpu_model_is_amd(c->svm->vm->cpu_model);
}

/* Flat segments, which these instructions load without looking. */
static struct segment flat_code(uint16_t selector, unsigned cpl, bool is_64)
{
	return (struct segment){
	    .selector = selector,
	    .limit = 0xffffffff,
	    .access = AR_P | AR_S | AR_CODE | AR_READABLE | AR_ACCESSED | AR_G |
		      cpl << AR_DPL_SHIFT | (is_64 ? AR_L : AR_DB)};
}

static struct segment flat_stack(uint16_t selector, unsigned cpl)
{
	return (struct segment){.selector = selector,
				.limit = 0xffffffff,
				.access = AR_P | AR_S | AR_WRITABLE |
					  AR_ACCESSED | AR_G | AR_DB |
					  cpl << AR_DPL_SHIFT};
}

static void check_canonical(struct cpu *c, const struct insn *i, uint64_t rip)
{
	if (!is_canonical(c, rip))
		raise_gp(c, i, 0);
}

EXEC(syscall)
{
	uint64_t star = c->msr[VCPU_MSR_STAR];
	uint16_t selector = (uint16_t)(star >> 32) & ~3u;
	bool from_64 = c->code_size == 8;
	uint64_t ret = next_rip(c, i);
	struct segment cs;

	if (!(c->efer & EFER_SCE) || !is_long_mode(c) ||
	    (!from_64 && !is_amd(c)))
		raise_ud(c, i);
	end_block(c, i);
	c->gpr[1] = ret;
	c->gpr[11] = rflags_get(c) & ~(uint64_t)RFLAGS_RF;
	rflags_set(c, 0, c->msr[VCPU_MSR_SFMASK] | RFLAGS_RF);
	c->rip = c->msr[from_64 ? VCPU_MSR_LSTAR : VCPU_MSR_CSTAR];
	c->seg[SEG_SS] = flat_stack(selector + 8, 0);
	cs = flat_code(selector, 0, true);
	set_code_segment(c, &cs, 0);
	return go_anew(c);
}

EXEC(sysret)
{
	uint64_t star = c->msr[VCPU_MSR_STAR];
	uint16_t base = (uint16_t)(star >> 48) | 3;
	bool to_64 = i->lsize == 3;
	struct segment cs, ss;

	if (!(c->efer & EFER_SCE) || !is_long_mode(c))
		raise_ud(c, i);
	if (to_64)
		check_canonical(c, i, c->gpr[1]);
	end_block(c, i);
	rflags_set(c, c->gpr[11], 0x3c7fd5); /* all but reserved, RF, VM */
	c->rip = to_64 ? c->gpr[1] : (uint32_t)c->gpr[1];
	cs = flat_code(to_64 ? base + 16 : base, 3, to_64);
	ss = flat_stack(base + 8, 3);
	c->seg[SEG_SS] = ss;
	set_code_segment(c, &cs, 3);
	return go_anew(c);
}

const struct handler h_syscall = {.one = syscall}, h_sysret = {.one = sysret};

EXEC(sysenter)
{
	uint64_t selector = c->msr[VCPU_MSR_SYSENTER_CS];
	bool lma = is_long_mode(c);
	struct segment cs;

	if (lma && is_amd(c))
		raise_ud(c, i);
	if (!(c->cr0 & CR0_PE) || (selector & 0xfffc) == 0)
		raise_gp(c, i, 0);
	end_block(c, i);
	rflags_set(c, 0, RFLAGS_VM | RFLAGS_IF | RFLAGS_RF);
	c->gpr[4] = c->msr[VCPU_MSR_SYSENTER_ESP];
	c->rip = c->msr[VCPU_MSR_SYSENTER_EIP];
	if (!lma) {
		c->gpr[4] = (uint32_t)c->gpr[4];
		c->rip = (uint32_t)c->rip;
	}
	selector &= 0xfffc;
	c->seg[SEG_SS] = flat_stack((uint16_t)(selector + 8), 0);
	cs = flat_code((uint16_t)selector, 0, lma);
	set_code_segment(c, &cs, 0);
	return NULL;
}

EXEC(sysexit)
{
	uint64_t selector = c->msr[VCPU_MSR_SYSENTER_CS];
	bool to_64 = i->lsize == 3;
	uint16_t code;
	struct segment cs;

	if (is_long_mode(c) && is_amd(c))
		raise_ud(c, i);
	if (!(c->cr0 & CR0_PE) || (selector & 0xfffc) == 0)
		raise_gp(c, i, 0);
	if (to_64) {
		check_canonical(c, i, c->gpr[1]);
		check_canonical(c, i, c->gpr[2]);
	}
	end_block(c, i);
	code = (uint16_t)((selector + (to_64 ? 32 : 16)) | 3);
	c->gpr[4] = to_64 ? c->gpr[1] : (uint32_t)c->gpr[1];
	c->rip = to_64 ? c->gpr[2] : (uint32_t)c->gpr[2];
	c->seg[SEG_SS] = flat_stack(code + 8, 3);
	cs = flat_code(code, 3, to_64);
	set_code_segment(c, &cs, 3);
	return NULL;
}

const struct handler h_sysenter = {.one = sysenter},
		     h_sysexit = {.one = sysexit};
