// SPDX-License-Identifier: BSD-2-Clause
#include "fake_setup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "boot/boot.h"
#include "dev/board.h"
#include "firmware/acpi.h"
#include "firmware/mptable.h"
#include "firmware/smbios.h"

static struct fake_setup *the;

void fake_setup_use(struct fake_setup *setup)
{
	memset(setup, 0, sizeof(*setup));
	the = setup;
}

/* One more call: does it work? */
static bool works(void)
{
	errno = EIO;
	return ++the->calls != the->fail;
}

static int door(void)
{
	return works() ? 0 : -1;
}

/* -- life ---------------------------------------------------------------- */

int vm_set_option(const char *key, const char *value)
{
	if (strcmp(key, "engine") == 0)
		snprintf(the->engine, sizeof(the->engine), "%s", value);
	return door();
}

int vm_parse_memsize(const char *text, size_t *size)
{
	char *end;

	*size = strtoul(text, &end, 10) * MiB;
	return *end == 'M' ? 0 : -1;
}

struct vmctx *vm_open(const char *name)
{
	return vm_openf(name, 0);
}

struct vmctx *vm_openf(const char *name, int flags)
{
	if (!works())
		return NULL;
	if ((flags & VMMAPI_OPEN_CREATE) != 0) {
		the->creates++;
		the->exists = true;
	}
	errno = ENOENT;
	if (!the->exists)
		return NULL;
	if (flags == VMMAPI_OPEN_REINIT)
		the->memory = 0;
	the->handles++;
	return &the->ctx;
}

void vm_close(struct vmctx *ctx)
{
	the->handles--;
}

void vm_destroy(struct vmctx *ctx)
{
	the->handles--;
	the->destroys++;
	the->exists = false;
}

int vm_batch_begin(struct vmctx *ctx)
{
	return door();
}

int vm_batch_end(struct vmctx *ctx)
{
	return door();
}

const char *vm_get_engine(struct vmctx *ctx, const char **why)
{
	if (why != NULL)
		*why = "a test";
	return the->no_engine ? NULL : "fake";
}

/* -- memory and CPUs ----------------------------------------------------- */

int vm_get_memseg(struct vmctx *ctx, int ident, size_t *len, char *name,
		  size_t namesize)
{
	*len = the->memory;
	return 0;
}

void vm_set_memflags(struct vmctx *ctx, int flags)
{
}

int vm_setup_memory(struct vmctx *ctx, size_t len, enum vm_mmap_style style)
{
	the->size = len;
	return door();
}

size_t vm_get_lowmem_size(struct vmctx *ctx)
{
	return MIN(the->size, 3 * GiB);
}

size_t vm_get_highmem_size(struct vmctx *ctx)
{
	return the->size - vm_get_lowmem_size(ctx);
}

void *vm_mem_write_begin(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
	if (!works() || !range_inside(gpa, len, sizeof(the->low)))
		return NULL;
	return the->low + gpa;
}

void vm_mem_write_end(struct vmctx *ctx, vm_paddr_t gpa, size_t len)
{
}

int vm_set_topology(struct vmctx *ctx, uint16_t sockets, uint16_t cores,
		    uint16_t threads, uint16_t maxcpus)
{
	the->sockets = sockets;
	the->cores = cores;
	the->threads = threads;
	return door();
}

struct vcpu *vm_vcpu_open(struct vmctx *ctx, int id)
{
	if (!works())
		return NULL;
	the->vcpus++;
	ctx->vcpu[id].ctx = ctx;
	ctx->vcpu[id].id = id;
	return &ctx->vcpu[id];
}

void vm_vcpu_close(struct vcpu *vcpu)
{
	the->vcpus--;
}

int vm_set_capability(struct vcpu *vcpu, enum vm_cap_type cap, int val)
{
	errno = ENOENT;
	return the->no_pause_exit ? -1 : 0;
}

int vm_set_x2apic_state(struct vcpu *vcpu, enum x2apic_state s)
{
	return door();
}

int vm_rtc_settime(struct vmctx *ctx, time_t secs)
{
	return door();
}

int vm_rtc_write(struct vmctx *ctx, int offset, uint8_t value)
{
	the->rtc[offset] = value;
	return door();
}

/* -- loader, board, tables ----------------------------------------------- */

static int report(struct err *err, const char *what)
{
	return works() ? 0 : err_set(err, EIO, "%s failed", what);
}

int boot_load(struct vmctx *ctx, struct vcpu *bsp,
	      const struct boot_request *request, struct boot_result *result,
	      struct err *err)
{
	the->loads++;
	for (unsigned int i = 0; i < request->modules; i++) {
		size_t used = strlen(the->modules);

		snprintf(the->modules + used, sizeof(the->modules) - used,
			 "%s|", request->module[i]);
	}
	return report(err, request->kernel);
}

void boot_progress_print(void *arg, const struct boot_progress *progress)
{
}

const char *board_bootrom(struct config *config)
{
	return config_get(config, "bootrom");
}

int board_create(struct vmctx *ctx, struct config *config, struct loop *loop,
		 struct board **out, struct err *err)
{
	int error = report(err, "board");

	if (error == 0) {
		the->boards++;
		*out = (struct board *)(void *)ctx;
	}
	return error;
}

void board_set_exit(struct board *board, void (*on_exit)(void *arg, int status),
		    void *arg)
{
}

void board_destroy(struct board *board)
{
	the->boards--;
}

void board_describe(const struct board *board, struct fw_board *out)
{
}

static int write_table(void *buffer, size_t room, char letter, struct err *err)
{
	int error = report(err, "table");

	memset(buffer, letter, 4);
	return error == 0 ? 4 : error;
}

int mptable_build(const struct fw_board *board, uint64_t gpa, void *buffer,
		  size_t room, struct err *err)
{
	return write_table(buffer, room, 'M', err);
}

int smbios_build(const struct fw_board *board,
		 const struct smbios_source *source, uint64_t gpa, void *buffer,
		 size_t room, struct err *err)
{
	memcpy(the->uuid, source->uuid, 16);
	return write_table(buffer, room, 'S', err);
}

int acpi_build(const struct fw_board *board, uint64_t gpa, void *buffer,
	       size_t room, struct err *err)
{
	return write_table(buffer, room, 'A', err);
}
