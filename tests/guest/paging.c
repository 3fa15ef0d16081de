/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Paging: sizes, accessed and dirty bits, rights, reserved bits (SDM vol. 3,
 * 4.5 to 4.8), what a TLB may keep and must not (4.10).
 */
#include "lib/guest.h"

#define V        0x200000000000ull /* a free PML4 slot */
#define V2M      (V + 0x40000000ull)
#define V1G      (V + 0x80000000ull)
#define PCIDE    BIT(17)
#define SMEP     BIT(20)
#define SMAP     BIT(21)
#define PGE      BIT(7)
#define AC_BIT   BIT(18)
#define MSR_EFER 0xc0000080

/* Error code bits (4.7). */
#define P   1
#define W   2
#define U   4
#define RSV 8
#define I   16

static uint64_t frame_a, frame_b; /* two pages of RAM, for their contents */

static volatile uint64_t *at(uint64_t va)
{
	return (volatile uint64_t *)(uintptr_t)va;
}

static uint64_t load(uint64_t va)
{
	uint64_t v = 0;

	TRY("movq (%1), %0", : "=a"(v) : "b"(va) : "memory");
	return v;
}

static void store(uint64_t va, uint64_t v)
{
	TRY("movq %0, (%1)", ::"a"(v), "b"(va) : "memory");
}

static void call(uint64_t va)
{
	TRY("call *%0\n2:\tnop", ::"b"(va) : "memory");
}

static void faults_with(uint64_t va, unsigned error, const char *name)
{
	if (!check(fault.vector == PF && fault.error == error &&
		       fault.cr2 == va && fault.rip == fault.at,
		   name)) {
		check_eq(fault.vector << 32 | fault.error,
			 (uint64_t)PF << 32 | error, "vector, error");
		check_eq(fault.cr2, va, "CR2");
	}
}

static void fine(const char *name)
{
	check_eq(fault.vector, NO_FAULT, name);
}

USER_CODE(u_read, "movq (%rdi), %rax\n int $0x81");
USER_CODE(u_write, "movq %rdi, (%rdi)\n int $0x81");
USER_CODE(u_exec, "call *%rdi\n int $0x81");

static void user(const uint8_t *code, uint64_t va)
{
	user_run(code, va, 0);
	fault.at = (uint64_t)(uintptr_t)code;
}

/* -- sizes, accessed and dirty (4.8) --------------------------------------- */

static void accessed_dirty(void)
{
	uint64_t *e = pte_of(V, 1), *pde = pte_of(V, 2);

	load(V);
	faults_with(V, 0, "absent: #PF(0)");
	store(V, 1);
	faults_with(V, W, "absent, write: #PF(W)");
	*e = frame_a | PTE_P | PTE_W;
	check_eq(load(V), 0xa, "a page that became present needs no INVLPG");
	check_eq(*e & (PTE_A | PTE_D), PTE_A, "a read sets A, not D");
	check((*pde & PTE_A) != 0, "and A of the table above");
	store(V, 0xaa);
	check_eq(*e & (PTE_A | PTE_D), PTE_A | PTE_D, "a write sets D");
	check_eq(*at(frame_a), 0xaa, "the write arrived");
	*at(frame_a) = 0xa;
	*e &= ~(PTE_A | PTE_D);
	invlpg(at(V));
	load(V);
	check_eq(*e & (PTE_A | PTE_D), PTE_A, "after INVLPG, A again");
	*e = frame_a | PTE_P;
	invlpg(at(V));
	store(V, 1);
	faults_with(V, P | W, "read-only, CR0.WP: #PF(P W)");
	check_eq(*e & PTE_D, 0, "a write that faults sets no D");
	WRITE_CR(0, READ_CR(0) & ~BIT(16));
	store(V, 0xb);
	fine("read-only, no CR0.WP: written");
	check((*e & PTE_D) != 0, "and D");
	WRITE_CR(0, READ_CR(0) | BIT(16));
	store(V, 1);
	faults_with(V, P | W, "CR0.WP set again: #PF, without INVLPG");
	*at(frame_a) = 0xa;
	*e = 0;
	invlpg(at(V));
}

