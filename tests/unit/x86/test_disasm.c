// SPDX-License-Identifier: BSD-2-Clause
#include "x86/disasm.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
// clang-format off
#include <cmocka.h>
// clang-format on

#include "base/bits.h"

static const struct {
	uint8_t bytes[6], len;
	unsigned code_size;
	uint64_t rip;
	const char *text;
} cases[] = {
    {{0x48, 0x01, 0xc3, 0x90}, 4, 8, 0, "add rbx, rax"},
    {{0x48, 0x01, 0xc3}, 3, 4, 0, "dec eax"},
    {{0xb8, 1, 0, 0, 0}, 5, 2, 0, "mov ax, 0x01"},
    {{0xeb, 0xfe}, 2, 8, 0xffffffff81000000, "jmp 0xFFFFFFFF81000000"},
    {{0xe9, 0, 1, 0, 0}, 5, 4, 0x1000, "jmp 0x00001105"},
};

static void test_instructions(void **state)
{
	static const unsigned lengths[] = {3, 1, 3, 2, 5};
	char text[64];

	(void)state;
	for (unsigned n = 0; n < ARRAY_SIZE(cases); n++) {
		assert_int_equal(disasm(cases[n].bytes, cases[n].len,
					cases[n].code_size, cases[n].rip, text,
					sizeof(text)),
				 lengths[n]);
		assert_string_equal(text, cases[n].text);
	}
}

/* Too short, none, nothing at all, and no room for the text. */
static void test_none(void **state)
{
	static const uint8_t bytes[] = {0x0f, 0xff};
	char text[64];

	(void)state;
	for (unsigned len = 0; len <= 1; len++) {
		assert_int_equal(disasm(bytes, len, 8, 0, text, sizeof(text)),
				 0);
		assert_string_equal(text, "(no instruction)");
	}
	assert_int_equal(disasm(cases[0].bytes, 3, 8, 0, text, 4), 0);
	assert_string_equal(text, "(no");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_instructions),
	    cmocka_unit_test(test_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
