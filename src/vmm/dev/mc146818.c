/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The MC146818A real-time clock and its 128 bytes of CMOS RAM, ports 0x70 and
 * 0x71, with the century at 0x32. Time is vm_clock since an anchor; the time
 * registers are computed when they are looked at. Register names as in
 * Motorola's data sheet.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/bits.h"
#include "vmm/device.h"
#include "vmm/irq.h"
#include "vmm/vm.h"

#define NS_PER_S        1000000000ull
#define SECONDS_PER_DAY 86400
#define RTC_IRQ         8
#define INDEX_PORT      0x70
#define NVRAM_SIZE      128
#define OSCILLATOR_HZ   32768

/* The time registers cannot be read safely this long before an update. */
#define UPDATE_WARNING_NS 244000

/* After the divider's reset the first update is half a second away. */
#define DIVIDER_DELAY_NS 500000000ull

enum {
	REG_SECONDS = 0x00,
	REG_SECONDS_ALARM = 0x01,
	REG_MINUTES = 0x02,
	REG_MINUTES_ALARM = 0x03,
	REG_HOURS = 0x04,
	REG_HOURS_ALARM = 0x05,
	REG_WEEKDAY = 0x06,
	REG_DAY = 0x07,
	REG_MONTH = 0x08,
	REG_YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	REG_CENTURY = 0x32,
};

#define A_UIP         BIT(7)
#define A_DIVIDER(a)  ((a) >> 4 & 7)
#define A_RATE(a)     ((a)&15)
#define DIVIDER_RUNS  2
#define DIVIDER_RESET 6 /* and 7 */

#define B_SET     BIT(7)
#define B_24H     BIT(1)
#define B_BINARY  BIT(2)
/* Interrupt enables in B are where their flags are in C. */
#define C_IRQF    BIT(7)
#define C_PF      BIT(6)
#define C_AF      BIT(5)
#define C_UF      BIT(4)
#define C_SOURCES (C_PF | C_AF | C_UF)

#define D_VRT BIT(7)

#define HOUR_PM       0x80
#define ALARM_ANY(al) (((al)&0xc0) == 0xc0)

struct mc146818 {
	struct vm *vm;
	pthread_mutex_t lock;
	uint8_t nvram[NVRAM_SIZE]; /* time: only right while it stands */
	uint8_t index;
	uint8_t line; /* IRQ 8 is held */
	uint8_t armed;
	int64_t anchor_s;    /* seconds since 1970, as the registers show it */
	uint64_t anchor_ns;  /* the vm_clock when it was that; modulo 2^64 */
	uint64_t checked_ns; /* flags in C are right up to this vm_clock */
	uint64_t deadline_ns;
	struct vm_timer timer;
};

static uint64_t now_ns(const struct mc146818 *rtc)
{
	return vm_clock_ns(&rtc->vm->clock);
}

static bool is_halted(const struct mc146818 *rtc)
{
	return (rtc->nvram[REG_B] & B_SET) != 0 ||
	       A_DIVIDER(rtc->nvram[REG_A]) >= DIVIDER_RESET;
}

/* Years far beyond what four digits show would overflow somewhere. */
static bool is_plausible(int64_t seconds)
{
	const int64_t limit = 1ll << 40;

	return seconds >= -limit && seconds <= limit;
}

/* -- seconds to registers and back -------------------------------------------
 */

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0 ? 1 : 0);
}

static int64_t seconds_at(const struct mc146818 *rtc, uint64_t ns)
{
	return rtc->anchor_s +
	       floor_div((int64_t)(ns - rtc->anchor_ns), NS_PER_S);
}

/* The vm_clock at which that second begins. */
static uint64_t second_begins(const struct mc146818 *rtc, int64_t seconds)
{
	return rtc->anchor_ns + (uint64_t)(seconds - rtc->anchor_s) * NS_PER_S;
}

static uint8_t encode(const struct mc146818 *rtc, unsigned value)
{
	if ((rtc->nvram[REG_B] & B_BINARY) != 0)
		return (uint8_t)value;
	return (uint8_t)(value / 10 % 10 << 4 | value % 10);
}

/* Garbage that a guest wrote gives some number up to 255. */
static unsigned decode(const struct mc146818 *rtc, uint8_t value)
{
	if ((rtc->nvram[REG_B] & B_BINARY) != 0)
		return value;
	return (value >> 4) * 10u + (value & 15);
}

