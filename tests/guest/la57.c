/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Five levels of paging (SDM vol. 3, 4.5), and four beside them: which
 * addresses are canonical, what PML5 entries do. Run with --features +la57. 64-
 * bit code reads at some addresses and comes back; the rest is 32-bit code.
 */
#include "lib32/guest32.h"

#define CR4_PAE  0x20u
#define CR4_LA57 0x1000u
#define PTE_P    1u
#define PTE_W    2u
#define PTE_A    0x20u
#define PTE_PS   0x80u

/* One read in 64-bit code, and what came of it. */
struct probe {
	uint64_t va, value, cr2;
	uint32_t vector, error;
};

extern uint8_t probe_64[], on_gp[], on_pf[];
uint64_t idt64[2 * 16];
struct __attribute__((packed)) {
	uint16_t limit;
	uint32_t base, high;
} idtr64 = {sizeof(idt64) - 1, 0, 0}, idtr32 = {0xffff, 0, 0};

/*
 * probe_enter(probe, cr3, cr4): into long mode, probe_64, and back. Faults of
 * the read skip it, which is three bytes long.
 */
void probe_enter(struct probe *probe, uint32_t cr3, uint32_t cr4);
__asm__(".text\n.globl probe_enter\nprobe_enter:\n"
	"push %ebx; push %esi; push %edi; push %ebp\n"
	"mov 20(%esp), %edi; mov 24(%esp), %eax; mov 28(%esp), %ebx\n"
	"mov %cr4, %esi; mov %ebx, %cr4; mov %eax, %cr3\n"
	"sidt idtr32; lidt idtr64\n"
	"mov $0xc0000080, %ecx; rdmsr; or $0x100, %eax; wrmsr\n"
	"mov %cr0, %eax; or $0x80000000, %eax; mov %eax, %cr0\n"
	"ljmp $0x48, $probe_64\n"
	"probe_back:\n"
	"mov %cr0, %eax; and $0x7fffffff, %eax; mov %eax, %cr0\n"
	"mov $0xc0000080, %ecx; rdmsr; and $~0x100, %eax; wrmsr\n"
	"mov %esi, %cr4; lidt idtr32\n"
	"pop %ebp; pop %edi; pop %esi; pop %ebx\n"
	"ret\n"
	".code64\nprobe_64:\n"
	"mov %esp, %esp\n"
	"mov (%rdi), %rbx\n"
	"mov (%rbx), %rax\n"
	"mov %rax, 8(%rdi)\n"
	"ljmp *probe_far(%rip)\n"
	"on_gp: movl $13, 24(%rdi); jmp 1f\n"
	"on_pf: movl $14, 24(%rdi); mov %cr2, %rax; mov %rax, 16(%rdi)\n"
	"1: pop %rax; mov %eax, 28(%rdi); addq $3, (%rsp); xor %eax, %eax\n"
	"iretq\n"
	"probe_far: .long probe_back; .word 0x08\n"
	".code32\n");

/* -- tables ------------------------------------------------------------------
 */

static uint64_t pml5[512] __attribute__((aligned(4096)));
static uint64_t pml4[512] __attribute__((aligned(4096)));
static uint64_t pml4_other[512] __attribute__((aligned(4096)));
static uint64_t pdpt[512] __attribute__((aligned(4096)));
static uint64_t pd[512] __attribute__((aligned(4096)));

static volatile uint64_t word = 0x1122334455667788;

static uint64_t points(const void *table)
{
	return (uint32_t)(uintptr_t)table | PTE_P | PTE_W;
}

/* The first GiB, at 0 and wherever else an entry leads to pdpt. */
static void make_tables(void)
{
	for (unsigned n = 0; n < 512; n++)
		pd[n] = (uint64_t)n << 21 | PTE_P | PTE_W | PTE_PS;
	pdpt[0] = points(pd);
	pml4[0] = pml4[256] = points(pdpt);
	pml4_other[1] = points(pdpt);
	pml5[0] = points(pml4);
	pml5[1] = pml5[511] = points(pml4_other);
	pml5[2] = points(pml4) | PTE_PS;
}

static void gate64(unsigned vector, const uint8_t *handler)
{
	idt64[2 * vector] = GATE(0x48, handler, 0x8e, 0);
	idt64[2 * vector + 1] = 0;
}

static struct probe probe(uint64_t va, bool five)
{
	struct probe p = {.va = va + (uint32_t)(uintptr_t)&word};

	probe_enter(&p, (uint32_t)(uintptr_t)(five ? pml5 : pml4),
		    CR4_PAE | (five ? CR4_LA57 : 0));
	return p;
}

#define BIT64(n) (1ull << (n))

static void reads(uint64_t va, bool five, const char *name)
{
	struct probe p = probe(va, five);

	check(p.vector == 0 && p.value == word, name);
}

static void faults(uint64_t va, bool five, uint32_t vector, uint32_t error,
		   const char *name)
{
	struct probe p = probe(va, five);

	check(p.vector == vector && p.error == error &&
		  (vector != PF || p.cr2 == p.va),
	      name);
}

/* -- the tests ---------------------------------------------------------------
 */

static void four_levels(void)
{
	reads(0, false, "four levels: the first GiB");
	faults(BIT64(47), false, GP, 0, "bit 47 alone is not canonical: #GP");
	reads(~0ull << 47, false, "with all above it, it is");
	faults(BIT64(48), false, GP, 0, "bit 48: #GP");
}

static void five_levels(void)
{
	reads(0, true, "five levels: the first GiB");
	reads(BIT64(47), true, "bit 47 alone is canonical");
	reads(BIT64(48) | BIT64(39), true, "by PML5 entry 1");
	check((pml5[1] & PTE_A) != 0, "which is accessed then");
	check((pml5[511] & PTE_A) == 0, "the last one is not");
	reads((~0ull << 48) | BIT64(39), true, "an address at the top");
	check((pml5[511] & PTE_A) != 0, "by the last PML5 entry");
	faults(BIT64(56), true, GP, 0, "bit 56 alone is not canonical: #GP");
	faults(BIT64(57), true, GP, 0, "bit 57: #GP");
	faults(BIT64(50), true, PF, 0, "no PML5 entry: #PF");
	faults(BIT64(48), true, PF, 0, "no PML4 entry: #PF");
	faults(BIT64(49), true, PF, 9, "PS in a PML5 entry: #PF, reserved");
}

void payload(void)
{
	uint32_t a = 7, c = 0;

	__asm__ volatile("cpuid" : "+a"(a), "+c"(c)::"ebx", "edx");
	check_eq(c >> 16 & 1, 1, "CPUID shows LA57");
	a = 0x80000008;
	__asm__ volatile("cpuid" : "+a"(a)::"ebx", "ecx", "edx");
	check_eq(a >> 8 & 0xff, 57, "and 57 bits");
	make_tables();
	gdt[SEL_FREE / 8] = DESC(0, 0xfffff, 0xa09b); /* 64-bit code */
	gate64(GP, on_gp);
	gate64(PF, on_pf);
	idtr64.base = (uint32_t)(uintptr_t)idt64;
	four_levels();
	five_levels();
	check((READ_CR(4) & CR4_LA57) == 0, "and back");
}
