// SPDX-License-Identifier: BSD-2-Clause
/*
 * The control socket of a running VM: one thread serves other processes'
 * calls. A client is not trusted further than its user is: lengths, verbs and
 * arguments are checked, and it can keep nobody waiting but itself.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "vmmapi/ctl_proto.h"
#include "vmmapi/door.h"

#define CLIENTS_MAX 32

/* poll's array: [0] the stop event, [1] the listening socket, clients. */
enum { POLL_STOP, POLL_LISTEN, POLL_CLIENTS };

struct ctl_server {
	struct vmctx *ctx;
	pthread_t thread;
	struct pollfd fds[POLL_CLIENTS + CLIENTS_MAX];
	unsigned count;
};

/* -- one request
 * ---------------------------------------------------------------
 */

static int serve(struct ctl_server *server, const struct ctl_message *request,
		 size_t len, struct ctl_message *reply)
{
	const struct verb *verb = verb_find(request->verb);

	if (len < CTL_HEADER || request->magic != CTL_MAGIC)
		return -EPROTO;
	if (request->version != CTL_VERSION)
		return -EPROTONOSUPPORT;
	if (verb == NULL)
		return -ENOSYS;
	if (request->size != verb->size || len != CTL_HEADER + verb->size)
		return -EPROTO;
	memcpy(reply->arg, request->arg, verb->size);
	reply->size = verb->size;
	return verb_call(server->ctx->vm, request->verb, request->vcpu,
			 reply->arg, verb->size);
}

/* false: the client is to be dropped. */
static bool serve_client(struct ctl_server *server, int fd)
{
	struct ctl_message request, reply;
	ssize_t len;

	memset(&request, 0, sizeof(request));
	len = recv(fd, &request, sizeof(request), MSG_DONTWAIT | MSG_TRUNC);
	if (len < 0)
		return errno == EAGAIN || errno == EINTR;
	if (len == 0 || (size_t)len > sizeof(request))
		return false;
	memset(&reply, 0, sizeof(reply));
	reply.magic = CTL_MAGIC;
	reply.version = CTL_VERSION;
	reply.verb = request.verb;
	reply.error = serve(server, &request, (size_t)len, &reply);
	len = send(fd, &reply, CTL_HEADER + reply.size,
		   MSG_DONTWAIT | MSG_NOSIGNAL);
	return len >= 0 && reply.error != -EPROTO;
}

/* -- clients ------------------------------------------------------------------
 */

static bool is_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

static void drop_client(struct ctl_server *server, unsigned index)
{
	close(server->fds[index].fd);
	server->count--;
	memmove(&server->fds[index], &server->fds[index + 1],
		(server->count - index) * sizeof(server->fds[0]));
}

/* When all places are taken, who came first has had its time. */
static void accept_client(struct ctl_server *server)
{
	int fd = accept4(server->fds[POLL_LISTEN].fd, NULL, NULL,
			 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	if (!is_allowed(fd)) {
		close(fd);
		return;
	}
	if (server->count == ARRAY_SIZE(server->fds))
		drop_client(server, POLL_CLIENTS);
	server->fds[server->count++] =
	    (struct pollfd){.fd = fd, .events = POLLIN};
}

static void *ctl_main(void *arg)
{
	struct ctl_server *server = arg;

	for (;;) {
		if (poll(server->fds, server->count, -1) < 0)
			continue;
		if (server->fds[POLL_STOP].revents != 0)
			return NULL;
		for (unsigned i = server->count; i-- > POLL_CLIENTS;)
			if (server->fds[i].revents != 0 &&
			    !serve_client(server, server->fds[i].fd))
				drop_client(server, i);
		if (server->fds[POLL_LISTEN].revents != 0)
			accept_client(server);
	}
}

/* -- start and stop
 * -------------------------------------------------------------
 */

static int listen_at(struct vmctx *ctx)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd =
	    socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	unlinkat(ctx->dir_fd, "ctl", 0); /* of one that crashed */
	ctl_address(ctx, &address);
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0 ||
	    listen(fd, CLIENTS_MAX) != 0) {
		int error = -errno;

		close(fd);
		return error;
	}
	return fd;
}

static int start_thread(struct ctl_server *server)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	sigdelset(&all, SIGBUS); /* the verbs read guest memory: loss.c */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&server->thread, NULL, ctl_main, server);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

static void close_all(struct ctl_server *server)
{
	for (unsigned i = 0; i < server->count; i++)
		if (server->fds[i].fd >= 0)
			close(server->fds[i].fd);
}

int ctl_start(struct vmctx *ctx, struct err *err)
{
	struct ctl_server *server = calloc(1, sizeof(*server));
	int error = 0;

	if (server == NULL)
		return err_sys(err, ENOMEM, "%s: control socket", ctx->name);
	server->ctx = ctx;
	server->count = POLL_CLIENTS;
	server->fds[POLL_STOP] = (struct pollfd){
	    .fd = eventfd(0, EFD_CLOEXEC),
	    .events = POLLIN,
	};
	server->fds[POLL_LISTEN] = (struct pollfd){
	    .fd = listen_at(ctx),
	    .events = POLLIN,
	};
	if (server->fds[POLL_STOP].fd < 0)
		error = -EMFILE;
	else if (server->fds[POLL_LISTEN].fd < 0)
		error = server->fds[POLL_LISTEN].fd;
	else
		error = start_thread(server);
	if (error != 0) {
		close_all(server);
		free(server);
		return err_sys(err, -error, "%s: control socket in %s",
			       ctx->name, ctx->rundir);
	}
	ctx->ctl = server;
	return 0;
}

void ctl_stop(struct vmctx *ctx)
{
	struct ctl_server *server = ctx->ctl;

	if (server == NULL)
		return;
	eventfd_write(server->fds[POLL_STOP].fd, 1);
	pthread_join(server->thread, NULL);
	unlinkat(ctx->dir_fd, "ctl", 0);
	close_all(server);
	free(server);
	ctx->ctl = NULL;
}
