/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The timers, held against each other: HPET, PM timer, TSC, PIT, local APIC,
 * RTC. The HPET's main counter is the measure. A reading of another clock
 * stands between two of its; what passed between two such readings is bounded
 * by that, however long this vCPU did not run. Interrupts may be late for the
 * same reason, but never early, and never too many.
 */
#include "lib/guest.h"

#define VECTOR 0x60 /* + what: */
enum { LAPIC_IRQ, PIT_IRQ, RTC_IRQ, HPET_IRQ, HPET1_IRQ, IRQS };

#define IOAPIC     0xfec00000u
#define RTE_LEVEL  BIT(15)
#define RTE_MASKED BIT(16)
#define PIN_PIT    2 /* as the MADT says of IRQ 0 */
#define PIN_RTC    8

#define PM_TIMER 0x408
#define PM_HZ    3579545ull

/* Clocks of the host that are not one may differ so much, 1 in: */
#define DRIFT 1000

static volatile uint32_t came[IRQS];
static volatile uint64_t came_at[IRQS]; /* the last one, by now() */

/* -- the HPET, IA-PC HPET specification 1.0a, 2.3
 * ------------------------------
 */

#define HPET          0xfed00000u
#define HPET_CAP      0x000
#define HPET_CONFIG   0x010
#define HPET_STATUS   0x020
#define HPET_COUNTER  0x0f0
#define HPET_TN(n)    (0x100 + 0x20 * (n))
#define TN_COMPARATOR 8
#define TN_FSB        16
#define CONFIG_ENABLE BIT(0)
#define CONFIG_LEG_RT BIT(1)
#define TN_LEVEL      BIT(1)
#define TN_INT_ENB    BIT(2)
#define TN_PERIODIC   BIT(3)
#define TN_PER_CAP    BIT(4)
#define TN_VAL_SET    BIT(6)
#define TN_ROUTE(pin) ((pin) << 9)
#define TN_FSB_EN     BIT(14)
#define TN_FSB_CAP    BIT(15)
#define CAP_LEG_RT    BIT(15)
#define PERIOD_MAX    0x05f5e100u /* femtoseconds, 2.3.4 */
#define FS_PER_SECOND 1000000000000000ull

static uint64_t hpet_hz;

static uint32_t hpet_read(unsigned reg)
{
	return *(volatile uint32_t *)(uintptr_t)(HPET + reg);
}

static void hpet_write(unsigned reg, uint32_t v)
{
	*(volatile uint32_t *)(uintptr_t)(HPET + reg) = v;
}

/* The main counter without its wraps; it is looked at more often than those. */
static uint64_t now(void)
{
	static uint64_t total;

	total += (uint32_t)(hpet_read(HPET_COUNTER) - (uint32_t)total);
	return total;
}

static void wait_ticks(uint64_t ticks)
{
	uint64_t start = now();

	while (now() - start < ticks)
		pause_cpu();
}

static uint64_t ms(uint64_t n)
{
	return n * hpet_hz / 1000;
}

/* -- readings
 * ------------------------------------------------------------------
 */

struct reading {
	uint64_t before, value, after;
};

/* Again, if it was interrupted for long. */
static struct reading take(uint64_t (*read)(void))
{
	struct reading r;

	for (unsigned n = 0; n < 100000; n++) {
		r.before = now();
		r.value = read();
		r.after = now();
		if (r.after - r.before < ms(1))
			break;
	}
	return r;
}

/* Ticks of hz in so many of the HPET's; with one more, or one less. */
static uint64_t at_most(uint64_t ticks, uint64_t hz)
{
	return (ticks + 1) * hz / hpet_hz + (ticks + 1) * hz / hpet_hz / DRIFT +
	       2;
}

static uint64_t at_least(uint64_t ticks, uint64_t hz)
{
	uint64_t n = ticks == 0 ? 0 : (ticks - 1) * hz / hpet_hz;

	n -= n / DRIFT;
	return n < 2 ? 0 : n - 2;
}

