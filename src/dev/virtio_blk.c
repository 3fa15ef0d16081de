// SPDX-License-Identifier: BSD-2-Clause
/* virtio-blk: a disk (virtio 1.2, 5.2) over backend/blockif.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/blockif.h"
#include "base/bytes.h"
#include "base/md5.h"
#include "dev/virtio.h"

#define QUEUE_SIZE    128u
#define SECTOR        512u /* whatever the disk's sector is (5.2.4) */
#define SECTOR_SHIFT  9
#define ID_SIZE       20u
/* Of a discard or a write of zeros: 16 MiB, in one range. */
#define RANGE_SECTORS (16 * MiB / SECTOR)

/* Features (5.2.3). */
#define BLK_F_SEG_MAX      BIT(2)
#define BLK_F_RO           BIT(5)
#define BLK_F_BLK_SIZE     BIT(6)
#define BLK_F_FLUSH        BIT(9)
#define BLK_F_TOPOLOGY     BIT(10)
#define BLK_F_DISCARD      BIT(13)
#define BLK_F_WRITE_ZEROES BIT(14)

/* Configuration (5.2.4). */
#define CONFIG_CAPACITY      0x00
#define CONFIG_SEG_MAX       0x0c
#define CONFIG_BLK_SIZE      0x14
#define CONFIG_PHYSICAL_EXP  0x18
#define CONFIG_MIN_IO        0x1a
#define CONFIG_OPT_IO        0x1c
#define CONFIG_DISCARD_MAX   0x24
#define CONFIG_DISCARD_SEGS  0x28
#define CONFIG_DISCARD_ALIGN 0x2c
#define CONFIG_ZEROES_MAX    0x30
#define CONFIG_ZEROES_SEGS   0x34
#define CONFIG_ZEROES_UNMAP  0x38
#define CONFIG_SIZE          0x3c

/* Requests (5.2.6). */
#define TYPE_IN           0
#define TYPE_OUT          1
#define TYPE_FLUSH        4
#define TYPE_GET_ID       8
#define TYPE_DISCARD      11
#define TYPE_WRITE_ZEROES 13
#define STATUS_OK         0
#define STATUS_IOERR      1
#define STATUS_UNSUPP     2
#define HEADER_SIZE       16u
#define RANGE_SIZE        16u
#define RANGE_UNMAP       0x1

struct blk;

struct blk_request {
	struct blk *blk;
	struct blk_request *next; /* while it is free */
	uint64_t data;            /* bytes of it that the device writes */
	struct blockif_request io;
	struct vq_chain chain;
	struct iovec iov[VQ_SEGMENTS];
};

struct blk {
	struct virtio *v;
	struct blockif *disk;
	struct blk_request *free; /* under the device's lock */
	struct blk_request requests[QUEUE_SIZE];
	char id[ID_SIZE];
};

/* -- completion ------------------------------------------------------------ */

static void release(void *arg)
{
	struct blk_request *request = arg;

	request->next = request->blk->free;
	request->blk->free = request;
}

/* The last byte that the driver left room for is the status. */
static uint64_t put_status(struct blk_request *request, uint8_t status)
{
	uint64_t at = request->chain.writable_bytes - 1;

	virtio_write(request->blk->v, &request->chain, at, &status, 1);
	/* What an error leaves in the buffers before it, nobody reads. */
	return status == STATUS_OK ? request->data + 1 : at + 1;
}

/* With the lock held: answered on the spot. */
static void answer(struct blk_request *request, uint8_t status)
{
	virtio_push(request->blk->v, 0, &request->chain,
		    put_status(request, status));
	release(request);
}

/* On a worker's thread. */
static void on_done(struct blockif_request *io, int error)
{
	struct blk_request *request = container_of(io, struct blk_request, io);
	uint8_t status = error == 0             ? STATUS_OK
			 : error == -EOPNOTSUPP ? STATUS_UNSUPP
						: STATUS_IOERR;

	if (io->op == BLOCKIF_READ)
		vq_chain_dirty(&request->chain,
			       virtio_board(request->blk->v)->ctx, 0,
			       request->data);
	virtio_complete(request->blk->v, 0, &request->chain,
			put_status(request, status), release, request);
}

static void submit(struct blk_request *request)
{
	request->io.done = on_done;
	blockif_submit(request->blk->disk, &request->io);
}

/* -- requests -------------------------------------------------------------- */

static bool inside(const struct blk *blk, uint64_t sector, uint64_t bytes)
{
	uint64_t size = blockif_size(blk->disk);

	return sector <= size >> SECTOR_SHIFT &&
	       range_inside(sector << SECTOR_SHIFT, bytes, size);
}

