/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Real mode, unreal mode and virtual-8086 mode (SDM vol. 3, chapter 21), and
 * the ways between them and protected mode (10.9): segments, faults by the
 * IVT and out of v86, what IOPL holds back, ports by the TSS' bitmap.
 */
#include "lib32/guest32.h"

void *memset(void *to, int c, size_t n);

#define NOTES   0x9000u /* what 16-bit code leaves */
#define NOTE(n) (((volatile uint16_t *)NOTES)[n])
#define SAVED   0x9100u

/* -- real mode ----------------------------------------------------------------
 */

/*
 * real_run(): to real mode, CALL LOW:0, and back. The 16-bit half runs in low
 * memory; its code segment is one of 64 KiB at 0.
 */
void real_run(void);
extern const uint8_t real_low[], real_low_end[];
__asm__(".text\n.globl real_run\nreal_run:\n"
	"	pusha\n"
	"	mov	%esp, 0x9100\n"
	"	sidt	0x9108\n"
	"	ljmp	$0x28, $0x8800\n"
	".globl real_low\nreal_low:\n"
	".code16\n"
	"	mov	$0x30, %ax\n" /* limits of 64 KiB first (10.9.2) */
	"	mov	%ax, %ds\n"
	"	mov	%ax, %es\n"
	"	mov	%ax, %ss\n"
	"	mov	%ax, %gs\n"
	"	mov	$0x10, %ax\n" /* but of 4 GiB in FS: unreal mode */
	"	mov	%ax, %fs\n"
	"	mov	%cr0, %eax\n"
	"	and	$0xfe, %al\n"
	"	mov	%eax, %cr0\n"
	"	ljmp	$0, $(0x8800 + 1f - real_low)\n"
	"1:	xor	%ax, %ax\n"
	"	mov	%ax, %ds\n"
	"	mov	%ax, %es\n"
	"	mov	%ax, %ss\n"
	"	mov	$0x7ff0, %sp\n"
	"	lidtw	0x9110\n"
	"	lcall	$0x800, $0\n"
	".globl real_back\nreal_back:\n" /* faults come here, too */
	"	cli\n"
	"	xor	%ax, %ax\n"
	"	mov	%ax, %ds\n"
	"	mov	%cr0, %eax\n"
	"	or	$1, %al\n"
	"	mov	%eax, %cr0\n"
	"	ljmpl	$8, $2f\n"
	".globl real_low_end\nreal_low_end:\n"
	".code32\n"
	"2:	mov	$0x10, %eax\n"
	"	mov	%eax, %ds\n"
	"	mov	%eax, %es\n"
	"	mov	%eax, %ss\n"
	"	mov	%eax, %fs\n"
	"	mov	%eax, %gs\n"
	"	mov	0x9100, %esp\n"
	"	lidt	0x9108\n"
	"	popa\n"
	"	ret\n");

/* What a fault does in real mode: notes its frame, and goes back. */
LOW_CODE(real_fault, "pop %cs:0x1020\n\tpop %cs:0x1022\n\tpop %cs:0x1024\n\t"
		     "movw $1, %cs:0x1026\n\t"
		     "ljmp $0, $(0x8800 + real_back - real_low)");

static void real(const uint8_t *code, const uint8_t *end)
{
	struct __attribute__((packed)) {
		uint16_t limit;
		uint32_t base;
	} *ivt = (void *)0x9110;
	volatile uint16_t *vectors;

	memset((void *)NOTES, 0, 0x80);
	__asm__("" : "=r"(vectors) : "0"(0)); /* 0 is an address here */
	for (unsigned n = 0; n < 32; n++) {
		vectors[2 * n] = 0x400;
		vectors[2 * n + 1] = LOW_SEG;
	}
	ivt->limit = 0x3ff;
	ivt->base = 0;
	low_put(0x800, real_low, real_low_end);
	low_put(0, code, end);
	low_copy(0x400, real_fault);
	real_run();
}
#define REAL(name) real(name, name##_end)

static void faulted(unsigned ip, const char *name)
{
	check(NOTE(0x13) == 1 && NOTE(0x10) == ip && NOTE(0x11) == LOW_SEG,
	      name);
}

