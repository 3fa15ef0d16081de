/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Exits: what each looks like (docs/door.md, table of exits), that its answer
 * arrives, and that the instruction has then been carried out once.
 */
#include "lib/guest.h"

enum { /* enum vm_exitcode, enum vm_cap_type of vmmapi.h */
       EXIT_INOUT = 0,
       EXIT_RDMSR = 3,
       EXIT_WRMSR = 4,
       EXIT_HLT = 5,
       EXIT_MTRAP = 6,
       EXIT_PAUSE = 7,
       EXIT_INST_EMUL = 9,
       CAP_HALT = 0,
       CAP_MTRAP = 1,
       CAP_PAUSE = 2,
};

static void expect(uint64_t code, uint64_t rip, uint64_t length, uint64_t after,
		   uint64_t a4, uint64_t a5, uint64_t a6)
{
	volatile struct host_call call = {
	    .fn = HOST_EXPECT, .a = {code, rip, length, after, a4, a5, a6}};

	outl(PORT_CALL, (uint32_t)(uintptr_t)&call);
}

static void all_met(const char *name)
{
	check_eq(host(HOST_MET, 0, 0, 0), 0, name);
}

#define IN     (1u << 24)
#define STRING (1u << 25)
#define REP    (1u << 26)
#define SYM(n)                                                                 \
	({                                                                     \
		extern uint8_t n[];                                            \
		(uint64_t)(uintptr_t) n;                                       \
	})

static void expect_in(uint64_t rip, uint64_t len, uint64_t detail)
{
	expect(EXIT_INOUT, rip, len, rip, detail | IN, 0, 0);
}

static void expect_out(uint64_t rip, uint64_t len, uint64_t detail, uint64_t v)
{
	expect(EXIT_INOUT, rip, len, rip + len, detail, v, 0);
}

static void ports(void)
{
	uint64_t rax;

	expect_out(SYM(o1), 1, PORT_TEST | 1 << 16, 0x5a);
	__asm__ volatile("o1: outb %%al, %%dx" ::"a"(0x1234565aull),
			 "d"(PORT_TEST));
	expect_out(SYM(o2), 2, PORT_TEST | 2 << 16, 0xbeef);
	__asm__ volatile("o2: outw %%ax, %%dx" ::"a"(0x1234beefull),
			 "d"(PORT_TEST));
	expect_out(SYM(o3), 1, PORT_TEST | 4 << 16, 0xdeadbeef);
	__asm__ volatile("o3: outl %%eax, %%dx" ::"a"(0xdeadbeefull),
			 "d"(PORT_TEST));
	expect_in(SYM(i1), 1, PORT_TEST | 1 << 16);
	__asm__ volatile("i1: inb %%dx, %%al"
			 : "=a"(rax)
			 : "a"(0x1111111122222222), "d"(PORT_TEST));
	check_eq(rax, 0x11111111222222ef, "INB leaves the rest of RAX");
	expect_in(SYM(i2), 2, PORT_TEST | 2 << 16);
	__asm__ volatile("i2: inw %%dx, %%ax"
			 : "=a"(rax)
			 : "a"(0x1111111122222222), "d"(PORT_TEST));
	check_eq(rax, 0x111111112222beef, "INW leaves the rest of RAX");
	expect_in(SYM(i3), 1, PORT_TEST | 4 << 16);
	__asm__ volatile("i3: inl %%dx, %%eax"
			 : "=a"(rax)
			 : "a"(0x1111111122222222), "d"(PORT_TEST));
	check_eq(rax, 0xdeadbeef, "INL clears RAX above");
	/* A port by immediate; nobody is there. */
	expect_in(SYM(i4), 2, 0xf7 | 1 << 16);
	__asm__ volatile("i4: inb $0xf7, %%al" : "=a"(rax) : "a"(0ull));
	check_eq(rax, 0xff, "INB of an empty port");
	all_met("ports");
}

