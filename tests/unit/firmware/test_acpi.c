// SPDX-License-Identifier: BSD-2-Clause
/*
 * ACPI tables, found as an operating system finds them: from the RSDP on, by
 * their pointers. Offsets are the specification's, not our structures'.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "boards.h"
#include "firmware/acpi.h"
#include "firmware/lowmem.h"

struct acpi {
	struct fw_board board;
	uint8_t *memory; /* of LOWMEM_ACPI_SIZE bytes, at LOWMEM_ACPI */
	int size;
};

static struct acpi build(enum test_board which)
{
	struct acpi acpi = {.memory = malloc(LOWMEM_ACPI_SIZE)};
	struct err err = {""};

	assert_non_null(acpi.memory);
	/* What is left over from an earlier run must not shine through. */
	memset(acpi.memory, 0xa5, LOWMEM_ACPI_SIZE);
	test_board(which, &acpi.board);
	acpi.size = acpi_build(&acpi.board, LOWMEM_ACPI, acpi.memory,
			       LOWMEM_ACPI_SIZE, &err);
	if (acpi.size <= 0)
		fail_msg("%s: %s", test_board_name(which), err.text);
	return acpi;
}

static unsigned int sum(const uint8_t *from, size_t size)
{
	unsigned int total = 0;

	for (size_t i = 0; i < size; i++)
		total += from[i];
	return total & 0xff;
}

/* What a pointer points to; all size bytes of it are inside. */
static uint8_t *at(const struct acpi *acpi, uint64_t gpa, size_t size)
{
	assert_in_range(gpa, LOWMEM_ACPI, LOWMEM_ACPI + acpi->size - size);
	return acpi->memory + (gpa - LOWMEM_ACPI);
}

/* A table with a header; its length and checksum are right. */
static uint8_t *table_at(const struct acpi *acpi, uint64_t gpa)
{
	uint8_t *table = at(acpi, gpa, 36);
	uint32_t length = load_le32(table + 4);

	assert_true(length >= 36);
	at(acpi, gpa, length);
	assert_int_equal(sum(table, length), 0);
	return table;
}

static uint8_t *xsdt(const struct acpi *acpi)
{
	return table_at(acpi, load_le64(acpi->memory + 24));
}

static size_t entries(const uint8_t *table, size_t width)
{
	uint32_t length = load_le32(table + 4);

	assert_int_equal((length - 36) % width, 0);
	return (length - 36) / width;
}

/* The only table of that signature, or NULL. */
static uint8_t *find(const struct acpi *acpi, const char *signature)
{
	const uint8_t *list = xsdt(acpi);
	uint8_t *found = NULL;

	for (size_t i = 0; i < entries(list, 8); i++) {
		uint8_t *table = table_at(acpi, load_le64(list + 36 + 8 * i));

		if (memcmp(table, signature, 4) != 0)
			continue;
		assert_null(found);
		found = table;
	}
	return found;
}

/* -- what every board's tables are ----------------------------------------- */

static void test_rsdp(void **state)
{
	for (unsigned int i = 0; i < TEST_BOARDS; i++) {
		struct acpi acpi = build(i);
		const uint8_t *rsdp = acpi.memory;

		assert_memory_equal(rsdp, "RSD PTR ", 8);
		assert_int_equal(sum(rsdp, 20), 0);
		assert_int_equal(sum(rsdp, 36), 0);
		assert_int_equal(rsdp[15], 2);
		assert_int_equal(load_le32(rsdp + 20), 36);
		assert_memory_equal(xsdt(&acpi), "XSDT", 4);
		free(acpi.memory);
	}
}

static void test_lists_agree(void **state)
{
	for (unsigned int i = 0; i < TEST_BOARDS; i++) {
		struct acpi acpi = build(i);
		const uint8_t *wide = xsdt(&acpi);
		const uint8_t *narrow =
		    table_at(&acpi, load_le32(acpi.memory + 16));
		size_t count = entries(wide, 8);

		assert_memory_equal(narrow, "RSDT", 4);
		assert_int_equal(entries(narrow, 4), count);
		for (size_t k = 0; k < count; k++)
			assert_int_equal(load_le32(narrow + 36 + 4 * k),
					 load_le64(wide + 36 + 8 * k));
		assert_non_null(find(&acpi, "FACP"));
		assert_non_null(find(&acpi, "APIC"));
		assert_non_null(find(&acpi, "SSDT"));
		free(acpi.memory);
	}
}

