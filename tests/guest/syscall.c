/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ways between privilege levels and modes: SYSCALL, SYSENTER, call gates,
 * 32-bit code under long mode, I/O permission, and the instructions about
 * segments (SDM vol. 2; vol. 3, 5.8; APM vol. 3 where AMD differs).
 */
#include "lib/guest.h"

#define MSR_EFER           0xc0000080
#define MSR_STAR           0xc0000081
#define MSR_LSTAR          0xc0000082
#define MSR_CSTAR          0xc0000083
#define MSR_SFMASK         0xc0000084
#define MSR_SYSENTER_CS    0x174
#define MSR_SYSENTER_ESP   0x175
#define MSR_SYSENTER_EIP   0x176
#define MSR_FS_BASE        0xc0000100
#define MSR_GS_BASE        0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
/* Spelled in bytes: gas warns of the bare name, clang knows no suffix. */
#define SYSEXIT            ".byte 0x0f, 0x35"
#define NONCANONICAL       0x0000800000000000ull
#define IF                 BIT(9)
#define IOPL(n)            ((uint64_t)(n) << 12)

#define SYM(n)                                                                 \
	({                                                                     \
		extern const uint8_t n[];                                      \
		(uint64_t)(uintptr_t) n;                                       \
	})

static bool is_amd(void)
{
	struct regs4 r = cpuid(0, 0);

	return r.b == 0x68747541 || r.b == 0x6f677948;
}

/* What a system call's entry saw. */
uint64_t entry_cs, entry_ss, entry_flags, entry_rcx, entry_r11, entry_rsp;

/*
 * Entries: note the state, then end the run as INT USER_DONE would. RCX and
 * R11 are kept in the notes.
 */
#define ENTRY_NOTES                                                            \
	"movq %rcx, entry_rcx\n movq %r11, entry_r11\n"                        \
	"movq %rsp, entry_rsp\n movq user_saved_rsp, %rsp\n"                   \
	"pushfq\n popq entry_flags\n movq %cs, %rcx\n movq %rcx, entry_cs\n"   \
	"movq %ss, %rcx\n movq %rcx, entry_ss\n movq %rax, %rdi\n"             \
	"jmp user_leave\n"
KERNEL_CODE(syscall_entry, ENTRY_NOTES);
KERNEL_CODE(cstar_entry, "movl $0xc5, %eax\n" ENTRY_NOTES);

USER_CODE(u_syscall, "movl $0x1234, %eax\n syscall\n after_syscall: nop");
USER_CODE(u_syscall32,
	  ".code32\n movl $0x4321, %eax\n syscall\n after_syscall32: nop\n"
	  ".code64\n");
USER_CODE(u_sysenter, "movl $0x777, %eax\n sysenter");
USER_CODE(u_state, "pushfq\n popq %rax\n int $0x81");
USER_CODE(u_state32, ".code32\n pushfl\n popl %eax\n int $0x81\n.code64\n");
USER_CODE(u_sysret, "sysretq");
USER_CODE(u_sysexit, SYSEXIT);

static void in_kernel_is(const char *name)
{
	check_eq(entry_cs, SEL_CODE64, name);
	check_eq(entry_ss, SEL_DATA, name);
}

