/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exceptions and interrupts: error codes, stacks, what comes first (SDM
 * vol. 3, chapter 6), NMIs, interrupt shadows, single steps.
 */
#include "lib/guest.h"

#define NONCANONICAL 0x0000800000000000ull
#define RF           BIT(16)
#define NT           BIT(14)
#define TF           BIT(8)
#define IF           BIT(9)

#define SYM(n)                                                                 \
	({                                                                     \
		extern const uint8_t n[];                                      \
		(uint64_t)(uintptr_t) n;                                       \
	})

/* -- the plain ones (SDM vol. 3, 6.15) ------------------------------------ */

static void plain(void)
{
	uint64_t rax = 5, rdx = 0;

	TRY("divl %%ecx", : "+a"(rax), "+d"(rdx) : "c"(0) : "cc", "memory");
	fault_is(DE, 0, "DIV by zero: #DE");
	check((fault.frame.rflags & RF) != 0, "a fault pushes RF");
	rax = 0x8000;
	TRY("idivb %%cl", : "+a"(rax) : "c"(0xff) : "cc", "memory");
	fault_is(DE, 0, "IDIV overflow: #DE");
	TRY("ud2", ::: "memory");
	fault_is(UD, 0, "UD2: #UD");
	TRY(".byte 0x06", ::: "memory");
	fault_is(UD, 0, "PUSH ES in 64-bit code: #UD");
	TRY(".byte 0xf0, 0x01, 0xc0", ::: "memory", "rax", "cc");
	fault_is(UD, 0, "LOCK ADD of registers: #UD");
	TRY(".byte 0xce", ::: "memory");
	fault_is(UD, 0, "INTO in 64-bit code: #UD");
	TRY("int3", ::: "memory");
	check(fault.vector == BP && fault.rip == fault.at + 1 &&
		  fault.error == 0,
	      "INT3: #BP after it");
	check_eq(fault.frame.rflags & RF, 0, "a trap does not push RF");
	TRY("int $4", ::: "memory");
	check(fault.vector == OF && fault.rip == fault.at + 2,
	      "INT 4: after it");
	TRY(".byte 0xf1", ::: "memory");
	check(fault.vector == DB && fault.rip == fault.at + 1,
	      "INT1: #DB after it");
	TRY("mov %%rax, %%cr1", ::: "memory");
	fault_is(UD, 0, "MOV to CR1: #UD");
	TRY("movw %%ax, %%cs", ::: "memory");
	fault_is(UD, 0, "MOV to CS: #UD");
	TRY("mov %0, %%ds", ::"r"(0x1f8) : "memory");
	fault_is(GP, 0x1f8, "a selector past the GDT: #GP(selector)");
	TRY("mov %0, %%ds", ::"r"(SEL_TSS) : "memory");
	fault_is(GP, SEL_TSS, "DS = a system segment: #GP(selector)");
	gdt[SEL_FREE / 8] = 0x00cf13000000ffff;
	TRY("mov %0, %%ds", ::"r"(SEL_FREE) : "memory");
	fault_is(NP, SEL_FREE, "DS not present: #NP(selector)");
	TRY("mov %0, %%ss", ::"r"(SEL_FREE) : "memory");
	fault_is(SS, SEL_FREE, "SS not present: #SS(selector)");
	TRY("mov %0, %%ss", ::"r"(SEL_USER_DATA) : "memory");
	fault_is(GP, SEL_USER_DATA & ~3, "SS of another DPL: #GP(selector)");
	TRY("mov %0, %%ss", ::"r"(SEL_CODE64) : "memory");
	fault_is(GP, SEL_CODE64, "SS = code: #GP(selector)");
	TRY("mov %0, %%ss", ::"r"(3) : "memory");
	fault_is(GP, 0, "SS = null of RPL 3 at CPL 0: #GP(0)");
	TRY("mov %0, %%ds\n\tmov %1, %%ds", ::"r"(3), "r"(SEL_DATA) : "memory");
	fault_is(NO_FAULT, 0, "DS = null");
}

