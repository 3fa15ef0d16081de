/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The soft engine's vCPU: the state the interpreter works on, the software
 * TLB, the block cache, and what the engine's files call of one another.
 *
 * Everything in vmm/soft is compiled with -mgeneral-regs-only, because the
 * guest's vector and x87 state may be live in the host's registers
 * (vec_live). Whatever calls out of the folder, into the room, libc or a
 * lock, calls vec_leave() first. memcpy and memset are out: use copy_bytes.
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
#include "vmm/soft/target.h"
#include "vmm/soft/tsc.h"
#include "vmm/vm.h"
#include "x86/cr.h"
#include "x86/exc.h"

/* -- TLB ----------------------------------------------------------------- */

/*
 * By virtual page, four arrays: three tags and what leads to host memory, hva
 * = va + addend. A tag is the page's address negated when that access may go
 * straight there, and otherwise (unmapped, not allowed, MMIO, write to a page
 * that holds translations, clean page) one of a page that has another place.
 * Negated, because translated code has no compare that leaves flags alone.
 */
#define TLB_BITS 14
#define TLB_SIZE (1u << TLB_BITS)

/* Probes in translated code; more of them share. */
#define SITES         512
#define SITE_PAGES    256
#define SITE_PATIENCE 256

/*
 * Pieces of 1 TiB of the lower half of the addresses (window.h). The upper half
 * of the places leads to nothing. Addresses that are not canonical have places
 * beyond, up to WINDOW_BEYOND bytes, where nothing is mapped.
 */
#define WINDOW_SHIFT  40
#define WINDOW_PLACES 256
#define WINDOW_BEYOND ((8ull << (64 - WINDOW_SHIFT)) - 8 * WINDOW_PLACES)
#define GUESSES       1024

/* Places that were filled, so that emptying costs what filling did. */
#define TLB_JOURNAL     4096
#define TLB_HUGE        8
/* gcc has code in five thousand pages. */
#define PAGE_SET_BITS   16
#define REGION_SET_BITS 12

/*
 * A table, and at its beginning what translated code keeps in memory: RSP
 * points here while it runs, so the first 128 bytes are the cheap ones, and a
 * table that begins in them.
 *
 * Tables: one per recent address space for CPL 3; one for CPL 0-2; one for
 * CPL 0-2 while SMAP is overridden (RFLAGS.AC, or SMAP off); tlb.c says when
 * each is current.
 */
struct tlb {
	uint64_t r9, r10, r11; /* the guest's, while translated code runs */
	uint64_t rip_base;     /* REG_RIPBASE, likewise */
	/* The sign bit, and TARGET_PLACE_BITS, or 0 while a kick waits: every
	   check then fails, every target is looked for at the first place. */
	_Atomic uint64_t go, target_bits;
	uint64_t epoch; /* what its code targets hold for (target.c) */
	/* Masks for PEXT: a page's place in the TLB, and what must be 0 of an
	   offset in it; what of a target must be right but its place; of a
	   hop's word. */
	uint64_t tlb_bits, page_bits;
	uint64_t target_rest, hop_bits;
	uint64_t vec_blocked; /* of struct cpu */
	uint64_t fs_base, gs_base;
	struct cpu *cpu;
	uint64_t host_rsp;
	/* What must be 0 of an aligned offset in a page. */
	uint64_t align_2, align_4, align_8, align_16, align_32, align_64;
	uint64_t sign_64, sign_32; /* a sign bit */
	uint64_t high_32;          /* all bits above the lower 32 */
	/* 32-bit code: what is left of an address with fs_base, gs_base. */
	uint64_t fs_bits, gs_bits;
	uint64_t no_if, no_df, no_ac; /* all bits but that of RFLAGS */
	uint64_t arith_bits;          /* RFLAGS_ARITH */
	uint64_t low_5, low_6;        /* bits in a word */
	uint64_t other_bit;           /* TARGET_OTHER, of an address */
	uint64_t place_bits;          /* TARGET_PLACE_BITS, always */
	uint64_t tsc_bits;            /* of what is not below TSC_WINDOW */
	uint64_t scratch;             /* of one instruction */
	uint64_t x87_masks, x87_t0;   /* x87.c */
	uint64_t df_bit;              /* of RFLAGS */
	uint64_t low_32;
	uint64_t over_page; /* a count beyond what a page can hold */
	/* Of a piece (pieces.h): an address, what is wanted of it, the
	   answer. */
	uint64_t miss_va, miss_what, miss_answer;
	const void *miss_code;
	uint64_t wandering; /* a block with a probe that misses much */
	/* With windows: the page of the last #PF, with bit 0 set, or 0. */
	uint64_t faulted;
	/* What tlb.c knows of the table, where a look at it is cheap. */
	uint64_t space;         /* CR3 base | PCID it was filled under */
	uint8_t id, targets_of; /* code size and side of CPL 0 (tlb.c) */
	bool is_user;
	bool targets_global; /* all of them are global pages' */
	bool has_global;     /* a slot that is in no journal */
	uint32_t tlb_journaled, target_journaled; /* > size: lost */
	unsigned huge_count;                      /* > TLB_HUGE: lost */
	/* The page that each probe in translated code found last: a tag, or
	   site_none, and then the addend that leads nowhere; and which pages
	   are in there, by site_page_bits. */
	uint64_t site_none, site_nowhere, site_page_bits;
	uint64_t site_tag[SITES], site_addend[SITES];
	uint64_t site_left[SITES]; /* misses until somebody looks at it */
	uint8_t site_page[SITE_PAGES];

