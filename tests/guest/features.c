/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CPUID tells the truth (SDM vol. 2, CPUID; vol. 3, 2.5, 9.14, 12.11): what it
 * shows works, what it does not show faults; MSRs read back. Run with several
 * --features, under which the same must hold.
 */
#include "lib/guest.h"

enum { A, B, C, D };

/* An instruction that needs a feature: RDI, RSI are a buffer. */
#define INSN(name, text) KERNEL_CODE(i_##name, text "\n\tret")
INSN(cx8, "cmpxchg8b (%rdi)");
INSN(cx16, "cmpxchg16b (%rdi)");
INSN(clflush, "clflush (%rdi)");
INSN(clflushopt, ".byte 0x66, 0x0f, 0xae, 0x3f");
INSN(clwb, ".byte 0x66, 0x0f, 0xae, 0x37");
INSN(mmx, ".byte 0x0f, 0x6f, 0xc0, 0x0f, 0x77");
INSN(sse, ".byte 0x0f, 0x28, 0xc0");
INSN(sfence, "sfence");
INSN(sse2, ".byte 0x66, 0x0f, 0x28, 0xc0");
INSN(mfence, "mfence");
INSN(fxsr, "fxsave (%rdi)");
INSN(sse3, ".byte 0xf2, 0x0f, 0x12, 0xc0");
INSN(ssse3, ".byte 0x66, 0x0f, 0x38, 0x1c, 0xc0");
INSN(sse41, ".byte 0x66, 0x0f, 0x38, 0x17, 0xc0");
INSN(sse42, ".byte 0x66, 0x0f, 0x38, 0x37, 0xc0");
INSN(crc32, ".byte 0xf2, 0x0f, 0x38, 0xf1, 0xc0");
INSN(popcnt, ".byte 0xf3, 0x0f, 0xb8, 0xc0");
INSN(pclmul, ".byte 0x66, 0x0f, 0x3a, 0x44, 0xc0, 0x00");
INSN(aes, ".byte 0x66, 0x0f, 0x38, 0xdc, 0xc0");
INSN(movbe, ".byte 0x0f, 0x38, 0xf0, 0x07");
INSN(avx, ".byte 0xc5, 0xfc, 0x28, 0xc0");
INSN(fma, ".byte 0xc4, 0xe2, 0x79, 0x98, 0xc0");
INSN(f16c, ".byte 0xc4, 0xe2, 0x79, 0x13, 0xc0");
INSN(avx2, ".byte 0xc4, 0xe2, 0x7d, 0x1c, 0xc0");
INSN(bmi1, ".byte 0xc4, 0xe2, 0x78, 0xf2, 0xc0");
INSN(bmi2, ".byte 0xc4, 0xe2, 0x79, 0xf7, 0xc0");
INSN(adx, ".byte 0x66, 0x0f, 0x38, 0xf6, 0xc0");
INSN(sha, ".byte 0x0f, 0x38, 0xc9, 0xc0");
INSN(gfni, ".byte 0x66, 0x0f, 0x38, 0xcf, 0xc0");
INSN(rdrand, ".byte 0x0f, 0xc7, 0xf0");
INSN(rdseed, ".byte 0x0f, 0xc7, 0xf8");
INSN(rdpid, ".byte 0xf3, 0x0f, 0xc7, 0xf8");
INSN(smap, ".byte 0x0f, 0x01, 0xca");
INSN(invpcid, "xor %eax, %eax\n\tmov $2, %eax\n\t"
	      ".byte 0x66, 0x0f, 0x38, 0x82, 0x07");
