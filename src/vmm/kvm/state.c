// SPDX-License-Identifier: BSD-2-Clause
/* The vCPU's state between KVM's structures and struct vcpu_state. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vmm/irq.h"
#include "vmm/kvm/kvm.h"
#include "x86/cr.h"
#include "x86/exc.h"

#define DR6_BS 0x4000u

/* A failing ioctl here leaves the rest as it was; the first is told. */
static int call(struct kvm_cpu *c, unsigned long request, const char *name,
		void *arg, const char *remedy)
{
	if (ioctl(c->fd, request, arg) >= 0)
		return 0;
	return kvm_failed(&c->vcpu->failure, c->vcpu->vm->name, name, errno,
			  remedy);
}

#define KVM_CALL(c, request, arg)                                              \
	call(c, request, #request, arg, "use engine=soft")
/* KVM refuses what the CPU model has, and the state needs. */
#define KVM_GIVE(c, request, arg)                                              \
	call(c, request, #request, arg,                                        \
	     "try cpu.model=x86-64-v2 or engine=soft")

/* -- general registers ------------------------------------------------------
 */

static const struct {
	uint8_t reg;
	uint16_t offset;
} gprs[] = {
#define GPR(name, member)                                                      \
	{                                                                      \
		VM_REG_GUEST_##name, offsetof(struct kvm_regs, member)         \
	}
    GPR(RAX, rax), GPR(RBX, rbx),       GPR(RCX, rcx), GPR(RDX, rdx),
    GPR(RSI, rsi), GPR(RDI, rdi),       GPR(RBP, rbp), GPR(RSP, rsp),
    GPR(R8, r8),   GPR(R9, r9),         GPR(R10, r10), GPR(R11, r11),
    GPR(R12, r12), GPR(R13, r13),       GPR(R14, r14), GPR(R15, r15),
    GPR(RIP, rip), GPR(RFLAGS, rflags),
#undef GPR
};

static int get_regs(struct kvm_cpu *c, struct vcpu_state *state)
{
	struct kvm_regs regs;
	int error = KVM_CALL(c, KVM_GET_REGS, &regs);

	if (error != 0)
		return error;
	for (size_t i = 0; i < ARRAY_SIZE(gprs); i++)
		memcpy(&state->reg[gprs[i].reg], (char *)&regs + gprs[i].offset,
		       8);
	return 0;
}

static int set_regs(struct kvm_cpu *c, const struct vcpu_state *state)
{
	struct kvm_regs regs;

	for (size_t i = 0; i < ARRAY_SIZE(gprs); i++)
		memcpy((char *)&regs + gprs[i].offset, &state->reg[gprs[i].reg],
		       8);
	c->run->s.regs.regs = regs;
	return KVM_GIVE(c, KVM_SET_REGS, &regs);
}

/* -- segments, control registers --------------------------------------------
 */

static const struct {
	uint8_t reg;
	uint16_t offset;
} segments[] = {
#define SEGMENT(name, member)                                                  \
	{                                                                      \
		VM_REG_GUEST_##name, offsetof(struct kvm_sregs2, member)       \
	}
    SEGMENT(ES, es), SEGMENT(CS, cs), SEGMENT(SS, ss),    SEGMENT(DS, ds),
    SEGMENT(FS, fs), SEGMENT(GS, gs), SEGMENT(LDTR, ldt), SEGMENT(TR, tr),
#undef SEGMENT
};

static struct kvm_segment *segment_at(struct kvm_sregs2 *s, size_t i)
{
	return (struct kvm_segment *)(void *)((char *)s + segments[i].offset);
}

static uint32_t access_of(const struct kvm_segment *s)
{
	return (uint32_t)s->type | (s->s ? AR_S : 0) |
	       (uint32_t)s->dpl << AR_DPL_SHIFT | (s->present ? AR_P : 0) |
	       (s->avl ? AR_AVL : 0) | (s->l ? AR_L : 0) | (s->db ? AR_DB : 0) |
	       (s->g ? AR_G : 0) | (s->unusable ? AR_UNUSABLE : 0);
}

static struct kvm_segment to_segment(const struct seg_desc *d,
				     uint64_t selector)
{
	return (struct kvm_segment){
	    .base = d->base,
	    .limit = d->limit,
	    .selector = (uint16_t)selector,
	    .type = d->access & AR_TYPE,
	    .s = (d->access & AR_S) != 0,
	    .dpl = (d->access >> AR_DPL_SHIFT) & 3,
	    .present = (d->access & AR_P) != 0,
	    .avl = (d->access & AR_AVL) != 0,
	    .l = (d->access & AR_L) != 0,
	    .db = (d->access & AR_DB) != 0,
	    .g = (d->access & AR_G) != 0,
	    .unusable =
		(d->access & AR_UNUSABLE) != 0 || (d->access & AR_P) == 0,
	};
}

static void get_segments(struct kvm_sregs2 *s, struct vcpu_state *state)
{
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++) {
		const struct kvm_segment *from = segment_at(s, i);

		state->reg[segments[i].reg] = from->selector;
		state->desc[VCPU_DESC(segments[i].reg)] =
		    (struct seg_desc){from->base, from->limit, access_of(from)};
	}
	state->desc[VCPU_DESC(VM_REG_GUEST_GDTR)] =
	    (struct seg_desc){s->gdt.base, s->gdt.limit, 0};
	state->desc[VCPU_DESC(VM_REG_GUEST_IDTR)] =
	    (struct seg_desc){s->idt.base, s->idt.limit, 0};
	state->reg[VM_REG_GUEST_FS_BASE] = s->fs.base;
	state->reg[VM_REG_GUEST_GS_BASE] = s->gs.base;
}