	uint64_t read[TLB_SIZE], write[TLB_SIZE], exec[TLB_SIZE];
	uint64_t addend[TLB_SIZE];
	struct target target[TARGET_SIZE];

	uint8_t slot[TLB_SIZE]; /* tlb.c: journaled, global */
	uint16_t tlb_journal[TLB_JOURNAL];
	uint32_t target_journal[TARGET_JOURNAL];
	/* Hashed sets of pieces of memory. 4 KiB: with code that is jumped to;
	   4 MiB: the same; with pages over 4 KiB. */
	uint64_t target_page[1 << (PAGE_SET_BITS - 6)];
	uint64_t target_region[1 << (REGION_SET_BITS - 6)];
	uint64_t large_region[1 << (REGION_SET_BITS - 6)];
	uint64_t huge[TLB_HUGE]; /* 1 GiB pages */

	/* What leads to where an access found its window last, and the address
	   of those 4 GiB, negated. */
	uint64_t guess_tag[GUESSES], guess_addend[GUESSES];
	uint64_t guess_left[GUESSES]; /* as site_left */
	struct window *pages; /* what is in the windows; NULL: none yet */
	/* Translated code goes by them; or kicks, since the table was emptied,
	   that found the program running. */
	bool has_windows;
	unsigned kicks;
	uint64_t pad[2];
	/* What leads from an address to its window: at the end of a page. */
	uint64_t window[WINDOW_PLACES];
};

/* The lower 6 bits of its address count how far SHRX shifts. */
_Static_assert((0 - sizeof(struct tlb)) % 64 == WINDOW_SHIFT, "pad");
_Static_assert((WINDOW_SHIFT + offsetof(struct tlb, target)) % 16 == 0,
	       "none in two of the host's cache lines");
_Static_assert(offsetof(struct tlb, gs_base) < 128, "a byte's distance");

#define TLB_USER_TABLES 8
#define TLB_TABLES      (3 + TLB_USER_TABLES)

/* Which TLB entries make a guest page writable: tlb.c. */
struct writers {
	uint32_t by[2];
};

enum access { ACCESS_READ, ACCESS_WRITE, ACCESS_EXEC };

/* -- blocks --------------------------------------------------------------- */

/*
 * A run of instructions from one page, entered at its first. insn[0] is the
 * block's head, a pseudo-instruction that looks for kicks and counts; the
 * last insn ends the block.
 */
