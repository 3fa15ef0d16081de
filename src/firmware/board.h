/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the firmware tables tell the guest about its board. The program that
 * wires the board fills this in once; MP table, ACPI and SMBIOS are written
 * from it and from nothing else, so they cannot disagree.
 *
 * Builders write into the caller's buffer, never past its size, and return
 * the number of bytes used or -errno with a line in err. gpa is where the
 * caller will copy the buffer to: the tables contain pointers.
 */
#ifndef FIRMWARE_BOARD_H
#define FIRMWARE_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FW_MAX_CPUS    16
#define FW_COM_PORTS   4
#define FW_MAX_BUSES   8
#define FW_MAX_WINDOWS 4

/* Addresses [base, base + size) that a host bridge passes to its bus. */
struct fw_window {
	uint64_t base;
	uint64_t size; /* 0: the bridge has no such window */
};

/* One INTx pin of one slot, and where its wire ends. */
struct fw_intx {
	uint8_t slot;
	uint8_t pin;        /* 0 is INTA */
	uint8_t ioapic_pin; /* 16 or above */
	uint8_t pic_irq;    /* ISA IRQ while the guest uses the 8259 pair */
};

struct fw_pci_bus {
	uint8_t number;
	uint8_t last; /* highest bus number behind this bridge */
	struct fw_window io[FW_MAX_WINDOWS];
	struct fw_window mem32;
	struct fw_window mem64;
	const struct fw_intx *intx;
	unsigned int intx_count;
};

struct fw_com {
	bool present;
	uint16_t port;
	uint8_t irq;
};

struct aml;

struct fw_board {
	unsigned int ncpus;
	uint32_t apic_id[FW_MAX_CPUS];
	uint32_t cpu_signature; /* CPUID.1 EAX */
	uint32_t cpu_features;  /* CPUID.1 EDX */
	/* For SMBIOS; their product is ncpus, or each CPU is a socket. */
	uint16_t sockets;
	uint16_t cores;   /* of a socket */
	uint16_t threads; /* of a core */

	uint8_t ioapic_id;
	uint32_t hpet_id; /* vm_get_hpet_capabilities; 0: no HPET */

	struct fw_com com[FW_COM_PORTS];

	struct fw_pci_bus bus[FW_MAX_BUSES];
	unsigned int bus_count;
	bool has_lpc; /* on the first bus */
	uint8_t lpc_slot;

	/* RAM, for SMBIOS. */
	uint64_t lowmem;
	uint64_t highmem;

	/*
	 * Lets other devices add to the SSDT, in the scope \_SB. May be
	 * NULL.
	 */
	void (*ssdt_extra)(struct aml *aml, void *arg);
	void *ssdt_extra_arg;
};

#endif
