/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The payload on bare KVM: a loop around KVM_RUN with nothing of ours in it.
 * Where KVM emulates ring 0, its emulator gets some things wrong; a check that
 * fails here too says nothing about our engine.
 */
#include "bare.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <unistd.h>

#define TABLES       0x10000u
#define IOAPIC_PINS  24
#define CPUID_MAX    256
#define LOOK_TWICE_S 20

struct bare {
	struct bare_failures *failures;
	int kvm, vm, vcpu;
	struct kvm_run *run;
	uint8_t *ram, port[16], mmio[MMIO_SIZE];
	uint64_t escape_rip, escape_rsp;
	bool over;
};

/* -- what failed ----------------------------------------------------------- */

static void note(struct bare_failures *f, const char *line)
{
	if (f->count < BARE_FAILURES)
		snprintf(f->line[f->count++], LINE_MAX_BYTES, "%s", line);
}

bool bare_failed(const struct bare_failures *f, const char *line)
{
	for (unsigned n = 0; n < f->count; n++)
		if (strcmp(f->line[n], line) == 0)
			return true;
	return false;
}

/* -- the CPU ----------------------------------------------------------------
 */

static void set_long_mode(struct bare *b, uint64_t rip, uint64_t rsp)
{
	struct kvm_segment data = {.limit = ~0u,
				   .selector = 16,
				   .type = 3,
				   .present = 1,
				   .db = 1,
				   .s = 1,
				   .g = 1};
	struct kvm_segment code = {.limit = ~0u,
				   .selector = 8,
				   .type = 11,
				   .present = 1,
				   .l = 1,
				   .s = 1,
				   .g = 1};
	struct kvm_regs regs = {.rip = rip, .rsp = rsp, .rflags = 2};
	struct kvm_sregs s;

	ioctl(b->vcpu, KVM_GET_SREGS, &s);
	s.cs = code;
	s.ds = s.es = s.ss = data;
	s.gdt.base = TABLES + 6 * 4096;
	s.gdt.limit = 23;
	s.efer = 0xd01;
	s.cr4 = 0x20;
	s.cr3 = TABLES;
	s.cr0 = 0x80010033;
	ioctl(b->vcpu, KVM_SET_SREGS, &s);
	ioctl(b->vcpu, KVM_SET_REGS, &regs);
}

static bool set_cpuid(struct bare *b)
{
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entry[CPUID_MAX];
	} *all = calloc(1, sizeof(*all));
	bool ok;

	if (all == NULL)
		return false;
	all->head.nent = CPUID_MAX;
	ok = ioctl(b->kvm, KVM_GET_SUPPORTED_CPUID, all) == 0 &&
	     ioctl(b->vcpu, KVM_SET_CPUID2, all) == 0;
	free(all);
	return ok;
}

static bool make(struct bare *b, const void *image, size_t size)
{
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP,
				       .args = {IOAPIC_PINS}};
	struct kvm_userspace_memory_region region = {.memory_size =
							 MEMORY_SIZE};
	void *p = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int run_size;

	if (p == MAP_FAILED)
		return false;
	b->ram = p;
	memcpy(b->ram + LOAD_ADDRESS, image, size);
	bare_tables((uint64_t *)(void *)(b->ram + TABLES), TABLES);
	region.userspace_addr = (uintptr_t)p;
	b->vm = ioctl(b->kvm, KVM_CREATE_VM, 0);
	if (b->vm < 0 || ioctl(b->vm, KVM_SET_TSS_ADDR, 0xfeffd000ul) != 0 ||
	    ioctl(b->vm, KVM_ENABLE_CAP, &split) != 0 ||
	    ioctl(b->vm, KVM_SET_USER_MEMORY_REGION, &region) != 0)
		return false;
	b->vcpu = ioctl(b->vm, KVM_CREATE_VCPU, 0ul);
	run_size = ioctl(b->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (b->vcpu < 0 || run_size < (int)sizeof(*b->run))
		return false;
	p = mmap(NULL, (size_t)run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		 b->vcpu, 0);
	if (p == MAP_FAILED)
		return false;
	b->run = p;
	return set_cpuid(b);
}

/* -- exits ------------------------------------------------------------------
 */

static void stopped(struct bare *b, int how)
{
	char line[LINE_MAX_BYTES];

	snprintf(line, sizeof(line), BARE_STOPPED, how);
	note(b->failures, line);
	b->over = true;
}

static void line_made(struct bare *b, uint32_t gpa)
{
	if (gpa > MEMORY_SIZE - LINE_MAX_BYTES)
		return;
	b->ram[gpa + LINE_MAX_BYTES - 1] = '\0';
	if (strncmp((char *)b->ram + gpa, "not ok", 6) == 0)
		note(b->failures, (char *)b->ram + gpa);
}