static void syscalls(void)
{
	uint64_t star = (uint64_t)SEL_USER_CODE32 << 48 | (uint64_t)SEL_CODE64
							      << 32;

	wrmsr(MSR_STAR, star);
	wrmsr(MSR_LSTAR, SYM(syscall_entry));
	wrmsr(MSR_CSTAR, SYM(cstar_entry));
	wrmsr(MSR_SFMASK, IF | BIT(10) | BIT(18));
	check_eq(user_run(u_syscall, 0, IF | 1), 0x1234, "SYSCALL");
	in_kernel_is("SYSCALL: CS, SS");
	check_eq(entry_rcx, SYM(after_syscall), "SYSCALL: RCX is the return");
	check_eq(entry_r11 & 0x3ffeff, IF | 3, "SYSCALL: R11 is RFLAGS");
	check_eq(entry_flags & (IF | BIT(10) | BIT(18)), 0,
		 "SYSCALL: SFMASK clears");
	check_eq(entry_flags & 1, 1, "SYSCALL: the rest of RFLAGS stays");
	check_eq(entry_rsp, USER_STACK_TOP, "SYSCALL: RSP stays");
	entry_cs = 0;
	user_run_cs(u_syscall32, 0, 0, SEL_USER_CODE32);
	if (is_amd()) {
		check_eq(entry_rcx, SYM(after_syscall32),
			 "SYSCALL from 32-bit code: RCX");
		in_kernel_is("SYSCALL from 32-bit code, by CSTAR");
	} else {
		check(fault.vector == UD && entry_cs == 0,
		      "SYSCALL from 32-bit code on Intel: #UD");
	}
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~1ull);
	user_run(u_syscall, 0, 0);
	check_eq(fault.vector, UD, "SYSCALL without EFER.SCE: #UD");
	TRY("sysretq", ::: "memory");
	fault_is(UD, 0, "SYSRET without EFER.SCE: #UD");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | 1);
	TRY("wrmsr", ::"c"(MSR_LSTAR), "a"(0), "d"(0x8000) : "memory");
	fault_is(GP, 0, "a non-canonical LSTAR: #GP(0)");
	TRY("wrmsr", ::"c"(MSR_LSTAR), "a"(0), "d"(0x00ff8000) : "memory");
	fault_is(GP, 0, "an LSTAR of 57 bits: #GP(0)");
	TRY("wrmsr", ::"c"(MSR_KERNEL_GS_BASE), "a"(0), "d"(0x00800000)
	    : "memory");
	fault_is(GP, 0, "a KERNEL_GS_BASE of 57 bits: #GP(0)");
}

/* Goes to CPL 3 by an instruction instead of IRET; user_leave comes back. */
extern uint64_t user_saved_rsp;
#define SAVE_AND(text)                                                         \
	"push %rbx\n push %rbp\n push %r12\n push %r13\n push %r14\n"          \
	"push %r15\n movq %rsp, user_saved_rsp\n movq %rdi, %rcx\n"            \
	"movq %rsi, %r11\n movq %rsi, %rdx\n" text
KERNEL_CODE(go_sysretq, SAVE_AND("movq $user_stack + 4000, %rsp\n sysretq"));
KERNEL_CODE(go_sysretl, SAVE_AND("movq $user_stack + 4000, %rsp\n sysretl"));
KERNEL_CODE(go_sysexitq, SAVE_AND(".byte 0x48; " SYSEXIT));
KERNEL_CODE(go_sysexitl, SAVE_AND(SYSEXIT));
typedef uint64_t go_fn(uint64_t rdi, uint64_t rsi);
#define GO(name, a, b)                                                         \
	({                                                                     \
		uint64_t v_;                                                   \
		fault_clear();                                                 \
		v_ =                                                           \
		    ((go_fn *)(uintptr_t)name)((uint64_t)(uintptr_t)(a), (b)); \
		user_saved_rsp = 0;                                            \
		v_;                                                            \
	})

static void sysrets(void)
{
	uint64_t v = GO(go_sysretq, u_state, 0x3c7fd7 & ~BIT(8) & ~BIT(14));

	check_eq(fault.vector, USER_DONE, "SYSRETQ");
	check_eq(fault.frame.cs, SEL_USER_CODE64, "SYSRETQ: CS");
	check_eq(fault.frame.ss, SEL_USER_DATA, "SYSRETQ: SS");
	check_eq(v & 0x3fffff, 0x3c7fd7 & ~BIT(8) & ~BIT(14),
		 "SYSRETQ: RFLAGS from R11");
	GO(go_sysretq, u_state, ~0ull & ~BIT(8));
	check_eq(fault.frame.rflags & (BIT(3) | BIT(5) | BIT(15) | BIT(17)), 0,
		 "SYSRETQ: reserved bits and VM stay clear");
	check_eq(fault.frame.rflags >> 22, 0, "SYSRETQ: no bits above 21");
	GO(go_sysretl, u_state32, 2);
	check_eq(fault.frame.cs, SEL_USER_CODE32, "SYSRETL: CS");
	check_eq(fault.frame.ss, SEL_USER_DATA, "SYSRETL: SS");
	user_run(u_sysret, 0, 0);
	check(fault.vector == GP && fault.error == 0,
	      "SYSRET at CPL 3: #GP(0)");
	TRY("sysretq", ::"c"(NONCANONICAL) : "memory");
	fault_is(GP, 0, "SYSRETQ to a non-canonical RCX: #GP(0) at CPL 0");
	check_eq(fault.frame.cs, SEL_CODE64, "and CS is the kernel's");
}

