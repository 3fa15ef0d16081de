/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linux's boot protocol as numbers (Documentation/arch/x86/boot.rst and
 * zero-page.rst): offsets in boot_params, which are the same as in the first
 * sectors of a bzImage for the setup header.
 */
#ifndef BOOT_LINUX_H
#define BOOT_LINUX_H

#define BP_ACPI_RSDP_ADDR    0x070
#define BP_EXT_RAMDISK_IMAGE 0x0c0
#define BP_EXT_RAMDISK_SIZE  0x0c4
#define BP_EXT_CMD_LINE_PTR  0x0c8
#define BP_E820_ENTRIES      0x1e8
#define BP_SETUP_HEADER      0x1f1
#define BP_E820_TABLE        0x2d0
#define BP_SIZE              0x1000
#define BP_SETUP_HEADER_END  0x290 /* room for it in boot_params */

#define E820_TABLE_ROOM 128
#define E820_ENTRY_SIZE 20

#define HDR_SETUP_SECTS        0x1f1
#define HDR_SYSSIZE            0x1f4
#define HDR_BOOT_FLAG          0x1fe
#define HDR_JUMP               0x200
#define HDR_MAGIC              0x202
#define HDR_VERSION            0x206
#define HDR_TYPE_OF_LOADER     0x210
#define HDR_LOADFLAGS          0x211
#define HDR_RAMDISK_IMAGE      0x218
#define HDR_RAMDISK_SIZE       0x21c
#define HDR_CMD_LINE_PTR       0x228
#define HDR_INITRD_ADDR_MAX    0x22c
#define HDR_KERNEL_ALIGNMENT   0x230
#define HDR_RELOCATABLE_KERNEL 0x234
#define HDR_XLOADFLAGS         0x236
#define HDR_CMDLINE_SIZE       0x238
#define HDR_PAYLOAD_OFFSET     0x248
#define HDR_PAYLOAD_LENGTH     0x24c
#define HDR_SETUP_DATA         0x250
#define HDR_PREF_ADDRESS       0x258
#define HDR_INIT_SIZE          0x260
#define HDR_LAST               0x264 /* what we need ends here */

#define BOOT_FLAG            0xaa55u
#define HEADER_MAGIC         0x53726448u /* "HdrS" */
#define VERSION_64BIT        0x20c       /* the first with xloadflags */
#define LOADER_UNDEFINED     0xff
#define LOADED_HIGH          0x01
#define KASLR_FLAG           0x02
#define XLF_KERNEL_64        0x01
#define XLF_ABOVE_4G         0x02 /* initrd, too */
#define ENTRY_64_OFFSET      0x200
#define SECTOR_SIZE          512
#define SETUP_RNG_SEED       9
#define KERNEL_IMAGE_SIZE    0x40000000ull /* virtual, with KASLR */
#define KERNEL_ALIGN_DEFAULT 0x200000ull

#endif
