// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include <vmmapi.h>

#include "bhyve/engines.h"
#include "bhyve/slots.h"
#include "bhyve/status.h"
#include "bhyve/topology.h"

/* -- the table ----------------------------------------------------------- */

typedef int parse_fn(struct config *config, const char *text, struct err *err);

struct option_row {
	char letter;
	const char *argument; /* NULL: a flag */
	/* One of these: what the option does. None: nothing, as in bhyve. */
	const char *variable; /* set to value, or to the argument */
	const char *value;
	parse_fn *parse;
	const char *unbuilt; /* the feature it wants */
	const char *help;
};

static const struct option_row options[] = {
    {'A', NULL, .help = "ACPI tables (always made)"},
    {'a', NULL, "x86.x2apic", "false", .help = "local APICs in xAPIC mode"},
    {'C', NULL, "memory.guest_in_core", "true",
     .help = "guest memory in core files"},
    {'c', "[[cpus=]numcpus][,sockets=n][,cores=n][,threads=n]",
     .parse = topology_parse, .help = "number and topology of CPUs"},
    {'D', NULL, "destroy_on_poweroff", "true",
     .help = "destroy the VM when the guest powers off"},
    {'e', NULL, "x86.strictio", "true",
     .help = "end on access to an I/O port that is not there"},
    {'f', "[name=]name,{string|file}=data", .unbuilt = "fw_cfg files",
     .help = "fw_cfg user file"},
    {'G', "[w][address:]port", .unbuilt = "the gdb server",
     .help = "gdb server"},
    {'H', NULL, "x86.vmexit_on_hlt", "true",
     .help = "yield the host's CPU on HLT (always done)"},
    {'h', NULL, .help = "this help"},
    {'I', NULL, .help = "I/O APIC (always there)"},
    {'K', "layout", .unbuilt = "the VNC server's keyboard",
     .help = "keyboard layout"},
    {'k', "file", .parse = config_parse_file,
     .help = "variables from a file, see bhyve_config(5)"},
    {'l', "help|device[,conf]", .parse = slots_parse_lpc,
     .help = "device behind the LPC bridge"},
    {'M', NULL, .unbuilt = "the monitor", .help = "restart after a reset"},
    {'m', "size[K|M|G|T]", "memory.size", .help = "memory size"},
    {'N', NULL, .unbuilt = "the monitor", .help = "no restart by the monitor"},
    {'n', "id=n,size=s,cpus=set[,domain_policy=p]", .unbuilt = "NUMA domains",
     .help = "NUMA domain"},
    {'o', "variable=value", .parse = config_parse_option,
     .help = "set a variable, see bhyve_config(5)"},
    {'P', NULL, "x86.vmexit_on_pause", "true", .help = "vmexit from PAUSE"},
    {'p', "vcpu:hostcpu", .parse = pinning_parse,
     .help = "pin a CPU to a CPU of the host"},
    {'r', "file", .unbuilt = "snapshots", .help = "resume from a snapshot"},
    {'S', NULL, "memory.wired", "true", .help = "reserve all guest memory"},
    {'s', "help|[bus:]slot[:function],emulation[,conf]",
     .parse = slots_parse_pci, .help = "PCI device"},
    {'U', "uuid", "uuid", .help = "UUID of the system"},
    {'u', NULL, "rtc.use_localtime", "false", .help = "RTC keeps UTC time"},
    {'W', NULL, "virtio_msix", "false",
     .help = "virtio interrupts by INTx, not MSI-X"},
    {'w', NULL, "x86.strictmsr", "false", .help = "ignore unknown MSRs"},
    {'x', NULL, "x86.x2apic", "true", .help = "local APICs in x2APIC mode"},
    {'Y', NULL, "x86.mptable", "false", .help = "no MP table"},
};

/*
 * Variables, or nodes, of features that are not built: refused, whether an
 * option, -o or a file sets them, unless the value switches them off.
 */
static const struct {
	const char *path;
	const char *feature;
} unbuilt[] = {
    {"domains", "NUMA domains"},
    {"gdb", "the gdb server"},
    {"keyboard", "the VNC server's keyboard"},
    {"lpc.fwcfg", "fw_cfg"},
    {"monitor", "the monitor"},
    {"tpm", "TPM devices"},
};

static const struct option_row *find_option(int letter)
{
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].letter == letter)
			return &options[i];
	}
	return NULL;
}

/* -- usage --------------------------------------------------------------- */

void options_usage(FILE *out)
{
	fprintf(out, "Usage: bhyve [-");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].argument == NULL)
			fputc(options[i].letter, out);
	}
	fprintf(out, "]\n");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		if (options[i].argument != NULL)
			fprintf(out, "             [-%c %s]\n",
				options[i].letter, options[i].argument);
	}
	fprintf(out, "             vmname\n");
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		const struct option_row *row = &options[i];

		fprintf(out, "       -%c: %s%s\n", row->letter, row->help,
			row->unbuilt != NULL ? " (not built yet)" : "");
	}
}

/* -- reading ------------------------------------------------------------- */

/* "+": options end at the first operand, as in BSD. */
static void getopt_string(char text[2 * ARRAY_SIZE(options) + 3])
{
	*text++ = '+';
	*text++ = ':';
	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		*text++ = options[i].letter;
		if (options[i].argument != NULL)
			*text++ = ':';
	}
	*text = '\0';
}

