// SPDX-License-Identifier: BSD-2-Clause
/*
 * The inside of vm_run: guest code by the engine; HLT, INIT, SIPI, suspension
 * and stopping by the room. docs/door.md has the states.
 *
 * A step says what comes next: run on, leave with vcpu->exit, or -errno.
 */
#include <errno.h>
#include <time.h>

#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"
#include "x86/cr.h"

enum { RUN_ON = 0, LEAVE = 1 };

#define NS_PER_S    1000000000ull
#define NS_PER_TICK 1000000ull /* of FreeBSD's clock, hz = 1000 */

static uint64_t host_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static void set_run_state(struct vmcpu *vcpu, enum vcpu_run_state state)
{
	__atomic_store_n(&vcpu->run_state, state, __ATOMIC_SEQ_CST);
}

static void set_mp_state(struct vmcpu *vcpu, enum mp_state state)
{
	__atomic_store_n(&vcpu->state.mp_state, (uint8_t)state,
			 __ATOMIC_SEQ_CST);
}

static void set_intr_enabled(struct vmcpu *vcpu, bool enabled)
{
	__atomic_store_n(&vcpu->intr_enabled, enabled, __ATOMIC_SEQ_CST);
}

/* The process has answered, or the exit wanted none. */
static void complete_exit(struct vmcpu *vcpu)
{
	if (!vcpu->exit_pending)
		return;
	vcpu->vm->engine->complete(vcpu, &vcpu->exit);
	vcpu->exit_pending = false;
}

/* An exit of the room's own: between two instructions. */
static int leave(struct vmcpu *vcpu, enum vm_exitcode code)
{
	complete_exit(vcpu);
	vcpu_state_fetch(vcpu);
	vcpu->exit = (struct vm_exit){
	    .exitcode = code,
	    .rip = vcpu->state.reg[VM_REG_GUEST_RIP],
	};
	return LEAVE;
}

/* SDM vol. 3, 8.4.2: the boot processor starts over, others wait for SIPI. */
static int serve_init(struct vmcpu *vcpu)
{
	complete_exit(vcpu);
	vcpu_state_fetch(vcpu);
	vcpu_state_reset(&vcpu->state, true);
	lapic_reset(vcpu->lapic, true);
	atomic_fetch_and(&vcpu->requests, ~(uint32_t)VCPU_REQ_NMI);
	set_mp_state(vcpu, vcpu->id == 0 ? MP_RUNNABLE : MP_WAIT_SIPI);
	return vcpu_state_store(vcpu);
}

/* SDM vol. 3, 8.4.3: real mode at vector * 4 KiB. */
static int serve_sipi(struct vmcpu *vcpu)
{
	uint8_t vector = atomic_load(&vcpu->sipi_vector);
	struct vcpu_state *state = &vcpu->state;

	if (state->mp_state != MP_WAIT_SIPI)
		return 0;
	vcpu_state_fetch(vcpu);
	state->reg[VM_REG_GUEST_CS] = (uint64_t)vector << 8;
	state->desc[VCPU_DESC(VM_REG_GUEST_CS)].base = (uint64_t)vector << 12;
	state->desc[VCPU_DESC(VM_REG_GUEST_CS)].limit = 0xffff;
	state->reg[VM_REG_GUEST_RIP] = 0;
	set_mp_state(vcpu, MP_RUNNABLE);
	return vcpu_state_store(vcpu);
}

/* In slices nobody sleeps: the caller does, when all are idle. */
static int leave_idle(struct vmcpu *vcpu)
{
	vcpu->idle = true;
	return leave(vcpu, VM_EXITCODE_REQIDLE);
}

/* Until one of the requests in mask is raised: RUN_ON, or LEAVE. */
static int sleep_for(struct vmcpu *vcpu, uint32_t mask)
{
	uint64_t start = host_ns();

	if (vcpu->no_wait)
		return (atomic_load(&vcpu->requests) & mask) == 0
			   ? leave_idle(vcpu)
			   : RUN_ON;

	pthread_mutex_lock(&vcpu->lock);
	set_run_state(vcpu, VCPU_SLEEPING);
	while ((atomic_load(&vcpu->requests) & mask) == 0)
		pthread_cond_wait(&vcpu->wake, &vcpu->lock);
	set_run_state(vcpu, VCPU_RUNNING);
	pthread_mutex_unlock(&vcpu->lock);
	vcpu->stats[VM_STAT_IDLE_TICKS] += (host_ns() - start) / NS_PER_TICK;
	return RUN_ON;
}

