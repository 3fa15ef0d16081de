// SPDX-License-Identifier: BSD-2-Clause
/* How a call finds the VM, and how a handle becomes and ceases its runner. */
#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/bits.h"
#include "vmmapi/door.h"

/* -- the files ---------------------------------------------------------------
 */

/* Maps what the record says, unless it is mapped. Memory that is lost does not
   keep anybody from looking at the rest. */
static void attach_memory(struct vmctx *ctx, uint64_t old_id)
{
	struct vm_record *record = &ctx->record;
	struct vm_mem *mem = &ctx->vm->mem;
	int fd;

	if (mem->base != NULL && old_id == record->memory_id)
		return;
	mem_teardown(mem);
	if (record->low_size == 0)
		return;
	if (memfile_open(ctx, record->low_size + record->high_size, &fd,
			 NULL) != 0)
		return;
	if (mem_setup(mem, fd, record->low_size, record->high_size) != 0)
		close(fd);
}

static int is_crashed(struct vmctx *ctx, struct err *err)
{
	if (!ctx->record.is_running)
		return 0;
	return err_set(err, ENOTRECOVERABLE,
		       "%s: crashed: process %u ran it and is gone; remove it "
		       "(bhyvectl --vm=%s --destroy)",
		       ctx->name, ctx->record.runner, ctx->name);
}

