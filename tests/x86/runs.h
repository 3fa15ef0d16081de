/* SPDX-License-Identifier: BSD-2-Clause */
/* Random code run from one fault to the next, and what came out compared. */
#ifndef X86_RUNS_H
#define X86_RUNS_H

#include "block.h"
#include "guest.h"
#include "vmm/soft/vec.h"

/* From first on; behind each fault it goes on, until there were max. Returns
   how many there were. */
unsigned runs_to_faults(struct guest *g, const struct code_block *b,
			uint64_t first, struct outcome out[], unsigned max);
/* What differs; NULL: nothing. */
const char *runs_differ(const struct outcome *a, const struct outcome *b);
/* Of so many; *fault: which does, or the last one. */
const char *runs_faults_differ(const struct outcome a[],
			       const struct outcome b[], unsigned count,
			       unsigned *fault);
const char *runs_vectors_differ(const struct xsave_image *a,
				const struct xsave_image *b);

/* For who has to find out. */
void runs_show_code(const struct code_block *b);
void runs_show(const char *who, const struct outcome *o);

void runs_bytes(void *to, size_t len, uint64_t *rng);
void runs_vectors(struct xsave_image *vec, uint64_t *rng);

#endif
