/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The soft engine's vCPU: the state that both tiers work on, what the vCPUs of
 * a VM share, and what most of the engine's files call.
 *
 * Everything in vmm/soft is compiled with -mgeneral-regs-only, because the
 * guest's vector and x87 state may be live in the host's registers
 * (vec_live). Whatever calls out of the folder, into the room, libc or a
 * lock, calls vec_leave() first. memcpy and memset are out: use bytes.h.
 *
 * RFLAGS lives in two words: the six arithmetic flags as LAHF;SETO leave them
 * in AX (arith_flags), the rest in flags. rflags_get/rflags_set join them.
 *
 * While a block runs, rip is stale: the instruction's is insn_rip(c, i).
 */
#ifndef SOFT_CPU_H
#define SOFT_CPU_H

#include <setjmp.h>
#include <stdatomic.h>
#include <vmmapi.h>

#include "base/bits.h"
#include "vmm/soft/insn.h"
#include "vmm/soft/tlb.h"
#include "vmm/soft/tsc.h"
#include "vmm/vm.h"
#include "x86/cr.h"
#include "x86/exc.h"

/* -- finished accesses of an instruction that left for the process -------- */

struct replay {
	uint64_t address; /* gpa, or port */
	uint64_t data;
	uint8_t bytes;
	bool write;
	bool is_port;
};
#define REPLAY_MAX 72 /* accesses of one instruction, outside RAM */

/* An exit that waits for the process' answer. */
enum pending {
	PENDING_NONE,
	PENDING_SKIP,   /* advance RIP by exit.inst_length */
	PENDING_RDMSR,  /* EDX:EAX from the answer, then advance */
	PENDING_ACCESS, /* the answer goes into replay[]; run it again */
};

/* -- the vCPU -------------------------------------------------------------- */

struct segment {
	uint64_t base;
	uint32_t limit;
	uint32_t access; /* AR_* */
	uint16_t selector;
};

struct cpu {
	uint64_t gpr[18];     /* REG_ZERO = 0, REG_RIPBASE; must come first */
	uint16_t arith_flags; /* AX after LAHF; SETO AL */
	uint8_t cpl;
	uint8_t code_size; /* 2, 4 or 8: CS.D and CS.L */
	uint32_t flags;    /* RFLAGS without the arithmetic ones; bit 1 set */
	struct tlb *tlb;   /* the current table */
	const struct block *block; /* being run */
	uint64_t retired;          /* instructions; exact between blocks */
	_Atomic uint32_t kick;     /* look at requests at the next head */

	uint64_t rip;
	uint64_t jump_tag; /* what makes jump[] valid: live_tag, or 0 while an
			      instruction runs alone */
	struct jump_entry *jump; /* JUMP_SIZE (block.h) */
	struct segment seg[SEG_COUNT];
	uint64_t mode_key; /* what a block depends on besides its bytes */
	uint64_t live_tag; /* changes with address space, mode, code */
	uint64_t tag_count;
	uint64_t epochs;               /* handed out (target.c) */
	const struct insn **link_from; /* to be linked to the next block */

	/* Vector state: live in host registers, or in xsave. */
	bool vec_live;
	uint8_t vec_blocked; /* enum vec_block (vec.h) */

	struct segment ldtr, tr;
	uint64_t gdtr_base, idtr_base;
	uint16_t gdtr_limit, idtr_limit;
	uint64_t cr0, cr2, cr3, cr4, efer, xcr0;
	uint64_t dr[8]; /* 4, 5 unused */
	/* Breakpoints that are armed, by kind; bit n: DRn (debug.h). */
	uint8_t debug_code, debug_data, debug_io;
	uint8_t debug_hits; /* of data and ports, by this instruction */
	uint64_t pdpte[4];
	uint64_t msr[VCPU_MSR_COUNT]; /* enum vcpu_msr */
	uint64_t kernel_gs_base;
	uint64_t mtrr_fixed[VCPU_MTRR_FIXED];
	uint64_t mtrr_base[VCPU_MTRR_VARIABLE];
	uint64_t mtrr_mask[VCPU_MTRR_VARIABLE];

