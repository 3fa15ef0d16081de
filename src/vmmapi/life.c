// SPDX-License-Identifier: BSD-2-Clause
/* A VM's life: made, opened, reinitialised, stopped, destroyed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "vmmapi/door.h"

/* -- handles
 * -------------------------------------------------------------------
 */

static void handle_free(struct vmctx *ctx)
{
	loss_forget(ctx);
	vm_free(ctx->vm);
	place_close(ctx);
	pthread_mutex_destroy(&ctx->lock);
	pthread_mutex_destroy(&ctx->engine_lock);
	free(ctx);
}

static int handle_new(const char *name, bool create, struct vmctx **out,
		      struct err *err)
{
	pthread_mutexattr_t recursive;
	struct vmctx *ctx;
	int error = place_check_name(name, err);

	if (error != 0)
		return error;
	ctx = calloc(1, sizeof(*ctx));
	if (ctx == NULL)
		return err_sys(err, ENOMEM, "%s", name);
	snprintf(ctx->name, sizeof(ctx->name), "%s", name);
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&ctx->lock, &recursive);
	pthread_mutexattr_destroy(&recursive);
	pthread_mutex_init(&ctx->engine_lock, NULL);
	ctx->engine_error = 1;
	ctx->loss_fd = -1;
	ctx->rundir_fd = ctx->dir_fd = ctx->lock_fd = -1;
	door_options_get(&ctx->options);
	error = vm_new(name, &ctx->vm);
	if (error != 0)
		err_sys(err, -error, "%s: the VM's devices", name);
	else {
		ctx->rundir_fd =
		    place_open_rundir(&ctx->options, create, ctx->rundir, err);
		error = ctx->rundir_fd < 0 ? ctx->rundir_fd : 0;
	}
	/* no run directory, no VM */
	if (error == -ENOENT && !create)
		err_set(err, ENOENT, "%s: no such VM in %s", name, ctx->rundir);
	if (error != 0) {
		handle_free(ctx);
		return error;
	}
	*out = ctx;
	return 0;
}

/* -- creation
 * -------------------------------------------------------------------
 */

static int fill_and_publish(struct vmctx *ctx, const char *temporary, int flags,
			    struct err *err)
{
	int error = 0;

	if ((flags & VMMAPI_OPEN_CREATE_DESTROY_ON_CLOSE) != 0) {
		ctx->record.destroy_on_close = 1;
		error = lock_try(ctx, LOCK_OWNER);
		if (error != 0)
			return err_sys(err, -error, "%s: lock file", ctx->name);
	}
	error = statefile_write(ctx, err);
	if (error == 0)
		error = place_publish(ctx, temporary, err);
	if (error == 0)
		ctx->owns = ctx->record.destroy_on_close != 0;
	return error;
}

static int create(const char *name, int flags, struct vmctx **out,
		  struct err *err)
{
	char temporary[NAME_MAX];
	struct vmctx *ctx;
	int error = handle_new(name, true, &ctx, err);

	if (error != 0)
		return error;
	ctx->vm->clock.tsc_hz = host_tsc_hz();
	error = place_make(ctx, temporary, err);
	if (error == 0)
		error = fill_and_publish(ctx, temporary, flags, err);
	if (error != 0) {
		place_discard(ctx, temporary);
		handle_free(ctx);
		return error;
	}
	*out = ctx;
	return 0;
}

int vm_create(const char *name)
{
	struct vmctx *ctx;
	struct err err;
	int error = create(name, 0, &ctx, &err);

	if (error == 0)
		handle_free(ctx);
	return door_result(error, &err);
}

/* -- opening ------------------------------------------------------------------
 */

/* One that was to go with its creator, who died first. */
static bool is_leftover(struct vmctx *ctx)
{
	return ctx->record.destroy_on_close != 0 &&
	       !lock_is_held(ctx, LOCK_OWNER) &&
	       !lock_is_held(ctx, LOCK_RUNNER);
}

/* Looks at the files once, so that state and memory are there. Somebody may
   be running it, and that is no error. */
static int first_look(struct vmctx *ctx, struct err *err)
{
	int error = door_hold_files(ctx, FILES_READ, err);

	if (error == -EBUSY)
		return 0;
	if (error == -ENXIO)
		return err_set(err, ENOENT, "%s: no such VM in %s", ctx->name,
			       ctx->rundir);
	if (error != 0)
		return error;
	if (is_leftover(ctx)) {
		place_remove(ctx, NULL);
		error = err_set(err, ENOENT, "%s: no such VM in %s", ctx->name,
				ctx->rundir);
	}
	door_drop_files(ctx, false, NULL);
	return error;
}

static int open_existing(const char *name, int flags, struct vmctx **out,
			 struct err *err)
{
	struct vmctx *ctx;
	int error = handle_new(name, false, &ctx, err);

	if (error != 0)
		return error;
	error = place_open(ctx, err);
	/* A state that cannot be read can still be thrown away. */
	if (error == 0 && (flags & VMMAPI_OPEN_REINIT) == 0)
		error = first_look(ctx, err);
	if (error != 0) {
		handle_free(ctx);
		return error;
	}
	*out = ctx;
	return 0;
}

