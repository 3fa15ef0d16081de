// SPDX-License-Identifier: BSD-2-Clause
/*
 * BARs: their first addresses, and where the guest has moved them. A BAR that
 * the guest puts onto something else is not decoded until there is room.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/bytes.h"
#include "dev/inout.h"
#include "dev/lpc.h"
#include "dev/mmio.h"
#include "dev/pci_priv.h"
#include "firmware/lowmem.h"

#define IO_BASE        0x2000u
#define IO_END         0x10000u
#define IO_GRAIN       0x100u /* between two buses */
#define MEM_GRAIN      MiB
#define MEM64_SIZE     (32 * GiB)
#define MEM64_LARGE    (128 * MiB) /* larger ones live above 4 GiB */
#define IO_MIN         4u
#define MEM_MIN        16u
#define BAR_IO_BITS    0x1u
#define BAR_MEM64_BITS 0x4u

/* -- accesses -------------------------------------------------------------- */

static uint64_t bar_read(void *arg, uint64_t offset, unsigned int bytes)
{
	struct pci_bar *bar = arg;
	struct pci_device *dev = bar->dev;

	if (pci_msix_owns(dev, bar->index))
		return pci_msix_read(dev, offset, bytes);
	if (dev->ops->bar_read == NULL)
		return UINT64_MAX;
	return dev->ops->bar_read(dev, bar->index, offset, bytes);
}

static void bar_write(void *arg, uint64_t offset, unsigned int bytes,
		      uint64_t value)
{
	struct pci_bar *bar = arg;
	struct pci_device *dev = bar->dev;

	if (pci_msix_owns(dev, bar->index))
		pci_msix_write(dev, offset, bytes, value);
	else if (dev->ops->bar_write != NULL)
		dev->ops->bar_write(dev, bar->index, offset, bytes, value);
}

/* -- description ----------------------------------------------------------- */

static uint64_t round_up(uint64_t size, uint64_t least)
{
	uint64_t rounded = least;

	while (rounded < size)
		rounded *= 2;
	return rounded;
}

static void describe(struct pci_device *dev, struct pci_bar *bar)
{
	unsigned int offset = PCI_CFG_BAR(bar->index);
	uint64_t mask = ~(bar->size - 1);

	pci_cfg_writable(dev, offset, 4, (uint32_t)mask);
	if (bar->kind == PCI_BAR_IO)
		pci_cfg_set(dev, offset, 4, BAR_IO_BITS);
	if (bar->kind != PCI_BAR_MEM64)
		return;
	pci_cfg_set(dev, offset, 4, BAR_MEM64_BITS);
	pci_cfg_writable(dev, offset + 4, 4, (uint32_t)(mask >> 32));
}

static bool bar_is_free(const struct pci_device *dev, unsigned int bar,
			enum pci_bar_kind kind)
{
	unsigned int last = kind == PCI_BAR_MEM64 ? bar + 1 : bar;

	if (last >= PCI_BARS || dev->bars[last].kind != PCI_BAR_NONE ||
	    dev->bars[bar].kind != PCI_BAR_NONE)
		return false;
	return bar == 0 || dev->bars[bar - 1].kind != PCI_BAR_MEM64;
}

int pci_add_bar(struct pci_device *dev, unsigned int bar,
		enum pci_bar_kind kind, uint64_t size, struct err *err)
{
	uint64_t limit = kind == PCI_BAR_IO      ? 0x1000
			 : kind == PCI_BAR_MEM32 ? 512 * MiB
						 : MEM64_SIZE;
	struct pci_bar *at;

	if (bar >= PCI_BARS || !bar_is_free(dev, bar, kind) || size > limit)
		return err_set(err, EINVAL, "no room for BAR %u of %llu bytes",
			       bar, (unsigned long long)size);
	at = &dev->bars[bar];
	at->kind = kind;
	at->size = round_up(size, kind == PCI_BAR_IO ? IO_MIN : MEM_MIN);
	at->range = (struct io_range){
	    .owner = dev->name,
	    .size = at->size,
	    .max_bytes = 4,
	    .read = bar_read,
	    .write = bar_write,
	    .arg = at,
	};
	describe(dev, at);
	return 0;
}