static void sizes(void)
{
	uint64_t *pde = pte_of(V2M, 2), *pdpte = pte_of(V1G, 3);

	*pde = 0x600000 | PTE_P | PTE_W | PTE_PS;
	*at(0x712340) = 0x1234;
	check_eq(load(V2M + 0x112340), 0x1234, "2 MiB page");
	store(V2M + 0x112348, 0x5678);
	check_eq(*at(0x712348), 0x5678, "2 MiB page, written");
	check_eq(*pde & (PTE_A | PTE_D), PTE_A | PTE_D, "2 MiB page: A, D");
	*pde = 0x800000 | PTE_P | PTE_W | PTE_PS;
	invlpg(at(V2M + 0x1000)); /* any address in it */
	*at(0x912340) = 0x4321;
	check_eq(load(V2M + 0x112340), 0x4321,
		 "INVLPG of one address drops all of a 2 MiB page");
	*pde |= BIT(13);
	invlpg(at(V2M));
	load(V2M + 8);
	faults_with(V2M + 8, P | RSV, "2 MiB page, address bit 13: #PF(RSV)");
	*pde = 0x800000 | PTE_P | PTE_W | PTE_PS | BIT(12);
	load(V2M);
	fine("2 MiB page, bit 12 is PAT");
	if (!(cpuid(0x80000001, 0).d & BIT(26))) {
		skip("1 GiB pages", "CPUID has none");
		return;
	}
	*pdpte = PTE_P | PTE_W | PTE_PS;
	check_eq(load(V1G + 0x712340), 0x1234, "1 GiB page");
	*pdpte = 0;
	invlpg(at(V1G + 0x5000));
	load(V1G + 0x712340);
	faults_with(V1G + 0x712340, 0, "1 GiB page, dropped by INVLPG");
	*pdpte = PTE_P | PTE_W | PTE_PS | BIT(20);
	load(V1G);
	faults_with(V1G, P | RSV, "1 GiB page, address bit 20: #PF(RSV)");
	*pdpte = 0;
	/* A large page becomes small ones. */
	*pde = 0x600000 | PTE_P | PTE_W | PTE_PS;
	invlpg(at(V2M));
	load(V2M + 0x112340);
	*pde = 0;
	flush_all();
	map_page(V2M + 0x112000, frame_b | PTE_P);
	check_eq(load(V2M + 0x112000), 0xb, "a large page made small");
	load(V2M + 0x113000);
	faults_with(V2M + 0x113000, 0, "and its neighbour is gone");
	*pde = 0;
	flush_all();
}

static void reserved(void)
{
	unsigned bits = cpuid(0x80000008, 0).a & 0xff;
	uint64_t *e = pte_of(V, 1), *top = pte_of(V, 4), was = *top;

	if (bits < 52) {
		*e = frame_a | PTE_P | PTE_W | BIT(51);
		load(V);
		faults_with(V, P | RSV,
			    "a physical address too wide: #PF(RSV)");
		store(V, 1);
		faults_with(V, P | RSV | W, "the same, written");
	}
	*e = frame_a | PTE_P | PTE_W | BIT(52) | BIT(58);
	check_eq(load(V), 0xa, "bits 52 to 58 are free");
	*top |= PTE_PS;
	flush_all();
	load(V);
	faults_with(V, P | RSV, "PS in a PML4 entry: #PF(RSV)");
	*top = was;
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~BIT(11));
	*e = frame_a | PTE_P | PTE_W | PTE_NX;
	invlpg(at(V));
	load(V);
	faults_with(V, P | RSV, "NX without EFER.NXE: #PF(RSV)");
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | BIT(11));
	check_eq(load(V), 0xa, "NX with EFER.NXE: data is fine");
	*e = 0;
	invlpg(at(V));
}

