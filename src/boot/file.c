// SPDX-License-Identifier: BSD-2-Clause
#include "boot/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int check_regular(struct boot_file *file, struct err *err)
{
	struct stat st;

	if (fstat(file->fd, &st) < 0)
		return err_sys(err, errno, "%s", file->path);
	if (!S_ISREG(st.st_mode))
		return err_set(err, EINVAL, "%s: not a regular file",
			       file->path);
	if (st.st_size == 0)
		return err_set(err, EINVAL, "%s: the file is empty",
			       file->path);
	file->size = (uint64_t)st.st_size;
	return 0;
}

int boot_file_open(struct boot_file *file, const char *path, struct err *err)
{
	int error;

	file->path = path;
	/* O_NONBLOCK: opening a pipe without a writer must not hang. */
	file->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (file->fd < 0)
		return err_sys(err, errno, "%s", path);
	error = check_regular(file, err);
	if (error != 0)
		boot_file_close(file);
	return error;
}

int boot_file_read(const struct boot_file *file, uint64_t offset, void *to,
		   size_t length, struct err *err)
{
	uint8_t *at = to;
	ssize_t got;

	if (!range_inside(offset, length, file->size))
		return err_set(err, EINVAL,
			       "%s: truncated: bytes up to %llu are needed, it "
			       "has %llu",
			       file->path, (unsigned long long)offset + length,
			       (unsigned long long)file->size);
	while (length > 0) {
		got = pread(file->fd, at, length, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return err_sys(err, errno, "%s: cannot read",
				       file->path);
		if (got == 0)
			return err_set(err, EINVAL,
				       "%s: truncated while it was being read",
				       file->path);
		at += got;
		offset += (uint64_t)got;
		length -= (size_t)got;
	}
	return 0;
}

void boot_file_close(struct boot_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	file->fd = -1;
}
