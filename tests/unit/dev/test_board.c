// SPDX-License-Identifier: BSD-2-Clause
/* The board: bridges, power management, keyboard controller, serial ports. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "board_fixture.h"
#include "dev/board_priv.h"

static const char *const usual[] = {
    "pci.0.0.0.device=hostbridge",
    "pci.0.31.0.device=lpc",
    "lpc.com1.tcp=127.0.0.1:0",
    "lpc.com2.tcp=127.0.0.1:0",
    "lpc.com3.tcp=127.0.0.1:0",
    "pci.0.3.0.device=uart",
    "pci.0.3.1.device=uart",
    "pci.0.4.0.device=uart",
    NULL,
};

static int setup(void **state)
{
	struct machine *m = malloc(sizeof(*m));
	struct err err = {""};

	*state = m;
	if (machine_start(m, usual, &err) != 0)
		fail_msg("%s", err.text);
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	assert_int_equal(m->vm.wrong, 0);
	machine_end(m);
	free(m);
	return 0;
}

static void test_identities(void **state)
{
	struct machine *m = *state;

	assert_int_equal(cfg_in(m, 0, 0, 4), 0x12751275);
	assert_int_equal(cfg_in(m, 0, 10, 2), 0x0600);
	assert_int_equal(cfg_in(m, 31, 0, 4), 0x70008086);
	assert_int_equal(cfg_in(m, 31, 10, 2), 0x0601);
	assert_int_equal(cfg_in(m, 7, 0, 4), 0xffffffff);
	assert_int_equal(cfg_in(m, 3, 0, 4), 0x2000131f);
	/* Multifunction only where there are some. */
	assert_int_equal(cfg_in(m, 3, 14, 1), 0x80);
	assert_int_equal(cfg_in(m, 4, 14, 1), 0x00);
	/* The same by the memory window. */
	assert_int_equal(load(m, 0xe0000000 + (31 << 15), 4), 0x70008086);
	assert_int_equal(load(m, 0xe0000000 + (31 << 15) + 2, 2), 0x7000);
	assert_int_equal(load(m, 0xe0000000 + (3 << 15) + (1 << 12), 4),
			 0x2000131f);
	assert_true(load(m, 0xe0000000, 8) == 0x0000000412751275 ||
		    load(m, 0xe0000000, 4) == 0x12751275);
	assert_int_equal(load(m, 0xe0000100, 4), 0);
	assert_int_equal(load(m, 0xefffffff, 1), 0xff);
	/* No type-1 access without the enable bit. */
	out(m, 0xcf8, 4, 31 << 11);
	assert_int_equal(in(m, 0xcfc, 4), 0xffffffff);
}

static void refuse(const char *first, const char *second, const char *text)
{
	const char *const variables[] = {first, second, NULL};
	struct machine m;
	struct err err = {""};

	assert_true(machine_start(&m, variables, &err) < 0);
	if (strstr(err.text, text) == NULL)
		fail_msg("\"%s\" is not in \"%s\"", text, err.text);
	machine_end(&m);
}

static void test_refusals(void **state)
{
	(void)state;
	refuse("pci.0.0.0.device=x", NULL,
	       "pci slot 0:0:0: unknown device \"x\"");
	refuse("pci.0.30.0.device=lpc", "pci.0.31.0.device=lpc", "31:0");
	refuse("pci.1.31.0.device=lpc", NULL, "only bus 0");
	refuse("pci.0.3.1.device=uart", NULL, "without a function 0");
	refuse("lpc.com1.path=stdio", NULL, "-s 31,lpc");
	refuse("pci.0.31.0.device=lpc", "lpc.com1.path=/dev/null",
	       "pci slot 0:31:0: com1: /dev/null: not a terminal");
	refuse("pci.0.0.0.device=hostbridge", "pci.0.0.0.model=vax", "vax");
	refuse("pci.0.0.0.device=hostbridge", "pci.0.0.0.pcireg.vendor=70000",
	       "pcireg.vendor");
}

