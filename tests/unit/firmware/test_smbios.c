// SPDX-License-Identifier: BSD-2-Clause
/* SMBIOS, read from both of its entry points on (DSP0134 3.0). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/bytes.h"
#include "boards.h"
#include "firmware/lowmem.h"
#include "firmware/smbios.h"

struct variable {
	const char *name;
	const char *value;
};

static const char *get(void *arg, const char *name)
{
	for (const struct variable *v = arg; v->name != NULL; v++) {
		if (strcmp(v->name, name) == 0)
			return v->value;
	}
	return NULL;
}

static const uint8_t uuid[16] = {0x00, 0x11, 0x22, 0x33, 0x44, 0x55,
				 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb,
				 0xcc, 0xdd, 0xee, 0xff};

static unsigned int sum(const uint8_t *from, size_t size)
{
	unsigned int total = 0;

	for (size_t i = 0; i < size; i++)
		total += from[i];
	return total & 0xff;
}

/* -- reading --------------------------------------------------------------- */

struct smbios {
	uint8_t *memory; /* of LOWMEM_SMBIOS_SIZE bytes */
	int size;
	const uint8_t *table, *end;
	unsigned int count;
	unsigned int largest;
};

/* The structure behind this one. */
static const uint8_t *next(const struct smbios *smbios, const uint8_t *at)
{
	at += at[1];
	while (at[0] != 0 || at[1] != 0) {
		at++;
		assert_true(at + 2 <= smbios->end);
	}
	return at + 2;
}

/* The nth structure of a type, or NULL. */
static const uint8_t *find(const struct smbios *smbios, uint8_t type,
			   unsigned int n)
{
	const uint8_t *at = smbios->table;

	for (unsigned int i = 0; i < smbios->count; i++) {
		if (at[0] == type && n-- == 0)
			return at;
		at = next(smbios, at);
	}
	return NULL;
}

static unsigned int count_of(const struct smbios *smbios, uint8_t type)
{
	unsigned int count = 0;

	while (find(smbios, type, count) != NULL)
		count++;
	return count;
}

/* The string that the byte at offset names. */
static const char *string(const uint8_t *structure, unsigned int offset)
{
	const char *text = (const char *)structure + structure[1];

	assert_true(offset < structure[1]);
	if (structure[offset] == 0)
		return "";
	for (unsigned int i = 1; i < structure[offset]; i++) {
		assert_true(*text != '\0');
		text += strlen(text) + 1;
	}
	return text;
}

static void check_entry_points(struct smbios *smbios)
{
	const uint8_t *sm = smbios->memory;
	const uint8_t *sm3 = smbios->memory + 32;
	uint32_t address = load_le32(sm + 24);

	assert_memory_equal(sm, "_SM_", 4);
	assert_int_equal(sm[5], 31);
	assert_int_equal(sum(sm, 31), 0);
	assert_memory_equal(sm + 16, "_DMI_", 5);
	assert_int_equal(sum(sm + 16, 15), 0);
	assert_memory_equal(sm3, "_SM3_", 5);
	assert_int_equal(sm3[6], 24);
	assert_int_equal(sum(sm3, 24), 0);
	assert_int_equal(load_le64(sm3 + 16), address);
	assert_int_equal(load_le32(sm3 + 12), load_le16(sm + 22));
	assert_in_range(address, LOWMEM_SMBIOS,
			LOWMEM_SMBIOS + smbios->size - 1);
	smbios->table = smbios->memory + (address - LOWMEM_SMBIOS);
	smbios->end = smbios->table + load_le16(sm + 22);
	smbios->count = load_le16(sm + 28);
	smbios->largest = load_le16(sm + 8);
	assert_ptr_equal(smbios->end, smbios->memory + smbios->size);
}

/* All structures are there, with handles of their own. */
static void check_structures(const struct smbios *smbios)
{
	const uint8_t *at = smbios->table;
	unsigned int largest = 0;

	for (unsigned int i = 0; i < smbios->count; i++) {
		const uint8_t *behind = next(smbios, at);

		assert_int_equal(load_le16(at + 2), i);
		largest = MAX(largest, (unsigned int)(behind - at));
		assert_int_equal(at[0] == 127, i == smbios->count - 1);
		at = behind;
	}
	assert_ptr_equal(at, smbios->end);
	assert_int_equal(largest, smbios->largest);
}

