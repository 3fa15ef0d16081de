// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the host cannot be asked about vector and x87 instructions: whether
 * they may run (SDM vol. 2, 2.4 and vol. 3, 2.5), the layouts of the x87
 * environment in other modes, the guest's pointers, the life of stubs, and
 * what is left in the host's registers.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fake_cpu.h"
#include "vmm/soft/native.h"
#include "x86/features.h"

#define IP 0x12345678u
#define DP 0x00067890u

static int setup(void **state)
{
	*state = fake_create();
	return 0;
}

static int teardown(void **state)
{
	fake_destroy(*state);
	return 0;
}

static uint64_t address(struct fake *fake)
{
	return (uint64_t)(uintptr_t)fake->page[0];
}

/* Binds an instruction; with a modrm of memory its operand is [RBX]. */
static struct insn bind(struct fake *fake, struct dec d)
{
	struct insn i = {.asize = 3, .seg = SEG_DS, .off = 0x40, .len = 4};
	const struct simd_row *row = simd_find(d.map, d.pp, d.opcode, d.modrm,
					       d.is_vex, d.vector_len, d.rex_w);

	assert_non_null(row);
	i.base = REG_RBX;
	i.index = REG_ZERO;
	if (d.modrm >> 6 != 3 && !(row->attr & S_NOMODRM))
		i.flags |= INSN_MEM;
	if (d.rex_w)
		i.flags |= INSN_REXW;
	if (d.mode == 0)
		d.mode = 8;
	d.reg = d.modrm >> 3 & 7;
	d.rm = d.modrm & 7;
	assert_int_equal(native_bind(&fake->c, row, &d, &i), 0);
	return i;
}

static void run(struct fake *fake, struct dec d)
{
	struct insn i = bind(fake, d);

	fake->c.gpr[REG_RBX / 8] = address(fake);
	fake_run(fake, &i);
}

static struct dec x87(uint8_t opcode, uint8_t modrm)
{
	return (struct dec){.map = MAP_1, .opcode = opcode, .modrm = modrm};
}

#define ADDPS ((struct dec){.map = MAP_0F, .opcode = 0x58, .modrm = 0xc1})
#define VADDPS                                                                 \
	((struct dec){                                                         \
	    .map = MAP_0F, .opcode = 0x58, .modrm = 0xc1, .is_vex = true})
#define PADDB   ((struct dec){.map = MAP_0F, .opcode = 0xfc, .modrm = 0xc1})
#define EMMS    ((struct dec){.map = MAP_0F, .opcode = 0x77})
#define FLD1    x87(0xd9, 0xe8)
#define WAIT    ((struct dec){.map = MAP_1, .opcode = 0x9b})
#define FXSAVE  ((struct dec){.map = MAP_0F, .opcode = 0xae, .modrm = 0x03})
#define XSAVE   ((struct dec){.map = MAP_0F, .opcode = 0xae, .modrm = 0x23})
#define XSAVES  ((struct dec){.map = MAP_0F, .opcode = 0xc7, .modrm = 0x2b})
#define LDMXCSR ((struct dec){.map = MAP_0F, .opcode = 0xae, .modrm = 0x13})

/* -- may it run? --------------------------------------------------------------
 */

static void expect(struct fake *fake, struct dec d, int vector)
{
	vec_mode_changed(&fake->c);
	run(fake, d);
	assert_int_equal(fake->vector, vector);
}

static void expect_all(struct fake *fake, int fpu, int wait, int mmx, int sse,
		       int avx)
{
	expect(fake, FLD1, fpu);
	expect(fake, EMMS, mmx);
	expect(fake, WAIT, wait);
	expect(fake, PADDB, mmx);
	expect(fake, EMMS, mmx);
	expect(fake, FXSAVE, mmx);
	expect(fake, ADDPS, sse);
	expect(fake, LDMXCSR, sse);
	if (host_has(X86_FEATURE_AVX))
		expect(fake, VADDPS, avx);
}

