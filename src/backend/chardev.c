// SPDX-License-Identifier: BSD-2-Clause
/* Character devices: buffers, the two sources, and the life of a device. */
#include "backend/chardev.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backend/chardev_priv.h"
#include "backend/loop.h"

#define CTRL_A 0x01

/* A blocking descriptor that poll calls writable takes this much at once: a
   pipe has PIPE_BUF (4096) free, a terminal more than 256. */
#define BLOCKING_AT_ONCE 256u

/* How long chardev_close waits for the host to take the last output. */
#define CLOSE_PATIENCE_MS 1000

/* -- output ---------------------------------------------------------------- */

/* Bytes taken, -EAGAIN, or another -errno when nobody will ever read it. */
static ssize_t host_write(const struct chardev *dev, const uint8_t *from,
			  size_t len)
{
	struct pollfd wait = {.fd = dev->out_fd, .events = POLLOUT};
	ssize_t done;

	if (dev->kind == CHARDEV_SOCKET) {
		done =
		    send(dev->out_fd, from, len, MSG_DONTWAIT | MSG_NOSIGNAL);
		return done < 0 ? -errno : done;
	}
	if (poll(&wait, 1, 0) <= 0)
		return -EAGAIN;
	if (wait.revents & (POLLERR | POLLHUP | POLLNVAL))
		return -EPIPE;
	done = write(dev->out_fd, from, MIN(len, dev->write_at_once));
	return done < 0 ? -errno : done;
}

/* Nobody reads any more: what is buffered is lost, later output too. */
static void end_output(struct chardev *dev)
{
	loop_remove(dev->out);
	dev->out = NULL;
	dev->out_armed = false;
	dev->out_count = 0;
	if (dev->out_fd >= 0)
		close(dev->out_fd);
	dev->out_fd = -1;
}

/* The oldest bytes that lie in one piece. */
static size_t first_piece(const struct chardev *dev)
{
	return MIN(dev->out_count, CHARDEV_OUTPUT - dev->out_head);
}

/* What the host made of them. False: try no more now; *over: never again. */
static bool written(struct chardev *dev, ssize_t done, bool *over)
{
	if (done >= 0) {
		dev->out_head = (dev->out_head + (size_t)done) % CHARDEV_OUTPUT;
		dev->out_count -= (size_t)done;
	}
	*over = done < 0 && done != -EINTR && done != -EAGAIN;
	return done >= 0 || done == -EINTR;
}

/* Writes what is buffered, as far as the host takes it. False: it is over. */
static bool flush(struct chardev *dev)
{
	bool over = false;

	while (dev->out_count > 0 &&
	       written(dev,
		       host_write(dev, dev->output + dev->out_head,
				  first_piece(dev)),
		       &over))
		;
	return !over;
}

/*
 * The same on the loop's thread, without the lock while the host works. The
 * bytes stay where they are: others only append, and only this thread changes
 * the connection of a device that the loop watches.
 */
static bool flush_unlocked(struct chardev *dev)
{
	bool over = false;
	bool more = true;

	while (more && dev->out_count > 0) {
		const uint8_t *from = dev->output + dev->out_head;
		size_t len = first_piece(dev);
		ssize_t done;

		pthread_mutex_unlock(&dev->lock);
		done = host_write(dev, from, len);
		pthread_mutex_lock(&dev->lock);
		more = written(dev, done, &over);
	}
	return !over;
}

static void arm_output(struct chardev *dev)
{
	if (dev->out == NULL || dev->out_armed)
		return;
	dev->out_armed = true;
	loop_set_events(dev->out, EPOLLOUT | EPOLLONESHOT);
}

static void on_output(void *arg, uint32_t events)
{
	struct chardev *dev = arg;
	bool tell;

	(void)events;
	pthread_mutex_lock(&dev->lock);
	/* Still armed, as far as others are concerned: we are at it. */
	if (dev->out_fd >= 0 && !flush_unlocked(dev))
		end_output(dev);
	dev->out_armed = false;
	if (dev->out_count > 0)
		arm_output(dev);
	tell = dev->refused && dev->out_count < CHARDEV_OUTPUT;
	if (tell)
		dev->refused = false;
	pthread_mutex_unlock(&dev->lock);
	if (tell)
		dev->events.writable(dev->arg);
}

size_t chardev_write(struct chardev *dev, const uint8_t *from, size_t len)
{
	size_t taken = 0;

	pthread_mutex_lock(&dev->lock);
	if (dev->out_fd < 0) {
		pthread_mutex_unlock(&dev->lock);
		return len;
	}
	while (taken < len && dev->out_count < CHARDEV_OUTPUT) {
		size_t tail = (dev->out_head + dev->out_count) % CHARDEV_OUTPUT;

		dev->output[tail] = from[taken++];
		dev->out_count++;
	}
	if (dev->out != NULL)
		arm_output(dev);
	else if (!flush(dev))
		end_output(dev);
	if (taken < len)
		dev->refused = true;
	pthread_mutex_unlock(&dev->lock);
	return taken;
}

/* -- input ----------------------------------------------------------------- */