#define BLOCK_MAX 64 /* instructions, without head and tail */

/* cpu.mode_key: in the bits of a block's key above its gpa. */
#define MODE_KEY_SHIFT   56
/* The size of code, twice, and whether it is for CPL 1 to 3; 64-bit at CPL 0.
 */
#define MODE_KEY_CODE    (31ull << MODE_KEY_SHIFT)
#define MODE_KEY_KERNEL  (16ull << MODE_KEY_SHIFT)
/* An offset in CS, DS, ES and SS is a linear address: 64-bit code, or 32-bit
   code whose segments are all of 4 GiB. Only that is translated. */
#define MODE_KEY_FLAT    (1ull << 62)
/* The table's program gets to its memory by windows (window.h). */
#define MODE_KEY_WINDOWS (1ull << 63)

struct block {
	uint64_t key; /* gpa | cpu.mode_key */
	uint64_t va;  /* block_va(): it is for its page there */
	struct block *page_next;
	const struct insn *link[2]; /* successor's head: taken, fall through */
	uint16_t count;             /* guest instructions */
	uint16_t bytes;
	uint32_t hops; /* jumps of other pages to it (hop.h) */
	uint16_t heat; /* runs in tier 0, up to jit.hot */
	bool is_hot;   /* takes much of the time */
	/* Translated: the entry by an address, and that from its page. */
	const void *code, *near;
	uint32_t second;    /* of an instruction in two pages: the number of
			       the other one plus 1; else 0 */
	uint64_t by_tlb;    /* bit n: what insn[1 + n] accesses is often in no
			       window */
	struct insn insn[]; /* count + 2 */
};

/* Where the other page of an instruction in two is. */
static inline uint64_t block_second(const struct block *b)
{
	return (b->second - 1ull) << 12;
}

struct jump_entry {
	uint64_t rip;
	uint64_t tag; /* cpu.jump_tag when it was made */
	const struct insn *head;
	uint64_t rip_base; /* REG_RIPBASE of the block there */
};
#define JUMP_BITS 12
#define JUMP_SIZE (1u << JUMP_BITS)

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

struct simd_row;    /* simd.h */
struct translation; /* tlb.h */

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
	struct jump_entry *jump; /* JUMP_SIZE */
	struct segment seg[SEG_COUNT];
	uint64_t mode_key; /* what a block depends on besides its bytes */
	uint64_t live_tag; /* changes with address space, mode, code */
	uint64_t tag_count;
	uint64_t epochs;               /* handed out (target.c) */
	const struct insn **link_from; /* to be linked to the next block */

	/* Vector state: live in host registers, or in xsave. */
	bool vec_live;
	uint8_t vec_blocked; /* enum vec_block */

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

/*
 * Why a vector or x87 instruction cannot just run now. vec_mode_changed()
 * finds out; what each needs is in its insn.ext.
 */
enum vec_block {
	VEC_X87 = 1 << 0, /* #NM */
	VEC_MMX = 1 << 1, /* #UD or #NM, as the next two */
	VEC_SSE = 1 << 2,
	VEC_AVX = 1 << 3,
	VEC_AVX512 = 1 << 4, /* #UD or #NM: EVEX prefixes and opmasks */
	VEC_DEAD = 1 << 5,   /* !vec_live: vec_enter first */
	VEC_XM = 1 << 6,     /* MXCSR unmasks an exception: run with care */
	VEC_MF = 1 << 7,     /* so does the x87 control word: look first */
};

/* What is being watched for writes of the host's; 0 bytes: nothing. */
#define WATCHED 3
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

/* What a guest's vCPUs do to each other in its memory is no race of ours. */
#if defined(__has_attribute) && __has_attribute(no_sanitize)
#define RACES_ALLOWED __attribute__((no_sanitize("thread")))
#else
#define RACES_ALLOWED
#endif

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

/* rep movsb: no vector registers. */
static inline void copy_bytes(void *to, const void *from, size_t len)
{
	__asm__ volatile("rep movsb"
			 : "+D"(to), "+S"(from), "+c"(len)
			 :
			 : "memory");
}

