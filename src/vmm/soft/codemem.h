/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory for generated code, mapped twice: to write and to execute,
 * never both at one address. Bounded; handed out in slots.
 */
#ifndef SOFT_CODEMEM_H
#define SOFT_CODEMEM_H

#include <stddef.h>
#include <stdint.h>

struct codemem {
	uint8_t *write;
	const uint8_t *exec; /* the same bytes */
	size_t size, used;
};

int codemem_create(struct codemem *mem, size_t size);
void codemem_destroy(struct codemem *mem);

/* len bytes, whole pages, are about to be written and run. */
void codemem_populate(struct codemem *mem, size_t at, size_t len);
/* Offset of len fresh bytes, or -ENOSPC. */
long codemem_alloc(struct codemem *mem, size_t len);
/* All of it is free again. */
void codemem_reset(struct codemem *mem);

/*
 * After writing: what this thread executes from now on is what was written
 * (SDM vol. 3, 9.1.3 asks for a serializing instruction, here IRET).
 */
void codemem_publish(void);

#endif
