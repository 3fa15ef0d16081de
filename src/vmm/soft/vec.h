/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest x87 and vector state: what native.c, vec.c, fpu.c, xsave.c and
 * masked.c share.
 *
 * At rest the state is the XSAVE image c->xsave, standard format, as the
 * guest would save it, FIP, FDP and FOP included. While it is live
 * (c->vec_live), it is in the host's registers, except for
 * - FIP, FDP, FOP: c->fpu_ip, fpu_dp, fpu_opcode;
 * - the mask bits of MXCSR: native->mxcsr_masks. The host's are all set, so
 *   that a SIMD exception never is a SIGFPE. The x87 control word is the
 *   guest's, masks included: x87 exceptions are raised by the next waiting
 *   instruction, and none is run while one is pending.
 */
#ifndef SOFT_VEC_H
#define SOFT_VEC_H

#include "vmm/soft/access.h"
#include "vmm/soft/codemem.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/simd.h"

#define MXCSR_FLAGS  0x003fu
#define MXCSR_BEFORE 0x0007u /* IE, DE, ZE: found before the operation */
#define MXCSR_OE     0x0008u
#define MXCSR_PE     0x0020u
#define MXCSR_UE     0x0010u
#define MXCSR_IM     0x0080u /* the first of the masks, in the flags' order */
#define MXCSR_MASKS  0x1f80u
#define MXCSR_UM     0x0800u
#define MXCSR_FZ     0x8000u
#define MXCSR_MM     0x20000u /* AMD: misaligned operands are allowed */
#define MXCSR_RESET  0x1f80u

#define FSW_ES    0x0080u
#define FSW_TOP   0x3800u
#define FSW_B     0x8000u
#define FCW_RESET 0x037fu
#define FPU_EXC   0x003fu

/* The XSAVE image (SDM vol. 1, 13.4). */
struct xsave_image {
	uint16_t fcw, fsw;
	uint8_t ftw, pad0;
	uint16_t fop;
	uint64_t fip, fdp;
	uint32_t mxcsr, mxcsr_mask;
	uint8_t st[8][16];
	uint8_t xmm[16][16];
	uint8_t unused[96];
	uint64_t xstate_bv, xcomp_bv;
	uint64_t reserved[6];
	uint8_t extended[VCPU_XSAVE_SIZE - 576];
};

#define XSAVE_LEGACY   512u
#define XSAVE_HEADER   64u
#define XCOMP_COMPACT  (1ull << 63)
#define VEC_COMPONENTS 8 /* x87 .. ZMM16-31: bits 0 to 7 of XCR0 */

/* One component of the XSAVE image beyond the legacy region, by CPUID 0DH. */
struct vec_component {
	uint16_t offset, size;
	bool align64; /* in the compacted format */
};

#define STUB_SLOT   32u /* stubs begin at a multiple */
#define STUB_MAX    160u
#define STUB_MEMORY (2048u * 1024)
#define STUB_HASH   (2 * STUB_MEMORY / STUB_SLOT)

struct native {
	/* Room for two images; the bounce of a store that misses the TLB. */
	uint8_t scratch[2][VCPU_XSAVE_SIZE] __attribute__((aligned(64)));
	uint8_t buffer[64] __attribute__((aligned(64)));

	uint64_t rfbm;        /* components the guest can have; 0: no XSAVE */
	uint32_t mxcsr_valid; /* MXCSR bits that exist */
	uint32_t mxcsr_masks; /* the guest's mask bits, while live */
	/* VREDUCE and the like flush to zero even with UM clear, as Intel's. */
	bool flushes_unmasked;
	struct vec_component component[VEC_COMPONENTS];

	struct codemem code;
	uint32_t *hash; /* STUB_HASH of: first slot plus one, 0 none */
};

/* -- vec.c ---------------------------------------------------------------- */

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

/* CR0, CR4, XCR0 or the image c->xsave changed: vec_blocked again. */
void vec_mode_changed(struct cpu *c);
void vec_enter_slow(struct cpu *c);

/* Guest vector state into the host's registers. */
static inline void vec_enter(struct cpu *c)
{
	if (unlikely(!c->vec_live))
		vec_enter_slow(c);
}

/* Raises what the bits of vec_blocked say (enum vec_block), #UD or #NM. */
_Noreturn void vec_fault(struct cpu *c, const struct insn *i, unsigned blocked);

/*
 * For an instruction whose need (enum vec_block) is partly blocked: raises
 * #UD, #NM, or the #MF that is pending. Returns when it may run, which with
 * VEC_XM among blocked must be by the careful way.
 */
void vec_check(struct cpu *c, const struct insn *i, unsigned need);

static inline void vec_need(struct cpu *c, const struct insn *i, unsigned need)
{
	if (unlikely(c->vec_blocked & need))
		vec_check(c, i, need);
}

/*
 * Before what may raise or leave the loop while the state is live: a
 * sanitizer's runtime has its own use for vector registers there.
 */
static inline void vec_rest(struct cpu *c)
{
	if (SOFT_EAGER_LEAVE)
		vec_leave(c);
}

