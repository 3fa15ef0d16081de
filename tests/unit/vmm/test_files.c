// SPDX-License-Identifier: BSD-2-Clause
/* A VM between processes: its directory, its files, who may run it, a crash. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door_test.h"

#define TMPFS_MAGIC 0x01021994

static void path_of(char path[512], const char *vm, const char *file)
{
	snprintf(path, 512, "%s/%s%s%s", rundir(), vm, file[0] ? "/" : "",
		 file);
}

static bool exists(const char *vm, const char *file)
{
	char path[512];
	struct stat st;

	path_of(path, vm, file);
	return lstat(path, &st) == 0;
}

static void assert_error(int result, int error, const char *text)
{
	assert_int_equal(result, -1);
	assert_int_equal(errno, error);
	if (strstr(vm_error_text(), text) == NULL)
		fail_msg("no \"%s\" in \"%s\"", text, vm_error_text());
}

static void assert_no_open(const char *name, int flags, int error,
			   const char *text)
{
	struct vmctx *ctx = vm_openf(name, flags);

	assert_null(ctx);
	assert_error(-1, error, text);
}

static void destroy(const char *name)
{
	struct vmctx *ctx = vm_openf(name, VMMAPI_OPEN_REINIT);

	assert_non_null(ctx);
	vm_destroy(ctx);
	assert_false(exists(name, ""));
}

static void test_names(void **state)
{
	char longest[VM_MAX_NAMELEN + 2];
	static const char *const bad[] = {"",   "a/b", ".", "..",
					  ".x", "a\n", "/"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_error(vm_create(bad[i]), EINVAL, "name");
		assert_no_open(bad[i], 0, EINVAL, "name");
	}
	memset(longest, 'x', sizeof(longest));
	longest[VM_MAX_NAMELEN + 1] = '\0';
	assert_error(vm_create(longest), EINVAL, "longer");
	longest[VM_MAX_NAMELEN] = '\0';
	assert_int_equal(vm_create(longest), 0);
	destroy(longest);
}

static void test_life(void **state)
{
	struct vmctx *ctx;
	struct stat st;
	char path[512];

	assert_no_open("vm0", 0, ENOENT, "vm0: no such VM");
	assert_int_equal(vm_create("vm0"), 0);
	assert_error(vm_create("vm0"), EEXIST, "vm0: VM exists");
	path_of(path, "vm0", "");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	ctx = vm_open("vm0");
	assert_non_null(ctx);
	assert_string_equal(vm_get_name(ctx), "vm0");
	vm_close(ctx);
	assert_true(exists("vm0", "state"));
	ctx = vm_open("vm0");
	vm_destroy(ctx);
	assert_false(exists("vm0", ""));
}

static void test_rundir_errors(void **state)
{
	char path[512];
	int fd;

	path_of(path, "file", "");
	fd = open(path, O_CREAT | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(vm_set_option("rundir", path), 0);
	assert_error(vm_create("vm0"), ENOTDIR, path);
	strcat(path, "/deeper");
	assert_int_equal(vm_set_option("rundir", path), 0);
	assert_error(vm_create("vm0"), ENOTDIR, path);
	assert_int_equal(vm_set_option("rundir", "/nonexistent/deep"), 0);
	assert_error(vm_create("vm0"), ENOENT, "/nonexistent/deep");
	assert_no_open("vm0", 0, ENOENT, "vm0: no such VM in /nonexistent");
	assert_int_equal(vm_set_option("rundir", rundir()), 0);
	path_of(path, "file", "");
	unlink(path);
	assert_error(vm_set_option("rundir", ""), EINVAL, "rundir");
	assert_error(vm_set_option("nosuch", "1"), EINVAL, "nosuch");
	assert_error(vm_set_option("engine", "fast"), EINVAL, "engine=fast");
	assert_error(vm_set_option("soft.jit", "maybe"), EINVAL, "soft.jit");
	assert_int_equal(vm_set_option("soft.jit", "off"), 0);
	assert_int_equal(vm_set_option("soft.jit", "verify"), 0);
	assert_error(vm_set_option("soft.jit.cache", "0"), EINVAL, "cache");
	assert_error(vm_set_option("soft.jit.cache", "4x"), EINVAL, "cache");
	assert_int_equal(vm_set_option("soft.jit.cache", "16"), 0);
	assert_int_equal(vm_set_option("soft.jit.cache", NULL), 0);
	assert_error(vm_set_option("soft.jit.hot", "0"), EINVAL, "hot");
	assert_int_equal(vm_set_option("soft.jit.hot", "1"), 0);
	assert_int_equal(vm_set_option("soft.jit.hot", NULL), 0);
	assert_error(vm_set_option("soft.jit.perfmap", "1"), EINVAL, "perfmap");
	assert_int_equal(vm_set_option("soft.jit", NULL), 0);
}

/* A directory that somebody filled with other things is not a VM. */
static void test_damaged(void **state)
{
	char path[512];
	struct vmctx *ctx;
	int fd;

	assert_int_equal(vm_create("vm0"), 0);
	path_of(path, "vm0", "state");
	fd = open(path, O_RDWR);
	assert_int_equal(ftruncate(fd, 100), 0);
	close(fd);
	assert_no_open("vm0", 0, EINVAL, "vm0: state file");
	fd = open(path, O_RDWR | O_TRUNC);
	assert_int_equal(write(fd, "nonsense and more of it", 23), 23);
	close(fd);
	assert_no_open("vm0", 0, EINVAL, "not a state file");
	/* it can still be thrown away */
	ctx = vm_openf("vm0", VMMAPI_OPEN_REINIT);
	assert_non_null(ctx);
	vm_destroy(ctx);
	path_of(path, "vm1", "");
	assert_int_equal(mkdir(path, 0700), 0);
	assert_no_open("vm1", 0, ENOENT, "lock");
	rmdir(path);
}

