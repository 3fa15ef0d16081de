// SPDX-License-Identifier: BSD-2-Clause
/* A difference that soft.jit=verify found, for a person. */
#include <errno.h>
#include <stdio.h>

#include "vmm/soft/access.h"
#include "vmm/soft/block.h"
#include "vmm/soft/jit/jit.h"
#include "vmm/soft/jit/verify_state.h"
#include "x86/disasm.h"

#define TEXT_BYTES 96
#define AROUND     4 /* instructions shown before and after */

static void print_state(const char *name, const struct state *s)
{
	static const char *const names[16] = {
	    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
	    "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

	fprintf(stderr, "%s:", name);
	for (unsigned n = 0; n < 16; n++)
		fprintf(stderr, "%s%-3s %016llx", n % 4 == 0 ? "\n  " : " ",
			names[n], (unsigned long long)s->gpr[n]);
	fprintf(stderr, "\n  flags (AX of LAHF; SETO AL) %04x\n",
		s->arith_flags);
}

static void print_bytes(const char *name, const uint8_t *bytes, unsigned count)
{
	fprintf(stderr, "%s:", name);
	for (unsigned n = 0; n < count; n++)
		fprintf(stderr, " %02x", bytes[n]);
	fprintf(stderr, "\n");
}

static void print_went(const char *name, const struct went *went)
{
	fprintf(stderr, "%s: to %llx, pushed %llx\n", name,
		(unsigned long long)went->rip,
		(unsigned long long)went->pushed);
}

static void print_three(const uint8_t *before, const uint8_t *native,
			const uint8_t *tier0, unsigned bytes)
{
	print_bytes("before", before, bytes);
	print_bytes("translated", native, bytes);
	print_bytes("interpreted", tier0, bytes);
}

#define STEP 16

static bool step_differs(const uint8_t *a, const uint8_t *b)
{
	bool differ = false;

	for (unsigned n = 0; n < STEP; n++)
		differ |= a[n] != b[n];
	return differ;
}

/* Of an XSAVE image, where the two are not the same. */
static void print_vectors(const struct verify *v)
{
	for (unsigned at = 0; at < VCPU_XSAVE_SIZE; at += STEP) {
		if (!step_differs(v->native.vec + at, v->tier0.vec + at))
			continue;
		fprintf(stderr, "vector state, byte %u of XSAVE's\n", at);
		print_three(v->before.vec + at, v->native.vec + at,
			    v->tier0.vec + at, STEP);
	}
}

/* Of a string's page, where the two are not the same. */
static void print_memory(struct verify *v)
{
	unsigned step = v->bytes > OPERAND_BYTES ? STEP : v->bytes;
	const uint8_t *copy = operand_copy(v);

	for (unsigned at = 0; at < v->bytes; at += step) {
		if (step != v->bytes && !step_differs(v->is + at, copy + at))
			continue;
		fprintf(stderr, "memory at %#llx\n",
			(unsigned long long)v->va + at);
		print_three(v->was + at, v->is + at, copy + at, step);
	}
}

/* The instruction at rip, of block b. */
static void insn_text(const struct cpu *c, const struct block *b,
		      const struct insn *i, uint64_t rip, char text[TEXT_BYTES])
{
	uint8_t bytes[15];

	block_bytes(c, b, i, bytes);
	disasm(bytes, i->len, c->code_size, rip, text, TEXT_BYTES);
}

/* i among those before and after it. */
static void print_code(const struct cpu *c, const struct insn *i, uint64_t rip)
{
	const struct block *b = block_of(i);
	unsigned k = (unsigned)(i - &b->insn[1]);
	char text[TEXT_BYTES];

	fprintf(stderr, "code:\n");
	for (unsigned n = k < AROUND ? 0 : k - AROUND;
	     n < b->count && n <= k + AROUND; n++) {
		const struct insn *it = &b->insn[1 + n];
		uint64_t at = rip - i->off + it->off;

		insn_text(c, b, it, at, text);
		fprintf(stderr, "%s %llx  %s\n", n == k ? ">" : " ",
			(unsigned long long)at, text);
	}
}

/* What tier 0 made of i, where it ran it. */
static void print_tier0(struct verify *v, const struct insn *i,
			enum difference what)
{
	print_state("interpreted", &v->tier0);
	if (is_rdtsc(i))
		fprintf(stderr, "TSC before: %llx\n",
			(unsigned long long)v->tsc);
	if (what == DIFFER_TARGET) {
		print_went("translated", &v->went);
		print_went("interpreted", &v->goes);
	}
	if (v->native.has_vec && v->tier0.has_vec)
		print_vectors(v);
	print_memory(v);
}

uint64_t verify_tell(struct cpu *c, const struct insn *i, uint64_t rip,
		     enum difference what)
{
	static const char *const names[] = {
	    [DIFFER_RESULT] = "what it does",
	    [DIFFER_TARGET] = "where it goes",
	    [DIFFER_FAULT] = "whether it faults",
	    [DIFFER_WROTE] = "what registers it may write to",
	    [DIFFER_LEFT] = "which of them has to run it",
	};
	struct verify *v = c->jit->verify;
	char text[TEXT_BYTES];

	vec_leave(c);
	insn_text(c, block_of(i), i, rip, text);
	err_set(&c->vcpu->failure, EIO,
		"%s: vCPU %u: soft.jit=verify: translated code and the "
		"interpreter differ in %s, at %#llx: %s",
		c->svm->vm->name, c->vcpu->id, names[what],
		(unsigned long long)rip, text);
	fprintf(stderr, "%s\n", c->vcpu->failure.text);
	print_code(c, i, rip);
	print_state("before", &v->before);
	print_state("translated", &v->native);
	if (what != DIFFER_WROTE && what != DIFFER_LEFT)
		print_tier0(v, i, what);
	c->failed = true;
	c->rip = rip;
	return 0;
}
