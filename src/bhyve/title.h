/* SPDX-License-Identifier: BSD-2-Clause */
/* What ps and pgrep show of the process. */
#ifndef BHYVE_TITLE_H
#define BHYVE_TITLE_H

/*
 * "bhyve: NAME", as bhyve has it by setproctitle(3), in the place of main's
 * arguments, which must have been read. A name longer than they are is cut.
 */
void title_set(int argc, char **argv, const char *name);

#endif
