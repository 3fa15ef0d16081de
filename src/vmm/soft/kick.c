/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kicks: a vCPU goes back to its main loop. Blocks look at cpu.kick;
 * in translated code all checks fail, by words of its tables.
 */
#include "vmm/soft/cpu.h"
#include "vmm/soft/tlb.h"

void cpu_kick(struct cpu *c)
{
	atomic_store(&c->kick, 1);
	for (unsigned n = 0; n < TLB_TABLES && c->jit != NULL; n++) {
		atomic_store_explicit(&c->tlb_all[n]->target_bits, 0,
				      memory_order_release);
		atomic_store_explicit(&c->tlb_all[n]->go, 0,
				      memory_order_release);
	}
}

/* In the other order: whoever kicks meanwhile, where go is there in the end,
   so are the bits. */
static void go_again(struct cpu *c)
{
	for (unsigned n = 0; n < TLB_TABLES; n++) {
		atomic_store(&c->tlb_all[n]->go, TLB_GO);
		atomic_store(&c->tlb_all[n]->target_bits, TARGET_PLACE_BITS);
	}
}

bool cpu_unkick(struct cpu *c)
{
	if (c->tlb->go == 0)
		go_again(c);
	return atomic_exchange(&c->kick, 0) != 0;
}

/* A new kick tells itself before it takes the word: none is lost. */
void cpu_calm(struct cpu *c)
{
	if (c->kick != 0 || (c->tlb->go != 0 && c->tlb->target_bits != 0))
		return;
	go_again(c);
	if (atomic_load(&c->kick) != 0)
		cpu_kick(c);
}
