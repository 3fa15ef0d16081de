// SPDX-License-Identifier: BSD-2-Clause
/*
 * The control socket of a VM that runs, and the verbs behind it: an input is a
 * list of messages, well-formed or not, that a client sends. Each must be
 * answered or the client be cut off, and the VM must be the same to handle
 * afterwards. The VM is a real one, on the soft engine.
 */
#include "input.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <vmmapi.h>

#include "base/bits.h"
#include "vmmapi/ctl_proto.h"

#define MEMORY       (256 * KiB)
#define CODE         0x1000
#define MESSAGES_MAX 64

struct target {
	char rundir[64];
	struct vmctx *ctx;
	struct vcpu *vcpu;
	int fd; /* of the client; -1: not connected */
};

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, vm_error_text());
	abort();
}

/* out %al, $0x80; and again */
static void run_once(struct target *t)
{
	static const uint8_t code[] = {0xe6, 0x80, 0xeb, 0xfc};
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};
	void *to = vm_mem_write_begin(t->ctx, CODE, sizeof(code));

	if (to == NULL)
		fail("memory");
	memcpy(to, code, sizeof(code));
	vm_mem_write_end(t->ctx, CODE, sizeof(code));
	if (vm_set_desc(t->vcpu, VM_REG_GUEST_CS, 0, 0xffff, 0x9b) != 0 ||
	    vm_set_register(t->vcpu, VM_REG_GUEST_CS, 0) != 0 ||
	    vm_set_register(t->vcpu, VM_REG_GUEST_RIP, CODE) != 0 ||
	    vm_activate_cpu(t->vcpu) != 0)
		fail("set-up");
	do
		if (vm_run(t->vcpu, &run) != 0)
			fail("vm_run");
	while (exit.exitcode == VM_EXITCODE_REQIDLE);
	if (exit.exitcode != VM_EXITCODE_INOUT)
		fail("not the guest's exit");
}

static void remove_all(void)
{
	char command[128];

	/* libFuzzer ends by exit or abort; the second leaves a folder. */
	snprintf(command, sizeof(command), "rm -rf /tmp/anyhyve-fuzz-%d",
		 (int)getpid());
	if (system(command) != 0)
		fprintf(stderr, "%s failed\n", command);
}

static void start(struct target *t)
{
	snprintf(t->rundir, sizeof(t->rundir), "/tmp/anyhyve-fuzz-%d",
		 (int)getpid());
	t->fd = -1;
	if (vm_set_option("rundir", t->rundir) != 0 ||
	    vm_set_option("engine", "soft") != 0)
		fail("options");
	t->ctx = vm_openf("vm0", VMMAPI_OPEN_CREATE | VMMAPI_OPEN_REINIT);
	if (t->ctx == NULL || vm_setup_memory(t->ctx, MEMORY, VM_MMAP_ALL) != 0)
		fail("the VM");
	t->vcpu = vm_vcpu_open(t->ctx, 0);
	atexit(remove_all);
	run_once(t);
}

/* Whatever was sent: the VM stops, and is made anew, and runs. */
static void start_again(struct target *t)
{
	if (vm_suspend(t->ctx, VM_SUSPEND_RESET) != 0 && errno != EALREADY)
		fail("vm_suspend");
	if (vm_reinit(t->ctx) != 0)
		fail("vm_reinit");
	run_once(t);
}

static void connect_client(struct target *t)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = 15};

	t->fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/vm0/ctl",
		 t->rundir);
	setsockopt(t->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (connect(t->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
		fail("connect");
}

static void exchange(struct target *t, const void *message, size_t size)
{
	struct ctl_message reply;
	ssize_t got;

	if (t->fd < 0)
		connect_client(t);
	got = send(t->fd, message, size, MSG_NOSIGNAL);
	if (got == (ssize_t)size)
		got = recv(t->fd, &reply, sizeof(reply), 0);
	if (got < 0 && errno == EAGAIN)
		fail("no answer");
	if (got >= (ssize_t)CTL_HEADER && reply.magic != CTL_MAGIC)
		fail("a strange answer");
	if (got <= 0) {
		close(t->fd);
		t->fd = -1;
	}
}

/* One of the verbs, with any argument. */
static void send_verb(struct target *t, struct input *input)
{
	unsigned int id = take_8(input) % VERB_COUNT;
	struct ctl_message message = {
	    .magic = CTL_MAGIC,
	    .version = CTL_VERSION,
	    .verb = (uint16_t)id,
	    .vcpu = take_8(input) % 3,
	    .size = verb_find(id)->size,
	};

	/* Few bytes of large arguments count; the rest is zero. */
	take_bytes(input, message.arg, MIN(message.size, 96u));
	exchange(t, &message, CTL_HEADER + message.size);
}

/* Any bytes, of any length up to somewhat too many. */
static void send_raw(struct target *t, struct input *input)
{
	static uint8_t bytes[sizeof(struct ctl_message) + 64];
	size_t size = take_16(input) % sizeof(bytes);

	memset(bytes, 0, sizeof(bytes));
	take_bytes(input, bytes, MIN(size, 64));
	if (size != 0)
		exchange(t, bytes, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct target target;
	struct input input = {data, size};

	if (target.ctx == NULL)
		start(&target);
	for (int i = 0; i < MESSAGES_MAX && input.left > 0; i++) {
		if (take_8(&input) % 8 != 0)
			send_verb(&target, &input);
		else
			send_raw(&target, &input);
	}
	start_again(&target);
	return 0;
}
