/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel address space layout randomization. A kernel that unpacks itself
 * moves itself to a random virtual address and mends its absolute addresses
 * from a list that follows its ELF image. As it is unpacked here, this does
 * it instead.
 *
 * The list (arch/x86/boot/compressed/misc.c describes it) is one of 32-bit
 * words, each a virtual address with its upper half dropped:
 *	0, addresses of 64-bit words to add the slide to,
 *	0, addresses of 32-bit words to subtract it from (until Linux 6.15),
 *	0, addresses of 32-bit words to add it to.
 */
#ifndef BOOT_KASLR_H
#define BOOT_KASLR_H

#include "boot/image.h"

/* Does what follows the image look like such a list? */
bool kaslr_has_relocations(const struct image *image);

/* Adds slide to all virtual addresses of the loaded image. */
int kaslr_relocate(const struct image *image, uint64_t slide, struct err *err);

/* One of the multiples of align in [0, max], at random. */
uint64_t kaslr_choose(uint64_t max, uint64_t align);

/* Does the command line have the word "nokaslr"? */
bool kaslr_forbidden(const char *cmdline);

#endif
