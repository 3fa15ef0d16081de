/* SPDX-License-Identifier: BSD-2-Clause */
/* Code that is written to: smc.c has how that is noticed. */
#ifndef SOFT_SMC_H
#define SOFT_SMC_H

#include <stdbool.h>
#include <stdint.h>

struct cpu;
struct soft_vm;

int smc_create(struct cpu *c);
void smc_destroy(struct cpu *c);
/* Before c decodes from the page: makes it read-only in every vCPU's TLB,
   and returns when each has acknowledged. */
void smc_protect(struct cpu *c, uint64_t gpa);
/* May c get a writable TLB entry for the page? Records that it has one. */
bool smc_may_write(struct cpu *c, uint64_t gpa);
/* After a store by c to RAM outside the TLB's fast path: drops the page's
   blocks, of all vCPUs, if it hit code. */
void smc_stored(struct cpu *c, uint64_t gpa, unsigned len);
void smc_drop_page(struct cpu *c, uint64_t gpa);
/* The same for host-side writers, c is none of the vCPUs. */
void smc_host_wrote(struct soft_vm *svm, uint64_t gpa, uint64_t len);
/* Serves what other threads asked of c. */
void smc_serve(struct cpu *c);
/* c's TLB and blocks are in use from enter to leave. */
void smc_enter_guest(struct cpu *c);
void smc_leave_guest(struct cpu *c);

#endif
