// SPDX-License-Identifier: BSD-2-Clause
/*
 * What is said while a kernel is loaded: nothing in the first second, then one
 * line that is redrawn on a terminal; in a log, a line at the start and one at
 * the end.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "kernels.h"

#define SECOND 1000000000ull

/* stderr goes to fd for as long as the reports are made. */
static void print(int fd, const struct boot_progress *reports, size_t count)
{
	struct boot_progress_line line = {0};
	int was = dup(STDERR_FILENO);

	assert_true(was >= 0);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	for (size_t i = 0; i < count; i++)
		boot_progress_print(&line, &reports[i]);
	assert_true(dup2(was, STDERR_FILENO) >= 0);
	close(was);
}

static void print_to_log(const struct boot_progress *reports, size_t count,
			 char text[4096])
{
	FILE *log = tmpfile();
	size_t size;

	assert_non_null(log);
	print(fileno(log), reports, count);
	rewind(log);
	size = fread(text, 1, 4095, log);
	text[size] = '\0';
	fclose(log);
}

static void print_to_terminal(const struct boot_progress *reports, size_t count,
			      char text[4096])
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
	size_t size = 0;
	ssize_t got;
	int slave;

	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY);
	assert_true(slave >= 0);
	print(slave, reports, count);
	while (size < 4095 &&
	       (got = read(master, text + size, 4095 - size)) > 0)
		size += (size_t)got;
	text[size] = '\0';
	close(slave);
	close(master);
}

static unsigned int count_of(const char *text, char c)
{
	unsigned int count = 0;

	for (; *text != '\0'; text++)
		count += *text == c;
	return count;
}

#define REPORT(in, ms, last)                                                   \
	{                                                                      \
		.file = "vmlinuz", .action = "unpacking (xz)",                 \
		.bytes_in = (in), .total_in = 200, .bytes_out = 42 * MiB,      \
		.ns = (ms)*SECOND / 1000, .done = (last)                       \
	}

static const struct boot_progress quick[] = {
    REPORT(10, 100, false),
    REPORT(100, 999, false),
    REPORT(200, 999, true),
};

static const struct boot_progress slow[] = {
    REPORT(10, 500, false),   REPORT(50, 1000, false),  REPORT(51, 1050, false),
    REPORT(100, 1500, false), REPORT(199, 2500, false), REPORT(200, 2600, true),
};

static void test_quick_is_silent(void **state)
{
	char text[4096];

	print_to_log(quick, ARRAY_SIZE(quick), text);
	assert_string_equal(text, "");
	print_to_terminal(quick, ARRAY_SIZE(quick), text);
	assert_string_equal(text, "");
}

static void test_log(void **state)
{
	char text[4096];

	print_to_log(slow, ARRAY_SIZE(slow), text);
	assert_int_equal(count_of(text, '\n'), 2);
	assert_int_equal(count_of(text, '\r'), 0);
	assert_non_null(strstr(text, "vmlinuz: unpacking (xz), 25 %, 42 MiB"));
	assert_non_null(strstr(text, "100 %, 42 MiB, 2.6 s\n"));
}

static void test_terminal(void **state)
{
	char text[4096];

	print_to_terminal(slow, ARRAY_SIZE(slow), text);
	/* At 1.0, 1.5, 2.5 and 2.6 s; 1.05 is too soon. The end has \r\n. */
	assert_int_equal(count_of(text, '\r'), 5);
	assert_int_equal(count_of(text, '\n'), 1);
	assert_null(strstr(text, "1.1 s"));
	assert_non_null(strstr(text, "50 %"));
	assert_non_null(strstr(text, "99 %"));
}

/* -- what boot_load reports ------------------------------------------------ */

struct seen {
	unsigned int calls, ends;
	uint64_t last_in;
	uint64_t initrd_out;
	bool kernel, initrd;
};

static void record(void *arg, const struct boot_progress *progress)
{
	struct seen *seen = arg;

	seen->calls++;
	assert_true(progress->bytes_in <= progress->total_in);
	if (strstr(progress->file, "initrd") != NULL) {
		seen->initrd = true;
		seen->initrd_out = progress->bytes_out;
		assert_string_equal(progress->action, "loading");
	} else {
		seen->kernel = true;
		assert_string_equal(progress->action, "unpacking (gzip)");
	}
	if (progress->done) {
		assert_int_equal(progress->bytes_in, progress->total_in);
		seen->ends++;
		seen->last_in = 0;
		return;
	}
	assert_true(progress->bytes_in >= seen->last_in);
	seen->last_in = progress->bytes_in;
}

static void test_reports(void **state)
{
	struct blob kernel = kernel_bzimage();
	struct blob initrd = {.data = calloc(1, MiB), .size = MiB};
	struct seen seen = {0};
	struct boot_request request = {.progress = record,
				       .progress_arg = &seen};
	struct vmctx vm;
	struct vcpu bsp = {0};
	char path[128];

	snprintf(path, sizeof(path), "%s", file_with("kernel", &kernel));
	request.kernel = path;
	request.initrd = file_with("initrd", &initrd);
	fake_vm_init(&vm, 64 * MiB, 0);
	assert_int_equal(boot_load(&vm, &bsp, &request, NULL, NULL), 0);
	assert_true(seen.kernel && seen.initrd);
	assert_int_equal(seen.ends, 2);
	/* The initrd comes in pieces, so that a slow one is seen to move. */
	assert_true(seen.calls >= 6);
	assert_int_equal(seen.initrd_out, MiB);
	fake_vm_free(&vm);
	blob_free(&kernel);
	blob_free(&initrd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_quick_is_silent),
	    cmocka_unit_test(test_log),
	    cmocka_unit_test(test_terminal),
	    cmocka_unit_test(test_reports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
