// SPDX-License-Identifier: BSD-2-Clause
/* Linear to physical: each paging mode, permissions, faults, copying. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "door_test.h"
#include "fake_engine.h"
#include "x86/cr.h"
#include "x86/exc.h"

#define P   0x001u
#define RW  0x002u
#define US  0x004u
#define A   0x020u
#define D   0x040u
#define PS  0x080u
#define NX  (1ull << 63)
#define ALL (P | RW | US)

/* Tables lie from 1 MiB on, a page each. */
#define TABLE(n) (0x100000u + (n)*0x1000u)

struct fixture {
	struct vmctx *ctx;
	struct vcpu *vcpu;
	struct vm_guest_paging paging;
};

static int setup(void **state)
{
	static struct fixture fixture;

	if (rundir_setup(state) != 0)
		return -1;
	memset(&fixture, 0, sizeof(fixture));
	fixture.ctx = make_vm("vm0", 1);
	fixture.vcpu = vm_vcpu_open(fixture.ctx, 0);
	fixture.paging.cr3 = TABLE(0);
	fixture.paging.cpu_mode = CPU_MODE_64BIT;
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	vm_vcpu_close(f->vcpu);
	vm_destroy(f->ctx);
	return rundir_teardown(state);
}

static uint64_t *entry64(struct fixture *f, unsigned table, unsigned index)
{
	return vm_map_gpa(f->ctx, TABLE(table) + index * 8, 8);
}

static uint32_t *entry32(struct fixture *f, unsigned table, unsigned index)
{
	return vm_map_gpa(f->ctx, TABLE(table) + index * 4, 4);
}

static void set_reg(struct fixture *f, int reg, uint64_t value)
{
	assert_int_equal(vm_set_register(f->vcpu, reg, value), 0);
}

/* The gpa, or -1 for a fault. */
static uint64_t walk(struct fixture *f, uint64_t gla, int prot)
{
	uint64_t gpa = 0;
	int fault = -1;

	assert_int_equal(
	    vm_gla2gpa_nofault(f->vcpu, &f->paging, gla, prot, &gpa, &fault),
	    0);
	assert_true(fault == 0 || fault == 1);
	return fault ? UINT64_MAX : gpa;
}

static void test_flat(void **state)
{
	struct fixture *f = *state;

	f->paging.paging_mode = PAGING_MODE_FLAT;
	assert_int_equal(walk(f, 0x12345, PROT_READ), 0x12345);
	f->paging.paging_mode = (enum vm_paging_mode)77;
	uint64_t gpa;
	int fault;
	assert_int_equal(
	    vm_gla2gpa_nofault(f->vcpu, &f->paging, 0, PROT_READ, &gpa, &fault),
	    -1);
	assert_int_equal(errno, EINVAL);
}

static void test_32bit(void **state)
{
	struct fixture *f = *state;

	f->paging.paging_mode = PAGING_MODE_32;
	*entry32(f, 0, 1) = TABLE(1) | ALL;
	*entry32(f, 1, 3) = 0x7000 | ALL;
	assert_int_equal(walk(f, 0x403abc, PROT_WRITE), 0x7abc);
	assert_true(walk(f, 0x404000, PROT_READ) == UINT64_MAX);
	/* 4 MiB pages only with CR4.PSE, and then with PSE-36 */
	*entry32(f, 0, 2) = 0x00800000 | 0x3 << 13 | ALL | PS;
	set_reg(f, VM_REG_GUEST_CR4, CR4_PSE);
	assert_true(walk(f, 0x812345, PROT_READ) == 0x300812345ull);
	/* addresses have 32 bits */
	assert_int_equal(walk(f, 0x500403abcull, PROT_READ), 0x7abc);
}

static void test_pae(void **state)
{
	struct fixture *f = *state;

	f->paging.paging_mode = PAGING_MODE_PAE;
	f->paging.cr3 = TABLE(0) + 0x20;      /* 32-byte aligned */
	*entry64(f, 0, 4 + 1) = TABLE(1) | P; /* no RW or US in a PDPTE */
	*entry64(f, 1, 0) = TABLE(2) | ALL;
	*entry64(f, 2, 5) = 0x9000 | ALL;
	f->paging.cpl = 3;
	assert_int_equal(walk(f, 0x40005123, PROT_WRITE), 0x9123);
	*entry64(f, 1, 1) = 0x200000 | ALL | PS;
	assert_int_equal(walk(f, 0x40345678, PROT_READ), 0x345678);
	assert_true(walk(f, 0x80000000, PROT_READ) == UINT64_MAX);
}

