/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bhyveload: makes a VM, puts a kernel into its memory and its boot CPU at the
 * kernel's entry, and ends. bhyve then runs what lies there.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmmapi.h>

#include "base/bits.h"
#include "base/config.h"
#include "boot/boot.h"

enum status {
	STATUS_OK = 0,
	STATUS_USAGE = 1,
	STATUS_ERROR = 4,
	STATUS_MALFORMED = 64, /* EX_USAGE */
};

#define DEFAULT_MEMORY "256M"

/* What the command line says. */
struct load {
	struct config *config;
	const char *name;
	size_t memory_size;
	int memory_flags;
	struct vmctx *ctx;
	bool created;
};

static int complain(const struct err *err, int status)
{
	fprintf(stderr, "bhyveload: %s\n", err->text);
	return status;
}

/* The line of the library, which may name the VM already. */
static int complain_door(const char *name)
{
	const char *text = vm_error_text();

	if (strstr(text, name) != NULL)
		fprintf(stderr, "bhyveload: %s\n", text);
	else
		fprintf(stderr, "bhyveload: %s: %s\n", name, text);
	return STATUS_ERROR;
}

/* -- options --------------------------------------------------------------- */

struct option_row {
	char letter;
	const char *argument; /* NULL: a flag */
	const char *variable; /* set to value, or to the argument */
	const char *value;
	const char *help; /* NULL: an option of FreeBSD's own loader */
};

static const struct option_row options[] = {
    {'a', "cmdline", "boot.cmdline", NULL, "the kernel's command line"},
    {'C', NULL, "memory.guest_in_core", "true", "guest memory in core files"},
    {'c', "console", NULL, NULL, NULL},
    {'d', "disk", NULL, NULL, NULL},
    {'e', "name=value", NULL, NULL, NULL},
    {'h', NULL, NULL, NULL, "this help"},
    {'i', "initrd", "boot.initrd", NULL, "initial RAM disk"},
    {'k', "kernel", "boot.kernel", NULL, "bzImage or vmlinux"},
    {'l', "loader", NULL, NULL, NULL},
    {'m', "size", "memory.size", NULL,
     "memory size, as bhyve's -m (" DEFAULT_MEMORY ")"},
    {'o', "var=value", NULL, NULL, "set a variable, as bhyve's -o"},
    {'S', NULL, "memory.wired", "true", "reserve all guest memory"},
};

static int usage(int status)
{
	fputs("usage: bhyveload [-CS] [-a cmdline] [-i initrd] [-m size]"
	      " [-o var=value]\n"
	      "                 -k kernel vmname\n",
	      stderr);
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option_row *row = &options[i];

		if (row->help != NULL)
			fprintf(stderr, "       -%c %-10s %s\n", row->letter,
				row->argument != NULL ? row->argument : "",
				row->help);
	}
	return status;
}

/* The table as getopt wants it. */
static void letters(char out[2 * ARRAY_SIZE(options) + 1])
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		*out++ = options[i].letter;
		if (options[i].argument != NULL)
			*out++ = ':';
	}
	*out = '\0';
}

static const struct option_row *find_option(int letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].letter == letter)
			return &options[i];
	}
	return NULL;
}

static int set_option(struct load *load, const struct option_row *row,
		      const char *argument)
{
	struct err err;

	if (row->letter == 'o')
		return config_parse_option(load->config, argument, &err) == 0
			   ? STATUS_OK
			   : complain(&err, STATUS_MALFORMED);
	if (row->help == NULL) {
		fprintf(stderr,
			"bhyveload: -%c %s: FreeBSD's loader is not built; "
			"give a Linux kernel with -k\n",
			row->letter, row->argument);
		return STATUS_ERROR;
	}
	if (config_set(load->config, row->variable,
		       row->value != NULL ? row->value : argument) == 0)
		return STATUS_OK;
	fprintf(stderr, "bhyveload: -%c: %s cannot be set to that\n",
		row->letter, row->variable);
	return STATUS_MALFORMED;
}

/* What the variables mean, before anything is touched. */
static int read_config(struct load *load)
{
	const char *size = config_get(load->config, "memory.size");
	bool wired, incore;
	struct err err;

	if (config_check(load->config, &err) != 0 ||
	    config_get_bool(load->config, "memory.wired", false, &wired,
			    &err) != 0 ||
	    config_get_bool(load->config, "memory.guest_in_core", false,
			    &incore, &err) != 0)
		return complain(&err, STATUS_MALFORMED);
	load->memory_flags =
	    (wired ? VM_MEM_F_WIRED : 0) | (incore ? VM_MEM_F_INCORE : 0);
	if (size == NULL)
		size = DEFAULT_MEMORY;
	if (vm_parse_memsize(size, &load->memory_size) == 0)
		return STATUS_OK;
	fprintf(stderr,
		"bhyveload: memory.size (-m) %.40s: want a size such as 512M "
		"or 2G\n",
		size);
	return STATUS_MALFORMED;
}