static void test_override(void **state)
{
	static const char *const variables[] = {
	    "pci.0.0.0.device=hostbridge",
	    "pci.0.0.0.model=i440fx",
	    "pci.0.0.0.pcireg.subvendor=0x1af4",
	    "pci.0.5.0.device=amd_hostbridge",
	    "pci.0.6.0.device=hostbridge",
	    "pci.0.6.0.model=q35",
	    "pci.0.7.0.device=hostbridge",
	    "pci.0.7.0.model=amd",
	    "pci.0.8.0.device=hostbridge",
	    "pci.0.8.0.model=netapp",
	    NULL,
	};
	struct machine m;

	(void)state;
	assert_int_equal(machine_start(&m, variables, NULL), 0);
	assert_int_equal(cfg_in(&m, 0, 0, 4), 0x12378086);
	assert_int_equal(cfg_in(&m, 0, 0x2c, 2), 0x1af4);
	assert_int_equal(cfg_in(&m, 5, 0, 4), 0x74321022);
	assert_int_equal(cfg_in(&m, 6, 0, 4), 0x29b08086);
	assert_int_equal(cfg_in(&m, 7, 0, 4), 0x74321022);
	assert_int_equal(cfg_in(&m, 8, 0, 4), 0x12751275);
	machine_end(&m);
}

/* com1 and com3 share IRQ 4: it is up while one of them holds it up. */
static void test_com_ports(void **state)
{
	struct machine *m = *state;

	assert_int_equal(in(m, 0x3f8 + 5, 1), 0x60);
	assert_int_equal(in(m, 0x2f8 + 5, 1), 0x60);
	assert_int_equal(in(m, 0x3e8 + 5, 1), 0x60);
	assert_int_equal(in(m, 0x2e8 + 5, 1), 0xff);
	out(m, 0x3f8 + 1, 1, 2);
	assert_int_equal(m->vm.pins[4], 1);
	assert_int_equal(m->vm.pic[4], 1);
	out(m, 0x3e8 + 1, 1, 2);
	out(m, 0x3f8 + 1, 1, 0);
	assert_int_equal(m->vm.pins[4], 1);
	assert_int_equal(in(m, 0x3e8 + 2, 1), 0x02);
	assert_int_equal(m->vm.pins[4], 0);
	assert_int_equal(m->vm.pic[4], 0);
	/* A wide access is as many bytes. */
	assert_int_equal(in(m, 0x3f8 + 4, 4) >> 8 & 0xff, 0x60);
}

static void test_pirq(void **state)
{
	struct machine *m = *state;
	uint16_t port = (uint16_t)(cfg_in(m, 4, 0x10, 4) & ~3u);
	uint8_t irq = (uint8_t)cfg_in(m, 4, 0x3c, 1);
	unsigned int pirq = 0;
	struct fw_board fw = {0};
	unsigned int pin = 0;

	/* As far as it has com ports and SCI, a PIRQ stays away. */
	assert_true(irq != 3 && irq != 4 && irq != 9 && irq < 16);
	assert_int_equal(m->vm.trigger[irq], LEVEL_TRIGGER);
	while (pirq < 4 && cfg_in(m, 31, 0x60 + pirq, 1) != irq)
		pirq++;
	assert_true(pirq < 4);
	board_describe(m->board, &fw);
	for (unsigned int i = 0; i < fw.bus[0].intx_count; i++) {
		if (fw.bus[0].intx[i].slot == 4)
			pin = fw.bus[0].intx[i].ioapic_pin;
	}
	assert_true(pin >= 16 && pin < 32);
	/* The card's interrupt reaches both controllers. */
	out(m, port + 1, 1, 2);
	assert_int_equal(m->vm.pins[pin], 1);
	assert_int_equal(m->vm.pic[irq], 1);
	assert_int_equal(m->vm.pins[irq], 0);
	assert_true(cfg_in(m, 4, 6, 2) & 0x08);
	/* Routed elsewhere, and switched off, while it is up. */
	cfg_out(m, 31, 0x60 + pirq, 1, 15);
	assert_int_equal(m->vm.pic[irq], 0);
	assert_int_equal(m->vm.pic[15], 1);
	cfg_out(m, 31, 0x60 + pirq, 1, 0xff);
	assert_int_equal(cfg_in(m, 31, 0x60 + pirq, 1), 0x8f);
	assert_int_equal(m->vm.pic[15], 0);
	cfg_out(m, 31, 0x60 + pirq, 1, 0); /* the timer's: not allowed */
	assert_int_equal(m->vm.pic[0], 0);
	/* The command register's INTx disable. */
	cfg_out(m, 4, 4, 2, 0x0401);
	assert_int_equal(m->vm.pins[pin], 0);
	assert_true(cfg_in(m, 4, 4, 4) & 0x080000);
	cfg_out(m, 4, 4, 2, 0x0001);
	assert_int_equal(m->vm.pins[pin], 1);
	in(m, port + 2, 1);
	assert_int_equal(m->vm.pins[pin], 0);
}

