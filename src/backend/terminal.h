/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A terminal in raw mode, given back as it was found: by terminal_close, or
 * when the process exits without it. Whoever owns the process's signals turns
 * SIGTERM, SIGINT and SIGHUP into an exit, and calls terminals_give_back in a
 * handler of those that end it at once.
 */
#ifndef BACKEND_TERMINAL_H
#define BACKEND_TERMINAL_H

struct terminal;

/*
 * Raw mode on fd, which stays the caller's. *out is NULL, with 0 returned,
 * when fd is no terminal, or is the controlling terminal of another
 * foreground job. -errno.
 */
int terminal_open(int fd, struct terminal **out);
void terminal_close(struct terminal *terminal);
/* All that are raw; a signal handler may call it. */
void terminals_give_back(void);

#endif