static void sysenters(void)
{
	wrmsr(MSR_SYSENTER_CS, SEL_CODE64);
	wrmsr(MSR_SYSENTER_ESP, 0x123456);
	wrmsr(MSR_SYSENTER_EIP, SYM(syscall_entry));
	check_eq(rdmsr(MSR_SYSENTER_ESP), 0x123456, "SYSENTER_ESP reads back");
	entry_cs = 0;
	if (is_amd()) {
		user_run(u_sysenter, 0, 0);
		check_eq(fault.vector, UD, "SYSENTER in long mode on AMD: #UD");
		TRY(SYSEXIT, ::"c"(0), "d"(0) : "memory");
		fault_is(UD, 0, "SYSEXIT in long mode on AMD: #UD");
		return;
	}
	check_eq(user_run(u_sysenter, 0, IF), 0x777, "SYSENTER");
	in_kernel_is("SYSENTER: CS, SS");
	check_eq(entry_rsp, 0x123456, "SYSENTER: RSP");
	check_eq(entry_flags & IF, 0, "SYSENTER clears IF");
	/* SYSEXIT wants its segments after SYSENTER_CS: +16, +24, +32, +40;
	   the payload's user segments stand so from SEL_CODE64 + 8 on. */
	wrmsr(MSR_SYSENTER_CS, SEL_CODE64);
	GO(go_sysexitl, USER_STACK_TOP, (uint64_t)(uintptr_t)u_state32);
	check_eq(fault.vector, USER_DONE, "SYSEXIT to 32-bit code");
	check_eq(fault.frame.cs, SEL_USER_CODE32, "SYSEXIT: CS");
	check_eq(fault.frame.ss, SEL_USER_DATA, "SYSEXIT: SS");
	check_eq(fault.frame.rsp, USER_STACK_TOP, "SYSEXIT: RSP is RCX");
	GO(go_sysexitq, USER_STACK_TOP, (uint64_t)(uintptr_t)u_state);
	check_eq(fault.vector, USER_DONE, "SYSEXIT to 64-bit code");
	check_eq(fault.frame.cs, SEL_USER_CODE64, "SYSEXIT.W: CS");
	wrmsr(MSR_SYSENTER_CS, 0);
	user_run(u_sysenter, 0, 0);
	check(fault.vector == GP && fault.error == 0,
	      "SYSENTER with a null SYSENTER_CS: #GP(0)");
	wrmsr(MSR_SYSENTER_CS, SEL_CODE64);
	user_run(u_sysexit, 0, 0);
	check(fault.vector == GP && fault.error == 0,
	      "SYSEXIT at CPL 3: #GP(0)");
}

/* -- bases, UMIP -------------------------------------------------------------
 */

USER_CODE(u_rdfs, "rdfsbase %rax\n int $0x81");
USER_CODE(u_wrgs, "wrgsbase %rdi\n rdgsbase %rax\n int $0x81");
USER_CODE(u_swapgs, "swapgs");
USER_CODE(u_fsload, "movq %fs:0, %rax\n int $0x81");
USER_CODE(u_sgdt, "sgdt (%rdi)\n int $0x81");
USER_CODE(u_sidt, "sidt (%rdi)\n int $0x81");
USER_CODE(u_sldt, "sldt %eax\n int $0x81");
USER_CODE(u_str, "str %eax\n int $0x81");
USER_CODE(u_smsw, "smsw %eax\n int $0x81");