/* -- memory -------------------------------------------------------------------
 */

static void write_and_compare(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
	uint8_t *data = malloc(len);

	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = (uint8_t)(i * 7 + i / 4096);
	assert_int_equal(vm_mem_write(ctx, gpa, data, len), 0);
	assert_memory_equal(vm_map_gpa(ctx, gpa, len), data, len);
	free(data);
}

static void test_memory(void **state)
{
	struct vmctx *one = make_vm("vm0", 1), *two;
	struct statfs fs;
	char path[512];
	size_t len;
	vm_paddr_t gpa = 0;
	off_t offset;
	int segment, prot, flags;

	path_of(path, "vm0", "memory");
	assert_int_equal(statfs(path, &fs), 0);
	assert_int_equal(fs.f_type, TMPFS_MAGIC);
	two = vm_open("vm0");
	assert_int_equal(vm_get_lowmem_size(two), TEST_MEMORY);
	assert_int_equal(vm_get_highmem_size(two), 0);
	*(uint32_t *)vm_map_gpa(one, 0x2000, 4) = 0x12345678;
	assert_int_equal(*(uint32_t *)vm_map_gpa(two, 0x2000, 4), 0x12345678);
	assert_int_equal(vm_rev_map_gpa(two, vm_map_gpa(two, 0x2000, 4)),
			 0x2000);
	assert_true(vm_rev_map_gpa(two, &fs) == (vm_paddr_t)-1);
	assert_null(vm_map_gpa(two, TEST_MEMORY - 1, 2));
	assert_null(vm_map_gpa(two, TEST_MEMORY, 1));
	assert_null(vm_map_gpa(two, UINT64_MAX, 2));
	assert_null(vm_mem_write_begin(two, TEST_MEMORY - 4, 8));
	assert_int_equal(errno, EFAULT);
	write_and_compare(one, 0x12345, 0x54321);
	write_and_compare(two, 0x12345, 17);
	write_and_compare(one, TEST_MEMORY - 0x20000, 0x20000);
	assert_int_equal(vm_mem_write(one, TEST_MEMORY, "", 0), 0);
	assert_error(vm_mem_write(one, TEST_MEMORY - 1, "xy", 2), EFAULT, "");
	assert_int_equal(vm_setup_memory(two, TEST_MEMORY, VM_MMAP_ALL), 0);
	assert_error(vm_setup_memory(two, TEST_MEMORY * 2, VM_MMAP_ALL), EINVAL,
		     "has 16 MB of memory, not 32 MB");
	assert_int_equal(vm_get_memseg(two, VM_SYSMEM, &len, NULL, 0), 0);
	assert_int_equal(len, TEST_MEMORY);
	assert_int_equal(
	    vm_mmap_getnext(two, &gpa, &segment, &offset, &len, &prot, &flags),
	    0);
	assert_int_equal(len, TEST_MEMORY);
	gpa += len;
	assert_int_equal(
	    vm_mmap_getnext(two, &gpa, &segment, &offset, &len, &prot, &flags),
	    -1);
	assert_int_equal(errno, ENOENT);
	vm_close(two);
	vm_destroy(one);
}

/* The maps of a VM, at most three: how many there are. */
static int get_maps(struct vmctx *ctx, vm_paddr_t gpa[3], size_t len[3],
		    int prot[3])
{
	vm_paddr_t at = 0;
	int segment, flags, n;
	off_t offset;

	for (n = 0; n < 3; n++) {
		if (vm_mmap_getnext(ctx, &at, &segment, &offset, &len[n],
				    &prot[n], &flags) != 0)
			break;
		assert_int_equal(segment,
				 at == 0xffffc000 ? VM_BOOTROM : VM_SYSMEM);
		gpa[n] = at;
		at += len[n];
	}
	return n;
}

