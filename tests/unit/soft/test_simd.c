// SPDX-License-Identifier: BSD-2-Clause
/* Every row of the vector and x87 table against the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "bench.h"
#include "x86/features.h"

#define TRIES 60u

/* Rows whose memory must be of a certain form: test_vecstate.c. */
static bool elsewhere(const struct simd_row *row)
{
	static const exec_fn fns[] = {
	    exec_fxsave, exec_fxrstor, exec_xsave,   exec_xsavec,
	    exec_xsaves, exec_xrstor,  exec_xrstors, exec_fnstenv,
	    exec_fnsave, exec_fldenv,  exec_frstor,  exec_ldmxcsr,
	};

	for (unsigned k = 0; k < ARRAY_SIZE(fns); k++)
		if (row->exec == fns[k])
			return true;
	return false;
}

static void test_rows(void **state)
{
	struct bench *b = *state;

	reference_arm(true);
	for (unsigned n = 0; n < simd_count(); n++)
		for (unsigned form = 0; form < 16; form++) {
			const struct simd_row *row = simd_row(n);
			bool mem = form & 1, vex = form & 2, w = form & 8;
			unsigned vl = form >> 2 & 1;

			if (row->is_evex || (!vex && vl) ||
			    (row->map == MAP_1 && (vex || w)))
				continue;
			if (!elsewhere(row))
				bench_form(b, row, mem, vex, vl, w, TRIES);
		}
	reference_arm(false);
	print_message("%u forms, %u runs; #GP %u #PF %u #MF %u #XM %u\n",
		      b->forms, b->runs, b->faults[X86_GP], b->faults[X86_PF],
		      b->faults[X86_MF], b->faults[X86_XM]);
	/* Each kind of end must have been met, or the test tests little. */
	assert_true(b->forms > 500);
	assert_int_not_equal(b->faults[X86_GP], 0);
	assert_int_not_equal(b->faults[X86_PF], 0);
	assert_int_not_equal(b->faults[X86_MF], 0);
	assert_int_not_equal(b->faults[X86_XM], 0);
}

/* Each form of an EVEX row: 64 of W, L'L, b, z, and with a mask or without. */
static void test_evex_rows(void **state)
{
	struct bench *b = *state;

	if (!host_has(X86_FEATURE_AVX512BW)) {
		print_message("no AVX-512 here\n");
		skip();
	}
	reference_arm(true);
	for (unsigned n = 0; n < simd_count(); n++)
		for (unsigned form = 0; form < 128; form++) {
			const struct simd_row *row = simd_row(n);
			const struct dec d = {.rex_w = form & 1,
					      .vector_len = form >> 1 & 3,
					      .b = form & 8,
					      .z = form & 16,
					      .aaa = form >> 5 & 1};

			if (row->is_evex)
				bench_evex(b, row, &d, form & 64, TRIES);
		}
	reference_arm(false);
	print_message("%u forms, %u runs; #GP %u #PF %u #XM %u\n", b->forms,
		      b->runs, b->faults[X86_GP], b->faults[X86_PF],
		      b->faults[X86_XM]);
	assert_true(b->forms > 2000);
	assert_int_not_equal(b->faults[X86_GP], 0);
	assert_int_not_equal(b->faults[X86_PF], 0);
	assert_int_not_equal(b->faults[X86_XM], 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(test_rows, bench_setup,
					    bench_teardown),
	    cmocka_unit_test_setup_teardown(test_evex_rows, bench_setup,
					    bench_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
