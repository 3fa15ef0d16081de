// SPDX-License-Identifier: BSD-2-Clause
/*
 * DSP0134 3.0: the entry points (5.2) and the structures (chapter 7). A
 * structure is a formatted area, written field by field in the order of its
 * table there, and behind it the strings, which fields name by their number.
 */
#include "firmware/smbios.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/bytes.h"
#include "firmware/out.h"

#define SM_SIZE        31
#define SM_MIDDLE      16 /* "_DMI_", with a checksum of its own */
#define SM3_OFFSET     32
#define SM3_SIZE       24
#define TABLE_OFFSET   64
#define MAJOR          3
#define MINOR          0
#define STRINGS_MAX    255 /* of a structure */
#define NO_HANDLE      0xffff
#define NO_ERROR_INFO  0xfffe
#define OEMSTRINGS_MAX 255

enum smbios_type {
	TYPE_BIOS = 0,
	TYPE_SYSTEM = 1,
	TYPE_BOARD = 2,
	TYPE_CHASSIS = 3,
	TYPE_PROCESSOR = 4,
	TYPE_OEM_STRINGS = 11,
	TYPE_MEMORY_ARRAY = 16,
	TYPE_MEMORY_DEVICE = 17,
	TYPE_MEMORY_MAPPED = 19,
	TYPE_BOOT = 32,
	TYPE_END = 127,
};

struct smbios {
	const struct fw_board *board;
	const struct smbios_source *source;
	struct fw_out out;
	uint16_t count; /* of structures; the next one's handle */
	size_t largest;

	/* The open structure. */
	size_t start;
	const char *string[STRINGS_MAX];
	uint8_t strings;
};

/* -- structures ------------------------------------------------------------ */

/* Its handle. */
static uint16_t open_structure(struct smbios *smbios, enum smbios_type type)
{
	smbios->start = smbios->out.size;
	smbios->strings = 0;
	out_u8(&smbios->out, (uint8_t)type);
	out_u8(&smbios->out, 0); /* length, later */
	out_u16(&smbios->out, smbios->count);
	return smbios->count++;
}

/* A byte that names the string; 0 for none. */
static void put_text(struct smbios *smbios, const char *text)
{
	uint8_t number = 0;

	if (text != NULL && *text != '\0' && smbios->strings < STRINGS_MAX) {
		smbios->string[smbios->strings++] = text;
		number = smbios->strings;
	}
	out_u8(&smbios->out, number);
}

/* A variable of the configuration. */
static void put_string(struct smbios *smbios, const char *variable,
		       const char *otherwise)
{
	const struct smbios_source *source = smbios->source;
	const char *value = NULL;

	if (source->get != NULL)
		value = source->get(source->arg, variable);
	put_text(smbios, value != NULL ? value : otherwise);
}

static void close_structure(struct smbios *smbios)
{
	struct fw_out *out = &smbios->out;
	size_t length = out->size - smbios->start;

	for (unsigned int i = 0; i < smbios->strings; i++)
		out_bytes(out, smbios->string[i],
			  strlen(smbios->string[i]) + 1);
	/* An empty string ends the set; without strings there are two. */
	out_u8(out, 0);
	if (smbios->strings == 0)
		out_u8(out, 0);
	if (out->error == 0)
		out->data[smbios->start + 1] = (uint8_t)length;
	smbios->largest = MAX(smbios->largest, out->size - smbios->start);
}

/* -- the machine ----------------------------------------------------------- */

#define BIOS_HAS_PCI     BIT(7)
#define BIOS_EXT_ACPI    0x01
#define BIOS_EXT_VIRTUAL 0x10
#define NO_RELEASE       0xff

static void put_bios(struct smbios *smbios)
{
	struct fw_out *out = &smbios->out;

	open_structure(smbios, TYPE_BIOS);
	put_string(smbios, "bios.vendor", "BHYVE");
	put_string(smbios, "bios.version", "14.0");
	out_u16(out, 0xf000); /* segment */
	put_string(smbios, "bios.release_date", "10/17/2021");
	out_u8(out, 0); /* 64 KiB */
	out_u64(out, BIOS_HAS_PCI);
	out_u8(out, BIOS_EXT_ACPI);
	out_u8(out, BIOS_EXT_VIRTUAL);
	out_u8(out, NO_RELEASE); /* of the BIOS: major, minor */
	out_u8(out, NO_RELEASE);
	out_u8(out, NO_RELEASE); /* of an embedded controller */
	out_u8(out, NO_RELEASE);
	close_structure(smbios);
}