static void not_canonical(void)
{
	uint64_t v;

	TRY("mov (%1), %0", : "=a"(v) : "b"(NONCANONICAL) : "memory");
	fault_is(GP, 0, "a load from a non-canonical address: #GP(0)");
	TRY("mov %0, (%1)", ::"a"(1ull), "b"(0xffff7fffffffffff) : "memory");
	fault_is(GP, 0, "a store to a non-canonical address: #GP(0)");
	/* By RBP and RSP: the stack segment's. */
	TRY("movq %%rbp, %%r8; movq %0, %%rbp; movq $3f, try_at\n"
	    "3:\tmovq (%%rbp), %%r9\n"
	    "2:\tmovq %%r8, %%rbp",
	    ::"r"(NONCANONICAL)
	    : "r8", "r9", "memory");
	fault_is(SS, 0, "a load by RBP, non-canonical: #SS(0)");
	tss.ist[0] = (uint64_t)(uintptr_t)page_alloc() + 4096;
	gate_set(SS, (void (*)(void))(uintptr_t)(SYM(stub_table) + 16 * SS),
		 0x8e, 1);
	TRY("movq %%rsp, %%r8; movq %0, %%rsp; movq $3f, try_at\n"
	    "3:\tpushq %%rax\n"
	    "2:\tmovq %%r8, %%rsp",
	    ::"r"(NONCANONICAL + 64)
	    : "r8", "memory");
	fault_is(SS, 0, "PUSH, non-canonical: #SS(0)");
	check_eq(fault.frame.rsp, NONCANONICAL + 64, "PUSH that faults: RSP");
	check(fault.handler_rsp + sizeof(struct frame) == tss.ist[0],
	      "IST: the frame is on its stack");
	gate_set(SS, (void (*)(void))(uintptr_t)(SYM(stub_table) + 16 * SS),
		 0x8e, 0);
	TRY("jmp *%0", ::"r"(NONCANONICAL) : "memory");
	fault_is(GP, 0, "JMP to a non-canonical address: #GP(0) at the JMP");
	TRY("movq %%rsp, %%r8; movq $3f, try_at\n"
	    "3:\tcall *%0\n2:\tmovq %%r8, %%rsp",
	    ::"r"(NONCANONICAL)
	    : "r8", "memory");
	check_eq(fault.frame.rsp, fault.frame.r8, "CALL that faults: RSP");
	fault_is(GP, 0, "CALL to a non-canonical address: #GP(0) at the CALL");
	TRY("movq %%rsp, %%r8; pushq %0; movq $3f, try_at\n3:\tret\n"
	    "2:\tmovq %%r8, %%rsp",
	    ::"r"(NONCANONICAL)
	    : "r8", "memory");
	fault_is(GP, 0, "RET to a non-canonical address: #GP(0) at the RET");
	check_eq(fault.frame.rsp, fault.frame.r8 - 8, "RET that faults: RSP");
}

/* -- INT n and gates (SDM vol. 3, 6.12.1, 6.13) ---------------------------- */

USER_CODE(u_int20, "int $0x20");
USER_CODE(u_int0d, "int $0x0d");
USER_CODE(u_int0e, "int $0x0e");
USER_CODE(u_int08, "int $0x08");
USER_CODE(u_int3, "int3\n nop");
USER_CODE(u_done, "mov %rdi, %rax\n int $0x81");
USER_CODE(u_cli, "cli");
USER_CODE(u_hlt, "hlt");
USER_CODE(u_popf, "pushq %rdi\n popfq\n pushfq\n popq %rax\n int $0x81");

static void gate_is(unsigned vector, uint64_t error, const char *name)
{
	check(fault.vector == vector && fault.error == error &&
		  fault.rip == fault.at,
	      name);
	if (fault.vector != vector || fault.error != error)
		check_eq(fault.vector << 32 | fault.error,
			 (uint64_t)vector << 32 | error, "vector, error");
}

