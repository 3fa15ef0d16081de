// SPDX-License-Identifier: BSD-2-Clause
/* The threads of a VM, what they do with each exit, and how all of it ends. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/loop.h"
#include "bhyve/signals.h"
#include "bhyve/status.h"
#include "fake_vm.h"
#include "x86/exc.h"

struct fixture {
	struct vmctx ctx;
	struct loop *loop;
	struct machine *m;
};

static void open_fixture(struct fixture *f, unsigned int cpus)
{
	struct err err;

	memset(f, 0, sizeof(*f));
	assert_int_equal(loop_create(&f->loop, &err), 0);
	f->m = fake_machine(&f->ctx, cpus, f->loop);
	f->m->board = (struct board *)(void *)&f->ctx;
}

static void close_fixture(struct fixture *f)
{
	fake_machine_free(f->m);
	loop_destroy(f->loop);
}

static int run(struct fixture *f)
{
	struct err err;

	assert_int_equal(machine_run(f->m, &err), 0);
	return f->m->status;
}

static void test_suspend_status(void **state)
{
	static const struct {
		enum vm_suspend_how how;
		int status;
	} cases[] = {
	    {VM_SUSPEND_RESET, 0},   {VM_SUSPEND_POWEROFF, 1},
	    {VM_SUSPEND_HALT, 2},    {VM_SUSPEND_TRIPLEFAULT, 3},
	    {VM_SUSPEND_DESTROY, 4},
	};

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		bool mux = i >= ARRAY_SIZE(cases);
		struct fixture f;

		open_fixture(&f, 4);
		f.m->mux = mux;
		vm_suspend(&f.ctx, cases[i % ARRAY_SIZE(cases)].how);
		assert_int_equal(run(&f), cases[i % ARRAY_SIZE(cases)].status);
		assert_int_equal(f.m->destroyed,
				 cases[i % ARRAY_SIZE(cases)].how ==
				     VM_SUSPEND_DESTROY);
		/* one thread for all */
		assert_string_equal(f.ctx.vcpu[3].thread_name,
				    mux ? "vcpu 0" : "vcpu 3");
		close_fixture(&f);
	}
}

/* An exit that answers itself, once; then the machine is switched off. */
static struct vm_exit one_exit(struct fixture *f, const struct vm_exit *exit)
{
	*fake_exit(&f->ctx, 0, exit->exitcode) = *exit;
	fake_exit(&f->ctx, 0, VM_EXITCODE_SUSPENDED)->u.suspended.how =
	    VM_SUSPEND_RESET;
	assert_int_equal(run(f), STATUS_RESET);
	return f->ctx.vcpu[0].answered;
}

static void test_inout(void **state)
{
	struct vm_exit exit = {
	    .exitcode = VM_EXITCODE_INOUT,
	    .u.inout = {.port = 0x3f8, .bytes = 1, .in = true}};
	struct fixture f;

	(void)state;
	open_fixture(&f, 1);
	assert_int_equal(one_exit(&f, &exit).u.inout.eax, 0x5a);
	close_fixture(&f);

	open_fixture(&f, 1);
	exit.u.inout.port = 0x9000;
	assert_int_equal(one_exit(&f, &exit).u.inout.eax, ~0u);
	close_fixture(&f);
}

static void test_strict_inout(void **state)
{
	struct fixture f;
	struct vm_exit *exit;

	(void)state;
	open_fixture(&f, 2);
	f.m->strict_io = true;
	fake_exit(&f.ctx, 0, VM_EXITCODE_INOUT)->u.inout.port = 0x60;
	exit = fake_exit(&f.ctx, 0, VM_EXITCODE_INOUT);
	exit->u.inout =
	    (struct vm_inout){.port = 0x9876, .bytes = 2, .in = true};
	assert_int_equal(run(&f), STATUS_ERROR);
	assert_non_null(
	    strstr(f.m->last_words, "Unhandled inw 0x9876 at 0x1000"));
	close_fixture(&f);
}

static void test_mmio(void **state)
{
	const struct vm_exit exit = {
	    .exitcode = VM_EXITCODE_INST_EMUL,
	    .u.inst_emul = {.gpa = 0xc0000000, .bytes = 4}};
	struct fixture f;

	(void)state;
	open_fixture(&f, 1);
	assert_int_equal(one_exit(&f, &exit).u.inst_emul.data, 0xc0000001);
	close_fixture(&f);
}

