/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules by which instructions are translated, and the files they are in. */
#ifndef SOFT_JIT_RULES_H
#define SOFT_JIT_RULES_H

#include "vmm/soft/jit/translate.h"

/* How an instruction uses an operand. */
enum { USE_NONE, USE_R, USE_W, USE_RW };

/*
 * A rule translates the instruction under way. Returns false, with nothing
 * emitted, where tier 0 has to do it.
 */
struct rule {
	const struct handler *handler;
	bool (*translate)(struct translation_unit *u, const struct rule *rule);
	uint8_t first, second; /* uses of the operands */
	uint8_t bytes;         /* of the memory operand; 0: operand size */
};

/* rules.c */
extern const struct rule rules[];
#define RULE_NONE 0xffff
unsigned rule_find(const struct handler *handler);
/* Of i's operand in memory; rule: its, or NULL. */
unsigned rule_bytes(const struct rule *rule, const struct insn *i);
/* flow.c: rules of the stack and of branches. */
bool translate_push(struct translation_unit *u, const struct rule *rule);
bool translate_pop(struct translation_unit *u, const struct rule *rule);
bool translate_leave(struct translation_unit *u, const struct rule *rule);
bool translate_jcc(struct translation_unit *u, const struct rule *rule);
bool translate_jmp(struct translation_unit *u, const struct rule *rule);
bool translate_jcxz(struct translation_unit *u, const struct rule *rule);
bool translate_loop(struct translation_unit *u, const struct rule *rule);
bool translate_call(struct translation_unit *u, const struct rule *rule);
bool translate_jump_indirect(struct translation_unit *u,
			     const struct rule *rule);
bool translate_call_indirect(struct translation_unit *u,
			     const struct rule *rule);
bool translate_ret(struct translation_unit *u, const struct rule *rule);
/* system.c: instructions of kernels; translate_system by tier 0's function. */
bool translate_cli(struct translation_unit *u, const struct rule *rule);
bool translate_sti(struct translation_unit *u, const struct rule *rule);
bool translate_cld(struct translation_unit *u, const struct rule *rule);
bool translate_clac(struct translation_unit *u, const struct rule *rule);
bool translate_stac(struct translation_unit *u, const struct rule *rule);
bool translate_rdtsc(struct translation_unit *u, const struct rule *rule);
bool translate_bit_string(struct translation_unit *u, const struct rule *rule);
bool translate_pushf(struct translation_unit *u, const struct rule *rule);
bool translate_swapgs(struct translation_unit *u, const struct rule *rule);
bool translate_movfromseg(struct translation_unit *u, const struct rule *rule);
bool translate_movfromcr(struct translation_unit *u, const struct rule *rule);
bool translate_system(struct translation_unit *u, const struct rule *rule);
/* string.c */
bool translate_stos(struct translation_unit *u, const struct rule *rule);
bool translate_movs(struct translation_unit *u, const struct rule *rule);
/* vector.c: false for what is not a plain vector instruction. */
bool translate_vector(struct translation_unit *u);
bool is_plain_vector(const struct simd_row *row);
/* x87.c: likewise. */
bool translate_x87(struct translation_unit *u);
bool is_plain_x87(const struct simd_row *row);

#endif
