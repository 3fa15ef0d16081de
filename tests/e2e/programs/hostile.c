// SPDX-License-Identifier: BSD-2-Clause
/*
 * A kernel that means harm: it writes random values to every port, MSR, PCI
 * register, device register, interrupt message, descriptor table and virtqueue
 * that it can find, one a step. Its command line is seed=N; com2 says how far
 * it is. Two CPUs do so at once when there are two.
 *
 * What would end the VM by the rules, it leaves out: resets, power-off, an
 * INIT of its own CPUs. A step that faults or is interrupted is over; what a
 * handler finds on its stack it does not even look at.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REPORT_STEPS 100000u
#define COM2         0x2f8
#define ECAM         0xe0000000u
#define LAPIC        0xfee00000u
#define IOAPIC       0xfec00000u
#define HPET         0xfed00000u
#define TESTDEV      0xff000000u
#define BARS         0xc0000000u
/* Memory that devices may be sent to. The kernel itself is at 16 MiB. */
#define ARENA        0x2000000u
#define ARENA_SIZE   0x1000000u
#define COUNT(a)     (sizeof(a) / sizeof((a)[0]))

struct gate {
	uint16_t offset_low, selector;
	uint8_t ist, attr;
	uint16_t offset_mid;
	uint32_t offset_high, zero;
};

static struct gate idt[256] __attribute__((aligned(16)));
static struct {
	uint16_t limit;
	uint64_t base;
} __attribute__((packed)) idtr;
static uint8_t wrap[2];
static uint16_t avail[2];
static bool packed[2];

/* Two CPUs at most, each with a stack by which it knows itself. */
static struct cpu {
	uint64_t seed;
	volatile uint64_t steps;
} cpus[2];

void run(const uint8_t *params);
void run_second(void);
void next_step(void);

/*
 * trap, from a handler: whatever it was, back to a clean stack, which is found
 * by the APIC's number. By IRET, for an NMI may have come.
 *
 * second: where the other CPU starts, in real mode, once it is copied to
 * SECOND_AT.
 */
#define STACK_SIZE 16384
#define SECOND_AT  0x30000
#define TEXT(x)    #x
#define VALUE(x)   TEXT(x)
__asm__(
    ".pushsection .text\n"
    ".set AT, " VALUE(
	SECOND_AT) "\n"
		   ".globl _start, trap, second, second_end\n"
		   "_start:\n"
		   "	lea stack_top(%rip), %rsp\n"
		   "	mov %rsi, %rdi\n"
		   "	call run\n"
		   "trap:\n"
		   "	cld\n"
		   "	mov $1, %eax\n"
		   "	cpuid\n"
		   "	shr $24, %ebx\n"
		   "	and $1, %ebx\n"
		   "	imul $" VALUE(
		       STACK_SIZE) ", %rbx\n"
				   "	mov $stack_top - 64, %rcx\n"
				   "	sub %rbx, %rcx\n"
				   "	mov %rcx, %rsp\n"
				   "	pushq $0x18\n"
				   "	push %rcx\n"
				   "	pushq $2\n"
				   "	pushq $0x10\n"
				   "	pushq $next_step\n"
				   "	iretq\n"
				   "	.code16\n"
				   "second:\n"
				   "	cli\n"
				   "	mov %cs, %ax\n"
				   "	mov %ax, %ds\n"
				   "	lgdtl second_gdtr - second\n"
				   "	mov $0x20, %eax\n" /* CR4.PAE */
				   "	mov %eax, %cr4\n"
				   "	mov $0x4000, %eax\n" /* the loader's
								page tables */
				   "	mov %eax, %cr3\n"
				   "	mov $0xc0000080, %ecx\n"
				   "	rdmsr\n"
				   "	or $0x100, %eax\n" /* EFER.LME */
				   "	wrmsr\n"
				   "	mov %cr0, %eax\n"
				   "	or $0x80000001, %eax\n" /* CR0.PG, PE */
				   "	mov %eax, %cr0\n"
				   "	ljmpl $0x10, $(AT + second_64 - "
				   "second)\n"
				   "	.code64\n"
				   "second_64:\n"
				   "	mov $0x18, %eax\n"
				   "	mov %eax, %ds\n"
				   "	mov %eax, %es\n"
				   "	mov %eax, %ss\n"
				   "	mov $stack_top - " VALUE(
				       STACK_SIZE) ", %rsp\n"
						   "	mov $run_second, %rax\n"
						   "	call *%rax\n"
						   "	.balign 8\n"
						   "second_gdt:\n"
						   "	.quad 0, 0, "
						   "0x00af9b000000ffff, "
						   "0x00cf93000000ffff\n"
						   "second_gdtr:\n"
						   "	.word 31\n"
						   "	.long AT + second_gdt "
						   "- second\n"
						   "second_end:\n"
						   ".popsection\n"
						   ".pushsection .bss\n"
						   "	.balign 16\n"
						   "	.skip 2 * " VALUE(
						       STACK_SIZE) "\n"
								   "	.globl "
								   "stack_top\n"
								   "stack_top:"
								   "\n"
								   ".popsection"
								   "\n");
