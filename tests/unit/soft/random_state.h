/* SPDX-License-Identifier: BSD-2-Clause */
/* Random registers and memory that also hit the corners of the formats. */
#ifndef RANDOM_STATE_H
#define RANDOM_STATE_H

#include "vmm/soft/vec.h"

uint64_t random_next(uint64_t *rng);
uint64_t random_gpr(uint64_t *rng);
/* Fills bytes with integers, floats of all kinds, and zeros. */
void random_vectors(uint64_t *rng, void *to, unsigned bytes);
void random_image(uint64_t *rng, struct xsave_image *x, const struct native *n);
/* Byte at of vector register reg, of 32 with 64 bytes each. */
uint8_t *image_vector(const struct native *n, struct xsave_image *x,
		      unsigned reg, unsigned at);

#endif
