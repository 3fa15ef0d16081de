/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several vCPUs: INIT and SIPI, IPIs of all kinds in xAPIC and x2APIC mode
 * (SDM vol. 3, 11.6, 11.12), locked operations that several make at once
 * (9.1.2).
 */
#include "lib/guest.h"

#define ICR_LOGICAL BIT(11)
#define ICR_SELF    (1u << 18)
#define ICR_ALL     (2u << 18)
#define ICR_OTHERS  (3u << 18)
#define ICR_LOWEST  (1u << 8)
#define ICR_NMI     (4u << 8)
#define VECTOR      0xa0

static unsigned cpus;
static volatile uint32_t got[CPU_MAX], nmis[CPU_MAX], up;
static volatile bool x2apic;

/* TSC_AUX says it fastest, where there is one. */
static bool has_tsc_aux;

static unsigned me(void)
{
	uint32_t c;

	if (has_tsc_aux)
		__asm__ volatile("rdtscp" : "=c"(c)::"rax", "rdx");
	else if (rdmsr(MSR_APIC_BASE) & BIT(10))
		c = (uint32_t)rdmsr(MSR_X2APIC + (LAPIC_ID >> 4));
	else
		c = lapic_read(LAPIC_ID) >> 24;
	return c & (CPU_MAX - 1);
}

static void be(unsigned id)
{
	if (has_tsc_aux)
		wrmsr(0xc0000103, id); /* TSC_AUX */
}

static void on_ipi(struct frame *frame)
{
	__atomic_fetch_add(&got[me()], 1, __ATOMIC_SEQ_CST);
	lapic_eoi();
}

static void on_nmi(struct frame *frame)
{
	__atomic_fetch_add(&nmis[me()], 1, __ATOMIC_SEQ_CST);
}

static void arrive(unsigned id)
{
	be(id);
	__atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
}

/* -- what an AP finds -------------------------------------------------------
 */

static volatile uint64_t ap_apic_base;

static void first_look(unsigned id)
{
	arrive(id);
	ap_apic_base = rdmsr(MSR_APIC_BASE);
}

static void start_all(void)
{
	unsigned started = 1;

	arrive(0);
	for (unsigned n = 1; n < cpus; n++)
		started += cpu_start(n, n == 1 ? first_look : arrive);
	check_eq(started, cpus, "INIT, SIPI: every vCPU starts");
	check(wait_for(&up, cpus), "and arrives");
	check_eq(ap_apic_base & ~BIT(8), 0xfee00800,
		 "an AP's IA32_APIC_BASE: enabled");
	check_eq(ap_apic_base & BIT(8), 0, "an AP is not the BSP");
	check_eq(rdmsr(MSR_APIC_BASE) & BIT(8), BIT(8), "vCPU 0 is");
	check_eq(lapic_read(LAPIC_ID) >> 24, 0, "its LAPIC id");
}

/* -- IPIs ---------------------------------------------------------------------
 */

static void send(uint32_t dest, uint32_t command)
{
	if (x2apic) {
		wrmsr(MSR_X2APIC + (LAPIC_ICR >> 4),
		      (uint64_t)dest << 32 | command);
		return;
	}
	lapic_write(LAPIC_ICR_HI, dest << 24);
	lapic_write(LAPIC_ICR, command);
}

static uint32_t wanted; /* a bit a vCPU that must get it */

static bool all_there(void)
{
	for (unsigned n = 0; n < cpus; n++)
		if ((wanted >> n & 1) && got[n] == 0)
			return false;
	return true;
}

/* Sends one, waits for those in mask, and looks that nobody else got it. */
static void ipi(const char *name, uint32_t dest, uint32_t command,
		uint32_t mask)
{
	bool ok = true;

	for (unsigned n = 0; n < CPU_MAX; n++)
		got[n] = 0;
	wanted = mask & ((1u << cpus) - 1);
	__asm__ volatile("sti");
	send(dest, command | VECTOR);
	check(wait_until(all_there), name);
	for (unsigned n = 0; n < 2000; n++)
		pause_cpu();
	__asm__ volatile("cli");
	for (unsigned n = 0; n < cpus; n++)
		ok &= got[n] == (wanted >> n & 1);
	if (!ok)
		for (unsigned n = 0; n < cpus; n++)
			check_eq(got[n], wanted >> n & 1, name);
}

