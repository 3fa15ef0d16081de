// SPDX-License-Identifier: BSD-2-Clause
/* The run loop: exits and their completion, HLT, SIPI, stopping, freezing. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "door_test.h"
#include "fake_engine.h"

struct fixture {
	struct vmctx *ctx;
	struct vcpu *vcpu[2];
};

static int setup(void **state)
{
	static struct fixture fixture;

	if (rundir_setup(state) != 0)
		return -1;
	fixture.ctx = make_vm("vm0", 2);
	for (int i = 0; i < 2; i++)
		fixture.vcpu[i] = vm_vcpu_open(fixture.ctx, i);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 2; i++)
		vm_vcpu_close(f->vcpu[i]);
	vm_destroy(f->ctx);
	return rundir_teardown(state);
}

#define LOAD(vcpu, ...)                                                        \
	do {                                                                   \
		static const uint8_t code_[] = {__VA_ARGS__, 0x90, 0x90};      \
		load_program(vcpu, code_, sizeof(code_));                      \
	} while (0)

static void test_out(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};

	LOAD(f->vcpu[0], 0xb0, 0x5a, 0xe6, 0x80, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(exit.u.inout.port, 0x80);
	assert_int_equal(exit.u.inout.eax, 0x5a);
	assert_int_equal(exit.rip, TEST_CODE + 2);
	assert_int_equal(exit.inst_length, 2);
	/* needs no answer: whoever looks sees it done */
	assert_int_equal(get_reg(f->vcpu[0], VM_REG_GUEST_RIP), TEST_CODE + 4);
}

static void test_in_is_answered(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};

	LOAD(f->vcpu[0], 0xe4, 0x71, 0xe6, 0x80, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_true(exit.u.inout.in);
	/* not answered yet: the state is that before the instruction */
	assert_int_equal(get_reg(f->vcpu[0], VM_REG_GUEST_RIP), TEST_CODE);
	exit.u.inout.eax = 0x77;
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_false(exit.u.inout.in);
	assert_int_equal(exit.u.inout.eax, 0x77);
}

static void test_mmio_is_answered(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};

	LOAD(f->vcpu[0], 0xa0, 0x34, 0x12, 0xa2, 0x00, 0x10, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.exitcode, VM_EXITCODE_INST_EMUL);
	assert_int_equal(exit.u.inst_emul.gpa, FAKE_MMIO + 0x1234);
	exit.u.inst_emul.data = 0x99;
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_true(exit.u.inst_emul.write);
	assert_int_equal(exit.u.inst_emul.data, 0x99);
}

/* An answer is not lost when something else ends the next vm_run first. */
static void test_answer_before_suspension(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};

	LOAD(f->vcpu[0], 0xe4, 0x71, 0xe6, 0x80, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	exit.u.inout.eax = 0x42;
	assert_int_equal(vm_suspend_cpu(f->vcpu[0]), 0);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.exitcode, VM_EXITCODE_DEBUG);
	assert_int_equal(exit.rip, TEST_CODE + 2);
	assert_int_equal(get_reg(f->vcpu[0], VM_REG_GUEST_RAX) & 0xff, 0x42);
	assert_int_equal(vm_resume_cpu(f->vcpu[0]), 0);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.u.inout.eax, 0x42);
}

static void test_restart_instruction(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};

	LOAD(f->vcpu[0], 0xe6, 0x80, 0xeb, 0xfe);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(run(f->vcpu[0], &exit), 0);
		assert_int_equal(exit.rip, TEST_CODE);
		assert_int_equal(vm_restart_instruction(f->vcpu[0]), 0);
	}
}

static void test_setting_rip_forgets_the_exit(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};

	LOAD(f->vcpu[0], 0xe4, 0x71, 0x90, 0xe6, 0x80, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(
	    vm_set_register(f->vcpu[0], VM_REG_GUEST_RIP, TEST_CODE + 3), 0);
	exit.u.inout.eax = 0x11;
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.u.inout.port, 0x80);
	assert_int_equal(exit.u.inout.eax, 0); /* AL was never read */
}

