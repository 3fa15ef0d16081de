// SPDX-License-Identifier: BSD-2-Clause
/* vCPUs at the door: handles, running, sets of them, topology, statistics. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmmapi/door.h"

/* -- handles ------------------------------------------------------------------
 */

struct vcpu *vm_vcpu_open(struct vmctx *ctx, int vcpuid)
{
	struct vcpu *vcpu;

	if (vcpuid < 0 || vcpuid >= VM_MAXCPU) {
		door_result(-EINVAL, NULL);
		return NULL;
	}
	vcpu = calloc(1, sizeof(*vcpu));
	if (vcpu == NULL)
		return NULL;
	vcpu->ctx = ctx;
	vcpu->id = vcpuid;
	return vcpu;
}

void vm_vcpu_close(struct vcpu *vcpu)
{
	free(vcpu);
}

int vcpu_id(struct vcpu *vcpu)
{
	return vcpu->id;
}

struct vmctx *vcpu_ctx(struct vcpu *vcpu)
{
	return vcpu->ctx;
}

static int call_plain(struct vcpu *vcpu, enum verb_id id)
{
	struct verb_value none = {0};

	return door_call(vcpu->ctx, id, vcpu->id, &none, sizeof(none));
}

int vcpu_reset(struct vcpu *vcpu)
{
	return call_plain(vcpu, VERB_RESET_CPU);
}

int vm_restart_instruction(struct vcpu *vcpu)
{
	return call_plain(vcpu, VERB_RESTART);
}

int vm_activate_cpu(struct vcpu *vcpu)
{
	return call_plain(vcpu, VERB_ACTIVATE);
}

int vm_suspend_cpu(struct vcpu *vcpu)
{
	return call_plain(vcpu, VERB_SUSPEND_CPU);
}

int vm_resume_cpu(struct vcpu *vcpu)
{
	return call_plain(vcpu, VERB_RESUME_CPU);
}

/* -- running ------------------------------------------------------------------
 */

/* What a thread needs that has not run this vCPU before. */
static int check_thread(struct vcpu *vcpu)
{
	pthread_t self = pthread_self();
	struct err err;
	int error;

	if (likely(atomic_load_explicit(&vcpu->thread, memory_order_relaxed) ==
		   self))
		return 0;
	error = loss_check_thread(vcpu->ctx, &err);
	if (error == 0)
		atomic_store_explicit(&vcpu->thread, self,
				      memory_order_relaxed);
	return door_result(error, &err);
}

int vm_run(struct vcpu *vcpu, struct vm_run *vm_run)
{
	struct vmcpu *vmcpu;
	int error;

	if (vm_run->vm_exit == NULL)
		return door_result(-EINVAL, NULL);
	if (unlikely(check_thread(vcpu) != 0))
		return -1;
	if (door_start_running(vcpu->ctx) != 0)
		return -1;
	error = vm_get_vcpu(vcpu->ctx->vm, (unsigned)vcpu->id, &vmcpu);
	if (error == 0)
		error = vm_run->slice_ns == 0
			    ? vcpu_run(vmcpu, vm_run->vm_exit)
			    : vcpu_run_slice(vmcpu, vm_run->vm_exit,
					     vm_run->slice_ns, &vm_run->idle);
	if (error != 0 && error != -EBUSY && vmcpu->failure.text[0] != '\0')
		return door_result(error, &vmcpu->failure);
	return door_result(error, NULL);
}

int vm_wait(struct vmctx *ctx, uint64_t ns)
{
	if (!atomic_load(&ctx->is_runner))
		return door_result(-EINVAL, NULL);
	vm_wait_asked(ctx->vm, ns);
	return 0;
}

/* -- sets ---------------------------------------------------------------------
 */

static void to_cpuset(uint32_t bits, cpuset_t *cpus)
{
	CPU_ZERO(cpus);
	for (int i = 0; i < VM_MAXCPU; i++)
		if ((bits & 1u << i) != 0)
			CPU_SET(i, cpus);
}

static int get_cpus(struct vmctx *ctx, struct verb_cpus *cpus)
{
	return door_call(ctx, VERB_CPUS, 0, cpus, sizeof(*cpus));
}

int vm_active_cpus(struct vmctx *ctx, cpuset_t *cpus)
{
	struct verb_cpus sets = {0};
	int error = get_cpus(ctx, &sets);

	to_cpuset(sets.active, cpus);
	return error;
}

int vm_suspended_cpus(struct vmctx *ctx, cpuset_t *cpus)
{
	struct verb_cpus sets = {0};
	int error = get_cpus(ctx, &sets);

	to_cpuset(sets.suspended, cpus);
	return error;
}

int vm_debug_cpus(struct vmctx *ctx, cpuset_t *cpus)
{
	struct verb_cpus sets = {0};
	int error = get_cpus(ctx, &sets);

	to_cpuset(sets.debug, cpus);
	return error;
}

/* Those of the active ones that are not so already. */
static int call_all(struct vmctx *ctx, enum verb_id id, bool suspended)
{
	struct verb_value none = {0};
	struct verb_cpus sets;
	uint32_t wanted;

	if (get_cpus(ctx, &sets) != 0)
		return -1;
	wanted = sets.active & (suspended ? sets.debug : ~sets.debug);
	for (int i = 0; i < VM_MAXCPU; i++)
		if ((wanted & 1u << i) != 0 &&
		    door_call(ctx, id, i, &none, sizeof(none)) != 0 &&
		    errno != EBUSY && errno != EINVAL)
			return -1;
	return 0;
}

int vm_suspend_all_cpus(struct vmctx *ctx)
{
	return call_all(ctx, VERB_SUSPEND_CPU, false);
}

int vm_resume_all_cpus(struct vmctx *ctx)
{
	return call_all(ctx, VERB_RESUME_CPU, true);
}

/* -- topology -----------------------------------------------------------------
 */

int vm_set_topology(struct vmctx *ctx, uint16_t sockets, uint16_t cores,
		    uint16_t threads, uint16_t maxcpus)
{
	struct verb_topology topology = {sockets, cores, threads, maxcpus};

	return door_call(ctx, VERB_SET_TOPOLOGY, 0, &topology,
			 sizeof(topology));
}

int vm_get_topology(struct vmctx *ctx, uint16_t *sockets, uint16_t *cores,
		    uint16_t *threads, uint16_t *maxcpus)
{
	struct verb_topology topology = {0};
	int error =
	    door_call(ctx, VERB_GET_TOPOLOGY, 0, &topology, sizeof(topology));

	*sockets = topology.sockets;
	*cores = topology.cores;
	*threads = topology.threads;
	*maxcpus = topology.maxcpus;
	return error;
}

/* -- statistics
 * ----------------------------------------------------------------
 */

uint64_t *vm_get_stats(struct vcpu *vcpu, struct timeval *ret_tv,
		       int *ret_entries)
{
	struct verb_stats stats;

	if (door_call(vcpu->ctx, VERB_STATS, vcpu->id, &stats, sizeof(stats)) !=
	    0)
		return NULL;
	memcpy(vcpu->stats, stats.value, sizeof(vcpu->stats));
	if (ret_tv != NULL)
		gettimeofday(ret_tv, NULL);
	if (ret_entries != NULL)
		*ret_entries = VM_STAT_COUNT;
	return vcpu->stats;
}

const char *vm_get_stat_desc(struct vmctx *ctx, int index)
{
	static const char *const texts[] = {
#define X(name, text) text,
	    VM_STATS(X)
#undef X
	};

	return index >= 0 && index < VM_STAT_COUNT ? texts[index] : NULL;
}