	uint8_t intr_shadow; /* for one instruction: 1 after STI, 2 MOV SS */
	uint8_t nmi_masked;
	bool mtrap_owed;  /* by an instruction the process completed */
	bool single_step; /* TF or MTRAP: instructions run alone */
	bool alone;       /* the one being run does */
	bool intr_check;  /* vcpu_intr_pending may have changed */
	bool in_shadow;   /* of STI: the next head does not look at kick */
	bool align_check; /* CR0.AM, AC and CPL 3: misaligned is #AC */

	/* Raised by soft_raise, delivered by the main loop. */
	struct {
		bool valid, has_error, is_soft;
		uint8_t vector;
		uint8_t len; /* of INTn, INT3, INTO: RIP moves on */
		uint32_t error;
		uint64_t payload; /* CR2, or DR6 bits */
	} exception;
	bool delivering;        /* an event, which another fault makes worse */
	bool delivering_benign; /* an interrupt, or INT n */
	bool delivering_ext;    /* not INT n: the EXT bit of error codes */
	uint8_t delivering_vector;

	uint8_t pending; /* enum pending */
	uint8_t pending_length;
	enum vm_exitcode pending_exitcode; /* of PENDING_ACCESS */
	bool force_alone;                  /* the next instruction runs alone */
	bool failed;                       /* vcpu->failure says why */
	bool nmi_waits;                    /* VCPU_REQ_NMI was seen */
	struct replay replay[REPLAY_MAX];
	uint8_t replay_count, replay_next;

	/* Bounce buffer: a memory operand that is not one piece of RAM. */
	uint8_t bounce[4096] __attribute__((aligned(64)));
	uint64_t bounce_va;
	uint32_t bounce_len;   /* 0: none under way */
	uint8_t *split_window; /* split.c: two pages side by side */

	struct vmcpu *vcpu;
	struct soft_vm *svm;
	struct vm_exit *exit;
	jmp_buf escape; /* to the main loop: faults and exits */
	uint8_t *ram;   /* vm->mem.base: hva = ram + gpa */

	struct tlb *tlb_all[TLB_TABLES];
	struct tlb **tlb_user;    /* TLB_USER_TABLES, of tlb_all */
	struct tlb *tlb_super;    /* user pages are out (SMAP) */
	struct tlb *tlb_override; /* user pages are allowed too */
	struct tlb *tlb_by_ac[2]; /* the supervisor's, by RFLAGS.AC */
	struct tlb *tlb_none;     /* always empty, for align_check */
	struct writers *writers;  /* by guest page */
	uint8_t *nowhere;         /* a page for probes without one */
	uint8_t *window_nothing;  /* where no window is (window.c), or NULL */
	unsigned pieces_left;     /* of addresses it may still reserve */
	uint8_t tlb_victim;
	uint8_t tlb_last; /* of tlb_user, that was current */

	struct block_cache *blocks; /* block.c */
	const uint8_t *arena;       /* its blocks are in here */
	struct jit *jit;            /* NULL: soft.jit=off */
	struct smc_queue *smc;      /* smc.c: what others ask of this one */

	uint8_t *xsave; /* 64-aligned, VCPU_XSAVE_SIZE, standard format */
	struct native *native; /* native.c's per-vCPU part */
	/* The last x87 instruction and its operand, while vec_live. Their
	   selectors are always 0, as on CPUs that deprecate them. */
	uint64_t fpu_ip, fpu_dp;
	uint16_t fpu_opcode;

	struct tsc_copy tsc;

	bool cap_hlt, cap_pause, cap_mtrap, cap_bpt;
	uint32_t pauses; /* PAUSEs so far */
};

_Static_assert(offsetof(struct cpu, gpr) == 0, "insn.h's byte offsets");

/* What is being watched for writes of the host's; 0 bytes: nothing. */
#define WATCHED 4
struct watched {
	_Atomic uint64_t at, bytes; /* gpa */
};

