/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The library's side of the door: what a handle is, and how a call finds the
 * VM. A call goes one of three ways, found anew each time:
 *
 *	this handle runs the VM		straight to the object, no file lock
 *	nobody runs it			the object is brought up to date from
 *					the state file, and back after changes
 *	another handle or process does	through its control socket
 *
 * Byte 0 of the `lock` file is held for each look at the files, byte 1 by the
 * runner. Both are OFD locks: each handle is a party of its own, and a dead
 * process holds nothing.
 */
#ifndef VMMAPI_DOOR_H
#define VMMAPI_DOOR_H

#include <limits.h>
#include <pthread.h>
#include <vmmapi.h>

#include "base/err.h"
#include "vmm/stats.h"
#include "vmm/verb.h"
#include "vmm/vm.h"

struct ctl_server;

struct door_options {
	char rundir[PATH_MAX]; /* empty: the default */
	char engine[16];
	char cpu_model[64];
	char cpu_features[512];
	char backing[8];     /* "memory.backing" */
	char jit[8];         /* "soft.jit" */
	char jit_cache[8];   /* "soft.jit.cache", MiB */
	char jit_hot[8];     /* "soft.jit.hot", runs of a block */
	char jit_perfmap[4]; /* "soft.jit.perfmap" */
};

/* What the options say of the translator. */
bool door_option_jit(const struct door_options *options);
bool door_option_jit_verify(const struct door_options *options);
uint64_t door_option_jit_cache(const struct door_options *options); /* or 0 */
uint16_t door_option_jit_hot(const struct door_options *options);   /* or 0 */
bool door_option_jit_perfmap(const struct door_options *options);

/* What the state file says of the VM as a whole. */
struct vm_record {
	uint64_t clock_ns;
	uint64_t tsc_hz;
	uint64_t low_size, high_size; /* 0: no memory yet */
	uint64_t memory_id;           /* changes when the file is replaced */
	uint32_t runner; /* process that runs it, or ran and died */
	uint32_t vcpus;  /* bit n: vCPU n has records */
	uint32_t suspend_how;
	uint64_t cpu_features[4]; /* of vmm/cpuid.h; 0: not run yet */
	uint64_t kvmclock_gain;
	uint16_t sockets, cores, threads;
	uint8_t destroy_on_close;
	uint8_t is_running;
};

struct vmctx {
	char name[VM_MAX_NAMELEN + 1];
	char rundir[PATH_MAX];
	struct door_options options;
	struct vm *vm;

	/* All below, and vm while nobody runs it. Recursive, for batches. */
	pthread_mutex_t lock;
	unsigned holds;      /* door_hold_files without door_drop_files */
	unsigned batches;    /* those of vm_batch_begin */
	bool state_is_older; /* than what is held here: write it at the end */
	_Atomic bool is_runner;
	int rundir_fd;
	int dir_fd;
	int lock_fd;
	bool owns; /* made with CREATE_DESTROY_ON_CLOSE: byte 2 is ours */
	uint64_t generation; /* of the state file, as last read or written */
	struct vm_record record;
	struct ctl_server *ctl;

	pthread_mutex_t engine_lock; /* the next three */
	int engine_error;            /* 1: not chosen yet */
	const struct engine_ops *engine;
	struct err engine_why;

	int memflags;
	bool memory_is_ours; /* anonymous: it goes with this process */

	int loss_fd; /* -1: not asked for */
	_Atomic bool memory_lost;

	struct vmctx *next; /* all handles of the process, see memory.c */
};

struct vcpu {
	struct vmctx *ctx;
	int id;
	/* The last thread that ran it, or 0: see loss_check_thread. Another's
	   vm_run may be on its way to EBUSY. */
	_Atomic pthread_t thread;
	uint64_t stats[VM_STAT_COUNT];
};

/* -- error.c ------------------------------------------------------------- */

/* Sets errno from -errno and the thread's text; err may be NULL. -1, or 0. */
int door_result(int error, const struct err *err);

