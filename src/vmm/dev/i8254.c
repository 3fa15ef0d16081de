/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The 8254 interval timer and port 0x61. Channel 0 interrupts (ISA IRQ 0),
 * channel 1 once refreshed DRAM, channel 2 is gated by port 0x61 and drove
 * the speaker. Counts and outputs are functions of vm_clock, in ticks of
 * 1.193182 MHz; only channel 0's interrupt needs a timer. Names as in
 * Intel's 8254 data sheet.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define PIT_HZ        1193182
#define CHANNELS      3
#define CHANNEL0_PORT 0x40
#define CONTROL_PORT  0x43
#define PORT_B        0x61 /* NMI status and control, "port B" */

/* Shorter periods do not interrupt: see the LAPIC's timer. */
#define MIN_PERIOD_NS 20000

/* Control word. */
#define CW_CHANNEL(cw) ((cw) >> 6 & 3)
#define CW_RW(cw)      ((cw) >> 4 & 3)
#define CW_MODE(cw)    ((cw) >> 1 & 7)
#define CW_BCD         BIT(0)
enum { RW_LATCH, RW_LSB, RW_MSB, RW_WORD };

/* Read-back command: bits are active low. */
#define RB_CHANNEL   3
#define RB_NO_STATUS BIT(4)
#define RB_NO_COUNT  BIT(5)
#define STATUS_OUT   BIT(7)
#define STATUS_NULL  BIT(6)

#define PORT_B_GATE    BIT(0)
#define PORT_B_KEPT    0x0fu
#define PORT_B_REFRESH BIT(4)
#define PORT_B_OUT2    BIT(5)
#define REFRESH_NS     15085 /* half a period of the refresh toggle */

struct channel {
	uint8_t mode;
	uint8_t rw;
	uint8_t bcd;
	uint8_t gate;
	uint8_t loaded;     /* a whole count was written since the mode */
	uint8_t triggered;  /* modes 1 and 5: since the mode */
	uint8_t write_high; /* RW_WORD: the next byte is the high one */
	uint8_t write_low;  /* the low one, waiting for it */
	uint8_t read_high;
	uint8_t count_latched; /* bytes of latched_count still to be read */
	uint8_t status_latched;
	uint8_t latched_status;
	uint16_t latched_count;
	uint32_t count;      /* 1 to 0x10000, in ticks whatever bcd says */
	uint32_t next_count; /* modes 2, 3: from the next period on; or 0 */
	uint64_t start;      /* tick at which count was loaded */
	uint64_t held;       /* modes 0, 4 without gate: ticks before */
};

struct i8254 {
	struct vm *vm;
	pthread_mutex_t lock;
	struct channel channel[CHANNELS];
	uint8_t port_b;
	uint8_t armed;
	uint64_t deadline_ns;
	struct vm_timer timer;
};

static uint64_t now_ns(const struct i8254 *pit)
{
	return vm_clock_ns(&pit->vm->clock);
}

static uint64_t now_ticks(const struct i8254 *pit)
{
	return ns_to_ticks(now_ns(pit), PIT_HZ);
}

static bool is_periodic(const struct channel *ch)
{
	return ch->mode == 2 || ch->mode == 3;
}

static bool is_triggered_mode(const struct channel *ch)
{
	return ch->mode == 1 || ch->mode == 5;
}

/* -- the counter as a function of time ---------------------------------------
 */

/* The count runs, and elapsed() has a meaning. */
static bool is_counting(const struct channel *ch)
{
	if (is_triggered_mode(ch))
		return ch->triggered != 0;
	return ch->loaded != 0 && (ch->gate != 0 || !is_periodic(ch));
}

/* Modes 0 and 4 stand still without gate, and go on from there. */
static uint64_t elapsed(const struct channel *ch, uint64_t tick)
{
	if (!is_periodic(ch) && !is_triggered_mode(ch) && ch->gate == 0)
		return ch->held;
	return tick > ch->start ? tick - ch->start : 0;
}

