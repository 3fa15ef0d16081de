// SPDX-License-Identifier: BSD-2-Clause
/* The event loop and the character devices, on pipes, sockets and ptys. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/chardev.h"
#include "backend/loop.h"

struct fixture {
	struct loop *loop;
	pthread_t thread;
	struct chardev_env env;
	atomic_int readable;
	atomic_int writable;
	atomic_int quit;
};

static void *serve(void *arg)
{
	struct loop *loop = arg;

	assert_int_equal(loop_run(loop), 0);
	return NULL;
}

static void on_readable(void *arg)
{
	atomic_fetch_add(&((struct fixture *)arg)->readable, 1);
}

static void on_writable(void *arg)
{
	atomic_fetch_add(&((struct fixture *)arg)->writable, 1);
}

static void on_quit(void *arg)
{
	atomic_fetch_add(&((struct fixture *)arg)->quit, 1);
}

static const struct chardev_events events = {on_readable, on_writable};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_int_equal(loop_create(&f->loop, NULL), 0);
	f->env = (struct chardev_env){
	    .loop = f->loop, .quit = on_quit, .quit_arg = f};
	pthread_create(&f->thread, NULL, serve, f->loop);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	loop_stop(f->loop);
	pthread_join(f->thread, NULL);
	loop_destroy(f->loop);
	free(f);
	return 0;
}

/* Reads len bytes of dev, however they come. */
static void expect_input(struct chardev *dev, const char *text)
{
	size_t len = strlen(text);
	size_t got = 0;
	char buffer[4096] = "";

	for (int tries = 0; got < len && tries < 20000; tries++) {
		size_t count =
		    chardev_read(dev, (uint8_t *)buffer + got, len - got);

		got += count;
		if (count == 0)
			usleep(500);
	}
	assert_string_equal(buffer, text);
}

static void expect_output(int fd, const char *text)
{
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	size_t len = strlen(text);
	size_t got = 0;
	char buffer[4096] = "";

	while (got < len) {
		ssize_t count;

		assert_int_equal(poll(&wait, 1, 10000), 1);
		count = read(fd, buffer + got, len - got);
		assert_true(count > 0);
		got += (size_t)count;
	}
	assert_string_equal(buffer, text);
}

/* stdin and stdout become ours for the time of a test. */
struct swap {
	int in;
	int out;
};

static struct swap swap_stdio(int in, int out)
{
	struct swap old = {dup(0), dup(1)};

	fflush(stdout);
	dup2(in, 0);
	dup2(out, 1);
	return old;
}

static void swap_back(struct swap old)
{
	dup2(old.in, 0);
	dup2(old.out, 1);
	close(old.in);
	close(old.out);
}

static void test_pipes(void **state)
{
	struct fixture *f = *state;
	struct chardev *dev;
	struct chardev *second;
	struct err err;
	struct swap old;
	int to[2], from[2];

	assert_int_equal(pipe(to) | pipe(from), 0);
	old = swap_stdio(to[0], from[1]);
	assert_int_equal(chardev_open(&f->env, "stdio", &dev, &err), 0);
	assert_int_equal(chardev_open(&f->env, "stdio", &second, &err), -EBUSY);
	swap_back(old);
	assert_int_equal(chardev_attach(dev, &events, f, &err), 0);
	assert_int_equal(write(to[1], "a\001xb", 4), 4);
	expect_input(dev, "a\001xb"); /* no terminal: no escape key */
	assert_int_equal(chardev_write(dev, (const uint8_t *)"hello", 5), 5);
	expect_output(from[0], "hello");
	/* The shared descriptors stay blocking ones. */
	assert_false(fcntl(to[0], F_GETFL) & O_NONBLOCK);
	assert_false(fcntl(from[1], F_GETFL) & O_NONBLOCK);
	/* End of file is silence; output goes on. */
	close(to[1]);
	usleep(20000);
	atomic_store(&f->readable, 0);
	usleep(50000);
	assert_int_equal(atomic_load(&f->readable), 0);
	assert_int_equal(chardev_write(dev, (const uint8_t *)"!", 1), 1);
	expect_output(from[0], "!");
	chardev_close(dev);
	assert_false(f->env.stdio_taken);
	close(to[0]);
	close(from[0]);
	close(from[1]);
}

