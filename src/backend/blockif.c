// SPDX-License-Identifier: BSD-2-Clause
#include "backend/blockif.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOUNCE_SIZE  (1u << 20)
#define BOUNCE_ALIGN 4096u

struct options {
	const char *path;
	bool nocache;
	bool sync;
	bool readonly;
	bool nodelete;
	uint32_t logical; /* 0: not given */
	uint32_t physical;
};

struct blockif {
	int fd;
	uint64_t size;
	uint32_t logical;
	uint32_t physical;
	bool readonly;
	bool discards;
	bool uncached; /* O_DIRECT: addresses and lengths must be aligned */

	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t work;
	struct blockif_request *first;
	struct blockif_request **last;
	unsigned int queued;
	unsigned int idle;
	unsigned int workers;
	bool closing;
	pthread_t threads[BLOCKIF_WORKERS];
};

/* -- doing it -------------------------------------------------------------- */

/* Drops the first done bytes. */
static void advance(struct iovec **iov, unsigned int *count, size_t done)
{
	while (*count > 0 && done >= (*iov)->iov_len) {
		done -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	if (*count > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + done;
		(*iov)->iov_len -= done;
	}
}

/*
 * A system call says EFAULT where an access would be a SIGBUS: the host has no
 * page there. Who owns the memory may have a handler that knows what to do.
 */
static void touch(const struct iovec *iov, unsigned int count)
{
	while (count > 1 && iov->iov_len == 0)
		iov++, count--;
	if (iov->iov_len != 0)
		(void)*(volatile const char *)iov->iov_base;
}

static int transfer(struct blockif *disk, bool write, struct iovec *iov,
		    unsigned int count, uint64_t offset)
{
	bool touched = false;

	while (count > 0) {
		ssize_t done =
		    write ? pwritev(disk->fd, iov, (int)count, (off_t)offset)
			  : preadv(disk->fd, iov, (int)count, (off_t)offset);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && errno == EFAULT && !touched) {
			touch(iov, count);
			touched = true;
			continue;
		}
		if (done < 0)
			return -errno;
		touched = false;
		/* Somebody made the file shorter. */
		if (done == 0)
			return -EIO;
		offset += (uint64_t)done;
		advance(&iov, &count, (size_t)done);
	}
	return 0;
}

static size_t gather(struct iovec **iov, unsigned int *count, uint8_t *buffer,
		     size_t room, bool scatter)
{
	size_t done = 0;

	while (*count > 0 && done < room) {
		size_t bytes = MIN((*iov)->iov_len, room - done);

		if (scatter)
			memcpy((*iov)->iov_base, buffer + done, bytes);
		else
			memcpy(buffer + done, (*iov)->iov_base, bytes);
		done += bytes;
		advance(iov, count, bytes);
	}
	return done;
}

/* O_DIRECT with buffers of a guest that knows nothing of it. */
static int bounce(struct blockif *disk, struct blockif_request *request)
{
	bool write = request->op == BLOCKIF_WRITE;
	struct iovec *iov = request->iov;
	unsigned int count = request->iovcnt;
	uint64_t offset = request->offset;
	uint64_t left = 0;
	uint8_t *buffer = aligned_alloc(BOUNCE_ALIGN, BOUNCE_SIZE);
	int error = buffer == NULL ? -ENOMEM : 0;

	for (unsigned int i = 0; i < count; i++)
		left += iov[i].iov_len;
	while (left > 0 && error == 0) {
		size_t bytes = (size_t)MIN(left, BOUNCE_SIZE);
		struct iovec piece = {buffer, bytes};

		if (write)
			gather(&iov, &count, buffer, bytes, false);
		error = transfer(disk, write, &piece, 1, offset);
		if (error == 0 && !write)
			gather(&iov, &count, buffer, bytes, true);
		offset += bytes;
		left -= bytes;
	}
	free(buffer);
	return error;
}