static void user_is(const uint8_t *code, unsigned vector, uint64_t error,
		    const char *name)
{
	user_run(code, 0, IF);
	fault.at = (uint64_t)(uintptr_t)code;
	gate_is(vector, error, name);
}

static void restore_gate(unsigned vector)
{
	gate_set(vector,
		 (void (*)(void))(uintptr_t)(SYM(stub_table) + 16 * vector),
		 0x8e, 0);
}

static void gates(void)
{
	user_is(u_int20, GP, 0x20 * 8 + 2, "INT 20H at CPL 3: #GP(gate)");
	/* INT n is benign whatever n is (table 6-4): no double fault. */
	user_is(u_int0d, GP, 0x0d * 8 + 2, "INT 0DH at CPL 3: #GP, not #DF");
	user_is(u_int0e, GP, 0x0e * 8 + 2, "INT 0EH at CPL 3: #GP, not #DF");
	user_is(u_int08, GP, 0x08 * 8 + 2, "INT 8 at CPL 3: #GP, no shutdown");
	user_run(u_int3, 0, 0);
	check(fault.vector == BP && fault.rip == (uintptr_t)u_int3 + 1,
	      "INT3 at CPL 3: #BP");
	idt_load(0x90 * 16 - 1);
	TRY("int $0x90", ::: "memory");
	fault_is(GP, 0x90 * 8 + 2, "INT past the IDT: #GP(gate)");
	idt_load(sizeof(idt) - 1);
	idt[0x90].attr = 0x0e;
	TRY("int $0x90", ::: "memory");
	fault_is(NP, 0x90 * 8 + 2, "a gate that is not present: #NP(gate)");
	lapic_enable();
	TRY("sti; nop; cli; movl $0x40090, (%0); sti; movq $3f, try_at\n"
	    "3:\tnop; cli",
	    ::"r"(LAPIC + (uint64_t)LAPIC_ICR)
	    : "memory");
	fault_is(NP, 0x90 * 8 + 3,
		 "an interrupt by a gate not present: #NP(gate + EXT)");
	__asm__ volatile("cli");
	lapic_eoi();
	idt[0x90].attr = 0x85;
	TRY("int $0x90", ::: "memory");
	fault_is(GP, 0x90 * 8 + 2, "a task gate: #GP(gate)");
	idt[0x90].attr = 0x8e;
	idt[0x90].selector = 0;
	TRY("int $0x90", ::: "memory");
	fault_is(GP, 0, "a gate with a null selector: #GP(0)");
	idt[0x90].selector = SEL_DATA;
	TRY("int $0x90", ::: "memory");
	fault_is(GP, SEL_DATA, "a gate to data: #GP(selector)");
	idt[0x90].selector = SEL_CODE32;
	TRY("int $0x90", ::: "memory");
	fault_is(GP, SEL_CODE32, "a gate to 32-bit code: #GP(selector)");
	idt[0x90].selector = SEL_USER_CODE64;
	TRY("int $0x90", ::: "memory");
	fault_is(GP, SEL_USER_CODE64 & ~3, "a gate to CPL 3: #GP(selector)");
	gdt[SEL_FREE / 8] = gdt[SEL_CODE64 / 8] & ~BIT(47);
	idt[0x90].selector = SEL_FREE;
	TRY("int $0x90", ::: "memory");
	fault_is(NP, SEL_FREE, "a gate to code not present: #NP(selector)");
	restore_gate(0x90);
	idt[0x90].offset_high = 0x00008000;
	TRY("int $0x90", ::: "memory");
	fault_is(GP, 0, "a gate with a non-canonical offset: #GP(0)");
	restore_gate(0x90);
}

/* -- stacks (SDM vol. 3, 6.14) --------------------------------------------- */