void trap(void);
extern const uint8_t second[], second_end[];
extern uint8_t stack_top[];

static struct cpu *self(void)
{
	uint64_t rsp;

	__asm__ volatile("mov %%rsp, %0" : "=r"(rsp));
	return &cpus[rsp < (uint64_t)stack_top - STACK_SIZE];
}

/* -- instructions ---------------------------------------------------------- */

static void port_out(uint16_t port, unsigned int bytes, uint32_t v)
{
	if (bytes == 1)
		__asm__ volatile("outb %b0, %1" ::"a"(v), "Nd"(port));
	else if (bytes == 2)
		__asm__ volatile("outw %w0, %1" ::"a"(v), "Nd"(port));
	else
		__asm__ volatile("outl %0, %1" ::"a"(v), "Nd"(port));
}

static uint32_t port_in(uint16_t port, unsigned int bytes)
{
	uint32_t v = 0;

	if (bytes == 1)
		__asm__ volatile("inb %1, %b0" : "+a"(v) : "Nd"(port));
	else if (bytes == 2)
		__asm__ volatile("inw %1, %w0" : "+a"(v) : "Nd"(port));
	else
		__asm__ volatile("inl %1, %0" : "+a"(v) : "Nd"(port));
	return v;
}

static void store(uint64_t gpa, unsigned int bytes, uint64_t v)
{
	if (bytes == 1)
		*(volatile uint8_t *)gpa = (uint8_t)v;
	else if (bytes == 2)
		*(volatile uint16_t *)gpa = (uint16_t)v;
	else if (bytes == 4)
		*(volatile uint32_t *)gpa = (uint32_t)v;
	else
		*(volatile uint64_t *)gpa = v;
}

static uint64_t load(uint64_t gpa, unsigned int bytes)
{
	if (bytes == 1)
		return *(volatile uint8_t *)gpa;
	if (bytes == 2)
		return *(volatile uint16_t *)gpa;
	if (bytes == 4)
		return *(volatile uint32_t *)gpa;
	return *(volatile uint64_t *)gpa;
}

/* -- chance ---------------------------------------------------------------- */

static uint64_t random(void)
{
	struct cpu *cpu = self();

	cpu->seed ^= cpu->seed << 13;
	cpu->seed ^= cpu->seed >> 7;
	cpu->seed ^= cpu->seed << 17;
	return cpu->seed * 0x2545f4914f6cdd1dull;
}

static uint32_t below(uint32_t limit)
{
	return (uint32_t)(random() >> 33) % limit;
}

/* Numbers that programs forget. */
static uint64_t value(void)
{
	switch (below(8)) {
	case 0:
		return 0;
	case 1:
		return ~0ull;
	case 2:
		return 1ull << below(64);
	case 3:
		return ~(1ull << below(64));
	case 4:
		return ARENA + below(ARENA_SIZE);
	case 5:
		return below(256);
	default:
		return random();
	}
}

