/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The runtime of a 32-bit payload: flat protected mode without paging, checks
 * that become lines of TAP, faults that are expected, and code run at other
 * levels and in other modes until its first fault or interrupt.
 */
#ifndef GUEST32_H
#define GUEST32_H

#include "../lib/lines.h"

/* -- selectors ------------------------------------------------------------ */

#define SEL_CODE      0x08
#define SEL_DATA      0x10
#define SEL_USER_CODE 0x1b
#define SEL_USER_DATA 0x23
#define SEL_CODE16    0x28 /* base 0, 64 KiB */
#define SEL_DATA16    0x30
#define SEL_TSS       0x38
#define SEL_USER16    0x43 /* code, 16-bit */
#define SEL_FREE      0x48 /* and up: the payload's own, to 0x1f8 */

#define DESC(base, limit, attr)                                                \
	(((uint64_t)(limit)&0xffff) | ((uint64_t)(base)&0xffffff) << 16 |      \
	 (uint64_t)(attr) << 40 | ((uint64_t)(limit) >> 16 & 15) << 48 |       \
	 ((uint64_t)(base) >> 24 & 0xff) << 56)
#define GATE(selector, offset, attr, count)                                    \
	(((uint64_t)(uint32_t)(offset)&0xffff) | (uint64_t)(selector) << 16 |  \
	 (uint64_t)(count) << 32 | (uint64_t)(attr) << 40 |                    \
	 ((uint64_t)(uint32_t)(offset) >> 16) << 48)
#define G32 0xc000u /* in attr's upper bits: G and D */

extern uint64_t gdt[64];
extern uint64_t idt[256];
struct tss32 {
	uint32_t link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
	uint32_t eax, ecx, edx, ebx, esp, ebp, esi, edi;
	uint32_t es, cs, ss, ds, fs, gs, ldt;
	uint16_t trap, iomap;
	uint8_t bitmap[32 + 8192 + 1]; /* VME's redirection, ports */
};
extern struct tss32 tss;
void gdt_load(void);

/* -- instructions -----------------------------------------------------------
 */

#define READ_CR(n)                                                             \
	({                                                                     \
		uint32_t v_;                                                   \
		__asm__ volatile("mov %%cr" #n ", %0" : "=r"(v_)::"memory");   \
		v_;                                                            \
	})
#define WRITE_CR(n, v)                                                         \
	__asm__ volatile("mov %0, %%cr" #n ::"r"((uint32_t)(v)) : "memory")
#define SYM(n)                                                                 \
	({                                                                     \
		extern const uint8_t n[];                                      \
		(uint32_t)(uintptr_t) n;                                       \
	})

#define IF   0x200u
#define TF   0x100u
#define NT   0x4000u
#define RF   0x10000u
#define VM   0x20000u
#define AC   0x40000u
#define IOPL 0x3000u

/* -- checks -------------------------------------------------------------------
 */

#define check(ok, name) check_at(__FILE_NAME__, __LINE__, (ok), (name))
#define check_eq(g, want, name)                                                \
	check_eq_at(__FILE_NAME__, __LINE__, (uint32_t)(g), (uint32_t)(want),  \
		    (name))

/* -- faults
 * --------------------------------------------------------------------- */

struct frame {
	uint32_t gs, fs, es, ds; /* of the interrupted code, not in v86 */
	uint32_t edi, esi, ebp, esp_here, ebx, edx, ecx, eax;
	uint32_t vector, error;
	uint32_t eip, cs, eflags;
	uint32_t esp, ss;                        /* from another level */
	uint32_t v86_es, v86_ds, v86_fs, v86_gs; /* from v86 */
};
#define NO_FAULT 0x100
struct fault {
	uint32_t vector, error, eip, cr2, at;
	struct frame frame;
	uint32_t frame_at; /* its address */
	uint16_t ss, tr;   /* in the handler */
};
extern struct fault fault;
extern volatile uint32_t try_at, try_resume;
typedef void (*trap_fn)(struct frame *frame);
extern trap_fn trap_handler[256];
void fault_clear(void);

/* As in lib/guest.h: one instruction that may fault. */
#define TRY(insn, ...)                                                         \
	do {                                                                   \
		fault_clear();                                                 \
		__asm__ volatile("movl $1f, try_at\n\t"                        \
				 "movl $2f, try_resume\n"                      \
				 "1:\t" insn "\n"                              \
				 "2:\tmovl $0, try_resume" __VA_ARGS__);       \
	} while (0)
bool fault_is_at(const char *file, int line, uint32_t vector, uint32_t error,
		 const char *name);
#define fault_is(vector, error, name)                                          \
	fault_is_at(__FILE_NAME__, __LINE__, (vector), (error), (name))
/* What ended run(): like fault_is, wherever it stood. */
bool ended_at(const char *file, int line, uint32_t vector, uint32_t error,
	      const char *name);
#define ended(vector, error, name)                                             \
	ended_at(__FILE_NAME__, __LINE__, (vector), (error), (name))

enum {
	DE = 0,
	DB = 1,
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
	AC_ = 17,
};

/* -- other levels and modes
 * -------------------------------------------------------- */

/*
 * IRET to cs:eip with these flags, on ss:esp where the level changes, and with
 * the other segments in v86; comes back when anything but a trap_handler's
 * vector arrives, and returns EAX then.
 */
struct target {
	uint32_t eip, cs, eflags, esp, ss, es, ds, fs, gs;
};
uint32_t run(const struct target *t, uint32_t eax);

/* Code for low memory: LOW_CODE(name, "16-bit instructions"), copied to LOW
   by low_copy, which returns its offset from LOW. */
#define LOW     0x8000u
#define LOW_SEG (LOW >> 4)
#define LOW_CODE(name, text)                                                   \
	__asm__(".pushsection .text\n.globl " #name "\n" #name                 \
		":\n.code16\n" text "\n.code32\n.globl " #name "_end\n" #name  \
		"_end:\n.popsection\n");                                       \
	extern const uint8_t name[], name##_end[]
#define CODE32(name, text)                                                     \
	__asm__(".pushsection .text\n.globl " #name "\n" #name ":\n" text      \
		"\n.popsection\n");                                            \
	extern const uint8_t name[]
void low_put(unsigned offset, const uint8_t *code, const uint8_t *end);
#define low_copy(offset, name) low_put((offset), name, name##_end)

extern uint8_t user_stack[4096];
#define USER_ESP ((uint32_t)(uintptr_t)user_stack + sizeof(user_stack))

void payload(void);

#endif
