/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Breakpoints: instructions, data and ports by DR0-DR3 and DR7, what DR6
 * says, RF, and what holds a breakpoint off (SDM vol. 3, 18.2 and 18.3).
 */
#include "lib/guest.h"

#define RF BIT(16)
#define TF BIT(8)

#define B(n)   BIT(n)
#define BS     BIT(14)
#define CR4_DE BIT(3)

/* DR7: enabled globally, R/W and LEN (table 18-2). */
enum { EXEC, WRITE, IO, ACCESS };
enum { LEN1, LEN2, LEN8, LEN4 };
#define ARM(n, type, len)                                                      \
	(2ull << (2 * (n)) | (uint64_t)(type) << (16 + 4 * (n)) |              \
	 (uint64_t)(len) << (18 + 4 * (n)))

#define SYM(n)                                                                 \
	({                                                                     \
		extern const uint8_t n[];                                      \
		(uint64_t)(uintptr_t) n;                                       \
	})
#define WRITE_DR(n, v)                                                         \
	__asm__ volatile("mov %0, %%dr" #n ::"r"((uint64_t)(v)) : "memory")

/* What came, in order. */
static struct hit {
	uint64_t rip, dr6, flags, rcx;
} hit[16];
static volatile unsigned hits;
static bool without_rf; /* the handler takes RF away */

static void on_debug(struct frame *frame)
{
	struct hit h = {
	    .rip = frame->rip, .flags = frame->rflags, .rcx = frame->rcx};

	__asm__ volatile("mov %%dr6, %0" : "=r"(h.dr6));
	if (hits < 16)
		hit[hits] = h;
	hits++;
	WRITE_DR(6, 0);
	frame->rflags |= RF; /* as a debugger does, to go on */
	if (without_rf && hits < 3)
		frame->rflags &= ~RF;
}

static void arm(uint64_t dr7, uint64_t dr0)
{
	hits = 0;
	WRITE_DR(6, 0);
	WRITE_DR(0, dr0);
	WRITE_DR(7, dr7);
}

static void disarm(void)
{
	WRITE_DR(7, 0);
}

static void hit_is(unsigned n, uint64_t rip, uint64_t dr6, const char *name)
{
	if (check(hits > n && hit[n].rip == rip && (hit[n].dr6 & 0xe00f) == dr6,
		  name))
		return;
	check_eq(hits, n + 1, "hits");
	check_eq(hit[n].rip, rip, "RIP");
	check_eq(hit[n].dr6 & 0xe00f, dr6, "DR6");
}

/* -- instructions (18.3.1.1) ----------------------------------------------- */

static void instructions(void)
{
	uint64_t rcx = 0, rdi;
	static uint8_t buffer[8];

	arm(ARM(0, EXEC, LEN1), SYM(i1));
	__asm__ volatile("xor %%ecx, %%ecx\ni0:\tinc %%ecx\ni1:\tinc %%ecx\n"
			 "i2:\tinc %%ecx"
			 : "=&c"(rcx)::"memory", "cc");
	disarm();
	check_eq(hits, 1, "an instruction breakpoint hits once");
	hit_is(0, SYM(i1), B(0), "a fault before the instruction, DR6.B0");
	check_eq(hit[0].rcx, 1, "nothing of it is done");
	check_eq(hit[0].flags & RF, 0, "RF is pushed as it was: clear");
	check_eq(rcx, 3, "RF of IRET lets it run");

	without_rf = true;
	arm(ARM(0, EXEC, LEN1), SYM(w0));
	__asm__ volatile("w0:\tnop" ::: "memory");
	disarm();
	without_rf = false;
	check_eq(hits, 3, "without RF it hits again");

	/* RF is for one instruction: in a loop it hits each time. */
	arm(ARM(0, EXEC, LEN1), SYM(l0));
	__asm__ volatile("mov $4, %%ecx\nl0:\tdec %%ecx\n\tjnz l0"
			 : "=&c"(rcx)::"memory", "cc");
	disarm();
	check_eq(hits, 4, "in a loop, each time around");

	arm(ARM(0, EXEC, LEN1) | ARM(3, EXEC, LEN1), SYM(m1));
	WRITE_DR(3, SYM(m1));
	WRITE_DR(2, SYM(m0)); /* not enabled */
	__asm__ volatile("m0:\tnop\nm1:\tnop" ::: "memory");
	disarm();
	check_eq(hits, 1, "two breakpoints at one place are one #DB");
	hit_is(0, SYM(m1), B(0) | B(3), "DR6 has both");

	/* Local and global enable bits; the middle of an instruction. */
	arm(1, SYM(g1));
	__asm__ volatile("g0:\tmov $0x90909090, %%eax\ng1:\tnop" ::
			     : "rax", "memory");
	check_eq(hits, 1, "L0 enables too");
	arm(ARM(0, EXEC, LEN1), SYM(g2) + 1);
	__asm__ volatile("g2:\tmov $0x90909090, %%eax" ::: "rax", "memory");
	disarm();
	check_eq(hits, 0, "only an instruction's first byte counts");

	/* The shadow of MOV SS holds it off (6.8.3). */
	arm(ARM(0, EXEC, LEN1), SYM(s1));
	__asm__ volatile("mov %0, %%ss\ns1:\tnop\ns2:" ::"r"(SEL_DATA)
			 : "memory");
	disarm();
	check_eq(hits, 0, "none after MOV SS");

	/* REP: once, before the first element. */
	rcx = 3;
	rdi = (uint64_t)(uintptr_t)buffer;
	arm(ARM(0, EXEC, LEN1), SYM(r0));
	__asm__ volatile("r0:\trep stosb"
			 : "+c"(rcx), "+D"(rdi)
			 : "a"(7)
			 : "memory");
	disarm();
	check_eq(hits, 1, "REP STOSB: once");
	check(buffer[2] == 7 && buffer[3] == 0, "REP STOSB: done");
}

/* A fault of an instruction that has a breakpoint: RF is in its image. */
static void with_fault(void)
{
	arm(ARM(0, EXEC, LEN1), SYM(f0));
	TRY("f0:\tud2", ::: "memory");
	disarm();
	check_eq(hits, 1, "a breakpoint comes before the instruction's #UD");
	check_eq(fault.vector, UD, "and then #UD");
	check((fault.frame.rflags & RF) != 0, "which pushes RF");
}

/* -- data (18.2.4, 18.3.1.2) ------------------------------------------------
 */

static uint8_t watched[64] __attribute__((aligned(64)));

/* One access of bytes at offset; hits. */
static unsigned touch(uint64_t dr7, unsigned offset, unsigned bytes, bool write)
{
	volatile void *p = watched + offset;

	arm(dr7, (uint64_t)(uintptr_t)watched + 8);
	if (write && bytes == 1)
		*(volatile uint8_t *)p = 1;
	else if (write && bytes == 2)
		*(volatile uint16_t *)p = 1;
	else if (write && bytes == 4)
		*(volatile uint32_t *)p = 1;
	else if (write)
		*(volatile uint64_t *)p = 1;
	else if (bytes == 1)
		(void)*(volatile uint8_t *)p;
	else if (bytes == 2)
		(void)*(volatile uint16_t *)p;
	else if (bytes == 4)
		(void)*(volatile uint32_t *)p;
	else
		(void)*(volatile uint64_t *)p;
	disarm();
	return hits;
}

static void lengths(void)
{
	static const struct {
		unsigned len, bytes;
	} kinds[] = {{LEN1, 1}, {LEN2, 2}, {LEN4, 4}, {LEN8, 8}};

	for (unsigned k = 0; k < 4; k++) {
		uint64_t dr7 = ARM(0, WRITE, kinds[k].len);
		unsigned bytes = kinds[k].bytes, wrong = 0;

		for (unsigned size = 1; size <= 8; size *= 2)
			for (unsigned at = 0; at < 24; at++) {
				bool overlaps = at < 8 + bytes && at + size > 8;

				wrong += touch(dr7, at, size, true) !=
					 (overlaps ? 1 : 0);
			}
		check_eq(wrong, 0, "writes hit where they touch LEN's bytes");
	}
	/* The address is aligned to LEN. */
	arm(ARM(0, WRITE, LEN4), (uint64_t)(uintptr_t)watched + 11);
	*(volatile uint8_t *)(watched + 8) = 1;
	disarm();
	check_eq(hits, 1, "low address bits are ignored by LEN");
}

KERNEL_CODE(far_target, "far_in:\n\tlretq");

/* What a far CALL pushes and RET pops is the instruction's access, too. */
static void far_call(void)
{
	static struct __attribute__((packed)) {
		uint64_t rip;
		uint16_t cs;
	} to;
	static uint8_t stack[64],
	    handler_stack[4096] __attribute__((aligned(16)));
	uint64_t top = (uint64_t)(uintptr_t)stack + sizeof(stack);

	to.rip = (uint64_t)(uintptr_t)far_target;
	to.cs = SEL_CODE64;
	/* The handler must not have its own frame there. */
	tss.ist[0] = (uint64_t)(uintptr_t)handler_stack + sizeof(handler_stack);
	idt[DB].ist = 1;
	arm(ARM(0, WRITE, LEN8) | ARM(1, WRITE, LEN8) | ARM(2, ACCESS, LEN8),
	    top - 8);
	WRITE_DR(1, top - 24); /* below the frame */
	WRITE_DR(2, top - 16);
	/* REX.W by number: clang's assembler has no name for it. */
	__asm__ volatile("mov %%rsp, %%rbx; mov %0, %%rsp\n\t"
			 ".byte 0x48; lcall *(%%rax)\n"
			 "far_out:\tmov %%rbx, %%rsp" ::"r"(top),
			 "a"(&to)
			 : "rbx", "memory");
	disarm();
	hit_is(0, SYM(far_in), B(0) | B(2), "far CALL: both pushes");
	check(hits > 1 && hit[1].rip == SYM(far_out) &&
		  (hit[1].dr6 & B(2)) != 0,
	      "far RET: the pop");
	check_eq(hits, 2, "nothing else");
	idt[DB].ist = 0;
}

static void data(void)
{
	uint64_t rax = 1, rcx, rsi, rdi;
	uint8_t from[8] = "abcdefg";

	check_eq(touch(ARM(0, WRITE, LEN4), 8, 4, false), 0,
		 "a write breakpoint ignores reads");
	check_eq(touch(ARM(0, ACCESS, LEN4), 8, 4, false), 1,
		 "a read/write breakpoint hits reads");
	check_eq(touch(ARM(0, ACCESS, LEN4), 8, 4, true), 1, "and writes");
	check_eq(touch(ARM(0, ACCESS, LEN4), 12, 4, true), 0, "not the next");

	arm(ARM(0, WRITE, LEN4), (uint64_t)(uintptr_t)watched);
	__asm__ volatile(
	    "movl $5, (%0)\nd1:\tmovl $0, 32(%0)\nd2:" ::"r"(watched)
	    : "memory");
	disarm();
	hit_is(0, SYM(d1), B(0), "a trap after the instruction");
	check_eq(watched[0], 5, "which is done");
	check_eq(hits, 1, "once");

	arm(ARM(0, WRITE, LEN4), (uint64_t)(uintptr_t)watched);
	__asm__ volatile("lock xaddl %%eax, (%1)\nx1:"
			 : "+a"(rax)
			 : "r"(watched)
			 : "memory", "cc");
	disarm();
	hit_is(0, SYM(x1), B(0), "LOCK XADD");
	check(rax == 5 && watched[0] == 6, "LOCK XADD is done once");

	/* With TF: one #DB, both bits. */
	arm(ARM(0, WRITE, LEN4), (uint64_t)(uintptr_t)watched);
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq\n\t"
			 "movl $5, (%0)\nt1:\tpushfq; andq $~0x100, (%%rsp); "
			 "popfq" ::"r"(watched)
			 : "memory", "cc");
	disarm();
	hit_is(0, SYM(t1), B(0) | BS, "with TF: B0 and BS in one #DB");

	/* Each element of a REP, and RIP stays on it. */
	rcx = 8;
	rsi = (uint64_t)(uintptr_t)from;
	rdi = (uint64_t)(uintptr_t)watched;
	arm(ARM(0, WRITE, LEN2), (uint64_t)(uintptr_t)watched + 2);
	__asm__ volatile("p0:\trep movsb\np1:"
			 : "+c"(rcx), "+S"(rsi), "+D"(rdi)
			 :
			 : "memory");
	disarm();
	check_eq(hits, 2, "REP MOVSB: a trap an element that hits");
	hit_is(0, SYM(p0), B(0), "REP MOVSB: RIP stays");
	check_eq(hit[0].rcx, 5, "REP MOVSB: after the third element");
	check(watched[6] == 'g', "REP MOVSB: done");

	/* MOV SS by memory: the trap is held for an instruction. */
	*(uint16_t *)(void *)watched = SEL_DATA;
	arm(ARM(0, ACCESS, LEN2), (uint64_t)(uintptr_t)watched);
	__asm__ volatile("movw (%0), %%ss\nh1:\tnop\nh2:\tnop" ::"r"(watched)
			 : "memory");
	disarm();
	check_eq(hits, 1, "MOV SS from memory: one trap");
	hit_is(0, SYM(h2), B(0), "MOV SS from memory: an instruction later");

	/* The stack is memory too. */
	arm(ARM(1, WRITE, LEN8), 0);
	WRITE_DR(1, (uint64_t)(uintptr_t)(watched + 16));
	__asm__ volatile("mov %%rsp, %%rax; lea 24(%0), %%rsp; push %0\nk1:\t"
			 "mov %%rax, %%rsp" ::"r"(watched)
			 : "rax", "memory");
	disarm();
	check_eq(hits, 1, "PUSH");
	hit_is(0, SYM(k1), B(1), "PUSH: B1");

	far_call();

	/* A fault instead of the access: no trap. */
	arm(ARM(0, WRITE, LEN4), 0x100000000000);
	TRY("movl $0, (%0)", ::"r"(0x100000000000) : "memory");
	disarm();
	check(fault.vector == PF && hits == 0, "an access that faults: no hit");
}

