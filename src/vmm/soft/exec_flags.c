/* SPDX-License-Identifier: BSD-2-Clause */
/* Single flags, LAHF and SAHF; the decimal adjustments. */
#include "vmm/cpuid.h"
#include "vmm/soft/exec.h"
#include "x86/features.h"

EXEC(clc)
{
	c->arith_flags &= (uint16_t)~CF_BIT;
	return next(c, i);
}

EXEC(stc)
{
	c->arith_flags |= CF_BIT;
	return next(c, i);
}

EXEC(cmc)
{
	c->arith_flags ^= CF_BIT;
	return next(c, i);
}

EXEC(cld)
{
	c->flags &= ~RFLAGS_DF;
	return next(c, i);
}

EXEC(std)
{
	c->flags |= RFLAGS_DF;
	return next(c, i);
}

/* AH: SF ZF 0 AF 0 PF 1 CF. */
/* In 64-bit mode these are a feature of their own. */
static void check_lahf_lm(struct cpu *c, const struct insn *i)
{
	if (c->code_size == 8 &&
	    !cpu_model_has(c->svm->vm->cpu_model, X86_FEATURE_LAHF_LM))
		raise_ud(c, i);
}

EXEC(lahf)
{
	check_lahf_lm(c, i);
	SET8(REG_RAX + 1, ((c->arith_flags >> 8) & 0xd5) | 2);
	return next(c, i);
}

EXEC(sahf)
{
	check_lahf_lm(c, i);
	c->arith_flags = (uint16_t)((c->arith_flags & 0xff) |
				    ((GET8(REG_RAX + 1) & 0xd5) | 2) << 8);
	return next(c, i);
}

EXEC(salc)
{
	SET8(REG_RAX, c->arith_flags & CF_BIT ? 0xff : 0);
	return next(c, i);
}

const struct handler h_clc = {.one = clc}, h_stc = {.one = stc},
		     h_cmc = {.one = cmc}, h_cld = {.one = cld},
		     h_std = {.one = std}, h_lahf = {.one = lahf},
		     h_sahf = {.one = sahf}, h_salc = {.one = salc};

/* -- decimal adjustment (SDM vol. 2: DAA, DAS, AAA, AAS, AAM, AAD)
 * ------------- */

static void set_szp(struct cpu *c, uint8_t value, unsigned keep, unsigned set)
{
	uint16_t f;

	__asm__("testb %1, %1" FLAGS_OUT : "=&a"(f) : "q"(value) : "cc");
	c->arith_flags = (uint16_t)((f & (SF_BIT | ZF_BIT | PF_BIT)) |
				    (c->arith_flags & keep) | set);
}

static void decimal_adjust(struct cpu *c, int sign)
{
	uint8_t old = GET8(REG_RAX), al = old;
	bool carry = (c->arith_flags & CF_BIT) != 0;
	unsigned set = 0;

	if ((al & 15) > 9 || (c->arith_flags & AF_BIT)) {
		set |= AF_BIT;
		if (sign < 0 ? old < 6 : old > 0xf9)
			set |= CF_BIT;
		if (carry)
			set |= CF_BIT;
		al = (uint8_t)(al + sign * 6);
	}
	if (old > 0x99 || carry) {
		al = (uint8_t)(al + sign * 0x60);
		set |= CF_BIT;
	} else if (sign > 0) {
		set &= ~CF_BIT;
	}
	SET8(REG_RAX, al);
	set_szp(c, al, 0, set);
}

EXEC(daa)
{
	decimal_adjust(c, 1);
	return next(c, i);
}

EXEC(das)
{
	decimal_adjust(c, -1);
	return next(c, i);
}

static void ascii_adjust(struct cpu *c, int sign)
{
	uint16_t ax = GET16(REG_RAX);
	bool adjust = (ax & 15) > 9 || (c->arith_flags & AF_BIT);

	if (adjust)
		ax = (uint16_t)(ax + sign * 0x106);
	ax &= 0xff0f;
	SET16(REG_RAX, ax);
	set_szp(c, (uint8_t)ax, 0, adjust ? AF_BIT | CF_BIT : 0);
}

EXEC(aaa)
{
	ascii_adjust(c, 1);
	return next(c, i);
}

EXEC(aas)
{
	ascii_adjust(c, -1);
	return next(c, i);
}

EXEC(aam)
{
	uint8_t al = GET8(REG_RAX), base = (uint8_t)i->imm;

	if (base == 0)
		soft_raise(c, i, X86_DE, 0, 0);
	SET16(REG_RAX, (al / base) << 8 | al % base);
	set_szp(c, GET8(REG_RAX), 0, 0);
	return next(c, i);
}

EXEC(aad)
{
	uint8_t al =
	    (uint8_t)(GET8(REG_RAX) + GET8(REG_RAX + 1) * (uint8_t)i->imm);

	SET16(REG_RAX, al);
	set_szp(c, al, 0, 0);
	return next(c, i);
}

const struct handler h_daa = {.one = daa}, h_das = {.one = das},
		     h_aaa = {.one = aaa}, h_aas = {.one = aas},
		     h_aam = {.one = aam}, h_aad = {.one = aad};
