// SPDX-License-Identifier: BSD-2-Clause
/* Memory for generated code, mapped once to write and once to execute. */
#include "vmm/soft/codemem.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#ifndef MFD_EXEC
#define MFD_EXEC 0x10u /* Linux 6.3 */
#endif

static int memory_file(void)
{
	/* Where vm.memfd_noexec is set, a file is executable only if asked;
	   older kernels do not know how to be asked. */
	int fd = memfd_create("anyhyve-stubs", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL)
		fd = memfd_create("anyhyve-stubs", MFD_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int map_both(struct codemem *mem, int fd, size_t size)
{
	void *exec;

	if (ftruncate(fd, (off_t)size) != 0)
		return -errno;
	exec = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (exec == MAP_FAILED)
		return -errno;
	mem->write =
	    mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem->write == MAP_FAILED) {
		int error = -errno;

		munmap(exec, size);
		return error;
	}
	mem->exec = exec;
	mem->size = size;
	mem->used = 0;
	return 0;
}

int codemem_create(struct codemem *mem, size_t size)
{
	int fd = memory_file();
	int error;

	if (fd < 0)
		return fd;
	error = map_both(mem, fd, size);
	close(fd);
	return error;
}

void codemem_destroy(struct codemem *mem)
{
	if (mem->size == 0)
		return;
	munmap(mem->write, mem->size);
	munmap((void *)(uintptr_t)mem->exec, mem->size);
	mem->size = 0;
}

long codemem_alloc(struct codemem *mem, size_t len)
{
	size_t at = mem->used;

	if (len > mem->size - at)
		return -ENOSPC;
	mem->used += len;
	return (long)at;
}

void codemem_reset(struct codemem *mem)
{
	mem->used = 0;
}

void codemem_publish(void)
{
	uint64_t scratch;

	/* An IRET to the next instruction. */
	__asm__ volatile("mov %%rsp, %0\n\t"
			 "mov %%ss, %%eax\n\t"
			 "push %%rax\n\t"
			 "push %0\n\t"
			 "pushfq\n\t"
			 "mov %%cs, %%eax\n\t"
			 "push %%rax\n\t"
			 "lea 1f(%%rip), %%rax\n\t"
			 "push %%rax\n\t"
			 "iretq\n"
			 "1:"
			 : "=&r"(scratch)
			 :
			 : "rax", "cc", "memory");
}