static void test_msr(void **state)
{
	static const enum vm_exitcode codes[] = {VM_EXITCODE_RDMSR,
						 VM_EXITCODE_WRMSR};

	(void)state;
	for (int i = 0; i < 4; i++) {
		const struct vm_exit exit = {
		    .exitcode = codes[i % 2],
		    .u.msr = {.code = 0x12345678, .wval = 77}};
		struct vm_exit answer;
		struct fixture f;

		open_fixture(&f, 1);
		f.m->strict_msr = i < 2;
		answer = one_exit(&f, &exit);
		assert_int_equal(f.ctx.vcpu[0].injected,
				 f.m->strict_msr ? X86_GP + 1 : 0);
		if (i % 2 == 0)
			assert_int_equal(answer.u.msr.wval, 0);
		close_fixture(&f);
	}
}

static void test_harmless(void **state)
{
	static const enum vm_exitcode codes[] = {
	    VM_EXITCODE_BOGUS,   VM_EXITCODE_HLT,   VM_EXITCODE_PAUSE,
	    VM_EXITCODE_REQIDLE, VM_EXITCODE_DEBUG, VM_EXITCODE_MTRAP};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
		const struct vm_exit exit = {.exitcode = codes[i]};
		struct fixture f;

		open_fixture(&f, 1);
		one_exit(&f, &exit);
		assert_null(f.m->last_words);
		close_fixture(&f);
	}
}

/* What nobody handles ends the VM with a report, and all CPUs stop. */
static void test_unexpected(void **state)
{
	static const struct {
		int code;
		const char *says;
	} cases[] = {
	    {VM_EXITCODE_VMX, "unexpected exitcode 0x1\n"},
	    {VM_EXITCODE_MWAIT, "unexpected exitcode 0x12\n"},
	    {VM_EXITCODE_MAX, "unexpected exitcode 0x1a\n"},
	    {-1, "unexpected exitcode 0xffffffff\n"},
	    {VM_EXITCODE_PAGING, "No memory at 0xdead000"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct vm_exit *exit;
		struct fixture f;

		open_fixture(&f, 4);
		exit = fake_exit(&f.ctx, 2, (enum vm_exitcode)cases[i].code);
		exit->u.paging.gpa = 0xdead000;
		f.ctx.vcpu[2].reg[VM_REG_GUEST_RAX] = 0x1122334455667788;
		f.ctx.vcpu[2].desc[VM_REG_GUEST_CS].limit = 0xabcd;
		assert_int_equal(run(&f), STATUS_ERROR);
		assert_int_equal(f.ctx.how, VM_SUSPEND_POWEROFF);
		assert_non_null(strstr(f.m->last_words, cases[i].says));
		assert_non_null(strstr(f.m->last_words, "\nvm exit[2]\n"));
		assert_non_null(
		    strstr(f.m->last_words, "rax\t\t0x1122334455667788\n"));
		assert_non_null(strstr(f.m->last_words, "limit 0x0000abcd"));
		close_fixture(&f);
	}
}

/* The engine gave up: where, with the instruction; others need no registers. */
static void test_engine_gives_up(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 1);
	f.ctx.vcpu[0].run_error = EIO;
	assert_int_equal(run(&f), STATUS_ERROR);
	assert_non_null(strstr(f.m->last_words, "vcpu 0 does not run: "));
	assert_non_null(strstr(f.m->last_words, "\tinstruction\t0f 0b 90 "));
	assert_non_null(strstr(f.m->last_words, "\n\t\t\tud2\n"));
	assert_non_null(strstr(f.m->last_words, "\n\trip\t"));
	close_fixture(&f);
	open_fixture(&f, 1);
	f.ctx.vcpu[0].run_error = EFAULT;
	assert_int_equal(run(&f), STATUS_ERROR);
	assert_null(strstr(f.m->last_words, "instruction"));
	close_fixture(&f);
}

static void test_spinup(void **state)
{
	struct fixture f;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_SPINUP_AP,
			       .u.spinup_ap = {.vcpu = 1, .rip = 0x9a000}};
	struct vcpu *ap = &f.ctx.vcpu[1];

	(void)state;
	open_fixture(&f, 2);
	fake_exit(&f.ctx, 1, VM_EXITCODE_SUSPENDED)->u.suspended.how =
	    VM_SUSPEND_RESET;
	one_exit(&f, &exit);
	assert_int_equal(ap->resets, 1);
	assert_int_equal(ap->resumes, 1);
	assert_int_equal(ap->reg[VM_REG_GUEST_CS], 0x9a00);
	assert_int_equal(ap->desc[VM_REG_GUEST_CS].base, 0x9a000);
	assert_int_equal(ap->desc[VM_REG_GUEST_CS].limit, 0xffff);
	close_fixture(&f);

	open_fixture(&f, 2);
	fake_exit(&f.ctx, 0, VM_EXITCODE_SPINUP_AP)->u.spinup_ap.vcpu = 2;
	assert_int_equal(run(&f), STATUS_ERROR);
	close_fixture(&f);
}

