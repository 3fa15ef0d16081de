// SPDX-License-Identifier: BSD-2-Clause
/* The UART, driven as Linux's 8250 driver drives it, over a fake backend. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/chardev.h"
#include "dev/uart_ns16550.h"

#define RBR 0
#define THR 0
#define IER 1
#define IIR 2
#define FCR 2
#define LCR 3
#define MCR 4
#define LSR 5
#define MSR 6
#define SCR 7

/* In place of backend/chardev.c: two arrays. */
struct chardev {
	const struct chardev_events *events;
	void *arg;
	uint8_t in[64];
	size_t in_count;
	uint8_t out[64];
	size_t out_count;
	size_t out_room;
};

int chardev_attach(struct chardev *dev, const struct chardev_events *events,
		   void *arg, struct err *err)
{
	(void)err;
	dev->events = events;
	dev->arg = arg;
	return 0;
}

void chardev_close(struct chardev *dev)
{
	(void)dev;
}

size_t chardev_read(struct chardev *dev, uint8_t *to, size_t room)
{
	size_t count = MIN(room, dev->in_count);

	memcpy(to, dev->in, count);
	dev->in_count -= count;
	memmove(dev->in, dev->in + count, dev->in_count);
	return count;
}

size_t chardev_write(struct chardev *dev, const uint8_t *from, size_t len)
{
	size_t count = MIN(len, dev->out_room - dev->out_count);

	memcpy(dev->out + dev->out_count, from, count);
	dev->out_count += count;
	return count;
}

struct fixture {
	struct uart *uart;
	struct chardev host;
	bool line;
	unsigned int edges;
};

static void set_line(void *arg, bool level)
{
	struct fixture *f = arg;

	f->edges += level && !f->line;
	f->line = level;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct uart_line line = {set_line, f};

	f->host.out_room = sizeof(f->host.out);
	*state = f;
	return uart_create("com1", &f->host, &line, &f->uart, NULL);
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	uart_destroy(f->uart);
	free(f);
	return 0;
}

static void type(struct fixture *f, const char *text)
{
	size_t len = strlen(text);

	memcpy(f->host.in + f->host.in_count, text, len);
	f->host.in_count += len;
	f->host.events->readable(f->host.arg);
}

static uint8_t rd(struct fixture *f, unsigned int offset)
{
	return uart_read(f->uart, offset);
}

static void wr(struct fixture *f, unsigned int offset, uint8_t value)
{
	uart_write(f->uart, offset, value);
}

/* autoconfig() of drivers/tty/serial/8250, step by step. */
static void test_linux_autoconfig(void **state)
{
	struct fixture *f = *state;
	uint8_t before;

	before = rd(f, IER);
	wr(f, IER, 0);
	assert_int_equal(rd(f, IER) & 0x0f, 0);
	wr(f, IER, 0x0f);
	assert_int_equal(rd(f, IER) & 0x0f, 0x0f);
	wr(f, IER, before);
	/* The loopback test. */
	before = rd(f, MCR);
	wr(f, MCR, 0x10 | 0x0a);
	assert_int_equal(rd(f, MSR) & 0xf0, 0x90);
	wr(f, MCR, before);
	/* A 16550A by its FIFO bits; none of its extended relatives. */
	wr(f, LCR, 0xbf);
	wr(f, FCR, 0);
	wr(f, LCR, 0);
	wr(f, FCR, 1);
	assert_int_equal(rd(f, IIR) >> 6, 3);
	wr(f, FCR, 1);
	wr(f, LCR, 0x80);
	assert_int_not_equal(rd(f, IIR), 0);
	wr(f, LCR, 0xbf);
	assert_int_not_equal(rd(f, IIR), 0);
	wr(f, LCR, 0);
	before = rd(f, MCR);
	wr(f, LCR, 0xe0);
	assert_int_equal(rd(f, 2) & 0x10, before & 0x10);
	wr(f, LCR, 0);
	wr(f, MCR, before ^ 0x10);
	wr(f, LCR, 0xe0);
	assert_int_equal(rd(f, 2) & 0x10, before & 0x10);
	wr(f, LCR, 0);
	wr(f, MCR, before);
	/* No 64-byte FIFO (16750), no UUE bit (XScale). */
	wr(f, FCR, 1);
	assert_int_equal(rd(f, IIR) >> 5, 6);
	wr(f, FCR, 0);
	wr(f, LCR, 0x80);
	wr(f, FCR, 0x21);
	assert_int_equal(rd(f, IIR) >> 5, 6);
	wr(f, FCR, 0);
	wr(f, LCR, 0);
	wr(f, IER, 0x40);
	assert_int_equal(rd(f, IER), 0);
}

/* serial8250_do_startup(): the THRE interrupt comes back when enabled. */
static void test_linux_startup(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rd(f, LSR) & 0x60, 0x60);
	wr(f, IER, 2);
	assert_int_equal(rd(f, IIR), 0x02);
	wr(f, IER, 0);
	assert_int_equal(rd(f, IIR), 0x01);
	wr(f, IER, 2);
	assert_true(f->line);
	assert_int_equal(rd(f, IIR), 0x02);
	assert_false(f->line); /* reading it cleared it */
	assert_int_equal(rd(f, IIR), 0x01);
}