static void bases(void)
{
	uint64_t v;

	wrmsr(MSR_GS_BASE, 0x1111);
	wrmsr(MSR_KERNEL_GS_BASE, 0x2222);
	__asm__ volatile("swapgs");
	check_eq(rdmsr(MSR_GS_BASE), 0x2222, "SWAPGS");
	check_eq(rdmsr(MSR_KERNEL_GS_BASE), 0x1111, "SWAPGS, the other way");
	user_run(u_swapgs, 0, 0);
	check(fault.vector == GP && fault.error == 0, "SWAPGS at CPL 3: #GP");
	TRY("rdfsbase %0", : "=r"(v)::"memory");
	fault_is(UD, 0, "RDFSBASE without CR4.FSGSBASE: #UD");
	*(uint64_t *)user_data = 0xfeed;
	wrmsr(MSR_FS_BASE, (uint64_t)(uintptr_t)user_data);
	check_eq(user_run(u_fsload, 0, 0), 0xfeed, "FS base at CPL 3");
	if (!(cpuid(7, 0).b & 1)) {
		skip("FSGSBASE", "CPUID has it not");
		return;
	}
	WRITE_CR(4, READ_CR(4) | BIT(16));
	check_eq(user_run(u_rdfs, 0, 0), (uintptr_t)user_data,
		 "RDFSBASE at CPL 3");
	check_eq(user_run(u_wrgs, 0x7654321, 0), 0x7654321,
		 "WRGSBASE at CPL 3");
	check_eq(rdmsr(MSR_GS_BASE), 0x7654321, "is the MSR");
	TRY("wrfsbase %0", ::"r"(NONCANONICAL) : "memory");
	fault_is(GP, 0, "WRFSBASE, non-canonical: #GP(0)");
	WRITE_CR(4, READ_CR(4) & ~BIT(16));
	wrmsr(MSR_FS_BASE, 0);
}

static void umip(void)
{
	static const uint8_t *const code[] = {u_sgdt, u_sidt, u_sldt, u_str,
					      u_smsw};
	uint64_t to = (uint64_t)(uintptr_t)user_data;
	bool ok = true;

	for (unsigned n = 0; n < 5; n++) {
		user_run(code[n], to, 0);
		ok &= fault.vector == USER_DONE;
	}
	check(ok, "SGDT, SIDT, SLDT, STR, SMSW at CPL 3 without UMIP");
	if (!(cpuid(7, 0).c & BIT(2))) {
		skip("UMIP", "CPUID has it not");
		return;
	}
	WRITE_CR(4, READ_CR(4) | BIT(11));
	ok = true;
	for (unsigned n = 0; n < 5; n++) {
		user_run(code[n], to, 0);
		ok &= fault.vector == GP && fault.error == 0 &&
		      fault.rip == (uintptr_t)code[n];
	}
	check(ok, "and with it: #GP(0)");
	TRY("sgdt (%0)", ::"r"(to) : "memory");
	fault_is(NO_FAULT, 0, "SGDT at CPL 0 with UMIP");
	WRITE_CR(4, READ_CR(4) & ~BIT(11));
}

/* -- ports (SDM vol. 1, 20.5)
 * -------------------------------------------------- */

USER_CODE(u_out, "movw %di, %dx\n outb %al, %dx\n int $0x81");
USER_CODE(u_inl, "movw %di, %dx\n inl %dx, %eax\n int $0x81");
USER_CODE(u_cli, "cli\n sti\n pushfq\n popq %rax\n int $0x81");

static void port_rights(void)
{
	user_run(u_out, PORT_TEST, 0);
	check(fault.vector == GP && fault.error == 0,
	      "OUT at CPL 3, the bitmap forbids: #GP(0)");
	tss.bitmap[PORT_TEST / 8] = 0xf0;
	user_run(u_out, PORT_TEST, 0);
	check_eq(fault.vector, USER_DONE, "OUT, the bitmap allows");
	user_run(u_inl, PORT_TEST, 0);
	check_eq(fault.vector, USER_DONE, "IN of four, all four allowed");
	user_run(u_inl, PORT_TEST + 1, 0);
	check_eq(fault.vector, GP, "IN of four, one of them forbidden: #GP");
	tss.bitmap[PORT_TEST / 8] = 0x3f;
	tss.bitmap[PORT_TEST / 8 + 1] = 0xfc;
	user_run(u_inl, PORT_TEST + 6, 0);
	check_eq(fault.vector, USER_DONE, "IN of four across two bytes");
	tss.bitmap[PORT_TEST / 8 + 1] = 0xfe;
	user_run(u_inl, PORT_TEST + 6, 0);
	check_eq(fault.vector, GP, "across two bytes, one forbidden: #GP");
	tss.iomap = sizeof(tss);
	tss.bitmap[PORT_TEST / 8] = 0;
	user_run(u_out, PORT_TEST, 0);
	check_eq(fault.vector, GP, "a bitmap past the TSS: #GP");
	tss.iomap = offsetof(struct tss, bitmap);
	tss.bitmap[PORT_TEST / 8] = tss.bitmap[PORT_TEST / 8 + 1] = 0xff;
	user_run(u_out, PORT_TEST, IOPL(3));
	check_eq(fault.vector, USER_DONE, "OUT at CPL 3 with IOPL 3");
	check((user_run(u_cli, 0, IOPL(3)) & IF) != 0,
	      "CLI, STI at CPL 3 with IOPL 3");
	check_eq(fault.vector, USER_DONE, "and no fault");
}

