/* SPDX-License-Identifier: BSD-2-Clause */
/* boot_params, the command line and setup_data: what Linux is told. */
#ifndef BOOT_PARAMS_H
#define BOOT_PARAMS_H

#include "boot/bzimage.h"
#include "boot/guest.h"

struct boot_params_in {
	const struct bzimage *header;
	const char *cmdline;
	uint64_t initrd_gpa;
	uint64_t initrd_size;
	bool kaslr;
};

/* 0 or -errno; the command line's length has been checked. */
int boot_params_write(const struct guest_memory *memory,
		      const struct boot_params_in *in);

#endif
