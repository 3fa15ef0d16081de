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

#include "base/config.h"
#include "boot/boot.h"

enum status {
	STATUS_OK = 0,
	STATUS_USAGE = 1,
	STATUS_ERROR = 4,
	STATUS_MALFORMED = 64, /* EX_USAGE */
};

#define DEFAULT_MEMORY "256M"

static int usage(FILE *out, int status)
{
	fputs("usage: bhyveload [-Ch] [-a cmdline] [-i initrd] [-m size]"
	      " [-o var=value]\n"
	      "                 -k kernel vmname\n"
	      "       -a cmdline    the kernel's command line\n"
	      "       -C            guest memory in core files\n"
	      "       -h            this help\n"
	      "       -i initrd     initial RAM disk\n"
	      "       -k kernel     bzImage or vmlinux\n"
	      "       -m size       memory size, as bhyve's -m (" DEFAULT_MEMORY
	      ")\n"
	      "       -o var=value  a variable, as bhyve's -o: rundir\n",
	      out);
	return status;
}

/* What the options set. */
struct load {
	struct config *config;
	const char *name;
	size_t memory_size;
	bool incore;
	struct vmctx *ctx;
	bool created;
};

static int complain(const struct err *err)
{
	fprintf(stderr, "bhyveload: %s\n", err->text);
	return STATUS_ERROR;
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

/* -- options ----------------------------------------------------------------
 */

static int set(struct load *load, const char *path, const char *value)
{
	if (config_set(load->config, path, value) == 0)
		return STATUS_OK;
	fprintf(stderr, "bhyveload: %s: cannot be set\n", path);
	return STATUS_ERROR;
}

static int parse_option(struct load *load, int letter, const char *argument)
{
	struct err err;

	switch (letter) {
	case 'a':
		return set(load, "boot.cmdline", argument);
	case 'C':
		load->incore = true;
		return STATUS_OK;
	case 'i':
		return set(load, "boot.initrd", argument);
	case 'k':
		return set(load, "boot.kernel", argument);
	case 'm':
		return set(load, "memory.size", argument);
	case 'o':
		if (config_parse_option(load->config, argument, &err) == 0)
			return STATUS_OK;
		complain(&err);
		return STATUS_MALFORMED;
	default:
		return usage(stderr, STATUS_USAGE);
	}
}

static int read_memory_size(struct load *load)
{
	const char *text = config_get(load->config, "memory.size");

	if (text == NULL)
		text = DEFAULT_MEMORY;
	if (vm_parse_memsize(text, &load->memory_size) == 0)
		return STATUS_OK;
	fprintf(stderr,
		"bhyveload: memory.size (-m) %.40s: want a size such as 512M "
		"or 2G\n",
		text);
	return STATUS_MALFORMED;
}

/* -1: go on; else the program's status. */
static int parse(struct load *load, int argc, char **argv)
{
	int letter, status;

	while ((letter = getopt(argc, argv, "a:Chi:k:m:o:")) != -1) {
		if (letter == 'h')
			return usage(stderr, STATUS_OK);
		status = parse_option(load, letter, optarg);
		if (status != STATUS_OK)
			return status;
	}
	if (argc - optind != 1)
		return usage(stderr, STATUS_USAGE);
	load->name = argv[optind];
	if (config_get(load->config, "boot.kernel") == NULL) {
		fprintf(stderr, "bhyveload: no kernel: give one with -k\n");
		return STATUS_USAGE;
	}
	status = read_memory_size(load);
	return status == STATUS_OK ? -1 : status;
}

/* -- the VM -----------------------------------------------------------------
 */

/* A VM that exists is made anew, as FreeBSD's bhyveload does. */
static int open_vm(struct load *load)
{
	const char *rundir = config_get(load->config, "rundir");

	if (rundir != NULL && vm_set_option("rundir", rundir) != 0)
		return complain_door("rundir");
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
	vm_set_memflags(load->ctx, load->incore ? VM_MEM_F_INCORE : 0);
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
	return error == 0 ? STATUS_OK : complain(&err);
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
