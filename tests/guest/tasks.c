/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hardware task switch (SDM vol. 3, chapter 8): JMP, CALL, INT and IRET,
 * through a TSS and through task gates, 32- and 16-bit, nested, what is saved
 * and loaded, the T flag, and every fault of table 8-1.
 */
#include "lib32/guest32.h"

void *memset(void *to, int c, size_t n);

#define SEL_TSS_B   0x48
#define SEL_TSS16   0x50
#define SEL_GATE    0x58
#define SEL_LDT     0x60
#define SEL_BAD     0x68 /* made by each test */
#define SEL_CODE_NP 0x70
#define SEL_CONFORM 0x78
#define SEL_TSS_C   0x80

struct tss16 {
	uint16_t link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags;
	uint16_t ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};

struct __attribute__((packed)) far {
	uint32_t offset;
	uint16_t selector;
};

static struct tss32 b, c;
static struct tss16 *const t16 = (struct tss16 *)0x6000;
static uint8_t stack_b[4096] __attribute__((aligned(16)));
static uint64_t ldt[4];
volatile uint32_t seen[16]; /* by the tasks, too */

#define STACK_B ((uint32_t)(uintptr_t)stack_b + sizeof(stack_b))

static unsigned type_of(uint16_t selector)
{
	return gdt[selector / 8] >> 40 & 31;
}

/* Task B, ready to run entry; the main task's TSS is busy. */
static void make_b(uint32_t entry)
{
	memset(&b, 0, sizeof(b));
	b.eip = entry;
	b.eflags = 2;
	b.esp = STACK_B;
	b.es = b.ss = b.ds = b.fs = b.gs = SEL_DATA;
	b.cs = SEL_CODE;
	b.eax = 0xa0a0a0a0;
	b.ecx = 0xc1c1c1c1;
	b.edx = 0xd2d2d2d2;
	b.ebx = 0xb3b3b3b3;
	b.ebp = 0xb5b5b5b5;
	b.esi = 0x56565656;
	b.edi = 0xd7d7d7d7;
	b.iomap = 0x68;
	gdt[SEL_TSS_B / 8] = DESC((uint32_t)(uintptr_t)&b, 0x67, 0x89);
	gdt[SEL_TSS / 8] |= 1ull << 41; /* busy: TR */
	gdt[SEL_GATE / 8] = GATE(SEL_TSS_B, 0, 0x85, 0);
}

/* What B does: notes its registers, and goes back by IRET. */
CODE32(task_b, "1:\tmov %eax, seen\n\tmov %ecx, seen+4\n\tmov %edx, seen+8\n"
	       "\tmov %ebx, seen+12\n\tmov %esp, seen+16\n\tmov %ebp, seen+20\n"
	       "\tmov %esi, seen+24\n\tmov %edi, seen+28\n"
	       "\tpushf\n\tpop %eax\n\tmov %eax, seen+32\n"
	       "\tstr %ax\n\tmov %ax, seen+36\n\tmov %cr0, %eax\n"
	       "\tmov %eax, seen+40\n\tincl seen+44\n\tmov $0x1234, %eax\n"
	       "\tiret\n\tincl seen+48\n\tjmp 1b");
/* And one that goes back by a JMP to the main task. */
CODE32(task_b_jmp, "1:\tincl seen+44\n\tstr %ax\n\tmov %ax, seen+36\n"
		   "\tpushf\n\tpop %eax\n\tmov %eax, seen+32\n"
		   "\tljmp $0x38, $0\n\tjmp 1b");
CODE32(task_ud, "ud2");
CODE32(task_pop, "pop seen\n\tmov %esp, seen+4\n\tpushf\n\tpop seen+8\n"
		 "\tmov seen+12, %eax\n\tmov %eax, tss+32\n\tiret");

#define FAR(op, selector)                                                      \
	__asm__ volatile("1:\t" op " %0, $0\n" ::"i"(selector)                 \
			 : "memory", "c"                                       \
				     "c")

/* -- CALL and IRET ----------------------------------------------------------
 */

