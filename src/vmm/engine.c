// SPDX-License-Identifier: BSD-2-Clause
/* Which engine a VM gets: the one asked for, or the fastest that serves. */
#include "vmm/engine.h"

#include <errno.h>
#include <string.h>

static int choose_kvm(const char *cache_dir, const struct engine_ops **engine,
		      struct err *why)
{
	uint64_t speed;
	int error = kvm_engine_ops.usable(cache_dir, false, &speed, why);

	if (error != 0)
		return error;
	*engine = &kvm_engine_ops;
	err_set(why, 0, "engine=kvm was asked for");
	return 0;
}

int engine_choose(const char *asked, const char *cache_dir,
		  const struct engine_ops **engine, struct err *why)
{
	uint64_t speed = 0;

	*engine = &soft_engine_ops;
	if (asked != NULL && strcmp(asked, "soft") == 0) {
		err_set(why, 0, "engine=soft was asked for");
		return 0;
	}
	if (asked != NULL && strcmp(asked, "kvm") == 0)
		return choose_kvm(cache_dir, engine, why);
	if (kvm_engine_ops.usable(cache_dir, true, &speed, why) != 0)
		return 0; /* soft, because of that */
	*engine = &kvm_engine_ops;
	err_set(why, 0, "%ju million instructions a second at ring 0",
		(uintmax_t)(speed / 1000000));
	return 0;
}

void engine_limit_model(struct cpu_model *model)
{
	static const struct engine_ops *const engines[] = {&soft_engine_ops,
							   &kvm_engine_ops};

	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (engines[i]->limit_model != NULL)
			engines[i]->limit_model(model, NULL);
}