/* -- rights (4.6) -----------------------------------------------------------
 */

static void nx_and_user(void)
{
	*at(frame_b) = 0xc3; /* RET */
	map_page(V, frame_b | PTE_P);
	call(V);
	fine("executable");
	map_page(V, frame_b | PTE_P | PTE_NX);
	TRY("movq %%rsp, %%r8; call *%0\n2:\tmovq %%r8, %%rsp", ::"b"(V)
	    : "r8", "memory");
	check(fault.vector == PF && fault.error == (P | I) && fault.cr2 == V &&
		  fault.rip == V,
	      "NX: #PF(P I) at the target");
	map_page(V, frame_b | PTE_P | PTE_U);
	user(u_read, V);
	check_eq(fault.vector, USER_DONE, "CPL 3 reads a user page");
	user(u_exec, V);
	check_eq(fault.vector, USER_DONE, "CPL 3 runs a user page");
	user(u_write, V);
	faults_with(V, P | W | U, "CPL 3 writes a read-only page: #PF(P W U)");
	map_page(V, frame_b | PTE_P | PTE_W);
	user(u_read, V);
	faults_with(V, P | U, "CPL 3 reads a supervisor page: #PF(P U)");
	user(u_write, V);
	faults_with(V, P | W | U, "CPL 3 writes it: #PF(P W U)");
	user(u_exec, V);
	check(fault.vector == PF && fault.error == (P | U | I) &&
		  fault.rip == V,
	      "CPL 3 runs it: #PF(P U I)");
	map_page(V, 0);
	user(u_read, V);
	faults_with(V, U, "CPL 3 reads an absent page: #PF(U)");
	/* U and W of the tables above count too. */
	map_page(V, frame_b | PTE_P | PTE_U | PTE_W);
	*pte_of(V, 3) &= ~PTE_U;
	flush_all();
	user(u_read, V);
	faults_with(V, P | U, "U clear in a table above: #PF(P U)");
	*pte_of(V, 3) |= PTE_U;
	*pte_of(V, 2) &= ~PTE_W;
	flush_all();
	user(u_write, V);
	faults_with(V, P | W | U, "W clear in a table above: #PF(P W U)");
	*pte_of(V, 2) |= PTE_W | PTE_NX;
	flush_all();
	user(u_exec, V);
	check(fault.vector == PF && fault.error == (P | U | I),
	      "NX in a table above: #PF(P U I)");
	*pte_of(V, 2) &= ~PTE_NX;
	flush_all();
}

