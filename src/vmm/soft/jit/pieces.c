// SPDX-License-Identifier: BSD-2-Clause
/*
 * The common pieces: into translated code and out of it, C functions that it
 * calls, and its questions to the slower sides of the TLB and of targets.
 */
#include "vmm/soft/jit/pieces.h"

#include "vmm/soft/access.h"
#include "vmm/soft/jit/translate.h"
#include "vmm/soft/jit/verify.h"
#include "vmm/soft/mmu.h"

#define OP1(...)   ((struct op){.map = MAP_1, .opcode = __VA_ARGS__})
#define CPU(field) ((int32_t)offsetof(struct cpu, field))

/* -- into it and out of it
 * --------------------------------------------------------- */

/* The C caller's registers: pushed and popped in this order and back. */
static const uint8_t saved[] = {HOST_RBX, HOST_RBP, HOST_R12,
				HOST_R13, HOST_R14, HOST_R15};

/* Guest registers and flags from struct cpu at T1. RAX last, it carries the
   flags. */
static void load_guest(struct emit *e)
{
	/* movzx eax, word [arith_flags]; add al, 127 sets OF by bit 0; sahf */
	emit_op_mem(e, (struct op){.map = MAP_0F, .opcode = 0xb7}, HOST_RAX,
		    mem_at(T1, CPU(arith_flags)));
	emit_byte(e, 0x04);
	emit_byte(e, 127);
	emit_byte(e, 0x9e);
	for (unsigned n = 16; n-- > 0;)
		if (host_of(n) != HOST_NONE)
			emit_load(e, host_of(n),
				  mem_at(T1, CPU(gpr) + (int32_t)n * 8));
}

static void store_guest(struct emit *e)
{
	for (unsigned n = 0; n < 16; n++)
		if (host_of(n) != HOST_NONE)
			emit_store(e, mem_at(T1, CPU(gpr) + (int32_t)n * 8),
				   host_of(n));
	emit_byte(e, 0x9f); /* lahf; seto al */
	emit_op_reg(e, (struct op){.map = MAP_0F, .opcode = 0x90}, 0, HOST_RAX);
	emit_op_mem(e, OP1(0x89, .opsize = true), HOST_RAX,
		    mem_at(T1, CPU(arith_flags)));
}

static void emit_ret(struct emit *e)
{
	emit_byte(e, 0xc3);
}

/* RSP is the C stack's, as emit_enter left it. */
static void return_to_c(struct emit *e)
{
	emit_lea(e, HOST_RSP, mem_at(HOST_RSP, 8));
	for (unsigned n = ARRAY_SIZE(saved); n-- > 0;)
		emit_op_low(e, OP1(0x58), saved[n]);
	emit_ret(e);
}

/* enter(RDI = frame, RSI = code), on a C stack that is left aligned. */
static void emit_enter(struct emit *e)
{
	for (unsigned n = 0; n < ARRAY_SIZE(saved); n++)
		emit_op_low(e, OP1(0x50), saved[n]);
	emit_lea(e, HOST_RSP, mem_at(HOST_RSP, -8));
	emit_store(e, mem_at(HOST_RDI, offsetof(struct tlb, host_rsp)),
		   HOST_RSP);
	emit_mov(e, HOST_RSP, HOST_RDI);
	emit_mov(e, T0, HOST_RSI);
	emit_load(e, T1, FRAME(cpu));
	load_guest(e);
	emit_op_reg(e, OP1(0xff), 4, T0); /* jmp r15 */
}

/* T0 is its at. Returns where it is run. */
static const uint8_t *emit_exit(const struct jit *jit, struct emit *e,
				uint64_t how)
{
	const uint8_t *at = jit->code.exec + (e->at - jit->code.write);

	emit_mov_imm(e, T1, how);
	emit_to(e, emit_jmp(e),
		jit->code.write + (jit->leave - jit->code.exec));
	return at;
}

