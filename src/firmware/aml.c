// SPDX-License-Identifier: BSD-2-Clause
#include "firmware/aml.h"

#include <stdio.h>
#include <string.h>

#include "base/bytes.h"

/* ACPI 5.1, 20.3: the encoding of each opcode. */
enum aml_op {
	OP_ZERO = 0x00,
	OP_ONE = 0x01,
	OP_NAME = 0x08,
	OP_BYTE = 0x0a,
	OP_WORD = 0x0b,
	OP_DWORD = 0x0c,
	OP_STRING = 0x0d,
	OP_QWORD = 0x0e,
	OP_SCOPE = 0x10,
	OP_BUFFER = 0x11,
	OP_PACKAGE = 0x12,
	OP_VAR_PACKAGE = 0x13,
	OP_METHOD = 0x14,
	OP_DUAL_NAME = 0x2e,
	OP_MULTI_NAME = 0x2f,
	OP_EXT = 0x5b,
	OP_EXT_DEVICE = 0x82,
	OP_IF = 0xa0,
	OP_RETURN = 0xa4,
};

#define SEGMENT_SIZE 4

/* -- terms ----------------------------------------------------------------- */

void aml_integer(struct aml *aml, uint64_t value)
{
	struct fw_out *out = aml->out;

	if (value <= 1) {
		out_u8(out, value == 0 ? OP_ZERO : OP_ONE);
	} else if (value <= UINT8_MAX) {
		out_u8(out, OP_BYTE);
		out_u8(out, (uint8_t)value);
	} else if (value <= UINT16_MAX) {
		out_u8(out, OP_WORD);
		out_u16(out, (uint16_t)value);
	} else if (value <= UINT32_MAX) {
		out_u8(out, OP_DWORD);
		out_u32(out, (uint32_t)value);
	} else {
		out_u8(out, OP_QWORD);
		out_u64(out, value);
	}
}

void aml_string(struct aml *aml, const char *text)
{
	out_u8(aml->out, OP_STRING);
	out_bytes(aml->out, text, strlen(text) + 1);
}

static uint32_t hex_digit(char c)
{
	return (uint32_t)(c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10) & 0xf;
}

/* Three letters of 5 bits and four digits of 4, as a big-endian word. */
void aml_eisaid(struct aml *aml, const char *id)
{
	uint32_t word = 0;

	for (unsigned int i = 0; i < 3 && id[i] != '\0'; i++)
		word = word << 5 | (id[i] & 0x1f);
	for (unsigned int i = 3; i < 7 && strlen(id) == 7; i++)
		word = word << 4 | hex_digit(id[i]);
	out_u8(aml->out, OP_DWORD);
	out_u32(aml->out, __builtin_bswap32(word));
}

static size_t segment_length(const char *name)
{
	return strcspn(name, ".");
}

static void put_segment(struct aml *aml, const char *name)
{
	char segment[SEGMENT_SIZE] = {'_', '_', '_', '_'};

	memcpy(segment, name, MIN(segment_length(name), sizeof(segment)));
	out_bytes(aml->out, segment, sizeof(segment));
}

static unsigned int count_segments(const char *name)
{
	unsigned int count = *name != '\0';

	for (; *name != '\0'; name++)
		count += *name == '.';
	return count;
}

void aml_path(struct aml *aml, const char *name)
{
	unsigned int count;

	for (; *name == '\\' || *name == '^'; name++)
		out_u8(aml->out, (uint8_t)*name);
	count = count_segments(name);
	if (count == 0) {
		out_u8(aml->out, 0); /* the root itself */
	} else if (count == 2) {
		out_u8(aml->out, OP_DUAL_NAME);
	} else if (count > 2) {
		out_u8(aml->out, OP_MULTI_NAME);
		out_u8(aml->out, (uint8_t)count);
	}
	for (; count > 0; count--) {
		put_segment(aml, name);
		name += segment_length(name) + (count > 1);
	}
}

void aml_name(struct aml *aml, const char *name)
{
	out_u8(aml->out, OP_NAME);
	aml_path(aml, name);
}

void aml_name_integer(struct aml *aml, const char *name, uint64_t value)
{
	aml_name(aml, name);
	aml_integer(aml, value);
}

void aml_name_string(struct aml *aml, const char *name, const char *text)
{
	aml_name(aml, name);
	aml_string(aml, text);
}

void aml_name_eisaid(struct aml *aml, const char *name, const char *id)
{
	aml_name(aml, name);
	aml_eisaid(aml, id);
}

void aml_return_path(struct aml *aml, const char *name)
{
	out_u8(aml->out, OP_RETURN);
	aml_path(aml, name);
}

/* -- what has an end ------------------------------------------------------- */

/*
 * The length (20.2.4) stands before what it counts, itself included, and is
 * longer for more bytes, so it is put in at the end.
 */