/* 7.2.1: the first three fields of a UUID are little endian here. */
static void put_uuid(struct fw_out *out, const uint8_t uuid[16])
{
	static const uint8_t order[16] = {3, 2, 1,  0,  5,  4,  7,  6,
					  8, 9, 10, 11, 12, 13, 14, 15};

	for (unsigned int i = 0; i < 16; i++)
		out_u8(out, uuid[order[i]]);
}

static void put_system(struct smbios *smbios)
{
	open_structure(smbios, TYPE_SYSTEM);
	put_string(smbios, "system.manufacturer", "FreeBSD");
	put_string(smbios, "system.product_name", "BHYVE");
	put_string(smbios, "system.version", "1.0");
	put_string(smbios, "system.serial_number", "None");
	put_uuid(&smbios->out, smbios->source->uuid);
	out_u8(&smbios->out, 6); /* woken up by its power switch */
	put_string(smbios, "system.sku", "None");
	put_string(smbios, "system.family_name", "Virtual Machine");
	close_structure(smbios);
}

static void put_board(struct smbios *smbios)
{
	struct fw_out *out = &smbios->out;

	open_structure(smbios, TYPE_BOARD);
	put_string(smbios, "board.manufacturer", "FreeBSD");
	put_string(smbios, "board.product_name", "BHYVE");
	put_string(smbios, "board.version", "1.0");
	put_string(smbios, "board.serial_number", "None");
	put_string(smbios, "board.asset_tag", "None");
	out_u8(out, 0x01); /* hosts the rest */
	put_string(smbios, "board.location", "None");
	out_u16(out, smbios->count); /* the chassis comes next */
	out_u8(out, 0x0a);           /* a motherboard */
	out_u8(out, 0);
	close_structure(smbios);
}

static void put_chassis(struct smbios *smbios)
{
	struct fw_out *out = &smbios->out;

	open_structure(smbios, TYPE_CHASSIS);
	put_string(smbios, "chassis.manufacturer", "FreeBSD");
	out_u8(out, 0x01); /* type: other */
	put_string(smbios, "chassis.version", "1.0");
	put_string(smbios, "chassis.serial_number", "None");
	put_string(smbios, "chassis.asset_tag", "None");
	out_u8(out, 0x03); /* boot-up state: safe */
	out_u8(out, 0x03); /* power supply: safe */
	out_u8(out, 0x03); /* temperature: safe */
	out_u8(out, 0x03); /* security: none */
	out_u32(out, 0);
	out_u8(out, 0); /* height, power cords, contained: not said */
	out_u8(out, 0);
	out_u8(out, 0);
	out_u8(out, 0);
	put_string(smbios, "chassis.sku", "None");
	close_structure(smbios);
}

/* -- CPUs ------------------------------------------------------------------ */

#define CPU_64BIT     BIT(2)
#define CPU_MULTICORE BIT(3)
#define CPU_THREADS   BIT(4)

struct package {
	unsigned int sockets;
	unsigned int cores; /* of a socket */
	unsigned int threads;
};

/* A topology that does not match: each CPU is a socket of its own. */
static struct package packages(const struct fw_board *board)
{
	uint64_t product = (uint64_t)board->sockets * board->cores;

	if (product * board->threads != board->ncpus)
		return (struct package){board->ncpus, 1, 1};
	return (struct package){
	    .sockets = board->sockets,
	    .cores = board->cores,
	    .threads = board->cores * board->threads,
	};
}

static void put_processor(struct smbios *smbios, const struct package *package,
			  unsigned int i)
{
	struct fw_out *out = &smbios->out;
	char socket[32];

	snprintf(socket, sizeof(socket), "CPU #%u", i);
	open_structure(smbios, TYPE_PROCESSOR);
	put_text(smbios, socket);
	out_u8(out, 0x03); /* a CPU */
	out_u8(out, 0x02); /* family: unknown */
	out_u8(out, 0);    /* manufacturer */
	out_u32(out, smbios->board->cpu_signature);
	out_u32(out, smbios->board->cpu_features);
	out_u8(out, 0);  /* version */
	out_u8(out, 0);  /* voltage */
	out_u16(out, 0); /* clock, largest and present speed: unknown */
	out_u16(out, 0);
	out_u16(out, 0);
	out_u8(out, 0x41);       /* there, and enabled */
	out_u8(out, 0x06);       /* upgrade: none */
	out_u16(out, NO_HANDLE); /* caches */
	out_u16(out, NO_HANDLE);
	out_u16(out, NO_HANDLE);
	out_u8(out, 0); /* serial number, asset tag, part number */
	out_u8(out, 0);
	out_u8(out, 0);
	out_u8(out, (uint8_t)package->cores);
	out_u8(out, (uint8_t)package->cores);
	out_u8(out, (uint8_t)package->threads);
	out_u16(out, CPU_64BIT | (package->cores > 1 ? CPU_MULTICORE : 0) |
			 (package->threads > package->cores ? CPU_THREADS : 0));
	out_u16(out, 0x02); /* family again, then the counts again */
	out_u16(out, (uint16_t)package->cores);
	out_u16(out, (uint16_t)package->cores);
	out_u16(out, (uint16_t)package->threads);
	close_structure(smbios);
}