/* What went by from a to b, on a clock that begins again after modulus. */
static bool agrees(const struct reading *a, const struct reading *b,
		   uint64_t hz, uint64_t modulus)
{
	uint64_t least = at_least(b->before - a->after, hz);
	uint64_t most = at_most(b->after - a->before, hz);
	uint64_t passed = (b->value + modulus - a->value) % modulus;

	passed += least / modulus * modulus;
	if (passed < least)
		passed += modulus;
	return passed <= most;
}

static bool keeps_time(uint64_t (*read)(void), uint64_t hz, uint64_t modulus)
{
	struct reading first = take(read), r;

	for (unsigned n = 0; n < 20; n++) {
		wait_ticks(ms(1));
		r = take(read);
		if (!agrees(&first, &r, hz, modulus))
			return false;
	}
	return true;
}

/* The rate of a clock that nobody knows, from a reading to another. */
struct rate {
	uint64_t least, most; /* Hz */
};

static struct rate rate_of(const struct reading *a, const struct reading *b)
{
	uint64_t passed = b->value - a->value;
	struct rate r;

	r.least = (passed - 1) * hpet_hz / (b->after - a->before + 1);
	r.most = (passed + 1) * hpet_hz / (b->before - a->after - 1);
	r.least -= r.least / DRIFT;
	r.most += r.most / DRIFT;
	return r;
}

static bool same_rate(struct rate a, struct rate b)
{
	return a.least <= b.most && b.least <= a.most;
}

/* -- interrupts
 * ----------------------------------------------------------------
 */

static void on_irq(struct frame *frame)
{
	unsigned n = (unsigned)frame->vector - VECTOR;

	came[n]++;
	came_at[n] = now();
	lapic_eoi();
}

static void redirect(unsigned pin, uint32_t low)
{
	volatile uint32_t *index = (volatile uint32_t *)(uintptr_t)IOAPIC;
	volatile uint32_t *window = index + 4;

	*index = 0x10 + 2 * pin + 1;
	*window = 0;
	*index = 0x10 + 2 * pin;
	*window = low;
}

static void sleep_until(unsigned irq, uint32_t count)
{
	while (came[irq] < count)
		__asm__ volatile("sti; hlt; cli" ::: "memory");
}

static void open_window(uint64_t ticks)
{
	__asm__ volatile("sti" ::: "memory");
	wait_ticks(ticks);
	__asm__ volatile("cli" ::: "memory");
}

/* Has the last one come no sooner than so many ticks of hz after start? */
static bool in_time(unsigned irq, uint64_t start, uint64_t ticks, uint64_t hz)
{
	return at_most(came_at[irq] - start, hz) >= ticks;
}

/* -- counters
 * ------------------------------------------------------------------
 */

static uint64_t read_pm(void)
{
	return inl(PM_TIMER);
}

static uint64_t read_tsc(void)
{
	return rdtsc();
}

static bool never_falls(uint64_t (*read)(void), uint64_t modulus)
{
	uint64_t last = read();

	for (unsigned n = 0; n < 2000; n++) {
		uint64_t v = read();

		if ((v + modulus - last) % modulus > modulus / 2)
			return false;
		last = v;
	}
	return true;
}

static void counters(void)
{
	struct reading a, b, c;

	/* ACPI 6.5, 4.8.3.3: 3.579545 MHz. */
	check(keeps_time(read_pm, PM_HZ, BIT(32)), "the PM timer's rate");
	check(never_falls(read_pm, BIT(32)), "and direction");
	check(never_falls(read_tsc, 1ull << 63), "the TSC's direction");
	a = take(read_tsc);
	wait_ticks(ms(5));
	b = take(read_tsc);
	wait_ticks(ms(10));
	c = take(read_tsc);
	check(same_rate(rate_of(&a, &b), rate_of(&b, &c)), "the TSC's rate");
	check(same_rate(rate_of(&a, &b), rate_of(&a, &c)), "is one");
}

/* -- the PIT, 8254 data sheet -------------------------------------------------
 */

#define PIT_HZ      1193182ull
#define PIT_CONTROL 0x43
#define PORT_B      0x61
#define PORT_B_GATE BIT(0)
#define PORT_B_OUT2 BIT(5)
#define RW_LSB      (1 << 4)
#define RW_MSB      (2 << 4)
#define RW_WORD     (3 << 4)
#define MODE(n)     ((n) << 1)
#define BCD         1
#define STATUS_OUT  BIT(7)
#define STATUS_NULL BIT(6)
#define READ_COUNT  0xd0 /* + 2 << channel */
#define READ_STATUS 0xe0
#define READ_BOTH   0xc0

