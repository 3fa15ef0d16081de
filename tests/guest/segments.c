/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * 32- and 16-bit protected mode: limits and types of segments (SDM vol. 3,
 * chapter 5), call, interrupt and trap gates between levels (5.8, 6.12), far
 * returns, ports by the TSS' bitmap (SDM vol. 1, 20.5.2), SYSENTER, and the
 * instructions that only 32-bit code has.
 */
#include "lib32/guest32.h"

void *memset(void *to, int c, size_t n);

#define SEL_A    0x48 /* made by each test */
#define SEL_B    0x50
#define SEL_GATE 0x58
#define SEL_FAST 0x60 /* SYSENTER: code, stack, user code, user stack */
#define SEL_LDT  0x80

uint8_t buffer[8192] __attribute__((aligned(4096)));
#define BUFFER ((uint32_t)(uintptr_t)buffer)

/* -- limits and types -------------------------------------------------------
 */

static void load_fs(uint64_t desc)
{
	gdt[SEL_A / 8] = desc;
	__asm__ volatile("mov %0, %%fs" ::"r"(SEL_A) : "memory");
}

static void fs_back(void)
{
	__asm__ volatile("mov %0, %%fs" ::"r"(SEL_DATA));
}

#define READ_FS(offset)                                                        \
	TRY("movl %%fs:(%0), %%eax", ::"r"(offset) : "eax", "memory")
#define WRITE_FS(offset) TRY("movl %%eax, %%fs:(%0)", ::"r"(offset) : "memory")

static void limits(void)
{
	load_fs(DESC(BUFFER, 0xfff, 0x92));
	check_eq(gdt[SEL_A / 8] >> 40 & 1, 1, "loading sets the accessed bit");
	READ_FS(0xffc);
	fault_is(NO_FAULT, 0, "the last doubleword inside the limit");
	READ_FS(0xffd);
	fault_is(GP, 0, "one byte beyond the limit: #GP(0)");
	READ_FS(0xfffffffe);
	fault_is(GP, 0, "far beyond: #GP(0)");
	load_fs(DESC(BUFFER, 0, 0x92 | 0x8000));
	READ_FS(0xffc);
	fault_is(NO_FAULT, 0, "G: the limit is in pages");
	READ_FS(0x1000);
	fault_is(GP, 0, "G: and ends there");

	/* Expand-down: above the limit, to FFFFH or FFFFFFFFH. */
	load_fs(DESC(BUFFER, 0xfff, 0x96 | 0x4000));
	READ_FS(0x1000);
	fault_is(NO_FAULT, 0, "expand-down: above the limit");
	READ_FS(0xfff);
	fault_is(GP, 0, "expand-down: at the limit: #GP(0)");
	READ_FS(0xfffffffd);
	fault_is(GP, 0, "expand-down, B: beyond FFFFFFFFH: #GP(0)");
	load_fs(DESC(BUFFER, 0xfff, 0x96));
	READ_FS(0xfffd);
	fault_is(GP, 0, "expand-down, 16-bit: beyond FFFFH: #GP(0)");
	READ_FS(0x10000);
	fault_is(GP, 0, "expand-down, 16-bit: above: #GP(0)");

	load_fs(DESC(BUFFER, 0xfff, 0x90));
	READ_FS(0);
	fault_is(NO_FAULT, 0, "read-only data: read");
	WRITE_FS(0);
	fault_is(GP, 0, "read-only data: write: #GP(0)");
	load_fs(DESC(BUFFER, 0xfff, 0x9a));
	READ_FS(0);
	fault_is(NO_FAULT, 0, "readable code: read");
	WRITE_FS(0);
	fault_is(GP, 0, "code: write: #GP(0)");
	fs_back();
	gdt[SEL_A / 8] = DESC(BUFFER, 0xfff, 0x98);
	TRY("mov %0, %%fs", ::"r"(SEL_A) : "memory");
	fault_is(GP, SEL_A, "execute-only code in FS: #GP(selector)");
	TRY("movl %%eax, %%cs:buffer", ::: "memory");
	fault_is(GP, 0, "a write by CS: #GP(0)");
	__asm__ volatile("mov %0, %%fs" ::"r"(0));
	READ_FS(0);
	fault_is(GP, 0, "by a null selector: #GP(0)");
	__asm__ volatile("mov %0, %%fs" ::"r"(3));
	check(true, "a null selector of RPL 3");
	TRY("mov %0, %%ss", ::"r"(0) : "memory");
	fault_is(GP, 0, "SS null: #GP(0)");
	fs_back();

	/* By SS: #SS. Its base is 0, for the handler is C. */
	gdt[SEL_B / 8] = DESC(0, BUFFER >> 12, 0x92 | G32);
	TRY("mov %%ss, %%ecx; mov %%esp, %%edx; mov %%ebp, %%esi\n\t"
	    "movl $3f, try_at\n\t"
	    "mov %0, %%ss; lea 0xff0(%1), %%esp; lea 0xffd(%1), %%ebp\n"
	    "3:\tmovl (%%ebp), %%eax\n"
	    "2:\tmov %%ecx, %%ss; mov %%edx, %%esp; mov %%esi, %%ebp",
	    ::"a"(SEL_B), "b"(BUFFER)
	    : "ecx", "edx", "esi", "memory");
	fault_is(SS, 0, "by EBP beyond SS' limit: #SS(0)");
}

