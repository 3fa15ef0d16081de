// SPDX-License-Identifier: BSD-2-Clause
/* A vCPU's state: at reset, saved and loaded; guest memory's layout. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/state.h"
#include "door_test.h"
#include "vmm/vm.h"
#include "x86/cr.h"

/* SDM vol. 3, table 10-1. */
static void test_power_up(void **state)
{
	struct vcpu_state s;
	const struct seg_desc *cs = &s.desc[VCPU_DESC(VM_REG_GUEST_CS)];

	memset(&s, 0xaa, sizeof(s));
	vcpu_state_reset(&s, false);
	assert_int_equal(s.reg[VM_REG_GUEST_RIP], 0xfff0);
	assert_int_equal(s.reg[VM_REG_GUEST_CS], 0xf000);
	assert_true(cs->base == 0xffff0000);
	assert_int_equal(cs->limit, 0xffff);
	assert_int_equal(cs->access, 0x9b);
	assert_int_equal(s.reg[VM_REG_GUEST_RFLAGS], 2);
	assert_true(s.reg[VM_REG_GUEST_CR0] == 0x60000010);
	assert_int_equal(s.reg[VM_REG_GUEST_DR7], 0x400);
	assert_true(s.reg[VM_REG_GUEST_DR6] == 0xffff0ff0);
	assert_int_equal(s.desc[VCPU_DESC(VM_REG_GUEST_IDTR)].limit, 0xffff);
	assert_int_equal(s.xcr0, 1);
	assert_int_equal(s.xsave[0] | s.xsave[1] << 8, 0x40);
	assert_int_equal(s.xsave[24] | s.xsave[25] << 8, 0x1f80);
	assert_int_equal(s.exception_pending | s.nmi_masked, 0);
}

static void test_init_keeps(void **state)
{
	struct vcpu_state s;

	vcpu_state_reset(&s, false);
	s.reg[VM_REG_GUEST_CR0] = CR0_PE | CR0_PG | CR0_CD | CR0_WP;
	s.reg[VM_REG_GUEST_RAX] = 5;
	s.reg[VM_REG_GUEST_EFER] = EFER_LME | EFER_LMA;
	s.reg[VM_REG_GUEST_KGS_BASE] = 0x1234;
	s.msr[VCPU_MSR_LSTAR] = 0x5678;
	s.tsc_offset = 99;
	s.xsave[32] = 0x77;
	s.nmi_masked = 1;
	vcpu_state_reset(&s, true);
	assert_true(s.reg[VM_REG_GUEST_CR0] == (CR0_CD | CR0_ET));
	assert_int_equal(s.reg[VM_REG_GUEST_RAX], 0);
	assert_int_equal(s.reg[VM_REG_GUEST_EFER], 0);
	assert_int_equal(s.reg[VM_REG_GUEST_KGS_BASE], 0x1234);
	assert_int_equal(s.msr[VCPU_MSR_LSTAR], 0x5678);
	assert_int_equal(s.tsc_offset, 99);
	assert_int_equal(s.xsave[32], 0x77);
	assert_int_equal(s.nmi_masked, 0);
}

static void fill(void *to, size_t len, unsigned *seed)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)to)[i] = (uint8_t)rand_r(seed);
}

static void fill_state(struct vcpu_state *s)
{
	unsigned seed = 7;

	fill(s, sizeof(*s), &seed);
	s->exception_pending = 1;
	s->exception_vector = 14;
	s->exception_has_error = 1;
	s->exception_is_soft = 0;
	s->nmi_pending = 1;
	s->nmi_masked = 1;
	s->mp_state = MP_HALTED;
}

