// SPDX-License-Identifier: BSD-2-Clause
/*
 * soft.jit=verify finds translated code that is wrong: the code cache is
 * tampered with behind its back.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "generate.h"
#include "guest.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/vec.h"
#include "x86/cr.h"

static const struct wrong {
	const char *name;
	uint8_t guest[12], len;     /* the code, which HLT ends */
	uint8_t from[8], to[8], at; /* in its translation: at bytes */
} wrongs[] = {
    {"a register",
     {0x48, 0x01, 0xc3}, /* add, sub */
     3,
     {0x48, 0x01, 0xc3},
     {0x48, 0x29, 0xc3},
     3},
    {"the flags only",
     {0x48, 0x39, 0xc3}, /* cmp, the other way round */
     3,
     {0x48, 0x39, 0xc3},
     {0x48, 0x39, 0xd8},
     3},
    {"memory",
     {0xf6, 0x17}, /* not, neg */
     2,
     {0xf6, 0x14},
     {0xf6, 0x1c},
     2},
    {"a vector",
     {0x66, 0x0f, 0x76, 0xca}, /* pcmpeqd, pcmpgtd */
     4,
     {0x66, 0x0f, 0x76, 0xca},
     {0x66, 0x0f, 0x66, 0xca},
     4},
    {"where it goes",
     {0x75, 0x10}, /* jne, je */
     2,
     {0x0f, 0x85},
     {0x0f, 0x84},
     2},
};

static int make_memory(void)
{
	uint8_t *all =
	    mmap((void *)(uintptr_t)TEST_BASE, 2 * MiB, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	return all == MAP_FAILED ? -1 : 0;
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
	memcpy((void *)(uintptr_t)TEST_FIRST, w->guest, w->len);
	/* The later runs find the page in the TLB, and what follows. */
	for (unsigned n = 0; n < 4; n++)
		guest_run(g, gpr, RFLAGS_ONE | (n & 1 ? RFLAGS_ZF : 0),
			  TEST_FIRST, &out);
	if (guest_failure(g) == NULL && guest_patch(g, w->from, w->to, w->at)) {
		guest_run(g, gpr, RFLAGS_ONE, TEST_FIRST, &out);
		found = guest_failure(g) != NULL &&
			strstr(guest_failure(g), "differ") != NULL;
	}
	guest_destroy(g);
	return found;
}

int main(void)
{
	unsigned failed = 0;

	if (!jit_host_can() || make_memory() != 0) {
		printf("1..0 # skip no BMI2, or the addresses are taken\n");
		return 0;
	}
	printf("1..%zu\n", ARRAY_SIZE(wrongs));
	for (unsigned n = 0; n < ARRAY_SIZE(wrongs); n++) {
		bool ok = is_found(&wrongs[n]);

		failed += !ok;
		printf("%sok %u - %s\n", ok ? "" : "not ", n + 1,
		       wrongs[n].name);
	}
	return failed != 0;
}
