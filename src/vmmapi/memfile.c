// SPDX-License-Identifier: BSD-2-Clause
/*
 * The VM's memory file. It is always on a tmpfs, so that no guest memory
 * reaches a disk but by swapping: in the VM's directory if that is on one,
 * else in /dev/shm with a link to it. Sparse: what the guest never touched
 * costs nothing.
 *
 * A process that will run the VM itself can do with anonymous memory, which
 * needs no room on a tmpfs (a container's /dev/shm is often 64 MB) and is in
 * huge pages where the host lets us: then the link leads to its open file in
 * /proc, and the memory ends with the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vmmapi/door.h"
#include "vmmapi/hugefile.h"

#define SHM_DIR    "/dev/shm"
#define SHM_PREFIX SHM_DIR "/anyhyve-"

#define ANON_PREFIX "anyhyve-"
/* With a VM's name, a dash, its memory's id, and the end. */
#define ANON_NAME   (sizeof(ANON_PREFIX) + VM_MAX_NAMELEN + 17)

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

/* -- anonymous ----------------------------------------------------------------
 */

/* Numbers in /proc are used again, names of open files are not. */
static void name_anon(struct vmctx *ctx, char name[ANON_NAME])
{
	snprintf(name, ANON_NAME, ANON_PREFIX "%s-%016llx", ctx->name,
		 (unsigned long long)ctx->record.memory_id);
}

static bool is_named_so(struct vmctx *ctx, int fd)
{
	char path[64], name[ANON_NAME], target[PATH_MAX];
	ssize_t len;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = readlink(path, target, sizeof(target) - 1);
	if (len < 0)
		return false;
	target[len] = '\0';
	name_anon(ctx, name);
	return strstr(target, name) != NULL;
}