static void pit_mode(unsigned channel, unsigned control)
{
	outb(PIT_CONTROL, (uint8_t)(channel << 6 | control));
}

static void pit_count(unsigned channel, unsigned count)
{
	outb((uint16_t)(0x40 + channel), (uint8_t)count);
	outb((uint16_t)(0x40 + channel), (uint8_t)(count >> 8));
}

static uint32_t pit_word(unsigned channel)
{
	uint32_t low = inb((uint16_t)(0x40 + channel));

	return low | (uint32_t)inb((uint16_t)(0x40 + channel)) << 8;
}

static uint32_t pit_read(unsigned channel)
{
	pit_mode(channel, 0); /* latch */
	return pit_word(channel);
}

static uint8_t pit_status(unsigned channel)
{
	outb(PIT_CONTROL, (uint8_t)(READ_STATUS | 2 << channel));
	return inb((uint16_t)(0x40 + channel));
}

#define PERIOD 50000 /* even, of channel 2 in modes 2 and 3 */

static uint64_t read_pit2(void)
{
	return PERIOD - pit_read(2);
}

/* Mode 0: OUT is low until the count is over; then the count goes on. */
static void terminal_count(void)
{
	uint64_t start;
	uint8_t status;

	outb(PORT_B, PORT_B_GATE);
	pit_mode(2, RW_WORD | MODE(0));
	check_eq(pit_status(2) & ~STATUS_OUT, STATUS_NULL | RW_WORD | MODE(0),
		 "mode 0: no count yet");
	check_eq(inb(PORT_B) & PORT_B_OUT2, 0, "OUT is low");
	for (unsigned n = 0; n < 1000; n++) {
		start = now();
		pit_count(2, 0xffff);
		status = pit_status(2);
		if (now() - start < ms(50)) /* of 54.9 */
			break;
	}
	check_eq(status, RW_WORD | MODE(0), "a count: OUT is still low");
	start = now();
	pit_count(2, 1000);
	while ((pit_status(2) & STATUS_OUT) == 0)
		pause_cpu();
	check(at_most(now() - start, PIT_HZ) >= 1000, "not before it is over");
	check(inb(PORT_B) & PORT_B_OUT2, "OUT at port 61");
	outb(PORT_B, 0);
	start = pit_read(2);
	wait_ticks(ms(1));
	check_eq(pit_read(2), start, "without GATE it stands");
	outb(PORT_B, PORT_B_GATE);
}

static void pit_counting(void)
{
	bool is_even = true, inside = true;

	pit_mode(2, RW_WORD | MODE(2));
	pit_count(2, PERIOD);
	wait_ticks(ms(1));
	check(keeps_time(read_pit2, PIT_HZ, PERIOD), "mode 2: the rate");
	for (unsigned n = 0; n < 500; n++) {
		uint32_t v = pit_read(2);

		inside &= v >= 1 && v <= PERIOD;
	}
	check(inside, "mode 2: from the count to 1");
	pit_mode(2, RW_WORD | MODE(3));
	pit_count(2, PERIOD);
	wait_ticks(ms(1));
	check(keeps_time(read_pit2, 2 * PIT_HZ, PERIOD), "mode 3: by twos");
	for (unsigned n = 0; n < 500; n++)
		is_even &= (pit_read(2) & 1) == 0;
	check(is_even, "mode 3: even");
}