/* What the vCPUs of a VM share. */
struct soft_vm {
	struct vm *vm;
	struct cpu *_Atomic cpu[VM_MAXCPU];
	struct opcode_index *opcodes;
	uint64_t page_count; /* of gpa space up to mem_top */
	uint64_t phys_mask;  /* address bits of a page-table entry */
	bool has_1g_pages;
	size_t jit_bytes;      /* code cache of a vCPU; 0: soft.jit=off */
	bool jit_verify;       /* soft.jit=verify */
	_Atomic uint32_t turn; /* then: whose, id plus 1 (turn.h) */
	_Atomic uint32_t turn_wanted; /* vCPUs that wait for it */
	/* verify_memory.c: the operand under way, and host's writes there. */
	struct watched watched[WATCHED];
	_Atomic uint64_t watched_writes;
	_Atomic uint32_t window_pages; /* of all windows */
	uint16_t jit_hot;     /* runs of a block before it is translated */
	bool jit_perfmap;     /* soft.jit.perfmap */
	int perfmap;          /* then: a file, or -errno */
	bool null_keeps_base; /* AMD: loading null leaves FS.base, GS.base */
	struct tsc_state tsc;
	bool rotate_keeps_of; /* the host's, by an immediate (exec_shift.c) */
	/* By guest page; bit n = vCPU n. Lazily touched. */
	_Atomic uint32_t *code_mask;  /* has blocks from this page */
	_Atomic uint32_t *write_mask; /* has, or had, it writable in a TLB */
	_Atomic uint64_t *code_grain; /* 64-byte pieces that hold code */
};

/* -- small things every file uses ------------------------------------------ */

#define REG8(c, off)  (*(uint8_t *)((char *)(c) + (off)))
#define REG16(c, off) (*(uint16_t *)((char *)(c) + (off)))
#define REG32(c, off) (*(uint32_t *)((char *)(c) + (off)))
#define REG64(c, off) (*(uint64_t *)((char *)(c) + (off)))

/* 32-bit results clear the upper half. */
static inline void set_reg32(struct cpu *c, unsigned off, uint32_t value)
{
	REG64(c, off) = value;
}

static inline uint64_t insn_rip(const struct cpu *c, const struct insn *i)
{
	return c->gpr[17] + i->off;
}

static inline uint64_t next_rip(const struct cpu *c, const struct insn *i)
{
	uint64_t rip = c->gpr[17] + i->off + i->len;

	if (likely(c->code_size == 8))
		return rip;
	return c->code_size == 4 ? (uint32_t)rip : (uint16_t)rip;
}

/*
 * The sanitizers' runtime uses vector registers where it likes (at longjmp):
 * with them, guest vector state is live inside one instruction only.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SOFT_EAGER_LEAVE 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SOFT_EAGER_LEAVE 1
#endif
#endif
#ifndef SOFT_EAGER_LEAVE
#define SOFT_EAGER_LEAVE 0
#endif

void vec_leave_slow(struct cpu *c);

/* Guest vector state out of the host's registers. */
static inline void vec_leave(struct cpu *c)
{
	if (unlikely(c->vec_live))
		vec_leave_slow(c);
}

static inline const struct insn *next(struct cpu *c, const struct insn *i)
{
	if (SOFT_EAGER_LEAVE)
		vec_leave(c);
	return i[1].exec(c, i + 1);
}

static inline uint64_t rflags_get(const struct cpu *c)
{
	return c->flags | (c->arith_flags >> 8 & (RFLAGS_ARITH & 0xff)) |
	       (uint32_t)(c->arith_flags & 1) << 11;
}

static inline void arith_set(struct cpu *c, uint64_t rflags)
{
	c->arith_flags = (uint16_t)((rflags & 0xff) << 8 | (rflags >> 11 & 1));
}

static inline bool is_long_mode(const struct cpu *c)
{
	return (c->efer & EFER_LMA) != 0;
}

/* An address of code or data, by the paging that there is. */
static inline bool is_canonical(const struct cpu *c, uint64_t va)
{
	unsigned unused = c->cr4 & CR4_LA57 ? 7 : 16;

	return (int64_t)(va << unused) >> unused == (int64_t)va;
}

