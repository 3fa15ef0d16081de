/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operands of locked instructions that cross a page. The host's own locked
 * instruction is atomic over two pages, too, if they are neighbours: where the
 * guest's are not, they are mapped a second time, side by side.
 */
#include <sys/mman.h>

#include "vmm/soft/access.h"
#include "vmm/soft/split.h"

#define WINDOW (2 * 4096)

/* Guest memory is shared (mem.h): old size 0 duplicates the mapping. */
static bool map_page(struct cpu *c, uint8_t *to, uint64_t gpa)
{
	return mremap(c->ram + PAGE_BASE(gpa), 0, 4096,
		      MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
}

static bool make_window(struct cpu *c)
{
	void *p;

	if (c->split_window != NULL)
		return true;
	p = mmap(NULL, WINDOW, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		return false;
	c->split_window = p;
	return true;
}

void split_destroy(struct cpu *c)
{
	if (c->split_window != NULL)
		munmap(c->split_window, WINDOW);
	c->split_window = NULL;
}

void *split_operand(struct cpu *c, uint64_t gpa, uint64_t gpa2)
{
	if (gpa2 == PAGE_BASE(gpa) + 4096)
		return c->ram + gpa;
	vec_leave(c);
	if (!make_window(c) || !map_page(c, c->split_window, gpa) ||
	    !map_page(c, c->split_window + 4096, gpa2))
		return NULL;
	return c->split_window + (gpa & 4095);
}
