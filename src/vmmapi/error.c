// SPDX-License-Identifier: BSD-2-Clause
/* FreeBSD's return convention, and the line for a person beside it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "vmmapi/door.h"

static __thread char door_error_text[sizeof(((struct err *)0)->text)];

int door_result(int error, const struct err *err)
{
	if (error == 0)
		return 0;
	snprintf(door_error_text, sizeof(door_error_text), "%s",
		 err != NULL ? err->text : "");
	errno = -error;
	return -1;
}

const char *vm_error_text(void)
{
	return door_error_text[0] != '\0' ? door_error_text : strerror(errno);
}