static void test_divisor_and_scratch(void **state)
{
	struct fixture *f = *state;

	wr(f, LCR, 0x83);
	wr(f, 0, 0x34);
	wr(f, 1, 0x12);
	assert_int_equal(rd(f, 0), 0x34);
	assert_int_equal(rd(f, 1), 0x12);
	wr(f, LCR, 0x03);
	assert_int_equal(rd(f, LCR), 0x03);
	assert_int_equal(rd(f, IER), 0);
	wr(f, SCR, 0xa5);
	assert_int_equal(rd(f, SCR), 0xa5);
	wr(f, LSR, 0);
	assert_int_equal(rd(f, LSR), 0x60);
	assert_int_equal(f->host.out_count, 0);
}

static void test_output(void **state)
{
	struct fixture *f = *state;
	unsigned int edges;

	for (const char *c = "hello"; *c != '\0'; c++) {
		assert_true(rd(f, LSR) & 0x20);
		wr(f, THR, (uint8_t)*c);
	}
	assert_int_equal(f->host.out_count, 5);
	assert_memory_equal(f->host.out, "hello", 5);
	/* Each byte sent with the interrupt enabled shows an edge. */
	wr(f, IER, 2);
	edges = f->edges;
	for (int i = 0; i < 10; i++)
		wr(f, THR, '.');
	assert_int_equal(f->edges, edges + 10);
}

/* The backend is full: THRE stays clear, nothing is lost that was told. */
static void test_back_pressure(void **state)
{
	struct fixture *f = *state;

	f->host.out_room = 4;
	wr(f, FCR, 1);
	wr(f, IER, 2);
	assert_int_equal(rd(f, IIR), 0xc2);
	for (int i = 0; i < 16; i++)
		wr(f, THR, (uint8_t)('a' + i));
	assert_int_equal(f->host.out_count, 4);
	assert_int_equal(rd(f, LSR) & 0x60, 0);
	assert_false(f->line);
	f->host.out_room = 10;
	f->host.events->writable(f->host.arg);
	assert_int_equal(rd(f, LSR) & 0x60, 0);
	assert_false(f->line);
	f->host.out_room = 64;
	f->host.events->writable(f->host.arg);
	assert_memory_equal(f->host.out, "abcdefghijklmnop", 16);
	assert_int_equal(rd(f, LSR) & 0x60, 0x60);
	assert_true(f->line);
	assert_int_equal(rd(f, IIR), 0xc2);
}

static void test_overflow_of_transmitter(void **state)
{
	struct fixture *f = *state;

	f->host.out_room = 0;
	for (int fifo = 0; fifo < 2; fifo++) {
		wr(f, FCR, (uint8_t)fifo);
		for (int i = 0; i < 1000; i++)
			wr(f, THR, 'x');
		wr(f, FCR, (uint8_t)(fifo | 4));
		assert_int_equal(rd(f, LSR) & 0x60, fifo ? 0x60 : 0);
	}
}

static void test_input(void **state)
{
	struct fixture *f = *state;

	type(f, "a");
	assert_false(f->line); /* not enabled yet */
	assert_int_equal(rd(f, LSR), 0x61);
	wr(f, IER, 1);
	assert_true(f->line);
	assert_int_equal(rd(f, IIR), 0x04);
	/* Without a FIFO one byte is in the chip, the rest waits outside. */
	type(f, "bc");
	assert_int_equal(rd(f, RBR), 'a');
	assert_int_equal(rd(f, RBR), 'b');
	assert_true(f->line);
	assert_int_equal(rd(f, RBR), 'c');
	assert_false(f->line);
	assert_int_equal(rd(f, LSR), 0x60);
	assert_int_equal(rd(f, IIR), 0x01);
}

static void test_fifo_levels(void **state)
{
	struct fixture *f = *state;

	wr(f, IER, 1);
	wr(f, FCR, 0x81); /* 8 bytes */
	type(f, "1234567");
	assert_true(f->line);
	assert_int_equal(rd(f, IIR), 0xcc); /* character timeout */
	type(f, "8");
	assert_int_equal(rd(f, IIR), 0xc4);
	assert_int_equal(rd(f, RBR), '1');
	assert_int_equal(rd(f, IIR), 0xcc);
	/* Input beyond 16 bytes waits; nothing is lost. */
	type(f, "abcdefghijklmnopqrst");
	for (const char *c = "2345678abcdefghijklmnopqrst"; *c != '\0'; c++)
		assert_int_equal(rd(f, RBR), *c);
	assert_int_equal(rd(f, LSR), 0x60);
	type(f, "gone");
	wr(f, FCR, 0x83);
	assert_int_equal(rd(f, LSR), 0x60);
}

