// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "backend/loop.h"
#include "backend/terminal.h"
#include "bhyve/machine.h"
#include "dev/board.h"

struct signals {
	struct machine *machine;
	struct loop_source *source;
	int fd;
	bool pressed;
};

static void ours(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

/* Whatever it was, it ends the process now, as it would have. */
static void on_fatal(int number, siginfo_t *info, void *context)
{
	(void)info;
	(void)context;
	terminals_give_back();
	signal(number, SIG_DFL);
	raise(number);
}

/* Those whose default is to do nothing, or to stop. */
static bool is_harmless(int number)
{
	static const int harmless[] = {SIGCHLD, SIGCONT, SIGURG,  SIGWINCH,
				       SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU};

	for (unsigned int i = 0; i < ARRAY_SIZE(harmless); i++)
		if (harmless[i] == number)
			return true;
	return false;
}

/* All others leave the terminal as it was. One that a sanitizer took, or that
   was ignored when we began, stays as it is; SIGKILL and the C library's own
   cannot be had. */
static void take_fatal(void)
{
	struct sigaction action = {.sa_sigaction = on_fatal,
				   .sa_flags = SA_SIGINFO | SA_ONSTACK};
	struct sigaction before;

	sigfillset(&action.sa_mask);
	for (int number = 1; number <= SIGRTMAX; number++)
		if (!is_harmless(number) &&
		    sigaction(number, NULL, &before) == 0 &&
		    (before.sa_flags & SA_SIGINFO) == 0 &&
		    before.sa_handler == SIG_DFL)
			sigaction(number, &action, NULL);
}

void signals_block(void)
{
	sigset_t set;

	take_fatal();
	ours(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	/* A reader of our output that went away is an error of write. */
	signal(SIGPIPE, SIG_IGN);
}

static void taken(void *arg, uint32_t events)
{
	struct signals *s = arg;
	struct signalfd_siginfo info;

	if (read(s->fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (!s->pressed && board_power_button(s->machine->board))
		s->pressed = true;
	else
		vm_suspend(s->machine->ctx, VM_SUSPEND_POWEROFF);
}

int signals_open(struct machine *machine, struct signals **out, struct err *err)
{
	struct signals *s = calloc(1, sizeof(*s));
	sigset_t set;
	int error;

	if (s == NULL)
		return err_sys(err, ENOMEM, "signals");
	ours(&set);
	s->machine = machine;
	s->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (s->fd >= 0)
		s->source = loop_add(machine->loop, s->fd, EPOLLIN, taken, s);
	if (s->source == NULL) {
		error = err_sys(err, errno, "signals");
		signals_close(s);
		return error;
	}
	*out = s;
	return 0;
}

void signals_close(struct signals *s)
{
	if (s->source != NULL)
		loop_remove(s->source);
	if (s->fd >= 0)
		close(s->fd);
	free(s);
}