static void check_gas(const uint8_t *gas, uint8_t bits, uint64_t port)
{
	assert_int_equal(gas[0], 1);
	assert_int_equal(gas[1], bits);
	assert_int_equal(gas[2], 0);
	assert_int_equal(load_le64(gas + 4), port);
}

static void test_fadt(void **state)
{
	struct acpi acpi = build(BOARD_USUAL);
	const uint8_t *fadt = find(&acpi, "FACP");
	const uint8_t *facs = at(&acpi, load_le32(fadt + 36), 64);
	uint32_t flags = load_le32(fadt + 112);

	assert_int_equal(load_le32(fadt + 4), 268);
	assert_int_equal(fadt[8], 5);
	assert_int_equal(fadt[131], 1);
	assert_memory_equal(facs, "FACS", 4);
	assert_int_equal(load_le32(fadt + 36) % 64, 0);
	assert_int_equal(load_le32(facs + 4), 64);
	assert_memory_equal(table_at(&acpi, load_le32(fadt + 40)), "DSDT", 4);
	assert_int_equal(load_le64(fadt + 140), load_le32(fadt + 40));

	assert_int_equal(load_le16(fadt + 46), 9); /* SCI_INT */
	assert_int_equal(load_le32(fadt + 48), 0xb2);
	assert_int_equal(fadt[52], 0xa0);
	assert_int_equal(fadt[53], 0xa1);
	check_gas(fadt + 148, 32, 0x400); /* X_PM1a_EVT_BLK */
	check_gas(fadt + 172, 16, 0x404); /* X_PM1a_CNT_BLK */
	check_gas(fadt + 208, 32, 0x408); /* X_PM_TMR_BLK */
	check_gas(fadt + 220, 16, 0x40c); /* X_GPE0_BLK */
	assert_int_equal(load_le32(fadt + 56), 0x400);
	assert_int_equal(load_le32(fadt + 64), 0x404);
	assert_int_equal(load_le32(fadt + 76), 0x408);
	assert_int_equal(load_le32(fadt + 80), 0x40c);
	assert_memory_equal(fadt + 88, "\4\2\0\4\2\0", 6);
	assert_int_equal(fadt[108], 0x32); /* CENTURY */
	check_gas(fadt + 116, 8, 0xcf9);
	assert_int_equal(fadt[128], 6);

	/* The power button is a fixed one, the timer has 32 bits. */
	assert_int_equal(flags & BIT(4), 0);
	assert_int_equal(flags & BIT(8), BIT(8));
	assert_int_equal(flags & BIT(10), BIT(10)); /* RESET_REG_SUP */
	assert_int_equal(flags & BIT(20), 0);       /* not hardware-reduced */
	free(acpi.memory);
}

/* -- MADT ------------------------------------------------------------------ */

struct madt {
	unsigned int cpus, ioapics, overrides, nmis;
	bool timer_at_2, sci_low_level;
	uint32_t apic_id[FW_MAX_CPUS + 1];
};

static void read_entry(const uint8_t *entry, struct madt *madt)
{
	switch (entry[0]) {
	case 0:
		assert_int_equal(entry[1], 8);
		assert_int_equal(entry[2], madt->cpus);
		assert_int_equal(load_le32(entry + 4), 1);
		madt->apic_id[madt->cpus++] = entry[3];
		break;
	case 9:
		assert_int_equal(entry[1], 16);
		assert_int_equal(load_le32(entry + 12), madt->cpus);
		assert_int_equal(load_le32(entry + 8), 1);
		madt->apic_id[madt->cpus++] = load_le32(entry + 4);
		break;
	case 1:
		assert_int_equal(entry[1], 12);
		assert_int_equal(load_le32(entry + 4), 0xfec00000);
		assert_int_equal(load_le32(entry + 8), 0);
		madt->ioapics++;
		break;
	case 2:
		assert_int_equal(entry[1], 10);
		madt->overrides++;
		if (entry[3] == 0)
			madt->timer_at_2 = load_le32(entry + 4) == 2 &&
					   load_le16(entry + 8) == 5;
		if (entry[3] == 9)
			madt->sci_low_level = load_le32(entry + 4) == 9 &&
					      load_le16(entry + 8) == 0xf;
		break;
	case 4:
		assert_memory_equal(entry, "\4\6\377\5\0\1", 6);
		madt->nmis++;
		break;
	default:
		fail_msg("MADT entry of type %u", entry[0]);
	}
	assert_true(madt->cpus <= FW_MAX_CPUS);
}