static void test_loopback(void **state)
{
	struct fixture *f = *state;

	wr(f, FCR, 1);
	wr(f, MCR, 0x10);
	type(f, "host");
	for (int i = 0; i < 17; i++)
		wr(f, THR, (uint8_t)i);
	assert_int_equal(f->host.out_count, 0);
	wr(f, IER, 5);
	assert_int_equal(rd(f, IIR), 0xc6);
	assert_int_equal(rd(f, LSR) & 0x03, 0x03); /* and an overrun */
	assert_int_equal(rd(f, IIR), 0xc4);
	for (int i = 0; i < 16; i++)
		assert_int_equal(rd(f, RBR), i);
	assert_int_equal(rd(f, LSR), 0x60);
	/* Out of loopback the line is heard again. */
	wr(f, MCR, 0);
	assert_int_equal(rd(f, RBR), 'h');
}

static void test_modem_status(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(rd(f, MSR), 0xb0);
	wr(f, IER, 8);
	assert_false(f->line);
	wr(f, MCR, 0x10); /* all lines drop */
	assert_true(f->line);
	assert_int_equal(rd(f, IIR), 0x00);
	assert_int_equal(rd(f, MSR), 0x0b);
	assert_false(f->line);
	wr(f, MCR, 0x14); /* RI rises: no change reported */
	assert_int_equal(rd(f, MSR), 0x40);
	wr(f, MCR, 0x10); /* and falls */
	assert_int_equal(rd(f, MSR), 0x04);
	assert_int_equal(rd(f, MSR), 0x00);
}

static void test_priorities(void **state)
{
	struct fixture *f = *state;

	wr(f, MCR, 0x10);
	wr(f, THR, 1);
	wr(f, THR, 2); /* overrun */
	wr(f, IER, 0x0f);
	assert_int_equal(rd(f, IIR), 0x06);
	rd(f, LSR);
	assert_int_equal(rd(f, IIR), 0x04);
	assert_int_equal(rd(f, RBR), 2);
	assert_int_equal(rd(f, IIR), 0x02);
	assert_int_equal(rd(f, IIR), 0x00);
	rd(f, MSR);
	assert_int_equal(rd(f, IIR), 0x01);
	assert_false(f->line);
}

static void test_state(void **state)
{
	struct fixture *f = *state;
	struct fixture g = {.host.out_room = 64};
	struct uart_line line = {set_line, &g};
	struct state_writer first = {0}, second = {0};
	struct state_reader reader;
	struct err err;

	f->host.out_room = 0;
	wr(f, FCR, 0x41);
	wr(f, LCR, 0x03);
	wr(f, SCR, 0x77);
	wr(f, MCR, 0x0b);
	wr(f, THR, 'o');
	wr(f, IER, 0x05);
	type(f, "in");
	assert_int_equal(uart_save(f->uart, 3, &first), 0);
	g.host.out_room = 0;
	assert_int_equal(uart_create("com1", &g.host, &line, &g.uart, NULL), 0);
	reader = (struct state_reader){first.data, first.size, 0};
	assert_int_equal(uart_load(g.uart, 3, &reader, &err), 0);
	assert_int_equal(uart_save(g.uart, 3, &second), 0);
	assert_int_equal(first.size, second.size);
	assert_memory_equal(first.data, second.data, first.size);
	assert_true(g.line);
	assert_int_equal(uart_read(g.uart, RBR), 'i');
	g.host.out_room = 64;
	g.host.events->writable(g.host.arg);
	assert_int_equal(g.host.out[0], 'o');
	/* Counts that do not fit the FIFOs are refused, and change nothing. */
	for (size_t i = 0; i + 1 < first.size; i++) {
		uint8_t before = first.data[i];

		first.data[i] = 0xff;
		reader = (struct state_reader){first.data, first.size, 0};
		(void)uart_load(g.uart, 3, &reader, &err);
		for (int n = 0; n < 40; n++)
			(void)uart_read(g.uart, RBR);
		for (int n = 0; n < 40; n++)
			uart_write(g.uart, THR, 0);
		first.data[i] = before;
	}
	uart_destroy(g.uart);
	state_writer_free(&first);
	state_writer_free(&second);
}

/* Any offset, and any value at any register, in any order. */
static void test_hostile(void **state)
{
	struct fixture *f = *state;
	uint32_t seed = 1;

	f->host.out_room = 0;
	for (int i = 0; i < 200000; i++) {
		seed = seed * 1664525 + 1013904223;
		if (seed & 0x80000000)
			wr(f, seed >> 8 & 15, (uint8_t)(seed >> 16));
		else
			rd(f, seed >> 8 & 15);
		if (i % 1000 == 0)
			type(f, "x");
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_linux_autoconfig),
	    TEST(test_linux_startup),
	    TEST(test_divisor_and_scratch),
	    TEST(test_output),
	    TEST(test_back_pressure),
	    TEST(test_overflow_of_transmitter),
	    TEST(test_input),
	    TEST(test_fifo_levels),
	    TEST(test_loopback),
	    TEST(test_modem_status),
	    TEST(test_priorities),
	    TEST(test_state),
	    TEST(test_hostile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