static unsigned int width(unsigned int log2_max)
{
	return 1u << below(log2_max + 1);
}

/* -- ports ----------------------------------------------------------------- */

static bool overlaps(uint32_t port, unsigned int bytes, uint32_t first,
		     uint32_t last)
{
	return port <= last && port + bytes > first;
}

/* Nothing here may end the VM, or disturb the reports. */
static void write_port(uint16_t port, unsigned int bytes, uint32_t v)
{
	if (overlaps(port, bytes, COM2, COM2 + 7) ||
	    overlaps(port, bytes, 0xf4, 0xf7))
		return;
	if (overlaps(port, bytes, 0x60, 0x64) ||
	    overlaps(port, bytes, 0x92, 0x92) ||
	    overlaps(port, bytes, 0xcf9, 0xcf9) ||
	    overlaps(port, bytes, 0x404, 0x405))
		bytes = 1;
	if (port == 0x64 && ((v & 0xf0) == 0xf0 || (v & 0xff) == 0xd1))
		return;
	if (port == 0x92)
		v &= ~1u;
	if (port == 0xcf9)
		v &= ~4u;
	if (port == 0x405)
		v &= ~0x20u;
	port_out(port, bytes, v);
}

static void step_ports(void)
{
	static const uint16_t known[] = {
	    0x20,  0x21,  0xa0,  0xa1,  0x40,  0x43,   0x60,   0x61,   0x64,
	    0x70,  0x71,  0x72,  0x80,  0x92,  0xb2,   0xe0,   0x3f8,  0x3f9,
	    0x3fc, 0x400, 0x404, 0x408, 0x40c, 0x4d0,  0x4d1,  0xcf8,  0xcf9,
	    0xcfc, 0xcfe, 0x510, 0x511, 0x604, 0x2000, 0x2010, 0x2100, 0x2104};
	uint32_t near = known[below(COUNT(known))] + below(4);
	uint16_t port = (uint16_t)(below(8) == 0 ? random() : near);
	unsigned int bytes = width(2);

	if (below(3) == 0)
		(void)port_in(port, bytes);
	else
		write_port(port, bytes, (uint32_t)value());
}

/* -- PCI ------------------------------------------------------------------- */

static uint64_t function_at(void)
{
	static const uint8_t slots[] = {0, 2, 3, 4, 31};

	return ECAM + ((uint64_t)slots[below(COUNT(slots))] << 15);
}

static void step_config(void)
{
	uint64_t at = function_at() + below(below(4) ? 0xc0 : 0x1000);
	unsigned int bytes = width(2);
	uint32_t v = (uint32_t)value();

	if (below(2) == 0) {
		port_out(0xcf8, 4,
			 0x80000000u | (uint32_t)((at - ECAM) >> 12) << 8 |
			     (at & 0xfc));
		port_out(0xcfc + (at & 3), bytes, v);
		(void)port_in(0xcfc + (at & 3), bytes);
	} else {
		store(at, bytes, v);
		(void)load(at, bytes);
	}
}

/* As firmware leaves them, so that the others get further. */
static void repair_config(unsigned int slot)
{
	uint64_t at = ECAM + (uint64_t)slot * 0x8000;

	store(at + 4, 2, 0x0007);
	store(at + 0x10, 4, slot == 4 ? 0x2100 : 0);
	store(at + 0x14, 4, BARS + slot * 0x10000);
	store(at + 0x18, 4, BARS + slot * 0x10000 + 0x8000);
	store(at + 0x1c, 4, 0);
}

/* -- memory-mapped registers ----------------------------------------------- */

/* Delivery mode INIT (5) would be the end of this CPU, SMI (2) and the
   reserved ones are nothing: fixed, lowest priority or NMI are left. */
static uint32_t no_init(uint32_t v)
{
	return (v & 0x700) == 0x400 ? v : v & ~0x600u;
}