/* -- descriptors: LAR, LSL, VERR, VERW, ARPL (SDM vol. 2)
 * ---------------------- */

static bool zf_of(unsigned what, uint16_t selector, uint32_t *value)
{
	bool zf;

	switch (what) {
	case 0:
		__asm__ volatile("lar %w2, %0"
				 : "+r"(*value), "=@ccz"(zf)
				 : "r"(selector));
		return zf;
	case 1:
		__asm__ volatile("lsl %w2, %0"
				 : "+r"(*value), "=@ccz"(zf)
				 : "r"(selector));
		return zf;
	case 2:
		__asm__ volatile("verr %w1" : "=@ccz"(zf) : "r"(selector));
		return zf;
	default:
		__asm__ volatile("verw %w1" : "=@ccz"(zf) : "r"(selector));
		return zf;
	}
}

static void questions(void)
{
	uint32_t v = 0x12345678;
	uint16_t w;
	bool zf;

	gdt[SEL_A / 8] = DESC(0x12345678, 0xabcde, 0xf2 | G32);
	check(zf_of(0, SEL_A, &v) && v == 0xcaf200, "LAR of data");
	check(zf_of(1, SEL_A, &v) && v == 0xabcdefff, "LSL with G");
	gdt[SEL_A / 8] = DESC(0, 0xabcde, 0xf2);
	check(zf_of(1, SEL_A, &v) && v == 0xabcde, "LSL without G");
	gdt[SEL_A / 8] = GATE(SEL_CODE, 0, 0x8c, 0);
	check(zf_of(0, SEL_A, &v) && v >> 8 == 0x8c, "LAR of a call gate");
	v = 77;
	check(!zf_of(1, SEL_A, &v) && v == 77, "LSL of a call gate: ZF clear");
	gdt[SEL_A / 8] = GATE(SEL_CODE, 0, 0x8e, 0);
	check(!zf_of(0, SEL_A, &v), "LAR of an interrupt gate: ZF clear");
	check(zf_of(1, SEL_TSS, &v) && v == sizeof(tss) - 1, "LSL of a TSS");
	check(!zf_of(0, 0, &v), "LAR of null: ZF clear");
	check(!zf_of(0, 0x208, &v), "LAR past the GDT: ZF clear");
	gdt[SEL_A / 8] = DESC(0, 0xfff, 0x92);
	check(!zf_of(0, SEL_A + 3, &v), "LAR, RPL over DPL: ZF clear");
	gdt[SEL_A / 8] = DESC(0, 0xfff, 0x9e);
	check(zf_of(0, SEL_A + 3, &v), "LAR, conforming: any RPL");
	check(zf_of(2, SEL_DATA, NULL) && zf_of(3, SEL_DATA, NULL),
	      "VERR and VERW of data");
	gdt[SEL_A / 8] = DESC(0, 0xfff, 0x98);
	check(!zf_of(2, SEL_A, NULL) && !zf_of(3, SEL_A, NULL),
	      "neither of execute-only code");
	check(zf_of(2, SEL_CODE, NULL) && !zf_of(3, SEL_CODE, NULL),
	      "VERR but not VERW of readable code");
	check(!zf_of(2, SEL_TSS, NULL), "VERR of a TSS: ZF clear");
	w = 0x48;
	__asm__ volatile("arpl %w2, %w0"
			 : "+r"(w), "=@ccz"(zf)
			 : "r"((uint16_t)0x13));
	check(zf && w == 0x4b, "ARPL raises RPL");
	__asm__ volatile("arpl %w2, %w0"
			 : "+r"(w), "=@ccz"(zf)
			 : "r"((uint16_t)0x11));
	check(!zf && w == 0x4b, "ARPL does not lower it");
}

