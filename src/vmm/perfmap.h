/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * perf's map of generated code: /tmp/perf-PID.map, a line for each piece
 * (Linux, tools/perf/Documentation/jit-interface.txt).
 */
#ifndef VMM_PERFMAP_H
#define VMM_PERFMAP_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A file to add to, or -errno. */
int perfmap_open(struct err *err);
/* Code of len bytes is at, made of a guest's at rip. Any thread. */
void perfmap_add(int fd, const void *at, size_t len, uint64_t rip);

#endif
