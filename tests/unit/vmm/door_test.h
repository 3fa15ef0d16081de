/* SPDX-License-Identifier: BSD-2-Clause */
/* What the door's tests share: a run directory of their own, a small VM. */
#ifndef TESTS_DOOR_TEST_H
#define TESTS_DOOR_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <vmmapi.h>

#include <cmocka.h>

#define TEST_MEMORY (16u << 20)
#define TEST_CODE   0x1000u /* where programs go, CS base 0 */

/* cmocka fixtures: make and remove the run directory (empty by then). */
int rundir_setup(void **state);
int rundir_teardown(void **state);
const char *rundir(void);

/* A new VM with memory; its vCPUs active, the program at TEST_CODE of each. */
struct vmctx *make_vm(const char *name, unsigned vcpus);
void load_program(struct vcpu *vcpu, const void *code, size_t len);

int run(struct vcpu *vcpu, struct vm_exit *exit); /* vm_run */
uint64_t get_reg(struct vcpu *vcpu, int reg);

#endif