/* A new count in modes 2 and 3 begins where a period ends. */
static void settle(struct channel *ch, uint64_t tick)
{
	if (!is_periodic(ch) || !is_counting(ch) || ch->next_count == 0 ||
	    elapsed(ch, tick) < ch->count)
		return;
	ch->start += ch->count;
	ch->count = ch->next_count;
	ch->next_count = 0;
}

static bool out(const struct channel *ch, uint64_t tick)
{
	uint64_t ticks = elapsed(ch, tick);

	switch (ch->mode) {
	case 0:
		return ch->loaded != 0 && ticks >= ch->count;
	case 1:
		return !is_counting(ch) || ticks >= ch->count;
	case 2:
		return !is_counting(ch) || ticks % ch->count != ch->count - 1;
	case 3:
		return !is_counting(ch) ||
		       ticks % ch->count < (ch->count + 1) / 2;
	default: /* 4, 5: low for the one tick at the end */
		return !is_counting(ch) || ticks != ch->count;
	}
}

/* In mode 3 each half of the period counts down by two. */
static uint64_t square_wave_count(const struct channel *ch, uint64_t ticks)
{
	uint64_t half = (ch->count + 1) / 2;
	uint64_t phase = ticks % ch->count;

	if (phase >= half)
		phase -= half;
	return (ch->count & ~1u) - 2 * phase;
}

static uint16_t to_bcd(uint32_t value)
{
	return (uint16_t)(value % 10 | value / 10 % 10 << 4 |
			  value / 100 % 10 << 8 | value / 1000 % 10 << 12);
}

/* What a read shows. Past zero the one-shot modes wrap and count on. */
static uint16_t counter(const struct channel *ch, uint64_t tick)
{
	uint32_t modulus = ch->bcd != 0 ? 10000 : 0x10000;
	uint64_t ticks = is_counting(ch) ? elapsed(ch, tick) : 0;
	uint32_t value;

	if (ch->mode == 3)
		value = (uint32_t)square_wave_count(ch, ticks);
	else if (ch->mode == 2)
		value = (uint32_t)(ch->count - ticks % ch->count);
	else
		value = (uint32_t)((ch->count + modulus - ticks % modulus) %
				   modulus);
	return ch->bcd != 0 ? to_bcd(value) : (uint16_t)value;
}

/* -- channel 0's interrupt ---------------------------------------------------
 */

/* The tick of the first rising edge of OUT after `tick`, or UINT64_MAX. */
static uint64_t next_edge(const struct channel *ch, uint64_t tick)
{
	uint64_t ticks = elapsed(ch, tick);
	uint64_t end;

	if (!is_counting(ch) || (ch->gate == 0 && !is_triggered_mode(ch)))
		return UINT64_MAX;
	if (is_periodic(ch))
		return ch->start + (ticks / ch->count + 1) * ch->count;
	/* Modes 4 and 5 strobe: up again one tick after the end. */
	end = ch->count + (ch->mode >= 4 ? 1u : 0u);
	return ticks < end ? ch->start + end : UINT64_MAX;
}

static void arm(struct i8254 *pit, uint64_t tick, uint64_t earliest_ns)
{
	uint64_t edge = next_edge(&pit->channel[0], tick);

	if (edge == UINT64_MAX) {
		pit->armed = 0;
		vm_timer_cancel(&pit->timer);
		return;
	}
	pit->armed = 1;
	pit->deadline_ns = MAX(ticks_to_ns(edge, PIT_HZ), earliest_ns);
	vm_timer_arm(&pit->timer, pit->deadline_ns);
}

/* The HPET's timer 0 may have taken the line over. */
static void expired(void *arg)
{
	struct i8254 *pit = arg;
	uint64_t ns, tick;

	pthread_mutex_lock(&pit->lock);
	ns = now_ns(pit);
	if (pit->armed != 0 && ns >= pit->deadline_ns) {
		if (!hpet_legacy_route(pit->vm)) {
			isa_set_irq(pit->vm, 0, true);
			isa_set_irq(pit->vm, 0, false);
		}
		tick = ns_to_ticks(ns, PIT_HZ);
		settle(&pit->channel[0], tick);
		arm(pit, tick, ns + MIN_PERIOD_NS);
	}
	pthread_mutex_unlock(&pit->lock);
}

