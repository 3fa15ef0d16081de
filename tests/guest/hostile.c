// SPDX-License-Identifier: BSD-2-Clause
/*
 * hostile [--steps N] [--cases N] [--seed S] [--case N] [--alone]
 *
 * A guest that runs random bytes, in every mode, from random states, with
 * random descriptor and page tables, ports, MSRs and device registers in
 * reach, until N instructions have retired, or so many cases are over. Nothing
 * is expected of the guest; the room must neither die nor hang, nor touch what
 * is not the guest's (run it under ASan and UBSan, too). --alone steps by MTRAP
 * and so repeats exactly; --case runs just that one.
 */
#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <vmmapi.h>

#define COUNT(a)  (sizeof(a) / sizeof((a)[0]))
#define MEMORY    (16u << 20)
#define PAGE      4096u
#define GDT       0x1000u
#define IDT       0x2000u /* 256 entries of 16 bytes; the IVT is at 0 */
#define TSS       0x3000u
#define TSS2      0x5000u
#define TABLES    0x6000u /* paging: 8 pages */
#define CODE      0x10000u
#define CODE_END  0x30000u
#define DATA      0x30000u
#define DATA_END  0xa0000u
#define HANG_S    20
#define CASE_MOST 400 /* steps and exits of one case */

/* -- random -------------------------------------------------------------- */

static uint64_t rng;