/* -- options.c ------------------------------------------------------------ */

void door_options_get(struct door_options *options);

/* -- place.c: the run directory and the VM's own --------------------------- */

int place_check_name(const char *name, struct err *err);
/* Opens the run directory; create: makes it when it is not there. */
int place_open_rundir(const struct door_options *options, bool create,
		      char path[PATH_MAX], struct err *err);
/* Opens $rundir/name and its lock file into ctx. */
int place_open(struct vmctx *ctx, struct err *err);
/* Makes a directory under a temporary name, and publishes it. */
int place_make(struct vmctx *ctx, char temporary[NAME_MAX], struct err *err);
int place_publish(struct vmctx *ctx, const char *temporary, struct err *err);
void place_discard(struct vmctx *ctx, const char *temporary);
/* Removes the VM's directory and memory, whatever it holds. */
int place_remove(struct vmctx *ctx, struct err *err);
bool place_is_gone(struct vmctx *ctx);
void place_close(struct vmctx *ctx);

/* -- lock.c ---------------------------------------------------------------- */

enum lock_byte { LOCK_SHORT, LOCK_RUNNER, LOCK_OWNER };

int lock_take(struct vmctx *ctx, enum lock_byte byte); /* waits */
int lock_try(struct vmctx *ctx, enum lock_byte byte);  /* -EBUSY */
void lock_release(struct vmctx *ctx, enum lock_byte byte);
bool lock_is_held(struct vmctx *ctx, enum lock_byte byte); /* by others */

/* -- memfile.c ------------------------------------------------------------- */

int memfile_create(struct vmctx *ctx, uint64_t size, int *fd, struct err *err);
int memfile_open(struct vmctx *ctx, uint64_t size, int *fd, struct err *err);
void memfile_remove(struct vmctx *ctx);

/* -- statefile.c ----------------------------------------------------------- */

/* Both under LOCK_SHORT; reading does nothing when nothing changed. */
int statefile_write(struct vmctx *ctx, struct err *err);
int statefile_read(struct vmctx *ctx, struct err *err);

/* -- door.c -----------------------------------------------------------------
 */

/* Calls a verb wherever the VM is: 0 or -1 with errno and a text. */
int door_call(struct vmctx *ctx, enum verb_id id, int vcpu, void *arg,
	      size_t size);
/* The engine that runs it or will; -errno when the one asked for cannot. */
int door_choose_engine(struct vmctx *ctx, const struct engine_ops **engine,
		       struct err *err);
/* vm_run's first step: this handle becomes the runner. */
int door_start_running(struct vmctx *ctx);
/* Ends that, saving the state unless the VM is to be destroyed. */
void door_stop_running(struct vmctx *ctx, bool save);

/*
 * Holds the files: with state and memory up to date, nobody running it. May be
 * nested; what changed is written when the last one drops them.
 */
enum files_use { FILES_READ, FILES_CHANGE, FILES_REPAIR };
int door_hold_files(struct vmctx *ctx, enum files_use use, struct err *err);
int door_drop_files(struct vmctx *ctx, bool changed, struct err *err);
/* Ends what vm_batch_begin began and nobody ended, as its handle goes. */
void door_drop_batches(struct vmctx *ctx);

/* -- memory.c: all handles, to find one by an address in guest memory ------ */

void handles_add(struct vmctx *ctx);
void handles_remove(struct vmctx *ctx);

/* -- loss.c: memory that the host cannot give ------------------------------ */

void loss_forget(struct vmctx *ctx);
/* May this thread run a vCPU? */
int loss_check_thread(struct vmctx *ctx, struct err *err);

/* -- ctl ----------------------------------------------------------------------
 */

int ctl_start(struct vmctx *ctx, struct err *err);
void ctl_stop(struct vmctx *ctx);
/* 0 or -errno of the verb; -ECONNREFUSED: nobody serves the socket. */
int ctl_request(struct vmctx *ctx, enum verb_id id, int vcpu, void *arg,
		size_t size);

#endif