INSN(xsave, "xor %ecx, %ecx\n\t.byte 0x0f, 0x01, 0xd0");
INSN(xsavec, "xor %eax, %eax\n\txor %edx, %edx\n\t.byte 0x0f, 0xc7, 0x27");
INSN(rdtsc, "rdtsc");
INSN(rdtscp, "rdtscp");
INSN(lahf, "lahf");
INSN(sahf, "mov $2, %ah\n\tsahf");
INSN(clzero, "mov %rdi, %rax\n\t.byte 0x0f, 0x01, 0xfc");
INSN(lzcnt, "xor %eax, %eax\n\tinc %eax\n\t.byte 0xf3, 0x0f, 0xbd, 0xc0");
INSN(tzcnt, "mov $8, %eax\n\t.byte 0xf3, 0x0f, 0xbc, 0xc0");
INSN(pku, "xor %ecx, %ecx\n\t.byte 0x0f, 0x01, 0xee");
INSN(monitor, "xor %ecx, %ecx\n\t.byte 0x0f, 0x01, 0xc8");
INSN(vmcall, ".byte 0x0f, 0x01, 0xc1");
INSN(vmxon, ".byte 0xf3, 0x0f, 0xc7, 0x37");
INSN(vmrun, ".byte 0x0f, 0x01, 0xd8");
INSN(vmmcall, ".byte 0x0f, 0x01, 0xd9");
INSN(rsm, ".byte 0x0f, 0xaa");
INSN(getsec, ".byte 0x0f, 0x37");
INSN(xbegin, ".byte 0xc7, 0xf8, 0, 0, 0, 0");
INSN(avx512, ".byte 0x62, 0xf1, 0x7c, 0x48, 0x28, 0xc0");
INSN(kmov, ".byte 0xc5, 0xf8, 0x90, 0xc0");
INSN(kmovq, ".byte 0xc4, 0xe1, 0xf8, 0x90, 0xc0");
INSN(avx512dq, ".byte 0x62, 0xf1, 0x7c, 0x48, 0x54, 0xc0");
INSN(avx512bw, ".byte 0x62, 0xf1, 0x7d, 0x48, 0xfc, 0xc0");
INSN(avx512cd, ".byte 0x62, 0xf2, 0x7d, 0x48, 0x44, 0xc0");
INSN(avx512vl, ".byte 0x62, 0xf1, 0x7c, 0x08, 0x28, 0xc0");
INSN(avx512ifma, ".byte 0x62, 0xf2, 0xfd, 0x48, 0xb4, 0xc0");
INSN(avx512vbmi, ".byte 0x62, 0xf2, 0x7d, 0x48, 0x8d, 0xc0");
INSN(avx512vbmi2, ".byte 0x62, 0xf2, 0xfd, 0x48, 0x70, 0xc0");
INSN(avx512vnni, ".byte 0x62, 0xf2, 0x7d, 0x48, 0x50, 0xc0");
INSN(avx512bitalg, ".byte 0x62, 0xf2, 0x7d, 0x48, 0x54, 0xc0");
INSN(avx512vpopcntdq, ".byte 0x62, 0xf2, 0x7d, 0x48, 0x55, 0xc0");
INSN(avx512bf16, ".byte 0x62, 0xf2, 0x7e, 0x48, 0x52, 0xc0");
INSN(avx512fp16, ".byte 0x62, 0xf5, 0x7c, 0x48, 0x58, 0xc0");
INSN(vp2intersect, ".byte 0x62, 0xf2, 0x7f, 0x48, 0x68, 0xc0");
INSN(xop, ".byte 0x8f, 0xe8, 0x78, 0x9e, 0xc0, 0");
INSN(three_dnow, ".byte 0x0f, 0x0f, 0xc0, 0x9e");

struct feature {
	const char *name;
	uint32_t leaf, sub;
	uint8_t reg, bit;
	const uint8_t *code;
};

