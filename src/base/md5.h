/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * MD5 (RFC 1321): bhyve derives names of devices from it (disks' serial
 * numbers, MAC addresses), and guests remember those. Not for security.
 */
#ifndef BASE_MD5_H
#define BASE_MD5_H

#include <stddef.h>
#include <stdint.h>

#define MD5_SIZE 16

void md5(const void *data, size_t len, uint8_t digest[MD5_SIZE]);

#endif
