// SPDX-License-Identifier: BSD-2-Clause
/* Character devices over files that are there: stdio and terminals. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/chardev_priv.h"

/*
 * A descriptor of our own for 0 or 1. O_NONBLOCK belongs to the open file,
 * which the shell that started us and others share, so pipes and terminals
 * are opened again; when that is refused, or makes no sense (a regular file
 * would start at its beginning), we share, and poll before each access.
 */
static int own_descriptor(int fd, int access)
{
	char path[32];
	struct stat status;
	int own = -1;

	if (fstat(fd, &status) < 0)
		return -1;
	if (S_ISCHR(status.st_mode) || S_ISFIFO(status.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, access | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	}
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

int chardev_open_stdio(struct chardev *dev, struct err *err)
{
	int error;

	if (dev->env->stdio_taken)
		return err_set(err, EBUSY, "stdio: taken by another device");
	dev->env->stdio_taken = true;
	dev->is_stdio = true;
	dev->in_fd = own_descriptor(STDIN_FILENO, O_RDONLY);
	dev->out_fd = own_descriptor(STDOUT_FILENO, O_WRONLY);
	error = terminal_open(STDIN_FILENO, &dev->terminal);
	if (error < 0)
		return err_sys(err, -error, "stdio: raw mode");
	dev->escapes = dev->terminal != NULL;
	return 0;
}

int chardev_open_tty(struct chardev *dev, const char *path, struct err *err)
{
	int error;

	dev->in_fd = open(path, O_RDWR | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (dev->in_fd < 0)
		return err_sys(err, errno, "%s", path);
	if (!isatty(dev->in_fd))
		return err_set(err, ENOTTY,
			       "%s: not a terminal; stdio, tcp=HOST:PORT, "
			       "unix=PATH or a terminal's path is needed",
			       path);
	error = terminal_open(dev->in_fd, &dev->terminal);
	if (error < 0)
		return err_sys(err, -error, "%s: raw mode", path);
	dev->out_fd = fcntl(dev->in_fd, F_DUPFD_CLOEXEC, 0);
	if (dev->out_fd < 0)
		return err_sys(err, errno, "%s", path);
	return 0;
}
