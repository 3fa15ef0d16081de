// SPDX-License-Identifier: BSD-2-Clause
/* The MP table, read from its floating pointer on (MP specification 1.4). */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bytes.h"
#include "boards.h"
#include "firmware/lowmem.h"
#include "firmware/mptable.h"

#define ROOM 65536

struct mp {
	struct fw_board board;
	uint8_t *memory; /* of ROOM bytes, at LOWMEM_MPTABLE */
	const uint8_t *header;
	int size;
	/* From the entries. */
	unsigned int cpus, pci_buses, ioapics, isa_wires, pci_wires, lints;
	uint8_t isa_bus;
	uint8_t isa_pin[16];
	uint16_t sci_flags;
};

static unsigned int sum(const uint8_t *from, size_t size)
{
	unsigned int total = 0;

	for (size_t i = 0; i < size; i++)
		total += from[i];
	return total & 0xff;
}

static void read_bus(struct mp *mp, const uint8_t *entry)
{
	if (memcmp(entry + 2, "ISA   ", 6) == 0) {
		assert_int_equal(mp->isa_bus, 0xff);
		mp->isa_bus = entry[1];
		return;
	}
	assert_memory_equal(entry + 2, "PCI   ", 6);
	assert_int_equal(entry[1], mp->board.bus[mp->pci_buses].number);
	mp->pci_buses++;
}

static void read_wire(struct mp *mp, const uint8_t *entry)
{
	assert_int_equal(entry[6], mp->board.ioapic_id);
	if (entry[4] != mp->isa_bus) {
		assert_true(entry[7] >= 16 && entry[7] < 32);
		mp->pci_wires++;
		return;
	}
	assert_true(entry[5] < 16);
	mp->isa_pin[entry[5]] = entry[7];
	mp->isa_wires++;
	if (entry[5] == 9)
		mp->sci_flags = load_le16(entry + 2);
	else
		assert_int_equal(load_le16(entry + 2), 0);
}

/* The entry's size. */
static size_t read_entry(struct mp *mp, const uint8_t *entry)
{
	switch (entry[0]) {
	case 0:
		assert_int_equal(entry[1], mp->board.apic_id[mp->cpus]);
		assert_int_equal(entry[3], mp->cpus == 0 ? 3 : 1);
		assert_int_equal(load_le32(entry + 4), mp->board.cpu_signature);
		assert_int_equal(load_le32(entry + 8), mp->board.cpu_features);
		mp->cpus++;
		return 20;
	case 1:
		read_bus(mp, entry);
		return 8;
	case 2:
		assert_int_equal(entry[1], mp->board.ioapic_id);
		assert_int_equal(entry[3], 1);
		assert_int_equal(load_le32(entry + 4), 0xfec00000);
		mp->ioapics++;
		return 8;
	case 3:
		read_wire(mp, entry);
		return 8;
	case 4: /* ExtINT at LINT0, NMI at LINT1, of all CPUs */
		assert_int_equal(entry[1], mp->lints == 0 ? 3 : 1);
		assert_int_equal(entry[6], 0xff);
		assert_int_equal(entry[7], mp->lints);
		mp->lints++;
		return 8;
	default:
		fail_msg("entry of type %u", entry[0]);
		return 0;
	}
}

static void read_table(struct mp *mp)
{
	const uint8_t *pointer = mp->memory;
	unsigned int length, count;
	size_t offset = 44;
	uint8_t type = 0;

	assert_memory_equal(pointer, "_MP_", 4);
	assert_int_equal(pointer[8], 1);
	assert_int_equal(pointer[9], 4);
	assert_int_equal(pointer[11], 0); /* there is a table */
	assert_int_equal(sum(pointer, 16), 0);
	mp->header = mp->memory + (load_le32(pointer + 4) - LOWMEM_MPTABLE);
	assert_memory_equal(mp->header, "PCMP", 4);
	length = load_le16(mp->header + 4);
	count = load_le16(mp->header + 34);
	assert_ptr_equal(mp->header + length, mp->memory + mp->size);
	assert_int_equal(sum(mp->header, length), 0);
	assert_int_equal(load_le32(mp->header + 36), 0xfee00000);
	for (unsigned int i = 0; i < count; i++) {
		assert_true(offset < length);
		assert_true(mp->header[offset] >= type);
		type = mp->header[offset];
		offset += read_entry(mp, mp->header + offset);
	}
	assert_int_equal(offset, length);
}

