// SPDX-License-Identifier: BSD-2-Clause
/*
 * Is KVM usable here? There are hosts whose /dev/kvm runs user-mode code
 * natively and emulates ring 0 one instruction at a time; a kernel does not
 * boot there within an hour. So a loop at ring 0 is timed in a VM of one page.
 * The result is good until the next boot and kept in a file.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "vmm/kvm/kvm.h"
#include "x86/cr.h"

#define CACHE_NAME ".kvm-speed"
#define BOOT_ID    "/proc/sys/kernel/random/boot_id"

/* Emulated, an instruction takes 2 us; the slowest CPU's are far from that. */
#define FAST_ENOUGH 50000000ull /* instructions a second */

/* Short enough where it is slow; then long enough where it is not. */
#define SHORT_LOOPS 1000u
#define LONG_LOOPS  4000000u

/* mov ecx, LOOPS; 1: dec ecx; jnz 1b; hlt */
static const uint8_t loop_code[] = {0xb9, 0, 0, 0, 0, 0x49, 0x75, 0xfd, 0xf4};
#define INSTRUCTIONS(loops) (2ull * (loops))

struct probe {
	int kvm, vm, vcpu;
	uint8_t *page;
	struct kvm_run *run;
	size_t run_size;
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* -- the throwaway VM -------------------------------------------------------
 */

static int failed(struct err *why, const char *call)
{
	return kvm_failed(why, "/dev/kvm", call, errno, "see the kernel's log");
}

static int make_memory(struct probe *p, struct err *why)
{
	struct kvm_userspace_memory_region region = {.memory_size = 0x1000};

	p->page = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p->page == MAP_FAILED) {
		p->page = NULL;
		return err_sys(why, errno, "/dev/kvm: a page for a test");
	}
	memcpy(p->page, loop_code, sizeof(loop_code));
	region.userspace_addr = (uintptr_t)p->page;
	if (ioctl(p->vm, KVM_SET_TSS_ADDR, 0xfeffd000ul) != 0)
		return failed(why, "KVM_SET_TSS_ADDR");
	if (ioctl(p->vm, KVM_SET_USER_MEMORY_REGION, &region) != 0)
		return failed(why, "KVM_SET_USER_MEMORY_REGION");
	return 0;
}

static int make_vcpu(struct probe *p, struct err *why)
{
	int size = ioctl(p->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);

	p->vcpu = ioctl(p->vm, KVM_CREATE_VCPU, 0ul);
	if (p->vcpu < 0)
		return failed(why, "KVM_CREATE_VCPU");
	p->run_size = (size_t)MAX(size, (int)sizeof(struct kvm_run));
	p->run = mmap(NULL, p->run_size, PROT_READ | PROT_WRITE, MAP_SHARED,
		      p->vcpu, 0);
	if (p->run == MAP_FAILED) {
		p->run = NULL;
		return failed(why, "mmap of a vCPU");
	}
	return 0;
}

/* Flat 32-bit protected mode, ring 0. */
static int set_registers(struct probe *p, struct err *why)
{
	struct kvm_regs regs = {.rflags = RFLAGS_ONE};
	struct kvm_sregs sregs;

	if (ioctl(p->vcpu, KVM_GET_SREGS, &sregs) != 0)
		return failed(why, "KVM_GET_SREGS");
	sregs.cs = (struct kvm_segment){.limit = UINT32_MAX,
					.selector = 8,
					.type = 11,
					.present = 1,
					.s = 1,
					.db = 1,
					.g = 1};
	sregs.ss = sregs.cs;
	sregs.ss.selector = 16;
	sregs.ss.type = 3;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss;
	sregs.cr0 = CR0_PE | CR0_ET;
	if (ioctl(p->vcpu, KVM_SET_SREGS, &sregs) != 0)
		return failed(why, "KVM_SET_SREGS");
	if (ioctl(p->vcpu, KVM_SET_REGS, &regs) != 0)
		return failed(why, "KVM_SET_REGS");
	return 0;
}

static int run_loop(struct probe *p, uint32_t loops, uint64_t *speed,
		    struct err *why)
{
	uint64_t start;
	int error = set_registers(p, why);

