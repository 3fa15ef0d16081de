// SPDX-License-Identifier: BSD-2-Clause
/* The configuration tree: paths, values, expansion, files, and noise. */
#include "base/config.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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

/* The dump as a string, which the caller frees. */
static char *dump(struct config *config)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	config_dump(config, out);
	fclose(out);
	return text;
}

/* A variable that has others below it, by its short name. */
static void test_alias(void **state)
{
	struct config *config = *state;

	assert_int_equal(config_set(config, "soft.jit", "off"), 0);
	assert_int_equal(config_set(config, "soft.jit.cache", "16"), 0);
	assert_string_equal(config_get(config, "soft.jit"), "off");
	assert_string_equal(config_get(config, "soft.jit.mode"), "off");
	assert_string_equal(config_get(config, "soft.jit.cache"), "16");
}

static void test_set_and_get(void **state)
{
	struct config *c = *state;
	char *text;

	assert_null(config_get(c, "name"));
	assert_int_equal(config_set(c, "name", "vm0"), 0);
	assert_int_equal(config_set(c, "lpc.com1.path", "stdio"), 0);
	assert_int_equal(config_set(c, "lpc.com2.path", ""), 0);
	assert_int_equal(config_set(c, "name", "vm1"), 0);
	assert_string_equal(config_get(c, "name"), "vm1");
	assert_string_equal(config_get(c, "lpc.com1.path"), "stdio");
	assert_string_equal(config_get(c, "lpc.com2.path"), "");
	assert_null(config_get(c, "lpc.com1"));
	assert_null(config_get(c, "lpc.com3.path"));
	assert_null(config_get(c, "nam"));

	text = dump(c);
	assert_string_equal(text,
			    "name=vm1\nlpc.com1.path=stdio\nlpc.com2.path=\n");
	free(text);
}

static void test_value_or_node(void **state)
{
	struct config *c = *state;

	assert_int_equal(config_set(c, "a.b", "1"), 0);
	assert_int_equal(config_set(c, "a", "2"), -ENOTDIR);
	assert_int_equal(config_set(c, "a.b.c", "2"), -ENOTDIR);
	assert_null(config_find(config_root(c), "a.b"));
	assert_null(config_make(config_root(c), "a.b"));
	assert_null(config_make(config_root(c), "a.b.c"));
	assert_string_equal(config_get(c, "a.b"), "1");
}

static void test_bad_paths(void **state)
{
	static const char *const bad[] = {
	    "",   ".",   "a.",    ".a",   "a..b", "a b",  "a\nb",
	    "#a", "a=b", "a\x80", "%(a)", "a.\t", "a.b.", "\x7f.a"};
	char deep[200] = "", *text;
	struct config *c = *state;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		assert_int_equal(config_set(c, bad[i], "v"), -EINVAL);
		assert_null(config_get(c, bad[i]));
		assert_null(config_make(config_root(c), bad[i]));
		assert_int_equal(config_unset(c, bad[i]), -EINVAL);
	}
	for (int i = 0; i < 40; i++)
		strcat(deep, i == 0 ? "a" : ".a");
	assert_int_equal(config_set(c, deep, "v"), -EINVAL);
	assert_int_equal(config_set(c, "a", "two\nlines"), -EINVAL);
	text = dump(c);
	assert_string_equal(text, "");
	free(text);
}

static int join(void *arg, const char *name, const char *value,
		struct config_node *child)
{
	strcat(arg, name);
	strcat(arg, value != NULL ? "=" : "/");
	strcat(arg, value != NULL ? value : config_node_name(child));
	strcat(arg, " ");
	return strcmp(name, "stop") == 0 ? 7 : 0;
}

static void test_nodes(void **state)
{
	struct config *c = *state;
	struct config_node *slot = config_make(config_root(c), "pci.0.3.0");
	char seen[200] = "";

	assert_non_null(slot);
	assert_string_equal(config_node_name(slot), "0");
	assert_ptr_equal(config_find(config_root(c), "pci.0.3.0"), slot);
	assert_null(config_find(config_root(c), "pci.0.4"));
	assert_int_equal(config_set_in(slot, "device", "ahci"), 0);
	assert_int_equal(config_set_in(slot, "port.0.path", "%(name).img"), 0);
	assert_int_equal(config_set_in(slot, "x", "1"), 0);
	assert_int_equal(config_set(c, "name", "vm0"), 0);
	assert_string_equal(config_get(c, "pci.0.3.0.device"), "ahci");
	assert_string_equal(config_get_in(slot, "port.0.path"), "vm0.img");

	assert_int_equal(config_walk(slot, join, seen), 0);
	assert_string_equal(seen, "device=ahci port/port x=1 ");
	seen[0] = '\0';
	assert_int_equal(config_set_in(slot, "stop", "2"), 0);
	assert_int_equal(config_set_in(slot, "after", "3"), 0);
	assert_int_equal(config_walk(slot, join, seen), 7);
	assert_string_equal(seen, "device=ahci port/port x=1 stop=2 ");
}

