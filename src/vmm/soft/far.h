/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of control transfers: far.c, exc.c, task.c, syscall.c. */
#ifndef SOFT_FAR_H
#define SOFT_FAR_H

#include "vmm/soft/cpu.h"

/* System descriptor types (SDM vol. 3, table 3-2). */
enum {
	DESC_TSS16 = 1,
	DESC_LDT = 2,
	DESC_TSS16_BUSY = 3,
	DESC_CALL_GATE16 = 4,
	DESC_TASK_GATE = 5,
	DESC_INT_GATE16 = 6,
	DESC_TRAP_GATE16 = 7,
	DESC_TSS = 9, /* 32- or 64-bit */
	DESC_TSS_BUSY = 11,
	DESC_CALL_GATE = 12,
	DESC_INT_GATE = 14,
	DESC_TRAP_GATE = 15,
};

/* The EXT bit of an error code: set in the delivery of all but INT n. */
static inline uint32_t event_ext(const struct cpu *c)
{
	return c->delivering && c->delivering_ext;
}

static inline unsigned seg_dpl(const struct segment *s)
{
	return s->access >> AR_DPL_SHIFT & 3;
}

void descriptor_set_accessed(struct cpu *c, const struct insn *i,
			     struct segment *seg);
void segment_load_real(struct cpu *c, enum seg_index seg, uint16_t selector);

/* A code segment's descriptor by selector; what is none raises #GP with the
   selector. What is not present raises #NP, after the checks of privilege. */
void code_descriptor(struct cpu *c, const struct insn *i, uint16_t selector,
		     struct segment *seg);
void code_present(struct cpu *c, const struct insn *i,
		  const struct segment *seg);

/* A target must be canonical, or inside the segment: #GP(0). */
void check_rip(struct cpu *c, const struct insn *i, const struct segment *cs,
	       uint64_t rip);

/* RSP of CPL cpl, or of an IST slot (1-7), from a 64-bit TSS. */
uint64_t tss_rsp(struct cpu *c, const struct insn *i, unsigned cpl);
uint64_t tss_ist(struct cpu *c, const struct insn *i, unsigned ist);

/* A stack being written that is not current yet. */
struct stack {
	struct segment ss;
	uint64_t sp;
	unsigned mask_size; /* 2, 4, 8: how SP wraps */
	unsigned vector;    /* what a bad access raises */
	uint16_t error;     /* with this: a new stack's selector, or 0 */
	bool user;          /* accessed at CPL 3 */
};
void stack_push(struct cpu *c, const struct insn *i, struct stack *s,
		unsigned lsize, uint64_t value);
void stack_commit(struct cpu *c, const struct stack *s);
/* SS from the TSS for CPL cpl, checked (32-bit and compatibility rules). */
void stack_from_tss(struct cpu *c, const struct insn *i, unsigned cpl,
		    struct stack *s);

/* -- task.c -------------------------------------------------------------- */

enum task_cause { TASK_JMP, TASK_CALL, TASK_EVENT, TASK_IRET };

struct task_switch {
	enum task_cause cause;
	uint16_t selector; /* of the new task's TSS */
	bool external;     /* the EXT bit of error codes */
	bool has_error;    /* an exception's, for the new stack */
	uint32_t error;
	uint64_t rip, flags; /* to save in the old task's TSS */
};

/* Privilege has been checked by what led here. */
void task_switch(struct cpu *c, const struct insn *i,
		 const struct task_switch *t);

/* -- stacks, returns ------------------------------------------------------ */

/* SS of a return to CPL cpl, from the stack. */
void return_stack_segment(struct cpu *c, const struct insn *i,
			  uint16_t selector, unsigned cpl,
			  const struct segment *cs, struct segment *ss);
/* ES, DS, FS, GS that the outer level may not use become null. */
void drop_inner_segments(struct cpu *c);

#endif
