// SPDX-License-Identifier: BSD-2-Clause
/*
 * Address space layout randomization: the relocations behind a kernel are
 * applied, or the result says why not.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bits.h"
#include "base/bytes.h"
#include "boot/kaslr.h"
#include "boot/linux.h"
#include "kernels.h"

#define MEMORY (256 * MiB)

/* Where the kernel of this test has words to relocate, by their kind. */
#define AT_ADD64 (TEXT_GPA + 0x10)
#define AT_SUB32 (DATA_GPA + 0x20)
#define AT_ADD32 (DATA_GPA + DATA_SIZE - 4) /* the last bytes of it */

struct fixture {
	struct vmctx vm;
	struct vcpu bsp;
	struct boot_result result;
	struct err err;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	if (f == NULL)
		return -1;
	fake_vm_init(&f->vm, MEMORY, 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_vm_free(&f->vm);
	free(f);
	return 0;
}

static void word(struct blob *blob, uint64_t value)
{
	uint8_t bytes[4];

	store_le32(bytes, (uint32_t)value);
	blob_append(blob, bytes, sizeof(bytes));
}

/* Up to three lists of one word each; 0 is an empty list. */
static struct blob tail(unsigned int lists, const uint64_t at[])
{
	struct blob blob = {0};

	for (unsigned int i = 0; i < lists; i++) {
		word(&blob, 0);
		if (at[i] != 0)
			word(&blob, KERNEL_VIRT + at[i]);
	}
	return blob;
}

static int load_with(struct fixture *f, const struct blob *tail,
		     const char *cmdline)
{
	struct blob elf = kernel_elf();
	struct blob payload, image;
	const char *path;
	int error;

	blob_append(&elf, tail->data, tail->size);
	payload = packed(&elf, "zstd");
	image = bzimage(&payload);
	path = file_with("kernel", &image);
	error = load(&f->vm, &f->bsp, path, NULL, cmdline, &f->result, &f->err);
	blob_free(&elf);
	blob_free(&payload);
	blob_free(&image);
	return error;
}

static uint64_t linked(uint64_t gpa, unsigned int bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | kernel_byte(gpa + bytes);
	return value;
}

static uint64_t loaded(const struct fixture *f, uint64_t gpa,
		       unsigned int bytes)
{
	const uint8_t *at = f->vm.low + gpa + f->result.kernel_gpa - TEXT_GPA;

	return bytes == 8 ? load_le64(at) : load_le32(at);
}

static void test_relocations(void **state)
{
	const uint64_t at[] = {AT_ADD64, AT_SUB32, AT_ADD32};
	struct fixture *f = *state;
	struct blob list = tail(3, at);
	uint64_t slides[16], moves[16];
	bool slid = false, moved = false;

	for (unsigned int i = 0; i < ARRAY_SIZE(slides); i++) {
		uint64_t slide;

		if (load_with(f, &list, "") != 0)
			fail_msg("%s", f->err.text);
		slide = f->result.kaslr_slide;
		assert_string_equal(f->result.kaslr, "on");
		assert_int_equal(slide % ALIGNMENT, 0);
		/* All of it stays in the GiB that the kernel maps. */
		assert_true(TEXT_GPA + slide + INIT_SIZE <= GiB);
		assert_int_equal(loaded(f, AT_ADD64, 8),
				 linked(AT_ADD64, 8) + slide);
		assert_int_equal(loaded(f, AT_SUB32, 4),
				 (uint32_t)(linked(AT_SUB32, 4) - slide));
		assert_int_equal(loaded(f, AT_ADD32, 4),
				 (uint32_t)(linked(AT_ADD32, 4) + slide));
		/* Their neighbours are as they were. */
		assert_int_equal(loaded(f, AT_ADD64 + 8, 8),
				 linked(AT_ADD64 + 8, 8));
		assert_int_equal(loaded(f, AT_ADD64 - 8, 8),
				 linked(AT_ADD64 - 8, 8));
		slides[i] = slide;
		moves[i] = f->result.kernel_gpa;
		slid = slid || slides[i] != slides[0];
		moved = moved || moves[i] != moves[0];
		/* KASLR_FLAG, by which Linux knows. */
		assert_int_equal((f->vm.low[0x10000 + HDR_LOADFLAGS] & 2) != 0,
				 slide != 0);
	}
	/* Alike 16 times of about 500 and 100 places: no. */
	assert_true(slid);
	assert_true(moved);
	blob_free(&list);
}

/* Linux 6.15 dropped the middle list. */
static void test_two_lists(void **state)
{
	const uint64_t at[] = {AT_ADD64, AT_ADD32};
	struct fixture *f = *state;
	struct blob list = tail(2, at);

	assert_int_equal(load_with(f, &list, "quiet"), 0);
	assert_string_equal(f->result.kaslr, "on");
	assert_int_equal(loaded(f, AT_ADD64, 8),
			 linked(AT_ADD64, 8) + f->result.kaslr_slide);
	assert_int_equal(
	    loaded(f, AT_ADD32, 4),
	    (uint32_t)(linked(AT_ADD32, 4) + f->result.kaslr_slide));
	blob_free(&list);
}

static void test_switched_off(void **state)
{
	const uint64_t at[] = {AT_ADD64, AT_SUB32, AT_ADD32};
	struct fixture *f = *state;
	struct blob list = tail(3, at);

	assert_int_equal(load_with(f, &list, "quiet nokaslr"), 0);
	assert_string_equal(f->result.kaslr, "off: nokaslr");
	assert_int_equal(f->result.kaslr_slide, 0);
	assert_int_equal(f->result.kernel_gpa, TEXT_GPA);
	assert_int_equal(f->vm.low[0x10000 + HDR_LOADFLAGS] & 2, 0);
	kernel_check(&f->vm, 0);
	blob_free(&list);
}

static void test_no_relocations(void **state)
{
	static const struct {
		const char *bytes;
		size_t size;
	} tails[] = {
	    {"", 0},
	    {"\0\0\0\0", 4},         /* one list only */
	    {"\0\0\0\0\0\0\0", 7},   /* no whole words */
	    {"\1\0\0\0\0\0\0\0", 8}, /* does not begin with 0 */
	    {"\0\0\0\0\0\0\0\0"      /* four lists */
	     "\0\0\0\0\0\0\0",
	     16},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(tails); i++) {
		struct blob list = {0};

		blob_append(&list, tails[i].bytes, tails[i].size);
		if (load_with(f, &list, "") != 0)
			fail_msg("%s", f->err.text);
		assert_string_equal(f->result.kaslr,
				    "off: the kernel has no relocations");
		assert_int_equal(f->result.kaslr_slide, 0);
		kernel_check(&f->vm,
			     (int64_t)(f->result.kernel_gpa - TEXT_GPA));
		blob_free(&list);
	}
}

/* A relocation that points anywhere else writes nowhere. */
static void test_hostile_relocations(void **state)
{
	static const uint64_t places[] = {
	    TEXT_GPA - 8, TEXT_GPA - 1, KERNEL_END - 7, KERNEL_END, 1,
	    0x7fffffff,   0x1000,
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const uint64_t at[] = {places[i], 0, 0};
		struct blob list = tail(3, at);

		assert_int_equal(load_with(f, &list, ""), -EINVAL);
		assert_non_null(strstr(f->err.text, "relocation"));
		blob_free(&list);
	}
}

static void test_forbidden(void **state)
{
	assert_true(kaslr_forbidden("nokaslr"));
	assert_true(kaslr_forbidden("a nokaslr"));
	assert_true(kaslr_forbidden("xnokaslr nokaslr b"));
	assert_false(kaslr_forbidden(""));
	assert_false(kaslr_forbidden("nokaslrs"));
	assert_false(kaslr_forbidden("xnokaslr"));
	assert_false(kaslr_forbidden("nokasl"));
}

static void test_choose(void **state)
{
	for (unsigned int i = 0; i < 1000; i++) {
		uint64_t got = kaslr_choose(10 * MiB, 2 * MiB);

		assert_true(got <= 10 * MiB && got % (2 * MiB) == 0);
		assert_int_equal(kaslr_choose(2 * MiB - 1, 2 * MiB), 0);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(test_relocations),         TEST(test_two_lists),
	    TEST(test_switched_off),        TEST(test_no_relocations),
	    TEST(test_hostile_relocations), cmocka_unit_test(test_forbidden),
	    cmocka_unit_test(test_choose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