static void stacks(void)
{
	uint64_t was;

	check_eq(user_run(u_done, 0x1122334455667788, 0), 0x1122334455667788,
		 "CPL 3 and back");
	check_eq(fault.frame.cs, SEL_USER_CODE64, "from CPL 3: CS");
	check_eq(fault.frame.ss, SEL_USER_DATA, "from CPL 3: SS");
	check_eq(fault.frame.rsp, USER_STACK_TOP, "from CPL 3: RSP");
	check_eq(fault.handler_rsp + sizeof(struct frame), tss.rsp[0],
		 "from CPL 3: the frame is below RSP0");
	check_eq(fault.handler_ss, 0, "from CPL 3: SS becomes null");
	check_eq(fault.handler_flags & (IF | TF | NT), 0,
		 "an interrupt gate clears IF, TF, NT");
	/* RSP is aligned before the frame is pushed. */
	TRY("movq %%rsp, %%r8; leaq -137(%%rsp), %%rsp; int $0x90\n"
	    "2:\tmovq %%r8, %%rsp",
	    ::
		: "r8", "memory");
	check_eq(fault.frame.rsp & 15, (fault.frame.r8 - 137) & 15,
		 "a misaligned RSP is saved as it was");
	check_eq((fault.handler_rsp + sizeof(struct frame)) & 15, 0,
		 "the frame is pushed from 16-byte alignment");
	/* RSP0 that cannot be used. */
	tss.ist[1] = (uint64_t)(uintptr_t)page_alloc() + 4096;
	idt[SS].ist = 2;
	was = tss.rsp[0];
	tss.rsp[0] = NONCANONICAL;
	user_run(u_done, 0, 0);
	tss.rsp[0] = was;
	idt[SS].ist = 0;
	check(fault.vector == SS && fault.error == 0,
	      "RSP0 non-canonical: #SS(0)");
	check(fault.frame.cs == SEL_USER_CODE64, "RSP0 non-canonical: CS");
	tss.rsp[0] = 0x100000001000;
	idt[DF].ist = 2;
	idt[PF].ist = 2;
	user_run(u_done, 0, 0);
	check(fault.vector == PF && fault.error == 2 &&
		  fault.cr2 == 0x100000000ff8,
	      "RSP0 not mapped: #PF, a supervisor's write");
	tss.rsp[0] = was;
	idt[DF].ist = idt[PF].ist = 0;
	user_is(u_cli, GP, 0, "CLI at CPL 3: #GP(0)");
	user_is(u_hlt, GP, 0, "HLT at CPL 3: #GP(0)");
	/* POPF at CPL 3 changes neither IF nor IOPL, and does not fault. */
	check_eq(user_run(u_popf, 0x3ed7 & ~TF, 0) & 0x3200, 0,
		 "POPF at CPL 3 leaves IF and IOPL clear");
	check_eq(user_run(u_popf, 0, IF | 0x1000) & 0x3200, IF | 0x1000,
		 "POPF at CPL 3 leaves IF and IOPL set");
}

/* -- double faults (SDM vol. 3, 6.15, table 6-5) ----------------------------
 */

static void double_faults(void)
{
	uint64_t stack = (uint64_t)(uintptr_t)page_alloc() + 4096;

	tss.ist[2] = stack;
	idt[DF].ist = 3;
	idt[GP].attr = 0x0e;
	TRY("mov %0, %%ds", ::"r"(SEL_TSS) : "memory");
	fault_is(DF, 0, "#NP in the delivery of #GP: #DF(0)");
	check_eq(fault.handler_rsp + sizeof(struct frame), stack,
		 "#DF comes on its IST stack");
	idt[GP].attr = 0x8e;
	idt[PF].attr = 0x0e;
	TRY("movl $0, (%0)", ::"r"(0x100000000000) : "memory");
	fault_is(DF, 0, "#NP in the delivery of #PF: #DF(0)");
	idt[PF].attr = 0x8e;
	idt[UD].attr = 0x0e;
	TRY("ud2", ::: "memory");
	fault_is(NP, UD * 8 + 3, "#NP in the delivery of #UD: #NP(gate + EXT)");
	idt[UD].attr = 0x8e;
	/* #PF in the delivery of #PF: both CR2s are seen, the second stays. */
	idt[PF].ist = 4;
	tss.ist[3] = 0x100000001000;
	TRY("movl $0, (%0)", ::"r"(0x100000200000) : "memory");
	fault_is(DF, 0, "#PF in the delivery of #PF: #DF(0)");
	check_eq(fault.cr2, 0x100000000ff8, "#DF after #PF: CR2 of the second");
	idt[PF].ist = 0;
	/* #PF in the delivery of #UD: serial. */
	idt[UD].ist = 4;
	TRY("ud2", ::: "memory");
	fault_is(PF, 2, "#PF in the delivery of #UD: #PF");
	idt[UD].ist = 0;
	idt[DF].ist = 0;
}

