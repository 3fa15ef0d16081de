// SPDX-License-Identifier: BSD-2-Clause
/* Making a machine: what is asked of the VM, and what is left of a failure. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "bhyve/status.h"
#include "bhyve/tables.h"
#include "fake_setup.h"
#include "firmware/lowmem.h"

static struct config *config_of(const char *const *settings)
{
	struct config *config = config_create();
	struct err err;

	config_set(config, "name", "vm0");
	config_set(config, "engine", "fake");
	for (; *settings != NULL; settings++)
		assert_int_equal(config_parse_option(config, *settings, &err),
				 0);
	return config;
}

static const char *const direct[] = {
    "boot.kernel=k",
    "memory.size=4096M",
    "cpus=4",
    "cores=2",
    "x86.x2apic=true",
    "uuid=00112233-4455-6677-8899-aabbccddeeff",
    NULL};
static const char *const loaded[] = {"memory.size=512M", NULL};

static void assert_nothing_open(const struct fake_setup *s)
{
	assert_int_equal(s->handles, 0);
	assert_int_equal(s->vcpus, 0);
	assert_int_equal(s->boards, 0);
}

/* A machine as after power-up, and nothing loaded. */
static void test_boot_rom(void **state)
{
	static const char *const rom[] = {"bootrom=r", "memory.size=512M",
					  NULL};
	struct config *config = config_of(rom);
	struct machine *m = NULL;
	struct fake_setup s;
	struct err err;
	int status;

	(void)state;
	fake_setup_use(&s);
	assert_int_equal(machine_create(config, NULL, &m, &status, &err), 0);
	assert_int_equal(s.creates, 1);
	assert_int_equal(s.loads, 0);
	machine_destroy(m, false);
	assert_nothing_open(&s);
	config_destroy(config);
}

static void test_direct_boot(void **state)
{
	struct config *config = config_of(direct);
	struct machine *m = NULL;
	struct fake_setup s;
	struct err err;
	int status;

	(void)state;
	fake_setup_use(&s);
	assert_int_equal(machine_create(config, NULL, &m, &status, &err), 0);
	assert_int_equal(s.creates, 1);
	assert_int_equal(s.loads, 1);
	assert_int_equal(s.vcpus, 4);
	assert_int_equal(s.sockets, 2);
	assert_int_equal(s.cores, 2);
	assert_string_equal(s.engine, "fake");
	assert_int_equal(s.size, 4 * GiB);
	/* 3 GiB below, 1 GiB above, in CMOS's units. */
	assert_int_equal(s.rtc[0x34] | s.rtc[0x35] << 8,
			 (3 * GiB - 16 * MiB) / (64 * KiB));
	assert_int_equal(s.rtc[0x5b] | s.rtc[0x5c] << 8 | s.rtc[0x5d] << 16,
			 1 * GiB / (64 * KiB));
	assert_memory_equal(s.low + LOWMEM_MPTABLE, "MMMM", 4);
	assert_memory_equal(s.low + LOWMEM_SMBIOS, "SSSS", 4);
	assert_memory_equal(s.low + LOWMEM_ACPI, "AAAA", 4);
	assert_memory_equal(s.uuid,
			    "\x00\x11\x22\x33\x44\x55\x66\x77"
			    "\x88\x99\xaa\xbb\xcc\xdd\xee\xff",
			    16);
	machine_destroy(m, false);
	assert_nothing_open(&s);
	assert_int_equal(s.destroys, 0);
	config_destroy(config);
}

