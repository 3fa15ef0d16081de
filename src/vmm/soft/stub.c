// SPDX-License-Identifier: BSD-2-Clause
/* Stubs: the encoder, and the table that finds one by its bytes. */
#include "vmm/soft/stub.h"

#include <errno.h>

#include "vmm/soft/bytes.h"

#define INT3 0xcc
#define RCX  1
#define RDI  7

void stub_byte(struct stub_code *code, uint8_t byte)
{
	if (code->len < STUB_MAX)
		code->bytes[code->len++] = byte;
	else
		code->overflow = true;
}

void stub_pad(struct stub_code *code, unsigned to)
{
	if (code->len > to)
		code->overflow = true;
	while (code->len < to && !code->overflow)
		stub_byte(code, INT3);
}

/* -- encoding ---------------------------------------------------------------
 */

static unsigned pp_field(unsigned pp)
{
	static const uint8_t ppcode[4] = {0, 0x66, 0xf3, 0xf2};
	unsigned p = 0;

	while (p < 3 && ppcode[p] != pp)
		p++;
	return p;
}

static void three_byte_vex(struct stub_code *code, unsigned reg, unsigned rm,
			   unsigned map, bool w, unsigned vvvv, bool l,
			   unsigned pp)
{
	unsigned p = pp_field(pp);

	stub_byte(code, 0xc4);
	stub_byte(code, (uint8_t)((reg & 8 ? 0 : 0x80) | 0x40 |
				  (rm & 8 ? 0 : 0x20) | map));
	stub_byte(code, (uint8_t)(w << 7 | (~vvvv & 15) << 3 | l << 2 | p));
}

/* Bit 4 of rm is in X, which with memory is an index'. */
static void evex(struct stub_code *code, const struct simd_row *row,
		 const struct dec *d, bool w, unsigned reg, unsigned rm)
{
	static const uint8_t map[MAP_COUNT] = {
	    [MAP_0F] = 1, [MAP_0F38] = 2, [MAP_0F3A] = 3};
	unsigned vvvv = row->attr & S_NDS ? d->vvvv : 0;

	stub_byte(code, 0x62);
	stub_byte(code, (uint8_t)((reg & 8 ? 0 : 0x80) | (rm & 16 ? 0 : 0x40) |
				  (rm & 8 ? 0 : 0x20) | (reg & 16 ? 0 : 0x10) |
				  map[row->map]));
	stub_byte(code, (uint8_t)(w << 7 | (~vvvv & 15) << 3 | 4 |
				  pp_field(row->pp)));
	stub_byte(code, (uint8_t)(d->z << 7 | d->vector_len << 5 | d->b << 4 |
				  (vvvv & 16 ? 0 : 8) | d->aaa));
}

static void modrm(struct stub_code *code, unsigned mod, unsigned reg,
		  unsigned rm)
{
	stub_byte(code, (uint8_t)(mod << 6 | (reg & 7) << 3 | (rm & 7)));
}

void stub_vex_reg(struct stub_code *code, struct stub_vex v)
{
	three_byte_vex(code, v.reg, v.rm, v.map, false, v.vvvv, v.wide, v.pp);
	stub_byte(code, v.op);
	modrm(code, 3, v.reg, v.rm);
}

void stub_vex_mem(struct stub_code *code, struct stub_vex v, int8_t disp)
{
	three_byte_vex(code, v.reg, RCX, v.map, false, v.vvvv, v.wide, v.pp);
	stub_byte(code, v.op);
	modrm(code, 1, v.reg, RCX);
	stub_byte(code, (uint8_t)disp);
}

void stub_move_zmm(struct stub_code *code, bool store, unsigned reg,
		   int8_t place)
{
	static const struct simd_row vmovdqu64 = {.map = MAP_0F, .pp = 0xf3};
	const struct dec d = {.vector_len = 2};

	evex(code, &vmovdqu64, &d, true, reg, RCX);
	stub_byte(code, store ? 0x7f : 0x6f);
	modrm(code, 1, reg, RCX);
	stub_byte(code, (uint8_t)place);
}

void stub_move_opmask(struct stub_code *code, bool store, unsigned k)
{
	three_byte_vex(code, k, RCX, 1, true, 0, false, 0); /* kmovq */
	stub_byte(code, store ? 0x91 : 0x90);
	modrm(code, 0, k, RCX);
}

static void legacy_prefixes(struct stub_code *code, const struct simd_row *row,
			    bool w, unsigned reg, unsigned rm)
{
	uint8_t rex = (uint8_t)(w << 3 | (reg & 8) >> 1 | (rm & 8) >> 3);

	if (row->pp)
		stub_byte(code, row->pp);
	if (rex)
		stub_byte(code, 0x40 | rex);
	stub_byte(code, 0x0f);
	if (row->map == MAP_0F38)
		stub_byte(code, 0x38);
	if (row->map == MAP_0F3A)
		stub_byte(code, 0x3a);
}