/* -- IRET (SDM vol. 2) ------------------------------------------------------
 */

static void iret_try(uint64_t rip, uint64_t cs, uint64_t flags, uint64_t rsp,
		     uint64_t ss)
{
	TRY("movq %%rsp, %%rbx\n\t"
	    "pushq %4; pushq %3; pushq %2; pushq %1; pushq %0\n\t"
	    "movq $3f, try_at\n"
	    "3:\tiretq\n"
	    "2:\tmovq %%rbx, %%rsp",
	    ::"r"(rip), "r"(cs), "r"(flags), "r"(rsp), "r"(ss)
	    : "rbx", "memory");
}

static void irets(void)
{
	uint64_t rip = SYM(iret_target),
		 rsp = (uint64_t)(uintptr_t)page_alloc();

	iret_try(NONCANONICAL, SEL_CODE64, 2, rsp, SEL_DATA);
	fault_is(GP, 0, "IRET to a non-canonical RIP: #GP(0)");
	iret_try(rip, 0, 2, rsp, SEL_DATA);
	fault_is(GP, 0, "IRET to a null CS: #GP(0)");
	iret_try(rip, SEL_DATA, 2, rsp, SEL_DATA);
	fault_is(GP, SEL_DATA, "IRET to data: #GP(selector)");
	iret_try(rip, SEL_CODE64, 2, rsp, SEL_USER_DATA);
	fault_is(GP, SEL_USER_DATA & ~3, "IRET to an SS of another RPL: #GP");
	iret_try(rip, SEL_USER_CODE64, 2, rsp, 0);
	fault_is(GP, 0, "IRET to CPL 3 with a null SS: #GP(0)");
	iret_try(rip, 0x1f8, 2, rsp, SEL_DATA);
	fault_is(GP, 0x1f8, "IRET to a CS past the GDT: #GP(selector)");
	TRY("movq %%rsp, %%rbx; pushfq; orq $0x4000, (%%rsp); popfq\n\t"
	    "movq $3f, try_at\n"
	    "3:\tiretq\n"
	    "2:\tmovq %%rbx, %%rsp; pushfq; andq $~0x4000, (%%rsp); popfq",
	    ::
		: "rbx", "memory", "cc");
	fault_is(GP, 0, "IRET with NT: #GP(0)");
	/* SS may be null below CPL 3; RSP is always popped. */
	iret_try(SYM(iret_back), SEL_CODE64, 2, rsp + 0x800, 0);
	check(fault.vector == UD && fault.frame.rsp == rsp + 0x800 &&
		  fault.frame.ss == 0,
	      "IRET to CPL 0 with a null SS");
	__asm__ volatile("mov %0, %%ss" ::"r"(SEL_DATA));
}

KERNEL_CODE(iret_target, "hlt");
KERNEL_CODE(iret_back, "ud2");

/* -- NMI (SDM vol. 3, 6.7.1) ------------------------------------------------
 */

static volatile unsigned nmi_count, nmi_depth, nmi_deepest;
static bool nmi_again, nmi_faults;

static void on_nmi(struct frame *frame)
{
	unsigned count = ++nmi_count;

	if (++nmi_depth > nmi_deepest)
		nmi_deepest = nmi_depth;
	if (count == 1 && nmi_again) {
		host(HOST_NMI, 0, 0, 0);
		for (unsigned n = 0; n < 100; n++)
			pause_cpu();
		if (nmi_count != 1)
			nmi_deepest = 99;
		if (nmi_faults) {
			/* The IRET of any handler unblocks NMIs. */
			trap_handler[0x91] = on_nmi;
			nmi_depth--;
			__asm__ volatile("int $0x91" ::: "memory");
			nmi_depth++;
		}
	}
	nmi_depth--;
}