static bool is_aligned(const struct blockif_request *request)
{
	for (unsigned int i = 0; i < request->iovcnt; i++) {
		if ((uintptr_t)request->iov[i].iov_base % BOUNCE_ALIGN != 0 ||
		    request->iov[i].iov_len % BOUNCE_ALIGN != 0)
			return false;
	}
	return true;
}

static int flush(struct blockif *disk)
{
	return fdatasync(disk->fd) == 0 ? 0 : -errno;
}

static int read_or_write(struct blockif *disk, struct blockif_request *request)
{
	bool write = request->op == BLOCKIF_WRITE;
	int error;

	if (write && disk->readonly)
		return -EROFS;
	if (disk->uncached && !is_aligned(request))
		error = bounce(disk, request);
	else
		error = transfer(disk, write, request->iov, request->iovcnt,
				 request->offset);
	if (error == 0 && write && request->durable)
		error = flush(disk);
	return error;
}

/* Where the file system cannot, zeros are written. */
static int write_zeros(struct blockif *disk, uint64_t offset, uint64_t left)
{
	uint8_t *zeros = aligned_alloc(BOUNCE_ALIGN, BOUNCE_SIZE);
	int error = zeros == NULL ? -ENOMEM : 0;

	if (zeros != NULL)
		memset(zeros, 0, BOUNCE_SIZE);
	while (left > 0 && error == 0) {
		size_t bytes = (size_t)MIN(left, BOUNCE_SIZE);
		struct iovec piece = {zeros, bytes};

		error = transfer(disk, true, &piece, 1, offset);
		offset += bytes;
		left -= bytes;
	}
	free(zeros);
	return error;
}

static int punch(struct blockif *disk, const struct blockif_request *request)
{
	return fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)request->offset, (off_t)request->bytes) == 0
		   ? 0
		   : -errno;
}

static int zero(struct blockif *disk, const struct blockif_request *request)
{
	int error = -EOPNOTSUPP;

	if (disk->readonly)
		return -EROFS;
	if (request->bytes == 0)
		return 0;
	if (request->unmap && disk->discards)
		error = punch(disk, request);
	else if (fallocate(disk->fd, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
			   (off_t)request->offset, (off_t)request->bytes) == 0)
		error = 0;
	if (error < 0)
		error = write_zeros(disk, request->offset, request->bytes);
	if (error == 0 && request->durable)
		error = flush(disk);
	return error;
}

static int discard(struct blockif *disk, const struct blockif_request *request)
{
	if (disk->readonly)
		return -EROFS;
	if (!disk->discards)
		return -EOPNOTSUPP;
	return request->bytes == 0 ? 0 : punch(disk, request);
}

static int perform(struct blockif *disk, struct blockif_request *request)
{
	switch (request->op) {
	case BLOCKIF_READ:
	case BLOCKIF_WRITE:
		return read_or_write(disk, request);
	case BLOCKIF_FLUSH:
		return disk->readonly ? 0 : flush(disk);
	case BLOCKIF_DISCARD:
		return discard(disk, request);
	case BLOCKIF_ZERO:
		return zero(disk, request);
	}
	return -EOPNOTSUPP;
}

/* -- workers --------------------------------------------------------------- */

/* The next request, or NULL at the end. The lock is held. */
static struct blockif_request *take(struct blockif *disk)
{
	struct blockif_request *request;

	while (disk->first == NULL && !disk->closing) {
		disk->idle++;
		pthread_cond_wait(&disk->work, &disk->lock);
		disk->idle--;
	}
	request = disk->first;
	if (request == NULL)
		return NULL;
	disk->first = request->next;
	if (disk->first == NULL)
		disk->last = &disk->first;
	disk->queued--;
	return request;
}

static void *work(void *arg)
{
	struct blockif *disk = arg;
	struct blockif_request *request;

	pthread_mutex_lock(&disk->lock);
	while ((request = take(disk)) != NULL) {
		pthread_mutex_unlock(&disk->lock);
		request->done(request, perform(disk, request));
		pthread_mutex_lock(&disk->lock);
	}
	pthread_mutex_unlock(&disk->lock);
	return NULL;
}