static void test_unset(void **state)
{
	struct config *c = *state;
	char *text;

	assert_int_equal(config_unset(c, "a"), -ENOENT);
	assert_int_equal(config_set(c, "a", "1"), 0);
	assert_int_equal(config_set(c, "b.c", "2"), 0);
	assert_int_equal(config_set(c, "b.d", "3"), 0);
	assert_int_equal(config_unset(c, "b.d"), 0);
	assert_int_equal(config_set(c, "b.e", "4"), 0);
	assert_int_equal(config_unset(c, "a"), 0);
	text = dump(c);
	assert_string_equal(text, "b.c=2\nb.e=4\n");
	free(text);
	assert_int_equal(config_unset(c, "b"), 0);
	assert_int_equal(config_set(c, "b", "now a value"), 0);
}

static void test_expansion(void **state)
{
	struct config *c = *state;
	const char *first, *again;
	struct err err;

	config_set(c, "name", "vm0");
	config_set(c, "disk", "/d/%(name).img");
	config_set(c, "both", "%(disk):%(name)");
	config_set(c, "percent", "100%% of %(name), 5% more, %d, %");
	assert_string_equal(config_get(c, "both"), "/d/vm0.img:vm0");
	assert_string_equal(config_get(c, "percent"),
			    "100% of vm0, 5% more, %d, %");
	assert_int_equal(config_check(c, &err), 0);

	/* What was handed out stays, whatever it referred to becomes. */
	first = config_get(c, "disk");
	config_set(c, "name", "other");
	again = config_get(c, "disk");
	assert_string_equal(first, "/d/vm0.img");
	assert_string_equal(again, "/d/other.img");
	assert_ptr_equal(config_get(c, "disk"), again);
}

static void test_expansion_that_fails(void **state)
{
	struct config *c = *state;
	struct err err;

	config_set(c, "x.y", "-%(nosuch)-");
	assert_string_equal(config_get(c, "x.y"), "-%(nosuch)-");
	assert_int_equal(config_check(c, &err), -EINVAL);
	assert_non_null(strstr(err.text, "x.y"));
	assert_non_null(strstr(err.text, "nosuch"));

	config_set(c, "x.y", "%(x.z)");
	config_set(c, "x.z", "%(x.y)");
	assert_string_equal(config_get(c, "x.y"), "%(x.z)");
	assert_int_equal(config_check(c, &err), -EINVAL);
}

/* Each level doubles the text: without a bound, 2^15 * 2^12 bytes. */
static void test_expansion_is_bounded(void **state)
{
	struct config *c = *state;
	char name[8], value[64];
	char *big = malloc(5000);
	struct err err;

	memset(big, 'x', 4096);
	big[4096] = '\0';
	config_set(c, "v0", big);
	free(big);
	for (int i = 1; i < 15; i++) {
		snprintf(name, sizeof(name), "v%d", i);
		snprintf(value, sizeof(value), "%%(v%d)%%(v%d)", i - 1, i - 1);
		config_set(c, name, value);
	}
	assert_string_equal(config_get(c, "v14"), "%(v13)%(v13)");
	assert_int_equal(config_check(c, &err), -E2BIG);
	/* Many references to nothing are work without text. */
	config_set(c, "v0", "");
	assert_string_equal(config_get(c, "v14"), "%(v13)%(v13)");
	assert_string_equal(config_get(c, "v3"), "");
	assert_int_equal(config_check(c, &err), -EINVAL);
}

static void test_bool(void **state)
{
	static const struct {
		const char *text;
		int value; /* -1: none */
	} cases[] = {{"true", 1},   {"Yes", 1}, {"ON", 1},  {"1", 1},
		     {"false", 0},  {"no", 0},  {"Off", 0}, {"0", 0},
		     {"maybe", -1}, {"", -1},   {"2", -1},  {"truely", -1}};
	struct config *c = *state;
	struct err err;
	bool out;

	assert_int_equal(config_get_bool(c, "b", true, &out, &err), 0);
	assert_true(out);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		config_set(c, "b", cases[i].text);
		assert_int_equal(config_get_bool(c, "b", false, &out, &err),
				 cases[i].value < 0 ? -EINVAL : 0);
		assert_int_equal(out, cases[i].value == 1);
	}
	config_set(c, "b", "maybe");
	assert_int_equal(config_get_bool(c, "b", false, &out, &err), -EINVAL);
	assert_non_null(strstr(err.text, "maybe"));
	assert_non_null(strstr(err.text, "b:"));
}

