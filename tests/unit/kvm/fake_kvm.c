// SPDX-License-Identifier: BSD-2-Clause
#include "fake_kvm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#define RUN_SIZE 0x3000

struct fake_kvm fake;

static struct kvm_regs regs;
static struct kvm_sregs2 sregs;
static struct kvm_xsave xsave;
static struct kvm_vcpu_events events;
static struct kvm_debugregs debugregs;
static struct kvm_mp_state mp;
static uint64_t tsc_offset;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

void fake_reset(void)
{
	fake = (struct fake_kvm){.api_version = KVM_API_VERSION,
				 .max_vcpus = 1024};
	memset(&events, 0, sizeof(events));
	mp.mp_state = KVM_MP_STATE_RUNNABLE;
}

unsigned fake_open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned count = 0;

	while (dir != NULL && readdir(dir) != NULL)
		count++;
	closedir(dir);
	return count;
}

/* Something that can be closed, and mapped. */
static int some_file(void)
{
	int fd = memfd_create("fake-kvm", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, RUN_SIZE) != 0) {
		close(fd);
		return -1;
	}
	return fd;
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	if (strcmp(path, "/dev/kvm") != 0)
		return __real_open(path, flags, mode);
	if (fake.open_error == 0)
		return some_file();
	errno = fake.open_error;
	return -1;
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = va_arg(args, int);
	va_end(args);
	return __wrap_open(path, flags, mode);
}

static int check_extension(int cap)
{
	if (cap == fake.lacking)
		return 0;
	return cap == KVM_CAP_MAX_VCPUS ? fake.max_vcpus : 1;
}