static void smep_smap(void)
{
	uint64_t gdt_page = 0x200000005000ull;
	struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} r = {sizeof(gdt) - 1, 0},
	  saved = {sizeof(gdt) - 1, (uint64_t)(uintptr_t)gdt};
	uint64_t v;

	if ((cpuid(7, 0).b & (BIT(7) | BIT(20))) != (BIT(7) | BIT(20))) {
		skip("SMEP, SMAP", "CPUID has not both");
		return;
	}
	map_page(V, frame_b | PTE_P | PTE_U | PTE_W);
	call(V);
	fine("without SMEP the supervisor runs user pages");
	WRITE_CR(4, READ_CR(4) | SMEP);
	TRY("movq %%rsp, %%r8; call *%0\n2:\tmovq %%r8, %%rsp", ::"b"(V)
	    : "r8", "memory");
	check(fault.vector == PF && fault.error == (P | I) && fault.rip == V,
	      "SMEP: #PF(P I)");
	user(u_exec, V);
	check_eq(fault.vector, USER_DONE, "SMEP lets CPL 3 run them");
	load(V);
	fine("SMEP is not for data");
	WRITE_CR(4, (READ_CR(4) | SMAP) & ~SMEP);
	load(V);
	faults_with(V, P, "SMAP: a read: #PF(P)");
	store(V, 1);
	faults_with(V, P | W, "SMAP: a write: #PF(P W)");
	TRY("stac; movq $3f, try_at\n3:\tmovq (%1), %0\n\tclac",
	    : "=a"(v)
	    : "b"(V)
	    : "memory");
	fine("SMAP, STAC: a read");
	load(V);
	faults_with(V, P, "SMAP, after CLAC: #PF(P)");
	user(u_read, V);
	check_eq(fault.vector, USER_DONE, "SMAP lets CPL 3 read");
	/* AC at CPL 3 does not help the supervisor: gates do not clear AC,
	   but an access for a descriptor is implicit (4.6.1). */
	user_run(u_read, V, AC_BIT);
	check_eq(fault.vector, USER_DONE, "CPL 3 with AC");
	check((fault.handler_flags & AC_BIT) != 0, "a gate leaves AC");
	__asm__ volatile("clac");
	/* The GDT in a user page: a load of DS at CPL 3 is implicit. */
	for (unsigned n = 0; n < 32; n++)
		at(frame_a)[n] = gdt[n];
	map_page(gdt_page, frame_a | PTE_P | PTE_W | PTE_U);
	r.base = gdt_page;
	{
		static const uint8_t *code;
		USER_CODE(u_load_ds, "movw %di, %es\n int $0x81");

		/* Delivery reads CS' descriptor too: IST to a known place. */
		code = u_load_ds;
		WRITE_CR(4, READ_CR(4) & ~SMAP);
		__asm__ volatile("lgdt %0" ::"m"(r) : "memory");
		user_run(code, SEL_USER_DATA, 0);
		__asm__ volatile("lgdt %0" ::"m"(saved) : "memory");
		check_eq(fault.vector, USER_DONE,
			 "the GDT in a user page, no SMAP");
	}
	*at(frame_a) = 0xa;
	map_page(gdt_page, 0);
	WRITE_CR(4, READ_CR(4) & ~SMAP);
	load(V);
	fine("SMAP off again");
	TRY("stac", ::: "memory");
	fine("STAC without CR4.SMAP is allowed at CPL 0");
	__asm__ volatile("clac");
	{
		USER_CODE(u_stac, "stac");

		user(u_stac, 0);
		check(fault.vector == UD && fault.rip == fault.at,
		      "STAC at CPL 3: #UD");
	}
	map_page(V, 0);
}

/* -- accesses across pages ---------------------------------------------------
 */

