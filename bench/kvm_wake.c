/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kvm_wake [ROUNDS [REPEATS (1-99)]]: what it costs to wake a vCPU that has
 * halted; microseconds, medians, by turns in one process.
 *
 *	ipi	two vCPUs wake each other by IPI: ours, and a bare KVM_RUN
 *		loop with no VMM around it
 *	msi	a thread wakes one by KVM_SIGNAL_MSI, and by an irqfd with an
 *		MSI route; both bare. First until the guest's handler has run,
 *		then the system call alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
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

#define MEMORY 0x200000u
#define BASE   0x8000u /* of the guest's image: SIPI vector 8 */
#define IDT    0xa000u
#define DATA   0xb000u
#define VECTOR 0x40
#define PORT   0x511
#define GSI    5

/* At DATA. The guest takes `rounds` when its OUT has been seen. */
struct shared {
	volatile uint32_t token[2]; /* of each CPU */
	volatile uint32_t rounds, first_token;
	volatile uint32_t ready, interrupts;
};

/* Both CPUs run the loop at again; ebx is the CPU's number. Without IRET,
   which a KVM that emulates ring 0 may not have for 32-bit code. */
extern const uint8_t image[], image_end[], start32[], handler[];
__asm__(".pushsection .rodata\n"
	".set TOKEN, 0xb000\n"
	".set ROUNDS, 0xb008\n"
	".set FIRST, 0xb00c\n"
	".set READY, 0xb010\n"
	".set COUNT, 0xb014\n"
	".set APIC, 0xfee00000\n"
	".code16\n"
	"image:\n"
	"	cli\n"
	"	xor %ax, %ax\n"
	"	mov %ax, %ds\n"
	"	lgdtl gdtr - image + 0x8000\n"
	"	mov %cr0, %eax\n"
	"	or $1, %al\n"
	"	mov %eax, %cr0\n"
	"	ljmpl $8, $(second - image + 0x8000)\n"
	".code32\n"
	"second:\n"
	"	mov $1, %ebx\n"
	"	mov $0x7000, %esp\n"
	"	jmp both\n"
	"start32:\n"
	"	xor %ebx, %ebx\n"
	"	mov $0x6000, %esp\n"
	"	lgdt gdtr - image + 0x8000\n"
	"	movl $0x1ff, APIC + 0xf0\n"
	"	movl $0x1000000, APIC + 0x310\n"
	"	movl $0x4500, APIC + 0x300\n" /* INIT */
	"	movl $0x4608, APIC + 0x300\n" /* SIPI */
	"both:\n"
	"	mov $16, %eax\n"
	"	mov %eax, %ds\n"
	"	mov %eax, %es\n"
	"	mov %eax, %ss\n"
	"	lidt idtr - image + 0x8000\n"
	"	movl $0x1ff, APIC + 0xf0\n"
	"	lock incl READY\n"
	"1:	pause\n"
	"	cmpl $2, READY\n"
	"	jne 1b\n"
	"	test %ebx, %ebx\n"
	"	jnz again\n"
	"report:\n"
	"	mov $0x511, %edx\n"
	"	out %al, %dx\n"
	"	mov ROUNDS, %esi\n"
	"	mov FIRST, %eax\n"
	"	mov %eax, TOKEN\n"
	"again:\n"
	"	cli\n"
	"	cmpl $0, TOKEN(, %ebx, 4)\n"
	"	jne 2f\n"
	"	sti\n"
	"	hlt\n"
	"	jmp again\n"
	"2:	sti\n"
	"	movl $0, TOKEN(, %ebx, 4)\n"
	"	test %ebx, %ebx\n"
	"	jnz 3f\n"
	"	dec %esi\n"
	"	jz report\n"
	"3:	mov %ebx, %ecx\n"
	"	xor $1, %ecx\n"
	"	movl $1, TOKEN(, %ecx, 4)\n"
	"	shl $24, %ecx\n"
	"	mov %ecx, APIC + 0x310\n"
	"	movl $0x4040, APIC + 0x300\n"
	"	jmp again\n"
	"handler:\n"
	"	lock incl COUNT\n"
	"	movl $0, APIC + 0xb0\n"
	"	pop %edi\n"
	"	add $8, %esp\n"
	"	sti\n"
	"	jmp *%edi\n"
	".balign 8\n"
	"gdt:	.quad 0, 0x00cf9b000000ffff, 0x00cf93000000ffff\n"
	"gdtr:	.word 23\n"
	"	.long gdt - image + 0x8000\n"
	"idtr:	.word 0x41 * 8 - 1\n"
	"	.long 0xa000\n"
	"image_end:\n"
	".code64\n"
	".popsection\n");

