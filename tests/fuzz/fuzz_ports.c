// SPDX-License-Identifier: BSD-2-Clause
/*
 * The board's devices on I/O ports: serial ports, keyboard controller, power
 * management, resets. An input is a list of accesses. In the end the state is
 * saved and loaded, which must give the same state again.
 */
#include "input.h"

#include "board_fixture.h"
#include "fuzz_board.h"

#define OPERATIONS_MAX 4096

static const char *const variables[] = {
    "pci.0.0.0.device=hostbridge",
    "pci.0.3.0.device=uart",
    "pci.0.31.0.device=lpc",
    "lpc.com1.fuzz=1",
    "lpc.com3.fuzz=1",
    "lpc.pc-testdev=true",
    NULL,
};

/* First ports; the operation's next byte counts on from there. */
static const uint16_t ports[] = {0x3f8, 0x3e8,  0x60,  0x64,   0x92,  0xb2,
				 0x400, 0x404,  0x40c, 0x80,   0x84,  0xe0,
				 0xcf9, 0x2100, 0xf4,  0x2000, 0x2010};

static void operate(struct machine *m, struct input *input)
{
	uint8_t what = take_8(input);
	uint8_t where = take_8(input);
	uint16_t port = (uint16_t)(ports[where % ARRAY_SIZE(ports)] +
				   (where / ARRAY_SIZE(ports)) % 8);
	unsigned int bytes = 1u << (what >> 1 & 1) << (what >> 2 & 1);

	if (what & 0x80)
		board_power_button(m->board);
	if (what & 1)
		out(m, port, bytes, take_32(input));
	else
		in(m, port, bytes);
	m->vm.how = VM_SUSPEND_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};

	fuzz_board(&input, variables, OPERATIONS_MAX, operate);
	return 0;
}
