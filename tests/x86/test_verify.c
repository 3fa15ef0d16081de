// SPDX-License-Identifier: BSD-2-Clause
/*
 * soft.jit=verify finds translated code that is wrong, and names it: the code
 * cache is tampered with behind its back.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "generate.h"
#include "guest.h"
#include "vmm/clock.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/vec.h"
#include "x86/cr.h"

/* How its code gets to memory, and at what CPL. */
enum where { USER, BY_WINDOW, KERNEL };

/* An operand there is in two pages, and so is a word below that stack. */
#define TWO_PAGES (TEST_DATA + 0x1000 - 3)
#define STACK     (TEST_STACK + 0x800)
#define STACK_END (TEST_STACK + 0x1000 + 4)

/* Turns of a loop that is to read the time, and where the engine draws a line
   over it meanwhile. */
#define TIMES 20000

static const struct wrong {
	const char *name;
	const char *text, *differ;
	uint8_t guest[12], len;     /* the code, after a NOP; HLT ends it */
	uint8_t from[8], to[8], at; /* in its translation: at bytes */
	enum where where;
	uint64_t rcx, rsp, rdi;
	uint64_t rflags; /* of the last run */
	uint64_t leads;  /* where a word is that leads to the HLT */
} wrongs[] = {
    {"a register",
     "add rbx, rax",
     "what it does",
     {0x48, 0x01, 0xc3}, /* add, sub */
     3,
     {0x48, 0x01, 0xc3},
     {0x48, 0x29, 0xc3},
     3},
    {"a register that it does not name",
     "add rbx, rax",
     "what registers it may write to",
     {0x48, 0x01, 0xc3}, /* to RBP */
     3,
     {0x48, 0x01, 0xc3},
     {0x48, 0x01, 0xc5},
     3},
    {"the flags only",
     "cmp rbx, rax",
     "what it does",
     {0x48, 0x39, 0xc3}, /* cmp, the other way round */
     3,
     {0x48, 0x39, 0xc3},
     {0x48, 0x39, 0xd8},
     3},
    {"memory",
     "not byte ptr [rdi]",
     "what it does",
     {0xf6, 0x17}, /* not, neg */
     2,
     {0xf6, 0x14},
     {0xf6, 0x1c},
     2},
    {"a vector",
     "pcmpeqd xmm1, xmm2",
     "what it does",
     {0x66, 0x0f, 0x76, 0xca}, /* pcmpeqd, pcmpgtd */
     4,
     {0x66, 0x0f, 0x76, 0xca},
     {0x66, 0x0f, 0x66, 0xca},
     4},
    {"where it goes",
     "jnz 0x",
     "where it goes",
     {0x75, 0x10}, /* jne, je */
     2,
     {0x0f, 0x85},
     {0x0f, 0x84},
     2},
    {"what a string writes",
     "rep stosd",
     "what it does",
     {0xf3, 0xab},
     2,
     /* mov rcx, r14; rep stosd; mov r14, rcx */
     {0x49, 0x8b, 0xce, 0xf3, 0xab, 0x4c, 0x8b, 0xf1},
     /* lea rdi, [rdi + r14 * 4]; push 0; pop r14: nothing is written */
     {0x4a, 0x8d, 0x3c, 0xb7, 0x6a, 0x00, 0x41, 0x5e},
     8,
     .rcx = 20},
    {"what is written beside a string",
     "rep stosd",
     "what it does",
     {0xf3, 0xab},
     2,
     /* what leads back, by 0: not r15; lea rdi, [rdi + r15 + 1] */
     {0x49, 0xf7, 0xd7, 0x4a, 0x8d, 0x7c, 0x3f, 0x01},
     {0x88, 0x07, 0x66, 0x0f, 0x1f, 0x44, 0x00, 0x00}, /* mov [rdi], al */
     8,
     .rcx = 20},
    {"how far a string goes",
     "rep movsd",
     "what it does",
     {0xf3, 0xa5}, /* movsd, movsb */
     2,
     {0xf3, 0xa5},
     {0xf3, 0xa4},
     2,
     .rcx = 20},
    {"a string downwards",
     "rep movsd",
     "which of them has to run it",
     {0xf3, 0xa5}, /* pext, pdep: DF is never seen */
     2,
     {0xc4, 0xe2, 0xf2, 0xf5, 0x8c, 0x24},
     {0xc4, 0xe2, 0xf3, 0xf5, 0x8c, 0x24},
     6,
     .rcx = 20,
     .rflags = RFLAGS_DF},
    {"the time, in more bits than it has",
     "rdtsc",
     "what it does",
     {0x0f, 0x31, 0xff, 0xc9, 0x75, 0xf9, 0x0f, 0x0b}, /* dec ecx; jnz; ud2 */
     8,
     {0x8b, 0xd2}, /* mov edx, edx; nop */
     {0x66, 0x90},
     2,
     KERNEL,
     TIMES},
    {"the time",
     "rdtsc",
     "what it does",
     {0x0f, 0x31, 0xff, 0xc9, 0x75, 0xf9, 0x0f, 0x0b},
     8,
     {0x41, 0x8b, 0xc7}, /* mov eax, r15d; mov eax, ebx */
     {0x89, 0xd8, 0x90},
     3,
     KERNEL,
     TIMES},
    {"an operand in two pages, written",
     "add qword ptr [rdi], rax",
     "what it does",
     {0x48, 0x01, 0x07}, /* add, sub */
     3,
     {0x4a, 0x01, 0x04, 0x3f},
     {0x4a, 0x29, 0x04, 0x3f},
     4,
     BY_WINDOW,
     .rdi = TWO_PAGES},
    {"an operand in two pages, read",
     "add rbx, qword ptr [rdi]",
     "what it does",
     {0x48, 0x03, 0x1f}, /* add, sub */
     3,
     {0x4a, 0x03, 0x1c, 0x3f},
     {0x4a, 0x2b, 0x1c, 0x3f},
     4,
     BY_WINDOW,
     .rdi = TWO_PAGES},
    {"a word of the stack in two pages",
     "push rax",
     "what it does",
     {0x50}, /* rbx */
     1,
     {0x4b, 0x89, 0x44, 0x3d, 0xf8},
     {0x4b, 0x89, 0x5c, 0x3d, 0xf8},
     5,
     BY_WINDOW,
     .rsp = STACK_END},
    {"what a call writes in two pages",
     "call 0x",
     "where it goes",
     {0xe8, 0x00, 0x00, 0x00, 0x00},
     5,
     {0x4b, 0x89, 0x4c, 0x3d, 0xf8}, /* mov [r13 + r15 - 8], rcx; rdx */
     {0x4b, 0x89, 0x54, 0x3d, 0xf8},
     5,
     BY_WINDOW,
     .rsp = STACK_END},
    {"a return by a word in two pages",
     "ret",
     "where it goes",
     {0xc3},
     1,
     {0x4d, 0x8d, 0x6d, 0x08}, /* lea r13, [r13 + 8]; 16 */
     {0x4d, 0x8d, 0x6d, 0x10},
     4,
     BY_WINDOW,
     .rsp = STACK_END - 8,
     .leads = STACK_END - 8},
    {"a jump by a word in two pages",
     "jmp qword ptr [rdi]",
     "where it goes",
     {0xff, 0x27},
     2,
     {0x4e, 0x8b, 0x3c, 0x3f}, /* mov r15, [rdi + r15]; mov r15, r14 */
     {0x4d, 0x8b, 0xfe, 0x90},
     4,
     BY_WINDOW,
     .rcx = TEST_FIRST,
     .rdi = TWO_PAGES,
     .leads = TWO_PAGES},
};