static void test_rom(void **state)
{
	struct vmctx *ctx = make_vm("vm0", 1);
	vm_paddr_t gpa[3];
	char name[16] = "x";
	size_t len[3];
	int prot[3];

	(void)state;
	assert_ptr_not_equal(vm_create_devmem(ctx, VM_BOOTROM, "rom", 0x4000),
			     MAP_FAILED);
	assert_int_equal(get_maps(ctx, gpa, len, prot), 1);
	assert_int_equal(vm_mmap_memseg(ctx, 0xffffc000, VM_BOOTROM, 0, 0x4000,
					PROT_READ | PROT_EXEC),
			 0);
	assert_int_equal(get_maps(ctx, gpa, len, prot), 2);
	assert_int_equal(gpa[1], 0xffffc000);
	assert_int_equal(len[1], 0x4000);
	assert_int_equal(prot[1], PROT_READ | PROT_EXEC);
	assert_int_equal(
	    vm_get_memseg(ctx, VM_BOOTROM, &len[0], name, sizeof(name)), 0);
	assert_int_equal(len[0], 0x4000);
	assert_string_equal(name, "bootrom");
	/* No DMA, no loader and no debugger writes there. */
	assert_null(vm_map_gpa(ctx, 0xffffc000, 1));
	assert_null(vm_mem_write_begin(ctx, 0xffffc000, 1));
	assert_error(vm_mem_write(ctx, 0xfffffff0, "x", 1), EFAULT, "");
	vm_destroy(ctx);
}

static void assert_no_rom(struct vmctx *ctx, int segment, size_t len, int error,
			  const char *text)
{
	assert_ptr_equal(vm_create_devmem(ctx, segment, "rom", len),
			 MAP_FAILED);
	assert_error(-1, error, text);
}

static void assert_no_map(struct vmctx *ctx, vm_paddr_t gpa, off_t offset,
			  size_t len, int prot, int error)
{
	assert_error(vm_mmap_memseg(ctx, gpa, VM_BOOTROM, offset, len, prot),
		     error, "ROM");
}

