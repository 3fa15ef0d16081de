// SPDX-License-Identifier: BSD-2-Clause
/* MMIO: guest physical addresses, as ranges. */
#include "dev/mmio.h"

#include <errno.h>
#include <stdlib.h>

int mmio_map_create(struct mmio_map **out, struct err *err)
{
	*out = malloc(sizeof(**out));
	if (*out == NULL)
		return err_sys(err, ENOMEM, "MMIO ranges");
	range_map_init(&(*out)->map, "address", UINT64_MAX);
	return 0;
}

void mmio_map_destroy(struct mmio_map *mmio)
{
	if (mmio == NULL)
		return;
	range_map_destroy(&mmio->map);
	free(mmio);
}

int mmio_add(struct mmio_map *mmio, const struct io_range *range, uint64_t gpa,
	     struct err *err)
{
	return range_add(&mmio->map, range, gpa, err);
}

bool mmio_remove(struct mmio_map *mmio, const struct io_range *range)
{
	return range_remove(&mmio->map, range);
}

int mmio_access(struct mmio_map *mmio, struct vm_inst_emul *access)
{
	uint64_t mask = access->bytes >= 8 ? ~0ull : BIT(8 * access->bytes) - 1;
	uint64_t data = access->data & mask;
	int error = range_access(&mmio->map, access->gpa, access->bytes,
				 access->write, &data);

	if (!access->write)
		access->data = data & mask;
	return error;
}
