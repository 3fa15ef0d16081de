/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware breakpoints: DR0-DR3 by DR7 (SDM vol. 3, 18.2). What is not armed
 * costs nothing: a page with a data breakpoint is never in the TLB, so that
 * its accesses come by access.c; code of a page with an instruction
 * breakpoint runs one instruction at a time.
 */
#ifndef SOFT_DEBUG_H
#define SOFT_DEBUG_H

#include "vmm/soft/cpu.h"

#define DR6_BD BIT(13)
#define DR6_BS BIT(14)
#define DR6_BT BIT(15)

/* DR0-DR3, DR7 or CR4.DE were written. */
void debug_changed(struct cpu *c);

/* Is there an instruction breakpoint in the page of linear? */
bool debug_code_page(const struct cpu *c, uint64_t linear);
/* Is there a data breakpoint in the page of va? */
bool debug_data_page(const struct cpu *c, uint64_t va);

/* Before the instruction at c->rip runs alone: its breakpoint, or RF. */
void debug_before(struct cpu *c);
/* After it: RF again, between the elements of a REP. */
void debug_between(struct cpu *c, uint64_t start);

/* An access that is about to be: notes the breakpoints it hits, for the trap
   after the instruction. The instruction starts again, alone. */
void debug_data(struct cpu *c, const struct insn *i, uint64_t va, unsigned len,
		enum access access);
void debug_port(struct cpu *c, const struct insn *i, uint16_t port,
		unsigned bytes);

#endif