/* -- ports (CR4.DE) ----------------------------------------------------------
 */

static void ports(void)
{
	outb(PORT_TEST, 0x5a);
	arm(ARM(0, IO, LEN2), PORT_TEST);
	outb(PORT_TEST + 1, 1);
	disarm();
	check_eq(hits, 0, "a port breakpoint without CR4.DE does nothing");
	WRITE_CR(4, READ_CR(4) | CR4_DE);
	arm(ARM(0, IO, LEN2), PORT_TEST);
	__asm__ volatile("outb %%al, %%dx\no1:\tnop" ::"a"(0x77),
			 "d"(PORT_TEST + 1)
			 : "memory");
	hit_is(0, SYM(o1), B(0), "OUT: a trap after it");
	hits = 0;
	check_eq(inb(PORT_TEST + 1), 0x77, "OUT was done, IN answers");
	check_eq(hits, 1, "IN");
	hits = 0;
	outb(PORT_TEST + 2, 1);
	check_eq(hits, 0, "the next port");
	outl(PORT_TEST - 2, 1);
	check_eq(hits, 1, "an access that touches the port");
	/* A port of the room's own. */
	arm(ARM(0, IO, LEN1), 0x61);
	inb(0x61);
	disarm();
	check_eq(hits, 1, "IN from the room's port");
	WRITE_CR(4, READ_CR(4) & ~CR4_DE);
}