static void test_bad_rom(void **state)
{
	static const uint8_t out[] = {0xe6, 0x80};
	struct vmctx *ctx = make_vm("vm0", 1);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	struct vm_exit exit = {0};
	uint8_t *rom;

	(void)state;
	assert_no_map(ctx, 0xffffc000, 0, 0x4000, PROT_READ, EINVAL);
	assert_no_rom(ctx, VM_FRAMEBUFFER, 0x4000, ENOTSUP, "VM_BOOTROM");
	assert_no_rom(ctx, VM_BOOTROM, 0x4001, EINVAL, "ROM of 16385 bytes");
	assert_no_rom(ctx, VM_BOOTROM, (16 << 20) + 4096, EINVAL, "ROM");
	rom = vm_create_devmem(ctx, VM_BOOTROM, "rom", 0x4000);
	assert_ptr_equal(vm_create_devmem(ctx, VM_BOOTROM, "rom", 0x4000), rom);
	assert_no_rom(ctx, VM_BOOTROM, 0x8000, EEXIST, "ROM");
	assert_no_map(ctx, 0xffffc000, 0, 0x4000, PROT_READ | PROT_WRITE,
		      ENOTSUP);
	/* Out of its room, out of itself, no pages. */
	assert_no_map(ctx, 0xfee00000, 0, 0x4000, PROT_READ, EINVAL);
	assert_no_map(ctx, 0xffffd000, 0, 0x4000, PROT_READ, EINVAL);
	assert_no_map(ctx, 0xffffc000, 0x1000, 0x4000, PROT_READ, EINVAL);
	assert_no_map(ctx, 0xffffc000, -0x1000, 0x1000, PROT_READ, EINVAL);
	assert_no_map(ctx, 0xffffc800, 0, 0x800, PROT_READ, EINVAL);
	assert_no_map(ctx, 0xffffc000, 0, 0, PROT_READ, EINVAL);
	assert_int_equal(
	    vm_mmap_memseg(ctx, 0xffffc000, VM_BOOTROM, 0, 0x4000, PROT_READ),
	    0);
	assert_no_map(ctx, 0xffff8000, 0, 0x4000, PROT_READ, EEXIST);
	load_program(vcpu, out, sizeof(out));
	assert_int_equal(run(vcpu, &exit), 0);
	assert_no_rom(ctx, VM_BOOTROM, 0x4000, EBUSY, "before vm_run");
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

static void test_high_memory(void **state)
{
	uint64_t high = 64ull << 20, low = 3ull << 30, gpa = 1;
	struct vmctx *ctx = vm_openf("vm0", VMMAPI_OPEN_CREATE);
	off_t offset;
	size_t len;
	int segment, prot, flags;

	assert_non_null(ctx);
	if (vm_setup_memory(ctx, low + high, VM_MMAP_ALL) != 0) {
		assert_int_equal(errno, ENOSPC);
		vm_destroy(ctx);
		printf("# test_high_memory: no tmpfs with 3136 MB here\n");
		skip();
	}
	assert_int_equal(vm_get_lowmem_size(ctx), low);
	assert_int_equal(vm_get_highmem_size(ctx), high);
	assert_null(vm_map_gpa(ctx, low, 1));
	assert_null(vm_map_gpa(ctx, low - 1, 2));
	*(uint8_t *)vm_map_gpa(ctx, (4ull << 30) + high - 1, 1) = 0x55;
	assert_null(vm_map_gpa(ctx, (4ull << 30) + high - 1, 2));
	write_and_compare(ctx, (4ull << 30) + high - 0x20000, 0x20000);
	write_and_compare(ctx, low - 0x20000, 0x20000);
	assert_int_equal(
	    vm_mmap_getnext(ctx, &gpa, &segment, &offset, &len, &prot, &flags),
	    0);
	assert_int_equal(gpa, 4ull << 30);
	assert_int_equal(offset, low);
	vm_destroy(ctx);
}

/* What does not fit is refused, and leaves the VM as it was. */
static void test_no_room(void **state)
{
	struct vmctx *ctx = vm_openf("vm0", VMMAPI_OPEN_CREATE);

	assert_error(vm_setup_memory(ctx, 1ull << 50, VM_MMAP_ALL), ENOSPC,
		     "vm0: no room for");
	assert_false(exists("vm0", "memory"));
	assert_error(vm_setup_memory(ctx, 4097, VM_MMAP_ALL), EINVAL,
		     "4097 bytes");
	assert_error(vm_setup_memory(ctx, 0, VM_MMAP_ALL), EINVAL,
		     "without memory");
	assert_int_equal(vm_setup_memory(ctx, TEST_MEMORY, VM_MMAP_ALL), 0);
	vm_destroy(ctx);
}

/* Memory that ends with its process, and that others can see until then. */
static void test_anonymous_memory(void **state)
{
	struct vmctx *one, *two;
	char path[512], target[512] = {0};
	pid_t child;
	int status;

	assert_error(vm_set_option("memory.backing", "disk"), EINVAL, "disk");
	assert_int_equal(vm_set_option("memory.backing", "anon"), 0);
	one = make_vm("vm0", 1);
	assert_int_equal(vm_set_option("memory.backing", NULL), 0);
	path_of(path, "vm0", "memory");
	assert_true(readlink(path, target, sizeof(target) - 1) > 0);
	assert_non_null(strstr(target, "/proc/"));
	*(uint8_t *)vm_map_gpa(one, 0x4000, 1) = 0x5a;
	child = fork();
	if (child == 0) {
		struct vmctx *other = vm_open("vm0");

		_exit(other == NULL ||
		      *(uint8_t *)vm_map_gpa(other, 0x4000, 1) != 0x5a);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	vm_close(one);
	two = vm_open("vm0");
	assert_non_null(two);
	assert_int_equal(vm_get_lowmem_size(two), 0);
	assert_int_equal(vm_setup_memory(two, 2 * TEST_MEMORY, VM_MMAP_ALL), 0);
	vm_destroy(two);
	assert_int_equal(vm_set_option("memory.backing", "auto"), 0);
	one = vm_openf("vm0", VMMAPI_OPEN_CREATE);
	assert_error(vm_setup_memory(one, 1ull << 50, VM_MMAP_ALL), ENOSPC,
		     "this machine has");
	vm_destroy(one);
	assert_int_equal(vm_set_option("memory.backing", NULL), 0);
}

/*
 * Where the host gives huge pages, one byte takes all of one. What a link to an
 * open file leads to is this VM's memory or nothing: numbers are used again.
 */
static void test_anonymous_file(void **state)
{
	struct vmctx *ctx;
	char path[512], other[64];
	struct stat st;
	pid_t child;
	int fd, status;

	assert_int_equal(vm_set_option("memory.backing", "anon"), 0);
	ctx = make_vm("vm0", 1);
	assert_int_equal(vm_set_option("memory.backing", NULL), 0);
	path_of(path, "vm0", "memory");
	*(uint8_t *)vm_map_gpa(ctx, 0x4000, 1) = 1;
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_uid, geteuid());
	assert_int_equal(st.st_mode & 07777 & ~0100600, 0);
	if (st.st_blksize == 2 << 20)
		assert_int_equal(st.st_blocks * 512, 2 << 20);
	else
		print_message("# no huge pages here\n");
	fd = memfd_create("anyhyve-vm0-0123456789abcdef", MFD_CLOEXEC);
	assert_int_equal(ftruncate(fd, TEST_MEMORY), 0);
	snprintf(other, sizeof(other), "/proc/%d/fd/%d", getpid(), fd);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink(other, path), 0);
	child = fork();
	if (child == 0) {
		struct vmctx *looker = vm_open("vm0");

		_exit(looker == NULL || vm_map_gpa(looker, 0, 1) != NULL);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	close(fd);
	vm_destroy(ctx);
}

/* A link that leads somewhere else is not followed. */
static void test_memory_link(void **state)
{
	static const char *const targets[] = {
	    "/etc/passwd", "/dev/shm/../../etc/passwd", "/proc/1/fd/../environ",
	    "/proc/self/mem"};
	char path[512];

	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		struct vmctx *ctx = make_vm("vm0", 1);

		vm_close(ctx);
		path_of(path, "vm0", "memory");
		/* forget the real one, wherever it is */
		char real[512] = {0};
		if (readlink(path, real, sizeof(real) - 1) > 0)
			unlink(real);
		unlink(path);
		assert_int_equal(symlink(targets[i], path), 0);
		ctx = vm_open("vm0");
		assert_non_null(ctx);
		assert_null(vm_map_gpa(ctx, 0, 1));
		assert_int_equal(vm_setup_memory(ctx, TEST_MEMORY, VM_MMAP_ALL),
				 -1);
		vm_destroy(ctx);
	}
}

