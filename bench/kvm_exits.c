/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kvm_exits [EXITS [ROUNDS]]: what an exit costs, ours and a bare KVM_RUN loop
 * that does the same with no VMM around it, by turns in one process; medians.
 *
 *	port	OUT to a port of the process
 *	mmio	a store to memory of the process
 *	msr	RDMSR of an MSR that nobody knows
 *	notify	a store to a doorbell (vm_ioeventfd, KVM_IOEVENTFD): no exit
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <vmmapi.h>

#include "kvm_bench.h"

#define MEMORY    0x200000u
#define CODE      0x100000u
#define PORT      0x510
#define MMIO      0xd0000000u
#define BELL      (MMIO + 0x1000)
#define DONE_PORT 0x511

/* Flat 32-bit code at ring 0; ECX counts, EDX and EBX are the operands. */
struct kind {
	const char *name;
	const uint8_t *loop;
	unsigned size;
};

/* 1: out dx, al / mov [ebx], eax / rdmsr with ECX saved; dec esi; jnz 1b;
   mov edx, DONE_PORT; out dx, al */
#define END  0x4e, 0x75
#define STOP 0xba, 0x11, 0x05, 0x00, 0x00, 0xee
static const uint8_t port_loop[] = {0xee, END, 0xfc, STOP};
static const uint8_t mmio_loop[] = {0x89, 0x03, END, 0xfb, STOP};
static const uint8_t msr_loop[] = {0x0f, 0x32, END, 0xfb, STOP};

static const struct kind kinds[] = {
    {"port", port_loop, sizeof(port_loop)},
    {"mmio", mmio_loop, sizeof(mmio_loop)},
    {"msr", msr_loop, sizeof(msr_loop)},
    {"notify", mmio_loop, sizeof(mmio_loop)},
};
#define KINDS  (sizeof(kinds) / sizeof(kinds[0]))
#define NOTIFY 3

static uint64_t pointer_of(unsigned kind)
{
	return kind == NOTIFY ? BELL : MMIO;
}

/* -- ours -------------------------------------------------------------------
 */

static void set(struct vcpu *vcpu, int reg, uint64_t value)
{
	if (vm_set_register(vcpu, reg, value) != 0)
		die("vm_set_register", vm_error_text());
}

static void ours_registers(struct vcpu *vcpu, unsigned kind, unsigned exits)
{
	static const int data[] = {VM_REG_GUEST_SS, VM_REG_GUEST_DS,
				   VM_REG_GUEST_ES};

	set(vcpu, VM_REG_GUEST_CR0, 0x11);
	for (unsigned n = 0; n < 3; n++) {
		set(vcpu, data[n], 16);
		vm_set_desc(vcpu, data[n], 0, ~0u, 0xc093);
	}
	set(vcpu, VM_REG_GUEST_CS, 8);
	vm_set_desc(vcpu, VM_REG_GUEST_CS, 0, ~0u, 0xc09b);
	set(vcpu, VM_REG_GUEST_RIP, CODE);
	set(vcpu, VM_REG_GUEST_RFLAGS, 2);
	set(vcpu, VM_REG_GUEST_RSI, exits);
	set(vcpu, VM_REG_GUEST_RDX, PORT);
	set(vcpu, VM_REG_GUEST_RCX, 0xc0de);
	set(vcpu, VM_REG_GUEST_RBX, pointer_of(kind));
}

static double ours_run(struct vmctx *ctx, struct vcpu *vcpu, unsigned kind,
		       unsigned exits)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};
	double start;

	memcpy(vm_map_gpa(ctx, CODE, kinds[kind].size), kinds[kind].loop,
	       kinds[kind].size);
	vm_mem_dirty(ctx, CODE, kinds[kind].size);
	ours_registers(vcpu, kind, exits);
	start = now_us();
	do {
		if (vm_run(vcpu, &run) != 0)
			die("vm_run", vm_error_text());
		exit.u.msr.wval = 0;
	} while (exit.exitcode != VM_EXITCODE_INOUT ||
		 exit.u.inout.port != DONE_PORT);
	return (now_us() - start) / exits;
}

static struct vmctx *ours_make(const char *rundir, const char *engine)
{
	struct vmctx *ctx;

	if (vm_set_option("rundir", rundir) != 0 ||
	    vm_set_option("engine", engine) != 0)
		die("options", vm_error_text());
	ctx = vm_openf("bench", VMMAPI_OPEN_CREATE_DESTROY_ON_CLOSE);
	if (ctx == NULL || vm_setup_memory(ctx, MEMORY, VM_MMAP_ALL) != 0)
		die("a VM", vm_error_text());
	return ctx;
}

/* -- bare -------------------------------------------------------------------
 */

struct bare {
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram;
};

static void check(bool ok, const char *what)
{
	if (!ok)
		die(what, strerror(errno));
}

static void bare_filter(struct bare *b)
{
	struct kvm_enable_cap out = {.cap = KVM_CAP_X86_USER_SPACE_MSR,
				     .args = {KVM_MSR_EXIT_REASON_UNKNOWN}};

	check(ioctl(b->vm, KVM_ENABLE_CAP, &out) == 0, "USER_SPACE_MSR");
}