static const struct feature table[] = {
    {"cx8: CMPXCHG8B", 1, 0, D, 8, i_cx8},
    {"tsc: RDTSC", 1, 0, D, 4, i_rdtsc},
    {"clflush", 1, 0, D, 19, i_clflush},
    {"mmx", 1, 0, D, 23, i_mmx},
    {"fxsr: FXSAVE", 1, 0, D, 24, i_fxsr},
    {"sse", 1, 0, D, 25, i_sse},
    {"sse: SFENCE", 1, 0, D, 25, i_sfence},
    {"sse2", 1, 0, D, 26, i_sse2},
    {"sse2: MFENCE", 1, 0, D, 26, i_mfence},
    {"sse3", 1, 0, C, 0, i_sse3},
    {"pclmulqdq", 1, 0, C, 1, i_pclmul},
    {"monitor", 1, 0, C, 3, i_monitor},
    {"vmx: VMCALL", 1, 0, C, 5, i_vmcall},
    {"vmx: VMXON", 1, 0, C, 5, i_vmxon},
    {"smx: GETSEC", 1, 0, C, 6, i_getsec},
    {"ssse3", 1, 0, C, 9, i_ssse3},
    {"fma", 1, 0, C, 12, i_fma},
    {"cx16: CMPXCHG16B", 1, 0, C, 13, i_cx16},
    {"sse4_1", 1, 0, C, 19, i_sse41},
    {"sse4_2", 1, 0, C, 20, i_sse42},
    {"sse4_2: CRC32", 1, 0, C, 20, i_crc32},
    {"movbe", 1, 0, C, 22, i_movbe},
    {"popcnt", 1, 0, C, 23, i_popcnt},
    {"aes", 1, 0, C, 25, i_aes},
    {"xsave: XGETBV", 1, 0, C, 26, i_xsave},
    {"avx", 1, 0, C, 28, i_avx},
    {"f16c", 1, 0, C, 29, i_f16c},
    {"rdrand", 1, 0, C, 30, i_rdrand},
    {"bmi1: ANDN", 7, 0, B, 3, i_bmi1},
    {"avx2", 7, 0, B, 5, i_avx2},
    {"bmi2: SHLX", 7, 0, B, 8, i_bmi2},
    {"invpcid", 7, 0, B, 10, i_invpcid},
    {"rtm: XBEGIN", 7, 0, B, 11, i_xbegin},
    {"avx512f", 7, 0, B, 16, i_avx512},
    {"avx512f: KMOV", 7, 0, B, 16, i_kmov},
    {"avx512dq", 7, 0, B, 17, i_avx512dq},
    {"rdseed", 7, 0, B, 18, i_rdseed},
    {"adx", 7, 0, B, 19, i_adx},
    {"smap: CLAC", 7, 0, B, 20, i_smap},
    {"avx512ifma", 7, 0, B, 21, i_avx512ifma},
    {"clflushopt", 7, 0, B, 23, i_clflushopt},
    {"clwb", 7, 0, B, 24, i_clwb},
    {"avx512cd", 7, 0, B, 28, i_avx512cd},
    {"sha", 7, 0, B, 29, i_sha},
    {"avx512bw", 7, 0, B, 30, i_avx512bw},
    {"avx512bw: KMOVQ", 7, 0, B, 30, i_kmovq},
    {"avx512vl", 7, 0, B, 31, i_avx512vl},
    {"avx512vbmi", 7, 0, C, 1, i_avx512vbmi},
    {"pku: RDPKRU", 7, 0, C, 3, i_pku},
    {"avx512vbmi2", 7, 0, C, 6, i_avx512vbmi2},
    {"gfni", 7, 0, C, 8, i_gfni},
    {"avx512vnni", 7, 0, C, 11, i_avx512vnni},
    {"avx512bitalg", 7, 0, C, 12, i_avx512bitalg},
    {"avx512vpopcntdq", 7, 0, C, 14, i_avx512vpopcntdq},
    {"rdpid", 7, 0, C, 22, i_rdpid},
    {"vp2intersect", 7, 0, D, 8, i_vp2intersect},
    {"avx512fp16", 7, 0, D, 23, i_avx512fp16},
    {"avx512bf16", 7, 1, A, 5, i_avx512bf16},
    {"xsavec", 0xd, 1, A, 1, i_xsavec},
    {"lahf_lm: LAHF", 0x80000001, 0, C, 0, i_lahf},
    {"lahf_lm: SAHF", 0x80000001, 0, C, 0, i_sahf},
    {"svm: VMRUN", 0x80000001, 0, C, 2, i_vmrun},
    {"svm: VMMCALL", 0x80000001, 0, C, 2, i_vmmcall},
    {"xop", 0x80000001, 0, C, 11, i_xop},
    {"rdtscp", 0x80000001, 0, D, 27, i_rdtscp},
    {"3dnow", 0x80000001, 0, D, 31, i_three_dnow},
    {"clzero", 0x80000008, 0, B, 0, i_clzero},
    {"smm: RSM", 0x40000001, 0, A, 31, i_rsm}, /* never */
};

static bool shown(uint32_t leaf, uint32_t sub, unsigned reg, unsigned bit)
{
	struct regs4 r = cpuid(leaf, sub);
	uint32_t word = reg == A ? r.a : reg == B ? r.b : reg == C ? r.c : r.d;

	return leaf <= cpuid(leaf & 0xf0000000, 0).a && (word >> bit & 1);
}