static int make_memory(void)
{
	bool ok = guest_memory(TEST_BASE, 2 * MiB, PROT_READ | PROT_WRITE);

	return ok ? 0 : -1;
}

/* What a file without a name has had written to it; free() it. */
static char *text_of(int fd)
{
	long size = lseek(fd, 0, SEEK_END);
	char *text = calloc(1, (size_t)size + 1);

	if (text != NULL && pread(fd, text, (size_t)size, 0) != size)
		text[0] = '\0';
	return text;
}

/* One run with standard error in a file: its text. */
static char *run_and_listen(struct guest *g, const uint64_t gpr[16],
			    uint64_t rflags, struct outcome *out)
{
	int fd = memfd_create("stderr", 0), was = dup(2);
	char *text;

	fflush(stderr);
	dup2(fd, 2);
	guest_run(g, gpr, rflags, TEST_FIRST, out);
	fflush(stderr);
	dup2(was, 2);
	text = text_of(fd);
	close(was);
	close(fd);
	return text;
}

/* The failure ends in the instruction, and the code around it is shown. */
static bool is_named(const struct wrong *w, const char *failure,
		     const char *said)
{
	char at[128], code[128];

	snprintf(at, sizeof(at), "differ in %s, at %#x: %s", w->differ,
		 TEST_FIRST + 1, w->text);
	snprintf(code, sizeof(code), "code:\n  %x  nop\n> %x  %s", TEST_FIRST,
		 TEST_FIRST + 1, w->text);
	return failure != NULL && said != NULL && strstr(failure, at) != NULL &&
	       strstr(said, at) != NULL && strstr(said, code) != NULL;
}