static void put_processors(struct smbios *smbios)
{
	const struct package package = packages(smbios->board);

	for (unsigned int i = 0; i < package.sockets; i++)
		put_processor(smbios, &package, i);
}

/* -- OEM strings ----------------------------------------------------------- */

static const char *oem_string(const struct smbios_source *source,
			      unsigned int i)
{
	char variable[32];

	snprintf(variable, sizeof(variable), "oemstring.%u", i);
	return source->get(source->arg, variable);
}

static void put_oem_strings(struct smbios *smbios)
{
	const struct smbios_source *source = smbios->source;
	unsigned int first, count = 0;
	const char *text;

	if (source->get == NULL)
		return;
	first = oem_string(source, 0) == NULL ? 1 : 0;
	if (oem_string(source, first) == NULL)
		return;
	open_structure(smbios, TYPE_OEM_STRINGS);
	while (count < OEMSTRINGS_MAX &&
	       (text = oem_string(source, first + count)) != NULL) {
		/* Only their number is in the formatted area. */
		smbios->string[count++] = *text != '\0' ? text : " ";
	}
	smbios->strings = (uint8_t)count;
	out_u8(&smbios->out, (uint8_t)count);
	close_structure(smbios);
}

/* -- memory ---------------------------------------------------------------- */

#define SIZE_IN_KIB       0x8000
#define SIZE_EXTENDED     0x7fff
#define CAPACITY_EXTENDED 0x80000000u
#define ADDRESS_EXTENDED  0xffffffffu
#define DETAIL_UNKNOWN    BIT(2)
#define MEMORY_WIDTH_BITS 64

struct memory_range {
	const char *name;
	uint64_t base;
	uint64_t size;
};

static uint16_t put_memory_array(struct smbios *smbios, uint64_t size,
				 unsigned int devices)
{
	struct fw_out *out = &smbios->out;
	uint64_t kib = size / KiB;
	uint16_t handle = open_structure(smbios, TYPE_MEMORY_ARRAY);

	out_u8(out, 0x03); /* on the board */
	out_u8(out, 0x03); /* for the system */
	out_u8(out, 0x03); /* no ECC */
	out_u32(out,
		kib < CAPACITY_EXTENDED ? (uint32_t)kib : CAPACITY_EXTENDED);
	out_u16(out, NO_ERROR_INFO);
	out_u16(out, (uint16_t)devices);
	out_u64(out, kib < CAPACITY_EXTENDED ? 0 : size);
	close_structure(smbios);
	return handle;
}

static void put_memory_device(struct smbios *smbios, uint16_t array,
			      const struct memory_range *range)
{
	struct fw_out *out = &smbios->out;
	uint64_t mib = range->size / MiB;
	bool extended = mib >= SIZE_EXTENDED;

	open_structure(smbios, TYPE_MEMORY_DEVICE);
	out_u16(out, array);
	out_u16(out, NO_ERROR_INFO);
	out_u16(out, MEMORY_WIDTH_BITS);
	out_u16(out, MEMORY_WIDTH_BITS);
	if (range->size < 32 * MiB && range->size % MiB != 0)
		out_u16(out, (uint16_t)(SIZE_IN_KIB | range->size / KiB));
	else
		out_u16(out, extended ? SIZE_EXTENDED : (uint16_t)mib);
	out_u8(out, 0x02); /* form factor: unknown */
	out_u8(out, 0);    /* no set */
	put_text(smbios, range->name);
	out_u8(out, 0);    /* bank */
	out_u8(out, 0x07); /* RAM */
	out_u16(out, DETAIL_UNKNOWN);
	out_u16(out, 0); /* speed */
	out_u8(out, 0);  /* manufacturer, serial and part number, tag */
	out_u8(out, 0);
	out_u8(out, 0);
	out_u8(out, 0);
	out_u8(out, 0); /* rank */
	out_u32(out, extended ? (uint32_t)MIN(mib, INT32_MAX) : 0);
	out_u16(out, 0); /* speed and voltages */
	out_u16(out, 0);
	out_u16(out, 0);
	out_u16(out, 0);
	close_structure(smbios);
}

