// SPDX-License-Identifier: BSD-2-Clause
/* pc-testdev, as kvm-unit-tests use it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "board_fixture.h"

static const char *const usual[] = {
    "pci.0.3.0.device=uart",
    "pci.0.31.0.device=lpc",
    "lpc.pc-testdev=true",
    "lpc.com1.x=1",
    NULL,
};

struct fixture {
	struct machine m;
	int status;
	unsigned int exits;
};

static void on_exit_device(void *arg, int status)
{
	struct fixture *f = arg;

	f->status = status;
	f->exits++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct err err = {""};

	*state = f;
	if (machine_start(&f->m, usual, &err) != 0)
		fail_msg("%s", err.text);
	board_set_exit(f->m.board, on_exit_device, f);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(f->m.vm.wrong, 0);
	machine_end(&f->m);
	free(f);
	return 0;
}

static void test_exit(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(in(&f->m, 0xf4, 4), 0);
	assert_int_equal(f->exits, 0);
	out(&f->m, 0xf4, 4, 0);
	assert_int_equal(f->exits, 1);
	assert_int_equal(f->status, 1);
	out(&f->m, 0xf4, 1, 0x10);
	assert_int_equal(f->status, 33);
	/* As much of it as an exit status holds. */
	out(&f->m, 0xf4, 4, 0xffffffff);
	assert_int_equal(f->status, 255);
	/* Without somebody to tell, it ends all the same. */
	board_set_exit(f->m.board, NULL, NULL);
	out(&f->m, 0xf4, 1, 1);
	assert_int_equal(f->m.vm.how, VM_SUSPEND_POWEROFF);
}

static void test_latch(void **state)
{
	struct fixture *f = *state;

	out(&f->m, 0xe0, 4, 0x12345678);
	assert_int_equal(in(&f->m, 0xe0, 4), 0x12345678);
	assert_int_equal(in(&f->m, 0xe2, 2), 0x1234);
	out(&f->m, 0xe1, 1, 0xff);
	assert_int_equal(in(&f->m, 0xe0, 4), 0x1234ff78);
	out(&f->m, 0xe2, 2, 0xabcd);
	assert_int_equal(in(&f->m, 0xe3, 1), 0xab);
}

static void test_interrupts(void **state)
{
	struct fixture *f = *state;

	out(&f->m, 0x200e, 1, 1);
	assert_int_equal(f->m.vm.pins[14], 1);
	assert_int_equal(f->m.vm.pic[14], 1);
	out(&f->m, 0x200e, 1, 5); /* it is up */
	out(&f->m, 0x200e, 1, 0);
	out(&f->m, 0x200e, 1, 0);
	assert_int_equal(f->m.vm.pins[14], 0);
	assert_int_equal(f->m.vm.pic[14], 0);
	/* The upper lines are the IOAPIC's alone. */
	out(&f->m, 0x2017, 1, 1);
	assert_int_equal(f->m.vm.pins[23], 1);
	out(&f->m, 0x2017, 1, 0);
	assert_int_equal(f->m.vm.pins[23], 0);
	/* Wide accesses are none; bytes read as zero. */
	out(&f->m, 0x2010, 4, 0x01010101);
	assert_int_equal(f->m.vm.pins[16], 0);
	assert_int_equal(in(&f->m, 0x2010, 1), 0);
	/* Shared with com1 (IRQ 4), who lets go first. */
	out(&f->m, 0x3f9, 1, 2);
	out(&f->m, 0x2004, 1, 1);
	assert_int_equal(in(&f->m, 0x3fa, 1), 2);
	assert_int_equal(f->m.vm.pins[4], 1);
	out(&f->m, 0x2004, 1, 0);
	assert_int_equal(f->m.vm.pins[4], 0);
}

static void test_memory(void **state)
{
	struct fixture *f = *state;

	assert_true(load(&f->m, 0xff000000, 8) == 0);
	store(&f->m, 0xff000004, 8, 0x1122334455667788);
	assert_true(load(&f->m, 0xff000000, 8) == 0x5566778800000000);
	assert_int_equal(load(&f->m, 0xff00000a, 2), 0x1122);
	store(&f->m, 0xff00ffff, 1, 0x99);
	assert_int_equal(load(&f->m, 0xff00ffff, 1), 0x99);
	/* Over the end there is nobody. */
	assert_int_equal(load(&f->m, 0xff00ffff, 2), 0xff99);
	assert_true(load(&f->m, 0xff010000, 4) == 0xffffffff);
}

/* Its ports are where PCI's would begin. */
static void test_ports_of_pci(void **state)
{
	struct fixture *f = *state;
	struct fw_board fw = {0};

	assert_int_equal(cfg_in(&f->m, 3, 0x10, 4), 0x2101);
	assert_int_equal(in(&f->m, 0x2105, 1), 0x60);
	board_describe(f->m.board, &fw);
	assert_int_equal(fw.bus[0].io[2].base, 0x2100);
}

static void test_state(void **state)
{
	struct fixture *f = *state;
	struct state_writer saved = {0};
	struct machine other;
	struct err err = {""};
	static const char *const without[] = {"pci.0.3.0.device=uart",
					      "pci.0.31.0.device=lpc",
					      "lpc.com1.x=1", NULL};

	out(&f->m, 0xe0, 4, 0xdeadbeef);
	out(&f->m, 0x2011, 1, 1);
	out(&f->m, 0x2003, 1, 1);
	store(&f->m, 0xff000100, 4, 0x600d);
	save_board(&f->m, &saved);
	assert_int_equal(machine_start(&other, usual, &err), 0);
	out(&other, 0x2012, 1, 1);
	if (load_board(&other, &saved, &err) != 0)
		fail_msg("%s", err.text);
	assert_int_equal(in(&other, 0xe0, 4), 0xdeadbeef);
	assert_int_equal(load(&other, 0xff000100, 4), 0x600d);
	assert_memory_equal(other.vm.pins, f->m.vm.pins, sizeof(other.vm.pins));
	assert_int_equal(other.vm.wrong, 0);
	machine_end(&other);
	assert_int_equal(machine_start(&other, without, &err), 0);
	assert_true(load_board(&other, &saved, &err) < 0);
	machine_end(&other);
	state_writer_free(&saved);
}

static void test_needs_lpc(void **state)
{
	static const char *const variables[] = {"lpc.pc-testdev=true", NULL};
	struct machine m;
	struct err err = {""};

	(void)state;
	assert_true(machine_start(&m, variables, &err) < 0);
	assert_non_null(strstr(err.text, "lpc.pc-testdev: needs the LPC"));
	machine_end(&m);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_exit),
	    TEST(test_latch),
	    TEST(test_interrupts),
	    TEST(test_memory),
	    TEST(test_ports_of_pci),
	    TEST(test_state),
	    cmocka_unit_test(test_needs_lpc),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