/* -- the rest
 * ------------------------------------------------------------------ */

USER_CODE(u_touch, "movl $1, (%rdi)\n\tint $0x81");
USER_CODE(u_nop, "nop\n\tint $0x81");

static void others(void)
{
	uint64_t rip, v;

	/* ICEBP: a trap, whatever DR7 says; RF is not set. */
	arm(0, 0);
	__asm__ volatile(".byte 0xf1\nb1:\tnop" ::: "memory");
	hit_is(0, SYM(b1), 0, "INT1: after it, no DR6 bit");
	check_eq(hit[0].flags & RF, 0, "INT1: RF is not pushed");

	/* GD: before the access; RF is pushed, GD is cleared. */
	arm(BIT(13), 0);
	__asm__ volatile("e0:\tmov %%dr0, %0" : "=r"(v)::"memory");
	check_eq(hits, 1, "GD: one #DB, and the access is done then");
	hit_is(0, SYM(e0), BIT(13), "GD: a fault at the MOV, DR6.BD");
	check((hit[0].flags & RF) != 0, "GD: RF is pushed");

	/* At CPL 3 too. */
	arm(ARM(0, WRITE, LEN4), (uint64_t)(uintptr_t)user_data + 64);
	user_run(u_touch, (uint64_t)(uintptr_t)user_data + 64, 0);
	disarm();
	check_eq(hits, 1, "a data breakpoint at CPL 3");
	check_eq(fault.vector, USER_DONE, "and the code goes on");
	arm(ARM(0, EXEC, LEN1), (uint64_t)(uintptr_t)u_nop);
	user_run(u_nop, 0, 0);
	disarm();
	check_eq(hits, 1, "an instruction breakpoint at CPL 3");
	arm(ARM(0, EXEC, LEN1), (uint64_t)(uintptr_t)u_nop);
	user_run(u_nop, 0, RF);
	disarm();
	check_eq(hits, 0, "IRET with RF holds it off");
	check_eq(fault.frame.rflags & RF, 0, "and RF is gone after it");

	/* Linear addresses, not physical ones. */
	rip = 0x200000000000;
	map_page(rip, (SYM(page_code) & ~4095ull) | PTE_P | PTE_W);
	rip |= SYM(page_code) & 4095;
	arm(ARM(0, EXEC, LEN1), SYM(page_code));
	((void (*)(void))(uintptr_t)rip)();
	check_eq(hits, 0, "another mapping of the page does not hit");
	((void (*)(void))(uintptr_t)SYM(page_code))();
	check_eq(hits, 1, "the mapping itself does");
	disarm();
}

KERNEL_CODE(page_code, "nop\n\tret");

void payload(void)
{
	trap_handler[DB] = on_debug;
	instructions();
	with_fault();
	lengths();
	data();
	ports();
	others();
}