static void check(bool ok, const char *what)
{
	if (!ok)
		die(what, strerror(errno));
}

static void fill(uint8_t *ram)
{
	uint32_t at = BASE + (uint32_t)(handler - image);
	uint64_t gate = (at & 0xffff) | 8u << 16 | 0x8e00ull << 32 |
			(uint64_t)(at >> 16) << 48;

	memcpy(ram + BASE, image, (size_t)(image_end - image));
	memcpy(ram + IDT + 8 * VECTOR, &gate, sizeof(gate));
}

/* Between two OUTs of the guest; the run is the caller's. */
static void begin(uint8_t *ram, unsigned rounds)
{
	struct shared *s = (struct shared *)(ram + DATA);

	s->rounds = rounds;
	s->first_token = rounds != 0;
}

/* -- ours -------------------------------------------------------------------
 */

struct ours {
	struct vmctx *ctx;
	struct vcpu *vcpu[2];
	uint8_t *ram;
	struct vm_exit exit;
	pthread_t second;
};

static void *ours_second(void *arg)
{
	struct ours *o = arg;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};

	do
		if (vm_run(o->vcpu[1], &run) != 0)
			die("vm_run", vm_error_text());
	while (exit.exitcode != VM_EXITCODE_SUSPENDED);
	return NULL;
}

static void ours_until_out(struct ours *o)
{
	struct vm_run run = {.vm_exit = &o->exit};

	do
		if (vm_run(o->vcpu[0], &run) != 0)
			die("vm_run", vm_error_text());
	while (o->exit.exitcode != VM_EXITCODE_INOUT);
}

static void set(struct vcpu *vcpu, int reg, uint64_t value)
{
	if (vm_set_register(vcpu, reg, value) != 0)
		die("vm_set_register", vm_error_text());
}

static void ours_registers(struct vcpu *vcpu)
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
	set(vcpu, VM_REG_GUEST_RIP, BASE + (uint64_t)(start32 - image));
	set(vcpu, VM_REG_GUEST_RFLAGS, 2);
}

static void ours_make(struct ours *o, const char *rundir, const char *engine)
{
	if (vm_set_option("rundir", rundir) != 0 ||
	    vm_set_option("engine", engine) != 0)
		die("options", vm_error_text());
	o->ctx = vm_openf("bench", VMMAPI_OPEN_CREATE_DESTROY_ON_CLOSE);
	if (o->ctx == NULL ||
	    vm_setup_memory(o->ctx, MEMORY, VM_MMAP_ALL) != 0 ||
	    vm_set_topology(o->ctx, 1, 2, 1, 0) != 0)
		die("a VM", vm_error_text());
	o->ram = vm_map_gpa(o->ctx, 0, MEMORY);
	fill(o->ram);
	vm_mem_dirty(o->ctx, 0, MEMORY);
	for (int n = 0; n < 2; n++) {
		o->vcpu[n] = vm_vcpu_open(o->ctx, n);
		if (o->vcpu[n] == NULL || vm_activate_cpu(o->vcpu[n]) != 0)
			die("a vCPU", vm_error_text());
	}
	ours_registers(o->vcpu[0]);
	o->exit.exitcode = VM_EXITCODE_BOGUS;
	check(pthread_create(&o->second, NULL, ours_second, o) == 0, "thread");
	ours_until_out(o);
}

static double ours_ipi(struct ours *o, unsigned rounds)
{
	double start = now_us();

	begin(o->ram, rounds);
	ours_until_out(o);
	return (now_us() - start) / rounds / 2;
}

