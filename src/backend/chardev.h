/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stream of bytes to and from the host: a terminal, a file, a socket.
 *
 * Nothing here ever waits for the host. Input is read ahead into a small
 * buffer, and not read any further while that is full. Output goes out at
 * once as far as the host takes it, then into a buffer of 64 KiB; when that
 * is full chardev_write takes fewer bytes than it is given, and its owner
 * tells the guest to wait (a UART by THRE). Output to nobody (no client on
 * a listening socket, a closed pipe, a terminal that hung up) is dropped.
 *
 * chardev_read and chardev_write may be called from any thread and under a
 * device's lock: they never call back.
 */
#ifndef BACKEND_CHARDEV_H
#define BACKEND_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct chardev;
struct loop;

/* What the character devices of one process share. Zero-initialise the rest. */
struct chardev_env {
	struct loop *loop;
	/* The escape key, Ctrl-A x, was typed at the terminal (Ctrl-A Ctrl-A
	   sends one Ctrl-A). On the loop's thread. */
	void (*quit)(void *arg);
	void *quit_arg;
	bool stdio_taken;
};

/* Both on the loop's thread, with no lock held. */
struct chardev_events {
	void (*readable)(void *arg); /* chardev_read has something now */
	void (*writable)(void *arg); /* chardev_write has room again */
};

/*
 * name: "stdio", "tcp=HOST:PORT" or "unix=PATH" (both listen, one client at a
 * time; HOST may be empty, an address in brackets, or a name), or the path of
 * a terminal. Nothing is reported before chardev_attach.
 */
int chardev_open(struct chardev_env *env, const char *name,
		 struct chardev **out, struct err *err);
/* Call once, then read what is there already. */
int chardev_attach(struct chardev *dev, const struct chardev_events *events,
		   void *arg, struct err *err);
/* After it returns no callback runs. Not under a lock that callbacks take. */
void chardev_close(struct chardev *dev);

/* Both return at once, with the number of bytes that they moved. */
size_t chardev_read(struct chardev *dev, uint8_t *to, size_t room);
size_t chardev_write(struct chardev *dev, const uint8_t *from, size_t len);

#endif
