// SPDX-License-Identifier: BSD-2-Clause
/*
 * Random code in tier 0 and in tier 1: registers, flags, vector state, memory
 * and the fault that ends it must be equal. Around the guest's few pages the
 * host has nothing: who leaves them ends this process. Signals, thousands a
 * second on whatever stack there is, kick the vCPUs between; and for some
 * blocks, one after the other, at each of their host instructions.
 *
 * fuzz_tiers [--seconds=N | --cases=N] [--seed=S] [--first=CASE] [--verify]
 *
 * --verify: tier 1 as with soft.jit=verify, which must not find anything.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "block.h"
#include "guest.h"
#include "host.h"
#include "runs.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/simd.h"
#include "vmm/soft/vec.h"
#include "x86/cr.h"

#define SHOWN    10
#define FAULTS   24  /* of a run */
#define STATES   3   /* that a block runs from */
#define TICK_US  200 /* between signals */
#define PATIENCE 40  /* ticks for one run */
#define PLACES   2048

enum { AREA_DATA, AREA_STACK, AREA_CODE, AREAS };

struct end {
	struct outcome out[FAULTS]; /* that ended it; then it went on behind */
	unsigned faults;
	bool stopped;
	uint8_t memory[AREAS][TEST_AREA];
	struct xsave_image vec __attribute__((aligned(64)));
};

/* Code that is run; most of it is 64-bit. */
static const struct {
	const struct code_mode *code;
	bool long_mode;
} kinds[] = {
    {&code_mode_64, true},
    {&code_mode_64, true},
    {&code_mode_32, true},
    {&code_mode_32, false},
};
#define KINDS ARRAY_SIZE(kinds)

/* A host instruction, and what follows. */
struct place {
	uint64_t rip;
	uint8_t bytes[16];
};

static struct {
	struct guest *guest[KINDS][2];
	struct guest **tier; /* two of the kind under way */
	struct guest *volatile running;
	volatile unsigned ticks; /* of the run */
	volatile uint64_t signals;
	/* Of translated code: host instructions that are kicked at. */
	struct place place[PLACES];
	unsigned places, steps;
	bool in_code;
	uint64_t cases, stopped, differences, kicks;
	struct end end[2];
	uint8_t before[2][TEST_AREA];
	struct xsave_image vec __attribute__((aligned(64)));
} run;

static void on_tick(int signal)
{
	run.signals++;
	if (run.running != NULL)
		guest_kick(run.running, ++run.ticks > PATIENCE);
}

static uint8_t *area(unsigned k)
{
	static const uint32_t at[AREAS] = {TEST_DATA, TEST_STACK, TEST_CODE};

	return (uint8_t *)(uintptr_t)at[k];
}

static size_t area_bytes(unsigned k)
{
	return k == AREA_CODE ? 4096 : TEST_AREA;
}

static int make_memory(void)
{
	if (!guest_memory(TEST_BASE, 2 * MiB, PROT_NONE))
		return -1;
	mprotect((void *)(uintptr_t)TEST_BASE, TEST_TABLES,
		 PROT_READ | PROT_WRITE);
	mprotect((void *)(uintptr_t)TEST_ROM, 4096, PROT_READ | PROT_WRITE);
	for (unsigned k = 0; k < AREAS; k++)
		mprotect(area(k), area_bytes(k), PROT_READ | PROT_WRITE);
	return 0;
}

/* -- one case
 * ---------------------------------------------------------------- */

static void set_memory(const struct code_block *b)
{
	memset(area(AREA_CODE), CODE_FILLER, 4096);
	memcpy((void *)(uintptr_t)TEST_FIRST, b->code, b->len);
	for (unsigned k = 0; k < AREA_CODE; k++)
		memcpy(area(k), run.before[k], TEST_AREA);
}

static void run_tier(const struct code_block *b, unsigned tier, bool forget)
{
	struct guest *g = run.tier[tier];
	struct end *end = &run.end[tier];

	set_memory(b);
	if (forget)
		guest_forget(g);
	guest_set_vectors(g, &run.vec);
	run.ticks = 0;
	run.running = g;
	end->faults = runs_to_faults(g, b, TEST_FIRST, end->out, FAULTS);
	run.running = NULL;
	end->stopped = guest_was_stopped(g);
	guest_vectors(g, &end->vec);
	for (unsigned k = 0; k < AREAS; k++)
		memcpy(end->memory[k], area(k), area_bytes(k));
}

