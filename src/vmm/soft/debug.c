/* SPDX-License-Identifier: BSD-2-Clause */
/* Breakpoints by the debug registers (SDM vol. 3, 18.2 and 18.3.1). */
#include "vmm/soft/debug.h"
#include "vmm/soft/access.h"
#include "vmm/soft/block.h"
#include "vmm/soft/decode.h"

/* DR7's R/W fields. */
enum { BREAK_EXEC, BREAK_WRITE, BREAK_IO, BREAK_ACCESS };

static unsigned break_type(const struct cpu *c, unsigned n)
{
	return c->dr[7] >> (16 + 4 * n) & 3;
}

static unsigned break_bytes(const struct cpu *c, unsigned n)
{
	static const uint8_t bytes[] = {1, 2, 8, 4};

	return bytes[c->dr[7] >> (18 + 4 * n) & 3];
}

void debug_changed(struct cpu *c)
{
	uint8_t code = 0, data = 0, io = 0;

	for (unsigned n = 0; n < 4; n++) {
		uint8_t bit = (uint8_t)(1u << n);

		if ((c->dr[7] >> (2 * n) & 3) == 0)
			continue;
		if (break_type(c, n) == BREAK_EXEC)
			code |= bit;
		else if (break_type(c, n) != BREAK_IO)
			data |= bit;
		else if (c->cr4 & CR4_DE) /* else it is undefined */
			io |= bit;
	}
	if ((code | data | c->debug_code | c->debug_data) != 0)
		mmu_flush_all(c);
	c->debug_code = code;
	c->debug_data = data;
	c->debug_io = io;
}

static bool any_in_page(const struct cpu *c, unsigned set, uint64_t va)
{
	for (unsigned n = 0; n < 4; n++)
		if ((set >> n & 1) && PAGE_BASE(c->dr[n]) == PAGE_BASE(va))
			return true;
	return false;
}

bool debug_code_page(const struct cpu *c, uint64_t linear)
{
	return any_in_page(c, c->debug_code, linear);
}

/* LEN aligns the address, so that no breakpoint crosses a page. */
bool debug_data_page(const struct cpu *c, uint64_t va)
{
	return any_in_page(c, c->debug_data, va);
}

/* -- instructions ---------------------------------------------------------- */

/*
 * A fault before the instruction, unless RF is set, or the instruction stands
 * in the shadow of MOV SS (SDM vol. 3, 6.8.3), or runs again for the process.
 */
void debug_before(struct cpu *c)
{
	uint64_t linear = c->code_size == 8
			      ? c->rip
			      : (uint32_t)(c->rip + c->seg[SEG_CS].base);
	bool resume = (c->flags & RFLAGS_RF) != 0;
	uint64_t hits = 0;

	if (c->intr_shadow != 2)
		c->debug_hits = 0;
	c->flags &= ~RFLAGS_RF;
	if (c->debug_code == 0 || resume || c->intr_shadow == 2 ||
	    c->replay_count != 0)
		return;
	for (unsigned n = 0; n < 4; n++)
		if ((c->debug_code >> n & 1) && c->dr[n] == linear)
			hits |= BIT(n);
	if (hits != 0)
		soft_raise(c, NULL, X86_DB, 0, hits);
}

void debug_between(struct cpu *c, uint64_t start)
{
	const struct insn *i;

	if (c->debug_code == 0 || c->block == NULL || c->rip != start)
		return;
	i = &c->block->insn[1];
	if (i->op != OP_NONE_ROW &&
	    opcode_table[i->op].operands == OPERANDS_STRING)
		c->flags |= RFLAGS_RF;
}

/* -- data and ports -------------------------------------------------------- */

static void note(struct cpu *c, const struct insn *i, unsigned hits)
{
	if (hits == 0)
		return;
	if (!c->alone) {
		block_unwind(c, i);
		soft_restart_alone(c);
	}
	c->debug_hits |= (uint8_t)hits;
}

static bool overlaps(const struct cpu *c, unsigned n, uint64_t at, unsigned len)
{
	uint64_t bytes = break_bytes(c, n);
	uint64_t from = c->dr[n] & ~(bytes - 1);

	return at - from < bytes || from - at < len;
}

void debug_data(struct cpu *c, const struct insn *i, uint64_t va, unsigned len,
		enum access access)
{
	unsigned hits = 0;

	if (i == NULL) /* the delivery of an event */
		return;
	for (unsigned n = 0; n < 4; n++)
		if ((c->debug_data >> n & 1) &&
		    (access == ACCESS_WRITE ||
		     break_type(c, n) == BREAK_ACCESS) &&
		    overlaps(c, n, va, len))
			hits |= 1u << n;
	note(c, i, hits);
}

void debug_port(struct cpu *c, const struct insn *i, uint16_t port,
		unsigned bytes)
{
	unsigned hits = 0;

	for (unsigned n = 0; n < 4; n++)
		if ((c->debug_io >> n & 1) && overlaps(c, n, port, bytes))
			hits |= 1u << n;
	note(c, i, hits);
}
