/* SPDX-License-Identifier: BSD-2-Clause */
/* A machine with an echo device (virtio_echo.h) in slot 3, and its driver. */
#ifndef VIRTIO_FIXTURE_H
#define VIRTIO_FIXTURE_H

#include "virtio_driver.h"
#include "virtio_echo.h"

#define ECHO_SLOT 3u

struct fixture {
	struct machine m;
	struct driver d;
	struct echo *echo;
};

/* A driver that is ready, with queue 0 of size; features as wanted. */
void start(struct fixture *f, uint64_t features, uint16_t size);
/* The same up to the driver's first look at the device. */
void start_machine(struct fixture *f);
void finish(struct fixture *f);

/* A request of count bytes, which are value, value + 1...; returns where
   its echo will be. */
uint64_t request(struct driver *d, uint8_t value, uint32_t count,
		 bool indirect);
/* Whether the echo is there. */
bool echoed(struct driver *d, uint64_t at, uint8_t value, uint32_t count);

/* A capability of the device in ECHO_SLOT. */
unsigned int find_cap(struct machine *m, unsigned int id);
/* MSI-X on, with message 0x50 + vector for each; returns the table. */
uint64_t enable_msix(struct machine *m);
/* Whether the device's INTx wire is up. */
bool intx_is_up(const struct machine *m);

#endif