static void called(void)
{
	make_b(SYM(task_b));
	WRITE_CR(0, READ_CR(0) & ~8u);
	__asm__ volatile("mov $0x111, %%ebx\n\tmov $0x222, %%esi\n"
			 "c0:\tlcall %0, $0xdead\nc1:\tmov %%ebx, seen+52\n"
			 "\tmov %%esi, seen+56" ::"i"(SEL_TSS_B)
			 : "ebx", "esi", "eax", "memory", "cc");
	check(seen[0] == 0xa0a0a0a0 && seen[1] == 0xc1c1c1c1 &&
		  seen[2] == 0xd2d2d2d2 && seen[3] == 0xb3b3b3b3 &&
		  seen[5] == 0xb5b5b5b5 && seen[6] == 0x56565656 &&
		  seen[7] == 0xd7d7d7d7,
	      "CALL of a TSS: registers are loaded");
	check_eq(seen[4], STACK_B, "CALL of a TSS: ESP, and nothing pushed");
	check_eq(seen[8] & NT, NT, "CALL sets NT in the new task");
	check_eq(seen[9] & 0xffff, SEL_TSS_B, "TR");
	check_eq(seen[10] & 8, 8, "CR0.TS");
	check_eq(b.link & 0xffff, SEL_TSS, "the link is the old TSS");
	check(seen[13] == 0x111 && seen[14] == 0x222,
	      "IRET brings the caller's registers back");
	check_eq(tss.eip, SYM(c1), "the caller's EIP was saved: the next one");
	check_eq(tss.eflags & NT, 0, "the caller's NT was saved as it was");
	check_eq(b.eax, 0x1234, "IRET saves the callee's registers");
	check_eq(b.eflags & NT, 0, "IRET clears NT in the saved image");
	check_eq(type_of(SEL_TSS_B), 9, "IRET makes the callee available");
	check_eq(type_of(SEL_TSS), 11, "the caller stays busy");
	__asm__ volatile("clts");

	/* The saved EIP of B is after its IRET. */
	seen[12] = 0;
	FAR("lcall", SEL_TSS_B);
	check(seen[12] == 1 && seen[11] == 2, "a second CALL goes on there");
}

static void jumped(void)
{
	make_b(SYM(task_b_jmp));
	seen[11] = 0;
	b.eflags = 2;
	__asm__ volatile("ljmp %0, $0\nj1:" ::"i"(SEL_TSS_B) : "memory", "cc");
	check_eq(seen[11], 1, "JMP of a TSS, and back by another");
	check_eq(seen[8] & NT, 0, "JMP does not set NT");
	check_eq(type_of(SEL_TSS_B), 9, "JMP makes the old task available");
	check_eq(tss.eip, SYM(j1), "JMP saves EIP");
	check_eq(b.link, 0, "JMP writes no link");
	make_b(SYM(task_b_jmp));
	FAR("ljmp", SEL_GATE);
	check_eq(seen[11], 2, "JMP of a task gate");
	make_b(SYM(task_b));
	seen[11] = 0;
	FAR("lcall", SEL_GATE);
	check_eq(seen[11], 1, "CALL of a task gate");
	check_eq(b.link, SEL_TSS, "CALL of a task gate: the link");
	/* From memory. */
	struct far to = {0, SEL_TSS_B};

	__asm__ volatile("lcall *%0" ::"m"(to) : "memory", "cc");
	check_eq(seen[11], 2, "CALL by memory");
}

/* -- interrupts and exceptions ------------------------------------------------
 */

static void events(void)
{
	uint64_t was = idt[0x90], gp = idt[GP], ud = idt[UD];

	make_b(SYM(task_b));
	seen[11] = 0;
	idt[0x90] = GATE(SEL_TSS_B, 0, 0x85, 0);
	__asm__ volatile("int $0x90\ne1:" ::: "memory", "cc");
	check_eq(seen[11], 1, "INT through a task gate");
	check_eq(tss.eip, SYM(e1), "INT: the next instruction is saved");
	check_eq(seen[8] & NT, NT, "INT sets NT");
	check_eq(seen[4], STACK_B, "INT pushes nothing");
	idt[0x90] = was;

	/* An error code goes to the new stack; the EIP saved is the fault's. */
	make_b(SYM(task_pop));
	idt[GP] = GATE(SEL_TSS_B, 0, 0x85, 0);
	seen[3] = SYM(g2);
	__asm__ volatile("mov %0, %%eax\ng1:\tmov %%ax, %%fs\ng2:" ::"i"(0x1f8)
			 : "eax", "memory", "cc");
	idt[GP] = gp;
	check_eq(seen[0], 0x1f8, "#GP through a task gate: its error code");
	check_eq(seen[1], STACK_B, "the error code was a doubleword");
	check(tss.eip == SYM(g2) && (tss.eflags & RF) != 0,
	      "a fault's saved flags have RF");

	make_b(SYM(task_b));
	seen[11] = 0;
	idt[UD] = GATE(SEL_TSS_B, 0, 0x85, 0);
	b.eip = SYM(task_skip);
	__asm__ volatile("ud2" ::: "memory", "cc");
	idt[UD] = ud;
	check_eq(seen[11], 1, "#UD through a task gate: no error code");
}
CODE32(task_skip, "incl seen+44\n\taddl $2, tss+32\n\tiret");

