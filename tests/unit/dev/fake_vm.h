/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM for boards: it remembers wires, messages and the end. */
#ifndef FAKE_VM_H
#define FAKE_VM_H

#include <stdatomic.h>
#include <vmmapi.h>

struct vmctx {
	size_t lowmem;
	size_t highmem;
	int pic[16];  /* level */
	int pins[64]; /* level */
	unsigned int edges[64];
	unsigned int wrong; /* calls that change nothing, or out of range */
	atomic_uint msis;
	uint64_t msi_address;
	uint64_t msi_data;
	enum vm_suspend_how how;
	enum vm_intr_trigger trigger[16];
	uint8_t *ram; /* from address 0 on; NULL: none to map */
	size_t ram_size;
	uint8_t *rom; /* NULL: none */
	size_t rom_size;
	vm_paddr_t rom_gpa;  /* 0: not there */
	atomic_size_t dirty; /* bytes that passed the write gate */
};

#endif