/* -- far JMP and CALL, same level
 * ------------------------------------------------ */

struct __attribute__((packed)) far {
	uint32_t offset;
	uint16_t selector;
};

#define CALL_FAR(s, o)                                                         \
	do {                                                                   \
		struct far far_ = {(uint32_t)(o), (uint16_t)(s)};              \
		TRY("lcall *%0", ::"m"(far_) : "eax", "memory", "cc");         \
	} while (0)

volatile uint32_t seen[8];

CODE32(f_ret, "incl seen\n\tmov %cs, %eax\n\tmov %eax, seen+4\n\tlret");
CODE32(f_ret8, "incl seen\n\tlret $8");
LOW_CODE(f_16, "mov $0x1234, %ax\n\tmov %ax, 0x7f00\n\tmov %sp, 0x7f02\n\t"
	       "lretl");

static void transfers(void)
{
	uint32_t before, after;

	seen[0] = 0;
	CALL_FAR(SEL_CODE, f_ret);
	check(fault.vector == NO_FAULT && seen[0] == 1, "CALL and RET, far");
	__asm__ volatile(
	    "mov %%esp, %0; push $1; push $2; lcall %2, $f_ret8\n\t"
	    "mov %%esp, %1"
	    : "=&r"(before), "=r"(after)
	    : "i"(SEL_CODE)
	    : "memory", "cc");
	check_eq(before, after, "RET 8, far, drops the parameters");
	CALL_FAR(0, f_ret);
	fault_is(GP, 0, "CALL of a null selector: #GP(0)");
	CALL_FAR(SEL_DATA, f_ret);
	fault_is(GP, SEL_DATA, "CALL of data: #GP(selector)");
	CALL_FAR(0x208, f_ret);
	fault_is(GP, 0x208, "CALL past the GDT: #GP(selector)");
	CALL_FAR(SEL_USER_CODE, f_ret);
	fault_is(GP, SEL_USER_CODE & ~3, "CALL of outer code: #GP(selector)");
	gdt[SEL_A / 8] = DESC(0, 0xfffff, 0x1b | G32);
	CALL_FAR(SEL_A, f_ret);
	fault_is(NP, SEL_A, "CALL of absent code: #NP(selector)");
	gdt[SEL_A / 8] = DESC(0, 0xfffff, 0x7b | G32);
	CALL_FAR(SEL_A, f_ret);
	fault_is(GP, SEL_A, "absent outer code: privilege comes first");
	gdt[SEL_A / 8] = DESC(0, 0xfff, 0x9b | 0x4000);
	CALL_FAR(SEL_A, f_ret);
	fault_is(GP, 0, "an offset beyond the limit: #GP(0)");
	gdt[SEL_A / 8] = DESC(0, 0xfffff, 0x9f | G32);
	CALL_FAR(SEL_A + 3, f_ret);
	check(fault.vector == NO_FAULT && seen[1] == SEL_A,
	      "conforming code: any RPL, and CS.RPL is CPL");
	/* 16-bit code. */
	low_copy(0, f_16);
	*(volatile uint32_t *)0x7f00 = 0;
	CALL_FAR(SEL_CODE16, LOW);
	check(fault.vector == NO_FAULT && *(uint16_t *)0x7f00 == 0x1234,
	      "16-bit code called by a 32-bit frame");
	*(volatile uint32_t *)0x7f00 = 0;
	__asm__ volatile("mov %%esp, %0\n\tpush %%cs\n\tpush $1f\n\t"
			 "ljmp %2, $0x8000\n1:\tmov %%esp, %1"
			 : "=&r"(before), "=r"(after)
			 : "i"(SEL_CODE16)
			 : "eax", "memory", "cc");
	check(before == after && *(uint16_t *)0x7f00 == 0x1234,
	      "JMP to 16-bit code, and back by RET");
}

