/* SPDX-License-Identifier: BSD-2-Clause */
/* How many CPUs the guest has, how they are grouped, where they may run. */
#ifndef BHYVE_TOPOLOGY_H
#define BHYVE_TOPOLOGY_H

#include <sched.h>

#include "base/config.h"
#include "base/err.h"

struct topology {
	uint16_t cpus;
	uint16_t sockets;
	uint16_t cores;   /* of a socket */
	uint16_t threads; /* of a core */
};

/* -c: [[cpus=]n][,sockets=n][,cores=n][,threads=n] into variables. */
int topology_parse(struct config *config, const char *text, struct err *err);

/* The topology that cpus, sockets, cores and threads describe. */
int topology_read(struct config *config, struct topology *out, struct err *err);

/* -p: vcpu:hostcpu, either may be a range; adds to vcpu.N.cpuset. */
int pinning_parse(struct config *config, const char *text, struct err *err);

/* vcpu.N.cpuset. *pinned is false, and *out empty, when it is not set. */
int pinning_read(struct config *config, unsigned int vcpu, cpu_set_t *out,
		 bool *pinned, struct err *err);

#endif
