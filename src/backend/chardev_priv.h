/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside the character devices: what an opener hands to chardev.c. */
#ifndef BACKEND_CHARDEV_PRIV_H
#define BACKEND_CHARDEV_PRIV_H

#include <pthread.h>

#include "backend/chardev.h"
#include "backend/terminal.h"

#define CHARDEV_INPUT  256u
#define CHARDEV_OUTPUT (64u * 1024)

enum chardev_kind {
	CHARDEV_FILE,   /* read and write; the descriptor may be shared with
			   others, so it may be a blocking one */
	CHARDEV_SOCKET, /* recv and send */
};

/*
 * The buffers and the descriptors of the present connection: files have one
 * for all their life, listening sockets get one with each client. Sources are
 * one-shot, armed only while there is room to read or something to write, so
 * that an end that hung up cannot make the loop spin.
 */
struct chardev {
	struct chardev_env *env;
	struct chardev_events events;
	void *arg;
	enum chardev_kind kind;
	bool is_stdio;
	bool escapes; /* Ctrl-A x ends the VM */

	/* Of the listener, on the loop's thread. */
	int listen_fd;
	struct loop_source *listener;
	char *unlink_path;

	struct terminal *terminal;

	pthread_mutex_t lock; /* for what follows */
	int in_fd;            /* -1: end of file, or nobody there */
	int out_fd;
	bool in_always_ready; /* a regular file: epoll cannot watch it */
	struct loop_source *in;
	struct loop_source *out; /* NULL with out_fd: a regular file */
	bool in_armed;
	bool out_armed;
	bool escape_seen;
	bool quit;
	size_t write_at_once;
	bool refused; /* chardev_write took less than it was given */
	size_t in_head;
	size_t in_count;
	size_t out_head;
	size_t out_count;
	uint8_t input[CHARDEV_INPUT];
	uint8_t output[CHARDEV_OUTPUT];
};

int chardev_open_stdio(struct chardev *dev, struct err *err);
int chardev_open_tty(struct chardev *dev, const char *path, struct err *err);
int chardev_listen_tcp(struct chardev *dev, const char *address,
		       struct err *err);
int chardev_listen_unix(struct chardev *dev, const char *path, struct err *err);

/* A new connection's descriptors are the device's from now on. Before attach,
   or on the loop's thread. 0 or -errno; then they are closed. */
int chardev_connect(struct chardev *dev, int in_fd, int out_fd);
/* A client is there, and has not hung up. */
bool chardev_connected(struct chardev *dev);
void chardev_disconnect(struct chardev *dev);

#endif