static unsigned int pirq_register(unsigned int pirq)
{
	return pirq < 4 ? 0x60 + pirq : 0x68 + pirq - 4;
}

/* Nine cards on the eight PIRQs A to H; the ninth shares the first one's. */
static void test_all_pirqs(void **state)
{
	static const char *const variables[] = {
	    "pci.0.31.0.device=lpc",
	    "pci.0.3.0.device=uart",
	    "pci.0.4.0.device=uart",
	    "pci.0.5.0.device=uart",
	    "pci.0.6.0.device=uart",
	    "pci.0.7.0.device=uart",
	    "pci.0.8.0.device=uart",
	    "pci.0.9.0.device=uart",
	    "pci.0.10.0.device=uart",
	    "pci.0.11.0.device=uart",
	    NULL,
	};
	struct machine m;
	uint16_t ports[9];

	(void)state;
	assert_int_equal(machine_start(&m, variables, NULL), 0);
	for (unsigned int i = 0; i < ARRAY_SIZE(ports); i++)
		ports[i] = (uint16_t)(cfg_in(&m, 3 + i, 0x10, 4) & ~3u);
	for (unsigned int i = 0; i < 8; i++) {
		uint8_t irq = (uint8_t)cfg_in(&m, 3 + i, 0x3c, 1);

		assert_int_equal(cfg_in(&m, 31, pirq_register(i), 1), irq);
		assert_int_equal(m.vm.trigger[irq], LEVEL_TRIGGER);
	}
	for (unsigned int i = 0; i < 8; i++) {
		/* Alone on IRQ 10, and on its own pin of the IOAPIC. */
		for (unsigned int j = 0; j < 8; j++)
			cfg_out(&m, 31, pirq_register(j), 1,
				j == i ? 10 : 0x80);
		out(&m, ports[i] + 1u, 1, 2);
		assert_int_equal(m.vm.pic[10], 1);
		assert_int_equal(m.vm.pins[16 + i], 1);
		out(&m, ports[i] + 1u, 1, 0);
		assert_int_equal(m.vm.pic[10], 0);
		assert_int_equal(m.vm.pins[16 + i], 0);
	}
	/* Two on PIRQ A: up while one of them is. */
	cfg_out(&m, 31, pirq_register(0), 1, 11);
	out(&m, ports[0] + 1u, 1, 2);
	out(&m, ports[8] + 1u, 1, 2);
	out(&m, ports[0] + 1u, 1, 0);
	assert_int_equal(m.vm.pic[11], 1);
	/* And two PIRQs on one IRQ. */
	cfg_out(&m, 31, pirq_register(7), 1, 11);
	out(&m, ports[7] + 1u, 1, 2);
	out(&m, ports[8] + 1u, 1, 0);
	assert_int_equal(m.vm.pic[11], 1);
	cfg_out(&m, 31, pirq_register(7), 1, 0x8b);
	assert_int_equal(m.vm.pic[11], 0);
	assert_int_equal(m.vm.wrong, 0);
	machine_end(&m);
}

static void test_describe(void **state)
{
	struct machine *m = *state;
	struct fw_board fw = {0};

	m->vm.highmem = 5 * GiB;
	board_describe(m->board, &fw);
	assert_int_equal(fw.hpet_id, 0x80868701);
	assert_true(fw.has_lpc);
	assert_int_equal(fw.lpc_slot, 31);
	assert_true(fw.com[0].present && fw.com[0].port == 0x3f8 &&
		    fw.com[0].irq == 4);
	assert_true(fw.com[2].present && !fw.com[3].present);
	assert_int_equal(fw.bus_count, 1);
	assert_int_equal(fw.bus[0].intx_count, 3);
	assert_true(fw.bus[0].mem32.base == 0xc0000000 &&
		    fw.bus[0].mem32.size == 0x20000000);
	assert_true(fw.lowmem == 1 * GiB && fw.highmem == 5 * GiB);
}

