// SPDX-License-Identifier: BSD-2-Clause
/* The board: everything wired together, in the order in which it is made. */
#include "dev/board.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "dev/board_priv.h"
#include "dev/bootrom.h"
#include "dev/i8042.h"
#include "dev/inout.h"
#include "dev/lpc.h"
#include "dev/mmio.h"
#include "dev/pci.h"
#include "dev/pm.h"

static struct board_parts *parts_of(struct board *board)
{
	return container_of(board, struct board_parts, board);
}

struct irq_wires *board_irqs(struct board *board)
{
	return &parts_of(board)->irqs;
}

/* -- character devices ----------------------------------------------------- */

/* Ctrl-A x: as if the plug were pulled. */
static void on_quit(void *arg)
{
	struct board *board = arg;

	(void)vm_suspend(board->ctx, VM_SUSPEND_POWEROFF);
}

int board_open_chardev(struct board *board, struct config_node *node,
		       struct chardev **out, struct err *err)
{
	static const struct {
		const char *variable;
		const char *prefix;
	} kinds[] = {{"path", ""}, {"tcp", "tcp="}, {"unix", "unix="}};
	const char *chosen = NULL;
	char name[512];

	*out = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		const char *value = config_get_in(node, kinds[i].variable);
		int len;

		if (value == NULL)
			continue;
		if (chosen != NULL)
			return err_set(err, EINVAL,
				       "both %s and %s are set: one is enough",
				       chosen, kinds[i].variable);
		chosen = kinds[i].variable;
		len = snprintf(name, sizeof(name), "%s%s", kinds[i].prefix,
			       value);
		if (len < 0 || (size_t)len >= sizeof(name))
			return err_sys(err, ENAMETOOLONG, "%.200s", value);
	}
	if (chosen == NULL)
		return 0;
	return chardev_open(&parts_of(board)->chardevs, name, out, err);
}

/* -- POST codes ------------------------------------------------------------ */

static uint64_t post_read(void *arg, uint64_t offset, unsigned int bytes)
{
	(void)arg;
	(void)offset;
	(void)bytes;
	return 0xff;
}

static void post_write(void *arg, uint64_t offset, unsigned int bytes,
		       uint64_t value)
{
	(void)arg;
	(void)offset;
	(void)bytes;
	(void)value;
}

/* Ports that firmware writes its progress to, and Linux writes to in order to
   wait a microsecond. */
static int create_post_codes(struct board_parts *parts, struct err *err)
{
	static const uint16_t ports[] = {0x80, 0x84};
	int error = 0;

	for (size_t i = 0; i < ARRAY_SIZE(ports) && error == 0; i++) {
		parts->post_codes[i] = (struct io_range){
		    "POST code", 1, 1, post_read, post_write, parts};
		error = inout_add(parts->board.ports, &parts->post_codes[i],
				  ports[i], err);
	}
	return error;
}

/* -- life ------------------------------------------------------------------ */

static int create_parts(struct board_parts *parts, struct err *err)
{
	struct board *board = &parts->board;
	struct pci_port_cf9 cf9;
	int error;

	error = inout_map_create(&board->ports, err);
	if (error == 0)
		error = mmio_map_create(&board->mmio, err);
	if (error == 0)
		error = create_post_codes(parts, err);
	if (error == 0)
		error = bootrom_create(board, &parts->bootrom, err);
	if (error == 0)
		error = i8042_create(board, &parts->irqs, &parts->i8042, err);
	if (error == 0)
		error = pm_create(board, &parts->irqs, &parts->pm, err);
	if (error == 0)
		error = pci_create(board, &parts->irqs, err);
	if (error == 0)
		error = lpc_check(board->lpc, board->config, err);
	if (error < 0)
		return error;
	pm_port_cf9(parts->pm, &cf9);
	pci_set_port_cf9(board->pci, &cf9);
	return 0;
}

int board_create(struct vmctx *ctx, struct config *config, struct loop *loop,
		 struct board **out, struct err *err)
{
	struct board_parts *parts = calloc(1, sizeof(*parts));
	int error;

	if (parts == NULL)
		return err_sys(err, ENOMEM, "board");
	parts->board.ctx = ctx;
	parts->board.config = config;
	parts->board.loop = loop;
	parts->chardevs = (struct chardev_env){
	    .loop = loop, .quit = on_quit, .quit_arg = &parts->board};
	error = irq_wires_init(&parts->irqs, ctx, err);
	if (error < 0) {
		free(parts);
		return error;
	}
	error = create_parts(parts, err);
	if (error < 0) {
		board_destroy(&parts->board);
		return error;
	}
	*out = &parts->board;
	return 0;
}

void board_destroy(struct board *board)
{
	struct board_parts *parts;

	if (board == NULL)
		return;
	parts = parts_of(board);
	pci_destroy(board->pci);
	pm_destroy(parts->pm);
	i8042_destroy(parts->i8042);
	bootrom_destroy(parts->bootrom);
	mmio_map_destroy(board->mmio);
	inout_map_destroy(board->ports);
	irq_wires_destroy(&parts->irqs);
	free(parts);
}

/* -- what the program asks ------------------------------------------------- */

int board_inout(struct board *board, struct vcpu *vcpu, struct vm_inout *io)
{
	(void)vcpu;
	return inout_access(board->ports, io);
}

int board_mmio(struct board *board, struct vcpu *vcpu,
	       struct vm_inst_emul *access)
{
	(void)vcpu;
	return mmio_access(board->mmio, access);
}

void board_set_exit(struct board *board, void (*on_exit)(void *arg, int status),
		    void *arg)
{
	board->on_exit_arg = arg;
	board->on_exit = on_exit;
}

void board_exit(struct board *board, int status)
{
	if (board->on_exit != NULL)
		board->on_exit(board->on_exit_arg, status);
	else
		(void)vm_suspend(board->ctx, VM_SUSPEND_POWEROFF);
}

bool board_power_button(struct board *board)
{
	return pm_power_button(parts_of(board)->pm);
}

void board_describe(const struct board *board, struct fw_board *out)
{
	pci_describe(board->pci, out);
	lpc_describe(board->lpc, out);
	/* Without HPET there is no table of it. */
	if (vm_get_hpet_capabilities(board->ctx, &out->hpet_id) != 0)
		out->hpet_id = 0;
	out->lowmem = vm_get_lowmem_size(board->ctx);
	out->highmem = vm_get_highmem_size(board->ctx);
}

void board_pause(struct board *board)
{
	pci_pause(board->pci);
	parts_of(board)->paused = true;
}

void board_resume(struct board *board)
{
	parts_of(board)->paused = false;
	pci_resume(board->pci);
}

int board_save(struct board *board, struct state_writer *writer)
{
	struct board_parts *parts = parts_of(board);
	int error;

	if (!parts->paused)
		return -EBUSY;
	error = bootrom_save(parts->bootrom, writer);
	if (error == 0)
		error = i8042_save(parts->i8042, writer);
	if (error == 0)
		error = pm_save(parts->pm, writer);
	if (error == 0)
		error = pci_save(board->pci, writer);
	return error;
}

int board_load(struct board *board, struct state_reader *reader,
	       struct err *err)
{
	struct board_parts *parts = parts_of(board);
	int error;

	if (!parts->paused)
		return err_set(err, EBUSY, "the board is not paused");
	error = bootrom_load(parts->bootrom, reader, err);
	if (error == 0)
		error = i8042_load(parts->i8042, reader, err);
	if (error == 0)
		error = pm_load(parts->pm, reader, err);
	if (error == 0)
		error = pci_load(board->pci, reader, err);
	return error;
}