static void fill_data(void)
{
	for (unsigned n = 0; n < TEST_AREA; n++)
		((uint8_t *)(uintptr_t)TEST_DATA)[n] = (uint8_t)(n * 7);
}

/* The word at va, if there is to be one, leads there. */
static void lead(uint64_t va, uint64_t there)
{
	if (va != 0)
		memcpy((void *)(uintptr_t)va, &there, sizeof(there));
}

/* One whose memory is all there, and nothing in its data but numbers. */
static struct guest *guest_at(enum where where, const uint8_t *code,
			      unsigned len)
{
	struct guest *g = guest_create_legacy(
	    GUEST_VERIFY, where == KERNEL ? &code_mode_kernel : &code_mode_64,
	    true);
	struct xsave_image vectors = {
	    .fcw = FCW_RESET, .mxcsr = MXCSR_RESET, .xstate_bv = XCR0_X87};

	if (g == NULL)
		return NULL;
	guest_set_vectors(g, &vectors);
	if (where == BY_WINDOW)
		guest_probes(g, PROBES_WINDOWS);
	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	memcpy((void *)(uintptr_t)TEST_FIRST, code, len);
	fill_data();
	return g;
}

/* What verify says of the code, before and after it is tampered with. */
static bool is_found(const struct wrong *w)
{
	uint64_t gpr[16] = {3,
			    w->rcx,
			    0,
			    5,
			    w->rsp != 0 ? w->rsp : STACK,
			    0,
			    TEST_DATA + 0x400,
			    w->rdi != 0 ? w->rdi : TEST_DATA};
	uint8_t code[1 + sizeof(w->guest)] = {0x90};
	struct outcome out;
	struct guest *g;
	bool found = false;

	memcpy(code + 1, w->guest, w->len);
	g = guest_at(w->where, code, 1u + w->len);
	if (g == NULL)
		return false;
	lead(w->leads, TEST_FIRST + 1 + w->len);
	/* The later runs find the page in the TLB, and what follows. */
	for (unsigned n = 0; n < 4; n++)
		guest_run(g, gpr, RFLAGS_ONE | (n & 1 ? RFLAGS_ZF : 0),
			  TEST_FIRST, &out);
	fill_data();
	lead(w->leads, TEST_FIRST + 1 + w->len);
	if (guest_failure(g) == NULL && guest_patch(g, w->from, w->to, w->at)) {
		char *said =
		    run_and_listen(g, gpr, RFLAGS_ONE | w->rflags, &out);

		found = is_named(w, guest_failure(g), said);
		free(said);
	}
	guest_destroy(g);
	return found;
}

/* -- what is right ----------------------------------------------------------
 */

#define TURNS 2000

/* Loops of EBX turns; in RBP is TEST_DATA + 256. */
static const struct right {
	const char *name;
	uint8_t code[40], len;
	enum where where;
	bool is_alias; /* the second page of the data is the first one */
	uint64_t turns;
	uint8_t leads; /* so far into the code, by the word at RDI */
} rights[] = {
    /* mov [rbp], bl; lea rdi, [rbp + 1]; mov rsi, rbp; mov ecx, 200;
       rep movsb; lea rdi, [rbp + 33]; mov ecx, 30; rep stosq; dec ebx; jnz */
    {"strings over themselves",
     {0x88, 0x5d, 0x00, 0x48, 0x8d, 0x7d, 0x01, 0x48, 0x89, 0xee, 0xb9,
      0xc8, 0x00, 0x00, 0x00, 0xf3, 0xa4, 0x48, 0x8d, 0x7d, 0x21, 0xb9,
      0x1e, 0x00, 0x00, 0x00, 0xf3, 0x48, 0xab, 0xff, 0xcb, 0x75, 0xdf},
     33,
     USER,
     false,
     TURNS},
    /* mov [rbp + 200], bl; mov rdi, rbp; lea rsi, [rbp + 4097]; mov ecx, 200;
       rep movsb; dec ebx; jnz */
    {"a string over itself, by another address",
     {0x88, 0x9d, 0xc8, 0x00, 0x00, 0x00, 0x48, 0x89, 0xef,
      0x48, 0x8d, 0xb5, 0x01, 0x10, 0x00, 0x00, 0xb9, 0xc8,
      0x00, 0x00, 0x00, 0xf3, 0xa4, 0xff, 0xcb, 0x75, 0xe5},
     27,
     USER,
     true,
     TURNS},
    /* add [rdi], rax; movups xmm1, [rdi - 8]; movups [rdi - 4], xmm1;
       xadd [rdi], rdx; push rax; pop rdx; dec ebx; jnz */
    {"operands in two pages",
     {0x48, 0x01, 0x07, 0x0f, 0x10, 0x4f, 0xf8, 0x0f, 0x11, 0x4f, 0xfc,
      0x48, 0x0f, 0xc1, 0x17, 0x50, 0x5a, 0xff, 0xcb, 0x75, 0xeb},
     21,
     BY_WINDOW,
     false,
     TURNS},
    /* jmp 8; 2: jmp [rdi]; 4: ret; 8: call 2; dec ebx; jnz 8 */
    {"branches by words in two pages",
     {0xeb, 0x06, 0xff, 0x27, 0xc3, 0x90, 0x90, 0x90, 0xe8, 0xf5, 0xff, 0xff,
      0xff, 0xff, 0xcb, 0x75, 0xf7},
     17,
     BY_WINDOW,
     false,
     TURNS,
     4},
    /* rdtsc; paddd xmm1, xmm2; dec ebx; jnz; ud2 */
    {"the time",
     {0x0f, 0x31, 0x66, 0x0f, 0xfe, 0xca, 0xff, 0xcb, 0x75, 0xf6, 0x0f, 0x0b},
     12,
     KERNEL,
     false,
     TIMES},
};

