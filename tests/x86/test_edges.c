// SPDX-License-Identifier: BSD-2-Clause
/*
 * At the edges of what a guest may touch: code and data up to the end of RAM,
 * behind which the host has nothing, and the page of probes that found none
 * (docs/translator.md, "Why the guest stays in"). In each soft.jit setting;
 * who goes further ends this process.
 */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "generate.h"
#include "guest.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/vec.h"
#include "x86/cr.h"
#include "x86/exc.h"

#define RUNS 24 /* that make anything hot */

/* Two pages of linear addresses: the last one of RAM, and what is behind. */
#define LAST_PAGE (GUEST_RAM_END - 4096u)
#define EDGE_PAGE (TEST_BASE + 0x20000u)
#define EDGE      (EDGE_PAGE + 4096u)

static int make_memory(void)
{
	const int prot = PROT_READ | PROT_WRITE,
		  flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
	void *behind = mmap((void *)(uintptr_t)GUEST_RAM_END, 2 * MiB,
			    PROT_NONE, flags, -1, 0);
	bool ok = guest_memory(TEST_BASE, 2 * MiB, prot) &&
		  guest_memory(LAST_PAGE, 4096, prot);

	return ok && behind != MAP_FAILED ? 0 : -1;
}

/* How the code is run. */
struct how {
	const char *name;
	enum guest_mode mode;
	enum guest_probes probes;
};

static const struct how hows[] = {
    {"tier 0", GUEST_TIER0, PROBES_TLB},
    {"tier 1", GUEST_TIER1, PROBES_TLB},
    {"tier 1 with sites", GUEST_TIER1, PROBES_SITES},
    {"tier 1 with windows", GUEST_TIER1, PROBES_WINDOWS},
    {"tier 1 with guesses", GUEST_TIER1, PROBES_GUESSES},
    {"verify", GUEST_VERIFY, PROBES_TLB},
    {"verify with sites", GUEST_VERIFY, PROBES_SITES},
    {"verify with windows", GUEST_VERIFY, PROBES_WINDOWS},
    {"verify with guesses", GUEST_VERIFY, PROBES_GUESSES}};

static struct guest *guest_make(const struct how *how)
{
	struct guest *g = guest_create(how->mode);
	struct xsave_image vectors = {
	    .fcw = FCW_RESET, .mxcsr = MXCSR_RESET, .xstate_bv = XCR0_X87};

	if (g == NULL)
		return NULL;
	guest_map(g, EDGE_PAGE, LAST_PAGE);
	guest_map(g, EDGE, GUEST_RAM_END);
	guest_probes(g, how->probes);
	guest_set_vectors(g, &vectors);
	return g;
}

static void put(uint64_t at, const uint8_t *code, unsigned len)
{
	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	memset((void *)(uintptr_t)LAST_PAGE, CODE_FILLER, 4096);
	for (unsigned n = 0; n < len; n++)
		if (at + n < EDGE)
			((uint8_t *)(uintptr_t)(at + n - EDGE_PAGE +
						LAST_PAGE))[0] = code[n];
}

/* -- code -------------------------------------------------------------------
 */

/* inc rbx, a straddling instruction; it is the end at its beginning. */
static bool straddles(struct guest *g, const uint8_t *code, unsigned len)
{
	static const uint8_t inc[] = {0x48, 0xff, 0xc3};

	for (unsigned inside = 0; inside < len; inside++) {
		uint64_t first = EDGE - inside - sizeof(inc);
		uint64_t gpr[16] = {[4] = TEST_STACK + 0x800, [7] = TEST_DATA};
		uint8_t both[32];
		struct outcome out;

		memcpy(both, inc, sizeof(inc));
		memcpy(both + sizeof(inc), code, len);
		put(first, both, (unsigned)sizeof(inc) + len);
		guest_forget_page(g, LAST_PAGE);
		for (unsigned n = 1; n <= RUNS; n++) {
			guest_run(g, gpr, RFLAGS_ONE, first, &out);
			if (!guest_left_ram(g) || guest_failure(g) != NULL ||
			    out.rip != EDGE - inside || out.gpr[3] != n ||
			    out.gpr[0] != 0)
				return false;
			gpr[3] = out.gpr[3];
		}
	}
	return true;
}

