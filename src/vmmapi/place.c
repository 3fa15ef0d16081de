// SPDX-License-Identifier: BSD-2-Clause
/* Where VMs are: the run directory, and in it one directory a VM. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmmapi/door.h"

/* A dot at the start is for directories that are being made or removed. */
int place_check_name(const char *name, struct err *err)
{
	size_t len = name == NULL ? 0 : strlen(name);

	if (len == 0)
		return err_set(err, EINVAL, "the VM's name is empty");
	if (len > VM_MAX_NAMELEN)
		return err_set(
		    err, EINVAL,
		    "the VM's name is longer than %d bytes: %.20s...",
		    VM_MAX_NAMELEN, name);
	if (name[0] == '.')
		return err_set(err, EINVAL,
			       "%s: a VM's name does not begin with a dot",
			       name);
	for (const char *p = name; *p != '\0'; p++)
		if (*p == '/' || (unsigned char)*p < ' ' || *p == 0x7f)
			return err_set(err, EINVAL,
				       "%s: a VM's name has no slash and no "
				       "control character",
				       name);
	return 0;
}

/* -- the run directory -------------------------------------------------------
 */

/* Returns whether it is one that we choose ourselves, in a public place. */
static bool default_rundir(char path[PATH_MAX])
{
	const char *given = secure_getenv("VMM_RUNDIR");
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");

	if (given != NULL && given[0] != '\0')
		snprintf(path, PATH_MAX, "%s", given);
	else if (geteuid() == 0)
		snprintf(path, PATH_MAX, "/run/vmm");
	else if (runtime != NULL && runtime[0] == '/')
		snprintf(path, PATH_MAX, "%s/vmm", runtime);
	else {
		snprintf(path, PATH_MAX, "/tmp/vmm-%u", geteuid());
		return true;
	}
	return false;
}

/* /tmp belongs to all: what stands there must be ours alone. */
static int check_ours(int fd, const char *path, struct err *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(err, errno, "%s", path);
	if (st.st_uid != geteuid() || (st.st_mode & 077) != 0)
		return err_set(err, EPERM,
			       "%s: is not this user's alone; remove it, or "
			       "set rundir",
			       path);
	return 0;
}

