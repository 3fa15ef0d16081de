// SPDX-License-Identifier: BSD-2-Clause
/* The UART, after National Semiconductor's data sheet PC16550D (1995). */
#include "dev/uart_ns16550.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "backend/chardev.h"

enum uart_register {
	REG_DATA = 0, /* RBR read, THR write; DLL with DLAB */
	REG_IER = 1,  /* DLM with DLAB */
	REG_IIR = 2,  /* FCR write */
	REG_LCR = 3,
	REG_MCR = 4,
	REG_LSR = 5,
	REG_MSR = 6,
	REG_SCR = 7,
};

#define IER_RDA  0x01
#define IER_THRE 0x02
#define IER_RLS  0x04
#define IER_MSI  0x08
#define IER_BITS 0x0f

#define IIR_NONE    0x01
#define IIR_MSI     0x00
#define IIR_THRE    0x02
#define IIR_RDA     0x04
#define IIR_RLS     0x06
#define IIR_TIMEOUT 0x0c
#define IIR_FIFOS   0xc0

#define FCR_ENABLE   0x01
#define FCR_CLEAR_RX 0x02
#define FCR_CLEAR_TX 0x04
#define FCR_KEPT     0xc9 /* trigger level, DMA mode, enable */

#define LCR_DLAB 0x80

#define MCR_DTR  0x01
#define MCR_RTS  0x02
#define MCR_OUT1 0x04
#define MCR_OUT2 0x08
#define MCR_LOOP 0x10
#define MCR_BITS 0x1f

#define LSR_DR   0x01
#define LSR_OE   0x02
#define LSR_THRE 0x20
#define LSR_TEMT 0x40

#define MSR_DCTS  0x01
#define MSR_DDSR  0x02
#define MSR_TERI  0x04
#define MSR_DDCD  0x08
#define MSR_CTS   0x10
#define MSR_DSR   0x20
#define MSR_RI    0x40
#define MSR_DCD   0x80
#define MSR_LINES 0xf0

#define FIFO_SIZE 16

/* What the guest can see of it, and what is saved. */
struct uart_state {
	uint8_t dll;
	uint8_t dlm;
	uint8_t ier;
	uint8_t fcr;
	uint8_t lcr;
	uint8_t mcr;
	uint8_t msr; /* lines, and their changes since the last read */
	uint8_t scr;
	uint8_t overrun;
	uint8_t thre_pending; /* IIR_THRE is due, were IER to allow it */
	uint8_t rx_count;
	uint8_t tx_count;
	uint8_t rx[FIFO_SIZE]; /* oldest first */
	uint8_t tx[FIFO_SIZE];
};

struct uart {
	struct chardev *backend;
	struct uart_line line;
	struct io_range range;
	pthread_mutex_t lock; /* for what follows */
	bool asserted;        /* the level of line */
	struct uart_state s;
};

/* -- interrupts ------------------------------------------------------------ */

static unsigned int rx_trigger(const struct uart *uart)
{
	static const uint8_t levels[] = {1, 4, 8, 14};

	return uart->s.fcr & FCR_ENABLE ? levels[uart->s.fcr >> 6] : 1;
}

/* The cause of highest priority (data sheet, table IV). */
static uint8_t interrupt_cause(const struct uart *uart)
{
	if (uart->s.ier & IER_RLS && uart->s.overrun)
		return IIR_RLS;
	if (uart->s.ier & IER_RDA && uart->s.rx_count >= rx_trigger(uart))
		return IIR_RDA;
	if (uart->s.ier & IER_RDA && uart->s.rx_count > 0)
		return IIR_TIMEOUT;
	if (uart->s.ier & IER_THRE && uart->s.thre_pending)
		return IIR_THRE;
	if (uart->s.ier & IER_MSI && uart->s.msr & ~MSR_LINES)
		return IIR_MSI;
	return IIR_NONE;
}

static void set_line(struct uart *uart, bool level)
{
	if (uart->asserted == level)
		return;
	uart->asserted = level;
	uart->line.set(uart->line.arg, level);
}

static void update_line(struct uart *uart)
{
	set_line(uart, interrupt_cause(uart) != IIR_NONE);
}

/* -- transmitter ----------------------------------------------------------- */

static void receive(struct uart *uart, uint8_t byte);