	if (error != 0)
		return error;
	memcpy(p->page + 1, &loops, sizeof(loops));
	start = now_ns();
	while (ioctl(p->vcpu, KVM_RUN, 0) != 0)
		if (errno != EINTR && errno != EAGAIN)
			return failed(why, "KVM_RUN");
	if (p->run->exit_reason != KVM_EXIT_HLT)
		return err_set(why, EIO,
			       "/dev/kvm: KVM_RUN of a loop at ring 0 gave "
			       "exit %u; see the kernel's log",
			       p->run->exit_reason);
	*speed = INSTRUCTIONS(loops) * 1000000000 / MAX(now_ns() - start, 1u);
	return 0;
}

static void take_down(struct probe *p)
{
	if (p->run != NULL)
		munmap(p->run, p->run_size);
	if (p->vcpu >= 0)
		close(p->vcpu);
	if (p->vm >= 0)
		close(p->vm);
	if (p->page != NULL)
		munmap(p->page, 0x1000);
}

/* The first run brings the page in; the second is timed. */
static int measure(int kvm, uint64_t *speed, struct err *why)
{
	struct probe p = {.kvm = kvm, .vm = -1, .vcpu = -1};
	int error = 0;

	p.vm = kvm_new_vm(kvm, why);
	if (p.vm < 0)
		return p.vm;
	error = make_memory(&p, why);
	if (error == 0)
		error = make_vcpu(&p, why);
	if (error == 0)
		error = run_loop(&p, 10, speed, why);
	if (error == 0)
		error = run_loop(&p, SHORT_LOOPS, speed, why);
	if (error == 0 && *speed >= FAST_ENOUGH)
		error = run_loop(&p, LONG_LOOPS, speed, why);
	take_down(&p);
	return error;
}

/* -- what was measured before -----------------------------------------------
 */

static bool read_file(const char *path, char *text, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t got;

	if (fd < 0)
		return false;
	got = read(fd, text, size - 1);
	close(fd);
	text[got > 0 ? got : 0] = '\0';
	return got > 0;
}

static bool cache_path(const char *dir, char path[PATH_MAX])
{
	return dir != NULL &&
	       snprintf(path, PATH_MAX, "%s/" CACHE_NAME, dir) < PATH_MAX;
}

/* "BOOT_ID SPEED" */
static bool cache_read(const char *dir, uint64_t *speed)
{
	char path[PATH_MAX], boot[64], text[128];
	size_t len;

	if (!cache_path(dir, path) || !read_file(BOOT_ID, boot, sizeof(boot)) ||
	    !read_file(path, text, sizeof(text)))
		return false;
	len = strcspn(boot, "\n");
	if (strncmp(text, boot, len) != 0 || text[len] != ' ')
		return false;
	*speed = strtoull(text + len + 1, NULL, 10);
	return *speed != 0;
}

/* By a new file and rename, so that nobody reads half of it. Not being able to
   keep it only costs the next one's time. */
static void cache_write(const char *dir, uint64_t speed)
{
	char path[PATH_MAX], new_path[PATH_MAX + 16], boot[64];
	FILE *file;

	if (!cache_path(dir, path) || !read_file(BOOT_ID, boot, sizeof(boot)))
		return;
	boot[strcspn(boot, "\n")] = '\0';
	snprintf(new_path, sizeof(new_path), "%s.%d", path, getpid());
	file = fopen(new_path, "wxe");
	if (file == NULL)
		return;
	fprintf(file, "%s %ju\n", boot, (uintmax_t)speed);
	if (fclose(file) != 0 || rename(new_path, path) != 0)
		unlink(new_path);
}

/* -- the answer -------------------------------------------------------------
 */

int kvm_usable(const char *cache_dir, bool for_auto, uint64_t *speed,
	       struct err *why)
{
	int kvm = kvm_open(why);
	int error = 0;

	*speed = 0;
	if (kvm < 0)
		return kvm;
	if (!cache_read(cache_dir, speed)) {
		error = measure(kvm, speed, why);
		if (error == 0)
			cache_write(cache_dir, *speed);
	}
	close(kvm);
	if (error != 0 || !for_auto || *speed >= FAST_ENOUGH)
		return error;
	return err_set(why, ENOTSUP,
		       "/dev/kvm emulates kernel mode: %ju.%02ju million "
		       "instructions a second at ring 0; use a host with VT-x "
		       "or AMD-V, or engine=kvm for small guests",
		       (uintmax_t)(*speed / 1000000),
		       (uintmax_t)(*speed / 10000 % 100));
}