static void pit_reading(void)
{
	uint32_t first, second;

	pit_mode(2, RW_WORD | MODE(2));
	pit_count(2, PERIOD);
	outb(PIT_CONTROL, READ_BOTH | 2 << 2);
	check_eq(inb(0x42) & 0x3f, RW_WORD | MODE(2),
		 "read-back: the status first");
	first = pit_word(2);
	check(first >= 1 && first <= PERIOD, "then the count");
	/* A second latch before the read does nothing. */
	pit_mode(2, 0);
	wait_ticks(ms(1));
	pit_mode(2, 0);
	outb(PIT_CONTROL, READ_COUNT | 2 << 2);
	first = pit_word(2);
	second = pit_read(2);
	check(first != second, "a latched count stands until it is read");
	pit_mode(2, RW_MSB | MODE(2));
	outb(0x42, 0x80);
	check((uint8_t)(inb(0x42) - 1) < 0x80, "MSB only");
	pit_mode(2, RW_LSB | MODE(2));
	outb(0x42, 100);
	check((uint8_t)(inb(0x42) - 1) < 100, "LSB only");
	pit_mode(2, RW_WORD | MODE(2) | BCD);
	pit_count(2, 0);
	first = pit_read(2);
	check((first & 15) < 10 && (first >> 4 & 15) < 10 &&
		  (first >> 8 & 15) < 10 && first >> 12 < 10,
	      "BCD: decimal digits");
}

static void pit_interrupts(void)
{
	static const char *const names[] = {[2] = "mode 2: periodic, not early",
					    [3] =
						"mode 3: periodic, not early"};
	uint64_t start;

	redirect(PIN_PIT, VECTOR + PIT_IRQ);
	pit_mode(0, RW_WORD | MODE(0));
	came[PIT_IRQ] = 0;
	start = now();
	pit_count(0, 6000);
	sleep_until(PIT_IRQ, 1);
	check(in_time(PIT_IRQ, start, 6000, PIT_HZ), "IRQ 0, not early");
	open_window(ms(10));
	check_eq(came[PIT_IRQ], 1, "once in mode 0");
	for (unsigned mode = 2; mode <= 3; mode++) {
		pit_mode(0, RW_WORD | MODE(mode));
		open_window(ms(1)); /* what the mode before left */
		came[PIT_IRQ] = 0;
		start = now();
		pit_count(0, 3000);
		sleep_until(PIT_IRQ, 5);
		check(in_time(PIT_IRQ, start, 5 * 3000, PIT_HZ), names[mode]);
	}
	pit_mode(0, RW_WORD | MODE(0));
	open_window(ms(1));
	came[PIT_IRQ] = 0;
	open_window(ms(5));
	check_eq(came[PIT_IRQ], 0, "a control word ends it");
}

static void pit(void)
{
	terminal_count();
	pit_counting();
	pit_reading();
	pit_interrupts();
}

/* -- the local APIC's timer, SDM vol. 3, 11.5.4 -------------------------------
 */

#define LVT_MASKED       BIT(16)
#define LVT_PERIODIC     BIT(17)
#define LVT_DEADLINE     BIT(18)
#define MSR_TSC_DEADLINE 0x6e0
#define LAPIC_MAX        0xffffffffu

static uint64_t read_lapic(void)
{
	return LAPIC_MAX - lapic_read(LAPIC_CURRENT);
}

/* The undivided one, measured through a divider. */
static struct rate lapic_rate(unsigned code, unsigned divisor)
{
	struct reading a, b;
	struct rate r;

	lapic_write(LAPIC_DIVIDE, code);
	do { /* again if the count is over by now */
		lapic_write(LAPIC_INITIAL, LAPIC_MAX);
		a = take(read_lapic);
		wait_ticks(ms(5));
		b = take(read_lapic);
	} while (b.value == LAPIC_MAX);
	r = rate_of(&a, &b);
	r.least *= divisor;
	r.most *= divisor;
	return r;
}

static void lapic_dividers(struct rate *rate)
{
	static const struct {
		uint8_t code, divisor;
		const char *name;
	} dividers[] = {{0x0, 2, "by 2"},    {0x1, 4, "by 4"},
			{0x2, 8, "by 8"},    {0x3, 16, "by 16"},
			{0x8, 32, "by 32"},  {0x9, 64, "by 64"},
			{0xa, 128, "by 128"}};

	lapic_write(LAPIC_TIMER, LVT_MASKED);
	*rate = lapic_rate(0xb, 1);
	for (unsigned n = 0; n < sizeof(dividers) / sizeof(*dividers); n++)
		check(same_rate(*rate, lapic_rate(dividers[n].code,
						  dividers[n].divisor)),
		      dividers[n].name);
	lapic_write(LAPIC_DIVIDE, 0xb);
}

