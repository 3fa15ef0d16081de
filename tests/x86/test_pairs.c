// SPDX-License-Identifier: BSD-2-Clause
/*
 * 64-bit code on the host, in tier 0 and in tier 1.
 *
 * test_pairs [--pairs=N] [--seed=S]
 */
#include <inttypes.h>
#include <stdio.h>

#include "pairs.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/jit/jit.h"
#include "x87.h"

#define X87_ROUNDS 100

int main(int argc, char **argv)
{
	static struct pairs r = {.mode = &code_mode_64,
				 .guest_name = {"tier 0", "tier 1"}};
	uint64_t pairs = 100000, seed = 1, translated;
	unsigned x87;

	for (int k = 1; k < argc; k++) {
		if (sscanf(argv[k], "--pairs=%" SCNu64, &pairs) != 1 &&
		    sscanf(argv[k], "--seed=%" SCNu64, &seed) != 1) {
			fprintf(stderr, "usage: %s [--pairs=N] [--seed=S]\n",
				argv[0]);
			return 1;
		}
	}
	if (pairs_memory() != 0 || host_create() != 0 ||
	    (r.guest[0] = guest_create(GUEST_TIER0)) == NULL ||
	    (r.guest[1] = guest_create(GUEST_TIER1)) == NULL) {
		printf("1..0 # skip the test's addresses are taken\n");
		return 0;
	}
	r.rng = seed;
	pairs_run(&r, pairs);
	translated = guest_translated(r.guest[1]);
	x87 = x87_pairs(r.guest, 2, X87_ROUNDS, &r.rng);
	for (unsigned n = 0; n < 2; n++)
		guest_destroy(r.guest[n]);
	printf("1..3\n%sok 1 - %" PRIu64 " pairs, %" PRIu64
	       " of them faults, seed %" PRIu64 ": %" PRIu64 " differ\n",
	       r.differences != 0 ? "not " : "", r.pairs, r.faults, seed,
	       r.differences);
	printf("%sok 2 - %" PRIu64 " of them translated%s\n",
	       jit_host_can() && translated < r.pairs / 2 ? "not " : "",
	       translated, jit_host_can() ? "" : " # SKIP no BMI2 here");
	printf("%sok 3 - x87: %u differ\n", x87 != 0 ? "not " : "", x87);
	return r.differences != 0 || x87 != 0;
}
