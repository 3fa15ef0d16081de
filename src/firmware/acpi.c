// SPDX-License-Identifier: BSD-2-Clause
/*
 * The tables of ACPI 5.1, chapter 5.2, one behind the other. Those that are
 * pointed to come before those that point, but for the RSDP, RSDT and XSDT,
 * whose place is kept free.
 */
#include "firmware/acpi.h"

#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "firmware/acpi_priv.h"
#include "firmware/lowmem.h"

#define OEM_ID           "BHYVE "
#define CREATOR_ID       "ANYH"
#define CREATOR_REVISION 1

#define RSDP_SIZE     36
#define RSDP_V1_SIZE  20
#define TABLES_MAX    8
#define TABLE_ALIGN   16
#define FACS_SIZE     64
#define HEADER_SIZE   36
#define HEADER_LENGTH 4 /* offsets in it */
#define HEADER_SUM    9

/* 5.2.9, table 5-35: fixed feature flags. */
#define FADT_WBINVD         BIT(0)
#define FADT_PROC_C1        BIT(2)
#define FADT_NO_SLP_BUTTON  BIT(5)
#define FADT_TMR_32BIT      BIT(8)
#define FADT_RESET_REG      BIT(10)
#define FADT_HEADLESS       BIT(12)
#define FADT_APIC_PHYSICAL  BIT(19)
/* Table 5-36: IA-PC boot architecture flags. */
#define FADT_LEGACY_DEVICES BIT(0)
#define FADT_8042           BIT(1)
#define FADT_NO_VGA         BIT(2)
#define FADT_NO_ASPM        BIT(4)
/* Latencies above these mean that there is no C2 and no C3. */
#define FADT_NO_C2_US       101
#define FADT_NO_C3_US       1001

/* 5.2.12: MADT's interrupt controller structures. */
enum {
	MADT_LAPIC = 0,
	MADT_IOAPIC = 1,
	MADT_OVERRIDE = 2,
	MADT_LAPIC_NMI = 4,
	MADT_X2APIC = 9,
};
#define MADT_PCAT_COMPAT  BIT(0)
#define MADT_ENABLED      BIT(0)
#define MADT_HIGH_EDGE    0x05
#define MADT_LOW_LEVEL    0x0f
#define MADT_XAPIC_ID_MAX 254
#define TIMER_GSI         2

struct acpi {
	const struct fw_board *board;
	struct fw_out out;
	uint64_t gpa; /* of out.data */
	uint32_t table[TABLES_MAX];
	unsigned int tables;
};

/* -- headers --------------------------------------------------------------- */

static uint32_t here(const struct acpi *acpi)
{
	return (uint32_t)(acpi->gpa + acpi->out.size);
}

static size_t open_table(struct acpi *acpi, const char *signature,
			 uint8_t revision)
{
	struct fw_out *out = &acpi->out;
	size_t start;

	out_align(out, TABLE_ALIGN);
	start = out->size;
	out_bytes(out, signature, 4);
	out_u32(out, 0); /* length */
	out_u8(out, revision);
	out_u8(out, 0); /* checksum */
	out_bytes(out, OEM_ID, 6);
	/* The OEM's name of the table: "BVFACP". */
	out_bytes(out, "BV", 2);
	out_bytes(out, signature, 4);
	out_bytes(out, "  ", 2);
	out_u32(out, 1); /* its revision */
	out_bytes(out, CREATOR_ID, 4);
	out_u32(out, CREATOR_REVISION);
	return start;
}

static void set_sum(uint8_t *table, size_t size)
{
	table[HEADER_SUM] = 0;
	table[HEADER_SUM] = fw_checksum(table, size);
}

/* Where the table is in the guest's memory. */
static uint32_t close_table(struct acpi *acpi, size_t start)
{
	uint8_t *table = acpi->out.data + start;
	size_t size = acpi->out.size - start;

	if (acpi->out.error != 0)
		return 0;
	store_le32(table + HEADER_LENGTH, (uint32_t)size);
	set_sum(table, size);
	return (uint32_t)(acpi->gpa + start);
}

