// SPDX-License-Identifier: BSD-2-Clause
/*
 * Two vCPUs of one VM run the same random code at the same time, each in an
 * address space of its own for data and stack; the page of code is the same
 * one. In turn, a device, or the other vCPU instead of running the code,
 * writes to it all the time: to the value that its first instruction stores
 * where nothing else looks. It must be one that was there since the run began;
 * and the rest must come out as tier 0 does, alone and in peace.
 *
 * fuzz_pair [--seconds=N | --cases=N] [--seed=S] [--first=CASE]
 */
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "host.h"
#include "runs.h"
#include "vmm/soft/jit/jit.h"
#include "x86/cr.h"

#define SHOWN    10
#define FAULTS   24  /* of a run */
#define ROUNDS   6   /* of both vCPUs, a case */
#define TICK_US  200 /* between signals */
#define PATIENCE 200 /* ticks for one round */

#define NOTE      (TEST_BASE + 0x1e000u) /* a page of each vCPU's own */
#define FIRST     (TEST_FIRST - 11u)     /* mov dword [NOTE], value */
#define WORD      (TEST_FIRST - 8u)      /* NOTE, value */
#define WRITER_AT (TEST_CODE + 0x900u)   /* the code that writes to it */

enum { NOBODY, DEVICE, VCPU, WRITERS };

struct end {
	struct outcome out[FAULTS];
	unsigned faults;
	bool stopped;
	uint8_t memory[2][TEST_AREA]; /* data, stack */
	struct xsave_image vec __attribute__((aligned(64)));
};

/* What one vCPU is to do. */
struct side {
	struct guest *g;
	uint32_t off; /* of its data and stack */
	struct code_block b;
	struct xsave_image vec __attribute__((aligned(64)));
	struct end alone, end;
	unsigned stale;
};

static struct {
	struct side side[2];
	struct guest *solo;
	uint8_t before[2][TEST_AREA];
	volatile unsigned ticks;
	atomic_bool both_run, done;
	/* The round, and the others' progress: about to run, done with it. */
	atomic_uint round, started[2], arrived;
	atomic_uint writer;
	atomic_bool writes_now; /* the device, for the round */
	uint64_t cases, skipped, differences;
	atomic_uint written; /* by the device, in this round */
	atomic_ullong writes;
} run;

static void on_tick(int signal)
{
	bool stop = ++run.ticks > PATIENCE;

	if (!run.both_run) {
		guest_kick(run.solo, stop);
		return;
	}
	for (unsigned k = 0; k < 2; k++)
		guest_kick(run.side[k].g, stop);
}

static uint8_t *area(unsigned k, uint32_t off)
{
	return (uint8_t *)(uintptr_t)((k == 0 ? TEST_DATA : TEST_STACK) + off);
}

static volatile uint32_t *note(uint32_t off)
{
	return (volatile uint32_t *)(uintptr_t)(NOTE + off);
}

static uint64_t word(unsigned value)
{
	return NOTE | (uint64_t)(value & 0xff) << 32;
}

static void put_code(const struct code_block *b)
{
	static const uint8_t first[3] = {0xc7, 0x04, 0x25},
			     /* again: mov [rdi], al; mov [rsi], eax; inc eax;
				jmp again */
	    writer[] = {0x88, 0x07, 0x89, 0x06, 0xff, 0xc0, 0xeb, 0xf8};

	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	memcpy((void *)(uintptr_t)FIRST, first, sizeof(first));
	*(uint64_t *)(uintptr_t)WORD = word(0);
	memcpy((void *)(uintptr_t)TEST_FIRST, b->code, b->len);
	memcpy((void *)(uintptr_t)WRITER_AT, writer, sizeof(writer));
}

/* What is known to be in the code, of this round's writer. */
static unsigned written(void)
{
	return run.writer == VCPU     ? note(TEST_OFF_2)[1]
	       : run.writer == DEVICE ? run.written
				      : 0;
}

/* One run of s in g, which finds its memory at off. */
static void run_side(const struct side *s, struct guest *g, uint32_t off,
		     struct end *end)
{
	for (unsigned k = 0; k < 2; k++)
		memcpy(area(k, off), run.before[k], TEST_AREA);
	guest_set_vectors(g, &s->vec);
	end->faults = runs_to_faults(g, &s->b, FIRST, end->out, FAULTS);
	end->stopped = guest_was_stopped(g);
	guest_vectors(g, &end->vec);
	for (unsigned k = 0; k < 2; k++)
		memcpy(end->memory[k], area(k, off), TEST_AREA);
}

/* The same amid writes: was what it saw there already, or still? One byte
   counts, for that no one sees half. */