static uint8_t encode_hour(const struct mc146818 *rtc, unsigned hour)
{
	if ((rtc->nvram[REG_B] & B_24H) != 0)
		return encode(rtc, hour);
	return encode(rtc, (hour + 11) % 12 + 1) | (hour >= 12 ? HOUR_PM : 0);
}

static unsigned decode_hour(const struct mc146818 *rtc, uint8_t value)
{
	if ((rtc->nvram[REG_B] & B_24H) != 0)
		return decode(rtc, value);
	return decode(rtc, value & 0x7f) % 12 +
	       ((value & HOUR_PM) != 0 ? 12 : 0);
}

static void seconds_to_registers(struct mc146818 *rtc, int64_t seconds)
{
	time_t time = (time_t)seconds;
	uint8_t *reg = rtc->nvram;
	struct tm tm;
	unsigned year;

	if (gmtime_r(&time, &tm) == NULL)
		return;
	year = (unsigned)tm.tm_year + 1900;
	reg[REG_SECONDS] = encode(rtc, (unsigned)tm.tm_sec);
	reg[REG_MINUTES] = encode(rtc, (unsigned)tm.tm_min);
	reg[REG_HOURS] = encode_hour(rtc, (unsigned)tm.tm_hour);
	reg[REG_WEEKDAY] = encode(rtc, (unsigned)tm.tm_wday + 1);
	reg[REG_DAY] = encode(rtc, (unsigned)tm.tm_mday);
	reg[REG_MONTH] = encode(rtc, (unsigned)tm.tm_mon + 1);
	reg[REG_YEAR] = encode(rtc, year % 100);
	reg[REG_CENTURY] = encode(rtc, year / 100 % 100);
}

/* timegm puts right what is out of range: 31 April is 1 May. */
static int64_t registers_to_seconds(const struct mc146818 *rtc)
{
	const uint8_t *reg = rtc->nvram;
	struct tm tm = {
	    .tm_sec = (int)decode(rtc, reg[REG_SECONDS]),
	    .tm_min = (int)decode(rtc, reg[REG_MINUTES]),
	    .tm_hour = (int)decode_hour(rtc, reg[REG_HOURS]),
	    .tm_mday = (int)decode(rtc, reg[REG_DAY]),
	    .tm_mon = (int)decode(rtc, reg[REG_MONTH]) - 1,
	    .tm_year = (int)decode(rtc, reg[REG_CENTURY]) * 100 +
		       (int)decode(rtc, reg[REG_YEAR]) - 1900,
	};

	return (int64_t)timegm(&tm);
}

/* -- alarm
 * ------------------------------------------------------------------------ */

struct alarm {
	int hour, minute, second; /* -1: any */
};

static struct alarm alarm_get(const struct mc146818 *rtc)
{
	const uint8_t *reg = rtc->nvram;
	struct alarm alarm = {-1, -1, -1};

	if (!ALARM_ANY(reg[REG_HOURS_ALARM]))
		alarm.hour = (int)decode_hour(rtc, reg[REG_HOURS_ALARM]);
	if (!ALARM_ANY(reg[REG_MINUTES_ALARM]))
		alarm.minute = (int)decode(rtc, reg[REG_MINUTES_ALARM]);
	if (!ALARM_ANY(reg[REG_SECONDS_ALARM]))
		alarm.second = (int)decode(rtc, reg[REG_SECONDS_ALARM]);
	return alarm;
}

/*
 * The first second after `seconds` at which the alarm matches, or INT64_MAX.
 * Whole hours and minutes that do not match are skipped, so that the walk
 * through a day takes at most 25 + 60 + 60 steps.
 */
static int64_t next_alarm(const struct mc146818 *rtc, int64_t seconds)
{
	const struct alarm alarm = alarm_get(rtc);
	int64_t at = seconds + 1;

	while (at <= seconds + SECONDS_PER_DAY) {
		int64_t in_day =
		    at - floor_div(at, SECONDS_PER_DAY) * SECONDS_PER_DAY;

		if (alarm.hour >= 0 && in_day / 3600 != alarm.hour)
			at += 3600 - in_day % 3600;
		else if (alarm.minute >= 0 && in_day / 60 % 60 != alarm.minute)
			at += 60 - in_day % 60;
		else if (alarm.second >= 0 && in_day % 60 != alarm.second)
			at++;
		else
			return at;
	}
	return INT64_MAX;
}

/* -- flags and interrupt
 * ------------------------------------------------------------ */