/* A fresh VM in the old one's place: its memory may have another size. */
static int reinit_files(struct vmctx *ctx, struct err *err)
{
	int error = door_hold_files(ctx, FILES_REPAIR, err);

	if (error != 0)
		return error;
	mem_teardown(&ctx->vm->mem);
	memfile_remove(ctx);
	vm_clock_set(&ctx->vm->clock, 0);
	ctx->vm->clock.tsc_hz = host_tsc_hz();
	vm_reset(ctx->vm);
	ctx->record.low_size = ctx->record.high_size = 0;
	ctx->record.is_running = 0;
	return door_drop_files(ctx, true, err);
}

/* Somebody else may make or destroy it between our two looks. */
#define OPEN_TRIES 10

static int open_or_create(const char *name, int flags, struct vmctx **out,
			  struct err *err)
{
	int made = VMMAPI_OPEN_CREATE | VMMAPI_OPEN_CREATE_DESTROY_ON_CLOSE;
	int error = -ENOENT;

	for (int i = 0; i < OPEN_TRIES && error == -ENOENT; i++) {
		if ((flags & made) != 0) {
			error = create(name, flags, out, err);
			if (error != -EEXIST ||
			    (flags & VMMAPI_OPEN_CREATE) == 0)
				return error;
		}
		error = open_existing(name, flags, out, err);
		if ((flags & made) == 0)
			break;
	}
	if (error != 0 || (flags & VMMAPI_OPEN_REINIT) == 0)
		return error;
	error = reinit_files(*out, err);
	if (error != 0)
		handle_free(*out);
	return error;
}

struct vmctx *vm_openf(const char *name, int flags)
{
	struct vmctx *ctx;
	struct err err;
	int error = open_or_create(name, flags, &ctx, &err);

	if (error != 0) {
		door_result(error, &err);
		return NULL;
	}
	handles_add(ctx);
	return ctx;
}

struct vmctx *vm_open(const char *name)
{
	return vm_openf(name, 0);
}

/* -- end ----------------------------------------------------------------------
 */

/* How long a process has to let go of a VM that is to be destroyed. */
#define LET_GO_TRIES 1000
#define LET_GO_NS    10000000

static void make_runner_let_go(struct vmctx *ctx)
{
	struct verb_value how = {VM_SUSPEND_DESTROY};
	struct timespec pause = {.tv_nsec = LET_GO_NS};

	for (int i = 0; i < LET_GO_TRIES; i++) {
		if (!lock_is_held(ctx, LOCK_RUNNER))
			return;
		ctl_request(ctx, VERB_SUSPEND, 0, &how, sizeof(how));
		nanosleep(&pause, NULL);
	}
}

static int remove_files(struct vmctx *ctx, struct err *err)
{
	int error;

	pthread_mutex_lock(&ctx->lock);
	lock_take(ctx, LOCK_SHORT);
	error = place_remove(ctx, err);
	lock_release(ctx, LOCK_SHORT);
	pthread_mutex_unlock(&ctx->lock);
	return error;
}

/* Anonymous memory ends here; the VM goes on without, as when it was made. */
static void forget_memory(struct vmctx *ctx)
{
	if (door_hold_files(ctx, FILES_CHANGE, NULL) != 0)
		return;
	memfile_remove(ctx);
	ctx->record.low_size = ctx->record.high_size = 0;
	door_drop_files(ctx, true, NULL);
}

void vm_close(struct vmctx *ctx)
{
	bool owns = ctx->owns;

	door_drop_batches(ctx);
	handles_remove(ctx);
	/* A VM that has lost memory has crashed. */
	if (atomic_load(&ctx->is_runner))
		door_stop_running(ctx,
				  !owns && !atomic_load(&ctx->memory_lost));
	if (ctx->memory_is_ours && !owns)
		forget_memory(ctx);
	if (owns)
		remove_files(ctx, NULL);
	handle_free(ctx);
}

void vm_destroy(struct vmctx *ctx)
{
	struct err err;

	door_drop_batches(ctx);
	handles_remove(ctx);
	if (atomic_load(&ctx->is_runner))
		door_stop_running(ctx, false);
	else
		make_runner_let_go(ctx);
	door_result(remove_files(ctx, &err), &err);
	handle_free(ctx);
}

/* -- in between ---------------------------------------------------------------
 */

int vm_reinit(struct vmctx *ctx)
{
	struct verb_value none = {0};

	return door_call(ctx, VERB_REINIT, 0, &none, sizeof(none));
}

int vm_suspend(struct vmctx *ctx, enum vm_suspend_how how)
{
	struct verb_value value = {(uint64_t)how};

	return door_call(ctx, VERB_SUSPEND, 0, &value, sizeof(value));
}

/* Capsicum has no counterpart here that would keep the files reachable. */
int vm_limit_rights(struct vmctx *ctx)
{
	return 0;
}

const char *vm_get_name(struct vmctx *ctx)
{
	return ctx->name;
}

const char *vm_get_engine(struct vmctx *ctx, const char **why)
{
	const struct engine_ops *engine;
	int error = door_choose_engine(ctx, &engine, NULL);

	if (why != NULL)
		*why = ctx->engine_why.text;
	return error == 0 ? engine->name : NULL;
}

int vm_get_engine_info(int index, struct vm_engine_info *info)
{
	return door_result(engine_describe(index, info), NULL);
}

int vm_clock_gettime(struct vmctx *ctx, uint64_t *ns)
{
	struct verb_value value = {0};
	int error = door_call(ctx, VERB_CLOCK, 0, &value, sizeof(value));

	*ns = value.value;
	return error;
}
