/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event loop of the process: file descriptors and signals, served by the
 * thread that calls loop_run. add and remove may be called from any thread;
 * a callback may remove itself. After loop_remove returns, the callback is
 * not running (unless loop_remove was called from it) and will not be called.
 */
#ifndef BACKEND_LOOP_H
#define BACKEND_LOOP_H

#include <stdint.h>

#include "base/err.h"

struct loop;
struct loop_source;

int loop_create(struct loop **out, struct err *err);
void loop_destroy(struct loop *loop);

/* events: EPOLLIN, EPOLLOUT; with EPOLLONESHOT the source is silent after each
   callback (also about EPOLLHUP and EPOLLERR, which epoll reports unasked)
   until loop_set_events. NULL on -ENOMEM or a file epoll cannot watch
   (errno EPERM: a regular file, always ready). */
struct loop_source *loop_add(struct loop *loop, int fd, uint32_t events,
			     void (*ready)(void *arg, uint32_t events),
			     void *arg);
void loop_set_events(struct loop_source *source, uint32_t events);
void loop_remove(struct loop_source *source);
/* Waits until the callback that runs, if any, has returned; but not for the
   caller's own. For what a callback uses after it removed itself. */
void loop_settle(struct loop *loop);

/* Serves until loop_stop; stop may come from any thread, also before run. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