LOW_CODE(r_plain, "mov %cs, %ax\n\tmov %ax, 0x9000\n\tmov %sp, 0x9002\n\t"
		  "mov $0x1234, %ax\n\tmov %ax, %es\n\tmovw $0x5a5a, %es:8\n\t"
		  "mov %es, 0x9004\n\tsmsw %ax\n\tmov %ax, 0x9006\n\tlret");
LOW_CODE(r_int, "movw $0x20, 0x84\n\tmovw $0x800, 0x86\n\tstc\n\tsti\n\t"
		"int $0x21\n\tmov %ax, 0x9000\n\tpushf\n\tpop 0x9002\n\tcli\n\t"
		"lret\n\t.skip 0x20 - (. - r_int), 0x90\n\tpushf\n\tpop "
		"%bx\n\tmov %bx, 0x9004\n\t"
		"mov %sp, %bp\n\tmov (%bp), %ax\n\tmov %ax, 0x9006\n\t"
		"mov $0x7777, %ax\n\tiret");
LOW_CODE(r_limit, "nop\n\tmov %ds:0xffff, %ax\n\tlret");
LOW_CODE(r_limit32, "nop\n\tmov $0x10000, %ebx\n\tmov (%ebx), %al\n\t"
		    "lret");
LOW_CODE(r_div, "nop\n\txor %cx, %cx\n\tdiv %cx\n\tlret");
LOW_CODE(r_ud, "nop\n\tud2");
LOW_CODE(r_lldt, "nop\n\t.byte 0x0f, 0x00, 0xd0");
LOW_CODE(r_ltr, "nop\n\t.byte 0x0f, 0x00, 0xd8");
LOW_CODE(r_lar, "nop\n\t.byte 0x0f, 0x02, 0xc0");
LOW_CODE(r_bound, "nop\n\tmov $9, %ax\n\tmovl $0x00080000, 0x9010\n\t"
		  "bound %ax, 0x9010\n\tlret");
LOW_CODE(r_step, "pushf\n\tpop %ax\n\tor $0x100, %ax\n\tpush %ax\n\tpopf\n\t"
		 "nop\n\tnop\n\tlret");
LOW_CODE(r_idt, "nop\n\tmovw $0x7f, 0x9110\n\tlidtw 0x9110\n\tint $0x20\n\t"
		"lret");
LOW_CODE(r_far,
	 "lcall $0x801, $(1f - r_far - 0x10)\n\tmov %ax, 0x9000\n\t"
	 "lret\n\t.skip 0x20 - (. - r_far), 0x90\n1:\tmov %cs, %ax\n\tlret");
LOW_CODE(r_far32, "push %cs\n\tpushw $2f - r_far32\n\tpushl $0x00000800\n\t"
		  "pushl $1f - r_far32\n\tlretl\n1:\tmovw $0xf00, 0x9000\n\t"
		  "lret\n2:\tlret");
LOW_CODE(r_unreal, "mov $0x300000, %ebx\n\tmovl %fs:(%ebx), %eax\n\t"
		   "movl %eax, 0x9000\n\tmov $0x1000, %ax\n\t"
		   "mov %ax, %fs\n\tsub $0x10000, %ebx\n\t"
		   "movl %fs:(%ebx), %eax\n\tmovl %eax, 0x9004\n\tlret");