/* -- 16-bit
 * --------------------------------------------------------------------- */

/* The faulting MOV is skipped: EIP in the main TSS, which is above 64 KiB,
   cannot be reached from here, but its 3 bytes can be made good by ES. */
LOW_CODE(code_t16_error, "popw 0x7806\n\tmov %sp, 0x7808\n\t"
			 "mov $0x10, %ax\n\tmov %ax, %ds\n\t"
			 /* addl $2, tss+32, with 32 bits of address */
			 ".byte 0x66, 0x67, 0x83, 0x05\n\t.long tss+32\n\t"
			 ".byte 2\n\tiret");

LOW_CODE(code_t16, "mov %ax, 0x7800\n\tstr %ax\n\tmov %ax, 0x7802\n\tpushf\n"
		   "\tpop 0x7804\n\tmov $0x9999, %ax\n\tiret\nt16_end:\n"
		   ".globl t16_end");

static void sixteen(void)
{
	make_b(SYM(task_b));
	memset(t16, 0, sizeof(*t16));
	t16->ip = 0x100;
	t16->flags = 2;
	t16->ax = 0x1616;
	t16->di = 0xd1d1;
	t16->sp = 0x7000;
	t16->cs = SEL_CODE16;
	t16->ss = t16->ds = t16->es = SEL_DATA16;
	gdt[SEL_TSS16 / 8] = DESC(0x6000, 0x2b, 0x81);
	gdt[SEL_CODE16 / 8] = DESC(LOW, 0xffff, 0x9b);
	low_copy(0x100, code_t16);
	*(volatile uint16_t *)0x7800 = 0;
	__asm__ volatile("mov $0x33334444, %%ecx\n\tlcall %0, $0\nt1:\t"
			 "mov %%ecx, seen" ::"i"(SEL_TSS16)
			 : "eax", "ecx", "memory", "cc");
	check_eq(*(volatile uint16_t *)0x7800, 0x1616, "16-bit TSS: AX");
	check_eq(*(volatile uint16_t *)0x7802, SEL_TSS16, "16-bit TSS: TR");
	check_eq(*(volatile uint16_t *)0x7804 & NT, NT, "16-bit TSS: NT");
	check_eq(t16->link, SEL_TSS, "16-bit TSS: link");
	check_eq(seen[0], 0x33334444, "back by IRET: all 32 bits");
	check_eq(type_of(SEL_TSS16), 1, "16-bit TSS: available again");
	check_eq(t16->ax, 0x9999, "16-bit TSS: AX is saved");
	check_eq(t16->ip, 0x100 + (SYM(t16_end) - SYM(code_t16)),
		 "16-bit TSS: IP is saved");
	/* An error code is a word there. */
	gdt[SEL_CODE16 / 8] = DESC(LOW, 0xffff, 0x9b);
	t16->ip = 0x200;
	t16->sp = 0x7000;
	low_copy(0x200, code_t16_error);
	uint64_t gp = idt[GP];
	idt[GP] = GATE(SEL_TSS16, 0, 0x85, 0);
	__asm__ volatile("mov %0, %%eax\n\tmov %%ax, %%fs\nq2:" ::"i"(0x1f8)
			 : "eax", "memory", "cc");
	idt[GP] = gp;
	check_eq(*(volatile uint16_t *)0x7806, 0x1f8,
		 "16-bit TSS: the error code is a word");
	check_eq(*(volatile uint16_t *)0x7808, 0x7000, "16-bit TSS: SP after");
	gdt[SEL_CODE16 / 8] = DESC(0, 0xffff, 0x9b);
}

