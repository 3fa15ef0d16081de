// SPDX-License-Identifier: BSD-2-Clause
#include "boot/bzimage.h"

#include <errno.h>

#include "base/bytes.h"

static int bad(const struct boot_file *file, struct err *err, const char *why)
{
	return err_set(err, EINVAL, "%s: %s", file->path, why);
}

bool bzimage_is(const uint8_t *data, size_t size)
{
	return size >= HDR_LAST &&
	       load_le16(data + HDR_BOOT_FLAG) == BOOT_FLAG &&
	       load_le32(data + HDR_MAGIC) == HEADER_MAGIC;
}

static void take_fields(struct bzimage *image)
{
	const uint8_t *header = image->header;
	unsigned int xloadflags = load_le16(header + HDR_XLOADFLAGS);

	image->relocatable = header[HDR_RELOCATABLE_KERNEL] != 0;
	image->has_64bit_entry = (xloadflags & XLF_KERNEL_64) != 0;
	image->initrd_above_4g = (xloadflags & XLF_ABOVE_4G) != 0;
	image->alignment = load_le32(header + HDR_KERNEL_ALIGNMENT);
	image->pref_address = load_le64(header + HDR_PREF_ADDRESS);
	image->init_size = load_le32(header + HDR_INIT_SIZE);
	image->initrd_max = load_le32(header + HDR_INITRD_ADDR_MAX);
	image->cmdline_max = load_le32(header + HDR_CMDLINE_SIZE);
}

static int check_fields(const struct bzimage *image,
			const struct boot_file *file, struct err *err)
{
	uint64_t align = image->alignment;

	if (load_le16(image->header + HDR_VERSION) < VERSION_64BIT)
		return bad(file, err,
			   "a Linux kernel older than 3.8 (boot protocol 2.12 "
			   "is needed)");
	if (align < 4 * KiB || align > GiB || (align & (align - 1)) != 0 ||
	    image->pref_address % align != 0 ||
	    image->pref_address >= 4 * GiB || image->init_size == 0)
		return bad(file, err, "setup header with impossible addresses");
	return 0;
}

static int find_parts(struct bzimage *image, const struct boot_file *file,
		      struct err *err)
{
	const uint8_t *header = image->header;
	uint64_t sectors = header[HDR_SETUP_SECTS];
	uint64_t payload = load_le32(header + HDR_PAYLOAD_OFFSET);

	/* 0 means 4, for historical reasons. */
	image->code_offset = ((sectors == 0 ? 4 : sectors) + 1) * SECTOR_SIZE;
	image->code_size = load_le32(header + HDR_SYSSIZE) * 16ull;
	/* The size is rounded up, and not all builds pad the file to it. */
	if (file->size > image->code_offset &&
	    file->size - image->code_offset + 16 > image->code_size)
		image->code_size =
		    MIN(image->code_size, file->size - image->code_offset);
	if (!range_inside(image->code_offset, image->code_size, file->size))
		return err_set(err, EINVAL,
			       "%s: truncated: the kernel ends at byte %llu, "
			       "the file at %llu",
			       file->path,
			       (unsigned long long)image->code_offset +
				   image->code_size,
			       (unsigned long long)file->size);
	image->payload_offset = image->code_offset + payload;
	image->payload_size = load_le32(header + HDR_PAYLOAD_LENGTH);
	if (!range_inside(payload, image->payload_size, image->code_size))
		return bad(file, err,
			   "setup header with a payload outside of the kernel");
	return 0;
}

int bzimage_parse(struct bzimage *image, const struct boot_file *file,
		  struct err *err)
{
	uint64_t size = MIN(file->size, sizeof(image->header));
	size_t end;
	int error;

	*image = (struct bzimage){0};
	error = boot_file_read(file, 0, image->header, (size_t)size, err);
	if (error != 0)
		return error;
	/* The header is as long as the jump over it; no more is copied. */
	end = HDR_JUMP + 2 + image->header[HDR_JUMP + 1];
	if (end < HDR_LAST || end > sizeof(image->header) || end > size)
		return bad(file, err, "setup header of an impossible length");
	memset(image->header, 0, BP_SETUP_HEADER);
	memset(image->header + end, 0, sizeof(image->header) - end);
	take_fields(image);
	error = check_fields(image, file, err);
	return error != 0 ? error : find_parts(image, file, err);
}

void bzimage_default(struct bzimage *image)
{
	uint8_t *header = image->header;

	*image = (struct bzimage){0};
	store_le16(header + HDR_BOOT_FLAG, BOOT_FLAG);
	store_le32(header + HDR_MAGIC, HEADER_MAGIC);
	store_le16(header + HDR_VERSION, VERSION_64BIT);
	header[HDR_LOADFLAGS] = LOADED_HIGH;
	store_le32(header + HDR_INITRD_ADDR_MAX, INT32_MAX);
	store_le32(header + HDR_KERNEL_ALIGNMENT, KERNEL_ALIGN_DEFAULT);
	store_le16(header + HDR_XLOADFLAGS, XLF_KERNEL_64 | XLF_ABOVE_4G);
	store_le32(header + HDR_CMDLINE_SIZE, 2047);
	take_fields(image);
}