static void test_number(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
		bool good;
	} cases[] = {
	    {"0", 0, true},
	    {"010", 10, true},
	    {"0x10", 16, true},
	    {"4K", 4096, true},
	    {"0x2M", 2 * MiB, true},
	    {"3g", 3 * GiB, true},
	    {"1T", 1024 * GiB, true},
	    {"18446744073709551615", UINT64_MAX, true},
	    {"18446744073709551616", 0, false},
	    {"16777216T", 0, false},
	    {"", 0, false},
	    {"-1", 0, false},
	    {"+1", 0, false},
	    {" 1", 0, false},
	    {"1 ", 0, false},
	    {"0x", 0, false},
	    {"0x-1", 0, false},
	    {"1KK", 0, false},
	    {"1B", 0, false},
	    {"K", 0, false},
	    {"ab", 0, false},
	};
	struct config *c = *state;
	struct err err;
	uint64_t out;

	assert_int_equal(config_get_number(c, "n", 42, &out, &err), 0);
	assert_int_equal(out, 42);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		config_set(c, "n", cases[i].text);
		assert_int_equal(config_get_number(c, "n", 42, &out, &err),
				 cases[i].good ? 0 : -EINVAL);
		assert_int_equal(out, cases[i].good ? cases[i].value : 42);
	}
}

static void test_option(void **state)
{
	struct config *c = *state;
	struct err err;

	assert_int_equal(config_parse_option(c, "boot.cmdline=a=b c", &err), 0);
	assert_string_equal(config_get(c, "boot.cmdline"), "a=b c");
	assert_int_equal(config_parse_option(c, "novalue", &err), -EINVAL);
	assert_non_null(strstr(err.text, "novalue"));
	assert_int_equal(config_parse_option(c, "=v", &err), -EINVAL);
	assert_int_equal(config_parse_option(c, "a b=v", &err), -EINVAL);
	assert_int_equal(config_parse_option(c, "boot=v", &err), -EINVAL);
	assert_non_null(strstr(err.text, "boot"));
}

/* Parses bytes as a file; the file is gone afterwards. */
static int parse_bytes(struct config *config, const void *bytes, size_t size,
		       struct err *err)
{
	char file[] = "/tmp/anyhyve-config-XXXXXX";
	int fd = mkstemp(file), error;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, bytes, size), (ssize_t)size);
	close(fd);
	error = config_parse_file(config, file, err);
	unlink(file);
	return error;
}

static void test_file(void **state)
{
	static const char text[] =
	    "# a comment\n"
	    "\n"
	    "name=vm0\n"
	    "memory.size=1G\n"
	    "boot.cmdline=console=ttyS0 # not a comment\n"
	    "name=vm1";
	struct config *c = *state;
	struct err err;

	assert_int_equal(parse_bytes(c, text, strlen(text), &err), 0);
	assert_string_equal(config_get(c, "name"), "vm1");
	assert_string_equal(config_get(c, "memory.size"), "1G");
	assert_string_equal(config_get(c, "boot.cmdline"),
			    "console=ttyS0 # not a comment");

	assert_int_equal(parse_bytes(c, "a=1\nb\n", 6, &err), -EINVAL);
	assert_non_null(strstr(err.text, "line 2"));
	assert_int_equal(parse_bytes(c, "a=\0b\n", 5, &err), -EINVAL);
	assert_int_equal(config_parse_file(c, "/nonexistent/file", &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, "/nonexistent/file"));
	assert_int_equal(config_parse_file(c, "/tmp", &err), -EISDIR);
	assert_int_equal(config_parse_file(c, "/dev/zero", &err), -EFBIG);
}

static void test_too_many(void **state)
{
	struct config *c = *state;
	char name[16];
	int error = 0, i;

	for (i = 0; i < 100000 && error == 0; i++) {
		snprintf(name, sizeof(name), "n%d.v%d", i / 100, i);
		error = config_set(c, name, "");
	}
	assert_int_equal(error, -ENOMEM);
	assert_true(i > 10000);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Noise made of what the grammar is made of. Whatever is accepted can be
   read, and its dump, read back, gives the same dump. */
static void test_noise(void **state)
{
	static const char alphabet[] = "ab.=%()#\n\n 1\xff";
	uint32_t seed = 12345;
	struct err err;

	(void)state;
	for (int round = 0; round < 2000; round++) {
		struct config *c = config_create(), *again = config_create();
		size_t size = next_random(&seed) % 200;
		char bytes[200], *text, *second;

		for (size_t i = 0; i < size; i++)
			bytes[i] = alphabet[next_random(&seed) %
					    (sizeof(alphabet) - 1)];
		parse_bytes(c, bytes, size, &err);
		config_check(c, &err);
		config_get(c, "a");
		config_get(c, "b.a");
		text = dump(c);
		assert_int_equal(parse_bytes(again, text, strlen(text), &err),
				 0);
		second = dump(again);
		assert_string_equal(text, second);
		free(text);
		free(second);
		config_destroy(c);
		config_destroy(again);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_set_and_get),
	    TEST(test_alias),
	    TEST(test_value_or_node),
	    TEST(test_bad_paths),
	    TEST(test_nodes),
	    TEST(test_unset),
	    TEST(test_expansion),
	    TEST(test_expansion_that_fails),
	    TEST(test_expansion_is_bounded),
	    TEST(test_bool),
	    TEST(test_number),
	    TEST(test_option),
	    TEST(test_file),
	    TEST(test_too_many),
	    TEST(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
