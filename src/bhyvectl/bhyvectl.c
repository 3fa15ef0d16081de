// SPDX-License-Identifier: BSD-2-Clause
/* bhyvectl: looks into, steers and destroys a VM. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/bits.h"
#include "bhyvectl/bhyvectl.h"

/* -- the options --------------------------------------------------------------
 */

enum setting {
	SET_VM,
	SET_RUNDIR,
	SET_CPU,
	SET_DESC_BASE,
	SET_DESC_LIMIT,
	SET_DESC_ACCESS,
	SET_CAPNAME,
	SET_NVRAM_OFFSET,
	SET_JSON,
	SETTING_COUNT
};

static const struct setting_row {
	const char *option;
	const char *value;
} setting_rows[SETTING_COUNT] = {
    [SET_VM] = {"vm", "NAME"},
    [SET_RUNDIR] = {"rundir", "DIR"},
    [SET_CPU] = {"cpu", "N"},
    [SET_DESC_BASE] = {"desc-base", "ADDRESS"},
    [SET_DESC_LIMIT] = {"desc-limit", "BYTES"},
    [SET_DESC_ACCESS] = {"desc-access", "RIGHTS"},
    [SET_CAPNAME] = {"capname", "NAME"},
    [SET_NVRAM_OFFSET] = {"rtc-nvram-offset", "OFFSET"},
    [SET_JSON] = {"json", NULL},
};

#define ACTIONS_MAX 256

/* What the command line asks for. */
struct request {
	const char *setting[SETTING_COUNT];
	const struct action *action[ACTIONS_MAX]; /* in the tables' order */
	const char *value[ACTIONS_MAX];
	bool asked[ACTIONS_MAX];
	size_t actions;
	size_t shown; /* in the usage: those before it */
	struct option options[ACTIONS_MAX + SETTING_COUNT + 1];
};

static void add_actions(struct request *request, const struct action *actions,
			size_t count)
{
	for (size_t i = 0; i < count && request->actions < ACTIONS_MAX; i++)
		request->action[request->actions++] = &actions[i];
}

/* Create comes first, then what changes registers, then what shows them, so
   that one command can do all three. */
static void add_all_actions(struct request *request)
{
	add_actions(request, vm_actions, 1);
	add_actions(request, register_sets, register_set_count);
	add_actions(request, register_gets, register_get_count);
	add_actions(request, vm_actions + 1, vm_action_count - 1);
	request->shown = request->actions;
	add_actions(request, refused_actions, refused_action_count);
}

static void make_options(struct request *request)
{
	struct option *option = request->options;

	add_all_actions(request);
	for (int i = 0; i < SETTING_COUNT; i++)
		*option++ = (struct option){setting_rows[i].option,
					    setting_rows[i].value != NULL
						? required_argument
						: no_argument,
					    NULL, i + 1};
	for (size_t i = 0; i < request->actions; i++)
		*option++ = (struct option){request->action[i]->option,
					    request->action[i]->value != NULL
						? required_argument
						: no_argument,
					    NULL, (int)(i + SETTING_COUNT + 1)};
	*option = (struct option){0};
}

static void print_option(const char *option, const char *value)
{
	if (value != NULL)
		fprintf(stderr, "       [--%s=<%s>]\n", option, value);
	else
		fprintf(stderr, "       [--%s]\n", option);
}

static int usage(const struct request *request)
{
	fprintf(stderr, "usage: bhyvectl --vm=<NAME>\n");
	for (int i = SET_VM + 1; i < SETTING_COUNT; i++)
		print_option(setting_rows[i].option, setting_rows[i].value);
	for (size_t i = 0; i < request->shown; i++)
		print_option(request->action[i]->option,
			     request->action[i]->value);
	return 1;
}

int parse_number(const char *what, const char *text, uint64_t max,
		 uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno == 0 && end != text && *end == '\0' && text[0] != '-' &&
	    *value <= max)
		return 0;
	fprintf(stderr, "bhyvectl: --%s=%s: not a number up to %#llx\n", what,
		text, (unsigned long long)max);
	return EX_USAGE;
}

/* 0, or the exit status. */
static int parse(struct request *request, int argc, char *argv[])
{
	int found;

	while ((found = getopt_long(argc, argv, "", request->options, NULL)) !=
	       -1) {
		if (found == '?')
			return usage(request);
		if (found <= SETTING_COUNT)
			request->setting[found - 1] =
			    optarg != NULL ? optarg : "";
		else {
			request->asked[found - SETTING_COUNT - 1] = true;
			request->value[found - SETTING_COUNT - 1] = optarg;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "bhyvectl: %s: not an option\n", argv[optind]);
		return usage(request);
	}
	if (request->setting[SET_VM] == NULL)
		return usage(request);
	return 0;
}