/* Nothing is said, and hardly anything of it was tier 0's. */
static bool is_silent(const struct right *r)
{
	uint64_t gpr[16] = {
	    3, 0, 5, r->turns, STACK_END, TEST_DATA + 0x100, 0, TWO_PAGES};
	struct guest *g = guest_at(r->where, r->code, r->len);
	uint64_t before = 0;
	struct outcome out;
	bool silent;

	if (g == NULL)
		return false;
	lead(r->leads != 0 ? TWO_PAGES : 0, TEST_FIRST + r->leads);
	if (r->is_alias)
		guest_map(g, TEST_DATA + 0x1000, TEST_DATA);
	for (unsigned n = 0; n < 5 && guest_failure(g) == NULL; n++) {
		before = guest_interpreted(g);
		guest_run(g, gpr, RFLAGS_ONE, TEST_FIRST, &out);
	}
	silent = guest_failure(g) == NULL && guest_translated(g) != 0 &&
		 guest_interpreted(g) - before < r->turns / 4;
	guest_destroy(g);
	return silent;
}

/* -- what a device writes meanwhile ---------------------------------------- */

struct device {
	struct guest *g;
	uint64_t va;
	atomic_bool stop;
};

static void *write_on(void *arg)
{
	struct device *d = arg;

	for (uint64_t value = 0; !d->stop; value++)
		guest_dma(d->g, d->va, value * 0x0101010101010101);
	return NULL;
}

/* Runs the code often while a device writes at va. */
static void run_with_device(struct guest *g, const uint64_t gpr[16],
			    uint64_t va)
{
	struct device device = {.g = g, .va = va};
	struct outcome out;
	pthread_t thread;

	if (pthread_create(&thread, NULL, write_on, &device) != 0)
		return;
	for (unsigned n = 0; n < 20 && guest_failure(g) == NULL; n++)
		guest_run(g, gpr, RFLAGS_ONE, TEST_FIRST, &out);
	device.stop = true;
	pthread_join(thread, NULL);
}