static struct smbios build(const struct fw_board *board,
			   const struct variable *variables)
{
	struct smbios smbios = {.memory = malloc(LOWMEM_SMBIOS_SIZE)};
	struct smbios_source source = {
	    .get = variables != NULL ? get : NULL,
	    .arg = (void *)(uintptr_t)variables,
	};
	struct err err = {""};

	assert_non_null(smbios.memory);
	memset(smbios.memory, 0xa5, LOWMEM_SMBIOS_SIZE);
	memcpy(source.uuid, uuid, sizeof(uuid));
	smbios.size = smbios_build(board, &source, LOWMEM_SMBIOS, smbios.memory,
				   LOWMEM_SMBIOS_SIZE, &err);
	if (smbios.size <= 0)
		fail_msg("%s", err.text);
	check_entry_points(&smbios);
	check_structures(&smbios);
	return smbios;
}

/* -- tests ----------------------------------------------------------------- */

static void test_boards(void **state)
{
	static const uint8_t once[] = {0, 1, 2, 3, 16, 32, 127};

	for (unsigned int i = 0; i < TEST_BOARDS; i++) {
		struct fw_board board;
		struct smbios smbios;

		test_board(i, &board);
		smbios = build(&board, NULL);
		for (unsigned int k = 0; k < sizeof(once); k++)
			assert_int_equal(count_of(&smbios, once[k]), 1);
		assert_int_equal(count_of(&smbios, 4), board.ncpus);
		assert_int_equal(count_of(&smbios, 11), 0);
		free(smbios.memory);
	}
}

static void test_defaults(void **state)
{
	struct fw_board board;
	struct smbios smbios;
	const uint8_t *bios, *system, *base;

	test_board(BOARD_USUAL, &board);
	smbios = build(&board, NULL);
	bios = find(&smbios, 0, 0);
	system = find(&smbios, 1, 0);
	base = find(&smbios, 2, 0);
	assert_string_equal(string(bios, 4), "BHYVE");
	assert_string_equal(string(bios, 5), "14.0");
	assert_string_equal(string(bios, 8), "10/17/2021");
	assert_int_equal(bios[19] & 0x10, 0x10); /* a virtual machine */
	assert_string_equal(string(system, 4), "FreeBSD");
	assert_string_equal(string(system, 5), "BHYVE");
	assert_string_equal(string(system, 26), "Virtual Machine");
	/* The board names its chassis. */
	assert_int_equal(load_le16(base + 11),
			 load_le16(find(&smbios, 3, 0) + 2));
	free(smbios.memory);
}

static void test_uuid(void **state)
{
	static const uint8_t wanted[16] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44,
					   0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb,
					   0xcc, 0xdd, 0xee, 0xff};
	struct fw_board board;
	struct smbios smbios;

	test_board(BOARD_BARE, &board);
	smbios = build(&board, NULL);
	assert_memory_equal(find(&smbios, 1, 0) + 8, wanted, 16);
	free(smbios.memory);
}

static void test_configured(void **state)
{
	static const struct variable variables[] = {
	    {"bios.vendor", "V"},
	    {"system.manufacturer", ""}, /* none at all */
	    {"system.product_name", "a product"},
	    {"board.location", "under the desk"},
	    {"chassis.sku", "C-1"},
	    {"oemstring.1", "one"},
	    {"oemstring.2", "two"},
	    {"oemstring.4", "behind a gap"},
	    {NULL, NULL},
	};
	struct fw_board board;
	struct smbios smbios;
	const uint8_t *oem, *system;

	test_board(BOARD_USUAL, &board);
	smbios = build(&board, variables);
	system = find(&smbios, 1, 0);
	assert_string_equal(string(find(&smbios, 0, 0), 4), "V");
	assert_int_equal(system[4], 0);
	assert_string_equal(string(system, 5), "a product");
	assert_string_equal(string(system, 6), "1.0");
	assert_string_equal(string(find(&smbios, 2, 0), 10), "under the desk");
	assert_string_equal(string(find(&smbios, 3, 0), 21), "C-1");
	oem = find(&smbios, 11, 0);
	assert_non_null(oem);
	assert_int_equal(oem[4], 2);
	assert_memory_equal(oem + oem[1], "one\0two\0\0", 9);
	free(smbios.memory);
}