/* -- call gates (5.8.3, 5.8.5)
 * ------------------------------------------------------ */

CODE32(u_gate, "push $0x11\n\tpush $0x22\n\tpush $0x33\n\tlcall $0x5b, $0\n\t"
	       "mov %esp, %eax\n\tint $0x80");
CODE32(u_gate_bare, "lcall $0x5b, $0\n\tint $0x80");
CODE32(u_jump_gate, "ljmp $0x5b, $0\n\tint $0x80");
CODE32(k_params, "mov (%esp), %eax\n\tmov %eax, seen\n\tmov 4(%esp), %eax\n\t"
		 "mov %eax, seen+4\n\tmov 8(%esp), %eax\n\tmov %eax, seen+8\n\t"
		 "mov 16(%esp), %eax\n\tmov %eax, seen+12\n\t"
		 "mov 20(%esp), %eax\n\tmov %eax, seen+16\n\t"
		 "mov 24(%esp), %eax\n\tmov %eax, seen+20\n\t"
		 "mov %cs, %eax\n\tmov %eax, seen+24\n\tmov %esp, seen+28\n\t"
		 "mov $0x10, %eax\n\tmov %eax, %ds\n\tmov %eax, %gs\n\t"
		 "lret $12");
CODE32(u_gate16, "pushw $0x4242\n\tlcall $0x5b, $0\n\tint $0x80");
LOW_CODE(k_16, "mov %sp, %bp\n\tmov $0x10, %ax\n\tmov %ax, %ds\n\t"
	       "mov 4(%esp), %ax\n\tmov %ax, 0x7f04\n\tint $0x20");

static struct target at(uint32_t eip)
{
	return (struct target){.eip = eip,
			       .cs = SEL_USER_CODE,
			       .eflags = 2,
			       .esp = USER_ESP,
			       .ss = SEL_USER_DATA};
}

static void gates(void)
{
	struct target t = at(SYM(u_gate));
	uint32_t esp;

	__asm__ volatile("mov %0, %%gs" ::"r"(SEL_USER_DATA));
	gdt[SEL_GATE / 8] = GATE(SEL_CODE, SYM(k_params), 0xec, 3);
	esp = run(&t, 0);
	ended(0x80, 0, "CPL 3 through a call gate, and back by RET");
	check_eq(seen[6], SEL_CODE, "the gate's code runs at its DPL");
	check_eq(seen[1], SEL_USER_CODE, "the caller's CS is on the stack");
	check(seen[2] == 0x33 && seen[3] == 0x11,
	      "the parameters are copied in order");
	check(seen[4] == USER_ESP - 12 && seen[5] == SEL_USER_DATA,
	      "and its ESP and SS above them");
	check_eq(seen[7], tss.esp0 - 28, "on the stack of the TSS");
	check_eq(esp, USER_ESP, "RET n drops them from both stacks");
	check_eq(fault.frame.ds, 0, "RET to CPL 3 takes inner segments away");

	gdt[SEL_GATE / 8] = GATE(SEL_CODE, SYM(k_params), 0x8c, 0);
	t = at(SYM(u_gate_bare));
	run(&t, 0);
	ended(GP, SEL_GATE, "a gate's DPL below CPL: #GP(gate)");
	gdt[SEL_GATE / 8] = GATE(SEL_CODE, SYM(k_params), 0x6c, 0);
	run(&t, 0);
	ended(NP, SEL_GATE, "a gate that is absent: #NP(gate)");
	gdt[SEL_GATE / 8] = GATE(0, SYM(k_params), 0xec, 0);
	run(&t, 0);
	ended(GP, 0, "a gate to null: #GP(0)");
	gdt[SEL_GATE / 8] = GATE(SEL_DATA, SYM(k_params), 0xec, 0);
	run(&t, 0);
	ended(GP, SEL_DATA, "a gate to data: #GP(selector)");
	gdt[SEL_A / 8] = DESC(0, 0xfffff, 0x1b | G32);
	gdt[SEL_GATE / 8] = GATE(SEL_A, SYM(k_params), 0xec, 0);
	run(&t, 0);
	ended(NP, SEL_A, "a gate to absent code: #NP(selector)");
	gdt[SEL_GATE / 8] = GATE(SEL_CODE, SYM(k_params), 0xec, 0);
	t = at(SYM(u_jump_gate));
	run(&t, 0);
	ended(GP, SEL_CODE, "JMP through a gate to inner code: #GP(selector)");

	/* Conforming code keeps CPL. */
	gdt[SEL_A / 8] = DESC(0, 0xfffff, 0x9f | G32);
	gdt[SEL_GATE / 8] = GATE(SEL_A, SYM(f_ret), 0xec, 0);
	t = at(SYM(u_gate_bare));
	run(&t, 0);
	ended(0x80, 0, "a gate to conforming code");
	check_eq(seen[1], SEL_A + 3, "runs at the caller's CPL");
	/* A 16-bit gate: offset and frame of words. */
	low_copy(0x80, k_16);
	*(volatile uint16_t *)0x7f04 = 0;
	gdt[SEL_GATE / 8] = GATE(SEL_CODE16, LOW + 0x80, 0xe4, 1);
	t = at(SYM(u_gate16));
	t.cs = SEL_USER_CODE;
	run(&t, 0);
	check(*(uint16_t *)0x7f04 == 0x4242, "a 16-bit gate copies words");
}