/* Without FLUSH the driver takes the disk for one without a cache (5.2.5.2).
 */
static bool is_durable(const struct blk *blk)
{
	return !virtio_has(blk->v, BLK_F_FLUSH);
}

static void transfer(struct blk_request *request, uint64_t sector, bool write)
{
	const struct vq_chain *chain = &request->chain;
	uint64_t bytes = write ? chain->readable_bytes - HEADER_SIZE
			       : chain->writable_bytes - 1;

	if (bytes % SECTOR != 0 || !inside(request->blk, sector, bytes)) {
		answer(request, STATUS_IOERR);
		return;
	}
	request->data = write ? 0 : bytes;
	request->io = (struct blockif_request){
	    .op = write ? BLOCKIF_WRITE : BLOCKIF_READ,
	    .durable = is_durable(request->blk),
	    .offset = sector << SECTOR_SHIFT,
	    .iov = request->iov,
	    .iovcnt = vq_chain_pieces(chain, !write, write ? HEADER_SIZE : 0,
				      bytes, request->iov),
	};
	submit(request);
}

static void do_in(struct blk_request *request, uint64_t sector)
{
	transfer(request, sector, false);
}

static void do_out(struct blk_request *request, uint64_t sector)
{
	transfer(request, sector, true);
}

static void do_flush(struct blk_request *request, uint64_t sector)
{
	(void)sector;
	request->io = (struct blockif_request){.op = BLOCKIF_FLUSH};
	submit(request);
}

static void do_get_id(struct blk_request *request, uint64_t sector)
{
	struct blk *blk = request->blk;
	uint64_t room = request->chain.writable_bytes - 1;

	(void)sector;
	request->data = virtio_write(blk->v, &request->chain, 0, blk->id,
				     MIN(room, ID_SIZE));
	answer(request, STATUS_OK);
}

/* One range: sector, count, flags (5.2.6). */
static void do_range(struct blk_request *request, enum blockif_op op,
		     uint32_t known_flags)
{
	struct blk *blk = request->blk;
	uint8_t raw[RANGE_SIZE];
	uint64_t sector, bytes;
	uint32_t count, flags;

	if (request->chain.readable_bytes != HEADER_SIZE + RANGE_SIZE) {
		answer(request, STATUS_IOERR);
		return;
	}
	virtio_read(blk->v, &request->chain, HEADER_SIZE, raw, sizeof(raw));
	sector = load_le64(raw);
	count = load_le32(raw + 8);
	flags = load_le32(raw + 12);
	bytes = (uint64_t)count << SECTOR_SHIFT;
	if (flags & ~known_flags) {
		answer(request, STATUS_UNSUPP);
		return;
	}
	if (count > RANGE_SECTORS || !inside(blk, sector, bytes)) {
		answer(request, STATUS_IOERR);
		return;
	}
	request->io = (struct blockif_request){
	    .op = op,
	    .durable = is_durable(blk),
	    .unmap = flags & RANGE_UNMAP,
	    .offset = sector << SECTOR_SHIFT,
	    .bytes = bytes,
	};
	submit(request);
}

static void do_discard(struct blk_request *request, uint64_t sector)
{
	(void)sector;
	do_range(request, BLOCKIF_DISCARD, 0);
}

static void do_write_zeroes(struct blk_request *request, uint64_t sector)
{
	(void)sector;
	do_range(request, BLOCKIF_ZERO, RANGE_UNMAP);
}

static const struct {
	uint32_t type;
	void (*run)(struct blk_request *request, uint64_t sector);
	uint64_t feature; /* that must have been offered */
	bool changes;     /* the disk */
} types[] = {
    {TYPE_IN, do_in, 0, false},
    {TYPE_OUT, do_out, 0, true},
    {TYPE_FLUSH, do_flush, 0, false},
    {TYPE_GET_ID, do_get_id, 0, false},
    {TYPE_DISCARD, do_discard, BLK_F_DISCARD, true},
    {TYPE_WRITE_ZEROES, do_write_zeroes, BLK_F_WRITE_ZEROES, true},
};

static void start(struct blk_request *request)
{
	struct blk *blk = request->blk;
	uint8_t header[HEADER_SIZE];
	uint32_t type;

	virtio_read(blk->v, &request->chain, 0, header, sizeof(header));
	type = load_le32(header);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].type != type ||
		    !virtio_has(blk->v, types[i].feature))
			continue;
		if (types[i].changes && blockif_is_readonly(blk->disk))
			answer(request, STATUS_IOERR);
		else
			types[i].run(request, load_le64(header + 8));
		return;
	}
	answer(request, STATUS_UNSUPP);
}