static bool all_straddle(struct guest *g, const struct how *how)
{
	static const uint8_t movabs[] = {0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8},
			     load[] = {0x48, 0x8b, 0x84, 0x27, 0, 0, 0, 0},
			     lock[] = {0xf0, 0x48, 0x81, 0x07, 1, 0, 0, 0},
			     vex[] = {0xc4, 0xe2, 0x7d, 0x58, 0x47, 8},
			     jcc[] = {0x0f, 0x85, 0xf0, 0xff, 0xff, 0xff};

	return straddles(g, movabs, sizeof(movabs)) &&
	       straddles(g, load, sizeof(load)) &&
	       straddles(g, lock, sizeof(lock)) &&
	       straddles(g, vex, sizeof(vex)) && straddles(g, jcc, sizeof(jcc));
}

/* Branches there: direct, indirect, by CALL (which has pushed) and RET. */
static bool jumps_out(struct guest *g, const struct how *how)
{
	static const struct {
		uint8_t code[8], len;
	} jumps[] = {
	    {{0xe9, 0x00, 0x00, 0x00, 0x00}, 5}, /* to its end: EDGE */
	    {{0xff, 0xe0}, 2},
	    {{0xff, 0xd0}, 2},
	    {{0x50, 0xc3}, 2},
	};

	for (unsigned k = 0; k < ARRAY_SIZE(jumps); k++) {
		uint64_t first = EDGE - jumps[k].len;
		uint64_t gpr[16] = {[0] = EDGE, [4] = TEST_STACK + 0x800};
		struct outcome out;

		put(first, jumps[k].code, jumps[k].len);
		guest_forget_page(g, LAST_PAGE);
		for (unsigned n = 0; n < RUNS; n++) {
			guest_run(g, gpr, RFLAGS_ONE, first, &out);
			if (!guest_left_ram(g) || guest_failure(g) != NULL ||
			    out.rip != EDGE ||
			    out.gpr[4] != gpr[4] - (k == 2 ? 8 : 0))
				return false;
		}
	}
	return true;
}

/* -- data -------------------------------------------------------------------
 */

struct operand_form {
	uint8_t code[12], len, bytes;
	bool aligned; /* else #GP */
};

static const struct operand_form forms[] = {
    {{0x8a, 0x07}, 2, 1, false},
    {{0x88, 0x07}, 2, 1, false},
    {{0x66, 0x8b, 0x07}, 3, 2, false},
    {{0x8b, 0x07}, 2, 4, false},
    {{0x48, 0x8b, 0x07}, 3, 8, false},
    {{0x48, 0x89, 0x07}, 3, 8, false},
    {{0x48, 0x01, 0x07}, 3, 8, false},
    {{0xff, 0x37}, 2, 8, false},        /* push [rdi] */
    {{0xff, 0x27}, 2, 8, false},        /* jmp [rdi] */
    {{0x0f, 0x10, 0x07}, 3, 16, false}, /* movups */
    {{0x0f, 0x11, 0x07}, 3, 16, false},
    {{0x0f, 0x28, 0x07}, 3, 16, true},       /* movaps */
    {{0xc5, 0xfc, 0x10, 0x07}, 4, 32, false} /* vmovups */
};

/* A good address first, until it is hot; then each that reaches out. */
static bool reaches_out(struct guest *g, const struct operand_form *a)
{
	uint64_t gpr[16] = {[4] = TEST_STACK + 0x800};
	struct outcome out;

	put(EDGE_PAGE, a->code, a->len);
	memset((void *)(uintptr_t)TEST_DATA, 0, 64);
	guest_forget_page(g, LAST_PAGE);
	for (unsigned n = 0; n < RUNS; n++) {
		gpr[7] = TEST_DATA;
		guest_run(g, gpr, RFLAGS_ONE, EDGE_PAGE, &out);
		if (guest_left_ram(g) || guest_failure(g) != NULL)
			return false;
	}
	for (unsigned inside = 0; inside < a->bytes; inside++)
		for (unsigned n = 0; n < 3; n++) {
			gpr[7] = EDGE - inside;
			guest_run(g, gpr, RFLAGS_ONE, EDGE_PAGE, &out);
			if (guest_failure(g) != NULL || out.rip != EDGE_PAGE)
				return false;
			if (a->aligned && inside != 0 ? out.vector != X86_GP
						      : !guest_left_ram(g))
				return false;
		}
	return true;
}

