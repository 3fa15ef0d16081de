/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory: RAM at [0, low_size) and [4 GiB, 4 GiB + high_size), backed by
 * the VM's memory file and mapped at base (a multiple of 2 MiB), so that the
 * host address (hva) of a gpa in RAM is base + gpa. What is not RAM is
 * PROT_NONE, with guards.
 *
 * Beside it there may be a ROM below 4 GiB, which the guest reads and runs
 * like RAM, at base + gpa as well. It is this process' own, neither saved nor
 * zeroed, and no write reaches it: the guest's are dropped (vmm/bus.h), and
 * the write gate knows only RAM.
 *
 * Host-side writes (DMA, loaders, copyout, gdb) go through the write gate,
 * which drops translations of code there and sets dirty bits.
 */
#ifndef VMM_MEM_H
#define VMM_MEM_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"

#define MEM_LOW_LIMIT (3 * GiB)
#define MEM_HIGH_BASE (4 * GiB)

/* Where a ROM may be. */
#define MEM_ROM_LIMIT (4 * GiB)
#define MEM_ROM_BASE  (MEM_ROM_LIMIT - 16 * MiB)

struct vm;

struct vm_rom {
	uint8_t *host; /* all of it, writable; NULL: there is none */
	uint64_t size;
	int fd;
	uint64_t gpa, offset, len; /* the piece the guest has; len 0: none */
};

struct vm_mem {
	uint8_t *base; /* NULL until set up */
	size_t reserved_size;
	uint64_t low_size;
	uint64_t high_size;
	int fd; /* the memory file, low then high; -1: none */
	/* By piece: the host has given it memory (mem_populate). NULL: nobody
	   wants to know. */
	_Atomic uint64_t *populated;
	unsigned piece_shift;
	struct vm_rom rom;
};

/* [gpa, gpa + len) is all RAM of one piece. */
static inline bool mem_is_ram(const struct vm_mem *mem, uint64_t gpa,
			      uint64_t len)
{
	return range_inside(gpa, len, mem->low_size) ||
	       (gpa >= MEM_HIGH_BASE &&
		range_inside(gpa - MEM_HIGH_BASE, len, mem->high_size));
}

static inline bool mem_is_rom(const struct vm_mem *mem, uint64_t gpa,
			      uint64_t len)
{
	return gpa >= mem->rom.gpa &&
	       range_inside(gpa - mem->rom.gpa, len, mem->rom.len);
}

/* Memory that the guest reads and runs without asking anybody. */
static inline bool mem_is_readable(const struct vm_mem *mem, uint64_t gpa,
				   uint64_t len)
{
	return mem_is_ram(mem, gpa, len) || mem_is_rom(mem, gpa, len);
}

/* For reading; NULL when it is not all RAM. */
static inline void *mem_hva(const struct vm_mem *mem, uint64_t gpa,
			    uint64_t len)
{
	return mem_is_ram(mem, gpa, len) ? mem->base + gpa : NULL;
}

/* The same with ROM: what the CPU itself reads, page tables for example. */
static inline const void *mem_hva_readable(const struct vm_mem *mem,
					   uint64_t gpa, uint64_t len)
{
	return mem_is_readable(mem, gpa, len) ? mem->base + gpa : NULL;
}

/* The first gpa past all memory, for arrays that are indexed by page. */
static inline uint64_t mem_top(const struct vm_mem *mem)
{
	if (mem->high_size != 0)
		return MEM_HIGH_BASE + mem->high_size;
	return mem->rom.len != 0 ? MEM_ROM_LIMIT : mem->low_size;
}

/*
 * Maps the file (its first low + high bytes); takes fd when it succeeds.
 * Sizes are multiples of 4 KiB. 0 or -errno.
 */
int mem_setup(struct vm_mem *mem, int fd, uint64_t low_size,
	      uint64_t high_size);
void mem_teardown(struct vm_mem *mem);
/* How a size is divided: RAM below MEM_LOW_LIMIT first. */
static inline uint64_t mem_low_part(uint64_t size)
{
	return size < MEM_LOW_LIMIT ? size : MEM_LOW_LIMIT;
}
int mem_zero(struct vm_mem *mem);                /* gives the pages back */
uint64_t mem_resident(const struct vm_mem *mem); /* bytes in use */

/*
 * A ROM of size bytes, and the piece of it that the guest sees at gpa. All are
 * whole pages. 0 or -errno; -EEXIST: there is another.
 */
int mem_rom_create(struct vm_mem *mem, uint64_t size);
int mem_rom_map(struct vm_mem *mem, uint64_t gpa, uint64_t offset,
		uint64_t len);

/*
 * RAM gets memory of the host in pieces, as to come for each page alone costs
 * the host several times as much: 64 KiB, or a huge page where the file is in
 * such. The guest may be about to touch gpa.
 */
#define MEM_PIECE_SHIFT      16
#define MEM_PIECE_SHIFT_HUGE 21

void mem_populate(struct vm_mem *mem, uint64_t gpa);

/* gpa is in RAM. */
static inline bool mem_is_populated(const struct vm_mem *mem, uint64_t gpa)
{
	uint64_t piece = gpa >> mem->piece_shift;

	return mem->populated == NULL ||
	       (mem->populated[piece / 64] >> piece % 64 & 1) != 0;
}

void *mem_write_begin(struct vm *vm, uint64_t gpa, uint64_t len);
void mem_write_end(struct vm *vm, uint64_t gpa, uint64_t len);

#endif
