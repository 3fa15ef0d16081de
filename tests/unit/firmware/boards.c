// SPDX-License-Identifier: BSD-2-Clause
#include "boards.h"

#include "base/bits.h"
#include "firmware/aml.h"

#define HPET_ID 0x8086a201u

static const struct fw_intx usual_intx[] = {
    {.slot = 3, .pin = 0, .ioapic_pin = 16, .pic_irq = 5},
    {.slot = 4, .pin = 0, .ioapic_pin = 17, .pic_irq = 10},
    {.slot = 4, .pin = 1, .ioapic_pin = 18, .pic_irq = 11},
};

/* All pins of all slots. */
#define EVERY_PIN(slot)                                                        \
	{(slot), 0, 16, 5}, {(slot), 1, 17, 10}, {(slot), 2, 18, 11},          \
	{                                                                      \
		(slot), 3, 31, 15                                              \
	}
#define EVERY_PIN4(slot)                                                       \
	EVERY_PIN(slot), EVERY_PIN((slot) + 1), EVERY_PIN((slot) + 2),         \
	    EVERY_PIN((slot) + 3)

static const struct fw_intx every_intx[] = {
    EVERY_PIN4(0),  EVERY_PIN4(4),  EVERY_PIN4(8),  EVERY_PIN4(12),
    EVERY_PIN4(16), EVERY_PIN4(20), EVERY_PIN4(24), EVERY_PIN4(28),
};

static void usual(struct fw_board *board)
{
	*board = (struct fw_board){
	    .ncpus = 2,
	    .apic_id = {0, 1},
	    .cpu_signature = 0x806ec,
	    .cpu_features = 0x1783fbff,
	    .hpet_id = HPET_ID,
	    .com = {{true, 0x3f8, 4}},
	    .bus_count = 1,
	    .has_lpc = true,
	    .lpc_slot = 31,
	    .lowmem = 512 * MiB,
	};
	board->bus[0] = (struct fw_pci_bus){
	    .io = {{0, 0xcf8}, {0xd00, 0x1300}, {0x2000, 0xe000}},
	    .mem32 = {0xc0000000, 0x20000000},
	    .mem64 = {64 * GiB, 32 * GiB},
	    .intx = usual_intx,
	    .intx_count = ARRAY_SIZE(usual_intx),
	};
}

static void bare(struct fw_board *board)
{
	*board = (struct fw_board){.ncpus = 1, .lowmem = 1 * MiB};
}

static void extra_device(struct aml *aml, void *arg)
{
	size_t device = aml_open_device(aml, arg);

	aml_name_string(aml, "_HID", "TEST0001");
	aml_name_integer(aml, "WIDE", 0x123456789abcdef0);
	aml_name_integer(aml, "HALF", 0x1234);
	aml_close(aml, device);
}

static void full(struct fw_board *board)
{
	static char name[] = "XTRA";

	usual(board);
	board->ncpus = FW_MAX_CPUS;
	board->bus_count = FW_MAX_BUSES;
	board->lowmem = 3 * GiB;
	board->highmem = 61 * GiB;
	board->ioapic_id = 0xfe;
	for (unsigned int i = 0; i < FW_MAX_CPUS; i++)
		board->apic_id[i] = 2 * i;
	for (unsigned int i = 0; i < FW_COM_PORTS; i++)
		board->com[i] = (struct fw_com){
		    .present = true,
		    .port = (uint16_t)(0x2e8 + i * 0x100),
		    .irq = (uint8_t)(3 + i),
		};
	for (unsigned int i = 0; i < FW_MAX_BUSES; i++) {
		board->bus[i] = (struct fw_pci_bus){
		    .number = (uint8_t)(i * 32),
		    .last = (uint8_t)(i * 32 + 31),
		    .io = {{i * 0x2000, 0x1000}, {i * 0x2000 + 0x1000, 0x100}},
		    .mem32 = {0xc0000000 + i * 16 * MiB, 16 * MiB},
		    .mem64 = {(64 + i) * GiB, GiB},
		    .intx = every_intx,
		    .intx_count = ARRAY_SIZE(every_intx),
		};
	}
	board->ssdt_extra = extra_device;
	board->ssdt_extra_arg = name;
}

static void odd(struct fw_board *board)
{
	usual(board);
	board->ncpus = 3;
	board->apic_id[1] = 254;
	board->apic_id[2] = 0x10000;
	board->has_lpc = false;
	board->com[3] = (struct fw_com){true, 0xfff8, 15};
	/* One window that is all of the I/O space, none in memory. */
	board->bus[0] = (struct fw_pci_bus){
	    .number = 255,
	    .last = 255,
	    .io = {{0, 64 * KiB}},
	};
}

static const struct {
	const char *name;
	void (*make)(struct fw_board *board);
} boards[TEST_BOARDS] = {
    [BOARD_USUAL] = {"usual", usual},
    [BOARD_BARE] = {"bare", bare},
    [BOARD_FULL] = {"full", full},
    [BOARD_ODD] = {"odd", odd},
};

void test_board(enum test_board which, struct fw_board *out)
{
	boards[which].make(out);
}

const char *test_board_name(enum test_board which)
{
	return boards[which].name;
}
