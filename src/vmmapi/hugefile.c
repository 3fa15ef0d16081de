// SPDX-License-Identifier: BSD-2-Clause
#include "vmmapi/hugefile.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_STACK_BYTES (64 * 1024)

/* -- the file system ----------------------------------------------------------
 */

/* In huge pages, whoever writes; without a limit, as a memfd is. */
static int configure(int fs)
{
	if (fsconfig(fs, FSCONFIG_SET_STRING, "huge", "always", 0) != 0 ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "size", "0", 0) != 0 ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0)
		return -errno;
	return 0;
}

/* A mount that is in nobody's tree. */
static int mount_tmpfs(void)
{
	int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int mount, error;

	if (fs < 0)
		return -errno;
	error = configure(fs);
	mount = error != 0 ? error
			   : fsmount(fs, FSMOUNT_CLOEXEC,
				     MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
					 MOUNT_ATTR_NOEXEC);
	if (error == 0 && mount < 0)
		mount = -errno;
	close(fs);
	return mount;
}

static int create(const char *name)
{
	int mount = mount_tmpfs(), fd;

	if (mount < 0)
		return mount;
	fd = openat(mount, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		fd = -errno;
	close(mount);
	return fd;
}

/* -- who may not mount --------------------------------------------------------
 */

struct child {
	const char *name;
	unsigned user, group;
	int fd; /* the answer */
};

static int write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -EIO;
}

static int map_id(const char *path, unsigned id)
{
	char text[64];

	snprintf(text, sizeof(text), "%u %u 1", id, id);
	return write_to(path, text);
}

/* In a user namespace of its own, in which it may mount and is who it was. */
static int child_main(void *arg)
{
	struct child *child = arg;
	int error = map_id("/proc/self/uid_map", child->user);

	if (error == 0)
		error = write_to("/proc/self/setgroups", "deny");
	if (error == 0)
		error = map_id("/proc/self/gid_map", child->group);
	child->fd = error != 0 ? error : create(child->name);
	return 0;
}

/*
 * The child shares memory and open files with us, who wait for it, so that
 * the file is ours at once and nothing is copied, however large the process
 * is. It ends without a signal that somebody could take for his own child's,
 * and takes none.
 */
static int create_as_child(const char *name)
{
	struct child child = {name, geteuid(), getegid(), -EPERM};
	uint8_t *stack = malloc(CHILD_STACK_BYTES);
	sigset_t all, before;
	pid_t pid;

	if (stack == NULL)
		return -ENOMEM;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = clone(child_main, stack + CHILD_STACK_BYTES,
		    CLONE_VM | CLONE_VFORK | CLONE_FILES | CLONE_NEWUSER |
			CLONE_NEWNS,
		    &child);
	if (pid < 0)
		child.fd = -errno;
	else
		while (waitpid(pid, NULL, __WCLONE) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(stack);
	return child.fd;
}

int hugefile_create(const char *name)
{
	int fd = create(name);

	return fd == -EPERM ? create_as_child(name) : fd;
}