/* A reader that does not read: output is taken up to a bound, then later. */
static void test_back_pressure(void **state)
{
	struct fixture *f = *state;
	struct chardev *dev;
	struct err err;
	struct swap old;
	uint8_t block[4096];
	size_t sent = 0;
	size_t got = 0;
	size_t taken;
	int from[2];
	int null = open("/dev/null", O_RDWR);

	assert_int_equal(pipe(from), 0);
	old = swap_stdio(null, from[1]);
	assert_int_equal(chardev_open(&f->env, "stdio", &dev, &err), 0);
	swap_back(old);
	assert_int_equal(chardev_attach(dev, &events, f, &err), 0);
	memset(block, 'x', sizeof(block));
	for (int stalled = 0; stalled < 20 && sent < (1u << 20);) {
		taken = chardev_write(dev, block, sizeof(block));
		sent += taken;
		stalled = taken == 0 ? stalled + 1 : 0;
		if (taken == 0)
			usleep(5000);
	}
	assert_true(sent >= 64 * 1024 && sent < (1u << 20));
	atomic_store(&f->writable, 0);
	while (got < sent) {
		ssize_t count = read(from[0], block, sizeof(block));

		assert_true(count > 0);
		got += (size_t)count;
	}
	assert_int_equal(got, sent);
	/* The loop's thread tells when it comes to it. */
	for (int i = 0; i < 5000 && atomic_load(&f->writable) == 0; i++)
		usleep(1000);
	assert_true(atomic_load(&f->writable) >= 1);
	/* Nobody reads any more: dropped, not waited for. */
	signal(SIGPIPE, SIG_IGN);
	close(from[0]);
	close(from[1]);
	for (int i = 0; i < 1000; i++) {
		taken = chardev_write(dev, block, sizeof(block));
		if (taken < sizeof(block))
			usleep(1000);
	}
	assert_int_equal(taken, sizeof(block));
	chardev_close(dev);
	close(null);
}

/* A regular file cannot be watched, and is read when it is asked for. */
static void test_file(void **state)
{
	struct fixture *f = *state;
	struct chardev *dev;
	struct err err;
	struct swap old;
	char path[] = "/tmp/anyhyve-test-XXXXXX";
	char text[601];
	int fd = mkstemp(path);
	int null = open("/dev/null", O_RDWR);

	memset(text, 'q', 600);
	text[600] = '\0';
	assert_int_equal(write(fd, text, 600), 600);
	lseek(fd, 0, SEEK_SET);
	old = swap_stdio(fd, null);
	assert_int_equal(chardev_open(&f->env, "stdio", &dev, &err), 0);
	swap_back(old);
	assert_int_equal(chardev_attach(dev, &events, f, &err), 0);
	expect_input(dev, text);
	assert_int_equal(chardev_read(dev, (uint8_t *)text, 1), 0);
	chardev_close(dev);
	unlink(path);
	close(fd);
	close(null);
}

static void test_terminal(void **state)
{
	struct fixture *f = *state;
	struct chardev *dev;
	struct err err;
	struct swap old;
	struct termios before, raw, after;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(tcgetattr(slave, &before), 0);
	old = swap_stdio(slave, slave);
	assert_int_equal(chardev_open(&f->env, "stdio", &dev, &err), 0);
	swap_back(old);
	assert_int_equal(chardev_attach(dev, &events, f, &err), 0);
	assert_int_equal(tcgetattr(slave, &raw), 0);
	assert_false(raw.c_lflag & (ICANON | ECHO | ISIG));
	/* Ctrl-C is the guest's; Ctrl-A twice is one; Ctrl-A b is itself. */
	assert_int_equal(write(master, "\003\001\001\001b", 5), 5);
	expect_input(dev, "\003\001\001b");
	assert_int_equal(atomic_load(&f->quit), 0);
	assert_int_equal(write(master, "\001x", 2), 2);
	for (int i = 0; i < 10000 && atomic_load(&f->quit) == 0; i++)
		usleep(1000);
	assert_int_equal(atomic_load(&f->quit), 1);
	chardev_write(dev, (const uint8_t *)"a\n", 2);
	expect_output(master, "a\n");
	chardev_close(dev);
	assert_int_equal(tcgetattr(slave, &after), 0);
	assert_int_equal(after.c_lflag, before.c_lflag);
	assert_int_equal(after.c_oflag, before.c_oflag);
	close(master);
	close(slave);
}

