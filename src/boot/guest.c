// SPDX-License-Identifier: BSD-2-Clause
#include "boot/guest.h"

#include <errno.h>
#include <string.h>

#define PAGE 4096ull

void guest_memory_init(struct guest_memory *memory, struct vmctx *ctx,
		       bool is_zero)
{
	uint64_t highbase = vm_get_highmem_base(ctx);

	*memory = (struct guest_memory){
	    .ctx = ctx,
	    .lowmem = vm_get_lowmem_size(ctx),
	    .highbase = highbase,
	    .highend = highbase + vm_get_highmem_size(ctx),
	    .is_zero = is_zero,
	};
}

int guest_write(const struct guest_memory *memory, uint64_t gpa,
		const void *data, uint64_t size)
{
	if (size == 0)
		return 0;
	return vm_mem_write(memory->ctx, gpa, data, size) != 0 ? -errno : 0;
}

int guest_clear(const struct guest_memory *memory, uint64_t gpa, uint64_t size)
{
	void *to;

	if (size == 0 || memory->is_zero)
		return 0;
	to = vm_mem_write_begin(memory->ctx, gpa, size);
	if (to == NULL)
		return -EFAULT;
	memset(to, 0, size);
	vm_mem_write_end(memory->ctx, gpa, size);
	return 0;
}

static bool all_zero(const uint8_t *data, uint64_t size)
{
	return data[0] == 0 && memcmp(data, data + 1, size - 1) == 0;
}

/* How much of data, in whole guest pages, is alike: all zero or none of it. */
static uint64_t run_length(uint64_t gpa, const uint8_t *data, uint64_t size,
			   bool *zero)
{
	uint64_t run = 0, piece;

	while (run < size) {
		bool is_zero;

		piece = MIN(PAGE - (gpa + run) % PAGE, size - run);
		is_zero = all_zero(data + run, piece);
		if (run == 0)
			*zero = is_zero;
		else if (is_zero != *zero)
			break;
		run += piece;
	}
	return run;
}

int guest_write_sparse(const struct guest_memory *memory, uint64_t gpa,
		       const uint8_t *data, uint64_t size)
{
	int error = 0;

	while (error == 0 && size > 0) {
		bool zero = false;
		uint64_t run = run_length(gpa, data, size, &zero);

		if (zero)
			error = guest_clear(memory, gpa, run);
		else
			error = guest_write(memory, gpa, data, run);
		gpa += run;
		data += run;
		size -= run;
	}
	return error;
}
