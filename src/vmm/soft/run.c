/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The main loop of a vCPU: events, then a chain of blocks or one instruction,
 * until something needs the room or the process.
 *
 * Faults and exits come out of the depth of an instruction by longjmp to the
 * loop, with RIP on the instruction and nothing of it committed.
 */
#include <errno.h>

#include "vmm/irq.h"
#include "vmm/soft/branch.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/engine.h"
#include "vmm/soft/exec.h"
#include "vmm/soft/jit/turn.h"
#include "vmm/soft/jit/verify.h"
#include "vmm/soft/smc.h"

/* Why the loop was jumped to. */
enum escape { ESCAPE_NONE, ESCAPE_FAULT, ESCAPE_EXIT, ESCAPE_ALONE };

/* -- leaving an instruction
 * ------------------------------------------------------- */

/* May a second fault not just be delivered after the first (SDM vol. 3,
   table 6-5)? */
static bool is_contributory(unsigned vector)
{
	const uint32_t set =
	    BIT(X86_DE) | BIT(X86_TS) | BIT(X86_NP) | BIT(X86_SS) | BIT(X86_GP);

	return vector < 32 && (set & 1u << vector) != 0;
}

static bool makes_double_fault(const struct cpu *c, unsigned vector)
{
	unsigned first = c->delivering_vector;

	if (c->delivering_benign)
		return false;
	if (is_contributory(first))
		return is_contributory(vector);
	return first == X86_PF && (is_contributory(vector) || vector == X86_PF);
}

static _Noreturn void triple_fault(struct cpu *c)
{
	vec_leave(c);
	vm_stop(c->svm->vm, VM_SUSPEND_TRIPLEFAULT);
	c->exit->exitcode = VM_EXITCODE_BOGUS;
	soft_leave(c, NULL, PENDING_NONE);
}

static void set_exception(struct cpu *c, unsigned vector, uint32_t error,
			  uint64_t payload)
{
	c->exception.valid = true;
	c->exception.vector = (uint8_t)vector;
	c->exception.has_error = !c->exception.is_soft && vector < 32 &&
				 (X86_HAS_ERROR_CODE & 1u << vector) != 0;
	c->exception.error = error;
	c->exception.payload = payload;
}

_Noreturn void soft_raise(struct cpu *c, const struct insn *i, unsigned vector,
			  uint32_t error, uint64_t payload)
{
	if (i != NULL)
		block_unwind(c, i);
	c->bounce_len = 0;
	if (c->delivering) {
		c->delivering = false;
		c->exception.len = 0;
		c->exception.is_soft = false;
		if (c->delivering_vector == X86_DF && !c->delivering_benign &&
		    (is_contributory(vector) || vector == X86_PF))
			triple_fault(c);
		if (makes_double_fault(c, vector)) {
			if (vector == X86_PF)
				c->cr2 = payload;
			vector = X86_DF;
			error = 0;
		}
	}
	set_exception(c, vector, error, payload);
	longjmp(c->escape, ESCAPE_FAULT);
}

_Noreturn void soft_leave(struct cpu *c, const struct insn *i, int pending)
{
	if (i != NULL)
		block_unwind(c, i);
	c->bounce_len = 0;
	c->pending = (uint8_t)pending;
	c->exit->rip = c->rip;
	c->exit->inst_length = i != NULL ? i->len : 0;
	c->pending_length = i != NULL ? i->len : 0;
	if (pending == PENDING_ACCESS)
		c->pending_exitcode = c->exit->exitcode;
	longjmp(c->escape, ESCAPE_EXIT);
}

_Noreturn void soft_go_on(struct cpu *c)
{
	c->bounce_len = 0;
	longjmp(c->escape, ESCAPE_FAULT);
}

_Noreturn void soft_restart_alone(struct cpu *c)
{
	c->bounce_len = 0;
	longjmp(c->escape, ESCAPE_ALONE);
}

/* Before the next instruction. */
static void debug_trap(struct cpu *c, uint64_t dr6)
{
	c->exception.len = 0;
	c->exception.is_soft = false;
	set_exception(c, X86_DB, 0, dr6);
}

static _Noreturn void leave_for_mtrap(struct cpu *c)
{
	c->mtrap_owed = false;
	c->vcpu->stats[VM_STAT_MTRAP]++;
	c->exit->exitcode = VM_EXITCODE_MTRAP;
	soft_leave(c, NULL, PENDING_NONE);
}

/* -- the process' answer
 * ------------------------------------------------------------- */

static void skip_instruction(struct cpu *c)
{
	uint64_t rip = c->rip + c->pending_length;

	c->rip = c->code_size == 8   ? rip
		 : c->code_size == 4 ? (uint32_t)rip
				     : (uint16_t)rip;
	c->retired++;
	if (c->flags & RFLAGS_TF)
		debug_trap(c, DR6_BS);
	c->mtrap_owed = c->cap_mtrap;
}

