// SPDX-License-Identifier: BSD-2-Clause
/* MultiProcessor Specification 1.4, chapter 4. */
#include "firmware/mptable.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "firmware/acpi.h"
#include "firmware/lowmem.h"
#include "firmware/out.h"

#define SPEC_REVISION   4 /* 1.4 */
#define POINTER_SIZE    16
#define HEADER_SIZE     44
#define LAPIC_VERSION   0x14
#define IOAPIC_VERSION  0x11
#define APIC_ID_MAX     254
#define EVERY_APIC      0xff
#define ISA_IRQS        16
#define ISA_TIMER_IRQ   0
#define ISA_CASCADE_IRQ 2
#define TIMER_PIN       2

enum { ENTRY_CPU, ENTRY_BUS, ENTRY_IOAPIC, ENTRY_INTERRUPT, ENTRY_LINT };

#define CPU_ENABLED    0x01
#define CPU_BOOT       0x02
#define IOAPIC_ENABLED 0x01

enum { INT, NMI, SMI, EXTINT };

/* Polarity and trigger mode (table 4-10). */
#define AS_BUS_SAYS 0x00
#define LOW_LEVEL   0x0f

struct mptable {
	const struct fw_board *board;
	struct fw_out out;
	size_t header;
	unsigned int entries;
	uint8_t isa_bus;
};

static void begin(struct mptable *table, uint8_t type)
{
	table->entries++;
	out_u8(&table->out, type);
}

/* -- what there is --------------------------------------------------------- */

static void put_cpu(struct mptable *table, unsigned int i)
{
	const struct fw_board *board = table->board;

	begin(table, ENTRY_CPU);
	out_u8(&table->out, (uint8_t)board->apic_id[i]);
	out_u8(&table->out, LAPIC_VERSION);
	out_u8(&table->out, CPU_ENABLED | (i == 0 ? CPU_BOOT : 0));
	out_u32(&table->out, board->cpu_signature);
	out_u32(&table->out, board->cpu_features);
	out_u64(&table->out, 0);
}

static void put_bus(struct mptable *table, uint8_t id, const char *type)
{
	begin(table, ENTRY_BUS);
	out_u8(&table->out, id);
	out_bytes(&table->out, type, 6);
}

static bool has_bus(const struct fw_board *board, unsigned int number)
{
	for (unsigned int i = 0; i < board->bus_count; i++) {
		if (board->bus[i].number == number)
			return true;
	}
	return false;
}

/* A PCI bus has its own number (appendix D.3); ISA's is free. */
static void put_buses(struct mptable *table)
{
	const struct fw_board *board = table->board;

	for (unsigned int i = 0; i < board->bus_count; i++)
		put_bus(table, board->bus[i].number, "PCI   ");
	while (has_bus(board, table->isa_bus))
		table->isa_bus++;
	put_bus(table, table->isa_bus, "ISA   ");
}

static void put_ioapic(struct mptable *table)
{
	begin(table, ENTRY_IOAPIC);
	out_u8(&table->out, table->board->ioapic_id);
	out_u8(&table->out, IOAPIC_VERSION);
	out_u8(&table->out, IOAPIC_ENABLED);
	out_u32(&table->out, (uint32_t)FIRMWARE_IOAPIC_BASE);
}

/* -- where interrupts go --------------------------------------------------- */

struct interrupt {
	uint8_t entry; /* ENTRY_INTERRUPT or ENTRY_LINT */
	uint8_t type;
	uint16_t flags;
	uint8_t bus;
	uint8_t source;
	uint8_t apic;
	uint8_t pin;
};

static void put_interrupt(struct mptable *table, const struct interrupt *wire)
{
	begin(table, wire->entry);
	out_u8(&table->out, wire->type);
	out_u16(&table->out, wire->flags);
	out_u8(&table->out, wire->bus);
	out_u8(&table->out, wire->source);
	out_u8(&table->out, wire->apic);
	out_u8(&table->out, wire->pin);
}

static void put_isa(struct mptable *table)
{
	for (uint8_t irq = 0; irq < ISA_IRQS; irq++) {
		struct interrupt wire = {
		    .entry = ENTRY_INTERRUPT,
		    .type = INT,
		    .flags = AS_BUS_SAYS,
		    .bus = table->isa_bus,
		    .source = irq,
		    .apic = table->board->ioapic_id,
		    .pin = irq,
		};

		if (irq == ISA_CASCADE_IRQ)
			continue;
		if (irq == ISA_TIMER_IRQ)
			wire.pin = TIMER_PIN;
		if (irq == ACPI_SCI_IRQ)
			wire.flags = LOW_LEVEL;
		put_interrupt(table, &wire);
	}
}