static const struct meanwhile {
	const char *name;
	uint8_t code[24], len;
	enum where where;
	uint64_t rdi, device; /* where it writes */
} meanwhiles[] = {
    /* mov rax, [rdi]; add rbx, [rdi]; cmp [rdi], rbx; vector loads; a jump by
       [rdi + 32], which always leads to the next instruction; loop */
    {"to operands",
     {0x48, 0x8b, 0x07, 0x48, 0x03, 0x1f, 0x48, 0x39, 0x1f, 0x0f, 0x10, 0x0f,
      0xff, 0x67, 0x20, 0xff, 0xc9, 0x75, 0xed},
     19,
     USER,
     TEST_DATA,
     TEST_DATA},
    /* mov rdi, rbp; lea rsi, [rbp + 4096]; mov ecx, 512; rep movsb; dec ebx;
       loop */
    {"into the page of a string",
     {0x48, 0x89, 0xef, 0x48, 0x8d, 0xb5, 0x00, 0x10, 0x00, 0x00, 0xb9,
      0x00, 0x02, 0x00, 0x00, 0xf3, 0xa4, 0xff, 0xcb, 0x75, 0xeb},
     21,
     USER,
     TEST_DATA,
     TEST_DATA + 0x800},
    {"to what a string is copied from",
     {0x48, 0x89, 0xef, 0x48, 0x8d, 0xb5, 0x00, 0x10, 0x00, 0x00, 0xb9,
      0x00, 0x02, 0x00, 0x00, 0xf3, 0xa4, 0xff, 0xcb, 0x75, 0xeb},
     21,
     USER,
     TEST_DATA,
     TEST_DATA + 0x1180},
    /* mov rax, [rdi]; add [rdi], rdx; dec ecx; loop */
    {"to operands in two pages, before their end",
     {0x48, 0x8b, 0x07, 0x48, 0x01, 0x17, 0xff, 0xc9, 0x75, 0xf6},
     10,
     BY_WINDOW,
     TWO_PAGES,
     TEST_DATA + 0xff8},
    {"to operands in two pages, at their end",
     {0x48, 0x8b, 0x07, 0x48, 0x01, 0x17, 0xff, 0xc9, 0x75, 0xf6},
     10,
     BY_WINDOW,
     TWO_PAGES,
     TEST_DATA + 0x1000},
};
#define JUMPED 15 /* bytes of the first one to the jump's end */

/* That is no difference. */
static bool device_is_none(const struct meanwhile *m)
{
	uint64_t gpr[16] = {0, 2000,  5, 2000, STACK, TEST_DATA + 0x100,
			    0, m->rdi};
	struct guest *g = guest_at(m->where, m->code, m->len);
	bool none;

	if (g == NULL)
		return false;
	*(uint64_t *)(uintptr_t)(TEST_DATA + 32) = TEST_FIRST + JUMPED;
	run_with_device(g, gpr, m->device);
	none = guest_failure(g) == NULL && guest_translated(g) != 0;
	guest_destroy(g);
	return none;
}

/* It writes beside what wrong code works on: the difference is seen. */
static bool device_hides_none(void)
{
	static const uint8_t code[] = {0x48, 0x03, 0x1f}, /* add, sub */
	    from[] = {0x03, 0x1c}, to[] = {0x2b, 0x1c};
	uint64_t gpr[16] = {0, 0, 0, 0, TEST_STACK + 0x800, 0, 0, TEST_DATA};
	struct guest *g = guest_at(USER, code, sizeof(code));
	struct outcome out;
	bool found;

	if (g == NULL)
		return false;
	*(uint64_t *)(uintptr_t)TEST_DATA = 5;
	for (unsigned n = 0; n < 4; n++)
		guest_run(g, gpr, RFLAGS_ONE, TEST_FIRST, &out);
	found = guest_failure(g) == NULL && guest_patch(g, from, to, 2);
	if (found) {
		run_with_device(g, gpr, TEST_DATA + 64);
		found = guest_failure(g) != NULL;
	}
	guest_destroy(g);
	return found;
}

/* -- all ---------------------------------------------------------------------
 */

static unsigned number, failed;

static void tell(bool ok, const char *what, const char *name)
{
	failed += !ok;
	printf("%sok %u - %s%s\n", ok ? "" : "not ", ++number, what, name);
}

/* To read the time is translated where the host's clock is its TSC. */
static void skip(const char *name)
{
	printf("ok %u # skip %s: the host's TSC is no clock\n", ++number, name);
}

int main(void)
{
	bool has_time = host_tsc_is_clock();

	if (!jit_host_can() || make_memory() != 0) {
		printf("1..0 # skip no BMI2, or the addresses are taken\n");
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0); /* to show how far it came */
	printf("1..%zu\n", ARRAY_SIZE(wrongs) + ARRAY_SIZE(rights) +
			       ARRAY_SIZE(meanwhiles) + 1);
	for (unsigned n = 0; n < ARRAY_SIZE(wrongs); n++)
		if (wrongs[n].where == KERNEL && !has_time)
			skip(wrongs[n].name);
		else
			tell(is_found(&wrongs[n]), "wrong: ", wrongs[n].name);
	for (unsigned n = 0; n < ARRAY_SIZE(rights); n++)
		if (rights[n].where == KERNEL && !has_time)
			skip(rights[n].name);
		else
			tell(is_silent(&rights[n]), "right: ", rights[n].name);
	for (unsigned n = 0; n < ARRAY_SIZE(meanwhiles); n++)
		tell(device_is_none(&meanwhiles[n]), "a device writes ",
		     meanwhiles[n].name);
	tell(device_hides_none(), "a device writes beside operands", "");
	return failed != 0;
}