static void real_mode(void)
{
	REAL(r_plain);
	check(NOTE(0) == LOW_SEG && NOTE(1) == 0x7fec,
	      "real mode: CS and SP of a far CALL");
	check_eq(*(volatile uint16_t *)0x12348, 0x5a5a,
		 "real mode: a segment is its selector times 16");
	check(NOTE(2) == 0x1234 && !(NOTE(3) & 1), "real mode: PE is clear");
	REAL(r_int);
	check(NOTE(0) == 0x7777 && (NOTE(1) & (IF | 1)) == (IF | 1),
	      "INT and IRET by the IVT: flags come back");
	check_eq(NOTE(2) & (IF | TF), 0, "INT clears IF and TF");
	check(NOTE(3) != 0 && NOTE(3) < 0x20, "INT pushes IP");
	REAL(r_limit);
	faulted(1, "a word at FFFFH: #GP, and IP is the instruction's");
	REAL(r_limit32);
	faulted(7, "a 32-bit offset above FFFFH: #GP");
	REAL(r_div);
	faulted(3, "DIV by zero: #DE by the IVT");
	REAL(r_ud);
	faulted(1, "UD2: #UD by the IVT");
	REAL(r_lldt);
	faulted(1, "LLDT in real mode: #UD");
	REAL(r_ltr);
	faulted(1, "LTR in real mode: #UD");
	REAL(r_lar);
	faulted(1, "LAR in real mode: #UD");
	REAL(r_bound);
	faulted(13, "BOUND: #BR by the IVT");
	REAL(r_step);
	check(NOTE(0x13) == 1 && NOTE(0x10) == 8,
	      "TF: a trap after the instruction after POPF");
	REAL(r_idt);
	faulted(12, "INT beyond the IVT's limit: #GP at the INT");
	REAL(r_far);
	check_eq(NOTE(0), LOW_SEG + 1, "far CALL and RET");
	REAL(r_far32);
	check_eq(NOTE(0), 0xf00, "RET of a 32-bit frame");
	/* FS keeps a limit of 4 GiB that was loaded before. */
	*(volatile uint32_t *)0x300000 = 0x600dcafe;
	REAL(r_unreal);
	check(NOTE(0) == 0xcafe && NOTE(1) == 0x600d,
	      "unreal mode: 4 GiB by a limit that stayed");
	check(NOTE(2) == 0xcafe && NOTE(3) == 0x600d,
	      "unreal mode: it stays when FS is loaded, too");
}

/* -- v86
 * -------------------------------------------------------------------------- */

LOW_CODE(v_int, "mov $0x1111, %ax\n\tint $0x80");
LOW_CODE(v_segs, "mov %ds, %ax\n\tmov $0x2345, %bx\n\tmov %bx, %es\n\t"
		 "movb $0x77, %es:1\n\tint $0x80");
LOW_CODE(v_cli, "cli");
LOW_CODE(v_sti, "sti");
LOW_CODE(v_pushf, "pushf\n\tpop %ax\n\tint $0x80");
LOW_CODE(v_popf, "push %ax\n\tpopf\n\tpushf\n\tpop %ax\n\tint $0x80");
LOW_CODE(v_iret, "pushf\n\tpush %cs\n\tpush $(1f - v_iret)\n\tiret\n"
		 "1:\tmov $0x3333, %ax\n\tint $0x80");
LOW_CODE(v_hlt, "hlt");
LOW_CODE(v_lgdt, "lgdt 0");
LOW_CODE(v_cr0, "mov %cr0, %eax");
LOW_CODE(v_smsw, "smsw %ax\n\tint $0x80");
LOW_CODE(v_lldt, ".byte 0x0f, 0x00, 0xd0");
LOW_CODE(v_arpl, ".byte 0x63, 0xc0");
LOW_CODE(v_in, "mov %ax, %dx\n\tin %dx, %al\n\tint $0x80");
LOW_CODE(v_limit, "mov 0xffff, %ax");
LOW_CODE(v_limit32, "mov $0x12345, %ebx\n\tmov (%ebx), %al");
LOW_CODE(v_stack, "mov $1, %sp\n\tpush %ax");
LOW_CODE(v_int3, "int3");
LOW_CODE(v_div, "xor %cx, %cx\n\tdiv %cx");
LOW_CODE(v_wrap, "mov $0, %sp\n\tpush %ax\n\tmov %sp, %ax\n\tint $0x80");
LOW_CODE(v_far, "lcall $0x802, $(1f - v_far - 0x20)\n\tint $0x80\n\t.skip 0x40 "
		"- (. - v_far), 0x90\n"
		"1:\tmov %cs, %ax\n\tlret");

static uint32_t v86(const uint8_t *code, const uint8_t *end, uint32_t eax,
		    uint32_t flags)
{
	struct target t = {.eip = 0,
			   .cs = LOW_SEG,
			   .eflags = 2 | VM | flags,
			   .esp = 0x1800,
			   .ss = LOW_SEG,
			   .es = 0x1111,
			   .ds = 0x2222,
			   .fs = 0x3333,
			   .gs = 0x4444};

	low_put(0, code, end);
	return run(&t, eax);
}
#define V86(name, eax, flags) v86(name, name##_end, (eax), (flags))