static void notify(struct virtio *v, unsigned int queue)
{
	struct blk *blk = virtio_private(v);
	struct blk_request *request;

	/* There is one for each place in the ring. */
	while ((request = blk->free) != NULL &&
	       virtio_pop(v, queue, &request->chain)) {
		blk->free = request->next;
		request->data = 0;
		if (request->chain.readable_bytes >= HEADER_SIZE &&
		    request->chain.writable_bytes > 0) {
			start(request);
			continue;
		}
		virtio_fail(v, queue,
			    "a request without header or room for its status");
		virtio_push(v, queue, &request->chain, 0);
		release(request);
	}
	virtio_interrupt(v, queue);
}

/* -- life ------------------------------------------------------------------ */

/* ser=, or what bhyve makes of the path. */
static int set_id(struct blk *blk, struct config_node *node, struct err *err)
{
	const char *serial = config_get_in(node, "ser");
	const char *path = config_get_in(node, "path");
	uint8_t digest[MD5_SIZE];
	char text[ID_SIZE + 1];

	if (serial == NULL) {
		md5(path, strlen(path), digest);
		snprintf(text, sizeof(text), "BHYVE-%02X%02X-%02X%02X-%02X%02X",
			 digest[0], digest[1], digest[2], digest[3], digest[4],
			 digest[5]);
		serial = text;
	}
	if (strlen(serial) > ID_SIZE)
		return err_set(err, EINVAL,
			       "ser=%.40s: longer than %u characters", serial,
			       ID_SIZE);
	memcpy(blk->id, serial, strlen(serial));
	return 0;
}

static unsigned int log2_of(uint32_t value)
{
	return 31 - (unsigned int)__builtin_clz(value);
}

static void describe(struct blk *blk)
{
	uint32_t sector = blockif_sector(blk->disk);
	uint32_t physical = blockif_physical_sector(blk->disk);
	bool readonly = blockif_is_readonly(blk->disk);
	uint8_t config[CONFIG_SIZE] = {0};

	store_le64(config + CONFIG_CAPACITY,
		   blockif_size(blk->disk) >> SECTOR_SHIFT);
	/* Header and status take two places. */
	store_le32(config + CONFIG_SEG_MAX, QUEUE_SIZE - 2);
	store_le32(config + CONFIG_BLK_SIZE, sector);
	config[CONFIG_PHYSICAL_EXP] = (uint8_t)(log2_of(physical / sector));
	store_le16(config + CONFIG_MIN_IO, (uint16_t)(physical / sector));
	store_le32(config + CONFIG_OPT_IO, 0);
	store_le32(config + CONFIG_DISCARD_MAX, RANGE_SECTORS);
	store_le32(config + CONFIG_DISCARD_SEGS, 1);
	store_le32(config + CONFIG_DISCARD_ALIGN, physical / SECTOR);
	store_le32(config + CONFIG_ZEROES_MAX, RANGE_SECTORS);
	store_le32(config + CONFIG_ZEROES_SEGS, 1);
	config[CONFIG_ZEROES_UNMAP] = blockif_can_discard(blk->disk);
	virtio_set_config(blk->v, 0, config, sizeof(config));
	virtio_offer(blk->v, readonly ? BLK_F_RO : BLK_F_WRITE_ZEROES);
	if (blockif_can_discard(blk->disk))
		virtio_offer(blk->v, BLK_F_DISCARD);
}

static void destroy(struct virtio *v)
{
	struct blk *blk = virtio_private(v);

	blockif_close(blk->disk);
}

static int create(struct virtio *v, struct config_node *node, struct err *err)
{
	struct blk *blk = virtio_private(v);
	int error;

	blk->v = v;
	for (unsigned int i = 0; i < QUEUE_SIZE; i++) {
		blk->requests[i].blk = blk;
		release(&blk->requests[i]);
	}
	error = blockif_open(node, &blk->disk, err);
	if (error == 0)
		error = set_id(blk, node, err);
	if (error < 0) {
		destroy(v);
		return error;
	}
	describe(blk);
	return 0;
}

static const struct virtio_device device = {
    .type = VIRTIO_TYPE_BLOCK,
    .class_code = 0x01, /* mass storage */
    .queues = 1,
    .queue_size = QUEUE_SIZE,
    .features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY,
    .private_size = sizeof(struct blk),
    .create = create,
    .destroy = destroy,
    .notify = notify,
};

VIRTIO_PCI_DEVICE(virtio_blk_ops, device);