static uint64_t next(void)
{
	uint64_t z = rng += 0x9e3779b97f4a7c15u; /* splitmix64 */

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

static uint32_t below(uint32_t bound)
{
	return (uint32_t)(next() >> 33) % bound;
}

static bool one_in(uint32_t n)
{
	return below(n) == 0;
}

/* A value that instructions do something with. */
static uint64_t value(void)
{
	static const uint64_t devices[] = {0xfee00000, 0xfec00000, 0xfed00000,
					   0xe0000000, 0xd0000000, 0xfffffff0};

	switch (below(9)) {
	case 0:
		return below(256);
	case 1:
		return CODE + below(CODE_END - CODE);
	case 2:
	case 3:
		return DATA + below(DATA_END - DATA);
	case 4:
		return devices[below(COUNT(devices))] + below(0x1000);
	case 5:
		return below(0x7000);
	case 6:
		return 0 - (uint64_t)below(0x10000);
	case 7:
		return 1ull << below(64);
	default:
		return next();
	}
}

static uint32_t msr_number(void)
{
	static const uint32_t base[] = {
	    0x0,        0x10,       0x1b,       0x48,       0x174,
	    0x179,      0x1a0,      0x200,      0x250,      0x277,
	    0x2ff,      0x3a,       0x6e0,      0x800,      0xda0,
	    0x40000000, 0xc0000080, 0xc0000100, 0xc0010000, 0xc0010114};

	return base[below(COUNT(base))] + below(one_in(4) ? 0x40 : 8);
}

/* -- code ------------------------------------------------------------------ */

struct code {
	uint8_t *p, *end;
};

static void put(struct code *c, uint64_t bytes, unsigned count)
{
	for (; count > 0 && c->p < c->end; count--, bytes >>= 8)
		*c->p++ = (uint8_t)bytes;
}

/* Instructions that random bytes seldom are. */
static void put_special(struct code *c)
{
	static const struct {
		uint32_t bytes;
		uint8_t count, modrm; /* a random ModRM follows */
	} list[] = {
	    {0x300f, 2, 0},     {0x320f, 2, 0},   {0x220f, 2, 1},
	    {0x200f, 2, 1},     {0x230f, 2, 1},   {0x210f, 2, 1},
	    {0x010f, 2, 1},     {0x000f, 2, 1},   {0xcf, 1, 0},
	    {0xcf48, 2, 0},     {0xcb, 1, 0},     {0xff, 1, 1},
	    {0x8e, 1, 1},       {0x8c, 1, 1},     {0xee, 1, 0},
	    {0xef, 1, 0},       {0xec, 1, 0},     {0xed, 1, 0},
	    {0x6ef3, 2, 0},     {0x6cf3, 2, 0},   {0x6ff3, 2, 0},
	    {0xa4f3, 2, 0},     {0xa548f3, 3, 0}, {0xaaf3, 2, 0},
	    {0xa6f3, 2, 0},     {0xaef2, 2, 0},   {0x050f, 2, 0},
	    {0x070f, 2, 0},     {0x340f, 2, 0},   {0x350f, 2, 0},
	    {0xae0f, 2, 1},     {0xc70f, 2, 1},   {0xb10f, 2, 1},
	    {0xb10ff0, 3, 1},   {0xc10ff0, 3, 1}, {0x87, 1, 1},
	    {0x9d, 1, 0},       {0x9c, 1, 0},     {0xfb, 1, 0},
	    {0xc8, 1, 0},       {0xc9, 1, 0},     {0x62, 1, 1},
	    {0xc4, 1, 1},       {0xc5, 1, 1},     {0xa20f, 2, 0},
	    {0x82380f66, 4, 1}, {0xd9, 1, 1},     {0xdb, 1, 1},
	    {0xdd, 1, 1},       {0xdf, 1, 1},     {0x100f, 2, 1},
	    {0x6f0f66, 3, 1},   {0x7f0f66, 3, 1}, {0xd00f, 2, 1},
	    {0x1b0f, 2, 1},     {0xf1, 1, 0},     {0xcc, 1, 0},
	    {0xe7ae0f, 3, 0},   {0xd1010f, 3, 0}, {0xf8010f, 3, 0},
	    {0xcb010f, 3, 0},   {0xca010f, 3, 0}, {0x020f, 2, 1},
	    {0x030f, 2, 1},     {0xb20f, 2, 1},   {0x63, 1, 1},
	    {0xf7380f66, 4, 1}, {0x9b, 1, 0},     {0x77f80f, 2, 0},
	};
	unsigned n = below(COUNT(list));

	if (one_in(6))
		put(c, 0x40 | below(16), 1);
	put(c, list[n].bytes, list[n].count);
	if (list[n].modrm)
		put(c, next(), 1 + below(5));
}

static void put_instruction(struct code *c)
{
	static const uint8_t prefix[] = {0x66, 0x67, 0xf0, 0xf2, 0xf3, 0x2e,
					 0x36, 0x3e, 0x26, 0x64, 0x65, 0x48};

	if (one_in(8))
		put(c, prefix[below(COUNT(prefix))], 1);
	switch (below(12)) {
	case 0: /* mov ecx, MSR; rdmsr or wrmsr */
		put(c, 0xb9, 1);
		put(c, msr_number(), 4);
		put(c, one_in(2) ? 0x300f : 0x320f, 2);
		break;
	case 1: /* mov r, value; in 64-bit code perhaps all of it */
		if (one_in(2))
			put(c, 0x48, 1);
		put(c, 0xb8 | below(8), 1);
		put(c, value(), one_in(2) ? 8 : 4);
		break;
	case 2: /* a store to a device or a table */
		put(c, 0xa3 - below(4), 1);
		put(c, value(), 4);
		break;
	case 3: /* a far JMP or CALL */
		put(c, one_in(2) ? 0xea : 0x9a, 1);
		put(c, CODE + below(0x8000), one_in(2) ? 4 : 2);
		put(c, below(0x80), 2);
		break;
	case 4: /* mov r16, selector; mov sreg, r16 */
		put(c, 0xb866, 2);
		put(c, below(0x100), 2);
		put(c, 0xc08e | below(8) << 11, 2);
		break;
	case 5: /* a branch, near by */
		put(c, 0x70 | below(16), 1);
		put(c, next(), 1);
		break;
	case 6: /* an opcode of two bytes */
		put(c, 0x0f, 1);
		put(c, next(), 1 + below(6));
		break;
	case 7:
	case 8:
	case 9:
		put_special(c);
		break;
	default:
		put(c, next(), 1 + below(7));
		break;
	}
}

static void make_code(uint8_t *ram, uint32_t from, uint32_t len)
{
	struct code c = {ram + from, ram + from + len};

	while (c.p < c.end)
		put_instruction(&c);
}

/* -- tables ------------------------------------------------------------------
 */

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t attr)
{
	return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(attr & 0xf0ff) << 40 |
	       (uint64_t)(limit >> 16 & 15) << 48 |
	       (uint64_t)(base >> 24) << 56;
}

