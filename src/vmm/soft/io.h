/* SPDX-License-Identifier: BSD-2-Clause */
/* Devices, in memory and at ports. */
#ifndef SOFT_IO_H
#define SOFT_IO_H

#include <stdint.h>

struct cpu;
struct insn;

/*
 * What is not RAM: the room's devices, or an exit to the process. The
 * instruction runs alone, so that it can be run again with the answer.
 */
uint64_t device_read(struct cpu *c, const struct insn *i, uint64_t gva,
		     uint64_t gpa, unsigned bytes);
void device_write(struct cpu *c, const struct insn *i, uint64_t gva,
		  uint64_t gpa, unsigned bytes, uint64_t value);
uint32_t port_in(struct cpu *c, const struct insn *i, uint16_t port,
		 unsigned bytes);
void port_out(struct cpu *c, const struct insn *i, uint16_t port,
	      unsigned bytes, uint32_t value);

#endif