static int link_anon(struct vmctx *ctx, int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", getpid(), fd);
	/* A memfd is everybody's, as far as its mode goes. */
	if (fchmod(fd, 0600) != 0 ||
	    symlinkat(path, ctx->dir_fd, "memory") != 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	ctx->memory_is_ours = true;
	return fd;
}

static int create_memfd(const char *name)
{
	int fd = memfd_create(name, MFD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int create_anon(struct vmctx *ctx, int create(const char *name))
{
	char name[ANON_NAME];
	int fd;

	name_anon(ctx, name);
	fd = create(name);
	return fd < 0 ? fd : link_anon(ctx, fd);
}

/* What the machine could hold at all, in MiB. */
static int64_t total_room(void)
{
	struct sysinfo info;

	if (sysinfo(&info) != 0)
		return 0;
	return (int64_t)((info.totalram + info.totalswap) * info.mem_unit /
			 MiB);
}

/* -- creation -----------------------------------------------------------------
 */

struct rooms {
	int64_t wanted, here, there, anon;
};

static int no_room(struct vmctx *ctx, const struct rooms *room, struct err *err)
{
	if (room->anon >= 0)
		return err_set(err, ENOSPC,
			       "%s: no room for %lld MB of memory: this "
			       "machine has %lld MB",
			       ctx->name, (long long)room->wanted,
			       (long long)room->anon);
	if (room->here < 0 && room->there < 0)
		return err_set(err, ENOSPC,
			       "%s: %s is no tmpfs and neither is the run "
			       "directory %s: guest memory has no place",
			       ctx->name, SHM_DIR, ctx->rundir);
	return err_set(err, ENOSPC,
		       "%s: no room for %lld MB of memory: %lld MB free in %s; "
		       "enlarge it (mount -o remount,size=...)",
		       ctx->name, (long long)room->wanted,
		       (long long)MAX(room->here, room->there),
		       room->here >= room->there ? ctx->rundir : SHM_DIR);
}

static struct rooms find_rooms(struct vmctx *ctx, uint64_t size)
{
	const char *backing = ctx->options.backing;
	struct rooms room = {
	    .wanted = (int64_t)((size + MiB - 1) / MiB),
	    .here = -1,
	    .there = -1,
	    .anon = -1,
	};

	if (strcmp(backing, "anon") != 0) {
		room.here = room_in(ctx->dir_fd);
		room.there = room_at(SHM_DIR);
	}
	if (strcmp(backing, "anon") == 0 || strcmp(backing, "auto") == 0)
		room.anon = total_room();
	return room;
}

/* The open file, or -errno; -ENOSPC: none of the places will do. */
static int create_somewhere(struct vmctx *ctx, const struct rooms *room)
{
	int fd;

	if (room->anon >= room->wanted) {
		fd = create_anon(ctx, hugefile_create);
		if (fd >= 0)
			return fd;
	}
	if (room->here >= room->wanted) {
		fd = openat(ctx->dir_fd, "memory",
			    FILE_FLAGS | O_CREAT | O_EXCL, 0600);
		return fd < 0 ? -errno : fd;
	}
	if (room->there >= room->wanted)
		return create_linked(ctx);
	if (room->anon >= room->wanted)
		return create_anon(ctx, create_memfd);
	return -ENOSPC;
}

int memfile_create(struct vmctx *ctx, uint64_t size, int *fd, struct err *err)
{
	struct rooms room = find_rooms(ctx, size);

	*fd = create_somewhere(ctx, &room);
	if (*fd == -ENOSPC)
		return no_room(ctx, &room, err);
	if (*fd < 0)
		return err_sys(err, -*fd, "%s: memory file", ctx->name);
	if (ftruncate(*fd, (off_t)size) != 0) {
		int error = errno;

		close(*fd);
		memfile_remove(ctx);
		return err_sys(err, error, "%s: %llu MB of memory", ctx->name,
			       (unsigned long long)(size / MiB));
	}
	return 0;
}

/* -- the existing one
 * -----------------------------------------------------------
 */

enum link_kind { LINK_NONE, LINK_SHM, LINK_PROC };

/* The link's target, if it is one that we would make. */
static enum link_kind read_link(struct vmctx *ctx, char path[PATH_MAX])
{
	ssize_t len = readlinkat(ctx->dir_fd, "memory", path, PATH_MAX - 1);
	unsigned process, fd;
	char again[64];

	if (len <= 0)
		return LINK_NONE;
	path[len] = '\0';
	if (strncmp(path, SHM_PREFIX, strlen(SHM_PREFIX)) == 0 &&
	    strchr(path + strlen(SHM_PREFIX), '/') == NULL)
		return LINK_SHM;
	if (sscanf(path, "/proc/%u/fd/%u", &process, &fd) != 2)
		return LINK_NONE;
	snprintf(again, sizeof(again), "/proc/%u/fd/%u", process, fd);
	return strcmp(path, again) == 0 ? LINK_PROC : LINK_NONE;
}

static int open_memory(struct vmctx *ctx, enum link_kind *kind)
{
	char path[PATH_MAX];

	*kind = read_link(ctx, path);
	switch (*kind) {
	case LINK_SHM:
		return open(path, FILE_FLAGS);
	case LINK_PROC:
		return open(path, FILE_FLAGS & ~O_NOFOLLOW);
	default:
		return openat(ctx->dir_fd, "memory", FILE_FLAGS);
	}
}

static bool is_memory(struct vmctx *ctx, int fd, enum link_kind kind,
		      uint64_t size)
{
	struct stat st, dir;

	if (fstat(fd, &st) != 0 || fstat(ctx->dir_fd, &dir) != 0)
		return false;
	if (kind == LINK_PROC && !is_named_so(ctx, fd))
		return false;
	return S_ISREG(st.st_mode) && st.st_uid == dir.st_uid &&
	       (uint64_t)st.st_size >= size;
}

int memfile_open(struct vmctx *ctx, uint64_t size, int *fd, struct err *err)
{
	enum link_kind kind;

	*fd = open_memory(ctx, &kind);
	if (*fd < 0)
		return err_sys(err, errno,
			       "%s: its memory is gone; destroy it "
			       "(bhyvectl --destroy)",
			       ctx->name);
	if (is_memory(ctx, *fd, kind, size))
		return 0;
	close(*fd);
	return err_set(err, EINVAL,
		       "%s: its memory file is not one (owner or size)",
		       ctx->name);
}

void memfile_remove(struct vmctx *ctx)
{
	char path[PATH_MAX];

	if (read_link(ctx, path) == LINK_SHM)
		unlink(path);
	unlinkat(ctx->dir_fd, "memory", 0);
	ctx->memory_is_ours = false;
}