static void test_save_and_load(void **state)
{
	struct vm *vm;
	struct vmcpu *from, *to;
	struct state_writer writer = {0};
	struct state_reader reader;
	struct err err;

	assert_int_equal(vm_new("a", &vm), 0);
	assert_int_equal(vm_get_vcpu(vm, 0, &from), 0);
	assert_int_equal(vm_get_vcpu(vm, 1, &to), 0);
	fill_state(&from->state);
	from->active = true;
	from->suspended = true;
	from->requests = VCPU_REQ_NMI | VCPU_REQ_IDLE;
	from->capabilities = 1u << VM_CAP_HALT_EXIT;
	from->stats[VM_STAT_HLT] = 12;
	assert_int_equal(state_save(&vcpu_state_class, 0, from, &writer), 0);
	reader = (struct state_reader){writer.data, writer.size, 0};
	assert_int_equal(state_load(&vcpu_state_class, 0, to, &reader, &err),
			 0);
	assert_memory_equal(to->state.reg, from->state.reg,
			    sizeof(to->state.reg));
	assert_memory_equal(to->state.desc, from->state.desc,
			    sizeof(to->state.desc));
	assert_memory_equal(to->state.msr, from->state.msr,
			    sizeof(to->state.msr));
	assert_memory_equal(to->state.xsave, from->state.xsave,
			    sizeof(to->state.xsave));
	assert_memory_equal(to->state.mtrr_base, from->state.mtrr_base,
			    sizeof(to->state.mtrr_base));
	assert_true(to->state.tsc_offset == from->state.tsc_offset);
	assert_true(to->state.exception_payload ==
		    from->state.exception_payload);
	assert_int_equal(to->state.mp_state, MP_HALTED);
	assert_true(to->active && to->suspended);
	assert_int_equal(to->requests, VCPU_REQ_NMI); /* IDLE is a thread's */
	assert_int_equal(to->capabilities, from->capabilities);
	assert_int_equal(to->stats[VM_STAT_HLT], 12);

	/* Each cut is refused, and so are impossible values. */
	for (size_t size = 0; size < writer.size; size += 97) {
		reader = (struct state_reader){writer.data, size, 0};
		assert_int_equal(
		    state_load(&vcpu_state_class, 0, to, &reader, &err),
		    -EINVAL);
	}
	state_writer_free(&writer);
	from->state.mp_state = 9;
	assert_int_equal(state_save(&vcpu_state_class, 0, from, &writer), 0);
	reader = (struct state_reader){writer.data, writer.size, 0};
	assert_int_equal(state_load(&vcpu_state_class, 0, to, &reader, &err),
			 -EINVAL);
	state_writer_free(&writer);
	vm_free(vm);
}

/* -- memory -------------------------------------------------------------------
 */

static void test_memory_layout(void **state)
{
	struct vm_mem mem = {.fd = -1};
	uint64_t low = 8u << 20, high = 2u << 20;
	int fd = memfd_create("test", MFD_CLOEXEC);
	uint8_t byte = 0x5a;

	assert_int_equal(ftruncate(fd, (off_t)(low + high)), 0);
	assert_int_equal(mem_setup(&mem, fd, low + 1, high), -EINVAL);
	assert_int_equal(mem_setup(&mem, fd, 0, 0), -EINVAL);
	assert_int_equal(mem_setup(&mem, fd, low, UINT64_MAX & ~4095ull),
			 -EINVAL);
	assert_int_equal(mem_setup(&mem, fd, low, high), 0);
	assert_true(mem_top(&mem) == MEM_HIGH_BASE + high);
	assert_null(mem_hva(&mem, low - 1, 2));
	assert_null(mem_hva(&mem, MEM_HIGH_BASE - 1, 2));
	assert_null(mem_hva(&mem, MEM_HIGH_BASE + high, 1));
	assert_null(mem_hva(&mem, UINT64_MAX, 1));
	assert_null(mem_hva(&mem, 0, UINT64_MAX));
	/* high memory follows low memory in the file */
	*(uint8_t *)mem_hva(&mem, MEM_HIGH_BASE, 1) = byte;
	assert_int_equal(pread(fd, &byte, 1, (off_t)low), 1);
	assert_int_equal(byte, 0x5a);
	assert_true(mem_resident(&mem) >= 4096);
	assert_false(mem_is_populated(&mem, low - 4096));
	mem_populate(&mem, low - 4096);
	assert_true(mem_is_populated(&mem, low - 4096));
	assert_true(mem_resident(&mem) >= 4096 + (1 << MEM_PIECE_SHIFT));
	mem_populate(&mem, MEM_HIGH_BASE + high - 1);
	assert_int_equal(mem_zero(&mem), 0);
	assert_false(mem_is_populated(&mem, low - 4096));
	assert_true(mem_resident(&mem) == 0);
	assert_int_equal(*(uint8_t *)mem_hva(&mem, MEM_HIGH_BASE, 1), 0);
	mem_teardown(&mem);
	assert_null(mem.base);
	mem_teardown(&mem); /* twice is no harm */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_power_up),
	    cmocka_unit_test(test_init_keeps),
	    cmocka_unit_test(test_save_and_load),
	    cmocka_unit_test(test_memory_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