static const char *difference(const struct end *a, const struct end *b,
			      unsigned *fault)
{
	const char *what = runs_faults_differ(a->out, b->out, a->faults, fault);

	if (what != NULL)
		return what;
	for (unsigned k = 0; k < AREAS; k++)
		if (memcmp(a->memory[k], b->memory[k], area_bytes(k)) != 0)
			return "memory";
	return runs_vectors_differ(&a->vec, &b->vec);
}

static void show(const struct code_block *b, const char *what, unsigned fault,
		 uint64_t number)
{
	printf("# case %" PRIu64 ": %s differ, at fault %u\n", number, what,
	       fault);
	runs_show_code(b);
	runs_show("tier 0", &run.end[0].out[fault]);
	runs_show("tier 1", &run.end[1].out[fault]);
}

static bool is_string_opcode(uint8_t byte)
{
	return (byte & 0xfc) == 0xa4 || (byte >= 0xaa && byte <= 0xaf);
}

/*
 * A repeated string instruction wrote over itself: when another instruction
 * is there for it depends on when it is interrupted, here and on a CPU.
 */
static bool repeats_changed(const struct code_block *b, const struct end *end)
{
	const uint8_t *after = end->memory[AREA_CODE] + 0x400;

	for (unsigned k = 0; k + 1 < b->len; k++) {
		unsigned len = is_string_opcode(b->code[k + 1]) ? 2 : 3;

		if ((b->code[k] & 0xfe) == 0xf2 && k + len <= b->len &&
		    is_string_opcode(b->code[k + len - 1]) &&
		    memcmp(b->code + k, after + k, len) != 0)
			return true;
	}
	return false;
}

/* Is what the run has left of the code what was there before it; and what is
   around that in its page? */
static bool left_code(const struct code_block *b)
{
	const uint8_t *page = run.end[0].memory[AREA_CODE];

	return memcmp(b->code, page + (TEST_FIRST - TEST_CODE), b->len) == 0;
}

static bool left_page(const struct code_block *b)
{
	const uint8_t *page = run.end[0].memory[AREA_CODE];
	unsigned first = TEST_FIRST - TEST_CODE;

	for (unsigned n = 0; n < 4096; n++)
		if ((n < first || n >= first + b->len) &&
		    page[n] != CODE_FILLER)
			return false;
	return left_code(b);
}

static void begin_case(struct code_block *b, uint64_t number, uint64_t *rng)
{
	run.tier = run.guest[number % KINDS];
	b->mode = kinds[number % KINDS].code;
	block_generate(b, rng);
	guest_probes(run.tier[1], number / KINDS % PROBES);
	for (unsigned k = 0; k < AREA_CODE; k++)
		runs_bytes(run.before[k], TEST_AREA, rng);
}

static void run_case(uint64_t number, uint64_t seed)
{
	uint64_t rng = seed ^ number * 0xda942042e4dd58b5u;
	static struct code_block b;
	bool forget = true;

	begin_case(&b, number, &rng);
	for (unsigned n = 0; n < STATES; n++) {
		const char *what;
		unsigned fault = 0;

		runs_vectors(&run.vec, &rng);
		run_tier(&b, 0, forget);
		run_tier(&b, 1, forget);
		if (run.end[0].stopped || run.end[1].stopped) {
			run.stopped++;
			return;
		}
		what = guest_failure(run.tier[1]);
		if (what == NULL)
			what = difference(&run.end[0], &run.end[1], &fault);
		if (what != NULL) {
			if (repeats_changed(&b, &run.end[0]) ||
			    repeats_changed(&b, &run.end[1]))
				run.stopped++;
			else if (run.differences++ < SHOWN)
				show(&b, what, fault, number);
			return;
		}
		/* The code may have been written to: it is another then. What
		   was written beside it, and run, is gone in the next run. */
		if (!left_code(&b))
			return;
		forget = !left_page(&b);
		block_state(&b, &rng);
	}
}

static bool is_time_over(const struct timespec *start, uint64_t seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec - start->tv_sec >= (long)seconds;
}

/* -- a kick at each host instruction
 * --------------------------------------------------------- */

#define STEPS_MAX (1u << 14) /* then it is endless */

static void note_place(uint64_t rip)
{
	unsigned n = 0;

	while (n < run.places && run.place[n].rip != rip)
		n++;
	if (n == PLACES)
		return;
	run.place[n].rip = rip;
	memcpy(run.place[n].bytes, (const void *)(uintptr_t)rip,
	       sizeof(run.place[n].bytes));
	run.places = MAX(run.places, n + 1);
}

/* Where C enters translated code and, if it was called by it, returns to. */
static void break_at_entries(struct guest *g, uint64_t rsp)
{
	uint64_t back = rsp != 0 ? *(const uint64_t *)(uintptr_t)rsp : 0;

	guest_break(g, guest_entry(g));
	if (guest_is_translated(g, back))
		guest_break(g, back);
}

