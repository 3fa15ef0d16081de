// SPDX-License-Identifier: BSD-2-Clause
/*
 * virtio-blk and virtio-rnd as a guest sees them: registers, configuration
 * space, and memory with rings in it. Some operations do what a sane driver
 * would, so that others reach further.
 */
#include "input.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "dev/virtio_regs.h"
#include "fuzz_board.h"

#define RAM_SIZE     (64 * KiB)
#define DISK_SIZE    (64 * KiB)
#define OPERATIONS   256
#define REGS_SIZE    0x4000u
#define NOTIFY_AT    0x3000u
#define MSIX_CONTROL 0x42u   /* the first capability */
#define RINGS        0x1000u /* a queue's: 0x3000 bytes for each device */

struct world {
	struct machine m;
	bool packed[2];
	uint16_t avail[2];
	uint8_t wrap[2];
};

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* The disk; and what devices say about the driver, nobody wants to read. */
static int disk = -1;

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	stderr = fopen("/dev/null", "w");
	disk = memfd_create("disk", MFD_CLOEXEC);
	if (stderr == NULL || disk < 0 || ftruncate(disk, DISK_SIZE) < 0)
		abort();
	return 0;
}

static uint64_t regs(struct world *w, unsigned int slot)
{
	return (cfg_in(&w->m, slot, 0x18, 4) & ~15u) |
	       (uint64_t)cfg_in(&w->m, slot, 0x1c, 4) << 32;
}

static void set(struct world *w, unsigned int slot, unsigned int offset,
		unsigned int bytes, uint32_t value)
{
	store(&w->m, regs(w, slot) + offset, bytes, value);
}

/* Up to DRIVER_OK, with rings of 16 at their place. */
static void start_device(struct world *w, unsigned int which, uint8_t features)
{
	unsigned int slot = 2 + which;
	uint32_t rings = RINGS + 0x3000 * which;
	uint32_t high = 1 | (features & 1 ? 4 : 0) | (features & 2 ? 64 : 0);

	w->packed[which] = features & 1;
	w->avail[which] = 0;
	w->wrap[which] = 1;
	memset(w->m.vm.ram + rings, 0, 0x3000);
	set(w, slot, VIRTIO_COMMON_STATUS, 1, 0);
	set(w, slot, VIRTIO_COMMON_STATUS, 1, 3);
	set(w, slot, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 0);
	set(w, slot, VIRTIO_COMMON_DRIVER_FEATURE, 4,
	    (features & 4 ? 1u << 28 : 0) | (features & 8 ? 1u << 29 : 0) |
		(which == 0 && features & 16 ? 0x6200u : 0));
	set(w, slot, VIRTIO_COMMON_DRIVER_FEATURE_SELECT, 4, 1);
	set(w, slot, VIRTIO_COMMON_DRIVER_FEATURE, 4, high);
	set(w, slot, VIRTIO_COMMON_STATUS, 1, 11);
	set(w, slot, VIRTIO_COMMON_QUEUE_SELECT, 2, 0);
	set(w, slot, VIRTIO_COMMON_QUEUE_SIZE, 2, 16);
	set(w, slot, VIRTIO_COMMON_QUEUE_DESC, 4, rings);
	set(w, slot, VIRTIO_COMMON_QUEUE_DRIVER, 4, rings + 0x1000);
	set(w, slot, VIRTIO_COMMON_QUEUE_DEVICE, 4, rings + 0x2000);
	set(w, slot, VIRTIO_COMMON_QUEUE_VECTOR, 2, 1);
	cfg_out(&w->m, slot, MSIX_CONTROL, 2, features & 32 ? 0x8000 : 0);
	set(w, slot, VIRTIO_COMMON_QUEUE_ENABLE, 2, 1);
	set(w, slot, VIRTIO_COMMON_STATUS, 1, 15);
}

static void make_available(struct world *w, unsigned int which,
			   struct input *input)
{
	uint8_t *rings = w->m.vm.ram + RINGS + 0x3000 * which;
	uint16_t at = w->avail[which]++;
	uint8_t *flags = rings + 16 * (at % 16) + 14;

	if (!w->packed[which]) {
		store_le16(rings + 0x1004 + 2 * (at % 16), take_8(input) % 16);
		store_le16(rings + 0x1002, w->avail[which]);
		return;
	}
	store_le16(flags, (uint16_t)((load_le16(flags) & 7) |
				     (w->wrap[which] ? 0x80 : 0x8000)));
	w->wrap[which] ^= at % 16 == 15;
}