/* Guest MXCSR while live; the setter takes only valid bits. */
uint32_t vec_mxcsr(struct cpu *c);
void vec_set_mxcsr(struct cpu *c, uint32_t mxcsr);
/*
 * Around an instruction that saves or restores MXCSR: the guest's value in
 * the host's register, masks and all. Nothing else runs meanwhile.
 */
void vec_show_mxcsr(struct cpu *c);
void vec_hide_mxcsr(struct cpu *c);
/* The x87 control word may have changed: VEC_MF again (while live). */
void vec_fcw_changed(struct cpu *c);

static inline uint32_t host_mxcsr(void)
{
	uint32_t value;

	__asm__ volatile("stmxcsr %0" : "=m"(value));
	return value;
}

static inline void host_set_mxcsr(uint32_t value)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(value));
}

static inline uint16_t host_fsw(void)
{
	uint16_t value;

	__asm__ volatile("fnstsw %0" : "=a"(value));
	return value;
}

static inline uint16_t host_fcw(void)
{
	uint16_t value;

	__asm__ volatile("fnstcw %0" : "=m"(value));
	return value;
}

/* The host's registers to and from an image; all that the guest can have. */
void vec_save(struct cpu *c, void *image);
void vec_restore(struct cpu *c, const void *image);
/* Makes an image from elsewhere fit to be restored (but not FIP, FDP, FOP). */
void vec_sanitize(struct cpu *c, struct xsave_image *x);
/* ES and B follow from the flags and masks: no #MF that we do not foresee. */
void vec_sanitize_fsw(struct xsave_image *x);

/* -- native.c ------------------------------------------------------------- */

/* Calls a stub that returns (masked.c): mem in RCX, what it leaves in RAX. */
static inline uint64_t stub_call(int64_t stub, void *mem)
{
	uint64_t rax;

	__asm__ volatile("call *%[stub]"
			 : "=a"(rax), "+c"(mem)
			 : [stub] "rm"(stub)
			 : "cc", "memory");
	return rax;
}

/* A store of len bytes from native->buffer, whose pages are checked. */
void vec_store_buffer(struct cpu *c, const struct insn *i, uint64_t va,
		      unsigned len);

/*
 * Where the second entry of a stub is: masked moves find their mask there,
 * gathers write back.
 */
#define STUB_MASK 16
#define STUB_FILL 32

/* -- functions of rows (opcodes_simd.def) ------------------------------------
 */

const struct insn *exec_ldmxcsr(struct cpu *c, const struct insn *i);
const struct insn *exec_stmxcsr(struct cpu *c, const struct insn *i);

/* One element of i's memory operand, moved by distance; 1 << lsize bytes. */
struct insn vec_element(const struct insn *i, int64_t distance);
void vec_load_element(struct cpu *c, const struct insn *i, int64_t distance,
		      unsigned lsize, void *to);
void vec_store_element(struct cpu *c, const struct insn *i, int64_t distance,
		       unsigned lsize, const void *from);
/* Faults when an element of the mask may not be written. */
void vec_check_elements(struct cpu *c, const struct insn *i, uint64_t mask,
			unsigned lsize);

/* masked.c; bind does nothing for other rows that have an exec. */
int masked_bind(struct cpu *c, const struct simd_row *row, const struct dec *d,
		struct insn *i);
const struct insn *exec_maskmov(struct cpu *c, const struct insn *i);
const struct insn *exec_maskload(struct cpu *c, const struct insn *i);
const struct insn *exec_maskstore(struct cpu *c, const struct insn *i);
const struct insn *exec_gather(struct cpu *c, const struct insn *i);

/* opmask.c, likewise */
int opmask_bind(struct cpu *c, const struct simd_row *row, const struct dec *d,
		struct insn *i);
const struct insn *exec_gather_k(struct cpu *c, const struct insn *i);
const struct insn *exec_scatter_k(struct cpu *c, const struct insn *i);

/* fpu.c */
const struct insn *exec_wait(struct cpu *c, const struct insn *i);
const struct insn *exec_fldcw(struct cpu *c, const struct insn *i);
const struct insn *exec_fnstcw(struct cpu *c, const struct insn *i);
const struct insn *exec_fnstsw(struct cpu *c, const struct insn *i);
const struct insn *exec_fnstsw_ax(struct cpu *c, const struct insn *i);
const struct insn *exec_fnclex(struct cpu *c, const struct insn *i);
const struct insn *exec_fninit(struct cpu *c, const struct insn *i);
const struct insn *exec_fldenv(struct cpu *c, const struct insn *i);
const struct insn *exec_fnstenv(struct cpu *c, const struct insn *i);
const struct insn *exec_frstor(struct cpu *c, const struct insn *i);
const struct insn *exec_fnsave(struct cpu *c, const struct insn *i);

/* xsave.c */
const struct insn *exec_fxsave(struct cpu *c, const struct insn *i);
const struct insn *exec_fxrstor(struct cpu *c, const struct insn *i);
const struct insn *exec_xsave(struct cpu *c, const struct insn *i);
const struct insn *exec_xsavec(struct cpu *c, const struct insn *i);
const struct insn *exec_xsaves(struct cpu *c, const struct insn *i);
const struct insn *exec_xrstor(struct cpu *c, const struct insn *i);
const struct insn *exec_xrstors(struct cpu *c, const struct insn *i);

#endif