static void put_memory_mapped(struct smbios *smbios, uint16_t array,
			      const struct memory_range *range)
{
	struct fw_out *out = &smbios->out;
	uint64_t last = range->base + range->size - 1;
	bool extended = last / KiB >= ADDRESS_EXTENDED;

	open_structure(smbios, TYPE_MEMORY_MAPPED);
	out_u32(out,
		extended ? ADDRESS_EXTENDED : (uint32_t)(range->base / KiB));
	out_u32(out, extended ? ADDRESS_EXTENDED : (uint32_t)(last / KiB));
	out_u16(out, array);
	out_u8(out, 1); /* devices in a row */
	out_u64(out, extended ? range->base : 0);
	out_u64(out, extended ? last : 0);
	close_structure(smbios);
}

static void put_memory(struct smbios *smbios)
{
	const struct memory_range ranges[] = {
	    {"low", 0, smbios->board->lowmem},
	    {"high", 4 * GiB, smbios->board->highmem},
	};
	unsigned int count = smbios->board->highmem != 0 ? 2 : 1;
	uint16_t array =
	    put_memory_array(smbios, ranges[0].size + ranges[1].size, count);

	for (unsigned int i = 0; i < count; i++)
		put_memory_device(smbios, array, &ranges[i]);
	for (unsigned int i = 0; i < count; i++)
		put_memory_mapped(smbios, array, &ranges[i]);
}

/* -- all of it ------------------------------------------------------------- */

static void put_structures(struct smbios *smbios)
{
	put_bios(smbios);
	put_system(smbios);
	put_board(smbios);
	put_chassis(smbios);
	put_processors(smbios);
	put_oem_strings(smbios);
	put_memory(smbios);

	open_structure(smbios, TYPE_BOOT);
	out_take(&smbios->out, 6);
	out_u8(&smbios->out, 0); /* no errors */
	close_structure(smbios);

	open_structure(smbios, TYPE_END);
	close_structure(smbios);
}

static void fill_sm(const struct smbios *smbios, uint64_t table, size_t size)
{
	uint8_t *sm = smbios->out.data;

	memcpy(sm, "_SM_", 4);
	sm[5] = SM_SIZE;
	sm[6] = MAJOR;
	sm[7] = MINOR;
	store_le16(sm + 8, (uint16_t)smbios->largest);
	memcpy(sm + SM_MIDDLE, "_DMI_", 5);
	store_le16(sm + 22, (uint16_t)size);
	store_le32(sm + 24, (uint32_t)table);
	store_le16(sm + 28, smbios->count);
	sm[30] = MAJOR << 4 | MINOR;
	sm[21] = fw_checksum(sm + SM_MIDDLE, SM_SIZE - SM_MIDDLE);
	sm[4] = fw_checksum(sm, SM_SIZE);
}

static void fill_sm3(const struct smbios *smbios, uint64_t table, size_t size)
{
	uint8_t *sm3 = smbios->out.data + SM3_OFFSET;

	memcpy(sm3, "_SM3_", 5);
	sm3[6] = SM3_SIZE;
	sm3[7] = MAJOR;
	sm3[8] = MINOR;
	sm3[10] = 1; /* revision of this entry point */
	store_le32(sm3 + 12, (uint32_t)size);
	store_le64(sm3 + 16, table);
	sm3[5] = fw_checksum(sm3, SM3_SIZE);
}

int smbios_build(const struct fw_board *board,
		 const struct smbios_source *source, uint64_t gpa, void *buffer,
		 size_t room, struct err *err)
{
	struct smbios smbios = {
	    .board = board,
	    .source = source,
	    /* Lengths in the older entry point have 16 bits. */
	    .out = {.data = buffer, .room = MIN(room, UINT16_MAX)},
	};
	size_t size;
	int error = fw_board_check(board, err);

	if (error != 0)
		return error;
	if (gpa % SM_MIDDLE != 0 || !range_inside(gpa, room, 4 * GiB))
		return err_set(err, EINVAL, "SMBIOS: cannot be at %#llx",
			       (unsigned long long)gpa);
	out_take(&smbios.out, TABLE_OFFSET);
	put_structures(&smbios);
	if (smbios.out.error != 0)
		return err_set(
		    err, ENOSPC,
		    "SMBIOS: its strings (bios.*, system.*, board.*, "
		    "chassis.*, oemstring.*) do not fit into %zu "
		    "bytes",
		    room);
	size = smbios.out.size - TABLE_OFFSET;
	fill_sm(&smbios, gpa + TABLE_OFFSET, size);
	fill_sm3(&smbios, gpa + TABLE_OFFSET, size);
	return (int)smbios.out.size;
}
