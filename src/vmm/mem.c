// SPDX-License-Identifier: BSD-2-Clause
/* Guest memory: one reservation, the file's pages in it, the write gate. */
#include "vmm/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm/vm.h"

/* No access here, so that a wrong offset faults instead of hitting the heap. */
#define GUARD_SIZE (4 * MiB)

static int map_piece(uint8_t *at, uint64_t size, int fd, uint64_t offset)
{
	void *map;

	if (size == 0)
		return 0;
	map = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
		   (off_t)offset);
	if (map == MAP_FAILED)
		return -errno;
	/* As on FreeBSD, RAM is in a core file only on demand. */
	madvise(at, size, MADV_DONTDUMP);
	return 0;
}

int mem_setup(struct vm_mem *mem, int fd, uint64_t low_size, uint64_t high_size)
{
	uint64_t top = high_size != 0 ? MEM_HIGH_BASE + high_size : low_size;
	uint64_t reserved = top + 2 * GUARD_SIZE;
	uint8_t *reservation;
	int error;

	if (low_size == 0 || low_size > MEM_LOW_LIMIT ||
	    high_size > UINT64_MAX / 4 || low_size % 4096 != 0 ||
	    high_size % 4096 != 0)
		return -EINVAL;
	reservation = mmap(NULL, reserved, PROT_NONE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reservation == MAP_FAILED)
		return -errno;
	error = map_piece(reservation + GUARD_SIZE, low_size, fd, 0);
	if (error == 0)
		error = map_piece(reservation + GUARD_SIZE + MEM_HIGH_BASE,
				  high_size, fd, low_size);
	if (error != 0) {
		munmap(reservation, reserved);
		return error;
	}
	*mem = (struct vm_mem){
	    .base = reservation + GUARD_SIZE,
	    .reserved_size = reserved,
	    .low_size = low_size,
	    .high_size = high_size,
	    .fd = fd,
	};
	return 0;
}

void mem_teardown(struct vm_mem *mem)
{
	if (mem->base != NULL) {
		munmap(mem->base - GUARD_SIZE, mem->reserved_size);
		close(mem->fd);
	}
	*mem = (struct vm_mem){.fd = -1};
}

int mem_zero(struct vm_mem *mem)
{
	if (mem->base == NULL)
		return 0;
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