static int get_sregs(struct kvm_cpu *c, struct vcpu_state *state)
{
	struct kvm_sregs2 s;
	int error = KVM_CALL(c, KVM_GET_SREGS2, &s);

	if (error != 0)
		return error;
	get_segments(&s, state);
	state->reg[VM_REG_GUEST_CR0] = s.cr0;
	state->reg[VM_REG_GUEST_CR2] = s.cr2;
	state->reg[VM_REG_GUEST_CR3] = s.cr3;
	state->reg[VM_REG_GUEST_CR4] = s.cr4;
	state->reg[VM_REG_GUEST_EFER] = s.efer;
	state->reg[VM_REG_GUEST_TPR] = s.cr8;
	if (s.flags & KVM_SREGS2_FLAGS_PDPTRS_VALID)
		for (int i = 0; i < 4; i++)
			state->reg[VM_REG_GUEST_PDPTE0 + i] = s.pdptrs[i];
	return 0;
}

static bool pae_paging(const struct kvm_sregs2 *s)
{
	return (s->cr0 & CR0_PG) != 0 && (s->cr4 & CR4_PAE) != 0 &&
	       (s->efer & EFER_LMA) == 0;
}

/* EFER, CR0, CR4 and the segments must fit each other: -EINVAL if not. */
static int set_sregs(struct kvm_cpu *c, const struct vcpu_state *state)
{
	const uint64_t *reg = state->reg;
	struct kvm_sregs2 s;
	/* APIC_BASE is not in the state and stays as KVM has it. */
	int error = KVM_CALL(c, KVM_GET_SREGS2, &s);

	if (error != 0)
		return error;
	for (size_t i = 0; i < ARRAY_SIZE(segments); i++)
		*segment_at(&s, i) =
		    to_segment(&state->desc[VCPU_DESC(segments[i].reg)],
			       reg[segments[i].reg]);
	s.gdt.base = state->desc[VCPU_DESC(VM_REG_GUEST_GDTR)].base;
	s.gdt.limit = (uint16_t)state->desc[VCPU_DESC(VM_REG_GUEST_GDTR)].limit;
	s.idt.base = state->desc[VCPU_DESC(VM_REG_GUEST_IDTR)].base;
	s.idt.limit = (uint16_t)state->desc[VCPU_DESC(VM_REG_GUEST_IDTR)].limit;
	s.cr0 = reg[VM_REG_GUEST_CR0];
	s.cr2 = reg[VM_REG_GUEST_CR2];
	s.cr3 = reg[VM_REG_GUEST_CR3];
	s.cr4 = reg[VM_REG_GUEST_CR4];
	s.cr8 = reg[VM_REG_GUEST_TPR] & 0xf;
	s.efer = reg[VM_REG_GUEST_EFER];
	s.flags = 0;
	if (state->exception_pending && state->exception_vector == X86_PF)
		s.cr2 = state->exception_payload;
	if (pae_paging(&s)) {
		s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
		for (int i = 0; i < 4; i++)
			s.pdptrs[i] = reg[VM_REG_GUEST_PDPTE0 + i];
	}
	return KVM_GIVE(c, KVM_SET_SREGS2, &s);
}

/* -- debug registers, vector state ------------------------------------------
 */

static int get_debugregs(struct kvm_cpu *c, struct vcpu_state *state)
{
	struct kvm_debugregs d = {0};
	int error = KVM_CALL(c, KVM_GET_DEBUGREGS, &d);

	if (error != 0)
		return error;
	for (int i = 0; i < 4; i++)
		state->reg[VM_REG_GUEST_DR0 + i] = d.db[i];
	state->reg[VM_REG_GUEST_DR6] = d.dr6;
	state->reg[VM_REG_GUEST_DR7] = d.dr7;
	return 0;
}