static void test_refused_state_changes_nothing(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};
	uint64_t before;

	LOAD(f->vcpu[0], 0xe6, 0x80, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	before = get_reg(f->vcpu[0], VM_REG_GUEST_CR0);
	assert_int_equal(
	    vm_set_register(f->vcpu[0], VM_REG_GUEST_CR0, 0x80000000), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(get_reg(f->vcpu[0], VM_REG_GUEST_CR0), before);
}

/* -- two threads
 * ---------------------------------------------------------------
 */

struct runner {
	struct vcpu *vcpu;
	struct vm_exit exit;
	int result;
	_Atomic bool done;
	pthread_t thread;
};

/* Runs until something else than REQIDLE comes. */
static void *runner_main(void *arg)
{
	struct runner *runner = arg;

	do
		runner->result = run(runner->vcpu, &runner->exit);
	while (runner->result == 0 &&
	       runner->exit.exitcode == VM_EXITCODE_REQIDLE);
	runner->done = true;
	return NULL;
}

static void start(struct runner *runner, struct vcpu *vcpu)
{
	memset(runner, 0, sizeof(*runner));
	runner->vcpu = vcpu;
	assert_int_equal(
	    pthread_create(&runner->thread, NULL, runner_main, runner), 0);
}

static void join(struct runner *runner)
{
	pthread_join(runner->thread, NULL);
	assert_int_equal(runner->result, 0);
}

/* Waits until the vCPU has retired something: so it is in guest code. */
static void wait_running(struct vcpu *vcpu)
{
	uint64_t *stats;

	do
		stats = vm_get_stats(vcpu, NULL, NULL);
	while (stats[23] == 0);
}

static void test_suspend_stops_all(void **state)
{
	struct fixture *f = *state;
	struct runner runner[2];

	LOAD(f->vcpu[0], 0xeb, 0xfe);
	for (int i = 0; i < 2; i++)
		start(&runner[i], f->vcpu[i]);
	wait_running(f->vcpu[0]);
	assert_int_equal(vm_suspend(f->ctx, VM_SUSPEND_POWEROFF), 0);
	for (int i = 0; i < 2; i++) {
		join(&runner[i]);
		assert_int_equal(runner[i].exit.exitcode,
				 VM_EXITCODE_SUSPENDED);
		assert_int_equal(runner[i].exit.u.suspended.how,
				 VM_SUSPEND_POWEROFF);
	}
	assert_int_equal(vm_suspend(f->ctx, VM_SUSPEND_RESET), -1);
	assert_int_equal(errno, EALREADY);
}

static void test_other_thread_looks_and_sets(void **state)
{
	struct fixture *f = *state;
	struct runner runner;
	struct vm_exit exit;

	LOAD(f->vcpu[0], 0xeb, 0xfe, 0xe6, 0x80);
	start(&runner, f->vcpu[0]);
	wait_running(f->vcpu[0]);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(get_reg(f->vcpu[0], VM_REG_GUEST_RIP),
				 TEST_CODE);
	usleep(20000); /* it is back in vm_run by now */
	assert_int_equal(run(f->vcpu[0], &exit), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(
	    vm_set_register(f->vcpu[0], VM_REG_GUEST_RIP, TEST_CODE + 2), 0);
	join(&runner);
	assert_int_equal(runner.exit.exitcode, VM_EXITCODE_INOUT);
}

static void test_hlt_sleeps_until_interrupt(void **state)
{
	struct fixture *f = *state;
	struct runner runner;

	LOAD(f->vcpu[0], 0xfb, 0xf4, 0xe6, 0x80, 0xeb, 0xfe);
	start(&runner, f->vcpu[0]);
	wait_running(f->vcpu[0]);
	while (get_reg(f->vcpu[0], VM_REG_GUEST_RIP) != TEST_CODE + 2)
		;
	usleep(20000);
	assert_false(runner.done);
	/* enable the LAPIC by software is the guest's: an NMI needs none */
	assert_int_equal(vm_inject_nmi(f->vcpu[0]), 0);
	join(&runner);
	assert_int_equal(runner.exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(get_reg(f->vcpu[0], VM_REG_GUEST_R9), 1);
}

static void test_hlt_exit_comes_once(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};
	struct runner runner;

	assert_int_equal(vm_set_capability(f->vcpu[0], VM_CAP_HALT_EXIT, 1), 0);
	LOAD(f->vcpu[0], 0xfb, 0xf4, 0xe6, 0x80, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.exitcode, VM_EXITCODE_HLT);
	assert_int_equal(exit.rip, TEST_CODE + 1);
	start(&runner, f->vcpu[0]);
	usleep(20000);
	assert_false(runner.done);
	assert_int_equal(vm_inject_nmi(f->vcpu[0]), 0);
	join(&runner);
	assert_int_equal(runner.exit.exitcode, VM_EXITCODE_INOUT);
}

/* All halted with interrupts off, or waiting for SIPI: nothing can come. */
static void test_halt_is_found(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};
	struct runner other;

	LOAD(f->vcpu[0], 0xfa, 0xf4);
	start(&other, f->vcpu[1]);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.exitcode, VM_EXITCODE_SUSPENDED);
	assert_int_equal(exit.u.suspended.how, VM_SUSPEND_HALT);
	join(&other);
	assert_int_equal(other.exit.u.suspended.how, VM_SUSPEND_HALT);
}

static void test_triple_fault(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};

	LOAD(f->vcpu[0], 0x0f, 0x0b);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.u.suspended.how, VM_SUSPEND_TRIPLEFAULT);
}

/* -- INIT and SIPI: through the LAPIC's ICR would be the engine's way ---------
 */

#include "vmm/vm.h"
#include "vmmapi/door.h"