/* -- programming -------------------------------------------------------------
 */

static void start_count(struct channel *ch, uint32_t count, uint64_t tick)
{
	ch->count = count;
	ch->next_count = 0;
	ch->start = tick;
	ch->held = 0;
}

/* A whole count has been written. */
static void load(struct channel *ch, uint16_t value, uint64_t tick)
{
	uint32_t count = value;

	if (ch->bcd != 0)
		count = (value & 15) + (value >> 4 & 15) * 10 +
			(value >> 8 & 15) * 100 + (value >> 12 & 15) * 1000u;
	if (count == 0)
		count = ch->bcd != 0 ? 10000 : 0x10000;

	if (is_periodic(ch) && is_counting(ch)) {
		/* count from the start of this period, see settle() */
		ch->start += elapsed(ch, tick) / ch->count * ch->count;
		ch->next_count = count;
	} else if (is_triggered_mode(ch)) {
		ch->next_count = count;
	} else {
		start_count(ch, count, tick);
	}
	ch->loaded = 1;
}

static void write_count(struct channel *ch, uint8_t value, uint64_t tick)
{
	switch (ch->rw) {
	case RW_LSB:
		load(ch, value, tick);
		break;
	case RW_MSB:
		load(ch, (uint16_t)(value << 8), tick);
		break;
	default:
		if (ch->write_high == 0) {
			ch->write_low = value;
			/* In mode 0 the first byte stops the count. */
			if (ch->mode == 0)
				ch->loaded = 0;
		} else {
			load(ch, (uint16_t)(value << 8 | ch->write_low), tick);
		}
		ch->write_high ^= 1;
		break;
	}
}

static void latch_count(struct channel *ch, uint64_t tick)
{
	if (ch->count_latched != 0)
		return;
	ch->latched_count = counter(ch, tick);
	ch->count_latched = ch->rw == RW_WORD ? 2 : 1;
}

static void latch_status(struct channel *ch, uint64_t tick)
{
	bool null_count = ch->loaded == 0 || ch->next_count != 0;

	if (ch->status_latched != 0)
		return;
	ch->latched_status = (uint8_t)((out(ch, tick) ? STATUS_OUT : 0) |
				       (null_count ? STATUS_NULL : 0) |
				       ch->rw << 4 | ch->mode << 1 | ch->bcd);
	ch->status_latched = 1;
}

static void read_back(struct i8254 *pit, uint8_t command, uint64_t tick)
{
	for (unsigned i = 0; i < CHANNELS; i++) {
		if ((command >> (i + 1) & 1) == 0)
			continue;
		if ((command & RB_NO_COUNT) == 0)
			latch_count(&pit->channel[i], tick);
		if ((command & RB_NO_STATUS) == 0)
			latch_status(&pit->channel[i], tick);
	}
}

/* Modes 6 and 7 are 2 and 3: their upper bit does not count. */
static void set_mode(struct channel *ch, uint8_t control)
{
	uint8_t mode = CW_MODE(control);

	*ch = (struct channel){
	    .mode = mode > 5 ? mode - 4 : mode,
	    .rw = CW_RW(control),
	    .bcd = control & CW_BCD,
	    .gate = ch->gate,
	    .count = ch->count,
	};
}

static void write_control(struct i8254 *pit, uint8_t value, uint64_t tick)
{
	struct channel *ch;

	if (CW_CHANNEL(value) == RB_CHANNEL) {
		read_back(pit, value, tick);
		return;
	}
	ch = &pit->channel[CW_CHANNEL(value)];
	if (CW_RW(value) == RW_LATCH)
		latch_count(ch, tick);
	else
		set_mode(ch, value);
}

static uint8_t read_latched(struct channel *ch)
{
	uint16_t value = ch->latched_count;

	ch->count_latched--;
	if (ch->rw == RW_MSB || (ch->rw == RW_WORD && ch->count_latched == 0))
		return (uint8_t)(value >> 8);
	return (uint8_t)value;
}