static int set_debugregs(struct kvm_cpu *c, const struct vcpu_state *state)
{
	struct kvm_debugregs d = {
	    .dr6 = (uint32_t)state->reg[VM_REG_GUEST_DR6],
	    .dr7 = (uint32_t)state->reg[VM_REG_GUEST_DR7],
	};

	for (int i = 0; i < 4; i++)
		d.db[i] = state->reg[VM_REG_GUEST_DR0 + i];
	if (state->exception_pending && state->exception_vector == X86_DB)
		d.dr6 = (d.dr6 & ~0xfull) | state->exception_payload;
	return KVM_GIVE(c, KVM_SET_DEBUGREGS, &d);
}

static int get_vector_state(struct kvm_cpu *c, struct vcpu_state *state)
{
	struct kvm_xsave area;
	struct kvm_xcrs xcrs = {0};
	int error = KVM_CALL(c, KVM_GET_XSAVE, &area);

	_Static_assert(sizeof(area) == VCPU_XSAVE_SIZE, "one page each");
	if (error != 0)
		return error;
	memcpy(state->xsave, &area, VCPU_XSAVE_SIZE);
	if (!c->has_xcr0)
		return 0;
	error = KVM_CALL(c, KVM_GET_XCRS, &xcrs);
	if (error == 0 && xcrs.nr_xcrs != 0)
		state->xcr0 = xcrs.xcrs[0].value;
	return error;
}

static int set_vector_state(struct kvm_cpu *c, const struct vcpu_state *state)
{
	struct kvm_xsave area;
	struct kvm_xcrs xcrs = {.nr_xcrs = 1};
	int error;

	memcpy(&area, state->xsave, VCPU_XSAVE_SIZE);
	error = KVM_GIVE(c, KVM_SET_XSAVE, &area);
	if (error != 0 || !c->has_xcr0)
		return error;
	xcrs.xcrs[0].value = state->xcr0;
	return KVM_GIVE(c, KVM_SET_XCRS, &xcrs);
}

/* -- events -----------------------------------------------------------------
 */

/*
 * An interrupt that was accepted but not delivered has no place in the state:
 * it is kept beside it, and goes back to where it came from when the engine
 * ends (irqchip.c). One from INTn runs INTn again.
 */
static void note_interrupt(struct kvm_cpu *c, const struct kvm_vcpu_events *e)
{
	c->accepted.injected = e->interrupt.injected;
	c->accepted.nr = e->interrupt.nr;
	c->accepted.soft = e->interrupt.soft;
}

int kvm_note_accepted(struct kvm_cpu *c)
{
	struct kvm_vcpu_events e = {0};
	int error = KVM_CALL(c, KVM_GET_VCPU_EVENTS, &e);

	if (error == 0)
		note_interrupt(c, &e);
	return error;
}

static int get_events(struct kvm_cpu *c, struct vcpu_state *state)
{
	struct kvm_vcpu_events e = {0};
	int error = KVM_CALL(c, KVM_GET_VCPU_EVENTS, &e);

	if (error != 0)
		return error;
	note_interrupt(c, &e);
	state->exception_pending = e.exception.injected != 0;
	state->exception_vector =
	    e.exception.injected ? e.exception.nr & 31 : 0;
	state->exception_has_error =
	    e.exception.injected && e.exception.has_error_code;
	state->exception_error =
	    state->exception_has_error ? e.exception.error_code : 0;
	state->exception_is_soft = 0;
	/* KVM has it in CR2 and DR6 already */
	state->exception_payload = 0;
	if (state->exception_vector == X86_PF)
		state->exception_payload = state->reg[VM_REG_GUEST_CR2];
	else if (state->exception_vector == X86_DB)
		state->exception_payload =
		    state->reg[VM_REG_GUEST_DR6] & (0xf | DR6_BS);
	state->reg[VM_REG_GUEST_INTR_SHADOW] = e.interrupt.shadow != 0;
	state->nmi_pending =
	    e.nmi.pending != 0 || e.nmi.injected != 0 ||
	    (atomic_load(&c->vcpu->requests) & VCPU_REQ_NMI) != 0;
	state->nmi_masked = e.nmi.masked != 0 && !e.nmi.injected;
	return 0;
}