/* Sends what is held back, as far as the other side takes it. */
static void transmit(struct uart *uart)
{
	size_t sent = uart->s.tx_count;

	if (uart->s.tx_count == 0)
		return;
	if (uart->s.mcr & MCR_LOOP) {
		for (unsigned int i = 0; i < uart->s.tx_count; i++)
			receive(uart, uart->s.tx[i]);
	} else if (uart->backend != NULL) {
		sent =
		    chardev_write(uart->backend, uart->s.tx, uart->s.tx_count);
	}
	uart->s.tx_count = (uint8_t)(uart->s.tx_count - sent);
	memmove(uart->s.tx, uart->s.tx + sent, uart->s.tx_count);
	if (uart->s.tx_count == 0)
		uart->s.thre_pending = 1;
}

/*
 * The interrupt for an empty transmitter goes away here and comes back with
 * the byte sent: the line must show that edge, or an edge-triggered interrupt
 * controller would never hear of it.
 */
static void write_thr(struct uart *uart, uint8_t byte)
{
	unsigned int room = uart->s.fcr & FCR_ENABLE ? FIFO_SIZE : 1;

	uart->s.thre_pending = 0;
	update_line(uart);
	/* A full transmitter's last byte is overwritten. */
	if (uart->s.tx_count >= room)
		uart->s.tx_count = (uint8_t)(room - 1);
	uart->s.tx[uart->s.tx_count++] = byte;
	transmit(uart);
}

/* -- receiver -------------------------------------------------------------- */

static unsigned int rx_size(const struct uart *uart)
{
	return uart->s.fcr & FCR_ENABLE ? FIFO_SIZE : 1;
}

/* Without a FIFO the new byte replaces the old, with one it is lost. */
static void receive(struct uart *uart, uint8_t byte)
{
	if (uart->s.rx_count < rx_size(uart)) {
		uart->s.rx[uart->s.rx_count++] = byte;
		return;
	}
	uart->s.overrun = 1;
	if (!(uart->s.fcr & FCR_ENABLE))
		uart->s.rx[0] = byte;
}

/* Takes from the backend what there is room for. In loopback the receiver is
   cut off from the line; what comes waits in the backend. */
static void pull(struct uart *uart)
{
	unsigned int room = rx_size(uart);

	if (uart->backend == NULL || uart->s.mcr & MCR_LOOP ||
	    uart->s.rx_count >= room)
		return;
	uart->s.rx_count +=
	    (uint8_t)chardev_read(uart->backend, uart->s.rx + uart->s.rx_count,
				  room - uart->s.rx_count);
}

static uint8_t read_rbr(struct uart *uart)
{
	uint8_t byte;

	if (uart->s.rx_count == 0)
		return uart->s.rx[0]; /* the last byte again */
	byte = uart->s.rx[0];
	uart->s.rx_count--;
	memmove(uart->s.rx, uart->s.rx + 1, uart->s.rx_count);
	if (uart->s.rx_count == 0)
		uart->s.rx[0] = byte;
	pull(uart);
	return byte;
}

/* -- registers ------------------------------------------------------------- */

static void write_ier(struct uart *uart, uint8_t value)
{
	uint8_t before = uart->s.ier;

	uart->s.ier = value & IER_BITS;
	/* Enabled while the transmitter is empty: the interrupt comes now. */
	if (uart->s.ier & ~before & IER_THRE && uart->s.tx_count == 0)
		uart->s.thre_pending = 1;
}

static void write_fcr(struct uart *uart, uint8_t value)
{
	bool clear = (value ^ uart->s.fcr) & FCR_ENABLE;
	/* The other bits count only together with the enable bit. */
	uint8_t bits = value & FCR_ENABLE ? value : 0;

	if (clear || bits & FCR_CLEAR_RX)
		uart->s.rx_count = 0;
	if ((clear || bits & FCR_CLEAR_TX) && uart->s.tx_count > 0) {
		uart->s.tx_count = 0;
		uart->s.thre_pending = 1;
	}
	uart->s.fcr = bits & FCR_KEPT;
	pull(uart);
}

/* What the modem lines are: in loopback our own outputs, else a cable to
   someone who is always ready. */