static void step_registers(void)
{
	static const struct {
		uint32_t base, size;
	} places[] = {{LAPIC, 0x400},   {LAPIC, 0x1000},   {IOAPIC, 0x20},
		      {HPET, 0x200},    {HPET, 0x400},     {TESTDEV, 0x10004},
		      {BARS, 0x100000}, {BARS, 0x20000000}};
	uint32_t which = below(COUNT(places));
	uint32_t at = places[which].base + below(places[which].size);
	unsigned int bytes = width(3);
	uint64_t v = value();

	if (below(4) != 0)
		at &= ~3u;
	if (places[which].base == LAPIC || places[which].base == IOAPIC)
		v = no_init((uint32_t)v);
	if (below(3) == 0)
		(void)load(at, bytes);
	else
		store(at, bytes, v);
}

/* A message as a device would send it, or a LAPIC or IOAPIC entry. */
static void step_messages(void)
{
	uint32_t entry = BARS + (2 + below(2)) * 0x10000 + below(3) * 16;
	uint32_t data = no_init((uint32_t)value());

	switch (below(3)) {
	case 0:
		store(entry, 4, LAPIC | (below(4) << 2));
		store(entry + 8, 4, data & 0xff);
		store(entry + 12, 4, below(2));
		break;
	case 1:
		store(IOAPIC, 4, below(80));
		store(IOAPIC + 0x10, 4, data);
		break;
	default:
		store(LAPIC + 0x300, 4, data & 0xfffff);
		break;
	}
}

/* -- MSRs ------------------------------------------------------------------ */

static void step_msr(void)
{
	static const uint32_t bases[] = {
	    0x10,  0x1b,       0x3a,       0x79,       0x8b,      0xfe,  0x174,
	    0x1d9, 0x200,      0x250,      0x277,      0x2ff,     0x400, 0x6e0,
	    0x800, 0xc0000080, 0xc0000100, 0xc0010000, 0xc0010110};
	uint32_t msr = below(16) ? bases[below(COUNT(bases))] + below(64)
				 : (uint32_t)random();
	uint64_t v = value();

	/* Not x2APIC's INIT; and the APIC stays where it is, but may go off. */
	if (msr >= 0x800 && msr < 0x900)
		v = (v & ~0xffffffffull) | no_init((uint32_t)v);
	if (below(4) == 0)
		__asm__ volatile("rdmsr" ::"c"(msr) : "eax", "edx");
	else
		__asm__ volatile("wrmsr" ::"c"(msr), "a"((uint32_t)v),
				 "d"((uint32_t)(v >> 32)));
}

/* -- descriptor tables ----------------------------------------------------- */

/* Of a GDT or LDT. The first SANE of a GDT are the kernel's: its code is 2, as
   in the loader's, its data 3. Vectors below SANE_VECTORS lead to trap. */
#define TABLE        64u
#define SANE         8u
#define SANE_VECTORS 0x40u

static struct tables {
	uint64_t gdt[TABLE], ldt[TABLE];
	uint32_t tss[32];
	struct {
		uint64_t offset;
		uint16_t selector;
	} __attribute__((packed)) far;
} tables[2] __attribute__((aligned(16)));

/* INT n; RET for each n. */
extern const uint8_t interrupts[];
__asm__(".pushsection .text\n"
	".globl interrupts\n"
	"interrupts:\n"
	".set n, 0\n"
	".rept 256\n"
	"	.byte 0xcd, n, 0xc3\n"
	".set n, n + 1\n"
	".endr\n"
	".popsection\n");

static struct tables *own_tables(void)
{
	return &tables[self() - cpus];
}

static void load_gdt(uint16_t limit)
{
	struct {
		uint16_t limit;
		uint64_t base;
	} __attribute__((packed)) gdtr = {limit, (uint64_t)own_tables()->gdt};

	__asm__ volatile("lgdt %0" ::"m"(gdtr));
}

static void load_idt(uint16_t limit)
{
	idtr.limit = limit;
	idtr.base = (uint64_t)idt;
	__asm__ volatile("lidt %0" ::"m"(idtr));
}

static void start_tables(void)
{
	struct tables *t = own_tables();

	t->gdt[2] = 0x00af9b000000ffff;
	t->gdt[3] = 0x00cf93000000ffff;
	load_gdt(sizeof(t->gdt) - 1);
}