static void put_pci(struct mptable *table, const struct fw_pci_bus *bus)
{
	for (unsigned int i = 0; i < bus->intx_count; i++) {
		const struct fw_intx *intx = &bus->intx[i];

		put_interrupt(
		    table, &(struct interrupt){
			       .entry = ENTRY_INTERRUPT,
			       .type = INT,
			       .flags = AS_BUS_SAYS,
			       .bus = bus->number,
			       .source = (uint8_t)(intx->slot << 2 | intx->pin),
			       .apic = table->board->ioapic_id,
			       .pin = intx->ioapic_pin,
			   });
	}
}

/* The 8259 pair comes in by LINT0, NMI by LINT1. */
static void put_lint(struct mptable *table, uint8_t type, uint8_t pin)
{
	put_interrupt(table, &(struct interrupt){
				 .entry = ENTRY_LINT,
				 .type = type,
				 .flags = AS_BUS_SAYS,
				 .bus = table->isa_bus,
				 .apic = EVERY_APIC,
				 .pin = pin,
			     });
}

/* In ascending order of their types (4.3). */
static void put_entries(struct mptable *table)
{
	const struct fw_board *board = table->board;

	for (unsigned int i = 0; i < board->ncpus; i++)
		put_cpu(table, i);
	put_buses(table);
	put_ioapic(table);
	put_isa(table);
	for (unsigned int i = 0; i < board->bus_count; i++)
		put_pci(table, &board->bus[i]);
	put_lint(table, EXTINT, 0);
	put_lint(table, NMI, 1);
}

/* -- around them ----------------------------------------------------------- */

static void fill_header(struct mptable *table)
{
	uint8_t *header = table->out.data + table->header;
	size_t size = table->out.size - table->header;

	memcpy(header, "PCMP", 4);
	store_le16(header + 4, (uint16_t)size);
	header[6] = SPEC_REVISION;
	memcpy(header + 8, "BHYVE   ", 8);
	memcpy(header + 16, "Hypervisor  ", 12);
	store_le16(header + 34, (uint16_t)table->entries);
	store_le32(header + 36, (uint32_t)FIRMWARE_LAPIC_BASE);
	header[7] = fw_checksum(header, size);
}

static void fill_pointer(struct mptable *table, uint64_t gpa)
{
	uint8_t *pointer = table->out.data;

	memcpy(pointer, "_MP_", 4);
	store_le32(pointer + 4, (uint32_t)(gpa + table->header));
	pointer[8] = 1; /* its length, in units of 16 bytes */
	pointer[9] = SPEC_REVISION;
	pointer[10] = fw_checksum(pointer, POINTER_SIZE);
}

static int check_apic_ids(const struct fw_board *board, struct err *err)
{
	for (unsigned int i = 0; i < board->ncpus; i++) {
		if (board->apic_id[i] > APIC_ID_MAX)
			return err_set(err, EINVAL,
				       "MP table: CPU %u has APIC ID %u, it "
				       "can name %u at most; use -Y",
				       i, board->apic_id[i], APIC_ID_MAX);
	}
	return 0;
}

int mptable_build(const struct fw_board *board, uint64_t gpa, void *buffer,
		  size_t room, struct err *err)
{
	struct mptable table = {
	    .board = board,
	    .out = {.data = buffer, .room = room},
	    .header = POINTER_SIZE,
	};
	int error = fw_board_check(board, err);

	if (error == 0)
		error = check_apic_ids(board, err);
	if (error != 0)
		return error;
	if (gpa % POINTER_SIZE != 0 || !range_inside(gpa, room, 4 * GiB))
		return err_set(err, EINVAL, "MP table: cannot be at %#llx",
			       (unsigned long long)gpa);
	out_take(&table.out, POINTER_SIZE + HEADER_SIZE);
	put_entries(&table);
	if (table.out.error == 0) {
		fill_header(&table);
		fill_pointer(&table, gpa);
	}
	return out_finish(&table.out, "MP table", err);
}