static uint8_t area[4096] __attribute__((aligned(64)));

/* Calls code, which may fault on the way; its RAX. */
static uint64_t call(const uint8_t *code)
{
	uint64_t rax = 0;

	for (unsigned n = 0; n < 16; n++)
		((volatile uint8_t *)area)[n] = 0;
	fault_clear();
	__asm__ volatile("movq %%rsp, %%r12\n\tmovq $1f, try_resume\n\t"
			 "call *%1\n1:\tmovq $0, try_resume\n\t"
			 "movq %%r12, %%rsp"
			 : "+a"(rax)
			 : "b"(code), "D"(area)
			 : "rcx", "rdx", "rsi", "r12", "memory", "cc");
	return rax;
}

static void instructions(void)
{
	for (unsigned n = 0; n < sizeof(table) / sizeof(table[0]); n++) {
		const struct feature *f = &table[n];
		bool has = shown(f->leaf, f->sub, f->reg, f->bit);

		call(f->code);
		if (!check(fault.vector == (has ? NO_FAULT : UD), f->name))
			check_eq(fault.vector, has ? NO_FAULT : UD, "vector");
	}
	/* Without their features these are BSF and BSR. */
	check_eq(call(i_lzcnt), shown(0x80000001, 0, C, 5) ? 31 : 0,
		 "abm: LZCNT, or BSR");
	check_eq(call(i_tzcnt), 3, "bmi1: TZCNT, or BSF");
}

/* -- CR4 and EFER
 * -------------------------------------------------------------- */

static void cr4_bit(unsigned bit, bool has, const char *name)
{
	uint64_t was = READ_CR(4);

	TRY("mov %0, %%cr4", ::"r"(was | BIT(bit)) : "memory");
	check(fault.vector == (has ? NO_FAULT : GP), name);
	WRITE_CR(4, was);
}

static void control(void)
{
	cr4_bit(0, shown(1, 0, D, 1), "CR4.VME as vme");
	cr4_bit(1, shown(1, 0, D, 1), "CR4.PVI as vme");
	cr4_bit(2, shown(1, 0, D, 4), "CR4.TSD as tsc");
	cr4_bit(3, shown(1, 0, D, 2), "CR4.DE as de");
	cr4_bit(6, shown(1, 0, D, 7), "CR4.MCE as mce");
	cr4_bit(7, shown(1, 0, D, 13), "CR4.PGE as pge");
	cr4_bit(11, shown(7, 0, C, 2), "CR4.UMIP as umip");
	cr4_bit(12, false, "CR4.LA57 in long mode");
	cr4_bit(13, shown(1, 0, C, 5), "CR4.VMXE as vmx");
	cr4_bit(14, shown(1, 0, C, 6), "CR4.SMXE as smx");
	cr4_bit(15, false, "CR4 bit 15");
	cr4_bit(16, shown(7, 0, B, 0), "CR4.FSGSBASE as fsgsbase");
	cr4_bit(17, shown(1, 0, C, 17), "CR4.PCIDE as pcid");
	cr4_bit(18, shown(1, 0, C, 26), "CR4.OSXSAVE as xsave");
	cr4_bit(20, shown(7, 0, B, 7), "CR4.SMEP as smep");
	cr4_bit(21, shown(7, 0, B, 20), "CR4.SMAP as smap");
	cr4_bit(22, shown(7, 0, C, 3), "CR4.PKE as pku");
	cr4_bit(23, false, "CR4.CET");
	cr4_bit(32, false, "CR4 above 32 bits");
	TRY("wrmsr", ::"c"(0xc0000080), "a"(0xd01 | 0x1000), "d"(0) : "memory");
	fault_is(GP, 0, "EFER.SVME: #GP(0)");
}

/* -- MSRs
 * ---------------------------------------------------------------------- */

static void msr_faults(uint32_t msr, bool has, const char *name)
{
	TRY("rdmsr", ::"c"(msr) : "rax", "rdx", "memory");
	check(fault.vector == (has ? NO_FAULT : GP), name);
}

static void read_back(uint32_t msr, uint64_t v, const char *name)
{
	uint64_t was = rdmsr(msr);

	wrmsr(msr, v);
	check_eq(rdmsr(msr), v, name);
	wrmsr(msr, was);
}

