// SPDX-License-Identifier: BSD-2-Clause
/* Guest memory: one reservation, the file's pages in it, the write gate. */
#include "vmm/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/reserve.h"
#include "vmm/vm.h"

/* No access here, so that a wrong offset faults instead of hitting the heap. */
#define GUARD_SIZE (4 * MiB)

static int map_piece(uint8_t *at, uint64_t size, int prot, int fd,
		     uint64_t offset)
{
	void *map;

	if (size == 0)
		return 0;
	map = mmap(at, size, prot, MAP_SHARED | MAP_FIXED, fd, (off_t)offset);
	if (map == MAP_FAILED)
		return -errno;
	/* As on FreeBSD, RAM is in a core file only on demand. */
	madvise(at, size, MADV_DONTDUMP);
	/* Of a file that may be in huge pages on demand only. */
	madvise(at, size, MADV_HUGEPAGE);
	return 0;
}

/* A tmpfs whose files are in huge pages says so. */
static unsigned piece_shift_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_blksize == HUGE_PAGE_BYTES
		   ? MEM_PIECE_SHIFT_HUGE
		   : MEM_PIECE_SHIFT;
}

/* Words of a bit for each piece up to the end of RAM. */
static size_t populated_words(uint64_t high_size)
{
	return ((MEM_HIGH_BASE + high_size) >> MEM_PIECE_SHIFT) / 64 + 1;
}

int mem_setup(struct vm_mem *mem, int fd, uint64_t low_size, uint64_t high_size)
{
	/* With room for a ROM below 4 GiB. */
	uint64_t reserved = MEM_HIGH_BASE + high_size + 2 * GUARD_SIZE;
	_Atomic uint64_t *populated;
	uint8_t *reservation;
	int error;

	if (low_size == 0 || low_size > MEM_LOW_LIMIT ||
	    high_size > UINT64_MAX / 4 || low_size % 4096 != 0 ||
	    high_size % 4096 != 0)
		return -EINVAL;
	reservation = reserve_addresses(reserved);
	if (reservation == NULL)
		return -errno;
	populated = calloc(populated_words(high_size), sizeof(*populated));
	if (populated == NULL) {
		munmap(reservation, reserved);
		return -ENOMEM;
	}
	error = map_piece(reservation + GUARD_SIZE, low_size,
			  PROT_READ | PROT_WRITE, fd, 0);
	if (error == 0)
		error =
		    map_piece(reservation + GUARD_SIZE + MEM_HIGH_BASE,
			      high_size, PROT_READ | PROT_WRITE, fd, low_size);
	if (error != 0) {
		free(populated);
		munmap(reservation, reserved);
		return error;
	}
	*mem = (struct vm_mem){
	    .base = reservation + GUARD_SIZE,
	    .reserved_size = reserved,
	    .low_size = low_size,
	    .high_size = high_size,
	    .fd = fd,
	    .populated = populated,
	    .piece_shift = piece_shift_of(fd),
	};
	return 0;
}

/* Where the host has no memory it says so when the page is touched. */
void mem_populate(struct vm_mem *mem, uint64_t gpa)
{
	uint64_t piece = gpa >> mem->piece_shift;

	atomic_fetch_or(&mem->populated[piece / 64], 1ull << piece % 64);
	madvise(mem->base + (piece << mem->piece_shift),
		1ul << mem->piece_shift, MADV_POPULATE_WRITE);
}

/* -- ROM ------------------------------------------------------------------- */

static void rom_drop(struct vm_rom *rom)
{
	if (rom->host == NULL)
		return;
	munmap(rom->host, rom->size);
	close(rom->fd);
	*rom = (struct vm_rom){0};
}

/* With all its pages, so that a full host is told now. */
static int rom_fill(struct vm_rom *rom)
{
	void *host;

	if (ftruncate(rom->fd, (off_t)rom->size) != 0 ||
	    fallocate(rom->fd, 0, 0, (off_t)rom->size) != 0)
		return -errno;
	host = mmap(NULL, rom->size, PROT_READ | PROT_WRITE, MAP_SHARED,
		    rom->fd, 0);
	if (host == MAP_FAILED)
		return -errno;
	rom->host = host;
	return 0;
}

int mem_rom_create(struct vm_mem *mem, uint64_t size)
{
	struct vm_rom rom = {.size = size};
	int error;

	if (mem->base == NULL || size == 0 || size % 4096 != 0 ||
	    size > MEM_ROM_LIMIT - MEM_ROM_BASE)
		return -EINVAL;
	if (mem->rom.host != NULL)
		return mem->rom.size == size ? 0 : -EEXIST;
	rom.fd = memfd_create("rom", MFD_CLOEXEC);
	if (rom.fd < 0)
		return -errno;
	error = rom_fill(&rom);
	if (error != 0)
		close(rom.fd);
	else
		mem->rom = rom;
	return error;
}

int mem_rom_map(struct vm_mem *mem, uint64_t gpa, uint64_t offset, uint64_t len)
{
	struct vm_rom *rom = &mem->rom;
	int error;

	if (rom->host == NULL || len == 0 || (gpa | offset | len) % 4096 != 0 ||
	    gpa < MEM_ROM_BASE || !range_inside(gpa, len, MEM_ROM_LIMIT) ||
	    !range_inside(offset, len, rom->size))
		return -EINVAL;
	if (rom->len != 0)
		return -EEXIST;
	error = map_piece(mem->base + gpa, len, PROT_READ, rom->fd, offset);
	if (error != 0)
		return error;
	rom->gpa = gpa;
	rom->offset = offset;
	rom->len = len;
	return 0;
}

/* -- both ------------------------------------------------------------------ */

void mem_teardown(struct vm_mem *mem)
{
	if (mem->base != NULL) {
		munmap(mem->base - GUARD_SIZE, mem->reserved_size);
		free(mem->populated);
		close(mem->fd);
	}
	rom_drop(&mem->rom);
	*mem = (struct vm_mem){.fd = -1};
}

int mem_zero(struct vm_mem *mem)
{
	if (mem->base == NULL)
		return 0;
	for (size_t n = 0; n < populated_words(mem->high_size); n++)
		atomic_store(&mem->populated[n], 0);
	return fallocate(mem->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			 (off_t)(mem->low_size + mem->high_size)) != 0
		   ? -errno
		   : 0;
}

/* The file is on a tmpfs: what it occupies is memory, whoever touched it. */
uint64_t mem_resident(const struct vm_mem *mem)
{
	struct stat st;

	if (mem->base == NULL || fstat(mem->fd, &st) != 0)
		return 0;
	return (uint64_t)st.st_blocks * 512;
}

void *mem_write_begin(struct vm *vm, uint64_t gpa, uint64_t len)
{
	return mem_hva(&vm->mem, gpa, len);
}

void mem_write_end(struct vm *vm, uint64_t gpa, uint64_t len)
{
	const struct engine_ops *engine =
	    __atomic_load_n(&vm->engine, __ATOMIC_ACQUIRE);

	if (engine != NULL && len != 0 && mem_is_ram(&vm->mem, gpa, len))
		engine->code_written(vm, gpa, len);
}
