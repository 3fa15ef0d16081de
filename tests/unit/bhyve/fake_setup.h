/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What making a machine asks of the door, the board, the loader and the
 * tables: each call is counted, one of them can be made to fail, and what is
 * open at the end is known.
 */
#ifndef TESTS_BHYVE_FAKE_SETUP_H
#define TESTS_BHYVE_FAKE_SETUP_H

#include "fake_vm.h"

struct fake_setup {
	struct vmctx ctx;
	bool exists; /* vm0 does, with memory bytes of RAM */
	size_t memory;
	unsigned int calls; /* that can fail, so far */
	unsigned int fail;  /* number of the call that does; 0: none */

	unsigned int handles, vcpus, boards; /* open now */
	unsigned int creates, destroys, loads;
	char engine[16]; /* vm_set_option */
	uint8_t rtc[128];
	uint8_t low[0x100000];
	size_t size; /* vm_setup_memory */
	uint16_t sockets, cores, threads;
	uint8_t uuid[16];
	bool no_pause_exit, no_engine;
	char modules[128]; /* boot_load's, each with a '|' behind it */
};

/* Zeroed, and used by all calls from now on. */
void fake_setup_use(struct fake_setup *setup);

#endif
