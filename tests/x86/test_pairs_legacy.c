// SPDX-License-Identifier: BSD-2-Clause
/*
 * 32-bit and 16-bit code: in segments of those on the host, in compatibility
 * mode and in protected mode (PAE paging) of the guest, in tier 0 and in tier
 * 1, which takes 32-bit code in flat segments, and leaves all other alone.
 *
 * test_pairs_legacy [--pairs=N] [--seed=S]	N of each kind of code
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pairs.h"
#include "vmm/soft/jit/jit.h"
#include "x86/cr.h"

static const struct {
	const char *name;
	enum guest_mode mode;
	bool long_mode;
} guests[] = {
    {"compatibility mode, tier 0", GUEST_TIER0, true},
    {"protected mode, tier 0", GUEST_TIER0, false},
    {"compatibility mode, tier 1", GUEST_TIER1, true},
    {"protected mode, tier 1", GUEST_TIER1, false},
};
_Static_assert(ARRAY_SIZE(guests) == PAIR_GUESTS, "as many as there may be");

static bool create_guests(struct pairs *r)
{
	for (unsigned n = 0; n < PAIR_GUESTS; n++) {
		r->guest_name[n] = guests[n].name;
		r->guest[n] = guest_create_legacy(guests[n].mode, r->mode,
						  guests[n].long_mode);
		if (r->guest[n] == NULL)
			return false;
	}
	return true;
}

/* Blocks that tier 1 translated. */
static uint64_t destroy_guests(struct pairs *r)
{
	uint64_t translated = 0;

	for (unsigned n = 0; n < PAIR_GUESTS && r->guest[n] != NULL; n++) {
		if (guests[n].mode == GUEST_TIER1)
			translated += guest_translated(r->guest[n]);
		guest_destroy(r->guest[n]);
	}
	return translated;
}

/* All of it in flat 32-bit code, none elsewhere. */
static bool is_translated(const struct pairs *r, uint64_t translated)
{
	if (r->mode->code_bytes != 4 || code_mode_has_ldt(r->mode))
		return translated == 0;
	return translated >= r->pairs || !jit_host_can();
}

static void run_mode(const struct code_mode *mode, uint64_t pairs,
		     uint64_t seed, unsigned number, unsigned *failed)
{
	static struct pairs r;
	uint64_t translated;
	bool ok;

	memset(&r, 0, sizeof(r));
	r.mode = mode;
	r.rng = seed;
	if (!host_has_mode(mode)) {
		printf("ok %u - %s # SKIP the host does not run it\n", number,
		       mode->name);
		return;
	}
	if (create_guests(&r))
		pairs_run(&r, pairs);
	translated = destroy_guests(&r);
	ok = r.differences == 0 && r.pairs >= pairs &&
	     is_translated(&r, translated);
	*failed += !ok;
	printf("%sok %u - %s: %" PRIu64 " pairs, %" PRIu64 " translated, "
	       "%" PRIu64 " of them faults, seed %" PRIu64 ": %" PRIu64
	       " differ\n",
	       ok ? "" : "not ", number, mode->name, r.pairs, translated,
	       r.faults, seed, r.differences);
	fflush(stdout);
}

/*
 * The same bytes at the same address, reached by a jump that looks it up, are
 * other code when the code segment is another.
 */
static bool is_told_apart(void)
{
	static const uint8_t jump[] = {0xff, 0xe0};       /* jmp (r|e)ax */
	static const uint8_t code[] = {0x48, 0xff, 0xc3}; /* inc rbx, or: */
	const uint64_t to = TEST_FIRST + 0x100;           /* dec eax; inc ebx */
	struct guest *g = guest_create(GUEST_TIER1);
	bool ok = g != NULL;

	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	memcpy((void *)(uintptr_t)TEST_FIRST, jump, sizeof(jump));
	memcpy((void *)(uintptr_t)to, code, sizeof(code));
	for (unsigned n = 0; ok && n < 8; n++) {
		bool wide = n / 2 % 2 == 0;
		uint64_t gpr[16] = {to, [4] = TEST_STACK + 0x800};
		struct outcome out = {0};

		guest_set_code(g, wide ? &code_mode_64 : &code_mode_32);
		guest_run(g, gpr, RFLAGS_ONE, TEST_FIRST, &out);
		ok = out.gpr[3] == 1 && out.gpr[0] == (wide ? to : to - 1);
	}
	if (g != NULL)
		guest_destroy(g);
	return ok;
}

int main(int argc, char **argv)
{
	uint64_t pairs = 100000, seed = 1;
	unsigned failed = 0;

	for (int k = 1; k < argc; k++) {
		if (sscanf(argv[k], "--pairs=%" SCNu64, &pairs) != 1 &&
		    sscanf(argv[k], "--seed=%" SCNu64, &seed) != 1) {
			fprintf(stderr, "usage: %s [--pairs=N] [--seed=S]\n",
				argv[0]);
			return 1;
		}
	}
	if (pairs_memory() != 0 || host_create() != 0) {
		printf("1..0 # skip the test's addresses are taken\n");
		return 0;
	}
	printf("1..%u\n", code_modes_legacy_count + 1);
	for (unsigned n = 0; n < code_modes_legacy_count; n++)
		run_mode(&code_modes_legacy[n], pairs, seed, n + 1, &failed);
	if (!is_told_apart()) {
		printf("not ");
		failed++;
	}
	printf("ok %u - 64-bit and 32-bit code at one address\n",
	       code_modes_legacy_count + 1);
	return failed != 0;
}