/* Nothing in a state file can do more than make it unreadable. */
static void test_random_state(void **state)
{
	struct vmctx *ctx = make_vm("vm0", 2);
	static uint8_t good[1 << 20], bad[1 << 20];
	unsigned seed = 3, opened = 0, refused = 0;
	char path[512];
	ssize_t size;
	int fd;

	vm_close(ctx);
	path_of(path, "vm0", "state");
	fd = open(path, O_RDWR);
	size = read(fd, good, sizeof(good));
	assert_true(size > 1000);
	for (int i = 0; i < 200; i++) {
		memcpy(bad, good, (size_t)size);
		for (int n = 0; n < 1 + i % 4; n++)
			bad[(unsigned)rand_r(&seed) % (unsigned)size] =
			    (uint8_t)rand_r(&seed);
		assert_int_equal(pwrite(fd, bad, (size_t)size, 0), size);
		ctx = vm_open("vm0");
		if (ctx == NULL) {
			refused++;
			continue;
		}
		opened++;
		vm_close(ctx);
	}
	assert_true(opened > 0 && refused > 0);
	assert_int_equal(pwrite(fd, good, (size_t)size, 0), size);
	close(fd);
	destroy("vm0");
}

/* A child that loses memory: what it exits with. It must not be killed. */
static void lose_memory(bool watch)
{
	static const uint8_t out_80[] = {0xe6, 0x80};
	static uint8_t alternate[65536];
	stack_t stack = {.ss_sp = alternate, .ss_size = sizeof(alternate)};
	stack_t none = {.ss_flags = SS_DISABLE};
	struct vmctx *ctx = make_vm("vm0", 1);
	volatile uint8_t *memory = vm_map_gpa(ctx, 0, TEST_MEMORY);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	struct vm_exit exit;
	uint64_t count;
	char path[512];
	int fd = -1;

	load_program(vcpu, out_80, sizeof(out_80));
	memory[0x5000] = 0x55;
	memory[0x8000] = 0x56;
	if (watch) {
		fd = vm_memory_loss_fd(ctx);
		if (fd < 0 || fd != vm_memory_loss_fd(ctx) ||
		    vm_memory_lost(ctx) || read(fd, &count, 8) != -1)
			_exit(1);
		/* a vCPU wants a thread with an alternate stack, which a
		   sanitizer has given to this one */
		sigaltstack(&none, NULL);
		if (run(vcpu, &exit) != -1 || errno != EINVAL ||
		    strstr(vm_error_text(), "alternate") == NULL ||
		    sigaltstack(&stack, NULL) != 0 || run(vcpu, &exit) != 0)
			_exit(2);
	}
	/* What is behind a file's end gives the same signal as a full tmpfs. */
	path_of(path, "vm0", "memory");
	if (truncate(path, 0x8000) != 0)
		_exit(3);
	memory[0x8123] = 0x12;
	memory[0x9000] = 0x13;
	if (memory[0x8000] != 0 || memory[0x8123] != 0x12 ||
	    memory[0x9000] != 0x13 || memory[0x5000] != 0x55)
		_exit(4);
	if (!vm_memory_lost(ctx) || errno != ENOSPC ||
	    strstr(vm_error_text(), "vm0: cannot go on") == NULL ||
	    read(fd, &count, 8) != 8 || count != 2)
		_exit(5);
	vm_vcpu_close(vcpu);
	vm_close(ctx);
	_exit(0);
}

