// SPDX-License-Identifier: BSD-2-Clause
#include "fake_engine.h"

#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "vmm/cpuid.h"
#include "vmm/irq.h"
#include "vmm/vm.h"
#include "x86/cr.h"

struct fake_counts fake_counts;

struct fake_cpu {
	struct vcpu_state state;
	bool pending; /* an exit waits to be completed */
};

static int fake_vm_create(struct vm *vm, struct err *err)
{
	return 0;
}

static void fake_vm_destroy(struct vm *vm)
{
}

static int fake_vcpu_create(struct vmcpu *vcpu, struct err *err)
{
	vcpu->engine_data = calloc(1, sizeof(struct fake_cpu));
	return vcpu->engine_data == NULL ? -ENOMEM : 0;
}

static void fake_vcpu_destroy(struct vmcpu *vcpu)
{
	free(vcpu->engine_data);
}

static uint64_t *reg(struct fake_cpu *cpu, int which)
{
	return &cpu->state.reg[which];
}

static void set_al(struct fake_cpu *cpu, uint8_t value)
{
	uint64_t *rax = reg(cpu, VM_REG_GUEST_RAX);

	*rax = (*rax & ~0xffull) | value;
}

static void fake_complete(struct vmcpu *vcpu, struct vm_exit *exit)
{
	struct fake_cpu *cpu = vcpu->engine_data;

	if (!cpu->pending)
		return;
	cpu->pending = false;
	fake_counts.completed++;
	if (exit->exitcode == VM_EXITCODE_INOUT && exit->u.inout.in)
		set_al(cpu, (uint8_t)exit->u.inout.eax);
	if (exit->exitcode == VM_EXITCODE_INST_EMUL && !exit->u.inst_emul.write)
		set_al(cpu, (uint8_t)exit->u.inst_emul.data);
	*reg(cpu, VM_REG_GUEST_RIP) += (unsigned)exit->inst_length;
}

static void fake_restart(struct vmcpu *vcpu)
{
	((struct fake_cpu *)vcpu->engine_data)->pending = false;
}

/* Fills *exit; length is the instruction's. */
static bool leave(struct fake_cpu *cpu, struct vm_exit *exit,
		  enum vm_exitcode code, int length)
{
	exit->exitcode = code;
	exit->rip = *reg(cpu, VM_REG_GUEST_RIP);
	exit->inst_length = length;
	cpu->pending = true;
	return true;
}

static bool port(struct fake_cpu *cpu, struct vm_exit *exit, uint16_t number,
		 bool in, int length)
{
	*exit = (struct vm_exit){0};
	exit->u.inout = (struct vm_inout){
	    .port = number,
	    .bytes = 1,
	    .in = in,
	    .eax = in ? 0 : (uint8_t)*reg(cpu, VM_REG_GUEST_RAX),
	};
	return leave(cpu, exit, VM_EXITCODE_INOUT, length);
}

static bool mmio(struct fake_cpu *cpu, struct vm_exit *exit, uint16_t offset,
		 bool write)
{
	*exit = (struct vm_exit){0};
	exit->u.inst_emul = (struct vm_inst_emul){
	    .gpa = FAKE_MMIO + offset,
	    .gla = FAKE_MMIO + offset,
	    .bytes = 1,
	    .write = write,
	    .data = write ? (uint8_t)*reg(cpu, VM_REG_GUEST_RAX) : 0,
	};
	return leave(cpu, exit, VM_EXITCODE_INST_EMUL, 3);
}

/* One instruction; true: leaves with *exit. */
static bool step(struct vmcpu *vcpu, struct fake_cpu *cpu, struct vm_exit *exit)
{
	uint64_t *rip = reg(cpu, VM_REG_GUEST_RIP);
	uint64_t *flags = reg(cpu, VM_REG_GUEST_RFLAGS);
	uint64_t base = cpu->state.desc[VCPU_DESC(VM_REG_GUEST_CS)].base;
	const uint8_t *code = mem_hva(&vcpu->vm->mem, base + *rip, 4);

	if (code == NULL) {
		vm_stop(vcpu->vm, VM_SUSPEND_TRIPLEFAULT);
		return false;
	}
	switch (code[0]) {
	case 0x90:
		*rip += 1;
		return false;
	case 0xfa:
		*flags &= ~(uint64_t)RFLAGS_IF;
		*rip += 1;
		return false;
	case 0xfb:
		*flags |= RFLAGS_IF;
		*rip += 1;
		return false;
	case 0xf4:
		*exit = (struct vm_exit){.u.hlt.rflags = *flags};
		return leave(cpu, exit, VM_EXITCODE_HLT, 1);
	case 0xb0:
		set_al(cpu, code[1]);
		*rip += 2;
		return false;
	case 0xba:
		*reg(cpu, VM_REG_GUEST_RDX) = load_le16(code + 1);
		*rip += 3;
		return false;
	case 0xe4:
	case 0xe6:
		return port(cpu, exit, code[1], code[0] == 0xe4, 2);
	case 0xec:
	case 0xee:
		return port(cpu, exit, (uint16_t)*reg(cpu, VM_REG_GUEST_RDX),
			    code[0] == 0xec, 1);
	case 0xeb:
		*rip = (uint16_t)(*rip + 2 + (uint64_t)(int8_t)code[1]);
		return false;
	case 0xa0:
	case 0xa2:
		return mmio(cpu, exit, load_le16(code + 1), code[0] == 0xa2);
	default:
		vm_stop(vcpu->vm, VM_SUSPEND_TRIPLEFAULT);
		return false;
	}
}