static void crossing(void)
{
	uint64_t v, before;

	map_page(V, frame_a | PTE_P | PTE_W);
	map_page(V + 4096, 0);
	*at(frame_a + 4088) = before = 0x1111111111111111;
	store(V + 4092, 0x2222222222222222);
	faults_with(V + 4096, W, "a write to an absent second page");
	check_eq(*at(frame_a + 4088), before, "nothing is written");
	load(V + 4092);
	faults_with(V + 4096, 0, "a read from an absent second page");
	TRY("lock xaddq %0, (%1)",
	    : "=a"(v)
	    : "b"(V + 4092), "0"(1ull)
	    : "memory", "cc");
	faults_with(V + 4096, W, "LOCK XADD to an absent second page");
	check_eq(*at(frame_a + 4088), before, "nothing is written");
	check_eq(v, 1, "and no register");
	TRY("addq $1, (%0)", ::"b"(V + 4092) : "memory", "cc");
	faults_with(V + 4096, W, "ADD to an absent second page");
	map_page(V + 4096, frame_b | PTE_P);
	store(V + 4092, 0x2222222222222222);
	faults_with(V + 4096, P | W, "a write to a read-only second page");
	check_eq(*at(frame_a + 4088), before, "nothing is written");
	TRY("fxsave (%0)", ::"b"(V + 4096 - 256) : "memory");
	faults_with(V + 4096, P | W, "FXSAVE to a read-only second page");
	check_eq(*at(frame_a + 4088), before, "FXSAVE wrote nothing");
	tss.ist[0] = (uint64_t)(uintptr_t)page_alloc() + 4096;
	idt[PF].ist = 1;
	TRY("movq %%rsp, %%r8; movq %0, %%rsp; movq $3f, try_at\n"
	    "3:\tpushq $-1\n2:\tmovq %%r8, %%rsp",
	    ::"b"(V + 4100)
	    : "r8", "memory");
	faults_with(V + 4096, P | W, "PUSH across to a read-only page");
	check_eq(fault.frame.rsp, V + 4100, "RSP stays");
	idt[PF].ist = 0;
	*at(frame_b) = 0x3333333333333333;
	check_eq(load(V + 4092), 0x3333333311111111, "a read across pages");
	map_page(V + 4096, frame_b | PTE_P | PTE_W);
	store(V + 4092, 0x4444444455555555);
	check(*at(frame_a + 4088) == 0x5555555511111111 &&
		  *at(frame_b) == 0x3333333344444444,
	      "a write across pages");
	/* An instruction across pages whose second page is absent. */
	((volatile uint8_t *)(uintptr_t)frame_a)[4094] = 0x48; /* mov rax, */
	((volatile uint8_t *)(uintptr_t)frame_a)[4095] = 0xc7; /* imm32 */
	map_page(V + 4096, 0);
	TRY("movq %%rsp, %%r8; jmp *%0\n2:\tmovq %%r8, %%rsp", ::"b"(V + 4094)
	    : "r8", "memory");
	check(fault.vector == PF && fault.cr2 == V + 4096 && fault.error == I &&
		  fault.rip == V + 4094,
	      "a fetch across to an absent page");
	map_page(V, 0);
	*at(frame_a) = 0xa;
	*at(frame_b) = 0xb;
}

/* -- the TLB (4.10) -----------------------------------------------------------
 */

static void tlb_rules(void)
{
	uint64_t *e = pte_of(V, 1);

	map_page(V, frame_a | PTE_P | PTE_W);
	load(V);
	*e = frame_b | PTE_P | PTE_W;
	flush_all();
	check_eq(load(V), 0xb, "a CR3 load drops what is not global");
	*e = frame_a | PTE_P | PTE_W;
	invlpg(at(V + 0xfff));
	check_eq(load(V), 0xa, "INVLPG takes any byte of the page");
	WRITE_CR(4, READ_CR(4) | PGE);
	*e = frame_a | PTE_P | PTE_W | PTE_G;
	invlpg(at(V));
	load(V);
	*e = frame_b | PTE_P | PTE_W | PTE_G;
	invlpg(at(V));
	check_eq(load(V), 0xb, "INVLPG drops a global page");
	*e = frame_a | PTE_P | PTE_W | PTE_G;
	WRITE_CR(4, READ_CR(4) ^ PGE);
	check_eq(load(V), 0xa, "clearing CR4.PGE drops global pages");
	WRITE_CR(4, READ_CR(4) ^ PGE);
	load(V);
	*e = frame_b | PTE_P | PTE_W | PTE_G;
	WRITE_CR(4, READ_CR(4) ^ PGE);
	WRITE_CR(4, READ_CR(4) ^ PGE);
	check_eq(load(V), 0xb, "and setting it");
	/* Rights that grow need no INVLPG: a fault looks again (4.10.4.3). */
	*e = frame_a | PTE_P;
	invlpg(at(V));
	load(V);
	*e |= PTE_W;
	store(V, 0xa);
	fine("a page that became writable");
	*e = frame_b | PTE_P | PTE_W | PTE_NX;
	invlpg(at(V));
	*at(frame_b) = 0xc3;
	load(V);
	*e &= ~PTE_NX;
	call(V);
	fine("a page that became executable");
	/* A table above changes. */
	{
		uint64_t *pde = pte_of(V, 2), was = *pde;
		uint64_t *other = page_alloc();

		other[V >> 12 & 511] = frame_a | PTE_P | PTE_W;
		load(V);
		*pde = (uint64_t)(uintptr_t)other | PTE_P | PTE_W;
		invlpg(at(V));
		check_eq(load(V), 0xa, "INVLPG drops cached tables too");
		*pde = was;
		flush_all();
	}
	*e = 0;
	invlpg(at(V));
	WRITE_CR(4, READ_CR(4) & ~PGE);
	*at(frame_b) = 0xb;
}