static void test_acpi(void **state)
{
	struct machine *m = *state;

	assert_false(board_power_button(m->board));
	assert_int_equal(in(m, 0x404, 2), 0);
	out(m, 0xb2, 1, 0xa0);
	assert_int_equal(in(m, 0x404, 2), 1);
	assert_true(board_power_button(m->board));
	assert_int_equal(in(m, 0x400, 2), 0x0100);
	assert_int_equal(m->vm.pins[9], 0);
	out(m, 0x402, 2, 0xffff);
	assert_int_equal(in(m, 0x402, 2), 0x0721);
	assert_int_equal(in(m, 0x400, 4), 0x07210100);
	assert_int_equal(m->vm.pins[9], 1);
	assert_int_equal(m->vm.trigger[9], LEVEL_TRIGGER);
	out(m, 0x400, 2, 0x0001); /* another bit */
	assert_int_equal(m->vm.pins[9], 1);
	out(m, 0x400, 2, 0x0100);
	assert_int_equal(m->vm.pins[9], 0);
	assert_int_equal(in(m, 0x400, 2), 0);
	/* SCI_EN is not the guest's to write. */
	out(m, 0x404, 2, 0x0000);
	assert_int_equal(in(m, 0x404, 2), 1);
	out(m, 0xb2, 1, 0xa1);
	assert_false(board_power_button(m->board));
	/* GPE0. */
	out(m, 0x40d, 1, 0x0f);
	assert_int_equal(in(m, 0x40c, 2), 0x0f00);
	/* Another sleep state does nothing, S5 powers off. */
	out(m, 0x404, 2, 3 << 10 | 0x2000);
	assert_int_equal(m->vm.how, VM_SUSPEND_NONE);
	out(m, 0x404, 2, 5 << 10);
	assert_int_equal(m->vm.how, VM_SUSPEND_NONE);
	out(m, 0x404, 2, 5 << 10 | 0x2000);
	assert_int_equal(m->vm.how, VM_SUSPEND_POWEROFF);
	assert_int_equal(in(m, 0x404, 2), 5 << 10);
}

static void expect_reset(struct machine *m)
{
	assert_int_equal(m->vm.how, VM_SUSPEND_RESET);
	m->vm.how = VM_SUSPEND_NONE;
}

static void test_resets(void **state)
{
	struct machine *m = *state;

	out(m, 0xcf9, 1, 2);
	assert_int_equal(in(m, 0xcf9, 1), 2);
	assert_int_equal(m->vm.how, VM_SUSPEND_NONE);
	out(m, 0xcf9, 1, 6);
	expect_reset(m);
	out(m, 0xcf9, 1, 6); /* no rising edge */
	assert_int_equal(m->vm.how, VM_SUSPEND_NONE);
	/* A dword at 0xcf8 is an address, and no reset. */
	out(m, 0xcf9, 1, 0);
	out(m, 0xcf8, 4, 0x80000600);
	assert_int_equal(m->vm.how, VM_SUSPEND_NONE);
	assert_int_equal(in(m, 0x92, 1), 2);
	out(m, 0x92, 1, 3);
	expect_reset(m);
	out(m, 0x64, 1, 0xfe);
	expect_reset(m);
	out(m, 0x64, 1, 0xff);
	assert_int_equal(m->vm.how, VM_SUSPEND_NONE);
	out(m, 0x64, 1, 0xd1);
	out(m, 0x60, 1, 0x02);
	expect_reset(m);
}

static uint32_t kbc_answer(struct machine *m)
{
	assert_true(in(m, 0x64, 1) & 1);
	return in(m, 0x60, 1);
}

/* i8042_controller_check and i8042_check_aux of Linux, and atkbd's probe. */
static void test_keyboard_controller(void **state)
{
	struct machine *m = *state;
	static const uint8_t silent[] = {0xff, 0x00};

	assert_false(in(m, 0x64, 1) & 1);
	out(m, 0x64, 1, 0xaa);
	assert_int_equal(kbc_answer(m), 0x55);
	assert_true(in(m, 0x64, 1) & 4);
	out(m, 0x64, 1, 0xab);
	assert_int_equal(kbc_answer(m), 0);
	out(m, 0x64, 1, 0x60);
	out(m, 0x60, 1, 0x45);
	out(m, 0x64, 1, 0x20);
	assert_int_equal(kbc_answer(m), 0x45);
	/* No mouse: loopback without the mouse's mark, test fails. */
	out(m, 0x64, 1, 0xd3);
	out(m, 0x60, 1, 0x5a);
	assert_false(in(m, 0x64, 1) & 0x20);
	assert_int_equal(kbc_answer(m), 0x5a);
	out(m, 0x64, 1, 0xa9);
	assert_int_equal(kbc_answer(m), 1);
	/* The keyboard, each byte with an edge of its interrupt. */
	m->vm.edges[1] = 0;
	out(m, 0x60, 1, 0xff);
	assert_int_equal(kbc_answer(m), 0xfa);
	assert_int_equal(kbc_answer(m), 0xaa);
	assert_int_equal(m->vm.edges[1], 2);
	assert_int_equal(m->vm.pins[1], 0);
	out(m, 0x60, 1, 0xf2);
	assert_int_equal(kbc_answer(m), 0xfa);
	assert_int_equal(kbc_answer(m), 0xab);
	assert_int_equal(kbc_answer(m), 0x41);
	out(m, 0x60, 1, 0xed);
	assert_int_equal(kbc_answer(m), 0xfa);
	out(m, 0x60, 1, 0x02);
	assert_int_equal(kbc_answer(m), 0xfa);
	out(m, 0x60, 1, 0xf0);
	out(m, 0x60, 1, 0x00);
	assert_int_equal(kbc_answer(m), 0xfa);
	assert_int_equal(kbc_answer(m), 0xfa);
	assert_int_equal(kbc_answer(m), 2);
	out(m, 0x60, 1, 0x33);
	assert_int_equal(kbc_answer(m), 0xfe);
	assert_false(in(m, 0x64, 1) & 1);
	/* Many commands without reading. */
	for (int i = 0; i < 1000; i++)
		out(m, 0x60, 1, silent[i & 1]);
	for (int i = 0; i < 16; i++)
		kbc_answer(m);
	assert_false(in(m, 0x64, 1) & 1);
}

