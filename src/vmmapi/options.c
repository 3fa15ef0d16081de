// SPDX-License-Identifier: BSD-2-Clause
/* vm_set_option: what is set before a VM is opened. One table. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/cpuid.h"
#include "vmmapi/door.h"

static pthread_mutex_t door_options_lock = PTHREAD_MUTEX_INITIALIZER;
static struct door_options door_options;

static int check_rundir(const struct door_options *options, const char *value,
			struct err *err)
{
	if (value[0] == '\0')
		return err_set(err, EINVAL, "rundir: empty path");
	return 0;
}

static int check_engine(const struct door_options *options, const char *value,
			struct err *err)
{
	if (strcmp(value, "auto") == 0 || strcmp(value, "soft") == 0 ||
	    strcmp(value, "kvm") == 0)
		return 0;
	return err_set(err, EINVAL,
		       "engine=%s: no such engine (auto, soft, kvm)", value);
}

/* 1, 0, or -1: neither on nor off. */
static int boolean(const char *value)
{
	static const char *const words[] = {"off", "on",  "false", "true",
					    "no",  "yes", "0",     "1"};

	for (unsigned n = 0; n < ARRAY_SIZE(words); n++)
		if (strcmp(value, words[n]) == 0)
			return n & 1;
	return -1;
}

static int check_jit(const struct door_options *options, const char *value,
		     struct err *err)
{
	if (boolean(value) >= 0 || strcmp(value, "verify") == 0)
		return 0;
	return err_set(err, EINVAL, "soft.jit=%s: not one of on, off, verify",
		       value);
}

bool door_option_jit(const struct door_options *options)
{
	return options->jit[0] == '\0' || boolean(options->jit) != 0;
}

bool door_option_jit_verify(const struct door_options *options)
{
	return strcmp(options->jit, "verify") == 0;
}

#define JIT_CACHE_MIN 4
#define JIT_CACHE_MAX 1024

static bool number_from_to(const char *value, unsigned long from,
			   unsigned long to)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	return value[0] >= '0' && value[0] <= '9' && *end == '\0' &&
	       number >= from && number <= to;
}

static int check_jit_cache(const struct door_options *options,
			   const char *value, struct err *err)
{
	if (number_from_to(value, JIT_CACHE_MIN, JIT_CACHE_MAX))
		return 0;
	return err_set(err, EINVAL,
		       "soft.jit.cache=%s: not a number of MiB from %u to %u",
		       value, JIT_CACHE_MIN, JIT_CACHE_MAX);
}

uint64_t door_option_jit_cache(const struct door_options *options)
{
	return strtoul(options->jit_cache, NULL, 10) * MiB;
}

#define JIT_HOT_MAX 10000

static int check_jit_hot(const struct door_options *options, const char *value,
			 struct err *err)
{
	if (number_from_to(value, 1, JIT_HOT_MAX))
		return 0;
	return err_set(err, EINVAL,
		       "soft.jit.hot=%s: not a number from 1 to %u", value,
		       JIT_HOT_MAX);
}

uint16_t door_option_jit_hot(const struct door_options *options)
{
	return (uint16_t)strtoul(options->jit_hot, NULL, 10);
}

static int check_jit_perfmap(const struct door_options *options,
			     const char *value, struct err *err)
{
	if (strcmp(value, "on") == 0 || strcmp(value, "off") == 0)
		return 0;
	return err_set(err, EINVAL, "soft.jit.perfmap=%s: neither on nor off",
		       value);
}

bool door_option_jit_perfmap(const struct door_options *options)
{
	return strcmp(options->jit_perfmap, "on") == 0;
}

static int check_backing(const struct door_options *options, const char *value,
			 struct err *err)
{
	if (strcmp(value, "file") == 0 || strcmp(value, "anon") == 0 ||
	    strcmp(value, "auto") == 0)
		return 0;
	return err_set(err, EINVAL,
		       "memory.backing=%s: not one of auto, file, anon", value);
}

static int check_cpu(const char *model, const char *features, struct err *err)
{
	struct cpu_model *made;
	int error;

	error = cpu_model_create(model[0] != '\0' ? model : NULL,
				 features[0] != '\0' ? features : NULL,
				 1000000000, &made, err);
	if (error == 0)
		cpu_model_destroy(made);
	return error;
}

static int check_model(const struct door_options *options, const char *value,
		       struct err *err)
{
	return check_cpu(value, options->cpu_features, err);
}

static int check_features(const struct door_options *options, const char *value,
			  struct err *err)
{
	return check_cpu(options->cpu_model, value, err);
}

static const struct option {
	const char *key;
	size_t offset, size;
	int (*check)(const struct door_options *options, const char *value,
		     struct err *err);
} option_table[] = {
#define KEPT(key, member, check)                                               \
	{                                                                      \
		key, offsetof(struct door_options, member),                    \
		    sizeof(((struct door_options *)0)->member), check          \
	}
    KEPT("rundir", rundir, check_rundir),
    KEPT("engine", engine, check_engine),
    KEPT("cpu.model", cpu_model, check_model),
    KEPT("memory.backing", backing, check_backing),
    KEPT("cpu.features", cpu_features, check_features),
    KEPT("soft.jit", jit, check_jit),
    KEPT("soft.jit.cache", jit_cache, check_jit_cache),
    KEPT("soft.jit.hot", jit_hot, check_jit_hot),
    KEPT("soft.jit.perfmap", jit_perfmap, check_jit_perfmap),
#undef KEPT
};

static const struct option *find_option(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_table); i++)
		if (strcmp(option_table[i].key, key) == 0)
			return &option_table[i];
	return NULL;
}

static int set_option(const struct option *option, const char *value,
		      struct err *err)
{
	char *kept = (char *)&door_options + option->offset;
	int error;

	if (value == NULL) {
		kept[0] = '\0';
		return 0;
	}
	if (strlen(value) >= option->size)
		return err_set(err, EINVAL, "%s: value is too long",
			       option->key);
	error = option->check(&door_options, value, err);
	if (error == 0)
		memcpy(kept, value, strlen(value) + 1);
	return error;
}

int vm_set_option(const char *key, const char *value)
{
	const struct option *option = find_option(key);
	struct err err;
	int error;

	if (option == NULL) {
		error = err_set(&err, EINVAL, "%s: no such option", key);
		return door_result(error, &err);
	}
	pthread_mutex_lock(&door_options_lock);
	error = set_option(option, value, &err);
	pthread_mutex_unlock(&door_options_lock);
	return door_result(error, &err);
}

void door_options_get(struct door_options *options)
{
	pthread_mutex_lock(&door_options_lock);
	*options = door_options;
	pthread_mutex_unlock(&door_options_lock);
}