/* -- faults (table 8-1)
 * ------------------------------------------------------------ */

static void try_call(uint16_t selector, uint32_t vector, uint32_t error,
		     const char *name)
{
	struct far to = {0, selector};

	TRY("lcall *%0", ::"m"(to) : "memory", "cc", "eax");
	fault_is(vector, error, name);
	check_eq(fault.tr, SEL_TSS, "in the old task");
}

static void old_faults(void)
{
	make_b(SYM(task_b));
	gdt[SEL_TSS_B / 8] = DESC((uint32_t)(uintptr_t)&b, 0x67, 0x8b);
	try_call(SEL_TSS_B, GP, SEL_TSS_B, "CALL of a busy TSS: #GP(TSS)");
	gdt[SEL_TSS_B / 8] = DESC((uint32_t)(uintptr_t)&b, 0x67, 0x09);
	try_call(SEL_TSS_B, NP, SEL_TSS_B, "CALL of an absent TSS: #NP(TSS)");
	gdt[SEL_TSS_B / 8] = DESC((uint32_t)(uintptr_t)&b, 0x66, 0x89);
	try_call(SEL_TSS_B, TS, SEL_TSS_B, "a TSS that is too short: #TS(TSS)");
	gdt[SEL_TSS16 / 8] = DESC(0x6000, 0x2a, 0x81);
	try_call(SEL_TSS16, TS, SEL_TSS16, "a short 16-bit TSS: #TS(TSS)");
	make_b(SYM(task_b));
	try_call(SEL_TSS_B + 3, GP, SEL_TSS_B, "RPL above its DPL: #GP(TSS)");
	gdt[SEL_GATE / 8] = GATE(SEL_TSS_B, 0, 0x05, 0);
	try_call(SEL_GATE, NP, SEL_GATE, "an absent task gate: #NP(gate)");
	gdt[SEL_GATE / 8] = GATE(SEL_DATA, 0, 0x85, 0);
	try_call(SEL_GATE, GP, SEL_DATA, "a gate to data: #GP(selector)");
	gdt[SEL_GATE / 8] = GATE(0x4c, 0, 0x85, 0);
	try_call(SEL_GATE, GP, 0x4c, "a gate to the LDT: #GP(selector)");
	gdt[SEL_GATE / 8] = GATE(0x208, 0, 0x85, 0);
	try_call(SEL_GATE, GP, 0x208, "a gate past the GDT: #GP(selector)");
	/* IRET with NT: the link. */
	tss.link = SEL_TSS_B;
	TRY("pushf; orl $0x4000, (%%esp); popf; movl $3f, try_at\n"
	    "3:\tiret\n2:\tpushf; andl $~0x4000, (%%esp); popf",
	    ::
		: "memory", "cc");
	fault_is(TS, SEL_TSS_B, "IRET to a TSS that is not busy: #TS(TSS)");
	tss.link = SEL_DATA;
	TRY("pushf; orl $0x4000, (%%esp); popf; movl $3f, try_at\n"
	    "3:\tiret\n2:\tpushf; andl $~0x4000, (%%esp); popf",
	    ::
		: "memory", "cc");
	fault_is(TS, SEL_DATA, "IRET to what is no TSS: #TS(selector)");
	/* An INT through a gate to a busy TSS has no EXT, a fault has. */
	idt[0x90] = GATE(SEL_TSS, 0, 0x85, 0);
	TRY("int $0x90", ::: "memory");
	fault_is(GP, SEL_TSS, "INT to a busy TSS: #GP(TSS)");
	uint64_t ud = idt[UD];
	idt[UD] = GATE(SEL_TSS, 0, 0x85, 0);
	TRY("ud2", ::: "memory");
	idt[UD] = ud;
	fault_is(GP, SEL_TSS + 1, "#UD to a busy TSS: #GP(TSS + EXT)");
}

/*
 * The fault comes in task B, which has no stack to count on: a third task
 * handles it (SDM vol. 3, 6.15, #TS), and jumps to the main one.
 */
CODE32(task_c, "pop seen\n\tstr %ax\n\tmov %ax, seen+4\n"
	       "\tljmp $0x38, $0");
CODE32(task_c_plain, "movl $0x7777, seen\n\tljmp $0x38, $0");

