// SPDX-License-Identifier: BSD-2-Clause
/*
 * PCI: configuration space by ports and by the memory window, BARs that move
 * about and are used, MSI-X tables, and interrupts that devices raise
 * meanwhile.
 */
#include "input.h"

#include "dev/pci.h"
#include "fuzz_board.h"

#define OPERATIONS 512
#define ECAM       0xe0000000u

static const char *const variables[] = {
    "pci.0.0.0.device=hostbridge",
    "pci.0.2.0.device=virtio-rnd",
    "pci.0.3.0.device=uart",
    "pci.0.3.1.device=uart",
    "pci.0.31.0.device=lpc",
    "pci.1.4.0.device=virtio-rnd",
    NULL,
};

static const struct {
	uint8_t bus;
	uint8_t slot;
	uint8_t func;
} functions[] = {{0, 0, 0}, {0, 2, 0},  {0, 3, 0},
		 {0, 3, 1}, {0, 31, 0}, {1, 4, 0}};

/* Places in configuration space that mean something. */
static const uint8_t offsets[] = {0x04, 0x06, 0x10, 0x14, 0x18, 0x1c, 0x20,
				  0x24, 0x30, 0x3c, 0x40, 0x42, 0x44, 0x48,
				  0x4c, 0x60, 0x68, 0x90, 0xa0, 0xb0};

static uint32_t address(struct input *input, unsigned int *bytes)
{
	uint8_t which = take_8(input);
	uint8_t where = take_8(input);
	size_t f = which % ARRAY_SIZE(functions);
	uint32_t offset =
	    where & 0x80 ? where * 2u : offsets[where % ARRAY_SIZE(offsets)];

	*bytes = 1u << (which >> 5 & 3);
	return (uint32_t)functions[f].bus << 20 | functions[f].slot << 15 |
	       functions[f].func << 12 | (offset + (which >> 7));
}

static void by_ports(struct machine *m, struct input *input, bool write)
{
	unsigned int bytes;
	uint32_t at = address(input, &bytes);
	uint16_t port = (uint16_t)(0xcfc + (at & 3));

	out(m, 0xcf8, 4, 0x80000000u | (at >> 12) << 8 | (at & 0xfc));
	if (write)
		out(m, port, MIN(bytes, 4), take_32(input));
	else
		in(m, port, MIN(bytes, 4));
}

/* The lower part of an address space that BARs are in. */
static uint64_t memory(struct input *input)
{
	uint8_t what = take_8(input);
	uint64_t low = take_16(input);

	return (what & 1 ? 5 * GiB : 0xc0000000) + low +
	       ((uint64_t)(what >> 1 & 7) << 16);
}

/* Messages that nobody asked for; INTx by a UART, whose THRE it is. */
static void interrupt(struct machine *m, struct input *input)
{
	uint8_t what = take_8(input);
	size_t f = what % ARRAY_SIZE(functions);
	struct pci_device *dev = pci_find(m->board->pci, functions[f].bus,
					  functions[f].slot, functions[f].func);

	pci_msix_send(dev, what >> 4 & 7);
	pci_msi_send(dev, what >> 4 & 7);
	out(m, 0x2001 + (what >> 4 & 8), 1, what >> 4 & 2);
}

static void operate(struct machine *m, struct input *input)
{
	unsigned int bytes;
	uint32_t at;

	switch (take_8(input) % 8) {
	case 0:
	case 1:
		by_ports(m, input, true);
		break;
	case 2:
		by_ports(m, input, false);
		break;
	case 3:
		at = address(input, &bytes);
		store(m, ECAM + at, bytes, take_64(input));
		break;
	case 4:
		at = address(input, &bytes);
		(void)load(m, ECAM + at, bytes);
		break;
	case 5:
		store(m, memory(input), 1u << take_8(input) % 4,
		      take_64(input));
		break;
	case 6:
		(void)load(m, memory(input), 1u << take_8(input) % 4);
		in(m, take_16(input), 4);
		break;
	default:
		interrupt(m, input);
		break;
	}
	m->vm.how = VM_SUSPEND_NONE;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input input = {data, size};

	fuzz_board(&input, variables, OPERATIONS, operate);
	return 0;
}
