/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory: RAM at [0, low_size) and [4 GiB, 4 GiB + high_size), backed by
 * the VM's memory file and mapped at base, so that the host address (hva) of
 * a gpa in RAM is base + gpa. What is not RAM is PROT_NONE, with guards.
 *
 * Host-side writes (DMA, loaders, copyout, gdb) go through the write gate,
 * which drops translations of code there and sets dirty bits.
 */
#ifndef VMM_MEM_H
#define VMM_MEM_H

#include <stddef.h>
#include <stdint.h>

#include "base/bits.h"

#define MEM_LOW_LIMIT (3 * GiB)
#define MEM_HIGH_BASE (4 * GiB)

struct vm;

struct vm_mem {
	uint8_t *base; /* NULL until set up */
	size_t reserved_size;
	uint64_t low_size;
	uint64_t high_size;
	int fd; /* the memory file, low then high; -1: none */
};

/* [gpa, gpa + len) is all RAM of one piece. */
static inline bool mem_is_ram(const struct vm_mem *mem, uint64_t gpa,
			      uint64_t len)
{
	return range_inside(gpa, len, mem->low_size) ||
	       (gpa >= MEM_HIGH_BASE &&
		range_inside(gpa - MEM_HIGH_BASE, len, mem->high_size));
}

/* For reading; NULL when it is not all RAM. */
static inline void *mem_hva(const struct vm_mem *mem, uint64_t gpa,
			    uint64_t len)
{
	return mem_is_ram(mem, gpa, len) ? mem->base + gpa : NULL;
}

/* The first gpa past all RAM, for arrays that are indexed by page. */
static inline uint64_t mem_top(const struct vm_mem *mem)
{
	return mem->high_size != 0 ? MEM_HIGH_BASE + mem->high_size
				   : mem->low_size;
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

void *mem_write_begin(struct vm *vm, uint64_t gpa, uint64_t len);
void mem_write_end(struct vm *vm, uint64_t gpa, uint64_t len);

#endif
