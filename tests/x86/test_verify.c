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
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/vec.h"
#include "x86/cr.h"

static const struct wrong {
	const char *name;
	const char *text, *differ;
	uint8_t guest[12], len;     /* the code, after a NOP; HLT ends it */
	uint8_t from[8], to[8], at; /* in its translation: at bytes */
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
			    struct outcome *out)
{
	int fd = memfd_create("stderr", 0), was = dup(2);
	char *text;

	fflush(stderr);
	dup2(fd, 2);
	guest_run(g, gpr, RFLAGS_ONE, TEST_FIRST, out);
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

/* What verify says of the code, before and after it is tampered with. */
static bool is_found(const struct wrong *w)
{
	uint64_t gpr[16] = {3, 0, 0, 5, TEST_STACK + 0x800, 0, 0, TEST_DATA};
	struct guest *g = guest_create(GUEST_VERIFY);
	struct xsave_image vectors = {
	    .fcw = FCW_RESET, .mxcsr = MXCSR_RESET, .xstate_bv = XCR0_X87};
	struct outcome out;
	bool found = false;

	if (g == NULL)
		return false;
	guest_set_vectors(g, &vectors);
	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	*(uint8_t *)(uintptr_t)TEST_FIRST = 0x90;
	memcpy((uint8_t *)(uintptr_t)TEST_FIRST + 1, w->guest, w->len);
	/* The later runs find the page in the TLB, and what follows. */
	for (unsigned n = 0; n < 4; n++)
		guest_run(g, gpr, RFLAGS_ONE | (n & 1 ? RFLAGS_ZF : 0),
			  TEST_FIRST, &out);
	if (guest_failure(g) == NULL && guest_patch(g, w->from, w->to, w->at)) {
		char *said = run_and_listen(g, gpr, &out);

		found = is_named(w, guest_failure(g), said);
		free(said);
	}
	guest_destroy(g);
	return found;
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

/* mov rax, [rdi]; add rbx, [rdi]; cmp [rdi], rbx; vector loads; a jump by
   [rdi + 32], which always leads to the next instruction; loop */
static const uint8_t looks[] = {0x48, 0x8b, 0x07, 0x48, 0x03, 0x1f, 0x48,
				0x39, 0x1f, 0x0f, 0x10, 0x0f, 0xff, 0x67,
				0x20, 0xff, 0xc9, 0x75, 0xed};
#define JUMPED 15 /* bytes of it to the jump's end */

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

static struct guest *guest_that_looks(const uint8_t *code, unsigned len)
{
	struct guest *g = guest_create(GUEST_VERIFY);
	struct xsave_image vectors = {
	    .fcw = FCW_RESET, .mxcsr = MXCSR_RESET, .xstate_bv = XCR0_X87};

	if (g == NULL)
		return NULL;
	guest_set_vectors(g, &vectors);
	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	memcpy((void *)(uintptr_t)TEST_FIRST, code, len);
	*(uint64_t *)(uintptr_t)(TEST_DATA + 32) = TEST_FIRST + JUMPED;
	return g;
}

/* It writes to what is looked at: no difference. */
static bool device_is_none(void)
{
	uint64_t gpr[16] = {0, 2000, 0, 0, TEST_STACK + 0x800, 0, 0, TEST_DATA};
	struct guest *g = guest_that_looks(looks, sizeof(looks));
	bool none;

	if (g == NULL)
		return false;
	run_with_device(g, gpr, TEST_DATA);
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
	struct guest *g = guest_that_looks(code, sizeof(code));
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

int main(void)
{
	unsigned failed = 0;
	bool ok;

	if (!jit_host_can() || make_memory() != 0) {
		printf("1..0 # skip no BMI2, or the addresses are taken\n");
		return 0;
	}
	setvbuf(stdout, NULL, _IOLBF, 0); /* to show how far it came */
	printf("1..%zu\n", ARRAY_SIZE(wrongs) + 2);
	for (unsigned n = 0; n < ARRAY_SIZE(wrongs); n++) {
		ok = is_found(&wrongs[n]);
		failed += !ok;
		printf("%sok %u - %s\n", ok ? "" : "not ", n + 1,
		       wrongs[n].name);
	}
	ok = device_is_none();
	failed += !ok;
	printf("%sok %zu - a device writes to operands\n", ok ? "" : "not ",
	       ARRAY_SIZE(wrongs) + 1);
	ok = device_hides_none();
	failed += !ok;
	printf("%sok %zu - a device writes beside them\n", ok ? "" : "not ",
	       ARRAY_SIZE(wrongs) + 2);
	return failed != 0;
}