void aml_close(struct aml *aml, size_t opened)
{
	size_t length = aml->out->size - opened;
	uint8_t bytes[3];

	if (length + 1 < BIT(6)) {
		bytes[0] = (uint8_t)(length + 1);
		out_insert(aml->out, opened, bytes, 1);
	} else if (length + 2 < BIT(12)) {
		length += 2;
		bytes[0] = (uint8_t)(0x40 | (length & 0xf));
		bytes[1] = (uint8_t)(length >> 4);
		out_insert(aml->out, opened, bytes, 2);
	} else {
		length += 3;
		bytes[0] = (uint8_t)(0x80 | (length & 0xf));
		bytes[1] = (uint8_t)(length >> 4);
		bytes[2] = (uint8_t)(length >> 12);
		out_insert(aml->out, opened, bytes, 3);
	}
}

size_t aml_open_scope(struct aml *aml, const char *name)
{
	size_t opened;

	out_u8(aml->out, OP_SCOPE);
	opened = aml->out->size;
	aml_path(aml, name);
	return opened;
}

size_t aml_open_device(struct aml *aml, const char *name)
{
	size_t opened;

	out_u8(aml->out, OP_EXT);
	out_u8(aml->out, OP_EXT_DEVICE);
	opened = aml->out->size;
	aml_path(aml, name);
	return opened;
}

size_t aml_open_method(struct aml *aml, const char *name, unsigned int args)
{
	size_t opened;

	out_u8(aml->out, OP_METHOD);
	opened = aml->out->size;
	aml_path(aml, name);
	out_u8(aml->out, args & 7);
	return opened;
}

size_t aml_open_package(struct aml *aml, size_t elements)
{
	size_t opened;

	out_u8(aml->out, elements <= UINT8_MAX ? OP_PACKAGE : OP_VAR_PACKAGE);
	opened = aml->out->size;
	if (elements <= UINT8_MAX)
		out_u8(aml->out, (uint8_t)elements);
	else
		aml_integer(aml, elements);
	return opened;
}

size_t aml_open_if(struct aml *aml, const char *name)
{
	size_t opened;

	out_u8(aml->out, OP_IF);
	opened = aml->out->size;
	aml_path(aml, name);
	return opened;
}

size_t aml_open_resources(struct aml *aml, const char *name)
{
	aml_name(aml, name);
	out_u8(aml->out, OP_BUFFER);
	return aml->out->size;
}

void aml_close_resources(struct aml *aml, size_t opened)
{
	uint8_t size[3] = {OP_WORD};

	/* 6.4.2.9: the end tag; a checksum of 0 means that there is none. */
	out_u8(aml->out, 0x79);
	out_u8(aml->out, 0);
	store_le16(size + 1, (uint16_t)(aml->out->size - opened));
	out_insert(aml->out, opened, size, sizeof(size));
	aml_close(aml, opened);
}

/* -- resources ------------------------------------------------------------- */

/* 6.4.2.5 I/O port descriptor. */
void aml_io(struct aml *aml, uint16_t port, uint8_t count)
{
	out_u8(aml->out, 0x47);
	out_u8(aml->out, 0x01); /* decodes 16 bits */
	out_u16(aml->out, port);
	out_u16(aml->out, port);
	out_u8(aml->out, 1);
	out_u8(aml->out, count);
}

/* 6.4.2.1 IRQ descriptor, without flags. */
void aml_irq(struct aml *aml, uint8_t irq)
{
	out_u8(aml->out, 0x22);
	out_u16(aml->out, (uint16_t)(1u << (irq & 0xf)));
}

/* 6.4.3.4 32-bit fixed memory range descriptor. */
void aml_memory32(struct aml *aml, uint32_t base, uint32_t size)
{
	out_u8(aml->out, 0x86);
	out_u16(aml->out, 9);
	out_u8(aml->out, 1); /* writable */
	out_u32(aml->out, base);
	out_u32(aml->out, size);
}

static void put_number(struct fw_out *out, unsigned int width, uint64_t value)
{
	uint8_t bytes[8];

	store_le64(bytes, value);
	out_bytes(out, bytes, width);
}

/* 6.4.3.5 Address space resource descriptors. */
void aml_window(struct aml *aml, enum aml_window kind, uint64_t base,
		uint64_t size)
{
	/* Memory can be written; all of the ports are passed on. */
	static const uint8_t type_flags[] = {
	    [AML_WINDOW_MEMORY] = 0x01,
	    [AML_WINDOW_IO] = 0x03,
	    [AML_WINDOW_BUS] = 0x00,
	};
	uint64_t last = base + (size - 1);
	uint64_t largest = MAX(last, size);
	unsigned int width = largest > UINT32_MAX ? 8 : 4;
	struct fw_out *out = aml->out;

	if (kind != AML_WINDOW_MEMORY && largest <= UINT16_MAX)
		width = 2;
	out_u8(out, width == 8 ? 0x8a : width == 4 ? 0x87 : 0x88);
	out_u16(out, (uint16_t)(3 + 5 * width));
	out_u8(out, (uint8_t)kind);
	out_u8(out, 0x0c); /* fixed at both ends, produced, decoded */
	out_u8(out, type_flags[kind]);
	put_number(out, width, 0); /* granularity */
	put_number(out, width, base);
	put_number(out, width, last);
	put_number(out, width, 0); /* translation */
	put_number(out, width, size);
}
