// SPDX-License-Identifier: BSD-2-Clause
/*
 * A line is good for TSC_WINDOW ticks of the host's TSC; then the next one is
 * drawn, from the VM's clock. No line begins below where the one before it
 * ended, and what is ahead of the clock is made less steep until it is not:
 * the TSC never goes back, and follows the clock.
 *
 * VMs of several vCPUs look at the clock each time: who has no line does, and
 * would have to be kept from what he saw being before a line that another is
 * about to draw (two of some million readings in turn, on a loaded host).
 */
#include "vmm/soft/tsc.h"

#include "vmm/soft/cpu.h"

#define BASE_LEAST (1ull << 24) /* ticks that a slope is measured over */
#define BASE_MOST  (1ull << 32)
#define SAMPLE     4096ull /* ticks that a look at the clock takes at most */
#define LOST       (1ull << 22) /* ahead of the clock */

/* Beyond its window a line is level. */
static uint64_t line_at(const struct tsc_line *l, uint64_t host)
{
	uint64_t ticks = MIN(host - l->from, TSC_WINDOW);

	return l->value + (uint64_t)((unsigned __int128)ticks * l->slope >> 32);
}

/* Is there a line, and of the clock as it runs now? */
static bool is_of(const struct tsc_line *l, const struct cpu *c)
{
	return l->slope != 0 && l->clock == c->svm->vm->clock.sequence;
}

static bool is_good(const struct tsc_line *l, const struct cpu *c,
		    uint64_t host)
{
	return is_of(l, c) && host - l->from < TSC_WINDOW;
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
		k.clock = clock->sequence;
		k.host = __builtin_ia32_rdtsc();
		k.guest = vcpu_tsc(c->vcpu) - c->vcpu->state.tsc_offset;
		k.quick = __builtin_ia32_rdtsc() - k.host < SAMPLE &&
			  clock->sequence == k.clock;
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
static bool slope_measure(struct tsc_base base[2], const struct look *k,
			  uint64_t *slope)
{
	struct tsc_base now = {k->host, k->guest, k->clock};
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

static void line_draw(struct cpu *c, struct tsc_state *tsc)
{
	struct tsc_line *l = &tsc->line;
	struct look k = look_at_clock(c);
	struct tsc_line next = {k.host, k.guest, 0, k.clock};
	uint64_t least = is_of(l, c) ? line_at(l, k.host) : 0;

	if (!k.quick || !slope_measure(tsc->base, &k, &next.slope))
		return;
	/* Far ahead of the clock: the host's TSC has jumped. */
	if (least > next.value && least - next.value < LOST) {
		next.value = least;
		next.slope -= next.slope >> 10;
	}
	*l = next;
}

/* Where there is no line, or an old one: the next, if it can be drawn. */
static uint64_t tsc_slow(struct cpu *c)
{
	struct tsc_line *l = &c->svm->tsc.line;
	uint64_t host, now;

	vec_leave(c);
	line_draw(c, &c->svm->tsc);
	/* Not the clock, which may be before the line here and behind it at
	   its end. */
	host = __builtin_ia32_rdtsc();
	if (is_good(l, c, host))
		return line_at(l, host);
	now = vcpu_tsc(c->vcpu) - c->vcpu->state.tsc_offset;
	return is_of(l, c) ? MAX(now, line_at(l, host)) : now;
}

uint64_t soft_tsc(struct cpu *c)
{
	const struct tsc_line *l = &c->svm->tsc.line;
	uint64_t host = __builtin_ia32_rdtsc();
	uint64_t offset = c->vcpu->state.tsc_offset;

	if (!c->svm->tsc.usable) {
		vec_leave(c);
		return vcpu_tsc(c->vcpu);
	}
	if (unlikely(!is_good(l, c, host)))
		return tsc_slow(c) + offset;
	c->tsc = (struct tsc_copy){0 - l->from, l->slope, l->value + offset};
	return line_at(l, host) + offset;
}
