// SPDX-License-Identifier: BSD-2-Clause
#include "bhyve/title.h"

#include <stdio.h>
#include <string.h>

void title_set(int argc, char **argv, const char *name)
{
	char title[128];
	size_t size = 0, length;

	/* The kernel shows one block of memory, in which they lie in order. */
	for (int i = 0; i < argc && argv[i] == argv[0] + size; i++)
		size += strlen(argv[i]) + 1;
	if (size == 0)
		return;
	snprintf(title, sizeof(title), "bhyve: %s", name);
	length = strnlen(title, size - 1);
	memset(argv[0], 0, size);
	memcpy(argv[0], title, length);
}