static void note_answer(struct cpu *c, const struct vm_exit *exit)
{
	struct replay *r = &c->replay[c->replay_count];

	if (c->replay_count == REPLAY_MAX)
		return;
	c->replay_count++;
	if (c->pending_exitcode == VM_EXITCODE_INOUT)
		*r = (struct replay){.address = exit->u.inout.port,
				     .data = exit->u.inout.eax,
				     .bytes = exit->u.inout.bytes,
				     .write = !exit->u.inout.in,
				     .is_port = true};
	else
		*r = (struct replay){.address = exit->u.inst_emul.gpa,
				     .data = exit->u.inst_emul.data,
				     .bytes = exit->u.inst_emul.bytes,
				     .write = exit->u.inst_emul.write};
}

static void take_answer(struct cpu *c, const struct vm_exit *exit)
{
	switch (c->pending) {
	case PENDING_SKIP:
		skip_instruction(c);
		break;
	case PENDING_RDMSR:
		c->gpr[0] = (uint32_t)exit->u.msr.wval;
		c->gpr[2] = exit->u.msr.wval >> 32;
		skip_instruction(c);
		break;
	case PENDING_ACCESS:
		note_answer(c, exit);
		break;
	default:
		break;
	}
	c->pending = PENDING_NONE;
}

/* -- events
 * -----------------------------------------------------------------------------
 */

/* Serves what was asked for by kick; false: the room wants us. */
static bool serve_kick(struct cpu *c)
{
	uint32_t requests;

	vec_leave(c);
	cpu_unkick(c);
	smc_serve(c);
	requests = atomic_load(&c->vcpu->requests);
	c->vcpu->stats[VM_STAT_KICKS]++;
	if (requests & VCPU_REQ_INTR) {
		atomic_fetch_and(&c->vcpu->requests, ~(uint32_t)VCPU_REQ_INTR);
		c->intr_check = true;
	}
	if (requests & VCPU_REQ_NMI)
		c->nmi_waits = true;
	return (requests & VCPU_REQ_ROOM) == 0;
}

static void deliver_nmi(struct cpu *c)
{
	c->nmi_waits = false;
	if (atomic_fetch_and(&c->vcpu->requests, ~(uint32_t)VCPU_REQ_NMI) &
	    VCPU_REQ_NMI) {
		c->link_from = NULL;
		nmi_deliver(c);
	}
}

static void deliver_interrupt(struct cpu *c)
{
	int vector;

	vec_leave(c);
	if (vcpu_intr_pending(c->vcpu) < 0) {
		c->intr_check = false;
		return;
	}
	vector = vcpu_intr_accept(c->vcpu);
	if (vector < 0)
		return;
	c->link_from = NULL;
	interrupt_deliver(c, (uint8_t)vector);
}

/* What comes between two instructions; false: leave, the room wants us. */
static bool events(struct cpu *c)
{
	/* First, for a guest may make faults without end: #AC in #AC's. */
	do {
		if (unlikely(c->kick != 0 || c->tlb->go == 0) && !serve_kick(c))
			return false;
	} while (turns_are_taken(c) && !turn_next(c));
	if (unlikely(c->exception.valid)) {
		c->link_from = NULL;
		exception_deliver(c);
	}
	if (unlikely(c->jit != NULL && c->jit->full)) {
		c->link_from = NULL;
		blocks_flush(c);
	}
	if (unlikely(c->failed))
		return false;
	if (c->intr_shadow != 0 || c->replay_count != 0)
		return true;
	if (unlikely(c->nmi_waits) && !c->nmi_masked)
		deliver_nmi(c);
	if (unlikely(c->intr_check) && (c->flags & RFLAGS_IF))
		deliver_interrupt(c);
	return true;
}

/* -- running
 * -------------------------------------------------------------------------------
 */

bool cpu_wants_alone(const struct cpu *c)
{
	return c->single_step || c->intr_shadow != 0 || c->force_alone ||
	       c->replay_count != 0 || (c->flags & RFLAGS_RF);
}

/* After an instruction that ran alone: traps. */
static void traps(struct cpu *c, bool tf, uint8_t cpl)
{
	uint64_t dr6 = c->debug_hits;

	if (tf && c->cpl == cpl)
		dr6 |= DR6_BS;
	if (dr6 != 0 && c->intr_shadow != 2)
		debug_trap(c, dr6);
	if (c->cap_mtrap)
		leave_for_mtrap(c);
}

