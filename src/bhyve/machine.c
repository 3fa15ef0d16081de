// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/machine.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "backend/loop.h"
#include "bhyve/status.h"
#include "bhyve/tables.h"
#include "boot/boot.h"
#include "dev/board.h"

#define DEFAULT_MEMORY "256M"

/* The line of the library, which names the VM, as ours. */
static int door_error(struct err *err, const char *name)
{
	int error = errno != 0 ? errno : EIO;
	const char *text = vm_error_text();

	if (strstr(text, name) != NULL)
		return err_set(err, error, "%s", text);
	return err_set(err, error, "%s: %s", name, text);
}

/* -- the VM -------------------------------------------------------------- */

/* Variables that the library wants before it opens a VM. */
static int set_library_options(struct machine *m, struct err *err)
{
	static const char *const keys[] = {
	    "rundir",       "engine",         "soft.jit",      "cpu.model",
	    "cpu.features", "memory.backing", "soft.jit.cache"};

	/* This process runs what it loads: the memory may end with it. */
	if (config_get(m->config, "boot.kernel") != NULL &&
	    vm_set_option("memory.backing", "auto") != 0)
		return door_error(err, "memory.backing");
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = config_get(m->config, keys[i]);

		if (value != NULL && vm_set_option(keys[i], value) != 0)
			return door_error(err, keys[i]);
	}
	return 0;
}

static int open_vm(struct machine *m, struct err *err)
{
	if (config_get(m->config, "boot.kernel") == NULL) {
		m->ctx = vm_open(m->name);
		if (m->ctx == NULL && errno == ENOENT)
			return err_set(err, ENOENT,
				       "%s: no such VM: load one with "
				       "bhyveload, or give boot.kernel",
				       m->name);
	} else {
		m->ctx = vm_openf(m->name, VMMAPI_OPEN_REINIT);
		if (m->ctx == NULL && errno == ENOENT) {
			m->ctx = vm_openf(m->name, VMMAPI_OPEN_CREATE);
			m->created = m->ctx != NULL;
		}
	}
	return m->ctx != NULL ? 0 : door_error(err, m->name);
}

static int memory_flags(struct machine *m, int *out, struct err *err)
{
	bool wired, incore;
	int error;

	error = config_get_bool(m->config, "memory.wired", false, &wired, err);
	if (error == 0)
		error = config_get_bool(m->config, "memory.guest_in_core",
					false, &incore, err);
	if (error == 0)
		*out = (wired ? VM_MEM_F_WIRED : 0) |
		       (incore ? VM_MEM_F_INCORE : 0);
	return error;
}

static int set_up_memory(struct machine *m, size_t size, int flags,
			 struct err *err)
{
	size_t have = 0;
	char segment[64];

	if (!m->created &&
	    vm_get_memseg(m->ctx, VM_SYSMEM, &have, segment, sizeof(segment)) ==
		0 &&
	    have != 0 && have != size)
		return err_set(err, EINVAL,
			       "%s has %llu MiB of memory, not the %llu MiB of "
			       "-m: give the size it was made with, or destroy "
			       "it",
			       m->name, have / MiB, size / MiB);
	vm_set_memflags(m->ctx, flags);
	if (vm_setup_memory(m->ctx, size, VM_MMAP_ALL) != 0)
		return door_error(err, m->name);
	return 0;
}

static int set_up_cpus(struct machine *m, struct err *err)
{
	const struct topology *t = &m->topology;

	if (vm_set_topology(m->ctx, t->sockets, t->cores, t->threads, 0) != 0)
		return door_error(err, m->name);
	for (unsigned int i = 0; i < t->cpus; i++) {
		m->cpu[i].machine = m;
		m->cpu[i].vcpu = vm_vcpu_open(m->ctx, (int)i);
		if (m->cpu[i].vcpu == NULL)
			return door_error(err, m->name);
	}
	return 0;
}

/* -- what the CPUs do ---------------------------------------------------- */