static void test_madt(void **state)
{
	for (unsigned int i = 0; i < TEST_BOARDS; i++) {
		struct acpi acpi = build(i);
		const uint8_t *table = find(&acpi, "APIC");
		uint32_t length = load_le32(table + 4);
		struct madt madt = {0};
		uint32_t offset = 44;

		assert_int_equal(load_le32(table + 36), 0xfee00000);
		assert_int_equal(load_le32(table + 40), 1);
		for (; offset < length; offset += table[offset + 1]) {
			assert_true(table[offset + 1] >= 2);
			read_entry(table + offset, &madt);
		}
		assert_int_equal(offset, length);
		assert_int_equal(madt.cpus, acpi.board.ncpus);
		assert_memory_equal(madt.apic_id, acpi.board.apic_id,
				    4 * madt.cpus);
		assert_int_equal(madt.ioapics, 1);
		assert_int_equal(madt.overrides, 2);
		assert_int_equal(madt.nmis, 1);
		assert_true(madt.timer_at_2 && madt.sci_low_level);
		free(acpi.memory);
	}
}

static void test_hpet_and_mcfg(void **state)
{
	struct acpi acpi = build(BOARD_FULL);
	const uint8_t *hpet = find(&acpi, "HPET");
	const uint8_t *mcfg = find(&acpi, "MCFG");

	assert_int_equal(load_le32(hpet + 4), 56);
	assert_int_equal(load_le32(hpet + 36), acpi.board.hpet_id);
	assert_int_equal(hpet[40], 0);
	assert_int_equal(load_le64(hpet + 44), 0xfed00000);
	assert_int_equal(load_le32(mcfg + 4), 60);
	assert_int_equal(load_le64(mcfg + 44), 0xe0000000);
	assert_int_equal(load_le16(mcfg + 52), 0);
	assert_int_equal(mcfg[54], 0);
	assert_int_equal(mcfg[55], 255);
	free(acpi.memory);

	acpi = build(BOARD_BARE);
	assert_null(find(&acpi, "HPET"));
	assert_null(find(&acpi, "MCFG"));
	free(acpi.memory);
}

/* -- what cannot be -------------------------------------------------------- */

static void test_small_buffers(void **state)
{
	for (unsigned int i = 0; i < TEST_BOARDS; i++) {
		struct acpi whole = build(i);
		uint8_t *memory = malloc((size_t)whole.size + 16);
		struct err err;

		assert_non_null(memory);
		/* Coarse steps where there is much, every byte at the end. */
		for (int room = 0; room < whole.size;
		     room += room < whole.size - 64 ? 37 : 1) {
			memset(memory, 0x5a, (size_t)whole.size + 16);
			assert_int_equal(acpi_build(&whole.board, LOWMEM_ACPI,
						    memory, (size_t)room, &err),
					 -ENOSPC);
			assert_non_null(strstr(err.text, "ACPI"));
			for (int k = room; k < whole.size + 16; k++)
				assert_int_equal(memory[k], 0x5a);
		}
		assert_int_equal(acpi_build(&whole.board, LOWMEM_ACPI, memory,
					    (size_t)whole.size, &err),
				 whole.size);
		assert_memory_equal(memory, whole.memory, whole.size);
		free(memory);
		free(whole.memory);
	}
}

static void refused(const struct fw_board *board)
{
	uint8_t memory[64];
	struct err err = {""};

	assert_int_equal(
	    acpi_build(board, LOWMEM_ACPI, memory, sizeof(memory), &err),
	    -EINVAL);
	assert_true(strlen(err.text) > 0);
}

static void test_impossible_boards(void **state)
{
	struct fw_board usual, board;

	test_board(BOARD_USUAL, &usual);
	board = usual, board.ncpus = 0, refused(&board);
	board = usual, board.ncpus = FW_MAX_CPUS + 1, refused(&board);
	board = usual, board.bus_count = FW_MAX_BUSES + 1, refused(&board);
	board = usual, board.bus_count = 0, refused(&board);
	board = usual, board.bus[0].number = 1, refused(&board);
	board = usual, board.bus[0].intx = NULL, refused(&board);
	board = usual, board.bus[0].mem64.size = UINT64_MAX, refused(&board);
	board = usual, board.bus[0].io[3].base = 0xffff;
	board.bus[0].io[3].size = 2, refused(&board);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_rsdp),
	    cmocka_unit_test(test_lists_agree),
	    cmocka_unit_test(test_fadt),
	    cmocka_unit_test(test_madt),
	    cmocka_unit_test(test_hpet_and_mcfg),
	    cmocka_unit_test(test_small_buffers),
	    cmocka_unit_test(test_impossible_boards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