static uint8_t read_channel(struct channel *ch, uint64_t tick)
{
	uint16_t value;
	bool high;

	if (ch->status_latched != 0) {
		ch->status_latched = 0;
		return ch->latched_status;
	}
	if (ch->count_latched != 0)
		return read_latched(ch);
	high = ch->rw == RW_MSB || ch->read_high != 0;
	if (ch->rw == RW_WORD)
		ch->read_high ^= 1;
	value = counter(ch, tick);
	return (uint8_t)(high ? value >> 8 : value);
}

/* -- port 0x61 ----------------------------------------------------------------
 */

static void set_gate(struct channel *ch, bool gate, uint64_t tick)
{
	bool rising = gate && ch->gate == 0;

	if (gate == (ch->gate != 0))
		return;
	if (!gate && !is_periodic(ch) && !is_triggered_mode(ch))
		ch->held = elapsed(ch, tick);
	ch->gate = gate;
	if (!rising)
		return;
	if (is_triggered_mode(ch) || is_periodic(ch)) {
		start_count(
		    ch, ch->next_count != 0 ? ch->next_count : ch->count, tick);
		ch->triggered = ch->loaded;
	} else {
		ch->start = tick - ch->held;
	}
}

static uint8_t read_port_b(const struct i8254 *pit, uint64_t tick)
{
	uint8_t value = pit->port_b;

	if ((now_ns(pit) / REFRESH_NS & 1) != 0)
		value |= PORT_B_REFRESH;
	if (out(&pit->channel[2], tick))
		value |= PORT_B_OUT2;
	return value;
}

/* -- ports
 * --------------------------------------------------------------------- */

static void settle_all(struct i8254 *pit, uint64_t tick)
{
	for (unsigned i = 0; i < CHANNELS; i++)
		settle(&pit->channel[i], tick);
}

uint32_t i8254_read(struct vm *vm, uint16_t port, unsigned bytes)
{
	struct i8254 *pit = vm->pit;
	uint32_t value = 0xff;
	uint64_t tick;

	pthread_mutex_lock(&pit->lock);
	tick = now_ticks(pit);
	settle_all(pit, tick);
	if (port == PORT_B)
		value = read_port_b(pit, tick);
	else if (port != CONTROL_PORT)
		value = read_channel(&pit->channel[port & 3], tick);
	pthread_mutex_unlock(&pit->lock);
	return value | (bytes > 1 ? 0xffffff00 : 0);
}

/* A write after which channel 0's next edge is another one. */
static bool moves_edge(const struct channel *ch0, uint16_t port, uint8_t value)
{
	if (port == CONTROL_PORT)
		return CW_CHANNEL(value) == 0 && CW_RW(value) != RW_LATCH;
	return port == CHANNEL0_PORT && ch0->next_count == 0;
}

void i8254_write(struct vm *vm, uint16_t port, unsigned bytes, uint32_t value)
{
	struct i8254 *pit = vm->pit;
	uint64_t tick;

	pthread_mutex_lock(&pit->lock);
	tick = now_ticks(pit);
	settle_all(pit, tick);
	if (port == PORT_B) {
		pit->port_b = value & PORT_B_KEPT;
		set_gate(&pit->channel[2], (value & PORT_B_GATE) != 0, tick);
	} else if (port == CONTROL_PORT) {
		write_control(pit, (uint8_t)value, tick);
	} else {
		write_count(&pit->channel[port & 3], (uint8_t)value, tick);
	}
	if (moves_edge(&pit->channel[0], port, (uint8_t)value))
		arm(pit, tick, 0);
	pthread_mutex_unlock(&pit->lock);
}

/* -- life
 * ---------------------------------------------------------------------- */

static void i8254_reset(struct vm *vm)
{
	struct i8254 *pit = vm->pit;

	pthread_mutex_lock(&pit->lock);
	memset(pit->channel, 0, sizeof(pit->channel));
	for (unsigned i = 0; i < CHANNELS; i++) {
		pit->channel[i].rw = RW_WORD;
		pit->channel[i].count = 0x10000;
		pit->channel[i].gate = i != 2;
	}
	pit->port_b = 0;
	arm(pit, 0, 0);
	pthread_mutex_unlock(&pit->lock);
}