/* -- interrupts between levels (6.12.1)
 * ------------------------------------------------- */

CODE32(u_int, "int $0x80");
CODE32(u_int_kernel, "int $0x20");
CODE32(u_cli, "cli");
CODE32(u_sti, "sti");
CODE32(u_hlt, "hlt");
CODE32(u_in, "mov %eax, %edx\n\tin %dx, %al\n\tint $0x80");
CODE32(u_inl, "mov %eax, %edx\n\tin %dx, %eax\n\tint $0x80");
CODE32(u_load_ds, "mov %eax, %ds\n\tint $0x80");
CODE32(u_popf, "push %eax\n\tpopf\n\tpushf\n\tpop %eax\n\tint $0x80");
CODE32(u_iret, "pushf\n\tpush $8\n\tpush $u_int\n\tiret");

static void user_ends(uint32_t eip, uint32_t eax, uint32_t flags,
		      uint32_t vector, uint32_t error, const char *name)
{
	struct target t = at(eip);

	t.eflags |= flags;
	run(&t, eax);
	ended(vector, error, name);
}

static void levels(void)
{
	uint64_t was = idt[0x80];

	user_ends(SYM(u_int), 0, IF, 0x80, 0, "INT 80H from CPL 3");
	check(fault.frame.cs == SEL_USER_CODE && fault.frame.esp == USER_ESP &&
		  fault.frame.ss == SEL_USER_DATA,
	      "the frame has CS, ESP and SS");
	check_eq(fault.frame_at + sizeof(struct frame) - 16, tss.esp0,
		 "it is on the stack of the TSS");
	check_eq(fault.ss, SEL_DATA, "SS is the TSS'");
	user_ends(SYM(u_int_kernel), 0, 0, GP, 0x20 * 8 + 2,
		  "INT to a gate of DPL 0: #GP(vector)");
	idt[0x80] = was & ~(1ull << 47);
	user_ends(SYM(u_int), 0, 0, NP, 0x80 * 8 + 2,
		  "INT to an absent gate: #NP(vector)");
	idt[0x80] = GATE(SEL_USER_CODE, SYM(u_int), 0xee, 0);
	TRY("int $0x80", ::: "memory");
	fault_is(GP, SEL_USER_CODE & ~3, "a gate to outer code: #GP(selector)");
	idt[0x80] = GATE(SEL_CODE, 0, 0xe4, 0);
	TRY("int $0x80", ::: "memory");
	fault_is(GP, 0x80 * 8 + 2, "a call gate in the IDT: #GP(vector)");
	gdt[SEL_A / 8] = DESC(0, 0xfff, 0x9b | 0x4000);
	idt[0x80] = GATE(SEL_A, 0x2000, 0xee, 0);
	TRY("int $0x80", ::: "memory");
	fault_is(GP, 0, "a gate's offset beyond the limit: #GP(0)");
	idt[0x80] = was;

	user_ends(SYM(u_cli), 0, 0, GP, 0, "CLI over IOPL: #GP(0)");
	user_ends(SYM(u_sti), 0, 0, GP, 0, "STI over IOPL: #GP(0)");
	user_ends(SYM(u_hlt), 0, IOPL, GP, 0, "HLT at CPL 3: #GP(0)");
	user_ends(SYM(u_load_ds), SEL_DATA, 0, GP, SEL_DATA,
		  "DS of DPL 0 at CPL 3: #GP(selector)");
	user_ends(SYM(u_load_ds), SEL_USER_DATA & ~3, 0, 0x80, 0,
		  "DS of DPL 3, RPL 0, at CPL 3");
	user_ends(SYM(u_iret), 0, 0, GP, SEL_CODE,
		  "IRET to inner code: #GP(selector)");
	struct target t = at(SYM(u_popf));
	check_eq(run(&t, IOPL | IF | 2) & (IOPL | IF), 0,
		 "POPF at CPL 3 leaves IOPL and IF");
	t.eflags |= IOPL;
	check_eq(run(&t, IF | 2) & (IOPL | IF), IOPL | IF,
		 "POPF at CPL 3 with IOPL 3 changes IF");
}

