// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/topology.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmmapi.h>

/* A decimal number that ends at *end. */
static bool parse_decimal(const char *text, unsigned int *out, const char **end)
{
	unsigned long number;
	char *stop;

	if (!isdigit((unsigned char)text[0]))
		return false;
	errno = 0;
	number = strtoul(text, &stop, 10);
	if (errno != 0 || number > UINT16_MAX)
		return false;
	*out = (unsigned int)number;
	*end = stop;
	return true;
}

/* -- -c ------------------------------------------------------------------ */

static const char *const topology_keys[] = {"cpus", "sockets", "cores",
					    "threads"};

static bool is_topology_key(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(topology_keys); i++) {
		if (strcmp(key, topology_keys[i]) == 0)
			return true;
	}
	return false;
}

static int set_count(struct config *config, const char *key, const char *value,
		     struct err *err)
{
	int error = config_set(config, key, value);

	return error == 0 ? 0 : err_sys(err, -error, "-c: %s", key);
}

static int parse_topology_part(struct config *config, char *part,
			       struct err *err)
{
	const char *key = "cpus", *end;
	char *value = part;
	unsigned int number;
	char *equals = strchr(part, '=');

	if (equals != NULL) {
		*equals = '\0';
		key = part;
		value = equals + 1;
	}
	if (!is_topology_key(key))
		return err_set(err, EINVAL,
			       "-c: \"%.40s\" is none of cpus, sockets, cores, "
			       "threads",
			       key);
	if (!parse_decimal(value, &number, &end) || *end != '\0' || number == 0)
		return err_set(err, EINVAL,
			       "-c: %s=%.40s: want a number from 1 to %d", key,
			       value, VM_MAXCPU);
	return set_count(config, key, value, err);
}

int topology_parse(struct config *config, const char *text, struct err *err)
{
	char *copy, *rest, *part;
	int error = 0;

	/* Each -c stands for itself: what an earlier one left out is 1. */
	for (size_t i = 0; i < ARRAY_SIZE(topology_keys); i++)
		config_unset(config, topology_keys[i]);
	if (text[0] == '\0')
		return set_count(config, "cpus", "1", err);
	copy = rest = strdup(text);
	if (copy == NULL)
		return err_sys(err, ENOMEM, "-c");
	while (error == 0 && (part = strsep(&rest, ",")) != NULL)
		error = parse_topology_part(config, part, err);
	free(copy);
	return error;
}

static int read_count(struct config *config, const char *path, uint64_t *out,
		      struct err *err)
{
	int error = config_get_number(config, path, 0, out, err);

	if (error != 0)
		return error;
	if ((*out == 0 && config_get(config, path) != NULL) ||
	    *out > UINT16_MAX)
		return err_set(err, EINVAL, "%s=%s: want a number from 1 to %d",
			       path, config_get(config, path), VM_MAXCPU);
	return 0;
}

int topology_read(struct config *config, struct topology *out, struct err *err)
{
	uint64_t cpus, sockets, cores, threads, product;
	int error;

	if ((error = read_count(config, "cpus", &cpus, err)) != 0 ||
	    (error = read_count(config, "sockets", &sockets, err)) != 0 ||
	    (error = read_count(config, "cores", &cores, err)) != 0 ||
	    (error = read_count(config, "threads", &threads, err)) != 0)
		return error;
	cores = MAX(cores, 1);
	threads = MAX(threads, 1);
	/* CPUs that are not grouped otherwise sit in sockets of their own. */
	if (sockets == 0)
		sockets = MAX(cpus / (cores * threads), 1);
	product = sockets * cores * threads;
	if (cpus == 0)
		cpus = product;
	if (cpus != product)
		return err_set(err, EINVAL,
			       "cpus=%ju, but sockets=%ju times cores=%ju "
			       "times threads=%ju is %ju",
			       (uintmax_t)cpus, (uintmax_t)sockets,
			       (uintmax_t)cores, (uintmax_t)threads,
			       (uintmax_t)product);
	if (cpus > VM_MAXCPU)
		return err_set(err, EINVAL,
			       "cpus=%ju: a VM has at most %d CPUs",
			       (uintmax_t)cpus, VM_MAXCPU);
	*out = (struct topology){.cpus = (uint16_t)cpus,
				 .sockets = (uint16_t)sockets,
				 .cores = (uint16_t)cores,
				 .threads = (uint16_t)threads};
	return 0;
}

/* -- -p ------------------------------------------------------------------ */

/* "3" or "3-5" at *text, which moves behind it. */
static bool parse_range(const char **text, unsigned int *first,
			unsigned int *last)
{
	if (!parse_decimal(*text, first, text))
		return false;
	*last = *first;
	if (**text == '-' && !parse_decimal(*text + 1, last, text))
		return false;
	return *first <= *last;
}

/* Adds the host CPUs of a list such as "0,2-4" to *out. */
static int parse_cpu_list(const char *text, cpu_set_t *out)
{
	unsigned int first, last;

	for (;;) {
		if (!parse_range(&text, &first, &last) || last >= CPU_SETSIZE)
			return -EINVAL;
		for (; first <= last; first++)
			CPU_SET(first, out);
		if (*text == '\0')
			return 0;
		if (*text++ != ',')
			return -EINVAL;
	}
}

static int add_cpuset(struct config *config, unsigned int vcpu,
		      const char *list)
{
	char path[32], *joined;
	const char *before;
	int error;

	snprintf(path, sizeof(path), "vcpu.%u.cpuset", vcpu);
	before = config_get(config, path);
	if (before == NULL)
		return config_set(config, path, list);
	if (asprintf(&joined, "%s,%s", before, list) < 0)
		return -ENOMEM;
	error = config_set(config, path, joined);
	free(joined);
	return error;
}

int pinning_parse(struct config *config, const char *text, struct err *err)
{
	unsigned int first, last;
	const char *at = text;
	cpu_set_t hosts;
	int error = 0;

	CPU_ZERO(&hosts);
	if (!parse_range(&at, &first, &last) || *at++ != ':' ||
	    parse_cpu_list(at, &hosts) != 0)
		return err_set(err, EINVAL,
			       "-p %.80s: want vcpu:hostcpu, two numbers or "
			       "ranges",
			       text);
	if (last >= VM_MAXCPU)
		return err_set(err, EINVAL, "-p %.80s: a VM's CPUs are 0 to %d",
			       text, VM_MAXCPU - 1);
	for (; first <= last && error == 0; first++)
		error = add_cpuset(config, first, at);
	if (error != 0)
		return err_sys(err, -error, "-p %.80s", text);
	return 0;
}

int pinning_read(struct config *config, unsigned int vcpu, cpu_set_t *out,
		 bool *pinned, struct err *err)
{
	char path[32];
	const char *list;
	cpu_set_t allowed, usable;

	snprintf(path, sizeof(path), "vcpu.%u.cpuset", vcpu);
	list = config_get(config, path);
	CPU_ZERO(out);
	*pinned = list != NULL;
	if (list == NULL)
		return 0;
	if (parse_cpu_list(list, out) != 0)
		return err_set(err, EINVAL,
			       "%s=%.80s: want host CPUs such as 0,2-4", path,
			       list);
	if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
		return err_sys(err, errno, "%s=%.80s", path, list);
	CPU_AND(&usable, out, &allowed);
	if (!CPU_EQUAL(&usable, out))
		return err_set(err, EINVAL,
			       "%s=%.80s: bhyve may not run on each of these "
			       "host CPUs (see nproc, taskset)",
			       path, list);
	return 0;
}