/* Back to C with T0 and T1 as struct jit_exit. */
static void emit_leave(struct emit *e)
{
	emit_store(e, FRAME(scratch), T1);
	emit_load(e, T1, FRAME(cpu));
	store_guest(e);
	emit_mov(e, HOST_RAX, T0);
	emit_load(e, HOST_RDX, FRAME(scratch));
	emit_load(e, HOST_RSP, FRAME(host_rsp));
	return_to_c(e);
}

/* -- C functions
 * ------------------------------------------------------------------- */

/* In a piece that was called: its return address is below the frame. */
#define CALLED(field) mem_at(HOST_RSP, 8 + (int32_t)offsetof(struct tlb, field))

static uint64_t address_of(uint64_t (*function)(struct cpu *c, uint64_t arg))
{
	return (uint64_t)(uintptr_t)function;
}

/*
 * function(cpu, RSI), on the C stack; what it returns 0 for leaves. The frame
 * is in RBX meanwhile, and what is below it stays.
 */
static void emit_c(struct emit *e,
		   uint64_t (*function)(struct cpu *c, uint64_t arg))
{
	uint8_t *go_on;

	emit_mov(e, HOST_RBX, HOST_RSP);
	emit_mov(e, HOST_RDI, T1);
	emit_load(e, HOST_RSP, CALLED(host_rsp));
	emit_mov_imm(e, HOST_RAX, address_of(function));
	emit_op_reg(e, OP1(0xff), 2, HOST_RAX);        /* call rax */
	emit_op_reg(e, OP1(0x85), HOST_RAX, HOST_RAX); /* test eax, eax */
	go_on = emit_jcc(e, 5);
	emit_mov_imm(e, HOST_RDX, JIT_EXIT_DONE);
	return_to_c(e);
	emit_here(e, go_on);
	emit_mov(e, HOST_RSP, HOST_RBX);
	emit_load(e, T1, CALLED(cpu));
}

/* Called with T0 the instruction's place in the arena. */
static void emit_call_c(struct emit *e,
			uint64_t (*function)(struct cpu *c, uint64_t at))
{
	emit_load(e, T1, CALLED(cpu));
	store_guest(e);
	emit_mov(e, HOST_RSI, T0);
	emit_c(e, function);
	load_guest(e);
	emit_ret(e);
}

/* T0 an address, T1 what is wanted of it; the answer comes in tlb.miss_answer.
 */
static void emit_question(struct emit *e,
			  uint64_t (*function)(struct cpu *c, uint64_t unused))
{
	emit_store(e, CALLED(miss_va), T0);
	emit_store(e, CALLED(miss_what), T1);
	emit_load(e, T1, CALLED(cpu));
	store_guest(e);
	emit_c(e, function);
	load_guest(e);
	emit_load(e, T0, CALLED(miss_va));
	emit_load(e, T1, CALLED(miss_answer));
	emit_ret(e);
}

/* -- what did not get through
 * ---------------------------------------------------------- */

/*
 * The page may just not be in the TLB. True: the probe will get through,
 * unless a kick comes, or another one is there already.
 */
static bool refill(struct cpu *c, struct tlb *t)
{
	uint64_t what = t->miss_what, va = t->miss_va;
	uint64_t last = va + (what & 0xff) - 1;
	uint64_t align = what >> MISS_ALIGN_SHIFT & 63, tags = c->tag_count;
	struct translation tr;

	/* Setting a bit of a page-table entry may drop this block. */
	return c->kick == 0 && t->go != 0 && c->jit->verify == NULL &&
	       (va & align) == 0 && PAGE_BASE(last) == PAGE_BASE(va) &&
	       mmu_refill(c, t, va,
			  what & MISS_WRITE ? ACCESS_WRITE : ACCESS_READ,
			  &tr) &&
	       c->tag_count == tags;
}

