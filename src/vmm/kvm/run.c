// SPDX-License-Identifier: BSD-2-Clause
/*
 * Running a vCPU: events in, KVM_RUN, exits out; and how other threads get a
 * vCPU out of KVM_RUN.
 *
 * A kick sets immediate_exit, which KVM_RUN looks at when it is entered, and
 * sends a signal when the thread is inside. That signal is blocked but in
 * KVM_RUN, where it ends the ioctl; it is taken from the queue afterwards, so
 * that no handler is needed and no other code ever sees it.
 */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"

#define KICK_SIGNAL (SIGRTMAX - 1)

/* This thread was found to keep the signal blocked by itself. */
static _Thread_local bool thread_blocks_kick;

/* -- signals ----------------------------------------------------------------
 */

static void kick_set(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, KICK_SIGNAL);
}

/*
 * In KVM_RUN the thread's own mask is valid, but for the kick. Of a sigset_t
 * the C library fills the 8 bytes that the kernel has, and leaves the rest.
 */
static int tell_mask(struct kvm_cpu *c, const sigset_t *mask)
{
	struct {
		struct kvm_signal_mask head;
		uint64_t set;
	} arg = {.head.len = sizeof(arg.set)};
	sigset_t inside = *mask;
	uint64_t wanted;

	sigdelset(&inside, KICK_SIGNAL);
	memcpy(&wanted, &inside, sizeof(wanted));
	if (c->mask_is_set && c->mask == wanted)
		return 0;
	memcpy(arg.head.sigset, &wanted, sizeof(wanted));
	if (ioctl(c->fd, KVM_SET_SIGNAL_MASK, &arg) != 0)
		return kvm_failed(&c->vcpu->failure, c->vcpu->vm->name,
				  "KVM_SET_SIGNAL_MASK", errno,
				  "use engine=soft");
	c->mask = wanted;
	c->mask_is_set = true;
	return 0;
}

/*
 * Any thread may run any vCPU. One that blocks the kick anyway, as bhyve's do,
 * is only asked once; from others it is kept while they are here.
 */
static int take_thread(struct kvm_cpu *c, sigset_t *before, bool *restore)
{
	sigset_t kick;

	*restore = false;
	if (likely(thread_blocks_kick && c->thread_is_known &&
		   pthread_equal(c->thread, pthread_self())))
		return 0;
	kick_set(&kick);
	pthread_sigmask(SIG_BLOCK, &kick, before);
	__atomic_store_n(&c->thread, pthread_self(), __ATOMIC_RELAXED);
	c->thread_is_known = true;
	thread_blocks_kick = sigismember(before, KICK_SIGNAL) == 1;
	*restore = !thread_blocks_kick;
	return tell_mask(c, before);
}

static void give_thread_back(const sigset_t *before, bool restore)
{
	if (restore)
		pthread_sigmask(SIG_SETMASK, before, NULL);
}

void kvm_kick(struct vmcpu *vcpu)
{
	struct kvm_cpu *c = vcpu->engine_data;
	int inside = KVM_INSIDE;

	if (c == NULL)
		return;
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (atomic_compare_exchange_strong(&c->where, &inside, KVM_KICKED))
		pthread_kill(__atomic_load_n(&c->thread, __ATOMIC_RELAXED),
			     KICK_SIGNAL);
}

/* The signal may still be on its way: whoever kicks has said so. */
static void take_kick(void)
{
	sigset_t kick;

	kick_set(&kick);
	while (sigwaitinfo(&kick, NULL) < 0 && errno == EINTR)
		;
}

/* -- KVM_RUN ----------------------------------------------------------------
 */

static bool ends_at_next_run(const struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
	case KVM_EXIT_MMIO:
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		return true;
	default:
		return false;
	}
}