static void deliver(struct vmcpu *vcpu, struct fake_cpu *cpu)
{
	int vector;

	if ((atomic_fetch_and(&vcpu->requests, ~(uint32_t)VCPU_REQ_NMI) &
	     VCPU_REQ_NMI) != 0) {
		vcpu->stats[VM_STAT_NMI]++;
		*reg(cpu, VM_REG_GUEST_R9) += 1;
	}
	if ((*reg(cpu, VM_REG_GUEST_RFLAGS) & RFLAGS_IF) == 0 ||
	    vcpu_intr_pending(vcpu) < 0)
		return;
	vector = vcpu_intr_accept(vcpu);
	if (vector < 0)
		return;
	*reg(cpu, VM_REG_GUEST_RBX) += 1;
	*reg(cpu, VM_REG_GUEST_R8) = (uint64_t)vector;
}

static int fake_run(struct vmcpu *vcpu, struct vm_exit *exit)
{
	struct fake_cpu *cpu = vcpu->engine_data;

	fake_complete(vcpu, exit);
	for (;;) {
		if ((atomic_load(&vcpu->requests) & VCPU_REQ_ROOM) != 0) {
			*exit = (struct vm_exit){
			    .exitcode = VM_EXITCODE_BOGUS,
			};
			return 0;
		}
		deliver(vcpu, cpu);
		vcpu->stats[VM_STAT_INSTRUCTIONS]++;
		if (step(vcpu, cpu, exit))
			return 0;
	}
}

static void fake_state_get(struct vmcpu *vcpu, struct vcpu_state *state)
{
	uint64_t tsc_offset = state->tsc_offset;
	uint8_t mp_state = state->mp_state;

	*state = ((struct fake_cpu *)vcpu->engine_data)->state;
	state->tsc_offset = tsc_offset;
	state->mp_state = mp_state;
}

/* CR0 with paging but without protection is what it refuses. */
static int fake_state_set(struct vmcpu *vcpu, const struct vcpu_state *state)
{
	uint64_t cr0 = state->reg[VM_REG_GUEST_CR0];

	if ((cr0 & CR0_PG) != 0 && (cr0 & CR0_PE) == 0)
		return -EINVAL;
	((struct fake_cpu *)vcpu->engine_data)->state = *state;
	return 0;
}

static void fake_kick(struct vmcpu *vcpu)
{
}

static void fake_code_written(struct vm *vm, uint64_t gpa, uint64_t len)
{
	fake_counts.code_written++;
}

static int fake_capability_get(struct vmcpu *vcpu, enum vm_cap_type cap,
			       int *value)
{
	return -ENOENT;
}

static int fake_capability_set(struct vmcpu *vcpu, enum vm_cap_type cap,
			       int value)
{
	return -ENOENT;
}

const struct engine_ops soft_engine_ops = {
    .name = "fake",
    .vm_create = fake_vm_create,
    .vm_destroy = fake_vm_destroy,
    .vcpu_create = fake_vcpu_create,
    .vcpu_destroy = fake_vcpu_destroy,
    .run = fake_run,
    .complete = fake_complete,
    .restart_instruction = fake_restart,
    .state_get = fake_state_get,
    .state_set = fake_state_set,
    .kick = fake_kick,
    .code_written = fake_code_written,
    .capability_get = fake_capability_get,
    .capability_set = fake_capability_set,
};

static int fake_unusable(const char *cache_dir, bool for_auto, uint64_t *speed,
			 struct err *why)
{
	return err_set(why, ENODEV, "no KVM in this test");
}

const struct engine_ops kvm_engine_ops = {
    .name = "kvm",
    .usable = fake_unusable,
};

/* Nobody looks into the model. */
int cpu_model_create(const char *model, const char *features, uint64_t tsc_hz,
		     struct cpu_model **out, struct err *err)
{
	*out = malloc(1);
	return *out == NULL ? -ENOMEM : 0;
}

bool cpu_model_is_common(const struct cpu_model *model)
{
	return false;
}

void cpu_model_get(const struct cpu_model *model,
		   uint64_t words[CPU_FEATURE_WORDS])
{
	words[0] = 2;
}

int cpu_model_hold(struct cpu_model *model, const char *who,
		   const uint64_t words[CPU_FEATURE_WORDS], struct err *err)
{
	return 0;
}

void cpu_model_destroy(struct cpu_model *model)
{
	free(model);
}

bool cpu_model_has(const struct cpu_model *model, unsigned feature)
{
	return true;
}
