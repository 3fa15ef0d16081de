/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An error for a person: one line that says what failed, on what, why, and
 * what to do. Functions that can fail in ways a user must understand take a
 * struct err and return -errno; the caller at the top prints err.text.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include "base/bits.h"

struct err {
	char text[512];
};

/* Fills err (when not NULL) and returns -error; error is a positive errno. */
int err_set(struct err *err, int error, const char *fmt, ...) __printf(3, 4);

/* The same, with ": " and strerror(error) appended. */
int err_sys(struct err *err, int error, const char *fmt, ...) __printf(3, 4);

#endif
