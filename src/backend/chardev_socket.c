// SPDX-License-Identifier: BSD-2-Clause
/* Character devices over listening sockets. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend/chardev_priv.h"

#define SOCKET_FLAGS (SOCK_CLOEXEC | SOCK_NONBLOCK)

/* "host:port", "[v6]:port" or ":port"; the last colon splits. */
static int split_address(const char *address, char *host, size_t room,
			 const char **port)
{
	const char *colon = strrchr(address, ':');
	size_t len;

	if (colon == NULL || colon[1] == '\0')
		return -EINVAL;
	*port = colon + 1;
	len = (size_t)(colon - address);
	if (len >= 2 && address[0] == '[' && address[len - 1] == ']') {
		address++;
		len -= 2;
	}
	if (len >= room)
		return -EINVAL;
	memcpy(host, address, len);
	host[len] = '\0';
	return 0;
}

static int listen_on(const struct addrinfo *info)
{
	int fd = socket(info->ai_family, info->ai_socktype | SOCKET_FLAGS,
			info->ai_protocol);
	int one = 1;
	int error;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) == 0 &&
	    bind(fd, info->ai_addr, info->ai_addrlen) == 0 &&
	    listen(fd, 1) == 0)
		return fd;
	error = -errno;
	close(fd);
	return error;
}

int chardev_listen_tcp(struct chardev *dev, const char *address,
		       struct err *err)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
				 .ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE};
	struct addrinfo *found;
	char host[256];
	const char *port;
	int error;

	if (split_address(address, host, sizeof(host), &port) < 0)
		return err_set(err, EINVAL,
			       "tcp=%s: not an address and a port, as in "
			       "127.0.0.1:4000",
			       address);
	error =
	    getaddrinfo(host[0] == '\0' ? NULL : host, port, &hints, &found);
	if (error != 0)
		return err_set(err, EINVAL, "tcp=%s: %s", address,
			       gai_strerror(error));
	error = -EADDRNOTAVAIL;
	for (struct addrinfo *info = found; info != NULL && error < 0;
	     info = info->ai_next)
		error = listen_on(info);
	freeaddrinfo(found);
	if (error < 0)
		return err_sys(err, -error, "tcp=%s", address);
	dev->kind = CHARDEV_SOCKET;
	dev->listen_fd = error;
	return 0;
}

/* A socket that nobody listens on is left over from a process that died. */
static void remove_stale(const struct sockaddr_un *address)
{
	struct stat status;
	int fd;

	if (lstat(address->sun_path, &status) < 0 || !S_ISSOCK(status.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCKET_FLAGS, 0);
	if (fd < 0)
		return;
	if (connect(fd, (const struct sockaddr *)address, sizeof(*address)) <
		0 &&
	    errno == ECONNREFUSED)
		unlink(address->sun_path);
	close(fd);
}

int chardev_listen_unix(struct chardev *dev, const char *path, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (path[0] == '\0' || strlen(path) >= sizeof(address.sun_path))
		return err_set(err, ENAMETOOLONG,
			       "unix=%s: a socket's path has 1 to %zu bytes",
			       path, sizeof(address.sun_path) - 1);
	memcpy(address.sun_path, path, strlen(path) + 1);
	dev->kind = CHARDEV_SOCKET;
	dev->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCKET_FLAGS, 0);
	if (dev->listen_fd < 0)
		return err_sys(err, errno, "unix=%s", path);
	remove_stale(&address);
	/* The mode of the socket becomes that of the file: ours alone. */
	if (fchmod(dev->listen_fd, 0600) < 0 ||
	    bind(dev->listen_fd, (struct sockaddr *)&address, sizeof(address)) <
		0)
		return err_sys(err, errno, "unix=%s", path);
	dev->unlink_path = strdup(path);
	if (dev->unlink_path == NULL) {
		unlink(path);
		return err_sys(err, ENOMEM, "unix=%s", path);
	}
	if (listen(dev->listen_fd, 1) < 0)
		return err_sys(err, errno, "unix=%s", path);
	return 0;
}