static void port_strings(void)
{
	static uint8_t from[4] = {1, 2, 3, 4};
	static uint16_t to[3];
	uint64_t rsi = (uint64_t)(uintptr_t)from, rcx = 3, rdi;

	/* Between elements RIP stays: the instruction has more to do. */
	for (unsigned n = 0; n < 3; n++)
		expect(EXIT_INOUT, SYM(os), 2, SYM(os) + (n == 2 ? 2 : 0),
		       PORT_TEST | 1 << 16 | STRING | REP, from[n], 0);
	__asm__ volatile("os: rep outsb"
			 : "+S"(rsi), "+c"(rcx)
			 : "d"(PORT_TEST)
			 : "memory");
	check_eq(rsi, (uintptr_t)from + 3, "REP OUTSB: RSI");
	check_eq(rcx, 0, "REP OUTSB: RCX");
	outw(PORT_TEST, 0xcafe);
	rcx = 3;
	rdi = (uint64_t)(uintptr_t)to;
	for (unsigned n = 0; n < 3; n++)
		expect_in(SYM(is), 3, PORT_TEST | 2 << 16 | STRING | REP);
	__asm__ volatile("is: rep insw"
			 : "+D"(rdi), "+c"(rcx)
			 : "d"(PORT_TEST)
			 : "memory");
	check(to[0] == 0xcafe && to[1] == 0xcafe && to[2] == 0xcafe,
	      "REP INSW: memory");
	check_eq(rdi, (uintptr_t)(to + 3), "REP INSW: RDI");
	expect(EXIT_INOUT, SYM(o5), 1, SYM(o5) + 1,
	       PORT_TEST | 1 << 16 | STRING, 1, 0);
	rsi = (uint64_t)(uintptr_t)from;
	__asm__ volatile("o5: outsb" : "+S"(rsi) : "d"(PORT_TEST) : "memory");
	all_met("string ports");
	/* The memory is checked before the port is touched. */
	rcx = 1;
	TRY("rep insb",
	    : "+c"(rcx)
	    : "D"(0x100000000000ull), "d"(PORT_TEST)
	    : "memory");
	fault_is(PF, 2, "INSB to an absent page: no exit");
}

static void expect_mem(uint64_t rip, uint64_t len, uint64_t after, uint64_t gpa,
		       unsigned bytes, bool write, uint64_t value)
{
	expect(EXIT_INST_EMUL, rip, len, after, gpa,
	       bytes | (uint64_t)write << 8, value);
}

static void memory(void)
{
	volatile uint8_t *mmio = (volatile uint8_t *)(uintptr_t)MMIO_BASE;
	uint64_t at = MMIO_BASE + 0x100, v;

	expect_mem(SYM(w8), 3, SYM(w8) + 3, at, 8, true, 0x1122334455667788);
	__asm__ volatile("w8: mov %1, (%0)" ::"b"(at), "a"(0x1122334455667788)
			 : "memory");
	expect_mem(SYM(w1), 2, SYM(w1) + 2, at + 1, 1, true, 0xab);
	__asm__ volatile("w1: mov %%al, (%%rbx)" ::"b"(at + 1), "a"(0xcdab)
			 : "memory");
	expect_mem(SYM(r4), 2, SYM(r4), at, 4, false, 0);
	__asm__ volatile("r4: mov (%1), %%eax" : "=a"(v) : "b"(at), "a"(~0ull));
	check_eq(v, 0x5566ab88, "MOV r32 from the process' memory");
	expect_mem(SYM(r2), 3, SYM(r2), at, 2, false, 0);
	__asm__ volatile("r2: movswl (%1), %%eax" : "=a"(v) : "b"(at));
	check_eq(v, 0xffffab88, "MOVSX from the process' memory");
	/* A read-modify-write: two exits, one result. */
	expect_mem(SYM(rm), 3, SYM(rm), at, 4, false, 0);
	expect_mem(SYM(rm), 3, SYM(rm) + 3, at, 4, true, 0x5566ab89);
	__asm__ volatile("rm: addl $1, (%0)" ::"b"(at) : "memory", "cc");
	check_eq(*(volatile uint32_t *)(mmio + 0x100), 0x5566ab89,
		 "ADD to the process' memory");
	expect_mem(SYM(lx), 4, SYM(lx), at, 4, false, 0);
	expect_mem(SYM(lx), 4, SYM(lx) + 4, at, 4, true, 0x5566ab8c);
	v = 3;
	__asm__ volatile("lx: lock xadd %%eax, (%1)"
			 : "+a"(v)
			 : "b"(at)
			 : "memory", "cc");
	check_eq(v, 0x5566ab89, "LOCK XADD: the old value");
	all_met("memory");
}