/* vm_suspend_cpu: one DEBUG exit, then sleep until vm_resume_cpu. */
static int serve_suspended(struct vmcpu *vcpu)
{
	bool told;

	pthread_mutex_lock(&vcpu->lock);
	if (!vcpu->suspended) {
		pthread_mutex_unlock(&vcpu->lock);
		return RUN_ON;
	}
	told = vcpu->suspend_told;
	vcpu->suspend_told = true;
	pthread_mutex_unlock(&vcpu->lock);
	if (!told)
		return leave(vcpu, VM_EXITCODE_DEBUG);
	if (sleep_for(vcpu, VCPU_REQ_ROOM) == LEAVE)
		return LEAVE;
	return -EAGAIN;
}

static bool take_request(struct vmcpu *vcpu, uint32_t bit)
{
	return (atomic_fetch_and(&vcpu->requests, ~bit) & bit) != 0;
}

static int serve_requests(struct vmcpu *vcpu)
{
	int how = atomic_load(&vcpu->vm->suspend_how);
	int error = 0;

	if (how != VM_SUSPEND_NONE) {
		leave(vcpu, VM_EXITCODE_SUSPENDED);
		vcpu->exit.u.suspended.how = (enum vm_suspend_how)how;
		return LEAVE;
	}
	if ((atomic_load(&vcpu->requests) & VCPU_REQ_ROOM) == 0 &&
	    !vcpu->suspended)
		return RUN_ON;
	take_request(vcpu, VCPU_REQ_SUSPEND);
	if (take_request(vcpu, VCPU_REQ_IDLE)) {
		vcpu->stats[VM_STAT_REQIDLE]++;
		return leave(vcpu, VM_EXITCODE_REQIDLE);
	}
	if (take_request(vcpu, VCPU_REQ_INIT))
		error = serve_init(vcpu);
	if (error == 0 && take_request(vcpu, VCPU_REQ_SIPI))
		error = serve_sipi(vcpu);
	if (error != 0)
		return error;
	take_request(vcpu, VCPU_REQ_DEBUG);
	return serve_suspended(vcpu);
}

/* -- HLT ------------------------------------------------------------------ */

/* Only a reset or an operator's NMI would ever move this vCPU again. */
static bool is_stuck(struct vmcpu *vcpu)
{
	if (vcpu->suspended)
		return false;
	switch (__atomic_load_n(&vcpu->state.mp_state, __ATOMIC_SEQ_CST)) {
	case MP_HALTED:
		if (__atomic_load_n(&vcpu->intr_enabled, __ATOMIC_SEQ_CST))
			return false;
		break;
	case MP_WAIT_SIPI:
		break;
	default:
		return false;
	}
	return (atomic_load(&vcpu->requests) &
		(VCPU_REQ_ROOM | VCPU_REQ_NMI)) == 0;
}

static bool all_stuck(struct vm *vm)
{
	for (unsigned i = 0; i < VM_MAXCPU; i++) {
		struct vmcpu *vcpu =
		    __atomic_load_n(&vm->vcpu[i], __ATOMIC_ACQUIRE);

		if (vcpu != NULL && vcpu->active && !is_stuck(vcpu))
			return false;
	}
	return true;
}

/*
 * Does something wait that ends HLT? Clears what it looked at, so that the
 * next request wakes, and gives INTR back when the engine has to look.
 */
static bool wakes_from_hlt(struct vmcpu *vcpu, uint32_t *ignored)
{
	uint32_t requests =
	    atomic_fetch_and(&vcpu->requests, ~(uint32_t)VCPU_REQ_INTR);

	if ((requests & VCPU_REQ_NMI & ~*ignored) != 0) {
		vcpu_state_fetch(vcpu);
		if (!vcpu->state.nmi_masked)
			return true;
		*ignored |=
		    VCPU_REQ_NMI; /* until IRET, so not before HLT ends */
	}
	if (!vcpu->intr_enabled || vcpu_intr_pending(vcpu) < 0)
		return false;
	atomic_fetch_or(&vcpu->requests, VCPU_REQ_INTR);
	return true;
}

static bool wants_hlt_exit(struct vmcpu *vcpu)
{
	if ((vcpu->capabilities & BIT(VM_CAP_HALT_EXIT)) == 0 || vcpu->hlt_told)
		return false;
	vcpu->hlt_told = true;
	return true;
}

