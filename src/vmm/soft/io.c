/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is outside the CPU and RAM: ports and device memory. The room's own
 * devices answer at once. What belongs to the process leaves engine->run;
 * the answer goes into a short log, and the instruction runs again, finding
 * its finished accesses there.
 */
#include "vmm/soft/io.h"

#include <errno.h>

#include "vmm/bus.h"
#include "vmm/soft/block.h"
#include "vmm/soft/debug.h"
#include "vmm/soft/decode.h"
#include "vmm/soft/exec.h"
#include "vmm/soft/mmu.h"
#include "vmm/soft/stack.h"
#include "vmm/soft/string.h"

/* -- the log
 * ---------------------------------------------------------------------- */

/*
 * An instruction with an access outside runs alone, so that the log is its
 * own: starts it again so.
 */
static void run_alone(struct cpu *c, const struct insn *i)
{
	if (c->alone)
		return;
	block_unwind(c, i);
	soft_restart_alone(c);
}

/* The next access of the instruction, if it is one that was done before. */
static struct replay *replayed(struct cpu *c)
{
	return c->replay_next < c->replay_count ? &c->replay[c->replay_next++]
						: NULL;
}

/* Notes a finished access; too many are an instruction nobody has. */
static void note(struct cpu *c, const struct replay *access)
{
	if (c->replay_count == REPLAY_MAX)
		return;
	c->replay[c->replay_count++] = *access;
	c->replay_next = c->replay_count;
}

static _Noreturn void leave_for_memory(struct cpu *c, const struct insn *i,
				       uint64_t gva, uint64_t gpa,
				       unsigned bytes, bool write,
				       uint64_t value)
{
	c->vcpu->stats[VM_STAT_INST_EMUL]++;
	c->exit->exitcode = VM_EXITCODE_INST_EMUL;
	c->exit->u.inst_emul = (struct vm_inst_emul){.gpa = gpa,
						     .gla = gva,
						     .bytes = (uint8_t)bytes,
						     .write = write,
						     .data = value};
	soft_leave(c, i, PENDING_ACCESS);
}

/*
 * An event's delivery, whose stack or table is no RAM. There is no instruction
 * to run again: the process' memory is not asked, and reads as if nothing were
 * there.
 */
static uint64_t event_memory(struct cpu *c, uint64_t gpa, unsigned bytes,
			     bool write, uint64_t value)
{
	vec_leave(c);
	c->intr_check = true;
	return room_mmio(c->vcpu, gpa, bytes, write, &value) == 0 ? value
								  : ~0ull;
}

static uint64_t access_memory(struct cpu *c, const struct insn *i, uint64_t gva,
			      uint64_t gpa, unsigned bytes, bool write,
			      uint64_t value)
{
	struct replay access = {.address = gpa,
				.bytes = (uint8_t)bytes,
				.write = write,
				.data = value};
	const struct replay *before;

	if (unlikely(i == NULL))
		return event_memory(c, gpa, bytes, write, value);
	run_alone(c, i);
	before = replayed(c);
	if (before != NULL)
		return before->data;
	vec_leave(c);
	c->intr_check = true;
	if (room_mmio(c->vcpu, gpa, bytes, write, &access.data) == -ENXIO)
		leave_for_memory(c, i, gva, gpa, bytes, write, value);
	note(c, &access);
	return access.data;
}

uint64_t device_read(struct cpu *c, const struct insn *i, uint64_t gva,
		     uint64_t gpa, unsigned bytes)
{
	uint64_t value = 0;

	/* A part of a page-crossing access may have an odd size. */
	for (unsigned n = 0; n < bytes;) {
		unsigned part = bytes - n;

		while (part & (part - 1))
			part &= part - 1;
		value |=
		    (access_memory(c, i, gva + n, gpa + n, part, false, 0) &
		     (part == 8 ? ~0ull : BIT(8 * part) - 1))
		    << (8 * n);
		n += part;
	}
	return value;
}

void device_write(struct cpu *c, const struct insn *i, uint64_t gva,
		  uint64_t gpa, unsigned bytes, uint64_t value)
{
	for (unsigned n = 0; n < bytes;) {
		unsigned part = bytes - n;

		while (part & (part - 1))
			part &= part - 1;
		access_memory(c, i, gva + n, gpa + n, part, true,
			      (value >> (8 * n)) &
				  (part == 8 ? ~0ull : BIT(8 * part) - 1));
		n += part;
	}
}

/* -- ports
 * ----------------------------------------------------------------------------
 */

static _Noreturn void leave_for_port(struct cpu *c, const struct insn *i,
				     uint16_t port, unsigned bytes, bool in,
				     uint32_t value)
{
	c->vcpu->stats[VM_STAT_INOUT]++;
	c->exit->exitcode = VM_EXITCODE_INOUT;
	c->exit->u.inout = (struct vm_inout){
	    .port = port,
	    .bytes = (uint8_t)bytes,
	    .in = in,
	    .string = opcode_table[i->op].operands == OPERANDS_STRING,
	    .rep = (i->flags & (INSN_REP | INSN_REPNE)) != 0,
	    .eax = value};
	soft_leave(c, i, PENDING_ACCESS);
}