static void v86_frames(void)
{
	const struct frame *f = &fault.frame;

	check_eq(V86(v_int, 0, IOPL | IF) & 0xffff, 0x1111, "v86 runs");
	ended(0x80, 0, "INT 80H out of v86");
	check(f->cs == LOW_SEG && f->eip == 5 && f->ss == LOW_SEG &&
		  f->esp == 0x1800,
	      "its frame: CS, IP, SS, SP");
	check((f->eflags & (VM | IOPL | IF)) == (VM | IOPL | IF),
	      "flags with VM");
	check(f->v86_es == 0x1111 && f->v86_ds == 0x2222 &&
		  f->v86_fs == 0x3333 && f->v86_gs == 0x4444,
	      "ES, DS, FS and GS on the stack");
	check(f->ds == 0 && f->es == 0 && f->fs == 0 && f->gs == 0,
	      "and null in the handler");
	check_eq(fault.frame_at + sizeof(*f), tss.esp0, "on the TSS' stack");
	check_eq(V86(v_segs, 0, IOPL) & 0xffff, 0x2222, "v86: DS");
	check_eq(*(volatile uint8_t *)0x23451, 0x77,
		 "v86: a segment is its selector times 16");
	check_eq(f->v86_es, 0x2345, "v86: ES as it was loaded");
	check_eq(V86(v_far, 0, IOPL) & 0xffff, LOW_SEG + 2,
		 "v86: far CALL and RET");
	check_eq(V86(v_wrap, 0, IOPL) & 0xffff, 0xfffe, "v86: SP wraps");
}

static void v86_faults(void)
{
	V86(v_cli, 0, 0);
	ended(GP, 0, "v86, IOPL 0: CLI: #GP(0)");
	check(fault.eip == 0 && (fault.frame.eflags & VM),
	      "out of v86, at the CLI");
	V86(v_sti, 0, 0);
	ended(GP, 0, "v86, IOPL 0: STI: #GP(0)");
	V86(v_pushf, 0, 0);
	ended(GP, 0, "v86, IOPL 0: PUSHF: #GP(0)");
	V86(v_popf, 0, 0);
	ended(GP, 0, "v86, IOPL 0: POPF: #GP(0)");
	V86(v_int, 0, 0);
	ended(GP, 0, "v86, IOPL 0: INT n: #GP(0)");
	V86(v_iret, 0, 0);
	ended(GP, 0, "v86, IOPL 0: IRET: #GP(0)");
	V86(v_int3, 0, 0);
	ended(BP, 0, "v86, IOPL 0: INT3 goes through its gate");
	check_eq(V86(v_pushf, 0, IOPL | IF) & (IOPL | IF), IOPL | IF,
		 "v86, IOPL 3: PUSHF");
	check_eq(V86(v_popf, 0x2 | IF, IOPL) & (IOPL | IF), IOPL | IF,
		 "v86, IOPL 3: POPF changes IF but not IOPL");
	check_eq(V86(v_iret, 0, IOPL) & 0xffff, 0x3333, "v86, IOPL 3: IRET");
	V86(v_hlt, 0, IOPL);
	ended(GP, 0, "v86: HLT: #GP(0)");
	V86(v_lgdt, 0, IOPL);
	ended(GP, 0, "v86: LGDT: #GP(0)");
	V86(v_cr0, 0, IOPL);
	ended(GP, 0, "v86: MOV from CR0: #GP(0)");
	V86(v_smsw, 0, IOPL);
	ended(0x80, 0, "v86: SMSW");
	V86(v_lldt, 0, IOPL);
	ended(UD, 0, "v86: LLDT: #UD");
	V86(v_arpl, 0, IOPL);
	ended(UD, 0, "v86: ARPL: #UD");
	V86(v_limit, 0, IOPL);
	ended(GP, 0, "v86: a word at FFFFH: #GP(0)");
	V86(v_limit32, 0, IOPL);
	ended(GP, 0, "v86: an offset above FFFFH: #GP(0)");
	V86(v_stack, 0, IOPL);
	ended(SS, 0, "v86: a word pushed at FFFFH: #SS(0)");
	V86(v_div, 0, IOPL);
	ended(DE, 0, "v86: DIV by zero: #DE");
	/* Ports: the bitmap, whatever IOPL is. */
	V86(v_in, PORT_TEST, IOPL);
	ended(GP, 0, "v86: IN, its bit set, IOPL 3: #GP(0)");
	tss.bitmap[32 + PORT_TEST / 8] = 0xfe;
	V86(v_in, PORT_TEST, 0);
	ended(GP, 0, "v86: INT n after IN, IOPL 0");
	check_eq(fault.eip, 3, "v86: IN, its bit clear, IOPL 0");
	tss.bitmap[32 + PORT_TEST / 8] = 0xff;
}