/* Where a TSS or an LDT may be: what is read there as a stack's address leads
   to no code or stack of the kernel's. */
static uint64_t table_place(void)
{
	switch (below(6)) {
	case 0:
		return (uint64_t)own_tables()->tss;
	case 1:
		return (uint64_t)own_tables()->ldt;
	case 2:
		return TESTDEV + below(0x10000);
	case 3:
		return HPET + below(0x400);
	case 4:
		return BARS + below(0x100000);
	default:
		return ARENA + below(ARENA_SIZE);
	}
}

/* Any of a segment (0x10) or of the system's (0), but no code segment for
   32-bit code, which the kernel has none of, and no gate to anywhere. */
static uint64_t descriptor(uint32_t segment)
{
	uint64_t base = below(8) ? table_place() : random();
	uint64_t access = (below(256) & 0xef) | segment | (below(8) ? 0x80 : 0);
	uint64_t flags = below(16);

	if ((access & 0x18) == 0x18)
		flags |= 2;
	if ((access & 0x1f) == 0x0c)
		access ^= 1;
	return (random() & 0xffff) | (base & 0xffffff) << 16 | access << 40 |
	       (uint64_t)below(16) << 48 | flags << 52 |
	       (base >> 24 & 0xff) << 56;
}

/* Leads to trap, to where nothing is, or nowhere. */
static void make_gate(struct gate *gate)
{
	uint64_t handler = (uint64_t)trap;

	*gate = (struct gate){
	    .offset_low = (uint16_t)handler,
	    .selector = (uint16_t)(below(4) ? 0x10 : below(TABLE * 8)),
	    .ist = (uint8_t)(below(2) ? below(8) : below(256)),
	    .attr = (uint8_t)(below(2) ? 0x8e + below(2) : below(256)),
	    .offset_mid = (uint16_t)(handler >> 16),
	    .offset_high = below(4) ? 0 : (uint32_t)random(),
	    .zero = below(8) ? 0 : (uint32_t)random(),
	};
}

/* A descriptor of 8 or 16 bytes, in the upper half of which nobody finds one
   of its own. */
static void write_table(struct tables *t)
{
	uint64_t *table = below(4) ? t->gdt : t->ldt;
	uint32_t n = SANE + below(TABLE - SANE - 1);

	switch (below(4)) {
	case 0:
		make_gate((struct gate *)&table[n]);
		((struct gate *)&table[n])->attr = 0x8c;
		table[n + 1] &= 0xffffffff;
		break;
	case 1:
		table[n] = descriptor(0);
		table[n + 1] = below(4) ? 0 : random() & 0xffffffff;
		break;
	default:
		table[n] = descriptor(0x10);
		break;
	}
}

static void load_segment(uint16_t selector)
{
	switch (below(6)) {
	case 0:
		__asm__ volatile("mov %0, %%ds" ::"r"(selector));
		break;
	case 1:
		__asm__ volatile("mov %0, %%es" ::"r"(selector));
		break;
	case 2:
		__asm__ volatile("mov %0, %%fs" ::"r"(selector));
		break;
	case 3:
		__asm__ volatile("mov %0, %%gs" ::"r"(selector));
		break;
	case 4:
		__asm__ volatile("ltr %0" ::"r"(selector));
		break;
	default:
		__asm__ volatile("lldt %0" ::"r"(selector));
		break;
	}
}

static void ask_of(uint16_t selector)
{
	uint32_t answer;

	__asm__ volatile("lar %w1, %0\n\tlsl %w1, %0\n\tverr %w1\n\tverw %w1"
			 : "=&r"(answer)
			 : "r"((uint32_t)selector));
	__asm__ volatile("str %0\n\tsldt %0" : "=r"(answer));
}

