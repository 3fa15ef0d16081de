// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/tables.h"

#include <cpuid.h>
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bhyve/machine.h"
#include "dev/board.h"
#include "firmware/acpi.h"
#include "firmware/lowmem.h"
#include "firmware/mptable.h"
#include "firmware/smbios.h"

/* -- UUID ---------------------------------------------------------------- */

static int hex_digit(char c)
{
	if (!isxdigit((unsigned char)c))
		return -1;
	return isdigit((unsigned char)c) ? c - '0'
					 : tolower((unsigned char)c) - 'a' + 10;
}

int uuid_parse(const char *text, uint8_t out[16])
{
	for (unsigned int i = 0; i < 16; i++) {
		int high, low;

		if ((i == 4 || i == 6 || i == 8 || i == 10) && *text++ != '-')
			return -EINVAL;
		high = hex_digit(text[0]);
		low = high < 0 ? -1 : hex_digit(text[1]);
		if (low < 0)
			return -EINVAL;
		out[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return *text == '\0' ? 0 : -EINVAL;
}

/* FNV-1a, 64 bits, continued from hash. */
static uint64_t fnv(uint64_t hash, const char *text)
{
	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * 0x100000001b3;
	return hash;
}

void uuid_derive(const char *host, const char *vm, uint8_t out[16])
{
	uint64_t first = fnv(fnv(0xcbf29ce484222325, host), vm);
	uint64_t second = fnv(fnv(first, vm), host);

	for (unsigned int i = 0; i < 8; i++) {
		out[i] = (uint8_t)(first >> (8 * i));
		out[8 + i] = (uint8_t)(second >> (8 * i));
	}
	/* RFC 9562: version 8, made by a rule of our own; variant 10. */
	out[6] = 0x80 | (out[6] & 0x0f);
	out[8] = 0x80 | (out[8] & 0x3f);
}

static int find_uuid(struct machine *m, uint8_t out[16], struct err *err)
{
	const char *text = config_get(m->config, "uuid");
	char host[256] = "";

	if (text == NULL) {
		gethostname(host, sizeof(host) - 1);
		uuid_derive(host, m->name, out);
		return 0;
	}
	if (uuid_parse(text, out) != 0)
		return err_set(err, EINVAL,
			       "uuid (-U) %.60s: want 8-4-4-4-12 hexadecimal "
			       "digits",
			       text);
	return 0;
}

/* -- tables -------------------------------------------------------------- */

/* All tables say the same of the CPUs; MP's words for them are the host's. */
static void describe_cpus(const struct machine *m, struct fw_board *board)
{
	unsigned int eax = 0, ebx, ecx, edx = 0;

	__get_cpuid(1, &eax, &ebx, &ecx, &edx);
	board->ncpus = m->topology.cpus;
	board->sockets = m->topology.sockets;
	board->cores = m->topology.cores;
	board->threads = m->topology.threads;
	for (unsigned int i = 0; i < board->ncpus; i++)
		board->apic_id[i] = i;
	board->cpu_signature = eax;
	board->cpu_features = edx;
}

static int copy_to_guest(struct machine *m, uint64_t gpa, const void *from,
			 size_t size, struct err *err)
{
	void *to = vm_mem_write_begin(m->ctx, gpa, size);

	if (to == NULL)
		return err_sys(err, errno, "%s: firmware tables", m->name);
	memcpy(to, from, size);
	vm_mem_write_end(m->ctx, gpa, size);
	return 0;
}

struct request {
	struct machine *machine;
	struct fw_board board;
	struct smbios_source smbios;
};

static const char *config_string(void *arg, const char *variable)
{
	return config_get(arg, variable);
}

static int build_mptable(const struct request *r, uint64_t gpa, void *buffer,
			 size_t room, struct err *err)
{
	return mptable_build(&r->board, gpa, buffer, room, err);
}

static int build_smbios(const struct request *r, uint64_t gpa, void *buffer,
			size_t room, struct err *err)
{
	return smbios_build(&r->board, &r->smbios, gpa, buffer, room, err);
}

static int build_acpi(const struct request *r, uint64_t gpa, void *buffer,
		      size_t room, struct err *err)
{
	return acpi_build(&r->board, gpa, buffer, room, err);
}

static const struct table {
	const char *variable; /* false: leave it out; NULL: never */
	uint64_t gpa;
	size_t size;
	int (*build)(const struct request *r, uint64_t gpa, void *buffer,
		     size_t room, struct err *err);
} tables[] = {
    {"x86.mptable", LOWMEM_MPTABLE, LOWMEM_MPTABLE_SIZE, build_mptable},
    {NULL, LOWMEM_SMBIOS, LOWMEM_SMBIOS_SIZE, build_smbios},
    {"acpi_tables", LOWMEM_ACPI, LOWMEM_ACPI_SIZE, build_acpi},
};

/* The whole place is written: no table of an earlier run stays behind. */
static int write_table(const struct request *r, const struct table *table,
		       struct err *err)
{
	struct machine *m = r->machine;
	bool wanted = true;
	void *buffer;
	int error = 0;

	if (table->variable != NULL)
		error = config_get_bool(m->config, table->variable, true,
					&wanted, err);
	if (error != 0)
		return error;
	buffer = calloc(1, table->size);
	if (buffer == NULL)
		return err_sys(err, ENOMEM, "%s: firmware tables", m->name);
	if (wanted)
		error = table->build(r, table->gpa, buffer, table->size, err);
	if (error >= 0)
		error = copy_to_guest(m, table->gpa, buffer, table->size, err);
	free(buffer);
	return error;
}

int tables_write(struct machine *m, struct err *err)
{
	struct request r = {
	    .machine = m,
	    .smbios = {.get = config_string, .arg = m->config},
	};
	int error;

	error = find_uuid(m, r.smbios.uuid, err);
	board_describe(m->board, &r.board);
	describe_cpus(m, &r.board);
	for (size_t i = 0; i < ARRAY_SIZE(tables) && error == 0; i++)
		error = write_table(&r, &tables[i], err);
	return error;
}