static bool all_reach_out(struct guest *g, const struct how *how)
{
	for (unsigned n = 0; n < ARRAY_SIZE(forms); n++)
		if (!reaches_out(g, &forms[n]))
			return false;
	return true;
}

/* -- the page of probes without one -----------------------------------------
 */

/*
 * Who would know the page finds memory of no use: what was stored there, or
 * zeros, and never beyond it. Else it is the #GP that he is owed.
 */
static bool finds_nowhere(struct guest *g, const struct operand_form *a,
			  uint64_t va, unsigned *found)
{
	uint64_t gpr[16] = {[4] = TEST_STACK + 0x800, [7] = va};
	struct outcome out;
	uint8_t before[4096];

	memcpy(before, (void *)(uintptr_t)TEST_DATA, sizeof(before));
	put(EDGE_PAGE, a->code, a->len);
	guest_forget_page(g, LAST_PAGE);
	for (unsigned n = 0; n < RUNS; n++) {
		guest_run(g, gpr, RFLAGS_ONE, EDGE_PAGE, &out);
		if (out.vector != X86_GP || guest_failure(g) != NULL ||
		    (out.rip != EDGE_PAGE && out.rip != EDGE_PAGE + a->len) ||
		    (out.rip != EDGE_PAGE && out.gpr[0] != 0))
			return false;
		*found += out.rip != EDGE_PAGE;
		/* Over its end there is no guessing. */
		if ((va & 4095) + a->bytes > 4096 && out.rip != EDGE_PAGE)
			return false;
	}
	return memcmp(before, (void *)(uintptr_t)TEST_DATA, sizeof(before)) ==
	       0;
}

static bool secret_page(struct guest *g, const struct how *how)
{
	uint64_t page = guest_secret_page(g);
	unsigned found = 0;

	if (!guest_secret_is_nowhere(g))
		return false;
	for (unsigned n = 0; n < ARRAY_SIZE(forms); n++) {
		const struct operand_form *a = &forms[n];

		/* A jump by what is there has another end. */
		if (a->code[0] == 0xff && a->code[1] == 0x27)
			continue;
		for (unsigned back = 0; back <= 2u * a->bytes; back++)
			if (!finds_nowhere(g, a, page + 4096 - back, &found) ||
			    !finds_nowhere(g, a, page + back, &found) ||
			    !finds_nowhere(g, a, page - back, &found))
				return false;
	}
	/* With sites this test knows what no guest does. */
	return guest_secret_is_nowhere(g) &&
	       (found != 0) == (how->probes == PROBES_SITES);
}

/* -- bases that change -------------------------------------------------------
 */

/* A piece of windows, and many steps: the same memory lies behind both, and so
   many before the end of the first piece. */
#define PIECE (1ull << 40)
#define STEPS (64 * GiB)

static void put_code(const uint8_t *code, unsigned len)
{
	static const uint8_t ud2[] = {0x0f, 0x0b};

	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	memcpy((void *)(uintptr_t)TEST_FIRST, code, len);
	memcpy((void *)(uintptr_t)(TEST_FIRST + len), ud2, sizeof(ud2));
}

