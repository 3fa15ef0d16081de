// SPDX-License-Identifier: BSD-2-Clause
#include "pairs.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/bits.h"
#include "vmm/soft/cpu.h"
#include "vmm/soft/decode.h"
#include "x86/cr.h"

#define COMPARED_FLAGS (RFLAGS_ARITH | RFLAGS_DF)
#define SHOWN          20 /* differences, then only counted */

static uint8_t *area(unsigned k)
{
	static const uint32_t at[AREAS] = {TEST_DATA, TEST_STACK, TEST_CODE};

	return (uint8_t *)(uintptr_t)at[k];
}

static size_t area_bytes(unsigned k)
{
	return k == AREA_CODE ? 4096 : TEST_AREA;
}

int pairs_memory(void)
{
	if (!guest_memory(TEST_BASE, 2 * MiB, PROT_NONE))
		return -1;
	mprotect((void *)(uintptr_t)TEST_BASE, TEST_TABLES,
		 PROT_READ | PROT_WRITE);
	mprotect((void *)(uintptr_t)TEST_CODE, 4096,
		 PROT_READ | PROT_WRITE | PROT_EXEC);
	for (unsigned k = 0; k < 2; k++)
		mprotect(area(k), TEST_AREA, PROT_READ | PROT_WRITE);
	return 0;
}

static void show(const struct pair *p, const char *name,
		 const struct outcome *host, const struct outcome *guest,
		 bool memory)
{
	printf("# %s, %s:", name, p->row->name);
	for (unsigned k = 0; k < p->len; k++)
		printf(" %02x", p->code[k]);
	printf("\n#   vector host %d guest %d, error %" PRIx64 " %" PRIx64
	       ", rip %" PRIx64 " %" PRIx64 ", flags %" PRIx64 " %" PRIx64
	       " (were %" PRIx64 ")%s\n",
	       host->vector, guest->vector, host->error, guest->error,
	       host->rip, guest->rip, host->rflags & COMPARED_FLAGS,
	       guest->rflags & COMPARED_FLAGS, p->rflags & COMPARED_FLAGS,
	       memory ? ", memory differs" : "");
	if (host->vector == X86_PF && host->cr2 != guest->cr2)
		printf("#   cr2 %" PRIx64 " %" PRIx64 "\n", host->cr2,
		       guest->cr2);
	for (unsigned k = 0; k < 16; k++)
		if (host->gpr[k] != guest->gpr[k])
			printf("#   r%u was %" PRIx64 ": host %" PRIx64
			       " guest %" PRIx64 "\n",
			       k, p->gpr[k], host->gpr[k], guest->gpr[k]);
}

/* Where a read of bytes at va faults, or 0: beside the data's two pages, and
   the code's one. */
static uint64_t fault_address(uint64_t va, unsigned bytes)
{
	bool in_code = va - TEST_CODE < 4096;
	uint64_t end = in_code ? TEST_CODE + 4096 : TEST_DATA + TEST_AREA;

	if (!in_code && va - TEST_DATA >= TEST_AREA)
		return va;
	return va + bytes > end ? end : 0;
}

/* A string instruction's element: its prefixes come before one opcode byte. */
static unsigned element_bytes(const struct pair *p)
{
	unsigned bytes = 4;

	if (p->row->attr & OP_BYTE)
		return 1;
	for (unsigned k = 0; k + 1 < p->len; k++) {
		if (p->code[k] == 0x66)
			bytes = 2;
		else if ((p->code[k] & 0xf8) == 0x48) /* REX.W */
			bytes = 8;
	}
	return bytes;
}

static bool is_segment_fault(const struct outcome *o)
{
	return o->vector == X86_PF || o->vector == X86_GP ||
	       o->vector == X86_SS;
}

/*
 * CMPS whose operands both fault: which fault comes first the SDM leaves open,
 * and CPU models differ. Tier 0 begins with ES:RDI; AMD EPYC, for one, with
 * DS:RSI. In 64-bit code only CR2 may differ then, and be the other operand's;
 * with limits, where MOVS is the same, the fault may be another.
 */
static bool is_operand_order(const struct pair *p, const struct outcome *host,
			     const struct outcome *guest)
{
	uint64_t rsi, rdi;

	bool cmps = strcmp(p->row->name, "cmps") == 0;

	if (p->mode->code_bytes != 8)
		return (cmps || strcmp(p->row->name, "movs") == 0) &&
		       is_segment_fault(host) && is_segment_fault(guest);
	if (!cmps)
		return false;
	rsi = fault_address(host->gpr[6], element_bytes(p));
	rdi = fault_address(host->gpr[7], element_bytes(p));
	return rsi != 0 && rdi != 0 && host->cr2 == rsi && guest->cr2 == rdi;
}

/* Some instructions leave flags undefined that the engine computes (SDM
   vol. 2), since 64-bit code cannot ask the host. */