static void memory_shapes(void)
{
	volatile uint8_t *mmio = (volatile uint8_t *)(uintptr_t)MMIO_BASE;
	uint64_t at = MMIO_BASE + 0x1ffe, v, rcx = 2, rdi, rsi;
	static uint32_t words[2] = {0x01020304, 0x05060708}, back[2];

	/* Across a page: one exit a page. */
	expect_mem(SYM(x4), 2, SYM(x4), at, 2, true, 0xccdd);
	expect_mem(SYM(x4), 2, SYM(x4) + 2, at + 2, 2, true, 0xaabb);
	__asm__ volatile("x4: mov %%eax, (%%rbx)" ::"b"(at), "a"(0xaabbccdd)
			 : "memory");
	__asm__ volatile("mov (%1), %%eax" : "=a"(v) : "b"(at));
	check_eq(v, 0xaabbccdd, "a read across a page");
	/* RAM before, device after: none here, so device to device. */
	rdi = MMIO_BASE + 0x200;
	rsi = (uint64_t)(uintptr_t)words;
	expect_mem(SYM(ms), 2, SYM(ms), MMIO_BASE + 0x200, 4, true, words[0]);
	expect_mem(SYM(ms), 2, SYM(ms) + 2, MMIO_BASE + 0x204, 4, true,
		   words[1]);
	__asm__ volatile("ms: rep movsl"
			 : "+D"(rdi), "+S"(rsi), "+c"(rcx)::"memory");
	check_eq(rcx, 0, "REP MOVS to the process' memory: RCX");
	check_eq(rdi, MMIO_BASE + 0x208, "REP MOVS: RDI");
	check_eq(*(volatile uint32_t *)(mmio + 0x204), words[1],
		 "REP MOVS: the last word");
	/* And back: each element has its own answer. */
	rdi = (uint64_t)(uintptr_t)back;
	rsi = MMIO_BASE + 0x200;
	rcx = 2;
	__asm__ volatile("rep movsl"
			 : "+D"(rdi), "+S"(rsi), "+c"(rcx)::"memory");
	check(back[0] == words[0] && back[1] == words[1],
	      "REP MOVS from the process' memory");
	/* Memory to memory, both the process': read, write. */
	rdi = MMIO_BASE + 0x300;
	rsi = MMIO_BASE + 0x200;
	expect_mem(SYM(mm), 1, SYM(mm), MMIO_BASE + 0x200, 1, false, 0);
	expect_mem(SYM(mm), 1, SYM(mm) + 1, MMIO_BASE + 0x300, 1, true, 4);
	__asm__ volatile("mm: movsb" : "+D"(rdi), "+S"(rsi)::"memory");
	/* PUSH from, and a compare with, device memory. */
	expect_mem(SYM(pu), 2, SYM(pu), MMIO_BASE + 0x100, 8, false, 0);
	__asm__ volatile("pu: pushq (%1)\n\tpopq %0"
			 : "=r"(v)
			 : "b"(MMIO_BASE + 0x100ull)
			 : "memory");
	check_eq(v, 0x112233445566ab8c, "PUSH of the process' memory");
	v = 0x5566ab8c;
	__asm__ volatile("lock cmpxchgl %2, (%1)"
			 : "+a"(v)
			 : "b"(MMIO_BASE + 0x100ull), "r"(0x77)
			 : "memory", "cc");
	check_eq(*(volatile uint32_t *)(mmio + 0x100), 0x77,
		 "LOCK CMPXCHG of the process' memory");
	all_met("shapes of memory accesses");
}

static void msrs(void)
{
	uint32_t lo, hi;

	host(HOST_ANSWER, 0x1234567887654321, 0, 0);
	expect(EXIT_RDMSR, SYM(rd), 2, SYM(rd), 0xc0de, 0, 0);
	__asm__ volatile("rd: rdmsr" : "=a"(lo), "=d"(hi) : "c"(0xc0de));
	check(lo == 0x87654321 && hi == 0x12345678, "RDMSR: the answer");
	expect(EXIT_WRMSR, SYM(wr), 2, SYM(wr) + 2, 0xc0de, 0x0000000100000002,
	       0);
	__asm__ volatile("wr: wrmsr" ::"a"(2), "d"(1), "c"(0xc0de));
	all_met("MSRs");
	TRY("rdmsr", ::"c"(MSR_REFUSED) : "rax", "rdx");
	fault_is(GP, 0, "RDMSR that the process refuses");
	TRY("wrmsr", ::"a"(2), "d"(1), "c"(MSR_REFUSED));
	fault_is(GP, 0, "WRMSR that the process refuses");
}

static void note_timer(struct frame *frame)
{
	fault.rip = frame->rip;
	lapic_eoi();
}

/* ENOENT is how an engine says that it has no such exit. */
#define LACKING (-2)

static void pause_exit(void)
{
	int64_t on = host(HOST_CAPABILITY, CAP_PAUSE, 1, 0);

	if (on == LACKING) {
		skip("PAUSE_EXIT", "the engine lacks the capability");
		return;
	}
	check_eq(on, 0, "PAUSE_EXIT on");
	expect(EXIT_PAUSE, SYM(pa), 2, SYM(pa) + 2, 0, 0, 0);
	__asm__ volatile("pa: pause");
	check_eq(host(HOST_CAPABILITY, CAP_PAUSE, 0, 0), 0, "PAUSE_EXIT off");
	all_met("PAUSE");
	__asm__ volatile("pause");
}