/* RBX becomes RDX, a piece further; RSI is the distance, R9 all ones. */
static const struct {
	uint8_t code[12], len;
} movers[] = {
    {{0x48, 0x89, 0xd3}, 3},                     /* mov, in both encodings */
    {{0x48, 0x8b, 0xda}, 3},                     /* */
    {{0x48, 0x8d, 0x1a}, 3},                     /* lea rbx, [rdx] */
    {{0x48, 0x8d, 0x1c, 0x33}, 4},               /* lea rbx, [rbx + rsi] */
    {{0x48, 0x87, 0xd3}, 3},                     /* xchg */
    {{0x48, 0x01, 0xf3}, 3},                     /* add rbx, rsi */
    {{0x48, 0x03, 0xde}, 3},                     /* */
    {{0x48, 0x09, 0xf3}, 3},                     /* or rbx, rsi */
    {{0x48, 0x31, 0xf3}, 3},                     /* xor rbx, rsi */
    {{0x48, 0x0f, 0xba, 0xeb, 40}, 5},           /* bts rbx, 40 */
    {{0x48, 0x0f, 0x44, 0xda}, 4},               /* cmove, cmovne */
    {{0x48, 0x0f, 0x45, 0xda}, 4},               /* */
    {{0x52, 0x5b}, 2},                           /* push rdx; pop rbx */
    {{0x48, 0x0f, 0xc1, 0xf3}, 4},               /* xadd rbx, rsi */
    {{0xc4, 0xc2, 0xea, 0xf5, 0xd9}, 5},         /* pext rbx, rdx, r9 */
    {{0xc4, 0xe3, 0xfb, 0xf0, 0xda, 0}, 6},      /* rorx rbx, rdx, 0 */
    {{0x48, 0x6b, 0xda, 1}, 4},                  /* imul rbx, rdx, 1 */
    {{0x48, 0x89, 0xd8, 0x48, 0x0f, 0xb1, 0xd3}, /* cmpxchg rbx, rdx */
     7},
    {{0x66, 0x48, 0x0f, 0x6e, 0xc2, 0x66, 0x48, 0x0f, 0x7e, 0xc3},
     10}, /* movq xmm0, rdx; movq rbx, xmm0 */
};

/* The same in many steps: add rbx, 2 GiB - 1, and what is left. */
static unsigned step_by_step(uint8_t *code)
{
	static const uint8_t add[] = {0x48, 0x81, 0xc3, 0xff, 0xff, 0xff, 0x7f},
			     rest[] = {0x48, 0x83, 0xc3, STEPS / (2 * GiB)};
	unsigned len = 0;

	for (; len < sizeof(add) * STEPS / (2 * GiB); len += sizeof(add))
		memcpy(code + len, add, sizeof(add));
	memcpy(code + len, rest, sizeof(rest));
	return len + (unsigned)sizeof(rest);
}

/* What comes before a mover, and after it. */
struct around {
	uint8_t before[8], before_len, after[4], after_len;
};

static void put_moving(unsigned k, const struct around *around)
{
	unsigned len = around->before_len;
	uint8_t code[512];

	memcpy(code, around->before, len);
	if (k < ARRAY_SIZE(movers)) {
		memcpy(code + len, movers[k].code, movers[k].len);
		len += movers[k].len;
	} else {
		len += step_by_step(code + len);
	}
	memcpy(code + len, around->after, around->after_len);
	put_code(code, len + around->after_len);
}

/* RCX is read where RAX was stored, and no access goes wrong each time. */
static bool finds_it(struct guest *g, const uint64_t gpr[16])
{
	uint64_t faults = 0;

	guest_forget(g);
	for (unsigned n = 0; n < 2 * RUNS; n++) {
		/* Both conditions: what does not move is read as well. */
		uint64_t rflags = RFLAGS_ONE | (n & 1 ? RFLAGS_ZF : 0);
		uint64_t with[16];
		struct outcome out;

		if (n == RUNS)
			faults = guest_window_faults(g);
		memcpy(with, gpr, sizeof(with));
		with[0] = n + 1;
		guest_run(g, with, rflags, TEST_FIRST, &out);
		if (out.vector != X86_UD || out.gpr[1] != n + 1 ||
		    *(uint64_t *)(uintptr_t)LAST_PAGE != n + 1)
			return false;
	}
	return guest_window_faults(g) == faults;
}

/*
 * mov [rbx], rax; RBX becomes another; mov rcx, [rbx]. What leads from RBX to
 * its window must not be taken for what does from the new one: that is seen by
 * accesses that go wrong each time.
 */
