/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One instruction run by the host itself, with all registers given and taken,
 * exceptions included: what the engine's result is compared with.
 */
#ifndef REFERENCE_H
#define REFERENCE_H

#include <stdint.h>

#include "vmm/soft/vec.h"

struct reference {
	struct xsave_image image __attribute__((aligned(64)));
	uint64_t gpr[16]; /* RSP is neither given nor taken */
	uint64_t rflags;
	int vector; /* -1: none */
	uint64_t cr2;
};

/* Memory for code. */
uint8_t *reference_create(void);
void reference_destroy(uint8_t *code);
/* Signal handlers, within a test: the test library has its own. */
void reference_arm(bool armed);
/* code: an instruction; a RET is put after it. rfbm: what of image counts. */
void reference_run(struct reference *r, uint8_t *code, unsigned len,
		   uint64_t rfbm);
/* Components that are not in XSTATE_BV get their initial values, all else
   that says nothing zeros: so that two images can be compared. */
void image_normalize(struct xsave_image *x, const struct native *n);

#endif