static void test_modes(void **state)
{
	struct fake *fake = *state;
	struct cpu *c = &fake->c;
	uint32_t mxcsr = MXCSR_RESET;
	uint64_t cr0 = c->cr0 & ~(uint64_t)CR0_MP, cr4 = c->cr4;

	memcpy(fake->page[0], &mxcsr, sizeof(mxcsr));
	expect_all(fake, -1, -1, -1, -1, -1);
	memcpy(fake->page[0], &mxcsr, sizeof(mxcsr));
	c->cr0 = cr0 | CR0_TS;
	expect_all(fake, X86_NM, -1, X86_NM, X86_NM, X86_NM);
	c->cr0 = cr0 | CR0_TS | CR0_MP;
	expect_all(fake, X86_NM, X86_NM, X86_NM, X86_NM, X86_NM);
	c->cr0 = cr0 | CR0_MP;
	expect_all(fake, -1, -1, -1, -1, -1);
	memcpy(fake->page[0], &mxcsr, sizeof(mxcsr));
	c->cr0 = cr0 | CR0_EM;
	expect_all(fake, X86_NM, -1, X86_UD, X86_UD, -1);
	c->cr0 = cr0 | CR0_EM | CR0_TS;
	expect_all(fake, X86_NM, -1, X86_UD, X86_UD, X86_NM);
	c->cr0 = cr0;
	c->cr4 = cr4 & ~(uint64_t)CR4_OSFXSR;
	expect_all(fake, -1, -1, -1, X86_UD, -1);
	memcpy(fake->page[0], &mxcsr, sizeof(mxcsr));
	c->cr4 = cr4 & ~(uint64_t)CR4_OSXSAVE;
	expect_all(fake, -1, -1, -1, -1, X86_UD);
	expect(fake, XSAVE, X86_UD);
	c->cr4 = cr4;
	memcpy(fake->page[0], &mxcsr, sizeof(mxcsr));
	c->xcr0 = XCR0_X87 | XCR0_SSE;
	expect_all(fake, -1, -1, -1, -1, X86_UD);
	c->cr0 = cr0 | CR0_TS;
	expect(fake, XSAVE, X86_NM);
	c->cr0 = cr0;
	c->cpl = 3;
	if (host_has(X86_FEATURE_XSAVES))
		expect(fake, XSAVES, X86_GP);
}

/* -- the x87 environment
 * ------------------------------------------------------- */

static struct xsave_image *image(struct fake *fake)
{
	return (struct xsave_image *)(void *)fake->c.xsave;
}

/* As after an FADD m32 (D8 05) at IP with its operand at DP. */
static void set_last(struct fake *fake)
{
	image(fake)->xstate_bv = XCR0_X87 | XCR0_SSE;
	image(fake)->fip = IP;
	image(fake)->fdp = DP;
	image(fake)->fop = 0x005;
	image(fake)->fcw = 0x027f;
	image(fake)->fsw = 0x4100;
}

struct layout_case {
	uint8_t code_size;
	bool protected, opsize;
	unsigned bytes;
	uint16_t words[14];
};

static const struct layout_case layouts[] = {
    {4,
     true,
     false,
     28,
     {0x027f, 0xffff, 0x4100, 0xffff, 0xffff, 0xffff, 0x5678, 0x1234, 0x0000,
      0x0005, 0x7890, 0x0006, 0x0000, 0x0000}},
    {4,
     true,
     true,
     14,
     {0x027f, 0x4100, 0xffff, 0x5678, 0x0000, 0x7890, 0x0000}},
    {2,
     true,
     false,
     14,
     {0x027f, 0x4100, 0xffff, 0x5678, 0x0000, 0x7890, 0x0000}},
    {2,
     false,
     false,
     14,
     {0x027f, 0x4100, 0xffff, 0x5678, 0x4005, 0x7890, 0x6000}},
    {2,
     false,
     true,
     28,
     {0x027f, 0xffff, 0x4100, 0xffff, 0xffff, 0xffff, 0x5678, 0x0000, 0x4005,
      0x0123, 0x7890, 0x0000, 0x6000, 0x0000}},
};

/* The reserved halves: CPUs store ones, or what was there. */
static bool is_reserved(const struct layout_case *t, unsigned word)
{
	if (t->bytes == 14)
		return false;
	return word == 1 || word == 3 || word == 5 ||
	       (t->protected && word == 13);
}

static void check_layout(struct fake *fake, const struct layout_case *t)
{
	struct insn store = bind(fake, x87(0xd9, 0x33));
	struct insn load = bind(fake, x87(0xd9, 0x23));
	struct cpu *c = &fake->c;
	uint16_t words[14];

	c->code_size = t->code_size;
	c->cr0 = (c->cr0 & ~(uint64_t)CR0_PE) | (t->protected ? CR0_PE : 0);
	if (t->opsize) {
		store.flags |= INSN_OPSIZE;
		load.flags |= INSN_OPSIZE;
	}
	set_last(fake);
	memset(fake->page[0], 0xee, 64);
	c->gpr[REG_RBX / 8] = address(fake);
	fake_run(fake, &store);
	assert_int_equal(fake->vector, NO_FAULT);
	memcpy(words, fake->page[0], sizeof(words));
	for (unsigned k = 0; k < t->bytes / 2; k++)
		if (!is_reserved(t, k))
			assert_int_equal(words[k], t->words[k]);
	assert_int_equal(fake->page[0][t->bytes], 0xee);
	/* FNSTENV masks all exceptions. */
	assert_int_equal(image(fake)->fcw & FPU_EXC, FPU_EXC);

	memset(c->xsave, 0, XSAVE_LEGACY);
	image(fake)->mxcsr = MXCSR_RESET;
	fake_run(fake, &load);
	assert_int_equal(image(fake)->fcw, 0x027f);
	assert_int_equal(image(fake)->fsw, 0x4100);
	assert_int_equal((uint16_t)image(fake)->fip, (uint16_t)IP);
	assert_int_equal((uint16_t)image(fake)->fdp, (uint16_t)DP);
	if (t->bytes == 28) {
		assert_int_equal(image(fake)->fip, IP);
		assert_int_equal(image(fake)->fdp, DP);
		assert_int_equal(image(fake)->fop, 0x005);
	}
	c->code_size = 8;
	c->cr0 |= CR0_PE;
}

