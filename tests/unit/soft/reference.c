// SPDX-License-Identifier: BSD-2-Clause
/* Running one instruction on the host between XRSTOR and XSAVE. */
#include "reference.h"

#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "trap.h"
#include "x86/cr.h"

#define CODE_BYTES 4096u

/* reference_asm(r, code, rfbm) */
void reference_asm(struct reference *r, const uint8_t *code, uint64_t rfbm);
__asm__(".text\n"
	".type reference_asm, @function\n"
	"reference_asm:\n"
	"push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"mov %rdx, %rax; shr $32, %rdx\n"
	"xrstor64 (%rdi)\n"
	"push %rdx; push %rax; push %rdi; push %rsi\n"
	"lea 4096(%rdi), %rax\n"
	"push 128(%rax); popfq\n"
	"mov 8(%rax), %rcx; mov 16(%rax), %rdx; mov 24(%rax), %rbx\n"
	"mov 40(%rax), %rbp; mov 48(%rax), %rsi; mov 56(%rax), %rdi\n"
	"mov 64(%rax), %r8; mov 72(%rax), %r9; mov 80(%rax), %r10\n"
	"mov 88(%rax), %r11; mov 96(%rax), %r12; mov 104(%rax), %r13\n"
	"mov 112(%rax), %r14; mov 120(%rax), %r15; mov (%rax), %rax\n"
	"call *(%rsp)\n"
	"push %rax\n"
	"mov 16(%rsp), %rax; lea 4096(%rax), %rax\n"
	"mov %rcx, 8(%rax); mov %rdx, 16(%rax); mov %rbx, 24(%rax)\n"
	"mov %rbp, 40(%rax); mov %rsi, 48(%rax); mov %rdi, 56(%rax)\n"
	"mov %r8, 64(%rax); mov %r9, 72(%rax); mov %r10, 80(%rax)\n"
	"mov %r11, 88(%rax); mov %r12, 96(%rax); mov %r13, 104(%rax)\n"
	"mov %r14, 112(%rax); mov %r15, 120(%rax)\n"
	"pushfq; pop 128(%rax)\n"
	"pop (%rax)\n"
	"pop %rsi; pop %rdi; pop %rax; pop %rdx\n"
	"movq $0, 512(%rdi); movq $0, 520(%rdi)\n"
	"xsave64 (%rdi)\n"
	"fninit\n"
	"push $0x1f80; ldmxcsr (%rsp); pop %rax\n"
	"pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"ret\n");
_Static_assert(offsetof(struct reference, gpr) == 4096, "reference_asm");
_Static_assert(offsetof(struct reference, rflags) == 4096 + 128,
	       "reference_asm");

/* The one that runs now, for the signal handler. */
static struct {
	struct reference *r;
	uint64_t rfbm;
	sigjmp_buf escape;
} now;

/* Of the signal's frame (asm/sigcontext.h, struct _fpx_sw_bytes). */
static uint32_t xstate_size(const uint8_t *fp)
{
	uint32_t size;

	memcpy(&size, fp + 464 + 16, sizeof(size));
	return size;
}

static void on_trap(const struct trap *trap)
{
	struct reference *r = now.r;

	if (!r)
		abort();
	memcpy(r->gpr, trap->gpr, sizeof(r->gpr));
	r->rflags = trap->rflags;
	r->vector = trap->vector;
	r->cr2 = trap->cr2;
	memcpy(&r->image, trap->fp,
	       now.rfbm & XCR0_AVX
		   ? MIN(xstate_size(trap->fp), sizeof(r->image))
		   : 576);
	siglongjmp(now.escape, 1);
}

uint8_t *reference_create(void)
{
	uint8_t *code =
	    mmap(NULL, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
		 MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (code == MAP_FAILED)
		abort();
	return code;
}

void reference_arm(bool armed)
{
	trap_install(armed ? on_trap : NULL);
}

void reference_destroy(uint8_t *code)
{
	munmap(code, CODE_BYTES);
}

void reference_run(struct reference *r, uint8_t *code, unsigned len,
		   uint64_t rfbm)
{
	code[len] = 0xc3;
	r->vector = -1;
	now.r = r;
	now.rfbm = rfbm;
	if (sigsetjmp(now.escape, 1) == 0)
		reference_asm(r, code, rfbm);
	now.r = NULL;
}

static void normalize_x87(struct xsave_image *x)
{
	x->fcw = FCW_RESET;
	x->fsw = 0;
	x->ftw = 0;
	memset(x->st, 0, sizeof(x->st));
}

void image_normalize(struct xsave_image *x, const struct native *n)
{
	if (!(x->xstate_bv & XCR0_X87))
		normalize_x87(x);
	if (!(x->xstate_bv & XCR0_SSE))
		memset(x->xmm, 0, sizeof(x->xmm));
	for (unsigned k = 2; k < VEC_COMPONENTS; k++)
		if (n->rfbm & BIT(k) && !(x->xstate_bv & BIT(k)))
			memset((uint8_t *)x + n->component[k].offset, 0,
			       n->component[k].size);
	for (unsigned k = 0; k < 8; k++)
		memset(x->st[k] + 10, 0, 6);
	x->fip = x->fdp = x->fop = 0;
	x->pad0 = 0;
	x->mxcsr_mask = 0;
	memset(x->unused, 0, sizeof(x->unused));
	memset(&x->xstate_bv, 0, XSAVE_HEADER);
}