static void map_4level(struct fixture *f)
{
	f->paging.paging_mode = PAGING_MODE_64;
	*entry64(f, 0, 0) = TABLE(1) | ALL;
	*entry64(f, 0, 511) = TABLE(1) | ALL;
	*entry64(f, 1, 0) = TABLE(2) | ALL;
	*entry64(f, 2, 0) = TABLE(3) | ALL;
	*entry64(f, 3, 5) = 0xa000 | ALL;
}

static void test_4_and_5_levels(void **state)
{
	struct fixture *f = *state;

	map_4level(f);
	assert_int_equal(walk(f, 0x5fff, PROT_READ), 0xafff);
	assert_int_equal(walk(f, 0xffffff8000005001ull, PROT_READ), 0xa001);
	assert_true(walk(f, 0x800000005001ull, PROT_READ) == UINT64_MAX);
	*entry64(f, 2, 1) = 0x600000 | ALL | PS; /* 2 MiB */
	assert_int_equal(walk(f, 0x2abcde, PROT_READ), 0x6abcde);
	*entry64(f, 1, 1) = 0xc0000000 | ALL | PS; /* 1 GiB */
	assert_true(walk(f, 0x41234567, PROT_READ) == 0xc1234567);
	*entry64(f, 0, 1) = TABLE(1) | ALL | PS; /* reserved there */
	assert_true(walk(f, 1ull << 39, PROT_READ) == UINT64_MAX);
	f->paging.paging_mode = PAGING_MODE_64_LA57;
	f->paging.cr3 = TABLE(9);
	*entry64(f, 9, 1) = TABLE(0) | ALL;
	assert_int_equal(walk(f, (1ull << 48) + 0x5010, PROT_READ), 0xa010);
}

static void test_permissions(void **state)
{
	struct fixture *f = *state;
	uint64_t *pte;

	map_4level(f);
	pte = entry64(f, 3, 5);
	*pte = 0xa000 | P;
	assert_int_equal(walk(f, 0x5000, PROT_READ), 0xa000);
	assert_int_equal(walk(f, 0x5000, PROT_WRITE), 0xa000); /* WP off */
	set_reg(f, VM_REG_GUEST_CR0, CR0_PE | CR0_PG | CR0_WP);
	assert_true(walk(f, 0x5000, PROT_WRITE) == UINT64_MAX);
	f->paging.cpl = 3;
	assert_true(walk(f, 0x5000, PROT_READ) == UINT64_MAX);
	*pte |= US;
	assert_int_equal(walk(f, 0x5000, PROT_READ), 0xa000);
	*entry64(f, 1, 0) &= ~(uint64_t)US; /* an upper level's is enough */
	assert_true(walk(f, 0x5000, PROT_READ) == UINT64_MAX);
	*entry64(f, 1, 0) |= US;
	*pte |= NX; /* reserved without EFER.NXE */
	assert_true(walk(f, 0x5000, PROT_READ) == UINT64_MAX);
	set_reg(f, VM_REG_GUEST_EFER, EFER_NXE | EFER_LME | EFER_LMA);
	assert_int_equal(walk(f, 0x5000, PROT_READ), 0xa000);
	assert_true(walk(f, 0x5000, PROT_EXEC) == UINT64_MAX);
	*pte &= ~NX;
	f->paging.cpl = 0;
	assert_int_equal(walk(f, 0x5000, PROT_EXEC), 0xa000);
	set_reg(f, VM_REG_GUEST_CR4, CR4_PAE | CR4_SMEP);
	assert_true(walk(f, 0x5000, PROT_EXEC) == UINT64_MAX);
}

static void test_accessed_and_dirty(void **state)
{
	struct fixture *f = *state;
	uint64_t gpa;
	int fault;

	map_4level(f);
	walk(f, 0x5000, PROT_WRITE); /* only looks */
	assert_int_equal(*entry64(f, 3, 5) & (A | D), 0);
	assert_int_equal(
	    vm_gla2gpa(f->vcpu, &f->paging, 0x5000, PROT_READ, &gpa, &fault),
	    0);
	assert_int_equal(*entry64(f, 3, 5) & (A | D), A);
	assert_int_equal(*entry64(f, 0, 0) & (A | D), A);
	assert_int_equal(
	    vm_gla2gpa(f->vcpu, &f->paging, 0x5000, PROT_WRITE, &gpa, &fault),
	    0);
	assert_int_equal(*entry64(f, 3, 5) & (A | D), A | D);
	assert_int_equal(*entry64(f, 0, 0) & (A | D), A);
}