/* One more worker; signals but its own are for other threads. The lock is held,
   or nobody else knows of the disk. */
static int add_worker(struct blockif *disk)
{
	sigset_t all;
	sigset_t old;
	int error;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&disk->threads[disk->workers], NULL, work, disk);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error == 0)
		disk->workers++;
	return -error;
}

void blockif_submit(struct blockif *disk, struct blockif_request *request)
{
	pthread_mutex_lock(&disk->lock);
	request->next = NULL;
	*disk->last = request;
	disk->last = &request->next;
	disk->queued++;
	/* If there is no more to be had, the workers there are will do. */
	if (disk->queued > disk->idle && disk->workers < BLOCKIF_WORKERS)
		(void)add_worker(disk);
	pthread_cond_signal(&disk->work);
	pthread_mutex_unlock(&disk->lock);
}

/* -- opening --------------------------------------------------------------- */

static int read_flag(struct config_node *node, const char *name, bool *out,
		     struct err *err)
{
	return config_get_bool_in(node, name, false, out, err);
}

static bool is_sector(unsigned long size)
{
	return size >= BLOCKIF_SECTOR && size <= BLOCKIF_SECTOR_MAX &&
	       (size & (size - 1)) == 0;
}

static int read_sectors(const char *text, struct options *options,
			struct err *err)
{
	unsigned long logical, physical;
	char *end;

	logical = strtoul(text, &end, 10);
	physical = logical;
	if (*end == '/')
		physical = strtoul(end + 1, &end, 10);
	if (*end != '\0' || !is_sector(logical) || !is_sector(physical) ||
	    physical < logical)
		return err_set(err, EINVAL,
			       "sectorsize=%.40s: LOGICAL or "
			       "LOGICAL/PHYSICAL, powers of two from %u to %u",
			       text, BLOCKIF_SECTOR, BLOCKIF_SECTOR_MAX);
	options->logical = (uint32_t)logical;
	options->physical = (uint32_t)physical;
	return 0;
}

static int read_options(struct config_node *node, struct options *options,
			struct err *err)
{
	const char *sectors = config_get_in(node, "sectorsize");
	bool direct = false;
	int error;

	*options = (struct options){.path = config_get_in(node, "path")};
	if (options->path == NULL)
		return err_set(err, EINVAL, "a disk needs path=FILE");
	error = read_flag(node, "nocache", &options->nocache, err);
	if (error == 0)
		error = read_flag(node, "sync", &options->sync, err);
	if (error == 0)
		error = read_flag(node, "direct", &direct, err);
	if (error == 0)
		error = read_flag(node, "ro", &options->readonly, err);
	if (error == 0)
		error = read_flag(node, "nodelete", &options->nodelete, err);
	if (error == 0 && sectors != NULL)
		error = read_sectors(sectors, options, err);
	options->sync |= direct;
	return error;
}

/* O_NONBLOCK: not to wait for a FIFO's other end. */
static int open_file(struct blockif *disk, const struct options *options,
		     struct err *err)
{
	int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY |
		    (options->nocache ? O_DIRECT : 0) |
		    (options->sync ? O_SYNC : 0);

	disk->readonly = options->readonly;
	disk->uncached = options->nocache;
	disk->fd =
	    open(options->path, flags | (disk->readonly ? O_RDONLY : O_RDWR));
	if (disk->fd < 0 && !disk->readonly &&
	    (errno == EACCES || errno == EROFS || errno == EPERM)) {
		disk->readonly = true;
		disk->fd = open(options->path, flags | O_RDONLY);
	}
	if (disk->fd < 0)
		return err_sys(err, errno, "%.300s", options->path);
	if (flock(disk->fd, (disk->readonly ? LOCK_SH : LOCK_EX) | LOCK_NB) <
		0 &&
	    errno == EWOULDBLOCK)
		return err_set(err, EBUSY,
			       "%.300s: another VM or program has locked it; "
			       "with ro several may read it",
			       options->path);
	return 0;
}