static void test_no_tables(void **state)
{
	static const char *const settings[] = {
	    "boot.kernel=k", "x86.mptable=false", "acpi_tables=false", NULL};
	struct config *config = config_of(settings);
	struct machine *m = NULL;
	struct fake_setup s;
	struct err err;
	int status;

	(void)state;
	fake_setup_use(&s);
	s.low[LOWMEM_MPTABLE] = 'x'; /* of an earlier run */
	assert_int_equal(machine_create(config, NULL, &m, &status, &err), 0);
	assert_int_equal(s.low[LOWMEM_MPTABLE], 0);
	assert_int_equal(s.low[LOWMEM_SMBIOS], 'S');
	assert_int_equal(s.low[LOWMEM_ACPI], 0);
	machine_destroy(m, true);
	assert_int_equal(s.destroys, 1);
	config_destroy(config);
}

/* Each call that can fail does once: a line, status 4, and nothing left. */
static void fail_everywhere(const char *const *settings, bool exists)
{
	struct config *config = config_of(settings);
	unsigned int calls = 1;

	for (unsigned int fail = 1; fail <= calls; fail++) {
		struct machine *m = NULL;
		struct fake_setup s;
		struct err err = {""};
		int status = -1;

		fake_setup_use(&s);
		s.exists = exists;
		s.memory = 512 * MiB;
		if (fail == 1) {
			assert_int_equal(
			    machine_create(config, NULL, &m, &status, &err), 0);
			machine_destroy(m, false);
			calls = s.calls;
			assert_true(calls > 10);
			fake_setup_use(&s);
			s.exists = exists;
			s.memory = 512 * MiB;
		}
		s.fail = fail;
		assert_true(machine_create(config, NULL, &m, &status, &err) <
			    0);
		assert_true(err.text[0] != '\0');
		assert_true(status == STATUS_ERROR ||
			    status == STATUS_MALFORMED);
		assert_nothing_open(&s);
		assert_int_equal(s.exists, exists);
	}
	config_destroy(config);
}

static void test_failures(void **state)
{
	(void)state;
	fail_everywhere(direct, false);
	fail_everywhere(direct, true);
	fail_everywhere(loaded, true);
}

static void assert_refused(const char *setting, int status, const char *says)
{
	const char *const settings[] = {setting, NULL};
	struct config *config = config_of(settings);
	struct machine *m = NULL;
	struct fake_setup s;
	struct err err;
	int got;

	fake_setup_use(&s);
	s.exists = true;
	s.memory = 256 * MiB;
	assert_true(machine_create(config, NULL, &m, &got, &err) < 0);
	assert_int_equal(got, status);
	if (strstr(err.text, says) == NULL)
		fail_msg("%s: %s", setting, err.text);
	assert_nothing_open(&s);
	assert_true(s.exists);
	config_destroy(config);
}

static void test_bad_values(void **state)
{
	(void)state;
	assert_refused("memory.size=12x", STATUS_MALFORMED, "12x");
	assert_refused("memory.size=512M", STATUS_ERROR, "256 MiB");
	assert_refused("memory.size=512M", STATUS_ERROR, "512 MiB");
	assert_refused("memory.wired=perhaps", STATUS_MALFORMED, "perhaps");
	assert_refused("cpus=99", STATUS_MALFORMED, "99");
	assert_refused("vcpu.0.cpuset=1023", STATUS_MALFORMED, "1023");
	assert_refused("x86.strictio=perhaps", STATUS_ERROR, "x86.strictio");
	assert_refused("rtc.use_localtime=x", STATUS_ERROR, "localtime");
	assert_refused("uuid=xyz", STATUS_ERROR, "uuid");
	assert_refused("acpi_tables=x", STATUS_ERROR, "acpi_tables");
}

/* In the order of their numbers, not of the options. */
static void test_modules(void **state)
{
	static const char *const settings[] = {
	    "boot.kernel=k",      "boot.module.10=ten",  "boot.module.2=two w",
	    "boot.module.0=zero", "boot.module.63=last", NULL};
	struct config *config = config_of(settings);
	struct machine *m = NULL;
	struct fake_setup s;
	struct err err;
	int status;

	(void)state;
	fake_setup_use(&s);
	assert_int_equal(machine_create(config, NULL, &m, &status, &err), 0);
	assert_string_equal(s.modules, "zero|two w|ten|last|");
	machine_destroy(m, false);
	config_destroy(config);
}