static void make_gdt(uint64_t *gdt)
{
	static const uint16_t kind[] = {0xa09b, 0xc09b, 0x009b, 0xc093, 0x0093,
					0xa0fb, 0xc0fb, 0xc0f3, 0xc097, 0xc09f,
					0x0089, 0x0081, 0x0082, 0xc09b};

	gdt[0] = 0;
	for (unsigned n = 1; n < 64; n++) {
		uint16_t attr = kind[n % COUNT(kind)];
		bool system = !(attr & 0x10);
		uint32_t base = system ? n % 2 ? TSS : TSS2 : 0;

		if (one_in(12)) {
			gdt[n] = next();
			continue;
		}
		if (one_in(10)) /* a gate */
			gdt[n] = (value() & 0xffff) | below(0x80) << 16 |
				 (uint64_t)(0x84 + below(12)) << 40 |
				 (uint64_t)below(32) << 32 |
				 (uint64_t)below(4) << 45;
		else
			gdt[n] =
			    descriptor(one_in(8) ? (uint32_t)value() : base,
				       system      ? 0x67 + below(0x2000)
				       : one_in(8) ? below(0x20000)
						   : 0xfffff,
				       attr);
		if (system && one_in(2) && n < 63)
			gdt[++n] = 0; /* the upper half, in long mode */
	}
}

static void make_idt(uint8_t *idt, bool is_long)
{
	for (unsigned n = 0; n < 256; n++) {
		uint64_t at = CODE + below(CODE_END - CODE), type = 0x8e;
		uint64_t gate;

		if (one_in(6))
			type = 0x80 | below(128);
		gate = (at & 0xffff) | (is_long ? 1u : 2u) * 8 << 16 |
		       type << 40 | (at >> 16) << 48;
		if (one_in(16))
			gate = next();
		memcpy(idt + n * (is_long ? 16 : 8), &gate, 8);
		if (is_long)
			memset(idt + n * 16 + 8, 0, 8);
	}
}

static void make_tss(uint8_t *tss)
{
	for (unsigned n = 0; n < 0x2000; n += 4) {
		uint32_t v = one_in(2) ? DATA + below(0x8000) : below(0x80);

		memcpy(tss + n, &v, 4);
	}
}

/* Identity for 4 GiB; some entries of the low 2 MiB are strange. */
static uint64_t make_paging(uint8_t *ram, unsigned kind)
{
	uint64_t *t = (uint64_t *)(void *)(ram + TABLES);
	uint32_t *d = (uint32_t *)(void *)t;

	memset(t, 0, 8 * PAGE);
	if (kind == 0) { /* 32-bit, 4 MiB pages */
		for (unsigned n = 0; n < 1024; n++)
			d[n] = n << 22 | 0x87;
		d[0] = (TABLES + PAGE) | 7;
		for (unsigned n = 0; n < 1024; n++)
			d[1024 + n] =
			    n << 12 | (one_in(40) ? below(0x1000) : 7);
		return TABLES;
	}
	t[0] = (TABLES + PAGE) | (kind == 2 ? 7 : 1); /* PML4, or PDPT */
	for (unsigned n = 0; n < 4; n++) {
		uint64_t pd = TABLES + (2 + n) * PAGE;

		t[512 + n] = pd | (kind == 2 ? 7 : 1);
		if (kind == 1)
			t[n] = pd | 1;
		for (unsigned k = 0; k < 512; k++)
			t[(2 + n) * 512 + k] =
			    (uint64_t)(n * 512 + k) << 21 | 0x87;
	}
	t[2 * 512] = (TABLES + 6 * PAGE) | 7;
	for (unsigned k = 0; k < 512; k++)
		t[6 * 512 + k] = (uint64_t)k << 12 |
				 (one_in(40) ? next() & 0xffe0000000000fff : 7);
	return TABLES;
}