static void ours_end(struct ours *o)
{
	vm_suspend(o->ctx, VM_SUSPEND_POWEROFF);
	pthread_join(o->second, NULL);
	for (int n = 0; n < 2; n++)
		vm_vcpu_close(o->vcpu[n]);
	vm_close(o->ctx);
}

/* -- bare -------------------------------------------------------------------
 */

struct bare {
	int kvm, vm, vcpu[2], irqfd;
	struct kvm_run *run[2];
	uint8_t *ram;
};

static void *bare_second(void *arg)
{
	struct bare *b = arg;

	for (;;)
		if (ioctl(b->vcpu[1], KVM_RUN, 0) == 0 ||
		    (errno != EAGAIN && errno != EINTR))
			die("KVM_RUN", "the second CPU does not run");
	return NULL;
}

static void bare_until_out(struct bare *b)
{
	check(ioctl(b->vcpu[0], KVM_RUN, 0) == 0, "KVM_RUN");
	if (b->run[0]->exit_reason != KVM_EXIT_IO || b->run[0]->io.port != PORT)
		die("KVM_RUN", "an exit nobody asked for");
}

static void bare_registers(struct bare *b)
{
	struct kvm_segment data = {.limit = ~0u,
				   .selector = 16,
				   .type = 3,
				   .present = 1,
				   .s = 1,
				   .db = 1,
				   .g = 1};
	struct kvm_regs regs = {.rip = BASE + (uint64_t)(start32 - image),
				.rflags = 2};
	struct kvm_sregs s;

	check(ioctl(b->vcpu[0], KVM_GET_SREGS, &s) == 0, "KVM_GET_SREGS");
	s.ss = s.ds = s.es = s.cs = data;
	s.cs.selector = 8;
	s.cs.type = 11;
	s.cr0 = 0x11;
	check(ioctl(b->vcpu[0], KVM_SET_SREGS, &s) == 0, "KVM_SET_SREGS");
	check(ioctl(b->vcpu[0], KVM_SET_REGS, &regs) == 0, "KVM_SET_REGS");
}

static void bare_vcpu(struct bare *b, int n)
{
	b->vcpu[n] = ioctl(b->vm, KVM_CREATE_VCPU, (unsigned long)n);
	check(b->vcpu[n] >= 0, "KVM_CREATE_VCPU");
	b->run[n] = mmap(NULL, (size_t)ioctl(b->kvm, KVM_GET_VCPU_MMAP_SIZE, 0),
			 PROT_READ | PROT_WRITE, MAP_SHARED, b->vcpu[n], 0);
	check(b->run[n] != MAP_FAILED, "mmap of a vCPU");
}

static struct kvm_msi message(void)
{
	return (struct kvm_msi){.address_lo = 0xfee00000,
				.data = 0x4000 | VECTOR};
}

static void bare_irqfd(struct bare *b)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routes = {.head.nr = 1,
		    .entry = {.gsi = GSI,
			      .type = KVM_IRQ_ROUTING_MSI,
			      .u.msi = {.address_lo = message().address_lo,
					.data = message().data}}};
	struct kvm_irqfd irqfd = {.gsi = GSI};

	b->irqfd = eventfd(0, EFD_CLOEXEC);
	irqfd.fd = (uint32_t)b->irqfd;
	check(ioctl(b->vm, KVM_SET_GSI_ROUTING, &routes) == 0, "routes");
	check(ioctl(b->vm, KVM_IRQFD, &irqfd) == 0, "KVM_IRQFD");
}