static void lapic(void)
{
	struct rate rate;
	uint64_t start;

	lapic_dividers(&rate);
	came[LAPIC_IRQ] = 0;
	lapic_write(LAPIC_INITIAL, 1000);
	open_window(ms(2));
	check_eq(came[LAPIC_IRQ], 0, "masked: it counts in silence");
	check_eq(lapic_read(LAPIC_CURRENT), 0, "to 0");
	lapic_write(LAPIC_TIMER, VECTOR + LAPIC_IRQ);
	start = now();
	lapic_write(LAPIC_INITIAL, 5000000);
	sleep_until(LAPIC_IRQ, 1);
	check(in_time(LAPIC_IRQ, start, 5000000, rate.most),
	      "one-shot: not early");
	open_window(ms(10));
	check_eq(came[LAPIC_IRQ], 1, "one-shot: once");
	came[LAPIC_IRQ] = 0;
	lapic_write(LAPIC_TIMER, VECTOR + LAPIC_IRQ + LVT_PERIODIC);
	start = now();
	lapic_write(LAPIC_INITIAL, 2000000);
	sleep_until(LAPIC_IRQ, 6);
	check(in_time(LAPIC_IRQ, start, 6 * 2000000, rate.most),
	      "periodic: not early");
	lapic_write(LAPIC_INITIAL, 0);
	open_window(ms(1));
	came[LAPIC_IRQ] = 0;
	open_window(ms(5));
	check_eq(came[LAPIC_IRQ], 0, "0 stops it");
	lapic_write(LAPIC_TIMER, LVT_MASKED);
}

static volatile uint64_t tsc_at_irq;

static void on_deadline(struct frame *frame)
{
	tsc_at_irq = rdtsc();
	on_irq(frame);
}

/* 11.5.4.1 */
static void deadline(void)
{
	uint64_t tsc;

	trap_handler[VECTOR + LAPIC_IRQ] = on_deadline;
	came[LAPIC_IRQ] = 0;
	lapic_write(LAPIC_TIMER, VECTOR + LAPIC_IRQ + LVT_DEADLINE);
	for (unsigned n = 1; n <= 5; n++) {
		tsc = rdtsc() + n * 1000000;
		wrmsr(MSR_TSC_DEADLINE, tsc);
		sleep_until(LAPIC_IRQ, n);
		if (tsc_at_irq < tsc)
			break;
	}
	check(tsc_at_irq >= tsc, "TSC deadline: not early");
	open_window(ms(5));
	check_eq(came[LAPIC_IRQ], 5, "each once");
	check_eq(lapic_read(LAPIC_CURRENT), 0, "the count is 0 in this mode");
	lapic_write(LAPIC_INITIAL, 1000);
	open_window(ms(1));
	check_eq(came[LAPIC_IRQ], 5, "and the initial count is not looked at");
	lapic_write(LAPIC_TIMER, LVT_MASKED);
	trap_handler[VECTOR + LAPIC_IRQ] = on_irq;
}

/* -- HPET's comparators -------------------------------------------------------
 */

static unsigned hpet_pin; /* timer 0's first route */

/*
 * Lets timer n match after a delay, or, if this vCPU comes too late to say so,
 * after a longer one; a match that is missed is a whole wrap away. Returns when
 * it will be.
 */
static uint64_t hpet_start(unsigned n, uint32_t config, uint64_t delay,
			   uint32_t period)
{
	for (;; delay *= 2) {
		uint64_t at = now() + delay;

		hpet_write(HPET_TN(n), config);
		hpet_write(HPET_TN(n) + TN_COMPARATOR, (uint32_t)at);
		if (period != 0)
			hpet_write(HPET_TN(n) + TN_COMPARATOR, period);
		came[HPET_IRQ] = came[HPET1_IRQ] = 0;
		hpet_write(HPET_TN(n), (config & ~TN_VAL_SET) | TN_INT_ENB);
		if (now() < at)
			return at;
		hpet_write(HPET_TN(n), config);
		open_window(ms(1));
	}
}