/* A base, or what INVPCID has, by the width that the CPU has, whatever
   CR4.LA57 says (SDM vol. 3, 4.5.2). */
bool is_canonical_base(const struct cpu *c, uint64_t base);

/* -- leaving an instruction early (run.c) --------------------------------- */

/*
 * Raises an exception at instruction i (a fault: RIP stays on it); i NULL:
 * c->rip is right already. payload is CR2 for #PF.
 */
_Noreturn void soft_raise(struct cpu *c, const struct insn *i, unsigned vector,
			  uint32_t error, uint64_t payload);

static inline _Noreturn void raise_gp(struct cpu *c, const struct insn *i,
				      uint32_t error)
{
	soft_raise(c, i, X86_GP, error, 0);
}

static inline _Noreturn void raise_ud(struct cpu *c, const struct insn *i)
{
	soft_raise(c, i, X86_UD, 0, 0);
}

/*
 * Leaves engine->run with c->exit, whose exitcode and u the caller has set;
 * fills rip and inst_length from i, and sets c->pending (enum pending).
 */
_Noreturn void soft_leave(struct cpu *c, const struct insn *i, int pending);
/* RIP is on the instruction: it runs again, alone, with its log empty. */
_Noreturn void soft_restart_alone(struct cpu *c);
/* On at c->rip, without the traps after an instruction. */
_Noreturn void soft_go_on(struct cpu *c);

/* Must the next instruction run alone? */
bool cpu_wants_alone(const struct cpu *c);
/* Ends a block whose last instruction changed the mode; c->rip is set. */
const struct insn *go_anew(struct cpu *c);
/* block_run.c: ends the block after i, or (leave_at) before it, to the main
 * loop. */
const struct insn *end_block(struct cpu *c, const struct insn *i);
const struct insn *leave_at(struct cpu *c, const struct insn *i);

/* -- kicks (kick.c) -------------------------------------------------------- */

/* From any thread: c goes back to its main loop soon. It takes that back by
   cpu_unkick(), before it looks at what was asked. */
void cpu_kick(struct cpu *c);
bool cpu_unkick(struct cpu *c);
/* A kick that was served before it was through with the tables may leave some
   of them without go. */
void cpu_calm(struct cpu *c);

/* -- exc.c, seg.c, far.c, msr.c, state.c ----------------------------------- */

/* Delivers c->exception; may raise again (double fault, triple fault). */
void exception_deliver(struct cpu *c);
void interrupt_deliver(struct cpu *c, uint8_t vector);
void nmi_deliver(struct cpu *c);

/* A descriptor of the GDT or LDT, as 64 bits; false: outside the table. */
bool descriptor_read(struct cpu *c, const struct insn *i, uint16_t selector,
		     uint64_t *desc);
/* Base, limit and access of it, unpacked. */
void descriptor_unpack(uint64_t desc, uint16_t selector, struct segment *seg);
/* Loads ES, SS, DS, FS or GS with all checks. */
void segment_load(struct cpu *c, const struct insn *i, enum seg_index seg,
		  uint16_t selector);
/* Far transfers, IRET (far.c); rip and mode are changed, or a fault raised. */
void set_code_segment(struct cpu *c, const struct segment *seg, unsigned cpl);
uint64_t msr_read(struct cpu *c, const struct insn *i, uint32_t msr);
/* Replaces the RFLAGS bits in mask; AC and IF changes take effect. */
void rflags_set(struct cpu *c, uint64_t value, uint64_t mask);
/* Recomputes cpl, code_size, vec_blocked, jump_tag, tlb, single_step. */
void cpu_mode_changed(struct cpu *c);
/* The part of it that follows from DS, ES and SS. */
void cpu_segments_changed(struct cpu *c);
/* What of that depends on CS and CPL. */
void cpu_level_changed(struct cpu *c);
void soft_state_get(struct cpu *c, struct vcpu_state *state);
int soft_state_set(struct cpu *c, const struct vcpu_state *state);

#endif