/* Periodic rate in Hz, 0 for none. Rates 1 and 2 are 8 and 9 again. */
static unsigned periodic_hz(const struct mc146818 *rtc)
{
	unsigned rate = A_RATE(rtc->nvram[REG_A]);

	if (rate == 0 || A_DIVIDER(rtc->nvram[REG_A]) != DIVIDER_RUNS)
		return 0;
	if (rate <= 2)
		rate += 7;
	return OSCILLATOR_HZ >> (rate - 1);
}

static uint8_t flags_since(const struct mc146818 *rtc, uint64_t now)
{
	unsigned hz = periodic_hz(rtc);
	int64_t from = seconds_at(rtc, rtc->checked_ns);
	int64_t to = seconds_at(rtc, now);
	uint8_t flags = 0;

	if (hz != 0 && ns_to_ticks(rtc->checked_ns, hz) != ns_to_ticks(now, hz))
		flags |= C_PF;
	if (is_halted(rtc) || to <= from)
		return flags;
	flags |= C_UF;
	if (next_alarm(rtc, from) <= to)
		flags |= C_AF;
	return flags;
}

/* IRQF and the line follow flags and enables. */
static void update_line(struct mc146818 *rtc)
{
	uint8_t *reg = rtc->nvram;
	bool level = (reg[REG_B] & reg[REG_C] & C_SOURCES) != 0;

	reg[REG_C] = (uint8_t)((reg[REG_C] & C_SOURCES) | (level ? C_IRQF : 0));
	/* The HPET's timer 1 may have taken the line over. */
	level = level && !hpet_legacy_route(rtc->vm);
	if (level == (rtc->line != 0))
		return;
	rtc->line = level;
	isa_set_irq(rtc->vm, RTC_IRQ, level);
}

/* Brings the flags up to now; every access and the timer begin with it. */
static void settle(struct mc146818 *rtc, uint64_t now)
{
	if (now > rtc->checked_ns)
		rtc->nvram[REG_C] |= flags_since(rtc, now);
	rtc->checked_ns = now;
	update_line(rtc);
}

static uint64_t next_event(const struct mc146818 *rtc, uint64_t now)
{
	uint8_t enables = rtc->nvram[REG_B];
	unsigned hz = periodic_hz(rtc);
	int64_t seconds = seconds_at(rtc, now);
	uint64_t event = UINT64_MAX;
	int64_t alarm;

	if ((enables & C_PF) != 0 && hz != 0)
		event = ticks_to_ns(ns_to_ticks(now, hz) + 1, hz);
	if (is_halted(rtc))
		return event;
	if ((enables & C_UF) != 0)
		event = MIN(event, second_begins(rtc, seconds + 1));
	if ((enables & C_AF) != 0) {
		alarm = next_alarm(rtc, seconds);
		if (alarm != INT64_MAX)
			event = MIN(event, second_begins(rtc, alarm));
	}
	return event;
}

static void arm(struct mc146818 *rtc, uint64_t now)
{
	uint64_t event = next_event(rtc, now);

	rtc->armed = event != UINT64_MAX;
	rtc->deadline_ns = event;
	if (rtc->armed != 0)
		vm_timer_arm(&rtc->timer, event);
	else
		vm_timer_cancel(&rtc->timer);
}

static void expired(void *arg)
{
	struct mc146818 *rtc = arg;
	uint64_t now;

	pthread_mutex_lock(&rtc->lock);
	now = now_ns(rtc);
	if (rtc->armed != 0 && now >= rtc->deadline_ns) {
		settle(rtc, now);
		arm(rtc, now);
	}
	pthread_mutex_unlock(&rtc->lock);
}

/* -- registers
 * ------------------------------------------------------------------------ */

static bool is_time(unsigned reg)
{
	switch (reg) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY:
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		return true;
	default:
		return false;
	}
}

static uint8_t read_a(const struct mc146818 *rtc, uint64_t now)
{
	uint64_t next = second_begins(rtc, seconds_at(rtc, now) + 1);
	bool updating = !is_halted(rtc) && next - now <= UPDATE_WARNING_NS;

	return (uint8_t)(rtc->nvram[REG_A] | (updating ? A_UIP : 0));
}

/* Reading C clears it, and with it the line. */
static uint8_t read_c(struct mc146818 *rtc)
{
	uint8_t value = rtc->nvram[REG_C];

	rtc->nvram[REG_C] = 0;
	update_line(rtc);
	return value;
}

