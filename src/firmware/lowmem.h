/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The map of guest memory below 1 MiB, and of what is fixed below 4 GiB.
 * Whatever the process writes there (loader, MP table, SMBIOS, ACPI) takes
 * its place from this page, so that no two writers meet.
 *
 *	00000-00fff	real-mode vectors and BIOS data area, left zero
 *	01000-01fff	GDT of the boot CPU
 *	02000-02fff	its task state segment, all zero
 *	03000-03fff	its stack until the kernel has one
 *	04000-09fff	identity map of the first 4 GiB: PML4, PDPT, 4 PDs
 *	0a000-0ffff	free
 *	10000-10fff	boot_params, Linux's "zero page"; or what a multiboot or
 *			PVH kernel is told
 *	11000-11fff	setup_data: the random seed
 *	20000-2ffff	the kernel's command line, and texts about modules
 *	30000-9ffff	free (Linux puts its trampoline for other CPUs there)
 *	a0000-effff	nothing: where a PC has its display and option ROMs
 *	f0000-f0fff	MP table
 *	f1000-f23ff	SMBIOS
 *	f2400-fffff	ACPI tables, the RSDP first
 *
 * The loader's pages (01000-2ffff) are the guest's own memory once the
 * kernel has read them. a0000-fffff is reserved in the e820 map.
 */
#ifndef FIRMWARE_LOWMEM_H
#define FIRMWARE_LOWMEM_H

#define LOWMEM_GDT              0x1000ull
#define LOWMEM_TSS              0x2000ull
#define LOWMEM_STACK_TOP        0x4000ull
#define LOWMEM_PAGE_TABLES      0x4000ull
#define LOWMEM_PAGE_TABLES_SIZE 0x6000ull
#define LOWMEM_BOOT_PARAMS      0x10000ull
#define LOWMEM_BOOT_PARAMS_SIZE 0x1000ull
#define LOWMEM_SETUP_DATA       0x11000ull
#define LOWMEM_SETUP_DATA_SIZE  0x1000ull
#define LOWMEM_CMDLINE          0x20000ull
#define LOWMEM_CMDLINE_SIZE     0x10000ull

/* End of the memory below the hole of a PC, and end of that hole. */
#define LOWMEM_BASE_END 0xa0000ull
#define LOWMEM_HOLE_END 0x100000ull

#define LOWMEM_MPTABLE      0xf0000ull
#define LOWMEM_MPTABLE_SIZE 0x1000ull
#define LOWMEM_SMBIOS       0xf1000ull
#define LOWMEM_SMBIOS_SIZE  0x1400ull
#define LOWMEM_ACPI         0xf2400ull /* here is the RSDP */
#define LOWMEM_ACPI_SIZE    0xdc00ull

/* Below 4 GiB: RAM ends at 3 GiB at most (vm_get_lowmem_limit). */
#define FIRMWARE_PCI32_BASE  0xc0000000ull /* to FIRMWARE_ECAM_BASE */
#define FIRMWARE_ECAM_BASE   0xe0000000ull
#define FIRMWARE_ECAM_SIZE   0x10000000ull /* 256 buses of 1 MiB */
#define FIRMWARE_IOAPIC_BASE 0xfec00000ull
#define FIRMWARE_HPET_BASE   0xfed00000ull
#define FIRMWARE_LAPIC_BASE  0xfee00000ull

#endif
