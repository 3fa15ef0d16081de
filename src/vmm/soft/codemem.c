// SPDX-License-Identifier: BSD-2-Clause
/* Memory for generated code, mapped once to write and once to execute. */
#include "vmm/soft/codemem.h"

#include <errno.h>
#include <sys/mman.h>

/*
 * Anonymous, as perf looks for names of generated code only there. A shared
 * mapping of which nothing is moved is mapped once more (mremap(2)).
 */
int codemem_create(struct codemem *mem, size_t size)
{
	void *write = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	void *exec = MAP_FAILED;

	if (write != MAP_FAILED)
		exec = mremap(write, 0, size, MREMAP_MAYMOVE);
	if (exec == MAP_FAILED ||
	    mprotect(exec, size, PROT_READ | PROT_EXEC) != 0) {
		int error = -errno;

		if (exec != MAP_FAILED)
			munmap(exec, size);
		if (write != MAP_FAILED)
			munmap(write, size);
		return error;
	}
	*mem = (struct codemem){.write = write, .exec = exec, .size = size};
	return 0;
}

void codemem_destroy(struct codemem *mem)
{
	if (mem->size == 0)
		return;
	munmap(mem->write, mem->size);
	munmap((void *)(uintptr_t)mem->exec, mem->size);
	mem->size = 0;
}

/* The host would come for each page of each mapping, at ten times the price.
   What it will not do now it does then. */
void codemem_populate(struct codemem *mem, size_t at, size_t len)
{
	madvise(mem->write + at, len, MADV_POPULATE_WRITE);
	madvise((void *)(uintptr_t)(mem->exec + at), len, MADV_POPULATE_READ);
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