/* -- call gates (SDM vol. 3, 5.8.3.1)
 * -------------------------------------------- */

#define GATE 0x60
KERNEL_CODE(gate_entry, "movq %rsp, entry_rsp\n movq %cs, %rax\n"
			"movq %rax, entry_cs\n movq %ss, %rax\n"
			"movq %rax, entry_ss\n movq 24(%rsp), %rax\n"
			"movq %rax, entry_rcx\n lretq");
__asm__(".pushsection .user.data, \"aw\"\n.globl u_gate_ptr\nu_gate_ptr:\n"
	".long 0\n.word 0x63\n.popsection\n");
USER_CODE(u_gate, "lcall *u_gate_ptr\n after_gate: movq %rsp, %rax\n"
		  "int $0x81");
__asm__(".pushsection .user.data, \"aw\"\n.globl u_direct_ptr\n"
	"u_direct_ptr:\n.long 0\n.word 8\n.popsection\n");
USER_CODE(u_direct, "ljmp *u_direct_ptr");

static void set_call_gate(uint64_t target, uint16_t selector, unsigned attr)
{
	gdt[GATE / 8] = (target & 0xffff) | (uint64_t)selector << 16 |
			(uint64_t)attr << 40 | (target >> 16 & 0xffff) << 48;
	gdt[GATE / 8 + 1] = target >> 32;
}

static void gate_fault(uint64_t vector, uint64_t error, const char *name)
{
	user_run(u_gate, 0, 0);
	if (!check(fault.vector == vector && fault.error == error &&
		       fault.rip == (uintptr_t)u_gate,
		   name))
		check_eq(fault.vector << 32 | fault.error, vector << 32 | error,
			 "vector, error");
}

static void call_gates(void)
{
	uint64_t target = SYM(gate_entry);

	set_call_gate(target, SEL_CODE64, 0xec);
	check_eq(user_run(u_gate, 0, 0), USER_STACK_TOP,
		 "a call gate to CPL 0 and RETF back: RSP");
	check_eq(fault.vector, USER_DONE, "a call gate: no fault");
	check_eq(entry_cs, SEL_CODE64, "a call gate: CS");
	check_eq(entry_ss, 0, "a call gate: SS is null");
	check_eq(entry_rsp, tss.rsp[0] - 32, "a call gate: RSP0, four words");
	check_eq(entry_rcx, SEL_USER_DATA, "a call gate: SS was pushed");
	set_call_gate(target, SEL_CODE64, 0x8c);
	gate_fault(GP, GATE, "a gate of DPL 0: #GP(gate)");
	set_call_gate(target, SEL_CODE64, 0x6c);
	gate_fault(NP, GATE, "a gate not present: #NP(gate)");
	set_call_gate(target, 0, 0xec);
	gate_fault(GP, 0, "a gate with a null selector: #GP(0)");
	set_call_gate(target, SEL_CODE32, 0xec);
	gate_fault(GP, SEL_CODE32, "a gate to 32-bit code: #GP(selector)");
	set_call_gate(NONCANONICAL, SEL_CODE64, 0xec);
	gate_fault(GP, 0, "a gate to a non-canonical address: #GP(0)");
	set_call_gate(target, SEL_CODE64, 0xec);
	gdt[GATE / 8 + 1] |= 1ull << 40;
	gate_fault(GP, GATE, "a gate whose upper half has a type: #GP(gate)");
	set_call_gate(target, SEL_CODE64, 0xe5);
	gate_fault(GP, GATE, "a task gate: #GP(gate)");
	user_run(u_direct, 0, 0);
	check(fault.vector == GP && fault.error == SEL_CODE64,
	      "a far JMP to CPL 0: #GP(selector)");
	gdt[GATE / 8] = gdt[GATE / 8 + 1] = 0;
}