static void test_lost_memory(void **state)
{
	struct vmctx *ctx;
	struct vcpu *vcpu;
	struct vm_exit exit;
	int status;
	pid_t child = fork();

	if (child == 0)
		lose_memory(true);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	ctx = vm_open("vm0");
	assert_non_null(ctx);
	vcpu = vm_vcpu_open(ctx, 0);
	assert_error(run(vcpu, &exit), ENOTRECOVERABLE, "vm0: crashed");
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

/* Who did not ask is killed as ever, and so is an access to something else. */
static void test_other_sigbus(void **state)
{
	int status;
	pid_t child = fork();

	if (child == 0) {
		signal(SIGBUS, SIG_DFL); /* not cmocka's */
		lose_memory(false);
	}
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	destroy("vm0");
	child = fork();
	if (child == 0) {
		FILE *empty = tmpfile();
		volatile char *page;

		signal(SIGBUS, SIG_DFL);
		vm_memory_loss_fd(make_vm("vm0", 1));
		page =
		    mmap(NULL, 4096, PROT_READ, MAP_SHARED, fileno(empty), 0);
		_exit(page[0]);
	}
	waitpid(child, &status, 0);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	destroy("vm0");
}

static void test_memsize(void **state)
{
	size_t size;

	assert_int_equal(vm_parse_memsize("256", &size), 0);
	assert_int_equal(size, 256u << 20);
	assert_int_equal(vm_parse_memsize("2097152", &size), 0);
	assert_int_equal(size, 2097152);
	assert_int_equal(vm_parse_memsize("3g", &size), 0);
	assert_int_equal(size, 3ull << 30);
	assert_int_equal(vm_parse_memsize("512K", &size), 0);
	assert_int_equal(size, 512u << 10);
	static const char *const bad[] = {"", "x", "-1", "1x", "1kk", " 1"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(vm_parse_memsize(bad[i], &size), -1);
	assert_int_equal(vm_parse_memsize("99999999999E", &size), -1);
	assert_int_equal(errno, ERANGE);
}

/* -- two handles, two processes
 * --------------------------------------------------
 */

static void test_state_passes_on(void **state)
{
	struct vmctx *one = make_vm("vm0", 1), *two = vm_open("vm0");
	struct vcpu *cpu1 = vm_vcpu_open(one, 0), *cpu2 = vm_vcpu_open(two, 0);
	uint64_t base;
	uint32_t limit, access;
	uint16_t sockets, cores, threads, maxcpus;
	uint8_t byte;
	int on;

	assert_int_equal(vm_set_register(cpu1, VM_REG_GUEST_RSI, 0xabcdef), 0);
	assert_int_equal(get_reg(cpu2, VM_REG_GUEST_RSI), 0xabcdef);
	assert_int_equal(vm_set_desc(cpu2, VM_REG_GUEST_GDTR, 0x5000, 0x27, 0),
			 0);
	assert_int_equal(
	    vm_get_desc(cpu1, VM_REG_GUEST_GDTR, &base, &limit, &access), 0);
	assert_int_equal(base, 0x5000);
	assert_int_equal(limit, 0x27);
	assert_int_equal(vm_set_topology(one, 1, 2, 2, 0), 0);
	assert_int_equal(
	    vm_get_topology(two, &sockets, &cores, &threads, &maxcpus), 0);
	assert_int_equal(cores * threads, 4);
	assert_int_equal(vm_set_topology(one, 9, 9, 9, 0), -1);
	assert_int_equal(vm_rtc_write(one, 0x50, 0x77), 0);
	assert_int_equal(vm_rtc_read(two, 0x50, &byte), 0);
	assert_int_equal(byte, 0x77);
	assert_int_equal(vm_set_capability(cpu1, VM_CAP_HALT_EXIT, 1), 0);
	assert_int_equal(vm_get_capability(cpu2, VM_CAP_HALT_EXIT, &on), 0);
	assert_int_equal(on, 1);
	assert_int_equal(vm_get_capability(cpu2, VM_CAP_IPI_EXIT, &on), -1);
	assert_int_equal(errno, ENOENT);
	vm_vcpu_close(cpu1);
	vm_vcpu_close(cpu2);
	vm_close(one);
	vm_destroy(two);
}

/* Others see a batch's changes once it has ended, all or none. */
static void test_batch(void **state)
{
	struct vmctx *one = make_vm("vm0", 1), *two;
	struct vcpu *vcpu = vm_vcpu_open(one, 0), *other;
	struct stat before, after;
	char path[512];

	path_of(path, "vm0", "state");
	assert_error(vm_batch_end(one), EINVAL, "vm0: no batch");
	assert_int_equal(vm_batch_begin(one), 0);
	assert_int_equal(vm_batch_begin(one), 0);
	assert_int_equal(stat(path, &before), 0);
	assert_int_equal(vm_set_register(vcpu, VM_REG_GUEST_RSI, 0x51), 0);
	assert_int_equal(vm_rtc_write(one, 0x50, 0x77), 0);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RSI), 0x51);
	assert_int_equal(vm_batch_end(one), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(vm_batch_end(one), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_not_equal(before.st_ino, after.st_ino);
	two = vm_open("vm0");
	assert_non_null(two);
	other = vm_vcpu_open(two, 0);
	assert_int_equal(get_reg(other, VM_REG_GUEST_RSI), 0x51);
	/* one that only looks writes nothing; one that nobody ends is ended */
	before = after;
	assert_int_equal(vm_batch_begin(one), 0);
	assert_int_equal(vm_batch_end(one), 0);
	assert_int_equal(stat(path, &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(vm_batch_begin(one), 0);
	assert_int_equal(vm_set_register(vcpu, VM_REG_GUEST_RSI, 0x52), 0);
	vm_vcpu_close(vcpu);
	vm_close(one);
	assert_int_equal(get_reg(other, VM_REG_GUEST_RSI), 0x52);
	vm_vcpu_close(other);
	vm_destroy(two);
}

/* The first vm_run inside of one is as good as outside. */
static void test_batch_and_run(void **state)
{
	static const uint8_t out_loop[] = {0xe6, 0x80, 0xeb, 0xfc, 0x90};
	struct vmctx *ctx = make_vm("vm0", 1);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	struct vm_exit exit = {0};

	assert_int_equal(vm_batch_begin(ctx), 0);
	load_program(vcpu, out_loop, sizeof(out_loop));
	assert_int_equal(run(vcpu, &exit), 0);
	assert_int_equal(vm_batch_end(ctx), 0);
	assert_int_equal(exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(run(vcpu, &exit), 0);
	vm_vcpu_close(vcpu);
	vm_close(ctx);
	ctx = vm_open("vm0");
	assert_non_null(ctx);
	vm_destroy(ctx);
}

static void test_destroyed_under_a_handle(void **state)
{
	struct vmctx *one = make_vm("vm0", 1), *two = vm_open("vm0");
	uint32_t caps;

	vm_destroy(two);
	assert_error(vm_get_hpet_capabilities(one, &caps), ENXIO, "destroyed");
	/* the same name again is another VM */
	assert_int_equal(vm_create("vm0"), 0);
	assert_error(vm_get_hpet_capabilities(one, &caps), ENXIO, "destroyed");
	vm_destroy(one);
	assert_true(exists("vm0", "state"));
	destroy("vm0");
}

static void test_reinit_at_open(void **state)
{
	struct vmctx *ctx = make_vm("vm0", 1);
	struct vcpu *vcpu;

	*(uint8_t *)vm_map_gpa(ctx, 0x3000, 1) = 1;
	vm_close(ctx);
	ctx = vm_openf("vm0", VMMAPI_OPEN_CREATE | VMMAPI_OPEN_REINIT);
	assert_non_null(ctx);
	assert_int_equal(vm_get_lowmem_size(ctx), 0);
	assert_int_equal(vm_setup_memory(ctx, TEST_MEMORY * 2, VM_MMAP_ALL), 0);
	assert_int_equal(*(uint8_t *)vm_map_gpa(ctx, 0x3000, 1), 0);
	vcpu = vm_vcpu_open(ctx, 0);
	assert_int_equal(vm_activate_cpu(vcpu), 0); /* no longer active */
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

static void test_destroy_on_close(void **state)
{
	int flags = VMMAPI_OPEN_CREATE_DESTROY_ON_CLOSE;
	struct vmctx *ctx = vm_openf("vm0", flags), *other;
	pid_t child;
	int status;

	assert_non_null(ctx);
	other = vm_open("vm0");
	assert_non_null(other);
	vm_close(other);
	assert_true(exists("vm0", ""));
	assert_no_open("vm0", flags, EEXIST, "vm0");
	vm_close(ctx);
	assert_false(exists("vm0", ""));
	/* its creator dies: who looks next clears it away */
	child = fork();
	if (child == 0)
		_exit(vm_openf("vm0", flags) == NULL);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_true(exists("vm0", ""));
	assert_no_open("vm0", 0, ENOENT, "vm0");
	assert_false(exists("vm0", ""));
}

/* -- a process that runs it
 * ------------------------------------------------------
 */

struct child {
	pid_t pid;
	int tell, hear; /* a byte each way */
};

static const uint8_t out_loop[] = {0xe6, 0x80, 0xeb, 0xfc, 0x90};

/* Runs the VM to its first exit, says so, and waits to be told to end: 'c'
   closes, anything else dies. */
static void child_main(int hear, int tell)
{
	struct vmctx *ctx = make_vm("vm0", 1);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	struct vm_exit exit = {0};
	char byte = 'r';

	load_program(vcpu, out_loop, sizeof(out_loop));
	if (run(vcpu, &exit) != 0 || write(tell, &byte, 1) != 1 ||
	    read(hear, &byte, 1) != 1)
		_exit(1);
	if (byte == 'c') {
		vm_set_register(vcpu, VM_REG_GUEST_RDI, 0x600d);
		vm_close(ctx);
	}
	_exit(0);
}

static void start_child(struct child *child)
{
	int down[2], up[2];
	char byte;

	assert_int_equal(pipe2(down, O_CLOEXEC) | pipe2(up, O_CLOEXEC), 0);
	child->pid = fork();
	if (child->pid == 0)
		child_main(down[0], up[1]);
	close(down[0]);
	close(up[1]);
	child->tell = down[1];
	child->hear = up[0];
	assert_int_equal(read(child->hear, &byte, 1), 1);
}

static void end_child(struct child *child, char how)
{
	int status;

	assert_int_equal(write(child->tell, &how, 1), 1);
	waitpid(child->pid, &status, 0);
	assert_int_equal(status, 0);
	close(child->tell);
	close(child->hear);
}

static void test_one_runner(void **state)
{
	struct child child;
	struct vmctx *ctx;
	struct vcpu *vcpu;
	struct vm_exit exit;
	char pid[32];

	start_child(&child);
	snprintf(pid, sizeof(pid), "%d", child.pid);
	ctx = vm_open("vm0");
	assert_non_null(ctx);
	vcpu = vm_vcpu_open(ctx, 0);
	assert_error(run(vcpu, &exit), EBUSY, "vm0: already running");
	assert_error(run(vcpu, &exit), EBUSY, pid);
	assert_error(vm_setup_memory(ctx, TEST_MEMORY, VM_MMAP_ALL), EBUSY,
		     "running");
	assert_error(vm_batch_begin(ctx), EBUSY, "running");
	assert_no_open("vm0", VMMAPI_OPEN_REINIT, EBUSY, "running");
	/* but looking and setting reach the process that runs it */
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RIP), TEST_CODE + 2);
	assert_int_equal(vm_set_register(vcpu, VM_REG_GUEST_RSI, 0x51), 0);
	end_child(&child, 'c');
	/* and its last state is in the files */
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RDI), 0x600d);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RSI), 0x51);
	assert_false(exists("vm0", "ctl"));
	assert_int_equal(run(vcpu, &exit), 0);
	assert_int_equal(exit.exitcode, VM_EXITCODE_INOUT);
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

static void test_crash(void **state)
{
	struct child child;
	struct vmctx *ctx, *again;
	struct vcpu *vcpu;
	struct vm_exit exit;

	start_child(&child);
	end_child(&child, 'd');
	ctx = vm_open("vm0");
	assert_non_null(ctx);
	vcpu = vm_vcpu_open(ctx, 0);
	/* it can be looked at, but neither run nor changed */
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RIP), TEST_CODE);
	assert_int_equal(*(uint8_t *)vm_map_gpa(ctx, TEST_CODE, 1), 0xe6);
	assert_error(run(vcpu, &exit), ENOTRECOVERABLE, "vm0: crashed");
	assert_error(vm_set_register(vcpu, VM_REG_GUEST_RSI, 1),
		     ENOTRECOVERABLE, "--destroy");
	assert_error(vm_setup_memory(ctx, TEST_MEMORY, VM_MMAP_ALL),
		     ENOTRECOVERABLE, "crashed");
	/* and begun anew */
	again = vm_openf("vm0", VMMAPI_OPEN_REINIT);
	assert_non_null(again);
	assert_int_equal(vm_setup_memory(again, TEST_MEMORY, VM_MMAP_ALL), 0);
	vm_close(again);
	assert_int_equal(vm_set_register(vcpu, VM_REG_GUEST_RSI, 1), 0);
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