static void hpet_counter(void)
{
	uint32_t cap = hpet_read(HPET_CAP), standing;

	check(hpet_read(HPET_CAP + 4) != 0 &&
		  hpet_read(HPET_CAP + 4) <= PERIOD_MAX,
	      "the period is 100 ns at most");
	check((cap & 0xff) != 0, "a revision");
	check((cap >> 8 & 31) >= 2, "three timers or more");
	hpet_write(HPET_CONFIG, 0);
	standing = hpet_read(HPET_COUNTER);
	for (unsigned n = 0; n < 1000; n++)
		pause_cpu();
	check_eq(hpet_read(HPET_COUNTER), standing, "halted, it stands");
	hpet_write(HPET_COUNTER, standing + 12345);
	check_eq(hpet_read(HPET_COUNTER), standing + 12345, "and is written");
	hpet_write(HPET_CONFIG, CONFIG_ENABLE);
	while (hpet_read(HPET_COUNTER) == standing + 12345)
		pause_cpu();
	check(hpet_read(HPET_COUNTER) - standing - 12345 < BIT(31),
	      "it runs on from there");
	now();
}

static void hpet_one_shot(void)
{
	uint64_t at;

	redirect(hpet_pin, VECTOR + HPET_IRQ);
	at = hpet_start(0, TN_ROUTE(hpet_pin), ms(5), 0);
	check_eq(hpet_read(HPET_TN(0) + TN_COMPARATOR), (uint32_t)at,
		 "the comparator reads back");
	sleep_until(HPET_IRQ, 1);
	check(came_at[HPET_IRQ] >= at, "one-shot: not early");
	open_window(ms(5));
	check_eq(came[HPET_IRQ], 1, "one-shot: once");
	hpet_write(HPET_TN(0), TN_ROUTE(hpet_pin));
}

/* 2.3.9.2.2: VAL_SET says that the comparator itself is written. */
static void hpet_periodic(void)
{
	uint32_t config = TN_ROUTE(hpet_pin) | TN_PERIODIC, later;
	uint64_t first;

	check(hpet_read(HPET_TN(0)) & TN_PER_CAP, "timer 0 can be periodic");
	first = hpet_start(0, config | TN_VAL_SET, ms(3), (uint32_t)ms(2));
	sleep_until(HPET_IRQ, 5);
	check(came_at[HPET_IRQ] >= first + 4 * ms(2), "periodic: not early");
	later = hpet_read(HPET_TN(0) + TN_COMPARATOR);
	check_eq((later - (uint32_t)first) % (uint32_t)ms(2), 0,
		 "the comparator goes on by periods");
	hpet_write(HPET_TN(0), TN_ROUTE(hpet_pin));
	open_window(ms(1));
	came[HPET_IRQ] = 0;
	open_window(ms(5));
	check_eq(came[HPET_IRQ], 0, "without INT_ENB: nothing");
}

static void on_level(struct frame *frame)
{
	hpet_write(HPET_STATUS, 1);
	on_irq(frame);
}

/* 2.3.6: the status bit holds a level interrupt. */
static void hpet_level(void)
{
	uint32_t config = TN_ROUTE(hpet_pin) | TN_LEVEL;

	redirect(hpet_pin, RTE_MASKED);
	hpet_start(0, config, ms(1), 0);
	while ((hpet_read(HPET_STATUS) & 1) == 0)
		pause_cpu();
	check(true, "level: the status bit comes");
	hpet_write(HPET_STATUS, 0);
	check_eq(hpet_read(HPET_STATUS) & 1, 1, "0 does not clear it");
	hpet_write(HPET_STATUS, 1);
	check_eq(hpet_read(HPET_STATUS) & 1, 0, "1 does");
	trap_handler[VECTOR + HPET_IRQ] = on_level;
	redirect(hpet_pin, (VECTOR + HPET_IRQ) | RTE_LEVEL);
	hpet_start(0, config, ms(1), 0);
	sleep_until(HPET_IRQ, 1);
	check_eq(hpet_read(HPET_STATUS) & 1, 0, "level: and its interrupt");
	hpet_write(HPET_TN(0), TN_ROUTE(hpet_pin));
	redirect(hpet_pin, RTE_MASKED);
	trap_handler[VECTOR + HPET_IRQ] = on_irq;
}

