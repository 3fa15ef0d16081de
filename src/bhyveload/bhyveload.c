/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bhyveload: makes a VM, puts a kernel into its memory and its boot CPU at the
 * kernel's entry, and ends. bhyve then runs what lies there.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include <vmmapi.h>

#include "base/bits.h"
#include "base/config.h"
#include "boot/vm.h"

enum status {
	STATUS_OK = 0,
	STATUS_USAGE = 1,
	STATUS_ERROR = 4,
	STATUS_MALFORMED = 64, /* EX_USAGE */
};

static int complain(const struct err *err, int status)
{
	fprintf(stderr, "bhyveload: %s\n", err->text);
	return status;
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
    {'i', "initrd", "boot.initrd", NULL, "initial RAM disk, or first module"},
    {'k', "kernel", "boot.kernel", NULL, "bzImage, multiboot, PVH or vmlinux"},
    {'l', "loader", NULL, NULL, NULL},
    {'m', "size", "memory.size", NULL, "memory size, as bhyve's -m (256M)"},
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

static int set_option(struct boot_vm *vm, const struct option_row *row,
		      const char *argument)
{
	struct err err;

	if (row->letter == 'o')
		return config_parse_option(vm->config, argument, &err) == 0
			   ? STATUS_OK
			   : complain(&err, STATUS_MALFORMED);
	if (row->help == NULL) {
		fprintf(stderr,
			"bhyveload: -%c %s: FreeBSD's loader is not built; "
			"give a Linux kernel with -k\n",
			row->letter, row->argument);
		return STATUS_ERROR;
	}
	if (config_set(vm->config, row->variable,
		       row->value != NULL ? row->value : argument) == 0)
		return STATUS_OK;
	fprintf(stderr, "bhyveload: -%c: %s cannot be set to that\n",
		row->letter, row->variable);
	return STATUS_MALFORMED;
}

/* -1: go on; else the program's status. */
static int parse(struct boot_vm *vm, int argc, char **argv)
{
	char accepted[2 * ARRAY_SIZE(options) + 1];
	int letter, status;
	struct err err;

	letters(accepted);
	while ((letter = getopt(argc, argv, accepted)) != -1) {
		const struct option_row *row = find_option(letter);

		if (row == NULL || letter == 'h')
			return usage(row == NULL ? STATUS_USAGE : STATUS_OK);
		status = set_option(vm, row, optarg);
		if (status != STATUS_OK)
			return status;
	}
	if (argc - optind != 1)
		return usage(STATUS_USAGE);
	vm->name = argv[optind];
	if (config_get(vm->config, "boot.kernel") == NULL) {
		fprintf(stderr, "bhyveload: no kernel: give one with -k\n");
		return STATUS_USAGE;
	}
	/* Memory that ends with its process is no use to bhyve. */
	config_unset(vm->config, "memory.backing");
	if (config_check(vm->config, &err) != 0 ||
	    boot_vm_read(vm, NULL, &err) != 0)
		return complain(&err, STATUS_MALFORMED);
	return -1;
}

/* -- loading --------------------------------------------------------------- */

static int load_kernel(struct boot_vm *vm, struct err *err)
{
	struct vcpu *bsp = vm_vcpu_open(vm->ctx, 0);
	int error;

	if (bsp == NULL)
		return boot_vm_error(vm->name, err);
	error = boot_vm_load(vm, bsp, err);
	vm_vcpu_close(bsp);
	return error;
}

/* A VM that exists is made anew, as FreeBSD's bhyveload does. */
static int load_vm(struct boot_vm *vm)
{
	struct err err;
	int error = boot_vm_open(vm, true, &err);

	/* What cannot be the name of any VM. */
	if (vm->ctx == NULL && (error == -EINVAL || error == -ENAMETOOLONG))
		return complain(&err, STATUS_MALFORMED);
	if (error == 0)
		error = boot_vm_memory(vm, &err);
	if (error == 0)
		error = load_kernel(vm, &err);
	if (vm->ctx != NULL && error != 0 && vm->created)
		vm_destroy(vm->ctx);
	else if (vm->ctx != NULL)
		vm_close(vm->ctx);
	return error == 0 ? STATUS_OK : complain(&err, STATUS_ERROR);
}

int main(int argc, char **argv)
{
	struct boot_vm vm = {.config = config_create()};
	int status;

	if (vm.config == NULL) {
		fprintf(stderr, "bhyveload: no memory\n");
		return STATUS_ERROR;
	}
	status = parse(&vm, argc, argv);
	if (status < 0)
		status = load_vm(&vm);
	config_destroy(vm.config);
	return status;
}