static void bare_make(struct bare *b, int bell)
{
	struct kvm_userspace_memory_region r = {.memory_size = MEMORY};
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP,
				       .args = {24}};
	struct kvm_ioeventfd e = {.addr = BELL, .len = 4, .fd = bell};

	b->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(b->kvm >= 0, "/dev/kvm");
	b->vm = ioctl(b->kvm, KVM_CREATE_VM, 0);
	check(b->vm >= 0, "KVM_CREATE_VM");
	b->ram = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	r.userspace_addr = (uintptr_t)b->ram;
	check(ioctl(b->vm, KVM_SET_TSS_ADDR, 0xfeffd000ul) == 0, "TSS");
	check(ioctl(b->vm, KVM_ENABLE_CAP, &split) == 0, "SPLIT_IRQCHIP");
	check(ioctl(b->vm, KVM_SET_USER_MEMORY_REGION, &r) == 0, "memory");
	check(ioctl(b->vm, KVM_IOEVENTFD, &e) == 0, "KVM_IOEVENTFD");
	bare_filter(b);
	b->vcpu = ioctl(b->vm, KVM_CREATE_VCPU, 0ul);
	check(b->vcpu >= 0, "KVM_CREATE_VCPU");
	b->run = mmap(NULL, (size_t)ioctl(b->kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
		      PROT_READ | PROT_WRITE, MAP_SHARED, b->vcpu, 0);
	check(b->run != MAP_FAILED, "mmap of a vCPU");
}

static void bare_registers(struct bare *b, unsigned kind, unsigned exits)
{
	struct kvm_segment data = {.limit = ~0u,
				   .selector = 16,
				   .type = 3,
				   .present = 1,
				   .s = 1,
				   .db = 1,
				   .g = 1};
	struct kvm_regs regs = {.rip = CODE,
				.rflags = 2,
				.rsi = exits,
				.rdx = PORT,
				.rcx = 0xc0de,
				.rbx = pointer_of(kind)};
	struct kvm_sregs s;

	check(ioctl(b->vcpu, KVM_GET_SREGS, &s) == 0, "KVM_GET_SREGS");
	s.ss = s.ds = s.es = s.cs = data;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cr0 = 0x11;
	check(ioctl(b->vcpu, KVM_SET_SREGS, &s) == 0, "KVM_SET_SREGS");
	check(ioctl(b->vcpu, KVM_SET_REGS, &regs) == 0, "KVM_SET_REGS");
}

static double bare_run(struct bare *b, unsigned kind, unsigned exits)
{
	double start;

	memcpy(b->ram + CODE, kinds[kind].loop, kinds[kind].size);
	bare_registers(b, kind, exits);
	start = now_us();
	do {
		check(ioctl(b->vcpu, KVM_RUN, 0) == 0, "KVM_RUN");
		if (b->run->exit_reason != KVM_EXIT_IO &&
		    b->run->exit_reason != KVM_EXIT_MMIO &&
		    b->run->exit_reason != KVM_EXIT_X86_RDMSR)
			die("KVM_RUN", "an exit nobody asked for");
	} while (b->run->exit_reason != KVM_EXIT_IO ||
		 b->run->io.port != DONE_PORT);
	return (now_us() - start) / exits;
}

/* -- both -------------------------------------------------------------------
 */

int main(int argc, char **argv)
{
	unsigned exits = argc > 1 ? (unsigned)atoi(argv[1]) : 2000;
	unsigned rounds = argc > 2 ? (unsigned)atoi(argv[2]) : 5;
	const char *engine = argc > 3 ? argv[3] : "kvm";
	char rundir[] = "/tmp/kvm-exits.XXXXXX";
	int bell = eventfd(0, EFD_NONBLOCK);
	struct bare b;
	struct vmctx *ctx;
	struct vcpu *vcpu;

	if (rounds < 1 || rounds > 99 || exits < 1 || mkdtemp(rundir) == NULL)
		die("kvm_exits", "[EXITS [ROUNDS (1-99)]]");
	bare_make(&b, bell);
	ctx = ours_make(rundir, engine);
	vcpu = vm_vcpu_open(ctx, 0);
	if (vcpu == NULL || vm_activate_cpu(vcpu) != 0 ||
	    vm_ioeventfd(ctx, BELL, 4, 0, bell, 0) != 0)
		die("a vCPU", vm_error_text());
	for (unsigned k = 0; k < KINDS; k++) {
		double bare[99], ours[99], x, y;

		for (unsigned n = 0; n < rounds; n++) {
			bare[n] = bare_run(&b, k, exits);
			ours[n] = ours_run(ctx, vcpu, k, exits);
		}
		x = median(bare, rounds);
		y = median(ours, rounds);
		printf("%-7s bare %8.2f us  ours %8.2f us  ours/bare %.3f\n",
		       kinds[k].name, x, y, y / x);
	}
	vm_vcpu_close(vcpu);
	vm_close(ctx);
	rmdir(rundir);
	return 0;
}
