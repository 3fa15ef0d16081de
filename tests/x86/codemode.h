/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory, segments and code of the tests: the same on the host and in guests.
 */
#ifndef X86_CODEMODE_H
#define X86_CODEMODE_H

#include <stdbool.h>
#include <stdint.h>

/* The test's memory, at the same addresses on the host and in the guest. */
#define TEST_BASE     0x10000000u /* page tables, then within 64 KiB: */
#define TEST_TABLES   0x5000u
#define TEST_CODE     (TEST_BASE + 0x10000u)
#define TEST_DATA     (TEST_BASE + 0x14000u) /* two pages, nothing around */
#define TEST_STACK    (TEST_BASE + 0x18000u) /* two pages, nothing around */
#define TEST_ROM      (TEST_BASE + 0x1c000u) /* one page that guests only read */
#define TEST_FIRST    (TEST_CODE + 0x400u)   /* the instruction */
#define TEST_TABLES_2 (TEST_BASE + 0x30000u) /* guest_create_beside's */
#define TEST_OFF_2    0x20000u
#define TEST_AREA     0x2000u /* of data and of stack */
#define CODE_FILLER   0xf4    /* HLT: #GP at CPL 3 */

#define LDT_ENTRIES 6

struct code_mode {
	const char *name;
	uint8_t code_bytes, stack_bytes; /* CS.D or CS.L, SS.B: 2, 4, 8 */
	uint32_t base;                   /* of all segments */
	uint16_t cs, ss, ds, es;         /* GS is as DS, FS is null */
	uint32_t gs_base;                /* added; the host has none */
};

/* A segment descriptor in the LDT: of the code mode's base. */
struct ldt_segment {
	uint32_t limit;
	bool code, expand_down, is_32bit;
};

extern const struct code_mode code_mode_64;
/* Of guests alone. */
extern const struct code_mode code_mode_32, code_mode_kernel;
extern const struct code_mode code_modes_legacy[];
extern const unsigned code_modes_legacy_count;
extern const struct ldt_segment ldt_segments[LDT_ENTRIES];

/* The mode's segments are in the LDT. */
static inline bool code_mode_has_ldt(const struct code_mode *mode)
{
	return (mode->cs & 4) != 0;
}

/* An offset in its segments. */
static inline uint32_t code_mode_offset(const struct code_mode *mode,
					uint64_t va)
{
	return (uint32_t)va - mode->base;
}

#endif