static uint8_t modem_lines(const struct uart *uart)
{
	uint8_t lines = 0;

	if (!(uart->s.mcr & MCR_LOOP))
		return MSR_CTS | MSR_DSR | MSR_DCD;
	if (uart->s.mcr & MCR_RTS)
		lines |= MSR_CTS;
	if (uart->s.mcr & MCR_DTR)
		lines |= MSR_DSR;
	if (uart->s.mcr & MCR_OUT1)
		lines |= MSR_RI;
	if (uart->s.mcr & MCR_OUT2)
		lines |= MSR_DCD;
	return lines;
}

static void write_mcr(struct uart *uart, uint8_t value)
{
	uint8_t before = uart->s.msr & MSR_LINES;
	uint8_t lines;

	uart->s.mcr = value & MCR_BITS;
	lines = modem_lines(uart);
	/* CTS, DSR and DCD: any change; RI: its trailing edge. */
	uart->s.msr |=
	    (uint8_t)((lines ^ before) & (MSR_CTS | MSR_DSR | MSR_DCD)) >> 4;
	if (before & ~lines & MSR_RI)
		uart->s.msr |= MSR_TERI;
	uart->s.msr = (uint8_t)(lines | (uart->s.msr & ~MSR_LINES));
	transmit(uart);
	pull(uart);
}

static uint8_t read_iir(struct uart *uart)
{
	uint8_t cause = interrupt_cause(uart);

	if (cause == IIR_THRE)
		uart->s.thre_pending = 0;
	return cause | (uart->s.fcr & FCR_ENABLE ? IIR_FIFOS : 0);
}

static uint8_t read_lsr(struct uart *uart)
{
	uint8_t lsr = 0;

	if (uart->s.rx_count > 0)
		lsr |= LSR_DR;
	if (uart->s.overrun)
		lsr |= LSR_OE;
	if (uart->s.tx_count == 0)
		lsr |= LSR_THRE | LSR_TEMT;
	uart->s.overrun = 0;
	return lsr;
}

static uint8_t read_msr(struct uart *uart)
{
	uint8_t msr = uart->s.msr;

	uart->s.msr &= MSR_LINES;
	return msr;
}

static uint8_t read_register(struct uart *uart, unsigned int offset)
{
	bool dlab = uart->s.lcr & LCR_DLAB;

	switch (offset) {
	case REG_DATA:
		return dlab ? uart->s.dll : read_rbr(uart);
	case REG_IER:
		return dlab ? uart->s.dlm : uart->s.ier;
	case REG_IIR:
		return read_iir(uart);
	case REG_LCR:
		return uart->s.lcr;
	case REG_MCR:
		return uart->s.mcr;
	case REG_LSR:
		return read_lsr(uart);
	case REG_MSR:
		return read_msr(uart);
	case REG_SCR:
		return uart->s.scr;
	default:
		return 0xff;
	}
}

static void write_register(struct uart *uart, unsigned int offset,
			   uint8_t value)
{
	bool dlab = uart->s.lcr & LCR_DLAB;

	switch (offset) {
	case REG_DATA:
		if (dlab)
			uart->s.dll = value;
		else
			write_thr(uart, value);
		break;
	case REG_IER:
		if (dlab)
			uart->s.dlm = value;
		else
			write_ier(uart, value);
		break;
	case REG_IIR:
		write_fcr(uart, value);
		break;
	case REG_LCR:
		uart->s.lcr = value;
		break;
	case REG_MCR:
		write_mcr(uart, value);
		break;
	case REG_SCR:
		uart->s.scr = value;
		break;
	default: /* LSR and MSR: for the factory's tests */
		break;
	}
}

uint8_t uart_read(struct uart *uart, unsigned int offset)
{
	uint8_t value;

	pthread_mutex_lock(&uart->lock);
	value = read_register(uart, offset);
	update_line(uart);
	pthread_mutex_unlock(&uart->lock);
	return value;
}

void uart_write(struct uart *uart, unsigned int offset, uint8_t value)
{
	pthread_mutex_lock(&uart->lock);
	write_register(uart, offset, value);
	update_line(uart);
	pthread_mutex_unlock(&uart->lock);
}

static uint64_t range_read(void *arg, uint64_t offset, unsigned int bytes)
{
	(void)bytes;
	return uart_read(arg, (unsigned int)offset);
}

static void range_write(void *arg, uint64_t offset, unsigned int bytes,
			uint64_t value)
{
	(void)bytes;
	uart_write(arg, (unsigned int)offset, (uint8_t)value);
}

