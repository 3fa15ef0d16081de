// SPDX-License-Identifier: BSD-2-Clause
/* A vCPU's statistics, for people and, as JSON, for programs. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "bhyvectl/bhyvectl.h"

static int print_json(const struct session *s, const uint64_t *stats, int count)
{
	json_t *values = json_object();
	json_t *all = json_pack("{s:s, s:i, s:o}", "vm", s->name, "vcpu",
				s->cpu, "stats", values);
	int error = all == NULL ? -1 : 0;

	/* A counter past 2^63 has wrapped some other way before. */
	for (int i = 0; error == 0 && i < count; i++)
		error = json_object_set_new(values, vm_get_stat_desc(s->ctx, i),
					    json_integer((json_int_t)stats[i]));
	if (error == 0)
		error = json_dumpf(all, stdout, JSON_INDENT(2));
	if (error == 0)
		printf("\n");
	else
		errno = ENOMEM;
	json_decref(all);
	return error;
}

int get_stats(struct session *s, const struct action *action, const char *value)
{
	int count;
	uint64_t *stats = vm_get_stats(s->vcpu, NULL, &count);

	if (stats == NULL)
		return -1;
	if (s->json)
		return print_json(s, stats, count);
	printf("vcpu%d stats:\n", s->cpu);
	for (int i = 0; i < count; i++)
		printf("%-40s\t%" PRIu64 "\n", vm_get_stat_desc(s->ctx, i),
		       stats[i]);
	return 0;
}