/* Of create, destroy, force-reset... only one makes sense. */
static int check_alone(const struct request *request)
{
	const char *first = NULL;

	for (size_t i = 0; i < request->actions; i++) {
		if (!request->asked[i] || !request->action[i]->alone)
			continue;
		if (first != NULL) {
			fprintf(stderr,
				"bhyvectl: --%s and --%s exclude each other\n",
				first, request->action[i]->option);
			return EX_USAGE;
		}
		first = request->action[i]->option;
	}
	return 0;
}

static bool is_asked(const struct request *request, const char *option)
{
	for (size_t i = 0; i < request->actions; i++)
		if (strcmp(request->action[i]->option, option) == 0)
			return request->asked[i];
	return false;
}

/* -- carrying out
 * --------------------------------------------------------------
 */

static int failed(const struct session *s)
{
	int error = errno;

	fflush(stdout);
	if (s->refusal != NULL)
		fprintf(stderr, "bhyvectl: --%s: %s\n", s->refused, s->refusal);
	else
		fprintf(stderr, "bhyvectl: %s\n", vm_error_text());
	printf("errno = %d\n", error);
	return 1;
}

/* What cannot be opened can still be destroyed: a damaged state, a version
   that this program does not read. */
static int open_vm(struct session *s, bool destroy)
{
	s->ctx = vm_open(s->name);
	if (s->ctx == NULL && destroy && errno == EINVAL)
		s->ctx = vm_openf(s->name, VMMAPI_OPEN_REINIT);
	if (s->ctx == NULL)
		return failed(s);
	s->vcpu = vm_vcpu_open(s->ctx, s->cpu);
	return s->vcpu == NULL ? failed(s) : 0;
}

static int carry_out(struct session *s, const struct request *request)
{
	for (size_t i = 0; i < request->actions; i++) {
		const struct action *action = request->action[i];
		int error;

		if (!request->asked[i])
			continue;
		error = action->run(s, action, request->value[i]);
		if (error < 0)
			return failed(s);
		if (error > 0)
			return error;
	}
	return 0;
}

static int destroy_vm(struct session *s)
{
	struct vmctx *left;

	vm_destroy(s->ctx);
	s->ctx = NULL;
	left = vm_open(s->name);
	if (left == NULL)
		return 0;
	vm_close(left);
	fprintf(stderr, "bhyvectl: %s: still there\n", s->name);
	return 1;
}

static int work(struct session *s, const struct request *request)
{
	bool destroy = is_asked(request, "destroy");
	int status;

	if (is_asked(request, "create") && vm_create(s->name) != 0)
		return failed(s);
	status = open_vm(s, destroy);
	if (status == 0)
		status = carry_out(s, request);
	if (status == 0 && destroy)
		status = destroy_vm(s);
	if (s->vcpu != NULL)
		vm_vcpu_close(s->vcpu);
	if (s->ctx != NULL)
		vm_close(s->ctx);
	return status;
}

static int make_session(struct session *s, const struct request *request)
{
	const char *const *setting = request->setting;
	uint64_t cpu = 0;
	int error = 0;

	if (setting[SET_CPU] != NULL)
		error =
		    parse_number("cpu", setting[SET_CPU], VM_MAXCPU - 1, &cpu);
	*s = (struct session){
	    .name = setting[SET_VM],
	    .cpu = (int)cpu,
	    .desc_base = setting[SET_DESC_BASE],
	    .desc_limit = setting[SET_DESC_LIMIT],
	    .desc_access = setting[SET_DESC_ACCESS],
	    .capname = setting[SET_CAPNAME],
	    .nvram_offset = setting[SET_NVRAM_OFFSET],
	    .json = setting[SET_JSON] != NULL,
	};
	if (error == 0 && setting[SET_RUNDIR] != NULL &&
	    vm_set_option("rundir", setting[SET_RUNDIR]) != 0)
		error = failed(s);
	return error;
}

int main(int argc, char *argv[])
{
	static struct request request;
	struct session session;
	int status;

	make_options(&request);
	status = parse(&request, argc, argv);
	if (status == 0)
		status = check_alone(&request);
	if (status == 0)
		status = make_session(&session, &request);
	if (status == 0)
		status = work(&session, &request);
	if (fflush(stdout) != 0 && status == 0)
		status = 1;
	return status;
}