static void invpcid(uint64_t type, uint64_t pcid, uint64_t va)
{
	struct {
		uint64_t pcid, va;
	} d = {pcid, va};

	TRY("invpcid %1, %0", ::"r"(type), "m"(d) : "memory");
}

#define NOFLUSH BIT(63)

static void switch_to(uint64_t pcid, uint64_t noflush)
{
	WRITE_CR(3, (uint64_t)(uintptr_t)pml4 | pcid | noflush);
}

/* What CPL 3 reads at V. */
static uint64_t user_load(void)
{
	return user_run(u_read, V, 0);
}

/* Loads V's translation into PCIDs 1 and 2 as page a, then makes it b. */
static void fill_pcids(uint64_t *e, uint64_t bits)
{
	*e = frame_a | PTE_P | PTE_W | bits;
	invpcid(2, 0, 0);
	switch_to(1, 0);
	load(V);
	user_load();
	switch_to(2, 0);
	load(V);
	user_load();
	*e = frame_b | PTE_P | PTE_W | bits;
}

static void see(uint64_t want, const char *name)
{
	check_eq(load(V), want, name);
	check_eq(user_load(), want, name);
}

static void pcids(void)
{
	uint64_t *e = pte_of(V, 1);

	if (!(cpuid(1, 0).c & BIT(17)) || !(cpuid(7, 0).b & BIT(10))) {
		skip("PCID", "CPUID has not PCID and INVPCID");
		return;
	}
	TRY("movq %0, %%cr3", ::"r"((uint64_t)(uintptr_t)pml4 | NOFLUSH)
	    : "memory");
	fault_is(GP, 0, "CR3 bit 63 without CR4.PCIDE: #GP(0)");
	WRITE_CR(3, (uint64_t)(uintptr_t)pml4 | 8);
	TRY("movq %0, %%cr4", ::"r"(READ_CR(4) | PCIDE) : "memory");
	fault_is(GP, 0, "CR4.PCIDE with a CR3 of low bits: #GP(0)");
	WRITE_CR(3, (uint64_t)(uintptr_t)pml4);
	invpcid(0, 1, V);
	fault_is(GP, 0, "INVPCID of PCID 1 without PCIDE: #GP(0)");
	invpcid(1, 0, 0);
	fine("INVPCID of PCID 0 without PCIDE");
	WRITE_CR(4, READ_CR(4) | PCIDE | PGE);
	check_eq(READ_CR(3), (uintptr_t)pml4, "CR3 after PCIDE");
	switch_to(1, NOFLUSH);
	check_eq(READ_CR(3), (uintptr_t)pml4 | 1, "CR3 bit 63 is not kept");
	*e = 0;
	fill_pcids(e, PTE_U);
	switch_to(1, 0);
	see(0xb, "a CR3 load without bit 63 drops its PCID");
	fill_pcids(e, PTE_U);
	switch_to(2, 0);
	switch_to(1, 0);
	see(0xb, "one PCID, then the other");
	fill_pcids(e, PTE_U);
	invlpg(at(V));
	see(0xb, "INVLPG drops the current PCID's");
	fill_pcids(e, PTE_U);
	invpcid(0, 1, V);
	switch_to(1, NOFLUSH);
	see(0xb, "INVPCID 0: an address of another PCID");
	fill_pcids(e, PTE_U);
	invpcid(0, 2, V);
	see(0xb, "INVPCID 0: an address of this PCID");
	fill_pcids(e, PTE_U);
	invpcid(1, 1, 0);
	switch_to(1, NOFLUSH);
	see(0xb, "INVPCID 1: another PCID");
	fill_pcids(e, PTE_U);
	invpcid(1, 2, 0);
	see(0xb, "INVPCID 1: this PCID");
	fill_pcids(e, PTE_U);
	invpcid(3, 0, 0);
	see(0xb, "INVPCID 3: this PCID");
	switch_to(1, NOFLUSH);
	see(0xb, "INVPCID 3: the other PCID");
	fill_pcids(e, PTE_U | PTE_G);
	invpcid(2, 0, 0);
	see(0xb, "INVPCID 2: global pages, this PCID");
	switch_to(1, NOFLUSH);
	see(0xb, "INVPCID 2: global pages, the other PCID");
	fill_pcids(e, PTE_U | PTE_G);
	invlpg(at(V));
	see(0xb, "INVLPG: a global page, this PCID");
	switch_to(1, NOFLUSH);
	see(0xb, "INVLPG: a global page, the other PCID");
	invpcid(4, 0, 0);
	fault_is(GP, 0, "INVPCID 4: #GP(0)");
	invpcid(0, 0x1000, 0);
	fault_is(GP, 0, "INVPCID: reserved bits: #GP(0)");
	invpcid(0, 1, 0x0000800000000000);
	fault_is(GP, 0, "INVPCID 0: a non-canonical address: #GP(0)");
	/* Two tables under one PCID: INVLPG is by PCID, not by table. */
	{
		static uint64_t other[512] __attribute__((aligned(4096)));

		for (unsigned n = 0; n < 512; n++)
			other[n] = pml4[n];
		*e = frame_a | PTE_P | PTE_W | PTE_U;
		invpcid(2, 0, 0);
		switch_to(3, 0);
		see(0xa, "before");
		WRITE_CR(3, (uint64_t)(uintptr_t)other | 3 | NOFLUSH);
		*e = frame_b | PTE_P | PTE_W | PTE_U;
		invlpg(at(V));
		switch_to(3, NOFLUSH);
		see(0xb, "INVLPG is for the PCID, whatever the table");
	}
	switch_to(0, 0);
	WRITE_CR(4, READ_CR(4) & ~(PCIDE | PGE));
	*e = 0;
	flush_all();
}

