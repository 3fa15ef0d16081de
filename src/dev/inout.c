// SPDX-License-Identifier: BSD-2-Clause
/* I/O ports: the 64 Ki ports of the CPU, as ranges. */
#include "dev/inout.h"

#include <errno.h>
#include <stdlib.h>

int inout_map_create(struct inout_map **out, struct err *err)
{
	*out = malloc(sizeof(**out));
	if (*out == NULL)
		return err_sys(err, ENOMEM, "I/O ports");
	range_map_init(&(*out)->map, "port", UINT16_MAX);
	return 0;
}

void inout_map_destroy(struct inout_map *ports)
{
	if (ports == NULL)
		return;
	range_map_destroy(&ports->map);
	free(ports);
}

int inout_add(struct inout_map *ports, const struct io_range *range,
	      uint16_t port, struct err *err)
{
	return range_add(&ports->map, range, port, err);
}

bool inout_remove(struct inout_map *ports, const struct io_range *range)
{
	return range_remove(&ports->map, range);
}

int inout_access(struct inout_map *ports, struct vm_inout *io)
{
	uint32_t mask =
	    io->bytes >= 4 ? UINT32_MAX : (uint32_t)BIT(8 * io->bytes) - 1;
	uint64_t data = io->eax & mask;
	int error =
	    range_access(&ports->map, io->port, io->bytes, !io->in, &data);

	if (io->in)
		io->eax = (io->eax & ~mask) | ((uint32_t)data & mask);
	return error;
}