static void common_ipis(void)
{
	uint32_t all = (1u << cpus) - 1;

	ipi("physical, to vCPU 1", 1, 0, 2);
	ipi("physical, to vCPU 3", 3, 0, 8);
	ipi("physical, to itself", 0, 0, 1);
	ipi("physical, to everybody", x2apic ? ~0u : 0xff, 0, all);
	ipi("to itself, by shorthand", 0, ICR_SELF, 1);
	ipi("to all, by shorthand", 0, ICR_ALL, all);
	ipi("to the others, by shorthand", 0, ICR_OTHERS, all & ~1u);
	ipi("physical, to nobody", 200, 0, 0);
}

static void set_logical(unsigned id)
{
	lapic_write(LAPIC_DFR, 0xffffffff);
	lapic_write(LAPIC_LDR, id < 8 ? 1u << (24 + id) : 0);
	__atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
}

static void set_cluster(unsigned id)
{
	lapic_write(LAPIC_DFR, 0x0fffffff);
	lapic_write(LAPIC_LDR, (id / 4) << 28 | 1u << (24 + id % 4));
	__atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
}

static void go_x2apic(unsigned id)
{
	be(id);
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | BIT(10));
	__atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
}

/* Runs fn on all: the APs start anew for it, as INIT allows. */
static void on_all(void (*fn)(unsigned id), const char *name)
{
	bool ok = true;

	up = 0;
	for (unsigned n = 1; n < cpus; n++)
		ok &= cpu_start(n, fn);
	fn(0);
	check(ok && wait_for(&up, cpus), name);
}

static void lowest_priority(uint32_t dest, uint32_t mask, const char *name)
{
	uint32_t sum = 0;

	for (unsigned n = 0; n < CPU_MAX; n++)
		got[n] = 0;
	__asm__ volatile("sti");
	send(dest, ICR_LOGICAL | ICR_LOWEST | VECTOR);
	for (unsigned n = 0; n < 2000000 && sum == 0; n++) {
		pause_cpu();
		for (unsigned k = 0; k < cpus; k++)
			sum += got[k];
	}
	for (unsigned n = 0; n < 2000; n++)
		pause_cpu();
	__asm__ volatile("cli");
	sum = 0;
	for (unsigned n = 0; n < cpus; n++)
		sum += mask >> n & 1 ? got[n] : 100 * got[n];
	check_eq(sum, 1, name);
}

static void xapic(void)
{
	common_ipis();
	on_all(set_logical, "flat logical ids");
	ipi("flat, to vCPU 2", 4, ICR_LOGICAL, 4);
	ipi("flat, to vCPUs 0 and 3", 9, ICR_LOGICAL, 9);
	ipi("flat, to everybody", 0xff, ICR_LOGICAL, ~0u);
	lowest_priority(0x0e, 0x0e, "lowest priority: one of them");
	on_all(set_cluster, "cluster logical ids");
	ipi("cluster 0, two of it", 0x05, ICR_LOGICAL, 5);
	if (cpus > 4)
		ipi("cluster 1, one of it", 0x12, ICR_LOGICAL, 1u << 5);
	ipi("cluster, to everybody", 0xff, ICR_LOGICAL, ~0u);
}

static void x2apics(void)
{
	TRY("rdmsr", ::"c"(MSR_X2APIC + 2) : "rax", "rdx", "memory");
	fault_is(GP, 0, "an x2APIC register in xAPIC mode: #GP(0)");
	on_all(go_x2apic, "x2APIC mode");
	x2apic = true;
	check_eq(rdmsr(MSR_X2APIC + 2), 0, "x2APIC id");
	check_eq(rdmsr(MSR_X2APIC + 0xd), 1, "x2APIC LDR");
	common_ipis();
	ipi("cluster 0, two of it", 0x0005, ICR_LOGICAL, 5);
	lowest_priority(0x000e, 0x0e, "x2APIC, lowest priority: one of them");
	for (unsigned n = 0; n < CPU_MAX; n++)
		got[n] = 0;
	__asm__ volatile("sti");
	wrmsr(MSR_X2APIC + 0x3f, VECTOR);
	check(wait_for(&got[0], 1), "SELF IPI");
	__asm__ volatile("cli");
	TRY("wrmsr", ::"c"(MSR_X2APIC + 0xd), "a"(0), "d"(0) : "memory");
	fault_is(GP, 0, "LDR is read-only in x2APIC mode: #GP(0)");
	TRY("wrmsr", ::"c"(MSR_X2APIC + 0xb), "a"(1), "d"(0) : "memory");
	if (fault.vector == NO_FAULT && (engine_is() & HOST_IS_KVM))
		skip("EOI of not zero", "KVM's local APIC takes it");
	else
		fault_is(GP, 0, "EOI of not zero in x2APIC mode: #GP(0)");
	TRY("rdmsr", ::"c"(MSR_X2APIC + 0x31) : "rax", "rdx", "memory");
	fault_is(GP, 0, "no ICR_HI in x2APIC mode: #GP(0)");
	TRY("wrmsr", ::"c"(MSR_APIC_BASE), "a"(0xfee00900), "d"(0) : "memory");
	fault_is(GP, 0, "x2APIC to xAPIC mode: #GP(0)");
}

