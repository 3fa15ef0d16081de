// SPDX-License-Identifier: BSD-2-Clause
/* -c and -p: what they mean, and what is refused. */
#include "bhyve/topology.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static int setup(void **state)
{
	*state = config_create();
	return *state == NULL;
}

static int teardown(void **state)
{
	config_destroy(*state);
	return 0;
}

static void test_good(void **state)
{
	static const struct {
		const char *text;
		struct topology wanted;
	} cases[] = {
	    {"", {1, 1, 1, 1}},
	    {"1", {1, 1, 1, 1}},
	    {"4", {4, 4, 1, 1}},
	    {"cpus=4", {4, 4, 1, 1}},
	    {"16", {16, 16, 1, 1}},
	    {"sockets=2,cores=2,threads=2", {8, 2, 2, 2}},
	    {"8,sockets=2,cores=2,threads=2", {8, 2, 2, 2}},
	    {"cpus=2,sockets=1,cores=2,threads=1", {2, 1, 2, 1}},
	    {"4,cores=2", {4, 2, 2, 1}},
	    {"cores=4", {4, 1, 4, 1}},
	    {"2,cpus=4,4", {4, 4, 1, 1}},
	};
	struct topology t;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(topology_parse(*state, cases[i].text, &err),
				 0);
		assert_int_equal(topology_read(*state, &t, &err), 0);
		assert_memory_equal(&t, &cases[i].wanted, sizeof(t));
	}
}

static void test_default(void **state)
{
	struct topology t;
	struct err err;

	assert_int_equal(topology_read(*state, &t, &err), 0);
	assert_int_equal(t.cpus, 1);
	assert_int_equal(t.sockets * t.cores * t.threads, 1);
}

static void test_bad(void **state)
{
	static const struct {
		const char *text, *says;
	} cases[] = {
	    {"frogs=3", "frogs"},
	    {"cpus=3,sockets=2,cores=2", "cpus"},
	    {"99999", "99999"},
	    {"17", "17"},
	    {"0", "0"},
	    {"-1", "-1"},
	    {"4x", "4x"},
	    {"4,", "-c"},
	    {",4", "-c"},
	    {"cpus=", "cpus"},
	    {"=4", "-c"},
	    {"0x4", "0x4"},
	    {"cores=0", "cores"},
	    {"3,cores=2", "cores=2"},
	    {"2,cores=4", "cores=4"},
	    {"sockets=65535,cores=65535,threads=65535", "cpus="},
	    {"18446744073709551617", "18446744073709551617"},
	};
	struct topology t;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		int error = topology_parse(*state, cases[i].text, &err);

		if (error == 0)
			error = topology_read(*state, &t, &err);
		assert_int_equal(error, -EINVAL);
		if (strstr(err.text, cases[i].says) == NULL)
			fail_msg("%s: %s", cases[i].text, err.text);
	}
}

/* The variables may come from -o or a file. */
static void test_bad_variables(void **state)
{
	static const char *const bad[] = {"0", "two", "-1", "65537", ""};
	struct topology t;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		config_set(*state, "cpus", bad[i]);
		assert_int_equal(topology_read(*state, &t, &err), -EINVAL);
		assert_non_null(strstr(err.text, "cpus"));
	}
}

static void test_pinning(void **state)
{
	cpu_set_t set, allowed;
	char text[40];
	bool pinned;
	struct err err;
	int host = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(allowed), &allowed), 0);
	while (!CPU_ISSET(host, &allowed))
		host++;
	snprintf(text, sizeof(text), "0:%d", host);
	assert_int_equal(pinning_parse(*state, text, &err), 0);
	assert_int_equal(pinning_parse(*state, text, &err), 0);
	assert_int_equal(pinning_read(*state, 0, &set, &pinned, &err), 0);
	assert_true(pinned);
	assert_int_equal(CPU_COUNT(&set), 1);
	assert_true(CPU_ISSET(host, &set));
	assert_int_equal(pinning_read(*state, 1, &set, &pinned, &err), 0);
	assert_false(pinned);

	assert_int_equal(pinning_parse(*state, "2-3:4-6", &err), 0);
	assert_string_equal(config_get(*state, "vcpu.2.cpuset"), "4-6");
	assert_int_equal(pinning_parse(*state, "3:9", &err), 0);
	assert_string_equal(config_get(*state, "vcpu.3.cpuset"), "4-6,9");
}

static void test_bad_pinning(void **state)
{
	static const char *const bad[] = {
	    "",      "0",       "0:",    ":0",    "0:x",    "x:0",
	    "0:1:2", "0-:1",    "3-2:1", "0:5-4", "16:0",   "0-16:0",
	    "-1:0",  "0:99999", "0:1,",  "0:,1",  "0:1024", "0: 1"};
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (pinning_parse(*state, bad[i], &err) != -EINVAL)
			fail_msg("%s", bad[i]);
		assert_non_null(strstr(err.text, bad[i]));
	}
}

/* A CPU that the host lacks is found when the set is read. */
static void test_no_such_host_cpu(void **state)
{
	cpu_set_t set;
	struct err err;
	bool pinned;

	assert_int_equal(pinning_parse(*state, "0:1023", &err), 0);
	assert_int_equal(pinning_read(*state, 0, &set, &pinned, &err), -EINVAL);
	assert_non_null(strstr(err.text, "1023"));
	config_set(*state, "vcpu.0.cpuset", "zero");
	assert_int_equal(pinning_read(*state, 0, &set, &pinned, &err), -EINVAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_good),
	    TEST(test_default),
	    TEST(test_bad),
	    TEST(test_bad_variables),
	    TEST(test_pinning),
	    TEST(test_bad_pinning),
	    TEST(test_no_such_host_cpu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
