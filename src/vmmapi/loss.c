// SPDX-License-Identifier: BSD-2-Clause
/*
 * A page of guest memory that the host cannot give: the tmpfs is full, or the
 * control group's memory is. The kernel answers the access with SIGBUS, which
 * would end the process in the middle of whatever it does. For a handle that
 * asked for it an empty private page takes the place, so that the thread goes
 * on, and an eventfd says that the VM must not.
 *
 * The handler uses atomics and system calls only. It acts on addresses in the
 * memory of watched handles; any other SIGBUS goes where it went before.
 */
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/passon.h"
#include "vmmapi/door.h"

#define PAGE_SIZE 4096ull

/* Signal handlers belong to the process, so this must, too. */
#define WATCHED_MAX 16
static struct vmctx *_Atomic door_watched[WATCHED_MAX];
static pthread_mutex_t door_watch_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction door_sigbus_before;
static bool door_sigbus_taken;

/* -- the handler --------------------------------------------------------------
 */

/* The page of guest memory that addr is in, or NULL. */
static uint8_t *page_of(const struct vmctx *ctx, const void *addr)
{
	const struct vm_mem *mem = &ctx->vm->mem;
	uint64_t gpa = (uint64_t)((const uint8_t *)addr - mem->base);

	if (mem->base == NULL || !mem_is_ram(mem, gpa, 1))
		return NULL;
	return mem->base + ALIGN_DOWN(gpa, PAGE_SIZE);
}

static bool replace_page(struct vmctx *ctx, uint8_t *page)
{
	uint64_t one = 1;

	if (mmap(page, PAGE_SIZE, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
		return false;
	atomic_store(&ctx->memory_lost, true);
	/* Only a counter that nobody reads can be full. */
	return write(ctx->loss_fd, &one, sizeof(one)) == sizeof(one) ||
	       errno == EAGAIN;
}

static bool is_ours(const siginfo_t *info)
{
	/* Others are sent by somebody, and have no address. */
	if (info->si_code <= 0)
		return false;
	for (unsigned i = 0; i < WATCHED_MAX; i++) {
		struct vmctx *ctx = atomic_load(&door_watched[i]);
		uint8_t *page =
		    ctx != NULL ? page_of(ctx, info->si_addr) : NULL;

		if (page != NULL)
			return replace_page(ctx, page);
	}
	return false;
}

static void on_sigbus(int number, siginfo_t *info, void *context)
{
	int error = errno;

	if (!is_ours(info))
		signal_pass_on(&door_sigbus_before, number, info, context);
	errno = error;
}

/* -- who watches --------------------------------------------------------------
 */

/* On an alternate stack: the soft engine's vCPU threads have none while they
   run translated code. */
static int take_sigbus(void)
{
	struct sigaction action = {
	    .sa_sigaction = on_sigbus,
	    .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART,
	};

	if (door_sigbus_taken)
		return 0;
	sigemptyset(&action.sa_mask);
	if (sigaction(SIGBUS, &action, &door_sigbus_before) != 0)
		return -errno;
	door_sigbus_taken = true;
	return 0;
}

static int watch(struct vmctx *ctx)
{
	int error = -ENOSPC, fd;

	for (unsigned i = 0; i < WATCHED_MAX; i++) {
		if (atomic_load(&door_watched[i]) != NULL)
			continue;
		fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (fd < 0)
			return -errno;
		error = take_sigbus();
		if (error != 0) {
			close(fd);
			return error;
		}
		ctx->loss_fd = fd;
		atomic_store(&door_watched[i], ctx);
		return 0;
	}
	return error;
}

int vm_memory_loss_fd(struct vmctx *ctx)
{
	int error = 0;

	pthread_mutex_lock(&door_watch_lock);
	if (ctx->loss_fd < 0)
		error = watch(ctx);
	pthread_mutex_unlock(&door_watch_lock);
	return error == 0 ? ctx->loss_fd : door_result(error, NULL);
}

void loss_forget(struct vmctx *ctx)
{
	pthread_mutex_lock(&door_watch_lock);
	for (unsigned i = 0; i < WATCHED_MAX; i++)
		if (atomic_load(&door_watched[i]) == ctx)
			atomic_store(&door_watched[i], NULL);
	pthread_mutex_unlock(&door_watch_lock);
	if (ctx->loss_fd >= 0)
		close(ctx->loss_fd);
	ctx->loss_fd = -1;
}

/* -- what became of it --------------------------------------------------------
 */

static const char *place_of_memory(const struct vmctx *ctx)
{
	struct stat memory, dir;

	if (ctx->memory_is_ours)
		return "this machine's memory";
	if (fstat(ctx->vm->mem.fd, &memory) == 0 &&
	    fstat(ctx->dir_fd, &dir) == 0 && memory.st_dev == dir.st_dev)
		return ctx->rundir;
	return "/dev/shm";
}

bool vm_memory_lost(struct vmctx *ctx)
{
	struct statfs fs;
	struct err err;

	if (!atomic_load(&ctx->memory_lost))
		return false;
	if (ctx->vm->mem.base == NULL || fstatfs(ctx->vm->mem.fd, &fs) != 0)
		fs.f_bavail = 0, fs.f_bsize = 0;
	err_set(&err, ENOSPC,
		"%s: cannot go on: %s is full and had no page for its memory "
		"(%llu MB free now); make room there, or give it less memory",
		ctx->name, place_of_memory(ctx),
		(unsigned long long)fs.f_bavail *
		    (unsigned long long)fs.f_bsize / MiB);
	door_result(-ENOSPC, &err);
	return true;
}

/* Without a stack for the handler the first loss would do harm. */
int loss_check_thread(struct vmctx *ctx, struct err *err)
{
	stack_t stack;

	if (ctx->loss_fd < 0)
		return 0;
	if (sigaltstack(NULL, &stack) != 0)
		return err_sys(err, errno, "%s: sigaltstack", ctx->name);
	if ((stack.ss_flags & SS_DISABLE) != 0)
		return err_set(err, EINVAL,
			       "%s: a thread that runs a vCPU needs an "
			       "alternate signal stack (vm_memory_loss_fd)",
			       ctx->name);
	return 0;
}