/* -- 32-bit code under long mode
 * ------------------------------------------------- */

__asm__(".pushsection .user.data, \"aw\"\n.globl u_seg\nu_seg: .long 0x23\n"
	".popsection\n");
/* IRET to CPL 3 has made DS null, which counts in 32-bit code. */
#define LOAD_DS "pushl $0x23\n popl %ds\n"
USER_CODE(u_null_ds, ".code32\n movl u_seg, %eax\n.code64\n");
USER_CODE(u_compat, ".code32\n" LOAD_DS
		    "movl %esp, %ebx\n pushl $0x11223344\n popl %ecx\n"
		    "cmpl %esp, %ebx\n jne 1f\n"
		    "pushw $0x55\n popw %cx\n"
		    "enter $32, $0\n leal 4(%ebp), %edx\n leave\n"
		    "cmpl %esp, %ebx\n jne 1f\n cmpl %edx, %ebx\n jne 1f\n"
		    "pushl %ds\n popl %es\n movw u_seg, %fs\n"
		    "call 2f\n jmp 3f\n 2: ret $0\n 3:\n"
		    "cmpl %esp, %ebx\n jne 1f\n"
		    "pushal\n popal\n cmpl %esp, %ebx\n jne 1f\n"
		    "movl $0x7fffffff, %eax\n incl %eax\n into_at: into\n"
		    "1: int $0x81\n.code64\n");
/* From 32-bit to 64-bit code and back, by far jumps. */
USER_CODE(u_modes, ".code32\n movl $-1, %eax\n ljmp $0x2b, $1f\n"
		   ".code64\n 1: movq $0x1234567890, %rdi\n"
		   "pushq $0x1b\n pushq $2f\n lretq\n"
		   ".code32\n 2: movl %edi, %eax\n incl %eax\n"
		   "ljmp $0x2b, $3f\n .code64\n"
		   "3: shlq $1, %rax\n int $0x81\n");
USER_CODE(u_wrap,
	  ".code32\n" LOAD_DS "movl $-4, %ebx\n movl 4(%ebx,%edi), %eax\n"
	  "int $0x81\n.code64\n");
USER_CODE(u_16, ".code16\n movw $0xffff, %ax\n incw %ax\n"
		"pushw $0x1234\n popw %cx\n int $0x81\n.code64\n");
USER_CODE(u_bound, ".code32\n" LOAD_DS "movl $5, %eax\n movl $u_bounds, %ecx\n"
		   "bound %eax, (%ecx)\n movl $6, %eax\n"
		   "bound_at: bound %eax, (%ecx)\n.code64\n");
__asm__(".pushsection .user.data, \"aw\"\n.globl u_bounds\n"
	"u_bounds: .long -2, 5\n.popsection\n");

static void compat(void)
{
	user_run_cs(u_null_ds, 0, 0, SEL_USER_CODE32);
	check(fault.vector == GP && fault.error == 0,
	      "32-bit code, a load by a null DS: #GP(0)");
	user_run_cs(u_compat, 0, 0, SEL_USER_CODE32);
	check(fault.vector == OF && fault.frame.rip == SYM(into_at) + 1,
	      "32-bit code: stack, ENTER, LEAVE, segments, PUSHA, INTO");
	check_eq(fault.frame.rcx, 0x11220055, "32-bit code: POP r16");
	check_eq(fault.frame.cs, SEL_USER_CODE32, "32-bit code: CS");
	check_eq(user_run_cs(u_modes, 0, 0, SEL_USER_CODE32),
		 (uint64_t)0x34567891 << 1, "32-bit to 64-bit code and back");
	*(uint32_t *)user_data = 0xabcd;
	check_eq(user_run_cs(u_wrap, (uint64_t)(uintptr_t)user_data, 0,
			     SEL_USER_CODE32),
		 0xabcd, "32-bit addresses wrap");
	user_run_cs(u_bound, 0, 0, SEL_USER_CODE32);
	check(fault.vector == BR && fault.rip == SYM(bound_at), "BOUND: #BR");
	gdt[SEL_FREE / 8] =
	    0x000ffb000000ffff | ((uint64_t)(uintptr_t)u_16 & 0xffffff) << 16;
	user_run_cs((void *)0, 0, 0, SEL_FREE | 3);
	check(fault.vector == USER_DONE && (fault.frame.rax & 0xffff) == 0 &&
		  (fault.frame.rcx & 0xffff) == 0x1234,
	      "16-bit code under long mode, with a base");
	gdt[SEL_FREE / 8] = 0;
}

