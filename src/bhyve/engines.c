// SPDX-License-Identifier: BSD-2-Clause
/* -o engine=help: what this host offers. */
#include "bhyve/engines.h"

#include <inttypes.h>

#include <vmmapi.h>

#include "base/bits.h"

static void print_speed(FILE *out, uint64_t speed)
{
	if (speed != 0)
		fprintf(out,
			", %" PRIu64 ".%02" PRIu64
			" million instructions a second at ring 0",
			speed / 1000000, speed / 10000 % 100);
}

void engines_list(FILE *out)
{
	struct vm_engine_info info;
	char taken[sizeof(info.name)] = "none";

	for (int i = 0; vm_get_engine_info(i, &info) == 0; i++) {
		fprintf(out, "%s\t%s", info.name,
			info.usable ? "usable" : "not usable");
		print_speed(out, info.ring0_speed);
		if (info.text[0] != '\0')
			fprintf(out, " (%s)", info.text);
		fprintf(out, "\n");
		if (info.automatic)
			snprintf(taken, sizeof(taken), "%s", info.name);
	}
	fprintf(out, "auto\ttakes %s\n", taken);
}
