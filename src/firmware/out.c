// SPDX-License-Identifier: BSD-2-Clause
#include "firmware/out.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"

uint8_t *out_take(struct fw_out *out, size_t size)
{
	uint8_t *at;

	if (out->error != 0)
		return NULL;
	if (size > out->room - out->size) {
		out->error = -ENOSPC;
		return NULL;
	}
	at = out->data + out->size;
	memset(at, 0, size);
	out->size += size;
	return at;
}

void out_bytes(struct fw_out *out, const void *from, size_t size)
{
	uint8_t *at = out_take(out, size);

	if (at != NULL && size > 0)
		memcpy(at, from, size);
}

void out_u8(struct fw_out *out, uint8_t value)
{
	out_bytes(out, &value, sizeof(value));
}

void out_u16(struct fw_out *out, uint16_t value)
{
	uint8_t bytes[sizeof(value)];

	store_le16(bytes, value);
	out_bytes(out, bytes, sizeof(bytes));
}

void out_u32(struct fw_out *out, uint32_t value)
{
	uint8_t bytes[sizeof(value)];

	store_le32(bytes, value);
	out_bytes(out, bytes, sizeof(bytes));
}

void out_u64(struct fw_out *out, uint64_t value)
{
	uint8_t bytes[sizeof(value)];

	store_le64(bytes, value);
	out_bytes(out, bytes, sizeof(bytes));
}

void out_align(struct fw_out *out, size_t align)
{
	out_take(out, ALIGN_UP(out->size, align) - out->size);
}

void out_insert(struct fw_out *out, size_t at, const void *from, size_t size)
{
	size_t behind = out->size - at;

	if (out_take(out, size) == NULL)
		return;
	memmove(out->data + at + size, out->data + at, behind);
	memcpy(out->data + at, from, size);
}

int out_finish(const struct fw_out *out, const char *what, struct err *err)
{
	if (out->error != 0)
		return err_set(err, -out->error,
			       "%s: this board's do not fit into %zu bytes; "
			       "configure fewer devices",
			       what, out->room);
	return (int)out->size;
}

uint8_t fw_checksum(const void *from, size_t size)
{
	const uint8_t *byte = from;
	unsigned int sum = 0;

	for (size_t i = 0; i < size; i++)
		sum += byte[i];
	return (uint8_t)-sum;
}

/* -- boards ---------------------------------------------------------------- */

static bool window_overflows(const struct fw_window *window)
{
	return window->size != 0 &&
	       window->size - 1 > UINT64_MAX - window->base;
}

static int check_bus(const struct fw_pci_bus *bus, struct err *err)
{
	bool bad = bus->last < bus->number ||
		   (bus->intx == NULL && bus->intx_count > 0) ||
		   window_overflows(&bus->mem32) ||
		   window_overflows(&bus->mem64);

	for (unsigned int i = 0; i < FW_MAX_WINDOWS; i++)
		bad = bad || window_overflows(&bus->io[i]) ||
		      bus->io[i].base + bus->io[i].size > 64 * KiB;
	if (!bad)
		return 0;
	return err_set(err, EINVAL,
		       "PCI bus %u: impossible bus numbers, windows or "
		       "interrupts",
		       bus->number);
}

int fw_board_check(const struct fw_board *board, struct err *err)
{
	int error = 0;

	if (board->ncpus == 0 || board->ncpus > FW_MAX_CPUS)
		return err_set(err, EINVAL,
			       "%u CPUs: firmware tables hold 1 to %u",
			       board->ncpus, FW_MAX_CPUS);
	if (board->bus_count > FW_MAX_BUSES)
		return err_set(err, EINVAL,
			       "%u PCI buses: firmware tables hold %u at most",
			       board->bus_count, FW_MAX_BUSES);
	if (board->has_lpc && board->bus_count == 0)
		return err_set(err, EINVAL, "an LPC bridge needs a PCI bus");
	for (unsigned int i = 0; i < board->bus_count && error == 0; i++)
		error = check_bus(&board->bus[i], err);
	return error;
}