/* -- NMI
 * ------------------------------------------------------------------------ */

static bool all_nmis(void)
{
	for (unsigned n = 1; n < cpus; n++)
		if (nmis[n] == 0)
			return false;
	return true;
}

static void nmi_ipis(void)
{
	bool ok = true;

	send(1, ICR_NMI);
	check(wait_for(&nmis[1], 1), "an NMI to vCPU 1, halted");
	nmis[1] = 0;
	send(0, ICR_OTHERS | ICR_NMI);
	check(wait_until(all_nmis), "NMIs to the others");
	for (unsigned n = 0; n < cpus; n++)
		ok &= nmis[n] == (n != 0);
	check(ok, "one each, and none for the sender");
}

/* -- locked operations
 * ------------------------------------------------------------ */

#define CREW 4
static unsigned rounds = 3000;
static bool has_cmpxchg16b;

struct __attribute__((aligned(64))) shared {
	volatile uint64_t count[8];
};
static struct shared s[16];
static volatile uint32_t gate_open, done;
static volatile uint64_t pair[2] __attribute__((aligned(16)));
static volatile uint64_t plain_count, bit_lock, xchg_lock, ticket, serving;

static void by_bts_lock(void)
{
	bool was;

	do
		__asm__ volatile("lock btsq $0, %0"
				 : "+m"(bit_lock), "=@ccc"(was)::"memory");
	while (was);
	plain_count++;
	__asm__ volatile("lock btrq $0, %0" : "+m"(bit_lock)::"memory", "cc");
}

static void by_xchg_lock(void)
{
	uint64_t v;

	do {
		v = 1;
		__asm__ volatile("xchgq %0, %1"
				 : "+r"(v), "+m"(xchg_lock)::"memory");
		if (v != 0)
			pause_cpu();
	} while (v != 0);
	s[0].count[0]++;
	s[0].count[1]++;
	xchg_lock = 0;
}

static void by_ticket(void)
{
	uint64_t v = 1;

	__asm__ volatile("lock xaddq %0, %1"
			 : "+r"(v), "+m"(ticket)::"memory", "cc");
	while (serving != v)
		pause_cpu();
	s[0].count[2]++;
	serving = v + 1;
}

static void by_cmpxchg(void)
{
	uint64_t old = s[1].count[0];
	bool ok;

	do
		__asm__ volatile("lock cmpxchgq %3, %1"
				 : "+a"(old), "+m"(s[1].count[0]), "=@ccz"(ok)
				 : "r"(old + 3)
				 : "memory");
	while (!ok);
	for (ok = false; !ok;) {
		uint8_t was = *(volatile uint8_t *)&s[1].count[1];

		__asm__ volatile("lock cmpxchgb %3, %1"
				 : "+a"(was),
				   "+m"(*(volatile uint8_t *)&s[1].count[1]),
				   "=@ccz"(ok)
				 : "r"((uint8_t)(was + 1))
				 : "memory");
	}
}

static void by_cmpxchg16b(void)
{
	uint64_t lo = pair[0], hi = pair[1];
	bool ok;

	do
		__asm__ volatile("lock cmpxchg16b %2"
				 : "+a"(lo), "+d"(hi), "+m"(pair[0]),
				   "+m"(pair[1]), "=@ccz"(ok)
				 : "b"(lo + 1), "c"(hi - 1)
				 : "memory");
	while (!ok);
}

/* KVM's emulator may not have it, and only vCPU 0 can be caught by a part. */
static void try_cmpxchg16b(void)
{
	by_cmpxchg16b();
	pair[0] = pair[1] = 0;
	has_cmpxchg16b = true;
}