/* -1: go on; else the program's status. */
static int parse(struct load *load, int argc, char **argv)
{
	char accepted[2 * ARRAY_SIZE(options) + 1];
	int letter, status;

	letters(accepted);
	while ((letter = getopt(argc, argv, accepted)) != -1) {
		const struct option_row *row = find_option(letter);

		if (row == NULL || letter == 'h')
			return usage(row == NULL ? STATUS_USAGE : STATUS_OK);
		status = set_option(load, row, optarg);
		if (status != STATUS_OK)
			return status;
	}
	if (argc - optind != 1)
		return usage(STATUS_USAGE);
	load->name = argv[optind];
	if (config_get(load->config, "boot.kernel") == NULL) {
		fprintf(stderr, "bhyveload: no kernel: give one with -k\n");
		return STATUS_USAGE;
	}
	status = read_config(load);
	return status == STATUS_OK ? -1 : status;
}

/* -- the VM ---------------------------------------------------------------- */

/* Variables that the library wants before it opens a VM. */
static int set_library_options(const struct load *load)
{
	static const char *const keys[] = {"rundir", "engine", "soft.jit",
					   "cpu.model", "cpu.features"};

	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		const char *value = config_get(load->config, keys[i]);

		if (value != NULL && vm_set_option(keys[i], value) != 0) {
			complain_door(keys[i]);
			return STATUS_MALFORMED;
		}
	}
	return STATUS_OK;
}

/* A VM that exists is made anew, as FreeBSD's bhyveload does. */
static int open_vm(struct load *load)
{
	int status = set_library_options(load);

	if (status != STATUS_OK)
		return status;
	load->ctx = vm_openf(load->name, VMMAPI_OPEN_REINIT);
	if (load->ctx == NULL && errno == ENOENT) {
		load->ctx = vm_openf(load->name, VMMAPI_OPEN_CREATE);
		load->created = load->ctx != NULL;
	}
	return load->ctx != NULL ? STATUS_OK : complain_door(load->name);
}

/* Memory of another size is not grown: it is another VM. */
static int set_up_memory(struct load *load)
{
	size_t have = 0;
	char segment[64];

	if (!load->created &&
	    vm_get_memseg(load->ctx, VM_SYSMEM, &have, segment,
			  sizeof(segment)) == 0 &&
	    have != 0 && have != load->memory_size) {
		fprintf(stderr,
			"bhyveload: %s has %llu MiB of memory, not the %llu "
			"MiB of -m: destroy it first\n",
			load->name, have / MiB, load->memory_size / MiB);
		return STATUS_ERROR;
	}
	vm_set_memflags(load->ctx, load->memory_flags);
	if (vm_setup_memory(load->ctx, load->memory_size, VM_MMAP_ALL) != 0)
		return complain_door(load->name);
	return STATUS_OK;
}

static int load_kernel(struct load *load)
{
	struct boot_progress_line line = {0};
	struct boot_request request = {
	    .kernel = config_get(load->config, "boot.kernel"),
	    .initrd = config_get(load->config, "boot.initrd"),
	    .cmdline = config_get(load->config, "boot.cmdline"),
	    .memory_is_zero = true, /* new, or new after REINIT */
	    .progress = boot_progress_print,
	    .progress_arg = &line,
	};
	struct vcpu *bsp = vm_vcpu_open(load->ctx, 0);
	struct err err;
	int error;

	if (bsp == NULL)
		return complain_door(load->name);
	error = boot_load(load->ctx, bsp, &request, NULL, &err);
	vm_vcpu_close(bsp);
	return error == 0 ? STATUS_OK : complain(&err, STATUS_ERROR);
}

static int load_vm(struct load *load)
{
	int status = open_vm(load);

	if (status != STATUS_OK)
		return status;
	status = set_up_memory(load);
	if (status == STATUS_OK)
		status = load_kernel(load);
	if (status != STATUS_OK && load->created)
		vm_destroy(load->ctx);
	else
		vm_close(load->ctx);
	return status;
}

int main(int argc, char **argv)
{
	struct load load = {.config = config_create()};
	int status;

	if (load.config == NULL) {
		fprintf(stderr, "bhyveload: no memory\n");
		return STATUS_ERROR;
	}
	status = parse(&load, argc, argv);
	if (status < 0)
		status = load_vm(&load);
	config_destroy(load.config);
	return status;
}