static void end_input(struct chardev *dev)
{
	loop_remove(dev->in);
	dev->in = NULL;
	dev->in_armed = false;
	if (dev->in_fd >= 0)
		close(dev->in_fd);
	dev->in_fd = -1;
}

/* Room for what a read may bring: a held-back Ctrl-A makes one byte two. */
static size_t input_room(const struct chardev *dev)
{
	size_t room = CHARDEV_INPUT - dev->in_count;

	return room > 1 ? room - 1 : 0;
}

static void arm_input(struct chardev *dev)
{
	if (dev->in == NULL || dev->in_armed || input_room(dev) == 0)
		return;
	dev->in_armed = true;
	loop_set_events(dev->in, EPOLLIN | EPOLLONESHOT);
}

static void put_input(struct chardev *dev, uint8_t byte)
{
	dev->input[dev->in_count++] = byte;
}

/* Ctrl-A x ends the VM, Ctrl-A twice is one; before another key it counts. */
static void filter_input(struct chardev *dev, uint8_t byte)
{
	if (!dev->escapes) {
		put_input(dev, byte);
	} else if (!dev->escape_seen) {
		if (byte == CTRL_A)
			dev->escape_seen = true;
		else
			put_input(dev, byte);
	} else {
		dev->escape_seen = false;
		if (byte == 'x') {
			dev->quit = true;
			return;
		}
		put_input(dev, CTRL_A);
		if (byte != CTRL_A)
			put_input(dev, byte);
	}
}

/* One read of the host. False: end of file, or an error for good. */
static bool fill(struct chardev *dev)
{
	uint8_t bytes[CHARDEV_INPUT];
	ssize_t count;

	memmove(dev->input, dev->input + dev->in_head, dev->in_count);
	dev->in_head = 0;
	if (input_room(dev) == 0)
		return true;
	if (dev->kind == CHARDEV_SOCKET)
		count = recv(dev->in_fd, bytes, input_room(dev), MSG_DONTWAIT);
	else
		count = read(dev->in_fd, bytes, input_room(dev));
	if (count < 0)
		return errno == EAGAIN || errno == EINTR;
	for (ssize_t i = 0; i < count; i++)
		filter_input(dev, bytes[i]);
	return count > 0;
}

static void on_input(void *arg, uint32_t events)
{
	struct chardev *dev = arg;
	bool over;
	bool quit;

	(void)events;
	pthread_mutex_lock(&dev->lock);
	dev->in_armed = false;
	over = dev->in_fd >= 0 && !fill(dev);
	if (over)
		end_input(dev);
	else
		arm_input(dev);
	quit = dev->quit;
	dev->quit = false;
	pthread_mutex_unlock(&dev->lock);
	if (over && dev->kind == CHARDEV_SOCKET)
		chardev_disconnect(dev);
	dev->events.readable(dev->arg);
	if (quit && dev->env->quit != NULL)
		dev->env->quit(dev->env->quit_arg);
}

size_t chardev_read(struct chardev *dev, uint8_t *to, size_t room)
{
	size_t count;

	pthread_mutex_lock(&dev->lock);
	if (dev->in_always_ready && dev->in_count == 0 && dev->in_fd >= 0 &&
	    !fill(dev))
		end_input(dev);
	count = MIN(room, dev->in_count);
	memcpy(to, dev->input + dev->in_head, count);
	dev->in_head += count;
	dev->in_count -= count;
	if (count > 0)
		arm_input(dev);
	pthread_mutex_unlock(&dev->lock);
	return count;
}

/* -- connections ----------------------------------------------------------- */

/* Under the lock: a callback that comes at once waits for dev->in. */
static int watch(struct chardev *dev)
{
	struct loop *loop = dev->env->loop;

	if (dev->in_fd >= 0) {
		dev->in_armed = true;
		dev->in = loop_add(loop, dev->in_fd, EPOLLIN | EPOLLONESHOT,
				   on_input, dev);
		dev->in_always_ready = dev->in == NULL;
		if (dev->in == NULL && errno != EPERM)
			return -errno;
	}
	if (dev->out_fd >= 0) {
		dev->out =
		    loop_add(loop, dev->out_fd, EPOLLONESHOT, on_output, dev);
		if (dev->out == NULL && errno != EPERM)
			return -errno;
	}
	return 0;
}

int chardev_connect(struct chardev *dev, int in_fd, int out_fd)
{
	int error;

	pthread_mutex_lock(&dev->lock);
	dev->in_fd = in_fd;
	dev->out_fd = out_fd;
	dev->write_at_once = fcntl(out_fd, F_GETFL) & O_NONBLOCK
				 ? CHARDEV_OUTPUT
				 : BLOCKING_AT_ONCE;
	dev->escape_seen = false;
	error = watch(dev);
	if (error < 0) {
		end_input(dev);
		end_output(dev);
	}
	pthread_mutex_unlock(&dev->lock);
	return error;
}