/* -- the tables themselves
 * ------------------------------------------------------ */

static void odd_places(void)
{
	uint64_t *e = pte_of(V, 1), *pde = pte_of(V, 2), was = *pde;

	/* A page where nothing is: reads are the process' (all ones). */
	*e = 0xe0000000 | PTE_P | PTE_W;
	check_eq(load(V), ~0ull, "a page of empty memory reads as ones");
	fine("and does not fault");
	/* A table where no RAM is. */
	*pde = 0xe0000000 | PTE_P | PTE_W;
	flush_all();
	load(V);
	check(fault.vector == PF || fault.vector == NO_FAULT,
	      "a page table outside RAM ends in a fault");
	*pde = was;
	*e = 0;
	flush_all();
	TRY("movq %0, %%cr3", ::"r"((uint64_t)(uintptr_t)pml4 | BIT(51))
	    : "memory");
	if ((cpuid(0x80000008, 0).a & 0xff) < 52)
		fault_is(GP, 0, "CR3 above the physical width: #GP(0)");
}

void payload(void)
{
	frame_a = (uint64_t)(uintptr_t)page_alloc();
	frame_b = (uint64_t)(uintptr_t)page_alloc();
	*at(frame_a) = 0xa;
	*at(frame_b) = 0xb;
	part(accessed_dirty);
	part(sizes);
	part(reserved);
	part(nx_and_user);
	part(smep_smap);
	part(crossing);
	part(tlb_rules);
	part(pcids);
	part(odd_places);
}