static void ports(void)
{
	uint8_t *map = tss.bitmap + 32;

	user_ends(SYM(u_in), PORT_TEST, 0, GP, 0, "IN over IOPL: #GP(0)");
	user_ends(SYM(u_in), PORT_TEST, IOPL, 0x80, 0, "IN with IOPL 3");
	map[PORT_TEST / 8] = (uint8_t) ~(1 << (PORT_TEST & 7));
	user_ends(SYM(u_in), PORT_TEST, 0, 0x80, 0, "IN by the bitmap");
	user_ends(SYM(u_in), PORT_TEST + 1, 0, GP, 0, "but not the next port");
	user_ends(SYM(u_inl), PORT_TEST, 0, GP, 0,
		  "IN of 4 bytes needs all four bits");
	map[PORT_TEST / 8] = 0x0f;
	map[PORT_TEST / 8 + 1] = 0xfd;
	user_ends(SYM(u_inl), PORT_TEST + 6, 0, GP, 0, "across bytes: not all");
	map[PORT_TEST / 8 + 1] = 0xfc;
	map[PORT_TEST / 8] = 0x3f;
	user_ends(SYM(u_inl), PORT_TEST + 6, 0, 0x80, 0, "across bytes: all");
	tss.iomap = 0xffff;
	user_ends(SYM(u_in), PORT_TEST + 6, 0, GP, 0,
		  "a bitmap beyond the TSS: #GP(0)");
	tss.iomap = offsetof(struct tss32, bitmap) + 32;
	user_ends(SYM(u_in), 0xffff, 0, GP, 0, "the last port");
	memset(map, 0xff, 8193);
}

/* -- SYSENTER, SYSEXIT (SDM vol. 2)
 * ------------------------------------------------------- */

CODE32(u_sysenter, "mov %esp, %ecx\n\tsysenter");
CODE32(k_sysenter, "mov %cs, %eax\n\tmov %eax, seen\n\tmov %ss, %eax\n\t"
		   "mov %eax, seen+4\n\tmov %esp, seen+8\n\tpushf\n\t"
		   "pop seen+12\n\tmov $u_int, %edx\n\tsysexit");

static void wrmsr(uint32_t msr, uint32_t v)
{
	__asm__ volatile("wrmsr" ::"c"(msr), "a"(v), "d"(0) : "memory");
}

static void fast_calls(void)
{
	gdt[SEL_FAST / 8] = gdt[SEL_CODE / 8];
	gdt[SEL_FAST / 8 + 1] = gdt[SEL_DATA / 8];
	gdt[SEL_FAST / 8 + 2] = gdt[SEL_USER_CODE / 8];
	gdt[SEL_FAST / 8 + 3] = gdt[SEL_USER_DATA / 8];
	wrmsr(0x174, SEL_FAST);
	wrmsr(0x175, tss.esp0);
	wrmsr(0x176, SYM(k_sysenter));
	user_ends(SYM(u_sysenter), 0, IF, 0x80, 0, "SYSENTER and SYSEXIT");
	check(seen[0] == SEL_FAST && seen[1] == SEL_FAST + 8 &&
		  seen[2] == tss.esp0,
	      "SYSENTER: CS, SS and ESP from the MSRs");
	check_eq(seen[3] & IF, 0, "SYSENTER clears IF");
	check(fault.frame.cs == SEL_FAST + 16 + 3 &&
		  fault.frame.ss == SEL_FAST + 24 + 3 &&
		  fault.frame.esp == USER_ESP,
	      "SYSEXIT: CS, SS and ESP");
	wrmsr(0x174, 0);
	user_ends(SYM(u_sysenter), 0, 0, GP, 0,
		  "SYSENTER with a null CS: #GP(0)");
	TRY("sysexit", ::"c"(0), "d"(0) : "memory");
	fault_is(GP, 0, "SYSEXIT with a null CS: #GP(0)");
}

