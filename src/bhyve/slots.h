/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The grammars of -s ([bus:]slot[:func],emulation[,conf]) and -l
 * (device[,conf]): they become variables pci.B.S.F.* and lpc.*.
 */
#ifndef BHYVE_SLOTS_H
#define BHYVE_SLOTS_H

#include <stdio.h>

#include "base/config.h"
#include "base/err.h"

/* 0, or -errno with a line in err. */
int slots_parse_pci(struct config *config, const char *text, struct err *err);
int slots_parse_lpc(struct config *config, const char *text, struct err *err);

/* -s help, -l help: one name a line. */
void slots_list_pci(FILE *out);
void slots_list_lpc(FILE *out);

#endif