static struct mp build(enum test_board which)
{
	struct mp mp = {.memory = malloc(ROOM), .isa_bus = 0xff};
	struct err err = {""};

	assert_non_null(mp.memory);
	memset(mp.memory, 0xa5, ROOM);
	test_board(which, &mp.board);
	mp.size =
	    mptable_build(&mp.board, LOWMEM_MPTABLE, mp.memory, ROOM, &err);
	if (mp.size <= 0)
		fail_msg("%s: %s", test_board_name(which), err.text);
	read_table(&mp);
	return mp;
}

static void check_board(enum test_board which)
{
	struct mp mp = build(which);
	unsigned int wires = 0;

	for (unsigned int i = 0; i < mp.board.bus_count; i++)
		wires += mp.board.bus[i].intx_count;
	assert_int_equal(mp.cpus, mp.board.ncpus);
	assert_int_equal(mp.pci_buses, mp.board.bus_count);
	assert_int_equal(mp.pci_wires, wires);
	assert_int_equal(mp.ioapics, 1);
	assert_int_equal(mp.lints, 2);
	assert_int_equal(mp.isa_wires, 15);
	assert_int_equal(mp.isa_pin[0], 2);
	assert_int_equal(mp.isa_pin[4], 4);
	assert_int_equal(mp.sci_flags, 0xf);
	for (unsigned int i = 0; i < mp.board.bus_count; i++)
		assert_int_not_equal(mp.isa_bus, mp.board.bus[i].number);
	free(mp.memory);
}

static void test_boards(void **state)
{
	check_board(BOARD_USUAL);
	check_board(BOARD_BARE);
	check_board(BOARD_FULL);
}

static void test_pci_source(void **state)
{
	struct mp mp = build(BOARD_USUAL);
	/* The last PCI wire: slot 4, INTB, before two local ones. */
	const uint8_t *entry = mp.memory + mp.size - 24;

	assert_int_equal(entry[0], 3);
	assert_int_equal(entry[4], 0);
	assert_int_equal(entry[5], 4 << 2 | 1);
	assert_int_equal(entry[7], 18);
	free(mp.memory);
}

static void test_small_buffers(void **state)
{
	struct mp whole = build(BOARD_FULL);
	uint8_t *memory = malloc(ROOM);
	struct err err;

	assert_non_null(memory);
	for (int room = 0; room < whole.size; room += 7) {
		memset(memory, 0x5a, ROOM);
		assert_int_equal(mptable_build(&whole.board, LOWMEM_MPTABLE,
					       memory, (size_t)room, &err),
				 -ENOSPC);
		assert_non_null(strstr(err.text, "MP table"));
		for (int k = room; k < whole.size; k++)
			assert_int_equal(memory[k], 0x5a);
	}
	free(memory);
	free(whole.memory);
}

static void test_usual_boards_fit(void **state)
{
	struct mp mp = build(BOARD_FULL);

	/* 16 CPUs, one bus with all its pins in use: into its page. */
	mp.board.bus_count = 1;
	assert_true(mptable_build(&mp.board, LOWMEM_MPTABLE, mp.memory,
				  LOWMEM_MPTABLE_SIZE, NULL) > 0);
	free(mp.memory);
}

static void test_x2apic_id(void **state)
{
	struct fw_board board;
	uint8_t memory[512];
	struct err err;

	test_board(BOARD_ODD, &board);
	assert_int_equal(
	    mptable_build(&board, LOWMEM_MPTABLE, memory, sizeof(memory), &err),
	    -EINVAL);
	assert_non_null(strstr(err.text, "65536"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_boards),
	    cmocka_unit_test(test_pci_source),
	    cmocka_unit_test(test_small_buffers),
	    cmocka_unit_test(test_usual_boards_fit),
	    cmocka_unit_test(test_x2apic_id),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
