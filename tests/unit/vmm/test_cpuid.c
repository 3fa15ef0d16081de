// SPDX-License-Identifier: BSD-2-Clause
/* CPU models and cpu.features: what each leaves, and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "x86/cr.h"
#include "x86/features.h"

static struct cpu_model *model(const char *name, const char *features)
{
	struct cpu_model *m = NULL;
	struct err err;

	if (cpu_model_create(name, features, 1000000000, &m, &err) != 0)
		return NULL;
	return m;
}

static int refused(const char *name, const char *features, const char *text)
{
	struct cpu_model *m = NULL;
	struct err err;
	int error = cpu_model_create(name, features, 1000000000, &m, &err);

	assert_null(m);
	assert_non_null(strstr(err.text, text));
	return error;
}

#define HAS(m, f)    assert_true(cpu_model_has(m, X86_FEATURE_##f))
#define HAS_NO(m, f) assert_false(cpu_model_has(m, X86_FEATURE_##f))

static void test_levels(void **state)
{
	struct cpu_model *m = model("x86-64", NULL);

	assert_non_null(m);
	HAS(m, SSE2);
	HAS(m, CMOV);
	HAS_NO(m, SSE3);
	HAS_NO(m, CX16);
	HAS_NO(m, XSAVE);
	HAS_NO(m, SMEP);
	assert_int_equal(cpu_model_xcr0(m), 0);
	cpu_model_destroy(m);
	m = model("x86-64-v2", NULL);
	if (m == NULL) /* a host below that level */
		skip();
	HAS(m, SSE4_2);
	HAS(m, POPCNT);
	HAS(m, LAHF_LM);
	HAS_NO(m, AVX);
	HAS_NO(m, MOVBE);
	cpu_model_destroy(m);
	m = model("x86-64-v3", NULL);
	if (m == NULL)
		skip();
	HAS(m, AVX2);
	HAS(m, BMI2);
	HAS(m, MOVBE);
	HAS_NO(m, AES);
	HAS_NO(m, AVX512F);
	assert_int_equal(cpu_model_xcr0(m), XCR0_X87 | XCR0_SSE | XCR0_AVX);
	cpu_model_destroy(m);
}

static void test_level_4(void **state)
{
	struct cpu_model *m = model("host", NULL);
	uint64_t all = XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512;

	assert_non_null(m);
	if (!cpu_model_has(m, X86_FEATURE_AVX512F)) {
		cpu_model_destroy(m);
		assert_int_equal(refused("x86-64-v4", NULL, "lacks avx"),
				 -ENOTSUP);
		return;
	}
	assert_int_equal(cpu_model_xcr0(m), all);
	cpu_model_destroy(m);
	m = model("x86-64-v4", NULL);
	assert_non_null(m);
	HAS(m, AVX512F);
	HAS(m, AVX512BW);
	HAS(m, AVX512CD);
	HAS(m, AVX512DQ);
	HAS(m, AVX512VL);
	HAS_NO(m, AVX512VBMI);
	HAS_NO(m, AVX512VNNI);
	assert_int_equal(cpu_model_xcr0(m), all);
	cpu_model_destroy(m);
	/* They go with what they stand on, and their state with them. */
	m = model("x86-64-v4", "-fma");
	assert_non_null(m);
	HAS(m, AVX2);
	HAS_NO(m, AVX512F);
	HAS_NO(m, AVX512VL);
	assert_int_equal(cpu_model_xcr0(m), XCR0_X87 | XCR0_SSE | XCR0_AVX);
	cpu_model_destroy(m);
	m = model("host", "-avx512bw");
	assert_non_null(m);
	HAS(m, AVX512F);
	HAS_NO(m, AVX512VBMI);
	HAS_NO(m, AVX512BITALG);
	cpu_model_destroy(m);
}

static void test_features(void **state)
{
	struct cpu_model *m = model("x86-64", "+popcnt,-rdtscp");

	if (m == NULL)
		skip();
	HAS(m, POPCNT);
	HAS_NO(m, RDTSCP);
	HAS_NO(m, SSE3);
	cpu_model_destroy(m);
	/* What stands on a feature goes with it. */
	m = model("host", "-sse2");
	assert_non_null(m);
	HAS(m, SSE);
	HAS_NO(m, SSE4_2);
	HAS_NO(m, AES);
	HAS_NO(m, AVX2);
	HAS_NO(m, FMA);
	cpu_model_destroy(m);
	m = model("host", "-pae");
	assert_non_null(m);
	HAS_NO(m, LM);
	HAS_NO(m, NX);
	HAS_NO(m, PCID);
	HAS_NO(m, INVPCID);
	cpu_model_destroy(m);
	m = model(NULL, "-xsave");
	assert_non_null(m);
	HAS_NO(m, AVX);
	HAS_NO(m, XSAVEC);
	assert_int_equal(cpu_model_xcr0(m), 0);
	cpu_model_destroy(m);
}

/* What no engine has is not offered, whatever the host has. */
static void test_absent(void **state)
{
	struct cpu_model *m = model("host", NULL);

	assert_non_null(m);
	HAS_NO(m, LA57);
	HAS_NO(m, PKU);
	cpu_model_destroy(m);
	assert_int_equal(refused("host", "+pku", "+pku"), -ENOTSUP);
	m = model("host", "+la57"); /* only for who asks */
	assert_non_null(m);
	HAS(m, LA57);
	cpu_model_destroy(m);
}

static void test_refused(void **state)
{
	assert_int_equal(refused("pentium", NULL, "pentium"), -EINVAL);
	assert_int_equal(refused(NULL, "+nonsense", "+nonsense"), -EINVAL);
	assert_int_equal(refused(NULL, "sse2", "sse2"), -EINVAL);
	assert_int_equal(refused(NULL, "+", "+"), -EINVAL);
	assert_int_equal(refused(NULL, "-sse2,,+sse2", "\"\""), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_levels),   cmocka_unit_test(test_level_4),
	    cmocka_unit_test(test_features), cmocka_unit_test(test_absent),
	    cmocka_unit_test(test_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