static uint8_t reg_read(struct mc146818 *rtc, unsigned reg, uint64_t now)
{
	if (is_time(reg) && !is_halted(rtc))
		seconds_to_registers(rtc, seconds_at(rtc, now));
	switch (reg) {
	case REG_A:
		return read_a(rtc, now);
	case REG_C:
		return read_c(rtc);
	case REG_D:
		return D_VRT;
	default:
		return rtc->nvram[reg];
	}
}

/*
 * A and B can stop and restart the clock. Stopping leaves the time in the
 * registers; when it goes on, it does so from what is in them.
 */
static void write_control(struct mc146818 *rtc, unsigned reg, uint8_t value,
			  uint64_t now)
{
	bool was_halted = is_halted(rtc);
	bool was_reset = A_DIVIDER(rtc->nvram[REG_A]) >= DIVIDER_RESET;

	if (!was_halted)
		seconds_to_registers(rtc, seconds_at(rtc, now));
	rtc->nvram[reg] = value;
	if (was_halted && !is_halted(rtc)) {
		rtc->anchor_s = registers_to_seconds(rtc);
		rtc->anchor_ns = was_reset ? now - DIVIDER_DELAY_NS : now;
	}
}

/* While the clock runs the second goes on where it is. */
static void write_time(struct mc146818 *rtc, unsigned reg, uint8_t value,
		       uint64_t now)
{
	int64_t seconds = seconds_at(rtc, now);
	uint64_t begin = second_begins(rtc, seconds);

	if (!is_halted(rtc))
		seconds_to_registers(rtc, seconds);
	rtc->nvram[reg] = value;
	if (is_halted(rtc))
		return;
	rtc->anchor_s = registers_to_seconds(rtc);
	rtc->anchor_ns = begin;
}

static void reg_write(struct mc146818 *rtc, unsigned reg, uint8_t value,
		      uint64_t now)
{
	if (reg == REG_A)
		write_control(rtc, reg, value & (uint8_t)~A_UIP, now);
	else if (reg == REG_B) /* SET also disables the update interrupt */
		write_control(
		    rtc, reg,
		    (value & B_SET) != 0 ? value & (uint8_t)~C_UF : value, now);
	else if (is_time(reg))
		write_time(rtc, reg, value, now);
	else if (reg != REG_C && reg != REG_D)
		rtc->nvram[reg] = value;
}

uint32_t mc146818_read(struct vm *vm, uint16_t port, unsigned bytes)
{
	struct mc146818 *rtc = vm->rtc;
	uint32_t value = 0xff;
	uint64_t now;

	pthread_mutex_lock(&rtc->lock);
	if (port != INDEX_PORT) { /* the index is write-only */
		now = now_ns(rtc);
		settle(rtc, now);
		value = reg_read(rtc, rtc->index, now);
	}
	pthread_mutex_unlock(&rtc->lock);
	return value | (bytes > 1 ? 0xffffff00 : 0);
}

/* Bit 7 of the index once masked the NMI. */
void mc146818_write(struct vm *vm, uint16_t port, unsigned bytes,
		    uint32_t value)
{
	struct mc146818 *rtc = vm->rtc;
	uint64_t now;

	pthread_mutex_lock(&rtc->lock);
	if (port == INDEX_PORT) {
		rtc->index = value & 0x7f;
	} else {
		now = now_ns(rtc);
		settle(rtc, now);
		reg_write(rtc, rtc->index, (uint8_t)value, now);
		update_line(rtc);
		arm(rtc, now);
	}
	pthread_mutex_unlock(&rtc->lock);
}

/* -- door calls
 * ------------------------------------------------------------------------- */

uint8_t mc146818_nvram_read(struct vm *vm, unsigned offset)
{
	struct mc146818 *rtc = vm->rtc;
	uint8_t value;

	if (offset >= NVRAM_SIZE)
		return 0xff;
	pthread_mutex_lock(&rtc->lock);
	/* Looking from outside must not clear the guest's flags. */
	value = offset == REG_C ? rtc->nvram[REG_C]
				: reg_read(rtc, offset, now_ns(rtc));
	pthread_mutex_unlock(&rtc->lock);
	return value;
}

void mc146818_nvram_write(struct vm *vm, unsigned offset, uint8_t value)
{
	struct mc146818 *rtc = vm->rtc;

	/* Time and control registers are the guest's. */
	if (offset <= REG_D || offset == REG_CENTURY || offset >= NVRAM_SIZE)
		return;
	pthread_mutex_lock(&rtc->lock);
	rtc->nvram[offset] = value;
	pthread_mutex_unlock(&rtc->lock);
}