static void run_amid(struct side *s)
{
	unsigned before = written(), after;
	uint8_t seen;

	run_side(s, s->g, s->off, &s->end);
	after = written() + 1;
	seen = (uint8_t)*note(s->off);
	if (!s->end.stopped && after - before < 256)
		s->stale += (uint8_t)(seen - before) > after - before;
}

/* -- together
 * ----------------------------------------------------------------- */

/* Until the second is done. */
static void write_as_device(unsigned round)
{
	run.writes_now = true;
	do {
		guest_dma(run.side[0].g, WORD, word(run.written + 1));
		run.written++;
		run.writes++;
		run.started[1] = round;
		for (unsigned k = 0; k < run.written % 64; k++)
			__builtin_ia32_pause();
	} while (round > run.arrived);
	run.writes_now = false;
}

/* Until it is stopped. */
static void write_as_vcpu(struct guest *g)
{
	uint64_t gpr[16] = {
	    [0] = note(TEST_OFF_2)[1] + 1, [6] = NOTE + 4, [7] = WORD + 4};
	struct outcome out;

	guest_run(g, gpr, RFLAGS_ONE, WRITER_AT, &out);
	run.writes += out.gpr[0] - gpr[0];
	guest_was_stopped(g);
}

/* The second vCPU, a round each time it is told. */
static void *second(void *unused)
{
	struct side *s = &run.side[1];

	for (unsigned n = 1; !run.done; n++) {
		while (run.round != n && !run.done)
			sched_yield();
		if (run.done)
			break;
		run.started[0] = n;
		if (run.writer == VCPU)
			write_as_vcpu(s->g);
		else
			run_amid(s);
		run.arrived = n;
	}
	return unused;
}

/* The device is this process' third thread, between the two. */
static void *device(void *unused)
{
	while (!run.done) {
		/* Whose round it is was said before it began. */
		unsigned round = run.round;

		if (run.writer == DEVICE && run.started[1] != round)
			write_as_device(round);
		sched_yield();
	}
	return unused;
}

static void run_together(void)
{
	unsigned n = run.round + 1;

	run.ticks = 0;
	run.both_run = true;
	run.round = n;
	while (run.started[0] != n ||
	       (run.writer == DEVICE && run.started[1] != n))
		sched_yield();
	run_amid(&run.side[0]);
	while (run.arrived != n) {
		if (run.writer == VCPU)
			guest_kick(run.side[1].g, true);
		sched_yield();
	}
	/* Its last write must not come to the next case. */
	while (run.writes_now)
		sched_yield();
	run.both_run = false;
}

/* -- one case
 * ---------------------------------------------------------------- */

static const char *difference(const struct end *a, const struct end *b,
			      unsigned *fault)
{
	const char *what = runs_faults_differ(a->out, b->out, a->faults, fault);

	if (what != NULL)
		return what;
	if (memcmp(a->memory, b->memory, sizeof(a->memory)) != 0)
		return "memory";
	return runs_vectors_differ(&a->vec, &b->vec);
}

static void show(const struct side *s, const char *what, unsigned fault,
		 uint64_t number)
{
	printf("# case %" PRIu64 ", vCPU %d: %s differ, at fault %u\n", number,
	       s == &run.side[1], what, fault);
	runs_show_code(&s->b);
	runs_show("alone", &s->alone.out[fault]);
	runs_show("together", &s->end.out[fault]);
}

/* It went into the value, as code. */
static bool runs_value(const struct end *end)
{
	for (unsigned n = 0; n < end->faults; n++)
		if (end->out[n].rip - (WORD + 4) < 4)
			return true;
	return false;
}

/* Both alone, in tier 0. False: endless, or it looks at or writes to the code,
   which is not the same at all times. */
static bool run_alone(void)
{
	static uint8_t code[4096];

	run.both_run = false;
	for (unsigned k = 0; k < 2; k++)
		for (unsigned twice = 0; twice < 2; twice++) {
			struct side *s = &run.side[k];
			struct end *end = twice ? &s->end : &s->alone;
			unsigned fault;

			put_code(&s->b);
			/* Who reads the other value comes out by it. */
			*(uint64_t *)(uintptr_t)WORD = word(twice * 0xff);
			memcpy(code, (void *)(uintptr_t)TEST_CODE, 4096);
			guest_forget(run.solo);
			run.ticks = 0;
			run_side(s, run.solo, 0, end);
			if (end->stopped || runs_value(end) ||
			    memcmp(code, (void *)(uintptr_t)TEST_CODE, 4096) !=
				0)
				return false;
			if (twice && difference(&s->alone, end, &fault) != NULL)
				return false;
		}
	return true;
}