/* Outside 64-bit mode REX.W is absent and VEX.W says nothing of size. */
static bool encoded_w(const struct simd_row *row, const struct dec *d)
{
	if (row->attr & (S_GREG | S_GRM) && d->mode != 8)
		return false;
	return d->rex_w;
}

static void immediates(struct stub_code *code, const struct simd_row *row,
		       const struct dec *d)
{
	if (row->attr & S_IMM8X2) {
		stub_byte(code, d->bytes[d->len - 2]);
		stub_byte(code, d->bytes[d->len - 1]);
	} else if (row->attr & S_IMM8) {
		stub_byte(code, d->imm8);
	} else if (row->attr & S_IS4) {
		/* Outside 64-bit mode bit 7 is ignored. */
		stub_byte(code, d->mode == 8 ? d->imm8 : d->imm8 & 0x7f);
	}
}

void stub_encode(struct stub_code *code, const struct simd_row *row,
		 const struct dec *d, bool mem)
{
	static const uint8_t vex_map[MAP_COUNT] = {
	    [MAP_0F] = 1, [MAP_0F38] = 2, [MAP_0F3A] = 3};
	unsigned reg = d->reg, rm = mem ? RCX : d->rm;

	if (row->attr & S_X87) {
		stub_byte(code, row->op);
		if (mem)
			modrm(code, 0, d->modrm >> 3, RCX);
		else
			stub_byte(code, d->modrm);
		return;
	}
	if (row->ext >= 0)
		reg = (unsigned)row->ext;
	if (row->attr & S_GREG)
		reg = 0;
	if (row->attr & S_GRM && !mem)
		rm = 0;
	if (row->attr & S_NOMODRM)
		reg = rm = 0;
	if (d->is_evex)
		evex(code, row, d, encoded_w(row, d), reg, rm);
	else if (d->is_vex)
		three_byte_vex(
		    code, reg, rm, vex_map[row->map], encoded_w(row, d),
		    row->attr & S_NDS ? d->vvvv : 0, d->vector_len, row->pp);
	else
		legacy_prefixes(code, row, encoded_w(row, d), reg, rm);
	stub_byte(code, row->op);
	if (!(row->attr & S_NOMODRM))
		modrm(code, mem ? 0 : 3, reg, rm);
	immediates(code, row, d);
}

/* -- around the instruction
 * ---------------------------------------------------- */

#define BYTES(...)                                                             \
	stub_bytes(code, (const uint8_t[]){__VA_ARGS__},                       \
		   sizeof((const uint8_t[]){__VA_ARGS__}))

static void stub_bytes(struct stub_code *code, const uint8_t *bytes,
		       unsigned count)
{
	for (unsigned k = 0; k < count; k++)
		stub_byte(code, bytes[k]);
}

static void dword(struct stub_code *code, uint64_t value)
{
	for (unsigned k = 0; k < 4; k++)
		stub_byte(code, (uint8_t)(value >> 8 * k));
}

void stub_cpu_field(struct stub_code *code, enum stub_move move, size_t offset)
{
	static const struct {
		uint8_t prefix, op, reg;
	} moves[] = {
	    [STUB_LOAD16] = {0x66, 0x8b, 0},
	    [STUB_STORE16] = {0x66, 0x89, 0},
	    [STUB_LOAD64] = {0x48, 0x8b, 0},
	    [STUB_STORE64] = {0x48, 0x89, 0},
	    [STUB_LOAD64_RDX] = {0x48, 0x8b, 2},
	    [STUB_STORE64_RCX] = {0x48, 0x89, 1},
	};

	stub_byte(code, moves[move].prefix);
	stub_byte(code, moves[move].op);
	modrm(code, offset < 0x80 ? 1 : 2, moves[move].reg, RDI);
	if (offset < 0x80)
		stub_byte(code, (uint8_t)offset);
	else
		dword(code, offset);
}

static void exit_unless_equal(struct stub_code *code)
{
	stub_byte(code, 0x75); /* jne exit */
	if (code->exits < ARRAY_SIZE(code->exit))
		code->exit[code->exits++] = (uint8_t)code->len;
	else
		code->overflow = true;
	stub_byte(code, 0);
}

void stub_test(struct stub_code *code, size_t field, uint8_t mask)
{
	BYTES(0xf6, 0x87); /* test byte [rdi + field], mask */
	dword(code, field);
	stub_byte(code, mask);
	exit_unless_equal(code);
}

#define OF_INSN(field) offsetof(struct insn, field)
_Static_assert(sizeof(struct insn) < 0x80, "its fields by 8-bit distances");