/* The same, for those that the RSDT lists. */
static void close_listed(struct acpi *acpi, size_t start)
{
	acpi->table[acpi->tables++] = close_table(acpi, start);
}

/* -- FADT, FACS, DSDT ------------------------------------------------------ */

/* 5.2.10. No header's checksum; the rest is the guest's. */
static uint32_t write_facs(struct acpi *acpi)
{
	struct fw_out *out = &acpi->out;
	uint32_t at;

	out_align(out, FACS_SIZE);
	at = here(acpi);
	out_bytes(out, "FACS", 4);
	out_u32(out, FACS_SIZE);
	out_take(out, 24); /* signature of the hardware, vectors, lock */
	out_u8(out, 2);    /* version */
	out_take(out, FACS_SIZE - 33);
	return at;
}

static uint32_t write_dsdt(struct acpi *acpi)
{
	uint32_t at;

	out_align(&acpi->out, TABLE_ALIGN);
	at = here(acpi);
	out_bytes(&acpi->out, dsdt_aml, dsdt_aml_size);
	return at;
}

/* 5.2.3.1: a register in I/O space. */
static void put_gas(struct fw_out *out, uint8_t bits, uint8_t access,
		    uint64_t port)
{
	out_u8(out, 1); /* system I/O */
	out_u8(out, bits);
	out_u8(out, 0);
	out_u8(out, access); /* 1: byte, 2: word, 3: dword */
	out_u64(out, port);
}

static void put_no_gas(struct fw_out *out)
{
	out_take(out, 12);
}

/* The first 64 bytes behind the header: ports, and how long they are. */
static void put_fadt_blocks(struct fw_out *out)
{
	out_u8(out, 0); /* was INT_MODEL */
	out_u8(out, 0); /* power profile: none in particular */
	out_u16(out, ACPI_SCI_IRQ);
	out_u32(out, ACPI_SMI_CMD_PORT);
	out_u8(out, ACPI_SMI_ENABLE);
	out_u8(out, ACPI_SMI_DISABLE);
	out_u8(out, 0); /* S4BIOS_REQ */
	out_u8(out, 0); /* PSTATE_CNT */
	out_u32(out, ACPI_PM1A_EVT_PORT);
	out_u32(out, 0); /* no PM1b */
	out_u32(out, ACPI_PM1A_CNT_PORT);
	out_u32(out, 0);
	out_u32(out, 0); /* no PM2 */
	out_u32(out, ACPI_PM_TIMER_PORT);
	out_u32(out, ACPI_GPE0_PORT);
	out_u32(out, 0); /* no GPE1 */
	out_u8(out, 4);  /* lengths, in bytes: PM1_EVT */
	out_u8(out, 2);  /* PM1_CNT */
	out_u8(out, 0);  /* PM2_CNT */
	out_u8(out, 4);  /* PM_TMR */
	out_u8(out, 2);  /* GPE0 */
	out_u8(out, 0);  /* GPE1 */
	out_u8(out, 0);  /* GPE1_BASE */
	out_u8(out, 0);  /* CST_CNT */
	out_u16(out, FADT_NO_C2_US);
	out_u16(out, FADT_NO_C3_US);
	out_u16(out, 0); /* FLUSH_SIZE and _STRIDE: WBINVD works */
	out_u16(out, 0);
	out_u8(out, 0); /* duty cycle */
	out_u8(out, 0);
	out_u8(out, 0); /* RTC: no alarm for a day */
	out_u8(out, 0); /* nor for a month */
	out_u8(out, ACPI_RTC_CENTURY_REG);
}

/* The same ports again, as addresses of any kind. */
static void put_fadt_gas(struct fw_out *out)
{
	put_gas(out, 32, 2, ACPI_PM1A_EVT_PORT);
	put_no_gas(out);
	put_gas(out, 16, 2, ACPI_PM1A_CNT_PORT);
	put_no_gas(out);
	put_no_gas(out);
	put_gas(out, 32, 3, ACPI_PM_TIMER_PORT);
	put_gas(out, 16, 1, ACPI_GPE0_PORT);
	put_no_gas(out);
	put_no_gas(out); /* SLEEP_CONTROL_REG */
	put_no_gas(out); /* SLEEP_STATUS_REG */
}

