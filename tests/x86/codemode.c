// SPDX-License-Identifier: BSD-2-Clause
#include "codemode.h"

#include "base/bits.h"

/* Linux' selectors for user code and data. */
#define USER_CS32 0x23
#define USER_DS   0x2b
#define USER_CS   0x33
/* And for its own. */
#define KERNEL_CS 0x10
#define KERNEL_DS 0x18

#define LDT(n) (uint16_t)((n) << 3 | 4 | 3)

enum { CODE32, DATA32, DOWN32, CODE16, DATA16, DOWN16 };

/*
 * All of the test's memory in 64 KiB. ES expands down: its first page of the
 * data is out of its limits.
 */
const struct ldt_segment ldt_segments[LDT_ENTRIES] = {
    [CODE32] = {0xffff, .code = true, .is_32bit = true},
    [DATA32] = {0xffff, .is_32bit = true},
    [DOWN32] = {TEST_DATA + 0xfff - TEST_CODE, .expand_down = true,
		.is_32bit = true},
    [CODE16] = {0xffff, .code = true},
    [DATA16] = {0xffff},
    [DOWN16] = {TEST_DATA + 0xfff - TEST_CODE, .expand_down = true},
};

const struct code_mode code_mode_64 = {
    "64-bit code", 8, 8, 0, USER_CS, USER_DS, USER_DS, USER_DS, 0};

const struct code_mode code_mode_kernel = {"64-bit code at CPL 0",
					   8,
					   8,
					   0,
					   KERNEL_CS,
					   KERNEL_DS,
					   KERNEL_DS,
					   KERNEL_DS,
					   0};

const struct code_mode code_mode_32 = {
    "32-bit code",    4, 4, 0, USER_CS32, USER_DS, USER_DS, USER_DS,
    TEST_DATA + 0x803};

const struct code_mode code_modes_legacy[] = {
    {"32-bit code, flat", 4, 4, 0, USER_CS32, USER_DS, USER_DS, USER_DS, 0},
    {"32-bit code, limits", 4, 4, TEST_CODE, LDT(CODE32), LDT(DATA32),
     LDT(DATA32), LDT(DOWN32), 0},
    {"32-bit code, 16-bit stack", 4, 2, TEST_CODE, LDT(CODE32), LDT(DATA16),
     LDT(DATA32), LDT(DOWN32), 0},
    {"16-bit code", 2, 2, TEST_CODE, LDT(CODE16), LDT(DATA16), LDT(DATA16),
     LDT(DOWN16), 0},
    {"16-bit code, 32-bit stack", 2, 4, TEST_CODE, LDT(CODE16), LDT(DATA32),
     LDT(DATA16), LDT(DOWN16), 0},
};
const unsigned code_modes_legacy_count = ARRAY_SIZE(code_modes_legacy);