/* -- states -------------------------------------------------------------------
 */

enum mode {
	REAL,
	UNREAL,
	V86,
	PM16,
	PM32,
	PAGED,
	PAE,
	COMPAT,
	LONG,
	WILD,
	MODES
};

struct machine {
	char rundir[64];
	struct vmctx *ctx;
	struct vcpu *vcpu;
	uint8_t *ram;
	uint64_t steps;
	volatile uint64_t number; /* of the case */
	volatile bool running, over;
	volatile unsigned idle_s; /* the case has run for */
	uint64_t seed;
	bool alone;
	unsigned suspends;
};

static void set(struct machine *m, int reg, uint64_t v)
{
	/* A state that cannot be is refused, which is as good. */
	(void)vm_set_register(m->vcpu, reg, v);
}

static void set_segment(struct machine *m, int reg, uint16_t selector,
			uint64_t base, uint32_t limit, uint32_t access)
{
	(void)vm_set_desc(m->vcpu, reg, base, limit, access);
	set(m, reg, selector);
}

static void set_segments(struct machine *m, enum mode mode, unsigned cpl)
{
	static const int data[] = {VM_REG_GUEST_DS, VM_REG_GUEST_ES,
				   VM_REG_GUEST_SS, VM_REG_GUEST_FS,
				   VM_REG_GUEST_GS};
	bool real = mode == REAL || mode == UNREAL || mode == V86;
	uint32_t dpl = (mode == V86 ? 3 : cpl) << 5;
	uint32_t limit = real && mode != UNREAL ? 0xffff : 0xffffffff;
	uint32_t code = mode == LONG           ? 0xa09b
			: mode == PM16 || real ? 0x009b
					       : 0xc09b;

	if (mode == V86)
		code = 0x0093;
	set_segment(m, VM_REG_GUEST_CS, real ? CODE >> 4 : 8 | cpl,
		    real ? CODE : 0, real ? 0xffff : 0xffffffff, code | dpl);
	for (unsigned n = 0; n < COUNT(data); n++)
		set_segment(m, data[n], real ? DATA >> 4 : 0x20 | cpl,
			    real ? DATA : 0, limit,
			    (mode == PM16 || real ? 0x0093 : 0xc093) | dpl);
	set_segment(m, VM_REG_GUEST_TR, 0x50, TSS, 0x2067, 0x8b);
	set_segment(m, VM_REG_GUEST_LDTR, 0x60, GDT, 0x1ff, 0x82);
	(void)vm_set_desc(m->vcpu, VM_REG_GUEST_GDTR, GDT, 0x1ff, 0);
	(void)vm_set_desc(m->vcpu, VM_REG_GUEST_IDTR, real ? 0 : IDT,
			  real ? 0x3ff : 0xfff, 0);
}