static void write_fadt(struct acpi *acpi, uint32_t facs, uint32_t dsdt)
{
	struct fw_out *out = &acpi->out;
	size_t table = open_table(acpi, "FACP", 5);

	out_u32(out, facs);
	out_u32(out, dsdt);
	put_fadt_blocks(out);
	out_u16(out,
		FADT_LEGACY_DEVICES | FADT_8042 | FADT_NO_VGA | FADT_NO_ASPM);
	out_u8(out, 0);
	/* Physical destinations reach every APIC, whatever their number. */
	out_u32(out, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLP_BUTTON |
			 FADT_TMR_32BIT | FADT_RESET_REG | FADT_HEADLESS |
			 FADT_APIC_PHYSICAL);
	put_gas(out, 8, 1, ACPI_RESET_PORT);
	out_u8(out, ACPI_RESET_VALUE);
	out_u16(out, 0); /* ARM_BOOT_ARCH */
	out_u8(out, 1);  /* minor version: 5.1 */
	out_u64(out, 0); /* X_FIRMWARE_CTRL: the one of 32 bits counts */
	out_u64(out, dsdt);
	put_fadt_gas(out);
	close_listed(acpi, table);
}

/* -- MADT ------------------------------------------------------------------ */

static void put_lapic(struct fw_out *out, uint32_t uid, uint32_t apic_id)
{
	if (apic_id <= MADT_XAPIC_ID_MAX) {
		out_u8(out, MADT_LAPIC);
		out_u8(out, 8);
		out_u8(out, (uint8_t)uid);
		out_u8(out, (uint8_t)apic_id);
		out_u32(out, MADT_ENABLED);
	} else {
		out_u8(out, MADT_X2APIC);
		out_u8(out, 16);
		out_u16(out, 0);
		out_u32(out, apic_id);
		out_u32(out, MADT_ENABLED);
		out_u32(out, uid);
	}
}

static void put_override(struct fw_out *out, uint8_t irq, uint32_t gsi,
			 uint16_t flags)
{
	out_u8(out, MADT_OVERRIDE);
	out_u8(out, 10);
	out_u8(out, 0); /* the ISA bus */
	out_u8(out, irq);
	out_u32(out, gsi);
	out_u16(out, flags);
}

/* NMI comes in by LINT1 of every CPU. */
static void put_nmi(struct fw_out *out)
{
	out_u8(out, MADT_LAPIC_NMI);
	out_u8(out, 6);
	out_u8(out, 0xff); /* all CPUs */
	out_u16(out, MADT_HIGH_EDGE);
	out_u8(out, 1);
}

static void write_madt(struct acpi *acpi)
{
	const struct fw_board *board = acpi->board;
	struct fw_out *out = &acpi->out;
	size_t table = open_table(acpi, "APIC", 3);

	out_u32(out, (uint32_t)FIRMWARE_LAPIC_BASE);
	out_u32(out, MADT_PCAT_COMPAT);
	for (unsigned int i = 0; i < board->ncpus; i++)
		put_lapic(out, i, board->apic_id[i]);
	out_u8(out, MADT_IOAPIC);
	out_u8(out, 12);
	out_u8(out, board->ioapic_id);
	out_u8(out, 0);
	out_u32(out, (uint32_t)FIRMWARE_IOAPIC_BASE);
	out_u32(out, 0); /* its first pin is GSI 0 */
	put_override(out, 0, TIMER_GSI, MADT_HIGH_EDGE);
	put_override(out, ACPI_SCI_IRQ, ACPI_SCI_IRQ, MADT_LOW_LEVEL);
	put_nmi(out);
	close_listed(acpi, table);
}

/* -- HPET, MCFG, SSDT ------------------------------------------------------ */