bool chardev_connected(struct chardev *dev)
{
	struct pollfd peer = {.events = POLLRDHUP};

	pthread_mutex_lock(&dev->lock);
	peer.fd = dev->in_fd;
	pthread_mutex_unlock(&dev->lock);
	return peer.fd >= 0 && (poll(&peer, 1, 0) <= 0 || peer.revents == 0);
}

void chardev_disconnect(struct chardev *dev)
{
	bool tell;

	pthread_mutex_lock(&dev->lock);
	end_input(dev);
	end_output(dev);
	tell = dev->refused;
	dev->refused = false;
	pthread_mutex_unlock(&dev->lock);
	/* What was refused is dropped from now on: the guest may go on. */
	if (tell)
		dev->events.writable(dev->arg);
}

/* -- life ------------------------------------------------------------------ */

static int open_kind(struct chardev *dev, const char *name, struct err *err)
{
	if (strcmp(name, "stdio") == 0)
		return chardev_open_stdio(dev, err);
	if (strncmp(name, "tcp=", 4) == 0)
		return chardev_listen_tcp(dev, name + 4, err);
	if (strncmp(name, "unix=", 5) == 0)
		return chardev_listen_unix(dev, name + 5, err);
	return chardev_open_tty(dev, name, err);
}

int chardev_open(struct chardev_env *env, const char *name,
		 struct chardev **out, struct err *err)
{
	struct chardev *dev = calloc(1, sizeof(*dev));
	int error;

	if (dev == NULL)
		return err_sys(err, ENOMEM, "%s", name);
	dev->env = env;
	dev->in_fd = -1;
	dev->out_fd = -1;
	dev->listen_fd = -1;
	pthread_mutex_init(&dev->lock, NULL);
	error = open_kind(dev, name, err);
	if (error < 0) {
		chardev_close(dev);
		return error;
	}
	*out = dev;
	return 0;
}

static int attach_listener(struct chardev *dev);

int chardev_attach(struct chardev *dev, const struct chardev_events *events,
		   void *arg, struct err *err)
{
	int error;

	dev->events = *events;
	dev->arg = arg;
	if (dev->listen_fd >= 0)
		error = attach_listener(dev);
	else
		error = chardev_connect(dev, dev->in_fd, dev->out_fd);
	if (error < 0)
		return err_sys(err, -error, "event loop");
	return 0;
}

/* The last output of a guest that powered off still goes out. */
static void flush_last(struct chardev *dev)
{
	struct timespec start;
	struct timespec now;
	long waited = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	while (dev->out_fd >= 0 && flush(dev) && dev->out_count > 0 &&
	       waited < CLOSE_PATIENCE_MS) {
		struct pollfd wait = {.fd = dev->out_fd, .events = POLLOUT};

		(void)poll(&wait, 1, (int)(CLOSE_PATIENCE_MS - waited));
		clock_gettime(CLOCK_MONOTONIC, &now);
		waited = (now.tv_sec - start.tv_sec) * 1000 +
			 (now.tv_nsec - start.tv_nsec) / 1000000;
	}
}

void chardev_close(struct chardev *dev)
{
	struct loop_source *in;
	struct loop_source *out;

	if (dev == NULL)
		return;
	loop_remove(dev->listener);
	pthread_mutex_lock(&dev->lock);
	in = dev->in;
	out = dev->out;
	dev->in = NULL;
	dev->out = NULL;
	pthread_mutex_unlock(&dev->lock);
	/* Without the lock: a callback that runs now may be waiting for it. */
	loop_remove(in);
	loop_remove(out);
	/* One that removed itself when the host's end went may not be back. */
	loop_settle(dev->env->loop);
	flush_last(dev);
	end_input(dev);
	end_output(dev);
	if (dev->listen_fd >= 0)
		close(dev->listen_fd);
	if (dev->unlink_path != NULL)
		unlink(dev->unlink_path);
	free(dev->unlink_path);
	terminal_close(dev->terminal);
	if (dev->is_stdio)
		dev->env->stdio_taken = false;
	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

/* -- listening sockets ----------------------------------------------------- */

/* One client at a time; a second one is turned away. */
static void take_client(struct chardev *dev, int in_fd)
{
	int out_fd;

	if (chardev_connected(dev)) {
		close(in_fd);
		return;
	}
	chardev_disconnect(dev);
	out_fd = fcntl(in_fd, F_DUPFD_CLOEXEC, 0);
	if (out_fd < 0)
		close(in_fd);
	else
		(void)chardev_connect(dev, in_fd, out_fd);
}

static void on_client(void *arg, uint32_t events)
{
	struct chardev *dev = arg;
	int fd;

	(void)events;
	do {
		fd = accept4(dev->listen_fd, NULL, NULL,
			     SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			take_client(dev, fd);
	} while (fd >= 0 || errno == EINTR || errno == ECONNABORTED);
}

/* Edge-triggered: without a free descriptor accept fails, again and again. */
static int attach_listener(struct chardev *dev)
{
	dev->listener = loop_add(dev->env->loop, dev->listen_fd,
				 EPOLLIN | EPOLLET, on_client, dev);
	return dev->listener == NULL ? -errno : 0;
}
