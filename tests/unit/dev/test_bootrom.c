// SPDX-License-Identifier: BSD-2-Clause
/* The boot ROM and the flash of its variables: files, places, commands. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/bits.h"
#include "board_fixture.h"

#define PAGE     4096u
#define ROM_SIZE (4 * PAGE)
#define FLASH    (4 * GiB - ROM_SIZE - VARS_SIZE)

/* No whole pages, which bhyve does not ask of it. */
#define VARS_SIZE (PAGE + 100)

struct fixture {
	char rom[40], vars[40];
	char rom_variable[80], vars_variable[80];
	const char *variables[3];
	struct machine m;
	struct err err;
};

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(offset * 7 + offset / 251);
}

/* A file of size bytes that are not all alike. */
static void make_file(char path[40], const char *name, size_t size)
{
	FILE *file;
	int fd;

	snprintf(path, 40, "/tmp/anyhyve-%s-XXXXXX", name);
	fd = mkstemp(path);
	file = fdopen(fd, "w");
	assert_non_null(file);
	for (size_t i = 0; i < size; i++)
		fputc(byte_at(i), file);
	fclose(file);
}

static uint8_t file_byte(const char *path, long offset)
{
	FILE *file = fopen(path, "r");
	int byte;

	assert_non_null(file);
	fseek(file, offset, SEEK_SET);
	byte = fgetc(file);
	fclose(file);
	return (uint8_t)byte;
}

static int start(struct fixture *f, size_t rom_size, size_t vars_size)
{
	memset(f, 0, sizeof(*f));
	make_file(f->rom, "rom", rom_size);
	make_file(f->vars, "vars", vars_size);
	snprintf(f->rom_variable, sizeof(f->rom_variable), "bootrom=%s",
		 f->rom);
	snprintf(f->vars_variable, sizeof(f->vars_variable), "bootvars=%s",
		 f->vars);
	f->variables[0] = f->rom_variable;
	f->variables[1] = f->vars_variable;
	return machine_start(&f->m, f->variables, &f->err);
}

static void end(struct fixture *f)
{
	machine_end(&f->m);
	unlink(f->rom);
	unlink(f->vars);
}

static void test_sizes(void **state)
{
	static const struct {
		size_t rom, vars;
		const char *text;
	} cases[] = {
	    {0, PAGE, "ROM size 0 is invalid"},
	    {16 * MiB + 1, PAGE, "ROM size 16777217 is invalid"},
	    {PAGE + 1, PAGE,
	     "ROM size 4097 is not a multiple of the page size"},
	    {PAGE, 0, "Invalid bootrom variable size 0"},
	    {PAGE, PAGE - 1, "Invalid bootrom variable size 4095"},
	    {PAGE, 16 * MiB + 1, "Invalid bootrom variable size 16777217"},
	    {PAGE, 16 * MiB - PAGE + 1,
	     "Invalid bootrom and variable aggregate size 16777217"},
	};
	struct fixture f;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(start(&f, cases[i].rom, cases[i].vars) < 0);
		assert_string_equal(f.err.text, cases[i].text);
		end(&f);
	}
	/* All of the room. */
	assert_int_equal(start(&f, 16 * MiB - PAGE, PAGE), 0);
	assert_int_equal(load(&f.m, 4 * GiB - 16 * MiB, 1), byte_at(0));
	end(&f);
}

static void test_files(void **state)
{
	static const struct {
		const char *variables[3];
		const char *text;
	} cases[] = {
	    {{"bootrom=/nonexistent/rom"},
	     "Error opening bootrom \"/nonexistent/rom\": No such file or "
	     "directory"},
	    {{"bootrom=/tmp"}, "bootrom \"/tmp\" is no file"},
	    {{"bootrom=/dev/zero"}, "bootrom \"/dev/zero\" is no file"},
	    {{"bootvars=/dev/zero"}, "bootvars: needs a bootrom"},
	};
	struct machine m;
	struct err err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_true(machine_start(&m, cases[i].variables, &err) < 0);
		assert_string_equal(err.text, cases[i].text);
		assert_null(m.vm.rom);
		machine_end(&m);
	}
}

