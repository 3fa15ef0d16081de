// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/perfmap.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

int perfmap_open(struct err *err)
{
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "/tmp/perf-%d.map", (int)getpid());
	fd = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
		  0600);
	return fd < 0 ? err_sys(err, errno, "soft.jit.perfmap: %s", name) : fd;
}

/* A line is one write, so that those of several vCPUs do not mix. */
void perfmap_add(int fd, const void *at, size_t len, uint64_t rip)
{
	char line[80];
	int n =
	    snprintf(line, sizeof(line), "%" PRIxPTR " %zx guest_%" PRIx64 "\n",
		     (uintptr_t)at, len, rip);

	if (write(fd, line, (size_t)n) != n)
		return; /* the disk is full: perf knows less */
}