static void test_state(void **state)
{
	struct machine *m = *state;
	struct machine other;
	struct state_writer first = {0}, second = {0};
	struct state_reader reader;
	struct err err = {""};

	out(m, 0xb2, 1, 0xa0);
	out(m, 0x402, 2, 0x0100);
	board_power_button(m->board);
	out(m, 0x60, 1, 0xf2);
	out(m, 0x64, 1, 0xd1);
	out(m, 0x3f8 + 7, 1, 0x5a);
	out(m, 0x2f8 + 1, 1, 0x02);
	cfg_out(m, 31, 0x60, 1, 0x8b);
	cfg_out(m, 4, 0x10, 4, 0x7000);
	out(m, 0x7001, 1, 2);
	save_board(m, &first);
	assert_int_equal(machine_start(&other, usual, &err), 0);
	if (load_board(&other, &first, &err) != 0)
		fail_msg("%s", err.text);
	save_board(&other, &second);
	assert_int_equal(first.size, second.size);
	assert_memory_equal(first.data, second.data, first.size);
	assert_memory_equal(m->vm.pins, other.vm.pins, sizeof(m->vm.pins));
	assert_memory_equal(m->vm.pic, other.vm.pic, sizeof(m->vm.pic));
	assert_int_equal(in(&other, 0x7001, 1), 2);
	assert_int_equal(in(&other, 0x3f8 + 7, 1), 0x5a);
	/* Damage anywhere is refused or harmless. */
	for (size_t i = 0; i < first.size; i += 3) {
		uint8_t before = first.data[i];

		first.data[i] ^= 0xff;
		(void)load_board(&other, &first, &err);
		first.data[i] = before;
	}
	first.size /= 2;
	assert_true(load_board(&other, &first, &err) < 0);
	/* Never without a pause. */
	reader = (struct state_reader){first.data, first.size, 0};
	assert_int_equal(board_load(other.board, &reader, &err), -EBUSY);
	assert_int_equal(board_save(other.board, &second), -EBUSY);
	machine_end(&other);
	state_writer_free(&first);
	state_writer_free(&second);
}

/* Every port, every width, any value: nothing but the VM's end may come. */
static void test_hostile(void **state)
{
	struct machine *m = *state;
	static const unsigned int widths[] = {1, 2, 4};
	uint32_t seed = 7;

	for (unsigned int port = 0; port <= 0xffff; port++) {
		for (unsigned int i = 0; i < 3; i++) {
			in(m, (uint16_t)port, widths[i]);
			seed = seed * 1664525 + 1013904223;
			out(m, (uint16_t)port, widths[i], seed);
		}
	}
	for (unsigned int i = 0; i < 300000; i++) {
		unsigned int width = 1u << (seed >> 28 & 3);
		uint64_t gpa = 0xe0000000 + (seed & 0xfffffu);

		seed = seed * 1664525 + 1013904223;
		store(m, gpa, width, (uint64_t)seed << 20 | seed);
		load(m, gpa, width);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_identities),
	    cmocka_unit_test(test_refusals),
	    cmocka_unit_test(test_override),
	    TEST(test_com_ports),
	    TEST(test_pirq),
	    cmocka_unit_test(test_all_pirqs),
	    TEST(test_describe),
	    TEST(test_acpi),
	    TEST(test_resets),
	    TEST(test_keyboard_controller),
	    TEST(test_state),
	    TEST(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