static int set_events(struct kvm_cpu *c, const struct vcpu_state *state)
{
	struct kvm_vcpu_events e = {
	    .exception.injected = state->exception_pending,
	    .exception.nr = state->exception_vector,
	    .exception.has_error_code = state->exception_has_error,
	    .exception.error_code = state->exception_error,
	    .interrupt.injected = c->accepted.injected && !c->accepted.soft,
	    .interrupt.nr = c->accepted.nr,
	    .nmi.masked = state->nmi_masked,
	    .flags =
		KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW,
	};

	if (state->reg[VM_REG_GUEST_INTR_SHADOW] & 1)
		e.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	if (state->nmi_pending)
		atomic_fetch_or(&c->vcpu->requests, VCPU_REQ_NMI);
	return KVM_GIVE(c, KVM_SET_VCPU_EVENTS, &e);
}

/* -- HLT, INIT --------------------------------------------------------------
 */

static int get_mp_state(struct kvm_cpu *c, struct vcpu_state *state)
{
	struct kvm_mp_state mp;
	int error = KVM_CALL(c, KVM_GET_MP_STATE, &mp);
	enum mp_state is = MP_RUNNABLE;

	if (error != 0)
		return error;
	if (mp.mp_state == KVM_MP_STATE_HALTED)
		is = MP_HALTED;
	else if (mp.mp_state == KVM_MP_STATE_UNINITIALIZED ||
		 mp.mp_state == KVM_MP_STATE_INIT_RECEIVED)
		is = MP_WAIT_SIPI;
	state->mp_state = (uint8_t)is;
	return 0;
}

/* An AP waits for SIPI from the start, as after a BIOS' INIT. */
static int set_mp_state(struct kvm_cpu *c, const struct vcpu_state *state)
{
	struct kvm_mp_state mp = {.mp_state = KVM_MP_STATE_RUNNABLE};

	if (state->mp_state == MP_HALTED)
		mp.mp_state = KVM_MP_STATE_HALTED;
	else if (state->mp_state == MP_WAIT_SIPI)
		mp.mp_state = KVM_MP_STATE_INIT_RECEIVED;
	return KVM_GIVE(c, KVM_SET_MP_STATE, &mp);
}

/* -- all of it --------------------------------------------------------------
 */

/*
 * What the room served of the last exit is brought to its end first; a write
 * to one of its devices that comes up by this is done, too.
 */
static void finish_instruction(struct kvm_cpu *c)
{
	struct vm_exit unused = {0};

	for (int i = 0; i < 16; i++) {
		if (c->pending != KVM_PENDING_NONE)
			return;
		if (c->unserved) {
			if (!kvm_exit_is_room_write(c))
				return;
			c->unserved = false;
			kvm_serve_exit(c, &unused);
		}
		if (!c->unfinished)
			return;
		kvm_finish(c);
	}
}

void kvm_state_get(struct vmcpu *vcpu, struct vcpu_state *state)
{
	struct kvm_cpu *c = vcpu->engine_data;

	finish_instruction(c);
	state->tsc_adjust = vcpu->state.tsc_adjust;
	if (get_regs(c, state) != 0 || get_sregs(c, state) != 0 ||
	    get_debugregs(c, state) != 0 || get_vector_state(c, state) != 0 ||
	    get_events(c, state) != 0 || get_mp_state(c, state) != 0)
		return;
	kvm_msrs_get(c, state);
}

/* CR0.PG without PE and the like can run nowhere. */
static bool is_consistent(const struct vcpu_state *state)
{
	uint64_t cr0 = state->reg[VM_REG_GUEST_CR0];
	uint64_t efer = state->reg[VM_REG_GUEST_EFER];

	if ((cr0 & CR0_PG) && !(cr0 & CR0_PE))
		return false;
	return !(efer & EFER_LMA) || (cr0 & CR0_PG);
}

/* SET_REGS forgets exceptions and SET_SREGS resets much: in this order. */
int kvm_state_set(struct vmcpu *vcpu, const struct vcpu_state *state)
{
	struct kvm_cpu *c = vcpu->engine_data;
	int error;

	if (!is_consistent(state))
		return err_set(&vcpu->failure, EINVAL,
			       "vCPU %u: CR0 and EFER say that it can run "
			       "nowhere",
			       vcpu->id);
	finish_instruction(c);
	c->ready_is_stale = true;
	error = set_sregs(c, state);
	if (error == 0)
		error = set_regs(c, state);
	if (error == 0)
		error = set_vector_state(c, state);
	if (error == 0)
		error = kvm_msrs_set(c, state);
	if (error == 0)
		error = set_debugregs(c, state);
	if (error == 0)
		error = set_events(c, state);
	if (error == 0)
		error = set_mp_state(c, state);
	return error;
}