static void bare_make(struct bare *b)
{
	struct kvm_userspace_memory_region r = {.memory_size = MEMORY};
	struct kvm_enable_cap split = {.cap = KVM_CAP_SPLIT_IRQCHIP,
				       .args = {24}};
	pthread_t second;

	b->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	check(b->kvm >= 0, "/dev/kvm");
	b->vm = ioctl(b->kvm, KVM_CREATE_VM, 0);
	check(b->vm >= 0, "KVM_CREATE_VM");
	b->ram = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	fill(b->ram);
	r.userspace_addr = (uintptr_t)b->ram;
	check(ioctl(b->vm, KVM_SET_TSS_ADDR, 0xfeffd000ul) == 0, "TSS");
	check(ioctl(b->vm, KVM_ENABLE_CAP, &split) == 0, "SPLIT_IRQCHIP");
	check(ioctl(b->vm, KVM_SET_USER_MEMORY_REGION, &r) == 0, "memory");
	for (int n = 0; n < 2; n++)
		bare_vcpu(b, n);
	bare_registers(b);
	bare_irqfd(b);
	check(pthread_create(&second, NULL, bare_second, b) == 0, "thread");
	bare_until_out(b);
}

static double bare_ipi(struct bare *b, unsigned rounds)
{
	double start = now_us();

	begin(b->ram, rounds);
	bare_until_out(b);
	return (now_us() - start) / rounds / 2;
}

/* -- from a thread ----------------------------------------------------------
 */

static void *bare_first(void *arg)
{
	bare_until_out(arg);
	return NULL;
}

static void send_one(struct bare *b, bool by_irqfd)
{
	struct kvm_msi msi = message();
	uint64_t one = 1;

	if (by_irqfd)
		check(write(b->irqfd, &one, sizeof(one)) == sizeof(one),
		      "irqfd");
	else
		check(ioctl(b->vm, KVM_SIGNAL_MSI, &msi) >= 0,
		      "KVM_SIGNAL_MSI");
}

/* Until the handler has run; *call: the system call's part. */
static double wake(struct bare *b, bool by_irqfd, unsigned rounds, double *call)
{
	struct shared *s = (struct shared *)(b->ram + DATA);
	double start = now_us(), calls = 0;

	for (unsigned n = 0; n < rounds; n++) {
		uint32_t before = s->interrupts;
		double sent = now_us();

		send_one(b, by_irqfd);
		calls += now_us() - sent;
		while (s->interrupts == before)
			;
	}
	*call = calls / rounds;
	return (now_us() - start) / rounds;
}

static void tell(const char *name, const char *what[2], double *one,
		 double *other, unsigned count)
{
	double x = median(one, count), y = median(other, count);

	printf("%-10s %s %8.2f us  %s %8.2f us  %s/%s %.3f\n", name, what[0], x,
	       what[1], y, what[1], what[0], y / x);
}

static void messages(struct bare *b, unsigned rounds, unsigned repeats)
{
	const char *what[2] = {"ioctl", "irqfd"};
	double whole[2][99], call[2][99];
	pthread_t first;

	begin(b->ram, 0);
	check(pthread_create(&first, NULL, bare_first, b) == 0, "thread");
	for (unsigned n = 0; n < repeats; n++)
		for (unsigned k = 0; k < 2; k++)
			whole[k][n] = wake(b, k == 1, rounds, &call[k][n]);
	tell("msi", what, whole[0], whole[1], repeats);
	tell("msi, call", what, call[0], call[1], repeats);
}

int main(int argc, char **argv)
{
	unsigned rounds = argc > 1 ? (unsigned)atoi(argv[1]) : 2000;
	unsigned repeats = argc > 2 ? (unsigned)atoi(argv[2]) : 5;
	const char *engine = argc > 3 ? argv[3] : "kvm";
	const char *what[2] = {"bare", "ours"};
	char rundir[] = "/tmp/kvm-wake.XXXXXX";
	double times[2][99];
	struct bare b;
	struct ours o;

	if (repeats < 1 || repeats > 99 || rounds < 1 ||
	    mkdtemp(rundir) == NULL)
		die("kvm_wake", "[ROUNDS [REPEATS (1-99)]]");
	bare_make(&b);
	ours_make(&o, rundir, engine);
	for (unsigned n = 0; n < repeats; n++) {
		times[0][n] = bare_ipi(&b, rounds);
		times[1][n] = ours_ipi(&o, rounds);
	}
	tell("ipi", what, times[0], times[1], repeats);
	ours_end(&o);
	rmdir(rundir);
	messages(&b, rounds, repeats);
	return 0;
}
