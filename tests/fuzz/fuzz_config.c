// SPDX-License-Identifier: BSD-2-Clause
/*
 * A configuration file. What can be read can be expanded, walked, printed,
 * and read again from what was printed.
 */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/config.h"

/* Puts data into a file of its own; the path of that. */
static void make_file(int *fd, char path[32], const void *data, size_t size)
{
	*fd = memfd_create("config", MFD_CLOEXEC);
	if (*fd < 0 || write(*fd, data, size) != (ssize_t)size)
		abort();
	snprintf(path, 32, "/proc/self/fd/%d", *fd);
}

static struct config *parse(const void *data, size_t size, bool must)
{
	struct config *config = config_create();
	struct err err = {""};
	char path[32];
	int error, fd;

	if (config == NULL)
		abort();
	make_file(&fd, path, data, size);
	error = config_parse_file(config, path, &err);
	close(fd);
	if ((error == 0) != (err.text[0] == '\0') || (must && error != 0)) {
		fprintf(stderr, "%d: %s\n", error, err.text);
		abort();
	}
	return config;
}

static int look(void *arg, const char *name, const char *value,
		struct config_node *child)
{
	unsigned int *depth = arg;
	int result = 0;

	if (name[0] == '\0' || (value == NULL) == (child == NULL) ||
	    ++*depth > 100000)
		abort();
	if (child != NULL)
		result = config_walk(child, look, arg);
	return result;
}

/* Values as all types; expansion must end. */
static void read_values(struct config *config)
{
	static const char *const paths[] = {"a", "b", "a.b", "name", "x.y.z"};
	struct err err;
	uint64_t number;
	bool flag;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		const char *value = config_get(config, paths[i]);

		if (value != NULL && strlen(value) > MiB)
			abort();
		config_get_bool(config, paths[i], false, &flag, &err);
		config_get_number(config, paths[i], 0, &number, &err);
	}
}

static char *dump(struct config *config, size_t *size)
{
	char *text = NULL;
	FILE *out = open_memstream(&text, size);

	if (out == NULL)
		abort();
	config_dump(config, out);
	fclose(out);
	return text;
}

static void check_same_again(struct config *config)
{
	size_t size, again_size;
	char *text = dump(config, &size), *again_text;
	struct config *again;

	if (size < MiB) {
		again = parse(text, size, true);
		again_text = dump(again, &again_size);
		if (size != again_size || memcmp(text, again_text, size) != 0) {
			fprintf(stderr, "printed:\n%s\nread and printed:\n%s\n",
				text, again_text);
			abort();
		}
		free(again_text);
		config_destroy(again);
	}
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct config *config = parse(data, size, false);
	unsigned int seen = 0;
	struct err err;

	config_check(config, &err);
	config_walk(config_root(config), look, &seen);
	read_values(config);
	check_same_again(config);
	config_destroy(config);
	return 0;
}