/* -- decoding -------------------------------------------------------------- */

static uint64_t address_of(const struct pci_bar *bar)
{
	unsigned int offset = PCI_CFG_BAR(bar->index);
	uint64_t address = pci_cfg_get(bar->dev, offset, 4);

	if (bar->kind == PCI_BAR_MEM64)
		address |= (uint64_t)pci_cfg_get(bar->dev, offset + 4, 4) << 32;
	return address & ~(bar->size - 1);
}

static bool is_enabled(const struct pci_bar *bar)
{
	uint32_t command = pci_cfg_get(bar->dev, PCI_CFG_COMMAND, 2);

	if (bar->kind == PCI_BAR_NONE)
		return false;
	return command &
	       (bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY);
}

static void unmap(struct pci_bar *bar)
{
	struct board *board = bar->dev->pci->board;

	if (!bar->mapped)
		return;
	bar->mapped = false;
	if (bar->kind == PCI_BAR_IO)
		inout_remove(board->ports, &bar->range);
	else
		mmio_remove(board->mmio, &bar->range);
}

/* Address 0 is where a BAR stands that nobody has placed. */
static void map(struct pci_bar *bar)
{
	struct board *board = bar->dev->pci->board;
	uint64_t address = address_of(bar);
	int error;

	if (bar->mapped || !is_enabled(bar) || address == 0)
		return;
	if (bar->kind != PCI_BAR_IO)
		error = mmio_add(board->mmio, &bar->range, address, NULL);
	else if (address >= IO_END)
		return;
	else
		error = inout_add(board->ports, &bar->range, (uint16_t)address,
				  NULL);
	bar->mapped = error == 0;
	bar->mapped_at = address;
}

void pci_bar_decode(struct pci_device *dev)
{
	struct pci_device *other;

	for (unsigned int i = 0; i < PCI_BARS; i++) {
		struct pci_bar *bar = &dev->bars[i];

		if (bar->mapped &&
		    (!is_enabled(bar) || address_of(bar) != bar->mapped_at))
			unmap(bar);
	}
	/* Others may have waited for the place. */
	for (other = dev->pci->devices; other != NULL; other = other->next) {
		for (unsigned int i = 0; i < PCI_BARS; i++)
			map(&other->bars[i]);
	}
}

void pci_bar_unmap_all(struct pci_device *dev)
{
	for (unsigned int i = 0; i < PCI_BARS; i++)
		unmap(&dev->bars[i]);
}

/* -- first addresses ------------------------------------------------------- */

struct window {
	uint64_t next;
	uint64_t end;
	const char *what;
};

struct windows {
	struct window io;
	struct window mem32;
	struct window mem64;
};

static struct window *window_of(struct windows *windows,
				const struct pci_bar *bar)
{
	if (bar->kind == PCI_BAR_IO)
		return &windows->io;
	if (bar->kind == PCI_BAR_MEM64 && bar->size > MEM64_LARGE)
		return &windows->mem64;
	return &windows->mem32;
}

static int place(struct windows *windows, struct pci_bar *bar, bool enable,
		 struct err *err)
{
	struct window *window = window_of(windows, bar);
	uint64_t address = ALIGN_UP(window->next, bar->size);
	struct pci_device *dev = bar->dev;
	uint32_t command = pci_cfg_get(dev, PCI_CFG_COMMAND, 2);
	uint32_t type =
	    pci_cfg_get(dev, PCI_CFG_BAR(bar->index), 4) & (MEM_MIN - 1);

	if (address < window->next || address > window->end ||
	    bar->size > window->end - address)
		return err_set(err, ENOSPC,
			       "%s: no %s left for BAR %u of %llu bytes",
			       dev->name, window->what, bar->index,
			       (unsigned long long)bar->size);
	window->next = address + bar->size;
	pci_cfg_set(dev, PCI_CFG_BAR(bar->index), 4, (uint32_t)address | type);
	if (bar->kind == PCI_BAR_MEM64)
		pci_cfg_set(dev, PCI_CFG_BAR(bar->index) + 4, 4,
			    (uint32_t)(address >> 32));
	if (enable)
		command |= bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO
						   : PCI_COMMAND_MEMORY;
	pci_cfg_set(dev, PCI_CFG_COMMAND, 2, command);
	return 0;
}