static void hpet_message(void)
{
	if ((hpet_read(HPET_TN(2)) & TN_FSB_CAP) == 0) {
		skip("FSB", "the timer has none");
		return;
	}
	hpet_write(HPET_TN(2) + TN_FSB, VECTOR + HPET1_IRQ);
	hpet_write(HPET_TN(2) + TN_FSB + 4, LAPIC);
	hpet_start(2, TN_FSB_EN, ms(2), 0);
	sleep_until(HPET1_IRQ, 1);
	check(true, "an FSB message");
	hpet_write(HPET_TN(2), 0);
}

/* 2.3.5: timer 0 and 1 instead of PIT and RTC. */
static void hpet_legacy(void)
{
	if ((hpet_read(HPET_CAP) & CAP_LEG_RT) == 0) {
		skip("legacy replacement", "the HPET has none");
		return;
	}
	came[HPET_IRQ] = 0;
	redirect(PIN_PIT, VECTOR + HPET_IRQ);
	redirect(PIN_RTC, VECTOR + HPET1_IRQ);
	hpet_write(HPET_CONFIG, CONFIG_ENABLE | CONFIG_LEG_RT);
	pit_mode(0, RW_WORD | MODE(0));
	pit_count(0, 1000);
	open_window(ms(5));
	check_eq(came[HPET_IRQ], 0, "legacy: the PIT is silent");
	hpet_start(0, 0, ms(2), 0);
	sleep_until(HPET_IRQ, 1);
	hpet_start(1, 0, ms(2), 0);
	sleep_until(HPET1_IRQ, 1);
	check(true, "legacy: timers 0 and 1 have its pin and the RTC's");
	hpet_write(HPET_TN(0), 0);
	hpet_write(HPET_TN(1), 0);
	hpet_write(HPET_CONFIG, CONFIG_ENABLE);
	redirect(PIN_PIT, RTE_MASKED);
	redirect(PIN_RTC, RTE_MASKED);
}

static void comparators(void)
{
	uint32_t routes = hpet_read(HPET_TN(0) + 4);

	while (hpet_pin < 31 && (routes >> hpet_pin & 1) == 0)
		hpet_pin++;
	check(routes >> hpet_pin & 1, "timer 0 has a route");
	hpet_counter();
	hpet_one_shot();
	hpet_periodic();
	hpet_level();
	hpet_message();
	hpet_legacy();
}

/* -- the RTC, MC146818A data sheet --------------------------------------------
 */

#define RTC_HZ 32768ull
enum {
	SECONDS,
	SECONDS_ALARM,
	MINUTES,
	MINUTES_ALARM,
	HOURS,
	HOURS_ALARM,
	WEEKDAY,
	DAY,
	MONTH,
	YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	CENTURY = 0x32
};
#define A_32768  (2 << 4)
#define B_SET    BIT(7)
#define B_BINARY BIT(2)
#define B_24H    BIT(1)
#define C_IRQF   BIT(7)
#define C_PF     BIT(6) /* and its enable in B */
#define C_AF     BIT(5)
#define C_UF     BIT(4)

static uint8_t rtc_read(unsigned reg)
{
	outb(0x70, (uint8_t)reg);
	return inb(0x71);
}

static void rtc_write(unsigned reg, uint8_t v)
{
	outb(0x70, (uint8_t)reg);
	outb(0x71, v);
}

static volatile uint8_t rtc_flags;

static void on_rtc(struct frame *frame)
{
	rtc_flags = rtc_read(REG_C);
	on_irq(frame);
}

static void rtc_enable(uint8_t sources)
{
	rtc_write(REG_B, B_24H | B_BINARY);
	rtc_read(REG_C);
	open_window(0); /* what was due before */
	came[RTC_IRQ] = 0;
	rtc_write(REG_B, B_24H | B_BINARY | sources);
}