/* Collects the places of translated code: by steps in there, not in C. */
static bool on_step(uint64_t *rip, uint64_t rsp)
{
	struct guest *g = run.tier[1];

	if (!run.in_code) {
		*rip -= 1;
		guest_break_end(g);
	}
	run.in_code = guest_is_translated(g, *rip);
	if (!run.in_code) {
		break_at_entries(g, rsp);
		return false;
	}
	note_place(*rip);
	if (++run.steps > STEPS_MAX)
		guest_kick(g, true);
	return true;
}

static void find_places(const struct code_block *b)
{
	run.places = run.steps = 0;
	run.in_code = false;
	host_traps(on_step);
	break_at_entries(run.tier[1], 0);
	run_tier(b, 1, false);
	guest_break_end(run.tier[1]);
	host_traps(NULL);
}

/* INT3 is where an instruction was: it is there again, and kicked. */
static bool on_break(uint64_t *rip, uint64_t rsp)
{
	*rip -= 1;
	guest_break_end(run.tier[1]);
	guest_kick(run.tier[1], false);
	run.kicks++;
	return false;
}

/* Where there is other code by now, an INT3 may be amid an instruction. */
static const char *run_kicked(const struct code_block *b,
			      const struct place *place, unsigned *fault)
{
	const char *what;

	if (memcmp(place->bytes, (const void *)(uintptr_t)place->rip,
		   sizeof(place->bytes)) != 0)
		return NULL;
	host_traps(on_break);
	guest_break(run.tier[1], place->rip);
	run_tier(b, 1, false);
	guest_break_end(run.tier[1]);
	host_traps(NULL);
	what = guest_failure(run.tier[1]);
	return what != NULL ? what
			    : difference(&run.end[0], &run.end[1], fault);
}

static void run_steps(uint64_t number, uint64_t seed)
{
	uint64_t rng = seed ^ number * 0xda942042e4dd58b5u;
	static struct code_block b;
	unsigned fault = 0;

	begin_case(&b, number, &rng);
	runs_vectors(&run.vec, &rng);
	run_tier(&b, 0, true);
	run_tier(&b, 1, true);
	if (run.end[0].stopped || run.end[1].stopped || !left_page(&b))
		return;
	find_places(&b);
	for (unsigned n = 0; n < run.places; n++) {
		const char *what = run_kicked(&b, &run.place[n], &fault);

		if (run.end[1].stopped)
			return;
		if (what == NULL)
			continue;
		if (run.differences++ < SHOWN) {
			show(&b, what, fault, number);
			printf("# with a kick at place %u of %u\n", n,
			       run.places);
		}
		return;
	}
}

static void steps(uint64_t seconds, uint64_t cases, uint64_t seed)
{
	struct timespec start;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint64_t n = 0; n < cases && !is_time_over(&start, seconds); n++)
		run_steps(n, ~seed);
	run.tier = run.guest[0];
}

/* -- more vector instructions than there is room for stubs
 * ------------------------------------------------- */

/* VPADDB and its like, all registers: 240 in a page, then HLT's #GP. */
static unsigned many_vectors(struct guest *g)
{
	static const uint8_t ops[] = {0xfc, 0xfd, 0xfe, 0xd4, 0xf8, 0xf9,
				      0xfa, 0xfb, 0xef, 0xeb, 0xdb, 0xdf};
	struct code_block b = {.rflags = RFLAGS_ONE};
	unsigned next = 0, wrong = 0;

	while (next + 256 < ARRAY_SIZE(ops) * 4096) {
		struct outcome out = {0};

		for (b.len = 0; b.len + 5 <= sizeof(b.code); next++) {
			unsigned reg = next & 15, v = next >> 4 & 15;
			unsigned rm = next >> 8 & 15;
			uint8_t insn[5] = {
			    0xc4,
			    (uint8_t)((reg & 8 ? 0 : 0x80) | 0x40 |
				      (rm & 8 ? 0 : 0x20) | 1),
			    (uint8_t)((~v & 15) << 3 | 1), ops[next >> 12],
			    (uint8_t)(0xc0 | (reg & 7) << 3 | (rm & 7))};

			memcpy(b.code + b.len, insn, sizeof(insn));
			b.len += 5;
		}
		set_memory(&b);
		guest_forget(g);
		guest_run(g, b.gpr, b.rflags, TEST_FIRST, &out);
		wrong += out.vector != X86_GP || out.rip != TEST_FIRST + b.len;
	}
	return wrong;
}