static uint32_t access_port(struct cpu *c, const struct insn *i, uint16_t port,
			    unsigned bytes, bool in, uint32_t value)
{
	struct replay access = {.address = port,
				.bytes = (uint8_t)bytes,
				.write = !in,
				.is_port = true,
				.data = value};
	const struct replay *before;
	uint32_t data = value;

	before = replayed(c);
	if (before != NULL)
		return (uint32_t)before->data;
	vec_leave(c);
	c->intr_check = true;
	if (room_pio(c->vcpu, port, bytes, in, &data) == -ENXIO)
		leave_for_port(c, i, port, bytes, in, value);
	access.data = data;
	if (c->alone)
		note(c, &access);
	return data;
}

/* CPL over IOPL: the TSS' bitmap decides (SDM vol. 1, 20.5.2). */
static void check_port(struct cpu *c, const struct insn *i, uint16_t port,
		       unsigned bytes)
{
	unsigned base, bits;

	if (!(c->cr0 & CR0_PE))
		return;
	if (!(c->flags & RFLAGS_VM) && c->cpl <= (c->flags >> 12 & 3))
		return;
	if ((c->tr.access & AR_TYPE) < 9 || c->tr.limit < 103)
		raise_gp(c, i, 0);
	base = (unsigned)system_load(c, i, c->tr.base + 102, 2) + port / 8;
	if (base + 1 > c->tr.limit)
		raise_gp(c, i, 0);
	bits = (unsigned)system_load(c, i, c->tr.base + base, 2) >> (port & 7);
	if (bits & ((1u << bytes) - 1))
		raise_gp(c, i, 0);
}

uint32_t port_in(struct cpu *c, const struct insn *i, uint16_t port,
		 unsigned bytes)
{
	check_port(c, i, port, bytes);
	if (unlikely(c->debug_io != 0))
		debug_port(c, i, port, bytes);
	return access_port(c, i, port, bytes, true, 0);
}

void port_out(struct cpu *c, const struct insn *i, uint16_t port,
	      unsigned bytes, uint32_t value)
{
	check_port(c, i, port, bytes);
	if (unlikely(c->debug_io != 0))
		debug_port(c, i, port, bytes);
	access_port(c, i, port, bytes, false, value);
}

/* -- the instructions
 * -------------------------------------------------------------------- */

static unsigned port_lsize(const struct insn *i)
{
	return MIN(i->lsize, 2); /* REX.W means nothing here */
}

static const struct insn *in_from(struct cpu *c, const struct insn *i,
				  uint16_t port)
{
	unsigned lsize = port_lsize(i);
	uint32_t value = port_in(c, i, port, 1u << lsize);

	if (lsize == 2)
		SET32(REG_RAX, value);
	else if (lsize == 1)
		SET16(REG_RAX, value);
	else
		SET8(REG_RAX, value);
	return end_block(c, i);
}

static const struct insn *out_to(struct cpu *c, const struct insn *i,
				 uint16_t port)
{
	unsigned lsize = port_lsize(i);
	uint32_t value = lsize == 2   ? GET32(REG_RAX)
			 : lsize == 1 ? GET16(REG_RAX)
				      : GET8(REG_RAX);

	port_out(c, i, port, 1u << lsize, value);
	return end_block(c, i);
}

EXEC(in)
{
	return in_from(c, i, (uint8_t)i->imm);
}

EXEC(indx)
{
	return in_from(c, i, GET16(REG_RDX));
}

EXEC(out)
{
	return out_to(c, i, (uint8_t)i->imm);
}

EXEC(outdx)
{
	return out_to(c, i, GET16(REG_RDX));
}

const struct handler h_in = {.one = in}, h_indx = {.one = indx},
		     h_out = {.one = out}, h_outdx = {.one = outdx};

/* One element; the memory side is checked before the port is touched. */
static void ins_step(struct cpu *c, const struct insn *i)
{
	unsigned lsize = port_lsize(i);
	uint64_t to = string_offset(c, i, REG_RDI);
	uint64_t va = seg_linear(c, i, SEG_ES, to, 1u << lsize, ACCESS_WRITE);

	run_alone(c, i);
	mmu_translate(c, i, va, ACCESS_WRITE);
	if ((va & 4095) + (1u << lsize) > 4096)
		mmu_translate(c, i, PAGE_BASE(va + (1u << lsize) - 1),
			      ACCESS_WRITE);
	store_sized(c, i, va, port_in(c, i, GET16(REG_RDX), 1u << lsize),
		    lsize);
	string_advance(c, i, REG_RDI, 1);
}

static void outs_step(struct cpu *c, const struct insn *i)
{
	unsigned lsize = port_lsize(i);
	uint64_t from = string_offset(c, i, REG_RSI);
	uint64_t va = seg_linear(c, i, i->seg, from, 1u << lsize, ACCESS_READ);
	uint64_t value;

	run_alone(c, i);
	value = load_sized(c, i, va, lsize);
	port_out(c, i, GET16(REG_RDX), 1u << lsize, (uint32_t)value);
	string_advance(c, i, REG_RSI, 1);
}

/* Each element is an instruction run of its own: its log is short. */
static const struct insn *port_string(struct cpu *c, const struct insn *i,
				      void (*step)(struct cpu *,
						   const struct insn *))
{
	uint64_t count;

	if (!(i->flags & (INSN_REP | INSN_REPNE))) {
		step(c, i);
		return next(c, i);
	}
	count = string_count(c, i);
	if (count == 0)
		return next(c, i);
	step(c, i);
	string_set_count(c, i, --count);
	return count != 0 ? leave_at(c, i) : next(c, i);
}

EXEC(ins)
{
	return port_string(c, i, ins_step);
}

EXEC(outs)
{
	return port_string(c, i, outs_step);
}

const struct handler h_ins = {.one = ins}, h_outs = {.one = outs};