static void nmis(void)
{
	trap_handler[NMI] = on_nmi;
	check_eq(host(HOST_NMI, 0, 0, 0), 0, "vm_inject_nmi");
	for (unsigned n = 0; n < 100; n++)
		pause_cpu();
	check_eq(nmi_count, 1, "an NMI arrives with IF clear");
	nmi_count = 0;
	nmi_again = true;
	host(HOST_NMI, 0, 0, 0);
	for (unsigned n = 0; n < 100; n++)
		pause_cpu();
	check_eq(nmi_count, 2, "an NMI in the handler arrives");
	check_eq(nmi_deepest, 1, "but only after its IRET");
	nmi_count = 0;
	nmi_again = nmi_faults = true;
	host(HOST_NMI, 0, 0, 0);
	for (unsigned n = 0; n < 100; n++)
		pause_cpu();
	check_eq(nmi_count, 3, "the IRET of a nested handler unblocks NMIs");
	nmi_faults = nmi_again = false;
	nmi_count = 0;
	/* HLT ends by an NMI, with IF clear. */
	host(HOST_NMI, 0, 0, 0);
	check_eq(nmi_count, 1, "an NMI at once");
	trap_handler[NMI] = NULL;
}

/* -- shadows (SDM vol. 2, STI; vol. 3, 6.8.3) --------------------------------
 */

static void raise_self(void)
{
	__asm__ volatile("cli");
	noted = 0;
	lapic_write(LAPIC_ICR, 0x40092);
}

static void shadows(void)
{
	trap_handler[0x92] = note_interrupt;
	lapic_enable();
	raise_self();
	__asm__ volatile("sti\n\tnop\nsh1:\tnop\n\tcli" ::: "memory");
	check(noted == 1 && noted_at == SYM(sh1),
	      "STI: the interrupt comes after the next instruction");
	raise_self();
	__asm__ volatile("sti\n\tcli\n\tnop" ::: "memory");
	check_eq(noted, 0, "STI, CLI: no interrupt");
	__asm__ volatile("sti; nop; nop; cli" ::: "memory");
	check_eq(noted, 1, "and then it comes");
	raise_self();
	__asm__ volatile(
	    "pushfq; orq $0x200, (%%rsp); popfq\nsh2:\tnop\n\tcli" ::
		: "memory", "cc");
	check(noted == 1 && noted_at == SYM(sh2), "POPF has no shadow");
	raise_self();
	__asm__ volatile("sti\n\tsti\nsh3:\tnop\n\tcli" ::: "memory");
	check(noted == 1 && noted_at == SYM(sh3), "a second STI has no shadow");
	raise_self();
	__asm__ volatile("sti\n\thlt\nsh4:\tnop\n\tcli" ::: "memory");
	check(noted == 1 && noted_at == SYM(sh4), "STI, HLT: HLT is woken");
	/* TPR of the vector's class holds it back; CR8 is TPR. */
	WRITE_CR(8, 9);
	check_eq(lapic_read(LAPIC_TPR), 0x90, "CR8 is the TPR's upper half");
	raise_self();
	__asm__ volatile("sti; nop; nop; nop; cli" ::: "memory");
	check_eq(noted, 0, "TPR of the same class holds an interrupt back");
	__asm__ volatile("sti; nop; mov %0, %%cr8\nsh5:\tnop; cli" ::"r"(8ull)
			 : "memory");
	check(noted == 1 && noted_at == SYM(sh5),
	      "lowering CR8 lets it in at the next instruction");
	WRITE_CR(8, 0);
}

/* -- single steps (SDM vol. 3, 17.3.1.4) -------------------------------------
 */

static uint64_t step_rip[16], step_dr6;
static volatile unsigned steps;