static bool base_moves(struct guest *g, unsigned k)
{
	static const struct around around = {
	    {0x48, 0x89, 0x03}, 3, {0x48, 0x8b, 0x0b}, 3};
	bool steps = k == ARRAY_SIZE(movers);
	uint64_t from = EDGE_PAGE + (steps ? PIECE - STEPS : 0);
	const uint64_t gpr[16] = {[2] = EDGE_PAGE + PIECE,
				  [3] = from,
				  [4] = TEST_STACK + 0x800,
				  [6] = PIECE,
				  [9] = ~0ull};

	put_moving(k, &around);
	return finds_it(g, gpr);
}

/* mov ebx, ebx; mov [rdi + rbx], rax; RBX was below 2^32 and is so no more;
   mov rcx, [rdi + rbx]. */
static bool index_moves(struct guest *g, unsigned k)
{
	static const struct around around = {
	    {0x89, 0xdb, 0x48, 0x89, 0x04, 0x1f},
	    6,
	    {0x48, 0x8b, 0x0c, 0x1f},
	    4};
	const uint64_t gpr[16] = {[2] = PIECE,
				  [4] = TEST_STACK + 0x800,
				  [6] = PIECE,
				  [7] = EDGE_PAGE,
				  [9] = ~0ull};

	put_moving(k, &around);
	return finds_it(g, gpr);
}

/* mov ebx, eax; mov [rdi], rbx; mov eax, eax; mov rcx, [rdi + rax]; lodsq,
   which is tier 0's; mov rcx, [rdi + rax]. */
static bool index_is_loaded(struct guest *g)
{
	static const uint8_t code[] = {0x89, 0xc3, 0x48, 0x89, 0x1f, 0x89,
				       0xc0, 0x48, 0x8b, 0x0c, 0x07, 0x48,
				       0xad, 0x48, 0x8b, 0x0c, 0x07};
	const uint64_t gpr[16] = {[6] = EDGE_PAGE + 0x800, [7] = EDGE_PAGE};

	put_code(code, sizeof(code));
	*(uint64_t *)(uintptr_t)(LAST_PAGE + 0x800) = PIECE;
	return finds_it(g, gpr);
}

static bool all_move(struct guest *g, const struct how *how)
{
	uint64_t *pml4 = (uint64_t *)(uintptr_t)TEST_BASE, *pdpt = pml4 + 512;
	const unsigned before = 512 - STEPS / GiB;
	bool ok = true;

	pml4[1] = pml4[2] = pml4[0];
	pdpt[before] = pdpt[0];
	for (unsigned k = 0; k <= ARRAY_SIZE(movers) && ok; k++) {
		ok = base_moves(g, k) &&
		     (k == ARRAY_SIZE(movers) || index_moves(g, k));
		if (!ok)
			printf("# mover %u\n", k);
	}
	ok &= index_is_loaded(g);
	pml4[1] = pml4[2] = pdpt[before] = 0;
	return ok;
}

/*
 * The first store is to a page with code, and so tier 0's; then those that
 * follow have what leads to the window anew. The host has another page at the
 * linear address of this one, and nothing may come there.
 */
static bool stores_to_code(struct guest *g, const struct how *how)
{
	static const uint8_t code[] = {
	    0x48, 0x89, 0x03,                               /* mov [rbx], rax */
	    0x48, 0x89, 0x43, 0x08,                         /* [rbx + 8] */
	    0x48, 0x83, 0xc3, 0x10, 0x48, 0x89, 0x43, 0xf8, /* [rbx - 8] */
	    0x50, 0x50,                                     /* push rax */
	};
	const uint64_t victim = EDGE_PAGE + 0x800;
	uint8_t *data = (uint8_t *)(uintptr_t)LAST_PAGE;
	static uint8_t canary[4096];

	memset((void *)(uintptr_t)EDGE_PAGE, 0, 4096);
	put_code(code, sizeof(code));
	guest_forget(g);
	for (unsigned n = 1; n <= 2 * RUNS; n++) {
		/* The last pushes are to such a page, too. */
		uint64_t gpr[16] = {[0] = 0x0101010101010101 * n,
				    [3] = EDGE_PAGE + 0x100,
				    [4] = EDGE_PAGE + 0x400};
		struct outcome out;

		memset(data, 0, 0x800);
		memset(data + 0x800, CODE_FILLER, 0x800);
		guest_forget_page(g, LAST_PAGE);
		guest_run(g, gpr, RFLAGS_ONE, victim, &out);
		guest_run(g, gpr, RFLAGS_ONE, TEST_FIRST, &out);
		for (unsigned k = 0; k < 16; k++)
			if (data[0x100 + k] != n || data[0x3f0 + k] != n)
				return false;
		if (out.vector != X86_UD || data[0xff] != 0 ||
		    data[0x110] != 0 || data[0x3ef] != 0 || data[0x400] != 0 ||
		    memcmp((void *)(uintptr_t)EDGE_PAGE, canary, 4096) != 0)
			return false;
	}
	return true;
}

