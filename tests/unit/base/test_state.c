/* SPDX-License-Identifier: BSD-2-Clause */
/* Saved state: what is written comes back, and what does not fit is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/state.h"

struct thing {
	uint8_t small;
	uint16_t pair[3];
	uint64_t big;
	uint32_t not_saved;
	bool prepared;
};

static void prepare(void *object)
{
	struct thing *thing = object;

	thing->prepared = true;
}

static int check(void *object)
{
	const struct thing *thing = object;

	return thing->small > 100 ? -EINVAL : 0;
}

static const struct state_field fields[] = {
    STATE_SCALAR(struct thing, small),
    STATE_ARRAY(struct thing, pair),
    STATE_SCALAR(struct thing, big),
};

static const struct state_class class = {
    .name = "thing",
    .version = 2,
    .fields = fields,
    .field_count = ARRAY_SIZE(fields),
    .pre_save = prepare,
    .post_load = check,
};

static struct thing example(void)
{
	return (struct thing){7, {1, 2, 0xfffe}, 0x1122334455667788, 5, false};
}

static void assert_refused(const struct state_class *as, uint32_t instance,
			   const struct state_writer *writer, const char *text)
{
	struct state_reader reader = {writer->data, writer->size, 0};
	struct thing thing = {0};
	struct err err = {""};

	assert_int_equal(state_load(as, instance, &thing, &reader, &err),
			 -EINVAL);
	assert_non_null(strstr(err.text, text));
}

static void comes_back(void **state)
{
	struct thing from = example(), to = {.not_saved = 9};
	struct state_writer writer = {0};
	struct state_reader reader;
	struct err err;

	assert_int_equal(state_save(&class, 1, &from, &writer), 0);
	assert_true(from.prepared);
	assert_int_equal(state_save(&class, 2, &from, &writer), 0);
	reader = (struct state_reader){writer.data, writer.size, 0};
	assert_int_equal(state_load(&class, 1, &to, &reader, &err), 0);
	assert_int_equal(to.small, 7);
	assert_int_equal(to.pair[2], 0xfffe);
	assert_int_equal(to.big, 0x1122334455667788);
	assert_int_equal(to.not_saved, 9);
	assert_int_equal(state_load(&class, 2, &to, &reader, &err), 0);
	assert_int_equal(reader.position, writer.size);
	assert_int_equal(state_load(&class, 3, &to, &reader, &err), -EINVAL);
	state_writer_free(&writer);
	assert_null(writer.data);
}

static void strangers_are_refused(void **state)
{
	static const struct state_field fewer[] = {
	    STATE_SCALAR(struct thing, small),
	    STATE_ARRAY(struct thing, pair),
	};
	static const struct state_field renamed[] = {
	    STATE_SCALAR(struct thing, small),
	    STATE_ARRAY(struct thing, pair),
	    STATE_SCALAR(struct thing, not_saved),
	};
	struct state_class other = class;
	struct thing from = example();
	struct state_writer writer = {0};

	state_save(&class, 1, &from, &writer);
	assert_refused(&class, 2, &writer, "thing 1 where thing 2 belongs");
	other.name = "other";
	assert_refused(&other, 1, &writer, "other 1 belongs");
	other = class;
	other.version = 1;
	assert_refused(&other, 1, &writer, "version 2");
	other = class;
	other.fields = fewer;
	other.field_count = ARRAY_SIZE(fewer);
	assert_refused(&other, 1, &writer, "version");
	other.fields = renamed;
	other.field_count = ARRAY_SIZE(renamed);
	assert_refused(&other, 1, &writer, "field big where not_saved");
	state_writer_free(&writer);
}

static void impossible_values_are_refused(void **state)
{
	struct thing from = example();
	struct state_writer writer = {0};

	from.small = 101;
	state_save(&class, 1, &from, &writer);
	assert_refused(&class, 1, &writer, "impossible");
	state_writer_free(&writer);
}

/* Cut anywhere; the copy makes a read past the end visible to a sanitizer. */
static void truncation_is_refused(void **state)
{
	struct thing from = example();
	struct state_writer writer = {0};

	state_save(&class, 1, &from, &writer);
	for (size_t size = 0; size < writer.size; size++) {
		struct state_writer cut = {malloc(size + 1), size, size, 0};

		memcpy(cut.data, writer.data, size);
		assert_refused(&class, 1, &cut, "saved state");
		free(cut.data);
	}
	state_writer_free(&writer);
}

/* A name without its end, a length past everything. */
static void damaged_lengths_are_refused(void **state)
{
	struct thing from = example();
	struct state_writer writer = {0};

	state_save(&class, 1, &from, &writer);
	writer.data[16] = 255; /* length of the class name */
	assert_refused(&class, 1, &writer, "no record");
	writer.data[16] = 5;
	writer.data[0] ^= 1;
	assert_refused(&class, 1, &writer, "no record");
	state_writer_free(&writer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(comes_back),
	    cmocka_unit_test(strangers_are_refused),
	    cmocka_unit_test(impossible_values_are_refused),
	    cmocka_unit_test(truncation_is_refused),
	    cmocka_unit_test(damaged_lengths_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