/* A capability that an engine may lack: the guest runs without it. */
static void want_capability(struct machine *m, enum vm_cap_type cap,
			    const char *option)
{
	for (unsigned int i = 0; i < m->topology.cpus; i++) {
		if (vm_set_capability(m->cpu[i].vcpu, cap, 1) == 0)
			continue;
		machine_log(m, "%s: the %s engine cannot, going on without",
			    option, vm_get_engine(m->ctx, NULL));
		return;
	}
}

static int set_x2apic(struct machine *m, bool enabled, struct err *err)
{
	for (unsigned int i = 0; i < m->topology.cpus; i++) {
		if (vm_set_x2apic_state(m->cpu[i].vcpu,
					enabled ? X2APIC_ENABLED
						: X2APIC_DISABLED) != 0)
			return door_error(err, m->name);
	}
	return 0;
}

static int configure_cpus(struct machine *m, struct err *err)
{
	bool x2apic, on_pause;
	int error;

	if ((error = config_get_bool(m->config, "x86.strictio", false,
				     &m->strict_io, err)) != 0 ||
	    (error = config_get_bool(m->config, "x86.strictmsr", true,
				     &m->strict_msr, err)) != 0 ||
	    (error = config_get_bool(m->config, "x86.verbosemsr", false,
				     &m->verbose_msr, err)) != 0 ||
	    (error = config_get_bool(m->config, "x86.x2apic", false, &x2apic,
				     err)) != 0 ||
	    (error = config_get_bool(m->config, "x86.vmexit_on_pause", false,
				     &on_pause, err)) != 0)
		return error;
	/* -H needs nothing: a halted CPU never spins here. */
	if (on_pause)
		want_capability(m, VM_CAP_PAUSE_EXIT, "-P");
	return set_x2apic(m, x2apic, err);
}

/* -- kernel, clock, devices ---------------------------------------------- */

static int load_kernel(struct machine *m, struct err *err)
{
	struct boot_progress_line line = {0};
	struct boot_request request = {
	    .kernel = config_get(m->config, "boot.kernel"),
	    .initrd = config_get(m->config, "boot.initrd"),
	    .cmdline = config_get(m->config, "boot.cmdline"),
	    .memory_is_zero = true, /* new, or new after REINIT */
	    .progress = boot_progress_print,
	    .progress_arg = &line,
	};

	if (request.kernel == NULL)
		return 0;
	return boot_load(m->ctx, m->cpu[0].vcpu, &request, NULL, err);
}

/*
 * The time of day, and the memory sizes that a PC's BIOS leaves in CMOS: 0x34
 * what is above 16 MiB, 0x5b what is above 4 GiB, in units of 64 KiB.
 */
static int set_rtc(struct machine *m, struct err *err)
{
	size_t low = vm_get_lowmem_size(m->ctx);
	size_t high = vm_get_highmem_size(m->ctx) / (64 * KiB);
	time_t now = time(NULL);
	struct tm local;
	bool use_local;
	int error;

	error = config_get_bool(m->config, "rtc.use_localtime", true,
				&use_local, err);
	if (error != 0)
		return error;
	if (use_local && localtime_r(&now, &local) != NULL)
		now += local.tm_gmtoff;
	low = low > 16 * MiB ? (low - 16 * MiB) / (64 * KiB) : 0;
	if (vm_rtc_settime(m->ctx, now) != 0 ||
	    vm_rtc_write(m->ctx, 0x34, (uint8_t)low) != 0 ||
	    vm_rtc_write(m->ctx, 0x35, (uint8_t)(low >> 8)) != 0 ||
	    vm_rtc_write(m->ctx, 0x5b, (uint8_t)high) != 0 ||
	    vm_rtc_write(m->ctx, 0x5c, (uint8_t)(high >> 8)) != 0 ||
	    vm_rtc_write(m->ctx, 0x5d, (uint8_t)(high >> 16)) != 0)
		return door_error(err, m->name);
	return 0;
}