static int create_vcpu(void)
{
	int fd = some_file();

	if (fd < 0)
		return -1;
	fake.run =
	    mmap(NULL, RUN_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	fake.run->ready_for_interrupt_injection = 1;
	return fd;
}

/* Nothing but what this CPU has. */
static int supported_cpuid(struct kvm_cpuid2 *all)
{
	static const uint32_t leaves[] = {
	    0, 1, 7, 0xd, 0x40000001, 0x80000001, 0x80000007, 0x80000008};
	uint32_t n = 0;

	for (unsigned i = 0; i < sizeof(leaves) / sizeof(leaves[0]); i++)
		for (uint32_t sub = 0; sub < (leaves[i] == 0xd ? 2 : 1); sub++)
			all->entries[n++] = (struct kvm_cpuid_entry2){
			    .function = leaves[i],
			    .index = sub,
			    .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
			    .eax = ~0u,
			    .ebx = ~0u,
			    .ecx = ~0u,
			    .edx = ~0u};
	all->nent = n;
	return 0;
}

static int get_msrs(struct kvm_msrs *msrs)
{
	for (uint32_t i = 0; i < msrs->nmsrs; i++) {
		struct kvm_msr_entry *e = &msrs->entries[i];

		if (e->index == 0x10)
			e->data = __rdtsc() +
				  (fake.ignores_tsc_offset ? 0 : tsc_offset);
		else if (e->index == 0x6e0)
			e->data = fake.deadline;
	}
	return (int)msrs->nmsrs;
}

static int set_msrs(const struct kvm_msrs *msrs)
{
	for (uint32_t i = 0; i < msrs->nmsrs; i++)
		if (msrs->entries[i].index == 0x6e0)
			fake.deadline = msrs->entries[i].data;
	return (int)msrs->nmsrs;
}

static int set_routing(const struct kvm_irq_routing *routing)
{
	fake.routings++;
	memcpy(fake.route, routing->entries,
	       routing->nr * sizeof(fake.route[0]));
	return 0;
}

static int set_attr(const struct kvm_device_attr *attr)
{
	memcpy(&tsc_offset, (const void *)(uintptr_t)attr->addr, 8);
	return 0;
}

static int set_region(const struct kvm_userspace_memory_region *region)
{
	if (region->slot == 0)
		fake.slot_flags = region->flags;
	return 0;
}

/* The page that was written is number 3. */
static int dirty_log(const struct kvm_dirty_log *log)
{
	if ((fake.slot_flags & KVM_MEM_LOG_DIRTY_PAGES) == 0) {
		errno = ENOENT;
		return -1;
	}
	memset(log->dirty_bitmap, 1 << 3, 1);
	return 0;
}

static int run(void)
{
	int error = fake.on_run != NULL ? fake.on_run(fake.run) : -EINTR;

	fake.runs++;
	if (error == 0)
		return 0;
	errno = -error;
	return -1;
}

#define COPY_OUT(request, from)                                                \
	case request:                                                          \
		memcpy(arg, &(from), sizeof(from));                            \
		return 0
#define COPY_IN(request, to)                                                   \
	case request:                                                          \
		memcpy(&(to), arg, sizeof(to));                                \
		return 0

static int serve_state(unsigned long request, void *arg)
{
	switch (request) {
		COPY_OUT(KVM_GET_REGS, regs);
		COPY_IN(KVM_SET_REGS, regs);
		COPY_OUT(KVM_GET_SREGS2, sregs);
		COPY_IN(KVM_SET_SREGS2, sregs);
		COPY_OUT(KVM_GET_XSAVE, xsave);
		COPY_IN(KVM_SET_XSAVE, xsave);
		COPY_OUT(KVM_GET_VCPU_EVENTS, events);
		COPY_IN(KVM_SET_VCPU_EVENTS, events);
		COPY_OUT(KVM_GET_DEBUGREGS, debugregs);
		COPY_IN(KVM_SET_DEBUGREGS, debugregs);
		COPY_OUT(KVM_GET_MP_STATE, mp);
		COPY_IN(KVM_SET_MP_STATE, mp);
		COPY_OUT(KVM_GET_LAPIC, fake.lapic);
		COPY_IN(KVM_SET_LAPIC, fake.lapic);
	default:
		return 0;
	}
}

static int serve(unsigned long request, void *arg)
{
	switch (request) {
	case KVM_GET_API_VERSION:
		return fake.api_version;
	case KVM_CHECK_EXTENSION:
		return check_extension((int)(uintptr_t)arg);
	case KVM_GET_VCPU_MMAP_SIZE:
		return RUN_SIZE;
	case KVM_CREATE_VM:
		return some_file();
	case KVM_CREATE_VCPU:
		return create_vcpu();
	case KVM_GET_SUPPORTED_CPUID:
		return supported_cpuid(arg);
	case KVM_GET_MSRS:
		return get_msrs(arg);
	case KVM_SET_MSRS:
		return set_msrs(arg);
	case KVM_SET_GSI_ROUTING:
		return set_routing(arg);
	case KVM_SET_DEVICE_ATTR:
		return set_attr(arg);
	case KVM_SIGNAL_MSI:
		fake.signals++;
		memcpy(&fake.msi, arg, sizeof(fake.msi));
		return 1;
	case KVM_SET_USER_MEMORY_REGION:
		return set_region(arg);
	case KVM_GET_DIRTY_LOG:
		return dirty_log(arg);
	case KVM_IOEVENTFD:
		memcpy(&fake.bell, arg, sizeof(fake.bell));
		return 0;
	case KVM_SET_CLOCK:
		memcpy(&fake.clock, arg, sizeof(fake.clock));
		return 0;
	case KVM_GET_CLOCK:
		memcpy(arg, &fake.clock, sizeof(fake.clock));
		return 0;
	case KVM_INTERRUPT:
		fake.interrupts++;
		return 0;
	case KVM_NMI:
		fake.nmis++;
		return 0;
	case KVM_RUN:
		return run();
	default:
		return serve_state(request, arg);
	}
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	fake.calls++;
	if (request == fake.failing && fake.skip-- == 0) {
		errno = fake.error;
		return -1;
	}
	return serve(request, arg);
}
