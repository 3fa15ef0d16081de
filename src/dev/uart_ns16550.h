/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The UART: National Semiconductor's NS16550AF with its FIFOs, over a
 * character device. The LPC bridge and the PCI serial card both use it.
 *
 * It has no baud rate: a byte written is on its way at once, a byte received
 * raises the receive interrupt at once (below the trigger level as a
 * character timeout). When the backend is full the transmitter holds up to
 * 16 bytes and THRE stays clear until there is room, as with a slow line.
 */
#ifndef DEV_UART_NS16550_H
#define DEV_UART_NS16550_H

#include <stdbool.h>
#include <stdint.h>

#include "base/state.h"
#include "dev/range.h"

#define UART_REGISTERS 8

struct uart;
struct chardev;

/* The interrupt line, called under the UART's lock. */
struct uart_line {
	void (*set)(void *arg, bool level);
	void *arg;
};

/* backend may be NULL (nothing connected) and belongs to the UART after
   success. owner names it in messages and must outlive it. */
int uart_create(const char *owner, struct chardev *backend,
		const struct uart_line *line, struct uart **out,
		struct err *err);
void uart_destroy(struct uart *uart);

/* The eight registers, for the port or BAR map. */
const struct io_range *uart_range(const struct uart *uart);

uint8_t uart_read(struct uart *uart, unsigned int offset);
void uart_write(struct uart *uart, unsigned int offset, uint8_t value);

int uart_save(struct uart *uart, uint32_t instance,
	      struct state_writer *writer);
int uart_load(struct uart *uart, uint32_t instance, struct state_reader *reader,
	      struct err *err);

#endif
