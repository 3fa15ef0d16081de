// SPDX-License-Identifier: BSD-2-Clause
/* A call to the process that runs the VM. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "vmmapi/ctl_proto.h"
#include "vmmapi/door.h"

/* Above what freezing a vCPU may take. */
#define REPLY_TIMEOUT_S 15

void ctl_address(struct vmctx *ctx, struct sockaddr_un *address)
{
	address->sun_family = AF_UNIX;
	snprintf(address->sun_path, sizeof(address->sun_path),
		 "/proc/self/fd/%d/ctl", ctx->dir_fd);
}

static int connect_ctl(struct vmctx *ctx)
{
	struct timeval timeout = {.tv_sec = REPLY_TIMEOUT_S};
	struct sockaddr_un address = {0};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	ctl_address(ctx, &address);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		int error = errno == ENOENT ? -ECONNREFUSED : -errno;

		close(fd);
		return error;
	}
	return fd;
}

/* The runner ended before it answered: as if nobody had been there. */
static int receive(int fd, struct ctl_message *reply, size_t size)
{
	ssize_t len;

	do
		len = recv(fd, reply, sizeof(*reply), MSG_TRUNC);
	while (len < 0 && errno == EINTR);
	if (len == 0 || (len < 0 && errno == ECONNRESET))
		return -ECONNREFUSED;
	if (len < 0)
		return errno == EAGAIN ? -ETIMEDOUT : -errno;
	if ((size_t)len < CTL_HEADER || (size_t)len > sizeof(*reply) ||
	    reply->magic != CTL_MAGIC)
		return -EPROTO;
	if (reply->error != 0)
		return reply->error < 0 ? reply->error : -EPROTO;
	if (reply->size != size || (size_t)len != CTL_HEADER + size)
		return -EPROTO;
	return 0;
}

int ctl_request(struct vmctx *ctx, enum verb_id id, int vcpu, void *arg,
		size_t size)
{
	struct ctl_message message = {
	    .magic = CTL_MAGIC,
	    .version = CTL_VERSION,
	    .verb = (uint16_t)id,
	    .vcpu = (uint32_t)vcpu,
	    .size = (uint32_t)size,
	};
	int error;
	int fd = connect_ctl(ctx);

	if (fd < 0)
		return fd;
	memcpy(message.arg, arg, size);
	if (send(fd, &message, CTL_HEADER + size, MSG_NOSIGNAL) < 0)
		error = errno == EPIPE || errno == ECONNRESET ? -ECONNREFUSED
							      : -errno;
	else
		error = receive(fd, &message, size);
	close(fd);
	if (error == 0)
		memcpy(arg, message.arg, size);
	return error;
}