static void test_sipi_starts_an_ap(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};
	struct runner ap;
	struct vmcpu *vmcpu;

	LOAD(f->vcpu[0], 0xe6, 0x80, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	vmcpu = f->ctx->vm->vcpu[1];
	start(&ap, f->vcpu[1]);
	usleep(10000);
	assert_false(ap.done);
	atomic_store(&vmcpu->sipi_vector, TEST_CODE >> 12);
	vcpu_request(vmcpu, VCPU_REQ_INIT);
	vcpu_request(vmcpu, VCPU_REQ_SIPI);
	join(&ap);
	assert_int_equal(ap.exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(ap.exit.rip, 0);
	assert_int_equal(get_reg(f->vcpu[1], VM_REG_GUEST_CS), TEST_CODE >> 4);
	/* a second SIPI is not for one that runs */
	vcpu_request(vmcpu, VCPU_REQ_SIPI);
	vcpu_request(vmcpu, VCPU_REQ_IDLE);
	assert_int_equal(run(f->vcpu[1], &ap.exit), 0);
	assert_int_equal(ap.exit.exitcode, VM_EXITCODE_REQIDLE);
	assert_int_equal(get_reg(f->vcpu[1], VM_REG_GUEST_RIP), 2);
}

static void test_suspended_cpu(void **state)
{
	struct fixture *f = *state;
	struct runner runner;
	cpuset_t cpus;

	LOAD(f->vcpu[0], 0xeb, 0xfe);
	start(&runner, f->vcpu[0]);
	wait_running(f->vcpu[0]);
	assert_int_equal(vm_suspend_cpu(f->vcpu[0]), 0);
	join(&runner);
	assert_int_equal(runner.exit.exitcode, VM_EXITCODE_DEBUG);
	assert_int_equal(vm_suspend_cpu(f->vcpu[0]), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(vm_debug_cpus(f->ctx, &cpus), 0);
	assert_true(CPU_ISSET(0, &cpus));
	assert_false(CPU_ISSET(1, &cpus));
	/* told once: now it sleeps */
	start(&runner, f->vcpu[0]);
	usleep(10000);
	assert_false(runner.done);
	assert_int_equal(vm_suspend(f->ctx, VM_SUSPEND_RESET), 0);
	join(&runner);
	assert_int_equal(runner.exit.exitcode, VM_EXITCODE_SUSPENDED);
	assert_int_equal(vm_resume_cpu(f->vcpu[0]), 0);
	assert_int_equal(vm_resume_cpu(f->vcpu[0]), -1);
	assert_int_equal(errno, EINVAL);
}

static void test_reinit(void **state)
{
	struct fixture *f = *state;
	struct vm_exit exit = {0};
	unsigned dropped;

	LOAD(f->vcpu[0], 0xe6, 0x80, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(vm_reinit(f->ctx), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(vm_suspend(f->ctx, VM_SUSPEND_RESET), 0);
	dropped = fake_counts.code_written;
	assert_int_equal(vm_reinit(f->ctx), 0);
	assert_true(fake_counts.code_written > dropped);
	assert_int_equal(get_reg(f->vcpu[0], VM_REG_GUEST_RIP), 0xfff0);
	assert_int_equal(*(uint8_t *)vm_map_gpa(f->ctx, TEST_CODE, 1), 0);
	/* active no more */
	assert_int_equal(run(f->vcpu[0], &exit), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(vm_activate_cpu(f->vcpu[0]), 0);
	LOAD(f->vcpu[0], 0xe6, 0x81, 0xeb, 0xfe);
	assert_int_equal(run(f->vcpu[0], &exit), 0);
	assert_int_equal(exit.u.inout.port, 0x81);
}

static void test_not_active(void **state)
{
	struct fixture *f = *state;
	struct vcpu *third = vm_vcpu_open(f->ctx, 2);
	struct vm_exit exit;

	assert_int_equal(run(third, &exit), -1);
	assert_int_equal(errno, EINVAL);
	assert_int_equal(vm_activate_cpu(f->vcpu[0]), -1);
	assert_int_equal(errno, EBUSY);
	vm_vcpu_close(third);
	assert_null(vm_vcpu_open(f->ctx, VM_MAXCPU));
	assert_null(vm_vcpu_open(f->ctx, -1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(test_out),
	    T(test_in_is_answered),
	    T(test_mmio_is_answered),
	    T(test_answer_before_suspension),
	    T(test_restart_instruction),
	    T(test_setting_rip_forgets_the_exit),
	    T(test_refused_state_changes_nothing),
	    T(test_suspend_stops_all),
	    T(test_other_thread_looks_and_sets),
	    T(test_hlt_sleeps_until_interrupt),
	    T(test_hlt_exit_comes_once),
	    T(test_halt_is_found),
	    T(test_triple_fault),
	    T(test_sipi_starts_an_ap),
	    T(test_suspended_cpu),
	    T(test_reinit),
	    T(test_not_active),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