int place_open_rundir(const struct door_options *options, bool create,
		      char path[PATH_MAX], struct err *err)
{
	bool in_public = false;
	int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
	int fd, error;

	if (options->rundir[0] != '\0')
		snprintf(path, PATH_MAX, "%s", options->rundir);
	else
		in_public = default_rundir(path);
	if (create && mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_sys(err, errno, "run directory %s", path);
	fd = open(path, flags | (in_public ? O_NOFOLLOW : 0));
	if (fd < 0)
		return err_sys(err, errno, "run directory %s", path);
	error = in_public ? check_ours(fd, path, err) : 0;
	if (error != 0) {
		close(fd);
		return error;
	}
	return fd;
}

/* -- a VM's directory --------------------------------------------------------
 */

static int no_such_vm(struct vmctx *ctx, int error, struct err *err)
{
	if (error == ENOENT)
		return err_set(err, ENOENT, "%s: no such VM in %s", ctx->name,
			       ctx->rundir);
	return err_sys(err, error, "%s: VM in %s", ctx->name, ctx->rundir);
}

static int open_dir(struct vmctx *ctx, const char *entry, struct err *err)
{
	ctx->dir_fd = openat(ctx->rundir_fd, entry,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return ctx->dir_fd < 0 ? no_such_vm(ctx, errno, err) : 0;
}

int place_open(struct vmctx *ctx, struct err *err)
{
	int error = open_dir(ctx, ctx->name, err);

	if (error != 0)
		return error;
	ctx->lock_fd =
	    openat(ctx->dir_fd, "lock", O_RDWR | O_NOFOLLOW | O_CLOEXEC);
	if (ctx->lock_fd < 0) {
		error = err_sys(err, errno, "%s: %s/%s/lock", ctx->name,
				ctx->rundir, ctx->name);
		close(ctx->dir_fd);
		ctx->dir_fd = -1;
	}
	return error;
}

int place_make(struct vmctx *ctx, char temporary[NAME_MAX], struct err *err)
{
	int error;

	snprintf(temporary, NAME_MAX, ".%s.new.%d.%d", ctx->name, getpid(),
		 gettid());
	if (mkdirat(ctx->rundir_fd, temporary, 0700) != 0)
		return err_sys(err, errno, "%s: cannot be made in %s",
			       ctx->name, ctx->rundir);
	error = open_dir(ctx, temporary, err);
	if (error != 0)
		return error;
	ctx->lock_fd = openat(ctx->dir_fd, "lock",
			      O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (ctx->lock_fd < 0)
		return err_sys(err, errno, "%s: cannot be made in %s",
			       ctx->name, ctx->rundir);
	return 0;
}

int place_publish(struct vmctx *ctx, const char *temporary, struct err *err)
{
	if (renameat2(ctx->rundir_fd, temporary, ctx->rundir_fd, ctx->name,
		      RENAME_NOREPLACE) == 0)
		return 0;
	/* A file system without RENAME_NOREPLACE: rename does not replace a
	   directory that has files in it, and a VM's always has. */
	if (errno == EINVAL &&
	    renameat(ctx->rundir_fd, temporary, ctx->rundir_fd, ctx->name) == 0)
		return 0;
	if (errno == EEXIST || errno == ENOTEMPTY)
		return err_set(err, EEXIST, "%s: VM exists already in %s",
			       ctx->name, ctx->rundir);
	return err_sys(err, errno, "%s: cannot be made in %s", ctx->name,
		       ctx->rundir);
}

/* One level: a VM's directory has no others in it. */
static int remove_dir(int parent, const char *entry)
{
	int fd = openat(parent, entry,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct dirent *found;
	DIR *dir;

	if (fd < 0)
		return -errno;
	dir = fdopendir(fd);
	if (dir == NULL) {
		close(fd);
		return -ENOMEM;
	}
	while ((found = readdir(dir)) != NULL)
		if (strcmp(found->d_name, ".") != 0 &&
		    strcmp(found->d_name, "..") != 0)
			unlinkat(fd, found->d_name, 0);
	closedir(dir);
	return unlinkat(parent, entry, AT_REMOVEDIR) != 0 ? -errno : 0;
}

void place_discard(struct vmctx *ctx, const char *temporary)
{
	remove_dir(ctx->rundir_fd, temporary);
}

/* Does the name in the run directory still stand for our directory? */
static bool is_current(struct vmctx *ctx)
{
	struct stat ours, named;

	return fstat(ctx->dir_fd, &ours) == 0 &&
	       fstatat(ctx->rundir_fd, ctx->name, &named,
		       AT_SYMLINK_NOFOLLOW) == 0 &&
	       ours.st_dev == named.st_dev && ours.st_ino == named.st_ino;
}

bool place_is_gone(struct vmctx *ctx)
{
	return !is_current(ctx);
}

/* Out of sight at once, whatever becomes of the files. */
int place_remove(struct vmctx *ctx, struct err *err)
{
	char hidden[NAME_MAX];
	int error;

	if (!is_current(ctx))
		return 0;
	memfile_remove(ctx);
	snprintf(hidden, sizeof(hidden), ".%s.old.%d.%d", ctx->name, getpid(),
		 gettid());
	if (renameat(ctx->rundir_fd, ctx->name, ctx->rundir_fd, hidden) != 0)
		return err_sys(err, errno, "%s: cannot be removed from %s",
			       ctx->name, ctx->rundir);
	error = remove_dir(ctx->rundir_fd, hidden);
	if (error != 0)
		return err_sys(err, -error, "%s: %s/%s cannot be removed",
			       ctx->name, ctx->rundir, hidden);
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

void place_close(struct vmctx *ctx)
{
	close_fd(&ctx->lock_fd);
	close_fd(&ctx->dir_fd);
	close_fd(&ctx->rundir_fd);
}
