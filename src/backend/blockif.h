/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk: a raw file or a block device of the host. Requests are done by
 * worker threads, up to BLOCKIF_WORKERS at once, in no order but that a flush
 * follows all writes that were done before it came.
 *
 * The contents never say what a file is: a guest may write any header there.
 */
#ifndef BACKEND_BLOCKIF_H
#define BACKEND_BLOCKIF_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/config.h"
#include "base/err.h"

#define BLOCKIF_WORKERS    8
#define BLOCKIF_SECTOR     512u
#define BLOCKIF_SECTOR_MAX 65536u

struct blockif;

enum blockif_op {
	BLOCKIF_READ,
	BLOCKIF_WRITE,
	BLOCKIF_FLUSH,
	BLOCKIF_DISCARD, /* what is read there later may be anything */
	BLOCKIF_ZERO,
};

/* Belongs to the caller again when done is called. */
struct blockif_request {
	enum blockif_op op;
	bool durable;      /* a write is flushed too before it is done */
	bool unmap;        /* ZERO: the space may be given back */
	uint64_t offset;   /* in bytes */
	uint64_t bytes;    /* of DISCARD and ZERO */
	struct iovec *iov; /* may be changed */
	unsigned int iovcnt;

	/* On a worker's thread, with no lock held; error: 0 or -errno. */
	void (*done)(struct blockif_request *request, int error);

	struct blockif_request *next; /* blockif's own */
};

/*
 * node's variables: path, nocache, sync or direct, ro, nodelete,
 * sectorsize=logical[/physical]. A file that may not be written to is opened
 * read-only.
 */
int blockif_open(struct config_node *node, struct blockif **out,
		 struct err *err);
/* What was submitted is done first. */
void blockif_close(struct blockif *disk);

uint64_t blockif_size(const struct blockif *disk); /* whole sectors */
uint32_t blockif_sector(const struct blockif *disk);
uint32_t blockif_physical_sector(const struct blockif *disk);
bool blockif_is_readonly(const struct blockif *disk);
bool blockif_can_discard(const struct blockif *disk);

/* From any thread, also under a device's lock: done is never called here. */
void blockif_submit(struct blockif *disk, struct blockif_request *request);

#endif