static void try_new(uint32_t vector, uint32_t error, const char *name)
{
	uint64_t was = idt[vector];

	memset(&c, 0, sizeof(c));
	c.eip = vector == UD ? SYM(task_c_plain) : SYM(task_c);
	c.eflags = 2;
	c.esp = STACK_B - 1024;
	c.cs = SEL_CODE;
	c.ss = c.ds = c.es = SEL_DATA;
	gdt[SEL_TSS_C / 8] = DESC((uint32_t)(uintptr_t)&c, 0x67, 0x89);
	idt[vector] = GATE(SEL_TSS_C, 0, 0x85, 0);
	gdt[SEL_TSS_B / 8] = DESC((uint32_t)(uintptr_t)&b, 0x67, 0x89);
	seen[0] = 0xbad;
	FAR("ljmp", SEL_TSS_B);
	idt[vector] = was;
	check_eq(seen[0], vector == UD ? 0x7777 : error, name);
	check(c.link == SEL_TSS_B && b.eip == SYM(task_ud),
	      "in the new task, at its EIP");
	check_eq(type_of(SEL_TSS_B), 11, "which is busy");
}

static void new_faults(void)
{
	gdt[SEL_LDT / 8] =
	    DESC((uint32_t)(uintptr_t)ldt, sizeof(ldt) - 1, 0x82);
	gdt[SEL_CODE_NP / 8] = DESC(0, 0xfffff, 0x1b | G32);
	gdt[SEL_CONFORM / 8] = DESC(0, 0xfffff, 0x9f | G32);
	ldt[1] = gdt[SEL_CODE / 8];
	make_b(SYM(task_ud));
	try_new(UD, 0, "a new task that is in order");

	make_b(SYM(task_ud));
	b.ldt = SEL_DATA;
	try_new(TS, SEL_DATA, "LDT is none: #TS(LDT)");
	b.ldt = 0x208;
	try_new(TS, 0x208, "LDT past the GDT: #TS(LDT)");
	gdt[SEL_BAD / 8] = gdt[SEL_LDT / 8] & ~(1ull << 47);
	b.ldt = SEL_BAD;
	try_new(TS, SEL_BAD, "LDT not present: #TS(LDT)");

	make_b(SYM(task_ud));
	b.cs = SEL_DATA;
	try_new(TS, SEL_DATA, "CS is data: #TS(CS)");
	b.cs = SEL_CODE_NP;
	try_new(NP, SEL_CODE_NP, "CS not present: #NP(CS)");
	b.cs = 0x208;
	try_new(TS, 0x208, "CS past the GDT: #TS(CS)");

	make_b(SYM(task_ud));
	b.ss = SEL_CODE;
	try_new(TS, SEL_CODE, "SS is code: #TS(SS)");
	b.ss = SEL_USER_DATA;
	try_new(TS, SEL_USER_DATA & ~3, "SS of another DPL: #TS(SS)");
	b.ss = 0;
	try_new(TS, 0, "SS null: #TS(0)");
	gdt[SEL_BAD / 8] = gdt[SEL_DATA / 8] & ~(1ull << 47);
	b.ss = SEL_BAD;
	try_new(SS, SEL_BAD, "SS not present: #SS(SS)");

	make_b(SYM(task_ud));
	b.ds = SEL_TSS;
	try_new(TS, SEL_TSS, "DS a system segment: #TS(DS)");
	b.ds = SEL_BAD;
	try_new(NP, SEL_BAD, "DS not present: #NP(DS)");
	b.ds = SEL_DATA;
	gdt[SEL_BAD / 8] = DESC(0, 0xfffff, 0x99 | G32);
	b.gs = SEL_BAD;
	try_new(TS, SEL_BAD, "GS execute-only code: #TS(GS)");
	b.gs = 0;
	b.cs = SEL_CONFORM;
	try_new(UD, 0, "conforming code, a null GS");

	/* From an LDT of the new task. */
	make_b(SYM(task_ud));
	b.ldt = SEL_LDT;
	b.cs = 0x0c;
	try_new(UD, 0, "CS in the new task's LDT");
	check_eq(b.cs, 0x0c, "and it says so");
	__asm__ volatile("clts");
}

/* -- the rest
 * ------------------------------------------------------------------------- */

