// SPDX-License-Identifier: BSD-2-Clause
/*
 * x87 instructions that see the control, status or environment: run here,
 * because the last instruction's pointers are the guest's, and because the
 * environment's layout depends on the guest's mode (SDM vol. 1, 8.1.10).
 */
#include "vmm/soft/bytes.h"
#include "vmm/soft/vec.h"

const struct insn *exec_wait(struct cpu *c, const struct insn *i)
{
	if (c->cr0 & CR0_TS && c->cr0 & CR0_MP)
		soft_raise(c, i, X86_NM, 0, 0);
	vec_need(c, i, i->ext);
	return next(c, i);
}

/* -- control and status words ------------------------------------------------
 */

const struct insn *exec_fldcw(struct cpu *c, const struct insn *i)
{
	uint16_t fcw;

	vec_need(c, i, i->ext);
	fcw = load16(c, i, operand_va(c, i, 2, ACCESS_READ));
	vec_enter(c);
	__asm__ volatile("fldcw %0" : : "m"(fcw));
	vec_fcw_changed(c);
	return next(c, i);
}

const struct insn *exec_fnstcw(struct cpu *c, const struct insn *i)
{
	uint16_t value;
	uint64_t va;

	vec_need(c, i, i->ext);
	va = operand_va(c, i, 2, ACCESS_WRITE);
	vec_enter(c);
	value = host_fcw();
	vec_rest(c);
	store16(c, i, va, value);
	return next(c, i);
}

const struct insn *exec_fnstsw(struct cpu *c, const struct insn *i)
{
	uint16_t value;
	uint64_t va;

	vec_need(c, i, i->ext);
	va = operand_va(c, i, 2, ACCESS_WRITE);
	vec_enter(c);
	value = host_fsw();
	vec_rest(c);
	store16(c, i, va, value);
	return next(c, i);
}

const struct insn *exec_fnstsw_ax(struct cpu *c, const struct insn *i)
{
	vec_need(c, i, i->ext);
	vec_enter(c);
	REG16(c, REG_RAX) = host_fsw();
	return next(c, i);
}

const struct insn *exec_fnclex(struct cpu *c, const struct insn *i)
{
	vec_need(c, i, i->ext);
	vec_enter(c);
	__asm__ volatile("fnclex");
	return next(c, i);
}

static void forget_last(struct cpu *c)
{
	c->fpu_ip = 0;
	c->fpu_dp = 0;
	c->fpu_opcode = 0;
}

const struct insn *exec_fninit(struct cpu *c, const struct insn *i)
{
	vec_need(c, i, i->ext);
	vec_enter(c);
	__asm__ volatile("fninit");
	forget_last(c);
	vec_fcw_changed(c);
	return next(c, i);
}

/* -- the environment ----------------------------------------------------------
 */

/* As the host has it: the 32-bit protected mode layout, and the registers. */
struct environment {
	uint16_t fcw, pad0, fsw, pad1, ftw, pad2;
	uint32_t fip;
	uint16_t fcs, fop;
	uint32_t fdp;
	uint16_t fds, pad3;
	uint8_t st[80];
};
_Static_assert(sizeof(struct environment) == 108, "FNSAVE's 32-bit layout");

#define ENV32_BYTES 28u
#define ENV16_BYTES 14u
#define ST_BYTES    80u
#define FOP_MASK    0x7ffu

static bool operand_is_16bit(const struct cpu *c, const struct insn *i)
{
	return (c->code_size == 2) != !!(i->flags & INSN_OPSIZE);
}

static bool is_real_layout(const struct cpu *c)
{
	return !(c->cr0 & CR0_PE) || c->flags & RFLAGS_VM;
}

static unsigned env_bytes(const struct cpu *c, const struct insn *i)
{
	return operand_is_16bit(c, i) ? ENV16_BYTES : ENV32_BYTES;
}

/* The guest's pointers into a host environment, in its 32-bit layout. */
static void env_set_last(struct cpu *c, struct environment *env)
{
	env->fip = (uint32_t)c->fpu_ip;
	env->fdp = (uint32_t)c->fpu_dp;
	env->fcs = env->fds = 0;
	env->fop = c->fpu_opcode & FOP_MASK;
	if (!is_real_layout(c))
		return;
	env->fop = (uint16_t)(c->fpu_opcode & FOP_MASK);
	/* Bits 31:16 lie at 27:12 of the word after. */
	uint32_t ip_high = (uint32_t)c->fpu_ip >> 16 << 12;

	env->fcs = (uint16_t)((c->fpu_opcode & FOP_MASK) | (uint16_t)ip_high);
	env->fop = (uint16_t)(ip_high >> 16);
	env->fip &= 0xffff;
	env->fds = (uint16_t)((uint32_t)c->fpu_dp >> 16 << 12);
	env->pad3 = (uint16_t)((uint32_t)c->fpu_dp >> 16 << 12 >> 16);
	env->fdp &= 0xffff;
}

static void env_to_16bit(struct cpu *c, const struct environment *env,
			 uint16_t out[7])
{
	out[0] = env->fcw;
	out[1] = env->fsw;
	out[2] = env->ftw;
	out[3] = (uint16_t)c->fpu_ip;
	out[4] = 0;
	out[5] = (uint16_t)c->fpu_dp;
	out[6] = 0;
	if (!is_real_layout(c))
		return;
	out[4] = (uint16_t)((c->fpu_ip >> 16 & 15) << 12 |
			    (c->fpu_opcode & FOP_MASK));
	out[6] = (uint16_t)((c->fpu_dp >> 16 & 15) << 12);
}