/* -- VME and PVI (SDM vol. 3, 20.3, 20.4) -----------------------------------
 */

#define CR4_VME 1u
#define CR4_PVI 2u
#define VIF     0x80000u
#define VIP     0x100000u

/* End by #GP(0) at HLT. */
LOW_CODE(e_sti, "sti\n\tpushf\n\tpop %ax\n\thlt");
LOW_CODE(e_cli, "cli\n\tpushf\n\tpop %ax\n\thlt");
LOW_CODE(e_popf, "push %ax\n\tpopf\n\tpushf\n\tpop %ax\n\thlt");
LOW_CODE(e_popf32, "popfl\n\thlt");
LOW_CODE(e_pushf32, "pushfl\n\thlt");
LOW_CODE(e_iret, "push %ax\n\tpush %cs\n\tpush $(1f - e_iret)\n\tiret\n"
		 "1:\tpushf\n\tpop %ax\n\thlt");
/* Its handler at 100H: the flags that INT pushed, and its own. */
LOW_CODE(e_int, "int $0x80\n\t.skip 0x100 - (. - e_int), 0x90\n\t"
		"pop %cx\n\tpop %dx\n\tpop %ax\n\tpushf\n\tpop %bx\n\thlt");

static void vif(void)
{
	const uint32_t both = IOPL | IF;
	const struct frame *f = &fault.frame;

	check_eq(V86(e_sti, 0, 0) & both, both, "VME: STI, as PUSHF has it");
	check_eq(f->eflags & (VIF | IF | IOPL), VIF, "VME: STI sets VIF");
	check_eq(V86(e_cli, 0, VIF | IF) & both, IOPL, "VME: CLI");
	check_eq(f->eflags & (VIF | IF | IOPL), IF, "VME: CLI clears VIF");
	V86(e_sti, 0, VIP);
	ended(GP, 0, "VME: STI with VIP: #GP(0)");
	check(fault.eip == 0 && (f->eflags & (VIF | VIP)) == VIP,
	      "at the STI, VIF clear");
	check_eq(V86(e_popf, IF, 0) & both, both, "VME: POPF sets VIF");
	check_eq(f->eflags & (VIF | IF | IOPL), VIF, "and nothing else of it");
	check_eq(V86(e_popf, 0, VIF | IF) & both, IOPL, "VME: POPF clears VIF");
	V86(e_popf, IF, VIP);
	ended(GP, 0, "VME: POPF of IF with VIP: #GP(0)");
	check(fault.eip == 1 && f->esp == 0x17fe, "at the POPF");
	V86(e_popf, TF, 0);
	ended(GP, 0, "VME: POPF of TF: #GP(0)");
	check_eq(fault.eip, 1, "at the POPF, too");
	V86(e_popf32, 0, 0);
	ended(GP, 0, "VME: POPF of 32 bits: #GP(0)");
	check_eq(fault.eip, 0, "at it");
	V86(e_pushf32, 0, 0);
	ended(GP, 0, "VME: PUSHF of 32 bits: #GP(0)");
	check_eq(fault.eip, 0, "at it");
	check_eq(V86(e_iret, IF, 0) & both, both, "VME: IRET sets VIF");
	check_eq(f->eflags & (VIF | IF | IOPL), VIF, "and nothing else of it");
	V86(e_iret, IF, VIP);
	ended(GP, 0, "VME: IRET of IF with VIP: #GP(0)");
	check_eq(V86(e_sti, 0, IOPL) & both, both, "VME, IOPL 3: STI");
	check_eq(f->eflags & (VIF | IF), IF, "sets IF");
}