static void on_step(struct frame *frame)
{
	if (steps < 16)
		step_rip[steps] = frame->rip;
	steps++;
	__asm__ volatile("mov %%dr6, %0" : "=r"(step_dr6));
	if (steps >= 14)
		frame->rflags &= ~TF;
}

#define STEP(text, ...)                                                        \
	do {                                                                   \
		steps = 0;                                                     \
		__asm__ volatile(                                              \
		    "pushfq; orq $0x100, (%%rsp); popfq\n" text                \
		    "\n\tpushfq; andq $~0x100, (%%rsp); popfq" __VA_ARGS__);   \
	} while (0)

static void step_is(unsigned n, uint64_t rip, const char *name)
{
	if (!check(steps > n && step_rip[n] == rip, name))
		check_eq(step_rip[n], rip, "the step's RIP");
}

static void single_steps(void)
{
	static uint8_t from[4] = "abc", to[4];
	uint64_t rcx = 3, rsi = (uint64_t)(uintptr_t)from,
		 rdi = (uint64_t)(uintptr_t)to;

	trap_handler[DB] = on_step;
	STEP("s0:\tnop\ns1:\tnop\ns2:", ::: "memory", "cc");
	step_is(0, SYM(s1), "the first trap comes after the next instruction");
	step_is(1, SYM(s2), "and one after each");
	check_eq(steps, 5, "five: two, and those that clear TF");
	check((step_dr6 & BIT(14)) != 0, "DR6.BS");
	STEP("r0:\trep movsb\nr1:",
	     : "+c"(rcx), "+S"(rsi), "+D"(rdi)
	     :
	     : "memory", "cc");
	step_is(0, SYM(r0), "REP: a trap an element, RIP stays");
	step_is(1, SYM(r0), "REP: the second");
	step_is(2, SYM(r1), "REP: the last");
	check(to[2] == 'c', "REP: done");
	STEP("m0:\tmov %0, %%ss\nm1:\tnop\nm2:", ::"r"(SEL_DATA)
	     : "memory", "cc");
	step_is(0, SYM(m2),
		"MOV SS: no trap before the next instruction's end");
	STEP("x0:\tcpuid\nx1:\tinb $0x80, %%al\nx2:\tmov $0xc0de, %%ecx\n"
	     "x3:\trdmsr\nx4:",
	     ::
		 : "rax", "rbx", "rcx", "rdx", "memory", "cc");
	step_is(0, SYM(x1), "CPUID: a trap after it");
	step_is(1, SYM(x2), "IN, by the process: a trap after it");
	step_is(3, SYM(x4), "RDMSR, by the process: a trap after it");
	STEP("y0:\tmov %0, %%cr8\ny1:\tjmp y2\n\tnop\ny2:\tsti\ny3:\tcli\ny4:",
	     ::"r"(0ull)
	     : "memory", "cc");
	step_is(0, SYM(y1), "MOV to CR8: a trap after it");
	step_is(1, SYM(y2), "JMP: a trap at its target");
	step_is(2, SYM(y3), "STI holds off interrupts, not traps");
	/* INT clears TF: its handler runs on, and the flags pushed have it. */
	fault_clear();
	steps = 0;
	try_resume = SYM(z2);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n"
			 "z0:\tint $0x93\nz2:\tnop\nz3:\n\t"
			 "pushfq; andq $~0x100, (%%rsp); popfq" ::
			     : "memory", "cc");
	check((fault.frame.rflags & TF) != 0, "INT pushes TF");
	step_is(0, SYM(z3), "INT: no trap in the handler");
	trap_handler[DB] = NULL;
}

/* -- debug registers ---------------------------------------------------------
 */

