/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The runtime of a payload: 64-bit code on flat page tables, checks that
 * become lines of TAP, faults that are expected, code at CPL 3, other vCPUs.
 */
#ifndef GUEST_H
#define GUEST_H

#include "lines.h"

/* -- selectors of the payload's GDT -------------------------------------- */

#define SEL_CODE64      0x08
#define SEL_DATA        0x10
#define SEL_USER_CODE32 0x1b /* in this order for SYSRET, SYSEXIT */
#define SEL_USER_DATA   0x23
#define SEL_USER_CODE64 0x2b
#define SEL_CODE32      0x30
#define SEL_CODE16      0x38
#define SEL_TSS         0x40 /* two entries */
#define SEL_FREE        0x50 /* and up: the payload's own, to 0xf8 */

extern uint64_t gdt[32];
struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, attr;
	uint16_t offset_mid;
	uint32_t offset_high, zero;
};
extern struct gate idt[256];
struct __attribute__((packed)) tss {
	uint32_t zero0;
	uint64_t rsp[3], zero1, ist[7], zero2;
	uint16_t zero3, iomap;
	uint8_t bitmap[8192 + 1];
};
extern struct tss tss;

void gate_set(unsigned vector, void (*handler)(void), unsigned attr,
	      unsigned ist);
void idt_load(uint16_t limit);

/* -- instructions -------------------------------------------------------- */

static inline uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;
	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr) : "memory");
	return (uint64_t)hi << 32 | lo;
}
static inline void wrmsr(uint32_t msr, uint64_t v)
{
	__asm__ volatile("wrmsr" ::"a"((uint32_t)v), "d"((uint32_t)(v >> 32)),
			 "c"(msr)
			 : "memory");
}
static inline uint64_t rdtsc(void)
{
	uint32_t lo, hi;
	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}
struct regs4 {
	uint32_t a, b, c, d;
};
static inline struct regs4 cpuid(uint32_t leaf, uint32_t sub)
{
	struct regs4 r;
	__asm__ volatile("cpuid"
			 : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
			 : "a"(leaf), "c"(sub));
	return r;
}
#define READ_CR(n)                                                             \
	({                                                                     \
		uint64_t v_;                                                   \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_)::"memory");   \
		v_;                                                            \
	})
#define WRITE_CR(n, v)                                                         \
	__asm__ volatile("mov %0, %%cr" #n ::"r"((uint64_t)(v)) : "memory")
static inline uint64_t read_flags(void)
{
	uint64_t v;
	__asm__ volatile("pushfq; popq %0" : "=r"(v)::"memory");
	return v;
}
static inline void invlpg(const volatile void *p)
{
	__asm__ volatile("invlpg (%0)" ::"r"(p) : "memory");
}
static inline void pause_cpu(void)
{
	__asm__ volatile("pause" ::: "memory");
}

#define BIT(n) (1ull << (n))

/* -- checks -------------------------------------------------------------- */

int64_t host(enum host_fn fn, uint64_t a, uint64_t b, uint64_t c);
_Noreturn void finish(void);

#define check(ok, name) check_at(__FILE_NAME__, __LINE__, (ok), (name))
#define check_eq(g, w, name)                                                   \
	check_eq_at(__FILE_NAME__, __LINE__, (uint64_t)(g), (uint64_t)(w),     \
		    (name))

/* -- faults -------------------------------------------------------------- */

/* What the common handler found; vector NO_FAULT: nothing came. */
struct frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rbp, rdi, rsi, rdx, rcx, rbx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};
#define NO_FAULT 0x100
struct fault {
	uint64_t vector, error, rip, cr2, dr6;
	uint64_t at; /* where the instruction stands */
	struct frame frame;
	uint64_t handler_rsp; /* of the frame */
	uint64_t handler_ss, handler_flags;
};
extern struct fault fault;
extern volatile uint64_t try_at, try_resume;
extern volatile unsigned fault_count;

void fault_clear(void);

/*
 * Runs one instruction that may fault; the operands follow it as in asm().
 * Leaves what came in `fault`.
 */
#define TRY(insn, ...)                                                         \
	do {                                                                   \
		fault_clear();                                                 \
		__asm__ volatile("movq $1f, try_at\n\t"                        \
				 "movq $2f, try_resume\n"                      \
				 "1:\t" insn "\n"                              \
				 "2:\tmovq $0, try_resume" __VA_ARGS__);       \
	} while (0)

bool fault_is_at(const char *file, int line, unsigned vector, uint64_t error,
		 const char *name);
/* The last TRY raised vector with error, at the instruction. */
#define fault_is(vector, error, name)                                          \
	fault_is_at(__FILE_NAME__, __LINE__, (vector), (error), (name))