static int i8254_create(struct vm *vm)
{
	struct i8254 *pit = calloc(1, sizeof(*pit));

	if (pit == NULL)
		return -ENOMEM;
	pit->vm = vm;
	pthread_mutex_init(&pit->lock, NULL);
	vm_timer_init(vm, &pit->timer, expired, pit);
	vm->pit = pit;
	i8254_reset(vm);
	return 0;
}

static void i8254_destroy(struct vm *vm)
{
	if (vm->pit == NULL)
		return;
	vm_timer_cancel(&vm->pit->timer);
	pthread_mutex_destroy(&vm->pit->lock);
	free(vm->pit);
	vm->pit = NULL;
}

static void *i8254_object(struct vm *vm)
{
	return vm->pit;
}

static void i8254_resume(struct vm *vm)
{
	struct i8254 *pit = vm->pit;

	pthread_mutex_lock(&pit->lock);
	if (pit->armed != 0)
		vm_timer_arm(&pit->timer, pit->deadline_ns);
	else
		vm_timer_cancel(&pit->timer);
	pthread_mutex_unlock(&pit->lock);
}

static int i8254_post_load(void *object)
{
	const struct i8254 *pit = object;

	for (unsigned i = 0; i < CHANNELS; i++) {
		const struct channel *ch = &pit->channel[i];

		if (ch->mode > 5 || ch->rw == RW_LATCH || ch->rw > RW_WORD ||
		    ch->bcd > 1 || ch->count == 0 || ch->count > 0x10000 ||
		    ch->next_count > 0x10000 || ch->count_latched > 2 ||
		    ch->write_high > 1 || ch->read_high > 1)
			return -EINVAL;
	}
	return pit->armed > 1 ? -EINVAL : 0;
}

#define CHANNEL_FIELDS(i)                                                      \
	STATE_SCALAR(struct i8254, channel[i].mode),                           \
	    STATE_SCALAR(struct i8254, channel[i].rw),                         \
	    STATE_SCALAR(struct i8254, channel[i].bcd),                        \
	    STATE_SCALAR(struct i8254, channel[i].gate),                       \
	    STATE_SCALAR(struct i8254, channel[i].loaded),                     \
	    STATE_SCALAR(struct i8254, channel[i].triggered),                  \
	    STATE_SCALAR(struct i8254, channel[i].write_high),                 \
	    STATE_SCALAR(struct i8254, channel[i].write_low),                  \
	    STATE_SCALAR(struct i8254, channel[i].read_high),                  \
	    STATE_SCALAR(struct i8254, channel[i].count_latched),              \
	    STATE_SCALAR(struct i8254, channel[i].status_latched),             \
	    STATE_SCALAR(struct i8254, channel[i].latched_status),             \
	    STATE_SCALAR(struct i8254, channel[i].latched_count),              \
	    STATE_SCALAR(struct i8254, channel[i].count),                      \
	    STATE_SCALAR(struct i8254, channel[i].next_count),                 \
	    STATE_SCALAR(struct i8254, channel[i].start),                      \
	    STATE_SCALAR(struct i8254, channel[i].held)

static const struct state_field i8254_fields[] = {
    CHANNEL_FIELDS(0),
    CHANNEL_FIELDS(1),
    CHANNEL_FIELDS(2),
    STATE_SCALAR(struct i8254, port_b),
    STATE_SCALAR(struct i8254, armed),
    STATE_SCALAR(struct i8254, deadline_ns),
};

static const struct state_class i8254_state_class = {
    .name = "i8254",
    .version = 1,
    .fields = i8254_fields,
    .field_count = ARRAY_SIZE(i8254_fields),
    .post_load = i8254_post_load,
};

const struct room_device i8254_device = {
    .name = "i8254",
    .state = &i8254_state_class,
    .create = i8254_create,
    .destroy = i8254_destroy,
    .reset = i8254_reset,
    .object = i8254_object,
    .resume = i8254_resume,
};