static void probe_address(struct stub_code *code, const struct insn *i)
{
	bool index = i->index != REG_ZERO;

	if (index) {
		BYTES(0x0f, 0xb6, 0x46, OF_INSN(index)); /* movzx eax, ... */
		BYTES(0x48, 0x8b, 0x14, 0x07);     /* mov rdx, [rdi+rax] */
		BYTES(0x8a, 0x4e, OF_INSN(scale)); /* mov cl, ... */
		BYTES(0x48, 0xd3, 0xe2);           /* shl rdx, cl */
	}
	BYTES(0x0f, 0xb6, 0x46, OF_INSN(base)); /* movzx eax, ... */
	BYTES(0x48, 0x8b, 0x0c, 0x07);          /* mov rcx, [rdi+rax] */
	BYTES(0x48, 0x03, 0x4e, OF_INSN(disp)); /* add rcx, ... */
	if (index)
		BYTES(0x48, 0x01, 0xd1); /* add rcx, rdx */
}

/* access.h's probe: a tag's place in bytes is va >> 9, cut. */
void stub_probe(struct stub_code *code, const struct insn *i, bool store)
{
	size_t tags =
	    store ? offsetof(struct tlb, write) : offsetof(struct tlb, read);

	probe_address(code, i);
	if (i->c) {
		BYTES(0xf6, 0xc1, i->c); /* test cl, alignment */
		exit_unless_equal(code);
	}
	BYTES(0x48, 0x89, 0xc8);       /* mov rax, rcx */
	BYTES(0x48, 0xc1, 0xe8, 0x09); /* shr rax, 9 */
	stub_byte(code, 0x25);         /* and eax, ... */
	dword(code, (TLB_SIZE - 1) * sizeof(uint64_t));
	BYTES(0x48, 0x03, 0x87); /* add rax, [rdi + tlb] */
	dword(code, offsetof(struct cpu, tlb));
	BYTES(0x48, 0x8d, 0x51, (uint8_t)(i->b - 1)); /* lea rdx, [rcx+..] */
	BYTES(0x48, 0x81, 0xe2);                      /* and rdx, -4096 */
	dword(code, PAGE_BASE(~0ull));
	BYTES(0x48, 0x03, 0x90); /* add rdx, [rax + tags] */
	dword(code, tags);
	exit_unless_equal(code);
	BYTES(0x48, 0x03, 0x88); /* add rcx, [rax + addend] */
	dword(code, offsetof(struct tlb, addend));
}

void stub_exits(struct stub_code *code, exec_fn other)
{
	uint64_t to = (uint64_t)(uintptr_t)other;

	for (unsigned k = 0; k < code->exits; k++) {
		unsigned distance = code->len - code->exit[k] - 1;

		code->bytes[code->exit[k]] = (uint8_t)distance;
		if (distance > 0x7f)
			code->overflow = true;
	}
	BYTES(0x48, 0xb8); /* mov rax, other */
	dword(code, to);
	dword(code, to >> 32);
	BYTES(0xff, 0xe0); /* jmp rax */
}

void stub_next(struct stub_code *code)
{
	_Static_assert(OF_INSN(exec) == 0, "the next one's is a size away");

	BYTES(0x48, 0x8b, 0x46, sizeof(struct insn)); /* mov rax, [rsi+..] */
	BYTES(0x48, 0x83, 0xc6, sizeof(struct insn)); /* add rsi, ... */
	BYTES(0xff, 0xe0);                            /* jmp rax */
}

/* -- the table ----------------------------------------------------------------
 */

static unsigned hash(const uint8_t *bytes, unsigned len)
{
	uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */

	for (unsigned k = 0; k < len; k++)
		h = (h ^ bytes[k]) * 0x100000001b3u;
	return (unsigned)(h >> 32) % STUB_HASH;
}

static bool same(const uint8_t *a, const uint8_t *b, unsigned len)
{
	for (unsigned k = 0; k < len; k++)
		if (a[k] != b[k])
			return false;
	return true;
}

/*
 * Equal bytes are an equal stub, even where what was made there is longer or
 * shorter; so a length need not be kept.
 */
int64_t stub_find(struct native *n, const struct stub_code *code)
{
	struct stub_code padded = *code;
	unsigned h;
	long at;

	stub_pad(&padded, ALIGN_UP(padded.len, STUB_SLOT));
	if (padded.overflow)
		return -EINVAL;
	for (h = hash(padded.bytes, padded.len); n->hash[h];
	     h = (h + 1) % STUB_HASH) {
		at = (n->hash[h] - 1l) * STUB_SLOT;
		if (range_inside((uint64_t)at, padded.len, n->code.used) &&
		    same(n->code.write + at, padded.bytes, padded.len))
			return (int64_t)(uintptr_t)(n->code.exec + at);
	}
	at = codemem_alloc(&n->code, padded.len);
	if (at < 0)
		return at;
	copy_bytes(n->code.write + at, padded.bytes, padded.len);
	codemem_publish();
	n->hash[h] = (uint32_t)(at / STUB_SLOT + 1);
	return (int64_t)(uintptr_t)(n->code.exec + at);
}
