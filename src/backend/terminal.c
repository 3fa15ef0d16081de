// SPDX-License-Identifier: BSD-2-Clause
/*
 * A terminal in raw mode. The modes are restored through a descriptor of our
 * own, so that the owner may close his first.
 */
#include "backend/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

struct terminal {
	int fd;
	struct termios found;
	atomic_bool raw;
};

/* Signal handlers belong to the process, so this must, too. */
#define RAW_MAX 8
static struct terminal *_Atomic terminals_raw[RAW_MAX];

/* Once; a background job is stopped by SIGTTOU unless it is blocked. */
static void restore(struct terminal *terminal)
{
	sigset_t ttou;
	sigset_t before;

	if (!atomic_exchange(&terminal->raw, false))
		return;
	sigemptyset(&ttou);
	sigaddset(&ttou, SIGTTOU);
	pthread_sigmask(SIG_BLOCK, &ttou, &before);
	while (tcsetattr(terminal->fd, TCSANOW, &terminal->found) < 0 &&
	       errno == EINTR)
		;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static void note(struct terminal *terminal)
{
	for (unsigned int i = 0; i < RAW_MAX; i++) {
		struct terminal *none = NULL;

		if (atomic_compare_exchange_strong(&terminals_raw[i], &none,
						   terminal))
			return;
	}
}

static void forget(struct terminal *terminal)
{
	for (unsigned int i = 0; i < RAW_MAX; i++) {
		struct terminal *expected = terminal;

		atomic_compare_exchange_strong(&terminals_raw[i], &expected,
					       NULL);
	}
}

void terminals_give_back(void)
{
	for (unsigned int i = 0; i < RAW_MAX; i++) {
		struct terminal *terminal = atomic_load(&terminals_raw[i]);

		if (terminal != NULL)
			restore(terminal);
	}
}

static void at_exit(int status, void *arg)
{
	(void)status;
	restore(arg);
}

static bool is_foreground(int fd)
{
	pid_t group = tcgetpgrp(fd);

	/* Not our controlling terminal: nobody's job control reaches us. */
	return group < 0 || group == getpgrp();
}

int terminal_open(int fd, struct terminal **out)
{
	struct terminal *terminal;
	struct termios raw;
	int error = 0;

	*out = NULL;
	if (!isatty(fd) || !is_foreground(fd))
		return 0;
	terminal = calloc(1, sizeof(*terminal));
	if (terminal == NULL)
		return -ENOMEM;
	terminal->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (terminal->fd < 0 || tcgetattr(fd, &terminal->found) < 0)
		goto fail;
	raw = terminal->found;
	cfmakeraw(&raw);
	raw.c_cflag |= CLOCAL;
	/* From here on the exit handler owns the memory. */
	if (on_exit(at_exit, terminal) != 0) {
		errno = ENOMEM;
		goto fail;
	}
	atomic_store(&terminal->raw, true);
	note(terminal);
	if (tcsetattr(fd, TCSANOW, &raw) < 0) {
		error = -errno;
		terminal_close(terminal);
		return error;
	}
	*out = terminal;
	return 0;
fail:
	error = -errno;
	if (terminal->fd >= 0)
		close(terminal->fd);
	free(terminal);
	return error;
}

void terminal_close(struct terminal *terminal)
{
	if (terminal == NULL)
		return;
	forget(terminal);
	restore(terminal);
	close(terminal->fd);
}