static void debug_registers(void)
{
	uint64_t v;

	__asm__ volatile("mov %0, %%dr6" ::"r"(0ull));
	__asm__ volatile("mov %%dr6, %0" : "=r"(v));
	check_eq(v, 0xffff0ff0, "DR6: reserved bits");
	__asm__ volatile("mov %0, %%dr7" ::"r"(0ull));
	__asm__ volatile("mov %%dr7, %0" : "=r"(v));
	check_eq(v, 0x400, "DR7: reserved bits");
	TRY("mov %0, %%dr7", ::"r"(BIT(32)) : "memory");
	fault_is(GP, 0, "DR7 above 32 bits: #GP(0)");
	TRY("mov %0, %%dr6", ::"r"(BIT(40)) : "memory");
	fault_is(GP, 0, "DR6 above 32 bits: #GP(0)");
	__asm__ volatile("mov %0, %%dr0" ::"r"(0x123456789abcull));
	__asm__ volatile("mov %%dr0, %0" : "=r"(v));
	check_eq(v, 0x123456789abc, "DR0 reads back");
	TRY("mov %%dr4, %0", : "=r"(v)::"memory");
	fault_is(NO_FAULT, 0, "DR4 is DR6 without CR4.DE");
	check_eq(v, 0xffff0ff0, "DR4 reads DR6");
	WRITE_CR(4, READ_CR(4) | 8);
	TRY("mov %%dr4, %0", : "=r"(v)::"memory");
	fault_is(UD, 0, "DR4 with CR4.DE: #UD");
	WRITE_CR(4, READ_CR(4) & ~8ull);
	__asm__ volatile("mov %0, %%dr7" ::"r"(BIT(13)));
	TRY("mov %%dr0, %0", : "=r"(v)::"memory");
	fault_is(DB, 0, "DR7.GD: #DB at the access");
	check((fault.dr6 & BIT(13)) != 0, "DR6.BD");
	__asm__ volatile("mov %%dr7, %0" : "=r"(v));
	check_eq(v, 0x400, "#DB clears GD");
}

/* -- the process' exceptions --------------------------------------------------
 */

static void injected(void)
{
	static volatile struct host_call call = {.fn = HOST_EXCEPTION,
						 .a = {GP, 0x1234}};

	TRY("outl %%eax, %%dx\n3:", ::"a"((uint32_t)(uintptr_t)&call),
	    "d"(PORT_CALL)
	    : "memory");
	check(fault.vector == GP && fault.error == 0x1234 &&
		  fault.rip == fault.at + 1,
	      "vm_inject_exception: #GP(1234H) after the OUT");
	call.a[0] = UD;
	call.a[1] = ~0ull;
	TRY("outl %%eax, %%dx", ::"a"((uint32_t)(uintptr_t)&call),
	    "d"(PORT_CALL)
	    : "memory");
	check(fault.vector == UD && fault.rip == fault.at + 1,
	      "vm_inject_exception: #UD");
}

/* -- #NM, #AC -----------------------------------------------------------------
 */

USER_CODE(u_ac, "movl 1(%rdi), %eax\n int $0x81");
USER_CODE(u_ac_aligned, "movl 4(%rdi), %eax\n int $0x81");

static void others(void)
{
	WRITE_CR(0, READ_CR(0) | 8);
	TRY("fninit", ::: "memory");
	fault_is(NM, 0, "x87 with CR0.TS: #NM");
	TRY("clts; fninit", ::: "memory");
	fault_is(NO_FAULT, 0, "x87 after CLTS");
	WRITE_CR(0, READ_CR(0) | BIT(18));
	user_run(u_ac, (uint64_t)(uintptr_t)user_data, BIT(18));
	check(fault.vector == AC && fault.error == 0, "#AC(0) at CPL 3");
	user_run(u_ac_aligned, (uint64_t)(uintptr_t)user_data, BIT(18));
	check_eq(fault.vector, USER_DONE, "no #AC when aligned");
	user_run(u_ac, (uint64_t)(uintptr_t)user_data, 0);
	check_eq(fault.vector, USER_DONE, "no #AC with AC clear");
	WRITE_CR(0, READ_CR(0) & ~BIT(18));
}

void payload(void)
{
	part(plain);
	part(not_canonical);
	part(gates);
	part(stacks);
	part(double_faults);
	part(irets);
	part(nmis);
	part(shadows);
	part(single_steps);
	part(debug_registers);
	part(injected);
	part(others);
}