struct row {
	uint64_t gpa;
	uint32_t len;
	uint16_t flags;
};

static void write_row(const struct world *w, unsigned int which, uint8_t *at,
		      const struct row *row, uint16_t next)
{
	store_le64(at, row->gpa);
	store_le32(at + 8, row->len);
	store_le16(at + (w->packed[which] ? 14 : 12), row->flags);
	store_le16(at + (w->packed[which] ? 12 : 14), next);
}

/* A header, data and a status, as virtio-blk has them, indirect or not. */
static void make_request(struct world *w, unsigned int which,
			 struct input *input)
{
	uint8_t *desc = w->m.vm.ram + RINGS + 0x3000 * which;
	uint8_t *header = w->m.vm.ram + 0x8000;
	uint16_t first = w->avail[which] % 14;
	uint8_t how = take_8(input);
	const struct row rows[] = {
	    {0x8000, 16, 1},
	    {0x9000, take_16(input), how & 1 ? 3 : 1},
	    {0x8100, 1, 2},
	};
	const struct row indirect = {0x8200, 48, 4};

	store_le32(header, take_8(input) % 16);
	store_le64(header + 8, take_8(input));
	take_bytes(input, w->m.vm.ram + 0x9000, 16);
	for (unsigned int i = 0; i < 3; i++) {
		uint8_t *at = how & 2 ? w->m.vm.ram + 0x8200 + 16 * i
				      : desc + 16 * (first + i);

		write_row(w, which, at, &rows[i],
			  (uint16_t)((how & 2 ? 0 : first) + i + 1));
	}
	if (how & 2)
		write_row(w, which, desc + 16 * first, &indirect, 0);
	if (!w->packed[which]) {
		store_le16(desc + 0x1004 + 2 * (w->avail[which] % 16), first);
		store_le16(desc + 0x1002, ++w->avail[which]);
		return;
	}
	for (unsigned int i = 0; i < (how & 2 ? 1 : 3); i++)
		make_available(w, which, input);
}

static void operate(struct world *w, struct input *input)
{
	uint8_t what = take_8(input);
	unsigned int which = what >> 7;
	unsigned int bytes = 1u << (what >> 5 & 3);
	uint32_t at;

	switch (what % 10) {
	case 0:
		start_device(w, which, take_8(input));
		break;
	case 1:
		make_request(w, which, input);
		break;
	case 2:
		make_available(w, which, input);
		break;
	case 3:
		set(w, 2 + which, NOTIFY_AT, 2, 0);
		break;
	case 4:
		at = take_16(input);
		set(w, 2 + which, at % REGS_SIZE, bytes, take_32(input));
		break;
	case 5:
		at = take_8(input);
		set(w, 2 + which, at % VIRTIO_COMMON_SIZE, bytes,
		    take_32(input));
		break;
	case 6:
		(void)load(&w->m,
			   regs(w, 2 + which) + take_16(input) % REGS_SIZE,
			   bytes);
		break;
	case 7:
		at = take_8(input);
		cfg_out(&w->m, 2 + which, at, MIN(bytes, 4), take_32(input));
		cfg_in(&w->m, 2 + which, at, MIN(bytes, 4));
		break;
	case 8:
		at = take_16(input);
		take_bytes(input, w->m.vm.ram + at % (RAM_SIZE - 64),
			   take_8(input) % 64);
		break;
	default:
		if (bytes == 8)
			fuzz_check_state(&w->m);
		loop_step(&w->m);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char path[64];
	const char *const variables[] = {"pci.0.2.0.device=virtio-blk", path,
					 "pci.0.3.0.device=virtio-rnd", NULL};
	struct input input = {data, size};
	struct world w = {0};
	struct err err;
	struct stat st;

	snprintf(path, sizeof(path), "pci.0.2.0.path=/proc/self/fd/%d", disk);
	if (machine_start(&w.m, variables, &err) != 0)
		abort();
	w.m.vm.ram = aligned_alloc(4096, RAM_SIZE);
	if (w.m.vm.ram == NULL)
		abort();
	memset(w.m.vm.ram, 0, RAM_SIZE);
	w.m.vm.ram_size = RAM_SIZE;
	for (int i = 0; i < OPERATIONS && input.left > 0; i++)
		operate(&w, &input);
	fuzz_check_state(&w.m);
	machine_end(&w.m);
	free(w.m.vm.ram);
	if (fstat(disk, &st) < 0 || st.st_size != DISK_SIZE)
		abort();
	return 0;
}
