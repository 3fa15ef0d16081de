// SPDX-License-Identifier: BSD-2-Clause
#include "door_test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/anyhyve-unit-XXXXXX";

const char *rundir(void)
{
	return directory;
}

int rundir_setup(void **state)
{
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	if (mkdtemp(directory) == NULL)
		return -1;
	return vm_set_option("rundir", directory);
}

/* Fails when a test leaves something behind. */
int rundir_teardown(void **state)
{
	vm_set_option("rundir", NULL);
	return rmdir(directory);
}

struct vmctx *make_vm(const char *name, unsigned vcpus)
{
	struct vmctx *ctx = vm_openf(name, VMMAPI_OPEN_CREATE);

	assert_non_null(ctx);
	assert_int_equal(vm_setup_memory(ctx, TEST_MEMORY, VM_MMAP_ALL), 0);
	for (unsigned i = 0; i < vcpus; i++) {
		struct vcpu *vcpu = vm_vcpu_open(ctx, (int)i);

		assert_non_null(vcpu);
		assert_int_equal(vm_activate_cpu(vcpu), 0);
		vm_vcpu_close(vcpu);
	}
	return ctx;
}

void load_program(struct vcpu *vcpu, const void *code, size_t len)
{
	struct vmctx *ctx = vcpu_ctx(vcpu);
	void *to = vm_mem_write_begin(ctx, TEST_CODE, len);

	assert_non_null(to);
	memcpy(to, code, len);
	vm_mem_write_end(ctx, TEST_CODE, len);
	assert_int_equal(vm_set_desc(vcpu, VM_REG_GUEST_CS, 0, 0xffff, 0x9b),
			 0);
	assert_int_equal(vm_set_register(vcpu, VM_REG_GUEST_CS, 0), 0);
	assert_int_equal(vm_set_register(vcpu, VM_REG_GUEST_RIP, TEST_CODE), 0);
}

int run(struct vcpu *vcpu, struct vm_exit *exit)
{
	struct vm_run arg = {.vm_exit = exit};

	return vm_run(vcpu, &arg);
}

uint64_t get_reg(struct vcpu *vcpu, int reg)
{
	uint64_t value;

	assert_int_equal(vm_get_register(vcpu, reg, &value), 0);
	return value;
}