int64_t mc146818_get_time(struct vm *vm)
{
	struct mc146818 *rtc = vm->rtc;
	int64_t seconds;

	pthread_mutex_lock(&rtc->lock);
	seconds = is_halted(rtc) ? registers_to_seconds(rtc)
				 : seconds_at(rtc, now_ns(rtc));
	pthread_mutex_unlock(&rtc->lock);
	return seconds;
}

void mc146818_set_time(struct vm *vm, int64_t secs)
{
	struct mc146818 *rtc = vm->rtc;
	uint64_t now;

	if (!is_plausible(secs))
		return;
	pthread_mutex_lock(&rtc->lock);
	now = now_ns(rtc);
	settle(rtc, now);
	rtc->anchor_s = secs;
	rtc->anchor_ns = now;
	seconds_to_registers(rtc, secs);
	arm(rtc, now);
	pthread_mutex_unlock(&rtc->lock);
}

/* -- life
 * -------------------------------------------------------------------------------
 */

/* The battery keeps time and CMOS RAM; RESET# clears enables and flags. */
static void mc146818_reset(struct vm *vm)
{
	struct mc146818 *rtc = vm->rtc;
	uint64_t now;

	pthread_mutex_lock(&rtc->lock);
	now = now_ns(rtc);
	settle(rtc, now);
	write_control(rtc, REG_B, rtc->nvram[REG_B] & (B_24H | B_BINARY), now);
	rtc->nvram[REG_C] = 0;
	rtc->index = 0;
	update_line(rtc);
	arm(rtc, now);
	pthread_mutex_unlock(&rtc->lock);
}

static int mc146818_create(struct vm *vm)
{
	struct mc146818 *rtc = calloc(1, sizeof(*rtc));
	struct timespec wall;

	if (rtc == NULL)
		return -ENOMEM;
	rtc->vm = vm;
	pthread_mutex_init(&rtc->lock, NULL);
	vm_timer_init(vm, &rtc->timer, expired, rtc);
	clock_gettime(CLOCK_REALTIME, &wall);
	rtc->anchor_s = (int64_t)wall.tv_sec;
	rtc->anchor_ns = now_ns(rtc) - (uint64_t)wall.tv_nsec;
	rtc->checked_ns = now_ns(rtc);
	rtc->nvram[REG_A] = DIVIDER_RUNS << 4 | 6; /* 1024 Hz, as a BIOS */
	rtc->nvram[REG_B] = B_24H;
	vm->rtc = rtc;
	return 0;
}

static void mc146818_destroy(struct vm *vm)
{
	if (vm->rtc == NULL)
		return;
	vm_timer_cancel(&vm->rtc->timer);
	pthread_mutex_destroy(&vm->rtc->lock);
	free(vm->rtc);
	vm->rtc = NULL;
}

static void *mc146818_object(struct vm *vm)
{
	return vm->rtc;
}

static void mc146818_resume(struct vm *vm)
{
	struct mc146818 *rtc = vm->rtc;

	pthread_mutex_lock(&rtc->lock);
	if (rtc->armed != 0)
		vm_timer_arm(&rtc->timer, rtc->deadline_ns);
	else
		vm_timer_cancel(&rtc->timer);
	pthread_mutex_unlock(&rtc->lock);
}

static int mc146818_post_load(void *object)
{
	const struct mc146818 *rtc = object;

	if (rtc->index >= NVRAM_SIZE || rtc->line > 1 || rtc->armed > 1 ||
	    !is_plausible(rtc->anchor_s))
		return -EINVAL;
	return 0;
}

static const struct state_field mc146818_fields[] = {
    STATE_ARRAY(struct mc146818, nvram),
    STATE_SCALAR(struct mc146818, index),
    STATE_SCALAR(struct mc146818, line),
    STATE_SCALAR(struct mc146818, armed),
    STATE_SCALAR(struct mc146818, anchor_s),
    STATE_SCALAR(struct mc146818, anchor_ns),
    STATE_SCALAR(struct mc146818, checked_ns),
    STATE_SCALAR(struct mc146818, deadline_ns),
};

static const struct state_class mc146818_state_class = {
    .name = "mc146818",
    .version = 1,
    .fields = mc146818_fields,
    .field_count = ARRAY_SIZE(mc146818_fields),
    .post_load = mc146818_post_load,
};

const struct room_device mc146818_device = {
    .name = "mc146818",
    .state = &mc146818_state_class,
    .create = mc146818_create,
    .destroy = mc146818_destroy,
    .reset = mc146818_reset,
    .object = mc146818_object,
    .resume = mc146818_resume,
};
