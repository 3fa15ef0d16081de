/* SPDX-License-Identifier: BSD-2-Clause */
/* XCHG, XADD, CMPXCHG, CMPXCHG8B/16B. */
#include <stddef.h>

#include "vmm/cpuid.h"
#include "vmm/soft/exec.h"
#include "x86/features.h"

/* XCHG with memory locks with or without the prefix. */
#define XCHG_FORMS(name, bits, sfx)                                            \
	EXEC(xchg_rr##bits)                                                    \
	{                                                                      \
		uint##bits##_t a = GET##bits(i->a), b = GET##bits(i->b);       \
		SET##bits(i->a, b);                                            \
		SET##bits(i->b, a);                                            \
		return next(c, i);                                             \
	}                                                                      \
	EXEC(xchg_mr##bits)                                                    \
	{                                                                      \
		uint##bits##_t *p = OPERAND_RW(bits), v = GET##bits(i->b);     \
		__asm__ volatile("xchg" #sfx " %0, %1"                         \
				 : "+r"(v), "+m"(*p)                           \
				 :                                             \
				 : "memory");                                  \
		operand_end(c, i);                                             \
		SET##bits(i->b, v);                                            \
		return next(c, i);                                             \
	}
SIZES(XCHG_FORMS, xchg)
const struct handler h_xchg = {
    .fn = {[FORM_RR] = ROW(xchg_rr), [FORM_MR] = ROW(xchg_mr)},
    .locked = {ROW(xchg_mr)}};

#define XADD_MEM(form, bits, sfx, lock)                                        \
	EXEC(xadd_##form##bits)                                                \
	{                                                                      \
		uint##bits##_t *p = OPERAND_RW(bits), v = GET##bits(i->b);     \
		uint16_t f;                                                    \
		__asm__ volatile(lock "xadd" #sfx " %1, %2" FLAGS_OUT          \
				 : "=&a"(f), "+r"(v), "+m"(*p)                 \
				 :                                             \
				 : "cc", "memory");                            \
		operand_end(c, i);                                             \
		SET##bits(i->b, v);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define XADD_FORMS(name, bits, sfx)                                            \
	EXEC(xadd_rr##bits)                                                    \
	{                                                                      \
		uint##bits##_t a = GET##bits(i->a), b = GET##bits(i->b);       \
		uint16_t f;                                                    \
		__asm__("xadd" #sfx " %1, %2" FLAGS_OUT                        \
			: "=&a"(f), "+r"(b), "+r"(a)                           \
			:                                                      \
			: "cc");                                               \
		SET##bits(i->b, b);                                            \
		SET##bits(i->a, a);                                            \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}                                                                      \
	XADD_MEM(mr, bits, sfx, "")                                            \
	XADD_MEM(lock_mr, bits, sfx, "lock ")
SIZES(XADD_FORMS, xadd)
const struct handler h_xadd = {
    .fn = {[FORM_RR] = ROW(xadd_rr), [FORM_MR] = ROW(xadd_mr)},
    .locked = {ROW(xadd_lock_mr)}};

/* -- CMPXCHG
 * -------------------------------------------------------------------- */

/* The accumulator is written only when the comparison fails. */
#define CMPXCHG_MEM(form, bits, sfx, A, lock)                                  \
	EXEC(cmpxchg_##form##bits)                                             \
	{                                                                      \
		uint##bits##_t *p = OPERAND_RW(bits);                          \
		uint##bits##_t s = GET##bits(i->b), acc = GET##bits(REG_RAX);  \
		uint16_t f;                                                    \
		__asm__ volatile("mov %[acc], %%" A "\n\t" lock "cmpxchg" #sfx \
				 " %[s], %[p]\n\t"                             \
				 "mov %%" A ", %[acc]" FLAGS_OUT               \
				 : "=&a"(f), [acc] "+&r"(acc), [p] "+m"(*p)    \
				 : [s] "r"(s)                                  \
				 : "cc", "memory");                            \
		operand_end(c, i);                                             \
		if (!(f & ZF_BIT))                                             \
			SET##bits(REG_RAX, acc);                               \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}
#define CMPXCHG_FORMS(bits, sfx, A)                                            \
	EXEC(cmpxchg_rr##bits)                                                 \
	{                                                                      \
		uint##bits##_t d = GET##bits(i->a), s = GET##bits(i->b);       \
		uint##bits##_t acc = GET##bits(REG_RAX);                       \
		uint16_t f;                                                    \
		__asm__("cmp" #sfx " %2, %1" FLAGS_OUT                         \
			: "=&a"(f)                                             \
			: "r"(acc), "r"(d)                                     \
			: "cc");                                               \
		if (f & ZF_BIT)                                                \
			SET##bits(i->a, s);                                    \
		else                                                           \
			SET##bits(REG_RAX, d);                                 \
		c->arith_flags = f;                                            \
		return next(c, i);                                             \
	}                                                                      \
	CMPXCHG_MEM(mr, bits, sfx, A, "")                                      \
	CMPXCHG_MEM(lock_mr, bits, sfx, A, "lock ")
CMPXCHG_FORMS(8, b, "al")
CMPXCHG_FORMS(16, w, "ax")
CMPXCHG_FORMS(32, l, "eax")
CMPXCHG_FORMS(64, q, "rax")
const struct handler h_cmpxchg = {
    .fn = {[FORM_RR] = ROW(cmpxchg_rr), [FORM_MR] = ROW(cmpxchg_mr)},
    .locked = {ROW(cmpxchg_lock_mr)}};

/* Only ZF changes. */
static void set_zf(struct cpu *c, bool zf)
{
	c->arith_flags =
	    (uint16_t)((c->arith_flags & ~ZF_BIT) | (zf ? ZF_BIT : 0));
}

static const struct insn *cmpxchg8b(struct cpu *c, const struct insn *i)
{
	uint64_t old = (uint64_t)GET32(REG_RDX) << 32 | GET32(REG_RAX);
	uint64_t new = (uint64_t)GET32(REG_RCX) << 32 | GET32(REG_RBX);
	uint64_t *p = OPERAND_RW(64);
	uint64_t seen = old;
	bool same;

	__asm__ volatile("lock cmpxchgq %[new], %[p]"
			 : "+a"(seen), [p] "+m"(*p), "=@ccz"(same)
			 : [new] "r"(new)
			 : "memory");
	operand_end(c, i);
	if (!same) {
		SET32(REG_RAX, seen);
		SET32(REG_RDX, seen >> 32);
	}
	set_zf(c, same);
	return next(c, i);
}

static const struct insn *cmpxchg16b(struct cpu *c, const struct insn *i)
{
	uint64_t va = operand_va(c, i, 16, ACCESS_WRITE);
	uint64_t lo = GET64(REG_RAX), hi = GET64(REG_RDX);
	uint64_t *p;
	bool same;

	if (!cpu_model_has(c->svm->vm->cpu_model, X86_FEATURE_CX16))
		raise_ud(c, i);
	if (va & 15)
		raise_gp(c, i, 0);
	p = operand(c, i, va, 16, ACCESS_WRITE);
	__asm__ volatile("lock cmpxchg16b %[p]"
			 : "+a"(lo),
			   "+d"(hi), [p] "+m"(*(unsigned __int128 *)p),
			   "=@ccz"(same)
			 : "b"(GET64(REG_RBX)), "c"(GET64(REG_RCX))
			 : "memory");
	operand_end(c, i);
	if (!same) {
		SET64(REG_RAX, lo);
		SET64(REG_RDX, hi);
	}
	set_zf(c, same);
	return next(c, i);
}

const struct handler h_cmpxchg8b = {
    .fn = {[FORM_MR] = {NULL, cmpxchg8b, cmpxchg8b, cmpxchg16b}},
    .locked = {{NULL, cmpxchg8b, cmpxchg8b, cmpxchg16b}}};
