/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Saved state. A device describes itself once, as a class: a name, a version
 * and a list of fields. Saving writes a record: class name, version, and each
 * field with its name, element size and count, little endian. Loading reads a
 * record back into a fresh object, and refuses (-EINVAL, a line in err) a
 * record of another class, of a newer version, with a missing or unknown
 * field, of another size, or truncated. Nothing that is loaded is trusted:
 * post_load checks ranges and returns -EINVAL.
 *
 * Times are saved as vm_clock values, never as host times; no pointers.
 */
#ifndef BASE_STATE_H
#define BASE_STATE_H

#include "base/bits.h"
#include "base/err.h"

struct state_field {
	const char *name;
	uint32_t offset; /* in the object */
	uint16_t size;   /* of an element: 1, 2, 4 or 8 bytes */
	uint16_t count;
};

/* A field of the struct `type`: a scalar or an array of scalars. */
#define STATE_SCALAR(type, member)                                             \
	{                                                                      \
#member, offsetof(type, member), sizeof(((type *)0)->member),  \
		    1                                                          \
	}
#define STATE_ARRAY(type, member)                                              \
	{                                                                      \
#member, offsetof(type, member),                               \
		    sizeof(((type *)0)->member[0]),                            \
		    ARRAY_SIZE(((type *)0)->member)                            \
	}

struct state_class {
	const char *name;
	uint32_t version;
	const struct state_field *fields;
	size_t field_count;
	void (*pre_save)(void *object); /* may be NULL */
	int (*post_load)(void *object); /* may be NULL */
};

/* A growing buffer that records are appended to. Zero-initialise. */
struct state_writer {
	uint8_t *data;
	size_t size;
	size_t room;
	int error; /* sticky -ENOMEM */
};

struct state_reader {
	const uint8_t *data;
	size_t size;
	size_t position;
};

/* 0 or -ENOMEM. instance tells objects of one class apart (vCPU id...). */
int state_save(const struct state_class *class, uint32_t instance, void *object,
	       struct state_writer *writer);

/* Reads the next record, which must be this class and instance. */
int state_load(const struct state_class *class, uint32_t instance, void *object,
	       struct state_reader *reader, struct err *err);

void state_writer_free(struct state_writer *writer);

#endif