static void rtc_periodic(void)
{
	static const struct {
		uint8_t rate;
		const char *name;
	} rates[] = {{6, "1024 Hz, not early"}, {9, "128 Hz, not early"}};

	for (unsigned n = 0; n < 2; n++) {
		unsigned rate = rates[n].rate;
		uint64_t start;

		rtc_write(REG_A, (uint8_t)(A_32768 | rate));
		start = now();
		rtc_enable(C_PF);
		sleep_until(RTC_IRQ, 6);
		/* The first two may be due at once. */
		check(in_time(RTC_IRQ, start, 4ull << (rate - 1), RTC_HZ),
		      rates[n].name);
		check_eq(rtc_flags & (C_IRQF | C_PF), C_IRQF | C_PF,
			 "C says so");
	}
	rtc_enable(0);
	open_window(ms(20));
	check_eq(came[RTC_IRQ], 0, "disabled: no interrupt");
	check_eq(rtc_read(REG_C) & (C_PF | C_IRQF), C_PF, "but its flag");
}

/* The last second of 1999, set while the clock does not run. */
static void rtc_update(void)
{
	rtc_write(REG_B, B_SET | B_24H | B_BINARY);
	rtc_write(SECONDS, 59);
	rtc_write(MINUTES, 59);
	rtc_write(HOURS, 23);
	rtc_write(DAY, 31);
	rtc_write(MONTH, 12);
	rtc_write(YEAR, 99);
	rtc_write(CENTURY, 19);
	check_eq(rtc_read(SECONDS), 59, "SET: time stands, and is written");
	rtc_enable(C_UF);
	sleep_until(RTC_IRQ, 1);
	check_eq(rtc_flags & (C_IRQF | C_UF), C_IRQF | C_UF,
		 "an interrupt a second");
	check_eq(rtc_read(MINUTES), 0, "minutes");
	check_eq(rtc_read(HOURS), 0, "hours");
	check_eq(rtc_read(DAY), 1, "day");
	check_eq(rtc_read(MONTH), 1, "month");
	check_eq(rtc_read(YEAR), 0, "year");
	check_eq(rtc_read(CENTURY), 20, "and century went on");
	rtc_enable(0);
}

static void rtc_alarm(void)
{
	uint8_t at;

	rtc_write(HOURS_ALARM, 0xc0); /* any */
	rtc_write(MINUTES_ALARM, 0xff);
	at = (uint8_t)((rtc_read(SECONDS) + 2) % 60);
	rtc_write(SECONDS_ALARM, at);
	rtc_enable(C_AF);
	sleep_until(RTC_IRQ, 1);
	check_eq(rtc_flags & (C_IRQF | C_AF), C_IRQF | C_AF, "the alarm");
	check((uint8_t)(rtc_read(SECONDS) + 60 - at) % 60 < 58,
	      "is not before its second");
	rtc_enable(0);
}

/* The same time in the other formats. */
static void rtc_formats(void)
{
	rtc_write(REG_B, B_SET | B_24H | B_BINARY);
	rtc_write(HOURS, 21);
	rtc_write(REG_B, B_24H | B_BINARY);
	rtc_write(REG_B, B_24H);
	check_eq(rtc_read(HOURS), 0x21, "BCD");
	rtc_write(REG_B, 0);
	check_eq(rtc_read(HOURS), 0x89, "12 hours, BCD: 9 p.m.");
	rtc_write(REG_B, B_BINARY);
	check_eq(rtc_read(HOURS), 0x89, "12 hours, binary");
	rtc_write(REG_B, B_24H);
	check_eq(rtc_read(REG_D), 0x80, "the battery is good");
}

static void rtc(void)
{
	trap_handler[VECTOR + RTC_IRQ] = on_rtc;
	redirect(PIN_RTC, VECTOR + RTC_IRQ);
	rtc_periodic();
	rtc_update();
	rtc_alarm();
	rtc_formats();
	redirect(PIN_RTC, RTE_MASKED);
}

void payload(void)
{
	for (unsigned n = 0; n < IRQS; n++)
		trap_handler[VECTOR + n] = on_irq;
	lapic_enable();
	hpet_hz = FS_PER_SECOND / hpet_read(HPET_CAP + 4);
	hpet_write(HPET_CONFIG, CONFIG_ENABLE);
	part(counters);
	part(pit);
	part(lapic);
	part(deadline);
	part(comparators);
	part(rtc);
}