/* Called for a vector instead of recording it; interrupts land here too. */
typedef void (*trap_fn)(struct frame *frame);
extern trap_fn trap_handler[256];

enum {
	DE = 0,
	DB = 1,
	NMI = 2,
	BP = 3,
	OF = 4,
	BR = 5,
	UD = 6,
	NM = 7,
	DF = 8,
	TS = 10,
	NP = 11,
	SS = 12,
	GP = 13,
	PF = 14,
	MF = 16,
	AC = 17,
	XM = 19,
};

/* -- CPL 3 --------------------------------------------------------------- */

/*
 * Runs code of section .user.text at CPL 3 until its first fault or
 * interrupt, which is left in `fault`; rdi is the argument. INT USER_DONE is
 * the way to end without one; returns RAX there.
 */
#define USER_DONE 0x81
uint64_t user_run(const void *code, uint64_t arg, uint64_t flags);
uint64_t user_run_cs(const void *code, uint64_t arg, uint64_t flags,
		     uint16_t cs);
extern uint8_t user_stack[4096], user_data[4096];
#define USER_STACK_TOP ((uint64_t)user_stack + sizeof(user_stack) - 64)

/* A piece of CPL 3 code: USER_CODE(name, "instructions"). */
#define USER_CODE(name, text)                                                  \
	__asm__(".pushsection .user.text, \"ax\"\n.balign 16\n.globl " #name   \
		"\n" #name ":\n" text "\n\t.popsection\n");                    \
	extern const uint8_t name[]
#define KERNEL_CODE(name, text)                                                \
	__asm__(".pushsection .text, \"ax\"\n.balign 16\n.globl " #name        \
		"\n" #name ":\n" text "\n\t.popsection\n");                    \
	extern const uint8_t name[]

/* -- paging -------------------------------------------------------------- */

#define PTE_P  BIT(0)
#define PTE_W  BIT(1)
#define PTE_U  BIT(2)
#define PTE_A  BIT(5)
#define PTE_D  BIT(6)
#define PTE_PS BIT(7)
#define PTE_G  BIT(8)
#define PTE_NX BIT(63)

extern uint64_t pml4[512];
/* The entry of a page; makes the tables above it, with W and U set. */
uint64_t *pte_of(uint64_t va, unsigned level);
void map_page(uint64_t va, uint64_t entry);
void flush_all(void);
/* A page of RAM nobody uses, zeroed. */
void *page_alloc(void);

/* -- other vCPUs, the LAPIC ---------------------------------------------- */

#define LAPIC         0xfee00000u
#define LAPIC_ID      0x20
#define LAPIC_TPR     0x80
#define LAPIC_EOI     0xb0
#define LAPIC_LDR     0xd0
#define LAPIC_DFR     0xe0
#define LAPIC_SVR     0xf0
#define LAPIC_ISR     0x100
#define LAPIC_IRR     0x200
#define LAPIC_ESR     0x280
#define LAPIC_ICR     0x300
#define LAPIC_ICR_HI  0x310
#define LAPIC_TIMER   0x320
#define LAPIC_LINT0   0x350
#define LAPIC_INITIAL 0x380
#define LAPIC_CURRENT 0x390
#define LAPIC_DIVIDE  0x3e0

#define MSR_APIC_BASE 0x1b
#define MSR_X2APIC    0x800 /* + register >> 4 */

static inline uint32_t lapic_read(unsigned reg)
{
	return *(volatile uint32_t *)(uintptr_t)(LAPIC + reg);
}
static inline void lapic_write(unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(uintptr_t)(LAPIC + reg) = v;
}
void lapic_enable(void);
void lapic_eoi(void);
/* Interrupts of the timer again and again, count bus ticks apart; no more. */
void lapic_storm(uint8_t vector, uint32_t count);
void lapic_calm(void);
/* A handler that notes interrupts: how many, and where the last one came. */
extern volatile unsigned noted;
extern uint64_t noted_at;
void note_interrupt(struct frame *frame);

#define CPU_MAX 16
/* Starts vCPU id at fn(id) on a stack of its own; false: it did not come. */
bool cpu_start(unsigned id, void (*fn)(unsigned id));
unsigned cpu_count(void);
/* Waits for *p to be v, but not for ever. */
bool wait_for(const volatile uint32_t *p, uint32_t v);
bool wait_until(bool (*done)(void));

/*
 * A part of a payload. Where KVM has no hardware to run ring 0 on, its
 * emulator lacks instructions; the part that meets one ends as skipped, with
 * the instruction as the reason, and the CPU is as runtime_main leaves it.
 */
void part_at(const char *name, void (*fn)(void));
#define part(fn) part_at(#fn, (fn))

/* HOST_IS_ bits. */
unsigned engine_is(void);

void payload(void);

#endif