static void test_environment_layouts(void **state)
{
	for (unsigned k = 0; k < ARRAY_SIZE(layouts); k++)
		check_layout(*state, &layouts[k]);
}

static void test_last_instruction(void **state)
{
	struct fake *fake = *state;
	struct cpu *c = &fake->c;
	struct insn i = bind(fake, x87(0xd8, 0x03)); /* FADD m32 [RBX] */

	memset(fake->page[0], 0, 16);
	c->gpr[17] = 0xffffffff81000000; /* REG_RIPBASE */
	c->gpr[REG_RBX / 8] = address(fake) - 0x10;
	i.disp = 0x10;
	fake_run(fake, &i);
	assert_int_equal(fake->vector, NO_FAULT);
	assert_int_equal(image(fake)->fip, 0xffffffff81000040);
	assert_int_equal(image(fake)->fdp, address(fake));
	assert_int_equal(image(fake)->fop, 0x003);
	/* Control instructions and SSE do not count, a register form keeps
	   the operand. */
	c->gpr[17] = 0x1000;
	run(fake, ADDPS);
	run(fake, x87(0xd9, 0x3b)); /* FNSTCW */
	assert_int_equal(image(fake)->fip, 0xffffffff81000040);
	run(fake, FLD1);
	assert_int_equal(image(fake)->fip, 0x1040);
	assert_int_equal(image(fake)->fdp, address(fake));
	assert_int_equal(image(fake)->fop, 0x1e8);
	/* FXSAVE without REX.W has 32 bits of them. */
	image(fake)->fip = 0x1234567887654321;
	run(fake, FXSAVE);
	assert_int_equal(*(uint64_t *)(void *)(fake->page[0] + 8), 0x87654321);
	run(fake, x87(0xdb, 0xe3)); /* FNINIT */
	assert_int_equal(image(fake)->fip, 0);
	assert_int_equal(image(fake)->fdp, 0);
}

/* Outside 64-bit mode the upper registers are neither saved nor restored. */
static void test_fxsave_32bit(void **state)
{
	struct fake *fake = *state;
	struct dec fxrstor = FXSAVE;

	fxrstor.modrm = 0x0b;
	image(fake)->xstate_bv = XCR0_X87 | XCR0_SSE;
	memset(image(fake)->xmm, 0x11, sizeof(image(fake)->xmm));
	memset(fake->page[0], 0x22, 512);
	fake->c.code_size = 4;
	run(fake, FXSAVE);
	assert_int_equal(fake->page[0][287], 0x11);
	assert_int_equal(fake->page[0][288], 0x22);
	memset(fake->page[0] + 160, 0x33, 256);
	run(fake, fxrstor);
	assert_int_equal(fake->vector, NO_FAULT);
	assert_int_equal(image(fake)->xmm[7][0], 0x33);
	assert_int_equal(image(fake)->xmm[8][0], 0x11);
	fake->c.code_size = 8;
	run(fake, fxrstor);
	assert_int_equal(image(fake)->xmm[8][0], 0x33);
}

/* -- an image from a file
 * -------------------------------------------------------- */

static void test_hostile_image(void **state)
{
	struct fake *fake = *state;

	memset(fake->c.xsave, 0xff, VCPU_XSAVE_SIZE);
	vec_mode_changed(&fake->c);
	run(fake, EMMS);
	assert_int_equal(image(fake)->xcomp_bv, 0);
	assert_int_equal(image(fake)->mxcsr & ~0x2ffffu, 0);
	/* No exception is masked and all are pending: ES must not be lost, or
	   the next one is this process' SIGFPE. */
	memset(fake->c.xsave, 0, XSAVE_LEGACY);
	image(fake)->fsw = 0x003f;
	image(fake)->mxcsr = MXCSR_RESET;
	image(fake)->xstate_bv = XCR0_X87;
	vec_mode_changed(&fake->c);
	run(fake, FLD1);
	assert_int_equal(fake->vector, X86_MF);
	run(fake, PADDB);
	assert_int_equal(fake->vector, X86_MF);
	run(fake, x87(0xdf, 0xe0)); /* FNSTSW AX */
	assert_int_equal(fake->vector, NO_FAULT);
	assert_int_equal(fake->c.gpr[0] & 0x80bf, 0x80bf);
	run(fake, x87(0xdb, 0xe2)); /* FNCLEX */
	run(fake, FLD1);
	assert_int_equal(fake->vector, NO_FAULT);
}

