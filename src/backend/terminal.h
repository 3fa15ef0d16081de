/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A terminal in raw mode, given back as it was found: by terminal_close, or
 * when the process exits without it. (A process that is killed by a signal it
 * does not handle cannot give it back; whoever owns the process's signals
 * turns SIGTERM, SIGINT and SIGHUP into an exit.)
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

#endif
