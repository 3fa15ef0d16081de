// SPDX-License-Identifier: BSD-2-Clause
/* The SSDT: the devices that differ from board to board. */
#include <stdio.h>

#include "firmware/acpi_priv.h"
#include "firmware/lowmem.h"

#define NAME_SIZE 5

/* PCI address and data ports, which the first bridge itself decodes. */
#define PCI_CONFIG_PORT  0xcf8
#define PCI_CONFIG_PORTS 8

#define HPET_SIZE 0x400

static void write_cpus(const struct fw_board *board, struct aml *aml)
{
	char name[NAME_SIZE];

	for (unsigned int i = 0; i < board->ncpus; i++) {
		size_t device;

		snprintf(name, sizeof(name), "C%03X", i & 0xfff);
		device = aml_open_device(aml, name);
		aml_name_string(aml, "_HID", "ACPI0007");
		/* The number by which the MADT knows it. */
		aml_name_integer(aml, "_UID", i);
		aml_close(aml, device);
	}
}

static void write_hpet(struct aml *aml)
{
	size_t device = aml_open_device(aml, "HPET");
	size_t resources;

	aml_name_eisaid(aml, "_HID", "PNP0103");
	aml_name_integer(aml, "_UID", 0);
	resources = aml_open_resources(aml, "_CRS");
	aml_memory32(aml, (uint32_t)FIRMWARE_HPET_BASE, HPET_SIZE);
	aml_close_resources(aml, resources);
	aml_close(aml, device);
}

/* -- serial ports ---------------------------------------------------------- */

static void write_com(const struct fw_com *com, unsigned int number,
		      struct aml *aml)
{
	char name[NAME_SIZE];
	size_t device, resources;

	snprintf(name, sizeof(name), "COM%u", number % 10);
	device = aml_open_device(aml, name);
	aml_name_eisaid(aml, "_HID", "PNP0501");
	aml_name_integer(aml, "_UID", number);
	resources = aml_open_resources(aml, "_CRS");
	aml_io(aml, com->port, 8);
	aml_irq(aml, com->irq);
	aml_close_resources(aml, resources);
	aml_close(aml, device);
}

static void write_coms(const struct fw_board *board, struct aml *aml)
{
	for (unsigned int i = 0; i < FW_COM_PORTS; i++) {
		if (board->com[i].present)
			write_com(&board->com[i], i + 1, aml);
	}
}

static void write_lpc(const struct fw_board *board, struct aml *aml)
{
	size_t device = aml_open_device(aml, "ISA");

	aml_name_integer(aml, "_ADR", (uint64_t)board->lpc_slot << 16);
	write_coms(board, aml);
	aml_close(aml, device);
}

/* -- PCI ------------------------------------------------------------------- */

static void write_window(struct aml *aml, enum aml_window kind,
			 const struct fw_window *window)
{
	if (window->size != 0)
		aml_window(aml, kind, window->base, window->size);
}

static void write_crs(const struct fw_pci_bus *bus, bool first, struct aml *aml)
{
	size_t resources = aml_open_resources(aml, "_CRS");

	aml_window(aml, AML_WINDOW_BUS, bus->number,
		   bus->last - bus->number + 1u);
	if (first)
		aml_io(aml, PCI_CONFIG_PORT, PCI_CONFIG_PORTS);
	for (unsigned int i = 0; i < FW_MAX_WINDOWS; i++)
		write_window(aml, AML_WINDOW_IO, &bus->io[i]);
	write_window(aml, AML_WINDOW_MEMORY, &bus->mem32);
	write_window(aml, AML_WINDOW_MEMORY, &bus->mem64);
	aml_close_resources(aml, resources);
}

/* 6.2.12: a pin of all functions of a slot, and the interrupt at its end. */
static void write_route(struct aml *aml, const struct fw_intx *intx,
			uint8_t interrupt)
{
	size_t package = aml_open_package(aml, 4);

	aml_integer(aml, (uint64_t)intx->slot << 16 | 0xffff);
	aml_integer(aml, intx->pin);
	aml_integer(aml, 0); /* wired, not routed by a link device */
	aml_integer(aml, interrupt);
	aml_close(aml, package);
}

static void write_routes(const struct fw_pci_bus *bus, bool ioapic,
			 const char *name, struct aml *aml)
{
	size_t package;

	aml_name(aml, name);
	package = aml_open_package(aml, bus->intx_count);
	for (unsigned int i = 0; i < bus->intx_count; i++) {
		const struct fw_intx *intx = &bus->intx[i];

		write_route(aml, intx,
			    ioapic ? intx->ioapic_pin : intx->pic_irq);
	}
	aml_close(aml, package);
}

static void write_prt(const struct fw_pci_bus *bus, struct aml *aml)
{
	size_t method, condition;

	write_routes(bus, false, "PPRT", aml);
	write_routes(bus, true, "APRT", aml);
	method = aml_open_method(aml, "_PRT", 0);
	condition = aml_open_if(aml, "\\PICM");
	aml_return_path(aml, "APRT");
	aml_close(aml, condition);
	aml_return_path(aml, "PPRT");
	aml_close(aml, method);
}

static void write_bus(const struct fw_board *board, unsigned int i,
		      struct aml *aml)
{
	const struct fw_pci_bus *bus = &board->bus[i];
	char name[NAME_SIZE];
	size_t device;

	snprintf(name, sizeof(name), "PC%02X", bus->number);
	device = aml_open_device(aml, name);
	aml_name_eisaid(aml, "_HID", "PNP0A03");
	aml_name_integer(aml, "_UID", bus->number);
	aml_name_integer(aml, "_BBN", bus->number);
	aml_name_integer(aml, "_SEG", 0);
	write_crs(bus, i == 0, aml);
	write_prt(bus, aml);
	if (i == 0 && board->has_lpc)
		write_lpc(board, aml);
	aml_close(aml, device);
}

/* -------------------------------------------------------------------------- */

void acpi_write_ssdt(const struct fw_board *board, struct fw_out *out)
{
	struct aml aml = {.out = out};
	size_t scope;

	/* What the DSDT defines; its type is for disassemblers. */
	scope = aml_open_scope(&aml, "\\_SB");
	write_cpus(board, &aml);
	if (board->hpet_id != 0)
		write_hpet(&aml);
	if (!board->has_lpc)
		write_coms(board, &aml);
	for (unsigned int i = 0; i < board->bus_count; i++)
		write_bus(board, i, &aml);
	if (board->ssdt_extra != NULL)
		board->ssdt_extra(&aml, board->ssdt_extra_arg);
	aml_close(&aml, scope);
}