static void by_cmpxchg8b(void)
{
	uint32_t a = (uint32_t)s[2].count[0],
		 d = (uint32_t)(s[2].count[0] >> 32);
	bool ok;

	do
		__asm__ volatile("lock cmpxchg8b %2"
				 : "+a"(a), "+d"(d), "+m"(s[2].count[0]),
				   "=@ccz"(ok)
				 : "b"(a + 1), "c"(d + 2)
				 : "memory");
	while (!ok);
}

#define LOCKED(insn, n, ...)                                                   \
	__asm__ volatile("lock " insn                                          \
			 : "+m"(s[3].count[n])                                 \
			 : __VA_ARGS__                                         \
			 : "memory", "cc")

static void by_arithmetic(unsigned id)
{
	LOCKED("addq $5, %0", 0);
	LOCKED("incq %0", 1);
	LOCKED("subq %1, %0", 2, "r"(7ull));
	LOCKED("decq %0", 3);
	__asm__ volatile("stc; lock adcq $0, %0"
			 : "+m"(s[3].count[4])::"memory", "cc");
	__asm__ volatile("stc; lock sbbq $0, %0"
			 : "+m"(s[3].count[5])::"memory", "cc");
	LOCKED("addw $1, %0", 6);
	/* The last byte; its neighbours stay. */
	__asm__ volatile("lock incb %0"
			 : "+m"(((volatile uint8_t *)&s[3].count[7])[7])
			 :
			 : "memory", "cc");
	/* Each owns a bit, set and cleared by turns: nobody's is lost. */
	__asm__ volatile("lock orq %1, %0; lock andq %2, %0; lock xorq %1, %0"
			 : "+m"(s[4].count[0])
			 : "r"(1ull << id), "r"(~(1ull << id))
			 : "memory", "cc");
	__asm__ volatile("lock xorq %1, %0"
			 : "+m"(s[4].count[0])
			 : "r"(1ull << id)
			 : "memory", "cc");
	__asm__ volatile("lock btcq %1, %0"
			 : "+m"(s[4].count[1])
			 : "r"((uint64_t)id)
			 : "memory", "cc");
	__asm__ volatile("lock notq %0" : "+m"(s[4].count[2])::"memory");
	__asm__ volatile("lock negq %0" : "+m"(s[4].count[3])::"memory", "cc");
	/* Across a cache line: a split lock is a lock. */
	__asm__ volatile("lock incl %0"
			 : "+m"(*(volatile uint32_t *)((uint64_t)&s[6] - 2))
			 :
			 : "memory", "cc");
}

static void work(unsigned id)
{
	be(id);
	while (!gate_open)
		pause_cpu();
	for (unsigned n = 0; n < rounds; n++) {
		by_bts_lock();
		by_xchg_lock();
		by_ticket();
		by_cmpxchg();
		if (has_cmpxchg16b)
			by_cmpxchg16b();
		by_cmpxchg8b();
		by_arithmetic(id);
	}
	__atomic_fetch_add(&done, 1, __ATOMIC_SEQ_CST);
}

static void locked(void)
{
	const uint64_t all = (uint64_t)rounds * CREW;
	bool ok = true;

	for (unsigned n = 1; n < CREW; n++)
		ok &= cpu_start(n, work);
	check(ok, "a crew of four");
	s[4].count[3] = 1;
	gate_open = 1;
	work(0);
	while (done != CREW)
		pause_cpu();
	check_eq(plain_count, all, "LOCK BTS as a lock");
	check_eq(s[0].count[0], all, "XCHG as a lock");
	check_eq(s[0].count[1], all, "XCHG as a lock, twice");
	check_eq(s[0].count[2], all, "tickets");
	check_eq(s[1].count[0], 3 * all, "LOCK CMPXCHG");
	check_eq(s[1].count[1], all & 0xff, "LOCK CMPXCHG of a byte");
	if (has_cmpxchg16b)
		check(pair[0] == all && pair[1] == -all, "LOCK CMPXCHG16B");
	check_eq(s[2].count[0], 2 * all << 32 | all, "LOCK CMPXCHG8B");
	check_eq(s[3].count[0], 5 * all, "LOCK ADD");
	check_eq(s[3].count[1], all, "LOCK INC");
	check_eq(s[3].count[2], -7 * all, "LOCK SUB");
	check_eq(s[3].count[3], -all, "LOCK DEC");
	if (engine_is() & HOST_IS_EMULATED) {
		skip("LOCK ADC and SBB", "KVM's emulator loses the carry when "
					 "another vCPU makes it try again");
	} else {
		check_eq(s[3].count[4], all, "LOCK ADC");
		check_eq(s[3].count[5], -all, "LOCK SBB");
	}
	check_eq(s[3].count[6], all & 0xffff, "LOCK ADD of a word");
	check_eq(s[3].count[7], (all & 0xff) << 56, "LOCK INC of a byte");
	check_eq(s[4].count[0], 0, "LOCK OR, AND, XOR");
	check_eq(s[4].count[1], 0, "LOCK BTC");
	check_eq(s[4].count[2], 0, "LOCK NOT");
	check_eq(s[4].count[3], 1, "LOCK NEG");
	check_eq(*(volatile uint32_t *)((uint64_t)&s[6] - 2), all,
		 "LOCK INC across a cache line");
}

