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
#include "boot/vm.h"
#include "dev/board.h"

/* -- the VM -------------------------------------------------------------- */

static int set_up_cpus(struct machine *m, struct err *err)
{
	const struct topology *t = &m->topology;

	if (vm_set_topology(m->ctx, t->sockets, t->cores, t->threads, 0) != 0)
		return boot_vm_error(m->name, err);
	for (unsigned int i = 0; i < t->cpus; i++) {
		m->cpu[i].machine = m;
		m->cpu[i].vcpu = vm_vcpu_open(m->ctx, (int)i);
		if (m->cpu[i].vcpu == NULL)
			return boot_vm_error(m->name, err);
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
			return boot_vm_error(m->name, err);
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
	    (error = config_get_bool(m->config, "vcpu.mux", false, &m->mux,
				     err)) != 0 ||
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

/* -- clock, engine ------------------------------------------------------- */

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
		return boot_vm_error(m->name, err);
	return 0;
}

/* Before anything is loaded: the one that was asked for can run here. */
static int check_engine(struct machine *m, struct err *err)
{
	const char *why = NULL;

	if (vm_get_engine(m->ctx, &why) != NULL)
		return 0;
	return err_set(err, ENOTSUP, "%s: engine %s: %s", m->name,
		       config_get(m->config, "engine"), why);
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

/* A guest's device said how it ends. */
static void on_exit_device(void *arg, int status)
{
	machine_end(arg, status, NULL);
}

/* -- all of it ----------------------------------------------------------- */

/* A kernel, or a boot ROM, finds a machine as after power-up. */
static bool makes_anew(struct machine *m)
{
	return config_get(m->config, "boot.kernel") != NULL ||
	       board_bootrom(m->config) != NULL;
}

/* What config says, before anything is touched. */
static int read_config(struct machine *m, struct boot_vm *vm, struct err *err)
{
	/* This process runs what it loads: the memory may end with it. */
	bool loads = makes_anew(m);
	int error = topology_read(m->config, &m->topology, err);

	for (unsigned int i = 0; error == 0 && i < m->topology.cpus; i++) {
		cpu_set_t set;
		bool pinned;

		error = pinning_read(m->config, i, &set, &pinned, err);
	}
	return error != 0 ? error
			  : boot_vm_read(vm, loads ? "auto" : NULL, err);
}

/* A part of the set-up, which reaches the VM's files as one change. */
static int begin_part(struct machine *m, struct err *err)
{
	return vm_batch_begin(m->ctx) != 0 ? boot_vm_error(m->name, err) : 0;
}

static int end_part(struct machine *m, struct err *err)
{
	return vm_batch_end(m->ctx) != 0 ? boot_vm_error(m->name, err) : 0;
}

/* The VM, with its CPUs, and the kernel that was asked for. Without one they
   are at their reset state, or what bhyveload has left. */
static int set_up_vm(struct machine *m, struct boot_vm *vm, struct err *err)
{
	bool load = config_get(m->config, "boot.kernel") != NULL;
	int error = boot_vm_open(vm, makes_anew(m), err);

	m->ctx = vm->ctx;
	m->created = vm->created;
	if (error != 0 || (error = check_engine(m, err)) != 0 ||
	    (error = begin_part(m, err)) != 0 ||
	    (error = boot_vm_memory(vm, err)) != 0 ||
	    (error = set_up_cpus(m, err)) != 0 ||
	    (error = configure_cpus(m, err)) != 0 ||
	    (error = end_part(m, err)) != 0)
		return error;
	/* Unpacking takes long: not while others have to wait. */
	return load ? boot_vm_load(vm, m->cpu[0].vcpu, err) : 0;
}

static int set_up(struct machine *m, int *status, struct err *err)
{
	struct boot_vm vm = {.config = m->config};
	int error;

	m->name = config_get(m->config, "name");
	vm.name = m->name;
	*status = STATUS_MALFORMED;
	error = read_config(m, &vm, err);
	if (error != 0)
		return error;
	*status = STATUS_ERROR;
	if ((error = set_up_vm(m, &vm, err)) != 0 ||
	    (error = begin_part(m, err)) != 0 || (error = set_rtc(m, err)) != 0)
		return error;
	say_engine(m);
	error = board_create(m->ctx, m->config, m->loop, &m->board, err);
	if (error == 0) {
		board_set_exit(m->board, on_exit_device, m);
		error = tables_write(m, err);
	}
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
	m->msr_vendor = msr_host_vendor();
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