static void write_faults(uint32_t msr, uint64_t v, const char *name)
{
	TRY("wrmsr", ::"c"(msr), "a"((uint32_t)v), "d"((uint32_t)(v >> 32))
	    : "memory");
	fault_is(GP, 0, name);
}

/* What a kernel is told of speculation, where it is told (SDM vol. 4, 2-2). */
static void speculation(void)
{
	bool intel = shown(7, 0, D, 26), amd = shown(0x80000008, 0, B, 14);

	if (shown(7, 0, D, 29)) {
		check(rdmsr(0x10a) & 1, "ARCH_CAPABILITIES: RDCL_NO");
		write_faults(0x10a, 1, "ARCH_CAPABILITIES is read-only");
	}
	if (intel || amd) {
		read_back(0x48, 3, "SPEC_CTRL reads back");
		write_faults(0x48, 1ull << 63, "SPEC_CTRL bit 63: #GP(0)");
	}
	if (intel) {
		wrmsr(0x49, 1);
		write_faults(0x49, 2, "PRED_CMD bit 1: #GP(0)");
		msr_faults(0x49, false, "PRED_CMD is write-only");
	}
	if (shown(0x80000021, 0, A, 8))
		read_back(0xc0000080, rdmsr(0xc0000080) | 1u << 21,
			  "EFER.AIBRSE as auto_ibrs");
}

static void msrs(void)
{
	bool mtrr = shown(1, 0, D, 12), pat = shown(1, 0, D, 16);

	msr_faults(0xfe, mtrr, "MTRRCAP as mtrr");
	msr_faults(0x277, pat, "PAT as pat");
	msr_faults(0x174, shown(1, 0, D, 11), "SYSENTER_CS as sep");
	msr_faults(0x3b, shown(7, 0, B, 1), "TSC_ADJUST as tsc_adjust");
	msr_faults(0x179, shown(1, 0, D, 14), "MCG_CAP as mca");
	msr_faults(0xc0000103,
		   shown(0x80000001, 0, D, 27) || shown(7, 0, C, 22),
		   "TSC_AUX as rdtscp, rdpid");
	msr_faults(0xda0, shown(0xd, 1, A, 3), "XSS as xsaves");
	if (pat) {
		read_back(0x277, 0x0007010500070406, "PAT reads back");
		write_faults(0x277, 2, "PAT: type 2: #GP(0)");
		write_faults(0x277, 0x0800000000000000, "PAT: type 8: #GP(0)");
	}
	if (mtrr) {
		check(rdmsr(0xfe) & 0x100, "fixed MTRRs");
		read_back(0x200, 0x80000006, "MTRR base reads back");
		read_back(0x201, 0x0fff80000800, "MTRR mask reads back");
		read_back(0x250, 0x0606060606060606, "fixed MTRR reads back");
		read_back(0x26f, 0x0505050505050505, "the last fixed MTRR");
		read_back(0x2ff, 0xc06, "MTRR default type reads back");
		write_faults(0x200, 0x80000002, "MTRR type 2: #GP(0)");
		write_faults(0x250, 0x0606060606060603, "fixed type 3: #GP(0)");
		write_faults(0x2ff, 0x1c06, "MTRR default type: reserved");
		write_faults(0xfe, 0, "MTRRCAP is read-only");
		write_faults(0x201, BIT(63), "MTRR mask above the address");
	}
	if (shown(1, 0, D, 14)) {
		check_eq(rdmsr(0x179) & 0xff, 0, "no machine-check banks");
		check_eq(rdmsr(0x17a), 0, "MCG_STATUS");
	}
	speculation();
	check_eq(rdmsr(0x1d9), 0, "DEBUGCTL");
	/* Feature control, VMX and SVM are absent. */
	check(!shown(1, 0, C, 5) && !shown(0x80000001, 0, C, 2),
	      "no VMX, no SVM");
}

/* -- leaves that say the same
 * ---------------------------------------------------- */

