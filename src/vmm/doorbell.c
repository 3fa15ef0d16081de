// SPDX-License-Identifier: BSD-2-Clause
#include "vmm/doorbell.h"

#include <errno.h>
#include <unistd.h>

#include "vmm/vm.h"

void doorbells_init(struct doorbells *bells)
{
	pthread_rwlock_init(&bells->lock, NULL);
	atomic_init(&bells->count, 0);
}

void doorbells_destroy(struct doorbells *bells)
{
	pthread_rwlock_destroy(&bells->lock);
}

static bool same(const struct doorbell *a, const struct doorbell *b)
{
	return a->addr == b->addr && a->is_port == b->is_port &&
	       a->bytes == b->bytes && a->has_match == b->has_match &&
	       (!a->has_match || a->match == b->match);
}

static unsigned find(const struct doorbells *bells, const struct doorbell *bell)
{
	unsigned count = atomic_load(&bells->count), i = 0;

	while (i < count && !same(&bells->bell[i], bell))
		i++;
	return i;
}

static bool is_valid(const struct doorbell *bell)
{
	unsigned bytes = bell->bytes;

	if (bell->fd < 0 || bytes > 8 || (bytes & (bytes - 1)) != 0 ||
	    (bytes == 0 && bell->has_match))
		return false;
	return !bell->is_port || (bell->addr <= 0xffff && bytes <= 4);
}

/* What the engine does not take stays ours to look up. */
static void tell_engine(struct vm *vm, const struct doorbell *bell, bool add)
{
	if (vm->engine != NULL && vm->engine->doorbell != NULL)
		vm->engine->doorbell(vm, bell, add);
}

int doorbell_add(struct vm *vm, const struct doorbell *bell)
{
	struct doorbells *bells = &vm->doorbells;
	unsigned count = atomic_load(&bells->count);

	if (!is_valid(bell))
		return -EINVAL;
	if (find(bells, bell) != count)
		return -EEXIST;
	if (count == DOORBELLS_MAX)
		return -ENOSPC;
	pthread_rwlock_wrlock(&bells->lock);
	bells->bell[count] = *bell;
	atomic_store(&bells->count, count + 1);
	pthread_rwlock_unlock(&bells->lock);
	tell_engine(vm, bell, true);
	return 0;
}

int doorbell_remove(struct vm *vm, const struct doorbell *bell)
{
	struct doorbells *bells = &vm->doorbells;
	unsigned count = atomic_load(&bells->count), at = find(bells, bell);

	if (at == count)
		return -ENOENT;
	tell_engine(vm, &bells->bell[at], false);
	pthread_rwlock_wrlock(&bells->lock);
	bells->bell[at] = bells->bell[count - 1];
	atomic_store(&bells->count, count - 1);
	pthread_rwlock_unlock(&bells->lock);
	return 0;
}

void doorbells_announce(struct vm *vm)
{
	unsigned count = atomic_load(&vm->doorbells.count);

	for (unsigned i = 0; i < count; i++)
		tell_engine(vm, &vm->doorbells.bell[i], true);
}

static bool hears(const struct doorbell *bell, bool is_port, uint64_t addr,
		  unsigned bytes, uint64_t value)
{
	return bell->addr == addr && bell->is_port == is_port &&
	       (bell->bytes == 0 || bell->bytes == bytes) &&
	       (!bell->has_match || bell->match == value);
}

/* A counter that is full is rung already. */
static void signal_fd(int fd)
{
	const uint64_t one = 1;
	ssize_t done;

	do
		done = write(fd, &one, sizeof(one));
	while (done < 0 && errno == EINTR);
}

bool doorbell_ring(struct vm *vm, bool is_port, uint64_t addr, unsigned bytes,
		   uint64_t value)
{
	struct doorbells *bells = &vm->doorbells;
	bool rung = false;

	if (atomic_load_explicit(&bells->count, memory_order_relaxed) == 0)
		return false;
	pthread_rwlock_rdlock(&bells->lock);
	for (unsigned i = 0; i < atomic_load(&bells->count) && !rung; i++) {
		rung = hears(&bells->bell[i], is_port, addr, bytes, value);
		if (rung)
			signal_fd(bells->bell[i].fd);
	}
	pthread_rwlock_unlock(&bells->lock);
	return rung;
}
