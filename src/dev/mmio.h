/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest physical addresses that are not RAM, and who answers there. */
#ifndef DEV_MMIO_H
#define DEV_MMIO_H

#include <vmmapi.h>

#include "dev/range.h"

struct mmio_map {
	struct range_map map;
};

int mmio_map_create(struct mmio_map **out, struct err *err);
void mmio_map_destroy(struct mmio_map *mmio);

/* As range_add and range_remove. */
int mmio_add(struct mmio_map *mmio, const struct io_range *range, uint64_t gpa,
	     struct err *err);
bool mmio_remove(struct mmio_map *mmio, const struct io_range *range);

/* An exit of a vCPU: 0 or -ENXIO, see board_mmio. */
int mmio_access(struct mmio_map *mmio, struct vm_inst_emul *access);

#endif