static void set_general(struct machine *m, enum mode mode)
{
	static const int gpr[] = {
	    VM_REG_GUEST_RAX, VM_REG_GUEST_RBX, VM_REG_GUEST_RCX,
	    VM_REG_GUEST_RDX, VM_REG_GUEST_RSI, VM_REG_GUEST_RDI,
	    VM_REG_GUEST_RBP, VM_REG_GUEST_R8,  VM_REG_GUEST_R9,
	    VM_REG_GUEST_R10, VM_REG_GUEST_R11, VM_REG_GUEST_R12,
	    VM_REG_GUEST_R13, VM_REG_GUEST_R14, VM_REG_GUEST_R15};
	bool real = mode == REAL || mode == UNREAL || mode == V86;
	uint32_t at = below(CODE_END - CODE - 0x1000);

	for (unsigned n = 0; n < COUNT(gpr); n++)
		set(m, gpr[n], value());
	set(m, VM_REG_GUEST_RSP,
	    real ? below(0x10000) & ~1u : DATA + 0x1000 + below(0x8000));
	set(m, VM_REG_GUEST_RIP,
	    real || mode == PM16 ? at & 0xffff : CODE + at);
	for (unsigned n = 0; n < 4; n++)
		set(m, VM_REG_GUEST_DR0 + (int)n, value());
	set(m, VM_REG_GUEST_DR7, one_in(4) ? next() & 0xffff03ff : 0x400);
}

/* Control registers as they go together, or anything. */
static void set_control(struct machine *m, enum mode mode)
{
	uint64_t cr0 = 0x10, cr4 = next() & 0x10600, efer = 0, flags = 2;
	bool paged = mode >= PAGED && mode != WILD;

	if (mode != REAL && mode != UNREAL)
		cr0 |= 0x21;
	if (paged)
		cr0 |= 0x80000000 | (next() & 0x50000);
	if (mode == PAGED)
		cr4 |= 0x10;
	if (mode == PAE || mode == COMPAT || mode == LONG)
		cr4 |= 0x20 | (next() & 0x80);
	if (mode == COMPAT || mode == LONG)
		efer = 0x501 | (one_in(2) ? 0x800 : 0);
	flags |= next() & 0x44cd5;
	flags |= one_in(8) ? 0x100 : 0;
	flags |= one_in(2) ? 0x200 : 0;
	flags |= below(4) << 12;
	if (mode == V86)
		flags |= 0x20000;
	if (mode == WILD) {
		cr0 = next();
		cr4 = next() & 0xffffff;
		efer = next() & 0xfff;
		flags = next() & 0x3fffff;
	}
	if (mode == PAGED || mode == PAE || mode == COMPAT || mode == LONG)
		set(m, VM_REG_GUEST_CR3,
		    make_paging(m->ram, mode == PAGED ? 0
					: mode == PAE ? 1
						      : 2));
	if (mode == PAE)
		for (unsigned n = 0; n < 4; n++)
			set(m, VM_REG_GUEST_PDPTE0 + (int)n,
			    (TABLES + (2 + n) * PAGE) | 1);
	{
		int reg[] = {VM_REG_GUEST_EFER, VM_REG_GUEST_CR4,
			     VM_REG_GUEST_CR0, VM_REG_GUEST_RFLAGS};
		uint64_t v[] = {efer, cr4, cr0, flags};

		(void)vm_set_register_set(m->vcpu, 4, reg, v);
	}
}

static void set_state(struct machine *m, enum mode mode)
{
	unsigned cpl = mode == V86 ? 3 : one_in(3) && mode > V86 ? 3 : 0;
	uint32_t at = CODE + (below(CODE_END - CODE) & ~(PAGE - 1));

	if (vcpu_reset(m->vcpu) != 0)
		return;
	(void)vm_mem_write_begin(m->ctx, 0, CODE_END);
	for (unsigned n = 0; n < 256; n++) {
		uint16_t entry[2] = {(uint16_t)below(0x10000), CODE >> 4};

		memcpy(m->ram + 4 * n, entry, 4);
	}
	make_gdt((uint64_t *)(void *)(m->ram + GDT));
	make_idt(m->ram + IDT, mode == LONG || mode == COMPAT);
	make_tss(m->ram + TSS);
	make_code(m->ram, at, PAGE);
	set_control(m, mode);
	vm_mem_write_end(m->ctx, 0, CODE_END);
	set_segments(m, mode, cpl);
	set_general(m, mode);
	(void)vm_set_capability(m->vcpu, VM_CAP_HALT_EXIT, 1);
	(void)vm_set_capability(m->vcpu, VM_CAP_PAUSE_EXIT, one_in(8));
	(void)vm_set_capability(m->vcpu, VM_CAP_BPT_EXIT, one_in(8));
	(void)vm_set_capability(m->vcpu, VM_CAP_MTRAP_EXIT,
				m->alone || one_in(4));
}

