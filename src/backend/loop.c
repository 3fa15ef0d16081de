// SPDX-License-Identifier: BSD-2-Clause
/*
 * The event loop, over epoll. Sources that were removed are kept on a list
 * until the loop has finished with the events it fetched, which may still
 * name them.
 */
#include "backend/loop.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS_AT_ONCE 16

struct loop_source {
	struct loop *loop;
	struct loop_source *next;
	int fd;
	bool removed;
	void (*ready)(void *arg, uint32_t events);
	void *arg;
};

struct loop {
	int epoll_fd;
	int wake_fd;
	pthread_mutex_t lock; /* for what follows; not held in callbacks */
	pthread_cond_t returned;
	struct loop_source *sources;
	struct loop_source *removed;
	struct loop_source *running; /* whose callback runs, on runner */
	uint64_t returns;            /* of callbacks */
	pthread_t runner;
	bool stop;
};

int loop_create(struct loop **out, struct err *err)
{
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL};
	struct loop *loop = calloc(1, sizeof(*loop));

	if (loop == NULL)
		return err_sys(err, ENOMEM, "event loop");
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->returned, NULL);
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->epoll_fd < 0 || loop->wake_fd < 0 ||
	    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &event) <
		0) {
		int error = errno;

		loop_destroy(loop);
		return err_sys(err, error, "event loop");
	}
	*out = loop;
	return 0;
}

static void free_list(struct loop_source *source)
{
	while (source != NULL) {
		struct loop_source *next = source->next;

		free(source);
		source = next;
	}
}

void loop_destroy(struct loop *loop)
{
	if (loop == NULL)
		return;
	free_list(loop->sources);
	free_list(loop->removed);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	pthread_cond_destroy(&loop->returned);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	/* A full counter is a wake-up too. */
	while (write(loop->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

struct loop_source *loop_add(struct loop *loop, int fd, uint32_t events,
			     void (*ready)(void *arg, uint32_t events),
			     void *arg)
{
	struct loop_source *source = malloc(sizeof(*source));
	struct epoll_event event = {.events = events, .data.ptr = source};
	int error;

	if (source == NULL)
		return NULL;
	*source = (struct loop_source){
	    .loop = loop, .fd = fd, .ready = ready, .arg = arg};
	pthread_mutex_lock(&loop->lock);
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		error = errno;
		pthread_mutex_unlock(&loop->lock);
		free(source);
		errno = error;
		return NULL;
	}
	source->next = loop->sources;
	loop->sources = source;
	pthread_mutex_unlock(&loop->lock);
	return source;
}

void loop_set_events(struct loop_source *source, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = source};

	(void)epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd,
			&event);
}

static void unlink_source(struct loop *loop, struct loop_source *source)
{
	struct loop_source **at = &loop->sources;

	while (*at != source)
		at = &(*at)->next;
	*at = source->next;
	source->next = loop->removed;
	loop->removed = source;
}

void loop_remove(struct loop_source *source)
{
	struct loop *loop;

	if (source == NULL)
		return;
	loop = source->loop;
	pthread_mutex_lock(&loop->lock);
	(void)epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	source->removed = true;
	unlink_source(loop, source);
	/* The loop frees the list only between callbacks, under the lock, so
	   source stays while it is the one that runs. */
	if (loop->running == source &&
	    !pthread_equal(loop->runner, pthread_self())) {
		while (loop->running == source)
			pthread_cond_wait(&loop->returned, &loop->lock);
	}
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
}

void loop_settle(struct loop *loop)
{
	uint64_t before;

	pthread_mutex_lock(&loop->lock);
	before = loop->returns;
	if (loop->running != NULL &&
	    !pthread_equal(loop->runner, pthread_self()))
		while (loop->returns == before)
			pthread_cond_wait(&loop->returned, &loop->lock);
	pthread_mutex_unlock(&loop->lock);
}

/* One fetched event, unless its source went away meanwhile. */
static void dispatch(struct loop *loop, struct loop_source *source,
		     uint32_t events)
{
	pthread_mutex_lock(&loop->lock);
	if (!source->removed) {
		loop->running = source;
		pthread_mutex_unlock(&loop->lock);
		source->ready(source->arg, events);
		pthread_mutex_lock(&loop->lock);
		loop->running = NULL;
		loop->returns++;
		pthread_cond_broadcast(&loop->returned);
	}
	pthread_mutex_unlock(&loop->lock);
}

static void drain_wake(struct loop *loop)
{
	uint64_t count;

	(void)!read(loop->wake_fd, &count, sizeof(count));
}

static bool keep_going(struct loop *loop)
{
	struct loop_source *removed;
	bool stop;

	pthread_mutex_lock(&loop->lock);
	removed = loop->removed;
	loop->removed = NULL;
	stop = loop->stop;
	loop->stop = false;
	pthread_mutex_unlock(&loop->lock);
	free_list(removed);
	return !stop;
}

int loop_run(struct loop *loop)
{
	struct epoll_event events[EVENTS_AT_ONCE];

	pthread_mutex_lock(&loop->lock);
	loop->runner = pthread_self();
	pthread_mutex_unlock(&loop->lock);
	while (keep_going(loop)) {
		int count =
		    epoll_wait(loop->epoll_fd, events, EVENTS_AT_ONCE, -1);

		if (count < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < count; i++) {
			if (events[i].data.ptr == NULL)
				drain_wake(loop);
			else
				dispatch(loop, events[i].data.ptr,
					 events[i].events);
		}
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	loop->stop = true;
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
}