static void test_destroy_while_running(void **state)
{
	struct vmctx *ctx = make_vm("vm0", 1);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	struct vm_exit exit = {0};
	pid_t child;
	int status;

	load_program(vcpu, out_loop, sizeof(out_loop));
	assert_int_equal(run(vcpu, &exit), 0);
	child = fork();
	if (child == 0) {
		struct vmctx *other = vm_open("vm0");

		if (other != NULL)
			vm_destroy(other);
		_exit(other == NULL);
	}
	do
		assert_int_equal(run(vcpu, &exit), 0);
	while (exit.exitcode != VM_EXITCODE_SUSPENDED);
	assert_int_equal(exit.u.suspended.how, VM_SUSPEND_DESTROY);
	vm_vcpu_close(vcpu);
	vm_close(ctx);
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	assert_false(exists("vm0", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name)                                                                \
	cmocka_unit_test_setup_teardown(name, rundir_setup, rundir_teardown)
	    T(test_names),
	    T(test_life),
	    T(test_rundir_errors),
	    T(test_damaged),
	    T(test_memory),
	    T(test_rom),
	    T(test_bad_rom),
	    T(test_high_memory),
	    T(test_no_room),
	    T(test_anonymous_memory),
	    T(test_anonymous_file),
	    T(test_memory_link),
	    T(test_random_state),
	    T(test_lost_memory),
	    T(test_other_sigbus),
	    T(test_memsize),
	    T(test_state_passes_on),
	    T(test_batch),
	    T(test_batch_and_run),
	    T(test_destroyed_under_a_handle),
	    T(test_reinit_at_open),
	    T(test_destroy_on_close),
	    T(test_one_runner),
	    T(test_crash),
	    T(test_destroy_while_running),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