static int connect_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(
	    connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void test_unix_socket(void **state)
{
	struct fixture *f = *state;
	struct chardev *dev;
	struct chardev *again;
	struct err err;
	struct stat status;
	struct pollfd wait = {.events = POLLIN};
	char name[64], byte;
	int first, second;

	snprintf(name, sizeof(name), "unix=/tmp/anyhyve-test-%d", getpid());
	assert_int_equal(chardev_open(&f->env, name, &dev, &err), 0);
	assert_int_equal(stat(name + 5, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	assert_int_equal(chardev_attach(dev, &events, f, &err), 0);
	assert_int_equal(chardev_open(&f->env, name, &again, &err),
			 -EADDRINUSE);
	/* Nobody there: dropped. */
	assert_int_equal(chardev_write(dev, (const uint8_t *)"lost", 4), 4);
	first = connect_unix(name + 5);
	assert_int_equal(write(first, "in", 2), 2);
	expect_input(dev, "in");
	assert_int_equal(chardev_write(dev, (const uint8_t *)"out", 3), 3);
	expect_output(first, "out");
	/* A second client is turned away. */
	second = connect_unix(name + 5);
	wait.fd = second;
	assert_int_equal(poll(&wait, 1, 10000), 1);
	assert_int_equal(read(second, &byte, 1), 0);
	close(second);
	/* When the first has gone, the next is served. */
	close(first);
	usleep(20000);
	first = connect_unix(name + 5);
	assert_int_equal(write(first, "next", 4), 4);
	expect_input(dev, "next");
	chardev_close(dev);
	close(first);
	assert_int_equal(stat(name + 5, &status), -1);
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	struct chardev *dev;
	struct err err;

	assert_true(chardev_open(&f->env, "/dev/null", &dev, &err) < 0);
	assert_non_null(strstr(err.text, "/dev/null: not a terminal"));
	assert_true(chardev_open(&f->env, "/nonexistent", &dev, &err) < 0);
	assert_non_null(strstr(err.text, "/nonexistent: No such file"));
	assert_true(chardev_open(&f->env, "tcp=nocolon", &dev, &err) < 0);
	assert_true(chardev_open(&f->env, "tcp=127.0.0.1:", &dev, &err) < 0);
	assert_true(chardev_open(&f->env, "unix=", &dev, &err) < 0);
}

static void test_tcp(void **state)
{
	struct fixture *f = *state;
	struct chardev *dev;
	struct err err;

	assert_int_equal(chardev_open(&f->env, "tcp=127.0.0.1:0", &dev, &err),
			 0);
	assert_int_equal(chardev_attach(dev, &events, f, &err), 0);
	chardev_close(dev);
}

struct once {
	struct loop_source *source;
	struct loop *loop;
	int fd;
	atomic_int calls;
};

static void remove_self(void *arg, uint32_t mask)
{
	struct once *once = arg;

	assert_true(mask & EPOLLIN);
	atomic_fetch_add(&once->calls, 1);
	loop_remove(once->source);
	loop_stop(once->loop);
}

static void test_loop(void **state)
{
	struct once once = {0};
	int fds[2];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(loop_create(&once.loop, NULL), 0);
	loop_stop(once.loop);
	assert_int_equal(loop_run(once.loop), 0); /* stopped before */
	once.source = loop_add(once.loop, fds[0], EPOLLIN, remove_self, &once);
	assert_non_null(once.source);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(loop_run(once.loop), 0);
	assert_int_equal(atomic_load(&once.calls), 1);
	loop_destroy(once.loop);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_loop),
	    cmocka_unit_test_setup_teardown(test_pipes, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_back_pressure, setup,
					    teardown),
	    cmocka_unit_test_setup_teardown(test_file, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_terminal, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_unix_socket, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_tcp, setup, teardown),
	    cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