static void run_alone(struct cpu *c)
{
	bool tf = (c->flags & RFLAGS_TF) != 0;
	uint8_t cpl = c->cpl;
	uint64_t start = c->rip;
	const struct insn *i;

	c->link_from = NULL;
	debug_before(c);
	c->alone = true;
	c->jump_tag = 0;
	c->replay_next = 0;
	i = block_alone(c);
	c->intr_shadow = 0;
	while (i != NULL)
		i = i->exec(c, i);
	c->alone = c->force_alone = false;
	c->replay_count = 0;
	debug_between(c, start);
	traps(c, tf, cpl);
}

static void run_blocks(struct cpu *c)
{
	const struct insn *i = block_find(c);

	if (i == NULL) {
		run_alone(c);
		return;
	}
	if (c->link_from != NULL) {
		*c->link_from = i;
		c->link_from = NULL;
	}
	c->jump_tag = c->live_tag;
	while (i != NULL)
		i = i->exec(c, i);
}

/*
 * After an instruction that changed the mode, and c->rip: straight to the
 * block there, when the main loop would do no more than that.
 */
const struct insn *go_anew(struct cpu *c)
{
	const struct insn *i;

	if (!SOFT_TAIL_CALLS || block_is_scratch(c) || c->kick != 0 ||
	    c->intr_check || c->nmi_waits || cpu_wants_alone(c))
		return NULL;
	c->link_from = NULL;
	i = block_find(c);
	if (i == NULL)
		return NULL;
	c->jump_tag = c->live_tag;
	return i->exec(c, i);
}

/* Where longjmp comes to: the loop starts over, or ends. */
static void after_escape(struct cpu *c, enum escape why)
{
	bool was_alone = c->alone;

	c->alone = false;
	c->link_from = NULL;
	c->force_alone = why == ESCAPE_ALONE;
	if (c->jit != NULL)
		verify_escaped(c);
	/* A fault ends the instruction: what it did outside is done. */
	if (why == ESCAPE_FAULT && was_alone)
		c->replay_count = 0;
	if (why == ESCAPE_ALONE)
		c->replay_count = 0;
}

static void enter(struct cpu *c, struct vm_exit *exit)
{
	c->exit = exit;
	c->tsc = (struct tsc_copy){0};
	c->delivering = false;
	c->link_from = NULL;
	c->alone = false;
	if (c->jit != NULL)
		faults_unblock(&c->jit->faults);
	smc_enter_guest(c);
}

static void leave(struct cpu *c)
{
	vec_leave(c);
	if (turns_are_taken(c))
		turn_over(c);
	smc_leave_guest(c);
	c->vcpu->stats[VM_STAT_INSTRUCTIONS] = c->retired;
}

int soft_run(struct vmcpu *vcpu, struct vm_exit *exit)
{
	struct cpu *c = vcpu->engine_data;
	enum escape why;

	take_answer(c, exit);
	*exit = (struct vm_exit){.exitcode = VM_EXITCODE_BOGUS};
	enter(c, exit);
	c->kick = 1; /* requests may be older than this run */
	why = (enum escape)setjmp(c->escape);
	after_escape(c, why);
	if (why == ESCAPE_NONE && c->mtrap_owed && c->cap_mtrap)
		leave_for_mtrap(c);
	while (why != ESCAPE_EXIT && events(c)) {
		if (unlikely(cpu_wants_alone(c)))
			run_alone(c);
		else
			run_blocks(c);
	}
	if (why != ESCAPE_EXIT) {
		exit->exitcode = VM_EXITCODE_BOGUS;
		exit->rip = c->rip;
	}
	leave(c);
	c->vcpu->stats[VM_STAT_EXITS]++;
	return c->failed ? -EIO : 0;
}

/*
 * The instruction is run again to its end with the answer. When it wants
 * another access, or faults, it stays where it is and run finds that out.
 */
void soft_complete(struct vmcpu *vcpu, struct vm_exit *exit)
{
	struct cpu *c = vcpu->engine_data;
	bool again = c->pending == PENDING_ACCESS;
	bool mtrap = c->cap_mtrap;
	struct vm_exit unused = {0};
	enum escape why;

	take_answer(c, exit);
	if (!again)
		return;
	c->cap_mtrap = false;
	enter(c, &unused);
	why = (enum escape)setjmp(c->escape);
	if (why == ESCAPE_NONE) {
		if (turns_are_taken(c))
			turn_await(c);
		run_alone(c);
		c->mtrap_owed = mtrap;
	} else {
		after_escape(c, why);
	}
	c->pending = PENDING_NONE;
	vcpu = c->vcpu;
	leave(c);
	c->cap_mtrap = mtrap;
}

void soft_restart_instruction(struct vmcpu *vcpu)
{
	struct cpu *c = vcpu->engine_data;

	c->pending = PENDING_NONE;
	c->replay_count = 0;
	c->mtrap_owed = false;
}
