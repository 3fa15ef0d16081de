// SPDX-License-Identifier: BSD-2-Clause
/*
 * The VM's memory file. It is always on a tmpfs, so that no guest memory
 * reaches a disk but by swapping: in the VM's directory if that is on one,
 * else in /dev/shm with a link to it. Sparse: what the guest never touched
 * costs nothing.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmmapi/door.h"

#define SHM_DIR    "/dev/shm"
#define SHM_PREFIX SHM_DIR "/anyhyve-"

#define FILE_FLAGS (O_RDWR | O_NOFOLLOW | O_CLOEXEC)

/* Room in MiB, or -1 when it is no tmpfs. */
static int64_t tmpfs_room(const struct statfs *fs)
{
	if (fs->f_type != TMPFS_MAGIC)
		return -1;
	if (fs->f_blocks == 0) /* mounted without a limit */
		return INT64_MAX;
	return (int64_t)(fs->f_bavail / (MiB / (uint64_t)fs->f_bsize));
}

static int64_t room_in(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 ? tmpfs_room(&fs) : -1;
}

static int64_t room_at(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 ? tmpfs_room(&fs) : -1;
}

static int create_linked(struct vmctx *ctx)
{
	char path[PATH_MAX];
	uint64_t random;
	int fd;

	if (getrandom(&random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	snprintf(path, sizeof(path), SHM_PREFIX "%u-%s-%016llx", geteuid(),
		 ctx->name, (unsigned long long)random);
	fd = open(path, FILE_FLAGS | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return -errno;
	if (symlinkat(path, ctx->dir_fd, "memory") != 0) {
		int error = -errno;

		unlink(path);
		close(fd);
		return error;
	}
	return fd;
}

static int no_room(struct vmctx *ctx, uint64_t size, int64_t here,
		   int64_t there, struct err *err)
{
	unsigned long long wanted = size / MiB;

	if (here < 0 && there < 0)
		return err_set(err, ENOSPC,
			       "%s: %s is no tmpfs and neither is the run "
			       "directory %s: guest memory has no place",
			       ctx->name, SHM_DIR, ctx->rundir);
	return err_set(err, ENOSPC,
		       "%s: no room for %llu MB of memory: %lld MB free in %s; "
		       "enlarge it (mount -o remount,size=...)",
		       ctx->name, wanted, (long long)MAX(here, there),
		       here >= there ? ctx->rundir : SHM_DIR);
}

int memfile_create(struct vmctx *ctx, uint64_t size, int *fd, struct err *err)
{
	int64_t wanted = (int64_t)((size + MiB - 1) / MiB);
	int64_t here = room_in(ctx->dir_fd), there = room_at(SHM_DIR);

	if (here >= wanted)
		*fd = openat(ctx->dir_fd, "memory",
			     FILE_FLAGS | O_CREAT | O_EXCL, 0600);
	else if (there >= wanted)
		*fd = create_linked(ctx);
	else
		return no_room(ctx, size, here, there, err);
	if (*fd < 0)
		return err_sys(err, here >= wanted ? errno : -*fd,
			       "%s: memory file", ctx->name);
	if (ftruncate(*fd, (off_t)size) != 0) {
		int error = errno;

		close(*fd);
		memfile_remove(ctx);
		return err_sys(err, error, "%s: %llu MB of memory", ctx->name,
			       (unsigned long long)size / MiB);
	}
	return 0;
}

/* The link's target, if it is one that we would make. */
static bool read_link(struct vmctx *ctx, char path[PATH_MAX])
{
	ssize_t len = readlinkat(ctx->dir_fd, "memory", path, PATH_MAX - 1);

	if (len <= 0)
		return false;
	path[len] = '\0';
	return strncmp(path, SHM_PREFIX, strlen(SHM_PREFIX)) == 0 &&
	       strchr(path + strlen(SHM_PREFIX), '/') == NULL;
}

int memfile_open(struct vmctx *ctx, uint64_t size, int *fd, struct err *err)
{
	char path[PATH_MAX];
	struct stat st, dir;

	if (read_link(ctx, path))
		*fd = open(path, FILE_FLAGS);
	else
		*fd = openat(ctx->dir_fd, "memory", FILE_FLAGS);
	if (*fd < 0)
		return err_sys(err, errno,
			       "%s: its memory is gone; destroy it "
			       "(bhyvectl --destroy)",
			       ctx->name);
	if (fstat(*fd, &st) == 0 && fstat(ctx->dir_fd, &dir) == 0 &&
	    S_ISREG(st.st_mode) && st.st_uid == dir.st_uid &&
	    (uint64_t)st.st_size >= size)
		return 0;
	close(*fd);
	return err_set(err, EINVAL,
		       "%s: its memory file is not one (owner or size)",
		       ctx->name);
}

void memfile_remove(struct vmctx *ctx)
{
	char path[PATH_MAX];

	if (read_link(ctx, path))
		unlink(path);
	unlinkat(ctx->dir_fd, "memory", 0);
}
