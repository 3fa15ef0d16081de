// SPDX-License-Identifier: BSD-2-Clause
/* Disks of raw files: opening, transfers, what goes wrong. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "backend/blockif.h"

#define SIZE (256 * 1024)

struct fixture {
	char folder[64];
	char path[80];
	struct config *config;
	pthread_mutex_t lock; /* for what follows */
	pthread_cond_t changed;
	unsigned int done;
	int errors[256];
};

struct request {
	struct fixture *f;
	unsigned int number;
	struct blockif_request io;
	struct iovec iov[3];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	FILE *file;

	*state = f;
	snprintf(f->folder, sizeof(f->folder), "/tmp/test_blockif.XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->path, sizeof(f->path), "%s/disk", f->folder);
	file = fopen(f->path, "w");
	assert_non_null(file);
	for (unsigned int i = 0; i < SIZE; i++)
		fputc((int)(i / 512 & 0xff), file);
	fclose(file);
	f->config = config_create();
	pthread_mutex_init(&f->lock, NULL);
	pthread_cond_init(&f->changed, NULL);
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	config_destroy(f->config);
	unlink(f->path);
	rmdir(f->folder);
	free(f);
	return 0;
}

/* A new disk of the variables in options, "name=value,...". */
static int open_disk(struct fixture *f, const char *options,
		     struct blockif **out, struct err *err)
{
	char text[256];
	char *rest = text, *word;
	struct config_node *node;

	config_destroy(f->config);
	f->config = config_create();
	node = config_make(config_root(f->config), "disk");
	snprintf(text, sizeof(text), "%s", options);
	while ((word = strsep(&rest, ",")) != NULL && *word != '\0') {
		char *value = strchr(word, '=');

		*value = '\0';
		assert_int_equal(config_set_in(node, word, value + 1), 0);
	}
	if (config_get_in(node, "path") == NULL)
		config_set_in(node, "path", f->path);
	return blockif_open(node, out, err);
}

static struct blockif *must_open(struct fixture *f, const char *options)
{
	struct blockif *disk;
	struct err err = {""};