/* -- running -----------------------------------------------------------------
 */

static void answer(struct machine *m, struct vm_exit *exit)
{
	switch (exit->exitcode) {
	case VM_EXITCODE_INOUT:
		exit->u.inout.eax = (uint32_t)next();
		break;
	case VM_EXITCODE_INST_EMUL:
		exit->u.inst_emul.data = next();
		break;
	case VM_EXITCODE_RDMSR:
	case VM_EXITCODE_WRMSR:
		exit->u.msr.wval = next();
		if (one_in(2))
			(void)vm_inject_exception(m->vcpu, 13, 1, 0, 1);
		break;
	case VM_EXITCODE_BPT:
		(void)vm_inject_exception(m->vcpu, 3, 0, 0, 0);
		break;
	default:
		break;
	}
	if (one_in(64))
		(void)vm_inject_nmi(m->vcpu);
	if (one_in(32))
		(void)vm_lapic_irq(m->vcpu, 16 + (int)below(240));
}

/* false: the VM must be set up again. */
static bool run_case(struct machine *m)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_BOGUS};
	struct vm_run run = {.vm_exit = &exit};

	for (unsigned n = 0; n < CASE_MOST; n++) {
		if (vm_run(m->vcpu, &run) != 0)
			return false;
		switch (exit.exitcode) {
		case VM_EXITCODE_SUSPENDED:
			m->suspends++;
			return false;
		case VM_EXITCODE_REQIDLE: /* its time is over, or it sleeps */
		case VM_EXITCODE_HLT:
		case VM_EXITCODE_PAGING:
		case VM_EXITCODE_DEBUG:
			return true;
		default:
			answer(m, &exit);
			break;
		}
	}
	return true;
}

static void *watch(void *arg)
{
	struct machine *m = arg;
	uint64_t seen = 0, rip;
	unsigned ticks = 0;

	while (!m->over) {
		usleep(2000);
		ticks = m->number == seen ? ticks + 1 : 0;
		seen = m->number;
		if (ticks > HANG_S * 500) {
			printf("not ok 1 - case %" PRIu64 " of seed %" PRIu64
			       " hangs\n1..1\n",
			       seen, m->seed);
			fflush(stdout);
			abort();
		}
		/* A call of the door brings the vCPU out of vm_run. */
		if (!m->alone || ticks > 15)
			(void)vm_get_register(m->vcpu, VM_REG_GUEST_RIP, &rip);
	}
	return NULL;
}

/* Where it was, for --seed and --case. */
static struct machine *crashed;

static void on_crash(int number)
{
	char text[128];
	int len = snprintf(text, sizeof(text),
			   "not ok 1 - signal %d in case %" PRIu64
			   " of seed %" PRIu64 "\n1..1\n",
			   number, crashed->number, crashed->seed);

	(void)!write(1, text, (size_t)len);
	signal(number, SIG_DFL);
	raise(number);
}

/* -- set-up
 * --------------------------------------------------------------------- */

static int make_vm(struct machine *m)
{
	strcpy(m->rundir, "/tmp/hostile.XXXXXX");
	if (mkdtemp(m->rundir) == NULL ||
	    vm_set_option("rundir", m->rundir) != 0 ||
	    vm_set_option("engine", "soft") != 0 || vm_create("t") != 0 ||
	    (m->ctx = vm_open("t")) == NULL ||
	    vm_setup_memory(m->ctx, MEMORY, VM_MMAP_ALL) != 0)
		return -1;
	m->vcpu = vm_vcpu_open(m->ctx, 0);
	m->ram = vm_map_gpa(m->ctx, 0, MEMORY);
	return m->vcpu == NULL || m->ram == NULL || vm_activate_cpu(m->vcpu);
}

