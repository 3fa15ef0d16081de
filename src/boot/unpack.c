// SPDX-License-Identifier: BSD-2-Clause
/*
 * gzip (RFC 1952), xz, zstd (RFC 8878) and LZ4's legacy frame. What follows
 * the end of a stream is ignored: Linux appends the unpacked size, 4 bytes,
 * to all but gzip.
 */
#include "boot/unpack.h"

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <zlib.h>
#include <zstd.h>

#include "base/bytes.h"

#define IN_SIZE  (128 * KiB)
#define OUT_SIZE (256 * KiB)

/*
 * Linux's Makefiles ask xz for a dictionary of 32 MiB, lately 128 MiB, and
 * zstd for a window of at most 2^27.
 */
#define XZ_MEMORY_MAX   (160 * MiB)
#define ZSTD_WINDOW_LOG 27

/* lz4 -l: a magic number, then blocks, each its packed size and its bytes. */
#define LZ4_LEGACY_MAGIC 0x184c2102u
#define LZ4_LEGACY_BLOCK (8 * MiB)

static int damaged(const struct unpack_job *job, struct err *err)
{
	return err_set(err, EINVAL, "%s: the packed kernel in it is damaged",
		       job->file->path);
}

static int cut_short(const struct unpack_job *job, struct err *err)
{
	return err_set(err, EINVAL, "%s: the packed kernel in it is truncated",
		       job->file->path);
}

static int no_memory(const struct unpack_job *job, struct err *err)
{
	return err_sys(err, ENOMEM, "%s: cannot unpack", job->file->path);
}

/* -- formats with a streaming library ----------------------------------- */

struct stream_piece {
	const uint8_t *in;
	size_t in_size;
	uint8_t *out;
	size_t out_room;
};

/*
 * step consumes from piece->in and fills piece->out, moving both along. It
 * returns 1 at the end of the stream, 0 when it wants more of either, and
 * -EINVAL for a stream that is no such thing or -ENOMEM.
 */
struct codec {
	void *(*start)(void);
	int (*step)(void *state, struct stream_piece *piece);
	void (*finish)(void *state);
};

struct stream {
	struct unpack_job *job;
	const struct codec *codec;
	void *state;
	struct stream_piece piece;
	uint8_t in[IN_SIZE];
	uint8_t out[OUT_SIZE];
};

static int stream_refill(struct stream *stream, struct err *err)
{
	struct unpack_job *job = stream->job;
	uint64_t left = job->length - job->taken;
	size_t size = (size_t)MIN(left, sizeof(stream->in));
	int error;

	error = boot_file_read(job->file, job->offset + job->taken, stream->in,
			       size, err);
	if (error != 0)
		return error;
	job->taken += size;
	stream->piece.in = stream->in;
	stream->piece.in_size = size;
	if (job->progress != NULL)
		job->progress(job->arg, job->taken);
	return 0;
}

/* Fills the output buffer once and hands it on. 1 at the end. */
static int stream_turn(struct stream *stream, struct err *err)
{
	struct unpack_job *job = stream->job;
	struct stream_piece *piece = &stream->piece;
	int status = 0, error;

	piece->out = stream->out;
	piece->out_room = sizeof(stream->out);
	while (status == 0 && piece->out_room > 0) {
		size_t in_before, out_before = piece->out_room;

		if (piece->in_size == 0) {
			error = stream_refill(stream, err);
			if (error != 0)
				return error;
		}
		in_before = piece->in_size;
		status = stream->codec->step(stream->state, piece);
		if (status == 0 && in_before == piece->in_size &&
		    out_before == piece->out_room)
			return cut_short(job, err);
	}
	if (status == -ENOMEM)
		return no_memory(job, err);
	if (status < 0)
		return damaged(job, err);
	error = job->sink(job->arg, stream->out,
			  sizeof(stream->out) - piece->out_room, err);
	return error != 0 ? error : status;
}

static int run_codec(struct unpack_job *job, const struct codec *codec,
		     struct err *err)
{
	struct stream *stream = malloc(sizeof(*stream));
	int status;

