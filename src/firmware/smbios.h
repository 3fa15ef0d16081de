/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SMBIOS tables (DMTF DSP0134, 3.0) with both entry points, _SM_ and _SM3_:
 * types 0, 1, 2, 3, 4, 11, 16, 17, 19, 32 and 127.
 */
#ifndef FIRMWARE_SMBIOS_H
#define FIRMWARE_SMBIOS_H

#include "base/err.h"
#include "firmware/board.h"

/*
 * Strings come from the configuration, by bhyve_config(5)'s names:
 * bios.{vendor,version,release_date}, system.{manufacturer,product_name,
 * version,serial_number,sku,family_name}, board.{manufacturer,product_name,
 * version,serial_number,asset_tag,location}, chassis.{manufacturer,version,
 * serial_number,asset_tag,sku} and oemstring.N, N from 0 or 1 without gaps.
 * get returns NULL for a variable that is not set; get may be NULL.
 */
struct smbios_source {
	const char *(*get)(void *arg, const char *variable);
	void *arg;
	uint8_t uuid[16]; /* in the order of its text form */
};

/* Bytes used, or -errno. gpa is LOWMEM_SMBIOS. */
int smbios_build(const struct fw_board *board,
		 const struct smbios_source *source, uint64_t gpa, void *buffer,
		 size_t room, struct err *err);

#endif
