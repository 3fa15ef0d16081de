// SPDX-License-Identifier: BSD-2-Clause
/*
 * dump DIRECTORY: writes the ACPI tables of each test board there, a file a
 * table (BOARD-SIGNATURE.dat), for iasl and acpiexec to judge.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"
#include "boards.h"
#include "firmware/acpi.h"
#include "firmware/lowmem.h"

static uint8_t memory[LOWMEM_ACPI_SIZE];

static const uint8_t *at(uint64_t gpa)
{
	return memory + (gpa - LOWMEM_ACPI);
}

static void write_table(const char *directory, const char *board,
			const uint8_t *table)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s-%.4s.dat", directory, board,
		 (const char *)table);
	file = fopen(path, "wb");
	if (file == NULL || fwrite(table, load_le32(table + 4), 1, file) != 1 ||
	    fclose(file) != 0) {
		perror(path);
		exit(1);
	}
}

static void write_board(const char *directory, enum test_board which)
{
	const char *name = test_board_name(which);
	const uint8_t *xsdt, *fadt;
	struct fw_board board;
	struct err err;

	test_board(which, &board);
	if (acpi_build(&board, LOWMEM_ACPI, memory, sizeof(memory), &err) < 0) {
		fprintf(stderr, "%s: %s\n", name, err.text);
		exit(1);
	}
	xsdt = at(load_le64(memory + 24));
	write_table(directory, name, xsdt);
	for (uint32_t i = 36; i < load_le32(xsdt + 4); i += 8)
		write_table(directory, name, at(load_le64(xsdt + i)));
	fadt = at(load_le64(xsdt + 36));
	write_table(directory, name, at(load_le32(fadt + 36)));
	write_table(directory, name, at(load_le32(fadt + 40)));
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: dump DIRECTORY\n");
		return 1;
	}
	for (unsigned int i = 0; i < TEST_BOARDS; i++)
		write_board(argv[1], i);
	return 0;
}