/* The first cause is the one that counts. */
static void test_first_end_wins(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 1);
	machine_ended(f.m, STATUS_TRIPLEFAULT, "first\n");
	machine_end(f.m, STATUS_ERROR, "second\n");
	assert_int_equal(f.m->status, STATUS_TRIPLEFAULT);
	assert_string_equal(f.m->last_words, "first\n");
	close_fixture(&f);
}

static void test_run_refused(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 2);
	f.ctx.vcpu[0].run_error = f.ctx.vcpu[1].run_error = EBUSY;
	assert_int_equal(run(&f), STATUS_ERROR);
	assert_non_null(strstr(f.m->last_words, strerror(EBUSY)));
	/* It is another process's VM. */
	assert_int_equal(f.ctx.suspends, 0);
	close_fixture(&f);

	open_fixture(&f, 2);
	f.ctx.vcpu[1].run_error = ENOMEM;
	assert_int_equal(run(&f), STATUS_ERROR);
	assert_int_equal(f.ctx.how, VM_SUSPEND_POWEROFF);
	close_fixture(&f);
}

static void test_threads(void **state)
{
	struct fixture f;

	(void)state;
	open_fixture(&f, 12);
	vm_suspend(&f.ctx, VM_SUSPEND_RESET);
	run(&f);
	assert_string_equal(f.ctx.vcpu[0].thread_name, "vcpu 0");
	assert_string_equal(f.ctx.vcpu[11].thread_name, "vcpu 11");
	for (int i = 0; i < 12; i++)
		assert_true(f.ctx.vcpu[i].term_blocked);
	close_fixture(&f);
}

/*
 * Sends SIGTERM, and the next one when the button was pressed; without ACPI
 * one is enough, and a second could be taken for one more press.
 */
static void *sender(void *arg)
{
	struct vmctx *ctx = arg;

	bool over = false;

	for (unsigned int i = 0; !over && i < (ctx->acpi ? 2u : 1u); i++) {
		kill(getpid(), SIGTERM);
		pthread_mutex_lock(&ctx->lock);
		while (ctx->presses == i && ctx->how == VM_SUSPEND_NONE)
			pthread_cond_wait(&ctx->changed, &ctx->lock);
		over = ctx->how != VM_SUSPEND_NONE;
		pthread_mutex_unlock(&ctx->lock);
	}
	return NULL;
}

static void test_signals(void **state)
{
	struct fixture f;
	pthread_t thread;

	(void)state;
	signals_block();
	for (int acpi = 0; acpi < 2; acpi++) {
		open_fixture(&f, 2);
		f.ctx.acpi = acpi == 1;
		pthread_create(&thread, NULL, sender, &f.ctx);
		assert_int_equal(run(&f), STATUS_POWEROFF);
		pthread_join(thread, NULL);
		/* A second signal does not ask the guest again. */
		assert_int_equal(f.ctx.presses, 1);
		close_fixture(&f);
	}
}

static void test_memory_loss(void **state)
{
	struct fixture f;
	uint64_t one = 1;

	(void)state;
	open_fixture(&f, 2);
	f.ctx.lost = true;
	assert_int_equal(write(vm_memory_loss_fd(&f.ctx), &one, 8), 8);
	assert_int_equal(run(&f), STATUS_ERROR);
	assert_int_equal(f.ctx.suspends, 1);
	assert_non_null(strstr(f.m->last_words, strerror(ENOSPC)));
	close_fixture(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_suspend_status),
	    cmocka_unit_test(test_inout),
	    cmocka_unit_test(test_strict_inout),
	    cmocka_unit_test(test_mmio),
	    cmocka_unit_test(test_msr),
	    cmocka_unit_test(test_harmless),
	    cmocka_unit_test(test_unexpected),
	    cmocka_unit_test(test_engine_gives_up),
	    cmocka_unit_test(test_spinup),
	    cmocka_unit_test(test_first_end_wins),
	    cmocka_unit_test(test_run_refused),
	    cmocka_unit_test(test_memory_loss),
	    cmocka_unit_test(test_threads),
	    cmocka_unit_test(test_signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
