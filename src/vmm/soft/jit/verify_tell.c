// SPDX-License-Identifier: BSD-2-Clause
/* A difference that soft.jit=verify found, for a person. */
#include <errno.h>
#include <stdio.h>

#include "vmm/soft/access.h"
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

/* Of an XSAVE image, where the two are not the same. */
static void print_vectors(const struct verify *v)
{
	const unsigned step = 16;

	for (unsigned at = 0; at < VCPU_XSAVE_SIZE; at += step) {
		bool differ = false;

		for (unsigned n = at; n < at + step; n++)
			differ |= v->native.vec[n] != v->tier0.vec[n];
		if (!differ)
			continue;
		fprintf(stderr, "vector state, byte %u of XSAVE's\n", at);
		print_bytes("before", v->before.vec + at, step);
		print_bytes("translated", v->native.vec + at, step);
		print_bytes("interpreted", v->tier0.vec + at, step);
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

uint64_t verify_tell(struct cpu *c, const struct insn *i, uint64_t rip,
		     enum difference what)
{
	static const char *const names[] = {
	    [DIFFER_RESULT] = "what it does",
	    [DIFFER_TARGET] = "where it goes",
	    [DIFFER_FAULT] = "whether it faults",
	    [DIFFER_WROTE] = "what registers it may write to",
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
	print_state("interpreted", &v->tier0);
	if (what == DIFFER_TARGET) {
		print_went("translated", &v->went);
		print_went("interpreted", &v->goes);
	}
	if (v->native.has_vec && v->tier0.has_vec)
		print_vectors(v);
	if (v->bytes != 0) {
		fprintf(stderr, "memory at %#llx\n", (unsigned long long)v->va);
		print_bytes("before", v->was, v->bytes);
		print_bytes("translated", v->is, v->bytes);
		print_bytes("interpreted", v->page + (v->va & 4095), v->bytes);
	}
	c->failed = true;
	c->rip = rip;
	return 0;
}