static uint64_t jit_refill(struct cpu *c, uint64_t unused)
{
	struct tlb *t = c->tlb;

	cpu_calm(c);
	t->miss_answer = !refill(c, t);
	return 1;
}

bool jit_code_at(struct cpu *c, uint64_t va, uint64_t *gpa)
{
	struct tlb *t = c->tlb;
	struct translation tr;

	if (c->kick != 0 || t->go == 0)
		return false;
	if (!tlb_has(t, va, ACCESS_EXEC) &&
	    !mmu_refill(c, t, va, ACCESS_EXEC, &tr))
		return false;
	*gpa = va + t->addend[tlb_place(va)] - (uint64_t)(uintptr_t)c->ram;
	return true;
}

struct block *jit_find(struct cpu *c, uint64_t rip)
{
	const struct block *b;
	uint64_t gpa;

	if (c->debug_code != 0 || !jit_is_amid(rip) ||
	    !jit_code_at(c, rip, &gpa))
		return NULL;
	b = block_lookup(c, gpa | c->mode_key, block_va(c, rip));
	if (b == NULL || b->code == NULL)
		return NULL;
	return (struct block *)(uintptr_t)b;
}

bool jit_target(struct cpu *c, uint64_t rip)
{
	const struct block *b = jit_find(c, rip);

	return b != NULL && target_note(c, rip, rip, b->code);
}

static uint64_t jit_resolve(struct cpu *c, uint64_t unused)
{
	struct tlb *t = c->tlb;

	cpu_calm(c);
	t->miss_answer = !jit_target(c, t->miss_va);
	return 1;
}

static uint64_t jit_link(struct cpu *c, uint64_t unused)
{
	struct tlb *t = c->tlb;

	cpu_calm(c);
	t->miss_code = hop_link(c, t, (uint32_t)t->miss_what);
	t->miss_answer = t->miss_code == NULL;
	return 1;
}

static uint64_t jit_second(struct cpu *c, uint64_t unused)
{
	struct tlb *t = c->tlb;
	const struct block *b =
	    (const struct block *)(const void *)(c->arena + t->miss_va);

	cpu_calm(c);
	t->miss_answer = !second_link(c, t, b, (uint32_t)t->miss_what);
	return 1;
}

/* -- from table to table
 * -------------------------------------------------------- */

/* In both frames while one follows the other. The return address comes last:
   the call and its return stay a pair. */
static void emit_switch(struct emit *e)
{
#define FIELD(name) ((int32_t)offsetof(struct tlb, name))
	static const int32_t fields[] = {FIELD(r9),          FIELD(r10),
					 FIELD(r11),         FIELD(rip_base),
					 FIELD(vec_blocked), FIELD(host_rsp),
					 FIELD(fs_base),     FIELD(gs_base),
					 FIELD(fs_bits),     FIELD(gs_bits)};
#undef FIELD

	for (unsigned n = 0; n < ARRAY_SIZE(fields); n++) {
		emit_load(e, T1, mem_at(HOST_RSP, 8 + fields[n]));
		emit_store(e, mem_at(T0, fields[n]), T1);
	}
	emit_load(e, T1, mem_at(HOST_RSP, 0));
	emit_store(e, mem_at(T0, -8), T1);
	emit_lea(e, HOST_RSP, mem_at(T0, -8));
	emit_ret(e);
}

