// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/slots.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dev/board.h"

#define MAX_BUS  255
#define MAX_SLOT 31
#define MAX_FUNC 7

static const struct board_device *find_device(const struct board_device *list,
					      const char *name)
{
	for (; list->name != NULL; list++) {
		if (strcmp(list->name, name) == 0)
			return list;
	}
	return NULL;
}

/* The words of conf, which is changed, as variables of node. */
static int set_conf(struct config_node *node, const struct board_device *device,
		    char *conf)
{
	bool first = true;
	char *word;
	int error = 0;

	while (error == 0 && (word = strsep(&conf, ",")) != NULL) {
		char *equals = strchr(word, '=');

		if (equals != NULL) {
			*equals = '\0';
			error = config_set_in(node, word, equals + 1);
		} else if (first && device->first != NULL) {
			error = config_set_in(node, device->first, word);
		} else {
			error = config_set_in(node, word, "true");
		}
		first = false;
	}
	return error;
}

/* -- -s ------------------------------------------------------------------ */

struct address {
	unsigned int bus, slot, func;
};

static bool parse_number(const char **text, unsigned int limit,
			 unsigned int *out)
{
	unsigned int number = 0;

	if (!isdigit((unsigned char)**text))
		return false;
	for (; isdigit((unsigned char)**text); (*text)++) {
		number = number * 10 + (unsigned int)(**text - '0');
		if (number > limit)
			return false;
	}
	*out = number;
	return true;
}

/* slot, slot:func or bus:slot:func. */
static bool parse_address(const char *text, struct address *out)
{
	unsigned int part[3], count = 0;

	do {
		if (count == 3 || !parse_number(&text, MAX_BUS, &part[count]))
			return false;
		count++;
	} while (*text++ == ':');
	if (text[-1] != '\0')
		return false;
	*out = (struct address){
	    .bus = count == 3 ? part[0] : 0,
	    .slot = count == 3 ? part[1] : part[0],
	    .func = count == 1 ? 0 : part[count - 1],
	};
	return out->slot <= MAX_SLOT && out->func <= MAX_FUNC;
}

static int set_slot(struct config *config, const struct address *at,
		    const char *emulation, char *conf, struct err *err)
{
	const struct board_device *device;
	struct config_node *node;
	char path[32], where[32];
	int error;

	snprintf(where, sizeof(where), "pci slot %u:%u:%u", at->bus, at->slot,
		 at->func);
	device = find_device(board_pci_devices(), emulation);
	if (device == NULL)
		return err_set(err, EINVAL, "%s: unknown device \"%.40s\"",
			       where, emulation);
	snprintf(path, sizeof(path), "pci.%u.%u.%u", at->bus, at->slot,
		 at->func);
	node = config_make(config_root(config), path);
	if (node == NULL)
		return err_sys(err, ENOMEM, "%s", where);
	if (config_get_in(node, "device") != NULL)
		return err_set(err, EEXIST, "%s already occupied!", where);
	error = config_set_in(node, "device", emulation);
	if (error == 0 && conf != NULL)
		error = set_conf(node, device, conf);
	if (error != 0)
		return err_sys(err, -error, "%s: configuration of %s", where,
			       emulation);
	return 0;
}

int slots_parse_pci(struct config *config, const char *text, struct err *err)
{
	char *copy = strdup(text), *conf = copy, *slot, *emulation;
	struct address at;
	int error;

	if (copy == NULL)
		return err_sys(err, ENOMEM, "-s %.80s", text);
	slot = strsep(&conf, ",");
	emulation = strsep(&conf, ",");
	if (emulation == NULL || !parse_address(slot, &at))
		error = err_set(err, EINVAL,
				"-s %.80s: want [bus:]slot[:function],"
				"emulation[,configuration], with slots up to "
				"%d and functions up to %d",
				text, MAX_SLOT, MAX_FUNC);
	else
		error = set_slot(config, &at, emulation, conf, err);
	free(copy);
	return error;
}

/* -- -l ------------------------------------------------------------------ */

/* file[,varfile][,variable=value...], with the LPC bridge's variables. */
static int set_bootrom(struct config *config, char *conf, struct err *err)
{
	static const struct board_device bridge = {.first = "bootvars"};
	const char *file = strsep(&conf, ",");
	struct config_node *node;
	int error;

	if (file == NULL || *file == '\0')
		return err_set(err, EINVAL, "invalid bootrom option \"%s\"",
			       "bootrom");
	error = config_set(config, "bootrom", file);
	if (error == 0 && conf != NULL) {
		node = config_make(config_root(config), "lpc");
		error = node == NULL ? -ENOMEM : set_conf(node, &bridge, conf);
	}
	return error == 0 ? 0 : err_sys(err, -error, "-l bootrom");
}

int slots_parse_lpc(struct config *config, const char *text, struct err *err)
{
	char *copy = strdup(text), *conf = copy, *name;
	const struct board_device *device;
	struct config_node *node;
	char path[64];
	int error = -EINVAL;

	if (copy == NULL)
		return err_sys(err, ENOMEM, "-l %.80s", text);
	name = strsep(&conf, ",");
	if (strcmp(name, "bootrom") == 0) {
		error = set_bootrom(config, conf, err);
		free(copy);
		return error;
	}
	device = find_device(board_lpc_devices(), name);
	if (device != NULL && device->bare && (conf == NULL || *conf == '\0')) {
		snprintf(path, sizeof(path), "lpc.%s", name);
		error = config_set(config, path, "true");
	} else if (device != NULL && !device->bare && conf != NULL) {
		snprintf(path, sizeof(path), "lpc.%s", name);
		node = config_make(config_root(config), path);
		error = node == NULL ? -ENOMEM : set_conf(node, device, conf);
	}
	free(copy);
	if (error == 0)
		return 0;
	return err_set(err, -error, "invalid lpc device configuration '%.80s'",
		       text);
}

/* -- help ---------------------------------------------------------------- */

static void list(const struct board_device *device, FILE *out)
{
	for (; device->name != NULL; device++)
		fprintf(out, "%s\n", device->name);
}

void slots_list_pci(FILE *out)
{
	list(board_pci_devices(), out);
}

void slots_list_lpc(FILE *out)
{
	list(board_lpc_devices(), out);
}
