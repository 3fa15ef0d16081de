// SPDX-License-Identifier: BSD-2-Clause
/*
 * The flash of a boot ROM's variables, and what is around it: the first input
 * byte chooses how large it is, the rest is a list of accesses. In the end the
 * state is saved and loaded, which must give the same state again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "input.h"

#include "board_fixture.h"
#include "fuzz_board.h"

#define OPERATIONS_MAX 4096
#define PAGE           4096u

static uint64_t rom_and_flash(uint64_t flash_bytes)
{
	return 4 * GiB - PAGE - flash_bytes;
}

struct run {
	struct machine m;
	uint64_t flash_bytes;
};

static void operate(struct run *r, struct input *input)
{
	uint8_t what = take_8(input);
	uint64_t at = rom_and_flash(r->flash_bytes) - 8 +
		      take_32(input) % (r->flash_bytes + 24);
	unsigned int bytes = 1u << (what >> 1 & 3);

	if (what & 1)
		store(&r->m, at, bytes, take_32(input));
	else
		load(&r->m, at, bytes);
}

/* A file without a name, by one that the board can open. */
static int file_of(const char *key, uint64_t bytes, char line[64])
{
	int fd = memfd_create("flash", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)bytes) != 0)
		abort();
	snprintf(line, 64, "%s=/proc/self/fd/%d", key, fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};
	struct run r = {.flash_bytes = PAGE + take_8(&input) % 32};
	char rom[64], vars[64];
	int rom_fd = file_of("bootrom", PAGE, rom);
	int vars_fd = file_of("bootvars", r.flash_bytes, vars);
	const char *variables[] = {"pci.0.31.0.device=lpc", rom, vars, NULL};
	struct err err;

	if (machine_start(&r.m, variables, &err) != 0)
		abort();
	for (int i = 0; i < OPERATIONS_MAX && input.left > 0; i++)
		operate(&r, &input);
	fuzz_check_state(&r.m);
	machine_end(&r.m);
	close(rom_fd);
	close(vars_fd);
	return 0;
}