/* IA-PC HPET specification 1.0a, 3.2.4. */
static void write_hpet(struct acpi *acpi)
{
	struct fw_out *out = &acpi->out;
	size_t table;

	if (acpi->board->hpet_id == 0)
		return;
	table = open_table(acpi, "HPET", 1);
	out_u32(out, acpi->board->hpet_id);
	out_u32(out, 0); /* in memory, any access size */
	out_u64(out, FIRMWARE_HPET_BASE);
	out_u8(out, 0);  /* number */
	out_u16(out, 0); /* ticks that are certain in periodic mode */
	out_u8(out, 0);
	close_listed(acpi, table);
}

/* PCI firmware specification 3.0, 4.1.2. */
static void write_mcfg(struct acpi *acpi)
{
	struct fw_out *out = &acpi->out;
	size_t table;

	if (acpi->board->bus_count == 0)
		return;
	table = open_table(acpi, "MCFG", 1);
	out_u64(out, 0);
	out_u64(out, FIRMWARE_ECAM_BASE);
	out_u16(out, 0); /* segment group */
	out_u8(out, 0);  /* first bus */
	out_u8(out, (uint8_t)(FIRMWARE_ECAM_SIZE / MiB - 1));
	out_u32(out, 0);
	close_listed(acpi, table);
}

static void write_ssdt(struct acpi *acpi)
{
	size_t table = open_table(acpi, "SSDT", 2);

	acpi_write_ssdt(acpi->board, &acpi->out);
	close_listed(acpi, table);
}

/* -- RSDP, RSDT, XSDT ------------------------------------------------------ */

/* Room for a list of all tables; width: 4 or 8 bytes an entry. */
static size_t open_list(struct acpi *acpi, const char *signature, size_t width)
{
	size_t table = open_table(acpi, signature, 1);

	out_take(&acpi->out, TABLES_MAX * width);
	return table;
}

static uint32_t close_list(struct acpi *acpi, size_t start, size_t width)
{
	uint8_t *table = acpi->out.data + start;
	size_t size = HEADER_SIZE + acpi->tables * width;

	for (unsigned int i = 0; i < acpi->tables; i++)
		store_le32(table + HEADER_SIZE + i * width, acpi->table[i]);
	store_le32(table + HEADER_LENGTH, (uint32_t)size);
	set_sum(table, size);
	return (uint32_t)(acpi->gpa + start);
}

/* 5.2.5.3; it is at the start of the buffer. */
static void write_rsdp(struct acpi *acpi, uint32_t rsdt, uint32_t xsdt)
{
	uint8_t *rsdp = acpi->out.data;

	memcpy(rsdp, "RSD PTR ", 8);
	memcpy(rsdp + 9, OEM_ID, 6);
	rsdp[15] = 2; /* revision */
	store_le32(rsdp + 16, rsdt);
	store_le32(rsdp + 20, RSDP_SIZE);
	store_le64(rsdp + 24, xsdt);
	rsdp[8] = fw_checksum(rsdp, RSDP_V1_SIZE);
	rsdp[32] = fw_checksum(rsdp, RSDP_SIZE);
}

int acpi_build(const struct fw_board *board, uint64_t gpa, void *buffer,
	       size_t room, struct err *err)
{
	struct acpi acpi = {
	    .board = board,
	    .out = {.data = buffer, .room = room},
	    .gpa = gpa,
	};
	uint32_t facs, dsdt;
	size_t rsdt, xsdt;
	int error = fw_board_check(board, err);

	if (error != 0)
		return error;
	if (gpa % FACS_SIZE != 0 || !range_inside(gpa, room, 4 * GiB))
		return err_set(err, EINVAL, "ACPI tables: cannot be at %#llx",
			       (unsigned long long)gpa);
	out_take(&acpi.out, RSDP_SIZE);
	rsdt = open_list(&acpi, "RSDT", 4);
	xsdt = open_list(&acpi, "XSDT", 8);
	facs = write_facs(&acpi);
	dsdt = write_dsdt(&acpi);
	write_fadt(&acpi, facs, dsdt);
	write_madt(&acpi);
	write_hpet(&acpi);
	write_mcfg(&acpi);
	write_ssdt(&acpi);
	if (acpi.out.error == 0)
		write_rsdp(&acpi, close_list(&acpi, rsdt, 4),
			   close_list(&acpi, xsdt, 8));
	return out_finish(&acpi.out, "ACPI tables", err);
}