static void test_bad_modules(void **state)
{
	static const char *const bad[] = {
	    "boot.module=x",    "boot.module.64=x",        "boot.module.x=x",
	    "boot.module.01=x", "boot.module.1x=x",        "boot.module.1.a=x",
	    "boot.module.-1=x", "boot.module.6400000000=x"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		const char *const settings[] = {"boot.kernel=k", bad[i], NULL};
		struct config *config = config_of(settings);
		struct machine *m = NULL;
		struct fake_setup s;
		struct err err;
		int status;

		fake_setup_use(&s);
		assert_int_equal(
		    machine_create(config, NULL, &m, &status, &err), -EINVAL);
		assert_int_equal(status, STATUS_MALFORMED);
		assert_non_null(strstr(err.text, "boot.module"));
		assert_int_equal(s.creates, 0);
		assert_nothing_open(&s);
		config_destroy(config);
	}
}

static void test_no_such_vm(void **state)
{
	struct config *config = config_of(loaded);
	struct machine *m = NULL;
	struct fake_setup s;
	struct err err;
	int status;

	(void)state;
	fake_setup_use(&s);
	assert_int_equal(machine_create(config, NULL, &m, &status, &err),
			 -ENOENT);
	assert_int_equal(status, STATUS_ERROR);
	assert_non_null(strstr(err.text, "vm0"));
	assert_false(s.exists);
	config_destroy(config);
}

static void test_uuid(void **state)
{
	static const char *const bad[] = {
	    "",
	    "00112233445566778899aabbccddeeff",
	    "00112233-4455-6677-8899-aabbccddeef",
	    "00112233-4455-6677-8899-aabbccddeeff0",
	    "0011223-34455-6677-8899-aabbccddeeff",
	    "g0112233-4455-6677-8899-aabbccddeeff",
	    "00112233-4455-6677-8899-aabbccddee f"};
	uint8_t one[16], two[16];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(uuid_parse(bad[i], one), -EINVAL);
	assert_int_equal(
	    uuid_parse("FFEEDDCC-bbaa-9988-7766-554433221100", one), 0);
	assert_int_equal(one[0], 0xff);
	assert_int_equal(one[15], 0x00);

	uuid_derive("host", "vm0", one);
	uuid_derive("host", "vm0", two);
	assert_memory_equal(one, two, 16);
	assert_int_equal(one[6] >> 4, 8);
	assert_int_equal(one[8] >> 6, 2);
	uuid_derive("host", "vm1", two);
	assert_memory_not_equal(one, two, 16);
	uuid_derive("other", "vm0", two);
	assert_memory_not_equal(one, two, 16);
}

/* Refused before anything is loaded, and nothing stays. */
static void test_no_such_engine(void **state)
{
	struct config *config = config_of(direct);
	struct machine *m = NULL;
	struct fake_setup s;
	struct err err;
	int status;

	(void)state;
	fake_setup_use(&s);
	s.no_engine = true;
	assert_int_equal(machine_create(config, NULL, &m, &status, &err),
			 -ENOTSUP);
	assert_int_equal(status, STATUS_ERROR);
	assert_string_equal(err.text, "vm0: engine fake: a test");
	assert_int_equal(s.loads, 0);
	assert_int_equal(s.destroys, s.creates);
	assert_nothing_open(&s);
	config_destroy(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_boot_rom),
	    cmocka_unit_test(test_direct_boot),
	    cmocka_unit_test(test_no_tables),
	    cmocka_unit_test(test_failures),
	    cmocka_unit_test(test_bad_values),
	    cmocka_unit_test(test_modules),
	    cmocka_unit_test(test_bad_modules),
	    cmocka_unit_test(test_no_such_vm),
	    cmocka_unit_test(test_no_such_engine),
	    cmocka_unit_test(test_uuid),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