static void step_tables(void)
{
	struct tables *t = own_tables();
	uint16_t selector = (uint16_t)(SANE * 8 + below((TABLE - SANE) * 8));

	switch (below(10)) {
	case 0:
		make_gate(&idt[SANE_VECTORS + below(256 - SANE_VECTORS)]);
		break;
	case 1:
		load_idt((uint16_t)(SANE_VECTORS * 16 + below(256) * 16 - 1));
		break;
	case 2:
		load_gdt((uint16_t)(SANE * 8 + below(TABLE * 8) - 1));
		break;
	case 3:
		t->tss[below(32)] = (uint32_t)value();
		break;
	case 4:
		__asm__ volatile("call *%0" ::"r"(interrupts + 3 * below(256))
				 : "memory");
		break;
	case 5:
		t->far.offset = (uint64_t)trap;
		t->far.selector = selector & 0xfff8;
		/* With REX.W, which clang's assembler has no name for. */
		__asm__ volatile(".byte 0x48; lcall *(%%rax)" ::"a"(&t->far)
				 : "memory");
		break;
	case 6:
		ask_of(below(8) ? selector : (uint16_t)random());
		break;
	case 7:
		load_segment(below(8) ? selector : (uint16_t)random());
		break;
	default:
		write_table(t);
		break;
	}
}

/* -- virtio ---------------------------------------------------------------- */

static uint32_t rings(unsigned int which)
{
	return ARENA + which * 0x10000;
}

static uint32_t regs(unsigned int which)
{
	return BARS + (2 + which) * 0x10000 + 0x8000;
}

static void start_virtio(unsigned int which)
{
	uint32_t at = regs(which), memory = rings(which);

	repair_config(2 + which);
	packed[which] = below(2);
	avail[which] = 0;
	wrap[which] = 1;
	for (uint32_t i = 0; i < 0x3000; i += 8)
		store(memory + i, 8, 0);
	store(at + 0x14, 1, 0);
	store(at + 0x14, 1, 3);
	store(at + 0x08, 4, 0);
	store(at + 0x0c, 4, below(4) ? below(16) << 28 | 1u << 9 : random());
	store(at + 0x08, 4, 1);
	store(at + 0x0c, 4, 1 | (packed[which] ? 4 : 0) | below(2) << 6);
	store(at + 0x14, 1, 11);
	store(at + 0x16, 2, 0);
	store(at + 0x18, 2, below(8) ? 16 : value());
	store(at + 0x1a, 2, below(3));
	store(at + 0x20, 8, below(16) ? memory : value());
	store(at + 0x28, 8, below(16) ? memory + 0x1000 : value());
	store(at + 0x30, 8, below(16) ? memory + 0x2000 : value());
	store(at + 0x1c, 2, 1);
	store(at + 0x14, 1, 15);
}

/* Chains of one to three, mostly into the arena. */
static void add_chain(unsigned int which)
{
	uint32_t memory = rings(which);
	unsigned int count = 1 + below(3);
	unsigned int first = packed[which] ? avail[which] % 16 : below(16);

	store(ARENA + 0x800000, 8, below(below(8) ? 14 : 1000));
	store(ARENA + 0x800008, 8, below(2048));
	for (unsigned int i = 0; i < count; i++) {
		uint32_t desc = memory + 16 * ((first + i) % 16);
		uint16_t flags = (uint16_t)((i + 1 < count ? 1 : 0) |
					    (i + 1 == count ? 2 : 0));
		uint64_t to = i == 0 ? ARENA + 0x800000
				     : ARENA + 0x900000 + below(0x100000);

		if (below(16) == 0)
			flags = (uint16_t)random();
		store(desc, 8, below(32) ? to : value() & ~0x1ffffffull);
		store(desc + 8, 4,
		      i == 0      ? 16
		      : below(16) ? 512 * below(16)
				  : value());
		store(desc + (packed[which] ? 12 : 14), 2,
		      packed[which] ? first : (first + i + 1) % 16);
		if (packed[which])
			flags |= wrap[which] ? 0x80 : 0x8000;
		store(desc + (packed[which] ? 14 : 12), 2, flags);
		if (packed[which] && ++avail[which] % 16 == 0)
			wrap[which] ^= 1;
	}
	if (packed[which])
		return;
	store(memory + 0x1004 + 2 * (avail[which] % 16), 2, first);
	store(memory + 0x1002, 2, ++avail[which]);
}

