/* SPDX-License-Identifier: BSD-2-Clause */
/* I/O ports and who answers at them. */
#ifndef DEV_INOUT_H
#define DEV_INOUT_H

#include <vmmapi.h>

#include "dev/range.h"

struct inout_map {
	struct range_map map;
};

int inout_map_create(struct inout_map **out, struct err *err);
void inout_map_destroy(struct inout_map *ports);

/* As range_add and range_remove. */
int inout_add(struct inout_map *ports, const struct io_range *range,
	      uint16_t port, struct err *err);
bool inout_remove(struct inout_map *ports, const struct io_range *range);

/* An exit of a vCPU: 0 or -ENXIO, see board_inout. */
int inout_access(struct inout_map *ports, struct vm_inout *io);

#endif
