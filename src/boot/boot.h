/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts a kernel, its initrd or modules and its command line into a VM's
 * memory and sets the boot CPU's registers as the kernel expects them. Used
 * by bhyveload and by bhyve's boot.kernel. The VM's memory must be set up and
 * nothing may run it.
 *
 * A kernel is the first of these that its file looks like:
 * - a bzImage of Linux, whose payload is unpacked here and entered directly
 *   (or, where its compression is not one of ours, entered as it is and
 *   unpacked by the guest);
 * - a multiboot 1 kernel, as ELF32, ELF64, or with addresses in its header;
 * - an ELF file with a Xen note that gives its PVH entry point;
 * - any other ELF64 file, taken for Linux's vmlinux.
 */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H

#include <vmmapi.h>

#include "base/err.h"

/* How far the loader is; called now and then, and once with done set. */
struct boot_progress {
	const char *file;   /* what is being read */
	const char *action; /* "unpacking (xz)", "loading" */
	uint64_t bytes_in;  /* of the file, so far */
	uint64_t total_in;  /* of the file, in all */
	uint64_t bytes_out; /* into the guest's memory, so far */
	uint64_t ns;        /* since this action began */
	bool done;
};

typedef void boot_progress_fn(void *arg, const struct boot_progress *progress);

#define BOOT_MODULES_MAX 64 /* the initrd among them */

struct boot_request {
	const char *kernel;  /* path */
	const char *initrd;  /* path; NULL or "" for none */
	const char *cmdline; /* NULL is "" */
	/*
	 * What multiboot and PVH kernels get in addition: a path each,
	 * followed by a space and anything that the kernel is to be told about
	 * it, or nothing. The initrd is the first module.
	 */
	const char *const *module;
	unsigned int modules;
	/*
	 * The VM was created for this boot: its memory is known to be zero
	 * and is not cleared again, which would touch every page of it.
	 */
	bool memory_is_zero;
	boot_progress_fn *progress; /* may be NULL */
	void *progress_arg;
};

/* What was done, for a message or a test. */
struct boot_result {
	char format[64]; /* "bzImage (xz)", "multiboot (ELF64)", "ELF" */
	uint64_t entry;
	uint64_t kernel_gpa; /* first byte of the loaded kernel */
	uint64_t kernel_end; /* end of what it needs before it manages memory */
	uint64_t initrd_gpa;
	uint64_t initrd_size;
	uint64_t unpack_ns;   /* 0 when nothing was unpacked here */
	uint64_t unpacked;    /* bytes */
	uint64_t kaslr_slide; /* virtual; 0 when KASLR is off */
	const char *kaslr;    /* "on", or why it is off; NULL: not Linux's */
};

/*
 * 0 or -errno with a line in err that names the file and the cause.
 * result may be NULL.
 */
int boot_load(struct vmctx *ctx, struct vcpu *bsp,
	      const struct boot_request *request, struct boot_result *result,
	      struct err *err);

/*
 * A boot_progress_fn for programs: silent for the first second, then a line
 * on stderr, redrawn when stderr is a terminal. arg: struct
 * boot_progress_line, zero-initialised.
 */
struct boot_progress_line {
	bool shown;
	uint64_t last_ns;
};

void boot_progress_print(void *arg, const struct boot_progress *progress);

#endif