	if (open_disk(f, options, &disk, &err) != 0)
		fail_msg("%s: %s", options, err.text);
	return disk;
}

static void on_done(struct blockif_request *io, int error)
{
	struct request *r = container_of(io, struct request, io);
	struct fixture *f = r->f;

	pthread_mutex_lock(&f->lock);
	f->errors[r->number] = error;
	f->done++;
	pthread_cond_broadcast(&f->changed);
	pthread_mutex_unlock(&f->lock);
}

static void submit(struct fixture *f, struct blockif *disk, struct request *r,
		   unsigned int number)
{
	r->f = f;
	r->number = number;
	r->io.done = on_done;
	r->io.iov = r->iov;
	blockif_submit(disk, &r->io);
}

static void wait_for(struct fixture *f, unsigned int count)
{
	pthread_mutex_lock(&f->lock);
	while (f->done < count)
		pthread_cond_wait(&f->changed, &f->lock);
	f->done = 0;
	pthread_mutex_unlock(&f->lock);
}

/* One request, to its end. */
static int perform(struct fixture *f, struct blockif *disk, enum blockif_op op,
		   uint64_t offset, void *bytes, size_t count)
{
	struct request r = {.io = {.op = op, .offset = offset}};

	if (op == BLOCKIF_READ || op == BLOCKIF_WRITE) {
		r.iov[0] = (struct iovec){bytes, count};
		r.io.iovcnt = 1;
	} else {
		r.io.bytes = count;
	}
	submit(f, disk, &r, 0);
	wait_for(f, 1);
	return f->errors[0];
}

static void test_transfers(void **state)
{
	static const char *const options[] = {"", "sync=true", "direct=yes"};
	struct fixture *f = *state;
	uint8_t bytes[4096];

	for (size_t i = 0; i < ARRAY_SIZE(options); i++) {
		struct blockif *disk = must_open(f, options[i]);

		assert_true(blockif_size(disk) == SIZE);
		assert_int_equal(blockif_sector(disk), 512);
		assert_int_equal(
		    perform(f, disk, BLOCKIF_READ, 512 * 7, bytes, 1024), 0);
		assert_int_equal(bytes[0], 7);
		assert_int_equal(bytes[1023], 8);
		memset(bytes, 0x11 * (int)(i + 1), sizeof(bytes));
		assert_int_equal(
		    perform(f, disk, BLOCKIF_WRITE, 4096, bytes, sizeof(bytes)),
		    0);
		assert_int_equal(perform(f, disk, BLOCKIF_FLUSH, 0, NULL, 0),
				 0);
		memset(bytes, 0, sizeof(bytes));
		assert_int_equal(perform(f, disk, BLOCKIF_READ, 8191, bytes, 1),
				 0);
		assert_int_equal(bytes[0], 0x11 * (i + 1));
		/* For the next one, as it was. */
		for (unsigned int j = 0; j < sizeof(bytes); j++)
			bytes[j] = (uint8_t)(8 + j / 512);
		perform(f, disk, BLOCKIF_WRITE, 4096, bytes, sizeof(bytes));
		blockif_close(disk);
	}
}

/* O_DIRECT, into buffers that are not aligned, of more than the bounce buffer
   holds. */
static void test_uncached(void **state)
{
	struct fixture *f = *state;
	const size_t size = 3 * 1024 * 1024 + 512;
	struct blockif *disk;
	uint8_t *bytes = malloc(size + 1);
	struct request r;
	struct err err;

	assert_int_equal(truncate(f->path, 4 * 1024 * 1024), 0);
	if (open_disk(f, "nocache=true", &disk, &err) != 0) {
		print_message("no O_DIRECT in /tmp: %s\n", err.text);
		free(bytes);
		skip();
	}
	for (size_t i = 0; i <= size; i++)
		bytes[i] = (uint8_t)(i * 7 + i / 4096);
	r = (struct request){
	    .io = {.op = BLOCKIF_WRITE, .offset = 4096, .iovcnt = 3},
	    .iov = {{bytes + 1, 100},
		    {bytes + 101, 1},
		    {bytes + 102, size - 101}},
	};
	submit(f, disk, &r, 0);
	wait_for(f, 1);
	assert_int_equal(f->errors[0], 0);
	memset(bytes, 0, size + 1);
	r.io.op = BLOCKIF_READ;
	r.iov[0] = (struct iovec){bytes + 1, 100};
	r.iov[1] = (struct iovec){bytes + 101, 1};
	r.iov[2] = (struct iovec){bytes + 102, size - 101};
	r.io.iovcnt = 3;
	submit(f, disk, &r, 0);
	wait_for(f, 1);
	assert_int_equal(f->errors[0], 0);
	for (size_t i = 1; i <= size; i++) {
		if (bytes[i] != (uint8_t)(i * 7 + i / 4096))
			fail_msg("byte %zu", i);
	}
	blockif_close(disk);
	free(bytes);
}

/* More requests than workers, each with its own answer; closing waits. */
static void test_many(void **state)
{
	struct fixture *f = *state;
	struct blockif *disk = must_open(f, "");
	static struct request requests[256];
	static uint8_t bytes[256][512];

	for (unsigned int i = 0; i < 256; i++) {
		requests[i] = (struct request){
		    .io = {.op = i % 2 ? BLOCKIF_WRITE : BLOCKIF_READ,
			   .offset = 512 * i,
			   .iovcnt = 1},
		    .iov = {{bytes[i], 512}},
		};
		memset(bytes[i], 0xee, 512);
		submit(f, disk, &requests[i], i);
	}
	blockif_close(disk);
	assert_int_equal(f->done, 256);
	for (unsigned int i = 0; i < 256; i++) {
		assert_int_equal(f->errors[i], 0);
		assert_int_equal(bytes[i][511], i % 2 ? 0xee : i);
	}
	disk = must_open(f, "ro=true");
	f->done = 0;
	assert_int_equal(perform(f, disk, BLOCKIF_READ, 512, bytes[0], 512), 0);
	assert_int_equal(bytes[0][0], 0xee);
	blockif_close(disk);
}

static void test_zeros(void **state)
{
	struct fixture *f = *state;
	struct blockif *disk = must_open(f, "");
	uint8_t bytes[1024];

	assert_int_equal(perform(f, disk, BLOCKIF_ZERO, 1024, NULL, 512), 0);
	assert_int_equal(perform(f, disk, BLOCKIF_READ, 1024, bytes, 1024), 0);
	assert_int_equal(bytes[0], 0);
	assert_int_equal(bytes[511], 0);
	assert_int_equal(bytes[512], 3);
	assert_int_equal(perform(f, disk, BLOCKIF_ZERO, 0, NULL, 0), 0);
	if (blockif_can_discard(disk)) {
		assert_int_equal(
		    perform(f, disk, BLOCKIF_DISCARD, 0, NULL, 4096), 0);
		assert_int_equal(perform(f, disk, BLOCKIF_DISCARD, 0, NULL, 0),
				 0);
	}
	assert_true(blockif_size(disk) == SIZE);
	blockif_close(disk);
	disk = must_open(f, "nodelete=true");
	assert_false(blockif_can_discard(disk));
	assert_int_equal(perform(f, disk, BLOCKIF_DISCARD, 0, NULL, 512),
			 -EOPNOTSUPP);
	blockif_close(disk);
}

/* Somebody makes the file shorter while it is used. */
static void test_shrunk(void **state)
{
	struct fixture *f = *state;
	struct blockif *disk = must_open(f, "");
	uint8_t bytes[1024];

	assert_int_equal(truncate(f->path, 512), 0);
	assert_int_equal(perform(f, disk, BLOCKIF_READ, 0, bytes, 512), 0);
	assert_int_equal(perform(f, disk, BLOCKIF_READ, 0, bytes, 1024), -EIO);
	assert_int_equal(perform(f, disk, BLOCKIF_READ, 1024, bytes, 512),
			 -EIO);
	blockif_close(disk);
}

static void test_read_only(void **state)
{
	struct fixture *f = *state;
	struct blockif *disk = must_open(f, "ro=true");
	struct blockif *second = must_open(f, "ro=1");
	uint8_t bytes[512] = {0};

	assert_true(blockif_is_readonly(disk));
	assert_false(blockif_can_discard(disk));
	assert_int_equal(perform(f, disk, BLOCKIF_WRITE, 0, bytes, 512),
			 -EROFS);
	assert_int_equal(perform(f, disk, BLOCKIF_ZERO, 0, NULL, 512), -EROFS);
	assert_int_equal(perform(f, disk, BLOCKIF_DISCARD, 0, NULL, 512),
			 -EROFS);
	assert_int_equal(perform(f, disk, BLOCKIF_FLUSH, 0, NULL, 0), 0);
	blockif_close(second);
	blockif_close(disk);
}

static void test_sectors(void **state)
{
	struct fixture *f = *state;
	struct blockif *disk = must_open(f, "sectorsize=4096");

	assert_int_equal(blockif_sector(disk), 4096);
	assert_int_equal(blockif_physical_sector(disk), 4096);
	blockif_close(disk);
	disk = must_open(f, "sectorsize=512/65536");
	assert_int_equal(blockif_physical_sector(disk), 65536);
	blockif_close(disk);
	/* What is no whole sector does not count. */
	assert_int_equal(truncate(f->path, 10000), 0);
	disk = must_open(f, "sectorsize=4096");
	assert_true(blockif_size(disk) == 8192);
	blockif_close(disk);
}

static void test_refusals(void **state)
{
	static const struct {
		const char *options;
		const char *text;
	} rows[] = {
	    {"path=/nonexistent/disk", "/nonexistent/disk: No such file"},
	    {"path=/tmp,ro=true", "neither a file nor a block device"},
	    {"path=/dev/null", "neither a file nor a block device"},
	    {"ro=perhaps", "ro: \"perhaps\" is neither true nor false"},
	    {"sectorsize=", "sectorsize="},
	    {"sectorsize=513", "sectorsize=513: LOGICAL"},
	    {"sectorsize=256", "sectorsize=256: LOGICAL"},
	    {"sectorsize=131072", "powers of two"},
	    {"sectorsize=4096/512", "sectorsize=4096/512"},
	    {"sectorsize=512/", "sectorsize=512/"},
	    {"sectorsize=-512", "sectorsize=-512"},
	};
	struct fixture *f = *state;
	struct blockif *disk, *first;
	struct err err;

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		err.text[0] = '\0';
		if (open_disk(f, rows[i].options, &disk, &err) == 0)
			fail_msg("%s: opened", rows[i].options);
		if (strstr(err.text, rows[i].text) == NULL)
			fail_msg("%s: %s", rows[i].options, err.text);
	}
	/* One writer, or readers. */
	first = must_open(f, "");
	assert_true(open_disk(f, "", &disk, &err) < 0);
	assert_non_null(strstr(err.text, "has locked it"));
	assert_true(open_disk(f, "ro=true", &disk, &err) < 0);
	blockif_close(first);
	/* Nothing in it. */
	assert_int_equal(truncate(f->path, 511), 0);
	assert_true(open_disk(f, "", &disk, &err) < 0);
	assert_non_null(strstr(err.text, "not one sector"));
	/* A FIFO does not keep anybody waiting. */
	unlink(f->path);
	assert_int_equal(mkfifo(f->path, 0600), 0);
	assert_true(open_disk(f, "", &disk, &err) < 0);
	blockif_close(NULL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
	    TEST(test_transfers), TEST(test_uncached), TEST(test_many),
	    TEST(test_zeros),     TEST(test_shrunk),   TEST(test_read_only),
	    TEST(test_sectors),   TEST(test_refusals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