/* tss.bitmap's first 32 bytes say where INT n goes (20.3.3). */
static void redirection(void)
{
	const struct frame *f = &fault.frame;
	volatile uint32_t *entry; /* which the compiler takes for a NULL */
	uint32_t was, eax;

	__asm__("" : "=r"(entry) : "0"(0x80 * 4));
	was = *entry;
	*entry = LOW_SEG << 16 | 0x100;
	tss.bitmap[0x80 / 8] = 0;
	eax = V86(e_int, 0, VIF);
	ended(GP, 0, "VME: INT n by v86's own table, HLT ends it");
	check(f->cs == LOW_SEG && fault.eip > 0x100, "in v86's handler");
	check(f->ecx == 2 && f->edx == LOW_SEG, "which has CS:IP");
	check_eq(eax & (IOPL | IF), IOPL | IF, "and FLAGS: VIF as IF, IOPL 3");
	check_eq(f->eflags & (VIF | IF | IOPL), 0, "VIF is clear then");
	check_eq(f->esp, 0x1800, "on v86's stack");
	eax = V86(e_int, 0, IOPL | IF);
	check_eq(eax & (IOPL | IF), IOPL | IF, "IOPL 3: FLAGS as they are");
	check_eq(f->eflags & (IF | IOPL), IOPL, "and IF is cleared");
	V86(v_int3, 0, 0);
	ended(BP, 0, "INT3 goes through its gate");
	tss.bitmap[0x80 / 8] = 1;
	V86(e_int, 0, IOPL);
	ended(0x80, 0, "the bit set, IOPL 3: through the gate");
	V86(e_int, 0, 0);
	ended(GP, 0, "the bit set, IOPL 0: #GP(0)");
	check_eq(fault.eip, 0, "at the INT");
	tss.bitmap[0x80 / 8] = 0;
	WRITE_CR(4, READ_CR(4) & ~CR4_VME);
	V86(e_int, 0, IOPL);
	ended(0x80, 0, "without VME: through the gate");
	tss.bitmap[0x80 / 8] = 0xff;
	*entry = was;
}

CODE32(u_sti, "sti\n\tpushf\n\tpop %eax\n\thlt");
CODE32(u_cli, "cli\n\tpushf\n\tpop %eax\n\thlt");

static uint32_t user(const uint8_t *code, uint32_t flags)
{
	struct target t = {.eip = (uint32_t)(uintptr_t)code,
			   .cs = SEL_USER_CODE,
			   .eflags = 2 | flags,
			   .esp = USER_ESP,
			   .ss = SEL_USER_DATA};

	return run(&t, 0);
}

static void pvi(void)
{
	user(u_sti, 0);
	ended(GP, 0, "CPL 3, IOPL 0: STI: #GP(0)");
	check_eq(fault.eip, SYM(u_sti), "at the STI");
	WRITE_CR(4, READ_CR(4) | CR4_PVI);
	check_eq(user(u_sti, 0) & (VIF | IF | IOPL), VIF,
		 "PVI: STI sets VIF, PUSHF has flags as they are");
	check_eq(user(u_cli, VIF | IF) & (VIF | IF), IF, "PVI: CLI clears VIF");
	user(u_sti, VIP);
	ended(GP, 0, "PVI: STI with VIP: #GP(0)");
	check_eq(fault.eip, SYM(u_sti), "at the STI");
	check_eq(user(u_sti, IOPL) & (VIF | IF), IF, "PVI, IOPL 3: IF");
	WRITE_CR(4, READ_CR(4) & ~CR4_PVI);
}

static void vme(void)
{
	WRITE_CR(4, READ_CR(4) | CR4_VME);
	vif();
	redirection();
	pvi();
}

/* A gate out of v86 leads to CPL 0 (SDM vol. 3, 21.3.1). */
static void v86_gates(void)
{
	uint64_t was = idt[0x80];

	idt[0x80] = GATE(SEL_USER_CODE, 0, 0xee, 0);
	V86(v_int, 0, IOPL);
	ended(GP, SEL_USER_CODE & ~3, "v86: a gate to CPL 3: #GP(selector)");
	gdt[SEL_FREE / 8] = DESC(0, 0xfffff, 0x9f | G32);
	idt[0x80] = GATE(SEL_FREE, 0, 0xee, 0);
	V86(v_int, 0, IOPL);
	ended(GP, SEL_FREE, "v86: a gate to conforming code: #GP(selector)");
	idt[0x80] = was;
}

void payload(void)
{
	real_mode();
	v86_frames();
	v86_faults();
	v86_gates();
	vme();
}