/* -- what 64-bit code has not (SDM vol. 2)
 * -------------------------------------------------- */

#define BCD(text, ax, flags_in, flags_out)                                     \
	({                                                                     \
		uint32_t a_ = (ax), f_ = (flags_in);                           \
		__asm__ volatile("push %1; popf; " text "; pushf; pop %1"      \
				 : "+a"(a_), "+r"(f_)::"cc");                  \
		flags_out = f_;                                                \
		a_ & 0xffff;                                                   \
	})

static void decimals(void)
{
	uint32_t f;

	check_eq(BCD("daa", 0x0079 + 0x35, 2, f), 0x14, "DAA: 79 + 35");
	check_eq(f & 1, 1, "DAA: carry");
	check_eq(BCD("das", 0x35 - 0x47 + 0x100, 0x13, f) & 0xff, 0x88,
		 "DAS: 35 - 47");
	check_eq(f & 1, 1, "DAS: borrow");
	check_eq(BCD("aaa", 0x000b, 2, f), 0x0101, "AAA: 0BH");
	check_eq(f & 0x11, 0x11, "AAA: AF and CF");
	check_eq(BCD("aas", 0x02ff, 0x12, f), 0x0109, "AAS");
	check_eq(BCD("aam", 0x003f, 2, f), 0x0603, "AAM: 63");
	check_eq(BCD("aad", 0x0603, 2, f), 0x003f, "AAD: 6, 3");
	check_eq(BCD(".byte 0xd4, 7", 0x003f, 2, f), 0x0900, "AAM 7");
	TRY(".byte 0xd4, 0", ::: "eax", "memory", "cc");
	fault_is(DE, 0, "AAM 0: #DE");
	TRY(".byte 0x82, 0xc0, 0x01", ::: "eax", "memory", "cc");
	fault_is(NO_FAULT, 0, "82H is 80H");
}

static void bounds(void)
{
	static int32_t range[2] = {-5, 10};
	static int16_t range16[2] = {-5, 10};

	TRY("bound %0, %1", ::"r"(10), "m"(range) : "memory");
	fault_is(NO_FAULT, 0, "BOUND: the upper bound");
	TRY("bound %0, %1", ::"r"(11), "m"(range) : "memory");
	fault_is(BR, 0, "BOUND: above: #BR");
	TRY("bound %0, %1", ::"r"(-6), "m"(range) : "memory");
	fault_is(BR, 0, "BOUND: below: #BR");
	TRY("bound %w0, %1", ::"r"(0x1000a), "m"(range16) : "memory");
	fault_is(NO_FAULT, 0, "BOUND, 16-bit");
	TRY(".byte 0x62, 0xc0", ::: "memory");
	fault_is(UD, 0, "BOUND of a register: #UD");
	TRY("mov $0x7f, %%al; add $1, %%al; movl $3f, try_at\n3:\tinto", ::
		: "eax", "memory", "cc");
	check(fault.vector == OF && fault.eip == fault.at + 1,
	      "INTO with OF: #OF after it");
	TRY("xor %%eax, %%eax; into", ::: "eax", "memory", "cc");
	fault_is(NO_FAULT, 0, "INTO without");
}

