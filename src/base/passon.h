/* SPDX-License-Identifier: BSD-2-Clause */
/* A signal that is not ours goes where it went before our handler was there. */
#ifndef BASE_PASSON_H
#define BASE_PASSON_H

#include <signal.h>

static inline void signal_pass_on(const struct sigaction *before, int number,
				  siginfo_t *info, void *context)
{
	if ((before->sa_flags & SA_SIGINFO) != 0)
		before->sa_sigaction(number, info, context);
	else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN)
		before->sa_handler(number);
	else /* the access is repeated, and ends the process */
		signal(number, SIG_DFL);
}

#endif