static int run_halted(struct vmcpu *vcpu)
{
	uint32_t ignored = 0;

	for (;;) {
		if (wakes_from_hlt(vcpu, &ignored)) {
			set_mp_state(vcpu, MP_RUNNABLE);
			return RUN_ON;
		}
		if ((atomic_load(&vcpu->requests) & VCPU_REQ_ROOM) != 0)
			return -EAGAIN;
		if (wants_hlt_exit(vcpu)) {
			if (vcpu->exit.exitcode != VM_EXITCODE_HLT)
				leave(vcpu, VM_EXITCODE_HLT);
			return LEAVE;
		}
		if (all_stuck(vcpu->vm)) {
			vm_stop(vcpu->vm, VM_SUSPEND_HALT);
			return -EAGAIN;
		}
		if (sleep_for(vcpu,
			      (VCPU_REQ_ROOM | VCPU_REQ_INTR | VCPU_REQ_NMI) &
				  ~ignored) == LEAVE)
			return LEAVE;
	}
}

/* -- the loop -------------------------------------------------------------- */

static int run_engine(struct vmcpu *vcpu)
{
	int error = vcpu->vm->engine->run(vcpu, &vcpu->exit);

	vcpu->exit_pending = false;
	if (error != 0)
		return error;
	if (vcpu->exit.exitcode == VM_EXITCODE_BOGUS)
		return RUN_ON;
	vcpu->exit_pending = true;
	if (vcpu->exit.exitcode != VM_EXITCODE_HLT)
		return LEAVE;
	complete_exit(vcpu);
	vcpu->hlt_told = false;
	set_intr_enabled(vcpu, (vcpu->exit.u.hlt.rflags & RFLAGS_IF) != 0);
	set_mp_state(vcpu, MP_HALTED);
	return RUN_ON;
}

static int run_step(struct vmcpu *vcpu)
{
	int result = serve_requests(vcpu);

	if (result != RUN_ON)
		return result;
	if (vcpu->vm->engine->apic != NULL) /* the engine idles, too */
		return vcpu->no_wait && vcpu->vm->engine->apic->is_idle(vcpu)
			   ? leave_idle(vcpu)
			   : run_engine(vcpu);
	switch (vcpu->state.mp_state) {
	case MP_WAIT_SIPI:
		return sleep_for(vcpu, VCPU_REQ_ROOM);
	case MP_HALTED:
		result = run_halted(vcpu);
		if (result != RUN_ON)
			return result;
		break;
	default:
		break;
	}
	return run_engine(vcpu);
}

/* The run state becomes RUNNING, after threads that wait to freeze it. */
static int enter(struct vmcpu *vcpu)
{
	int error = 0;

	pthread_mutex_lock(&vcpu->lock);
	while (vcpu->run_state == VCPU_FROZEN ||
	       (vcpu->run_state == VCPU_IDLE && vcpu->freezers != 0))
		pthread_cond_wait(&vcpu->wake, &vcpu->lock);
	if (vcpu->run_state != VCPU_IDLE)
		error = -EBUSY;
	else if (!vcpu->active)
		error = -EINVAL;
	else
		set_run_state(vcpu, VCPU_RUNNING);
	pthread_mutex_unlock(&vcpu->lock);
	return error;
}

static void finish(struct vmcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->lock);
	set_run_state(vcpu, VCPU_IDLE);
	pthread_cond_broadcast(&vcpu->wake);
	pthread_mutex_unlock(&vcpu->lock);
}

int vcpu_run(struct vmcpu *vcpu, struct vm_exit *exit)
{
	uint64_t start;
	int result = enter(vcpu);

	if (result != 0)
		return result;
	start = host_ns();
	vcpu->failure.text[0] = '\0';
	if (vcpu->exit_pending && exit->exitcode == vcpu->exit.exitcode)
		vcpu->exit.u = exit->u;
	do
		result = run_step(vcpu);
	while (result == RUN_ON || result == -EAGAIN);
	vcpu->stats[VM_STAT_RUNTIME] += host_ns() - start;
	if (result == LEAVE) {
		vcpu->stats[VM_STAT_USERSPACE]++;
		*exit = vcpu->exit;
		result = 0;
	}
	finish(vcpu);
	return result;
}

int vcpu_run_slice(struct vmcpu *vcpu, struct vm_exit *exit, uint64_t ns,
		   bool *idle)
{
	int error;

	__atomic_store_n(&vcpu->no_wait, true, __ATOMIC_SEQ_CST);
	vcpu->idle = false;
	vm_timer_arm(&vcpu->slice, vm_clock_ns(&vcpu->vm->clock) + ns);
	error = vcpu_run(vcpu, exit);
	vm_timer_cancel(&vcpu->slice);
	*idle = vcpu->idle;
	return error;
}