/* To function(cpu, T0), and where its struct jit_onward says. */
static void emit_onward(struct emit *e,
			struct jit_onward (*function)(struct cpu *c,
						      uint64_t arg))
{
	uint8_t *go_on;

	emit_load(e, T1, FRAME(cpu));
	store_guest(e);
	emit_mov(e, HOST_RDI, T1);
	emit_mov(e, HOST_RSI, T0);
	emit_load(e, HOST_RSP, FRAME(host_rsp));
	emit_mov_imm(e, HOST_RAX, (uint64_t)(uintptr_t)function);
	emit_op_reg(e, OP1(0xff), 2, HOST_RAX);                   /* call */
	emit_op_reg(e, OP1(0x85, .w = true), HOST_RAX, HOST_RAX); /* test */
	go_on = emit_jcc(e, 5);
	emit_mov_imm(e, HOST_RDX, JIT_EXIT_DONE);
	return_to_c(e);
	emit_here(e, go_on);
	emit_mov(e, HOST_RSP, HOST_RDX);
	emit_store(e, FRAME(scratch), HOST_RAX);
	emit_load(e, T1, FRAME(cpu));
	emit_load(e, T0, mem_at(T1, CPU(rip)));
	load_guest(e);
	emit_jmp_mem(e, FRAME(scratch));
}

/* -- the pieces
 * -------------------------------------------------------------------- */

static void emit_link(struct jit *jit, struct emit *e)
{
	uint8_t *found;

	emit_to(e, emit_call(e), jit->piece[PIECE_LINK_C]);
	found = emit_jrcxz(e);
	emit_to(e, emit_jmp(e),
		jit->code.write + (jit->leave_rip - jit->code.exec));
	emit_here8(e, found);
	emit_jmp_mem(e, FRAME(miss_code));
}

static void emit_target(struct jit *jit, struct emit *e, bool is_32)
{
	struct translation_unit *u = jit->unit;
	uint8_t *missed, *found, *again;

	emit_load(e, T0, FRAME(rip_base));
	if (is_32)
		emit_lea32(e, T0, mem_index(T0, T1, 0, 0));
	else
		emit_lea(e, T0, mem_index(T0, T1, 0, 0));
	again = jit->piece[PIECE_LOOK] = e->at;
	u->e = *e;
	lookup_check(u, &missed);
	lookup_jump(u);
	*e = u->e;
	emit_here(e, missed);
	emit_to(e, emit_call(e), jit->piece[PIECE_RESOLVE]);
	found = emit_jrcxz(e);
	emit_to(e, emit_jmp(e),
		jit->code.write + (jit->leave_rip - jit->code.exec));
	emit_here8(e, found);
	emit_to(e, emit_jmp(e), again);
}

/* -- targets that were displaced ---------------------------------------------
 */

#define OF_TARGET(field) ((int32_t)offsetof(struct tlb, target[0].field))

/* In a piece that was called: of the target whose place, times two, is in a
   register. */
static struct mem called_target(unsigned twice, int32_t field)
{
	return mem_index(HOST_RSP, twice, 3, 8 + field);
}

/* Place T0 * 2 and place T1 * 2 change a word, by RAX. */
static void emit_exchange(struct emit *e, int32_t field)
{
	emit_load(e, HOST_RAX, called_target(T1, field));
	emit_store(e, CALLED(miss_code), HOST_RAX);
	emit_load(e, HOST_RAX, called_target(T0, field));
	emit_store(e, called_target(T1, field), HOST_RAX);
	emit_load(e, HOST_RAX, CALLED(miss_code));
	emit_store(e, called_target(T0, field), HOST_RAX);
}

/* Twice n ^ 2 is 2n + 4, less 8 where that bit is set. T0 is the address, and
   T1 becomes 0 if its target is at that place. */
static void emit_other(struct emit *e)
{
	_Static_assert(TARGET_OTHER == 2, "a scale of 8");

	emit_store(e, CALLED(miss_va), T0);
	emit_pext(e, T1, T0, CALLED(other_bit));
	emit_not(e, T1);
	emit_pext(e, T0, T0, CALLED(place_bits));
	emit_lea(e, T0, mem_index(T0, T0, 0, 0));
	emit_lea(e, T0, mem_index(T0, T1, 3, 2 * TARGET_OTHER + 8));
	emit_load(e, T1, called_target(T0, OF_TARGET(rip)));
	emit_store(e, CALLED(miss_what), T0);
	emit_load(e, T0, CALLED(miss_va));
	emit_lea(e, T1, mem_index(T1, T0, 0, 0));
	emit_pext(e, T1, T1, CALLED(target_rest));
}

