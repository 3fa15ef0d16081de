// SPDX-License-Identifier: BSD-2-Clause
/*
 * Byte locks on the VM's `lock` file. They belong to the open file, not to the
 * process, so two handles of one process are two parties, and the kernel lets
 * go of them when the file closes, however the process ends.
 */
#include <errno.h>
#include <fcntl.h>

#include "vmmapi/door.h"

static int set_lock(struct vmctx *ctx, int command, short type,
		    enum lock_byte byte)
{
	struct flock range = {
	    .l_type = type,
	    .l_whence = SEEK_SET,
	    .l_start = byte,
	    .l_len = 1,
	};
	int result;

	do
		result = fcntl(ctx->lock_fd, command, &range);
	while (result != 0 && errno == EINTR);
	return result != 0 ? -errno : 0;
}

int lock_take(struct vmctx *ctx, enum lock_byte byte)
{
	return set_lock(ctx, F_OFD_SETLKW, F_WRLCK, byte);
}

int lock_try(struct vmctx *ctx, enum lock_byte byte)
{
	int error = set_lock(ctx, F_OFD_SETLK, F_WRLCK, byte);

	return error == -EAGAIN || error == -EACCES ? -EBUSY : error;
}

void lock_release(struct vmctx *ctx, enum lock_byte byte)
{
	set_lock(ctx, F_OFD_SETLK, F_UNLCK, byte);
}

bool lock_is_held(struct vmctx *ctx, enum lock_byte byte)
{
	struct flock range = {
	    .l_type = F_WRLCK,
	    .l_whence = SEEK_SET,
	    .l_start = byte,
	    .l_len = 1,
	};

	return fcntl(ctx->lock_fd, F_OFD_GETLK, &range) == 0 &&
	       range.l_type != F_UNLCK;
}