/* -- operands at the end of memory
 * ------------------------------------------------------------- */

/* Each vector instruction, one byte further from the end each time. */
static unsigned memory_end(uint64_t rng)
{
	static struct code_block b = {.mode = &code_mode_64};
	unsigned wrong = 0, fault;

	runs_vectors(&run.vec, &rng);
	run.vec.mxcsr = MXCSR_RESET; /* else all of them are tier 0's */
	for (unsigned row = 0; row < simd_count(); row++)
		for (unsigned n = 0; n < 3 * 65; n++) {
			uint64_t va = TEST_DATA + TEST_AREA - n % 65;
			const char *what;

			if (!block_simd(&b, row, va, &rng))
				continue;
			guest_probes(run.tier[1], n % PROBES);
			run_tier(&b, 0, true);
			run_tier(&b, 1, true);
			what = difference(&run.end[0], &run.end[1], &fault);
			if (what != NULL && wrong++ < SHOWN)
				show(&b, what, fault, row);
		}
	return wrong;
}

/* -- all
 * ---------------------------------------------------------------------- */

static bool create_guests(enum guest_mode mode)
{
	for (unsigned n = 0; n < KINDS; n++)
		for (unsigned tier = 0; tier < 2; tier++) {
			run.guest[n][tier] = guest_create_legacy(
			    tier == 0 ? GUEST_TIER0 : mode, kinds[n].code,
			    kinds[n].long_mode);
			if (run.guest[n][tier] == NULL)
				return false;
		}
	guest_map_rom();
	run.tier = run.guest[0];
	return true;
}

static void destroy_guests(void)
{
	for (unsigned n = 0; n < KINDS; n++)
		for (unsigned tier = 0; tier < 2; tier++)
			guest_destroy(run.guest[n][tier]);
}

int main(int argc, char **argv)
{
	uint64_t seconds = 10, cases = UINT64_MAX, seed = 1, first = 0;
	uint64_t wrong_before;
	unsigned wrong = 0, ends;
	enum guest_mode mode = GUEST_TIER1;
	struct timespec start;

	for (int k = 1; k < argc; k++)
		if (strcmp(argv[k], "--verify") == 0)
			mode = GUEST_VERIFY;
		else if (sscanf(argv[k], "--seconds=%" SCNu64, &seconds) != 1 &&
			 sscanf(argv[k], "--cases=%" SCNu64, &cases) != 1 &&
			 sscanf(argv[k], "--first=%" SCNu64, &first) != 1 &&
			 sscanf(argv[k], "--seed=%" SCNu64, &seed) != 1) {
			fprintf(stderr,
				"usage: %s [--seconds=N] [--cases=N] "
				"[--first=CASE] [--seed=S] [--verify]\n",
				argv[0]);
			return 1;
		}
	if (!jit_host_can() || make_memory() != 0 || host_create() != 0 ||
	    !create_guests(mode)) {
		printf("1..0 # skip no BMI2, or the addresses are taken\n");
		return 0;
	}
	clock_gettime(CLOCK_MONOTONIC, &start);
	while (run.cases < cases && !is_time_over(&start, seconds)) {
		/* On the alternate stack, too. */
		if (run.cases % 512 == 0)
			host_ticks(TICK_US, on_tick, run.cases & 512);
		run_case(first + run.cases++, seed);
	}
	run.tier = run.guest[0];
	ends = memory_end(seed);
	wrong_before = run.differences;
	steps(seconds / 2, cases, seed);
	host_ticks(0, on_tick, false);
	runs_vectors(&run.vec, &(uint64_t){seed});
	for (unsigned tier = 0; tier < 2; tier++) {
		guest_set_vectors(run.tier[tier], &run.vec);
		wrong += many_vectors(run.tier[tier]);
	}
	destroy_guests();
	printf("1..4\n%sok 1 - %" PRIu64 " cases, %" PRIu64
	       " without an end, %" PRIu64 " signals, seed %" PRIu64
	       ": %" PRIu64 " differ\n",
	       wrong_before != 0 ? "not " : "", run.cases, run.stopped,
	       run.signals, seed, wrong_before);
	printf("%sok 2 - more vector instructions than stubs\n",
	       wrong != 0 ? "not " : "");
	printf("%sok 3 - vector operands at the end of memory\n",
	       ends != 0 ? "not " : "");
	printf("%sok 4 - kicks at each host instruction: %" PRIu64 "\n",
	       run.differences != wrong_before || run.kicks == 0 ? "not " : "",
	       run.kicks);
	return run.differences != 0 || run.kicks == 0 || wrong != 0 ||
	       ends != 0;
}