static void frames(void)
{
	uint32_t ebp, esp, before, words[5];

	/* ENTER of level 3 copies two frame pointers and pushes its own. */
	__asm__ volatile("push %%ebp\n\tmov %%esp, %2\n\t"
			 "mov $seen+16, %%ebp\n\t"
			 "movl $0xaaaa, seen+12\n\tmovl $0xbbbb, seen+8\n\t"
			 "enter $16, $3\n\t"
			 "mov %%ebp, %0\n\tmov %%esp, %1\n\t"
			 "mov %2, %%esp\n\tpop %%ebp"
			 : "=&a"(ebp), "=&c"(esp), "=&d"(before)
			 :
			 : "memory");
	for (unsigned n = 0; n < 4; n++)
		words[n] = ((uint32_t *)(uintptr_t)before)[-1 - (int)n];
	check_eq(ebp, before - 4, "ENTER: EBP");
	check_eq(esp, before - 16 - 16, "ENTER 16, 3: ESP");
	check(words[0] == (uint32_t)(uintptr_t)&seen[4] && words[1] == 0xaaaa &&
		  words[2] == 0xbbbb && words[3] == ebp,
	      "ENTER: old EBP, two links, the new frame");
	__asm__ volatile("mov %%esp, %1\n\tpusha\n\tmov %%esp, %0\n\t"
			 "mov 12(%%esp), %2\n\tmov %1, %%esp"
			 : "=&a"(esp), "=&c"(before), "=&d"(words[0])
			 :
			 : "memory");
	check(esp == before - 32 && words[0] == before,
	      "PUSHA pushes ESP as it was");
}

/* -- what was flat is not any more
 * --------------------------------------------------------- */

#define ROUNDS 64 /* enough for the code to be translated */

/* The doubleword at offset 0 of a segment whose base is the buffer, or all of
   memory's, by the same instruction. */
#define READ_BY(seg, reg)                                                      \
	static uint32_t read_by_##seg(uint16_t selector, uint32_t offset)      \
	{                                                                      \
		uint32_t value;                                                \
                                                                               \
		__asm__ volatile("mov %%" #seg ", %%ecx; mov %1, %%" #seg      \
				 "; jmp 1f\n"                                  \
				 "1:\tmov %2, %%" #reg "; mov %%" #seg         \
				 ":(%%" #reg "), %0; "                         \
				 "mov %%ecx, %%" #seg                          \
				 : "=&a"(value)                                \
				 : "r"(selector), "r"(offset)                  \
				 : "ecx", #reg, "memory");                     \
		return value;                                                  \
	}
READ_BY(ds, ebx)
READ_BY(es, ebx)
READ_BY(fs, ebx)
READ_BY(ss, edi)

CODE32(u_read, "mov buffer, %eax\n\tint $0x80");
CODE32(k_lret, "push $0x23\n\tpush $user_stack + 4096\n\tpush $0x1b\n\t"
	       "push $u_read\n\tlret");
CODE32(k_iret,
       "push $0x23\n\tpush $user_stack + 4096\n\tpushf\n\tpush $0x1b\n\t"
       "push $u_read\n\tiret");

/* CPL 3 gets null segments in place of CPL 0's. */
static bool reads_by_null(uint32_t eip)
{
	struct target t = at(eip);

	t.cs = SEL_CODE;
	run(&t, 0);
	return fault.vector == GP && fault.error == 0;
}

static void flatness(void)
{
	static uint32_t (*const read[])(uint16_t, uint32_t) = {
	    read_by_ds, read_by_es, read_by_fs, read_by_ss};
	unsigned wrong[4] = {0}, by_iret = 0, by_lret = 0;
	uint32_t *words = (uint32_t *)buffer;

	words[0] = 0x11111111;
	words[1] = 0x22222222;
	gdt[SEL_A / 8] = DESC(4, 0xfffff, 0x92 | G32);
	for (unsigned n = 0; n < ROUNDS; n++)
		for (unsigned k = 0; k < 4; k++) {
			bool flat = n < ROUNDS / 2 || n % 2;

			wrong[k] += read[k](flat ? SEL_DATA : SEL_A, BUFFER) !=
				    words[!flat];
		}
	check(wrong[0] == 0, "by DS, flat and not");
	check(wrong[1] == 0, "by ES, flat and not");
	check(wrong[2] == 0, "by FS, flat and not");
	check(wrong[3] == 0, "by SS, flat and not");
	for (unsigned n = 0; n < ROUNDS; n++) {
		by_iret += reads_by_null(SYM(k_iret));
		by_lret += reads_by_null(SYM(k_lret));
	}
	check_eq(by_iret, ROUNDS, "IRET to CPL 3: DS is null");
	check_eq(by_lret, ROUNDS, "RET to CPL 3: DS is null");
}

void payload(void)
{
	limits();
	questions();
	transfers();
	gates();
	levels();
	ports();
	fast_calls();
	decimals();
	bounds();
	frames();
	flatness();
}
