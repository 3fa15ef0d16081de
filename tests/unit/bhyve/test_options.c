// SPDX-License-Identifier: BSD-2-Clause
/* The command line: what it sets, and what it says to bad words. */
#include "bhyve/engines.h"
#include "bhyve/options.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "bhyve/slots.h"
#include "bhyve/status.h"

#define MAX_ARGUMENTS 40

struct parsed {
	struct config *config;
	int error;
	int status;
	struct err err;
};

/* Parses words that are separated by one space; "~" stands for an empty one. */
static struct parsed parse(const char *words)
{
	char *argv[MAX_ARGUMENTS + 1] = {"bhyve"};
	char *copy = strdup(words), *rest = copy, *word;
	struct parsed p = {.config = config_create()};
	int argc = 1;

	while (*words != '\0' && (word = strsep(&rest, " ")) != NULL) {
		assert_true(argc < MAX_ARGUMENTS);
		argv[argc++] = strcmp(word, "~") == 0 ? "" : word;
	}
	p.error = options_parse(p.config, argc, argv, &p.status, &p.err);
	free(copy);
	return p;
}

static void assert_dump(const char *words, const char *wanted)
{
	struct parsed p = parse(words);
	char *text = NULL;
	size_t size;
	FILE *out;

	if (p.error != 0)
		fail_msg("%s: %s", words, p.err.text);
	out = open_memstream(&text, &size);
	config_dump(p.config, out);
	fclose(out);
	assert_string_equal(text, wanted);
	free(text);
	config_destroy(p.config);
}

static void assert_refused(const char *words, int status, const char *says)
{
	struct parsed p = parse(words);

	if (p.error == 0)
		p.error = options_check(p.config, &p.err);
	if (p.error == 0 || p.error == -ECANCELED)
		fail_msg("%s: accepted", words);
	if (status != 0 && p.status != status)
		fail_msg("%s: status %d", words, p.status);
	if (strstr(p.err.text, says) == NULL)
		fail_msg("%s: no \"%s\" in \"%s\"", words, says, p.err.text);
	assert_null(strchr(p.err.text, '\n'));
	config_destroy(p.config);
}

