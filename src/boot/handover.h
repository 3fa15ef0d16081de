/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a multiboot or PVH kernel is handed: one page that describes the
 * machine, texts, and modules behind the kernel. The page has the place of
 * Linux's boot_params, the texts that of its command line.
 */
#ifndef BOOT_HANDOVER_H
#define BOOT_HANDOVER_H

#include "boot/loader.h"
#include "firmware/e820.h"
#include "firmware/lowmem.h"

#define HANDOVER_GPA LOWMEM_BOOT_PARAMS

struct handover_module {
	uint64_t gpa;
	uint64_t size;
	uint64_t text; /* gpa of what the kernel is told about it */
};

struct handover {
	struct loader *loader;
	uint8_t page[LOWMEM_BOOT_PARAMS_SIZE];
	uint64_t next_text; /* gpa */
	struct handover_module module[BOOT_MODULES_MAX];
	unsigned int modules;
	struct e820_entry e820[E820_MAX];
	size_t e820_count;
};

/* Puts "first" or "first second" into the guest; *gpa is where. */
int handover_text(struct handover *h, const char *first, const char *second,
		  uint64_t *gpa, struct err *err);

/*
 * Reads the initrd and all modules to where the kernel ends, page by page.
 * The kernel has been placed.
 */
int handover_modules(struct handover *h, struct err *err);

/* What one of the two protocols does its own way, and what is in EAX (EBX has
   the page's address). */
struct handover_format {
	int (*load_kernel)(struct loader *loader, struct err *err);
	int (*describe)(struct handover *h, struct err *err); /* in the page */
	uint32_t eax;
};

/* Loads the kernel and hands all of it over: a load function of loader.h. */
int handover_load(struct loader *loader, struct vcpu *bsp,
		  const struct handover_format *format, struct err *err);

#endif