typedef uint64_t unaligned_64 __attribute__((aligned(1), may_alias));
typedef uint32_t unaligned_32 __attribute__((aligned(1), may_alias));

/* At most 16: rep movsb begins late, and what it wrote is not forwarded. */
RACES_ALLOWED static inline void copy_few(void *to, const void *from,
					  unsigned len)
{
	uint8_t *t = to;
	const uint8_t *f = from;

	if (len >= 8) {
		uint64_t first = *(const unaligned_64 *)f;
		uint64_t last = *(const unaligned_64 *)(f + len - 8);

		*(unaligned_64 *)t = first;
		*(unaligned_64 *)(t + len - 8) = last;
	} else if (len >= 4) {
		uint32_t first = *(const unaligned_32 *)f;
		uint32_t last = *(const unaligned_32 *)(f + len - 4);

		*(unaligned_32 *)t = first;
		*(unaligned_32 *)(t + len - 4) = last;
	} else {
		for (unsigned n = 0; n < len; n++)
			t[n] = f[n];
	}
}

static inline void zero_bytes(void *to, size_t len)
{
	__asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(0) : "memory");
}

static inline void fill_words(uint64_t *to, uint64_t value, size_t count)
{
	__asm__ volatile("rep stosq"
			 : "+D"(to), "+c"(count)
			 : "a"(value)
			 : "memory");
}

/* -- leaving an instruction early (run.c) ------------------------------------
 */

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
/* Ends the block after i, or (leave_at) before it, to the main loop. */
const struct insn *end_block(struct cpu *c, const struct insn *i);
const struct insn *leave_at(struct cpu *c, const struct insn *i);

/*
 * What is not RAM: the room's devices, or an exit to the process. The
 * instruction runs alone, so that it can be run again with the answer.
 */
uint64_t device_read(struct cpu *c, const struct insn *i, uint64_t gva,
		     uint64_t gpa, unsigned bytes);
void device_write(struct cpu *c, const struct insn *i, uint64_t gva,
		  uint64_t gpa, unsigned bytes, uint64_t value);
uint32_t port_in(struct cpu *c, const struct insn *i, uint16_t port,
		 unsigned bytes);
void port_out(struct cpu *c, const struct insn *i, uint16_t port,
	      unsigned bytes, uint32_t value);

/* -- block*.c, smc.c ------------------------------------------------------ */

int blocks_create(struct cpu *c);
void blocks_destroy(struct cpu *c);
/* All blocks are void. Only from the main loop. */
void blocks_flush(struct cpu *c);
/* Those of a guest page; one that runs ends after its instruction. */
void blocks_drop_page(struct cpu *c, uint64_t gpa);
/* jump[] is void: address space or mode changed, or code went away. */
void jump_flush(struct cpu *c);
void live_tag_update(struct cpu *c); /* CPL or mode_key changed */
void blocks_drop_all(struct cpu *c);
/* Puts rip on i, and takes back what the block's head counted from there. */
void block_unwind(struct cpu *c, const struct insn *i);
/*
 * The head of the block at c->rip, with REG_RIPBASE set; NULL when its first
 * instruction must run alone (page crossing in 32-bit code, limit). May raise.
 */
const struct insn *block_find(struct cpu *c);
/* The one instruction at c->rip, decoded into c's scratch block. */
const struct insn *block_alone(struct cpu *c);
/* i in the scratch block, whose end is block_single_end(). */
struct insn *block_single(struct cpu *c, const struct insn *i);
/*
 * Blocks of a program with windows, and of a 64-bit kernel, are for one linear
 * address, so that where they are is a constant: its page's, plus 1. Others are
 * for all: 0.
 */
