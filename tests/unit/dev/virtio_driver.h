/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's virtio driver over board_fixture.h, as a sane driver does it,
 * and with each step apart, for drivers that are not. It knows of the device
 * only what the capabilities in its configuration space say.
 */
#ifndef VIRTIO_DRIVER_H
#define VIRTIO_DRIVER_H

#include "board_fixture.h"
#include "dev/virtio_regs.h"

#define DRIVER_RAM    (4 * MiB)
#define DRIVER_QUEUES 4u

struct buffer {
	uint64_t gpa;
	uint32_t len;
	bool write; /* by the device */
};

struct ring {
	unsigned int index;
	uint16_t size;
	uint64_t desc;
	uint64_t driver;
	uint64_t device;
	uint16_t next;  /* free descriptor: a ring of them, never freed */
	uint16_t avail; /* split: index; packed: position */
	uint16_t used;
	uint8_t avail_wrap;
	uint8_t used_wrap;
	uint16_t slots[256]; /* packed: by id */
};

struct driver {
	struct machine *m;
	unsigned int slot;
	uint64_t common;
	uint64_t isr;
	uint64_t config;
	uint64_t notify;
	uint32_t multiplier;
	uint64_t features;
	uint64_t next_ram;
	struct ring rings[DRIVER_QUEUES];
};

/* Memory for the machine's guest: give it back with driver_free_ram. */
void driver_make_ram(struct machine *m);
void driver_free_ram(struct machine *m);

/* Finds the registers of the device in slot. Resets nothing. */
void driver_find(struct driver *d, struct machine *m, unsigned int slot);
/* Reset and negotiation, up to FEATURES_OK: of what is offered, wanted. */
void driver_negotiate(struct driver *d, uint64_t wanted);
uint64_t driver_offered(struct driver *d);
/* Sets queue up, of size, in new memory, and enables it. */
void driver_queue(struct driver *d, unsigned int queue, uint16_t size);
void driver_ok(struct driver *d);
/* All of the above for one queue. */
void driver_start(struct driver *d, struct machine *m, unsigned int slot,
		  uint64_t wanted, uint16_t size);

uint32_t common_get(struct driver *d, unsigned int offset, unsigned int bytes);
void common_set(struct driver *d, unsigned int offset, unsigned int bytes,
		uint32_t value);
uint8_t driver_status(struct driver *d);

/* Memory, zeroed, aligned to 4 KiB. */
uint64_t driver_alloc(struct driver *d, size_t bytes);
void *driver_at(struct driver *d, uint64_t gpa);

/* Makes a chain available, its buffers in an indirect table or not, without
   a kick. Returns its id. */
uint16_t driver_add(struct driver *d, unsigned int queue,
		    const struct buffer *buffers, unsigned int count,
		    bool indirect);
void driver_kick(struct driver *d, unsigned int queue);
/* The next used chain, if there is one. */
bool driver_used(struct driver *d, unsigned int queue, uint16_t *id,
		 uint32_t *len);
/* The same, serving the event loop until there is one. */
void driver_wait(struct driver *d, unsigned int queue, uint16_t *id,
		 uint32_t *len);

/* For drivers that are not sane: one descriptor, and what makes the chain
   that begins there available. last is next, or the packed ring's id. */
void driver_desc(struct driver *d, uint64_t table, unsigned int index,
		 uint64_t gpa, uint32_t len, uint16_t flags, uint16_t last);
void driver_avail(struct driver *d, unsigned int queue, uint16_t head,
		  uint16_t slots);

#endif