static int by_size(const void *a, const void *b)
{
	uint64_t left = (*(struct pci_bar *const *)a)->size;
	uint64_t right = (*(struct pci_bar *const *)b)->size;

	return left < right ? 1 : left > right ? -1 : 0;
}

static size_t collect(struct pci *pci, unsigned int bus, struct pci_bar **bars)
{
	struct pci_device *dev;
	size_t count = 0;

	for (dev = pci->devices; dev != NULL; dev = dev->next) {
		for (unsigned int i = 0; i < PCI_BARS; i++) {
			if (dev->bus != bus ||
			    dev->bars[i].kind == PCI_BAR_NONE)
				continue;
			if (bars != NULL)
				bars[count] = &dev->bars[i];
			count++;
		}
	}
	return count;
}

/* A bus's share: what was handed out since start, to the next grain. */
static void close_window(struct window *window, uint64_t start, uint64_t grain,
			 struct fw_window *out)
{
	window->next = MIN(ALIGN_UP(window->next, grain), window->end);
	out->base = start;
	out->size = window->next - start;
}

static int assign_bus(struct pci *pci, unsigned int number,
		      struct windows *windows, bool enable, struct err *err)
{
	struct pci_bus *bus = &pci->buses[number];
	struct windows start = *windows;
	size_t count = collect(pci, number, NULL);
	struct pci_bar **bars = calloc(count + 1, sizeof(struct pci_bar *));
	int error = 0;

	if (bars == NULL)
		return err_sys(err, ENOMEM, "PCI bus %u", number);
	collect(pci, number, bars);
	qsort(bars, count, sizeof(struct pci_bar *), by_size);
	for (size_t i = 0; i < count && error == 0; i++)
		error = place(windows, bars[i], enable, err);
	free(bars);
	close_window(&windows->io, start.io.next, IO_GRAIN, &bus->io);
	close_window(&windows->mem32, start.mem32.next, MEM_GRAIN, &bus->mem32);
	close_window(&windows->mem64, start.mem64.next, MEM_GRAIN, &bus->mem64);
	return error;
}

/* The buses' windows end at the last BAR; the last bus gets what is left, so
   that a guest may move things. */
static void give_rest(struct pci_bus *bus, const struct windows *windows)
{
	bus->io.size = windows->io.end - bus->io.base;
	bus->mem32.size = windows->mem32.end - bus->mem32.base;
	bus->mem64.size = windows->mem64.end - bus->mem64.base;
}

int pci_bar_assign(struct pci *pci, struct err *err)
{
	struct vmctx *ctx = pci->board->ctx;
	uint64_t high = ALIGN_UP(
	    vm_get_highmem_base(ctx) + vm_get_highmem_size(ctx), MEM64_SIZE);
	uint64_t io =
	    ALIGN_UP(lpc_ports_end(pci->board->lpc, IO_BASE), IO_GRAIN);
	struct windows windows = {
	    .io = {io, IO_END, "I/O ports"},
	    .mem32 = {FIRMWARE_PCI32_BASE, FIRMWARE_ECAM_BASE,
		      "memory below 4 GiB"},
	    .mem64 = {high, high + MEM64_SIZE, "memory above 4 GiB"},
	};
	struct pci_bus *last = NULL;
	bool enable;
	int error;

	/* Firmware in a boot ROM places and enables them itself. */
	error = config_get_bool(pci->board->config, "pci.enable_bars",
				board_bootrom(pci->board->config) == NULL,
				&enable, err);
	for (unsigned int i = 0; i < PCI_BUSES && error == 0; i++) {
		if (!pci->buses[i].present)
			continue;
		error = assign_bus(pci, i, &windows, enable, err);
		last = &pci->buses[i];
	}
	if (error == 0 && last != NULL)
		give_rest(last, &windows);
	return error;
}