static void test_topology(void **state)
{
	struct fw_board board;
	struct smbios smbios;
	const uint8_t *cpu;

	test_board(BOARD_FULL, &board);
	board.sockets = 2, board.cores = 4, board.threads = 2;
	smbios = build(&board, NULL);
	assert_int_equal(count_of(&smbios, 4), 2);
	cpu = find(&smbios, 4, 1);
	assert_string_equal(string(cpu, 4), "CPU #1");
	assert_int_equal(cpu[24], 0x41);
	assert_int_equal(cpu[35], 4);
	assert_int_equal(cpu[37], 8);
	assert_int_equal(load_le32(cpu + 8), board.cpu_signature);
	free(smbios.memory);
}

static void test_memory(void **state)
{
	struct fw_board board;
	struct smbios smbios;
	const uint8_t *array, *device, *mapped;

	test_board(BOARD_FULL, &board);
	smbios = build(&board, NULL);
	array = find(&smbios, 16, 0);
	assert_int_equal(load_le32(array + 7), 64 * MiB); /* in KiB */
	assert_int_equal(load_le16(array + 13), 2);
	device = find(&smbios, 17, 0);
	assert_int_equal(load_le16(device + 12), 3072); /* in MiB */
	assert_int_equal(load_le16(device + 4), load_le16(array + 2));
	device = find(&smbios, 17, 1);
	assert_int_equal(load_le16(device + 12), 0x7fff);
	assert_int_equal(load_le32(device + 28), 61 * 1024);
	mapped = find(&smbios, 19, 1);
	assert_int_equal(load_le32(mapped + 4), 4 * MiB); /* in KiB */
	assert_int_equal(load_le32(mapped + 8), 65 * MiB - 1);
	free(smbios.memory);

	/* More than 2 TiB and more than 4 TiB need the wide fields. */
	board.highmem = 8 * 1024 * GiB;
	smbios = build(&board, NULL);
	array = find(&smbios, 16, 0);
	assert_int_equal(load_le32(array + 7), 0x80000000);
	assert_int_equal(load_le64(array + 15), board.highmem + board.lowmem);
	mapped = find(&smbios, 19, 1);
	assert_int_equal(load_le32(mapped + 4), 0xffffffff);
	assert_int_equal(load_le64(mapped + 15), 4 * GiB);
	assert_int_equal(load_le64(mapped + 23), 4 * GiB + board.highmem - 1);
	free(smbios.memory);
}

static void test_too_much(void **state)
{
	static char longest[LOWMEM_SMBIOS_SIZE];
	const struct variable variables[] = {
	    {"board.location", longest},
	    {NULL, NULL},
	};
	struct smbios_source source = {
	    .get = get,
	    .arg = (void *)(uintptr_t)variables,
	};
	uint8_t memory[LOWMEM_SMBIOS_SIZE + 16];
	struct fw_board board;
	struct err err;

	memset(longest, 'x', sizeof(longest) - 1);
	memset(memory, 0x5a, sizeof(memory));
	test_board(BOARD_USUAL, &board);
	assert_int_equal(smbios_build(&board, &source, LOWMEM_SMBIOS, memory,
				      LOWMEM_SMBIOS_SIZE, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.text, "oemstring"));
	for (unsigned int i = LOWMEM_SMBIOS_SIZE; i < sizeof(memory); i++)
		assert_int_equal(memory[i], 0x5a);
}

static void test_small_buffers(void **state)
{
	struct smbios_source source = {0};
	struct fw_board board;
	struct smbios whole;
	struct err err;

	test_board(BOARD_FULL, &board);
	whole = build(&board, NULL);
	for (int room = 0; room < whole.size; room++) {
		memset(whole.memory, 0x5a, LOWMEM_SMBIOS_SIZE);
		assert_int_equal(smbios_build(&board, &source, LOWMEM_SMBIOS,
					      whole.memory, (size_t)room, &err),
				 -ENOSPC);
		assert_int_equal(whole.memory[room], 0x5a);
		assert_int_equal(whole.memory[whole.size - 1], 0x5a);
	}
	free(whole.memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_boards),
	    cmocka_unit_test(test_defaults),
	    cmocka_unit_test(test_uuid),
	    cmocka_unit_test(test_configured),
	    cmocka_unit_test(test_topology),
	    cmocka_unit_test(test_memory),
	    cmocka_unit_test(test_too_much),
	    cmocka_unit_test(test_small_buffers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