	if (stream == NULL)
		return no_memory(job, err);
	*stream = (struct stream){.job = job, .codec = codec};
	stream->state = codec->start();
	status = stream->state == NULL ? no_memory(job, err) : 0;
	while (status == 0)
		status = stream_turn(stream, err);
	if (stream->state != NULL)
		codec->finish(stream->state);
	free(stream);
	return status < 0 ? status : 0;
}

static void *gzip_start(void)
{
	z_stream *zlib = calloc(1, sizeof(*zlib));

	/* 16: with gzip's header and checksum. */
	if (zlib != NULL && inflateInit2(zlib, 16 + MAX_WBITS) != Z_OK) {
		free(zlib);
		return NULL;
	}
	return zlib;
}

static int gzip_step(void *state, struct stream_piece *piece)
{
	z_stream *zlib = state;
	int status;

	zlib->next_in = (Bytef *)(uintptr_t)piece->in;
	zlib->avail_in = (uInt)piece->in_size;
	zlib->next_out = piece->out;
	zlib->avail_out = (uInt)piece->out_room;
	status = inflate(zlib, Z_NO_FLUSH);
	piece->in = zlib->next_in;
	piece->in_size = zlib->avail_in;
	piece->out = zlib->next_out;
	piece->out_room = zlib->avail_out;
	if (status == Z_STREAM_END)
		return 1;
	if (status == Z_MEM_ERROR)
		return -ENOMEM;
	return status == Z_OK || status == Z_BUF_ERROR ? 0 : -EINVAL;
}

static void gzip_finish(void *state)
{
	inflateEnd(state);
	free(state);
}

static int run_gzip(struct unpack_job *job, struct err *err)
{
	static const struct codec gzip = {gzip_start, gzip_step, gzip_finish};

	return run_codec(job, &gzip, err);
}

/* The dictionary in huge pages: to come for 4 KiB at a time costs a tenth of
   what unpacking does, on a host that is a guest itself. */
static void *xz_alloc(void *opaque, size_t count, size_t size)
{
	uint64_t bytes = (uint64_t)count * size;
	void *p;

	(void)opaque;
	if (bytes < HUGE_PAGE_BYTES)
		return malloc(bytes);
	bytes = ALIGN_UP(bytes, HUGE_PAGE_BYTES);
	p = aligned_alloc(HUGE_PAGE_BYTES, bytes);
	if (p != NULL)
		madvise(p, bytes, MADV_HUGEPAGE);
	return p;
}

static void xz_free(void *opaque, void *p)
{
	(void)opaque;
	free(p);
}

static void *xz_start(void)
{
	static const lzma_allocator memory = {xz_alloc, xz_free, NULL};
	lzma_stream *xz = calloc(1, sizeof(*xz));

	if (xz == NULL)
		return NULL;
	xz->allocator = &memory;
	if (lzma_stream_decoder(xz, XZ_MEMORY_MAX, 0) != LZMA_OK) {
		free(xz);
		return NULL;
	}
	return xz;
}

static int xz_step(void *state, struct stream_piece *piece)
{
	lzma_stream *xz = state;
	lzma_ret status;

	xz->next_in = piece->in;
	xz->avail_in = piece->in_size;
	xz->next_out = piece->out;
	xz->avail_out = piece->out_room;
	status = lzma_code(xz, LZMA_RUN);
	piece->in = xz->next_in;
	piece->in_size = xz->avail_in;
	piece->out = xz->next_out;
	piece->out_room = xz->avail_out;
	if (status == LZMA_STREAM_END)
		return 1;
	if (status == LZMA_MEM_ERROR || status == LZMA_MEMLIMIT_ERROR)
		return -ENOMEM;
	return status == LZMA_OK || status == LZMA_BUF_ERROR ? 0 : -EINVAL;
}

static void xz_finish(void *state)
{
	lzma_end(state);
	free(state);
}

static int run_xz(struct unpack_job *job, struct err *err)
{
	static const struct codec xz = {xz_start, xz_step, xz_finish};

	return run_codec(job, &xz, err);
}

static void *zstd_start(void)
{
	ZSTD_DCtx *zstd = ZSTD_createDCtx();

	if (zstd != NULL)
		ZSTD_DCtx_setParameter(zstd, ZSTD_d_windowLogMax,
				       ZSTD_WINDOW_LOG);
	return zstd;
}