static int start_over(struct machine *m)
{
	if (vm_reinit(m->ctx) != 0)
		return -1;
	m->ram = vm_map_gpa(m->ctx, 0, MEMORY);
	if (m->ram == NULL || vm_activate_cpu(m->vcpu) != 0)
		return -1;
	make_code(m->ram, CODE, CODE_END - CODE);
	make_code(m->ram, DATA, DATA_END - DATA);
	vm_mem_dirty(m->ctx, CODE, DATA_END - CODE);
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type,
		      struct FTW *ftw)
{
	return remove(path);
}

static uint64_t retired(struct machine *m)
{
	int count = 0;
	const uint64_t *stats = vm_get_stats(m->vcpu, NULL, &count);

	for (int n = 0; stats != NULL && n < count; n++)
		if (strcmp(vm_get_stat_desc(m->ctx, n),
			   "instructions retired") == 0)
			return stats[n];
	return 0;
}

/* The case's own random numbers: it can be run by itself. */
static void one_case(struct machine *m, uint64_t number)
{
	uint64_t before;

	rng = m->seed * 0x2545f4914f6cdd1du + number;
	m->number = number;
	if (number % 64 == 0 && start_over(m) != 0)
		return;
	before = retired(m);
	set_state(m, (enum mode)below(MODES));
	if (!run_case(m))
		(void)start_over(m);
	before = retired(m) - before;
	m->steps += before < UINT32_MAX ? before : 0;
}

int main(int argc, char **argv)
{
	static struct machine m = {.seed = 1};
	uint64_t steps = UINT64_MAX, cases = 2000, only = 0;
	pthread_t thread;

	for (int n = 1; n < argc; n++) {
		if (strcmp(argv[n], "--alone") == 0)
			m.alone = true;
		else if (strcmp(argv[n], "--steps") == 0 && n + 1 < argc)
			steps = strtoull(argv[++n], NULL, 0);
		else if (strcmp(argv[n], "--cases") == 0 && n + 1 < argc)
			cases = strtoull(argv[++n], NULL, 0);
		else if (strcmp(argv[n], "--seed") == 0 && n + 1 < argc)
			m.seed = strtoull(argv[++n], NULL, 0);
		else if (strcmp(argv[n], "--case") == 0 && n + 1 < argc)
			only = strtoull(argv[++n], NULL, 0);
	}
	if (make_vm(&m) != 0 || start_over(&m) != 0) {
		printf("Bail out! %s\n", vm_error_text());
		return 1;
	}
	crashed = &m;
	signal(SIGABRT, on_crash);
	signal(SIGSEGV, on_crash);
	signal(SIGILL, on_crash);
	signal(SIGFPE, on_crash);
	if (pthread_create(&thread, NULL, watch, &m) != 0)
		return 1;
	if (only != 0)
		one_case(&m, only);
	for (uint64_t n = 1; only == 0 && n <= cases && m.steps < steps; n++)
		one_case(&m, n);
	m.over = true;
	pthread_join(thread, NULL);
	printf("# count: %" PRIu64 " random instructions, %" PRIu64
	       " cases, seed %" PRIu64 "\n",
	       m.steps, m.number, m.seed);
	printf("ok 1 - %" PRIu64 " random instructions, %" PRIu64
	       " cases, %u stops, seed %" PRIu64 "\n1..1\n",
	       m.steps, m.number, m.suspends, m.seed);
	vm_vcpu_close(m.vcpu);
	vm_destroy(m.ctx);
	nftw(m.rundir, remove_one, 8, FTW_DEPTH | FTW_PHYS);
	return 0;
}
