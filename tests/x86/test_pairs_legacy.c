// SPDX-License-Identifier: BSD-2-Clause
/*
 * 32-bit and 16-bit code: in segments of those on the host, in compatibility
 * mode and in protected mode (PAE paging) of the guest, on tier 0, which alone
 * runs it.
 *
 * test_pairs_legacy [--pairs=N] [--seed=S]	N of each kind of code
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "pairs.h"

static void run_mode(const struct code_mode *mode, uint64_t pairs,
		     uint64_t seed, unsigned number, unsigned *failed)
{
	static struct pairs r;

	memset(&r, 0, sizeof(r));
	r.mode = mode;
	r.rng = seed;
	r.guest_name[0] = "compatibility mode";
	r.guest_name[1] = "protected mode";
	if (!host_has_mode(mode)) {
		printf("ok %u - %s # SKIP the host does not run it\n", number,
		       mode->name);
		return;
	}
	r.guest[0] = guest_create_legacy(mode, true);
	r.guest[1] = guest_create_legacy(mode, false);
	if (r.guest[0] != NULL && r.guest[1] != NULL)
		pairs_run(&r, pairs);
	for (unsigned n = 0; n < PAIR_GUESTS; n++)
		if (r.guest[n] != NULL)
			guest_destroy(r.guest[n]);
	*failed += r.differences != 0 || r.pairs < pairs;
	printf("%sok %u - %s: %" PRIu64 " pairs, %" PRIu64
	       " of them faults, seed %" PRIu64 ": %" PRIu64 " differ\n",
	       r.differences != 0 || r.pairs < pairs ? "not " : "", number,
	       mode->name, r.pairs, r.faults, seed, r.differences);
	fflush(stdout);
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
	printf("1..%u\n", code_modes_legacy_count);
	for (unsigned n = 0; n < code_modes_legacy_count; n++)
		run_mode(&code_modes_legacy[n], pairs, seed, n + 1, &failed);
	return failed != 0;
}
