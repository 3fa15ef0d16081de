// SPDX-License-Identifier: BSD-2-Clause
/* The table of verbs, and the one way to call them. */
#include "vmm/verb.h"

#include <errno.h>

#include "base/bits.h"
#include "vmm/verb_fn.h"
#include "vmm/vm.h"

#define X(name, function, argument, on_vcpu, lock, changes)                    \
	{#function, sizeof(struct verb_##argument), VERB_LOCK_##lock, on_vcpu, \
	 changes,   verb_##function##_run},
static const struct verb verbs[] = {VM_VERBS(X)};
#undef X

#define X(name, function, argument, on_vcpu, lock, changes)                    \
	_Static_assert(sizeof(struct verb_##argument) <= VERB_ARG_MAX,         \
		       "VERB_ARG_MAX");
VM_VERBS(X)
#undef X

const struct verb *verb_find(unsigned id)
{
	return id < ARRAY_SIZE(verbs) ? &verbs[id] : NULL;
}

static int call_vcpu_frozen(const struct verb *verb, struct vm *vm,
			    struct vmcpu *vcpu, void *arg)
{
	int error = vcpu_freeze(vcpu);

	if (error != 0)
		return error;
	error = verb->run(vm, vcpu, arg);
	vcpu_thaw(vcpu);
	return error;
}

static int call_vm_frozen(const struct verb *verb, struct vm *vm, void *arg)
{
	int error;

	pthread_mutex_lock(&vm->lock);
	error = vm_freeze_all(vm);
	if (error == 0) {
		error = verb->run(vm, NULL, arg);
		vm_thaw_all(vm);
	}
	pthread_mutex_unlock(&vm->lock);
	return error;
}

int verb_call(struct vm *vm, unsigned id, unsigned vcpu_id, void *arg,
	      size_t size)
{
	const struct verb *verb = verb_find(id);
	struct vmcpu *vcpu = NULL;
	int error;

	if (verb == NULL || size != verb->size)
		return -EINVAL;
	if (verb->on_vcpu) {
		error = vm_get_vcpu(vm, vcpu_id, &vcpu);
		if (error != 0)
			return error;
	}
	switch (verb->lock) {
	case VERB_LOCK_VCPU:
		return call_vcpu_frozen(verb, vm, vcpu, arg);
	case VERB_LOCK_VM:
		return call_vm_frozen(verb, vm, arg);
	default:
		return verb->run(vm, vcpu, arg);
	}
}