/* Which engine it will be, when the user left the choice to us. */
static void say_engine(struct machine *m)
{
	const char *asked = config_get(m->config, "engine"), *why = NULL;
	const char *engine;

	if (asked != NULL && strcmp(asked, "auto") != 0)
		return;
	engine = vm_get_engine(m->ctx, &why);
	if (engine != NULL)
		fprintf(stderr, "bhyve: %s: engine %s (%s)\n", m->name, engine,
			why != NULL ? why : "auto");
}

/* -- all of it ----------------------------------------------------------- */

/* What config says, before anything is touched. */
static int read_config(struct machine *m, size_t *size, int *flags, int *status,
		       struct err *err)
{
	const char *text = config_get(m->config, "memory.size");
	int error;

	*status = STATUS_MALFORMED;
	if (text == NULL)
		text = DEFAULT_MEMORY;
	if (vm_parse_memsize(text, size) != 0)
		return err_set(err, EINVAL,
			       "memory.size (-m) %.40s: want a size such as "
			       "512M or 2G",
			       text);
	if ((error = memory_flags(m, flags, err)) != 0 ||
	    (error = topology_read(m->config, &m->topology, err)) != 0)
		return error;
	for (unsigned int i = 0; i < m->topology.cpus; i++) {
		cpu_set_t set;
		bool pinned;

		error = pinning_read(m->config, i, &set, &pinned, err);
		if (error != 0)
			return error;
	}
	error = set_library_options(m, err);
	if (error == 0)
		*status = STATUS_ERROR;
	return error;
}

/* A part of the set-up, which reaches the VM's files as one change. */
static int begin_part(struct machine *m, struct err *err)
{
	return vm_batch_begin(m->ctx) != 0 ? door_error(err, m->name) : 0;
}

static int end_part(struct machine *m, struct err *err)
{
	return vm_batch_end(m->ctx) != 0 ? door_error(err, m->name) : 0;
}

static int set_up(struct machine *m, int *status, struct err *err)
{
	size_t size = 0;
	int flags = 0, error;

	m->name = config_get(m->config, "name");
	if ((error = read_config(m, &size, &flags, status, err)) != 0 ||
	    (error = open_vm(m, err)) != 0 ||
	    (error = begin_part(m, err)) != 0 ||
	    (error = set_up_memory(m, size, flags, err)) != 0 ||
	    (error = set_up_cpus(m, err)) != 0 ||
	    (error = configure_cpus(m, err)) != 0 ||
	    (error = end_part(m, err)) != 0 ||
	    /* Unpacking takes long: not while others have to wait. */
	    (error = load_kernel(m, err)) != 0 ||
	    (error = begin_part(m, err)) != 0 || (error = set_rtc(m, err)) != 0)
		return error;
	say_engine(m);
	error = board_create(m->ctx, m->config, m->loop, &m->board, err);
	if (error == 0)
		error = tables_write(m, err);
	return error != 0 ? error : end_part(m, err);
}

int machine_create(struct config *config, struct loop *loop,
		   struct machine **out, int *status, struct err *err)
{
	struct machine *m = calloc(1, sizeof(*m));
	int error;

	*status = STATUS_ERROR;
	if (m == NULL)
		return err_sys(err, ENOMEM, "the VM");
	m->config = config;
	m->loop = loop;
	m->status = -1;
	pthread_mutex_init(&m->lock, NULL);
	error = set_up(m, status, err);
	if (error != 0) {
		machine_destroy(m, m->created);
		return error;
	}
	*out = m;
	return 0;
}

void machine_destroy(struct machine *m, bool destroy)
{
	if (m->board != NULL)
		board_destroy(m->board);
	for (unsigned int i = 0; i < VM_MAXCPU; i++) {
		if (m->cpu[i].vcpu != NULL)
			vm_vcpu_close(m->cpu[i].vcpu);
	}
	if (m->ctx != NULL && destroy && !m->destroyed)
		vm_destroy(m->ctx);
	else if (m->ctx != NULL)
		vm_close(m->ctx);
	pthread_mutex_destroy(&m->lock);
	free(m->last_words);
	free(m);
}
