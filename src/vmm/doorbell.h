/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Doorbells: writes of the guest that only signal an eventfd. KVM does it
 * itself where it can (engine->doorbell); what comes out of an engine all the
 * same is looked up here, behind the room's own devices.
 */
#ifndef VMM_DOORBELL_H
#define VMM_DOORBELL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define DOORBELLS_MAX 256

struct vm;

struct doorbell {
	uint64_t addr; /* gpa or port */
	uint64_t match;
	uint8_t bytes; /* 0: any size */
	bool is_port;
	bool has_match;
	int fd; /* the caller's, until it is removed */
};

struct doorbells {
	_Atomic unsigned count;
	pthread_rwlock_t lock;
	struct doorbell bell[DOORBELLS_MAX];
};

void doorbells_init(struct doorbells *bells);
void doorbells_destroy(struct doorbells *bells);

/* Under the VM lock. 0, -EINVAL, -EEXIST, -ENOSPC; or -ENOENT. When remove
   returns, nobody rings it any more. */
int doorbell_add(struct vm *vm, const struct doorbell *bell);
int doorbell_remove(struct vm *vm, const struct doorbell *bell);
/* All of them to the engine, which is new. */
void doorbells_announce(struct vm *vm);

/* Any thread. False: there is none for this write. */
bool doorbell_ring(struct vm *vm, bool is_port, uint64_t addr, unsigned bytes,
		   uint64_t value);

#endif