static bool print_help(const struct option_row *row)
{
	bool list = row->argument != NULL && strcmp(optarg, "help") == 0;
	bool engines = row->letter == 'o' && strcmp(optarg, "engine=help") == 0;

	if (row->letter == 'h')
		options_usage(stderr);
	else if (row->letter == 's' && list)
		slots_list_pci(stdout);
	else if (row->letter == 'l' && list)
		slots_list_lpc(stdout);
	else if (engines)
		engines_list(stdout);
	else
		return false;
	return true;
}

static int apply(struct config *config, const struct option_row *row,
		 struct err *err)
{
	int error = 0;

	if (row->unbuilt != NULL) {
		/* The word "gdb" and its like are in what is missing. */
		return err_set(err, ENOTSUP, "-%c: %s: not built yet",
			       row->letter, row->unbuilt);
	}
	if (row->parse != NULL)
		return row->parse(config, optarg, err);
	if (row->variable != NULL) {
		error = config_set(config, row->variable,
				   row->value != NULL ? row->value : optarg);
		if (error != 0)
			return err_sys(err, -error, "-%c", row->letter);
	}
	return 0;
}

/* An option's argument that is wrong by its grammar, or something else. */
static int status_of(int error)
{
	return error == -EINVAL ? STATUS_MALFORMED : STATUS_ERROR;
}

/* The one operand, which may be missing when a file gives the name. */
static int parse_operand(struct config *config, int argc, char **argv,
			 struct err *err)
{
	if (argc - optind > 1)
		return err_set(err, EINVAL, "\"%.80s\": one VM is enough",
			       argv[optind + 1]);
	if (argc - optind == 1 && config_set(config, "name", argv[optind]) != 0)
		return err_set(err, EINVAL,
			       "\"%.80s\" cannot be the name of a VM",
			       argv[optind]);
	if (config_get(config, "name") == NULL)
		return err_set(err, EINVAL, "no VM is named");
	return 0;
}

int options_parse(struct config *config, int argc, char **argv, int *status,
		  struct err *err)
{
	char letters[2 * ARRAY_SIZE(options) + 3];
	int letter, error;

	getopt_string(letters);
	optind = 0;
	opterr = 0;
	*status = STATUS_USAGE;
	while ((letter = getopt(argc, argv, letters)) != -1) {
		const struct option_row *row = find_option(letter);

		if (row == NULL)
			return err_set(err, EINVAL,
				       letter == ':' ? "-%c wants an argument"
						     : "no option -%c",
				       optopt);
		if (print_help(row)) {
			*status = STATUS_RESET;
			return -ECANCELED;
		}
		error = apply(config, row, err);
		if (error != 0) {
			*status = status_of(error);
			return error;
		}
	}
	return parse_operand(config, argc, argv, err);
}

/* -- checking ------------------------------------------------------------ */

static int check_name(const char *name, struct err *err)
{
	size_t length = strlen(name);

	if (length == 0 || length > VM_MAX_NAMELEN || name[0] == '.' ||
	    strchr(name, '/') != NULL)
		return err_set(err, EINVAL,
			       "\"%.80s\" cannot be the name of a VM: want 1 "
			       "to %d bytes, no slash, no dot at the start",
			       name, VM_MAX_NAMELEN);
	return 0;
}

/* Whether a variable of an unbuilt feature only switches it off. */
static bool is_off(const char *value)
{
	static const char *const words[] = {"false", "off", "no", "0"};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strcasecmp(value, words[i]) == 0)
			return true;
	}
	return false;
}

static int find_on(void *arg, const char *name, const char *value,
		   struct config_node *child)
{
	if (child != NULL)
		return config_walk(child, find_on, arg);
	return is_off(value) ? 0 : 1;
}

static int check_unbuilt(struct config *config, struct err *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(unbuilt); i++) {
		const char *value = config_get(config, unbuilt[i].path);
		struct config_node *node =
		    config_find(config_root(config), unbuilt[i].path);

		if ((value != NULL && !is_off(value)) ||
		    (node != NULL && config_walk(node, find_on, NULL) != 0))
			return err_set(err, ENOTSUP,
				       "variable %s: %s: not built yet",
				       unbuilt[i].path, unbuilt[i].feature);
	}
	return 0;
}

/* What is neither true nor false is found before anything is made. */
static int check_switches(struct config *config, struct err *err)
{
	static const char *const others[] = {
	    "acpi_tables",     "config.dump", "lpc.pc-testdev",
	    "pci.enable_bars", "vcpu.mux",    "x86.verbosemsr",
	};
	bool unused;
	int error = 0;

	for (size_t i = 0; error == 0 && i < ARRAY_SIZE(others); i++)
		error = config_get_bool(config, others[i], false, &unused, err);
	for (size_t i = 0; error == 0 && i < ARRAY_SIZE(options); i++)
		if (options[i].variable != NULL && options[i].value != NULL)
			error = config_get_bool(config, options[i].variable,
						false, &unused, err);
	return error;
}

int options_check(struct config *config, struct err *err)
{
	int error = config_check(config, err);

	if (error == 0)
		error = check_name(config_get(config, "name"), err);
	if (error == 0)
		error = check_switches(config, err);
	if (error == 0)
		error = check_unbuilt(config, err);
	return error;
}
