// SPDX-License-Identifier: BSD-2-Clause
/*
 * A line is good for TSC_WINDOW ticks of the host's TSC. Who finds it older
 * draws the next one, from the VM's clock. No line begins below where the one
 * before it ended, and what is ahead of the clock is made less steep until it
 * is not: the TSC never goes back, and follows the clock.
 *
 * VMs of several vCPUs look at the clock each time: who has no line does, and
 * would have to be kept from what he saw being before a line that another is
 * about to draw (two of some million readings in turn, on a loaded host).
 *
 * Two lines in turn: who reads while another is drawn has one that is whole,
 * or sees by the count that he has not.
 */
#include "vmm/soft/tsc.h"

#include "vmm/soft/cpu.h"

#define BASE_LEAST (1ull << 24) /* ticks that a slope is measured over */
#define BASE_MOST  (1ull << 32)
#define SAMPLE     4096ull /* ticks that a look at the clock takes at most */
#define LOST       (1ull << 22) /* ahead of the clock */

/* A line as it was when drawn. */
struct drawn {
	uint64_t from, value, slope, clock;
};

static uint64_t get(const _Atomic uint64_t *p)
{
	return atomic_load_explicit(p, memory_order_relaxed);
}

static void put(_Atomic uint64_t *p, uint64_t value)
{
	atomic_store_explicit(p, value, memory_order_relaxed);
}

/* Beyond its window a line is level. */
static uint64_t line_at(const struct drawn *d, uint64_t host)
{
	uint64_t ticks = MIN(host - d->from, TSC_WINDOW);

	return d->value + (uint64_t)((unsigned __int128)ticks * d->slope >> 32);
}

/* The last line drawn; before the first, one of slope 0. */
static struct drawn line_read(const struct tsc_lines *l)
{
	const struct tsc_line *line;
	struct drawn d;
	uint64_t drawn;

	do {
		drawn = atomic_load_explicit(&l->drawn, memory_order_acquire);
		line = &l->line[drawn & 1];
		d = (struct drawn){get(&line->from), get(&line->value),
				   get(&line->slope), get(&line->clock)};
		atomic_thread_fence(memory_order_acquire);
	} while (unlikely(get(&l->drawn) != drawn));
	return d;
}

static void line_publish(struct tsc_lines *l, const struct drawn *d)
{
	uint64_t drawn = get(&l->drawn) + 1;
	struct tsc_line *line = &l->line[drawn & 1];

	put(&line->from, d->from);
	put(&line->value, d->value);
	put(&line->slope, d->slope);
	put(&line->clock, d->clock);
	atomic_store_explicit(&l->drawn, drawn, memory_order_release);
}

/* The clock, and the host's TSC before that was looked at. */
struct look {
	uint64_t host, guest, clock;
	bool quick;
};

static struct look look_at_clock(struct cpu *c)
{
	const struct vm_clock *clock = &c->svm->vm->clock;
	struct look k = {0};

	for (unsigned n = 0; n < 3 && !k.quick; n++) {
		k.clock = get(&clock->sequence);
		k.host = __builtin_ia32_rdtsc();
		k.guest = vcpu_tsc(c->vcpu) - c->vcpu->state.tsc_offset;
		k.quick = __builtin_ia32_rdtsc() - k.host < SAMPLE &&
			  get(&clock->sequence) == k.clock;
	}
	return k;
}

/* a / b << 32; 0: not in 64 bits. */
static uint64_t ratio(uint64_t a, uint64_t b)
{
	uint64_t low = a << 32, high = a >> 32;

	if (high >= b)
		return 0;
	__asm__("divq %2" : "+a"(low), "+d"(high) : "r"(b) : "cc");
	return low;
}

/* Slopes are measured from the older of two looks, which becomes the other
   when that is old enough. False: neither is. */
static bool slope_measure(struct tsc_lines *l, const struct look *k,
			  uint64_t *slope)
{
	struct tsc_base now = {k->host, k->guest, k->clock};
	struct tsc_base *base = l->base;
	uint64_t over = k->host - base[0].host;

	if (base[0].clock != k->clock || over > 2 * BASE_MOST) {
		base[0] = base[1] = now;
		return false;
	}
	if (over < BASE_LEAST)
		return false;
	*slope = ratio(k->guest - base[0].guest, over);
	if (*slope == 0)
		return false;
	if (k->host - base[1].host > BASE_MOST / 2) {
		base[0] = base[1];
		base[1] = now;
	}
	return true;
}

/* Is there a line, and of the clock as it runs now? */
static bool is_of(const struct drawn *d, const struct cpu *c)
{
	return d->slope != 0 && d->clock == get(&c->svm->vm->clock.sequence);
}

/* The next line, by the only one that draws now. */
static void line_draw(struct cpu *c, struct tsc_lines *l)
{
	struct drawn last = line_read(l);
	struct look k = look_at_clock(c);
	struct drawn d = {k.host, k.guest, 0, k.clock};
	uint64_t least = is_of(&last, c) ? line_at(&last, k.host) : 0;

	if (!k.quick || !slope_measure(l, &k, &d.slope))
		return;
	/* Far ahead of the clock: the host's TSC has jumped. */
	if (least > d.value && least - d.value < LOST) {
		d.value = least;
		d.slope -= d.slope >> 10;
	}
	line_publish(l, &d);
}

/* Where there is no line, or an old one. */
static uint64_t tsc_slow(struct cpu *c)
{
	struct tsc_lines *l = &c->svm->tsc;
	struct drawn d;
	uint64_t now;

	vec_leave(c);
	if (l->usable && !atomic_exchange_explicit(&l->drawing, true,
						   memory_order_acquire)) {
		line_draw(c, l);
		atomic_store_explicit(&l->drawing, false, memory_order_release);
	}
	/* Not the clock, which may be before the line here and behind it at
	   its end. */
	d = line_read(l);
	now = __builtin_ia32_rdtsc();
	if (is_of(&d, c) && now - d.from < TSC_WINDOW)
		return line_at(&d, now);
	now = look_at_clock(c).guest;
	return is_of(&d, c) ? MAX(now, line_at(&d, __builtin_ia32_rdtsc()))
			    : now;
}

uint64_t soft_tsc(struct cpu *c)
{
	struct drawn d = line_read(&c->svm->tsc);
	uint64_t host = __builtin_ia32_rdtsc();
	uint64_t offset = c->vcpu->state.tsc_offset;

	if (unlikely(!is_of(&d, c) || host - d.from >= TSC_WINDOW))
		return tsc_slow(c) + offset;
	c->tsc = (struct tsc_copy){0 - d.from, d.slope, d.value + offset};
	return line_at(&d, host) + offset;
}