static int zstd_step(void *state, struct stream_piece *piece)
{
	ZSTD_inBuffer in = {.src = piece->in, .size = piece->in_size};
	ZSTD_outBuffer out = {.dst = piece->out, .size = piece->out_room};
	size_t status = ZSTD_decompressStream(state, &out, &in);

	piece->in += in.pos;
	piece->in_size -= in.pos;
	piece->out += out.pos;
	piece->out_room -= out.pos;
	if (ZSTD_isError(status))
		return -EINVAL;
	return status == 0;
}

static void zstd_finish(void *state)
{
	ZSTD_freeDCtx(state);
}

static int run_zstd(struct unpack_job *job, struct err *err)
{
	static const struct codec zstd = {zstd_start, zstd_step, zstd_finish};

	return run_codec(job, &zstd, err);
}

/* -- LZ4's legacy frame, which liblz4's frame functions refuse ----------- */

struct lz4_buffers {
	uint8_t *in;
	uint8_t *out;
};

static int lz4_take(struct unpack_job *job, void *to, size_t size,
		    struct err *err)
{
	int error;

	if (size > job->length - job->taken)
		return cut_short(job, err);
	error =
	    boot_file_read(job->file, job->offset + job->taken, to, size, err);
	job->taken += size;
	return error;
}

static int lz4_block(struct unpack_job *job, struct lz4_buffers *buffers,
		     size_t packed, struct err *err)
{
	int size, error;

	if (packed > (size_t)LZ4_COMPRESSBOUND(LZ4_LEGACY_BLOCK))
		return damaged(job, err);
	error = lz4_take(job, buffers->in, packed, err);
	if (error != 0)
		return error;
	size =
	    LZ4_decompress_safe((const char *)buffers->in, (char *)buffers->out,
				(int)packed, (int)LZ4_LEGACY_BLOCK);
	if (size < 0)
		return damaged(job, err);
	if (job->progress != NULL)
		job->progress(job->arg, job->taken);
	return job->sink(job->arg, buffers->out, (size_t)size, err);
}

static int lz4_blocks(struct unpack_job *job, struct lz4_buffers *buffers,
		      struct err *err)
{
	uint8_t word[4];
	int error = 0;

	/*
	 * The format has no end mark. The last 4 bytes of a kernel's payload
	 * are the unpacked size, not the length of another block.
	 */
	while (error == 0 && job->length - job->taken > sizeof(word)) {
		error = lz4_take(job, word, sizeof(word), err);
		if (error == 0 && load_le32(word) != LZ4_LEGACY_MAGIC)
			error = lz4_block(job, buffers, load_le32(word), err);
	}
	return error;
}

static int run_lz4(struct unpack_job *job, struct err *err)
{
	struct lz4_buffers buffers = {
	    .in = malloc(LZ4_COMPRESSBOUND(LZ4_LEGACY_BLOCK)),
	    .out = malloc(LZ4_LEGACY_BLOCK),
	};
	int error;

	if (buffers.in == NULL || buffers.out == NULL)
		error = no_memory(job, err);
	else
		error = lz4_blocks(job, &buffers, err);
	free(buffers.in);
	free(buffers.out);
	return error;
}

/* ------------------------------------------------------------------------ */

static const struct unpack_format formats[] = {
    {"gzip", {0x1f, 0x8b}, 2, run_gzip},
    {"xz", {0xfd, '7', 'z', 'X', 'Z', 0}, 6, run_xz},
    {"zstd", {0x28, 0xb5, 0x2f, 0xfd}, 4, run_zstd},
    {"lz4", {0x02, 0x21, 0x4c, 0x18}, 4, run_lz4},
    {"bzip2", {'B', 'Z', 'h'}, 3, NULL},
    {"lzma", {0x5d, 0x00, 0x00}, 3, NULL},
    {"lzo", {0x89, 'L', 'Z', 'O', 0x00, 0x0d}, 6, NULL},
};

const struct unpack_format *unpack_find(const uint8_t magic[UNPACK_MAGIC_SIZE])
{
	for (size_t i = 0; i < ARRAY_SIZE(formats); i++) {
		if (memcmp(magic, formats[i].magic, formats[i].magic_size) == 0)
			return &formats[i];
	}
	return NULL;
}