static void test_rom(void **state)
{
	struct fixture f;

	(void)state;
	assert_int_equal(start(&f, ROM_SIZE, VARS_SIZE), 0);
	assert_int_equal(f.m.vm.rom_size, ROM_SIZE);
	assert_int_equal(f.m.vm.rom_gpa, 4 * GiB - ROM_SIZE);
	for (size_t i = 0; i < ROM_SIZE; i++)
		assert_int_equal(f.m.vm.rom[i], byte_at(i));
	end(&f);
}

/* The old names mean the same. */
static void test_aliases(void **state)
{
	struct fixture f;
	char words[2][100];
	const char *variables[] = {words[0], words[1], NULL};

	(void)state;
	assert_int_equal(start(&f, ROM_SIZE, VARS_SIZE), 0);
	machine_end(&f.m);
	snprintf(words[0], sizeof(words[0]), "lpc.%s", f.rom_variable);
	snprintf(words[1], sizeof(words[1]), "lpc.%s", f.vars_variable);
	assert_int_equal(machine_start(&f.m, variables, &f.err), 0);
	assert_int_equal(f.m.vm.rom_size, ROM_SIZE);
	assert_int_equal(load(&f.m, FLASH, 1), byte_at(0));
	end(&f);
}

static void test_flash(void **state)
{
	struct fixture f;

	(void)state;
	assert_int_equal(start(&f, ROM_SIZE, VARS_SIZE), 0);
	assert_int_equal(load(&f.m, FLASH + 5, 1), byte_at(5));
	assert_int_equal(load(&f.m, FLASH + VARS_SIZE - 1, 1),
			 byte_at(VARS_SIZE - 1));
	assert_int_equal(load(&f.m, FLASH, 4), byte_at(0) | byte_at(1) << 8 |
						   byte_at(2) << 16 |
						   (uint32_t)byte_at(3) << 24);
	/* As OVMF looks whether this is flash: no command reads back. */
	store(&f.m, FLASH, 1, 0x50);
	assert_int_equal(load(&f.m, FLASH, 1), byte_at(0));
	store(&f.m, FLASH, 1, 0x70);
	assert_int_equal(load(&f.m, FLASH, 1), 0);
	store(&f.m, FLASH, 1, 0xff);
	assert_int_equal(load(&f.m, FLASH, 1), byte_at(0));
	/* A byte, by command, and into the file. */
	store(&f.m, FLASH + 9, 1, 0x10);
	store(&f.m, FLASH + 9, 1, 0xa5);
	assert_int_equal(load(&f.m, FLASH + 9, 1), 0xa5);
	assert_int_equal(file_byte(f.vars, 9), 0xa5);
	assert_int_equal(load(&f.m, FLASH + 8, 1), byte_at(8));
	assert_int_equal(load(&f.m, FLASH + 10, 1), byte_at(10));
	/* Wide ones write their low byte. */
	store(&f.m, FLASH + 16, 4, 0x11223310);
	store(&f.m, FLASH + 16, 4, 0x55667788);
	assert_int_equal(load(&f.m, FLASH + 16, 1), 0x88);
	assert_int_equal(load(&f.m, FLASH + 17, 1), byte_at(17));
	/* A plain write is a command that nobody knows. */
	store(&f.m, FLASH + 20, 1, 0x99);
	assert_int_equal(load(&f.m, FLASH + 20, 1), byte_at(20));
	end(&f);
}

/* In the middle of a command. */
static void test_saved(void **state)
{
	struct state_writer writer = {0};
	struct fixture f, other;

	(void)state;
	assert_int_equal(start(&f, ROM_SIZE, VARS_SIZE), 0);
	assert_int_equal(start(&other, ROM_SIZE, VARS_SIZE), 0);
	store(&f.m, FLASH, 1, 0x10);
	save_board(&f.m, &writer);
	assert_int_equal(load_board(&other.m, &writer, &other.err), 0);
	store(&other.m, FLASH + 3, 1, 0x5a);
	assert_int_equal(load(&other.m, FLASH + 3, 1), 0x5a);
	assert_int_equal(load(&f.m, FLASH + 3, 1), byte_at(3));
	free(writer.data);
	end(&f);
	end(&other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_sizes), cmocka_unit_test(test_files),
	    cmocka_unit_test(test_rom),   cmocka_unit_test(test_aliases),
	    cmocka_unit_test(test_flash), cmocka_unit_test(test_saved),
	};

	return cmocka_run_group_tests_name("bootrom", tests, NULL, NULL);
}