/* -- questions about selectors
 * ------------------------------------------------------ */

static bool lar(uint16_t selector, uint32_t *rights)
{
	bool ok;

	__asm__ volatile("larl %k2, %k0"
			 : "=r"(*rights), "=@ccz"(ok)
			 : "r"((uint32_t)selector), "0"(0xdead));
	return ok;
}

static bool lsl(uint16_t selector, uint32_t *limit)
{
	bool ok;

	__asm__ volatile("lsll %k2, %k0"
			 : "=r"(*limit), "=@ccz"(ok)
			 : "r"((uint32_t)selector), "0"(0xdead));
	return ok;
}

static bool verr(uint16_t selector)
{
	bool ok;

	__asm__ volatile("verr %w1" : "=@ccz"(ok) : "r"(selector));
	return ok;
}

static bool verw(uint16_t selector)
{
	bool ok;

	__asm__ volatile("verw %w1" : "=@ccz"(ok) : "r"(selector));
	return ok;
}

USER_CODE(u_lar, "movl $8, %ecx\n xorl %eax, %eax\n larl %ecx, %edx\n"
		 "setz %al\n int $0x81");

static void questions(void)
{
	uint32_t v = 0;

	/* Bits 19:16 are undefined in the SDM; CPUs show the limit. */
	check(lar(SEL_CODE64, &v) && (v & ~0xf0000ull) == 0x00a09b00,
	      "LAR of code");
	check(lar(SEL_DATA, &v) && (v & ~0xf0000ull) == 0x00c09300,
	      "LAR of data");
	check(lar(SEL_TSS, &v) && v == 0x00008b00, "LAR of the busy TSS");
	check(!lar(0, &v) && v == 0xdead, "LAR of null leaves the register");
	check(!lar(0x1f8, &v), "LAR past the GDT");
	check(!lar(SEL_DATA | 3, &v), "LAR with too high an RPL");
	check(lsl(SEL_DATA, &v) && v == 0xffffffff, "LSL of data");
	check(lsl(SEL_TSS, &v) && v == sizeof(tss) - 1, "LSL of the TSS");
	set_call_gate(0x1234, SEL_CODE64, 0xec);
	check(lar(GATE, &v) && (v & 0xff00) == 0xec00, "LAR of a call gate");
	check(!lsl(GATE, &v), "LSL of a call gate");
	gdt[GATE / 8] = 0x00008e0000080000;
	check(!lar(GATE, &v), "LAR of an interrupt gate");
	gdt[GATE / 8] = 0x0000850000000000;
	check(!lar(GATE, &v), "LAR of a task gate, long mode");
	gdt[GATE / 8] = gdt[GATE / 8 + 1] = 0;
	check(verr(SEL_DATA) && verw(SEL_DATA), "VERR, VERW of data");
	check(verr(SEL_CODE64) && !verw(SEL_CODE64), "VERR, VERW of code");
	check(!verr(SEL_TSS) && !verr(0), "VERR of a system segment, of null");
	gdt[SEL_FREE / 8] = 0x00cff1000000ffff;
	check(verr(SEL_FREE) && !verw(SEL_FREE), "VERW of read-only data");
	gdt[SEL_FREE / 8] = 0x00aff9000000ffff;
	check(!verr(SEL_FREE), "VERR of execute-only code");
	check_eq(user_run(u_lar, 0, 0), 0, "LAR of DPL 0 at CPL 3");
}

void payload(void)
{
	part(syscalls);
	part(sysrets);
	part(sysenters);
	part(bases);
	part(umip);
	part(port_rights);
	part(call_gates);
	part(compat);
	part(questions);
}