/* -- TLB shootdown, as an OS does it
 * -------------------------------------------------- */

#define V 0x200000000000ull
static volatile uint32_t seen, flush_done, leave;

static void on_shootdown(struct frame *frame)
{
	invlpg((void *)(uintptr_t)V);
	flush_done = 1;
	lapic_eoi();
}

static void look(unsigned id)
{
	__asm__ volatile("sti");
	while (!leave)
		seen = *(volatile uint32_t *)(uintptr_t)V;
	seen = ~0u;
}

static void shootdown(void)
{
	uint32_t *a = page_alloc(), *b = page_alloc();
	bool ok = true;

	*a = 1;
	*b = 2;
	map_page(V, (uint64_t)(uintptr_t)a | PTE_P | PTE_W);
	trap_handler[0xa1] = on_shootdown;
	check(cpu_start(1, look) && wait_for(&seen, 1), "vCPU 1 reads a page");
	for (unsigned n = 0; n < 100 && ok; n++) {
		uint32_t *to = n & 1 ? a : b;

		map_page(V, (uint64_t)(uintptr_t)to | PTE_P | PTE_W);
		flush_done = 0;
		lapic_write(LAPIC_ICR_HI, 1 << 24);
		lapic_write(LAPIC_ICR, 0xa1);
		ok = wait_for(&flush_done, 1) && wait_for(&seen, *to);
	}
	check(ok, "TLB shootdowns by IPI");
	leave = 1;
	check(wait_for(&seen, ~0u), "vCPU 1 ends");
}

/* -- one TSC ------------------------------------------------------------------
 */

static volatile uint64_t last_tsc;
static volatile uint32_t tsc_lock, tsc_turns[CPU_MAX], tsc_back;

/* Several did: not all, where they share few of the host's CPUs. */
static bool took_turns(void)
{
	unsigned count = 0;

	for (unsigned n = 0; n < cpus; n++)
		count += tsc_turns[n] > 10;
	return count > 1;
}

/* In turn, each after what another has read. */
static void read_in_turn(unsigned id)
{
	uint64_t begin = rdtsc(), now;

	do {
		while (__atomic_exchange_n(&tsc_lock, 1, __ATOMIC_ACQUIRE))
			__asm__ volatile("pause");
		__asm__ volatile("lfence" ::: "memory");
		now = rdtsc();
		tsc_back += now < last_tsc;
		last_tsc = now;
		tsc_turns[id]++;
		__atomic_store_n(&tsc_lock, 0, __ATOMIC_RELEASE);
	} while (now - begin < 100000000 ||
		 (!took_turns() && now - begin < 20000000000));
	__atomic_fetch_add(&up, 1, __ATOMIC_SEQ_CST);
}

static void one_tsc(void)
{
	last_tsc = 0;
	on_all(read_in_turn, "all read the TSC");
	check(took_turns(), "in turn");
	check_eq(tsc_back, 0, "and none finds it behind another's");
}

void payload(void)
{
	cpus = cpu_count();
	has_tsc_aux = cpuid(0x80000001, 0).d >> 27 & 1; /* RDTSCP */
	trap_handler[VECTOR] = on_ipi;
	trap_handler[NMI] = on_nmi;
	lapic_enable();
	part(start_all);
	part(nmi_ipis);
	part(try_cmpxchg16b);
	if (engine_is() & (HOST_IS_EMULATED | HOST_IS_MUXED))
		rounds = 100;
	part(locked);
	part(shootdown);
	part(one_tsc);
	part(xapic);
	part(x2apics);
}