static void step_virtio(void)
{
	unsigned int which = below(2);

	switch (below(16)) {
	case 0:
		start_virtio(which);
		break;
	case 1:
		store(regs(which) + below(0x40), width(3), value());
		break;
	case 2:
		(void)load(regs(which) + below(0x4000), width(3));
		break;
	case 3:
		store(ARENA + below(0x20000), width(3), value());
		break;
	case 4:
		store(regs(which) + below(0x4000), width(3), value());
		break;
	case 5:
	case 6:
	case 7:
	case 8:
		store(regs(which) + 0x3000, below(2) ? 2 : 4,
		      below(4) ? 0 : value());
		break;
	default:
		add_chain(which);
		break;
	}
}

/* -- steps ----------------------------------------------------------------- */

/* Takes one interrupt, if there is any. */
static void step_interrupts(void)
{
	store(LAPIC + 0xf0, 4, 0x1ff);
	store(LAPIC + 0xb0, 4, 0);
	port_out(0x20, 1, 0x20);
	port_out(0xa0, 1, 0x20);
	__asm__ volatile("sti; nop; nop; cli");
}

static void report(uint64_t number)
{
	char text[24];
	unsigned int at = sizeof(text);

	text[--at] = '\n';
	do {
		text[--at] = (char)('0' + number % 10);
		number /= 10;
	} while (number != 0);
	port_out(COM2 + 3, 1, 3);
	for (; at < sizeof(text); at++)
		port_out(COM2, 1, (uint8_t)text[at]);
}

static void (*const kinds[])(void) = {
    step_ports,  step_config, step_registers, step_messages, step_msr,
    step_tables, step_virtio, step_virtio,    step_virtio,   step_interrupts};

void next_step(void)
{
	struct cpu *cpu = self();

	for (;;) {
		if (cpu->steps++ % REPORT_STEPS == 0 && cpu == &cpus[0])
			report(cpus[0].steps - 1 + cpus[1].steps);
		if (below(64) == 0)
			repair_config(2 + below(3));
		kinds[below(COUNT(kinds))]();
	}
}

/* boot_params: where the command line is (boot protocol, 0x228). */
static uint64_t read_seed(const uint8_t *params)
{
	const char *text =
	    (const char *)(uint64_t) * (const uint32_t *)(params + 0x228);
	uint64_t number = 0;

	for (; *text != '\0'; text++) {
		if (*text >= '0' && *text <= '9')
			number = number * 10 + (uint64_t)(*text - '0');
	}
	return number;
}

/* INIT and STARTUP to all others (SDM vol. 3, 11.6.1); without one, to none. */
static void start_second(void)
{
	for (size_t i = 0; i < (size_t)(second_end - second); i++)
		store(SECOND_AT + i, 1, second[i]);
	store(LAPIC + 0xf0, 4, 0x1ff);
	store(LAPIC + 0x300, 4, 0xc4500);
	store(LAPIC + 0x300, 4, 0xc4600 | SECOND_AT >> 12);
}

void run_second(void)
{
	load_idt(sizeof(idt) - 1);
	start_tables();
	next_step();
}

void run(const uint8_t *params)
{
	uint64_t handler = (uint64_t)trap;
	uint16_t cs;

	__asm__ volatile("mov %%cs, %0" : "=r"(cs));
	for (unsigned int i = 0; i < COUNT(idt); i++)
		idt[i] = (struct gate){
		    .offset_low = (uint16_t)handler,
		    .selector = cs,
		    .attr = 0x8e,
		    .offset_mid = (uint16_t)(handler >> 16),
		    .offset_high = (uint32_t)(handler >> 32),
		};
	load_idt(sizeof(idt) - 1);
	start_tables();
	cpus[0].seed = (read_seed(params) + 1) * 0x9e3779b97f4a7c15ull;
	cpus[1].seed = ~cpus[0].seed;
	start_second();
	next_step();
}