static void test_fault_reaches_the_guest(void **state)
{
	struct fixture *f = *state;
	uint64_t gpa, info[2];
	int fault = 0;

	map_4level(f);
	f->paging.cpl = 3;
	*entry64(f, 3, 5) = 0xa000 | P | US;
	assert_int_equal(
	    vm_gla2gpa(f->vcpu, &f->paging, 0x5678, PROT_WRITE, &gpa, &fault),
	    0);
	assert_int_equal(fault, 1);
	assert_int_equal(get_reg(f->vcpu, VM_REG_GUEST_CR2), 0x5678);
	assert_int_equal(vm_get_intinfo(f->vcpu, &info[0], &info[1]), 0);
	assert_true(info[1] ==
		    ((uint64_t)(PF_PRESENT | PF_WRITE | PF_USER) << 32 |
		     0x80000b00u | X86_PF));
	/* one at a time */
	assert_int_equal(vm_inject_exception(f->vcpu, X86_GP, 1, 0, 0), -1);
	assert_int_equal(errno, EBUSY);
	assert_int_equal(vm_set_intinfo(f->vcpu, 0), 0);
	assert_int_equal(vm_inject_exception(f->vcpu, X86_GP, 1, 8, 0), 0);
	assert_int_equal(vm_get_intinfo(f->vcpu, &info[0], &info[1]), 0);
	assert_true(info[1] == (8ull << 32 | 0x80000b00u | X86_GP));
}

/* Tables that point anywhere: outside RAM, at themselves. */
static void test_wild_tables(void **state)
{
	struct fixture *f = *state;
	uint64_t gpa;
	int fault;

	f->paging.paging_mode = PAGING_MODE_64;
	f->paging.cr3 = UINT64_MAX;
	assert_int_equal(
	    vm_gla2gpa_nofault(f->vcpu, &f->paging, 0, PROT_READ, &gpa, &fault),
	    -1);
	assert_int_equal(errno, EFAULT);
	f->paging.cr3 = TABLE(0);
	*entry64(f, 0, 0) = 0xffffffffff000ull | ALL;
	assert_int_equal(
	    vm_gla2gpa_nofault(f->vcpu, &f->paging, 0, PROT_READ, &gpa, &fault),
	    -1);
	assert_int_equal(errno, EFAULT);
	*entry64(f, 0, 0) = TABLE(0) | ALL;
	assert_int_equal(walk(f, 0x10, PROT_READ), TABLE(0) + 0x10);
}

static void test_copy(void **state)
{
	struct fixture *f = *state;
	struct iovec iov[3];
	char text[] = "over two pages", back[sizeof(text)];
	struct vm_exit exit = {0};
	static const uint8_t out[] = {0xe6, 0x80, 0xeb, 0xfc, 0x90};
	unsigned before;
	int fault;

	map_4level(f);
	*entry64(f, 3, 6) = 0xf000 | ALL;
	load_program(f->vcpu, out, sizeof(out));
	assert_int_equal(run(f->vcpu, &exit), 0);
	before = fake_counts.code_written;
	assert_int_equal(vm_copy_setup(f->vcpu, &f->paging, 0x5ff8,
				       sizeof(text), PROT_WRITE, iov, 3,
				       &fault),
			 0);
	assert_int_equal(fault, 0);
	before = fake_counts.code_written;
	vm_copyout(text, iov, sizeof(text));
	/* each piece went through the write gate */
	assert_int_equal(fake_counts.code_written, before + 2);
	assert_memory_equal(vm_map_gpa(f->ctx, 0xaff8, 8), text, 8);
	assert_memory_equal(vm_map_gpa(f->ctx, 0xf000, 7), text + 8, 7);
	vm_copyin(iov, back, sizeof(back));
	assert_string_equal(back, text);
	vm_copy_teardown(iov, 3);
	assert_int_equal(vm_copy_setup(f->vcpu, &f->paging, 0x5ff8,
				       sizeof(text), PROT_WRITE, iov, 1,
				       &fault),
			 -1);
	assert_int_equal(errno, EFAULT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	    T(test_flat),
	    T(test_32bit),
	    T(test_pae),
	    T(test_4_and_5_levels),
	    T(test_permissions),
	    T(test_accessed_and_dirty),
	    T(test_fault_reaches_the_guest),
	    T(test_wild_tables),
	    T(test_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