static void halt_exit(void)
{
	int64_t on = host(HOST_CAPABILITY, CAP_HALT, 1, 0);

	if (on == LACKING) {
		skip("HALT_EXIT", "the engine lacks the capability");
		return;
	}
	check_eq(on, 0, "HALT_EXIT on");
	trap_handler[NMI] = NULL;
	lapic_enable();
	expect(EXIT_HLT, SYM(hl), 1, SYM(hl) + 1, 0x246, 0, 0);
	fault_clear();
	/* A pending interrupt ends HLT; its handler goes on after it. */
	trap_handler[0x40] = note_timer;
	lapic_write(LAPIC_SVR, 0x1ff);
	lapic_write(LAPIC_DIVIDE, 0xb);
	lapic_write(LAPIC_TIMER, 0x40);
	lapic_write(LAPIC_INITIAL, 20000000);
	__asm__ volatile("xor %%eax, %%eax\n\tsti\nhl: hlt\n\tcli" ::
			     : "rax", "cc", "memory");
	check_eq(fault.rip, SYM(hl) + 1, "HLT ends after the instruction");
	check_eq(host(HOST_CAPABILITY, CAP_HALT, 0, 0), 0, "HALT_EXIT off");
	all_met("HLT");
}

static void capabilities(void)
{
	pause_exit();
	halt_exit();
	check_eq(host(HOST_CAPABILITY, 5, 1, 0) == 0, true, "BPT_EXIT on");
	host(HOST_CAPABILITY, 5, 0, 0);
	check(host(HOST_CAPABILITY, 99, 1, 0) != 0, "no capability 99");
}

/* One MTRAP after each instruction, until it is switched off by a call. */
static void mtrap(void)
{
	static volatile struct host_call on = {.fn = HOST_CAPABILITY,
					       .a = {CAP_MTRAP, 1}};
	static volatile struct host_call off = {.fn = HOST_CAPABILITY,
						.a = {CAP_MTRAP, 0}};

	expect(EXIT_MTRAP, SYM(t1), 0, SYM(t1), 0, 0, 0);
	expect(EXIT_MTRAP, SYM(t2), 0, SYM(t2), 0, 0, 0);
	expect(EXIT_MTRAP, SYM(t3), 0, SYM(t3), 0, 0, 0);
	expect(EXIT_INOUT, SYM(t3), 1, SYM(t3), PORT_TEST | 1 << 16 | IN, 0, 0);
	expect(EXIT_MTRAP, SYM(t4), 0, SYM(t4), 0, 0, 0);
	expect(EXIT_RDMSR, SYM(t4), 2, SYM(t4), 0xc0de, 0, 0);
	expect(EXIT_MTRAP, SYM(t5), 0, SYM(t5), 0, 0, 0);
	expect(EXIT_MTRAP, SYM(t6), 0, SYM(t6), 0, 0, 0);
	__asm__ volatile("mov %[port], %%edx\n\t"
			 "mov %[on], %%eax\n\t"
			 "mov $0xc0de, %%ecx\n\t"
			 "outl %%eax, %%dx\n"
			 "t1: nop\n"
			 "t2: mov %[test], %%edx\n"
			 "t3: inb %%dx, %%al\n"
			 "t4: rdmsr\n"
			 "t5: mov %[port], %%edx\n"
			 "t6: mov %[off], %%eax\n\t"
			 "outl %%eax, %%dx" ::[port] "i"(PORT_CALL),
			 [on] "i"(&on), [test] "i"(PORT_TEST), [off] "i"(&off)
			 : "rax", "rcx", "rdx", "memory");
	all_met("MTRAP");
}

static volatile uint32_t running, stop_it;

static void spin(unsigned id)
{
	running = 1;
	while (!stop_it)
		pause_cpu();
	running = 2;
}

void payload(void)
{
	part(ports);
	part(port_strings);
	part(memory);
	part(memory_shapes);
	part(msrs);
	part(capabilities);
	part(mtrap);
	lapic_enable();
	check(cpu_start(1, spin), "vCPU 1 starts");
	check(wait_for(&running, 1), "vCPU 1 runs");
	check_eq(host(HOST_CHECK_BUSY, 0, 0, 0), 0, "two threads, one vCPU");
	stop_it = 1;
	check(wait_for(&running, 2), "vCPU 1 goes on after vm_resume_cpu");
}
