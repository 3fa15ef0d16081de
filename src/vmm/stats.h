/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Statistics of a vCPU: X(NAME, text). Texts that vmm.ko has are its own;
 * order is the index of vm_get_stat_desc.
 */
#ifndef VMM_STATS_H
#define VMM_STATS_H

#define VM_STATS(X)                                                            \
	X(EXITS, "total number of vm exits")                                   \
	X(HLT, "number of times hlt was intercepted")                          \
	X(CR_ACCESS, "number of times %cr access was intercepted")             \
	X(RDMSR, "number of times rdmsr was intercepted")                      \
	X(WRMSR, "number of times wrmsr was intercepted")                      \
	X(MTRAP, "number of monitor trap exits")                               \
	X(PAUSE, "number of times pause was intercepted")                      \
	X(INOUT, "number of times in/out was intercepted")                     \
	X(CPUID, "number of times cpuid was intercepted")                      \
	X(INST_EMUL, "vm exits for instruction emulation")                     \
	X(UNKNOWN, "number of vm exits for unknown reason")                    \
	X(USERSPACE, "number of vm exits handled in userspace")                \
	X(EXCEPTION, "number of vm exits due to exceptions")                   \
	X(REQIDLE, "number of times idle requested at exit")                   \
	X(IDLE_TICKS, "number of ticks vcpu was idle")                         \
	X(RUNTIME, "vcpu total runtime")                                       \
	X(NMI, "number of NMIs delivered to vcpu")                             \
	X(EXTINT, "number of ExtINTs delivered to vcpu")                       \
	X(EOI_STRAY, "EOI without any in-service interrupt")                   \
	X(IPI, "ipis sent from vcpu")                                          \
	X(LVT_TIMER, "lvts triggered[timer]")                                  \
	X(RESIDENT, "Resident memory")                                         \
	X(WIRED, "Wired memory")                                               \
	X(INSTRUCTIONS, "instructions retired")                                \
	X(INTERRUPTS, "interrupts delivered to vcpu")                          \
	X(BLOCKS_DECODED, "blocks decoded")                                    \
	X(TLB_FILLS, "software TLB fills")                                     \
	X(WINDOW_SPACES, "user address spaces whose code goes by windows")     \
	X(WINDOW_PAGES,                                                        \
	  "user pages mapped where host code gets straight to them")           \
	X(WINDOW_FAULTS, "accesses of host code to pages not mapped there")    \
	X(CODE_DROPS, "code pages dropped after writes")                       \
	X(JIT_BLOCKS, "blocks translated to host code")                        \
	X(JIT_AGAIN, "blocks translated again, as hot ones")                   \
	X(JIT_HOPS, "jumps to other pages linked")                             \
	X(JIT_LINKS, "jumps chained after their targets were translated")      \
	X(JIT_INTERP, "instructions that host code handed to tier 0")          \
	X(JIT_LEAVES, "times host code was left for tier 0")                   \
	X(JIT_FLUSHES, "code cache flushes")                                   \
	X(JIT_BYTES, "bytes of host code in the code cache")                   \
	X(KICKS_TIER1, "kicks that found host code running")                   \
	X(KICKS, "kicks served")

enum vm_stat {
#define X(name, text) VM_STAT_##name,
	VM_STATS(X)
#undef X
	    VM_STAT_COUNT
};

#endif