static void call_made(struct bare *b, uint32_t gpa)
{
	struct host_call *call = (void *)(b->ram + gpa);

	if (gpa > MEMORY_SIZE - sizeof(*call))
		return;
	call->result = 0;
	switch (call->fn) {
	case HOST_ESCAPE:
		b->escape_rip = call->a[0];
		b->escape_rsp = call->a[1];
		break;
	case HOST_ENGINE:
		call->result = HOST_IS_KVM | HOST_IS_EMULATED;
		break;
	case HOST_NMI:
		ioctl(b->vcpu, KVM_NMI);
		break;
	default:
		call->result = -ENOSYS;
	}
}

static void port_access(struct bare *b, uint8_t *data)
{
	unsigned at = b->run->io.port - PORT_TEST, bytes = b->run->io.size;
	bool in = b->run->io.direction == KVM_EXIT_IO_IN;
	uint32_t value = 0;

	if (!in)
		memcpy(&value, data, bytes);
	if (!in && b->run->io.port == PORT_LINE)
		line_made(b, value);
	else if (!in && b->run->io.port == PORT_EXIT)
		b->over = true;
	else if (!in && b->run->io.port == PORT_CALL)
		call_made(b, value);
	else if (at >= sizeof(b->port) || at + bytes > sizeof(b->port))
		memset(data, 0xff, bytes);
	else if (in)
		memcpy(data, b->port + at, bytes);
	else
		memcpy(b->port + at, data, bytes);
}

static void on_io(struct bare *b)
{
	uint8_t *data = (uint8_t *)b->run + b->run->io.data_offset;

	for (unsigned n = 0; n < b->run->io.count; n++)
		port_access(b, data + n * b->run->io.size);
}

static void on_mmio(struct bare *b)
{
	uint64_t at = b->run->mmio.phys_addr - MMIO_BASE;

	if (at >= MMIO_SIZE || b->run->mmio.len > MMIO_SIZE - at)
		memset(b->run->mmio.data, 0xff, b->run->mmio.len);
	else if (b->run->mmio.is_write)
		memcpy(b->mmio + at, b->run->mmio.data, b->run->mmio.len);
	else
		memcpy(b->run->mmio.data, b->mmio + at, b->run->mmio.len);
}

static void on_internal_error(struct bare *b)
{
	if (b->run->internal.suberror != KVM_INTERNAL_ERROR_EMULATION ||
	    b->escape_rip == 0)
		b->over = true;
	else
		set_long_mode(b, b->escape_rip, b->escape_rsp);
}

/* Halted for ever? */
static void look(struct bare *b)
{
	struct kvm_mp_state state;
	struct kvm_regs regs;

	if (ioctl(b->vcpu, KVM_GET_MP_STATE, &state) == 0 &&
	    state.mp_state == KVM_MP_STATE_HALTED &&
	    ioctl(b->vcpu, KVM_GET_REGS, &regs) == 0 && !(regs.rflags & 0x200))
		stopped(b, VM_SUSPEND_HALT);
}

static void on_exit_reason(struct bare *b)
{
	switch (b->run->exit_reason) {
	case KVM_EXIT_IO:
		on_io(b);
		break;
	case KVM_EXIT_MMIO:
		on_mmio(b);
		break;
	case KVM_EXIT_SHUTDOWN:
		stopped(b, VM_SUSPEND_TRIPLEFAULT);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		on_internal_error(b);
		break;
	default:
		b->over = true;
	}
}

static void on_alarm(int signal)
{
}

static void run(struct bare *b)
{
	struct sigaction action = {.sa_handler = on_alarm}, before;
	struct itimerval every = {{0, 100000}, {0, 100000}}, off = {{0}};
	unsigned ticks = 0;

	sigaction(SIGALRM, &action, &before);
	setitimer(ITIMER_REAL, &every, NULL);
	while (!b->over && ticks < LOOK_TWICE_S * 10) {
		if (ioctl(b->vcpu, KVM_RUN, 0) == 0) {
			on_exit_reason(b);
			continue;
		}
		if (errno != EINTR && errno != EAGAIN)
			break;
		ticks++;
		look(b);
	}
	setitimer(ITIMER_REAL, &off, NULL);
	sigaction(SIGALRM, &before, NULL);
}

void bare_run(const void *image, size_t size, struct bare_failures *failures)
{
	struct bare *b = calloc(1, sizeof(*b));

	if (b == NULL)
		return;
	b->failures = failures;
	b->port[12] = 1;
	b->vm = b->vcpu = -1;
	b->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (b->kvm >= 0 && make(b, image, size)) {
		set_long_mode(b, LOAD_ADDRESS, 0);
		run(b);
	}
	/* the process' exit unmaps what is mapped */
	close(b->vcpu);
	close(b->vm);
	close(b->kvm);
	free(b);
}
