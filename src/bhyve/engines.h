/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef BHYVE_ENGINES_H
#define BHYVE_ENGINES_H

#include <stdio.h>

/* One line an engine, and one that says which auto takes. */
void engines_list(FILE *out);

#endif