/* What was displaced changes places with what did it; else C knows. */
static void emit_resolve(struct emit *e)
{
	uint8_t *here, *no;

	emit_other(e);
	here = emit_jrcxz(e);
	no = emit_jmp(e);
	emit_here8(e, here);
	emit_store(e, CALLED(miss_answer), HOST_RAX);
	emit_load(e, T1, CALLED(miss_va));
	emit_load(e, T0, CALLED(miss_what));
	emit_pext(e, T1, T1, CALLED(place_bits));
	emit_lea(e, T1, mem_index(T1, T1, 0, 0));
	emit_exchange(e, OF_TARGET(rip));
	emit_exchange(e, OF_TARGET(code));
	emit_load(e, HOST_RAX, CALLED(miss_answer));
	emit_load(e, T0, CALLED(miss_va));
	emit_mov_imm(e, T1, 0);
	emit_ret(e);
	emit_here(e, no);
	emit_question(e, jit_resolve);
}

/* On where C says, with T0 and T1 as it wants them. */
static void emit_fault(struct jit *jit, struct emit *e)
{
	jit->piece[PIECE_FAULT_C] = e->at;
	emit_load(e, T1, CALLED(cpu));
	store_guest(e);
	emit_c(e, jit_fault);
	load_guest(e);
	emit_ret(e);
	jit->piece[PIECE_FAULT] = e->at;
	jit->faults.piece = jit->code.exec + (e->at - jit->code.write);
	emit_to(e, emit_call(e), jit->piece[PIECE_FAULT_C]);
	emit_load(e, T0, FRAME(miss_va));
	emit_load(e, T1, FRAME(miss_what));
	emit_jmp_mem(e, FRAME(miss_code));
}

void pieces_emit(struct cpu *c, struct emit *e)
{
	static uint64_t (*const calls[JIT_CALLS])(struct cpu *, uint64_t) = {
	    [JIT_CALL_INTERP] = jit_interp,
	    [JIT_CALL_BEFORE] = verify_before,
	    [JIT_CALL_AFTER] = verify_after,
	    [JIT_CALL_BRANCH] = verify_branch,
	    [JIT_CALL_ARRIVAL] = verify_arrival,
	};
	struct jit *jit = c->jit;

	jit->enter = (struct jit_exit(*)(struct tlb *, const void *))(
			 uintptr_t)jit->code.exec;
	emit_enter(e);
	jit->leave = jit->code.exec + (e->at - jit->code.write);
	emit_leave(e);
	jit->leave_insn = emit_exit(jit, e, JIT_EXIT_INSN);
	jit->leave_rip = emit_exit(jit, e, JIT_EXIT_RIP);
	for (unsigned n = 0; n < JIT_CALLS; n++) {
		jit->call[n] = jit->code.exec + (e->at - jit->code.write);
		emit_call_c(e, calls[n]);
	}
	jit->piece[PIECE_REFILL] = e->at;
	emit_question(e, jit_refill);
	jit->piece[PIECE_RESOLVE] = e->at;
	emit_resolve(e);
	jit->piece[PIECE_LINK_C] = e->at;
	emit_question(e, jit_link);
	jit->piece[PIECE_SECOND] = e->at;
	emit_question(e, jit_second);
	jit->piece[PIECE_LINK] = e->at;
	emit_link(jit, e);
	jit->piece[PIECE_TARGET] = e->at;
	emit_target(jit, e, false);
	jit->piece[PIECE_TARGET_32] = e->at;
	emit_target(jit, e, true);
	jit->piece[PIECE_SWITCH] = e->at;
	emit_switch(e);
	jit->piece[PIECE_SYSTEM] = e->at;
	emit_onward(e, jit_system);
	emit_fault(jit, e);
}