static void test_flags(void **state)
{
	static const struct {
		const char *words, *wanted;
	} cases[] = {
	    {"vm0", "name=vm0\n"},
	    {"-A -I vm0", "name=vm0\n"},
	    {"-AHP vm0", "x86.vmexit_on_hlt=true\n"
			 "x86.vmexit_on_pause=true\nname=vm0\n"},
	    {"-C -S vm0", "memory.guest_in_core=true\n"
			  "memory.wired=true\nname=vm0\n"},
	    {"-D vm0", "destroy_on_poweroff=true\nname=vm0\n"},
	    {"-e -w -Y vm0", "x86.strictio=true\nx86.strictmsr=false\n"
			     "x86.mptable=false\nname=vm0\n"},
	    {"-x -a vm0", "x86.x2apic=false\nname=vm0\n"},
	    {"-u -W vm0", "rtc.use_localtime=false\nvirtio_msix=false\n"
			  "name=vm0\n"},
	    {"-m 512M -m 1G vm0", "memory.size=1G\nname=vm0\n"},
	    {"-U 1-2 vm0", "uuid=1-2\nname=vm0\n"},
	    {"-o name=x", "name=x\n"},
	    {"-o name=x vm0", "name=vm0\n"},
	    {"-o engine=soft -o boot.cmdline=a=b vm0",
	     "engine=soft\nboot.cmdline=a=b\nname=vm0\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_dump(cases[i].words, cases[i].wanted);
}

static void test_slots(void **state)
{
	static const struct {
		const char *words, *wanted;
	} cases[] = {
	    {"-s 0,hostbridge -s 31,lpc -l com1,stdio vm0",
	     "pci.0.0.0.device=hostbridge\npci.0.31.0.device=lpc\n"
	     "lpc.com1.path=stdio\nname=vm0\n"},
	    {"-s 31,lpc -l pc-testdev v",
	     "pci.0.31.0.device=lpc\nlpc.pc-testdev=true\nname=v\n"},
	    {"-s 3:1,uart,/dev/ttyS0 v",
	     "pci.0.3.1.device=uart\npci.0.3.1.path=/dev/ttyS0\nname=v\n"},
	    {"-s 255:31:7,uart,tcp=127.0.0.1:1,x,y=z v",
	     "pci.255.31.7.device=uart\npci.255.31.7.tcp=127.0.0.1:1\n"
	     "pci.255.31.7.x=true\npci.255.31.7.y=z\nname=v\n"},
	    {"-l com2,tcp=0.0.0.0:1 -l com2,stdio v",
	     "lpc.com2.tcp=0.0.0.0:1\nlpc.com2.path=stdio\nname=v\n"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_dump(cases[i].words, cases[i].wanted);
}

static void test_bad_slots(void **state)
{
	static const char *const bad[] = {"hostbridge",      "~",
					  "32,uart,x",       "1:8,uart,x",
					  "0:1:8,uart",      "256:0:0,uart",
					  "1:2:3:4,uart",    "-1,uart",
					  "+1,uart",         "1:,uart",
					  ":1,uart",         "0x1,uart",
					  "4294967296,uart", "1 ,uart",
					  "a,uart",          "0",
					  "1/2/3,uart,x"};
	char words[80];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (strchr(bad[i], ' ') != NULL)
			continue;
		snprintf(words, sizeof(words), "-s %s vm0", bad[i]);
		assert_refused(words, STATUS_MALFORMED, "slot");
	}
	assert_refused("-s 0,x vm0", STATUS_MALFORMED,
		       "pci slot 0:0:0: unknown device \"x\"");
	assert_refused("-s 2:5:1,x,y vm0", STATUS_MALFORMED,
		       "pci slot 2:5:1: unknown device \"x\"");
	assert_refused("-s 0,hostbridge -s 0:0,lpc vm0", STATUS_ERROR,
		       "pci slot 0:0:0 already occupied!");
	assert_refused("-s 1,uart,a.=b vm0", STATUS_MALFORMED, "0:1:0");
	assert_refused("-l nosuch,stdio vm0", STATUS_MALFORMED,
		       "invalid lpc device configuration 'nosuch,stdio'");
	assert_refused("-l bootrom vm0", STATUS_MALFORMED,
		       "invalid bootrom option \"bootrom\"");
	assert_refused("-l bootrom,,vars vm0", STATUS_MALFORMED,
		       "invalid bootrom option \"bootrom\"");
	assert_refused("-l com1 vm0", STATUS_MALFORMED,
		       "invalid lpc device configuration 'com1'");
	assert_refused("-l pc-testdev,x vm0", STATUS_MALFORMED,
		       "invalid lpc device configuration 'pc-testdev,x'");
}

static void test_usage(void **state)
{
	static const char *const bad[] = {"-Z vm0", "vm0 vm1", "-m",
					  "-b vm0", "-x -",    "~ ~"};
	struct parsed p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad) - 2; i++)
		assert_refused(bad[i], STATUS_USAGE, "");
	assert_refused("~ ~", STATUS_USAGE, "");
	assert_refused("", STATUS_USAGE, "");
	assert_refused("-H", STATUS_USAGE, "");
	p = parse("-h"); /* the usage goes to stderr */
	assert_int_equal(p.error, -ECANCELED);
	assert_int_equal(p.status, 0);
	config_destroy(p.config);
}

static void test_usage_text(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	options_usage(out);
	fclose(out);
	/* What libvirt looks for. */
	assert_non_null(strstr(text, "Usage: bhyve ["));
	assert_non_null(strstr(text, "-u:"));
	assert_non_null(strstr(text, "sockets="));
	free(text);
}

static void test_engine_list(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	engines_list(out);
	fclose(out);
	assert_string_equal(text,
			    "slow\tusable, 0.48 million instructions a second "
			    "at ring 0 (is emulated)\n"
			    "sure\tusable\n"
			    "auto\ttakes sure\n");
	free(text);
}

static void test_device_lists(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	(void)state;
	slots_list_pci(out);
	slots_list_lpc(out);
	fclose(out);
	assert_string_equal(text, "hostbridge\nlpc\nuart\ncom1\ncom2\n"
				  "pc-testdev\n");
	free(text);
}

static void test_names(void **state)
{
	static const char *const bad[] = {"a/b", "~", "..", ".", ".x", "/"};
	char words[100] = "-H ";
	struct parsed p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_refused(bad[i], 0, "name");
	memset(words + 3, 'x', 64);
	words[67] = '\0';
	p = parse(words);
	assert_int_equal(p.error, 0);
	config_destroy(p.config);
	words[67] = 'x';
	words[68] = '\0';
	assert_refused(words, 0, "name");
}

static void test_unbuilt(void **state)
{
	static const struct {
		const char *words, *says;
	} cases[] = {
	    {"-G 1234 v", "gdb"},
	    {"-M v", "monitor"},
	    {"-r f v", "snapshot"},
	    {"-K us v", "keyboard"},
	    {"-n id=0,size=1,cpus=0 v", "NUMA"},
	    {"-f a,string=b v", "fw_cfg"},
	    {"-o gdb.port=1 v", "gdb"},
	    {"-l bootrom,f,fwcfg=qemu v", "fw_cfg"},
	    {"-o monitor.enabled=true v", "monitor"},
	    {"-o domains.0.cpus=1 v", "domains"},
	    {"-o tpm.type=swtpm v", "tpm"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_refused(cases[i].words, 0, cases[i].says);
	assert_dump("-o monitor.enabled=false v",
		    "monitor.enabled=false\nname=v\n");
	assert_dump("-o unknown.variable=1 v", "unknown.variable=1\nname=v\n");
}

static void test_bad_words(void **state)
{
	(void)state;
	assert_refused("-o novalue v", STATUS_MALFORMED, "novalue");
	assert_refused("-o =1 v", STATUS_MALFORMED, "=1");
	assert_refused("-o a.b=1 -o a=1 v", STATUS_MALFORMED, "a:");
	assert_refused("-k /nonexistent/file v", STATUS_ERROR,
		       "/nonexistent/file");
	assert_refused("-c frogs=3 v", STATUS_MALFORMED, "frogs");
	assert_refused("-p 0 v", STATUS_MALFORMED, "-p 0");
	assert_refused("-o x=%(y) v", 0, "y");
}

static void test_file(void **state)
{
	char file[] = "/tmp/anyhyve-options-XXXXXX", words[100];
	static const char text[] = "memory.size=1G\nname=file\n"
				   "pci.0.3.0.device=uart\n";
	int fd = mkstemp(file);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	snprintf(words, sizeof(words), "-m 2G -k %s -u", file);
	assert_dump(words, "memory.size=1G\nname=file\npci.0.3.0.device=uart\n"
			   "rtc.use_localtime=false\n");
	snprintf(words, sizeof(words), "-k %s -s 3,lpc", file);
	assert_refused(words, STATUS_ERROR, "already occupied");
	unlink(file);
}

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525 + 1013904223;
	return *seed >> 8;
}

/* Words out of what the grammars are made of: taken, or refused in a line. */
static void test_noise(void **state)
{
	static const char *const pieces[] = {
	    "-c ",  "-p ",     "-s ",   "-l ",  "-o ",    "-m ", "0",
	    "1",    "31",      ":",     ",",    "=",      "-",   "cpus=",
	    "uart", "sockets", "lpc",   "com1", "help",   "99",  "~ ",
	    ".",    "%(",      "4096K", "vm0 ", "99999 ", "a",   ")"};
	uint32_t seed = 4711;

	(void)state;
	for (int round = 0; round < 20000; round++) {
		char words[200] = "-H ";
		unsigned int count = next_random(&seed) % 16;
		struct parsed p;

		while (count-- > 0)
			strcat(words,
			       pieces[next_random(&seed) % ARRAY_SIZE(pieces)]);
		if (strstr(words, "help") != NULL)
			continue;
		p = parse(words);
		if (p.error == 0)
			p.error = options_check(p.config, &p.err);
		if (p.error != 0)
			assert_true(p.err.text[0] != '\0');
		config_destroy(p.config);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_flags),
	    cmocka_unit_test(test_slots),
	    cmocka_unit_test(test_bad_slots),
	    cmocka_unit_test(test_usage),
	    cmocka_unit_test(test_usage_text),
	    cmocka_unit_test(test_names),
	    cmocka_unit_test(test_unbuilt),
	    cmocka_unit_test(test_bad_words),
	    cmocka_unit_test(test_device_lists),
	    cmocka_unit_test(test_engine_list),
	    cmocka_unit_test(test_file),
	    cmocka_unit_test(test_noise),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