/* -- epochs ------------------------------------------------------------------
 */

/* Jumps to EDGE_PAGE, where RAX becomes what is there. */
static bool jumps_to(struct guest *g, uint64_t rax)
{
	const uint64_t gpr[16] = {0};
	struct outcome out;

	for (unsigned n = 0; n < RUNS; n++) {
		guest_run(g, gpr, RFLAGS_ONE, TEST_FIRST, &out);
		if (out.vector != X86_UD || out.gpr[0] != rax)
			return false;
	}
	return true;
}

/*
 * A jump to another page holds for an epoch, whose numbers begin anew some
 * time. After the second time the page is another one, and the number what it
 * was when the jump was linked.
 */
static bool epochs_begin_anew(struct guest *g, const struct how *how)
{
	static const uint8_t first[] = {0xb8, 1, 0, 0, 0, 0x0f, 0x0b},
			     second[] = {0xb8, 2, 0, 0, 0, 0x0f, 0x0b};
	int32_t distance = (int32_t)(EDGE_PAGE - (TEST_FIRST + 5));
	uint8_t jump[5] = {0xe9};
	bool ok;

	memcpy(jump + 1, &distance, sizeof(distance));
	put_code(jump, sizeof(jump));
	memcpy((void *)(uintptr_t)LAST_PAGE, first, sizeof(first));
	memcpy((void *)(uintptr_t)TEST_DATA, second, sizeof(second));
	guest_forget(g);
	guest_forget_page(g, LAST_PAGE);
	ok = jumps_to(g, 1);
	guest_map_in_last_epoch(g, EDGE_PAGE, LAST_PAGE);
	ok &= jumps_to(g, 1);
	guest_map_in_last_epoch(g, EDGE_PAGE, TEST_DATA);
	return ok && jumps_to(g, 2);
}

/* -- all ---------------------------------------------------------------------
 */

static const struct {
	const char *name;
	bool (*is_well)(struct guest *g, const struct how *how);
	bool not_verified;
} tests[] = {{"code on the last page and behind", all_straddle},
	     {"branches behind it", jumps_out},
	     {"data on it and behind", all_reach_out},
	     {"from piece to piece", all_move},
	     {"stores to a page with code", stores_to_code},
	     {"epochs begin anew", epochs_begin_anew},
	     /* To verify, what is found there is a difference. */
	     {"the page of probes without one", secret_page, true}};

int main(void)
{
	unsigned failed = 0, count = 0;

	if (!jit_host_can() || make_memory() != 0) {
		printf("1..0 # skip no BMI2, or the addresses are taken\n");
		return 0;
	}
	for (unsigned k = 0; k < ARRAY_SIZE(hows); k++)
		for (unsigned n = 0; n < ARRAY_SIZE(tests); n++) {
			struct guest *g;
			bool ok;

			if (tests[n].not_verified &&
			    hows[k].mode == GUEST_VERIFY)
				continue;
			g = guest_make(&hows[k]);
			ok = g != NULL && tests[n].is_well(g, &hows[k]);
			if (g != NULL && guest_failure(g) != NULL)
				printf("# %s\n", guest_failure(g));
			failed += !ok;
			printf("%sok %u - %s: %s\n", ok ? "" : "not ", ++count,
			       hows[k].name, tests[n].name);
			if (g != NULL)
				guest_destroy(g);
		}
	printf("1..%u\n", count);
	return failed != 0;
}
