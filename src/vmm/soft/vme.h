/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VME and PVI: an interrupt flag of the guest's guest, VIF, for code whose CPL
 * is over its IOPL, and INT n of v86 that stays in v86 (SDM vol.
 * 3, 20.3, 20.4).
 */
#ifndef SOFT_VME_H
#define SOFT_VME_H

#include "vmm/soft/cpu.h"

/* VIF and VIP, which only CPUs with VME have. */
uint64_t vme_rflags(const struct cpu *c);

/* CLI and STI: do they work on VIF? What may work on neither is #GP(0). */
bool vme_is_virtual(struct cpu *c, const struct insn *i);
/* PUSHF, POPF and IRET likewise, which only v86 has with VIF. */
bool vme_frame_is_virtual(struct cpu *c, const struct insn *i);

void vme_sti(struct cpu *c, const struct insn *i);
/* FLAGS as v86 sees them: IOPL 3, and VIF as IF. */
uint64_t vme_flags(const struct cpu *c);
/* VIF by what was popped, which may be #GP(0): call it before anything else
   changes. */
void vme_set_flags(struct cpu *c, const struct insn *i, uint64_t image);

/* INT n of v86: #GP(0), done by v86's own table, or returns to be an event. */
void vme_int(struct cpu *c, const struct insn *i, uint8_t vector);

#endif