/* A hole behind the end changes nothing, and shows whether it can be done. */
static bool can_punch(const struct blockif *disk)
{
	return fallocate(disk->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
			 (off_t)ALIGN_UP(disk->size, BLOCKIF_SECTOR_MAX),
			 BLOCKIF_SECTOR_MAX) == 0;
}

static int measure(struct blockif *disk, const struct options *options,
		   struct err *err)
{
	const char *path = options->path;
	struct stat st;
	int sector = 0;

	if (fstat(disk->fd, &st) < 0)
		return err_sys(err, errno, "%.300s", path);
	disk->logical = BLOCKIF_SECTOR;
	if (S_ISBLK(st.st_mode)) {
		if (ioctl(disk->fd, BLKGETSIZE64, &disk->size) < 0 ||
		    ioctl(disk->fd, BLKSSZGET, &sector) < 0)
			return err_sys(err, errno, "%.300s", path);
		if (is_sector((unsigned long)sector))
			disk->logical = (uint32_t)sector;
	} else if (S_ISREG(st.st_mode)) {
		disk->size = (uint64_t)st.st_size;
	} else {
		return err_set(err, EINVAL,
			       "%.300s: neither a file nor a block device",
			       path);
	}
	disk->physical = is_sector((unsigned long)st.st_blksize)
			     ? (uint32_t)st.st_blksize
			     : disk->logical;
	if (options->logical != 0) {
		disk->logical = options->logical;
		disk->physical = options->physical;
	}
	disk->physical = MAX(disk->physical, disk->logical);
	disk->size -= disk->size % disk->logical;
	if (disk->size == 0)
		return err_set(err, EINVAL,
			       "%.300s: has not one sector of %u bytes", path,
			       disk->logical);
	disk->discards = !disk->readonly && !options->nodelete &&
			 S_ISREG(st.st_mode) && can_punch(disk);
	return 0;
}

static struct blockif *new_disk(void)
{
	struct blockif *disk = calloc(1, sizeof(*disk));

	if (disk == NULL)
		return NULL;
	disk->fd = -1;
	disk->last = &disk->first;
	pthread_mutex_init(&disk->lock, NULL);
	pthread_cond_init(&disk->work, NULL);
	return disk;
}

int blockif_open(struct config_node *node, struct blockif **out,
		 struct err *err)
{
	struct options options;
	struct blockif *disk;
	int error = read_options(node, &options, err);

	if (error < 0)
		return error;
	disk = new_disk();
	if (disk == NULL)
		return err_sys(err, ENOMEM, "%.300s", options.path);
	error = open_file(disk, &options, err);
	if (error == 0)
		error = measure(disk, &options, err);
	if (error == 0 && (error = add_worker(disk)) < 0)
		err_sys(err, -error, "%.300s: a thread for it", options.path);
	if (error < 0) {
		blockif_close(disk);
		return error;
	}
	*out = disk;
	return 0;
}

void blockif_close(struct blockif *disk)
{
	if (disk == NULL)
		return;
	pthread_mutex_lock(&disk->lock);
	disk->closing = true;
	pthread_cond_broadcast(&disk->work);
	pthread_mutex_unlock(&disk->lock);
	for (unsigned int i = 0; i < disk->workers; i++)
		pthread_join(disk->threads[i], NULL);
	if (disk->fd >= 0)
		close(disk->fd);
	pthread_cond_destroy(&disk->work);
	pthread_mutex_destroy(&disk->lock);
	free(disk);
}

/* -- properties ------------------------------------------------------------ */

uint64_t blockif_size(const struct blockif *disk)
{
	return disk->size;
}

uint32_t blockif_sector(const struct blockif *disk)
{
	return disk->logical;
}

uint32_t blockif_physical_sector(const struct blockif *disk)
{
	return disk->physical;
}

bool blockif_is_readonly(const struct blockif *disk)
{
	return disk->readonly;
}

bool blockif_can_discard(const struct blockif *disk)
{
	return disk->discards;
}