/* Writes env in the guest's layout. */
static void env_write(struct cpu *c, const struct insn *i, uint8_t *to,
		      struct environment *env, bool with_st)
{
	unsigned bytes = env_bytes(c, i);

	if (bytes == ENV16_BYTES) {
		uint16_t out[7];

		env_to_16bit(c, env, out);
		copy_bytes(to, out, sizeof(out));
	} else {
		env_set_last(c, env);
		copy_bytes(to, env, ENV32_BYTES);
	}
	if (with_st)
		copy_bytes(to + bytes, env->st, ST_BYTES);
}

static uint16_t word_at(const uint8_t *from, unsigned at)
{
	return (uint16_t)(from[at] | from[at + 1] << 8);
}

static uint32_t dword_at(const uint8_t *from, unsigned at)
{
	return word_at(from, at) | (uint32_t)word_at(from, at + 2) << 16;
}

static void last_from_16bit(struct cpu *c, const uint8_t *from)
{
	c->fpu_ip = word_at(from, 6);
	c->fpu_dp = word_at(from, 10);
	if (!is_real_layout(c))
		return;
	c->fpu_ip |= (uint32_t)(word_at(from, 8) >> 12) << 16;
	c->fpu_opcode = word_at(from, 8) & FOP_MASK;
	c->fpu_dp |= (uint32_t)(word_at(from, 12) >> 12) << 16;
}

static void last_from_32bit(struct cpu *c, const uint8_t *from)
{
	if (!is_real_layout(c)) {
		c->fpu_ip = dword_at(from, 12);
		c->fpu_opcode = word_at(from, 18) & FOP_MASK;
		c->fpu_dp = dword_at(from, 20);
		return;
	}
	c->fpu_ip = word_at(from, 12) | (dword_at(from, 16) >> 12 & 0xffff)
					    << 16;
	c->fpu_opcode = word_at(from, 16) & FOP_MASK;
	c->fpu_dp = word_at(from, 20) | (dword_at(from, 24) >> 12 & 0xffff)
					    << 16;
}

/* Reads the guest's layout into env; the pointers go to c. */
static void env_read(struct cpu *c, const struct insn *i, const uint8_t *from,
		     struct environment *env, bool with_st)
{
	unsigned bytes = env_bytes(c, i);
	unsigned word = bytes == ENV16_BYTES ? 2 : 4;
	uint16_t pending;

	zero_bytes(env, ENV32_BYTES);
	env->fcw = word_at(from, 0);
	env->fsw = word_at(from, word);
	env->ftw = word_at(from, 2 * word);
	pending = env->fsw & ~env->fcw & FPU_EXC;
	env->fsw &= (uint16_t) ~(FSW_ES | FSW_B);
	if (pending)
		env->fsw |= FSW_ES | FSW_B;
	if (bytes == ENV16_BYTES)
		last_from_16bit(c, from);
	else
		last_from_32bit(c, from);
	if (with_st)
		copy_bytes(env->st, from + bytes, ST_BYTES);
}

/* The guest may change its memory meanwhile: read once. Live after it. */
static void env_fetch(struct cpu *c, const struct insn *i,
		      struct environment *env, bool with_st)
{
	uint8_t copy[sizeof(struct environment)];
	unsigned bytes = env_bytes(c, i) + (with_st ? ST_BYTES : 0);
	uint64_t va = operand_va(c, i, bytes, ACCESS_READ);

	copy_bytes(copy, operand(c, i, va, bytes, ACCESS_READ), bytes);
	vec_enter(c);
	env_read(c, i, copy, env, with_st);
}

const struct insn *exec_fldenv(struct cpu *c, const struct insn *i)
{
	struct environment env;

	vec_need(c, i, i->ext);
	env_fetch(c, i, &env, false);
	__asm__ volatile("fldenv %0" : : "m"(env));
	vec_fcw_changed(c);
	return next(c, i);
}

const struct insn *exec_frstor(struct cpu *c, const struct insn *i)
{
	struct environment env;

	vec_need(c, i, i->ext);
	env_fetch(c, i, &env, true);
	__asm__ volatile("frstor %0" : : "m"(env));
	vec_fcw_changed(c);
	return next(c, i);
}

const struct insn *exec_fnstenv(struct cpu *c, const struct insn *i)
{
	struct environment env;
	unsigned bytes = env_bytes(c, i);
	uint8_t *to;

	vec_need(c, i, i->ext);
	to = operand(c, i, operand_va(c, i, bytes, ACCESS_WRITE), bytes,
		     ACCESS_WRITE);
	vec_enter(c);
	__asm__ volatile("fnstenv %0" : "=m"(env));
	env_write(c, i, to, &env, false);
	vec_fcw_changed(c);
	vec_rest(c);
	operand_end(c, i);
	return next(c, i);
}

const struct insn *exec_fnsave(struct cpu *c, const struct insn *i)
{
	struct environment env;
	unsigned bytes = env_bytes(c, i) + ST_BYTES;
	uint8_t *to;

	vec_need(c, i, i->ext);
	to = operand(c, i, operand_va(c, i, bytes, ACCESS_WRITE), bytes,
		     ACCESS_WRITE);
	vec_enter(c);
	__asm__ volatile("fnsave %0" : "=m"(env));
	env_write(c, i, to, &env, true);
	forget_last(c);
	vec_fcw_changed(c);
	vec_rest(c);
	operand_end(c, i);
	return next(c, i);
}