static void leaves(void)
{
	struct regs4 one = cpuid(1, 0);
	uint32_t address = cpuid(0x80000008, 0).a;

	WRITE_CR(4, READ_CR(4) & ~BIT(18));
	check(!(cpuid(1, 0).c >> 27 & 1), "OSXSAVE follows CR4: clear");
	if (one.c >> 26 & 1) {
		WRITE_CR(4, READ_CR(4) | BIT(18));
		check(cpuid(1, 0).c >> 27 & 1, "OSXSAVE follows CR4: set");
		check_eq(cpuid(0xd, 0).c >= cpuid(0xd, 0).b, 1,
			 "XSAVE: the largest size holds the present one");
	}
	check((one.c & BIT(31)) != 0, "the hypervisor bit");
	check_eq(cpuid(0x40000000, 0).b, 0x76796862, "its name");
	check((address & 0xff) >= 36 && (address & 0xff) <= 52,
	      "physical address bits");
	check_eq(address >> 8 & 0xff, shown(7, 0, C, 16) ? 57 : 48,
		 "linear address bits");
	check_eq(shown(1, 0, D, 9) && one.b >> 24 == 0, 1, "APIC id");
	check_eq(cpuid(7, 2).a | cpuid(7, 2).b | cpuid(7, 2).c, 0,
		 "a subleaf that is not there");
	check(cpuid(7, 0).a >= 1 || cpuid(7, 1).a == 0, "leaf 7's last");
}

/* -- XCR0
 * ----------------------------------------------------------------------- */

static void set_xcr0(uint32_t value, bool works, const char *name)
{
	TRY("xsetbv", ::"c"(0), "a"(value), "d"(0) : "memory");
	if (works)
		check_eq(fault.vector, NO_FAULT, name);
	else
		fault_is(GP, 0, name);
}

/* What there is, in whole families (SDM vol. 1, 13.3). */
static void extended_control(void)
{
	bool avx = shown(1, 0, C, 28), avx512 = shown(7, 0, B, 16);

	WRITE_CR(4, READ_CR(4) | BIT(18));
	check_eq(cpuid(0xd, 0).a, avx512 ? 0xe7 : avx ? 7 : 3, "XCR0's bits");
	set_xcr0(3, true, "XCR0: SSE");
	set_xcr0(2, false, "XCR0 without x87: #GP(0)");
	set_xcr0(5, false, "XCR0: AVX without SSE: #GP(0)");
	set_xcr0(0xe3, false, "XCR0: AVX-512 without AVX: #GP(0)");
	set_xcr0(0x67, false, "XCR0: AVX-512 without ZMM16-31: #GP(0)");
	set_xcr0(0xa7, false, "XCR0: AVX-512 without ZMM_Hi256: #GP(0)");
	set_xcr0(0xc7, false, "XCR0: AVX-512 without opmasks: #GP(0)");
	set_xcr0(0x207, false, "XCR0: PKRU: #GP(0)");
	set_xcr0(0xe7, avx512, "XCR0: AVX-512 as avx512f");
	if (avx512) {
		check_eq(cpuid(0xd, 5).a, 64, "opmasks: 64 bytes");
		check_eq(cpuid(0xd, 6).a, 512, "ZMM_Hi256: 512 bytes");
		check_eq(cpuid(0xd, 7).a, 1024, "ZMM16-31: 1024 bytes");
		check_eq(cpuid(0xd, 0).b, cpuid(0xd, 7).a + cpuid(0xd, 7).b,
			 "XSAVE area for XCR0");
	}
	if (avx) {
		set_xcr0(7, true, "XCR0: AVX");
		call(i_avx512);
		check_eq(fault.vector, UD, "EVEX without XCR0's bits: #UD");
		call(i_kmov);
		check_eq(fault.vector, UD, "KMOV without XCR0's bits: #UD");
		call(i_avx);
		check_eq(fault.vector, NO_FAULT, "VEX without them");
	}
	set_xcr0(avx512 ? 0xe7 : avx ? 7 : 3, true, "XCR0: all");
	WRITE_CR(0, READ_CR(0) | BIT(3));
	call(i_avx512);
	check_eq(fault.vector, avx512 ? NM : UD, "EVEX with CR0.TS");
	call(i_kmov);
	check_eq(fault.vector, avx512 ? NM : UD, "KMOV with CR0.TS");
	WRITE_CR(0, READ_CR(0) & ~BIT(3));
}

void payload(void)
{
	WRITE_CR(4, READ_CR(4) | 0x600);
	if (shown(1, 0, C, 26))
		extended_control();
	instructions();
	control();
	msrs();
	leaves();
}