const struct io_range *uart_range(const struct uart *uart)
{
	return &uart->range;
}

/* -- the backend's thread -------------------------------------------------- */

static void on_readable(void *arg)
{
	struct uart *uart = arg;

	pthread_mutex_lock(&uart->lock);
	pull(uart);
	update_line(uart);
	pthread_mutex_unlock(&uart->lock);
}

static void on_writable(void *arg)
{
	struct uart *uart = arg;

	pthread_mutex_lock(&uart->lock);
	if (!(uart->s.mcr & MCR_LOOP))
		transmit(uart);
	update_line(uart);
	pthread_mutex_unlock(&uart->lock);
}

/* -- life ------------------------------------------------------------------ */

static void power_on(struct uart *uart)
{
	uart->s.dll = 12; /* 9600 baud */
	uart->s.msr = modem_lines(uart);
}

int uart_create(const char *owner, struct chardev *backend,
		const struct uart_line *line, struct uart **out,
		struct err *err)
{
	static const struct chardev_events events = {on_readable, on_writable};
	struct uart *uart = calloc(1, sizeof(*uart));
	int error;

	if (uart == NULL)
		return err_sys(err, ENOMEM, "%s", owner);
	uart->line = *line;
	uart->range = (struct io_range){
	    .owner = owner,
	    .size = UART_REGISTERS,
	    .max_bytes = 1,
	    .read = range_read,
	    .write = range_write,
	    .arg = uart,
	};
	pthread_mutex_init(&uart->lock, NULL);
	power_on(uart);
	if (backend != NULL) {
		error = chardev_attach(backend, &events, uart, err);
		if (error < 0) {
			pthread_mutex_destroy(&uart->lock);
			free(uart);
			return error;
		}
		pthread_mutex_lock(&uart->lock);
		uart->backend = backend;
		pull(uart);
		pthread_mutex_unlock(&uart->lock);
	}
	*out = uart;
	return 0;
}

void uart_destroy(struct uart *uart)
{
	if (uart == NULL)
		return;
	chardev_close(uart->backend);
	pthread_mutex_destroy(&uart->lock);
	free(uart);
}

/* -- saved state ----------------------------------------------------------- */

static int post_load(void *object)
{
	const struct uart_state *s = object;

	if (s->rx_count > FIFO_SIZE || s->tx_count > FIFO_SIZE ||
	    s->ier & ~IER_BITS || s->mcr & ~MCR_BITS || s->fcr & ~FCR_KEPT ||
	    s->overrun > 1 || s->thre_pending > 1)
		return -EINVAL;
	return 0;
}

static const struct state_field fields[] = {
    STATE_SCALAR(struct uart_state, dll),
    STATE_SCALAR(struct uart_state, dlm),
    STATE_SCALAR(struct uart_state, ier),
    STATE_SCALAR(struct uart_state, fcr),
    STATE_SCALAR(struct uart_state, lcr),
    STATE_SCALAR(struct uart_state, mcr),
    STATE_SCALAR(struct uart_state, msr),
    STATE_SCALAR(struct uart_state, scr),
    STATE_SCALAR(struct uart_state, overrun),
    STATE_SCALAR(struct uart_state, thre_pending),
    STATE_SCALAR(struct uart_state, rx_count),
    STATE_SCALAR(struct uart_state, tx_count),
    STATE_ARRAY(struct uart_state, rx),
    STATE_ARRAY(struct uart_state, tx),
};

static const struct state_class uart_class = {
    .name = "ns16550",
    .version = 1,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
    .post_load = post_load,
};

int uart_save(struct uart *uart, uint32_t instance, struct state_writer *writer)
{
	int error;

	pthread_mutex_lock(&uart->lock);
	error = state_save(&uart_class, instance, &uart->s, writer);
	pthread_mutex_unlock(&uart->lock);
	return error;
}

int uart_load(struct uart *uart, uint32_t instance, struct state_reader *reader,
	      struct err *err)
{
	struct uart_state loaded;
	int error = state_load(&uart_class, instance, &loaded, reader, err);

	if (error < 0)
		return error;
	pthread_mutex_lock(&uart->lock);
	uart->s = loaded;
	transmit(uart);
	pull(uart);
	update_line(uart);
	pthread_mutex_unlock(&uart->lock);
	return 0;
}
