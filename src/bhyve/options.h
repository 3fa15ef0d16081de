/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bhyve(8)'s command line. Every option only sets variables of the
 * configuration, in the order given; the last one wins. What a variable means
 * is checked where it is used, its grammar here.
 */
#ifndef BHYVE_OPTIONS_H
#define BHYVE_OPTIONS_H

#include <stdio.h>

#include "base/config.h"
#include "base/err.h"

/*
 * Reads the command line into config, with its defaults. 0: go on.
 * -ECANCELED: what was asked for is done (-h, -s help, -l help), end with
 * STATUS_RESET. Other -errno: a line is in err and *status is the exit
 * status; STATUS_USAGE wants the usage printed.
 */
int options_parse(struct config *config, int argc, char **argv, int *status,
		  struct err *err);

void options_usage(FILE *out);

/*
 * What a whole configuration must be: a name that can be a VM's, values that
 * can be expanded, nothing that is not built. -EINVAL with a line in err.
 */
int options_check(struct config *config, struct err *err);

#endif