static inline uint64_t block_va(const struct cpu *c, uint64_t va)
{
	bool is_fixed = c->mode_key & MODE_KEY_WINDOWS ||
			(c->mode_key & MODE_KEY_CODE) == MODE_KEY_KERNEL;

	return is_fixed ? (va & ~0xfffull) + 1 : 0;
}
/* REG_RIPBASE in a block that is for one address; else it is as said. */
static inline uint64_t block_base(const struct block *b, uint64_t otherwise)
{
	return b->va != 0 ? b->va - 1 : otherwise;
}
/* Its upper bits are the good ones. */
static inline uint64_t block_hash(uint64_t key, uint64_t va)
{
	key += va << 8;
	return (key ^ key >> 12 ^ key >> 56) * 0x9e3779b97f4a7c15ull;
}
/* The block with that key for that block_va(), or NULL. */
const struct block *block_lookup(const struct cpu *c, uint64_t key,
				 uint64_t va);
/* Does it wait for its translation, or another one? */
bool block_is_warm(const struct block *b);
/* From now on it is entered by its translation. */
void block_is_translated(struct block *b);
/* Those around gpa take much of the time. */
void blocks_found_hot(struct cpu *c, uint64_t gpa);
/* That of instruction i, which is in the arena. */
const struct block *block_of(const struct insn *i);
/* What i, of b, is in memory now: its bytes and no more. */
void block_bytes(const struct cpu *c, const struct block *b,
		 const struct insn *i, uint8_t bytes[15]);
/* Is the scratch block being run? */
bool block_is_scratch(const struct cpu *c);
/* Was the block of instruction i dropped? */
bool block_is_dead(const struct insn *i);

int smc_create(struct cpu *c);
void smc_destroy(struct cpu *c);
/* Before c decodes from the page: makes it read-only in every vCPU's TLB,
   and returns when each has acknowledged. */
void smc_protect(struct cpu *c, uint64_t gpa);
/* May c get a writable TLB entry for the page? Records that it has one. */
bool smc_may_write(struct cpu *c, uint64_t gpa);
/* After a store by c to RAM outside the TLB's fast path: drops the page's
   blocks, of all vCPUs, if it hit code. */
void smc_stored(struct cpu *c, uint64_t gpa, unsigned len);
void smc_drop_page(struct cpu *c, uint64_t gpa);
/* The same for host-side writers, c is none of the vCPUs. */
void smc_host_wrote(struct soft_vm *svm, uint64_t gpa, uint64_t len);
/* Serves what other threads asked of c. */
void smc_serve(struct cpu *c);
/* c's TLB and blocks are in use from enter to leave. */
void smc_enter_guest(struct cpu *c);
void smc_leave_guest(struct cpu *c);

/* -- decode.c
 * ------------------------------------------------------------------ */

/*
 * Decodes one instruction from bytes (avail of them, at most 15) in the code
 * size c->code_size. Fills insn (exec included, off not) and dec. Returns its
 * length; an undefined one has an exec that raises #UD. -EAGAIN: it needs
 * more than avail bytes (page end); -E2BIG: over 15 bytes (#GP).
 * REG_RIPBASE-relative fields (disp of RIP-relative operands, imm of
 * branches) have `off`, the instruction's page offset, added.
 */
int decode(struct cpu *c, const uint8_t *bytes, unsigned avail, unsigned off,
	   struct insn *i, struct dec *d);
extern const struct opcode opcode_table[];
extern const unsigned opcode_count;
#define OP_NONE_ROW 0xffff /* insn.op of vector and undefined instructions */
struct opcode_index *opcode_index_create(void); /* free() it */

/* -- mmu.c, tlb.c
 * ---------------------------------------------------------------- */

/*
 * Translates va for an access at the current privilege, sets A/D, fills the
 * TLB where it may; raises #PF (or #GP, #SS: non-canonical) at i. Returns the
 * gpa, which need not be RAM. _as: as the supervisor, whatever CPL is.
 */
uint64_t mmu_translate(struct cpu *c, const struct insn *i, uint64_t va,
		       enum access access);
uint64_t mmu_translate_as(struct cpu *c, const struct insn *i, uint64_t va,
			  enum access access, bool as_supervisor);
/* The same for translated code, which raises nothing. True: it is in t, which
   is current, for that access now. */