static uint64_t defined_flags(const struct opcode *row)
{
	static const struct {
		const char *name;
		uint64_t undefined;
	} table[] = {
	    {"aaa", RFLAGS_OF | RFLAGS_SF | RFLAGS_ZF | RFLAGS_PF},
	    {"aas", RFLAGS_OF | RFLAGS_SF | RFLAGS_ZF | RFLAGS_PF},
	    {"aad", RFLAGS_OF | RFLAGS_AF | RFLAGS_CF},
	    {"aam", RFLAGS_OF | RFLAGS_AF | RFLAGS_CF},
	    {"daa", RFLAGS_OF},
	    {"das", RFLAGS_OF},
	};

	for (unsigned n = 0; n < ARRAY_SIZE(table); n++)
		if (strcmp(row->name, table[n].name) == 0)
			return COMPARED_FLAGS & ~table[n].undefined;
	return COMPARED_FLAGS;
}

/*
 * The flags of a repeated CMPS or SCAS that faults are those from before it
 * (SDM vol. 2B, REP), or of the last comparison (AMD's CPUs and the engine).
 * Nothing depends on them: it goes on without looking at them.
 */
static uint64_t compared_flags(const struct pair *p, const struct outcome *o)
{
	if (is_segment_fault(o) && (strcmp(p->row->name, "cmps") == 0 ||
				    strcmp(p->row->name, "scas") == 0))
		return RFLAGS_DF;
	return defined_flags(p->row);
}

static bool same_fault(const struct outcome *a, const struct outcome *b)
{
	return a->vector == b->vector && a->error == b->error &&
	       (a->vector != X86_PF || a->cr2 == b->cr2);
}

static bool same(const struct pair *p, const struct outcome *a,
		 const struct outcome *b)
{
	return memcmp(a->gpr, b->gpr, sizeof(a->gpr)) == 0 &&
	       a->rip == b->rip &&
	       ((a->rflags ^ b->rflags) & compared_flags(p, a)) == 0 &&
	       (same_fault(a, b) || is_operand_order(p, a, b));
}

static void fill_memory(struct pairs *r)
{
	for (unsigned k = 0; k < 2; k++)
		for (unsigned at = 0; at < TEST_AREA; at += 8) {
			uint64_t value = next_random(&r->rng);

			memcpy(r->before[k] + at, &value, 8);
		}
}

static void set_memory(const struct pairs *r, const struct pair *p)
{
	uint32_t base = r->mode->base;
	uint64_t target = TEST_CODE - base + (p->gpr[0] & 0xff0) + 8;
	uint64_t sp = p->gpr[4];

	memset((void *)(uintptr_t)TEST_CODE, CODE_FILLER, 4096);
	memcpy((void *)(uintptr_t)TEST_FIRST, p->code, p->len);
	for (unsigned k = 0; k < AREA_CODE; k++)
		memcpy(area(k), r->before[k], TEST_AREA);
	if (r->mode->stack_bytes == 2)
		sp &= 0xffff;
	/* Where RET finds its address: one that ends, not its own. */
	if (sp + base - TEST_STACK <= TEST_AREA - 8)
		memcpy((void *)(uintptr_t)(sp + base), &target, 8);
}

static void run_guest(struct pairs *r, const struct pair *p, unsigned n,
		      const struct outcome *host)
{
	struct outcome guest = {0};
	bool memory = false;

	set_memory(r, p);
	guest_forget(r->guest[n]); /* the code is another one */
	guest_probes(r->guest[n], r->pairs % PROBES);
	guest_run(r->guest[n], p->gpr, p->rflags, TEST_FIRST - r->mode->base,
		  &guest);
	for (unsigned k = 0; k < AREAS; k++)
		memory |= memcmp(r->after[k], area(k), area_bytes(k)) != 0;
	if (same(p, host, &guest) && !memory)
		return;
	if (r->differences++ < SHOWN)
		show(p, r->guest_name[n], host, &guest, memory);
}

static void run_pair(struct pairs *r, const struct pair *p)
{
	uint32_t first = TEST_FIRST - r->mode->base;
	struct outcome host = {0};

	set_memory(r, p);
	host_run(r->mode, p->gpr, p->rflags, first, &host);
	for (unsigned k = 0; k < AREAS; k++)
		memcpy(r->after[k], area(k), area_bytes(k));
	r->pairs++;
	r->faults += host.rip == first;
	for (unsigned n = 0; n < PAIR_GUESTS && r->guest[n] != NULL; n++)
		run_guest(r, p, n, &host);
}

void pairs_run(struct pairs *r, uint64_t pairs)
{
	struct pair pair;

	while (r->pairs < pairs) {
		if (r->pairs % 64 == 0)
			fill_memory(r);
		for (unsigned n = 0; n < opcode_count; n++) {
			const struct opcode *row = &opcode_table[n];

			if (row_is_testable(row, r->mode) &&
			    pair_generate(&pair, row, r->mode, &r->rng))
				run_pair(r, &pair);
		}
	}
}