/* -- the host's own registers
 * ------------------------------------------------------ */

static void test_host_registers(void **state)
{
	struct fake *fake = *state;
	struct {
		uint32_t fcw, fsw, ftw, rest[4];
	} env;

	image(fake)->xstate_bv = XCR0_X87 | XCR0_SSE;
	image(fake)->fcw = 0x0040;
	image(fake)->ftw = 0xff;
	image(fake)->mxcsr = 0xe000;
	vec_mode_changed(&fake->c);
	run(fake, ADDPS);
	assert_int_equal(host_mxcsr(), MXCSR_RESET);
	__asm__ volatile("fnstenv %0" : "=m"(env));
	assert_int_equal((uint16_t)env.fcw, FCW_RESET);
	assert_int_equal((uint16_t)env.fsw, 0);
	assert_int_equal((uint16_t)env.ftw, 0xffff);
	assert_int_equal(image(fake)->mxcsr & ~MXCSR_FLAGS, 0xe000);
	assert_int_equal(image(fake)->fcw, 0x0040);
}

/* A host without XSAVE; what was not saved is in its initial state. */
static void test_without_xsave(void **state)
{
	static const float one[4] = {1, 1, 1, 1}, two[4] = {2, 2, 2, 2};
	struct fake *fake = *state;

	fake->c.native->rfbm = 0;
	image(fake)->fcw = 0x1234;
	memset(image(fake)->st, 0xaa, sizeof(image(fake)->st));
	memcpy(image(fake)->xmm[0], one, sizeof(one));
	memcpy(image(fake)->xmm[1], one, sizeof(one));
	image(fake)->xstate_bv = XCR0_SSE;
	vec_mode_changed(&fake->c);
	run(fake, ADDPS);
	assert_int_equal(fake->vector, NO_FAULT);
	assert_memory_equal(image(fake)->xmm[0], two, sizeof(two));
	assert_int_equal(image(fake)->fcw, FCW_RESET);
	assert_int_equal(image(fake)->st[3][3], 0);
	assert_int_equal(image(fake)->xstate_bv, XCR0_X87 | XCR0_SSE);
	run(fake, XSAVE);
	assert_int_equal(fake->vector, X86_UD);
	run(fake, FLD1);
	assert_int_equal(fake->vector, NO_FAULT);
	assert_int_equal(image(fake)->ftw, 0x80);
}

/* -- stubs
 * -------------------------------------------------------------------------- */

static void test_stubs(void **state)
{
	struct fake *fake = *state;
	struct dec pshufd = {
	    .map = MAP_0F, .pp = 0x66, .opcode = 0x70, .modrm = 0xc0};
	struct insn first = bind(fake, ADDPS), again = bind(fake, ADDPS);
	const struct simd_row *row =
	    simd_find(MAP_0F, 0x66, 0x70, 0xc0, false, 0, false);
	struct insn i = {0};
	unsigned made = 0;
	int error = 0;

	assert_int_equal(first.imm, again.imm);
	/* Each its own bytes, until there is no room. */
	for (unsigned n = 0; n < 0x20000 && !error; n++) {
		pshufd.pp = n & 0x10000 ? 0xf3 : 0x66;
		pshufd.imm8 = (uint8_t)n;
		pshufd.reg = n >> 8 & 15;
		pshufd.rm = n >> 12 & 15;
		pshufd.mode = 8;
		error = native_bind(&fake->c, row, &pshufd, &i);
		made++;
	}
	assert_int_equal(error, -ENOSPC);
	assert_true(made > 10000);
	native_flush(&fake->c);
	assert_int_equal(native_bind(&fake->c, row, &pshufd, &i), 0);
	run(fake, ADDPS);
	assert_int_equal(fake->vector, NO_FAULT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_modes),
	    TEST(test_environment_layouts),
	    TEST(test_last_instruction),
	    TEST(test_fxsave_32bit),
	    TEST(test_hostile_image),
	    TEST(test_host_registers),
	    TEST(test_without_xsave),
	    TEST(test_stubs),
	};
#undef TEST

	return cmocka_run_group_tests(tests, NULL, NULL);
}
