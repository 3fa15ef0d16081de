// SPDX-License-Identifier: BSD-2-Clause
/* What is there for FreeBSD's sake: loaders' states, and refusals. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "door_test.h"

static struct seg_desc get_desc(struct vcpu *vcpu, int reg)
{
	struct seg_desc desc;

	assert_int_equal(vm_get_seg_desc(vcpu, reg, &desc), 0);
	return desc;
}

static void test_freebsd64(void **state)
{
	struct vmctx *ctx = make_vm("fbsd", 1);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	uint64_t gdt[3];

	(void)state;
	assert_int_equal(vm_setup_freebsd_registers(vcpu, 0xffffffff80200000,
						    0x5000, 0x3000, 0x8000),
			 0);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RIP), 0xffffffff80200000);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RSP), 0x8000);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_CR3), 0x5000);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_CR0), 0x80000031);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_CR4), 0x20);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_EFER), 0x500);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RFLAGS), 2);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_CS), 8);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_SS), 16);
	assert_int_equal(get_desc(vcpu, VM_REG_GUEST_CS).access, 0x209b);
	assert_int_equal(get_desc(vcpu, VM_REG_GUEST_DS).access, 0xc093);
	assert_int_equal(get_desc(vcpu, VM_REG_GUEST_GDTR).base, 0x3000);
	assert_int_equal(get_desc(vcpu, VM_REG_GUEST_GDTR).limit, 23);
	vm_setup_freebsd_gdt(gdt);
	assert_int_equal(gdt[0], 0);
	assert_int_equal(gdt[1], 0x0020980000000000);
	assert_int_equal(gdt[2], 0x0000900000000000);
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

static void test_freebsd32(void **state)
{
	struct vmctx *ctx = make_vm("fbsd", 1);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	uint64_t gdt[3];

	(void)state;
	assert_int_equal(
	    vm_setup_freebsd_registers_i386(vcpu, 0x400000, 0x3000, 0x8000), 0);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_RIP), 0x400000);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_CR0), 0x31);
	assert_int_equal(get_reg(vcpu, VM_REG_GUEST_EFER), 0);
	assert_int_equal(get_desc(vcpu, VM_REG_GUEST_CS).access, 0xc09b);
	assert_int_equal(get_desc(vcpu, VM_REG_GUEST_SS).limit, UINT32_MAX);
	memcpy(gdt, vm_map_gpa(ctx, 0x3000, sizeof(gdt)), sizeof(gdt));
	assert_int_equal(gdt[1], 0x00cf9b000000ffff);
	assert_int_equal(gdt[2], 0x00cf93000000ffff);
	/* A GDT outside of the memory. */
	assert_int_equal(vm_setup_freebsd_registers_i386(
			     vcpu, 0x400000, TEST_MEMORY - 8, 0x8000),
			 -1);
	assert_int_equal(errno, EFAULT);
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

static void test_msrs(void **state)
{
	struct vmctx *ctx = make_vm("msrs", 1);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	uint64_t value;

	(void)state;
	assert_int_equal(vm_get_msr(vcpu, 0x277, &value), 0); /* PAT */
	assert_int_equal(value, 0x0007040600070406);
	assert_int_equal(vm_set_register(vcpu, VM_REG_GUEST_KGS_BASE, 0x77), 0);
	assert_int_equal(vm_get_msr(vcpu, 0xc0000102, &value), 0);
	assert_int_equal(value, 0x77);
	assert_int_equal(vm_get_msr(vcpu, 0x10, &value), 0); /* TSC */
	assert_int_equal(vm_get_msr(vcpu, 0x3b, &value), 0); /* TSC_ADJUST */
	assert_int_equal(value, 0);
	value = 5;
	assert_int_equal(vm_get_msr(vcpu, 0x12345678, &value), -1);
	assert_int_equal(errno, ENOENT);
	assert_int_equal(value, 5);
	assert_int_equal(vm_get_tsc_offset(vcpu, &value), 0);
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

static void test_guest_memory(void **state)
{
	struct vmctx *ctx = make_vm("memory", 1);
	size_t low, high;
	char *base;

	(void)state;
	vm_get_guestmem_from_ctx(ctx, &base, &low, &high);
	assert_int_equal(low, TEST_MEMORY);
	assert_int_equal(high, 0);
	assert_ptr_equal(base + 0x1000, vm_map_gpa(ctx, 0x1000, 1));
	vm_destroy(ctx);
}

static void check_refused(int result, const char *function)
{
	assert_int_equal(result, -1);
	assert_int_equal(errno, ENOTSUP);
	assert_non_null(strstr(vm_error_text(), function));
	errno = 0;
}

#define REFUSED(function, ...) check_refused(function(__VA_ARGS__), #function)

static void test_not_supported(void **state)
{
	struct vmctx *ctx = make_vm("none", 1);
	struct vcpu *vcpu = vm_vcpu_open(ctx, 0);
	uint64_t word;
	size_t size;
	int count;

	(void)state;
	REFUSED(vm_get_device_fd, ctx);
	assert_null(vm_get_ioctls(&size));
	REFUSED(vm_setup_memory_domains, ctx, VM_MMAP_ALL, NULL, 2);
	REFUSED(vm_munmap_memseg, ctx, 0, 4096);
	REFUSED(vm_get_gpa_pmap, ctx, 0, &word, &count);
	REFUSED(vm_readwrite_kernemu_device, vcpu, 0xfee00000, false, 4, &word);
	REFUSED(vm_assign_pptdev, ctx, 1, 2, 3);
	REFUSED(vm_unassign_pptdev, ctx, 1, 2, 3);
	REFUSED(vm_map_pptdev_mmio, ctx, 1, 2, 3, 0, 4096, 0);
	REFUSED(vm_unmap_pptdev_mmio, ctx, 1, 2, 3, 0, 4096);
	REFUSED(vm_setup_pptdev_msi, ctx, 1, 2, 3, 0, 0, 1);
	REFUSED(vm_setup_pptdev_msix, ctx, 1, 2, 3, 0, 0, 0, 0);
	REFUSED(vm_disable_pptdev_msix, ctx, 1, 2, 3);
	REFUSED(vm_snapshot_req, ctx, NULL);
	REFUSED(vm_restore_time, ctx);
	vm_vcpu_close(vcpu);
	vm_destroy(ctx);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_freebsd64),
	    cmocka_unit_test(test_freebsd32),
	    cmocka_unit_test(test_msrs),
	    cmocka_unit_test(test_guest_memory),
	    cmocka_unit_test(test_not_supported),
	};

	return cmocka_run_group_tests(tests, rundir_setup, rundir_teardown);
}
