/* SPDX-License-Identifier: BSD-2-Clause */
/* A fuzzer's input, taken in pieces; zeros follow its end. */
#ifndef FUZZ_INPUT_H
#define FUZZ_INPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct input {
	const uint8_t *data;
	size_t left;
};

static inline void take_bytes(struct input *in, void *to, size_t count)
{
	size_t have = count < in->left ? count : in->left;

	memset(to, 0, count);
	if (have == 0)
		return;
	memcpy(to, in->data, have);
	in->data += have;
	in->left -= have;
}

static inline uint8_t take_8(struct input *in)
{
	uint8_t value;

	take_bytes(in, &value, sizeof(value));
	return value;
}

static inline uint16_t take_16(struct input *in)
{
	uint16_t value;

	take_bytes(in, &value, sizeof(value));
	return value;
}

static inline uint32_t take_32(struct input *in)
{
	uint32_t value;

	take_bytes(in, &value, sizeof(value));
	return value;
}

static inline uint64_t take_64(struct input *in)
{
	uint64_t value;

	take_bytes(in, &value, sizeof(value));
	return value;
}

/* What libFuzzer calls. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