/* One that no other handle has seen. */
static uint64_t fresh_generation(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int bring_up_to_date(struct vmctx *ctx, enum files_use use,
			    struct err *err)
{
	uint64_t memory_id = ctx->record.memory_id;
	int error = statefile_read(ctx, err);

	if (error != 0 && use != FILES_REPAIR)
		return error;
	if (error != 0) /* what is begun anew need not be readable */
		ctx->generation = fresh_generation();
	else
		attach_memory(ctx, memory_id);
	if (lock_is_held(ctx, LOCK_RUNNER))
		return err_set(err, EBUSY, "%s: already running, process %u",
			       ctx->name, ctx->record.runner);
	return use == FILES_CHANGE ? is_crashed(ctx, err) : 0;
}

/* What the first of nested holds finds out about the files. */
static int look_at_files(struct vmctx *ctx, enum files_use use, struct err *err)
{
	int error = lock_take(ctx, LOCK_SHORT);

	if (error != 0)
		return err_sys(err, -error, "%s: lock file", ctx->name);
	if (atomic_load(&ctx->is_runner))
		return 0;
	if (place_is_gone(ctx))
		error =
		    err_set(err, ENXIO, "%s: has been destroyed", ctx->name);
	else
		error = bring_up_to_date(ctx, use, err);
	if (error != 0)
		lock_release(ctx, LOCK_SHORT);
	return error;
}

/* ctx->lock and LOCK_SHORT are held when this returns 0. */
int door_hold_files(struct vmctx *ctx, enum files_use use, struct err *err)
{
	int error = 0;

	pthread_mutex_lock(&ctx->lock);
	if (ctx->holds == 0)
		error = look_at_files(ctx, use, err);
	else if (use == FILES_CHANGE && !atomic_load(&ctx->is_runner))
		error = is_crashed(ctx, err);
	if (error != 0)
		pthread_mutex_unlock(&ctx->lock);
	else
		ctx->holds++;
	return error;
}

int door_drop_files(struct vmctx *ctx, bool changed, struct err *err)
{
	int error = 0;

	ctx->state_is_older |= changed;
	if (--ctx->holds == 0) {
		/* A runner writes it as it ends. */
		if (ctx->state_is_older && !atomic_load(&ctx->is_runner))
			error = statefile_write(ctx, err);
		ctx->state_is_older = false;
		lock_release(ctx, LOCK_SHORT);
	}
	pthread_mutex_unlock(&ctx->lock);
	return error;
}

/* -- batches ------------------------------------------------------------------
 */

int vm_batch_begin(struct vmctx *ctx)
{
	struct err err;
	int error = door_hold_files(ctx, FILES_CHANGE, &err);

	if (error == 0)
		ctx->batches++;
	return door_result(error, &err);
}

int vm_batch_end(struct vmctx *ctx)
{
	struct err err;
	int error;

	pthread_mutex_lock(&ctx->lock);
	if (ctx->batches == 0)
		error =
		    err_set(&err, EINVAL, "%s: no batch was begun", ctx->name);
	else {
		ctx->batches--;
		error = door_drop_files(ctx, false, &err);
	}
	pthread_mutex_unlock(&ctx->lock);
	return door_result(error, &err);
}

void door_drop_batches(struct vmctx *ctx)
{
	while (ctx->batches != 0)
		vm_batch_end(ctx);
}

/* -- calls --------------------------------------------------------------------
 */

/* A runner that is starting or ending has no socket for a moment. */
#define RETRIES  500
#define RETRY_NS 10000000

static int call_files(struct vmctx *ctx, enum verb_id id, int vcpu, void *arg,
		      size_t size, struct err *err)
{
	bool changes = verb_find(id)->changes;
	enum files_use use = id == VERB_REINIT ? FILES_REPAIR
			     : changes         ? FILES_CHANGE
					       : FILES_READ;
	int error = door_hold_files(ctx, use, err);
	int dropped;

	if (error != 0)
		return error;
	error = verb_call(ctx->vm, id, (unsigned)vcpu, arg, size);
	if (error != 0)
		err->text[0] = '\0';
	if (error == 0 && id == VERB_REINIT)
		ctx->record.is_running = false;
	dropped = door_drop_files(
	    ctx, error == 0 && changes && !atomic_load(&ctx->is_runner), err);
	return error != 0 ? error : dropped;
}

static int call_anywhere(struct vmctx *ctx, enum verb_id id, int vcpu,
			 void *arg, size_t size, struct err *err)
{
	struct timespec pause = {.tv_nsec = RETRY_NS};
	int error = -EBUSY;

	for (int i = 0; i < RETRIES; i++) {
		if (atomic_load(&ctx->is_runner)) {
			err->text[0] = '\0';
			return verb_call(ctx->vm, id, (unsigned)vcpu, arg,
					 size);
		}
		error = call_files(ctx, id, vcpu, arg, size, err);
		if (error != -EBUSY || err->text[0] == '\0')
			return error;
		/* somebody runs it */
		error = ctl_request(ctx, id, vcpu, arg, size);
		if (error != -ECONNREFUSED) {
			err->text[0] = '\0';
			return error;
		}
		nanosleep(&pause, NULL);
	}
	return err_set(err, ETIMEDOUT,
		       "%s: process %u runs it but does not answer", ctx->name,
		       ctx->record.runner);
}

int door_call(struct vmctx *ctx, enum verb_id id, int vcpu, void *arg,
	      size_t size)
{
	struct err err;
	int error;

	if (likely(
		atomic_load_explicit(&ctx->is_runner, memory_order_acquire))) {
		error = verb_call(ctx->vm, id, (unsigned)vcpu, arg, size);
		if (likely(error == 0))
			return 0;
		err.text[0] = '\0';
	} else {
		err.text[0] = '\0';
		error = call_anywhere(ctx, id, vcpu, arg, size, &err);
	}
	if (error != 0 && err.text[0] == '\0')
		err_sys(&err, -error, "%s: %s", ctx->name, verb_find(id)->name);
	return door_result(error, &err);
}

/* -- running ------------------------------------------------------------------
 */

/* Chosen once a handle; its strings are given out (vm_get_engine). */
int door_choose_engine(struct vmctx *ctx, const struct engine_ops **engine,
		       struct err *err)
{
	int error;

	pthread_mutex_lock(&ctx->engine_lock);
	if (ctx->engine_error > 0)
		ctx->engine_error =
		    engine_choose(ctx->options.engine, ctx->rundir,
				  &ctx->engine, &ctx->engine_why);
	error = ctx->engine_error;
	pthread_mutex_unlock(&ctx->engine_lock);
	*engine = ctx->engine;
	if (error != 0 && err != NULL)
		*err = ctx->engine_why;
	return error;
}

static int start_engine(struct vmctx *ctx, struct err *err)
{
	struct vm_engine_options options = {
	    .soft_jit = door_option_jit(&ctx->options),
	    .soft_jit_cache = door_option_jit_cache(&ctx->options),
	    .soft_jit_verify = door_option_jit_verify(&ctx->options),
	    .soft_jit_hot = door_option_jit_hot(&ctx->options),
	    .soft_jit_perfmap = door_option_jit_perfmap(&ctx->options),
	    .cpu_model = ctx->options.cpu_model[0] != '\0'
			     ? ctx->options.cpu_model
			     : NULL,
	    .cpu_features = ctx->options.cpu_features[0] != '\0'
				? ctx->options.cpu_features
				: NULL,
	    .limit_model = engine_limit_model,
	};
	int error = door_choose_engine(ctx, &options.engine, err);

	if (error == 0)
		error = vm_engine_start(ctx->vm, &options, err);
	if (error != 0)
		return error;
	error = ctl_start(ctx, err);
	if (error != 0)
		vm_engine_stop(ctx->vm);
	return error;
}

/* LOCK_RUNNER is ours. The record says so first: who dies here has crashed. */
static int start_locked(struct vmctx *ctx, struct err *err)
{
	int error;

	ctx->record.is_running = true;
	ctx->record.runner = (uint32_t)getpid();
	error = statefile_write(ctx, err);
	if (error == 0) {
		error = start_engine(ctx, err);
		if (error == 0)
			return 0;
		ctx->record.is_running = false;
		statefile_write(ctx, NULL);
	}
	ctx->record.is_running = false;
	return error;
}

int door_start_running(struct vmctx *ctx)
{
	struct err err;
	int error;

	if (likely(atomic_load_explicit(&ctx->is_runner, memory_order_acquire)))
		return 0;
	error = door_hold_files(ctx, FILES_CHANGE, &err);
	if (error != 0)
		return door_result(error, &err);
	if (!atomic_load(&ctx->is_runner)) {
		error = lock_try(ctx, LOCK_RUNNER);
		if (error != 0)
			err_sys(&err, -error, "%s: lock file", ctx->name);
		else {
			error = start_locked(ctx, &err);
			if (error != 0)
				lock_release(ctx, LOCK_RUNNER);
			else
				atomic_store(&ctx->is_runner, true);
		}
	}
	door_drop_files(ctx, false, NULL);
	return door_result(error, &err);
}

void door_stop_running(struct vmctx *ctx, bool save)
{
	struct err err;

	ctl_stop(ctx);
	vm_freeze_all(ctx->vm);
	vm_engine_stop(ctx->vm);
	vm_thaw_all(ctx->vm);
	pthread_mutex_lock(&ctx->lock);
	lock_take(ctx, LOCK_SHORT);
	ctx->record.is_running = false;
	if (save && !place_is_gone(ctx))
		statefile_write(ctx, &err);
	atomic_store(&ctx->is_runner, false);
	lock_release(ctx, LOCK_RUNNER);
	lock_release(ctx, LOCK_SHORT);
	pthread_mutex_unlock(&ctx->lock);
}
