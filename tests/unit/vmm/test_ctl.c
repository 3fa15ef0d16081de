// SPDX-License-Identifier: BSD-2-Clause
/* The control socket: another handle's calls, and clients that mean no good. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "door_test.h"
#include "vmmapi/ctl_proto.h"

struct fixture {
	struct vmctx *ctx; /* runs it */
	struct vcpu *vcpu;
	struct vmctx *other;
	struct vcpu *other_vcpu;
	pthread_t thread;
	struct vm_exit exit;
};

/* vCPU 0 spins until the VM stops. */
static void *runner_main(void *arg)
{
	struct fixture *f = arg;

	do
		if (run(f->vcpu, &f->exit) != 0)
			abort();
	while (f->exit.exitcode != VM_EXITCODE_SUSPENDED);
	return NULL;
}

static int setup(void **state)
{
	static const uint8_t spin[] = {0xfb, 0xeb, 0xfe, 0x90, 0x90};
	static struct fixture fixture;
	char path[512];
	struct stat st;

	if (rundir_setup(state) != 0)
		return -1;
	memset(&fixture, 0, sizeof(fixture));
	fixture.ctx = make_vm("vm0", 1);
	fixture.vcpu = vm_vcpu_open(fixture.ctx, 0);
	load_program(fixture.vcpu, spin, sizeof(spin));
	pthread_create(&fixture.thread, NULL, runner_main, &fixture);
	snprintf(path, sizeof(path), "%s/vm0/ctl", rundir());
	while (stat(path, &st) != 0)
		usleep(1000);
	fixture.other = vm_open("vm0");
	fixture.other_vcpu = vm_vcpu_open(fixture.other, 0);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_suspend(f->other, VM_SUSPEND_POWEROFF);
	pthread_join(f->thread, NULL);
	vm_vcpu_close(f->other_vcpu);
	vm_vcpu_close(f->vcpu);
	vm_close(f->other);
	vm_destroy(f->ctx);
	return rundir_teardown(state);
}