/* 0 with c->unserved when there is an exit, or -errno. */
static int call_run(struct kvm_cpu *c)
{
	int error = ioctl(c->fd, KVM_RUN, 0) == 0 ? 0 : -errno;

	c->ready_is_stale = false;
	c->unfinished = false;
	/* EAGAIN: it was woken from waiting for SIPI, perhaps to begin */
	if (error == -EINTR || error == -EAGAIN)
		return 0;
	if (error != 0)
		return kvm_failed(&c->vcpu->failure, c->vcpu->vm->name,
				  "KVM_RUN", -error,
				  "see the kernel's log, or use engine=soft");
	c->unfinished = ends_at_next_run(c->run);
	c->unserved = true;
	c->piece = 0;
	return 0;
}

static int enter_guest(struct kvm_cpu *c)
{
	int error;

	atomic_store(&c->where, KVM_INSIDE);
	error = call_run(c);
	if (unlikely(atomic_exchange(&c->where, KVM_OUTSIDE) == KVM_KICKED))
		take_kick();
	c->vcpu->stats[VM_STAT_EXITS]++;
	if (c->unserved)
		__atomic_store_n(&c->exits, c->exits + 1, __ATOMIC_RELAXED);
	return error;
}

int kvm_finish(struct kvm_cpu *c)
{
	__atomic_store_n(&c->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	return call_run(c);
}

/*
 * KVM_RUN with a signal that waits comes back before the guest, but, unlike
 * one with immediate_exit, looks at the timer. Any thread, vCPU frozen.
 */
void kvm_flush_timer(struct kvm_cpu *c)
{
	sigset_t before;
	bool restore;

	if (c->unfinished || c->unserved ||
	    take_thread(c, &before, &restore) != 0)
		return;
	pthread_kill(pthread_self(), KICK_SIGNAL);
	__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	call_run(c);
	take_kick();
	give_thread_back(&before, restore);
}

/* -- events -----------------------------------------------------------------
 */

static int inject_nmi(struct kvm_cpu *c)
{
	if ((atomic_fetch_and(&c->vcpu->requests, ~(uint32_t)VCPU_REQ_NMI) &
	     VCPU_REQ_NMI) == 0)
		return 0;
	c->vcpu->stats[VM_STAT_NMI]++;
	if (ioctl(c->fd, KVM_NMI) == 0)
		return 0;
	return kvm_failed(&c->vcpu->failure, c->vcpu->vm->name, "KVM_NMI",
			  errno, "use engine=soft");
}

/*
 * The PIC's vector goes in when the guest can take it at once; until then KVM
 * is asked to come back when it can. An instruction that is not at its end may
 * fault yet, and comes first.
 */
static int inject_interrupt(struct kvm_cpu *c)
{
	struct kvm_interrupt interrupt;
	int vector, error;

	if (likely(extint_pending(c->vcpu->vm) < 0)) {
		c->run->request_interrupt_window = 0;
		return 0;
	}
	if (c->unfinished && c->run->ready_for_interrupt_injection) {
		error = kvm_finish(c);
		if (error != 0 || c->unserved)
			return error;
		__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	}
	c->run->request_interrupt_window = 1;
	if (c->ready_is_stale || !c->run->ready_for_interrupt_injection)
		return 0;
	vector = extint_accept(c->vcpu);
	if (vector < 0)
		return 0;
	interrupt.irq = (uint32_t)vector;
	if (ioctl(c->fd, KVM_INTERRUPT, &interrupt) != 0)
		return kvm_failed(&c->vcpu->failure, c->vcpu->vm->name,
				  "KVM_INTERRUPT", errno, "use engine=soft");
	c->vcpu->stats[VM_STAT_INTERRUPTS]++;
	c->run->request_interrupt_window = extint_pending(c->vcpu->vm) >= 0;
	return 0;
}

static int serve_engine(struct kvm_cpu *c)
{
	atomic_fetch_and(&c->vcpu->requests, ~(uint32_t)VCPU_REQ_ENGINE);
	kvm_idle_answer(c);
	return kvm_serve_local_irqs(c);
}

/*
 * immediate_exit is cleared before the requests are read: a request that is
 * raised later sets it again.
 */
static int serve_events(struct kvm_cpu *c)
{
	uint32_t requests;
	int error = 0;

	__atomic_store_n(&c->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	requests = atomic_load(&c->vcpu->requests);
	if (requests & VCPU_REQ_ROOM)
		return KVM_LEAVE;
	if (requests & VCPU_REQ_INTR)
		atomic_fetch_and(&c->vcpu->requests, ~(uint32_t)VCPU_REQ_INTR);
	if (requests & VCPU_REQ_ENGINE)
		error = serve_engine(c);
	if (error == 0 && (requests & VCPU_REQ_NMI))
		error = inject_nmi(c);
	return error != 0 ? error : inject_interrupt(c);
}

/* -- running ----------------------------------------------------------------
 */

/* KVM does not trap after what it left to us; the rest of it does. */
static int trap_after_exit(struct kvm_cpu *c, struct vm_exit *exit)
{
	int error = kvm_finish(c);

	if (error != 0 || c->unserved)
		return error;
	c->vcpu->stats[VM_STAT_MTRAP]++;
	exit->exitcode = VM_EXITCODE_MTRAP;
	exit->rip = c->run->s.regs.regs.rip;
	return KVM_LEAVE;
}

static int run_once(struct kvm_cpu *c, struct vm_exit *exit)
{
	int step;

	if (unlikely(c->cap_mtrap) && c->unfinished && !c->unserved) {
		step = trap_after_exit(c, exit);
		if (step != KVM_GO_ON)
			return step;
	}
	if (!c->unserved) {
		step = serve_events(c);
		if (step == KVM_GO_ON && !c->unserved)
			step = enter_guest(c);
		if (step != KVM_GO_ON)
			return step;
	}
	if (!c->unserved)
		return KVM_GO_ON;
	c->unserved = false;
	return kvm_serve_exit(c, exit);
}

int kvm_run_vcpu(struct vmcpu *vcpu, struct vm_exit *exit)
{
	struct kvm_cpu *c = vcpu->engine_data;
	bool restore;
	sigset_t before;
	int step;

	kvm_take_answer(c, exit);
	*exit = (struct vm_exit){.exitcode = VM_EXITCODE_BOGUS};
	step = take_thread(c, &before, &restore);
	if (step == KVM_GO_ON)
		step = kvm_tsc_update(c);
	while (step == KVM_GO_ON)
		step = run_once(c, exit);
	give_thread_back(&before, restore);
	if (exit->exitcode == VM_EXITCODE_BOGUS)
		exit->rip = c->run->s.regs.regs.rip;
	return step < 0 ? step : 0;
}

void kvm_complete(struct vmcpu *vcpu, struct vm_exit *exit)
{
	struct kvm_cpu *c = vcpu->engine_data;

	kvm_take_answer(c, exit);
	if (!c->unserved && c->unfinished)
		kvm_finish(c);
}

/* More accesses than one instruction makes outside. */
#define MAX_ACCESSES 64

/*
 * KVM cannot be told to forget an instruction: it is brought to its end with
 * whatever it finds, and the registers are put back. RCX is 1, so that a
 * repeated one ends.
 */
void kvm_restart_instruction(struct vmcpu *vcpu)
{
	struct kvm_cpu *c = vcpu->engine_data;
	struct kvm_regs before = c->run->s.regs.regs, last = before;
	struct kvm_vcpu_events events;

	c->pending = KVM_PENDING_NONE;
	c->unserved = false;
	if (!c->unfinished || ioctl(c->fd, KVM_GET_VCPU_EVENTS, &events) != 0)
		return;
	last.rcx = 1;
	ioctl(c->fd, KVM_SET_REGS, &last);
	for (int i = 0; i < MAX_ACCESSES && c->unfinished; i++)
		kvm_finish(c);
	c->unserved = false;
	c->ready_is_stale = true;
	c->run->s.regs.regs = before;
	ioctl(c->fd, KVM_SET_REGS, &before);
	ioctl(c->fd, KVM_SET_VCPU_EVENTS, &events);
}

int kvm_debug_update(struct kvm_cpu *c)
{
	struct kvm_guest_debug debug = {0};

	if (c->cap_mtrap)
		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP;
	if (c->cap_bpt)
		debug.control |= KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP;
	return ioctl(c->fd, KVM_SET_GUEST_DEBUG, &debug) == 0 ? 0 : -errno;
}