static volatile uint32_t t_eip, t_dr6, t_dr7, t_tr;

static void on_t_flag(struct frame *frame)
{
	uint16_t tr;
	uint32_t v;

	__asm__ volatile("str %0" : "=r"(tr));
	t_tr = tr;
	t_eip = frame->eip;
	__asm__ volatile("mov %%dr6, %0" : "=r"(v));
	t_dr6 = v;
	__asm__ volatile("mov %%dr7, %0" : "=r"(v));
	t_dr7 = v;
	__asm__ volatile("mov %0, %%dr6" ::"r"(0));
}

LOW_CODE(v86_task, "mov %cs, %ax\n\tint $0x91");

static volatile uint32_t new_cs, new_flags;

static void on_v86(struct frame *frame)
{
	new_cs = frame->cs;
	new_flags = frame->eflags;
	__asm__ volatile("ljmp %0, $0" ::"i"(SEL_TSS) : "memory");
}

static void others(void)
{
	make_b(SYM(task_b));
	b.trap = 1;
	trap_handler[DB] = on_t_flag;
	__asm__ volatile("mov %0, %%dr7" ::"r"(3));
	FAR("lcall", SEL_TSS_B);
	trap_handler[DB] = NULL;
	check(t_tr == SEL_TSS_B && t_eip == SYM(task_b),
	      "the T flag: #DB before the new task's first instruction");
	check_eq(t_dr6 & 0xe00f, 0x8000, "DR6.BT");
	check_eq(t_dr7 & 0xff, 2, "L0 is cleared, G0 is not");
	__asm__ volatile("mov %0, %%dr7" ::"r"(0));

	/* CPL 3 may go through a gate of DPL 3 only. */
	make_b(SYM(task_b));
	gdt[SEL_GATE / 8] = GATE(SEL_TSS_B, 0, 0xe5, 0);
	seen[11] = 0;
	struct target u = {.eip = SYM(user_call),
			   .cs = SEL_USER_CODE,
			   .eflags = 2,
			   .esp = USER_ESP,
			   .ss = SEL_USER_DATA};
	run(&u, 0);
	ended(0x80, 0, "CPL 3 calls a task gate of DPL 3");
	check_eq(seen[11], 1, "and comes back");
	check_eq(fault.frame.cs, SEL_USER_CODE, "at CPL 3");
	u.eip = SYM(user_call_tss);
	run(&u, 0);
	ended(GP, SEL_TSS_B, "CPL 3 calls a TSS of DPL 0: #GP(TSS)");

	/* A double fault has a task of its own, in the classic way. */
	uint64_t df = idt[DF], gp = idt[GP];
	make_b(SYM(task_df));
	idt[DF] = GATE(SEL_TSS_B, 0, 0x85, 0);
	idt[GP] &= ~(1ull << 47);
	seen[3] = SYM(df1);
	__asm__ volatile("mov %0, %%eax\n\tmov %%ax, %%fs\ndf1:" ::"i"(0x1f8)
			 : "eax", "memory", "cc");
	idt[DF] = df;
	idt[GP] = gp;
	check_eq(seen[0], 0, "#DF through a task gate: error code 0");

	/* v86 by a task switch. */
	make_b(0);
	b.eflags = 2 | VM | IOPL;
	b.cs = LOW_SEG;
	b.eip = 0x40;
	b.ss = b.ds = b.es = b.fs = b.gs = LOW_SEG;
	b.esp = 0x2000;
	b.ss0 = SEL_DATA;
	b.esp0 = STACK_B - 256;
	low_copy(0x40, v86_task);
	trap_handler[0x91] = on_v86;
	FAR("ljmp", SEL_TSS_B);
	trap_handler[0x91] = NULL;
	check(new_cs == LOW_SEG && (new_flags & VM) != 0,
	      "a task in v86 runs, and its INT says so");
	__asm__ volatile("clts");
}
CODE32(user_call, "lcall $0x58, $0\n\tint $0x80");
CODE32(user_call_tss, "lcall $0x48, $0\n\tint $0x80");
CODE32(task_df, "pop seen\n\tmov seen+12, %eax\n\tmov %eax, tss+32\n\tiret");

void payload(void)
{
	called();
	jumped();
	events();
	sixteen();
	old_faults();
	new_faults();
	others();
}
