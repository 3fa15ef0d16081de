// SPDX-License-Identifier: BSD-2-Clause
/*
 * bhyve: runs one virtual machine. The sequence is here; what each step does
 * is in the file of its name.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/loop.h"
#include "base/config.h"
#include "bhyve/machine.h"
#include "bhyve/options.h"
#include "bhyve/signals.h"
#include "bhyve/status.h"
#include "bhyve/title.h"

static void complain(const struct err *err)
{
	fprintf(stderr, "bhyve: %s\n", err->text);
}

/* -D: the VM goes when its guest has powered off. One that was made for this
   run and could not be started, or lost memory on the way, goes too. */
static bool wants_destroy(const struct machine *m, int status)
{
	struct err err;
	bool destroy;

	if (m->created && (!m->ran || vm_memory_lost(m->ctx)))
		return true;
	config_get_bool(m->config, "destroy_on_poweroff", false, &destroy,
			&err);
	return destroy && status == STATUS_POWEROFF;
}

/* Makes the machine, runs it, and takes it down again. */
static int run(struct config *config, struct loop *loop)
{
	char *last_words;
	struct machine *m;
	struct err err;
	int status;

	if (machine_create(config, loop, &m, &status, &err) != 0) {
		complain(&err);
		return status;
	}
	if (machine_run(m, &err) != 0) {
		machine_destroy(m, m->created);
		complain(&err);
		return STATUS_ERROR;
	}
	status = m->status;
	last_words = m->last_words;
	m->last_words = NULL;
	machine_destroy(m, wants_destroy(m, status));
	if (last_words != NULL)
		fputs(last_words, stderr);
	free(last_words);
	return status;
}

static int run_with_loop(struct config *config)
{
	struct loop *loop;
	struct err err;
	int status;

	signals_block();
	if (loop_create(&loop, &err) != 0) {
		complain(&err);
		return STATUS_ERROR;
	}
	status = run(config, loop);
	loop_destroy(loop);
	return status;
}

/* The command line as a configuration; false: end with *status. */
static bool configure(struct config *config, int argc, char **argv, int *status)
{
	bool dump;
	struct err err;
	int error = options_parse(config, argc, argv, status, &err);

	if (error != 0 && error != -ECANCELED) {
		complain(&err);
		if (*status == STATUS_USAGE)
			options_usage(stderr);
	}
	if (error != 0)
		return false;
	error = options_check(config, &err);
	if (error == 0)
		error =
		    config_get_bool(config, "config.dump", false, &dump, &err);
	if (error != 0) {
		complain(&err);
		*status = error == -ENOTSUP ? STATUS_ERROR : STATUS_MALFORMED;
		return false;
	}
	*status = STATUS_USAGE;
	if (dump)
		config_dump(config, stdout);
	return !dump;
}

int main(int argc, char **argv)
{
	struct config *config = config_create();
	int status;

	if (config == NULL) {
		fprintf(stderr, "bhyve: no memory\n");
		return STATUS_ERROR;
	}
	if (configure(config, argc, argv, &status)) {
		title_set(argc, argv, config_get(config, "name"));
		status = run_with_loop(config);
	}
	config_destroy(config);
	return status;
}
