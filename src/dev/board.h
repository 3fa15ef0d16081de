/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The board as the process owns it: I/O ports, MMIO ranges, the PCI buses
 * with their devices, and the LPC bridge's. The program makes one board from
 * the configuration, hands it the exits of its vCPUs, and describes it to the
 * firmware tables.
 */
#ifndef DEV_BOARD_H
#define DEV_BOARD_H

#include <vmmapi.h>

#include "base/config.h"
#include "base/err.h"
#include "firmware/board.h"

struct loop; /* backend/loop.h */
struct inout_map;
struct mmio_map;
struct pci;
struct lpc;

struct board {
	struct vmctx *ctx;
	struct config *config;
	struct loop *loop;
	struct inout_map *ports;
	struct mmio_map *mmio;
	struct pci *pci;
	struct lpc *lpc;
	void (*on_exit)(void *arg, int status);
	void *on_exit_arg;
};

/*
 * What can be made: emulations of -s (pci.B.S.F.device) and devices of -l
 * (lpc.NAME). A list ends with a NULL name. The comma-separated words of an
 * option's conf become variables of the device's node: name=value as it
 * stands, a first bare word the variable `first` (when not NULL), any other
 * word a variable that is "true".
 */
struct board_device {
	const char *name;
	const char *first;   /* "path", "backend" */
	const char *summary; /* a few words for help */
	bool bare;           /* of -l: no conf, the variable lpc.NAME */
};

const struct board_device *board_pci_devices(void);
const struct board_device *board_lpc_devices(void);

/* The file of the boot ROM that config names, or NULL. */
const char *board_bootrom(struct config *config);

/*
 * Makes every device that config names. 0, or -errno with a line in err;
 * then nothing is left behind.
 */
int board_create(struct vmctx *ctx, struct config *config, struct loop *loop,
		 struct board **out, struct err *err);
void board_destroy(struct board *board);

/*
 * A guest's access, on its vCPU's thread. 0: done, the answer of a read is in
 * *io / *access. -ENXIO: nothing is there; a read's answer is all ones. The
 * caller decides whether that is an error (-e).
 */
int board_inout(struct board *board, struct vcpu *vcpu, struct vm_inout *io);
int board_mmio(struct board *board, struct vcpu *vcpu,
	       struct vm_inst_emul *access);

/* For a device by which a guest ends the VM with an exit status of bhyve's of
   its choice: on_exit is called on a vCPU's thread, once or more. */
void board_set_exit(struct board *board, void (*on_exit)(void *arg, int status),
		    void *arg);
void board_exit(struct board *board, int status);

/* Presses the power button (SIGTERM): false when the guest has no ACPI yet. */
bool board_power_button(struct board *board);

/* Fills what the firmware tables say of this board, but for the CPUs. */
void board_describe(const struct board *board, struct fw_board *out);

#endif
