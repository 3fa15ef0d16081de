// SPDX-License-Identifier: BSD-2-Clause
#include "base/state.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/bytes.h"

/* Record: magic, instance, version, field count (all u32), name. */
#define STATE_MAGIC  0x53485641u /* "AVHS" */
#define NAME_MAX_LEN 63

static void put(struct state_writer *writer, const void *from, size_t len)
{
	size_t room = writer->room;
	uint8_t *data;

	if (writer->error != 0)
		return;
	while (room - writer->size < len)
		room = room == 0 ? 4096 : room * 2;
	if (room != writer->room) {
		data = realloc(writer->data, room);
		if (data == NULL) {
			writer->error = -ENOMEM;
			return;
		}
		writer->data = data;
		writer->room = room;
	}
	memcpy(writer->data + writer->size, from, len);
	writer->size += len;
}

static void put_u32(struct state_writer *writer, uint32_t value)
{
	uint8_t bytes[4];

	store_le32(bytes, value);
	put(writer, bytes, sizeof(bytes));
}

static void put_name(struct state_writer *writer, const char *name)
{
	uint8_t len = (uint8_t)strlen(name);

	put(writer, &len, 1);
	put(writer, name, len);
}

/* Elements are little endian; so is every host we run on (x86-64). */
int state_save(const struct state_class *class, uint32_t instance, void *object,
	       struct state_writer *writer)
{
	if (class->pre_save != NULL)
		class->pre_save(object);
	put_u32(writer, STATE_MAGIC);
	put_u32(writer, instance);
	put_u32(writer, class->version);
	put_u32(writer, (uint32_t) class->field_count);
	put_name(writer, class->name);
	for (size_t i = 0; i < class->field_count; i++) {
		const struct state_field *field = &class->fields[i];

		put_name(writer, field->name);
		put_u32(writer, field->size);
		put_u32(writer, field->count);
		put(writer, (char *)object + field->offset,
		    (size_t)field->size * field->count);
	}
	return writer->error;
}

static int get(struct state_reader *reader, void *to, size_t len)
{
	if (!range_inside(reader->position, len, reader->size))
		return -EINVAL;
	memcpy(to, reader->data + reader->position, len);
	reader->position += len;
	return 0;
}

static int get_u32(struct state_reader *reader, uint32_t *value)
{
	uint8_t bytes[4];

	if (get(reader, bytes, sizeof(bytes)) != 0)
		return -EINVAL;
	*value = load_le32(bytes);
	return 0;
}

static int get_name(struct state_reader *reader, char name[NAME_MAX_LEN + 1])
{
	uint8_t len;

	if (get(reader, &len, 1) != 0 || len > NAME_MAX_LEN ||
	    get(reader, name, len) != 0)
		return -EINVAL;
	name[len] = '\0';
	return 0;
}

static int load_field(const struct state_class *class,
		      const struct state_field *field, void *object,
		      struct state_reader *reader, struct err *err)
{
	char name[NAME_MAX_LEN + 1];
	uint32_t size, count;

	if (get_name(reader, name) != 0 || get_u32(reader, &size) != 0 ||
	    get_u32(reader, &count) != 0)
		return err_set(err, EINVAL, "saved state of %s is truncated",
			       class->name);
	if (strcmp(name, field->name) != 0 || size != field->size ||
	    count != field->count)
		return err_set(
		    err, EINVAL,
		    "saved state of %s has field %s where %s belongs",
		    class->name, name, field->name);
	if (get(reader, (char *)object + field->offset, (size_t)size * count) !=
	    0)
		return err_set(err, EINVAL, "saved state of %s is truncated",
			       class->name);
	return 0;
}

int state_load(const struct state_class *class, uint32_t instance, void *object,
	       struct state_reader *reader, struct err *err)
{
	char name[NAME_MAX_LEN + 1];
	uint32_t magic, saved_instance, version, count;
	int error;

	if (get_u32(reader, &magic) != 0 || magic != STATE_MAGIC ||
	    get_u32(reader, &saved_instance) != 0 ||
	    get_u32(reader, &version) != 0 || get_u32(reader, &count) != 0 ||
	    get_name(reader, name) != 0)
		return err_set(err, EINVAL,
			       "saved state has no record where %s belongs",
			       class->name);
	if (strcmp(name, class->name) != 0 || saved_instance != instance)
		return err_set(err, EINVAL,
			       "saved state has %s %u where %s %u belongs",
			       name, saved_instance, class->name, instance);
	if (version != class->version || count != class->field_count)
		return err_set(err, EINVAL,
			       "saved state of %s is version %u; this program "
			       "reads version %u",
			       name, version, class->version);
	for (size_t i = 0; i < count; i++) {
		error =
		    load_field(class, &class->fields[i], object, reader, err);
		if (error != 0)
			return error;
	}
	if (class->post_load != NULL && class->post_load(object) != 0)
		return err_set(err, EINVAL,
			       "saved state of %s holds impossible values",
			       class->name);
	return 0;
}

void state_writer_free(struct state_writer *writer)
{
	free(writer->data);
	*writer = (struct state_writer){0};
}