bool mmu_refill(struct cpu *c, struct tlb *t, uint64_t va, enum access access,
		struct translation *tr);
int tlbs_create(struct cpu *c);
void tlbs_destroy(struct cpu *c);
/* Chooses c->tlb after CPL, CR0, CR3, CR4, EFER or AC changed. */
void mmu_mode_changed(struct cpu *c);
/* CR3 was loaded; keep: bit 63, its PCID's entries stay. */
void mmu_cr3_written(struct cpu *c, uint64_t value, bool keep);
void mmu_flush_all(struct cpu *c);
void mmu_flush_page(struct cpu *c, uint64_t va);
/* Those of one PCID (INVPCID), and of a page in it. */
void mmu_flush_pcid(struct cpu *c, unsigned pcid);
/* Loads PDPTEs of PAE paging; false: #GP. */
bool mmu_load_pdptes(struct cpu *c, uint64_t cr3);
/* From any thread: c goes back to its main loop soon. It takes that back by
   cpu_unkick(), before it looks at what was asked. */
void cpu_kick(struct cpu *c);
bool cpu_unkick(struct cpu *c);
/* A kick that was served before it was through with the tables may leave some
   of them without go. */
void cpu_calm(struct cpu *c);

/* This vCPU's writable entries for a guest page become read-only. */
void tlb_protect_page(struct cpu *c, uint64_t gpa);
void tlb_protect_all(struct cpu *c);

/* Slow sides of access.h, and system accesses (as supervisor). */
uint64_t load_slow(struct cpu *c, const struct insn *i, uint64_t va,
		   unsigned len);
void store_slow(struct cpu *c, const struct insn *i, uint64_t va,
		uint64_t value, unsigned len);
void *operand_slow(struct cpu *c, const struct insn *i, uint64_t va,
		   unsigned len, enum access access);
void operand_end_slow(struct cpu *c, const struct insn *i);
uint64_t system_load(struct cpu *c, const struct insn *i, uint64_t va,
		     unsigned len);
void system_store(struct cpu *c, const struct insn *i, uint64_t va,
		  uint64_t value, unsigned len);
/* Address size, segment base, limit and type checks: the linear address. */
uint64_t ea_slow(struct cpu *c, const struct insn *i, uint64_t offset,
		 unsigned len, enum access access);
/* The same for an explicit segment (stack, strings), offset already cut to
   the address size. Cheap in 64-bit mode. */
uint64_t seg_linear(struct cpu *c, const struct insn *i, enum seg_index seg,
		    uint64_t offset, unsigned len, enum access access);
/* Any 4 GiB from its base may be read and written in it. */
bool segment_is_open(const struct segment *s);

/* -- exc.c, seg.c, sys.c, state.c
 * ---------------------------------------------------- */

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

/* -- native.c, vec.c
 * --------------------------------------------------------------- */

int native_create(struct cpu *c);
void native_destroy(struct cpu *c);
/*
 * Completes a decoded vector or x87 instruction, whose row is simd_find()'s:
 * sets i->exec and what that needs (imm: the stub; a, b, c, ext, lsize, and
 * base and index where the row has a memory operand of its own kind; i->seg
 * and INSN_EA_SLOW are wanted as if DS:[rDI] were an operand of MASKMOVQ).
 * -EINVAL: not one that we can run (#UD). -ENOSPC: no room for a stub; drop
 * all blocks (blocks_flush) and those being made, native_flush, decode again.
 */
int native_bind(struct cpu *c, const struct simd_row *row, const struct dec *d,
		struct insn *i);
void native_flush(struct cpu *c);
/* CR0, CR4, XCR0 or the image c->xsave changed: vec_blocked again. */
void vec_mode_changed(struct cpu *c);
void vec_enter_slow(struct cpu *c);

/* Guest vector state into the host's registers. */
static inline void vec_enter(struct cpu *c)
{
	if (unlikely(!c->vec_live))
		vec_enter_slow(c);
}

#endif