static void test_calls_of_another_handle(void **state)
{
	struct fixture *f = *state;
	uint64_t *stats, before, ns = 0;
	cpuset_t cpus;
	int entries;

	for (int i = 0; i < 100; i++) {
		assert_int_equal(
		    vm_set_register(f->other_vcpu, VM_REG_GUEST_RSI, 1000u + i),
		    0);
		assert_int_equal(get_reg(f->vcpu, VM_REG_GUEST_RSI), 1000u + i);
	}
	assert_int_equal(get_reg(f->other_vcpu, VM_REG_GUEST_RIP),
			 TEST_CODE + 1);
	assert_int_equal(vm_get_register(f->other_vcpu, 9999, &before), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(vm_active_cpus(f->other, &cpus), 0);
	assert_int_equal(CPU_COUNT(&cpus), 1);
	stats = vm_get_stats(f->other_vcpu, NULL, &entries);
	assert_non_null(stats);
	before = stats[23];
	assert_true(before > 0);
	assert_string_equal(vm_get_stat_desc(f->other, 23),
			    "instructions retired");
	assert_null(vm_get_stat_desc(f->other, entries));
	do
		stats = vm_get_stats(f->other_vcpu, NULL, &entries);
	while (stats[23] == before);
	assert_true(stats[21] > 0); /* resident memory */
	assert_int_equal(vm_inject_nmi(f->other_vcpu), 0);
	while (get_reg(f->other_vcpu, VM_REG_GUEST_R9) == 0)
		;
	assert_int_equal(vm_clock_gettime(f->other, &ns), 0);
	assert_true(ns > 0);
	assert_int_equal(vm_suspend(f->other, VM_SUSPEND_RESET), 0);
	pthread_join(f->thread, NULL);
	assert_int_equal(f->exit.u.suspended.how, VM_SUSPEND_RESET);
	pthread_create(&f->thread, NULL, runner_main, f);
}

/* -- hostile clients
 * ------------------------------------------------------------
 */

static int connect_raw(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval timeout = {.tv_sec = 5};
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s/vm0/ctl",
		 rundir());
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	assert_int_equal(
	    connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

/* Sends len bytes of message; its answer's error, or 1 when cut off. */
static int exchange(const struct ctl_message *message, size_t len)
{
	struct ctl_message reply;
	int fd = connect_raw();
	ssize_t got = -1;

	if (send(fd, message, len, MSG_NOSIGNAL) == (ssize_t)len)
		got = recv(fd, &reply, sizeof(reply), 0);
	close(fd);
	return got >= (ssize_t)CTL_HEADER ? reply.error : 1;
}

static struct ctl_message well_formed(unsigned verb, size_t size)
{
	return (struct ctl_message){
	    .magic = CTL_MAGIC,
	    .version = CTL_VERSION,
	    .verb = (uint16_t)verb,
	    .size = (uint32_t)size,
	};
}

static void test_malformed(void **state)
{
	size_t size = sizeof(struct verb_regs);
	struct ctl_message good = well_formed(VERB_GET_REGS, size), bad;

	assert_int_equal(exchange(&good, CTL_HEADER + size), 0);
	assert_int_equal(exchange(&good, CTL_HEADER + size - 1), -EPROTO);
	assert_int_equal(exchange(&good, CTL_HEADER), -EPROTO);
	assert_int_equal(exchange(&good, 3), -EPROTO);
	bad = good;
	bad.magic++;
	assert_int_equal(exchange(&bad, CTL_HEADER + size), -EPROTO);
	bad = good;
	bad.version = 99;
	assert_int_equal(exchange(&bad, CTL_HEADER + size), -EPROTONOSUPPORT);
	bad = good;
	bad.verb = 0xffff;
	assert_int_equal(exchange(&bad, CTL_HEADER + size), -ENOSYS);
	bad = good;
	bad.size = UINT32_MAX;
	assert_int_equal(exchange(&bad, CTL_HEADER + size), -EPROTO);
	bad = good;
	bad.vcpu = UINT32_MAX;
	assert_int_equal(exchange(&bad, CTL_HEADER + size), -EINVAL);
	bad = good;
	((struct verb_regs *)bad.arg)->count = UINT32_MAX;
	assert_int_equal(exchange(&bad, CTL_HEADER + size), -EINVAL);
	bad = good;
	((struct verb_regs *)bad.arg)->count = 1;
	((struct verb_regs *)bad.arg)->reg[0] = -1;
	assert_int_equal(exchange(&bad, CTL_HEADER + size), -EINVAL);
}

/* What would end the test: stopping or resetting the VM, suspending vCPU 0. */
static bool is_too_harmful(unsigned verb)
{
	return verb == VERB_SUSPEND || verb == VERB_REINIT ||
	       verb == VERB_SUSPEND_CPU || verb == VERB_SET_REGS ||
	       verb == VERB_SET_DESC || verb == VERB_RESET_CPU;
}

/* Every verb with random arguments; any answer but silence will do. */
static void test_random_arguments(void **state)
{
	struct fixture *f = *state;
	struct ctl_message message;
	unsigned seed = 1;

	for (unsigned i = 0; i < 4000; i++) {
		unsigned verb = i % VERB_COUNT;
		size_t size = verb_find(verb)->size;

		if (is_too_harmful(verb))
			continue;
		message = well_formed(verb, size);
		message.vcpu = (unsigned)rand_r(&seed) % 3;
		for (size_t at = 0; at < size; at++)
			message.arg[at] =
			    rand_r(&seed) % 3 ? 0 : (uint8_t)rand_r(&seed);
		assert_int_not_equal(exchange(&message, CTL_HEADER + size), 1);
	}
	assert_int_equal(get_reg(f->other_vcpu, VM_REG_GUEST_RIP),
			 TEST_CODE + 1);
}

static void test_too_long(void **state)
{
	struct fixture *f = *state;
	char big[sizeof(struct ctl_message) * 2] = {0};
	int fd = connect_raw();

	assert_int_equal(send(fd, big, sizeof(big), MSG_NOSIGNAL), sizeof(big));
	assert_int_equal(recv(fd, big, sizeof(big), 0), 0); /* cut off */
	close(fd);
	get_reg(f->other_vcpu, VM_REG_GUEST_RIP);
}

/* Connections that never say anything take nobody's place for ever. */
static void test_silent_clients(void **state)
{
	struct fixture *f = *state;
	int fds[100];

	for (int i = 0; i < 100; i++)
		fds[i] = connect_raw();
	for (int i = 0; i < 10; i++)
		get_reg(f->other_vcpu, VM_REG_GUEST_RIP);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
}

/* Somebody who asks and never reads the answers. */
static void test_deaf_client(void **state)
{
	struct fixture *f = *state;
	size_t size = sizeof(struct verb_regs);
	struct ctl_message message = well_formed(VERB_GET_REGS, size);
	int fd = connect_raw();

	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 10000; i++)
		if (send(fd, &message, CTL_HEADER + size, MSG_NOSIGNAL) < 0 &&
		    errno != EAGAIN)
			break;
	get_reg(f->other_vcpu, VM_REG_GUEST_RIP);
	close(fd);
}

static void test_other_user(void **state)
{
	struct fixture *f = *state;
	char path[512];
	pid_t child;
	int status;

	if (getuid() != 0) {
		printf("# test_other_user: only root can be somebody else\n");
		skip();
	}
	/* let it come as far as the socket */
	chmod(rundir(), 0755);
	snprintf(path, sizeof(path), "%s/vm0", rundir());
	chmod(path, 0755);
	strcat(path, "/ctl");
	chmod(path, 0777);
	child = fork();
	if (child == 0) {
		size_t size = sizeof(struct verb_regs);
		struct ctl_message message = well_formed(VERB_GET_REGS, size);

		_exit(setuid(65534) != 0 ||
		      exchange(&message, CTL_HEADER + size) != 1);
	}
	waitpid(child, &status, 0);
	assert_int_equal(status, 0);
	get_reg(f->other_vcpu, VM_REG_GUEST_RIP);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(test_calls_of_another_handle),
	    T(test_malformed),
	    T(test_random_arguments),
	    T(test_too_long),
	    T(test_silent_clients),
	    T(test_deaf_client),
	    T(test_other_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