static void make_case(uint64_t *rng)
{
	struct side *first = &run.side[0], *other = &run.side[1];

	first->b.mode = &code_mode_64;
	block_generate(&first->b, rng);
	other->b = first->b;
	block_state(&other->b, rng);
	for (unsigned k = 0; k < 2; k++) {
		runs_bytes(run.before[k], TEST_AREA, rng);
		runs_vectors(&run.side[k].vec, rng);
	}
}

/* False: it differs. */
static bool run_round(uint64_t number)
{
	run_together();
	for (unsigned k = 0; k < (run.writer == VCPU ? 1 : 2); k++) {
		struct side *s = &run.side[k];
		const char *what;
		unsigned fault = 0;

		if (s->end.stopped)
			continue;
		what = s->stale != 0 ? "an old value is left, and faults"
				     : difference(&s->alone, &s->end, &fault);
		s->stale = 0;
		if (what == NULL)
			continue;
		if (run.differences++ < SHOWN)
			show(s, what, fault, number);
		return false;
	}
	return true;
}

static void run_case(uint64_t number, uint64_t seed)
{
	uint64_t rng = seed ^ number * 0xda942042e4dd58b5u;

	make_case(&rng);
	if (!run_alone()) {
		run.skipped++;
		return;
	}
	/* The device waits for the next round: not until the code is there. */
	run.started[1] = run.round;
	run.writer = (unsigned)(number % WRITERS);
	run.written = note(TEST_OFF_2)[1] = 0;
	put_code(&run.side[0].b);
	for (unsigned k = 0; k < 2; k++) {
		guest_forget(run.side[k].g);
		guest_probes(run.side[k].g, number / WRITERS % PROBES);
	}
	for (unsigned n = 0; n < ROUNDS && run_round(number); n++)
		;
	run.writer = NOBODY;
}

/* -- all
 * ---------------------------------------------------------------------- */

static bool make_all(void)
{
	if (!guest_memory(TEST_BASE, 2 * MiB, PROT_READ | PROT_WRITE) ||
	    host_create() != 0)
		return false;
	run.solo = guest_create(GUEST_TIER0);
	run.side[0].g = guest_create(GUEST_TIER1);
	if (run.side[0].g != NULL)
		run.side[1].g = guest_create_beside(run.side[0].g);
	run.side[1].off = TEST_OFF_2;
	if (run.solo == NULL || run.side[1].g == NULL)
		return false;
	guest_map(run.solo, NOTE, NOTE);
	guest_map(run.side[1].g, NOTE, NOTE + TEST_OFF_2);
	return true;
}

static void run_cases(uint64_t first, uint64_t cases, uint64_t seconds,
		      uint64_t seed)
{
	struct timespec start, now;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		run_case(first + run.cases++, seed);
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (run.cases < cases &&
		 now.tv_sec - start.tv_sec < (long)seconds);
}

int main(int argc, char **argv)
{
	uint64_t seconds = 10, cases = UINT64_MAX, seed = 1, first = 0;
	pthread_t threads[2];

	for (int k = 1; k < argc; k++)
		if (sscanf(argv[k], "--seconds=%" SCNu64, &seconds) != 1 &&
		    sscanf(argv[k], "--cases=%" SCNu64, &cases) != 1 &&
		    sscanf(argv[k], "--first=%" SCNu64, &first) != 1 &&
		    sscanf(argv[k], "--seed=%" SCNu64, &seed) != 1) {
			fprintf(stderr,
				"usage: %s [--seconds=N] [--cases=N] "
				"[--first=CASE] [--seed=S]\n",
				argv[0]);
			return 1;
		}
	if (!jit_host_can() || !make_all()) {
		printf("1..0 # skip no BMI2, or the addresses are taken\n");
		return 0;
	}
	if (pthread_create(&threads[0], NULL, second, NULL) != 0 ||
	    pthread_create(&threads[1], NULL, device, NULL) != 0)
		return 1;
	host_ticks(TICK_US, on_tick, false);
	run_cases(first, cases, seconds, seed);
	host_ticks(0, on_tick, false);
	run.done = true;
	for (unsigned k = 0; k < 2; k++)
		pthread_join(threads[k], NULL);
	for (unsigned k = 2; k-- > 0;)
		guest_destroy(run.side[k].g);
	guest_destroy(run.solo);
	printf("1..1\n%sok 1 - %" PRIu64 " cases, %" PRIu64
	       " without an end or of their own code, %llu"
	       " writes to code, seed %" PRIu64 ": %" PRIu64 " differ\n",
	       run.differences != 0 || run.writes == 0 ? "not " : "", run.cases,
	       run.skipped, run.writes, seed, run.differences);
	return run.differences != 0 || run.writes == 0;
}
