// SPDX-License-Identifier: BSD-2-Clause
/* Which engine a VM gets: the one asked for, or the fastest that serves. */
#include "vmm/engine.h"

#include <errno.h>
#include <stdio.h>
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

static const struct engine_ops *const engines[] = {&kvm_engine_ops,
						   &soft_engine_ops};

static void describe(const struct engine_ops *engine,
		     struct vm_engine_info *info)
{
	struct err why = {""};

	info->usable = info->automatic = true;
	if (engine->usable == NULL) {
		err_set(&why, 0, "needs nothing of the host");
	} else if (engine->usable(NULL, true, &info->ring0_speed, &why) != 0) {
		info->automatic = false;
		/* fast enough is one question, whether it runs another */
		info->usable = info->ring0_speed != 0;
	}
	snprintf(info->text, sizeof(info->text), "%s", why.text);
}

int engine_describe(int index, struct vm_engine_info *info)
{
	if (index < 0 || index >= (int)ARRAY_SIZE(engines))
		return -ENOENT;
	*info = (struct vm_engine_info){.ring0_speed = 0};
	snprintf(info->name, sizeof(info->name), "%s", engines[index]->name);
	describe(engines[index], info);
	/* auto takes the first that may be taken */
	for (int i = 0; i < index && info->automatic; i++) {
		struct vm_engine_info before = {.ring0_speed = 0};

		describe(engines[i], &before);
		info->automatic = !before.automatic;
	}
	return 0;
}

void engine_limit_model(struct cpu_model *model)
{
	for (size_t i = 0; i < ARRAY_SIZE(engines); i++)
		if (engines[i]->limit_model != NULL)
			engines[i]->limit_model(model, NULL);
}
